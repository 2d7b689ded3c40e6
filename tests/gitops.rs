//! What GitOps tools make of connections, users and groups, by their own code, for every STATUS.
//!
//! The objects come from the operator's own core, never from a hand: what is judged here is what it writes. They are
//! judged by `tests/testbed/gitops`, which links kstatus (Helm's `--wait`, Flux) and the Lua engine of Argo CD under its
//! limits.
//!
//! `BLESS=1 cargo test --test gitops` writes what is generated below `deploy/argocd`, and the table of `docs/gitops.md`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::{
    api::{
        connection::{
            ApiKeySecretRef, ComponentState, IdentityProvider, ObjectVersion, ScimBridgeConnectionStatus,
        },
        directory,
        vocabulary::{Class, ConditionType, Reason, Truth},
    },
    domain::connection::{
        conditions::readiness,
        evidence::{
            Answer, Blocker, CaFault, ChainFault, Component, ConsentFault, DateFault, Denial, DnsFault,
            Evidence, Exchange, HealthReport, KeyFault, Member, NameFault, Phase, Reading, Roots, TlsFault,
            TransportFailure as Failure,
        },
        status::{Observation, Versions, next_status},
        target::{InvalidSpec, Origin, Target},
    },
};
use serde_json::{Value, json};
use testbed::{tools, workspace};

const OKTA: IdentityProvider = IdentityProvider::Okta;
const GOOGLE: IdentityProvider = IdentityProvider::GoogleWorkspace;
const START: i64 = 1_772_546_816;

/// What each tool has to make of an object: `kstatus, Argo CD`.
const GOOD: &str = "Current, Healthy";
const ACTION: &str = "Failed, Degraded";
const TRANSIENT: &str = "InProgress, Progressing";

/// What a connection has gone through, and what each tool has to make of it then.
struct Row {
    name: &'static str,
    declared: IdentityProvider,
    passes: Vec<Evidence>,
    expected: &'static str,
}

/// An object as a tool would meet it, and what each tool has to make of it.
struct Case {
    name: &'static str,
    object: Value,
    expected: &'static str,
}

fn probed(ping: Answer<()>, health: Answer<HealthReport>, users: Answer<u64>) -> Evidence {
    Evidence::Probed(Exchange {
        ping: Reading::Answered(ping),
        health: Reading::Answered(health),
        users: Reading::Answered(users),
        ..Exchange::default()
    })
}

fn healthy() -> HealthReport {
    HealthReport {
        version: Some("2.9.16".to_owned()),
        build: Some("209163".to_owned()),
        components: vec![(Component::ScimServer, ComponentState::Healthy)],
    }
}

fn failed(failure: Failure) -> Evidence {
    Evidence::Probed(Exchange {
        ping: Reading::Failed(failure),
        ..Exchange::default()
    })
}

fn answered(users: Answer<u64>) -> Evidence {
    probed(Answer::Document(()), Answer::Document(healthy()), users)
}

/// One pass after another, a minute apart; the status after the last.
fn status_after(declared: IdentityProvider, passes: &[Evidence]) -> ScimBridgeConnectionStatus {
    let mut status = ScimBridgeConnectionStatus {
        observed_generation: -1,
        ..ScimBridgeConnectionStatus::default()
    };
    let target = Target {
        origin: Origin::parse("https://scim.example.com").unwrap(),
        api_key: ApiKeySecretRef {
            name: "corp".to_owned(),
            key: "apiKey".to_owned(),
        },
        next_api_key: None,
        ca: None,
        server_name: None,
        interval: Duration::from_mins(5),
        timeout: Duration::from_secs(10),
        failure_threshold: 3,
    };
    for (minute, evidence) in (0..).zip(passes) {
        let version = ObjectVersion {
            uid: "00000000-0000-4000-8000-000000000001".to_owned(),
            resource_version: "4711".to_owned(),
        };
        let pass = Observation {
            uid: "00000000-0000-4000-8000-000000000000",
            generation: 1,
            declared: Some(declared),
            target: Some(&target),
            versions: Versions {
                credential: Some(version),
                ..Versions::default()
            },
            requested: None,
            failures_before: 0,
            evidence,
            now: Timestamp::from_second(START + 60 * minute).unwrap(),
            late: Duration::ZERO,
            early: Duration::ZERO,
            heartbeat: Duration::from_mins(5),
        };
        status = next_status(&status, &pass).status;
    }
    status
}

