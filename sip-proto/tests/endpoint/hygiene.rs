//! What the endpoint answers by itself, and what it never answers.

use proptest::prelude::*;
use sip_proto::endpoint::{Counts, EndpointConfig, Event, SessionEvent, TerminatedBy};
use sip_proto::message::{HeaderName, Headers, Response, StatusCode};

use crate::solo::{Solo, request};

#[test]
fn each_fault_has_its_status() {
    let mut solo = Solo::new();
    let table = [
        (
            "481 for a dialog nobody knows",
            request("BYE", 1, "a", "nobody", ""),
            481,
        ),
        ("481 for a BYE outside", request("BYE", 1, "b", "", ""), 481),
        (
            "481 for a CANCEL of nothing",
            request("CANCEL", 1, "c", "", ""),
            481,
        ),
        (
            "481 for an unsolicited NOTIFY",
            request("NOTIFY", 1, "d", "", ""),
            481,
        ),
        (
            "405 for a known method that is not offered",
            request("PUBLISH", 1, "e", "", ""),
            405,
        ),
        (
            "501 for an unknown method",
            request("FROBNICATE", 1, "f", "", ""),
            501,
        ),
        (
            "420 for an unknown extension",
            request("OPTIONS", 1, "g", "", "Require: gruu, teleport\n"),
            420,
        ),
        (
            "416 for a scheme",
            request("OPTIONS", 1, "h", "", "").replace("OPTIONS sip:room@192.0.2.1", "OPTIONS tel:+123"),
            416,
        ),
        (
            "505 for a version",
            request("OPTIONS", 1, "i", "", "").replace(" SIP/2.0\nVia", " SIP/7.0\nVia"),
            505,
        ),
        (
            "400 for a CSeq of another method",
            request("OPTIONS", 1, "j", "", "").replace("1 OPTIONS", "1 INVITE"),
            400,
        ),
        (
            "489 for a SUBSCRIBE without Event",
            request("SUBSCRIBE", 1, "k", "", ""),
            489,
        ),
        (
            "423 for a short SUBSCRIBE",
            request("SUBSCRIBE", 1, "l", "", "Event: conference\nExpires: 5\n"),
            423,
        ),
    ];
    for (what, text, code) in table {
        solo.receive(&text);
        let response = solo.response();
        assert_eq!(response.status.code(), code, "{what}");
        assert!(response.headers.to_tag().is_some(), "{what}: no tag");
        match code {
            405 | 501 => assert!(response.headers.has_token(&HeaderName::Allow, "INVITE"), "{what}"),
            420 => assert_eq!(
                response.headers.tokens(&HeaderName::Unsupported),
                ["gruu", "teleport"]
            ),
            423 => assert_eq!(response.headers.get(&HeaderName::MinExpires), Some("30")),
            _ => {}
        }
        solo.silent();
        assert!(solo.events.is_empty(), "{what}");
    }
    solo.finish();
}

#[test]
fn answers_without_a_transaction_are_the_same_each_time() {
    let mut solo = Solo::new();
    let bye = request("BYE", 1, "a", "", "");
    solo.receive(&bye);
    solo.receive(&bye);
    let (first, second) = (solo.response(), solo.response());
    assert_eq!(first, second);
    assert_eq!(solo.endpoint.counts().server_transactions, 0);
    solo.finish();
}

#[test]
fn nothing_answers_ack_garbage_or_responses() {
    let mut solo = Solo::new();
    for text in [
        request("ACK", 1, "a", "nobody", ""),
        request("ACK", 1, "a", "nobody", "").replace("CSeq: 1 ACK", "CSeq: x ACK"),
        "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: x\nCSeq: 1 INVITE\n".to_owned(),
        "SIP/2.0 9999 Too Big\nVia: SIP/2.0/UDP 192.0.2.9\n".to_owned(),
        "complete nonsense".to_owned(),
        "\n\n".to_owned(),
        "INVITE".to_owned(),
    ] {
        solo.receive(&text);
        solo.silent();
        assert!(solo.events.is_empty());
    }
    solo.receive_bytes(solo.flow, &[0xff, 0, 1, 2, 3]);
    solo.receive_bytes(solo.flow, b"");
    solo.silent();
    solo.finish();
}

