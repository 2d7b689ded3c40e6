//! The operator's harness, with a stand-in for the operator: what counts here is how it is run, not what it does.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use testbed::{Failure, OperatorProcess, free_port, operator::OperatorError, scratch::Scratch};

const SOON: Duration = Duration::from_secs(10);

/// Is ready from its third answer on, logs its environment, and ends in good order on SIGTERM.
const STAND_IN: &str = r#"
import http.server, json, os, signal, sys

class Admin(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Admin.asked += 1
        self.send_response(200 if Admin.asked > 2 else 503)
        self.end_headers()
        self.wfile.write(b"asked_total %d\n" % Admin.asked)

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
host, port = sys.argv[sys.argv.index("--admin-addr") + 1].split(":")
server = http.server.HTTPServer((host, int(port)), Admin)
print(json.dumps({"environment": dict(os.environ)}), flush=True)
print("not json", flush=True)
server.serve_forever()
"#;

/// The stand-in as a program: a file that the kernel starts with Python.
fn stand_in(scratch: &Arc<Scratch>) -> Result<PathBuf, Failure> {
    let python = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()?;
    let program = scratch.path().join("operator");
    fs::write(
        &program,
        format!("#!{}{STAND_IN}", String::from_utf8(python.stdout)?),
    )?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
    Ok(program)
}

#[tokio::test]
async fn it_is_started_asked_and_ended_as_kubernetes_would() -> Result<(), Failure> {
    let scratch = Scratch::new("operator-test")?;
    let program = stand_in(&scratch)?;
    let kubeconfig = scratch.path().join("kubeconfig");
    let admin = format!("127.0.0.1:{}", free_port()?);
    let args = ["run", "--admin-addr", &admin];
    let operator = OperatorProcess::start(&program, &kubeconfig, &args, &[("SHARD", "blue")]).await?;

    assert_eq!(operator.metrics().await?, "asked_total 4\n");
    let events = operator.events();
    let environment = events
        .first()
        .and_then(|event| event.get("environment"))
        .ok_or("it logged nothing")?;
    assert_eq!(environment["SHARD"], "blue");
    assert_eq!(environment["KUBECONFIG"], kubeconfig.display().to_string());
    assert!(
        environment.get("PATH").is_none(),
        "nothing of the developer's shell: {environment}"
    );

    assert!(operator.terminate(SOON).await?.success());
    Ok(())
}

#[tokio::test]
async fn it_can_be_lost_without_a_word() -> Result<(), Failure> {
    let scratch = Scratch::new("operator-test")?;
    let admin = format!("--admin-addr=127.0.0.1:{}", free_port()?);
    let operator = OperatorProcess::spawn("/bin/cat".as_ref(), scratch.path(), &[&admin], &[])?;
    let Err(OperatorError::Process(error)) = operator.ready(SOON).await else {
        panic!("cat knows no such option")
    };
    assert!(error.to_string().contains("before it was ready"), "{error}");

    let program = stand_in(&scratch)?;
    let admin = format!("127.0.0.1:{}", free_port()?);
    let operator = OperatorProcess::start(&program, scratch.path(), &["--admin-addr", &admin], &[]).await?;
    operator.kill().await?;
    assert_eq!(
        operator.process().ended()?.and_then(|status| status.signal()),
        Some(9)
    );
    Ok(())
}
