//! Was this sentence heard? Compares the shape of a spoken sentence with a recording.
//!
//! A bank of band-pass filters gives the level of eight bands every 20 ms, in decibels; the sentence is slid
//! along the recording, and the best normalised correlation of the two shapes is the score: near 1 where the
//! sentence is, low where another one is. A codec, a gain or a resampler hardly changes it.
//! [`speak`] has espeak-ng say the sentence. Absent on purpose: recognition of words.

use std::f32::consts::TAU;
use std::path::Path;
use std::process::Command;

use crate::tone::{Recording, WavError};

/// Centres of the bands in hertz, within what a telephone carries.
const BANDS: [f32; 8] = [350.0, 500.0, 700.0, 1000.0, 1400.0, 1900.0, 2500.0, 3200.0];
/// Length of one frame in seconds.
const FRAME: f32 = 0.02;
/// Levels below this count as silence, in decibels of full scale.
const FLOOR_DB: f32 = -60.0;
/// A score from here on means that the sentence was heard; what `unlike_sentences_score_low` and the
/// interop tests measure lies well to either side.
pub const HEARD: f32 = 0.6;

type Frame = [f32; BANDS.len()];

/// Why nothing was said.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// espeak-ng or sox failed.
    #[error("{program}: {message} (scripts/setup peers installs it)")]
    Tool {
        /// Which.
        program: &'static str,
        /// What it said.
        message: String,
    },
    /// The file could not be read.
    #[error(transparent)]
    Wav(#[from] WavError),
}

/// Has espeak-ng's `voice` say `sentence` into `file`, 48 kHz mono with peaks at −6 dBFS.
pub fn speak(file: &Path, voice: &str, sentence: &str) -> Result<Recording, SpeechError> {
    let raw = file.with_extension("raw.wav");
    run(
        "espeak-ng",
        Command::new("espeak-ng")
            .args(["-v", voice, "-w"])
            .arg(&raw)
            .arg(sentence),
    )?;
    let mut sox = Command::new("sox");
    sox.arg(&raw)
        .args(["-r", "48000", "-c", "1", "-b", "16"])
        .arg(file)
        .args(["norm", "-6"]);
    run("sox", &mut sox)?;
    // A file that stays behind does no harm.
    let _ = std::fs::remove_file(&raw);
    Ok(Recording::read(file)?)
}

