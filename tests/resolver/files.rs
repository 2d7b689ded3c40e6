//! The files themselves: missing, empty, changed; and what takes more than one look-up to see.

use std::{fs, net::IpAddr, net::SocketAddr, time::Duration};

use testbed::scratch::Scratch;

use crate::{
    name_server::NameServer,
    support::{LIMIT, ends},
    table::{Servers, names, told, write},
    zone::zone,
};

const KNOWN: &str = "scim.test 10.0.0.1";

#[tokio::test]
async fn without_a_server_loopback_is_asked() {
    let servers = Servers::start(&[KNOWN]).await;
    let folder = Scratch::new("resolver").unwrap();
    let names = names(folder.path(), servers.port);
    for text in [
        None,
        Some(""),
        Some("# nobody\noptions ndots:2\nnameserver bogus\n"),
    ] {
        if let Some(text) = text {
            fs::write(folder.path().join("resolv.conf"), text).unwrap();
        }
        let found = ends("a look-up", names.look_up("scim.test", LIMIT)).await;
        assert_eq!(told(found), "10.0.0.1", "resolv.conf: {text:?}");
    }
}

#[tokio::test]
async fn changes_are_seen() {
    let servers = Servers::start(&[
        "scim.test 10.0.0.1",
        "scim.test 10.0.0.2; scim.test.a.test 10.0.0.3",
    ])
    .await;
    let folder = Scratch::new("resolver").unwrap();
    let names = names(folder.path(), servers.port);
    let (first, second) = (servers.addresses[0], servers.addresses[1]);
    let mut seen = Vec::new();
    for (resolv_conf, hosts) in [
        (format!("nameserver {first}\n"), ""),
        (format!("nameserver {second}\n"), ""),
        (
            format!("nameserver {second}\nsearch a.test\noptions ndots:5\n"),
            "",
        ),
        (format!("nameserver {second}\n"), "10.0.0.4 scim.test"),
        (format!("nameserver {first}\n"), "10.0.0.4 other.test"),
    ] {
        write(&folder, &resolv_conf, hosts);
        seen.push(told(names.look_up("scim.test", LIMIT).await));
    }
    assert_eq!(seen, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.1"]);
}

#[tokio::test]
async fn a_server_by_ipv6() {
    let server = match NameServer::at("[::1]:0".parse().unwrap(), zone(KNOWN)).await {
        Ok(server) => server,
        Err(error) => panic!("this machine has no IPv6 on loopback: give it ::1 ({error})"),
    };
    let found = server.names().look_up("scim.test", LIMIT).await;
    assert_eq!(told(found), "10.0.0.1");
}

#[tokio::test]
async fn each_server_has_its_turn() {
    let servers = Servers::start(&[KNOWN, KNOWN, KNOWN]).await;
    let folder = Scratch::new("resolver").unwrap();
    for (options, expected) in [("", [6, 0, 0]), ("options rotate", [2, 2, 2])] {
        write(&folder, &servers.resolv_conf(options), "");
        let names = names(folder.path(), servers.port);
        let count = || {
            let all = servers.listening.iter().flatten();
            all.map(NameServer::questions).collect::<Vec<_>>()
        };
        let before = count();
        for _ in 0..3 {
            assert_eq!(told(names.look_up("scim.test", LIMIT).await), "10.0.0.1");
        }
        let asked: Vec<_> = count()
            .iter()
            .zip(before)
            .map(|(after, before)| after - before)
            .collect();
        assert_eq!(asked, expected, "{options:?}");
    }
}

/// However long the search list, and however often servers are to be asked.
#[tokio::test]
async fn one_look_up_does_not_ask_without_end() {
    let servers = Servers::start(&["* SERVFAIL", "* SERVFAIL", "* SERVFAIL"]).await;
    let folder = Scratch::new("resolver").unwrap();
    let domains: Vec<_> = (0..32).map(|number| format!("d{number}.test")).collect();
    let lines = format!("search {}\noptions ndots:15 attempts:5", domains.join(" "));
    write(&folder, &servers.resolv_conf(&lines), "");
    let found = ends(
        "a look-up",
        names(folder.path(), servers.port).look_up("scim", LIMIT),
    )
    .await;
    assert_eq!(told(found), "Failed");
    let questions: usize = servers
        .listening
        .iter()
        .flatten()
        .map(NameServer::questions)
        .sum();
    assert!((200..=256).contains(&questions), "{questions} questions");
}

/// A Pod may have that many domains, and a name that none of them knows is found.
#[tokio::test]
async fn the_longest_list_of_a_pod_is_searched() {
    let servers = Servers::start(&["scim.example 10.0.0.1"]).await;
    let folder = Scratch::new("resolver").unwrap();
    let domains: Vec<_> = (0..32).map(|number| format!("d{number}.test")).collect();
    let lines = format!("search {}\noptions ndots:5", domains.join(" "));
    write(&folder, &servers.resolv_conf(&lines), "");
    let found = names(folder.path(), servers.port)
        .look_up("scim.example", LIMIT)
        .await;
    assert_eq!(told(found), "10.0.0.1");
}

/// Silence is waited out, and not a moment longer than it is asked to be.
#[tokio::test]
async fn a_look_up_ends_in_time() {
    let servers = Servers::start(&["* SILENT", "* SILENT", "* SILENT"]).await;
    let folder = Scratch::new("resolver").unwrap();
    write(
        &folder,
        &servers.resolv_conf("search a.test b.test\noptions ndots:5"),
        "",
    );
    let names = names(folder.path(), servers.port);
    for within in [
        Duration::ZERO,
        Duration::from_millis(1),
        Duration::from_millis(500),
    ] {
        let found = ends("a look-up", names.look_up("scim.test", within)).await;
        assert_eq!(told(found), "TimedOut", "{within:?}");
    }
}

/// An answer that comes when the next server was asked already is an answer all the same.
#[tokio::test]
async fn a_slow_server_is_still_heard() {
    // Answers the first server's question as soon as the second one is asked, and never by itself.
    let second_asked = std::sync::Arc::new(tokio::sync::Notify::new());
    let slow = slow_server(std::sync::Arc::clone(&second_asked)).await;
    let silent = NameServer::at(SocketAddr::new([127, 0, 0, 2].into(), slow.port()), move |_| {
        second_asked.notify_one();
        crate::name_server::Reply::Silence
    })
    .await
    .unwrap();
    let folder = Scratch::new("resolver").unwrap();
    let resolv_conf = format!(
        "nameserver {}\nnameserver {}\noptions no-aaaa timeout:1\n",
        slow.ip(),
        silent.address.ip()
    );
    write(&folder, &resolv_conf, "");
    let found = ends(
        "a look-up",
        names(folder.path(), slow.port()).look_up("scim.test", LIMIT),
    )
    .await;
    assert_eq!(told(found), "10.0.0.7");
}

/// A server of one question, which waits before it answers.
async fn slow_server(until: std::sync::Arc<tokio::sync::Notify>) -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind((IpAddr::from([127, 0, 0, 1]), 0))
        .await
        .unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
        until.notified().await;
        let mut answer = buffer[..length].to_vec();
        answer[2..4].copy_from_slice(&[0x85, 0x80]);
        answer[7] = 1;
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 10, 0, 0, 7]);
        socket.send_to(&answer, peer).await.unwrap();
    });
    address
}
