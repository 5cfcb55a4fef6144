//! The end of early dialogs of our calls: an offer of the peer that is open then is answered all the same, and the
//! numbers of a branch go on.

use sip_proto::endpoint::{Event, Outgoing, SessionEvent, SessionId, TerminatedBy};
use sip_proto::message::{HeaderName, Method, Request};

use crate::pair::{Pair, Side, sdp};
use crate::solo::{OFFER, Solo};

const CONTACT: &str = "Contact: <sip:bob@192.0.2.9:5070>\n";

/// A call of ours whose peer answered in a reliable 183, which has its PRACK.
fn ringing(solo: &mut Solo) -> (SessionId, Request, Request) {
    let call = Outgoing {
        body: Some(sdp("offer")),
        flow: solo.flow,
        ..Pair::new().outgoing(Side::A)
    };
    let session = solo.endpoint.invite(call, solo.now).unwrap();
    solo.drain();
    let invite = solo.request();
    let lines = format!("{CONTACT}Allow: INVITE, PRACK, UPDATE\nRequire: 100rel\nRSeq: 7\n{OFFER}");
    solo.answer(&invite, "183 Session Progress", "x", &lines);
    let prack = solo.request();
    assert_eq!((&prack.method, seq(&prack)), (&Method::Prack, seq(&invite) + 1));
    solo.answer(&prack, "200 OK", "", "");
    assert!(matches!(told(solo), SessionEvent::Progress { .. }));
    (session, invite, prack)
}

fn seq(request: &Request) -> u32 {
    request.headers.cseq().unwrap().seq
}

#[track_caller]
fn told(solo: &mut Solo) -> SessionEvent {
    match solo.event() {
        Event::Session { event, .. } => event,
        other => panic!("{other:?}"),
    }
}

/// A request of the peer in the early dialog.
fn peer_sends(solo: &mut Solo, invite: &Request, method: &str, cseq: u32, lines: &str) {
    let get = |name: HeaderName| invite.headers.get(&name).unwrap().to_owned();
    solo.receive(&format!(
        "{method} sip:us@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKpeer{cseq}\n\
         Max-Forwards: 70\nFrom: {};tag=x\nTo: {}\nCall-ID: {}\nCSeq: {cseq} {method}\n{CONTACT}{lines}",
        get(HeaderName::To),
        get(HeaderName::From),
        get(HeaderName::CallId),
    ));
}

/// The peer's offer in an early dialog of ours, which the application has not answered yet.
fn peer_offers(solo: &mut Solo, invite: &Request) {
    peer_sends(solo, invite, "UPDATE", 1, OFFER);
    assert!(matches!(told(solo), SessionEvent::ReOffer { .. }));
    solo.silent();
}

#[track_caller]
fn offer_gets_487(solo: &mut Solo) {
    let refused = solo.expect_status(487);
    assert_eq!(refused.headers.cseq_method().unwrap(), Method::Update);
}

fn cancel(solo: &mut Solo, session: SessionId) {
    solo.endpoint.cancel(session, solo.now).unwrap();
    solo.drain();
    let cancel = solo.request();
    assert_eq!(cancel.method, Method::Cancel);
    solo.answer(&cancel, "200 OK", "", "");
}

/// RFC 3261 §8.2.6, §15.1.2: who ends the dialog answers what the peer asked in it.
#[test]
fn the_peers_offer_is_answered_when_the_invite_never_is() {
    let mut solo = Solo::new();
    let (session, invite, _) = ringing(&mut solo);
    cancel(&mut solo, session);
    solo.run(20_000);
    peer_offers(&mut solo, &invite);
    solo.run(13_000);
    solo.expect_status(100);
    offer_gets_487(&mut solo);
    assert!(matches!(told(&mut solo), SessionEvent::Failed { response: None }));
    assert!(solo.endpoint.answer(session, sdp("late"), solo.now).is_err());
    solo.finish();
}

#[test]
fn the_peers_offer_is_answered_when_its_200_crosses_our_cancel() {
    let mut solo = Solo::new();
    let (session, invite, prack) = ringing(&mut solo);
    peer_offers(&mut solo, &invite);
    cancel(&mut solo, session);
    solo.answer(&invite, "200 OK", "x", CONTACT);
    offer_gets_487(&mut solo);
    assert_eq!(solo.request().method, Method::Ack);
    let bye = solo.request();
    assert_eq!((&bye.method, seq(&bye)), (&Method::Bye, seq(&prack) + 1));
    let ended = told(&mut solo);
    assert!(
        matches!(
            ended,
            SessionEvent::Terminated {
                by: TerminatedBy::Local,
                ..
            }
        ),
        "{ended:?}"
    );
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}

#[test]
fn the_peers_offer_is_answered_when_its_bye_ends_the_early_dialog() {
    let mut solo = Solo::new();
    let (session, invite, _) = ringing(&mut solo);
    peer_offers(&mut solo, &invite);
    peer_sends(&mut solo, &invite, "BYE", 2, "");
    offer_gets_487(&mut solo);
    assert_eq!(solo.request().method, Method::Cancel);
    solo.expect_status(200);
    assert_eq!(told(&mut solo), SessionEvent::ReOfferCancelled);
    assert!(solo.endpoint.answer(session, sdp("late"), solo.now).is_err());
    solo.answer(&invite, "487 Request Terminated", "x", "");
    assert_eq!(solo.request().method, Method::Ack);
    assert!(matches!(
        told(&mut solo),
        SessionEvent::Failed { response: Some(_) }
    ));
    solo.finish();
}

/// RFC 3261 §12.2.1.1: a number that was used once is not used again, though the dialog was gone in between.
#[test]
fn the_numbers_of_a_branch_go_on_after_the_peers_early_bye() {
    let mut solo = Solo::new();
    let (_, invite, prack) = ringing(&mut solo);
    peer_sends(&mut solo, &invite, "BYE", 1, "");
    assert_eq!(solo.request().method, Method::Cancel);
    solo.expect_status(200);
    // It crossed a further response of the same branch, and that the 200.
    let again = format!("{CONTACT}Allow: INVITE, PRACK\nRequire: 100rel\nRSeq: 8\n");
    solo.answer(&invite, "180 Ringing", "x", &again);
    let second = solo.request();
    assert_eq!((&second.method, seq(&second)), (&Method::Prack, seq(&prack) + 1));
    solo.answer(&second, "200 OK", "", "");
    peer_sends(&mut solo, &invite, "BYE", 2, "");
    solo.expect_status(200);
    solo.answer(&invite, "200 OK", "x", CONTACT);
    let ack = solo.request();
    assert_eq!((&ack.method, seq(&ack)), (&Method::Ack, seq(&invite)));
    let bye = solo.request();
    assert_eq!((&bye.method, seq(&bye)), (&Method::Bye, seq(&second) + 1));
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}
