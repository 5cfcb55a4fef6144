//! A PCMU talker and listener on bare sockets, and a tone detector.
#![allow(dead_code, reason = "each test file uses its own part")]

use rtp_media::srtp::SrtpLink;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Sends a tone and keeps what comes back.
pub struct Voice {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<f32>>>,
    packets: Arc<Mutex<Vec<Vec<u8>>>>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    link: Arc<Mutex<SrtpLink>>,
    to: Arc<AtomicU16>,
    talking: Arc<AtomicBool>,
    longest_pause: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Voice {
    /// `hertz` 0: silence.
    #[allow(dead_code)]
    pub fn start(ip: IpAddr, hertz: f32) -> Self {
        Self::start_at(ip, hertz, 0)
    }

    /// The same with the first sequence number.
    pub fn start_at(ip: IpAddr, hertz: f32, first: u16) -> Self {
        let socket = Arc::new(UdpSocket::bind((ip, 0)).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let packets = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::new(AtomicU16::new(0));
        let talking = Arc::new(AtomicBool::new(true));
        let stop = Arc::new(AtomicBool::new(false));
        let (sent, link) = (Arc::default(), Arc::<Mutex<SrtpLink>>::default());
        let (h, p, s, rx, open) = (
            Arc::clone(&heard),
            Arc::clone(&packets),
            Arc::clone(&stop),
            Arc::clone(&socket),
            Arc::clone(&link),
        );
        let listener = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !s.load(Ordering::Relaxed) {
                if let Ok((length, _)) = rx.recv_from(&mut buffer) {
                    p.lock().unwrap().push(buffer[..length].to_vec());
                    let mut link = open.lock().unwrap();
                    let Ok(packet) = link.incoming(&mut buffer[..length]) else {
                        continue;
                    };
                    if packet.len() > 12 && packet[1] & 0x7f == 0 {
                        let skip = 12 + 4 * usize::from(packet[0] & 15);
                        h.lock()
                            .unwrap()
                            .extend(packet[skip..].iter().map(|b| from_mu_law(*b)));
                    }
                }
            }
        });
        let (s, t, on) = (Arc::clone(&stop), Arc::clone(&to), Arc::clone(&talking));
        let longest_pause = Arc::new(AtomicU64::new(0));
        let pause = Arc::clone(&longest_pause);
        let wire = (Arc::clone(&link), Arc::clone(&sent));
        let talker =
            std::thread::spawn(move || talk(&socket, ip, (hertz, first), (&s, &t, &on, &pause), &wire));
        Self {
            address,
            heard,
            packets,
            sent,
            link,
            to,
            talking,
            longest_pause,
            stop,
            threads: vec![listener, talker],
        }
    }

    /// Where to send, once the answer is known.
    pub fn send_to(&self, port: u16) {
        self.to.store(port, Ordering::Relaxed);
    }

    pub fn talk(&self, on: bool) {
        self.talking.store(on, Ordering::Relaxed);
    }

    /// The longest time between two packets so far: more than 20 ms where the machine had no time for this talker.
    pub fn longest_pause(&self) -> Duration {
        Duration::from_micros(self.longest_pause.load(Ordering::Relaxed))
    }

    /// Waits until so many more packets have been sent.
    pub fn wait_sent(&self, more: usize) {
        let (before, deadline) = (
            self.sent.lock().unwrap().len(),
            Instant::now() + crate::support::PATIENCE,
        );
        while self.sent.lock().unwrap().len() < before + more {
            assert!(Instant::now() < deadline, "nothing is sent");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The protection of what is sent and received; clear until somebody changes it.
    #[allow(dead_code)]
    pub fn link(&self) -> std::sync::MutexGuard<'_, SrtpLink> {
        self.link.lock().unwrap()
    }

    /// What was sent, as it went over the wire.
    #[allow(dead_code)]
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.sent.lock().unwrap().clone()
    }

    pub fn packets(&self) -> Vec<Vec<u8>> {
        self.packets.lock().unwrap().clone()
    }

    /// The last half second that was heard.
    pub fn recent(&self) -> Vec<f32> {
        let heard = self.heard.lock().unwrap();
        heard[heard.len().saturating_sub(4000)..].to_vec()
    }

    /// Waits until the last half second has (or has not) the tone.
    pub fn wait_tone(&self, hertz: f32, there: bool, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let recent = self.recent();
            if recent.len() == 4000 && (share(&recent, hertz) > 0.2) == there {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

type Wire = (Arc<Mutex<SrtpLink>>, Arc<Mutex<Vec<Vec<u8>>>>);

fn talk(
    socket: &UdpSocket,
    ip: IpAddr,
    (hertz, first): (f32, u16),
    (stop, to, on, pause): (&AtomicBool, &AtomicU16, &AtomicBool, &AtomicU64),
    wire: &Wire,
) {
    let start = Instant::now();
    let mut last = None;
    let ssrc = u32::from(socket.local_addr().unwrap().port()).to_be_bytes();
    for n in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let due = start + Duration::from_millis(20) * n;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let port = to.load(Ordering::Relaxed);
        if port == 0 || !on.load(Ordering::Relaxed) {
            last = None;
            continue;
        }
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&(first.wrapping_add(n as u16)).to_be_bytes());
        packet.extend_from_slice(&(n * 160).to_be_bytes());
        packet.extend_from_slice(&ssrc);
        packet.extend((0..160).map(|i| {
            let t = (n * 160 + i) as f32 / 8000.0;
            to_mu_law((t * hertz * std::f32::consts::TAU).sin() * 0.3)
        }));
        let mut space = [0; 300];
        let mut link = wire.0.lock().unwrap();
        let packet = link.outgoing(&packet, &mut space).unwrap();
        wire.1.lock().unwrap().push(packet.to_vec());
        drop(socket.send_to(packet, (ip, port)));
        let now = Instant::now();
        if let Some(before) = last.replace(now) {
            pause.fetch_max(now.duration_since(before).as_micros() as u64, Ordering::Relaxed);
        }
    }
}

/// The share of the power that lies at a frequency (Goertzel).
pub fn share(samples: &[f32], hertz: f32) -> f32 {
    let power: f32 = samples.iter().map(|s| s * s).sum();
    if power < 1e-4 {
        return 0.0;
    }
    let w = hertz / 8000.0 * std::f32::consts::TAU;
    let (mut a, mut b) = (0.0, 0.0);
    for s in samples {
        let next = s + 2.0 * w.cos() * a - b;
        b = a;
        a = next;
    }
    let bin = a * a + b * b - 2.0 * w.cos() * a * b;
    2.0 * bin / (samples.len() as f32 * power)
}

pub fn from_mu_law(byte: u8) -> f32 {
    let byte = !byte;
    let magnitude = ((i32::from(byte & 15) << 3) + 0x84) << ((byte >> 4) & 7);
    let value = (magnitude - 0x84) as f32 / 32768.0;
    if byte & 0x80 == 0 { value } else { -value }
}

pub fn to_mu_law(sample: f32) -> u8 {
    let value = ((sample.abs() * 32767.0) as i32).min(32_635) + 0x84;
    let exponent = 31 - value.leading_zeros() as i32 - 7;
    let mantissa = (value >> (exponent + 3)) & 15;
    let sign = if sample < 0.0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) | mantissa) as u8
}
