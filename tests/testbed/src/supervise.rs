//! Processes that end when their owner does.
//!
//! Every process of the test bed runs below a small supervisor, `supervise.py`, that ends it as soon as the pipe to
//! its owner closes. So nothing is left behind whether a test passes, fails, panics, is interrupted or is killed, and
//! though Rust does not drop statics. The supervisor has a process group of its own, because Ctrl-C goes to the whole
//! group of the terminal.
//!
//! Nothing here depends on an async runtime: a process that one test started serves the next one as well.

use std::{
    ffi::{OsStr, OsString},
    fmt, fs,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    failure::debug_is_message,
    python::{self, PythonError},
    scratch::Scratch,
    wait::{self, Sighting, WaitError},
    workspace,
};

/// How much of a log an error shows.
const TAIL_LINES: usize = 30;
/// How long [`Drop`] waits for a killed process: a moment, unless the machine is in deep trouble.
const KILL_DEADLINE: Duration = Duration::from_secs(5);

/// A process did not do what was expected of it.
#[derive(Error)]
pub enum SuperviseError {
    /// The supervisor itself needs Python.
    #[error(transparent)]
    Python(#[from] PythonError),
    /// The command, or its supervisor, could not be started.
    #[error("{name}: cannot start {program}: {reason}")]
    Start {
        /// Its name in logs.
        name: String,
        /// What was to be run.
        program: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It ended, and should not have.
    #[error("{name} ended with {status} before it was ready; the end of its log:\n{tail}")]
    Ended {
        /// Its name in logs.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        tail: String,
    },
    /// It runs, but does not do what it should.
    #[error("{name} is not ready; the end of its log:\n{tail}")]
    NotReady {
        /// Its name in logs.
        name: String,
        /// The last lines of its log.
        tail: String,
        /// What was awaited.
        source: WaitError,
    },
    /// It was to end, and has not.
    #[error("{name} (pid {pid}) still runs after {deadline:?}; the end of its log:\n{tail}")]
    StillRunning {
        /// Its name in logs.
        name: String,
        /// Its process id.
        pid: u32,
        /// How long it was given.
        deadline: Duration,
        /// The last lines of its log.
        tail: String,
    },
    /// The pipe or the status of the supervisor failed.
    #[error("lost touch with the supervisor of {name}")]
    Supervisor {
        /// Its name in logs.
        name: String,
        /// What failed.
        source: io::Error,
    },
}
debug_is_message!(SuperviseError);

/// Signals that tests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end in good order.
    Terminate,
    /// SIGINT: what Ctrl-C sends.
    Interrupt,
    /// SIGKILL: end at once.
    Kill,
    /// SIGSTOP: freeze, as a paused virtual machine does.
    Stop,
    /// SIGCONT: go on after [`Signal::Stop`].
    Continue,
}

impl Signal {
    /// As the supervisor reads it.
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// A command that is about to be started under supervision.
#[derive(Clone, Debug)]
pub struct Launch {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    clean: bool,
    folder: Option<PathBuf>,
    grace: Duration,
}

impl Launch {
    /// `name` is how logs and errors call it, and the stem of its log file.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            envs: Vec::new(),
            clean: false,
            folder: None,
            grace: Duration::from_secs(5),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Starts it with no other environment variables than those set here.
    #[must_use]
    pub fn clean_environment(mut self) -> Self {
        self.clean = true;
        self
    }

    /// The folder it starts in.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// How long it has between SIGTERM and SIGKILL when its owner is gone. Five seconds unless set.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Starts it; its output goes to `NAME.log` in the scratch folder. Blocks until the command runs: some 30 ms.
    pub fn start(&self, scratch: &Arc<Scratch>) -> Result<Process, SuperviseError> {
        let failed = |reason: String| SuperviseError::Start {
            name: self.name.clone(),
            program: self.program.clone(),
            reason,
        };
        let log = scratch.path().join(format!("{}.log", self.name));
        let complaints = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| failed(format!("its log {}: {error}", log.display())))?;

        let mut command = Command::new(python::interpreter()?);
        // Isolated and without site packages: it starts in a third of the time, and nothing of the user's can break it.
        command
            .args(["-I", "-S"])
            .arg(workspace::testbed().join("supervise.py"));
        command.arg(self.grace.as_secs_f64().to_string()).arg(&log);
        command.arg(
            scratch
                .removable()
                .map_or_else(|| OsStr::new("-"), Path::as_os_str),
        );
        command.arg(&self.program).args(&self.args);
        if self.clean {
            command.env_clear();
        }
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let mut supervisor = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;

