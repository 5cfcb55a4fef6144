//! The command line as clap sees it.
//!
//! Every value is optional here: what is missing comes from the environment (through clap), then from the
//! configuration file (see [`super::config`]), then from the defaults. Deliberately absent: any meaning of a
//! value beyond its syntax.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  meet create standup                  make a meeting, join it, print its address
  meet join standup                    join it from another terminal or machine
  meet list                            what is going on
  meet join standup --headless --json --mic tone:440 --speaker file:heard.wav --duration 10
  meet call sip:alice@192.0.2.7        ring a person
  meet cancel standup                  end the meeting for everybody

Exit codes: 0 done, 1 internal fault, 2 usage or configuration, 3 network, 4 refused, 5 sound.";

/// A softphone for the terminal: meetings and calls over SIP.
#[derive(Debug, Parser)]
#[command(name = "meet", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// Settings that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalArgs {
    /// SIP address of the server [default: 127.0.0.1:5060]
    #[arg(long, global = true, env = "MEET_SERVER", value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// Address of the server's API [default: what the server names in its answer to OPTIONS]
    #[arg(long, global = true, env = "MEET_API", value_name = "URL")]
    pub api: Option<String>,
    /// Name that others see [default: the account's user, or your login name]
    #[arg(long, global = true, env = "MEET_NAME")]
    pub name: Option<String>,
    /// Account on the server
    #[arg(long, global = true, env = "MEET_USER")]
    pub user: Option<String>,
    /// File whose first line is the account's password (or set MEET_PASSWORD)
    #[arg(long, global = true, env = "MEET_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// SIP transport [default: what the server's DNS records say, else udp]
    #[arg(long, global = true, env = "MEET_TRANSPORT", value_enum)]
    pub transport: Option<TransportChoice>,
    /// Name server to ask in place of the system's
    #[arg(long, global = true, env = "MEET_DNS", value_name = "ADDR[:PORT]")]
    pub dns: Option<String>,
    /// Print JSON lines on standard output (event names: client/README.md)
    #[arg(long, global = true)]
    pub json: bool,
    /// Configuration file [default: meet/config.toml in the XDG configuration directory]
    #[arg(long, global = true, env = "MEET_CLIENT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Log filter for standard error, such as debug or meet_client=trace [default: warn]
    #[arg(long, global = true, env = "MEET_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a meeting and join it
    #[command(
        after_help = "Examples:\n  meet create\n  meet create standup --name Ada\n  meet create standup --no-join --json"
    )]
    Create(CreateArgs),
    /// Show the meetings of the server
    #[command(after_help = "Examples:\n  meet list\n  meet list --json --server 192.0.2.7:5060")]
    List,
    /// Join a meeting
    #[command(
        after_help = "Examples:\n  meet join standup\n  meet join sip:standup@192.0.2.7:5060 --mic none\n  meet join standup --headless --json --mic file:hello.wav:loop --speaker file:heard.wav"
    )]
    Join(JoinArgs),
    /// End a meeting for everybody
    #[command(after_help = "Examples:\n  meet cancel standup\n  meet cancel standup --token 3f9a…")]
    Cancel(CancelArgs),
    /// Stay registered, so that others can call this account
    #[command(
        after_help = "Examples:\n  meet register --user ada --password-file ~/.meet-password\n  meet register --user ada --answer --headless\n  meet register --user ada --once"
    )]
    Register(RegisterArgs),
    /// Call a person or any SIP address
    #[command(
        after_help = "Examples:\n  meet call sip:alice@192.0.2.7\n  meet call sip:100@pbx.example.org --codec pcma,pcmu"
    )]
    Call(CallArgs),
    /// Show microphones and loudspeakers
    #[command(after_help = "Examples:\n  meet devices\n  meet devices --json")]
    Devices,
}

/// `meet create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the meeting [default: the server chooses]
    #[arg(value_name = "ROOM")]
    pub room: Option<String>,
    /// Only create it: print its address and the creator's token, and end
    #[arg(long)]
    pub no_join: bool,
    /// Audio and interface.
    #[command(flatten)]
    pub audio: AudioArgs,
}

