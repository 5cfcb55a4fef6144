//! What goes with the audio beside codecs: level elements in the RTP header, comfort noise, extended reports.
//!
//! The levels are RFC 6464's (a sender tells the level of its own audio) and RFC 6465's (a mixer tells the level of
//! each contributor), under identifiers of `a=extmap` (RFC 8285 §5). Comfort noise is RFC 3389's, under its static number 13
//! at 8000 Hz alone. Extended reports are the VoIP metrics of RFC 3611, asked for with `a=rtcp-xr` (§5).
//!
//! Deliberately absent: identifiers above 14, which need the two-byte form, and other header extensions: they are
//! left out of answers, which refuses them.

use super::local::LocalMedia;
use crate::sdp::attributes::Direction;
use crate::sdp::model::{Attribute, MediaDescription, SessionDescription};

const SOURCE_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const MIXER_LEVELS: &str = "urn:ietf:params:rtp-hdrext:csrc-audio-level";
/// Identifiers of the one-byte form (RFC 8285 §4.2).
const IDENTIFIERS: std::ops::RangeInclusive<u8> = 1..=14;
/// CN at 8000 Hz (RFC 3389 §4, RFC 3551 §6).
const COMFORT_NOISE: u8 = 13;

/// What this side can and wants to do; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LocalExtras {
    /// Send the level of our audio with each packet (RFC 6464).
    pub send_level: bool,
    /// Take such levels.
    pub receive_level: bool,
    /// Send the levels of all that is mixed (RFC 6465).
    pub send_mixer_levels: bool,
    /// Take such levels.
    pub receive_mixer_levels: bool,
    /// Comfort noise both ways (RFC 3389).
    pub comfort_noise: bool,
    /// VoIP metrics both ways (RFC 3611).
    pub voip_metrics: bool,
}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NegotiatedExtras {
    /// Identifier under which we send the level of our audio.
    pub send_level: Option<u8>,
    /// Identifier under which the peer's comes.
    pub receive_level: Option<u8>,
    /// Identifier under which we send the levels of the contributors.
    pub send_mixer_levels: Option<u8>,
    /// Identifier under which the peer's come.
    pub receive_mixer_levels: Option<u8>,
    /// Payload type of comfort noise, both ways.
    pub comfort_noise: Option<u8>,
    /// The peer wants VoIP metrics.
    pub voip_metrics: bool,
}

/// What an audio line says of them.
#[derive(Debug, Default)]
pub(super) struct ExtraLines {
    pub comfort_noise: Option<u8>,
    pub attributes: Vec<Attribute>,
}

/// An `a=extmap` line.
struct ExtMap<'a> {
    identifier: u8,
    direction: Direction,
    uri: &'a str,
    parameters: Option<&'a str>,
}

impl<'a> ExtMap<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let (number, rest) = value.trim().split_once(char::is_whitespace)?;
        let (identifier, direction) = match number.split_once('/') {
            Some((identifier, direction)) => (identifier, Direction::parse(direction)?),
            None => (number, Direction::SendRecv),
        };
        let rest = rest.trim_start();
        let (uri, parameters) = match rest.split_once(char::is_whitespace) {
            Some((uri, parameters)) => (uri, Some(parameters.trim()).filter(|text| !text.is_empty())),
            None => (rest, None),
        };
        Some(Self {
            identifier: identifier.parse().ok().filter(|id| IDENTIFIERS.contains(id))?,
            direction,
            uri,
            parameters,
        })
    }

    fn find(line: &'a MediaDescription, uri: &str) -> Option<Self> {
        line.attributes()
            .filter(|attribute| attribute.is("extmap"))
            .filter_map(|attribute| Self::parse(attribute.value.as_deref()?))
            .find(|map| map.uri.eq_ignore_ascii_case(uri))
    }
}

