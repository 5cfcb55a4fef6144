//! A meeting in memory: phones that speak tones, links that lose and reorder, ears that tell who is heard.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

use mixer::{
    CodecSettings, Command, Direction, Leg, LegConfig, LegKey, LegUpdateConfig, MediaEvent, Outbox, Port,
    Room, RoomConfig, Trash,
};
use rtp_media::codec::{AudioDecoder, AudioEncoder, CodecKind, Decoder, Encoder, opus::OpusConfig};
use rtp_media::rtp::RtpPacket;
use rtp_media::session::{RtpSession, SessionConfig};
use rtp_media::units::{NtpTime, PayloadType, RtpTimestamp, SampleRate};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const TICK: Duration = Duration::from_millis(20);

pub fn payload_type(kind: CodecKind) -> PayloadType {
    kind.static_payload_type()
        .unwrap_or(PayloadType::new(96).unwrap())
}

pub fn session_config(kind: CodecKind, name: &str) -> SessionConfig {
    SessionConfig {
        ssrc: None,
        cname: name.to_owned(),
        receive_clock: kind.rtp_clock_rate(),
        send_clock: kind.rtp_clock_rate(),
        bandwidth: 64_000,
        min_sequential: 1,
    }
}

pub fn leg_config(key: u32, kind: CodecKind) -> LegConfig {
    LegConfig {
        key: LegKey(key),
        session: session_config(kind, "room"),
        send: CodecSettings::new(kind, payload_type(kind)),
        receive: vec![(payload_type(kind), kind)],
        telephone_events: vec![(PayloadType::new(101).unwrap(), kind.rtp_clock_rate())],
        direction: Direction::SendRecv,
        remote_rtp: Some(address(key)),
        remote_rtcp: None,
        rtcp_mux: true,
        extras: mixer::LegExtras::default(),
        seed: [(key % 251) as u8; 32],
    }
}

pub fn update_config(config: &LegConfig, direction: Direction) -> LegUpdateConfig {
    LegUpdateConfig {
        send: config.send,
        receive: config.receive.clone(),
        telephone_events: config.telephone_events.clone(),
        direction,
        remote_rtp: config.remote_rtp,
        remote_rtcp: config.remote_rtcp,
        rtcp_mux: config.rtcp_mux,
        extras: config.extras,
    }
}

pub fn address(key: u32) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + u16::try_from(key).unwrap()))
}

/// Amplitude of one frequency (Goertzel), over windows of 100 ms, averaged.
pub fn amplitude(pcm: &[f32], hz: f32, rate: u32) -> f32 {
    let window = rate as usize / 10;
    let k = 2.0 * (std::f32::consts::TAU * hz / rate as f32).cos();
    let mut sum = 0.0;
    let mut windows = 0.0f32;
    for part in pcm.chunks_exact(window) {
        let (mut a, mut b) = (0.0f32, 0.0f32);
        for x in part {
            (a, b) = (x + k * a - b, a);
        }
        sum += (a * a + b * b - k * a * b).max(0.0).sqrt() * 2.0 / window as f32;
        windows += 1.0;
    }
    sum / windows.max(1.0)
}

/// A deterministic stream of numbers in 0..1.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// What a phone got.
#[derive(Debug, Clone)]
pub struct Got {
    pub tick: u64,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub ssrc: u32,
    pub payload_type: u8,
    pub csrcs: Vec<u32>,
    pub payload: Vec<u8>,
}

pub struct Phone {
    pub config: LegConfig,
    pub kind: CodecKind,
    pub from: SocketAddr,
    pub session: RtpSession,
    encoder: AudioEncoder,
    decoder: AudioDecoder,
    timestamp: RtpTimestamp,
    phase: u64,
    /// What it says, as a function of the sample's number and the sampling rate.
    pub voice: Option<Box<dyn Fn(u64, f32) -> f32>>,
    pub sending: bool,
    pub heard: Vec<f32>,
    pub got: Vec<Got>,
    pub reports: u32,
    expected: Option<u16>,
}

impl Phone {
    pub fn new(config: LegConfig, now: Instant) -> Self {
        let kind = config.send.kind;
        Self {
            kind,
            from: address(config.key.0),
            session: RtpSession::new(
                session_config(kind, "phone"),
                [(config.key.0 % 200) as u8 + 50; 32],
                now,
            ),
            encoder: AudioEncoder::new(kind, &OpusConfig::default()).unwrap(),
            decoder: AudioDecoder::new(kind).unwrap(),
            timestamp: RtpTimestamp(config.key.0 * 1_000),
            phase: 0,
            voice: None,
            sending: true,
            heard: Vec::new(),
            got: Vec::new(),
            reports: 0,
            expected: None,
            config,
        }
    }

