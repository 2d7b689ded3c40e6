//! `plan`: what would be sent.

use std::{
    collections::{BTreeSet, HashMap},
    io::Write,
    time::Duration,
};

use serde_json::Value;

use super::{
    DirectoryError, Reading,
    declared::{Candidate, Declared, ObjectName, Others, Owner, doubled, know, known, left_out},
    document,
    files::{Manifests, Place},
    live::{self, Kinds},
    outcome::{Applied, Conclusion, Ground, Outcome, Source, URL},
    read,
};
use crate::{
    api::{
        connection::{ScimBridgeConnectionSpec, ScimBridgeConnectionStatus},
        directory::{ProvisioningSpec, ProvisioningStatus},
    },
    args::{Addresses, PlanArguments, PluginPlanArguments, ShowPlan},
    check::{
        plugin::Location,
        subject::{Found, Subject, from_object_or_flags, metadata_of, provisioning_fault, read_live},
    },
    clock::{Clock as _, SystemClock},
    domain::directory::{
        budget::DigestKey,
        census::{Census, Taken},
        ledger::Ledger,
        names::RemoteId,
        plan::{Directory, Policy},
        snapshot::Snapshot,
        wish::Wishes,
    },
};

/// The declared objects, and those that stood there before.
struct Task<'a> {
    owner: Owner<'a>,
    candidates: Vec<Candidate>,
    /// Documents of a kind that the group does not have.
    strays: Vec<Place>,
    /// What it means if there are none of both.
    nothing: DirectoryError,
    /// The objects as they are applied now. An account that one of them stands for is known by its id, so that a change of
    /// the object is a change of that account.
    base: Option<Before>,
}

/// The applied state.
struct Before {
    source: Source,
    candidates: Vec<Candidate>,
    /// The fields of the connection that differ.
    differs: Vec<String>,
}

/// Plans for the users and groups of manifests.
///
/// # Errors
/// [`DirectoryError`] if nothing can be planned: a file cannot be read, or the directory. JSON and `JUnit` then say why. An
/// object that cannot be used is part of the outcome.
pub async fn plan(arguments: &PlanArguments, out: &mut impl Write) -> Result<Conclusion, DirectoryError> {
    let result = plan_files(arguments, out).await;
    let connection = arguments.connection.as_deref().unwrap_or("the connection");
    documented(result, connection, arguments.show, out)
}

/// Writes the document of a failure, too: a program that reads the output of each run finds one.
fn documented(
    result: Result<Conclusion, DirectoryError>,
    connection: &str,
    show: ShowPlan,
    out: &mut impl Write,
) -> Result<Conclusion, DirectoryError> {
    match result {
        // Part of a document is written.
        Ok(_) | Err(DirectoryError::Output(_)) => result,
        Err(error) => {
            let at = SystemClock.now();
            document::failure(&error, connection, at, show.output, out).map_err(DirectoryError::Output)?;
            Err(error)
        }
    }
}

async fn plan_files(arguments: &PlanArguments, out: &mut impl Write) -> Result<Conclusion, DirectoryError> {
    let PlanArguments {
        files,
        base,
        connection,
        bridge,
        cluster,
        addresses,
        show,
    } = arguments;
    let mut manifests = Manifests::read(files)?;
    let base = (!base.is_empty()).then(|| Manifests::read(base)).transpose()?;
    let connections = std::mem::take(&mut manifests.connections);
    let (place, connection, others) = choose(connections, connection.as_deref())?;
    let (beside, elsewhere) = manifests.objects_beside(&place);
    let metadata = metadata_of(&connection);
    let name = metadata.name.ok_or(DirectoryError::NamelessConnection)?;
    let task = Task {
        owner: Owner {
            name: &name,
            namespace: metadata.namespace.as_deref().or(cluster.namespace.as_deref()),
            others: Others::These(&others),
        },
        candidates: manifests.candidates,
        strays: manifests.strays,
        nothing: DirectoryError::NothingDeclared,
        base: base.map(|base| Before {
            source: Source::Base,
            differs: base
                .connections
                .iter()
                .find(|(_, document)| metadata_of(document).name.as_ref() == Some(&name))
                .map(|(_, before)| differing(Own::of(before), Own::of(&connection)))
                .unwrap_or_default(),
            candidates: base.candidates,
        }),
    };
    let subject = from_object_or_flags(
        &connection,
        Found { beside, elsewhere },
        cluster,
        bridge,
        addresses,
    )
    .await?;
    conclude(subject, task, addresses, *show, out).await
}

/// Plans for a connection in a cluster: for its users and groups there, or for those of files.
///
/// # Errors
/// As [`plan`]; also if the cluster does not answer.
pub async fn plan_live(
    arguments: &PluginPlanArguments,
    out: &mut impl Write,
) -> Result<Conclusion, DirectoryError> {
    let result = plan_cluster(arguments, out).await;
    documented(result, &arguments.connection.name, arguments.show, out)
}

