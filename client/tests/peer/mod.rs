//! A peer on loopback for tests of the program: a SIP user agent that answers every call, sends a tone, and
//! writes down what it hears. It is built from the same cores, with a socket of its own.

#![allow(dead_code, reason = "each test file uses another part")]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use meet_client::media::engine::{Engine, EngineEvent, EngineParts, MediaSockets};
use meet_client::media::plan::StreamPlan;
use meet_client::media::sample::tone_share;
use meet_client::media::{Tone, WavSink};
use sip_proto::endpoint::{Body, Endpoint, EndpointConfig, Event, Flow, Input, Output, SessionEvent};
use sip_proto::headers::Reason;
use sip_proto::message::{HeaderName, Headers, StatusCode};
use sip_proto::sdp;
use sip_proto::sdp::offer_answer::{LocalMedia, OfferAnswer};

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the peer does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Answers.
    Answer,
    /// Answers, and hangs up after this time in the call.
    HangUp(Duration),
    /// Refuses with this status.
    Refuse(u16),
    /// Sends the call on to this port of this host (302).
    SendOn(u16),
    /// Rings for ever.
    Ring,
}

/// A running peer.
pub struct Peer {
    pub address: SocketAddr,
    pub heard: PathBuf,
    pub digits: Arc<AtomicU32>,
    pub cancelled: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Peer {
    pub fn start(folder: &Path, name: &str, hertz: f32, manner: Manner) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let address = socket.local_addr().unwrap();
        let heard = folder.join(format!("{name}-heard.wav"));
        let stop = Arc::new(AtomicBool::new(false));
        let (digits, cancelled) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let mut agent = Agent {
            socket,
            endpoint: Endpoint::new(EndpointConfig::default(), [address.port() as u8; 32]),
            manner,
            hertz,
            heard: heard.clone(),
            digits: Arc::clone(&digits),
            cancelled: Arc::clone(&cancelled),
            engine: None,
            hang_up: None,
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                agent.turn();
            }
        });
        Self {
            address,
            heard,
            digits,
            cancelled,
            stop,
            thread: Some(thread),
        }
    }

    pub fn uri(&self) -> String {
        format!("sip:peer@{}", self.address)
    }

    /// Stops it; the recording is whole afterwards.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Agent {
    socket: UdpSocket,
    endpoint: Endpoint,
    manner: Manner,
    hertz: f32,
    heard: PathBuf,
    digits: Arc<AtomicU32>,
    cancelled: Arc<AtomicBool>,
    engine: Option<(Engine, tokio::sync::mpsc::Receiver<EngineEvent>)>,
    hang_up: Option<(sip_proto::endpoint::SessionId, Instant)>,
}

impl Agent {
    fn turn(&mut self) {
        let mut datagram = [0; 65_535];
        let local = self.socket.local_addr().unwrap();
        if let Ok((length, from)) = self.socket.recv_from(&mut datagram) {
            let flow = Flow::udp(local, from);
            self.endpoint.handle_input(
                Input::Datagram {
                    flow,
                    bytes: &datagram[..length],
                },
                Instant::now(),
            );
        }
        self.endpoint.handle_timeout(Instant::now());
        if let Some((session, at)) = self.hang_up
            && at <= Instant::now()
        {
            self.hang_up = None;
            let _ = self
                .endpoint
                .bye(session, Some(Reason::sip(410, "Meeting ended")), Instant::now());
        }
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => drop(self.socket.send_to(&bytes, flow.remote).unwrap()),
                Output::Close { .. } => {}
                Output::Event(event) => self.on_event(event),
            }
        }
        if let Some((_, events)) = &mut self.engine {
            while let Ok(event) = events.try_recv() {
                if let EngineEvent::Digit { digit, .. } = event {
                    let value = digit.to_digit(10).unwrap();
                    self.digits.store(
                        self.digits.load(Ordering::Relaxed) * 10 + value,
                        Ordering::Relaxed,
                    );
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Invite { session, request, .. } => match self.manner {
                Manner::Refuse(status) => {
                    let status = StatusCode::new(status).unwrap();
                    self.endpoint
                        .reject(session, status, Headers::new(), now)
                        .unwrap();
                }
                Manner::SendOn(port) => {
                    let mut headers = Headers::new();
                    headers.push(HeaderName::Contact, format!("<sip:peer@127.0.0.1:{port}>"));
                    self.endpoint
                        .reject(session, StatusCode::MOVED_TEMPORARILY, headers, now)
                        .unwrap();
                }
                Manner::Ring => {
                    self.endpoint
                        .ring(session, StatusCode::RINGING, None, Headers::new(), now)
                        .unwrap();
                }
                Manner::Answer | Manner::HangUp(_) => {
                    let sockets = MediaSockets::bind("127.0.0.1".parse().unwrap()).unwrap();
                    let mut negotiation = OfferAnswer::new(1 << 40);
                    negotiation
                        .receive_offer(sdp::parse(&request.body).unwrap())
                        .unwrap();
                    let media = LocalMedia::new(sockets.address().ip(), sockets.address().port());
                    let (answer, agreed) = negotiation.create_answer(&media).unwrap();
                    self.endpoint
                        .accept(session, Some(Body::sdp(answer.to_string())), Headers::new(), now)
                        .unwrap();
                    let (sender, receiver) = tokio::sync::mpsc::channel(512);
                    let parts = EngineParts {
                        plan: StreamPlan::from_negotiated(&agreed.audio).unwrap(),
                        sockets,
                        source: Box::new(Tone::new(self.hertz)),
                        sink: Box::new(WavSink::create(&self.heard).unwrap()),
                        echo: None,
                        muted: false,
                        cname: "peer".into(),
                        seed: [3; 32],
                    };
                    self.engine = Some((Engine::start(parts, sender).unwrap(), receiver));
                    if let Manner::HangUp(after) = self.manner {
                        self.hang_up = Some((session, now + after));
                    }
                }
            },
            Event::Session {
                event: SessionEvent::Terminated { .. },
                ..
            } => self.engine = None,
            Event::Session {
                event: SessionEvent::Cancelled,
                ..
            } => {
                self.cancelled.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// The program under test, killed when dropped.
pub struct Meet {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    pub seen: Vec<serde_json::Value>,
}

impl Meet {
    /// Starts `meet … --json`, with no configuration but the arguments.
    pub fn start(home: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_meet"))
            .args(arguments)
            .arg("--json")
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_STATE_HOME", home.join("state"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for an event of this name, and gives it.
    pub fn event(&mut self, name: &str) -> serde_json::Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no {name}; seen: {:?}", self.seen));
            let event: serde_json::Value = serde_json::from_str(&line).expect("every line is JSON");
            self.seen.push(event.clone());
            if event["event"] == name {
                return event;
            }
        }
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits for the end.
    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(500)) {
                    self.seen.push(serde_json::from_str(&line).unwrap());
                }
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not end; seen: {:?}",
                self.seen
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Meet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many windows of 100 ms in a recording hold mainly this tone.
pub fn windows_with(path: &Path, hertz: f32) -> usize {
    let mut reader = hound::WavReader::open(path).unwrap();
    let rate = reader.spec().sample_rate;
    let samples: Vec<f32> = reader
        .samples::<i16>()
        .map(|s| f32::from(s.unwrap()) / 32_768.0)
        .collect();
    samples
        .chunks_exact(rate as usize / 10)
        .filter(|window| tone_share(window, hertz, rate) > 0.5)
        .count()
}
