//! What each way to install it consists of.

use serde_json::{Value, json};

use crate::render::{
    EVERYWHERE, Name, ONE_NAMESPACE, OPERATOR, Objects, SEVERAL_NAMESPACES, WAYS, objects, objects_of,
    provisioned, read,
};

/// Every object, in the order in which they are applied: what others need comes first.
const WHOLE: [&str; 12] = [
    "Namespace scim-bridge-operator",
    "CustomResourceDefinition scimbridgeconnections.scimbridge.dev",
    "ServiceAccount scim-bridge-operator/scim-bridge-operator",
    "Role scim-bridge-operator/scim-bridge-operator-leader-election",
    "ClusterRole scim-bridge-operator",
    "ClusterRole scim-bridge-operator-edit",
    "ClusterRole scim-bridge-operator-servicebinding",
    "ClusterRole scim-bridge-operator-view",
    "RoleBinding scim-bridge-operator/scim-bridge-operator-leader-election",
    "ClusterRoleBinding scim-bridge-operator",
    "Service scim-bridge-operator/scim-bridge-operator",
    "Deployment scim-bridge-operator/scim-bridge-operator",
];

#[tokio::test]
async fn the_whole_installation() {
    assert_eq!(objects(EVERYWHERE).await.names(), WHOLE);
}

#[tokio::test]
async fn the_installation_for_one_namespace_has_nothing_cluster_wide() {
    let mut names = objects(ONE_NAMESPACE).await.names();
    names.sort();
    let expected = [
        "Deployment scim-bridge-operator/scim-bridge-operator",
        "Role scim-bridge-operator/scim-bridge-operator",
        "Role scim-bridge-operator/scim-bridge-operator-leader-election",
        "RoleBinding scim-bridge-operator/scim-bridge-operator",
        "RoleBinding scim-bridge-operator/scim-bridge-operator-leader-election",
        "Service scim-bridge-operator/scim-bridge-operator",
        "ServiceAccount scim-bridge-operator/scim-bridge-operator",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn the_installation_for_several_namespaces_has_roles_in_each() {
    let mut names = objects(SEVERAL_NAMESPACES).await.names();
    names.sort();
    let expected = [
        "Deployment scim-bridge-operator/scim-bridge-operator",
        "Role scim-bridge-operator/scim-bridge-operator-leader-election",
        "Role team-a/scim-bridge-operator",
        "Role team-b/scim-bridge-operator",
        "RoleBinding scim-bridge-operator/scim-bridge-operator-leader-election",
        "RoleBinding team-a/scim-bridge-operator",
        "RoleBinding team-b/scim-bridge-operator",
        "Service scim-bridge-operator/scim-bridge-operator",
        "ServiceAccount scim-bridge-operator/scim-bridge-operator",
    ];
    assert_eq!(names, expected);
}

/// The environment of the container, by what it watches.
#[tokio::test]
async fn each_watches_what_it_may_see() {
    let pod_name = json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}});
    let own = json!({"name": "NAMESPACES", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}});
    for (way, expected) in [
        (EVERYWHERE, json!([pod_name])),
        (ONE_NAMESPACE, json!([pod_name, own])),
        (
            SEVERAL_NAMESPACES,
            json!([pod_name, {"name": "NAMESPACES", "value": "team-a,team-b"}]),
        ),
    ] {
        let objects = objects(way).await;
        assert_eq!(objects.container()["env"], expected, "{way}");
        // What it watches by name, it has a Role for.
        let listed = expected[1]["value"].as_str().unwrap_or_default();
        for namespace in listed.split(',').filter(|name| !name.is_empty()) {
            let role = format!("RoleBinding {namespace}/{OPERATOR}");
            assert!(objects.names().contains(&role), "{way}: no {role}");
        }
    }
}

