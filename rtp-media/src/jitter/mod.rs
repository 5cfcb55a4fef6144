//! The adaptive jitter buffer: packets in as the network brings them, frames out in order and in time.
//!
//! # How it keeps the delay small
//! The *lag* of a frame at some moment is the time since it could have been here at the earliest, that is over the
//! path's base delay ([`delay`]). The consumer pulls once a tick; on a clean network a frame that has arrived is
//! pulled at the next tick, so that its lag is anything under one tick. It falls out of that by itself that drift
//! between the clocks does no harm: when the lag has crept to more than a tick over the target, a frame is shortened
//! away; when a tick finds nothing, it is concealed and the lag is a tick larger.
//!
//! | event | answer | effect on the delay |
//! |---|---|---|
//! | next frame here | [`Pull::Frame`] | none |
//! | next frame here, all of the last 300 ms could have been a tick earlier, and the jitter allows it | `Frame` with `shorten` | falls |
//! | lag over the target by two ticks (a stall) | `Frame` with `shorten`, every 60 ms | falls |
//! | span waiting over `max_delay` | oldest dropped | falls at once |
//! | silent frame, too much lag | dropped | falls |
//! | silent frame, too little lag | [`Pull::Silence`] | grows |
//! | nothing here | [`Pull::Hold`], after 100 ms or a silent frame [`Pull::Silence`] | grows |
//! | gap in the sequence, already held for that long | passed over | none |
//! | gap in the sequence, lag under the target | `Hold` | grows |
//! | gap in the sequence otherwise | [`Pull::Lost`] | none |
//! | numbers of packets without audio ([`JitterBuffer::skip`]) | passed over, silent | none |
//! | gap in the timestamps alone (DTX) | passed over as soon as the next frame's lag reaches the target | resets |
//!
//! Deliberately absent: decoding, time-scale modification (the consumer blends what `shorten` takes away), and more
//! than one stream.

mod delay;
mod playout;
mod ring;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::limits::{JITTER_SLOTS, MAX_DELAY, MAX_PAYLOAD, TIMELINE_BREAK};
use crate::quality::Bursts;
use crate::units::{RtpTimestamp, SampleRate, SeqExt};
use delay::Delay;
use playout::Playout;
use ring::{Ring, Slot};

/// What a buffer is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JitterConfig {
    /// RTP clock of the payload: 48 000 for Opus, 8000 for G.711 and G.722.
    pub clock: SampleRate,
    /// What the consumer takes at a time: 20 ms.
    pub tick: Duration,
    /// Longest span that may wait.
    pub max_delay: Duration,
    /// The codec can rebuild a frame from the one behind it (Opus in-band FEC): while there is loss, one frame is
    /// kept back for that.
    pub fec: bool,
}

impl JitterConfig {
    /// Defaults for a clock: 20 ms ticks, [`MAX_DELAY`], no FEC.
    #[must_use]
    pub const fn new(clock: SampleRate) -> Self {
        Self {
            clock,
            tick: Duration::from_millis(20),
            max_delay: MAX_DELAY,
            fec: false,
        }
    }
}

/// A received frame to be inserted.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// From [`crate::session::Verdict`].
    pub seq: SeqExt,
    /// RTP timestamp of its first sample.
    pub timestamp: RtpTimestamp,
    /// Ticks of the RTP clock that it plays for (Opus: by its table of contents; G.711: payload bytes).
    pub duration: u32,
    /// RTP marker: the first frame of a talk spurt.
    pub marker: bool,
    /// The frame is known to hold silence (DTX, comfort noise, audio level 127): may be dropped or delayed freely.
    pub silent: bool,
    /// When the kernel received it.
    pub at: Instant,
    /// The encoded frame.
    pub payload: &'a [u8],
}

/// What became of an inserted frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// Waits for its time.
    Queued,
    /// Its time is over: already concealed or passed over.
    Late,
    /// It is or was here.
    Duplicate,
    /// Longer than [`MAX_PAYLOAD`], empty, or of no duration.
    Unusable,
}

