//! The command line: arguments, configuration, events, remembered tokens, the API, the commands.
//!
//! Deliberately absent: the terminal interface (`crate::ui`).

pub mod api;
pub mod args;
pub mod commands;
pub mod config;
pub mod events;
mod folders;
pub mod state;
