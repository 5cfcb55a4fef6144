//! Everything with a socket or a clock: the SIP socket, and the loop that joins signalling, sound and interface.
//!
//! Deliberately absent: decisions about SIP, which are `crate::call`'s, and about sound, which are
//! `crate::media`'s.

mod conversation;
mod local_media;
mod locate;
mod net;
mod presence;
mod signalling;
mod signals;

pub use conversation::{Conversation, Purpose};
pub use presence::Front;
pub use signalling::Signalling;
