//! The races of RFC 5407 §3, by their sections, as the endpoint lives through them on either side.

use sip_proto::endpoint::{Event, Outgoing, SessionEvent, SessionId, TerminatedBy};
use sip_proto::message::{HeaderName, Headers, Method, StatusCode};

use crate::pair::{Pair, Side, sdp};
use crate::solo::{OFFER, Solo, request, tag_of};

/// An INVITE of the hand-made peer with these further lines, accepted but not acknowledged; the session and our tag.
fn moratorium(solo: &mut Solo, lines: &str) -> (SessionId, String) {
    let (session, ok) = solo.accepted(lines);
    (session, tag_of(&ok))
}

#[track_caller]
fn session_event(solo: &mut Solo) -> SessionEvent {
    match solo.event() {
        Event::Session { event, .. } => event,
        other => panic!("no session event but {other:?}"),
    }
}

#[test]
fn section_3_1_1_the_invite_comes_again_after_its_200() {
    let mut solo = Solo::new();
    let (_, tag) = moratorium(&mut solo, OFFER);
    solo.receive(&request("INVITE", 1, "first", "", OFFER));
    assert!(solo.events.is_empty(), "{:?}", solo.events);
    // The 200 is repeated by its own clock, and no second dialog is made.
    solo.silent();
    solo.run(500);
    assert_eq!(solo.expect_status(200).headers.to_tag().unwrap().as_str(), tag);
    assert_eq!(solo.endpoint.counts().sessions, 1);
    solo.receive(&request("ACK", 1, "ack", &tag, ""));
    assert!(matches!(session_event(&mut solo), SessionEvent::Confirmed { .. }));
    solo.receive(&request("BYE", 2, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}

#[test]
fn section_3_1_2_a_cancel_crosses_the_200() {
    let mut pair = Pair::new();
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    let now = pair.now;
    pair.a.endpoint.cancel(a, now).unwrap();
    pair.b
        .endpoint
        .accept(b, Some(sdp("answer")), Headers::new(), now)
        .unwrap();
    pair.run(200);
    // The CANCEL has its 200 and changes nothing; the caller ends by BYE what it no longer wants.
    assert!(pair.trace.iter().any(|line| line == "B 200 CANCEL"));
    assert!(!pair.trace.iter().any(|line| line == "B 487 INVITE"));
    assert!(pair.trace.iter().any(|line| line == "A ACK") && pair.trace.iter().any(|line| line == "A BYE"));
    pair.a.expect_terminated(a, TerminatedBy::Local);
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn section_3_1_3_a_bye_of_the_early_dialog_crosses_the_200() {
    let mut solo = Solo::new();
    let (session, tag) = moratorium(&mut solo, OFFER);
    solo.receive(&request("BYE", 2, "bye", &tag, ""));
    assert_eq!(solo.expect_status(200).headers.cseq_method(), Ok(Method::Bye));
    assert!(matches!(
        session_event(&mut solo),
        SessionEvent::Terminated {
            by: TerminatedBy::Peer,
            ..
        }
    ));
    // The caller acknowledges the 200 all the same; nobody waits for it any more, and it is not repeated.
    solo.receive(&request("ACK", 1, "ack", &tag, ""));
    solo.run(40_000);
    solo.silent();
    assert!(solo.endpoint.bye(session, None, solo.now).is_err());
    solo.finish();
}

#[test]
fn section_3_1_4_a_reinvite_overtakes_the_ack() {
    let mut solo = Solo::new();
    let (session, tag) = moratorium(&mut solo, OFFER);
    solo.receive(&request("INVITE", 2, "re", &tag, OFFER));
    solo.expect_status(100);
    assert!(matches!(session_event(&mut solo), SessionEvent::ReOffer { .. }));
    solo.endpoint.answer(session, sdp("again"), solo.now).unwrap();
    solo.drain();
    let answer = solo.expect_status(200);
    assert_eq!(answer.headers.cseq().unwrap().seq, 2);
    solo.receive(&request("ACK", 2, "ack2", &tag, ""));
    solo.receive(&request("ACK", 1, "ack1", &tag, ""));
    assert!(matches!(session_event(&mut solo), SessionEvent::Confirmed { .. }));
    solo.run(3000);
    solo.silent();
    solo.receive(&request("BYE", 3, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}

#[test]
fn section_3_1_5_a_reinvite_overtakes_the_ack_with_the_answer() {
    let mut solo = Solo::new();
    // Without an offer: our 200 makes it, and the answer is in the ACK.
    let (_, tag) = moratorium(&mut solo, "");
    solo.receive(&request("INVITE", 2, "re", &tag, OFFER));
    solo.expect_status(491);
    solo.receive(&request("ACK", 2, "re", &tag, ""));
    assert!(solo.events.is_empty());
    solo.receive(&request("ACK", 1, "ack1", &tag, OFFER));
    let SessionEvent::Confirmed { body, .. } = session_event(&mut solo) else {
        panic!()
    };
    assert_eq!(body, b"v=0\r\n"[..4]);
    solo.receive(&request("BYE", 3, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}

#[test]
fn section_3_1_6_a_bye_overtakes_the_ack() {
    let mut pair = Pair::new();
    pair.lose(Side::A, "ACK", 1);
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    pair.accept(b);
    pair.run(100);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Answered { .. }));
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(2000);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.expect_trace(&[
        "A INVITE",
        "B 100 INVITE",
        "B 200 INVITE",
        "A ACK!",
        "A BYE",
        "B 200 BYE",
    ]);
    pair.finish();
}

#[test]
fn section_3_2_1_both_say_bye() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(200);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    pair.expect_trace(&["A BYE", "B BYE", "B 200 BYE", "A 200 BYE"]);
    pair.finish();
}

#[test]
fn section_3_2_2_a_reinvite_crosses_a_bye() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("hold"), now).unwrap();
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(2000);
    pair.a.expect_terminated(a, TerminatedBy::Peer);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    pair.expect_trace(&["A INVITE", "B BYE", "B 481 INVITE", "A 200 BYE", "A ACK"]);
    pair.finish();
}

#[test]
fn section_3_2_3_the_200_to_a_reinvite_comes_after_our_bye() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("hold"), now).unwrap();
    pair.run(15);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.b.endpoint.answer(b, sdp("held"), now).unwrap();
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(2000);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    // The 200 has its ACK, or the peer would repeat it for half a minute.
    pair.expect_trace(&[
        "A INVITE",
        "B 100 INVITE",
        "A BYE",
        "B 200 INVITE",
        "B 200 BYE",
        "A ACK",
    ]);
    pair.finish();
}

