//! The program, run as people run it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use serde_json::Value;
use testbed::{
    Cluster,
    bed::{DEADLINE, assert_no_canary},
    scratch::Scratch,
};
use tokio::task::spawn_blocking;

const BINARY: &str = env!("CARGO_BIN_EXE_scim-bridge-operator");

/// What a run came to. No key is in it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A program under way, read line by line. It is killed where it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

/// Runs a program on a terminal of its own, and copies what that shows.
const TERMINAL: &str = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// A run to be.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    input: Vec<u8>,
    folder: Option<Arc<Scratch>>,
}

impl Run {
    /// `scim-bridge-operator ...`
    pub(crate) fn new(args: &[&str]) -> Self {
        Self {
            program: BINARY.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: Vec::new(),
            input: Vec::new(),
            folder: None,
        }
    }

    /// `kubectl scim-bridge ...`, as kubectl runs it: by the plugin's name. As the administrator of the cluster.
    pub(crate) fn plugin(cluster: &Cluster, args: &[&str]) -> Self {
        let folder = Scratch::new("plugin").unwrap();
        let program = folder.path().join("kubectl-scim_bridge");
        symlink(BINARY, &program).unwrap();
        Self {
            program,
            folder: Some(folder),
            ..Self::new(args).kubeconfig(cluster.kubeconfig())
        }
    }

    pub(crate) fn kubeconfig(self, path: &Path) -> Self {
        self.env("KUBECONFIG", &path.display().to_string())
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn input(self, input: &str) -> Self {
        Self {
            input: input.into(),
            ..self
        }
    }

    /// The same on a terminal. What is typed there is shown there, so keys come by another way.
    pub(crate) fn on_terminal(mut self) -> Self {
        let program = self.program.display().to_string();
        let before = ["-I", "-c", TERMINAL, &program].map(str::to_owned);
        self.args.splice(0..0, before);
        self.program = "python3".into();
        self.env("PATH", &std::env::var("PATH").unwrap())
    }

    /// Starts it, to read what it prints while it runs.
    pub(crate) fn start(self) -> Running {
        let mut child = Command::new(&self.program)
            .env_clear()
            .envs(self.env)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&self.input).unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Ends with the program.
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Running { child, lines }
    }

    /// Where the program is.
    pub(crate) fn folder(&self) -> &Path {
        self.program.parent().unwrap()
    }

    /// Runs it to its end.
    pub(crate) async fn run(self) -> Ran {
        spawn_blocking(move || {
            let Self {
                program,
                args,
                env,
                input,
                folder: _folder,
            } = self;
            let mut child = Command::new(program)
                .env_clear()
                .envs(env)
                .args(&args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // It need not read what it does not want.
            let _ = child.stdin.take().unwrap().write_all(&input);
            let output = child.wait_with_output().unwrap();
            let ran = Ran {
                code: output.status.code().unwrap_or(-1),
                out: String::from_utf8(output.stdout).unwrap(),
                err: String::from_utf8(output.stderr).unwrap(),
            };
            assert_no_canary("standard output", &ran.out);
            assert_no_canary("standard error", &ran.err);
            ran
        })
        .await
        .unwrap()
    }
}

impl Running {
    /// The next line, or what was awaited in vain.
    pub(crate) fn line(&self) -> String {
        let line = self.lines.recv_timeout(DEADLINE).expect("another line in time");
        assert_no_canary("standard output", &line);
        line
    }

    /// Ctrl-C for the program on the terminal.
    pub(crate) fn interrupt(&self) {
        let terminal = self.child.id();
        let children = format!("/proc/{terminal}/task/{terminal}/children");
        let program = fs::read_to_string(children).unwrap();
        let killed = Command::new("kill").args(["-INT", program.trim()]).status();
        assert!(killed.unwrap().success());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The reason in a JSON document.
    pub(crate) fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap().to_owned()
    }
}

/// A file, while it is in use.
#[derive(Debug)]
pub(crate) struct File {
    _folder: Arc<Scratch>,
    pub(crate) path: String,
}

impl File {
    pub(crate) fn new(name: &str, content: &str) -> Self {
        let folder = Scratch::new("check").unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        Self {
            path: path.display().to_string(),
            _folder: folder,
        }
    }
}
