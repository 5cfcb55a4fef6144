//! Who proved to receive what is sent to an address and port, for how long, and who makes room for a newer one.
//!
//! A source may hold only so many places, so that one host with many ports, or one account behind many calls, does not
//! take them all: its own oldest proof makes room. When all places are taken the oldest proof of all does. Who loses a
//! place is a stranger again, nothing worse. Deliberately absent: what counts as a proof.

use super::Pass;
use super::bucket::Bucket;
use super::limits::{MAX_PROVEN, MAX_PROVEN_PER_SOURCE, PROOF, PROVEN_RATE};
use super::network::Source;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Instant;

/// Proofs in the order of their end: all last equally long, so the first is the oldest.
type Order = BTreeSet<(Instant, SocketAddr)>;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Proven {
    passes: HashMap<SocketAddr, Pass>,
    order: Order,
    by_source: HashMap<Source, Order>,
}

impl Proven {
    /// This address and port is the sender's; a bucket that it already has stays as it is.
    pub(super) fn add(&mut self, address: SocketAddr, now: Instant) {
        let known = self.remove(address);
        let source = Source::of(address.ip());
        let own = self.by_source.get(&source);
        let oldest = if own.is_some_and(|own| own.len() >= MAX_PROVEN_PER_SOURCE) {
            own.and_then(|own| own.first())
        } else if self.passes.len() >= MAX_PROVEN {
            self.order.first()
        } else {
            None
        };
        if let Some(oldest) = oldest.map(|(_, address)| *address) {
            self.remove(oldest);
        }
        let until = now + PROOF;
        let bucket = known.map_or_else(|| Bucket::full(PROVEN_RATE.1, now), |pass| pass.bucket);
        self.passes.insert(address, Pass { bucket, until });
        self.order.insert((until, address));
        self.by_source.entry(source).or_default().insert((until, address));
    }

    /// The allowance of this address and port, while its proof holds.
    pub(super) fn get_mut(&mut self, address: &SocketAddr, now: Instant) -> Option<&mut Pass> {
        self.passes.get_mut(address).filter(|pass| pass.until > now)
    }

    /// The proof is worth nothing any more.
    pub(super) fn remove(&mut self, address: SocketAddr) -> Option<Pass> {
        let pass = self.passes.remove(&address)?;
        let place = (pass.until, address);
        self.order.remove(&place);
        let source = Source::of(address.ip());
        if let Some(own) = self.by_source.get_mut(&source) {
            own.remove(&place);
            if own.is_empty() {
                self.by_source.remove(&source);
            }
        }
        Some(pass)
    }

    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((until, address)) = self.order.first().copied()
            && until <= now
        {
            self.remove(address);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.passes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn at(host: u32, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4((0x0a00_0000 + host).into()), port)
    }

    #[test]
    fn one_source_pushes_out_only_itself() {
        let start = Instant::now();
        let mut proven = Proven::default();
        proven.add(at(1, 5060), start);
        let mut now = start;
        for port in 1..=u16::MAX {
            now += Duration::from_millis(1);
            proven.add(at(2, port), now);
        }
        assert_eq!(proven.len(), MAX_PROVEN_PER_SOURCE + 1);
        assert!(proven.get_mut(&at(1, 5060), now).is_some(), "another's stays");
        assert!(proven.get_mut(&at(2, 1), now).is_none(), "its own oldest is gone");
        assert!(proven.get_mut(&at(2, u16::MAX), now).is_some());
    }

    #[test]
    fn when_all_places_are_taken_the_oldest_proof_makes_room() {
        let start = Instant::now();
        let mut proven = Proven::default();
        let tick = |n: usize| start + Duration::from_millis(u64::try_from(n).unwrap());
        let host = |n: usize| at(u32::try_from(n).unwrap(), 5060);
        for n in 0..MAX_PROVEN {
            proven.add(host(n), tick(n));
        }
        // Proved again: no longer the oldest.
        proven.add(host(0), tick(MAX_PROVEN));
        proven.add(host(MAX_PROVEN), tick(MAX_PROVEN + 1));
        let now = tick(MAX_PROVEN + 1);
        assert_eq!(proven.len(), MAX_PROVEN);
        assert!(proven.get_mut(&host(0), now).is_some());
        assert!(proven.get_mut(&host(1), now).is_none());
        assert!(proven.get_mut(&host(MAX_PROVEN), now).is_some());
        proven.expire(now + PROOF);
        assert_eq!(
            (proven.len(), proven.order.len(), proven.by_source.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_second_proof_refills_nothing() {
        let now = Instant::now();
        let mut proven = Proven::default();
        proven.add(at(1, 1), now);
        let spent = (0..1000)
            .filter(|_| {
                proven
                    .get_mut(&at(1, 1), now)
                    .is_some_and(|pass| pass.bucket.take(PROVEN_RATE, now))
            })
            .count();
        assert_eq!(spent, 500);
        proven.add(at(1, 1), now);
        let pass = proven.get_mut(&at(1, 1), now).unwrap();
        assert!(!pass.bucket.take(PROVEN_RATE, now));
    }
}
