//! Adaptive jitter buffer (signatures; bodies follow).
use crate::units::{RtpTimestamp, SampleRate, SeqExt};
use std::time::{Duration, Instant};

/// What a buffer is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JitterConfig {
    /// RTP clock of the payload: 48 000 for Opus, 8000 for G.711 and G.722.
    pub clock: SampleRate,
    /// What the consumer takes at a time: 20 ms.
    pub tick: Duration,
    /// Longest span that may wait.
    pub max_delay: Duration,
    /// The codec can rebuild a frame from the one behind it (Opus in-band FEC): while there is loss, one frame is kept back for that.
    pub fec: bool,
}

impl JitterConfig {
    /// Defaults for a clock: 20 ms ticks, [`crate::limits::MAX_DELAY`], no FEC.
    #[must_use]
    pub const fn new(clock: SampleRate) -> Self {
        Self {
            clock,
            tick: Duration::from_millis(20),
            max_delay: crate::limits::MAX_DELAY,
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
    /// The frame is known to hold silence (DTX, comfort noise, audio level 127): may be dropped or repeated freely.
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
    /// Its time is over: already concealed or skipped.
    Late,
    /// It is or was here.
    Duplicate,
    /// Longer than [`crate::limits::MAX_PAYLOAD`], or empty, or of no duration.
    Unusable,
}

/// One thing to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull<'a> {
    /// Decode this.
    Frame(Frame<'a>),
    /// A frame is missing and its successor is here: conceal `duration` ticks, by FEC when the successor's payload is given. The buffer has moved on.
    Lost {
        /// Ticks of the RTP clock to conceal.
        duration: u32,
        /// Payload of the packet right behind the lost one.
        fec: Option<&'a [u8]>,
    },
    /// Nothing is there although it is due: conceal what this tick still needs. The buffer stays where it is.
    Hold,
    /// The peer is silent, has not begun, or is gone: silence or comfort noise for what this tick still needs. The buffer stays where it is.
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
    /// The delay must fall by this frame's duration: decode it, but blend it into the next one (which is in the buffer), so that both together take the next one's time.
    pub shorten: bool,
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
    /// Frames reported as `Lost`.
    pub lost: u64,
    /// Ticks of the RTP clock concealed, lost or held.
    pub concealed: u64,
    /// Frames dropped to bring the delay down at once.
    pub dropped: u64,
    /// Frames given out with `shorten`.
    pub shortened: u64,
}

/// Orders frames in time.
#[derive(Debug)]
pub struct JitterBuffer {
    config: JitterConfig,
}
impl JitterBuffer {
    /// An empty buffer with all its memory.
    #[must_use]
    pub fn new(config: JitterConfig) -> Self {
        Self { config }
    }
    /// Puts a received frame in its place.
    pub fn insert(&mut self, _arrival: &Arrival<'_>) -> Inserted {
        Inserted::Queued
    }
    /// What to play next. The consumer calls it until it has one tick of samples; `need` is what this tick still lacks, in ticks of the RTP clock.
    pub fn pull(&mut self, _now: Instant, _need: u32) -> Pull<'_> {
        Pull::Silence
    }
    /// Forgets stream and history (new source, restarted sequence); counters stay.
    pub fn reset(&mut self) {}
    /// As `reset`, and another clock (payload type changed to a codec of another rate).
    pub fn reconfigure(&mut self, config: JitterConfig) {
        self.config = config;
    }
    /// Counters and delay.
    #[must_use]
    pub fn stats(&self) -> JitterStats {
        JitterStats::default()
    }
}
