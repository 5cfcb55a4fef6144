//! The roster over the wire, and those who vanish.

use std::time::Duration;

use meet_server::focus::record::{LeaveReason, StoreRecord};
use meet_server::focus::room_io::RoomInput;
use mixer::{LegKey, MediaEvent};
use sip_proto::endpoint::{Counts, Event, SubscriptionEvent};

use crate::calls::{BLUE, lan};
use crate::town::Town;

fn names(document: &sip_proto::conference_info::Document) -> Vec<String> {
    let users = document.users.as_ref().unwrap();
    users
        .iter()
        .map(|user| user.display_text.clone().unwrap())
        .collect()
}

#[test]
fn a_subscriber_sees_people_come_and_go_in_growing_versions() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    let bob = town.caller("Ann", None);
    let (call, _) = town.join(ann, BLUE);
    town.subscribe(ann, BLUE);
    let first = town.documents(ann);
    assert_eq!(first.len(), 1);
    assert_eq!(names(&first[0]), ["Ann"]);
    let (second, _) = town.join(bob, BLUE);
    town.pass(Duration::from_secs(1));
    let seen = town.documents(ann);
    assert_eq!(names(seen.last().unwrap()), ["Ann", "Ann (2)"]);
    let now = town.now;
    town.callers[bob].endpoint.bye(second, None, now).unwrap();
    town.pass(Duration::from_secs(1));
    let left = town.documents(ann);
    assert_eq!(names(left.last().unwrap()), ["Ann"]);
    let versions: Vec<u32> = first
        .iter()
        .chain(&seen)
        .chain(&left)
        .map(|d| d.version.unwrap())
        .collect();
    assert!(
        versions.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{versions:?}"
    );

    // The room ends, and the subscription with it.
    let now = town.now;
    town.callers[ann].endpoint.bye(call, None, now).unwrap();
    town.pass(Duration::from_secs(31));
    let ended = town.callers[ann].heard.iter().any(|event| {
        matches!(event, Event::Subscription { event: SubscriptionEvent::Terminated { reason, .. }, .. }
            if reason.as_deref() == Some("noresource"))
    });
    assert!(ended, "{:?}", town.callers[ann].heard);
    assert_eq!(town.rest(), Counts::default());
}

#[test]
fn who_unsubscribes_hears_no_more() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    let bob = town.caller("Bob", None);
    town.join(ann, BLUE);
    let subscription = town.subscribe(ann, BLUE);
    let now = town.now;
    town.callers[ann].endpoint.unsubscribe(subscription, now).unwrap();
    town.pass(Duration::from_secs(1));
    town.callers[ann].heard.clear();
    town.join(bob, BLUE);
    town.pass(Duration::from_secs(1));
    assert_eq!(town.documents(ann), []);
    assert_eq!(town.server.counts().subscriptions, 0);
}

#[test]
fn a_vanished_peer_is_noticed_and_the_others_are_told() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    let bob = town.caller("Bob", None);
    let (stays, _) = town.join(ann, BLUE);
    town.join(bob, BLUE);
    town.subscribe(ann, BLUE);
    town.documents(ann);
    town.unplugged.insert(bob);
    town.shard(RoomInput::Media(MediaEvent::Silent { leg: LegKey(2) }));
    town.pass(Duration::from_secs(40));
    assert_eq!(names(town.documents(ann).last().unwrap()), ["Ann"]);
    let vanished = |r: &&StoreRecord| {
        matches!(
            r,
            StoreRecord::PersonLeft {
                reason: LeaveReason::Vanished,
                ..
            }
        )
    };
    assert_eq!(town.records.iter().filter(vanished).count(), 1);
    assert_eq!(town.goodbye(ann, stays), None);
    // The BYE to the vanished one takes its time to be given up.
    town.pass(Duration::from_secs(40));
    assert_eq!(town.server.counts().sessions, 1);
}

#[test]
fn a_silent_phone_that_answers_options_stays() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    let (call, _) = town.join(ann, BLUE);
    town.shard(RoomInput::Media(MediaEvent::Silent { leg: LegKey(1) }));
    town.pass(Duration::from_secs(300));
    assert_eq!(town.goodbye(ann, call), None);
    assert_eq!(town.server.counts().sessions, 1);
    let asked = town.callers[ann].endpoint.counts();
    assert_eq!(asked.sessions, 1);
}

#[test]
fn a_phone_that_forgot_the_call_is_removed_at_once() {
    let mut town = Town::new(lan());
    let ann = town.caller("Ann", None);
    town.join(ann, BLUE);
    // The phone restarts: it knows nothing of its dialog and says 481.
    let fresh = sip_proto::endpoint::Endpoint::new(sip_proto::endpoint::EndpointConfig::default(), [77; 32]);
    town.callers[ann].endpoint = fresh;
    town.shard(RoomInput::Media(MediaEvent::Silent { leg: LegKey(1) }));
    town.pass(Duration::from_secs(1));
    assert_eq!(town.server.counts().sessions, 0);
}
