//! Two endpoints, one link, virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_proto::endpoint::{
    Body, ConnectionId, Counts, Endpoint, EndpointConfig, Event, Flow, Input, Outgoing, Output, SessionEvent,
    SessionId, TerminatedBy, Transport,
};
use sip_proto::headers::NameAddr;
use sip_proto::message::{Headers, Message, Method, StatusCode, parse};

/// Either end. A calls, B is called, in most scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

pub struct Agent {
    pub endpoint: Endpoint,
    pub events: VecDeque<Event>,
    pub address: SocketAddr,
}

struct Flight {
    to: Side,
    connection: Option<ConnectionId>,
    bytes: Vec<u8>,
}

struct Connection {
    id: ConnectionId,
    opener: Side,
    open: bool,
}

pub struct Pair {
    pub a: Agent,
    pub b: Agent,
    pub now: Instant,
    transport: Transport,
    /// Nobody takes a new stream: whoever opens one hears so after this long.
    pub streams_refused: Option<Duration>,
    refusals: Vec<(Instant, Side, Flow)>,
    /// In the order of arrival.
    flights: BTreeMap<(Instant, u64), Flight>,
    order: u64,
    connections: Vec<Connection>,
    losses: Vec<(Side, String, usize)>,
    /// Chances in 1000 of loss, doubling and delay.
    pub chaos: (u64, u64, u64),
    random: u64,
    /// What went over the link, as `A INVITE`, `B 200 INVITE`; lost messages have a trailing `!`.
    pub trace: Vec<String>,
}

const LATENCY: Duration = Duration::from_millis(10);

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some starting instant; it never reads the clock again"
)]
pub fn starting_instant() -> Instant {
    Instant::now()
}

pub fn sdp(text: &str) -> Body {
    Body::sdp(format!("v=0\r\ns={text}\r\n"))
}

impl Pair {
    pub fn new() -> Pair {
        Pair::with(
            EndpointConfig::default(),
            EndpointConfig::default(),
            Transport::Udp,
        )
    }

    pub fn with(a: EndpointConfig, b: EndpointConfig, transport: Transport) -> Pair {
        let agent = |config, seed, last| Agent {
            endpoint: Endpoint::new(config, [seed; 32]),
            events: VecDeque::new(),
            address: SocketAddr::from(([192, 0, 2, last], 5060)),
        };
        Pair {
            a: agent(a, 1, 1),
            b: agent(b, 2, 2),
            now: starting_instant(),
            transport,
            streams_refused: None,
            refusals: Vec::new(),
            flights: BTreeMap::new(),
            order: 0,
            connections: Vec::new(),
            losses: Vec::new(),
            chaos: (0, 0, 0),
            random: 0x9e37_79b9_7f4a_7c15,
            trace: Vec::new(),
        }
    }

    pub fn seed(&mut self, seed: u64) {
        self.random = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    }

