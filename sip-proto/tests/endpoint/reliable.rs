//! Reliable provisional responses, RFC 3262: PRACK both ways, offers before the 2xx, early UPDATE.

use sip_proto::endpoint::{Event, Outgoing, SessionEvent, SessionId, TerminatedBy};
use sip_proto::message::{HeaderName, Headers, Response, StatusCode};

use crate::pair::{Pair, Side, sdp};
use crate::solo::{Solo, request};

/// An INVITE of A with these headers and this body, arrived at B.
fn invited(pair: &mut Pair, require: bool, body: Option<&str>) -> (SessionId, SessionId) {
    let mut headers = Headers::new();
    if require {
        headers.push(HeaderName::Require, "100rel");
    }
    let call = Outgoing {
        body: body.map(sdp),
        headers,
        ..pair.outgoing(Side::A)
    };
    let a = pair.a.endpoint.invite(call, pair.now).unwrap();
    pair.run(100);
    let b = pair.b.expect_invite();
    pair.trace.clear();
    (a, b)
}

/// The headers that ask for a reliable response.
fn reliably() -> Headers {
    let mut headers = Headers::new();
    headers.push(HeaderName::Require, "100rel");
    headers
}

fn ring(pair: &mut Pair, b: SessionId, status: StatusCode, body: Option<&str>) {
    let now = pair.now;
    pair.b
        .endpoint
        .ring(b, status, body.map(sdp), reliably(), now)
        .unwrap();
}

fn accept(pair: &mut Pair, b: SessionId, body: Option<&str>) {
    let now = pair.now;
    pair.b
        .endpoint
        .accept(b, body.map(sdp), Headers::new(), now)
        .unwrap();
}

#[track_caller]
fn progress(pair: &mut Pair, a: SessionId) -> Response {
    match pair.a.session_event(a) {
        SessionEvent::Progress { response } => response,
        other => panic!("no progress but {other:?}"),
    }
}

#[track_caller]
fn acked(pair: &mut Pair, b: SessionId) -> Vec<u8> {
    match pair.b.session_event(b) {
        SessionEvent::ProvisionalAcked { body, .. } => body,
        other => panic!("no PRACK but {other:?}"),
    }
}

#[track_caller]
fn answered(pair: &mut Pair, a: SessionId) -> Response {
    match pair.a.session_event(a) {
        SessionEvent::Answered { response } => response,
        other => panic!("not answered but {other:?}"),
    }
}

#[test]
fn whoever_requires_it_gets_every_response_reliably() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, Some("offer"));
    let now = pair.now;
    pair.b
        .endpoint
        .ring(b, StatusCode::RINGING, None, Headers::new(), now)
        .unwrap();
    pair.run(100);
    let ringing = progress(&mut pair, a);
    assert!(ringing.headers.has_token(&HeaderName::Require, "100rel"));
    assert!(ringing.headers.rseq().unwrap().is_some_and(|rseq| rseq > 0));
    assert!(acked(&mut pair, b).is_empty());
    pair.expect_trace(&["B 180 INVITE", "A PRACK", "B 200 PRACK"]);
    accept(&mut pair, b, Some("answer"));
    pair.run(100);
    assert_eq!(answered(&mut pair, a).body, sdp("answer").bytes);
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    pair.hang_up(a, b);
}

#[test]
fn who_merely_supports_it_is_asked_only_when_the_application_wants() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, false, Some("offer"));
    let now = pair.now;
    pair.b
        .endpoint
        .ring(b, StatusCode::RINGING, None, Headers::new(), now)
        .unwrap();
    pair.run(100);
    assert!(!progress(&mut pair, a).headers.contains(&HeaderName::RSeq));
    pair.expect_trace(&["B 180 INVITE"]);
    ring(&mut pair, b, StatusCode::SESSION_PROGRESS, None);
    pair.run(100);
    assert!(progress(&mut pair, a).headers.contains(&HeaderName::RSeq));
    acked(&mut pair, b);
    pair.expect_trace(&["B 183 INVITE", "A PRACK", "B 200 PRACK"]);
    let now = pair.now;
    pair.b
        .endpoint
        .reject(b, StatusCode::BUSY_HERE, Headers::new(), now)
        .unwrap();
    pair.run(100);
    pair.a.expect_failed(a, Some(StatusCode::BUSY_HERE));
    pair.finish();
}

