//! `check`: one probe from here, by the engine of the controller, told step by step.
//!
//! The same order, the same prober and the same diagnosis: what `check` says is what the operator would say from here.
//! What may differ is the place: names, routes and firewalls. `kubectl scim-bridge check` puts both side by side.

pub mod document;
pub mod explain;
pub mod plugin;
pub mod steps;
pub mod subject;
pub mod words;

mod terminal;

use std::{io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};

use self::{
    steps::{Footprint, Reached, walk},
    subject::Subject,
    terminal::Terminal,
    words::Words,
};
use crate::{
    api::{v1alpha1::ScimBridgeConnectionStatus, vocabulary::Class},
    args::{Addresses, CheckArguments, OutputFormat, Show},
    bridge::{
        HttpProber, Prober as _,
        address::AddressPolicy,
        proxy::BridgeProxy,
        stages::{Layer, Observer, Stage},
        trust::system_roots,
    },
    clock::{Clock, SystemClock},
    controller::order::Grounds,
    domain::{
        evidence::{Evidence, Exchange},
        target::Target,
        verdict::{Verdict, diagnose},
    },
    process::ProcessError,
};

/// Why nothing could be checked. Nothing of a file's or a server's content is part of it.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Neither address nor manifest.
    #[error("nothing to check: give --url and a key, or --file")]
    NothingToCheck,
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key's file cannot be read. It is not named: some give the key itself there.
    #[error("cannot read the file that --api-key-file names")]
    KeyFile(#[source] io::Error),
    /// The file holds something else.
    #[error("{} is no Kubernetes manifest in YAML or JSON", .0.display())]
    NoManifest(PathBuf),
    /// An object in the file does not have the form of its kind.
    #[error("a {kind} in {} does not have the form of a v1 {kind}: check its apiVersion and its data", path.display())]
    MalformedObject {
        /// Which file.
        path: PathBuf,
        /// The kind of the object.
        kind: &'static str,
    },
    /// The connection in the file is of another version.
    #[error("the ScimBridgeConnection in {} must have apiVersion scimbridge.dev/v1alpha1", .0.display())]
    OtherVersion(PathBuf),
    /// The file holds none, or several.
    #[error("{} has to hold one ScimBridgeConnection, and holds {count}: check kind", path.display())]
    NotOneConnection {
        /// Which file.
        path: PathBuf,
        /// How many it holds.
        count: usize,
    },
    /// The variable of `--api-key-env` is not set.
    #[error("the environment variable that --api-key-env names is not set")]
    NoKeyInEnvironment,
    /// The connection names what is in no file, and there is no cluster.
    #[error(
        "the connection names a Secret or ConfigMap that is in no file: give --secret-file, or a kubeconfig"
    )]
    Missing,
    /// The rest of the connection is in no file, and the kubeconfig leads to no cluster.
    #[error("cannot read from the cluster what is in no file. The kubeconfig: {0}")]
    Kubeconfig(&'static str),
    /// There is no such connection in the cluster.
    #[error("there is no ScimBridgeConnection {0}")]
    NoConnection(String),
    /// The API server refused.
    #[error("the API server does not give {what} ({code})")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// The HTTP status.
        code: u16,
    },
    /// The API server did not answer.
    #[error("the API server does not answer (asked for {0})")]
    Unanswered(&'static str),
    /// The operator has not taken up the request.
    #[error("timed out waiting for the operator: check that it is running and watches this namespace")]
    OperatorSilent,
    /// Nobody is to answer.
    #[error("the connection is suspended: resume it first")]
    Suspended,
    /// There is no such runbook.
    #[error("no runbook has this name: `explain` without a name lists them")]
    NoSuchRunbook,
    /// The output cannot be written.
    #[error("cannot write")]
    Output(#[source] io::Error),
    /// There is no way to a cluster.
    #[error(transparent)]
    Cluster(#[from] ProcessError),
}

/// A check that was made.
#[derive(Debug)]
pub struct Checked {
    /// `NAMESPACE/NAME`, where it has a name.
    pub name: Option<String>,
    /// The address, where it can be used.
    pub url: Option<String>,
    /// The parsed specification.
    pub target: Option<Target>,
    /// What was seen.
    pub evidence: Evidence,
    /// What that means.
    pub verdict: Verdict,
    /// The steps.
    pub steps: Vec<Footprint>,
    /// When.
    pub at: Timestamp,
    /// What the operator says, where that was asked for.
    pub operator: Option<ScimBridgeConnectionStatus>,
    /// In which words to speak of the connection.
    pub words: Words,
}

/// What checks are made with.
#[derive(Debug)]
pub struct Checker {
    prober: HttpProber,
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

/// Passes on how far a probe has come.
#[derive(Debug)]
struct Reporter(UnboundedSender<Progress>);

/// Checks as the arguments say, once or again and again, and prints it.
///
/// # Errors
/// Where nothing could be checked.
pub async fn check(arguments: &CheckArguments) -> Result<Class, CheckError> {
    let mut checker = Checker::new(&arguments.addresses);
    repeat(&arguments.show, async |terminal| {
        let subject = subject::read(arguments).await?;
        checker.check(subject, terminal).await
    })
    .await
}

/// Checks, and prints; again after the interval of `--watch`.
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
    /// A checker with its caller's own authority: loopback is allowed unless denied, and no API server is kept from it.
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
            prober,
            policy,
            clock,
            progress,
        }
    }

    /// Makes one check, and shows its steps as they come.
    ///
    /// # Errors
    /// Where the terminal cannot be written to.
    async fn check(
        &mut self,
        subject: Subject,
        mut terminal: Option<&mut Terminal>,
    ) -> Result<Checked, CheckError> {
        let declared = subject.declared();
        let Subject {
            name,
            spec,
            key,
            ca,
            next_key,
            status: operator,
            words,
        } = subject;
        let parsed = spec.and_then(|spec| Target::parse(&spec));
        let grounds = Grounds {
            policy: &self.policy,
            require_consent: false,
        };
        let order = match &parsed {
            Ok(target) => grounds.order(target, key, ca.map(Into::into), next_key),
            Err(why) => Err(crate::domain::evidence::Obstacle::InvalidSpec(*why)),
        };
        let target = parsed.ok();
        // One that cannot be used may hold a password.
        let url = target.as_ref().map(|target| target.origin.to_string());
        if let Some(terminal) = &mut terminal {
            terminal
                .begin(name.as_deref(), url.as_deref(), declared)
                .map_err(CheckError::Output)?;
        }
        let mut reached = Reached::default();
        let evidence = match order {
            Err(obstacle) => Evidence::Blocked(obstacle),
            Ok(order) => {
                let mut probe = self.prober.probe(order);
                loop {
                    tokio::select! {
                        // What was seen before the end is told before the end.
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
        // The last words of the probe.
        while let Ok(progress) = self.progress.try_recv() {
            reached.take(progress);
        }
        let verdict = diagnose(declared, &evidence);
        let at = self.clock.now();
        let mut steps = walk(target.as_ref(), &reached, &evidence, &verdict, at);
        for step in &mut steps {
            step.note = words.say(&step.note);
        }
        Ok(Checked {
            name,
            url,
            target,
            evidence,
            verdict,
            steps,
            at,
            operator,
            words,
        })
    }
}

impl Reached {
    /// Notes how far a probe has come; what it knows by then, where a request was answered.
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
            Stage::Connected | Stage::Secured => Progress::Passed(stage.layer()),
            Stage::Asked(layer, exchange) => Progress::Asked(layer, Box::new(exchange.clone())),
        };
        // Who does not listen any more needs not be told.
        let _ = self.0.send(progress);
    }

    fn ended(&self, _took: Duration) {}
}
