//! The focus itself: takes every input, keeps who belongs to which room, keeps time.
//!
//! What a new request comes to is in `entrance`, who hears what in `routing`, the API in `meetings`. Deliberately absent:
//! everything inside a room.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use sip_proto::endpoint::{ClientTx, SessionEvent, SessionId, SubscriptionId};
use sip_proto::message::{Request, Response, StatusCode};

use super::admission::Gate;
use super::answers::{self, Rejection};
use super::api::{ApiRefusal, ApiReply};
use super::command::SipCommand;
use super::directory::Directory;
use super::entrance::{Door, Waiting, call_span};
use super::half_open::HalfOpen;
use super::ids::{LookupId, RoomId};
use super::io::{FocusInput, FocusOutput};
use super::limits;
use super::load::LoadGate;
use super::names::RoomName;
use super::record::{EndReason, LeaveReason, StoreRecord};
use super::room_io::{RoomInput, RoomReport};
use super::settings::FocusSettings;
use crate::registrar::Registrar;

/// The conference focus with its registrar.
#[derive(Debug)]
pub struct Focus {
    pub(super) settings: FocusSettings,
    pub(super) gate: Gate,
    pub(super) load: LoadGate,
    pub(super) directory: Directory,
    pub(super) registrar: Registrar,
    pub(super) rng: ChaCha12Rng,
    pub(super) sessions: HashMap<SessionId, RoomId>,
    pub(super) half_open: HalfOpen,
    pub(super) subscriptions: HashMap<SubscriptionId, RoomId>,
    /// In the order of time, because lookups are numbered upwards.
    pub(super) waiting: BTreeMap<LookupId, Waiting>,
    pub(super) next_lookup: u64,
    pub(super) stage: Stage,
    pub(super) probes: HashMap<ClientTx, SessionId>,
    /// What full mailboxes must still get, in order.
    owed: HashMap<RoomId, VecDeque<RoomInput>>,
    retry_at: Option<Instant>,
    outputs: VecDeque<FocusOutput>,
}

/// Whether calls are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    Draining,
    Done,
}

