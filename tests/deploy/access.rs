//! The operator's rights: the same by every way to install it, and those of the table in docs/reference/access.md.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::render::{
    EVERYWHERE, ONE_NAMESPACE, OPERATOR, Objects, SEVERAL_NAMESPACES, objects, provisioned, read,
};

/// One permission, taken apart so that no arrangement of rules can hide one: API group, resource, verb, scope.
type Right = [String; 4];

/// The page with the table of rights.
const PAGE: &str = "docs/reference/access.md";
/// Where a rule holds.
const CLUSTER: &str = "cluster";
const HOME: &str = "own namespace";
/// How the scope of a right begins that only an operator with `--provisioning` has.
pub(crate) const WITH_PROVISIONING: &str = "with `--provisioning`: ";

/// The rights of the operator's ServiceAccount. A Role in a namespace that is watched counts as [`CLUSTER`] here: it
/// holds where connections are.
fn rights(objects: &Objects) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for binding in &objects.0 {
        let kind = binding["kind"].as_str().unwrap();
        if !kind.ends_with("Binding") {
            continue;
        }
        let (role, place) = (&binding["roleRef"], &binding["metadata"]["namespace"]);
        let is_lease = role["name"] == format!("{OPERATOR}-leader-election");
        let scope = if is_lease { HOME } else { CLUSTER };
        let rules = objects.0.iter().find(|object| {
            object["kind"] == role["kind"]
                && object["metadata"]["name"] == role["name"]
                && (role["kind"] == "ClusterRole" || object["metadata"]["namespace"] == *place)
        });
        let rules = rules.unwrap_or_else(|| panic!("{binding} leads nowhere"));
        for rule in rules["rules"].as_array().unwrap() {
            rights.extend(rights_of(rule, scope));
        }
    }
    rights
}

fn rights_of(rule: &Value, scope: &str) -> Vec<Right> {
    let known = ["apiGroups", "resources", "resourceNames", "verbs"];
    for key in rule.as_object().unwrap().keys() {
        assert!(known.contains(&key.as_str()), "{rule}: {key}");
    }
    let words = |key: &str| -> Vec<String> {
        let words = rule[key].as_array().into_iter().flatten();
        words.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let names = words("resourceNames");
    let scopes = if names.is_empty() {
        vec![scope.to_owned()]
    } else {
        names
            .iter()
            .map(|name| format!("{scope}, `{name}` only"))
            .collect()
    };
    let mut rights = Vec::new();
    for group in words("apiGroups") {
        for resource in words("resources") {
            for verb in words("verbs") {
                rights.extend(
                    scopes
                        .iter()
                        .map(|scope| [group.clone(), resource.clone(), verb.clone(), scope.clone()]),
                );
            }
        }
    }
    rights
}

/// The rows of the page: `` | `RESOURCE`, ... (`GROUP`) | VERB, ... | SCOPE | WHY | ``.
fn rows() -> BTreeSet<Right> {
    let page = read(PAGE);
    let mut rights = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, resources, verbs, scope, why, _] = cells[..] else {
            panic!("not four cells: {row}")
        };
        assert!(!why.is_empty(), "{row}");
        let (resources, group) = resources.split_once(" (").unwrap_or((resources, ""));
        let plain = |text: &str| text.trim_matches(['`', ')', ' ']).to_owned();
        for resource in resources.split(',') {
            for verb in verbs.split(',') {
                rights.insert([plain(group), plain(resource), plain(verb), scope.to_owned()]);
            }
        }
    }
    rights
}

/// The rows for an operator with `--provisioning` or without it, by the scopes of a Role.
fn rows_of(with_provisioning: bool) -> BTreeSet<Right> {
    let rows = rows().into_iter().filter_map(|[group, resource, verb, scope]| {
        let scope = match scope.strip_prefix(WITH_PROVISIONING) {
            Some(_) if !with_provisioning => return None,
            Some(scope) => scope.to_owned(),
            None => scope,
        };
        Some([group, resource, verb, scope])
    });
    rows.collect()
}

#[tokio::test]
async fn the_table_of_rights_is_what_is_granted() {
    let mut wrong = Vec::new();
    for (granted, with_provisioning) in [
        (objects(EVERYWHERE).await, false),
        (provisioned(EVERYWHERE).await, true),
    ] {
        let (granted, said) = (rights(&granted), rows_of(with_provisioning));
        assert!(said.len() > 10, "the table of {PAGE} was not found: {said:?}");
        let unsaid = granted.difference(&said);
        wrong.extend(unsaid.map(|right| format!("granted and not said: {right:?}")));
        let not_granted = said.difference(&granted);
        wrong.extend(not_granted.map(|right| format!("said and not granted: {right:?}")));
    }
    assert!(wrong.is_empty(), "{PAGE}: {}", wrong.join("\n"));
    let further = rows_of(true).len() - rows_of(false).len();
    assert!(further > 5, "{further} further rights");
}

