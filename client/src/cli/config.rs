//! One effective configuration: flags before environment (clap merges these two) before the file before
//! the defaults.
//!
//! Unknown keys in the file are refused with their line, so that a typo never goes unnoticed. Deliberately
//! absent: passwords in the file as such; it names a `password_file` instead.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::args::{AudioArgs, CodecChoice, GlobalArgs, MicSpec, SpeakerSpec, SrtpChoice, TransportChoice};
use crate::error::MeetError;

/// The file `config.toml`: every key is optional.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// `--server`
    pub server: Option<String>,
    /// `--api`
    pub api: Option<String>,
    /// `--name`
    pub name: Option<String>,
    /// `--user`
    pub user: Option<String>,
    /// `--password-file`
    pub password_file: Option<PathBuf>,
    /// `--transport`
    pub transport: Option<TransportChoice>,
    /// `--dns`
    pub dns: Option<String>,
    /// `--log`
    pub log: Option<String>,
    /// `--mic`
    pub mic: Option<String>,
    /// `--speaker`
    pub speaker: Option<String>,
    /// `--codec`
    pub codec: Option<Vec<CodecChoice>>,
    /// `--srtp`
    pub srtp: Option<SrtpChoice>,
    /// Echo cancellation and noise suppression; false is `--no-aec`
    pub aec: Option<bool>,
}

/// The effective settings of every command.
#[derive(Debug, Clone)]
pub struct Settings {
    /// SIP address of the server, with port.
    pub server: ServerAddress,
    /// Whether the user named the server; else an address that is called names it.
    pub server_given: bool,
    /// The API's address, where one was given.
    pub api: Option<String>,
    /// Name that others see.
    pub name: String,
    /// Account, where there is one.
    pub login: Option<Login>,
    /// SIP transport; without one the server's DNS records tell it, and else it is UDP (RFC 3263 §4.1).
    pub transport: Option<TransportChoice>,
    /// Name server to ask in place of the system's.
    pub dns: Option<SocketAddr>,
    /// JSON lines on standard output.
    pub json: bool,
    /// Log filter.
    pub log: String,
    /// What the file says about sound; merged by [`Settings::audio`].
    file: FileConfig,
}

/// The name and port of the SIP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// Port; the standard one where none was given.
    pub port: u16,
    /// Whether the user gave it: then no SRV record is asked for (RFC 3263 §4.2).
    pub port_given: bool,
}

/// User and password.
#[derive(Clone)]
pub struct Login {
    /// Digest user name and user part of the address of record.
    pub user: String,
    /// Password; empty where none was given.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// The effective sound settings of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioSettings {
    /// Source.
    pub mic: MicSpec,
    /// Sink.
    pub speaker: SpeakerSpec,
    /// A recording of what is heard, beside the sink.
    pub record: Option<PathBuf>,
    /// Codecs, best first; never empty.
    pub codecs: Vec<CodecChoice>,
    /// When it is protected.
    pub srtp: SrtpChoice,
    /// Start with the microphone off.
    pub muted: bool,
    /// Echo cancellation where both ends are devices.
    pub aec: bool,
    /// Leave after this time.
    pub duration: Option<Duration>,
    /// No terminal interface.
    pub headless: bool,
    /// Digits to send once in the call.
    pub dtmf: Option<String>,
}

/// All codecs, in the order in which they are offered by default.
pub const DEFAULT_CODECS: [CodecChoice; 4] = [
    CodecChoice::Opus,
    CodecChoice::G722,
    CodecChoice::Pcmu,
    CodecChoice::Pcma,
];

