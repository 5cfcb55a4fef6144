//! Bursts and gaps of loss (RFC 3611 §4.7.2), counted as packets leave the jitter buffer.
//!
//! A burst begins and ends with a missing packet and has nowhere [`GMIN`] good ones in a row; a missing packet with as
//! many good ones on both sides is part of a gap. Deliberately absent: the transition counts of RFC 3611 A.2, which
//! approximate what is counted exactly here.

use crate::limits::GMIN;

/// Counters over the life of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bursts {
    /// Packets that should have been played.
    packets: u64,
    /// Of them, missing.
    missing: u64,
    /// Of finished bursts.
    bursts: u64,
    burst_packets: u64,
    burst_missing: u64,
    /// Runs of missing packets, however short.
    runs: u64,
    /// Good packets before the first burst.
    led_in: bool,
    open: Cluster,
    /// Good packets since the last missing one; at most [`GMIN`] matters.
    good: u64,
}

/// Missing packets near each other, that are a burst once there are two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cluster {
    packets: u64,
    missing: u64,
}

/// Bursts and gaps so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BurstStats {
    /// Packets that should have been played.
    pub expected: u64,
    /// Of them, lost or come too late.
    pub missing: u64,
    /// Bursts so far.
    pub bursts: u64,
    /// Share of missing packets within bursts, 0 to 1.
    pub burst_density: f32,
    /// Share of missing packets within gaps, 0 to 1.
    pub gap_density: f32,
    /// Mean length of a burst in packets.
    pub burst_packets: f32,
    /// Mean length of a gap in packets.
    pub gap_packets: f32,
    /// Mean length of a run of missing packets over that of the same loss at random (ITU-T G.107 BurstR); 1 is random.
    pub burst_ratio: f32,
}

impl Bursts {
    /// A packet was there when its time came.
    pub const fn good(&mut self) {
        self.packets += 1;
        self.good += 1;
        if self.open.missing == 0 {
            self.led_in = self.led_in || self.bursts == 0;
        } else if self.good >= GMIN {
            self.close();
        }
    }

    /// So many packets were not, in a row.
    pub fn missing(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        if self.open.missing == 0 || self.good > 0 {
            self.runs += 1;
        }
        if self.open.missing > 0 {
            self.open.packets += self.good;
        }
        self.good = 0;
        self.packets += count;
        self.missing += count;
        self.open.packets += count;
        self.open.missing += count;
    }

    /// What is known up to now. RFC 3611 §4.7.2: the time of the report counts as followed by good packets.
    #[must_use]
    pub fn stats(&self) -> BurstStats {
        let mut done = *self;
        done.close();
        let share = |part: u64, whole: u64| {
            if whole == 0 {
                0.0
            } else {
                part as f32 / whole as f32
            }
        };
        let gap_packets = done.packets.saturating_sub(done.burst_packets);
        // Between two bursts is always a gap; before the first and behind the last where a packet lies there.
        let behind = done.bursts == 0 || self.open.missing < 2;
        let gaps = done.bursts.saturating_sub(1)
            + u64::from(done.led_in && done.bursts > 0)
            + u64::from(behind && gap_packets > 0);
        let loss = share(done.missing, done.packets);
        let run = share(done.missing, done.runs);
        BurstStats {
            expected: done.packets,
            missing: done.missing,
            bursts: done.bursts,
            burst_density: share(done.burst_missing, done.burst_packets),
            gap_density: share(done.missing - done.burst_missing, gap_packets),
            burst_packets: share(done.burst_packets, done.bursts),
            gap_packets: share(gap_packets, gaps),
            // Runs of random loss have the mean length 1 / (1 − loss).
            burst_ratio: if done.runs == 0 {
                1.0
            } else {
                (run * (1.0 - loss)).max(1.0)
            },
        }
    }

    const fn close(&mut self) {
        if self.open.missing >= 2 {
            self.bursts += 1;
            self.burst_packets += self.open.packets;
            self.burst_missing += self.open.missing;
        } else if self.open.missing == 1 && self.bursts == 0 {
            self.led_in = true;
        }
        self.open = Cluster {
            packets: 0,
            missing: 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> BurstStats {
        let mut bursts = Bursts::default();
        for fate in pattern.chars() {
            match fate {
                '1' => bursts.good(),
                _ => bursts.missing(1),
            }
        }
        bursts.stats()
    }

    #[test]
    fn the_example_of_rfc_3611() {
        let stats = of("11110111111111111111111X111X1011110111111111111111111X111111111");
        assert_eq!((stats.bursts, stats.burst_packets), (1, 12.0));
        assert!((stats.burst_density - 4.0 / 12.0).abs() < 1e-6);
        // Two gaps; the RFC's text calls 520 ms what is their sum, its definition of the field is the mean.
        assert!((stats.gap_packets * 2.0 - (stats.expected as f32 - 12.0)).abs() < 1e-3);
        assert!((stats.gap_density - 2.0 / (stats.expected as f32 - 12.0)).abs() < 1e-6);
    }

    #[test]
    fn isolated_losses_are_no_burst_and_two_near_ones_are() {
        let good = "1".repeat(16);
        assert_eq!(of(&format!("{good}0{good}0{good}")).bursts, 0);
        let near = of(&format!("{good}0{}0{good}", "1".repeat(15)));
        assert_eq!((near.bursts, near.burst_packets), (1, 17.0));
        assert_eq!(of("").burst_ratio, 1.0);
        assert_eq!(of("111").gap_packets, 3.0);
    }

    #[test]
    fn a_burst_at_either_end_leaves_one_gap() {
        let good = "1".repeat(30);
        for pattern in [format!("00{good}"), format!("{good}00")] {
            let stats = of(&pattern);
            assert_eq!((stats.bursts, stats.gap_packets), (1, 30.0), "{pattern}");
        }
    }

    #[test]
    fn losses_in_runs_raise_the_burst_ratio() {
        let runs = of(&format!("{}000000", "1".repeat(94)).repeat(10));
        assert!((5.5..6.0).contains(&runs.burst_ratio), "{}", runs.burst_ratio);
        let single = of(&format!("{}0", "1".repeat(19)).repeat(10));
        assert_eq!(single.burst_ratio, 1.0);
    }
}
