//! Server transactions: matching requests, answering them, and where the answers go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Layer, Matched, Notice, ServerId, ServerMachine, ServerTransaction, Wake, reasoned};
use crate::endpoint::wire::Wire;
use crate::endpoint::{ConnectionId, Flow};
use crate::message::{Method, Request, Response, StatusCode};
use crate::transaction::key::{MergeKey, ServerKey};
use crate::transaction::{invite_server, server};

impl<C: Copy, S: Copy> Layer<C, S> {
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
        let (key, merge) = (Arc::new(key), MergeKey::of(&request).map(Arc::new));
        if let Some(merge) = &merge {
            self.merge_keys.insert(Arc::clone(merge), id);
        }
        self.server_keys.insert(Arc::clone(&key), id);
        if let Some(connection) = reply.connection {
            *self.owed.entry(connection).or_insert(0) += 1;
        }
        self.servers.insert(
            id,
            Box::new(ServerTransaction {
                machine,
                key,
                merge,
                via_port: request.headers.top_via().ok().and_then(|via| via.port),
                request: Some(Box::new(request)),
                reply,
                last: None,
                owner,
            }),
        );
        self.settle_server(id);
        Some(id)
    }

    /// The request of a server transaction that has no final response yet.
    pub(crate) fn request(&self, id: ServerId) -> Option<&Request> {
        self.servers.get(&id)?.request.as_deref()
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
            let flow = reply_now(tx, wire);
            let settled = response.status.is_final() && tx.request.take().is_some();
            let connection = tx.reply.connection.filter(|_| settled);
            // RFC 6026 §7.1: whoever accepted the INVITE repeats the 2xx, not the transaction.
            let repeats = !matches!(tx.machine, ServerMachine::Invite(_)) || !response.status.is_success();
            tx.last = repeats.then(|| bytes.clone());
            wire.transmit(flow, bytes);
            self.one_less_owed(connection);
        }
        self.settle_server(id);
        sent
    }

    /// Whether a request that came on this stream has no final response yet.
    pub(crate) fn owes(&self, connection: ConnectionId) -> bool {
        self.owed.contains_key(&connection)
    }

    fn one_less_owed(&mut self, connection: Option<ConnectionId>) {
        if let Some(connection) = connection
            && let Some(count) = self.owed.get_mut(&connection)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.owed.remove(&connection);
            }
        }
    }

    pub(super) fn server_timers(&mut self, id: ServerId, wire: &mut Wire, now: Instant) {
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
                            let trying = tx
                                .request
                                .as_deref()
                                .map(|request| Response::to(request, StatusCode::TRYING));
                            tx.last = trying.map(|trying| trying.to_bytes());
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
            self.one_less_owed(tx.reply.connection.filter(|_| tx.request.is_some()));
            self.server_keys.remove(&tx.key);
            if let Some(merge) = &tx.merge
                && self.merge_keys.get(merge) == Some(&id)
            {
                self.merge_keys.remove(merge);
            }
        }
    }
}

/// A stream that closed is replaced by a new one to the address in the Via (§18.2.2).
fn reply_now<S>(tx: &ServerTransaction<S>, wire: &Wire) -> Flow {
    if !tx.reply.transport.is_reliable() || wire.is_open(&tx.reply) {
        return tx.reply;
    }
    let port = tx.via_port.unwrap_or(tx.reply.transport.default_port());
    Flow {
        remote: SocketAddr::new(tx.reply.remote.ip(), port),
        connection: None,
        ..tx.reply
    }
}
