//! The tables of live transactions: matching, stored messages, timers, and the actions of the machines carried out.
//!
//! `C` and `S` say to whom a client or server transaction belongs; the layer hands them back with every
//! [`Notice`]. Nothing here walks a whole table: keys are hashed and deadlines queued.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use super::key::{ClientKey, MergeKey, ServerKey};
use super::{Timer, TimerSet, TimerValues};
use super::{client, invite_client, invite_server, server};
use crate::endpoint::limits::MAX_EARLY_DIALOGS;
use crate::endpoint::schedule::Schedule;
use crate::endpoint::wire::Wire;
use crate::endpoint::{Flow, Transport};
use crate::headers::{Via, ViaTransport};
use crate::ids::{Branch, IdSource};
use crate::message::{HeaderName, Method, Request, Response, StatusCode};

/// A client transaction's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(u64);

/// A server transaction's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ServerId(pub(crate) u64);

/// What the layer tells its user unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice<C, S> {
    /// Nobody answered a request.
    TimedOut(ClientId, C),
    /// A request could not be delivered.
    Unreachable(ClientId, C),
    /// An INVITE has been provisional for longer than timer C.
    Overdue(ClientId, C),
    /// The application never answered a request.
    Abandoned(ServerId, S),
}

/// A response that belongs to a transaction and is new to its user.
pub(crate) struct Delivered<C> {
    pub(crate) id: ClientId,
    pub(crate) owner: C,
    /// The request that it answers, without our Via.
    pub(crate) request: Request,
    /// Where the request went.
    pub(crate) flow: Flow,
}

/// What became of a request that looked for its server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matched {
    /// It was a retransmission or an ACK to a non-2xx: done.
    Absorbed,
    /// No transaction knows it.
    New,
    /// It is the same request as a known one, come by another way (§8.2.2.2).
    Merged,
}

enum ClientMachine {
    Invite(invite_client::InviteClient),
    Other(client::Client),
}

struct ClientTransaction<C> {
    machine: ClientMachine,
    key: ClientKey,
    request: Request,
    branch: Branch,
    bytes: Vec<u8>,
    ack: Option<Vec<u8>>,
    /// ACKs to the 2xx of other branches of a fork, by their To tag.
    forks: Vec<(String, Vec<u8>, Flow)>,
    flow: Flow,
    owner: C,
}

enum ServerMachine {
    Invite(invite_server::InviteServer),
    Other(server::Server),
}

struct ServerTransaction<S> {
    machine: ServerMachine,
    key: ServerKey,
    merge: Option<MergeKey>,
    request: Request,
    reply: Flow,
    last: Option<Vec<u8>>,
    owner: S,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Wake {
    Client(ClientId),
    Server(ServerId),
}

/// The tables.
pub(crate) struct Layer<C, S> {
    values: TimerValues,
    next: u64,
    clients: HashMap<ClientId, ClientTransaction<C>>,
    client_keys: HashMap<ClientKey, ClientId>,
    by_peer: HashMap<(Transport, SocketAddr), BTreeSet<ClientId>>,
    servers: HashMap<ServerId, ServerTransaction<S>>,
    server_keys: HashMap<ServerKey, ServerId>,
    merge_keys: HashMap<MergeKey, ServerId>,
    schedule: Schedule<Wake>,
    notices: VecDeque<Notice<C, S>>,
}

impl<C: Copy, S: Copy> Layer<C, S> {
    pub(crate) fn new(values: TimerValues) -> Self {
        Layer {
            values,
            next: 1,
            clients: HashMap::new(),
            client_keys: HashMap::new(),
            by_peer: HashMap::new(),
            servers: HashMap::new(),
            server_keys: HashMap::new(),
            merge_keys: HashMap::new(),
            schedule: Schedule::new(),
            notices: VecDeque::new(),
        }
    }

