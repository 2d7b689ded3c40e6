//! The API server under test: the shared one, with the definitions in it.

use std::{path::PathBuf, time::Duration};

use kube::{
    Client, Error,
    api::{GetParams, Patch, PatchParams, PostParams, Request},
    core::Status,
};
use scim_bridge_operator::api::FIELD_MANAGER;
use serde_json::{Map, Value, json};
use testbed::{Cluster, Failure, cluster::Namespace};
use tokio::sync::OnceCell;

/// Discovery and OpenAPI follow the CRD by a moment.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A kind, and the resource under which it is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource {
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
}

pub(crate) const CONNECTIONS: Resource = Resource {
    kind: "ScimBridgeConnection",
    plural: "scimbridgeconnections",
};
pub(crate) const USERS: Resource = Resource {
    kind: "ScimUser",
    plural: "scimusers",
};
pub(crate) const GROUPS: Resource = Resource {
    kind: "ScimGroup",
    plural: "scimgroups",
};

/// What kubectl wrote to standard error when it installed the definitions for the first time.
pub(crate) static INSTALLED: OnceCell<String> = OnceCell::const_new();

/// What the server does with fields that it does not know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fields {
    Strict,
    Ignore,
}

/// The shared cluster with the definitions in it, and a namespace in which nobody else works.
pub(crate) struct Server {
    pub(crate) cluster: &'static Cluster,
    client: Client,
    pub(crate) namespace: Namespace,
    resource: Resource,
}

impl Server {
    /// For objects of one kind.
    pub(crate) async fn start(resource: Resource, test: &str) -> Result<Self, Failure> {
        let cluster = Cluster::shared().await?;
        INSTALLED.get_or_try_init(|| install(cluster)).await?;
        Ok(Self {
            cluster,
            client: cluster.client()?,
            namespace: cluster.namespace(test).await?,
            resource,
        })
    }

    /// For objects of another kind in the same namespace.
    pub(crate) fn with(&self, resource: Resource) -> Result<Self, Failure> {
        Ok(Self {
            cluster: self.cluster,
            client: self.cluster.client()?,
            namespace: self.namespace.clone(),
            resource,
        })
    }

    fn objects(&self) -> String {
        format!(
            "/apis/scimbridge.dev/v1alpha1/namespaces/{}/{}",
            self.namespace, self.resource.plural
        )
    }

    /// What the server would store, or why it refuses to: a dry run has every check of a real one.
    pub(crate) async fn try_create(
        &self,
        object: &Value,
        fields: Fields,
    ) -> Result<Result<Value, Box<Status>>, Failure> {
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let mut request = Request::new(self.objects()).create(&dry_run, serde_json::to_vec(object)?)?;
        // kube has this parameter for patches only.
        *request.uri_mut() = format!("{}&fieldValidation={fields:?}", request.uri()).parse()?;
        answer(self.client.request(request).await)
    }

    /// Stores an object, and reads it back.
    pub(crate) async fn create(&self, name: &str, object: &Value) -> Result<Value, Failure> {
        let mut object = object.clone();
        object["metadata"]["name"] = json!(name);
        let objects = Request::new(self.objects());
        let create = objects.create(&PostParams::default(), serde_json::to_vec(&object)?)?;
        self.client.request::<Value>(create).await?;
        let get = objects.get(name, &GetParams::default())?;
        Ok(self.client.request(get).await?)
    }

    /// Applies a status, as the operator does.
    pub(crate) async fn apply_status(
        &self,
        name: &str,
        status: &Value,
    ) -> Result<Result<Value, Box<Status>>, Failure> {
        let object = json!({
            "apiVersion": "scimbridge.dev/v1alpha1", "kind": self.resource.kind,
            "metadata": {"name": name}, "status": status,
        });
        let request = Request::new(self.objects()).patch_subresource(
            "status",
            name,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(object),
        )?;
        answer(self.client.request(request).await)
    }

    /// Applies fields of an object as this field manager does, by server-side apply without force.
    pub(crate) async fn apply(
        &self,
        manager: &str,
        name: &str,
        object: &Value,
    ) -> Result<Result<Value, Box<Status>>, Failure> {
        let mut object = object.clone();
        object["metadata"]["name"] = json!(name);
        let request = Request::new(self.objects());
        let request = request.patch(name, &PatchParams::apply(manager), &Patch::Apply(object))?;
        answer(self.client.request(request).await)
    }

    /// Whether kubectl prints this text, wherever it breaks its lines.
    pub(crate) async fn prints(&self, args: &[&str], text: &str) -> Result<(), String> {
        let said = self.cluster.kubectl().run(args).await;
        let said = said.map_err(|error| error.to_string())?;
        let said: String = said.split_whitespace().flat_map(|word| [word, " "]).collect();
        if said.contains(text) { Ok(()) } else { Err(said) }
    }
}

/// Installs the definitions, and returns what kubectl had to say about them.
async fn install(cluster: &Cluster) -> Result<String, Failure> {
    let definitions = ["crd.yaml", "provisioning/crds.yaml"].map(deploy);
    let mut args = vec!["apply".to_owned(), "--server-side".to_owned()];
    args.extend(
        definitions
            .iter()
            .map(|path| format!("--filename={}", path.display())),
    );
    let output = cluster.kubectl().output(&args, "").await?;
    let said = String::from_utf8(output.stderr)?;
    if !output.status.success() {
        return Err(said.into());
    }
    // Once more, to wait until they are served.
    cluster
        .install(&definitions.each_ref().map(PathBuf::as_path))
        .await?;
    Ok(said)
}

pub(crate) fn deploy(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "deploy", path].iter().collect()
}

/// A refusal is an answer; everything else that goes wrong is a failure of the test.
fn answer(result: Result<Value, Error>) -> Result<Result<Value, Box<Status>>, Failure> {
    match result {
        Ok(object) => Ok(Ok(object)),
        // Of every code: what an apply cannot be merged for is a 500.
        Err(Error::Api(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(error.into()),
    }
}

/// A field and its fault.
pub(crate) fn causes(refusal: &Status) -> Vec<(&str, &str)> {
    let causes = refusal.details.iter().flat_map(|details| &details.causes);
    causes
        .map(|cause| (cause.field.as_str(), cause.message.as_str()))
        // About no field: that rules were not checked, for the causes that stand beside.
        .filter(|(field, _)| *field != "<nil>")
        .collect()
}

/// The object with other fields in its specification, as YAML. `ABSENT` takes a field away, `<9>` stands for a text of
/// so many letters, and `<9ü>` for so many of this one.
pub(crate) fn patched(mut object: Value, patch: &str) -> Value {
    let patch = lengthened(patch);
    let patch: Option<Map<String, Value>> = serde_saphyr::from_str(&patch).unwrap();
    let spec = object["spec"].as_object_mut().unwrap();
    for (field, value) in patch.unwrap_or_default() {
        if value == "ABSENT" {
            spec.remove(&field);
        } else {
            spec.insert(field, value);
        }
    }
    object
}

fn lengthened(text: &str) -> String {
    let Some((before, rest)) = text.split_once('<') else {
        return text.to_owned();
    };
    let (inside, after) = rest.split_once('>').unwrap();
    let digits = inside.trim_end_matches(|c: char| !c.is_ascii_digit());
    let letter = inside.get(digits.len()..).filter(|letter| !letter.is_empty());
    let letters = letter.unwrap_or("a").repeat(digits.parse().unwrap());
    format!("{before}{letters}{}", lengthened(after))
}
