//! What can go wrong in `meet`, whose fault it is, and with which exit code the program ends.
//!
//! Every message says what to do next. Deliberately absent: errors of single packets, which are counted by
//! the media session instead.

use std::path::PathBuf;
use std::process::ExitCode;

/// Exit codes, documented in `client/README.md`. Scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// A fault of the program itself, or of the terminal.
    Internal = 1,
    /// Wrong flags, configuration or state.
    Usage = 2,
    /// Nobody answered, or the connection broke.
    Network = 3,
    /// The server or the called person said no.
    Refused = 4,
    /// A microphone, loudspeaker or sound file failed, or no codec was agreed.
    Media = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// A flag, variable or key has a value that cannot be used.
    #[error("{what}: {value:?} is not usable: {hint}")]
    BadValue {
        /// Which setting.
        what: &'static str,
        /// What it was set to.
        value: String,
        /// What would be right.
        hint: &'static str,
    },
    /// The configuration file cannot be read.
    #[error("cannot read {path}: {source}")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the state directory cannot be written.
    #[error("cannot write {path}: {source}")]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration file is not what it should be; the text carries line and column.
    #[error("{path}: {source}")]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// No token is known for a meeting that is to be ended.
    #[error(
        "no token is known for {room}; it was printed when the meeting was created: pass it by --token or MEET_TOKEN"
    )]
    NoToken {
        /// The meeting.
        room: String,
    },
    /// A host name does not resolve.
    #[error(
        "cannot find the host {host:?}: {source}; is the name right, or try an address such as 192.0.2.7:5060"
    )]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody answered in time.
    #[error(
        "no answer from {server} ({transport}): is meet-server running there? try `meet-server --lan --listen {server}`, or another --server or --transport"
    )]
    NoAnswer {
        /// Who was asked.
        server: String,
        /// By which transport.
        transport: &'static str,
    },
    /// A socket failed.
    #[error("{what} {address}: {source}")]
    Socket {
        /// What was attempted.
        what: &'static str,
        /// With which address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server does not say where its API is.
    #[error(
        "{server} answers, but names no API (no Call-Info with purpose=meet-api): pass its address by --api URL"
    )]
    NoApi {
        /// Who was asked.
        server: String,
    },
    /// The API could not be reached.
    #[error(
        "the API at {url} cannot be reached: {source}; it listens on loopback by default, so ask from the server's machine or pass --api"
    )]
    ApiUnreachable {
        /// Where.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The API refused.
    #[error(
        "the API at {url} answered {status}{}{}",
        detail.as_deref().map(|text| format!(": {text}")).unwrap_or_default(),
        if *status == 401 { "; put the API's token into MEET_API_TOKEN" } else { "" }
    )]
    ApiRefused {
        /// Where.
        url: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        detail: Option<String>,
    },
    /// The API's answer makes no sense to this version.
    #[error("the API at {url} answered something unexpected: {source}")]
    ApiAnswer {
        /// Where.
        url: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The call was not accepted.
    #[error("{target} refused: {status} {reason}{}", refusal_hint(*status))]
    Refused {
        /// Who.
        target: String,
        /// SIP status.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// No SIP registration.
    #[error("the registrar {server} refused: {status} {reason}{}", refusal_hint(*status))]
    RegistrationRefused {
        /// Who.
        server: String,
        /// SIP status.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// The signalling core refused a command: a fault of this program.
    #[error("signalling: {0}")]
    Signalling(#[from] crate::call::CallError),
    /// Sound failed.
    #[error(transparent)]
    Media(#[from] crate::media::MediaError),
    /// The terminal failed.
    #[error("the terminal cannot be used: {0}; try --headless")]
    Terminal(std::io::Error),
    /// The operating system refused something basic.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl MeetError {
    /// The exit code that belongs to this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::BadValue { .. }
            | Self::ReadFile { .. }
            | Self::WriteFile { .. }
            | Self::ConfigSyntax { .. }
            | Self::NoToken { .. } => Exit::Usage,
            Self::Resolve { .. }
            | Self::NoAnswer { .. }
            | Self::Socket { .. }
            | Self::NoApi { .. }
            | Self::ApiUnreachable { .. } => Exit::Network,
            Self::ApiRefused { .. }
            | Self::ApiAnswer { .. }
            | Self::Refused { .. }
            | Self::RegistrationRefused { .. } => Exit::Refused,
            Self::Media(_) => Exit::Media,
            Self::Signalling(_) | Self::Terminal(_) | Self::System { .. } => Exit::Internal,
        }
    }
}

/// What a person can do about a SIP refusal.
fn refusal_hint(status: u16) -> &'static str {
    match status {
        401 | 407 => "; pass --user and --password-file (or MEET_PASSWORD)",
        403 => "; is the password right? else this account or network may not do that",
        404 => "; there is no such meeting or person: see `meet list`",
        408 | 480 => "; nobody answered",
        410 => "; that meeting has ended",
        415 | 488 | 606 => "; no common codec: try --codec opus,pcmu",
        486 | 600 => "; busy",
        503 => "; the server is full or shutting down: try again later",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_way_out() {
        let error = MeetError::NoAnswer {
            server: "127.0.0.1:5060".into(),
            transport: "udp",
        };
        assert!(error.to_string().contains("is meet-server running"));
        assert_eq!(error.exit(), Exit::Network);
        let error = MeetError::Refused {
            target: "sip:a@b".into(),
            status: 404,
            reason: "Not Found".into(),
        };
        assert!(error.to_string().contains("meet list"));
        assert_eq!(error.exit(), Exit::Refused);
    }
}
