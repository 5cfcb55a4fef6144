//! The SIP socket: UDP, or one TCP connection to the server.
//!
//! It feeds the sans-IO [`Phone`] and carries out what it wants. Over TCP a lost connection is opened again when
//! there is something to send. A server may be reached in several ways ([`super::locate`]): [`Signalling::next_target`]
//! goes over to the next (RFC 3263 §4.3). Deliberately absent: TLS and WebSocket (the flow already names them).

use std::net::SocketAddr;
use std::time::Instant;

use nix::sys::socket::{setsockopt, sockopt};
use sip_proto::endpoint::{ConnectionId, Flow, Input, Transport};
use sip_proto::uri::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep_until, timeout};

use super::locate::{Dns, Target, locate};
use super::net;
use crate::account::{Account, Beat, KeepAlive};
use crate::call::{Output, Phone, PhoneConfig, PhoneEvent};
use crate::cli::args::TransportChoice;
use crate::cli::config::{ServerAddress, Settings};
use crate::error::MeetError;
use crate::limits;

/// A phone on a socket.
#[derive(Debug)]
pub struct Signalling {
    /// The signalling core; after a command call [`Signalling::flush`].
    pub phone: Phone,
    wire: Wire,
    flow: Flow,
    buffer: Vec<u8>,
    keep: KeepAlive,
    /// When the flow was lost the last time.
    lost: Option<Instant>,
    connections: u64,
    targets: Vec<Target>,
    /// Which of them is used.
    current: usize,
    /// How many have failed since one worked.
    failed: usize,
}

#[derive(Debug)]
enum Wire {
    Udp(UdpSocket),
    Tcp(Option<(ConnectionId, TcpStream)>),
}

/// What woke the loop.
enum Woken {
    Datagram(usize, SocketAddr),
    Refused,
    Bytes(usize),
    Closed,
    Time,
}

