//! Building our descriptions: the session's lines, our audio line, refused lines.

use std::net::IpAddr;

use super::extras::ExtraLines;
use super::local::{AudioFormat, LocalMedia};
use crate::sdp::attributes::{Direction, RtpMap};
use crate::sdp::crypto::Crypto;
use crate::sdp::model::{Attribute, Connection, Line, MediaDescription, Origin, SessionDescription};

/// What our audio line is to say.
pub(super) struct AudioSection<'a> {
    pub local: &'a LocalMedia,
    pub protocol: &'a str,
    pub mid: Option<&'a str>,
    /// Codecs with the payload types to write.
    pub formats: &'a [AudioFormat],
    /// telephone-event: payload type, clock, events.
    pub events: &'a [(u8, u32, &'a str)],
    pub ptime: Option<u8>,
    pub direction: Direction,
    pub rtcp_mux: bool,
    /// Our keys.
    pub cryptos: &'a [Crypto],
    pub extras: ExtraLines,
}

/// A description with these media; the caller puts in the true origin.
pub(super) fn description(address: IpAddr, media: Vec<MediaDescription>) -> SessionDescription {
    SessionDescription {
        origin: Origin::new("-", 0, 0, address),
        name: "-".to_owned(),
        lines: vec![
            Line::Connection(Connection::new(address)),
            Line::Other('t', "0 0".to_owned()),
        ],
        media,
    }
}

/// The same line with port 0 (RFC 3264 §6): media, protocol and formats as they were, and `mid` so that the
/// line can still be named (RFC 5888 §6).
pub(super) fn refused(line: &MediaDescription) -> MediaDescription {
    let mid = line.mid().map(|mid| Line::Attribute(Attribute::new("mid", mid)));
    MediaDescription {
        media: line.media.clone(),
        port: 0,
        port_count: None,
        protocol: line.protocol.clone(),
        formats: line.formats.clone(),
        lines: mid.into_iter().collect(),
    }
}

/// Our audio line.
pub(super) fn audio(section: &AudioSection<'_>) -> MediaDescription {
    let mut formats = Vec::new();
    let mut attributes = Vec::new();
    for format in section.formats {
        let map = RtpMap {
            payload_type: format.payload_type,
            encoding: format.encoding.clone(),
            clock_rate: format.clock_rate,
            channels: format.channels,
        };
        describe(&mut formats, &mut attributes, &map, format.fmtp.as_deref());
    }
    for (payload_type, clock_rate, events) in section.events {
        let encoding = "telephone-event".to_owned();
        let map = RtpMap {
            payload_type: *payload_type,
            encoding,
            clock_rate: *clock_rate,
            channels: 1,
        };
        describe(&mut formats, &mut attributes, &map, Some(events));
    }
    if let Some(noise) = section.extras.comfort_noise {
        let map = RtpMap {
            payload_type: noise,
            encoding: "CN".to_owned(),
            clock_rate: 8_000,
            channels: 1,
        };
        describe(&mut formats, &mut attributes, &map, None);
    }
    let local = section.local;
    let mut put = |name: &str, value: Option<String>| {
        attributes.push(Attribute {
            name: name.to_owned(),
            value,
        });
    };
    if let Some(ptime) = section.ptime {
        put("ptime", Some(ptime.to_string()));
    }
    if let Some(maxptime) = local.maxptime {
        put("maxptime", Some(maxptime.to_string()));
    }
    put(section.direction.as_str(), None);
    // RFC 3605 §2.1: only needed where RTCP is neither on the next port nor muxed.
    if let Some(port) = local.rtcp_port.filter(|port| {
        let muxed = section.rtcp_mux && *port == local.rtp_port;
        !muxed && Some(*port) != local.rtp_port.checked_add(1)
    }) {
        put("rtcp", Some(port.to_string()));
    }
    if section.rtcp_mux {
        put("rtcp-mux", None);
    }
    for crypto in section.cryptos {
        put("crypto", Some(crypto.to_string()));
    }
    if let Some(mid) = section.mid {
        put("mid", Some(mid.to_owned()));
    }
    attributes.extend(section.extras.attributes.iter().cloned());
    MediaDescription {
        media: "audio".to_owned(),
        port: local.rtp_port,
        port_count: None,
        protocol: section.protocol.to_owned(),
        formats,
        lines: attributes.into_iter().map(Line::Attribute).collect(),
    }
}

fn describe(formats: &mut Vec<String>, attributes: &mut Vec<Attribute>, map: &RtpMap, fmtp: Option<&str>) {
    formats.push(map.payload_type.to_string());
    attributes.push(Attribute::new("rtpmap", map.to_string()));
    if let Some(fmtp) = fmtp.filter(|fmtp| !fmtp.is_empty()) {
        attributes.push(Attribute::new("fmtp", format!("{} {fmtp}", map.payload_type)));
    }
}
