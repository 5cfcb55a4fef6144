//! Mouth to ear: bursts of a 6 kHz tone go in at one member and come out at another; what lies between is delay.
//!
//! The same bursts are also decoded without a server in between; that part (the codec's own look-ahead) is
//! subtracted, so the figure is what the server adds: waiting for its tick, jitter buffer, decoding, mixing and
//! encoding again. The burst's place within its frame moves, so that every phase against the tick occurs.

use std::f32::consts::TAU;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rtp_media::codec::opus::{OpusConfig, OpusDecoder, OpusEncoder};
use rtp_media::codec::{Decoder, Encoder};

use super::media::{FRAME, MediaError, PAYLOAD_TYPE, PERIOD};

/// Frames between two bursts: a prime number, so that nothing beats with it.
pub const EVERY: u32 = 29;
/// Length of a burst in samples: 60 ms.
const BURST: usize = 2_880;
const HERTZ: f32 = 6_000.0;
/// Window of the detector: 2.5 ms.
const WINDOW: usize = 120;
/// A burst that takes longer is lost.
const LONGEST: Duration = Duration::from_millis(400);
/// Amplitude from which the tone counts as there.
const THRESHOLD: f32 = 0.05;

/// A room of two: what the first says the second hears.
pub struct Pair {
    /// Speaks from here.
    pub mouth: UdpSocket,
    /// To here.
    pub mouth_to: SocketAddr,
    /// Listens here.
    pub ear: UdpSocket,
    /// Where the listener sends its silence.
    pub ear_to: SocketAddr,
}

/// Delays in milliseconds, and the gaps between packets at the listener.
#[derive(Debug, Clone, Default)]
pub struct Delays {
    /// What the server added, a value a burst, sorted.
    pub added: Vec<f64>,
    /// The same in the order of time: when after the start, and the value.
    pub series: Vec<(Duration, f64)>,
    /// When each burst was said and what was added to it, in their order.
    pub bursts: Vec<(Instant, f64)>,
    /// Time between two packets at the listener, sorted.
    pub gaps: Vec<f64>,
    /// Bursts that never arrived.
    pub missed: usize,
}

impl Delays {
    /// The value below which `share` (0..1) of the delays lie; 0 where there are none.
    pub fn quantile(sorted: &[f64], share: f64) -> f64 {
        let last = sorted.len().saturating_sub(1);
        sorted
            .get((last as f64 * share).round() as usize)
            .copied()
            .unwrap_or(0.0)
    }
}

/// Runs bursts for `length` through a pair, one in `every` frames, at least twelve.
pub fn measure(pair: Pair, length: Duration, every: u32) -> Result<Delays, MediaError> {
    let Pair {
        mouth,
        mouth_to,
        ear,
        ear_to,
    } = pair;
    mouth.connect(mouth_to)?;
    ear.connect(ear_to)?;
    let frames = (length.as_millis() / PERIOD.as_millis()) as u32;
    let start = Instant::now() + PERIOD;
    let listening = std::thread::spawn(move || listen(&ear, start + length + Duration::from_millis(500)));
    let sent = speak(&mouth, start, frames, every)?;
    let Ok(heard) = listening.join() else {
        return Ok(Delays::default());
    };
    let heard = heard?;
    let direct = direct(frames.min(every * 20), every)?;
    let mut delays = Delays {
        gaps: heard.gaps,
        ..Delays::default()
    };
    let limit = LONGEST.min(PERIOD * every);
    for at in sent {
        let next = heard.onsets.iter().find(|onset| **onset >= at);
        match next.map(|onset| onset.duration_since(at)) {
            Some(delay) if delay < limit => {
                let added = delay.as_secs_f64() * 1e3 - direct;
                delays.added.push(added);
                delays.series.push((at.saturating_duration_since(start), added));
                delays.bursts.push((at, added));
            }
            _ => delays.missed += 1,
        }
    }
    delays.added.sort_by(f64::total_cmp);
    delays.gaps.sort_by(f64::total_cmp);
    Ok(delays)
}

/// The signal: silence with bursts; a burst begins at a place that moves through the frame.
struct Signal {
    every: usize,
    sample: usize,
    next: usize,
    count: usize,
}

impl Signal {
    fn new(every: u32) -> Self {
        Self {
            every: every.max(12) as usize,
            sample: 0,
            next: FRAME * 10,
            count: 0,
        }
    }

    /// Fills one frame; the offset of a burst that begins in it.
    fn fill(&mut self, frame: &mut [f32]) -> Option<usize> {
        let mut onset = None;
        for (offset, out) in frame.iter_mut().enumerate() {
            if self.sample == self.next + BURST {
                self.count += 1;
                self.next += self.every * FRAME + (self.count * 131) % FRAME;
            }
            let inside = self.sample.checked_sub(self.next);
            *out = inside.map_or(0.0, |n| 0.4 * (TAU * HERTZ * n as f32 / 48_000.0).sin());
            if inside == Some(0) {
                onset = Some(offset);
            }
            self.sample += 1;
        }
        onset
    }
}

