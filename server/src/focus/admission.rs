//! Who may use the server: the source filter of `--lan`, or digest accounts (RFC 3261 §22).
//!
//! [`Gate`] judges a request in one or two steps: at once, or after the account was looked up.
//! Deliberately absent: the lookup itself (asynchronous, the focus keeps who waits) and what
//! an admitted person may do.

use std::net::IpAddr;
use std::time::Instant;

use sip_proto::digest::{Algorithm, NonceStanding, Policy, Refusal, Verifier};
use sip_proto::headers::Authorization;
use sip_proto::message::{HeaderName, Headers, Request, StatusCode};
use sip_proto::uri::Uri;

use super::answers::Rejection;
use super::policy;
use super::settings::{Admittance, FocusSettings};
use crate::registrar::Account;

/// Judges requests.
#[derive(Debug)]
pub struct Gate {
    admittance: Admittance,
    verifier: Verifier,
}

/// Who stands at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody proved anything, and nobody had to.
    Anyone,
    /// The digest proved this account.
    Account {
        /// User name.
        user: String,
        /// What others see, if the phone does not say.
        display: Option<String>,
    },
}

/// A judgement.
#[derive(Debug)]
pub enum Verdict {
    /// Come in.
    Pass(Caller),
    /// The account of these credentials is needed first.
    LookUp(Box<Authorization>),
    /// Stay out.
    Refuse(Rejection),
    /// User or password is wrong: stay out, and it is counted against the sender.
    Wrong(Rejection),
}

impl Gate {
    /// A gate with nonces of its own.
    pub fn new(settings: &FocusSettings, seed: [u8; 32], now: Instant) -> Self {
        let with_md5 = settings.algorithms.contains(&Algorithm::Md5);
        let policy = Policy {
            algorithms: settings.algorithms.clone(),
            ..Policy::new(settings.realm.clone(), with_md5)
        };
        Self {
            admittance: settings.admittance,
            verifier: Verifier::new(policy, seed, now),
        }
    }

    /// The first step. `open`: a request that needs no account.
    pub fn screen(&mut self, request: &Request, source: IpAddr, open: bool, now: Instant) -> Verdict {
        match self.admittance {
            Admittance::Lan if policy::is_local_source(source) => Verdict::Pass(Caller::Anyone),
            Admittance::Lan => {
                Verdict::Refuse(Rejection::new(StatusCode::FORBIDDEN).warn(399, "local network only"))
            }
            Admittance::Accounts if open => Verdict::Pass(Caller::Anyone),
            Admittance::Accounts => {
                // Credentials for other realms may stand beside ours (RFC 3261 §22.3).
                let realm = &self.verifier.policy().realm;
                let ours = request
                    .headers
                    .readable::<Authorization>(&HeaderName::Authorization)
                    .into_iter()
                    .find(|auth| auth.realm == *realm);
                let Some(auth) = ours else {
                    return Verdict::Refuse(self.challenge(source, false, now));
                };
                // Before the account is looked up: a flood of made-up credentials costs one hash each.
                match self.verifier.inspect(&auth, &mark(source), now) {
                    NonceStanding::Given | NonceStanding::GivenToAnother => Verdict::LookUp(Box::new(auth)),
                    NonceStanding::Expired | NonceStanding::Foreign => {
                        Verdict::Refuse(self.challenge(source, true, now))
                    }
                }
            }
        }
    }

    /// The second step: the account is known, or known not to be.
    pub fn judge(
        &mut self,
        request: &Request,
        auth: &Authorization,
        source: IpAddr,
        account: Option<&Account>,
        now: Instant,
    ) -> Verdict {
        let secret = account.and_then(|account| {
            account
                .secrets
                .iter()
                .find(|secret| secret.algorithm() == auth.algorithm.stored())
        });
        match (self.verifier.verify_request(auth, secret, request, now), account) {
            (Ok(()), Some(account)) => Verdict::Pass(Caller::Account {
                user: account.user.clone(),
                display: account.display.clone(),
            }),
            (Ok(()), None) | (Err(Refusal::Password), _) => {
                Verdict::Wrong(Rejection::new(StatusCode::FORBIDDEN))
            }
            (Err(Refusal::Uri), _) => Verdict::Refuse(
                Rejection::new(StatusCode::BAD_REQUEST).warn(399, "the digest is for another URI"),
            ),
            (Err(refusal), _) => Verdict::Refuse(self.challenge(source, refusal.is_stale(), now)),
        }
    }

    /// Whether these credentials prove that their sender receives what is sent to `source`: they carry a nonce
    /// that went there.
    pub fn proves_address(&self, auth: &Authorization, source: IpAddr, now: Instant) -> bool {
        self.verifier.inspect(auth, &mark(source), now) == NonceStanding::Given
    }

    /// The realm of the accounts.
    pub fn realm(&self) -> &str {
        &self.verifier.policy().realm
    }

    fn challenge(&mut self, source: IpAddr, stale: bool, now: Instant) -> Rejection {
        let mut headers = Headers::new();
        for challenge in self.verifier.challenges_to(&mark(source), stale, now) {
            headers.push(HeaderName::WwwAuthenticate, challenge);
        }
        Rejection {
            status: StatusCode::UNAUTHORIZED,
            headers,
        }
    }
}

/// What a nonce is marked with: the address without the port, which a NAT may change.
fn mark(source: IpAddr) -> Vec<u8> {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

impl Caller {
    /// Whether the caller may speak for this address: an account for its own only. Names differ by case (RFC 3261
    /// §19.1.4), here as in the store and the registrar: `Ann` and `ann` may be two accounts.
    pub fn may_be(&self, uri: &Uri) -> bool {
        match self {
            Self::Anyone => true,
            Self::Account { user, .. } => uri.user_decoded().is_some_and(|name| name == *user),
        }
    }

    /// The account.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Anyone => None,
            Self::Account { user, .. } => Some(user),
        }
    }

    /// What the account is called, if it says so.
    pub fn display(&self) -> Option<&str> {
        match self {
            Self::Anyone => None,
            Self::Account { display, .. } => display.as_deref(),
        }
    }
}