/// Where it works is all that differs.
#[tokio::test]
async fn the_rights_are_the_same_by_every_way() {
    let everywhere = rights(&objects(EVERYWHERE).await);
    let provisioned_everywhere = rights(&provisioned(EVERYWHERE).await);
    for way in [ONE_NAMESPACE, SEVERAL_NAMESPACES] {
        assert_eq!(rights(&objects(way).await), everywhere, "{way}");
        assert_eq!(rights(&provisioned(way).await), provisioned_everywhere, "{way}");
    }
}

/// The Lease that it may write is the one that it asks for by default.
#[tokio::test]
async fn the_lease_is_the_default_one() {
    let flags = read("docs/reference/flags.md");
    let row = flags.lines().find(|line| line.starts_with("| `--lease-name`"));
    assert!(row.unwrap().contains(&format!("| `{OPERATOR}` |")), "{row:?}");
    let objects = objects(EVERYWHERE).await;
    let role = objects.one("Role");
    assert_eq!(role["rules"][1]["resourceNames"], json!([OPERATOR]));
}

/// Roles for users, by name: the label that says who gets it, and verbs.
#[tokio::test]
async fn users_may_see_and_edit_connections_and_nothing_else() {
    let expected = [
        (
            "view",
            vec!["rbac.authorization.k8s.io/aggregate-to-view"],
            vec!["get", "list", "watch"],
        ),
        (
            "edit",
            vec![
                "rbac.authorization.k8s.io/aggregate-to-admin",
                "rbac.authorization.k8s.io/aggregate-to-edit",
            ],
            vec!["create", "update", "patch", "delete", "deletecollection"],
        ),
        (
            "servicebinding",
            vec!["servicebinding.io/controller"],
            vec!["get", "list", "watch"],
        ),
    ];
    let objects = objects(EVERYWHERE).await;
    for (name, labels, verbs) in expected {
        let name = format!("{OPERATOR}-{name}");
        let role = objects
            .of_kind("ClusterRole")
            .find(|role| role["metadata"]["name"] == name);
        let role = role.unwrap_or_else(|| panic!("no ClusterRole {name}"));
        let found = role["metadata"]["labels"].as_object().unwrap();
        let found: Vec<_> = found.iter().filter(|(key, _)| !key.starts_with("app.")).collect();
        let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, labels, "{name}");
        assert!(
            found.iter().all(|(_, value)| *value == "true"),
            "{name}: {found:?}"
        );
        let rules = json!([
            {"apiGroups": ["scimbridge.dev"], "resources": ["scimbridgeconnections"], "verbs": verbs}
        ]);
        assert_eq!(role["rules"], rules, "{name}");
    }
}

/// Who edits Deployments must not grant access to vaults or read the list of staff: nothing aggregates these roles.
#[tokio::test]
async fn users_and_groups_are_for_those_who_are_named() {
    let objects = provisioned(EVERYWHERE).await;
    let view = ["get", "list", "watch"];
    let edit = ["create", "update", "patch", "delete", "deletecollection"];
    for (name, verbs) in [
        ("provision", [&view[..], &edit].concat()),
        ("provision-view", view.to_vec()),
    ] {
        let name = format!("{OPERATOR}-{name}");
        let role = objects
            .of_kind("ClusterRole")
            .find(|role| role["metadata"]["name"] == name);
        let role = role.unwrap_or_else(|| panic!("no ClusterRole {name}"));
        let labels = role["metadata"]["labels"].as_object().unwrap();
        assert!(
            labels.keys().all(|key| key.starts_with("app.")),
            "{name}: {labels:?}"
        );
        let rules = json!([
            {"apiGroups": ["scimbridge.dev"], "resources": ["scimusers", "scimgroups"], "verbs": verbs}
        ]);
        assert_eq!(role["rules"], rules, "{name}");
    }
    // Roles that built-in ones include know nothing of users and groups.
    for role in objects.of_kind("ClusterRole") {
        let labels = role["metadata"]["labels"].as_object().unwrap();
        if labels.keys().any(|key| !key.starts_with("app.")) {
            let rules = role["rules"].to_string();
            assert!(
                !rules.contains("scimusers") && !rules.contains("scimgroups"),
                "{role}"
            );
        }
    }
}
