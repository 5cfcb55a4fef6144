//! Debian's baresip as a peer: own configuration folder, tone or file as microphone, what it hears
//! recorded by its sndfile module, driven through ctrl_tcp (JSON in netstrings).
//!
//! Absent on purpose: accounts that register; the tests that need one write it with [`Options::account`].

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Process, ProcessError, wait_for};
use crate::tone::{Recording, write_tone};

/// How long baresip may take to start or to answer a command.
const PATIENCE: Duration = Duration::from_secs(15);

/// Length of a tone that is played from a file: longer than any test.
const TONE_SECONDS: f32 = 180.0;

/// What goes wrong with a baresip.
#[derive(Debug, thiserror::Error)]
pub enum BaresipError {
    /// The program did not start or said nothing.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its folder or its control connection failed.
    #[error("baresip: {0}")]
    Io(#[from] std::io::Error),
    /// An event did not come.
    #[error("baresip {user}: no event {wanted} within {waited:?}; events so far: {seen:?}")]
    NoEvent {
        /// Who.
        user: String,
        /// The event's type.
        wanted: String,
        /// How long.
        waited: Duration,
        /// The types seen.
        seen: Vec<String>,
    },
    /// It wrote no recording.
    #[error("baresip {0}: no recording of what it heard")]
    NoRecording(String),
    /// Its recording can't be read.
    #[error(transparent)]
    Wav(#[from] crate::tone::WavError),
}

/// How to start one.
#[derive(Debug, Clone)]
pub struct Options {
    /// The user part of its address and its name.
    pub user: String,
    /// `opus/48000/2`, `PCMU/8000/1` …
    pub codec: String,
    /// The tone it sends, in hertz.
    pub tone: u32,
    /// A WAV file to send instead of the tone (16 bit mono at the codec's rate).
    pub file: Option<PathBuf>,
    /// The address that SIP binds.
    pub address: std::net::IpAddr,
    /// The whole account line, in place of the plain one.
    pub account: Option<String>,
    /// `srtp` (keys under RTP/AVP) or `srtp-mand` (RTP/SAVP).
    pub encryption: Option<String>,
    /// Network namespace to run in.
    pub namespace: Option<String>,
}

impl Options {
    /// A baresip on loopback that sends `tone` hertz in `codec`.
    pub fn new(user: &str, codec: &str, tone: u32) -> Self {
        Self {
            user: user.to_owned(),
            codec: codec.to_owned(),
            tone,
            file: None,
            address: Ipv4Addr::LOCALHOST.into(),
            account: None,
            encryption: None,
            namespace: None,
        }
    }
}

/// A running baresip.
pub struct Baresip {
    user: String,
    folder: PathBuf,
    control: TcpStream,
    unread: Vec<u8>,
    events: Vec<serde_json::Value>,
    process: Process,
}

impl Baresip {
    /// Starts one with its files under `folder`.
    pub fn start(folder: &Path, options: &Options) -> Result<Self, BaresipError> {
        let folder = folder.join(format!("baresip-{}", options.user));
        let recordings = folder.join("rec");
        std::fs::create_dir_all(&recordings)?;
        // Asked of the system; baresip takes no port 0 here.
        let control_port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut options = options.clone();
        if options.file.is_none() && !options.codec.starts_with("opus") {
            let file = folder.join("tone.wav");
            write_tone(&file, 8_000, options.tone as f32, TONE_SECONDS, 0.3)?;
            options.file = Some(file);
        }
        let options = &options;
        std::fs::write(folder.join("config"), config(options, control_port, &recordings))?;
        let account = options.account.clone().unwrap_or_else(|| {
            let encryption = options
                .encryption
                .as_ref()
                .map_or(String::new(), |kind| format!(";mediaenc={kind}"));
            format!(
                "\"{0}\" <sip:{0}@{1}>;regint=0;answermode=auto;audio_codecs={2}{encryption}",
                options.user, options.address, options.codec
            )
        });
        std::fs::write(folder.join("accounts"), account + "\n")?;
        std::fs::write(folder.join("contacts"), "")?;
        let mut command = match &options.namespace {
            None => Command::new("baresip"),
            Some(name) => {
                let mut inside = Command::new("ip");
                inside.args(["netns", "exec", name, "baresip"]);
                inside
            }
        };
        command.arg("-f").arg(&folder);
        let process = Process::start(command)?;
        process.wait_line("baresip is ready", PATIENCE)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, control_port));
        let control = match &options.namespace {
            None => TcpStream::connect(address)?,
            Some(name) => crate::namespace::inside(name, || TcpStream::connect(address))?,
        };
        control.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(Self {
            user: options.user.clone(),
            folder,
            control,
            unread: Vec::new(),
            events: Vec::new(),
            process,
        })
    }

    /// Sends a command of baresip's, such as `dial`, `hangup`, `hold`, `resume`.
    pub fn command(&mut self, command: &str, parameters: &str) -> Result<(), BaresipError> {
        let json =
            serde_json::json!({"command": command, "params": parameters, "token": command}).to_string();
        self.control
            .write_all(format!("{}:{json},", json.len()).as_bytes())?;
        Ok(())
    }

    /// Dials `uri` and waits until the call is established.
    pub fn call(&mut self, uri: &str) -> Result<(), BaresipError> {
        self.command("dial", uri)?;
        self.wait_event("CALL_ESTABLISHED").map(drop)
    }

