//! The receiving side of a leg: from the jitter buffer to one tick of PCM, decoding only what can be heard.
//!
//! Not decoded: packets that are silence by their size or flag, packets whose RFC 6464 level is under the
//! threshold, and, once several frames in a row measured quiet, packets in which the sender's own voice
//! activity detector saw nothing and which are no bigger than those measured; one of 25 (each half second) is
//! decoded to check. A packet of any other look is always decoded, so that a talker's first frame is heard.
//!
//! Silence is a number, not samples: a leg that says nothing touches no PCM, and what is decoded into belongs to the
//! room ([`Scratch`]), so that a thousand listeners fit into the processor's cache and into little memory.
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

/// What a packet is decoded into before it waits for its tick: one for all legs of a room.
pub(crate) type Scratch = [f32; MAX_PACKET_SAMPLES];

/// Samples over which a frame taken out of time is blended into the next one: 20 ms of Opus, and the whole of any
/// phone's packet.
const BLEND: usize = TICK_SAMPLES;

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
    /// Where in the stream and when noise was last described; until a later frame it stands for silence.
    noise_since: Option<(SeqExt, Instant)>,
    /// The tick at 48 kHz, when `level_db` says that there is something in it.
    pub(crate) pcm: Box<Frame>,
}

/// What was made of the packets so far: PCM at the codec's rate, waiting for the tick.
pub(crate) struct Played {
    /// Up to the last sample that is not silence. All its memory is reserved, and touched as far as it is used.
    fifo: Vec<f32>,
    /// Samples that wait, with the silence behind those in `fifo`.
    filled: usize,
    /// Beginning of a frame that shall be blended into the next one.
    blended: Vec<f32>,
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
        // Overtaken by a later description: that one holds.
        let newest = self.noise_since.is_none_or(|(described, _)| described < seq);
        if newest && self.noise.describe(payload) {
            self.noise_since = Some((seq, arrival));
        }
    }

    /// What was described does not hold any more.
    pub(crate) fn forget_noise(&mut self) {
        self.noise_since = None;
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
    pub(crate) fn pull(
        &mut self,
        now: Instant,
        wanted: bool,
        threshold_db: f32,
        scratch: &mut Scratch,
    ) -> f32 {
        let Some(kind) = self.kind else {
            return self.rest(wanted);
        };
        let tick = TICK_SAMPLES / factor(kind);
        for _ in 0..MAX_PULLS {
            if self.played.filled >= tick {
                break;
            }
            if !self.pull_one(kind, tick - self.played.filled, now, threshold_db, scratch) {
                break;
            }
        }
        // Silence up to the end of the tick.
        self.played.filled = self.played.filled.max(tick);
        let level = if self.played.fifo.is_empty() {
            SILENCE_DB
        } else {
            level_db(self.played.front(tick))
        };
        // What is too quiet to be heard needs no resampling.
        if wanted || level >= threshold_db {
            self.render(kind, tick);
        } else {
            self.rested = true;
        }
        self.played.advance(tick);
        level
    }

    /// One answer of the jitter buffer; false when it has no more for this tick.
    fn pull_one(
        &mut self,
        kind: CodecKind,
        missing: usize,
        now: Instant,
        threshold_db: f32,
        scratch: &mut Scratch,
    ) -> bool {
        let ratio = sample_ratio(kind);
        let Some(decoder) = self.set.get(kind) else {
            return false;
        };
        let needed = u32::try_from(missing).unwrap_or(0).div_ceil(ratio);
        match self.jitter.pull(now, needed) {
            Pull::Frame(frame) => {
                // Frames from before the description may have waited in the buffer when it came.
                self.noise_since = self.noise_since.filter(|(described, _)| frame.seq < *described);
                self.played.frame(decoder, kind, &frame, threshold_db, scratch);
                true
            }
            Pull::Lost { duration, fec } => {
                let samples = (duration * ratio) as usize;
                self.played.lost(decoder, kind, samples, fec, scratch);
                true
            }
            Pull::Hold => {
                self.played.hold(decoder, kind, missing, scratch);
                false
            }
            Pull::Silence => {
                let fresh = |(_, since)| now.saturating_duration_since(since) < MAX_NOISE;
                if self.noise_since.is_some_and(fresh) {
                    self.played.noise(&mut self.noise, missing);
                }
                false
            }
        }
    }

    fn render(&mut self, kind: CodecKind, tick: usize) {
        let samples = self.played.front(tick);
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
        self.played.fifo.clear();
        self.played.blended.clear();
        self.played.gate = Gate::new();
    }
}

