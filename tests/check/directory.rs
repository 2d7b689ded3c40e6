//! `import` and `plan`: manifests of a bridge's users and groups, and what would be sent.

use std::{collections::BTreeSet, fs, path::Path};

use bridge_front::{Front, Group, Seed, User, directory::Total};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use scim_bridge_operator::api::{
    connection::ScimBridgeConnection,
    user::{ScimUser, ScimUserStatus},
};
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, KEY, WRONG_KEY},
    connection,
    scratch::Scratch,
    spec,
};

use crate::program::{File, Ran, Run};

/// Names that YAML or a server could take for something else, a suspended user, and one without a family name.
fn people() -> Seed {
    let mut users = vec![
        User::new("ada@example.com", "Ada", "Example"),
        User::new("no@example.com", "No", "0x1F"),
        User::new("zoe@example.com", "Zoe\u{308}", "12:30:00"),
        User::new("odd@example.com", "\u{fffe}# '\"\\", "~"),
        User::new("owner@example.com", "Owner", "Example"),
        User::new("else@example.org", "Else", "Example"),
        User::new("short@example.com", "Short", ""),
    ];
    users[1].active = false;
    Seed {
        users,
        groups: vec![
            Group::new(
                "k8s-admins",
                ["ada@example.com", "no@example.com", "else@example.org"],
            ),
            Group::new("k8s-empty", Vec::<String>::new()),
            Group::new("Owners", ["owner@example.com"]),
        ],
    }
}

fn provisioning() -> Value {
    json!({
        "mode": "Plan",
        "scope": {"userNames": ["*@example.com"], "groups": ["k8s-*", "Owners"]},
        "protected": {"userNames": ["owner@example.com"], "groups": ["Owners"]},
        "limits": {"suspensions": 1},
        "requestsPerSecond": 50,
    })
}

async fn bridge_with(bed: &Bed<'_>, seed: Seed) -> Front {
    bed.bridge().directory(seed).start().await.unwrap()
}

/// Nothing was sent but reads.
fn assert_untouched(bridge: &Front) {
    let methods: BTreeSet<_> = bridge
        .requests()
        .into_iter()
        .map(|request| request.method)
        .collect();
    assert_eq!(methods, BTreeSet::from(["GET".to_owned()]));
    assert_eq!(bridge.directory().changes(), []);
}

