//! The test bed of scim-bridge-operator: real parts, started in seconds, on any machine with Rust, Go and Python.
//!
//! * [`Cluster`]: a Kubernetes API (etcd, kube-apiserver, kubectl), with or without kube-controller-manager.
//! * [`Helm`]: Helm, for a cluster or for none.
//! * [`ScimServer`]: an independent SCIM implementation.
//! * [`OperatorProcess`]: the operator's binary, with the rights of a ServiceAccount.
//! * [`Collector`]: takes the operator's traces.
//! * [`spec`], [`connection`]: a connection's specification and manifest, in few words.
//! * `bed`, with the feature of this name: all of these together, as most tests of the operator want them.
//! * [`budget`], [`seed`]: how much a test tries, and where its chance begins.
//! * [`wait`]: waiting with deadlines instead of sleeping.
//! * [`tools`]: the programs behind them, built once.
//!
//! # Guarantees
//!
//! * Every server listens on loopback only, on a port that was free.
//! * Every process ends when its owner ends, however that happens ([`supervise`]), and is ended by its own id.
//! * Everything is written below `.testbed` in the workspace; scratch folders go when their users are gone
//!   ([`scratch`]). `TESTBED_KEEP=1` keeps them, with all logs.
//!
//! ```no_run
//! # async fn example() -> Result<(), testbed::Failure> {
//! let cluster = testbed::Cluster::shared().await?;
//! let namespace = cluster.namespace("example").await?;
//! cluster.apply(&format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: it, namespace: {namespace}}}}}")).await?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "bed")]
pub mod bed;
mod budget;
mod chance;
pub mod cluster;
mod collector;
mod failure;
mod loopback;
pub mod operator;
mod python;
pub mod scim;
pub mod scratch;
mod spec;
pub mod supervise;
pub mod tools;
pub mod wait;
pub mod workspace;

pub use self::{
    budget::{HOSTILE, budget},
    chance::{Dice, HOSTILE_SEED, seed},
    cluster::{Cluster, Helm},
    collector::Collector,
    failure::Failure,
    loopback::{HttpError, free_port, read_head},
    operator::OperatorProcess,
    scim::ScimServer,
    spec::{Spec, connection, spec},
};
