//! A listener that begins or stops to talk must not hear a click: 200 hand-overs between the shared and its own
//! encoder, decoded by one stock decoder, against the output of an encoder that was never interrupted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod meeting;

use meeting::{Dice, Meeting, leg_config};
use mixer::{LegKey, RoomConfig};
use rtp_media::codec::CodecKind;
use std::rc::Rc;

/// Something like a voice with plenty above 4 kHz: harmonics of a wandering pitch, and breath.
fn speech() -> Vec<f32> {
    let mut dice = Dice(42);
    let mut phase = 0.0f32;
    (0..5 * 48_000)
        .map(|n| {
            let t = n as f32 / 48_000.0;
            let pitch = 130.0 + 30.0 * (t * 2.1).sin();
            phase = (phase + pitch / 48_000.0).fract();
            let voiced: f32 = (1..40)
                .map(|h| (std::f32::consts::TAU * phase * h as f32).sin() / (h as f32).powf(0.8))
                .sum();
            let envelope = 0.65 + 0.35 * (t * 9.0).sin();
            0.06 * envelope * voiced + 0.03 * (dice.roll() - 0.5)
        })
        .collect()
}

/// Power of each 2.5 ms above 4 kHz.
fn high_band(pcm: &[f32]) -> Vec<f32> {
    // Two Butterworth high-pass sections at 4 kHz for 48 kHz.
    let w = (std::f64::consts::PI * 4_000.0 / 48_000.0).tan();
    let mut signal: Vec<f64> = pcm.iter().map(|s| f64::from(*s)).collect();
    for q in [0.541_196, 1.306_563] {
        let norm = 1.0 / (1.0 + w / q + w * w);
        let (b0, b1) = (norm, -2.0 * norm);
        let (a1, a2) = (2.0 * (w * w - 1.0) * norm, (1.0 - w / q + w * w) * norm);
        let (mut x1, mut x2, mut y1, mut y2) = (0.0, 0.0, 0.0, 0.0);
        for sample in &mut signal {
            let x = *sample;
            let y = b0 * x + b1 * x1 + b0 * x2 - a1 * y1 - a2 * y2;
            (x2, x1, y2, y1) = (x1, x, y1, y);
            *sample = y;
        }
    }
    signal
        .chunks_exact(120)
        .map(|window| (window.iter().map(|s| s * s).sum::<f64>() / 120.0) as f32)
        .collect()
}

/// Two low notes: nothing above 4 kHz, so that any click stands alone.
fn notes() -> Vec<f32> {
    (0..5 * 48_000)
        .map(|n| {
            let t = std::f32::consts::TAU * n as f32 / 48_000.0;
            0.12 * (330.0 * t).sin() + 0.1 * (790.0 * t).sin()
        })
        .collect()
}

#[test]
fn two_hundred_hand_overs_are_inaudible_in_speech() {
    hand_over(speech(), 200);
}

#[test]
fn hand_overs_are_inaudible_in_steady_notes() {
    hand_over(notes(), 100);
}

fn hand_over(signal: Vec<f32>, count: usize) {
    let mut changing = Meeting::new(RoomConfig::default());
    let mut unbroken = Meeting::new(RoomConfig::default());
    let speech: Rc<[f32]> = signal.into();
    for meeting in [&mut changing, &mut unbroken] {
        let speech = Rc::clone(&speech);
        meeting.join(leg_config(1, CodecKind::Opus)).voice =
            Some(Box::new(move |n, _| speech[n as usize % speech.len()]));
        meeting.join(leg_config(2, CodecKind::Opus));
        meeting.join(leg_config(3, CodecKind::Opus));
    }
    let mut hand_overs = 0;
    let mut own = false;
    let mut at = Vec::new();
    let mut tick = 0u64;
    while hand_overs < count {
        // A word of 60 ms every 800 ms; the hang-over makes a spurt of it.
        changing.phone(2).voice = (tick % 40 < 3 && tick > 50).then(|| {
            Box::new(|n: u64, rate: f32| 0.2 * (n as f32 * 900.0 / rate).sin())
                as Box<dyn Fn(u64, f32) -> f32>
        });
        changing.step();
        unbroken.step();
        tick += 1;
        let now = changing.room.stats(LegKey(2)).unwrap().own_encoder;
        if now != own {
            hand_overs += 1;
            own = now;
            at.push(tick);
        }
        assert!(tick < 20_000, "only {hand_overs} hand-overs");
    }
    let heard = high_band(&changing.phone(2).heard);
    let wanted = high_band(&unbroken.phone(2).heard);
    let mut worst = (0.0f32, 0usize);
    let mut over = 0;
    // −75 dBFS: what lies under it can't be heard beside a voice.
    let floor = 10.0f32.powf(-7.5);
    for window in 400..heard.len().min(wanted.len()) {
        let excess = 10.0 * (heard[window].max(floor) / wanted[window].max(floor)).log10();
        if excess > worst.0 {
            worst = (excess, window);
        }
        over += usize::from(excess > 6.0);
    }
    let near: Vec<i64> = at
        .iter()
        .map(|t| worst.1 as i64 / 8 - *t as i64)
        .filter(|d| d.abs() < 10)
        .collect();
    assert!(
        over == 0,
        "{over} windows over; worst {} dB in window {} (ticks from hand-overs: {near:?})",
        worst.0,
        worst.1
    );
}
