//! Calls: come, hold, cancel, leave, end.

use std::time::Duration;

use meet_server::focus::io::FocusInput;
use meet_server::focus::room_io::{MediaCommand, RoomInput};
use meet_server::focus::settings::{Admittance, FocusSettings};
use meet_server::registrar::Account;
use sip_proto::digest::{Algorithm, ha1};
use sip_proto::endpoint::{Body, Counts, SessionEvent};
use sip_proto::message::{HeaderName, Headers, Method};
use sip_proto::sdp;
use sip_proto::sdp::Direction;
use sip_proto::sdp::offer_answer::LocalMedia;

use crate::town::Town;

pub const BLUE: &str = "sip:blue@192.168.1.1:5060";
const FACTORY: &str = "sip:create@192.168.1.1:5060;room=blue";

pub fn lan() -> FocusSettings {
    FocusSettings {
        admittance: Admittance::Lan,
        api_url: Some("http://192.168.1.1:8080".into()),
        authority: "192.168.1.1:5060".into(),
        ..FocusSettings::default()
    }
}

fn with_accounts() -> Town {
    let mut town = Town::new(FocusSettings {
        admittance: Admittance::Accounts,
        ..lan()
    });
    for user in ["ann", "bob"] {
        let secrets = vec![ha1(Algorithm::Sha256, user, "meet", "secret")];
        town.accounts.insert(
            user.into(),
            Account {
                user: user.into(),
                display: None,
                secrets,
            },
        );
    }
    town
}

fn press(town: &mut Town, who: usize, session: sip_proto::endpoint::SessionId, digits: &str) {
    for digit in digits.chars() {
        let body = Body::new(
            "application/dtmf-relay",
            format!("Signal={digit}\r\nDuration=100\r\n"),
        );
        let now = town.now;
        let caller = &mut town.callers[who].endpoint;
        caller
            .request_in_dialog(session, Method::Info, Headers::new(), Some(body), now)
            .unwrap();
        town.settle();
    }
}

#[test]
fn three_people_meet_and_the_creator_ends_it() {
    let mut town = Town::new(lan());
    let people = ["Ann", "Bob", "Cid"].map(|name| town.caller(name, None));
    let (ann, ok) = town.join(people[0], FACTORY);
    let contact = ok.headers.get(&HeaderName::Contact).unwrap();
    assert_eq!(contact, "<sip:blue@192.168.1.1:5060>;isfocus");
    assert!(ok.headers.get(&HeaderName::CallInfo).unwrap().contains(";token="));
    let (bob, ok) = town.join(people[1], BLUE);
    assert!(!ok.headers.contains(&HeaderName::CallInfo));
    let (cid, _) = town.join(people[2], BLUE);
    assert_eq!(town.server.counts().sessions, 3);

    let now = town.now;
    town.callers[people[1]].endpoint.bye(bob, None, now).unwrap();
    town.pass(Duration::from_secs(1));
    assert_eq!(town.server.counts().sessions, 2);
    assert_eq!(town.goodbye(people[0], ann), None);

    press(&mut town, people[0], ann, "*0#");
    let reason = Some("SIP;cause=410;text=\"Meeting ended\"".to_owned());
    assert_eq!(town.goodbye(people[0], ann), reason);
    assert_eq!(town.goodbye(people[2], cid), reason);
    assert_eq!(town.refused(people[1], BLUE), 410);
    assert_eq!(town.rest(), Counts::default(), "nothing is left in the endpoint");
    town.pass(Duration::from_secs(600));
    town.join(people[1], BLUE);
}

#[test]
fn a_room_empties_and_its_name_is_free() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    let (call, _) = town.join(ann, BLUE);
    let now = town.now;
    town.callers[ann].endpoint.bye(call, None, now).unwrap();
    town.pass(Duration::from_secs(31));
    assert!(town.rooms.is_empty());
    town.join(ann, BLUE);
    assert_eq!(town.rooms.len(), 1);
}

#[test]
fn an_offerless_call_is_offered_and_answered_in_the_ack() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    let call = town.call_with(ann, BLUE, None);
    let events = town.session_events(ann, call);
    let Some(SessionEvent::Answered { response }) = events.first() else {
        panic!("{events:?}")
    };
    let caller = &mut town.callers[ann];
    caller
        .offers
        .receive_offer(sdp::parse(&response.body).unwrap())
        .unwrap();
    let (answer, _) = caller
        .offers
        .create_answer(&LocalMedia::new(caller.addr.ip(), 40_000))
        .unwrap();
    let now = town.now;
    caller
        .endpoint
        .ack_with_answer(call, Body::sdp(answer.to_string()), now)
        .unwrap();
    town.settle();
    assert!(
        town.media
            .iter()
            .any(|(_, command)| matches!(command, MediaCommand::Add { .. }))
    );
    assert_eq!(town.goodbye(ann, call), None);
}

