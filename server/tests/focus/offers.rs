//! Offer and answer within calls: offerless, hold, resume, codec change, CANCEL, refusals.

use meet_server::focus::io::FocusInput;
use meet_server::focus::room_io::{MediaCommand, RoomInput};
use mixer::Direction;
use sip_proto::endpoint::{SessionEvent, SessionId};
use sip_proto::message::{HeaderName, Request, Response, StatusCode};

use crate::house::{House, OFFER, flow, request};
use meet_server::focus::command::SipCommand;

const BLUE: &str = "sip:blue@192.168.1.1:5060";

fn invite_with(content_type: &str, body: &str) -> Request {
    let line = format!("Content-Type: {content_type}");
    request("INVITE", BLUE, "\"Ann\" <sip:ann@h>", &[&line], body)
}

fn reoffer(house: &mut House, call: SessionId, body: &str) {
    let lines: &[&str] = if body.is_empty() {
        &[]
    } else {
        &["Content-Type: application/sdp"]
    };
    let request = request("INVITE", BLUE, "<sip:ann@h>", lines, body);
    house.session(call, SessionEvent::ReOffer { request });
}

fn answered(house: &mut House, of: SessionId) -> String {
    match house.take(|c| matches!(c, SipCommand::Answer { session, .. } if *session == of)) {
        Some(SipCommand::Answer { body, .. }) => String::from_utf8(body.bytes).unwrap(),
        _ => panic!("not answered: {:?}", house.sip),
    }
}

fn refused(house: &mut House, of: SessionId) -> u16 {
    match house.take(|c| matches!(c, SipCommand::Refuse { session, .. } if *session == of)) {
        Some(SipCommand::Refuse { status, .. }) => status.code(),
        _ => panic!("not refused: {:?}", house.sip),
    }
}

