//! The server's side: challenges, nonces without state, and the judgement of answers.
//!
//! A nonce is its own expiry, a random part and a keyed hash over both, so that a flood of requests
//! without credentials costs no memory. Only a nonce with which somebody proved to know a password
//! enters the table of nonce counts, which is bounded: what falls out of it is remembered by one
//! watermark and answered with `stale=true`, never accepted again.

use super::algorithm::hex;
use super::{Algorithm, Ha1, ha1, response};
use crate::error::Fault;
use crate::headers::{Authorization, Challenge};
use crate::ids::IdSource;
use crate::limits::{MAX_TRACKED_NONCES, NONCE_COUNT_WINDOW};
use crate::message::Method;
use crate::uri::Uri;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// What a server asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Realm of the accounts.
    pub realm: String,
    /// Algorithms in order of preference; the first challenge is the first of these (RFC 8760
    /// §2.4). `MD5` among them lets `MD5-sess` in too.
    pub algorithms: Vec<Algorithm>,
    /// How long a nonce may be used.
    pub nonce_lifetime: Duration,
    /// Take MD5 answers of the form without qop, which very old phones send.
    pub allow_without_qop: bool,
}

impl Policy {
    /// SHA-256 only, or with MD5 behind it for old phones.
    pub fn new(realm: impl Into<String>, allow_md5: bool) -> Self {
        let mut algorithms = vec![Algorithm::Sha256];
        if allow_md5 {
            algorithms.push(Algorithm::Md5);
        }
        Self {
            realm: realm.into(),
            algorithms,
            nonce_lifetime: Duration::from_secs(300),
            allow_without_qop: allow_md5,
        }
    }
}

/// Why credentials were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// They are for another realm.
    #[error("credentials are for another realm")]
    Realm,
    /// The algorithm is not among those offered.
    #[error("algorithm is not allowed")]
    Algorithm,
    /// `qop` is missing, or another than `auth`.
    #[error("quality of protection is not allowed")]
    Qop,
    /// They were made for another resource.
    #[error("credentials are for another URI")]
    Uri,
    /// User or password is wrong.
    #[error("user or password is wrong")]
    Password,
    /// Right, but the nonce has expired or is not ours any more: challenge with `stale=true`.
    #[error("nonce is stale")]
    Stale,
    /// Right, but this use of the nonce was seen before: challenge with `stale=true`.
    #[error("nonce count was used before")]
    Replayed,
}

impl Refusal {
    /// Whether the password was right, so that the new challenge says `stale=true` and the
    /// client asks nobody for a password.
    pub fn is_stale(self) -> bool {
        matches!(self, Self::Stale | Self::Replayed)
    }

    /// Always the peer's.
    pub fn fault(self) -> Fault {
        Fault::Peer
    }
}

/// Makes challenges and judges answers for one realm.
pub struct Verifier {
    policy: Policy,
    secret: [u8; 32],
    ids: IdSource,
    epoch: Instant,
    /// Uses by nonce, the first to expire in front.
    uses: BTreeMap<NonceKey, Uses>,
    /// Nonces that expire up to here and are not in the table have been forgotten.
    forgotten: u64,
    /// Stands in for the secret of an unknown user.
    decoy: String,
}

/// Expiry in milliseconds since the epoch, and the random part.
type NonceKey = (u64, u64);

/// Nonce counts seen: the highest, and those just below it as bits.
#[derive(Debug, Clone, Copy)]
struct Uses {
    highest: u32,
    below: u64,
}

