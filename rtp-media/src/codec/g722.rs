//! ITU-T G.722 at 64 kbit/s: two sub-bands of ADPCM behind a quadrature mirror filter, 16 kHz.
//!
//! The integer arithmetic follows the Recommendation's block diagrams (saturated 16-bit signals,
//! truncating shifts), since encoder and decoder stay in step only when both round alike. An octet
//! holds two bits of the upper band over six of the lower. Deliberately absent: the 56 and 48 kbit/s
//! modes, which RTP doesn't signal (RFC 3551 §4.5.2).

use super::concealment::Concealment;
use super::{CodecError, CodecKind, Decoder, Encoder, from_i16, to_i16};

/// Decodes G.722 octets to 16 kHz PCM.
pub struct G722Decoder {
    lower: SubBand,
    upper: SubBand,
    synthesis: MirrorFilter,
    concealment: Concealment,
}

impl G722Decoder {
    /// A decoder that has heard nothing.
    pub fn new() -> Self {
        Self {
            lower: SubBand::lower(),
            upper: SubBand::upper(),
            synthesis: MirrorFilter::default(),
            concealment: Concealment::new(CodecKind::G722.sample_rate()),
        }
    }

    fn octet(&mut self, octet: u8) -> [i32; 2] {
        let low_code = usize::from(octet & 0x3f);
        let fine = scaled(self.lower.step, at(&SIX_BIT_LEVELS, low_code));
        let low = (self.lower.estimate + fine).clamp(-16_384, 16_383);
        self.lower.adapt_lower(low_code >> 2);

        let high_code = usize::from(octet >> 6);
        let coarse = scaled(self.upper.step, at(&TWO_BIT_LEVELS, high_code));
        let high = (self.upper.estimate + coarse).clamp(-16_384, 16_383);
        self.upper.adapt_upper(high_code);

        self.synthesis.push(low + high, low - high);
        let (even, odd) = self.synthesis.sums();
        // The analysis of both branches halves the level, so 11 instead of the filter's 12 bits of gain.
        [saturate(odd >> 11), saturate(even >> 11)]
    }
}

impl Default for G722Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder for G722Decoder {
    fn kind(&self) -> CodecKind {
        CodecKind::G722
    }

    fn decode(&mut self, payload: &[u8], out: &mut [f32]) -> Result<usize, CodecError> {
        if payload.is_empty() {
            return Err(CodecError::MalformedPayload(CodecKind::G722));
        }
        let out = out
            .get_mut(..payload.len() * 2)
            .ok_or(CodecError::BufferTooSmall)?;
        for (pair, &octet) in out.chunks_exact_mut(2).zip(payload) {
            for (sample, value) in pair.iter_mut().zip(self.octet(octet)) {
                *sample = from_i16(value as i16);
            }
        }
        self.concealment.heard(out);
        Ok(payload.len() * 2)
    }

