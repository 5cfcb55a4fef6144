//! One participant's media: what comes in is judged and buffered, what goes out gets its header here.
//!
//! SSRC, sequence numbers, timestamps, latch and statistics live as long as the leg, whatever is
//! re-negotiated. Deliberately absent: who hears whom (`room`).

use crate::MixerError;
use crate::command::{
    CodecSettings, Direction, EventMap, LegConfig, LegExtras, LegKey, LegUpdate, ReceiveMap, event_map,
    receive_map,
};
use crate::event::{EventQueue, LegStats, MediaEvent};
use crate::limits::{MAX_PACKETS_PER_TICK, TICK};
use crate::loudness::{Activity, Audible, Normaliser, SILENCE_DB};
use crate::room::Port;
use crate::send::{MediaClock, Role, SendSide};
use crate::source::{DecoderSet, Incoming, Scratch, Source};
use crate::speaker::Score;
use crate::stream::Stream;
use rtp_media::codec::CodecKind;
use rtp_media::demux::{PacketClass, classify};
use rtp_media::latch::{Decision, Latch, PayloadTypes};
use rtp_media::quality::{Estimate, Observation};
use rtp_media::rtcp::xr::VoipMetrics;
use rtp_media::rtp::RtpPacket;
use rtp_media::rtp::extension::AudioLevel;
use rtp_media::session::{RtpSession, Verdict};
use rtp_media::telephone_event::Receiver;
use rtp_media::units::{SeqExt, Ssrc};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One participant's media, built whole off the media thread.
pub struct Leg {
    pub(crate) key: LegKey,
    pub(crate) source: Source,
    pub(crate) send: SendSide,
    pub(crate) stream: Stream,
    /// SSRC of what the leg sends us.
    pub(crate) remote_ssrc: Option<Ssrc>,
    receive: ReceiveMap,
    pub(crate) events: EventMap,
    event_receiver: Receiver,
    pub(crate) direction: Direction,
    /// Built as a source: receive-only then doesn't mean hold.
    source_only: bool,
    pub(crate) extras: LegExtras,
    pub(crate) muted: bool,
    pub(crate) activity: Activity,
    pub(crate) audible: Audible,
    pub(crate) talking: bool,
    pub(crate) normaliser: Normaliser,
    pub(crate) score: Score,
    pub(crate) level_db: f32,
    /// The tick at hand has begun for this leg already.
    pub(crate) prepared: bool,
    /// In the mix in this tick.
    pub(crate) mixed: bool,
    last_rtp: Instant,
    silent_told: bool,
    packets_this_tick: u32,
    malformed: u64,
    refused: u64,
}

impl Leg {
    /// Builds codecs, jitter buffer and session; call it off the media thread, then hand the box to the room.
    ///
    /// # Errors
    /// A codec could not be built, or too many payload types.
    pub fn build(config: LegConfig, now: Instant) -> Result<Box<Self>, MixerError> {
        let receive = receive_map(&config.receive)?;
        let events = event_map(&config.telephone_events)?;
        let mut session = config.session;
        session.send_clock = config.send.kind.rtp_clock_rate();
        session.receive_clock = receive
            .first()
            .map_or(session.send_clock, |(_, kind)| kind.rtp_clock_rate());
        let session = RtpSession::new(session, config.seed, now);
        let send = SendSide::build(config.send)?;
        let clock = MediaClock::new(session.initial_timestamp(), send.tick_clock());
        let mut latch = Latch::new(config.remote_rtp, known(&receive, &events, &send.settings));
        latch.signal_rtcp(config.remote_rtcp);
        Ok(Box::new(Self {
            key: config.key,
            source: Source::new(DecoderSet::build(&config.receive)?),
            send,
            stream: Stream {
                key: config.key,
                session,
                latch,
                clock,
                rtcp_mux: config.rtcp_mux,
                sent_until: None,
                event_sender: None,
            },
            remote_ssrc: None,
            receive,
            events,
            event_receiver: Receiver::new(),
            direction: config.direction,
            source_only: config.direction == Direction::RecvOnly,
            extras: config.extras,
            muted: false,
            activity: Activity::new(),
            audible: Audible::No,
            talking: false,
            normaliser: Normaliser::new(),
            score: Score::new(),
            level_db: SILENCE_DB,
            prepared: false,
            mixed: false,
            last_rtp: now,
            silent_told: false,
            packets_this_tick: 0,
            malformed: 0,
            refused: 0,
        }))
    }

