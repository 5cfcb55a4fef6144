//! The client's side: choose a challenge, answer it, count the uses of its nonce.

use super::{Algorithm, ha1, response};
use crate::headers::{Authorization, Challenge};
use crate::ids::IdSource;
use crate::message::{HeaderName, Headers, Method, Request};
use crate::uri::Uri;
use std::fmt;

/// User name and password for a realm, or for any.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Realm that they are for; `None` answers any challenge, which suits one account on one
    /// server and nothing else.
    pub realm: Option<String>,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl Credentials {
    /// Whether they are for the realm.
    pub fn fits(&self, realm: &str) -> bool {
        self.realm.as_deref().is_none_or(|own| own == realm)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, secret)", self.user)
    }
}

/// The strongest challenge of each realm that we can answer, of those in a 401 or 407 (RFC 8760 §2.4 gives the
/// server's order of preference; a man in the middle can reorder, so strength decides here). There are several realms
/// where a request was forked (RFC 3261 §22.3).
pub fn strongest(headers: &Headers, name: &HeaderName) -> Vec<Challenge> {
    let answerable = |challenge: &Challenge| challenge.qop.is_empty() || quality(challenge).is_some();
    let mut chosen: Vec<Challenge> = Vec::new();
    for challenge in headers.readable::<Challenge>(name).into_iter().filter(answerable) {
        match chosen.iter_mut().find(|known| known.realm == challenge.realm) {
            Some(known) if strength(challenge.algorithm) > strength(known.algorithm) => *known = challenge,
            Some(_) => {}
            None => chosen.push(challenge),
        }
    }
    chosen
}

fn strength(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Md5 | Algorithm::Md5Sess => 0,
        Algorithm::Sha256 => 1,
        Algorithm::Sha512_256 => 2,
    }
}

/// The quality of protection that we choose: `auth` where it is offered, else `auth-int`.
fn quality(challenge: &Challenge) -> Option<&'static str> {
    let offers = |word: &str| challenge.qop.iter().any(|qop| qop.eq_ignore_ascii_case(word));
    ["auth", "auth-int"].into_iter().find(|word| offers(word))
}

/// Answers a challenge to a request with a body, which `auth-int` covers. `nc` counts as in [`authorize`].
pub fn authorize_body(
    challenge: &Challenge,
    credentials: &Credentials,
    request: &Request,
    cnonce: &str,
    nc: u32,
) -> Authorization {
    answer(
        challenge,
        credentials,
        (&request.method, &request.uri, &request.body),
        cnonce,
        nc,
    )
}

/// Answers a challenge to a request without a body. `nc` counts the requests sent with this nonce, from 1 on.
pub fn authorize(
    challenge: &Challenge,
    credentials: &Credentials,
    method: &Method,
    uri: &Uri,
    cnonce: &str,
    nc: u32,
) -> Authorization {
    answer(challenge, credentials, (method, uri, &[]), cnonce, nc)
}

fn answer(
    challenge: &Challenge,
    credentials: &Credentials,
    (method, uri, body): (&Method, &Uri, &[u8]),
    cnonce: &str,
    nc: u32,
) -> Authorization {
    let qop = quality(challenge);
    let with_qop = qop.is_some();
    let with_cnonce = with_qop || challenge.algorithm == Algorithm::Md5Sess;
    let mut auth = Authorization {
        username: credentials.user.clone(),
        realm: challenge.realm.clone(),
        nonce: challenge.nonce.clone(),
        uri: uri.to_string(),
        response: String::new(),
        algorithm: challenge.algorithm,
        cnonce: with_cnonce.then(|| cnonce.to_owned()),
        opaque: challenge.opaque.clone(),
        qop: qop.map(str::to_owned),
        nc: with_qop.then_some(nc),
    };
    let secret = ha1(
        challenge.algorithm,
        &credentials.user,
        &challenge.realm,
        &credentials.password,
    );
    auth.response = response(&auth, &secret, method, body);
    auth
}

/// A client that remembers its challenge, so that later requests carry credentials at once
/// (RFC 3261 §22.1) with a nonce count that goes up.
#[derive(Debug)]
pub struct Client {
    credentials: Credentials,
    challenge: Option<(HeaderName, Challenge)>,
    used: u32,
}

