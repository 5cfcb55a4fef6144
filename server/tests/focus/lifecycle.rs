//! Rooms begin, live and end.

use std::time::Duration;

use meet_server::focus::api::{ApiRefusal, ApiReply, ApiRequest, Authority};
use meet_server::focus::command::SipCommand;
use meet_server::focus::io::FocusInput;
use meet_server::focus::record::{EndReason, LeaveReason, MeetingRecord, StoreRecord};
use meet_server::focus::room_io::{MediaCommand, RoomInput, RoomReport};
use sip_proto::endpoint::{SessionEvent, TerminatedBy};
use sip_proto::message::HeaderName;

use crate::house::{House, OFFER, flow, lan, request};

const HOST: &str = "192.168.1.1:5060";

fn uri(user: &str) -> String {
    format!("sip:{user}@{HOST}")
}

#[test]
fn the_factory_makes_a_room_and_tells_its_uri_and_token() {
    let mut house = House::lan();
    let call = house.invite(&uri("create"), "Ann");
    let (headers, answer) = house.accepted(call);
    house.ack(call);
    let name = house.open_names().remove(0);
    assert_eq!(
        headers.get(&HeaderName::Contact).unwrap(),
        format!("<sip:{name}@192.168.1.1:5060>;isfocus")
    );
    let info = headers.get(&HeaderName::CallInfo).unwrap();
    let start = format!("<http://192.168.1.1:8080/api/v1/meetings/{name}>;purpose=meet-api;token=");
    let token = info.strip_prefix(&start).unwrap_or_else(|| panic!("{info}"));
    assert_eq!(token.len(), 32);
    assert!(answer.contains("c=IN IP4 192.168.1.1\r\n"), "{answer}");
    assert!(answer.contains("m=audio 20002 RTP/AVP 96"), "{answer}");
    let joined = StoreRecord::PersonJoined {
        room: house.only_room(),
        name: name.clone(),
        leg: meet_server::focus::ids::LegId(1),
        display: "Ann".into(),
        uri: "sip:ann@192.168.1.9".into(),
        account: None,
        user_agent: None,
        call_id: "call-INVITE".into(),
        first: true,
    };
    assert!(house.records.contains(&joined), "{:?}", house.records);
    let by_token = Authority::Token(token.into());
    assert_eq!(
        house.api(ApiRequest::End {
            name,
            authority: by_token
        }),
        ApiReply::Done
    );
    assert!(house.bye(call).is_some());
}

#[test]
fn names_come_from_the_uri_then_the_subject_then_imagination() {
    let mut house = House::lan();
    house.join(&format!("{};room=Weekly", uri("create")), "Ann");
    let lines = ["Subject: Plan \u{202e}B!", "Content-Type: application/sdp"];
    for _ in 0..2 {
        let invite = request("INVITE", &uri("create"), "<sip:bob@h>", &lines, OFFER);
        let call = house.invite_as(invite, flow());
        house.accepted(call);
    }
    house.join(&uri("create"), "Cid");
    let names = house.open_names();
    assert_eq!(names.len(), 4);
    for name in ["weekly", "plan-b", "plan-b-2"] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    // The same wish again meets a living room, a bad one is refused.
    assert_eq!(
        house.invite_refused(&format!("{};room=weekly", uri("create"))),
        486
    );
    assert_eq!(house.invite_refused(&format!("{};room=-x", uri("create"))), 400);
    assert_eq!(
        house.invite_refused(&format!("{};room=create", uri("create"))),
        486
    );
}

#[test]
fn leaving_disturbs_nobody_and_the_creator_may_leave_too() {
    let mut house = House::lan();
    let ann = house.join(&uri("blue"), "Ann");
    let bob = house.join(&uri("blue"), "Bob");
    house.hang_up(ann);
    assert!(house.bye(bob).is_none());
    house.pass(Duration::from_secs(3600));
    assert_eq!(house.open_names(), ["blue"]);
    assert!(house.bye(bob).is_none());
    assert!(matches!(
        house.records.last(),
        Some(StoreRecord::PersonLeft { reason: LeaveReason::Left, display, .. }) if display == "Ann"
    ));
    house.join(&uri("blue"), "Cid");
}

