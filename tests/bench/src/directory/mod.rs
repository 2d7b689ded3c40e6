//! A directory that is kept: what it costs the bridge, the API server and the operator.
//!
//! The bridge is the front of the tests, with its own users and groups. It runs in this process.

mod changes;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bridge_front::{Front, Group, RequestRecord, Seed, User};
use clap::Args;
use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, GroupVersionKind},
    core::Object,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testbed::{Failure, connection, spec};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    Setting,
    api_server::{CONNECTIONS, VERSION, Write},
    bridge::VALID,
    numbers::{float, now_micros, ratio, size},
    process::Usage,
    report::Report,
    say,
    stage::{Moment, Phase, Stage, Start, sample},
};

/// The connection, and its Secret.
const NAME: &str = "people";
/// The ConfigMap with the authority of the bridge.
const CA: &str = "ca";
const USERS: &str = "scimusers";
const GROUPS: &str = "scimgroups";
/// The widest limit.
const WIDE: u32 = 10_000;
/// The limit for creations and reactivations. It holds newcomers that come together.
const CREATIONS: u32 = 200;
/// A moment in which memory that is not needed any more is given back.
const REST: Duration = Duration::from_secs(25);
/// Pause between two looks at what has been seen: short beside what is measured.
const PAUSE: Duration = Duration::from_millis(5);
/// For one verdict. It may have to wait for a read.
const VERDICT: Duration = Duration::from_mins(2);
/// The domain of all users.
const DOMAIN: &str = "example.com";
/// Seconds between two writes of a status in which only times have changed.
const HEARTBEAT: f64 = 300.0;
/// Phases that are looked up.
const DECLARED: &str = "objects created, until each has a verdict";
const RESTARTED: &str = "restart, until planned";
const RESTED: &str = "after the restart";
/// KiB of memory for each user: the bound of the chart's memory.
const KIB_BOUND: f64 = 3.0;
/// MiB that the chart gives the operator.
const CHART_MIB: f64 = 64.0;
/// Milliseconds that a plan of 10,000 users may take.
const PLAN_BOUND: f64 = 20.0;

/// A directory that is kept.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct DirectoryArguments {
    #[command(flatten)]
    setting: Setting,

    /// Users on the bridge, each with an object
    #[arg(long, default_value_t = 10_000)]
    users: usize,

    /// Groups on the bridge, each with an object
    #[arg(long, default_value_t = 100)]
    groups: usize,

    /// `spec.provisioning.requestsPerSecond`
    #[arg(long, default_value_t = 50)]
    requests_per_second: u8,

    /// Intervals in which nothing changes
    #[arg(long, default_value_t = 2)]
    intervals: u32,

    /// Changes of users, one after another: each is suspended, made active again, and renamed
    #[arg(long, default_value_t = 120)]
    changes: usize,

    /// Users that are created on the bridge, all at the same time
    #[arg(long, default_value_t = 10_000)]
    newcomers: usize,

    /// Suspensions while the newcomers are created, one after another
    #[arg(long, default_value_t = 120)]
    suspensions: usize,
}

/// One object, as it was seen last.
#[derive(Clone, Debug, Default)]
struct Seen {
    reason: String,
    /// The generation that the verdict is about.
    observed: i64,
    generation: i64,
    /// When the verdict was seen, in microseconds since 1970.
    judged: u64,
}

#[derive(Debug, Default)]
struct Objects {
    seen: HashMap<String, Seen>,
    /// Those with a verdict about their present generation.
    judged: usize,
}

/// Watches the users and groups. Dropped, it ends.
struct Watch {
    objects: Arc<Mutex<Objects>>,
    tasks: [JoinHandle<()>; 2],
}

/// The little of an object that is looked at.
type Slim = Object<Nothing, Status>;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Nothing {}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    observed_generation: i64,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    #[serde(default)]
    reason: String,
}

