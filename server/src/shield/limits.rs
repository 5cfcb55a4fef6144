//! Every bound of the shield, with what it protects.

use std::time::Duration;

/// Addresses watched at a time, about 100 bytes each: 2 MB. When all are busy a further one is counted among the
/// strangers only, unless it gave a wrong password: then the one with the fewest faults makes room.
pub const MAX_SOURCES: usize = 16_384;

/// Addresses with ports that proved themselves, about 250 bytes each with their places in the order: 16 MB. With more
/// the oldest proof is forgotten.
pub const MAX_PROVEN: usize = 65_536;

/// Of these so many of one address (IPv6: /64): a whole office behind one router fits in, and one host that proves its
/// ports one by one takes no place of others. With more its own oldest proof is forgotten.
pub const MAX_PROVEN_PER_SOURCE: usize = 4_096;

/// Of these so many of one account at one address: all phones of a person fit in. Each port of a banned address that
/// was proven before is good for one more guess, so one account in bad hands gives no more than these.
pub const MAX_PROVEN_PER_ACCOUNT: usize = 16;

/// Calls whose messages go first, about 50 bytes each: 3 MB. More go with the new requests.
pub const MAX_CALLS: usize = 65_536;

/// A call is still known so long after its end: its last retransmissions (64·T1) come through.
pub const CALL_LINGER: Duration = Duration::from_secs(40);

/// A proof is believed for so long: the longest registration that is granted, and a minute for its refresh.
pub const PROOF: Duration = Duration::from_secs(2 * 3_600 + 60);

/// Messages of one call: a second, and at once. Held keys, retransmissions and a roster five times a second fit in;
/// whoever learnt a Call-ID cannot flood with it.
pub const CALL_RATE: (f64, f64) = (40.0, 120.0);

/// New requests from one address and port that proved itself: a second, and at once.
pub const PROVEN_RATE: (f64, f64) = (50.0, 500.0);

/// New connections from one address: a second, and at once. All phones behind one router come back at once when a
/// server restarts; whoever opens more makes us work for nothing.
pub const CONNECTION_RATE: (f64, f64) = (20.0, 300.0);

/// Strangers may send for so long at their full rate before it counts: everybody joins at the full hour.
pub const STRANGERS_AT_ONCE: f64 = 4.0;

/// Wrong passwords are forgotten evenly over this time.
pub const FAULT_WINDOW: Duration = Duration::from_secs(600);

/// The tables are swept so often.
pub const SWEEP: Duration = Duration::from_secs(1);

/// How far into a datagram the Call-ID is looked for: real ones stand within the first kilobyte.
pub const PEEK: usize = 8_192;
