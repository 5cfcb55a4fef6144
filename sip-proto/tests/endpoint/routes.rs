//! Route sets, targets, where requests and responses go.

use sip_proto::endpoint::Flow;
use sip_proto::message::{HeaderName, Headers, Message};

use crate::pair::sdp;
use crate::solo::{OFFER, Solo, request, tag_of};

fn accept(solo: &mut Solo, lines: &str) -> (sip_proto::endpoint::SessionId, String) {
    let (session, ok) = solo.call(&format!("{lines}{OFFER}"));
    let routes = |headers: &Headers| headers.tokens(&HeaderName::RecordRoute);
    assert_eq!(routes(&ok.headers).len(), lines.matches("<sip:p").count());
    (session, tag_of(&ok))
}

#[test]
fn the_called_side_keeps_the_order_of_record_route() {
    let mut solo = Solo::new();
    let (session, _) = accept(
        &mut solo,
        "Record-Route: <sip:p2@192.0.2.9:5070;lr>, <sip:p1@192.0.2.8;lr>\n",
    );
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let (to, Message::Request(bye)) = solo.sent.remove(0) else {
        panic!()
    };
    assert_eq!(bye.uri.to_string(), "sip:carol@192.0.2.9:5070");
    assert_eq!(
        bye.headers.tokens(&HeaderName::Route),
        ["<sip:p2@192.0.2.9:5070;lr>", "<sip:p1@192.0.2.8;lr>"]
    );
    assert_eq!(to, "192.0.2.9:5070".parse().unwrap());
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}

#[test]
fn a_strict_router_becomes_the_request_uri() {
    let mut solo = Solo::new();
    let (session, _) = accept(
        &mut solo,
        "Record-Route: <sip:p2@192.0.2.8>\nRecord-Route: <sip:p1@192.0.2.7;lr>\n",
    );
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let (to, Message::Request(bye)) = solo.sent.remove(0) else {
        panic!()
    };
    assert_eq!(bye.uri.to_string(), "sip:p2@192.0.2.8");
    assert_eq!(
        bye.headers.tokens(&HeaderName::Route),
        ["<sip:p1@192.0.2.7;lr>", "<sip:carol@192.0.2.9:5070>"]
    );
    assert_eq!(to, "192.0.2.8:5060".parse().unwrap());
    solo.finish();
}

#[test]
fn a_reinvite_moves_the_target_once_it_is_accepted() {
    let mut solo = Solo::new();
    let (session, tag) = accept(&mut solo, "");
    let moved = request("INVITE", 2, "re", &tag, "Content-Length: 4\n\nv=0\n").replace(
        "Contact: <sip:carol@192.0.2.9:5070>",
        "Contact: <sip:carol@192.0.2.10:5090>",
    );
    solo.receive(&moved);
    solo.expect_status(100);
    solo.endpoint.answer(session, sdp("ok"), solo.now).unwrap();
    solo.drain();
    solo.expect_status(200);
    solo.receive(&request("ACK", 2, "ack2", &tag, ""));
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let (to, Message::Request(bye)) = solo.sent.remove(0) else {
        panic!()
    };
    assert_eq!(bye.uri.to_string(), "sip:carol@192.0.2.10:5090");
    assert_eq!(to, "192.0.2.10:5090".parse().unwrap());
    solo.finish();
}

#[test]
fn behind_a_translator_requests_go_where_the_peer_was_heard() {
    let mut solo = Solo::new();
    solo.flow = Flow::udp(solo.flow.local, ([198, 51, 100, 7], 31_000).into());
    let (session, tag) = accept(&mut solo, "");
    // The binding moves to another port; the next request shows it.
    solo.flow.remote.set_port(32_000);
    solo.receive(&request("INFO", 2, "info", &tag, ""));
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let (to, Message::Request(bye)) = solo.sent.remove(0) else {
        panic!()
    };
    assert_eq!(bye.uri.to_string(), "sip:carol@192.0.2.9:5070");
    assert_eq!(to, "198.51.100.7:32000".parse().unwrap());
    solo.finish();
}

