//! Starts the `meet-server` and `meet` that this build made, as a user would.
//!
//! Absent on purpose: linking against them; they are run as programs, so that what is tested is what ships.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::metrics::{Metrics, UnknownMetric};
use crate::process::{Process, ProcessError};

const PATIENCE: Duration = Duration::from_secs(20);

/// What goes wrong.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It did not start or did not say that it is ready.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its line can't be read.
    #[error("meet-server said {0:?} in place of 'ready sip=ADDR:PORT http=ADDR:PORT'")]
    Ready(String),
    /// `/metrics` has no such name.
    #[error(transparent)]
    NoMetric(#[from] UnknownMetric),
    /// The API did not answer.
    #[error("GET {url}: {source}")]
    Api {
        /// What was asked.
        url: String,
        /// The client's error.
        source: Box<ureq::Error>,
    },
}

/// A running server.
pub struct Server {
    /// Its process.
    pub process: Process,
    /// Where SIP is served (UDP and TCP).
    pub sip: SocketAddr,
    /// Where the API is served.
    pub http: SocketAddr,
}

impl Server {
    /// `meet-server --lan` on loopback with ports of the system's choice.
    pub fn start_lan(data: &Path, more: &[&str]) -> Result<Self, ServerError> {
        Self::start_lan_at("127.0.0.1:0", data, more, &[])
    }

    /// The same on another SIP address, with settings from the environment (`MEET_…`).
    pub fn start_lan_at(
        listen: &str,
        data: &Path,
        more: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Self, ServerError> {
        let mut command = Command::new(program("meet-server"));
        command.args(["--lan", "--listen", listen, "--http", "127.0.0.1:0", "--data-dir"]);
        command.arg(data).args(more).envs(settings.iter().copied());
        Self::start(command)
    }

    /// Any command line; waits for the ready line.
    pub fn start(command: Command) -> Result<Self, ServerError> {
        let process = Process::start(command)?;
        let line = process.wait_line("ready sip=", PATIENCE)?;
        let address = |name: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(name))
                .and_then(|a| a.parse().ok())
        };
        match (address("sip="), address("http=")) {
            (Some(sip), Some(http)) => Ok(Self { process, sip, http }),
            _ => Err(ServerError::Ready(line)),
        }
    }

    /// GET of a path of the API, as text.
    pub fn text(&self, path: &str) -> Result<String, ServerError> {
        let url = format!("http://{}{path}", self.http);
        let error = |source| ServerError::Api {
            url: url.clone(),
            source: Box::new(source),
        };
        ureq::get(&url)
            .call()
            .map_err(error)?
            .body_mut()
            .read_to_string()
            .map_err(error)
    }

    /// GET of a path of the API, as JSON.
    pub fn get(&self, path: &str) -> Result<serde_json::Value, ServerError> {
        let url = format!("http://{}{path}", self.http);
        let error = |source| ServerError::Api {
            url: url.clone(),
            source: Box::new(source),
        };
        ureq::get(&url)
            .call()
            .map_err(error)?
            .body_mut()
            .read_json()
            .map_err(error)
    }

    /// All values of `/metrics`.
    pub fn metrics(&self) -> Result<Metrics, ServerError> {
        Ok(Metrics::read(&self.text("/metrics")?))
    }

    /// A value of `/metrics`, summed over its labels.
    pub fn metric(&self, name: &str) -> Result<f64, ServerError> {
        Ok(self.metrics()?.value(name)?)
    }

    /// The URI of a room.
    pub fn room(&self, name: &str) -> String {
        format!("sip:{name}@{}", self.sip)
    }
}

/// A program of this build: it lies beside the test's own folder, or where `MEET_BIN` says.
pub fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("MEET_BIN") {
        return Path::new(&folder).join(name);
    }
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}
