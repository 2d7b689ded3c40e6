//! The command line. Each flag of `run` and `preflight` also has an environment variable, for Deployments.

use std::{
    ffi::{OsStr, OsString},
    fmt::Display,
    marker::PhantomData,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::{
    Arg, Args, Command as ClapCommand, Parser, Subcommand, ValueEnum,
    builder::TypedValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;
use ipnet::IpNet;

use crate::{
    api::{connection::IdentityProvider, directory::ChangeKind, duration::HumanDuration},
    bridge::wire::{
        address::{HostPattern, covers_everything, parse_network},
        proxy::{Exception, ProxyUrl},
    },
    settings::{
        AdminAddress, LabelSelector, LogDirectives, ServerUrl, Since, count, digest, duration, group_name,
        heartbeat, identity, namespace, object_name, pause, server_name, since, timeout, user_name,
    },
};

/// Proves connections to 1Password SCIM Bridges again and again, as Kubernetes resources.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller. In a cluster it uses its ServiceAccount, elsewhere KUBECONFIG.
    Run(Box<RunArguments>),
    /// Check that the cluster is ready for `run`: the CRD, the permissions and, with --operator-url, a running operator.
    Preflight(Box<PreflightArguments>),
    /// Check a connection from here, step by step. Give its address or a manifest.
    Check(Box<CheckArguments>),
    /// Print what would be sent to a bridge so that its users and groups are as the manifests declare them. Nothing is sent.
    Plan(Box<PlanArguments>),
    /// Write manifests of the users and groups that a bridge has.
    Import(Box<ImportArguments>),
    /// Report when each suspension was asked for, sent and proven, from manifests with status.
    Offboarding(Box<OffboardingArguments>),
    /// Try the operator's requests on a bridge with one throw-away user and group, and report what the bridge does.
    Rehearse(Box<RehearseArguments>),
    /// Print the runbook of a reason, condition or alert: its meaning, its evidence and the next step.
    Explain {
        /// A reason, a condition or an alert, for instance `AuthFailed`. Without a name, the command prints all names.
        reason: Option<String>,
    },
    /// Print the CustomResourceDefinition of connections as YAML.
    Crd {
        /// Print those of users and groups instead.
        #[arg(long)]
        provisioning: bool,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page.
    Man,
}

// The same program under the name `kubectl-scim_bridge`.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl scim-bridge",
    bin_name = "kubectl scim-bridge",
    version,
    max_term_width = 100
)]
/// Checks connections to 1Password SCIM Bridges, from here and as the operator sees them.
pub struct PluginArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: PluginCommand,
}

/// The commands of `kubectl scim-bridge`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Check a connection from here, and show the operator's result beside it.
    Check(Box<PluginCheckArguments>),
    /// Have the operator check a connection now, and wait for the result.
    Recheck {
        /// The connection.
        #[command(flatten)]
        connection: Named,

        /// How long to wait for the operator.
        #[arg(long, default_value = "90s", value_parser = duration)]
        timeout: Duration,
    },
    /// Stop the operator from checking a connection.
    Suspend(Named),
    /// Let the operator check a connection again.
    Resume(Named),
    /// Print what would be sent to a bridge so that its users and groups are as the cluster declares them. Nothing is sent.
    Plan(Box<PluginPlanArguments>),
    /// Write manifests of the users and groups that a bridge has.
    Import(Box<PluginImportArguments>),
    /// Report when each suspension was asked for, sent and proven.
    Offboarding(Box<PluginOffboardingArguments>),
    /// Release a set of changes that a limit holds, after a look at it.
    Release(Box<ReleaseArguments>),
    /// Try the operator's requests on a bridge with one throw-away user and group, and report what the bridge does.
    Rehearse(Box<PluginRehearseArguments>),
    /// Print the runbook of a reason, condition or alert: its meaning, its evidence and the next step.
    Explain {
        /// A reason, a condition or an alert, for instance `AuthFailed`. Without a name, the command prints all names.
        reason: Option<String>,
    },
}

/// A connection in a cluster.
#[derive(Clone, Debug, Args)]
pub struct Named {
    /// Name of the connection.
    #[arg(value_parser = object_name)]
    pub name: String,

    /// The cluster.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// A cluster, and a namespace in it.
#[derive(Clone, Debug, Default, Args)]
pub struct Cluster {
    /// Namespace. The default is the one of the context.
    #[arg(short, long, value_parser = namespace, help_heading = "Cluster")]
    pub namespace: Option<String>,

    /// File with the cluster's address and credentials. The default is KUBECONFIG.
    #[arg(long, help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig.
    #[arg(long, help_heading = "Cluster")]
    pub context: Option<String>,
}

/// Flags of `kubectl scim-bridge check`.
#[derive(Clone, Debug, Args)]
pub struct PluginCheckArguments {
    /// The connection.
    #[command(flatten)]
    pub connection: Named,

    /// The allowed addresses.
    #[command(flatten)]
    pub addresses: Addresses,

