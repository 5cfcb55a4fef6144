//! Setting up and ending calls, with and without losses.

use sip_proto::endpoint::{EndpointError, Event, Outgoing, SessionEvent, TerminatedBy};
use sip_proto::headers::Reason;
use sip_proto::message::{HeaderName, Headers, Method, Response, StatusCode};

use crate::pair::{Pair, Side, sdp};

#[test]
fn a_call_is_made_answered_and_ended_by_the_caller() {
    let mut pair = Pair::new();
    let a = pair.invite();
    pair.run(100);
    let Event::Invite {
        session: b, request, ..
    } = pair.b.event()
    else {
        panic!()
    };
    assert_eq!(request.body, sdp("offer").bytes);
    let now = pair.now;
    pair.b
        .endpoint
        .ring(b, StatusCode::RINGING, None, Headers::new(), now)
        .unwrap();
    pair.run(3000);
    let SessionEvent::Progress { response } = pair.a.session_event(a) else {
        panic!()
    };
    assert_eq!(response.status, StatusCode::RINGING);
    pair.accept(b);
    pair.run(100);
    let SessionEvent::Answered { response } = pair.a.session_event(a) else {
        panic!()
    };
    assert_eq!(response.body, sdp("answer").bytes);
    assert!(response.headers.contains(&HeaderName::Contact) && response.headers.contains(&HeaderName::Allow));
    let SessionEvent::Confirmed { body, .. } = pair.b.session_event(b) else {
        panic!()
    };
    assert!(body.is_empty());
    let now = pair.now;
    pair.a
        .endpoint
        .bye(a, Some(Reason::sip(200, "done")), now)
        .unwrap();
    pair.run(100);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    let SessionEvent::Terminated {
        by: TerminatedBy::Peer,
        reason: Some(reason),
    } = pair.b.session_event(b)
    else {
        panic!()
    };
    assert_eq!(reason.text(), Some("done"));
    pair.expect_trace(&[
        "A INVITE",
        "B 100 INVITE",
        "B 180 INVITE",
        "B 200 INVITE",
        "A ACK",
        "A BYE",
        "B 200 BYE",
    ]);
    pair.finish();
}

#[test]
fn the_called_side_hangs_up() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(100);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    pair.a.expect_terminated(a, TerminatedBy::Peer);
    pair.expect_trace(&["B BYE", "A 200 BYE"]);
    pair.finish();
}

#[test]
fn both_hang_up_at_once() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(100);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    pair.expect_trace(&["A BYE", "B BYE", "B 200 BYE", "A 200 BYE"]);
    pair.finish();
}

#[test]
fn a_lost_invite_comes_again() {
    let mut pair = Pair::new();
    pair.lose(Side::A, "INVITE", 2);
    pair.invite();
    pair.run(1600);
    let b = pair.b.expect_invite();
    let now = pair.now;
    pair.b
        .endpoint
        .reject(b, StatusCode::BUSY_HERE, Headers::new(), now)
        .unwrap();
    pair.run(100);
    let Event::Session {
        event: SessionEvent::Failed {
            response: Some(response),
        },
        ..
    } = pair.a.event()
    else {
        panic!()
    };
    assert_eq!(response.status, StatusCode::BUSY_HERE);
    pair.expect_trace(&[
        "A INVITE!",
        "A INVITE!",
        "A INVITE",
        "B 100 INVITE",
        "B 486 INVITE",
        "A ACK",
    ]);
    pair.finish();
}

#[test]
fn a_lost_refusal_and_its_lost_ack_come_again() {
    let mut pair = Pair::new();
    pair.lose(Side::B, "486 INVITE", 1);
    pair.lose(Side::A, "ACK", 1);
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    let now = pair.now;
    pair.b
        .endpoint
        .reject(b, StatusCode::BUSY_HERE, Headers::new(), now)
        .unwrap();
    pair.run(3000);
    pair.a.expect_failed(a, Some(StatusCode::BUSY_HERE));
    pair.expect_trace(&[
        "A INVITE",
        "B 100 INVITE",
        "B 486 INVITE!",
        "B 486 INVITE",
        "A ACK!",
        "B 486 INVITE",
        "A ACK",
    ]);
    pair.finish();
}

