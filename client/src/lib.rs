//! `meet`: a softphone for the terminal. Meetings and calls over SIP and RTP.
//!
//! [`call`] and [`account`] are the signalling, without sockets or clock; [`media`] is sound; [`drivers`] joins
//! both with the network and the user; [`cli`] and [`ui`] are the two faces. The binary `meet` only calls
//! [`cli::commands::main`]. Deliberately absent so far: video, chat, encryption.

pub mod account;
pub mod call;
pub mod cli;
pub mod drivers;
pub mod error;
pub mod limits;
pub mod media;
pub mod ui;