#[test]
fn media_starts_before_the_200_and_only_once() {
    let mut house = House::lan();
    house.join(BLUE, "Ann");
    let kinds: Vec<&str> = house
        .media
        .iter()
        .map(|(_, command)| match command {
            MediaCommand::OpenLeg { .. } => "open",
            MediaCommand::Add { .. } => "add",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["open", "add"]);
    let MediaCommand::Add { config, .. } = &house.media[1].1 else {
        panic!()
    };
    assert_eq!(config.direction, Direction::SendRecv);
    assert_eq!(config.remote_rtp, Some("192.168.1.9:40000".parse().unwrap()));
    assert_eq!(config.send.payload_type.get(), 96);
}

#[test]
fn an_offerless_invite_is_offered_and_starts_with_the_ack() {
    let mut house = House::lan();
    let call = house.invite_as(request("INVITE", BLUE, "<sip:ann@h>", &[], ""), flow());
    let (_, offer) = house.accepted(call);
    for codec in [
        "opus/48000/2",
        "G722/8000",
        "PCMU",
        "PCMA",
        "telephone-event/8000",
        "telephone-event/48000",
    ] {
        assert!(
            offer.contains(codec) || ["PCMU", "PCMA"].contains(&codec),
            "{codec} in {offer}"
        );
    }
    assert!(
        !house
            .media
            .iter()
            .any(|(_, c)| matches!(c, MediaCommand::Add { .. }))
    );
    let answer = "v=0\r\no=- 2 2 IN IP4 192.168.1.9\r\ns=-\r\nc=IN IP4 192.168.1.9\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 0\r\n";
    let body = answer.as_bytes().to_vec();
    house.session(
        call,
        SessionEvent::Confirmed {
            body,
            content_type: Some("application/sdp".into()),
        },
    );
    assert!(
        house
            .media
            .iter()
            .any(|(_, c)| matches!(c, MediaCommand::Add { .. }))
    );
    assert!(house.bye(call).is_none());
}

#[test]
fn an_ack_without_the_answer_ends_the_call() {
    let mut house = House::lan();
    let call = house.invite_as(request("INVITE", BLUE, "<sip:ann@h>", &[], ""), flow());
    house.accepted(call);
    house.ack(call);
    assert!(house.bye(call).unwrap().starts_with("SIP;cause=488"));
    assert!(matches!(
        house.media.last(),
        Some((_, MediaCommand::CloseLeg { .. }))
    ));
}

#[test]
fn hold_and_resume_change_the_leg_in_place() {
    let mut house = House::lan();
    let call = house.join(BLUE, "Ann");
    house.media.clear();
    let hold = OFFER
        .replace("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n")
        .replace("- 1 1", "- 1 2");
    reoffer(&mut house, call, &hold);
    assert!(answered(&mut house, call).contains("a=recvonly"));
    reoffer(&mut house, call, &OFFER.replace("- 1 1", "- 1 3"));
    let resumed = answered(&mut house, call);
    assert!(
        !resumed.contains("a=recvonly") && !resumed.contains("a=inactive"),
        "{resumed}"
    );
    let directions: Vec<Direction> = house
        .media
        .iter()
        .map(|(_, command)| match command {
            MediaCommand::Update { update, .. } => update.direction,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(directions, [Direction::RecvOnly, Direction::SendRecv]);
}

#[test]
fn a_refresh_without_change_does_not_touch_the_media() {
    let mut house = House::lan();
    let call = house.join(BLUE, "Ann");
    house.media.clear();
    reoffer(&mut house, call, OFFER);
    answered(&mut house, call);
    assert!(house.media.is_empty(), "{:?}", house.media);
}

/// The server refreshes by re-INVITE with what it said last (RFC 4028 §7.4); the phone may answer from elsewhere.
#[test]
fn the_answer_to_a_refresh_moves_the_media() {
    let mut house = House::lan();
    let call = house.join(BLUE, "Ann");
    house.media.clear();
    let codecs = "96 0 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n";
    for (port, moved) in [(40_000, 0), (40_100, 1), (40_100, 0)] {
        let body = format!(
            "v=0\r\no=- 1 2 IN IP4 192.168.1.9\r\ns=-\r\nc=IN IP4 192.168.1.9\r\nt=0 0\r\nm=audio {port} RTP/AVP {codecs}"
        );
        let refresh = request("INVITE", BLUE, "<sip:ann@h>", &[], "");
        let mut response = Response::to(&refresh, StatusCode::OK);
        response.headers.set(HeaderName::ContentType, "application/sdp");
        response.body = body.into_bytes();
        house.session(call, SessionEvent::Refreshed { response });
        let updates: Vec<_> = house.media.drain(..).collect();
        assert_eq!(updates.len(), moved, "{updates:?}");
        for (_, update) in updates {
            let MediaCommand::Update { update, .. } = update else {
                panic!("{update:?}")
            };
            assert_eq!(update.remote_rtp, Some("192.168.1.9:40100".parse().unwrap()));
        }
    }
}

/// RFC 3262 §5: a first reliable answer to an INVITE without an offer carries one; a 180 without is not sent.
#[test]
fn a_caller_that_wants_our_offer_reliably_gets_it_at_once() {
    let mut settings = crate::house::lan();
    settings.room.ring = std::time::Duration::from_secs(3);
    for (require, body, rings) in [
        ("100rel", "", false),
        ("100rel", OFFER, true),
        ("timer", "", true),
    ] {
        let mut house = House::new(settings.clone());
        let lines = [
            format!("Require: {require}"),
            "Content-Type: application/sdp".to_owned(),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let call = house.invite_as(request("INVITE", BLUE, "<sip:ann@h>", &lines, body), flow());
        let rung = house.take(|c| matches!(c, SipCommand::Ring { .. }));
        assert_eq!(rung.is_some(), rings, "{require} {body}");
        if !rings {
            assert!(house.accepted(call).1.contains("m=audio"));
        }
    }
}

#[test]
fn the_codec_changes_in_place_and_a_bad_reoffer_changes_nothing() {
    let mut house = House::lan();
    let call = house.join(BLUE, "Ann");
    house.media.clear();
    let pcmu = OFFER
        .replace("RTP/AVP 96 0 101", "RTP/AVP 0")
        .replace("- 1 1", "- 1 2");
    reoffer(&mut house, call, &pcmu);
    answered(&mut house, call);
    let MediaCommand::Update { update, .. } = &house.media[0].1 else {
        panic!()
    };
    assert_eq!(update.send.payload_type.get(), 0);
    house.media.clear();
    let nothing = OFFER
        .replace("RTP/AVP 96 0 101", "RTP/AVP 18")
        .replace("- 1 1", "- 1 3");
    reoffer(&mut house, call, &nothing);
    assert_eq!(refused(&mut house, call), 488);
    assert!(house.media.is_empty());
    // And the session still works.
    reoffer(&mut house, call, &pcmu.replace("- 1 2", "- 1 4"));
    answered(&mut house, call);
}

#[test]
fn an_offerless_reinvite_gets_an_offer() {
    let mut house = House::lan();
    let call = house.join(BLUE, "Ann");
    reoffer(&mut house, call, "");
    assert!(answered(&mut house, call).contains("opus/48000/2"));
    let body = OFFER.replace("- 1 1", "- 1 2").into_bytes();
    house.session(
        call,
        SessionEvent::ReOfferAcked {
            body,
            content_type: Some("application/sdp".into()),
        },
    );
    assert!(house.bye(call).is_none());
}

#[test]
fn cancel_before_the_sockets_are_open_leaves_nothing_behind() {
    let mut house = House::lan();
    house.opens_legs = false;
    let call = house.invite(BLUE, "Ann");
    let room = house.only_room();
    house.session(call, SessionEvent::Cancelled);
    let (_, last) = house.media.last().unwrap();
    let MediaCommand::CloseLeg { leg } = *last else {
        panic!("{last:?}")
    };
    house.give_room(
        room,
        RoomInput::LegOpened {
            leg,
            rtp_port: 1,
            rtcp_port: None,
        },
    );
    assert!(matches!(
        house.media.last(),
        Some((_, MediaCommand::CloseLeg { .. }))
    ));
    assert!(house.sip.is_empty(), "{:?}", house.sip);
    house.pass(std::time::Duration::from_secs(30));
    assert!(house.rooms.is_empty());
}

#[test]
fn sockets_that_do_not_open_are_503() {
    let mut house = House::lan();
    house.opens_legs = false;
    let slow = house.invite(BLUE, "Ann");
    house.pass(std::time::Duration::from_secs(5));
    assert_eq!(house.rejected(slow).0, 503);
    let failed = house.invite(BLUE, "Bob");
    let room = house.only_room();
    let leg = meet_server::focus::ids::LegId(2);
    house.give_room(room, RoomInput::LegFailed { leg });
    assert_eq!(house.rejected(failed).0, 503);
}

#[test]
fn a_leg_whose_codecs_cannot_be_built_gets_a_bye() {
    let mut house = House::lan();
    let call = house.join(BLUE, "Ann");
    let room = house.only_room();
    house.give_room(
        room,
        RoomInput::LegFailed {
            leg: meet_server::focus::ids::LegId(1),
        },
    );
    assert_eq!(
        house.bye(call).as_deref(),
        Some("SIP;cause=500;text=\"Media failed\"")
    );
}

#[test]
fn offers_that_cannot_be_answered_make_no_room() {
    let cases = [
        (invite_with("text/plain", "hello"), 415, Some(HeaderName::Accept)),
        (
            invite_with("multipart/mixed;boundary=b", "--b\r\n\r\nx\r\n--b--\r\n"),
            415,
            None,
        ),
        (
            invite_with("application/sdp", &OFFER.replace("96 0 101", "18")),
            488,
            Some(HeaderName::Warning),
        ),
        (
            invite_with("application/sdp", &OFFER.replace("RTP/AVP", "RTP/SAVP")),
            488,
            Some(HeaderName::Warning),
        ),
        (
            invite_with("application/sdp", &OFFER.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF")),
            488,
            Some(HeaderName::Warning),
        ),
        (invite_with("application/sdp", "v=0\r\nhello"), 400, None),
    ];
    for (invite, expected, header) in cases {
        let mut house = House::lan();
        let call = house.invite_as(invite.clone(), flow());
        let (status, headers) = house.rejected(call);
        assert_eq!(status, expected, "{invite:?}");
        if let Some(header) = header {
            assert!(headers.contains(&header), "{header:?} in {headers:?}");
        }
        assert!(house.rooms.is_empty(), "nothing was made");
    }
}

#[test]
fn a_coded_body_is_415_and_an_optional_stranger_is_passed_over() {
    let mut house = House::lan();
    let coded = ["Content-Type: application/sdp", "Content-Encoding: gzip"];
    let call = house.invite_as(request("INVITE", BLUE, "<sip:a@h>", &coded, "x"), flow());
    let (status, headers) = house.rejected(call);
    assert_eq!(
        (status, headers.get(&HeaderName::AcceptEncoding)),
        (415, Some("identity"))
    );
    let optional = [
        "Content-Type: text/plain",
        "Content-Disposition: render;handling=optional",
    ];
    let call = house.invite_as(request("INVITE", BLUE, "<sip:a@h>", &optional, "hi"), flow());
    assert!(house.accepted(call).1.contains("opus"), "taken as offerless");
}

#[test]
fn the_sdp_of_a_multipart_is_found() {
    let mut house = House::lan();
    let body = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: application/sdp\r\n\r\n{OFFER}--b--\r\n"
    );
    let call = house.invite_as(invite_with("multipart/mixed; boundary=b", &body), flow());
    assert!(house.accepted(call).1.contains("m=audio"));
}

#[test]
fn a_command_that_came_too_late_takes_the_leg_away() {
    let mut house = House::lan();
    let call = house.invite(BLUE, "Ann");
    house.give(FocusInput::SessionLost { session: call });
    assert!(matches!(
        house.media.last(),
        Some((_, MediaCommand::CloseLeg { .. }))
    ));
}
