//! Subscriptions over their life, both sides ours, and each side against a hand-made peer.

use sip_proto::endpoint::{Body, Event, NotifyState, PeerState, SubscriptionEvent, SubscriptionId};
use sip_proto::headers;
use sip_proto::message::{HeaderName, Headers, Method, StatusCode};

use crate::pair::{Agent, Pair, Side};
use crate::solo::{Solo, request};

fn roster(version: u32) -> Option<Body> {
    Some(Body::new(
        "application/conference-info+xml",
        format!("<v>{version}</v>"),
    ))
}

impl Agent {
    #[track_caller]
    fn subscription_event(&mut self, id: SubscriptionId) -> SubscriptionEvent {
        match self.event() {
            Event::Subscription { subscription, event } => {
                assert_eq!(subscription, id);
                event
            }
            other => panic!("no subscription event but {other:?}"),
        }
    }

    #[track_caller]
    fn expect_notify(&mut self, id: SubscriptionId, body: Option<Body>, expected: PeerState) {
        match self.subscription_event(id) {
            SubscriptionEvent::Notify { request, state } => {
                assert_eq!(request.body, body.map(|body| body.bytes).unwrap_or_default());
                assert_eq!(state, expected);
            }
            other => panic!("no NOTIFY but {other:?}"),
        }
    }
}

fn subscribe(pair: &mut Pair, expires: u32) -> (SubscriptionId, SubscriptionId) {
    let request = pair.outgoing(Side::A);
    let now = pair.now;
    let a = pair
        .a
        .endpoint
        .subscribe(request, headers::Event::new("conference"), expires, now)
        .unwrap();
    pair.run(100);
    let Event::Subscribe { subscription: b, .. } = pair.b.event() else {
        panic!()
    };
    (a, b)
}

/// A subscription that stands, first NOTIFY taken.
fn active(pair: &mut Pair, expires: u32, granted: u32) -> (SubscriptionId, SubscriptionId) {
    let (a, b) = subscribe(pair, expires);
    let now = pair.now;
    pair.b.endpoint.accept_subscription(b, granted, now).unwrap();
    pair.b
        .endpoint
        .notify(b, NotifyState::Active, roster(1), now)
        .unwrap();
    pair.run(100);
    let expected = SubscriptionEvent::Accepted {
        expires: expires.min(granted),
    };
    assert_eq!(pair.a.subscription_event(a), expected);
    pair.a.expect_notify(a, roster(1), PeerState::Active);
    pair.trace.clear();
    (a, b)
}

#[test]
fn accepted_notified_and_ended_by_the_subscriber() {
    let mut pair = Pair::new();
    let (a, b) = active(&mut pair, 3600, 3600);
    let now = pair.now;
    pair.b
        .endpoint
        .notify(b, NotifyState::Active, roster(2), now)
        .unwrap();
    pair.run(100);
    pair.a.expect_notify(a, roster(2), PeerState::Active);
    let now = pair.now;
    pair.a.endpoint.unsubscribe(a, now).unwrap();
    pair.run(100);
    assert_eq!(pair.b.subscription_event(b), SubscriptionEvent::Unsubscribed);
    pair.a.expect_notify(a, None, PeerState::Terminated);
    let ended = SubscriptionEvent::Terminated {
        reason: Some("timeout".to_owned()),
        retry_after: None,
    };
    assert_eq!(pair.a.subscription_event(a), ended);
    pair.expect_trace(&[
        "B NOTIFY",
        "A 200 NOTIFY",
        "A SUBSCRIBE",
        "B 200 SUBSCRIBE",
        "B NOTIFY",
        "A 200 NOTIFY",
    ]);
    pair.finish();
}

#[test]
fn refreshed_by_itself_until_the_notifier_ends_it() {
    let mut pair = Pair::new();
    let (a, b) = active(&mut pair, 3600, 100);
    for _ in 0..3 {
        pair.run(70_000);
        assert_eq!(
            pair.b.subscription_event(b),
            SubscriptionEvent::Refreshed { expires: 100 }
        );
        // The application owes a NOTIFY; it forgets, so an empty one goes out.
        pair.a.expect_notify(a, None, PeerState::Active);
    }
    let now = pair.now;
    let end = NotifyState::Terminated {
        reason: "noresource".to_owned(),
    };
    pair.b.endpoint.notify(b, end, roster(9), now).unwrap();
    assert!(
        pair.b
            .endpoint
            .notify(b, NotifyState::Active, roster(10), now)
            .is_err()
    );
    pair.run(100);
    pair.a.expect_notify(a, roster(9), PeerState::Terminated);
    let ended = SubscriptionEvent::Terminated {
        reason: Some("noresource".to_owned()),
        retry_after: None,
    };
    assert_eq!(pair.a.subscription_event(a), ended);
    pair.finish();
}

