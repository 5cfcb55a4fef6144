//! The receiving side of a leg: from the jitter buffer to one tick of PCM, decoding only what can be heard.
//!
//! Not decoded: packets that are silence by their size or flag, packets whose RFC 6464 level is under the
//! threshold, and, once several frames in a row measured quiet, packets in which the sender's own voice
//! activity detector saw nothing and which are no bigger than those measured; one of 25 (each half second) is
//! decoded to check. A packet of any other look is always decoded, so that a talker's first frame is heard.
//! Deliberately absent: loudness and mixing.

use crate::MixerError;
use crate::command::ReceiveMap;
use crate::limits::TICK_SAMPLES;
use crate::loudness::{SILENCE_DB, level_db};
use crate::mix::Frame;
use crate::resample::Upsampler;
use crate::send::factor;
use arrayvec::ArrayVec;
use rtp_media::codec::opus::toc::{Hint, MAX_PACKET_SAMPLES};
use rtp_media::codec::{AudioDecoder, CodecKind, Decoder};
use rtp_media::comfort_noise::NoiseGenerator;
use rtp_media::jitter::{Arrival, Inserted, JitterBuffer, JitterConfig, JitterStats, Pull};
use rtp_media::limits::MAX_NOISE;
use rtp_media::units::{PayloadType, SeqExt};
use std::time::Instant;

/// PCM that may wait between the decoder and the tick: the longest packet on top of most of a tick.
const FIFO: usize = MAX_PACKET_SAMPLES + TICK_SAMPLES;

/// Quiet frames in a row before packets may go undecoded.
const TRUST_AFTER: u32 = 8;
/// Of the packets that only look inactive, one in so many is decoded.
const CHECK_EVERY: u32 = 25;
/// Of the packets that are surely silent, so many are decoded first, so that the decoder too has come to rest.
const SETTLE: u32 = 2;
/// Packets pulled in one tick at most: ten of 2.5 ms, eight, and some that must be shortened.
const MAX_PULLS: usize = 24;

/// The decoders of a leg, one for each codec that may arrive.
pub(crate) struct DecoderSet {
    pub(crate) decoders: ArrayVec<AudioDecoder, 4>,
}

impl DecoderSet {
    pub(crate) fn build(receive: &[(PayloadType, CodecKind)]) -> Result<Self, MixerError> {
        let mut decoders = ArrayVec::new();
        for kind in CodecKind::ALL {
            if receive.iter().any(|(_, wanted)| *wanted == kind) {
                decoders.push(AudioDecoder::new(kind)?);
            }
        }
        Ok(Self { decoders })
    }

    fn get(&mut self, kind: CodecKind) -> Option<&mut AudioDecoder> {
        self.decoders.iter_mut().find(|decoder| decoder.kind() == kind)
    }

    /// Moves decoders that are missing here over from `other`.
    pub(crate) fn complete_from(&mut self, other: &mut Self) {
        let mut index = 0;
        while let Some(candidate) = other.decoders.get(index) {
            let kind = candidate.kind();
            if self.get(kind).is_some() {
                index += 1;
            } else {
                let decoder = other.decoders.swap_remove(index);
                self.decoders.push(decoder);
            }
        }
    }
}

/// A received packet that passed latch and session.
pub(crate) struct Incoming<'a> {
    pub(crate) kind: CodecKind,
    pub(crate) seq: SeqExt,
    pub(crate) timestamp: rtp_media::units::RtpTimestamp,
    pub(crate) marker: bool,
    /// RFC 6464: level in −dBov.
    pub(crate) level: Option<u8>,
    pub(crate) payload: &'a [u8],
    pub(crate) arrival: Instant,
}

