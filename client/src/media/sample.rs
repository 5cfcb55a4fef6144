//! Small arithmetic on sound: a tone, a level, gain, and the Goertzel detector that the tests hear with.
//!
//! Deliberately absent: filters and anything with a codec in it.

use std::f64::consts::TAU;

use crate::limits::PCM_RATE;

/// A sine that goes on from frame to frame without a click.
#[derive(Debug, Clone)]
pub struct Oscillator {
    phase: f64,
    step: f64,
    amplitude: f32,
}

impl Oscillator {
    /// A sine of this frequency at [`PCM_RATE`].
    pub fn new(hertz: f32, amplitude: f32) -> Self {
        Self {
            phase: 0.0,
            step: TAU * f64::from(hertz) / f64::from(PCM_RATE),
            amplitude,
        }
    }

    /// Writes the next samples.
    pub fn fill(&mut self, frame: &mut [f32]) {
        for sample in frame {
            *sample = self.phase.sin() as f32 * self.amplitude;
            self.phase = (self.phase + self.step) % TAU;
        }
    }
}

/// The lowest level that is told, in dBFS.
pub const FLOOR_DB: f32 = -96.0;

/// Root mean square of a frame in dBFS, where a full-scale square wave is 0.
pub fn level_db(frame: &[f32]) -> f32 {
    if frame.is_empty() {
        return FLOOR_DB;
    }
    let power = frame.iter().map(|s| f64::from(*s) * f64::from(*s)).sum::<f64>() / frame.len() as f64;
    (10.0 * power.max(1e-12).log10()).max(f64::from(FLOOR_DB)) as f32
}

/// A volume that moves to its new value over one frame, so that a change does not click.
#[derive(Debug, Clone)]
pub struct Gain {
    now: f32,
    wanted: f32,
}

impl Gain {
    /// A constant factor.
    pub fn new(factor: f32) -> Self {
        Self {
            now: factor,
            wanted: factor,
        }
    }

    /// The factor to reach with the next frame.
    pub fn set(&mut self, factor: f32) {
        self.wanted = factor;
    }

    /// Applies it to a frame, and keeps the result in −1..1.
    pub fn apply(&mut self, frame: &mut [f32]) {
        let step = (self.wanted - self.now) / frame.len().max(1) as f32;
        for sample in frame.iter_mut() {
            self.now += step;
            *sample = (*sample * self.now).clamp(-1.0, 1.0);
        }
        self.now = self.wanted;
    }
}

/// Power of one frequency relative to the whole signal, 0..1: about 1 for a pure tone (Goertzel).
pub fn tone_share(samples: &[f32], hertz: f32, rate: u32) -> f32 {
    let whole = samples.iter().map(|s| f64::from(*s) * f64::from(*s)).sum::<f64>();
    if whole < 1e-9 || samples.is_empty() {
        return 0.0;
    }
    let coefficient = 2.0 * (TAU * f64::from(hertz) / f64::from(rate)).cos();
    let (mut one, mut two) = (0.0_f64, 0.0_f64);
    for sample in samples {
        (one, two) = (f64::from(*sample) + coefficient * one - two, one);
    }
    let power = one * one + two * two - coefficient * one * two;
    (2.0 * power / (samples.len() as f64 * whole)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_has_its_frequency_and_level() {
        let mut tone = Oscillator::new(440.0, 0.5);
        let mut signal = vec![0.0; 9_600];
        for frame in signal.chunks_mut(960) {
            tone.fill(frame);
        }
        assert!(tone_share(&signal, 440.0, PCM_RATE) > 0.98);
        assert!(tone_share(&signal, 620.0, PCM_RATE) < 0.01);
        assert!((level_db(&signal) + 9.03).abs() < 0.05, "{}", level_db(&signal));
        assert_eq!(level_db(&[0.0; 100]), FLOOR_DB);
        assert_eq!(level_db(&[]), FLOOR_DB);
    }

    #[test]
    fn gain_moves_without_a_step_and_never_leaves_the_range() {
        let mut gain = Gain::new(1.0);
        gain.set(4.0);
        let mut frame = vec![0.5; 960];
        gain.apply(&mut frame);
        let biggest = frame.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(biggest < 0.01, "{biggest}");
        assert!(frame.iter().all(|s| s.abs() <= 1.0));
    }
}
