//! Challenges: answered once, again when the nonce was stale, and never twice for nothing.

use sip_proto::digest::Credentials;
use sip_proto::endpoint::{EndpointConfig, Event, Outgoing, SessionEvent, SessionId};
use sip_proto::headers::{Authorization, NameAddr};
use sip_proto::message::{HeaderName, Headers, Method, Request, StatusCode};

use crate::pair::sdp;
use crate::solo::Solo;

fn solo() -> Solo {
    let credentials = vec![Credentials {
        realm: None,
        user: "us".to_owned(),
        password: "secret".to_owned(),
    }];
    Solo::with(EndpointConfig {
        credentials,
        ..EndpointConfig::default()
    })
}

fn outgoing(solo: &Solo) -> Outgoing {
    let uri: sip_proto::uri::Uri = "sip:team@192.0.2.9:5070".parse().unwrap();
    Outgoing {
        target: uri.clone(),
        from: NameAddr::new("sip:us@192.0.2.1".parse().unwrap()),
        to: NameAddr::new(uri),
        contact: None,
        flow: solo.flow,
        route: Vec::new(),
        headers: Headers::new(),
        body: Some(sdp("offer")),
    }
}

fn invite(solo: &mut Solo) -> (SessionId, Request) {
    let call = outgoing(solo);
    let session = solo.endpoint.invite(call, solo.now).unwrap();
    solo.drain();
    let invite = solo.request();
    (session, invite)
}

fn challenge(nonce: &str, stale: bool) -> String {
    format!(
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\", algorithm=SHA-256, stale={stale}\n"
    )
}

fn nonce(request: &Request) -> String {
    request
        .headers
        .get(&HeaderName::Authorization)
        .unwrap()
        .parse::<Authorization>()
        .unwrap()
        .nonce
}

#[test]
fn an_invite_is_sent_again_with_credentials() {
    let mut solo = solo();
    let (session, first) = invite(&mut solo);
    solo.answer(&first, "401 Unauthorized", "t", &challenge("n1", false));
    assert_eq!(solo.request().method, Method::Ack);
    let second = solo.request();
    assert_eq!(nonce(&second), "n1");
    let seq = |request: &Request| request.headers.cseq().unwrap().seq;
    assert_eq!(seq(&second), seq(&first) + 1);
    for same in [HeaderName::CallId, HeaderName::From, HeaderName::To] {
        assert_eq!(second.headers.get(&same), first.headers.get(&same));
    }
    assert_ne!(
        second.headers.top_via().unwrap().branch(),
        first.headers.top_via().unwrap().branch()
    );
    solo.answer(&second, "401 Unauthorized", "t", &challenge("n2", true));
    solo.request();
    let third = solo.request();
    assert_eq!(nonce(&third), "n2");
    solo.answer(&third, "200 OK", "t", "Contact: <sip:x@192.0.2.9:5070>\n");
    let ack = solo.request();
    assert_eq!((ack.method.clone(), seq(&ack)), (Method::Ack, seq(&third)));
    assert!(matches!(
        solo.event(),
        Event::Session {
            event: SessionEvent::Answered { .. },
            ..
        }
    ));
    // Within the dialog the numbers go on.
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = solo.request();
    solo.answer(
        &bye,
        "407 Proxy Authentication Required",
        "",
        &challenge("n3", false).replace("WWW", "Proxy"),
    );
    let again = solo.request();
    assert!(again.headers.contains(&HeaderName::ProxyAuthorization));
    assert_eq!((seq(&bye), seq(&again)), (seq(&third) + 1, seq(&third) + 2));
    solo.answer(&again, "200 OK", "", "");
    solo.finish();
}

#[test]
fn a_refused_password_is_not_sent_twice() {
    let mut solo = solo();
    let (_, first) = invite(&mut solo);
    solo.answer(&first, "401 Unauthorized", "t", &challenge("n1", false));
    solo.request();
    let second = solo.request();
    solo.answer(&second, "401 Unauthorized", "t", &challenge("n2", false));
    assert_eq!(solo.request().method, Method::Ack);
    solo.silent();
    let Event::Session {
        event: SessionEvent::Failed {
            response: Some(response),
        },
        ..
    } = solo.event()
    else {
        panic!()
    };
    assert_eq!(response.status, StatusCode::UNAUTHORIZED);
    solo.finish();
}