async fn plan_cluster(
    arguments: &PluginPlanArguments,
    out: &mut impl Write,
) -> Result<Conclusion, DirectoryError> {
    let PluginPlanArguments {
        connection,
        files,
        addresses,
        show,
    } = arguments;
    let Location {
        client,
        namespace,
        name,
    } = Location::of(connection).await?;
    let mut subject = read_live(&client, &namespace, &name).await?;
    let mut owner = Owner {
        name: &name,
        namespace: Some(&namespace),
        others: Others::Any,
    };
    if files.is_empty() {
        let task = Task {
            owner,
            candidates: live::candidates(&client, &namespace, Kinds::Required).await?,
            strays: Vec::new(),
            nothing: DirectoryError::NothingApplied,
            base: None,
        };
        return conclude(subject, task, addresses, *show, out).await;
    }
    let manifests = Manifests::read(files)?;
    // The files may change the scope or a limit, too. Address and key are those of the cluster.
    let named = |document: &Value| metadata_of(document).name.as_deref() == Some(&*name);
    let own = manifests.connections.iter().find(|(_, document)| named(document));
    let mut differs = Vec::new();
    if let (Some((_, document)), Ok(spec)) = (own, &mut subject.spec) {
        let before = Own {
            url: Some(&spec.url),
            provisioning: spec.provisioning.clone(),
        };
        differs = differing(before, Own::of(document));
        spec.provisioning = provisioning_in(document)?;
    }
    let others = others_of(&manifests.connections, &name)?;
    owner.others = Others::These(&others);
    let task = Task {
        owner,
        candidates: manifests.candidates,
        strays: manifests.strays,
        nothing: DirectoryError::NothingDeclared,
        base: Some(Before {
            source: Source::Cluster,
            // Before the first apply, the cluster may not have the kinds yet.
            candidates: live::candidates(&client, &namespace, Kinds::Optional).await?,
            differs,
        }),
    };
    conclude(subject, task, addresses, *show, out).await
}

/// What a connection says about its directory.
struct Own<'a> {
    url: Option<&'a str>,
    provisioning: Option<ProvisioningSpec>,
}

impl<'a> Own<'a> {
    fn of(document: &'a Value) -> Self {
        Self {
            url: document.pointer("/spec/url").and_then(Value::as_str),
            provisioning: provisioning_in(document).ok().flatten(),
        }
    }
}

/// The fields that differ. Defaults count as written.
fn differing(before: Own<'_>, after: Own<'_>) -> Vec<String> {
    let mut fields = Vec::new();
    if before.url != after.url {
        fields.push(URL.to_owned());
    }
    let object = |spec: Option<ProvisioningSpec>| match serde_json::to_value(spec) {
        Ok(Value::Object(fields)) => Some(fields),
        Ok(_) | Err(_) => None,
    };
    match (object(before.provisioning), object(after.provisioning)) {
        (Some(before), Some(after)) => {
            let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            let changed = names
                .into_iter()
                .filter(|name| before.get(*name) != after.get(*name));
            fields.extend(changed.map(|name| format!("spec.provisioning.{name}")));
        }
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => fields.push("spec.provisioning".to_owned()),
    }
    fields
}

/// `spec.provisioning` of a manifest.
fn provisioning_in(document: &Value) -> Result<Option<ProvisioningSpec>, DirectoryError> {
    let declared = document.get("spec").and_then(|spec| spec.get("provisioning"));
    declared
        .filter(|declared| !declared.is_null())
        .map(|declared| {
            serde_json::from_value(declared.clone())
                .map_err(|_| DirectoryError::Spec(provisioning_fault(declared)))
        })
        .transpose()
}

/// The connection to plan for, and the names of the others.
fn choose(
    connections: Vec<(Place, Value)>,
    chosen: Option<&str>,
) -> Result<(Place, Value, Vec<String>), DirectoryError> {
    let name_of = |document: &Value| metadata_of(document).name;
    let wanted = match (chosen, connections.as_slice()) {
        (Some(chosen), _) => Some(chosen.to_owned()),
        (None, []) => return Err(DirectoryError::NoConnection),
        (None, [(_, document)]) => name_of(document),
        (None, several) => return Err(DirectoryError::SeveralConnections(several.len())),
    };
    let wanted = wanted.ok_or(DirectoryError::NamelessConnection)?;
    let others = others_of(&connections, &wanted)?;
    let found = connections
        .into_iter()
        .find(|(_, document)| name_of(document).as_deref() == Some(&*wanted));
    let (place, found) = found.ok_or(DirectoryError::NotThisConnection)?;
    Ok((place, found, others))
}