#[test]
fn who_does_not_support_it_never_gets_it() {
    let mut solo = Solo::new();
    solo.receive(&request("INVITE", 1, "first", "", ""));
    solo.expect_status(100);
    let Event::Invite { session, .. } = solo.event() else {
        panic!()
    };
    solo.endpoint
        .ring(session, StatusCode::RINGING, None, reliably(), solo.now)
        .unwrap();
    solo.drain();
    let ringing = solo.expect_status(180);
    assert!(!ringing.headers.contains(&HeaderName::RSeq) && !ringing.headers.contains(&HeaderName::Require));
    solo.endpoint
        .reject(session, StatusCode::BUSY_HERE, Headers::new(), solo.now)
        .unwrap();
    solo.drain();
    solo.expect_status(486);
    solo.finish();
}

#[test]
fn a_lost_response_is_repeated_from_t1_doubling_and_shown_once() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, Some("offer"));
    pair.lose(Side::B, "180 INVITE", 2);
    ring(&mut pair, b, StatusCode::RINGING, None);
    pair.run(499);
    pair.expect_trace(&["B 180 INVITE!"]);
    pair.run(2);
    pair.expect_trace(&["B 180 INVITE!"]);
    pair.run(997);
    pair.expect_trace(&[]);
    pair.run(200);
    pair.expect_trace(&["B 180 INVITE", "A PRACK", "B 200 PRACK"]);
    progress(&mut pair, a);
    acked(&mut pair, b);
    pair.a.nothing();
    accept(&mut pair, b, Some("answer"));
    pair.run(100);
    answered(&mut pair, a);
    pair.b.session_event(b);
    pair.hang_up(a, b);
}

#[test]
fn a_lost_prack_is_repeated_by_its_transaction_and_not_for_each_response() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, Some("offer"));
    pair.lose(Side::A, "PRACK", 2);
    ring(&mut pair, b, StatusCode::RINGING, None);
    pair.run(3000);
    progress(&mut pair, a);
    acked(&mut pair, b);
    pair.a.nothing();
    pair.expect_trace(&[
        "B 180 INVITE",
        "A PRACK!",
        "B 180 INVITE",
        "A PRACK!",
        "B 180 INVITE",
        "A PRACK",
        "B 200 PRACK",
    ]);
    accept(&mut pair, b, Some("answer"));
    pair.run(100);
    answered(&mut pair, a);
    pair.b.session_event(b);
    pair.hang_up(a, b);
}

#[test]
fn a_second_response_waits_for_the_prack_to_the_first() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, Some("offer"));
    pair.lose(Side::A, "PRACK", 1);
    ring(&mut pair, b, StatusCode::RINGING, None);
    ring(&mut pair, b, StatusCode::SESSION_PROGRESS, None);
    pair.run(300);
    pair.expect_trace(&["B 180 INVITE", "A PRACK!"]);
    pair.run(1000);
    let first = progress(&mut pair, a).headers.rseq().unwrap().unwrap();
    let second = progress(&mut pair, a).headers.rseq().unwrap().unwrap();
    assert_eq!(second, first + 1);
    acked(&mut pair, b);
    acked(&mut pair, b);
    pair.expect_trace(&[
        "B 180 INVITE",
        "A PRACK",
        "B 200 PRACK",
        "B 183 INVITE",
        "A PRACK",
        "B 200 PRACK",
    ]);
    accept(&mut pair, b, Some("answer"));
    pair.run(100);
    answered(&mut pair, a);
    pair.b.session_event(b);
    pair.hang_up(a, b);
}

