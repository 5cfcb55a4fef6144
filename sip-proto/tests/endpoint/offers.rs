//! Offers within a session: re-INVITE and UPDATE both ways, glare, order.

use sip_proto::endpoint::{Event, SessionEvent, SessionId, TerminatedBy};
use sip_proto::message::{HeaderName, Headers, StatusCode};

use crate::pair::{Pair, Side, sdp};
use crate::solo::{OFFER, Solo, request, tag_of};

/// A call from the hand-made peer that stands; the session and our tag.
pub fn accepted(solo: &mut Solo) -> (SessionId, String) {
    let (session, ok) = solo.call(OFFER);
    (session, tag_of(&ok))
}

#[test]
fn hold_and_resume_by_reinvite() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    for text in ["hold", "resume"] {
        let now = pair.now;
        pair.a.endpoint.reoffer(a, sdp(text), now).unwrap();
        pair.run(100);
        let SessionEvent::ReOffer { request } = pair.b.session_event(b) else {
            panic!()
        };
        assert_eq!(request.body, sdp(text).bytes);
        let now = pair.now;
        pair.b.endpoint.answer(b, sdp("ok"), now).unwrap();
        pair.run(100);
        let SessionEvent::ReAnswered { response } = pair.a.session_event(a) else {
            panic!()
        };
        assert_eq!(response.body, sdp("ok").bytes);
        pair.b.nothing();
        pair.expect_trace(&["A INVITE", "B 100 INVITE", "B 200 INVITE", "A ACK"]);
    }
    pair.hang_up(a, b);
}

#[test]
fn update_both_ways_needs_no_ack() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.b.endpoint.update(b, sdp("offer of B"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.a.endpoint.answer(a, sdp("ok"), now).unwrap();
    // The next offer need not wait.
    pair.a.endpoint.update(a, sdp("offer of A"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReAnswered { .. }));
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.b
        .endpoint
        .refuse(b, StatusCode::NOT_ACCEPTABLE_HERE, Headers::new(), now)
        .unwrap();
    pair.run(100);
    let SessionEvent::ReRejected { response } = pair.a.session_event(a) else {
        panic!()
    };
    assert_eq!(response.status, StatusCode::NOT_ACCEPTABLE_HERE);
    pair.expect_trace(&["B UPDATE", "A 200 UPDATE", "A UPDATE", "B 488 UPDATE"]);
    pair.hang_up(a, b);
}

#[test]
fn update_is_not_sent_to_a_peer_that_does_not_take_it() {
    let mut solo = Solo::new();
    let (session, _) = accepted(&mut solo);
    solo.endpoint.update(session, sdp("offer"), solo.now).unwrap();
    solo.drain();
    let sent = solo.request();
    assert_eq!(sent.method.as_str(), "INVITE");
    solo.answer(
        &sent,
        "200 OK",
        "",
        "Contact: <sip:carol@192.0.2.9:5070>\nAllow: INVITE, ACK, BYE, UPDATE\n",
    );
    assert_eq!(solo.request().method.as_str(), "ACK");
    assert!(matches!(
        solo.event(),
        Event::Session {
            event: SessionEvent::ReAnswered { .. },
            ..
        }
    ));
    solo.endpoint.update(session, sdp("offer"), solo.now).unwrap();
    solo.drain();
    let sent = solo.request();
    assert_eq!(sent.method.as_str(), "UPDATE");
    solo.answer(&sent, "408 Request Timeout", "", "");
    assert!(matches!(
        solo.event(),
        Event::Session {
            event: SessionEvent::Terminated {
                by: TerminatedBy::Timeout,
                ..
            },
            ..
        }
    ));
    let bye = solo.request();
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}

#[test]
fn an_offer_made_before_the_ack_waits_for_it() {
    let mut pair = Pair::new();
    pair.lose(Side::A, "ACK", 1);
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    pair.accept(b);
    let now = pair.now;
    pair.b.endpoint.reoffer(b, sdp("more"), now).unwrap();
    pair.run(100);
    assert!(!pair.trace.iter().any(|line| line == "B INVITE"));
    pair.run(1000);
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    assert!(matches!(pair.a.session_event(a), SessionEvent::Answered { .. }));
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.a.endpoint.answer(a, sdp("ok"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReAnswered { .. }));
    pair.hang_up(a, b);
}

#[test]
fn glare_is_resolved_inside() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("from A"), now).unwrap();
    pair.b.endpoint.reoffer(b, sdp("from B"), now).unwrap();
    pair.run(100);
    // Both got 491 and nobody was asked.
    pair.a.nothing();
    pair.b.nothing();
    pair.run(2100);
    // B does not own the Call-ID and comes first, at 2 s at the latest; A learns that its offer has to be made anew.
    let SessionEvent::ReRejected { response } = pair.a.session_event(a) else {
        panic!()
    };
    assert_eq!(response.status, StatusCode::REQUEST_PENDING);
    let SessionEvent::ReOffer { request } = pair.a.session_event(a) else {
        panic!()
    };
    assert_eq!(request.body, sdp("from B").bytes);
    let now = pair.now;
    pair.a.endpoint.answer(a, sdp("ok"), now).unwrap();
    pair.a.endpoint.reoffer(a, sdp("from A again"), now).unwrap();
    pair.run(200);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReAnswered { .. }));
    let SessionEvent::ReOffer { request } = pair.b.session_event(b) else {
        panic!()
    };
    assert_eq!(request.body, sdp("from A again").bytes);
    let now = pair.now;
    pair.b.endpoint.answer(b, sdp("ok"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReAnswered { .. }));
    pair.hang_up(a, b);
}

