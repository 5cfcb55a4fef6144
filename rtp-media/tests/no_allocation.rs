//! What is called per packet or per tick does not allocate after construction.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
// An Instant to count from can be had in no other way; a counting allocator is unsafe by its trait.
#![allow(clippy::disallowed_methods, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp_media::demux::{PacketClass, classify};
use rtp_media::jitter::{Arrival, JitterBuffer, JitterConfig, Pull};
use rtp_media::latch::{Decision, Latch};
use rtp_media::rtp::{RtpPacket, write_header};
use rtp_media::session::{RtpSession, SessionConfig, Verdict};
use rtp_media::srtp::{KeyChange, MasterKey, SrtpChange, SrtpLink, Suite};
use rtp_media::telephone_event::{Event, Receiver, Sender};
use rtp_media::units::{NtpTime, PayloadType, RtpTimestamp, SampleRate};

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls() -> u64 {
    CALLS.with(Cell::get)
}

#[test]
fn the_counter_counts() {
    let before = calls();
    drop(std::hint::black_box(vec![1_u8]));
    assert_eq!(calls() - before, 2);
}

#[test]
fn packets_ticks_and_reports_do_not_allocate() {
    let clock = SampleRate::HZ_48000;
    let payload_type = PayloadType::new(111).unwrap();
    let start = Instant::now();
    let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let mut sender = RtpSession::new(SessionConfig::new("a@host".into(), clock), [1; 32], start);
    let mut receiver = RtpSession::new(SessionConfig::new("b@host".into(), clock), [2; 32], start);
    let mut latch = Latch::new(None, [payload_type].into_iter().collect());
    let mut jitter = JitterBuffer::new(JitterConfig {
        fec: true,
        ..JitterConfig::new(clock)
    });
    let mut events = Receiver::new();
    let mut packet = [0; 200];
    let mut report = [0; 576];
    let (mut played, mut reports) = (0, 0);

    let before = calls();
    for step in 0..3000_u32 {
        let now = start + Duration::from_millis(20) * step;
        let wall = NtpTime::from_unix(Duration::from_secs(1_800_000_000) + (now - start));
        let timestamp = RtpTimestamp(step * 960);
        let header = sender.next_header(false, payload_type, timestamp, &[]);
        let length = write_header(&mut packet, &header).unwrap() + 80;
        sender.sent(80, timestamp, now);
        if step % 17 != 0 {
            assert_eq!(classify(&packet[..length]), PacketClass::Rtp);
            let parsed = RtpPacket::parse(&packet[..length]).unwrap();
            assert!(!matches!(latch.offer(from, &parsed, now), Decision::Refuse(_)));
            match receiver.on_rtp(&parsed, now) {
                Verdict::Valid { seq } | Verdict::NewSource { seq } => {
                    jitter.insert(&Arrival {
                        seq,
                        timestamp,
                        duration: 960,
                        marker: parsed.marker(),
                        silent: step % 5 == 0,
                        at: now,
                        payload: parsed.payload(),
                    });
                }
                _ => {}
            }
        }
        played += u32::from(matches!(jitter.pull(now, 960), Pull::Frame(_)));
        for (session, other) in [(&mut sender, &mut receiver)] {
            if let Some(length) = session.poll_rtcp(now, wall, &mut report) {
                other.on_rtcp(&report[..length], now).unwrap();
                reports += 1;
            }
        }
        let mut event = Sender::new(
            Event::FLASH,
            10,
            Duration::from_millis(60),
            clock,
            timestamp,
            Duration::from_millis(20),
        );
        while let Some(packet) = event.next_packet() {
            events.on_packet(&packet.payload, packet.timestamp, clock, now);
        }
        assert!(events.poll().is_some());
        std::hint::black_box((sender.stats(), jitter.stats()));
    }
    assert_eq!(calls() - before, 0);
    assert!(played > 2500 && reports > 5, "{played} frames, {reports} reports");
}

#[test]
fn protecting_and_opening_and_a_change_of_keys_do_not_allocate() {
    for suite in Suite::ALL {
        let change = |send: u8, receive: u8| {
            let key = |fill| MasterKey::new(suite, &vec![fill; suite.material_len()]);
            let (send, receive) = (key(send), key(receive));
            SrtpChange::build(&KeyChange::Keys { send, receive }).unwrap()
        };
        let (mut one, mut other) = (SrtpLink::default(), SrtpLink::default());
        one.change(&mut change(1, 2));
        other.change(&mut change(2, 1));
        let (mut packet, mut space, mut opened) = ([9; 172], [0; 300], 0);
        packet[0] = 0x80;
        packet[1] = 0;
        let (mut one_next, mut other_next) = (change(3, 4), change(4, 3));

        let before = calls();
        for step in 0..2000_u16 {
            if step == 1000 {
                one.change(&mut one_next);
                other.change(&mut other_next);
            }
            packet[2..4].copy_from_slice(&step.to_be_bytes());
            packet[8..12].copy_from_slice(&u32::from(step % 5).to_be_bytes());
            let length = one.outgoing(&packet, &mut space).unwrap().len();
            opened += usize::from(other.incoming(&mut space[..length]).is_ok());
            assert!(other.incoming(&mut space[..length]).is_err());
            let report = [0x80, 201, 0, 1, 0, 0, 0, 5];
            let length = other.outgoing(&report, &mut space).unwrap().len();
            opened += usize::from(one.incoming(&mut space[..length]).is_ok());
        }
        assert_eq!(calls() - before, 0, "{suite:?}");
        assert_eq!(opened, 4000, "{suite:?}");
    }
}
