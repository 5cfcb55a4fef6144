//! The hearing half of a stream: from accepted RTP payloads to 48 kHz sound, one tick at a time.
//!
//! It owns the jitter buffer, the decoders and the way up to 48 kHz. Deliberately absent: who may send
//! ([`super::stream`] asks the latch) and statistics of the network (the session's).

use std::time::{Duration, Instant};

use rtp_media::codec::{AudioDecoder, CodecKind, Decoder};
use rtp_media::comfort_noise::NoiseGenerator;
use rtp_media::jitter::{Arrival, JitterBuffer, JitterConfig, JitterStats, Pull};
use rtp_media::limits::MAX_NOISE;
use rtp_media::rtp::RtpPacket;
use rtp_media::units::SeqExt;

use super::MediaError;
use super::resample::FixedResampler;
use crate::limits::{PCM_RATE, TICK};

/// Samples of the longest Opus packet, 120 ms.
const LONGEST: usize = 5_760;
/// Pulls in one tick; a packet of 2.5 ms needs eight, and a burst of losses some more.
const PULLS: usize = 64;

/// Decodes what arrives.
pub struct Receiver {
    kind: CodecKind,
    decoder: AudioDecoder,
    jitter: JitterBuffer,
    up: FixedResampler,
    noise: NoiseGenerator,
    /// Where in the stream and when the peer described its silence; until a later frame the noise stands for it.
    noise_since: Option<(SeqExt, Instant)>,
    waiting: Vec<f32>,
    scratch: Vec<f32>,
    blend: Vec<f32>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receiver({:?})", self.kind)
    }
}

impl Receiver {
    /// A receiver that expects this codec first.
    pub fn new(kind: CodecKind) -> Result<Self, MediaError> {
        Ok(Self {
            kind,
            decoder: AudioDecoder::new(kind)?,
            jitter: JitterBuffer::new(jitter_of(kind)),
            up: FixedResampler::new(kind.sample_rate().hertz(), PCM_RATE)?,
            noise: NoiseGenerator::default(),
            noise_since: None,
            waiting: Vec::with_capacity(2 * LONGEST),
            scratch: vec![0.0; LONGEST],
            blend: Vec::with_capacity(LONGEST),
        })
    }

    /// Takes a payload of the current source; another codec than before starts afresh.
    pub fn take(&mut self, packet: &RtpPacket<'_>, kind: CodecKind, seq: SeqExt, at: Instant) {
        if kind != self.kind && self.switch(kind).is_err() {
            return;
        }
        let payload = packet.payload();
        let samples = kind.payload_samples(payload) as u32;
        self.jitter.insert(&Arrival {
            seq,
            timestamp: packet.timestamp(),
            duration: samples / self.samples_per_clock(),
            marker: packet.marker(),
            // RFC 7587 §3.1.3: an Opus packet of one or two bytes is discontinuous transmission.
            silent: kind == CodecKind::Opus && payload.len() <= 2,
            at,
            payload,
        });
    }

    /// A packet of the stream that holds no sound.
    pub fn no_sound(&mut self, seq: SeqExt) {
        self.jitter.skip(seq);
    }

    /// A packet that says what the peer's silence sounds like (RFC 3389).
    pub fn comfort_noise(&mut self, seq: SeqExt, payload: &[u8], at: Instant) {
        self.jitter.skip(seq);
        // Overtaken by a later description: that one holds.
        let newest = self.noise_since.is_none_or(|(described, _)| described < seq);
        if newest && self.noise.describe(payload) {
            self.noise_since = Some((seq, at));
        }
    }

    /// What was described does not hold any more.
    pub fn forget_noise(&mut self) {
        self.noise_since = None;
    }

    /// Another source speaks: nothing of the old one is of use.
    pub fn new_source(&mut self) {
        self.jitter.reset();
        self.decoder.reset();
        self.blend.clear();
        self.noise_since = None;
    }

    /// The same source restarted its numbers.
    pub fn restarted(&mut self) {
        self.jitter.reset();
        self.noise_since = None;
    }

    /// One tick of sound at 48 kHz.
    pub fn play(&mut self, now: Instant, out: &mut [f32]) -> Result<(), MediaError> {
        let tick = self.up.chunk_in();
        for _ in 0..PULLS {
            let lacking = tick.saturating_sub(self.waiting.len());
            if lacking == 0 {
                break;
            }
            self.pull(now, lacking);
        }
        if self.waiting.len() < tick {
            self.waiting.resize(tick, 0.0);
        }
        let done = match self.waiting.get(..tick) {
            Some(input) => self.up.process(input, out),
            None => Ok(()),
        };
        self.waiting.drain(..tick);
        done
    }

