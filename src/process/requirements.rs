//! Checks what the operator requires of its cluster: the CRD and the permissions of its ServiceAccount.
//!
//! Every ServiceAccount may make these checks, so they work without any cluster-wide permission. They read the API
//! server's discovery and OpenAPI documents instead of the CRD, and create `SelfSubjectAccessReview`s.

use std::{fmt, iter, time::Duration};

use futures::{StreamExt as _, stream};
use k8s_openapi::{
    api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, api::PostParams};
use serde_json::Value;
use tokio::sync::watch;
use tracing::{error, info};

use crate::{
    api::{
        kinds::{CONNECTION, Kind, LEASE_RIGHTS, PROVISIONING_KINDS, PROVISIONING_RIGHTS, RIGHTS, Right},
        schema,
    },
    args::Scope,
    cluster::call::{CallFailure, answer},
};

/// Time for a request with all its retries: kube retries 429, 503 and 504 by itself for a long time.
const BUDGET: Duration = Duration::from_secs(15);
/// Maximum concurrent requests: with many namespaces there are hundreds.
const MAX_REQUESTS: usize = 8;
/// Pause between two checks while a requirement is not met.
const PAUSE: Duration = Duration::from_secs(3);
/// Maximum paths in a finding.
const MAX_PATHS: usize = 5;

/// The requests to the API server, as findings name them.
const KINDS_REQUEST: &str = "the kinds that it serves";
const SCHEMA_REQUEST: &str = "the schema of its kinds";
const ACCESS_REQUEST: &str = "the permissions of this identity";

/// What the operator requires of its cluster.
#[derive(Clone, Debug)]
pub(super) struct Requirements {
    /// Namespaces to work in; `None` means all.
    pub(super) scopes: Vec<Option<String>>,
    /// The Lease; `None` without leader election.
    pub(super) lease: Option<LeaseName>,
    /// Whether it keeps users and groups too.
    pub(super) provisioning: bool,
}

/// Namespace and name of the Lease.
#[derive(Clone, Debug)]
pub(super) struct LeaseName {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A requirement that is not met. The message is one line with the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Finding {
    #[error(
        "the CRD is not installed: the API server does not serve {crd}. Apply {manifest}, or install the chart with \
         {chart_values}"
    )]
    CrdAbsent {
        crd: String,
        manifest: &'static str,
        chart_values: &'static str,
    },
    #[error(
        "the CRD {crd} is of another version: the API server does not serve {version}. Apply the CRD of operator {}, or \
         run the operator that belongs to the CRD",
        env!("CARGO_PKG_VERSION")
    )]
    VersionAbsent { crd: String, version: String },
    #[error(
        "another product owns the CRD {crd} (it {sign}). It was not changed. Both products cannot share a cluster. Ask its \
         owner before you delete the CRD: that deletes all its objects"
    )]
    CrdForeign { crd: String, sign: ForeignSign },
    #[error(
        "the CRD {crd} is older than this operator: it has no {}. Apply the CRD of operator {}",
        Paths(missing),
        env!("CARGO_PKG_VERSION")
    )]
    CrdOlder { crd: String, missing: Vec<String> },
    #[error(
        "this identity may not {} {resource} {namespaces}. Grant it as deploy/ and the chart do (docs/reference/access.md)",
        verbs.join(", ")
    )]
    Denied {
        resource: &'static str,
        verbs: Vec<&'static str>,
        namespaces: Namespaces,
        /// Whether the operator can do nothing without it.
        blocks: bool,
    },
    #[error(
        "the API server did not answer the request for {0}. Check that it can be reached and is not overloaded"
    )]
    Unanswered(&'static str),
    #[error("the API server answered {status} to the request for {request}. {}", next_step(*status))]
    Refused { status: u16, request: &'static str },
    #[error("the API server does not publish the schema of the CRD {0} yet. Wait, then check again")]
    SchemaAbsent(String),
}

/// What shows that a CRD belongs to another product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForeignSign {
    Kind,
    Scope,
    /// It lacks one of these fields.
    Schema(&'static [&'static str]),
}

/// The namespaces in which a permission is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Namespaces {
    All,
    One(String),
}

// === impl Requirements ===

impl Requirements {
    /// The requirements for this scope. `home` is the operator's namespace.
    pub(super) fn new(scope: &Scope, home: &str) -> Self {
        let Scope {
            namespaces,
            leader_elect,
            lease_name,
            lease_namespace,
            provisioning,
        } = scope;
        let mut named: Vec<_> = namespaces.iter().cloned().map(Some).collect();
        // The same namespace may be given twice.
        named.sort();
        named.dedup();
        Self {
            scopes: if named.is_empty() { vec![None] } else { named },
            lease: leader_elect.then(|| LeaseName {
                namespace: lease_namespace.clone().unwrap_or_else(|| home.to_owned()),
                name: lease_name.clone(),
            }),
            provisioning: *provisioning,
        }
    }
}

// === impl Finding ===

