//! How many new calls a second come in while there is overload: found by trying.
//!
//! A gate that is either open or shut wastes what the server can do: open, it lets in far more than can be carried, shut,
//! nothing. So while overload is remembered (`load`), calls come in at a rate that falls whenever the queue grows long
//! and rises slowly while it does not (additive and multiplicative, as a congestion window does).
//! Deliberately absent: when there is overload; `load` says that.

use std::time::{Duration, Instant};

/// The rate rises once in each of these.
const PERIOD: Duration = Duration::from_millis(100);
/// What is left of the rate when the queue has grown long.
const FALL: f64 = 0.8;
/// By what the rate rises, and what is added to it in calls a second.
const RISE: (f64, f64) = (1.05, 5.0);
/// Bounds of the rate in calls a second: below it could not find back, above it is no limit.
const BOUNDS: (f64, f64) = (10.0, 1e6);
/// Calls that may come at once: what would have come in in this time.
const AT_ONCE: Duration = Duration::from_millis(20);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: f64,
    tokens: f64,
    filled_at: Instant,
    risen_at: Instant,
}

impl Throttle {
    /// Begins below the rate at which calls were let in until now.
    pub(super) fn new(admitted: f64, now: Instant) -> Self {
        Self {
            rate: (admitted * FALL).clamp(BOUNDS.0, BOUNDS.1),
            tokens: 1.0,
            filled_at: now,
            risen_at: now,
        }
    }

    /// The queue is too long: what was let in was too much.
    pub(super) fn fall(&mut self, now: Instant) {
        self.rate = (self.rate * FALL).max(BOUNDS.0);
        // Nothing is saved up meanwhile.
        (self.tokens, self.filled_at, self.risen_at) = (1.0, now, now);
    }

    /// Whether a call may come in.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let periods = now.saturating_duration_since(self.risen_at).as_nanos() / PERIOD.as_nanos();
        if periods > 0 {
            self.risen_at = now;
            for _ in 0..periods.min(100) {
                self.rate = (self.rate * RISE.0 + RISE.1).min(BOUNDS.1);
            }
        }
        let gained = now.saturating_duration_since(self.filled_at).as_secs_f64() * self.rate;
        self.filled_at = now;
        self.tokens = (self.tokens + gained).min((self.rate * AT_ONCE.as_secs_f64()).max(1.0));
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// Calls that were let in lately, a second.
#[derive(Debug)]
pub(super) struct Admitted {
    count: u32,
    since: Instant,
    last: f64,
}

impl Admitted {
    /// None yet.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            count: 0,
            since: now,
            last: 0.0,
        }
    }

    /// One was.
    pub(super) fn one(&mut self, now: Instant) {
        self.turn(now);
        self.count = self.count.saturating_add(1);
    }

    /// How many a second, over the last whole period or the present one, whichever is more.
    pub(super) fn rate(&mut self, now: Instant) -> f64 {
        self.turn(now);
        self.last.max(f64::from(self.count) / PERIOD.as_secs_f64())
    }

    fn turn(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= PERIOD {
            self.last = f64::from(self.count) / elapsed.as_secs_f64();
            (self.count, self.since) = (0, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offers 9,000 calls a second to something that carries 3,000 and queues the rest; says what share of what can be
    /// carried came in during the last three seconds.
    #[test]
    fn it_finds_what_can_be_carried() {
        let start = Instant::now();
        let mut throttle = Throttle::new(9_000.0, start);
        let (mut queue, mut admitted) = (0.0_f64, 0);
        for step in 0..45_000_u32 {
            let now = start + Duration::from_nanos(111_111) * step;
            if throttle.take(now) {
                queue += 1.0;
                admitted += u32::from(step >= 18_000);
            }
            queue = (queue - 1.0 / 3.0).max(0.0);
            // 20 ms of work wait: the rate falls, and the queue is worked off meanwhile.
            if queue > 60.0 {
                throttle.fall(now);
                queue = 0.0;
            }
        }
        let share = f64::from(admitted) / 9_000.0;
        assert!((0.8..1.1).contains(&share), "{share}");
    }

    #[test]
    fn it_finds_back_from_the_bottom() {
        let start = Instant::now();
        let mut throttle = Throttle::new(0.0, start);
        for _ in 0..50 {
            throttle.fall(start);
        }
        let admitted = (0..10_000_u32)
            .filter(|step| throttle.take(start + Duration::from_millis(1) * *step))
            .count();
        assert!(throttle.take(start + Duration::from_secs(11)));
        assert!(admitted > 2_000, "{admitted}");
        assert!(throttle.rate > 500.0, "{}", throttle.rate);
    }

    #[test]
    fn what_was_let_in_is_counted_by_the_period() {
        let start = Instant::now();
        let mut admitted = Admitted::new(start);
        for n in 0..500 {
            admitted.one(start + Duration::from_millis(1) * n);
        }
        let rate = admitted.rate(start + Duration::from_millis(500));
        assert!((950.0..1_050.0).contains(&rate), "{rate}");
        admitted.rate(start + Duration::from_secs(5));
        assert!(admitted.rate(start + Duration::from_secs(6)) < 1.0);
    }
}
