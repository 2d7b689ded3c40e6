//! The rows of the table, against servers of the test's own.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Instant,
};

use futures::future::join_all;
use scim_bridge_operator::bridge::{Names, ResolveError};
use testbed::scratch::Scratch;

use crate::{
    name_server::NameServer,
    rows::{ROWS, Row},
    support::{Differences, LIMIT, ends},
    zone::zone,
};

/// The servers of a row, which listen at one port of several addresses.
pub(crate) struct Servers {
    pub(crate) listening: Vec<Option<NameServer>>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) port: u16,
}

impl Servers {
    /// At a free port of 127.0.0.1 and the addresses behind it.
    pub(crate) async fn start(zones: &[&str]) -> Self {
        for _ in 0..100 {
            match Self::at([127, 0, 0], 0, zones).await {
                // One of the other addresses has the port in use.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                result => return result.unwrap(),
            }
        }
        panic!("no port is free at every address: see who listens on loopback");
    }

    /// At this port of the addresses of a network.
    pub(crate) async fn at([a, b, c]: [u8; 3], port: u16, zones: &[&str]) -> io::Result<Self> {
        let mut servers = Self {
            listening: Vec::new(),
            addresses: Vec::new(),
            port,
        };
        for (last, text) in (1..).zip(zones) {
            let address = Ipv4Addr::new(a, b, c, last);
            servers.addresses.push(address.into());
            let server = if text.is_empty() {
                None
            } else {
                let server = NameServer::at(SocketAddr::from((address, servers.port)), zone(text)).await?;
                servers.port = server.address.port();
                Some(server)
            };
            servers.listening.push(server);
        }
        if servers.port == 0 {
            servers.port = testbed::free_port()?;
        }
        Ok(servers)
    }

    /// The file that names them.
    pub(crate) fn resolv_conf(&self, lines: &str) -> String {
        let servers: Vec<_> = self
            .addresses
            .iter()
            .map(|address| format!("nameserver {address}\n"))
            .collect();
        servers.concat() + lines + "\n"
    }

    /// The names that each was asked for, each once, in their order.
    pub(crate) fn asked(&self) -> String {
        let mut all = Vec::new();
        for (number, server) in (1..).zip(&self.listening) {
            let mut names = Vec::new();
            for question in server.iter().flat_map(NameServer::asked) {
                if !names.contains(&question.name) {
                    names.push(question.name);
                }
            }
            if !names.is_empty() {
                all.push(format!("{number}: {}", names.join(" ")));
            }
        }
        all.join("; ")
    }
}

/// Files for one look-up.
pub(crate) fn write(folder: &Arc<Scratch>, resolv_conf: &str, hosts: &str) {
    fs::write(folder.path().join("resolv.conf"), resolv_conf).unwrap();
    fs::write(folder.path().join("hosts"), hosts).unwrap();
}

pub(crate) fn names(folder: &Path, port: u16) -> Names {
    Names::by(folder.join("resolv.conf"), folder.join("hosts"), port)
}

/// Addresses in the order of their text, each once; or the error.
pub(crate) fn told(found: Result<Vec<IpAddr>, ResolveError>) -> String {
    match found {
        Ok(addresses) => {
            let mut texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            texts.sort();
            texts.dedup();
            texts.join(" ")
        }
        Err(error) => format!("{error:?}"),
    }
}

async fn look_up(row: &Row) -> (String, String) {
    let servers = Servers::start(row.zones).await;
    let folder = Scratch::new("resolver").unwrap();
    write(&folder, &servers.resolv_conf(row.resolv_conf), row.hosts);
    let names = names(folder.path(), servers.port);
    let deadline = Instant::now() + LIMIT;
    loop {
        let found = told(ends(row.what, names.look_up(row.name, row.within)).await);
        // One family waits 50 ms for the other, which a busy machine may need for itself.
        let is_part = found != row.found && found.split(' ').all(|address| row.found.contains(address));
        if !is_part || Instant::now() > deadline {
            return (found, servers.asked());
        }
    }
}

#[tokio::test]
async fn every_row() {
    let mut differences = Differences::default();
    let seen = join_all(ROWS.iter().map(look_up)).await;
    for (row, (found, asked)) in ROWS.iter().zip(seen) {
        let Row {
            what,
            name,
            resolv_conf,
            hosts,
            zones,
            ..
        } = row;
        let row_text = format!("{what}: {name} with {resolv_conf:?}, hosts {hosts:?}, servers {zones:?}");
        differences.compare(
            row_text,
            &format!("{} | {}", row.found, row.asked),
            &format!("{found} | {asked}"),
        );
    }
    differences.assert_none();
}

/// What the table does not show: by which way, for which family, and with what.
#[tokio::test]
async fn how_it_was_asked() {
    for (resolv_conf, zone, expected) in [
        ("", "scim.test 10.0.0.1", "A/udp AAAA/udp"),
        ("options no-aaaa", "scim.test 10.0.0.1", "A/udp"),
        ("options use-vc", "scim.test 10.0.0.1", "A/tcp AAAA/tcp"),
        ("options edns0", "scim.test 10.0.0.1", "A/udp/edns AAAA/udp/edns"),
        (
            "options edns0",
            "scim.test PLAIN 10.0.0.1",
            "A/udp A/udp/edns AAAA/udp AAAA/udp/edns",
        ),
        ("", "scim.test TOOLONG 10.0.0.1", "A/tcp A/udp AAAA/tcp AAAA/udp"),
        // Failed, and asked as often as the file has it.
        ("options attempts:1", "* SERVFAIL", "A/udp AAAA/udp"),
        (
            "options attempts:3",
            "* SERVFAIL",
            "A/udp A/udp A/udp AAAA/udp AAAA/udp AAAA/udp",
        ),
    ] {
        let servers = Servers::start(&[zone]).await;
        let folder = Scratch::new("resolver").unwrap();
        write(&folder, &servers.resolv_conf(resolv_conf), "");
        let names = names(folder.path(), servers.port);
        let _ = ends(zone, names.look_up("scim.test", ROWS[0].within)).await;
        let asked = servers.listening[0].as_ref().unwrap().asked();
        let mut asked: Vec<_> = asked
            .iter()
            .map(|question| {
                let family = if question.is_v6 { "AAAA" } else { "A" };
                let way = if question.by_tcp { "tcp" } else { "udp" };
                let edns = if question.has_edns { "/edns" } else { "" };
                format!("{family}/{way}{edns}")
            })
            .collect();
        asked.sort();
        assert_eq!(asked.join(" "), expected, "{resolv_conf:?}, {zone}");
    }
}
