//! Holds of our own, sound before the answer, and provisional answers that want to be confirmed (RFC 3262).

use super::*;

/// The answer of the server to the offer that waits there; gives the direction that was offered.
fn take_offer(pair: &mut Pair, session: SessionId, negotiation: &mut OfferAnswer) -> Direction {
    let at = pair.served.iter().position(|event| {
        matches!(
            event,
            Event::Session {
                event: SessionEvent::ReOffer { .. },
                ..
            }
        )
    });
    let Event::Session {
        event: SessionEvent::ReOffer { request },
        ..
    } = pair.served.remove(at.expect("a new offer"))
    else {
        unreachable!()
    };
    negotiation
        .receive_offer(sdp::parse(&request.body).unwrap())
        .unwrap();
    let (answer, agreed) = negotiation.create_answer(&server_media()).unwrap();
    pair.server
        .answer(session, Body::sdp(answer.to_string()), pair.now)
        .unwrap();
    pair.settle();
    agreed.audio.direction
}

fn holding(pair: &Pair) -> Vec<(bool, Option<u16>)> {
    let told = pair.heard.iter().filter_map(|event| match event {
        PhoneEvent::Holding { holding, refused } => Some((*holding, *refused)),
        _ => None,
    });
    told.collect()
}

#[test]
fn we_hold_and_resume() {
    let mut pair = Pair::guest();
    assert!(pair.phone.hold(true, pair.now).is_err(), "there is no call");
    let (session, mut negotiation) = pair.meeting();
    pair.heard.clear();
    pair.phone.hold(true, pair.now).unwrap();
    assert!(pair.phone.hold(false, pair.now).is_err(), "one offer at a time");
    pair.settle();
    assert_eq!(
        take_offer(&mut pair, session, &mut negotiation),
        Direction::RecvOnly
    );
    assert_eq!(holding(&pair), [(true, None)]);
    assert!(
        pair.has(|event| matches!(event, PhoneEvent::Media(audio) if audio.direction == Direction::SendOnly))
    );
    assert!(
        !pair.has(|event| matches!(event, PhoneEvent::Hold { .. })),
        "it is not the peer's hold"
    );
    pair.pass(Duration::from_secs(1));
    pair.phone.hold(true, pair.now).unwrap();
    pair.settle();
    assert!(
        pair.phone.hold(false, pair.now).is_ok(),
        "the same again is no offer"
    );
    pair.settle();
    assert_eq!(
        take_offer(&mut pair, session, &mut negotiation),
        Direction::SendRecv
    );
    assert_eq!(holding(&pair), [(true, None), (false, None)]);
    pair.phone.hang_up(pair.now);
    pair.pass(Duration::from_secs(60));
    assert_eq!(pair.phone.endpoint.counts(), endpoint::Counts::default());
}

#[test]
fn a_refused_hold_leaves_the_call_as_it_was() {
    let mut pair = Pair::guest();
    let (session, mut negotiation) = pair.meeting();
    pair.phone.hold(true, pair.now).unwrap();
    pair.settle();
    pair.served.clear();
    let status = StatusCode::NOT_ACCEPTABLE_HERE;
    pair.server
        .refuse(session, status, Headers::new(), pair.now)
        .unwrap();
    pair.settle();
    assert_eq!(holding(&pair), [(false, Some(488))]);
    assert_eq!(pair.ended(), None);
    pair.pass(Duration::from_secs(1));
    pair.phone.hold(true, pair.now).unwrap();
    pair.settle();
    assert_eq!(
        take_offer(&mut pair, session, &mut negotiation),
        Direction::RecvOnly
    );
    assert_eq!(holding(&pair), [(false, Some(488)), (true, None)]);
}

/// RFC 3261 §14.1: both offer at once, both are refused with 491 and try again after different times.
#[test]
fn a_hold_that_crosses_an_offer_of_the_peer_comes_through() {
    let mut pair = Pair::guest();
    let (session, mut negotiation) = pair.meeting();
    let offer = negotiation.create_offer(&server_media()).unwrap();
    pair.phone.hold(true, pair.now).unwrap();
    pair.server
        .reoffer(session, Body::sdp(offer.to_string()), pair.now)
        .unwrap();
    let end = pair.now + Duration::from_secs(30);
    let mut offered = Vec::new();
    while pair.now < end {
        pair.pass(Duration::from_millis(100));
        let events: Vec<Event> = std::mem::take(&mut pair.served);
        for event in events {
            match event {
                Event::Session {
                    event: SessionEvent::ReRejected { .. },
                    ..
                } => negotiation.rollback(),
                Event::Session {
                    event: SessionEvent::ReAnswered { response },
                    ..
                } => {
                    let answer = sdp::parse(&response.body).unwrap();
                    negotiation.receive_answer(answer).unwrap();
                }
                event @ Event::Session {
                    event: SessionEvent::ReOffer { .. },
                    ..
                } => {
                    pair.served.push(event);
                    offered.push(take_offer(&mut pair, session, &mut negotiation));
                }
                _ => {}
            }
        }
    }
    assert!(offered.contains(&Direction::RecvOnly), "{offered:?}");
    assert_eq!(holding(&pair), [(true, None)]);
    assert_eq!(pair.ended(), None);
}