    /// The output.
    #[command(flatten)]
    pub show: Show,
}

/// Flags of `check`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("subject").required(true).args(["url", "file"]))]
#[command(mut_args(of_one_source))]
#[command(mut_group("key", |group| group.conflicts_with("file")))]
#[command(
    after_help = "Exit codes: 0 ready; 1 wrong usage or a failure of this program; 2 somebody must act; 3 a transient failure. Requests to bridges ignore HTTPS_PROXY."
)]
pub struct CheckArguments {
    /// A bridge that flags give.
    #[command(flatten)]
    pub bridge: BridgeFlags,

    /// File with the manifest of a `ScimBridgeConnection`; - for standard input. It may also contain Secrets and ConfigMaps.
    #[arg(short, long, help_heading = "From a manifest")]
    pub file: Option<PathBuf>,

    /// File with Secrets and ConfigMaps that the connection references; repeatable. The rest comes from the cluster.
    #[arg(long = "secret-file", requires = "file", help_heading = "From a manifest")]
    pub secret_files: Vec<PathBuf>,

    /// The cluster with the objects that no file contains.
    #[command(flatten)]
    pub cluster: Cluster,

    /// The allowed addresses.
    #[command(flatten)]
    pub addresses: Addresses,

    /// The output.
    #[command(flatten)]
    pub show: Show,
}

/// With an address, the program reads no files of objects and no cluster. A manifest names the rest itself.
fn of_one_source(argument: Arg) -> Arg {
    match argument.get_id().as_str() {
        "secret_files" | "namespace" | "kubeconfig" | "context" => argument.conflicts_with("url"),
        "identity_provider" | "ca_file" | "server_name" | "timeout" | "allow_plaintext" => {
            argument.conflicts_with("file")
        }
        _ => argument,
    }
}

/// Address and key may differ from those of the manifest: a runner may not reach the one, and not read the other. With an
/// address, nothing comes from a cluster.
fn in_place_of_the_manifest(argument: Arg) -> Arg {
    const HEADING: &str = "In place of the manifest";
    match argument.get_id().as_str() {
        "url" | "api_key_file" | "api_key_env" | "ca_file" => argument.help_heading(HEADING),
        "identity_provider" | "server_name" | "timeout" | "allow_plaintext" => {
            argument.help_heading(HEADING).requires("url")
        }
        "namespace" | "kubeconfig" | "context" => argument.conflicts_with("url"),
        _ => argument,
    }
}

/// After the check, these commands read lists.
fn of_a_read(argument: Arg) -> Arg {
    match argument.get_id().as_str() {
        "timeout" => argument
            .help("Time limit of the whole check, and then of each request for users or groups: 1s to 60s"),
        _ => argument,
    }
}

/// The address and the key of a bridge, and how to reach it.
#[derive(Clone, Debug, Args)]
pub struct BridgeFlags {
    /// Address of the bridge: `https://HOST` or `https://HOST:PORT`.
    #[arg(long, requires = "key", help_heading = "Without a manifest")]
    pub url: Option<String>,

    /// The key.
    #[command(flatten)]
    pub key: KeySource,

    /// The identity provider that uses the bridge.
    #[arg(long, value_parser = identity_provider, help_heading = "Without a manifest")]
    pub identity_provider: Option<IdentityProvider>,

    /// PEM file with the certificate authorities to trust. The default is the system's.
    #[arg(long, help_heading = "Without a manifest")]
    pub ca_file: Option<PathBuf>,

    /// The name that the certificate must be for. The default is the host.
    #[arg(long, value_parser = server_name, help_heading = "Without a manifest")]
    pub server_name: Option<String>,

    /// Time limit of the whole check: 1s to 60s.
    #[arg(long, default_value = "10s", value_parser = timeout, help_heading = "Without a manifest")]
    pub timeout: HumanDuration,

    /// Allow an http:// address. The key then travels unprotected.
    #[arg(long, help_heading = "Without a manifest")]
    pub allow_plaintext: bool,
}

/// The source of the key. It is never an argument: other users of the machine can read those.
#[derive(Clone, Debug, Args)]
#[group(id = "key", multiple = false)]
pub struct KeySource {
    /// File with the API key; - for standard input. A line break at the end is ignored.
    #[arg(long, help_heading = "Without a manifest")]
    pub api_key_file: Option<PathBuf>,

    /// Name of the environment variable that holds the API key.
    #[arg(long, value_name = "NAME", help_heading = "Without a manifest")]
    pub api_key_env: Option<String>,
}

/// The output of a check.
#[derive(Clone, Debug, Args)]
pub struct Show {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Text, help_heading = "Output")]
    pub output: OutputFormat,

    /// Check again after this time, until you stop the program. Without INTERVAL, the time is 30s.
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = pause, help_heading = "Output")]
    pub watch: Option<Duration>,
}

/// Output format of `check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Text, step by step.
    Text,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// A `JUnit` report with a test case for each step.
    Junit,
}