fn object(name: &str, declared: IdentityProvider, status: &impl serde::Serialize) -> Value {
    json!({
        "apiVersion": "scimbridge.dev/v1alpha1",
        "kind": "ScimBridgeConnection",
        "metadata": {
            "name": name,
            "namespace": "identity",
            "uid": "00000000-0000-4000-8000-000000000000",
            "creationTimestamp": "2026-03-03T14:00:00Z",
            "generation": 1,
        },
        "spec": {
            "url": "https://scim.example.com",
            "identityProvider": declared,
            "apiKeySecretRef": {"name": name, "key": "apiKey"},
            "interval": "5m", "timeout": "10s", "failureThreshold": 3,
            "suspend": false, "allowPlaintext": false,
        },
        "status": status,
    })
}

#[allow(clippy::too_many_lines, reason = "a table, a row for each case")]
fn rows() -> Vec<Row> {
    let connected = || answered(Answer::Document(128));
    let mut rows = Vec::new();
    let mut add = |name, declared, passes: &[Evidence], expected| {
        rows.push(Row {
            name,
            declared,
            passes: passes.to_vec(),
            expected,
        });
    };
    let blocked = Evidence::Blocked;
    let twice = |blocker| [blocked(blocker), blocked(blocker)];

    add("connected", OKTA, &[connected()], GOOD);
    add("connected-again", OKTA, &[connected(), connected()], GOOD);
    let failure = || failed(Failure::Connect);
    add("held-after-a-failure", OKTA, &[connected(), failure()], GOOD);
    add(
        "withdrawn-after-three",
        OKTA,
        &[connected(), failure(), failure(), failure()],
        TRANSIENT,
    );
    // What a router without endpoints says of everything, while a bridge restarts.
    let front = || probed(Answer::NotFound, Answer::NotFound, Answer::NotFound);
    add("held-in-spite-of-a-front", OKTA, &[connected(), front()], GOOD);
    add(
        "withdrawn-after-three-of-a-front",
        OKTA,
        &[connected(), front(), front(), front()],
        TRANSIENT,
    );
    add("identity-provider-mismatch", GOOGLE, &[connected()], ACTION);
    add("auth-failed", OKTA, &[answered(Answer::Unauthorized)], ACTION);
    add("scim-disabled", OKTA, &[answered(Answer::NotFound)], ACTION);
    add(
        "scim-disabled-as-declared",
        GOOGLE,
        &[answered(Answer::NotFound)],
        GOOD,
    );
    let unproven = || probed(Answer::Document(()), Answer::NotFound, Answer::NotFound);
    add("scim-disabled-key-unproven", GOOGLE, &[unproven()], ACTION);
    add("path-not-found", OKTA, &[unproven()], ACTION);
    let watcher = HealthReport {
        components: vec![(Component::ConfirmationWatcher, ComponentState::Unhealthy)],
        ..healthy()
    };
    let off = probed(
        Answer::Document(()),
        Answer::Document(watcher),
        Answer::ServerError(500),
    );
    add("provisioning-off", OKTA, &[off], ACTION);
    add(
        "secret-not-found-in-grace",
        OKTA,
        &[blocked(Blocker::SecretNotFound)],
        TRANSIENT,
    );
    add("secret-not-found", OKTA, &twice(Blocker::SecretNotFound), ACTION);
    add(
        "secret-key-missing",
        OKTA,
        &[blocked(Blocker::SecretKeyMissing)],
        ACTION,
    );
    add(
        "api-key-malformed",
        OKTA,
        &[blocked(Blocker::ApiKeyMalformed(KeyFault::Blank))],
        ACTION,
    );
    add(
        "ca-not-found-in-grace",
        OKTA,
        &[blocked(Blocker::CaNotFound)],
        TRANSIENT,
    );
    add("ca-not-found", OKTA, &twice(Blocker::CaNotFound), ACTION);
    add(
        "ca-invalid",
        OKTA,
        &[blocked(Blocker::CaInvalid(CaFault::Frame))],
        ACTION,
    );
    add(
        "invalid-spec",
        OKTA,
        &[blocked(Blocker::InvalidSpec(InvalidSpec::Url))],
        ACTION,
    );
    add(
        "host-denied",
        OKTA,
        &[blocked(Blocker::HostDenied(Denial::Special))],
        ACTION,
    );
    add(
        "consent-missing",
        OKTA,
        &[blocked(Blocker::ConsentMissing(ConsentFault::Unnamed))],
        ACTION,
    );
    add(
        "certificate-untrusted",
        OKTA,
        &[failed(Failure::CertificateUntrusted(ChainFault::UnknownIssuer(
            Roots::System,
        )))],
        ACTION,
    );
    add(
        "certificate-expired",
        OKTA,
        &[failed(Failure::CertificateExpired(DateFault::Ended(
            Member::Server,
        )))],
        ACTION,
    );
    add(
        "certificate-name-mismatch",
        OKTA,
        &[failed(Failure::CertificateNameMismatch(NameFault::Other))],
        ACTION,
    );
    add(
        "dns-failed",
        OKTA,
        &[failed(Failure::Dns(DnsFault::NoAddress))],
        TRANSIENT,
    );
    add("connect-failed", OKTA, &[failed(Failure::Connect)], TRANSIENT);
    add(
        "timed-out",
        OKTA,
        &[failed(Failure::TimedOut(Phase::Answer))],
        TRANSIENT,
    );
    add(
        "tls-failed",
        OKTA,
        &[failed(Failure::Tls(TlsFault::Other))],
        TRANSIENT,
    );
    add(
        "bridge-unavailable",
        OKTA,
        &[answered(Answer::Unavailable(503))],
        TRANSIENT,
    );
    add(
        "bridge-error",
        OKTA,
        &[answered(Answer::ServerError(500))],
        TRANSIENT,
    );
    add("rate-limited", OKTA, &[answered(Answer::RateLimited)], TRANSIENT);
    add(
        "redirect-refused",
        OKTA,
        &[answered(Answer::Redirect(302))],
        ACTION,
    );
    add(
        "blocked-by-proxy",
        OKTA,
        &[answered(Answer::Blocked(403))],
        ACTION,
    );
    let foreign = Exchange {
        ping: Reading::Answered(Answer::Foreign),
        ..Exchange::default()
    };
    add("not-a-bridge", OKTA, &[Evidence::Probed(foreign)], ACTION);
    add("protocol-error", OKTA, &[answered(Answer::Broken)], ACTION);
    for (name, evidence, expected) in [
        (
            "google-dns-failed",
            vec![failed(Failure::Dns(DnsFault::NoAddress))],
            TRANSIENT,
        ),
        ("google-connect-failed", vec![failure()], TRANSIENT),
        (
            "google-secret-not-found",
            twice(Blocker::SecretNotFound).to_vec(),
            ACTION,
        ),
    ] {
        add(name, GOOGLE, &evidence, expected);
    }
    rows
}

