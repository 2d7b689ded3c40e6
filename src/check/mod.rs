//! `check`: probes a bridge once from here, and prints the steps.
//!
//! It uses the same requests, prober and diagnosis as the controller. So it reports what the operator would report from
//! here. Only DNS, routes and firewalls may differ. `kubectl scim-bridge check` shows both results.

pub mod document;
pub mod explain;
pub mod plugin;
pub mod steps;
pub mod subject;
pub mod wording;

mod terminal;

use std::{
    fmt, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};

use self::{
    steps::{Reached, StepResult, steps},
    subject::Subject,
    terminal::Terminal,
    wording::Wording,
};
use crate::{
    api::{
        connection::ScimBridgeConnectionStatus,
        vocabulary::{Class, Layer},
    },
    args::{Addresses, CheckArguments, OutputFormat, Show},
    bridge::{
        HttpProber, ProbeRequest, Prober as _,
        credential::KeyPolicy,
        wire::{
            address::AddressPolicy,
            proxy::BridgeProxy,
            stages::{Observer, Stage},
            trust::system_roots,
        },
    },
    clock::{Clock, SystemClock},
    cluster::ClusterError,
    domain::connection::{
        evidence::{Evidence, Exchange},
        target::Target,
        verdict::{Verdict, diagnose},
    },
};

/// Why the program could not check. An error never contains the content of a file or of an answer.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Neither address nor manifest.
    #[error("nothing to check: give --url and a key, or --file")]
    NothingToCheck,
    /// A file cannot be read.
    #[error("cannot read {}", Named(path))]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The key's file cannot be read. The message does not name it, because some users pass the key itself.
    #[error("cannot read the file that --api-key-file names")]
    KeyFile(#[source] io::Error),
    /// The file is not a manifest.
    #[error(
        "{}:{line} is not a Kubernetes manifest in YAML or JSON. Correct it, or give other files to --file",
        Named(path)
    )]
    NoManifest {
        /// The file.
        path: PathBuf,
        /// The line of the fault, or where the document begins.
        line: u64,
    },
    /// An object in the file does not have the form of its kind.
    #[error(
        "a {kind} in {} does not have the form of a v1 {kind}: check its apiVersion and its data",
        Named(path)
    )]
    MalformedObject {
        /// The file.
        path: PathBuf,
        /// The kind of the object.
        kind: &'static str,
    },
    /// The connection in the file is of another version.
    #[error("the ScimBridgeConnection in {} must have apiVersion scimbridge.dev/v1alpha1", Named(.0))]
    OtherVersion(PathBuf),
    /// The file contains none, or several.
    #[error(
        "{} must contain one ScimBridgeConnection, but contains {count}: {}",
        Named(path),
        if *count == 0 { "check the kind of its objects" } else { "keep one" }
    )]
    NotOneConnection {
        /// The file.
        path: PathBuf,
        /// How many it contains.
        count: usize,
    },
    /// The variable of `--api-key-env` is not set.
    #[error("the environment variable that --api-key-env names is not set")]
    NoKeyInEnvironment,
    /// The given key is empty.
    #[error("{0} is empty: write the API key there")]
    EmptyKey(&'static str),
    /// A manifest would send a key to its own address that its author may not have.
    #[error(
        "the key does not come from the same --file as the address, so the author of the manifest would choose who gets \
         the key. Give --url and a key, or allow the host with --allowed-host"
    )]
    KeyFromElsewhere,
    /// A manifest would send a key without TLS that its author may not have.
    #[error(
        "the manifest has allowPlaintext: true, and the key does not come from the same --file. Give --url and \
         --allow-plaintext, or use https://"
    )]
    PlaintextFromElsewhere,
    /// No file contains an object that the connection references, and there is no cluster.
    #[error("no file contains {missing}: give {instead}, or a kubeconfig")]
    Missing {
        /// The object.
        missing: String,
        /// The flags that the command has for it.
        instead: &'static str,
    },
    /// No file contains an object that the connection references, and the kubeconfig is not usable.
    #[error("cannot read {missing} from the cluster. The kubeconfig ({origin}): {why}")]
    Kubeconfig {
        /// The object.
        missing: String,
        /// Where the kubeconfig comes from.
        origin: &'static str,
        /// Its fault.
        why: &'static str,
    },
    /// There is no such connection in the cluster.
    #[error("ScimBridgeConnection {0} does not exist")]
    NoConnection(String),
    /// The API server refused.
    #[error("the API server did not return {what} ({code}){}", next_step(*code))]
    Refused {
        /// The requested object.
        what: &'static str,
        /// The HTTP status.
        code: u16,
    },
    /// The API server did not answer.
    #[error("the API server did not answer the request for {0}. Check that it can be reached")]
    Unanswered(&'static str),
    /// The operator did not handle the request in time.
    #[error("timed out waiting for the operator: check that it is running and watches this namespace")]
    OperatorSilent,
    /// The operator does not check a suspended connection.
    #[error("the connection is suspended. Resume it first: kubectl scim-bridge resume {name} -n {namespace}")]
    Suspended {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// There is no such runbook.
    #[error("no runbook has this name: run `explain` without a name to list them")]
    NoSuchRunbook,
    /// The output cannot be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// The program cannot connect to a cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// A file, as errors name it.
struct Named<'a>(&'a Path);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Path::new("-") {
            f.write_str("standard input")
        } else {
            self.0.display().fmt(f)
        }
    }
}

