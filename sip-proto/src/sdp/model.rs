//! The description as data: origin, name, lines in their order, media.

use std::fmt;
use std::net::IpAddr;

/// A whole session description (RFC 8866 §5). `v=0` is implied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDescription {
    /// `o=`.
    pub origin: Origin,
    /// `s=`; `-` when there is nothing to say.
    pub name: String,
    /// All other lines before the first `m=`, in their order.
    pub lines: Vec<Line>,
    /// The media descriptions, in their order.
    pub media: Vec<MediaDescription>,
}

/// One `m=` line and the lines that belong to it (RFC 8866 §5.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaDescription {
    /// `audio`, `video`, `application`, `message` … as written.
    pub media: String,
    /// The transport port; 0 refuses or removes the stream (RFC 3264 §5.1, §6).
    pub port: u16,
    /// How many port pairs follow each other (`49170/2`), where that was said.
    pub port_count: Option<u16>,
    /// `RTP/AVP`, `UDP/TLS/RTP/SAVPF` … as written.
    pub protocol: String,
    /// The formats: payload types as text for RTP.
    pub formats: Vec<String>,
    /// The lines below, in their order.
    pub lines: Vec<Line>,
}

/// A line that is neither `v=`, `o=`, `s=` nor `m=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// `c=`.
    Connection(Connection),
    /// `b=`.
    Bandwidth(Bandwidth),
    /// `a=`.
    Attribute(Attribute),
    /// Any other line (`i= u= e= p= t= r= z= k=` and unknown ones): its letter and its text.
    Other(char, String),
}

/// `o=`: who made this session (RFC 8866 §5.2). All parts but the version identify it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The user, `-` for none.
    pub username: String,
    /// The session's id: digits, of any length.
    pub session_id: String,
    /// The version of this description: digits, of any length.
    pub session_version: String,
    /// `IN`.
    pub network: String,
    /// `IP4` or `IP6`.
    pub address_type: String,
    /// The address or name of the machine that made it.
    pub address: String,
}

/// `c=`: where media is to be sent (RFC 8866 §5.7). Kept as written, read by methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// `IN`.
    pub network: String,
    /// `IP4` or `IP6`.
    pub address_type: String,
    /// The address as written, with `/ttl/count` where given.
    pub address: String,
}

/// The part after the slash of a multicast address (RFC 8866 §5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MulticastScope {
    /// Time to live, IPv4 only.
    pub ttl: Option<u8>,
    /// How many consecutive addresses.
    pub count: u16,
}

/// `b=` (RFC 8866 §5.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bandwidth {
    /// `AS`, `CT`, `TIAS`, `RS`, `RR` …
    pub kind: String,
    /// The number: kbit/s for `AS` and `CT`, bit/s for `TIAS` (RFC 3890), `RS` and `RR` (RFC 3556).
    pub value: u64,
}

/// `a=` (RFC 8866 §5.13). `Debug` does not show the keys of `a=crypto`.
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The name, as written; compared without case by the views.
    pub name: String,
    /// What follows the colon; `None` for a flag.
    pub value: Option<String>,
}

impl Origin {
    /// The origin of a session of ours on `address`.
    #[must_use]
    pub fn new(username: &str, session_id: u64, version: u64, address: IpAddr) -> Self {
        Self {
            username: username.to_owned(),
            session_id: session_id.to_string(),
            session_version: version.to_string(),
            network: "IN".to_owned(),
            address_type: address_type(address).to_owned(),
            address: address.to_string(),
        }
    }

    /// Whether both name the same session, whatever the version.
    #[must_use]
    pub fn same_session(&self, other: &Self) -> bool {
        self.username == other.username
            && self.session_id == other.session_id
            && self.network == other.network
            && self.address_type == other.address_type
            && self.address == other.address
    }
}

