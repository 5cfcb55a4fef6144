//! An INVITE that reaches several phones: early dialogs of each, one answer kept, the others released.

use sip_proto::endpoint::{Event, Outgoing, SessionEvent, SessionId};
use sip_proto::headers::NameAddr;
use sip_proto::message::{HeaderName, Method, Request};

use crate::pair::sdp;
use crate::solo::{Solo, request};

fn call(solo: &mut Solo) -> (SessionId, Request) {
    let uri: sip_proto::uri::Uri = "sip:team@192.0.2.9:5070".parse().unwrap();
    let outgoing = Outgoing {
        target: uri.clone(),
        from: NameAddr::new("sip:us@192.0.2.1".parse().unwrap()),
        to: NameAddr::new(uri),
        contact: None,
        flow: solo.flow,
        route: Vec::new(),
        headers: sip_proto::message::Headers::new(),
        body: Some(sdp("offer")),
    };
    let session = solo.endpoint.invite(outgoing, solo.now).unwrap();
    solo.drain();
    let invite = solo.request();
    (session, invite)
}

#[test]
fn the_second_answer_of_a_fork_gets_ack_and_bye() {
    let mut solo = Solo::new();
    let (session, invite) = call(&mut solo);
    solo.answer(
        &invite,
        "180 Ringing",
        "one",
        "Contact: <sip:one@192.0.2.9:5071>\n",
    );
    solo.answer(
        &invite,
        "180 Ringing",
        "two",
        "Contact: <sip:two@192.0.2.9:5072>\n",
    );
    assert_eq!(solo.endpoint.counts().dialogs, 2);
    solo.answer(&invite, "200 OK", "one", "Contact: <sip:one@192.0.2.9:5071>\n");
    assert_eq!(solo.endpoint.counts().dialogs, 1);
    let ack = solo.request();
    assert_eq!(
        (ack.method, ack.uri.to_string().as_str()),
        (Method::Ack, "sip:one@192.0.2.9:5071")
    );
    solo.answer(&invite, "200 OK", "two", "Contact: <sip:two@192.0.2.9:5072>\n");
    let (ack, bye) = (solo.request(), solo.request());
    assert_eq!((&ack.method, &bye.method), (&Method::Ack, &Method::Bye));
    assert_eq!(bye.headers.to_tag().unwrap().as_str(), "two");
    assert_eq!(bye.uri.to_string(), "sip:two@192.0.2.9:5072");
    // It comes again because the ACK was lost: the ACK again, no second BYE.
    solo.answer(&invite, "200 OK", "two", "Contact: <sip:two@192.0.2.9:5072>\n");
    assert_eq!(solo.request().method, Method::Ack);
    solo.silent();
    solo.answer(&bye, "200 OK", "", "");
    assert!(matches!(
        solo.event(),
        Event::Session {
            event: SessionEvent::Progress { .. },
            ..
        }
    ));
    assert!(matches!(
        solo.event(),
        Event::Session {
            event: SessionEvent::Progress { .. },
            ..
        }
    ));
    assert!(matches!(
        solo.event(),
        Event::Session {
            event: SessionEvent::Answered { .. },
            ..
        }
    ));
    assert!(solo.events.is_empty());
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = solo.request();
    assert_eq!(bye.headers.to_tag().unwrap().as_str(), "one");
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}

/// RFC 3261 §12.2.1.1: the numbers go up in each dialog, in one that is only made to be ended, too.
#[test]
fn the_bye_to_a_surplus_branch_goes_on_after_its_prack() {
    let reliable = |name: &str| {
        format!("Contact: <sip:{name}@192.0.2.9:5071>\nAllow: INVITE, PRACK\nRequire: 100rel\nRSeq: 7\n")
    };
    let mut solo = Solo::new();
    let (session, invite) = call(&mut solo);
    let seq = |request: &Request| request.headers.cseq().unwrap().seq;
    for name in ["one", "two"] {
        solo.answer(&invite, "180 Ringing", name, &reliable(name));
        let prack = solo.request();
        assert_eq!((&prack.method, seq(&prack)), (&Method::Prack, seq(&invite) + 1));
        solo.answer(&prack, "200 OK", "", "");
    }
    for name in ["one", "two"] {
        let contact = format!("Contact: <sip:{name}@192.0.2.9:5071>\n");
        solo.answer(&invite, "200 OK", name, &contact);
        let ack = solo.request();
        assert_eq!((&ack.method, seq(&ack)), (&Method::Ack, seq(&invite)));
    }
    let surplus = solo.request();
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = solo.request();
    for (bye, tag) in [(&surplus, "two"), (&bye, "one")] {
        assert_eq!((&bye.method, seq(bye)), (&Method::Bye, seq(&invite) + 2));
        assert_eq!(bye.headers.to_tag().unwrap().as_str(), tag);
        solo.answer(bye, "200 OK", "", "");
    }
    solo.finish();
}

#[test]
fn an_answer_after_the_call_was_cancelled_and_given_up_is_still_released() {
    let mut solo = Solo::new();
    let (session, invite) = call(&mut solo);
    solo.answer(&invite, "180 Ringing", "one", "");
    solo.endpoint.cancel(session, solo.now).unwrap();
    solo.drain();
    assert_eq!(solo.request().method, Method::Cancel);
    solo.answer(&invite, "200 OK", "one", "Contact: <sip:one@192.0.2.9:5071>\n");
    assert_eq!(solo.request().method, Method::Ack);
    assert_eq!(solo.request().method, Method::Bye);
    solo.finish();
}

#[test]
fn responses_that_are_not_ours_are_dropped() {
    let mut solo = Solo::new();
    let (_, invite) = call(&mut solo);
    let mut foreign = invite.clone();
    foreign
        .headers
        .set(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKother");
    solo.answer(&foreign, "200 OK", "one", "Contact: <sip:one@192.0.2.9>\n");
    let mut two_vias = invite.clone();
    let via = invite.headers.get(&HeaderName::Via).unwrap().to_owned();
    two_vias
        .headers
        .set(HeaderName::Via, format!("{via}, SIP/2.0/UDP 192.0.2.77"));
    solo.answer(&two_vias, "200 OK", "one", "Contact: <sip:one@192.0.2.9>\n");
    solo.silent();
    assert!(solo.events.is_empty());
    solo.answer(&invite, "486 Busy Here", "one", "");
    assert_eq!(solo.request().method, Method::Ack);
    solo.finish();
}

#[test]
fn a_bye_on_our_early_dialog_cancels_the_call() {
    let mut solo = Solo::new();
    let (_, invite) = call(&mut solo);
    solo.answer(
        &invite,
        "180 Ringing",
        "one",
        "Contact: <sip:one@192.0.2.9:5071>\n",
    );
    let from = invite.headers.get(&HeaderName::From).unwrap();
    let call_id = invite.headers.get(&HeaderName::CallId).unwrap();
    let bye = request("BYE", 1, "early", "", "")
        .replace(
            "From: <sip:carol@192.0.2.9>;tag=carol",
            "From: <sip:team@192.0.2.9:5070>;tag=one",
        )
        .replace("To: <sip:room@192.0.2.1>", &format!("To: {from}"))
        .replace("solo@192.0.2.9", call_id);
    solo.receive(&bye);
    assert_eq!(solo.request().method, Method::Cancel);
    solo.expect_status(200);
    solo.answer(&invite, "487 Request Terminated", "one", "");
    assert_eq!(solo.request().method, Method::Ack);
    solo.finish();
}