/// One thing to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull<'a> {
    /// Decode this.
    Frame(Frame<'a>),
    /// A frame is missing and its successor is here: conceal `duration` ticks, by FEC when the successor's payload
    /// is given. The buffer has moved on.
    Lost {
        /// Ticks of the RTP clock to conceal.
        duration: u32,
        /// Payload of the packet right behind the lost one.
        fec: Option<&'a [u8]>,
    },
    /// Nothing is there although it is due: conceal what this tick still needs. The buffer stays where it is.
    Hold,
    /// The peer is silent, has not begun, or is gone: silence or comfort noise for what this tick still needs. The
    /// buffer stays where it is.
    Silence,
}

/// A frame to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Extended sequence number.
    pub seq: SeqExt,
    /// RTP timestamp.
    pub timestamp: RtpTimestamp,
    /// Ticks that it plays for.
    pub duration: u32,
    /// RTP marker.
    pub marker: bool,
    /// As given to `insert`.
    pub silent: bool,
    /// Ticks of the RTP clock by which the delay must fall: decode the frame, then take that much out of it, blending
    /// over the cut. Zero as a rule. When it equals `duration`, nothing of the frame's time remains, and its
    /// successor is here to be pulled and blended with.
    pub shorten: u32,
    /// The encoded frame.
    pub payload: &'a [u8],
}

/// Counters and the state of the delay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Smoothed time that a frame waits between its arrival and its pull.
    pub delay: Duration,
    /// Delay that the measured jitter asks for, over that of a perfect network.
    pub target: Duration,
    /// Span of media waiting now.
    pub queued: Duration,
    /// Frames pulled.
    pub played: u64,
    /// Frames that came after their time.
    pub late: u64,
    /// Frames that came twice.
    pub duplicates: u64,
    /// Frames that were missing when their time came.
    pub lost: u64,
    /// Ticks of the RTP clock concealed, lost or held.
    pub concealed: u64,
    /// Frames dropped to bring the delay down at once.
    pub dropped: u64,
    /// Frames given out with `shorten`.
    pub shortened: u64,
    /// What was there in its time and what not, in bursts and gaps.
    pub bursts: Bursts,
    /// Time that the last frame played for.
    pub packet: Duration,
}

/// Orders frames in time.
#[derive(Debug)]
pub struct JitterBuffer {
    config: JitterConfig,
    ring: Ring,
    delay: Delay,
    play: Playout,
    /// Where microseconds are counted from: the first arrival.
    epoch: Option<Instant>,
    /// The last timestamp, extended.
    last_ts: i64,
    stats: JitterStats,
    /// Microseconds.
    smoothed: i64,
}

impl JitterBuffer {
    /// An empty buffer with all its memory.
    #[must_use]
    pub fn new(config: JitterConfig) -> Self {
        Self {
            config,
            ring: Ring::new(),
            delay: Delay::new(),
            play: Playout::new(),
            epoch: None,
            last_ts: 0,
            stats: JitterStats::default(),
            smoothed: 0,
        }
    }

    /// Puts a received frame in its place.
    pub fn insert(&mut self, arrival: &Arrival<'_>) -> Inserted {
        let length = arrival.payload.len();
        if length == 0 || length > MAX_PAYLOAD || arrival.duration == 0 {
            return Inserted::Unusable;
        }
        if self.ring.get(arrival.seq).is_some() || self.play.was_played(arrival.seq) {
            self.stats.duplicates += 1;
            return Inserted::Duplicate;
        }
        let ts = self.extend(arrival.timestamp);
        let at = self.micros(arrival.at);
        let transit = at - self.config.clock.micros(ts);
        let late = self.is_late(arrival.seq);
        if self.delay.breaks(transit, TIMELINE_BREAK.as_micros() as i64) {
            if late {
                self.stats.late += 1;
                return Inserted::Late;
            }
            self.start_timeline();
        }
        self.last_ts = ts;
        self.delay
            .observe(at, transit, self.config.clock.micros(i64::from(arrival.duration)));
        if late {
            self.stats.late += 1;
            return Inserted::Late;
        }
        self.make_room(arrival.seq);
        let slot = Slot::new(
            arrival.seq,
            ts,
            arrival.duration,
            arrival.marker,
            arrival.silent,
            arrival.at,
            length,
        );
        self.ring.put(slot, arrival.payload);
        self.play.expect(&slot);
        Inserted::Queued
    }