/// Decoding with the right to leave it out.
pub(crate) struct Source {
    set: DecoderSet,
    kind: Option<CodecKind>,
    jitter: JitterBuffer,
    pub(crate) played: Played,
    up8: Upsampler,
    up16: Upsampler,
    rested: bool,
    noise: NoiseGenerator,
    /// When noise was last described; until the next frame it stands for silence.
    noise_since: Option<Instant>,
    /// The tick at 48 kHz, when `level_db` says that there is something in it.
    pub(crate) pcm: Box<Frame>,
}

/// What was made of the packets so far: PCM at the codec's rate, waiting for the tick.
pub(crate) struct Played {
    fifo: Box<[f32; FIFO]>,
    filled: usize,
    /// Samples at the front of the FIFO up to which something was decoded.
    sounding: usize,
    scratch: Box<[f32; MAX_PACKET_SAMPLES]>,
    /// Length of a frame that shall be blended into the next one.
    blend: usize,
    blended: Box<[f32; MAX_PACKET_SAMPLES]>,
    gate: Gate,
    pub(crate) decoded: u64,
    pub(crate) skipped: u64,
    pub(crate) undecodable: u64,
}

impl Source {
    pub(crate) fn new(set: DecoderSet) -> Self {
        let clock = CodecKind::Opus.rtp_clock_rate();
        Self {
            set,
            kind: None,
            jitter: JitterBuffer::new(JitterConfig::new(clock)),
            played: Played::new(),
            up8: Upsampler::new(6),
            up16: Upsampler::new(3),
            rested: true,
            noise: NoiseGenerator::default(),
            noise_since: None,
            pcm: Box::new([0.0; TICK_SAMPLES]),
        }
    }

    pub(crate) fn kind(&self) -> Option<CodecKind> {
        self.kind
    }

    pub(crate) fn jitter_stats(&self) -> JitterStats {
        self.jitter.stats()
    }

    /// Other payload types were negotiated; decoders that are there stay.
    pub(crate) fn renegotiate(&mut self, receive: &ReceiveMap, decoders: &mut DecoderSet) {
        self.set.complete_from(decoders);
        if let Some(kind) = self.kind
            && !receive.iter().any(|(_, other)| *other == kind)
        {
            self.kind = None;
        }
    }

    /// A new source, or the old one began anew.
    pub(crate) fn restart(&mut self, new_source: bool) {
        self.jitter.reset();
        self.empty();
        if new_source && let Some(decoder) = self.kind.and_then(|kind| self.set.get(kind)) {
            decoder.reset();
        }
    }

    /// A packet that says what the sender's silence sounds like (RFC 3389).
    pub(crate) fn comfort_noise(&mut self, seq: SeqExt, payload: &[u8], arrival: Instant) {
        self.jitter.skip(seq);
        if self.noise.describe(payload) {
            self.noise_since = Some(arrival);
        }
    }

    /// A packet of the stream that holds no audio.
    pub(crate) fn no_audio(&mut self, seq: SeqExt) {
        self.jitter.skip(seq);
    }

    /// Buffers a packet.
    pub(crate) fn insert(&mut self, packet: &Incoming<'_>, threshold_db: f32) {
        if self.kind != Some(packet.kind) {
            self.kind = Some(packet.kind);
            let mut config = JitterConfig::new(packet.kind.rtp_clock_rate());
            config.fec = packet.kind == CodecKind::Opus;
            self.jitter.reconfigure(config);
            self.empty();
        }
        let samples = packet.kind.payload_samples(packet.payload);
        let by_level = packet
            .level
            .is_some_and(|level| -f32::from(level) < threshold_db - 5.0);
        let hint =
            packet.kind == CodecKind::Opus && matches!(Hint::of(packet.payload), Hint::Dtx | Hint::Silence);
        let inserted = self.jitter.insert(&Arrival {
            seq: packet.seq,
            timestamp: packet.timestamp,
            duration: u32::try_from(samples).unwrap_or(0) / sample_ratio(packet.kind),
            marker: packet.marker,
            silent: hint || by_level,
            at: packet.arrival,
            payload: packet.payload,
        });
        if inserted == Inserted::Unusable {
            self.played.undecodable += 1;
        }
    }

