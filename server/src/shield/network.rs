//! Addresses as the shield groups them, and networks as an operator writes them.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An address, or a network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    length: u32,
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a network like 10.1.0.0/16")]
pub struct NetworkError(String);

impl Network {
    /// Whether the address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        mask(bits(address), self.length) == self.bits
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(width);
        if length > width {
            return Err(wrong());
        }
        let length = length + (128 - width);
        Ok(Self {
            bits: mask(bits(address), length),
            length,
        })
    }
}

/// What counts as one source: an IPv4 address, or the /64 network of an IPv6 one, which one host has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(u128);

impl Source {
    /// The source that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            v4 @ IpAddr::V4(_) => Self(bits(v4)),
            v6 @ IpAddr::V6(_) => Self(mask(bits(v6), 64)),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Ipv6Addr::from_bits(self.0).to_canonical() {
            IpAddr::V4(v4) => write!(f, "{v4}"),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

/// IPv4 as its mapped IPv6 address, so that both kinds are one number.
fn bits(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(bits: u128, length: u32) -> u128 {
    match 128 - length {
        128 => 0,
        shift => (bits >> shift) << shift,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks() {
        for (network, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("10.1.0.0/16", "10.1.255.1", "10.2.0.1"),
            ("127.0.0.0/8", "::ffff:127.9.9.9", "128.0.0.1"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("10.1.2.3/16", "10.1.0.0", "10.0.0.0"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(ip(inside)), "{network:?} {inside}");
            assert!(!network.contains(ip(outside)), "{network:?} {outside}");
        }
        for bad in [
            "",
            "x",
            "1.2.3.4/33",
            "::1/129",
            "1.2.3.4/",
            "1.2.3/8",
            "1.2.3.4/-1",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_host_is_one_source() {
        assert_eq!(Source::of(ip("192.0.2.1")), Source::of(ip("::ffff:192.0.2.1")));
        assert_ne!(Source::of(ip("192.0.2.1")), Source::of(ip("192.0.2.2")));
        assert_eq!(Source::of(ip("2001:db8::1")), Source::of(ip("2001:db8::2:1")));
        assert_ne!(
            Source::of(ip("2001:db8:0:1::1")),
            Source::of(ip("2001:db8:0:2::1"))
        );
        assert_eq!(Source::of(ip("192.0.2.1")).to_string(), "192.0.2.1");
        assert_eq!(Source::of(ip("2001:db8::5")).to_string(), "2001:db8::/64");
    }
}
