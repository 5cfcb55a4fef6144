//! The façade: bytes and instants in, bytes and events out.
//!
//! An [`Endpoint`] holds all transactions, dialogs, sessions and subscriptions of one user agent, a phone or a
//! server with thousands of calls. The driver gives it what arrives ([`Endpoint::handle_input`]) and the time
//! ([`Endpoint::handle_timeout`]), sends what [`Endpoint::poll_output`] hands out until it hands out nothing, and
//! comes back at [`Endpoint::poll_timeout`]. The application hears [`Event`]s and answers by commands.
//!
//! What needs no application is answered here: garbage (400, 413, 505), unknown methods (405, 501), schemes (416),
//! extensions (420), dialogs (481), merged requests (482), too short sessions (422) and subscriptions (423), overload
//! (503), and requests that break a dialog's order (500, 491).
//!
//! Absent on purpose: name resolution (the driver's, RFC 3263), proxying (so no 483: an endpoint takes a request
//! with Max-Forwards 0 as its own, RFC 4475 §3.3.11).

mod authorise;
mod commands;
mod config;
mod event;
pub mod limits;
mod notice;
mod receive;
mod respond;
pub(crate) mod schedule;
pub(crate) mod stack;
mod subscribe;
mod types;
mod wallet;
pub(crate) mod wire;

pub use config::EndpointConfig;
pub use event::{Event, PeerState, SessionEvent, SubscriptionEvent, TerminatedBy};
pub use types::{
    Body, ClientTx, ConnectionId, Counts, EndpointError, Flow, Input, NotifyState, Outgoing, Output,
    ServerTx, SessionId, StreamState, SubscriptionId, Transport,
};

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use crate::usage::session::Session;
use crate::usage::subscribe::{Side, Subscription};
use stack::{Stack, WakeUsage};

/// A user agent's whole signalling. See the module's description.
pub struct Endpoint {
    stack: Stack,
    sessions: HashMap<SessionId, Session>,
    subscriptions: HashMap<SubscriptionId, Subscription>,
}

impl Endpoint {
    /// An endpoint that makes its identifiers from `seed`.
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        Endpoint {
            stack: Stack::new(config, seed),
            sessions: HashMap::new(),
            subscriptions: HashMap::new(),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &EndpointConfig {
        &self.stack.config
    }

    /// Takes what the driver reports. Never fails: what cannot be used is answered or dropped.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Datagram { flow, bytes } => self.on_message(flow, bytes, now),
            Input::Opened { flow } => self.stack.wire.open(flow),
            Input::Stream { connection, bytes } => self.on_stream(connection, bytes, now),
            Input::Closed { connection } => {
                self.stack.usages.set(WakeUsage::Stream(connection), None);
                if let Some(flow) = self.stack.wire.closed(connection) {
                    self.stack.transport_failed(&flow, now);
                }
            }
            Input::TransportFailed { flow } => self.stack.transport_failed(&flow, now),
        }
        self.handle_notices(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.stack.layer.handle_timeout(&mut self.stack.wire, now);
        self.handle_notices(now);
        while let Some(wake) = self.stack.usages.take_due(now) {
            match wake {
                WakeUsage::Session(id) => {
                    self.with_session(id, |session, stack| session.on_timeout(stack, now));
                }
                WakeUsage::Subscription(id) => {
                    self.with_subscription(id, |subscription, stack| subscription.on_timeout(stack, now));
                }
                WakeUsage::Stream(connection) => self.close_when_answered(connection, now),
            }
        }
    }

    /// The next thing to do; call it until it returns nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.stack.wire.out.pop_front()
    }

    /// When `handle_timeout` wants to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let usages = self.stack.usages.next();
        self.stack
            .layer
            .poll_timeout()
            .into_iter()
            .chain(usages)
            .min_by_key(|(at, _)| *at)
    }

    /// The Call-IDs of all dialogs, early and confirmed ones; one for each dialog.
    pub fn call_ids(&self) -> impl Iterator<Item = &str> {
        self.stack.dialogs.keys().map(|dialog| dialog.call_id.as_str())
    }

    /// The Call-ID of a session; none while an INVITE of ours is unanswered.
    pub fn call_id(&self, session: SessionId) -> Option<&str> {
        self.sessions.get(&session)?.call_id()
    }

    /// The Call-ID of a subscription of the peer.
    pub fn subscription_call_id(&self, subscription: SubscriptionId) -> Option<&str> {
        match &self.subscriptions.get(&subscription)?.side {
            Side::Notifier(notifier) => Some(notifier.call_id()),
            Side::Subscriber(_) => None,
        }
    }

    /// The address and port that the INVITE of a call of the peer came from.
    pub fn invited_from(&self, session: SessionId) -> Option<SocketAddr> {
        self.sessions.get(&session)?.invited_from
    }

    /// All open streams, for a driver that closes those on which a message stays unfinished.
    pub fn streams(&self) -> impl Iterator<Item = StreamState> {
        self.stack.wire.states()
    }

    /// How much is held.
    pub fn counts(&self) -> Counts {
        Counts {
            client_transactions: self.stack.layer.client_count(),
            server_transactions: self.stack.layer.server_count(),
            dialogs: self.stack.dialog_count(),
            sessions: self.sessions.len(),
            subscriptions: self.subscriptions.len(),
        }
    }

    /// Lets a session work, then re-arms its wake-up or drops it.
    fn with_session<R>(
        &mut self,
        id: SessionId,
        work: impl FnOnce(&mut Session, &mut Stack) -> R,
    ) -> Option<R> {
        let session = self.sessions.get_mut(&id)?;
        let result = work(session, &mut self.stack);
        if !session.is_over() {
            self.stack.usages.set(WakeUsage::Session(id), session.deadline());
            return Some(result);
        }
        self.stack.usages.set(WakeUsage::Session(id), None);
        if let Some(peer) = self.sessions.remove(&id).and_then(|session| session.peer) {
            self.stack.release_peer(peer);
        }
        Some(result)
    }

    /// Lets a subscription work, then re-arms its wake-up or drops it.
    fn with_subscription<R>(
        &mut self,
        id: SubscriptionId,
        work: impl FnOnce(&mut Subscription, &mut Stack) -> R,
    ) -> Option<R> {
        let subscription = self.subscriptions.get_mut(&id)?;
        let result = work(subscription, &mut self.stack);
        if !subscription.is_over() {
            self.stack
                .usages
                .set(WakeUsage::Subscription(id), subscription.deadline());
            return Some(result);
        }
        self.stack.usages.set(WakeUsage::Subscription(id), None);
        if let Some(subscription) = self.subscriptions.remove(&id) {
            subscription.leave(&mut self.stack);
            if let Some(peer) = subscription.peer {
                self.stack.release_peer(peer);
            }
        }
        Some(result)
    }
}
