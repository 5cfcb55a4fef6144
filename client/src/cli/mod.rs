//! The command line: arguments, configuration, events, remembered tokens, the API, the commands.

pub mod api;
pub mod args;
pub mod config;
pub mod events;
pub mod state;
