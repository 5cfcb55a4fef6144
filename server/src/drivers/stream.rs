//! SIP over TCP: accepting, connecting, reading, writing; the table of connections.
//!
//! Every connection is one task that reads into the signalling queue (and stops reading while it
//! is full, so that TCP itself slows the peer) and writes from a bounded queue of its own. The
//! table lives in the signalling task: no lock. Deliberately absent: framing, which the
//! `Endpoint` does, so that TLS and WebSocket change only [`StreamTransport`]; and who may stay when all seats are
//! taken (`seats`).

use super::capture::SharedTap;
use super::limits::{
    STREAM_CONNECT, STREAM_FIRST_BYTES, STREAM_HALF_MESSAGE, STREAM_KEPT, STREAM_READ, STREAM_STRANGER_IDLE,
    STREAM_WRITE, STREAM_WRITE_QUEUE,
};
use super::route::Routes;
use super::seats::{Pace, Seat, Seats};
use super::shared_shield::SharedShield;
use super::transport::{ByteStream, StreamTransport, StreamWriter, WireInput};
use crate::telemetry::Metrics;
use sip_proto::endpoint::{ConnectionId, Flow, StreamState};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How many connections may be open, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    /// In all.
    pub connections: usize,
    /// From one address.
    pub per_address: usize,
    /// Nothing read for so long: closed.
    pub idle: Duration,
    /// Only private and local sources.
    pub private_only: bool,
}

/// What all connection tasks share.
#[derive(Clone)]
struct Shared {
    transport: Arc<dyn StreamTransport>,
    wire: mpsc::Sender<WireInput>,
    next_id: Arc<AtomicU64>,
    seats: Seats,
    shield: SharedShield,
    tap: Option<SharedTap>,
    limits: StreamLimits,
    metrics: Arc<Metrics>,
}

/// The stream connections of the server, owned by the signalling task.
pub struct Streams {
    shared: Shared,
    writers: HashMap<ConnectionId, (SocketAddr, StreamWriter)>,
    by_remote: HashMap<SocketAddr, ConnectionId>,
    dialling: HashMap<SocketAddr, StreamWriter>,
    /// Unfinished messages: how many came before, and since when this one is unfinished.
    halves: HashMap<ConnectionId, (u64, Instant)>,
}

impl Streams {
    /// Starts accepting on the listeners.
    pub fn start(
        listeners: Vec<TcpListener>,
        transport: Arc<dyn StreamTransport>,
        wire: mpsc::Sender<WireInput>,
        limits: StreamLimits,
        shield: SharedShield,
        tap: Option<SharedTap>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let shared = Shared {
            transport,
            wire,
            next_id: Arc::new(AtomicU64::new(1)),
            seats: Seats::new(limits.connections, limits.per_address),
            shield,
            tap,
            limits,
            metrics,
        };
        for listener in listeners {
            let bound = listener.local_addr()?;
            tokio::spawn(accept(listener, bound, shared.clone()));
        }
        Ok(Self {
            shared,
            writers: HashMap::new(),
            by_remote: HashMap::new(),
            dialling: HashMap::new(),
            halves: HashMap::new(),
        })
    }

    /// A connection task reports that it runs.
    pub fn opened(&mut self, flow: &Flow, writer: StreamWriter) {
        let Some(id) = flow.connection else { return };
        self.dialling.remove(&flow.remote);
        self.by_remote.insert(flow.remote, id);
        self.writers.insert(id, (flow.remote, writer));
    }

    /// A connection task reports its end.
    pub fn closed(&mut self, id: ConnectionId) {
        if let Some((remote, _)) = self.writers.remove(&id)
            && self.by_remote.get(&remote) == Some(&id)
        {
            self.by_remote.remove(&remote);
        }
    }

    /// A connection attempt failed.
    pub fn failed(&mut self, flow: &Flow) {
        self.dialling.remove(&flow.remote);
    }

