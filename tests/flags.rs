//! Every flag of `run`, `check` and the commands about users and groups, tried on the program itself: what cannot work is refused at start, in one line that
//! says what is allowed and repeats nothing; everything else is taken.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use clap::CommandFactory as _;
use scim_bridge_operator::args::Arguments;
use serde_json::json;
use testbed::scratch::Scratch;

/// A flag, what its values are, the beginning of what is said of others, and such.
struct Row(
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
);

const HOST: &str = "write an address, scim.example.com, *.example.com (one label)";
const NETWORK: &str = "write a network (10.0.0.0/8";
const NAMESPACE: &str = "write the name of a namespace";
const SERVER: &str = "write http://HOST:PORT or https://HOST:PORT";

const RUN: &[Row] = &[
    Row(
        "--namespaces",
        &["team-a", "team-a,team-b", "team-a, team-b", "team-a,team-a"],
        NAMESPACE,
        &[
            "",
            ",",
            "team-a,,team-b",
            "team-a,",
            "Team-A",
            "team_a",
            "team.a",
            "../team",
            "*",
        ],
    ),
    Row(
        "--leader-elect",
        &["true", "false"],
        "write one of true, false",
        &["", "yes", "TRUE", "0"],
    ),
    Row(
        "--lease-name",
        &["scim-bridge-operator", "a.b"],
        "write the name of an object",
        &["", "A", "a_b", "a/b", "a b", "-a"],
    ),
    Row(
        "--lease-namespace",
        &["team-a"],
        NAMESPACE,
        &["", "Team-A", "a.b", "a/b"],
    ),
    Row(
        "--watch-label-selector",
        &["", "tier=gold", "scimbridge.dev/shard notin (a,b)", "!tier"],
        "write a label selector",
        &[
            "tier=gold=",
            "tier in gold",
            "tier in (gold",
            "=gold",
            "tier=,,",
            "tier gold",
            "tier: gold",
        ],
    ),
    Row(
        "--allow-cidr",
        &["127.0.0.0/8", "::1/128", "127.0.0.1", "127.0.0.0/8, ::1/128"],
        NETWORK,
        &[
            "",
            "127.0.0.0/33",
            "127.0.0/8",
            "127.0.0.0/8,",
            "010.0.0.0/8",
            "10.0.0.0/+8",
            "[::1]",
            "localhost",
            "fe80::1%1/64",
        ],
    ),
    Row(
        "--deny-cidr",
        &["10.0.0.0/8", "0.0.0.0/0", "10.0.0.0/8,10.0.0.0/8"],
        NETWORK,
        &[
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "example.com",
            "*",
            "::ffff:10.0.0.0/8",
        ],
    ),
    Row(
        "--allowed-host",
        &[
            "scim.example.com",
            "*.example.com",
            ".localhost",
            "SCIM.example.com.",
            "10.0.0.7",
            "10.0.0.*",
            "[fd12:3456::1]",
            "a.example, b.example",
        ],
        HOST,
        &[
            "",
            "*",
            "**.example.com",
            "a..b",
            ".",
            ".*.example.com",
            "a.example,,b.example",
            "https://scim.example.com",
            "scim.example.com:443",
            "scim.example.com/scim",
            "user@scim.example.com",
            "10.0.0.0/8",
            "256.1.1.1",
            "010.0.0.7",
            "127.1",
            "fe80::1%eth0",
            "[10.0.0.7]",
            "bücher.example",
            "scim example.com",
            "-scim.example.com",
        ],
    ),
    Row(
        "--bridge-proxy",
        &[
            "http://proxy.example.com:3128",
            "http://user:obviously-fake@proxy.example.com",
            "http://[::1]:3128",
        ],
        "write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT",
        &[
            "",
            "proxy.example.com:3128",
            "https://proxy.example.com",
            "socks5://proxy.example.com",
            "http://proxy.example.com:0",
            "http://proxy.example.com:65536",
            "http://proxy..example.com",
            "http://proxy.example.com/path",
            "http://256.1.1.1:3128",
        ],
    ),
    Row(
        "--bridge-no-proxy",
        &[
            ".localhost",
            "localhost",
            "10.0.0.0/8",
            "*.svc.cluster.local",
            "[::1]",
            "fd00::/8",
            ".Corp.Example.",
        ],
        "write a network (10.0.0.0/8) or a host. For a host, write an address",
        &[
            "",
            "*",
            "a..b",
            "http://localhost",
            "localhost:443",
            "10.0.0.0/33",
            "localhost,,127.0.0.1",
        ],
    ),
    Row(
        "--concurrency",
        &["1", "65535"],
        "write a whole number from 1 to 65535",
        &["", "0", "-1", "65536", "many"],
    ),
    Row(
        "--heartbeat",
        &["0s", "5m", "24h"],
        "write a duration from 0s to 24h",
        &["25h", "99999h"],
    ),
    Row(
        "--heartbeat",
        &["1h30m"],
        "not a duration: write whole numbers",
        &["", "5", "5d", "-5m", "1.5h", "5 m"],
    ),
    Row(
        "--drain-timeout",
        &["0s", "1m"],
        "not a duration: write whole numbers",
        &["", "20", "20 s", "forever"],
    ),
    Row(
        "--identity",
        &["replica-1"],
        "write 1 to 253 visible ASCII characters",
        &["", "replica 1", "réplica"],
    ),
    Row(
        "--admin-addr",
        &[":8080", "127.0.0.1:8080", "[::]:8080", "[::1]:8080"],
        "write :PORT for every address, or ADDRESS:PORT",
        &[
            "",
            ":",
            "8080",
            ":65536",
            "localhost:8080",
            "0.0.0.0",
            "*:8080",
            "http://0.0.0.0:8080",
            "::1",
        ],
    ),
    Row(
        "--log-format",
        &["auto", "json", "text"],
        "write one of auto, json, text",
        &["", "JSON", "xml"],
    ),
    Row(
        "--log-level",
        &["info", "trace", "info,scim_bridge_operator::controller=debug"],
        "write error, warn, info, debug, trace or off",
        &["", "inof", "info,", "hyper=debug", "verbose", "=,=,"],
    ),
    Row(
        "--otlp-endpoint",
        &["http://collector:4318", "https://collector.example.com/otlp"],
        SERVER,
        &[
            "",
            "collector:4318",
            "grpc://collector:4317",
            "http://collector:0",
            "http://user@collector",
            "http://collector/?x=y",
        ],
    ),
];

