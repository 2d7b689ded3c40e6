//! An operator that a test starts, and watches to its end.

use std::{
    env,
    ops::Deref,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{DEADLINE, assert_no_canary};
use crate::{OperatorProcess, free_port, supervise::Signal, wait};

/// How much of the operator's log a failed test shows.
const TAIL: usize = 40;

/// The operator's binary: cargo names it. A test program that is run by hand lies in a folder beside it.
fn binary() -> PathBuf {
    let named = env::var_os("CARGO_BIN_EXE_scim-bridge-operator").map(PathBuf::from);
    named.unwrap_or_else(|| {
        let program = env::current_exe().unwrap();
        let folder = program.parent().and_then(Path::parent).unwrap();
        folder.join("scim-bridge-operator")
    })
}

/// An operator that, at its end, shows its log if the test failed, and is searched for keys if it did not.
pub struct Operator(OperatorProcess);

impl Deref for Operator {
    type Target = OperatorProcess;

    fn deref(&self) -> &OperatorProcess {
        &self.0
    }
}

impl Operator {
    /// Starts the operator. It has its port when this returns, or has ended.
    pub(super) async fn spawn(kubeconfig: &Path, flags: &[&str]) -> Self {
        let binary = binary();
        loop {
            let admin = format!("127.0.0.1:{}", free_port().unwrap());
            let args = [&["run", "--admin-addr", &admin, "--log-level", "debug"], flags].concat();
            let operator = Self(OperatorProcess::spawn(&binary, kubeconfig, &args, &[]).unwrap());
            let begun = wait::until(DEADLINE, "the operator to begin", async || {
                let has_ended = operator.process().ended().unwrap().is_some();
                (has_ended || operator.logs().contains(r#""message":"started""#)).then_some(())
            });
            begun.await.unwrap_or_else(|error| panic!("{error}"));
            // Somebody else may take a port between the moment that it was free and the moment that it is used.
            if !operator.logs().contains("cannot listen") {
                return operator;
            }
        }
    }

    /// Ends it in good order.
    pub async fn stop(self) {
        let ended = self.terminate(DEADLINE).await.unwrap();
        assert!(ended.success(), "SIGTERM is no failure: {ended}");
    }

    /// The sum of the metric's samples, of those with `label` in them.
    pub async fn count(&self, metric: &str, label: &str) -> u64 {
        sum(&self.metrics().await.unwrap(), metric, label)
    }

    /// How many passes came to a verdict.
    pub async fn probes(&self) -> u64 {
        self.count("probes_total", "").await
    }

    /// Sends SIGTERM, and waits until the operator has begun to obey.
    pub async fn ask_to_end(&self) {
        self.signal(Signal::Terminate).unwrap();
        self.says("stopping").await;
    }

    /// Waits for a message in its log that begins like this.
    pub async fn says(&self, beginning: &str) -> Value {
        let said = wait::until(DEADLINE, beginning, async || {
            self.events().into_iter().find(|event| {
                let message = event["message"].as_str();
                message.is_some_and(|message| message.starts_with(beginning))
            })
        });
        said.await.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let logs = self.logs();
        if std::thread::panicking() {
            let lines: Vec<&str> = logs.lines().collect();
            let tail = lines.len().saturating_sub(TAIL);
            eprintln!("the end of the operator's log:\n{}", lines[tail..].join("\n"));
        } else {
            assert_no_canary("the log", &logs);
            assert!(
                !logs.contains("panic"),
                "the operator panicked, or a pass of it:\n{logs}"
            );
        }
    }
}

/// The sum of a metric's samples, of those with `label` in them.
pub fn sum(metrics: &str, metric: &str, label: &str) -> u64 {
    let name = format!("scim_bridge_operator_{metric}");
    let samples = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(&name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    });
    samples
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}