/// Flags of `plan`.
#[derive(Clone, Debug, Args)]
#[command(mut_args(in_place_of_the_manifest), mut_args(of_a_read))]
#[command(
    after_help = "Exit codes: 0 nothing to do; 1 wrong usage, a failure, or an object that cannot be provisioned; 2 changes; 3 changes that a limit holds."
)]
pub struct PlanArguments {
    /// File or folder with manifests: the connection, its users and groups, its Secret; - for standard input; repeatable.
    /// Folders within a folder are read too.
    #[arg(short, long = "file", required = true, value_name = "PATH")]
    pub files: Vec<PathBuf>,

    /// File or folder with the manifests as they are applied now; repeatable. An account that one of them stands for is not
    /// new to the changed manifest.
    #[arg(long, value_name = "PATH")]
    pub base: Vec<PathBuf>,

    /// Name of the connection, if the files have several.
    #[arg(long, value_parser = object_name, value_name = "NAME")]
    pub connection: Option<String>,

    /// The bridge, where it differs from what the connection names.
    #[command(flatten)]
    pub bridge: BridgeFlags,

    /// The cluster with the Secret and the `ConfigMap` that no file contains.
    #[command(flatten)]
    pub cluster: Cluster,

    /// The allowed addresses.
    #[command(flatten)]
    pub addresses: Addresses,

    /// The output.
    #[command(flatten)]
    pub show: ShowPlan,
}

/// Flags of `kubectl scim-bridge plan`.
#[derive(Clone, Debug, Args)]
pub struct PluginPlanArguments {
    /// The connection.
    #[command(flatten)]
    pub connection: Named,

    /// File or folder with the users and groups to plan for; - for standard input; repeatable. The default is those of the
    /// cluster.
    #[arg(short, long = "file", value_name = "PATH")]
    pub files: Vec<PathBuf>,

    /// The allowed addresses.
    #[command(flatten)]
    pub addresses: Addresses,

    /// The output.
    #[command(flatten)]
    pub show: ShowPlan,
}

/// The output of a plan.
#[derive(Clone, Copy, Debug, Args)]
pub struct ShowPlan {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = PlanFormat::Text, help_heading = "Output")]
    pub output: PlanFormat,

    /// Show the names of people and groups. Text on a terminal always has them.
    #[arg(long, help_heading = "Output")]
    pub show_names: bool,
}

/// Output format of `plan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// Text, one line for each change.
    Text,
    /// One JSON document.
    Json,
    /// A `JUnit` report with a test case for each object.
    Junit,
}

/// Flags of `import`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("subject").required(true).args(["url", "file"]))]
#[command(mut_args(of_one_source), mut_args(of_a_read))]
#[command(mut_group("key", |group| group.conflicts_with("file")))]
#[command(after_help = IMPORT_CODES)]
pub struct ImportArguments {
    /// A bridge that flags give.
    #[command(flatten)]
    pub bridge: BridgeFlags,

    /// Name of the connection that the manifests refer to.
    #[arg(long, value_parser = object_name, value_name = "NAME", required_unless_present = "file", conflicts_with = "file", help_heading = "Without a manifest")]
    pub connection: Option<String>,

    /// File with the manifest of a `ScimBridgeConnection`; - for standard input. It may also contain Secrets and ConfigMaps.
    #[arg(short, long, help_heading = "From a manifest")]
    pub file: Option<PathBuf>,

    /// File with Secrets and ConfigMaps that the connection references; repeatable. The rest comes from the cluster.
    #[arg(long = "secret-file", requires = "file", help_heading = "From a manifest")]
    pub secret_files: Vec<PathBuf>,

    /// The cluster with the objects that no file contains.
    #[command(flatten)]
    pub cluster: Cluster,

    /// The allowed addresses.
    #[command(flatten)]
    pub addresses: Addresses,

    /// Where the manifests go.
    #[command(flatten)]
    pub into: ImportInto,
}

/// Flags of `kubectl scim-bridge import`.
#[derive(Clone, Debug, Args)]
#[command(after_help = IMPORT_CODES)]
pub struct PluginImportArguments {
    /// The connection.
    #[command(flatten)]
    pub connection: Named,

    /// The allowed addresses.
    #[command(flatten)]
    pub addresses: Addresses,

    /// Where the manifests go.
    #[command(flatten)]
    pub into: ImportInto,
}

const IMPORT_CODES: &str = "Exit codes: 0 all that the scope covers is written; 1 wrong usage or a failure, nothing is written; 2 some users or groups cannot be written.";

/// Where `import` writes, and what.
#[derive(Clone, Debug, Args)]
pub struct ImportInto {
    /// Folder for users.yaml and groups.yaml. The program makes it if it does not exist.
    #[arg(short, long = "output-dir", value_name = "DIR", help_heading = "Output")]
    pub output_dir: PathBuf,

    /// Also write users and groups that spec.provisioning.scope does not cover.
    #[arg(long, help_heading = "Output")]
    pub all: bool,

    /// Overwrite the files.
    #[arg(long, help_heading = "Output")]
    pub force: bool,
}

