//! One stream pair: what we send, what we receive, and the reports about both (RFC 3550).
//!
//! The peer is one member. Its packets are validated by sequence (A.1); another SSRC takes over once it has proved
//! itself with no packet of the old one between, and then the receiving state starts anew while the sending state
//! goes on. An SSRC equal to ours makes us choose another one and say BYE for the old one (§8.2).
//!
//! Deliberately absent: sockets and addresses ([`crate::latch`]), reception of several sources at once (a conference
//! leg has one), feedback; the metrics of an XR are made by [`crate::quality`], here they only travel.

mod source;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::limits::{COLLISION_HOLD, MAX_SDES_TEXT, MIN_SEQUENTIAL};
use crate::rtcp::schedule::Schedule;
use crate::rtcp::write::RtcpWriter;
use crate::rtcp::xr::{VoipMetrics, XrBlock, XrBlocks};
use crate::rtcp::{ReportBlock, ReportBlocks, RtcpError, RtcpPacket, SenderInfo, parse_compound};
use crate::rtp::{RtpHeader, RtpPacket};
use crate::units::{
    NtpTime, PayloadType, RtpTimestamp, SampleRate, SeqExt, Ssrc, from_short_ntp, to_short_ntp,
};
use source::{Source, Step};

/// Sent SRs that are remembered to measure the round trip: at five seconds each, more than any path is long.
const SENT_REPORTS: usize = 4;

/// What a session is built from.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Our SSRC; `None` draws one from the seed.
    pub ssrc: Option<Ssrc>,
    /// Canonical name for SDES; cut at 255 bytes.
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

impl SessionConfig {
    /// A session of one clock in both directions with a drawn SSRC and 64 kbit/s.
    #[must_use]
    pub const fn new(cname: String, clock: SampleRate) -> Self {
        Self {
            ssrc: None,
            cname,
            receive_clock: clock,
            send_clock: clock,
            bandwidth: 64_000,
            min_sequential: MIN_SEQUENTIAL,
        }
    }
}

/// What became of a received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Of the stream: hand it to the jitter buffer.
    Valid {
        /// Extended sequence number.
        seq: SeqExt,
    },
    /// Of the first source, or of one that follows another: reset decoder and jitter buffer, then hand it over.
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
    /// Carries our SSRC again so soon that it must be our own stream looped back, or names us as a contributor: drop.
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
    /// VoIP metrics that the peer reported about our stream (RFC 3611).
    pub remote_quality: Option<VoipMetrics>,
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
    /// Sender SSRC of the first packet that names one.
    pub sender: Option<Ssrc>,
}

#[derive(Debug, Clone, Copy)]
struct PeerReport {
    ssrc: Ssrc,
    ntp: NtpTime,
    rtp: RtpTimestamp,
    at: Instant,
}

#[derive(Debug)]
struct Sending {
    ssrc: Ssrc,
    next_seq: u16,
    initial_timestamp: RtpTimestamp,
    /// As SR carries them: of this SSRC, wrapping.
    packets: u32,
    bytes: u32,
    total_packets: u64,
    total_bytes: u64,
    last: Option<(RtpTimestamp, Instant)>,
    /// Middle NTP bits and time of the last SRs.
    reports: [Option<(u32, Instant)>; SENT_REPORTS],
    /// Times of the last two reports: who sent since the elder one writes an SR.
    previous: [Option<Instant>; 2],
    ever: bool,
}

/// One stream pair.
#[derive(Debug)]
pub struct RtpSession {
    config: SessionConfig,
    epoch: Instant,
    rng: ChaCha8Rng,
    schedule: Schedule,
    sending: Sending,
    source: Option<Source>,
    candidate: Option<Source>,
    peer_report: Option<PeerReport>,
    fraction_lost: u8,
    rtt: Option<Duration>,
    about_us: Option<ReportBlock>,
    collision: Option<Instant>,
    farewell: Option<Ssrc>,
    /// To go with the next report.
    quality: Option<VoipMetrics>,
    /// What the peer reported about us.
    remote_quality: Option<VoipMetrics>,
}

