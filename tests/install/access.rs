//! What the ServiceAccount may do: what docs/reference/access.md says, no more, no less, in each way to install it.

use std::{collections::BTreeSet, fs, path::Path};

use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use testbed::workspace;

use crate::installation::{HOME, IDENTITY, NAME, Site, Way};

/// `get secrets`, `update leases.coordination.k8s.io/NAME`: one permission.
type Permissions = BTreeSet<String>;

/// The page with the table of rights.
const PAGE: &str = "docs/reference/access.md";

/// The rows of the table whose scope begins like this.
fn documented(scope: &str) -> Permissions {
    let page = fs::read_to_string(workspace::root().join(PAGE)).unwrap();
    let mut found = Permissions::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [resources, verbs, place, ..] = cells[..] else {
            panic!("{row}")
        };
        if !place.starts_with(scope) {
            continue;
        }
        let group = resources
            .split_once('(')
            .map_or("", |(_, rest)| rest.trim_matches([')', '`']));
        let names = resources.split('(').next().unwrap();
        for resource in names.split(',').map(|name| name.trim().trim_matches('`')) {
            for verb in verbs.split(',').map(str::trim) {
                let name = if place.contains(" only") { NAME } else { "*" };
                found.insert(format!("{verb} {group}/{resource} {name}"));
            }
        }
    }
    assert!(!found.is_empty(), "{PAGE}: no row has the scope {scope:?}");
    found
}

/// What this kubeconfig may do in a namespace, by the API server's own account.
async fn granted(kubeconfig: &Path, namespace: &str) -> Permissions {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let reviews: Api<SelfSubjectRulesReview> = Api::all(Client::try_from(config.unwrap()).unwrap());
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let status = reviews
        .create(&PostParams::default(), &review)
        .await
        .unwrap()
        .status
        .unwrap();
    assert!(!status.incomplete, "{:?}", status.evaluation_error);
    let any = || vec!["*".to_owned()];
    let mut found = Permissions::new();
    for rule in status.resource_rules {
        for group in rule.api_groups.unwrap_or_default() {
            for resource in rule.resources.clone().unwrap_or_default() {
                for name in rule.resource_names.clone().unwrap_or_else(any) {
                    for verb in &rule.verbs {
                        found.insert(format!("{verb} {group}/{resource} {name}"));
                    }
                }
            }
        }
    }
    found
}

async fn may_do_what_the_page_says(way: Way, works_in: &[&str]) {
    let site = Site::new(way).await;
    site.install(&[]).await;
    let nobody = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "nobody", "namespace": HOME}});
    site.cluster.apply(&nobody.to_string()).await.unwrap();
    let nobody = site
        .cluster
        .service_account_kubeconfig(HOME, "nobody")
        .await
        .unwrap();
    let operator = site.kubeconfig().await;

    let work = documented("cluster");
    let home = documented("own namespace");
    for namespace in [HOME, IDENTITY, "team-b", "elsewhere", "kube-system"] {
        let everybodys = granted(&nobody, namespace).await;
        let found: Permissions = granted(&operator, namespace)
            .await
            .difference(&everybodys)
            .cloned()
            .collect();
        let mut expected = Permissions::new();
        if works_in.contains(&"*") || works_in.contains(&namespace) {
            expected.extend(work.clone());
        }
        if namespace == HOME {
            expected.extend(home.clone());
        }
        assert_eq!(found, expected, "{way:?}, in namespace {namespace}");
    }

    // Tried, not asked.
    let kubectl = site.cluster.kubectl().with_kubeconfig(&operator);
    for attempt in [
        "create secret generic x -n identity --from-literal=a=b",
        "delete secret x -n identity",
        "create configmap x -n identity",
        "delete sbc x -n identity",
        "get pods -n scim-bridge-operator",
        "get nodes",
        "get crds",
        "delete lease scim-bridge-operator -n scim-bridge-operator",
        "get lease another -n scim-bridge-operator",
        "create token scim-bridge-operator -n scim-bridge-operator",
        "create clusterrolebinding x --clusterrole=cluster-admin --user=x",
        "get secrets -n elsewhere --as=system:admin",
    ] {
        let words: Vec<&str> = attempt.split(' ').collect();
        let refused = kubectl.run(&words).await.map_err(|error| error.to_string());
        assert!(
            refused.as_ref().is_err_and(|error| error.contains("orbidden")),
            "{way:?} must be refused: kubectl {attempt}: {refused:?}"
        );
    }
    if !works_in.contains(&"*") {
        let refused = kubectl.run(&["get", "secrets", "--namespace", "elsewhere"]).await;
        assert!(refused.is_err(), "{way:?} reads Secrets elsewhere");
    }
}

