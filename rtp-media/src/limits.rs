//! Every bound of this crate, by name, with its reason and what it costs.
//!
//! Deliberately absent: limits that belong to a room or a server (members, rooms, rates).

use std::time::Duration;

/// Largest RTP payload that the jitter buffer keeps: an Ethernet MTU. The biggest audio frame is an Opus packet of
/// 1275 bytes (RFC 6716 §3.4).
pub const MAX_PAYLOAD: usize = 1500;

/// Packets that the jitter buffer holds at most: 640 ms at 20 ms a packet and 320 ms at 10 ms, well above
/// [`MAX_DELAY`]. A power of two, because it indexes a ring.
pub const JITTER_SLOTS: usize = 32;

/// Bytes of all payloads that wait in one jitter buffer: [`MAX_DELAY`] of 600 kbit/s, which is above the highest rate of
/// any codec here (Opus, 510 kbit/s). Memory per leg, of which only what is used becomes resident.
pub const JITTER_BYTES: usize = 16 * 1024;

/// Longest span of media that may wait in the jitter buffer, hence the most delay it can ever add. Beyond 200 ms a
/// conversation suffers (ITU-T G.114 puts the comfortable one-way total at 150 ms).
pub const MAX_DELAY: Duration = Duration::from_millis(200);

/// How long missing audio is concealed before it becomes silence: concealment of speech is unintelligible after
/// about 100 ms.
pub const MAX_CONCEALMENT: Duration = Duration::from_millis(100);

/// A jump of the media clock against the arrival clock that is a new timeline and not jitter: senders that freeze or
/// restart their timestamp on hold.
pub const TIMELINE_BREAK: Duration = Duration::from_millis(1000);

/// Good packets in a row that end a burst of loss (RFC 3611 §4.7.2 recommends 16).
pub const GMIN: u64 = 16;

/// Reflection coefficients of comfort noise that are used (RFC 3389 §3.2 sets no bound; senders have ten).
pub const MAX_NOISE_ORDER: usize = 12;

/// How long comfort noise goes on without a further packet: a peer that is gone must not hiss for ever, and one that
/// describes its silence once only is heard that long.
pub const MAX_NOISE: Duration = Duration::from_secs(30);

/// Sequence numbers skipped that still count as loss (RFC 3550 A.1 `MAX_DROPOUT`): a minute at 20 ms.
pub const MAX_DROPOUT: u16 = 3000;

/// Sequence numbers back that still count as reordering (RFC 3550 A.1 `MAX_MISORDER`): two seconds at 20 ms.
pub const MAX_MISORDER: u16 = 100;

/// Packets in sequence before a new source is believed (RFC 3550 A.1 `MIN_SEQUENTIAL`).
pub const MIN_SEQUENTIAL: u8 = 2;

/// CSRC entries in one packet: the field has four bits (RFC 3550 §5.1).
pub const MAX_CSRCS: usize = 15;

/// Report blocks in one SR or RR: the field has five bits (RFC 3550 §6.4.1).
pub const MAX_REPORT_BLOCKS: usize = 31;

/// Bytes of one SDES item or BYE reason: the length field has eight bits (RFC 3550 §6.5).
pub const MAX_SDES_TEXT: usize = 255;

/// Silence of the latched source before another address may take its place.
pub const RELATCH_SILENCE: Duration = Duration::from_millis(500);

/// Consecutive packets of the same stream from a new address before it takes the latch.
pub const RELATCH_PACKETS: u8 = 5;

/// Addresses that may compete for the latch at the same time. Bounds the memory that a flood from forged sources
/// costs: 8 × 48 bytes per leg.
pub const LATCH_CANDIDATES: usize = 8;

/// A packet with our SSRC within this time of the last such is our own stream looped back (an echo service), and no
/// reason to change the SSRC again.
pub const COLLISION_HOLD: Duration = Duration::from_secs(10);

/// Longest pause between packets of one telephone event before it is taken as ended although its end was lost. The
/// sender repeats at its packet interval, at most 50 ms in practice (RFC 4733 §2.5.1.2).
pub const EVENT_TIMEOUT: Duration = Duration::from_millis(200);

/// Completed telephone events waiting to be fetched; more in one packet interval are not keyed by a human.
pub const EVENT_QUEUE: usize = 4;

/// UDP payload bytes that one captured packet may carry: what an IPv4 datagram can hold.
pub const MAX_CAPTURED: usize = 65_507;

/// Sources whose rollover counter and replay window one SRTP context keeps in each direction of RTP and of RTCP.
/// None is ever given up, because its old packets could be replayed then (and, where we send, a key stream used
/// twice): a peer that changes its SSRC more often brings a new key by a re-INVITE. Memory: 64 × 48 bytes, twice.
pub const SRTP_SOURCES: usize = 64;

/// Packets back that the replay window remembers. RFC 3711 §3.3.2 wants 64 at least; 128 are 2.5 s at 20 ms.
pub const SRTP_REPLAY_WINDOW: u64 = 128;

/// The last index that one SRTP master key may protect: 48 bits of it (RFC 3711 §9.2).
pub const SRTP_LAST_INDEX: u64 = (1 << 48) - 1;

/// The last index that one master key may protect in SRTCP: 31 bits of it (RFC 3711 §9.2).
pub const SRTCP_LAST_INDEX: u32 = (1 << 31) - 1;

/// Largest datagram that can be opened while the key before is still taken: it is copied, because a failed try spoils
/// it. What our sockets read, with room to spare.
pub const SRTP_DATAGRAM: usize = 2048;