#[test]
fn without_credentials_the_application_hears_the_challenge() {
    let mut solo = Solo::new();
    let request = outgoing(&solo);
    let tx = solo.endpoint.request(Method::Message, request, solo.now).unwrap();
    solo.drain();
    let message = solo.request();
    solo.answer(&message, "401 Unauthorized", "t", &challenge("n1", false));
    solo.silent();
    let Event::Response { tx: seen, response } = solo.event() else {
        panic!()
    };
    assert_eq!((seen, response.status), (tx, StatusCode::UNAUTHORIZED));
    solo.finish();
}

#[test]
fn a_call_cancelled_before_the_challenge_is_not_made_again() {
    let mut solo = solo();
    let (session, first) = invite(&mut solo);
    solo.endpoint.cancel(session, solo.now).unwrap();
    solo.answer(&first, "401 Unauthorized", "t", &challenge("n1", false));
    assert_eq!(solo.request().method, Method::Ack);
    solo.silent();
    assert!(matches!(
        solo.event(),
        Event::Session {
            event: SessionEvent::Failed { .. },
            ..
        }
    ));
    solo.finish();
}

#[test]
fn later_requests_of_a_challenged_call_carry_credentials_at_once() {
    let mut solo = solo();
    let (session, first) = invite(&mut solo);
    solo.answer(&first, "401 Unauthorized", "t", &challenge("n1", false));
    solo.request();
    let second = solo.request();
    let lines = "Contact: <sip:x@192.0.2.9:5070>\nAllow: UPDATE\n";
    solo.answer(&second, "200 OK", "t", lines);
    let ack = solo.request();
    // §22.1: the ACK to a 2xx repeats what its INVITE carried.
    assert_eq!(
        ack.headers.get(&HeaderName::Authorization),
        second.headers.get(&HeaderName::Authorization)
    );
    let auth = |request: &Request| -> Authorization {
        request
            .headers
            .get(&HeaderName::Authorization)
            .unwrap()
            .parse()
            .unwrap()
    };
    for nc in 2..5 {
        solo.endpoint.update(session, sdp("more"), solo.now).unwrap();
        solo.drain();
        let update = solo.request();
        assert_eq!((auth(&update).nonce.as_str(), auth(&update).nc), ("n1", Some(nc)));
        solo.answer(&update, "200 OK", "", lines);
    }
    // The nonce is over; the server does not say so, and is answered all the same, once.
    solo.endpoint.update(session, sdp("more"), solo.now).unwrap();
    solo.drain();
    let update = solo.request();
    solo.answer(&update, "401 Unauthorized", "", &challenge("n2", false));
    let again = solo.request();
    assert_eq!((auth(&again).nonce.as_str(), auth(&again).nc), ("n2", Some(1)));
    solo.answer(&again, "401 Unauthorized", "", &challenge("n3", false));
    solo.silent();
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = solo.request();
    assert_eq!((auth(&bye).nonce.as_str(), auth(&bye).nc), ("n2", Some(2)));
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}

/// A request's credentials in one header: realm, nonce and count of each.
fn counts(request: &Request, name: &HeaderName) -> Vec<(String, String, u32)> {
    let all = request.headers.readable::<Authorization>(name);
    all.into_iter()
        .map(|auth| (auth.realm, auth.nonce, auth.nc.unwrap()))
        .collect()
}

fn count(realm: &str, nonce: &str, nc: u32) -> (String, String, u32) {
    (realm.to_owned(), nonce.to_owned(), nc)
}

/// RFC 3261 §22.3: a forking proxy hands back the challenges of several realms at once.
#[test]
fn every_realm_of_one_challenge_gets_its_credentials() {
    let mut solo = solo();
    let (_, first) = invite(&mut solo);
    let of = |realm: &str, nonce: &str| {
        challenge(nonce, false)
            .replace("WWW", "Proxy")
            .replace("\"r\"", &format!("\"{realm}\""))
    };
    let both = format!(
        "{}{}{}",
        of("east", "e1"),
        of("west", "w1"),
        challenge("n1", false)
    );
    solo.answer(&first, "407 Proxy Authentication Required", "t", &both);
    solo.request();
    let second = solo.request();
    assert_eq!(
        counts(&second, &HeaderName::ProxyAuthorization),
        [count("east", "e1", 1), count("west", "w1", 1)]
    );
    assert_eq!(counts(&second, &HeaderName::Authorization), [count("r", "n1", 1)]);
    // One more proxy on the way: what was granted stays, under a new count each.
    solo.answer(
        &second,
        "407 Proxy Authentication Required",
        "t",
        &of("south", "s1"),
    );
    solo.request();
    let third = solo.request();
    assert_eq!(
        counts(&third, &HeaderName::ProxyAuthorization),
        [
            count("east", "e1", 2),
            count("west", "w1", 2),
            count("south", "s1", 1)
        ]
    );
    assert_eq!(counts(&third, &HeaderName::Authorization), [count("r", "n1", 2)]);
    solo.answer(&third, "486 Busy Here", "t", "");
    solo.request();
    solo.finish();
}

