//! The tick never allocates and never frees: malloc and its kin are interposed for the whole process, libopus
//! included, and counted while the room works.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod meeting;

use meeting::{Phone, leg_config, update_config};
use mixer::{
    Announcement, Command, Direction, Leg, LegKey, LegUpdate, Outbox, Port, Room, RoomConfig, Trash,
};
use rtp_media::codec::CodecKind;
use rtp_media::units::{NtpTime, PayloadType};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    if ARMED.get() {
        CALLS.set(CALLS.get() + 1);
    }
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
    fn __libc_free(memory: *mut c_void);
}

// SAFETY (all of them): glibc's own functions behind other names, with a thread-local counter in front.
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

/// Runs `work` and returns how often it allocated or freed.
fn counted<R>(work: impl FnOnce() -> R) -> (R, u64) {
    CALLS.set(0);
    ARMED.set(true);
    let result = work();
    ARMED.set(false);
    (result, CALLS.get())
}

/// Keeps the packets of a tick in memory of its own.
struct Arena {
    bytes: Vec<u8>,
    packets: Vec<(LegKey, bool, usize, usize)>,
}

impl Arena {
    fn keep(&mut self, leg: LegKey, rtcp: bool, packet: &[u8]) {
        let start = self.bytes.len();
        assert!(
            start + packet.len() <= self.bytes.capacity() && self.packets.len() < self.packets.capacity()
        );
        self.bytes.extend_from_slice(packet);
        self.packets.push((leg, rtcp, start, packet.len()));
    }
}

impl Outbox for Arena {
    fn rtp(&mut self, leg: LegKey, _to: SocketAddr, packet: &[u8]) {
        self.keep(leg, false, packet);
    }

    fn rtcp(&mut self, leg: LegKey, _to: SocketAddr, packet: &[u8]) {
        self.keep(leg, true, packet);
    }
}

struct Scene {
    room: Room,
    phones: Vec<Phone>,
    out: Arena,
    now: Instant,
    tick: u32,
    dice: meeting::Dice,
    trash: Vec<Trash>,
}

impl Scene {
    fn command(&mut self, command: Command) {
        let (trash, calls) = counted(|| self.room.command(command, self.now));
        assert_eq!(calls, 0, "a command allocated or freed in tick {}", self.tick);
        self.trash.extend(trash);
    }

    fn join(&mut self, key: u32, kind: CodecKind, ptime_ms: u8) {
        let mut config = leg_config(key, kind);
        config.send.ptime_ms = ptime_ms;
        config.send.comfort_noise = key.is_multiple_of(2).then(|| PayloadType::from_low_bits(13));
        config.extras = mixer::LegExtras {
            audio_level: Some(1),
            mixer_levels: key.is_multiple_of(3).then_some(2),
            voip_metrics: true,
        };
        let leg = Leg::build(config.clone(), self.now).unwrap();
        self.command(Command::Add(leg));
        self.phones.push(Phone::new(config, self.now));
    }

    fn step(&mut self) {
        let mut datagrams = Vec::new();
        for phone in &mut self.phones {
            let mut packet = phone.speak(self.now);
            if self.tick % 70 < 8 && phone.key().0 == 2 {
                // RFC 4733: digit 7, its end from the sixth packet on.
                let end = if self.tick % 70 >= 5 { 0x80 } else { 0 };
                packet.truncate(12);
                packet[1] = 101;
                packet.extend([7, end | 10, 1, 0x40]);
            }
            if self.dice.roll() > 0.1 {
                datagrams.push((phone.key(), phone.from, packet));
            }
            let mut report = [0; 1_500];
            let wall = NtpTime::from_unix(Duration::from_secs(1_000));
            if let Some(length) = phone.session.poll_rtcp(self.now, wall, &mut report) {
                datagrams.push((phone.key(), phone.from, report[..length].to_vec()));
            }
        }
        self.out.bytes.clear();
        self.out.packets.clear();
        let (room, out, now) = (&mut self.room, &mut self.out, self.now);
        let wall = NtpTime::from_unix(Duration::from_secs(1_000) + meeting::TICK * self.tick);
        let ((), calls) = counted(|| {
            for (leg, from, packet) in &datagrams {
                room.receive(*leg, Port::Rtp, *from, packet, now);
            }
            room.tick(now, wall, out);
            while room.poll_event().is_some() {}
            for (leg, _, _) in &datagrams {
                let _ = room.stats(*leg);
            }
        });
        assert_eq!(calls, 0, "tick {} allocated or freed", self.tick);
        for (leg, rtcp, start, length) in &self.out.packets {
            // Every fifth packet is lost on its way, so that the phones' reports raise the FEC step.
            if !rtcp && self.dice.roll() > 0.2 {
                let phone = self.phones.iter_mut().find(|phone| phone.key() == *leg).unwrap();
                phone.hear(
                    u64::from(self.tick),
                    &self.out.bytes[*start..*start + *length],
                    self.now,
                );
            }
        }
        self.tick += 1;
        self.now += meeting::TICK;
    }
}

