//! Reading the peer's description against ours: which audio line, which codecs, where to, which way.

use std::net::{IpAddr, SocketAddr};

use super::Offered;
use super::extras::{self, NegotiatedExtras};
use super::local::{AudioFormat, LocalMedia};
use super::negotiated::NegotiatedAudio;
use super::protection;
use super::refusal::{AnswerError, Refusal};
use crate::sdp::attributes::{Direction, Fmtp};
use crate::sdp::crypto::Crypto;
use crate::sdp::model::{Connection, MediaDescription, SessionDescription};
use crate::sdp::opus::OpusParams;

/// Packet lengths in ms that the media path sends. The media clock ticks at 20 ms, so packets of 10 ms leave in
/// pairs: they are sent only to a peer that takes nothing longer (`maxptime`). To `ptime`, which is a wish
/// (RFC 8866 §6.4), we answer 20, which every receiver takes (RFC 3551 §4.2).
const PACKET_LENGTHS: [u8; 4] = [10, 20, 40, 60];

/// Packet length where nobody asks for one (RFC 3551 §4.2).
const DEFAULT_PTIME: u8 = 20;

/// The clocks for which telephone-event is agreed to: those of the codecs we have.
const EVENT_CLOCKS: [u32; 2] = [8_000, 48_000];

/// An offer's audio line that fits us. Its `srtp` is still missing.
pub(super) struct Agreed {
    pub audio: NegotiatedAudio,
    /// The peer's key line to agree to.
    pub crypto: Option<Crypto>,
}

/// The audio line of an offer to answer: the one in use, if it fits, else the first that fits.
pub(super) fn from_offer(
    offer: &SessionDescription,
    local: &LocalMedia,
    before: Option<&NegotiatedAudio>,
) -> Result<Agreed, Refusal> {
    let mut first_reason = None;
    let in_use = before.map(|audio| audio.mline);
    let srtp = before.and_then(|audio| audio.srtp.as_ref());
    let indices = in_use.into_iter().chain(0..offer.media.len());
    for mline in indices {
        let Some(line) = offer.media.get(mline).filter(|line| is_live_audio(line)) else {
            continue;
        };
        let crypto = protection::acceptable(line, local.srtp, srtp);
        match crypto.and_then(|crypto| agree(offer, mline, line, local, crypto)) {
            Ok(agreed) => return Ok(agreed),
            Err(reason) => first_reason = first_reason.or(Some(reason)),
        }
    }
    Err(first_reason.unwrap_or(Refusal::NoAudio))
}

/// What the peer's answer makes of our offer.
pub(super) fn from_answer(
    offered: &Offered,
    answer: &SessionDescription,
    before: Option<&NegotiatedAudio>,
) -> Result<NegotiatedAudio, AnswerError> {
    let (lines, answers) = (&offered.description.media, &answer.media);
    if lines.len() != answers.len() {
        return Err(AnswerError::MediaLines {
            offered: lines.len(),
            answered: answers.len(),
        });
    }
    for (index, (line, answered)) in lines.iter().zip(answers).enumerate() {
        if !line.media.eq_ignore_ascii_case(&answered.media) {
            return Err(AnswerError::MediaType(index));
        }
        if answered.port != 0 && !same_protocol(&line.protocol, &answered.protocol) {
            return Err(AnswerError::Protocol(index));
        }
    }
    let (Some(line), Some(answered)) = (lines.get(offered.mline), answers.get(offered.mline)) else {
        return Err(AnswerError::AudioRefused);
    };
    if line.port == 0 || answered.port == 0 {
        return before.map(disabled).ok_or(AnswerError::AudioRefused);
    }
    let connection = answer.connection_of(answered).ok_or(AnswerError::Address)?;
    let found = answered_formats(offered, answered);
    let send = found.send.first().cloned().ok_or(AnswerError::NoCommonFormat)?;
    let rtcp_mux = line.rtcp_mux() && answered.rtcp_mux();
    let srtp = protection::answered(offered, answered)?;
    let parts = Parts {
        found,
        send,
        rtcp_mux,
        wanted: offered.direction,
        ptime: offered.ptime,
    };
    Ok(NegotiatedAudio {
        mid: line.mid().map(str::to_owned),
        srtp,
        extras: extras::from_answer(line, answer, answered),
        ..assemble(answer, offered.mline, answered, connection, parts)
    })
}