/// Flags of `offboarding`.
#[derive(Clone, Debug, Args)]
#[command(after_help = OFFBOARDING_CODES)]
pub struct OffboardingArguments {
    /// File or folder with users and their status, as `kubectl get scimusers -o yaml` writes them; - for standard input;
    /// repeatable.
    #[arg(short, long = "file", required = true, value_name = "PATH")]
    pub files: Vec<PathBuf>,

    /// Name of the connection. The default is all connections.
    #[arg(long, value_parser = object_name, value_name = "NAME")]
    pub connection: Option<String>,

    /// Which suspensions, and how.
    #[command(flatten)]
    pub chosen: Evidence,
}

/// Flags of `kubectl scim-bridge offboarding`.
#[derive(Clone, Debug, Args)]
#[command(after_help = OFFBOARDING_CODES)]
pub struct PluginOffboardingArguments {
    /// Name of the connection. The default is all connections.
    #[arg(value_parser = object_name, value_name = "NAME")]
    pub connection: Option<String>,

    /// Report the users of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,

    /// The cluster.
    #[command(flatten)]
    pub cluster: Cluster,

    /// Which suspensions, and how.
    #[command(flatten)]
    pub chosen: Evidence,
}

const OFFBOARDING_CODES: &str = "Exit codes: 0 each suspension is proven; 1 wrong usage, a failure, or an object that cannot be read; 2 a suspension is not proven.";

/// Which suspensions a report has, and in which form.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Evidence {
    /// Leave out what was proven before this time: a date (UTC), a time, or a duration before now.
    #[arg(long, value_parser = since, value_name = "TIME")]
    pub since: Option<Since>,

    /// Output format.
    #[arg(short, long, value_enum, default_value_t, help_heading = "Output")]
    pub output: ReportFormat,

    /// Show the names of people. Text on a terminal always has them.
    #[arg(long, help_heading = "Output")]
    pub show_names: bool,
}

/// Output format of `offboarding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Text, one line for each suspension.
    #[default]
    Text,
    /// A table for spreadsheets.
    Csv,
    /// One JSON document.
    Json,
}

/// Flags of `kubectl scim-bridge release`.
#[derive(Clone, Debug, Args)]
pub struct ReleaseArguments {
    /// The connection.
    #[command(flatten)]
    pub connection: Named,

    /// Which kind of changes. The default is each kind that is held.
    #[arg(long, value_enum)]
    pub kind: Option<LimitedKind>,

    /// Digest of the set; repeatable. `plan`, the status of the connection and its condition show it.
    #[arg(long = "digest", value_parser = digest, value_name = "DIGEST")]
    pub digests: Vec<String>,

    /// Release without a question, for pipelines.
    #[arg(long, requires = "digests")]
    pub yes: bool,
}

/// The kinds of changes that have a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LimitedKind {
    /// Users that are suspended.
    Suspensions,
    /// Members that are removed from groups.
    Removals,
    /// Users and groups that are created, and users that are made active again.
    Creations,
}

impl From<LimitedKind> for ChangeKind {
    fn from(kind: LimitedKind) -> Self {
        match kind {
            LimitedKind::Suspensions => Self::Suspension,
            LimitedKind::Removals => Self::Removal,
            LimitedKind::Creations => Self::Creation,
        }
    }
}

/// Flags of `rehearse`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("subject").required(true).args(["url", "file"]))]
#[command(mut_args(of_one_source), mut_args(of_a_read))]
#[command(mut_group("key", |group| group.conflicts_with("file")))]
#[command(after_help = REHEARSE_CODES)]
pub struct RehearseArguments {
    /// A bridge that flags give.
    #[command(flatten)]
    pub bridge: BridgeFlags,

    /// File with the manifest of a `ScimBridgeConnection`; - for standard input. It may also contain Secrets and ConfigMaps.
    #[arg(short, long, help_heading = "From a manifest")]
    pub file: Option<PathBuf>,

    /// File with Secrets and ConfigMaps that the connection references; repeatable. The rest comes from the cluster.
    #[arg(long = "secret-file", requires = "file", help_heading = "From a manifest")]
    pub secret_files: Vec<PathBuf>,

    /// The cluster with the objects that no file contains.
    #[command(flatten)]
    pub cluster: Cluster,

    /// The allowed addresses.
    #[command(flatten)]
    pub addresses: Addresses,

    /// The rehearsal.
    #[command(flatten)]
    pub rehearsal: Rehearsal,
}

/// Flags of `kubectl scim-bridge rehearse`.
#[derive(Clone, Debug, Args)]
#[command(after_help = REHEARSE_CODES)]
pub struct PluginRehearseArguments {
    /// The connection.
    #[command(flatten)]
    pub connection: Named,

    /// The allowed addresses.
    #[command(flatten)]
    pub addresses: Addresses,

    /// The rehearsal.
    #[command(flatten)]
    pub rehearsal: Rehearsal,
}

const REHEARSE_CODES: &str = "Exit codes: 0 the bridge does what the operator expects; 1 wrong usage, a failure, or something is left active; 2 something is different.";

