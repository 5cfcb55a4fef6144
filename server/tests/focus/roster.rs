//! SUBSCRIBE and NOTIFY: versions, names, pace, ends.

use std::time::Duration;

use meet_server::focus::api::{ApiRequest, Authority};
use meet_server::focus::command::SipCommand;
use meet_server::focus::io::FocusInput;
use meet_server::focus::room_io::RoomInput;
use sip_proto::conference_info::{EndpointStatus, JoiningMethod, MediaStatus};
use sip_proto::endpoint::{Event, NotifyState, SessionEvent, SubscriptionEvent, SubscriptionId};
use sip_proto::message::HeaderName;

use crate::house::{House, OFFER, request};

const BLUE: &str = "sip:blue@192.168.1.1:5060";

fn refused(house: &mut House, of: SubscriptionId) -> (u16, Option<String>) {
    match house
        .take(|c| matches!(c, SipCommand::RejectSubscription { subscription, .. } if *subscription == of))
    {
        Some(SipCommand::RejectSubscription { status, headers, .. }) => (
            status.code(),
            headers.get(&HeaderName::AllowEvents).map(str::to_owned),
        ),
        _ => panic!("not refused: {:?}", house.sip),
    }
}

fn granted(house: &mut House, of: SubscriptionId) -> u32 {
    match house
        .take(|c| matches!(c, SipCommand::AcceptSubscription { subscription, .. } if *subscription == of))
    {
        Some(SipCommand::AcceptSubscription { expires, .. }) => expires,
        _ => panic!("not accepted: {:?}", house.sip),
    }
}

fn tell(house: &mut House, subscription: SubscriptionId, event: SubscriptionEvent) {
    house.give(FocusInput::Sip(Event::Subscription { subscription, event }));
}

#[test]
fn the_first_document_comes_at_once_and_versions_grow() {
    let mut house = House::lan();
    let ann = house.join(BLUE, "Ann");
    let watcher = house.subscribe(BLUE);
    assert_eq!(granted(&mut house, watcher), 600);
    let (document, state) = house.document(watcher).unwrap();
    assert!(house.document(watcher).is_none(), "one document, not two");
    assert_eq!(state, NotifyState::Active);
    assert_eq!((document.version, document.entity.as_str()), (Some(1), BLUE));
    let users = document.users.unwrap();
    assert_eq!(users[0].display_text.as_deref(), Some("Ann"));
    assert_eq!(users[0].entity.as_deref(), Some("sip:ann@192.168.1.9"));
    assert_eq!(users[0].roles, ["moderator"]);
    let endpoint = &users[0].endpoints[0];
    assert_eq!(endpoint.status, Some(EndpointStatus::Connected));
    assert_eq!(endpoint.joining_method, Some(JoiningMethod::DialedIn));
    assert_eq!(endpoint.media[0].status, Some(MediaStatus::SendRecv));
    let hold = OFFER
        .replace("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n")
        .replace("- 1 1", "- 1 2");
    let hold = request(
        "INVITE",
        BLUE,
        "<sip:ann@h>",
        &["Content-Type: application/sdp"],
        &hold,
    );
    house.session(ann, SessionEvent::ReOffer { request: hold });
    house.pass(Duration::from_secs(1));
    let (document, _) = house.document(watcher).unwrap();
    assert_eq!(document.version, Some(2));
    let endpoint = &document.users.unwrap()[0].endpoints[0];
    assert_eq!(endpoint.status, Some(EndpointStatus::OnHold));
    assert_eq!(endpoint.media[0].status, Some(MediaStatus::SendOnly));
}

#[test]
fn same_names_are_made_distinct_and_entities_too() {
    let mut house = House::lan();
    for _ in 0..3 {
        house.join(BLUE, "Ann");
    }
    let watcher = house.subscribe(BLUE);
    let users = house.latest(watcher).users.unwrap();
    let names: Vec<_> = users
        .iter()
        .map(|user| user.display_text.clone().unwrap())
        .collect();
    assert_eq!(names, ["Ann", "Ann (2)", "Ann (3)"]);
    let mut entities: Vec<_> = users.iter().map(|user| user.entity.clone().unwrap()).collect();
    entities.sort();
    entities.dedup();
    assert_eq!(entities.len(), 3, "{entities:?}");
}

#[test]
fn names_are_cleaned() {
    let mut house = House::lan();
    house.join(BLUE, "A\u{202e}nn\u{200b}");
    house.join(BLUE, &"x".repeat(500));
    let watcher = house.subscribe(BLUE);
    let users = house.latest(watcher).users.unwrap();
    assert_eq!(users[0].display_text.as_deref(), Some("Ann"));
    assert_eq!(users[1].display_text.as_ref().unwrap().len(), 64);
}

