//! Transactions: a request and its answers made reliable, RFC 3261 §17, RFC 6026, RFC 4320.
//!
//! Four pure machines, one a file, each with its transition table: they hold a state and timers, take an
//! event and say what to do. `layer` holds them in tables keyed as §17.1.3 and §17.2.3 say, keeps the
//! messages, and turns actions into datagrams. Absent on purpose: the proxy's rules, SCTP, multicast.

pub mod client;
pub mod invite_client;
pub mod invite_server;
pub mod key;
pub(crate) mod layer;

pub mod server;
mod timer;

pub use timer::{Timer, TimerSet, TimerValues};

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some starting instant; it never reads the clock again"
)]
pub(crate) fn test_clock() -> std::time::Instant {
    std::time::Instant::now()
}
