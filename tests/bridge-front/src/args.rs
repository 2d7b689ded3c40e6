//! The command line of the program, and what it makes of it.

use std::{
    collections::BTreeMap,
    env, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bridge_front::{
    Authority, Builder, ConnectionFault, Fault, Flavour, Front, Habits, Identity, Key, Mode, Profile, Seed,
    Upstream,
};
use clap::{ArgGroup, Args, Parser, ValueEnum};

/// Not a flag: arguments are visible to everybody on the machine.
const KEY_VARIABLE: &str = "BRIDGE_FRONT_KEY";

const MORE: &str = "--help has examples and the list of faults.";

const EXAMPLES: &str = "\
Examples:
  A healthy bridge with its own SCIM list; clients trust demo/ca.crt:
    BRIDGE_FRONT_KEY=demo bridge-front --ca-dir demo
    curl --cacert demo/ca.crt -H 'Authorization: Bearer demo' https://127.0.0.1:8443/health

  In front of a SCIM server, for a name of the cluster, with a control port:
    bridge-front --key-file key --upstream http://127.0.0.1:8880/scim \\
      --ca-dir demo --name scim.example.com --control 127.0.0.1:8444

  Faults on demand, and what was asked meanwhile:
    curl -X PATCH 127.0.0.1:8444/state -d '{\"faults\": {\"/ping\": {\"kind\": \"html\"}}}'
    curl -X PATCH 127.0.0.1:8444/state -d '{\"faults\": null, \"mode\": \"google-workspace\"}'
    curl 127.0.0.1:8444/requests

  An own directory, with a habit, and the writes of clients:
    bridge-front --key-file key --ca-dir demo --directory seed.json --control 127.0.0.1:8444
    curl -X PATCH 127.0.0.1:8444/state -d '{\"habits\": {\"lists\": {\"pageLimit\": 50}}}'
    curl 127.0.0.1:8444/directory/changes

Faults, by prefix of path and query (\"/\" is every path), a method before it if wanted (\"POST /scim\"):
  status {status, body: json|html|empty, retryAfter}   redirect {location}
  html   unauthorized   forbidden-html   forbidden-json
  broken-json   not-a-list   invalid-utf8   deep-json {depth}   false-gzip
  oversized {bytes}   declared-length {bytes}   truncated   drip {intervalMs}
  many-headers {count}   delay {ms}   silent   close   reset
  done {then: FAULT}: after the request was carried out   times {left, fault: FAULT}: so often

The key is read from --key-file or from the variable BRIDGE_FRONT_KEY, never from an argument.";

/// Looks like a 1Password SCIM Bridge, in front of any SCIM server.
///
/// Serves /ping, /health, /metrics, /app, /scim/... and the aliases /Users and /Groups as a bridge does, in
/// each of its modes, with good and bad certificates, and with faults on demand. For tests and demos.
#[derive(Debug, Parser)]
#[command(name = "bridge-front", version, after_help = MORE, after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    listening: Listening,
    #[command(flatten)]
    transport: Transport,
    #[command(flatten)]
    scim: Scim,
    #[command(flatten)]
    part: Part,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Listening")]
struct Listening {
    /// Where to listen; port 0 is any free one
    #[arg(
        long,
        value_name = "ADDR",
        env = "BRIDGE_FRONT_LISTEN",
        default_value = "127.0.0.1:8443"
    )]
    listen: SocketAddr,

    /// Open a control port on this loopback address: GET and PATCH /state, GET and DELETE /requests, GET and PUT
    /// /directory, GET and DELETE /directory/changes
    #[arg(long, value_name = "ADDR", env = "BRIDGE_FRONT_CONTROL")]
    control: Option<SocketAddr>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Certificate (one of --ca-dir, --cert-file and --plaintext)")]
#[group(skip)]
#[command(group = ArgGroup::new("presented").required(true).args(["ca_dir", "cert_file", "plaintext"]))]
struct Transport {
    /// Have a certificate issued by the authority of this directory, which is made if there is none.
    /// Clients trust its ca.crt; fronts that share the directory share the authority
    #[arg(long, value_name = "DIR", env = "BRIDGE_FRONT_CA_DIR")]
    ca_dir: Option<PathBuf>,

    /// What is right or wrong with the certificate that is issued
    #[arg(
        long,
        value_name = "KIND",
        env = "BRIDGE_FRONT_MAKE_CERTIFICATE",
        default_value = "valid"
    )]
    make_certificate: Kind,

    /// How long the certificate that is issued is valid
    #[arg(
        long,
        value_name = "DAYS",
        env = "BRIDGE_FRONT_CERTIFICATE_DAYS",
        default_value_t = 90
    )]
    certificate_days: u16,

    /// A further DNS name or address for it, beside localhost and the loopback addresses; may be repeated
    #[arg(
        long = "name",
        value_name = "NAME",
        env = "BRIDGE_FRONT_NAMES",
        value_delimiter = ','
    )]
    names: Vec<String>,

    /// Present this certificate chain (PEM, leaf first)
    #[arg(
        long,
        value_name = "FILE",
        env = "BRIDGE_FRONT_CERT_FILE",
        requires = "key_pem_file"
    )]
    cert_file: Option<PathBuf>,

    /// The key of that certificate (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "BRIDGE_FRONT_KEY_PEM_FILE",
        requires = "cert_file"
    )]
    key_pem_file: Option<PathBuf>,

    /// Speak plain HTTP
    #[arg(long, env = "BRIDGE_FRONT_PLAINTEXT")]
    plaintext: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// nothing is wrong
    Valid,
    /// the intermediate authority behind it ended yesterday
    OldIntermediate,
    /// it ended yesterday
    Expired,
    /// it begins tomorrow
    NotYetValid,
    /// it is for another name
    OtherName,
    /// nobody but itself vouches for it
    SelfSigned,
    /// an authority that nobody knows vouches for it
    Untrusted,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "SCIM")]