fn cases() -> Vec<Case> {
    let connected = || answered(Answer::Document(128));
    let rows = rows().into_iter().map(|row| Case {
        name: row.name,
        object: object(row.name, row.declared, &status_after(row.declared, &row.passes)),
        expected: row.expected,
    });
    let mut cases: Vec<Case> = rows.collect();

    // What the CRD's default makes of an object that no operator has seen.
    let unseen = object("unseen", OKTA, &json!({"observedGeneration": -1}));
    let mut edited = object("edited", OKTA, &status_after(OKTA, &[connected()]));
    edited["metadata"]["generation"] = 2.into();
    let mut suspended = edited.clone();
    suspended["metadata"]["name"] = "suspended".into();
    suspended["spec"]["suspend"] = true.into();
    let mut deleted = object("deleted", OKTA, &status_after(OKTA, &[connected()]));
    deleted["metadata"]["deletionTimestamp"] = "2026-03-04T14:00:00Z".into();
    for (name, object, expected) in [
        ("unseen", unseen, TRANSIENT),
        ("edited", edited, TRANSIENT),
        ("suspended", suspended, "InProgress, Suspended"),
        ("deleted", deleted, "Terminating, Progressing"),
    ] {
        cases.push(Case {
            name,
            object,
            expected,
        });
    }
    cases
}