    pub(crate) fn client_count(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn server_count(&self) -> usize {
        self.servers.len()
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.schedule.next()
    }

    pub(crate) fn next_notice(&mut self) -> Option<Notice<C, S>> {
        self.notices.pop_front()
    }

    /// Starts a client transaction and sends its request, which has no Via yet.
    pub(crate) fn send(
        &mut self,
        request: Request,
        flow: Flow,
        owner: C,
        ids: &mut IdSource,
        wire: &mut Wire,
        now: Instant,
    ) -> ClientId {
        let branch = ids.branch();
        self.send_with_branch(request, branch, flow, owner, wire, now)
    }

    /// Sends the CANCEL of a client transaction (§9.1): same branch, a transaction of its own.
    pub(crate) fn send_cancel(&mut self, invite: ClientId, owner: C, wire: &mut Wire, now: Instant) {
        let Some(tx) = self.clients.get(&invite) else {
            return;
        };
        let cancel = derived(&tx.request, Method::Cancel, None);
        let (branch, flow) = (tx.branch.clone(), tx.flow);
        self.send_with_branch(cancel, branch, flow, owner, wire, now);
    }

    fn send_with_branch(
        &mut self,
        request: Request,
        branch: Branch,
        flow: Flow,
        owner: C,
        wire: &mut Wire,
        now: Instant,
    ) -> ClientId {
        let id = ClientId(self.take_number());
        let reliable = flow.transport.is_reliable();
        let machine = if request.method == Method::Invite {
            ClientMachine::Invite(invite_client::InviteClient::new(reliable, self.values, now))
        } else {
            ClientMachine::Other(client::Client::new(reliable, self.values, now))
        };
        let bytes = on_the_wire(&request, &flow, &branch);
        let key = ClientKey::new(branch.as_str(), request.method.clone());
        wire.transmit(flow, bytes.clone());
        self.client_keys.insert(key.clone(), id);
        self.by_peer
            .entry((flow.transport, flow.remote))
            .or_default()
            .insert(id);
        let tx = ClientTransaction {
            machine,
            key,
            request,
            branch,
            bytes,
            ack: None,
            forks: Vec::new(),
            flow,
            owner,
        };
        self.clients.insert(id, tx);
        self.settle_client(id);
        id
    }

    /// Gives a response to its transaction; something comes back when it is new to the user.
    pub(crate) fn receive_response(
        &mut self,
        response: &Response,
        wire: &mut Wire,
        now: Instant,
    ) -> Option<Delivered<C>> {
        let id = *self.client_keys.get(&ClientKey::of(response).ok()?)?;
        let tx = self.clients.get_mut(&id)?;
        let code = response.status.code();
        let deliver = match &mut tx.machine {
            ClientMachine::Invite(machine) => match machine.on_response(code, now) {
                invite_client::Action::Deliver => true,
                invite_client::Action::AckAndDeliver => {
                    let to = response.headers.get(&HeaderName::To);
                    let ack = derived(&tx.request, Method::Ack, to);
                    let bytes = on_the_wire(&ack, &tx.flow, &tx.branch);
                    wire.transmit(tx.flow, bytes.clone());
                    tx.ack = Some(bytes);
                    true
                }
                invite_client::Action::Ack => {
                    if let Some(ack) = &tx.ack {
                        wire.transmit(tx.flow, ack.clone());
                    }
                    false
                }
                _ => false,
            },
            ClientMachine::Other(machine) => machine.on_response(code, now) == client::Action::Deliver,
        };
        let delivered = deliver.then(|| Delivered {
            id,
            owner: tx.owner,
            request: tx.request.clone(),
            flow: tx.flow,
        });
        self.settle_client(id);
        delivered
    }

    /// The transport could not reach `flow`, or its connection is gone. An INVITE that is already provisional
    /// goes on: its final response may come by another connection (§18.2.2).
    pub(crate) fn transport_failed(&mut self, flow: &Flow) {
        let peer = (flow.transport, flow.remote);
        for id in self.by_peer.get(&peer).cloned().unwrap_or_default() {
            let Some(tx) = self.clients.get_mut(&id) else {
                continue;
            };
            let unreachable = match &mut tx.machine {
                ClientMachine::Invite(m) => m.on_transport_error() == invite_client::Action::Unreachable,
                ClientMachine::Other(m) => m.on_transport_error() == client::Action::Unreachable,
            };
            if unreachable {
                self.notices.push_back(Notice::Unreachable(id, tx.owner));
            }
            self.settle_client(id);
        }
    }

    /// Whether an INVITE of ours has a provisional response and no final one: the time for a CANCEL.
    pub(crate) fn is_proceeding(&self, id: ClientId) -> bool {
        matches!(self.clients.get(&id), Some(ClientTransaction { machine: ClientMachine::Invite(machine), .. })
            if machine.state() == invite_client::State::Proceeding)
    }

    /// The kept ACK to another branch of a fork.
    pub(crate) fn fork_ack(&self, id: ClientId, tag: &str) -> Option<(Vec<u8>, Flow)> {
        let tx = self.clients.get(&id)?;
        tx.forks
            .iter()
            .find(|(known, _, _)| known == tag)
            .map(|(_, ack, flow)| (ack.clone(), *flow))
    }

    /// Keeps the ACK to another branch of a fork. False: there are too many.
    pub(crate) fn keep_fork_ack(&mut self, id: ClientId, tag: String, ack: Vec<u8>, flow: Flow) -> bool {
        let Some(tx) = self.clients.get_mut(&id) else {
            return false;
        };
        let room = tx.forks.len() < MAX_EARLY_DIALOGS;
        if room {
            tx.forks.push((tag, ack, flow));
        }
        room
    }

    /// Ends a client INVITE transaction that nobody will answer any more (§9.1).
    pub(crate) fn abandon(&mut self, id: ClientId) {
        if let Some(ClientTransaction {
            machine: ClientMachine::Invite(machine),
            ..
        }) = self.clients.get_mut(&id)
        {
            machine.abandon();
        }
        self.settle_client(id);
    }

    /// Looks whether a request belongs to a known server transaction, and lets that handle it.
    pub(crate) fn receive_request(&mut self, request: &Request, wire: &mut Wire, now: Instant) -> Matched {
        let Ok(key) = ServerKey::of(request, &request.method) else {
            return Matched::New;
        };
        if let Some(id) = self.server_keys.get(&key).copied()
            && let Some(tx) = self.servers.get_mut(&id)
        {
            let is_ack = request.method == Method::Ack;
            let (resend, absorbed) = match &mut tx.machine {
                ServerMachine::Invite(machine) if is_ack => match machine.on_ack(now) {
                    // An ACK to a 2xx has a branch of its own; one that has not is the session's all the same.
                    invite_server::Action::Deliver => (false, false),
                    _ => (false, true),
                },
                ServerMachine::Invite(machine) => {
                    (machine.on_request() == invite_server::Action::Transmit, true)
                }
                ServerMachine::Other(machine) => (machine.on_request() == server::Action::Transmit, true),
            };
            if resend && let Some(last) = &tx.last {
                wire.transmit(reply_now(tx, wire), last.clone());
            }
            self.settle_server(id);
            return if absorbed { Matched::Absorbed } else { Matched::New };
        }
        let merged = request.method != Method::Ack
            && MergeKey::of(request).is_some_and(|merge| self.merge_keys.contains_key(&merge));
        if merged { Matched::Merged } else { Matched::New }
    }

    /// The INVITE that a CANCEL means (§9.2).
    pub(crate) fn cancelled(&self, cancel: &Request) -> Option<(ServerId, S)> {
        let key = ServerKey::of(cancel, &Method::Invite).ok()?;
        let id = *self.server_keys.get(&key)?;
        Some((id, self.servers.get(&id)?.owner))
    }

    /// Starts a server transaction for a new request. `reply` is where its answers go.
    pub(crate) fn accept(
        &mut self,
        request: Request,
        reply: Flow,
        owner: S,
        now: Instant,
    ) -> Option<ServerId> {
        let key = ServerKey::of(&request, &request.method).ok()?;
        let id = ServerId(self.take_number());
        let reliable = reply.transport.is_reliable();
        let machine = if request.method == Method::Invite {
            ServerMachine::Invite(invite_server::InviteServer::new(reliable, self.values))
        } else {
            ServerMachine::Other(server::Server::new(reliable, self.values, now))
        };
        let merge = MergeKey::of(&request);
        if let Some(merge) = &merge {
            self.merge_keys.insert(merge.clone(), id);
        }
        self.server_keys.insert(key.clone(), id);
        self.servers.insert(
            id,
            ServerTransaction {
                machine,
                key,
                merge,
                request,
                reply,
                last: None,
                owner,
            },
        );
        self.settle_server(id);
        Some(id)
    }

    /// The request of a live server transaction.
    pub(crate) fn request(&self, id: ServerId) -> Option<&Request> {
        self.servers.get(&id).map(|tx| &tx.request)
    }

    /// To whom a live server transaction belongs.
    pub(crate) fn server_owner(&self, id: ServerId) -> Option<S> {
        self.servers.get(&id).map(|tx| tx.owner)
    }

    /// Where a server transaction's answers go now.
    pub(crate) fn reply_flow(&self, id: ServerId, wire: &Wire) -> Option<Flow> {
        self.servers.get(&id).map(|tx| reply_now(tx, wire))
    }

    /// Sends a response. False: the transaction is gone, or already has its final response.
    pub(crate) fn respond(
        &mut self,
        id: ServerId,
        response: &Response,
        wire: &mut Wire,
        now: Instant,
    ) -> bool {
        let Some(tx) = self.servers.get_mut(&id) else {
            return false;
        };
        let code = response.status.code();
        let sent = match &mut tx.machine {
            ServerMachine::Invite(machine) => {
                machine.on_respond(code, now) == invite_server::Action::Transmit
            }
            ServerMachine::Other(machine) => machine.on_respond(code, now) == server::Action::Transmit,
        };
        if sent {
            let bytes = response.to_bytes();
            wire.transmit(reply_now(tx, wire), bytes.clone());
            tx.last = Some(bytes);
        }
        self.settle_server(id);
        sent
    }

    /// Handles every timer that is due.
    pub(crate) fn handle_timeout(&mut self, wire: &mut Wire, now: Instant) {
        while let Some(wake) = self.schedule.take_due(now) {
            match wake {
                Wake::Client(id) => self.client_timers(id, wire, now),
                Wake::Server(id) => self.server_timers(id, wire, now),
            }
        }
    }

    fn client_timers(&mut self, id: ClientId, wire: &mut Wire, now: Instant) {
        let Some(tx) = self.clients.get_mut(&id) else {
            return;
        };
        while let Some(timer) = timers(&mut tx.machine).take_due(now) {
            let (transmit, notice) = match &mut tx.machine {
                ClientMachine::Invite(machine) => match machine.on_timer(timer, now) {
                    invite_client::Action::Transmit => (true, None),
                    invite_client::Action::TimedOut => (false, Some(Notice::TimedOut(id, tx.owner))),
                    invite_client::Action::Overdue => (false, Some(Notice::Overdue(id, tx.owner))),
                    _ => (false, None),
                },
                ClientMachine::Other(machine) => match machine.on_timer(timer, now) {
                    client::Action::Transmit => (true, None),
                    client::Action::TimedOut => (false, Some(Notice::TimedOut(id, tx.owner))),
                    _ => (false, None),
                },
            };
            if transmit {
                wire.transmit(tx.flow, tx.bytes.clone());
            }
            self.notices.extend(notice);
        }
        self.settle_client(id);
    }

    fn server_timers(&mut self, id: ServerId, wire: &mut Wire, now: Instant) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        loop {
            let action = match &mut tx.machine {
                ServerMachine::Invite(machine) => {
                    let Some(timer) = machine.timers.take_due(now) else {
                        break;
                    };
                    machine.on_timer(timer, now) == invite_server::Action::Transmit
                }
                ServerMachine::Other(machine) => {
                    let Some(timer) = machine.timers.take_due(now) else {
                        break;
                    };
                    match machine.on_timer(timer) {
                        server::Action::SendTrying => {
                            tx.last = Some(Response::to(&tx.request, StatusCode::TRYING).to_bytes());
                            true
                        }
                        server::Action::Abandoned => {
                            self.notices.push_back(Notice::Abandoned(id, tx.owner));
                            false
                        }
                        _ => false,
                    }
                }
            };
            if action && let Some(last) = &tx.last {
                wire.transmit(reply_now(tx, wire), last.clone());
            }
        }
        self.settle_server(id);
    }

