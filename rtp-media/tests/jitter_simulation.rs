//! The jitter buffer over simulated networks in virtual time: drift for hours, stalls, bursts, lasting jitter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
// An Instant to count from can be had in no other way.
#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtp_media::jitter::{Arrival, JitterBuffer, JitterConfig, Pull};
use rtp_media::units::{RtpTimestamp, SampleRate, SeqExt};

const FRAME: u32 = 960;

/// One stream, one network, one consumer; all times in microseconds.
struct Sim {
    buffer: JitterBuffer,
    start: Instant,
    /// Sender's time for one frame: 20 ms give or take its drift.
    spacing: f64,
    sent: u64,
    in_flight: VecDeque<(u64, u64)>,
    tick: u64,
    left: u32,
    state: u64,
    concealed_ticks: u64,
    /// Wait of each frame played since the last look.
    waits: Vec<u64>,
}

impl Sim {
    fn new(ppm: f64) -> Self {
        Self {
            buffer: JitterBuffer::new(JitterConfig::new(SampleRate::HZ_48000)),
            start: Instant::now(),
            spacing: 20_000.0 * (1.0 + ppm / 1e6),
            sent: 0,
            in_flight: VecDeque::new(),
            tick: 0,
            left: 0,
            state: 1,
            concealed_ticks: 0,
            waits: Vec::new(),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    fn now(&self) -> u64 {
        self.tick * 20_000
    }

    /// Runs for `span` ms; `network` gives each packet its arrival time for its sending time, or loses it.
    fn run(&mut self, span: u64, mut network: impl FnMut(&mut Self, u64) -> Option<u64>) {
        let end = self.now() + span * 1000;
        while self.now() < end {
            self.tick += 1;
            let now = self.now();
            while (self.sent as f64 * self.spacing) as u64 <= now {
                let at = (self.sent as f64 * self.spacing) as u64;
                if let Some(arrival) = network(self, at) {
                    self.in_flight.push_back((arrival + 3_000, self.sent));
                }
                self.sent += 1;
            }
            self.deliver(now);
            self.consume(now);
        }
    }

    fn deliver(&mut self, now: u64) {
        let mut due: Vec<_> = self
            .in_flight
            .iter()
            .copied()
            .filter(|(at, _)| *at <= now)
            .collect();
        self.in_flight.retain(|(at, _)| *at > now);
        due.sort_unstable();
        for (at, seq) in due {
            self.buffer.insert(&Arrival {
                seq: SeqExt(0x1_0000 + seq),
                timestamp: RtpTimestamp((seq as u32).wrapping_mul(FRAME)),
                duration: FRAME,
                marker: false,
                silent: false,
                at: self.start + Duration::from_micros(at),
                payload: &at.to_be_bytes(),
            });
        }
    }

    fn consume(&mut self, now: u64) {
        while self.left < FRAME {
            match self
                .buffer
                .pull(self.start + Duration::from_micros(now), FRAME - self.left)
            {
                Pull::Frame(frame) => {
                    self.left += frame.duration - frame.shorten;
                    let at = u64::from_be_bytes(frame.payload.try_into().unwrap());
                    self.waits.push(now - at);
                }
                Pull::Lost { duration, .. } => {
                    self.left += duration;
                    self.concealed_ticks += 1;
                }
                Pull::Hold => {
                    self.left = FRAME;
                    self.concealed_ticks += 1;
                }
                Pull::Silence => self.left = FRAME,
            }
        }
        self.left -= FRAME;
    }

    /// The longest wait since the last look.
    fn longest_wait(&mut self) -> u64 {
        let longest = self.waits.iter().copied().max().unwrap_or(0);
        self.waits.clear();
        longest
    }
}

#[test]
fn two_hours_of_drift_never_add_delay() {
    for ppm in [-500.0, 500.0, -30.0, 30.0] {
        let mut sim = Sim::new(ppm);
        for minute in 0..120 {
            sim.run(60_000, |_, at| Some(at));
            let longest = sim.longest_wait();
            assert!(
                longest <= 25_000,
                "{ppm} ppm, minute {minute}: a frame waited {longest} µs"
            );
        }
        // A tick is made good every 40 s at 500 ppm, by one concealment or one shortening.
        let stats = sim.buffer.stats();
        let corrections = sim.concealed_ticks + stats.shortened;
        assert!(
            corrections <= 190,
            "{ppm} ppm: {corrections} corrections, {stats:?}"
        );
        assert_eq!(stats.late + stats.lost + stats.dropped, 0, "{ppm} ppm: {stats:?}");
    }
}

#[test]
fn drift_with_a_little_jitter_does_not_flap() {
    for ppm in [-500.0, 500.0] {
        let mut sim = Sim::new(ppm);
        for minute in 0..60 {
            sim.run(60_000, |sim, at| Some(at + sim.random(3_000)));
            let longest = sim.longest_wait();
            assert!(
                longest <= 30_000,
                "{ppm} ppm, minute {minute}: a frame waited {longest} µs"
            );
        }
        let corrections = sim.concealed_ticks + sim.buffer.stats().shortened;
        assert!(
            corrections <= 300,
            "{ppm} ppm: {corrections} corrections in an hour, 90 needed"
        );
    }
}

#[test]
fn a_network_stall_of_200_ms_is_over_within_a_second() {
    for phase in 0..10 {
        let mut sim = Sim::new(0.0);
        sim.run(5_000 + phase * 20, |_, at| Some(at + phase * 1_900));
        sim.longest_wait();
        let stall = sim.now();
        sim.run(200, |_, at| Some(at.max(stall + 200_000) + phase * 1_900));
        sim.run(1_000, |_, at| Some(at.max(stall + 200_000) + phase * 1_900));
        sim.longest_wait();
        sim.run(2_000, |_, at| Some(at + phase * 1_900));
        let longest = sim.longest_wait();
        assert!(
            longest <= 25_000,
            "phase {phase}: {longest} µs a second after the stall"
        );
        let stats = sim.buffer.stats();
        assert!(
            stats.target < Duration::from_millis(5),
            "one stall is no reason for delay: {stats:?}"
        );
    }
}

#[test]
fn a_stall_of_a_second_and_a_half_drops_to_the_cap_and_recovers() {
    let mut sim = Sim::new(0.0);
    sim.run(5_000, |_, at| Some(at));
    let stall = sim.now();
    sim.run(1_500, |_, at| Some(at.max(stall + 1_500_000)));
    sim.longest_wait();
    sim.run(1_000, |_, at| Some(at.max(stall + 1_500_000)));
    assert!(sim.longest_wait() <= 200_000);
    sim.run(2_000, |_, at| Some(at));
    assert!(sim.longest_wait() <= 25_000);
}

#[test]
fn a_consumer_stall_of_200_ms_is_over_within_a_second() {
    let mut sim = Sim::new(0.0);
    sim.run(5_000, |_, at| Some(at));
    // The consumer misses ten ticks; what arrived meanwhile carries its true arrival times.
    sim.tick += 10;
    sim.run(1_000, |_, at| Some(at));
    sim.longest_wait();
    sim.run(2_000, |_, at| Some(at));
    assert!(sim.longest_wait() <= 25_000);
}

#[test]
fn lasting_jitter_is_bought_off_with_as_much_delay_and_no_more() {
    for spread in [10_000_u64, 30_000, 60_000] {
        let mut sim = Sim::new(0.0);
        sim.run(5_000, move |sim, at| Some(at + sim.random(spread)));
        sim.concealed_ticks = 0;
        sim.longest_wait();
        sim.run(60_000, move |sim, at| Some(at + sim.random(spread)));
        let share = sim.concealed_ticks as f64 / 3000.0;
        assert!(
            share < 0.02,
            "{spread} µs of jitter: {:.1} % concealed",
            share * 100.0
        );
        let longest = sim.longest_wait();
        assert!(
            longest <= spread + 45_000,
            "{spread} µs of jitter: a frame waited {longest} µs"
        );
        // And back again.
        sim.run(10_000, |_, at| Some(at));
        sim.longest_wait();
        sim.run(2_000, |_, at| Some(at));
        let longest = sim.longest_wait();
        assert!(longest <= 25_000, "after {spread} µs of jitter: {longest} µs");
    }
}

#[test]
fn loss_costs_one_concealment_each_and_no_delay() {
    let mut sim = Sim::new(0.0);
    sim.run(60_000, |sim, at| (sim.random(100) >= 5).then_some(at));
    let stats = sim.buffer.stats();
    assert!((100..200).contains(&stats.lost), "{stats:?}");
    assert!(
        sim.concealed_ticks <= stats.lost + 2,
        "{} concealed of {stats:?}",
        sim.concealed_ticks
    );
    assert!(sim.longest_wait() <= 25_000);
    assert_eq!(stats.late, 0);
}

#[test]
fn reordering_is_covered_once_it_is_known() {
    let mut sim = Sim::new(0.0);
    let mut network = |sim: &mut Sim, at: u64| Some(at + if sim.random(10) == 0 { 30_000 } else { 0 });
    sim.run(10_000, &mut network);
    sim.concealed_ticks = 0;
    sim.run(30_000, &mut network);
    let share = sim.concealed_ticks as f64 / 1500.0;
    assert!(share < 0.02, "{:.1} % concealed", share * 100.0);
}

#[test]
fn a_path_that_becomes_longer_is_followed() {
    let mut sim = Sim::new(0.0);
    sim.run(5_000, |_, at| Some(at));
    sim.run(10_000, |_, at| Some(at + 150_000));
    sim.longest_wait();
    sim.run(2_000, |_, at| Some(at + 150_000));
    assert!(sim.longest_wait() <= 25_000);
    // And shorter again.
    sim.run(12_000, |_, at| Some(at));
    sim.longest_wait();
    sim.run(2_000, |_, at| Some(at));
    assert!(sim.longest_wait() <= 25_000);
}

#[test]
fn frequent_loss_does_not_keep_the_delay_of_a_stall() {
    let mut sim = Sim::new(0.0);
    let mut lossy = |sim: &mut Sim, at: u64| (sim.random(100) >= 10).then_some(at);
    sim.run(5_000, &mut lossy);
    sim.tick += 10;
    sim.run(2_000, &mut lossy);
    sim.longest_wait();
    sim.run(2_000, &mut lossy);
    let longest = sim.longest_wait();
    assert!(longest <= 25_000, "{longest} µs two seconds after the stall");
}
