//! Hosts: names, IPv4 addresses and IPv6 references, and the `host [":" port]` of URI and Via.

use crate::error::SyntaxError;
use crate::grammar::{Class, split_before, split_byte, trim};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Host part of a URI or Via.
#[derive(Debug, Clone, Eq)]
pub enum Host {
    /// A domain name in the peer's spelling; compared without case. Empty where a URI has no host.
    Name(String),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, written in brackets.
    V6(Ipv6Addr),
}

impl Host {
    /// The address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some((*address).into()),
            Self::V6(address) => Some((*address).into()),
        }
    }

    /// Reads what `received` and `maddr` carry: a host, or an IPv6 address without its brackets
    /// (RFC 5118 §4.5).
    pub fn parse_bare(text: &str) -> Result<Self, SyntaxError> {
        match text.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Self::V6(address)),
            Err(_) => text.parse(),
        }
    }
}

/// A host that borrows its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostRef<'a> {
    Name(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl HostRef<'_> {
    pub(crate) fn to_host(self) -> Host {
        match self {
            Self::Name(name) => Host::Name(name.to_owned()),
            Self::V4(address) => Host::V4(address),
            Self::V6(address) => Host::V6(address),
        }
    }
}

/// Reads `host [":" port]`; white space around the colon is taken (Via allows it).
pub(crate) fn scan_host_port(text: &str) -> Result<(HostRef<'_>, Option<u16>), SyntaxError> {
    let text = trim(text);
    let (host, port) = if let Some(inside) = text.strip_prefix('[') {
        let (inside, after) = split_byte(inside, b']').ok_or(SyntaxError::BadHost)?;
        (v6(inside)?, trim(after))
    } else {
        let (name, after) = split_before(text, b':');
        (name_or_v4(trim(name))?, after)
    };
    match port.strip_prefix(':') {
        Some(digits) => Ok((host, Some(scan_port(trim(digits))?))),
        None if port.is_empty() => Ok((host, None)),
        None => Err(SyntaxError::BadHost),
    }
}

fn scan_port(digits: &str) -> Result<u16, SyntaxError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SyntaxError::BadPort);
    }
    digits.parse().map_err(|_| SyntaxError::BadPort)
}

fn v6(inside: &str) -> Result<HostRef<'static>, SyntaxError> {
    let address = inside.parse().or_else(|_| {
        // RFC 5118 §4.10: RFC 3261's grammar could produce three colons before an embedded IPv4
        // address; they mean two.
        inside.replacen(":::", "::", 1).parse()
    });
    address.map(HostRef::V6).map_err(|_| SyntaxError::BadHost)
}

fn name_or_v4(text: &str) -> Result<HostRef<'_>, SyntaxError> {
    if text.is_empty() || !Class::HOST.has_all(text) || text.starts_with('.') {
        return Err(SyntaxError::BadHost);
    }
    if text.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(address) = text.parse()
    {
        return Ok(HostRef::V4(address));
    }
    Ok(HostRef::Name(text))
}

impl FromStr for Host {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        match scan_host_port(text)? {
            (host, None) => Ok(host.to_host()),
            (_, Some(_)) => Err(SyntaxError::BadHost),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address),
        }
    }
}

/// A host from text: an address where it is one (with or without brackets), a name otherwise.
impl From<&str> for Host {
    fn from(text: &str) -> Self {
        Self::parse_bare(text).unwrap_or_else(|_| Self::Name(text.to_owned()))
    }
}

impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            (Self::V4(a), Self::V4(b)) => a == b,
            (Self::V6(a), Self::V6(b)) => a == b,
            _ => false,
        }
    }
}

impl std::hash::Hash for Host {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Self::Name(name) => name.to_ascii_lowercase().hash(state),
            Self::V4(address) => address.hash(state),
            Self::V6(address) => address.hash(state),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => write!(f, "{address}"),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        assert_eq!("192.0.2.1".parse(), Ok(Host::V4(Ipv4Addr::new(192, 0, 2, 1))));
        assert_eq!("A.example".parse::<Host>(), Ok(Host::Name("a.EXAMPLE".into())));
        assert_eq!("[::1]".parse(), Ok(Host::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(
            Host::parse_bare("2001:db8::9:255").unwrap().to_string(),
            "[2001:db8::9:255]"
        );
        assert_eq!(Host::parse_bare("[::1]"), Ok(Host::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(Host::from("300.1.1.1"), Host::Name("300.1.1.1".into()));
        for bad in ["", "a b", "::1", "[::1", "a:1", ".a", "a/b", "é"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_take_white_space_around_the_colon() {
        assert_eq!(
            scan_host_port("host : 5060"),
            Ok((HostRef::Name("host"), Some(5060)))
        );
        assert_eq!(
            scan_host_port("[::1] :5060"),
            Ok((HostRef::V6(Ipv6Addr::LOCALHOST), Some(5060)))
        );
        assert_eq!(scan_host_port("host:"), Err(SyntaxError::BadPort));
        assert_eq!(scan_host_port("host:65536"), Err(SyntaxError::BadPort));
        assert_eq!(scan_host_port("host:+5"), Err(SyntaxError::BadPort));
    }
}