struct Scim {
    /// The key that is accepted, alone in a file; or set `BRIDGE_FRONT_KEY`
    #[arg(long, value_name = "FILE", env = "BRIDGE_FRONT_KEY_FILE")]
    key_file: Option<PathBuf>,

    /// The base of the SCIM server that answers, such as `http://127.0.0.1:8880/scim`; it has to know the
    /// same key. Without it there is a built-in list
    #[arg(long, value_name = "URL", env = "BRIDGE_FRONT_UPSTREAM")]
    upstream: Option<Upstream>,

    /// Answer SCIM from an own directory that can be written, filled from this file: {"users": [...],
    /// "groups": [...]}
    #[arg(
        long,
        value_name = "FILE",
        env = "BRIDGE_FRONT_DIRECTORY",
        conflicts_with = "upstream"
    )]
    directory: Option<PathBuf>,

    /// The same, filled with as many made-up users and groups as --users and --groups say
    #[arg(long, env = "BRIDGE_FRONT_OWN_DIRECTORY", conflicts_with_all = ["upstream", "directory"])]
    own_directory: bool,

    /// How many users the built-in list has
    #[arg(long, value_name = "N", env = "BRIDGE_FRONT_USERS", default_value_t = 3)]
    users: u32,

    /// How many groups the built-in list has
    #[arg(long, value_name = "N", env = "BRIDGE_FRONT_GROUPS", default_value_t = 1)]
    groups: u32,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What it plays")]
struct Part {
    /// Which service
    #[arg(long, env = "BRIDGE_FRONT_FLAVOUR", default_value = "self-hosted")]
    flavour: FlavourName,

    /// Who moves the data
    #[arg(long, env = "BRIDGE_FRONT_MODE", default_value = "push")]
    mode: ModeName,

    /// Provisioning is switched off: SCIM answers 500, the confirmation watcher is unhealthy
    #[arg(long, env = "BRIDGE_FRONT_PROVISIONING_OFF")]
    provisioning_off: bool,

    /// The bridge was just restarted: no watcher reports before a request with the key
    #[arg(long, env = "BRIDGE_FRONT_LOCKED")]
    locked: bool,

    /// The version in /health
    #[arg(
        long,
        value_name = "VERSION",
        env = "BRIDGE_FRONT_BRIDGE_VERSION",
        default_value = "2.9.16"
    )]
    bridge_version: String,

    /// The build in /health
    #[arg(
        long,
        value_name = "BUILD",
        env = "BRIDGE_FRONT_BRIDGE_BUILD",
        default_value = "209163"
    )]
    bridge_build: String,

    /// The state of a component in /health, known or new, such as RedisCache=unhealthy; may be repeated
    #[arg(
        long = "component",
        value_name = "SOURCE=STATE",
        env = "BRIDGE_FRONT_COMPONENTS",
        value_delimiter = ',',
        value_parser = component
    )]
    components: Vec<(String, String)>,

    /// How old the reports in /health are; more than 600 makes them stale
    #[arg(
        long,
        value_name = "SECONDS",
        env = "BRIDGE_FRONT_REPORT_AGE",
        default_value_t = 0
    )]
    report_age: u32,

    /// What goes wrong from the start, such as '{"/scim/Users": {"kind": "html"}}'
    #[arg(long, value_name = "JSON", env = "BRIDGE_FRONT_FAULTS", value_parser = faults)]
    faults: Option<Faults>,

    /// How the own directory differs from the standard, such as '{"lists": {"pageLimit": 50}}'
    #[arg(long, value_name = "JSON", env = "BRIDGE_FRONT_HABITS", value_parser = habits)]
    habits: Option<Habits>,

    /// What goes wrong with every connection from the start
    #[arg(long, value_name = "KIND", env = "BRIDGE_FRONT_CONNECTION_FAULT")]
    connection_fault: Option<ConnectionFaultName>,
}

