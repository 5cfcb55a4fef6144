//! Facts that wait for the database, in their order.
//!
//! While nothing can be written they stay here, bounded. What must be known after a restart (registrations, meetings)
//! is dropped last: first all but the newest registration of each address go, then what is only history, the oldest
//! in front. Deliberately absent: the database.

use super::worker::is_history;
use crate::focus::record::StoreRecord;
use std::collections::{HashSet, VecDeque};

/// A fact with its time in milliseconds since 1970.
pub(super) type Fact = (i64, StoreRecord);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Backlog {
    facts: VecDeque<Fact>,
    most: usize,
}

impl Backlog {
    pub(super) const fn new(most: usize) -> Self {
        Self {
            facts: VecDeque::new(),
            most,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.facts.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Adds a fact; tells how many were lost for it.
    pub(super) fn push(&mut self, fact: Fact) -> u64 {
        self.facts.push_back(fact);
        if self.facts.len() <= self.most {
            return 0;
        }
        self.keep_newest_bindings();
        if self.facts.len() <= self.most {
            return 0;
        }
        // A tenth at once, so that this is not done for every fact.
        let before = self.facts.len();
        let mut surplus = before - self.most + self.most / 10;
        self.facts.retain(|(_, record)| {
            let goes = is_history(record) && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
        while self.facts.len() > self.most {
            self.facts.pop_front();
        }
        (before - self.facts.len()) as u64
    }

    /// The first facts, at most so many.
    pub(super) fn first(&self, count: usize) -> impl Iterator<Item = &Fact> {
        self.facts.iter().take(count)
    }

    /// The first so many are done with.
    pub(super) fn remove(&mut self, count: usize) {
        self.facts.drain(..count.min(self.facts.len()));
    }

    /// Of the registrations of an address only the last state counts; what it replaced is no loss.
    fn keep_newest_bindings(&mut self) {
        let mut seen = HashSet::new();
        let mut kept = VecDeque::with_capacity(self.facts.len());
        while let Some(fact) = self.facts.pop_back() {
            let stays = match &fact.1 {
                StoreRecord::Bindings { aor, .. } => seen.insert(aor.clone()),
                _ => true,
            };
            if stays {
                kept.push_front(fact);
            }
        }
        self.facts = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::focus::ids::{LegId, RoomId};
    use crate::focus::record::{EndReason, LeaveReason};

    fn bindings(aor: &str) -> StoreRecord {
        StoreRecord::Bindings {
            aor: aor.into(),
            bindings: vec![],
        }
    }

    fn left() -> StoreRecord {
        StoreRecord::PersonLeft {
            room: RoomId(1),
            name: "blue".into(),
            leg: LegId(1),
            display: "Ann".into(),
            reason: LeaveReason::Left,
        }
    }

    fn ended() -> StoreRecord {
        StoreRecord::MeetingEnded {
            room: RoomId(1),
            name: "blue".into(),
            reason: EndReason::Creator,
        }
    }

    fn joined(first: bool) -> StoreRecord {
        StoreRecord::PersonJoined {
            room: RoomId(1),
            name: "blue".into(),
            leg: LegId(1),
            display: "Ann".into(),
            uri: "sip:ann@127.0.0.1".into(),
            account: None,
            user_agent: None,
            call_id: "c1".into(),
            first,
        }
    }

    /// Found in review: a reservation that had been used was held again after a restart.
    #[test]
    fn who_comes_first_is_more_than_history() {
        let mut backlog = Backlog::new(10);
        backlog.push((0, joined(true)));
        for n in 1..30 {
            backlog.push((n, joined(false)));
        }
        assert_eq!(backlog.first(1).next(), Some(&(0, joined(true))));
        assert!(backlog.len() <= 10);
    }

    #[test]
    fn history_goes_before_what_must_be_known() {
        let mut backlog = Backlog::new(10);
        let mut lost = 0;
        for n in 0..5 {
            lost += backlog.push((n, bindings("ann")));
            lost += backlog.push((n, left()));
        }
        assert_eq!((backlog.len(), lost), (10, 0));
        lost += backlog.push((9, ended()));
        assert_eq!((backlog.len(), lost), (7, 0), "old states of ann are no loss");
        for n in 0..20 {
            lost += backlog.push((n, bindings(&n.to_string())));
        }
        assert!(backlog.len() <= 10);
        let state = |r: &StoreRecord| !matches!(r, StoreRecord::PersonLeft { .. });
        assert!(backlog.first(100).all(|(_, record)| state(record)));
        assert_eq!(lost, 5 + 20 + 2 - backlog.len() as u64);
        backlog.remove(4);
        backlog.remove(100);
        assert!(backlog.is_empty());
    }
}
