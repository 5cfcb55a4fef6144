//! The generator's media: frames encoded before the run, one socket a member, sends spread over the 20 ms.
//!
//! The loops hold four seconds of sound each. A talker speaks (espeak-ng); the others send digital
//! silence or room noise at −55 dBFS without DTX or level extensions, whichever the workload says.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rtp_media::codec::Encoder;
use rtp_media::codec::opus::{OpusConfig, OpusEncoder};

/// Samples of one frame: 20 ms at 48 kHz.
pub const FRAME: usize = 960;
/// The packet interval.
pub const PERIOD: Duration = Duration::from_millis(20);
/// Frames of one loop: four seconds.
const LOOP: usize = 200;
/// Members whose times lie so close go out together.
const BATCH: Duration = Duration::from_millis(1);
/// Rounds in one of which a member takes all that waits.
const CATCH_UP: usize = 8;
/// The payload type that the generator offers.
pub const PAYLOAD_TYPE: u8 = 96;

/// What a member that does not talk sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Digital silence.
    Silence,
    /// White noise at −55 dBFS.
    Noise,
}

/// Encoded frames of one loop.
pub type Loop = Arc<Vec<Vec<u8>>>;

/// What goes wrong with the generator's media.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The codec refused.
    #[error("Opus: {0}")]
    Codec(String),
    /// Nobody could speak.
    #[error(transparent)]
    Speech(#[from] crate::speech::SpeechError),
    /// A socket failed.
    #[error("RTP socket: {0}")]
    Io(#[from] std::io::Error),
}

/// What talkers say: one voice each, so that loops differ.
const VOICES: [(&str, &str); 3] = [
    (
        "en",
        "The numbers of this quarter look better than we had hoped when we met in spring.",
    ),
    (
        "en+f3",
        "Before we decide, I would like to hear what the others think about the second plan.",
    ),
    (
        "en+m3",
        "Please have a look at the last page, where the costs of both ways are compared.",
    ),
];

/// A talker's loop: spoken, because what a frame costs libopus depends on whether it takes it for speech.
pub fn talker(voice: usize) -> Result<Loop, MediaError> {
    let folder = tempfile::tempdir()?;
    let Some((name, sentence)) = VOICES.get(voice % VOICES.len()) else {
        return encode(&[]);
    };
    let spoken = crate::speech::speak(&folder.path().join("said.wav"), name, sentence)?;
    let samples: Vec<f32> = spoken.samples.into_iter().cycle().take(LOOP * FRAME).collect();
    encode(&samples)
}

/// The loop of a member that does not talk.
pub fn idle(kind: Idle) -> Result<Loop, MediaError> {
    let mut draw = generator(77);
    // Uniform noise of amplitude a has a level of a/√3.
    let amplitude = match kind {
        Idle::Silence => 0.0,
        Idle::Noise => 10_f32.powf(-55.0 / 20.0) * 3_f32.sqrt(),
    };
    let samples: Vec<f32> = (0..LOOP * FRAME)
        .map(|_| amplitude * (2.0 * draw() - 1.0))
        .collect();
    encode(&samples)
}

fn generator(seed: u32) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0
    }
}

fn encode(samples: &[f32]) -> Result<Loop, MediaError> {
    let codec = |e: rtp_media::codec::CodecError| MediaError::Codec(e.to_string());
    let mut encoder = OpusEncoder::new(&OpusConfig::default()).map_err(codec)?;
    let mut frames = Vec::with_capacity(LOOP);
    let mut buffer = [0_u8; 1500];
    for frame in samples.chunks_exact(FRAME).take(LOOP) {
        let length = encoder.encode(frame, &mut buffer).map_err(codec)?;
        frames.push(buffer.get(..length).unwrap_or_default().to_vec());
    }
    Ok(Arc::new(frames))
}

/// One member: its socket and what it says.
pub struct Member {
    /// Bound to a port of the system's choice.
    pub socket: UdpSocket,
    /// Frames to repeat.
    pub says: Loop,
}

/// What the generator counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// RTP packets sent.
    pub sent: AtomicU64,
    /// RTP packets received.
    pub received: AtomicU64,
    /// Gaps in the sequence numbers received.
    pub gaps: AtomicU64,
    /// Latest send after its time in microseconds; set it to 0 to begin anew.
    pub late_us: AtomicU64,
}

