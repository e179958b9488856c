//! A range of addresses as people write it: `10.0.0.0/8`, `fd00::/8`, or one address (RFC 4632, RFC 4291 §2.3).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// A range of IP addresses. An IPv4-mapped IPv6 address belongs to the ranges of its IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    base: IpAddr,
    prefix: u8,
}

/// Why a text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// The part before the slash is no IP address.
    #[error("`{0}` is no IP address; a range is written like 10.0.0.0/8 or fd00::/8")]
    Address(String),
    /// The part after the slash is no prefix length of that family.
    #[error("`/{prefix}` is no prefix length: 0 to {longest}")]
    Prefix {
        /// What stood after the slash.
        prefix: String,
        /// The longest prefix of the family.
        longest: u8,
    },
    /// The address has bits that the prefix doesn't cover, so it isn't clear what was meant.
    #[error("`{given}` has bits beyond its prefix; write {meant} or a longer prefix")]
    HostBits {
        /// What was given.
        given: String,
        /// The range that its prefix stands for.
        meant: Cidr,
    },
}

impl Cidr {
    /// Whether this range contains `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => mask_v4(address, self.prefix) == base,
            (IpAddr::V6(base), IpAddr::V6(address)) => mask_v6(address, self.prefix) == base,
            _ => false,
        }
    }
}

pub(super) fn mask_v4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

pub(super) fn mask_v6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) =
            text.trim().split_once('/').map_or((text.trim(), None), |(address, prefix)| (address, Some(prefix)));
        let given: IpAddr = address.parse().map_err(|_| CidrError::Address(address.chars().take(64).collect()))?;
        let longest = if given.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= longest && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(|| CidrError::Prefix { prefix: digits.chars().take(64).collect(), longest })?,
        };
        let base = match given {
            IpAddr::V4(address) => IpAddr::V4(mask_v4(address, prefix)),
            IpAddr::V6(address) => IpAddr::V6(mask_v6(address, prefix)),
        };
        let mapped = |range: Self| match range.base {
            IpAddr::V6(base) if range.prefix >= 96 => {
                base.to_ipv4_mapped().map_or(range, |base| Self { base: base.into(), prefix: range.prefix - 96 })
            }
            _ => range,
        };
        if base != given {
            let meant = mapped(Self { base, prefix });
            return Err(CidrError::HostBits { given: text.trim().to_owned(), meant });
        }
        Ok(mapped(Self { base, prefix }))
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(range: Cidr) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn range(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_contains_its_own_addresses_in_either_spelling() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
        ] {
            assert!(range(text).contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!range(text).contains(outside.parse().unwrap()), "{text} {outside}");
        }
    }

    #[test]
    fn a_text_that_is_no_range_says_what_is_wrong() {
        for (text, said) in [
            ("localhost", "`localhost` is no IP address"),
            ("10.0.0.0/33", "`/33` is no prefix length: 0 to 32"),
            ("10.0.0.0/+8", "`/+8` is no prefix length: 0 to 32"),
            ("::/129", "0 to 128"),
            ("10.1.2.3/8", "write 10.0.0.0/8"),
            ("", "`` is no IP address"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_range_is_written_as_it_is_read() {
        for text in ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"] {
            assert_eq!(range(text).to_string(), text);
        }
    }
}
