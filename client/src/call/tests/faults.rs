//! Things that cross each other, and refusals that say what to do.

use super::*;

/// The server of [`Pair`] sends the call on; gives what the phone told then.
fn sent_on(pair: &mut Pair, contact: &str) {
    let (session, _) = pair.invite();
    let mut headers = Headers::new();
    headers.push(HeaderName::Contact, contact);
    pair.server
        .reject(session, StatusCode::MOVED_TEMPORARILY, headers, pair.now)
        .unwrap();
}

#[test]
fn a_redirection_that_crosses_a_hang_up_is_not_followed() {
    let mut pair = Pair::guest();
    pair.phone.dial(&uri("sip:bob@192.0.2.7"), pair.now).unwrap();
    let (session, _) = pair.invite();
    // It rings, so that a CANCEL may be sent at once; and the CANCEL is lost.
    pair.server
        .ring(session, StatusCode::RINGING, None, Headers::new(), pair.now)
        .unwrap();
    pair.settle();
    pair.deaf = true;
    pair.phone.hang_up(pair.now);
    pair.settle();
    assert!(pair.wire.iter().any(|message| message.starts_with("CANCEL ")));
    let mut headers = Headers::new();
    headers.push(HeaderName::Contact, "<sip:robert@192.0.2.7>");
    pair.server
        .reject(session, StatusCode::MOVED_TEMPORARILY, headers, pair.now)
        .unwrap();
    pair.settle();
    assert_eq!(pair.ended(), Some(&EndReason::Local));
    assert!(
        !pair
            .wire
            .iter()
            .any(|message| message.starts_with("INVITE sip:robert"))
    );
    assert!(pair.phone.is_quiet());
}

#[test]
fn a_farewell_that_nobody_answers_is_given_up() {
    let mut pair = Pair::guest();
    pair.meeting();
    pair.deaf = true;
    pair.phone.hang_up(pair.now);
    pair.pass(Duration::from_secs(31));
    assert!(!pair.phone.is_quiet(), "the BYE is still repeated");
    // RFC 3261 §17.1.2.2: Timer F.
    pair.pass(Duration::from_secs(2));
    assert!(pair.phone.is_quiet());
    assert_eq!(pair.phone.counts(), endpoint::Counts::default());
}

#[test]
fn a_redirection_to_another_host_waits_for_its_address() {
    let mut pair = Pair::guest();
    pair.phone.dial(&uri("sip:bob@192.0.2.7"), pair.now).unwrap();
    sent_on(&mut pair, "<sip:bob@elsewhere.example>");
    pair.settle();
    assert!(pair.has(|event| matches!(event, PhoneEvent::Redirected { target }
        if target.to_string() == "sip:bob@elsewhere.example")));
    assert!(
        pair.served
            .iter()
            .all(|event| !matches!(event, Event::Invite { .. }))
    );
    assert_eq!(pair.ended(), None, "the call goes on");
    let flow = Flow::udp(PHONE.parse().unwrap(), "198.51.100.9:5080".parse().unwrap());
    pair.phone.go_by(flow, pair.now);
    pair.phone.follow(pair.now).unwrap();
    assert!(pair.phone.follow(pair.now).is_err(), "once");
    // Back to the first server: its name is not where the flow leads now.
    sent_on(&mut pair, "<sip:bob@192.0.2.7>");
    pair.settle();
    assert!(pair.has(|event| matches!(event, PhoneEvent::Redirected { target }
        if target.to_string() == "sip:bob@192.0.2.7")));
    pair.phone.hang_up(pair.now);
    pair.settle();
    assert_eq!(pair.ended(), Some(&EndReason::Local));
    pair.phone.hang_up(pair.now);
    pair.settle();
    let ends = pair
        .heard
        .iter()
        .filter(|event| matches!(event, PhoneEvent::Ended(_)));
    assert_eq!(ends.count(), 1, "an end is told once");
}

#[test]
fn a_busy_registrar_is_asked_again_when_it_wants() {
    let mut pair = Pair::guest();
    pair.phone.register(600, pair.now);
    pair.settle();
    let (tx, request) = take_request(&mut pair);
    let mut busy = Response::to(&request, StatusCode::new(503).unwrap());
    busy.headers.push(HeaderName::RetryAfter, 7);
    pair.server.respond(tx, busy, pair.now).unwrap();
    pair.settle();
    assert!(pair.has(|event| matches!(event, PhoneEvent::RegistrationFailed { status: Some(503), retry_after: Some(after), .. }
        if *after == Duration::from_secs(7))));
    pair.pass(Duration::from_millis(6_900));
    assert!(pair.served.is_empty(), "not before");
    pair.pass(Duration::from_millis(200));
    let (_, again) = take_request(&mut pair);
    assert_eq!(again.method, Method::Register);
}

/// The request outside a call that waits at the server.
pub(super) fn take_request(pair: &mut Pair) -> (endpoint::ServerTx, Request) {
    let found = pair
        .served
        .iter()
        .position(|event| matches!(event, Event::Request { .. }));
    match pair.served.remove(found.expect("a request")) {
        Event::Request { tx, request, .. } => (tx, request),
        other => panic!("{other:?}"),
    }
}
