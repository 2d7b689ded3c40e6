//! Reads resolv.conf(5) as the C library does.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use url::Host;

/// Most servers (`MAXNS`).
const MAX_SERVERS: usize = 3;

/// Most search domains. The C library has no limit. Kubernetes allows a Pod this many.
const MAX_SEARCH: usize = 32;

/// The largest values of options in the C library (`RES_MAXNDOTS`, `RES_MAXRETRANS`, `RES_MAXRETRY`).
const MAX_DOTS: usize = 15;
const MAX_TIMEOUT: usize = 30;
const MAX_ATTEMPTS: usize = 5;

/// The servers, the search domains and the options for a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) servers: Vec<SocketAddr>,
    /// The search domains for relative names.
    pub(super) search: Vec<String>,
    pub(super) options: Options,
}

/// The `options` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// A name with at least this many dots is asked for unchanged before the search domains.
    pub(super) dots: usize,
    /// The longest head start of one server over the next.
    pub(super) timeout: Duration,
    /// How often each server is asked.
    pub(super) attempts: usize,
    switches: Vec<Switch>,
}

/// Options that are on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    /// Begin with another server each time.
    Rotate,
    /// Offer to read more than 512 octets by UDP (RFC 6891).
    Edns0,
    /// Always ask by TCP.
    UseVc,
    /// Ask for IPv6 after the answer for IPv4, not at the same time.
    SingleRequest,
    /// Do not ask for IPv6.
    NoAaaa,
    /// Never ask for a name without a dot unchanged.
    NoTldQuery,
}

/// What this machine and the administrator add to resolv.conf(5). An administrator sets the variables for this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// `LOCALDOMAIN`: replaces the search domains.
    pub(super) search: Option<String>,
    /// `RES_OPTIONS`: read after the options of the file.
    pub(super) options: Option<String>,
    /// The name of this machine. Its domain is searched if no search domain is given.
    pub(super) host_name: Option<String>,
}

// === impl Config ===

impl Config {
    /// Reads the text of the file. The text is empty if there is no file. All servers use `port`, because the format
    /// has none.
    pub(super) fn read(text: &str, port: u16, environment: &Environment) -> Self {
        let mut servers = Vec::new();
        let mut search = None;
        let mut options = Options::default();
        for line in text.lines() {
            // A keyword is at the beginning of its line, and has a value.
            let Some((keyword, value)) = line.split_once([' ', '\t']) else {
                continue;
            };
            let mut words = value.split_ascii_whitespace().peekable();
            match keyword {
                "nameserver" => servers.extend(words.next().and_then(|word| server(word, port))),
                // The last `domain` or `search` line counts.
                "domain" if words.peek().is_some() => search = Some(domains(words.take(1))),
                "search" if words.peek().is_some() => search = Some(domains(words)),
                "options" => options.read(value),
                _ => {}
            }
        }
        if let Some(value) = &environment.search {
            search = Some(domains(value.split_ascii_whitespace()));
        }
        if let Some(value) = &environment.options {
            options.read(value);
        }
        servers.truncate(MAX_SERVERS);
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, port).into());
        }
        let machine_domain = || {
            let name = environment.host_name.as_deref().unwrap_or_default();
            domains(name.trim().split_once('.').map(|(_, domain)| domain))
        };
        Self {
            servers,
            search: search.unwrap_or_else(machine_domain),
            options,
        }
    }
}

// === impl Environment ===

impl Environment {
    pub(super) fn of_this_process() -> Self {
        Self {
            search: std::env::var("LOCALDOMAIN").ok(),
            options: std::env::var("RES_OPTIONS").ok(),
            host_name: fs::read_to_string("/proc/sys/kernel/hostname").ok(),
        }
    }
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            dots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            switches: Vec::new(),
        }
    }
}

impl Options {
    pub(super) fn has(&self, switch: Switch) -> bool {
        self.switches.contains(&switch)
    }

    /// Reads options, and ignores unknown ones. It also ignores three that have no meaning here:
    /// `single-request-reopen` (each question has its own socket), `no-reload` (the file is read for each look-up) and
    /// `trust-ad` (no signatures).
    fn read(&mut self, text: &str) {
        for word in text.split_ascii_whitespace() {
            match word.split_once(':') {
                Some(("ndots", value)) => self.dots = number(value).min(MAX_DOTS),
                Some(("timeout", value)) => {
                    let seconds = number(value).clamp(1, MAX_TIMEOUT);
                    self.timeout = Duration::from_secs(seconds as u64);
                }
                Some(("attempts", value)) => self.attempts = number(value).clamp(1, MAX_ATTEMPTS),
                Some(_) => {}
                None => self.switches.extend(Switch::named(word)),
            }
        }
    }
}

// === impl Switch ===

impl Switch {
    fn named(word: &str) -> Option<Self> {
        match word {
            "rotate" => Some(Self::Rotate),
            "edns0" => Some(Self::Edns0),
            "use-vc" => Some(Self::UseVc),
            "single-request" => Some(Self::SingleRequest),
            "no-aaaa" => Some(Self::NoAaaa),
            "no-tld-query" => Some(Self::NoTldQuery),
            _ => None,
        }
    }
}

fn domains<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    words.into_iter().take(MAX_SEARCH).map(str::to_owned).collect()
}

/// Reads the number at the beginning of a text, as `atoi` does.
fn number(text: &str) -> usize {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

/// Reads an address in any spelling that `inet_aton` accepts, or IPv6 with its zone.
fn server(text: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, port).into());
    }
    if let Some((address, zone)) = text.split_once('%') {
        return Some(SocketAddrV6::new(address.parse().ok()?, port, 0, zone_id(zone)?).into());
    }
    match Host::parse(text) {
        Ok(Host::Ipv4(address)) => Some((address, port).into()),
        Ok(Host::Domain(_) | Host::Ipv6(_)) | Err(_) => None,
    }
}

