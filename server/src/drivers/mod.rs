//! Everything that touches a socket, a clock or a thread.
//!
//! The signalling task owns the `Endpoint` and the focus; every room has a task of its own; RTP
//! stays on the media shards and never enters tokio. How a datagram and an RTP packet travel:
//! `server/docs/packets.md`. Deliberately absent: decisions (see `focus` and `registrar`).

pub mod capture;
pub mod http_api;
pub mod limits;
pub mod listen;
pub mod media_shard;
pub mod priority;
pub mod room_task;
pub mod route;
mod seats;
pub mod shared_shield;
pub mod signalling;
pub mod stamped;
pub mod stream;
mod stun;
pub mod transport;
mod turn;
pub mod udp;