/// What to do after an answer of the API server with this status.
const fn next_step(code: u16) -> &'static str {
    match code {
        401 => ". Check the credentials of the kubeconfig",
        403 => ". Check your permissions with kubectl auth can-i --list",
        _ => "",
    }
}

/// The result of a check.
#[derive(Debug)]
pub struct Checked {
    /// `NAMESPACE/NAME`, if it has a name.
    pub name: Option<String>,
    /// The address, if it is usable.
    pub url: Option<String>,
    /// The parsed specification.
    pub target: Option<Target>,
    /// The evidence.
    pub evidence: Evidence,
    /// The verdict on that evidence.
    pub verdict: Verdict,
    /// The steps.
    pub steps: Vec<StepResult>,
    /// The time of the check.
    pub at: Timestamp,
    /// The operator's status, if the object is from a cluster.
    pub operator: Option<ScimBridgeConnectionStatus>,
    /// How messages name the connection's settings.
    pub wording: Wording,
}

/// Makes checks.
#[derive(Debug)]
pub struct Checker {
    prober: Arc<HttpProber>,
    policy: Arc<AddressPolicy>,
    clock: Arc<dyn Clock>,
    progress: UnboundedReceiver<Progress>,
}

/// How far a probe has come.
#[derive(Debug)]
enum Progress {
    Resolved(Vec<IpAddr>),
    Passed(Layer),
    Asked(Layer, Box<Exchange>),
}

/// Sends the progress of a probe.
#[derive(Debug)]
struct Reporter(UnboundedSender<Progress>);

/// Checks once, or again and again with `--watch`, and prints the results.
///
/// # Errors
/// [`CheckError`] if the program could not check.
pub async fn check(arguments: &CheckArguments) -> Result<Class, CheckError> {
    let mut checker = Checker::new(&arguments.addresses);
    repeat(&arguments.show, async |terminal| {
        let subject = subject::read(arguments).await?;
        checker.check(subject, terminal).await
    })
    .await
}

/// Checks and prints, and repeats after the pause of `--watch`.
async fn repeat(
    show: &Show,
    mut check: impl AsyncFnMut(Option<&mut Terminal>) -> Result<Checked, CheckError>,
) -> Result<Class, CheckError> {
    let mut terminal = Terminal::stdout();
    loop {
        let is_text = show.output == OutputFormat::Text;
        let checked = check(is_text.then_some(&mut terminal)).await?;
        match show.output {
            OutputFormat::Text => terminal.conclude(&checked),
            OutputFormat::Json => document::json(&checked, show.watch.is_none(), &mut io::stdout()),
            OutputFormat::Yaml => document::yaml(&checked, &mut io::stdout()),
            OutputFormat::Junit => document::junit(&checked, &mut io::stdout()),
        }
        .map_err(CheckError::Output)?;
        let Some(pause) = show.watch else {
            return Ok(checked.verdict.class);
        };
        sleep(pause).await;
    }
}

/// The exit code for a verdict of this class.
#[must_use]
pub const fn exit_code(class: Class) -> u8 {
    match class {
        Class::Ok => 0,
        Class::Action => 2,
        Class::Transient | Class::Pending => 3,
    }
}

// === impl Checker ===