    pub fn agent(&mut self, side: Side) -> &mut Agent {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Loses the next `count` messages of `from` that are called `what`.
    pub fn lose(&mut self, from: Side, what: &str, count: usize) {
        self.losses.push((from, what.to_owned(), count));
    }

    /// The flow by which `side` reaches the other.
    pub fn flow(&self, side: Side) -> Flow {
        let (local, remote) = match side {
            Side::A => (self.a.address, self.b.address),
            Side::B => (self.b.address, self.a.address),
        };
        Flow {
            transport: self.transport,
            local,
            remote,
            connection: None,
        }
    }

    pub fn outgoing(&self, side: Side) -> Outgoing {
        let (own, peer) = match side {
            Side::A => ("alice@192.0.2.1", "bob@192.0.2.2"),
            Side::B => ("bob@192.0.2.2", "alice@192.0.2.1"),
        };
        let uri = |text: &str| format!("sip:{text}").parse().unwrap();
        Outgoing {
            target: uri(peer),
            from: NameAddr::new(uri(own)),
            to: NameAddr::new(uri(peer)),
            contact: None,
            flow: self.flow(side),
            route: Vec::new(),
            headers: Headers::new(),
            body: None,
        }
    }

    /// A calls with an offer; the id at A.
    pub fn invite(&mut self) -> SessionId {
        let call = Outgoing {
            body: Some(sdp("offer")),
            ..self.outgoing(Side::A)
        };
        self.a.endpoint.invite(call, self.now).unwrap()
    }

    /// A call that stands: ids at A and B, all events taken.
    pub fn call(&mut self) -> (SessionId, SessionId) {
        let a = self.invite();
        self.run(100);
        let b = self.b.expect_invite();
        self.accept(b);
        self.run(100);
        assert!(matches!(self.a.session_event(a), SessionEvent::Answered { .. }));
        assert!(matches!(self.b.session_event(b), SessionEvent::Confirmed { .. }));
        self.trace.clear();
        (a, b)
    }

    /// B accepts with an answer.
    pub fn accept(&mut self, b: SessionId) {
        let now = self.now;
        self.b
            .endpoint
            .accept(b, Some(sdp("answer")), Headers::new(), now)
            .unwrap();
    }

    /// A ends the call, and nothing is left of it.
    #[track_caller]
    pub fn hang_up(mut self, a: SessionId, b: SessionId) {
        let now = self.now;
        self.a.endpoint.bye(a, None, now).unwrap();
        self.run(2000);
        self.a.expect_terminated(a, TerminatedBy::Local);
        self.b.expect_terminated(b, TerminatedBy::Peer);
        self.finish();
    }

    /// Lets so many milliseconds pass.
    pub fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            self.drain(Side::A);
            self.drain(Side::B);
            let flight = self.flights.keys().next().map(|(at, _)| *at);
            let timers = [&self.a, &self.b].map(|agent| agent.endpoint.poll_timeout().map(|(at, _)| at));
            let refused = self.refusals.iter().map(|(at, ..)| *at).min();
            let Some(next) = flight
                .into_iter()
                .chain(refused)
                .chain(timers.into_iter().flatten())
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            self.refuse_streams();
            self.deliver();
            let now = self.now;
            self.a.endpoint.handle_timeout(now);
            self.b.endpoint.handle_timeout(now);
        }
        self.now = end;
    }

    /// Lets every timer run out; nothing may be left, and no event unread.
    #[track_caller]
    pub fn finish(mut self) {
        self.run(700_000);
        let trace = self.trace.join("\n");
        for (name, agent) in [("A", &self.a), ("B", &self.b)] {
            assert_eq!(
                agent.endpoint.counts(),
                Counts::default(),
                "left at {name} after\n{trace}"
            );
            assert_eq!(
                agent.endpoint.poll_timeout(),
                None,
                "timer left at {name} after\n{trace}"
            );
            assert!(
                agent.events.is_empty(),
                "unread at {name}: {:?} after\n{trace}",
                agent.events
            );
        }
    }

    /// What went over the link since the last look.
    #[track_caller]
    pub fn expect_trace(&mut self, expected: &[&str]) {
        let seen = std::mem::take(&mut self.trace);
        assert_eq!(seen, expected);
    }

    /// Closes all connections, as a restarted middlebox would.
    pub fn cut_connections(&mut self) {
        let now = self.now;
        for index in 0..self.connections.len() {
            if std::mem::replace(&mut self.connections[index].open, false) {
                let connection = self.connections[index].id;
                self.a.endpoint.handle_input(Input::Closed { connection }, now);
                self.b.endpoint.handle_input(Input::Closed { connection }, now);
            }
        }
    }

    fn drain(&mut self, side: Side) {
        while let Some(output) = self.agent(side).endpoint.poll_output() {
            match output {
                Output::Event(event) => self.agent(side).events.push_back(event),
                Output::Transmit { flow, bytes } => self.transmit(side, flow, bytes),
                Output::Close { connection } => {
                    let now = self.now;
                    if let Some(found) = self.connections.iter_mut().find(|c| c.id == connection) {
                        found.open = false;
                    }
                    self.agent(side.other())
                        .endpoint
                        .handle_input(Input::Closed { connection }, now);
                }
            }
        }
    }

    fn transmit(&mut self, from: Side, flow: Flow, bytes: Vec<u8>) {
        // Large requests may leave UDP for TCP.
        assert!(flow.transport == self.transport || flow.transport == Transport::Tcp);
        let by_stream = if flow.transport == self.transport {
            ""
        } else {
            " by TCP"
        };
        let name = format!("{}{by_stream}", describe(&bytes));
        let lost = self.is_lost(from, &name);
        self.trace
            .push(format!("{from:?} {name}{}", if lost { "!" } else { "" }));
        if lost {
            return;
        }
        if let (Some(after), None, true) = (
            self.streams_refused,
            flow.connection,
            flow.transport.is_reliable(),
        ) {
            return self.refusals.push((self.now + after, from, flow));
        }
        let connection = (flow.transport != Transport::Udp).then(|| self.connection(from, flow));
        if connection.is_none() {
            let peer = self.agent(from.other()).address;
            assert_eq!(flow.remote, peer, "{name} goes to nobody");
        }
        let copies = 1 + usize::from(self.chance(self.chaos.1));
        for _ in 0..copies {
            let late = if self.chance(self.chaos.2) {
                Duration::from_millis(self.dice() % 300)
            } else {
                Duration::ZERO
            };
            self.order += 1;
            let flight = Flight {
                to: from.other(),
                connection,
                bytes: bytes.clone(),
            };
            self.flights
                .insert((self.now + LATENCY + late, self.order), flight);
        }
    }

    /// The connection of a stream flow, opened when there is none.
    fn connection(&mut self, from: Side, flow: Flow) -> ConnectionId {
        if let Some(id) = flow.connection {
            assert!(
                self.connections.iter().any(|c| c.id == id && c.open),
                "sends on a closed connection"
            );
            return id;
        }
        assert_eq!(
            flow.remote,
            self.agent(from.other()).address,
            "connects to nobody"
        );
        let id = ConnectionId(self.connections.len() as u64 + 1);
        self.connections.push(Connection {
            id,
            opener: from,
            open: true,
        });
        let now = self.now;
        for side in [from, from.other()] {
            let flow = self.stream_flow(side, id);
            self.agent(side)
                .endpoint
                .handle_input(Input::Opened { flow }, now);
        }
        id
    }

    /// How `side` sees a connection: the opener's end has a port of its own.
    fn stream_flow(&self, side: Side, id: ConnectionId) -> Flow {
        let connection = self.connections.iter().find(|c| c.id == id).unwrap();
        let mut flow = self.flow(side);
        if !flow.transport.is_reliable() {
            flow.transport = Transport::Tcp;
        }
        flow.connection = Some(id);
        if connection.opener != side {
            flow.remote.set_port(40_000 + id.0 as u16);
        }
        flow
    }

    fn refuse_streams(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.refusals)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, ..)| *at <= now);
        self.refusals = later;
        for (_, side, flow) in due {
            self.agent(side)
                .endpoint
                .handle_input(Input::TransportFailed { flow }, now);
        }
        self.drain(Side::A);
        self.drain(Side::B);
    }

    fn deliver(&mut self) {
        while let Some(entry) = self
            .flights
            .first_entry()
            .filter(|entry| entry.key().0 <= self.now)
        {
            let flight = entry.remove();
            let flow = self.flow(flight.to);
            let now = self.now;
            let agent = self.agent(flight.to);
            match flight.connection {
                None => agent.endpoint.handle_input(
                    Input::Datagram {
                        flow,
                        bytes: &flight.bytes,
                    },
                    now,
                ),
                Some(connection) => {
                    agent.endpoint.handle_input(
                        Input::Stream {
                            connection,
                            bytes: &flight.bytes,
                        },
                        now,
                    );
                }
            }
            self.drain(Side::A);
            self.drain(Side::B);
        }
    }

    fn is_lost(&mut self, from: Side, name: &str) -> bool {
        let rule = self
            .losses
            .iter_mut()
            .find(|(side, what, left)| *side == from && what == name && *left > 0);
        if let Some((_, _, left)) = rule {
            *left -= 1;
            return true;
        }
        self.chance(self.chaos.0)
    }

    fn dice(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn chance(&mut self, of_thousand: u64) -> bool {
        of_thousand > 0 && self.dice() % 1000 < of_thousand
    }
}

