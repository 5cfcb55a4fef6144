//! The signalling task: owns the endpoint and the focus, and moves everything between them.
//!
//! One task owns all transactions, dialogs and the directory of rooms, so nothing is locked.
//! Inputs come through bounded queues: messages of calls, which go first; other datagrams (full: they are dropped);
//! streams (full: they are not read); and the house's (rooms, API, store; full: they wait). So a flood of one kind
//! takes no place of another's. It never waits for a
//! room: a full mailbox comes back to the focus, which answers 503. Deliberately absent: any
//! decision; those are the focus's.

use super::limits::{CALLS_IN_A_ROW, HOUSE_IN_A_ROW, ROOM_QUEUE, SHUTDOWN_CALLS, TEND};
use super::media_shard::{ShardCounters, ShardPool};
use super::room_task::{FromRoom, RoomTask};
use super::shared_shield::SharedShield;
use super::stream::Streams;
use super::transport::WireInput;
use super::turn::RoomsTurn;
use super::udp::UdpSockets;
use crate::focus::Focus;
use crate::focus::api::{ApiReply, ApiRequest};
use crate::focus::command::SipCommand;
use crate::focus::ids::{ApiId, LookupId, RoomId};
use crate::focus::io::{Conduct, FocusInput, FocusOutput};
use crate::focus::room::{Room, RoomSetup};
use crate::focus::room_io::{RoomInput, RoomReport};
use crate::registrar::Account;
use crate::shield::Verdict;
use crate::shield::peek::{Look, look};
use crate::store::{AccountRow, Store};
use crate::telemetry::Metrics;
use sip_proto::digest::{Algorithm, Ha1};
use sip_proto::endpoint::{Endpoint, Event, Flow, Input, Output, SessionEvent, SessionId, Transport};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// From inside the house.
#[derive(Debug)]
pub enum Internal {
    /// A room executed this output of its own.
    Room {
        /// Which.
        room: RoomId,
        /// What.
        output: Box<FromRoom>,
    },
    /// A room's task ended by a panic.
    RoomLost {
        /// Which.
        room: RoomId,
    },
    /// An account lookup is done.
    Account {
        /// Which lookup.
        id: LookupId,
        /// The account, if there is one.
        account: Option<Account>,
    },
    /// The API asks.
    Api {
        /// What.
        request: ApiRequest,
        /// Takes the answer.
        reply: oneshot::Sender<ApiReply>,
    },
    /// End all calls, then the task.
    Shutdown,
}

/// Everything that the task owns.
pub struct Signalling {
    /// Transactions and dialogs.
    pub endpoint: Endpoint,
    /// Decisions.
    pub focus: Focus,
    /// Datagrams out.
    pub udp: UdpSockets,
    /// Streams out.
    pub streams: Streams,
    /// Media.
    pub shards: Arc<ShardPool>,
    /// Accounts and the log.
    pub store: Store,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// How every mixer room is set up.
    pub mixing: mixer::RoomConfig,
    /// Against floods and guessing.
    pub shield: SharedShield,
    /// Messages of calls.
    pub of_calls: mpsc::Receiver<WireInput>,
    /// Other datagrams.
    pub wire: mpsc::Receiver<WireInput>,
    /// From streams.
    pub from_streams: mpsc::Receiver<WireInput>,
    /// From the house.
    pub internal: mpsc::Receiver<Internal>,
    /// For those that talk back: rooms and lookups.
    pub internal_sender: mpsc::Sender<Internal>,
    /// The house's state that no configuration sets.
    pub books: Books,
}

/// What the task remembers.
#[derive(Debug, Default)]
pub struct Books {
    rooms: HashMap<RoomId, mpsc::Sender<RoomInput>>,
    people: HashMap<RoomId, u32>,
    replies: HashMap<ApiId, oneshot::Sender<ApiReply>>,
    next_api: u64,
    stop_at: Option<Instant>,
    tend_at: Option<Instant>,
    measured_at: Option<Instant>,
    shards_busy: Vec<u64>,
    /// Where the datagram that is being worked on came from.
    sender: Option<SocketAddr>,
    /// The shield judged it as something new before it was queued.
    judged: bool,
    rooms_are_gone: bool,
    turn: RoomsTurn,
}

