//! Session timers, RFC 4028: who refreshes, by what, and what happens when nobody does.

use sip_proto::endpoint::{EndpointConfig, Event, SessionEvent, SessionId, TerminatedBy, Transport};
use sip_proto::headers::{Refresher, SessionExpires};
use sip_proto::message::{HeaderName, Method, Response};

use crate::pair::{Pair, Side, sdp};
use crate::solo::{OFFER, Solo, request, tag_of};

fn asking(seconds: u32) -> EndpointConfig {
    EndpointConfig {
        session_expires: Some(seconds),
        ..EndpointConfig::default()
    }
}

/// Does not know UPDATE, so that refreshes go by re-INVITE.
fn without_update(config: EndpointConfig) -> EndpointConfig {
    let mut config = config;
    config.allow.retain(|method| *method != Method::Update);
    config
}

#[test]
fn the_caller_refreshes_by_update_at_half_time_and_nobody_hears_of_it() {
    let mut pair = Pair::with(asking(100), EndpointConfig::default(), Transport::Udp);
    let (a, b) = pair.call();
    for _ in 0..5 {
        pair.run(49_000);
        pair.expect_trace(&[]);
        pair.run(1000);
        pair.expect_trace(&["A UPDATE", "B 200 UPDATE"]);
    }
    pair.a.nothing();
    pair.b.nothing();
    pair.hang_up(a, b);
}

#[test]
fn the_called_side_sets_an_interval_where_the_caller_knows_timers() {
    // The caller asks for nothing; B's configuration makes it a timer that A refreshes.
    let mut pair = Pair::with(EndpointConfig::default(), asking(120), Transport::Tcp);
    let (a, b) = pair.call();
    pair.run(60_000);
    pair.expect_trace(&["A UPDATE", "B 200 UPDATE"]);
    pair.hang_up(a, b);
}

#[test]
fn a_refresh_by_reinvite_repeats_the_description() {
    let (a, b) = (
        without_update(asking(100)),
        without_update(EndpointConfig::default()),
    );
    let mut pair = Pair::with(a, b, Transport::Udp);
    let (a, b) = pair.call();
    pair.run(50_000);
    let SessionEvent::ReOffer { request } = pair.b.session_event(b) else {
        panic!()
    };
    assert_eq!(request.body, sdp("offer").bytes);
    let interval = request.headers.session_expires().unwrap().unwrap();
    assert_eq!(interval, SessionExpires::new(100, Some(Refresher::Uac)));
    let now = pair.now;
    pair.b.endpoint.answer(b, sdp("answer"), now).unwrap();
    pair.run(100);
    let SessionEvent::Refreshed { response } = pair.a.session_event(a) else {
        panic!()
    };
    assert_eq!(response.body, sdp("answer").bytes);
    pair.expect_trace(&["A INVITE", "B 100 INVITE", "B 200 INVITE", "A ACK"]);
    // An offer of the application's own, made just then, is not lost.
    pair.run(49_990);
    let now = pair.now;
    pair.a.endpoint.reoffer(a, sdp("hold"), now).unwrap();
    for expected in ["offer", "hold"] {
        pair.run(200);
        let SessionEvent::ReOffer { request } = pair.b.session_event(b) else {
            panic!()
        };
        assert_eq!(request.body, sdp(expected).bytes);
        let now = pair.now;
        pair.b.endpoint.answer(b, sdp("answer"), now).unwrap();
    }
    pair.run(200);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Refreshed { .. }));
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReAnswered { .. }));
    pair.hang_up(a, b);
}

#[test]
fn an_offer_is_a_refresh() {
    let mut pair = Pair::with(asking(100), EndpointConfig::default(), Transport::Udp);
    let (a, b) = pair.call();
    pair.run(40_000);
    let now = pair.now;
    pair.b.endpoint.update(b, sdp("offer"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.a.session_event(a), SessionEvent::ReOffer { .. }));
    let now = pair.now;
    pair.a.endpoint.answer(a, sdp("ok"), now).unwrap();
    pair.run(100);
    assert!(matches!(pair.b.session_event(b), SessionEvent::ReAnswered { .. }));
    pair.trace.clear();
    pair.run(49_000);
    pair.expect_trace(&[]);
    pair.run(1000);
    pair.expect_trace(&["A UPDATE", "B 200 UPDATE"]);
    pair.hang_up(a, b);
}

