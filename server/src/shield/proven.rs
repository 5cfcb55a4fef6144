//! Who proved to receive what is sent to an address and port, for how long, and who makes room for a newer one.
//!
//! A source may hold only so many places, so that one host with many ports, or one account behind many calls, does not
//! take them all: its own oldest proof makes room. When all places are taken the oldest proof of all does. Who loses a
//! place is a stranger again, nothing worse. The same holds for an account at an address, with far fewer places: proven
//! ports outlast a ban of their address, and each is good for a guess. Deliberately absent: what counts as a proof.

use super::Pass;
use super::bucket::Bucket;
use super::limits::{MAX_PROVEN, MAX_PROVEN_PER_ACCOUNT, MAX_PROVEN_PER_SOURCE, PROOF, PROVEN_RATE};
use super::network::Source;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Instant;

/// Proofs in the order of their end: all last equally long, so the first is the oldest.
type Order = BTreeSet<(Instant, SocketAddr)>;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Proven {
    passes: HashMap<SocketAddr, Proof>,
    order: Order,
    by_source: HashMap<Source, Order>,
    by_account: HashMap<(Source, Account), Order>,
}

/// A keyed hash of an account's name.
pub(super) type Account = u64;

/// One of them.
#[derive(Debug, Clone, Copy)]
struct Proof {
    pass: Pass,
    account: Option<Account>,
}

impl Proven {
    /// This address and port is the sender's; a bucket that it already has stays as it is, and so does the account
    /// that proved it where this time none did.
    pub(super) fn add(&mut self, address: SocketAddr, account: Option<Account>, now: Instant) {
        let known = self.remove(address);
        let account = account.or_else(|| known.and_then(|proof| proof.account));
        let source = Source::of(address.ip());
        if let Some(oldest) = self.to_go(source, account) {
            self.remove(oldest);
        }
        let until = now + PROOF;
        let bucket = known.map_or_else(|| Bucket::full(PROVEN_RATE.1, now), |proof| proof.pass.bucket);
        let pass = Pass { bucket, until };
        self.passes.insert(address, Proof { pass, account });
        self.order.insert((until, address));
        self.by_source.entry(source).or_default().insert((until, address));
        if let Some(account) = account {
            let own = self.by_account.entry((source, account)).or_default();
            own.insert((until, address));
        }
    }

    /// Who makes room for one more.
    fn to_go(&self, source: Source, account: Option<Account>) -> Option<SocketAddr> {
        let own = account.and_then(|account| self.by_account.get(&(source, account)));
        let all = self.by_source.get(&source);
        let full = own
            .filter(|own| own.len() >= MAX_PROVEN_PER_ACCOUNT)
            .or_else(|| all.filter(|all| all.len() >= MAX_PROVEN_PER_SOURCE))
            .or_else(|| (self.passes.len() >= MAX_PROVEN).then_some(&self.order));
        full.and_then(|order| order.first()).map(|(_, address)| *address)
    }

    /// The allowance of this address and port, while its proof holds.
    pub(super) fn get_mut(&mut self, address: &SocketAddr, now: Instant) -> Option<&mut Pass> {
        self.passes
            .get_mut(address)
            .map(|proof| &mut proof.pass)
            .filter(|pass| pass.until > now)
    }

    /// The proof is worth nothing any more.
    pub(super) fn forget(&mut self, address: SocketAddr) {
        self.remove(address);
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

    fn remove(&mut self, address: SocketAddr) -> Option<Proof> {
        let proof = self.passes.remove(&address)?;
        let place = (proof.pass.until, address);
        self.order.remove(&place);
        let source = Source::of(address.ip());
        take_out(&mut self.by_source, source, &place);
        if let Some(account) = proof.account {
            take_out(&mut self.by_account, (source, account), &place);
        }
        Some(proof)
    }
}

fn take_out<K: Eq + Hash>(orders: &mut HashMap<K, Order>, key: K, place: &(Instant, SocketAddr)) {
    if let Some(own) = orders.get_mut(&key) {
        own.remove(place);
        if own.is_empty() {
            orders.remove(&key);
        }
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
        proven.add(at(1, 5060), None, start);
        let mut now = start;
        for port in 1..=u16::MAX {
            now += Duration::from_millis(1);
            proven.add(at(2, port), None, now);
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
            proven.add(host(n), None, tick(n));
        }
        // Proved again: no longer the oldest.
        proven.add(host(0), None, tick(MAX_PROVEN));
        proven.add(host(MAX_PROVEN), None, tick(MAX_PROVEN + 1));
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
        proven.add(at(1, 1), None, now);
        let spent = (0..1000)
            .filter(|_| {
                proven
                    .get_mut(&at(1, 1), now)
                    .is_some_and(|pass| pass.bucket.take(PROVEN_RATE, now))
            })
            .count();
        assert_eq!(spent, 500);
        proven.add(at(1, 1), None, now);
        let pass = proven.get_mut(&at(1, 1), now).unwrap();
        assert!(!pass.bucket.take(PROVEN_RATE, now));
    }

    #[test]
    fn an_account_has_few_places_at_an_address_and_takes_none_of_others() {
        let start = Instant::now();
        let mut proven = Proven::default();
        proven.add(at(1, 5060), Some(7), start);
        let mut now = start;
        for port in 10_000..11_000 {
            now += Duration::from_millis(1);
            proven.add(at(1, port), Some(8), now);
            // Its ACK: proved again, by the same account.
            proven.add(at(1, port), None, now);
        }
        proven.add(at(2, 10_000), Some(8), now);
        assert_eq!(proven.len(), MAX_PROVEN_PER_ACCOUNT + 2);
        assert!(proven.get_mut(&at(1, 5060), now).is_some(), "another's stays");
        assert!(proven.get_mut(&at(1, 10_999), now).is_some());
        assert!(proven.get_mut(&at(1, 10_000), now).is_none());
        proven.expire(now + PROOF);
        assert_eq!((proven.len(), proven.by_account.len()), (0, 0));
    }
}