fn reason(object: &Value) -> Option<&str> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Ready")?["reason"].as_str()
}

fn argocd() -> PathBuf {
    workspace::root().join("deploy/argocd")
}

/// The folder of a kind.
fn customization(kind: &str) -> PathBuf {
    argocd().join("scimbridge.dev").join(kind)
}

async fn gitops() -> PathBuf {
    tools::gitops(&mut std::io::stderr()).await.unwrap()
}

/// What the tools say of these objects, in order.
async fn judge(objects: &[&Value]) -> Vec<Value> {
    let documents: Vec<String> = objects.iter().map(ToString::to_string).collect();
    let mut child = Command::new(gitops().await)
        .arg("judge")
        .arg("--argocd-cm")
        .arg(customized())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = documents.join("\n---\n");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // Whoever ends early says why on standard error.
    let _ = writer.join().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answers = String::from_utf8(output.stdout).unwrap();
    answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn line(judgement: &Value) -> String {
    let word = |pointer: &str| {
        judgement
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("-")
            .to_owned()
    };
    format!("{}, {}", word("/kstatus"), word("/health/status"))
}

/// Compares a generated file, or writes it with `BLESS=1`.
fn generated(path: &Path, text: &str) {
    if env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "{} is not what the operator makes of it: run `make generate`, and look at the difference",
        path.display()
    );
}

/// `resource.customizations` of Argo CD's ConfigMap, from the scripts.
fn argocd_cm() -> String {
    let script = |path: &str, indent: usize| {
        let text = fs::read_to_string(argocd().join("scimbridge.dev").join(path)).unwrap();
        let pad = " ".repeat(indent);
        let lines = text.lines().map(|line| {
            if line.is_empty() {
                String::new()
            } else {
                format!("{pad}{line}")
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let mut text = format!(
        "# Generated from scimbridge.dev/ ('make generate'); a test fails where it differs.\n\
         # kubectl patch configmap argocd-cm -n argocd --patch-file deploy/argocd/argocd-cm.yaml\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  namespace: argocd\ndata:\n  \
         resource.customizations.health.scimbridge.dev_ScimBridgeConnection: |\n{}\n  \
         resource.customizations.actions.scimbridge.dev_ScimBridgeConnection: |\n    \
         discovery.lua: |\n{}\n    definitions:\n",
        script("ScimBridgeConnection/health.lua", 4),
        script("ScimBridgeConnection/actions/discovery.lua", 6),
    );
    for name in ["recheck", "suspend", "resume"] {
        let body = script(&format!("ScimBridgeConnection/actions/{name}/action.lua"), 10);
        text = format!("{text}      - name: {name}\n        action.lua: |\n{body}\n");
    }
    for kind in DIRECTORY_KINDS {
        let body = script(&format!("{kind}/health.lua"), 4);
        text = format!("{text}  resource.customizations.health.scimbridge.dev_{kind}: |\n{body}\n");
    }
    text
}

/// The ConfigMap as it is generated. Every judgement rests on it, so it comes first.
fn customized() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        // One script is for both kinds. Argo CD looks for one in the folder of each.
        let [user, group] = DIRECTORY_KINDS.map(|kind| customization(kind).join("health.lua"));
        generated(&group, &fs::read_to_string(user).unwrap());
        let path = argocd().join("argocd-cm.yaml");
        generated(&path, &argocd_cm());
        path
    })
}

#[test]
fn the_config_map_of_argo_cd_holds_the_scripts() {
    assert!(customized().is_file());
}

#[test]
fn every_status_is_among_the_cases() {
    let cases = cases();
    let found: BTreeSet<_> = cases.iter().filter_map(|case| reason(&case.object)).collect();
    let missing: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| reason.as_str())
        // Written before a verdict, and so not the end of a pass: `unseen` and `edited` stand for it.
        .filter(|reason| *reason != "Progressing" && !found.contains(reason))
        .collect();
    assert!(missing.is_empty(), "give {missing:?} a case");
}

#[tokio::test]
async fn every_status_is_judged_as_it_should_be() {
    hold(&cases()).await;
}