/// The names of the other connections.
fn others_of(connections: &[(Place, Value)], own: &str) -> Result<Vec<String>, DirectoryError> {
    let names: Vec<String> = connections
        .iter()
        .filter_map(|(_, document)| metadata_of(document).name)
        .collect();
    match doubled(names.iter().cloned()) {
        Some(name) => Err(DirectoryError::ConnectionTwice(name)),
        None => Ok(names.into_iter().filter(|name| name != own).collect()),
    }
}

fn provisioning_of(subject: &Subject) -> Result<&ProvisioningSpec, DirectoryError> {
    let spec: &ScimBridgeConnectionSpec = subject.spec.as_ref().map_err(|why| DirectoryError::Spec(*why))?;
    spec.provisioning.as_ref().ok_or(DirectoryError::ProvisioningOff)
}

/// Reads the directory, plans and prints.
async fn conclude(
    subject: Subject,
    task: Task<'_>,
    addresses: &Addresses,
    show: ShowPlan,
    out: &mut impl Write,
) -> Result<Conclusion, DirectoryError> {
    let Task {
        owner,
        candidates,
        strays,
        nothing,
        base,
    } = task;
    let provisioning = provisioning_of(&subject)?.clone();
    // Patterns that cannot be used are found before the bridge is asked. The key of digests comes from the bridge's key.
    let provider = subject.spec.as_ref().ok().and_then(|spec| spec.identity_provider);
    Policy::parse(&provisioning, provider, DigestKey::new(&[]))?;
    if strays.is_empty() && Declared::of(candidates.clone(), owner).is_empty() {
        return Err(nothing);
    }
    let interval = subject
        .spec
        .as_ref()
        .map_or(Duration::ZERO, |spec| spec.interval.0);
    let before = subject.status.as_ref().and_then(provisioning_status).cloned();
    let proven = before.as_ref().and_then(|before| before.members_read_by);
    let Reading {
        snapshot,
        name,
        url,
        digest_key,
    } = read(subject, addresses, proven).await?;
    let policy = Policy::parse(&provisioning, provider, digest_key)?;
    let at = SystemClock.now();
    // What the operator sent lately counts, and names the sets that it holds.
    let ledger = Ledger::resume(before.as_ref(), at);
    let ground = Ground {
        connection: name.as_deref().unwrap_or("the connection"),
        url: url.as_deref(),
        applied: base.as_ref().map(|base| Applied {
            source: base.source,
            differs: &base.differs,
        }),
        policy: &policy,
        ledger: &ledger,
        at,
    };
    let base = base.as_ref().map(|base| &*base.candidates);
    let mut declared = declared_after(candidates, base, owner, &snapshot, &ground);
    declared.refuse(strays);
    let taken = Taken {
        at,
        interval,
        limit: provisioning.limits.suspensions,
    };
    let mut census = before.as_ref().map_or_else(Census::default, |before| {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Census::resume(count(before.users), count(before.groups))
    });
    let admitted = census.admit(&snapshot, ids_of(&declared.wishes), taken);
    let directory = admitted.map(|()| Directory {
        snapshot: &snapshot,
        census: &census,
    });
    let outcome = Outcome::of(&ground, &declared, directory);
    outcome.print(show, out).map_err(DirectoryError::Output)?;
    Ok(outcome.conclusion())
}

/// The declarations after an apply without prune: the candidates, and those of the base that they leave out. `base` has the
/// applied objects.
pub(super) fn declared_after(
    mut candidates: Vec<Candidate>,
    base: Option<&[Candidate]>,
    owner: Owner<'_>,
    snapshot: &Snapshot,
    ground: &Ground<'_>,
) -> Declared {
    let Some(base) = base else {
        return Declared::of(candidates, owner);
    };
    let mut kept = left_out(base, &candidates, owner);
    let ids = known_before(base, owner, snapshot, ground);
    know(&mut candidates, &ids);
    know(&mut kept, &ids);
    let mut declared = Declared::of(candidates, owner);
    declared.keep(kept, owner);
    declared
}

/// The accounts and groups that the objects stand for that are applied now.
fn known_before(
    base: &[Candidate],
    owner: Owner<'_>,
    snapshot: &Snapshot,
    ground: &Ground<'_>,
) -> HashMap<ObjectName, String> {
    let others = Owner {
        others: Others::Any,
        ..owner
    };
    let declared = Declared::of(base.to_vec(), others);
    let census = Census::default();
    let directory = Directory {
        snapshot,
        census: &census,
    };
    let outcome = Outcome::of(ground, &declared, Ok(directory));
    known(base, &declared, &outcome.plan)
}

const fn provisioning_status(status: &ScimBridgeConnectionStatus) -> Option<&ProvisioningStatus> {
    status.provisioning.as_ref()
}

/// The ids that objects stand for.
fn ids_of(wishes: &Wishes) -> impl Iterator<Item = &RemoteId> {
    let users = wishes.users.iter().filter_map(|wish| wish.known.as_ref());
    users.chain(wishes.groups.iter().filter_map(|wish| wish.known.as_ref()))
}
