//! Response times of a run, and what share of them stays under a figure.
//!
//! Absent on purpose: histograms. A run of the bench holds a few hundred thousand figures at most.

use std::time::Duration;

/// Times in the order in which they were seen.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Milliseconds that the given share of all stays under; zero of none.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let at = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_a_hundred() {
        let mut times = Times::default();
        assert_eq!(times.quantile_ms(0.5), 0.0);
        for n in (0..=100).rev() {
            times.push(Duration::from_millis(n));
        }
        assert_eq!(times.len(), 101);
        assert_eq!(times.quantile_ms(0.5), 50.0);
        assert_eq!(times.quantile_ms(0.99), 99.0);
        assert_eq!(times.quantile_ms(1.0), 100.0);
        times.clear();
        assert!(times.is_empty());
    }
}
