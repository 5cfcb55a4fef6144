//! The same flows over a link that loses, doubles and reorders: they end as they should, and leave nothing.

use sip_proto::endpoint::{Event, SessionEvent};
use sip_proto::message::{Headers, StatusCode};

use crate::pair::{Pair, Side, sdp};

/// What one side saw.
#[derive(Debug, Default)]
struct Seen {
    outcomes: usize,
    answered: bool,
    over: bool,
    after_the_end: usize,
}

/// Answers whatever comes, as a plain application would.
fn serve(pair: &mut Pair, side: Side, seen: &mut Seen) {
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
            Event::Session { session, event } => {
                seen.after_the_end += usize::from(seen.over);
                match event {
                    SessionEvent::ReOffer { .. } => agent.endpoint.answer(session, sdp("ok"), now).unwrap(),
                    SessionEvent::ReAnswered { .. } | SessionEvent::ReRejected { .. } => seen.outcomes += 1,
                    SessionEvent::Answered { .. } | SessionEvent::Confirmed { .. } => seen.answered = true,
                    SessionEvent::Terminated { .. }
                    | SessionEvent::Failed { .. }
                    | SessionEvent::Cancelled => {
                        seen.over = true;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

#[test]
fn calls_with_offers_both_ways_survive_a_bad_link() {
    let mut answered = 0;
    for seed in 1..=150 {
        let mut pair = Pair::new();
        pair.seed(seed);
        pair.chaos = (150, 100, 200);
        let a = pair.invite();
        let (mut b, mut made) = (None, [0, 0]);
        let mut seen = [Seen::default(), Seen::default()];
        for step in 0..100 {
            pair.run(500);
            let session = pair.b.events.iter().find_map(|event| match event {
                Event::Invite { session, .. } => Some(*session),
                _ => None,
            });
            b = b.or(session);
            serve(&mut pair, Side::A, &mut seen[0]);
            serve(&mut pair, Side::B, &mut seen[1]);
            let now = pair.now;
            if step == 12 || step == 20 {
                made[0] += usize::from(pair.a.endpoint.reoffer(a, sdp("from A"), now).is_ok());
            }
            if let Some(b) = b.filter(|_| step == 12 || step == 24) {
                made[1] += usize::from(pair.b.endpoint.reoffer(b, sdp("from B"), now).is_ok());
            }
        }
        for (side, (seen, made)) in seen.iter().zip(made).enumerate() {
            // After half a minute each offer has had its outcome, unless the session ended over it.
            assert!(
                seen.outcomes == made || seen.over,
                "seed {seed} side {side}: {seen:?} of {made}"
            );
            assert!(
                seen.outcomes <= made,
                "seed {seed} side {side}: {seen:?} of {made}"
            );
        }
        answered += usize::from(seen[0].answered && seen[1].answered);
        let now = pair.now;
        let _ = pair.a.endpoint.bye(a, None, now);
        if let Some(b) = b.filter(|_| seed % 3 == 0) {
            let _ = pair.b.endpoint.bye(b, None, now);
        }
        for _ in 0..200 {
            pair.run(500);
            serve(&mut pair, Side::A, &mut seen[0]);
            serve(&mut pair, Side::B, &mut seen[1]);
        }
        assert_eq!(
            seen[0].after_the_end + seen[1].after_the_end,
            0,
            "seed {seed}: {seen:?}"
        );
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
    // At 15 % loss nearly all calls come about.
    assert!(answered >= 140, "{answered} of 150");
}

#[test]
fn thousands_of_calls_stand_in_one_endpoint() {
    let mut pair = Pair::new();
    let calls: Vec<_> = (0..1000).map(|_| pair.invite()).collect();
    let mut seen = Seen::default();
    pair.run(100);
    serve(&mut pair, Side::B, &mut seen);
    pair.run(100);
    assert_eq!(pair.b.endpoint.counts().sessions, 1000);
    assert_eq!(pair.b.endpoint.counts().dialogs, 1000);
    pair.run(60_000);
    let counts = pair.b.endpoint.counts();
    assert_eq!(
        (
            counts.sessions,
            counts.server_transactions,
            counts.client_transactions
        ),
        (1000, 0, 0)
    );
    let now = pair.now;
    for call in calls {
        pair.a.endpoint.bye(call, None, now).unwrap();
    }
    pair.run(100);
    pair.a.events.clear();
    pair.b.events.clear();
    pair.finish();
}

#[test]
fn cancels_at_any_moment_leave_nothing() {
    for seed in 1..=100 {
        let mut pair = Pair::new();
        pair.seed(seed);
        pair.chaos = (200, 100, 300);
        let a = pair.invite();
        let mut seen = Seen::default();
        pair.run(seed * 13 % 900);
        serve(&mut pair, Side::B, &mut seen);
        let now = pair.now;
        let _ = pair.a.endpoint.bye(a, None, now);
        for _ in 0..200 {
            pair.run(400);
            serve(&mut pair, Side::B, &mut seen);
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