    /// Re-arms a client transaction's wake-up, or removes it when it is over.
    fn settle_client(&mut self, id: ClientId) {
        let Some(tx) = self.clients.get_mut(&id) else {
            return;
        };
        let over = match &tx.machine {
            ClientMachine::Invite(machine) => machine.state() == invite_client::State::Terminated,
            ClientMachine::Other(machine) => machine.state() == client::State::Terminated,
        };
        if !over {
            let next = timers(&mut tx.machine).next();
            self.schedule.set(Wake::Client(id), next.map(reasoned));
            return;
        }
        self.schedule.set(Wake::Client(id), None);
        if let Some(tx) = self.clients.remove(&id) {
            self.client_keys.remove(&tx.key);
            let peer = (tx.flow.transport, tx.flow.remote);
            if let Some(ids) = self.by_peer.get_mut(&peer) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_peer.remove(&peer);
                }
            }
        }
    }

    fn settle_server(&mut self, id: ServerId) {
        let Some(tx) = self.servers.get(&id) else { return };
        let (over, next) = match &tx.machine {
            ServerMachine::Invite(m) => (m.state() == invite_server::State::Terminated, m.timers.next()),
            ServerMachine::Other(m) => (m.state() == server::State::Terminated, m.timers.next()),
        };
        if !over {
            self.schedule.set(Wake::Server(id), next.map(reasoned));
            return;
        }
        self.schedule.set(Wake::Server(id), None);
        if let Some(tx) = self.servers.remove(&id) {
            self.server_keys.remove(&tx.key);
            if let Some(merge) = &tx.merge
                && self.merge_keys.get(merge) == Some(&id)
            {
                self.merge_keys.remove(merge);
            }
        }
    }

    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Where an answer to `request` goes that came by `flow` (§18.2.2, RFC 3581 §4): with `rport`, or where the
