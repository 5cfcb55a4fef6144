//! The tables of live transactions: matching, stored messages, timers, and the actions of the machines carried out.
//!
//! `C` and `S` say to whom a client or server transaction belongs; the layer hands them back with every
//! [`Notice`]. Nothing here walks a whole table: keys are hashed and deadlines queued. Tables hold pointers, and a server
//! says beforehand how many transactions it expects: a table that grows moves all it has at once, and whoever calls at
//! that moment waits for it.

mod clients;
mod servers;
mod wire_form;

pub(crate) use wire_form::{on_the_wire, reply_flow};

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::key::{ClientKey, MergeKey, ServerKey};
use super::{Timer, TimerValues, client, invite_client, invite_server, server};
use crate::endpoint::schedule::Schedule;
use crate::endpoint::wire::Wire;
use crate::endpoint::{ConnectionId, Flow, Transport};
use crate::ids::Branch;
use crate::message::Request;

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
    /// The last CSeq numbers of early dialogs that were left, by their To tag: a 2xx may still come from there.
    left: Vec<(String, u32)>,
    flow: Flow,
    /// The datagram flow that a request left only for its size.
    fallback: Option<Flow>,
    owner: C,
}

enum ServerMachine {
    Invite(invite_server::InviteServer),
    Other(server::Server),
}

struct ServerTransaction<S> {
    machine: ServerMachine,
    key: Arc<ServerKey>,
    merge: Option<Arc<MergeKey>>,
    /// Let go of with the final response: a transaction lingers for 32 s after it, and most of all are such.
    request: Option<Box<Request>>,
    /// The port of the top Via.
    via_port: Option<u16>,
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
    clients: HashMap<ClientId, Box<ClientTransaction<C>>>,
    client_keys: HashMap<ClientKey, ClientId>,
    by_peer: HashMap<(Transport, SocketAddr), BTreeSet<ClientId>>,
    servers: HashMap<ServerId, Box<ServerTransaction<S>>>,
    server_keys: HashMap<Arc<ServerKey>, ServerId>,
    merge_keys: HashMap<Arc<MergeKey>, ServerId>,
    /// Requests without a final response, by the stream that they came on.
    owed: HashMap<ConnectionId, usize>,
    schedule: Schedule<Wake>,
    notices: VecDeque<Notice<C, S>>,
    /// Larger requests leave UDP (§18.1.1); none: streams cannot be opened.
    stream_above: Option<usize>,
    /// Addresses that no stream reaches, and until when that is believed.
    no_streams: HashMap<SocketAddr, Instant>,
}

impl<C: Copy, S: Copy> Layer<C, S> {
    /// Empty tables with room for `expected` server transactions.
    pub(crate) fn new(values: TimerValues, stream_above: Option<usize>, expected: usize) -> Self {
        Layer {
            values,
            next: 1,
            clients: HashMap::new(),
            client_keys: HashMap::new(),
            by_peer: HashMap::new(),
            servers: HashMap::with_capacity(expected),
            server_keys: HashMap::with_capacity(expected),
            merge_keys: HashMap::with_capacity(expected),
            owed: HashMap::new(),
            schedule: Schedule::with_capacity(expected),
            notices: VecDeque::new(),
            stream_above,
            no_streams: HashMap::new(),
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

    /// Handles every timer that is due.
    pub(crate) fn handle_timeout(&mut self, wire: &mut Wire, now: Instant) {
        while let Some(wake) = self.schedule.take_due(now) {
            match wake {
                Wake::Client(id) => self.client_timers(id, wire, now),
                Wake::Server(id) => self.server_timers(id, wire, now),
            }
        }
    }

    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn reasoned((at, timer): (Instant, Timer)) -> (Instant, &'static str) {
    (at, timer.reason())
}
