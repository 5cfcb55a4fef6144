//! A server and its callers on one wire.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use meet_server::focus::Focus;
use meet_server::focus::ids::RoomId;
use meet_server::focus::io::{FocusInput, FocusOutput};
use meet_server::focus::policy;
use meet_server::focus::record::StoreRecord;
use meet_server::focus::room::Room;
use meet_server::focus::room_io::{MediaCommand, RoomInput, RoomOutput};
use meet_server::focus::settings::FocusSettings;
use meet_server::registrar::Account;
use sip_proto::conference_info::Document;
use sip_proto::digest::Credentials;
use sip_proto::endpoint::{
    Body, Counts, Endpoint, EndpointConfig, Event, Flow, Input, Outgoing, Output, SessionEvent, SessionId,
    SubscriptionEvent, SubscriptionId,
};
use sip_proto::headers::{Event as EventHeader, NameAddr};
use sip_proto::message::{Headers, Method, Response};
use sip_proto::sdp;
use sip_proto::sdp::offer_answer::{LocalMedia, OfferAnswer};
use sip_proto::uri::Uri;

pub const SERVER: &str = "192.168.1.1:5060";

/// A caller: an endpoint with what it heard.
pub struct Caller {
    pub endpoint: Endpoint,
    pub addr: SocketAddr,
    pub heard: Vec<Event>,
    pub offers: OfferAnswer,
    /// Answers requests in its dialogs with 200.
    pub polite: bool,
    name: String,
}

pub struct Town {
    pub now: Instant,
    pub server: Endpoint,
    pub focus: Focus,
    pub rooms: HashMap<RoomId, Room>,
    pub callers: Vec<Caller>,
    pub records: Vec<StoreRecord>,
    pub media: Vec<(RoomId, MediaCommand)>,
    pub accounts: HashMap<String, Account>,
    pub opens_legs: bool,
    pub shut_down: bool,
    /// Callers whose cable is cut.
    pub unplugged: HashSet<usize>,
    /// Datagrams: to whom, from whom, what.
    wire: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
    closed: HashSet<RoomId>,
}

impl Town {
    pub fn new(settings: FocusSettings) -> Self {
        let now = Instant::now();
        let config = EndpointConfig {
            allow: policy::ALLOWED_METHODS.to_vec(),
            allow_events: vec!["conference".to_owned()],
            screened: true,
            ..EndpointConfig::default()
        };
        Self {
            now,
            server: Endpoint::new(config, [1; 32]),
            focus: Focus::new(settings, [2; 32], now),
            rooms: HashMap::new(),
            callers: Vec::new(),
            records: Vec::new(),
            media: Vec::new(),
            accounts: HashMap::new(),
            opens_legs: true,
            shut_down: false,
            unplugged: HashSet::new(),
            wire: VecDeque::new(),
            closed: HashSet::new(),
        }
    }

    /// Somebody moves in.
    pub fn caller(&mut self, name: &str, password: Option<&str>) -> usize {
        let index = self.callers.len();
        let number = u8::try_from(index).unwrap();
        let credentials = password.map(|password| Credentials {
            realm: None,
            user: name.to_lowercase(),
            password: password.to_owned(),
        });
        let config = EndpointConfig {
            contact_user: name.to_lowercase(),
            credentials: credentials.into_iter().collect(),
            ..EndpointConfig::default()
        };
        self.callers.push(Caller {
            endpoint: Endpoint::new(config, [100 + number; 32]),
            addr: SocketAddr::from(([192, 168, 1, 10 + number], 5060)),
            heard: Vec::new(),
            offers: OfferAnswer::new(u64::from(number) << 8),
            polite: true,
            name: name.to_owned(),
        });
        index
    }

    pub fn outgoing(&self, who: usize, target: &str) -> Outgoing {
        let caller = &self.callers[who];
        let target: Uri = target.parse().unwrap();
        let from: Uri = format!("sip:{}@192.168.1.1", caller.name.to_lowercase())
            .parse()
            .unwrap();
        Outgoing {
            target: target.clone(),
            from: NameAddr::new(from).with_display(caller.name.clone()),
            to: NameAddr::new(target),
            contact: None,
            flow: Flow::udp(caller.addr, SERVER.parse().unwrap()),
            route: Vec::new(),
            headers: Headers::new(),
            body: None,
        }
    }

    pub fn offer(&mut self, who: usize) -> Body {
        let caller = &mut self.callers[who];
        let local = LocalMedia::new(caller.addr.ip(), 40_000);
        Body::sdp(caller.offers.create_offer(&local).unwrap().to_string())
    }

    /// Calls with an offer, and waits until the wire is quiet.
    pub fn call(&mut self, who: usize, target: &str) -> SessionId {
        let body = self.offer(who);
        self.call_with(who, target, Some(body))
    }

