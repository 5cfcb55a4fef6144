//! One stream pair (signatures; bodies follow).
use crate::rtp::{RtpHeader, RtpPacket};
use crate::units::{NtpTime, PayloadType, RtpTimestamp, SampleRate, SeqExt, Ssrc};
use std::time::{Duration, Instant};

/// What a session is built from.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Our SSRC; `None` draws one from the seed.
    pub ssrc: Option<Ssrc>,
    /// Canonical name for SDES, at most 255 bytes.
    pub cname: String,
    /// RTP clock of what we receive.
    pub receive_clock: SampleRate,
    /// RTP clock of what we send.
    pub send_clock: SampleRate,
    /// Session bandwidth in bit/s; 5 % of it are RTCP's (RFC 3550 §6.2).
    pub bandwidth: u32,
    /// Consecutive packets before a source is believed (RFC 3550 A.1), at least 1.
    pub min_sequential: u8,
}

/// What became of a received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Of the stream: hand it to the jitter buffer.
    Valid {
        /// Extended sequence number.
        seq: SeqExt,
    },
    /// The first packet of a source that follows another, or of the first source: reset decoder and jitter buffer, then hand it over.
    NewSource {
        /// Extended sequence number.
        seq: SeqExt,
    },
    /// Same source, but its sequence numbers restarted: reset the jitter buffer, then hand it over.
    Restarted {
        /// Extended sequence number.
        seq: SeqExt,
    },
    /// Of a source not yet believed: drop.
    Probation,
    /// A sequence number far off: drop; two in a row make `Restarted`.
    Jumped,
    /// Carries our own SSRC: drop. We chose another one, and [`RtpSession::poll_rtcp`] has a BYE to send.
    Collision,
    /// Carries an SSRC of ours again: our own stream looped back. Drop.
    Looped,
}

/// Counters of both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StreamStats {
    /// Packets sent.
    pub sent_packets: u64,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Packets received from the current source.
    pub received_packets: u64,
    /// Payload bytes received from the current source.
    pub received_bytes: u64,
    /// Packets that should have come (RFC 3550 A.3).
    pub expected: u64,
    /// Expected less received; negative with duplicates.
    pub lost: i64,
    /// Share lost in the last report interval, 0 to 1.
    pub fraction_lost: f32,
    /// Interarrival jitter (RFC 3550 A.8).
    pub jitter: Duration,
    /// Round-trip time by LSR and DLSR.
    pub rtt: Option<Duration>,
    /// Share of our packets that the peer lost in its last interval, 0 to 1.
    pub remote_fraction_lost: Option<f32>,
    /// Jitter that the peer sees.
    pub remote_jitter: Option<Duration>,
    /// Our packets that the peer lost in all.
    pub remote_lost: Option<i32>,
    /// SSRC of the current source.
    pub remote_ssrc: Option<Ssrc>,
}

/// What a received RTCP datagram contained for us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RtcpSummary {
    /// The current source said goodbye.
    pub bye: bool,
    /// It held a report about our stream: [`RtpSession::stats`] has news about loss and round trip.
    pub report_on_us: bool,
    /// Sender SSRC of the first packet.
    pub sender: Option<Ssrc>,
}

/// One stream pair.
#[derive(Debug)]
pub struct RtpSession {
    config: SessionConfig,
}

impl RtpSession {
    /// A session; nothing received, nothing sent.
    #[must_use]
    pub fn new(config: SessionConfig, _seed: [u8; 32], _now: Instant) -> Self {
        Self { config }
    }
    /// Our SSRC now; a collision changes it.
    #[must_use]
    pub fn ssrc(&self) -> Ssrc {
        self.config.ssrc.unwrap_or(Ssrc(0))
    }
    /// A random first timestamp (RFC 3550 §5.1).
    #[must_use]
    pub fn initial_timestamp(&self) -> RtpTimestamp {
        RtpTimestamp(0)
    }
    /// Judges and counts a received packet.
    pub fn on_rtp(&mut self, packet: &RtpPacket<'_>, _arrival: Instant) -> Verdict {
        Verdict::Valid { seq: SeqExt::first(packet.sequence()) }
    }
    /// As [`on_rtp`](Self::on_rtp) for payloads whose timestamp does not follow the media clock (telephone events): no jitter is measured.
    pub fn on_event_rtp(&mut self, packet: &RtpPacket<'_>, arrival: Instant) -> Verdict {
        self.on_rtp(packet, arrival)
    }
    /// Reads a received RTCP datagram.
    ///
    /// # Errors
    /// When it is not RTCP at all.
    pub fn on_rtcp(&mut self, _datagram: &[u8], _arrival: Instant) -> Result<RtcpSummary, crate::rtp::RtpError> {
        Ok(RtcpSummary::default())
    }
    /// The header of the next packet to send; [`sent`](Self::sent) makes it so.
    #[must_use]
    pub fn next_header<'a>(&self, marker: bool, payload_type: PayloadType, timestamp: RtpTimestamp, csrcs: &'a [Ssrc]) -> RtpHeader<'a> {
        RtpHeader { marker, payload_type, sequence: 0, timestamp, ssrc: self.ssrc(), csrcs }
    }
    /// A packet with [`next_header`](Self::next_header) was sent.
    pub fn sent(&mut self, _payload_len: usize, _timestamp: RtpTimestamp, _now: Instant) {}
    /// The peer's payload changed its clock.
    pub fn set_receive_clock(&mut self, clock: SampleRate) {
        self.config.receive_clock = clock;
    }
    /// We changed the clock of what we send.
    pub fn set_send_clock(&mut self, clock: SampleRate) {
        self.config.send_clock = clock;
    }
    /// When the next report is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
    /// Writes the report that is due into `buffer` (576 bytes suffice) and returns its length; `None` when nothing is due.
    pub fn poll_rtcp(&mut self, _now: Instant, _wall: NtpTime, _buffer: &mut [u8]) -> Option<usize> {
        None
    }
    /// Writes a final report with BYE; `None` when we never sent anything (RFC 3550 §6.3.7).
    pub fn bye(&mut self, _now: Instant, _wall: NtpTime, _buffer: &mut [u8]) -> Option<usize> {
        None
    }
    /// Counters.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        StreamStats::default()
    }
}