impl Settings {
    /// Merges flags and environment (already in `args`) with the configuration file.
    pub fn load(args: &GlobalArgs) -> Result<Self, MeetError> {
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None => match default_path() {
                Some(path) if path.exists() => read_file(&path)?,
                _ => FileConfig::default(),
            },
        };
        Self::merge(args, file, std::env::var("MEET_PASSWORD").ok())
    }

    /// The merge itself; `password` is the environment's.
    pub fn merge(args: &GlobalArgs, file: FileConfig, password: Option<String>) -> Result<Self, MeetError> {
        let server = args
            .server
            .as_deref()
            .or(file.server.as_deref())
            .unwrap_or("127.0.0.1:5060");
        let user = args.user.clone().or_else(|| file.user.clone());
        let password_file = args.password_file.as_ref().or(file.password_file.as_ref());
        let password = match (&args.password_file, password, password_file) {
            (Some(path), _, _) | (None, None, Some(path)) => first_line(path)?,
            (None, Some(password), _) => password,
            (None, None, None) => String::new(),
        };
        let login = user.map(|user| Login { user, password });
        let name = args
            .name
            .clone()
            .or_else(|| file.name.clone())
            .or_else(|| login.as_ref().map(|login| login.user.clone()))
            .or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()))
            .unwrap_or_else(|| "guest".to_owned());
        Ok(Self {
            server: server.parse()?,
            server_given: args.server.is_some() || file.server.is_some(),
            api: args.api.clone().or_else(|| file.api.clone()),
            name,
            login,
            transport: args.transport.or(file.transport),
            dns: args
                .dns
                .as_deref()
                .or(file.dns.as_deref())
                .map(name_server)
                .transpose()?,
            json: args.json,
            log: args
                .log
                .clone()
                .or_else(|| file.log.clone())
                .unwrap_or_else(|| "warn".to_owned()),
            file,
        })
    }

    /// The sound settings of a command.
    pub fn audio(&self, args: &AudioArgs) -> Result<AudioSettings, MeetError> {
        let mic = match (&args.mic, &self.file.mic) {
            (Some(mic), _) => mic.clone(),
            (None, Some(text)) => parse_key("mic", text)?,
            (None, None) => MicSpec::Default,
        };
        let speaker = match (&args.speaker, &self.file.speaker) {
            (Some(speaker), _) => speaker.clone(),
            (None, Some(text)) => parse_key("speaker", text)?,
            (None, None) => SpeakerSpec::Default,
        };
        let mut codecs: Vec<CodecChoice> = Vec::new();
        let wanted = if args.codec.is_empty() {
            self.file.codec.as_deref().unwrap_or(&[])
        } else {
            &args.codec
        };
        for codec in if wanted.is_empty() {
            &DEFAULT_CODECS
        } else {
            wanted
        } {
            if !codecs.contains(codec) {
                codecs.push(*codec);
            }
        }
        if let Some(digits) = &args.dtmf
            && let Some(bad) = digits
                .chars()
                .find(|c| !matches!(c, '0'..='9' | '*' | '#' | 'A'..='D'))
        {
            return Err(MeetError::BadValue {
                what: "--dtmf",
                value: bad.to_string(),
                hint: "digits are 0-9, *, # and A-D",
            });
        }
        Ok(AudioSettings {
            mic,
            speaker,
            record: args.record.clone(),
            codecs,
            srtp: args.srtp.or(self.file.srtp).unwrap_or_default(),
            muted: args.muted,
            aec: !args.no_aec && self.file.aec.unwrap_or(true),
            duration: args.duration.map(Duration::from_secs),
            headless: args.headless,
            dtmf: args.dtmf.clone(),
        })
    }
}

impl std::str::FromStr for ServerAddress {
    type Err = MeetError;

    /// Takes `host`, `host:port`, `[v6]`, `[v6]:port` and a bare IPv6 address.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || MeetError::BadValue {
            what: "--server",
            value: text.to_owned(),
            hint: "it is HOST:PORT, as in 192.0.2.7:5060 or [2001:db8::1]:5060",
        };
        let trimmed = text.strip_prefix("sip:").unwrap_or(text);
        let (host, port) = if let Some(rest) = trimmed.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
            (host, rest.strip_prefix(':'))
        } else if trimmed.parse::<std::net::Ipv6Addr>().is_ok() {
            (trimmed, None)
        } else {
            match trimmed.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (trimmed, None),
            }
        };
        if host.is_empty() || host.contains(['/', '@', ' ', ':']) && !host.contains("::") {
            return Err(bad());
        }
        let port_given = port.is_some();
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?,
            None => 5060,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            port_given,
        })
    }
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uri_host(), self.port)
    }
}

impl ServerAddress {
    /// The host as a SIP URI wants it: IPv6 in brackets.
    pub fn uri_host(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }

    /// `host` or `host:port` of a SIP URI: the port is left out where it is the standard one.
    pub fn uri_host_port(&self) -> String {
        if self.port == 5060 {
            self.uri_host()
        } else {
            self.to_string()
        }
    }
}

/// An address with or without a port.
fn name_server(text: &str) -> Result<SocketAddr, MeetError> {
    let bad = |_| MeetError::BadValue {
        what: "--dns",
        value: text.to_owned(),
        hint: "it is an address, as in 192.0.2.53 or [2001:db8::53]:5353",
    };
    text.parse()
        .or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53)))
        .map_err(bad)
}

/// Where the configuration file lies by default.
pub fn default_path() -> Option<PathBuf> {
    super::folders::config().map(|folder| folder.join("config.toml"))
}