/// The stream taken out of the session.
pub(super) fn disabled(before: &NegotiatedAudio) -> NegotiatedAudio {
    NegotiatedAudio {
        disabled: true,
        remote_rtp: None,
        remote_rtcp: None,
        direction: Direction::Inactive,
        ..before.clone()
    }
}

/// The events to answer with: 16 (flash) only to those who offered it (RFC 4733 §2.5.1.1, §3.2).
pub(super) fn answered_events(offered: Option<&str>) -> &'static str {
    let covers_flash = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<u16>().ok();
        number(first)
            .zip(number(last))
            .is_some_and(|(first, last)| (first..=last).contains(&16))
    };
    if offered.is_some_and(|list| list.split(',').any(covers_flash)) {
        "0-16"
    } else {
        "0-15"
    }
}

/// Codecs and events in common, in the order of the answer.
#[derive(Default)]
struct Found {
    send: Vec<AudioFormat>,
    receive: Vec<AudioFormat>,
    events: Vec<(u8, u32)>,
    receive_events: Vec<(u8, u32)>,
}

struct Parts {
    found: Found,
    send: AudioFormat,
    rtcp_mux: bool,
    wanted: Direction,
    ptime: Option<u8>,
}

fn is_live_audio(line: &MediaDescription) -> bool {
    line.media.eq_ignore_ascii_case("audio") && line.port != 0
}

/// Whether an answer's protocol goes with the offered one. AVP and AVPF differ in feedback timing only, and
/// some phones mix them up; clear and protected media are never taken for each other.
fn same_protocol(offered: &str, answered: &str) -> bool {
    let both = |family: fn(&str) -> bool| family(offered) && family(answered);
    offered.eq_ignore_ascii_case(answered) || both(protection::is_clear) || both(protection::is_sdes)
}

fn agree(
    offer: &SessionDescription,
    mline: usize,
    line: &MediaDescription,
    local: &LocalMedia,
    crypto: Option<Crypto>,
) -> Result<Agreed, Refusal> {
    let connection = offer.connection_of(line).ok_or(Refusal::Address)?;
    if !connection.network.eq_ignore_ascii_case("IN") {
        return Err(Refusal::Network);
    }
    if connection.is_multicast() {
        return Err(Refusal::Multicast);
    }
    let found = offered_formats(line, local);
    let send = found.send.first().cloned().ok_or(Refusal::NoCommonFormat)?;
    // RFC 5761 §5.1.1: the answer has rtcp-mux only if the offer had it.
    let rtcp_mux = local.rtcp_mux && line.rtcp_mux();
    let parts = Parts {
        found,
        send,
        rtcp_mux,
        wanted: local.direction,
        ptime: local.ptime,
    };
    Ok(Agreed {
        audio: NegotiatedAudio {
            extras: extras::from_offer(offer, line, local),
            ..assemble(offer, mline, line, connection, parts)
        },
        crypto,
    })
}

/// What both can do, under the offerer's payload types, as RFC 3264 §6.1 recommends: the numbers are the same
/// both ways.
fn offered_formats(line: &MediaDescription, local: &LocalMedia) -> Found {
    let mut found = Found::default();
    let mut matches: Vec<(usize, AudioFormat, AudioFormat)> = Vec::new();
    for payload_type in line.payload_types() {
        let Some(map) = line.rtpmap(payload_type) else {
            continue;
        };
        if map.encoding.eq_ignore_ascii_case("telephone-event") {
            if local.telephone_event && EVENT_CLOCKS.contains(&map.clock_rate) {
                found.events.push((payload_type, map.clock_rate));
            }
            continue;
        }
        let mine = local
            .formats
            .iter()
            .enumerate()
            .find(|(_, format)| format.matches_map(&map));
        if let Some((rank, format)) = mine {
            let fmtp = line.fmtp_text(payload_type).map(str::to_owned);
            let send = AudioFormat {
                payload_type,
                fmtp,
                ..format.clone()
            };
            matches.push((
                rank,
                send,
                AudioFormat {
                    payload_type,
                    ..format.clone()
                },
            ));
        }
    }
    if local.prefer_local {
        matches.sort_by_key(|(rank, _, _)| *rank);
    }
    for (_, send, receive) in matches {
        found.send.push(send);
        found.receive.push(receive);
    }
    found.receive_events.clone_from(&found.events);
    found
}

