//! Typed views of a description, read from its lines on demand.
//!
//! Names compare without case. Where an attribute stands twice the first one counts. A media description's
//! direction, connection and bandwidth fall back to the session's; everything else named here belongs to the
//! media description (RFC 8866 §6).

use super::attributes::{Direction, Fmtp, Group, RtcpPort, RtpMap, parse_payload_type};
use super::model::{Attribute, Bandwidth, Connection, Line, MediaDescription, SessionDescription};

impl SessionDescription {
    /// The session's attributes in their order.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.lines.iter().filter_map(Line::attribute)
    }

    /// The first session attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        find(&self.lines, name)
    }

    /// The session's `c=`, which holds for media that have none.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        self.lines.iter().find_map(Line::connection)
    }

    /// The session's `b=` lines.
    pub fn bandwidths(&self) -> impl Iterator<Item = &Bandwidth> {
        self.lines.iter().filter_map(Line::bandwidth)
    }

    /// The session's direction, which holds for media that have none.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        direction(&self.lines)
    }

    /// The `a=group` lines.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        self.attributes()
            .filter(|attribute| attribute.is("group"))
            .filter_map(|attribute| {
                let mut words = attribute.value.as_deref()?.split_ascii_whitespace();
                let semantics = words.next()?.to_owned();
                Some(Group {
                    semantics,
                    mids: words.map(str::to_owned).collect(),
                })
            })
    }

    /// The connection that holds for `media` of this description.
    #[must_use]
    pub fn connection_of<'a>(&'a self, media: &'a MediaDescription) -> Option<&'a Connection> {
        media.connection().or_else(|| self.connection())
    }

    /// The direction that holds for `media` of this description.
    #[must_use]
    pub fn direction_of(&self, media: &MediaDescription) -> Direction {
        media.direction().or_else(|| self.direction()).unwrap_or_default()
    }

    /// The bandwidth in bit/s that holds for `media`: `TIAS` before `AS`, the media's before the session's.
    #[must_use]
    pub fn bandwidth_of(&self, media: &MediaDescription) -> Option<u64> {
        let of = |lines: &[Line]| {
            let known = |kind: &str| {
                let mut all = lines.iter().filter_map(Line::bandwidth);
                all.find(|one| one.kind.eq_ignore_ascii_case(kind))
                    .and_then(Bandwidth::bits_per_second)
            };
            known("TIAS").or_else(|| known("AS"))
        };
        of(&media.lines).or_else(|| of(&self.lines))
    }
}

impl MediaDescription {
    /// The attributes in their order.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.lines.iter().filter_map(Line::attribute)
    }

    /// The first attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        find(&self.lines, name)
    }

    /// Whether the attribute is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// The value of the first attribute of that name, without the spaces around it.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.attribute(name)
            .and_then(|attribute| attribute.value.as_deref())
            .map(str::trim)
    }

    /// The `c=` of this media description.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        self.lines.iter().find_map(Line::connection)
    }

    /// The direction written here.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        direction(&self.lines)
    }

    /// The payload types of the `m=` line in their order, each once.
    #[must_use]
    pub fn payload_types(&self) -> Vec<u8> {
        let mut seen = [false; 128];
        let all = self
            .formats
            .iter()
            .filter_map(|format| parse_payload_type(format));
        all.filter(|payload_type| match seen.get_mut(usize::from(*payload_type)) {
            Some(seen) => !std::mem::replace(seen, true),
            None => false,
        })
        .collect()
    }

    /// What a payload type of this media description stands for: its own `a=rtpmap`, or for audio the static
    /// assignment. Other `m=` lines do not matter: numbers are local to their line.
    #[must_use]
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap> {
        let of_number = |value: &&str| number_of(value) == Some(payload_type);
        self.values("rtpmap")
            .filter(of_number)
            .find_map(RtpMap::parse)
            .or_else(|| {
                let audio = self.media.eq_ignore_ascii_case("audio");
                audio.then(|| RtpMap::static_audio(payload_type)).flatten()
            })
    }

    /// The text after the format in `a=fmtp` for that payload type.
    #[must_use]
    pub fn fmtp_text(&self, payload_type: u8) -> Option<&str> {
        self.values("fmtp").find_map(|value| {
            let (format, parameters) = value.split_once(char::is_whitespace)?;
            (parse_payload_type(format)? == payload_type).then(|| parameters.trim())
        })
    }

    /// The parameters of a payload type.
    #[must_use]
    pub fn fmtp(&self, payload_type: u8) -> Option<Fmtp> {
        self.fmtp_text(payload_type).map(Fmtp::from_parameters)
    }

    /// `a=ptime` in ms (RFC 8866 §6.4).
    #[must_use]
    pub fn ptime(&self) -> Option<u8> {
        self.milliseconds("ptime")
    }

    /// `a=maxptime` in ms (RFC 8866 §6.5).
    #[must_use]
    pub fn maxptime(&self) -> Option<u8> {
        self.milliseconds("maxptime")
    }

    /// `a=minptime` in ms, which baresip writes.
    #[must_use]
    pub fn minptime(&self) -> Option<u8> {
        self.milliseconds("minptime")
    }

    /// `a=rtcp` (RFC 3605).
    #[must_use]
    pub fn rtcp(&self) -> Option<RtcpPort> {
        self.value("rtcp").and_then(RtcpPort::parse)
    }

    /// Whether `a=rtcp-mux` is there (RFC 5761 §5.1.1).
    #[must_use]
    pub fn rtcp_mux(&self) -> bool {
        self.has("rtcp-mux")
    }

    /// `a=mid` (RFC 5888 §4).
    #[must_use]
    pub fn mid(&self) -> Option<&str> {
        self.value("mid").filter(|mid| !mid.is_empty())
    }

    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.attributes()
            .filter(move |attribute| attribute.is(name))
            .filter_map(|one| one.value.as_deref().map(str::trim))
    }

    fn milliseconds(&self, name: &str) -> Option<u8> {
        // Some phones write `20.0`; what lies beyond 255 ms is as if nothing was written.
        let text = self.value(name)?.split('.').next()?;
        text.parse().ok().filter(|ms| *ms > 0)
    }
}

impl Line {
    fn attribute(&self) -> Option<&Attribute> {
        match self {
            Self::Attribute(attribute) => Some(attribute),
            _ => None,
        }
    }

    fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    fn bandwidth(&self) -> Option<&Bandwidth> {
        match self {
            Self::Bandwidth(bandwidth) => Some(bandwidth),
            _ => None,
        }
    }
}

fn find<'a>(lines: &'a [Line], name: &str) -> Option<&'a Attribute> {
    lines
        .iter()
        .filter_map(Line::attribute)
        .find(|attribute| attribute.is(name))
}

fn direction(lines: &[Line]) -> Option<Direction> {
    lines
        .iter()
        .filter_map(Line::attribute)
        .find_map(|attribute| Direction::parse(&attribute.name))
}

/// The payload type that `a=rtpmap` or `a=fmtp` begins with.
fn number_of(value: &str) -> Option<u8> {
    value.split_whitespace().next().and_then(parse_payload_type)
}
