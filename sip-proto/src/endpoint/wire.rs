//! The edge towards the driver: open streams, the output queue, and where an answer goes.
//!
//! A message for a stream leaves by its connection while that is open, else by another open one to the same
//! address, else without a connection: the driver then opens one (RFC 3261 §18.2.2).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use super::event::Event;
use super::limits;
use super::types::{ConnectionId, Flow, Output, StreamState, Transport};
use crate::framing::StreamFramer;

/// Connections and output.
pub(crate) struct Wire {
    streams: HashMap<ConnectionId, Stream>,
    by_peer: HashMap<(Transport, SocketAddr), ConnectionId>,
    pub(crate) out: VecDeque<Output>,
}

/// One open stream.
pub(crate) struct Stream {
    pub(crate) flow: Flow,
    pub(crate) framer: StreamFramer,
    /// Whole messages so far.
    pub(crate) messages: u64,
    /// It can be read no further, and stays open until then at most for answers to what was read before.
    pub(crate) closing: Option<Instant>,
}

impl Wire {
    pub(crate) fn new() -> Self {
        Wire {
            streams: HashMap::new(),
            by_peer: HashMap::new(),
            out: VecDeque::new(),
        }
    }

    /// A stream opened. Too many: it is closed again.
    pub(crate) fn open(&mut self, flow: Flow) {
        let Some(connection) = flow.connection else { return };
        if self.streams.len() >= limits::MAX_CONNECTIONS && !self.streams.contains_key(&connection) {
            self.out.push_back(Output::Close { connection });
            return;
        }
        self.by_peer.insert((flow.transport, flow.remote), connection);
        self.streams.insert(
            connection,
            Stream {
                flow,
                framer: StreamFramer::new(),
                messages: 0,
                closing: None,
            },
        );
    }

    /// A stream closed; tells what it was.
    pub(crate) fn closed(&mut self, connection: ConnectionId) -> Option<Flow> {
        let stream = self.streams.remove(&connection)?;
        let peer = (stream.flow.transport, stream.flow.remote);
        if self.by_peer.get(&peer) == Some(&connection) {
            self.by_peer.remove(&peer);
        }
        Some(stream.flow)
    }

    /// Asks the driver to close a stream, and forgets it.
    pub(crate) fn close(&mut self, connection: ConnectionId) -> Option<Flow> {
        let flow = self.closed(connection)?;
        self.out.push_back(Output::Close { connection });
        Some(flow)
    }

    pub(crate) fn stream(&mut self, connection: ConnectionId) -> Option<&mut Stream> {
        self.streams.get_mut(&connection)
    }

    /// Whether the application has yet to see a new request that came on this stream.
    pub(crate) fn holds_arrival(&self, connection: ConnectionId) -> bool {
        self.out.iter().any(|output| {
            matches!(output, Output::Event(Event::Arrival { flow, .. }) if flow.connection == Some(connection))
        })
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = StreamState> {
        self.streams.iter().map(|(connection, stream)| StreamState {
            connection: *connection,
            messages: stream.messages,
            pending: stream.framer.pending(),
        })
    }

    /// Whether the flow's connection is open; a datagram flow always is.
    pub(crate) fn is_open(&self, flow: &Flow) -> bool {
        match flow.connection {
            Some(connection) => self.streams.contains_key(&connection),
            None => !flow.transport.is_reliable(),
        }
    }

    /// Queues one message.
    pub(crate) fn transmit(&mut self, flow: Flow, bytes: Vec<u8>) {
        let flow = self.resolve(flow);
        self.out.push_back(Output::Transmit { flow, bytes });
    }

    /// The flow with a connection that is open now, or with none.
    fn resolve(&self, flow: Flow) -> Flow {
        if !flow.transport.is_reliable() || self.is_open(&flow) {
            return flow;
        }
        Flow {
            connection: self.by_peer.get(&(flow.transport, flow.remote)).copied(),
            ..flow
        }
    }
}
