//! One RTP stream pair without sockets or clock: datagrams and sound in, sound and datagrams out.
//!
//! [`super::engine`] gives it sockets and time; the tests give it a loop. A re-INVITE changes it in place: SSRC,
//! sequence numbers and counters live as long as the call. Where keys were agreed on, what comes is opened before
//! anything else looks at it, and nothing leaves in clear. Deliberately absent: sockets and threads.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp_media::codec::CodecKind;
use rtp_media::demux::{PacketClass, classify};
use rtp_media::jitter::JitterStats;
use rtp_media::latch::{Decision, Latch};
use rtp_media::quality::{Estimate, Observation};
use rtp_media::rtp::extension::AudioLevel;
use rtp_media::rtp::{RtpPacket, write_header, write_header_with};
use rtp_media::session::{RtpSession, SessionConfig, StreamStats, Verdict};
use rtp_media::srtp::{SrtpChange, SrtpLink};
use rtp_media::telephone_event;
use rtp_media::units::{NtpTime, SampleRate, SeqExt};

use super::MediaError;
use super::plan::{StreamKeys, StreamPlan};
use super::receiver::Receiver;
use super::transmitter::{Outgoing, Transmitter};
use crate::limits::{DATAGRAM_BYTES, TICK};

/// Which socket of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The even one.
    Rtp,
    /// The odd one.
    Rtcp,
}

/// What a stream tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEvent {
    /// The peer pressed a key.
    Digit {
        /// Which.
        digit: char,
        /// For how long.
        duration: Duration,
    },
    /// The peer's RTP said goodbye.
    Goodbye,
    /// The first packet came, or packets come from another address now.
    Heard {
        /// From where.
        from: SocketAddr,
    },
}

/// Where datagrams go.
pub trait Outbox {
    /// Sends one datagram; a lost one is lost.
    fn send(&mut self, port: Port, to: SocketAddr, bytes: &[u8]);
}

/// Share of lost packets (of 1) from which the Opus encoder is told about it.
const LOSS_TOLD: f32 = 0.01;

/// Level in dB of full scale over which sound counts as voice.
const VOICE_DB: f32 = -50.0;

/// One stream pair.
#[derive(Debug)]
pub struct AudioStream {
    plan: StreamPlan,
    session: RtpSession,
    latch: Latch,
    receiver: Receiver,
    transmitter: Transmitter,
    keys: telephone_event::Receiver,
    events: VecDeque<StreamEvent>,
    expected_loss: u8,
    link: SrtpLink,
    /// Datagrams that protection refused.
    refused: u64,
}

/// Protects what goes out.
struct Sealed<'a> {
    link: &'a mut SrtpLink,
    out: &'a mut dyn Outbox,
}

impl Outbox for Sealed<'_> {
    fn send(&mut self, port: Port, to: SocketAddr, bytes: &[u8]) {
        let mut space = [0; DATAGRAM_BYTES];
        match self.link.outgoing(bytes, &mut space) {
            Ok(bytes) => self.out.send(port, to, bytes),
            Err(error) => tracing::warn!(%error, "media not sent"),
        }
    }
}

impl AudioStream {
    /// A stream pair that begins now. `cname` names this program in RTCP (RFC 7022: random, for one call).
    pub fn new(plan: StreamPlan, cname: String, seed: [u8; 32], now: Instant) -> Result<Self, MediaError> {
        let clock = plan.codec.rtp_clock_rate();
        let config = SessionConfig {
            ssrc: None,
            cname,
            receive_clock: clock,
            send_clock: clock,
            bandwidth: 64_000,
            min_sequential: rtp_media::limits::MIN_SEQUENTIAL,
        };
        let session = RtpSession::new(config, seed, now);
        let mut latch = Latch::new(plan.remote_rtp, plan.payload_types());
        latch.signal_rtcp(plan.remote_rtcp);
        Ok(Self {
            transmitter: Transmitter::new(&plan, session.initial_timestamp())?,
            receiver: Receiver::new(plan.codec)?,
            keys: telephone_event::Receiver::new(),
            events: VecDeque::new(),
            expected_loss: 0,
            link: {
                let mut link = SrtpLink::default();
                rekey(&mut link, None, plan.srtp.as_ref())?;
                link
            },
            refused: 0,
            session,
            latch,
            plan,
        })
    }

    /// A new agreement, in place.
    pub fn update(&mut self, plan: StreamPlan) -> Result<(), MediaError> {
        rekey(&mut self.link, self.plan.srtp.as_ref(), plan.srtp.as_ref())?;
        self.latch.signal(plan.remote_rtp, plan.payload_types());
        self.latch.signal_rtcp(plan.remote_rtcp);
        self.session.set_send_clock(plan.codec.rtp_clock_rate());
        self.transmitter.update(&plan)?;
        if !plan.receiving && self.plan.receiving {
            // What waits was said before the hold; it must not be played after it.
            self.receiver.restarted();
        }
        if plan.comfort_noise.is_none() {
            self.receiver.forget_noise();
        }
        self.plan = plan;
        Ok(())
    }

