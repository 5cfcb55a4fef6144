//! Transactions, dialogs and sessions as a sequence of operations: two endpoints on a link that loses, doubles,
//! reorders and damages what the script says, applications that give any command at any time, messages out of thin
//! air, and time in leaps. Whatever happened, once both hung up and the timers ran out nothing is left.

use super::clock::starting_instant;
use super::script::Script;
use sip_proto::endpoint::{
    Body, Counts, Endpoint, EndpointConfig, Event, Flow, Input, NotifyState, Outgoing, Output, ServerTx,
    SessionId, SubscriptionId,
};
use sip_proto::headers::{Event as Package, NameAddr};
use sip_proto::message::{Headers, Message, Method, Response, StatusCode, parse};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const MAX_STEPS: usize = 160;
/// More messages in flight than that are lost: the link is no memory hole.
const MAX_FLIGHTS: usize = 64;
/// Longer than any timer: an INVITE that rings (C, 3 min) and a subscription or session at its longest.
const END: Duration = Duration::from_secs(3 * 3600);

struct Agent {
    endpoint: Endpoint,
    address: SocketAddr,
    sessions: Vec<SessionId>,
    subscriptions: Vec<SubscriptionId>,
    requests: Vec<(ServerTx, sip_proto::message::Request)>,
}

struct World {
    agents: [Agent; 2],
    now: Instant,
    flights: Vec<(usize, Vec<u8>)>,
}

pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let config = || EndpointConfig {
        allow_events: vec!["conference".to_owned()],
        ..EndpointConfig::default()
    };
    let agent = |number: u8| Agent {
        endpoint: Endpoint::new(config(), [number; 32]),
        address: SocketAddr::from(([192, 0, 2, number], 5060)),
        sessions: Vec::new(),
        subscriptions: Vec::new(),
        requests: Vec::new(),
    };
    let mut world = World {
        agents: [agent(1), agent(2)],
        now: starting_instant(),
        flights: Vec::new(),
    };
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            break;
        }
        world.step(&mut script);
    }
    world.finish();
}

impl World {
    fn step(&mut self, script: &mut Script<'_>) {
        let side = usize::from(script.byte() & 1);
        match script.byte() % 16 {
            0..=4 => self.deliver(script),
            5 => self.pass(Duration::from_millis(u64::from(script.byte()) * 50)),
            6 => self.pass(Duration::from_secs(u64::from(script.byte()) * 8)),
            7 => self.thin_air(side, script),
            8 => self.call(side),
            9 => self.subscribe(side, script),
            _ => self.command(side, script),
        }
        self.drain(0);
        self.drain(1);
    }

    /// A message in flight arrives, is lost, arrives twice, or arrives damaged.
    fn deliver(&mut self, script: &mut Script<'_>) {
        if self.flights.is_empty() {
            return;
        }
        let choice = script.byte();
        let index = usize::from(choice >> 3) % self.flights.len();
        let (to, mut bytes) = self.flights.remove(index);
        match choice & 7 {
            0 => return,
            1 => self.flights.push((to, bytes.clone())),
            2 => {
                let at = usize::from(script.byte()) * 4 % bytes.len();
                bytes[at] = script.byte();
            }
            _ => {}
        }
        self.receive(to, &bytes);
    }

    fn receive(&mut self, to: usize, bytes: &[u8]) {
        let flow = self.flow(to);
        let now = self.now;
        self.agents[to]
            .endpoint
            .handle_input(Input::Datagram { flow, bytes }, now);
    }

    fn flow(&self, side: usize) -> Flow {
        Flow::udp(self.agents[side].address, self.agents[1 - side].address)
    }

