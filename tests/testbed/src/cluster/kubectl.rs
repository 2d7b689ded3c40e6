//! kubectl, as users run it.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Output,
};

use thiserror::Error;
use tokio::process::Command;

use super::exchange::{complaint, exchange, words};
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
        Err(KubectlError::Refused {
            command: words(args),
            said: complaint(&output),
        })
    }

    /// Runs it, and judges nothing: for tests of what kubectl says and how it exits.
    pub async fn output(&self, args: &[impl AsRef<OsStr>], input: &str) -> io::Result<Output> {
        let mut kubectl = Command::new(&self.program);
        kubectl
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            // A user's settings would change what it prints and how it applies.
            .env("KUBERC", "off");
        exchange(kubectl, input).await
    }
}