    fn conceal(&mut self, out: &mut [f32]) -> Result<usize, CodecError> {
        self.concealment.fill(out);
        Ok(out.len())
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

/// Encodes 16 kHz PCM to G.722 octets, two samples each.
pub struct G722Encoder {
    lower: SubBand,
    upper: SubBand,
    analysis: MirrorFilter,
}

impl G722Encoder {
    /// An encoder in the state that a new decoder expects.
    pub fn new() -> Self {
        Self {
            lower: SubBand::lower(),
            upper: SubBand::upper(),
            analysis: MirrorFilter::default(),
        }
    }

    fn pair(&mut self, first: i32, second: i32) -> u8 {
        self.analysis.push(first, second);
        let (even, odd) = self.analysis.sums();
        let low = (odd + even) >> 14;
        let high = (odd - even) >> 14;

        let error = saturate(low - self.lower.estimate);
        let low_code = quantise_lower(error, self.lower.step);
        self.lower.adapt_lower(low_code >> 2);

        let error = saturate(high - self.upper.estimate);
        let far = magnitude(error) >= (UPPER_THRESHOLD * self.upper.step) >> 12;
        let high_code = match (error < 0, far) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        self.upper.adapt_upper(high_code);
        ((high_code << 6) | low_code) as u8
    }
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder for G722Encoder {
    fn kind(&self) -> CodecKind {
        CodecKind::G722
    }

    fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, CodecError> {
        if pcm.is_empty() || !pcm.len().is_multiple_of(2) {
            return Err(CodecError::FrameSize {
                kind: CodecKind::G722,
                samples: pcm.len(),
            });
        }
        let out = out.get_mut(..pcm.len() / 2).ok_or(CodecError::BufferTooSmall)?;
        for (octet, pair) in out.iter_mut().zip(pcm.chunks_exact(2)) {
            if let &[first, second] = pair {
                *octet = self.pair(i32::from(to_i16(first)), i32::from(to_i16(second)));
            }
        }
        Ok(pcm.len() / 2)
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

/// Half of the 24-tap mirror filter, outermost tap of the even branch first; the other branch has the
/// same taps in reverse.
const MIRROR_TAPS: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Upper-band decision level, in units of step/4096.
const UPPER_THRESHOLD: i32 = 564;

/// Decision levels of the lower band's 60-level quantiser.
const DECISIONS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
    1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// Reconstruction levels of all six lower-band bits; what a decoder plays.
const SIX_BIT_LEVELS: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];

/// Reconstruction levels of the upper four of those bits; what both sides adapt by.
const FOUR_BIT_LEVELS: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
];

/// Reconstruction levels of the upper band.
const TWO_BIT_LEVELS: [i32; 4] = [-7408, -1616, 7408, 1616];

/// How the logarithmic step grows by the magnitude of the lower band's code.
const LOWER_GROWTH: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];

/// The same for the upper band.
const UPPER_GROWTH: [i32; 4] = [798, -214, 798, -214];

/// 2048 · 2^(n/32): the mantissas of a logarithmic step.
const MANTISSAS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// One band's quantiser step and its predictor of two poles and six zeros.
#[derive(Clone)]
struct SubBand {
    /// Logarithm of the step.
    log_step: i32,
    /// The step.
    step: i32,
    /// What the predictor expects next.
    estimate: i32,
    /// The part of it that the zeros make.
    zero_part: i32,
    /// Coefficients of the poles.
    poles: [i32; 2],
    /// Coefficients of the zeros.
    zeros: [i32; 6],
    /// Last two reconstructed samples.
    reconstructed: [i32; 2],
    /// Last two partial reconstructions (difference + zero part).
    partial: [i32; 2],
    /// Last six quantised differences.
    differences: [i32; 6],
}

impl SubBand {
    fn lower() -> Self {
        Self::with_step(32)
    }

    fn upper() -> Self {
        Self::with_step(8)
    }

    fn with_step(step: i32) -> Self {
        Self {
            log_step: 0,
            step,
            estimate: 0,
            zero_part: 0,
            poles: [0; 2],
            zeros: [0; 6],
            reconstructed: [0; 2],
            partial: [0; 2],
            differences: [0; 6],
        }
    }

    /// Moves on by a lower-band code without its two lowest bits.
    fn adapt_lower(&mut self, code: usize) {
        let difference = scaled(self.step, at(&FOUR_BIT_LEVELS, code));
        self.rescale(at(&LOWER_GROWTH, code), 18_432, 8);
        self.predict(difference);
    }

    /// Moves on by an upper-band code.
    fn adapt_upper(&mut self, code: usize) {
        let difference = scaled(self.step, at(&TWO_BIT_LEVELS, code));
        self.rescale(at(&UPPER_GROWTH, code), 22_528, 10);
        self.predict(difference);
    }

    fn rescale(&mut self, growth: i32, ceiling: i32, shift: i32) {
        self.log_step = (((self.log_step * 127) >> 7) + growth).clamp(0, ceiling);
        let mantissa = at(&MANTISSAS, ((self.log_step >> 6) & 31) as usize);
        let exponent = shift - (self.log_step >> 11);
        self.step = if exponent < 0 {
            mantissa << -exponent
        } else {
            mantissa >> exponent
        } << 2;
    }

    fn predict(&mut self, difference: i32) {
        let partial = saturate(self.zero_part + difference);
        let reconstructed = saturate(self.estimate + difference);
        self.adapt_poles(partial);
        self.adapt_zeros(difference);

        let [newest, _] = self.reconstructed;
        self.reconstructed = [reconstructed, newest];
        let [newest, _] = self.partial;
        self.partial = [partial, newest];
        let [a, b, c, d, e, _] = self.differences;
        self.differences = [difference, a, b, c, d, e];

        let pole_part = self
            .poles
            .iter()
            .zip(self.reconstructed)
            .map(|(pole, r)| (pole * saturate(r + r)) >> 15)
            .sum();
        self.zero_part = saturate(
            self.zeros
                .iter()
                .zip(self.differences)
                .map(|(zero, d)| (zero * saturate(d + d)) >> 15)
                .sum(),
        );
        self.estimate = saturate(saturate(pole_part) + self.zero_part);
    }

    /// The poles follow the signs of the partial reconstructions, and are kept inside the stable
    /// triangle: |second| ≤ 0.75, |first| ≤ 15/16 − second.
    fn adapt_poles(&mut self, partial: i32) {
        let [first, second] = self.poles;
        let [last, before] = self.partial;
        let like_last = same_sign(partial, last);
        let four_times = saturate(first << 2);
        let pull = (if like_last { -four_times } else { four_times }).min(32_767);
        let push = if same_sign(partial, before) { 128 } else { -128 };
        let second = (push + (pull >> 7) + ((second * 32_512) >> 15)).clamp(-12_288, 12_288);
        let bound = saturate(15_360 - second);
        let step = if like_last { 192 } else { -192 };
        let first = saturate(step + ((first * 32_640) >> 15)).clamp(-bound, bound);
        self.poles = [first, second];
    }

    /// The zeros follow the signs of new and old differences, and leak by 1/256.
    fn adapt_zeros(&mut self, difference: i32) {
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, &old) in self.zeros.iter_mut().zip(&self.differences) {
            let towards = if same_sign(difference, old) { step } else { -step };
            *zero = saturate(towards + ((*zero * 32_640) >> 15));
        }
    }
}

/// The 24 newest samples of a mirror filter, and its two branch sums.
#[derive(Clone, Default)]
struct MirrorFilter {
    /// Older sample of each pair, oldest first.
    first: [i32; 12],
    /// Newer sample of each pair.
    second: [i32; 12],
}

impl MirrorFilter {
    fn push(&mut self, first: i32, second: i32) {
        self.first.copy_within(1.., 0);
        self.second.copy_within(1.., 0);
        if let (Some(a), Some(b)) = (self.first.last_mut(), self.second.last_mut()) {
            *a = first;
            *b = second;
        }
    }

