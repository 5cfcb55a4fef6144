//! The server's side: challenges and the judgement of answers. Nonces are in `nonce.rs`.
//!
//! [`Verifier::inspect`] looks at the nonce alone, before anything dear is done for some credentials;
//! [`Verifier::verify`] checks the digest first, so that only right answers get a place in the nonces' table.

use super::nonce::NonceStore;
use super::{Algorithm, Ha1, ha1, response};
use crate::error::Fault;
use crate::headers::{Authorization, Challenge};
use crate::ids::IdSource;
use crate::message::{Method, Request};
use crate::uri::Uri;
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
    /// `qop` is missing, or another than `auth` and `auth-int`.
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

/// What a nonce is before the password is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceStanding {
    /// Ours, in time, and given to who presents it: the presenter receives what is sent to it.
    Given,
    /// Ours and in time, but given to another: a phone that moved, or somebody under a false address.
    GivenToAnother,
    /// Ours, and too old. RFC 7616 §3.3 lets the new challenge say `stale=true`.
    Expired,
    /// Not of this verifier: made up, or of an earlier run.
    Foreign,
}

/// Makes challenges and judges answers for one realm.
pub struct Verifier {
    policy: Policy,
    nonces: NonceStore,
    /// Stands in for the secret of an unknown user.
    decoy: String,
}

impl Verifier {
    /// A verifier with a seed from the operating system; `now` is the zero of its clock.
    pub fn new(policy: Policy, seed: [u8; 32], now: Instant) -> Self {
        let mut ids = IdSource::new(seed);
        let decoy = ids.cnonce();
        Self {
            policy,
            nonces: NonceStore::new(ids, now),
            decoy,
        }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Challenges for a 401 or 407, in order of preference, one header each.
    pub fn challenges(&mut self, stale: bool, now: Instant) -> Vec<Challenge> {
        self.challenges_to(&[], stale, now)
    }

    /// The same, with a nonce marked with whom it goes to, an address for instance: see [`Verifier::inspect`].
    pub fn challenges_to(&mut self, to: &[u8], stale: bool, now: Instant) -> Vec<Challenge> {
        let nonce = self.nonces.issue(to, self.policy.nonce_lifetime, now);
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

    /// What the nonce of some credentials is: cheap, so that made-up ones cost no look at the account. `from` is
    /// who presents it.
    pub fn inspect(&self, auth: &Authorization, from: &[u8], now: Instant) -> NonceStanding {
        self.nonces.inspect(&auth.nonce, from, now)
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
        self.judge(auth, secret, (method, uri, &[]), now)
    }

    /// As [`Verifier::verify`], for a whole request, whose body `auth-int` covers.
    pub fn verify_request(
        &mut self,
        auth: &Authorization,
        secret: Option<&Ha1>,
        request: &Request,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.judge(auth, secret, (&request.method, &request.uri, &request.body), now)
    }

    fn judge(
        &mut self,
        auth: &Authorization,
        secret: Option<&Ha1>,
        (method, uri, body): (&Method, &Uri, &[u8]),
        now: Instant,
    ) -> Result<(), Refusal> {
        self.admissible(auth, uri)?;
        let decoy = ha1(auth.algorithm, &auth.username, &auth.realm, &self.decoy);
        let fits = secret.filter(|secret| secret.algorithm() == auth.algorithm.stored());
        let expected = response(auth, fits.unwrap_or(&decoy), method, body);
        let given = auth.response.to_ascii_lowercase();
        let same = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
        if !same || fits.is_none() {
            return Err(Refusal::Password);
        }
        // Only now does the nonce count: who does not know the password learns nothing about it.
        self.nonces.redeem(&auth.nonce, auth.nc, now)
    }

    fn admissible(&self, auth: &Authorization, uri: &Uri) -> Result<(), Refusal> {
        if auth.realm != self.policy.realm {
            return Err(Refusal::Realm);
        }
        if !self.policy.algorithms.contains(&auth.algorithm.stored()) {
            return Err(Refusal::Algorithm);
        }
        match auth.qop.as_deref() {
            Some(qop) if qop.eq_ignore_ascii_case("auth") || qop.eq_ignore_ascii_case("auth-int") => {}
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
    fn a_nonce_tells_whom_it_was_given_to() {
        let f = &mut fixture(false);
        let now = f.start;
        let challenge = f.verifier.challenges_to(b"192.0.2.1", false, now).remove(0);
        let mut auth = f.answer(&challenge, 1);
        let look = |f: &Fixture, auth: &Authorization, from: &[u8], at| f.verifier.inspect(auth, from, at);
        assert_eq!(look(f, &auth, b"192.0.2.1", now), NonceStanding::Given);
        assert_eq!(look(f, &auth, b"192.0.2.2", now), NonceStanding::GivenToAnother);
        let late = now + Duration::from_secs(301);
        assert_eq!(look(f, &auth, b"192.0.2.1", late), NonceStanding::Expired);
        assert_eq!(f.judge(&auth, now), Ok(()), "a look costs nothing");
        auth.nonce.replace_range(30..32, "zz");
        assert_eq!(look(f, &auth, b"192.0.2.1", now), NonceStanding::Foreign);
        let other = Verifier::new(Policy::new("meet", false), [4; 32], now);
        let good = f.answer(&challenge, 2);
        assert_eq!(other.inspect(&good, b"192.0.2.1", now), NonceStanding::Foreign);
        let plain = f.verifier.challenges(false, now).remove(0);
        assert_eq!(look(f, &f.answer(&plain, 1), b"", now), NonceStanding::Given);
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
}
