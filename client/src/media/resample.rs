//! Changes of sampling rate, over rubato: a fixed ratio between the codec and 48 kHz, and an elastic one
//! that keeps a device's buffer at its target although the device has a clock of its own.
//!
//! Both are streaming, mono, and allocate only when they are made. Deliberately absent: channel mixing.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable, Async, Fft, FixedAsync, FixedSync, PolynomialDegree, Resampler, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

use super::MediaError;
use crate::limits::PCM_RATE;

/// A fixed ratio, chunk by chunk.
pub struct FixedResampler {
    inner: Option<Fft<f32>>,
    chunk_in: usize,
    chunk_out: usize,
}

impl std::fmt::Debug for FixedResampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FixedResampler({} -> {})", self.chunk_in, self.chunk_out)
    }
}

impl FixedResampler {
    /// From one rate to another in chunks of 20 ms. Equal rates cost nothing.
    pub fn new(from: u32, to: u32) -> Result<Self, MediaError> {
        let (chunk_in, chunk_out) = (from as usize / 50, to as usize / 50);
        let inner = if from == to {
            None
        } else {
            let fft = Fft::new(from as usize, to as usize, chunk_in, 1, FixedSync::Both)
                .map_err(|_| MediaError::Rate { from, to })?;
            Some(fft)
        };
        let (chunk_in, chunk_out) = inner.as_ref().map_or((chunk_in, chunk_out), |fft| {
            (fft.input_frames_next(), fft.output_frames_next())
        });
        Ok(Self {
            inner,
            chunk_in,
            chunk_out,
        })
    }

    /// Samples that [`Self::process`] takes.
    pub fn chunk_in(&self) -> usize {
        self.chunk_in
    }

    /// Samples that [`Self::process`] gives.
    pub fn chunk_out(&self) -> usize {
        self.chunk_out
    }

    /// One chunk; both slices have the lengths told above.
    pub fn process(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), MediaError> {
        let Some(fft) = &mut self.inner else {
            if input.len() != output.len() {
                return Err(MediaError::Chunk);
            }
            output.copy_from_slice(input);
            return Ok(());
        };
        run(fft, input, output).map(drop)
    }
}

/// An elastic ratio: one side is exactly one tick at 48 kHz, the other a device with its own clock.
pub struct ElasticResampler {
    inner: Async<f32>,
    error_s: f64,
}

impl std::fmt::Debug for ElasticResampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ElasticResampler(error {:.4} s)", self.error_s)
    }
}

/// How far the ratio may be moved; 0.5 % is not heard, and crystals differ by a twentieth of that.
const MOST_STRETCH: f64 = 0.005;

impl ElasticResampler {
    /// For a loudspeaker: takes one tick, gives what the device wants.
    pub fn to_device(device_rate: u32, tick: usize) -> Result<Self, MediaError> {
        Self::new(PCM_RATE, device_rate, tick, FixedAsync::Input)
    }

    /// For a microphone: takes what the device gave, gives one tick.
    pub fn from_device(device_rate: u32, tick: usize) -> Result<Self, MediaError> {
        Self::new(device_rate, PCM_RATE, tick, FixedAsync::Output)
    }

    fn new(from: u32, to: u32, tick: usize, fixed: FixedAsync) -> Result<Self, MediaError> {
        let bad = |_| MediaError::Rate { from, to };
        if from == 0 || to == 0 {
            return Err(MediaError::Rate { from, to });
        }
        let ratio = f64::from(to) / f64::from(from);
        // Equal rates need no anti-aliasing filter for a drift of parts per thousand.
        let inner = if from == to {
            Async::new_poly(ratio, 1.02, PolynomialDegree::Cubic, tick, 1, fixed).map_err(bad)?
        } else {
            let parameters = SincInterpolationParameters {
                sinc_len: 64,
                f_cutoff: None,
                interpolation: SincInterpolationType::Linear,
                oversampling_factor: 128,
                window: WindowFunction::BlackmanHarris2,
            };
            Async::new_sinc(ratio, 1.02, &parameters, tick, 1, fixed).map_err(bad)?
        };
        Ok(Self { inner, error_s: 0.0 })
    }

    /// Samples that the next [`Self::process`] takes.
    pub fn needs(&self) -> usize {
        self.inner.input_frames_next()
    }

    /// Samples that [`Self::process`] may give.
    pub fn gives_at_most(&self) -> usize {
        self.inner.output_frames_max()
    }

    /// Tells by how many seconds the device's buffer is fuller than its target; the ratio follows slowly.
    pub fn steer(&mut self, too_full_s: f64) {
        // About three seconds of smoothing: callbacks come in lumps of several milliseconds.
        self.error_s += (too_full_s - self.error_s) / 150.0;
        let stretch = (self.error_s * 0.1).clamp(-MOST_STRETCH, MOST_STRETCH);
        // A full buffer wants fewer samples out for the same samples in, on either side.
        let moved = self.inner.set_resample_ratio_relative(1.0 - stretch, true);
        debug_assert!(moved.is_ok(), "the stretch lies within what new() allowed");
    }

    /// One chunk; says how many samples of `output` are filled.
    pub fn process(&mut self, input: &[f32], output: &mut [f32]) -> Result<usize, MediaError> {
        run(&mut self.inner, input, output)
    }
}