/// What a rehearsal tries.
#[derive(Clone, Debug, Args)]
pub struct Rehearsal {
    /// User name of the throw-away user: an address that nobody has.
    #[arg(long, value_parser = user_name, value_name = "NAME", help_heading = "Rehearsal")]
    pub user: String,

    /// Name of the throw-away group: one that no group has.
    #[arg(long, value_parser = group_name, value_name = "NAME", help_heading = "Rehearsal")]
    pub group: String,

    /// Also try to create this user, whose domain the account does not allow.
    #[arg(long, value_parser = user_name, value_name = "NAME", help_heading = "Rehearsal")]
    pub other_domain_user: Option<String>,

    /// How long a write may take to show.
    #[arg(long, default_value = "1m", value_parser = duration, help_heading = "Rehearsal")]
    pub patience: Duration,

    /// Output format.
    #[arg(short, long, value_enum, default_value_t = RehearsalFormat::Text, help_heading = "Output")]
    pub output: RehearsalFormat,
}

/// Output format of `rehearse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RehearsalFormat {
    /// Text, question by question.
    Text,
    /// One JSON document.
    Json,
}

/// The scope of `run`, which `preflight` checks.
#[derive(Clone, Debug, Args)]
pub struct Scope {
    /// Namespaces to watch, separated by commas. The default is all namespaces.
    #[arg(long, env = "NAMESPACES", value_parser = namespace, value_delimiter = ',', help_heading = "Scope")]
    pub namespaces: Vec<String>,

    /// Also read the users and groups of each connection with spec.provisioning, and compare them with the declared ones.
    /// It needs further CRDs and rights: deploy/provisioning has them.
    #[arg(long, env = "PROVISIONING", help_heading = "Scope")]
    pub provisioning: bool,

    /// Work only while holding the Lease, so that only one of several replicas works.
    #[arg(long, env = "LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", help_heading = "Leader election")]
    pub leader_elect: bool,

    /// Name of the Lease.
    #[arg(
        long,
        env = "LEASE_NAME",
        default_value = "scim-bridge-operator",
        value_parser = object_name,
        help_heading = "Leader election"
    )]
    pub lease_name: String,

    /// Namespace of the Lease. The default is the program's namespace.
    #[arg(long, env = "LEASE_NAMESPACE", value_parser = namespace, help_heading = "Leader election")]
    pub lease_namespace: Option<String>,
}

/// Flags of `preflight`.
#[derive(Clone, Debug, Args)]
pub struct PreflightArguments {
    /// The scope to check.
    #[command(flatten)]
    pub scope: Scope,

    /// Also check that the operator with this admin address is ready, for instance
    /// `http://scim-bridge-operator.NAMESPACE.svc:8080`.
    #[arg(long, env = "OPERATOR_URL", hide_env_values = true, value_parser = confidential::<ServerUrl>())]
    pub operator_url: Option<ServerUrl>,

    /// How long to wait until everything is ready.
    #[arg(long, env = "PREFLIGHT_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
}

/// The addresses that the program may connect to, and how.
#[derive(Clone, Debug, Args)]
pub struct Addresses {
    /// Networks to allow although the default denies them (loopback, link-local, ...); repeatable.
    #[arg(
        long = "allow-cidr",
        env = "ALLOW_CIDR",
        value_parser = parse_network,
        value_delimiter = ',',
        help_heading = "Addresses"
    )]
    pub allow_cidrs: Vec<IpNet>,

    /// Networks to deny, even if another flag allows them; repeatable.
    #[arg(
        long = "deny-cidr",
        env = "DENY_CIDR",
        value_parser = parse_network,
        value_delimiter = ',',
        help_heading = "Addresses"
    )]
    pub deny_cidrs: Vec<IpNet>,

    /// Hosts to allow: scim.example.com, *.example.com (one label), .example.com (all below it), or an address; repeatable.
    /// The default is every host.
    #[arg(
        long = "allowed-host",
        env = "ALLOWED_HOST",
        value_delimiter = ',',
        help_heading = "Addresses"
    )]
    pub allowed_hosts: Vec<HostPattern>,

    /// HTTP proxy for requests to bridges: `http://HOST:PORT`. The default is no proxy.
    #[arg(
        long,
        env = "BRIDGE_PROXY",
        hide_env_values = true,
        value_parser = confidential::<ProxyUrl>(),
        help_heading = "Addresses"
    )]
    pub bridge_proxy: Option<ProxyUrl>,

    /// Hosts (written as in --allowed-host) and networks to connect to without the proxy; repeatable.
    #[arg(
        long = "bridge-no-proxy",
        env = "BRIDGE_NO_PROXY",
        value_delimiter = ',',
        help_heading = "Addresses"
    )]
    pub bridge_no_proxy: Vec<Exception>,
}

/// The flags deny every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--deny-cidr denies every address: remove a network, or set --bridge-proxy")]
pub struct NothingAllowed;

impl Addresses {
    /// Checks that these flags allow at least one address.
    ///
    /// # Errors
    /// [`NothingAllowed`] if they deny every connection. A proxy connects itself, so with one this never happens.
    pub fn ensure_usable(&self) -> Result<(), NothingAllowed> {
        if self.bridge_proxy.is_none() && covers_everything(&self.deny_cidrs) {
            Err(NothingAllowed)
        } else {
            Ok(())
        }
    }
}

