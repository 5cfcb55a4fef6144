//! Session descriptions (SDP, RFC 8866): a lossless model, its reader and writer, and typed views.
//!
//! A description is kept as the lines it was made of: unknown line types and attributes survive in their
//! place, and what is printed is what was read, except that every line ends in CRLF and that surplus spaces
//! inside `o=`, `c=` and `m=` are gone. Meaning is read on demand by the typed views ([`attributes`]): a line that a
//! view cannot understand costs that view, never the whole description.
//!
//! [`offer_answer`] is the state machine of RFC 3264 over these descriptions.
//!
//! Deliberately absent: any judgement about DTLS (`a=fingerprint`, `a=setup`) and ICE, which are carried but not read; repeat times and time zones, which are kept as text.

pub mod attributes;
mod crypto;
mod error;
pub mod limits;
mod model;
pub mod offer_answer;
mod opus;
mod parse;
mod views;
mod write;

pub use attributes::{Direction, Fmtp, Group, RtcpPort, RtpMap};
pub use crypto::{Crypto, CryptoSuite, KeyMaterial};
pub use error::{SdpError, SdpErrorKind};
pub use model::{
    Attribute, Bandwidth, Connection, Line, MediaDescription, MulticastScope, Origin, SessionDescription,
};
pub use opus::OpusParams;
pub use parse::parse;

/// The content type of a session description (RFC 8866 §8.1).
pub const CONTENT_TYPE: &str = "application/sdp";
