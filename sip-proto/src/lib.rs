//! Sans-IO SIP, SDP and digest: messages, transactions, dialogs, offer/answer.
//!
//! What goes in are bytes and instants, what comes out are bytes and events. The crate opens no
//! socket, reads no clock and draws no randomness of its own: `Instant`s and seeds are passed in,
//! so that every race can be replayed in a test.
//!
//! Layers, from the wire upwards:
//! [`framing`] cuts a byte stream into messages, [`message`] parses and writes them, [`headers`]
//! and [`uri`] give their values types, [`digest`] authenticates; [`transaction`], [`dialog`] and
//! [`usage`] are the state machines, [`endpoint`] is the façade over all of it; [`sdp`] and
//! [`conference_info`] are the bodies. Deliberately absent: transports, DNS, media.

pub mod conference_info;
pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod error;
pub mod framing;
mod grammar;
pub mod headers;
pub mod ids;
pub mod limits;
pub mod message;
pub mod sdp;
pub mod transaction;
pub mod uri;
pub mod usage;