impl Signalling {
    /// Runs until a shutdown is complete.
    pub async fn run(mut self) {
        self.restore().await;
        loop {
            self.settle();
            self.count();
            if self.is_done() {
                return;
            }
            let due = [self.endpoint.poll_timeout(), self.focus.poll_timeout()]
                .into_iter()
                .flatten()
                .map(|(at, _)| at)
                .chain(self.books.stop_at)
                .chain(self.books.tend_at)
                .min();
            tokio::select! {
                Some(input) = self.internal.recv() => self.house(input),
                Some(input) = self.of_calls.recv() => self.call_input(input),
                Some(input) = self.wire.recv() => {
                    self.measure_wait(&input);
                    self.wire_input(input);
                }
                Some(input) = self.from_streams.recv() => self.wire_input(input),
                () = sleep_until(due) => {}
            }
            self.books.turn.taken();
            self.calls_first();
            self.house_first();
            let now = Instant::now();
            // Timers are looked after under load too: both only do what is due.
            self.endpoint.handle_timeout(now);
            self.focus.handle_timeout(now);
            self.tend(now);
            if self.books.turn.is_over() {
                // The rooms live on this thread: what was given to them is done before more is taken in.
                tokio::task::yield_now().await;
            }
        }
    }

    async fn restore(&mut self) {
        let last = match self.store.last_run().await {
            Ok(last) => last,
            Err(error) => {
                tracing::error!(%error, "registrations and meetings of the last run cannot be read");
                return;
            }
        };
        let now = Instant::now();
        let bindings = last
            .bindings
            .into_iter()
            .map(|(aor, bindings)| FocusInput::Restore { aor, bindings });
        let ended = last
            .ended
            .into_iter()
            .map(|(name, ago)| FocusInput::RestoreEnded { name, ago });
        let meetings = last.meetings.into_iter().map(FocusInput::RestoreMeeting);
        for input in bindings.chain(ended).chain(meetings) {
            self.focus.handle_input(input, now);
            self.settle();
        }
        self.store.close_lost_meetings();
    }

    /// Whatever was just done, messages of calls come before the next thing.
    fn calls_first(&mut self) {
        for _ in 0..CALLS_IN_A_ROW {
            if self.books.turn.is_full() {
                return;
            }
            let Ok(input) = self.of_calls.try_recv() else {
                return;
            };
            self.books.turn.taken();
            self.settle();
            self.call_input(input);
        }
    }

    /// What rooms and lookups have done comes before anything new: else a flood of new calls keeps those waiting that
    /// were taken in, the rooms wait for this task, their mailboxes fill, and calls that are up are refused.
    fn house_first(&mut self) {
        for _ in 0..HOUSE_IN_A_ROW {
            if self.books.turn.is_full() {
                return;
            }
            let Ok(input) = self.internal.try_recv() else {
                return;
            };
            self.books.turn.taken();
            self.settle();
            self.house(input);
        }
    }

    /// The focus learns how long new requests wait, before it sees the request.
    fn measure_wait(&mut self, input: &WireInput) {
        if let WireInput::Datagram { arrival, .. } = input {
            let now = Instant::now();
            let wait = now.saturating_duration_since(*arrival);
            self.focus.handle_input(FocusInput::Waited { wait }, now);
        }
    }

    /// The focus learns how busy the shards are; the metrics learn what the focus refused.
    fn measure_load(&mut self, now: Instant) {
        let busy: Vec<u64> = self.shards.counters().map(ShardCounters::busy_us).collect();
        let last = std::mem::replace(&mut self.books.shards_busy, busy);
        let since = self.books.measured_at.replace(now);
        if let Some(since) = since {
            let span = now.saturating_duration_since(since).as_micros().max(1);
            let share = |(now, before): (&u64, &u64)| {
                let used = u128::from(now.saturating_sub(*before));
                u32::try_from(used * 100 / span).unwrap_or(u32::MAX)
            };
            let percent = self.books.shards_busy.iter().zip(&last).map(share).collect();
            self.focus.handle_input(FocusInput::ShardLoad { percent }, now);
        }
        self.metrics.overload(self.focus.load(), now);
    }