/// RFC 3960: what is said before the answer is heard, whether the provisional answer is reliable or not.
#[test]
fn sound_before_the_answer_is_heard() {
    for reliable in [false, true] {
        let mut pair = Pair::guest();
        pair.phone.dial(&uri("sip:bob@192.0.2.7"), pair.now).unwrap();
        let (session, request) = pair.invite();
        let mut negotiation = OfferAnswer::new(1 << 40);
        negotiation
            .receive_offer(sdp::parse(&request.body).unwrap())
            .unwrap();
        let (answer, _) = negotiation.create_answer(&server_media()).unwrap();
        let body = Body::sdp(answer.to_string());
        let mut headers = Headers::new();
        if reliable {
            headers.push(HeaderName::Require, "100rel");
        }
        let status = StatusCode::SESSION_PROGRESS;
        pair.server
            .ring(session, status, Some(body.clone()), headers, pair.now)
            .unwrap();
        pair.settle();
        assert!(pair.has(|event| matches!(event, PhoneEvent::Media(audio) if audio.remote_rtp.is_some())));
        assert!(pair.has(|event| matches!(event, PhoneEvent::Ringing { status: 183 })));
        let acked = pair.served.iter().any(|event| {
            matches!(
                event,
                Event::Session {
                    event: SessionEvent::ProvisionalAcked { .. },
                    ..
                }
            )
        });
        assert_eq!(acked, reliable, "PRACK answers a reliable 183");
        assert!(!pair.has(|event| matches!(event, PhoneEvent::Joined { .. })));
        // An unreliable answer is repeated in the 200 (RFC 3261 §13.2.1), a reliable one is not.
        let repeated = (!reliable).then_some(body);
        pair.server
            .accept(session, repeated, Headers::new(), pair.now)
            .unwrap();
        pair.settle();
        assert!(
            pair.has(|event| matches!(event, PhoneEvent::Joined { .. })),
            "reliable: {reliable}"
        );
        assert_eq!(pair.ended(), None);
    }
}

/// A caller that requires reliable answers; with a PRACK that is late or in time.
fn require_reliable(pair: &mut Pair, body: Option<Body>) -> SessionId {
    let mut headers = Headers::new();
    headers.push(HeaderName::Require, "100rel");
    let outgoing = endpoint::Outgoing {
        target: uri("sip:ada@192.0.2.1"),
        from: "<sip:bob@192.0.2.7>".parse().unwrap(),
        to: "<sip:ada@192.0.2.1>".parse().unwrap(),
        contact: None,
        flow: Flow::udp(SERVER.parse().unwrap(), PHONE.parse().unwrap()),
        route: Vec::new(),
        headers,
        body,
    };
    let session = pair.server.invite(outgoing, pair.now).unwrap();
    pair.settle();
    session
}

fn media_told(pair: &Pair) -> bool {
    pair.has(|event| matches!(event, PhoneEvent::Media(_)))
}

#[test]
fn a_caller_that_requires_reliable_answers_is_rung_reliably() {
    let mut pair = Pair::guest();
    let mut negotiation = OfferAnswer::new(1 << 40);
    let offer = negotiation.create_offer(&server_media()).unwrap().to_string();
    require_reliable(&mut pair, Some(Body::sdp(offer)));
    let rung = pair
        .wire
        .iter()
        .find(|message| message.starts_with("SIP/2.0 180"));
    assert!(rung.expect("a 180").contains("RSeq: "), "reliable");
    pair.pass(Duration::from_secs(2));
    pair.phone.pick_up(pair.now).unwrap();
    pair.settle();
    assert!(media_told(&pair));
    assert!(pair.has(|event| matches!(event, PhoneEvent::Joined { .. })));
}

/// RFC 3262 §5. The microphone is not opened before the call is taken, although all is agreed on by then.
#[test]
fn a_caller_without_an_offer_gets_one_in_the_reliable_180() {
    for picked_first in [false, true] {
        let mut pair = Pair::guest();
        let mut negotiation = OfferAnswer::new(1 << 40);
        let session = require_reliable(&mut pair, None);
        let rung = pair.served.iter().find_map(|event| match event {
            Event::Session {
                event: SessionEvent::Progress { response },
                ..
            } if !response.body.is_empty() => Some(response.clone()),
            _ => None,
        });
        let offer = sdp::parse(&rung.expect("a 180 with an offer").body).unwrap();
        negotiation.receive_offer(offer).unwrap();
        let (answer, _) = negotiation.create_answer(&server_media()).unwrap();
        if picked_first {
            pair.phone.pick_up(pair.now).unwrap();
            pair.settle();
        }
        let body = Body::sdp(answer.to_string());
        pair.server.ack_with_answer(session, body, pair.now).unwrap();
        pair.settle();
        if !picked_first {
            assert!(!media_told(&pair), "nobody took the call yet");
            pair.phone.pick_up(pair.now).unwrap();
            pair.settle();
        }
        assert!(media_told(&pair));
        assert!(pair.has(|event| matches!(event, PhoneEvent::Joined { .. })));
        assert_eq!(pair.ended(), None);
    }
}
