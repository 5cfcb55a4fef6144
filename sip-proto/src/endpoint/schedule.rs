//! The timer queue: one deadline per key, the earliest at hand, no scan.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Deadlines ordered by time.
#[derive(Debug)]
pub(crate) struct Schedule<K> {
    queue: BTreeSet<(Instant, K)>,
    armed: HashMap<K, (Instant, &'static str)>,
}

impl<K: Copy + Ord + Hash> Schedule<K> {
    pub(crate) fn new() -> Self {
        Self::with_capacity(0)
    }

    /// With room for so many deadlines before a table has to grow.
    pub(crate) fn with_capacity(expected: usize) -> Self {
        Schedule {
            queue: BTreeSet::new(),
            armed: HashMap::with_capacity(expected),
        }
    }

    /// Sets, moves or removes the deadline of `key`; the text says what is waited for.
    pub(crate) fn set(&mut self, key: K, deadline: Option<(Instant, &'static str)>) {
        let old = match deadline {
            Some(new) => self.armed.insert(key, new),
            None => self.armed.remove(&key),
        };
        if let Some((at, _)) = old {
            self.queue.remove(&(at, key));
        }
        if let Some((at, _)) = deadline {
            self.queue.insert((at, key));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<(Instant, &'static str)> {
        let (at, key) = self.queue.first()?;
        Some((*at, self.armed.get(key).map_or("timer", |(_, reason)| reason)))
    }

    /// Takes the earliest key that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock;
    use std::time::Duration;

    #[test]
    fn keys_move_and_leave() {
        let now = test_clock();
        let at = |s| now + Duration::from_secs(s);
        let mut schedule = Schedule::new();
        schedule.set(1, Some((at(5), "five")));
        schedule.set(2, Some((at(3), "three")));
        schedule.set(1, Some((at(1), "one")));
        assert_eq!(schedule.next(), Some((at(1), "one")));
        assert_eq!(schedule.take_due(now), None);
        assert_eq!(schedule.take_due(at(9)), Some(1));
        schedule.set(2, None);
        assert_eq!(schedule.take_due(at(9)), None);
        assert_eq!(schedule.next(), None);
    }
}