/// Sends and receives for all members on one thread until it is dropped.
pub struct Crowd {
    /// What it counted so far.
    pub counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Starts the members, each with where its RTP goes.
    pub fn start(members: Vec<(Member, SocketAddr)>) -> Result<Self, MediaError> {
        for (member, to) in &members {
            member.socket.connect(to)?;
            member.socket.set_nonblocking(true)?;
        }
        let (counters, stop) = (Arc::new(Counters::default()), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (counters, stop) = (Arc::clone(&counters), Arc::clone(&stop));
            move || drive(&members, &counters, &stop)
        });
        Ok(Self {
            counters,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic has shown itself on standard error.
            let _ = thread.join();
        }
    }
}

fn drive(members: &[(Member, SocketAddr)], counters: &Counters, stop: &AtomicBool) {
    let start = Instant::now();
    let step = PERIOD / u32::try_from(members.len().max(1)).unwrap_or(1);
    let mut last: Vec<Option<u16>> = vec![None; members.len()];
    let mut packet = vec![0_u8; 1500];
    // Several members within a millisecond go out together: the generator must not spend its time waking.
    let mut now = start;
    for round in 0_u32.. {
        for (index, (member, _)) in members.iter().enumerate() {
            let due = start + PERIOD * round + step * u32::try_from(index).unwrap_or(0);
            if due > now + BATCH {
                now = Instant::now();
                let wait = due.saturating_duration_since(now);
                if wait > BATCH {
                    std::thread::sleep(wait);
                    now = Instant::now();
                }
                let late = now.saturating_duration_since(due);
                counters.late_us.fetch_max(
                    u64::try_from(late.as_micros()).unwrap_or(u64::MAX),
                    Ordering::Relaxed,
                );
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let frame = member.says.get(round as usize % member.says.len().max(1));
            let length = header(&mut packet, round, index, frame.map_or(&[][..], Vec::as_slice));
            if member
                .socket
                .send(packet.get(..length).unwrap_or_default())
                .is_ok()
            {
                counters.sent.fetch_add(1, Ordering::Relaxed);
            }
            // One packet comes for each that goes; now and then all that may have gathered is taken.
            let most = if (round as usize + index).is_multiple_of(CATCH_UP) {
                64
            } else {
                1
            };
            if let Some(seen) = last.get_mut(index) {
                take(&member.socket, most, seen, &mut packet, counters);
            }
        }
    }
}

/// Counts up to `most` waiting packets of a member and the gaps between their sequence numbers.
fn take(socket: &UdpSocket, most: usize, seen: &mut Option<u16>, packet: &mut [u8], counters: &Counters) {
    for _ in 0..most {
        let Ok(length) = socket.recv(packet) else { return };
        // RTCP comes muxed or elsewhere: only RTP is counted (RFC 5761 §4).
        let Some([_, kind, high, low]) = packet.first_chunk().filter(|_| length >= 12).copied() else {
            continue;
        };
        if (192..=223).contains(&kind) {
            continue;
        }
        counters.received.fetch_add(1, Ordering::Relaxed);
        let sequence = u16::from_be_bytes([high, low]);
        if seen.is_some_and(|s| s.wrapping_add(1) != sequence) {
            counters.gaps.fetch_add(1, Ordering::Relaxed);
        }
        *seen = Some(sequence);
    }
}

/// Writes an RTP packet (RFC 3550 §5.1) and gives its length.
pub(super) fn header(packet: &mut [u8], round: u32, index: usize, payload: &[u8]) -> usize {
    let [s1, s2] = (round as u16).to_be_bytes();
    let [t1, t2, t3, t4] = round.wrapping_mul(FRAME as u32).to_be_bytes();
    let [c1, c2, c3, c4] = (0x10AD_0000 + index as u32).to_be_bytes();
    let fixed = [0x80, PAYLOAD_TYPE, s1, s2, t1, t2, t3, t4, c1, c2, c3, c4];
    let length = fixed.len() + payload.len();
    for (to, from) in packet.iter_mut().zip(fixed.iter().chain(payload)) {
        *to = *from;
    }
    length.min(packet.len())
}
