//! The operator is killed at moments that nobody chose, while everything changes.

use std::time::Duration;

use bridge_front::Front;
use futures::future::join_all;
use scim_bridge_operator::{
    api::REQUESTED_AT_ANNOTATION,
    clock::{Clock as _, SystemClock},
};
use serde_json::json;
use testbed::{
    Dice,
    bed::{Bed, KEY, LOOPBACK, Operator, WRONG_KEY, pings, status},
    budget, seed, spec,
};

async fn operator(bed: &Bed<'_>) -> Operator {
    bed.spawn(&[&["--leader-elect=false"], &LOOPBACK[..]].concat())
        .await
}

/// What the last change of a connection has to come to.
#[derive(Clone, Copy, PartialEq)]
enum Truth {
    Connected,
    AuthFailed,
    SecretNotFound,
}

impl Truth {
    const fn line(self) -> &'static str {
        match self {
            Self::Connected => "True Connected",
            Self::AuthFailed => "False AuthFailed Stalled",
            Self::SecretNotFound => "False SecretNotFound",
        }
    }
}

#[tokio::test]
async fn fifty_kills_lose_nothing_and_repeat_nothing() {
    let mut dice = Dice::from_seed(seed());
    let bed = Bed::new("kills").await;
    let bridges: Vec<Front> = join_all((0..8).map(|_| bed.healthy_bridge())).await;
    let name = |number: usize| format!("corp-{number}");
    let mut truths = vec![Truth::Connected; bridges.len()];
    let mut causes = vec![1_usize; bridges.len()];
    for (number, bridge) in bridges.iter().enumerate() {
        bed.secret(&name(number), KEY).await;
        bed.connect(&name(number), bridge, json!({})).await;
    }
    let kills = budget(6, 50);
    for round in 0..kills {
        let running = operator(&bed).await;
        for change in 0..dice.below(6) {
            let number = dice.pick(bridges.len());
            causes[number] += 1;
            match dice.below(4) {
                0 => {
                    bed.secret(&name(number), WRONG_KEY).await;
                    if truths[number] != Truth::SecretNotFound {
                        truths[number] = Truth::AuthFailed;
                    }
                }
                1 => {
                    bed.secret(&name(number), KEY).await;
                    if truths[number] != Truth::SecretNotFound {
                        truths[number] = Truth::Connected;
                    }
                }
                2 => {
                    let mark = format!("{round}-{change}");
                    bed.annotate(&name(number), REQUESTED_AT_ANNOTATION, &mark).await;
                }
                _ => {
                    // To an absent Secret and back, by turns.
                    let absent = truths[number] != Truth::SecretNotFound;
                    let secret = if absent { "absent".to_owned() } else { name(number) };
                    bed.edit(&name(number), spec().secret(&secret)).await;
                    if absent {
                        truths[number] = Truth::SecretNotFound;
                    } else {
                        bed.secret(&name(number), KEY).await;
                        truths[number] = Truth::Connected;
                    }
                }
            }
        }
        // The moment of the kill is the fault itself.
        tokio::time::sleep(Duration::from_millis(dice.below(400))).await;
        running.process().kill().await.unwrap();
    }
    let running = operator(&bed).await;
    for (number, truth) in truths.iter().enumerate() {
        let name = name(number);
        let settled = bed.until(&name, truth.line(), |object| {
            testbed::bed::line(object).starts_with(truth.line())
                && object.metadata.generation == Some(testbed::bed::observed(object))
        });
        let settled = settled.await;
        let until = status(&settled).valid_until.unwrap().0;
        assert!(until > SystemClock.now(), "{number}: a verdict past its end");
    }
    // One probe for each cause, and at most one more for each kill: the one whose verdict was not written yet.
    for (number, bridge) in bridges.iter().enumerate() {
        let most = causes[number] + kills;
        assert!(
            pings(bridge) <= most,
            "{number}: {} probes for {} causes and {kills} kills",
            pings(bridge),
            causes[number]
        );
    }
    let total: usize = bridges.iter().map(pings).sum();
    let (causes, most) = (causes.iter().sum::<usize>(), bridges.len() * kills / 2);
    assert!(
        total <= causes + most,
        "{total} probes for {causes} causes and {kills} kills"
    );
    drop(running);
}
