//! Identifiers of RFC 3261 as types of their own, and the seeded source that makes new ones.
//!
//! Randomness is injected: the driver seeds an [`IdSource`] from the operating system, a test with
//! a constant. Absent: any meaning read into a peer's identifiers; they are opaque.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use std::fmt;

/// RFC 3261 §8.1.1.7: what every branch of a conforming element begins with.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it stands.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

identifier!(
    /// Call-ID, compared byte by byte (RFC 3261 §20.8).
    CallId
);
identifier!(
    /// Tag of a From or To header (RFC 3261 §19.3).
    Tag
);
identifier!(
    /// Branch of a Via header (RFC 3261 §8.1.1.7).
    Branch
);

impl Branch {
    /// Whether it identifies the transaction by itself: it begins with the magic cookie and
    /// something follows (RFC 4475 §3.2.1 has a branch of the bare cookie).
    pub fn is_rfc3261(&self) -> bool {
        let (cookie, rest) = self.0.split_at_checked(MAGIC_COOKIE.len()).unwrap_or(("", ""));
        cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && !rest.is_empty()
    }
}

/// Makes identifiers from a seed. 64 random bits for tags (RFC 3261 §19.3 asks for 32), 128 for
/// what must be unique in the world.
pub struct IdSource {
    rng: ChaCha12Rng,
}

impl IdSource {
    /// A source that gives the same sequence for the same seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            rng: ChaCha12Rng::from_seed(seed),
        }
    }

    /// A fresh tag.
    pub fn tag(&mut self) -> Tag {
        Tag(format!("{:016x}", self.rng.next_u64()))
    }

    /// A fresh branch with the magic cookie.
    pub fn branch(&mut self) -> Branch {
        Branch(format!(
            "{MAGIC_COOKIE}{:016x}{:08x}",
            self.rng.next_u64(),
            self.rng.next_u32()
        ))
    }

    /// A fresh Call-ID. It names no host: RFC 3261 §20.8 lets the host part go, and it would leak
    /// an address.
    pub fn call_id(&mut self) -> CallId {
        CallId(self.hex128())
    }

    /// A fresh client nonce for digest.
    pub fn cnonce(&mut self) -> String {
        self.hex128()
    }

    /// A first CSeq number: RFC 3261 §8.1.1.5 wants it below 2^31; small ones leave room.
    pub fn first_cseq(&mut self) -> u32 {
        1 + (self.rng.next_u32() & 0x0fff)
    }

    /// A number below `bound`, near enough to uniform for jitter and ports; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// 32 fresh bytes: the seed of another source or a secret.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }

    fn hex128(&mut self) -> String {
        format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64())
    }
}

impl fmt::Debug for IdSource {
    // The state of the generator predicts nonces and tags: it never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdSource")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_identifiers_and_all_distinct() {
        let (mut a, mut b) = (IdSource::new([7; 32]), IdSource::new([7; 32]));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let tag = a.tag();
            assert_eq!(tag, b.tag());
            assert!(seen.insert(tag.to_string()));
            assert!(seen.insert(a.branch().to_string()));
            b.branch();
        }
        assert_ne!(IdSource::new([8; 32]).call_id(), IdSource::new([7; 32]).call_id());
    }

    #[test]
    fn branch_needs_more_than_the_cookie() {
        assert!(IdSource::new([0; 32]).branch().is_rfc3261());
        assert!(!Branch::new("z9hG4bK").is_rfc3261());
        assert!(!Branch::new("390skdjuw").is_rfc3261());
        assert!(!Branch::new("é").is_rfc3261());
    }

    #[test]
    fn first_cseq_is_small_and_positive() {
        let mut ids = IdSource::new([1; 32]);
        for _ in 0..1000 {
            assert!((1..=4096).contains(&ids.first_cseq()));
        }
        assert_eq!(ids.below(0), 0);
        assert!(ids.below(5) < 5);
    }
}
