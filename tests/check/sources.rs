//! Where a connection and its key may come from, and in which forms the answer comes.

use bridge_front::Fault;
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, KEY, WRONG_KEY},
    connection, spec,
};
use tokio::task::spawn_blocking;

use crate::program::{File, Run};

fn manifest(url: &str) -> String {
    let spec = spec().url(url).provider("Okta").secret("corp").ca("bridge-ca");
    connection("identity/corp", spec).to_string()
}

fn secret(key: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "corp"}, "stringData": {"apiKey": key}})
        .to_string()
}

fn ca(pem: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bridge-ca"}, "data": {"ca.crt": pem}}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_comes_from_a_file_a_variable_or_standard_input() {
    let bed = Bed::new("keys").await;
    let bridge = bed.healthy_bridge().await;
    let url = bridge.url();
    let ca = File::new("ca.pem", bed.ca_pem());
    let check = |more: &[&str]| {
        let args = [
            &["check", "--url", &url, "--ca-file", &ca.path, "-o", "json"],
            more,
        ]
        .concat();
        Run::new(&args)
    };
    let plain = File::new("plain", KEY);
    let line = File::new("line", &format!("{KEY}\n"));
    let dos = File::new("dos", &format!("{KEY}\r\n"));
    let two = File::new("two", &format!("{KEY}\n\n"));
    for (run, reason, code) in [
        (check(&["--api-key-file", &plain.path]), "Connected", 0),
        (check(&["--api-key-file", &line.path]), "Connected", 0),
        (check(&["--api-key-file", &dos.path]), "Connected", 0),
        (check(&["--api-key-file", &two.path]), "ApiKeyMalformed", 2),
        (check(&["--api-key-file", "-"]).input(KEY), "Connected", 0),
        (check(&["--api-key-file", "-"]).input(WRONG_KEY), "AuthFailed", 2),
        (
            check(&["--api-key-env", "SOME_KEY"]).env("SOME_KEY", KEY),
            "Connected",
            0,
        ),
        (
            check(&["--api-key-file", "-", "--deny-cidr", "127.0.0.0/8"]).input(KEY),
            "HostDenied",
            2,
        ),
        (
            check(&["--api-key-file", "-", "--allowed-host", "*.example.com"]).input(KEY),
            "HostDenied",
            2,
        ),
        (
            check(&["--api-key-file", "-", "--identity-provider", "GoogleWorkspace"]).input(KEY),
            "IdentityProviderMismatch",
            2,
        ),
    ] {
        let ran = run.run().await;
        assert_eq!((ran.reason().as_str(), ran.code), (reason, code), "{ran:?}");
    }
    let ran = check(&["--api-key-env", "NOT_SET"]).run().await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    // A key is never an argument, and there is one.
    for more in [
        &["--api-key", "x"][..],
        &[],
        &["--api-key-file", "-", "--api-key-env", "X"],
    ] {
        let ran = check(more).run().await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{more:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_brings_what_it_names_or_the_cluster_does() {
    let bed = Bed::new("manifests").await;
    let bridge = bed.healthy_bridge().await;
    let connection = manifest(&bridge.url());
    let (secret, wrong, ca) = (secret(KEY), secret(WRONG_KEY), ca(bed.ca_pem()));
    let check = |file: &str, more: &[&str]| Run::new(&[&["check", "-f", file, "-o", "json"], more].concat());

    let all = format!("{connection}\n---\n{secret}\n---\n{ca}\n");
    assert_eq!(check("-", &[]).input(&all).run().await.reason(), "Connected");
    let file = File::new("connection.yaml", &connection);
    let rest = File::new("rest.yaml", &format!("{wrong}\n---\n{ca}\n"));
    let ran = check(&file.path, &["--secret-file", &rest.path]).run().await;
    assert_eq!((ran.reason().as_str(), ran.code), ("AuthFailed", 2), "{ran:?}");
    assert_eq!(ran.json()["connection"], "identity/corp");

    // What is in no file is in the cluster: in the namespace of the manifest, which is not there yet.
    let ran = check(&file.path, &[])
        .kubeconfig(bed.cluster.kubeconfig())
        .run()
        .await;
    assert_eq!(ran.reason(), "SecretNotFound", "{ran:?}");
    bed.secret("corp", KEY).await;
    bed.config_map("bridge-ca", bed.ca_pem()).await;
    let here = connection.replace("\"identity\"", &format!("{:?}", bed.namespace));
    let here = File::new("here.yaml", &here);
    let ran = check(&here.path, &[])
        .kubeconfig(bed.cluster.kubeconfig())
        .run()
        .await;
    assert_eq!((ran.reason().as_str(), ran.code), ("Connected", 0), "{ran:?}");

    let nothing = File::new("nothing.yaml", &secret);
    let broken = File::new("broken.yaml", &format!("{secret}\n---\n: [ canary"));
    let two = File::new("two.yaml", &format!("{connection}\n---\n{connection}"));
    let version = connection.replace("scimbridge.dev/v1alpha1", "scimbridge.dev/v1");
    let version = File::new("version.yaml", &version);
    let kind = File::new(
        "kind.yaml",
        &connection.replace("ScimBridgeConnection", "ScimBridge"),
    );
    let not_base64 =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "corp"}, "data": {"apiKey": "?"}});
    let not_base64 = File::new("base64.yaml", &format!("{connection}\n---\n{not_base64}"));
    let no_kubeconfig = File::new("kubeconfig", ": [ canary");
    for (path, more, words) in [
        (
            &file.path,
            &[][..],
            "no file contains Secret corp (spec.apiKeySecretRef): give --secret-file, or a kubeconfig",
        ),
        (
            &nothing.path,
            &[],
            "must contain one ScimBridgeConnection, but contains 0: check the kind",
        ),
        (
            &two.path,
            &[],
            "must contain one ScimBridgeConnection, but contains 2: keep one",
        ),
        (&kind.path, &[], "contains 0: check the kind"),
        (&version.path, &[], "must have apiVersion scimbridge.dev/v1alpha1"),
        (&not_base64.path, &[], "does not have the form of a v1 Secret"),
        (&broken.path, &[], "is not a Kubernetes manifest"),
        (&"/no/such/file".to_owned(), &[], "cannot read /no/such/file"),
        // The kubeconfig is to blame where it was given.
        (
            &file.path,
            &["--kubeconfig", &no_kubeconfig.path],
            "The kubeconfig (--kubeconfig): it is not YAML in the form of a kubeconfig",
        ),
        (
            &file.path,
            &["--kubeconfig", "/no/such/kubeconfig"],
            "The kubeconfig (--kubeconfig): the file does not exist, or it cannot be read",
        ),
    ] {
        let ran = check(path, more).run().await;
        assert_eq!((ran.code, ran.err.contains(words)), (1, true), "{words}: {ran:?}");
        assert!(!ran.err.contains("canary"), "{ran:?}");
    }
    // A field without the form of the resource is named, and not the Secret that is missing.
    let form = connection.replace("\"Okta\"", "\"okta\"");
    let form = File::new("form.yaml", &form);
    let ran = check(&form.path, &[]).run().await;
    let message = ran.json()["message"].to_string();
    assert!(
        ran.code == 2 && message.contains("spec.identityProvider does not have the form"),
        "{ran:?}"
    );
}