// The names of the command line are not those of the library: their texts are help for the user.

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FlavourName {
    /// the bridge that a company runs itself
    SelfHosted,
    /// 1Password's hosted provisioning: /scim/... and /scim/v2/... only
    Hosted,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeName {
    /// identity providers push over SCIM
    Push,
    /// the bridge pulls from Google; its SCIM API is off
    GoogleWorkspace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ConnectionFaultName {
    /// accepted, and nothing more
    Silent,
    /// closed at once
    Close,
    /// reset at once
    Reset,
    /// plain HTTP where TLS is expected
    Plaintext,
}

type Faults = BTreeMap<String, Fault>;

fn faults(text: &str) -> Result<Faults, serde_json::Error> {
    serde_json::from_str(text)
}

fn habits(text: &str) -> Result<Habits, serde_json::Error> {
    serde_json::from_str(text)
}

fn component(text: &str) -> Result<(String, String), &'static str> {
    let (source, state) = text.split_once('=').ok_or("a component is SOURCE=STATE")?;
    Ok((source.to_owned(), state.to_owned()))
}

impl Arguments {
    /// Where the control port is wanted.
    pub(crate) fn control(&self) -> Option<SocketAddr> {
        self.listening.control
    }

    /// The front that was asked for.
    pub(crate) fn front(self) -> io::Result<Builder> {
        let key = self.scim.key()?;
        let mut front = self
            .transport
            .apply(Front::builder().for_any_client().listen(self.listening.listen))?
            .key(key);
        if let Some(seed) = self.scim.seed()? {
            front = front.directory(seed);
        }
        if let Some(upstream) = self.scim.upstream {
            front = front.upstream(upstream);
        }
        let (users, groups, part) = (self.scim.users, self.scim.groups, self.part);
        Ok(front.set(|state| {
            (state.users, state.groups) = (users, groups);
            part.apply(state);
        }))
    }
}

impl Scim {
    /// What the own directory is filled with, if one is wanted.
    fn seed(&self) -> io::Result<Option<Seed>> {
        if self.own_directory {
            return Ok(Some(Seed::of(self.users, self.groups)));
        }
        let Some(path) = &self.directory else {
            return Ok(None);
        };
        serde_json::from_str(&read(path)?).map(Some).map_err(|error| {
            let reason = format!("{}: {error}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }

    fn key(&self) -> io::Result<Key> {
        let (key, place) = match &self.key_file {
            Some(path) => (read(path)?, path.display().to_string()),
            None => (
                env::var(KEY_VARIABLE).unwrap_or_default(),
                KEY_VARIABLE.to_owned(),
            ),
        };
        let key = key.trim();
        if key.is_empty() {
            let reason = format!("there is no key in {place}; give one by --key-file or {KEY_VARIABLE}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(Key::from(key))
    }
}

impl Transport {
    fn apply(self, front: Builder) -> io::Result<Builder> {
        if let (Some(chain), Some(key)) = (&self.cert_file, &self.key_pem_file) {
            return Ok(front.identity(Identity::from_pem(&read(chain)?, &read(key)?)?));
        }
        let Some(directory) = &self.ca_dir else {
            return Ok(front.plaintext());
        };
        let profile = match self.make_certificate {
            Kind::Valid => Profile::Valid {
                days: self.certificate_days,
            },
            Kind::OldIntermediate => Profile::Intermediate { days: -1 },
            Kind::Expired => Profile::Expired,
            Kind::NotYetValid => Profile::NotYetValid,
            Kind::OtherName => Profile::OtherName,
            Kind::SelfSigned => Profile::SelfSigned,
            Kind::Untrusted => Profile::OtherAuthority,
        };
        Ok(front
            .authority(Authority::load_or_create(directory)?)
            .certificate(profile)
            .names(self.names))
    }
}

impl Part {
    fn apply(self, state: &mut bridge_front::State) {
        state.flavour = match self.flavour {
            FlavourName::SelfHosted => Flavour::SelfHosted,
            FlavourName::Hosted => Flavour::Hosted,
        };
        state.mode = match self.mode {
            ModeName::Push => Mode::Push,
            ModeName::GoogleWorkspace => Mode::GoogleWorkspace,
        };
        state.provisioning_off = self.provisioning_off;
        state.locked = self.locked;
        state.version = self.bridge_version;
        state.build = self.bridge_build;
        state.components.extend(self.components);
        state.report_age_secs = self.report_age;
        state.faults = self.faults.unwrap_or_default();
        state.habits = self.habits.unwrap_or_default();
        state.connection_fault = self.connection_fault.map(|fault| match fault {
            ConnectionFaultName::Silent => ConnectionFault::Silent,
            ConnectionFaultName::Close => ConnectionFault::Close,
            ConnectionFaultName::Reset => ConnectionFault::Reset,
            ConnectionFaultName::Plaintext => ConnectionFault::Plaintext,
        });
    }
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
