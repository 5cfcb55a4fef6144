//! Nanoseconds for an RTP packet in (demux, parse, latch, session, jitter buffer in and out), out (header), and
//! protected.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
// The bench needs an Instant to count from.
#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use rtp_media::demux::{PacketClass, classify};
use rtp_media::jitter::{Arrival, JitterBuffer, JitterConfig, Pull};
use rtp_media::latch::{Decision, Latch};
use rtp_media::rtp::{RtpHeader, RtpPacket, write_header};
use rtp_media::session::{RtpSession, SessionConfig, Verdict};
use rtp_media::srtp::{KeyChange, MasterKey, SrtpChange, SrtpLink, Suite};
use rtp_media::units::{PayloadType, RtpTimestamp, SampleRate, Ssrc};

const CLOCK: SampleRate = SampleRate::HZ_48000;
const FRAME: u32 = 960;
/// A 20 ms Opus frame at 32 kbit/s.
const PAYLOAD: usize = 80;

fn opus() -> PayloadType {
    PayloadType::new(111).unwrap()
}

fn packet_in(criterion: &mut Criterion) {
    let start = Instant::now();
    let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let mut session = RtpSession::new(SessionConfig::new("bench@host".into(), CLOCK), [1; 32], start);
    let mut latch = Latch::new(None, [opus()].into_iter().collect());
    let mut jitter = JitterBuffer::new(JitterConfig::new(CLOCK));
    let mut step = 0_u32;
    let mut packet = [0; 12 + PAYLOAD];
    criterion.bench_function("rtp packet in", |bench| {
        bench.iter(|| {
            // 50 packets a second in virtual time; rewriting the header is what the other bench measures.
            step = step.wrapping_add(1);
            let now = start + Duration::from_millis(20) * step;
            let header = RtpHeader {
                marker: false,
                payload_type: opus(),
                sequence: step as u16,
                timestamp: RtpTimestamp(step.wrapping_mul(FRAME)),
                ssrc: Ssrc(7),
                csrcs: &[],
            };
            write_header(&mut packet, &header).unwrap();
            if classify(&packet) != PacketClass::Rtp {
                return;
            }
            let parsed = RtpPacket::parse(black_box(&packet)).unwrap();
            if matches!(latch.offer(from, &parsed, now), Decision::Refuse(_)) {
                return;
            }
            if let Verdict::Valid { seq } | Verdict::NewSource { seq } = session.on_rtp(&parsed, now) {
                jitter.insert(&Arrival {
                    seq,
                    timestamp: parsed.timestamp(),
                    duration: FRAME,
                    marker: parsed.marker(),
                    silent: false,
                    at: now,
                    payload: parsed.payload(),
                });
            }
            if let Pull::Frame(frame) = jitter.pull(now + Duration::from_millis(5), FRAME) {
                black_box(frame.payload);
            }
        });
    });
    let stats = jitter.stats();
    // A filter may have left this bench out.
    assert!(
        step == 0 || stats.lost == 0 && stats.played > 0,
        "the bench measured the wrong path: {stats:?}"
    );
}

fn packet_out(criterion: &mut Criterion) {
    let start = Instant::now();
    let mut session = RtpSession::new(SessionConfig::new("bench@host".into(), CLOCK), [1; 32], start);
    let csrcs = [Ssrc(1), Ssrc(2), Ssrc(3)];
    let mut buffer = [0; 1500];
    let mut timestamp = session.initial_timestamp();
    criterion.bench_function("rtp packet out", |bench| {
        bench.iter(|| {
            timestamp = timestamp.plus(FRAME);
            let header = session.next_header(false, opus(), timestamp, black_box(&csrcs));
            let length = write_header(&mut buffer, &header).unwrap();
            session.sent(PAYLOAD, timestamp, start);
            black_box(&buffer[..length]);
        });
    });
}

/// A protected packet each way: 160 bytes of G.711.
fn protection(criterion: &mut Criterion) {
    for suite in Suite::ALL {
        let key = MasterKey::new(suite, &vec![7; suite.material_len()]);
        let change = KeyChange::Keys {
            send: key.clone(),
            receive: key,
        };
        let link = || {
            let mut link = SrtpLink::default();
            link.change(&mut SrtpChange::build(&change).unwrap());
            link
        };
        let (mut packet, mut space, mut sequence) = ([9; 172], [0; 300], 0_u16);
        packet[0] = 0x80;
        packet[1] = 0;
        let mut one = link();
        criterion.bench_function(&format!("srtp protect {}", suite.name()), |bench| {
            bench.iter(|| {
                sequence = sequence.wrapping_add(1);
                packet[2..4].copy_from_slice(&sequence.to_be_bytes());
                black_box(one.outgoing(black_box(&packet), &mut space).unwrap());
            });
        });
        let (mut one, mut other) = (link(), link());
        criterion.bench_function(&format!("srtp protect and open {}", suite.name()), |bench| {
            bench.iter(|| {
                sequence = sequence.wrapping_add(1);
                packet[2..4].copy_from_slice(&sequence.to_be_bytes());
                let length = one.outgoing(&packet, &mut space).unwrap().len();
                black_box(other.incoming(black_box(&mut space[..length])).unwrap());
            });
        });
    }
}

criterion_group!(benches, packet_in, packet_out, protection);
criterion_main!(benches);