#[test]
#[allow(clippy::disallowed_methods, clippy::too_many_lines)]
fn nothing_is_allocated_or_freed_while_the_room_works() {
    let (_, calls) = counted(|| drop(std::hint::black_box(Box::new([0u8; 64]))));
    assert_eq!(calls, 2, "the interposed functions are in place");

    let mut scene = Scene {
        room: Room::new(RoomConfig {
            max_legs: 20,
            ..RoomConfig::default()
        }),
        phones: Vec::new(),
        out: Arena {
            bytes: Vec::with_capacity(1 << 18),
            packets: Vec::with_capacity(1_000),
        },
        now: Instant::now(),
        tick: 0,
        dice: meeting::Dice(11),
        trash: Vec::new(),
    };
    for (key, kind, ptime) in [
        (1, CodecKind::Opus, 20),
        (2, CodecKind::Opus, 20),
        (3, CodecKind::Pcmu, 20),
        (4, CodecKind::G722, 20),
        (5, CodecKind::Pcma, 40),
        (6, CodecKind::Opus, 60),
        (7, CodecKind::Opus, 10),
    ] {
        scene.join(key, kind, ptime);
    }
    for round in 0..1_200u32 {
        // Each phone talks in another third of a second of every 1.4: role changes all the time, pauses between.
        for (index, phone) in scene.phones.iter_mut().enumerate() {
            let talks = (round / 17 + index as u32 * 3) % 5 < 2 && round % 300 < 220;
            phone.voice =
                talks.then(|| Box::new(|n: u64, rate: f32| 0.2 * (n as f32 * 3_000.0 / rate).sin()) as _);
        }
        match round % 100 {
            10 => scene.join(20 + round, CodecKind::Opus, 20),
            20 => scene.command(Command::Announce(Announcement::Joined)),
            30 => scene.command(Command::SendDigit(LegKey(1), '5', Duration::from_millis(100))),
            40 => {
                let mut update = update_config(&scene.phones[0].config.clone(), Direction::Inactive);
                let pcmu = PayloadType::PCMU;
                update.receive.push((pcmu, CodecKind::Pcmu));
                let update = LegUpdate::build(&update).unwrap();
                scene.command(Command::Update(LegKey(1), update));
            }
            50 => {
                let update = update_config(&scene.phones[0].config.clone(), Direction::SendRecv);
                let update = LegUpdate::build(&update).unwrap();
                scene.command(Command::Update(LegKey(1), update));
            }
            60 => {
                let mut update = update_config(&scene.phones[5].config.clone(), Direction::SendRecv);
                update.send.ptime_ms = if round % 200 < 100 { 40 } else { 60 };
                scene.phones[5].config.send = update.send;
                let update = LegUpdate::build(&update).unwrap();
                scene.command(Command::Update(LegKey(6), update));
            }
            70 => scene.command(Command::Mute(LegKey(2), round % 200 < 100)),
            90 => {
                let key = LegKey(20 + round - 80);
                scene.phones.retain(|phone| phone.key() != key);
                scene.command(Command::Remove(key));
            }
            _ => {}
        }
        scene.step();
    }
    assert!(
        scene
            .trash
            .iter()
            .filter(|trash| matches!(trash, Trash::Leg(_)))
            .count()
            == 12
    );
    assert!(
        scene.room.stats(LegKey(2)).unwrap().fec_percent > 0,
        "the FEC step moved legs between classes"
    );
    assert!(scene.room.room_stats().encodes > 1_000);
}
