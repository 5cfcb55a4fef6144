//! Calls that were answered and not yet acknowledged, where nobody had to prove who they are.
//!
//! An INVITE under a false address costs us a leg with its media until the ACK is given up (32 s). So only so many may
//! stand open at a time, from one source and in all; more are told to come back. An ACK repeats the tag of our answer
//! and with it proves the address, so a call that is up does not count. Deliberately absent: calls of accounts, whose
//! digest proved the address before anything was made.

use std::collections::HashMap;
use std::net::IpAddr;

use sip_proto::endpoint::SessionId;

use super::limits::{MAX_HALF_OPEN, MAX_HALF_OPEN_PER_SOURCE};
use crate::shield::Source;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    calls: HashMap<SessionId, Source>,
    by_source: HashMap<Source, usize>,
}

impl HalfOpen {
    /// Whether another call from there may be answered. `living`: which calls there still are.
    pub(super) fn has_room(&mut self, from: IpAddr, living: impl Fn(SessionId) -> bool) -> bool {
        if self.is_full(from) {
            self.forget(living);
        }
        !self.is_full(from)
    }

    /// A call was taken in.
    pub(super) fn opened(&mut self, session: SessionId, from: IpAddr) {
        let source = Source::of(from);
        if self.calls.insert(session, source).is_none() {
            *self.by_source.entry(source).or_insert(0) += 1;
        }
    }

    /// A call was acknowledged, or is over.
    pub(super) fn settled(&mut self, session: SessionId) {
        let Some(source) = self.calls.remove(&session) else {
            return;
        };
        if let Some(count) = self.by_source.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }

    fn is_full(&self, from: IpAddr) -> bool {
        self.calls.len() >= MAX_HALF_OPEN
            || self.by_source.get(&Source::of(from)).copied().unwrap_or(0) >= MAX_HALF_OPEN_PER_SOURCE
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

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    #[test]
    fn one_source_and_all_are_bounded_and_the_settled_make_room() {
        let mut half = HalfOpen::default();
        let mut next = 0;
        let mut fill = |half: &mut HalfOpen, from: IpAddr| {
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