        let mut report = String::new();
        if let Some(stdout) = supervisor.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut report)
                .map_err(|error| failed(error.to_string()))?;
        }
        let Some(pid) = report
            .strip_prefix("pid ")
            .and_then(|pid| pid.trim().parse().ok())
        else {
            // It has nothing left to do and ends by itself.
            let _ = supervisor.wait();
            let reason = report
                .strip_prefix("error ")
                .map_or_else(|| tail(&log), |reason| reason.trim().to_owned());
            return Err(failed(reason));
        };
        let orders = supervisor.stdin.take();
        Ok(Process {
            name: self.name.clone(),
            pid,
            log,
            supervisor: Mutex::new(Supervisor {
                child: supervisor,
                orders,
            }),
            _scratch: Arc::clone(scratch),
        })
    }
}

/// A running (or ended) process. Dropped, it is killed.
pub struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    supervisor: Mutex<Supervisor>,
    /// The folder of its log stays for as long as this does.
    _scratch: Arc<Scratch>,
}

struct Supervisor {
    /// `supervise.py`, which ends as the command ended.
    child: Child,
    /// Its standard input. While it is open the owner is taken to be alive.
    orders: Option<ChildStdin>,
}

impl Process {
    /// Its name in logs and errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id of the command itself, not of its supervisor.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file with everything it wrote to standard output and standard error.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Everything it wrote so far.
    pub fn logs(&self) -> String {
        read(&self.log)
    }

    /// The last lines of its log.
    pub(crate) fn tail(&self) -> String {
        tail(&self.log)
    }

    /// Sends a signal. To signal what has ended already is no error.
    pub fn signal(&self, signal: Signal) -> Result<(), SuperviseError> {
        let mut supervisor = self.supervisor();
        let sent = match &mut supervisor.orders {
            Some(orders) => writeln!(orders, "{}", signal.name()),
            None => Ok(()),
        };
        match sent {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(self.lost(error)),
            _ => Ok(()),
        }
    }

    /// How it ended, if it has ended.
    pub fn ended(&self) -> Result<Option<ExitStatus>, SuperviseError> {
        self.supervisor()
            .child
            .try_wait()
            .map_err(|error| self.lost(error))
    }

    /// Waits for its end.
    pub async fn wait(&self, deadline: Duration) -> Result<ExitStatus, SuperviseError> {
        let ended = wait::until(deadline, "its end", async || match self.ended() {
            Ok(status) => status.map(Ok),
            Err(error) => Some(Err(error)),
        });
        ended.await.map_err(|_| SuperviseError::StillRunning {
            name: self.name.clone(),
            pid: self.pid,
            deadline,
            tail: self.tail(),
        })?
    }

    /// Sends SIGTERM and waits for its end.
    pub async fn terminate(&self, deadline: Duration) -> Result<ExitStatus, SuperviseError> {
        self.signal(Signal::Terminate)?;
        self.wait(deadline).await
    }

    /// Sends SIGKILL and waits for its end.
    pub async fn kill(&self) -> Result<(), SuperviseError> {
        self.signal(Signal::Kill)?;
        self.wait(KILL_DEADLINE).await.map(drop)
    }

    /// Looks until `look` finds what shows that it is ready, and fails at once if the process ends before.
    pub async fn ready<S: Sighting>(
        &self,
        deadline: Duration,
        what: &str,
        mut look: impl AsyncFnMut() -> S,
    ) -> Result<S::Found, SuperviseError> {
        let watched = wait::until(deadline, what, async || match self.ended() {
            Err(error) => Ok(Err(error)),
            Ok(Some(status)) => Ok(Err(SuperviseError::Ended {
                name: self.name.clone(),
                status,
                tail: self.tail(),
            })),
            Ok(None) => look().await.found().map(Ok),
        });
        watched.await.map_err(|source| SuperviseError::NotReady {
            name: self.name.clone(),
            tail: self.tail(),
            source,
        })?
    }

    /// A thread that panicked while it held the lock left nothing half done: each use is one system call.
    fn supervisor(&self) -> MutexGuard<'_, Supervisor> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, source: io::Error) -> SuperviseError {
        SuperviseError::Supervisor {
            name: self.name.clone(),
            source,
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl Drop for Process {
    /// Waits until it is gone, so that its port and its files are free when the next line of the test runs.
    fn drop(&mut self) {
        let _ = self.signal(Signal::Kill);
        let end = Instant::now() + KILL_DEADLINE;
        while matches!(self.ended(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A log, readable or not: it is for eyes only.
fn read(log: &Path) -> String {
    fs::read(log).map_or_else(
        |error| format!("({}: {error})", log.display()),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

fn tail(log: &Path) -> String {
    let text = read(log);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(TAIL_LINES)..)
        .unwrap_or_default();
    if tail.is_empty() {
        "(it wrote nothing)".to_owned()
    } else {
        tail.join("\n")
    }
}
