//! A focus with its rooms, driven by hand: the outputs are carried where a driver would carry
//! them, the commands for the endpoint are kept for the test to look at.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use meet_server::focus::Focus;
use meet_server::focus::api::{ApiReply, ApiRequest};
use meet_server::focus::command::SipCommand;
use meet_server::focus::ids::{ApiId, RoomId};
use meet_server::focus::io::{Conduct, FocusInput, FocusOutput};
use meet_server::focus::record::StoreRecord;
use meet_server::focus::room::Room;
use meet_server::focus::room_io::{MediaCommand, RoomInput, RoomOutput};
use meet_server::focus::settings::{Admittance, FocusSettings};
use meet_server::registrar::Account;
use sip_proto::conference_info::Document;
use sip_proto::endpoint::{
    Event, Flow, NotifyState, ServerTx, SessionEvent, SessionId, SubscriptionId, TerminatedBy,
};
use sip_proto::message::{self, HeaderName, Headers, Message, Request, Response};

pub const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.168.1.9\r\ns=-\r\nc=IN IP4 192.168.1.9\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 96 0 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n";

pub struct House {
    pub focus: Focus,
    pub rooms: HashMap<RoomId, Room>,
    pub now: Instant,
    pub sip: VecDeque<SipCommand>,
    pub media: Vec<(RoomId, MediaCommand)>,
    pub records: Vec<StoreRecord>,
    pub replies: Vec<(ApiId, ApiReply)>,
    pub accounts: HashMap<String, Account>,
    pub closed: Vec<RoomId>,
    pub shut_down: bool,
    /// The shard opens every leg at once.
    pub opens_legs: bool,
    /// Mailboxes that are full.
    pub full: bool,
    pub lookups: Vec<FocusOutput>,
    /// Lookups are answered at once.
    pub answers_lookups: bool,
    pub conduct: Vec<Conduct>,
    next: u64,
}

pub fn lan() -> FocusSettings {
    FocusSettings {
        admittance: Admittance::Lan,
        api_url: Some("http://192.168.1.1:8080".into()),
        authority: "192.168.1.1:5060".into(),
        ..FocusSettings::default()
    }
}

pub fn flow() -> Flow {
    flow_from("192.168.1.9:5060")
}

pub fn flow_from(remote: &str) -> Flow {
    Flow::udp(addr("192.168.1.1:5060"), addr(remote))
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Makes a request with the usual headers, further lines and a body.
pub fn request(method: &str, uri: &str, from: &str, lines: &[&str], body: &str) -> Request {
    let further: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let text = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.9:5060;branch=z9hG4bKx\r\n\
         From: {from};tag=f1\r\nTo: <{uri}>\r\nCall-ID: call-{method}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:ann@192.168.1.9:5060>\r\nMax-Forwards: 70\r\n{further}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    match message::parse(text.as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}\n{text}"),
    }
}

impl House {
    pub fn new(settings: FocusSettings) -> Self {
        let now = Instant::now();
        Self {
            focus: Focus::new(settings, [1; 32], now),
            rooms: HashMap::new(),
            now,
            sip: VecDeque::new(),
            media: Vec::new(),
            records: Vec::new(),
            replies: Vec::new(),
            accounts: HashMap::new(),
            closed: Vec::new(),
            shut_down: false,
            opens_legs: true,
            full: false,
            lookups: Vec::new(),
            answers_lookups: true,
            conduct: Vec::new(),
            next: 0,
        }
    }

    pub fn lan() -> Self {
        Self::new(lan())
    }

    pub fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Gives the focus something and carries everything that follows from it.
    pub fn give(&mut self, input: FocusInput) {
        self.focus.handle_input(input, self.now);
        self.carry();
    }

    pub fn give_room(&mut self, room: RoomId, input: RoomInput) {
        let now = self.now;
        self.rooms.get_mut(&room).unwrap().handle_input(input, now);
        self.carry();
    }

    pub fn invite_as(&mut self, request: Request, flow: Flow) -> SessionId {
        let session = SessionId(self.fresh());
        self.give(FocusInput::Sip(Event::Invite {
            session,
            request,
            flow,
        }));
        session
    }

