//! Nonces without state, and the counts of the used ones.
//!
//! A nonce is its own expiry, a random part and a keyed hash over both, so that a flood of requests
//! without credentials costs no memory. Only a nonce with which somebody proved to know a password
//! enters the table of nonce counts, which is bounded: what falls out of it is remembered by one
//! watermark and answered with `stale=true`, never accepted again.

use super::Refusal;
use super::algorithm::hex;
use super::server::NonceStanding;
use crate::ids::IdSource;
use crate::limits::{MAX_TRACKED_NONCES, NONCE_COUNT_WINDOW};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// Issues nonces and redeems them.
pub(super) struct NonceStore {
    secret: [u8; 32],
    ids: IdSource,
    epoch: Instant,
    /// Uses by nonce, the first to expire in front.
    uses: BTreeMap<NonceKey, Uses>,
    /// Nonces that expire up to here and are not in the table have been forgotten.
    forgotten: u64,
}

/// Expiry in milliseconds since the epoch, and the random part.
type NonceKey = (u64, u64);

/// Nonce counts seen: the highest, and those just below it as bits.
#[derive(Debug, Clone, Copy)]
struct Uses {
    highest: u32,
    below: u64,
}

impl NonceStore {
    /// A store whose clock begins at `epoch`.
    pub(super) fn new(mut ids: IdSource, epoch: Instant) -> Self {
        Self {
            secret: ids.seed(),
            ids,
            epoch,
            uses: BTreeMap::new(),
            forgotten: 0,
        }
    }

    /// A fresh nonce, marked with whom it is given to.
    pub(super) fn issue(&mut self, to: &[u8], lifetime: Duration, now: Instant) -> String {
        let expiry = self.millis(now + lifetime);
        let fresh = self.ids.below(u64::MAX);
        let random = (fresh << 32) | u64::from(self.mark((expiry, fresh << 32), to));
        format!("{expiry:016x}{random:016x}{}", self.seal((expiry, random)))
    }

    /// What a nonce is, without a look at any password.
    pub(super) fn inspect(&self, nonce: &str, from: &[u8], now: Instant) -> NonceStanding {
        match self.open(nonce) {
            Some((expiry, _)) if expiry <= self.millis(now) => NonceStanding::Expired,
            Some((expiry, random)) => {
                let given = u32::try_from(random & u64::from(u32::MAX)).unwrap_or_default();
                if given == self.mark((expiry, random & !u64::from(u32::MAX)), from) {
                    NonceStanding::Given
                } else {
                    NonceStanding::GivenToAnother
                }
            }
            None => NonceStanding::Foreign,
        }
    }

    /// Marks a use of a nonce that came with a right digest.
    pub(super) fn redeem(&mut self, nonce: &str, nc: Option<u32>, now: Instant) -> Result<(), Refusal> {
        let now = self.millis(now);
        let key = self
            .open(nonce)
            .filter(|(expiry, _)| *expiry > now)
            .ok_or(Refusal::Stale)?;
        self.count(key, nc, now)
    }

    /// Takes a nonce of ours apart; `None` for any other.
    fn open(&self, nonce: &str) -> Option<NonceKey> {
        let (expiry, rest) = nonce.split_at_checked(16)?;
        let (random, seal) = rest.split_at_checked(16)?;
        let key = (
            u64::from_str_radix(expiry, 16).ok()?,
            u64::from_str_radix(random, 16).ok()?,
        );
        bool::from(self.seal(key).as_bytes().ct_eq(seal.as_bytes())).then_some(key)
    }

