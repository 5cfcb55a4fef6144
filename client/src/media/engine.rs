//! The media thread: sockets, a source, a sink, and a tick every 20 ms.
//!
//! It runs on an operating-system thread to absolute deadlines; between two of them it waits in `ppoll` on both
//! sockets, so that arrival times are true. Commands and events cross by bounded channels; when nobody reads the
//! events, levels and statistics are dropped. Deliberately absent: decisions about the call.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::SigSet;
use nix::sys::time::TimeSpec;
use rtp_media::units::NtpTime;
use tokio::sync::mpsc;

use super::plan::StreamPlan;
use super::sample::{FLOOR_DB, Gain, level_db};
use super::sink::Sink;
use super::source::{Source, SourceState};
use super::stream::{AudioStream, Outbox, Port, StreamEvent};
use super::{EchoPath, MediaError};
use crate::cli::events::StatsLine;
use crate::limits;

/// What the thread is told.
#[derive(Debug)]
pub enum EngineCommand {
    /// A new agreement, in place.
    Update(Box<StreamPlan>),
    /// Microphone off or on.
    Mute(bool),
    /// Factor for what is heard.
    Volume(f32),
    /// A digit to send.
    Digit(char),
}

/// What the thread tells.
#[derive(Debug)]
pub enum EngineEvent {
    /// Ten times a second.
    Levels {
        /// Heard, in dBFS.
        heard_db: f32,
        /// Sent, in dBFS.
        sent_db: f32,
    },
    /// Once a second.
    Stats(Box<StatsLine>),
    /// The peer pressed a key.
    Digit {
        /// Which.
        digit: char,
        /// For how long.
        duration: Duration,
    },
    /// RTP came for the first time, or from somewhere else.
    Heard {
        /// From where.
        from: SocketAddr,
    },
    /// The source is over.
    SourceEnded,
    /// Sound failed; the thread goes on without that part.
    Failed(MediaError),
}

/// A pair of UDP sockets, RTP on an even port and RTCP on the next one (RFC 3550 §11).
#[derive(Debug)]
pub struct MediaSockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    address: SocketAddr,
}

