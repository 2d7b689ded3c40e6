//! `import` and `plan`: manifests of a bridge's users and groups, and what would be sent.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bridge_front::{Content, Fault, Front, Group, Seed, User, directory::Total};
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

pub(crate) fn provisioning() -> Value {
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

/// A bridge with people, and a folder for their manifests.
struct Scene {
    bed: Bed<'static>,
    bridge: Front,
    ca: File,
    folder: Arc<Scratch>,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let bed = Bed::new(name).await;
        Self {
            bridge: bridge_with(&bed, people()).await,
            ca: File::new("ca.pem", bed.ca_pem()),
            folder: Scratch::new(name).unwrap(),
            bed,
        }
    }

    fn people(&self) -> PathBuf {
        self.folder.path().join("people")
    }

    /// The host of the bridge.
    fn host(&self) -> String {
        let url = self.bridge.url();
        let (_, rest) = url.split_once("://").unwrap();
        rest.split_once(':').unwrap().0.to_owned()
    }

    /// The manifest of the connection, without its Secret and its authority.
    fn corp(&self) -> String {
        let spec = spec().url(&self.bridge.url()).secret("corp").ca("ca");
        connection("identity/corp", spec.with("provisioning", provisioning())).to_string()
    }

    /// The same with both.
    fn corp_and_its_own(&self) -> File {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "corp"}, "stringData": {"apiKey": KEY}});
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "ca"},
            "data": {"ca.crt": self.bed.ca_pem()},
        });
        File::new(
            "corp.yaml",
            &format!("{}\n---\n{secret}\n---\n{map}\n", self.corp()),
        )
    }

    /// Imports by flags.
    async fn import(&self, key: &str, more: &[&str]) -> Ran {
        let (into, url) = (self.people().display().to_string(), self.bridge.url());
        let args = [
            "import",
            "-o",
            &into,
            "--url",
            &url,
            "--ca-file",
            &self.ca.path,
            "--connection",
            "corp",
            "--api-key-env",
            "SOME_KEY",
        ];
        let run = Run::new(&[&args, more].concat());
        run.env("SOME_KEY", key).run().await
    }

    /// Imports what the connection's scope covers.
    async fn import_scope(&self) -> Ran {
        let (into, whole) = (self.people().display().to_string(), self.corp_and_its_own());
        Run::new(&["import", "-f", &whole.path, "-o", &into]).run().await
    }

    /// Plans for the folder, with a key and an authority of flags.
    async fn plan(&self, more: &[&str]) -> Ran {
        let (into, corp) = (
            self.people().display().to_string(),
            File::new("corp.yaml", &self.corp()),
        );
        let args = [
            "plan",
            "-f",
            &into,
            "-f",
            &corp.path,
            "--ca-file",
            &self.ca.path,
            "--api-key-env",
            "SOME_KEY",
            "--allowed-host",
            &self.host(),
        ];
        let run = Run::new(&[&args, more].concat());
        run.env("SOME_KEY", KEY).run().await
    }

    /// Plans for what standard input has.
    async fn plan_input(&self, input: &str, more: &[&str]) -> Ran {
        let args = [
            "plan",
            "-f",
            "-",
            "--ca-file",
            &self.ca.path,
            "--api-key-env",
            "SOME_KEY",
            "--allowed-host",
            &self.host(),
        ];
        let run = Run::new(&[&args, more].concat());
        run.env("SOME_KEY", KEY).input(input).run().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_fails_writes_nothing() {
    let scene = Scene::new("no-import").await;
    let ran = scene.import(WRONG_KEY, &[]).await;
    assert_eq!((ran.code, ran.err.contains("AuthFailed")), (1, true), "{ran:?}");
    let fault = Fault::status(500, Content::Json);
    scene.bridge.set(|state| state.fault("/scim/Groups", fault));
    let ran = scene.import(KEY, &[]).await;
    let words = "cannot read users and groups: a request for a page failed. See scim-bridge-operator explain DirectoryIncomplete";
    assert_eq!((ran.code, ran.err.contains(words)), (1, true), "{ran:?}");
    scene.bridge.set(|state| {
        state.faults.clear();
        state.habits.lists.ends_at = Some(3);
        state.habits.lists.total = Total::Everything;
    });
    let ran = scene.import(KEY, &[]).await;
    let words = "cannot read users and groups: the list has fewer entries";
    assert_eq!((ran.code, ran.err.contains(words)), (1, true), "{ran:?}");
    assert!(!scene.people().exists());
    assert_untouched(&scene.bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_says_whom_it_leaves_out() {
    let scene = Scene::new("import").await;
    // No policy, so everything that can be described.
    let ran = scene.import(KEY, &[]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    let directory = scene.bridge.directory();
    let short = directory.user_named("short@example.com").unwrap().id;
    for words in [
        "users.yaml  6 users",
        "groups.yaml  3 groups",
        &format!("ScimUser {short}: spec.name.familyName is empty"),
    ] {
        assert!(ran.out.contains(words), "{words} in {}", ran.out);
    }
    assert!(!ran.out.contains("example.com"), "{}", ran.out);
    let ran = scene.import(KEY, &[]).await;
    assert_eq!(
        (ran.code, ran.err.contains("users.yaml exists")),
        (1, true),
        "{ran:?}"
    );
    let users = scene.people().join("users.yaml");
    let before = fs::read_to_string(&users).unwrap();
    let ran = scene.import(KEY, &["--force"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_eq!(fs::read_to_string(&users).unwrap(), before);
    // One target that cannot be written: the other file stays as it was.
    let groups = scene.people().join("groups.yaml");
    fs::remove_file(&groups).unwrap();
    fs::create_dir(&groups).unwrap();
    fs::write(&users, "old").unwrap();
    let ran = scene.import(KEY, &["--force"]).await;
    assert_eq!(
        (ran.code, ran.err.contains("cannot write ")),
        (1, true),
        "{ran:?}"
    );
    assert_eq!(fs::read_to_string(&users).unwrap(), "old");
    assert_eq!(fs::read_dir(scene.people()).unwrap().count(), 2);
    fs::remove_dir(&groups).unwrap();
    let ran = scene.import(KEY, &["--force"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_eq!(fs::metadata(&users).unwrap().permissions().mode() & 0o777, 0o600);
    // Nothing but the two files is left.
    assert_eq!(fs::read_dir(scene.people()).unwrap().count(), 2);
    assert_untouched(&scene.bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_imported_needs_no_change() {
    let scene = Scene::new("unchanged").await;
    let ran = scene.import_scope().await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.out.contains("users.yaml  5 users") && ran.out.contains("does not cover 1 user. To write"),
        "{}",
        ran.out
    );
    let ran = scene.plan(&[]).await;
    assert_eq!(
        (ran.code, ran.out.contains("\nno changes\n")),
        (0, true),
        "{ran:?}"
    );
    // The key and the authority from the files.
    let (into, whole) = (scene.people().display().to_string(), scene.corp_and_its_own());
    let ran = Run::new(&["plan", "-f", &into, "-f", &whole.path]).run().await;
    assert_eq!(
        (ran.code, ran.out.contains("\nno changes\n")),
        (0, true),
        "{ran:?}"
    );
    assert_untouched(&scene.bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_has_a_plan() {
    let scene = Scene::new("pull-request").await;
    assert_eq!(scene.import_scope().await.code, 2);
    let people = scene.people();
    // Without the applied manifests, no object stands for an account that differs.
    let base = scene.folder.path().join("base");
    fs::create_dir(&base).unwrap();
    fs::copy(people.join("users.yaml"), base.join("users.yaml")).unwrap();
    let base = base.display().to_string();
    edit(&people, "users.yaml", "givenName: Ada", "givenName: Augusta");
    let ran = scene.plan(&[]).await;
    assert_eq!(
        (ran.code, ran.out.contains("explain AlreadyExists")),
        (1, true),
        "{ran:?}"
    );
    let ran = scene.plan(&["--base", &base]).await;
    assert_eq!(
        (ran.code, ran.out.contains(": givenName  ScimUser user-")),
        (2, true),
        "{ran:?}"
    );
    let ran = scene.plan(&["--base", &base, "-o", "json", "--show-names"]).await;
    let change = &ran.json()["changes"][0];
    assert_eq!(change["action"], "renameUser");
    assert_eq!(change["userName"], "ada@example.com");
    assert_eq!(change["new"], json!({"givenName": "Augusta"}));
    for output in ["json", "junit"] {
        let ran = scene.plan(&["--base", &base, "-o", output]).await;
        let shown = ["Augusta", "@example", "k8s-admins"].map(|name| ran.out.contains(name));
        assert_eq!((ran.code, shown), (2, [false; 3]), "{}", ran.out);
    }

    // Everybody leaves: more than the limit, and one of them is protected.
    edit(&people, "users.yaml", "state: Active", "state: Suspended");
    let ran = scene.plan(&["--base", &base, "-o", "junit"]).await;
    assert_eq!(
        (
            ran.code,
            ran.out.contains("type=\"Held\""),
            ran.out.contains("type=\"Protected\"")
        ),
        (1, true, true),
        "{ran:?}"
    );
    assert_untouched(&scene.bridge);
}

/// A program that reads the output finds a document.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_fails_is_documented() {
    let scene = Scene::new("failed").await;
    let input = format!("{}\n{}", scene.corp(), person("ada", "ada@example.com", ""));
    let host = scene.host();
    let args = [
        "plan",
        "-f",
        "-",
        "--ca-file",
        &scene.ca.path,
        "--allowed-host",
        &host,
    ];
    let plan = async |output: &str, more: &[&str]| {
        let run = Run::new(&[&args[..], &["-o", output], more].concat());
        run.env("SOME_KEY", WRONG_KEY).input(&input).run().await
    };
    let key = ["--api-key-env", "SOME_KEY"];
    let ran = plan("text", &key).await;
    assert!(
        ran.code == 1
            && ran.out.is_empty()
            && ran.err.contains("--api-key-env reads it")
            && !ran.err.contains("Secret"),
        "{ran:?}"
    );
    let ran = plan("json", &key).await;
    let document = ran.json();
    let message = document["message"].as_str().unwrap();
    assert_eq!(
        (ran.code, &document["result"], &document["changes"]),
        (1, &json!("failed"), &json!([]))
    );
    assert!(
        message.contains("AuthFailed") && !message.contains("example"),
        "{message}"
    );
    let ran = plan("junit", &key).await;
    assert!(
        ran.code == 1 && ran.out.contains("<failure type=\"AuthFailed\""),
        "{ran:?}"
    );
    // Which flags the command has for a Secret that is nowhere.
    let ran = plan("json", &[]).await;
    let document = ran.json();
    let message = document["message"].as_str().unwrap();
    let words = "no file contains Secret corp (spec.apiKeySecretRef): give the file with it to --file, a flag in its place, or";
    assert!(ran.code == 1 && message.contains(words), "{ran:?}");
    assert_untouched(&scene.bridge);
}

/// The author of a manifest does not choose who gets a key of somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_to_no_host_that_only_a_manifest_names() {
    const REFUSED: &str = "does not come from the same --file as the address";
    let scene = Scene::new("whose-key").await;
    let ada = person("ada", "ada@example.com", "");
    let corp = File::new("corp.yaml", &format!("{}\n{ada}", scene.corp()));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "corp"}, "stringData": {"apiKey": KEY}});
    let secret_of = |namespace: &str| {
        let mut secret = secret.clone();
        secret["metadata"]["namespace"] = namespace.into();
        File::new("secret.yaml", &format!("{}\n{ada}---\n{secret}\n", scene.corp()))
    };
    let (elsewhere, ours) = (secret_of("elsewhere"), secret_of("identity"));
    let apart = File::new("apart.yaml", &secret.to_string());
    // A link in a pull request leads to a file of the pipeline.
    let linked = scene.folder.path().join("linked");
    fs::create_dir(&linked).unwrap();
    fs::copy(&corp.path, linked.join("corp.yaml")).unwrap();
    std::os::unix::fs::symlink(&apart.path, linked.join("secret.yaml")).unwrap();
    let linked = linked.display().to_string();
    let ran = Run::new(&["plan", "--ca-file", &scene.ca.path, "-f", &linked])
        .run()
        .await;
    assert_eq!((ran.code, ran.err.contains(REFUSED)), (1, true), "{ran:?}");
    let plain = scene.corp().replace("\"url\"", "\"allowPlaintext\":true,\"url\"");
    let plain = File::new("plain.yaml", &format!("{plain}\n{ada}"));
    let next = scene
        .corp()
        .replace("\"url\"", "\"nextApiKeySecretRef\":{\"name\":\"next\"},\"url\"");
    let next = File::new("next.yaml", &format!("{next}\n{ada}---\n{secret}\n"));
    let (host, url) = (scene.host(), scene.bridge.url());
    let key = ["--api-key-env", "SOME_KEY"];
    let at = scene.bridge.requests().len();
    for (paths, more, words) in [
        (&[&corp][..], &key[..], REFUSED),
        // A Secret in the cluster, or in a file that somebody else gives.
        (&[&corp], &[], REFUSED),
        (&[&corp, &apart], &[], REFUSED),
        (&[&elsewhere, &apart], &[], REFUSED),
        (&[&ours], &key, REFUSED),
        (&[&next, &apart], &[], REFUSED),
        (
            &[&corp],
            &[&key[..], &["--allowed-host", "scim.example.com"]].concat(),
            "HostDenied",
        ),
        (
            &[&plain],
            &[&key[..], &["--allowed-host", &host]].concat(),
            "the manifest has allowPlaintext: true",
        ),
    ] {
        let files = paths.iter().flat_map(|file| ["-f", &file.path]);
        let args: Vec<&str> = ["plan", "--ca-file", &scene.ca.path]
            .into_iter()
            .chain(files)
            .collect();
        let ran = Run::new(&[&args, more].concat()).env("SOME_KEY", KEY).run().await;
        assert_eq!((ran.code, ran.err.contains(words)), (1, true), "{words}: {ran:?}");
    }
    assert_eq!(scene.bridge.requests().len(), at);
    for (file, more) in [
        (&ours, &[][..]),
        (&corp, &[&key[..], &["--allowed-host", &host]].concat()),
        (&corp, &[&key[..], &["--url", &url]].concat()),
    ] {
        let args = ["plan", "--ca-file", &scene.ca.path, "-f", &file.path];
        let ran = Run::new(&[&args, more].concat()).env("SOME_KEY", KEY).run().await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_untouched(&scene.bridge);
}

pub(crate) fn person(name: &str, address: &str, more: &str) -> String {
    format!(
        "---\napiVersion: scimbridge.dev/v1alpha1\nkind: ScimUser\nmetadata: {{name: {name}}}\nspec: {{connectionRef: \
         {{name: corp}}, userName: {address}, name: {{givenName: Ada, familyName: Example}}{more}}}\n"
    )
}

const GONE: &str = ", state: Suspended, adopt: Always";

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_of_a_plan() {
    let scene = Scene::new("codes").await;
    let corp = scene.corp();
    for (manifests, code, words) in [
        (person("ada", "ada@example.com", ""), 0, "no changes"),
        (person("ada", "ADA@example.com", ""), 0, "no changes"),
        (
            person("ada", "ada@example.com", GONE),
            2,
            "1 suspension; the limit is 1 in an hour",
        ),
        (
            [
                person("ada", "ada@example.com", GONE),
                person("zoe", "zoe@example.com", GONE),
            ]
            .concat(),
            3,
            "2 suspensions held (1 allowed now, digest ",
        ),
        (person("owner", "owner@example.com", GONE), 1, "explain Protected"),
        (person("else", "else@example.org", ""), 1, "explain OutOfScope"),
        (
            person("ada", "ada@example.com", "").replace("ScimUser", "Scimuser"),
            1,
            "an object (standard input:3): scimbridge.dev has no such kind",
        ),
        (
            person("ada", "ada@example.com", ", sate: Suspended"),
            1,
            "ScimUser ada (standard input:3): spec.sate is not a field of this kind",
        ),
    ] {
        let ran = scene.plan_input(&format!("{corp}\n{manifests}"), &[]).await;
        assert_eq!(
            (ran.code, ran.out.contains(words)),
            (code, true),
            "{words}: {ran:?}"
        );
        assert!(!ran.out.contains("@example"), "{}", ran.out);
    }
    // The address from a flag, and the rest from the manifest.
    let elsewhere = corp.replace(&scene.bridge.url(), "https://scim.example.com");
    let elsewhere = format!("{elsewhere}\n{}", person("ada", "ada@example.com", ""));
    let ran = scene
        .plan_input(&elsewhere, &["--url", &scene.bridge.url()])
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    // On a terminal, names are shown.
    let manifests = format!("{corp}\n{}", person("ada", "ada@example.com", GONE));
    let manifests = File::new("people.yaml", &manifests);
    let args = [
        "plan",
        "-f",
        &manifests.path,
        "--ca-file",
        &scene.ca.path,
        "--api-key-env",
        "SOME_KEY",
        "--allowed-host",
        &scene.host(),
    ];
    let ran = Run::new(&args).env("SOME_KEY", KEY).on_terminal().run().await;
    assert_eq!(
        (ran.code, ran.out.contains("suspend \"ada@example.com\"")),
        (2, true),
        "{ran:?}"
    );
    assert_untouched(&scene.bridge);
}

/// Which connection, and whether it asks for a plan.
#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_plan() {
    let scene = Scene::new("no-plan").await;
    let corp = scene.corp();
    let other = corp.replace(
        "\"name\":\"corp\",\"namespace\"",
        "\"name\":\"other\",\"namespace\"",
    );
    assert_ne!(corp, other);
    for (manifests, more, words) in [
        (String::new(), &[][..], "no file contains a ScimBridgeConnection"),
        (
            corp.replace("\"provisioning\"", "\"nothing\""),
            &[],
            "has no spec.provisioning",
        ),
        (
            format!("{corp}\n---\n{other}"),
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
            corp.clone(),
            &[],
            "no file declares a ScimUser or ScimGroup of this connection",
        ),
        (
            corp.replace("owner@example.com", " "),
            &[],
            "spec.provisioning.protected has a pattern that has a blank",
        ),
        (
            "a: b".to_owned(),
            &[],
            "standard input:1 is not a Kubernetes manifest in YAML or JSON. Correct it, or give other files to --file",
        ),
        (
            format!("{corp}\n---\na: b"),
            &[],
            "standard input:3 is not a Kubernetes manifest",
        ),
        (
            corp.replace("\"mode\":\"Plan\"", "\"mode\":\"Enforce\""),
            &[],
            "spec.provisioning.mode does not have the form of scimbridge.dev/v1alpha1: write Plan",
        ),
    ] {
        let ran = scene.plan_input(&manifests, more).await;
        assert_eq!((ran.code, ran.err.contains(words)), (1, true), "{words}: {ran:?}");
    }
    assert_eq!(scene.bridge.requests().len(), 0);
}

/// The definitions of users and groups. Other tests of this program need none.
pub(crate) async fn install_definitions(bed: &Bed<'_>) {
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

/// Runs the plugin in the namespace of the bed.
pub(crate) async fn plugin(bed: &Bed<'_>, args: &[&str]) -> Ran {
    let args = [args, &["-n", &bed.namespace]].concat();
    Run::plugin(bed.cluster, &args).run().await
}

/// The people of the bridge in files, and applied.
async fn imported_and_applied(scene: &Scene) -> String {
    let Scene { bed, bridge, .. } = scene;
    install_definitions(bed).await;
    bed.connect_well("corp", bridge).await;
    bed.edit("corp", json!({"provisioning": provisioning()})).await;
    let into = scene.people().display().to_string();
    let ran = plugin(bed, &["import", "corp", "-o", &into]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    apply(bed, &scene.people()).await;
    into
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_the_cluster() {
    let scene = Scene::new("live").await;
    let bed = &scene.bed;
    install_definitions(bed).await;
    bed.connect_well("corp", &scene.bridge).await;
    let ran = plugin(bed, &["plan", "corp"]).await;
    assert_eq!(
        (ran.code, ran.err.contains("has no spec.provisioning")),
        (1, true),
        "{ran:?}"
    );
    imported_and_applied(&scene).await;
    let users = bed.api::<ScimUser>().list(&ListParams::default()).await.unwrap();
    assert_eq!(users.items.len(), 5);
    let ran = plugin(bed, &["plan", "corp"]).await;
    assert_eq!(
        (ran.code, ran.out.contains("\nno changes\n")),
        (0, true),
        "{ran:?}"
    );
    assert!(!ran.out.contains("left out"), "{ran:?}");
    let ran = plugin(bed, &["plan", "corp", "-o", "json"]).await;
    assert_eq!(ran.json()["directory"]["managed"], 5, "{ran:?}");

    // A bridge that had people, as the operator knows, and shows none: nothing is planned.
    let status = json!({"status": {"provisioning": {
        "observedGeneration": 1, "users": 7, "suspended": 0, "managed": 0, "unmanagedActive": 0, "groups": 3,
        "snapshotTime": Timestamp::UNIX_EPOCH.to_string(),
    }}});
    let status = Patch::Merge(status);
    let connections = bed.api::<ScimBridgeConnection>();
    let parameters = PatchParams::default();
    let patched = connections.patch_status("corp", &parameters, &status).await;
    patched.unwrap();
    scene.bridge.directory().seed(Seed::default()).unwrap();
    let ran = plugin(bed, &["plan", "corp"]).await;
    let words = "nothing is planned: the directory had users, and shows none";
    assert_eq!((ran.code, ran.out.contains(words)), (1, true), "{ran:?}");
    assert_untouched(&scene.bridge);
}

/// An object of another connection is not this plan's. In the files of a pull request, it is a mistake.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_another_connection() {
    let scene = Scene::new("other").await;
    let bed = &scene.bed;
    let into = imported_and_applied(&scene).await;
    let groups = fs::read_to_string(scene.people().join("groups.yaml")).unwrap();
    let others = groups
        .replace("name: corp", "name: other")
        .replace("name: group-", "name: other-");
    let others = File::new("other.yaml", &others);
    apply(bed, Path::new(&others.path)).await;
    let ran = plugin(bed, &["plan", "corp"]).await;
    let words = "left out: 3 objects of other connections";
    assert_eq!((ran.code, ran.out.contains(words)), (0, true), "{ran:?}");
    let ran = plugin(bed, &["plan", "corp", "-f", &into, "-f", &others.path]).await;
    let words = "names another connection";
    assert_eq!((ran.code, ran.out.contains(words)), (1, true), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_beside_the_cluster() {
    let scene = Scene::new("beside").await;
    let (bed, people) = (&scene.bed, scene.people());
    let into = imported_and_applied(&scene).await;
    // The cluster says which account an object stands for, so another address is a rename. The operator may have noted the
    // id already.
    edit(&people, "users.yaml", "userName: ada@", "userName: lovelace@");
    edit(&people, "groups.yaml", "userName: ada@", "userName: lovelace@");
    let users = bed.api::<ScimUser>().list(&ListParams::default()).await.unwrap();
    let mut users = users.items.into_iter();
    let ada = users
        .find(|user| user.spec.user_name == "ada@example.com")
        .unwrap();
    let directory = scene.bridge.directory();
    let status = ScimUserStatus {
        id: Some(directory.user_named("ada@example.com").unwrap().id),
        ..ScimUserStatus::default()
    };
    let status = Patch::Merge(json!({"status": status}));
    for is_noted in [false, true] {
        if is_noted {
            let (api, name) = (bed.api::<ScimUser>(), ada.metadata.name.as_deref().unwrap());
            let parameters = PatchParams::default();
            let patched = api.patch_status(name, &parameters, &status).await;
            patched.unwrap();
        }
        let args = ["plan", "corp", "-f", &into, "-o", "json", "--show-names"];
        let ran = plugin(bed, &args).await;
        let changes = ran.json()["changes"].clone();
        assert_eq!(changes.as_array().map(Vec::len), Some(1), "{ran:?}");
        assert_eq!(
            (&changes[0]["action"], &changes[0]["new"]),
            (&json!("renameUser"), &json!({"userName": "lovelace@example.com"})),
            "{ran:?}"
        );
        assert_eq!(ran.code, 2, "{ran:?}");
    }

    // An apply leaves what the files do not have, so a second object of the same account is ambiguous.
    let twice = File::new("twice.yaml", &person("second", "owner@example.com", ""));
    let ran = plugin(bed, &["plan", "corp", "-f", &twice.path]).await;
    assert_eq!(
        (
            ran.code,
            ran.out.contains("Ambiguous"),
            ran.out.contains("not in the files: 8 objects of the cluster.")
        ),
        (1, true, true),
        "{ran:?}"
    );

    // The pull request narrows the scope.
    let narrow = json!({"provisioning": {
        "mode": "Plan",
        "scope": {"userNames": ["kim@example.com"]},
        "protected": {"userNames": ["owner@example.com"]},
    }});
    let narrow = connection("corp", spec().url("https://scim.example.com").and(narrow));
    let narrow = File::new("corp.yaml", &narrow.to_string());
    let ran = plugin(bed, &["plan", "corp", "-f", &into, "-f", &narrow.path]).await;
    assert_eq!((ran.code, ran.out.contains("OutOfScope")), (1, true), "{ran:?}");
    for words in [
        "differs from that of the cluster in spec.url, spec.provisioning.limits, spec.provisioning.protected, ",
        "It ignores that of the files.",
    ] {
        assert!(ran.out.contains(words), "{words} in {}", ran.out);
    }
    assert_untouched(&scene.bridge);
}