#[test]
fn without_any_prack_the_call_ends_with_504() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, Some("offer"));
    pair.lose(Side::A, "PRACK", 100);
    ring(&mut pair, b, StatusCode::RINGING, None);
    pair.run(31_900);
    pair.b.nothing();
    pair.run(1000);
    pair.b.expect_terminated(b, TerminatedBy::Timeout);
    progress(&mut pair, a);
    pair.a.expect_failed(a, Some(StatusCode::SERVER_TIMEOUT));
    pair.finish();
}

#[test]
fn a_2xx_waits_for_the_prack_to_a_description_and_repeats_none() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, Some("offer"));
    pair.lose(Side::A, "PRACK", 1);
    ring(&mut pair, b, StatusCode::SESSION_PROGRESS, Some("answer"));
    accept(&mut pair, b, Some("answer"));
    pair.run(300);
    pair.expect_trace(&["B 183 INVITE", "A PRACK!"]);
    pair.run(700);
    assert_eq!(progress(&mut pair, a).body, sdp("answer").bytes);
    assert!(answered(&mut pair, a).body.is_empty());
    acked(&mut pair, b);
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    pair.expect_trace(&["B 183 INVITE", "A PRACK", "B 200 PRACK", "B 200 INVITE", "A ACK"]);
    pair.hang_up(a, b);
}

#[test]
fn a_2xx_does_not_wait_for_a_mere_ringing_and_its_prack_is_answered_late() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, Some("offer"));
    pair.lose(Side::A, "PRACK", 1);
    ring(&mut pair, b, StatusCode::RINGING, None);
    accept(&mut pair, b, Some("answer"));
    pair.run(1000);
    progress(&mut pair, a);
    answered(&mut pair, a);
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    pair.expect_trace(&[
        "B 180 INVITE",
        "B 200 INVITE",
        "A PRACK!",
        "A ACK",
        "A PRACK",
        "B 200 PRACK",
    ]);
    pair.hang_up(a, b);
}

#[test]
fn an_offer_in_the_response_is_answered_in_the_prack() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, None);
    ring(&mut pair, b, StatusCode::SESSION_PROGRESS, Some("offer of B"));
    pair.run(100);
    assert_eq!(progress(&mut pair, a).body, sdp("offer of B").bytes);
    // The PRACK waits for the application, and the 200 for the PRACK.
    accept(&mut pair, b, None);
    pair.run(100);
    pair.expect_trace(&["B 183 INVITE"]);
    let now = pair.now;
    pair.a
        .endpoint
        .ack_with_answer(a, sdp("answer of A"), now)
        .unwrap();
    pair.run(100);
    assert_eq!(acked(&mut pair, b), sdp("answer of A").bytes);
    assert!(answered(&mut pair, a).body.is_empty());
    let SessionEvent::Confirmed { body, .. } = pair.b.session_event(b) else {
        panic!()
    };
    assert!(body.is_empty());
    pair.expect_trace(&["A PRACK", "B 200 PRACK", "B 200 INVITE", "A ACK"]);
    pair.hang_up(a, b);
}

#[test]
fn an_offer_in_the_prack_is_answered_in_its_200() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, Some("offer"));
    ring(&mut pair, b, StatusCode::SESSION_PROGRESS, Some("answer"));
    let now = pair.now;
    pair.a.endpoint.update(a, sdp("second offer"), now).unwrap();
    pair.run(100);
    assert_eq!(progress(&mut pair, a).body, sdp("answer").bytes);
    let SessionEvent::ReOffer { request } = pair.b.session_event(b) else {
        panic!()
    };
    assert_eq!(request.method.as_str(), "PRACK");
    assert_eq!(request.body, sdp("second offer").bytes);
    // The 200 to the INVITE waits for the answer.
    accept(&mut pair, b, None);
    pair.run(100);
    pair.expect_trace(&["B 183 INVITE", "A PRACK"]);
    let now = pair.now;
    pair.b.endpoint.answer(b, sdp("second answer"), now).unwrap();
    pair.run(100);
    let SessionEvent::ReAnswered { response } = pair.a.session_event(a) else {
        panic!()
    };
    assert_eq!(response.body, sdp("second answer").bytes);
    answered(&mut pair, a);
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    pair.expect_trace(&["B 200 PRACK", "B 200 INVITE", "A ACK"]);
    pair.hang_up(a, b);
}