/// sender's address was rewritten on the way, to its source; else to the port that its Via names. `maddr` is not
/// followed: it would let a stranger aim our answers.
pub(crate) fn reply_flow(request: &Request, flow: Flow) -> Flow {
    if flow.transport.is_reliable() {
        return flow;
    }
    let Ok(via) = request.headers.top_via() else {
        return flow;
    };
    let translated = via
        .host
        .ip()
        .is_none_or(|ip| ip.to_canonical() != flow.remote.ip().to_canonical());
    if via.params.contains("rport") || translated {
        return flow;
    }
    let port = via.port.unwrap_or(flow.transport.default_port());
    Flow {
        remote: SocketAddr::new(flow.remote.ip(), port),
        ..flow
    }
}

/// A stream that closed is replaced by a new one to the address in the Via (§18.2.2).
fn reply_now<S>(tx: &ServerTransaction<S>, wire: &Wire) -> Flow {
    if !tx.reply.transport.is_reliable() || wire.is_open(&tx.reply) {
        return tx.reply;
    }
    let port = tx.request.headers.top_via().ok().and_then(|via| via.port);
    let port = port.unwrap_or(tx.reply.transport.default_port());
    Flow {
        remote: SocketAddr::new(tx.reply.remote.ip(), port),
        connection: None,
        ..tx.reply
    }
}