impl Verifier {
    /// A verifier with a seed from the operating system; `now` is the zero of its clock.
    pub fn new(policy: Policy, seed: [u8; 32], now: Instant) -> Self {
        let mut ids = IdSource::new(seed);
        let secret = ids.seed();
        let decoy = ids.cnonce();
        Self {
            policy,
            secret,
            ids,
            epoch: now,
            uses: BTreeMap::new(),
            forgotten: 0,
            decoy,
        }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Challenges for a 401 or 407, in order of preference, one header each.
    pub fn challenges(&mut self, stale: bool, now: Instant) -> Vec<Challenge> {
        let nonce = self.nonce(now);
        let challenge = |algorithm: &Algorithm| Challenge {
            realm: self.policy.realm.clone(),
            nonce: nonce.clone(),
            opaque: None,
            stale,
            algorithm: *algorithm,
            qop: vec!["auth".to_owned()],
        };
        self.policy.algorithms.iter().map(challenge).collect()
    }

    /// Judges credentials against the account's secret for their algorithm
    /// ([`Algorithm::stored`]). `None` where there is no such account: the work is done all the
    /// same, so that the time does not tell.
    pub fn verify(
        &mut self,
        auth: &Authorization,
        secret: Option<&Ha1>,
        method: &Method,
        uri: &Uri,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.admissible(auth, uri)?;
        let decoy = ha1(auth.algorithm, &auth.username, &auth.realm, &self.decoy);
        let fits = secret.filter(|secret| secret.algorithm() == auth.algorithm.stored());
        let expected = response(auth, fits.unwrap_or(&decoy), method);
        let given = auth.response.to_ascii_lowercase();
        let same = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
        if !same || fits.is_none() {
            return Err(Refusal::Password);
        }
        // Only now does the nonce count: who does not know the password learns nothing about it.
        let now = self.millis(now);
        let key = self
            .open(&auth.nonce)
            .filter(|(expiry, _)| *expiry > now)
            .ok_or(Refusal::Stale)?;
        self.count(key, auth.nc, now)
    }

    /// Nonces in the table.
    pub fn tracked_nonces(&self) -> usize {
        self.uses.len()
    }

    fn admissible(&self, auth: &Authorization, uri: &Uri) -> Result<(), Refusal> {
        if auth.realm != self.policy.realm {
            return Err(Refusal::Realm);
        }
        if !self.policy.algorithms.contains(&auth.algorithm.stored()) {
            return Err(Refusal::Algorithm);
        }
        match auth.qop.as_deref() {
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {}
            None if self.policy.allow_without_qop && auth.algorithm == Algorithm::Md5 => {}
            _ => return Err(Refusal::Qop),
        }
        // RFC 7616 §3.4.6: the same resource. Ports and parameters differ between what phones
        // hash and what they send, so user and host must agree, no more.
        let hashed: Uri = auth.uri.parse().map_err(|_| Refusal::Uri)?;
        let bare = |uri: &Uri| Uri {
            port: None,
            ..uri.address_of_record()
        };
        if bare(&hashed).equivalent(&bare(uri)) {
            Ok(())
        } else {
            Err(Refusal::Uri)
        }
    }

    fn nonce(&mut self, now: Instant) -> String {
        let expiry = self.millis(now + self.policy.nonce_lifetime);
        let random = self.ids.below(u64::MAX);
        format!("{expiry:016x}{random:016x}{}", self.seal((expiry, random)))
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

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Credentials, authorize};
    use super::*;
    use proptest::prelude::*;

    const METHOD: Method = Method::Register;

    struct Fixture {
        verifier: Verifier,
        start: Instant,
        uri: Uri,
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn fixture(allow_md5: bool) -> Fixture {
        let start = Instant::now();
        Fixture {
            verifier: Verifier::new(Policy::new("meet", allow_md5), [3; 32], start),
            start,
            uri: "sip:meet.example".parse().unwrap(),
        }
    }

    fn credentials() -> Credentials {
        Credentials {
            realm: None,
            user: "ann".into(),
            password: "s3cret".into(),
        }
    }

    impl Fixture {
        fn answer(&self, challenge: &Challenge, nc: u32) -> Authorization {
            authorize(challenge, &credentials(), &METHOD, &self.uri, "cn", nc)
        }

        fn judge(&mut self, auth: &Authorization, now: Instant) -> Result<(), Refusal> {
            let secret = ha1(auth.algorithm, "ann", "meet", "s3cret");
            let uri = self.uri.clone();
            self.verifier.verify(auth, Some(&secret), &METHOD, &uri, now)
        }
    }

    #[test]
    fn right_answers_pass_once_per_count() {
        let mut f = fixture(true);
        let now = f.start;
        let challenges = f.verifier.challenges(false, now);
        let algorithms: Vec<_> = challenges.iter().map(|c| c.algorithm).collect();
        assert_eq!(algorithms, [Algorithm::Sha256, Algorithm::Md5]);
        for (n, challenge) in (1..).zip(&challenges) {
            let wire: Challenge = challenge.to_string().parse().unwrap();
            let auth: Authorization = f.answer(&wire, n).to_string().parse().unwrap();
            assert_eq!(f.judge(&auth, now), Ok(()));
            assert_eq!(f.judge(&auth, now), Err(Refusal::Replayed));
        }
        let later = f.answer(&challenges[0], 7);
        let overtaken = f.answer(&challenges[0], 5);
        assert_eq!(f.judge(&later, now), Ok(()));
        assert_eq!(f.judge(&overtaken, now), Ok(()));
        assert_eq!(f.judge(&overtaken, now), Err(Refusal::Replayed));
    }

    #[test]
    fn wrong_answers_say_why() {
        let mut f = fixture(false);
        let now = f.start;
        let challenge = f.verifier.challenges(false, now).remove(0);
        let good = f.answer(&challenge, 1);
        let secret = ha1(Algorithm::Sha256, "ann", "meet", "s3cret");
        let uri = f.uri.clone();
        let mut judge = |auth: &Authorization, secret: Option<&Ha1>, method: &Method, uri: &Uri| {
            f.verifier.verify(auth, secret, method, uri, now)
        };
        assert_eq!(judge(&good, None, &METHOD, &uri), Err(Refusal::Password));
        let other = ha1(Algorithm::Sha256, "ann", "meet", "guess");
        assert_eq!(judge(&good, Some(&other), &METHOD, &uri), Err(Refusal::Password));
        let md5 = ha1(Algorithm::Md5, "ann", "meet", "s3cret");
        assert_eq!(judge(&good, Some(&md5), &METHOD, &uri), Err(Refusal::Password));
        assert_eq!(
            judge(&good, Some(&secret), &Method::Invite, &uri),
            Err(Refusal::Password)
        );
        let elsewhere = "sip:other.example".parse().unwrap();
        assert_eq!(
            judge(&good, Some(&secret), &METHOD, &elsewhere),
            Err(Refusal::Uri)
        );
        let altered = |change: fn(&mut Authorization)| {
            let mut auth = good.clone();
            change(&mut auth);
            auth
        };
        let realm = altered(|auth| auth.realm = "x".into());
        assert_eq!(judge(&realm, Some(&secret), &METHOD, &uri), Err(Refusal::Realm));
        let algorithm = altered(|auth| auth.algorithm = Algorithm::Md5);
        assert_eq!(
            judge(&algorithm, Some(&secret), &METHOD, &uri),
            Err(Refusal::Algorithm)
        );
        let qop = altered(|auth| auth.qop = None);
        assert_eq!(judge(&qop, Some(&secret), &METHOD, &uri), Err(Refusal::Qop));
        let short = altered(|auth| auth.response.truncate(5));
        assert_eq!(
            judge(&short, Some(&secret), &METHOD, &uri),
            Err(Refusal::Password)
        );
        // After all of that the nonce is still unused.
        assert_eq!(judge(&good, Some(&secret), &METHOD, &uri), Ok(()));
    }

    #[test]
    fn old_and_foreign_nonces_are_stale_only_for_who_knows_the_password() {
        let mut f = fixture(false);
        let challenge = f.verifier.challenges(false, f.start).remove(0);
        let end = f.start + f.verifier.policy().nonce_lifetime;
        let auth = f.answer(&challenge, 1);
        assert_eq!(f.judge(&auth, end), Err(Refusal::Stale));
        assert_eq!(f.judge(&auth, end - Duration::from_millis(1)), Ok(()));
        let now = f.start;
        for nonce in [
            "",
            "x",
            &challenge.nonce.replace(|c: char| c.is_ascii_digit(), "a"),
            &"é".repeat(32),
        ] {
            let forged = Challenge {
                nonce: nonce.to_owned(),
                ..challenge.clone()
            };
            let auth = f.answer(&forged, 1);
            assert_eq!(f.judge(&auth, now), Err(Refusal::Stale), "{nonce}");
            let wrong = Authorization {
                response: "0".repeat(64),
                ..auth
            };
            assert_eq!(f.judge(&wrong, now), Err(Refusal::Password), "{nonce}");
        }
    }

    #[test]
    fn the_old_form_is_taken_once_where_allowed() {
        let mut f = fixture(true);
        let now = f.start;
        let mut challenge = f.verifier.challenges(false, now).remove(1);
        challenge.qop.clear();
        let auth = f.answer(&challenge, 1);
        assert_eq!((&auth.qop, &auth.cnonce), (&None, &None));
        assert_eq!(f.judge(&auth, now), Ok(()));
        assert_eq!(f.judge(&auth, now), Err(Refusal::Replayed));
        f.verifier.policy.allow_without_qop = false;
        assert_eq!(f.judge(&auth, now), Err(Refusal::Qop));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_towards_stale() {
        let mut f = fixture(false);
        let now = f.start;
        let first = f.verifier.challenges(false, now).remove(0);
        let auth = f.answer(&first, 1);
        assert_eq!(f.judge(&auth, now), Ok(()));
        for n in 0..u64::try_from(MAX_TRACKED_NONCES).unwrap() {
            assert_eq!(f.verifier.count((10_000_000 + n, n), Some(1), 0), Ok(()));
        }
        assert_eq!(f.verifier.tracked_nonces(), MAX_TRACKED_NONCES);
        assert_eq!(f.judge(&auth, now), Err(Refusal::Stale));
        f.verifier.make_room(u64::MAX);
        assert_eq!(f.verifier.tracked_nonces(), 0);
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