#[test]
fn a_peer_that_stops_refreshing_gets_a_bye_and_so_does_one_that_vanished() {
    let mut pair = Pair::with(asking(100), EndpointConfig::default(), Transport::Udp);
    let (a, b) = pair.call();
    pair.lose(Side::A, "UPDATE", 1000);
    // §10: B gives up at 100 − 32 s, before A's refresh at 50 s has timed out.
    pair.run(67_800);
    pair.b.nothing();
    pair.run(200);
    pair.b.expect_terminated(b, TerminatedBy::Timeout);
    pair.a.expect_terminated(a, TerminatedBy::Peer);
    assert!(pair.trace.iter().any(|line| line == "B BYE"));
    pair.finish();

    let mut pair = Pair::with(asking(300), EndpointConfig::default(), Transport::Udp);
    let (a, b) = pair.call();
    pair.lose(Side::B, "200 UPDATE", 1000);
    pair.run(182_100);
    pair.a.expect_terminated(a, TerminatedBy::Timeout);
    pair.b.expect_terminated(b, TerminatedBy::Peer);
    pair.finish();
}

#[test]
fn a_422_is_answered_with_the_longer_interval() {
    let strict = EndpointConfig {
        min_session_expires: 600,
        ..EndpointConfig::default()
    };
    let mut pair = Pair::with(asking(100), strict, Transport::Udp);
    let (a, b) = {
        let a = pair.invite();
        pair.run(100);
        let b = pair.b.expect_invite();
        pair.expect_trace(&["A INVITE", "B 422 INVITE", "A ACK", "A INVITE", "B 100 INVITE"]);
        accept_and_confirm(&mut pair, a, b);
        (a, b)
    };
    pair.run(299_000);
    pair.expect_trace(&[]);
    pair.run(2000);
    pair.expect_trace(&["A UPDATE", "B 200 UPDATE"]);
    pair.hang_up(a, b);
}

fn accept_and_confirm(pair: &mut Pair, a: SessionId, b: SessionId) {
    pair.accept(b);
    pair.run(100);
    assert!(matches!(pair.a.session_event(a), SessionEvent::Answered { .. }));
    assert!(matches!(pair.b.session_event(b), SessionEvent::Confirmed { .. }));
    pair.trace.clear();
}

/// A call with these lines in its INVITE; the 200.
fn accepted(solo: &mut Solo, lines: &str) -> (SessionId, Response) {
    solo.call(&format!("{lines}{OFFER}"))
}

#[test]
fn the_2xx_names_interval_and_refresher_by_table_2() {
    let interval = |lines: &str, config: EndpointConfig| {
        let mut solo = Solo::with(config);
        let (session, ok) = accepted(&mut solo, lines);
        let required = ok.headers.has_token(&HeaderName::Require, "timer");
        let interval = ok.headers.session_expires().unwrap();
        solo.endpoint.bye(session, None, solo.now).unwrap();
        solo.drain();
        let bye = solo.request();
        solo.answer(&bye, "200 OK", "", "");
        solo.finish();
        (interval.map(|interval| interval.to_string()), required)
    };
    let some = |text: &str| Some(text.to_owned());
    let plain = EndpointConfig::default;
    let timer = "Supported: timer\n";
    assert_eq!(interval("", plain()), (None, false));
    assert_eq!(interval(timer, plain()), (None, false));
    // A peer without timers is not burdened; it is asked by other means whether it lives.
    assert_eq!(interval("", asking(1800)), (None, false));
    assert_eq!(interval(timer, asking(1800)), (some("1800;refresher=uac"), true));
    let asked = |rest: &str| format!("{timer}Session-Expires: 4000{rest}\n");
    assert_eq!(interval(&asked(""), plain()), (some("4000;refresher=uac"), true));
    assert_eq!(
        interval(&asked(""), asking(1800)),
        (some("1800;refresher=uac"), true)
    );
    assert_eq!(
        interval(&asked(";refresher=uas"), asking(1800)),
        (some("1800;refresher=uas"), false)
    );
    assert_eq!(
        interval(&format!("{}Min-SE: 3000\n", asked("")), asking(1800)),
        (some("3000;refresher=uac"), true)
    );
    // A proxy asked for a caller that knows nothing of timers: only we can refresh.
    assert_eq!(
        interval("Session-Expires: 1000\n", plain()),
        (some("1000;refresher=uas"), false)
    );
    let off = EndpointConfig {
        supported: Vec::new(),
        ..asking(1800)
    };
    assert_eq!(interval(&asked(""), off), (None, false));
}