/// The number of a zone. The zone may also be the name of an interface.
fn zone_id(zone: &str) -> Option<u32> {
    if let Ok(number) = zone.parse() {
        return Some(number);
    }
    if zone.contains('/') {
        return None;
    }
    let index = fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")).ok()?;
    index.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Config {
        Config::read(text, 53, &Environment::default())
    }

    /// The servers, the search domains and the options in one line.
    fn summary(config: &Config) -> String {
        let Config {
            servers,
            search,
            options,
        } = config;
        let servers: Vec<_> = servers.iter().map(|server| server.ip().to_string()).collect();
        format!(
            "{} [{}] {}/{}/{} {:?}",
            servers.join(","),
            search.join(","),
            options.dots,
            options.timeout.as_secs(),
            options.attempts,
            options.switches
        )
    }

    #[test]
    fn files() {
        for (text, expected) in [
            ("", "127.0.0.1 [] 1/5/2 []"),
            ("nameserver 10.0.0.10", "10.0.0.10 [] 1/5/2 []"),
            (
                "nameserver 10.0.0.10\nsearch ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
                "10.0.0.10 [ns.svc.cluster.local,svc.cluster.local,cluster.local] 5/5/2 []",
            ),
            // Comments, blanks, other systems' lines.
            (
                "# nameserver 1.1.1.1\n; nameserver 1.1.1.2",
                "127.0.0.1 [] 1/5/2 []",
            ),
            ("nameserver\t10.0.0.10  # the first", "10.0.0.10 [] 1/5/2 []"),
            (" nameserver 10.0.0.10", "127.0.0.1 [] 1/5/2 []"),
            ("nameserver", "127.0.0.1 [] 1/5/2 []"),
            ("NAMESERVER 10.0.0.10", "127.0.0.1 [] 1/5/2 []"),
            ("nameserver 10.0.0.10\r\n", "10.0.0.10 [] 1/5/2 []"),
            ("sortlist 10.0.0.0\nfamily inet4", "127.0.0.1 [] 1/5/2 []"),
            // Servers.
            (
                "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
                "10.0.0.1,10.0.0.2,10.0.0.3 [] 1/5/2 []",
            ),
            ("nameserver name\nnameserver 10.0.0.2", "10.0.0.2 [] 1/5/2 []"),
            ("nameserver 127.1", "127.0.0.1 [] 1/5/2 []"),
            ("nameserver fd00::a", "fd00::a [] 1/5/2 []"),
            ("nameserver fe80::1%1", "fe80::1 [] 1/5/2 []"),
            ("nameserver fe80::1%../lo", "127.0.0.1 [] 1/5/2 []"),
            // The last line counts.
            ("search a b\ndomain c.test d.test", "127.0.0.1 [c.test] 1/5/2 []"),
            ("domain c\nsearch a b", "127.0.0.1 [a,b] 1/5/2 []"),
            ("search a\nsearch", "127.0.0.1 [a] 1/5/2 []"),
            ("search .", "127.0.0.1 [.] 1/5/2 []"),
            // Options of all lines count, within bounds.
            ("options ndots:2\noptions timeout:1", "127.0.0.1 [] 2/1/2 []"),
            (
                "options ndots:99 timeout:99 attempts:99",
                "127.0.0.1 [] 15/30/5 []",
            ),
            ("options ndots:0 timeout:0 attempts:0", "127.0.0.1 [] 0/1/1 []"),
            ("options ndots:x timeout:3s attempts:", "127.0.0.1 [] 0/3/1 []"),
            (
                "options rotate edns0 use-vc single-request no-aaaa no-tld-query",
                "127.0.0.1 [] 1/5/2 [Rotate, Edns0, UseVc, SingleRequest, NoAaaa, NoTldQuery]",
            ),
            (
                "options single-request-reopen no-reload trust-ad inet6 bogus x:y",
                "127.0.0.1 [] 1/5/2 []",
            ),
        ] {
            assert_eq!(summary(&read(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn the_environment_adds_to_the_file() {
        let file = "nameserver 10.0.0.10\nsearch a.test\noptions ndots:5 rotate";
        for (search, options, host_name, file, expected) in [
            (None, None, None, file, "10.0.0.10 [a.test] 5/5/2 [Rotate]"),
            (
                Some("b.test c.test"),
                None,
                None,
                file,
                "10.0.0.10 [b.test,c.test] 5/5/2 [Rotate]",
            ),
            (Some(""), None, None, file, "10.0.0.10 [] 5/5/2 [Rotate]"),
            (
                None,
                Some("ndots:1 no-aaaa"),
                None,
                file,
                "10.0.0.10 [a.test] 1/5/2 [Rotate, NoAaaa]",
            ),
            (
                None,
                None,
                Some("node.corp.example\n"),
                file,
                "10.0.0.10 [a.test] 5/5/2 [Rotate]",
            ),
            (
                None,
                None,
                Some("node.corp.example\n"),
                "",
                "127.0.0.1 [corp.example] 1/5/2 []",
            ),
            (None, None, Some("node\n"), "", "127.0.0.1 [] 1/5/2 []"),
        ] {
            let environment = Environment {
                search: search.map(str::to_owned),
                options: options.map(str::to_owned),
                host_name: host_name.map(str::to_owned),
            };
            let config = Config::read(file, 53, &environment);
            assert_eq!(summary(&config), expected, "{environment:?} {file:?}");
        }
    }

    #[test]
    fn no_more_domains_than_a_pod_may_have() {
        let text = format!("search {}", "a.test ".repeat(1_000));
        assert_eq!(read(&text).search.len(), MAX_SEARCH);
    }
}
