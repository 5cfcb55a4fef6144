//! Digest headers: read or refused, printed and read again; a challenge can be answered; credentials that were not
//! made with the password are never taken.

use super::clock::starting_instant;
use sip_proto::digest::{Algorithm, Client, Credentials, Policy, Verifier, ha1};
use sip_proto::headers::{Authorization, Challenge};
use sip_proto::ids::IdSource;
use sip_proto::message::{HeaderName, Headers, Method};
use sip_proto::uri::Uri;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let now = starting_instant();
    let uri: Uri = "sip:meet.example".parse().expect("a URI");
    if let Ok(challenge) = text.parse::<Challenge>() {
        let printed = challenge.to_string();
        let again: Challenge = printed
            .parse()
            .unwrap_or_else(|error| panic!("{printed:?}: {error:?}"));
        assert_eq!(again.to_string(), printed);
        let mut headers = Headers::new();
        headers.push(HeaderName::WwwAuthenticate, &challenge);
        let mut client = Client::new(Credentials {
            user: "ann".to_owned(),
            password: "secret".to_owned(),
            realm: None,
        });
        if client.challenged(&headers, false) {
            let (_, answer) = client
                .answer(&Method::Register, &uri, &mut IdSource::new([1; 32]))
                .expect("a challenge was taken");
            let printed = answer.to_string();
            let again: Authorization = printed
                .parse()
                .unwrap_or_else(|error| panic!("{printed:?}: {error:?}"));
            assert_eq!(again.to_string(), printed);
        }
    }
    if let Ok(auth) = text.parse::<Authorization>() {
        let printed = auth.to_string();
        let again: Authorization = printed
            .parse()
            .unwrap_or_else(|error| panic!("{printed:?}: {error:?}"));
        assert_eq!(again.to_string(), printed);
        let mut verifier = Verifier::new(Policy::new("meet.example", true), [7; 32], now);
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let secret = ha1(algorithm, "ann", "meet.example", "another password");
            assert!(
                verifier
                    .verify(&auth, Some(&secret), &Method::Register, &uri, now)
                    .is_err()
            );
        }
        assert!(verifier.verify(&auth, None, &Method::Invite, &uri, now).is_err());
    }
}
