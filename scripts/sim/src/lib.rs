//! The simulator: the real cores of server and client on one virtual clock, over a seeded network.
//!
//! A seed is a story ([`scenario`]): people, rooms, weather, and what they do when. [`run`] plays it with the real
//! `sip_proto` endpoint, focus, rooms and mixers ([`house`]) and with the real client core or a desk phone of our own
//! ([`peer`]); a small reference model ([`model`]) says who must hear whom. Time jumps from event to event
//! ([`world`]); media runs only where hearing is judged. The same seed gives the same run, to the byte.
//!
//! Deliberately absent: sockets, threads and the drivers of the programs (tested by `scripts/tests`), streams, SRTP, sound
//! quality, sound in bad weather, and clock drift (`mixer/tests/extras.rs`). Not known here: which empty rooms outlive a
//! restart of the server; the model takes the server's word for them.

mod api;
pub mod batch;
pub mod dice;
pub mod ear;
pub mod house;
mod judge;
pub mod model;
pub mod network;
mod observe;
pub mod peer;
pub mod run;
pub mod scenario;
pub mod trace;
pub mod world;
