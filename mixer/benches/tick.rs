//! What a tick costs at 10, 100 and 1000 members with 1, 3 and 10 talkers, in ns; and what the codecs cost
//! (U of DESIGN §4 is 50 × (encode at complexity 10 + decode)).
//!
//! Each tick takes one packet from every member and sends one to each. Non-talkers send digital silence as
//! an Opus encoder writes it, or −55 dBFS noise.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mixer::{CodecSettings, Command, Direction, Leg, LegConfig, LegKey, Outbox, Port, Room, RoomConfig};
use rtp_media::codec::g722::{G722Decoder, G722Encoder};
use rtp_media::codec::opus::{OpusConfig, OpusDecoder, OpusEncoder};
use rtp_media::codec::{CodecKind, Decoder, Encoder};
use rtp_media::session::SessionConfig;
use rtp_media::units::{NtpTime, PayloadType};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(20);
/// Packets in the loop that every member plays: two seconds.
const LOOP: usize = 100;

struct Nowhere(u64);

impl Outbox for Nowhere {
    fn rtp(&mut self, _leg: LegKey, _to: SocketAddr, packet: &[u8]) {
        self.0 += black_box(packet.len()) as u64;
    }

    fn rtcp(&mut self, _leg: LegKey, _to: SocketAddr, packet: &[u8]) {
        self.0 += black_box(packet.len()) as u64;
    }
}

fn noise(seed: &mut u64) -> f32 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

fn voice(n: usize, pitch: f32) -> f32 {
    let t = n as f32 / 48_000.0;
    (1..12)
        .map(|h| (std::f32::consts::TAU * pitch * t * h as f32).sin() / h as f32)
        .sum::<f32>()
        * 0.1
        * (0.6 + 0.4 * (t * 9.0).sin())
}

fn payloads(sample: impl Fn(usize) -> f32) -> Vec<Vec<u8>> {
    let mut encoder = OpusEncoder::new(&OpusConfig::default()).unwrap();
    (0..LOOP)
        .map(|frame| {
            let pcm: Vec<f32> = (frame * 960..(frame + 1) * 960).map(&sample).collect();
            let mut out = [0; 1_300];
            let length = encoder.encode(&pcm, &mut out).unwrap();
            out[..length].to_vec()
        })
        .collect()
}

struct Scene {
    room: Room,
    /// For each member, whole packets of the loop; header fields are rewritten as they are used.
    packets: Vec<Vec<Vec<u8>>>,
    tick: u32,
    now: Instant,
}

impl Scene {
    fn new(members: u32, talkers: u32, complexity: u8, idle: &[Vec<u8>]) -> Self {
        let now = Instant::now();
        let mut room = Room::new(RoomConfig::default());
        let opus = PayloadType::new(96).unwrap();
        let mut packets = Vec::new();
        for key in 0..members {
            let clock = CodecKind::Opus.rtp_clock_rate();
            let leg = Leg::build(
                LegConfig {
                    key: LegKey(key),
                    session: SessionConfig {
                        ssrc: None,
                        cname: "bench".to_owned(),
                        receive_clock: clock,
                        send_clock: clock,
                        bandwidth: 64_000,
                        min_sequential: 1,
                    },
                    send: CodecSettings {
                        complexity,
                        ..CodecSettings::new(CodecKind::Opus, opus)
                    },
                    receive: vec![(opus, CodecKind::Opus)],
                    telephone_events: Vec::new(),
                    direction: Direction::SendRecv,
                    remote_rtp: Some(SocketAddr::from(([127, 0, 0, 1], 9))),
                    remote_rtcp: None,
                    rtcp_mux: true,
                    extras: mixer::LegExtras::default(),
                    seed: [(key % 251) as u8; 32],
                },
                now,
            )
            .unwrap();
            room.command(Command::Add(leg), now);
            let spoken;
            let payloads = if key < talkers {
                spoken = payloads(|n| voice(n, 110.0 + 17.0 * key as f32));
                &spoken
            } else {
                idle
            };
            packets.push(
                payloads
                    .iter()
                    .map(|payload| {
                        let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0];
                        packet.extend((key + 1).to_be_bytes());
                        packet.extend(payload);
                        packet
                    })
                    .collect(),
            );
        }
        let mut scene = Self {
            room,
            packets,
            tick: 0,
            now,
        };
        for _ in 0..100 {
            scene.step(&mut Nowhere(0));
        }
        scene
    }

    fn step(&mut self, out: &mut Nowhere) {
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        for (key, packets) in (0u32..).zip(&mut self.packets) {
            let packet = &mut packets[self.tick as usize % LOOP];
            packet[2..4].copy_from_slice(&(self.tick as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&self.tick.wrapping_mul(960).to_be_bytes());
            self.room.receive(LegKey(key), Port::Rtp, from, packet, self.now);
            self.room.prepare(LegKey(key), self.now);
        }
        let wall = NtpTime::from_unix(Duration::from_secs(1_000) + TICK * self.tick);
        self.room.tick(self.now, wall, out);
        while self.room.poll_event().is_some() {}
        self.tick += 1;
        self.now += TICK;
    }
}

