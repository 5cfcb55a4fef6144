//! CANCEL in all its races.

use sip_proto::endpoint::{SessionEvent, TerminatedBy};
use sip_proto::message::{Headers, StatusCode};

use crate::pair::{Pair, Side, sdp};

#[test]
fn a_ringing_call_is_cancelled() {
    let mut pair = Pair::new();
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    let now = pair.now;
    pair.b
        .endpoint
        .ring(b, StatusCode::RINGING, None, Headers::new(), now)
        .unwrap();
    pair.run(100);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Progress { .. }));
    let now = pair.now;
    pair.a.endpoint.cancel(a, now).unwrap();
    pair.a.endpoint.cancel(a, now).unwrap();
    pair.run(100);
    assert_eq!(pair.b.session_event(b), SessionEvent::Cancelled);
    pair.a.expect_failed(a, Some(StatusCode::REQUEST_TERMINATED));
    pair.expect_trace(&[
        "A INVITE",
        "B 100 INVITE",
        "B 180 INVITE",
        "A CANCEL",
        "B 200 CANCEL",
        "B 487 INVITE",
        "A ACK",
    ]);
    pair.finish();
}

#[test]
fn a_cancel_is_held_back_until_the_invite_is_known_to_have_arrived() {
    let mut pair = Pair::new();
    pair.lose(Side::A, "INVITE", 1);
    let a = pair.invite();
    let now = pair.now;
    pair.a.endpoint.cancel(a, now).unwrap();
    pair.run(1000);
    assert!(matches!(
        pair.b.event(),
        sip_proto::endpoint::Event::Invite { .. }
    ));
    assert!(matches!(
        pair.b.event(),
        sip_proto::endpoint::Event::Session {
            event: SessionEvent::Cancelled,
            ..
        }
    ));
    pair.a.expect_failed(a, Some(StatusCode::REQUEST_TERMINATED));
    pair.expect_trace(&[
        "A INVITE!",
        "A INVITE",
        "B 100 INVITE",
        "A CANCEL",
        "B 200 CANCEL",
        "B 487 INVITE",
        "A ACK",
    ]);
    pair.finish();
}

#[test]
fn a_cancel_that_crosses_the_200_ends_in_ack_and_bye() {
    let mut pair = Pair::new();
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    pair.accept(b);
    let now = pair.now;
    pair.a.endpoint.cancel(a, now).unwrap();
    pair.run(200);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    let mut trace = std::mem::take(&mut pair.trace);
    trace.sort();
    assert_eq!(
        trace,
        [
            "A ACK",
            "A BYE",
            "A CANCEL",
            "A INVITE",
            "B 100 INVITE",
            "B 200 BYE",
            "B 200 CANCEL",
            "B 200 INVITE"
        ]
    );
    pair.finish();
}

#[test]
fn a_cancelled_call_whose_487_never_comes_is_given_up() {
    let mut pair = Pair::new();
    pair.lose(Side::B, "487 INVITE", 1000);
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(31_000);
    assert_eq!(pair.b.session_event(b), SessionEvent::Cancelled);
    pair.a.nothing();
    pair.run(2000);
    pair.a.expect_failed(a, None);
    pair.finish();
}

#[test]
fn a_cancelled_reinvite_leaves_the_session_as_it_was() {
    use crate::solo::{Solo, request};
    let mut solo = Solo::new();
    let (session, tag) = crate::offers::accepted(&mut solo);
    solo.receive(&request(
        "INVITE",
        2,
        "re",
        &tag,
        "Content-Type: application/sdp\nContent-Length: 4\n\nv=0\n",
    ));
    solo.expect_status(100);
    assert!(matches!(
        solo.event(),
        sip_proto::endpoint::Event::Session {
            event: SessionEvent::ReOffer { .. },
            ..
        }
    ));
    solo.receive(&request("CANCEL", 2, "re", &tag, ""));
    assert_eq!(
        solo.expect_status(200).headers.cseq_method().unwrap().as_str(),
        "CANCEL"
    );
    assert_eq!(
        solo.expect_status(487).headers.cseq_method().unwrap().as_str(),
        "INVITE"
    );
    assert!(matches!(
        solo.event(),
        sip_proto::endpoint::Event::Session {
            event: SessionEvent::ReOfferCancelled,
            ..
        }
    ));
    assert!(solo.endpoint.answer(session, sdp("late"), solo.now).is_err());
    solo.receive(&request("ACK", 2, "re", &tag, ""));
    solo.receive(&request("BYE", 3, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}
