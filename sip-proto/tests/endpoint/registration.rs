//! A client's registration over its life.

use std::time::Duration;

use sip_proto::digest::Credentials;
use sip_proto::endpoint::{EndpointConfig, Event};
use sip_proto::headers::NameAddr;
use sip_proto::message::{HeaderName, Request};
use sip_proto::usage::register::{Registration, RegistrationEvent};

use crate::solo::Solo;

fn start() -> (Solo, Registration) {
    let credentials = vec![Credentials {
        realm: None,
        user: "us".to_owned(),
        password: "secret".to_owned(),
    }];
    let mut solo = Solo::with(EndpointConfig {
        credentials,
        ..EndpointConfig::default()
    });
    let mut registration = Registration::new(
        "sip:192.0.2.9".parse().unwrap(),
        NameAddr::new("sip:us@192.0.2.9".parse().unwrap()),
        "sip:us@192.0.2.1:5060".parse().unwrap(),
        solo.flow,
        600,
        [3; 32],
    );
    registration.start(&mut solo.endpoint, solo.now).unwrap();
    solo.drain();
    (solo, registration)
}

fn tell(solo: &mut Solo, registration: &mut Registration) -> Option<RegistrationEvent> {
    let response = match solo.event() {
        Event::Response { tx, response } => {
            assert!(registration.owns(tx));
            Some(response)
        }
        Event::Timeout { tx } => {
            assert!(registration.owns(tx));
            None
        }
        other => panic!("{other:?}"),
    };
    let event = registration.on_response(response.as_ref(), &mut solo.endpoint, solo.now);
    solo.drain();
    event
}

fn seq(request: &Request) -> u32 {
    request.headers.cseq().unwrap().seq
}

#[test]
fn challenged_registered_refreshed_and_removed() {
    let (mut solo, mut registration) = start();
    let first = solo.request();
    assert_eq!(
        (
            first.headers.get(&HeaderName::Expires),
            first.uri.to_string().as_str()
        ),
        (Some("600"), "sip:192.0.2.9")
    );
    solo.answer(
        &first,
        "401 Unauthorized",
        "t",
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\n",
    );
    let second = solo.request();
    assert_eq!(seq(&second), seq(&first) + 1);
    solo.answer(
        &second,
        "200 OK",
        "t",
        "Contact: <sip:else@192.0.2.3>;expires=9, <sip:us@192.0.2.1:5060>;expires=300\n",
    );
    assert_eq!(
        tell(&mut solo, &mut registration),
        Some(RegistrationEvent::Registered { expires: 300 })
    );
    assert!(registration.is_registered(solo.now));
    let (at, _) = registration.poll_timeout().unwrap();
    assert_eq!(at - solo.now, Duration::from_secs(268));
    solo.run(268_000);
    registration.handle_timeout(&mut solo.endpoint, solo.now);
    solo.drain();
    let refresh = solo.request();
    assert_eq!(
        refresh.headers.get(&HeaderName::CallId),
        first.headers.get(&HeaderName::CallId)
    );
    assert_eq!(seq(&refresh), seq(&second) + 1);
    solo.answer(&refresh, "423 Interval Too Brief", "t", "Min-Expires: 1800\n");
    assert_eq!(tell(&mut solo, &mut registration), None);
    let longer = solo.request();
    assert_eq!(longer.headers.get(&HeaderName::Expires), Some("1800"));
    solo.answer(&longer, "200 OK", "t", "Expires: 1800\n");
    assert_eq!(
        tell(&mut solo, &mut registration),
        Some(RegistrationEvent::Registered { expires: 1800 })
    );
    registration.stop(&mut solo.endpoint, solo.now).unwrap();
    solo.drain();
    let last = solo.request();
    assert_eq!(last.headers.get(&HeaderName::Expires), Some("0"));
    solo.answer(&last, "200 OK", "t", "");
    assert_eq!(
        tell(&mut solo, &mut registration),
        Some(RegistrationEvent::Unregistered)
    );
    assert_eq!(registration.poll_timeout(), None);
    solo.finish();
}

#[test]
fn failures_wait_longer_each_time() {
    let (mut solo, mut registration) = start();
    for wait in [30, 60, 120] {
        solo.run(33_000);
        let Some(RegistrationEvent::Failed { status: None, retry }) = tell(&mut solo, &mut registration)
        else {
            panic!()
        };
        assert_eq!((retry - solo.now).as_secs(), wait);
        solo.run(wait * 1000);
        registration.handle_timeout(&mut solo.endpoint, solo.now);
        solo.sent.clear();
        solo.drain();
    }
    let next = solo.request();
    solo.answer(&next, "503 Service Unavailable", "t", "Retry-After: 7\n");
    let Some(RegistrationEvent::Failed { retry, .. }) = tell(&mut solo, &mut registration) else {
        panic!()
    };
    assert_eq!((retry - solo.now).as_secs(), 7);
    assert!(!registration.is_registered(solo.now));
    solo.finish();
}
