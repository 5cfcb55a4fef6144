//! What is known of one received source: sequence validation, loss and jitter (RFC 3550 appendix A).
//!
//! Deliberately absent: anything about which source is the current one; that is [`super::RtpSession`]'s.

use std::time::{Duration, Instant};

use crate::limits::{MAX_DROPOUT, MAX_MISORDER};
use crate::units::{RtpTimestamp, SampleRate, SeqExt, Ssrc};

/// What a sequence number says about its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The source is not believed yet.
    Probation,
    /// The packet that ends the probation.
    Believed(SeqExt),
    /// In the stream, in order or not.
    Valid(SeqExt),
    /// Far off.
    Jumped,
    /// The second in a row at the far place: the source restarted there.
    Restarted(SeqExt),
}

/// Loss since the last report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct IntervalLoss {
    /// In 1/256, as the report block carries it.
    pub fraction: u8,
}

/// One source.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub ssrc: Ssrc,
    pub received: u64,
    pub bytes: u64,
    pub heard: Instant,
    base: SeqExt,
    highest: SeqExt,
    bad_seq: Option<u16>,
    probation: u8,
    min_sequential: u8,
    expected_prior: u64,
    received_prior: u64,
    transit: Option<u32>,
    /// Jitter in sixteenths of a tick.
    jitter: u32,
}

impl Source {
    /// A source whose first packet has number `seq`; feed that packet to [`step`](Self::step) too.
    pub fn new(ssrc: Ssrc, seq: u16, min_sequential: u8, now: Instant) -> Self {
        let first = SeqExt::first(seq);
        Self {
            ssrc,
            received: 0,
            bytes: 0,
            heard: now,
            base: first,
            highest: SeqExt(first.0 - 1),
            bad_seq: None,
            probation: min_sequential.max(1),
            min_sequential: min_sequential.max(1),
            expected_prior: 0,
            received_prior: 0,
            transit: None,
            jitter: 0,
        }
    }

    /// The source must prove itself anew (another one interrupted its probation).
    pub const fn restart_probation(&mut self) {
        self.probation = self.min_sequential;
    }

    /// RFC 3550 A.1.
    pub fn step(&mut self, seq: u16) -> Step {
        if self.probation > 0 {
            let follows = seq == self.highest.low().wrapping_add(1);
            self.probation = if follows {
                self.probation - 1
            } else {
                self.min_sequential - 1
            };
            if self.probation == 0 {
                self.start(seq);
                self.received = 1;
                return Step::Believed(self.highest);
            }
            self.highest = SeqExt::first(seq);
            return Step::Probation;
        }
        let ahead = seq.wrapping_sub(self.highest.low());
        let step = if ahead < MAX_DROPOUT {
            self.highest = self.highest.extend(seq);
            Step::Valid(self.highest)
        } else if ahead <= 0_u16.wrapping_sub(MAX_MISORDER) {
            if self.bad_seq != Some(seq) {
                self.bad_seq = Some(seq.wrapping_add(1));
                return Step::Jumped;
            }
            self.start(seq);
            Step::Restarted(self.highest)
        } else {
            Step::Valid(self.highest.extend(seq))
        };
        self.bad_seq = None;
        self.received += 1;
        step
    }

    const fn start(&mut self, seq: u16) {
        self.base = SeqExt::first(seq);
        self.highest = self.base;
        self.bad_seq = None;
        self.received = 0;
        self.bytes = 0;
        self.expected_prior = 0;
        self.received_prior = 0;
        self.transit = None;
    }