fn extmap(identifier: u8, direction: Direction, uri: &str, parameters: Option<&str>) -> Attribute {
    let direction = match direction {
        Direction::SendRecv => String::new(),
        one_way => format!("/{}", one_way.as_str()),
    };
    let parameters = parameters.map_or(String::new(), |text| format!(" {text}"));
    Attribute::new("extmap", format!("{identifier}{direction} {uri}{parameters}"))
}

/// The words of `a=rtcp-xr`, the line's or the session's; `None` without the attribute.
fn wants_metrics(description: &SessionDescription, line: &MediaDescription) -> Option<bool> {
    let attribute = line
        .attribute("rtcp-xr")
        .or_else(|| description.attribute("rtcp-xr"))?;
    let words = attribute.value.as_deref().unwrap_or_default();
    Some(
        words
            .split_ascii_whitespace()
            .any(|word| word.eq_ignore_ascii_case("voip-metrics")),
    )
}

/// What of an offer we agree to.
pub(super) fn from_offer(
    offer: &SessionDescription,
    line: &MediaDescription,
    local: &LocalMedia,
) -> NegotiatedExtras {
    let wanted = &local.extras;
    // RFC 8285 §7: the answer's direction lies within the offer's, seen from the other side.
    let agreed = |uri: &str, send: bool, receive: bool| {
        let map = ExtMap::find(line, uri);
        let both = map.map(|map| (map.identifier, map.direction.reversed()));
        (
            both.filter(|(_, way)| way.sends() && send).map(|(id, _)| id),
            both.filter(|(_, way)| way.receives() && receive)
                .map(|(id, _)| id),
        )
    };
    let (send_level, receive_level) = agreed(SOURCE_LEVEL, wanted.send_level, wanted.receive_level);
    let (send_mixer_levels, receive_mixer_levels) = agreed(
        MIXER_LEVELS,
        wanted.send_mixer_levels,
        wanted.receive_mixer_levels,
    );
    NegotiatedExtras {
        send_level,
        receive_level,
        send_mixer_levels,
        receive_mixer_levels,
        comfort_noise: comfort_noise(line).filter(|_| wanted.comfort_noise),
        voip_metrics: wanted.voip_metrics && wants_metrics(offer, line) == Some(true),
    }
}

/// What the peer's answer leaves of our offer.
pub(super) fn from_answer(
    offered: &MediaDescription,
    answer: &SessionDescription,
    line: &MediaDescription,
) -> NegotiatedExtras {
    let agreed = |uri: &str| {
        let ours = ExtMap::find(offered, uri);
        let theirs = ExtMap::find(line, uri);
        let both = ours.zip(theirs).map(|(ours, theirs)| {
            // RFC 8285 §7: the answer keeps the offer's number; the number it has is the one on the wire.
            (theirs.identifier, ours.direction.and(theirs.direction.reversed()))
        });
        (
            both.filter(|(_, way)| way.sends()).map(|(id, _)| id),
            both.filter(|(_, way)| way.receives()).map(|(id, _)| id),
        )
    };
    let (send_level, receive_level) = agreed(SOURCE_LEVEL);
    let (send_mixer_levels, receive_mixer_levels) = agreed(MIXER_LEVELS);
    NegotiatedExtras {
        send_level,
        receive_level,
        send_mixer_levels,
        receive_mixer_levels,
        comfort_noise: comfort_noise(line).filter(|_| comfort_noise(offered).is_some()),
        voip_metrics: offered.has("rtcp-xr") && wants_metrics(answer, line) == Some(true),
    }
}