/// What of our offer is in the answer. RFC 3264 §6.1, §7: the peer sends under our numbers, we under the
/// peer's, which may differ.
fn answered_formats(offered: &Offered, answered: &MediaDescription) -> Found {
    let mut found = Found::default();
    for payload_type in answered.payload_types() {
        let event_clock = match answered.rtpmap(payload_type) {
            Some(map) if map.encoding.eq_ignore_ascii_case("telephone-event") => Some(map.clock_rate),
            Some(_) => None,
            None => offered
                .events
                .iter()
                .find(|(ours, _)| *ours == payload_type)
                .map(|(_, clock)| *clock),
        };
        if let Some(clock) = event_clock {
            if let Some(ours) = offered.events.iter().find(|(_, known)| *known == clock) {
                push_once(&mut found.events, (payload_type, clock));
                push_once(&mut found.receive_events, *ours);
            }
            continue;
        }
        let ours = offered
            .formats
            .iter()
            .find(|format| match answered.rtpmap(payload_type) {
                Some(map) => format.matches_map(&map),
                // A number without rtpmap can only mean what it meant in the offer.
                None => format.payload_type == payload_type,
            });
        if let Some(ours) = ours {
            let fmtp = answered.fmtp_text(payload_type).map(str::to_owned);
            found.send.push(AudioFormat {
                payload_type,
                fmtp,
                ..ours.clone()
            });
            push_once(&mut found.receive, ours.clone());
        }
    }
    found
}

fn push_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn assemble(
    remote: &SessionDescription,
    mline: usize,
    line: &MediaDescription,
    connection: &Connection,
    parts: Parts,
) -> NegotiatedAudio {
    let Parts {
        found,
        send,
        rtcp_mux,
        wanted,
        ptime,
    } = parts;
    let ip = connection.ip().filter(|ip| !ip.is_unspecified());
    let remote_rtp = ip.map(|ip| SocketAddr::new(ip, line.port));
    let opus = match &send.fmtp {
        Some(fmtp) if send.is_opus() => OpusParams::from_fmtp(&Fmtp::from_parameters(fmtp)),
        _ => OpusParams::default(),
    };
    // RFC 3264 §8.4: the unspecified address says that the peer takes nothing, whatever the direction says.
    let peer = remote.direction_of(line);
    let peer = Direction::from_parts(peer.sends(), peer.receives() && !connection.is_unspecified());
    NegotiatedAudio {
        mline,
        mid: line.mid().map(str::to_owned),
        disabled: false,
        remote_rtp,
        remote_rtcp: remote_rtcp(line, ip, rtcp_mux),
        rtcp_mux,
        ptime: packet_length(line, opus.minptime, ptime),
        maxptime: line.maxptime(),
        direction: wanted.and(peer.reversed()),
        remote_bandwidth: remote.bandwidth_of(line),
        opus,
        send,
        receive: found.receive,
        telephone_events: found.events,
        receive_events: found.receive_events,
        srtp: None,
        extras: NegotiatedExtras::default(),
    }
}

fn remote_rtcp(line: &MediaDescription, ip: Option<IpAddr>, rtcp_mux: bool) -> Option<SocketAddr> {
    let ip = ip?;
    if rtcp_mux {
        return Some(SocketAddr::new(ip, line.port));
    }
    match line.rtcp().filter(|rtcp| rtcp.port != 0) {
        Some(rtcp) => {
            let own = rtcp.ip().filter(|ip| !ip.is_unspecified());
            Some(SocketAddr::new(own.unwrap_or(ip), rtcp.port))
        }
        None => line.port.checked_add(1).map(|port| SocketAddr::new(ip, port)),
    }
}

/// The packet length to send: the longest of ours that is not over the peer's `ptime` and `maxptime`, unless
/// that is under its `minptime`.
fn packet_length(line: &MediaDescription, opus_minptime: Option<u8>, ours: Option<u8>) -> u8 {
    let wanted = line.ptime().or(ours).unwrap_or(DEFAULT_PTIME);
    let most = wanted.max(DEFAULT_PTIME).min(line.maxptime().unwrap_or(u8::MAX));
    let least = line.minptime().max(opus_minptime).unwrap_or(0);
    let [shortest, .., longest] = PACKET_LENGTHS;
    let fitting = PACKET_LENGTHS
        .into_iter()
        .rev()
        .find(|ms| *ms <= most)
        .unwrap_or(shortest);
    if fitting >= least {
        return fitting;
    }
    PACKET_LENGTHS
        .into_iter()
        .find(|ms| *ms >= least)
        .unwrap_or(longest)
}
