//! A room: its legs, and the commands that change them. The tick itself is in `tick`.
//!
//! All memory for legs, classes and events is reserved when the room is made. Deliberately absent: rights
//! and roles; the focus decides who may do what.

mod tick;

use crate::announce::Announcer;
use crate::event::EventQueue;
use crate::limits::{DEFAULT_MAX_LEGS, MAX_TALKERS, TICK_SAMPLES};
use crate::mix::{Frame, Limiter};
use crate::resample::Downsampler;
use crate::share::Classes;
use crate::source::Scratch;
use crate::speaker::ActiveSpeaker;
use crate::stream::PACKET_BUFFER;
use crate::{Command, Leg, LegKey, LegStats, LegUpdate, MediaEvent, RoomStats, Trash};
use arrayvec::ArrayVec;
use rtp_media::codec::opus::toc::MAX_PACKET_SAMPLES;
use rtp_media::units::{NtpTime, Ssrc};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The only way out: where a room's packets go. Called within the tick, so it must neither allocate nor block.
pub trait Outbox {
    /// Sends an RTP packet from the leg's RTP port.
    fn rtp(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8]);
    /// Sends an RTCP packet from the leg's RTCP port.
    fn rtcp(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8]);
    /// Sends an RTCP packet from the leg's RTP port, whether or not it has another (RFC 5761 §3).
    fn rtcp_muxed(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8]) {
        self.rtcp(leg, to, packet);
    }
}

/// Which of a leg's ports a datagram came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// The RTP port; RTCP too, when muxed.
    Rtp,
    /// The RTCP port.
    Rtcp,
}

/// Settings of a room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoomConfig {
    /// Legs that the room takes.
    pub max_legs: usize,
    /// Talkers mixed at a time, at most [`MAX_TALKERS`].
    pub max_talkers: usize,
    /// Level in dB of full scale from which a leg is heard. Room noise lies around −55.
    pub activity_dbfs: f32,
    /// Bring talkers to one loudness.
    pub normalise: bool,
    /// RTP silence after which [`MediaEvent::Silent`] is told.
    pub silence_timeout: Duration,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            max_legs: DEFAULT_MAX_LEGS,
            max_talkers: MAX_TALKERS,
            activity_dbfs: -50.0,
            normalise: true,
            silence_timeout: Duration::from_secs(15),
        }
    }
}

/// One room's media.
pub struct Room {
    config: RoomConfig,
    /// Sorted by key.
    #[expect(
        clippy::vec_box,
        reason = "legs travel in their boxes, which must neither be freed here nor copied when another one comes"
    )]
    legs: Vec<Box<Leg>>,
    /// Their keys alone: to find a leg must not touch the others.
    keys: Vec<LegKey>,
    /// Where the leg behind the one last received for lies: datagrams are brought in the legs' order.
    next: usize,
    classes: Classes,
    events: EventQueue,
    speaker: ActiveSpeaker,
    announcer: Announcer,
    tick: u64,
    due: Option<Instant>,
    stats: RoomStats,
    sum: Box<Frame>,
    work: Box<Frame>,
    /// What packets are decoded into.
    scratch: Box<Scratch>,
    shared: SharedMix,
    /// Places of the legs that are mixed in this tick.
    talkers: Vec<usize>,
    /// Places of the legs that have an encoder of their own in this tick.
    owners: Vec<usize>,
    csrcs: ArrayVec<Ssrc, MAX_TALKERS>,
    /// Their levels, as RFC 6465 tells them.
    levels: ArrayVec<u8, MAX_TALKERS>,
    buffer: Box<[u8; PACKET_BUFFER]>,
}

/// What all listeners hear, at every rate that somebody needs.
struct SharedMix {
    limiter: Limiter,
    full: Box<Frame>,
    wide: Low,
    narrow: Low,
}

/// The shared mix at a phone's rate.
struct Low {
    down: Downsampler,
    pcm: Box<[f32]>,
    fresh: bool,
}

impl Low {
    fn new(factor: usize) -> Self {
        Self {
            down: Downsampler::new(factor),
            pcm: vec![0.0; TICK_SAMPLES / factor].into(),
            fresh: false,
        }
    }
}

impl Room {
    /// An empty room; allocates all that it will need.
    pub fn new(config: RoomConfig) -> Self {
        let config = RoomConfig {
            max_talkers: config.max_talkers.clamp(1, MAX_TALKERS),
            ..config
        };
        Self {
            config,
            legs: Vec::with_capacity(config.max_legs),
            keys: Vec::with_capacity(config.max_legs),
            next: 0,
            classes: Classes::new(config.max_legs, config.max_talkers),
            events: EventQueue::new(),
            speaker: ActiveSpeaker::new(),
            announcer: Announcer::new(),
            tick: 0,
            due: None,
            stats: RoomStats::default(),
            sum: Box::new([0.0; TICK_SAMPLES]),
            work: Box::new([0.0; TICK_SAMPLES]),
            scratch: Box::new([0.0; MAX_PACKET_SAMPLES]),
            shared: SharedMix {
                limiter: Limiter::new(),
                full: Box::new([0.0; TICK_SAMPLES]),
                wide: Low::new(3),
                narrow: Low::new(6),
            },
            talkers: Vec::with_capacity(config.max_legs),
            owners: Vec::with_capacity(config.max_legs),
            csrcs: ArrayVec::new(),
            levels: ArrayVec::new(),
            buffer: Box::new([0; PACKET_BUFFER]),
        }
    }

