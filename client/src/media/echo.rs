//! Echo cancellation and noise suppression, over sonora (WebRTC's AEC3 and noise suppressor in Rust).
//!
//! The canceller hears what goes to the loudspeaker and takes it out of what comes from the microphone. It
//! works in frames of 10 ms at 48 kHz and finds the delay between the two by itself. Deliberately absent:
//! automatic gain, because the mixer already brings all talkers to one loudness.

use sonora::config::{EchoCanceller as EchoSettings, HighPassFilter, MaxProcessingRate, NoiseSuppression};
use sonora::{AudioProcessing, Config, StreamConfig};

use super::MediaError;
use crate::limits::{PCM_RATE, TICK_SAMPLES};

/// Samples of one 10 ms frame.
const FRAME: usize = TICK_SAMPLES / 2;

/// One loudspeaker and one microphone.
pub struct EchoCanceller {
    processing: AudioProcessing,
    frame: [f32; FRAME],
}

impl std::fmt::Debug for EchoCanceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EchoCanceller")
    }
}

impl Default for EchoCanceller {
    fn default() -> Self {
        Self::new()
    }
}

impl EchoCanceller {
    /// A canceller that knows nothing of the room yet; it learns within a second or two of far-end speech.
    pub fn new() -> Self {
        let mut config = Config {
            high_pass_filter: Some(HighPassFilter::default()),
            echo_canceller: Some(EchoSettings::default()),
            noise_suppression: Some(NoiseSuppression::default()),
            ..Config::default()
        };
        config.pipeline.maximum_internal_processing_rate = MaxProcessingRate::Rate48kHz;
        let processing = AudioProcessing::builder()
            .config(config)
            .capture_config(StreamConfig::new(PCM_RATE, 1))
            .render_config(StreamConfig::new(PCM_RATE, 1))
            .build();
        Self {
            processing,
            frame: [0.0; FRAME],
        }
    }

    /// What goes to the loudspeaker; whole frames of 10 ms.
    pub fn played(&mut self, sound: &[f32]) -> Result<(), MediaError> {
        for chunk in sound.chunks_exact(FRAME) {
            self.processing
                .process_render_f32(&[chunk], &mut [&mut self.frame])
                .map_err(|_| MediaError::Echo)?;
        }
        Ok(())
    }

    /// Cleans what the microphone gave, in place; whole frames of 10 ms.
    pub fn clean(&mut self, sound: &mut [f32]) -> Result<(), MediaError> {
        for chunk in sound.chunks_exact_mut(FRAME) {
            self.processing
                .process_capture_f32(&[chunk], &mut [&mut self.frame])
                .map_err(|_| MediaError::Echo)?;
            chunk.copy_from_slice(&self.frame);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::level_db;
    use super::*;

    /// A repeatable voice: pulses of a gliding pitch through two resonances, in syllables with pauses.
    struct Voice {
        n: u64,
        phase: f64,
        state: [f64; 4],
        seed: u64,
    }

    impl Voice {
        fn new(seed: u64) -> Self {
            Self {
                n: 0,
                phase: 0.0,
                state: [0.0; 4],
                seed,
            }
        }

        fn fill(&mut self, frame: &mut [f32]) {
            for sample in frame {
                let t = self.n as f64 / 48_000.0;
                let pitch = 130.0 + 40.0 * (t * 1.7).sin() + 15.0 * (t * 5.3).sin();
                self.phase += pitch / 48_000.0;
                let pulse = if self.phase >= 1.0 { 1.0 } else { 0.0 };
                self.phase %= 1.0;
                self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let noise = (self.seed >> 40) as f64 / f64::from(1 << 24) - 0.5;
                let formant = 500.0 + 300.0 * (t * 2.9).sin();
                let [a, b, c, d] = self.state;
                let ring = |freq: f64, y1: f64, y2: f64, x: f64| {
                    let r = 0.994_f64;
                    x + 2.0 * r * (std::f64::consts::TAU * freq / 48_000.0).cos() * y1 - r * r * y2
                };
                let one = ring(formant, a, b, pulse + noise * 0.02);
                let two = ring(1_800.0 + formant, c, d, pulse + noise * 0.05);
                self.state = [one, a, two, c];
                let syllable = (t * std::f64::consts::TAU * 2.2).sin().max(0.0);
                *sample = ((one * 0.02 + two * 0.01) * syllable).clamp(-0.9, 0.9) as f32;
                self.n += 1;
            }
        }
    }

    #[test]
    fn a_far_end_voice_looped_back_after_60_ms_returns_25_db_down() {
        let mut canceller = EchoCanceller::new();
        let mut voice = Voice::new(7);
        let mut air = std::collections::VecDeque::from(vec![0.0_f32; 2_880]);
        let (mut echo, mut left) = (Vec::new(), Vec::new());
        let mut frame = [0.0; TICK_SAMPLES];
        for tick in 0..500 {
            voice.fill(&mut frame);
            canceller.played(&frame).unwrap();
            air.extend(frame.iter().map(|s| s * 0.5));
            let mut heard: Vec<f32> = air.drain(..TICK_SAMPLES).collect();
            if tick >= 250 {
                echo.extend_from_slice(&heard);
            }
            canceller.clean(&mut heard).unwrap();
            if tick >= 250 {
                left.extend_from_slice(&heard);
            }
        }
        let (before, after) = (level_db(&echo), level_db(&left));
        assert!(before > -40.0, "the test must have an echo: {before} dBFS");
        assert!(before - after >= 25.0, "{before} dBFS came back as {after} dBFS");
    }

    #[test]
    fn a_near_end_voice_passes() {
        let mut canceller = EchoCanceller::new();
        let mut voice = Voice::new(3);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut frame = [0.0; TICK_SAMPLES];
        for tick in 0..250 {
            voice.fill(&mut frame);
            canceller.played(&[0.0; TICK_SAMPLES]).unwrap();
            if tick >= 50 {
                before.extend_from_slice(&frame);
            }
            canceller.clean(&mut frame).unwrap();
            if tick >= 50 {
                after.extend_from_slice(&frame);
            }
        }
        let lost = level_db(&before) - level_db(&after);
        assert!(lost < 6.0, "the near voice lost {lost} dB");
    }
}
