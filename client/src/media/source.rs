//! Where the sound that others hear comes from.
//!
//! A source gives one tick of 48 kHz mono at a time and never waits. Microphones are in
//! [`super::devices`], behind the feature `devices`. Deliberately absent: mute, which the engine applies, so
//! that a source keeps its place.

use std::path::Path;

use super::MediaError;
use super::resample::whole_clip;
use super::sample::Oscillator;
use crate::limits::WAV_SECONDS;

/// Gives sound to the media thread, one tick after the other.
pub trait Source: Send {
    /// Fills the frame; what the source does not have is silence. Never waits.
    fn read(&mut self, frame: &mut [f32]) -> SourceState;

    /// Whether it hears the room that a loudspeaker plays into.
    fn is_microphone(&self) -> bool {
        false
    }
}

/// Whether a source goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// More will come.
    Live,
    /// The file is over: silence from here on.
    Ended,
}

/// Digital silence.
#[derive(Debug)]
pub struct Silence;

impl Source for Silence {
    fn read(&mut self, frame: &mut [f32]) -> SourceState {
        frame.fill(0.0);
        SourceState::Live
    }
}

/// A sine at −12 dBFS peak, which leaves room for a mix of several.
#[derive(Debug)]
pub struct Tone(Oscillator);

impl Tone {
    /// A sine of this frequency.
    pub fn new(hertz: f32) -> Self {
        Self(Oscillator::new(hertz, 0.25))
    }
}

impl Source for Tone {
    fn read(&mut self, frame: &mut [f32]) -> SourceState {
        self.0.fill(frame);
        SourceState::Live
    }
}

/// A WAV file in memory.
#[derive(Debug)]
pub struct WavSource {
    samples: Vec<f32>,
    next: usize,
    repeat: bool,
}

impl WavSource {
    /// Reads a whole file of any rate, width and number of channels.
    pub fn open(path: &Path, repeat: bool) -> Result<Self, MediaError> {
        let file = |source| MediaError::Wav {
            path: path.to_owned(),
            source,
        };
        let mut reader = hound::WavReader::open(path).map_err(file)?;
        let spec = reader.spec();
        let channels = usize::from(spec.channels.max(1));
        if u64::from(reader.duration()) > WAV_SECONDS * u64::from(spec.sample_rate.max(1)) {
            return Err(MediaError::WavTooLong {
                path: path.to_owned(),
                seconds: WAV_SECONDS,
            });
        }
        let interleaved: Vec<f32> = match spec.sample_format {
            hound::SampleFormat::Float => reader.samples::<f32>().collect::<Result<_, _>>().map_err(file)?,
            hound::SampleFormat::Int => {
                let scale = 1.0 / (1_u64 << (u32::from(spec.bits_per_sample.clamp(1, 32)) - 1)) as f32;
                let scaled = reader
                    .samples::<i32>()
                    .map(|sample| sample.map(|value| value as f32 * scale));
                scaled.collect::<Result<_, _>>().map_err(file)?
            }
        };
        let mono = interleaved
            .chunks_exact(channels)
            .map(|frame| frame.iter().sum::<f32>() / channels as f32)
            .collect();
        Ok(Self {
            samples: whole_clip(mono, spec.sample_rate)?,
            next: 0,
            repeat,
        })
    }
}

impl Source for WavSource {
    fn read(&mut self, frame: &mut [f32]) -> SourceState {
        if self.samples.is_empty() {
            frame.fill(0.0);
            return SourceState::Ended;
        }
        for sample in frame.iter_mut() {
            if self.next >= self.samples.len() && self.repeat {
                self.next = 0;
            }
            *sample = self.samples.get(self.next).copied().unwrap_or(0.0);
            self.next = self.next.saturating_add(1);
        }
        if self.next > self.samples.len() && !self.repeat {
            SourceState::Ended
        } else {
            SourceState::Live
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::tone_share;
    use super::*;

    fn write(path: &Path, spec: hound::WavSpec, seconds: f32, hertz: f32) {
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        let full = if spec.bits_per_sample == 8 {
            127.0
        } else {
            2_f32.powi(i32::from(spec.bits_per_sample) - 1)
        };
        for n in 0..(spec.sample_rate as f32 * seconds) as u32 {
            let value = (n as f32 * std::f32::consts::TAU * hertz / spec.sample_rate as f32).sin() * 0.5;
            for _ in 0..spec.channels {
                match spec.sample_format {
                    hound::SampleFormat::Float => writer.write_sample(value).unwrap(),
                    hound::SampleFormat::Int => writer.write_sample((value * full) as i32).unwrap(),
                }
            }
        }
        writer.finalize().unwrap();
    }

    #[test]
    fn any_format_becomes_48_khz_mono() {
        let folder = tempfile::tempdir().unwrap();
        for (rate, channels, bits, format) in [
            (8_000, 1, 16, hound::SampleFormat::Int),
            (44_100, 2, 24, hound::SampleFormat::Int),
            (48_000, 1, 8, hound::SampleFormat::Int),
            (16_000, 6, 32, hound::SampleFormat::Float),
        ] {
            let path = folder.path().join(format!("{rate}-{bits}.wav"));
            let spec = hound::WavSpec {
                channels,
                sample_rate: rate,
                bits_per_sample: bits,
                sample_format: format,
            };
            write(&path, spec, 1.0, 500.0);
            let mut source = WavSource::open(&path, false).unwrap();
            let (mut heard, mut ticks) = (Vec::new(), 0);
            let mut frame = [0.0; 960];
            while source.read(&mut frame) == SourceState::Live {
                heard.extend(frame);
                ticks += 1;
            }
            assert!((49..=51).contains(&ticks), "{rate}: {ticks} ticks");
            assert!(tone_share(&heard, 500.0, 48_000) > 0.95, "{rate}");
            let peak = heard.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
            assert!((peak - 0.5).abs() < 0.05, "{rate}: peak {peak}");
        }
    }

    #[test]
    fn a_repeated_file_goes_on_and_an_empty_one_is_silence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short.wav");
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 48_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        write(&path, spec, 0.01, 500.0);
        let mut source = WavSource::open(&path, true).unwrap();
        let mut frame = [0.0; 960];
        for _ in 0..100 {
            assert_eq!(source.read(&mut frame), SourceState::Live);
            assert!(frame.iter().any(|s| s.abs() > 0.1));
        }
        write(&path, spec, 0.0, 500.0);
        let mut source = WavSource::open(&path, true).unwrap();
        assert_eq!(source.read(&mut frame), SourceState::Ended);
        assert!(frame.iter().all(|s| *s == 0.0));
    }

    #[test]
    fn what_is_no_wav_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note.txt");
        std::fs::write(&path, "hello").unwrap();
        let error = WavSource::open(&path, false).unwrap_err();
        assert!(error.to_string().contains("note.txt"), "{error}");
        assert!(WavSource::open(&folder.path().join("missing.wav"), false).is_err());
    }
}
