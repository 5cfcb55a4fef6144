//! Between 48 kHz and the 8 and 16 kHz of phones: polyphase FIR filters without allocation.
//!
//! Zero-stuffing without a filter leaves an image as loud as the voice (FACTS: Janus), dropping samples
//! folds one in; both filters here keep 60 dB from it. Windowed sinc (Kaiser), linear phase: 1.5 ms of
//! delay at 8 kHz, 1 ms at 16 kHz. Deliberately absent: any other ratio; drift is the jitter buffer's.

use crate::limits::TICK_SAMPLES;
use std::sync::{Arc, OnceLock};

/// Taps per input phase at 8 kHz: 144 in all, from 3.4 to 4.6 kHz.
const TAPS_8K: usize = 24;
/// Taps per input phase at 16 kHz: 96 in all, from 7 to 9 kHz.
const TAPS_16K: usize = 32;

/// From 8 or 16 kHz up to 48 kHz, a tick at a time.
pub(crate) struct Upsampler {
    factor: usize,
    taps: usize,
    /// One row of `taps` for each of the `factor` output phases, newest input sample last.
    rows: Arc<[f32]>,
    /// The last `taps - 1` samples of the ticks before, then this tick's.
    input: Box<[f32]>,
}

impl Upsampler {
    pub(crate) fn new(factor: usize) -> Self {
        let taps = taps_for(factor);
        Self {
            factor,
            taps,
            rows: design(factor).rows,
            input: vec![0.0; taps - 1 + TICK_SAMPLES / factor].into(),
        }
    }

    /// Forgets what it heard.
    pub(crate) fn reset(&mut self) {
        self.input.fill(0.0);
    }

    /// Fills `output` from `output.len() / factor` samples of a tick.
    pub(crate) fn process(&mut self, samples: &[f32], output: &mut [f32]) {
        let keep = self.taps - 1;
        let Some(fresh) = self.input.get_mut(keep..) else {
            return;
        };
        let count = fresh.len().min(samples.len());
        for (to, from) in fresh.iter_mut().zip(samples) {
            *to = *from;
        }
        for (window, out) in self
            .input
            .windows(self.taps)
            .zip(output.chunks_exact_mut(self.factor))
        {
            for (row, sample) in self.rows.chunks_exact(self.taps).zip(out) {
                *sample = dot(row, window);
            }
        }
        self.input.copy_within(count..count + keep, 0);
    }
}

/// From 48 kHz down to 8 or 16 kHz, a tick at a time.
#[derive(Clone)]
pub(crate) struct Downsampler {
    factor: usize,
    taps: Arc<[f32]>,
    input: Box<[f32]>,
}

impl Downsampler {
    pub(crate) fn new(factor: usize) -> Self {
        let length = taps_for(factor) * factor;
        Self {
            factor,
            taps: design(factor).taps,
            input: vec![0.0; length - 1 + TICK_SAMPLES].into(),
        }
    }

    /// Forgets what it heard.
    pub(crate) fn reset(&mut self) {
        self.input.fill(0.0);
    }

    /// Takes over what another one of the same ratio heard, so that a change between them is seamless.
    pub(crate) fn follow(&mut self, other: &Self) {
        if self.input.len() == other.input.len() {
            self.input.copy_from_slice(&other.input);
        }
    }

    /// Fills `output` with a tick; `None` is silence.
    pub(crate) fn process(&mut self, samples: Option<&[f32; TICK_SAMPLES]>, output: &mut [f32]) {
        let keep = self.taps.len() - 1;
        if let Some(fresh) = self.input.get_mut(keep..) {
            match samples {
                Some(samples) => fresh.copy_from_slice(samples),
                None => fresh.fill(0.0),
            }
        }
        for (window, sample) in self
            .input
            .windows(self.taps.len())
            .step_by(self.factor)
            .zip(output)
        {
            *sample = dot(&self.taps, window);
        }
        self.input.copy_within(TICK_SAMPLES.., 0);
    }
}

/// Samples of a tick at the rate that is 48 kHz divided by `factor`.
const fn taps_for(factor: usize) -> usize {
    if factor == 6 { TAPS_8K } else { TAPS_16K }
}

/// The coefficients of one ratio.
#[derive(Debug, Clone)]
struct Design {
    taps: Arc<[f32]>,
    /// By phase: output n·L+p is the sum over k of h[k·L+p]·x[n−k], times L to make up for the stuffed zeros.
    rows: Arc<[f32]>,
}

/// Reckoned once: every leg needs them, and a thousand legs a second are built.
fn design(factor: usize) -> Design {
    static DESIGNS: [OnceLock<Design>; 2] = [OnceLock::new(), OnceLock::new()];
    let reckon = || {
        let taps = taps_for(factor);
        let prototype = low_pass(factor, taps * factor);
        let rows = (0..factor)
            .flat_map(|phase| (0..taps).rev().map(move |k| k * factor + phase))
            .map(|tap| prototype.get(tap).copied().unwrap_or(0.0) * factor as f32)
            .collect();
        Design {
            taps: prototype.into(),
            rows,
        }
    };
    let known = match factor {
        6 => DESIGNS.first(),
        3 => DESIGNS.last(),
        _ => None,
    };
    known.map_or_else(reckon, |known| known.get_or_init(reckon).clone())
}

