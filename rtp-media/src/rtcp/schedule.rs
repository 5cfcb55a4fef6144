//! When to send RTCP: the interval rules of RFC 3550 §6.2 and §6.3 for the small sessions of a conference leg.
//!
//! The interval grows with the members' number over the bandwidth, is never under five seconds (half of that for the
//! first report), is drawn from half to one and a half times its mean, and is reconsidered when its timer expires.
//! Deliberately absent: the sampled member table and the BYE back-off for sessions of more than fifty members, which
//! a unicast leg never is.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

/// Least mean interval (RFC 3550 §6.2).
pub const MIN_INTERVAL: Duration = Duration::from_secs(5);
/// Share of the session bandwidth that is RTCP's, in percent.
const RTCP_PERCENT: f64 = 5.0;
/// Correction for the reconsideration, which sends too rarely: e − 3/2 (RFC 3550 §6.3.1).
const COMPENSATION: f64 = std::f64::consts::E - 1.5;
/// First guess of a compound's size: SR with one block, CNAME, UDP and IP headers.
const INITIAL_SIZE: f64 = 120.0;
/// IPv4 and UDP header bytes, which count as RTCP's (RFC 3550 §6.2).
const LOWER_LAYERS: f64 = 28.0;

/// The timer of one participant.
#[derive(Debug, Clone)]
pub struct Schedule {
    rng: ChaCha8Rng,
    bandwidth: f64,
    average_size: f64,
    initial: bool,
    last: Instant,
    next: Instant,
}

impl Schedule {
    /// A timer for a session of `bandwidth` bit/s; the first report comes after 1.0 to 3.1 s.
    #[must_use]
    pub fn new(rng: ChaCha8Rng, bandwidth: u32, now: Instant) -> Self {
        let mut schedule = Self {
            rng,
            bandwidth: (f64::from(bandwidth) / 8.0 * RTCP_PERCENT / 100.0).max(1.0),
            average_size: INITIAL_SIZE,
            initial: true,
            last: now,
            next: now,
        };
        schedule.next = now + schedule.draw(2, true);
        schedule
    }

    /// When the timer expires.
    #[must_use]
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// Lets the timer expire at once.
    pub const fn hasten(&mut self, now: Instant) {
        self.next = now;
        self.last = now;
    }

    /// Whether a report is due now. Timer reconsideration (RFC 3550 §6.3.6): with the members as they are now the
    /// interval is drawn anew, and when it has not passed yet, the timer is only set again.
    pub fn expired(&mut self, now: Instant, members: u32, we_send: bool) -> bool {
        if now < self.next {
            return false;
        }
        if self.last == self.next {
            return true;
        }
        let due = self.last + self.draw(members, we_send);
        if due > now {
            self.next = due;
            return false;
        }
        true
    }

    /// A report of `bytes` was sent.
    pub fn sent(&mut self, bytes: usize, now: Instant, members: u32, we_send: bool) {
        self.observe(bytes);
        self.initial = false;
        self.last = now;
        self.next = now + self.draw(members, we_send);
    }

    /// A compound of `bytes` came; the mean size counts both directions (RFC 3550 §6.3.3).
    pub fn observe(&mut self, bytes: usize) {
        self.average_size += (bytes as f64 + LOWER_LAYERS - self.average_size) / 16.0;
    }

    /// How long a member may be unheard before it counts no more: five mean intervals (RFC 3550 §6.3.5).
    #[must_use]
    pub fn member_timeout(&self, members: u32) -> Duration {
        Duration::from_secs_f64(self.mean(members, false, false) * 5.0)
    }

    fn mean(&self, members: u32, we_send: bool, initial: bool) -> f64 {
        // RFC 3550 §6.3.1: while at most a quarter of the members send, senders share a quarter of the bandwidth.
        // With one or two members there is nothing to divide.
        let share = if members > 4 && we_send { 0.25 } else { 1.0 };
        let counted = if share < 1.0 {
            1.0
        } else {
            f64::from(members.max(1))
        };
        let least = MIN_INTERVAL.as_secs_f64() / if initial { 2.0 } else { 1.0 };
        (self.average_size * counted / (self.bandwidth * share)).max(least)
    }

    fn draw(&mut self, members: u32, we_send: bool) -> Duration {
        let factor = 0.5 + f64::from(self.rng.next_u32()) / 4_294_967_296.0;
        Duration::from_secs_f64(self.mean(members, we_send, self.initial) * factor / COMPENSATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    fn schedule(seed: u8, now: Instant) -> Schedule {
        Schedule::new(ChaCha8Rng::from_seed([seed; 32]), 64_000, now)
    }

    /// Sends every report that is due for `span` and returns their times.
    fn run(mut schedule: Schedule, start: Instant, span: Duration) -> Vec<Duration> {
        let mut times = Vec::new();
        loop {
            let now = schedule.next();
            if now - start > span {
                return times;
            }
            if schedule.expired(now, 2, true) {
                times.push(now - start);
                schedule.sent(100, now, 2, true);
            }
        }
    }

    #[test]
    fn intervals_keep_their_bounds_and_their_mean() {
        let start = crate::units::any_instant();
        let mut gaps = Vec::new();
        for seed in 0..20 {
            let times = run(schedule(seed, start), start, Duration::from_secs(600));
            assert!(
                times[0] >= Duration::from_millis(1025),
                "first report after {:?}",
                times[0]
            );
            assert!(
                times[0] <= Duration::from_millis(3080),
                "first report after {:?}",
                times[0]
            );
            gaps.extend(times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()));
        }
        let least = 2.5 / COMPENSATION;
        let most = 7.5 / COMPENSATION;
        assert!(gaps.iter().all(|gap| (least - 1e-6..=most + 1e-6).contains(gap)));
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!(
            (4.5..5.5).contains(&mean),
            "the compensated mean is five seconds, not {mean}"
        );
    }

    #[test]
    fn two_seeds_do_not_march_in_step() {
        let start = crate::units::any_instant();
        let span = Duration::from_secs(60);
        assert_ne!(
            run(schedule(1, start), start, span),
            run(schedule(2, start), start, span)
        );
        assert_eq!(
            run(schedule(1, start), start, span),
            run(schedule(1, start), start, span)
        );
    }

    #[test]
    fn a_thin_session_reports_more_rarely() {
        let start = crate::units::any_instant();
        let thin = Schedule::new(ChaCha8Rng::from_seed([1; 32]), 1600, start);
        let reports = run(thin, start, Duration::from_secs(600)).len();
        assert!(
            (20..50).contains(&reports),
            "10 B/s carry two members' 128-byte reports every 25 s: {reports}"
        );
    }

    #[test]
    fn hastened_timer_needs_no_reconsideration() {
        let start = crate::units::any_instant();
        let mut schedule = schedule(3, start);
        assert!(!schedule.expired(start, 2, true));
        schedule.hasten(start);
        assert!(schedule.expired(start, 2, true));
        schedule.sent(80, start, 2, true);
        assert!(!schedule.expired(start, 2, true));
    }
}