impl Signalling {
    /// Finds the server and opens a socket towards it. Nothing is sent yet over UDP; TCP connects.
    pub async fn open(settings: &Settings, account: Account, answer: bool) -> Result<Self, MeetError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| MeetError::System {
            what: "no randomness",
            source: std::io::Error::other(error),
        })?;
        let keep_seed = seed.map(|byte| byte ^ 0xa5);
        let dns = Dns::new(settings.dns);
        let targets = locate(&settings.server, settings.transport, &dns, &mut dice(seed)).await?;
        let mut connections = 0;
        let (current, wire, flow) = open_first(&targets, &mut connections, settings).await?;
        let mut phone = Phone::new(PhoneConfig {
            account,
            flow,
            answer,
            seed,
        });
        phone.go_by(flow, Instant::now());
        Ok(Self {
            phone,
            wire,
            flow,
            buffer: vec![0; limits::SIP_DATAGRAM_BYTES],
            keep: KeepAlive::new(flow.connection.is_some(), keep_seed),
            lost: None,
            connections,
            targets,
            current,
            failed: current,
        })
    }

    /// How many ways to the server there are.
    pub fn ways(&self) -> usize {
        self.targets.len()
    }

    /// The transport that is used.
    pub fn transport(&self) -> TransportChoice {
        self.targets
            .get(self.current)
            .map_or(TransportChoice::Udp, |target| target.transport)
    }

    /// Whether a way is left that was not tried since the last one that worked.
    pub fn has_next_target(&self) -> bool {
        self.failed + 1 < self.targets.len()
    }

    /// The server answered: all ways are open again.
    pub fn target_works(&mut self) {
        self.failed = 0;
    }

    /// Goes over to the next way to the server; false when all were tried.
    pub async fn next_target(&mut self, settings: &Settings) -> bool {
        let started = self.failed;
        while self.has_next_target() {
            self.failed += 1;
            let next = (self.current + self.failed - started) % self.targets.len();
            let Some(target) = self.targets.get(next).copied() else {
                return false;
            };
            self.connections += 1;
            match open_wire(target, ConnectionId(self.connections), settings).await {
                Ok((wire, flow)) => {
                    tracing::info!(address = %target.address, "going over to the next address of the server");
                    self.current = next;
                    self.go_by(wire, flow);
                    return true;
                }
                Err(error) => tracing::info!(%error, "trying the next address"),
            }
        }
        false
    }

    /// Goes to the host that an address names (RFC 3263), away from the server that was used so far.
    pub async fn reach(&mut self, target: &Uri, settings: &Settings) -> Result<(), MeetError> {
        let named = target.params.get("transport").map(str::to_ascii_lowercase);
        let transport = match named.as_deref() {
            None => None,
            Some("udp") => Some(TransportChoice::Udp),
            Some("tcp") => Some(TransportChoice::Tcp),
            Some(_) => return Err(unreachable(target)),
        };
        let host = target.params.get("maddr").map(str::to_owned);
        let server = ServerAddress {
            host: host
                .unwrap_or_else(|| target.host.to_string())
                .replace(['[', ']'], ""),
            port: target.port.unwrap_or(5060),
            port_given: target.port.is_some(),
        };
        let mut seed = [0; 32];
        if getrandom::fill(&mut seed).is_err() {
            tracing::warn!("no randomness for the choice of a server");
        }
        let dns = Dns::new(settings.dns);
        let targets = locate(&server, transport, &dns, &mut dice(seed)).await?;
        let (current, wire, flow) = open_first(&targets, &mut self.connections, settings).await?;
        tracing::info!(to = %flow.remote, "the call was sent on to another host");
        (self.targets, self.current, self.failed) = (targets, current, current);
        self.go_by(wire, flow);
        Ok(())
    }

    fn go_by(&mut self, wire: Wire, flow: Flow) {
        (self.wire, self.flow) = (wire, flow);
        self.keep.restart(flow.connection.is_some());
        self.phone.go_by(flow, Instant::now());
    }

    /// Gives the present way up: what waits for an answer there has failed.
    pub fn give_up(&mut self) {
        self.phone
            .handle_input(Input::TransportFailed { flow: self.flow }, Instant::now());
    }

    /// The address that the server sees of us, as far as this host knows.
    pub fn local(&self) -> SocketAddr {
        self.flow.local
    }

    /// Sends what is to be sent and gives back what happened.
    pub async fn flush(&mut self) -> Vec<PhoneEvent> {
        let mut events = Vec::new();
        self.beat().await;
        while let Some(output) = self.phone.poll_output() {
            match output {
                Output::Event(event) => events.push(event),
                Output::Transmit { flow, bytes } => self.transmit(flow, &bytes).await,
                Output::Close { connection } => {
                    if let Wire::Tcp(stream) = &mut self.wire
                        && stream.as_ref().is_some_and(|(id, _)| *id == connection)
                    {
                        *stream = None;
                        self.phone
                            .handle_input(Input::Closed { connection }, Instant::now());
                    }
                }
            }
        }
        events
    }

    /// Keeps the way open, and notices when it is lost.
    async fn beat(&mut self) {
        let now = Instant::now();
        match self.keep.tick(self.phone.needs_flow(), now) {
            Beat::Wait => {}
            // A closed connection is opened by whoever has something to say.
            Beat::Ping(_) if matches!(self.wire, Wire::Tcp(None)) => {}
            Beat::Ping(bytes) => self.transmit(self.flow, &bytes).await,
            Beat::Lost => {
                tracing::info!(server = %self.flow.remote, "the way to the server is lost");
                if let Wire::Tcp(stream) = &mut self.wire
                    && let Some((connection, _)) = stream.take()
                {
                    self.phone.handle_input(Input::Closed { connection }, now);
                }
                self.flow_lost(now);
            }
        }
    }

    /// A registration is made again, and a call asked whether it still stands.
    fn flow_lost(&mut self, now: Instant) {
        self.phone.flow_lost(now);
        // The question itself may come back as a broken flow.
        if self.lost.is_none_or(|before| now >= before + limits::LOST_AGAIN) {
            self.lost = Some(now);
            self.phone.probe(now);
        }
    }

    /// Waits for a message or a timer and hands it to the phone. May be dropped while it waits.
    pub async fn wait(&mut self) {
        let woken = self.woken().await;
        let now = Instant::now();
        match woken {
            Woken::Datagram(length, remote) => {
                let flow = Flow { remote, ..self.flow };
                let bytes = self.buffer.get(..length).unwrap_or_default();
                if remote == self.flow.remote && self.keep.datagram(bytes, now) {
                    return;
                }
                self.phone.handle_input(Input::Datagram { flow, bytes }, now);
            }
            Woken::Refused => {
                self.phone
                    .handle_input(Input::TransportFailed { flow: self.flow }, now);
                self.flow_lost(now);
            }
            Woken::Bytes(length) => {
                if let (Wire::Tcp(Some((connection, _))), Some(bytes)) =
                    (&self.wire, self.buffer.get(..length))
                {
                    self.keep.bytes(bytes, now);
                    self.phone.handle_input(
                        Input::Stream {
                            connection: *connection,
                            bytes,
                        },
                        now,
                    );
                }
            }
            Woken::Closed => {
                if let Wire::Tcp(stream) = &mut self.wire
                    && let Some((connection, _)) = stream.take()
                {
                    self.phone.handle_input(Input::Closed { connection }, now);
                    self.flow_lost(now);
                }
            }
            Woken::Time => self.phone.handle_timeout(now),
        }
    }

    async fn woken(&mut self) -> Woken {
        let due = self.phone.poll_timeout().map(|(at, _)| at);
        let due = [due, self.keep.poll_timeout()].into_iter().flatten().min();
        let timer = async move {
            match due {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let buffer = &mut self.buffer;
        let wire = &mut self.wire;
        let arrival = async move {
            match wire {
                Wire::Udp(socket) => match socket.recv_from(buffer).await {
                    Ok((length, from)) => Woken::Datagram(length, from),
                    Err(error) => {
                        tracing::debug!(%error, "SIP over UDP");
                        Woken::Refused
                    }
                },
                Wire::Tcp(Some((_, stream))) => match stream.read(buffer).await {
                    Ok(length) if length > 0 => Woken::Bytes(length),
                    _ => Woken::Closed,
                },
                Wire::Tcp(None) => std::future::pending().await,
            }
        };
        tokio::select! {
            woken = arrival => woken,
            () = timer => Woken::Time,
        }
    }

    async fn transmit(&mut self, flow: Flow, bytes: &[u8]) {
        tracing::trace!(to = %flow.remote, message = %String::from_utf8_lossy(bytes), "sent");
        let sent = match &mut self.wire {
            Wire::Udp(socket) => socket.send_to(bytes, flow.remote).await.map(drop),
            Wire::Tcp(_) => self.write(bytes).await,
        };
        if let Err(error) = sent {
            tracing::debug!(%error, to = %flow.remote, "SIP not sent");
            self.phone
                .handle_input(Input::TransportFailed { flow }, Instant::now());
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let Wire::Tcp(stream) = &mut self.wire else {
            return Ok(());
        };
        if stream.is_none() {
            self.connections += 1;
            let id = ConnectionId(self.connections);
            let fresh = timeout(limits::CONNECT_WAIT, TcpStream::connect(self.flow.remote)).await??;
            self.flow.connection = Some(id);
            self.flow.local = fresh.local_addr()?;
            *stream = Some((id, fresh));
            self.keep.restart(true);
            self.phone
                .handle_input(Input::Opened { flow: self.flow }, Instant::now());
        }
        let Wire::Tcp(Some((_, stream))) = &mut self.wire else {
            return Ok(());
        };
        timeout(limits::FAREWELL_WAIT, stream.write_all(bytes)).await?
    }
}

/// Lets "port unreachable" come back to an unconnected socket, so that a server that is not there is known at
/// once and not after 32 seconds of retransmission.
#[expect(
    clippy::let_underscore_must_use,
    reason = "without it only the message comes later"
)]
fn hear_refusals(socket: &UdpSocket, remote: SocketAddr) {
    let _ = match remote {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    };
}

