//! What the ServiceAccount of `deploy/rbac.yaml` may do, and that it may do nothing else.

use std::path::Path;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::{
    authorization::v1::{ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use testbed::bed::{Bed, OPERATOR};

/// In any namespace.
const MAY: [&str; 12] = [
    "get scimbridgeconnections.scimbridge.dev",
    "list scimbridgeconnections.scimbridge.dev",
    "watch scimbridgeconnections.scimbridge.dev",
    "patch scimbridgeconnections.scimbridge.dev --subresource=status",
    "get secrets",
    "list secrets",
    "watch secrets",
    "get configmaps",
    "list configmaps",
    "watch configmaps",
    "create events.events.k8s.io",
    "patch events.events.k8s.io",
];

/// In any namespace, its own included.
const MAY_NOT: [&str; 30] = [
    "list scimusers.scimbridge.dev",
    "watch scimgroups.scimbridge.dev",
    "patch scimusers.scimbridge.dev --subresource=status",
    "create secrets",
    "update secrets",
    "patch secrets",
    "delete secrets",
    "patch configmaps",
    "delete configmaps",
    "create scimbridgeconnections.scimbridge.dev",
    "update scimbridgeconnections.scimbridge.dev",
    "patch scimbridgeconnections.scimbridge.dev",
    "delete scimbridgeconnections.scimbridge.dev",
    "update scimbridgeconnections.scimbridge.dev --subresource=status",
    "get pods",
    "create pods",
    "create pods --subresource=exec",
    "create serviceaccounts --subresource=token",
    "create events",
    "get events.events.k8s.io",
    "list events.events.k8s.io",
    "update events.events.k8s.io",
    "delete events.events.k8s.io",
    "list leases.coordination.k8s.io",
    "get leases.coordination.k8s.io/another",
    "update leases.coordination.k8s.io/another",
    "delete leases.coordination.k8s.io/scim-bridge-operator",
    "patch customresourcedefinitions.apiextensions.k8s.io",
    "create clusterrolebindings.rbac.authorization.k8s.io",
    "impersonate users",
];

/// In its own namespace alone.
const MAY_AT_HOME: [&str; 3] = [
    "create leases.coordination.k8s.io",
    "get leases.coordination.k8s.io/scim-bridge-operator",
    "update leases.coordination.k8s.io/scim-bridge-operator",
];

#[tokio::test]
async fn the_service_account_may_do_its_work_and_nothing_else() {
    let bed = Bed::new("rbac").await;
    let kubectl = bed.cluster.kubectl().with_kubeconfig(&bed.kubeconfig);
    let abroad = bed.namespace.as_str();
    let mut questions = Vec::new();
    for namespace in [abroad, OPERATOR] {
        questions.extend(MAY.map(|question| (question, namespace, "yes")));
        questions.extend(MAY_NOT.map(|question| (question, namespace, "no")));
    }
    questions.extend(MAY_AT_HOME.map(|question| (question, OPERATOR, "yes")));
    questions.extend(MAY_AT_HOME.map(|question| (question, abroad, "no")));

    let wrong: Vec<String> = stream::iter(questions)
        .map(async |(question, namespace, expected)| {
            let words = question.split(' ');
            let args: Vec<&str> = ["auth", "can-i", "-n", namespace]
                .into_iter()
                .chain(words)
                .collect();
            let output = kubectl.output(&args, "").await.unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            (said.trim() != expected).then(|| format!("{question} in {namespace}: {said}, not {expected}"))
        })
        .buffer_unordered(4)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The whole list, by the API server's own account: a permission that is added by mistake is seen here.
#[tokio::test]
async fn the_list_of_permissions_is_complete() {
    let bed = Bed::new("rules").await;
    let look = ["get", "list", "watch"];
    let everywhere = [
        rule(&[""], &["configmaps", "secrets"], &[], &look),
        rule(&["events.k8s.io"], &["events"], &[], &["create", "patch"]),
        rule(&["scimbridge.dev"], &["scimbridgeconnections"], &[], &look),
        rule(
            &["scimbridge.dev"],
            &["scimbridgeconnections/status"],
            &[],
            &["patch"],
        ),
    ];
    assert_eq!(rules(&bed, &bed.namespace).await, everywhere);

    let leases = ["leases"];
    let mut at_home = everywhere.to_vec();
    at_home.extend([
        rule(&["coordination.k8s.io"], &leases, &[], &["create"]),
        rule(&["coordination.k8s.io"], &leases, &[OPERATOR], &["get", "update"]),
    ]);
    at_home.sort();
    assert_eq!(rules(&bed, OPERATOR).await, at_home);
}

/// API groups, resources, names and verbs, each sorted.
type Rule = [Vec<String>; 4];

fn rule(groups: &[&str], resources: &[&str], names: &[&str], verbs: &[&str]) -> Rule {
    [groups, resources, names, verbs].map(|words| words.iter().map(ToString::to_string).collect())
}

/// What the operator may do in a namespace, without what everybody may.
async fn rules(bed: &Bed<'_>, namespace: &str) -> Vec<Rule> {
    let nobody = ServiceAccount {
        metadata: ObjectMeta {
            name: Some("nobody".to_owned()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    let accounts = bed.api::<ServiceAccount>();
    let parameters = PatchParams::apply("a-user");
    accounts
        .patch("nobody", &parameters, &Patch::Apply(nobody))
        .await
        .unwrap();
    let nobody = bed.cluster.service_account_kubeconfig(&bed.namespace, "nobody");
    let everybodys = rules_of(&nobody.await.unwrap(), namespace).await;
    let mut rules = rules_of(&bed.kubeconfig, namespace).await;
    rules.retain(|rule| !everybodys.contains(rule));
    rules
}

async fn rules_of(kubeconfig: &Path, namespace: &str) -> Vec<Rule> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let client = Client::try_from(config.unwrap()).unwrap();
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let reviews = Api::<SelfSubjectRulesReview>::all(client);
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
    let status = answer.status.unwrap();
    assert!(!status.incomplete, "{:?}", status.evaluation_error);
    let mut rules: Vec<Rule> = status
        .resource_rules
        .into_iter()
        .map(|rule| {
            let ResourceRule {
                api_groups,
                resources,
                resource_names,
                verbs,
            } = rule;
            [api_groups, resources, resource_names, Some(verbs)].map(|words| {
                let mut words = words.unwrap_or_default();
                words.sort();
                words
            })
        })
        .collect();
    rules.sort();
    rules
}
