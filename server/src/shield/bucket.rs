//! A token bucket: so many a second on average, so many at once.

use std::time::Instant;

/// The tokens that are left, and when they were counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) const fn full(burst: f64, now: Instant) -> Self {
        Self {
            tokens: burst,
            at: now,
        }
    }

    /// Takes one token; `false`: there is none.
    pub(super) fn take(&mut self, (rate, burst): (f64, f64), now: Instant) -> bool {
        self.fill((rate, burst), now);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// Whether nothing was taken for long enough that a new bucket would be the same.
    pub(super) fn is_full(&mut self, rate: (f64, f64), now: Instant) -> bool {
        self.fill(rate, now);
        self.tokens >= rate.1
    }

    /// What is left.
    pub(super) fn left(&self, rate: (f64, f64), now: Instant) -> f64 {
        let mut copy = *self;
        copy.fill(rate, now);
        copy.tokens
    }

    fn fill(&mut self, (rate, burst): (f64, f64), now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate).min(burst);
        self.at = self.at.max(now);
    }
}