impl Client {
    /// A client without a challenge yet.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            challenge: None,
            used: 0,
        }
    }

    /// Takes the challenge out of a 401 or 407. `false` when there is none that can be answered,
    /// or when it only repeats a refusal: the same realm, not stale, after credentials were sent.
    pub fn challenged(&mut self, headers: &Headers, sent_credentials: bool) -> bool {
        let names = [
            (HeaderName::WwwAuthenticate, HeaderName::Authorization),
            (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization),
        ];
        for (asked, answer) in names {
            let fits = |challenge: &Challenge| {
                self.credentials.fits(&challenge.realm) && (!sent_credentials || challenge.stale)
            };
            let Some(challenge) = strongest(headers, &asked).into_iter().find(fits) else {
                continue;
            };
            // RFC 7616 §3.4: no count comes twice, though the server gives the same nonce again.
            let known = self.challenge.as_ref();
            if known.is_none_or(|(_, known)| known.nonce != challenge.nonce) {
                self.used = 0;
            }
            self.challenge = Some((answer, challenge));
            return true;
        }
        false
    }

    /// Credentials for the next request, with the header that they go into; `None` before the
    /// first challenge.
    pub fn answer(
        &mut self,
        method: &Method,
        uri: &Uri,
        ids: &mut IdSource,
    ) -> Option<(HeaderName, Authorization)> {
        let (name, challenge) = self.challenge.as_ref()?;
        self.used += 1;
        let auth = authorize(
            challenge,
            &self.credentials,
            method,
            uri,
            &ids.cnonce(),
            self.used,
        );
        Some((name.clone(), auth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(algorithm: &str, stale: bool) -> String {
        format!(
            "Digest realm=\"r\", nonce=\"n-{algorithm}-{stale}\", stale={stale}, algorithm={algorithm}, qop=\"auth\""
        )
    }

    fn credentials() -> Credentials {
        Credentials {
            realm: Some("r".into()),
            user: "u".into(),
            password: "p".into(),
        }
    }

    #[test]
    fn the_strongest_known_challenge_is_answered() {
        let mut headers = Headers::new();
        for algorithm in ["MD5", "AKAv2-MD5", "SHA-512-256", "SHA-256"] {
            headers.push(HeaderName::WwwAuthenticate, challenge(algorithm, false));
        }
        headers.push(HeaderName::WwwAuthenticate, "Bearer realm=\"r\"");
        headers.push(
            HeaderName::WwwAuthenticate,
            challenge("MD5", false).replace("\"r\"", "\"other\""),
        );
        let chosen = strongest(&headers, &HeaderName::WwwAuthenticate);
        let found: Vec<_> = chosen
            .iter()
            .map(|one| (one.realm.as_str(), one.algorithm))
            .collect();
        assert_eq!(found, [("r", Algorithm::Sha512_256), ("other", Algorithm::Md5)]);
        assert!(strongest(&headers, &HeaderName::ProxyAuthenticate).is_empty());
    }

    #[test]
    fn counts_go_up_and_a_refusal_is_not_answered_twice() {
        let (mut client, mut ids) = (Client::new(credentials()), IdSource::new([1; 32]));
        let uri: Uri = "sip:r".parse().unwrap();
        assert!(client.answer(&Method::Register, &uri, &mut ids).is_none());
        let mut headers = Headers::new();
        headers.push(HeaderName::ProxyAuthenticate, challenge("SHA-256", false));
        assert!(client.challenged(&headers, false));
        for expected in 1..4 {
            let (name, auth) = client.answer(&Method::Register, &uri, &mut ids).unwrap();
            assert_eq!((name, auth.nc), (HeaderName::ProxyAuthorization, Some(expected)));
        }
        assert!(!client.challenged(&headers, true));
        headers.set(HeaderName::ProxyAuthenticate, challenge("SHA-256", true));
        assert!(client.challenged(&headers, true));
        assert_eq!(
            client.answer(&Method::Register, &uri, &mut ids).unwrap().1.nc,
            Some(1)
        );
        // The same nonce once more: its count goes on.
        assert!(client.challenged(&headers, true));
        assert_eq!(
            client.answer(&Method::Register, &uri, &mut ids).unwrap().1.nc,
            Some(2)
        );
    }

    #[test]
    fn a_foreign_realm_gets_nothing() {
        let mut client = Client::new(Credentials {
            realm: Some("other".into()),
            ..credentials()
        });
        let mut headers = Headers::new();
        headers.push(HeaderName::WwwAuthenticate, challenge("MD5", false));
        assert!(!client.challenged(&headers, false));
        assert!(!format!("{:?}", credentials()).contains("\"p\""));
    }
}