#[test]
fn an_ended_room_says_goodbye_to_all_then_410_then_404() {
    let mut settings = lan();
    settings.ended_hold = Duration::from_secs(600);
    let mut house = House::new(settings);
    let people = ["Ann", "Bob", "Cid"].map(|name| house.join(&uri("blue"), name));
    let other = house.join(&uri("green"), "Dan");
    let end = |authority| ApiRequest::End {
        name: "blue".into(),
        authority,
    };
    for wrong in [
        Authority::None,
        Authority::Token("0".repeat(32)),
        Authority::Token(String::new()),
    ] {
        assert_eq!(house.api(end(wrong)), ApiReply::Refused(ApiRefusal::NotAllowed));
    }
    assert_eq!(house.api(end(Authority::Administrator)), ApiReply::Done);
    for call in people {
        assert_eq!(
            house.bye(call).as_deref(),
            Some("SIP;cause=410;text=\"Meeting ended\"")
        );
    }
    assert!(house.bye(other).is_none(), "the other room is not touched");
    assert_eq!(house.open_names(), ["green"]);
    assert_eq!(house.invite_refused(&uri("blue")), 410);
    assert_eq!(house.ask("OPTIONS", &uri("blue")).status.code(), 410);
    assert_eq!(
        house.api(end(Authority::Administrator)),
        ApiReply::Refused(ApiRefusal::Ended)
    );
    assert_eq!(house.invite_refused(&format!("{};room=blue", uri("create"))), 410);
    house.pass(Duration::from_secs(599));
    assert_eq!(house.invite_refused(&uri("blue")), 410);
    house.pass(Duration::from_secs(1));
    // Free again: with --lan that means that an INVITE makes it.
    house.join(&uri("blue"), "Eve");
}

#[test]
fn the_creators_digits_end_the_room_and_nobody_elses_do() {
    let mut house = House::lan();
    let ann = house.join(&uri("blue"), "Ann");
    let bob = house.join(&uri("blue"), "Bob");
    let press = |house: &mut House, call, digits: &str| {
        for digit in digits.chars() {
            let tx = sip_proto::endpoint::ServerTx(house.fresh());
            let info = request(
                "INFO",
                &uri("blue"),
                "<sip:x@h>",
                &["Content-Type: application/dtmf-relay"],
                &format!("Signal={digit}\r\nDuration=160\r\n"),
            );
            house.session(call, SessionEvent::Request { tx, request: info });
            assert_eq!(house.response(tx).status.code(), 200);
        }
    };
    press(&mut house, bob, "*0#");
    assert_eq!(house.open_names(), ["blue"]);
    press(&mut house, ann, "*0#");
    assert!(house.bye(ann).is_some() && house.bye(bob).is_some());
    assert_eq!(house.invite_refused(&uri("blue")), 410);
    let ended = |r: &&StoreRecord| {
        matches!(
            r,
            StoreRecord::MeetingEnded {
                reason: EndReason::Creator,
                ..
            }
        )
    };
    assert_eq!(house.records.iter().filter(ended).count(), 1);
}

#[test]
fn an_empty_room_ends_after_the_grace_and_its_name_is_free_at_once() {
    let mut settings = lan();
    settings.empty_grace = Duration::from_secs(30);
    let mut house = House::new(settings);
    let ann = house.join(&uri("blue"), "Ann");
    let first = house.only_room();
    house.hang_up(ann);
    house.pass(Duration::from_secs(29));
    let again = house.join(&uri("blue"), "Ann");
    assert_eq!(house.only_room(), first, "back within the grace: the same room");
    house.hang_up(again);
    house.pass(Duration::from_secs(30));
    assert_eq!(house.open_names(), Vec::<String>::new());
    assert!(house.rooms.is_empty());
    assert!(
        house
            .media
            .iter()
            .any(|(room, c)| *room == first && matches!(c, MediaCommand::CloseRoom))
    );
    house.join(&uri("blue"), "Bob");
    assert_ne!(house.only_room(), first);
}

