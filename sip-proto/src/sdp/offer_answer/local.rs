//! What this side brings to an offer or an answer.

use std::net::IpAddr;

use super::extras::LocalExtras;
use crate::sdp::attributes::{Direction, RtpMap};

/// A codec with its payload type and parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioFormat {
    /// The encoding's name: `opus`, `PCMU`, `PCMA`, `G722`.
    pub encoding: String,
    /// The RTP clock rate in Hz (8000 for G.722, 48000 for Opus, whatever they sample at).
    pub clock_rate: u32,
    /// Channels as signalled: 2 for Opus always (RFC 7587 §7), else 1.
    pub channels: u8,
    /// In [`LocalMedia`] the number wished for in our offers; in a result the number on the wire.
    pub payload_type: u8,
    /// The text of `a=fmtp` after the payload type.
    pub fmtp: Option<String>,
}

impl AudioFormat {
    /// Opus under a dynamic payload type, with our parameters (see [`crate::sdp::OpusParams`]).
    #[must_use]
    pub fn opus(payload_type: u8, fmtp: Option<String>) -> Self {
        Self {
            encoding: "opus".to_owned(),
            clock_rate: 48_000,
            channels: 2,
            payload_type,
            fmtp,
        }
    }

    /// G.711 µ-law.
    #[must_use]
    pub fn pcmu() -> Self {
        Self::narrow("PCMU", 0)
    }

    /// G.711 A-law.
    #[must_use]
    pub fn pcma() -> Self {
        Self::narrow("PCMA", 8)
    }

    /// G.722 at 64 kbit/s.
    #[must_use]
    pub fn g722() -> Self {
        Self::narrow("G722", 9)
    }

    /// Whether this is Opus.
    #[must_use]
    pub fn is_opus(&self) -> bool {
        self.encoding.eq_ignore_ascii_case("opus")
    }

    /// Whether both are the same codec, whatever their payload types and parameters.
    #[must_use]
    pub fn same_codec(&self, other: &Self) -> bool {
        self.matches(&other.encoding, other.clock_rate, other.channels)
    }

    pub(super) fn matches_map(&self, map: &RtpMap) -> bool {
        self.matches(&map.encoding, map.clock_rate, map.channels)
    }

    fn matches(&self, encoding: &str, clock_rate: u32, channels: u8) -> bool {
        // RFC 7587 §7: Opus is always signalled with two channels, so a phone that forgets them means the same.
        self.encoding.eq_ignore_ascii_case(encoding)
            && self.clock_rate == clock_rate
            && (self.channels == channels || self.is_opus())
    }

    fn narrow(encoding: &str, payload_type: u8) -> Self {
        Self {
            encoding: encoding.to_owned(),
            clock_rate: 8_000,
            channels: 1,
            payload_type,
            fmtp: None,
        }
    }
}

/// Whether media is protected by SRTP with keys in the description (RFC 4568).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SrtpPolicy {
    /// Never: `RTP/AVP` only, keys are passed over.
    #[default]
    Off,
    /// Where the peer can. Offered as keys under `RTP/AVP`, which a phone without SRTP passes over; taken under `RTP/AVP`
    /// and `RTP/SAVP`.
    Optional,
    /// Always: offered as `RTP/SAVP`, and an offer without keys is refused.
    Required,
}

/// This side's audio: where it listens and what it can and wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// The address that the peer is to send to.
    pub address: IpAddr,
    /// The RTP port; 0 in an offer takes the stream out of the session.
    pub rtp_port: u16,
    /// The RTCP port if it is not the next one.
    pub rtcp_port: Option<u16>,
    /// Whether RTP and RTCP may share the RTP port: offered, and agreed to when the peer offers it.
    pub rtcp_mux: bool,
    /// The codecs, the best first.
    pub formats: Vec<AudioFormat>,
    /// Whether telephone-event (RFC 4733) is offered and agreed to.
    pub telephone_event: bool,
    /// The packet length in ms that this side likes to receive.
    pub ptime: Option<u8>,
    /// The longest packet in ms that this side takes.
    pub maxptime: Option<u8>,
    /// What this side wants: `SendOnly` or `Inactive` holds the peer.
    pub direction: Direction,
    /// Levels, comfort noise, extended reports.
    pub extras: LocalExtras,
    /// In answers: our order of codecs instead of the offerer's.
    pub prefer_local: bool,
    /// Whether the media is protected. Anything but `Off` needs a session with a seed for keys
    /// ([`super::OfferAnswer::with_keys`]).
    pub srtp: SrtpPolicy,
}

impl LocalMedia {
    /// Audio at `address` and `rtp_port` with Opus (96), G.722, PCMU, PCMA and telephone-event, both ways,
    /// RTCP on the next port or muxed, our order of codecs in answers.
    #[must_use]
    pub fn new(address: IpAddr, rtp_port: u16) -> Self {
        Self {
            address,
            rtp_port,
            rtcp_port: None,
            rtcp_mux: true,
            formats: vec![
                AudioFormat::opus(96, Some("useinbandfec=1".to_owned())),
                AudioFormat::g722(),
                AudioFormat::pcmu(),
                AudioFormat::pcma(),
            ],
            telephone_event: true,
            ptime: Some(20),
            maxptime: None,
            direction: Direction::SendRecv,
            extras: LocalExtras::default(),
            prefer_local: true,
            srtp: SrtpPolicy::Off,
        }
    }
}