impl Played {
    fn new() -> Self {
        Self {
            fifo: Vec::with_capacity(FIFO),
            filled: 0,
            blended: Vec::with_capacity(BLEND),
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
        scratch: &mut Scratch,
    ) {
        let ratio = sample_ratio(kind);
        let samples = (frame.duration * ratio) as usize;
        let cut = (frame.shorten * ratio) as usize;
        let space = FIFO - self.filled;
        if self.gate.may_skip(kind, frame.payload, frame.silent) {
            self.skipped += 1;
            self.blended.clear();
            self.filled += samples.saturating_sub(cut).min(space);
            return;
        }
        let decoded = match decoder.decode(frame.payload, &mut scratch[..]) {
            Ok(decoded) => decoded,
            Err(_) => {
                self.undecodable += 1;
                conceal(decoder, kind, samples.min(space), &mut scratch[..])
            }
        };
        self.decoded += 1;
        let Some(pcm) = scratch.get_mut(..decoded.min(space)) else {
            return;
        };
        self.gate
            .measured(kind, frame.payload, frame.silent, level_db(pcm), threshold_db);
        blend_in(&self.blended, pcm);
        self.blended.clear();
        if cut > 0 && cut >= pcm.len() {
            let kept = pcm.get(..BLEND).unwrap_or(pcm);
            self.blended.extend_from_slice(kept);
        } else {
            self.push(shortened(pcm, cut));
        }
    }

    /// Fills in for a frame that never came, from its successor where that carries it.
    fn lost(
        &mut self,
        decoder: &mut AudioDecoder,
        kind: CodecKind,
        samples: usize,
        fec: Option<&[u8]>,
        scratch: &mut Scratch,
    ) {
        let samples = whole(kind, samples, FIFO - self.filled);
        if self.gate.quiet() || samples == 0 {
            self.filled += samples;
            return;
        }
        let Some(out) = scratch.get_mut(..samples) else {
            return;
        };
        let recovered = match fec {
            Some(next) => decoder.decode_fec(next, out),
            None => decoder.conceal(out),
        };
        self.push(out.get(..recovered.unwrap_or(0)).unwrap_or(&[]));
    }

    /// Fills in for a frame that may still come.
    fn hold(&mut self, decoder: &mut AudioDecoder, kind: CodecKind, missing: usize, scratch: &mut Scratch) {
        if self.gate.quiet() {
            return;
        }
        let missing = missing.min(FIFO - self.filled);
        let samples = conceal(decoder, kind, missing, &mut scratch[..]);
        self.push(scratch.get(..samples).unwrap_or(&[]));
    }

    /// What the sender's silence sounds like.
    fn noise(&mut self, noise: &mut NoiseGenerator, missing: usize) {
        let end = self.filled + missing.min(FIFO - self.filled);
        let start = self.filled;
        self.fifo.resize(end, 0.0);
        if let Some(place) = self.fifo.get_mut(start..) {
            noise.fill(place);
        }
        self.filled = end;
    }

    /// Sound behind what waits; what has no place is dropped, and the memory never grows.
    fn push(&mut self, pcm: &[f32]) {
        if pcm.is_empty() || self.filled + pcm.len() > FIFO {
            return;
        }
        self.fifo.resize(self.filled, 0.0);
        self.fifo.extend_from_slice(pcm);
        self.filled += pcm.len();
    }

    /// The tick at the front, whole, when so much waits.
    fn front(&mut self, tick: usize) -> &[f32] {
        if self.fifo.len() < tick {
            self.fifo.resize(tick, 0.0);
        }
        self.fifo.get(..tick).unwrap_or(&[])
    }

    /// A tick was taken.
    fn advance(&mut self, tick: usize) {
        self.filled -= tick.min(self.filled);
        self.fifo.drain(..tick.min(self.fifo.len()));
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

/// Cross-fades from a frame that was taken out of time into the one after it.
fn blend_in(earlier: &[f32], pcm: &mut [f32]) {
    let span = earlier.len().min(pcm.len());
    for (index, (sample, before)) in pcm.iter_mut().zip(earlier).enumerate() {
        let weight = index as f32 / span as f32;
        *sample = *sample * weight + before * (1.0 - weight);
    }
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