fn ticks(criterion: &mut Criterion) {
    let silence = payloads(|_| 0.0);
    let mut group = criterion.benchmark_group("tick");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(300));
    for members in [10, 100, 1_000] {
        for talkers in [1, 3, 10] {
            let mut scene = Scene::new(members, talkers, 5, &silence);
            group.bench_function(
                BenchmarkId::new(format!("{members} members"), talkers),
                |bencher| {
                    bencher.iter(|| scene.step(&mut Nowhere(0)));
                },
            );
        }
    }
    let mut seed = 5;
    let hiss: Vec<f32> = (0..LOOP * 960).map(|_| 0.003 * noise(&mut seed)).collect();
    let hiss = payloads(|n| hiss[n]);
    for (name, idle, complexity) in [("noise", &hiss, 5), ("silence, complexity 10", &silence, 10)] {
        let mut scene = Scene::new(100, 3, complexity, idle);
        group.bench_function(BenchmarkId::new(format!("100 members, {name}"), 3), |bencher| {
            bencher.iter(|| scene.step(&mut Nowhere(0)));
        });
    }
    group.finish();
}

fn codecs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec, 20 ms");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(1))
        .warm_up_time(Duration::from_millis(200));
    let pcm: Vec<f32> = (0..LOOP * 960).map(|n| voice(n, 140.0)).collect();
    let mut out = [0; 1_300];
    for complexity in [0, 5, 10] {
        let config = OpusConfig {
            complexity,
            ..OpusConfig::default()
        };
        let mut encoder = OpusEncoder::new(&config).unwrap();
        let mut frames = pcm.chunks_exact(960).cycle();
        group.bench_function(BenchmarkId::new("opus encode", complexity), |bencher| {
            bencher.iter(|| encoder.encode(frames.next().unwrap(), &mut out).unwrap());
        });
    }
    let packets = payloads(|n| voice(n, 140.0));
    let mut decoder = OpusDecoder::new().unwrap();
    let mut decoded = [0.0; 5_760];
    let mut frames = packets.iter().cycle();
    group.bench_function("opus decode", |bencher| {
        bencher.iter(|| decoder.decode(frames.next().unwrap(), &mut decoded).unwrap());
    });
    let mut encoder = G722Encoder::new();
    group.bench_function("g722 encode", |bencher| {
        bencher.iter(|| encoder.encode(&pcm[..320], &mut out).unwrap());
    });
    let mut decoder = G722Decoder::new();
    group.bench_function("g722 decode", |bencher| {
        bencher.iter(|| decoder.decode(&out[..160], &mut decoded).unwrap());
    });
    group.finish();
}

criterion_group!(benches, codecs, ticks);
criterion_main!(benches);