/// Flags of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// The scope.
    #[command(flatten)]
    pub scope: Scope,

    /// Watch only connections with these labels (for instance `scimbridge.dev/shard=a`).
    #[arg(long, env = "WATCH_LABEL_SELECTOR", help_heading = "Scope")]
    pub watch_label_selector: Option<LabelSelector>,

    /// The allowed addresses.
    #[command(flatten)]
    pub addresses: Addresses,

    /// A Secret must name the hosts that its key may be sent to, in annotation scimbridge.dev/allowed-hosts.
    #[arg(long, env = "REQUIRE_SECRET_CONSENT", help_heading = "Addresses")]
    pub require_secret_consent: bool,

    /// Maximum concurrent probes. A probe that runs longer than 2 s stops counting; the total is capped at 8× this value,
    /// 4× per namespace.
    #[arg(long, env = "CONCURRENCY", default_value_t = 128, value_parser = count, help_heading = "Work")]
    pub concurrency: u16,

    /// How often to rewrite the status when only its timestamps have changed.
    #[arg(long, env = "HEARTBEAT", default_value = "5m", value_parser = heartbeat, help_heading = "Work")]
    pub heartbeat: Duration,

    /// How long running probes may continue after SIGTERM.
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "20s", value_parser = duration, help_heading = "Work")]
    pub drain_timeout: Duration,

    /// Name of this process in the Lease, different for each replica. The default is the host name with a random suffix.
    #[arg(long, env = "POD_NAME", value_parser = identity, help_heading = "Leader election")]
    pub identity: Option<String>,

    /// Address of /livez, /readyz and /metrics: ADDRESS:PORT, or :PORT for every IPv6 and IPv4 address.
    #[arg(long, env = "ADMIN_ADDR", default_value = ":8080", help_heading = "Process")]
    pub admin_addr: AdminAddress,

    /// Log format.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto, help_heading = "Process")]
    pub log_format: LogFormat,

    /// Log level (error, warn, info, debug, trace), or directives by module.
    #[arg(long, env = "LOG_LEVEL", default_value = "info", help_heading = "Process")]
    pub log_level: LogDirectives,

    /// Send a trace of each reconcile to the OpenTelemetry collector at this address. The protocol is OTLP over HTTP, and
    /// the program appends `/v1/traces`.
    #[cfg(feature = "otlp")]
    #[arg(
        long,
        env = unless_empty("OTEL_EXPORTER_OTLP_ENDPOINT"),
        hide_env_values = true,
        value_name = "URL",
        value_parser = confidential::<ServerUrl>(),
        help_heading = "Process"
    )]
    pub otlp_endpoint: Option<ServerUrl>,
}

/// Log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// Text.
    Text,
}

/// A parser for values that may contain a password: its errors never contain the value. (Help would show the values of
/// environment variables; `hide_env_values` prevents that.)
struct Confidential<T>(PhantomData<fn() -> T>);

const fn confidential<T>() -> Confidential<T> {
    Confidential(PhantomData)
}

impl<T> Clone for Confidential<T> {
    fn clone(&self) -> Self {
        confidential()
    }
}

impl<T> TypedValueParser for Confidential<T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &ClapCommand, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let refused = |why: &dyn Display| {
            let mut error = clap::Error::new(ErrorKind::ValueValidation).with_cmd(command);
            let flag = arg.map_or_else(String::new, ToString::to_string);
            error.insert(ContextKind::InvalidArg, ContextValue::String(flag));
            error.insert(ContextKind::Custom, ContextValue::String(why.to_string()));
            error
        };
        let text = value.to_str().ok_or_else(|| refused(&"it is not UTF-8"))?;
        text.parse().map_err(|why: T::Err| refused(&why))
    }
}