/// What a phase cost, beyond [`Phase`].
#[derive(Clone, Debug, Serialize)]
struct Cost {
    phase: Phase,
    /// Requests for pages of users and groups.
    list_requests: u64,
    /// Requests for one user or group.
    single_requests: u64,
    /// Requests to the bridge that change something.
    bridge_writes: u64,
    /// Complete reads of the directory.
    reads: u64,
    plans: u64,
    /// Milliseconds of one plan, on average.
    plan_ms: f64,
    /// Writes to the status of users and groups.
    object_writes: u64,
    /// Writes to the status of connections.
    connection_writes: u64,
}

/// What the operator and the bridge counted so far.
struct Counted {
    moment: Moment,
    reads: f64,
    plans: f64,
    plan_seconds: f64,
}

struct Run<'a> {
    arguments: &'a DirectoryArguments,
    stage: Stage,
    bridge: Front,
    seed: Seed,
    costs: Vec<Cost>,
}

pub(crate) async fn run(arguments: &DirectoryArguments) -> Result<(), Failure> {
    let setting = &arguments.setting;
    let mut report = setting.report("What a directory costs")?;
    report.say(&format!(
        "Beside these: one connection in mode Manage, its bridge with {} users and {} groups, an object for each; \
         interval {} s, {} requests a second. The bridge runs in the measuring program.",
        arguments.users, arguments.groups, setting.interval, arguments.requests_per_second,
    ))?;
    report.keep("users", &arguments.users)?;
    report.keep("groups", &arguments.groups)?;
    let mut run = Run::set_up(arguments).await?;
    let start = run.stage.start_operator().await?;
    if run.stage.load.objects > 0 {
        run.stage.create(0..run.stage.load.objects).await?;
        run.stage.settle().await;
    }
    let empty = run.rest("without users and groups").await?;
    run.connect().await?;
    let watch = Watch::begin(&run.stage.client()?);
    let first = run.declare(&watch).await?;
    run.rest("after the first verdicts").await?;
    let unchanged = run.stay().await?;
    let restart = run.restart().await?;
    run.rest(RESTED).await?;
    let mut bounds = run.counts(&unchanged)?;
    bounds.extend(run.sizes(&empty, &unchanged));
    let changed = run.change_everything(&watch).await?;
    bounds.extend(changed.bounds());
    run.stage.stop_operator().await?;
    run.show(&mut report)?;
    changed.show(&mut report)?;
    let bounds: Vec<_> = bounds.iter().map(Bound::row).collect();
    report.table("Bounds", &["Figure", "Measured", "Bound", "Verdict"], &bounds)?;
    report.say(&format!(
        "The objects were created within {:.1} s, and {:.1} s after the first creation each had a verdict. After a restart \
         the operator was ready after {:.1} s, and planned after {:.1} s.",
        first.created, first.judged, restart.start.ready, restart.planned,
    ))?;
    report.keep("empty", &empty)?;
    report.keep("start", &start)?;
    report.keep("first_verdicts", &first)?;
    report.keep("restart", &restart)?;
    report.show()
}

/// Requests to the bridge, without those of probes.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// For pages of users and groups.
    pages: u64,
    /// For one user or group.
    singles: u64,
    /// Those that change something.
    writes: u64,
}

/// A figure, and what it may be.
struct Bound {
    figure: Cow<'static, str>,
    measured: String,
    limit: String,
    holds: bool,
}

/// Seconds of the first verdicts.
#[derive(Clone, Copy, Debug, Serialize)]
struct First {
    created: f64,
    judged: f64,
}

/// A restart.
#[derive(Clone, Copy, Debug, Serialize)]
struct Again {
    start: Start,
    /// Seconds from the beginning of the process until its first plan.
    planned: f64,
}

