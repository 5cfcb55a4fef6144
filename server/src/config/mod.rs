//! The server's one typed configuration: defaults, file, environment, flags, in that order.
//!
//! What and why: every knob stands here with its default and its unit, so that
//! `meet-server config` can print the effective set and `config.example.toml` can be held equal
//! to the defaults by a test. Unknown keys are refused with file and line: a mistyped security
//! setting must never be silently ignored. Deliberately absent: reloading at run time, and any
//! limit that guards memory (those are constants in the `limits` modules).

mod cli;
mod load;
mod overload;
mod protection;

pub use cli::{Cli, Command, UserCommand};
pub use load::{ConfigError, from_environment_names, load, load_from, to_toml};
pub use overload::OverloadConfig;
pub use protection::ProtectionConfig;

use serde::{Deserialize, Serialize};
use sip_proto::digest::Algorithm;
use sip_proto::sdp::offer_answer::SrtpPolicy;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Open mode for a local network: no accounts, any room name; only private sources.
    pub lan: bool,
    /// SIP addresses; each serves UDP and TCP. Port 0: the system chooses.
    pub listen: Vec<SocketAddr>,
    /// Where the HTTP API listens.
    pub http: HttpListen,
    /// Folder of the database and the lock file; created when missing.
    pub data_dir: PathBuf,
    /// Logging.
    pub log: LogConfig,
    /// SIP.
    pub sip: SipConfig,
    /// HTTP API.
    pub api: ApiConfig,
    /// Meetings.
    pub meetings: MeetingsConfig,
    /// RTP and the mixer.
    pub media: MediaConfig,
    /// Against floods and guessing.
    pub protection: ProtectionConfig,
    /// Refusing new calls when there is too much to do.
    pub overload: OverloadConfig,
    /// Packet capture of the server's own traffic.
    pub capture: CaptureConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lan: false,
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5060)],
            http: HttpListen::Auto,
            data_dir: PathBuf::from("meet-data"),
            log: LogConfig::default(),
            sip: SipConfig::default(),
            api: ApiConfig::default(),
            meetings: MeetingsConfig::default(),
            media: MediaConfig::default(),
            protection: ProtectionConfig::default(),
            overload: OverloadConfig::default(),
            capture: CaptureConfig::default(),
        }
    }
}

/// Where the API listens: `"auto"`, `"off"` or `"ADDR:PORT"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HttpListen {
    /// Port 8080 (0 where the first SIP port is 0) on loopback; with `lan` on the address of
    /// the first `listen`.
    Auto,
    /// No HTTP at all.
    Off,
    /// This address.
    At(SocketAddr),
}

/// A value of `http` that is none of the three forms.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not \"auto\", \"off\" or an address like 127.0.0.1:8080")]
pub struct HttpListenError(String);

impl std::str::FromStr for HttpListen {
    type Err = HttpListenError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            other => other
                .parse()
                .map(Self::At)
                .map_err(|_| HttpListenError(other.to_owned())),
        }
    }
}

impl TryFrom<String> for HttpListen {
    type Error = HttpListenError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HttpListen> for String {
    fn from(listen: HttpListen) -> Self {
        match listen {
            HttpListen::Auto => "auto".into(),
            HttpListen::Off => "off".into(),
            HttpListen::At(address) => address.to_string(),
        }
    }
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Filter in `tracing`'s syntax: `info`, `debug`, `meet_server=debug,sip_proto=trace`.
    pub level: String,
    /// Shape of a line.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Auto,
        }
    }
}

/// Shape of a log line on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Colours on a terminal, plain text elsewhere.
    Auto,
    /// Plain text.
    Human,
    /// One JSON object a line.
    Json,
}

