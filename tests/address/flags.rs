//! The flags, by their strength: --deny-cidr, --allow-cidr, what is built in; and --allowed-host beside them.

use std::net::Ipv4Addr;

use clap::Parser as _;
use scim_bridge_operator::{
    args::{Arguments, Command},
    bridge::wire::address::AddressPolicy,
    domain::connection::target::Origin,
};

use crate::support::Differences;

/// What the command line makes of these flags.
fn policy(flags: &str) -> Result<AddressPolicy, String> {
    let words = ["scim-bridge-operator", "run"]
        .into_iter()
        .chain(flags.split_whitespace());
    let arguments = Arguments::try_parse_from(words).map_err(|error| error.kind().to_string())?;
    let Command::Run(run) = arguments.command else {
        panic!("{flags}");
    };
    Ok(AddressPolicy {
        denied: run.addresses.deny_cidrs,
        allowed: run.addresses.allow_cidrs,
        allowed_hosts: run.addresses.allowed_hosts,
        api_server: vec![Ipv4Addr::new(10, 96, 0, 1).into()],
    })
}

fn judge(policy: &AddressPolicy, host: &str) -> &'static str {
    match Origin::parse(&format!("https://{host}")) {
        Err(_) => "invalid",
        Ok(origin) if policy.allows(&origin) => "yes",
        Ok(_) => "no",
    }
}

