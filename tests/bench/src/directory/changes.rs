//! Changes that are sent: what each costs the bridge, and when it comes there.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use futures::future::join;
use serde::Serialize;
use serde_json::{Value, json};
use testbed::Failure;
use tokio::time::{sleep, timeout};

use super::{
    Asked, Bound, Cost, GROUPS, NAME, Run, USERS, VERDICT, Watch, address, collection, group_name,
    members_of, person, user_name, user_object,
};
use crate::{
    api_server::{CONNECTIONS, Write},
    numbers::{Distribution, float, now_micros, ratio},
    report::Report,
    say,
    wire::{Request, Wire},
};

/// Pause after a change that is counted: what it still asks for comes within.
const AFTER: Duration = Duration::from_secs(1);
/// Pause between two changes whose times are taken. All together take longer than an interval, so some fall into a read.
const PACE: Duration = Duration::from_secs(1);
/// Suspensions while newcomers are declared.
const MEANWHILE: usize = 20;
/// Members that come to a group, and go again.
const CROWDS: [usize; 3] = [1, 100, 250];
/// The most members in one request.
const CHUNK: usize = 100;
/// The most requests for a change of one user.
const REQUESTS_BOUND: u64 = 3;
/// Milliseconds from an answer of the API server until the request is at the bridge, of 95 in 100.
const SENT_BOUND: f64 = 250.0;
/// The same of 99 in 100, for suspensions while others are created.
const URGENT_BOUND: f64 = 2000.0;

/// A change of one object, and what it cost.
#[derive(Clone, Debug, Serialize)]
struct Acted {
    name: String,
    /// Requests that change something on the bridge.
    writes: u64,
    /// Requests for one user or group.
    singles: u64,
    /// Requests for pages of users and groups.
    pages: u64,
    /// How many writes it may take.
    writes_bound: u64,
    /// How many requests it may take in all.
    bound: u64,
    object_writes: u64,
    connection_writes: u64,
    /// Milliseconds from the answer of the API server until a watcher saw the verdict.
    verdict: f64,
}

/// Milliseconds from the answer of the API server to a change.
#[derive(Clone, Debug, Serialize)]
struct Times {
    /// Until the request was at the bridge.
    sent: Distribution,
    /// Until a watcher saw that it is proven.
    proven: Distribution,
}

/// Suspensions while others are created.
#[derive(Clone, Debug, Serialize)]
struct Urgent {
    /// While the newcomers are declared and held.
    meanwhile: Distribution,
    /// While they are created.
    times: Distribution,
    /// Creations that were still to send before the first suspension, and after the last one.
    pending: (u64, u64),
    /// Creations that were sent in a second meanwhile.
    rate: f64,
    cost: Cost,
}

/// What came of all changes.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Changed {
    acts: Vec<Acted>,
    times: Times,
    urgent: Urgent,
}

