//! Configures the client for the API server and explains the fault of a configuration.

pub mod call;
pub mod key;

pub(crate) mod metadata;
pub(crate) mod object;
pub(crate) mod watch;

use std::error::Error as _;

use kube::{
    Client, Config,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::args::Cluster;

/// No client for an API server can be made. The messages quote nothing from the kubeconfig: it may hold credentials.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no usable configuration.
    #[error(
        "no cluster: the kubeconfig ({origin}) cannot be used, and there is no ServiceAccount token. Its fault: {why}"
    )]
    NoCluster {
        /// What names the kubeconfig.
        origin: &'static str,
        /// Its fault.
        why: &'static str,
    },
    /// The kubeconfig that the command line selects cannot be used.
    #[error("the kubeconfig ({origin}) cannot be used: {why}")]
    Kubeconfig {
        /// What names the kubeconfig.
        origin: &'static str,
        /// Its fault.
        why: &'static str,
    },
    /// The client could not be made.
    #[error("cannot set up the client for the API server from the kubeconfig: {0}")]
    Client(&'static str),
}

/// The configuration from KUBECONFIG or, without one, from the Pod's ServiceAccount.
///
/// # Errors
/// [`ClusterError::NoCluster`] if neither can be used.
pub(crate) async fn config() -> Result<Config, ClusterError> {
    Config::infer().await.map_err(|error| no_cluster(&error))
}

/// The configuration that the command line selects, and its default namespace.
///
/// # Errors
/// [`ClusterError::NoCluster`] or [`ClusterError::Kubeconfig`] if it cannot be used.
pub async fn chosen_config(chosen: &Cluster) -> Result<(Config, String), ClusterError> {
    let Cluster {
        namespace,
        kubeconfig,
        context,
    } = chosen;
    let mut config = if kubeconfig.is_none() && context.is_none() {
        config().await?
    } else {
        let unusable = |error: KubeconfigError| ClusterError::Kubeconfig {
            origin: if kubeconfig.is_some() {
                "--kubeconfig"
            } else {
                default_origin()
            },
            why: if context.is_some() && matches!(error, KubeconfigError::LoadContext(_)) {
                NO_CONTEXT
            } else {
                explain(Some(&error))
            },
        };
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
/// [`ClusterError::Client`] if the configuration's credentials cannot be used.
pub fn client(config: Config) -> Result<Client, ClusterError> {
    Client::try_from(config).map_err(|error| unusable(&error))
}

/// Why no client can be made. The library's text is not used: for a failed plugin it quotes the plugin's environment
/// and output, which may hold a token.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "only these two kinds name something that a user can fix"
)]
pub(crate) fn unusable(error: &kube::Error) -> ClusterError {
    ClusterError::Client(match error {
        kube::Error::Auth(_) => "the token, file or plugin that it names gives no credentials",
        kube::Error::RustlsTls(_) => "its certificates or its key cannot be used",
        _ => "it cannot be used",
    })
}

fn no_cluster(error: &InferConfigError) -> ClusterError {
    ClusterError::NoCluster {
        origin: default_origin(),
        why: explain(error.source().and_then(|source| source.downcast_ref())),
    }
}

/// What names the kubeconfig if no flag does. The path itself may be private.
fn default_origin() -> &'static str {
    match std::env::var_os("KUBECONFIG") {
        Some(paths) if !paths.is_empty() => "KUBECONFIG",
        Some(_) | None => "~/.kube/config",
    }
}

/// Why a context that a flag names cannot be used.
const NO_CONTEXT: &str = "it has no context of that name. List them with kubectl config get-contexts";

/// Why there is no kubeconfig to read.
pub const NO_KUBECONFIG: &str = "the file does not exist, or it cannot be read";

/// Why a kubeconfig cannot be used. The library's text is not used: it may quote the line with a credential.
fn explain(error: Option<&KubeconfigError>) -> &'static str {
    match error {
        Some(KubeconfigError::Parse(_)) => "it is not YAML in the form of a kubeconfig",
        Some(KubeconfigError::FindPath | KubeconfigError::ReadConfig(..)) => NO_KUBECONFIG,
        Some(KubeconfigError::CurrentContextNotSet | KubeconfigError::LoadContext(_)) => {
            "it has no current context, or does not define it"
        }
        Some(
            KubeconfigError::LoadClusterOfContext(_)
            | KubeconfigError::MissingClusterUrl
            | KubeconfigError::ParseClusterUrl(_),
        ) => "its context names no cluster with a usable address",
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
