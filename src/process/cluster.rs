//! The way to the API server, or what is wrong with it.

use std::error::Error as _;

use kube::{
    Client, Config,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::ProcessError;
use crate::args::Cluster;

/// The configuration of the Pod's ServiceAccount, or of KUBECONFIG.
///
/// # Errors
/// [`ProcessError::NoCluster`] where there is none.
pub(super) async fn config() -> Result<Config, ProcessError> {
    Config::infer()
        .await
        .map_err(|error| ProcessError::NoCluster(defect(&error)))
}

/// The configuration that a command line chooses, and the namespace that it stands in.
///
/// # Errors
/// [`ProcessError::NoCluster`] where there is none.
pub async fn chosen_config(chosen: &Cluster) -> Result<(Config, String), ProcessError> {
    let Cluster {
        namespace,
        kubeconfig,
        context,
    } = chosen;
    let mut config = if kubeconfig.is_none() && context.is_none() {
        config().await?
    } else {
        let unusable = |error: KubeconfigError| ProcessError::NoCluster(explain(Some(&error)));
        let file = match kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let options = KubeConfigOptions {
            context: context.clone(),
            ..KubeConfigOptions::default()
        };
        Config::from_custom_kubeconfig(file.map_err(unusable)?, &options)
            .await
            .map_err(unusable)?
    };
    if let Some(namespace) = namespace {
        config.default_namespace.clone_from(namespace);
    }
    let namespace = config.default_namespace.clone();
    Ok((config, namespace))
}

/// A client for the API server.
///
/// # Errors
/// [`ProcessError::Client`] where its credentials cannot be used.
pub fn client(config: Config) -> Result<Client, ProcessError> {
    Client::try_from(config).map_err(|error| unusable(&error))
}

/// Why there is no client, in words of our own: a plugin's failure is quoted with its environment and with what it
/// printed, and that may be a token.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "only two kinds tell what somebody can mend"
)]
pub(super) fn unusable(error: &kube::Error) -> ProcessError {
    ProcessError::Client(match error {
        kube::Error::Auth(_) => "the token, file or plugin that it names gives no credentials",
        kube::Error::RustlsTls(_) => "its certificates or its key cannot be used",
        _ => "it cannot be used",
    })
}

/// What is wrong, in words of our own: who reads a kubeconfig quotes the place of an error, and that may be where a
/// credential stands.
fn defect(error: &InferConfigError) -> &'static str {
    explain(error.source().and_then(|source| source.downcast_ref()))
}

/// Where no kubeconfig can be read.
pub const NO_KUBECONFIG: &str = "there is none, or it cannot be read";

fn explain(error: Option<&KubeconfigError>) -> &'static str {
    match error {
        Some(KubeconfigError::Parse(_)) => "it is not YAML in the form of a kubeconfig",
        Some(KubeconfigError::FindPath | KubeconfigError::ReadConfig(..)) => NO_KUBECONFIG,
        Some(KubeconfigError::CurrentContextNotSet | KubeconfigError::LoadContext(_)) => {
            "it has no current context, or not the one that it names"
        }
        Some(
            KubeconfigError::LoadClusterOfContext(_)
            | KubeconfigError::MissingClusterUrl
            | KubeconfigError::ParseClusterUrl(_),
        ) => "its context has no cluster with a usable address",
        Some(KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_)) => {
            "its certificate authority cannot be read"
        }
        Some(KubeconfigError::LoadClientCertificate(_) | KubeconfigError::LoadClientKey(_)) => {
            "its client certificate or key cannot be read"
        }
        Some(
            KubeconfigError::KindMismatch
            | KubeconfigError::ApiVersionMismatch
            | KubeconfigError::ParseProxyUrl(_),
        )
        | None => "it cannot be used",
    }
}