    /// A message that nobody sent: text of the script itself, or one with few names so that it often hits something.
    fn thin_air(&mut self, side: usize, script: &mut Script<'_>) {
        let methods = [
            "INVITE",
            "ACK",
            "BYE",
            "CANCEL",
            "PRACK",
            "UPDATE",
            "OPTIONS",
            "SUBSCRIBE",
            "NOTIFY",
            "INFO",
        ];
        let method = script.pick(&methods);
        let (branch, tag, call) = (script.byte() % 4, script.byte() % 3, script.byte() % 3);
        let cseq = script.byte() % 8;
        let first = match script.byte() % 3 {
            0 => script
                .pick(&[
                    "SIP/2.0 100 a",
                    "SIP/2.0 183 b",
                    "SIP/2.0 200 c",
                    "SIP/2.0 302 d",
                    "SIP/2.0 491 e",
                ])
                .to_owned(),
            1 => format!("{method} sip:b@192.0.2.2 SIP/2.0"),
            _ => {
                let text = script.bytes().to_vec();
                return self.receive(side, &text);
            }
        };
        let to_tag = if tag == 0 {
            String::new()
        } else {
            format!(";tag=t{tag}")
        };
        let message = format!(
            "{first}\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{branch}\r\nMax-Forwards: 9\r\nFrom: <sip:x@h>;tag=f\r\n\
             To: <sip:b@h>{to_tag}\r\nCall-ID: c{call}\r\nCSeq: {cseq} {method}\r\nContact: <sip:x@192.0.2.9>\r\n\
             Event: conference\r\nRAck: 1 {cseq} INVITE\r\nContent-Length: 0\r\n\r\n"
        );
        self.receive(side, message.as_bytes());
    }

    fn outgoing(&self, side: usize) -> Outgoing {
        let uri = |side: usize| {
            format!("sip:u@{}", self.agents[side].address)
                .parse()
                .expect("a URI")
        };
        Outgoing {
            target: uri(1 - side),
            from: NameAddr::new(uri(side)),
            to: NameAddr::new(uri(1 - side)),
            contact: None,
            flow: self.flow(side),
            route: Vec::new(),
            headers: Headers::new(),
            body: None,
        }
    }

    fn call(&mut self, side: usize) {
        let call = Outgoing {
            body: Some(sdp()),
            ..self.outgoing(side)
        };
        let now = self.now;
        let agent = &mut self.agents[side];
        agent.sessions.extend(agent.endpoint.invite(call, now));
    }

    fn subscribe(&mut self, side: usize, script: &mut Script<'_>) {
        let request = self.outgoing(side);
        let expires = u32::from(script.byte()) * 20;
        let now = self.now;
        let agent = &mut self.agents[side];
        agent.subscriptions.extend(agent.endpoint.subscribe(
            request,
            Package::new("conference"),
            expires,
            now,
        ));
    }

    /// The application says something to one of its sessions, subscriptions or waiting requests.
    fn command(&mut self, side: usize, script: &mut Script<'_>) {
        let now = self.now;
        let choice = script.byte();
        let which = usize::from(script.byte());
        let agent = &mut self.agents[side];
        let endpoint = &mut agent.endpoint;
        if choice % 16 == 15 && !agent.requests.is_empty() {
            let (tx, request) = agent.requests.remove(which % agent.requests.len());
            let _ = endpoint.respond(tx, Response::to(&request, StatusCode::OK), now);
            return;
        }
        if let Some(&id) = agent.subscriptions.get(which % agent.subscriptions.len().max(1)) {
            let _ = match choice % 16 {
                0 => endpoint.accept_subscription(id, 600, now),
                1 => endpoint.notify(id, NotifyState::Active, None, now),
                2 => endpoint.unsubscribe(id, now),
                3 => endpoint.reject_subscription(id, StatusCode::FORBIDDEN, Headers::new(), now),
                _ => Ok(()),
            };
        }
        let Some(&id) = agent.sessions.get(which % agent.sessions.len().max(1)) else {
            return;
        };
        let body = (choice & 16 == 0).then(sdp);
        let _ = match choice % 16 {
            0 => endpoint.ring(id, StatusCode::RINGING, None, Headers::new(), now),
            1 => endpoint.ring(id, StatusCode::SESSION_PROGRESS, body, Headers::new(), now),
            2..=4 => endpoint.accept(id, body, Headers::new(), now),
            5 => endpoint.reject(id, StatusCode::BUSY_HERE, Headers::new(), now),
            6 => endpoint.cancel(id, now),
            7 => endpoint.bye(id, None, now),
            8 | 9 => endpoint.reoffer(id, sdp(), now),
            10 => endpoint.update(id, sdp(), now),
            11 => endpoint.answer(id, sdp(), now),
            12 => endpoint.refuse(id, StatusCode::NOT_ACCEPTABLE_HERE, Headers::new(), now),
            13 => endpoint.ack_with_answer(id, sdp(), now),
            _ => endpoint
                .request_in_dialog(id, Method::Info, Headers::new(), None, now)
                .map(|_| ()),
        };
    }

