//! What the program needs of its cluster, and what of that is not there.
//!
//! Asked with the rights that every ServiceAccount has: the API server's discovery and OpenAPI documents instead of the
//! CRD itself, and reviews of one's own access. So it works in an installation without any cluster-wide right as well.

use std::{fmt, future::Future, time::Duration};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, CustomResourceExt as _, Resource as _, api::PostParams};
use serde_json::Value;
use tokio::{sync::watch, time::timeout};
use tracing::{error, info};

use crate::{
    api::{self, GROUP, schema, v1alpha1::ScimBridgeConnection},
    args::Footing,
};

/// kube repeats 429, 503 and 504 by itself, and for long; this bounds each question.
const BUDGET: Duration = Duration::from_secs(15);
/// Questions under way at a time: with many namespaces there are hundreds.
const QUESTIONS: usize = 8;
/// Pause between two examinations while something is missing.
const PAUSE: Duration = Duration::from_secs(3);
/// Most paths that a finding names.
const NAMED_PATHS: usize = 5;

/// What the controller must be able to do in each of its scopes: group, resource, verbs. `deploy/` grants it.
const ACCESS: &[(&str, &str, &[&str])] = &[
    (GROUP, "scimbridgeconnections", &["get", "list", "watch"]),
    (GROUP, "scimbridgeconnections/status", &["patch"]),
    ("", "secrets", &["get", "list", "watch"]),
    ("", "configmaps", &["get", "list", "watch"]),
];

/// What it can do without: then it tells nobody what has changed. The log says so, and `preflight`; it is ready anyway.
const AMENITIES: &[(&str, &str, &[&str])] = &[("events.k8s.io", "events", &["create", "patch"])];

/// What the program needs.
#[derive(Clone, Debug)]
pub(super) struct Needs {
    /// Namespaces to work in; `None` stands for all.
    pub(super) scopes: Vec<Option<String>>,
    /// The Lease, where there is to be one.
    pub(super) lease: Option<LeaseName>,
}

/// Where the Lease is.
#[derive(Clone, Debug)]
pub(super) struct LeaseName {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Something that the program needs and does not have. One line each, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Finding {
    #[error(
        "the CRD is not installed: nothing serves scimbridgeconnections.scimbridge.dev; apply deploy/crd.yaml, or \
         install the chart with crds.install=true"
    )]
    CrdAbsent,
    #[error(
        "the CRD is of another time: {GROUP} is served, but not as {}; apply the CRD of version {}, or run the program \
         that belongs to the CRD",
        own_version(),
        env!("CARGO_PKG_VERSION")
    )]
    VersionAbsent,
    #[error(
        "the CRD is somebody else's: scimbridgeconnections.{GROUP} {0}; it was left alone, and has to go before this \
         program can work here"
    )]
    CrdForeign(Strangeness),
    #[error(
        "the CRD is older than this program: it has no {}; apply the CRD of version {}",
        Paths(.0),
        env!("CARGO_PKG_VERSION")
    )]
    CrdOlder(Vec<String>),
    #[error(
        "the ServiceAccount may not {} {resource} {place}; grant it as deploy/ and the chart do (docs/reference/access.md)",
        verbs.join(", ")
    )]
    Denied {
        resource: &'static str,
        verbs: Vec<&'static str>,
        place: Place,
        /// Whether nothing can be done without it.
        blocks: bool,
    },
    #[error("the API server did not answer when asked {0}; asking again")]
    Unanswered(&'static str),
}

/// How a foreign CRD is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strangeness {
    Kind,
    Scope,
    Schema,
}

/// Where a permission is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Everywhere,
    Namespace(String),
}

// === impl Needs ===

impl Needs {
    /// What this footing stands on. `home` is the program's own namespace.
    pub(super) fn new(footing: &Footing, home: &str) -> Self {
        let Footing {
            namespaces,
            leader_elect,
            lease_name,
            lease_namespace,
        } = footing;
        let mut named: Vec<_> = namespaces.iter().cloned().map(Some).collect();
        // One that is named twice is watched once.
        named.sort();
        named.dedup();
        Self {
            scopes: if named.is_empty() { vec![None] } else { named },
            lease: leader_elect.then(|| LeaseName {
                namespace: lease_namespace.clone().unwrap_or_else(|| home.to_owned()),
                name: lease_name.clone(),
            }),
        }
    }
}

