//! One connection for a probe, and what becomes of it afterwards.

use std::{collections::BTreeSet, sync::Arc};

use bridge_front::{Authority, Content, Fault, Front, Mode, State};
use scim_bridge_operator::domain::schedule::Depth;

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

fn fault(state: &mut State, path: &str, fault: Fault) {
    state.faults.insert(path.to_owned(), fault);
}

fn not_found() -> Fault {
    Fault::Status {
        status: 404,
        body: Content::default(),
        retry_after: None,
    }
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

/// The first probe cannot know that another follows soon; from the second on the connection is kept, and a routine probe
/// asks over it what decides.
#[tokio::test]
async fn kept_where_one_probe_follows_the_other() {
    for (what, depth, asked, connections) in [
        (
            "routine",
            Depth::Routine,
            "/ping /health* /scim/Users* /scim/Groups* /ping /health* /scim/Users* /scim/Groups* /health* /scim/Users*",
            2,
        ),
        (
            "thorough",
            Depth::Thorough,
            "/ping /health* /scim/Users* /scim/Groups* /ping /health* /scim/Users* /scim/Groups* /ping /health* \
             /scim/Users* /scim/Groups*",
            2,
        ),
        (
            "anew",
            Depth::Anew,
            "/ping /health* /scim/Users* /scim/Groups* /ping /health* /scim/Users* /scim/Groups* /ping /health* \
             /scim/Users* /scim/Groups*",
            3,
        ),
    ] {
        let front = front().await;
        let prober = prober();
        let mut order = order(&front);
        order.depth = depth;
        for _ in 0..3 {
            assert_eq!(told(None, &probe_by(&prober, &order).await), "Connected");
        }
        assert_eq!(log(&front.requests()), asked, "{what}");
        assert_eq!(
            (numbers(&front).len(), front.traffic().connections),
            (connections, u64::try_from(connections).unwrap()),
            "{what}: connections with a request, and in all"
        );
    }
}

/// A routine probe that finds anything else than before is followed by a whole one, so that its verdict is the same as
/// anybody's; but a key that was refused is not sent again.
#[tokio::test]
async fn routine_ends_with_the_routine() {
    type Change = fn(&mut State);
    let connected = "/health* /scim/Users*";
    let rows: [(&str, Change, &str, &str); 4] = [
        ("nothing", |_| {}, "Connected", connected),
        (
            "another key",
            |state| state.key = "another-not-a-real-key".into(),
            "AuthFailed (GET /scim/Users: 401)",
            connected,
        ),
        (
            "Google Workspace",
            |state| state.mode = Mode::GoogleWorkspace,
            "ScimDisabled (GET /scim/Users: 404)",
            "/health* /scim/Users* /ping /health* /scim/Users*",
        ),
        (
            "no health report",
            |state| fault(state, "/health", not_found()),
            "Connected",
            "/health* /ping /health* /scim/Users* /scim/Groups*",
        ),
    ];
    for (what, change, verdict, asked) in rows {
        let front = front().await;
        let prober = prober();
        let mut order = order(&front);
        order.depth = Depth::Routine;
        for _ in 0..2 {
            assert_eq!(told(None, &probe_by(&prober, &order).await), "Connected");
        }
        let before = front.requests().len();
        front.set(change);
        assert_eq!(told(None, &probe_by(&prober, &order).await), verdict, "{what}");
        assert_eq!(log(&front.requests()[before..]), asked, "{what}");
    }
}

/// The key goes to nobody who has not answered `/ping`, though somebody else did a moment ago under the same address.
#[tokio::test]
async fn nobody_gets_a_key_for_what_another_has_proven() {
    let authority = Arc::new(Authority::new().unwrap());
    let first = bridge().authority(Arc::clone(&authority)).start().await.unwrap();
    let prober = prober();
    let mut order = order(&first);
    order.depth = Depth::Routine;
    for _ in 0..2 {
        assert_eq!(told(None, &probe_by(&prober, &order).await), "Connected");
    }
    let address = first.addr();
    first.stop().await;
    let stranger = bridge()
        .listen(address)
        .authority(authority)
        .start()
        .await
        .unwrap();
    stranger.set(|state| fault(state, "/ping", Fault::Html));
    assert_eq!(
        told(None, &probe_by(&prober, &order).await),
        "NotABridge (GET /ping: 200)"
    );
    assert_eq!(log(&stranger.requests()), "/ping");
}

/// A connection belongs to those who trust the same: what one object accepts must not speak for another.
#[tokio::test]
async fn not_shared_with_another_trust() {
    let front = front().await;
    let prober = prober();
    let mut order = order(&front);
    order.depth = Depth::Thorough;
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
    order.depth = Depth::Thorough;
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