    /// An INVITE with an offer; the answer is left in `sip`.
    pub fn invite(&mut self, uri: &str, name: &str) -> SessionId {
        let from = format!(
            "\"{name}\" <sip:{}@192.168.1.9>",
            name.to_lowercase().replace(' ', ".")
        );
        let sdp = ["Content-Type: application/sdp"];
        self.invite_as(request("INVITE", uri, &from, &sdp, OFFER), flow())
    }

    /// A request that nothing is kept for yet; the one command that it comes to.
    pub fn arrival(&mut self, request: Request, flow: Flow) -> SipCommand {
        self.give(FocusInput::Sip(Event::Arrival { request, flow }));
        self.sip.pop_back().expect("a command")
    }

    pub fn session(&mut self, session: SessionId, event: SessionEvent) {
        self.give(FocusInput::Sip(Event::Session { session, event }));
    }

    pub fn ack(&mut self, session: SessionId) {
        self.session(
            session,
            SessionEvent::Confirmed {
                body: vec![],
                content_type: None,
            },
        );
    }

    pub fn hang_up(&mut self, session: SessionId) {
        self.session(
            session,
            SessionEvent::Terminated {
                by: TerminatedBy::Peer,
                reason: None,
            },
        );
    }

    /// Comes in for good: INVITE, 200, ACK.
    pub fn join(&mut self, uri: &str, name: &str) -> SessionId {
        let session = self.invite(uri, name);
        let (headers, _) = self.accepted(session);
        assert!(headers.get(&HeaderName::Contact).unwrap().ends_with(";isfocus"));
        self.ack(session);
        session
    }

    pub fn subscribe_as(&mut self, request: Request) -> SubscriptionId {
        let subscription = SubscriptionId(self.fresh());
        self.give(FocusInput::Sip(Event::Subscribe {
            subscription,
            request,
            flow: flow(),
        }));
        subscription
    }

    pub fn subscribe(&mut self, uri: &str) -> SubscriptionId {
        let lines = ["Event: conference", "Expires: 600"];
        self.subscribe_as(request("SUBSCRIBE", uri, "<sip:ann@192.168.1.9>", &lines, ""))
    }

    /// Any other request; returns the response.
    pub fn ask_as(&mut self, request: Request, flow: Flow) -> Response {
        let tx = ServerTx(self.fresh());
        self.give(FocusInput::Sip(Event::Request { tx, request, flow }));
        self.response(tx)
    }

    pub fn ask(&mut self, method: &str, uri: &str) -> Response {
        self.ask_as(request(method, uri, "<sip:ann@192.168.1.9>", &[], ""), flow())
    }

    pub fn api(&mut self, request: ApiRequest) -> ApiReply {
        let id = ApiId(self.fresh());
        self.give(FocusInput::Api { id, request });
        let place = self
            .replies
            .iter()
            .position(|(of, _)| *of == id)
            .expect("no reply");
        self.replies.remove(place).1
    }

