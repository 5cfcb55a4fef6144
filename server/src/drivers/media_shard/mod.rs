//! The media shards: OS threads that own the sockets and mixers of their rooms.
//!
//! What and why: RTP never enters tokio. A shard runs to absolute 20 ms deadlines, the rooms
//! staggered over the 20 ms; at its tick a room's commands are taken, its sockets drained
//! (arrival times are the kernel's), its mixer ticked, its packets sent. The tick neither
//! allocates, frees, locks, logs nor blocks: legs arrive built, removed ones go back on a trash
//! ring, events and statistics go through rings, counters are atomics. Missed ticks are skipped
//! and counted. A panic is caught per room: that room is closed and its people are told.
//! See ADR 4. Deliberately absent: anything that knows SIP.

mod counters;
mod handle;
mod pace;
mod shard;
mod slot;
mod sockets;

pub use counters::ShardCounters;
pub use handle::{MediaError, RoomMedia, ShardPool};
pub use sockets::{LegSockets, Receiver};

use mixer::{LegKey, LegStats, MediaEvent};
use rtp_media::srtp::SrtpChange;

/// What a room task asks of its shard.
pub enum RoomCommand {
    /// The sockets of a leg; before the leg itself.
    Attach(LegKey, Box<LegSockets>),
    /// RTCP BYE, then the leg and its sockets come back on the trash ring.
    CloseLeg(LegKey),
    /// Other keys for a leg.
    Rekey(LegKey, Box<SrtpChange>),
    /// For the mixer.
    Mixer(mixer::Command),
    /// BYE to all legs; the room comes back as a whole.
    Close,
    /// A fault in the tick, to see who suffers from it.
    #[cfg(test)]
    Fault,
}

/// What the shard gives back, so that it never frees.
pub enum Discarded {
    /// Of a closed leg.
    Sockets(Box<LegSockets>),
    /// Contexts of keys that are no longer in use.
    Keys(Box<SrtpChange>),
    /// From the mixer.
    Mixer(mixer::Trash),
}

/// What the shard tells a room task.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::large_enum_variant,
    reason = "made when it is fetched; the rings carry each kind apart"
)]
pub enum ShardEvent {
    /// From the mixer.
    Media(MediaEvent),
    /// Statistics of a leg, about once a second.
    Stats(LegKey, LegStats),
    /// The room is gone; `failed`: by a panic.
    Closed {
        /// Not by a `Close`.
        failed: bool,
    },
}
