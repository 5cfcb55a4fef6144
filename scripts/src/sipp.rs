//! Debian's sipp as a peer: a scenario of ours, run once, judged by its exit code.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, ProcessError};

/// What goes wrong with sipp.
#[derive(Debug, thiserror::Error)]
pub enum SippError {
    /// It did not start or did not end.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The scenario failed.
    #[error("sipp {scenario}: exit code {code:?}\n{output}\n{errors}")]
    Failed {
        /// The scenario's file.
        scenario: String,
        /// sipp's exit code (0 all calls right, 1 a call failed, 97 timeout, 255 fatal); none: it did not end.
        code: Option<i32>,
        /// Its screen.
        output: String,
        /// Its error and message logs.
        errors: String,
    },
    /// The scenario could not be written.
    #[error("sipp: {0}")]
    Io(#[from] std::io::Error),
}

/// A running scenario.
pub struct Sipp {
    process: Process,
    scenario: String,
    folder: std::path::PathBuf,
}

impl Sipp {
    /// Starts `scenario` (XML text) against `remote` for one call to `user`; `more` are further arguments.
    pub fn start(
        folder: &Path,
        name: &str,
        scenario: &str,
        remote: SocketAddr,
        user: &str,
        more: &[&str],
    ) -> Result<Self, SippError> {
        let mut sipp = Command::new("sipp");
        sipp.args(["-i", "127.0.0.1"]);
        Self::start_as(sipp, folder, name, scenario, remote, user, more)
    }

    /// The same with a sipp command that says where it runs and what it binds.
    pub fn start_as(
        mut command: Command,
        folder: &Path,
        name: &str,
        scenario: &str,
        remote: SocketAddr,
        user: &str,
        more: &[&str],
    ) -> Result<Self, SippError> {
        let folder = folder.join(format!("sipp-{name}"));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("scenario.xml");
        std::fs::write(&file, scenario)?;
        command
            .current_dir(&folder)
            .args([
                "-m",
                "1",
                "-nostdin",
                "-trace_err",
                "-trace_msg",
                "-timeout",
                "60",
                "-timeout_error",
            ])
            .args(["-s", user])
            .arg("-sf")
            .arg(&file)
            .args(more)
            .arg(remote.to_string());
        Ok(Self {
            process: Process::start(command)?,
            scenario: name.to_owned(),
            folder,
        })
    }

    /// Waits for the end and checks that the scenario succeeded.
    pub fn finish(mut self, patience: Duration) -> Result<(), SippError> {
        let status = match self.process.wait_exit(patience) {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => Some(status),
            Err(ProcessError::NoExit { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Err(SippError::Failed {
            scenario: self.scenario.clone(),
            code: status.and_then(|s| s.code()),
            output: self.process.output(),
            errors: self.logs(),
        })
    }

    /// sipp's error and message logs.
    pub fn logs(&self) -> String {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return String::new();
        };
        entries
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "log"))
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .collect()
    }
}