    /// Writes a message, over the flow's connection, another to the same peer, or a new one.
    /// `false`: the peer's queue is full or its connection just ended.
    pub fn transmit(&mut self, flow: &Flow, bytes: Vec<u8>) -> bool {
        let id = flow
            .connection
            .filter(|id| self.writers.contains_key(id))
            .or_else(|| self.by_remote.get(&flow.remote).copied());
        let sent = if let Some((_, writer)) = id.and_then(|id| self.writers.get(&id)) {
            writer.try_send(bytes).is_ok()
        } else if let Some(writer) = self.dialling.get(&flow.remote) {
            writer.try_send(bytes).is_ok()
        } else {
            self.dial(flow, bytes)
        };
        if sent {
            self.shared.metrics.sip_sent(flow.transport);
        } else if let Some(id) = id {
            // RFC 3261 §18.4: a peer that does not read is a transport failure.
            self.close(id);
        }
        sent
    }

    /// This connection carries a call, or its owner proved who it is: it stays.
    pub fn keep(&self, id: ConnectionId, now: Instant) {
        self.shared.seats.keep(id.0, now + STREAM_KEPT);
    }

    /// Closes the connections on which a message has been unfinished for too long. `states`: what the endpoint holds
    /// of each.
    pub fn close_stalled(&mut self, states: impl Iterator<Item = StreamState>, now: Instant) {
        let before = std::mem::take(&mut self.halves);
        for StreamState {
            connection,
            messages,
            pending,
        } in states
        {
            if pending == 0 {
                continue;
            }
            let same = before.get(&connection).filter(|(count, _)| *count == messages);
            let since = same.map_or(now, |(_, since)| *since);
            if now.saturating_duration_since(since) >= STREAM_HALF_MESSAGE {
                tracing::debug!(?connection, pending, "closed: a message stays unfinished");
                self.shared.metrics.tcp_evicted.inc();
                self.shared.seats.send_away(connection.0);
            } else {
                self.halves.insert(connection, (messages, since));
            }
        }
    }

    /// Ends a connection after what is queued has been written.
    pub fn close(&mut self, id: ConnectionId) {
        self.closed(id);
    }

    fn dial(&mut self, flow: &Flow, bytes: Vec<u8>) -> bool {
        let (writer, queue) = mpsc::channel(STREAM_WRITE_QUEUE);
        let queued = writer.try_send(bytes).is_ok();
        self.dialling.insert(flow.remote, writer.clone());
        tokio::spawn(connect(*flow, writer, queue, self.shared.clone()));
        queued
    }
}

/// Counts a connection while it lives.
struct Place {
    id: ConnectionId,
    seat: Seat,
    shared: Shared,
}