impl MediaSockets {
    /// Binds a pair on this address, at ports that the system chooses.
    pub fn bind(ip: IpAddr) -> Result<Self, MediaError> {
        let failed = |source| MediaError::Bind { ip, source };
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        for _ in 0..64 {
            let one = UdpSocket::bind((ip, 0)).map_err(failed)?;
            let port = one.local_addr().map_err(failed)?.port();
            // The system knows nothing of pairs: take its port and try the neighbour that makes it one.
            match UdpSocket::bind((ip, port ^ 1)) {
                Ok(other) => {
                    let (rtp, rtcp) = if port % 2 == 0 { (one, other) } else { (other, one) };
                    rtp.set_nonblocking(true).map_err(failed)?;
                    rtcp.set_nonblocking(true).map_err(failed)?;
                    let address = rtp.local_addr().map_err(failed)?;
                    return Ok(Self { rtp, rtcp, address });
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    /// The RTP address; RTCP is on the next port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Outbox for MediaSockets {
    fn send(&mut self, port: Port, to: SocketAddr, bytes: &[u8]) {
        let socket = match port {
            Port::Rtp => &self.rtp,
            Port::Rtcp => &self.rtcp,
        };
        if let Err(error) = socket.send_to(bytes, to) {
            tracing::trace!(%error, %to, "media not sent");
        }
    }
}

/// What a thread is started with.
pub struct EngineParts {
    /// The agreement.
    pub plan: StreamPlan,
    /// Its sockets.
    pub sockets: MediaSockets,
    /// What others hear.
    pub source: Box<dyn Source>,
    /// Where they are heard.
    pub sink: Box<dyn Sink>,
    /// Takes the loudspeaker out of the microphone.
    pub echo: Option<EchoPath>,
    /// Start with the microphone off.
    pub muted: bool,
    /// RTCP name.
    pub cname: String,
    /// Randomness of the session.
    pub seed: [u8; 32],
}

/// A running media thread; dropping it stops the thread and finishes the sink.
#[derive(Debug)]
pub struct Engine {
    commands: Option<SyncSender<EngineCommand>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the thread.
    pub fn start(parts: EngineParts, events: mpsc::Sender<EngineEvent>) -> Result<Self, MediaError> {
        let (commands, inbox) = sync_channel(limits::MEDIA_COMMANDS);
        let stream = AudioStream::new(parts.plan, parts.cname, parts.seed, Instant::now())?;
        let worker = Worker {
            stream,
            sockets: parts.sockets,
            source: parts.source,
            sink: Some(parts.sink),
            echo: parts.echo,
            muted: parts.muted,
            volume: Gain::new(1.0),
            events,
            ended: false,
            heard_db: FLOOR_DB,
            sent_db: FLOOR_DB,
            missed: 0,
            before: (0, 0),
        };
        let thread = std::thread::Builder::new()
            .name("media".to_owned())
            .spawn(move || worker.run(&inbox))
            .map_err(|source| MediaError::Thread { source })?;
        Ok(Self {
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// Tells the thread something; lost only when 64 commands wait already.
    pub fn tell(&self, command: EngineCommand) {
        if let Some(commands) = &self.commands
            && commands.try_send(command).is_err()
        {
            tracing::warn!("the media thread does not keep up: a command was dropped");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The closed channel is the sign to stop; the thread sees it within one tick.
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the media thread panicked");
        }
    }
}

struct Worker {
    stream: AudioStream,
    sockets: MediaSockets,
    source: Box<dyn Source>,
    sink: Option<Box<dyn Sink>>,
    echo: Option<EchoPath>,
    muted: bool,
    volume: Gain,
    events: mpsc::Sender<EngineEvent>,
    ended: bool,
    heard_db: f32,
    sent_db: f32,
    missed: u64,
    /// Packets expected and lost at the last statistics.
    before: (u64, i64),
}

impl Worker {
    fn run(mut self, inbox: &Receiver<EngineCommand>) {
        let start = Instant::now();
        let mut tick: u32 = 0;
        let mut counted: u32 = 0;
        while self.obey(inbox) {
            let deadline = start + limits::TICK * tick;
            self.listen_until(deadline);
            let late = Instant::now().saturating_duration_since(deadline);
            let behind = (late.as_nanos() / limits::TICK.as_nanos()) as u32;
            if behind > limits::CATCH_UP_TICKS {
                self.stream.skip(behind);
                self.missed += u64::from(behind);
                tick = tick.wrapping_add(behind);
            }
            self.tick();
            tick = tick.wrapping_add(1);
            counted = counted.wrapping_add(1);
            if counted.is_multiple_of(5) {
                let _ = self.events.try_send(EngineEvent::Levels {
                    heard_db: self.heard_db,
                    sent_db: self.sent_db,
                });
            }
            if counted.is_multiple_of(50) {
                let line = Box::new(self.stats());
                let _ = self.events.try_send(EngineEvent::Stats(line));
            }
        }
        self.stream.goodbye(Instant::now(), wall(), &mut self.sockets);
        if let Some(Err(error)) = self.sink.as_mut().map(|sink| sink.finish()) {
            let _ = self.events.try_send(EngineEvent::Failed(error));
        }
    }

    /// Takes the commands that wait; false when the engine was dropped.
    fn obey(&mut self, inbox: &Receiver<EngineCommand>) -> bool {
        loop {
            match inbox.try_recv() {
                Ok(EngineCommand::Update(plan)) => {
                    if let Err(error) = self.stream.update(*plan) {
                        self.failed(error);
                    }
                }
                Ok(EngineCommand::Mute(muted)) => self.muted = muted,
                Ok(EngineCommand::Volume(factor)) => self.volume.set(factor),
                Ok(EngineCommand::Digit(digit)) => {
                    if !self.stream.digit(digit) {
                        self.failed(MediaError::Digit { digit });
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Reads the sockets until the deadline, and once more at it.
    fn listen_until(&mut self, deadline: Instant) {
        loop {
            self.drain();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let mut ready = [
                PollFd::new(self.sockets.rtp.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.sockets.rtcp.as_fd(), PollFlags::POLLIN),
            ];
            if ppoll(
                &mut ready,
                Some(TimeSpec::from_duration(left)),
                Some(SigSet::all()),
            )
            .is_err()
            {
                std::thread::sleep(left.min(Duration::from_millis(1)));
            }
        }
    }

    fn drain(&mut self) {
        let mut datagram = [0_u8; limits::DATAGRAM_BYTES];
        for socket in [&self.sockets.rtp, &self.sockets.rtcp] {
            for _ in 0..limits::DATAGRAMS_PER_TICK {
                match socket.recv_from(&mut datagram) {
                    Ok((length, from)) => {
                        let bytes = datagram.get(..length).unwrap_or_default();
                        self.stream.receive(from, bytes, Instant::now());
                    }
                    // An ICMP error of an earlier send is reported here once; the next read goes on.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                    Err(_) => break,
                }
            }
        }
        while let Some(event) = self.stream.poll_event() {
            let told = match event {
                StreamEvent::Digit { digit, duration } => EngineEvent::Digit { digit, duration },
                StreamEvent::Heard { from } => EngineEvent::Heard { from },
                // The end of a call is told by SIP; a mixer that changes its SSRC says goodbye, too.
                StreamEvent::Goodbye => continue,
            };
            let _ = self.events.try_send(told);
        }
    }

    fn tick(&mut self) {
        let mut frame = [0.0_f32; limits::TICK_SAMPLES];
        let now = Instant::now();
        if let Err(error) = self.stream.play(now, &mut frame) {
            self.failed(error);
        }
        self.volume.apply(&mut frame);
        self.heard_db = level_db(&frame);
        let mut echo = Ok(());
        if let Some(path) = &mut self.echo {
            echo = path.played(&frame);
        }
        if let Some(Err(error)) = self.sink.as_mut().map(|sink| sink.write(&frame)) {
            // A full disk or a lost loudspeaker must not end the call.
            self.sink = None;
            self.failed(error);
        }
        if let Some(error) = self.sink.as_mut().and_then(|sink| sink.complaint()) {
            self.failed(error);
        }
        let state = self.source.read(&mut frame);
        if let Some(path) = &mut self.echo {
            echo = echo.and_then(|()| path.clean(&mut frame));
        }
        if let Err(error) = echo {
            self.echo = None;
            self.failed(error);
        }
        if self.muted {
            frame.fill(0.0);
        }
        self.sent_db = level_db(&frame);
        if let Err(error) = self.stream.say(&frame, now, wall(), &mut self.sockets) {
            self.failed(error);
        }
        if state == SourceState::Ended && !self.ended {
            self.ended = true;
            let _ = self.events.try_send(EngineEvent::SourceEnded);
        }
    }

    fn stats(&mut self) -> StatsLine {
        let (stats, jitter) = (self.stream.stats(), self.stream.jitter());
        let expected = stats.expected.saturating_sub(self.before.0);
        let lost = (stats.lost - self.before.1).max(0);
        self.before = (stats.expected, stats.lost);
        let millis = |span: Duration| span.as_secs_f32() * 1_000.0;
        StatsLine {
            codec: self.stream.codec().encoding_name(),
            sent: stats.sent_packets,
            received: stats.received_packets,
            lost: stats.lost,
            loss_percent: if expected == 0 {
                0.0
            } else {
                lost as f32 * 100.0 / expected as f32
            },
            remote_loss_percent: stats.remote_fraction_lost.map(|share| share * 100.0),
            jitter_ms: millis(stats.jitter),
            delay_ms: millis(jitter.delay),
            rtt_ms: stats.rtt.map(millis),
            level_out_db: self.sent_db,
            level_in_db: self.heard_db,
            missed_ticks: self.missed,
        }
    }

    fn failed(&self, error: MediaError) {
        tracing::debug!(%error, "media");
        let _ = self.events.try_send(EngineEvent::Failed(error));
    }
}

fn wall() -> NtpTime {
    NtpTime::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