impl RtpSession {
    /// A session; nothing received, nothing sent.
    #[must_use]
    pub fn new(mut config: SessionConfig, seed: [u8; 32], now: Instant) -> Self {
        config
            .cname
            .truncate(config.cname.floor_char_boundary(MAX_SDES_TEXT));
        let mut rng = ChaCha8Rng::from_seed(seed);
        let schedule = Schedule::new(ChaCha8Rng::from_rng(&mut rng), config.bandwidth, now);
        let drawn = Ssrc(rng.next_u32());
        let sending = Sending {
            ssrc: config.ssrc.unwrap_or(drawn),
            // Below 2^15, so that packets lost at the start cannot make an SRTP receiver miss the first wrap
            // (RFC 3711 §3.3.1).
            next_seq: (rng.next_u32() >> 17) as u16,
            initial_timestamp: RtpTimestamp(rng.next_u32()),
            packets: 0,
            bytes: 0,
            total_packets: 0,
            total_bytes: 0,
            last: None,
            reports: [None; SENT_REPORTS],
            previous: [None; 2],
            ever: false,
        };
        Self {
            config,
            epoch: now,
            rng,
            schedule,
            sending,
            source: None,
            candidate: None,
            peer_report: None,
            fraction_lost: 0,
            rtt: None,
            about_us: None,
            collision: None,
            farewell: None,
            quality: None,
            remote_quality: None,
        }
    }

