//! The façade: bytes and instants in, bytes and events out.
//!
//! An [`Endpoint`] holds all transactions, dialogs, sessions and subscriptions of one user agent, a phone or a
//! server with thousands of calls. The driver gives it what arrives ([`Endpoint::handle_input`]) and the time
//! ([`Endpoint::handle_timeout`]), sends what [`Endpoint::poll_output`] hands out until it hands out nothing, and
//! comes back at [`Endpoint::poll_timeout`]. The application hears [`Event`]s and answers by commands.
//!
//! What needs no application is answered here: garbage (400, 413, 505), unknown methods (405, 501), schemes (416),
//! extensions (420), dialogs (481), merged requests (482), too short subscriptions (423), overload (503), and
//! requests that break a dialog's order (500, 491).
//!
//! Absent on purpose: name resolution (the driver's, RFC 3263), proxying (so no 483: an endpoint takes a request
//! with Max-Forwards 0 as its own, RFC 4475 §3.3.11), reliable provisional responses (RFC 3262).

mod commands;
mod config;
mod event;
pub mod limits;

mod types;


pub use config::EndpointConfig;
pub use event::{Event, PeerState, SessionEvent, SubscriptionEvent, TerminatedBy};
pub use types::{
    Body, ClientTx, ConnectionId, Counts, EndpointError, Flow, Input, NotifyState, Outgoing, Output, ServerTx,
    SessionId, SubscriptionId, Transport,
};

use std::time::Instant;

/// A user agent's whole signalling. See the module's description.
pub struct Endpoint {
    config: EndpointConfig,
}

impl Endpoint {
    /// An endpoint that makes its identifiers from `seed`.
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let _ = seed;
        Endpoint { config }
    }

    /// Its configuration.
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }

    /// Takes what the driver reports. Never fails: what cannot be used is answered or dropped.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let _ = (input, now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The next thing to do; call it until it returns nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When `handle_timeout` wants to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// How much is held.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }
}
