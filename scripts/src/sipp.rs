//! Debian's sipp as a peer: a scenario of ours, run once, judged by its exit code.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, ProcessError, wait_for};
use crate::scenario::{GO_ON, STANDS};

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
    /// The scenario did not come to a place where it waits for the test.
    #[error("sipp {scenario} does not stand for the {time}th time\n{logs}")]
    NotThere {
        /// The scenario's file.
        scenario: String,
        /// Which place, counted from 1.
        time: usize,
        /// Its logs.
        logs: String,
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
    /// How often it was told to go on.
    told: usize,
    ipv4: bool,
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
                "-trace_logs",
                "-timeout",
                "120",
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
            told: 0,
            ipv4: remote.is_ipv4(),
        })
    }

    /// Waits until the scenario stands at its next `talk_until_told`: all before that is done.
    pub fn stands(&self, patience: Duration) -> Result<(), SippError> {
        let time = self.told + 1;
        wait_for(patience, || {
            (self.logs_named("_logs.log").matches(STANDS).count() >= time).then_some(())
        })
        .ok_or_else(|| SippError::NotThere {
            scenario: self.scenario.clone(),
            time,
            logs: self.logs(),
        })
    }

    /// Lets the scenario go on from there (over UDP: sipp takes any message with the call's Call-ID).
    pub fn go_on(&mut self, patience: Duration) -> Result<(), SippError> {
        let socket = if self.ipv4 {
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?
        } else {
            UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))?
        };
        self.go_on_by(&socket, patience)
    }

    /// The same, said on a socket that can reach it.
    pub fn go_on_by(&mut self, socket: &UdpSocket, patience: Duration) -> Result<(), SippError> {
        self.stands(patience)?;
        self.told += 1;
        let sent = self.logs_named("_messages.log");
        // Its own first request says where it is and what the call is called.
        let header = |name: &str| {
            let line = sent.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).unwrap_or_default()
        };
        let at = header("Via: SIP/2.0/UDP").split(';').next().unwrap_or_default();
        let address: SocketAddr = at
            .parse()
            .map_err(|_| std::io::Error::other(format!("no address of sipp's in {at:?}")))?;
        let text = format!(
            "{GO_ON} sip:sipp@{at} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKgo{told}\r\nFrom: {to}\r\nTo: {from}\r\n\
             Call-ID: {call}\r\nCSeq: {told} {GO_ON}\r\nContent-Length: 0\r\n\r\n",
            told = self.told,
            from = header("From:"),
            to = header("To:"),
            call = header("Call-ID:"),
        );
        socket.send_to(text.as_bytes(), address)?;
        Ok(())
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
        self.logs_named(".log")
    }

    fn logs_named(&self, end: &str) -> String {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return String::new();
        };
        entries
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|path| path.to_string_lossy().ends_with(end))
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .collect()
    }
}
