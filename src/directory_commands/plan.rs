//! `plan`: what would be sent.

use std::{io::Write, time::Duration};

use serde_json::Value;

use super::{
    DirectoryError, Reading,
    declared::{Declared, Others, Owner, doubled, know},
    files::Manifests,
    live::{self, Kinds},
    outcome::{Conclusion, Ground, Outcome},
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
        subject::{Subject, from_object_or_flags, metadata_of, read_live},
    },
    clock::{Clock as _, SystemClock},
    domain::directory::{
        budget::DigestKey,
        census::{Census, Taken},
        names::RemoteId,
        plan::{Directory, Policy},
        wish::Wishes,
    },
};

/// Plans for the users and groups of manifests.
///
/// # Errors
/// [`DirectoryError`] if nothing can be planned: a file cannot be read, or the directory. An object that cannot be used is
/// part of the outcome.
pub async fn plan(arguments: &PlanArguments, out: &mut impl Write) -> Result<Conclusion, DirectoryError> {
    let PlanArguments {
        files,
        connection,
        bridge,
        cluster,
        addresses,
        show,
    } = arguments;
    let mut manifests = Manifests::read(files)?;
    let (connection, others) = choose(std::mem::take(&mut manifests.connections), connection.as_deref())?;
    let metadata = metadata_of(&connection);
    let name = metadata.name.ok_or(DirectoryError::NamelessConnection)?;
    let owner = Owner {
        name: &name,
        namespace: metadata.namespace.as_deref().or(cluster.namespace.as_deref()),
        others: Others::These(&others),
    };
    let declared = Declared::of(manifests.candidates, owner);
    let subject = from_object_or_flags(&connection, manifests.objects, cluster, bridge).await?;
    let provisioning = provisioning_of(&subject)?.clone();
    conclude(subject, &provisioning, &declared, addresses, *show, out).await
}

/// Plans for a connection in a cluster: for its users and groups there, or for those of files.
///
/// # Errors
/// As [`plan`]; also if the cluster does not answer.
pub async fn plan_live(
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
    let (declared, provisioning);
    if files.is_empty() {
        let candidates = live::candidates(&client, &namespace, Kinds::Required).await?;
        let owner = Owner {
            name: &name,
            namespace: Some(&namespace),
            others: Others::Any,
        };
        declared = Declared::of(candidates, owner);
        provisioning = provisioning_of(&subject)?.clone();
    } else {
        let mut manifests = Manifests::read(files)?;
        // Before the first apply, the cluster may not have the kinds yet.
        know(
            &mut manifests.candidates,
            live::candidates(&client, &namespace, Kinds::Optional).await?,
        );
        let connections = std::mem::take(&mut manifests.connections);
        let own = connections
            .iter()
            .find(|(_, document)| metadata_of(document).name.as_deref() == Some(&*name))
            .map(|(_, document)| document.clone());
        // The files may change the scope or a limit, too. Address and key are those of the cluster.
        if let Some(document) = own {
            let declared = document.get("spec").and_then(|spec| spec.get("provisioning"));
            let declared = declared.filter(|declared| !declared.is_null());
            let declared: Option<ProvisioningSpec> = declared
                .map(|declared| serde_json::from_value(declared.clone()))
                .transpose()
                .map_err(|_| {
                    DirectoryError::Spec(crate::domain::connection::target::InvalidSpec::Field(
                        "provisioning",
                    ))
                })?;
            if let Ok(spec) = &mut subject.spec {
                spec.provisioning = declared;
            }
        }
        let others = others_of(&connections, &name)?;
        let owner = Owner {
            name: &name,
            namespace: Some(&namespace),
            others: Others::These(&others),
        };
        declared = Declared::of(manifests.candidates, owner);
        provisioning = provisioning_of(&subject)?.clone();
    }
    conclude(subject, &provisioning, &declared, addresses, *show, out).await
}

/// The connection to plan for, and the names of the others.
fn choose(
    connections: Vec<(super::files::Place, Value)>,
    chosen: Option<&str>,
) -> Result<(Value, Vec<String>), DirectoryError> {
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
        .map(|(_, document)| document)
        .find(|document| name_of(document).as_deref() == Some(&*wanted));
    let found = found.ok_or(DirectoryError::NotThisConnection)?;
    Ok((found, others))
}

/// The names of the other connections.
fn others_of(connections: &[(super::files::Place, Value)], own: &str) -> Result<Vec<String>, DirectoryError> {
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
    provisioning: &ProvisioningSpec,
    declared: &Declared,
    addresses: &Addresses,
    show: ShowPlan,
    out: &mut impl Write,
) -> Result<Conclusion, DirectoryError> {
    // Patterns that cannot be used are found before the bridge is asked. The key of digests comes from the bridge's key.
    Policy::parse(provisioning, DigestKey::new(&[]))?;
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
    let policy = Policy::parse(provisioning, digest_key)?;
    let at = SystemClock.now();
    let taken = Taken {
        at,
        interval,
        limit: provisioning.limits.suspensions,
    };
    let mut census = before.as_ref().map_or_else(Census::default, |before| {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Census::resume(count(before.users), count(before.groups))
    });
    let admitted = census.admit(&snapshot, known(&declared.wishes), taken);
    let outcome = Outcome::of(&Ground {
        connection: name.as_deref().unwrap_or("the connection"),
        url: url.as_deref(),
        declared,
        policy: &policy,
        directory: admitted.map(|()| Directory {
            snapshot: &snapshot,
            census: &census,
        }),
        at,
    });
    outcome.print(show, out).map_err(DirectoryError::Output)?;
    Ok(outcome.conclusion())
}

const fn provisioning_status(status: &ScimBridgeConnectionStatus) -> Option<&ProvisioningStatus> {
    status.provisioning.as_ref()
}

/// The ids that objects stand for.
fn known(wishes: &Wishes) -> impl Iterator<Item = &RemoteId> {
    let users = wishes.users.iter().filter_map(|wish| wish.known.as_ref());
    users.chain(wishes.groups.iter().filter_map(|wish| wish.known.as_ref()))
}
