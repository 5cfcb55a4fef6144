//! Calls that were answered and not yet acknowledged, where nobody had to prove who they are.
//!
//! An INVITE under a false address costs us a leg with its media until the ACK is given up (32 s). So only so many may
//! stand open at a time, from one source and in all; more are told to come back. An ACK repeats the tag of our answer
//! and with it proves the address, so a call that is up does not count, and the same phone's next call does not either. Deliberately absent: calls of accounts, whose
//! digest proved the address before anything was made.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use sip_proto::endpoint::SessionId;

use super::limits::{MAX_HALF_OPEN, MAX_HALF_OPEN_PER_SOURCE, MAX_PROVED};
use crate::shield::Source;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    calls: HashMap<SessionId, SocketAddr>,
    by_source: HashMap<Source, usize>,
    /// Who acknowledged a call before.
    proved: HashSet<SocketAddr>,
}

impl HalfOpen {
    /// Whether another call from there may be answered. `living`: which calls there still are.
    pub(super) fn has_room(&mut self, from: SocketAddr, living: impl Fn(SessionId) -> bool) -> bool {
        if self.proved.contains(&from) {
            return true;
        }
        if self.is_full(from) {
            self.forget(living);
        }
        !self.is_full(from)
    }

    /// A call was taken in.
    pub(super) fn opened(&mut self, session: SessionId, from: SocketAddr) {
        if !self.proved.contains(&from) && self.calls.insert(session, from).is_none() {
            *self.by_source.entry(Source::of(from.ip())).or_insert(0) += 1;
        }
    }

    /// A call was acknowledged.
    pub(super) fn acknowledged(&mut self, session: SessionId) {
        let Some(from) = self.calls.get(&session).copied() else {
            return;
        };
        if self.proved.len() >= MAX_PROVED {
            self.proved.clear();
        }
        self.proved.insert(from);
        self.settled(session);
    }

    /// A call is over.
    pub(super) fn settled(&mut self, session: SessionId) {
        let Some(from) = self.calls.remove(&session) else {
            return;
        };
        let source = Source::of(from.ip());
        if let Some(count) = self.by_source.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }

    fn is_full(&self, from: SocketAddr) -> bool {
        self.calls.len() >= MAX_HALF_OPEN
            || self.by_source.get(&Source::of(from.ip())).copied().unwrap_or(0) >= MAX_HALF_OPEN_PER_SOURCE
    }

    /// Calls that were refused or ended on other ways leave no event.
    fn forget(&mut self, living: impl Fn(SessionId) -> bool) {
        let gone: Vec<SessionId> = self.calls.keys().copied().filter(|call| !living(*call)).collect();
        for call in gone {
            self.settled(call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4((0x0a00_0000 + n).into()), 5060)
    }

    #[test]
    fn who_acknowledged_a_call_does_not_count_again() {
        let mut half = HalfOpen::default();
        let count = u64::try_from(MAX_HALF_OPEN_PER_SOURCE).unwrap();
        for n in 0..count {
            half.opened(SessionId(n), ip(1));
        }
        let neighbour = SocketAddr::new(ip(1).ip(), 9);
        assert!(!half.has_room(ip(1), |_| true) && !half.has_room(neighbour, |_| true));
        half.acknowledged(SessionId(0));
        half.opened(SessionId(count), neighbour);
        assert!(half.has_room(ip(1), |_| true), "its next call is welcome");
        assert!(!half.has_room(neighbour, |_| true), "another port's is not");
        half.opened(SessionId(count + 1), ip(1));
        assert!(!half.calls.contains_key(&SessionId(count + 1)));
    }

    #[test]
    fn one_source_and_all_are_bounded_and_the_settled_make_room() {
        let mut half = HalfOpen::default();
        let mut next = 0;
        let mut fill = |half: &mut HalfOpen, from: SocketAddr| {
            let mut count = 0;
            while half.has_room(from, |_| true) {
                next += 1;
                half.opened(SessionId(next), from);
                count += 1;
            }
            count
        };
        assert_eq!(fill(&mut half, ip(1)), MAX_HALF_OPEN_PER_SOURCE);
        let mut others = 0;
        for n in 2..100 {
            others += fill(&mut half, ip(n));
        }
        assert_eq!(others, MAX_HALF_OPEN - MAX_HALF_OPEN_PER_SOURCE);
        half.settled(SessionId(1));
        half.settled(SessionId(1));
        assert!(half.has_room(ip(1), |_| true));
        assert_eq!(fill(&mut half, ip(1)), 1);
        assert!(
            half.has_room(ip(1), |call| call.0 > 10),
            "those that are gone make room"
        );
        assert!(fill(&mut half, ip(1)) > 0);
        assert!(half.has_room(ip(1), |_| false));
        assert!(half.calls.is_empty() && half.by_source.is_empty());
    }
}