    pub fn call_with(&mut self, who: usize, target: &str, body: Option<Body>) -> SessionId {
        let mut outgoing = self.outgoing(who, target);
        outgoing.body = body;
        let now = self.now;
        let session = self.callers[who].endpoint.invite(outgoing, now).unwrap();
        self.settle();
        session
    }

    /// Comes in for good.
    pub fn join(&mut self, who: usize, target: &str) -> (SessionId, Response) {
        let session = self.call(who, target);
        let response = self
            .session_events(who, session)
            .into_iter()
            .find_map(|event| match event {
                SessionEvent::Answered { response } => Some(response),
                _ => None,
            })
            .unwrap_or_else(|| panic!("not answered: {:?}", self.callers[who].heard));
        let answer = sdp::parse(&response.body).unwrap();
        self.callers[who].offers.receive_answer(answer).unwrap();
        (session, response)
    }

    /// The status with which a call failed.
    pub fn refused(&mut self, who: usize, target: &str) -> u16 {
        let body = Body::sdp(
            OfferAnswer::new(1)
                .create_offer(&LocalMedia::new(self.callers[who].addr.ip(), 40_000))
                .unwrap()
                .to_string(),
        );
        let session = self.call_with(who, target, Some(body));
        self.session_events(who, session)
            .into_iter()
            .find_map(|event| match event {
                SessionEvent::Failed { response } => response.map(|response| response.status.code()),
                _ => None,
            })
            .unwrap_or_else(|| panic!("not refused: {:?}", self.callers[who].heard))
    }

    /// What a caller heard about a session since it was last asked.
    pub fn session_events(&mut self, who: usize, of: SessionId) -> Vec<SessionEvent> {
        let mut found = Vec::new();
        self.callers[who].heard.retain(|event| match event {
            Event::Session { session, event } if *session == of => {
                found.push(event.clone());
                false
            }
            _ => true,
        });
        found
    }

    /// The Reason text of a BYE that the caller got.
    pub fn goodbye(&mut self, who: usize, of: SessionId) -> Option<String> {
        self.session_events(who, of)
            .into_iter()
            .find_map(|event| match event {
                SessionEvent::Terminated { reason, .. } => {
                    Some(reason.map(|reason| reason.to_string()).unwrap_or_default())
                }
                _ => None,
            })
    }

    pub fn subscribe(&mut self, who: usize, target: &str) -> SubscriptionId {
        let outgoing = self.outgoing(who, target);
        let now = self.now;
        let event = EventHeader::new("conference");
        let subscription = self.callers[who]
            .endpoint
            .subscribe(outgoing, event, 600, now)
            .unwrap();
        self.settle();
        subscription
    }

    /// The documents that the caller got since it was last asked.
    pub fn documents(&mut self, who: usize) -> Vec<Document> {
        let mut found = Vec::new();
        self.callers[who].heard.retain(|event| match event {
            Event::Subscription {
                event: SubscriptionEvent::Notify { request, .. },
                ..
            } => {
                found.push(Document::parse(&request.body).unwrap());
                false
            }
            _ => true,
        });
        found
    }

    /// A request outside any dialog; the final response.
    pub fn ask(&mut self, who: usize, method: Method, outgoing: Outgoing) -> Response {
        let now = self.now;
        let of = self.callers[who].endpoint.request(method, outgoing, now).unwrap();
        self.settle();
        self.callers[who]
            .heard
            .iter()
            .find_map(|event| match event {
                Event::Response { tx, response } if *tx == of => Some(response.clone()),
                _ => None,
            })
            .unwrap_or_else(|| panic!("no answer: {:?}", self.callers[who].heard))
    }

    /// Gives a room something from its shard.
    pub fn shard(&mut self, input: RoomInput) {
        let now = self.now;
        self.rooms.values_mut().next().unwrap().handle_input(input, now);
        self.settle();
    }

    pub fn give(&mut self, input: FocusInput) {
        let now = self.now;
        self.focus.handle_input(input, now);
        self.settle();
    }