/// `meet join`.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// Name of the meeting, or its whole address
    #[arg(value_name = "ROOM|sip:URI")]
    pub target: String,
    /// Audio and interface.
    #[command(flatten)]
    pub audio: AudioArgs,
}

/// `meet cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// Name of the meeting
    pub room: String,
    /// The creator's token [default: remembered by `meet create`]
    #[arg(long, env = "MEET_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// `meet register`.
#[derive(Debug, Args)]
pub struct RegisterArgs {
    /// Register once, print the result and end (the registration runs out by itself)
    #[arg(long)]
    pub once: bool,
    /// Answer incoming calls
    #[arg(long)]
    pub answer: bool,
    /// Seconds to ask the registrar for
    #[arg(long, default_value_t = 600, value_name = "SECS")]
    pub expires: u32,
    /// Audio and interface.
    #[command(flatten)]
    pub audio: AudioArgs,
}

/// `meet call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// Whom to call
    #[arg(value_name = "sip:URI")]
    pub target: String,
    /// Audio and interface.
    #[command(flatten)]
    pub audio: AudioArgs,
}

/// Audio and interface settings of the commands that carry sound.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Sound and interface")]
pub struct AudioArgs {
    /// What others hear: default, none, silence, tone[:HZ], file:PATH.wav[:loop], or a device's name
    #[arg(long, env = "MEET_MIC", value_name = "SOURCE")]
    pub mic: Option<MicSpec>,
    /// Where the meeting is heard: default, none, file:PATH.wav, or a device's name
    #[arg(long, env = "MEET_SPEAKER", value_name = "SINK")]
    pub speaker: Option<SpeakerSpec>,
    /// Also write what is heard into this WAV file
    #[arg(long, value_name = "FILE.wav")]
    pub record: Option<PathBuf>,
    /// Codecs in order of preference
    #[arg(
        long,
        env = "MEET_CODEC",
        value_enum,
        value_delimiter = ',',
        value_name = "CODEC"
    )]
    pub codec: Vec<CodecChoice>,
    /// Protect the sound by SRTP: off, optional (if the other side can), required [default: optional]
    #[arg(
        long,
        env = "MEET_SRTP",
        value_enum,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "required"
    )]
    pub srtp: Option<SrtpChoice>,
    /// Start with the microphone off
    #[arg(long)]
    pub muted: bool,
    /// No echo cancellation and noise suppression
    #[arg(long, env = "MEET_NO_AEC")]
    pub no_aec: bool,
    /// Leave after this many seconds in the call
    #[arg(long, value_name = "SECS")]
    pub duration: Option<u64>,
    /// No terminal interface: print events (implied where standard output is no terminal)
    #[arg(long)]
    pub headless: bool,
    /// Digits to send (DTMF) once in the call
    #[arg(long, value_name = "DIGITS")]
    pub dtmf: Option<String>,
}

/// SIP transports that `meet` speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportChoice {
    /// Datagrams.
    Udp,
    /// One stream to the server.
    Tcp,
}

impl TransportChoice {
    /// The name as it is written on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// When sound is protected by SRTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SrtpChoice {
    /// Never.
    Off,
    /// If the other side can.
    #[default]
    Optional,
    /// Always; a call without it is not made.
    Required,
}

/// Codecs that `meet` offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodecChoice {
    /// Opus, 48 kHz.
    Opus,
    /// G.722, 16 kHz.
    G722,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// Where the sound that others hear comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum MicSpec {
    /// The system's default microphone.
    Default,
    /// A device by (part of) its name.
    Device(String),
    /// Nothing; the stream carries silence, and no device is opened.
    None,
    /// Digital silence.
    Silence,
    /// A sine of this frequency in hertz.
    Tone(f32),
    /// A WAV file, once or over and over.
    File {
        /// The file.
        path: PathBuf,
        /// Start again at its end.
        repeat: bool,
    },
}

