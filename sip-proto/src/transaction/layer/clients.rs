//! Client transactions: sending, responses, CANCEL, the kept ACKs, transport failures.

use std::net::SocketAddr;
use std::time::Instant;

use super::wire_form::{derived, on_the_wire};
use super::{ClientId, ClientMachine, ClientTransaction, Delivered, Layer, Notice, Wake, reasoned};
use crate::endpoint::limits::{MAX_EARLY_DIALOGS, MAX_WITHOUT_STREAMS, WITHOUT_STREAMS};
use crate::endpoint::wire::Wire;
use crate::endpoint::{Flow, Transport};
use crate::ids::{Branch, IdSource};
use crate::message::{HeaderName, Method, Request, Response};
use crate::transaction::key::ClientKey;
use crate::transaction::{TimerSet, TimerValues, client, invite_client};

/// How a request leaves: written for the flow that its size allows, with the way back.
struct Departure {
    flow: Flow,
    fallback: Option<Flow>,
    bytes: Vec<u8>,
}

impl<C: Copy, S: Copy> Layer<C, S> {
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
        let departure = self.by_size(&request, flow, &branch, now);
        self.send_with_branch(request, branch, departure, owner, wire, now)
    }

    /// Sends the CANCEL of a client transaction (§9.1): same branch, a transaction of its own.
    pub(crate) fn send_cancel(&mut self, invite: ClientId, owner: C, wire: &mut Wire, now: Instant) {
        let Some(tx) = self.clients.get(&invite) else {
            return;
        };
        let cancel = derived(&tx.request, Method::Cancel, None);
        let (branch, flow) = (tx.branch.clone(), tx.flow);
        let departure = Departure {
            flow,
            fallback: None,
            bytes: on_the_wire(&cancel, &flow, &branch),
        };
        self.send_with_branch(cancel, branch, departure, owner, wire, now);
    }

    /// Requests to this address stay on UDP for a while, however large: a stream would not get there.
    pub(crate) fn avoid_streams(&mut self, remote: SocketAddr, now: Instant) {
        if self.no_streams.len() >= MAX_WITHOUT_STREAMS {
            self.no_streams.retain(|_, until| *until > now);
        }
        if self.no_streams.len() < MAX_WITHOUT_STREAMS {
            self.no_streams.insert(remote, now + WITHOUT_STREAMS);
        }
    }

    /// §18.1.1: a request too large for a datagram goes by a stream, and by UDP after all when that fails.
    fn by_size(&self, request: &Request, flow: Flow, branch: &Branch, now: Instant) -> Departure {
        let bytes = on_the_wire(request, &flow, branch);
        let limit = self.stream_above.filter(|_| flow.transport == Transport::Udp);
        let avoided = self
            .no_streams
            .get(&flow.remote)
            .is_some_and(|until| *until > now);
        if avoided || limit.is_none_or(|limit| bytes.len() <= limit) {
            let fallback = None;
            return Departure {
                flow,
                fallback,
                bytes,
            };
        }
        let stream = Flow {
            transport: Transport::Tcp,
            connection: None,
            ..flow
        };
        Departure {
            flow: stream,
            fallback: Some(flow),
            bytes: on_the_wire(request, &stream, branch),
        }
    }

    fn send_with_branch(
        &mut self,
        request: Request,
        branch: Branch,
        departure: Departure,
        owner: C,
        wire: &mut Wire,
        now: Instant,
    ) -> ClientId {
        let id = ClientId(self.take_number());
        let Departure {
            flow,
            fallback,
            bytes,
        } = departure;
        let machine = machine(&request, &flow, self.values, now);
        let key = ClientKey::new(branch.as_str(), request.method.clone());
        wire.transmit(flow, bytes.clone());
        self.client_keys.insert(key.clone(), id);
        self.by_peer
            .entry((flow.transport, flow.remote))
            .or_default()
            .insert(id);
        let tx = Box::new(ClientTransaction {
            machine,
            key,
            request,
            branch,
            bytes,
            ack: None,
            forks: Vec::new(),
            left: Vec::new(),
            flow,
            fallback,
            owner,
        });
        self.clients.insert(id, tx);
        self.settle_client(id);
        id
    }

    /// Gives a response to its transaction; something comes back when it is new to the user. One that has the branch but
    /// is of another call answers nothing that was asked (RFC 3261 §8.2.6.2: Call-ID, CSeq and From are the request's).
    pub(crate) fn receive_response(
        &mut self,
        response: &Response,
        wire: &mut Wire,
        now: Instant,
    ) -> Option<Delivered<C>> {
        let id = *self.client_keys.get(&ClientKey::of(response).ok()?)?;
        let tx = self.clients.get_mut(&id)?;
        if !answers(response, &tx.request) {
            return None;
        }
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

    /// The transport could not reach `flow`, or its connection is gone. A request that went by a stream only for its
    /// size goes out again by UDP; an INVITE that is already provisional waits a while, for its final response may
    /// come by another connection (§18.2.2).
    pub(crate) fn transport_failed(&mut self, flow: &Flow, wire: &mut Wire, now: Instant) {
        let peer = (flow.transport, flow.remote);
        for id in self.by_peer.get(&peer).cloned().unwrap_or_default() {
            if self.fall_back(id, wire, now) {
                continue;
            }
            let Some(tx) = self.clients.get_mut(&id) else {
                continue;
            };
            let unreachable = match &mut tx.machine {
                ClientMachine::Invite(m) => m.on_transport_error(now) == invite_client::Action::Unreachable,
                ClientMachine::Other(m) => m.on_transport_error() == client::Action::Unreachable,
            };
            if unreachable {
                self.notices.push_back(Notice::Unreachable(id, tx.owner));
            }
            self.settle_client(id);
        }
    }

    /// §18.1.1: back to UDP, as if it were sent just now. False: it did not come from there, or was answered.
    fn fall_back(&mut self, id: ClientId, wire: &mut Wire, now: Instant) -> bool {
        let Some(tx) = self.clients.get_mut(&id) else {
            return false;
        };
        let unanswered = match &tx.machine {
            ClientMachine::Invite(m) => matches!(m.state(), invite_client::State::Calling { .. }),
            ClientMachine::Other(m) => matches!(m.state(), client::State::Trying { .. }),
        };
        let (true, Some(udp)) = (unanswered, tx.fallback.take()) else {
            return false;
        };
        let before = std::mem::replace(&mut tx.flow, udp);
        tx.bytes = on_the_wire(&tx.request, &udp, &tx.branch);
        tx.machine = machine(&tx.request, &udp, self.values, now);
        wire.transmit(udp, tx.bytes.clone());
        self.leave_peer(id, &before);
        self.by_peer
            .entry((udp.transport, udp.remote))
            .or_default()
            .insert(id);
        self.avoid_streams(udp.remote, now);
        self.settle_client(id);
        true
    }

    fn leave_peer(&mut self, id: ClientId, flow: &Flow) {
        let peer = (flow.transport, flow.remote);
        if let Some(ids) = self.by_peer.get_mut(&peer) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// Whether an INVITE of ours has a provisional response and no final one: the time for a CANCEL.
    pub(crate) fn is_proceeding(&self, id: ClientId) -> bool {
        self.clients.get(&id).is_some_and(|tx| {
            matches!(&tx.machine, ClientMachine::Invite(machine)
                if machine.state() == invite_client::State::Proceeding)
        })
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

    /// Keeps how far the CSeq numbers of an early dialog of this INVITE came, for a 2xx that makes it last after all.
    pub(crate) fn leave_branch(&mut self, id: ClientId, tag: String, cseq: u32) {
        let Some(tx) = self.clients.get_mut(&id) else {
            return;
        };
        if let Some((_, last)) = tx.left.iter_mut().find(|(known, _)| *known == tag) {
            *last = cseq.max(*last);
        } else if tx.left.len() < MAX_EARLY_DIALOGS {
            tx.left.push((tag, cseq));
        }
    }

    /// The last CSeq number that was used in a left early dialog.
    pub(crate) fn branch_cseq(&self, id: ClientId, tag: &str) -> Option<u32> {
        let left = &self.clients.get(&id)?.left;
        left.iter().find(|(known, _)| known == tag).map(|(_, cseq)| *cseq)
    }

    /// Ends a client INVITE transaction that nobody will answer any more (§9.1).
    pub(crate) fn abandon(&mut self, id: ClientId) {
        if let Some(tx) = self.clients.get_mut(&id)
            && let ClientMachine::Invite(machine) = &mut tx.machine
        {
            machine.abandon();
        }
        self.settle_client(id);
    }

    pub(super) fn client_timers(&mut self, id: ClientId, wire: &mut Wire, now: Instant) {
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
            self.leave_peer(id, &tx.flow);
        }
    }
}

/// Whether a response repeats what identifies the request.
fn answers(response: &Response, request: &Request) -> bool {
    let (response, request) = (&response.headers, &request.headers);
    response.get(&HeaderName::CallId) == request.get(&HeaderName::CallId)
        && response.cseq().ok().map(|cseq| cseq.seq) == request.cseq().ok().map(|cseq| cseq.seq)
        && response.from_tag() == request.from_tag()
}

fn machine(request: &Request, flow: &Flow, values: TimerValues, now: Instant) -> ClientMachine {
    let reliable = flow.transport.is_reliable();
    if request.method == Method::Invite {
        ClientMachine::Invite(invite_client::InviteClient::new(reliable, values, now))
    } else {
        ClientMachine::Other(client::Client::new(reliable, values, now))
    }
}

fn timers(machine: &mut ClientMachine) -> &mut TimerSet {
    match machine {
        ClientMachine::Invite(machine) => &mut machine.timers,
        ClientMachine::Other(machine) => &mut machine.timers,
    }
}