/// A branch of a fork that answers too, behind a proxy that wants to know who ends it.
#[test]
fn a_surplus_branch_is_released_with_credentials() {
    let mut solo = solo();
    let (session, first) = invite(&mut solo);
    solo.answer(&first, "401 Unauthorized", "t", &challenge("n1", false));
    solo.request();
    let second = solo.request();
    let contact = "Contact: <sip:x@192.0.2.9:5070>\n";
    for tag in ["one", "two"] {
        solo.answer(&second, "200 OK", tag, contact);
        let ack = solo.request();
        assert_eq!(ack.method, Method::Ack);
        assert_eq!(
            ack.headers.get(&HeaderName::Authorization),
            second.headers.get(&HeaderName::Authorization),
            "{tag}"
        );
    }
    let bye = solo.request();
    assert_eq!(counts(&bye, &HeaderName::Authorization), [count("r", "n1", 2)]);
    solo.answer(&bye, "401 Unauthorized", "", &challenge("n2", true));
    let again = solo.request();
    let seq = |request: &Request| request.headers.cseq().unwrap().seq;
    assert_eq!((&again.method, seq(&again)), (&Method::Bye, seq(&bye) + 1));
    assert_eq!(counts(&again, &HeaderName::Authorization), [count("r", "n2", 1)]);
    solo.answer(&again, "200 OK", "", "");
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = solo.request();
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}

/// RFC 7616 §3.4: a count that comes twice with a nonce is a replay.
#[test]
fn no_count_comes_twice_with_a_nonce() {
    let mut solo = Solo::with(EndpointConfig {
        session_expires: Some(100),
        ..solo().endpoint.config().clone()
    });
    // The same nonce for two calls.
    let (_, one) = invite(&mut solo);
    let (_, two) = invite(&mut solo);
    for (call, nc) in [(&one, 1), (&two, 3)] {
        solo.answer(call, "401 Unauthorized", "t", &challenge("n1", false));
        solo.request();
        let again = solo.request();
        assert_eq!(counts(&again, &HeaderName::Authorization), [count("r", "n1", nc)]);
        // A longer session is wanted: the request goes out once more.
        solo.answer(&again, "422 Session Interval Too Small", "t", "Min-SE: 200\n");
        solo.request();
        let longer = solo.request();
        assert_eq!(longer.method, Method::Invite);
        assert_eq!(
            counts(&longer, &HeaderName::Authorization),
            [count("r", "n1", nc + 1)],
            "with {nc}"
        );
        solo.answer(&longer, "486 Busy Here", "t", "");
        solo.request();
    }
    solo.finish();
}

#[test]
fn auth_int_covers_the_body() {
    let mut solo = solo();
    let (_, first) = invite(&mut solo);
    let asked = challenge("n1", false).replace("qop=\"auth\"", "qop=\"auth-int\"");
    solo.answer(&first, "401 Unauthorized", "t", &asked);
    solo.request();
    let mut second = solo.request();
    let auth: Authorization = second
        .headers
        .get(&HeaderName::Authorization)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(auth.qop.as_deref(), Some("auth-int"));
    let policy = sip_proto::digest::Policy::new("r", false);
    let mut verifier = sip_proto::digest::Verifier::new(policy, [1; 32], solo.now);
    let secret = sip_proto::digest::ha1(auth.algorithm, "us", "r", "secret");
    // The digest is right, only the nonce is another's.
    assert_eq!(
        verifier.verify_request(&auth, Some(&secret), &second, solo.now),
        Err(sip_proto::digest::Refusal::Stale)
    );
    second.body.push(b'x');
    assert_eq!(
        verifier.verify_request(&auth, Some(&secret), &second, solo.now),
        Err(sip_proto::digest::Refusal::Password)
    );
    solo.answer(&second, "486 Busy Here", "t", "");
    solo.request();
    solo.finish();
}
