//! Named limits of transactions, dialogs and subscriptions: what strangers may make the endpoint hold.

use std::time::Duration;

/// Server transactions, and client transactions, at a time. A call of ours leaves two behind that linger for 32 s with
/// half a kilobyte each (their requests are let go of with the answer): 1,000 calls a second are 64,000, and four times
/// that is 128 MiB. Only unanswered ones hold their messages, some 4 KiB.
pub const MAX_TRANSACTIONS: usize = 262_144;

/// Of these so many are kept for requests within dialogs: a BYE relieves, a new INVITE does not. One in this many.
pub const RESERVED_FOR_DIALOGS: usize = 8;

/// Dialogs with one remote IP address: a whole office or a PSTN trunk behind one NAT fits in, a runaway
/// dialler does not take the server down.
pub const MAX_DIALOGS_PER_PEER: usize = 2_000;

/// Early dialogs of one outgoing call: how many branches of a fork are kept apart.
pub const MAX_EARLY_DIALOGS: usize = 16;

/// 2xx responses of one session that wait for their ACK at a time: the first one and a re-INVITE's.
pub const MAX_UNACKED: usize = 2;

/// Attempts to get an offer through after 491 before the application is told.
pub const MAX_GLARE_RETRIES: u8 = 4;

/// Reliable provisional responses of one call that wait for the PRACK to an earlier one; with more the newest that
/// waits gives way (RFC 3262 §3 wants one at a time under way).
pub const MAX_WAITING_PROVISIONALS: usize = 4;

/// Session intervals that a peer may make us try after 422 (RFC 4028 §7.4) before the request has failed: each
/// proxy on the way may have its own.
pub const MAX_INTERVAL_RETRIES: u8 = 3;

/// Shortest session interval that RFC 4028 §5 lets anybody ask for, seconds.
pub const MIN_SESSION_EXPIRES: u32 = 90;

/// Longest Retry-After of a 500 to an offer of ours that is waited for inside; RFC 3261 §14.2 has peers choose 0 to
/// 10 s. Beyond that the application is told at once.
pub const MAX_OFFER_DELAY: Duration = Duration::from_secs(10);

/// When a refresh that failed without ending the dialog is tried again.
pub const REFRESH_RETRY: Duration = Duration::from_secs(5);

/// Requests of the peer within one dialog that may wait for the application at a time; more get 500.
pub const MAX_REQUESTS_IN_DIALOG: usize = 32;

/// Open streams whose input is cut into messages.
pub const MAX_CONNECTIONS: usize = 16_384;

/// How long a stream that can be read no further stays open for the answers to what was read before: an account to be
/// looked up (5 s at most in our server) and a room to be made fit in.
pub const LAST_ANSWERS: Duration = Duration::from_secs(6);

/// How often it is seen whether they have all left.
pub const LAST_ANSWERS_STEP: Duration = Duration::from_millis(50);

/// How long an accepted subscription waits for the application's NOTIFY before the endpoint sends an empty one:
/// RFC 6665 §4.2.1.2 wants one at once.
pub const NOTIFY_GRACE: Duration = Duration::from_millis(500);

/// The longest subscription or registration that is believed, seconds: a day.
pub const MAX_EXPIRES: u32 = 86_400;

/// How long an incoming call may wait for the application before it gets 480. Timer C of any proxy on the way is
/// three minutes and is put off by our provisional responses.
pub const MAX_RINGING: Duration = Duration::from_secs(600);

/// How often a provisional response is repeated (RFC 3261 §13.3.1.1).
pub const RING_INTERVAL: Duration = Duration::from_secs(60);

/// Seconds that a SUBSCRIBE without Expires asks for: the default of the conference package (RFC 4575 §3.4).
pub const DEFAULT_SUBSCRIPTION: u32 = 3_600;

/// How often one request is sent again with credentials: a proxy's challenge, the server's, and a stale nonce.
pub const MAX_CHALLENGES: u8 = 3;

/// Addresses that are remembered as out of reach for streams: some 40 bytes each.
pub const MAX_WITHOUT_STREAMS: usize = 8_192;

/// How long a failed stream is remembered, so that large requests do not wait for the same failure again and again.
pub const WITHOUT_STREAMS: Duration = Duration::from_secs(600);

/// Call-IDs whose challenges are remembered, so that later requests carry credentials at once; some 500 bytes each.
pub const MAX_REMEMBERED_CALLS: usize = 1_024;

/// Nonces whose uses are counted; some 200 bytes each. One for each remembered call and some to spare.
pub const MAX_REMEMBERED_NONCES: usize = 2_048;

/// Challenges remembered for one Call-ID: the server's and those of proxies on the way.
pub const MAX_CHALLENGES_PER_CALL: usize = 4;
