//! Why the server does not start or stops, with the way out and the exit code for scripts.
//!
//! Deliberately absent: errors of a single call or packet; those end in an answer on the wire.

use crate::config::ConfigError;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What keeps the process from serving.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address is taken or not ours.
    #[error("cannot listen on {what} {address}: {source}. {}", listen_hint(source))]
    Listen {
        /// "SIP" or "HTTP".
        what: &'static str,
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}: {source}. Give a folder that this user may write: --data-dir DIR", path.display())]
    DataDir {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another server holds the data folder.
    #[error("the data folder {} is used by another meet-server. End that one, or give another folder: --data-dir DIR", path.display())]
    DataDirLocked {
        /// Which folder.
        path: PathBuf,
    },
    /// The database cannot be opened.
    #[error("cannot open the database in {}: {source}. Free some disk space, or move the file away to start anew", path.display())]
    Store {
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        source: crate::store::StoreError,
    },
    /// The capture file cannot be written.
    #[error("cannot write the capture {}: {source}. Give another file: --capture FILE", path.display())]
    Capture {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A user command failed.
    #[error("{0}")]
    User(#[from] UserError),
    /// The system refuses a thread, timer or descriptor.
    #[error("the system refuses what the server needs: {0}. Look at `ulimit -n` and `ulimit -u`")]
    System(#[from] std::io::Error),
}

/// Why an account command fails.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Not usable as the user part of a SIP address.
    #[error("`{0}` is not a user name: use letters, digits and . _ - + (64 at most)")]
    Name(String),
    /// Nothing was given as password.
    #[error("the password is empty")]
    EmptyPassword,
    /// The two entries differ.
    #[error("the two passwords differ")]
    Mismatch,
    /// There is no such account.
    #[error("there is no account `{0}`; `meet-server user list` shows all")]
    Unknown(String),
    /// The password cannot be read.
    #[error("cannot read the password: {0}")]
    Read(std::io::Error),
}

impl StartError {
    /// The process's exit code, as documented in `--help`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::User(_) => 2,
            Self::Listen { .. } => 3,
            Self::DataDir { .. } | Self::DataDirLocked { .. } | Self::Store { .. } | Self::Capture { .. } => {
                4
            }
            Self::System(_) => 1,
        }
    }
}

fn listen_hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            "Another program uses this port (`ss -tulpn` shows which): end it, or choose another port, or 0 for any"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "This address is not one of this machine's (`ip address` shows them); 0.0.0.0 takes all"
        }
        std::io::ErrorKind::PermissionDenied => {
            "Ports below 1024 need a privilege: choose a higher port, or give CAP_NET_BIND_SERVICE"
        }
        _ => "Check the address",
    }
}