#[tokio::test]
async fn of_the_chart_for_all_namespaces() {
    may_do_what_the_page_says(Way::Chart, &["*"]).await;
}

#[tokio::test]
async fn of_the_chart_for_a_list_of_namespaces() {
    may_do_what_the_page_says(Way::ChartForNamespaces, &[IDENTITY, "team-b"]).await;
}

#[tokio::test]
async fn of_the_manifests_for_all_namespaces() {
    may_do_what_the_page_says(Way::Manifests, &["*"]).await;
}

#[tokio::test]
async fn of_the_manifests_for_one_namespace() {
    may_do_what_the_page_says(Way::ManifestsForOneNamespace, &[HOME]).await;
}

/// `provisioning.enabled` on, off, and on again: rights and CRDs come with it. The rights go with it, objects stay.
#[tokio::test]
async fn users_and_groups_are_switched_on_and_off() {
    let site = Site::new(Way::Chart).await;
    let kubectl = site.cluster.kubectl();
    let on = &["provisioning.enabled=true"];
    let nobody = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "nobody", "namespace": HOME}});
    let own = async || {
        let nobody = site
            .cluster
            .service_account_kubeconfig(HOME, "nobody")
            .await
            .unwrap();
        let everybodys = granted(&nobody, IDENTITY).await;
        let operators = granted(&site.kubeconfig().await, IDENTITY).await;
        operators
            .difference(&everybodys)
            .cloned()
            .collect::<Permissions>()
    };
    let without = documented("cluster");
    let mut with = without.clone();
    with.extend(documented("with `--provisioning`: cluster"));

    site.install(&[]).await;
    site.cluster.apply(&nobody.to_string()).await.unwrap();
    assert_eq!(own().await, without);
    let absent = kubectl.run(&["get", "scimusers", "--namespace", IDENTITY]).await;
    assert!(absent.is_err(), "{absent:?}");

    // Another product's kind is left alone, and the fields are named that the own one has.
    let mut foreign = serde_json::to_value(scim_bridge_operator::api::user_crd()).unwrap();
    foreign["metadata"]["labels"] = json!({});
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let spec = foreign.pointer_mut(spec).unwrap();
    *spec = json!({"type": "object", "properties": {"userName": {"type": "string"}}});
    site.cluster.apply(&foreign.to_string()).await.unwrap();
    let chart = workspace::root().join("charts/scim-bridge-operator");
    let chart = chart.display().to_string();
    let upgrade = ["upgrade", NAME, &chart, "--namespace", HOME, "--set", on[0]];
    let refused = site.helm().run(&upgrade).await.unwrap_err().to_string();
    let sentence = "another product owns CRD scimusers.scimbridge.dev (it has no version v1alpha1 with \
                    spec.connectionRef and spec.name and spec.userName)";
    assert!(refused.contains(sentence), "{sentence} in: {refused}");
    kubectl
        .run(&["delete", "crd", "scimusers.scimbridge.dev"])
        .await
        .unwrap();

    site.install(on).await;
    assert_eq!(own().await, with);
    // Ready means that it has every CRD and right that it asks for.
    site.run().await.stop().await;
    let user = json!({"apiVersion": "scimbridge.dev/v1alpha1", "kind": "ScimUser",
        "metadata": {"name": "ada", "namespace": IDENTITY},
        "spec": {"connectionRef": {"name": "corp"}, "userName": "ada@example.com",
                 "name": {"givenName": "Ada", "familyName": "Example"}}});
    site.cluster.apply(&user.to_string()).await.unwrap();
    let identity = [
        "get",
        "scu",
        "ada",
        "--namespace",
        IDENTITY,
        "--output=jsonpath={.metadata.uid}",
    ];
    let uid = kubectl.run(&identity).await.unwrap();

    for (values, expected) in [(&[][..], &without), (on, &with)] {
        site.install(values).await;
        assert_eq!(&own().await, expected, "{values:?}");
        assert_eq!(kubectl.run(&identity).await.unwrap(), uid, "{values:?}");
    }
}