#[test]
fn a_lost_200_and_a_lost_ack_are_made_good_by_the_sessions() {
    let mut pair = Pair::new();
    pair.lose(Side::B, "200 INVITE", 1);
    pair.lose(Side::A, "ACK", 1);
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    pair.accept(b);
    pair.run(3000);
    pair.expect_trace(&[
        "A INVITE",
        "B 100 INVITE",
        "B 200 INVITE!",
        "B 200 INVITE",
        "A ACK!",
        "B 200 INVITE",
        "A ACK",
    ]);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Answered { .. }));
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    pair.a.nothing();
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(100);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn without_any_ack_the_call_ends_by_bye() {
    let mut pair = Pair::new();
    pair.lose(Side::A, "ACK", 1000);
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    pair.accept(b);
    pair.run(33_000);
    let seen = pair.trace.iter().filter(|line| *line == "B 200 INVITE").count();
    // At 0, 0.5, 1.5, 3.5, 7.5 s and then every 4 s until 32 s.
    assert_eq!(seen, 11);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Answered { .. }));
    pair.b.expect_terminated(b, TerminatedBy::AckTimeout);
    pair.a.expect_terminated(a, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn nobody_answers_an_invite() {
    let mut pair = Pair::new();
    pair.lose(Side::A, "INVITE", 1000);
    let a = pair.invite();
    pair.run(31_900);
    pair.a.nothing();
    pair.run(200);
    pair.a.expect_failed(a, None);
    assert_eq!(pair.trace.len(), 7);
    pair.finish();
}

#[test]
fn the_called_side_waits_for_the_ack_before_it_sends_bye() {
    let mut pair = Pair::new();
    pair.lose(Side::A, "ACK", 1);
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    pair.accept(b);
    let now = pair.now;
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(1000);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Answered { .. }));
    pair.a.expect_terminated(a, TerminatedBy::Peer);
    pair.expect_trace(&[
        "A INVITE",
        "B 100 INVITE",
        "B 200 INVITE",
        "A ACK!",
        "B 200 INVITE",
        "A ACK",
        "B BYE",
        "A 200 BYE",
    ]);
    pair.finish();
}

#[test]
fn an_offerless_call_carries_the_answer_in_the_ack() {
    let mut pair = Pair::new();
    let call = pair.outgoing(Side::A);
    let now = pair.now;
    let a = pair.a.endpoint.invite(call, now).unwrap();
    pair.run(100);
    let b = pair.b.expect_invite();
    let now = pair.now;
    pair.b
        .endpoint
        .accept(b, Some(sdp("offer of B")), Headers::new(), now)
        .unwrap();
    pair.run(600);
    let SessionEvent::Answered { response } = pair.a.session_event(a) else {
        panic!()
    };
    assert_eq!(response.body, sdp("offer of B").bytes);
    // While the ACK is due the 200 comes again and nothing is sent.
    let now = pair.now;
    pair.a
        .endpoint
        .ack_with_answer(a, sdp("answer of A"), now)
        .unwrap();
    assert!(pair.a.endpoint.ack_with_answer(a, sdp("again"), now).is_err());
    pair.run(100);
    let SessionEvent::Confirmed { body, content_type } = pair.b.session_event(b) else {
        panic!()
    };
    assert_eq!(
        (body, content_type.as_deref()),
        (sdp("answer of A").bytes, Some("application/sdp"))
    );
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(100);
    pair.expect_trace(&[
        "A INVITE",
        "B 100 INVITE",
        "B 200 INVITE",
        "B 200 INVITE",
        "A ACK",
        "A BYE",
        "B 200 BYE",
    ]);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn requests_within_the_dialog_are_the_applications() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    let body = sip_proto::endpoint::Body::new("application/dtmf-relay", "Signal=5\r\n");
    let tx = pair
        .a
        .endpoint
        .request_in_dialog(a, Method::Info, Headers::new(), Some(body), now)
        .unwrap();
    pair.run(100);
    let SessionEvent::Request { tx: server, request } = pair.b.session_event(b) else {
        panic!()
    };
    assert_eq!(request.method, Method::Info);
    // RFC 4320: no provisional response and no 408 to a non-INVITE.
    let now = pair.now;
    for bad in [StatusCode::RINGING, StatusCode::REQUEST_TIMEOUT] {
        let error = pair
            .b
            .endpoint
            .respond(server, Response::to(&request, bad), now)
            .unwrap_err();
        assert!(matches!(error, EndpointError::WrongStatus { .. }));
    }
    pair.run(4000);
    let now = pair.now;
    pair.b
        .endpoint
        .respond(server, Response::to(&request, StatusCode::OK), now)
        .unwrap();
    assert!(
        pair.b
            .endpoint
            .respond(server, Response::to(&request, StatusCode::OK), now)
            .is_err()
    );
    pair.run(100);
    let Event::Response { tx: seen, response } = pair.a.event() else {
        panic!()
    };
    assert_eq!((seen, response.status.code()), (tx, 200));
    assert_eq!(pair.trace.iter().filter(|line| *line == "B 100 INFO").count(), 1);
    for wrong in [
        Method::Invite,
        Method::Bye,
        Method::Ack,
        Method::Cancel,
        Method::Update,
    ] {
        assert!(
            pair.a
                .endpoint
                .request_in_dialog(a, wrong, Headers::new(), None, now)
                .is_err()
        );
    }
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(100);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn a_peer_that_vanished_is_noticed_by_options() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    pair.lose(Side::A, "OPTIONS", 1000);
    pair.lose(Side::A, "BYE", 1000);
    let now = pair.now;
    let tx = pair
        .a
        .endpoint
        .request_in_dialog(a, Method::Options, Headers::new(), None, now)
        .unwrap();
    pair.run(33_000);
    assert_eq!(pair.a.event(), Event::Timeout { tx });
    pair.a.expect_terminated(a, TerminatedBy::Timeout);
    pair.run(60_000);
    // B never heard of it.
    let now = pair.now;
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(100);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    assert_eq!(pair.trace.last().map(String::as_str), Some("A 481 BYE"));
    pair.finish();
}

