//! Every limit of `meet`, each with its reason and what it bounds.
//!
//! A softphone has one call at a time, so the figures are small; they exist so that a confused or hostile
//! peer cannot make the program grow.

use std::time::Duration;

/// Length of one media tick. All audio inside the program moves in frames of this length.
pub const TICK: Duration = Duration::from_millis(20);
/// Sampling rate of all audio inside the program, in hertz.
pub const PCM_RATE: u32 = 48_000;
/// Samples in one tick at [`PCM_RATE`].
pub const TICK_SAMPLES: usize = 960;
/// Largest RTP or RTCP datagram that is read; an Ethernet frame holds 1,472 bytes of UDP payload.
pub const DATAGRAM_BYTES: usize = 1_500;
/// Largest SIP datagram that is read: all that UDP can carry.
pub const SIP_DATAGRAM_BYTES: usize = 65_535;
/// One read from a SIP stream; the framer of `sip-proto` bounds a whole message.
pub const SIP_STREAM_READ_BYTES: usize = 16_384;
/// Datagrams that one tick takes from a socket before it plays: a flood must not delay the sound.
pub const DATAGRAMS_PER_TICK: usize = 64;
/// Ticks that may be made up after a stall; more than this is skipped instead (RTP time still advances).
pub const CATCH_UP_TICKS: u32 = 5;
/// Events from the media thread that wait for the interface (about 100 bytes each). When full, levels and
/// statistics are dropped, because the next ones replace them.
pub const MEDIA_EVENTS: usize = 256;
/// Commands that wait for the media thread. They come from keys, so a person cannot fill this.
pub const MEDIA_COMMANDS: usize = 64;
/// Keys that wait for the signalling loop.
pub const KEYS: usize = 64;
/// Digits that wait to be sent as telephone-events (each lasts about 150 ms).
pub const DIGITS_QUEUED: usize = 64;
/// Sound kept between the media thread and a device: 400 ms at 48 kHz stereo and two bytes of slack each.
pub const DEVICE_RING_SAMPLES: usize = 48_000;
/// What a device ring is steered to: two ticks are enough for ordinary callback jitter.
pub const DEVICE_TARGET: Duration = Duration::from_millis(40);
/// Longest WAV file that is read into memory: one hour at 48 kHz mono f32 is 690 MB, so a quarter of that.
pub const WAV_SECONDS: u64 = 900;
/// A WAV sink makes its header true again after this much sound, so that a kill leaves a valid file.
pub const WAV_FLUSH: Duration = Duration::from_secs(1);
/// Wait for the answer to OPTIONS, REGISTER without credentials, and the API, before the user is told.
pub const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Wait for the answer to BYE, CANCEL or un-REGISTER on the way out: exit takes less than two seconds.
pub const FAREWELL_WAIT: Duration = Duration::from_millis(1_200);
/// Wait for a TCP connection to the server.
pub const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// People shown and kept from a roster; the server's own limit of a room is below this.
pub const PEOPLE: usize = 2_000;
/// Redirections (3xx) that one call follows before it gives up.
pub const REDIRECTIONS: u8 = 5;
/// How long the roster subscription is asked for (RFC 4575 §3.4 suggests an hour).
pub const ROSTER_EXPIRES: u32 = 3_600;
/// Shortest registration that is accepted from a registrar before it is refreshed anyway.
pub const MIN_REGISTRATION: Duration = Duration::from_secs(10);
/// Pause before a failed registration is tried again.
pub const REGISTER_RETRY: Duration = Duration::from_secs(30);
/// Least and most that a registrar's Retry-After makes us wait: no loop, and no phone that is lost for a day.
pub const REGISTER_RETRY_LEAST: Duration = Duration::from_secs(1);
/// See [`REGISTER_RETRY_LEAST`].
pub const REGISTER_RETRY_MOST: Duration = Duration::from_secs(3_600);
/// Pause between two keep-alives (RFC 5626 §4.4.2 for UDP: 24 to 29 seconds; over TCP it finds a dead server soon).
pub const KEEP_ALIVE_LEAST: Duration = Duration::from_secs(24);
/// See [`KEEP_ALIVE_LEAST`].
pub const KEEP_ALIVE_MOST: Duration = Duration::from_secs(29);
/// First repetition of an unanswered STUN request; it doubles (RFC 5389 §7.2.1).
pub const STUN_RETRY: Duration = Duration::from_millis(500);
/// How often one is sent before the flow is given up, after 15.5 seconds; two fewer than RFC 5389's, since SIP's own
/// timers are at work, too.
pub const STUN_SENDS: u32 = 5;
/// Wait for the answer to a keep-alive over TCP (RFC 5626 §4.4.1).
pub const PONG_WAIT: Duration = Duration::from_secs(10);
/// A flow that breaks again within this time makes no further question to a call.
pub const LOST_AGAIN: Duration = Duration::from_secs(10);
/// Bytes of an API answer that are read.
pub const API_BODY_BYTES: u64 = 4 << 20;
/// Seconds without any RTP after which the other side is asked by SIP whether it is still there.
pub const QUIET_SECONDS: u32 = 5;

/// Seconds after which a call that was not refreshed ends (RFC 4028 §4 recommends half an hour).
pub const SESSION_EXPIRES: u32 = 1_800;

/// Ways to one server that are tried one after another; a domain with more has them for load, not for us.
pub const TARGETS: usize = 8;
/// How long one of several addresses of a server may stay silent before the next is tried.
pub const TARGET_WAIT: Duration = Duration::from_secs(4);