#[test]
fn too_short_is_refused_only_where_the_caller_understands_it() {
    let mut solo = Solo::new();
    solo.receive(&request("INVITE", 1, "short", "", "Supported: timer\nx: 60\n"));
    let refused = solo.expect_status(422);
    assert_eq!(refused.headers.min_se(), Ok(Some(90)));
    let (session, ok) = accepted(&mut solo, "Session-Expires: 60\n");
    assert_eq!(
        ok.headers.get(&HeaderName::SessionExpires),
        Some("90;refresher=uas")
    );
    // Ours to refresh; the peer names no UPDATE, so it goes by re-INVITE with what was answered.
    solo.run(45_000);
    let refresh = solo.request();
    assert_eq!(refresh.method, Method::Invite);
    assert_eq!(refresh.body, sdp("answer").bytes);
    solo.answer(&refresh, "500 Server Internal Error", "", "");
    solo.run(5000);
    assert_eq!(solo.request().method, Method::Ack);
    let refresh = solo.request();
    assert_eq!(refresh.method, Method::Invite);
    // §7.4: a 481 ends the session without a BYE.
    solo.answer(&refresh, "481 Call/Transaction Does Not Exist", "", "");
    assert_eq!(solo.request().method, Method::Ack);
    let Event::Session { session: over, event } = solo.event() else {
        panic!()
    };
    assert_eq!(over, session);
    assert!(matches!(
        event,
        SessionEvent::Terminated {
            by: TerminatedBy::Timeout,
            ..
        }
    ));
    solo.finish();
}

#[test]
fn a_422_to_a_refresh_lengthens_it() {
    let mut solo = Solo::new();
    let (session, _) = accepted(
        &mut solo,
        "Supported: timer\nAllow: UPDATE\nSession-Expires: 200;refresher=uas\n",
    );
    solo.run(100_000);
    let refresh = solo.request();
    assert_eq!(refresh.method, Method::Update);
    assert!(refresh.body.is_empty());
    solo.answer(&refresh, "422 Session Interval Too Small", "", "Min-SE: 400\n");
    let refresh = solo.request();
    assert_eq!(
        refresh.headers.get(&HeaderName::SessionExpires),
        Some("400;refresher=uac")
    );
    assert_eq!(refresh.headers.min_se(), Ok(Some(400)));
    solo.answer(&refresh, "200 OK", "", "Session-Expires: 400;refresher=uac\n");
    solo.run(199_000);
    solo.silent();
    solo.run(1000);
    let refresh = solo.request();
    solo.answer(&refresh, "200 OK", "", "Session-Expires: 400;refresher=uac\n");
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = solo.request();
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}

/// RFC 3261 §14.2: an offer of ours that the ACK does not answer changes nothing, so no refresh repeats it either.
#[test]
fn a_refresh_repeats_our_offer_only_once_it_was_answered() {
    const EXPIRES: &str = "Session-Expires: 90\n";
    let mut solo = Solo::new();
    let (session, ok) = accepted(&mut solo, EXPIRES);
    let tag = tag_of(&ok);
    let cases = [("", "answer", false), (OFFER, "our offer", true)];
    for (cseq, (ack, repeated, answered)) in (2..).zip(cases) {
        solo.receive(&request("INVITE", cseq, &format!("re{cseq}"), &tag, EXPIRES));
        solo.expect_status(100);
        solo.endpoint.answer(session, sdp("our offer"), solo.now).unwrap();
        solo.drain();
        assert_eq!(solo.expect_status(200).body, sdp("our offer").bytes);
        solo.receive(&request("ACK", cseq, &format!("ack{cseq}"), &tag, ack));
        solo.run(45_000);
        let refresh = solo.request();
        assert_eq!(refresh.method, Method::Invite);
        assert_eq!(refresh.body, sdp(repeated).bytes, "answered: {answered}");
        let lines = format!("Contact: <sip:carol@192.0.2.9:5070>\n{EXPIRES}{OFFER}");
        solo.answer(&refresh, "200 OK", "", &lines);
        assert_eq!(solo.request().method, Method::Ack);
        let told = solo.events.drain(..).map(|event| match event {
            Event::Session { event, .. } => event,
            other => panic!("{other:?}"),
        });
        let told: Vec<_> = told.collect();
        assert!(
            matches!(
                told.as_slice(),
                [
                    SessionEvent::ReOffer { .. },
                    SessionEvent::ReOfferAcked { .. },
                    SessionEvent::Refreshed { .. }
                ]
            ),
            "{told:?}"
        );
    }
    solo.endpoint.bye(session, None, solo.now).unwrap();
    solo.drain();
    let bye = solo.request();
    solo.answer(&bye, "200 OK", "", "");
    solo.finish();
}
