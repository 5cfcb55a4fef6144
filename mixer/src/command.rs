//! What the control side tells a room, and what it gets back to free.
//!
//! Everything that allocates is built before, off the tick ([`crate::Leg::build`], [`LegUpdate::build`]), and
//! travels in a `Box`; whatever a command replaces returns as [`Trash`], so that the media thread never frees.
//! Deliberately absent: SDP; who negotiates translates it to these types.

use crate::limits::{MAX_EVENT_TYPES, MAX_PAYLOAD_TYPES};
use crate::send::SendSide;
use crate::share::Encoders;
use crate::source::DecoderSet;
use crate::{Leg, MixerError};
use arrayvec::ArrayVec;
use rtp_media::codec::CodecKind;
use rtp_media::codec::opus::toc::Bandwidth;
use rtp_media::codec::opus::{OpusConfig, Signal};
use rtp_media::session::SessionConfig;
use rtp_media::units::{PayloadType, SampleRate};
use std::net::SocketAddr;
use std::time::Duration;

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
    /// G.711: comfort noise is agreed on under this payload type (RFC 3389). It is understood, and in silence it is
    /// all that is sent, each 400 ms.
    pub comfort_noise: Option<PayloadType>,
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
            comfort_noise: None,
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

    /// Comfort noise is sent: G.722's predictor should not be left alone, Opus has its own way.
    pub(crate) fn sends_noise(&self) -> bool {
        self.comfort_noise.is_some() && matches!(self.kind, CodecKind::Pcmu | CodecKind::Pcma)
    }

    pub(crate) fn opus(&self, expected_loss: u8) -> OpusConfig {
        OpusConfig {
            bitrate: self.bitrate,
            complexity: self.complexity,
            cbr: self.cbr,
            // Silence is known before the codec: its own detector isn't needed.
            dtx: false,
            fec: self.fec,
            expected_loss: if self.fec { expected_loss } else { 0 },
            max_bandwidth: self.max_bandwidth,
            signal: Signal::Auto,
        }
    }
}

/// What was agreed on beside codecs; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LegExtras {
    /// Identifier of the element that tells the level of what the leg sends (RFC 6464).
    pub audio_level: Option<u8>,
    /// Identifier of the element in which we tell the levels of all who are mixed (RFC 6465).
    pub mixer_levels: Option<u8>,
    /// The peer wants VoIP metrics (RFC 3611).
    pub voip_metrics: bool,
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
    /// Levels and reports.
    pub extras: LegExtras,
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
    /// Levels and reports.
    pub extras: LegExtras,
}

pub(crate) type ReceiveMap = ArrayVec<(PayloadType, CodecKind), MAX_PAYLOAD_TYPES>;
pub(crate) type EventMap = ArrayVec<(PayloadType, SampleRate), MAX_EVENT_TYPES>;

/// A re-negotiation, ready to be applied in a tick: SSRC, sequence numbers and RTP state of the leg are kept.
pub struct LegUpdate {
    pub(crate) direction: Direction,
    pub(crate) remote_rtp: Option<SocketAddr>,
    pub(crate) remote_rtcp: Option<SocketAddr>,
    pub(crate) rtcp_mux: bool,
    pub(crate) extras: LegExtras,
    pub(crate) receive: ReceiveMap,
    pub(crate) telephone_events: EventMap,
    /// Replaces the leg's, when the settings differ.
    pub(crate) send: SendSide,
    /// Decoders for kinds that the leg may not have.
    pub(crate) decoders: DecoderSet,
    /// Of what it brought, what the room had no need for.
    pub(crate) surplus: Encoders,
}

impl LegUpdate {
    /// Builds the codecs; call it off the media thread.
    ///
    /// # Errors
    /// A codec could not be built, or too many payload types.
    pub fn build(config: &LegUpdateConfig) -> Result<Box<Self>, MixerError> {
        Ok(Box::new(Self {
            direction: config.direction,
            remote_rtp: config.remote_rtp,
            remote_rtcp: config.remote_rtcp,
            rtcp_mux: config.rtcp_mux,
            extras: config.extras,
            receive: receive_map(&config.receive)?,
            telephone_events: event_map(&config.telephone_events)?,
            send: SendSide::build(config.send)?,
            decoders: DecoderSet::build(&config.receive)?,
            surplus: Encoders::default(),
        }))
    }
}

pub(crate) fn receive_map(list: &[(PayloadType, CodecKind)]) -> Result<ReceiveMap, MixerError> {
    ReceiveMap::try_from(list).map_err(|_| MixerError::TooManyPayloadTypes(list.len()))
}

pub(crate) fn event_map(list: &[(PayloadType, SampleRate)]) -> Result<EventMap, MixerError> {
    EventMap::try_from(list).map_err(|_| MixerError::TooManyPayloadTypes(list.len()))
}

/// A short tone for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Announcement {
    /// Two rising tones: somebody came.
    Joined,
    /// Two falling tones: somebody left.
    Left,
}

/// What a room can be told.
pub enum Command {
    /// A new leg.
    Add(Box<Leg>),
    /// A leg goes; send its BYE before with [`crate::Room::leave`].
    Remove(LegKey),
    /// A re-negotiation.
    Update(LegKey, Box<LegUpdate>),
    /// The leg isn't heard, or is again.
    Mute(LegKey, bool),
    /// Sends a digit (RFC 4733) of this duration to the leg.
    SendDigit(LegKey, char, Duration),
    /// Plays a tone to all.
    Announce(Announcement),
}

/// What a command leaves over; drop it off the media thread.
pub enum Trash {
    /// A removed leg.
    Leg(Box<Leg>),
    /// A leg that was not taken: the room is full, or has a leg of that key.
    Refused(Box<Leg>),
    /// Of what a leg that was taken brought, what the room had no need for.
    Encoders(Encoders),
    /// An applied update, now holding what it replaced; or one whose leg is gone.
    Update(Box<LegUpdate>),
}
