//! Audio codecs: Opus (RFC 6716, RFC 7587), PCMU and PCMA (ITU-T G.711), G.722 (ITU-T G.722).
//!
//! All PCM is `f32` in −1..1, mono, at the codec's own sampling rate ([`CodecKind::sample_rate`]).
//! The RTP clock is another matter: RFC 3551 §4.5.2 keeps it at 8000 for G.722, which samples at
//! 16000. Nothing here allocates after construction, so that coders can run inside a mixer's tick.
//!
//! Deliberately absent: resampling (the mixer's), packet loss detection (the jitter buffer's),
//! telephone events (they are no codec: see `telephone_event`).

mod concealment;
pub mod g711;
pub mod g722;
pub mod opus;

use crate::units::{PayloadType, SampleRate};
use g711::{G711Decoder, G711Encoder, Law};
use g722::{G722Decoder, G722Encoder};
use opus::{OpusConfig, OpusDecoder, OpusEncoder};

/// The audio codecs that a stream may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodecKind {
    /// Opus, always coded at 48 kHz.
    Opus,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
}

impl CodecKind {
    /// Every codec, in our order of preference.
    pub const ALL: [CodecKind; 4] = [CodecKind::Opus, CodecKind::G722, CodecKind::Pcmu, CodecKind::Pcma];

    /// Sampling rate of the PCM that goes in and comes out.
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            CodecKind::Opus => SampleRate::HZ_48000,
            CodecKind::Pcmu | CodecKind::Pcma => SampleRate::HZ_8000,
            CodecKind::G722 => SampleRate::HZ_16000,
        }
    }

    /// Rate of the RTP timestamp. RFC 3551 §4.5.2: 8000 for G.722 although it samples at 16000.
    pub const fn rtp_clock_rate(self) -> SampleRate {
        match self {
            CodecKind::Opus => SampleRate::HZ_48000,
            CodecKind::Pcmu | CodecKind::Pcma | CodecKind::G722 => SampleRate::HZ_8000,
        }
    }

    /// The name in `a=rtpmap`.
    pub const fn encoding_name(self) -> &'static str {
        match self {
            CodecKind::Opus => "opus",
            CodecKind::Pcmu => "PCMU",
            CodecKind::Pcma => "PCMA",
            CodecKind::G722 => "G722",
        }
    }

    /// Finds a codec by its `a=rtpmap` name, case-insensitively, and RTP clock rate.
    pub fn from_rtpmap(encoding: &str, clock_rate: u32) -> Option<Self> {
        CodecKind::ALL.into_iter().find(|kind| {
            kind.encoding_name().eq_ignore_ascii_case(encoding) && kind.rtp_clock_rate().hertz() == clock_rate
        })
    }

    /// The static payload type of RFC 3551 §6, where there is one.
    pub const fn static_payload_type(self) -> Option<PayloadType> {
        match self {
            CodecKind::Opus => None,
            CodecKind::Pcmu => Some(PayloadType::PCMU),
            CodecKind::Pcma => Some(PayloadType::PCMA),
            CodecKind::G722 => Some(PayloadType::G722),
        }
    }

    /// Samples per channel that a payload holds at [`CodecKind::sample_rate`]; 0 when it is malformed.
    pub fn payload_samples(self, payload: &[u8]) -> usize {
        match self {
            CodecKind::Opus => opus::toc::PacketShape::parse(payload).map_or(0, |shape| shape.samples()),
            CodecKind::Pcmu | CodecKind::Pcma => payload.len(),
            CodecKind::G722 => payload.len().saturating_mul(2),
        }
    }
}

/// What a coder could not do, and whose fault that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The peer sent a payload that is no packet of this codec.
    #[error("peer: malformed {} payload", .0.encoding_name())]
    MalformedPayload(CodecKind),
    /// The caller's buffer is too small for what the packet holds.
    #[error("misuse: output buffer too small")]
    BufferTooSmall,
    /// The caller passed a number of samples that this codec can't code in one packet.
    #[error("misuse: {samples} samples are no {} frame", .kind.encoding_name())]
    FrameSize {
        /// The codec.
        kind: CodecKind,
        /// What was passed.
        samples: usize,
    },
    /// libopus refused a setting or failed inside.
    #[error("libopus: {0}")]
    Opus(#[from] audiopus::Error),
}

/// Turns payloads into PCM. Keeps the state that prediction and concealment need.
pub trait Decoder: Send {
    /// Which codec this is.
    fn kind(&self) -> CodecKind;
    /// Decodes one payload; returns how many samples were written to the front of `out`.
    ///
    /// # Errors
    /// A payload that can't be decoded, or an `out` that can't hold it. The state stays usable.
    fn decode(&mut self, payload: &[u8], out: &mut [f32]) -> Result<usize, CodecError>;
    /// Fills the whole of `out` with a guess at what was lost (packet loss concealment).
    ///
    /// # Errors
    /// `out` is not a length the codec can conceal (Opus: multiples of 2.5 ms).
    fn conceal(&mut self, out: &mut [f32]) -> Result<usize, CodecError>;
    /// Fills `out` with the lost frame as the packet after it describes it (in-band FEC); conceals when
    /// the codec has none or that packet carries none. The packet itself is decoded afterwards.
    ///
    /// # Errors
    /// As for [`Decoder::decode`].
    fn decode_fec(&mut self, next_payload: &[u8], out: &mut [f32]) -> Result<usize, CodecError> {
        let _ = next_payload;
        self.conceal(out)
    }
    /// Forgets everything heard.
    fn reset(&mut self);
}