/// What our answer says.
pub(super) fn answered(
    offer: &SessionDescription,
    line: &MediaDescription,
    local: &LocalMedia,
    agreed: &NegotiatedExtras,
) -> ExtraLines {
    let mut attributes = Vec::new();
    for (uri, send, receive) in [
        (SOURCE_LEVEL, agreed.send_level, agreed.receive_level),
        (
            MIXER_LEVELS,
            agreed.send_mixer_levels,
            agreed.receive_mixer_levels,
        ),
    ] {
        if let Some(identifier) = send.or(receive) {
            let parameters = ExtMap::find(line, uri).and_then(|map| map.parameters);
            let direction = Direction::from_parts(send.is_some(), receive.is_some());
            attributes.push(extmap(identifier, direction, uri, parameters));
        }
    }
    // RFC 3611 §5.2: an answer without parameters says that the attribute is understood and not granted.
    match wants_metrics(offer, line) {
        Some(true) if agreed.voip_metrics => attributes.push(Attribute::new("rtcp-xr", "voip-metrics")),
        Some(_) if local.extras.voip_metrics => attributes.push(Attribute {
            name: "rtcp-xr".to_owned(),
            value: None,
        }),
        _ => {}
    }
    ExtraLines {
        comfort_noise: agreed.comfort_noise,
        attributes,
    }
}

/// What our offer says. In a running session the identifiers stay (RFC 8285 §6).
pub(super) fn offered(local: &LocalMedia, before: Option<&NegotiatedExtras>) -> ExtraLines {
    let wanted = &local.extras;
    let before = before.copied().unwrap_or_default();
    let known = (
        before.send_level.or(before.receive_level),
        before.send_mixer_levels.or(before.receive_mixer_levels),
    );
    let free = |taken: Option<u8>| IDENTIFIERS.into_iter().find(|id| Some(*id) != taken);
    let source = known.0.or_else(|| free(known.1));
    let mixer = known.1.or_else(|| free(source));
    let mut attributes = Vec::new();
    for (identifier, uri, send, receive) in [
        (source, SOURCE_LEVEL, wanted.send_level, wanted.receive_level),
        (
            mixer,
            MIXER_LEVELS,
            wanted.send_mixer_levels,
            wanted.receive_mixer_levels,
        ),
    ] {
        if let Some(identifier) = identifier.filter(|_| send || receive) {
            attributes.push(extmap(
                identifier,
                Direction::from_parts(send, receive),
                uri,
                None,
            ));
        }
    }
    if wanted.voip_metrics {
        attributes.push(Attribute::new("rtcp-xr", "voip-metrics"));
    }
    ExtraLines {
        comfort_noise: wanted.comfort_noise.then_some(COMFORT_NOISE),
        attributes,
    }
}

