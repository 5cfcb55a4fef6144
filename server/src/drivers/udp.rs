//! SIP over UDP: one thread per socket reads, the signalling task writes without waiting.
//!
//! Every datagram passes the shield (`crate::shield`) before it is queued: a flood is dropped here, and messages of
//! calls have a queue of their own. The reader is a thread of its own, so that the kernel's buffer is emptied while the
//! signalling task is busy: what overflows there is lost without regard to what it is. A full queue drops datagrams
//! (senders repeat them, RFC 3261 §17); a full socket buffer drops ours, and our own timers repeat. STUN keep-alives are answered on the spot.
//! Deliberately absent: RTP, which has the shards' threads.

use super::capture::SharedTap;
use super::limits::READ_PATIENCE;
use super::priority;
use super::route::Routes;
use super::shared_shield::SharedShield;
use super::stamped::{Received, StampedReader};
use super::stun;
use super::transport::WireInput;
use crate::shield::Verdict;
use crate::telemetry::Metrics;
use sip_proto::endpoint::{Flow, Transport};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::mpsc;

/// Where datagrams go.
#[derive(Debug, Clone)]
pub struct DatagramQueues {
    /// Judges them.
    pub shield: SharedShield,
    /// Messages of calls that are up.
    pub of_calls: mpsc::Sender<WireInput>,
    /// Everything else.
    pub new: mpsc::Sender<WireInput>,
}

/// The UDP sockets of the server.
#[derive(Debug)]
pub struct UdpSockets {
    sockets: Vec<(SocketAddr, Arc<UdpSocket>)>,
    tap: Option<SharedTap>,
    metrics: Arc<Metrics>,
}

impl UdpSockets {
    /// Takes bound sockets and starts reading them.
    pub fn start(
        sockets: Vec<UdpSocket>,
        queues: &DatagramQueues,
        tap: Option<SharedTap>,
        metrics: &Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let mut bound = Vec::with_capacity(sockets.len());
        for socket in sockets {
            let socket = Arc::new(socket);
            let address = socket.local_addr()?;
            let reader = Reader {
                socket: Arc::clone(&socket),
                bound: address,
                queues: queues.clone(),
                tap: tap.clone(),
                metrics: Arc::clone(metrics),
            };
            std::thread::Builder::new()
                .name("sip-udp".into())
                .spawn(move || {
                    priority::set(priority::READER);
                    reader.run();
                })?;
            bound.push((address, socket));
        }
        Ok(Self {
            sockets: bound,
            tap,
            metrics: Arc::clone(metrics),
        })
    }

    /// Sends one datagram; `false` when the system refuses it for good.
    pub fn transmit(&self, flow: &Flow, bytes: &[u8]) -> bool {
        let Some(socket) = self.socket_for(flow) else {
            return false;
        };
        match socket.send_to(bytes, flow.remote) {
            Ok(_) => {
                self.metrics.sip_sent(Transport::Udp);
                if let Some(tap) = &self.tap {
                    tap.record(SystemTime::now(), flow.local, flow.remote, bytes);
                }
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.metrics.sip_dropped.inc();
                true
            }
            Err(error) => {
                tracing::debug!(remote = %flow.remote, %error, "datagram not sent");
                false
            }
        }
    }

    fn socket_for(&self, flow: &Flow) -> Option<&UdpSocket> {
        let fits = |address: &SocketAddr| {
            address.port() == flow.local.port()
                && address.is_ipv4() == flow.remote.is_ipv4()
                && (address.ip() == flow.local.ip() || address.ip().is_unspecified())
        };
        let same_family = |address: &SocketAddr| address.is_ipv4() == flow.remote.is_ipv4();
        self.sockets
            .iter()
            .find(|(address, _)| fits(address))
            .or_else(|| self.sockets.iter().find(|(address, _)| same_family(address)))
            .map(|(_, socket)| socket.as_ref())
    }
}

/// What a reading thread works with.
struct Reader {
    socket: Arc<UdpSocket>,
    bound: SocketAddr,
    queues: DatagramQueues,
    tap: Option<SharedTap>,
    metrics: Arc<Metrics>,
}

impl Reader {
    /// Reads until nobody takes datagrams any more.
    fn run(self) {
        let Self {
            socket,
            bound,
            queues,
            tap,
            metrics,
        } = self;
        let mut reader = StampedReader::new(&socket);
        let mut routes = Routes::default();
        while !queues.new.is_closed() {
            let Received {
                length,
                remote,
                arrival,
            } = match reader.receive(&socket, READ_PATIENCE) {
                Ok(Some(received)) => received,
                Ok(None) => continue,
                Err(error) => {
                    // ICMP errors of earlier sends surface here; they end nothing.
                    tracing::debug!(%error, "receive error on UDP");
                    continue;
                }
            };
            let bytes = reader.bytes(length);
            metrics.sip_received(Transport::Udp);
            let now = Instant::now();
            let queue = match queues.shield.lock().datagram(remote, bytes, now) {
                Verdict::OfCall => &queues.of_calls,
                Verdict::New => &queues.new,
                Verdict::Drop(cause) => {
                    metrics.shielded(cause);
                    continue;
                }
            };
            // RFC 5626 §8: a keep-alive, answered here; lost answers are asked for again.
            if stun::is_stun(bytes) {
                if let Some(answer) = stun::answer(bytes, remote) {
                    drop(socket.send_to(&answer, remote));
                }
                continue;
            }
            let local = routes.local(bound, remote, now);
            if let Some(tap) = &tap {
                tap.record(SystemTime::now(), remote, local, bytes);
            }
            let flow = Flow {
                transport: Transport::Udp,
                local,
                remote,
                connection: None,
            };
            match queue.try_send(WireInput::Datagram {
                flow,
                bytes: bytes.to_vec(),
                arrival,
            }) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => {
                    metrics.sip_dropped.inc();
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    }
}