/// A kustomization of the user's own sets the namespace, and everything follows: objects, subjects, the Namespace.
#[tokio::test]
async fn another_namespace_is_one_line() {
    for (way, expected) in [("DEPLOY", 1), ("DEPLOY/overlays/one-namespace", 0)] {
        let moved = objects_of(&format!("namespace: elsewhere\nresources: [{way}]")).await;
        assert_eq!(moved.of_kind("Namespace").count(), expected, "{way}");
        for object in &moved.0 {
            let metadata = &object["metadata"];
            match object["kind"].as_str().unwrap() {
                "Namespace" => assert_eq!(metadata["name"], "elsewhere", "{way}"),
                "CustomResourceDefinition" | "ClusterRole" | "ClusterRoleBinding" => {
                    assert_eq!(metadata.get("namespace"), None, "{way}: {object}");
                }
                _ => assert_eq!(metadata["namespace"], "elsewhere", "{way}: {object}"),
            }
        }
        assert_eq!(subjects(&moved), ["elsewhere/scim-bridge-operator"; 2], "{way}");
    }
}

/// In the example for several namespaces, the bindings go to wherever the operator is.
#[tokio::test]
async fn all_bindings_are_to_the_operator() {
    for (way, bindings) in [(EVERYWHERE, 2), (ONE_NAMESPACE, 2), (SEVERAL_NAMESPACES, 3)] {
        let expected = vec![format!("{OPERATOR}/{OPERATOR}"); bindings];
        assert_eq!(subjects(&objects(way).await), expected, "{way}");
    }
}

/// `NAMESPACE/NAME` of the subject of each binding.
fn subjects(objects: &Objects) -> Vec<String> {
    let bindings = objects
        .0
        .iter()
        .filter(|object| object["kind"].as_str().unwrap().ends_with("Binding"));
    bindings
        .map(|binding| {
            let subjects = binding["subjects"].as_array().unwrap();
            assert_eq!(subjects.len(), 1, "{binding}");
            assert_eq!(subjects[0]["kind"], "ServiceAccount", "{binding}");
            let [namespace, name] = ["namespace", "name"].map(|key| subjects[0][key].as_str().unwrap());
            format!("{namespace}/{name}")
        })
        .collect()
}

/// Every object can be found by its name and its version; nothing else that changes is in what cannot change.
#[tokio::test]
async fn labels() {
    let version = env!("CARGO_PKG_VERSION");
    for way in WAYS {
        let objects = objects(way).await;
        for object in &objects.0 {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/name"], OPERATOR, "{way}: {object}");
            assert_eq!(labels["app.kubernetes.io/version"], version, "{way}: {object}");
        }
        let spec = &objects.one("Deployment")["spec"];
        let selector = json!({
            "app.kubernetes.io/name": OPERATOR,
            "app.kubernetes.io/component": "operator",
        });
        assert_eq!(
            spec["selector"],
            json!({"matchLabels": selector}),
            "{way}: released selectors stay for ever"
        );
        assert_eq!(objects.one("Service")["spec"]["selector"], selector, "{way}");
        for (label, value) in selector.as_object().unwrap() {
            assert_eq!(&spec["template"]["metadata"]["labels"][label], value, "{way}");
        }
    }
}

/// What is asked of the Deployment, by JSON pointer.
#[tokio::test]
async fn the_deployment() {
    let pod = "/spec/template/spec";
    let container = "/spec/template/spec/containers/0";
    let facts: &[(&str, &str, Value)] = &[
        ("", "/spec/replicas", json!(1)),
        // Never fewer than before; the new Pod waits for the Lease.
        (
            "",
            "/spec/strategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ),
        (
            "/spec/template",
            "/metadata/annotations/kubectl.kubernetes.io~1default-container",
            json!("operator"),
        ),
        (pod, "/serviceAccountName", json!(OPERATOR)),
        (pod, "/automountServiceAccountToken", json!(true)),
        (pod, "/enableServiceLinks", json!(false)),
        // --drain-timeout is 20s.
        (pod, "/terminationGracePeriodSeconds", json!(30)),
        (
            pod,
            "/topologySpreadConstraints/0/whenUnsatisfiable",
            json!("ScheduleAnyway"),
        ),
        (
            pod,
            "/securityContext",
            json!({
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            }),
        ),
        (container, "/name", json!("operator")),
        (
            container,
            "/image",
            json!(concat!("scim-bridge-operator:", env!("CARGO_PKG_VERSION"))),
        ),
        (container, "/args", json!(["run"])),
        (
            container,
            "/ports",
            json!([{"name": "admin", "containerPort": 8080}]),
        ),
        (
            container,
            "/livenessProbe/httpGet",
            json!({"path": "/livez", "port": "admin"}),
        ),
        (
            container,
            "/readinessProbe/httpGet",
            json!({"path": "/readyz", "port": "admin"}),
        ),
        (
            container,
            "/resources",
            json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}),
        ),
        (
            container,
            "/securityContext",
            json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            }),
        ),
    ];
    for way in WAYS {
        let objects = objects(way).await;
        let deployment = objects.one("Deployment");
        for (place, pointer, expected) in facts {
            let found = deployment.pointer(&format!("{place}{pointer}"));
            assert_eq!(found, Some(expected), "{way}: {place}{pointer}");
        }
    }
}