impl Run<'_> {
    async fn set_up(arguments: &DirectoryArguments) -> Result<Run<'_>, Failure> {
        let setting = &arguments.setting;
        let mut operator_arguments = vec!["--provisioning".to_owned()];
        operator_arguments.extend_from_slice(&setting.operator_arguments);
        let stage = Stage::set_up(setting.load(), &setting.operator()?, &operator_arguments).await?;
        stage.install_provisioning().await?;
        let seed = seed(arguments.users, arguments.groups);
        let bridge = Front::builder()
            .key(key())
            .directory(seed.clone())
            .start()
            .await?;
        Ok(Run {
            arguments,
            stage,
            bridge,
            seed,
            costs: Vec::new(),
        })
    }

    /// Connects to the bridge, and waits for the first read of its directory.
    async fn connect(&mut self) -> Result<(), Failure> {
        let before = self.counted().await?;
        let (stage, setting) = (&self.stage, &self.arguments.setting);
        let namespace = stage.namespace_of(0);
        let core = format!("/api/v1/namespaces/{namespace}");
        let ca = self.bridge.ca_pem().ok_or("the bridge has no certificate")?;
        let wanted = spec()
            .url(&self.bridge.url())
            .provider("Other")
            .secret(NAME)
            .ca(CA)
            .with("interval", format!("{}s", setting.interval))
            .with("timeout", format!("{}s", setting.timeout))
            .with(
                "provisioning",
                json!({
                    "mode": "Manage",
                    "limits": {"suspensions": WIDE, "removals": WIDE, "creations": CREATIONS},
                    "scope": {"userNames": [format!("*@{DOMAIN}")], "groups": ["*"]},
                    "protected": {"userNames": [format!("owner@{DOMAIN}")]},
                    "requestsPerSecond": self.arguments.requests_per_second,
                }),
            );
        let writes = [
            Write::create(
                format!("{core}/secrets"),
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME},
                    "stringData": {"apiKey": key()}}),
            ),
            Write::create(
                format!("{core}/configmaps"),
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CA}, "data": {"ca.crt": ca}}),
            ),
            Write::create(collection(&namespace, CONNECTIONS), connection(NAME, wanted)),
        ];
        for write in &writes {
            stage.api_server.write(write).await?;
        }
        self.until_read(1.0).await?;
        self.note("first read of the directory", &before).await?;
        self.rest("the directory read, no objects").await.map(drop)
    }

    /// Declares everybody, and waits until each object has a verdict.
    async fn declare(&mut self, watch: &Watch) -> Result<First, Failure> {
        let namespace = self.stage.namespace_of(0);
        let Seed { users, groups } = &self.seed;
        let before = self.counted().await?;
        let begun = Instant::now();
        for (resource, count) in [(USERS, users.len()), (GROUPS, groups.len())] {
            let write = |number: usize| {
                let object = match resource {
                    USERS => users.get(number).map(|user| user_object(number, user)),
                    _ => groups.get(number).map(|group| group_object(number, group)),
                };
                Write::create(collection(&namespace, resource), object.unwrap_or_default())
            };
            self.stage.api_server.write_each(0..count, write).await?;
        }
        let created = begun.elapsed().as_secs_f64();
        watch
            .until_judged(self.arguments.users + self.arguments.groups)
            .await?;
        let judged = begun.elapsed().as_secs_f64();
        say(&format!(
            "created after {created:.1} s, verdicts after {judged:.1} s: {}",
            watch.reasons()
        ))?;
        self.note(DECLARED, &before).await?;
        Ok(First { created, judged })
    }

    /// Changes nothing for some intervals.
    async fn stay(&mut self) -> Result<Cost, Failure> {
        let interval = self.stage.load.interval;
        // From the end of one read to the end of another.
        let reads = self
            .operator("scim_bridge_operator_directory_reads_total")
            .await?;
        self.until_read(reads + 1.0).await?;
        let before = self.counted().await?;
        self.until_read(reads + 1.0 + f64::from(self.arguments.intervals))
            .await?;
        say(&format!("{} intervals of {interval:?}", self.arguments.intervals))?;
        self.note("nothing changed", &before).await
    }

    /// Ends the operator, and starts another.
    async fn restart(&mut self) -> Result<Again, Failure> {
        self.stage.stop_operator().await?;
        let before = self.counted().await?;
        let start = self.stage.start_operator().await?;
        let began = Instant::now();
        let plans = async {
            while self
                .operator("scim_bridge_operator_plan_duration_seconds_count")
                .await?
                < 1.0
            {
                sleep(PAUSE).await;
            }
            Ok::<(), Failure>(())
        };
        timeout(Duration::from_mins(10), plans).await??;
        let planned = start.ready + began.elapsed().as_secs_f64();
        self.stage.settle().await;
        self.note(RESTARTED, &before).await?;
        Ok(Again { start, planned })
    }

    /// Waits until memory that is not needed is given back.
    async fn rest(&mut self, name: &'static str) -> Result<Usage, Failure> {
        let before = self.counted().await?;
        sleep(REST).await;
        Ok(self.note(name, &before).await?.phase.operator)
    }

    // === what is counted ===

    /// A counter of the operator.
    async fn operator(&self, name: &str) -> Result<f64, Failure> {
        Ok(sample(&self.stage.metrics().await?, name, ""))
    }

    async fn until_read(&self, reads: f64) -> Result<(), Failure> {
        let read = async {
            while self
                .operator("scim_bridge_operator_directory_reads_total")
                .await?
                < reads
            {
                sleep(Duration::from_millis(100)).await;
            }
            Ok::<(), Failure>(())
        };
        let limit = Duration::from_mins(5) + self.stage.load.interval * (self.arguments.intervals + 1);
        timeout(limit, read).await?
    }

    async fn counted(&self) -> Result<Counted, Failure> {
        // Before the first start, and between two, no operator counts anything.
        let metrics = self.stage.metrics().await.unwrap_or_default();
        let plans = "scim_bridge_operator_plan_duration_seconds";
        let counted = Counted {
            moment: self.stage.moment().await?,
            reads: sample(&metrics, "scim_bridge_operator_directory_reads_total", ""),
            plans: sample(&metrics, &format!("{plans}_count"), ""),
            plan_seconds: sample(&metrics, &format!("{plans}_sum"), ""),
        };
        self.bridge.clear_requests();
        Ok(counted)
    }

    /// What was spent since.
    async fn note(&mut self, name: &'static str, since: &Counted) -> Result<Cost, Failure> {
        let asked = Asked::of(&self.bridge.requests());
        let phase = self.stage.phase(name, &since.moment).await?;
        let now = self.counted().await?;
        let plans = now.plans - since.plans;
        let writes = |resource: &str| {
            let written = phase.requests.get(&format!("APPLY {resource}/status"));
            written.copied().unwrap_or_default()
        };
        let cost = Cost {
            list_requests: asked.pages,
            single_requests: asked.singles,
            bridge_writes: asked.writes,
            reads: whole(now.reads - since.reads)?,
            plans: whole(plans)?,
            plan_ms: ratio((now.plan_seconds - since.plan_seconds) * 1000.0, plans),
            object_writes: writes(USERS) + writes(GROUPS),
            connection_writes: writes(CONNECTIONS),
            phase,
        };
        say(&format!(
            "  {} requests for lists, {} for one, {} writes to the bridge, {} reads, {} writes to objects, {} to \
             connections, {} plans of {:.1} ms",
            cost.list_requests,
            cost.single_requests,
            cost.bridge_writes,
            cost.reads,
            cost.object_writes,
            cost.connection_writes,
            cost.plans,
            cost.plan_ms
        ))?;
        self.costs.push(cost.clone());
        Ok(cost)
    }

    // === what is said ===

    fn show(&self, report: &mut Report) -> Result<(), Failure> {
        let headers = [
            "Phase",
            "s",
            "CPU s",
            "RSS MiB",
            "Peak MiB",
            "Requests for lists",
            "Requests for one",
            "Writes to the bridge",
            "Reads",
            "Plans",
            "ms each",
            "Writes to objects",
            "Writes to connections",
            "Requests to the API server",
            "API server CPU s",
        ];
        let rows: Vec<_> = self
            .costs
            .iter()
            .map(|cost| {
                let Phase {
                    name,
                    seconds,
                    operator,
                    api_server_cpu,
                    operator_requests,
                    ..
                } = &cost.phase;
                vec![
                    (*name).to_owned(),
                    format!("{seconds:.1}"),
                    format!("{:.2}", operator.cpu),
                    format!("{:.1}", operator.rss),
                    format!("{:.1}", operator.peak),
                    cost.list_requests.to_string(),
                    cost.single_requests.to_string(),
                    cost.bridge_writes.to_string(),
                    cost.reads.to_string(),
                    cost.plans.to_string(),
                    format!("{:.1}", cost.plan_ms),
                    cost.object_writes.to_string(),
                    cost.connection_writes.to_string(),
                    operator_requests.to_string(),
                    format!("{api_server_cpu:.2}"),
                ]
            })
            .collect();
        report.table("Phases", &headers, &rows)?;
        report.say(
            "CPU and memory are the operator's; the peak is that of the process so far. Requests to the API server are all \
             those of the operator's ServiceAccount.",
        )?;
        report.keep("phases", &self.costs)
    }

    fn cost(&self, name: &str) -> Option<&Cost> {
        self.costs.iter().find(|cost| cost.phase.name == name)
    }

    /// Requests and writes, and their bounds.
    fn counts(&self, unchanged: &Cost) -> Result<Vec<Bound>, Failure> {
        let (users, groups) = (self.arguments.users, self.arguments.groups);
        let pages = u64::try_from(users.div_ceil(100) + groups.div_ceil(100) + 2)?;
        let objects = u64::try_from(users + groups)?;
        let bridge_writes: u64 = self.costs.iter().map(|cost| cost.bridge_writes).sum();
        let each = ratio(float(unchanged.list_requests), float(unchanged.reads));
        // The connection has a heartbeat for what probes found, and one for its directory.
        let heartbeats = 2 + 2 * whole((unchanged.phase.seconds / HEARTBEAT).floor())?;
        let mut bounds = vec![
            Bound {
                figure: "Nothing changed: requests for lists in an interval".into(),
                measured: format!("{each:.1}"),
                limit: pages.to_string(),
                holds: unchanged.list_requests == pages * unchanged.reads,
            },
            Bound {
                figure: "Nothing changed: writes to objects".into(),
                measured: unchanged.object_writes.to_string(),
                limit: "0".to_owned(),
                holds: unchanged.object_writes == 0,
            },
            Bound {
                figure: "Nothing changed: writes to the connection".into(),
                measured: unchanged.connection_writes.to_string(),
                limit: format!("{heartbeats} heartbeats"),
                holds: self.stage.load.objects > 0 || unchanged.connection_writes <= heartbeats,
            },
            Bound {
                figure: "Nothing changed, or restarted: writes to the bridge".into(),
                measured: bridge_writes.to_string(),
                limit: "0".to_owned(),
                holds: bridge_writes == 0,
            },
        ];
        if let Some(cost) = self.cost(DECLARED) {
            bounds.push(Bound {
                figure: "First verdicts: writes to objects".into(),
                measured: cost.object_writes.to_string(),
                limit: objects.to_string(),
                holds: cost.object_writes == objects,
            });
        }
        if let Some(cost) = self.cost(RESTARTED) {
            bounds.push(Bound {
                figure: "Restart: requests for lists".into(),
                measured: cost.list_requests.to_string(),
                limit: pages.to_string(),
                holds: cost.list_requests == pages,
            });
            bounds.push(Bound {
                figure: "Restart: writes to objects".into(),
                measured: cost.object_writes.to_string(),
                limit: "0".to_owned(),
                holds: cost.object_writes == 0,
            });
        }
        Ok(bounds)
    }

    /// Memory and times, and their bounds.
    fn sizes(&self, empty: &Usage, unchanged: &Cost) -> Vec<Bound> {
        let kib = |rss: f64| ratio((rss - empty.rss) * 1024.0, size(self.arguments.users));
        let peaks = self.costs.iter().map(|cost| cost.phase.operator.peak);
        let peak = peaks.fold(0.0, f64::max);
        let resting = self.cost(RESTED).map_or(0.0, |cost| cost.phase.operator.rss);
        let memory = |figure: &'static str, rss: f64| Bound {
            figure: figure.into(),
            measured: format!("{:.1}", kib(rss)),
            limit: format!("{KIB_BOUND:.1}"),
            holds: kib(rss) <= KIB_BOUND,
        };
        vec![
            memory(
                "Memory for each user, KiB: nothing changed",
                unchanged.phase.operator.rss,
            ),
            memory("Memory for each user, KiB: after a restart", resting),
            Bound {
                figure: "Memory at most, MiB".into(),
                measured: format!("{peak:.1}"),
                limit: format!("{CHART_MIB:.0}"),
                holds: peak <= CHART_MIB,
            },
            Bound {
                figure: "A plan, ms".into(),
                measured: format!("{:.1}", unchanged.plan_ms),
                limit: format!("{PLAN_BOUND:.0}"),
                holds: unchanged.plan_ms <= PLAN_BOUND,
            },
        ]
    }
}