    /// Prepares one tick; returns its level. The PCM in `pcm` is valid when the level is above silence or
    /// `wanted` is set.
    pub(crate) fn pull(&mut self, now: Instant, wanted: bool, threshold_db: f32) -> f32 {
        let Some(kind) = self.kind else {
            return self.rest(wanted);
        };
        let tick = TICK_SAMPLES / factor(kind);
        for _ in 0..MAX_PULLS {
            if self.played.filled >= tick {
                break;
            }
            if !self.pull_one(kind, tick - self.played.filled, now, threshold_db) {
                break;
            }
        }
        if self.played.filled < tick {
            self.played.pad(tick);
        }
        let silent = self.played.sounding == 0;
        let level = if silent {
            SILENCE_DB
        } else {
            level_db(self.played.fifo.get(..tick).unwrap_or(&[]))
        };
        // What is too quiet to be heard needs no resampling.
        if wanted || level >= threshold_db {
            self.render(kind, tick);
        } else {
            self.rested = true;
        }
        self.played.fifo.copy_within(tick..self.played.filled, 0);
        self.played.filled -= tick;
        self.played.sounding = self.played.sounding.saturating_sub(tick);
        level
    }

    /// One answer of the jitter buffer; false when it has no more for this tick.
    fn pull_one(&mut self, kind: CodecKind, missing: usize, now: Instant, threshold_db: f32) -> bool {
        let ratio = sample_ratio(kind);
        let Some(decoder) = self.set.get(kind) else {
            return false;
        };
        let needed = u32::try_from(missing).unwrap_or(0).div_ceil(ratio);
        match self.jitter.pull(now, needed) {
            Pull::Frame(frame) => {
                self.noise_since = None;
                self.played.frame(decoder, kind, &frame, threshold_db);
                true
            }
            Pull::Lost { duration, fec } => {
                self.played.lost(decoder, kind, (duration * ratio) as usize, fec);
                true
            }
            Pull::Hold => {
                self.played.hold(decoder, kind, missing);
                false
            }
            Pull::Silence => {
                let fresh = |since| now.saturating_duration_since(since) < MAX_NOISE;
                if self.noise_since.is_some_and(fresh) {
                    self.played.noise(&mut self.noise, missing);
                }
                false
            }
        }
    }

    fn render(&mut self, kind: CodecKind, tick: usize) {
        let Some(samples) = self.played.fifo.get(..tick) else {
            return;
        };
        let filter = match factor(kind) {
            1 => {
                if let Some(samples) = samples.first_chunk() {
                    *self.pcm = *samples;
                }
                self.rested = false;
                return;
            }
            3 => &mut self.up16,
            _ => &mut self.up8,
        };
        if self.rested {
            filter.reset();
        }
        filter.process(samples, &mut self.pcm[..]);
        self.rested = false;
    }

    /// A tick of a leg that never sent anything.
    fn rest(&mut self, wanted: bool) -> f32 {
        if wanted {
            self.pcm.fill(0.0);
        }
        self.rested = true;
        SILENCE_DB
    }

    fn empty(&mut self) {
        self.noise_since = None;
        self.played.filled = 0;
        self.played.sounding = 0;
        self.played.blend = 0;
        self.played.gate = Gate::new();
    }
}

impl Played {
    fn new() -> Self {
        Self {
            fifo: Box::new([0.0; FIFO]),
            filled: 0,
            sounding: 0,
            scratch: Box::new([0.0; MAX_PACKET_SAMPLES]),
            blend: 0,
            blended: Box::new([0.0; MAX_PACKET_SAMPLES]),
            gate: Gate::new(),
            decoded: 0,
            skipped: 0,
            undecodable: 0,
        }
    }

