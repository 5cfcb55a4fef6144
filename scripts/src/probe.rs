//! A plain RTP phone in PCMU: sends a tone and records what it gets. The media half of a sipp call.
//!
//! Written apart from `rtp-media`, so that both cannot share a fault. It answers symmetrically
//! (RFC 4961): to whoever sends to it, until a destination is set. Absent on purpose: RTCP, jitter buffer;
//! it is used on loopback, where packets arrive in order.

use std::f32::consts::TAU;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::process::wait_for;
use crate::tone::Recording;

/// Samples in a packet: 20 ms at 8 kHz.
const FRAME: usize = 160;
const PERIOD: Duration = Duration::from_millis(20);
/// The payload type of telephone-event that the scenarios offer.
pub const EVENT_PAYLOAD: u8 = 101;

#[derive(Default)]
struct State {
    heard: Vec<f32>,
    sources: Vec<SocketAddr>,
    destination: Option<SocketAddr>,
    muted: bool,
    digits: Vec<u8>,
    received: u64,
    sequence_gaps: u64,
    last_sequence: Option<u16>,
    events_heard: Vec<u8>,
    new_source: bool,
    new_socket: Option<UdpSocket>,
}

/// A running probe; ends with its guard.
pub struct Probe {
    /// Its RTP address.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    /// Binds a port of the system's choice on `ip` and sends `hertz` once it knows where to.
    pub fn start(ip: IpAddr, hertz: f32) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((ip, 0))?;
        Self::with_socket(socket, hertz)
    }

    /// The same on a socket that is bound already (in a network namespace, say).
    pub fn with_socket(socket: UdpSocket, hertz: f32) -> std::io::Result<Self> {
        let address = socket.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            move || run(socket, hertz, &state, &stop)
        });
        Ok(Self {
            address,
            state,
            stop,
            thread: Some(thread),
        })
    }

    /// Sends there from now on.
    pub fn send_to(&self, destination: SocketAddr) {
        lock(&self.state).destination = Some(destination);
    }

    /// Stops sending (as a phone that vanished) or goes on.
    pub fn mute(&self, muted: bool) {
        lock(&self.state).muted = muted;
    }

    /// Presses a key: RFC 4733 events of 100 ms.
    pub fn press(&self, digit: char) {
        let code = match digit {
            '0'..='9' => digit as u8 - b'0',
            '*' => 10,
            '#' => 11,
            _ => return,
        };
        lock(&self.state).digits.push(code);
    }

    /// Goes on as another source: SSRC, sequence numbers and timestamps are new (RFC 3550 §8.2).
    pub fn change_ssrc(&self) {
        lock(&self.state).new_source = true;
    }

    /// Goes on from another port, as behind a NAT that forgot the mapping: the stream continues, the old port is
    /// silent for ever. Returns the new address.
    pub fn rebind(&self) -> std::io::Result<SocketAddr> {
        let socket = UdpSocket::bind((self.address.ip(), 0))?;
        let address = socket.local_addr()?;
        lock(&self.state).new_socket = Some(socket);
        Ok(address)
    }

    /// Packets received.
    pub fn received(&self) -> u64 {
        lock(&self.state).received
    }

    /// Places where a sequence number was not the one before plus one.
    pub fn sequence_gaps(&self) -> u64 {
        lock(&self.state).sequence_gaps
    }

    /// Datagrams that the system threw away because this busy machine did not read them in time, as `/proc/net/udp` has
    /// them for the probe's port: each of them is a gap that nobody sent.
    pub fn dropped_by_system(&self) -> u64 {
        dropped_at(self.address)
    }

    /// All addresses that RTP came from.
    pub fn sources(&self) -> Vec<SocketAddr> {
        lock(&self.state).sources.clone()
    }

    /// What it has heard since the start or the last [`Probe::forget`].
    pub fn heard(&self) -> Recording {
        Recording {
            rate: 8_000,
            samples: lock(&self.state).heard.clone(),
        }
    }

    /// Begins a new recording.
    pub fn forget(&self) {
        lock(&self.state).heard.clear();
    }

    /// Waits until the recording is `seconds` long, at most `patience`.
    pub fn wait_heard(&self, seconds: f32, patience: Duration) -> Option<Recording> {
        wait_for(patience, || {
            Some(self.heard()).filter(|heard| heard.seconds() >= seconds)
        })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has shown itself in the test's output.
            let _ = thread.join();
        }
    }
}

/// The last column of the socket's row; IPv4 only.
fn dropped_at(address: SocketAddr) -> u64 {
    let IpAddr::V4(ip) = address.ip() else { return 0 };
    let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port());
    let row = table
        .lines()
        .find(|row| row.split_whitespace().nth(1) == Some(local.as_str()));
    row.and_then(|row| row.split_whitespace().last()?.parse().ok())
        .unwrap_or(0)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sender {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    phase: u32,
}