    pub fn key(&self) -> LegKey {
        self.config.key
    }

    pub fn say(&mut self, hz: f32) {
        self.voice = Some(Box::new(move |n, rate| {
            0.2 * (std::f32::consts::TAU * hz * n as f32 / rate).sin()
        }));
    }

    pub fn rate(&self) -> u32 {
        self.kind.sample_rate().hertz()
    }

    /// The packet of the next 20 ms.
    pub fn speak(&mut self, now: Instant) -> Vec<u8> {
        let rate = self.rate();
        let samples = u64::from(rate / 50);
        let pcm: Vec<f32> = (self.phase..self.phase + samples)
            .map(|n| self.voice.as_ref().map_or(0.0, |voice| voice(n, rate as f32)))
            .collect();
        self.phase += samples;
        let mut payload = [0; 1_300];
        let length = self.encoder.encode(&pcm, &mut payload).unwrap();
        self.packet(payload_type(self.kind), &payload[..length], now)
    }

    pub fn packet(&mut self, payload_type: PayloadType, payload: &[u8], now: Instant) -> Vec<u8> {
        let mut packet = [0; 1_500];
        let header = self.session.next_header(false, payload_type, self.timestamp, &[]);
        let at = rtp_media::rtp::write_header(&mut packet, &header).unwrap();
        packet[at..at + payload.len()].copy_from_slice(payload);
        self.session.sent(payload.len(), self.timestamp, now);
        self.timestamp = self.timestamp.plus(self.kind.rtp_clock_rate().hertz() / 50);
        packet[..at + payload.len()].to_vec()
    }

    /// Its clock goes on by so many ticks without a packet.
    pub fn pause(&mut self, ticks: u32) {
        let tick = self.kind.rtp_clock_rate().hertz() / 50;
        self.timestamp = self.timestamp.plus(tick * ticks);
    }

    pub fn hear(&mut self, tick: u64, bytes: &[u8], now: Instant) {
        let packet = RtpPacket::parse(bytes).unwrap();
        self.session.on_rtp(&packet, now);
        self.got.push(Got {
            tick,
            sequence: packet.sequence(),
            timestamp: packet.timestamp().0,
            marker: packet.marker(),
            ssrc: packet.ssrc().0,
            payload_type: packet.payload_type().get(),
            csrcs: packet.csrcs().map(|ssrc| ssrc.0).collect(),
            payload: packet.payload().to_vec(),
        });
        if packet.payload_type() != self.config.send.payload_type {
            return;
        }
        let mut out = [0.0; 5_760];
        // One lost packet is concealed, so that the timeline stays.
        if let Some(expected) = self.expected
            && packet.sequence() == expected.wrapping_add(1)
        {
            let frame = self.rate() as usize / 50;
            let concealed = self.decoder.conceal(&mut out[..frame]).unwrap();
            self.heard.extend_from_slice(&out[..concealed]);
        }
        self.expected = Some(packet.sequence().wrapping_add(1));
        let samples = self.decoder.decode(packet.payload(), &mut out).unwrap();
        self.heard.extend_from_slice(&out[..samples]);
    }

    /// How loud a tone is in the last `seconds` heard.
    pub fn hears(&self, hz: f32, seconds: f32) -> f32 {
        let last = (self.rate() as f32 * seconds) as usize;
        amplitude(
            &self.heard[self.heard.len().saturating_sub(last)..],
            hz,
            self.rate(),
        )
    }
}

/// Collects what a room sends.
#[derive(Default)]
pub struct Collected {
    pub rtp: Vec<(LegKey, SocketAddr, Vec<u8>)>,
    pub rtcp: Vec<(LegKey, SocketAddr, Vec<u8>)>,
}

impl Outbox for Collected {
    fn rtp(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8]) {
        self.rtp.push((leg, to, packet.to_vec()));
    }

    fn rtcp(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8]) {
        self.rtcp.push((leg, to, packet.to_vec()));
    }
}

pub struct Meeting {
    pub room: Room,
    /// Each leg is prepared as soon as its packets were given.
    pub prepares: bool,
    /// Of all that the room sent.
    pub sent: std::hash::DefaultHasher,
    pub phones: Vec<Phone>,
    pub now: Instant,
    pub tick: u64,
    /// Share of packets lost, each way.
    pub loss: f32,
    /// Share of packets that come a tick late.
    pub late: f32,
    pub dice: Dice,
    pub events: Vec<(u64, MediaEvent)>,
    delayed: Vec<(LegKey, SocketAddr, Vec<u8>)>,
}