impl Checker {
    /// A checker with the rights of its caller: it allows loopback unless a flag denies it, and the API server.
    #[must_use]
    pub fn new(addresses: &Addresses) -> Self {
        let Addresses {
            allow_cidrs,
            deny_cidrs,
            allowed_hosts,
            bridge_proxy,
            bridge_no_proxy,
        } = addresses.clone();
        let loopback = [
            ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8).into(),
            ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128).into(),
        ];
        let policy = Arc::new(AddressPolicy {
            denied: deny_cidrs,
            allowed: allow_cidrs.into_iter().chain(loopback).collect(),
            allowed_hosts,
            api_server: Vec::new(),
        });
        let proxy = bridge_proxy.map(|url| BridgeProxy {
            url,
            exceptions: bridge_no_proxy,
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (reporter, progress) = unbounded_channel();
        let prober = HttpProber::new(Arc::clone(&policy), Arc::new(system_roots()), Arc::clone(&clock))
            .through(proxy)
            .observed_by(Arc::new(Reporter(reporter)));
        Self {
            prober: Arc::new(prober),
            policy,
            clock,
            progress,
        }
    }

    /// Makes one check, and prints its steps as they happen.
    ///
    /// # Errors
    /// If the terminal cannot be written.
    async fn check(
        &mut self,
        subject: Subject,
        terminal: Option<&mut Terminal>,
    ) -> Result<Checked, CheckError> {
        let (checked, _) = self.probe(subject, terminal).await?;
        Ok(checked)
    }

    /// Makes one check in silence. Returns also the request, if one could be sent: other requests go the same way.
    ///
    /// # Errors
    /// None that depends on the bridge: each fault of it is a verdict.
    pub(crate) async fn prove(
        &mut self,
        subject: Subject,
    ) -> Result<(Checked, Option<ProbeRequest>), CheckError> {
        self.probe(subject, None).await
    }

    /// Sends the requests of [`Self::prove`], and others by the same rules.
    pub(crate) fn prober(&self) -> Arc<HttpProber> {
        Arc::clone(&self.prober)
    }

    async fn probe(
        &mut self,
        subject: Subject,
        mut terminal: Option<&mut Terminal>,
    ) -> Result<(Checked, Option<ProbeRequest>), CheckError> {
        let declared = subject.declared();
        let Subject {
            name,
            spec,
            key,
            ca,
            next_key,
            status: operator,
            wording,
        } = subject;
        let parsed = spec.and_then(|spec| Target::parse(&spec));
        let policy = KeyPolicy {
            policy: &self.policy,
            require_consent: false,
        };
        let request = match &parsed {
            Ok(target) => policy.probe_request(target, key, ca.map(Into::into), next_key),
            Err(why) => Err(crate::domain::connection::evidence::Blocker::InvalidSpec(*why)),
        };
        let target = parsed.ok();
        // Only the parsed address: the text may contain a password.
        let url = target.as_ref().map(|target| target.origin.to_string());
        if let Some(terminal) = &mut terminal {
            terminal
                .begin(name.as_deref(), url.as_deref(), declared)
                .map_err(CheckError::Output)?;
        }
        let mut reached = Reached::default();
        let sent = request.as_ref().ok().cloned();
        let evidence = match request {
            Err(blocker) => Evidence::Blocked(blocker),
            Ok(request) => {
                let mut probe = self.prober.probe(request);
                loop {
                    tokio::select! {
                        // Show all progress before the end.
                        biased;
                        Some(progress) = self.progress.recv() => {
                            let exchange = reached.take(progress);
                            if let Some(terminal) = &mut terminal {
                                terminal
                                    .show(target.as_ref(), &reached, exchange.as_deref(), self.clock.now())
                                    .map_err(CheckError::Output)?;
                            }
                        }
                        exchange = &mut probe => break Evidence::Probed(exchange),
                    }
                }
            }
        };
        // Progress that arrived together with the end.
        while let Ok(progress) = self.progress.try_recv() {
            reached.take(progress);
        }
        let verdict = diagnose(declared, &evidence);
        let at = self.clock.now();
        let mut steps = steps(target.as_ref(), &reached, &evidence, &verdict, at);
        for step in &mut steps {
            step.note = wording.translate(&step.note);
        }
        let checked = Checked {
            name,
            url,
            target,
            evidence,
            verdict,
            steps,
            at,
            operator,
            wording,
        };
        Ok((checked, sent))
    }
}

impl Reached {
    /// Notes the progress of a probe. Returns the exchange so far if a request was answered.
    fn take(&mut self, progress: Progress) -> Option<Box<Exchange>> {
        match progress {
            Progress::Resolved(addresses) => {
                self.addresses = addresses;
                self.layers.push(Layer::Name);
                None
            }
            Progress::Passed(layer) => {
                self.layers.push(layer);
                None
            }
            Progress::Asked(layer, exchange) => {
                self.layers.push(layer);
                Some(exchange)
            }
        }
    }
}

impl Observer for Reporter {
    fn passed(&self, stage: Stage<'_>, _took: Duration) {
        let progress = match stage {
            Stage::Resolved(addresses) => Progress::Resolved(addresses.to_vec()),
            Stage::Connected | Stage::Secured | Stage::Listed(..) => Progress::Passed(stage.layer()),
            Stage::Asked(layer, exchange) => Progress::Asked(layer, Box::new(exchange.clone())),
        };
        // It fails only if the receiver is gone: then nobody needs the progress.
        let _ = self.0.send(progress);
    }

    fn ended(&self, _took: Duration) {}
}
