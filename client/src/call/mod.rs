//! The softphone's signalling, without sockets, clock or randomness: one registration, one call, one roster.
//!
//! [`Phone`] stands on `sip_proto::endpoint` as the server's focus does: the driver hands in what arrived and the
//! time, and takes out datagrams and [`PhoneEvent`]s. Sound never passes here; what offer and answer agreed on goes
//! out as [`PhoneEvent::Media`]. Deliberately absent: name resolution, and more than one call at a time (a second
//! one is answered 486).

mod event;
mod hold;
mod phone;
mod roster;
mod session;
#[cfg(test)]
mod tests;

pub use event::{CallError, EndReason, Output, PhoneEvent};
pub use phone::{Phone, PhoneConfig};
pub use roster::{Participant, Roster};