fn comfort_noise(line: &MediaDescription) -> Option<u8> {
    let is_noise = |number: &u8| {
        line.rtpmap(*number)
            .is_none_or(|map| map.encoding.eq_ignore_ascii_case("CN") && map.clock_rate == 8_000)
    };
    line.payload_types()
        .into_iter()
        .find(|number| *number == COMFORT_NOISE)
        .filter(is_noise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::offer_answer::OfferAnswer;
    use crate::sdp::parse;

    fn local(extras: LocalExtras) -> LocalMedia {
        LocalMedia {
            extras,
            ..LocalMedia::new("192.0.2.1".parse().unwrap(), 4_000)
        }
    }

    const MIXER: LocalExtras = LocalExtras {
        send_level: false,
        receive_level: true,
        send_mixer_levels: true,
        receive_mixer_levels: false,
        comfort_noise: true,
        voip_metrics: true,
    };

    fn answered_to(lines: &str) -> (String, NegotiatedExtras) {
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{}",
            lines.replace('\n', "\r\n")
        );
        let mut machine = OfferAnswer::new(1);
        machine.receive_offer(parse(offer.as_bytes()).unwrap()).unwrap();
        let (answer, agreed) = machine.create_answer(&local(MIXER)).unwrap();
        (answer.to_string(), agreed.audio.extras)
    }

    #[test]
    fn a_browsers_offer_is_answered_each_way_that_a_mixer_needs() {
        let (answer, extras) = answered_to(
            "m=audio 5000 RTP/AVP 0 13\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on\n\
             a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\n\
             a=extmap:5/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level\na=rtcp-xr:rcvr-rtt=all:10000 voip-metrics\n",
        );
        assert!(
            answer.contains("a=extmap:1/recvonly urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("a=extmap:5/sendonly urn:ietf:params:rtp-hdrext:csrc-audio-level\r\n"),
            "{answer}"
        );
        assert!(answer.contains("a=rtcp-xr:voip-metrics\r\n"), "{answer}");
        assert!(answer.contains("m=audio 4000 RTP/AVP 0 13\r\n"), "{answer}");
        assert!(!answer.contains("abs-send-time"));
        assert_eq!(
            extras,
            NegotiatedExtras {
                receive_level: Some(1),
                send_mixer_levels: Some(5),
                comfort_noise: Some(13),
                voip_metrics: true,
                ..NegotiatedExtras::default()
            }
        );
    }

    #[test]
    fn what_was_not_offered_or_cannot_be_is_not_answered() {
        for (lines, xr) in [
            ("m=audio 5000 RTP/AVP 0\n", false),
            // The wrong way round, a number of the two-byte form, nonsense.
            (
                "m=audio 5000 RTP/AVP 0\na=extmap:1/recvonly urn:ietf:params:rtp-hdrext:ssrc-audio-level\n",
                false,
            ),
            (
                "m=audio 5000 RTP/AVP 0\na=extmap:15 urn:ietf:params:rtp-hdrext:ssrc-audio-level\n",
                false,
            ),
            (
                "m=audio 5000 RTP/AVP 0\na=extmap:0 urn:ietf:params:rtp-hdrext:ssrc-audio-level\na=extmap\na=extmap:x y\n",
                false,
            ),
            (
                "m=audio 5000 RTP/AVP 0\na=extmap:4/sendonly urn:ietf:params:rtp-hdrext:csrc-audio-level\n",
                false,
            ),
            // 13 bound to something else.
            ("m=audio 5000 RTP/AVP 0 13\na=rtpmap:13 CN/16000\n", false),
            ("m=audio 5000 RTP/AVP 0\na=rtcp-xr:pkt-loss-rle\n", true),
        ] {
            let (answer, extras) = answered_to(lines);
            assert_eq!(extras, NegotiatedExtras::default(), "{lines}");
            assert!(
                !answer.contains("extmap") && answer.contains("RTP/AVP 0\r\n"),
                "{answer}"
            );
            assert_eq!(answer.contains("a=rtcp-xr\r\n"), xr, "{answer}");
        }
    }

    #[test]
    fn phone_and_mixer_agree_whoever_offers_and_keep_their_numbers() {
        let phone = local(LocalExtras {
            send_level: true,
            receive_mixer_levels: true,
            comfort_noise: true,
            voip_metrics: true,
            ..LocalExtras::default()
        });
        for mixer_offers in [false, true] {
            let (mut mixer, mut leg) = (OfferAnswer::new(1), OfferAnswer::new(2));
            for _ in 0..2 {
                let (ours, theirs) = if mixer_offers {
                    leg.receive_offer(mixer.create_offer(&local(MIXER)).unwrap())
                        .unwrap();
                    let (answer, theirs) = leg.create_answer(&phone).unwrap();
                    (mixer.receive_answer(answer).unwrap(), theirs)
                } else {
                    mixer.receive_offer(leg.create_offer(&phone).unwrap()).unwrap();
                    let (answer, ours) = mixer.create_answer(&local(MIXER)).unwrap();
                    (ours, leg.receive_answer(answer).unwrap())
                };
                let (ours, theirs) = (ours.audio.extras, theirs.audio.extras);
                assert_eq!((ours.receive_level, ours.send_mixer_levels), (Some(1), Some(2)));
                assert_eq!(
                    (theirs.send_level, theirs.receive_mixer_levels),
                    (Some(1), Some(2))
                );
                assert_eq!((ours.send_level, theirs.receive_level), (None, None));
                assert!(ours.voip_metrics && theirs.voip_metrics);
                assert_eq!((ours.comfort_noise, theirs.comfort_noise), (Some(13), Some(13)));
            }
        }
    }
}
