//! One connection for a probe, and what becomes of it afterwards.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bridge_front::{Authority, Front};

use crate::support::{bridge, front, key, log, only, order, probe_by, prober, told};

/// The numbers of the connections by which requests came.
fn numbers(front: &Front) -> Vec<u64> {
    let numbers: BTreeSet<_> = front
        .requests()
        .iter()
        .map(|request| request.connection)
        .collect();
    numbers.into_iter().collect()
}

#[tokio::test]
async fn one_for_all_requests_of_a_probe() {
    let front = front().await;
    let mut order = order(&front);
    order.next_key = Some(Ok(key("the-next")));
    front.set(|state| state.further_keys = vec!["the-next".into()]);
    let exchange = probe_by(&prober(), &order).await;
    assert_eq!(told(None, &exchange), "Connected");
    let requests = log(&front.requests());
    assert_eq!(requests, "/ping /health* /scim/Users* /scim/Groups* /health*");
    assert_eq!(
        (numbers(&front).len(), front.traffic().connections),
        (1, 1),
        "connections with a request, and in all, for {requests}"
    );
}

#[tokio::test]
async fn kept_only_where_the_next_probe_is_near() {
    for (interval, kept) in [
        (Duration::from_secs(30), true),
        (Duration::from_mins(1), true),
        (Duration::from_secs(61), false),
        (Duration::from_mins(5), false),
        (Duration::from_hours(24), false),
    ] {
        let front = front().await;
        let prober = prober();
        let mut order = order(&front);
        order.target.interval = interval;
        let times = 3;
        for _ in 0..times {
            assert_eq!(told(None, &probe_by(&prober, &order).await), "Connected");
        }
        let expected = if kept { 1 } else { times };
        assert_eq!(
            (numbers(&front).len(), front.traffic().connections),
            (expected, u64::try_from(expected).unwrap()),
            "connections with a request, and in all, of {times} probes with an interval of {interval:?}"
        );
    }
}

/// A connection belongs to those who trust the same: what one object accepts must not speak for another.
#[tokio::test]
async fn not_shared_with_another_trust() {
    let front = front().await;
    let prober = prober();
    let mut order = order(&front);
    order.target.interval = Duration::from_secs(30);
    assert_eq!(told(None, &probe_by(&prober, &order).await), "Connected");
    let other = Authority::new().unwrap();
    order.trust = only(other.ca_pem());
    assert_eq!(
        told(None, &probe_by(&prober, &order).await),
        "CertificateUntrusted (GET /ping)"
    );
}

/// A connection that was kept and went away meanwhile is no failure of the bridge.
#[tokio::test]
async fn a_kept_one_that_is_gone() {
    let authority = Arc::new(Authority::new().unwrap());
    let first = bridge().authority(Arc::clone(&authority)).start().await.unwrap();
    let prober = prober();
    let mut order = order(&first);
    order.target.interval = Duration::from_secs(30);
    assert_eq!(told(None, &probe_by(&prober, &order).await), "Connected");
    let address = first.addr();
    first.stop().await;
    let second = bridge()
        .listen(address)
        .authority(authority)
        .start()
        .await
        .unwrap();
    assert_eq!(told(None, &probe_by(&prober, &order).await), "Connected");
    assert_eq!(
        log(&second.requests()),
        "/ping /health* /scim/Users* /scim/Groups*"
    );
}