impl Asked {
    fn of(requests: &[RequestRecord]) -> Self {
        let mut asked = Self::default();
        for request in requests {
            // A probe asks for one user and one group by a list, too.
            let is_probe = !request.path().contains("/scim/") || request.query().ends_with("&count=1");
            if request.method != "GET" {
                asked.writes += 1;
            } else if !is_probe && request.query().is_empty() {
                asked.singles += 1;
            } else if !is_probe {
                asked.pages += 1;
            }
        }
        asked
    }
}

impl Bound {
    fn row(&self) -> Vec<String> {
        let verdict = if self.holds { "holds" } else { "FAILS" };
        let Self {
            figure,
            measured,
            limit,
            holds: _,
        } = self;
        vec![
            figure.to_string(),
            measured.clone(),
            limit.clone(),
            verdict.to_owned(),
        ]
    }
}

/// The key of the bridge.
fn key() -> String {
    format!("{VALID}directory")
}

fn collection(namespace: &str, resource: &str) -> String {
    format!("/apis/{VERSION}/namespaces/{namespace}/{resource}")
}

fn user_name(number: usize) -> String {
    format!("user-{number:05}")
}

fn group_name(number: usize) -> String {
    format!("group-{number:05}")
}

/// The address of a user, on the bridge and in the specification of the object.
fn address(number: usize) -> String {
    format!("given.family.{number:05}@{DOMAIN}")
}

