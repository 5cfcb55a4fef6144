//! Tones: every bot sends its own, and Goertzel's algorithm tells which ones a recording holds.
//!
//! Absent on purpose: speech quality; tones only prove who hears whom.

use std::f32::consts::TAU;
use std::path::Path;

/// A recording as mono samples in −1..1.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Samples a second.
    pub rate: u32,
    /// The samples, channels averaged.
    pub samples: Vec<f32>,
}

/// What goes wrong with WAV files.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct WavError {
    path: String,
    source: hound::Error,
}

/// Writes `seconds` of a sine at `hertz` with amplitude `level` (0..1), 16 bit mono.
pub fn write_tone(path: &Path, rate: u32, hertz: f32, seconds: f32, level: f32) -> Result<(), WavError> {
    let count = (rate as f32 * seconds) as u32;
    let samples = (0..count).map(|n| (TAU * hertz * n as f32 / rate as f32).sin() * level);
    write_wav(path, rate, samples)
}

/// Writes mono samples as 16 bit.
pub fn write_wav(path: &Path, rate: u32, samples: impl Iterator<Item = f32>) -> Result<(), WavError> {
    let error = |source| WavError {
        path: path.display().to_string(),
        source,
    };
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).map_err(error)?;
    for sample in samples {
        writer
            .write_sample((sample.clamp(-1.0, 1.0) * 32_767.0) as i16)
            .map_err(error)?;
    }
    writer.finalize().map_err(error)
}

impl Recording {
    /// Reads a WAV file, averaging its channels. A file cut off in the middle gives what is there.
    pub fn read(path: &Path) -> Result<Self, WavError> {
        let mut reader = hound::WavReader::open(path).map_err(|source| WavError {
            path: path.display().to_string(),
            source,
        })?;
        let spec = reader.spec();
        let channels = usize::from(spec.channels.max(1));
        let flat: Vec<f32> = match spec.sample_format {
            hound::SampleFormat::Float => reader.samples::<f32>().map_while(Result::ok).collect(),
            hound::SampleFormat::Int => {
                let full = (1_i64 << (spec.bits_per_sample - 1)) as f32;
                reader
                    .samples::<i32>()
                    .map_while(Result::ok)
                    .map(|s| s as f32 / full)
                    .collect()
            }
        };
        let samples = flat
            .chunks(channels)
            .map(|c| c.iter().sum::<f32>() / channels as f32)
            .collect();
        Ok(Self {
            rate: spec.sample_rate,
            samples,
        })
    }

    /// The recording's length in seconds.
    pub fn seconds(&self) -> f32 {
        self.samples.len() as f32 / self.rate as f32
    }

    /// The part from `from` to `to` seconds; empty where there is none.
    pub fn between(&self, from: f32, to: f32) -> Self {
        let index = |t: f32| ((t.max(0.0) * self.rate as f32) as usize).min(self.samples.len());
        let samples = self
            .samples
            .get(index(from)..index(to).max(index(from)))
            .unwrap_or_default()
            .to_vec();
        Self {
            rate: self.rate,
            samples,
        }
    }

    /// The last `seconds` of it.
    pub fn last(&self, seconds: f32) -> Self {
        self.between(self.seconds() - seconds, self.seconds())
    }

    /// Amplitude (0..1) of the sine at `hertz`, the median over windows of 100 ms, so that a tone
    /// counts only when it is there for more than half of the time.
    pub fn amplitude(&self, hertz: f32) -> f32 {
        let window = (self.rate / 10) as usize;
        let mut levels: Vec<f32> = self
            .samples
            .chunks_exact(window.max(1))
            .map(|chunk| goertzel(chunk, self.rate, hertz))
            .collect();
        levels.sort_by(f32::total_cmp);
        levels.get(levels.len() / 2).copied().unwrap_or(0.0)
    }

    /// Level in dBFS (a full-scale square wave is 0).
    pub fn level_db(&self) -> f32 {
        let power = self.samples.iter().map(|s| s * s).sum::<f32>() / self.samples.len().max(1) as f32;
        10.0 * power.max(1e-12).log10()
    }
}

/// Amplitude of the sine at `hertz` in `samples`, by Goertzel's recurrence under a Hann window.
pub fn goertzel(samples: &[f32], rate: u32, hertz: f32) -> f32 {
    let n = samples.len() as f32;
    if samples.is_empty() {
        return 0.0;
    }
    let coefficient = 2.0 * (TAU * hertz / rate as f32).cos();
    let (mut before, mut last) = (0.0_f32, 0.0_f32);
    for (i, sample) in samples.iter().enumerate() {
        let hann = 0.5 - 0.5 * (TAU * i as f32 / n).cos();
        let now = coefficient.mul_add(last, sample * hann - before);
        before = last;
        last = now;
    }
    let power = last * last + before * before - coefficient * last * before;
    // A Hann window halves the amplitude; a sine of amplitude 1 gives n/2.
    power.max(0.0).sqrt() / n * 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_found_at_its_frequency_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tone.wav");
        write_tone(&path, 48_000, 700.0, 1.0, 0.5).unwrap();
        let recording = Recording::read(&path).unwrap();
        assert!((recording.seconds() - 1.0).abs() < 0.01);
        assert!(
            (recording.amplitude(700.0) - 0.5).abs() < 0.02,
            "{}",
            recording.amplitude(700.0)
        );
        assert!(
            recording.amplitude(900.0) < 0.01,
            "{}",
            recording.amplitude(900.0)
        );
    }

    #[test]
    fn a_tone_that_stops_early_does_not_count() {
        let samples: Vec<f32> = (0..48_000)
            .map(|n| {
                if n < 16_000 {
                    (TAU * 700.0 * n as f32 / 48_000.0).sin()
                } else {
                    0.0
                }
            })
            .collect();
        let recording = Recording {
            rate: 48_000,
            samples,
        };
        assert!(recording.amplitude(700.0) < 0.01);
        assert!(recording.between(0.0, 0.3).amplitude(700.0) > 0.9);
    }
}
