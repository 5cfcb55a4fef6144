//! `meet-server`: SIP registrar, conference focus and audio mixer host in one binary.
//!
//! The decisions live in sans-IO cores, [`focus`] (who may join what, what is answered,
//! who is told), [`registrar`] (RFC 3261 §10.3) and [`shield`] (what of a flood is worth a look); everything that touches a socket, a clock,
//! a file or a thread is in [`drivers`] and [`store`]. Deliberately absent: any protocol
//! grammar (that is `sip-proto`) and any sample arithmetic (`rtp-media`, `mixer`).

pub mod accounts;
pub mod config;
pub mod drivers;
pub mod error;
pub mod focus;
pub mod registrar;
pub mod run;
pub mod settings;
pub mod shield;
pub mod store;
pub mod telemetry;
