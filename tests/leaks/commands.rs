//! What the commands print, above all where they fail: usage errors, help, kubeconfigs that cannot be read, an API
//! server that says what it likes.

use std::{
    ffi::OsString,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::ByteString;
use testbed::{bed::DEADLINE, scratch::Scratch};

use crate::{
    canary::Canaries,
    peer::{Peer, Sayings},
    surfaces::Outputs,
};

/// Longest that a command takes that ends by itself; `preflight` waits fifteen seconds for each answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the program, for as long as it does not say `enough`, and gives all that it prints.
fn printed(args: &[&str], envs: &[(&str, &str)], enough: Option<&str>) -> Vec<u8> {
    let scratch = Scratch::new("command").unwrap();
    let file = scratch.path().join("output");
    let output = fs::File::create(&file).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_scim-bridge-operator"))
        .args(args)
        .env_clear()
        .envs(envs.iter().copied())
        .env("RUST_BACKTRACE", "full")
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        let has_said = |text: &str| String::from_utf8_lossy(&fs::read(&file).unwrap()).contains(text);
        if enough.is_some_and(has_said) || begun.elapsed() > PATIENCE.max(DEADLINE) {
            child.kill().unwrap();
            child.wait().unwrap();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::read(&file).unwrap()
}

/// A kubeconfig with this server and this user.
fn kubeconfig(folder: &Path, name: &str, server: &str, user: &str) -> PathBuf {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
         contexts: [{{name: it, context: {{cluster: it, user: it}}}}]\n\
         clusters:\n- name: it\n  cluster:\n    server: {server}\n\
         users:\n- name: it\n  user:\n    {user}\n"
    );
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn text(path: &Path) -> String {
    OsString::from(path).into_string().unwrap()
}

#[test]
fn usage_and_help() {
    let canaries = Canaries::default();
    let password = canaries.text("password in a URL");
    let proxy = format!("http://user:{password}@proxy.example.com:3128");
    let no_proxy = format!("socks5://user:{password}@proxy.example.com:3128");
    let operator = format!("http://user:{password}@operator.example.com:8080");
    let no_operator = format!("http://user:{password}@operator example");
    let envs = [
        ("BRIDGE_PROXY", proxy.as_str()),
        ("OPERATOR_URL", operator.as_str()),
    ];
    let bad = [
        ("BRIDGE_PROXY", no_proxy.as_str()),
        ("OPERATOR_URL", no_operator.as_str()),
    ];
    // A password in the address, and a key as an argument, as people who have not read on might write them.
    let in_url = format!("https://user:{password}@scim.example.com");
    let as_flag = format!("--api-key={password}");
    let home = [("HOME", password.as_str())];
    let mut outputs = Outputs::default();
    for (args, envs, proof) in [
        (&["crd"][..], &envs[..], "CustomResourceDefinition"),
        (&["--help"], &envs, "preflight"),
        (&["run", "--help"], &envs, "--bridge-proxy"),
        (&["preflight", "--help"], &envs, "--operator-url"),
        (&["run"], &bad, "--bridge-proxy"),
        (&["preflight"], &bad, "--operator-url"),
        (&["run", "--bridge-proxy", &no_proxy], &[], "--bridge-proxy"),
        (
            &["preflight", "--operator-url", &no_operator],
            &[],
            "--operator-url",
        ),
        (&["run", "--no-such-flag"], &envs, "--no-such-flag"),
        (&["check", "--help"], &envs, "--bridge-proxy"),
        (
            &["check", "--url", &in_url, "--api-key-env", "HOME"],
            &home,
            "InvalidSpec",
        ),
        (
            &["check", "--url", "https://x", "--api-key", &password],
            &[],
            "--api-key",
        ),
        (&["check", "--url", "https://x", &as_flag], &[], "--api-key"),
        (&["run", "--log-level", "=,="], &envs, "--log-level"),
    ] {
        outputs.add(format!("{args:?}"), printed(args, envs, None), proof);
    }
    outputs.assert_clean(&canaries);
}

#[test]
fn kubeconfigs_that_cannot_be_used() {
    let canaries = Canaries::default();
    let scratch = Scratch::new("kubeconfigs").unwrap();
    let mut outputs = Outputs::default();
    let token = canaries.text("credential of a kubeconfig");
    let encoded = |text: String| {
        let quoted = serde_json::to_string(&ByteString(text.into_bytes())).unwrap();
        format!("client-key-data: {quoted}\n    client-certificate-data: {quoted}")
    };
    let plugin = |script: &str| {
        format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: ['-c', '{script}'], \
             interactiveMode: Never, env: [{{name: TOKEN, value: {token}}}]}}"
        )
    };
    for (name, user, proof) in [
        (
            "broken",
            format!("token: {token}\n  : }}"),
            "not YAML in the form",
        ),
        (
            "broken-quotes",
            format!("token: \"{token}"),
            "not YAML in the form",
        ),
        (
            "list-for-text",
            format!("token: [{token}]"),
            "not YAML in the form",
        ),
        (
            "map-for-text",
            format!("token: {{{token}: {token}}}"),
            "not YAML in the form",
        ),
        (
            "twice",
            format!("token: {token}\n    token: {token}"),
            "not YAML in the form",
        ),
        (
            "unknown-anchor",
            format!("token: *{token}"),
            "not YAML in the form",
        ),
        ("no-header", format!("token: \"{token}\\n\""), "panic"),
        (
            "no-password",
            format!("username: \"{token}\"\n    password: \"{token}\\n\""),
            "the API server",
        ),
        (
            "no-base64",
            format!("client-key-data: \"{token}!\"\n    client-certificate-data: \"{token}!\""),
            "cannot set up the client",
        ),
        ("no-pem", encoded(token.clone()), "cannot set up the client"),
        (
            "no-key",
            encoded(format!(
                "-----BEGIN PRIVATE KEY-----\n{token}\n-----END PRIVATE KEY-----\n"
            )),
            "cannot set up the client",
        ),
        (
            "no-file",
            "client-key: /no/such/file\n    client-certificate: /no/such/file".to_owned(),
            "cannot set up the client",
        ),
        ("plugin-fails", plugin("exit 3"), "cannot set up the client"),
        (
            "plugin-rambles",
            plugin("echo $TOKEN"),
            "cannot set up the client",
        ),
    ] {
        let path = text(&kubeconfig(scratch.path(), name, "https://127.0.0.1:1", &user));
        for (args, enough) in [
            (&["preflight", "--timeout", "1s"][..], None),
            (
                &[
                    "run",
                    "--leader-elect=false",
                    "--admin-addr",
                    "127.0.0.1:0",
                    "--log-level",
                    "trace",
                ],
                Some("not ready"),
            ),
        ] {
            let path_is = [("KUBECONFIG", path.as_str()), ("PATH", "/usr/bin:/bin")];
            outputs.add(
                format!("{name}: {args:?}"),
                printed(args, &path_is, enough),
                proof,
            );
        }
    }
    outputs.assert_clean(&canaries);
}

