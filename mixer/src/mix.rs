//! The sum, what each talker hears of it, and the soft limiter behind both.
//!
//! Mix-minus = sum − own normalised signal, exactly, before the limiter. One limiter state for each
//! distinct mix. Deliberately absent: panning, more than one channel.

use crate::limits::TICK_SAMPLES;

/// A tick of PCM at 48 kHz.
pub(crate) type Frame = [f32; TICK_SAMPLES];

/// Adds `signal` to `sum`.
pub(crate) fn add(sum: &mut Frame, signal: &Frame) {
    for (total, sample) in sum.iter_mut().zip(signal) {
        *total += sample;
    }
}

/// The sum without one's own part of it.
pub(crate) fn minus(sum: &Frame, own: &Frame, out: &mut Frame) {
    for ((mixed, total), sample) in out.iter_mut().zip(sum).zip(own) {
        *mixed = total - sample;
    }
}

/// Peaks are brought down to this, −1 dBFS.
const CEILING: f32 = 0.89;
/// Above this the last stage bends instead of clipping.
const KNEE: f32 = 0.9;
/// Gain comes back by at most this factor a tick, about 20 dB a second.
const RELEASE: f32 = 1.047;

/// Keeps a mix within full scale: the gain falls within 2.5 ms when a tick has a higher peak, comes back
/// slowly, and what is over all the same is bent, not clipped.
#[derive(Clone, Copy)]
pub(crate) struct Limiter {
    gain: f32,
}

impl Limiter {
    pub(crate) const fn new() -> Self {
        Self { gain: 1.0 }
    }

    pub(crate) fn process(&mut self, frame: &mut Frame) {
        let peak = frame.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        let allowed = if peak > CEILING { CEILING / peak } else { 1.0 };
        let target = allowed.min(self.gain * RELEASE).min(1.0);
        if self.gain >= 1.0 && target >= 1.0 {
            return;
        }
        let ramp = TICK_SAMPLES / 8;
        let step = (target - self.gain) / ramp as f32;
        let mut gain = self.gain;
        for (index, sample) in frame.iter_mut().enumerate() {
            if index < ramp {
                gain += step;
            }
            *sample = bend(*sample * gain);
        }
        self.gain = target;
    }
}

/// Unity below the knee, approaching 1 above it.
fn bend(sample: f32) -> f32 {
    let size = sample.abs();
    if size <= KNEE {
        return sample;
    }
    let over = (size - KNEE) / (1.0 - KNEE);
    (KNEE + (1.0 - KNEE) * (over / (1.0 + over))).copysign(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame() -> impl Strategy<Value = Frame> {
        proptest::collection::vec(-1.0f32..1.0, 8)
            .prop_map(|seed| std::array::from_fn(|n| seed[n % 8] * ((n as f32) * 0.01).cos()))
    }

    proptest! {
        #[test]
        fn mix_minus_is_the_sum_of_the_others(talkers in proptest::collection::vec(frame(), 1..16), own in any::<prop::sample::Index>()) {
            let mut sum = [0.0; TICK_SAMPLES];
            for talker in &talkers {
                add(&mut sum, talker);
            }
            let own = own.index(talkers.len());
            let mut mixed = [0.0; TICK_SAMPLES];
            minus(&sum, &talkers[own], &mut mixed);
            let mut others = [0.0; TICK_SAMPLES];
            for (index, talker) in talkers.iter().enumerate() {
                if index != own {
                    add(&mut others, talker);
                }
            }
            for (a, b) in mixed.iter().zip(&others) {
                prop_assert!((a - b).abs() < 1e-5);
            }
        }

        #[test]
        fn nothing_leaves_the_limiter_above_full_scale(signal in frame(), scale in 0.0f32..16.0) {
            let mut limiter = Limiter::new();
            for _ in 0..3 {
                let mut out = signal.map(|sample| sample * scale);
                limiter.process(&mut out);
                prop_assert!(out.iter().all(|sample| sample.abs() <= 1.0));
            }
        }
    }

    #[test]
    fn quiet_signals_pass_untouched_and_the_gain_comes_back() {
        let quiet: Frame = std::array::from_fn(|n| 0.5 * (n as f32 * 0.05).sin());
        let mut limiter = Limiter::new();
        let mut out = quiet;
        limiter.process(&mut out);
        assert_eq!(out, quiet);
        let mut loud = quiet.map(|sample| sample * 8.0);
        limiter.process(&mut loud);
        for _ in 0..200 {
            out = quiet;
            limiter.process(&mut out);
        }
        assert_eq!(out, quiet);
    }
}