    /// Lets time pass, timer by timer.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let callers = self
                .callers
                .iter()
                .filter_map(|caller| caller.endpoint.poll_timeout());
            let rooms = self.rooms.values().filter_map(Room::poll_timeout);
            let server = self
                .server
                .poll_timeout()
                .into_iter()
                .chain(self.focus.poll_timeout());
            let next = callers.chain(rooms).chain(server).map(|(at, _)| at).min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            let now = self.now;
            self.server.handle_timeout(now);
            self.focus.handle_timeout(now);
            self.rooms.values_mut().for_each(|room| room.handle_timeout(now));
            self.callers
                .iter_mut()
                .for_each(|caller| caller.endpoint.handle_timeout(now));
        }
        self.now = end;
    }

    /// Long enough for every transaction to be forgotten.
    pub fn rest(&mut self) -> Counts {
        self.pass(Duration::from_secs(120));
        self.server.counts()
    }

    /// Carries everything until nothing moves.
    pub fn settle(&mut self) {
        let now = self.now;
        loop {
            let mut quiet = !self.settle_server(now);
            for index in 0..self.callers.len() {
                quiet &= !self.settle_caller(index, now);
            }
            while let Some((to, from, bytes)) = self.wire.pop_front() {
                quiet = false;
                self.deliver(to, from, &bytes, now);
            }
            if quiet {
                return;
            }
        }
    }

    fn deliver(&mut self, to: SocketAddr, from: SocketAddr, bytes: &[u8], now: Instant) {
        let cut = |addr| {
            self.callers
                .iter()
                .position(|c| c.addr == addr)
                .is_some_and(|i| self.unplugged.contains(&i))
        };
        if cut(to) || cut(from) {
            return;
        }
        let input = Input::Datagram {
            flow: Flow::udp(to, from),
            bytes,
        };
        if to == SERVER.parse().unwrap() {
            self.server.handle_input(input, now);
        } else if let Some(caller) = self.callers.iter_mut().find(|caller| caller.addr == to) {
            caller.endpoint.handle_input(input, now);
        }
    }

    fn settle_caller(&mut self, index: usize, now: Instant) -> bool {
        let mut moved = false;
        while let Some(output) = self.callers[index].endpoint.poll_output() {
            moved = true;
            match output {
                Output::Transmit { flow, bytes } => self.wire.push_back((flow.remote, flow.local, bytes)),
                Output::Close { .. } => {}
                Output::Event(event) => {
                    let caller = &mut self.callers[index];
                    if let Event::Session {
                        event: SessionEvent::Request { tx, request },
                        ..
                    } = &event
                        && caller.polite
                    {
                        let ok = Response::to(request, sip_proto::message::StatusCode::OK);
                        caller.endpoint.respond(*tx, ok, now).unwrap();
                    }
                    caller.heard.push(event);
                }
            }
        }
        moved
    }

    fn settle_server(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(output) = self.server.poll_output() {
            moved = true;
            match output {
                Output::Transmit { flow, bytes } => self.wire.push_back((flow.remote, flow.local, bytes)),
                Output::Close { .. } => {}
                Output::Event(event) => self.focus.handle_input(FocusInput::Sip(event), now),
            }
        }
        while let Some(output) = self.focus.poll_output() {
            moved = true;
            self.on_focus(output, now);
        }
        for id in self.rooms.keys().copied().collect::<Vec<_>>() {
            while let Some(output) = self.rooms.get_mut(&id).and_then(Room::poll_output) {
                moved = true;
                self.on_room(id, output, now);
            }
            if self.closed.contains(&id) {
                self.rooms.remove(&id);
            }
        }
        moved
    }

    fn on_focus(&mut self, output: FocusOutput, now: Instant) {
        match output {
            FocusOutput::Sip(command) => {
                if let Some(back) = command.execute(&mut self.server, now) {
                    self.focus.handle_input(back, now);
                }
            }
            FocusOutput::SpawnRoom(setup) => {
                self.rooms.insert(setup.id, Room::new(*setup, now));
            }
            FocusOutput::ToRoom { room, input } => match self.rooms.get_mut(&room) {
                Some(task) => task.handle_input(*input, now),
                None => panic!("no room {room}"),
            },
            FocusOutput::CloseRoom { room } => {
                self.closed.insert(room);
            }
            FocusOutput::LookUp { id, user, .. } => {
                let account = self.accounts.get(&user).cloned();
                self.focus.handle_input(FocusInput::Account { id, account }, now);
            }
            FocusOutput::Record(record) => self.records.push(record),
            FocusOutput::ApiReply { .. } | FocusOutput::Conduct { .. } => {}
            FocusOutput::ShutDown => self.shut_down = true,
        }
    }

    fn on_room(&mut self, room: RoomId, output: RoomOutput, now: Instant) {
        match output {
            RoomOutput::Sip(command) => {
                if let Some(back) = command.execute(&mut self.server, now) {
                    self.focus.handle_input(back, now);
                }
            }
            RoomOutput::Report(report) => self.focus.handle_input(FocusInput::Room { room, report }, now),
            RoomOutput::Media(command) => {
                if let MediaCommand::OpenLeg { leg, .. } = &command
                    && self.opens_legs
                {
                    let port = 20_000 + u16::try_from(leg.0).unwrap() * 2;
                    let opened = RoomInput::LegOpened {
                        leg: *leg,
                        rtp_port: port,
                        rtcp_port: Some(port + 1),
                    };
                    self.rooms.get_mut(&room).unwrap().handle_input(opened, now);
                }
                self.media.push((room, command));
            }
            RoomOutput::Record(record) => self.records.push(record),
            RoomOutput::ApiReply { .. } => {}
        }
    }
}
