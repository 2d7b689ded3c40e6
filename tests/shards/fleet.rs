//! The operators of all shards, as the chart starts them.

use std::collections::{BTreeMap, BTreeSet};

use bridge_front::Front;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::Patch};
use scim_bridge_operator::api::connection::ScimBridgeConnection;
use serde_json::{Value, json};
use testbed::{
    Spec,
    bed::{Bed, DEADLINE, KEY, OPERATOR, Operator, user, whole_spec},
    cluster::Helm,
    connection, spec, wait, workspace,
};

/// The label that says which shard a connection belongs to.
const LABEL: &str = "scimbridge.dev/shard";
/// The shard that is always there.
pub(crate) const DEFAULT: &str = "default";

/// What the chart makes for the test's namespace: every Lease, and so every right to one, is of this test alone.
pub(crate) struct Plan {
    objects: Vec<Value>,
}

impl Plan {
    /// The chart with these shards.
    pub(crate) async fn of(bed: &Bed<'_>, shards: &[&str]) -> Self {
        Self::with(bed, shards, &[]).await
    }

    /// The same with more values.
    async fn with(bed: &Bed<'_>, shards: &[&str], more: &[&str]) -> Self {
        let helm = Helm::offline().await.unwrap();
        let chart = workspace::root().join("charts/scim-bridge-operator");
        let mut values = vec![
            format!("fullnameOverride={}", bed.namespace),
            format!("watchNamespaces={{{}}}", bed.namespace),
            format!("serviceAccount.name={OPERATOR}"),
            "addressPolicy.allowCidrs={127.0.0.0/8}".to_owned(),
        ];
        values.extend(more.iter().map(|value| (*value).to_owned()));
        if !shards.is_empty() {
            values.push(format!("shards={{{}}}", shards.join(",")));
        }
        let chart = chart.display().to_string();
        let mut command = vec!["template", OPERATOR, &chart, "--namespace", OPERATOR];
        for value in &values {
            command.extend(["--set", value]);
        }
        let text = helm.run(&command).await.unwrap();
        let objects: Vec<Value> = text
            .split("\n---\n")
            .map(|part| serde_saphyr::from_str(part).unwrap())
            .collect();
        Self { objects }
    }

    /// Gives the right to the Leases, and takes that to others.
    async fn grant(&self, bed: &Bed<'_>) {
        let name = format!("{}-leader-election", bed.namespace);
        for kind in ["Role", "RoleBinding"] {
            let object = self
                .of_kind(kind)
                .find(|object| object["metadata"]["name"] == *name);
            bed.cluster.apply(&object.unwrap().to_string()).await.unwrap();
        }
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The arguments of each Deployment, by shard.
    fn arguments(&self) -> BTreeMap<String, Vec<String>> {
        let deployments = self.of_kind("Deployment");
        deployments
            .map(|deployment| {
                let shard = deployment["metadata"]["labels"][LABEL]
                    .as_str()
                    .unwrap_or(DEFAULT);
                let pod = &deployment["spec"]["template"]["spec"];
                let arguments = pod["containers"][0]["args"].as_array().unwrap().iter();
                let arguments = arguments.map(|argument| argument.as_str().unwrap().to_owned());
                // The bed has its own.
                let beds = ["run", "--admin-addr", "--log-level"];
                let arguments =
                    arguments.filter(|argument| !beds.iter().any(|own| argument.starts_with(own)));
                (shard.to_owned(), arguments.collect())
            })
            .collect()
    }
}

/// An operator for each shard. Dropped, they are gone.
pub(crate) struct Fleet<'a> {
    bed: &'a Bed<'a>,
    operators: BTreeMap<String, Operator>,
    started: usize,
}

impl<'a> Fleet<'a> {
    /// One operator for each Deployment of the chart; all of them lead.
    pub(crate) async fn start(bed: &'a Bed<'a>, shards: &[&str]) -> Self {
        Self::start_with(bed, shards, &[]).await
    }

    /// The same with more values for the chart.
    pub(crate) async fn start_with(bed: &'a Bed<'a>, shards: &[&str], more: &[&str]) -> Self {
        let mut fleet = Self {
            bed,
            operators: BTreeMap::new(),
            started: 0,
        };
        let plan = Plan::with(bed, shards, more).await;
        plan.grant(bed).await;
        for (shard, arguments) in plan.arguments() {
            let operator = fleet.spawn(&shard, &arguments).await;
            fleet.operators.insert(shard, operator);
        }
        fleet.all_lead().await;
        fleet
    }

    /// What `helm upgrade` with this list does, in an order that Kubernetes may choose: new shards come first, then the
    /// default one is replaced, then others go. A replacement stands by until its predecessor releases the Lease.
    pub(crate) async fn upgrade(&mut self, shards: &[&str]) {
        let plan = Plan::of(self.bed, shards).await;
        let before: Vec<String> = self
            .operators
            .keys()
            .filter(|shard| *shard != DEFAULT)
            .cloned()
            .collect();
        let mut both: Vec<&str> = before
            .iter()
            .map(String::as_str)
            .chain(shards.iter().copied())
            .collect();
        both.sort_unstable();
        both.dedup();
        // Helm narrows the Role a moment before the Pods that need it are gone; here that moment may be long.
        Plan::of(self.bed, &both).await.grant(self.bed).await;
        let mut arguments = plan.arguments();
        let default = arguments.remove(DEFAULT).unwrap();
        for (shard, arguments) in arguments {
            if !self.operators.contains_key(&shard) {
                let operator = self.spawn(&shard, &arguments).await;
                self.operators.insert(shard, operator);
            }
        }
        self.all_lead().await;
        let replacement = self.spawn(DEFAULT, &default).await;
        replacement.ready(DEADLINE).await.unwrap();
        let old = self.operators.insert(DEFAULT.to_owned(), replacement).unwrap();
        old.stop().await;
        self.all_lead().await;
        for shard in before.iter().filter(|shard| !shards.contains(&shard.as_str())) {
            self.stop(shard).await;
        }
        plan.grant(self.bed).await;
    }