/// Holds both tools to what is expected of each case.
async fn hold(cases: &[Case]) {
    let objects: Vec<&Value> = cases.iter().map(|case| &case.object).collect();
    let judgements = judge(&objects).await;
    assert_eq!(judgements.len(), cases.len());
    let mut wrong = Vec::new();
    for (case, judgement) in cases.iter().zip(&judgements) {
        if line(judgement) != case.expected {
            wrong.push(format!(
                "{}: {}, not {}",
                case.name,
                line(judgement),
                case.expected
            ));
        }
        let message = judgement["health"]["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{}: Argo CD shows no message", case.name);
    }
    assert!(wrong.is_empty(), "kstatus, Argo CD:\n{}", wrong.join("\n"));
}

/// Case A1: a declaration chooses between two readings of what was seen, and never takes the place of it. Each row is
/// judged the same with Google Workspace declared, but for those in which a bridge has shown what it is for.
#[tokio::test]
async fn a_declaration_proves_nothing() {
    let mut decided = BTreeMap::from([
        ("connected", ACTION),
        ("connected-again", ACTION),
        ("held-after-a-failure", ACTION),
        ("held-in-spite-of-a-front", ACTION),
        ("scim-disabled", GOOD),
    ]);
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.declared == OKTA).collect();
    let status = |row: &Row| status_after(GOOGLE, &row.passes);
    let objects: Vec<Value> = rows
        .iter()
        .map(|row| object(row.name, GOOGLE, &status(row)))
        .collect();
    let objects: Vec<&Value> = objects.iter().collect();
    for (row, judgement) in rows.iter().zip(judge(&objects).await) {
        let expected = decided.remove(row.name).unwrap_or(row.expected);
        assert_eq!(line(&judgement), expected, "{} with Google declared", row.name);
    }
    assert!(decided.is_empty(), "no such rows: {decided:?}");
}

/// Writes the suite of a kind in the form of Argo CD's own repository, or compares it.
async fn write_suite(folder: &Path, cases: &[Case]) {
    let objects: Vec<&Value> = cases.iter().map(|case| &case.object).collect();
    let judgements = judge(&objects).await;
    let mut suite = String::from("tests:\n");
    for (case, judgement) in cases.iter().zip(&judgements) {
        let path = format!("testdata/{}.yaml", case.name);
        generated(
            &folder.join(&path),
            &serde_saphyr::to_string(&case.object).unwrap(),
        );
        let message = judgement["health"]["message"].as_str().unwrap();
        let status = case.expected.rsplit(", ").next().unwrap();
        let message = serde_json::to_string(message).unwrap();
        suite = format!(
            "{suite}  - healthStatus:\n      status: {status}\n      message: {message}\n    inputPath: {path}\n"
        );
    }
    generated(&folder.join("health_test.yaml"), &suite);
}

/// Runs the suite of a kind, and holds the numbers of its tests.
async fn run_suite(folder: &Path, healths: usize, actions: usize) {
    let output = Command::new(gitops().await)
        .arg("suite")
        .arg(folder)
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let expected = format!("{healths} health tests and {actions} action tests passed");
    assert!(said.contains(&expected), "{said}");
}

/// The suite in the form of Argo CD's own repository, ready to be given to it.
#[tokio::test]
async fn argo_cds_own_tests_pass() {
    let folder = customization("ScimBridgeConnection");
    let cases = cases();
    write_suite(&folder, &cases).await;
    let of = |name: &str| {
        cases
            .iter()
            .find(|case| case.name == name)
            .unwrap()
            .object
            .clone()
    };
    let mut rechecked = of("connected");
    rechecked["metadata"]["annotations"] = json!({"reconcile.fluxcd.io/requestedAt": "2026-03-03T14:00:00Z"});
    let mut suspended = of("connected");
    suspended["spec"]["suspend"] = true.into();
    let mut resumed = of("suspended");
    resumed["spec"]["suspend"] = false.into();
    for (name, object) in [
        ("recheck", rechecked),
        ("suspend", suspended),
        ("resume", resumed),
    ] {
        let path = folder.join(format!("actions/testdata/{name}.yaml"));
        generated(&path, &serde_saphyr::to_string(&object).unwrap());
    }
    run_suite(&folder, cases.len(), 5).await;
}