impl Focus {
    /// A focus without rooms. The seed comes from the operating system's randomness.
    pub fn new(settings: FocusSettings, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut gate_seed = [0; 32];
        rng.fill_bytes(&mut gate_seed);
        Self {
            gate: Gate::new(&settings, gate_seed, now),
            load: LoadGate::new(settings.load.clone(), now),
            directory: Directory::default(),
            registrar: Registrar::new(settings.registrar.clone()),
            rng,
            sessions: HashMap::new(),
            half_open: HalfOpen::default(),
            subscriptions: HashMap::new(),
            waiting: BTreeMap::new(),
            next_lookup: 0,
            stage: Stage::Open,
            probes: HashMap::new(),
            owed: HashMap::new(),
            retry_at: None,
            outputs: VecDeque::new(),
            settings,
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, input: FocusInput, now: Instant) {
        match input {
            FocusInput::Sip(event) => self.sip_event(event, now),
            FocusInput::Room { room, report } => self.room_report(room, report, now),
            FocusInput::RoomBusy { room, input } => self.room_busy(room, *input, now),
            FocusInput::RoomLost { room } => self.room_lost(room, now),
            FocusInput::Account { id, account } => self.account_found(id, account.as_ref(), now),
            FocusInput::Api { id, request } => self.api(id, request, now),
            FocusInput::Issued { session, tx } => {
                if self.sessions.contains_key(&session) {
                    self.probes.insert(tx, session);
                }
            }
            FocusInput::NotAsked { session } => {
                if let Some(&room) = self.sessions.get(&session) {
                    // Like any answer that does not say that the call is gone.
                    let status = Some(StatusCode::SERVICE_UNAVAILABLE);
                    self.tell_room(room, RoomInput::Probed { session, status }, now);
                }
            }
            FocusInput::SessionLost { session } => {
                if let Some(room) = self.sessions.remove(&session) {
                    self.tell_room(room, RoomInput::SessionLost { session }, now);
                }
            }
            FocusInput::SubscriptionLost { subscription } => self.subscription_over(subscription, now),
            FocusInput::Waited { wait } => self.load.waited(wait, now),
            FocusInput::ShardLoad { percent } => self.load.shards(&percent),
            FocusInput::Restore { aor, bindings } => self.registrar.restore(&aor, &bindings, now),
            FocusInput::RestoreMeeting(meeting) => self.restore_meeting(meeting, now),
            FocusInput::RestoreEnded { name, ago } => {
                if let (Ok(name), Some(left)) =
                    (RoomName::parse(&name), self.settings.ended_hold.checked_sub(ago))
                {
                    self.directory.hold(name, left, now);
                }
            }
            FocusInput::Shutdown => self.shut_down(now),
        }
        self.finish_if_drained();
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.directory.expire(now);
        for record in self.registrar.handle_timeout(now) {
            self.push(FocusOutput::Record(record));
        }
        while let Some(entry) = self.waiting.first_entry()
            && entry.get().deadline <= now
        {
            let waiting = entry.remove();
            let _call = call_span(&waiting.request).entered();
            self.refuse(waiting.door, &waiting.request, Rejection::unavailable());
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            for (room, owed) in std::mem::take(&mut self.owed) {
                for input in owed {
                    self.push(FocusOutput::ToRoom {
                        room,
                        input: Box::new(input),
                    });
                }
            }
        }
    }

    /// The next output, or `None` when there is no more.
    pub fn poll_output(&mut self) -> Option<FocusOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let lookups = self
            .waiting
            .first_key_value()
            .map(|(_, waiting)| (waiting.deadline, "account lookup"));
        let names = self.directory.next_expiry().map(|at| (at, "ended name"));
        let bindings = self.registrar.poll_timeout().map(|at| (at, "registration"));
        let owed = self.retry_at.map(|at| (at, "full mailbox"));
        [lookups, names, bindings, owed]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// What is refused because of load.
    pub const fn load(&self) -> &LoadGate {
        &self.load
    }

    pub(super) fn push(&mut self, output: FocusOutput) {
        self.outputs.push_back(output);
    }

    pub(super) fn sip(&mut self, command: SipCommand) {
        self.push(FocusOutput::Sip(command));
    }

    /// Refuses whatever stands at the door.
    pub(super) fn refuse(&mut self, door: Door, request: &Request, rejection: Rejection) {
        tracing::debug!(method = %request.method, status = rejection.status.code(), "refused");
        let Rejection { status, headers } = rejection;
        self.sip(match door {
            Door::Call(session) => SipCommand::Reject {
                session,
                status,
                headers,
            },
            Door::Watch(subscription) => SipCommand::RejectSubscription {
                subscription,
                status,
                headers,
            },
            Door::Other(tx) => {
                let mut response = Response::to(request, status);
                response.headers.extend(&headers);
                SipCommand::Respond { tx, response }
            }
        });
    }

    /// Sends to a room, behind what it is still owed.
    pub(super) fn tell_room(&mut self, room: RoomId, input: RoomInput, now: Instant) {
        if self.owed.contains_key(&room) {
            self.room_busy(room, input, now);
        } else if self.directory.get(room).is_some() {
            self.push(FocusOutput::ToRoom {
                room,
                input: Box::new(input),
            });
        }
    }

    fn room_report(&mut self, room: RoomId, report: RoomReport, now: Instant) {
        match report {
            RoomReport::People(people) => {
                if let Some(entry) = self.directory.get_mut(room) {
                    entry.people = people;
                }
            }
            RoomReport::Ended(reason) => self.room_ended(room, reason, now),
            RoomReport::Unclaimed { name, input } => self.unclaimed(&name, *input, now),
        }
    }

    fn room_ended(&mut self, room: RoomId, reason: EndReason, now: Instant) {
        let hold = reason.holds_name().then_some(self.settings.ended_hold);
        if self.directory.close(room, hold, now).is_none() {
            return;
        }
        self.sessions.retain(|_, of| *of != room);
        self.subscriptions.retain(|_, of| *of != room);
        self.probes
            .retain(|_, session| self.sessions.contains_key(session));
        let owed = self.owed.remove(&room).unwrap_or_default();
        for input in owed {
            self.push(FocusOutput::ToRoom {
                room,
                input: Box::new(input),
            });
        }
        self.push(FocusOutput::CloseRoom { room });
    }

    /// The room's task broke: the focus says goodbye in its place.
    fn room_lost(&mut self, room: RoomId, now: Instant) {
        let Some(entry) = self.directory.get(room) else {
            return;
        };
        let name = entry.name.to_string();
        tracing::error!(room = %name, "the room's task is lost");
        let calls: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, of)| **of == room)
            .map(|(session, _)| *session)
            .collect();
        for session in calls {
            let reason = answers::bye_reason(LeaveReason::Failed);
            self.sip(SipCommand::Bye { session, reason });
        }
        self.release_watchers(room);
        let reason = EndReason::MediaFailed;
        self.push(FocusOutput::Record(StoreRecord::MeetingEnded {
            room,
            name,
            reason,
        }));
        self.owed.remove(&room);
        self.room_ended(room, reason, now);
    }

    /// Tells everybody who watches a lost room that there is no more to see (RFC 6665 §4.2.2).
    fn release_watchers(&mut self, room: RoomId) {
        let watchers = self.subscriptions.iter().filter(|(_, of)| **of == room);
        let watchers: Vec<SubscriptionId> = watchers.map(|(subscription, _)| *subscription).collect();
        for subscription in watchers {
            self.sip(SipCommand::Release { subscription });
        }
    }

    /// A mailbox was full. New things are refused; what must not be lost waits for a retry.
    fn room_busy(&mut self, room: RoomId, input: RoomInput, now: Instant) {
        match input {
            RoomInput::Join(join) => {
                self.sessions.remove(&join.session);
                let Rejection { status, headers } = Rejection::unavailable();
                self.sip(SipCommand::Reject {
                    session: join.session,
                    status,
                    headers,
                });
            }
            RoomInput::Subscribe { subscription, .. } => {
                self.subscriptions.remove(&subscription);
                let Rejection { status, headers } = Rejection::unavailable();
                self.sip(SipCommand::RejectSubscription {
                    subscription,
                    status,
                    headers,
                });
            }
            RoomInput::Session {
                session,
                event: SessionEvent::ReOffer { .. },
            } => {
                let Rejection { status, headers } = Rejection::unavailable();
                self.sip(SipCommand::Refuse {
                    session,
                    status,
                    headers,
                });
            }
            RoomInput::Session {
                event: SessionEvent::Request { tx, request },
                ..
            } => {
                let _call = call_span(&request).entered();
                self.refuse(Door::Other(tx), &request, Rejection::unavailable());
            }
            RoomInput::Api { id, .. } => {
                self.push(FocusOutput::ApiReply {
                    id,
                    reply: ApiReply::Refused(ApiRefusal::Busy),
                });
            }
            // A later change brings the document anyway.
            RoomInput::Refreshed { .. } => {}
            // A room that is gone is owed nothing.
            _ if self.directory.get(room).is_none() => {}
            input => {
                let owed = self.owed.entry(room).or_default();
                if owed.len() < limits::MAX_OWED_PER_ROOM {
                    owed.push_back(input);
                } else {
                    tracing::error!(%room, "more is owed to a room than can be: the room is lost");
                    return self.room_lost(room, now);
                }
                self.retry_at.get_or_insert(now + limits::OWED_RETRY);
            }
        }
    }

    fn shut_down(&mut self, now: Instant) {
        if self.stage != Stage::Open {
            return;
        }
        self.stage = Stage::Draining;
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            let _call = call_span(&waiting.request).entered();
            self.refuse(waiting.door, &waiting.request, Rejection::unavailable());
        }
        let rooms: Vec<RoomId> = self.directory.iter().map(|(room, _)| room).collect();
        for room in rooms {
            self.tell_room(room, RoomInput::End(EndReason::Shutdown), now);
        }
    }

    fn finish_if_drained(&mut self) {
        if self.stage == Stage::Draining && self.directory.is_empty() {
            self.stage = Stage::Done;
            self.push(FocusOutput::ShutDown);
        }
    }
}