impl Meeting {
    pub fn new(config: RoomConfig) -> Self {
        let now = Instant::now();
        Self {
            room: Room::new(config),
            prepares: false,
            sent: std::hash::DefaultHasher::new(),
            phones: Vec::new(),
            now,
            tick: 0,
            loss: 0.0,
            late: 0.0,
            dice: Dice(7),
            events: Vec::new(),
            delayed: Vec::new(),
        }
    }

    pub fn join(&mut self, config: LegConfig) -> &mut Phone {
        let leg = Leg::build(config.clone(), self.now).unwrap();
        let left = self.room.command(Command::Add(leg), self.now);
        assert!(!matches!(left, Some(Trash::Refused(_))));
        self.phones.push(Phone::new(config, self.now));
        self.phones.last_mut().unwrap()
    }

    pub fn join_tone(&mut self, key: u32, kind: CodecKind, hz: f32) {
        self.join(leg_config(key, kind)).say(hz);
    }

    pub fn leave(&mut self, key: u32) {
        let mut out = Collected::default();
        self.room.leave(LegKey(key), self.now, self.wall(), &mut out);
        assert!(matches!(
            self.room.command(Command::Remove(LegKey(key)), self.now),
            Some(Trash::Leg(_))
        ));
        self.phones.retain(|phone| phone.key() != LegKey(key));
    }

    pub fn phone(&mut self, key: u32) -> &mut Phone {
        self.phones
            .iter_mut()
            .find(|phone| phone.key() == LegKey(key))
            .unwrap()
    }

    pub fn wall(&self) -> NtpTime {
        NtpTime::from_unix(Duration::from_secs(1_700_000_000) + TICK * self.tick as u32)
    }

    /// Phones speak, the room ticks, phones hear.
    pub fn step(&mut self) {
        let mut arriving = std::mem::take(&mut self.delayed);
        for phone in self.phones.iter_mut().filter(|phone| phone.sending) {
            let packet = phone.speak(self.now);
            if self.dice.roll() < self.loss {
                continue;
            }
            let datagram = (phone.key(), phone.from, packet);
            if self.dice.roll() < self.late {
                self.delayed.push(datagram);
            } else {
                arriving.push(datagram);
            }
        }
        for (leg, from, packet) in arriving {
            // Packets come 5 ms before the tick.
            self.room
                .receive(leg, Port::Rtp, from, &packet, self.now - TICK / 4);
        }
        if self.prepares {
            for phone in &self.phones {
                self.room.prepare(phone.key(), self.now);
            }
        }
        self.run_room();
    }

    /// The room ticks, phones hear.
    pub fn run_room(&mut self) {
        let mut out = Collected::default();
        self.room.tick(self.now, self.wall(), &mut out);
        let keys: HashMap<LegKey, usize> = self
            .phones
            .iter()
            .enumerate()
            .map(|(at, phone)| (phone.key(), at))
            .collect();
        out.rtp
            .iter()
            .for_each(|(_, _, packet)| packet.hash(&mut self.sent));
        for (leg, to, packet) in out.rtp {
            let phone = &mut self.phones[keys[&leg]];
            assert_eq!(to, phone.from);
            if self.dice.roll() >= self.loss {
                phone.hear(self.tick, &packet, self.now);
            }
        }
        for (leg, _, packet) in out.rtcp {
            let phone = &mut self.phones[keys[&leg]];
            phone.reports += 1;
            phone.session.on_rtcp(&packet, self.now).unwrap();
        }
        for phone in &mut self.phones {
            let mut buffer = [0; 1_500];
            let wall = NtpTime::from_unix(Duration::from_secs(1_700_000_000) + TICK * self.tick as u32);
            if let Some(length) = phone.session.poll_rtcp(self.now, wall, &mut buffer) {
                self.room.receive(
                    phone.config.key,
                    Port::Rtp,
                    phone.from,
                    &buffer[..length],
                    self.now,
                );
            }
        }
        while let Some(event) = self.room.poll_event() {
            self.events.push((self.tick, event));
        }
        self.tick += 1;
        self.now += TICK;
    }

    pub fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.step();
        }
    }

    pub fn update(&mut self, update: LegUpdateConfig, key: u32) {
        let update = mixer::LegUpdate::build(&update).unwrap();
        assert!(matches!(
            self.room.command(Command::Update(LegKey(key), update), self.now),
            Some(Trash::Update(_))
        ));
    }
}

pub fn clock(kind: CodecKind) -> SampleRate {
    kind.rtp_clock_rate()
}