    /// Applies a command; never allocates or frees. Drop what comes back off the media thread.
    pub fn command(&mut self, command: Command, now: Instant) -> Option<Trash> {
        match command {
            Command::Add(leg) => self.add(leg, now),
            Command::Remove(key) => self.remove(key),
            Command::Update(key, update) => Some(Trash::Update(self.update(key, update, now))),
            Command::Mute(key, muted) => {
                if let Some(leg) = self.leg_mut(key) {
                    leg.muted = muted;
                }
                None
            }
            Command::SendDigit(key, digit, duration) => {
                let tick = self.tick;
                if let Some(leg) = self.leg_mut(key) {
                    let clock = leg.send.settings.kind.rtp_clock_rate();
                    leg.stream
                        .start_digit((digit, duration), clock, &leg.events, tick + 1);
                }
                None
            }
            Command::Announce(announcement) => {
                self.announcer.start(announcement);
                None
            }
        }
    }

    /// Takes a datagram that came for a leg.
    pub fn receive(&mut self, leg: LegKey, port: Port, from: SocketAddr, bytes: &[u8], arrival: Instant) {
        let Some(at) = self.follow(leg) else { return };
        if let Some(leg) = self.legs.get_mut(at) {
            leg.receive(
                port,
                from,
                bytes,
                arrival,
                self.config.activity_dbfs,
                &mut self.events,
            );
        }
    }

    /// All that came for a leg before the tick at `now` was given: its sound is prepared at once, while its memory is
    /// at hand, for a room of a thousand is far larger than the processor's cache. Not needed: [`Room::tick`] does it
    /// for all legs that were not prepared. What is received between the two belongs to the next tick;
    /// a command between them counts in this one.
    pub fn prepare(&mut self, leg: LegKey, now: Instant) {
        let Some(at) = self.follow(leg) else { return };
        if let Some(leg) = self.legs.get_mut(at)
            && !leg.prepared
        {
            leg.begin_tick(
                now,
                self.config.activity_dbfs,
                self.config.silence_timeout,
                &mut self.events,
                &mut self.scratch,
            );
            leg.prepared = true;
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop()
    }

    /// State of a leg.
    pub fn stats(&self, leg: LegKey) -> Option<LegStats> {
        let at = self.place(leg).ok()?;
        self.legs.get(at).map(|leg| leg.stats())
    }

    /// Counters of the room.
    pub fn room_stats(&self) -> RoomStats {
        RoomStats {
            legs: self.legs.len(),
            classes: self.classes.listened(),
            events_dropped: self.events.dropped(),
            ..self.stats
        }
    }

    /// Keys of the legs, in order.
    pub fn legs(&self) -> impl Iterator<Item = LegKey> + '_ {
        self.legs.iter().map(|leg| leg.key)
    }

    /// Sends the RTCP BYE of a leg that will be removed.
    pub fn leave(&mut self, leg: LegKey, now: Instant, wall: NtpTime, out: &mut dyn Outbox) {
        if let Ok(at) = self.place(leg)
            && let Some(leg) = self.legs.get_mut(at)
        {
            leg.stream.bye(now, wall, &mut self.buffer[..], out);
        }
    }

    fn place(&self, key: LegKey) -> Result<usize, usize> {
        self.keys.binary_search(&key)
    }

    /// As [`place`](Self::place), for who comes in order.
    fn follow(&mut self, key: LegKey) -> Option<usize> {
        let places = [self.next, self.next.wrapping_sub(1)];
        let near = places.into_iter().find(|at| self.keys.get(*at) == Some(&key));
        let at = near.or_else(|| self.place(key).ok())?;
        self.next = at + 1;
        Some(at)
    }

    fn leg_mut(&mut self, key: LegKey) -> Option<&mut Leg> {
        let at = self.place(key).ok()?;
        self.legs.get_mut(at).map(Box::as_mut)
    }

    fn add(&mut self, mut leg: Box<Leg>, now: Instant) -> Option<Trash> {
        let at = match self.place(leg.key) {
            Err(at) if self.legs.len() < self.config.max_legs => at,
            _ => return Some(Trash::Refused(leg)),
        };
        leg.send.enter(&mut self.classes);
        leg.expect_from(now);
        let surplus = std::mem::take(&mut leg.send.spare);
        self.keys.insert(at, leg.key);
        self.legs.insert(at, leg);
        (surplus.count() > 0).then_some(Trash::Encoders(surplus))
    }

    fn remove(&mut self, key: LegKey) -> Option<Trash> {
        let at = self.place(key).ok()?;
        let mut leg = self.legs.remove(at);
        self.keys.remove(at);
        leg.send.exit(&mut self.classes);
        if self.speaker.forget(key) {
            self.events.push(MediaEvent::ActiveSpeaker { leg: None });
        }
        Some(Trash::Leg(leg))
    }

    fn update(&mut self, key: LegKey, mut update: Box<LegUpdate>, now: Instant) -> Box<LegUpdate> {
        let Ok(at) = self.place(key) else { return update };
        let tick = self.tick;
        let Some(leg) = self.legs.get_mut(at) else {
            return update;
        };
        leg.expect_from(now);
        if !leg.renegotiate(&mut update) {
            return update;
        }
        let same_encoder = crate::share::ClassKey::new(&leg.send.settings, 0)
            == crate::share::ClassKey::new(&update.send.settings, 0);
        if same_encoder {
            leg.send.settings = update.send.settings;
            return update;
        }
        std::mem::swap(&mut leg.send, &mut update.send);
        leg.send.fec = update.send.fec;
        leg.codec_changed(tick);
        update.send.exit(&mut self.classes);
        leg.send.enter(&mut self.classes);
        update.surplus = std::mem::take(&mut leg.send.spare);
        update
    }
}
