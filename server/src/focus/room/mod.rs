//! One room's state machine (RFC 4353's focus instance), owned by one task.
//!
//! | from | event | to |
//! |---|---|---|
//! | Vacant until T | somebody joins | Occupied |
//! | Occupied | the last one left | Vacant until now + grace |
//! | Vacant | T is over | Ended (empty) |
//! | Vacant, Occupied | creator, administrator, shutdown, shard lost | Ended |
//!
//! An ended room gives everything that still comes back to the focus as `Unclaimed`. Files:
//! `call` (join, answer, hold, leave), `people` (roster, API, statistics), `presence` (digits, mute,
//! speaker, the vanished).
//!
//! Deliberately absent: who may come in (the focus decides), and other rooms.

mod call;
mod people;
mod presence;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use sip_proto::endpoint::{NotifyState, SessionEvent, SessionId};
use sip_proto::message::{Response, StatusCode};
use tracing::Span;

use super::answers::Rejection;
use super::api::{ApiRefusal, ApiReply};
use super::command::SipCommand;
use super::ids::{LegId, RoomId};
use super::leg::Leg;
use super::names::RoomName;
use super::record::{EndReason, LeaveReason, StoreRecord};
use super::room_io::{MediaCommand, RoomInput, RoomOutput, RoomReport};
use super::roster::Roster;
use super::settings::RoomLimits;

/// What a room is made with.
#[derive(Debug, Clone)]
pub struct RoomSetup {
    /// Its identity.
    pub id: RoomId,
    /// Its name.
    pub name: RoomName,
    /// What it is about.
    pub subject: Option<String>,
    /// Its SIP URI, as the one who made it reaches it.
    pub uri: String,
    /// URL of this meeting in the API, or the room's SIP URI.
    pub api_url: String,
    /// How long it waits for the first person.
    pub first_wait: Duration,
    /// How long it stays after the last one left.
    pub empty_grace: Duration,
    /// Its bounds and codec choices.
    pub limits: RoomLimits,
    /// For SSRCs, CNAMEs and the like.
    pub seed: [u8; 32],
}

/// Where the room stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RoomState {
    Vacant { until: Instant },
    Occupied,
    Ended,
}

/// One room.
#[derive(Debug)]
pub struct Room {
    setup: RoomSetup,
    state: RoomState,
    /// How long it waits for the first one; over once somebody was in.
    first_until: Option<Instant>,
    rng: ChaCha12Rng,
    legs: BTreeMap<LegId, Leg>,
    sessions: HashMap<SessionId, LegId>,
    roster: Roster,
    speaker: Option<LegId>,
    next_leg: u32,
    outputs: VecDeque<RoomOutput>,
}

impl Room {
    /// A room that waits for its first person.
    pub fn new(setup: RoomSetup, now: Instant) -> Self {
        let until = now + setup.first_wait;
        Self {
            state: RoomState::Vacant { until },
            first_until: Some(until),
            rng: ChaCha12Rng::from_seed(setup.seed),
            legs: BTreeMap::new(),
            sessions: HashMap::new(),
            roster: Roster::default(),
            speaker: None,
            next_leg: 0,
            outputs: VecDeque::new(),
            setup,
        }
    }

    /// The room's identity.
    pub const fn id(&self) -> RoomId {
        self.setup.id
    }

    /// The room's name.
    pub const fn name(&self) -> &RoomName {
        &self.setup.name
    }

    /// Whether the room is over: nothing changes any more.
    pub fn is_ended(&self) -> bool {
        self.state == RoomState::Ended
    }

    /// The span `call{id}:leg{id}` of a leg; one that says nothing once the leg is gone.
    pub fn leg_span(&self, leg: LegId) -> Span {
        self.legs
            .get(&leg)
            .map_or_else(Span::none, |leg| leg.span.clone())
    }