#[tokio::test]
async fn the_service_leads_to_the_admin_port() {
    let objects = objects(EVERYWHERE).await;
    assert_eq!(
        objects.one("Service")["spec"]["ports"],
        json!([{"name": "metrics", "port": 8080, "targetPort": "admin"}])
    );
    assert_eq!(objects.container()["ports"][0]["name"], "admin");
}

/// The component adds a Pod, and a budget that never keeps a node from being drained.
#[tokio::test]
async fn a_second_pod_stands_by() {
    for way in ["DEPLOY", "DEPLOY/overlays/one-namespace"] {
        let both = objects_of(&format!(
            "namespace: elsewhere\nresources: [{way}]\ncomponents: [DEPLOY/standby]"
        ))
        .await;
        let deployment = both.one("Deployment");
        assert_eq!(deployment["spec"]["replicas"], 2, "{way}");
        let budget = both.one("PodDisruptionBudget");
        assert_eq!(budget["metadata"]["namespace"], "elsewhere", "{way}");
        assert_eq!(
            budget["spec"],
            json!({
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": deployment["spec"]["selector"],
            }),
            "{way}"
        );
    }
    for way in WAYS {
        let alone = objects(way).await;
        assert_eq!(
            alone.of_kind("PodDisruptionBudget").count(),
            0,
            "{way}: it has one Pod"
        );
    }
}