// === impl Finding ===

impl Finding {
    /// Whether no work at all is possible. Where not, the work goes on as far as it can, and the program is not ready.
    pub(super) fn blocks(&self) -> bool {
        match self {
            Self::CrdAbsent | Self::VersionAbsent | Self::CrdForeign(_) | Self::Unanswered(_) => true,
            // An apply with a field that the schema does not know is refused as a whole. What is missing of the
            // specification, nobody could have set.
            Self::CrdOlder(paths) => paths.iter().any(|path| path.starts_with("status")),
            Self::Denied { blocks, .. } => *blocks,
        }
    }
}

/// Examines again and again until nothing is missing. What is found is logged when it changes.
pub(super) async fn watch_over(client: Client, needs: Needs, findings: watch::Sender<Option<Vec<Finding>>>) {
    loop {
        let found = examine(&client, &needs).await;
        let before = findings.send_replace(Some(found.clone()));
        if before.as_ref() != Some(&found) {
            for finding in &found {
                error!(blocks = finding.blocks(), "not ready: {finding}");
            }
        }
        if found.is_empty() {
            if before.is_some() {
                info!("the cluster has all that is needed now");
            }
            // A right that is taken away later shows in the calls that need it.
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks once for everything.
pub(super) async fn examine(client: &Client, needs: &Needs) -> Vec<Finding> {
    let mut found = examine_definition(client).await;
    // Without an answer to the first question the others would only repeat it.
    if !matches!(found.as_slice(), [Finding::Unanswered(_)]) {
        found.extend(examine_access(client, needs).await);
    }
    found
}

/// Whether the kind is served, as this program knows it.
pub(super) async fn examine_definition(client: &Client) -> Vec<Finding> {
    match definition(client).await {
        Ok(()) => Vec::new(),
        Err(finding) => vec![finding],
    }
}

async fn definition(client: &Client) -> Result<(), Finding> {
    let own = ScimBridgeConnection::api_resource();
    let resources = ask(client.list_api_group_resources(&own.api_version)).await;
    let Some(resources) = resources.ok_or(Finding::Unanswered("which kinds it serves"))? else {
        let groups = ask(client.list_api_groups()).await;
        let groups = groups.flatten().map(|list| list.groups).unwrap_or_default();
        return Err(if groups.iter().any(|group| group.name == GROUP) {
            Finding::VersionAbsent
        } else {
            Finding::CrdAbsent
        });
    };
    let Some(served) = resources
        .resources
        .iter()
        .find(|resource| resource.name == own.plural)
    else {
        return Err(Finding::CrdAbsent);
    };
    if served.kind != own.kind {
        return Err(Finding::CrdForeign(Strangeness::Kind));
    }
    if !served.namespaced {
        return Err(Finding::CrdForeign(Strangeness::Scope));
    }
    let what = "for the schema of its kinds";
    let path = format!("/openapi/v3/apis/{}", own.api_version);
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|_| Finding::Unanswered(what))?;
    // The document follows the CRD by a moment.
    let document: Value = ask(client.request(request))
        .await
        .flatten()
        .ok_or(Finding::Unanswered(what))?;
    let schema = schema_of(&document, &own.kind).ok_or(Finding::Unanswered(what))?;
    let missing = schema::missing(schema, &own_schema());
    // A definition without these fields was not made for this program, whatever its version.
    let is_essential = |path: &String| matches!(path.as_str(), "spec" | "spec.url" | "spec.apiKeySecretRef");
    if missing.iter().any(is_essential) {
        return Err(Finding::CrdForeign(Strangeness::Schema));
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Finding::CrdOlder(missing))
    }
}

/// The schema of our kind, found by the mark that the API server puts on it: names of components are its own business.
fn schema_of<'a>(document: &'a Value, kind: &str) -> Option<&'a Value> {
    let schemas = document.pointer("/components/schemas")?.as_object()?;
    schemas.values().find(|schema| {
        let marks = schema
            .get("x-kubernetes-group-version-kind")
            .and_then(Value::as_array);
        marks
            .into_iter()
            .flatten()
            .any(|mark| mark.get("kind").and_then(Value::as_str) == Some(kind))
    })
}