#[test]
fn a_room_made_by_the_api_waits_and_is_called() {
    let mut settings = lan();
    settings.unjoined_hold = Duration::from_secs(7200);
    let mut house = House::new(settings);
    let create = |name: &str| ApiRequest::Create {
        name: Some(name.into()),
        subject: Some("Budget".into()),
    };
    let ApiReply::Created { meeting, token } = house.api(create("Plan")) else {
        panic!()
    };
    assert_eq!(
        (meeting.name.as_str(), meeting.uri.as_str()),
        ("plan", "sip:plan@192.168.1.1:5060")
    );
    assert_eq!(
        house.api(create("plan")),
        ApiReply::Refused(ApiRefusal::NameInUse)
    );
    assert_eq!(house.api(create("a b")), ApiReply::Refused(ApiRefusal::BadName));
    assert_eq!(
        house.api(create("create")),
        ApiReply::Refused(ApiRefusal::NameInUse)
    );
    house.pass(Duration::from_secs(7199));
    let call = house.invite(&meeting.uri, "Ann");
    let (headers, _) = house.accepted(call);
    assert!(
        !headers.contains(&HeaderName::CallInfo),
        "who joins does not get the creator's token"
    );
    house.pass(Duration::from_secs(7200));
    assert_eq!(house.open_names(), ["plan"]);
    let end = ApiRequest::End {
        name: "plan".into(),
        authority: Authority::Token(token),
    };
    assert_eq!(house.api(end), ApiReply::Done);

    let ApiReply::Created { meeting, .. } = house.api(ApiRequest::Create {
        name: None,
        subject: None,
    }) else {
        panic!()
    };
    house.pass(Duration::from_secs(7200));
    assert!(!house.open_names().contains(&meeting.name), "nobody came");
}

#[test]
fn a_reservation_outlives_a_call_that_was_given_up_and_not_a_visit() {
    let mut settings = lan();
    settings.unjoined_hold = Duration::from_secs(7200);
    settings.empty_grace = Duration::from_secs(30);
    let mut house = House::new(settings);
    house.api(ApiRequest::Create {
        name: Some("plan".into()),
        subject: None,
    });
    let given_up = house.invite(&uri("plan"), "Ann");
    house.session(given_up, SessionEvent::Cancelled);
    house.pass(Duration::from_secs(600));
    assert_eq!(house.open_names(), ["plan"], "nobody was in it yet");
    let ann = house.join(&uri("plan"), "Ann");
    house.hang_up(ann);
    house.pass(Duration::from_secs(29));
    assert_eq!(house.open_names(), ["plan"]);
    house.pass(Duration::from_secs(1));
    assert_eq!(house.open_names(), Vec::<String>::new(), "somebody was");
    // The wait for the first one is no shorter than the grace at its end, either.
    house.api(ApiRequest::Create {
        name: Some("late".into()),
        subject: None,
    });
    house.pass(Duration::from_secs(7199));
    let given_up = house.invite(&uri("late"), "Ann");
    house.session(given_up, SessionEvent::Cancelled);
    house.pass(Duration::from_secs(29));
    assert_eq!(house.open_names(), ["late"]);
    house.pass(Duration::from_secs(1));
    assert_eq!(house.open_names(), Vec::<String>::new());
}

#[test]
fn after_a_restart_only_a_reservation_waits_for_hours() {
    let mut settings = lan();
    settings.unjoined_hold = Duration::from_secs(7200);
    let mut house = House::new(settings);
    let kept = |number: i64, name: &str, creator: &str| {
        FocusInput::RestoreMeeting(MeetingRecord {
            meeting: number,
            name: name.to_owned(),
            subject: None,
            creator: creator.to_owned(),
            token_hash: String::new(),
            age: Duration::from_secs(5),
            joined: false,
        })
    };
    house.give(kept(1, "reserved", "api"));
    // The server died between the 200 and the ACK.
    house.give(kept(2, "called", "sip:ann@192.168.1.1"));
    house.pass(Duration::from_secs(599));
    assert_eq!(house.open_names(), ["called", "reserved"]);
    house.pass(Duration::from_secs(1));
    assert_eq!(house.open_names(), ["reserved"]);
    house.pass(Duration::from_secs(7195 - 600));
    assert_eq!(house.open_names(), Vec::<String>::new());
}