impl Run<'_> {
    /// Changes users and groups: one by one, and many at a time.
    pub(super) async fn change_everything(&mut self, watch: &Watch) -> Result<Changed, Failure> {
        let before = self.counted().await?;
        let acts = self.act_one_by_one(watch).await?;
        self.note("changes that are counted", &before).await?;
        let before = self.counted().await?;
        let mut wire = self.stage.api_server.connect().await?;
        let times = self.take_times(watch, &mut wire).await?;
        say(&serde_json::to_string(&times)?)?;
        self.note("changes whose times are taken", &before).await?;
        let urgent = self.suspend_among_creations(watch, &mut wire).await?;
        Ok(Changed { acts, times, urgent })
    }

    fn path(&self, resource: &str, name: &str) -> String {
        format!("{}/{name}", collection(&self.stage.namespace_of(0), resource))
    }

    /// One change of each kind, and members of groups. All between two reads of the lists.
    async fn act_one_by_one(&self, watch: &Watch) -> Result<Vec<Acted>, Failure> {
        let reads = self
            .operator("scim_bridge_operator_directory_reads_total")
            .await?;
        self.until_read(reads + 1.0).await?;
        // Not earlier: the API server closes a connection by which nobody asks anything for half a minute.
        let mut wire = self.stage.api_server.connect().await?;
        let mut acts = Vec::new();
        // Nobody else's number.
        let newcomer = self.arguments.users + self.arguments.newcomers;
        let user = user_name(newcomer);
        let path = self.path(USERS, &user);
        let spec = |more: Value| Write::merge(path.clone(), json!({"spec": more}));
        let create = Write::create(
            collection(&self.stage.namespace_of(0), USERS),
            user_object(newcomer, &person(newcomer)),
        );
        let rename =
            json!({"userName": address(newcomer + 1), "name": {"givenName": "Given", "familyName": "Other"}});
        for (name, write, reason) in [
            ("Create a user", create, "Provisioned"),
            ("Rename a user", spec(rename), "Provisioned"),
            ("Suspend a user", spec(json!({"state": "Suspended"})), "Suspended"),
            (
                "Make a user active again",
                spec(json!({"state": "Active"})),
                "Provisioned",
            ),
        ] {
            let bound = (1, REQUESTS_BOUND);
            acts.push(
                self.act(watch, &mut wire, name, &write, (&user, reason), bound)
                    .await?,
            );
        }
        let (users, groups) = (self.arguments.users, self.arguments.groups);
        for (group, count) in CROWDS.into_iter().enumerate() {
            let present: Vec<usize> = members_of(group, users, groups).collect();
            let known: HashSet<usize> = present.iter().copied().collect();
            let others: Vec<usize> = (0..users).filter(|user| !known.contains(user)).collect();
            let (Some(first), Some(both)) = (others.get(..count), others.get(..2 * count)) else {
                say(&format!("too few users for {count} members twice: left out"))?;
                continue;
            };
            if group >= groups {
                continue;
            }
            let name = group_name(group);
            let path = self.path(GROUPS, &name);
            let with = |more: &[usize]| {
                let members: Vec<_> = present
                    .iter()
                    .chain(more)
                    .map(|user| json!({"userName": address(*user)}))
                    .collect();
                Write::merge(path.clone(), json!({"spec": {"members": members}}))
            };
            let patches = u64::try_from(count.div_ceil(CHUNK))?;
            for (step, members, more) in [
                ("added, the first time", first, 2),
                ("added later", both, 0),
                ("removed, the first time", first, 2),
                ("removed later", &[][..], 0),
            ] {
                let what = format!("{count} members {step}");
                let bound = (patches, patches + 1 + more);
                let write = with(members);
                acts.push(
                    self.act(watch, &mut wire, &what, &write, (&name, "Provisioned"), bound)
                        .await?,
                );
            }
        }
        Ok(acts)
    }

    /// Changes one object, waits for the verdict, and counts.
    async fn act(
        &self,
        watch: &Watch,
        wire: &mut Wire,
        name: &str,
        write: &Write,
        (object, reason): (&str, &str),
        (writes_bound, bound): (u64, u64),
    ) -> Result<Acted, Failure> {
        let before = self.stage.api_server.requests().await?.by_kind;
        self.bridge.clear_requests();
        let sent = now_micros();
        write.send(wire).await?;
        let answered = now_micros();
        let judged = watch.until(object, reason, sent).await?;
        sleep(AFTER).await;
        let Asked {
            pages,
            singles,
            writes,
        } = Asked::of(&self.bridge.requests());
        let after = self.stage.api_server.requests().await?.by_kind;
        let written = |resource: &str| written(&after, resource) - written(&before, resource);
        let acted = Acted {
            name: name.to_owned(),
            writes,
            singles,
            pages,
            writes_bound,
            bound,
            object_writes: written(USERS) + written(GROUPS),
            connection_writes: written(CONNECTIONS),
            verdict: float(judged.saturating_sub(answered)) / 1000.0,
        };
        say(&format!("  {acted:?}"))?;
        Ok(acted)
    }

    /// Changes users one after another, and takes the times.
    async fn take_times(&self, watch: &Watch, wire: &mut Wire) -> Result<Times, Failure> {
        let (mut sent, mut proven) = (Vec::new(), Vec::new());
        let users = self.arguments.changes.div_ceil(3);
        for round in 0..users {
            let number = round * self.arguments.users / users;
            let name = user_name(number);
            for (change, reason) in [
                (json!({"state": "Suspended"}), "Suspended"),
                (json!({"state": "Active"}), "Provisioned"),
                (json!({"name": {"familyName": "Other"}}), "Provisioned"),
            ] {
                let write = Write::merge(self.path(USERS, &name), json!({"spec": change}));
                let before = now_micros();
                let (took, answered) = self.sent(wire, number, &write).await?;
                sent.push(took);
                let judged = watch.until(&name, reason, before).await?;
                proven.push(float(judged.saturating_sub(answered)) / 1000.0);
                sleep(pace(sent.len())).await;
            }
        }
        Ok(Times {
            sent: Distribution::of(sent),
            proven: Distribution::of(proven),
        })
    }

    /// Sends a change of a user. Returns how many milliseconds after the answer the request was at the bridge, and when
    /// the answer came, in microseconds since 1970.
    async fn sent(&self, wire: &mut Wire, number: usize, write: &Write) -> Result<(f64, u64), Failure> {
        let user = self.bridge.directory().user_named(&address(number));
        let target = format!("/Users/{}", user.ok_or("the bridge has lost a user")?.id);
        let begun = Instant::now();
        write.send(wire).await?;
        let (answered, at) = (Instant::now(), now_micros());
        let mut arrived = None;
        let wait = self.bridge.wait_until(
            |traffic| {
                let new = traffic
                    .requests
                    .iter()
                    .rev()
                    .take_while(|request| request.at >= begun);
                arrived = new
                    .filter(|request| request.method == "PATCH" && request.path().ends_with(&target))
                    .last()
                    .map(|request| request.at);
                arrived.is_some()
            },
            VERDICT,
        );
        wait.await.map_err(|_| "a change did not come to the bridge")?;
        let took = arrived.unwrap_or(answered).saturating_duration_since(answered);
        Ok((took.as_secs_f64() * 1000.0, at))
    }

    /// Suspends users while others are created. The limit holds the creations until all of them are known, and released.
    async fn suspend_among_creations(&mut self, watch: &Watch, wire: &mut Wire) -> Result<Urgent, Failure> {
        let (users, newcomers) = (self.arguments.users, self.arguments.newcomers);
        let namespace = self.stage.namespace_of(0);
        let before = self.counted().await?;
        let connection = self.path(CONNECTIONS, NAME);
        let limits = json!({"spec": {"provisioning": {"limits": {"creations": 0}}}});
        Write::merge(connection.clone(), limits).send(wire).await?;
        let write = |number| {
            Write::create(
                collection(&namespace, USERS),
                user_object(number, &person(number)),
            )
        };
        let created = self.stage.api_server.write_each(users..users + newcomers, write);
        // Others than those of the changes before, and than those of the suspensions afterwards.
        let suspended = self.suspend(wire, MEANWHILE, 2);
        let (created, meanwhile) = join(created, suspended).await;
        created?;
        let meanwhile = meanwhile?;
        // With them is the one that was created alone.
        watch
            .until_judged(users + newcomers + self.arguments.groups + 1)
            .await?;
        say(&format!("newcomers have verdicts: {}", watch.reasons()))?;
        let digest = held(wire, &connection, newcomers).await?;
        self.note("newcomers created, until each is held", &before)
            .await?;
        let release = json!({"metadata": {"annotations": {"scimbridge.dev/release": digest}}});
        Write::merge(connection, release).send(wire).await?;
        let before = self.counted().await?;
        let begun = Instant::now();
        let first = self.to_create();
        let times = self.suspend(wire, self.arguments.suspensions, 1).await?;
        let (last, seconds) = (self.to_create(), begun.elapsed().as_secs_f64());
        let cost = self.note("suspensions among creations", &before).await?;
        Ok(Urgent {
            meanwhile,
            times,
            pending: (first, last),
            rate: ratio(float(first.saturating_sub(last)), seconds),
            cost,
        })
    }

    /// Suspends so many users one after another, and takes the times.
    async fn suspend(&self, wire: &mut Wire, count: usize, first: usize) -> Result<Distribution, Failure> {
        let mut times = Vec::new();
        for round in 0..count {
            let number = round * self.arguments.users / count + first;
            let suspend = json!({"spec": {"state": "Suspended"}});
            let write = Write::merge(self.path(USERS, &user_name(number)), suspend);
            let (took, _) = self.sent(wire, number, &write).await?;
            times.push(took);
            sleep(pace(round)).await;
        }
        Ok(Distribution::of(times))
    }

    /// Newcomers that the bridge does not have yet.
    fn to_create(&self) -> u64 {
        let (users, newcomers) = (self.arguments.users, self.arguments.newcomers);
        let directory = self.bridge.directory();
        let missing =
            (users..users + newcomers).filter(|number| directory.user_named(&address(*number)).is_none());
        missing.map(|_| 1_u64).sum()
    }
}

