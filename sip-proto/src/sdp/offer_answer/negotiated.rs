//! What both sides agreed on.

use std::net::SocketAddr;

use super::extras::NegotiatedExtras;
use super::local::AudioFormat;
use crate::sdp::attributes::Direction;
use crate::sdp::crypto::{CryptoSuite, KeyMaterial};
use crate::sdp::model::SessionDescription;
use crate::sdp::opus::OpusParams;

/// The result of one completed exchange of offer and answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The one audio stream in use.
    pub audio: NegotiatedAudio,
    /// Whether anything about the audio differs from before this exchange. A session refresh changes nothing,
    /// and then nothing must be touched.
    pub changed: bool,
    /// Our description.
    pub local: SessionDescription,
    /// The peer's description.
    pub remote: SessionDescription,
}

/// How the audio is protected. A direction whose key is the same as before this exchange must keep its context, with
/// its rollover counter; one whose key differs starts a new one (RFC 4568 §7.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatedSrtp {
    /// The tag of the line that was agreed to.
    pub tag: u32,
    /// The suite, both ways.
    pub suite: CryptoSuite,
    /// Our key: for what we send.
    pub local: KeyMaterial,
    /// The peer's key: for what we receive.
    pub remote: KeyMaterial,
}

/// The agreed audio stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatedAudio {
    /// The index of its `m=` line.
    pub mline: usize,
    /// Its `a=mid`, if it has one.
    pub mid: Option<String>,
    /// Whether the stream is out of the session for now (port 0 in a later exchange). All else then tells what
    /// held before, except `direction`, which is `Inactive`, and the remote addresses, which are `None`.
    pub disabled: bool,
    /// Where RTP goes, as signalled. `None` where the peer named a host or the unspecified address: only
    /// latching tells then.
    pub remote_rtp: Option<SocketAddr>,
    /// Where RTCP goes, as signalled.
    pub remote_rtcp: Option<SocketAddr>,
    /// Whether RTP and RTCP share one port, both ways.
    pub rtcp_mux: bool,
    /// What we send: the codec with the peer's payload type, and the peer's wishes in `fmtp`.
    pub send: AudioFormat,
    /// All that may arrive: our payload types, and our own `fmtp`.
    pub receive: Vec<AudioFormat>,
    /// telephone-event as we may send it: the peer's payload type and the clock rate in Hz. Choose the one
    /// whose clock is `send.clock_rate`, else the first.
    pub telephone_events: Vec<(u8, u32)>,
    /// telephone-event as it may arrive: our payload type and the clock rate in Hz. The same as
    /// `telephone_events` unless the peer answered under other numbers than ours.
    pub receive_events: Vec<(u8, u32)>,
    /// Milliseconds of audio in a packet that we send: 10, 20, 40 or 60.
    pub ptime: u8,
    /// The longest packet in ms that the peer takes.
    pub maxptime: Option<u8>,
    /// Our direction: `sends()` means that we send.
    pub direction: Direction,
    /// The peer's bound in bit/s for what we send, from `b=`.
    pub remote_bandwidth: Option<u64>,
    /// Levels, comfort noise, extended reports.
    pub extras: NegotiatedExtras,
    /// The peer's wishes for Opus; the defaults if `send` is not Opus.
    pub opus: OpusParams,
    /// SRTP, if the audio is protected.
    pub srtp: Option<NegotiatedSrtp>,
}

impl NegotiatedAudio {
    /// The telephone-event payload type to send with, and its clock rate.
    #[must_use]
    pub fn telephone_event(&self) -> Option<(u8, u32)> {
        let same_clock = self
            .telephone_events
            .iter()
            .find(|(_, clock)| *clock == self.send.clock_rate);
        same_clock.or_else(|| self.telephone_events.first()).copied()
    }
}
