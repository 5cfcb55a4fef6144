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

/// A call without an offer that the phone takes: the ACK of its 200 is the server's to send.
fn taken_without_ack(pair: &mut Pair) -> SessionId {
    let outgoing = endpoint::Outgoing {
        target: uri("sip:ada@192.0.2.1"),
        from: "<sip:bob@192.0.2.7>".parse().unwrap(),
        to: "<sip:ada@192.0.2.1>".parse().unwrap(),
        contact: None,
        flow: Flow::udp(SERVER.parse().unwrap(), PHONE.parse().unwrap()),
        route: Vec::new(),
        headers: Headers::new(),
        body: None,
    };
    let session = pair.server.invite(outgoing, pair.now).unwrap();
    pair.settle();
    pair.phone.pick_up(pair.now).unwrap();
    pair.settle();
    session
}

fn byes(pair: &Pair) -> usize {
    let sent = pair.wire.iter();
    sent.filter(|message| message.starts_with("BYE ")).count()
}

/// RFC 3261 §15: the called side sends no BYE before it has the ACK of its 2xx, or waited for it in vain.
#[test]
fn a_bye_that_waits_for_the_ack_is_a_farewell_to_wait_for() {
    let mut pair = Pair::guest();
    let session = taken_without_ack(&mut pair);
    pair.phone.hang_up(pair.now);
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.ended(), Some(&EndReason::Local));
    assert_eq!(byes(&pair), 0, "there is no ACK yet");
    assert!(!pair.phone.is_quiet(), "the BYE is still to be sent");
    let answered = pair.served.iter().find_map(|event| match event {
        Event::Session {
            event: SessionEvent::Answered { response },
            ..
        } => Some(response.clone()),
        _ => None,
    });
    let mut negotiation = OfferAnswer::new(1 << 40);
    let offer = sdp::parse(&answered.expect("a 200").body).unwrap();
    negotiation.receive_offer(offer).unwrap();
    let (answer, _) = negotiation.create_answer(&server_media()).unwrap();
    let body = Body::sdp(answer.to_string());
    pair.server.ack_with_answer(session, body, pair.now).unwrap();
    pair.settle();
    assert_eq!(byes(&pair), 1);
    assert!(pair.phone.is_quiet(), "the BYE was answered");
}

#[test]
fn a_bye_whose_ack_never_comes_is_sent_and_given_up() {
    let mut pair = Pair::guest();
    taken_without_ack(&mut pair);
    pair.deaf = true;
    pair.phone.hang_up(pair.now);
    pair.pass(Duration::from_secs(31));
    assert_eq!(byes(&pair), 0);
    assert!(!pair.phone.is_quiet());
    // RFC 3261 §13.3.1.4: 64·T1 for the ACK, and as long for the answer to the BYE.
    pair.pass(Duration::from_secs(2));
    assert!(byes(&pair) > 0);
    assert!(!pair.phone.is_quiet());
    pair.pass(Duration::from_secs(32));
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