#[test]
fn a_491_is_tried_again_by_itself() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    // B's own offer is lost for a while, so A gets 491 although it hears of no offer.
    pair.lose(Side::B, "UPDATE", 1000);
    let now = pair.now;
    pair.b.endpoint.update(b, sdp("from B"), now).unwrap();
    pair.a.endpoint.reoffer(a, sdp("from A"), now).unwrap();
    pair.run(200);
    pair.expect_trace(&["A INVITE", "B UPDATE!", "B 491 INVITE", "A ACK"]);
    pair.run(1900);
    pair.a.nothing();
    assert!(!pair.trace.iter().any(|line| line == "A INVITE"));
    pair.run(2500);
    assert!(pair.trace.iter().any(|line| line == "A INVITE"));
    pair.lose(Side::B, "BYE", 0);
    // B's UPDATE dies in the end, which ends the session.
    pair.run(60_000);
    let last = pair.b.events.pop_back().unwrap();
    assert!(matches!(
        last,
        Event::Session {
            event: SessionEvent::Terminated {
                by: TerminatedBy::Timeout,
                ..
            },
            ..
        }
    ));
    pair.a.events.clear();
    pair.b.events.clear();
    let now = pair.now;
    let _ = pair.a.endpoint.bye(a, None, now);
    pair.run(1000);
    pair.a.events.clear();
    pair.finish();
}

