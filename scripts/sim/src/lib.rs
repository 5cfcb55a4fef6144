//! The simulator: the real cores of server and client on one virtual clock, over a seeded network.
//!
//! A seed is a story ([`scenario`]): people, rooms, weather, and what they do when. [`run`] plays it with the real
//! `sip_proto` endpoint, focus, rooms and mixers ([`house`]) and with the real client core or a desk phone of our own
//! ([`peer`]); a small reference model ([`model`]) says who must hear whom. Time jumps from event to event
//! ([`world`]); media runs only where hearing is judged. The same seed gives the same run, to the byte.
//!
//! Deliberately absent: sockets, threads and the drivers of the programs (tested by `scripts/tests`), streams, sound
//! quality, sound in bad weather, and drift over hours of talk (`mixer/tests/extras.rs`). Where a lossy
//! network leaves open what the server can know, the model asks it; how often is counted ([`report::Judged`]).

mod api;
pub mod batch;
pub mod dice;
pub mod ear;
mod forecast;
pub mod house;
mod judge;
pub mod model;
pub mod network;
mod observe;
pub mod peer;
pub mod report;
pub mod run;
pub mod scenario;
pub mod trace;
pub mod world;
