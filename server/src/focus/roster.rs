//! Who is told about the people of a room, when, and in which version (RFC 4575, RFC 6665).
//!
//! [`Roster`] keeps the subscriptions and the pace: every change marks it, a marked roster is
//! due at once or 200 ms after the last round (later where the last one was big), and the latest
//! state wins. Deliberately absent:
//! the document itself (`roster_document`), partial state, the subscription's timers (the endpoint).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sip_proto::endpoint::SubscriptionId;

use super::limits;

/// Subscriptions to one room.
#[derive(Debug, Default)]
pub struct Roster {
    /// RFC 4575 §4.6: the version grows by one with each document of a subscription.
    versions: BTreeMap<SubscriptionId, u32>,
    changed: bool,
    /// No round before this.
    not_before: Option<Instant>,
}

impl Roster {
    /// Takes a subscription in; its first document goes out at once.
    pub fn add(&mut self, subscription: SubscriptionId) {
        if self.is_empty() {
            // Whatever changed before is in that first document.
            self.changed = false;
        }
        self.versions.insert(subscription, 0);
    }

    /// Forgets a subscription.
    pub fn remove(&mut self, subscription: SubscriptionId) {
        self.versions.remove(&subscription);
    }

    /// How many subscribe.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Whether nobody subscribes.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// Something about the room or its people changed.
    pub fn mark(&mut self) {
        self.changed = true;
    }

    /// When the next round is due, if one is and cannot be held at once.
    pub fn next_round(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.is_due())
    }

    /// Begins a round if one is due: all subscriptions, each with the version of its document.
    pub fn round(&mut self, now: Instant) -> Vec<(SubscriptionId, u32)> {
        if !self.is_due() || self.next_round().is_some_and(|due| due > now) {
            return Vec::new();
        }
        self.changed = false;
        self.not_before = Some(now + limits::ROSTER_INTERVAL);
        self.everybody()
    }

    /// The round sent so many bytes: the next one waits accordingly.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        let millis = bytes.saturating_mul(1_000) / limits::ROSTER_BYTES_PER_SECOND;
        let pause = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        self.not_before = Some(now + pause.max(limits::ROSTER_INTERVAL));
    }

    /// All subscriptions, each with the version of its next document.
    pub fn everybody(&mut self) -> Vec<(SubscriptionId, u32)> {
        self.versions
            .iter_mut()
            .map(|(subscription, version)| {
                *version = version.saturating_add(1);
                (*subscription, *version)
            })
            .collect()
    }

    /// The version of one subscription's next document.
    pub fn next_version(&mut self, subscription: SubscriptionId) -> Option<u32> {
        let version = self.versions.get_mut(&subscription)?;
        *version = version.saturating_add(1);
        Some(*version)
    }

    fn is_due(&self) -> bool {
        self.changed && !self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_keep_the_pace_and_versions_grow() {
        let start = Instant::now();
        let mut roster = Roster::default();
        roster.mark();
        assert_eq!(roster.round(start), [], "nobody to tell");
        roster.add(SubscriptionId(1));
        assert_eq!(roster.next_version(SubscriptionId(1)), Some(1));
        assert_eq!(roster.round(start), [], "the first document has it all");
        roster.mark();
        assert_eq!(roster.round(start), [(SubscriptionId(1), 2)]);
        assert_eq!(roster.next_round(), None, "nothing changed");
        roster.mark();
        roster.mark();
        roster.add(SubscriptionId(2));
        assert_eq!(roster.next_round(), Some(start + limits::ROSTER_INTERVAL));
        assert_eq!(roster.round(start), []);
        let later = start + limits::ROSTER_INTERVAL;
        assert_eq!(
            roster.round(later),
            [(SubscriptionId(1), 3), (SubscriptionId(2), 1)]
        );
        roster.mark();
        roster.sent(limits::ROSTER_BYTES_PER_SECOND * 2, later);
        assert_eq!(
            roster.next_round(),
            Some(later + Duration::from_secs(2)),
            "a big round pays"
        );
        roster.remove(SubscriptionId(1));
        assert_eq!(roster.everybody(), [(SubscriptionId(2), 2)]);
        assert_eq!(roster.next_version(SubscriptionId(1)), None);
    }
}
