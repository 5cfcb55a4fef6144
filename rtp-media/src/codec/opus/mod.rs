//! Opus (RFC 6716) for RTP (RFC 7587), mono at 48 kHz, by libopus through `audiopus`.
//!
//! Why mono: a conference mixes; a stereo sender is folded by the decoder. Every setting that makes a
//! difference on the wire stands in [`OpusConfig`], which is comparable, so that a mixer can tell who
//! may share an encoder. Deliberately absent: DRED and deep concealment (FACTS: 635 µs a lost frame),
//! the repacketizer, multistream.

pub mod toc;

use super::{CodecError, CodecKind, Decoder, Encoder};
use audiopus::coder::{Decoder as RawDecoder, Encoder as RawEncoder, GenericCtl};
use audiopus::packet::Packet;
use audiopus::{Application, Bitrate, Channels, MutSignals, SampleRate as RawRate, Signal as RawSignal};
use toc::Bandwidth;

/// Samples of 2.5 ms, of which every Opus duration is a multiple.
const QUANTUM: usize = 120;

/// What libopus should tune for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// It judges for itself.
    Auto,
    /// Speech.
    Voice,
    /// Music.
    Music,
}

/// Everything given to an Opus encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpusConfig {
    /// Bits per second, 6000 to 510000.
    pub bitrate: u32,
    /// 0 (cheap) to 10 (best).
    pub complexity: u8,
    /// Constant bit rate (RFC 7587 §6.1 `cbr`).
    pub cbr: bool,
    /// libopus' own discontinued transmission (`usedtx`).
    pub dtx: bool,
    /// In-band forward error correction (`useinbandfec`); takes effect with an expected loss above 0.
    pub fec: bool,
    /// Share of packets that the receiver loses, in percent.
    pub expected_loss: u8,
    /// Widest audio bandwidth to code, from the peer's `maxplaybackrate`.
    pub max_bandwidth: Bandwidth,
    /// What to tune for.
    pub signal: Signal,
}

impl Default for OpusConfig {
    /// 32 kbit/s, complexity 5, VBR, FEC ready, fullband.
    fn default() -> Self {
        Self {
            bitrate: 32_000,
            complexity: 5,
            cbr: false,
            dtx: false,
            fec: true,
            expected_loss: 0,
            max_bandwidth: Bandwidth::Fullband,
            signal: Signal::Auto,
        }
    }
}

/// An Opus encoder, mono at 48 kHz, 2.5 to 60 ms a packet.
pub struct OpusEncoder {
    raw: RawEncoder,
    config: OpusConfig,
}

impl OpusEncoder {
    /// Builds an encoder; the only place that allocates.
    ///
    /// # Errors
    /// No memory, or a setting out of range.
    pub fn new(config: &OpusConfig) -> Result<Self, CodecError> {
        let raw = RawEncoder::new(RawRate::Hz48000, Channels::Mono, Application::Voip)?;
        let mut encoder = Self { raw, config: *config };
        encoder.apply()?;
        Ok(encoder)
    }

    /// The settings in force.
    pub fn config(&self) -> &OpusConfig {
        &self.config
    }

    /// Changes settings in place, without allocating and without a reset.
    ///
    /// # Errors
    /// A setting out of range.
    pub fn configure(&mut self, config: &OpusConfig) -> Result<(), CodecError> {
        if self.config == *config {
            return Ok(());
        }
        self.config = *config;
        self.apply()
    }

    /// Samples at 48 kHz by which the encoder delays the signal.
    pub fn lookahead(&self) -> usize {
        self.raw
            .lookahead()
            .map_or(0, |samples| usize::try_from(samples).unwrap_or(0))
    }

