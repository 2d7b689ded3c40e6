//! `kubectl scim-bridge`: works on connections of a cluster with the caller's permissions.

use std::{io::Write, time::Duration};

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    CheckError, Checker, repeat,
    subject::{ask, read_live},
};
use crate::{
    api::{
        REQUESTED_AT_ANNOTATION,
        connection::{ScimBridgeConnection, ScimBridgeConnectionStatus},
        vocabulary::{Class, ConditionType},
    },
    args::{Named, PluginCheckArguments},
    clock::{Clock as _, SystemClock},
    cluster,
    domain::connection::conditions::{class_of, find},
};

/// The field manager of the plugin's changes, in `managedFields`.
pub(crate) const FIELD_MANAGER: &str = "kubectl-scim_bridge";

/// Pause between two reads of a status.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) type Connections = Api<DeserializeGuard<ScimBridgeConnection>>;

/// A connection in its cluster.
pub(crate) struct Location {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Checks a connection from here, and shows the operator's result beside it.
///
/// # Errors
/// If the cluster does not return the connection, or an object that it references.
pub async fn check(arguments: &PluginCheckArguments) -> Result<Class, CheckError> {
    let Location {
        client,
        namespace,
        name,
    } = Location::of(&arguments.connection).await?;
    let mut checker = Checker::new(&arguments.addresses);
    repeat(&arguments.show, async |terminal| {
        let subject = read_live(&client, &namespace, &name).await?;
        checker.check(subject, terminal).await
    })
    .await
}

/// Asks the operator for a probe, and waits for the result.
///
/// # Errors
/// If the cluster refuses, or the operator does not probe in time.
pub async fn recheck(named: &Named, timeout: Duration, out: &mut impl Write) -> Result<Class, CheckError> {
    let location = Location::of(named).await?;
    let request = SystemClock.now().to_string();
    let annotations = json!({"metadata": {"annotations": {REQUESTED_AT_ANNOTATION: request}}});
    if location.patch(&annotations).await? {
        return Err(CheckError::Suspended {
            namespace: location.namespace,
            name: location.name,
        });
    }
    let end = Instant::now() + timeout;
    loop {
        let status = location.status().await?;
        if status.last_handled_reconcile_at.as_ref() == Some(&request) {
            let ready = find(&status.conditions, ConditionType::Ready);
            let (reason, message) =
                ready.map_or(("", ""), |ready| (ready.reason.as_str(), ready.message.as_str()));
            location.print(out, &format!("{reason}  {message}"))?;
            return Ok(class_of(&status.conditions));
        }
        if Instant::now() + PAUSE > end {
            return Err(CheckError::OperatorSilent);
        }
        sleep(PAUSE).await;
    }
}

/// Stops the operator from checking a connection, or lets it check again.
///
/// # Errors
/// If the cluster refuses.
pub async fn suspend(named: &Named, suspend: bool, out: &mut impl Write) -> Result<(), CheckError> {
    let location = Location::of(named).await?;
    location.patch(&json!({"spec": {"suspend": suspend}})).await?;
    location.print(out, if suspend { "suspended" } else { "resumed" })
}

impl Location {
    pub(crate) async fn of(named: &Named) -> Result<Self, CheckError> {
        let (config, namespace) = cluster::chosen_config(&named.cluster).await?;
        Ok(Self {
            client: cluster::client(config)?,
            namespace,
            name: named.name.clone(),
        })
    }

    pub(crate) fn api(&self) -> Connections {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Patches the connection. Returns whether the connection is then suspended.
    async fn patch(&self, patch: &Value) -> Result<bool, CheckError> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = self
            .api()
            .patch(&self.name, &parameters, &Patch::Merge(patch))
            .await;
        match patched {
            Err(kube::Error::Api(status)) if status.code == 404 => Err(self.missing()),
            answer => {
                let DeserializeGuard(object) = ask(answer, "the changed connection")?;
                Ok(object.is_ok_and(|object| object.spec.suspend))
            }
        }
    }

    async fn status(&self) -> Result<ScimBridgeConnectionStatus, CheckError> {
        let object = ask(self.api().get_opt(&self.name).await, "the connection")?;
        let DeserializeGuard(object) = object.ok_or_else(|| self.missing())?;
        Ok(object.ok().and_then(|object| object.status).unwrap_or_default())
    }

    pub(crate) fn missing(&self) -> CheckError {
        CheckError::NoConnection(format!("{}/{}", self.namespace, self.name))
    }

    fn print(&self, out: &mut impl Write, text: &str) -> Result<(), CheckError> {
        let Self { namespace, name, .. } = self;
        writeln!(out, "{namespace}/{name}  {text}").map_err(CheckError::Output)
    }
}
