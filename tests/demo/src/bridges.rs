//! The bridges of the demo: what stands behind each host name of `deploy/examples/`.

use std::sync::Arc;

use bridge_front::{Authority, Front, Group, Mode, Profile, Seed, Upstream, User};
use testbed::{Failure, ScimServer, free_port};

/// The key of every bridge, the same as in the examples. It opens nothing.
pub(crate) const KEY: &str = "not-a-real-key";

/// The bridge with its own users and groups.
const PEOPLE: &str = "people";

/// The users and groups of that bridge.
fn people() -> Seed {
    let user = |name: &str, given| User::new(format!("{name}@example.com"), given, "Example");
    let members =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| format!("{name}@example.com")).collect() };
    Seed {
        users: vec![
            user("ada", "Ada"),
            user("alan", "Alan"),
            user("barbara", "Barbara"),
            user("donald", "Donald"),
            user("edsger", "Edsger"),
            user("frances", "Frances"),
            user("grace", "Grace"),
            user("owner", "Olga"),
        ],
        groups: vec![
            Group::new("k8s-admins", members(&["ada", "grace"])),
            Group::new("k8s-developers", members(&["edsger", "grace"])),
        ],
    }
}

/// Running bridges and the SCIM server behind them.
pub(crate) struct Bridges {
    /// Vouches for all certificates but one.
    pub(crate) authority: Arc<Authority>,
    fronts: Vec<(&'static str, Front)>,
    /// A port where nothing listens.
    closed: u16,
    scim: ScimServer,
}

impl Bridges {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let scim = ScimServer::start(KEY).await?;
        for user in ["ada@example.com", "grace@example.com", "edsger@example.com"] {
            scim.create_user(user).await?;
        }
        scim.create_group("Engineering").await?;
        let authority = Arc::new(Authority::new()?);
        let upstream: Upstream = scim.url().parse()?;
        let front = || {
            Front::builder()
                .authority(Arc::clone(&authority))
                .upstream(upstream.clone())
                .key(KEY)
        };
        let fronts = vec![
            ("okta", front().start().await?),
            ("entra", front().start().await?),
            (
                "google",
                front()
                    .set(|state| state.mode = Mode::GoogleWorkspace)
                    .start()
                    .await?,
            ),
            (
                "provisioning-off",
                front().set(|state| state.provisioning_off = true).start().await?,
            ),
            (
                "untrusted",
                front().certificate(Profile::OtherAuthority).start().await?,
            ),
            (
                PEOPLE,
                Front::builder()
                    .authority(Arc::clone(&authority))
                    .directory(people())
                    .key(KEY)
                    .start()
                    .await?,
            ),
        ];
        Ok(Self {
            authority,
            fronts,
            closed: free_port()?,
            scim,
        })
    }

    /// The manifest with the addresses of this machine in place of the examples' hosts.
    pub(crate) fn localize(&self, manifest: &str) -> String {
        let ports = self
            .fronts
            .iter()
            .map(|(name, front)| (*name, front.port()))
            .chain([("down", self.closed)]);
        ports.fold(manifest.to_owned(), |text, (name, port)| {
            text.replace(
                &format!("https://{name}.scim.example.com"),
                &format!("https://localhost:{port}"),
            )
        })
    }

    /// How many requests the bridge of the people received, and how many of them change something.
    pub(crate) fn requests_of_people(&self) -> (usize, usize) {
        let fronts = self.fronts.iter().filter(|(name, _)| *name == PEOPLE);
        let requests: Vec<_> = fronts.flat_map(|(_, front)| front.requests()).collect();
        let writes = requests.iter().filter(|request| request.method != "GET");
        (requests.len(), writes.count())
    }

    /// Stops one bridge.
    pub(crate) async fn stop(&mut self, name: &str) {
        if let Some(index) = self.fronts.iter().position(|(front, _)| *front == name) {
            self.fronts.swap_remove(index).1.stop().await;
        }
    }

    /// What runs, one line each.
    pub(crate) fn describe(&self) -> Vec<String> {
        let scim = format!("SCIM server      {} (scim2-server)", self.scim.url());
        let fronts = self
            .fronts
            .iter()
            .map(|(name, front)| format!("{name:<16} {}", front.url()));
        std::iter::once(scim).chain(fronts).collect()
    }
}