/// Those that `run` has not.
const CHECK: &[Row] = &[
    Row(
        "--identity-provider",
        &["Okta", "GoogleWorkspace"],
        "write one of GoogleWorkspace, EntraID, Okta",
        &["", "okta", "PingOne"],
    ),
    Row(
        "--server-name",
        &["scim.example.com"],
        "write a DNS name in lower case, not an address",
        &[
            "",
            "Scim.example.com",
            "scim..example.com",
            "10.0.0.7",
            "2130706433",
            "*.example.com",
            "scim.example.com:443",
        ],
    ),
    Row(
        "--timeout",
        &["1s", "1m"],
        "write a duration from 1s to 1m",
        &["0s", "61s", "1h"],
    ),
    Row(
        "--timeout",
        &["10s"],
        "not a duration: write whole numbers",
        &["", "10", "ten"],
    ),
    Row(
        "--output",
        &["text", "json", "yaml", "junit"],
        "write one of text, json, yaml, junit",
        &["", "JSON", "xml"],
    ),
    Row("--watch", &[], "write a duration from 1s to 24h", &["0s", "25h"]),
    Row("--namespace", &[], NAMESPACE, &["", "Team-A", "../team"]),
];

/// Those of `plan` and `import` that `check` has not, or takes otherwise.
const CONNECTION: Row = Row(
    "--connection",
    &["corp"],
    "write the name of an object",
    &["", "Corp", "a/b"],
);
const PLAN: &[Row] = &[
    CONNECTION,
    Row(
        "--output",
        &["text", "json", "junit"],
        "write one of text, json, junit",
        &["", "JSON", "yaml"],
    ),
];
const IMPORT: &[Row] = &[CONNECTION];
const REHEARSE: &[Row] = &[
    Row(
        "--user",
        &["trial@example.com"],
        "write an address that a user can have",
        &["", "trial", "a b@example.com", "a@b@example.com"],
    ),
    Row(
        "--group",
        &["k8s-trial", "two words"],
        "write a name that a group can have",
        &["", " k8s-trial", "k8s\ntrial"],
    ),
    Row(
        "--other-domain-user",
        &["trial@example.org"],
        "write an address that a user can have",
        &["", "example.org"],
    ),
    Row(
        "--patience",
        &["0s", "1m"],
        "not a duration: write whole numbers",
        &["", "60", "soon"],
    ),
    Row(
        "--output",
        &["text", "json"],
        "write one of text, json",
        &["", "JSON", "junit"],
    ),
];
const OFFBOARDING: &[Row] = &[
    CONNECTION,
    Row(
        "--since",
        &["2026-11-01", "2026-11-01T08:00:00Z", "720h"],
        "write a date (2026-11-01), a time",
        &["", "yesterday", "2026-13-01", "30d"],
    ),
    Row(
        "--output",
        &["text", "csv", "json"],
        "write one of text, csv, json",
        &["", "CSV", "junit"],
    ),
];

