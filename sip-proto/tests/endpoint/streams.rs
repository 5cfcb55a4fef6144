//! TCP: no retransmission, connections reused, a response finds its way when its connection is gone.

use sip_proto::endpoint::{
    ConnectionId, EndpointConfig, Event, Flow, Input, Output, SessionEvent, TerminatedBy, Transport,
};
use sip_proto::message::{HeaderName, Method, Response, StatusCode};
use std::time::Duration;

use crate::pair::{Pair, Side, sdp};
use crate::solo::{Solo, request};

fn pair() -> Pair {
    Pair::with(
        EndpointConfig::default(),
        EndpointConfig::default(),
        Transport::Tcp,
    )
}

#[test]
fn a_call_over_one_connection() {
    let mut pair = pair();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.b.endpoint.reoffer(b, sdp("hold"), now).unwrap();
    pair.run(100);
    let SessionEvent::ReOffer { request } = pair.a.session_event(a) else {
        panic!()
    };
    assert!(
        request
            .headers
            .get(&HeaderName::Contact)
            .unwrap()
            .contains(";transport=tcp")
    );
    let now = pair.now;
    pair.a.endpoint.answer(a, sdp("ok"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReAnswered { .. }));
    let now = pair.now;
    pair.a.endpoint.bye(a, None, now).unwrap();
    pair.run(100);
    pair.a.expect_terminated(a, TerminatedBy::Local);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.expect_trace(&[
        "B INVITE",
        "A 100 INVITE",
        "A 200 INVITE",
        "B ACK",
        "A BYE",
        "B 200 BYE",
    ]);
    pair.finish();
}

#[test]
fn the_2xx_is_repeated_even_over_a_stream() {
    let mut pair = pair();
    pair.lose(Side::A, "ACK", 1);
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    pair.accept(b);
    pair.run(1000);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Answered { .. }));
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    let now = pair.now;
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(100);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    pair.a.expect_terminated(a, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn an_answer_opens_a_new_connection_when_the_old_one_is_gone() {
    let mut pair = pair();
    let a = pair.invite();
    pair.run(100);
    let b = pair.b.expect_invite();
    pair.cut_connections();
    pair.accept(b);
    pair.run(1000);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Answered { .. }));
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    pair.cut_connections();
    let now = pair.now;
    pair.b.endpoint.bye(b, None, now).unwrap();
    pair.run(1000);
    pair.b.expect_terminated(b, TerminatedBy::Local);
    pair.a.expect_terminated(a, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn a_request_whose_connection_dies_fails_at_once() {
    let mut pair = pair();
    let request = pair.outgoing(Side::A);
    let now = pair.now;
    let tx = pair.a.endpoint.request(Method::Options, request, now).unwrap();
    pair.run(100);
    let Event::Request {
        tx: server, request, ..
    } = pair.b.event()
    else {
        panic!()
    };
    pair.cut_connections();
    pair.run(10);
    assert_eq!(pair.a.event(), Event::Timeout { tx });
    let now = pair.now;
    pair.b
        .endpoint
        .respond(server, Response::to(&request, StatusCode::OK), now)
        .unwrap();
    pair.finish();
}

#[test]
fn an_unreachable_peer_fails_the_call_and_ends_the_session() {
    let mut pair = Pair::new();
    let a = pair.invite();
    let flow = pair.flow(Side::A);
    pair.a
        .endpoint
        .handle_input(Input::TransportFailed { flow }, pair.now);
    pair.run(10);
    pair.a.expect_failed(a, None);
    pair.b.events.clear();
    let mut pair = Pair::new();
    let (a, b) = pair.call();
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("hold"), now).unwrap();
    pair.a.endpoint.handle_input(Input::TransportFailed { flow }, now);
    pair.run(100);
    pair.a.expect_terminated(a, TerminatedBy::TransportLost);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReOffer { .. }));
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn keep_alives_are_answered_and_nonsense_closes_the_stream() {
    let mut solo = Solo::new();
    let id = ConnectionId(5);
    let flow = Flow {
        transport: Transport::Tcp,
        connection: Some(id),
        ..solo.flow
    };
    let endpoint = &mut solo.endpoint;
    endpoint.handle_input(Input::Opened { flow }, solo.now);
    endpoint.handle_input(
        Input::Stream {
            connection: id,
            bytes: b"\r\n\r\n",
        },
        solo.now,
    );
    assert_eq!(
        endpoint.poll_output(),
        Some(Output::Transmit {
            flow,
            bytes: b"\r\n".to_vec()
        })
    );
    // Two messages in three pieces.
    let text = request("OPTIONS", 1, "a", "x", "Content-Length: 0\n").replace('\n', "\r\n") + "\r\n";
    let text = text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let both = format!("{text}{}", text.replace("z9hG4bKa", "z9hG4bKb"));
    for piece in both.as_bytes().chunks(both.len() / 3 + 1) {
        endpoint.handle_input(
            Input::Stream {
                connection: id,
                bytes: piece,
            },
            solo.now,
        );
    }
    for _ in 0..2 {
        assert!(matches!(endpoint.poll_output(), Some(Output::Transmit { flow: to, .. }) if to == flow));
    }
    assert_eq!(endpoint.poll_output(), None);
    endpoint.handle_input(
        Input::Stream {
            connection: id,
            bytes: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        },
        solo.now,
    );
    let mut closed = false;
    while let Some(output) = endpoint.poll_output() {
        closed |= output == Output::Close { connection: id };
    }
    assert!(closed);
    // Bytes that were still on the way do no harm.
    endpoint.handle_input(
        Input::Stream {
            connection: id,
            bytes: text.as_bytes(),
        },
        solo.now,
    );
    endpoint.handle_input(Input::Closed { connection: id }, solo.now);
    assert_eq!(endpoint.poll_output(), None);
    solo.finish();
}

