//! `meet`: a SIP softphone for the terminal.

pub mod call;
pub mod cli;
pub mod error;
pub mod limits;
pub mod media;