#[test]
fn a_call_that_arrives_as_the_room_ends_gets_a_new_room_or_a_true_answer() {
    let mut house = House::lan();
    let ann = house.join(&uri("blue"), "Ann");
    let old = house.only_room();
    house.hang_up(ann);
    // The room ends by its timer; the focus has not heard of it when the INVITE comes.
    let now = house.now + Duration::from_secs(30);
    house.now = now;
    house.rooms.get_mut(&old).unwrap().handle_timeout(now);
    let bob = house.invite(&uri("blue"), "Bob");
    house.accepted(bob);
    assert_ne!(house.only_room(), old);
}

#[test]
fn a_late_unclaimed_call_to_an_ended_name_gets_410() {
    let mut house = House::lan();
    house.join(&uri("blue"), "Ann");
    let room = house.only_room();
    let now = house.now;
    // The room has been told to end, and an INVITE is behind that in its mailbox.
    house
        .rooms
        .get_mut(&room)
        .unwrap()
        .handle_input(RoomInput::End(EndReason::Creator), now);
    assert_eq!(house.invite_refused(&uri("blue")), 410);
}

#[test]
fn shutdown_refuses_new_calls_and_says_goodbye() {
    let mut house = House::lan();
    let ann = house.join(&uri("blue"), "Ann");
    let bob = house.join(&uri("green"), "Bob");
    house.give(FocusInput::Shutdown);
    assert!(house.shut_down);
    for call in [ann, bob] {
        assert_eq!(
            house.bye(call).as_deref(),
            Some("SIP;cause=503;text=\"Server shutting down\"")
        );
    }
    let late = house.invite(&uri("red"), "Cid");
    let (status, headers) = house.rejected(late);
    assert_eq!(status, 503);
    assert!(headers.contains(&HeaderName::RetryAfter));
    let create = ApiRequest::Create {
        name: None,
        subject: None,
    };
    assert_eq!(house.api(create), ApiReply::Refused(ApiRefusal::ShuttingDown));
    // What the endpoint still reports about the old calls hurts nobody.
    house.session(
        ann,
        SessionEvent::Terminated {
            by: TerminatedBy::Local,
            reason: None,
        },
    );
}

#[test]
fn an_idle_server_shuts_down_at_once() {
    let mut house = House::lan();
    house.give(FocusInput::Shutdown);
    assert!(house.shut_down);
}

#[test]
fn a_lost_room_says_goodbye_and_frees_its_name() {
    let mut house = House::lan();
    let ann = house.join(&uri("blue"), "Ann");
    let watcher = house.subscribe(&uri("blue"));
    let room = house.only_room();
    house.give(FocusInput::RoomLost { room });
    let released =
        |c: &SipCommand| matches!(c, SipCommand::Release { subscription } if *subscription == watcher);
    assert!(house.sip.iter().any(released), "the watcher is told");
    assert_eq!(
        house.bye(ann).as_deref(),
        Some("SIP;cause=500;text=\"Media failed\"")
    );
    house.join(&uri("blue"), "Bob");
}

#[test]
fn a_failed_shard_ends_the_room() {
    let mut house = House::lan();
    let ann = house.join(&uri("blue"), "Ann");
    let room = house.only_room();
    house.give_room(room, RoomInput::MediaFailed);
    assert!(house.bye(ann).is_some());
    assert!(house.rooms.is_empty());
    // A report of the same end that comes twice is no harm.
    house.give(FocusInput::Room {
        room,
        report: RoomReport::Ended(EndReason::MediaFailed),
    });
}
