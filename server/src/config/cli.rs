//! The command line of `meet-server`. Flags override the environment, which overrides the file.

use super::{Config, HttpListen, LogFormat};
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  Try it on this machine, nothing to set up:
    meet-server --lan --listen 127.0.0.1:5060 --http 127.0.0.1:8080 --data-dir /tmp/meet
  For everybody on the local network (phones dial sip:anything@THIS-HOST):
    meet-server --lan --listen 0.0.0.0:5060
  With accounts:
    meet-server user add alice        (asks for the password)
    meet-server --config /etc/meet/server.toml
  See what is in force:
    meet-server --config /etc/meet/server.toml config

Every key of the file can be given in the environment as MEET_ + section + key:
  MEET_LAN=true MEET_MEETINGS_ENDED_HOLD_SECONDS=60 MEET_LISTEN=127.0.0.1:5060,[::1]:5060

On standard output there is one line once the server serves: ready sip=ADDR:PORT http=ADDR:PORT
(the log goes to standard error).

Exit codes: 0 ended by a signal; 1 failed while running; 2 wrong command line or configuration;
3 an address cannot be used; 4 the data folder cannot be used.";

/// SIP conference server: registrar, focus, audio mixer and API in one program.
#[derive(Debug, Parser)]
#[command(name = "meet-server", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// Configuration file (TOML); see server/config.example.toml
    #[arg(long, value_name = "FILE", env = "MEET_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Open mode for a local network: no accounts, any room name, private sources only
    #[arg(long, global = true)]
    pub lan: bool,
    /// SIP address for UDP and TCP; may be repeated; port 0: the system chooses [default: 0.0.0.0:5060]
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    pub listen: Vec<SocketAddr>,
    /// API address, or "off" [default: loopback, port 8080; with --lan the address of --listen; port 0 when
    /// the SIP port is 0]
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    pub http: Option<HttpListen>,
    /// Folder for the database [default: meet-data]
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Log filter, e.g. debug or meet_server=trace [default: info]
    #[arg(long, value_name = "FILTER", global = true)]
    pub log_level: Option<String>,
    /// Log format on standard error
    #[arg(long, value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
    /// Write all SIP (UDP), RTP and RTCP of the server into this pcapng file
    #[arg(long, value_name = "FILE", global = true)]
    pub capture: Option<PathBuf>,
    /// What to do; without it: serve
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the effective configuration as TOML
    Config {
        /// Print API tokens in clear
        #[arg(long)]
        show_secrets: bool,
    },
    /// Accounts
    #[command(subcommand)]
    User(UserCommand),
}

/// Account commands; they work while the server runs.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add an account or change its password
    Add {
        /// User part of the SIP address
        name: String,
        /// Read the password from the first line of standard input, without a prompt
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the accounts
    List,
    /// Remove an account and its registrations
    Remove {
        /// User part of the SIP address
        name: String,
    },
}

impl Cli {
    /// Puts the flags over `config`.
    pub fn apply(&self, config: &mut Config) {
        config.lan |= self.lan;
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if let Some(http) = self.http {
            config.http = http;
        }
        if let Some(dir) = &self.data_dir {
            config.data_dir.clone_from(dir);
        }
        if let Some(level) = &self.log_level {
            config.log.level.clone_from(level);
        }
        if let Some(format) = self.log_format {
            config.log.format = format;
        }
        if let Some(file) = &self.capture {
            config.capture.file.clone_from(file);
        }
    }
}