/// Those of `preflight` that `run` has not.
const PREFLIGHT: &[Row] = &[
    Row(
        "--operator-url",
        &["http://scim-bridge-operator.home.svc:8080"],
        SERVER,
        &[
            "",
            "scim-bridge-operator:8080",
            "http://user@operator",
            "http://operator:0",
        ],
    ),
    Row(
        "--timeout",
        &["0s", "1m"],
        "not a duration: write whole numbers",
        &["", "30", "soon"],
    ),
];

/// Flags that take any text, or nothing: a file, a name in a kubeconfig, an address that is the matter of the check.
const ANY: &[&str] = &[
    "--require-secret-consent",
    "--provisioning",
    "--url",
    "--api-key-file",
    "--api-key-env",
    "--ca-file",
    "--allow-plaintext",
    "--file",
    "--secret-file",
    "--kubeconfig",
    "--context",
    "--help",
    "--show-names",
    "--base",
    "--output-dir",
    "--all",
    "--force",
];

fn run(command: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_scim-bridge-operator"))
        .args(command)
        .env_clear()
        .env("KEY", "not-a-real-key")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// What a command with this flag ends with, where the flag is taken: there is no cluster, and nobody at the address.
const NO_CLUSTER: (i32, &str) = (1, "no cluster: ");
const NOBODY: (i32, &str) = (3, "ConnectFailed");
const CHECK_NOBODY: [&str; 5] = ["check", "--url", "https://127.0.0.1:1", "--api-key-env", "KEY"];

fn faults(command: &[&str], taken: (i32, &str), rows: &[Row]) -> Vec<String> {
    let mut faults = Vec::new();
    for Row(flag, good, allowed, bad) in rows {
        for value in *good {
            let output = run(&[command, &[&format!("{flag}={value}")]].concat(), &[]);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            if output.status.code() != Some(taken.0) || !said.contains(taken.1) {
                faults.push(format!(
                    "{flag}={value} is to be taken, and ends with {}: {said}",
                    output.status
                ));
            }
        }
        for value in *bad {
            let output = run(&[command, &[&format!("{flag}={value}")]].concat(), &[]);
            let said = String::from_utf8_lossy(&output.stderr);
            let expected = format!("scim-bridge-operator: invalid value for {flag}: {allowed}");
            // Short ones may be part of any sentence.
            let is_repeated = value.len() > 5 && said.replace(&expected, "").contains(value);
            if output.status.code() != Some(1)
                || !output.stdout.is_empty()
                || !said.starts_with(&expected)
                || said.lines().count() != 1
                || is_repeated
            {
                faults.push(format!(
                    "{flag}={value} is to be refused, and ends with {}: {said}",
                    output.status
                ));
            }
        }
    }
    faults
}

#[test]
fn every_flag_of_run() {
    let faults = faults(&["run"], NO_CLUSTER, RUN);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_flag_of_preflight() {
    let faults = faults(&["preflight"], NO_CLUSTER, PREFLIGHT);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_flag_of_check() {
    let faults = faults(&CHECK_NOBODY, NOBODY, CHECK);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Nobody is at the address of the connection.
#[test]
fn every_flag_of_plan_and_import() {
    let folder = Scratch::new("flags").unwrap();
    let path = folder.path().join("corp.yaml");
    let user = json!({
        "apiVersion": "scimbridge.dev/v1alpha1",
        "kind": "ScimUser",
        "metadata": {"name": "ada"},
        "spec": {
            "connectionRef": {"name": "corp"},
            "userName": "ada@example.com",
            "name": {"givenName": "Ada", "familyName": "Example"},
        },
    });
    let connection = json!({
        "apiVersion": "scimbridge.dev/v1alpha1",
        "kind": "ScimBridgeConnection",
        "metadata": {"name": "corp"},
        "spec": {
            "url": "https://127.0.0.1:1",
            "apiKeySecretRef": {"name": "corp"},
            "provisioning": {
                "mode": "Plan",
                "scope": {"userNames": ["*@example.com"]},
                "protected": {"userNames": ["owner@example.com"]},
            },
        },
    });
    fs::write(&path, format!("{connection}\n---\n{user}\n")).unwrap();
    let path = path.display().to_string();
    let not_proven = (1, "is not proven, so its directory is not read. ConnectFailed: ");
    let into = folder.path().join("people").display().to_string();
    let plan = [
        "plan",
        "-f",
        &path,
        "--url",
        "https://127.0.0.1:1",
        "--api-key-env",
        "KEY",
    ];
    let import = [
        "import",
        "-o",
        &into,
        "--url",
        "https://127.0.0.1:1",
        "--api-key-env",
        "KEY",
    ];
    let mut faults = faults(&plan, not_proven, PLAN);
    faults.extend(self::faults(&import, not_proven, IMPORT));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(
        !Path::new(&into).exists(),
        "nothing was read, and something is written"
    );
}

/// Nobody is at the address. A flag may be there once, so each is tried without the one that it replaces.
#[test]
fn every_flag_of_rehearse() {
    let not_proven = (1, "is not proven, so its directory is not read. ConnectFailed: ");
    let address = ["rehearse", "--url", "https://127.0.0.1:1", "--api-key-env", "KEY"];
    let mut faults = Vec::new();
    for row in REHEARSE {
        let names = [
            ("--user", "--user=trial@example.com"),
            ("--group", "--group=k8s-trial"),
        ];
        let others = names
            .iter()
            .filter(|(flag, _)| *flag != row.0)
            .map(|(_, given)| *given);
        let command: Vec<&str> = address.into_iter().chain(others).collect();
        faults.extend(self::faults(&command, not_proven, std::slice::from_ref(row)));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A user without a status: nothing proves the suspension.
#[test]
fn every_flag_of_offboarding() {
    let folder = Scratch::new("offboarding").unwrap();
    let path = folder.path().join("users.yaml");
    let user = json!({
        "apiVersion": "scimbridge.dev/v1alpha1",
        "kind": "ScimUser",
        "metadata": {"name": "left-the-company"},
        "spec": {
            "connectionRef": {"name": "corp"},
            "userName": "ada@example.com",
            "name": {"givenName": "Ada", "familyName": "Example"},
            "state": "Suspended",
        },
    });
    fs::write(&path, user.to_string()).unwrap();
    let path = path.display().to_string();
    let faults = faults(
        &["offboarding", "-f", &path],
        (2, "left-the-company"),
        OFFBOARDING,
    );
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A flag that is new needs a row.
#[test]
fn no_flag_is_left_out() {
    let command = Arguments::command();
    for (name, rows) in [
        ("run", &[RUN][..]),
        ("preflight", &[RUN, PREFLIGHT]),
        ("check", &[RUN, CHECK]),
        ("plan", &[RUN, CHECK, PLAN]),
        ("import", &[RUN, CHECK, IMPORT]),
        ("offboarding", &[OFFBOARDING]),
        ("rehearse", &[RUN, CHECK, REHEARSE]),
    ] {
        let tried = rows
            .iter()
            .flat_map(|rows| rows.iter())
            .map(|Row(flag, ..)| *flag);
        let known: BTreeSet<_> = tried.chain(ANY.iter().copied()).collect();
        let flags = command.find_subcommand(name).unwrap().get_arguments();
        let unknown: Vec<_> = flags
            .filter_map(|flag| flag.get_long())
            .map(|flag| format!("--{flag}"))
            .filter(|flag| !known.contains(flag.as_str()))
            .collect();
        assert!(
            unknown.is_empty(),
            "{name}: give {unknown:?} a row in tests/flags.rs"
        );
    }
}

/// Variables are read as flags are; what is set to nothing is not left out in silence, for that might allow more.
#[test]
fn variables() {
    for (variable, value, expected) in [
        ("ALLOWED_HOST", ".localhost,10.0.0.7", "no cluster: "),
        (
            "ALLOWED_HOST",
            "",
            "invalid value for the environment variable ALLOWED_HOST (--allowed-host): write an address",
        ),
        (
            "DENY_CIDR",
            "",
            "invalid value for the environment variable DENY_CIDR (--deny-cidr): write a network",
        ),
        (
            "NAMESPACES",
            "",
            "invalid value for the environment variable NAMESPACES (--namespaces): write the name of a namespace",
        ),
        ("REQUIRE_SECRET_CONSENT", "true", "no cluster: "),
        (
            "REQUIRE_SECRET_CONSENT",
            "yes",
            "invalid value for the environment variable REQUIRE_SECRET_CONSENT (--require-secret-consent): write one of true, false",
        ),
        // As the component deploy/provisioning sets it.
        ("PROVISIONING", "true", "no cluster: "),
        (
            "PROVISIONING",
            "1",
            "invalid value for the environment variable PROVISIONING (--provisioning): write one of true, false",
        ),
        (
            "BRIDGE_PROXY",
            "https://user:obviously-fake@proxy",
            "invalid value for the environment variable BRIDGE_PROXY (--bridge-proxy): write http://",
        ),
        (
            "POD_NAME",
            "",
            "invalid value for the environment variable POD_NAME (--identity): write 1 to 253",
        ),
        // A variable of many programs: OpenTelemetry says what nothing means.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "", "no cluster: "),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector",
            "invalid value for the environment variable OTEL_EXPORTER_OTLP_ENDPOINT (--otlp-endpoint): write http://",
        ),
    ] {
        let output = run(&["run"], &[(variable, value)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{variable}={value}: {said}");
        assert!(
            said.starts_with(&format!("scim-bridge-operator: {expected}")),
            "{variable}={value}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{variable}={value}: {said}");
        assert!(!said.contains("obviously-fake"), "{said}");
    }
}

/// Flags that are well-formed one by one, and leave nothing to do together; and mistakes that are about no value.
#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn flags_together() {
    for (line, code, expected) in [
        (
            "run --deny-cidr 0.0.0.0/0 --deny-cidr ::/0",
            1,
            "--deny-cidr denies every address: remove a network, or set --bridge-proxy",
        ),
        (
            "run --deny-cidr 0.0.0.0/0,::/0 --bridge-proxy http://proxy:3128",
            1,
            "no cluster: ",
        ),
        (
            "check --url https://127.0.0.1:1 --api-key-env KEY --deny-cidr 0.0.0.0/0,::/0",
            1,
            "--deny-cidr denies every address",
        ),
        (
            "run --admin-addr :1 --admin-addr :2",
            1,
            "the argument '--admin-addr <ADMIN_ADDR>' cannot be used multiple times",
        ),
        ("run --namespaces a --namespaces b", 1, "no cluster: "),
        (
            "run --allowed-hosts a.example",
            1,
            "unknown flag --allowed-hosts. Did you mean --allowed-host?",
        ),
        (
            "check --url https://127.0.0.1:1 --api-key-env KEY --kubeconfig x",
            1,
            "the argument '--url <URL>' cannot be used with '--kubeconfig <KUBECONFIG>': --url reads no manifest and no cluster",
        ),
        ("run surplus", 1, "one value too many"),
        (
            "plan -f x --url https://127.0.0.1:1 --api-key-env KEY --context x",
            1,
            "the argument '--url <URL>' cannot be used with '--context <CONTEXT>': --url reads no manifest and no cluster",
        ),
        (
            "plan -f x --server-name scim.example.com",
            1,
            "the following required arguments were not provided: --url <URL>",
        ),
        (
            "plan -f x --url https://127.0.0.1:1",
            1,
            "the following required arguments were not provided: <--api-key-file <API_KEY_FILE>|--api-key-env <NAME>>",
        ),
        (
            "plan --url https://127.0.0.1:1 --api-key-env KEY",
            1,
            "the following required arguments were not provided: --file <PATH>",
        ),
        ("plan -f /no/such/folder", 1, "cannot read /no/such/folder"),
        ("offboarding -f /no/such/folder", 1, "cannot read /no/such/folder"),
        (
            "rehearse --user trial@example.com --group k8s-trial",
            1,
            "the following required arguments were not provided: <--url <URL>|--file <FILE>>",
        ),
        (
            "rehearse -f x --user trial@example.com",
            1,
            "the following required arguments were not provided: --group <NAME>",
        ),
        (
            "offboarding",
            1,
            "the following required arguments were not provided: --file <PATH>",
        ),
        (
            "import -o x --url https://127.0.0.1:1 --api-key-env KEY",
            1,
            "the following required arguments were not provided: --connection <NAME>",
        ),
        (
            "import -f x",
            1,
            "the following required arguments were not provided: --output-dir <DIR>",
        ),
        (
            "import -o x -f x --connection corp",
            1,
            "the argument '--file <FILE>' cannot be used with '--connection <NAME>'",
        ),
        (
            "check --url https://127.0.0.1:1 --api-key-file /no/such/key",
            1,
            "cannot read the file that --api-key-file names: ",
        ),
    ] {
        let output = run(&line.split(' ').collect::<Vec<_>>(), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(
            said.starts_with(&format!("scim-bridge-operator: {expected}")),
            "{line}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{line}: {said}");
        assert!(!said.contains("/no/such/key"), "{said}");
    }
}
