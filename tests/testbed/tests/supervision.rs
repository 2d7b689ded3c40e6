//! No process outlives its owner, and every end is reported as it was.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal as Number, kill_process_group, test_kill_process};
use testbed::{
    Failure,
    scratch::Scratch,
    supervise::{Launch, Process, Signal, SuperviseError},
    wait,
};

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Launch {
    Launch::new("shell", "/bin/sh").args(["-c", script])
}

fn pid(number: u32) -> Result<Pid, Failure> {
    Ok(i32::try_from(number)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("not a process id")?)
}

async fn until_dead(pids: &[Pid]) -> Result<(), Failure> {
    wait::until(SOON, "the processes to be gone", async || {
        let alive: Vec<_> = pids
            .iter()
            .filter(|pid| test_kill_process(**pid).is_ok())
            .collect();
        if alive.is_empty() {
            Ok(())
        } else {
            Err(format!("{alive:?} alive"))
        }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn exit_codes_and_signals_are_passed_on() -> Result<(), Failure> {
    let scratch = Scratch::new("test")?;
    assert_eq!(shell("exit 7").start(&scratch)?.wait(SOON).await?.code(), Some(7));

    let process = shell("exec sleep 600").start(&scratch)?;
    assert_eq!(process.terminate(SOON).await?.signal(), Some(15));

    let process = shell("exec sleep 600").start(&scratch)?;
    process.kill().await?;
    assert_eq!(process.ended()?.and_then(|status| status.signal()), Some(9));
    process.signal(Signal::Terminate)?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_started_says_why() -> Result<(), Failure> {
    let scratch = Scratch::new("test")?;
    let Err(error) = Launch::new("ghost", "/no/such/program").start(&scratch) else {
        panic!("it does not exist")
    };
    assert_eq!(
        error.to_string(),
        "ghost: cannot start /no/such/program: No such file or directory"
    );
    Ok(())
}

#[tokio::test]
async fn what_ends_early_shows_its_log() -> Result<(), Failure> {
    let scratch = Scratch::new("test")?;
    let process = shell("echo the reason >&2; exit 3").start(&scratch)?;
    let Err(error) = process.ready(SOON, "the impossible", async || None::<()>).await else {
        panic!("never ready")
    };
    assert!(
        matches!(&error, SuperviseError::Ended { tail, .. } if tail == "the reason"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_dropped_process_is_gone_with_its_children_and_its_folder() -> Result<(), Failure> {
    let scratch = Scratch::new("test")?;
    let folder = scratch.path().to_owned();
    let process = shell("sleep 600 & echo $!; wait").start(&scratch)?;
    let command = pid(process.pid())?;
    let child = process
        .ready(SOON, "its child", async || process.logs().trim().parse())
        .await?;
    drop(scratch);
    assert!(folder.exists() && test_kill_process(command).is_ok());

    drop(process);
    assert!(test_kill_process(command).is_err());
    assert!(!folder.exists());
    until_dead(&[pid(child)?]).await
}

/// `testbed up`, and what it said about itself.
struct Owner {
    program: Child,
    servers: Vec<Pid>,
    folder: PathBuf,
}

impl Owner {
    /// In a process group of its own, as a shell starts it.
    fn start() -> Result<Self, Failure> {
        let mut program = Command::new(env!("CARGO_BIN_EXE_testbed"))
            .arg("up")
            .env_remove(testbed::cluster::CLUSTER)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = program.stdout.take().ok_or("it has no output")?;
        let mut lines = Vec::new();
        for line in BufReader::new(stdout).lines() {
            lines.push(line?);
            if lines.last().is_some_and(|line| line.starts_with("up, ")) {
                break;
            }
        }
        let servers = lines
            .iter()
            .filter_map(|line| line.split_once(": pid ")?.1.split_once(',')?.0.parse().ok());
        let servers: Vec<Pid> = servers.map(pid).collect::<Result<_, _>>()?;
        let kubeconfig = lines
            .iter()
            .find_map(|line| line.strip_prefix("export KUBECONFIG="));
        let folder = kubeconfig
            .and_then(|path| Path::new(path).parent())
            .ok_or("it named no kubeconfig")?
            .to_owned();
        Ok(Self {
            program,
            servers,
            folder,
        })
    }

    async fn until_nothing_is_left(&self) -> Result<(), Failure> {
        until_dead(&self.servers).await?;
        wait::until(SOON, "the scratch folder to be gone", async || {
            (!self.folder.exists()).then_some(())
        })
        .await?;
        Ok(())
    }
}

#[tokio::test]
async fn nothing_is_left_when_the_owner_is_killed() -> Result<(), Failure> {
    let mut owner = Owner::start()?;
    assert_eq!(owner.servers.len(), 2, "etcd and kube-apiserver");
    assert!(
        owner.folder.exists()
            && owner
                .servers
                .iter()
                .all(|server| test_kill_process(*server).is_ok())
    );

    owner.program.kill()?;
    owner.program.wait()?;
    owner.until_nothing_is_left().await
}

#[tokio::test]
async fn nothing_is_left_after_ctrl_c() -> Result<(), Failure> {
    let mut owner = Owner::start()?;
    kill_process_group(pid(owner.program.id())?, Number::INT)?;

    assert!(owner.program.wait()?.success());
    owner.until_nothing_is_left().await
}

#[tokio::test]
async fn a_stubborn_process_is_killed_when_its_grace_is_over() -> Result<(), Failure> {
    let scratch = Scratch::new("test")?;
    let log = scratch.path().join("stubborn.log");
    let mut supervisor = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("supervise.py"))
        .arg("0.2")
        .arg(&log)
        .args([
            "-",
            "/bin/sh",
            "-c",
            "trap '' TERM; echo deaf; while :; do sleep 1; done",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    wait::until(SOON, "the command to be deaf", async || {
        fs::read_to_string(&log).ok().filter(|log| log == "deaf\n")
    })
    .await?;

    drop(supervisor.stdin.take());
    let ended = wait::until(SOON, "the end", async || supervisor.try_wait().transpose()).await?;
    assert_eq!(ended?.signal(), Some(9));
    Ok(())
}

/// Processes are used from many tests, each with a runtime of its own.
#[test]
fn a_process_may_cross_threads() {
    fn check<T: Send + Sync>() {}
    check::<Process>();
    check::<testbed::Cluster>();
    check::<testbed::ScimServer>();
    check::<testbed::OperatorProcess>();
}
