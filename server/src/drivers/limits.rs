//! Every bound of the drivers, with what it protects.

use std::time::Duration;

/// Largest UDP datagram read for SIP: the most that UDP can carry.
pub const DATAGRAM: usize = 65_535;
/// Bytes read from a stream at once; bounds the memory of one busy connection.
pub const STREAM_READ: usize = 16 * 1024;
/// Inputs from the wire that wait for the signalling task; at 4 kB each 8 MB. Full: datagrams
/// are dropped (their senders repeat them), streams stop being read.
pub const WIRE_QUEUE: usize = 2048;
/// Inputs from rooms, API and store that wait for the signalling task. Full: they wait.
pub const INTERNAL_QUEUE: usize = 1024;
/// Inputs that wait for one room. Full: the focus answers 503 with Retry-After.
pub const ROOM_QUEUE: usize = 256;
/// Messages that wait for one slow stream peer. Full: the connection is closed.
pub const STREAM_WRITE_QUEUE: usize = 128;
/// A write to a stream that takes longer ends the connection.
pub const STREAM_WRITE: Duration = Duration::from_secs(10);
/// A new stream that sends nothing for so long is closed (connections cost descriptors).
pub const STREAM_FIRST_BYTES: Duration = Duration::from_secs(32);
/// Connecting to a stream peer: room for two lost SYNs. A request that left UDP only for its size waits for this
/// before it goes back, so it cannot be as long as RFC 3261 §17 would wait.
pub const STREAM_CONNECT: Duration = Duration::from_secs(4);
/// Remote addresses whose local address is remembered (a wildcard socket); 100 bytes each.
pub const ROUTE_CACHE: usize = 4096;
/// A remembered local address is looked up anew after so long: interfaces come and go.
pub const ROUTE_AGE: Duration = Duration::from_secs(30);
/// Attempts to find an even port with a free odd neighbour, or a port free in UDP and TCP.
pub const PORT_ATTEMPTS: usize = 64;
/// From the signal to the end of the process.
pub const SHUTDOWN: Duration = Duration::from_secs(5);
/// Part of [`SHUTDOWN`] given to BYE transactions.
pub const SHUTDOWN_CALLS: Duration = Duration::from_millis(3500);
/// Largest body of an API request.
pub const API_BODY: usize = 64 * 1024;
/// Longest wait of an API request.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);
/// Most events in one API answer.
pub const API_EVENTS: u32 = 1000;
/// Packets of one capture source that wait for the disk: 6 MB. Full: dropped and counted.
pub const CAPTURE_QUEUE: usize = 4096;
/// Bytes kept of one captured packet: all that a media socket takes, so that nothing is cut.
pub const CAPTURE_BYTES: usize = MEDIA_DATAGRAM;
/// Captured packets are held so long to be written in order of time.
pub const CAPTURE_HOLD: Duration = Duration::from_millis(100);
/// The mixer's tick.
pub const TICK: Duration = Duration::from_millis(20);
/// Rooms' ticks are spread over this many moments of one tick, so that sends do not burst.
pub const PHASES: usize = 20;
/// Rooms of one shard; each slot of the table is a pointer.
pub const ROOMS_PER_SHARD: usize = 1024;
/// Legs of one room, for which tables are sized: 16 bytes each, touched as they are used. A media thread's tick has
/// time for about as many.
pub const LEGS_PER_ROOM: usize = 2048;
/// Commands from a room task to its shard that wait for the next tick. Full: set-up waits.
pub const SHARD_COMMANDS: usize = 256;
/// Commands taken in one tick: a bound on its length.
pub const COMMANDS_PER_TICK: usize = 64;
/// Events from a room on the shard to its task, about 40 bytes each. Full: they stay in the
/// mixer, which drops levels first.
pub const SHARD_EVENTS: usize = 512;
/// Statistics of legs on their way to the room task, about 320 bytes each: 80 kB a room. Full: skipped.
pub const SHARD_STATS: usize = 256;
/// Every leg's statistics are published once in so many ticks.
pub const STATS_TICKS: usize = 50;
/// Datagrams taken from one RTP socket in one tick: half a second of backlog at 10 ms ptime.
pub const PACKETS_PER_TICK: usize = 50;
/// RTCP sockets are read once in so many ticks, half a second: a report comes each five seconds, and its arrival time is
/// the kernel's.
pub const RTCP_TICKS: usize = 25;
/// Largest RTP or RTCP datagram: an Ethernet frame. Longer ones are dropped.
pub const MEDIA_DATAGRAM: usize = 1600;
/// Arrival times further back than this are not believed (the wall clock was set).
pub const STAMP_AGE: Duration = Duration::from_secs(2);
/// How long a full command ring makes set-up wait before it is tried again.
pub const COMMAND_RETRY: Duration = Duration::from_millis(5);
/// Command retries: two seconds, then the shard counts as lost.
pub const COMMAND_RETRIES: usize = 400;
/// API connections at once; more wait in the kernel's queue. Each costs a descriptor and 20 kB.
pub const API_CONNECTIONS: usize = 256;
/// An API connection on which nothing comes for so long is closed.
pub const API_IDLE: Duration = Duration::from_secs(30);
/// A reading thread looks so often whether the server still runs.
pub const READ_PATIENCE: Duration = Duration::from_millis(250);
/// Messages of calls that wait for the signalling task, apart from everything else; at 4 kB each 4 MB.
pub const CALL_QUEUE: usize = 1024;
/// Outputs of rooms and lookups taken in a row before anything new gets its turn: a quarter of the queue.
pub const HOUSE_IN_A_ROW: usize = 256;
/// So many turns of the signalling task, then the rooms have theirs, which share its thread: half a millisecond.
pub const ROOMS_TURN: usize = 16;
/// The same after so many inputs: what all of them bring to one room fits into its mailbox twice.
pub const ROOMS_INPUTS: usize = ROOM_QUEUE / 2;
/// Stream inputs that wait for the signalling task, apart from datagrams; at up to 16 kB each 4 MB. Full: streams
/// stop being read.
pub const STREAM_QUEUE: usize = 256;
/// Messages of calls taken in a row before anything else gets its turn.
pub const CALLS_IN_A_ROW: usize = 64;
/// The connection of a stranger on which nothing comes for so long is closed.
pub const STREAM_STRANGER_IDLE: Duration = Duration::from_secs(60);
/// A message on a stream must be complete after so long: 64·T1, when its sender has given up.
pub const STREAM_HALF_MESSAGE: Duration = Duration::from_secs(32);
/// A connection that carried a call's message or a right password keeps its seat for so long after it.
pub const STREAM_KEPT: Duration = Duration::from_secs(7_200);
/// Bytes a second read from a stranger's connection: sixty messages; more wait in the peer.
pub const STREAM_RATE: u64 = 64 * 1024;
/// The same where a call or a proved account is behind it: a trunk.
pub const STREAM_KEPT_RATE: u64 = 1024 * 1024;
/// Bytes that may come at once before the rate counts.
pub const STREAM_AT_ONCE: usize = 128 * 1024;
/// The signalling task looks after streams and the shield so often.
pub const TEND: Duration = Duration::from_secs(1);
/// API connections from one address at once: a browser opens six.
pub const API_CONNECTIONS_PER_ADDRESS: usize = 64;
/// From the first byte of an API request to the first of its answer; a slower sender is cut off.
pub const API_REQUEST: Duration = Duration::from_secs(20);
