//! `release`: lets the operator send exactly one held set of changes.
//!
//! The set is the one that the operator has published in the status of the connection. The command reads the connection
//! again after the confirmation, and changes it only in the state that it has just read. So it releases no set that
//! nobody has looked at.

use std::{collections::BTreeSet, fmt, io::Write};

use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
};
use serde_json::json;

use super::{DirectoryError, confirm, counted};
use crate::{
    api::{
        RELEASE_ANNOTATION,
        connection::ScimBridgeConnection,
        directory::{ChangeKind, PendingChanges, ProvisioningMode},
    },
    args::ReleaseArguments,
    check::{
        CheckError,
        plugin::{FIELD_MANAGER, Location},
        subject::ask,
    },
    domain::connection::target::InvalidSpec,
};

/// So often the command tries again when the connection has changed between its read and its write.
const ATTEMPTS: u32 = 5;

/// What a pipeline has in place of the question.
const INSTEAD: &str = "In a pipeline, give --digest and --yes";

/// Why nothing is released.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Nothing is sent in this mode.
    #[error(
        "the connection is in mode Plan, so the operator sends nothing: set spec.provisioning.mode to Manage first"
    )]
    ModePlan,
    /// No set of this kind waits for a person.
    #[error("nothing of this is held. {0}")]
    NothingHeld(Held),
    /// The digest is of no held set.
    #[error("no held set has the digest {digest}. {held}")]
    NotHeld {
        /// The given one.
        digest: String,
        /// The held ones.
        held: Held,
    },
    /// Another set is held now.
    #[error("the changes are not the same any more, so nothing was released. {0} Look at it again")]
    Changed(Held),
    /// Others change the connection all the time.
    #[error("the connection changed between each read and write, so nothing was released: try again")]
    Busy,
}

/// The held sets of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held(Vec<Set>);

/// One held set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    kind: ChangeKind,
    count: u32,
    digest: String,
    since: String,
    limit: Option<u32>,
}

/// A connection as it is at one version.
struct Seen {
    version: Option<String>,
    /// The digests that are released already.
    released: Vec<String>,
    held: Held,
}

/// Shows the held sets, asks, and releases them.
///
/// # Errors
/// [`DirectoryError`]; then nothing is released.
pub async fn release(arguments: &ReleaseArguments, out: &mut impl Write) -> Result<(), DirectoryError> {
    let ReleaseArguments {
        connection,
        kind,
        digests,
        yes,
    } = arguments;
    let location = Location::of(connection).await?;
    let seen = read(&location).await?;
    let chosen = choose(&seen.held, kind.map(Into::into), digests)?;
    let Location { namespace, name, .. } = &location;
    write_sets(&location, &chosen, out).map_err(DirectoryError::Output)?;
    if !yes {
        for set in &chosen.0 {
            let question = format!("\nType {} to release {}", set.count, set.counted());
            confirm::typed(&question, &set.count.to_string(), INSTEAD)?;
        }
    }
    release_in(&location, &chosen).await?;
    let word = |set: &Set| set.counted();
    let released: Vec<String> = chosen.0.iter().map(word).collect();
    let mut report = || {
        writeln!(out, "\n{namespace}/{name}  released: {}", released.join(", "))?;
        writeln!(out, "  watch    kubectl get scim -n {namespace} --watch")?;
        if chosen.0.iter().any(|set| set.kind == ChangeKind::Suspension) {
            writeln!(
                out,
                "  proof    kubectl scim-bridge offboarding {name} -n {namespace}"
            )?;
        }
        out.flush()
    };
    report().map_err(DirectoryError::Output)
}

fn write_sets(location: &Location, chosen: &Held, out: &mut impl Write) -> std::io::Result<()> {
    let Location { namespace, name, .. } = location;
    writeln!(out, "{namespace}/{name}")?;
    for set in &chosen.0 {
        let Set {
            kind: _,
            count: _,
            digest,
            since,
            limit,
        } = set;
        write!(out, "  {} held since {since}, digest {digest}", set.counted())?;
        match limit {
            Some(limit) => writeln!(out, "; the limit is {limit} in an hour")?,
            None => writeln!(out)?,
        }
    }
    writeln!(out, "  review   kubectl scim-bridge plan {name} -n {namespace}")?;
    out.flush()
}

