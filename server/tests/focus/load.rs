//! Overload: who is refused, and who never is.

use std::time::Duration;

use meet_server::focus::api::ApiRequest;
use meet_server::focus::command::SipCommand;
use meet_server::focus::ids::ApiId;
use meet_server::focus::io::FocusInput;
use sip_proto::endpoint::SessionEvent;
use sip_proto::message::{HeaderName, Request};

use crate::house::{House, OFFER, flow, lan, request};

const BLUE: &str = "sip:blue@192.168.1.1:5060";

fn new(method: &str) -> Request {
    match method {
        "INVITE" => request(
            method,
            BLUE,
            "<sip:eve@192.168.1.9>",
            &["Content-Type: application/sdp"],
            OFFER,
        ),
        _ => request(method, "sip:192.168.1.1:5060", "<sip:eve@192.168.1.9>", &[], ""),
    }
}

/// Status and Retry-After of a refusal without a transaction.
fn turned_away(command: &SipCommand) -> Option<(u16, u32)> {
    match command {
        SipCommand::TurnAway { status, headers, .. } => {
            let seconds = headers.get(&HeaderName::RetryAfter)?.parse().ok()?;
            Some((status.code(), seconds))
        }
        _ => None,
    }
}

fn queue_grows(house: &mut House, wait: Duration) {
    for _ in 0..200 {
        house.now += Duration::from_millis(1);
        house.give(FocusInput::Waited { wait });
    }
}

#[test]
fn a_long_queue_refuses_new_calls_and_touches_no_call_that_is_up() {
    let mut house = House::new(lan());
    let ann = house.join(BLUE, "Ann");
    queue_grows(&mut house, Duration::from_millis(40));
    let (status, after) = turned_away(&house.arrival(new("INVITE"), flow())).expect("refused");
    assert_eq!(status, 503);
    assert!((5..=10).contains(&after), "{after}");
    assert!(matches!(
        house.arrival(new("OPTIONS"), flow()),
        SipCommand::AnswerArrival { .. }
    ));
    assert!(matches!(
        house.arrival(new("REGISTER"), flow()),
        SipCommand::TakeIn { .. }
    ));
    // Ann puts the meeting on hold: an offer within her call is answered.
    house.sip.clear();
    let offer = request(
        "INVITE",
        BLUE,
        "<sip:ann@192.168.1.9>",
        &["Content-Type: application/sdp"],
        &OFFER.replace("o=- 1 1", "o=- 1 2"),
    );
    house.session(ann, SessionEvent::ReOffer { request: offer });
    assert!(
        house.sip.iter().any(|c| matches!(c, SipCommand::Answer { .. })),
        "{:?}",
        house.sip
    );
    house.give(FocusInput::Waited { wait: Duration::ZERO });
    assert!(matches!(
        house.arrival(new("INVITE"), flow()),
        SipCommand::TakeIn { .. }
    ));
    assert_eq!(house.focus.load().refused(), [1, 0, 0, 0]);
}

#[test]
fn busy_shards_refuse_calls_until_one_has_time() {
    let mut house = House::new(lan());
    let load = |percent: u32| FocusInput::ShardLoad {
        percent: vec![percent],
    };
    house.give(load(90));
    assert!(turned_away(&house.arrival(new("INVITE"), flow())).is_none());
    house.give(load(90));
    assert!(turned_away(&house.arrival(new("INVITE"), flow())).is_some());
    house.give(load(50));
    assert!(turned_away(&house.arrival(new("INVITE"), flow())).is_none());
}

#[test]
fn calls_at_a_time_are_bounded_and_the_end_of_one_makes_room() {
    let mut settings = lan();
    settings.load.max_calls = 2;
    let mut house = House::new(settings);
    let ann = house.join(BLUE, "Ann");
    assert!(turned_away(&house.arrival(new("INVITE"), flow())).is_none());
    house.join(BLUE, "Bob");
    assert!(turned_away(&house.arrival(new("INVITE"), flow())).is_some());
    house.hang_up(ann);
    assert!(turned_away(&house.arrival(new("INVITE"), flow())).is_none());
    // The API goes on all the time.
    house.give(FocusInput::Api {
        id: ApiId(1),
        request: ApiRequest::List,
    });
    assert_eq!(house.replies.len(), 1);
}
