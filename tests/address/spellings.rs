//! However an address is written, and whatever carries it: the verdict is that of the address.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::{prelude::*, test_runner::RngSeed};
use scim_bridge_operator::{bridge::wire::address::AddressPolicy, domain::connection::target::Origin};
use testbed::budget;

/// Every way in which the URL standard writes an IPv4 address.
/// <https://url.spec.whatwg.org/#concept-ipv4-parser>
fn spellings(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let number = u32::from(address);
    let (last_two, last_three) = (number & 0xffff, number & 0xff_ffff);
    let plain = vec![
        format!("{a}.{b}.{c}.{d}"),
        format!("{a}.{b}.{last_two}"),
        format!("{a}.{last_three}"),
        format!("{number}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("0{a:o}.0{last_three:o}"),
        format!("0{number:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0X{a:X}.{b}.0{last_two:o}"),
        format!("0x{number:08x}"),
        format!("0x000{number:X}"),
    ];
    let mut all = plain.clone();
    all.extend(plain.iter().map(|text| format!("{text}.")));
    all.extend(plain.iter().map(|text| text.replace('.', "\u{3002}")));
    all.extend(plain.iter().map(|text| full_width(text)));
    all.extend(plain.iter().map(|text| percent_encoded(text)));
    all
}

fn full_width(text: &str) -> String {
    let shift = |c: char| char::from_u32(u32::from(c) + 0xfee0).unwrap();
    text.chars()
        .map(|c| if c == '.' { c } else { shift(c) })
        .collect()
}

fn percent_encoded(text: &str) -> String {
    let encoded: Vec<_> = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    encoded.concat()
}

/// Every IPv6 address that carries it.
fn carriers(address: Ipv4Addr, prefix: u64, suffix: u16) -> Vec<Ipv6Addr> {
    let v4 = u128::from(u32::from(address));
    let local = 0x0064_ff9b_0001_u128 << 80;
    let high = u128::from(prefix) << 64;
    let [a, b, c, d] = address.octets().map(u128::from);
    let suffix = u128::from(suffix);
    let mut all = vec![
        0xffff_0000_0000 | v4,
        0xffff_0000_0000_0000 | v4,
        (0x0064_ff9b_u128 << 96) | v4,
        local | (u128::from(prefix & 0xffff) << 64) | v4,
        (0x2002_u128 << 112) | (v4 << 80) | suffix,
        high | (0x5efe << 32) | v4,
        high | (0x0200_5efe << 32) | v4,
        // The local NAT64 prefix with 48, 56 and 64 bits: around the octet that stays zero.
        local | (a << 72) | (b << 64) | (c << 48) | (d << 40) | suffix,
        local | (a << 64) | (b << 48) | (c << 40) | (d << 32) | suffix,
        local | (a << 48) | (b << 40) | (c << 32) | (d << 24) | suffix,
    ];
    if v4 > 0xffff {
        all.push(v4);
    }
    all.into_iter().map(Ipv6Addr::from).collect()
}

fn judge(policy: &AddressPolicy, host: &str) -> Option<bool> {
    let origin = Origin::parse(&format!("https://{host}")).ok()?;
    origin.address()?;
    Some(policy.allows(&origin))
}

/// Addresses at the borders of what is denied, and any others.
fn v4() -> impl Strategy<Value = Ipv4Addr> {
    let near = |text: &str| {
        let address = u32::from(text.parse::<Ipv4Addr>().unwrap());
        (0..3_u32).prop_map(move |off| Ipv4Addr::from(address.wrapping_add(off).wrapping_sub(1)))
    };
    prop_oneof![
        4 => any::<u32>().prop_map(Ipv4Addr::from),
        1 => near("127.0.0.0"),
        1 => near("128.0.0.0"),
        1 => near("169.254.169.254"),
        1 => near("169.255.0.0"),
        1 => near("1.0.0.0"),
        1 => near("224.0.0.0"),
        1 => near("100.100.100.200"),
        1 => near("168.63.129.16"),
        1 => near("192.0.0.0"),
        1 => near("192.0.1.0"),
        1 => near("10.96.0.1"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: budget(2_000, 200_000),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(testbed::seed()),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_spelling_changes_nothing(address in v4()) {
        let policy = AddressPolicy {
            api_server: vec!["10.96.0.1".parse().unwrap()],
            ..AddressPolicy::default()
        };
        let allowed = policy.allows_address(address.into());
        for text in spellings(address) {
            prop_assert_eq!(judge(&policy, &text), Some(allowed), "{} for {}", text, address);
        }
    }

    /// What is denied stays denied, whatever carries it.
    #[test]
    fn no_carrier_leads_past_a_denial(address in v4(), prefix: u64, suffix: u16) {
        let policy = AddressPolicy {
            denied: vec!["203.0.113.0/24".parse().unwrap()],
            ..AddressPolicy::default()
        };
        // An address that begins with 0 leads nowhere, and is the padding of another reading.
        let leads_somewhere = address.octets()[0] != 0;
        if leads_somewhere && !policy.allows_address(address.into()) {
            for carrier in carriers(address, prefix, suffix) {
                prop_assert!(!policy.allows_address(carrier.into()), "{} carries {}", carrier, address);
                prop_assert_eq!(judge(&policy, &format!("[{carrier}]")), Some(false));
            }
        }
    }

    /// What is allowed by a flag is allowed in each spelling, and no more than that.
    #[test]
    fn a_flag_means_the_address(address in v4(), bits in 8_u8..=32) {
        let network = ipnet::Ipv4Net::new(address, bits).unwrap();
        let deny = AddressPolicy { denied: vec![network.into()], ..AddressPolicy::default() };
        let allow = AddressPolicy { allowed: vec![network.into()], ..AddressPolicy::default() };
        for text in spellings(address) {
            prop_assert_eq!(judge(&deny, &text), Some(false), "{}", text);
            prop_assert_eq!(judge(&allow, &text), Some(true), "{}", text);
        }
        let mapped = address.to_ipv6_mapped().into();
        prop_assert!(!deny.allows_address(mapped));
        prop_assert!(allow.allows_address(mapped));
    }
}