/// The sets to release: all held ones, those of a kind, or those of these digests.
fn choose(held: &Held, kind: Option<ChangeKind>, digests: &[String]) -> Result<Held, ReleaseError> {
    let Held(sets) = held;
    if let Some(digest) = digests
        .iter()
        .find(|digest| sets.iter().all(|set| set.digest != **digest))
    {
        return Err(ReleaseError::NotHeld {
            digest: digest.clone(),
            held: held.clone(),
        });
    }
    let is_chosen = |set: &&Set| {
        kind.is_none_or(|kind| set.kind == kind) && (digests.is_empty() || digests.contains(&set.digest))
    };
    let chosen: Vec<Set> = sets.iter().filter(is_chosen).cloned().collect();
    let wanted: BTreeSet<&String> = digests.iter().collect();
    if chosen.is_empty() || chosen.len() < wanted.len() {
        return Err(ReleaseError::NothingHeld(held.clone()));
    }
    Ok(Held(chosen))
}

/// Annotates the connection in a state in which all of these sets are still held.
async fn release_in(location: &Location, chosen: &Held) -> Result<(), DirectoryError> {
    let api = location.api();
    for _ in 0..ATTEMPTS {
        let Seen {
            version,
            released,
            held,
        } = read(location).await?;
        if !chosen.0.iter().all(|set| held.has(set)) {
            return Err(ReleaseError::Changed(held).into());
        }
        let wanted = chosen.0.iter().map(|set| &*set.digest);
        // A set that somebody else released a moment ago stays released.
        let others = released.iter().map(|digest| &**digest);
        let others = others.filter(|digest| held.0.iter().any(|set| set.digest == *digest));
        let digests: BTreeSet<&str> = wanted.chain(others).collect();
        let value = digests.into_iter().collect::<Vec<_>>().join(",");
        let patch = json!({"metadata": {
            "resourceVersion": version,
            "annotations": {RELEASE_ANNOTATION: value},
        }});
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = api.patch(&location.name, &parameters, &Patch::Merge(patch)).await;
        match ask(patched, "the changed connection") {
            // Somebody changed it since the read.
            Err(CheckError::Refused { code: 409, .. }) => {}
            Err(CheckError::Refused { code: 404, .. }) => return Err(location.missing().into()),
            answer => return answer.map(|_| ()).map_err(Into::into),
        }
    }
    Err(ReleaseError::Busy.into())
}

async fn read(location: &Location) -> Result<Seen, DirectoryError> {
    let api: Api<DeserializeGuard<ScimBridgeConnection>> = location.api();
    let object = ask(api.get_opt(&location.name).await, "the connection")?;
    let DeserializeGuard(object) = object.ok_or_else(|| location.missing())?;
    let object = object.map_err(|_| DirectoryError::Spec(InvalidSpec::Form))?;
    let provisioning = object.spec.provisioning.ok_or(DirectoryError::ProvisioningOff)?;
    if provisioning.mode == ProvisioningMode::Plan {
        return Err(ReleaseError::ModePlan.into());
    }
    let pending = object.status.and_then(|status| status.provisioning);
    let pending = pending.into_iter().flat_map(|status| status.pending);
    let held = pending.filter(|pending| pending.held);
    let set = |pending: PendingChanges| Set {
        limit: provisioning.limits.get(pending.kind),
        kind: pending.kind,
        count: pending.count,
        digest: pending.digest,
        since: pending.since.0.to_string(),
    };
    let annotations = object.metadata.annotations.unwrap_or_default();
    let released = annotations.get(RELEASE_ANNOTATION).map_or("", String::as_str);
    Ok(Seen {
        version: object.metadata.resource_version,
        released: released
            .split(',')
            .map(|digest| digest.trim().to_owned())
            .collect(),
        held: Held(held.map(set).collect()),
    })
}

