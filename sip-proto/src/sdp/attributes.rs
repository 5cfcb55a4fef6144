//! The types that attributes are read into: direction, payload type mapping, format parameters, RTCP port, group.
//! The views that find them are methods of the descriptions.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use super::model::Connection;

/// Which way media flows, seen from the side that wrote it (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways; what holds when nothing is written.
    #[default]
    SendRecv,
    /// The writer only sends.
    SendOnly,
    /// The writer only receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The direction that sends and receives as told.
    #[must_use]
    pub const fn from_parts(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether the writer sends.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer receives.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same streams seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self::from_parts(self.receives(), self.sends())
    }

    /// What both allow.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self::from_parts(self.sends() && other.sends(), self.receives() && other.receives())
    }

    /// The attribute's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The direction of that name, without case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|direction| direction.as_str().eq_ignore_ascii_case(name))
    }
}

impl Display for Direction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a payload type stands for: `a=rtpmap` (RFC 8866 §6.6) or the static assignment of RFC 3551 §6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpMap {
    /// The RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// The encoding's name as written; compared without case.
    pub encoding: String,
    /// The RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Audio channels; 1 when nothing is written.
    pub channels: u8,
}

impl RtpMap {
    /// Reads the value of `a=rtpmap`.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (payload_type, encoding) = value.trim().split_once(char::is_whitespace)?;
        let mut parts = encoding.trim().split('/');
        let encoding = parts.next().filter(|name| !name.is_empty())?.to_owned();
        let clock_rate = parts.next()?.trim().parse().ok().filter(|rate| *rate > 0)?;
        let channels = match parts.next() {
            Some(text) => text.trim().parse().ok().filter(|count| *count > 0)?,
            None => 1,
        };
        Some(Self {
            payload_type: parse_payload_type(payload_type)?,
            encoding,
            clock_rate,
            channels,
        })
    }

    /// The audio assignments of RFC 3551 §6 (table 4), which hold without `a=rtpmap`. G.722's clock is 8000 by
    /// the erratum that RFC 3551 §4.5.2 records.
    #[must_use]
    pub fn static_audio(payload_type: u8) -> Option<Self> {
        let (encoding, clock_rate, channels) = match payload_type {
            0 => ("PCMU", 8_000, 1),
            3 => ("GSM", 8_000, 1),
            4 => ("G723", 8_000, 1),
            5 => ("DVI4", 8_000, 1),
            6 => ("DVI4", 16_000, 1),
            7 => ("LPC", 8_000, 1),
            8 => ("PCMA", 8_000, 1),
            9 => ("G722", 8_000, 1),
            10 => ("L16", 44_100, 2),
            11 => ("L16", 44_100, 1),
            12 => ("QCELP", 8_000, 1),
            13 => ("CN", 8_000, 1),
            14 => ("MPA", 90_000, 1),
            15 => ("G728", 8_000, 1),
            16 => ("DVI4", 11_025, 1),
            17 => ("DVI4", 22_050, 1),
            18 => ("G729", 8_000, 1),
            _ => return None,
        };
        Some(Self {
            payload_type,
            encoding: encoding.to_owned(),
            clock_rate,
            channels,
        })
    }
}

impl Display for RtpMap {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.payload_type, self.encoding, self.clock_rate)?;
        if self.channels == 1 {
            Ok(())
        } else {
            write!(f, "/{}", self.channels)
        }
    }
}

/// The parameters of a format: `a=fmtp` (RFC 8866 §6.15), cut at semicolons, without the spaces around.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fmtp {
    /// `name=value` pairs in their order; a part without `=` has no value (telephone-event's `0-15`).
    pub parameters: Vec<(String, Option<String>)>,
}

impl Fmtp {
    /// Reads what follows the format in `a=fmtp`.
    #[must_use]
    pub fn from_parameters(text: &str) -> Self {
        let parameters = text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| match part.split_once('=') {
                Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
                None => (part.to_owned(), None),
            })
            .collect();
        Self { parameters }
    }

    /// The value of a parameter; names compare without case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .parameters
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        value.as_deref()
    }
}

/// `a=rtcp`: where RTCP goes if not to the next port (RFC 3605).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcpPort {
    /// The port.
    pub port: u16,
    /// The address, if another than the media's.
    pub connection: Option<Connection>,
}

impl RtcpPort {
    /// Reads the value of `a=rtcp`.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split_ascii_whitespace();
        let port = parts.next()?.parse().ok()?;
        let connection = match (parts.next(), parts.next(), parts.next()) {
            (Some(network), Some(address_type), Some(address)) => Some(Connection {
                network: network.to_owned(),
                address_type: address_type.to_owned(),
                address: address.to_owned(),
            }),
            _ => None,
        };
        Some(Self { port, connection })
    }

    /// The address, if one was written that is an address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.connection.as_ref().and_then(Connection::ip)
    }
}

/// `a=group` (RFC 5888 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `BUNDLE`, `LS` …
    pub semantics: String,
    /// The `a=mid` values in the group.
    pub mids: Vec<String>,
}

/// Reads an RTP payload type.
#[must_use]
pub(crate) fn parse_payload_type(text: &str) -> Option<u8> {
    text.trim()
        .parse()
        .ok()
        .filter(|payload_type| *payload_type < 128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_algebra() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        assert_eq!(SendOnly.reversed(), RecvOnly);
        assert_eq!(SendRecv.reversed(), SendRecv);
        assert_eq!(SendOnly.and(RecvOnly), Inactive);
        assert_eq!(SendRecv.and(RecvOnly), RecvOnly);
        for direction in [SendRecv, SendOnly, RecvOnly, Inactive] {
            assert_eq!(Direction::parse(direction.as_str()), Some(direction));
        }
        assert_eq!(Direction::parse("sendrecv-ish"), None);
    }

    #[test]
    fn rtpmap_forms() {
        let opus = RtpMap::parse(" 96  opus/48000/2 ").unwrap();
        assert_eq!(
            (opus.payload_type, opus.clock_rate, opus.channels),
            (96, 48_000, 2)
        );
        assert_eq!(opus.to_string(), "96 opus/48000/2");
        for bad in [
            "",
            "96",
            "96 opus",
            "96 opus/0",
            "96 opus/x",
            "128 x/8000",
            "300 x/8000",
            "96 /8000",
            "9 a/1/0",
        ] {
            assert_eq!(RtpMap::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn fmtp_with_odd_spacing() {
        let fmtp = Fmtp::from_parameters("profile-level-id=42e01e; packetization-mode=1");
        assert_eq!(fmtp.get("Packetization-Mode"), Some("1"));
        assert_eq!(
            Fmtp::from_parameters("0-15").parameters,
            vec![("0-15".to_owned(), None)]
        );
        assert_eq!(Fmtp::from_parameters(" ; ;").parameters, vec![]);
    }

    #[test]
    fn rtcp_forms() {
        assert_eq!(
            RtcpPort::parse("53020").map(|rtcp| (rtcp.port, rtcp.ip())),
            Some((53_020, None))
        );
        let full = RtcpPort::parse("53020 IN IP6 2001:db8::1").unwrap();
        assert_eq!(full.ip(), "2001:db8::1".parse().ok());
        assert_eq!(RtcpPort::parse("none"), None);
    }
}
