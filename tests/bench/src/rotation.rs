//! Rotation: a key in a Secret is replaced, and the status follows.

use std::time::Duration;

use testbed::Failure;
use tokio::time::{Instant, sleep};

use crate::{
    numbers::{Distribution, float, now_micros, size},
    stage::{Stage, bad_key, good_key},
};

/// Time between two rotations.
const PACE: Duration = Duration::from_millis(150);

/// Replaces the keys of some objects, spread over all, by such as the bridge accepts, or refuses. Milliseconds from
/// sending the request that writes the Secret until a watcher sees the new status, and how many were never seen.
pub(crate) async fn rotate(
    stage: &Stage,
    count: usize,
    to_good: bool,
    edition: u32,
) -> Result<(Distribution, usize), Failure> {
    let mut wire = stage.api_server.connect().await?;
    let mut sent: Vec<(usize, u64)> = Vec::new();
    for round in 0..count {
        let number = round * stage.load.objects / count.max(1);
        let key = if to_good {
            good_key(number, edition)
        } else {
            bad_key(number)
        };
        sent.push((number, now_micros()));
        stage.new_key(number, &key).send(&mut wire).await?;
        sleep(PACE).await;
    }
    let end = Instant::now() + stage.load.interval + Duration::from_secs(20);
    loop {
        let turned: Vec<f64> = sent
            .iter()
            .filter_map(|(number, sent)| {
                let number = u32::try_from(*number).ok()?;
                let turned = stage.sight.turned(number, to_good, *sent)?;
                Some(float(turned.saturating_sub(*sent)) / 1000.0)
            })
            .collect();
        let never = sent.len() - turned.len();
        if never == 0 || Instant::now() > end {
            return Ok((Distribution::of(turned), never));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// One row of a table of rotations.
pub(crate) fn row(name: &str, took: &Distribution, never: usize) -> Vec<String> {
    vec![
        name.to_owned(),
        format!("{:.0}", size(took.count())),
        format!("{:.1}", took.median()),
        format!("{:.1}", took.quantile(950)),
        format!("{:.1}", took.max()),
        never.to_string(),
    ]
}

/// Names of what [`row`] shows.
pub(crate) const HEADERS: [&str; 6] = ["Rotation, ms", "Count", "p50", "p95", "max", "Never seen"];