    fn apply(&mut self) -> Result<(), CodecError> {
        let config = self.config;
        let bitrate = i32::try_from(config.bitrate.clamp(6_000, 510_000)).unwrap_or(32_000);
        self.raw.set_bitrate(Bitrate::BitsPerSecond(bitrate))?;
        self.raw.set_complexity(config.complexity.min(10))?;
        self.raw.set_vbr(!config.cbr)?;
        self.raw.set_vbr_constraint(true)?;
        self.raw.set_dtx(config.dtx)?;
        self.raw.set_inband_fec(config.fec)?;
        self.raw.set_packet_loss_perc(config.expected_loss.min(100))?;
        self.raw.set_max_bandwidth(match config.max_bandwidth {
            Bandwidth::Narrowband => audiopus::Bandwidth::Narrowband,
            Bandwidth::Mediumband => audiopus::Bandwidth::Mediumband,
            Bandwidth::Wideband => audiopus::Bandwidth::Wideband,
            Bandwidth::SuperWideband => audiopus::Bandwidth::Superwideband,
            Bandwidth::Fullband => audiopus::Bandwidth::Fullband,
        })?;
        self.raw.set_signal(match config.signal {
            Signal::Auto => RawSignal::Auto,
            Signal::Voice => RawSignal::Voice,
            Signal::Music => RawSignal::Music,
        })?;
        Ok(())
    }
}

impl Encoder for OpusEncoder {
    fn kind(&self) -> CodecKind {
        CodecKind::Opus
    }

    fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, CodecError> {
        if !matches!(pcm.len(), 120 | 240 | 480 | 960 | 1_920 | 2_880) {
            return Err(CodecError::FrameSize {
                kind: CodecKind::Opus,
                samples: pcm.len(),
            });
        }
        Ok(self.raw.encode_float(pcm, out)?)
    }

    fn reset(&mut self) {
        // audiopus spells a reset as a "get" and has no other; it can't fail on a live encoder.
        let _ = self.raw.reset_state();
    }

    fn set_expected_loss(&mut self, percent: u8) {
        let percent = percent.min(100);
        if self.config.expected_loss != percent && self.raw.set_packet_loss_perc(percent).is_ok() {
            self.config.expected_loss = percent;
        }
    }

    fn set_prediction_disabled(&mut self, disabled: bool) {
        let _ = self.raw.set_prediction_disabled(disabled);
    }
}

/// An Opus decoder to mono at 48 kHz.
pub struct OpusDecoder {
    raw: RawDecoder,
}

impl OpusDecoder {
    /// Builds a decoder; the only place that allocates.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self {
            raw: RawDecoder::new(RawRate::Hz48000, Channels::Mono)?,
        })
    }

    fn run(&mut self, payload: Option<&[u8]>, out: &mut [f32], fec: bool) -> Result<usize, CodecError> {
        let packet = match payload {
            Some(payload) => Some(Packet::try_from(payload)?),
            None => None,
        };
        Ok(self.raw.decode_float(packet, MutSignals::try_from(out)?, fec)?)
    }
}

impl Decoder for OpusDecoder {
    fn kind(&self) -> CodecKind {
        CodecKind::Opus
    }

    fn decode(&mut self, payload: &[u8], out: &mut [f32]) -> Result<usize, CodecError> {
        let shape = toc::PacketShape::parse(payload).ok_or(CodecError::MalformedPayload(CodecKind::Opus))?;
        let out = out.get_mut(..shape.samples()).ok_or(CodecError::BufferTooSmall)?;
        self.run(Some(payload), out, false)
            .map_err(|error| blame_peer(&error))
    }

    fn conceal(&mut self, out: &mut [f32]) -> Result<usize, CodecError> {
        if out.is_empty() || !out.len().is_multiple_of(QUANTUM) {
            return Err(CodecError::FrameSize {
                kind: CodecKind::Opus,
                samples: out.len(),
            });
        }
        self.run(None, out, false)
    }

    fn decode_fec(&mut self, next_payload: &[u8], out: &mut [f32]) -> Result<usize, CodecError> {
        if out.is_empty() || !out.len().is_multiple_of(QUANTUM) {
            return Err(CodecError::FrameSize {
                kind: CodecKind::Opus,
                samples: out.len(),
            });
        }
        if toc::PacketShape::parse(next_payload).is_none() {
            return self.conceal(out);
        }
        self.run(Some(next_payload), out, true)
            .map_err(|error| blame_peer(&error))
    }

    fn reset(&mut self) {
        let _ = self.raw.reset_state();
    }
}

/// Our arguments are checked before, so what libopus refuses in a payload is the sender's doing.
fn blame_peer(error: &CodecError) -> CodecError {
    match error {
        CodecError::Opus(_) => CodecError::MalformedPayload(CodecKind::Opus),
        other => *other,
    }
}

#[cfg(test)]
mod tests;