#[test]
fn a_request_that_came_by_two_ways_gets_482() {
    let mut solo = Solo::new();
    let invite = request("INVITE", 1, "way1", "", "");
    solo.receive(&invite);
    solo.expect_status(100);
    // The same by its transaction is a retransmission.
    solo.receive(&invite);
    solo.expect_status(100);
    solo.receive(&request("INVITE", 1, "way2", "", ""));
    solo.expect_status(482);
    let Event::Invite { session, .. } = solo.event() else {
        panic!()
    };
    assert!(solo.events.is_empty());
    solo.endpoint
        .reject(session, StatusCode::NOT_FOUND, Headers::new(), solo.now)
        .unwrap();
    solo.drain();
    let refusal = solo.expect_status(404);
    solo.receive(&request(
        "ACK",
        1,
        "way1",
        refusal.headers.to_tag().unwrap().as_str(),
        "",
    ));
    solo.finish();
}

#[test]
fn an_old_client_without_a_branch_is_matched_by_its_headers() {
    let mut solo = Solo::new();
    let invite = request("INVITE", 1, "x", "", "").replace(";branch=z9hG4bKx", "");
    solo.receive(&invite);
    solo.expect_status(100);
    solo.receive(&invite);
    solo.expect_status(100);
    let Event::Invite { session, .. } = solo.event() else {
        panic!()
    };
    assert!(solo.events.is_empty());
    solo.endpoint
        .reject(session, StatusCode::BUSY_HERE, Headers::new(), solo.now)
        .unwrap();
    solo.drain();
    let refusal = solo.expect_status(486);
    let tag = refusal.headers.to_tag().unwrap().to_string();
    solo.receive(&request("ACK", 1, "x", &tag, "").replace(";branch=z9hG4bKx", ""));
    solo.run(31_000);
    solo.silent();
    solo.finish();
}

/// A screening application sees a request before anything is kept for it.
#[test]
fn an_arrival_leaves_nothing_until_it_is_taken_in() {
    let mut solo = Solo::with(EndpointConfig {
        screened: true,
        ..EndpointConfig::default()
    });
    let invite = request("INVITE", 1, "a", "", "");
    for _ in 0..2 {
        solo.receive(&invite);
        let Event::Arrival { request, flow } = solo.event() else {
            panic!()
        };
        assert_eq!(solo.endpoint.counts(), Counts::default());
        solo.endpoint
            .refuse_arrival(&request, StatusCode::UNAUTHORIZED, &Headers::new(), flow);
        solo.drain();
    }
    let (first, second) = (solo.expect_status(401), solo.expect_status(401));
    assert_eq!(first, second, "retransmissions are answered alike");
    let tag = first.headers.to_tag().unwrap().to_string();
    solo.receive(&request("ACK", 1, "a", &tag, ""));
    solo.run(40_000);
    solo.silent();
    assert_eq!(solo.endpoint.counts(), Counts::default());

    solo.receive(&request("INVITE", 2, "b", "", ""));
    let Event::Arrival { request, flow } = solo.event() else {
        panic!()
    };
    solo.endpoint.take_in(request, flow, solo.now);
    solo.drain();
    solo.expect_status(100);
    let Event::Invite { session, .. } = solo.event() else {
        panic!()
    };
    solo.endpoint
        .reject(session, StatusCode::BUSY_HERE, Headers::new(), solo.now)
        .unwrap();
    solo.drain();
    let refusal = solo.expect_status(486);
    let tag = refusal.headers.to_tag().unwrap().to_string();
    solo.receive(&crate::solo::request("ACK", 2, "b", &tag, ""));
    solo.finish();
}

#[test]
fn max_forwards_0_is_for_us() {
    let mut solo = Solo::new();
    solo.receive(&request("OPTIONS", 1, "a", "", "").replace("Max-Forwards: 70", "Max-Forwards: 0"));
    let Event::Request { tx, request, .. } = solo.event() else {
        panic!()
    };
    solo.endpoint
        .respond(tx, Response::to(&request, StatusCode::OK), solo.now)
        .unwrap();
    solo.drain();
    assert!(solo.expect_status(200).headers.to_tag().is_some());
    solo.finish();
}

#[test]
fn a_caller_may_end_an_early_dialog_by_bye() {
    let mut solo = Solo::new();
    solo.receive(&request("INVITE", 1, "a", "", ""));
    solo.expect_status(100);
    let Event::Invite { session, .. } = solo.event() else {
        panic!()
    };
    solo.endpoint
        .ring(session, StatusCode::RINGING, None, Headers::new(), solo.now)
        .unwrap();
    solo.drain();
    let tag = solo.expect_status(180).headers.to_tag().unwrap().to_string();
    let offer = "Content-Type: application/sdp\nContent-Length: 4\n\nv=0\n";
    solo.receive(&request("UPDATE", 2, "up", &tag, offer));
    assert!(solo.expect_status(500).headers.contains(&HeaderName::RetryAfter));
    solo.receive(&request("BYE", 3, "b", &tag, ""));
    assert_eq!(solo.expect_status(487).headers.to_tag().unwrap().as_str(), tag);
    solo.expect_status(200);
    assert!(matches!(
        solo.event(),
        Event::Session {
            event: SessionEvent::Terminated {
                by: TerminatedBy::Peer,
                ..
            },
            ..
        }
    ));
    solo.receive(&request("ACK", 1, "a", &tag, ""));
    solo.finish();
}