    /// Once a second: what the shield and the streams must know of the calls.
    fn tend(&mut self, now: Instant) {
        if self.books.tend_at.is_some_and(|at| at > now) {
            return;
        }
        self.books.tend_at = Some(now + TEND);
        self.measure_load(now);
        let mut shield = self.shield.lock();
        for call_id in self.endpoint.call_ids() {
            shield.keep_call(call_id, now);
        }
        shield.handle_timeout(now);
        let fresh = shield.bans().saturating_sub(self.metrics.bans.get());
        self.metrics.bans.inc_by(fresh);
        self.metrics
            .banned
            .set(i64::try_from(shield.banned()).unwrap_or(i64::MAX));
        drop(shield);
        self.streams.close_stalled(self.endpoint.streams(), now);
    }

    /// A new request on a stream, or under the Call-ID of a call, counts like one in a datagram that the shield saw as
    /// something new before it was queued.
    fn is_too_much(&self, flow: &Flow, now: Instant) -> bool {
        if self.books.judged {
            return false;
        }
        let verdict = self.shield.lock().new_request(flow.remote, now);
        if let Verdict::Drop(cause) = verdict {
            self.metrics.shielded(cause);
        }
        verdict != Verdict::New
    }

    /// The shield learns what the focus saw; a proved connection keeps its seat.
    fn note(&self, flow: &Flow, conduct: Conduct, account: Option<&str>, now: Instant) {
        let mut shield = self.shield.lock();
        match conduct {
            // A REGISTER over UDP from the open local network proves no address; over a stream the handshake did.
            Conduct::Registered if flow.connection.is_none() => {}
            Conduct::Authenticated | Conduct::Registered => {
                shield.prove(flow.remote, account, now);
                if let Some(connection) = flow.connection {
                    self.streams.keep(connection, now);
                }
            }
            Conduct::WrongPassword => shield.blame(flow.remote, now),
        }
    }

    fn house(&mut self, input: Internal) {
        let now = Instant::now();
        match input {
            Internal::Room { room, output } => self.room_output(room, *output, now),
            Internal::RoomLost { room } => {
                self.books.people.remove(&room);
                self.focus.handle_input(FocusInput::RoomLost { room }, now);
            }
            Internal::Account { id, account } => {
                self.focus.handle_input(FocusInput::Account { id, account }, now);
            }
            Internal::Api { request, reply } => {
                self.books.next_api += 1;
                let id = ApiId(self.books.next_api);
                // Askers that gave up are forgotten here.
                self.books.replies.retain(|_, waiting| !waiting.is_closed());
                self.books.replies.insert(id, reply);
                self.focus.handle_input(FocusInput::Api { id, request }, now);
            }
            Internal::Shutdown => {
                tracing::info!("no new calls; saying goodbye to all");
                self.books.stop_at = Some(now + SHUTDOWN_CALLS);
                self.focus.handle_input(FocusInput::Shutdown, now);
            }
        }
    }

    fn room_output(&mut self, room: RoomId, output: FromRoom, now: Instant) {
        match output {
            FromRoom::Sip(command) => self.execute(command, now),
            FromRoom::Report(report) => {
                match &report {
                    RoomReport::People(count) => {
                        self.books.people.insert(room, *count);
                    }
                    RoomReport::Ended(_) => {
                        self.books.people.remove(&room);
                    }
                    RoomReport::Unclaimed { .. } => {}
                }
                self.focus.handle_input(FocusInput::Room { room, report }, now);
            }
            FromRoom::ApiReply { id, reply } => self.reply(id, reply),
        }
    }

    /// What the shield took for a message of a call.
    fn call_input(&mut self, input: WireInput) {
        self.wire_input(input);
        self.books.judged = false;
    }

