//! The flood: garbage of many kinds at the SIP port, from many addresses and ports, at a steady rate.
//!
//! One datagram in ten each: random bytes, broken SIP, RTP, responses to nobody, requests in dialogs that never were,
//! OPTIONS, SUBSCRIBE, REGISTER, INVITE without a body, INVITE with an offer. Over TCP: connections that say nothing,
//! that send half a message, that send a message byte by byte; opened anew when the server closes them. Absent on
//! purpose: anything that a stranger cannot know, such as the Call-ID of a call.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Sockets that datagrams come from, each on an address of its own in 127.0.0.0/8.
const SOCKETS: u16 = 256;
/// TCP connections held.
const CONNECTIONS: usize = 400;
/// Datagrams are sent in bursts of one millisecond.
const STEP: Duration = Duration::from_millis(1);

/// A running flood.
pub struct Flood {
    /// Datagrams sent.
    pub sent: Arc<AtomicU64>,
    /// Datagrams that came back.
    pub answers: Arc<AtomicU64>,
    /// TCP connections opened.
    pub connections: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// Starts sending so many datagrams a second to a SIP port, and holding connections to it.
    pub fn start(to: SocketAddr, rate: u32) -> std::io::Result<Self> {
        let mut sockets = Vec::new();
        for n in 0..SOCKETS {
            let [high, low] = n.to_be_bytes();
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 66, high, low.max(1)), 0))?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        let counter = || Arc::new(AtomicU64::new(0));
        let (sent, answers, connections) = (counter(), counter(), counter());
        let stop = Arc::new(AtomicBool::new(false));
        let datagrams = {
            let (sent, answers, stop) = (Arc::clone(&sent), Arc::clone(&answers), Arc::clone(&stop));
            std::thread::spawn(move || send(&sockets, to, rate, &sent, &answers, &stop))
        };
        let streams = {
            let (connections, stop) = (Arc::clone(&connections), Arc::clone(&stop));
            std::thread::spawn(move || hold(to, &connections, &stop))
        };
        Ok(Self {
            sent,
            answers,
            connections,
            stop,
            threads: vec![datagrams, streams],
        })
    }

    /// Ends it.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A panic has shown itself on standard error.
            let _ = thread.join();
        }
    }
}

fn send(
    sockets: &[UdpSocket],
    to: SocketAddr,
    rate: u32,
    sent: &AtomicU64,
    answers: &AtomicU64,
    stop: &AtomicBool,
) {
    let start = Instant::now();
    let mut buffer = [0_u8; 2048];
    let mut count = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while count < due {
            let Some(socket) = sockets.get(count as usize % sockets.len().max(1)) else {
                return;
            };
            let packet = packet(count, socket.local_addr().unwrap_or(to), to);
            // What the system does not take is not sent; the rate says what was.
            if socket.send_to(&packet, to).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
            while socket.recv(&mut buffer).is_ok() {
                answers.fetch_add(1, Ordering::Relaxed);
            }
            count += 1;
        }
        std::thread::sleep(STEP);
    }
}

/// The datagram of a number.
fn packet(n: u64, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    // By turns, but so that each socket sends every kind.
    match (n / u64::from(SOCKETS) + n) % 10 {
        0 => noise(n, 40 + (n % 900) as usize),
        1 => {
            let text = request("INVITE", n, from, to, "");
            let cut = (n as usize * 31) % text.len().max(1);
            let mut bytes = text.into_bytes();
            bytes
                .iter_mut()
                .skip(cut)
                .step_by(7)
                .for_each(|byte| *byte ^= 0x55);
            bytes
        }
        2 => {
            let mut rtp = noise(n, 172);
            rtp.splice(..2, [0x80, 0]);
            rtp
        }
        3 => request("BYE", n, from, to, "")
            .replacen("BYE sip:", "SIP/2.0 200 OK\r\nX: ", 1)
            .into_bytes(),
        4 => request("BYE", n, from, to, ";tag=guess").into_bytes(),
        5 => request("OPTIONS", n, from, to, "").into_bytes(),
        6 => request("SUBSCRIBE", n, from, to, "").into_bytes(),
        7 => request("REGISTER", n, from, to, "").into_bytes(),
        8 => request("INVITE", n, from, to, "").into_bytes(),
        _ => {
            let sdp = format!(
                "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n",
                ip = from.ip()
            );
            let kind = format!(
                "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
                sdp.len()
            );
            request("INVITE", n, from, to, "")
                .replace("Content-Length: 0\r\n\r\n", &kind)
                .into_bytes()
        }
    }
}

fn request(method: &str, n: u64, from: SocketAddr, to: SocketAddr, tag: &str) -> String {
    format!(
        "{method} sip:flood{room}@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bKf{n}\r\n\
         From: <sip:f{n}@{from}>;tag=f{n}\r\nTo: <sip:flood@{to}>{tag}\r\nCall-ID: flood-{n}\r\nCSeq: 1 {method}\r\n\
         Max-Forwards: 70\r\nEvent: conference\r\nContact: <sip:f@{from}>\r\nContent-Length: 0\r\n\r\n",
        room = n % 997,
    )
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

fn hold(to: SocketAddr, connections: &AtomicU64, stop: &AtomicBool) {
    let text = b"INVITE sip:half@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKh\r\nContent-Length: 5000\r\n\r\n";
    let mut held: Vec<(TcpStream, usize)> = Vec::new();
    let mut opened = 0_usize;
    while !stop.load(Ordering::Relaxed) {
        held.retain_mut(|(stream, said)| {
            let open = match stream.read(&mut [0; 512]) {
                Ok(length) => length > 0,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            };
            // A third each: silence, half a message at once, one byte after the other.
            let next = match *said % 3 {
                0 => &[][..],
                1 if *said < 3 => text.get(..).unwrap_or_default(),
                1 => &[][..],
                _ => text.get(*said / 3..*said / 3 + 1).unwrap_or_default(),
            };
            let _ = stream.write(next);
            *said += 3;
            open
        });
        for _ in held.len()..CONNECTIONS {
            let Ok(stream) = TcpStream::connect_timeout(&to, Duration::from_millis(200)) else {
                break;
            };
            if stream.set_nonblocking(true).is_err() {
                break;
            }
            held.push((stream, opened % 3));
            opened += 1;
            connections.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
