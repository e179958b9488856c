//! The policy: public addresses are permitted, all others only when the setting lists them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cidr::{Cidr, mask_v4, mask_v6};

/// IPv4 ranges that are not the public internet (IANA's special-purpose registry), and what to call them.
const RESERVED_V4: &[([u8; 4], u8, &str)] = &[
    ([0, 0, 0, 0], 8, "an unspecified address"),
    ([10, 0, 0, 0], 8, "a private address"),
    ([100, 64, 0, 0], 10, "a carrier's shared address"),
    ([127, 0, 0, 0], 8, "a loopback address"),
    ([169, 254, 0, 0], 16, "a link-local address"),
    ([172, 16, 0, 0], 12, "a private address"),
    ([192, 0, 0, 0], 24, "a reserved address"),
    ([192, 0, 2, 0], 24, "a documentation address"),
    ([192, 88, 99, 0], 24, "a reserved address"),
    ([192, 168, 0, 0], 16, "a private address"),
    ([198, 18, 0, 0], 15, "a benchmarking address"),
    ([198, 51, 100, 0], 24, "a documentation address"),
    ([203, 0, 113, 0], 24, "a documentation address"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([240, 0, 0, 0], 4, "a reserved address"),
];

/// IPv6 ranges; what is in none of them is public only inside 2000::/3 (RFC 4291 §2.4, RFC 9637).
const RESERVED_V6: &[([u16; 8], u8, &str)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "an unspecified address"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "a loopback address"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "a private address"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "a link-local address"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "a private address"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "a multicast address"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "a reserved address"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "a documentation address"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "a documentation address"),
];

/// Which addresses a host that a tenant named may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    allow: Vec<Cidr>,
}

impl NetworkPolicy {
    /// Public addresses, and those in `allow` (the setting `network.allow`).
    pub fn new(allow: Vec<Cidr>) -> Self {
        Self { allow }
    }

    /// Whether `address` may be reached.
    pub fn permits(&self, address: IpAddr) -> bool {
        self.refusal(address).is_none()
    }

    /// What `address` is, in words such as `a loopback address`, if it may not be reached.
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        if self.allow.iter().any(|range| range.contains(address)) {
            return None;
        }
        match address.to_canonical() {
            IpAddr::V4(address) => refusal_v4(address),
            IpAddr::V6(address) => refusal_v6(address),
        }
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    RESERVED_V4
        .iter()
        .find(|(base, prefix, _)| mask_v4(address, *prefix) == Ipv4Addr::from(*base))
        .map(|(_, _, name)| *name)
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    let reserved = RESERVED_V6.iter().find(|(base, prefix, _)| mask_v6(address, *prefix) == Ipv6Addr::from(*base));
    if let Some((_, _, name)) = reserved {
        return Some(name);
    }
    let [head, second, third, .., high, low] = address.segments();
    // What carries an IPv4 address inside reaches that one: NAT64's well-known prefix and 6to4.
    if [head, second] == [0x64, 0xff9b] && mask_v6(address, 96) == Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0) {
        return refusal_v4(embedded(high, low));
    }
    if head == 0x2002 {
        return refusal_v4(embedded(second, third));
    }
    (head & 0xe000 != 0x2000).then_some("a reserved address")
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_a_network_are_refused_in_every_spelling() {
        let policy = NetworkPolicy::default();
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "4000::1",
        ] {
            assert!(!policy.permits(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_permitted() {
        let policy = NetworkPolicy::default();
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "64:ff9b::101:101",
            "2002:101:101::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(policy.permits(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_listed_range_is_permitted_and_nothing_beside_it() {
        let policy = NetworkPolicy::new(vec!["127.0.0.0/8".parse().unwrap(), "fd12::/16".parse().unwrap()]);
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "fd12::1"] {
            assert!(policy.permits(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "::1", "fd13::1", "64:ff9b::7f00:1"] {
            assert!(!policy.permits(address.parse().unwrap()), "{address}");
        }
        assert_eq!(policy.refusal("10.0.0.1".parse().unwrap()), Some("a private address"));
    }
}
