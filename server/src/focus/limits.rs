//! Every bound of the focus, each with its reason and the memory that it bounds.

use std::time::Duration;

/// Rooms alive at once. A room's state is about 4 kB without legs: 4 MB.
pub const MAX_ROOMS: usize = 1_000;

/// Legs in one room. A leg's signalling state is about 8 kB (two SDPs and the person): 16 MB.
pub const MAX_LEGS_PER_ROOM: usize = 2_048;

/// Roster subscriptions to one room. Each costs a full document on every change.
pub const MAX_SUBSCRIPTIONS_PER_ROOM: usize = 1_000;

/// Names remembered as ended; the oldest is forgotten first. About 100 bytes each: 1 MB.
pub const MAX_ENDED_NAMES: usize = 10_000;

/// A room's name: what fits a roster line and a file name.
pub const MAX_ROOM_NAME: usize = 64;

/// A display name, in characters. Longer ones are cut.
pub const MAX_DISPLAY_NAME: usize = 64;

/// A meeting's subject, in characters. Longer ones are cut.
pub const MAX_SUBJECT: usize = 128;

/// A User-Agent as it is kept for the log, in characters.
pub const MAX_USER_AGENT: usize = 128;

/// Requests waiting for an account lookup. Each holds its request (a datagram): about 64 MB at
/// the most when all are 64 kB, 2 MB in practice. More are answered 503.
pub const MAX_PENDING_LOOKUPS: usize = 1_000;

/// An account lookup that takes longer is given up with 503.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Facts that a full room mailbox must not lose (a session's end) and that the focus keeps for
/// it. One for each leg and subscription can be owed at most.
pub const MAX_OWED_PER_ROOM: usize = MAX_LEGS_PER_ROOM + MAX_SUBSCRIPTIONS_PER_ROOM + 8;

/// How long a meeting that had people waits for them after a restart: a phone notices at its next session refresh or
/// when its user does.
pub const RESTORED_WAIT: Duration = Duration::from_secs(600);

/// How soon a room with a full mailbox is tried again.
pub const OWED_RETRY: Duration = Duration::from_millis(50);

/// Digits remembered of one leg: the longest code has three.
pub const MAX_DIGITS: usize = 8;

/// A longer pause begins a new code.
pub const DIGIT_PAUSE: Duration = Duration::from_secs(4);

/// Shortest time between two NOTIFYs of one room: five documents a second are enough for an
/// eye, and a room of N costs N×5 datagrams a second at the most.
pub const ROSTER_INTERVAL: Duration = Duration::from_millis(200);

/// Bytes of roster documents that one room sends in a second at the most: a round that was bigger
/// makes the next one wait longer. 100 people who all watch are told about once a second.
pub const ROSTER_BYTES_PER_SECOND: usize = 4 * 1024 * 1024;

/// The longest roster document: with its SIP headers it fits a UDP datagram. A longer one lists
/// fewer people and says how many there are.
pub const MAX_DOCUMENT: usize = 60_000;

/// How often a leg without media is asked again by OPTIONS whether it lives.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// An OPTIONS to a leg without media must be answered within this time: six retransmissions of
/// RFC 3261 Timer E fit in, and a call that is gone does not stay in the roster for 32 seconds.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(8);

/// The shard has this long to open a leg's sockets; then the caller gets 503.
pub const LEG_OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Retry-After that accompanies a 503, in seconds.
pub const RETRY_AFTER: u32 = 10;

/// Longest subscription that is granted, and the default (RFC 4575 §3.3 suggests an hour).
pub const MAX_SUBSCRIPTION: u32 = 3_600;

/// Calls answered and not acknowledged at a time, where no account is needed: each costs a leg and perhaps a room with
/// its media, some 200 KiB and 2 per mille of a shard's time, for 32 s when nobody acknowledges. At 300 calls a second
/// a stall of 400 ms fits in; more come from a trunk, which is trusted.
pub const MAX_HALF_OPEN: usize = 120;

/// The same from one source.
pub const MAX_HALF_OPEN_PER_SOURCE: usize = 100;

/// Phones remembered as having acknowledged a call; 40 bytes each. When there are more all are forgotten, and prove
/// themselves again.
pub const MAX_PROVED: usize = 16_384;
