//! Who may write connections in one namespace, and nothing else anywhere.

use kube::{
    Client, Config, Error,
    api::{Api, DynamicObject, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::ApiResource,
};
use scim_bridge_operator::api::v1alpha1::ScimBridgeConnection;
use serde_json::{Value, json};
use testbed::{Spec, bed::Bed, connection};

/// The attacker's ServiceAccount.
const NAME: &str = "attacker";

pub(crate) struct Attacker {
    pub(crate) client: Client,
    namespace: String,
}

impl Attacker {
    /// An attacker in the bed's namespace.
    pub(crate) async fn new(bed: &Bed<'_>) -> Self {
        let namespace = &bed.namespace;
        let metadata = json!({"name": NAME, "namespace": namespace});
        let group = "rbac.authorization.k8s.io";
        let rights = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": [{
                "apiGroups": ["scimbridge.dev"],
                "resources": ["scimbridgeconnections"],
                "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
            }]},
            {"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
             "roleRef": {"apiGroup": group, "kind": "Role", "name": NAME},
             "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}]},
        ]});
        bed.cluster.apply(&rights.to_string()).await.unwrap();
        let kubeconfig = bed.cluster.service_account_kubeconfig(namespace, NAME);
        let kubeconfig = Kubeconfig::read_from(kubeconfig.await.unwrap()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Self {
            client: Client::try_from(config.unwrap()).unwrap(),
            namespace: namespace.clone(),
        }
    }

    /// Creates a connection, as it stands.
    pub(crate) async fn create(&self, name: &str, spec: &Spec) -> Result<(), Refusal> {
        let object = connection(&format!("{}/{name}", self.namespace), spec);
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let created = self.connections().create(&PostParams::default(), &object).await;
        created.map(drop).map_err(refusal)
    }

    /// Creates one that already has a status.
    pub(crate) async fn create_with_status(&self, name: &str, spec: &Spec, status: &Value) {
        let mut object = connection(name, spec);
        object["status"] = status.clone();
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.connections()
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }

    pub(crate) fn connections(&self) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<ScimBridgeConnection>(&());
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }
}

/// What the API server said: its status, and why.
pub(crate) type Refusal = (u16, String);

pub(crate) fn refusal(error: Error) -> Refusal {
    let Error::Api(status) = error else {
        panic!("no refusal by the API server: {error}");
    };
    (status.code, status.message)
}