/// The name of an environment variable that other programs share. `None` if it is empty: that counts as not set.
/// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#parsing-empty-value>
#[cfg(feature = "otlp")]
fn unless_empty(variable: &'static str) -> Option<&'static str> {
    let is_empty = std::env::var_os(variable).is_some_and(|value| value.is_empty());
    (!is_empty).then_some(variable)
}

fn identity_provider(text: &str) -> Result<IdentityProvider, String> {
    IdentityProvider::ALL
        .into_iter()
        .find(|provider| provider.as_str() == text)
        .ok_or_else(|| {
            format!(
                "write one of {}",
                IdentityProvider::ALL.map(IdentityProvider::as_str).join(", ")
            )
        })
}

/// The environment variable that a refused value comes from. `None` if the command line has the flag.
fn variable(command: &ClapCommand, flag: &str, line: &[OsString]) -> Option<String> {
    let is_given = line.iter().any(|argument| {
        let argument = argument.to_string_lossy();
        argument
            .strip_prefix(flag)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    let long = flag.strip_prefix("--")?;
    let mut found = command
        .get_subcommands()
        .flat_map(ClapCommand::get_arguments)
        .filter(|argument| argument.get_long() == Some(long));
    let variable = found.find_map(Arg::get_env)?.to_str()?;
    (!is_given).then(|| variable.to_owned())
}

/// The error for a refused command line: one line that names the allowed values. It repeats no value, because any value may
/// be secret, even for a flag that asks for none.
///
/// `line` is the command line and `command` its definition. A value that is not in `line` comes from an environment
/// variable.
#[must_use]
pub fn refusal(error: &clap::Error, command: &ClapCommand, line: &[OsString]) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        Some(_) | None => None,
    };
    // A known flag is `--flag <VALUE>`. An unknown one may be `--flag=VALUE`, or a value alone.
    let flag = text(ContextKind::InvalidArg)
        .filter(|flag| flag.starts_with(['-', '<']))
        .and_then(|flag| flag.split([' ', '=', '[']).next().map(str::to_owned));
    let see_help = |kind| {
        text(kind).map_or_else(
            || ": see --help".to_owned(),
            |hint| format!(". Did you mean {hint}? See --help"),
        )
    };
    match (error.kind(), flag) {
        (ErrorKind::InvalidValue | ErrorKind::ValueValidation, Some(flag)) => {
            let allowed = std::error::Error::source(error).map(ToString::to_string);
            let allowed = allowed.or_else(|| text(ContextKind::Custom));
            let allowed = allowed.unwrap_or_else(|| match text(ContextKind::ValidValue) {
                Some(values) if !values.is_empty() => format!("write one of {values}"),
                Some(_) | None => "it needs a value".to_owned(),
            });
            let place = variable(command, &flag, line).map_or_else(
                || flag.clone(),
                |variable| format!("the environment variable {variable} ({flag})"),
            );
            format!("invalid value for {place}: {allowed}")
        }
        (ErrorKind::UnknownArgument, Some(flag)) => {
            format!("unknown flag {flag}{}", see_help(ContextKind::SuggestedArg))
        }
        (ErrorKind::UnknownArgument | ErrorKind::TooManyValues, _)
            if line.iter().any(|word| word == "--watch") =>
        {
            "a value of --watch needs an equals sign: write --watch=INTERVAL".to_owned()
        }
        (ErrorKind::UnknownArgument | ErrorKind::TooManyValues, _) => {
            "one value too many: see --help".to_owned()
        }
        (ErrorKind::InvalidSubcommand, _) => {
            format!("unknown command{}", see_help(ContextKind::SuggestedSubcommand))
        }
        // clap's message up to the first blank line, which contains no value.
        _ => {
            let words = error.render().to_string();
            let lines = words.lines().map(str::trim).take_while(|line| !line.is_empty());
            let line = lines.collect::<Vec<_>>().join(" ");
            let line = line.strip_prefix("error: ").unwrap_or(&line);
            let is_conflict = error.kind() == ErrorKind::ArgumentConflict;
            if is_conflict && line.contains("'--url <URL>'") {
                format!("{line}: --url reads no manifest and no cluster")
            } else if is_conflict && line.contains("--file <FILE>") && line.contains("--api-key-") {
                format!("{line}. A manifest names its own Secret: use --secret-file")
            } else {
                line.to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        let command = Arguments::command();
        for name in ["run", "preflight"] {
            let subcommand = command.find_subcommand(name).unwrap();
            for argument in subcommand
                .get_arguments()
                .filter(|argument| argument.get_id() != "help")
            {
                assert!(
                    argument.get_env().is_some(),
                    "give --{} an environment variable",
                    argument.get_id()
                );
            }
        }
    }

    #[test]
    fn flags_are_read() {
        let line = "x run --namespaces a,b --allow-cidr 127.0.0.0/8 --allow-cidr ::1/128 --allowed-host *.example.com \
                    --leader-elect=false --admin-addr :9090 --heartbeat 1m";
        let Command::Run(run) = Arguments::parse_from(line.split_whitespace()).command else {
            panic!()
        };
        assert_eq!(run.scope.namespaces, ["a", "b"]);
        assert_eq!(run.addresses.allow_cidrs.len(), 2);
        assert!(!run.scope.leader_elect);
        assert_eq!(run.admin_addr, AdminAddress::Every(9090));
        assert_eq!(run.heartbeat, Duration::from_mins(1));
    }

    /// The error for this command line.
    fn refused(line: &[&str]) -> String {
        let error = Arguments::try_parse_from([&["x"], line].concat()).unwrap_err();
        let line: Vec<OsString> = line.iter().map(OsString::from).collect();
        refusal(&error, &Arguments::command(), &line)
    }

    /// The error for a value from the environment names the variable.
    #[test]
    fn errors_name_the_variable() {
        let command = Arguments::command();
        for (flag, line, expected) in [
            ("--bridge-proxy", &["run"][..], Some("BRIDGE_PROXY")),
            ("--bridge-proxy", &["run", "--bridge-proxy=x"], None),
            ("--bridge-proxy", &["run", "--bridge-proxy", "x"], None),
            ("--heartbeat", &["run", "--heartbeat-x"], Some("HEARTBEAT")),
            ("--url", &["check"], None),
            ("<NAME>", &["check"], None),
        ] {
            let line: Vec<OsString> = line.iter().map(OsString::from).collect();
            assert_eq!(
                variable(&command, flag, &line).as_deref(),
                expected,
                "{flag} {line:?}"
            );
        }
    }

    /// `tests/english.rs` checks the words.
    #[test]
    fn help_has_short_sentences() {
        const MOST: usize = 20;
        let (plugin, program) = (PluginArguments::command(), Arguments::command());
        let mut faults = Vec::new();
        for command in plugin.get_subcommands().chain(program.get_subcommands()) {
            let texts = command
                .get_arguments()
                .filter_map(Arg::get_help)
                .chain(command.get_about())
                .chain(command.get_after_help());
            for text in texts.map(ToString::to_string) {
                let long = text
                    .split_inclusive(['.', ';'])
                    .fold(vec![String::new()], |mut all, part| {
                        if part.starts_with(' ') {
                            all.push(String::new());
                        }
                        all.last_mut().unwrap().push_str(part);
                        all
                    });
                let is_long = |sentence: &String| sentence.split_whitespace().count() > MOST;
                if long.iter().any(is_long) {
                    faults.push(text);
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    /// `--url` refuses flags that it cannot use.
    #[test]
    fn an_address_needs_no_cluster() {
        for flag in ["--secret-file", "--namespace", "--kubeconfig", "--context"] {
            let line = [
                "check",
                "--url",
                "https://a.example",
                "--api-key-env",
                "X",
                flag,
                "x",
            ];
            let said = refused(&line);
            assert!(
                said.starts_with(&format!(
                    "the argument '--url <URL>' cannot be used with '{flag} <"
                )) && said.ends_with("': --url reads no manifest and no cluster"),
                "{flag}: {said}"
            );
        }
    }

    /// An error is one line, and repeats no value.
    #[test]
    fn a_refusal_repeats_nothing() {
        const SECRET: &str = "not-A-real-key";
        let as_flag = format!("--api-key={SECRET}");
        let as_value = format!("--bridge-proxy={SECRET}");
        let as_choice = format!("--log-format={SECRET}");
        for (line, expected) in [
            (
                &["run", &as_value][..],
                "invalid value for --bridge-proxy: write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT; no other \
                 scheme, and no path",
            ),
            (
                &["run", &as_choice],
                "invalid value for --log-format: write one of auto, json, text",
            ),
            (
                &["run", "--leader-elect=False"],
                "invalid value for --leader-elect: write one of true, false",
            ),
            (
                &["run", "--heartbeat"],
                "invalid value for --heartbeat: it needs a value",
            ),
            (
                &["recheck", SECRET],
                "unknown command. Did you mean check? See --help",
            ),
            (&["run", SECRET], "one value too many: see --help"),
            (
                &["check", "--url", SECRET, "--api-key", SECRET],
                "unknown flag --api-key. Did you mean --api-key-env? See --help",
            ),
            (
                &["check", "--url", SECRET, &as_flag],
                "unknown flag --api-key. Did you mean --api-key-env? See --help",
            ),
            (
                &["check", "--url", SECRET, "--watch=0s", "--api-key-env", SECRET],
                "invalid value for --watch: write a duration from 1s to 24h",
            ),
            (
                &[
                    "check",
                    "--url",
                    SECRET,
                    "--api-key-env",
                    SECRET,
                    "--watch",
                    SECRET,
                ],
                "a value of --watch needs an equals sign: write --watch=INTERVAL",
            ),
            (
                &["check", "--file", SECRET, "--api-key-file", SECRET],
                "the argument '--file <FILE>' cannot be used with: --api-key-file <API_KEY_FILE> --api-key-env <NAME>. A \
                 manifest names its own Secret: use --secret-file",
            ),
            (
                &["check", "--url", SECRET],
                "the following required arguments were not provided: <--api-key-file <API_KEY_FILE>|--api-key-env <NAME>>",
            ),
            (
                &["run", "--identity", SECRET, "--identity", SECRET],
                "the argument '--identity <IDENTITY>' cannot be used multiple times",
            ),
        ] {
            assert_eq!(refused(line), expected, "{line:?}");
        }
    }

    #[test]
    fn flags_that_deny_everything_are_refused() {
        for (flags, is_refused) in [
            ("--deny-cidr 0.0.0.0/0", false),
            ("--deny-cidr 0.0.0.0/0,::/0", true),
            ("--deny-cidr 0.0.0.0/0,::/0 --allow-cidr 10.0.0.0/8", true),
            (
                "--deny-cidr 0.0.0.0/0,::/0 --bridge-proxy http://proxy.example.com",
                false,
            ),
        ] {
            let line = format!("x run {flags}");
            let Command::Run(run) = Arguments::parse_from(line.split_whitespace()).command else {
                panic!()
            };
            assert_eq!(run.addresses.ensure_usable().is_err(), is_refused, "{flags}");
        }
    }
}