#[test]
fn changes_are_told_at_five_a_second_at_most_and_the_last_one_wins() {
    let mut house = House::lan();
    house.join(BLUE, "Ann");
    let watcher = house.subscribe(BLUE);
    house.latest(watcher);
    let mut documents = Vec::new();
    for i in 0..20 {
        house.join(BLUE, &format!("P{i}"));
        house.pass(Duration::from_millis(50));
        documents.extend(std::iter::from_fn(|| house.document(watcher)).map(|(d, _)| d));
    }
    house.pass(Duration::from_millis(200));
    documents.extend(std::iter::from_fn(|| house.document(watcher)).map(|(d, _)| d));
    assert!((4..=7).contains(&documents.len()), "{}", documents.len());
    let versions: Vec<_> = documents.iter().map(|d| d.version.unwrap()).collect();
    assert!(
        versions.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{versions:?}"
    );
    assert_eq!(documents.last().unwrap().users.as_ref().unwrap().len(), 21);
}

#[test]
fn the_subscription_ends_with_the_room() {
    let mut house = House::lan();
    house.join(BLUE, "Ann");
    let watcher = house.subscribe(BLUE);
    house.latest(watcher);
    house.api(ApiRequest::End {
        name: "blue".into(),
        authority: Authority::Administrator,
    });
    let (document, state) = house.document(watcher).unwrap();
    assert_eq!(
        state,
        NotifyState::Terminated {
            reason: "noresource".into()
        }
    );
    assert_eq!(document.users.unwrap().len(), 0);
    let late = house.subscribe(BLUE);
    assert_eq!(refused(&mut house, late).0, 410);
}

#[test]
fn a_fetch_gets_one_document() {
    let mut house = House::lan();
    house.join(BLUE, "Ann");
    let lines = ["Event: conference", "Expires: 0"];
    let fetch = house.subscribe_as(request("SUBSCRIBE", BLUE, "<sip:z@h>", &lines, ""));
    assert_eq!(granted(&mut house, fetch), 0);
    let (_, state) = house.document(fetch).unwrap();
    assert_eq!(
        state,
        NotifyState::Terminated {
            reason: "timeout".into()
        }
    );
    house.join(BLUE, "Bob");
    house.pass(Duration::from_secs(1));
    assert!(house.document(fetch).is_none());
}

#[test]
fn refresh_brings_the_document_and_the_end_silence() {
    let mut house = House::lan();
    house.join(BLUE, "Ann");
    let ends = [
        SubscriptionEvent::Unsubscribed,
        SubscriptionEvent::Expired,
        SubscriptionEvent::NotifyFailed,
    ];
    for end in ends {
        let watcher = house.subscribe(BLUE);
        house.latest(watcher);
        tell(&mut house, watcher, SubscriptionEvent::Refreshed { expires: 600 });
        assert_eq!(house.document(watcher).unwrap().0.version, Some(2));
        tell(&mut house, watcher, end);
        house.join(BLUE, "Bob");
        house.pass(Duration::from_secs(1));
        assert!(house.document(watcher).is_none());
    }
    let watcher = house.subscribe(BLUE);
    house.latest(watcher);
    house.give(FocusInput::SubscriptionLost {
        subscription: watcher,
    });
    house.join(BLUE, "Cid");
    assert!(house.document(watcher).is_none());
}

#[test]
fn other_packages_and_other_resources_are_refused() {
    let mut house = House::lan();
    house.join(BLUE, "Ann");
    let mut ask = |uri: &str, lines: &[&str]| {
        let subscription = house.subscribe_as(request("SUBSCRIBE", uri, "<sip:z@h>", lines, ""));
        refused(&mut house, subscription)
    };
    let conference = Some("conference".to_owned());
    assert_eq!(ask(BLUE, &["Event: presence"]), (489, conference.clone()));
    assert_eq!(ask(BLUE, &[]), (489, conference));
    assert_eq!(ask("sip:red@192.168.1.1", &["Event: conference"]).0, 404);
    assert_eq!(ask("sip:create@192.168.1.1", &["Event: conference"]).0, 404);
    assert_eq!(ask("sip:192.168.1.1", &["Event: conference"]).0, 404);
}

#[test]
fn a_big_room_fits_a_datagram_and_names_the_speaker() {
    let mut house = House::lan();
    for i in 0..300 {
        house.join(BLUE, &format!("Participant number {i}"));
    }
    let watcher = house.subscribe(BLUE);
    let room = house.only_room();
    let event = mixer::MediaEvent::ActiveSpeaker {
        leg: Some(mixer::LegKey(299)),
    };
    house.give_room(room, RoomInput::Media(event));
    house.pass(Duration::from_secs(1));
    let sizes: Vec<usize> = house
        .sip
        .iter()
        .filter_map(|command| match command {
            SipCommand::Notify { body, .. } => Some(body.bytes.len()),
            _ => None,
        })
        .collect();
    assert!(
        !sizes.is_empty() && sizes.iter().all(|size| *size <= 60_000),
        "{sizes:?}"
    );
    let document = house.latest(watcher);
    assert_eq!(document.conference_state.unwrap().user_count, Some(300));
    let users = document.users.unwrap();
    assert!(users.len() > 50 && users.len() < 300, "{}", users.len());
    let speaker = document.active_speaker;
    assert!(speaker.is_some() && users.iter().any(|user| user.entity == speaker));
}
