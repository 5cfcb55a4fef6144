//! ITU-T G.711: µ-law (PCMU) and A-law (PCMA), one byte a sample at 8 kHz.
//!
//! Expanding goes by tables made at compile time, compressing by the position of the leading one.
//! Deliberately absent: comfort noise (RFC 3389) and the 7-bit variants.

use super::concealment::Concealment;
use super::{CodecError, CodecKind, Decoder, Encoder, from_i16, to_i16};

/// The two laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// µ-law: North America and Japan; the default of SIP phones.
    Mu,
    /// A-law: the rest of the world.
    A,
}

impl Law {
    /// The 16-bit linear value of a code.
    pub fn expand(self, code: u8) -> i16 {
        let table = match self {
            Law::Mu => &MU_TABLE,
            Law::A => &A_TABLE,
        };
        table.get(usize::from(code)).copied().unwrap_or(0)
    }

    /// The code nearest to a 16-bit linear value.
    pub fn compress(self, value: i16) -> u8 {
        match self {
            Law::Mu => mu_compress(value),
            Law::A => a_compress(value),
        }
    }

    const fn kind(self) -> CodecKind {
        match self {
            Law::Mu => CodecKind::Pcmu,
            Law::A => CodecKind::Pcma,
        }
    }
}

/// Expands payloads, and conceals losses by repeating the last pitch period.
pub struct G711Decoder {
    law: Law,
    concealment: Concealment,
}

impl G711Decoder {
    /// A decoder that has heard nothing.
    pub fn new(law: Law) -> Self {
        Self {
            law,
            concealment: Concealment::new(CodecKind::Pcmu.sample_rate()),
        }
    }
}

impl Decoder for G711Decoder {
    fn kind(&self) -> CodecKind {
        self.law.kind()
    }

    fn decode(&mut self, payload: &[u8], out: &mut [f32]) -> Result<usize, CodecError> {
        if payload.is_empty() {
            return Err(CodecError::MalformedPayload(self.kind()));
        }
        let out = out.get_mut(..payload.len()).ok_or(CodecError::BufferTooSmall)?;
        for (sample, &code) in out.iter_mut().zip(payload) {
            *sample = from_i16(self.law.expand(code));
        }
        self.concealment.heard(out);
        Ok(payload.len())
    }

    fn conceal(&mut self, out: &mut [f32]) -> Result<usize, CodecError> {
        self.concealment.fill(out);
        Ok(out.len())
    }

    fn reset(&mut self) {
        self.concealment.reset();
    }
}

/// Compresses PCM; has no state.
pub struct G711Encoder {
    law: Law,
}

impl G711Encoder {
    /// An encoder of this law.
    pub fn new(law: Law) -> Self {
        Self { law }
    }
}

impl Encoder for G711Encoder {
    fn kind(&self) -> CodecKind {
        self.law.kind()
    }

    fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, CodecError> {
        if pcm.is_empty() {
            return Err(CodecError::FrameSize {
                kind: self.kind(),
                samples: 0,
            });
        }
        let out = out.get_mut(..pcm.len()).ok_or(CodecError::BufferTooSmall)?;
        for (code, &sample) in out.iter_mut().zip(pcm) {
            *code = self.law.compress(to_i16(sample));
        }
        Ok(pcm.len())
    }

    fn reset(&mut self) {}
}

/// The µ-law characteristic is offset by this much, so that every segment doubles exactly.
const MU_BIAS: i32 = 132;
/// Above this a µ-law code saturates.
const MU_CLIP: i32 = 32_635;

static MU_TABLE: [i16; 256] = expansion_table(true);
static A_TABLE: [i16; 256] = expansion_table(false);

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, for 0..256 only"
)]
const fn expansion_table(mu: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = if mu {
            mu_expand(code as u8)
        } else {
            a_expand(code as u8)
        };
        code += 1;
    }
    table
}