impl Agent {
    #[track_caller]
    pub fn event(&mut self) -> Event {
        self.events.pop_front().expect("an event")
    }

    #[track_caller]
    pub fn expect_invite(&mut self) -> SessionId {
        match self.event() {
            Event::Invite { session, .. } => session,
            other => panic!("no INVITE but {other:?}"),
        }
    }

    #[track_caller]
    pub fn session_event(&mut self, id: SessionId) -> SessionEvent {
        match self.event() {
            Event::Session { session, event } => {
                assert_eq!(session, id);
                event
            }
            other => panic!("no session event but {other:?}"),
        }
    }

    #[track_caller]
    pub fn expect_terminated(&mut self, id: SessionId, expected: TerminatedBy) {
        match self.session_event(id) {
            SessionEvent::Terminated { by, .. } => assert_eq!(by, expected),
            other => panic!("not terminated but {other:?}"),
        }
    }

    #[track_caller]
    pub fn expect_failed(&mut self, id: SessionId, expected: Option<StatusCode>) {
        match self.session_event(id) {
            SessionEvent::Failed { response } => assert_eq!(response.map(|r| r.status), expected),
            other => panic!("not failed but {other:?}"),
        }
    }

    #[track_caller]
    pub fn nothing(&self) {
        assert!(self.events.is_empty(), "{:?}", self.events);
    }
}

/// `INVITE` for a request, `200 INVITE` for a response.
pub fn describe(bytes: &[u8]) -> String {
    match parse(bytes).expect("what an endpoint sends can be read") {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => {
            let method: Method = response.headers.cseq().unwrap().method;
            format!("{} {method}", response.status.code())
        }
    }
}