    /// Decodes a frame, unless there is nothing in it to be heard.
    fn frame(
        &mut self,
        decoder: &mut AudioDecoder,
        kind: CodecKind,
        frame: &rtp_media::jitter::Frame<'_>,
        threshold_db: f32,
    ) {
        let ratio = sample_ratio(kind);
        let samples = (frame.duration * ratio) as usize;
        let cut = (frame.shorten * ratio) as usize;
        let space = FIFO - self.filled;
        if self.gate.may_skip(kind, frame.payload, frame.silent) {
            self.skipped += 1;
            self.blend = 0;
            push_silence(
                &mut self.fifo,
                &mut self.filled,
                samples.saturating_sub(cut).min(space),
            );
            return;
        }
        let decoded = match decoder.decode(frame.payload, &mut self.scratch[..]) {
            Ok(decoded) => decoded,
            Err(_) => {
                self.undecodable += 1;
                conceal(decoder, kind, samples.min(space), &mut self.scratch[..])
            }
        };
        self.decoded += 1;
        let Some(pcm) = self.scratch.get_mut(..decoded.min(space)) else {
            return;
        };
        self.gate
            .measured(kind, frame.payload, frame.silent, level_db(pcm), threshold_db);
        blend_in(&mut self.blend, &self.blended[..], pcm);
        if cut > 0 && cut >= pcm.len() {
            self.blend = pcm.len();
            if let Some(kept) = self.blended.get_mut(..pcm.len()) {
                kept.copy_from_slice(pcm);
            }
        } else {
            push(&mut self.fifo, &mut self.filled, shortened(pcm, cut));
            self.sounding = self.filled;
        }
    }

    /// Fills in for a frame that never came, from its successor where that carries it.
    fn lost(&mut self, decoder: &mut AudioDecoder, kind: CodecKind, samples: usize, fec: Option<&[u8]>) {
        let samples = whole(kind, samples, FIFO - self.filled);
        if self.gate.quiet() || samples == 0 {
            push_silence(&mut self.fifo, &mut self.filled, samples);
            return;
        }
        let Some(out) = self.scratch.get_mut(..samples) else {
            return;
        };
        let recovered = match fec {
            Some(next) => decoder.decode_fec(next, out),
            None => decoder.conceal(out),
        };
        push(
            &mut self.fifo,
            &mut self.filled,
            out.get(..recovered.unwrap_or(0)).unwrap_or(&[]),
        );
        self.sounding = self.filled;
    }

    /// Fills in for a frame that may still come.
    fn hold(&mut self, decoder: &mut AudioDecoder, kind: CodecKind, missing: usize) {
        if self.gate.quiet() {
            return;
        }
        let samples = conceal(
            decoder,
            kind,
            missing.min(FIFO - self.filled),
            &mut self.scratch[..],
        );
        push(
            &mut self.fifo,
            &mut self.filled,
            self.scratch.get(..samples).unwrap_or(&[]),
        );
        self.sounding = self.filled;
    }

    /// What the sender's silence sounds like.
    fn noise(&mut self, noise: &mut NoiseGenerator, missing: usize) {
        let samples = missing.min(FIFO - self.filled);
        if let Some(place) = self.fifo.get_mut(self.filled..self.filled + samples) {
            noise.fill(place);
            self.filled += samples;
            self.sounding = self.filled;
        }
    }

    /// Silence up to the end of the tick.
    fn pad(&mut self, tick: usize) {
        if let Some(rest) = self.fifo.get_mut(self.filled..tick) {
            rest.fill(0.0);
        }
        self.filled = tick;
    }
}

/// Decides which packets need no decoding.
struct Gate {
    /// Frames in a row that measured quiet or were known to be.
    quiet: u32,
    /// Packets in a row that were surely silent.
    silent: u32,
    unchecked: u32,
    /// Biggest packet lately measured quiet.
    biggest: usize,
}

impl Gate {
    const fn new() -> Self {
        Self {
            quiet: TRUST_AFTER,
            silent: SETTLE,
            unchecked: 0,
            biggest: 0,
        }
    }

