//! When bindings end: one deadline for each address-of-record, the earliest at hand.
//!
//! A REGISTER must cost the same with a hundred thousand records as with one. Deliberately absent: the bindings.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// Deadlines in the order of time.
#[derive(Debug, Default)]
pub(super) struct Ends {
    order: BTreeSet<(Instant, Arc<str>)>,
    of: HashMap<Arc<str>, Instant>,
}

impl Ends {
    /// Sets, moves or removes the deadline of a record.
    pub(super) fn set(&mut self, aor: &str, end: Option<Instant>) {
        let known = self
            .of
            .get_key_value(aor)
            .map(|(name, at)| (Arc::clone(name), *at));
        let name = match known {
            Some((_, at)) if Some(at) == end => return,
            Some((name, at)) => {
                self.order.remove(&(at, Arc::clone(&name)));
                name
            }
            None => Arc::from(aor),
        };
        match end {
            Some(end) => {
                self.order.insert((end, Arc::clone(&name)));
                self.of.insert(name, end);
            }
            None => {
                self.of.remove(&name);
            }
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the record with the earliest deadline, if that is over.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Arc<str>> {
        let (at, _) = self.order.first()?;
        if *at > now {
            return None;
        }
        let (_, aor) = self.order.pop_first()?;
        self.of.remove(&aor);
        Some(aor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_move_and_leave() {
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let mut ends = Ends::default();
        ends.set("a", Some(at(5)));
        ends.set("b", Some(at(3)));
        ends.set("a", Some(at(1)));
        ends.set("b", Some(at(3)));
        assert_eq!(ends.next(), Some(at(1)));
        assert_eq!(ends.take_due(now), None);
        assert_eq!(ends.take_due(at(9)).as_deref(), Some("a"));
        ends.set("b", None);
        ends.set("c", None);
        assert_eq!((ends.next(), ends.take_due(at(9))), (None, None));
        assert!(ends.of.is_empty());
    }
}
