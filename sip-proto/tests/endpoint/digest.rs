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
