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

/// The server answers every offer for a while; the directions that came of it on its side.
fn serve(
    pair: &mut Pair,
    session: SessionId,
    negotiation: &mut OfferAnswer,
    time: Duration,
) -> Vec<Direction> {
    let end = pair.now + time;
    let mut agreed = Vec::new();
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
                    agreed.push(negotiation.receive_answer(answer).unwrap().audio.direction);
                }
                event @ Event::Session {
                    event: SessionEvent::ReOffer { .. },
                    ..
                } => {
                    pair.served.push(event);
                    agreed.push(take_offer(pair, session, negotiation));
                }
                _ => {}
            }
        }
    }
    agreed
}

const A_WHILE: Duration = Duration::from_secs(30);

/// RFC 3261 §14.1: both offer at once, both are refused with 491 and try again after different times. The answer to
/// the peer's offer may say already what ours would.
#[test]
fn a_hold_that_crosses_an_offer_of_the_peer_comes_through() {
    let mut pair = Pair::guest();
    let (session, mut negotiation) = pair.meeting();
    for (on, expected) in [(true, Direction::RecvOnly), (false, Direction::SendRecv)] {
        let offer = negotiation.create_offer(&server_media()).unwrap();
        pair.phone.hold(on, pair.now).unwrap();
        pair.server
            .reoffer(session, Body::sdp(offer.to_string()), pair.now)
            .unwrap();
        let agreed = serve(&mut pair, session, &mut negotiation, A_WHILE);
        assert_eq!(agreed.last(), Some(&expected), "{agreed:?}");
    }
    assert_eq!(holding(&pair), [(true, None), (false, None)]);
    assert_eq!(pair.ended(), None);
}

#[test]
fn a_hold_that_crosses_an_offer_which_we_refuse_comes_through() {
    let mut pair = Pair::guest();
    let (session, mut negotiation) = pair.meeting();
    let strange = "v=0\r\no=- 1 9 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 6000 RTP/AVP 18\r\n";
    pair.phone.hold(true, pair.now).unwrap();
    pair.server
        .reoffer(session, Body::sdp(strange), pair.now)
        .unwrap();
    let agreed = serve(&mut pair, session, &mut negotiation, A_WHILE);
    assert_eq!(agreed, [Direction::RecvOnly]);
    assert_eq!(holding(&pair), [(true, None)]);
}

/// The user hears of it, and may ask again, however often the peer says that its turn is first.
#[test]
fn a_peer_that_always_says_491_does_not_block_the_hold_for_good() {
    let mut pair = Pair::guest();
    let (session, mut negotiation) = pair.meeting();
    pair.phone.hold(true, pair.now).unwrap();
    let mut refused = 0;
    let end = pair.now + Duration::from_secs(60);
    while pair.now < end {
        pair.pass(Duration::from_millis(100));
        let offers = pair.served.drain(..).filter(|event| {
            matches!(
                event,
                Event::Session {
                    event: SessionEvent::ReOffer { .. },
                    ..
                }
            )
        });
        for _ in 0..offers.count() {
            refused += 1;
            let status = StatusCode::REQUEST_PENDING;
            pair.server
                .refuse(session, status, Headers::new(), pair.now)
                .unwrap();
        }
    }
    assert_eq!(refused, 5);
    assert_eq!(holding(&pair), [(false, Some(491))]);
    pair.phone.hold(true, pair.now).unwrap();
    pair.settle();
    assert_eq!(
        take_offer(&mut pair, session, &mut negotiation),
        Direction::RecvOnly
    );
    assert_eq!(holding(&pair), [(false, Some(491)), (true, None)]);
}

/// The peer asks for our offer while ours waits after a glare: its answer comes in the ACK, or does not come at all.
#[test]
fn a_hold_that_crosses_an_offerless_reinvite_comes_through() {
    for answers in [true, false] {
        let mut pair = Pair::guest();
        let (session, mut negotiation) = pair.meeting();
        pair.phone.hold(true, pair.now).unwrap();
        pair.settle();
        pair.served.clear();
        let status = StatusCode::REQUEST_PENDING;
        pair.server
            .refuse(session, status, Headers::new(), pair.now)
            .unwrap();
        pair.settle();
        pair.by_hand("INVITE", "");
        let offer = pair.last_answer();
        assert!(offer.contains("a=sendonly"), "{offer}");
        let mut ours = negotiation.clone();
        ours.receive_offer(sdp::parse(offer.as_bytes()).unwrap()).unwrap();
        let (answer, _) = ours.create_answer(&server_media()).unwrap();
        let answer = if answers {
            answer.to_string()
        } else {
            String::new()
        };
        pair.by_hand("ACK", &answer);
        let agreed = serve(&mut pair, session, &mut negotiation, A_WHILE);
        // Where the exchange came to nothing ours is made once more.
        assert_eq!(agreed.len(), usize::from(!answers), "{agreed:?}");
        assert_eq!(holding(&pair), [(true, None)], "answers: {answers}");
    }
}

/// RFC 4028 §7.4: the session is refreshed by a re-INVITE that repeats our offer; the peer answers from elsewhere.
#[test]
fn the_answer_to_a_refresh_is_taken() {
    let mut pair = Pair::guest();
    // Who does not take UPDATE is refreshed by re-INVITE.
    let mut settings = EndpointConfig::default();
    settings.allow.retain(|method| *method != Method::Update);
    pair.server = Endpoint::new(settings, [9; 32]);
    let (session, mut negotiation) = pair.meeting();
    pair.heard.clear();
    let mut moved = server_media();
    moved.rtp_port = 6_100;
    let mut refreshes = 0;
    let end = pair.now + 3 * Duration::from_secs(u64::from(crate::limits::SESSION_EXPIRES));
    while pair.now < end {
        pair.pass(Duration::from_secs(1));
        for event in std::mem::take(&mut pair.served) {
            if let Event::Session {
                event: SessionEvent::ReOffer { request },
                ..
            } = event
            {
                refreshes += 1;
                let offer = sdp::parse(&request.body).unwrap();
                negotiation.receive_offer(offer).unwrap();
                let (answer, _) = negotiation.create_answer(&moved).unwrap();
                let body = Body::sdp(answer.to_string());
                pair.server.answer(session, body, pair.now).unwrap();
                pair.settle();
            }
        }
    }
    assert!(refreshes >= 2, "{refreshes}");
    let told: Vec<_> = pair
        .heard
        .iter()
        .filter_map(|event| match event {
            PhoneEvent::Media(audio) => audio.remote_rtp,
            _ => None,
        })
        .collect();
    assert_eq!(told, ["192.0.2.7:6100".parse().unwrap()], "told once");
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