#[test]
fn a_provisional_response_is_repeated_every_minute() {
    let mut pair = Pair::new();
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    let now = pair.now;
    pair.b
        .endpoint
        .ring(b, StatusCode::RINGING, None, Headers::new(), now)
        .unwrap();
    pair.run(170_000);
    assert_eq!(
        pair.trace.iter().filter(|line| *line == "B 180 INVITE").count(),
        3
    );
    for _ in 0..3 {
        assert!(matches!(pair.a.session_event(a), SessionEvent::Progress { .. }));
    }
    let now = pair.now;
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(100);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    pair.a.expect_failed(a, Some(StatusCode::TEMPORARILY_UNAVAILABLE));
    pair.finish();
}

#[test]
fn an_application_that_never_answers_leaves_nothing_behind() {
    let mut pair = Pair::new();
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    // Timer C ends it at the caller's side.
    pair.run(182_000);
    pair.a.expect_failed(a, Some(StatusCode::REQUEST_TERMINATED));
    assert_eq!(pair.b.session_event(b), SessionEvent::Cancelled);
    let request = pair.outgoing(Side::A);
    let now = pair.now;
    let tx = pair.a.endpoint.request(Method::Options, request, now).unwrap();
    pair.run(100);
    assert!(matches!(pair.b.event(), Event::Request { .. }));
    pair.run(40_000);
    assert_eq!(pair.a.event(), Event::Timeout { tx });
    pair.finish();
}

#[test]
fn commands_that_do_not_fit_are_refused_and_change_nothing() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    let endpoint = &mut pair.a.endpoint;
    assert!(
        endpoint
            .ring(a, StatusCode::RINGING, None, Headers::new(), now)
            .is_err()
    );
    assert!(endpoint.accept(a, None, Headers::new(), now).is_err());
    assert!(
        endpoint
            .reject(a, StatusCode::BUSY_HERE, Headers::new(), now)
            .is_err()
    );
    assert!(endpoint.cancel(a, now).is_err());
    assert!(endpoint.answer(a, sdp("x"), now).is_err());
    assert!(endpoint.refuse(a, StatusCode::OK, Headers::new(), now).is_err());
    assert!(endpoint.ack_with_answer(a, sdp("x"), now).is_err());
    let unknown = sip_proto::endpoint::SessionId(999);
    assert_eq!(
        endpoint.bye(unknown, None, now),
        Err(EndpointError::UnknownSession(unknown))
    );
    pair.run(100);
    pair.expect_trace(&[]);
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(100);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn the_contact_of_the_focus_is_used() {
    let mut pair = Pair::new();
    let call = Outgoing {
        body: Some(sdp("offer")),
        ..pair.outgoing(Side::A)
    };
    let now = pair.now;
    let a = pair.a.endpoint.invite(call, now).unwrap();
    pair.run(100);
    let b = pair.b.expect_invite();
    let mut headers = Headers::new();
    headers.push(HeaderName::Contact, "<sip:room@192.0.2.2:5060>;isfocus");
    let now = pair.now;
    pair.b
        .endpoint
        .accept(b, Some(sdp("answer")), headers, now)
        .unwrap();
    pair.run(100);
    let SessionEvent::Answered { response } = pair.a.session_event(a) else {
        panic!()
    };
    let contacts: Vec<&str> = response.headers.get_all(&HeaderName::Contact).collect();
    assert_eq!(contacts, ["<sip:room@192.0.2.2:5060>;isfocus"]);
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    let now = pair.now;
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(100);
    pair.a.expect_terminated(a, TerminatedBy::Peer);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    pair.finish();
}