impl FromStr for MicSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "" => {
                return Err(
                    "expected default, none, silence, tone[:HZ], file:PATH.wav[:loop] or a name".into(),
                );
            }
            "default" => Self::Default,
            "none" => Self::None,
            "silence" => Self::Silence,
            "tone" => Self::Tone(440.0),
            _ => {
                if let Some(hertz) = text.strip_prefix("tone:") {
                    let hertz: f32 = hertz
                        .parse()
                        .map_err(|_| "tone:HZ takes a number, as in tone:440")?;
                    if !(20.0..=20_000.0).contains(&hertz) {
                        return Err("a tone lies between 20 and 20000 Hz".into());
                    }
                    Self::Tone(hertz)
                } else if let Some(rest) = text.strip_prefix("file:") {
                    let (path, repeat) = rest
                        .strip_suffix(":loop")
                        .map_or((rest, false), |path| (path, true));
                    if path.is_empty() {
                        return Err("file: takes a path, as in file:hello.wav".into());
                    }
                    Self::File {
                        path: path.into(),
                        repeat,
                    }
                } else {
                    Self::Device(text.to_owned())
                }
            }
        })
    }
}

/// Where the meeting is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpeakerSpec {
    /// The system's default loudspeaker.
    Default,
    /// A device by (part of) its name.
    Device(String),
    /// Nowhere.
    None,
    /// A WAV file, 48 kHz mono, 16 bit.
    File(PathBuf),
}

impl FromStr for SpeakerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "" | "file:" => return Err("expected default, none, file:PATH.wav or a name".into()),
            "default" => Self::Default,
            "none" => Self::None,
            _ => match text.strip_prefix("file:") {
                Some(path) => Self::File(path.into()),
                None => Self::Device(text.to_owned()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn globals_may_stand_anywhere() {
        let cli = Cli::try_parse_from(["meet", "join", "standup", "--server", "h:5060", "--json"]).unwrap();
        assert_eq!(cli.global.server.as_deref(), Some("h:5060"));
        assert!(cli.global.json);
        assert!(matches!(cli.command, Command::Join(JoinArgs { target, .. }) if target == "standup"));
    }

    #[test]
    fn sources_parse() {
        assert_eq!("tone".parse(), Ok(MicSpec::Tone(440.0)));
        assert_eq!("tone:1000".parse(), Ok(MicSpec::Tone(1000.0)));
        assert_eq!(
            "file:/a/b.wav".parse(),
            Ok(MicSpec::File {
                path: "/a/b.wav".into(),
                repeat: false
            })
        );
        assert_eq!(
            "file:b.wav:loop".parse(),
            Ok(MicSpec::File {
                path: "b.wav".into(),
                repeat: true
            })
        );
        assert_eq!("USB Headset".parse(), Ok(MicSpec::Device("USB Headset".into())));
        assert!("tone:5".parse::<MicSpec>().is_err());
        assert!("tone:x".parse::<MicSpec>().is_err());
        assert!("file:".parse::<MicSpec>().is_err());
    }

    #[test]
    fn sinks_parse() {
        assert_eq!("none".parse(), Ok(SpeakerSpec::None));
        assert_eq!("file:x.wav".parse(), Ok(SpeakerSpec::File("x.wav".into())));
        assert!("file:".parse::<SpeakerSpec>().is_err());
    }

    #[test]
    fn codecs_are_a_list() {
        let cli = Cli::try_parse_from(["meet", "call", "sip:a@b", "--codec", "pcma,opus"]).unwrap();
        let Command::Call(call) = cli.command else {
            panic!("not a call")
        };
        assert_eq!(call.audio.codec, [CodecChoice::Pcma, CodecChoice::Opus]);
        assert!(Cli::try_parse_from(["meet", "call", "sip:a@b", "--codec", "speex"]).is_err());
    }

    #[test]
    fn every_command_shows_examples() {
        use clap::CommandFactory;
        for command in Cli::command().get_subcommands() {
            assert!(
                command.get_after_help().is_some(),
                "{} has no examples",
                command.get_name()
            );
        }
    }
}
