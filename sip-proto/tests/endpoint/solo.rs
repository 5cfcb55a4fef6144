//! One endpoint against messages made by hand.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_proto::endpoint::{
    Counts, Endpoint, EndpointConfig, Event, Flow, Input, Output, SessionEvent, SessionId,
};
use sip_proto::message::{HeaderName, Headers, Message, Request, Response, parse};

use crate::pair::{sdp, starting_instant};

pub struct Solo {
    pub endpoint: Endpoint,
    pub now: Instant,
    pub flow: Flow,
    pub events: Vec<Event>,
    /// The endpoint may answer what it could not read; that answer repeats broken headers.
    pub tolerant: bool,
    /// The status of every response sent, readable or not.
    pub raw_statuses: Vec<u16>,
    /// Everything sent, with where it went.
    pub sent: Vec<(SocketAddr, Message)>,
}

impl Solo {
    pub fn new() -> Solo {
        Solo::with(EndpointConfig::default())
    }

    pub fn with(config: EndpointConfig) -> Solo {
        let flow = Flow::udp(([192, 0, 2, 1], 5060).into(), ([192, 0, 2, 9], 5070).into());
        Solo {
            endpoint: Endpoint::new(config, [7; 32]),
            now: starting_instant(),
            flow,
            events: Vec::new(),
            tolerant: false,
            raw_statuses: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// A datagram from the peer; line ends become CRLF, and the head gets its empty line.
    pub fn receive(&mut self, text: &str) {
        let flow = self.flow;
        self.receive_from(flow, text);
    }

    pub fn receive_from(&mut self, flow: Flow, text: &str) {
        let mut wire = text.trim_start().replace('\n', "\r\n");
        if !wire.contains("\r\n\r\n") {
            wire.push_str("\r\n");
        }
        self.receive_bytes(flow, wire.as_bytes());
    }

    pub fn receive_bytes(&mut self, flow: Flow, bytes: &[u8]) {
        self.endpoint
            .handle_input(Input::Datagram { flow, bytes }, self.now);
        self.drain();
    }

    /// An INVITE of the peer with these further lines, accepted but not acknowledged; the session and our 200.
    #[track_caller]
    pub fn accepted(&mut self, lines: &str) -> (SessionId, Response) {
        self.receive(&request("INVITE", 1, "first", "", lines));
        self.expect_status(100);
        let Event::Invite { session, .. } = self.event() else {
            panic!("no INVITE")
        };
        self.endpoint
            .accept(session, Some(sdp("answer")), Headers::new(), self.now)
            .unwrap();
        self.drain();
        (session, self.expect_status(200))
    }

    /// The same with its ACK: a call that stands.
    #[track_caller]
    pub fn call(&mut self, lines: &str) -> (SessionId, Response) {
        let (session, ok) = self.accepted(lines);
        self.receive(&request("ACK", 1, "ack", &tag_of(&ok), ""));
        let confirmed = self.event();
        assert!(
            matches!(
                confirmed,
                Event::Session {
                    event: SessionEvent::Confirmed { .. },
                    ..
                }
            ),
            "{confirmed:?}"
        );
        (session, ok)
    }

    pub fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some((at, _)) = self.endpoint.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::Transmit { flow, bytes } => match parse(&self.note_status(bytes)) {
                    Ok(message) => self.sent.push((flow.remote, message)),
                    Err(error) => assert!(self.tolerant, "what is sent can be read: {error}"),
                },
                Output::Close { .. } => panic!("closes a datagram flow"),
            }
        }
    }

    fn note_status(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let code = bytes
            .strip_prefix(b"SIP/2.0 ")
            .and_then(|rest| std::str::from_utf8(&rest[..3]).ok());
        self.raw_statuses
            .extend(code.and_then(|code| code.parse::<u16>().ok()));
        bytes
    }

    /// The next message sent, which must be a response.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        assert!(!self.sent.is_empty(), "nothing sent");
        match self.sent.remove(0).1 {
            Message::Response(response) => response,
            Message::Request(request) => panic!("a request: {request:?}"),
        }
    }

    #[track_caller]
    pub fn request(&mut self) -> Request {
        assert!(!self.sent.is_empty(), "nothing sent");
        match self.sent.remove(0).1 {
            Message::Request(request) => request,
            Message::Response(response) => panic!("a response: {response:?}"),
        }
    }

    #[track_caller]
    pub fn expect_status(&mut self, code: u16) -> Response {
        let response = self.response();
        assert_eq!(response.status.code(), code, "{response:?}");
        response
    }

    #[track_caller]
    pub fn silent(&self) {
        assert!(self.sent.is_empty(), "{:?}", self.sent);
    }

    #[track_caller]
    pub fn event(&mut self) -> Event {
        assert!(!self.events.is_empty(), "no event");
        self.events.remove(0)
    }

    /// Lets every timer run out; nothing may be left.
    #[track_caller]
    pub fn finish(mut self) {
        self.run(700_000);
        assert_eq!(self.endpoint.counts(), Counts::default());
        assert_eq!(self.endpoint.poll_timeout(), None);
    }

    /// A response of the peer to `request` with these further lines.
    pub fn answer(&mut self, request: &Request, status: &str, tag: &str, lines: &str) {
        let get = |name: HeaderName| request.headers.get(&name).unwrap_or("").to_owned();
        let to = get(HeaderName::To);
        let to = if tag.is_empty() || to.contains("tag=") {
            to
        } else {
            format!("{to};tag={tag}")
        };
        let text = format!(
            "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {to}\nCall-ID: {}\nCSeq: {}\n{lines}",
            get(HeaderName::Via),
            get(HeaderName::From),
            get(HeaderName::CallId),
            get(HeaderName::CSeq),
        );
        self.receive(&text);
    }
}

/// The lines of an offer.
pub const OFFER: &str = "Content-Type: application/sdp\nContent-Length: 4\n\nv=0\n";

/// Our tag in a response.
pub fn tag_of(response: &Response) -> String {
    response.headers.to_tag().unwrap().to_string()
}

/// A request of the peer, to tag and further lines as given.
pub fn request(method: &str, cseq: u32, branch: &str, to_tag: &str, lines: &str) -> String {
    let to_tag = if to_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={to_tag}")
    };
    format!(
        "{method} sip:room@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK{branch}\n\
         Max-Forwards: 70\nFrom: <sip:carol@192.0.2.9>;tag=carol\nTo: <sip:room@192.0.2.1>{to_tag}\n\
         Call-ID: solo@192.0.2.9\nCSeq: {cseq} {method}\nContact: <sip:carol@192.0.2.9:5070>\n{lines}"
    )
}