fn run(mut socket: UdpSocket, hertz: f32, state: &Mutex<State>, stop: &AtomicBool) {
    let port = socket.local_addr().map_or(1, |a| a.port());
    let mut sender = Sender {
        sequence: port,
        timestamp: 0,
        ssrc: 0x5EED_0000 | u32::from(port),
        phase: 0,
    };
    let mut next = Instant::now() + PERIOD;
    let mut packet = [0_u8; 2048];
    while !stop.load(Ordering::Relaxed) {
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            next += PERIOD;
            let moved = lock(state).new_socket.take();
            if let Some(other) = moved {
                socket = other;
            }
            if std::mem::take(&mut lock(state).new_source) {
                sender.ssrc = !sender.ssrc;
                sender.sequence = sender.sequence.wrapping_mul(31).wrapping_add(30_000);
                sender.timestamp = sender.timestamp.wrapping_add(1 << 31);
            }
            sender.tick(&socket, hertz, state);
            continue;
        }
        if socket.set_read_timeout(Some(left)).is_err() {
            return;
        }
        if let Ok((length, from)) = socket.recv_from(&mut packet) {
            receive(packet.get(..length).unwrap_or_default(), from, &mut lock(state));
        }
    }
}

fn receive(packet: &[u8], from: SocketAddr, state: &mut State) {
    let [first, second, high, low, _, _, _, _, _, _, _, _, rest @ ..] = packet else {
        return;
    };
    if first >> 6 != 2 {
        return;
    }
    let csrcs = usize::from(first & 0x0F) * 4;
    let payload = rest.get(csrcs..).unwrap_or_default();
    let sequence = u16::from_be_bytes([*high, *low]);
    state.received += 1;
    state.destination.get_or_insert(from);
    if !state.sources.contains(&from) {
        state.sources.push(from);
    }
    if state
        .last_sequence
        .is_some_and(|last| sequence != last.wrapping_add(1))
    {
        state.sequence_gaps += 1;
    }
    state.last_sequence = Some(sequence);
    match second & 0x7F {
        0 => state.heard.extend(payload.iter().map(|code| decode(*code))),
        EVENT_PAYLOAD => state.events_heard.extend(payload.first()),
        _ => {}
    }
}

impl Sender {
    fn tick(&mut self, socket: &UdpSocket, hertz: f32, state: &Mutex<State>) {
        let mut state = lock(state);
        let Some(to) = state.destination.filter(|_| !state.muted) else {
            self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
            return;
        };
        let digits = std::mem::take(&mut state.digits);
        drop(state);
        for code in digits {
            self.event(socket, to, code);
        }
        let payload: Vec<u8> = (0..FRAME as u32)
            .map(|n| encode((TAU * hertz * (self.phase + n) as f32 / 8_000.0).sin() * 0.3))
            .collect();
        self.phase = (self.phase + FRAME as u32) % 8_000;
        self.packet(socket, to, 0, false, self.timestamp, &payload);
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
    }

    fn event(&mut self, socket: &UdpSocket, to: SocketAddr, code: u8) {
        for step in 1..=7_u16 {
            let end = if step > 4 { 0x80 } else { 0 };
            let [high, low] = (FRAME as u16 * step.min(5)).to_be_bytes();
            let payload = [code, end | 10, high, low];
            self.packet(socket, to, EVENT_PAYLOAD, step == 1, self.timestamp, &payload);
        }
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32 * 5);
    }

    fn packet(
        &mut self,
        socket: &UdpSocket,
        to: SocketAddr,
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        payload: &[u8],
    ) {
        let mut packet = vec![0x80, payload_type | if marker { 0x80 } else { 0 }];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        // The other end may be gone: the test judges by what is heard.
        let _ = socket.send_to(&packet, to);
        self.sequence = self.sequence.wrapping_add(1);
    }
}

/// μ-law (ITU-T G.711) of a sample in −1..1.
fn encode(sample: f32) -> u8 {
    let magnitude = ((sample.abs() * 32_767.0) as u32).min(32_635) + 132;
    let exponent = 31 - magnitude.leading_zeros() - 7;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    let sign = if sample < 0.0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

/// The sample of a μ-law code.
fn decode(code: u8) -> f32 {
    let code = !code;
    let magnitude = ((u32::from(code & 0x0F) << 3) + 132) << ((code >> 4) & 7);
    let value = (magnitude - 132) as f32 / 32_768.0;
    if code & 0x80 == 0 { value } else { -value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn mu_law_keeps_a_sample_within_its_step() {
        for n in -100..=100 {
            let sample = n as f32 / 100.0;
            let back = decode(encode(sample));
            assert!(
                (back - sample).abs() <= sample.abs() / 16.0 + 0.001,
                "{sample} became {back}"
            );
        }
        assert_eq!(encode(0.0), 0xFF);
    }

    #[test]
    fn two_probes_hear_each_other() {
        let a = Probe::start(Ipv4Addr::LOCALHOST.into(), 500.0).unwrap();
        let b = Probe::start(Ipv4Addr::LOCALHOST.into(), 900.0).unwrap();
        a.send_to(b.address);
        let heard = a.wait_heard(0.5, Duration::from_secs(10)).unwrap();
        assert!(heard.amplitude(900.0) > 0.2 && heard.amplitude(500.0) < 0.01);
        assert!(b.heard().amplitude(500.0) > 0.2);
        assert_eq!(a.sources(), [b.address]);
    }

    #[test]
    fn what_the_system_throws_away_is_counted() {
        let deaf = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = deaf.local_addr().unwrap();
        assert_eq!(dropped_at(address), 0);
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for _ in 0..10_000 {
            sender.send_to(&[0; 1_400], address).unwrap();
        }
        assert!(dropped_at(address) > 0, "14 MB fit into its buffer");
    }
}
