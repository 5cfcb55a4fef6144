//! Random lives of random rooms, fixed seeds: whatever happens in whatever order, every request is
//! answered once, deaths are noticed, and in the end nothing is left.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use meet_server::focus::api::{ApiRequest, Authority};
use meet_server::focus::command::SipCommand;
use meet_server::focus::ids::LegId;
use meet_server::focus::io::FocusInput;
use meet_server::focus::record::StoreRecord;
use meet_server::focus::room_io::{MediaCommand, RoomInput};
use mixer::{LegKey, MediaEvent};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sip_proto::endpoint::{Event, SessionEvent, SessionId, SubscriptionEvent, TerminatedBy};

use crate::house::{House, lan};

const STEPS: usize = 400;

/// Where the peer believes its call to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Believed {
    Calling,
    Answered,
    In,
}

struct Churn {
    house: House,
    rng: ChaCha8Rng,
    calls: HashMap<SessionId, Believed>,
    answered: HashSet<SessionId>,
    /// Calls that the endpoint knows no more.
    ended: HashSet<SessionId>,
    made: usize,
}

impl Churn {
    fn new(seed: u8) -> Self {
        let mut settings = lan();
        settings.room.max_legs = 4;
        settings.max_rooms = 3;
        settings.room.max_subscriptions = 3;
        Self {
            house: House::new(settings),
            rng: ChaCha8Rng::from_seed([seed; 32]),
            calls: HashMap::new(),
            answered: HashSet::new(),
            ended: HashSet::new(),
            made: 0,
        }
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.rng.next_u32() % bound
    }

    fn some_call(&mut self) -> Option<SessionId> {
        let mut all: Vec<SessionId> = self.calls.keys().copied().collect();
        all.sort();
        let place = self.below(u32::try_from(all.len()).unwrap().max(1));
        all.get(place as usize).copied()
    }

    fn step(&mut self) {
        self.house.opens_legs = self.below(4) != 0;
        self.house.full = self.below(10) == 0;
        match self.below(12) {
            0..=2 => {
                let room = ["blue", "red", "green", "create"][self.below(4) as usize];
                let name = ["Ann", "Bob"][self.below(2) as usize];
                let call = self.house.invite(&format!("sip:{room}@192.168.1.1:5060"), name);
                self.calls.entry(call).or_insert(Believed::Calling);
                self.made += 1;
            }
            3 | 4 => self.acknowledge(),
            5 => self.end_call(),
            6 => {
                let room = ["blue", "red"][self.below(2) as usize];
                self.house.subscribe(&format!("sip:{room}@192.168.1.1:5060"));
            }
            7 => self.shard_reports(),
            8 => {
                let name = ["blue", "red", "green"][self.below(3) as usize].to_owned();
                if self.below(3) == 0 {
                    let id = meet_server::focus::ids::ApiId(self.house.fresh());
                    let request = ApiRequest::End {
                        name,
                        authority: Authority::Administrator,
                    };
                    self.house.give(FocusInput::Api { id, request });
                }
            }
            9 => {
                let subscription = sip_proto::endpoint::SubscriptionId(u64::from(self.below(200)));
                let event = SubscriptionEvent::Expired;
                self.house
                    .give(FocusInput::Sip(Event::Subscription { subscription, event }));
            }
            _ => {
                let time = [1, 100, 2_000, 31_000][self.below(4) as usize];
                self.house.pass(Duration::from_millis(time));
            }
        }
        self.read_commands();
    }

    fn acknowledge(&mut self) {
        let Some(call) = self.some_call() else { return };
        if self.calls[&call] == Believed::Answered {
            self.house.ack(call);
            self.calls
                .entry(call)
                .and_modify(|believed| *believed = Believed::In);
        }
    }

    fn end_call(&mut self) {
        let Some(call) = self.some_call() else { return };
        let event = match self.calls.remove(&call) {
            Some(Believed::Calling) => SessionEvent::Cancelled,
            _ => SessionEvent::Terminated {
                by: TerminatedBy::Peer,
                reason: None,
            },
        };
        self.answered.insert(call);
        self.ended.insert(call);
        self.house.session(call, event);
    }

