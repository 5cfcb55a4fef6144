//! How much of what the network loses comes back: Opus' in-band FEC through the real jitter buffer, measured.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

use rtp_media::codec::opus::{OpusConfig, OpusDecoder, OpusEncoder};
use rtp_media::codec::{Decoder, Encoder};
use rtp_media::jitter::{Arrival, JitterBuffer, JitterConfig, Pull};
use rtp_media::units::{RtpTimestamp, SampleRate, SeqExt};
use std::time::{Duration, Instant};

const FRAME: usize = 960;
const FRAMES: usize = 1_500;

/// Harmonics with a wandering pitch and syllables: what linear prediction takes for a voice.
fn voice() -> Vec<f32> {
    let mut phase = 0.0f32;
    (0..FRAMES * FRAME)
        .map(|n| {
            let pitch = 140.0 + 25.0 * (n as f32 / 9_000.0).sin();
            phase = (phase + pitch / 48_000.0).fract();
            let envelope = 0.55 + 0.45 * (n as f32 / 3_000.0).sin();
            let harmonics = (1..12)
                .map(|h| (std::f32::consts::TAU * phase * h as f32).sin() / h as f32)
                .sum::<f32>();
            0.15 * envelope * harmonics
        })
        .collect()
}

/// Best correlation within 2 ms: what FEC rebuilds may stand a little aside.
fn likeness(heard: &[f32], meant: &[f32]) -> f32 {
    let middle = &heard[96..FRAME - 96];
    (0..=192)
        .step_by(4)
        .map(|shift| {
            let other = &meant[shift..shift + middle.len()];
            let dot: f32 = middle.iter().zip(other).map(|(x, y)| x * y).sum();
            let power = |x: &[f32]| x.iter().map(|v| v * v).sum::<f32>();
            dot / (power(middle) * power(other)).sqrt().max(1e-9)
        })
        .fold(-1.0, f32::max)
}

struct Outcome {
    lost: usize,
    from_fec: usize,
    likeness: f32,
}

/// Sends the voice over a path that loses one packet in ten and looks at each frame that had to be made up.
fn run(fec: bool) -> Outcome {
    let config = OpusConfig {
        fec,
        expected_loss: if fec { 15 } else { 0 },
        ..OpusConfig::default()
    };
    let mut encoder = OpusEncoder::new(&config).unwrap();
    let (mut decoder, mut perfect) = (OpusDecoder::new().unwrap(), OpusDecoder::new().unwrap());
    let mut buffer = JitterBuffer::new(JitterConfig {
        fec: true,
        ..JitterConfig::new(SampleRate::HZ_48000)
    });
    let start = Instant::now();
    let mut meant: Vec<Vec<f32>> = Vec::new();
    let mut dice = 7u64;
    let mut outcome = Outcome {
        lost: 0,
        from_fec: 0,
        likeness: 0.0,
    };
    let mut next = 0usize;
    for (index, pcm) in voice().chunks_exact(FRAME).enumerate() {
        let mut packet = [0; 1_275];
        let length = encoder.encode(pcm, &mut packet).unwrap();
        let mut out = vec![0.0; FRAME];
        perfect.decode(&packet[..length], &mut out).unwrap();
        meant.push(out);
        let now = start + Duration::from_millis(20 * index as u64);
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if index < 10 || !(dice >> 33).is_multiple_of(10) {
            buffer.insert(&Arrival {
                seq: SeqExt::first(index as u16),
                timestamp: RtpTimestamp((index * FRAME) as u32),
                duration: FRAME as u32,
                marker: false,
                silent: false,
                at: now,
                payload: &packet[..length],
            });
        }
        let mut pcm = [0.0; FRAME];
        match buffer.pull(now + Duration::from_millis(5), FRAME as u32) {
            Pull::Frame(frame) => {
                next = (frame.timestamp.0 as usize) / FRAME + 1;
                decoder.decode(frame.payload, &mut pcm).unwrap();
            }
            Pull::Lost { fec: successor, .. } => {
                outcome.lost += 1;
                match successor {
                    Some(successor) => {
                        outcome.from_fec += 1;
                        decoder.decode_fec(successor, &mut pcm).unwrap();
                        outcome.likeness += likeness(&pcm, &meant[next]);
                    }
                    None => {
                        decoder.conceal(&mut pcm).unwrap();
                    }
                }
                next += 1;
            }
            Pull::Hold => {
                decoder.conceal(&mut pcm).unwrap();
            }
            Pull::Silence => {}
        }
    }
    outcome.likeness /= outcome.from_fec.max(1) as f32;
    outcome
}

#[test]
fn of_ten_percent_loss_most_comes_back_from_the_packet_behind() {
    let (with, without) = (run(true), run(false));
    let share = with.from_fec as f32 / with.lost as f32;
    println!(
        "{} of {} lost frames had a successor to rebuild them from ({:.0} %); likeness to what was said {:.2} with FEC, {:.2} without",
        with.from_fec,
        with.lost,
        share * 100.0,
        with.likeness,
        without.likeness
    );
    assert!(with.lost > 100, "the path lost something: {}", with.lost);
    // A successor is lost too one time in ten.
    assert!(share > 0.75, "{share}");
    assert!(with.likeness > 0.8, "{}", with.likeness);
    assert!(
        with.likeness > without.likeness + 0.05,
        "{} {}",
        with.likeness,
        without.likeness
    );
}