#[test]
fn hold_and_resume_travel_both_ways() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    let (call, _) = town.join(ann, BLUE);
    for (wanted, ours) in [
        (Direction::SendOnly, Direction::RecvOnly),
        (Direction::SendRecv, Direction::SendRecv),
    ] {
        let caller = &mut town.callers[ann];
        let mut local = LocalMedia::new(caller.addr.ip(), 40_000);
        local.direction = wanted;
        let offer = caller.offers.create_offer(&local).unwrap();
        let now = town.now;
        caller
            .endpoint
            .reoffer(call, Body::sdp(offer.to_string()), now)
            .unwrap();
        town.settle();
        let events = town.session_events(ann, call);
        let Some(SessionEvent::ReAnswered { response }) = events.first() else {
            panic!("{events:?}")
        };
        let contact = response.headers.get(&HeaderName::Contact);
        assert_eq!(contact, Some("<sip:blue@192.168.1.1:5060>;isfocus"));
        let answer = sdp::parse(&response.body).unwrap();
        assert_eq!(answer.direction_of(&answer.media[0]), ours);
        town.callers[ann].offers.receive_answer(answer).unwrap();
        town.pass(Duration::from_secs(1));
    }
}

#[test]
fn cancel_before_the_sockets_are_open_leaves_nothing() {
    let mut town = Town::new(lan());
    town.opens_legs = false;
    let ann = town.caller("Ann", None);
    let call = town.call(ann, BLUE);
    let now = town.now;
    town.callers[ann].endpoint.cancel(call, now).unwrap();
    town.settle();
    let events = town.session_events(ann, call);
    assert!(
        matches!(events.last(), Some(SessionEvent::Failed { response: Some(r) }) if r.status.code() == 487),
        "{events:?}"
    );
    assert!(matches!(
        town.media.last(),
        Some((_, MediaCommand::CloseLeg { .. }))
    ));
    assert_eq!(town.rest(), Counts::default());
    assert!(town.rooms.is_empty());
}

#[test]
fn accounts_are_asked_for_and_the_answer_comes_by_itself() {
    let mut town = with_accounts();
    let ann = town.caller("Ann", Some("secret"));
    let (_, ok) = town.join(ann, FACTORY);
    assert!(ok.headers.get(&HeaderName::Contact).unwrap().contains("isfocus"));
    let wrong = town.caller("Bob", Some("guess"));
    assert_eq!(town.refused(wrong, BLUE), 403);
    let nobody = town.caller("Zoe", None);
    assert_eq!(town.refused(nobody, BLUE), 401);
    let bob = town.caller("Bob", Some("secret"));
    assert_eq!(town.refused(bob, "sip:red@192.168.1.1"), 404);
    town.join(bob, BLUE);
}

#[test]
fn without_lan_an_ended_name_is_410_and_then_404() {
    let mut town = with_accounts();
    let ann = town.caller("Ann", Some("secret"));
    let bob = town.caller("Bob", Some("secret"));
    let (call, _) = town.join(ann, FACTORY);
    press(&mut town, ann, call, "*0#");
    assert!(town.goodbye(ann, call).is_some());
    assert_eq!(town.refused(bob, BLUE), 410);
    town.pass(Duration::from_secs(600));
    assert_eq!(town.refused(bob, BLUE), 404);
}

#[test]
fn a_phone_registers_with_its_account() {
    let mut town = with_accounts();
    let ann = town.caller("Ann", Some("secret"));
    let mut register = town.outgoing(ann, "sip:192.168.1.1:5060");
    register.to = register.from.clone();
    register
        .headers
        .set(HeaderName::Contact, "<sip:ann@192.168.1.10:5060>;expires=300");
    let ok = town.ask(ann, Method::Register, register);
    assert_eq!(ok.status.code(), 200);
    assert!(
        ok.headers
            .get(&HeaderName::Contact)
            .unwrap()
            .ends_with("expires=300")
    );
}

#[test]
fn options_name_the_api_and_the_methods() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    let options = town.outgoing(ann, "sip:192.168.1.1:5060");
    let ok = town.ask(ann, Method::Options, options);
    assert_eq!(ok.status.code(), 200);
    assert_eq!(
        ok.headers.get(&HeaderName::CallInfo),
        Some("<http://192.168.1.1:8080>;purpose=meet-api")
    );
    let allow = ok.headers.tokens(&HeaderName::Allow);
    for method in [
        "INVITE",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "REGISTER",
        "SUBSCRIBE",
        "UPDATE",
        "INFO",
    ] {
        assert!(allow.iter().any(|m| m == method), "{method} in {allow:?}");
    }
    let events: Vec<&str> = ok.headers.get_all(&HeaderName::AllowEvents).collect();
    assert_eq!(events, ["conference"]);
}

#[test]
fn shutdown_says_goodbye_and_takes_no_more() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    let bob = town.caller("Bob", None);
    let (call, _) = town.join(ann, BLUE);
    town.give(FocusInput::Shutdown);
    assert!(town.shut_down);
    assert_eq!(
        town.goodbye(ann, call).as_deref(),
        Some("SIP;cause=503;text=\"Server shutting down\"")
    );
    assert_eq!(town.refused(bob, BLUE), 503);
    assert_eq!(town.rest(), Counts::default());
}

#[test]
fn a_peer_that_never_acknowledges_is_given_up() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    town.opens_legs = false;
    town.call(ann, BLUE);
    town.unplugged.insert(ann);
    let leg = meet_server::focus::ids::LegId(1);
    town.shard(RoomInput::LegOpened {
        leg,
        rtp_port: 20_000,
        rtcp_port: None,
    });
    assert_eq!(town.server.counts().sessions, 1);
    town.pass(Duration::from_secs(70));
    assert!(town.rooms.is_empty(), "32 s without ACK, then the grace");
    assert_eq!(town.rest(), Counts::default());
}
