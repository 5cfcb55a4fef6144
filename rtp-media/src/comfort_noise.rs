//! Comfort noise (RFC 3389): what a silent sender says its background sounds like, and noise that sounds so.
//!
//! A payload is a level and, as the sender likes, reflection coefficients of the spectrum. The generator is white noise through
//! the all-pole lattice of those coefficients, scaled so that the level is kept whatever the spectrum. Deliberately
//! absent: measuring our own background; a mixer's silence is digital silence.

use crate::limits::MAX_NOISE_ORDER;

/// Level of digital silence, in −dBov.
pub const SILENT: u8 = 127;
/// What reflection coefficients are quantised in (RFC 3389 §3.2).
const STEP: f32 = 258.0 / 32_768.0;

/// Writes a payload without spectrum; `minus_dbov` is 0 to 127. Its length is 1.
#[must_use]
pub const fn payload(minus_dbov: u8) -> [u8; 1] {
    [minus_dbov & 0x7f]
}

/// Noise as the last payload described it.
#[derive(Debug, Clone)]
pub struct NoiseGenerator {
    level: u8,
    /// Root mean square of the output.
    amplitude: f32,
    order: usize,
    reflection: [f32; MAX_NOISE_ORDER],
    /// Backward prediction errors of the lattice.
    memory: [f32; MAX_NOISE_ORDER],
    /// State of the noise; never zero.
    dice: u32,
}

impl Default for NoiseGenerator {
    fn default() -> Self {
        Self {
            level: SILENT,
            amplitude: 0.0,
            order: 0,
            reflection: [0.0; MAX_NOISE_ORDER],
            memory: [0.0; MAX_NOISE_ORDER],
            dice: 0x9e37_79b9,
        }
    }
}

impl NoiseGenerator {
    /// Takes a payload; false when it is empty. Coefficients beyond [`MAX_NOISE_ORDER`] are fine structure that is left
    /// out, the reserved value 255 counts as zero.
    pub fn describe(&mut self, payload: &[u8]) -> bool {
        let Some((&level, spectrum)) = payload.split_first() else {
            return false;
        };
        // RFC 3389 §3.1: the top bit must be zero and is ignored.
        self.level = level & 0x7f;
        self.amplitude = if self.level == SILENT {
            0.0
        } else {
            10.0_f32.powf(-f32::from(self.level) / 20.0)
        };
        self.order = spectrum.len().min(MAX_NOISE_ORDER);
        self.reflection = [0.0; MAX_NOISE_ORDER];
        for (place, &index) in self.reflection.iter_mut().zip(spectrum) {
            if index != 255 {
                *place = (f32::from(index) - 127.0) * STEP;
            }
        }
        true
    }

    /// Level in −dBov.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// Fills `out` with noise.
    pub fn fill(&mut self, out: &mut [f32]) {
        if self.amplitude <= 0.0 {
            out.fill(0.0);
            return;
        }
        // White noise of power 1 leaves the lattice with 1 / Π(1 − k²).
        let remains: f32 = self.reflection.iter().map(|k| 1.0 - k * k).product();
        // A uniform number of −1 to 1 has the variance 1/3.
        let drive = self.amplitude * remains.max(0.0).sqrt() * 3.0_f32.sqrt();
        for sample in out {
            self.dice ^= self.dice << 13;
            self.dice ^= self.dice >> 17;
            self.dice ^= self.dice << 5;
            let white = (self.dice >> 8) as f32 / (1_u32 << 23) as f32 - 1.0;
            // Loud noise at a pole near the circle must not leave the range.
            *sample = self.synthesise(white * drive).clamp(-1.0, 1.0);
        }
        // A pole near the circle that rang on would be stuck in tiny numbers.
        for error in &mut self.memory {
            if error.abs() < f32::MIN_POSITIVE {
                *error = 0.0;
            }
        }
    }

    fn synthesise(&mut self, input: f32) -> f32 {
        let mut forward = input;
        let order = self.order;
        let mut above: Option<usize> = None;
        for stage in (0..order).rev() {
            let (Some(&k), Some(&before)) = (self.reflection.get(stage), self.memory.get(stage)) else {
                break;
            };
            forward -= k * before;
            let backward = k * forward + before;
            if let Some(place) = above.and_then(|above| self.memory.get_mut(above)) {
                *place = backward;
            }
            above = Some(stage);
        }
        if let Some(place) = above.and_then(|above| self.memory.get_mut(above)) {
            *place = forward;
        }
        forward
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rms(pcm: &[f32]) -> f32 {
        (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).sqrt()
    }

    fn noise(payload: &[u8]) -> Vec<f32> {
        let mut generator = NoiseGenerator::default();
        assert!(generator.describe(payload));
        let mut pcm = vec![0.0; 32_000];
        for tick in pcm.chunks_mut(160) {
            generator.fill(tick);
        }
        pcm
    }

    #[test]
    fn noise_has_the_level_it_was_told_with_and_without_a_spectrum() {
        for level in [20_u8, 40, 60, 78] {
            for spectrum in [
                &[][..],
                &[60],
                &[200, 90],
                &[40, 180, 120, 127, 140, 110, 127, 127, 130, 125],
            ] {
                let mut payload = vec![level];
                payload.extend_from_slice(spectrum);
                let heard = -20.0 * rms(&noise(&payload)).log10();
                assert!(
                    (heard - f32::from(level)).abs() < 1.0,
                    "{level} {spectrum:?}: {heard}"
                );
            }
        }
        assert_eq!(rms(&noise(&payload(SILENT))), 0.0);
    }

    #[test]
    fn a_spectrum_colours_the_noise() {
        // One coefficient makes a low or a high pass: neighbours are alike or opposite.
        let correlation = |pcm: &[f32]| {
            pcm.windows(2).map(|two| two[0] * two[1]).sum::<f32>() / pcm.iter().map(|x| x * x).sum::<f32>()
        };
        assert!(correlation(&noise(&[30])).abs() < 0.05);
        assert!(correlation(&noise(&[30, 40])) > 0.5);
        assert!(correlation(&noise(&[30, 214])) < -0.5);
    }

    #[test]
    fn an_empty_payload_describes_nothing() {
        assert!(!NoiseGenerator::default().describe(&[]));
    }

    proptest! {
        #[test]
        fn any_payload_makes_noise_in_range(payload in proptest::collection::vec(any::<u8>(), 1..40)) {
            let mut generator = NoiseGenerator::default();
            generator.describe(&payload);
            let mut pcm = [0.0; 480];
            for _ in 0..20 {
                generator.fill(&mut pcm);
                prop_assert!(pcm.iter().all(|x| x.is_finite() && x.abs() <= 1.0));
            }
        }
    }
}