/// Flags, a host, and whether it may be connected to.
const ROWS: &[(&str, &str, &str)] = &[
    ("", "10.0.0.1", "yes"),
    ("", "127.0.0.1", "no"),
    ("", "10.96.0.1", "no"),
    // Allowed in spite of what is built in, and in every spelling.
    ("--allow-cidr 127.0.0.0/8", "127.0.0.1", "yes"),
    ("--allow-cidr 127.0.0.0/8", "0x7f.1", "yes"),
    ("--allow-cidr 127.0.0.0/8", "[::ffff:127.0.0.1]", "yes"),
    ("--allow-cidr 127.0.0.0/8", "[::1]", "no"),
    ("--allow-cidr ::1/128", "[::1]", "yes"),
    ("--allow-cidr ::1/128", "127.0.0.1", "no"),
    ("--allow-cidr 127.0.0.1/32", "127.0.0.2", "no"),
    ("--allow-cidr 10.96.0.1/32", "10.96.0.1", "yes"),
    ("--allow-cidr 169.254.0.0/16", "169.254.169.254", "yes"),
    // Allowing an IPv4 address does not allow what carries it: that is another way.
    ("--allow-cidr 127.0.0.0/8", "[64:ff9b::7f00:1]", "yes"),
    ("--allow-cidr 64:ff9b::/96", "[64:ff9b::7f00:1]", "no"),
    ("--allow-cidr 2001::/32 --deny-cidr 2001::/33", "[2001::1]", "no"),
    // Denied in spite of what is allowed.
    ("--deny-cidr 10.0.0.0/8", "10.1.2.3", "no"),
    ("--deny-cidr 10.0.0.0/8", "11.1.2.3", "yes"),
    (
        "--deny-cidr 10.0.0.0/8 --allow-cidr 10.1.2.3/32",
        "10.1.2.3",
        "no",
    ),
    (
        "--allow-cidr 10.1.2.3/32 --deny-cidr 10.0.0.0/8",
        "10.1.2.3",
        "no",
    ),
    ("--deny-cidr 10.0.0.0/8", "[::ffff:10.1.2.3]", "no"),
    ("--deny-cidr 10.0.0.0/8", "[64:ff9b::a01:203]", "no"),
    ("--deny-cidr 10.0.0.0/8", "[2002:a01:203::]", "no"),
    ("--deny-cidr 10.0.0.0/8", "[2001:db8::5efe:10.1.2.3]", "no"),
    ("--deny-cidr 0.0.0.0/0", "8.8.8.8", "no"),
    ("--deny-cidr 0.0.0.0/0", "[2606:4700::1]", "yes"),
    ("--deny-cidr ::/0", "[2606:4700::1]", "no"),
    ("--deny-cidr ::/0", "8.8.8.8", "yes"),
    ("--deny-cidr 0.0.0.0/0,::/0", "[::ffff:8.8.8.8]", "no"),
    // As it is written by hand: with host bits, and IPv4 in an IPv6 network.
    ("--deny-cidr 10.1.2.3/8", "10.9.9.9", "no"),
    ("--deny-cidr ::ffff:10.0.0.0/104", "10.1.2.3", "no"),
    ("--deny-cidr ::ffff:10.0.0.0/104", "11.1.2.3", "yes"),
    ("--allow-cidr ::ffff:127.0.0.0/104", "127.0.0.1", "yes"),
    ("--deny-cidr 10.1.2.3", "10.1.2.3", "no"),
    // Hosts.
    ("--allowed-host scim.example.com", "scim.example.com", "yes"),
    ("--allowed-host scim.example.com", "SCIM.example.com.", "yes"),
    ("--allowed-host scim.example.com", "scim.example.com:8443", "yes"),
    (
        "--allowed-host scim.example.com",
        "scim.example.com.evil.test",
        "no",
    ),
    ("--allowed-host scim.example.com", "evil-scim.example.com", "no"),
    ("--allowed-host scim.example.com", "10.0.0.1", "no"),
    ("--allowed-host *.example.com", "a.example.com", "yes"),
    ("--allowed-host *.example.com", "a.b.example.com", "no"),
    ("--allowed-host *.example.com", "example.com", "no"),
    ("--allowed-host *.example.com", "a.example.com.evil.test", "no"),
    ("--allowed-host .example.com", "a.example.com", "yes"),
    ("--allowed-host .example.com", "a.b.example.com", "yes"),
    ("--allowed-host .example.com", "example.com", "no"),
    ("--allowed-host .example.com", "evil-example.com", "no"),
    ("--allowed-host .localhost", "bridge.localhost", "yes"),
    ("--allowed-host .localhost", "localhost", "no"),
    (
        "--allowed-host b\u{fc}cher.example",
        "",
        "invalid value for one of the arguments",
    ),
    (
        "--allowed-host xn--bcher-kva.example",
        "b\u{fc}cher.example",
        "yes",
    ),
    ("--allowed-host 10.0.0.*", "10.0.0.7", "yes"),
    ("--allowed-host 10.0.0.*", "0xa.0.0.7", "yes"),
    ("--allowed-host 10.0.0.*", "10.0.1.7", "no"),
    ("--allowed-host 127.0.0.1", "127.0.0.1", "no"),
    ("--allowed-host 10.0.0.*", "10.0.0.evil.test", "no"),
    ("--allowed-host 10.0.0.7", "[::ffff:10.0.0.7]", "yes"),
    ("--allowed-host [fd12:3456::1]", "[fd12:3456:0::1]", "yes"),
    ("--allowed-host fd12:3456:0:0::1", "[fd12:3456::1]", "yes"),
    ("--allowed-host a.test,b.test", "b.test", "yes"),
    ("--allowed-host a.test --allowed-host b.test", "b.test", "yes"),
    // What is no network or host stops the program: it must not run with less than was asked for.
    (
        "--deny-cidr 10.0.0.0/33",
        "",
        "invalid value for one of the arguments",
    ),
    (
        "--deny-cidr 10.0.0/8",
        "",
        "invalid value for one of the arguments",
    ),
    (
        "--deny-cidr example.com",
        "",
        "invalid value for one of the arguments",
    ),
    (
        "--allow-cidr 010.0.0.0/8",
        "",
        "invalid value for one of the arguments",
    ),
    (
        "--allowed-host https://a.test",
        "",
        "invalid value for one of the arguments",
    ),
    (
        "--allowed-host **.test",
        "",
        "invalid value for one of the arguments",
    ),
    (
        "--allowed-host a.test/x",
        "",
        "invalid value for one of the arguments",
    ),
    ("--allowed-host *", "", "invalid value for one of the arguments"),
    (
        "--allowed-host a.test,,b.test",
        "",
        "invalid value for one of the arguments",
    ),
    (
        "--allowed-host a.test:443",
        "",
        "invalid value for one of the arguments",
    ),
    (
        "--allowed-host 10.0.0.0/8",
        "",
        "invalid value for one of the arguments",
    ),
    (
        "--deny-cidr ::ffff:10.0.0.0/8",
        "",
        "invalid value for one of the arguments",
    ),
];

#[test]
fn flags_by_their_strength() {
    let mut differences = Differences::default();
    for (flags, host, expected) in ROWS {
        let seen = match policy(flags) {
            Ok(policy) => judge(&policy, host).to_owned(),
            Err(kind) => kind,
        };
        differences.compare(format!("{flags} | {host}"), expected, &seen);
    }
    differences.assert_none();
}