/// A routine check never leaves Current, and a refused key is never anything but Failed.
#[tokio::test]
async fn routine_checks_do_not_flap() {
    let mut objects = Vec::new();
    for (evidence, count) in [
        (answered(Answer::Document(128)), 20),
        (answered(Answer::Unauthorized), 20),
    ] {
        for passes in 1..=count {
            objects.push(object(
                "corp",
                OKTA,
                &status_after(OKTA, &vec![evidence.clone(); passes]),
            ));
        }
    }
    let objects: Vec<&Value> = objects.iter().collect();
    let lines: Vec<String> = judge(&objects).await.iter().map(line).collect();
    assert!(lines[..20].iter().all(|line| line == GOOD), "{lines:?}");
    assert!(lines[20..].iter().all(|line| line == ACTION), "{lines:?}");
}

/// What the page says of an object that no STATUS tells, and the case that shows it.
const BESIDE: [(&str, &str); 10] = [
    (
        "paused",
        "is a user or group, is paused, and differs from the bridge",
    ),
    ("unseen", "no operator has seen, or that was edited"),
    ("edited", "no operator has seen, or that was edited"),
    (
        "secret-not-found-in-grace",
        "waits for its Secret or CA object, for up to 30 seconds",
    ),
    (
        "held-after-a-failure",
        "has failed once or twice, while its verdict is held",
    ),
    (
        "held-in-spite-of-a-front",
        "has failed once or twice, while its verdict is held",
    ),
    (
        "withdrawn-after-three-of-a-front",
        "is answered by a front for longer, where a bridge has answered before",
    ),
    (
        "scim-disabled-as-declared",
        "is `ScimDisabled`, with `GoogleWorkspace` declared and the key proven",
    ),
    ("suspended", "is suspended"),
    ("deleted", "is being deleted"),
];

/// The page's manifests are YAML, its Kustomization is that of deploy/flux, and its tables have the class of every
/// STATUS and what is beside them.
#[test]
fn the_page_says_what_was_judged() {
    let page = fs::read_to_string(workspace::root().join("docs/gitops.md")).unwrap();
    let manifests: Vec<Value> = page
        .split("```yaml\n")
        .skip(1)
        .flat_map(|rest| rest.split("```").next().unwrap().split("---\n"))
        .map(|text| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}")))
        .collect();
    let kustomization = fs::read_to_string(workspace::root().join("deploy/flux/kustomization.yaml")).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&kustomization).unwrap();
    assert!(
        manifests.contains(&kustomization),
        "docs/gitops.md: copy deploy/flux/kustomization.yaml"
    );

    let mut wrong = Vec::new();
    for case in DIRECTORY_KINDS
        .iter()
        .flat_map(|kind| directory_cases(kind))
        .chain(cases())
    {
        let cells = case.expected.replace(", ", " | ");
        let beside: Vec<&str> = BESIDE
            .iter()
            .filter(|(name, _)| *name == case.name)
            .map(|(_, text)| *text)
            .collect();
        let class = reason(&case.object)
            .filter(|reason| case.name.replace('-', "").eq_ignore_ascii_case(reason))
            .and_then(|reason| match Reason::parse(reason)?.class() {
                Class::Ok => Some("*ok*".to_owned()),
                Class::Action => Some("*action*".to_owned()),
                Class::Transient => Some("*transient*".to_owned()),
                Class::Pending => None,
            });
        let rows = beside.into_iter().map(str::to_owned).chain(class);
        wrong.extend(
            rows.map(|row| format!("| {row} | {cells} |"))
                .filter(|row| !page.contains(row)),
        );
    }
    assert!(wrong.is_empty(), "docs/gitops.md lacks\n{}", wrong.join("\n"));
}

// === Users and groups ===

/// The kinds whose objects stand for something on a bridge.
const DIRECTORY_KINDS: [&str; 2] = ["ScimUser", "ScimGroup"];