fn own_schema() -> Value {
    let crd = serde_json::to_value(api::crd()).unwrap_or_default();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema")
        .cloned()
        .unwrap_or_default()
}

fn own_version() -> String {
    ScimBridgeConnection::version(&()).into_owned()
}

/// Whether the ServiceAccount may do what it has to.
pub(super) async fn examine_access(client: &Client, needs: &Needs) -> Vec<Finding> {
    let Needs { scopes, lease } = needs;
    let mut wanted = in_each(scopes, ACCESS);
    if let Some(LeaseName { namespace, name }) = lease {
        for (verbs, name) in [(&["create"][..], None), (&["get", "update"], Some(name.as_str()))] {
            wanted.push(Wanted {
                group: "coordination.k8s.io",
                resource: "leases",
                verbs,
                namespace: Some(namespace),
                name,
                blocks: true,
            });
        }
    }
    examine_all(client, wanted).await
}

/// What it could do with, and may not.
pub(super) async fn examine_amenities(client: &Client, needs: &Needs) -> Vec<Finding> {
    examine_all(client, in_each(&needs.scopes, AMENITIES)).await
}

/// These verbs on these resources, in each scope.
fn in_each<'a>(
    scopes: &'a [Option<String>],
    access: &[(&'static str, &'static str, &'static [&'static str])],
) -> Vec<Wanted<'a>> {
    let wanted = scopes.iter().flat_map(|scope| {
        access.iter().map(|&(group, resource, verbs)| Wanted {
            group,
            resource,
            verbs,
            namespace: scope.as_deref(),
            name: None,
            blocks: false,
        })
    });
    wanted.collect()
}

async fn examine_all(client: &Client, wanted: Vec<Wanted<'_>>) -> Vec<Finding> {
    stream::iter(wanted)
        .map(|wanted| wanted.examine(client))
        .buffered(QUESTIONS)
        .filter_map(std::future::ready)
        .collect()
        .await
}

/// Verbs on a resource.
struct Wanted<'a> {
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    blocks: bool,
}

impl Wanted<'_> {
    async fn examine(self, client: &Client) -> Option<Finding> {
        let mut denied = Vec::new();
        for verb in self.verbs {
            match self.may(client, verb).await {
                Some(true) => {}
                Some(false) => denied.push(*verb),
                None => return Some(Finding::Unanswered("what the ServiceAccount may do")),
            }
        }
        (!denied.is_empty()).then(|| Finding::Denied {
            resource: self.resource,
            verbs: denied,
            place: self.namespace.map_or(Place::Everywhere, |namespace| {
                Place::Namespace(namespace.to_owned())
            }),
            blocks: self.blocks,
        })
    }

    async fn may(&self, client: &Client, verb: &str) -> Option<bool> {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource)),
            None => (self.resource, None),
        };
        let attributes = ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            verb: Some(verb.to_owned()),
            namespace: self.namespace.map(str::to_owned),
            name: self.name.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews = Api::all(client.clone());
        let answer = ask(reviews.create(&PostParams::default(), &review)).await??;
        Some(answer.status?.allowed)
    }
}

/// Asks the API server: `None` without an answer, `Some(None)` where it answers that there is no such thing.
async fn ask<T>(question: impl Future<Output = Result<T, kube::Error>>) -> Option<Option<T>> {
    match timeout(BUDGET, question).await {
        Ok(Ok(answer)) => Some(Some(answer)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Some(None),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// As many paths as one can read.
struct Paths<'a>(&'a [String]);

impl fmt::Display for Paths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> = self.0.iter().map(String::as_str).take(NAMED_PATHS).collect();
        f.write_str(&named.join(", "))?;
        match self.0.len().saturating_sub(named.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Strangeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "is of another kind",
            Self::Scope => "is not namespaced",
            Self::Schema => "has no spec.url or no spec.apiKeySecretRef",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere => f.write_str("in all namespaces"),
            Self::Namespace(name) => write!(f, "in namespace {name}"),
        }
    }
}