#[test]
fn an_api_server_that_says_what_it_likes() {
    let canaries = Canaries::default();
    let scratch = Scratch::new("api-servers").unwrap();
    let mut outputs = Outputs::default();
    for status in [200, 302, 401, 403, 404, 409, 500] {
        for as_page in [true, false] {
            let name = format!("{status}{}", if as_page { "-page" } else { "" });
            let says = Sayings::new(&canaries, &name);
            let peer = Peer::plain(Box::new(move |_| {
                if as_page {
                    says.page(status)
                } else {
                    says.error(status)
                }
            }));
            let token = canaries.text(format!("{name}: token"));
            let user = format!("token: {token}");
            let path = kubeconfig(
                scratch.path(),
                &name,
                &format!("http://{}", peer.address()),
                &user,
            );
            let path = text(&path);
            let envs = [("KUBECONFIG", path.as_str())];
            let operator = format!("http://{}", peer.address());
            let preflight = ["preflight", "--timeout", "1s", "--operator-url", &operator];
            outputs.add(
                format!("{name}: preflight"),
                printed(&preflight, &envs, None),
                "FAIL",
            );
            let run = [
                "run",
                "--leader-elect=false",
                "--admin-addr",
                "127.0.0.1:0",
                "--log-level",
                "trace",
            ];
            outputs.add(
                format!("{name}: run"),
                printed(&run, &envs, Some("not ready")),
                "not ready",
            );
            assert!(peer.heard().contains(&token), "the token was sent");
        }
    }
    // The last of the errors that end the program: nothing of its environment is in it.
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let token = format!("token: {}", canaries.text("token where the port is taken"));
    let path = text(&kubeconfig(scratch.path(), "taken", "http://127.0.0.1:1", &token));
    let run = ["run", "--admin-addr", &occupied.local_addr().unwrap().to_string()];
    let output = printed(&run, &[("KUBECONFIG", &path)], None);
    outputs.add("a port that is taken", output, "cannot listen");
    outputs.assert_clean(&canaries);
}