    /// Takes one input.
    pub fn handle_input(&mut self, input: RoomInput, now: Instant) {
        if self.is_ended() {
            return self.unclaimed(input);
        }
        let _leg = self.about(&input).map(|leg| self.leg_span(leg).entered());
        match input {
            RoomInput::Join(join) => self.join(*join, now),
            RoomInput::Session { session, event } => self.session_event(session, event, now),
            RoomInput::SessionLost { session } => {
                if let Some(&leg) = self.sessions.get(&session) {
                    self.remove_leg(leg, LeaveReason::Failed, false, now);
                }
            }
            RoomInput::Probed { session, status } => self.probed(session, status, now),
            RoomInput::Subscribe {
                subscription,
                expires,
                ..
            } => self.subscribe(subscription, expires),
            RoomInput::Refreshed { subscription } => self.notify_one(subscription, NotifyState::Active),
            RoomInput::SubscriptionOver { subscription } => self.roster.remove(subscription),
            RoomInput::Media(event) => self.media_event(event, now),
            RoomInput::LegOpened {
                leg,
                rtp_port,
                rtcp_port,
            } => {
                self.leg_opened(leg, rtp_port, rtcp_port, now);
            }
            RoomInput::LegFailed { leg } => self.leg_failed(leg, now),
            RoomInput::MediaFailed => self.end(EndReason::MediaFailed),
            RoomInput::Stats(stats) => self.take_stats(stats),
            RoomInput::Api { id, request } => self.api(id, request, now),
            RoomInput::End(reason) => self.end(reason),
        }
        self.notify_if_due(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let RoomState::Vacant { until } = self.state
            && until <= now
        {
            self.end(EndReason::Empty);
        }
        if self.is_ended() {
            return;
        }
        let due: Vec<LegId> = self
            .legs
            .values()
            .filter(|leg| leg.deadline().is_some_and(|(at, _)| at <= now))
            .map(|leg| leg.id)
            .collect();
        for leg in due {
            let _leg = self.leg_span(leg).entered();
            self.leg_timeout(leg, now);
        }
        self.notify_if_due(now);
    }

    /// The next output, or `None` when there is no more.
    pub fn poll_output(&mut self) -> Option<RoomOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let vacant = match self.state {
            RoomState::Vacant { until } => Some((until, "room empty")),
            RoomState::Occupied => None,
            RoomState::Ended => return None,
        };
        let roster = self.roster.next_round().map(|at| (at, "roster"));
        let legs = self.legs.values().filter_map(Leg::deadline);
        legs.chain(vacant).chain(roster).min_by_key(|(at, _)| *at)
    }

    /// The leg that an input is about. What the mixer notices is logged by nobody, and comes often.
    fn about(&self, input: &RoomInput) -> Option<LegId> {
        match input {
            RoomInput::Session { session, .. }
            | RoomInput::SessionLost { session }
            | RoomInput::Probed { session, .. } => self.sessions.get(session).copied(),
            RoomInput::LegOpened { leg, .. } | RoomInput::LegFailed { leg } => Some(*leg),
            _ => None,
        }
    }

    fn push(&mut self, output: RoomOutput) {
        self.outputs.push_back(output);
    }

    fn sip(&mut self, command: SipCommand) {
        self.push(RoomOutput::Sip(command));
    }

    fn reject(&mut self, session: SessionId, rejection: Rejection) {
        self.sip(SipCommand::Reject {
            session,
            status: rejection.status,
            headers: rejection.headers,
        });
    }

    /// Ends the room for everybody.
    fn end(&mut self, reason: EndReason) {
        let leave = match reason {
            EndReason::Shutdown => LeaveReason::Shutdown,
            EndReason::MediaFailed => LeaveReason::Failed,
            EndReason::Creator | EndReason::Administrator | EndReason::Empty => LeaveReason::MeetingEnded,
        };
        let legs: Vec<LegId> = self.legs.keys().copied().collect();
        for leg in legs {
            self.dismiss(leg, leave, true);
        }
        self.notify_end();
        self.push(RoomOutput::Media(MediaCommand::CloseRoom));
        tracing::info!(name = %self.setup.name, reason = reason.as_str(), "meeting ended");
        self.push(RoomOutput::Record(StoreRecord::MeetingEnded {
            room: self.setup.id,
            name: self.setup.name.to_string(),
            reason,
        }));
        self.state = RoomState::Ended;
        self.push(RoomOutput::Report(RoomReport::Ended(reason)));
    }

    /// The room has just become empty, or occupied.
    fn occupancy_changed(&mut self, now: Instant) {
        if self.is_ended() {
            return;
        }
        self.state = if self.legs.is_empty() {
            // A call that was given up before it stood takes nothing from a reservation.
            let grace = now + self.setup.empty_grace;
            let until = self.first_until.map_or(grace, |first| first.max(grace));
            RoomState::Vacant { until }
        } else {
            RoomState::Occupied
        };
        let people = self.legs.values().filter(|leg| leg.is_answered()).count();
        self.push(RoomOutput::Report(RoomReport::People(
            u32::try_from(people).unwrap_or(u32::MAX),
        )));
        self.roster.mark();
    }

    /// What comes after the end: what somebody waits for goes back, the rest is of no interest.
    fn unclaimed(&mut self, input: RoomInput) {
        match input {
            input @ (RoomInput::Join(_) | RoomInput::Subscribe { .. }) => {
                let name = self.setup.name.clone();
                self.push(RoomOutput::Report(RoomReport::Unclaimed {
                    name,
                    input: Box::new(input),
                }));
            }
            RoomInput::Api { id, .. } => {
                self.push(RoomOutput::ApiReply {
                    id,
                    reply: ApiReply::Refused(ApiRefusal::Ended),
                });
            }
            RoomInput::Session {
                event: SessionEvent::Request { tx, request },
                ..
            } => {
                let response = Response::to(&request, StatusCode::CALL_DOES_NOT_EXIST);
                self.sip(SipCommand::Respond { tx, response });
            }
            RoomInput::LegOpened { leg, .. } => self.push(RoomOutput::Media(MediaCommand::CloseLeg { leg })),
            _ => {}
        }
    }
}
