//! The simulation's only source of chance: independent streams drawn from one seed.
//!
//! Each part (network, people, house) has a stream of its own, so that a change in one does not reshuffle the others
//! of the same seed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// One stream of chance.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream called `name` of a seed.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self(ChaCha8Rng::seed_from_u64(seed ^ hasher.finish()))
    }

    /// 0 to `bound` − 1; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        self.0.next_u64() % bound
    }

    /// An index into something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        let roll = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        roll < probability
    }

    /// A time between the two, evenly.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least);
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.below(micros.saturating_add(1)))
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.index(items.len()))
    }

    /// One of them, each as likely as its weight says.
    pub fn weighted<'a, T>(&mut self, items: &'a [(u32, T)]) -> Option<&'a T> {
        let total: u64 = items.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let mut left = self.below(total);
        for (weight, item) in items {
            if left < u64::from(*weight) {
                return Some(item);
            }
            left -= u64::from(*weight);
        }
        None
    }

    /// Randomness for a core.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }

    /// Random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}