impl Finding {
    /// Whether the controller must not start. Other findings leave it running, but not ready.
    pub(super) fn blocks(&self) -> bool {
        match self {
            Self::CrdAbsent { .. }
            | Self::VersionAbsent { .. }
            | Self::CrdForeign { .. }
            | Self::Unanswered(_)
            | Self::Refused { .. }
            | Self::SchemaAbsent(_) => true,
            // The API server refuses a whole status if its schema lacks one of the fields. A missing field of the
            // specification does not matter: nobody can have set it.
            Self::CrdOlder { missing, .. } => missing.iter().any(|path| path.starts_with("status")),
            Self::Denied { blocks, .. } => *blocks,
        }
    }

    /// Whether every other request would have the same result.
    pub(super) fn concerns_every_request(&self) -> bool {
        match self {
            Self::Unanswered(_) => true,
            Self::Refused { status, .. } => !matches!(status, 403 | 404),
            Self::CrdAbsent { .. }
            | Self::VersionAbsent { .. }
            | Self::CrdForeign { .. }
            | Self::CrdOlder { .. }
            | Self::Denied { .. }
            | Self::SchemaAbsent(_) => false,
        }
    }
}

/// Repeats the checks until all requirements are met. Logs the findings when they change.
pub(super) async fn watch_over(
    client: Client,
    requirements: Requirements,
    findings: watch::Sender<Option<Vec<Finding>>>,
) {
    loop {
        let found = check(&client, &requirements).await;
        let before = findings.send_replace(Some(found.clone()));
        if before.as_ref() != Some(&found) {
            for finding in &found {
                error!(blocks = finding.blocks(), "not ready: {finding}");
            }
        }
        if found.is_empty() {
            if before.is_some() {
                info!("all requirements are met now");
            }
            // If a permission is removed later, the calls that need it fail and are logged.
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Checks all requirements once.
async fn check(client: &Client, requirements: &Requirements) -> Vec<Finding> {
    let mut found = check_definitions(client, requirements).await;
    // If the API server answers nothing, the other checks would only add the same finding.
    if !found.iter().any(Finding::concerns_every_request) {
        found.extend(check_access(client, requirements).await);
    }
    found
}

/// Checks that the API server serves each kind, with the schema of this version.
pub(super) async fn check_definitions(client: &Client, requirements: &Requirements) -> Vec<Finding> {
    let provisioning = PROVISIONING_KINDS.iter().filter(|_| requirements.provisioning);
    let mut found = Vec::new();
    for kind in iter::once(&CONNECTION).chain(provisioning) {
        found.extend(check_definition(client, kind).await.err());
    }
    found
}

async fn check_definition(client: &Client, kind: &Kind) -> Result<(), Finding> {
    let own = (kind.resource)();
    let crd = format!("{}.{}", own.plural, own.group);
    let absent = || Finding::CrdAbsent {
        crd: crd.clone(),
        manifest: kind.manifest,
        chart_values: kind.chart_values,
    };
    let resources = answer(BUDGET, client.list_api_group_resources(&own.api_version)).await;
    let Some(resources) = resources.map_err(|failure| no_answer(failure, KINDS_REQUEST))? else {
        let groups = answer(BUDGET, client.list_api_groups()).await;
        let groups = groups.ok().flatten().map(|list| list.groups).unwrap_or_default();
        return Err(if groups.iter().any(|group| group.name == own.group) {
            Finding::VersionAbsent {
                crd,
                version: own.version,
            }
        } else {
            absent()
        });
    };
    let Some(served) = resources
        .resources
        .iter()
        .find(|resource| resource.name == own.plural)
    else {
        return Err(absent());
    };
    let foreign = |sign| Finding::CrdForeign {
        crd: crd.clone(),
        sign,
    };
    if served.kind != own.kind {
        return Err(foreign(ForeignSign::Kind));
    }
    if !served.namespaced {
        return Err(foreign(ForeignSign::Scope));
    }
    let path = format!("/openapi/v3/apis/{}", own.api_version);
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|_| Finding::Unanswered(SCHEMA_REQUEST))?;
    let document: Option<Value> = answer(BUDGET, client.request(request))
        .await
        .map_err(|failure| no_answer(failure, SCHEMA_REQUEST))?;
    // For a moment after a CRD is applied, the document does not have its schema.
    let schema = document
        .as_ref()
        .and_then(|document| schema_of(document, &own.kind));
    let schema = schema.ok_or_else(|| Finding::SchemaAbsent(crd.clone()))?;
    let missing = schema::missing(schema, &schema_in(&(kind.crd)()));
    let is_essential = |path: &String| kind.essential_fields.contains(&path.as_str());
    if missing.iter().any(is_essential) {
        return Err(foreign(ForeignSign::Schema(kind.essential_fields)));
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Finding::CrdOlder { crd, missing })
    }
}

/// The schema of a kind. Found by the mark that the API server puts on it, because the names of components may change.
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

/// The schema in a CRD.
fn schema_in(crd: &CustomResourceDefinition) -> Value {
    let crd = serde_json::to_value(crd).unwrap_or_default();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema")
        .cloned()
        .unwrap_or_default()
}

/// Checks the permissions that the operator needs.
pub(super) async fn check_access(client: &Client, requirements: &Requirements) -> Vec<Finding> {
    let Requirements {
        scopes,
        lease,
        provisioning,
    } = requirements;
    let mut wanted = in_each(scopes, RIGHTS, false);
    if *provisioning {
        wanted.extend(in_each(scopes, PROVISIONING_RIGHTS, false));
    }
    if let Some(LeaseName { namespace, name }) = lease {
        let [create, use_own] = LEASE_RIGHTS;
        for (right, name) in [(create, None), (use_own, Some(name.as_str()))] {
            wanted.extend(
                Permission::of(&right, Some(namespace)).map(|permission| Permission {
                    name,
                    blocks: true,
                    ..permission
                }),
            );
        }
    }
    check_all(client, wanted).await
}

/// Checks the permissions that the operator can do without.
pub(super) async fn check_optional_access(client: &Client, requirements: &Requirements) -> Vec<Finding> {
    check_all(client, in_each(&requirements.scopes, RIGHTS, true)).await
}

/// The optional or the needed permissions in each scope.
fn in_each<'a>(
    scopes: &'a [Option<String>],
    rights: &'static [Right],
    optional: bool,
) -> Vec<Permission<'a>> {
    let mut wanted = Vec::new();
    for scope in scopes {
        for right in rights.iter().filter(|right| right.is_optional == optional) {
            wanted.extend(Permission::of(right, scope.as_deref()));
        }
    }
    wanted
}

