//! The conference focus (RFC 4353, RFC 4579), sans-IO.
//!
//! [`Focus`] stands beside `sip_proto::endpoint::Endpoint` in the signalling task: it decides who
//! may come in, finds or makes the room, and routes everything of a session to the room that
//! owns it. [`room::Room`] is one room's state machine and lives in a task of its own. Both have
//! one face: `handle_input`, `poll_output` drained to `None`, `handle_timeout`, `poll_timeout`.
//! What goes in and comes out stands in [`io`] (the focus) and [`room_io`] (a room).
//!
//! Deliberately absent: sockets, clocks, OS randomness, tokio. The drivers execute the outputs.

pub mod admission;
pub mod answers;
pub mod api;
pub mod body;
pub mod callers;
pub mod command;
pub mod digits;
pub mod directory;
mod entrance;
#[expect(
    clippy::module_inception,
    reason = "DESIGN §2 names the file: the focus itself beside its parts"
)]
mod focus;
mod half_open;
pub mod ids;
pub mod io;
pub mod leg;
pub mod limits;
pub mod load;
mod meetings;
pub mod mixing;
pub mod names;
pub mod negotiate;
pub mod policy;
pub mod record;
pub mod room;
pub mod room_io;
pub mod roster;
pub mod roster_document;
mod routing;
pub mod settings;
mod throttle;

pub use focus::Focus;