/// The component adds shards to what is there. Each connection is in one of them, and in one only.
#[tokio::test]
async fn shards_beside_the_one_that_is_there() {
    let whole = objects_of("resources: [DEPLOY]").await;
    let sharded = objects_of("resources: [DEPLOY]\ncomponents: [DEPLOY/shards]").await;
    let selector = "scimbridge.dev/shard notin (a,b)";
    for object in &whole.0 {
        let mut expected = object.clone();
        if object["kind"] == "Deployment" {
            let pointer = "/spec/template/spec/containers/0/env";
            let environment = expected.pointer_mut(pointer).unwrap().as_array_mut().unwrap();
            environment.push(json!({"name": "WATCH_LABEL_SELECTOR", "value": selector}));
        }
        assert!(sharded.0.contains(&expected), "{}: changed", Name(object));
    }
    let added: Vec<_> = sharded.names();
    let added = added.iter().filter(|name| !whole.names().contains(name));
    let mut expected = Vec::new();
    for shard in ["a", "b"] {
        for (kind, name) in [
            ("Role", "scim-bridge-operator-leader-election"),
            ("RoleBinding", "scim-bridge-operator-leader-election"),
            ("Service", "scim-bridge-operator"),
            ("Deployment", "scim-bridge-operator"),
        ] {
            expected.push(format!("{kind} scim-bridge-operator/{name}-{shard}"));
        }
    }
    expected.sort();
    let mut added: Vec<_> = added.cloned().collect();
    added.sort();
    assert_eq!(added, expected);
    for shard in ["a", "b"] {
        let one = |kind: &str, name: &str| {
            let name = format!("{name}-{shard}");
            let mut found = sharded
                .of_kind(kind)
                .filter(|object| object["metadata"]["name"] == *name);
            found.next().unwrap_or_else(|| panic!("no {kind} {name}"))
        };
        let deployment = one("Deployment", OPERATOR);
        let lease = format!("{OPERATOR}-{shard}");
        let environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array()
            .unwrap();
        assert_eq!(
            environment[1..],
            [
                json!({"name": "LEASE_NAME", "value": lease}),
                json!({"name": "WATCH_LABEL_SELECTOR", "value": format!("scimbridge.dev/shard={shard}")}),
            ]
        );
        let (role, binding) = (
            one("Role", "scim-bridge-operator-leader-election"),
            one("RoleBinding", "scim-bridge-operator-leader-election"),
        );
        assert_eq!(role["rules"][1]["resourceNames"], json!([lease]));
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        assert_eq!(binding["subjects"][0]["name"], OPERATOR);
        let selector = &deployment["spec"]["selector"]["matchLabels"];
        assert_eq!(&one("Service", OPERATOR)["spec"]["selector"], selector);
        for other in sharded.of_kind("Deployment") {
            let labels = &other["spec"]["template"]["metadata"]["labels"];
            let mut pairs = selector.as_object().unwrap().iter();
            assert_eq!(
                pairs.all(|(label, value)| labels.get(label) == Some(value)),
                other == deployment
            );
        }
    }
    let default = &whole.one("Deployment")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"];
    for other in sharded
        .of_kind("Deployment")
        .filter(|other| other["metadata"]["name"] != OPERATOR)
    {
        let labels = &other["spec"]["template"]["metadata"]["labels"];
        assert_ne!(
            &labels["app.kubernetes.io/component"], default,
            "it would be the default one's Pod"
        );
    }
}

/// Off by default: without the component nothing is about users and groups. With it, the rest stays as it was.
#[tokio::test]
async fn provisioning_is_off_unless_its_component_is_there() {
    for way in WAYS {
        let (off, on) = (objects(way).await, provisioned(way).await);
        let mut more: Vec<_> = on.names();
        more.retain(|name| !off.names().contains(name));
        let expected: &[&str] = if way == EVERYWHERE {
            &[
                "CustomResourceDefinition scimgroups.scimbridge.dev",
                "CustomResourceDefinition scimusers.scimbridge.dev",
                "ClusterRole scim-bridge-operator-provision",
                "ClusterRole scim-bridge-operator-provision-view",
            ]
        } else {
            &[]
        };
        assert_eq!(more, expected, "{way}");
        for object in &off.0 {
            let name = Name(object).to_string();
            if object["kind"] != "CustomResourceDefinition" {
                let text = object.to_string();
                for word in ["PROVISIONING", "scimusers", "scimgroups"] {
                    assert!(!text.contains(word), "{way}: {name} has {word}");
                }
            }
            let mut expected = object.clone();
            if object["kind"] == "Deployment" {
                let pointer = "/spec/template/spec/containers/0/env";
                let environment = expected.pointer_mut(pointer).unwrap().as_array_mut().unwrap();
                environment.push(json!({"name": "PROVISIONING", "value": "true"}));
            } else if object["metadata"]["name"] == OPERATOR && expected.get("rules").is_some() {
                let rules = expected["rules"].as_array_mut().unwrap();
                rules.push(json!({
                    "apiGroups": ["scimbridge.dev"],
                    "resources": ["scimusers", "scimgroups"],
                    "verbs": ["get", "list", "watch"],
                }));
                rules.push(json!({
                    "apiGroups": ["scimbridge.dev"],
                    "resources": ["scimusers/status", "scimgroups/status"],
                    "verbs": ["patch"],
                }));
            }
            assert!(on.0.contains(&expected), "{way}: {name} is not as it was");
        }
    }
}