    /// The leg's name.
    pub fn key(&self) -> LegKey {
        self.key
    }

    /// Our SSRC towards this leg.
    pub fn ssrc(&self) -> Ssrc {
        self.stream.session.ssrc()
    }

    /// May be heard: not on hold, and not muted.
    pub(crate) fn heard(&self) -> bool {
        !self.muted && (self.direction == Direction::SendRecv || self.is_source())
    }

    fn is_source(&self) -> bool {
        self.source_only && self.direction == Direction::RecvOnly
    }

    /// RTP is due from the peer.
    fn expects_rtp(&self) -> bool {
        self.direction == Direction::SendRecv || self.is_source()
    }

    pub(crate) fn receive(
        &mut self,
        port: Port,
        from: SocketAddr,
        bytes: &[u8],
        arrival: Instant,
        threshold_db: f32,
        events: &mut EventQueue,
    ) {
        self.packets_this_tick += 1;
        if self.packets_this_tick > MAX_PACKETS_PER_TICK {
            self.refused += 1;
            return;
        }
        match (classify(bytes), port) {
            (PacketClass::Rtp, Port::Rtp) => self.receive_rtp(from, bytes, arrival, threshold_db, events),
            // At either port, muxed or not: a re-negotiation may cross reports on their way, and a leg that gave its
            // RTCP port up names its RTP port for both.
            (PacketClass::Rtcp, _) => self.receive_rtcp(from, bytes, arrival, events),
            _ => self.malformed += 1,
        }
    }

    fn receive_rtp(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        arrival: Instant,
        threshold_db: f32,
        events: &mut EventQueue,
    ) {
        let Ok(packet) = RtpPacket::parse(bytes) else {
            self.malformed += 1;
            return;
        };
        let payload_type = packet.payload_type();
        let event_clock = self
            .events
            .iter()
            .find(|(pt, _)| *pt == payload_type)
            .map(|(_, clock)| *clock);
        let kind = self
            .receive
            .iter()
            .find(|(pt, _)| *pt == payload_type)
            .map(|(_, kind)| *kind);
        let Some(seq) = self.admit(&packet, from, arrival, kind, events) else {
            self.refused += 1;
            return;
        };
        self.last_rtp = arrival;
        self.remote_ssrc = Some(packet.ssrc());
        if self.silent_told {
            self.silent_told = false;
            events.push(MediaEvent::Resumed { leg: self.key });
        }
        if let Some(clock) = event_clock {
            self.event_receiver
                .on_packet(packet.payload(), packet.timestamp(), clock, arrival);
            self.tell_digits(events);
            // Its number is one of the audio's: without this, each would count as a lost frame.
            self.source.no_audio(seq);
            return;
        }
        if self.send.settings.comfort_noise == Some(payload_type) {
            self.source.comfort_noise(seq, packet.payload(), arrival);
            return;
        }
        if !self.heard() && !self.muted {
            return;
        }
        let Some(kind) = kind else { return };
        let level = self.extras.audio_level.and_then(|id| {
            packet
                .extension_elements()
                .find(id)
                .and_then(AudioLevel::parse)
                .map(|level| level.minus_dbov)
        });
        let incoming = Incoming {
            kind,
            seq,
            timestamp: packet.timestamp(),
            marker: packet.marker(),
            level,
            payload: packet.payload(),
            arrival,
        };
        self.source.insert(&incoming, threshold_db);
    }