    /// Counters and delay of the jitter buffer.
    pub fn stats(&self) -> JitterStats {
        self.jitter.stats()
    }

    /// Delay of sound that is decoded and waits for its tick.
    pub fn decoded_delay(&self) -> Duration {
        self.kind.sample_rate().duration(self.waiting.len() as u64)
    }

    /// The codec that arrives now.
    pub fn kind(&self) -> CodecKind {
        self.kind
    }

    fn pull(&mut self, now: Instant, lacking: usize) {
        let per_clock = self.samples_per_clock();
        let need = (lacking as u32).div_ceil(per_clock);
        let (written, cut) = match self.jitter.pull(now, need) {
            Pull::Frame(frame) => {
                // Frames from before the description may have waited in the buffer when it came.
                self.noise_since = self.noise_since.filter(|(described, _)| frame.seq < *described);
                let cut = (frame.shorten * per_clock) as usize;
                let wanted = ((frame.duration * per_clock) as usize).min(LONGEST);
                let decoded = self.decoder.decode(frame.payload, &mut self.scratch);
                (
                    decoded.unwrap_or_else(|_| conceal(&mut self.decoder, &mut self.scratch, wanted)),
                    cut,
                )
            }
            Pull::Lost { duration, fec } => {
                let wanted = ((duration * per_clock) as usize).min(LONGEST);
                let rebuilt = match (fec, self.scratch.get_mut(..wanted)) {
                    (Some(next), Some(out)) => self.decoder.decode_fec(next, out).ok(),
                    _ => None,
                };
                (
                    rebuilt.unwrap_or_else(|| conceal(&mut self.decoder, &mut self.scratch, wanted)),
                    0,
                )
            }
            Pull::Hold => (conceal(&mut self.decoder, &mut self.scratch, lacking), 0),
            Pull::Silence => {
                let wanted = lacking.min(LONGEST);
                let fresh = |(_, since)| now.saturating_duration_since(since) < MAX_NOISE;
                match self.scratch.get_mut(..wanted) {
                    Some(out) if self.noise_since.is_some_and(fresh) => self.noise.fill(out),
                    Some(out) => out.fill(0.0),
                    None => {}
                }
                (wanted, 0)
            }
        };
        self.keep(written.min(LONGEST), cut);
    }

    /// Appends what was decoded. A frame that must lose `cut` samples gives its last ones away: they are kept
    /// and faded into the beginning of the frame behind it, so that no edge is heard.
    fn keep(&mut self, written: usize, cut: usize) {
        let Some(decoded) = self.scratch.get_mut(..written) else {
            return;
        };
        if !self.blend.is_empty() {
            let length = self.blend.len().min(decoded.len()).max(1) as f32;
            for (n, (old, new)) in self.blend.iter().zip(decoded.iter_mut()).enumerate() {
                let share = n as f32 / length;
                *new = *old * (1.0 - share) + *new * share;
            }
            self.blend.clear();
        }
        let (kept, tail) = decoded.split_at(written.saturating_sub(cut));
        self.waiting.extend_from_slice(kept);
        self.blend.extend_from_slice(tail);
    }

    fn switch(&mut self, kind: CodecKind) -> Result<(), MediaError> {
        self.decoder = AudioDecoder::new(kind)?;
        self.up = FixedResampler::new(kind.sample_rate().hertz(), PCM_RATE)?;
        self.jitter.reconfigure(jitter_of(kind));
        self.waiting.clear();
        self.blend.clear();
        self.noise_since = None;
        self.kind = kind;
        Ok(())
    }

    /// Samples for one tick of the RTP clock: two for G.722 (RFC 3551 §4.5.2), else one.
    fn samples_per_clock(&self) -> u32 {
        (self.kind.sample_rate().hertz() / self.kind.rtp_clock_rate().hertz()).max(1)
    }
}

fn jitter_of(kind: CodecKind) -> JitterConfig {
    let mut config = JitterConfig::new(kind.rtp_clock_rate());
    config.tick = TICK;
    config.fec = kind == CodecKind::Opus;
    config
}

/// Conceals about `wanted` samples; Opus does it in steps of 2.5 ms.
fn conceal(decoder: &mut AudioDecoder, scratch: &mut [f32], wanted: usize) -> usize {
    let step = if decoder.kind() == CodecKind::Opus { 120 } else { 1 };
    let wanted = (wanted.div_ceil(step) * step).min(LONGEST);
    let Some(out) = scratch.get_mut(..wanted) else {
        return 0;
    };
    if decoder.conceal(out).is_err() {
        out.fill(0.0);
    }
    wanted
}
