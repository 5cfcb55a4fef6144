//! Stands in for the mixer's types until that crate has them; goes away then.

use rtp_media::codec::CodecKind;
use rtp_media::codec::opus::toc::Bandwidth;
use rtp_media::session::SessionConfig;
use rtp_media::units::{PayloadType, SampleRate};
use std::net::SocketAddr;

/// Names a leg of a room; chosen by the control side, never reused within a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegKey(pub u32);

/// Which way media flows, seen from us (RFC 8866 §6.7 after negotiation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// We send only: the peer listens.
    SendOnly,
    /// We receive only. A leg that *becomes* so has us on hold and isn't heard (its music on hold would disturb the
    /// room); one that was built so is a source, and is heard.
    RecvOnly,
    /// Nothing flows.
    Inactive,
}

impl Direction {
    /// We send RTP.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// We take RTP.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}

/// How to send audio to a leg. Legs with equal settings (but for the payload type) share an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecSettings {
    /// The codec.
    pub kind: CodecKind,
    /// The peer's payload type for it.
    pub payload_type: PayloadType,
    /// Packet time in ms; taken down to the next of 10, 20, 40 and 60.
    pub ptime_ms: u8,
    /// Opus: bits per second.
    pub bitrate: u32,
    /// Opus: 0 to 10.
    pub complexity: u8,
    /// Opus: constant bit rate.
    pub cbr: bool,
    /// Opus: silence may go unsent, but for one packet each 400 ms (peer's `usedtx`).
    pub dtx: bool,
    /// Opus: in-band FEC may be used (peer's `useinbandfec`); how much follows its receiver reports.
    pub fec: bool,
    /// Opus: widest band to code (peer's `maxplaybackrate`).
    pub max_bandwidth: Bandwidth,
}

impl CodecSettings {
    /// The defaults for a codec: 20 ms; Opus at 32 kbit/s, complexity 5, VBR, FEC allowed, fullband.
    pub const fn new(kind: CodecKind, payload_type: PayloadType) -> Self {
        Self {
            kind,
            payload_type,
            ptime_ms: 20,
            bitrate: 32_000,
            complexity: 5,
            cbr: false,
            dtx: false,
            fec: true,
            max_bandwidth: Bandwidth::Fullband,
        }
    }

    /// The packet time in effect, in ms.
    pub const fn packet_ms(&self) -> u8 {
        match self.ptime_ms {
            0..=19 => 10,
            20..=39 => 20,
            40..=59 => 40,
            _ => 60,
        }
    }
}

/// What a leg is built from.
#[derive(Debug, Clone)]
pub struct LegConfig {
    /// Its name.
    pub key: LegKey,
    /// SSRC, CNAME and clocks; the clocks are set from the codecs.
    pub session: SessionConfig,
    /// How to send.
    pub send: CodecSettings,
    /// Payload types that may arrive.
    pub receive: Vec<(PayloadType, CodecKind)>,
    /// Telephone-event payload types and their clocks.
    pub telephone_events: Vec<(PayloadType, SampleRate)>,
    /// Which way media flows.
    pub direction: Direction,
    /// Where SDP says RTP goes; the first valid packet's source overrides it.
    pub remote_rtp: Option<SocketAddr>,
    /// Where SDP says RTCP goes, when not muxed.
    pub remote_rtcp: Option<SocketAddr>,
    /// RTCP comes and goes on the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// Identifier of the audio level header extension, where negotiated (RFC 6464).
    pub audio_level_extension: Option<u8>,
    /// Randomness for SSRC, sequence numbers, timestamps and report intervals.
    pub seed: [u8; 32],
}

/// What an in-place change is built from: the outcome of a re-negotiation.
#[derive(Debug, Clone)]
pub struct LegUpdateConfig {
    /// How to send; equal settings change nothing.
    pub send: CodecSettings,
    /// Payload types that may arrive.
    pub receive: Vec<(PayloadType, CodecKind)>,
    /// Telephone-event payload types and their clocks.
    pub telephone_events: Vec<(PayloadType, SampleRate)>,
    /// Which way media flows.
    pub direction: Direction,
    /// Where SDP says RTP goes.
    pub remote_rtp: Option<SocketAddr>,
    /// Where SDP says RTCP goes.
    pub remote_rtcp: Option<SocketAddr>,
    /// RTCP on the RTP port.
    pub rtcp_mux: bool,
}

/// Something that happened to a room's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaEvent {
    /// The leg's first valid packet came from here, or its stream moved here.
    Latched {
        /// The leg.
        leg: LegKey,
        /// Source of its RTP.
        from: SocketAddr,
    },
    /// Who speaks, by a ranking with hysteresis; `None` after a while of silence.
    ActiveSpeaker {
        /// The leg.
        leg: Option<LegKey>,
    },
    /// A leg began or stopped to be audible.
    Talking {
        /// The leg.
        leg: LegKey,
        /// Began.
        talking: bool,
    },
    /// A key was pressed (RFC 4733); once for each press.
    Digit {
        /// The leg.
        leg: LegKey,
        /// `0`–`9`, `*`, `#`, `A`–`D`, `!` for flash.
        digit: char,
        /// How long it was held.
        duration_ms: u32,
    },
    /// No RTP for the configured time although some was due.
    Silent {
        /// The leg.
        leg: LegKey,
    },
    /// RTP again after [`MediaEvent::Silent`].
    Resumed {
        /// The leg.
        leg: LegKey,
    },
    /// The peer's RTCP said goodbye.
    PeerBye {
        /// The leg.
        leg: LegKey,
    },
}

/// Stand-in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LegStats {}