#[test]
fn update_before_the_2xx_both_ways_once_the_first_exchange_is_done() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, Some("offer"));
    let now = pair.now;
    // Too early: kept until the PRACK has come.
    ring(&mut pair, b, StatusCode::SESSION_PROGRESS, Some("answer"));
    pair.b.endpoint.update(b, sdp("offer of B"), now).unwrap();
    pair.run(100);
    progress(&mut pair, a);
    acked(&mut pair, b);
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.a.endpoint.answer(a, sdp("ok"), now).unwrap();
    pair.a.endpoint.update(a, sdp("offer of A"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReAnswered { .. }));
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.b.endpoint.answer(b, sdp("ok"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReAnswered { .. }));
    pair.expect_trace(&[
        "B 183 INVITE",
        "A PRACK",
        "B 200 PRACK",
        "B UPDATE",
        "A 200 UPDATE",
        "A UPDATE",
        "B 200 UPDATE",
    ]);
    accept(&mut pair, b, None);
    pair.run(100);
    answered(&mut pair, a);
    pair.b.session_event(b);
    pair.hang_up(a, b);
}

#[test]
fn update_before_the_answer_gets_491_from_the_caller_and_500_from_the_called() {
    let mut solo = Solo::new();
    solo.receive(&request(
        "INVITE",
        1,
        "first",
        "",
        "Require: 100rel\nContent-Type: application/sdp\nContent-Length: 4\n\nv=0\n",
    ));
    solo.expect_status(100);
    let Event::Invite { session, .. } = solo.event() else {
        panic!()
    };
    solo.endpoint
        .ring(session, StatusCode::RINGING, None, Headers::new(), solo.now)
        .unwrap();
    solo.drain();
    let ringing = solo.expect_status(180);
    let tag = ringing.headers.to_tag().unwrap().to_string();
    let rseq = ringing.headers.rseq().unwrap().unwrap();
    // RFC 3311 §5.2: the offer of the INVITE is unanswered.
    let body = "Content-Type: application/sdp\nContent-Length: 4\n\nv=0\n";
    solo.receive(&request("UPDATE", 2, "update", &tag, body));
    assert!(solo.expect_status(500).headers.contains(&HeaderName::RetryAfter));
    // RFC 3262 §3: a PRACK that names nothing, another number, another CSeq.
    solo.receive(&request("PRACK", 3, "prack1", &tag, ""));
    solo.expect_status(400);
    solo.receive(&request(
        "PRACK",
        4,
        "prack2",
        &tag,
        &format!("RAck: {} 1 INVITE\n", rseq + 1),
    ));
    solo.expect_status(481);
    solo.receive(&request(
        "PRACK",
        5,
        "prack3",
        &tag,
        &format!("RAck: {rseq} 2 INVITE\n"),
    ));
    solo.expect_status(481);
    solo.receive(&request(
        "PRACK",
        6,
        "prack4",
        &tag,
        &format!("RAck: {rseq} 1 INVITE\n"),
    ));
    solo.expect_status(200);
    solo.receive(&request(
        "PRACK",
        7,
        "prack5",
        &tag,
        &format!("RAck: {rseq} 1 INVITE\n"),
    ));
    solo.expect_status(481);
    solo.receive(&request("CANCEL", 1, "first", "", ""));
    solo.expect_status(200);
    solo.expect_status(487);
    solo.receive(&request("ACK", 1, "first", &tag, ""));
    solo.finish();
}