    /// Lets time pass from timer to timer.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        loop {
            self.drain(0);
            self.drain(1);
            let next = self
                .agents
                .iter()
                .filter_map(|agent| agent.endpoint.poll_timeout())
                .map(|(at, _)| at)
                .min();
            let Some(next) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for agent in &mut self.agents {
                agent.endpoint.handle_timeout(self.now);
            }
            turns += 1;
            assert!(turns < 100_000, "timers make no progress");
        }
        self.now = end;
    }

    /// Takes what an endpoint says; events become the application's knowledge.
    fn drain(&mut self, side: usize) {
        while let Some(output) = self.agents[side].endpoint.poll_output() {
            let agent = &mut self.agents[side];
            match output {
                Output::Transmit { flow, bytes } => {
                    check(&bytes);
                    if flow.remote == self.agents[1 - side].address && self.flights.len() < MAX_FLIGHTS {
                        self.flights.push((1 - side, bytes));
                    }
                }
                Output::Close { .. } => {}
                Output::Event(Event::Invite { session, .. }) => agent.sessions.push(session),
                Output::Event(Event::Subscribe { subscription, .. }) => {
                    agent.subscriptions.push(subscription)
                }
                Output::Event(
                    Event::Request { tx, request, .. }
                    | Event::Session {
                        event: sip_proto::endpoint::SessionEvent::Request { tx, request },
                        ..
                    },
                ) => agent.requests.push((tx, request)),
                Output::Event(_) => {}
            }
        }
    }

    /// Both applications end all that they know of; then time passes, with the link down.
    fn finish(&mut self) {
        for round in 0..3 {
            for side in 0..2 {
                let now = self.now;
                let agent = &mut self.agents[side];
                for (tx, request) in agent.requests.drain(..) {
                    let _ = agent
                        .endpoint
                        .respond(tx, Response::to(&request, StatusCode::OK), now);
                }
                for &id in &agent.sessions {
                    let _ = agent
                        .endpoint
                        .reject(id, StatusCode::DECLINE, Headers::new(), now);
                    let _ = agent.endpoint.cancel(id, now);
                    let _ = agent.endpoint.bye(id, None, now);
                }
                for &id in &agent.subscriptions {
                    let _ = agent
                        .endpoint
                        .reject_subscription(id, StatusCode::DECLINE, Headers::new(), now);
                    let over = NotifyState::Terminated {
                        reason: "noresource".to_owned(),
                    };
                    let _ = agent.endpoint.notify(id, over, None, now);
                    let _ = agent.endpoint.unsubscribe(id, now);
                }
            }
            self.pass(if round < 2 { Duration::from_secs(200) } else { END });
            self.flights.clear();
        }
        for agent in &self.agents {
            assert_eq!(agent.endpoint.counts(), Counts::default(), "left over");
            assert_eq!(agent.endpoint.poll_timeout(), None, "a timer of nobody");
        }
    }
}

/// What an endpoint sends, reads.
fn check(bytes: &[u8]) {
    if let Err(error) = parse(bytes) {
        // A refusal of a damaged request repeats its headers, damage included (RFC 3261 §8.2.6.2).
        assert!(
            bytes.starts_with(b"SIP/2.0 4") || bytes.starts_with(b"SIP/2.0 5"),
            "{error}: {}",
            bytes.escape_ascii()
        );
    } else if let Ok(Message::Request(request)) = parse(bytes) {
        assert!(request.headers.max_forwards().is_ok());
    }
}

fn sdp() -> Body {
    Body::sdp("v=0\r\ns=x\r\n")
}