fn user_object(number: usize, user: &User) -> Value {
    json!({
        "apiVersion": VERSION, "kind": "ScimUser", "metadata": {"name": user_name(number)},
        "spec": {"connectionRef": {"name": NAME}, "userName": user.user_name,
            "name": {"givenName": user.name.given_name, "familyName": user.name.family_name}},
    })
}

fn group_object(number: usize, group: &Group) -> Value {
    let members: Vec<_> = group
        .members
        .iter()
        .map(|member| json!({"userName": member.value}))
        .collect();
    json!({
        "apiVersion": VERSION, "kind": "ScimGroup", "metadata": {"name": group_name(number)},
        "spec": {"connectionRef": {"name": NAME}, "displayName": group.display_name, "members": members},
    })
}

/// Users with names of usual length, each in one group.
fn seed(users: usize, groups: usize) -> Seed {
    Seed {
        users: (0..users).map(person).collect(),
        groups: (0..groups)
            .map(|number| {
                let members = members_of(number, users, groups).map(address);
                Group::new(format!("k8s-team-{number:05}"), members)
            })
            .collect(),
    }
}

/// A user with a name of usual length.
fn person(number: usize) -> User {
    User::new(address(number), "Given", format!("Family-{number:05}"))
}

/// The users that are in a group at first.
fn members_of(group: usize, users: usize, groups: usize) -> impl Iterator<Item = usize> {
    (group..users).step_by(groups.max(1))
}