const OFFER: &str = "Content-Type: application/sdp\nContent-Length: 4\n\nv=0\n";

/// A call of the peer that was accepted while a mere 180 had no PRACK yet; its session, our tag, and the PRACK's RAck.
fn accepted_before_the_prack(solo: &mut Solo, invite: &str) -> (SessionId, String, String) {
    solo.receive(&request(
        "INVITE",
        1,
        "first",
        "",
        &format!("Supported: 100rel\n{invite}"),
    ));
    solo.expect_status(100);
    let Event::Invite { session, .. } = solo.event() else {
        panic!()
    };
    solo.endpoint
        .ring(session, StatusCode::RINGING, None, reliably(), solo.now)
        .unwrap();
    solo.endpoint
        .accept(session, Some(sdp("first")), Headers::new(), solo.now)
        .unwrap();
    solo.drain();
    let ringing = solo.expect_status(180);
    solo.expect_status(200);
    let rseq = ringing.headers.rseq().unwrap().unwrap();
    let tag = ringing.headers.to_tag().unwrap().to_string();
    (session, tag, format!("RAck: {rseq} 1 INVITE\n"))
}

/// RFC 3262 §5: a PRACK's offer has its answer in the 2xx to the PRACK, however late it comes.
#[test]
fn an_offer_in_a_late_prack_is_answered() {
    let mut solo = Solo::new();
    let (session, tag, rack) = accepted_before_the_prack(&mut solo, OFFER);
    solo.receive(&request("PRACK", 2, "prack", &tag, &format!("{rack}{OFFER}")));
    solo.silent();
    assert!(matches!(
        solo.event(),
        Event::Session {
            event: SessionEvent::ReOffer { .. },
            ..
        }
    ));
    solo.endpoint.answer(session, sdp("second"), solo.now).unwrap();
    solo.drain();
    assert_eq!(solo.expect_status(200).body, sdp("second").bytes);
    solo.receive(&request("ACK", 1, "ack", &tag, ""));
    assert!(matches!(
        solo.event(),
        Event::Session {
            event: SessionEvent::Confirmed { .. },
            ..
        }
    ));
    solo.receive(&request("BYE", 3, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}

#[test]
fn an_offer_in_a_late_prack_is_refused_while_ours_is_open() {
    let mut solo = Solo::new();
    let (_, tag, rack) = accepted_before_the_prack(&mut solo, "");
    solo.receive(&request("PRACK", 2, "prack", &tag, &format!("{rack}{OFFER}")));
    solo.expect_status(491);
    solo.receive(&request("ACK", 1, "ack", &tag, OFFER));
    solo.receive(&request("BYE", 3, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}

#[test]
fn an_early_offer_without_any_answer_is_told_and_the_next_one_goes() {
    let mut pair = Pair::new();
    let (a, b) = invited(&mut pair, true, Some("offer"));
    ring(&mut pair, b, StatusCode::SESSION_PROGRESS, Some("answer"));
    pair.run(100);
    progress(&mut pair, a);
    acked(&mut pair, b);
    pair.lose(Side::A, "UPDATE", 11);
    let now = pair.now;
    pair.a.endpoint.update(a, sdp("lost"), now).unwrap();
    pair.run(33_000);
    assert_eq!(pair.a.session_event(a), SessionEvent::ReUnanswered);
    let now = pair.now;
    pair.a.endpoint.update(a, sdp("second"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.b.endpoint.answer(b, sdp("yes"), now).unwrap();
    accept(&mut pair, b, None);
    pair.run(100);
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReAnswered { .. }));
    answered(&mut pair, a);
    pair.b.session_event(b);
    pair.hang_up(a, b);
}

/// The text of a reliable response's lines.
fn reliable_lines(rseq: u32, body: bool) -> String {
    let body = if body {
        "Content-Type: application/sdp\nContent-Length: 4\n\nv=0\n"
    } else {
        ""
    };
    format!(
        "Contact: <sip:bob@192.0.2.9:5070>\nAllow: INVITE, ACK, BYE, PRACK, UPDATE\nRequire: 100rel\nRSeq: {rseq}\n{body}"
    )
}

fn calling(solo: &mut Solo) -> (SessionId, sip_proto::message::Request) {
    let pair = Pair::new();
    let call = Outgoing {
        body: Some(sdp("offer")),
        flow: solo.flow,
        ..pair.outgoing(Side::A)
    };
    let session = solo.endpoint.invite(call, solo.now).unwrap();
    solo.drain();
    let invite = solo.request();
    assert!(invite.headers.has_token(&HeaderName::Supported, "100rel"));
    (session, invite)
}

#[test]
fn responses_out_of_order_get_no_prack_and_duplicates_no_second() {
    let mut solo = Solo::new();
    let (session, invite) = calling(&mut solo);
    solo.answer(&invite, "183 Session Progress", "x", &reliable_lines(7, false));
    let prack = solo.request();
    let cseq = invite.headers.cseq().unwrap().seq;
    assert_eq!(
        prack.headers.get(&HeaderName::RAck),
        Some(format!("7 {cseq} INVITE").as_str())
    );
    assert_eq!(prack.headers.cseq().unwrap().seq, cseq + 1);
    assert!(!prack.headers.contains(&HeaderName::Contact));
    solo.answer(&prack, "200 OK", "", "");
    solo.answer(&invite, "183 Session Progress", "x", &reliable_lines(7, false));
    solo.answer(&invite, "180 Ringing", "x", &reliable_lines(9, false));
    solo.silent();
    solo.answer(&invite, "180 Ringing", "x", &reliable_lines(8, false));
    let prack = solo.request();
    assert_eq!(prack.headers.rack().unwrap().rseq, 8);
    solo.answer(&prack, "200 OK", "", "");
    // A 100 is never reliable, whatever it claims.
    solo.answer(&invite, "100 Trying", "", "Require: 100rel\nRSeq: 9\n");
    solo.silent();
    assert_eq!(solo.events.len(), 2);
    solo.endpoint.cancel(session, solo.now).unwrap();
    solo.drain();
    let cancel = solo.request();
    solo.answer(&cancel, "200 OK", "", "");
    solo.answer(&invite, "487 Request Terminated", "x", "");
    solo.finish();
}

#[test]
fn each_branch_of_a_fork_counts_by_itself() {
    let mut solo = Solo::new();
    let (session, invite) = calling(&mut solo);
    solo.answer(&invite, "183 Session Progress", "x", &reliable_lines(100, true));
    let x = solo.request();
    solo.answer(&invite, "183 Session Progress", "y", &reliable_lines(5, true));
    let y = solo.request();
    assert_eq!(
        (x.headers.rack().unwrap().rseq, y.headers.rack().unwrap().rseq),
        (100, 5)
    );
    assert_eq!(x.headers.to_tag().unwrap().as_str(), "x");
    assert_eq!(y.headers.to_tag().unwrap().as_str(), "y");
    for prack in [&x, &y] {
        solo.answer(prack, "200 OK", "", "");
    }
    // Our offer goes to the latest branch; the other one answers the call, and gets it anew.
    solo.endpoint.update(session, sdp("second"), solo.now).unwrap();
    solo.drain();
    let update = solo.request();
    assert_eq!(
        (update.method.as_str(), update.headers.to_tag().unwrap().as_str()),
        ("UPDATE", "y")
    );
    solo.answer(
        &invite,
        "200 OK",
        "x",
        "Contact: <sip:bob@192.0.2.9:5070>\nAllow: UPDATE, PRACK\n",
    );
    assert_eq!(solo.request().method.as_str(), "ACK");
    let update = solo.request();
    assert_eq!(
        (update.method.as_str(), update.headers.to_tag().unwrap().as_str()),
        ("UPDATE", "x")
    );
    solo.answer(
        &update,
        "200 OK",
        "",
        "Content-Type: application/sdp\nContent-Length: 4\n\nv=0\n",
    );
    // The UPDATE to the branch that was left is never answered: the call does not care.
    solo.run(40_000);
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = loop {
        let request = solo.request();
        if request.method.as_str() == "BYE" {
            break request;
        }
        let tag = request.headers.to_tag().unwrap();
        assert_eq!((request.method.as_str(), tag.as_str()), ("UPDATE", "y"));
    };
    assert_eq!(bye.headers.to_tag().unwrap().as_str(), "x");
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}

#[test]
fn an_offer_of_a_branch_that_does_not_get_the_call_is_taken_back() {
    let mut solo = Solo::new();
    let (session, invite) = calling(&mut solo);
    for (tag, rseq) in [("x", 100), ("y", 5)] {
        solo.answer(&invite, "183 Session Progress", tag, &reliable_lines(rseq, true));
        let prack = solo.request();
        solo.answer(&prack, "200 OK", "", "");
        assert!(matches!(
            solo.event(),
            Event::Session {
                event: SessionEvent::Progress { .. },
                ..
            }
        ));
    }
    let get = |name: HeaderName| invite.headers.get(&name).unwrap().to_owned();
    solo.receive(&format!(
        "UPDATE sip:us@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx\nMax-Forwards: 70\n\
         From: {};tag=x\nTo: {}\nCall-ID: {}\nCSeq: 1 UPDATE\nContact: <sip:bob@192.0.2.9:5070>\n{OFFER}",
        get(HeaderName::To),
        get(HeaderName::From),
        get(HeaderName::CallId),
    ));
    let contact = "Contact: <sip:bob@192.0.2.9:5070>\n";
    solo.answer(&invite, "200 OK", "y", contact);
    solo.expect_status(487);
    assert_eq!(solo.request().method.as_str(), "ACK");
    let told: Vec<_> = solo.events.drain(..).collect();
    assert!(
        matches!(
            told.as_slice(),
            [
                Event::Session {
                    event: SessionEvent::ReOffer { .. },
                    ..
                },
                Event::Session {
                    event: SessionEvent::ReOfferCancelled,
                    ..
                },
                Event::Session {
                    event: SessionEvent::Answered { .. },
                    ..
                },
            ]
        ),
        "{told:?}"
    );
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = solo.request();
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}

#[test]
fn over_a_bad_network_every_call_with_early_offers_comes_to_its_end() {
    for seed in 1..40 {
        let mut pair = Pair::new();
        pair.seed(seed);
        pair.chaos = (150, 100, 200);
        let call = Outgoing {
            body: Some(sdp("offer")),
            headers: reliably(),
            ..pair.outgoing(Side::A)
        };
        let a = pair.a.endpoint.invite(call, pair.now).unwrap();
        pair.run(40_000);
        if let Some(Event::Invite { session: b, .. }) = pair.b.events.pop_front() {
            ring(&mut pair, b, StatusCode::SESSION_PROGRESS, Some("answer"));
            ring(&mut pair, b, StatusCode::RINGING, None);
            let now = pair.now;
            let _ = pair.a.endpoint.update(a, sdp("more"), now);
            accept(&mut pair, b, Some("answer"));
            for _ in 0..20 {
                pair.run(2000);
                let asked = pair.b.events.drain(..).any(|event| {
                    matches!(
                        event,
                        Event::Session {
                            event: SessionEvent::ReOffer { .. },
                            ..
                        }
                    )
                });
                let now = pair.now;
                if asked {
                    let _ = pair.b.endpoint.answer(b, sdp("yes"), now);
                }
            }
            let now = pair.now;
            let _ = pair.b.endpoint.bye(b, None, now);
        }
        let now = pair.now;
        let _ = pair.a.endpoint.bye(a, None, now);
        pair.run(100_000);
        pair.a.events.clear();
        pair.b.events.clear();
        pair.finish();
    }
}
