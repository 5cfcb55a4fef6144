//! Every bound of the mixer, with its reason and what it costs.

use std::time::Duration;

/// The tick: 20 ms, the packet time of nearly every phone and Opus' best trade of delay and cost.
pub const TICK: Duration = Duration::from_millis(20);

/// Samples at 48 kHz in a tick.
pub const TICK_SAMPLES: usize = 960;

/// Legs in one room unless configured otherwise. Each costs about 0.1 MB (jitter buffer 20 kB, a decoder of libopus
/// 25 kB, PCM buffers); up to [`MAX_TALKERS`] twice, it costs an encoder of 45 kB more.
pub const DEFAULT_MAX_LEGS: usize = 1_000;

/// Talkers mixed at the same time: what a CSRC list holds (RFC 3550 §5.1).
pub const MAX_TALKERS: usize = 15;

/// Payload types that a leg may receive; an offer of a phone has about ten.
pub const MAX_PAYLOAD_TYPES: usize = 16;

/// Telephone-event payload types of a leg: one for each clock rate.
pub const MAX_EVENT_TYPES: usize = 4;

/// Events waiting for the control side. Levels and speaker changes are dropped above
/// [`EVENTS_FOR_LEVELS`]; the rest is kept for digits and deaths.
pub const EVENT_QUEUE: usize = 1_024;

/// Above this many waiting events only digits and deaths are taken.
pub const EVENTS_FOR_LEVELS: usize = 512;

/// Packets that one leg may bring in one tick; what comes above is dropped unparsed. A burst after a stall of one
/// second at 10 ms a packet passes.
pub const MAX_PACKETS_PER_TICK: u32 = 128;

/// Longest packet that a tick produces: 60 ms of Opus at most 1275 bytes a frame, of which we make one; G.711 at
/// 60 ms has 480.
pub const MAX_SENT_PAYLOAD: usize = 1_300;

/// Room for an RTP header with a full CSRC list and the level of each in an extension.
pub const MAX_HEADER: usize = 12 + 4 * MAX_TALKERS + 4 + 16;

/// Longest time that silence may be left unsent with discontinued transmission: phones and NATs must not time out.
pub const DTX_INTERVAL_TICKS: u32 = 20;

/// Longest digit that can be sent.
pub const MAX_DIGIT: Duration = Duration::from_secs(5);
