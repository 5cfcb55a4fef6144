//! The same flows over a link that loses, doubles and reorders: they end as they should, and leave nothing.

use sip_proto::endpoint::{Event, SessionEvent};
use sip_proto::message::{Headers, StatusCode};

use crate::pair::{Pair, Side, sdp};

/// Answers whatever comes, as a plain application would.
fn serve(pair: &mut Pair, side: Side) {
    let now = pair.now;
    let agent = pair.agent(side);
    while let Some(event) = agent.events.pop_front() {
        match event {
            Event::Invite { session, .. } => {
                let _ = agent
                    .endpoint
                    .ring(session, StatusCode::RINGING, None, Headers::new(), now);
                let _ = agent
                    .endpoint
                    .accept(session, Some(sdp("answer")), Headers::new(), now);
            }
            Event::Session {
                session,
                event: SessionEvent::ReOffer { .. },
            } => {
                let _ = agent.endpoint.answer(session, sdp("ok"), now);
            }
            _ => {}
        }
    }
}

#[test]
fn calls_with_offers_both_ways_survive_a_bad_link() {
    for seed in 1..=150 {
        let mut pair = Pair::new();
        pair.seed(seed);
        pair.chaos = (150, 100, 200);
        let a = pair.invite();
        let mut b = None;
        for step in 0..40 {
            pair.run(500);
            let session = pair.b.events.iter().find_map(|event| match event {
                Event::Invite { session, .. } => Some(*session),
                _ => None,
            });
            b = b.or(session);
            serve(&mut pair, Side::A);
            serve(&mut pair, Side::B);
            let now = pair.now;
            if step == 12 || step == 20 {
                let _ = pair.a.endpoint.reoffer(a, sdp("from A"), now);
            }
            if let Some(b) = b.filter(|_| step == 12 || step == 24) {
                let _ = pair.b.endpoint.reoffer(b, sdp("from B"), now);
            }
        }
        let now = pair.now;
        let _ = pair.a.endpoint.bye(a, None, now);
        if let Some(b) = b.filter(|_| seed % 3 == 0) {
            let _ = pair.b.endpoint.bye(b, None, now);
        }
        for _ in 0..200 {
            pair.run(500);
            serve(&mut pair, Side::A);
            serve(&mut pair, Side::B);
        }
        // Should B have missed it all, it would notice by itself in a real server.
        if let Some(b) = b {
            let now = pair.now;
            let _ = pair.b.endpoint.bye(b, None, now);
        }
        pair.run(200_000);
        pair.a.events.clear();
        pair.b.events.clear();
        pair.finish();
    }
}

#[test]
fn cancels_at_any_moment_leave_nothing() {
    for seed in 1..=100 {
        let mut pair = Pair::new();
        pair.seed(seed);
        pair.chaos = (200, 100, 300);
        let a = pair.invite();
        pair.run(seed * 13 % 900);
        serve(&mut pair, Side::B);
        let now = pair.now;
        let _ = pair.a.endpoint.bye(a, None, now);
        for _ in 0..200 {
            pair.run(400);
            serve(&mut pair, Side::B);
        }
        pair.run(200_000);
        assert_eq!(pair.a.endpoint.counts().sessions, 0, "seed {seed}");
        assert_eq!(
            pair.b.endpoint.counts().sessions,
            0,
            "seed {seed}\n{}",
            pair.trace.join("\n")
        );
        pair.a.events.clear();
        pair.b.events.clear();
        pair.finish();
    }
}
