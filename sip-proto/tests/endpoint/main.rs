//! The endpoint as its driver and its peer see it: whole flows in virtual time.
//!
//! `pair` joins two endpoints by a link that can lose, double and reorder; `solo` puts one endpoint against
//! messages made by hand. Every scenario ends by letting all timers run out and finding nothing left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::too_many_lines, reason = "a scenario is read from top to bottom")]
#![allow(clippy::print_stdout, reason = "a test that is left out says so")]

mod calls;
mod cancel;
mod digest;
mod early_ends;
mod forks;
mod hygiene;
mod offers;
mod pair;
mod races;
mod registration;
mod reliable;
mod routes;
mod session_timers;
mod solo;
mod storms;
mod streams;
mod subscriptions;
mod torture;
mod transports;
mod usages;