    fn shard_reports(&mut self) {
        let rooms: Vec<_> = self.house.rooms.keys().copied().collect();
        let Some(room) = rooms.into_iter().min() else {
            return;
        };
        let leg = self.below(8);
        let key = LegKey(leg);
        let input = match self.below(5) {
            0 => RoomInput::Media(MediaEvent::Silent { leg: key }),
            1 => RoomInput::Media(MediaEvent::ActiveSpeaker { leg: Some(key) }),
            2 => RoomInput::Media(MediaEvent::Digit {
                leg: key,
                digit: '*',
                duration_ms: 9,
            }),
            3 => RoomInput::LegOpened {
                leg: LegId(leg),
                rtp_port: 4_000,
                rtcp_port: None,
            },
            _ => RoomInput::LegFailed { leg: LegId(leg) },
        };
        self.house.give_room(room, input);
    }

    /// Takes what the house said to the peers, as the peers would.
    fn read_commands(&mut self) {
        let mut back = Vec::new();
        while let Some(command) = self.house.sip.pop_front() {
            let of = match &command {
                SipCommand::Accept { session, .. }
                | SipCommand::Reject { session, .. }
                | SipCommand::Bye { session, .. } => Some(*session),
                _ => None,
            };
            if let Some(session) = of.filter(|session| self.ended.contains(session)) {
                // The endpoint knows the call no more: its peer was faster than a full mailbox.
                back.push(FocusInput::SessionLost { session });
                continue;
            }
            match command {
                SipCommand::Accept { session, .. } => {
                    assert!(self.answered.insert(session), "{session:?} answered twice");
                    assert_eq!(
                        self.calls.insert(session, Believed::Answered),
                        Some(Believed::Calling)
                    );
                }
                SipCommand::Reject { session, .. } => {
                    assert!(self.answered.insert(session), "{session:?} answered twice");
                    assert_eq!(self.calls.remove(&session), Some(Believed::Calling));
                }
                SipCommand::Bye { session, .. } => {
                    assert!(self.calls.remove(&session).is_some(), "BYE to a stranger");
                    self.ended.insert(session);
                    let event = SessionEvent::Terminated {
                        by: TerminatedBy::Local,
                        reason: None,
                    };
                    back.push(FocusInput::Sip(Event::Session { session, event }));
                }
                _ => {}
            }
        }
        for input in back {
            self.house.give(input);
        }
    }

    fn finish(&mut self) {
        self.house.full = false;
        self.house.opens_legs = true;
        self.house.pass(Duration::from_secs(6));
        self.read_commands();
        while let Some(&call) = self.calls.keys().min() {
            self.calls.remove(&call);
            self.answered.insert(call);
            self.house.session(
                call,
                SessionEvent::Terminated {
                    by: TerminatedBy::Peer,
                    reason: None,
                },
            );
        }
        self.house.pass(Duration::from_secs(31));
        self.read_commands();
    }
}

#[test]
fn whatever_happens_everybody_is_answered_and_nothing_is_left() {
    let mut joined_total = 0;
    for seed in 0..40 {
        let mut churn = Churn::new(seed);
        for _ in 0..STEPS {
            churn.step();
        }
        churn.finish();
        assert_eq!(
            churn.answered.len(),
            churn.made,
            "seed {seed}: every INVITE was answered"
        );
        assert!(
            churn.house.rooms.is_empty(),
            "seed {seed}: {:?}",
            churn.house.rooms.keys()
        );
        let count = |fits: fn(&StoreRecord) -> bool| churn.house.records.iter().filter(|r| fits(r)).count();
        let joined = count(|r| matches!(r, StoreRecord::PersonJoined { .. }));
        assert_eq!(
            joined,
            count(|r| matches!(r, StoreRecord::PersonLeft { .. })),
            "seed {seed}"
        );
        let created = count(|r| matches!(r, StoreRecord::MeetingCreated { .. }));
        assert_eq!(
            created,
            count(|r| matches!(r, StoreRecord::MeetingEnded { .. })),
            "seed {seed}"
        );
        let opened = churn
            .house
            .media
            .iter()
            .filter(|(_, c)| matches!(c, MediaCommand::OpenLeg { .. }));
        let mut open: HashSet<_> = opened
            .map(|(room, c)| match c {
                MediaCommand::OpenLeg { leg, .. } => (*room, *leg),
                _ => unreachable!(),
            })
            .collect();
        for (room, command) in &churn.house.media {
            if let MediaCommand::CloseLeg { leg } = command {
                open.remove(&(*room, *leg));
            }
        }
        assert!(open.is_empty(), "seed {seed}: sockets left open: {open:?}");
        joined_total += joined;
    }
    assert!(joined_total > 400, "the churn is worth something: {joined_total}");
}