/// A counter as a number.
fn whole(count: f64) -> Result<u64, Failure> {
    Ok(format!("{count:.0}").parse()?)
}

impl Watch {
    /// Begins to watch.
    fn begin(client: &Client) -> Self {
        let objects = Arc::<Mutex<Objects>>::default();
        let tasks = [("ScimUser", USERS), ("ScimGroup", GROUPS)].map(|(kind, resource)| {
            tokio::spawn(watch(client.clone(), kind, resource, Arc::clone(&objects)))
        });
        Self { objects, tasks }
    }

    /// Waits until so many have a verdict.
    async fn until_judged(&self, count: usize) -> Result<(), Failure> {
        let judged = async {
            while locked(&self.objects).judged < count {
                sleep(PAUSE).await;
            }
        };
        let limit = VERDICT + Duration::from_millis(20) * u32::try_from(count)?;
        let seen = timeout(limit, judged).await;
        seen.map_err(|_| {
            format!(
                "after {limit:?} {count} should have a verdict: {}",
                self.reasons()
            )
            .into()
        })
    }

    /// Waits until an object has this reason, and a verdict that was seen after a moment. Returns when it was seen.
    async fn until(&self, name: &str, reason: &str, after: u64) -> Result<u64, Failure> {
        let judged = async {
            loop {
                if let Some(seen) = locked(&self.objects).seen.get(name)
                    && seen.is_judged()
                    && seen.reason == reason
                    && seen.judged > after
                {
                    return seen.judged;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let seen = timeout(VERDICT, judged).await;
        seen.map_err(|_| format!("an object should be {reason}: {}", self.reasons()).into())
    }

    /// How many have each reason.
    fn reasons(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for seen in locked(&self.objects).seen.values() {
            *counts.entry(seen.reason.clone()).or_default() += 1;
        }
        let lines: Vec<_> = counts
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        lines.join(", ")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Seen {
    const fn is_judged(&self) -> bool {
        self.observed == self.generation && !self.reason.is_empty()
    }
}

async fn watch(client: Client, kind: &str, resource: &str, objects: Arc<Mutex<Objects>>) {
    let kind = GroupVersionKind::gvk("scimbridge.dev", "v1alpha1", kind);
    let api: Api<Slim> = Api::all_with(client, &ApiResource::from_gvk_with_plural(&kind, resource));
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        // An error is followed by another attempt. Nothing is deleted.
        if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
            locked(&objects).see(&object, now_micros());
        }
    }
}

impl Objects {
    fn see(&mut self, object: &Slim, now: u64) {
        let status = object.status.clone().unwrap_or_default();
        let ready = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready");
        let seen = self.seen.entry(object.name_any()).or_default();
        let was = seen.clone();
        *seen = Seen {
            reason: ready.unwrap_or_default().reason,
            observed: status.observed_generation,
            generation: object.metadata.generation.unwrap_or_default(),
            judged: was.judged,
        };
        if seen.is_judged() && (seen.observed != was.observed || seen.reason != was.reason) {
            seen.judged = now;
        }
        self.judged = self.judged + usize::from(seen.is_judged()) - usize::from(was.is_judged());
    }
}

fn locked(objects: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(generation: i64, observed: i64, reason: &str) -> Slim {
        serde_json::from_value(json!({
            "apiVersion": VERSION, "kind": "ScimUser", "metadata": {"name": "user-00001", "generation": generation},
            "spec": {}, "status": {"observedGeneration": observed, "conditions": [{"type": "Ready", "reason": reason}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_verdict_counts_for_its_generation_alone() {
        let mut objects = Objects::default();
        for (now, object, judged, since) in [
            (1, seen(1, 0, ""), 0, 0),
            (2, seen(1, 1, "Provisioned"), 1, 2),
            (3, seen(1, 1, "Provisioned"), 1, 2),
            (4, seen(2, 1, "Provisioned"), 0, 2),
            (5, seen(2, 2, "ChangePlanned"), 1, 5),
        ] {
            objects.see(&object, now);
            assert_eq!(
                (objects.judged, objects.seen["user-00001"].judged),
                (judged, since),
                "{now}"
            );
        }
    }

    #[test]
    fn every_user_is_in_one_group() {
        let seed = seed(25, 3);
        let members: usize = seed.groups.iter().map(|group| group.members.len()).sum();
        assert_eq!((seed.users.len(), members), (25, 25));
    }
}