impl Connection {
    /// The unicast connection line for `address`.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self {
            network: "IN".to_owned(),
            address_type: address_type(address).to_owned(),
            address: address.to_string(),
        }
    }

    /// The address, where it is one: `None` for host names and other networks. A zone (`%eth0`) means nothing
    /// here and is left out. The written form decides, not `IP4`/`IP6`: some phones contradict themselves.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        if !self.network.eq_ignore_ascii_case("IN") {
            return None;
        }
        let address = self.address.split('/').next().unwrap_or_default();
        address.split('%').next().unwrap_or_default().parse().ok()
    }

    /// Whether the address is `0.0.0.0` or `::`, which RFC 3264 §8.4 keeps as the old way to say hold.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// Whether the address is a group's.
    #[must_use]
    pub fn is_multicast(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_multicast())
    }

    /// `/ttl`, `/ttl/count` (IPv4) or `/count` (IPv6), where written.
    #[must_use]
    pub fn multicast_scope(&self) -> Option<MulticastScope> {
        let mut parts = self.address.split('/');
        let v4 = parts.next()?.parse::<std::net::Ipv4Addr>().is_ok();
        let first = parts.next()?;
        if v4 {
            let count = parts.next().map_or(Some(1), |text| text.parse().ok())?;
            Some(MulticastScope {
                ttl: Some(first.parse().ok()?),
                count,
            })
        } else {
            Some(MulticastScope {
                ttl: None,
                count: first.parse().ok()?,
            })
        }
    }
}

impl Attribute {
    /// An attribute without value.
    #[must_use]
    pub fn flag(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: None,
        }
    }

    /// An attribute with a value.
    #[must_use]
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value: Some(value.into()),
        }
    }

    /// Whether this is the attribute `name`, without case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match &self.value {
            Some(_) if self.is("crypto") => Some("(hidden)"),
            value => value.as_deref(),
        };
        f.debug_struct("Attribute")
            .field("name", &self.name)
            .field("value", &value)
            .finish()
    }
}

impl Bandwidth {
    /// The bound in bit/s where the kind is one for the whole stream.
    #[must_use]
    pub fn bits_per_second(&self) -> Option<u64> {
        if self.kind.eq_ignore_ascii_case("TIAS") {
            Some(self.value)
        } else if self.kind.eq_ignore_ascii_case("AS") || self.kind.eq_ignore_ascii_case("CT") {
            self.value.checked_mul(1000)
        } else {
            None
        }
    }
}

fn address_type(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(address_type: &str, address: &str) -> Connection {
        Connection {
            network: "IN".to_owned(),
            address_type: address_type.to_owned(),
            address: address.to_owned(),
        }
    }

    #[test]
    fn multicast_forms() {
        let both = connection("IP4", "233.252.0.1/127/3");
        assert!(both.is_multicast());
        assert_eq!(
            both.multicast_scope(),
            Some(MulticastScope {
                ttl: Some(127),
                count: 3
            })
        );
        let ttl = connection("IP4", "233.252.0.1/127");
        assert_eq!(
            ttl.multicast_scope(),
            Some(MulticastScope {
                ttl: Some(127),
                count: 1
            })
        );
        let v6 = connection("IP6", "FF15::101/3");
        assert!(v6.is_multicast());
        assert_eq!(v6.multicast_scope(), Some(MulticastScope { ttl: None, count: 3 }));
        assert_eq!(connection("IP4", "233.252.0.1/nine").multicast_scope(), None);
        assert_eq!(connection("IP4", "192.0.2.1").multicast_scope(), None);
    }

    #[test]
    fn addresses() {
        assert_eq!(connection("IP6", "fe80::1%eth0").ip(), "fe80::1".parse().ok());
        assert_eq!(connection("IP4", "phone.example.org").ip(), None);
        assert!(connection("IP4", "0.0.0.0").is_unspecified());
        assert!(connection("IP6", "::").is_unspecified());
        let atm = Connection {
            network: "ATM".to_owned(),
            ..connection("NSAP", "1.2.3.4")
        };
        assert_eq!(atm.ip(), None);
    }

    #[test]
    fn bandwidth_units() {
        let of = |kind: &str| {
            Bandwidth {
                kind: kind.to_owned(),
                value: 64,
            }
            .bits_per_second()
        };
        assert_eq!(of("AS"), Some(64_000));
        assert_eq!(of("TIAS"), Some(64));
        assert_eq!(of("RR"), None);
    }

    #[test]
    fn origin_identity_ignores_version() {
        let address = "192.0.2.1".parse().unwrap();
        let one = Origin::new("-", 7, 1, address);
        assert!(one.same_session(&Origin::new("-", 7, 2, address)));
        assert!(!one.same_session(&Origin::new("-", 8, 1, address)));
    }
}