    fn wire_input(&mut self, input: WireInput) {
        let now = Instant::now();
        self.books.sender = None;
        self.books.judged = matches!(input, WireInput::Datagram { .. });
        match input {
            WireInput::Datagram { flow, bytes, .. } => {
                self.books.sender = Some(flow.remote);
                self.endpoint
                    .handle_input(Input::Datagram { flow, bytes: &bytes }, now);
            }
            WireInput::Opened { flow, writer } => {
                self.streams.opened(&flow, writer);
                self.endpoint.handle_input(Input::Opened { flow }, now);
            }
            WireInput::Stream { connection, bytes } => {
                self.endpoint.handle_input(
                    Input::Stream {
                        connection,
                        bytes: &bytes,
                    },
                    now,
                );
            }
            WireInput::Closed { connection } => {
                self.streams.closed(connection);
                self.endpoint.handle_input(Input::Closed { connection }, now);
            }
            WireInput::Failed { flow } => {
                self.streams.failed(&flow);
                self.endpoint.handle_input(Input::TransportFailed { flow }, now);
            }
        }
    }

    /// Carries outputs between the two cores and the world until both are quiet.
    fn settle(&mut self) {
        let now = Instant::now();
        loop {
            if let Some(output) = self.endpoint.poll_output() {
                self.endpoint_output(output, now);
            } else if let Some(output) = self.focus.poll_output() {
                self.focus_output(output, now);
            } else {
                return;
            }
        }
    }

    fn endpoint_output(&mut self, output: Output, now: Instant) {
        match output {
            Output::Transmit { flow, bytes } => {
                tracing::trace!(to = %flow.remote, bytes = bytes.len(), "SIP out");
                if !self.transmit(&flow, bytes) {
                    self.endpoint.handle_input(Input::TransportFailed { flow }, now);
                }
            }
            Output::Close { connection } => self.streams.close(connection),
            Output::Event(Event::Arrival { flow, .. }) if self.is_too_much(&flow, now) => {}
            Output::Event(event) => {
                if let Event::Session {
                    session,
                    event: SessionEvent::Confirmed { .. },
                } = event
                {
                    self.acknowledged(session, now);
                }
                self.focus.handle_input(FocusInput::Sip(event), now);
            }
        }
    }

    /// An ACK repeats the tag of our 2xx, which went where the INVITE came from: whoever sends it from there receives
    /// what we send. From elsewhere it proves nothing, not even from another port of the same host: anybody may write
    /// another's address on the ACK of a call of theirs, and who guesses passwords from one port may call from another.
    fn acknowledged(&self, session: SessionId, now: Instant) {
        let invited = self.endpoint.invited_from(session);
        if let Some(sender) = self.books.sender
            && invited.is_some_and(|from| {
                from.port() == sender.port() && from.ip().to_canonical() == sender.ip().to_canonical()
            })
        {
            self.shield.lock().prove(sender, None, now);
        }
    }

    /// What the focus or a room wants of the endpoint. Who is let in is a call from then on, and not before: a Call-ID
    /// is worth nothing until the password is checked.
    fn execute(&mut self, command: SipCommand, now: Instant) {
        let admitted = match &command {
            SipCommand::Ring { session, .. } | SipCommand::Accept { session, .. } => {
                self.endpoint.call_id(*session)
            }
            SipCommand::AcceptSubscription { subscription, .. } => {
                self.endpoint.subscription_call_id(*subscription)
            }
            _ => None,
        };
        if let Some(call_id) = admitted {
            self.shield.lock().keep_call(call_id, now);
        }
        if let Some(back) = command.execute(&mut self.endpoint, now) {
            self.focus.handle_input(back, now);
        }
    }

    fn transmit(&mut self, flow: &Flow, bytes: Vec<u8>) -> bool {
        match flow.transport {
            Transport::Udp => self.udp.transmit(flow, &bytes),
            Transport::Tcp => {
                if let Some(connection) = flow.connection
                    && let Look::Sip {
                        call_id: Some(call_id),
                    } = look(&bytes)
                    && self.shield.lock().knows_call(call_id, Instant::now())
                {
                    self.streams.keep(connection, Instant::now());
                }
                self.streams.transmit(flow, bytes)
            }
            // Nothing listens on these yet, so nothing can have come from there.
            Transport::Tls | Transport::Ws | Transport::Wss => false,
        }
    }