    /// Latch and session in turn; `None` is a packet not to be believed. `kind` is `None` for what follows no media
    /// clock, as telephone events.
    fn admit(
        &mut self,
        packet: &RtpPacket<'_>,
        from: SocketAddr,
        arrival: Instant,
        kind: Option<CodecKind>,
        events: &mut EventQueue,
    ) -> Option<SeqExt> {
        match self.stream.latch.offer(from, packet, arrival) {
            Decision::Accept => {}
            Decision::Latched | Decision::Relatched { .. } => {
                events.push(MediaEvent::Latched { leg: self.key, from });
            }
            Decision::Refuse(_) => return None,
        }
        let verdict = match kind {
            Some(kind) => {
                // Before the packet is measured: timestamps of two clocks have no difference.
                self.stream.session.set_receive_clock(kind.rtp_clock_rate());
                self.stream.session.on_rtp(packet, arrival)
            }
            None => self.stream.session.on_event_rtp(packet, arrival),
        };
        match verdict {
            Verdict::Valid { seq } => Some(seq),
            Verdict::NewSource { seq } => {
                self.restart(true, events);
                Some(seq)
            }
            Verdict::Restarted { seq } => {
                self.restart(false, events);
                Some(seq)
            }
            Verdict::Probation | Verdict::Jumped | Verdict::Collision | Verdict::Looped => None,
        }
    }

    /// Another source, or the same one with other numbers: also its timestamps may be anywhere.
    fn restart(&mut self, new_source: bool, events: &mut EventQueue) {
        self.source.restart(new_source);
        self.event_receiver.reset();
        self.tell_digits(events);
    }

    fn receive_rtcp(&mut self, from: SocketAddr, bytes: &[u8], arrival: Instant, events: &mut EventQueue) {
        // The sender's SSRC is the second word of any RTCP packet (RFC 3550 §6.4).
        let sender = bytes
            .get(4..8)
            .and_then(|word| word.try_into().ok())
            .map(u32::from_be_bytes)
            .map(Ssrc);
        if !self.stream.latch.offer_rtcp(from, sender) {
            self.refused += 1;
            return;
        }
        let Ok(summary) = self.stream.session.on_rtcp(bytes, arrival) else {
            self.malformed += 1;
            return;
        };
        if summary.report_on_us
            && let Some(lost) = self.stream.session.stats().remote_fraction_lost
        {
            self.send.fec.report(lost, arrival);
        }
        if summary.bye {
            events.push(MediaEvent::PeerBye { leg: self.key });
        }
    }

    fn tell_digits(&mut self, events: &mut EventQueue) {
        while let Some(done) = self.event_receiver.poll() {
            events.push(MediaEvent::Digit {
                leg: self.key,
                digit: done.event.digit(),
                duration_ms: u32::try_from(done.duration.as_millis()).unwrap_or(u32::MAX),
            });
        }
    }

    /// What every tick begins with: timers, and one tick of PCM with its level.
    pub(crate) fn begin_tick(
        &mut self,
        now: Instant,
        threshold_db: f32,
        silence_timeout: Duration,
        events: &mut EventQueue,
        scratch: &mut Scratch,
    ) {
        self.packets_this_tick = 0;
        if self
            .event_receiver
            .poll_timeout()
            .is_some_and(|(due, _)| due <= now)
        {
            self.event_receiver.on_timeout(now);
            self.tell_digits(events);
        }
        if self.expects_rtp()
            && !self.silent_told
            && now.saturating_duration_since(self.last_rtp) >= silence_timeout
        {
            self.silent_told = true;
            events.push(MediaEvent::Silent { leg: self.key });
        }
        self.level_db = self
            .source
            .pull(now, self.activity.active(), threshold_db, scratch);
        self.score.update(self.level_db);
    }