impl Place {
    fn take(remote: SocketAddr, shared: &Shared) -> Option<Self> {
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (seat, evicted) = shared.seats.take(id, remote.ip(), Instant::now())?;
        if evicted {
            shared.metrics.tcp_evicted.inc();
        }
        shared.metrics.tcp_connections.inc();
        Some(Self {
            id: ConnectionId(id),
            seat,
            shared: shared.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.metrics.tcp_connections.dec();
    }
}

async fn accept(listener: TcpListener, bound: SocketAddr, shared: Shared) {
    let mut routes = Routes::default();
    loop {
        let (socket, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: give the connections time to end.
                tracing::warn!(%error, "cannot accept a TCP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if shared.limits.private_only && !crate::focus::policy::is_local_source(remote.ip()) {
            tracing::info!(%remote, "TCP connection from outside the local network refused (--lan)");
            shared.metrics.sip_dropped.inc();
            continue;
        }
        let judged = shared.shield.lock().connection(remote.ip(), Instant::now());
        if let Err(cause) = judged {
            shared.metrics.shielded(cause);
            continue;
        }
        let Some(place) = Place::take(remote, &shared) else {
            tracing::debug!(%remote, "TCP connection refused: limit reached (sip.tcp_connections…)");
            shared.metrics.sip_dropped.inc();
            continue;
        };
        let local = socket
            .local_addr()
            .unwrap_or_else(|_| routes.local(bound, remote, Instant::now()));
        let shared = shared.clone();
        tokio::spawn(async move {
            prepare(&socket);
            let Ok(Ok(stream)) = timeout(STREAM_FIRST_BYTES, shared.transport.accept(socket)).await else {
                return;
            };
            let (writer, queue) = mpsc::channel(STREAM_WRITE_QUEUE);
            run(stream, local, remote, writer, queue, place).await;
        });
    }
}

async fn connect(flow: Flow, writer: StreamWriter, queue: mpsc::Receiver<Vec<u8>>, shared: Shared) {
    let attempt = async {
        let place = Place::take(flow.remote, &shared)
            .ok_or_else(|| std::io::Error::other("connection limit reached"))?;
        let socket = TcpStream::connect(flow.remote).await?;
        prepare(&socket);
        let local = socket.local_addr()?;
        let stream = shared.transport.connect(socket, flow.remote).await?;
        Ok::<_, std::io::Error>((stream, local, place))
    };
    let outcome = timeout(STREAM_CONNECT, attempt).await;
    match outcome {
        Ok(Ok((stream, local, place))) => {
            // We opened it for something of ours.
            shared.seats.keep(place.id.0, Instant::now() + STREAM_KEPT);
            run(stream, local, flow.remote, writer, queue, place).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(remote = %flow.remote, %error, "cannot connect");
            drop(shared.wire.send(WireInput::Failed { flow }).await);
        }
        Err(_) => drop(shared.wire.send(WireInput::Failed { flow }).await),
    }
}

fn prepare(socket: &TcpStream) {
    let reference = socket2::SockRef::from(socket);
    let probes = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    drop(reference.set_tcp_keepalive(&probes));
    drop(socket.set_nodelay(true));
}

async fn run(
    stream: Box<dyn ByteStream>,
    local: SocketAddr,
    remote: SocketAddr,
    writer: StreamWriter,
    queue: mpsc::Receiver<Vec<u8>>,
    place: Place,
) {
    let shared = place.shared.clone();
    let id = place.id;
    let flow = Flow {
        transport: shared.transport.transport(),
        local,
        remote,
        connection: Some(id),
    };
    if shared
        .wire
        .send(WireInput::Opened { flow, writer })
        .await
        .is_err()
    {
        return;
    }
    let (reader, sink) = tokio::io::split(stream);
    tokio::select! {
        () = read(reader, &place, &flow) => {}
        () = write(sink, queue, &flow, shared.tap.as_ref()) => {}
        () = place.seat.wanted() => {}
    }
    drop(shared.wire.send(WireInput::Closed { connection: id }).await);
    drop(place);
}

async fn read(mut reader: tokio::io::ReadHalf<Box<dyn ByteStream>>, place: &Place, flow: &Flow) {
    let shared = &place.shared;
    let mut buffer = vec![0_u8; STREAM_READ];
    let mut pace = Pace::new(Instant::now());
    let mut patience = STREAM_FIRST_BYTES;
    let mut quiet_since = Instant::now();
    loop {
        let length = match timeout(patience, reader.read(&mut buffer)).await {
            Ok(Ok(length)) if length > 0 => length,
            Ok(_) => return,
            // Whoever is of use may be silent for longer.
            Err(_) if place.seat.is_kept(Instant::now()) && quiet_since.elapsed() < shared.limits.idle => {
                continue;
            }
            Err(_) => return,
        };
        quiet_since = Instant::now();
        patience = STREAM_STRANGER_IDLE.min(shared.limits.idle);
        shared.metrics.sip_received(shared.transport.transport());
        let kept = place.seat.heard(quiet_since);
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        if let Some(tap) = &shared.tap {
            tap.record_stream(SystemTime::now(), flow.remote, flow.local, &bytes);
        }
        let connection = place.id;
        if shared
            .wire
            .send(WireInput::Stream { connection, bytes })
            .await
            .is_err()
        {
            return;
        }
        let next = pace.read(length, kept, quiet_since);
        if next > quiet_since {
            tokio::time::sleep_until(next.into()).await;
        }
    }
}

async fn write(
    mut sink: tokio::io::WriteHalf<Box<dyn ByteStream>>,
    mut queue: mpsc::Receiver<Vec<u8>>,
    flow: &Flow,
    tap: Option<&SharedTap>,
) {
    while let Some(bytes) = queue.recv().await {
        if let Some(tap) = tap {
            tap.record_stream(SystemTime::now(), flow.local, flow.remote, &bytes);
        }
        match timeout(STREAM_WRITE, sink.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
    drop(timeout(STREAM_WRITE, sink.shutdown()).await);
}