// === impl Held ===

impl Held {
    /// Whether exactly this set is held.
    fn has(&self, set: &Set) -> bool {
        let is_same =
            |held: &Set| (held.kind, held.count, &held.digest) == (set.kind, set.count, &set.digest);
        self.0.iter().any(is_same)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(sets) = self;
        if sets.is_empty() {
            return f.write_str("No change is held now.");
        }
        let set = |set: &Set| format!("{} (digest {})", set.counted(), set.digest);
        let sets: Vec<String> = sets.iter().map(set).collect();
        write!(f, "Held now: {}.", sets.join(", "))
    }
}

impl Set {
    /// `7 suspensions`
    fn counted(&self) -> String {
        counted(self.count as usize, self.kind.singular())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use http::{Method, Request, Response};
    use kube::{Client, client::Body};
    use serde_json::Value;
    use tower::service_fn;

    use super::*;

    const SEVEN: &str = "0123456789abcdef0123456789abcdef";
    const EIGHT: &str = "00000000000000000000000000000008";
    const NINE: &str = "00000000000000000000000000000009";

    /// A connection with these changes: kind, count, digest, whether they are held.
    fn connection(version: &str, annotation: &str, pending: &[(&str, u32, &str, bool)]) -> Value {
        let pending: Vec<Value> = pending
            .iter()
            .map(|(kind, count, digest, held)| {
                json!({"kind": kind, "count": count, "digest": digest, "since": "2027-01-15T08:00:00Z", "held": held})
            })
            .collect();
        json!({
            "apiVersion": "scimbridge.dev/v1alpha1",
            "kind": "ScimBridgeConnection",
            "metadata": {
                "name": "corp", "namespace": "identity", "resourceVersion": version,
                "annotations": {RELEASE_ANNOTATION: annotation},
            },
            "spec": {
                "url": "https://scim.example.com",
                "apiKeySecretRef": {"name": "corp"},
                "provisioning": {
                    "mode": "Manage",
                    "scope": {"userNames": ["*@example.com"]},
                    "protected": {"userNames": ["owner@example.com"]},
                },
            },
            "status": {"provisioning": {
                "observedGeneration": 1, "users": 9, "suspended": 0, "managed": 9, "unmanagedActive": 0, "groups": 0,
                "pending": pending,
            }},
        })
    }

    /// An API server that answers reads with these states in turn, and takes a change of the last one only.
    fn server(states: Vec<Value>) -> (Location, Arc<Mutex<Vec<String>>>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (log, states) = (Arc::clone(&taken), Arc::new(Mutex::new(states)));
        let service = service_fn(move |request: Request<Body>| {
            let (log, states) = (Arc::clone(&log), Arc::clone(&states));
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let mut states = states.lock().unwrap_or_else(PoisonError::into_inner);
                let (code, answer) = if parts.method == Method::GET {
                    let state = if states.len() > 1 {
                        states.remove(0)
                    } else {
                        states[0].clone()
                    };
                    (200, state)
                } else {
                    let patch: Value = serde_json::from_slice(&body).unwrap();
                    let version = &patch["metadata"]["resourceVersion"];
                    if states.len() == 1 && *version == states[0]["metadata"]["resourceVersion"] {
                        let value = patch["metadata"]["annotations"][RELEASE_ANNOTATION].as_str();
                        log.lock().unwrap().push(value.unwrap().to_owned());
                        (200, states[0].clone())
                    } else {
                        (
                            409,
                            json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict"}),
                        )
                    }
                };
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, kube::Error>(Response::builder().status(code).body(body).unwrap())
            }
        });
        let location = Location {
            client: Client::new(service, "identity"),
            namespace: "identity".to_owned(),
            name: "corp".to_owned(),
        };
        (location, taken)
    }

    fn set(kind: ChangeKind, count: u32, digest: &str) -> Set {
        Set {
            kind,
            count,
            digest: digest.to_owned(),
            since: "2027-01-15T08:00:00Z".to_owned(),
            limit: Some(5),
        }
    }