#[test]
fn responses_go_to_the_source_with_rport_and_to_the_via_port_without() {
    let options = request("OPTIONS", 1, "one", "nobody", "");
    // Sent from an ephemeral port, as old phones do, no translator in between: the port of the Via.
    let mut solo = Solo::new();
    let odd = Flow::udp(solo.flow.local, ([192, 0, 2, 9], 49_152).into());
    solo.receive_from(odd, &options);
    assert_eq!(solo.sent[0].0, "192.0.2.9:5070".parse().unwrap());
    let plain = solo.expect_status(481);
    assert_eq!(plain.headers.top_via().unwrap().received(), None);
    // RFC 3581: the source, and both parameters filled in.
    solo.receive_from(
        odd,
        &options.replace("branch=z9hG4bKone", "branch=z9hG4bKtwo;rport"),
    );
    assert_eq!(solo.sent[0].0, odd.remote);
    let via = solo.expect_status(481).headers.top_via().unwrap();
    assert_eq!(
        (via.received(), via.rport()),
        (Some(odd.remote.ip()), Some(Some(49_152)))
    );
    // A translated address without rport: the source all the same; maddr is not followed.
    let natted = Flow::udp(solo.flow.local, ([198, 51, 100, 7], 31_000).into());
    solo.receive_from(
        natted,
        &options.replace("branch=z9hG4bKone", "branch=z9hG4bKx;maddr=203.0.113.1"),
    );
    assert_eq!(solo.sent[0].0, natted.remote);
    assert_eq!(
        solo.expect_status(481).headers.top_via().unwrap().received(),
        Some(natted.remote.ip())
    );
    solo.finish();
}

#[test]
fn the_caller_reverses_record_route_and_takes_it_from_the_2xx() {
    let mut solo = Solo::new();
    let uri: sip_proto::uri::Uri = "sip:team@192.0.2.9:5070".parse().unwrap();
    let outgoing = sip_proto::endpoint::Outgoing {
        target: uri.clone(),
        from: sip_proto::headers::NameAddr::new("sip:us@192.0.2.1".parse().unwrap()),
        to: sip_proto::headers::NameAddr::new(uri),
        contact: None,
        flow: solo.flow,
        route: vec!["sip:192.0.2.9:5070;lr".parse().unwrap()],
        headers: Headers::new(),
        body: Some(sdp("offer")),
    };
    let session = solo.endpoint.invite(outgoing, solo.now).unwrap();
    solo.drain();
    let invite = solo.request();
    assert_eq!(
        invite.headers.get(&HeaderName::Route),
        Some("<sip:192.0.2.9:5070;lr>")
    );
    assert_eq!(
        invite.headers.get(&HeaderName::Contact),
        Some("<sip:192.0.2.1:5060>")
    );
    solo.answer(
        &invite,
        "180 Ringing",
        "t",
        "Contact: <sip:x@192.0.2.10>\nRecord-Route: <sip:early@192.0.2.9;lr>\n",
    );
    solo.answer(
        &invite,
        "200 OK",
        "t",
        "Contact: <sip:x@192.0.2.10>\nRecord-Route: <sip:p2@192.0.2.8;lr>, <sip:p1@192.0.2.9:5070;lr>\n",
    );
    let (to, Message::Request(ack)) = solo.sent.remove(0) else {
        panic!()
    };
    assert_eq!(
        ack.headers.tokens(&HeaderName::Route),
        ["<sip:p1@192.0.2.9:5070;lr>", "<sip:p2@192.0.2.8;lr>"]
    );
    assert_eq!(ack.uri.to_string(), "sip:x@192.0.2.10");
    assert_eq!(to, "192.0.2.9:5070".parse().unwrap());
    assert_eq!(
        ack.headers.cseq().unwrap().seq,
        invite.headers.cseq().unwrap().seq
    );
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.finish();
}