async fn check_all(client: &Client, wanted: Vec<Permission<'_>>) -> Vec<Finding> {
    let found = stream::iter(wanted)
        .map(|permission| permission.check(client))
        .buffered(MAX_REQUESTS)
        .filter_map(std::future::ready)
        .collect::<Vec<_>>()
        .await;
    // An API server that refuses one question refuses all of them.
    let mut distinct = Vec::new();
    for finding in found {
        if !distinct.contains(&finding) {
            distinct.push(finding);
        }
    }
    distinct
}

/// Verbs on a resource that the operator wants to use.
struct Permission<'a> {
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    blocks: bool,
}

impl<'a> Permission<'a> {
    /// The permission for each resource of a right. The operator works on without it.
    fn of(right: &Right, namespace: Option<&'a str>) -> impl Iterator<Item = Self> {
        let Right { group, verbs, .. } = *right;
        right.resources.iter().map(move |resource| Self {
            group,
            resource,
            verbs,
            namespace,
            name: None,
            blocks: false,
        })
    }

    async fn check(self, client: &Client) -> Option<Finding> {
        let mut denied = Vec::new();
        for verb in self.verbs {
            match self.is_granted(client, verb).await {
                Ok(true) => {}
                Ok(false) => denied.push(*verb),
                Err(failure) => return Some(no_answer(failure, ACCESS_REQUEST)),
            }
        }
        (!denied.is_empty()).then(|| Finding::Denied {
            resource: self.resource,
            verbs: denied,
            namespaces: self
                .namespace
                .map_or(Namespaces::All, |namespace| Namespaces::One(namespace.to_owned())),
            blocks: self.blocks,
        })
    }

    async fn is_granted(&self, client: &Client, verb: &str) -> Result<bool, CallFailure> {
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
        let review = answer(BUDGET, reviews.create(&PostParams::default(), &review)).await?;
        let review = review.ok_or(CallFailure::Refused(404))?;
        Ok(review.status.ok_or(CallFailure::Unanswered)?.allowed)
    }
}

/// The finding that a request to the API server has no usable answer.
const fn no_answer(failure: CallFailure, request: &'static str) -> Finding {
    match failure {
        // kube gives an error that it cannot read the status 0.
        CallFailure::Refused(0) | CallFailure::Unanswered | CallFailure::TimedOut => {
            Finding::Unanswered(request)
        }
        CallFailure::Refused(status) => Finding::Refused { status, request },
    }
}

/// What to do after an answer with this status.
const fn next_step(status: u16) -> &'static str {
    match status {
        401 | 403 => "Check the credentials",
        404 => "Check that this is the address of a Kubernetes API server",
        _ => "Read the log of the API server",
    }
}

/// Shows the first paths and the number of the others.
struct Paths<'a>(&'a [String]);

impl fmt::Display for Paths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> = self.0.iter().map(String::as_str).take(MAX_PATHS).collect();
        f.write_str(&named.join(", "))?;
        match self.0.len().saturating_sub(named.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for ForeignSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => f.write_str("defines another kind"),
            Self::Scope => f.write_str("is not namespaced"),
            Self::Schema(essential) => {
                // Without `spec` it has nothing below it either, which says more.
                let fields = essential.iter().filter(|field| field.contains('.'));
                let lacks: Vec<String> = fields.map(|field| format!("no {field}")).collect();
                write!(f, "has {}", lacks.join(" or "))
            }
        }
    }
}

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("in all namespaces"),
            Self::One(name) => write!(f, "in namespace {name}"),
        }
    }
}