fn run(program: &'static str, command: &mut Command) -> Result<(), SpeechError> {
    let failed = |message: String| SpeechError::Tool { program, message };
    let output = command.output().map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// The best match (−1..1) of `sentence` anywhere in `heard`, and where it begins, in seconds.
pub fn best_match(sentence: &Recording, heard: &Recording) -> (f32, f32) {
    let template = shape(&trimmed(sentence));
    let recording = shape(heard);
    let mut best = (0.0_f32, 0.0_f32);
    for (at, window) in recording.windows(template.len().max(1)).enumerate() {
        let score = correlation(&template, window);
        if score > best.0 {
            best = (score, at as f32 * FRAME);
        }
    }
    best
}

/// The sentence without the silence before and behind it.
fn trimmed(sentence: &Recording) -> Recording {
    let loud = |s: &f32| s.abs() > 0.01;
    let first = sentence.samples.iter().position(loud).unwrap_or(0);
    let last = sentence.samples.iter().rposition(loud).map_or(0, |at| at + 1);
    Recording {
        rate: sentence.rate,
        samples: sentence.samples.get(first..last).unwrap_or_default().to_vec(),
    }
}

fn shape(recording: &Recording) -> Vec<Frame> {
    let length = ((recording.rate as f32 * FRAME) as usize).max(1);
    let mut frames = vec![[0.0; BANDS.len()]; recording.samples.len() / length];
    for (band, centre) in BANDS.iter().enumerate() {
        let mut filter = BandPass::new(*centre, recording.rate as f32);
        for (chunk, frame) in recording.samples.chunks_exact(length).zip(&mut frames) {
            let power = chunk.iter().map(|s| filter.next(*s).powi(2)).sum::<f32>() / length as f32;
            if let Some(level) = frame.get_mut(band) {
                *level = (10.0 * power.max(1e-12).log10()).max(FLOOR_DB);
            }
        }
    }
    frames
}

fn correlation(a: &[Frame], b: &[Frame]) -> f32 {
    let (mean_a, mean_b) = (means(a), means(b));
    let (mut product, mut square_a, mut square_b) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (frame_a, frame_b) in a.iter().zip(b) {
        for ((x, y), (mx, my)) in frame_a.iter().zip(frame_b).zip(mean_a.iter().zip(&mean_b)) {
            product += (x - mx) * (y - my);
            square_a += (x - mx).powi(2);
            square_b += (y - my).powi(2);
        }
    }
    let scale = (square_a * square_b).sqrt();
    if scale > 1.0 { product / scale } else { 0.0 }
}

fn means(frames: &[Frame]) -> Frame {
    let mut sums = [0.0; BANDS.len()];
    for frame in frames {
        for (sum, level) in sums.iter_mut().zip(frame) {
            *sum += level;
        }
    }
    sums.map(|sum| sum / frames.len().max(1) as f32)
}

/// A second-order band-pass with constant peak gain and a quality of 4.
struct BandPass {
    b: f32,
    a1: f32,
    a2: f32,
    inputs: [f32; 2],
    outputs: [f32; 2],
}

impl BandPass {
    fn new(centre: f32, rate: f32) -> Self {
        let omega = TAU * centre / rate;
        let alpha = omega.sin() / 8.0;
        let scale = 1.0 + alpha;
        Self {
            b: alpha / scale,
            a1: -2.0 * omega.cos() / scale,
            a2: (1.0 - alpha) / scale,
            inputs: [0.0; 2],
            outputs: [0.0; 2],
        }
    }

    fn next(&mut self, input: f32) -> f32 {
        let [x1, x2] = self.inputs;
        let [y1, y2] = self.outputs;
        let output = self.b * (input - x2) - self.a1 * y1 - self.a2 * y2;
        self.inputs = [input, x1];
        self.outputs = [output, y1];
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Syllables of changing pitch and length: a stand-in for a voice, told apart by its seed.
    fn babble(seed: u32, seconds: f32, rate: u32) -> Recording {
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as f32 / 65_536.0
        };
        let mut samples = Vec::new();
        while (samples.len() as f32) < seconds * rate as f32 {
            let (pitch, length, gap) = (300.0 + 2500.0 * draw(), 0.08 + 0.2 * draw(), 0.03 + 0.1 * draw());
            let count = (length * rate as f32) as u32;
            samples.extend((0..count).map(|n| (TAU * pitch * n as f32 / rate as f32).sin() * 0.3));
            samples.extend(std::iter::repeat_n(0.0, (gap * rate as f32) as usize));
        }
        Recording { rate, samples }
    }

    #[test]
    fn a_sentence_is_found_where_it_is_at_another_rate_and_gain() {
        let (sentence, other) = (babble(1, 2.0, 48_000), babble(2, 2.0, 48_000));
        let mut heard = other.clone();
        heard.samples.extend(sentence.samples.iter().map(|s| s * 0.4));
        heard.samples.extend(other.samples.iter());
        let (score, at) = best_match(&sentence, &heard);
        assert!(score > 0.8, "{score}");
        assert!((at - other.seconds()).abs() < 0.1, "{at}");
        let at_8k = Recording {
            rate: 8_000,
            samples: babble(1, 2.0, 8_000).samples,
        };
        assert!(best_match(&sentence, &at_8k).0 > HEARD);
    }

    #[test]
    fn unlike_sentences_score_low() {
        for seed in 2..12 {
            let score = best_match(&babble(1, 2.0, 48_000), &babble(seed, 8.0, 48_000)).0;
            assert!(score < HEARD - 0.1, "seed {seed}: {score}");
        }
        let silence = Recording {
            rate: 48_000,
            samples: vec![0.0; 480_000],
        };
        assert!(best_match(&babble(1, 2.0, 48_000), &silence).0 < 0.1);
    }
}