    /// Keyed hash. The input has one length only and the output is cut, so a plain prefix key
    /// is enough.
    fn seal(&self, (expiry, random): NonceKey) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.secret);
        hasher.update(expiry.to_be_bytes());
        hasher.update(random.to_be_bytes());
        hex(hasher.finalize().get(..16).unwrap_or(&[]))
    }

    /// Keyed hash of whom a nonce is given to. Only its holder could have received it, so who presents it is
    /// proved to be reachable there.
    fn mark(&self, (expiry, fresh): NonceKey, to: &[u8]) -> u32 {
        let mut hasher = Sha256::new();
        hasher.update(self.secret);
        hasher.update(expiry.to_be_bytes());
        hasher.update(fresh.to_be_bytes());
        hasher.update(b"to");
        hasher.update(to);
        let digest = hasher.finalize();
        digest
            .iter()
            .take(4)
            .fold(0, |mark, byte| (mark << 8) | u32::from(*byte))
    }

    /// Marks a use of a nonce; an answer without count may use it once.
    fn count(&mut self, key: NonceKey, nc: Option<u32>, now: u64) -> Result<(), Refusal> {
        let nc = nc.unwrap_or(1);
        if let Some(uses) = self.uses.get_mut(&key) {
            return if uses.mark(nc) {
                Ok(())
            } else {
                Err(Refusal::Replayed)
            };
        }
        if key.0 <= self.forgotten {
            return Err(Refusal::Stale);
        }
        self.make_room(now);
        self.uses.insert(
            key,
            Uses {
                highest: nc,
                below: 0,
            },
        );
        Ok(())
    }

    fn make_room(&mut self, now: u64) {
        while let Some(oldest) = self.uses.first_entry() {
            let (expiry, _) = *oldest.key();
            if expiry > now {
                break;
            }
            oldest.remove();
        }
        while self.uses.len() >= MAX_TRACKED_NONCES {
            let Some(((expiry, _), _)) = self.uses.pop_first() else {
                return;
            };
            self.forgotten = self.forgotten.max(expiry);
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Uses {
    /// Marks a count; `false` if it was marked before or is too far below to tell.
    fn mark(&mut self, nc: u32) -> bool {
        if nc > self.highest {
            let ahead = nc - self.highest;
            let shifted = self.below.checked_shl(ahead).unwrap_or(0);
            let previous = 1u64.checked_shl(ahead - 1).unwrap_or(0);
            (self.highest, self.below) = (nc, shifted | previous);
            return true;
        }
        let behind = self.highest - nc;
        if behind == 0 || behind > NONCE_COUNT_WINDOW {
            return false;
        }
        let bit = 1u64.checked_shl(behind - 1).unwrap_or(0);
        let fresh = self.below & bit == 0;
        self.below |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn the_table_is_bounded_and_forgets_towards_stale() {
        let now = Instant::now();
        let mut store = NonceStore::new(IdSource::new([5; 32]), now);
        let nonce = store.issue(b"", Duration::from_secs(300), now);
        assert_eq!(store.redeem(&nonce, Some(1), now), Ok(()));
        assert_eq!(store.redeem(&nonce, Some(2), now), Ok(()));
        for n in 0..u64::try_from(MAX_TRACKED_NONCES).unwrap() {
            assert_eq!(store.count((10_000_000 + n, n), Some(1), 0), Ok(()));
        }
        assert_eq!(store.uses.len(), MAX_TRACKED_NONCES);
        assert_eq!(store.redeem(&nonce, Some(3), now), Err(Refusal::Stale));
        store.make_room(u64::MAX);
        assert!(store.uses.is_empty());
    }

    proptest! {
        /// Against a plain set: no count passes twice, and within the window every new one passes.
        #[test]
        fn counts_pass_once(counts in prop::collection::vec(1u32..200, 1..200)) {
            let mut seen = std::collections::HashSet::new();
            let mut uses = Uses { highest: counts[0], below: 0 };
            seen.insert(counts[0]);
            for nc in counts.into_iter().skip(1) {
                let near = nc > uses.highest || uses.highest - nc <= NONCE_COUNT_WINDOW;
                prop_assert_eq!(uses.mark(nc), near && !seen.contains(&nc));
                if near {
                    seen.insert(nc);
                }
            }
        }
    }
}