const fn mu_expand(code: u8) -> i16 {
    // All bits are sent inverted: sign, three bits of segment, four of step.
    let bits = !code;
    let segment = (bits >> 4) & 7;
    let magnitude = (((((bits & 15) as i32) << 3) + MU_BIAS) << segment) - MU_BIAS;
    (if bits & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

const fn a_expand(code: u8) -> i16 {
    // Every second bit is sent inverted; the sign bit means positive.
    let bits = code ^ 0x55;
    let segment = (bits >> 4) & 7;
    let step = ((bits & 15) as i32) << 4;
    let magnitude = if segment == 0 {
        step + 8
    } else {
        (step + 0x108) << (segment - 1)
    };
    (if bits & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

fn mu_compress(value: i16) -> u8 {
    let value = i32::from(value);
    let sign: u8 = if value < 0 { 0x80 } else { 0 };
    let magnitude = value.abs().min(MU_CLIP) + MU_BIAS;
    // The bias makes bit 7 the lowest leading one, so the segment is 0 to 7.
    let segment = 24 - magnitude.leading_zeros();
    let step = (magnitude >> (segment + 3)) & 15;
    !(sign | ((segment as u8) << 4) | step as u8)
}

fn a_compress(value: i16) -> u8 {
    let value = i32::from(value);
    let sign: u8 = if value >= 0 { 0x80 } else { 0 };
    // Negative values are the ones' complement: −1 falls into the first step below zero.
    let magnitude = if value >= 0 { value } else { !value };
    let segment = 24u32.saturating_sub(magnitude.leading_zeros());
    let step = (magnitude >> if segment == 0 { 4 } else { segment + 3 }) & 15;
    (sign | ((segment as u8) << 4) | step as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_code_survives_the_way_there_and_back() {
        for code in 0..=255u8 {
            assert_eq!(Law::A.compress(Law::A.expand(code)), code);
            // µ-law has two zeros; the negative one comes back as the positive.
            let expected = if code == 0x7f { 0xff } else { code };
            assert_eq!(Law::Mu.compress(Law::Mu.expand(code)), expected);
        }
    }

    #[test]
    fn known_values() {
        assert_eq!([Law::Mu.expand(0xff), Law::Mu.expand(0x7f)], [0, 0]);
        assert_eq!([Law::Mu.expand(0x80), Law::Mu.expand(0x00)], [32_124, -32_124]);
        assert_eq!([Law::Mu.expand(0xfe), Law::Mu.expand(0xef)], [8, 132]);
        assert_eq!([Law::A.expand(0xd5), Law::A.expand(0x55)], [8, -8]);
        assert_eq!([Law::A.expand(0xaa), Law::A.expand(0x2a)], [32_256, -32_256]);
        assert_eq!(
            [Law::Mu.compress(i16::MIN), Law::Mu.compress(i16::MAX)],
            [0x00, 0x80]
        );
        assert_eq!(
            [Law::A.compress(i16::MIN), Law::A.compress(i16::MAX)],
            [0x2a, 0xaa]
        );
    }

    proptest! {
        #[test]
        fn error_stays_within_half_a_step(value in any::<i16>()) {
            for law in [Law::Mu, Law::A] {
                let back = i32::from(law.expand(law.compress(value)));
                let magnitude = i32::from(value).abs();
                let clip = (magnitude - 32_100).max(0);
                prop_assert!((back - i32::from(value)).abs() <= (magnitude >> 5) + 17 + clip);
            }
        }

        #[test]
        fn any_payload_decodes(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut decoder = G711Decoder::new(Law::Mu);
            let mut out = [0.0; 320];
            match decoder.decode(&payload, &mut out) {
                Ok(samples) => prop_assert_eq!(samples, payload.len()),
                Err(CodecError::MalformedPayload(_)) => prop_assert!(payload.is_empty()),
                Err(_) => prop_assert!(payload.len() > out.len()),
            }
        }
    }
}