/// Sum of products in eight lanes, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (mut left, mut right) = (a.chunks_exact(8), b.chunks_exact(8));
    for (x, y) in left.by_ref().zip(right.by_ref()) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    let rest: f32 = left
        .remainder()
        .iter()
        .zip(right.remainder())
        .map(|(x, y)| x * y)
        .sum();
    lanes.iter().sum::<f32>() + rest
}

/// A symmetric low-pass of unit gain at zero, cut off in the middle between pass and stop band.
fn low_pass(factor: usize, length: usize) -> Vec<f32> {
    let cutoff = if factor == 6 { 3_950.0 } else { 7_900.0 } / 48_000.0;
    let middle = (length as f64 - 1.0) / 2.0;
    let beta = 5.65;
    let mut taps: Vec<f64> = (0..length)
        .map(|n| {
            let t = n as f64 - middle;
            let angle = std::f64::consts::TAU * cutoff * t;
            let sinc = if t.abs() < 1e-9 {
                2.0 * cutoff
            } else {
                angle.sin() / (std::f64::consts::PI * t)
            };
            let x = t / (middle + 0.5);
            sinc * bessel(beta * (1.0 - x * x).max(0.0).sqrt()) / bessel(beta)
        })
        .collect();
    let sum: f64 = taps.iter().sum();
    for tap in &mut taps {
        *tap /= sum;
    }
    taps.into_iter().map(|tap| tap as f32).collect()
}

/// Modified Bessel function of the first kind and order zero, by its power series.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..40 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, rate: f32, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|n| (std::f32::consts::TAU * hz * n as f32 / rate).sin())
            .collect()
    }

    fn amplitude(pcm: &[f32], hz: f32, rate: f32) -> f32 {
        let (mut re, mut im) = (0.0f64, 0.0f64);
        for (n, x) in pcm.iter().enumerate() {
            let angle = std::f64::consts::TAU * f64::from(hz) * n as f64 / f64::from(rate);
            re += f64::from(*x) * angle.cos();
            im += f64::from(*x) * angle.sin();
        }
        (2.0 * (re * re + im * im).sqrt() / pcm.len() as f64) as f32
    }

    fn up(factor: usize, pcm: &[f32]) -> Vec<f32> {
        let mut filter = Upsampler::new(factor);
        pcm.chunks_exact(960 / factor)
            .flat_map(|tick| {
                let mut out = [0.0; 960];
                filter.process(tick, &mut out);
                out
            })
            .collect()
    }

    fn down(factor: usize, pcm: &[f32]) -> Vec<f32> {
        let mut filter = Downsampler::new(factor);
        pcm.chunks_exact(960)
            .flat_map(|tick| {
                let mut out = vec![0.0; 960 / factor];
                filter.process(tick.first_chunk(), &mut out);
                out
            })
            .collect()
    }

    #[test]
    fn the_voice_band_passes_and_images_are_60_db_down() {
        for (factor, rate, tones) in [
            (6, 8_000.0, [300.0, 1_000.0, 3_000.0]),
            (3, 16_000.0, [300.0, 3_000.0, 6_500.0]),
        ] {
            for hz in tones {
                let pcm = up(factor, &tone(hz, rate, rate as usize));
                let settled = &pcm[9_600..];
                assert!(
                    (amplitude(settled, hz, 48_000.0) - 1.0).abs() < 0.02,
                    "{rate} {hz}"
                );
                for image in [rate - hz, rate + hz, 2.0 * rate - hz] {
                    assert!(
                        amplitude(settled, image, 48_000.0) < 0.0012,
                        "{rate} {hz} image {image}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_taken_away_before_it_folds() {
        for (factor, rate, passes, folds) in [(6, 8_000.0, 1_000.0, 5_000.0), (3, 16_000.0, 5_000.0, 9_500.0)]
        {
            let kept = down(factor, &tone(passes, 48_000.0, 48_000));
            assert!((amplitude(&kept[rate as usize / 5..], passes, rate) - 1.0).abs() < 0.02);
            let folded = down(factor, &tone(folds, 48_000.0, 48_000));
            assert!(
                amplitude(&folded[rate as usize / 5..], rate - folds, rate) < 0.0012,
                "{rate}"
            );
        }
    }

    #[test]
    fn a_follower_goes_on_where_the_other_is() {
        let pcm = tone(700.0, 48_000.0, 1_920);
        let (mut first, mut second) = (Downsampler::new(6), Downsampler::new(6));
        let (mut a, mut b) = ([0.0; 160], [0.0; 160]);
        first.process(pcm[..960].first_chunk(), &mut a);
        second.follow(&first);
        first.process(pcm[960..].first_chunk(), &mut a);
        second.process(pcm[960..].first_chunk(), &mut b);
        assert_eq!(a, b);
    }
}
