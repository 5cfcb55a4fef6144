//! Named limits of the wire layer: what a peer may make us hold, and why that much.
//!
//! Limits of transactions, dialogs and subscriptions stand with their machines' owners in the
//! same spirit; whoever needs a number that a stranger can drive up gives it a name here.

/// Longest message, head and body together. A datagram cannot be longer (RFC 3261 §18.1.1 has
/// messages up to 65,535 bytes accepted); on streams it bounds the receive buffer of a connection.
pub const MAX_MESSAGE_BYTES: usize = 65_536;

/// Longest head: start line and headers. Bodies may fill the rest; no sane head passes 32 KiB,
/// and the framer must be able to give up on a head that never ends.
pub const MAX_HEAD_BYTES: usize = 32_768;

/// Longest start line. RFC 4475 §3.1.1.7 has one of some 600 bytes.
pub const MAX_START_LINE_BYTES: usize = 4_096;

/// Longest single header with its folded lines; room for an Identity header or a long credential.
pub const MAX_HEADER_BYTES: usize = 8_192;

/// Header lines in one message: 70 Via and 70 Record-Route values on lines of their own (the
/// largest Max-Forwards in use) and as many again for everything else.
pub const MAX_HEADERS: usize = 256;

/// Elements of one comma-separated header taken apart at once.
pub const MAX_LIST_ELEMENTS: usize = 256;

/// Parameters of one URI or header value: bounds the work of duplicate checks and comparisons.
pub const MAX_PARAMS: usize = 64;

/// Keep-alive line ends skipped before a message in one datagram or between two on a stream,
/// after which the peer is not speaking SIP.
pub const MAX_LEADING_LINE_ENDS: usize = 64;

/// Nonces whose counters the digest verifier remembers for its replay check. 64 bytes or so each: 8 MiB.
/// Only right passwords get a place, so a hundred thousand phones may refresh with the nonce they have.
/// Older ones fall out and are answered with `stale=true`.
pub const MAX_TRACKED_NONCES: usize = 131_072;

/// Nonce counts ahead of the highest seen one that a nonce remembers individually, so that
/// requests which overtake each other on UDP are not taken for replays.
pub const NONCE_COUNT_WINDOW: u32 = 64;
