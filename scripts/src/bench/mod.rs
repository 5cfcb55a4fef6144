//! The parts of `meet-bench`, one file each: its arguments, its run against a real server, its table.
//!
//! A part prints what it measured; only an attack that is not survived fails. Figures of a shared machine are for people
//! to read. Absent on purpose: criterion's micro benches, which live in their crates (`scripts/bench` runs both).

pub mod attack;
pub mod calls;
pub mod large;
pub mod media;
pub mod overload;
pub mod register;
pub mod stall;

use crate::server::Server;

/// Whatever ends a part early; printed by `meet-bench`.
pub type Failure = Box<dyn std::error::Error>;

/// A server of its own for a run, in an empty directory that goes with it.
pub struct Host {
    /// The server.
    pub server: Server,
    // After the server, so that it is removed when nobody writes there any more.
    _data: tempfile::TempDir,
}

impl Host {
    /// `meet-server --lan` with settings from the environment (`MEET_…`).
    pub fn start(settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let server = Server::start_lan_at("127.0.0.1:0", data.path(), &[], settings)?;
        Ok(Self { server, _data: data })
    }
}