    /// A packet of the stream that carries no audio (telephone event, comfort noise): its number is neither lost nor
    /// awaited, and what it stands in for is silence.
    pub fn skip(&mut self, seq: SeqExt) {
        self.play.skip(seq);
    }

    /// Forgets the stream and its history (new source, restarted sequence); counters stay.
    pub fn reset(&mut self) {
        self.ring.clear();
        self.delay = Delay::new();
        self.play = Playout::new();
        self.epoch = None;
        self.last_ts = 0;
    }

    /// As [`reset`](Self::reset), with another configuration (payload type changed to a codec of another clock).
    pub fn reconfigure(&mut self, config: JitterConfig) {
        self.config = config;
        self.reset();
    }

    /// Counters and delay.
    #[must_use]
    pub fn stats(&self) -> JitterStats {
        let micros = |value: i64| Duration::from_micros(value.max(0).cast_unsigned());
        JitterStats {
            delay: micros(self.smoothed),
            target: micros(self.target()),
            queued: micros(self.config.clock.micros(self.span())),
            packet: self.config.clock.duration(u64::from(self.play.duration())),
            ..self.stats
        }
    }

    /// The timestamp nearest to the last one.
    fn extend(&self, timestamp: RtpTimestamp) -> i64 {
        if self.epoch.is_none() {
            return i64::from(timestamp.0);
        }
        self.last_ts + i64::from(timestamp.since(RtpTimestamp(self.last_ts as u32)))
    }

    fn micros(&mut self, at: Instant) -> i64 {
        let epoch = *self.epoch.get_or_insert(at);
        signed_micros(epoch, at)
    }

    /// The sender's timestamps leapt: what waits belongs to another time. The sequence goes on.
    fn start_timeline(&mut self) {
        self.stats.dropped += self.ring.count() as u64;
        self.ring.clear();
        self.delay = Delay::new();
        self.play.start_timeline();
    }

    /// Whether its time is over, or it lies so far before the others that the ring cannot hold both.
    fn is_late(&self, seq: SeqExt) -> bool {
        let last = self.ring.last().map_or(seq, |slot| slot.seq);
        self.play.is_past(seq) || seq.plus(JITTER_SLOTS as u64) <= last
    }

    /// Lets go of whatever is too old for the ring to hold beside `seq`.
    fn make_room(&mut self, seq: SeqExt) {
        let oldest = SeqExt(seq.0.saturating_sub(JITTER_SLOTS as u64 - 1));
        while let Some(front) = self
            .play
            .next()
            .and_then(|next| self.ring.first_from(next))
            .copied()
        {
            if front.seq >= oldest {
                break;
            }
            self.ring.take(front.seq);
            self.stats.dropped += 1;
            self.play.pass(&front);
        }
        if let Some(next) = self.play.next().filter(|next| *next < oldest) {
            let lost = oldest.0 - next.0 - self.play.skipped_before(oldest);
            self.stats.lost += lost;
            self.stats.bursts.missing(lost);
            self.play.skip_to(oldest);
        }
    }

    /// Ticks of the RTP clock that wait.
    fn span(&self) -> i64 {
        let next = self.play.next();
        next.map_or(0, |next| self.ring.span_from(next))
    }
}

/// Microseconds from `from` to `to`, negative when `to` is earlier.
fn signed_micros(from: Instant, to: Instant) -> i64 {
    match to.checked_duration_since(from) {
        Some(passed) => passed.as_micros() as i64,
        None => -(from.saturating_duration_since(to).as_micros() as i64),
    }
}