    /// Whether it is mixed in this tick: judged in the tick itself, so that a command which came after the sound was
    /// prepared counts.
    pub(crate) fn judge(&mut self, threshold_db: f32, events: &mut EventQueue) {
        if self.heard() {
            self.audible = self.activity.judge(self.level_db, threshold_db);
        } else {
            // The buffer is emptied at its pace all the same, or a leg that comes back would be late.
            self.audible = if self.activity.active() {
                Audible::Ends
            } else {
                Audible::No
            };
            self.activity.stop();
        }
        if self.audible.mixed() != self.talking {
            self.talking = self.audible.mixed();
            events.push(MediaEvent::Talking {
                leg: self.key,
                talking: self.talking,
            });
        }
    }

    /// Applies a re-negotiation; what it replaces stays in `update`. The send side is exchanged by the room,
    /// which knows the classes; returns whether that is needed.
    pub(crate) fn renegotiate(&mut self, update: &mut LegUpdate) -> bool {
        if !update.direction.receives() || update.direction != self.direction {
            self.source.restart(false);
        }
        self.direction = update.direction;
        self.stream.rtcp_mux = update.rtcp_mux;
        self.extras = update.extras;
        std::mem::swap(&mut self.receive, &mut update.receive);
        std::mem::swap(&mut self.events, &mut update.telephone_events);
        self.source.renegotiate(&self.receive, &mut update.decoders);
        if update.send.settings.comfort_noise.is_none() {
            self.source.forget_noise();
        }
        self.stream.latch.signal(
            update.remote_rtp,
            known(&self.receive, &self.events, &update.send.settings),
        );
        self.stream.latch.signal_rtcp(update.remote_rtcp);
        self.send.settings != update.send.settings
    }

    /// The codec to send has changed at this tick.
    pub(crate) fn codec_changed(&mut self, tick: u64) {
        self.stream.clock.change(tick, self.send.tick_clock());
        self.stream
            .session
            .set_send_clock(self.send.settings.kind.rtp_clock_rate());
    }

    /// Counting of silence begins anew: after a hold, or when the leg is added.
    pub(crate) fn expect_from(&mut self, now: Instant) {
        self.last_rtp = now;
        self.silent_told = false;
    }

    /// How good the leg's own stream is, and the block to tell it with.
    fn quality(&self) -> (Estimate, Option<VoipMetrics>) {
        let observation = Observation {
            stream: self.stream.session.stats(),
            jitter: self.source.jitter_stats(),
            codec: self.source.kind().unwrap_or(self.send.settings.kind),
            processing: TICK,
            level_dbov: (self.score.level_db() > SILENCE_DB).then(|| self.score.level_db()),
        };
        (observation.estimate(), observation.voip_metrics())
    }

    /// Puts the metrics beside the report that is due.
    pub(crate) fn prepare_metrics(&mut self) {
        let (_, metrics) = self.quality();
        self.stream.session.report_quality(metrics);
    }

    pub(crate) fn stats(&self) -> LegStats {
        LegStats {
            quality: self.quality().0,
            receive_codec: self.source.kind(),
            send_codec: self.send.settings.kind,
            stream: self.stream.session.stats(),
            jitter_buffer: self.source.jitter_stats(),
            level_dbov: self.score.level_db(),
            gain_db: self.normaliser.gain_db(),
            talking: self.talking,
            muted: self.muted,
            own_encoder: matches!(self.send.role, Role::Talker { .. }),
            fec_percent: if self.send.settings.kind == CodecKind::Opus {
                self.send.fec.percent()
            } else {
                0
            },
            remote: self.stream.latch.destination(),
            malformed: self.malformed + self.source.played.undecodable,
            refused: self.refused,
            decoded: self.source.played.decoded,
            skipped: self.source.played.skipped,
        }
    }
}

fn known(receive: &ReceiveMap, events: &EventMap, send: &CodecSettings) -> PayloadTypes {
    receive
        .iter()
        .map(|(pt, _)| *pt)
        .chain(events.iter().map(|(pt, _)| *pt))
        .chain(send.comfort_noise)
        .collect()
}