    /// RFC 3550 A.8, in integers as there; `arrival` counts from any fixed moment.
    pub fn measure_jitter(&mut self, timestamp: RtpTimestamp, arrival: Duration, clock: SampleRate) {
        let transit = (clock.ticks(arrival) as u32).wrapping_sub(timestamp.0);
        if let Some(previous) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(previous) as i32).unsigned_abs();
            // A leap of the sender's timestamps (hold, silence in a frozen clock) is no jitter.
            if difference < clock.hertz() {
                self.jitter = self
                    .jitter
                    .saturating_add(difference)
                    .saturating_sub((self.jitter + 8) >> 4);
            }
        }
    }

    /// The clock changed: jitter keeps its meaning in time.
    pub fn rescale(&mut self, old: SampleRate, new: SampleRate) {
        let scaled = u64::from(self.jitter) * u64::from(new.hertz()) / u64::from(old.hertz());
        self.jitter = u32::try_from(scaled).unwrap_or(u32::MAX);
        self.transit = None;
    }

    /// Interarrival jitter in ticks.
    pub const fn jitter(&self) -> u32 {
        self.jitter >> 4
    }

    /// Extended highest sequence number for a report block.
    pub const fn highest(&self) -> u32 {
        self.highest.as_report()
    }

    /// Packets that should have come.
    pub const fn expected(&self) -> u64 {
        self.highest.0.saturating_sub(self.base.0) + 1
    }

    /// RFC 3550 A.3: expected less received, negative with duplicates.
    pub const fn lost(&self) -> i64 {
        self.expected().cast_signed() - self.received.cast_signed()
    }

    /// RFC 3550 A.3: the share lost since the last call.
    pub fn interval_loss(&mut self) -> IntervalLoss {
        let expected = self.expected().saturating_sub(self.expected_prior);
        let received = self.received.saturating_sub(self.received_prior);
        self.expected_prior = self.expected();
        self.received_prior = self.received;
        let lost = expected.saturating_sub(received);
        let fraction = (lost * 256).checked_div(expected).unwrap_or(0);
        IntervalLoss {
            fraction: u8::try_from(fraction).unwrap_or(u8::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn believed(first: u16) -> Source {
        let mut source = Source::new(Ssrc(1), first, 2, crate::units::any_instant());
        assert_eq!(source.step(first), Step::Probation);
        assert_eq!(
            source.step(first.wrapping_add(1)),
            Step::Believed(SeqExt::first(first.wrapping_add(1)))
        );
        source
    }

    #[test]
    fn probation_needs_two_in_sequence() {
        let mut source = Source::new(Ssrc(1), 10, 2, crate::units::any_instant());
        assert_eq!(source.step(10), Step::Probation);
        assert_eq!(source.step(20), Step::Probation);
        assert_eq!(source.step(21), Step::Believed(SeqExt::first(21)));
        assert_eq!((source.expected(), source.lost()), (1, 0));
    }

    #[test]
    fn one_packet_is_enough_when_asked_so() {
        let mut source = Source::new(Ssrc(1), 10, 1, crate::units::any_instant());
        assert_eq!(source.step(10), Step::Believed(SeqExt::first(10)));
    }

    #[test]
    fn wrap_reordering_and_duplicates() {
        let mut source = believed(65_533);
        assert_eq!(source.step(0), Step::Valid(SeqExt(0x2_0000)));
        assert_eq!(source.step(65_535), Step::Valid(SeqExt(0x1_ffff)));
        assert_eq!(source.lost(), 0);
        assert_eq!(source.step(65_535), Step::Valid(SeqExt(0x1_ffff)));
        assert_eq!(source.lost(), -1, "a duplicate counts as received");
        assert_eq!(source.highest(), 0x1_0000);
    }

    #[test]
    fn limits_of_dropout_and_misorder() {
        for (offset, valid) in [
            (2999_u16, true),
            (3000, false),
            (65_535 - 98, true),
            (65_535 - 99, false),
        ] {
            let mut source = believed(1000);
            let step = source.step(1001_u16.wrapping_add(offset));
            assert_eq!(matches!(step, Step::Valid(_)), valid, "offset {offset}: {step:?}");
        }
    }

    #[test]
    fn two_at_the_far_place_restart_the_source() {
        let mut source = believed(1000);
        assert_eq!(source.step(30_000), Step::Jumped);
        assert_eq!(
            source.step(1002),
            Step::Valid(SeqExt::first(1002)),
            "a stray one changes nothing"
        );
        assert_eq!(source.step(30_001), Step::Jumped);
        assert_eq!(source.step(30_002), Step::Restarted(SeqExt::first(30_002)));
        assert_eq!((source.expected(), source.received), (1, 1));
    }

    #[test]
    fn loss_by_interval_and_in_all() {
        let mut source = believed(0);
        source.interval_loss();
        for seq in (2..102).filter(|seq| seq % 4 != 0) {
            source.step(seq);
        }
        assert_eq!(source.lost(), 25);
        assert_eq!(source.interval_loss().fraction, 64);
        for seq in 102..112 {
            source.step(seq);
        }
        assert_eq!(source.interval_loss().fraction, 0);
        assert_eq!(source.lost(), 25);
    }

    #[test]
    fn jitter_follows_the_formula() {
        // Packets every 20 ms, every second one 8 ms late: |D| is 64 ticks throughout.
        let mut source = believed(0);
        for index in 0..400_u32 {
            let late = if index % 2 == 1 { 8 } else { 0 };
            let arrival = Duration::from_millis(u64::from(index) * 20 + late);
            source.measure_jitter(RtpTimestamp(index * 160), arrival, SampleRate::HZ_8000);
        }
        assert!((62..=64).contains(&source.jitter()), "jitter {}", source.jitter());
        source.rescale(SampleRate::HZ_8000, SampleRate::HZ_48000);
        assert!(
            (372..=384).contains(&source.jitter()),
            "jitter {}",
            source.jitter()
        );
    }
}