#[test]
fn section_3_2_4_the_ack_comes_after_the_bye() {
    let mut solo = Solo::new();
    let (session, tag) = moratorium(&mut solo, OFFER);
    // §15: the called side holds its BYE back until the ACK; here the caller is faster.
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    solo.silent();
    solo.event();
    solo.receive(&request("BYE", 2, "bye", &tag, ""));
    solo.expect_status(200);
    solo.receive(&request("ACK", 1, "ack", &tag, ""));
    solo.run(40_000);
    solo.silent();
    solo.finish();
}

#[test]
fn section_3_3_1_two_reinvites_cross() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("A holds"), now).unwrap();
    pair.b.endpoint.reoffer(b, sdp("B holds"), now).unwrap();
    pair.run(100);
    let mut trace = std::mem::take(&mut pair.trace);
    trace.sort();
    assert_eq!(
        trace,
        [
            "A 491 INVITE",
            "A ACK",
            "A INVITE",
            "B 491 INVITE",
            "B ACK",
            "B INVITE"
        ]
    );
    crossed(&mut pair, a, b);
    pair.hang_up(a, b);
}

#[test]
fn section_3_3_2_an_update_and_a_reinvite_cross() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.update(a, sdp("A holds"), now).unwrap();
    pair.b.endpoint.reoffer(b, sdp("B holds"), now).unwrap();
    pair.run(100);
    let mut trace = std::mem::take(&mut pair.trace);
    trace.sort();
    assert_eq!(
        trace,
        ["A 491 INVITE", "A UPDATE", "B 491 UPDATE", "B ACK", "B INVITE"]
    );
    crossed(&mut pair, a, b);
    pair.hang_up(a, b);
}