/// ACK to a non-2xx (§17.1.1.3) or CANCEL (§9.1) of an INVITE: the same in all that identifies it.
fn derived(invite: &Request, method: Method, to: Option<&str>) -> Request {
    let mut request = Request::new(method.clone(), invite.uri.clone());
    request.headers.push(HeaderName::MaxForwards, 70);
    for name in [
        HeaderName::Route,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
    ] {
        request.headers.copy_from(&invite.headers, &name);
    }
    if let Some(to) = to {
        request.headers.set(HeaderName::To, to);
    }
    let seq = invite.headers.cseq().map_or(1, |cseq| cseq.seq);
    request
        .headers
        .push(HeaderName::CSeq, format_args!("{seq} {method}"));
    request
}

/// The bytes of a request with our Via on top. `rport` is always asked for (RFC 3581 §3).
pub(crate) fn on_the_wire(request: &Request, flow: &Flow, branch: &Branch) -> Vec<u8> {
    let mut request = request.clone();
    let transport = ViaTransport::parse(flow.transport.via_token());
    let via = Via::new(transport, flow.local.ip().into(), Some(flow.local.port()), branch);
    request.headers.push_front(HeaderName::Via, via);
    request.to_bytes()
}

fn timers(machine: &mut ClientMachine) -> &mut TimerSet {
    match machine {
        ClientMachine::Invite(machine) => &mut machine.timers,
        ClientMachine::Other(machine) => &mut machine.timers,
    }
}

fn reasoned((at, timer): (Instant, Timer)) -> (Instant, &'static str) {
    (at, timer.reason())
}