/// An object whose `Ready` has this reason. A difference is planned, a fault stalls, a passing one is tried again.
fn judged(kind: &str, name: &str, reason: directory::Reason) -> Value {
    let class = reason.class();
    let sentences = [reason.message(), reason.action()];
    let condition = |type_: ConditionType, status: Truth, reason: &str, message: &str| {
        json!({"type": type_.as_str(), "status": status.as_str(), "reason": reason, "message": message,
               "observedGeneration": 1, "lastTransitionTime": "2026-03-03T14:06:56Z"})
    };
    let progress = |type_, of: &str| condition(type_, Truth::True, of, reason.message());
    let mut conditions = vec![condition(
        ConditionType::Ready,
        readiness(class),
        reason.as_str(),
        sentences.join(" ").trim(),
    )];
    conditions.extend(match class {
        Class::Ok => None,
        Class::Action => Some(progress(ConditionType::Stalled, reason.as_str())),
        Class::Transient => Some(progress(ConditionType::Reconciling, "ProgressingWithRetry")),
        Class::Pending => Some(progress(ConditionType::Reconciling, "Progressing")),
    });
    let spec = if kind == "ScimUser" {
        json!({"connectionRef": {"name": "okta"}, "userName": "ada@example.com",
               "name": {"givenName": "Ada", "familyName": "Example"},
               "state": "Active", "adopt": "IfUnchanged", "paused": false})
    } else {
        json!({"connectionRef": {"name": "okta"}, "displayName": "k8s-admins", "membership": "Additive",
               "members": [{"userName": "ada@example.com"}], "adopt": "IfUnchanged", "paused": false})
    };
    let mut object = object(
        name,
        OKTA,
        &json!({"observedGeneration": 1, "conditions": conditions}),
    );
    object["kind"] = kind.into();
    object["spec"] = spec;
    object
}

/// What beside the reason decides: who has seen the object, and what somebody wants to happen to it.
fn directory_cases(kind: &str) -> Vec<Case> {
    use directory::Reason;
    let judged = |name, reason| judged(kind, name, reason);
    let mut unseen = judged("unseen", Reason::Provisioned);
    unseen["status"] = json!({"observedGeneration": -1});
    let mut edited = judged("edited", Reason::Provisioned);
    edited["metadata"]["generation"] = 2.into();
    let mut paused = judged("paused", Reason::ChangePlanned);
    paused["spec"]["paused"] = true.into();
    let mut paused_as_declared = judged("paused-as-declared", Reason::Provisioned);
    paused_as_declared["spec"]["paused"] = true.into();
    let mut deleted = judged("deleted", Reason::Provisioned);
    deleted["metadata"]["deletionTimestamp"] = "2026-03-04T14:00:00Z".into();
    [
        ("provisioned", judged("provisioned", Reason::Provisioned), GOOD),
        (
            "change-planned",
            judged("change-planned", Reason::ChangePlanned),
            ACTION,
        ),
        (
            "directory-incomplete",
            judged("directory-incomplete", Reason::DirectoryIncomplete),
            TRANSIENT,
        ),
        ("unseen", unseen, TRANSIENT),
        ("edited", edited, TRANSIENT),
        ("paused", paused, "Failed, Suspended"),
        ("paused-as-declared", paused_as_declared, GOOD),
        ("deleted", deleted, "Terminating, Progressing"),
    ]
    .map(|(name, object, expected)| Case {
        name,
        object,
        expected,
    })
    .into()
}

#[tokio::test]
async fn every_status_of_users_and_groups_is_judged_by_its_class() {
    for kind in DIRECTORY_KINDS {
        let reasons = directory::Reason::ALL.iter().map(|reason| Case {
            name: reason.as_str(),
            object: judged(kind, "it", *reason),
            expected: match reason.class() {
                Class::Ok => GOOD,
                Class::Action => ACTION,
                Class::Transient | Class::Pending => TRANSIENT,
            },
        });
        hold(&reasons.collect::<Vec<_>>()).await;
        hold(&directory_cases(kind)).await;
    }
}

#[tokio::test]
async fn argo_cds_own_tests_of_users_and_groups_pass() {
    for kind in DIRECTORY_KINDS {
        let (folder, cases) = (customization(kind), directory_cases(kind));
        write_suite(&folder, &cases).await;
        run_suite(&folder, cases.len(), 0).await;
    }
}