/// After 491 both ways: the one that does not own the Call-ID goes first, the other's offer follows or is given back.
fn crossed(pair: &mut Pair, a: SessionId, b: SessionId) {
    let mut offers = 0;
    for _ in 0..60 {
        pair.run(100);
        for (side, id) in [(Side::A, a), (Side::B, b)] {
            let now = pair.now;
            let agent = pair.agent(side);
            while let Some(event) = agent.events.pop_front() {
                match event {
                    Event::Session {
                        event: SessionEvent::ReOffer { .. },
                        ..
                    } => agent.endpoint.answer(id, sdp("yes"), now).unwrap(),
                    Event::Session {
                        event: SessionEvent::ReAnswered { .. },
                        ..
                    } => offers += 1,
                    Event::Session {
                        event: SessionEvent::ReRejected { response },
                        ..
                    } => assert_eq!(response.status, StatusCode::REQUEST_PENDING),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert!(offers >= 1);
}

#[test]
fn section_3_3_3_a_refer_crosses_a_bye() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    let mut headers = Headers::new();
    headers.push(HeaderName::ReferTo, "<sip:carol@192.0.2.3>");
    let tx = pair
        .b
        .endpoint
        .request_in_dialog(b, Method::Refer, headers, None, now)
        .unwrap();
    pair.run(2000);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    let Event::Response { tx: of, response } = pair.b.event() else {
        panic!()
    };
    assert_eq!((of, response.status), (tx, StatusCode::CALL_DOES_NOT_EXIST));
    pair.finish();
}

#[test]
fn a_reinvite_that_gets_500_with_retry_after_is_made_again_by_itself() {
    let mut solo = Solo::new();
    let (session, tag) = moratorium(&mut solo, OFFER);
    solo.receive(&request("ACK", 1, "ack", &tag, ""));
    solo.event();
    solo.endpoint.reoffer(session, sdp("hold"), solo.now).unwrap();
    solo.drain();
    let first = solo.request();
    solo.answer(&first, "500 Server Internal Error", "", "Retry-After: 7 (busy)\n");
    assert_eq!(solo.request().method, Method::Ack);
    solo.run(6900);
    solo.silent();
    solo.run(200);
    let second = solo.request();
    assert_eq!(
        (second.method.clone(), second.body.clone()),
        (Method::Invite, sdp("hold").bytes)
    );
    assert!(solo.events.is_empty());
    // Without Retry-After, or with a long one, it is the application's.
    solo.answer(&second, "500 Server Internal Error", "", "Retry-After: 3600\n");
    assert_eq!(solo.request().method, Method::Ack);
    assert!(matches!(
        session_event(&mut solo),
        SessionEvent::ReRejected { .. }
    ));
    solo.receive(&request("BYE", 3, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}

#[test]
fn an_offer_where_none_may_stand_is_refused_and_harms_nothing() {
    let mut pair = Pair::new();
    let call = Outgoing {
        body: Some(sdp("offer")),
        ..pair.outgoing(Side::A)
    };
    let a = pair.a.endpoint.invite(call, pair.now).unwrap();
    pair.run(100);
    let b = pair.b.expect_invite();
    let now = pair.now;
    pair.b
        .endpoint
        .ring(b, StatusCode::RINGING, None, Headers::new(), now)
        .unwrap();
    pair.run(100);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Progress { .. }));
    // Neither side may offer while the INVITE's offer is open; both offers wait for the 2xx.
    pair.trace.clear();
    let now = pair.now;
    pair.a.endpoint.update(a, sdp("second"), now).unwrap();
    pair.run(500);
    pair.expect_trace(&[]);
    pair.accept(b);
    pair.run(500);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Answered { .. }));
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    let SessionEvent::ReOffer { request } = pair.b.session_event(b) else {
        panic!()
    };
    assert_eq!(request.body, sdp("second").bytes);
    let now = pair.now;
    pair.b.endpoint.answer(b, sdp("yes"), now).unwrap();
    pair.run(500);
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReAnswered { .. }));
    pair.hang_up(a, b);
}