    /// Our SSRC now; a collision changes it.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        self.sending.ssrc
    }

    /// SSRC of the source that we hear.
    #[must_use]
    pub fn remote_ssrc(&self) -> Option<Ssrc> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// When the current source was last heard.
    #[must_use]
    pub fn last_heard(&self) -> Option<Instant> {
        self.source.as_ref().map(|source| source.heard)
    }

    /// A random first timestamp (RFC 3550 §5.1).
    #[must_use]
    pub const fn initial_timestamp(&self) -> RtpTimestamp {
        self.sending.initial_timestamp
    }

    /// Judges and counts a received packet.
    pub fn on_rtp(&mut self, packet: &RtpPacket<'_>, arrival: Instant) -> Verdict {
        let verdict = self.judge(packet, arrival);
        if let (Verdict::Valid { .. } | Verdict::NewSource { .. } | Verdict::Restarted { .. }, Some(source)) =
            (verdict, &mut self.source)
        {
            let since = arrival.saturating_duration_since(self.epoch);
            source.measure_jitter(packet.timestamp(), since, self.config.receive_clock);
        }
        verdict
    }

    /// As [`on_rtp`](Self::on_rtp) for payloads whose timestamp does not follow the media clock (telephone events):
    /// no jitter is measured.
    pub fn on_event_rtp(&mut self, packet: &RtpPacket<'_>, arrival: Instant) -> Verdict {
        self.judge(packet, arrival)
    }

    /// Reads a received RTCP datagram.
    ///
    /// # Errors
    /// When the datagram as a whole is not RTCP; nothing is changed then.
    pub fn on_rtcp(&mut self, datagram: &[u8], arrival: Instant) -> Result<RtcpSummary, RtcpError> {
        let compound = parse_compound(datagram)?;
        self.schedule.observe(datagram.len());
        let mut summary = RtcpSummary::default();
        // RFC 3550 A.2 judges the compound as a whole; a single packet that contradicts itself is skipped.
        for packet in compound.flatten() {
            summary.sender = summary.sender.or(packet.sender());
            if packet.sender() == Some(self.sending.ssrc) {
                self.collide(arrival);
                continue;
            }
            if let (Some(sender), Some(source)) = (packet.sender(), &mut self.source)
                && sender == source.ssrc
            {
                source.heard = source.heard.max(arrival);
            }
            match packet {
                RtcpPacket::SenderReport { ssrc, info, blocks } => {
                    self.peer_report = Some(PeerReport {
                        ssrc,
                        ntp: info.ntp,
                        rtp: info.rtp,
                        at: arrival,
                    });
                    summary.report_on_us |= self.read_blocks(blocks, arrival);
                }
                RtcpPacket::ReceiverReport { blocks, .. } => {
                    summary.report_on_us |= self.read_blocks(blocks, arrival);
                }
                RtcpPacket::ExtendedReport { blocks, .. } => self.read_metrics(blocks),
                RtcpPacket::Bye(bye) => {
                    let current = self.remote_ssrc();
                    summary.bye |= current.is_some() && bye.sources().any(|ssrc| Some(ssrc) == current);
                }
                _ => {}
            }
        }
        Ok(summary)
    }

    /// The header of the next packet to send; [`sent`](Self::sent) makes it so.
    #[must_use]
    pub const fn next_header<'a>(
        &self,
        marker: bool,
        payload_type: PayloadType,
        timestamp: RtpTimestamp,
        csrcs: &'a [Ssrc],
    ) -> RtpHeader<'a> {
        let (sequence, ssrc) = (self.sending.next_seq, self.sending.ssrc);
        RtpHeader {
            marker,
            payload_type,
            sequence,
            timestamp,
            ssrc,
            csrcs,
        }
    }

    /// A packet with [`next_header`](Self::next_header) was sent.
    pub const fn sent(&mut self, payload_len: usize, timestamp: RtpTimestamp, now: Instant) {
        let sending = &mut self.sending;
        sending.next_seq = sending.next_seq.wrapping_add(1);
        sending.packets = sending.packets.wrapping_add(1);
        sending.bytes = sending.bytes.wrapping_add(payload_len as u32);
        sending.total_packets += 1;
        sending.total_bytes += payload_len as u64;
        sending.last = Some((timestamp, now));
        sending.ever = true;
    }

    /// The peer's payload changed its clock.
    pub fn set_receive_clock(&mut self, clock: SampleRate) {
        if let Some(source) = &mut self.source
            && clock != self.config.receive_clock
        {
            source.rescale(self.config.receive_clock, clock);
        }
        self.config.receive_clock = clock;
    }

    /// We changed the clock of what we send.
    pub const fn set_send_clock(&mut self, clock: SampleRate) {
        self.config.send_clock = clock;
    }

    /// When the next report is due, and why.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        Some((self.schedule.next(), "RTCP report"))
    }

    /// Whether a report is due: the moment for [`Self::report_quality`].
    #[must_use]
    pub fn report_due(&self, now: Instant) -> bool {
        self.schedule.next() <= now
    }

    /// VoIP metrics for the next report, to a peer that asked for them (`a=rtcp-xr`).
    pub const fn report_quality(&mut self, metrics: Option<VoipMetrics>) {
        self.quality = metrics;
    }

    /// Writes the report that is due into `buffer` (576 bytes suffice) and returns its length; `None` when nothing is
    /// due, or nothing fits.
    pub fn poll_rtcp(&mut self, now: Instant, wall: NtpTime, buffer: &mut [u8]) -> Option<usize> {
        let (members, we_send) = (self.members(now), self.we_send());
        if !self.schedule.expired(now, members, we_send) {
            return None;
        }
        let length = match self.farewell.take() {
            Some(old) => self.write_farewell(old, buffer),
            None => self.write_report(now, wall, false, buffer),
        }
        .unwrap_or(0);
        self.schedule.sent(length, now, members, we_send);
        (length > 0).then_some(length)
    }

    /// Writes a final report with BYE; `None` when we never sent anything (RFC 3550 §6.3.7).
    pub fn bye(&mut self, now: Instant, wall: NtpTime, buffer: &mut [u8]) -> Option<usize> {
        if !self.sending.ever {
            return None;
        }
        self.write_report(now, wall, true, buffer).ok()
    }

    /// The peer's wall clock at one of its timestamps, by its last SR.
    #[must_use]
    pub fn peer_wall(&self, timestamp: RtpTimestamp) -> Option<NtpTime> {
        let report = self
            .peer_report
            .filter(|report| Some(report.ssrc) == self.remote_ssrc())?;
        let ticks = timestamp.since(report.rtp);
        Some(
            report
                .ntp
                .plus_micros(self.config.receive_clock.micros(i64::from(ticks))),
        )
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        let clock = self.config.send_clock;
        let mut stats = StreamStats {
            sent_packets: self.sending.total_packets,
            sent_bytes: self.sending.total_bytes,
            rtt: self.rtt,
            remote_fraction_lost: self.about_us.map(|block| f32::from(block.fraction_lost) / 256.0),
            remote_jitter: self.about_us.map(|block| clock.duration(u64::from(block.jitter))),
            remote_lost: self.about_us.map(|block| block.lost),
            remote_quality: self.remote_quality,
            ..StreamStats::default()
        };
        if let Some(source) = &self.source {
            stats.received_packets = source.received;
            stats.received_bytes = source.bytes;
            stats.expected = source.expected();
            stats.lost = source.lost();
            stats.fraction_lost = f32::from(self.fraction_lost) / 256.0;
            stats.jitter = self.config.receive_clock.duration(u64::from(source.jitter()));
            stats.remote_ssrc = Some(source.ssrc);
        }
        stats
    }

    fn judge(&mut self, packet: &RtpPacket<'_>, arrival: Instant) -> Verdict {
        let ssrc = packet.ssrc();
        if ssrc == self.sending.ssrc {
            return self.collide(arrival);
        }
        // RFC 3550 §8.2: a mixer that names us as a contributor sends our own stream back.
        if packet.csrcs().any(|csrc| csrc == self.sending.ssrc) {
            return Verdict::Looped;
        }
        if let Some(source) = self.source.as_mut().filter(|source| source.ssrc == ssrc) {
            if let Some(candidate) = &mut self.candidate {
                candidate.restart_probation();
            }
            let verdict = match source.step(packet.sequence()) {
                Step::Valid(seq) => Verdict::Valid { seq },
                Step::Believed(seq) | Step::Restarted(seq) => Verdict::Restarted { seq },
                Step::Probation => return Verdict::Probation,
                Step::Jumped => return Verdict::Jumped,
            };
            source.bytes += packet.payload().len() as u64;
            source.heard = source.heard.max(arrival);
            return verdict;
        }
        let known = self.candidate.take().filter(|candidate| candidate.ssrc == ssrc);
        let mut candidate = known
            .unwrap_or_else(|| Source::new(ssrc, packet.sequence(), self.config.min_sequential, arrival));
        let Step::Believed(seq) = candidate.step(packet.sequence()) else {
            self.candidate = Some(candidate);
            return Verdict::Probation;
        };
        candidate.bytes = packet.payload().len() as u64;
        candidate.heard = arrival;
        self.source = Some(candidate);
        self.fraction_lost = 0;
        Verdict::NewSource { seq }
    }

    /// RFC 3550 §8.2: somebody else uses our SSRC. We change it and say BYE for the old one at once; again within
    /// [`COLLISION_HOLD`] of the last time it is taken for our own stream coming back.
    fn collide(&mut self, now: Instant) -> Verdict {
        let last = self.collision.replace(now);
        if last.is_some_and(|at| now.saturating_duration_since(at) < COLLISION_HOLD) {
            return Verdict::Looped;
        }
        self.farewell = self.sending.ever.then_some(self.sending.ssrc);
        let taken = [Some(self.sending.ssrc), self.remote_ssrc()];
        while taken.contains(&Some(self.sending.ssrc)) {
            self.sending.ssrc = Ssrc(self.rng.next_u32());
        }
        // RFC 3550 §6.4.1: the counts of an SR start again with the SSRC.
        self.sending.packets = 0;
        self.sending.bytes = 0;
        self.about_us = None;
        self.remote_quality = None;
        if self.farewell.is_some() {
            self.schedule.hasten(now);
        }
        Verdict::Collision
    }

    fn read_blocks(&mut self, blocks: ReportBlocks<'_>, arrival: Instant) -> bool {
        let Some(block) = blocks.into_iter().find(|block| block.ssrc == self.sending.ssrc) else {
            return false;
        };
        self.about_us = Some(block);
        // RFC 3550 §6.4.1: round trip = arrival − LSR − DLSR. By the time at which the named SR was sent rather than
        // by its NTP value: our wall clock may step, and a forged LSR names no SR.
        let sent = self
            .sending
            .reports
            .iter()
            .flatten()
            .find(|(middle, _)| *middle == block.last_sr);
        if let Some((_, sent)) = sent.filter(|_| block.last_sr != 0) {
            let away = arrival.saturating_duration_since(*sent);
            self.rtt = Some(away.saturating_sub(from_short_ntp(block.delay_since_last_sr)));
        }
        true
    }

    fn read_metrics(&mut self, blocks: XrBlocks<'_>) {
        for block in blocks {
            if let XrBlock::VoipMetrics(metrics) = block
                && metrics.ssrc == self.sending.ssrc
            {
                self.remote_quality = Some(metrics);
            }
        }
    }

    fn members(&self, now: Instant) -> u32 {
        let patience = self.schedule.member_timeout(2);
        let heard = self
            .last_heard()
            .is_some_and(|at| now.saturating_duration_since(at) < patience);
        1 + u32::from(heard)
    }

    /// RFC 3550 §6.4: an SR is due to who sent data since the report before the last.
    fn we_send(&self) -> bool {
        match (self.sending.last, self.sending.previous) {
            (Some((_, at)), [_, Some(before)]) => at >= before,
            (last, _) => last.is_some(),
        }
    }

    fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        let source = self.source.as_mut()?;
        self.fraction_lost = source.interval_loss().fraction;
        let report = self.peer_report.filter(|report| report.ssrc == source.ssrc);
        Some(ReportBlock {
            ssrc: source.ssrc,
            fraction_lost: self.fraction_lost,
            lost: source.lost().clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
            highest_seq: source.highest(),
            jitter: source.jitter(),
            last_sr: report.map_or(0, |report| report.ntp.middle()),
            delay_since_last_sr: report
                .map_or(0, |report| to_short_ntp(now.saturating_duration_since(report.at))),
        })
    }

    fn write_report(
        &mut self,
        now: Instant,
        wall: NtpTime,
        bye: bool,
        buffer: &mut [u8],
    ) -> Result<usize, RtcpError> {
        let we_send = self.we_send();
        let block = self.report_block(now);
        let ssrc = self.sending.ssrc;
        let mut writer = RtcpWriter::new(buffer);
        match self.sending.last.filter(|_| we_send) {
            Some((timestamp, at)) => {
                // RFC 3550 §6.4.1: the RTP timestamp is the NTP time's, not that of the last packet.
                let passed = self.config.send_clock.ticks(now.saturating_duration_since(at)) as u32;
                let info = SenderInfo {
                    ntp: wall,
                    rtp: timestamp.plus(passed),
                    packets: self.sending.packets,
                    bytes: self.sending.bytes,
                };
                writer.sender_report(ssrc, &info, block.as_slice())?;
                self.sending.reports.rotate_right(1);
                if let Some(newest) = self.sending.reports.first_mut() {
                    *newest = Some((wall.middle(), now));
                }
            }
            None => writer.receiver_report(ssrc, block.as_slice())?,
        }
        writer.cname(ssrc, &self.config.cname)?;
        if let Some(metrics) = self.quality.take() {
            writer.voip_metrics(ssrc, &metrics)?;
        }
        if bye {
            writer.bye(&[ssrc], None)?;
        }
        let length = writer.len();
        self.sending.previous = [Some(now), self.sending.previous.first().copied().flatten()];
        self.sending.ever = true;
        Ok(length)
    }

    fn write_farewell(&self, old: Ssrc, buffer: &mut [u8]) -> Result<usize, RtcpError> {
        let mut writer = RtcpWriter::new(buffer);
        writer.receiver_report(old, &[])?;
        writer.cname(old, &self.config.cname)?;
        writer.bye(&[old], Some("SSRC collision"))?;
        Ok(writer.len())
    }
}