/// Waits until so many creations are held. Returns the digest that releases them.
async fn held(wire: &mut Wire, connection: &str, count: usize) -> Result<String, Failure> {
    let held = async {
        loop {
            let read: Value = serde_json::from_str(&wire.succeed(Request::get(connection)).await?)?;
            let pending = read
                .pointer("/status/provisioning/pending")
                .and_then(Value::as_array);
            let creations = pending.into_iter().flatten().find(|pending| {
                pending["kind"] == "Creation" && pending["held"] == true && pending["count"] == count
            });
            if let Some(digest) = creations.and_then(|creations| creations["digest"].as_str()) {
                return Ok::<String, Failure>(digest.to_owned());
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(VERDICT, held)
        .await
        .map_err(|_| format!("{count} creations should be held"))?
}

/// Pauses that are not in step with anything.
fn pace(round: usize) -> Duration {
    let part = u32::try_from(round * 37 % 100).unwrap_or_default();
    PACE + Duration::from_millis(1) * part
}

/// Writes of a status so far.
fn written(requests: &BTreeMap<String, u64>, resource: &str) -> u64 {
    let written = requests.get(&format!("APPLY {resource}/status"));
    written.copied().unwrap_or_default()
}

impl Changed {
    pub(super) fn bounds(&self) -> Vec<Bound> {
        let mut bounds: Vec<Bound> = self.acts.iter().map(Acted::bound).collect();
        let quantiles = |times: &Distribution| {
            format!(
                "{:.0}, {:.0}, {:.0}, {:.0}",
                times.median(),
                times.quantile(950),
                times.quantile(990),
                times.max()
            )
        };
        let sent = &self.times.sent;
        bounds.push(Bound {
            figure: "From the answer to a change until the request is at the bridge, ms: p50, p95, p99, max"
                .into(),
            measured: format!("{} of {}", quantiles(sent), sent.count()),
            limit: format!("p95 {SENT_BOUND:.0}"),
            holds: sent.count() > 0 && sent.quantile(950) <= SENT_BOUND,
        });
        let Urgent {
            meanwhile,
            times,
            pending,
            ..
        } = &self.urgent;
        bounds.push(Bound {
            figure: "The same of a suspension while newcomers are declared and held, ms: p50, p95, p99, max"
                .into(),
            measured: format!("{} of {}", quantiles(meanwhile), meanwhile.count()),
            limit: format!("p99 {URGENT_BOUND:.0}"),
            holds: meanwhile.count() > 0 && meanwhile.quantile(990) <= URGENT_BOUND,
        });
        bounds.push(Bound {
            figure: format!(
                "The same of a suspension behind {} to {} pending creations, ms: p50, p95, p99, max",
                pending.0, pending.1
            )
            .into(),
            measured: format!("{} of {}", quantiles(times), times.count()),
            limit: format!("p99 {URGENT_BOUND:.0}"),
            holds: times.count() > 0 && times.quantile(990) <= URGENT_BOUND,
        });
        bounds
    }

    pub(super) fn show(&self, report: &mut Report) -> Result<(), Failure> {
        let headers = [
            "Change",
            "Writes to the bridge",
            "Requests for one",
            "Requests for lists",
            "Writes to objects",
            "Writes to connections",
            "ms until the verdict",
        ];
        let rows: Vec<_> = self.acts.iter().map(Acted::row).collect();
        report.table("Changes one by one", &headers, &rows)?;
        let proven = &self.times.proven;
        report.say(&format!(
            "From the answer to a change until a watcher sees that it is proven: p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms. \
             Among the suspensions, {:.1} creations were sent in a second.",
            proven.median(),
            proven.quantile(950),
            proven.quantile(990),
            self.urgent.rate,
        ))?;
        report.keep("changes", self)
    }
}

impl Acted {
    const fn requests(&self) -> u64 {
        self.writes + self.singles + self.pages
    }

    fn bound(&self) -> Bound {
        Bound {
            figure: format!("{}: writes, requests in all", self.name).into(),
            measured: format!("{}, {}", self.writes, self.requests()),
            limit: format!("{}, {}", self.writes_bound, self.bound),
            holds: self.writes == self.writes_bound && self.requests() <= self.bound,
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.writes.to_string(),
            self.singles.to_string(),
            self.pages.to_string(),
            self.object_writes.to_string(),
            self.connection_writes.to_string(),
            format!("{:.0}", self.verdict),
        ]
    }
}
