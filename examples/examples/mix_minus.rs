//! Three legs in a room, all in memory: each sends a tone of its own, and must hear exactly the other two.
//!
//! Shows the mixer's whole contract: build legs off the media thread, hand them over with a command, feed
//! datagrams in, tick every 20 ms, take packets from the outbox. Exits non-zero when anyone hears the wrong
//! tones. Run it with `cargo run -p examples --example mix_minus`.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use mixer::{CodecSettings, Command, Direction, Leg, LegConfig, LegKey, Outbox, Port, Room, RoomConfig};
use rtp_media::codec::opus::OpusConfig;
use rtp_media::codec::{AudioDecoder, AudioEncoder, CodecKind, Decoder, Encoder};
use rtp_media::rtp::{RtpPacket, write_header};
use rtp_media::session::{RtpSession, SessionConfig};
use rtp_media::units::{NtpTime, PayloadType, RtpTimestamp};
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(20);
const TONES: [f32; 3] = [440.0, 730.0, 1_150.0];

/// A phone: what it says, and what it has heard.
struct Phone {
    key: LegKey,
    kind: CodecKind,
    address: SocketAddr,
    encoder: AudioEncoder,
    decoder: AudioDecoder,
    session: RtpSession,
    timestamp: RtpTimestamp,
    said: usize,
    heard: Vec<f32>,
}

/// Where the room's packets go: here into a list, in a server into sockets.
#[derive(Default)]
struct Wire(Vec<(LegKey, Vec<u8>)>);

impl Outbox for Wire {
    fn rtp(&mut self, leg: LegKey, _to: SocketAddr, packet: &[u8]) {
        self.0.push((leg, packet.to_vec()));
    }

    fn rtcp(&mut self, _leg: LegKey, _to: SocketAddr, _packet: &[u8]) {}
}

fn session(kind: CodecKind, name: &str) -> SessionConfig {
    SessionConfig {
        ssrc: None,
        cname: name.to_owned(),
        receive_clock: kind.rtp_clock_rate(),
        send_clock: kind.rtp_clock_rate(),
        bandwidth: 64_000,
        min_sequential: 1,
    }
}

fn payload_type(kind: CodecKind) -> PayloadType {
    // Dynamic payload types begin at 96 (RFC 3551 §6).
    kind.static_payload_type()
        .unwrap_or(PayloadType::from_low_bits(96))
}

impl Phone {
    fn new(key: u32, kind: CodecKind, now: Instant) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            key: LegKey(key),
            kind,
            address: SocketAddr::from(([192, 0, 2, u8::try_from(key)?], 4_000)),
            encoder: AudioEncoder::new(kind, &OpusConfig::default())?,
            decoder: AudioDecoder::new(kind)?,
            session: RtpSession::new(session(kind, "phone"), [u8::try_from(key)?; 32], now),
            timestamp: RtpTimestamp(0),
            said: 0,
            heard: Vec::new(),
        })
    }

    fn leg(&self) -> LegConfig {
        LegConfig {
            key: self.key,
            session: session(self.kind, "room"),
            send: CodecSettings::new(self.kind, payload_type(self.kind)),
            receive: vec![(payload_type(self.kind), self.kind)],
            telephone_events: Vec::new(),
            direction: Direction::SendRecv,
            remote_rtp: Some(self.address),
            remote_rtcp: None,
            rtcp_mux: true,
            extras: mixer::LegExtras::default(),
            seed: [7; 32],
        }
    }

    fn speak(&mut self, hz: f32, now: Instant) -> Result<Vec<u8>, Box<dyn Error>> {
        let rate = self.kind.sample_rate().hertz();
        let samples = rate as usize / 50;
        let pcm: Vec<f32> = (self.said..self.said + samples)
            .map(|n| 0.2 * (std::f32::consts::TAU * hz * n as f32 / rate as f32).sin())
            .collect();
        self.said += samples;
        let mut payload = [0; 1_275];
        let length = self.encoder.encode(&pcm, &mut payload)?;
        let mut packet = vec![0; 12];
        let header = self
            .session
            .next_header(false, payload_type(self.kind), self.timestamp, &[]);
        write_header(&mut packet, &header)?;
        packet.extend(payload.iter().take(length));
        self.session.sent(length, self.timestamp, now);
        self.timestamp = self.timestamp.plus(self.kind.rtp_clock_rate().hertz() / 50);
        Ok(packet)
    }

    fn hear(&mut self, packet: &[u8]) -> Result<(), Box<dyn Error>> {
        let mut out = [0.0; 5_760];
        let samples = self
            .decoder
            .decode(RtpPacket::parse(packet)?.payload(), &mut out)?;
        self.heard.extend(out.iter().take(samples));
        Ok(())
    }

    /// Amplitude of a tone in the last second (Goertzel).
    fn level(&self, hz: f32) -> f32 {
        let rate = self.kind.sample_rate().hertz();
        let last: Vec<f32> = self.heard.iter().rev().take(rate as usize).copied().collect();
        let k = 2.0 * (std::f32::consts::TAU * hz / rate as f32).cos();
        let (mut a, mut b) = (0.0f32, 0.0f32);
        for x in &last {
            (a, b) = (x + k * a - b, a);
        }
        (a * a + b * b - k * a * b).max(0.0).sqrt() * 2.0 / last.len().max(1) as f32
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut now = Instant::now();
    let mut room = Room::new(RoomConfig::default());
    let mut phones = Vec::new();
    for (key, kind) in (1u32..).zip([CodecKind::Opus, CodecKind::G722, CodecKind::Pcmu]) {
        let phone = Phone::new(key, kind, now)?;
        room.command(Command::Add(Leg::build(phone.leg(), now)?), now);
        phones.push(phone);
    }
    // Three seconds of meeting, as fast as the machine runs.
    for tick in 0..150u32 {
        for (phone, hz) in phones.iter_mut().zip(TONES) {
            let packet = phone.speak(hz, now)?;
            room.receive(phone.key, Port::Rtp, phone.address, &packet, now);
        }
        let mut wire = Wire::default();
        room.tick(now, NtpTime::from_unix(TICK * tick), &mut wire);
        for (leg, packet) in wire.0 {
            if let Some(phone) = phones.iter_mut().find(|phone| phone.key == leg) {
                phone.hear(&packet)?;
            }
        }
        now += TICK;
    }
    let mut right = true;
    for (index, phone) in phones.iter().enumerate() {
        println!(
            "leg {} ({}, says {} Hz) hears:",
            phone.key.0,
            phone.kind.encoding_name(),
            TONES.get(index).unwrap_or(&0.0)
        );
        for (other, hz) in TONES.into_iter().enumerate() {
            let level = phone.level(hz);
            let expected = other != index;
            let verdict = if (level > 0.05) == expected && (expected || level < 0.015) {
                "right"
            } else {
                "WRONG"
            };
            println!("  {hz:>6} Hz at {level:.3} – {verdict}");
            right &= verdict == "right";
        }
    }
    println!(
        "{}",
        if right {
            "everybody hears exactly the others"
        } else {
            "somebody hears the wrong tones"
        }
    );
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