fn speak(socket: &UdpSocket, start: Instant, frames: u32, every: u32) -> Result<Vec<Instant>, MediaError> {
    let mut encoder = encoder()?;
    let (mut signal, mut onsets) = (Signal::new(every), Vec::new());
    let (mut pcm, mut packet) = ([0.0_f32; FRAME], [0_u8; 1500]);
    for n in 0..frames {
        let onset = signal.fill(&mut pcm);
        let [s1, s2] = (n as u16).to_be_bytes();
        let [t1, t2, t3, t4] = n.wrapping_mul(FRAME as u32).to_be_bytes();
        let fixed = [0x80, PAYLOAD_TYPE, s1, s2, t1, t2, t3, t4, 0xDE, 0x1A, 0x0E, 0x01];
        for (to, from) in packet.iter_mut().zip(fixed) {
            *to = from;
        }
        let room = packet.get_mut(fixed.len()..).unwrap_or_default();
        let length = encoder
            .encode(&pcm, room)
            .map_err(|e| MediaError::Codec(e.to_string()))?
            + fixed.len();
        std::thread::sleep((start + PERIOD * n).saturating_duration_since(Instant::now()));
        let now = Instant::now();
        socket.send(packet.get(..length).unwrap_or_default())?;
        if let Some(offset) = onset {
            onsets.push(now + samples(offset));
        }
    }
    Ok(onsets)
}

struct Heard {
    onsets: Vec<Instant>,
    gaps: Vec<f64>,
}

fn listen(socket: &UdpSocket, until: Instant) -> Result<Heard, MediaError> {
    let mut detector = Detector::new()?;
    let mut heard = Heard {
        onsets: Vec::new(),
        gaps: Vec::new(),
    };
    let mut packet = [0_u8; 1500];
    let mut before: Option<Instant> = None;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    // A server that latches needs a first packet from us.
    socket.send(&[
        0x80,
        PAYLOAD_TYPE,
        0,
        0,
        0,
        0,
        0,
        0,
        0xEA,
        0x0E,
        0,
        1,
        0xF8,
        0xFF,
        0xFE,
    ])?;
    let mut sequence = 0_u16;
    while Instant::now() < until {
        let Ok(length) = socket.recv(&mut packet) else {
            continue;
        };
        let now = Instant::now();
        let Some([first, second]) = packet.get(..2) else {
            continue;
        };
        if second & 0x7F != PAYLOAD_TYPE {
            continue;
        }
        let start = 12 + usize::from(first & 0x0F) * 4;
        if let Some(offset) = detector.frame(packet.get(start..length).unwrap_or_default())? {
            heard.onsets.push(now + samples(offset));
        }
        if let Some(before) = before {
            heard.gaps.push(now.duration_since(before).as_secs_f64() * 1e3);
        }
        before = Some(now);
        sequence = sequence.wrapping_add(1);
        keep_alive(socket, sequence)?;
    }
    Ok(heard)
}

/// The listener sends digital silence for each packet that it gets, as a phone would.
fn keep_alive(socket: &UdpSocket, sequence: u16) -> Result<(), MediaError> {
    let [s1, s2] = sequence.to_be_bytes();
    let [t1, t2, t3, t4] = u32::from(sequence).wrapping_mul(FRAME as u32).to_be_bytes();
    socket.send(&[
        0x80,
        PAYLOAD_TYPE,
        s1,
        s2,
        t1,
        t2,
        t3,
        t4,
        0xEA,
        0x0E,
        0,
        1,
        0xF8,
        0xFF,
        0xFE,
    ])?;
    Ok(())
}

/// Mean delay in milliseconds of encoder and decoder alone, by the same detector.
fn direct(frames: u32, every: u32) -> Result<f64, MediaError> {
    let (mut encoder, mut detector, mut signal) = (encoder()?, Detector::new()?, Signal::new(every));
    let (mut pcm, mut packet) = ([0.0_f32; FRAME], [0_u8; 1500]);
    let (mut sent, mut sum, mut count) = (None, 0.0, 0_u32);
    for n in 0..frames as usize {
        if let Some(offset) = signal.fill(&mut pcm) {
            sent = Some(n * FRAME + offset);
        }
        let length = encoder
            .encode(&pcm, &mut packet)
            .map_err(|e| MediaError::Codec(e.to_string()))?;
        let found = detector.frame(packet.get(..length).unwrap_or_default())?;
        if let (Some(offset), Some(at)) = (found, sent.take_if(|_| found.is_some())) {
            sum += (n * FRAME + offset).saturating_sub(at) as f64 / 48.0;
            count += 1;
        }
    }
    Ok(sum / f64::from(count.max(1)))
}

fn encoder() -> Result<OpusEncoder, MediaError> {
    OpusEncoder::new(&OpusConfig::default()).map_err(|e| MediaError::Codec(e.to_string()))
}

struct Detector {
    decoder: OpusDecoder,
    quiet: u32,
}

impl Detector {
    fn new() -> Result<Self, MediaError> {
        let decoder = OpusDecoder::new().map_err(|e| MediaError::Codec(e.to_string()))?;
        Ok(Self { decoder, quiet: 0 })
    }

    /// Decodes one packet; the offset at which a burst begins in it, after at least 100 ms without.
    fn frame(&mut self, payload: &[u8]) -> Result<Option<usize>, MediaError> {
        let mut pcm = [0.0_f32; FRAME * 6];
        let length = self
            .decoder
            .decode(payload, &mut pcm)
            .map_err(|e| MediaError::Codec(e.to_string()))?;
        let mut onset = None;
        for (index, window) in pcm
            .get(..length)
            .unwrap_or_default()
            .chunks_exact(WINDOW)
            .enumerate()
        {
            if crate::tone::goertzel(window, 48_000, HERTZ) < THRESHOLD {
                self.quiet += 1;
            } else {
                if self.quiet > 40 {
                    onset = Some(index * WINDOW);
                }
                self.quiet = 0;
            }
        }
        Ok(onset)
    }
}

fn samples(count: usize) -> Duration {
    Duration::from_secs_f64(count as f64 / 48_000.0)
}
