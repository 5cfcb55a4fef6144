//! Transport rules of RFC 3261 §18: large requests by TCP and back, connections that die.

use std::time::Duration;

use sip_proto::endpoint::{
    Body, ConnectionId, EndpointConfig, Event, Flow, Input, Outgoing, SessionEvent, TerminatedBy, Transport,
};
use sip_proto::message::{HeaderName, Headers, Method};

use crate::pair::{Pair, Side, sdp};
use crate::solo::{Solo, request};

fn by_size() -> EndpointConfig {
    EndpointConfig {
        stream_above: Some(1300),
        ..EndpointConfig::default()
    }
}

fn large() -> Body {
    sdp(&"x".repeat(1300))
}

fn pair() -> Pair {
    Pair::with(by_size(), by_size(), Transport::Udp)
}

/// A calls with this offer, B answers, A hangs up; what went over the link.
fn call_with(mut pair: Pair, offer: Body) -> Vec<String> {
    let call = Outgoing {
        body: Some(offer),
        ..pair.outgoing(Side::A)
    };
    let a = pair.a.endpoint.invite(call, pair.now).unwrap();
    pair.run(6000);
    let b = pair.b.expect_invite();
    pair.accept(b);
    pair.run(1000);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Answered { .. }));
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(1000);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    let trace = std::mem::take(&mut pair.trace);
    pair.finish();
    trace
}

#[test]
fn a_large_request_goes_by_tcp_and_its_dialog_stays_there() {
    assert_eq!(
        call_with(pair(), large()),
        [
            "A INVITE by TCP",
            "B 100 INVITE by TCP",
            "B 200 INVITE by TCP",
            "A ACK by TCP",
            "A BYE by TCP",
            "B 200 BYE by TCP",
        ]
    );
    // Not because of its content, but by its size on the wire.
    assert_eq!(call_with(pair(), sdp("small")).first().unwrap(), "A INVITE");
}

#[test]
fn where_tcp_is_refused_it_goes_back_to_udp_and_is_not_tried_again() {
    let mut refusing = pair();
    refusing.streams_refused = Some(Duration::from_millis(3));
    let mut trace = call_with(refusing, large());
    trace.truncate(2);
    assert_eq!(trace, ["A INVITE by TCP", "A INVITE"]);

    let mut pair = pair();
    pair.streams_refused = Some(Duration::from_secs(4));
    let message = |pair: &mut Pair| {
        let mut sent = pair.outgoing(Side::A);
        sent.body = Some(Body::new("text/plain", "x".repeat(2000)));
        let now = pair.now;
        let tx = pair.a.endpoint.request(Method::Message, sent, now).unwrap();
        pair.run(5000);
        let Event::Request {
            tx: asked, request, ..
        } = pair.b.event()
        else {
            panic!()
        };
        let response = sip_proto::message::Response::to(&request, sip_proto::message::StatusCode::OK);
        let now = pair.now;
        pair.b.endpoint.respond(asked, response, now).unwrap();
        pair.run(5000);
        assert!(matches!(pair.a.event(), Event::Response { tx: to, .. } if to == tx));
        std::mem::take(&mut pair.trace)
    };
    // 4 s of waiting for the stream, then 1 s more in which the first retransmission falls.
    let first = message(&mut pair);
    assert_eq!(first[..2], ["A MESSAGE by TCP", "A MESSAGE"]);
    let second = message(&mut pair);
    assert!(second.iter().all(|line| !line.ends_with("by TCP")), "{second:?}");
    // After ten minutes it is worth another attempt.
    pair.run(600_000);
    assert_eq!(message(&mut pair).first().unwrap(), "A MESSAGE by TCP");
    pair.finish();
}

#[test]
fn a_translated_peer_is_never_asked_for_a_stream() {
    let mut solo = Solo::with(by_size());
    // Its Via names a private address: it sits behind a translator.
    let invite =
        request("INVITE", 1, "first", "", "").replace("192.0.2.9:5070;branch", "10.0.0.9:5070;rport;branch");
    solo.receive(&invite);
    solo.expect_status(100);
    let Event::Invite { session, .. } = solo.event() else {
        panic!()
    };
    solo.endpoint
        .accept(session, Some(sdp("offer")), Headers::new(), solo.now)
        .unwrap();
    solo.drain();
    let tag = solo.expect_status(200).headers.to_tag().unwrap().to_string();
    solo.receive(&request("ACK", 1, "ack", &tag, ""));
    solo.endpoint.reoffer(session, large(), solo.now).unwrap();
    solo.drain();
    let reinvite = solo.request();
    assert!(
        reinvite
            .headers
            .get(&HeaderName::Via)
            .unwrap()
            .starts_with("SIP/2.0/UDP ")
    );
    solo.answer(&reinvite, "200 OK", "", "");
    assert_eq!(solo.request().method, Method::Ack);
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = solo.request();
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}

#[test]
fn an_invite_whose_connection_died_while_ringing_is_given_up_long_before_timer_c() {
    let mut solo = Solo::new();
    let flow = Flow {
        transport: Transport::Tcp,
        local: solo.flow.local,
        remote: solo.flow.remote,
        connection: Some(ConnectionId(1)),
    };
    solo.endpoint.handle_input(Input::Opened { flow }, solo.now);
    let call = Outgoing {
        body: Some(sdp("offer")),
        flow,
        ..Pair::new().outgoing(Side::A)
    };
    let session = solo.endpoint.invite(call, solo.now).unwrap();
    solo.drain();
    let invite = solo.request();
    let get = |name| invite.headers.get(&name).unwrap_or("").to_owned();
    use sip_proto::message::HeaderName::{CSeq, CallId, From, To, Via};
    let ringing = format!(
        "SIP/2.0 180 Ringing\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=x\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Content-Length: 0\r\n\r\n",
        get(Via),
        get(From),
        get(To),
        get(CallId),
        get(CSeq)
    );
    let connection = ConnectionId(1);
    let input = Input::Stream {
        connection,
        bytes: ringing.as_bytes(),
    };
    solo.endpoint.handle_input(input, solo.now);
    solo.endpoint.handle_input(Input::Closed { connection }, solo.now);
    solo.drain();
    solo.run(31_000);
    solo.silent();
    // The CANCEL opens a connection; nobody is there.
    solo.run(2000);
    assert_eq!(solo.request().method, Method::Cancel);
    let closed = Flow {
        connection: None,
        ..flow
    };
    solo.endpoint
        .handle_input(Input::TransportFailed { flow: closed }, solo.now);
    solo.run(33_000);
    let failed = solo.events.iter().any(|event| {
        matches!(event, Event::Session { session: id, event: SessionEvent::Failed { response: None } } if *id == session)
    });
    assert!(failed, "{:?}", solo.events);
    solo.finish();
}