/// SIP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SipConfig {
    /// Digest realm; part of every stored password hash, so a change makes all accounts void.
    pub realm: String,
    /// Host names that this server answers for; empty: any. Addresses are always accepted.
    pub domains: Vec<String>,
    /// Digest algorithms offered, the preferred one first: `SHA-256`, `SHA-512-256`, `MD5`.
    pub algorithms: Vec<String>,
    /// A TCP connection on which nothing came for so long is closed (dead peers are found earlier by probes).
    pub tcp_idle_seconds: u64,
    /// Requests of the server of more bytes than this (large rosters) leave UDP for TCP (RFC 3261 §18.1.1), and come
    /// back when the phone does not take TCP.
    pub stream_above_bytes: usize,
    /// TCP connections in all.
    pub tcp_connections: usize,
    /// TCP connections from one address.
    pub tcp_connections_per_address: usize,
    /// Longest registration granted.
    pub max_expires_seconds: u32,
    /// Shortest registration granted; less is answered 423.
    pub min_expires_seconds: u32,
}

impl Default for SipConfig {
    fn default() -> Self {
        Self {
            realm: "meet".into(),
            domains: Vec::new(),
            algorithms: vec!["SHA-256".into()],
            tcp_idle_seconds: 7200,
            stream_above_bytes: 1300,
            tcp_connections: 2000,
            tcp_connections_per_address: 200,
            max_expires_seconds: 3600,
            min_expires_seconds: 60,
        }
    }
}

/// HTTP API.
#[derive(Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Bearer tokens with full rights. Empty: without `lan` only health and version answer.
    pub tokens: Vec<String>,
    /// Further names under which the API may be addressed (the Host header).
    pub hosts: Vec<String>,
}

impl std::fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiConfig")
            .field("tokens", &self.tokens.len())
            .field("hosts", &self.hosts)
            .finish()
    }
}

/// Meetings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeetingsConfig {
    /// Rooms at once.
    pub max_rooms: usize,
    /// People in one room.
    pub max_members: usize,
    /// An ended meeting's name answers 410 for so long.
    pub ended_hold_seconds: u64,
    /// A room ends so long after its last member left.
    pub empty_grace_seconds: u64,
    /// A room that nobody has joined yet ends after so long.
    pub unused_grace_seconds: u64,
    /// A call rings (180) for so long before it is answered; 0: answered at once.
    pub ring_milliseconds: u64,
    /// A member without RTP for so long is asked by OPTIONS and removed when it is silent too.
    pub vanish_seconds: u64,
    /// A call that is not refreshed for so long ends, where the phone knows session timers (RFC 4028); 0: only where the
    /// phone asks for it.
    pub session_expires_seconds: u32,
    /// The shortest such time that a phone may ask for, at least 90.
    pub min_session_expires_seconds: u32,
    /// A short tone when somebody enters or leaves.
    pub join_tone: bool,
}

impl Default for MeetingsConfig {
    fn default() -> Self {
        Self {
            max_rooms: 500,
            max_members: 300,
            ended_hold_seconds: 600,
            empty_grace_seconds: 30,
            unused_grace_seconds: 43_200,
            ring_milliseconds: 0,
            vanish_seconds: 20,
            session_expires_seconds: 1800,
            min_session_expires_seconds: 90,
            join_tone: false,
        }
    }
}

/// RTP and the mixer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediaConfig {
    /// Media threads; 0: processors − 1, at least 1.
    pub shards: usize,
    /// Opus encoder complexity, 0 to 10.
    pub opus_complexity: u8,
    /// Opus bits per second of one encoder.
    pub opus_bitrate: u32,
    /// Talkers mixed at once; a CSRC list holds 15.
    pub talkers: usize,
    /// Bring every speaker to the same loudness.
    pub normalise: bool,
    /// SRTP, with keys in the SDP (RFC 4568).
    pub srtp: SrtpMode,
}

/// Whether media is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SrtpMode {
    /// With accounts as `required`, with `lan` as `optional`.
    Auto,
    /// Clear RTP only.
    Off,
    /// For who offers it.
    Optional,
    /// Who does not offer it is refused with 488.
    Required,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            shards: 0,
            opus_complexity: 5,
            opus_bitrate: 32_000,
            talkers: 15,
            normalise: true,
            srtp: SrtpMode::Auto,
        }
    }
}

