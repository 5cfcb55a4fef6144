//! What the drivers hand to the signalling task, and the seam for further stream transports.
//!
//! A stream transport turns an accepted or connected TCP socket into a byte stream: plain TCP
//! does nothing, TLS and WebSocket will do their handshake there and change nothing else.
//! Deliberately absent: message framing (the `Endpoint` does it).

use sip_proto::endpoint::{ConnectionId, Flow, Transport};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Bytes to be written to one stream, one whole message each.
pub type StreamWriter = mpsc::Sender<Vec<u8>>;

/// What happened on the wire.
#[derive(Debug)]
pub enum WireInput {
    /// A datagram came.
    Datagram {
        /// Where from, and the address at which the peer reaches us.
        flow: Flow,
        /// Its content.
        bytes: Vec<u8>,
        /// When the kernel took it in.
        arrival: Instant,
    },
    /// A stream is there, accepted or connected.
    Opened {
        /// With its connection id.
        flow: Flow,
        /// Takes what shall be written.
        writer: StreamWriter,
    },
    /// Bytes came on a stream.
    Stream {
        /// Which.
        connection: ConnectionId,
        /// As read, unframed.
        bytes: Vec<u8>,
    },
    /// A stream is gone.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// A datagram or connection attempt failed.
    Failed {
        /// To whom.
        flow: Flow,
    },
}

/// A byte stream in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// A handshake in progress.
pub type Handshake<'a> = Pin<Box<dyn Future<Output = std::io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// A transport over TCP.
pub trait StreamTransport: Send + Sync + 'static {
    /// Its name in Via and in flows.
    fn transport(&self) -> Transport;
    /// The server's part of the handshake.
    fn accept(&self, socket: TcpStream) -> Handshake<'_>;
    /// The client's part of the handshake.
    fn connect(&self, socket: TcpStream, remote: SocketAddr) -> Handshake<'_>;
}

/// SIP straight over TCP (RFC 3261 §18).
#[derive(Debug, Clone, Copy)]
pub struct PlainTcp;

impl StreamTransport for PlainTcp {
    fn transport(&self) -> Transport {
        Transport::Tcp
    }
    fn accept(&self, socket: TcpStream) -> Handshake<'_> {
        Box::pin(async move { Ok(Box::new(socket) as Box<dyn ByteStream>) })
    }
    fn connect(&self, socket: TcpStream, _remote: SocketAddr) -> Handshake<'_> {
        Box::pin(async move { Ok(Box::new(socket) as Box<dyn ByteStream>) })
    }
}
