//! Scripted calls: the phone against a second endpoint, with time that jumps.

use std::time::{Duration, Instant};

use sip_proto::conference_info::{Document, User};
use sip_proto::endpoint::{
    self, Body, Endpoint, EndpointConfig, Event, Flow, Input, NotifyState, SessionEvent, SessionId,
    SubscriptionId,
};
use sip_proto::headers::Reason;
use sip_proto::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use sip_proto::sdp::offer_answer::{LocalMedia, OfferAnswer, SrtpPolicy};
use sip_proto::sdp::{self, Direction};
use sip_proto::uri::Uri;

use super::{EndReason, Output, Phone, PhoneConfig, PhoneEvent};
use crate::account::Account;

mod faults;
mod holds;

const PHONE: &str = "192.0.2.1:5060";
const SERVER: &str = "192.0.2.7:5060";

/// The phone, the server's endpoint, and the wire between them.
struct Pair {
    phone: Phone,
    server: Endpoint,
    now: Instant,
    heard: Vec<PhoneEvent>,
    served: Vec<Event>,
    /// Nothing that the phone sends arrives.
    deaf: bool,
    wire: Vec<String>,
}

impl Pair {
    fn new(account: Account) -> Self {
        let flow = Flow::udp(PHONE.parse().unwrap(), SERVER.parse().unwrap());
        let config = PhoneConfig {
            account,
            flow,
            answer: false,
            seed: [7; 32],
        };
        let mut phone = Phone::new(config);
        phone.set_media(LocalMedia::new("192.0.2.1".parse().unwrap(), 4_000));
        let mut settings = EndpointConfig {
            allow_events: vec!["conference".into()],
            ..EndpointConfig::default()
        };
        settings.allow.push(Method::Register);
        Self {
            phone,
            server: Endpoint::new(settings, [9; 32]),
            now: Instant::now(),
            heard: Vec::new(),
            served: Vec::new(),
            deaf: false,
            wire: Vec::new(),
        }
    }

    fn guest() -> Self {
        Self::new(Account::guest("Ada", None, "192.0.2.7".parse().unwrap(), None))
    }

