//! The words the endpoint and its driver speak: flows, inputs, outputs, identifiers, parameters.

use std::net::SocketAddr;

use super::event::Event;
use crate::error::Fault;
use crate::headers::NameAddr;
use crate::message::{Headers, Method};
use crate::uri::Uri;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A byte stream.
    Tcp,
    /// A byte stream over TLS.
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    /// Whether the transport delivers by itself: retransmission timers stay off.
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// The token in a Via header.
    pub const fn via_token(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// The `transport` parameter of a URI; UDP is what its absence means.
    pub const fn uri_param(self) -> Option<&'static str> {
        match self {
            Transport::Udp => None,
            Transport::Tcp => Some("tcp"),
            Transport::Tls => Some("tls"),
            Transport::Ws => Some("ws"),
            Transport::Wss => Some("wss"),
        }
    }

    /// The port that is meant when none is given.
    pub const fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

/// A stream connection, numbered by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Where a message came from or goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The transport.
    pub transport: Transport,
    /// The address at which the peer can reach us (never a wildcard: the driver resolves it).
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The connection, for a stream that is open.
    pub connection: Option<ConnectionId>,
}

impl Flow {
    /// A UDP flow.
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Flow {
            transport: Transport::Udp,
            local,
            remote,
            connection: None,
        }
    }
}

/// What the driver reports.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A datagram arrived.
    Datagram {
        /// Where it came from.
        flow: Flow,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A stream connection opened, either way.
    Opened {
        /// The flow with its connection.
        flow: Flow,
    },
    /// Bytes arrived on a stream.
    Stream {
        /// Which stream.
        connection: ConnectionId,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A stream closed, or failed.
    Closed {
        /// Which stream.
        connection: ConnectionId,
    },
    /// A destination cannot be reached (connection refused, ICMP error).
    TransportFailed {
        /// Where to.
        flow: Flow,
    },
}

/// What the driver has to do.
#[expect(
    clippy::large_enum_variant,
    reason = "made once, moved once: a box would cost more than it saves"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send these bytes. A stream flow without a connection means: use an open one or open one, report `Opened`.
    Transmit {
        /// Where to.
        flow: Flow,
        /// One whole message.
        bytes: Vec<u8>,
    },
    /// Close a stream.
    Close {
        /// Which stream.
        connection: ConnectionId,
    },
    /// Something for the application.
    Event(Event),
}

/// A call: an INVITE and the dialog that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// A request that waits for our answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerTx(pub u64);

/// A request of ours that waits for the peer's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientTx(pub u64);

/// A subscription, ours or the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub u64);

/// What `notify` says about the subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifyState {
    /// It goes on; the seconds left are filled in.
    Active,
    /// It waits for somebody's consent.
    Pending,
    /// It ends with this NOTIFY.
    Terminated {
        /// RFC 6665 §4.1.3: `deactivated`, `probation`, `rejected`, `timeout`, `giveup`, `noresource`, `invariant`.
        reason: String,
    },
}

/// A message body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Its media type.
    pub content_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Body {
    /// A body of this type.
    pub fn new(content_type: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Body {
            content_type: content_type.into(),
            bytes: bytes.into(),
        }
    }

    /// A session description.
    pub fn sdp(bytes: impl Into<Vec<u8>>) -> Self {
        Body::new("application/sdp", bytes)
    }
}

/// A request that starts outside a dialog.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The Request-URI.
    pub target: Uri,
    /// From; a tag is added when it has none.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// Contact; made from the configuration and the flow when none is given.
    pub contact: Option<Uri>,
    /// Where to send it: the endpoint resolves no names.
    pub flow: Flow,
    /// Pre-loaded route set.
    pub route: Vec<Uri>,
    /// Further headers. Call-ID and CSeq are taken from here when present (a registration keeps its own), and
    /// so is Contact, before `contact`.
    pub headers: Headers,
    /// The body.
    pub body: Option<Body>,
}

/// What is held of one open stream: for a driver that looks after slow senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// Which.
    pub connection: ConnectionId,
    /// Whole messages so far.
    pub messages: u64,
    /// Bytes of a message that is not complete.
    pub pending: usize,
}

/// How much the endpoint holds; all zero when nothing is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Client transactions.
    pub client_transactions: usize,
    /// Server transactions.
    pub server_transactions: usize,
    /// Dialogs, early ones included.
    pub dialogs: usize,
    /// Sessions.
    pub sessions: usize,
    /// Subscriptions.
    pub subscriptions: usize,
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Our fault: no such session.
    #[error("no session {0:?}")]
    UnknownSession(SessionId),
    /// Our fault: no such subscription.
    #[error("no subscription {0:?}")]
    UnknownSubscription(SubscriptionId),
    /// Our fault, or too late: nobody waits for this response any more.
    #[error("no request {0:?} waits for an answer")]
    UnknownTransaction(ServerTx),
    /// Our fault: the command does not fit the state.
    #[error("{command} does not fit the present state")]
    WrongState {
        /// The command.
        command: &'static str,
    },
    /// Our fault: the status code is not one for this command.
    #[error("status {status} does not fit {command}")]
    WrongStatus {
        /// The command.
        command: &'static str,
        /// The code.
        status: u16,
    },
    /// Our fault: the endpoint sends this method by another command, or by itself only.
    #[error("{0} is not sent by this command")]
    WrongMethod(Method),
    /// A limit: too much is going on.
    #[error("limit reached: {0}")]
    Limit(&'static str),
}

impl EndpointError {
    /// Who is at fault.
    pub fn fault(&self) -> Fault {
        match self {
            EndpointError::Limit(_) => Fault::Limit,
            _ => Fault::Misuse,
        }
    }
}