    /// Hangs up and waits for the end of the call.
    pub fn hang_up(&mut self) -> Result<(), BaresipError> {
        self.command("hangup", "")?;
        self.wait_event("CALL_CLOSED").map(drop)
    }

    /// Waits for the next event of the type that no earlier call took.
    pub fn wait_event(&mut self, kind: &str) -> Result<serde_json::Value, BaresipError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let of_kind = |e: &serde_json::Value| e.get("type").and_then(|t| t.as_str()) == Some(kind);
            if let Some(at) = self.events.iter().position(of_kind) {
                return Ok(self.events.remove(at));
            }
            if Instant::now() >= deadline {
                return Err(BaresipError::NoEvent {
                    user: self.user.clone(),
                    wanted: kind.to_owned(),
                    waited: PATIENCE,
                    seen: self
                        .events
                        .iter()
                        .filter_map(|e| e.get("type").and_then(|t| t.as_str()).map(str::to_owned))
                        .collect(),
                });
            }
            self.read_events()?;
        }
    }

    fn read_events(&mut self) -> Result<(), BaresipError> {
        let mut chunk = [0_u8; 4096];
        match self.control.read(&mut chunk) {
            Ok(read) => self.unread.extend(chunk.iter().take(read)),
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(e) => return Err(e.into()),
        }
        while let Some(colon) = self.unread.iter().position(|b| *b == b':') {
            let digits = String::from_utf8_lossy(self.unread.get(..colon).unwrap_or_default()).into_owned();
            let Ok(length) = digits.parse::<usize>() else {
                self.unread.clear();
                break;
            };
            let Some(json) = self.unread.get(colon + 1..colon + 1 + length) else {
                break;
            };
            if let Ok(value) = serde_json::from_slice::<serde_json::Value>(json)
                && value.get("event").is_some()
            {
                self.events.push(value);
            }
            // The netstring's comma may not be here yet; it is skipped with the next one's digits.
            self.unread.drain(..(colon + 2 + length).min(self.unread.len()));
        }
        Ok(())
    }

    /// What it has heard so far; files of several calls one after the other.
    pub fn heard(&self) -> Result<Recording, BaresipError> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.folder.join("rec"))?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        files.sort();
        let mut whole: Option<Recording> = None;
        for file in files {
            let part = read_growing(&file)?;
            match &mut whole {
                None => whole = Some(part),
                Some(recording) => recording.samples.extend(part.samples),
            }
        }
        whole.ok_or_else(|| BaresipError::NoRecording(self.user.clone()))
    }

    /// Waits until what it has heard is at least `seconds` long, from the start of the call on.
    pub fn wait_heard(&self, seconds: f32) -> Result<Recording, BaresipError> {
        wait_for(PATIENCE + Duration::from_secs_f32(seconds), || {
            self.heard()
                .ok()
                .filter(|recording| recording.seconds() >= seconds)
        })
        .ok_or_else(|| BaresipError::NoRecording(self.user.clone()))
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// The process, to stop or kill it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A WAV file that is still being written has lengths of 0 in its header: take the data as it lies.
fn read_growing(path: &Path) -> Result<Recording, BaresipError> {
    let bytes = std::fs::read(path)?;
    let field = |at: usize, n: usize| {
        bytes
            .get(at..at + n)
            .map_or(0, |f| f.iter().rev().fold(0_u32, |v, b| (v << 8) | u32::from(*b)))
    };
    let (channels, rate) = (field(22, 2).max(1) as usize, field(24, 4).max(1));
    let data = bytes.get(44..).unwrap_or_default();
    let samples = data
        .chunks_exact(2 * channels)
        .map(|frame| {
            let sum: f32 = frame
                .chunks_exact(2)
                .map(|s| {
                    f32::from(i16::from_le_bytes([
                        s.first().copied().unwrap_or(0),
                        s.last().copied().unwrap_or(0),
                    ]))
                })
                .sum();
            sum / channels as f32 / 32_768.0
        })
        .collect();
    Ok(Recording { rate, samples })
}

fn config(options: &Options, control_port: u16, recordings: &Path) -> String {
    let rate = if options.codec.starts_with("opus") {
        48_000
    } else {
        8_000
    };
    // Debian's ausine knows 48 kHz stereo only: a telephone's tone comes from a file.
    let (source, channels) = match &options.file {
        Some(path) => (format!("aufile,{}", path.display()), 1),
        None => (format!("ausine,{}", options.tone), 2),
    };
    let modules = [
        "opus", "g711", "g722", "ausine", "aufile", "aubridge", "sndfile", "srtp",
    ]
    .map(|module| format!("module {module}.so\n"))
    .concat();
    format!(
        "sip_listen {address}:0\nnet_interface {address}\nsip_transports udp,tcp\naudio_source {source}\n\
         audio_player aubridge,{user}\naudio_alert aubridge,{user}-alert\n\
         ausrc_srate {rate}\nauplay_srate {rate}\nausrc_channels {channels}\nauplay_channels 1\n\
         audio_txmode thread\njitter_buffer_delay 1-5\n\
         module_path {module_path}\n{modules}module_tmp account.so\nmodule_app menu.so\n\
         module_app ctrl_tcp.so\nctrl_tcp_listen 127.0.0.1:{control_port}\nsnd_path {recordings}\n",
        address = options.address,
        user = options.user,
        module_path = "/usr/lib/baresip/modules",
        recordings = recordings.display(),
    )
}