#[test]
fn a_second_offer_while_the_first_waits_gets_500_with_retry_after() {
    let mut solo = Solo::new();
    let (session, tag) = accepted(&mut solo);
    let offer = "Content-Type: application/sdp\nContent-Length: 4\n\nv=0\n";
    solo.receive(&request("INVITE", 2, "re1", &tag, offer));
    solo.expect_status(100);
    solo.receive(&request("INVITE", 3, "re2", &tag, offer));
    let refused = solo.expect_status(500);
    let seconds: u32 = refused
        .headers
        .get(&HeaderName::RetryAfter)
        .unwrap()
        .parse()
        .unwrap();
    assert!(seconds <= 10);
    solo.receive(&request("ACK", 3, "re2", &tag, ""));
    solo.receive(&request("UPDATE", 4, "up1", &tag, offer));
    assert!(solo.expect_status(500).headers.contains(&HeaderName::RetryAfter));
    // An UPDATE without offer is a target refresh, which nothing stands in the way of.
    solo.receive(&request("UPDATE", 5, "up2", &tag, ""));
    solo.expect_status(200);
    solo.endpoint.answer(session, sdp("ok"), solo.now).unwrap();
    solo.drain();
    let answer = solo.expect_status(200);
    assert_eq!(answer.headers.cseq().unwrap().seq, 2);
    solo.receive(&request("ACK", 2, "ack2", &tag, ""));
    solo.receive(&request("BYE", 6, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}

#[test]
fn requests_out_of_order_get_500() {
    let mut solo = Solo::new();
    let (_, tag) = accepted(&mut solo);
    solo.receive(&request("INFO", 7, "info7", &tag, ""));
    solo.receive(&request("INFO", 5, "info5", &tag, ""));
    solo.expect_status(500);
    // The same again is a retransmission, not a new request.
    solo.receive(&request("INFO", 5, "info5", &tag, ""));
    solo.expect_status(500);
    assert_eq!(solo.endpoint.counts().sessions, 1);
    solo.receive(&request("BYE", 8, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}

#[test]
fn an_offerless_reinvite_gets_our_offer_and_its_answer_in_the_ack() {
    let mut solo = Solo::new();
    let (session, tag) = accepted(&mut solo);
    solo.receive(&request("INVITE", 2, "re", &tag, ""));
    solo.expect_status(100);
    solo.events.clear();
    solo.endpoint.answer(session, sdp("our offer"), solo.now).unwrap();
    solo.drain();
    assert_eq!(solo.expect_status(200).body, sdp("our offer").bytes);
    // Our offer is open: theirs has to wait.
    let offer = "Content-Type: application/sdp\nContent-Length: 4\n\nv=0\n";
    solo.receive(&request("UPDATE", 3, "up", &tag, offer));
    solo.expect_status(491);
    solo.run(600);
    solo.expect_status(200);
    solo.receive(&request(
        "ACK",
        2,
        "ack2",
        &tag,
        "Content-Type: application/sdp\nContent-Length: 4\n\nv=0\n",
    ));
    let Event::Session {
        event: SessionEvent::ReOfferAcked { body, .. },
        ..
    } = solo.event()
    else {
        panic!()
    };
    assert_eq!(body, b"v=0\r");
    solo.receive(&request("BYE", 4, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}

#[test]
fn bye_while_a_reinvite_is_open_answers_it_with_487() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("hold"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(100);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.expect_trace(&[
        "A INVITE",
        "B 100 INVITE",
        "A BYE",
        "B 487 INVITE",
        "B 200 BYE",
        "A ACK",
    ]);
    pair.finish();
}

#[test]
fn the_asked_side_hangs_up_instead_of_answering_an_offer() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("hold"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(100);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    // The 487 comes first, then the BYE.
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReRejected { .. }));
    pair.a.expect_terminated(a, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn a_reinvite_whose_200_and_ack_get_lost_is_made_good() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    pair.lose(Side::B, "200 INVITE", 1);
    pair.lose(Side::A, "ACK", 1);
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("hold"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.b.endpoint.answer(b, sdp("ok"), now).unwrap();
    pair.run(4000);
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReAnswered { .. }));
    pair.a.nothing();
    assert_eq!(
        pair.trace.iter().filter(|line| line.starts_with("A ACK")).count(),
        2
    );
    pair.hang_up(a, b);
}

#[test]
fn a_481_to_an_offer_ends_the_session() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    pair.lose(Side::B, "BYE", 1000);
    let now = pair.now;
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(33_000);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("hello"), now).unwrap();
    pair.run(100);
    pair.a.expect_terminated(a, TerminatedBy::Timeout);
    assert_eq!(pair.a.endpoint.counts().sessions, 0);
    pair.finish();
}

/// Found by the fuzzer: a re-INVITE that got a 100 and never more (its 487 is lost, the peer is gone) stayed for good.
#[test]
fn a_reinvite_left_provisional_does_not_stay_for_ever() {
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("again"), now).unwrap();
    pair.run(1000);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReOffer { .. }));
    pair.expect_trace(&["A INVITE", "B 100 INVITE"]);
    pair.lose(Side::B, "487 INVITE", 1000);
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(1000);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.finish();
}
