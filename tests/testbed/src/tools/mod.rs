//! The programs that the test bed runs: located, or built once into `.testbed`.
//!
//! Each function is quick when nothing is to be done, says on `progress` what it does when something is, and may be
//! called by any number of processes at once: one builds, the others wait. What was built is built again when what it
//! was made from has changed.

mod control_plane;
mod crdify;
mod gitops;
mod go_module;
mod helm;
mod prometheus;
mod scim2;

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use thiserror::Error;

pub use self::{
    control_plane::{ControlPlaneTools, control_plane, controller_manager, kubectl},
    crdify::crdify,
    gitops::gitops,
    helm::helm,
    prometheus::{PrometheusTools, prometheus},
    scim2::scim2_server,
};
use crate::{
    failure::debug_is_message,
    python::PythonError,
    scratch::Scratch,
    supervise::{Launch, SuperviseError},
    wait::{self, WaitError},
    workspace,
};

/// Where progress is reported. Standard error, as a rule: the test harness does not swallow what is written there
/// directly, and somebody who waits for minutes wants to know why.
pub type Progress<'a> = &'a mut (dyn Write + Send);

/// A sign of life during long steps.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Longer than any step takes on a small machine.
const STEP_DEADLINE: Duration = Duration::from_mins(45);

/// A tool is missing and cannot be made.
#[derive(Error)]
pub enum ToolsError {
    /// A prerequisite.
    #[error(
        "go is not on PATH: install Go {0} or newer (macOS: brew install go; elsewhere: https://go.dev/dl)"
    )]
    NoGo(String),
    /// A prerequisite.
    #[error(transparent)]
    Python(#[from] PythonError),
    /// `go.mod` does not say what it must.
    #[error("tests/testbed/{module}/go.mod has no line for {what}: restore it from Git")]
    NoVersion {
        /// The module's folder.
        module: &'static str,
        /// Whose version is missing.
        what: &'static str,
    },
    /// A build step failed.
    #[error(
        "{step} failed ({status}); check the network (module and package mirrors included), then run \
             `cargo run -p scim-bridge-testbed -- tools`; the end of its output:\n{tail}"
    )]
    Step {
        /// What was being done.
        step: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its output.
        tail: String,
    },
    /// A build step could not be run, or did not end.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    /// Another process holds the lock, and does not let go.
    #[error("another process has been building the tools for too long: end it, and try again")]
    Locked(#[source] WaitError),
    /// A file below `.testbed` cannot be used.
    #[error("{path}: remove .testbed and try again")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
debug_is_message!(ToolsError);

/// Locates or makes everything.
pub async fn all(progress: Progress<'_>) -> Result<(), ToolsError> {
    let (cluster, controller_manager) = controller_manager(&mut *progress).await?;
    let helm = helm(&mut *progress).await?;
    let crdify = crdify(&mut *progress).await?;
    let gitops = gitops(&mut *progress).await?;
    let prometheus = prometheus(&mut *progress).await?;
    let scim2_server = scim2_server(&mut *progress).await?;
    for tool in [
        cluster.etcd,
        cluster.kube_apiserver,
        controller_manager,
        cluster.kubectl,
        helm,
        crdify,
        gitops,
        prometheus.prometheus,
        prometheus.promtool,
        scim2_server,
    ] {
        say(progress, &format!("ready: {}", tool.display()));
    }
    Ok(())
}

/// One line of progress. That nobody reads it is no reason to fail.
fn say(progress: &mut (dyn Write + Send), line: &str) {
    let _ = writeln!(progress, "testbed: {line}");
}

/// Runs one step to its end, with a sign of life now and then.
async fn run_step(step: &str, launch: Launch, progress: Progress<'_>) -> Result<(), ToolsError> {
    let scratch = Scratch::new("build").map_err(|source| unusable(&workspace::state(), source))?;
    let begun = Instant::now();
    let process = launch.start(&scratch)?;
    let status = loop {
        match process.wait(HEARTBEAT).await {
            Err(SuperviseError::StillRunning { .. }) if begun.elapsed() < STEP_DEADLINE => {
                say(
                    progress,
                    &format!("still {step}, {} s so far", begun.elapsed().as_secs()),
                );
            }
            ended => break ended?,
        }
    };
    if status.success() {
        say(progress, &format!("done {step}, {} s", begun.elapsed().as_secs()));
        return Ok(());
    }
    Err(ToolsError::Step {
        step: step.to_owned(),
        status,
        tail: process.tail(),
    })
}

/// One builder at a time on this workspace. The lock goes with the file handle, and with the process.
async fn lock(progress: Progress<'_>) -> Result<File, ToolsError> {
    let path = workspace::state().join("tools.lock");
    let file = fs::create_dir_all(workspace::state())
        .and_then(|()| File::create(&path))
        .map_err(|source| unusable(&path, source))?;
    let mut told = false;
    let locked = wait::until(STEP_DEADLINE, "the lock of the tools", async || {
        match file.try_lock() {
            Ok(()) => Ok(Ok(())),
            Err(TryLockError::Error(source)) => Ok(Err(unusable(&path, source))),
            Err(TryLockError::WouldBlock) => {
                if !told {
                    told = true;
                    say(progress, "waiting for another process that builds the tools");
                }
                Err("held by another process")
            }
        }
    });
    locked.await.map_err(ToolsError::Locked)??;
    Ok(file)
}

/// Says what a tool was made from: it is up to date while its stamp holds the same text.
struct Stamp {
    path: PathBuf,
    content: String,
}

impl Stamp {
    fn matches(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|content| content == self.content)
    }

    /// Before a tool is touched: half-made, it has no stamp.
    fn clear(&self) -> Result<(), ToolsError> {
        match fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(unusable(&self.path, source)),
            _ => Ok(()),
        }
    }

    fn write(&self) -> Result<(), ToolsError> {
        fs::write(&self.path, &self.content).map_err(|source| unusable(&self.path, source))
    }
}

fn read(path: &Path) -> Result<String, ToolsError> {
    fs::read_to_string(path).map_err(|source| unusable(path, source))
}

fn unusable(path: &Path, source: io::Error) -> ToolsError {
    ToolsError::File {
        path: path.to_owned(),
        source,
    }
}
