//! Limits and full mailboxes: new things wait outside, deaths are never lost.

use std::time::Duration;

use meet_server::focus::api::{ApiRefusal, ApiReply, ApiRequest};
use meet_server::focus::io::FocusInput;
use meet_server::focus::room_io::RoomInput;
use sip_proto::endpoint::SessionEvent;
use sip_proto::message::HeaderName;

use crate::house::{House, OFFER, lan, request};

fn uri(user: &str) -> String {
    format!("sip:{user}@192.168.1.1:5060")
}

#[test]
fn rooms_legs_and_subscriptions_are_bounded() {
    let mut settings = lan();
    settings.max_rooms = 2;
    settings.room.max_legs = 2;
    settings.room.max_subscriptions = 1;
    let mut house = House::new(settings);
    house.join(&uri("blue"), "Ann");
    house.join(&uri("blue"), "Bob");
    assert_eq!(house.invite_refused(&uri("blue")), 486);
    house.join(&uri("green"), "Cid");
    let call = house.invite(&uri("red"), "Dan");
    let (status, headers) = house.rejected(call);
    assert_eq!((status, headers.get(&HeaderName::RetryAfter)), (503, Some("10")));
    assert_eq!(house.invite_refused(&uri("create")), 503);
    let create = ApiRequest::Create {
        name: None,
        subject: None,
    };
    assert_eq!(house.api(create), ApiReply::Refused(ApiRefusal::TooManyMeetings));
    let first = house.subscribe(&uri("blue"));
    assert!(house.document(first).is_some());
    let second = house.subscribe(&uri("blue"));
    assert!(house.document(second).is_none());
}

#[test]
fn a_full_mailbox_refuses_new_things_and_keeps_deaths() {
    let mut house = House::lan();
    let ann = house.join(&uri("blue"), "Ann");
    let bob = house.join(&uri("blue"), "Bob");
    house.full = true;
    assert_eq!(house.invite_refused(&uri("blue")), 503);
    let participants = ApiRequest::Participants { name: "blue".into() };
    assert_eq!(
        house.api(participants.clone()),
        ApiReply::Refused(ApiRefusal::Busy)
    );
    house.hang_up(ann);
    house.pass(Duration::from_millis(500));
    house.full = false;
    house.pass(Duration::from_millis(50));
    let ApiReply::Participants(people) = house.api(participants) else {
        panic!()
    };
    assert_eq!(
        people.iter().map(|p| p.display.as_str()).collect::<Vec<_>>(),
        ["Bob"]
    );
    let _ = bob;
}

#[test]
fn a_full_mailbox_answers_requests_in_the_dialog() {
    let mut house = House::lan();
    let ann = house.join(&uri("blue"), "Ann");
    house.full = true;
    let lines = ["Content-Type: application/sdp"];
    let reinvite = request("INVITE", &uri("blue"), "<sip:ann@h>", &lines, OFFER);
    house.session(ann, SessionEvent::ReOffer { request: reinvite });
    let tx = sip_proto::endpoint::ServerTx(house.fresh());
    let info = request("INFO", &uri("blue"), "<sip:ann@h>", &[], "");
    house.session(ann, SessionEvent::Request { tx, request: info });
    assert_eq!(house.response(tx).status.code(), 503);
    let refused = |c: &meet_server::focus::command::SipCommand| matches!(c, meet_server::focus::command::SipCommand::Refuse { status, .. } if status.code() == 503);
    assert!(house.take(refused).is_some());
}

#[test]
fn a_room_that_is_gone_is_owed_nothing() {
    let mut house = House::lan();
    let ann = house.join(&uri("blue"), "Ann");
    let room = house.only_room();
    house.give(FocusInput::RoomLost { room });
    let input = Box::new(RoomInput::SessionLost { session: ann });
    house.give(FocusInput::RoomBusy { room, input });
    assert!(house.focus.poll_timeout().is_none(), "nothing is tried again");
}