#[test]
fn an_invitation_that_expires_gets_487() {
    let mut solo = Solo::new();
    solo.receive(&request("INVITE", 1, "a", "", "Expires: 20\n"));
    solo.expect_status(100);
    let Event::Invite { session, .. } = solo.event() else {
        panic!()
    };
    solo.run(19_900);
    solo.silent();
    solo.run(200);
    let refusal = solo.expect_status(487);
    let Event::Session { session: seen, event } = solo.event() else {
        panic!()
    };
    assert_eq!(seen, session);
    assert!(matches!(
        event,
        SessionEvent::Terminated {
            by: TerminatedBy::Timeout,
            ..
        }
    ));
    solo.receive(&request(
        "ACK",
        1,
        "a",
        refusal.headers.to_tag().unwrap().as_str(),
        "",
    ));
    solo.finish();
}

#[test]
fn limits_hold() {
    let config = EndpointConfig {
        max_dialogs_per_peer: 2,
        max_transactions: 3,
        ..EndpointConfig::default()
    };
    let mut solo = Solo::with(config);
    let invite =
        |n: u32| request("INVITE", 1, &format!("n{n}"), "", "").replace("solo@", &format!("call{n}@"));
    for n in 0..2 {
        solo.receive(&invite(n));
        solo.expect_status(100);
    }
    solo.receive(&invite(2));
    assert!(solo.expect_status(503).headers.contains(&HeaderName::RetryAfter));
    solo.receive(&request("OPTIONS", 1, "o1", "", ""));
    solo.receive(&request("OPTIONS", 2, "o2", "", ""));
    solo.expect_status(503);
    // After the calls are over there is room again.
    while let Some(event) = (!solo.events.is_empty()).then(|| solo.event()) {
        if let Event::Invite { session, .. } = event {
            solo.endpoint
                .reject(session, StatusCode::DECLINE, Headers::new(), solo.now)
                .unwrap();
        }
    }
    solo.run(40_000);
    solo.sent.clear();
    solo.receive(&invite(3));
    solo.expect_status(100);
    solo.finish();
}

#[test]
fn requests_within_dialogs_have_places_of_their_own() {
    let mut solo = Solo::with(EndpointConfig {
        max_transactions: 8,
        ..EndpointConfig::default()
    });
    for n in 0..7 {
        solo.receive(&request("OPTIONS", 1, &format!("o{n}"), "", "").replace("solo@", &format!("ask{n}@")));
    }
    assert_eq!(solo.endpoint.counts().server_transactions, 7);
    // Seven of eight are taken: strangers wait, a BYE comes through, here to a dialog that is no more.
    solo.receive(&request("OPTIONS", 1, "o7", "", "").replace("solo@", "ask7@"));
    solo.expect_status(503);
    solo.receive(&request("BYE", 2, "bye", "gone", ""));
    solo.expect_status(481);
    solo.run(40_000);
    solo.sent.clear();
    solo.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a peer does to a message that was good, the endpoint stands.
    #[test]
    fn broken_messages_never_harm(at in 0usize..400, byte in any::<u8>(), cut in 0usize..500, method in 0usize..6) {
        let method = ["INVITE", "ACK", "BYE", "CANCEL", "SUBSCRIBE", "OPTIONS"][method];
        let mut solo = Solo::new();
        let (_, tag) = crate::offers::accepted(&mut solo);
        solo.tolerant = true;
        let text = request(method, 2, "fuzz", &tag, "Event: x\n").replace('\n', "\r\n") + "\r\n";
        let mut bytes = text.into_bytes();
        let len = bytes.len();
        bytes[at % len] = byte;
        bytes.truncate(len - cut.min(len) / 4);
        solo.receive_bytes(solo.flow, &bytes);
        solo.run(700_000);
        // The session may still stand; it ends and leaves nothing.
        let ended = solo.endpoint.counts().sessions == 0;
        if !ended {
            solo.receive(&request("BYE", 9, "end", &tag, ""));
        }
        solo.finish();
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut solo = Solo::new();
        let flow = solo.flow;
        solo.tolerant = true;
        solo.receive_bytes(flow, &bytes);
        solo.finish();
    }
}