/// A stream with two good requests, `screened` or not, and nonsense behind them.
fn spoilt(screened: bool) -> (Solo, Flow, Vec<Output>) {
    let mut solo = Solo::with(EndpointConfig {
        screened,
        ..EndpointConfig::default()
    });
    let flow = Flow {
        transport: Transport::Tcp,
        connection: Some(ConnectionId(5)),
        ..solo.flow
    };
    let one = |branch: &str| {
        let text = request("OPTIONS", 1, branch, "", "Content-Length: 0\n").replace('\n', "\r\n") + "\r\n";
        text.replace("SIP/2.0/UDP", "SIP/2.0/TCP")
            .replace("Call-ID: ", &format!("Call-ID: {branch}"))
    };
    let text = format!("{}{}GET / HTTP/1.1\r\nHost: x\r\n\r\n", one("a"), one("b"));
    solo.endpoint.handle_input(Input::Opened { flow }, solo.now);
    let input = Input::Stream {
        connection: ConnectionId(5),
        bytes: text.as_bytes(),
    };
    solo.endpoint.handle_input(input, solo.now);
    let outputs = std::iter::from_fn(|| solo.endpoint.poll_output()).collect();
    (solo, flow, outputs)
}

/// Lets time pass until the stream is closed; gives what was sent before, and how long it took.
fn until_closed(solo: &mut Solo) -> (usize, Duration) {
    let start = solo.now;
    let mut sent = 0;
    loop {
        while let Some(output) = solo.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, .. } => {
                    assert_eq!(
                        flow.connection,
                        Some(ConnectionId(5)),
                        "the stream is still there"
                    );
                    sent += 1;
                }
                Output::Close { .. } => return (sent, solo.now - start),
                Output::Event(_) => {}
            }
        }
        let (at, _) = solo.endpoint.poll_timeout().expect("it is closed some time");
        solo.now = solo.now.max(at);
        solo.endpoint.handle_timeout(solo.now);
    }
}

#[test]
fn nonsense_behind_good_requests_takes_no_answer_away() {
    for screened in [false, true] {
        let (mut solo, flow, outputs) = spoilt(screened);
        assert!(
            !outputs
                .iter()
                .any(|output| matches!(output, Output::Close { .. }))
        );
        let mut requests = Vec::new();
        for output in outputs {
            match output {
                Output::Event(Event::Request { tx, request, .. }) => requests.push((tx, request)),
                Output::Event(Event::Arrival { request, flow }) => {
                    solo.endpoint.take_in(request, flow, solo.now);
                }
                _ => {}
            }
        }
        while let Some(output) = solo.endpoint.poll_output() {
            if let Output::Event(Event::Request { tx, request, .. }) = output {
                requests.push((tx, request));
            }
        }
        assert_eq!(requests.len(), 2, "screened: {screened}");
        // The lookup of an account takes its time. What comes on the stream now is read no more.
        solo.run(1000);
        let connection = flow.connection.unwrap();
        let bytes = b"OPTIONS sip:x SIP/2.0\r\n\r\n";
        solo.endpoint
            .handle_input(Input::Stream { connection, bytes }, solo.now);
        for (tx, request) in requests {
            let answer = Response::to(&request, StatusCode::OK);
            solo.endpoint.respond(tx, answer, solo.now).unwrap();
        }
        let (sent, took) = until_closed(&mut solo);
        assert_eq!(sent, 2);
        assert!(took <= Duration::from_millis(50), "{took:?}");
        solo.endpoint.handle_input(Input::Closed { connection }, solo.now);
    }
}

#[test]
fn a_spoilt_stream_is_closed_though_nobody_answers() {
    for (screened, bound) in [(false, 6000), (true, 50)] {
        // Screened: the application drops the arrivals, which then nobody is to answer.
        let (mut solo, _, _) = spoilt(screened);
        let (_, took) = until_closed(&mut solo);
        assert!(took <= Duration::from_millis(bound), "{took:?}");
    }
}
