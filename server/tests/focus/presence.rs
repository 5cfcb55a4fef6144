//! The vanished, the held, the muted, the speaking.

use std::time::Duration;

use meet_server::focus::command::SipCommand;
use meet_server::focus::ids::LegId;
use meet_server::focus::io::FocusInput;
use meet_server::focus::record::{LeaveReason, StoreRecord};
use meet_server::focus::room_io::{MediaCommand, RoomInput};
use mixer::{LegKey, MediaEvent};
use sip_proto::endpoint::{ClientTx, Event, SessionEvent, SessionId, TerminatedBy};
use sip_proto::message::{Response, StatusCode};

use crate::house::{House, OFFER, request};

const BLUE: &str = "sip:blue@192.168.1.1:5060";

fn media(house: &mut House, event: MediaEvent) {
    let room = house.only_room();
    house.give_room(room, RoomInput::Media(event));
}

fn probes(house: &mut House) -> usize {
    let before = house.sip.len();
    house
        .sip
        .retain(|command| !matches!(command, SipCommand::Probe { .. }));
    before - house.sip.len()
}

/// The endpoint has sent the probe, and the peer answers (or not).
fn answer_probe(house: &mut House, session: SessionId, status: Option<StatusCode>) {
    assert_eq!(probes(house), 1);
    let tx = ClientTx(house.fresh());
    house.give(FocusInput::Issued { session, tx });
    house.give(FocusInput::Sip(match status {
        Some(status) => Event::Response {
            tx,
            response: Response::new(status),
        },
        None => Event::Timeout { tx },
    }));
}

#[test]
fn a_vanished_peer_is_asked_removed_and_everybody_told() {
    for gone in [
        None,
        Some(StatusCode::CALL_DOES_NOT_EXIST),
        Some(StatusCode::REQUEST_TIMEOUT),
    ] {
        let mut house = House::lan();
        let ann = house.join(BLUE, "Ann");
        let bob = house.join(BLUE, "Bob");
        let watcher = house.subscribe(BLUE);
        house.latest(watcher);
        media(&mut house, MediaEvent::Silent { leg: LegKey(1) });
        media(&mut house, MediaEvent::Silent { leg: LegKey(1) });
        answer_probe(&mut house, ann, gone);
        assert!(house.bye(ann).unwrap().contains("408"));
        assert!(house.bye(bob).is_none());
        house.pass(Duration::from_millis(200));
        let users = house.latest(watcher).users.unwrap();
        assert_eq!(users.len(), 1);
        let vanished = |r: &StoreRecord| {
            matches!(
                r,
                StoreRecord::PersonLeft {
                    reason: LeaveReason::Vanished,
                    leg: LegId(1),
                    ..
                }
            )
        };
        assert!(house.records.iter().any(vanished));
        // The endpoint's own report of the same death changes nothing more.
        house.session(
            ann,
            SessionEvent::Terminated {
                by: TerminatedBy::Timeout,
                reason: None,
            },
        );
        assert_eq!(house.records.iter().filter(|r| vanished(r)).count(), 1);
    }
}

#[test]
fn a_silent_phone_that_answers_stays_and_is_asked_again() {
    let mut house = House::lan();
    let ann = house.join(BLUE, "Ann");
    media(&mut house, MediaEvent::Silent { leg: LegKey(1) });
    for status in [
        StatusCode::OK,
        StatusCode::NOT_IMPLEMENTED,
        StatusCode::METHOD_NOT_ALLOWED,
    ] {
        answer_probe(&mut house, ann, Some(status));
        assert_eq!(probes(&mut house), 0);
        house.pass(Duration::from_secs(30));
    }
    answer_probe(&mut house, ann, Some(StatusCode::OK));
    media(&mut house, MediaEvent::Resumed { leg: LegKey(1) });
    house.pass(Duration::from_secs(120));
    assert_eq!(probes(&mut house), 0, "media comes: nobody asks");
    assert!(house.bye(ann).is_none());
}

#[test]
fn an_rtcp_bye_is_a_reason_to_ask() {
    let mut house = House::lan();
    house.join(BLUE, "Ann");
    media(&mut house, MediaEvent::PeerBye { leg: LegKey(1) });
    assert_eq!(probes(&mut house), 1);
}

