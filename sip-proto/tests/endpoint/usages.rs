//! A subscription in the dialog of a call (RFC 5057): one count of requests, two lives.

use sip_proto::endpoint::{Event, NotifyState, SessionId, SubscriptionEvent, SubscriptionId};
use sip_proto::message::{HeaderName, Method, Request};

use crate::offers::accepted;
use crate::solo::{Solo, request};

/// A call with a subscription in its dialog, its first NOTIFY answered; both and our tag.
fn subscribed(solo: &mut Solo) -> (SessionId, SubscriptionId, String) {
    let (session, tag) = accepted(solo);
    solo.receive(&request(
        "SUBSCRIBE",
        2,
        "sub",
        &tag,
        "Event: conference\nExpires: 600\n",
    ));
    let Event::Subscribe { subscription, .. } = solo.event() else {
        panic!()
    };
    solo.endpoint
        .accept_subscription(subscription, 600, solo.now)
        .unwrap();
    solo.drain();
    assert_eq!(solo.expect_status(200).headers.to_tag().unwrap().as_str(), tag);
    let first = notify(solo, subscription, NotifyState::Active);
    solo.answer(&first, "200 OK", "", "");
    (session, subscription, tag)
}

fn notify(solo: &mut Solo, subscription: SubscriptionId, state: NotifyState) -> Request {
    solo.endpoint.notify(subscription, state, None, solo.now).unwrap();
    solo.drain();
    let notify = solo.request();
    assert_eq!(notify.method, Method::Notify);
    notify
}

fn seq(request: &Request) -> u32 {
    request.headers.cseq().unwrap().seq
}

#[test]
fn both_usages_share_the_dialog_and_its_numbers() {
    let mut solo = Solo::new();
    let (session, subscription, tag) = subscribed(&mut solo);
    assert_eq!(solo.endpoint.counts().dialogs, 1);
    let second = notify(&mut solo, subscription, NotifyState::Active);
    assert_eq!(second.headers.from_tag().unwrap().as_str(), tag);
    assert_eq!(second.headers.to_tag().unwrap().as_str(), "carol");
    solo.answer(&second, "200 OK", "", "");
    // The peer's numbers go on too, whichever usage a request is for.
    solo.receive(&request("INFO", 2, "old", &tag, ""));
    solo.event();
    solo.receive(&request(
        "SUBSCRIBE",
        1,
        "older",
        &tag,
        "Event: conference\nExpires: 600\n",
    ));
    solo.expect_status(500);
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = solo.request();
    assert_eq!((bye.method.clone(), seq(&bye)), (Method::Bye, seq(&second) + 1));
    solo.answer(&bye, "200 OK", "", "");
    // The call is over, the subscription is not.
    assert_eq!(
        (solo.endpoint.counts().sessions, solo.endpoint.counts().dialogs),
        (0, 1)
    );
    let third = notify(&mut solo, subscription, NotifyState::Active);
    assert_eq!(seq(&third), seq(&bye) + 1);
    solo.answer(&third, "200 OK", "", "");
    solo.receive(&request(
        "SUBSCRIBE",
        5,
        "refresh",
        &tag,
        "Event: conference\nExpires: 300\n",
    ));
    assert_eq!(
        solo.expect_status(200).headers.get(&HeaderName::Expires),
        Some("300")
    );
    // A new subscription needs a call that is up.
    solo.receive(&request(
        "SUBSCRIBE",
        6,
        "other",
        &tag,
        "Event: dialog\nExpires: 300\n",
    ));
    solo.expect_status(481);
    solo.receive(&request(
        "SUBSCRIBE",
        7,
        "end",
        &tag,
        "Event: conference\nExpires: 0\n",
    ));
    solo.expect_status(200);
    let last = solo.request();
    assert_eq!(last.method, Method::Notify);
    solo.answer(&last, "200 OK", "", "");
    assert_eq!(solo.endpoint.counts().dialogs, 0);
    solo.receive(&request(
        "SUBSCRIBE",
        8,
        "late",
        &tag,
        "Event: conference\nExpires: 300\n",
    ));
    solo.expect_status(481);
    solo.finish();
}

#[test]
fn the_subscription_ends_and_the_call_goes_on() {
    let mut solo = Solo::new();
    let (_, subscription, tag) = subscribed(&mut solo);
    // Another package in the same dialog is a subscription of its own.
    solo.receive(&request(
        "SUBSCRIBE",
        3,
        "other",
        &tag,
        "Event: dialog\nExpires: 300\n",
    ));
    let Event::Subscribe {
        subscription: other, ..
    } = solo.events.pop().unwrap()
    else {
        panic!()
    };
    assert_ne!(other, subscription);
    let headers = sip_proto::message::Headers::new();
    solo.endpoint
        .reject_subscription(
            other,
            sip_proto::message::StatusCode::BAD_EVENT,
            headers,
            solo.now,
        )
        .unwrap();
    solo.drain();
    solo.expect_status(489);
    let state = NotifyState::Terminated {
        reason: "noresource".to_owned(),
    };
    let last = notify(&mut solo, subscription, state);
    solo.answer(&last, "481 Subscription Does Not Exist", "", "");
    assert!(
        !solo
            .events
            .iter()
            .any(|event| matches!(event, Event::Session { .. }))
    );
    solo.receive(&request("BYE", 4, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}

#[test]
fn a_refused_notify_ends_only_the_subscription() {
    let mut solo = Solo::new();
    let (_, subscription, tag) = subscribed(&mut solo);
    let second = notify(&mut solo, subscription, NotifyState::Active);
    solo.answer(&second, "481 Subscription Does Not Exist", "", "");
    assert!(matches!(
        solo.event(),
        Event::Subscription {
            event: SubscriptionEvent::NotifyFailed,
            ..
        }
    ));
    assert_eq!(
        (solo.endpoint.counts().sessions, solo.endpoint.counts().dialogs),
        (1, 1)
    );
    solo.receive(&request("BYE", 3, "bye", &tag, ""));
    solo.expect_status(200);
    solo.finish();
}