    fn focus_output(&mut self, output: FocusOutput, now: Instant) {
        match output {
            FocusOutput::Sip(command) => self.execute(command, now),
            FocusOutput::SpawnRoom(setup) => self.spawn_room(*setup, now),
            FocusOutput::ToRoom { room, input } => self.hand_to_room(room, *input, now),
            FocusOutput::CloseRoom { room } => {
                self.books.rooms.remove(&room);
            }
            FocusOutput::LookUp { id, realm, user } => self.look_up(id, realm, user),
            FocusOutput::Record(record) => self.store.record(record),
            FocusOutput::Conduct {
                flow,
                conduct,
                account,
            } => self.note(&flow, conduct, account.as_deref(), now),
            FocusOutput::ApiReply { id, reply } => self.reply(id, reply),
            FocusOutput::ShutDown => self.books.rooms_are_gone = true,
        }
    }

    fn spawn_room(&mut self, setup: RoomSetup, now: Instant) {
        let id = setup.id;
        let media = mixer::Room::new(self.mixing);
        match self.shards.open(media) {
            Ok(media) => {
                let (mailbox, inputs) = mpsc::channel(ROOM_QUEUE);
                self.books.rooms.insert(id, mailbox);
                let name = setup.name.to_string();
                let room = Room::new(setup, now);
                let out = self.internal_sender.clone();
                RoomTask::new(id, room, media, inputs, out, self.store.clone()).spawn(&name);
            }
            Err(error) => {
                tracing::error!(room = %id, %error, "no media for a new room");
                self.focus.handle_input(FocusInput::RoomLost { room: id }, now);
            }
        }
    }

    fn hand_to_room(&mut self, room: RoomId, input: RoomInput, now: Instant) {
        let refused = match self.books.rooms.get(&room) {
            Some(mailbox) => match mailbox.try_send(input) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(input) | mpsc::error::TrySendError::Closed(input)) => {
                    input
                }
            },
            None => input,
        };
        self.focus.handle_input(
            FocusInput::RoomBusy {
                room,
                input: Box::new(refused),
            },
            now,
        );
    }

    fn look_up(&self, id: LookupId, realm: String, user: String) {
        let (store, back) = (self.store.clone(), self.internal_sender.clone());
        tokio::spawn(async move {
            match store.account(realm, user).await {
                Ok(row) => {
                    let account = row.map(account);
                    drop(back.send(Internal::Account { id, account }).await);
                }
                // Not "no such user": the focus answers 503 when the time is over.
                Err(error) => tracing::error!(%error, "an account cannot be looked up"),
            }
        });
    }

    fn reply(&mut self, id: ApiId, reply: ApiReply) {
        if let Some(waiting) = self.books.replies.remove(&id) {
            // The asker may have given up.
            drop(waiting.send(reply));
        }
    }

    fn count(&self) {
        let counts = self.endpoint.counts();
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.sessions.set(number(counts.sessions));
        self.metrics
            .transactions
            .set(number(counts.client_transactions + counts.server_transactions));
        self.metrics.rooms.set(number(self.books.rooms.len()));
        self.metrics
            .people
            .set(self.books.people.values().map(|n| i64::from(*n)).sum());
    }

    /// Whether a shutdown is complete. A session ends with the answer to its BYE, which may have to wait for an ACK, and
    /// a subscription with the one to its last NOTIFY; a transaction over UDP stays longer, to absorb responses.
    fn is_done(&self) -> bool {
        let Some(stop_at) = self.books.stop_at else {
            return false;
        };
        let counts = self.endpoint.counts();
        if self.books.rooms_are_gone && counts.sessions == 0 && counts.subscriptions == 0 {
            tracing::info!("all said goodbye");
            return true;
        }
        let late = Instant::now() >= stop_at;
        if late {
            let (sessions, subscriptions) = (counts.sessions, counts.subscriptions);
            tracing::warn!(sessions, subscriptions, "not all said goodbye in time");
        }
        late
    }
}

fn account(row: AccountRow) -> Account {
    let secrets = row
        .ha1
        .iter()
        .filter_map(|(algorithm, hex)| {
            let algorithm: Algorithm = algorithm.parse().ok()?;
            Ha1::from_hex(algorithm, hex).ok()
        })
        .collect();
    Account {
        user: row.user,
        display: None,
        secrets,
    }
}

/// Sleeps to a moment, or for ever.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