    /// Lets time pass, timer by timer.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let rooms = self.rooms.values().filter_map(|room| room.poll_timeout());
            let next = rooms.chain(self.focus.poll_timeout()).map(|(at, _)| at).min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            let now = self.now;
            self.focus.handle_timeout(now);
            self.rooms.values_mut().for_each(|room| room.handle_timeout(now));
            self.carry();
        }
        self.now = end;
    }

    pub fn take(&mut self, fits: impl Fn(&SipCommand) -> bool) -> Option<SipCommand> {
        let place = self.sip.iter().position(fits)?;
        self.sip.remove(place)
    }

    /// The 200 to an INVITE: headers and body.
    pub fn accepted(&mut self, of: SessionId) -> (Headers, String) {
        match self.take(|c| matches!(c, SipCommand::Accept { session, .. } if *session == of)) {
            Some(SipCommand::Accept { headers, body, .. }) => {
                (headers, String::from_utf8(body.bytes).unwrap())
            }
            _ => panic!("not accepted: {:?}", self.sip),
        }
    }

    pub fn rejected(&mut self, of: SessionId) -> (u16, Headers) {
        match self.take(|c| matches!(c, SipCommand::Reject { session, .. } if *session == of)) {
            Some(SipCommand::Reject { status, headers, .. }) => (status.code(), headers),
            _ => panic!("not rejected: {:?}", self.sip),
        }
    }

    /// The refusal of an INVITE in one step.
    pub fn invite_refused(&mut self, uri: &str) -> u16 {
        let session = self.invite(uri, "Zoe");
        self.rejected(session).0
    }

    pub fn response(&mut self, of: ServerTx) -> Response {
        match self.take(|c| matches!(c, SipCommand::Respond { tx, .. } if *tx == of)) {
            Some(SipCommand::Respond { response, .. }) => response,
            _ => panic!("no response: {:?}", self.sip),
        }
    }

    /// The Reason of a BYE; `None` if no BYE was sent.
    pub fn bye(&mut self, of: SessionId) -> Option<String> {
        match self.take(|c| matches!(c, SipCommand::Bye { session, .. } if *session == of))? {
            SipCommand::Bye { reason, .. } => Some(reason.map(|r| r.to_string()).unwrap_or_default()),
            _ => None,
        }
    }

    /// The next document for a subscriber, and whether the subscription goes on.
    pub fn document(&mut self, of: SubscriptionId) -> Option<(Document, NotifyState)> {
        match self.take(|c| matches!(c, SipCommand::Notify { subscription, .. } if *subscription == of))? {
            SipCommand::Notify { body, state, .. } => Some((Document::parse(&body.bytes).unwrap(), state)),
            _ => None,
        }
    }

    /// The latest document for a subscriber.
    pub fn latest(&mut self, of: SubscriptionId) -> Document {
        std::iter::from_fn(|| self.document(of))
            .last()
            .expect("no document")
            .0
    }

    pub fn only_room(&self) -> RoomId {
        assert_eq!(self.rooms.len(), 1);
        *self.rooms.keys().next().unwrap()
    }

    pub fn open_names(&mut self) -> Vec<String> {
        match self.api(ApiRequest::List) {
            ApiReply::Meetings(meetings) => meetings.into_iter().map(|m| m.name).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn carry(&mut self) {
        let now = self.now;
        loop {
            let mut quiet = true;
            while let Some(output) = self.focus.poll_output() {
                quiet = false;
                self.on_focus(output, now);
            }
            for id in self.rooms.keys().copied().collect::<Vec<_>>() {
                while let Some(output) = self.rooms.get_mut(&id).and_then(Room::poll_output) {
                    quiet = false;
                    self.on_room(id, output, now);
                }
                if self.closed.contains(&id) {
                    self.rooms.remove(&id);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn on_focus(&mut self, output: FocusOutput, now: Instant) {
        match output {
            FocusOutput::Sip(command) => self.sip.push_back(command),
            FocusOutput::SpawnRoom(setup) => {
                self.rooms.insert(setup.id, Room::new(*setup, now));
            }
            FocusOutput::ToRoom { room, input } => match self.rooms.get_mut(&room) {
                Some(task) if !self.full => task.handle_input(*input, now),
                Some(_) => self.focus.handle_input(FocusInput::RoomBusy { room, input }, now),
                None => panic!("no room {room} for {input:?}"),
            },
            FocusOutput::CloseRoom { room } => self.closed.push(room),
            FocusOutput::LookUp { id, ref user, .. } if self.answers_lookups => {
                let account = self.accounts.get(user).cloned();
                self.focus.handle_input(FocusInput::Account { id, account }, now);
            }
            output @ FocusOutput::LookUp { .. } => self.lookups.push(output),
            FocusOutput::Record(record) => self.records.push(record),
            FocusOutput::Conduct { conduct, .. } => self.conduct.push(conduct),
            FocusOutput::ApiReply { id, reply } => self.replies.push((id, reply)),
            FocusOutput::ShutDown => self.shut_down = true,
        }
    }

    fn on_room(&mut self, room: RoomId, output: RoomOutput, now: Instant) {
        match output {
            RoomOutput::Sip(command) => self.sip.push_back(command),
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
            RoomOutput::ApiReply { id, reply } => self.replies.push((id, reply)),
        }
    }
}