/// Turns PCM into payloads.
pub trait Encoder: Send {
    /// Which codec this is.
    fn kind(&self) -> CodecKind;
    /// Encodes one packet's worth of PCM; returns the payload's length in `out`.
    ///
    /// # Errors
    /// A frame size that the codec doesn't know, or an `out` too small.
    fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, CodecError>;
    /// Back to the state of a new encoder; settings stay.
    fn reset(&mut self);
    /// Tells the encoder what share of packets the receiver loses, in percent. Opus only.
    fn set_expected_loss(&mut self, percent: u8) {
        let _ = percent;
    }
    /// Makes the next packets decodable without what came before. Opus only.
    fn set_prediction_disabled(&mut self, disabled: bool) {
        let _ = disabled;
    }
}

/// Any of our decoders, without a virtual call or a second allocation.
pub enum AudioDecoder {
    /// Opus.
    Opus(OpusDecoder),
    /// PCMU or PCMA.
    G711(Box<G711Decoder>),
    /// G.722.
    G722(Box<G722Decoder>),
}

impl AudioDecoder {
    /// Builds a decoder.
    ///
    /// # Errors
    /// libopus had no memory.
    pub fn new(kind: CodecKind) -> Result<Self, CodecError> {
        Ok(match kind {
            CodecKind::Opus => AudioDecoder::Opus(OpusDecoder::new()?),
            CodecKind::Pcmu => AudioDecoder::G711(Box::new(G711Decoder::new(Law::Mu))),
            CodecKind::Pcma => AudioDecoder::G711(Box::new(G711Decoder::new(Law::A))),
            CodecKind::G722 => AudioDecoder::G722(Box::default()),
        })
    }

    fn inner(&mut self) -> &mut dyn Decoder {
        match self {
            AudioDecoder::Opus(decoder) => decoder,
            AudioDecoder::G711(decoder) => &mut **decoder,
            AudioDecoder::G722(decoder) => &mut **decoder,
        }
    }
}

impl Decoder for AudioDecoder {
    fn kind(&self) -> CodecKind {
        match self {
            AudioDecoder::Opus(decoder) => decoder.kind(),
            AudioDecoder::G711(decoder) => decoder.kind(),
            AudioDecoder::G722(decoder) => decoder.kind(),
        }
    }

    fn decode(&mut self, payload: &[u8], out: &mut [f32]) -> Result<usize, CodecError> {
        self.inner().decode(payload, out)
    }

    fn conceal(&mut self, out: &mut [f32]) -> Result<usize, CodecError> {
        self.inner().conceal(out)
    }

    fn decode_fec(&mut self, next_payload: &[u8], out: &mut [f32]) -> Result<usize, CodecError> {
        self.inner().decode_fec(next_payload, out)
    }

    fn reset(&mut self) {
        self.inner().reset();
    }
}

/// Any of our encoders.
pub enum AudioEncoder {
    /// Opus.
    Opus(OpusEncoder),
    /// PCMU or PCMA.
    G711(G711Encoder),
    /// G.722.
    G722(Box<G722Encoder>),
}

impl AudioEncoder {
    /// Builds an encoder; `opus` is looked at for Opus only.
    ///
    /// # Errors
    /// libopus had no memory or refused a setting.
    pub fn new(kind: CodecKind, opus: &OpusConfig) -> Result<Self, CodecError> {
        Ok(match kind {
            CodecKind::Opus => AudioEncoder::Opus(OpusEncoder::new(opus)?),
            CodecKind::Pcmu => AudioEncoder::G711(G711Encoder::new(Law::Mu)),
            CodecKind::Pcma => AudioEncoder::G711(G711Encoder::new(Law::A)),
            CodecKind::G722 => AudioEncoder::G722(Box::default()),
        })
    }

    /// Applies other Opus settings in place, without allocating; nothing for the other codecs.
    ///
    /// # Errors
    /// libopus refused a setting.
    pub fn configure(&mut self, opus: &OpusConfig) -> Result<(), CodecError> {
        match self {
            AudioEncoder::Opus(encoder) => encoder.configure(opus),
            AudioEncoder::G711(_) | AudioEncoder::G722(_) => Ok(()),
        }
    }

    fn inner(&mut self) -> &mut dyn Encoder {
        match self {
            AudioEncoder::Opus(encoder) => encoder,
            AudioEncoder::G711(encoder) => encoder,
            AudioEncoder::G722(encoder) => &mut **encoder,
        }
    }
}

impl Encoder for AudioEncoder {
    fn kind(&self) -> CodecKind {
        match self {
            AudioEncoder::Opus(encoder) => encoder.kind(),
            AudioEncoder::G711(encoder) => encoder.kind(),
            AudioEncoder::G722(encoder) => encoder.kind(),
        }
    }

    fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, CodecError> {
        self.inner().encode(pcm, out)
    }

    fn reset(&mut self) {
        self.inner().reset();
    }

    fn set_expected_loss(&mut self, percent: u8) {
        self.inner().set_expected_loss(percent);
    }

    fn set_prediction_disabled(&mut self, disabled: bool) {
        self.inner().set_prediction_disabled(disabled);
    }
}

/// Nearest 16-bit value of a sample in −1..1, saturating.
fn to_i16(sample: f32) -> i16 {
    // A float-to-integer `as` saturates, and takes NaN to 0.
    (sample * 32_768.0).round() as i16
}

/// A 16-bit value as a sample in −1..1.
fn from_i16(value: i16) -> f32 {
    f32::from(value) / 32_768.0
}