    /// Ends the operator of a shard.
    pub(crate) async fn stop(&mut self, shard: &str) {
        self.operators.remove(shard).unwrap().stop().await;
    }

    /// Starts that of a shard which has none.
    pub(crate) async fn begin(&mut self, shard: &str, shards: &[&str]) {
        self.begin_with(shard, shards, &[]).await;
    }

    /// The same with more values for the chart.
    pub(crate) async fn begin_with(&mut self, shard: &str, shards: &[&str], more: &[&str]) {
        let arguments = Plan::with(self.bed, shards, more).await.arguments();
        let operator = self.spawn(shard, &arguments[shard]).await;
        self.operators.insert(shard.to_owned(), operator);
        self.all_lead().await;
    }

    async fn spawn(&mut self, shard: &str, arguments: &[String]) -> Operator {
        self.started += 1;
        let identity = format!("{shard}-{}", self.started);
        let mut flags: Vec<&str> = arguments.iter().map(String::as_str).collect();
        flags.extend(["--identity", &identity]);
        self.bed.spawn_exactly_as(&self.bed.kubeconfig, &flags).await
    }

    async fn all_lead(&self) {
        for (shard, operator) in &self.operators {
            let leads = wait::until(DEADLINE, "to lead", async || {
                (operator.count("leader", "").await == 1).then_some(())
            });
            leads.await.unwrap_or_else(|error| panic!("{shard}: {error}"));
            operator.ready(DEADLINE).await.unwrap();
        }
    }

    /// The operator of a shard.
    pub(crate) fn of(&self, shard: &str) -> &Operator {
        &self.operators[shard]
    }

    /// How many passes each shard brought to a verdict.
    pub(crate) async fn probes(&self) -> BTreeMap<&str, u64> {
        let mut probes = BTreeMap::new();
        for (shard, operator) in &self.operators {
            probes.insert(shard.as_str(), operator.probes().await);
        }
        probes
    }

    /// The connections that each shard has series of.
    pub(crate) async fn shown(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mut shown = BTreeMap::new();
        for (shard, operator) in &self.operators {
            shown.insert(shard.as_str(), series(&operator.metrics().await.unwrap()));
        }
        shown
    }

    /// Waits until each shard has series of exactly these. No name stands twice, so none is in two shards.
    pub(crate) async fn until(&self, expected: &[(&str, &[&str])]) {
        let expected: BTreeMap<&str, BTreeSet<String>> = expected
            .iter()
            .map(|(shard, names)| (*shard, names.iter().map(|name| (*name).to_owned()).collect()))
            .collect();
        let placed = wait::until(DEADLINE, "each connection to be where it belongs", async || {
            let shown = self.shown().await;
            if shown == expected {
                Ok(())
            } else {
                Err(format!("{shown:?}"))
            }
        });
        placed.await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Holder and number of changes of each shard's Lease.
    pub(crate) async fn leases(&self) -> BTreeMap<String, (String, i32)> {
        let api: Api<Lease> = Api::namespaced(self.bed.client.clone(), OPERATOR);
        let mut leases = BTreeMap::new();
        for shard in self.operators.keys() {
            let name = if shard == DEFAULT {
                self.bed.namespace.clone()
            } else {
                format!("{}-{shard}", self.bed.namespace)
            };
            let spec = api.get(&name).await.unwrap().spec.unwrap();
            let held = (
                spec.holder_identity.unwrap(),
                spec.lease_transitions.unwrap_or_default(),
            );
            leases.insert(shard.clone(), held);
        }
        leases
    }
}

/// The connections that there are series of. Every series of a connection is looked at, whichever it is.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("scim_bridge_connection_"));
    lines
        .map(|line| {
            let (_, rest) = line.split_once(r#",name=""#).unwrap_or_else(|| panic!("{line}"));
            rest.split('"').next().unwrap().to_owned()
        })
        .collect()
}

/// Makes a connection to a bridge of its own, in this shard from its first moment on; `None` for no label.
pub(crate) async fn connect(bed: &Bed<'_>, name: &str, shard: Option<&str>) -> Front {
    bed.secret(name, KEY).await;
    let bridge = bed.healthy_bridge().await;
    create(bed, name, shard, &bridge, spec()).await;
    bed.expect(name, "True Connected").await;
    bridge
}

/// Makes a connection; `more` is set in the specification.
pub(crate) async fn create(
    bed: &Bed<'_>,
    name: &str,
    shard: Option<&str>,
    bridge: &Front,
    more: impl Into<Spec>,
) {
    let mut manifest = connection(name, whole_spec(name, &bridge.url()).and(more));
    if let Some(shard) = shard {
        manifest["metadata"]["labels"] = json!({LABEL: shard});
    }
    let connections = bed.connections();
    connections
        .patch(name, &user(), &Patch::Apply(&manifest))
        .await
        .unwrap();
}

/// Moves a connection to this shard; `None` takes the label away.
pub(crate) async fn assign(bed: &Bed<'_>, name: &str, shard: Option<&str>) -> ScimBridgeConnection {
    bed.patch(name, json!({"metadata": {"labels": {LABEL: shard}}}))
        .await
}