fn run<R: Resampler<f32>>(inner: &mut R, input: &[f32], output: &mut [f32]) -> Result<usize, MediaError> {
    let length = output.len();
    let from = InterleavedSlice::new(input, 1, input.len()).map_err(|_| MediaError::Chunk)?;
    let mut to = InterleavedSlice::new_mut(output, 1, length).map_err(|_| MediaError::Chunk)?;
    inner
        .process_into_buffer(&from, &mut to, None)
        .map(|(_, written)| written)
        .map_err(|_| MediaError::Chunk)
}

/// A whole clip at once (for WAV files), without the filter's start-up delay.
pub fn whole_clip(samples: Vec<f32>, from: u32) -> Result<Vec<f32>, MediaError> {
    if from == PCM_RATE || samples.is_empty() {
        return Ok(samples);
    }
    let bad = MediaError::Rate { from, to: PCM_RATE };
    if !(1_000..=768_000).contains(&from) {
        return Err(bad);
    }
    let mut fft = Fft::<f32>::new(from as usize, PCM_RATE as usize, 1_024, 1, FixedSync::Both)
        .map_err(|_| MediaError::Rate { from, to: PCM_RATE })?;
    let input = InterleavedSlice::new(&samples, 1, samples.len()).map_err(|_| MediaError::Chunk)?;
    let mut output = vec![0.0; fft.process_all_needed_output_len(samples.len())];
    let length = output.len();
    let mut to = InterleavedSlice::new_mut(&mut output, 1, length).map_err(|_| MediaError::Chunk)?;
    let (_, written) = fft
        .process_all_into_buffer(&input, &mut to, samples.len(), None)
        .map_err(|_| MediaError::Chunk)?;
    output.truncate(written);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Oscillator, level_db, tone_share};
    use super::*;

    #[test]
    fn down_and_up_again_keeps_the_tone() {
        for rate in [8_000, 16_000, 48_000] {
            let mut down = FixedResampler::new(48_000, rate).unwrap();
            let mut up = FixedResampler::new(rate, 48_000).unwrap();
            assert_eq!((down.chunk_in(), down.chunk_out()), (960, rate as usize / 50));
            let mut tone = Oscillator::new(1_000.0, 0.5);
            let (mut frame, mut narrow) = (vec![0.0; 960], vec![0.0; down.chunk_out()]);
            let mut heard = Vec::new();
            for _ in 0..20 {
                tone.fill(&mut frame);
                down.process(&frame, &mut narrow).unwrap();
                let mut wide = vec![0.0; 960];
                up.process(&narrow, &mut wide).unwrap();
                heard.extend(wide);
            }
            let steady = &heard[9_600..];
            assert!(tone_share(steady, 1_000.0, 48_000) > 0.98, "at {rate}");
            assert!(
                (level_db(steady) + 9.03).abs() < 0.3,
                "at {rate}: {}",
                level_db(steady)
            );
        }
    }

    #[test]
    fn an_image_above_the_narrow_band_is_filtered() {
        // FACTS: zero-stuffing without a filter leaves an image of 1 kHz at 7 kHz.
        let mut up = FixedResampler::new(8_000, 48_000).unwrap();
        let narrow: Vec<f32> = (0..16_000)
            .map(|n| (n as f32 * std::f32::consts::TAU / 8.0).sin() * 0.5)
            .collect();
        let mut heard = Vec::new();
        for chunk in narrow.chunks_exact(up.chunk_in()) {
            let mut wide = vec![0.0; up.chunk_out()];
            up.process(chunk, &mut wide).unwrap();
            heard.extend(wide);
        }
        assert!(tone_share(&heard[9_600..], 7_000.0, 48_000) < 1e-4);
    }

    #[test]
    fn a_device_with_a_fast_clock_neither_overflows_nor_starves() {
        // A loudspeaker that takes 0.1 % more than 44.1 kHz: its buffer must settle near the target.
        let mut elastic = ElasticResampler::to_device(44_100, 960).unwrap();
        let (target, mut fill, mut owed) = (1_764.0, 1_764.0, 0.0);
        let frame = vec![0.1; 960];
        let mut out = vec![0.0; elastic.gives_at_most()];
        let mut lowest = f64::MAX;
        for tick in 0..6_000 {
            elastic.steer((fill - target) / 44_100.0);
            fill += elastic.process(&frame, &mut out).unwrap() as f64;
            owed += 882.0 * 1.001;
            let taken = f64::floor(owed);
            owed -= taken;
            fill -= taken;
            if tick > 3_000 {
                lowest = lowest.min(fill);
            }
        }
        assert!(lowest > 0.0, "starved: {lowest}");
        assert!(
            (fill - target).abs() < 882.0,
            "settled {fill} samples, target {target}"
        );
    }

    #[test]
    fn a_clip_keeps_its_length_and_tone() {
        let clip: Vec<f32> = (0..22_050)
            .map(|n| (n as f32 * std::f32::consts::TAU * 500.0 / 22_050.0).sin() * 0.5)
            .collect();
        let out = whole_clip(clip, 22_050).unwrap();
        assert!(out.len().abs_diff(48_000) < 50, "{}", out.len());
        assert!(tone_share(&out, 500.0, 48_000) > 0.98);
        assert!(whole_clip(vec![0.0; 10], 3).is_err());
    }
}
