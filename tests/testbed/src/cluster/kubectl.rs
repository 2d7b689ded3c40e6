//! kubectl, as users run it.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use thiserror::Error;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::failure::debug_is_message;

/// kubectl did not do what it was asked to.
#[derive(Error)]
pub enum KubectlError {
    /// It could not be run.
    #[error("cannot run kubectl")]
    Run(#[from] io::Error),
    /// It said no.
    #[error("kubectl {command}: {said}")]
    Refused {
        /// Its arguments.
        command: String,
        /// What it wrote to standard error.
        said: String,
    },
}
debug_is_message!(KubectlError);

/// kubectl for one kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(super) fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, kubeconfig }
    }

    /// The same program for somebody else, such as a ServiceAccount.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: &Path) -> Self {
        Self {
            program: self.program.clone(),
            kubeconfig: kubeconfig.to_owned(),
        }
    }

    /// The program itself, for what this type does not do.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs it, and returns what it wrote to standard output.
    pub async fn run(&self, args: &[impl AsRef<OsStr>]) -> Result<String, KubectlError> {
        self.run_with(args, "").await
    }

    /// Runs it with `input` at its standard input.
    pub async fn run_with(&self, args: &[impl AsRef<OsStr>], input: &str) -> Result<String, KubectlError> {
        let output = self.output(args, input).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let args: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(KubectlError::Refused {
            command: args.join(" "),
            said,
        })
    }

    /// Runs it, and judges nothing: for tests of what kubectl says and how it exits.
    pub async fn output(&self, args: &[impl AsRef<OsStr>], input: &str) -> io::Result<Output> {
        let mut child = Command::new(&self.program)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            // A user's settings would change what it prints and how it applies.
            .env("KUBERC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take();
        let write = async move {
            match stdin {
                // It may end without having read everything, and says why itself.
                Some(mut stdin) => stdin.write_all(input.as_bytes()).await.or_else(ignore_closed),
                None => Ok(()),
            }
        };
        // At the same time: it may write much before it has read all.
        let (written, output) = tokio::join!(write, child.wait_with_output());
        written.and(output)
    }
}

fn ignore_closed(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Ok(())
    } else {
        Err(error)
    }
}
