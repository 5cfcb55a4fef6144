//! A media shard at work neither allocates nor frees: malloc and its kin are interposed for the whole process
//! (libopus included) and counted for the shard's thread, while real sockets carry RTP through it.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use meet_server::drivers::media_shard::{
    LegSockets, RoomCommand, RoomMedia, ShardCounters, ShardEvent, ShardPool,
};
use meet_server::telemetry::Metrics;
use mixer::{CodecSettings, Command, Direction, Leg, LegConfig, LegKey, Room, RoomConfig};
use rtp_media::codec::CodecKind;
use rtp_media::session::SessionConfig;
use rtp_media::srtp::{KeyChange, MasterKey, Protect, SrtpChange, Suite};
use rtp_media::units::{PayloadType, SampleRate};
use std::ffi::{c_int, c_void};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The thread that is watched; 0: none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

fn count() {
    let watched = WATCHED.load(Ordering::Relaxed);
    if watched != 0 && nix::unistd::gettid().as_raw() == watched {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
    fn __libc_free(memory: *mut c_void);
}

// SAFETY (all of them): glibc's own functions behind other names, with a counter in front.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    count();
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(number: usize, size: usize) -> *mut c_void {
    count();
    unsafe { __libc_calloc(number, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    count();
    unsafe { __libc_realloc(memory, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    count();
    unsafe { *out = __libc_memalign(alignment, size) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(memory: *mut c_void) {
    count();
    unsafe { __libc_free(memory) }
}

const PATIENCE: Duration = Duration::from_secs(20);

/// The kernel's number of a thread of this process, once it has its name.
fn thread_named(name: &str) -> i32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
            let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if comm.trim() == name {
                return task.file_name().to_str().unwrap().parse().unwrap();
            }
        }
        assert!(Instant::now() < deadline, "no thread {name}");
        std::thread::yield_now();
    }
}

fn leg(key: u32, kind: CodecKind, pt: u8, remote: SocketAddr) -> Box<Leg> {
    let payload_type = PayloadType::new(pt).unwrap();
    let clock = SampleRate::new(if kind == CodecKind::Opus { 48_000 } else { 8_000 }).unwrap();
    let config = LegConfig {
        key: LegKey(key),
        session: SessionConfig::new(format!("leg{key}"), clock),
        send: CodecSettings::new(kind, payload_type),
        receive: vec![(payload_type, kind)],
        telephone_events: Vec::new(),
        direction: Direction::SendRecv,
        remote_rtp: Some(remote),
        remote_rtcp: None,
        rtcp_mux: false,
        extras: mixer::LegExtras::default(),
        seed: [key as u8; 32],
    };
    Leg::build(config, Instant::now()).unwrap()
}

/// A phone on a bare socket: sends PCMU noise, throws away what comes.
struct Phone {
    socket: UdpSocket,
    to: SocketAddr,
    sequence: u16,
    srtp: Option<Protect>,
}

impl Phone {
    fn send(&mut self, loud: bool) {
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&(u32::from(self.sequence) * 160).to_be_bytes());
        packet.extend_from_slice(&u32::from(self.to.port()).to_be_bytes());
        packet.extend((0..160_u16).map(|i| {
            if loud {
                (i * 37 + self.sequence) as u8
            } else {
                0xff
            }
        }));
        let mut space = [0; 300];
        let packet = match &mut self.srtp {
            Some(context) => context.rtp(&packet, &mut space).unwrap(),
            None => &packet,
        };
        self.socket.send_to(packet, self.to).unwrap();
        // Once more: a replay on a protected leg, a duplicate on a clear one.
        self.socket.send_to(packet, self.to).unwrap();
        self.sequence = self.sequence.wrapping_add(1);
        let mut sink = [0; 2048];
        while self.socket.recv_from(&mut sink).is_ok() {}
    }
}

fn key(suite: Suite, fill: u8) -> MasterKey {
    MasterKey::new(suite, &vec![fill; suite.material_len()]).unwrap()
}

fn keys(suite: Suite, send: Option<u8>, receive: Option<u8>) -> SrtpChange {
    SrtpChange::build(&KeyChange::Keys {
        send: send.map(|fill| key(suite, fill)),
        receive: receive.map(|fill| key(suite, fill)),
    })
    .unwrap()
}

async fn join(room: &mut RoomMedia, key: u32, (kind, pt): (CodecKind, u8), suite: Option<Suite>) -> Phone {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut sockets = LegSockets::bind("127.0.0.1".parse().unwrap(), true).unwrap();
    if let Some(suite) = suite {
        sockets.srtp.change(&mut keys(suite, Some(1), Some(2)));
    }
    let to = sockets.rtp_address;
    let leg = leg(key, kind, pt, socket.local_addr().unwrap());
    room.command(RoomCommand::Attach(LegKey(key), Box::new(sockets)))
        .await
        .unwrap();
    room.command(RoomCommand::Mixer(Command::Add(leg))).await.unwrap();
    Phone {
        socket,
        to,
        sequence: 0,
        srtp: suite.map(|suite| Protect::new(&self::key(suite, 2)).unwrap()),
    }
}

/// What came out of the shard.
#[derive(Debug, Default)]
struct Seen {
    events: usize,
    figures: usize,
}

impl Seen {
    fn drain(&mut self, room: &mut RoomMedia) {
        while let Some(event) = room.next_event() {
            match event {
                ShardEvent::Media(_) => self.events += 1,
                ShardEvent::Stats(..) => self.figures += 1,
                ShardEvent::Closed { failed } => assert!(!failed, "the mixer panicked"),
            }
        }
    }
}

async fn until(what: &str, good: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !good() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Three seconds, one talker after the other; in the middle the second phone gets another key.
async fn converse(room: &mut RoomMedia, phones: &mut [Phone], counters: &ShardCounters) -> Seen {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut seen = Seen::default();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for step in 0..150 {
        pace.tick().await;
        if step == 80 {
            // Nothing under the old key is on its way any more …
            let sent = 2 * 80 * phones.len() as u64;
            until("the shard has read everything", || {
                get(&counters.received) == sent
            })
            .await;
            let change = Box::new(keys(Suite::AesCm128Sha1_80, None, Some(3)));
            room.command(RoomCommand::Rekey(LegKey(1), change)).await.unwrap();
            // … and the new one is in place: each of the two rooms has begun a tick since.
            let ticks = get(&counters.ticks);
            until("the shard goes on", || get(&counters.ticks) > ticks + 4).await;
            phones[1].srtp = Some(Protect::new(&key(Suite::AesCm128Sha1_80, 3)).unwrap());
        }
        for (index, phone) in phones.iter_mut().enumerate() {
            phone.send(step / 25 % 4 == index);
        }
        seen.drain(room);
    }
    seen
}

#[test]
fn joining_talking_and_leaving_cost_the_shard_no_allocation() {
    WATCHED.store(nix::unistd::gettid().as_raw(), Ordering::Relaxed);
    drop(std::hint::black_box(vec![1_u8]));
    WATCHED.store(0, Ordering::Relaxed);
    assert_eq!(CALLS.swap(0, Ordering::Relaxed), 2, "the counter counts");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let pool = ShardPool::start(vec![None], &Metrics::new(), true).unwrap();
        let shard = thread_named("media-0");
        // A first room lets the thread's own beginnings pass.
        let first = pool.open(Room::new(RoomConfig::default())).unwrap();
        let ticks = || pool.counters().next().unwrap().ticks.load(Ordering::Relaxed);
        until("the first ticks", || ticks() >= 5).await;
        WATCHED.store(shard, Ordering::Relaxed);
        let mut room = pool.open(Room::new(RoomConfig::default())).unwrap();
        let mut phones = Vec::new();
        for key in 0..4 {
            // Two clear ones, two protected ones.
            let suite = [
                None,
                Some(Suite::AesCm128Sha1_80),
                None,
                Some(Suite::AeadAes256Gcm),
            ][key as usize];
            phones.push(join(&mut room, key, (CodecKind::Pcmu, 0), suite).await);
        }
        let listener = join(&mut room, 9, (CodecKind::Opus, 96), Some(Suite::AesCm256Sha1_32)).await;
        let counters = pool.counters().next().unwrap();
        let mut seen = converse(&mut room, &mut phones, counters).await;
        room.command(RoomCommand::Mixer(Command::Mute(LegKey(1), true)))
            .await
            .unwrap();
        room.command(RoomCommand::CloseLeg(LegKey(0))).await.unwrap();
        room.command(RoomCommand::Close).await.unwrap();
        drop(first);
        let deadline = Instant::now() + PATIENCE;
        while counters.rooms.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < deadline, "rooms are still there");
            seen.drain(&mut room);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        WATCHED.store(0, Ordering::Relaxed);
        let (received, sent) = (
            counters.received.load(Ordering::Relaxed),
            counters.sent.load(Ordering::Relaxed),
        );
        assert!(received >= 500 && sent >= 500, "{received} received, {sent} sent");
        let (replayed, unauthentic) = (
            counters.srtp_replayed.load(Ordering::Relaxed),
            counters.srtp_unauthentic.load(Ordering::Relaxed),
        );
        assert!(replayed >= 250, "every second packet of two phones: {replayed}");
        assert_eq!(unauthentic, 0, "nothing crossed the change of key");
        assert!(seen.events >= 4 && seen.figures >= 5, "{seen:?}");
        assert_eq!(
            CALLS.load(Ordering::Relaxed),
            0,
            "calls of malloc and free on the shard"
        );
        drop(listener);
        pool.stop();
    });
}