/// Packet capture of the server's own traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// pcapng file that receives all SIP, RTP and RTCP; empty: no capture.
    pub file: PathBuf,
}

impl Config {
    /// The address of the API, if there is one (see [`HttpListen::Auto`]).
    pub fn http_address(&self) -> Option<SocketAddr> {
        match self.http {
            HttpListen::Off => None,
            HttpListen::At(address) => Some(address),
            HttpListen::Auto => {
                let first = self.listen.first()?;
                let ip = if self.lan {
                    first.ip()
                } else if first.is_ipv4() {
                    IpAddr::V4(Ipv4Addr::LOCALHOST)
                } else {
                    IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)
                };
                Some(SocketAddr::new(ip, if first.port() == 0 { 0 } else { 8080 }))
            }
        }
    }

    /// The digest algorithms by their types; the names were checked when the configuration was read.
    pub fn digest_algorithms(&self) -> Vec<Algorithm> {
        self.sip
            .algorithms
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect()
    }

    /// Whether media is protected (see [`SrtpMode::Auto`]).
    pub fn srtp_policy(&self) -> SrtpPolicy {
        match self.media.srtp {
            SrtpMode::Auto if !self.lan => SrtpPolicy::Required,
            SrtpMode::Auto | SrtpMode::Optional => SrtpPolicy::Optional,
            SrtpMode::Off => SrtpPolicy::Off,
            SrtpMode::Required => SrtpPolicy::Required,
        }
    }

    /// Media threads to start.
    pub fn shard_count(&self) -> usize {
        if self.media.shards > 0 {
            return self.media.shards;
        }
        std::thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).max(1))
    }

    /// The capture file, if any.
    pub fn capture_file(&self) -> Option<&std::path::Path> {
        (!self.capture.file.as_os_str().is_empty()).then_some(self.capture.file.as_path())
    }

    /// How long a silent TCP connection stays.
    pub fn tcp_idle(&self) -> Duration {
        Duration::from_secs(self.sip.tcp_idle_seconds)
    }

    /// The same configuration without what must not be shown.
    pub fn redacted(&self) -> Self {
        let mut copy = self.clone();
        for token in &mut copy.api.tokens {
            *token = "(hidden)".into();
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_follows_listen_in_lan_mode_only() {
        let mut config = Config {
            listen: vec!["192.0.2.1:5060".parse().unwrap()],
            ..Config::default()
        };
        assert_eq!(config.http_address(), Some("127.0.0.1:8080".parse().unwrap()));
        config.lan = true;
        assert_eq!(config.http_address(), Some("192.0.2.1:8080".parse().unwrap()));
        config.listen = vec!["[::1]:0".parse().unwrap()];
        assert_eq!(config.http_address(), Some("[::1]:0".parse().unwrap()));
        config.http = HttpListen::Off;
        assert_eq!(config.http_address(), None);
    }

    #[test]
    fn clear_media_with_accounts_takes_a_word() {
        let mut config = Config::default();
        assert_eq!(config.srtp_policy(), SrtpPolicy::Required);
        config.lan = true;
        assert_eq!(config.srtp_policy(), SrtpPolicy::Optional);
        config.media.srtp = SrtpMode::Required;
        assert_eq!(config.srtp_policy(), SrtpPolicy::Required);
        config.lan = false;
        for (mode, policy) in [
            (SrtpMode::Off, SrtpPolicy::Off),
            (SrtpMode::Optional, SrtpPolicy::Optional),
        ] {
            config.media.srtp = mode;
            assert_eq!(config.srtp_policy(), policy);
        }
    }

    #[test]
    fn tokens_never_show() {
        let mut config = Config::default();
        config.api.tokens = vec!["s3cret".into()];
        assert!(!format!("{config:?}").contains("s3cret"));
        assert!(!to_toml(&config.redacted()).unwrap().contains("s3cret"));
    }
}
