//! Via: where a request came from and where its response goes (RFC 3261 §20.42, RFC 3581).

use super::Params;
use crate::error::SyntaxError;
use crate::grammar::{self, is_token, split_before, split_byte, trim};
use crate::ids::Branch;
use crate::uri::{Host, HostRef, scan_host_port};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Transport named in a Via; unknown ones are kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ViaTransport {
    /// `UDP`
    Udp,
    /// `TCP`
    Tcp,
    /// `TLS`
    Tls,
    /// `WS` (RFC 7118)
    Ws,
    /// `WSS` (RFC 7118)
    Wss,
    /// Any other, in the peer's spelling.
    Other(String),
}

impl ViaTransport {
    /// Reads a transport name, whatever its case.
    pub fn parse(text: &str) -> Self {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
            .unwrap_or_else(|| Self::Other(text.to_owned()))
    }

    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
            Self::Other(name) => name,
        }
    }
}

/// One Via element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// Transport of the hop.
    pub transport: ViaTransport,
    /// Host of sent-by.
    pub host: Host,
    /// Port of sent-by, if named.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport` and others.
    pub params: Params,
}

impl Via {
    /// A Via of our own with a branch and an empty `rport` (RFC 3581 §3).
    pub fn new(transport: ViaTransport, host: Host, port: Option<u16>, branch: &Branch) -> Self {
        let mut params = Params::new();
        params.set("branch", branch.as_str());
        params.set_flag("rport");
        Self {
            transport,
            host,
            port,
            params,
        }
    }

    /// The branch, if there is one (RFC 2543 had none).
    pub fn branch(&self) -> Option<Branch> {
        self.params.get("branch").map(Branch::new)
    }

    /// Address that the next element saw the request come from.
    pub fn received(&self) -> Option<IpAddr> {
        Host::parse_bare(self.params.get("received")?).ok()?.ip()
    }

    /// RFC 3581: `None` when not there, `Some(None)` when asked for, the port once filled in.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params
            .contains("rport")
            .then(|| self.params.get("rport").and_then(|port| port.parse().ok()))
    }

    /// Fills in `received`. An IPv6 address stands there without brackets (RFC 3261 §25.1), which
    /// every parser that follows RFC 5118 §4.5 takes.
    pub fn set_received(&mut self, address: IpAddr) {
        self.params.set("received", address.to_string());
    }

    /// Fills in `rport`.
    pub fn set_rport(&mut self, port: u16) {
        self.params.set("rport", port.to_string());
    }

    /// sent-by as host and port, for transaction matching (RFC 3261 §17.2.3).
    pub fn sent_by(&self) -> (&Host, Option<u16>) {
        (&self.host, self.port)
    }
}

/// A checked Via that borrows its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ViaParts<'a> {
    transport: &'a str,
    host: HostRef<'a>,
    port: Option<u16>,
    params: &'a str,
}

/// Finds the parts of a Via element and checks them.
pub(crate) fn scan_via(text: &str) -> Result<ViaParts<'_>, SyntaxError> {
    let (protocol, rest) = split_byte(text, b'/').ok_or(SyntaxError::BadProtocol)?;
    let (version, rest) = split_byte(rest, b'/').ok_or(SyntaxError::BadProtocol)?;
    if !trim(protocol).eq_ignore_ascii_case("SIP") || trim(version) != "2.0" {
        return Err(SyntaxError::BadProtocol);
    }
    let rest = trim(rest);
    let (transport, rest) = rest.split_once([' ', '\t']).ok_or(SyntaxError::BadHost)?;
    if !is_token(transport) {
        return Err(SyntaxError::BadToken);
    }
    let (sent_by, params) = split_before(rest, b';');
    let (host, port) = scan_host_port(sent_by)?;
    grammar::params(params).try_for_each(|param| param.map(drop))?;
    Ok(ViaParts {
        transport,
        host,
        port,
        params,
    })
}

impl ViaParts<'_> {
    pub(crate) fn to_via(self) -> Result<Via, SyntaxError> {
        Ok(Via {
            transport: ViaTransport::parse(self.transport),
            host: self.host.to_host(),
            port: self.port,
            params: Params::parse(self.params)?,
        })
    }
}

impl FromStr for Via {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        scan_via(text)?.to_via()
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport.as_str(), self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(text: &str) -> Via {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn white_space_ports_and_unknown_transports() {
        let spaced = via("SIP  / 2.0  / TCP     spindle.example.com : 5070  ; branch  =   z9hG4bK9ikj8");
        assert_eq!(
            spaced.to_string(),
            "SIP/2.0/TCP spindle.example.com:5070;branch=z9hG4bK9ikj8"
        );
        assert_eq!(
            via("SIP/2.0/unknown t4.example.com").transport,
            ViaTransport::Other("unknown".into())
        );
        assert_eq!(via("sip/2.0/udp h").transport, ViaTransport::Udp);
        assert_eq!(via("SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z").port, Some(6050));
    }

    #[test]
    fn received_and_rport() {
        // RFC 5118 §4.5: with and without brackets.
        let expected: IpAddr = "2001:db8::9:255".parse().unwrap();
        assert_eq!(
            via("SIP/2.0/UDP h;received=2001:db8::9:255;branch=z").received(),
            Some(expected)
        );
        let mut v = via("SIP/2.0/UDP h;received=[2001:db8::9:255];rport;branch=z");
        assert_eq!(v.received(), Some(expected));
        assert_eq!(v.rport(), Some(None));
        v.set_rport(5071);
        v.set_received("192.0.2.1".parse().unwrap());
        assert_eq!(v.rport(), Some(Some(5071)));
        assert_eq!(
            v.to_string(),
            "SIP/2.0/UDP h;received=192.0.2.1;rport=5071;branch=z"
        );
        assert_eq!(via("SIP/2.0/UDP h").rport(), None);
        assert_eq!(via("SIP/2.0/UDP h").branch(), None);
    }

    #[test]
    fn malformed_vias_are_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/7.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0 h",
            "SIP/2.0/UDP 192.0.2.15;;",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h x",
            "SIP/2.0/ h",
            "SIP/2.0/UDP 2001:db8::1",
            "SIP/2.0/UDP h, SIP/2.0/UDP g",
        ] {
            assert!(bad.parse::<Via>().is_err(), "{bad}");
        }
    }
}
