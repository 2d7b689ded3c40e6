//! Helm, as users run it.

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
};

use thiserror::Error;
use tokio::process::Command;

use super::exchange::{complaint, exchange, words};
use crate::{
    failure::debug_is_message,
    scratch::Scratch,
    tools::{self, ToolsError},
};

/// Helm did not do what it was asked to.
#[derive(Error)]
pub enum HelmError {
    /// It is missing, and cannot be built.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// It could not be run.
    #[error("cannot run helm")]
    Run(#[from] io::Error),
    /// It said no.
    #[error("helm {command}: {said}")]
    Refused {
        /// Its arguments.
        command: String,
        /// What it wrote to standard error.
        said: String,
    },
}
debug_is_message!(HelmError);

/// Helm for one kubeconfig, without anything of the user's: repositories, plugins, caches, settings.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    scratch: Arc<Scratch>,
}

impl Helm {
    /// For what needs no cluster, such as `template`, `lint` and `package`: it reaches none.
    pub async fn offline() -> Result<Self, HelmError> {
        let scratch = Scratch::new("helm")?;
        // There is no such file: Helm takes that for a kubeconfig without clusters.
        let kubeconfig = scratch.path().join("no.kubeconfig");
        Self::locate(kubeconfig, scratch).await
    }

    pub(super) async fn locate(kubeconfig: PathBuf, scratch: Arc<Scratch>) -> Result<Self, HelmError> {
        Ok(Self {
            program: tools::helm(&mut io::stderr()).await?,
            kubeconfig,
            scratch,
        })
    }

    /// The same program for somebody else, such as a ServiceAccount.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            ..self.clone()
        }
    }

    /// The program itself, for what this type does not do.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs it, and returns what it wrote to standard output.
    pub async fn run(&self, args: &[impl AsRef<OsStr>]) -> Result<String, HelmError> {
        self.run_with(args, "").await
    }

    /// Runs it with `input` at its standard input, for `--values -`.
    pub async fn run_with(&self, args: &[impl AsRef<OsStr>], input: &str) -> Result<String, HelmError> {
        let output = self.output(args, input).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(HelmError::Refused {
            command: words(args),
            said: complaint(&output),
        })
    }

    /// Runs it, and judges nothing: for tests of what Helm says and how it exits.
    pub async fn output(&self, args: &[impl AsRef<OsStr>], input: &str) -> io::Result<Output> {
        let mut helm = Command::new(&self.program);
        helm.args(args);
        // Each of its flags has such a variable. The rest of the environment stays: a kubeconfig of a cloud may name a
        // program that needs it.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("HELM_") {
                helm.env_remove(name);
            }
        }
        let folder = |name: &str| self.scratch.path().join(name);
        helm.env("HELM_CACHE_HOME", folder("helm-cache"))
            .env("HELM_CONFIG_HOME", folder("helm-config"))
            .env("HELM_DATA_HOME", folder("helm-data"))
            // Registries that the user is logged in to.
            .env("DOCKER_CONFIG", folder("docker"))
            .env("KUBECACHEDIR", folder("kube-cache"))
            .env("KUBECONFIG", &self.kubeconfig);
        exchange(helm, input).await
    }
}