#[test]
fn while_a_notify_is_out_only_the_newest_is_kept() {
    let mut pair = Pair::new();
    let (a, b) = active(&mut pair, 3600, 3600);
    pair.lose(Side::B, "NOTIFY", 1);
    let now = pair.now;
    for version in 2..=5 {
        pair.b
            .endpoint
            .notify(b, NotifyState::Active, roster(version), now)
            .unwrap();
    }
    pair.run(1000);
    pair.a.expect_notify(a, roster(2), PeerState::Active);
    pair.a.expect_notify(a, roster(5), PeerState::Active);
    pair.expect_trace(&[
        "B NOTIFY!",
        "B NOTIFY",
        "A 200 NOTIFY",
        "B NOTIFY",
        "A 200 NOTIFY",
    ]);
    let now = pair.now;
    pair.a.endpoint.unsubscribe(a, now).unwrap();
    pair.run(1000);
    pair.a.events.clear();
    pair.b.events.clear();
    pair.finish();
}

#[test]
fn a_subscriber_that_vanished_is_dropped() {
    let mut pair = Pair::new();
    let (_, b) = active(&mut pair, 3600, 3600);
    pair.lose(Side::A, "200 NOTIFY", 1000);
    let now = pair.now;
    pair.b
        .endpoint
        .notify(b, NotifyState::Active, roster(2), now)
        .unwrap();
    pair.run(33_000);
    assert_eq!(pair.b.subscription_event(b), SubscriptionEvent::NotifyFailed);
    assert_eq!(pair.b.endpoint.counts().subscriptions, 0);
    pair.a.events.clear();
    // The subscriber finds out at its refresh.
    pair.run(3_600_000);
    assert!(matches!(
        pair.a.event(),
        Event::Subscription {
            event: SubscriptionEvent::Terminated { .. },
            ..
        }
    ));
    pair.finish();
}

#[test]
fn a_subscription_that_is_not_refreshed_expires() {
    let mut solo = Solo::new();
    solo.receive(&request(
        "SUBSCRIBE",
        1,
        "s",
        "",
        "Event: conference\nExpires: 60\n",
    ));
    let Event::Subscribe { subscription, .. } = solo.event() else {
        panic!()
    };
    solo.endpoint
        .accept_subscription(subscription, 3600, solo.now)
        .unwrap();
    solo.drain();
    assert_eq!(
        solo.expect_status(200).headers.get(&HeaderName::Expires),
        Some("60")
    );
    solo.run(500);
    let notify = solo.request();
    assert_eq!(
        notify.headers.get(&HeaderName::SubscriptionState),
        Some("active;expires=59")
    );
    assert_eq!(notify.headers.get(&HeaderName::Event), Some("conference"));
    solo.answer(&notify, "200 OK", "", "");
    solo.run(60_000);
    let last = solo.request();
    assert_eq!(
        last.headers.get(&HeaderName::SubscriptionState),
        Some("terminated;reason=timeout")
    );
    assert!(matches!(
        solo.event(),
        Event::Subscription {
            event: SubscriptionEvent::Expired,
            ..
        }
    ));
    solo.answer(&last, "200 OK", "", "");
    assert_eq!(solo.endpoint.counts().subscriptions, 0);
    solo.finish();
}

#[test]
fn a_fetch_gets_one_notify() {
    let mut solo = Solo::new();
    solo.receive(&request(
        "SUBSCRIBE",
        1,
        "s",
        "",
        "Event: conference\nExpires: 0\n",
    ));
    let Event::Subscribe { subscription, .. } = solo.event() else {
        panic!()
    };
    solo.endpoint
        .accept_subscription(subscription, 3600, solo.now)
        .unwrap();
    solo.endpoint
        .notify(subscription, NotifyState::Active, roster(1), solo.now)
        .unwrap();
    solo.drain();
    solo.expect_status(200);
    let notify = solo.request();
    assert_eq!(
        notify.headers.get(&HeaderName::SubscriptionState),
        Some("terminated;reason=timeout")
    );
    assert_eq!(notify.body, roster(1).unwrap().bytes);
    solo.answer(&notify, "200 OK", "", "");
    assert_eq!(solo.endpoint.counts().subscriptions, 0);
    solo.finish();
}

#[test]
fn an_event_nobody_knows_is_refused_by_the_application() {
    let mut pair = Pair::new();
    let (a, b) = subscribe(&mut pair, 3600);
    let now = pair.now;
    pair.b
        .endpoint
        .reject_subscription(b, StatusCode::BAD_EVENT, Headers::new(), now)
        .unwrap();
    pair.run(100);
    let SubscriptionEvent::Rejected {
        response: Some(response),
    } = pair.a.subscription_event(a)
    else {
        panic!()
    };
    assert_eq!(response.status, StatusCode::BAD_EVENT);
    pair.finish();
}