/// The first of these ways on which a socket can be had, and which it is.
async fn open_first(
    targets: &[Target],
    connections: &mut u64,
    settings: &Settings,
) -> Result<(usize, Wire, Flow), MeetError> {
    let mut refusal = None;
    for (current, target) in targets.iter().enumerate() {
        *connections += 1;
        match open_wire(*target, ConnectionId(*connections), settings).await {
            Ok((wire, flow)) => return Ok((current, wire, flow)),
            Err(error) => {
                tracing::info!(%error, address = %target.address, "no way to this address");
                refusal = Some(error);
            }
        }
    }
    Err(refusal.unwrap_or_else(|| no_answer(settings, TransportChoice::Udp)))
}

/// Throws for the order of servers of equal rank; nobody gains by guessing it.
fn dice(seed: [u8; 32]) -> impl FnMut(u32) -> u32 {
    let mut lot = seed
        .iter()
        .fold(1_u64, |all, byte| all.rotate_left(8) ^ u64::from(*byte));
    move |sides: u32| {
        lot = lot
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((lot >> 33) % u64::from(sides.max(1))).unwrap_or(0)
    }
}

fn unreachable(target: &Uri) -> MeetError {
    MeetError::Resolve {
        host: target.to_string(),
        source: std::io::Error::other("only UDP and TCP are known here"),
    }
}

/// A socket on this way.
async fn open_wire(target: Target, id: ConnectionId, settings: &Settings) -> Result<(Wire, Flow), MeetError> {
    let remote = target.address;
    match target.transport {
        TransportChoice::Udp => {
            let ip = net::local_towards(remote)?;
            let failed = |source| MeetError::Socket {
                what: "cannot bind UDP on",
                address: ip.to_string(),
                source,
            };
            let socket = UdpSocket::bind((ip, 0)).await.map_err(failed)?;
            hear_refusals(&socket, remote);
            let local = socket.local_addr().map_err(failed)?;
            Ok((Wire::Udp(socket), Flow::udp(local, remote)))
        }
        TransportChoice::Tcp => {
            let refused = || no_answer(settings, TransportChoice::Tcp);
            let connecting = timeout(limits::CONNECT_WAIT, TcpStream::connect(remote)).await;
            let stream = connecting.map_err(|_| refused())?.map_err(|_| refused())?;
            let local = stream.local_addr().map_err(|_| refused())?;
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            let flow = Flow {
                transport: Transport::Tcp,
                local,
                remote,
                connection: Some(id),
            };
            Ok((Wire::Tcp(Some((id, stream))), flow))
        }
    }
}

fn no_answer(settings: &Settings, transport: TransportChoice) -> MeetError {
    MeetError::NoAnswer {
        server: settings.server.to_string(),
        transport: transport.as_str(),
    }
}
