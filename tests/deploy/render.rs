//! What kubectl makes of a kustomization.

use std::{fmt, fs, io, path::Path, process::Command};

use serde_json::Value;
use testbed::{scratch::Scratch, tools, workspace};

/// A way to install the operator: a folder with a kustomization.
pub(crate) const EVERYWHERE: &str = "deploy";
pub(crate) const ONE_NAMESPACE: &str = "deploy/overlays/one-namespace";
pub(crate) const SEVERAL_NAMESPACES: &str = "deploy/overlays/several-namespaces";
pub(crate) const WAYS: [&str; 3] = [EVERYWHERE, ONE_NAMESPACE, SEVERAL_NAMESPACES];

/// Name of everything.
pub(crate) const OPERATOR: &str = "scim-bridge-operator";

/// The file, by its path from the root of the workspace.
pub(crate) fn read(path: &str) -> String {
    let path = workspace::root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `kubectl kustomize` prints.
pub(crate) async fn rendered(folder: &Path) -> String {
    let kubectl = tools::kubectl(&mut io::stderr()).await.unwrap();
    let output = Command::new(kubectl)
        .arg("kustomize")
        .arg(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Nothing that kustomize warns of, either: deprecated fields, for instance.
    assert!(
        output.status.success() && said.is_empty(),
        "kubectl kustomize {}: {said}",
        folder.display()
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The objects of a way to install it.
pub(crate) async fn objects(way: &str) -> Objects {
    Objects::parse(&rendered(&workspace::root().join(way)).await)
}

/// The objects of a kustomization like one that a user writes. In it, `DEPLOY` stands for the path to `deploy/`.
pub(crate) async fn objects_of(kustomization: &str) -> Objects {
    let scratch = Scratch::new("kustomize").unwrap();
    // Kustomize refuses absolute paths. The folder is in `.testbed/run/`.
    let text = kustomization.replace("DEPLOY", "../../../deploy");
    fs::write(scratch.path().join("kustomization.yaml"), text).unwrap();
    Objects::parse(&rendered(scratch.path()).await)
}

/// The objects of a way to install it, with the component that goes with it for users and groups.
pub(crate) async fn provisioned(way: &str) -> Objects {
    let component = match way {
        EVERYWHERE => "DEPLOY/provisioning",
        // Nothing in these is cluster-wide.
        _ => "DEPLOY/provisioning/operator",
    };
    let resource = way.replacen("deploy", "DEPLOY", 1);
    objects_of(&format!("resources: [{resource}]\ncomponents: [{component}]")).await
}

/// Manifests, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Objects(pub(crate) Vec<Value>);

impl Objects {
    pub(crate) fn parse(manifests: &str) -> Self {
        Self(serde_saphyr::from_multiple(manifests).unwrap())
    }

    /// `KIND NAMESPACE/NAME` of each, as in the tables of the tests.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|object| Name(object).to_string()).collect()
    }

    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// The only one of its kind.
    pub(crate) fn one(&self, kind: &str) -> &Value {
        let found: Vec<_> = self.of_kind(kind).collect();
        assert_eq!(found.len(), 1, "{kind}: {:?}", self.names());
        found[0]
    }

    /// The operator's container.
    pub(crate) fn container(&self) -> &Value {
        let containers = &self.one("Deployment")["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers.as_array().unwrap().len(), 1, "{containers}");
        &containers[0]
    }
}

/// Says which object it is.
pub(crate) struct Name<'a>(pub(crate) &'a Value);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = &self.0["metadata"];
        write!(f, "{} ", self.0["kind"].as_str().unwrap())?;
        if let Some(namespace) = metadata["namespace"].as_str() {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{}", metadata["name"].as_str().unwrap())
    }
}