    /// What was heard last was nothing: a loss needs no concealment.
    fn quiet(&self) -> bool {
        self.quiet >= TRUST_AFTER || self.silent >= SETTLE
    }

    fn may_skip(&mut self, kind: CodecKind, payload: &[u8], silent: bool) -> bool {
        if kind != CodecKind::Opus {
            // Decoding G.711 costs less than the question, and G.722 must follow every octet.
            return false;
        }
        if silent {
            return self.silent >= SETTLE;
        }
        let small = payload.len() <= self.biggest + self.biggest / 4 + 2;
        if self.quiet < TRUST_AFTER || !small || Hint::of(payload) != Hint::Inactive {
            return false;
        }
        self.unchecked += 1;
        self.unchecked < CHECK_EVERY
    }

    fn measured(&mut self, kind: CodecKind, payload: &[u8], silent: bool, level_db: f32, threshold_db: f32) {
        self.unchecked = 0;
        if level_db >= threshold_db - 1.0 {
            (self.quiet, self.silent, self.biggest) = (0, 0, 0);
            return;
        }
        self.quiet = self.quiet.saturating_add(1);
        self.silent = if silent { self.silent.saturating_add(1) } else { 0 };
        if kind == CodecKind::Opus {
            // Follows upwards at once, downwards slowly.
            self.biggest = payload.len().max(self.biggest.saturating_sub(1));
        }
    }
}

/// Samples in one tick of the RTP clock: G.722 has two.
fn sample_ratio(kind: CodecKind) -> u32 {
    (kind.sample_rate().hertz() / kind.rtp_clock_rate().hertz()).max(1)
}

/// The greatest length up to `samples` and `space` that a codec can conceal.
fn whole(kind: CodecKind, samples: usize, space: usize) -> usize {
    let quantum = if kind == CodecKind::Opus { 120 } else { 1 };
    samples.min(space).min(MAX_PACKET_SAMPLES) / quantum * quantum
}

fn conceal(decoder: &mut AudioDecoder, kind: CodecKind, samples: usize, scratch: &mut [f32]) -> usize {
    let samples = whole(kind, samples, scratch.len());
    scratch
        .get_mut(..samples)
        .map_or(0, |out| decoder.conceal(out).unwrap_or(0))
}

fn push(fifo: &mut [f32; FIFO], filled: &mut usize, pcm: &[f32]) {
    if let Some(to) = fifo.get_mut(*filled..*filled + pcm.len()) {
        to.copy_from_slice(pcm);
        *filled += pcm.len();
    }
}

fn push_silence(fifo: &mut [f32; FIFO], filled: &mut usize, samples: usize) {
    if let Some(to) = fifo.get_mut(*filled..*filled + samples) {
        to.fill(0.0);
        *filled += samples;
    }
}

/// Cross-fades from a frame that was taken out of time into the one after it.
fn blend_in(length: &mut usize, earlier: &[f32], pcm: &mut [f32]) {
    let span = (*length).min(pcm.len());
    for (index, (sample, before)) in pcm.iter_mut().zip(earlier).take(span).enumerate() {
        let weight = index as f32 / span as f32;
        *sample = *sample * weight + before * (1.0 - weight);
    }
    *length = 0;
}

/// Takes `cut` samples out of a frame, blending its beginning into its end.
fn shortened(pcm: &mut [f32], cut: usize) -> &[f32] {
    let left = pcm.len() - cut;
    if cut == 0 || left == 0 {
        return pcm;
    }
    for index in 0..left {
        let later = pcm.get(index + cut).copied().unwrap_or(0.0);
        let weight = index as f32 / left as f32;
        if let Some(sample) = pcm.get_mut(index) {
            *sample = *sample * (1.0 - weight) + later * weight;
        }
    }
    pcm.get(..left).unwrap_or(&[])
}

#[cfg(test)]
mod tests;