    /// Takes a datagram.
    pub fn receive(&mut self, from: SocketAddr, datagram: &[u8], arrival: Instant) {
        if !self.link.is_secure() {
            return self.receive_clear(from, datagram, arrival);
        }
        let mut space = [0; DATAGRAM_BYTES];
        let Some(copy) = space.get_mut(..datagram.len()) else {
            return;
        };
        copy.copy_from_slice(datagram);
        // The link is taken out for the moment, so that what it opened can be handed on.
        let mut link = std::mem::take(&mut self.link);
        match link.incoming(copy) {
            Ok(clear) => self.receive_clear(from, clear, arrival),
            Err(error) => {
                self.refused += 1;
                tracing::debug!(%error, %from, "media refused");
            }
        }
        self.link = link;
    }

    /// Datagrams that protection refused: forged, replayed, tampered with, or clear.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn receive_clear(&mut self, from: SocketAddr, datagram: &[u8], arrival: Instant) {
        match classify(datagram) {
            PacketClass::Rtp => self.receive_rtp(from, datagram, arrival),
            PacketClass::Rtcp => self.receive_rtcp(from, datagram, arrival),
            _ => {}
        }
    }

    /// One tick of what is heard.
    pub fn play(&mut self, now: Instant, out: &mut [f32]) -> Result<(), MediaError> {
        self.keys.on_timeout(now);
        while let Some(key) = self.keys.poll() {
            self.tell(StreamEvent::Digit {
                digit: key.event.digit(),
                duration: key.duration,
            });
        }
        if !self.plan.receiving {
            out.fill(0.0);
            return Ok(());
        }
        self.receiver.play(now, out)
    }

    /// One tick of what is said, and the RTCP report when one is due.
    pub fn say(
        &mut self,
        frame: &[f32],
        now: Instant,
        wall: NtpTime,
        out: &mut dyn Outbox,
    ) -> Result<(), MediaError> {
        let (session, destination) = (&mut self.session, self.latch.destination());
        let mut sealed = Sealed {
            link: &mut self.link,
            out,
        };
        let level = self.plan.level.map(|id| (id, level_of(frame)));
        self.transmitter.say(frame, &mut |packet: &Outgoing<'_>| {
            let mut bytes = [0_u8; DATAGRAM_BYTES];
            let header = session.next_header(packet.marker, packet.payload_type, packet.timestamp, &[]);
            let written = match level {
                Some((id, level)) => write_header_with(&mut bytes, &header, id, &[level]),
                None => write_header(&mut bytes, &header),
            };
            let Ok(length) = written else { return };
            let end = length + packet.payload.len();
            let (Some(to), Some(place)) = (destination, bytes.get_mut(length..end)) else {
                return;
            };
            place.copy_from_slice(packet.payload);
            if let Some(datagram) = bytes.get(..end) {
                sealed.send(Port::Rtp, to, datagram);
                session.sent(packet.payload.len(), packet.timestamp, now);
            }
        })?;
        if self.plan.voip_metrics && self.session.report_due(now) {
            let metrics = self.observe().voip_metrics();
            self.session.report_quality(metrics);
        }
        let mut report = [0_u8; DATAGRAM_BYTES];
        if let Some(length) = self.session.poll_rtcp(now, wall, &mut report) {
            self.send_rtcp(report.get(..length).unwrap_or_default(), out);
        }
        Ok(())
    }

    /// Queues a digit; false when it cannot be sent.
    pub fn digit(&mut self, digit: char) -> bool {
        self.transmitter.digit(digit)
    }

    /// Ticks that were missed.
    pub fn skip(&mut self, ticks: u32) {
        self.transmitter.skip(ticks);
    }

    /// Says goodbye by RTCP.
    pub fn goodbye(&mut self, now: Instant, wall: NtpTime, out: &mut dyn Outbox) {
        let mut report = [0_u8; DATAGRAM_BYTES];
        if let Some(length) = self.session.bye(now, wall, &mut report) {
            self.send_rtcp(report.get(..length).unwrap_or_default(), out);
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    /// Counters of the network.
    pub fn stats(&self) -> StreamStats {
        self.session.stats()
    }

    /// Counters and delay of the jitter buffer; the delay includes what is decoded and waits.
    pub fn jitter(&self) -> JitterStats {
        let mut stats = self.receiver.stats();
        stats.delay += self.receiver.decoded_delay();
        stats
    }

    /// How good what is heard is, by the E-model (ITU-T G.107).
    pub fn quality(&self) -> Estimate {
        self.observe().estimate()
    }

    fn observe(&self) -> Observation {
        Observation {
            stream: self.session.stats(),
            jitter: self.receiver.stats(),
            codec: self.receiver.kind(),
            processing: self.receiver.decoded_delay() + TICK,
            level_dbov: None,
        }
    }

    /// Codec that is sent.
    pub fn codec(&self) -> CodecKind {
        self.plan.codec
    }

    fn receive_rtp(&mut self, from: SocketAddr, datagram: &[u8], arrival: Instant) {
        let Ok(packet) = RtpPacket::parse(datagram) else {
            return;
        };
        match self.latch.offer(from, &packet, arrival) {
            Decision::Accept => {}
            Decision::Latched | Decision::Relatched { .. } => self.tell(StreamEvent::Heard { from }),
            Decision::Refuse(_) => return,
        }
        let payload_type = packet.payload_type();
        if let Some(clock) = clock_of(&self.plan.receive_events, payload_type) {
            let verdict = self.session.on_event_rtp(&packet, arrival);
            if let Some(seq) = self.judged(verdict) {
                self.keys
                    .on_packet(packet.payload(), packet.timestamp(), clock, arrival);
                // Its number is one of the sound's: without this, each would count as a lost frame.
                self.receiver.no_sound(seq);
            }
            return;
        }
        if self.plan.comfort_noise == Some(payload_type) {
            let verdict = self.session.on_rtp(&packet, arrival);
            if let Some(seq) = self.judged(verdict)
                && self.plan.receiving
            {
                self.receiver.comfort_noise(seq, packet.payload(), arrival);
            }
            return;
        }
        let Some(kind) = self
            .plan
            .receive
            .iter()
            .find(|(known, _)| *known == payload_type)
            .map(|(_, kind)| *kind)
        else {
            return;
        };
        if kind != self.receiver.kind() {
            self.session.set_receive_clock(kind.rtp_clock_rate());
        }
        let verdict = self.session.on_rtp(&packet, arrival);
        if let Some(seq) = self.judged(verdict)
            && self.plan.receiving
        {
            self.receiver.take(&packet, kind, seq, arrival);
        }
    }

    /// The packet's number, where it is of the stream; another source begins with empty buffers.
    fn judged(&mut self, verdict: Verdict) -> Option<SeqExt> {
        match verdict {
            Verdict::Valid { seq } => Some(seq),
            Verdict::NewSource { seq } => {
                self.receiver.new_source();
                self.keys.reset();
                Some(seq)
            }
            Verdict::Restarted { seq } => {
                self.receiver.restarted();
                self.keys.reset();
                Some(seq)
            }
            Verdict::Probation | Verdict::Jumped | Verdict::Collision | Verdict::Looped => None,
        }
    }

    fn receive_rtcp(&mut self, from: SocketAddr, datagram: &[u8], arrival: Instant) {
        let sender = datagram
            .get(4..8)
            .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let sender = sender.map(|bytes| rtp_media::units::Ssrc(u32::from_be_bytes(bytes)));
        if !self.latch.offer_rtcp(from, sender) {
            return;
        }
        let Ok(summary) = self.session.on_rtcp(datagram, arrival) else {
            return;
        };
        if summary.bye {
            self.tell(StreamEvent::Goodbye);
        }
        if summary.report_on_us {
            self.follow_loss();
        }
    }

    /// The peer's reports steer the encoder's expectation, in steps, so that it is not restarted for nothing.
    fn follow_loss(&mut self) {
        let share = self.session.stats().remote_fraction_lost.unwrap_or(0.0);
        let percent = if share < LOSS_TOLD {
            0
        } else if share < 0.06 {
            5
        } else {
            15
        };
        if percent != self.expected_loss {
            self.expected_loss = percent;
            self.transmitter.expect_loss(percent);
        }
    }

    fn send_rtcp(&mut self, datagram: &[u8], out: &mut dyn Outbox) {
        let (port, to) = if self.plan.rtcp_mux {
            (Port::Rtp, self.latch.destination())
        } else {
            (Port::Rtcp, self.latch.rtcp_destination())
        };
        if let Some(to) = to {
            let link = &mut self.link;
            Sealed { link, out }.send(port, to, datagram);
        }
    }

    fn tell(&mut self, event: StreamEvent) {
        // Sixteen waiting events are more than a tick can bring; a flood of digits drops the newest.
        if self.events.len() < 16 {
            self.events.push_back(event);
        }
    }
}

/// Gives the link the keys that changed.
fn rekey(
    link: &mut SrtpLink,
    before: Option<&StreamKeys>,
    now: Option<&StreamKeys>,
) -> Result<(), MediaError> {
    if let Some(change) = StreamKeys::change(before, now) {
        link.change(&mut SrtpChange::build(&change)?);
    }
    Ok(())
}

/// The level of a tick as RFC 6464 tells it; voice is what lies clearly over the noise of a room.
fn level_of(frame: &[f32]) -> u8 {
    let power = frame.iter().map(|sample| sample * sample).sum::<f32>() / frame.len().max(1) as f32;
    let level_db = 10.0 * power.max(1e-13).log10();
    AudioLevel::byte(level_db, level_db > VOICE_DB)
}

fn clock_of(
    events: &[(rtp_media::units::PayloadType, SampleRate)],
    payload_type: rtp_media::units::PayloadType,
) -> Option<SampleRate> {
    events
        .iter()
        .find(|(known, _)| *known == payload_type)
        .map(|(_, clock)| *clock)
}