    /// Sums over the older samples with the taps in order, and over the newer ones in reverse.
    fn sums(&self) -> (i32, i32) {
        let even = self.first.iter().zip(MIRROR_TAPS).map(|(x, tap)| x * tap).sum();
        let odd = self
            .second
            .iter()
            .zip(MIRROR_TAPS.iter().rev())
            .map(|(x, tap)| x * tap)
            .sum();
        (even, odd)
    }
}

fn quantise_lower(error: i32, step: i32) -> usize {
    let size = magnitude(error);
    let level = DECISIONS.partition_point(|decision| (decision * step) >> 12 <= size);
    // Positive codes count down from 61, negative ones from 31, except for the two innermost negative
    // levels, which have the codes 63 and 62.
    match (error < 0, level) {
        (false, level) => 61 - level,
        (true, level @ 0..=1) => 63 - level,
        (true, level) => 33 - level,
    }
}

/// Ones' complement magnitude, as the Recommendation's quantisers use it.
fn magnitude(error: i32) -> i32 {
    if error < 0 { !error } else { error }
}

fn scaled(step: i32, level: i32) -> i32 {
    (step * level) >> 15
}

fn same_sign(a: i32, b: i32) -> bool {
    (a < 0) == (b < 0)
}

fn saturate(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

fn at<const N: usize>(table: &[i32; N], index: usize) -> i32 {
    table.get(index).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ezk_g722::libg722::{Bitrate, decoder::Decoder as OracleDecoder, encoder::Encoder as OracleEncoder};
    use proptest::prelude::*;

    fn tone(hz: f32, level: f32, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|n| level * (std::f32::consts::TAU * hz * n as f32 / 16_000.0).sin())
            .collect()
    }

    /// The oracle forgets the Recommendation's first steps (32 and 8) and starts at zero: for the comparison
    /// ours do so too.
    fn encoder_like_the_oracle() -> G722Encoder {
        let mut encoder = G722Encoder::new();
        (encoder.lower.step, encoder.upper.step) = (0, 0);
        encoder
    }

    fn decoder_like_the_oracle() -> G722Decoder {
        let mut decoder = G722Decoder::new();
        (decoder.lower.step, decoder.upper.step) = (0, 0);
        decoder
    }

    fn round_trip(pcm: &[f32]) -> Vec<f32> {
        let mut encoder = G722Encoder::new();
        let mut decoder = G722Decoder::new();
        let mut payload = vec![0; pcm.len() / 2];
        let mut out = vec![0.0; pcm.len()];
        encoder.encode(pcm, &mut payload).unwrap();
        decoder.decode(&payload, &mut out).unwrap();
        out
    }

    /// Both mirror filters together delay by 22 samples.
    const DELAY: usize = 22;

    fn snr(original: &[f32], coded: &[f32]) -> f32 {
        let settled = 1_600;
        let pairs = original[settled..].iter().zip(&coded[settled + DELAY..]);
        let (signal, noise) = pairs.fold((0.0, 0.0), |(s, n), (a, b)| (s + a * a, n + (a - b) * (a - b)));
        10.0 * f32::log10(signal / noise)
    }

    #[test]
    fn tones_survive_in_both_bands() {
        for (hz, least) in [
            (300.0, 30.0),
            (1_000.0, 30.0),
            (3_000.0, 25.0),
            (5_000.0, 12.0),
            (6_500.0, 12.0),
        ] {
            let original = tone(hz, 0.3, 16_000);
            let snr = snr(&original, &round_trip(&original));
            assert!(snr > least, "{hz} Hz: {snr} dB");
        }
    }

    #[test]
    fn equals_the_oracle_bit_for_bit() {
        let mut pcm = tone(440.0, 0.9, 8_000);
        let mut noise = 1u32;
        for (n, sample) in pcm.iter_mut().enumerate() {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample += (noise >> 16) as f32 / 65_536.0 * 0.3 * ((n / 1_000) % 3) as f32 - 0.1;
        }
        let words: Vec<i16> = pcm.iter().map(|s| to_i16(*s)).collect();
        let expected = OracleEncoder::new(Bitrate::Mode1_64000, false, false).encode(&words);
        let mut payload = vec![0; pcm.len() / 2];
        encoder_like_the_oracle().encode(&pcm, &mut payload).unwrap();
        assert!(payload == expected, "payloads differ");

        let expected = OracleDecoder::new(Bitrate::Mode1_64000, false, false).decode(&payload);
        let mut out = vec![0.0; pcm.len()];
        decoder_like_the_oracle().decode(&payload, &mut out).unwrap();
        let words: Vec<i16> = out.iter().map(|s| to_i16(*s)).collect();
        assert!(words == expected, "samples differ");
    }

    #[test]
    fn silence_stays_silent_and_reset_is_a_new_start() {
        assert!(round_trip(&[0.0; 3_200]).iter().all(|s| s.abs() < 0.001));
        let mut used = G722Encoder::new();
        let mut payload = [0; 160];
        used.encode(&tone(700.0, 0.5, 320), &mut payload).unwrap();
        used.reset();
        let (mut a, mut b) = ([0; 160], [0; 160]);
        used.encode(&tone(500.0, 0.5, 320), &mut a).unwrap();
        G722Encoder::new().encode(&tone(500.0, 0.5, 320), &mut b).unwrap();
        assert_eq!(a, b);
    }

    #[test]
    fn odd_sizes_and_short_buffers_are_refused() {
        let mut out = [0; 4];
        assert!(matches!(
            G722Encoder::new().encode(&[0.0; 3], &mut out),
            Err(CodecError::FrameSize { .. })
        ));
        assert_eq!(
            G722Encoder::new().encode(&[0.0; 10], &mut out),
            Err(CodecError::BufferTooSmall)
        );
        let mut pcm = [0.0; 4];
        assert_eq!(
            G722Decoder::new().decode(&[0; 3], &mut pcm),
            Err(CodecError::BufferTooSmall)
        );
        assert!(G722Decoder::new().decode(&[], &mut pcm).is_err());
    }

    proptest! {
        #[test]
        fn any_octets_decode_as_the_oracle_says(payload in proptest::collection::vec(any::<u8>(), 1..400)) {
            let expected = OracleDecoder::new(Bitrate::Mode1_64000, false, false).decode(&payload);
            let mut out = vec![0.0; payload.len() * 2];
            decoder_like_the_oracle().decode(&payload, &mut out).unwrap();
            let words: Vec<i16> = out.iter().map(|s| to_i16(*s)).collect();
            prop_assert!(words == expected, "samples differ");
        }
    }
}