    /// Carries messages until both sides are silent.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Some(output) = self.phone.poll_output() {
                moved = true;
                match output {
                    Output::Event(event) => self.heard.push(event),
                    Output::Transmit { bytes, .. } => {
                        self.wire.push(String::from_utf8_lossy(&bytes).into_owned());
                        if !self.deaf {
                            let flow = Flow::udp(SERVER.parse().unwrap(), PHONE.parse().unwrap());
                            self.server
                                .handle_input(Input::Datagram { flow, bytes: &bytes }, self.now);
                        }
                    }
                    Output::Close { .. } => {}
                }
            }
            while let Some(output) = self.server.poll_output() {
                moved = true;
                match output {
                    endpoint::Output::Event(event) => self.served.push(event),
                    endpoint::Output::Transmit { bytes, .. } => {
                        let flow = Flow::udp(PHONE.parse().unwrap(), SERVER.parse().unwrap());
                        self.phone
                            .handle_input(Input::Datagram { flow, bytes: &bytes }, self.now);
                    }
                    endpoint::Output::Close { .. } => {}
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass, with every timer in between.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        loop {
            let phone = self.phone.poll_timeout().map(|(at, _)| at);
            let server = self.server.poll_timeout().map(|(at, _)| at);
            let Some(due) = [phone, server]
                .into_iter()
                .flatten()
                .min()
                .filter(|due| *due <= end)
            else {
                break;
            };
            self.now = self.now.max(due);
            self.phone.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    fn invite(&mut self) -> (SessionId, Request) {
        self.settle();
        let found = self.served.iter().find_map(|event| match event {
            Event::Invite { session, request, .. } => Some((*session, request.clone())),
            _ => None,
        });
        self.served.retain(|event| !matches!(event, Event::Invite { .. }));
        found.expect("an INVITE")
    }

    fn subscription(&mut self) -> SubscriptionId {
        self.settle();
        let found = self.served.iter().find_map(|event| match event {
            Event::Subscribe { subscription, .. } => Some(*subscription),
            _ => None,
        });
        found.expect("a SUBSCRIBE")
    }

    fn has(&self, wanted: impl Fn(&PhoneEvent) -> bool) -> bool {
        self.heard.iter().any(wanted)
    }

    /// A request of the server's in the standing call that its endpoint would not send.
    fn by_hand(&mut self, method: &str, body: &str) {
        let acks = self.wire.iter().rev().find(|message| message.starts_with("ACK "));
        let ack = acks.expect("the call stands");
        let line = |name: &str| {
            let lines = ack.lines().find(|line| line.starts_with(name));
            lines.expect(name).split_once(": ").unwrap().1.to_owned()
        };
        let (server, phone, call_id) = (line("To:"), line("From:"), line("Call-ID:"));
        let text = format!(
            "{method} sip:ada@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {SERVER};branch=z9hG4bKhand{method}\r\n\
             From: {server}\r\nTo: {phone}\r\nCall-ID: {call_id}\r\nCSeq: 2000000000 {method}\r\n\
             Contact: <sip:{SERVER}>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let flow = Flow::udp(PHONE.parse().unwrap(), SERVER.parse().unwrap());
        let bytes = text.as_bytes();
        self.phone.handle_input(Input::Datagram { flow, bytes }, self.now);
        self.settle();
    }

    /// The description in the phone's last 200.
    fn last_answer(&self) -> String {
        let answers = self
            .wire
            .iter()
            .rev()
            .find(|message| message.starts_with("SIP/2.0 200"));
        answers
            .expect("a 200")
            .split_once("\r\n\r\n")
            .unwrap()
            .1
            .to_owned()
    }

    fn ended(&self) -> Option<&EndReason> {
        self.heard.iter().find_map(|event| match event {
            PhoneEvent::Ended(reason) => Some(reason),
            _ => None,
        })
    }

    /// Dials and answers as a focus does; gives the server's session and its negotiation.
    fn meeting(&mut self) -> (SessionId, OfferAnswer) {
        self.phone
            .dial(&uri("sip:create@192.0.2.7;room=standup"), self.now)
            .unwrap();
        let (session, request) = self.invite();
        let mut negotiation = OfferAnswer::new(1 << 40);
        negotiation
            .receive_offer(sdp::parse(&request.body).unwrap())
            .unwrap();
        let (answer, _) = negotiation.create_answer(&server_media()).unwrap();
        let mut headers = Headers::new();
        headers.push(HeaderName::Contact, "<sip:standup@192.0.2.7>;isfocus");
        headers.push(
            HeaderName::CallInfo,
            "<http://192.0.2.7:8080/api/v1/meetings/standup>;purpose=meet-api;token=0123abcd",
        );
        self.server
            .accept(session, Some(Body::sdp(answer.to_string())), headers, self.now)
            .unwrap();
        self.settle();
        (session, negotiation)
    }
}

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn server_media() -> LocalMedia {
    LocalMedia::new("192.0.2.7".parse().unwrap(), 6_000)
}

#[test]
fn a_meeting_is_made_watched_and_left() {
    let mut pair = Pair::guest();
    pair.meeting();
    assert!(pair.has(
        |event| matches!(event, PhoneEvent::Joined { room, focus: true, token: Some(token) }
        if room == "sip:standup@192.0.2.7" && token == "0123abcd")
    ));
    let media = pair
        .heard
        .iter()
        .position(|event| matches!(event, PhoneEvent::Media(_)));
    let joined = pair
        .heard
        .iter()
        .position(|event| matches!(event, PhoneEvent::Joined { .. }));
    assert!(
        media.unwrap() < joined.unwrap(),
        "sound is known before the call is announced"
    );

    let subscription = pair.subscription();
    pair.server
        .accept_subscription(subscription, 3_600, pair.now)
        .unwrap();
    let ada = User {
        entity: Some("sip:ada@192.0.2.7".into()),
        display_text: Some("Ada".into()),
        ..User::default()
    };
    let document = Document {
        entity: "sip:standup@192.0.2.7".into(),
        version: Some(1),
        users: Some(vec![ada]),
        active_speaker: Some("sip:ada@192.0.2.7".into()),
        ..Document::default()
    };
    let body = Body::new(sip_proto::conference_info::CONTENT_TYPE, document.to_xml());
    pair.server
        .notify(subscription, NotifyState::Active, Some(body), pair.now)
        .unwrap();
    pair.settle();
    assert!(pair.has(|event| matches!(event, PhoneEvent::People(roster)
        if roster.people.len() == 1 && roster.people[0].me && roster.speaker_name() == Some("Ada"))));

    pair.phone.hang_up(pair.now);
    assert!(!pair.phone.is_quiet(), "the BYE is not answered yet");
    pair.settle();
    assert!(pair.phone.is_quiet(), "the BYE was answered");
    assert_eq!(pair.ended(), Some(&EndReason::Local));
    pair.pass(Duration::from_secs(60));
    assert_eq!(
        pair.phone.endpoint.counts(),
        endpoint::Counts::default(),
        "nothing may be left over"
    );
}

#[test]
fn the_end_of_a_meeting_carries_its_reason() {
    let mut pair = Pair::guest();
    let (session, _) = pair.meeting();
    pair.server
        .bye(session, Some(Reason::sip(410, "Meeting ended")), pair.now)
        .unwrap();
    pair.settle();
    assert_eq!(
        pair.ended(),
        Some(&EndReason::Peer {
            text: Some("Meeting ended".into()),
            cause: Some(410)
        })
    );
}

#[test]
fn hold_and_resume_by_the_peer_are_followed() {
    let mut pair = Pair::guest();
    let (session, mut negotiation) = pair.meeting();
    for (direction, ours) in [
        (Direction::SendOnly, Direction::RecvOnly),
        (Direction::SendRecv, Direction::SendRecv),
    ] {
        pair.heard.clear();
        let offer = negotiation
            .create_offer(&LocalMedia {
                direction,
                ..server_media()
            })
            .unwrap();
        pair.server
            .reoffer(session, Body::sdp(offer.to_string()), pair.now)
            .unwrap();
        pair.settle();
        assert!(pair.has(|event| matches!(event, PhoneEvent::Media(audio) if audio.direction == ours)));
        let held = direction == Direction::SendOnly;
        assert!(pair.has(|event| matches!(event, PhoneEvent::Hold { held: now } if *now == held)));
        let answer = pair.served.iter().rev().find_map(|event| match event {
            Event::Session {
                event: SessionEvent::ReAnswered { response },
                ..
            } => Some(response.body.clone()),
            _ => None,
        });
        let agreed = negotiation
            .receive_answer(sdp::parse(&answer.unwrap()).unwrap())
            .unwrap();
        assert_eq!(
            agreed.audio.remote_rtp,
            Some("192.0.2.1:4000".parse().unwrap()),
            "ports stay"
        );
    }
}

#[test]
fn refusals_and_silence_end_the_call_with_their_reason() {
    let mut pair = Pair::guest();
    pair.phone.dial(&uri("sip:nobody@192.0.2.7"), pair.now).unwrap();
    let (session, _) = pair.invite();
    pair.server
        .reject(session, StatusCode::NOT_FOUND, Headers::new(), pair.now)
        .unwrap();
    pair.settle();
    assert!(matches!(
        pair.ended(),
        Some(EndReason::Refused { status: 404, .. })
    ));

    let mut pair = Pair::guest();
    pair.deaf = true;
    pair.phone.dial(&uri("sip:nobody@192.0.2.7"), pair.now).unwrap();
    pair.pass(Duration::from_secs(40));
    assert_eq!(pair.ended(), Some(&EndReason::NoAnswer));
}

#[test]
fn an_unanswered_call_is_cancelled() {
    let mut pair = Pair::guest();
    pair.phone.dial(&uri("sip:bob@192.0.2.7"), pair.now).unwrap();
    let (session, _) = pair.invite();
    pair.server
        .ring(session, StatusCode::RINGING, None, Headers::new(), pair.now)
        .unwrap();
    pair.settle();
    assert!(pair.has(|event| matches!(event, PhoneEvent::Ringing { status: 180 })));
    pair.phone.hang_up(pair.now);
    pair.settle();
    assert_eq!(pair.ended(), Some(&EndReason::Local));
    assert!(pair.phone.is_quiet());
    assert!(pair.served.iter().any(|event| {
        matches!(
            event,
            Event::Session {
                event: SessionEvent::Cancelled,
                ..
            }
        )
    }));
}

#[test]
fn a_redirection_is_followed() {
    let mut pair = Pair::guest();
    pair.phone.dial(&uri("sip:bob@192.0.2.7"), pair.now).unwrap();
    let (session, _) = pair.invite();
    let mut headers = Headers::new();
    headers.push(HeaderName::Contact, "<sip:robert@192.0.2.7>");
    pair.server
        .reject(session, StatusCode::MOVED_TEMPORARILY, headers, pair.now)
        .unwrap();
    let (_, request) = pair.invite();
    assert_eq!(request.uri.to_string(), "sip:robert@192.0.2.7");
    assert_eq!(pair.ended(), None);
}

#[test]
fn an_answer_without_common_codec_ends_the_call() {
    let mut pair = Pair::guest();
    pair.phone.dial(&uri("sip:bob@192.0.2.7"), pair.now).unwrap();
    let (session, _) = pair.invite();
    let body = Body::sdp(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n",
    );
    pair.server
        .accept(session, Some(body), Headers::new(), pair.now)
        .unwrap();
    pair.settle();
    assert!(matches!(pair.ended(), Some(EndReason::NoMedia { .. })));
    assert!(
        pair.wire.iter().any(|message| message.starts_with("BYE ")),
        "the peer must be told"
    );
}

#[test]
fn an_incoming_call_with_and_without_an_offer_is_taken() {
    for offerless in [false, true] {
        let mut pair = Pair::guest();
        let mut negotiation = OfferAnswer::new(1 << 40);
        let body =
            (!offerless).then(|| Body::sdp(negotiation.create_offer(&server_media()).unwrap().to_string()));
        let session = pair
            .server
            .invite(
                endpoint::Outgoing {
                    target: uri("sip:ada@192.0.2.1"),
                    from: "\"Bob\" <sip:bob@192.0.2.7>".parse().unwrap(),
                    to: "<sip:ada@192.0.2.1>".parse().unwrap(),
                    contact: None,
                    flow: Flow::udp(SERVER.parse().unwrap(), PHONE.parse().unwrap()),
                    route: Vec::new(),
                    headers: Headers::new(),
                    body,
                },
                pair.now,
            )
            .unwrap();
        pair.settle();
        assert!(pair.has(
            |event| matches!(event, PhoneEvent::Incoming { from, answered: false }
            if from.contains("Bob"))
        ));
        pair.phone.pick_up(pair.now).unwrap();
        pair.settle();
        let response = pair.served.iter().find_map(|event| match event {
            Event::Session {
                event: SessionEvent::Answered { response },
                ..
            } => Some(response.clone()),
            _ => None,
        });
        let theirs = sdp::parse(&response.unwrap().body).unwrap();
        if offerless {
            negotiation.receive_offer(theirs).unwrap();
            let (answer, _) = negotiation.create_answer(&server_media()).unwrap();
            pair.server
                .ack_with_answer(session, Body::sdp(answer.to_string()), pair.now)
                .unwrap();
            pair.settle();
        } else {
            negotiation.receive_answer(theirs).unwrap();
        }
        assert!(
            pair.has(|event| matches!(event, PhoneEvent::Media(_))),
            "offerless: {offerless}"
        );
        assert!(pair.has(|event| matches!(event, PhoneEvent::Joined { focus: false, .. })));
        assert!(
            pair.phone.pick_up(pair.now).is_err(),
            "there is nothing more to take"
        );
    }
}

#[test]
fn a_second_call_is_busy_and_nonsense_is_refused() {
    let mut pair = Pair::guest();
    pair.meeting();
    let call = |body: Body| endpoint::Outgoing {
        target: uri("sip:ada@192.0.2.1"),
        from: "<sip:eve@192.0.2.7>".parse().unwrap(),
        to: "<sip:ada@192.0.2.1>".parse().unwrap(),
        contact: None,
        flow: Flow::udp(SERVER.parse().unwrap(), PHONE.parse().unwrap()),
        route: Vec::new(),
        headers: Headers::new(),
        body: Some(body),
    };
    let status = |pair: &mut Pair, body: Body| {
        pair.served.clear();
        pair.server.invite(call(body), pair.now).unwrap();
        pair.settle();
        pair.served.iter().find_map(|event| match event {
            Event::Session {
                event: SessionEvent::Failed {
                    response: Some(response),
                },
                ..
            } => Some(response.status.code()),
            _ => None,
        })
    };
    assert_eq!(status(&mut pair, Body::sdp("v=0")), Some(486));
    pair.phone.hang_up(pair.now);
    pair.settle();
    assert_eq!(status(&mut pair, Body::sdp("not sdp at all")), Some(400));
    assert_eq!(status(&mut pair, Body::new("text/plain", "hi")), Some(415));
    let savp = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 6000 RTP/SAVP 0\r\n";
    assert!(pair.phone.pick_up(pair.now).is_err());
    pair.served.clear();
    pair.server.invite(call(Body::sdp(savp)), pair.now).unwrap();
    pair.settle();
    let _ = pair.phone.pick_up(pair.now);
    pair.settle();
    assert!(pair.served.iter().any(|event| matches!(event,
        Event::Session { event: SessionEvent::Failed { response: Some(response) }, .. }
            if response.status.code() == 488)));
}

/// The registrar's side: challenges once, then grants 300 seconds.
fn serve_registrations(pair: &mut Pair, seen: &mut Vec<Request>) {
    while let Some(place) = pair
        .served
        .iter()
        .position(|event| matches!(event, Event::Request { .. }))
    {
        let Event::Request { tx, request, .. } = pair.served.remove(place) else {
            continue;
        };
        assert_eq!(request.method, Method::Register);
        let response = if request.headers.get(&HeaderName::Authorization).is_none() {
            let mut refusal = Response::to(&request, StatusCode::UNAUTHORIZED);
            let challenge = "Digest realm=\"meet\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"";
            refusal.headers.push(HeaderName::WwwAuthenticate, challenge);
            refusal
        } else {
            let mut granted = Response::to(&request, StatusCode::OK);
            granted.headers.copy_from(&request.headers, &HeaderName::Contact);
            granted.headers.push(HeaderName::Expires, 300);
            granted
        };
        seen.push(request);
        pair.server.respond(tx, response, pair.now).unwrap();
        pair.settle();
    }
}

#[test]
fn registration_answers_a_challenge_refreshes_and_is_given_back() {
    let account = Account::with_login("Ada", "ada", "secret", "192.0.2.7".parse().unwrap(), None);
    let mut pair = Pair::new(account);
    pair.phone.register(600, pair.now);
    pair.settle();
    let mut seen = Vec::new();
    serve_registrations(&mut pair, &mut seen);
    assert!(
        pair.has(|event| matches!(event, PhoneEvent::Registered { expires: 300, .. })),
        "{:?}",
        pair.heard
    );
    pair.pass(Duration::from_secs(241));
    serve_registrations(&mut pair, &mut seen);
    let registered = pair
        .heard
        .iter()
        .filter(|event| matches!(event, PhoneEvent::Registered { .. }))
        .count();
    assert_eq!(registered, 2, "refreshed a minute before the end");
    pair.phone.unregister(pair.now);
    pair.settle();
    serve_registrations(&mut pair, &mut seen);
    assert!(pair.has(|event| matches!(event, PhoneEvent::Unregistered { .. })));
    assert!(pair.phone.is_quiet());
    assert_eq!(seen.last().unwrap().headers.expires().unwrap(), Some(0));
    assert!(
        seen.iter()
            .all(|request| { request.headers.get(&HeaderName::Contact) == Some("<sip:ada@192.0.2.1:5060>") })
    );
    // RFC 3261 §10.2.4: one Call-ID.
    let call_id = |request: &Request| request.headers.call_id().unwrap();
    assert!(seen.windows(2).all(|pair| call_id(&pair[0]) == call_id(&pair[1])));
    let numbers: Vec<_> = seen
        .iter()
        .map(|request| request.headers.cseq().unwrap().seq)
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "CSeq must grow: {numbers:?}"
    );
}

#[test]
fn options_names_the_api() {
    let mut pair = Pair::guest();
    pair.phone.query(pair.now).unwrap();
    pair.settle();
    let Some(Event::Request { tx, request, .. }) = pair.served.pop() else {
        panic!("no OPTIONS")
    };
    let mut response = Response::to(&request, StatusCode::OK);
    response
        .headers
        .push(HeaderName::CallInfo, "<http://192.0.2.7:8080>;purpose=meet-api");
    pair.server.respond(tx, response, pair.now).unwrap();
    pair.settle();
    assert!(
        pair.has(|event| matches!(event, PhoneEvent::Server { api: Some(url) }
        if url == "http://192.0.2.7:8080"))
    );
}

#[test]
fn digits_by_info_are_told() {
    let mut pair = Pair::guest();
    let (session, _) = pair.meeting();
    let body = Body::new("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n");
    pair.server
        .request_in_dialog(session, Method::Info, Headers::new(), Some(body), pair.now)
        .unwrap();
    pair.settle();
    assert!(pair.has(|event| matches!(
        event,
        PhoneEvent::Digit {
            digit: '5',
            duration_ms: 160
        }
    )));
    assert!(
        pair.served
            .iter()
            .any(|event| matches!(event, Event::Response { response, .. }
        if response.status == StatusCode::OK))
    );
}

#[test]
fn a_server_that_died_is_noticed() {
    let mut pair = Pair::guest();
    pair.meeting();
    pair.phone.probe(pair.now);
    pair.settle();
    assert!(pair.served.iter().any(|event| matches!(event,
        Event::Session { event: SessionEvent::Request { request, .. }, .. } if request.method == Method::Options)));
    assert_eq!(pair.ended(), None, "nobody hurries the answer");
    pair.deaf = true;
    pair.phone.probe(pair.now);
    pair.pass(Duration::from_secs(40));
    assert_eq!(pair.ended(), Some(&EndReason::Vanished));
}

fn protected(srtp: SrtpPolicy) -> LocalMedia {
    LocalMedia {
        srtp,
        ..LocalMedia::new("192.0.2.1".parse().unwrap(), 4_000)
    }
}

#[test]
fn keys_are_offered_and_given_to_the_media() {
    let mut pair = Pair::guest();
    pair.phone.set_media(protected(SrtpPolicy::Required));
    pair.phone.dial(&uri("sip:bob@192.0.2.7"), pair.now).unwrap();
    let (session, request) = pair.invite();
    let mut negotiation = OfferAnswer::new(3).with_keys([3; 32]);
    negotiation
        .receive_offer(sdp::parse(&request.body).unwrap())
        .unwrap();
    let mut media = server_media();
    media.srtp = SrtpPolicy::Optional;
    let (answer, ours) = negotiation.create_answer(&media).unwrap();
    let body = Body::sdp(answer.to_string());
    pair.server
        .accept(session, Some(body), Headers::new(), pair.now)
        .unwrap();
    pair.settle();
    let theirs = pair.heard.iter().find_map(|event| match event {
        PhoneEvent::Media(audio) => audio.srtp.clone(),
        _ => None,
    });
    let (theirs, ours) = (theirs.unwrap(), ours.audio.srtp.unwrap());
    assert_eq!((theirs.local, theirs.remote), (ours.remote, ours.local));
}

#[test]
fn who_takes_no_keys_is_called_once_more_without() {
    for (policy, again) in [(SrtpPolicy::Optional, true), (SrtpPolicy::Required, false)] {
        let mut pair = Pair::guest();
        pair.phone.set_media(protected(policy));
        pair.phone.dial(&uri("sip:bob@192.0.2.7"), pair.now).unwrap();
        let (session, request) = pair.invite();
        assert!(String::from_utf8_lossy(&request.body).contains("a=crypto:"));
        let refuse = |pair: &mut Pair, session| {
            let status = StatusCode::NOT_ACCEPTABLE_HERE;
            pair.server
                .reject(session, status, Headers::new(), pair.now)
                .unwrap();
            pair.settle();
        };
        refuse(&mut pair, session);
        assert_eq!(pair.ended().is_none(), again, "{policy:?}");
        if again {
            let (session, request) = pair.invite();
            assert!(!String::from_utf8_lossy(&request.body).contains("a=crypto:"));
            refuse(&mut pair, session);
            assert!(
                matches!(pair.ended(), Some(EndReason::Refused { status: 488, .. })),
                "and not a third time"
            );
        }
    }
}