/// A user's kustomization with further components: every shard has the flag, and everything follows the namespace.
#[tokio::test]
async fn provisioning_goes_with_shards_and_with_another_namespace() {
    let both = objects_of(
        "namespace: elsewhere\nresources: [DEPLOY]\ncomponents: [DEPLOY/shards, DEPLOY/provisioning]",
    )
    .await;
    let flag = json!({"name": "PROVISIONING", "value": "true"});
    for deployment in both.of_kind("Deployment") {
        let environment = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
        assert!(environment.as_array().unwrap().contains(&flag), "{deployment}");
    }
    assert_eq!(both.of_kind("Deployment").count(), 3);
    for object in &both.0 {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/name"], OPERATOR, "{object}");
    }
}

/// The component for the Prometheus operator: what it adds finds the operator, wherever that is.
#[tokio::test]
async fn monitoring_finds_the_operator() {
    for way in ["DEPLOY", "DEPLOY/overlays/one-namespace"] {
        let watched = objects_of(&format!(
            "namespace: elsewhere\nresources: [{way}]\ncomponents: [DEPLOY/monitoring]"
        ))
        .await;
        let alone = objects_of(&format!("namespace: elsewhere\nresources: [{way}]")).await;
        let (monitor, rule) = (watched.one("ServiceMonitor"), watched.one("PrometheusRule"));
        assert_eq!(watched.0.len(), alone.0.len() + 2, "{way}: {:?}", watched.names());
        for object in [monitor, rule] {
            assert_eq!(object["metadata"]["namespace"], "elsewhere", "{way}");
            assert_eq!(
                object["metadata"]["labels"]["app.kubernetes.io/name"], OPERATOR,
                "{way}"
            );
        }
        // The Service is the one that is selected, and has the port.
        let service = watched.one("Service");
        let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
        assert!(wanted.contains_key("app.kubernetes.io/name"), "{monitor}");
        for (label, value) in wanted {
            assert_eq!(&service["metadata"]["labels"][label], value, "{way}: {label}");
        }
        let endpoints = monitor["spec"]["endpoints"].as_array().unwrap();
        let ports: Vec<_> = endpoints.iter().map(|endpoint| &endpoint["port"]).collect();
        assert_eq!(ports, [&service["spec"]["ports"][0]["name"]], "{way}");
        assert_eq!(endpoints[0]["honorLabels"], true, "{way}");
        // The rules name it by its job, which is the Service's name; the namespace is the user's choice.
        let rules = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
        let down = rules
            .iter()
            .find(|rule| rule["alert"] == "ScimBridgeOperatorDown")
            .unwrap();
        assert_eq!(
            down["expr"],
            format!(
                "absent(scim_bridge_operator_build_info{{job={}}})",
                service["metadata"]["name"]
            ),
            "{way}"
        );
        for rule in rules {
            let expression = rule["expr"].as_str().unwrap();
            assert!(!expression.contains("{namespace="), "{way}: {expression}");
        }
    }
}

/// docs/openshift.md, With the manifests.
#[tokio::test]
async fn openshift_assigns_the_uid() {
    let page = read("docs/openshift.md");
    let section = page.split("\n## With the manifests\n").nth(1).unwrap();
    let block = section
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let objects = objects_of(&block.replace("scim-bridge-operator/deploy", "DEPLOY")).await;
    assert_eq!(
        objects.one("Deployment")["spec"]["template"]["spec"]["securityContext"],
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );
}

/// Every address of the Pod, by IPv6 and IPv4: nothing says otherwise.
#[tokio::test]
async fn the_admin_server_is_for_both_families() {
    for way in WAYS {
        let container = objects(way).await.container().to_string();
        assert!(
            !container.contains("ADMIN_ADDR") && !container.contains("admin-addr"),
            "{way}: {container}"
        );
    }
}

/// docs/install.md: the image comes from the user's own registry.
#[tokio::test]
async fn the_image_is_named_from_outside() {
    let named = objects_of(
        "resources: [DEPLOY]\nimages: [{name: scim-bridge-operator, newName: registry.example.com/operator, newTag: mine}]",
    )
    .await;
    assert_eq!(named.container()["image"], "registry.example.com/operator:mine");
}