/// Changes a manifest that `import` has written.
fn edit(folder: &Path, file: &str, old: &str, new: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "{old} in {text}");
    fs::write(&path, text.replace(old, new)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_becomes_files_and_files_become_a_plan() {
    let bed = Bed::new("directory").await;
    let bridge = bridge_with(&bed, people()).await;
    let ca = File::new("ca.pem", bed.ca_pem());
    let folder = Scratch::new("people").unwrap();
    let people = folder.path().join("people");
    let into = people.display().to_string();
    let url = bridge.url();
    let import = async |more: &[&str]| -> Ran {
        let args = [
            "import",
            "-o",
            &into,
            "--url",
            &url,
            "--ca-file",
            &ca.path,
            "--connection",
            "corp",
        ];
        Run::new(&[&args, more].concat()).env("SOME_KEY", KEY).run().await
    };
    let key = ["--api-key-env", "SOME_KEY"];

    // A key that is refused, and a list that is not complete: nothing is written.
    let ran = Run::new(&[
        "import",
        "-o",
        &into,
        "--url",
        &url,
        "--ca-file",
        &ca.path,
        "--connection",
        "corp",
        "--api-key-file",
        "-",
    ]);
    let ran = ran.input(WRONG_KEY).run().await;
    assert_eq!((ran.code, ran.err.contains("AuthFailed")), (1, true), "{ran:?}");
    bridge.set(|state| {
        state.habits.lists.ends_at = Some(3);
        state.habits.lists.total = Total::Everything;
    });
    let ran = import(&key).await;
    let words = "cannot read users and groups: the directory was not read: the list has fewer entries";
    assert_eq!((ran.code, ran.err.contains(words)), (1, true), "{ran:?}");
    assert!(!people.exists());
    bridge.set(|state| state.habits.lists.ends_at = None);

    // No policy, so everything that can be described.
    let ran = import(&key).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    let short = bridge.directory().user_named("short@example.com").unwrap().id;
    for words in [
        "users.yaml  6 users",
        "groups.yaml  3 groups",
        &format!("ScimUser {short}: spec.name.familyName is empty"),
    ] {
        assert!(ran.out.contains(words), "{words} in {}", ran.out);
    }
    assert!(!ran.out.contains("example.com"), "{}", ran.out);
    let ran = import(&key).await;
    assert_eq!(
        (ran.code, ran.err.contains("users.yaml exists")),
        (1, true),
        "{ran:?}"
    );
    let before = fs::read_to_string(people.join("users.yaml")).unwrap();
    let ran = import(&[&key[..], &["--force"]].concat()).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_eq!(fs::read_to_string(people.join("users.yaml")).unwrap(), before);

    // From the manifest of a connection, only what its scope covers.
    let spec = spec()
        .url(&url)
        .secret("corp")
        .ca("ca")
        .with("provisioning", provisioning());
    let manifest = connection("identity/corp", spec).to_string();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "corp"}, "stringData": {"apiKey": KEY}});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {"ca.crt": bed.ca_pem()}});
    let whole = File::new("corp.yaml", &format!("{manifest}\n---\n{secret}\n---\n{map}\n"));
    let ran = Run::new(&["import", "-f", &whole.path, "-o", &into, "--force"])
        .run()
        .await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.out.contains("users.yaml  5 users") && ran.out.contains("does not cover 1 user and 0 groups"),
        "{}",
        ran.out
    );

    let corp = File::new("corp.yaml", &manifest);
    let plan = async |more: &[&str]| -> Ran {
        let args = [
            "plan",
            "-f",
            &into,
            "-f",
            &corp.path,
            "--ca-file",
            &ca.path,
            "--api-key-env",
            "SOME_KEY",
        ];
        Run::new(&[&args, more].concat()).env("SOME_KEY", KEY).run().await
    };
    let ran = plan(&[]).await;
    assert_eq!(
        (ran.code, ran.out.contains("\nno changes\n")),
        (0, true),
        "{ran:?}"
    );
    let ran = Run::new(&["plan", "-f", &into, "-f", &whole.path]).run().await;
    assert_eq!(
        (ran.code, ran.out.contains("\nno changes\n")),
        (0, true),
        "{ran:?}"
    );

    // A pull request. Without the manifests as they are applied now, an account that differs is somebody else's.
    let base = folder.path().join("base");
    fs::create_dir(&base).unwrap();
    fs::copy(people.join("users.yaml"), base.join("users.yaml")).unwrap();
    edit(&people, "users.yaml", "givenName: Ada", "givenName: Augusta");
    let ran = plan(&[]).await;
    assert_eq!(
        (ran.code, ran.out.contains("explain AlreadyExists")),
        (1, true),
        "{ran:?}"
    );
    let ran = plan(&["--base", &base.display().to_string()]).await;
    assert_eq!(
        (ran.code, ran.out.contains(": givenName  ScimUser user-")),
        (2, true),
        "{ran:?}"
    );
    edit(&people, "users.yaml", "givenName: Augusta", "givenName: Ada");
    edit(
        &people,
        "users.yaml",
        "state: Active\n  adopt: IfUnchanged",
        "state: Suspended\n  adopt: Always",
    );
    let ran = plan(&[]).await;
    assert_eq!(
        (ran.code, ran.out.contains("held: suspend user ")),
        (1, true),
        "{ran:?}"
    );
    edit(
        &people,
        "users.yaml",
        "state: Suspended\n  adopt: Always",
        "state: Active\n  adopt: IfUnchanged",
    );
    edit(
        &people,
        "users.yaml",
        "familyName: Example\n  state: Active\n  adopt: IfUnchanged",
        "familyName: Lovelace\n  state: Active\n  adopt: Always",
    );
    let ran = plan(&["-o", "json", "--show-names"]).await;
    let document = ran.json();
    assert_eq!(ran.code, 1, "the owner is protected: {ran:?}");
    assert_eq!(document["changes"][0]["action"], "renameUser");
    assert_eq!(document["changes"][0]["userName"], "ada@example.com");
    assert_eq!(document["changes"][0]["new"], json!({"familyName": "Lovelace"}));
    let ran = plan(&["-o", "json"]).await;
    assert!(
        !ran.out.contains("Lovelace") && !ran.out.contains("@example.com"),
        "{}",
        ran.out
    );
    let ran = plan(&["-o", "junit"]).await;
    assert!(
        ran.out.contains("familyName</system-out>") && ran.out.contains("type=\"Protected\""),
        "{}",
        ran.out
    );
    assert_untouched(&bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_of_a_plan() {
    let bed = Bed::new("codes").await;
    let bridge = bridge_with(&bed, people()).await;
    let ca = File::new("ca.pem", bed.ca_pem());
    let spec = spec()
        .url(&bridge.url())
        .secret("corp")
        .with("provisioning", provisioning());
    let corp = connection("corp", spec).to_string();
    let person = |name: &str, address: &str, more: &str| {
        format!(
            "---\napiVersion: scimbridge.dev/v1alpha1\nkind: ScimUser\nmetadata: {{name: {name}}}\nspec: {{connectionRef: \
             {{name: corp}}, userName: {address}, name: {{givenName: Ada, familyName: Example}}{more}}}\n"
        )
    };
    let gone = ", state: Suspended, adopt: Always";
    for (manifests, code, words) in [
        (String::new(), 0, "no changes"),
        (person("ada", "ada@example.com", ""), 0, "no changes"),
        (person("ada", "ADA@example.com", ""), 0, "no changes"),
        (
            person("ada", "ada@example.com", gone),
            2,
            "1 of 1 suspensions in an hour",
        ),
        (
            [
                person("ada", "ada@example.com", gone),
                person("zoe", "zoe@example.com", gone),
            ]
            .concat(),
            3,
            "2 suspensions held (1 allowed now, digest ",
        ),
        (person("owner", "owner@example.com", gone), 1, "explain Protected"),
        (person("else", "else@example.org", ""), 1, "explain OutOfScope"),
        (
            person("ada", "ada@example.com", ", sate: Suspended"),
            1,
            "ScimUser ada (standard input:3): spec.sate is not a field of this kind",
        ),
    ] {
        let manifests = format!("{corp}\n{manifests}");
        let run = Run::new(&[
            "plan",
            "-f",
            "-",
            "--ca-file",
            &ca.path,
            "--api-key-env",
            "SOME_KEY",
        ]);
        let ran = run.env("SOME_KEY", KEY).input(&manifests).run().await;
        assert_eq!(
            (ran.code, ran.out.contains(words)),
            (code, true),
            "{words}: {ran:?}"
        );
        assert!(!ran.out.contains("@example"), "{}", ran.out);
    }
    // Which connection, and whether it asks for a plan.
    let off = corp.replace("\"provisioning\"", "\"nothing\"");
    for (manifests, more, words) in [
        (String::new(), &[][..], "no file contains a ScimBridgeConnection"),
        (off, &[], "has no spec.provisioning"),
        (
            format!(
                "{corp}\n---\n{}",
                corp.replace("\"name\":\"corp\"", "\"name\":\"other\"")
            ),
            &[],
            "the files contain 2 ScimBridgeConnections: choose one with --connection",
        ),
        (
            corp.clone(),
            &["--connection", "other"],
            "no file contains the ScimBridgeConnection",
        ),
        (
            format!("{corp}\n---\n{corp}"),
            &["--connection", "corp"],
            "corp more than once",
        ),
        (
            corp.replace("owner@example.com", " "),
            &[],
            "spec.provisioning.protected has a pattern that has a blank",
        ),
        (
            "a: b".to_owned(),
            &[],
            "standard input is not a Kubernetes manifest",
        ),
    ] {
        let args = [
            &[
                "plan",
                "-f",
                "-",
                "--ca-file",
                &ca.path,
                "--api-key-env",
                "SOME_KEY",
            ],
            more,
        ]
        .concat();
        let ran = Run::new(&args).env("SOME_KEY", KEY).input(&manifests).run().await;
        assert_eq!((ran.code, ran.err.contains(words)), (1, true), "{words}: {ran:?}");
    }
    // The address from a flag, and the rest from the manifest.
    let elsewhere = corp.replace(&bridge.url(), "https://scim.example.com");
    let args = [
        "plan",
        "-f",
        "-",
        "--url",
        &bridge.url(),
        "--ca-file",
        &ca.path,
        "--api-key-env",
        "SOME_KEY",
    ];
    let ran = Run::new(&args).env("SOME_KEY", KEY).input(&elsewhere).run().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    // On a terminal, names are shown.
    let manifests = format!("{corp}\n{}", person("ada", "ada@example.com", gone));
    let manifests = File::new("people.yaml", &manifests);
    let args = [
        "plan",
        "-f",
        &manifests.path,
        "--ca-file",
        &ca.path,
        "--api-key-env",
        "SOME_KEY",
    ];
    let ran = Run::new(&args).env("SOME_KEY", KEY).on_terminal().run().await;
    assert_eq!(
        (ran.code, ran.out.contains("suspend \"ada@example.com\"")),
        (2, true),
        "{ran:?}"
    );
    assert_untouched(&bridge);
}

/// The definitions of users and groups. Other tests of this program need none.
async fn install_definitions(bed: &Bed<'_>) {
    let definitions = Run::new(&["crd", "--provisioning"]).run().await;
    let apply = ["apply", "--server-side", "-f", "-"];
    bed.cluster
        .kubectl()
        .run_with(&apply, &definitions.out)
        .await
        .unwrap();
    let wait = [
        "wait",
        "--for=condition=Established",
        "--timeout=90s",
        "crd/scimusers.scimbridge.dev",
        "crd/scimgroups.scimbridge.dev",
    ];
    bed.cluster.kubectl().run(&wait).await.unwrap();
}

async fn apply(bed: &Bed<'_>, path: &Path) {
    let path = path.display().to_string();
    bed.cluster
        .kubectl()
        .run(&["apply", "-n", &bed.namespace, "-f", &path])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_the_cluster_and_for_a_pull_request() {
    let bed = Bed::new("live").await;
    install_definitions(&bed).await;
    let bridge = bridge_with(&bed, people()).await;
    bed.connect_well("corp", &bridge).await;
    bed.connect_well("other", &bridge).await;
    let folder = Scratch::new("live").unwrap();
    let people = folder.path().join("people");
    let into = people.display().to_string();
    let plugin = async |args: &[&str]| -> Ran {
        Run::plugin(bed.cluster, &[args, &["-n", &bed.namespace]].concat())
            .run()
            .await
    };

    let ran = plugin(&["plan", "corp"]).await;
    assert_eq!(
        (ran.code, ran.err.contains("has no spec.provisioning")),
        (1, true),
        "{ran:?}"
    );
    bed.edit("corp", json!({"provisioning": provisioning()})).await;
    let ran = plugin(&["import", "corp", "-o", &into]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    // Nothing is there yet: the plan of the first pull request.
    let ran = plugin(&["plan", "corp", "-f", &into]).await;
    assert_eq!(
        (ran.code, ran.out.contains("\nno changes\n")),
        (0, true),
        "{ran:?}"
    );
    apply(&bed, &people).await;
    let users = bed
        .api::<ScimUser>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    assert_eq!(users.len(), 5);
    let ran = plugin(&["plan", "corp"]).await;
    assert_eq!(
        (ran.code, ran.out.contains("\nno changes\n")),
        (0, true),
        "{ran:?}"
    );
    assert!(!ran.out.contains("left out"), "{ran:?}");
    let ran = plugin(&["plan", "corp", "-o", "json"]).await;
    assert_eq!(ran.json()["directory"]["managed"], 5, "{ran:?}");
    assert_eq!(ran.json()["otherObjects"], 0, "{ran:?}");

    // An object of another connection is not this plan's. In the files of a pull request, it is a mistake.
    let other = File::new(
        "other.yaml",
        &fs::read_to_string(people.join("groups.yaml"))
            .unwrap()
            .replace("name: corp", "name: other")
            .replace("name: group-", "name: other-"),
    );
    apply(&bed, Path::new(&other.path)).await;
    let ran = plugin(&["plan", "corp"]).await;
    assert_eq!(
        (
            ran.code,
            ran.out.contains("3 objects of other connections are left out")
        ),
        (0, true),
        "{ran:?}"
    );
    let ran = plugin(&["plan", "corp", "-f", &into, "-f", &other.path]).await;
    assert_eq!(
        (ran.code, ran.out.contains("names another connection")),
        (1, true),
        "{ran:?}"
    );

    // Once the operator has noted the account, another address is a rename.
    let ada = users
        .iter()
        .find(|user| user.spec.user_name == "ada@example.com")
        .unwrap();
    let name = ada.metadata.name.as_deref().unwrap();
    let status = ScimUserStatus {
        id: Some(bridge.directory().user_named("ada@example.com").unwrap().id),
        ..ScimUserStatus::default()
    };
    let patch = Patch::Merge(json!({"status": status}));
    bed.api::<ScimUser>()
        .patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
    edit(
        &people,
        "users.yaml",
        "userName: ada@example.com",
        "userName: lovelace@example.com",
    );
    edit(
        &people,
        "groups.yaml",
        "userName: ada@example.com",
        "userName: lovelace@example.com",
    );
    let ran = plugin(&["plan", "corp", "-f", &into, "-o", "json", "--show-names"]).await;
    let changes = ran.json()["changes"].clone();
    assert_eq!(changes.as_array().map(Vec::len), Some(1), "{ran:?}");
    assert_eq!(
        (&changes[0]["action"], &changes[0]["new"]),
        (&json!("renameUser"), &json!({"userName": "lovelace@example.com"})),
        "{ran:?}"
    );
    assert_eq!(ran.code, 2, "{ran:?}");

    // The pull request narrows the scope.
    let narrow = json!({"provisioning": {
        "mode": "Plan",
        "scope": {"userNames": ["kim@example.com"]},
        "protected": {"userNames": ["owner@example.com"]},
    }});
    let narrow = File::new(
        "corp.yaml",
        &connection("corp", spec().url("https://scim.example.com").and(narrow)).to_string(),
    );
    let ran = plugin(&["plan", "corp", "-f", &into, "-f", &narrow.path]).await;
    assert_eq!((ran.code, ran.out.contains("OutOfScope")), (1, true), "{ran:?}");

    // A bridge that had people, as the operator knows, and shows none: nothing is planned.
    let status = json!({"status": {"provisioning": {
        "observedGeneration": 1, "users": 7, "suspended": 0, "managed": 0, "unmanagedActive": 0, "groups": 3,
        "snapshotTime": Timestamp::UNIX_EPOCH.to_string(),
    }}});
    let connections = bed.api::<ScimBridgeConnection>();
    connections
        .patch_status("corp", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    bridge.directory().seed(Seed::default()).unwrap();
    let ran = plugin(&["plan", "corp"]).await;
    let words = "nothing is planned: the directory had users, and shows none";
    assert_eq!((ran.code, ran.out.contains(words)), (1, true), "{ran:?}");
    assert_untouched(&bridge);
}
