//! One conference room's audio: who is heard by whom, encoded once for all who hear the same.
//!
//! Bytes, an `Instant` and ticks go in; packets leave through the [`Outbox`]. The path of a packet:
//! [`Room::receive`] parses, latches and buffers it (`leg`); at the next [`Room::tick`] it is decoded only if it
//! can hold sound (`source`), normalised (`loudness`), summed (`mix`), ranked (`speaker`), encoded once for every
//! class of listeners and once for each talker without its own voice (`share`, `send`), and sent.
//!
//! The tick never allocates, frees, locks, logs or blocks. Deliberately absent: sockets, threads, clocks, SIP and
//! SDP, and SRTP, which whoever implements the `Outbox` adds; video and recording come later.

mod announce;
mod command;
mod error;
mod event;
mod lane;
mod leg;
pub mod limits;
mod loudness;
mod mix;
mod resample;
mod room;
mod send;
mod share;
mod source;
mod speaker;
mod stream;

pub use command::{
    Announcement, CodecSettings, Command, Direction, LegConfig, LegExtras, LegKey, LegUpdate,
    LegUpdateConfig, Trash,
};
pub use error::MixerError;
pub use event::{LegStats, MediaEvent, RoomStats};
pub use leg::Leg;
pub use room::{Outbox, Port, Room, RoomConfig};
pub use share::Encoders;