#[test]
fn a_subscription_too_short_is_asked_for_again() {
    let mut pair = Pair::new();
    let (a, b) = subscribe(&mut pair, 10);
    let now = pair.now;
    pair.b.endpoint.accept_subscription(b, 3600, now).unwrap();
    pair.run(2000);
    assert_eq!(
        pair.a.subscription_event(a),
        SubscriptionEvent::Accepted { expires: 30 }
    );
    pair.a.expect_notify(a, None, PeerState::Active);
    assert_eq!(pair.trace[..3], ["A SUBSCRIBE", "B 423 SUBSCRIBE", "A SUBSCRIBE"]);
    let now = pair.now;
    pair.a.endpoint.unsubscribe(a, now).unwrap();
    pair.run(1000);
    pair.a.events.clear();
    pair.b.events.clear();
    pair.finish();
}

#[test]
fn a_notify_may_come_before_the_2xx_and_other_branches_are_refused() {
    let mut solo = Solo::new();
    let uri: sip_proto::uri::Uri = "sip:room@192.0.2.9:5070".parse().unwrap();
    let outgoing = sip_proto::endpoint::Outgoing {
        target: uri.clone(),
        from: headers::NameAddr::new("sip:us@192.0.2.1".parse().unwrap()),
        to: headers::NameAddr::new(uri),
        contact: None,
        flow: solo.flow,
        route: Vec::new(),
        headers: Headers::new(),
        body: None,
    };
    let event = headers::Event::new("conference");
    let id = solo.endpoint.subscribe(outgoing, event, 600, solo.now).unwrap();
    solo.drain();
    let sent = solo.request();
    let notify = |tag: &str, cseq: u32, lines: &str| {
        request("NOTIFY", cseq, &format!("{tag}{cseq}"), "", lines)
            .replace(
                "From: <sip:carol@192.0.2.9>;tag=carol",
                &format!("From: <sip:room@192.0.2.9:5070>;tag={tag}"),
            )
            .replace(
                "To: <sip:room@192.0.2.1>",
                &format!("To: {}", sent.headers.get(&HeaderName::From).unwrap()),
            )
            .replace("solo@192.0.2.9", sent.headers.get(&HeaderName::CallId).unwrap())
    };
    let state = "Event: conference\nSubscription-State: active;expires=600\n";
    solo.receive(&notify("one", 1, state));
    solo.expect_status(200);
    assert!(matches!(
        solo.event(),
        Event::Subscription {
            event: SubscriptionEvent::Notify { .. },
            ..
        }
    ));
    solo.receive(&notify("two", 1, state));
    solo.expect_status(481);
    solo.answer(
        &sent,
        "200 OK",
        "one",
        "Contact: <sip:room@192.0.2.9:5070>\nExpires: 600\n",
    );
    assert!(matches!(
        solo.event(),
        Event::Subscription {
            event: SubscriptionEvent::Accepted { expires: 600 },
            ..
        }
    ));
    solo.receive(&notify("one", 3, &state.replace("conference", "presence")));
    solo.expect_status(489);
    solo.receive(&notify("one", 4, "Event: conference\n"));
    solo.expect_status(400);
    solo.receive(&notify("one", 2, state));
    solo.expect_status(500);
    solo.receive(&notify(
        "one",
        5,
        "Event: conference\nSubscription-State: terminated;reason=probation;retry-after=5\n",
    ));
    solo.expect_status(200);
    solo.event();
    let Event::Subscription {
        subscription,
        event: SubscriptionEvent::Terminated { reason, retry_after },
    } = solo.event()
    else {
        panic!()
    };
    assert_eq!(
        (subscription, reason.as_deref(), retry_after),
        (id, Some("probation"), Some(5))
    );
    solo.finish();
}

#[test]
fn a_subscribe_that_nobody_answers_is_rejected() {
    let mut pair = Pair::new();
    pair.lose(Side::A, "SUBSCRIBE", 1000);
    let request = pair.outgoing(Side::A);
    let now = pair.now;
    let a = pair
        .a
        .endpoint
        .subscribe(request, headers::Event::new("conference"), 600, now)
        .unwrap();
    pair.run(40_000);
    assert_eq!(
        pair.a.subscription_event(a),
        SubscriptionEvent::Rejected { response: None }
    );
    pair.finish();
}

#[test]
fn an_unanswered_application_leaves_nothing() {
    let mut pair = Pair::new();
    let (a, _) = subscribe(&mut pair, 600);
    pair.run(100_000);
    assert_eq!(
        pair.a.subscription_event(a),
        SubscriptionEvent::Rejected { response: None }
    );
    let error = pair
        .b
        .endpoint
        .accept_subscription(SubscriptionId(1), 600, pair.now);
    assert!(error.is_err());
    let request = pair.outgoing(Side::A);
    let now = pair.now;
    assert!(pair.a.endpoint.request(Method::Subscribe, request, now).is_err());
    pair.finish();
}