#[test]
fn everybody_mutes_himself_by_digits() {
    let mut house = House::lan();
    house.join(BLUE, "Ann");
    let watcher = house.subscribe(BLUE);
    house.latest(watcher);
    for expected in [true, false] {
        house.media.clear();
        for digit in ['*', '6'] {
            media(
                &mut house,
                MediaEvent::Digit {
                    leg: LegKey(1),
                    digit,
                    duration_ms: 100,
                },
            );
        }
        assert!(
            matches!(house.media[..], [(_, MediaCommand::Mute { leg: LegId(1), muted })] if muted == expected)
        );
        house.pass(Duration::from_millis(200));
        let users = house.latest(watcher).users.unwrap();
        assert_eq!(users[0].endpoints[0].media[0].muted, Some(expected));
    }
}

#[test]
fn the_speaker_is_in_the_roster() {
    let mut house = House::lan();
    house.join(BLUE, "Ann");
    let bob = house.join(BLUE, "Bob");
    let watcher = house.subscribe(BLUE);
    house.latest(watcher);
    media(&mut house, MediaEvent::ActiveSpeaker { leg: Some(LegKey(2)) });
    let document = house.latest(watcher);
    let users = document.users.unwrap();
    assert_eq!(document.active_speaker, users[1].entity);
    house.hang_up(bob);
    house.pass(Duration::from_millis(200));
    assert_eq!(house.latest(watcher).active_speaker, None);
    media(
        &mut house,
        MediaEvent::ActiveSpeaker {
            leg: Some(LegKey(99)),
        },
    );
    house.pass(Duration::from_millis(200));
    assert!(house.document(watcher).is_none(), "an unknown leg is nobody");
}

fn reoffer(house: &mut House, session: SessionId, direction: &str, version: u8) {
    let sdp = OFFER.replace("t=0 0\r\n", &format!("t=0 0\r\na={direction}\r\n"));
    let sdp = sdp.replace("- 1 1", &format!("- 1 {version}"));
    let request = request(
        "INVITE",
        BLUE,
        "<sip:ann@h>",
        &["Content-Type: application/sdp"],
        &sdp,
    );
    house.session(session, SessionEvent::ReOffer { request });
}

/// Found by the simulator: such a leg stayed for ever, because the mixer expects nothing of it.
#[test]
fn a_phone_that_plays_music_on_hold_and_vanishes_is_noticed() {
    for music in [false, true] {
        let mut house = House::lan();
        let ann = house.join(BLUE, "Ann");
        media(&mut house, MediaEvent::Silent { leg: LegKey(1) });
        answer_probe(&mut house, ann, Some(StatusCode::OK));
        media(&mut house, MediaEvent::Resumed { leg: LegKey(1) });
        reoffer(&mut house, ann, "sendonly", 2);
        if music {
            media(&mut house, MediaEvent::Resumed { leg: LegKey(1) });
        }
        assert_eq!(probes(&mut house), 0);
        house.pass(Duration::from_secs(30));
        answer_probe(&mut house, ann, None);
        assert!(house.bye(ann).is_some());
    }
}

#[test]
fn a_held_phone_is_asked_and_stays_while_it_answers() {
    let mut house = House::lan();
    let ann = house.join(BLUE, "Ann");
    let reoffer = |house: &mut House, direction: &str, version: u8| reoffer(house, ann, direction, version);
    reoffer(&mut house, "inactive", 2);
    assert_eq!(probes(&mut house), 0);
    house.pass(Duration::from_secs(30));
    answer_probe(&mut house, ann, Some(StatusCode::OK));
    house.pass(Duration::from_secs(30));
    answer_probe(&mut house, ann, Some(StatusCode::OK));
    reoffer(&mut house, "sendrecv", 3);
    house.pass(Duration::from_secs(90));
    assert_eq!(
        probes(&mut house),
        0,
        "it may send again: the mixer looks after it"
    );
    // One that holds us may still send, or not: found by the soak, which left such phones in their rooms for good.
    reoffer(&mut house, "sendonly", 4);
    house.pass(Duration::from_secs(30));
    answer_probe(&mut house, ann, None);
    assert!(house.bye(ann).is_some());
}

#[test]
fn a_probe_that_could_not_be_sent_is_tried_again() {
    let mut house = House::lan();
    let ann = house.join(BLUE, "Ann");
    media(&mut house, MediaEvent::Silent { leg: LegKey(1) });
    assert_eq!(probes(&mut house), 1);
    house.give(FocusInput::NotAsked { session: ann });
    house.pass(Duration::from_secs(30));
    assert_eq!(probes(&mut house), 1);
    assert!(house.bye(ann).is_none());
}