/// The part of an address that is wrong is named, in the words of flags.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_address() {
    for (url, words) in [
        (
            "https://-scim.example.com",
            "the host in --url is not a valid name",
        ),
        (
            "https://scim.example.com:65536",
            "the port in --url must be 1 to 65535",
        ),
        ("https://300.1.1.1", "the host in --url is not a valid IP address"),
        ("https://scim example.com", "--url has a blank"),
        ("scim.example.com", "--url is not https://HOST"),
        ("ftp://scim.example.com", "--url must begin with https://"),
        ("http://scim.example.com", "needs --allow-plaintext"),
    ] {
        let args = ["check", "--url", url, "--api-key-file", "-", "-o", "json"];
        let ran = Run::new(&args).input(KEY).run().await;
        let message = ran.json()["message"].to_string();
        assert!(ran.code == 2 && message.contains(words), "{words}: {ran:?}");
        assert!(
            message.contains("This program cannot use the value of a flag."),
            "{message}"
        );
    }
}

/// What is said of the name where nothing was resolved, and that flags are advised on which can help.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_denied() {
    for (url, more, note, words) in [
        (
            "https://scim.example.com",
            &["--allowed-host", "*.example.org"][..],
            "not resolved",
            "Correct --url, or add the host to --allowed-host.",
        ),
        (
            "https://localhost:1",
            &["--deny-cidr", "127.0.0.0/8,::1"],
            "the name has addresses",
            "take the network out of --deny-cidr",
        ),
        (
            "https://scim.example.com",
            &[
                "--bridge-proxy",
                "http://127.0.0.1:1",
                "--server-name",
                "a.example",
            ],
            "not resolved",
            "Remove --server-name, or name the host in --bridge-no-proxy.",
        ),
        (
            "https://scim.example.invalid",
            &["--bridge-proxy", "http://127.0.0.1:1"],
            "the proxy (--bridge-proxy) resolves it",
            "Check --bridge-proxy.",
        ),
    ] {
        let args = [
            &["check", "--url", url, "--api-key-file", "-", "-o", "json"],
            more,
        ]
        .concat();
        let ran = Run::new(&args).input(KEY).run().await;
        let document = ran.json();
        let steps = document["steps"].as_array().unwrap();
        let name = steps.iter().find(|step| step["step"] == "name").unwrap();
        assert_eq!(name["note"], note, "{ran:?}");
        assert!(
            document["action"].as_str().unwrap().contains(words),
            "{words}: {ran:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_tells_the_same() {
    let bed = Bed::new("forms").await;
    let bridge = bed.bridge_that(|state| state.provisioning_off = true).await;
    let ca = File::new("ca.pem", bed.ca_pem());
    let url = bridge.url();
    let check = async |form: &str| {
        let args = [
            "check",
            "--url",
            &url,
            "--ca-file",
            &ca.path,
            "--api-key-file",
            "-",
            "-o",
            form,
        ];
        let ran = Run::new(&args).input(KEY).run().await;
        assert_eq!(ran.code, 2, "{ran:?}");
        ran
    };
    let json = check("json").await.json();
    assert_eq!(json["reason"], "ProvisioningOff");
    assert_eq!(json["class"], "action");
    let steps = json["steps"].as_array().unwrap();
    let results: Vec<_> = steps
        .iter()
        .map(|step| (step["step"].as_str().unwrap(), step["result"].as_str().unwrap()))
        .collect();
    assert_eq!(
        results,
        [
            ("settings", "passed"),
            ("name", "skipped"),
            ("address", "passed"),
            ("TLS", "passed"),
            ("ping", "passed"),
            ("key", "passed"),
            ("SCIM API", "failed"),
            ("components", "warned"),
        ]
    );
    let yaml: Value = serde_saphyr::from_str(&check("yaml").await.out).unwrap();
    let without_time = |mut document: Value| {
        document.as_object_mut().unwrap().remove("checkedAt").unwrap();
        document
    };
    assert_eq!(without_time(yaml), without_time(json.clone()));

    let text = check("text").await.out;
    assert!(
        !text.contains('\u{1b}'),
        "no colours where nobody looks: {text:?}"
    );
    for step in steps {
        let word = match step["result"].as_str().unwrap() {
            "passed" => "ok",
            "warned" => "warn",
            "failed" => "FAIL",
            _ => "-",
        };
        let line = format!(
            "  {word:<4}  {:<10}  {}",
            step["step"].as_str().unwrap(),
            step["note"].as_str().unwrap()
        );
        assert_eq!(text.matches(&line).count(), 1, "{line:?} once in\n{text}");
    }
    for words in [
        "ProvisioningOff  The bridge cannot provision",
        "  next     Turn on provisioning",
        "explain ProvisioningOff",
    ] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    let junit = check("junit").await.out;
    for words in [
        r#"tests="8" failures="1" skipped="1""#,
        r#"<failure type="ProvisioningOff""#,
        r#"name="TLS"/>"#,
        "docs/reasons.md#provisioningoff",
    ] {
        assert!(junit.contains(words), "{words} in\n{junit}");
    }
}

/// Arguments for one bridge, whose key is in the environment.
fn by_address(url: &str, ca: &File, more: &[&str]) -> Run {
    let args = [
        &[
            "check",
            "--url",
            url,
            "--ca-file",
            &ca.path,
            "--api-key-env",
            "SOME_KEY",
        ],
        more,
    ]
    .concat();
    Run::new(&args).env("SOME_KEY", KEY)
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_that_want_them() {
    let bed = Bed::new("colours").await;
    let bridge = bed.healthy_bridge().await;
    let ca = File::new("ca.pem", bed.ca_pem());
    let shown = async |env: &[(&str, &str)]| {
        let run = by_address(&bridge.url(), &ca, &[]).on_terminal();
        let run = env.iter().fold(run, |run, (name, value)| run.env(name, value));
        let ran = run.run().await;
        assert_eq!(ran.code, 0, "{ran:?}");
        // A terminal ends lines in its own way.
        ran.out.replace("\r\n", "\n")
    };
    let coloured = shown(&[("TERM", "xterm")]).await;
    assert!(
        coloured.contains("\u{1b}["),
        "a terminal that wants them: {coloured:?}"
    );
    for env in [
        &[("TERM", "xterm"), ("NO_COLOR", "1")][..],
        &[("TERM", "dumb")],
        &[],
    ] {
        let plain = shown(env).await;
        assert!(!plain.contains('\u{1b}'), "{env:?}: {plain:?}");
        assert!(plain.contains("  ok    SCIM API"), "{env:?}: {plain}");
    }
    let piped = by_address(&bridge.url(), &ca, &[])
        .env("TERM", "xterm")
        .run()
        .await;
    assert!(!piped.out.contains('\u{1b}'), "{piped:?}");
    assert!(piped.out.contains("days left"), "{piped:?}");
}

/// Elsewhere it is JSON: the tests of the controller read it.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_the_operator_is_text_on_a_terminal() {
    let bed = Bed::new("terminal").await;
    let args = [
        "run",
        "--leader-elect=false",
        "--admin-addr",
        "127.0.0.1:0",
        "--namespaces",
        &bed.namespace,
    ];
    let run = Run::new(&args)
        .kubeconfig(bed.cluster.kubeconfig())
        .on_terminal()
        .env("TERM", "xterm");
    let watched = spawn_blocking(move || {
        let running = run.start();
        loop {
            let line = running.line();
            assert!(!line.starts_with('{'), "JSON on a terminal: {line}");
            if line.contains("started") {
                break;
            }
        }
    });
    watched.await.unwrap();
}

/// Who waits sees for what.
#[tokio::test(flavor = "multi_thread")]
async fn steps_are_shown_as_they_happen() {
    let bed = Bed::new("steps").await;
    let bridge = bed
        .bridge_that(|state| state.fault("/health", Fault::Silent))
        .await;
    let ca = File::new("ca.pem", bed.ca_pem());
    let run = by_address(&bridge.url(), &ca, &["--timeout", "60s"]);
    let watched = spawn_blocking(move || {
        let mut running = run.start();
        while !running.line().starts_with("  ok    ping") {}
        assert!(!running.has_ended(), "the bridge has not answered the rest");
    });
    watched.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_and_tells_what_has_changed() {
    let bed = Bed::new("watch").await;
    let bridge = bed.healthy_bridge().await;
    let ca = File::new("ca.pem", bed.ca_pem());
    let run = by_address(&bridge.url(), &ca, &["-o", "json", "--watch=1s"]);
    let watched = spawn_blocking(move || {
        let mut running = run.start();
        // A document a line.
        let reason = |running: &mut crate::program::Running| {
            let document: Value = serde_json::from_str(&running.line()).unwrap();
            document["reason"].as_str().unwrap().to_owned()
        };
        for _ in 0..2 {
            assert_eq!(reason(&mut running), "Connected");
        }
        bridge.set(|state| state.key = WRONG_KEY.into());
        while reason(&mut running) != "AuthFailed" {}
        bridge.set(|state| state.key = KEY.into());
        while reason(&mut running) != "Connected" {}
        assert!(!running.has_ended());
    });
    watched.await.unwrap();
}

#[tokio::test]
async fn what_needs_no_bridge() {
    for (args, words) in [
        (&["explain", "AuthFailed"][..], "**What to do.**"),
        (&["explain", "tlsfailed"], "TlsFailed"),
        (&["explain"], "ProvisioningOff"),
        (&["completions", "bash"], "complete -F"),
        (&["completions", "zsh"], "#compdef"),
        (&["man"], ".TH scim-bridge-operator"),
    ] {
        let ran = Run::new(args).run().await;
        assert_eq!(
            (ran.code, ran.out.contains(words)),
            (0, true),
            "{args:?}: {ran:?}"
        );
    }
    for args in [
        &["explain", "NoSuchReason"][..],
        &["no-such-command"],
        &["check", "--no-such-flag"],
        &["check"],
    ] {
        let ran = Run::new(args).run().await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{args:?}: {ran:?}");
    }
}