fn read_file(path: &Path) -> Result<FileConfig, MeetError> {
    let text = std::fs::read_to_string(path).map_err(|source| MeetError::ReadFile {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| MeetError::ConfigSyntax {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn first_line(path: &Path) -> Result<String, MeetError> {
    let text = std::fs::read_to_string(path).map_err(|source| MeetError::ReadFile {
        path: path.to_owned(),
        source,
    })?;
    Ok(text.lines().next().unwrap_or("").to_owned())
}

fn parse_key<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, MeetError> {
    text.parse().map_err(|_| MeetError::BadValue {
        what,
        value: text.to_owned(),
        hint: "see `meet join --help` for what it may be",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_is_tried_unless_told_otherwise() {
        use clap::Parser;
        let of = |words: &[&str], text: &str| {
            let words = [&["meet", "join", "blue"], words].concat();
            let cli = crate::cli::args::Cli::try_parse_from(words).unwrap();
            let settings = Settings::merge(&cli.global, file(text), None).unwrap();
            let crate::cli::args::Command::Join(join) = cli.command else {
                panic!("not join")
            };
            settings.audio(&join.audio).unwrap().srtp
        };
        assert_eq!(of(&[], ""), SrtpChoice::Optional);
        assert_eq!(of(&["--srtp"], ""), SrtpChoice::Required);
        assert_eq!(of(&["--srtp=off"], "srtp = \"required\""), SrtpChoice::Off);
        assert_eq!(of(&[], "srtp = \"required\""), SrtpChoice::Required);
    }

    fn file(text: &str) -> FileConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let from_file = file("server = \"file:5070\"\nname = \"File\"\ntransport = \"tcp\"\n");
        let args = GlobalArgs {
            name: Some("Flag".into()),
            ..GlobalArgs::default()
        };
        let settings = Settings::merge(&args, from_file, None).unwrap();
        assert_eq!(settings.name, "Flag");
        assert_eq!(
            settings.server,
            ServerAddress {
                host: "file".into(),
                port: 5070,
                port_given: true,
            }
        );
        assert_eq!(settings.transport, Some(TransportChoice::Tcp));
        let settings = Settings::merge(&GlobalArgs::default(), FileConfig::default(), None).unwrap();
        assert_eq!(settings.server.to_string(), "127.0.0.1:5060");
        assert_eq!(settings.transport, None);
    }

    #[test]
    fn a_password_file_named_by_flag_wins_over_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "hunter2\nnot this\n").unwrap();
        let args = GlobalArgs {
            user: Some("ada".into()),
            password_file: Some(path.clone()),
            ..GlobalArgs::default()
        };
        let login = Settings::merge(&args, FileConfig::default(), Some("env".into()))
            .unwrap()
            .login
            .unwrap();
        assert_eq!(login.password, "hunter2");
        assert!(
            !format!("{login:?}").contains("hunter2"),
            "a password must not be printable"
        );
        let args = GlobalArgs {
            user: Some("ada".into()),
            ..GlobalArgs::default()
        };
        let with_file = FileConfig {
            password_file: Some(path),
            ..FileConfig::default()
        };
        let login = Settings::merge(&args, with_file, Some("env".into()))
            .unwrap()
            .login
            .unwrap();
        assert_eq!(login.password, "env", "environment wins over the file");
    }

    #[test]
    fn sound_settings_merge() {
        let from_file =
            file("mic = \"tone:300\"\nspeaker = \"none\"\ncodec = [\"pcmu\", \"pcmu\"]\naec = false\n");
        let settings = Settings::merge(&GlobalArgs::default(), from_file, None).unwrap();
        let audio = settings.audio(&AudioArgs::default()).unwrap();
        assert_eq!(audio.mic, MicSpec::Tone(300.0));
        assert_eq!(audio.speaker, SpeakerSpec::None);
        assert_eq!(audio.codecs, [CodecChoice::Pcmu], "doubles are dropped");
        assert!(!audio.aec);
        let args = AudioArgs {
            mic: Some(MicSpec::None),
            codec: vec![CodecChoice::G722],
            ..AudioArgs::default()
        };
        let audio = settings.audio(&args).unwrap();
        assert_eq!(
            (audio.mic, audio.codecs),
            (MicSpec::None, vec![CodecChoice::G722])
        );
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused_with_their_place() {
        let error = toml::from_str::<FileConfig>("server = \"a\"\nservr = \"b\"\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2") && error.contains("servr"), "{error}");
        let settings = Settings::merge(&GlobalArgs::default(), file("mic = \"tone:1\"\n"), None).unwrap();
        assert!(settings.audio(&AudioArgs::default()).is_err());
        let args = AudioArgs {
            dtmf: Some("12x".into()),
            ..AudioArgs::default()
        };
        let settings = Settings::merge(&GlobalArgs::default(), FileConfig::default(), None).unwrap();
        assert!(settings.audio(&args).is_err());
    }

    #[test]
    fn name_servers() {
        for (text, shown) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("::1", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(name_server(text).unwrap().to_string(), shown);
        }
        assert!(name_server("dns.example").is_err());
    }

    #[test]
    fn server_addresses() {
        for (text, host, port, shown) in [
            ("h", "h", 5060, "h:5060"),
            ("h:5070", "h", 5070, "h:5070"),
            ("[::1]:5070", "::1", 5070, "[::1]:5070"),
            ("::1", "::1", 5060, "[::1]:5060"),
            ("[2001:db8::1]", "2001:db8::1", 5060, "[2001:db8::1]:5060"),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(
                (address.host.as_str(), address.port, address.to_string().as_str()),
                (host, port, shown)
            );
        }
        for bad in ["", ":5060", "h:0", "h:99999", "h:x", "[::1", "http://h", "a b"] {
            assert!(bad.parse::<ServerAddress>().is_err(), "{bad}");
        }
    }
}