    #[tokio::test]
    async fn only_the_set_that_somebody_saw_is_released() {
        const SUSPENDED: (&str, u32, &str, bool) = ("Suspension", 7, SEVEN, true);
        const CREATED: (&str, u32, &str, bool) = ("Creation", 60, EIGHT, true);
        let at = |version: &str, pending: &[_]| connection(version, "", pending);
        for (what, states, expected) in [
            ("as it was", vec![at("1", &[SUSPENDED])], Ok(SEVEN.to_owned())),
            (
                "another kind is held, too",
                vec![at("1", &[CREATED, SUSPENDED])],
                Ok(SEVEN.to_owned()),
            ),
            (
                "somebody else released another kind, and the value has leftovers",
                vec![connection(
                    "1",
                    &format!("{NINE}, {EIGHT}"),
                    &[CREATED, SUSPENDED],
                )],
                Ok(format!("{EIGHT},{SEVEN}")),
            ),
            (
                "a status was written between read and change",
                vec![at("1", &[SUSPENDED]), at("2", &[SUSPENDED])],
                Ok(SEVEN.to_owned()),
            ),
            (
                "another set",
                vec![at("1", &[("Suspension", 7, NINE, true)])],
                Err(format!("Held now: 7 suspensions (digest {NINE}).")),
            ),
            (
                "another set between read and change",
                vec![at("1", &[SUSPENDED]), at("2", &[("Suspension", 8, NINE, true)])],
                Err(format!("Held now: 8 suspensions (digest {NINE}).")),
            ),
            (
                "the limit allows it now",
                vec![at("1", &[("Suspension", 7, SEVEN, false)])],
                Err("No change is held now.".to_owned()),
            ),
            (
                "a change each time",
                (0..20)
                    .map(|version| at(&version.to_string(), &[SUSPENDED]))
                    .collect(),
                Err("try again".to_owned()),
            ),
        ] {
            let (location, taken) = server(states);
            let chosen = Held(vec![set(ChangeKind::Suspension, 7, SEVEN)]);
            let result = release_in(&location, &chosen).await;
            let taken = taken.lock().unwrap().clone();
            match (result, expected) {
                (Ok(()), Ok(expected)) => assert_eq!(taken, [expected], "{what}"),
                (Err(error), Err(expected)) => {
                    let said = error.to_string();
                    assert!(taken.is_empty() && said.contains(&expected), "{what}: {said}");
                }
                (result, expected) => panic!("{what}: {result:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn sets_are_chosen_by_kind_and_digest() {
        let all = Held(vec![
            set(ChangeKind::Suspension, 7, SEVEN),
            set(ChangeKind::Creation, 60, EIGHT),
        ]);
        for (held, kind, digests, expected) in [
            (&all, None, &[][..], "7 suspensions, 60 creations"),
            (&all, Some(ChangeKind::Creation), &[], "60 creations"),
            (&all, None, &[SEVEN], "7 suspensions"),
            (&all, None, &[SEVEN, SEVEN], "7 suspensions"),
            (&all, None, &[SEVEN, EIGHT], "7 suspensions, 60 creations"),
            (
                &all,
                Some(ChangeKind::Removal),
                &[],
                "nothing of this is held. Held now: 7 suspensions (digest 0",
            ),
            (
                &all,
                Some(ChangeKind::Creation),
                &[SEVEN],
                "nothing of this is held. Held now: 7 suspensions",
            ),
            (
                &all,
                None,
                &[NINE],
                "no held set has the digest 00000000000000000000000000000009. Held now: 7 suspensions",
            ),
            (
                &Held::default(),
                None,
                &[],
                "nothing of this is held. No change is held now.",
            ),
        ] {
            let digests: Vec<String> = digests.iter().map(|digest| (*digest).to_owned()).collect();
            let said = match choose(held, kind, &digests) {
                Ok(Held(sets)) => sets.iter().map(Set::counted).collect::<Vec<_>>().join(", "),
                Err(error) => error.to_string(),
            };
            assert!(said.starts_with(expected), "{said} instead of {expected}");
        }
    }
}
