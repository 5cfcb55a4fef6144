//! One phone of the soak: an endpoint, a SIP socket and an RTP socket of its own. Dropped, it is gone as a phone whose
//! battery is out: nobody is told.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use sip_proto::endpoint::{
    Body, Endpoint, EndpointConfig, Event, Flow, Input, Outgoing, Output, SessionEvent, SessionId,
};
use sip_proto::headers::NameAddr;
use sip_proto::message::{Headers, Request, Response, StatusCode};

/// The payload type and codec of all phones here.
const FORMAT: &str = "96 opus/48000/2";
const HEADER: usize = 12;

/// How a phone holds the server, or resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// Hold by RFC 3264 §8.4.
    SendOnly,
    /// Nobody hears anybody.
    Inactive,
    /// Hold by the null address, as old phones do (RFC 2543).
    NullAddress,
}

/// What became of the phone's call since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It was answered.
    Answered,
    /// A re-INVITE was answered.
    Reanswered,
    /// It failed or was refused.
    Failed,
    /// It is over.
    Over,
}

/// The phone.
pub struct Member {
    endpoint: Endpoint,
    session: SessionId,
    sip: UdpSocket,
    rtp: UdpSocket,
    local: SocketAddr,
    server: SocketAddr,
    media: Option<SocketAddr>,
    news: VecDeque<News>,
    over: bool,
    version: u32,
    direction: Direction,
    /// RTP state: packets sent, and the frame number, which counts lost packets too.
    sequence: u16,
    frame: u32,
    ssrc: u32,
}

impl Member {
    /// Calls `room` with ports of the system's choice; `number` names the phone and seeds it.
    pub fn call(server: SocketAddr, room: &str, number: u32) -> std::io::Result<Self> {
        let (sip, rtp) = (
            UdpSocket::bind(("127.0.0.1", 0))?,
            UdpSocket::bind(("127.0.0.1", 0))?,
        );
        sip.set_nonblocking(true)?;
        rtp.set_nonblocking(true)?;
        let local = sip.local_addr()?;
        let mut seed = [7; 32];
        for (to, from) in seed
            .iter_mut()
            .zip(number.to_be_bytes().iter().chain(&local.port().to_be_bytes()))
        {
            *to = *from;
        }
        let mut endpoint = Endpoint::new(EndpointConfig::default(), seed);
        let invalid = |_| std::io::Error::other("the room's name makes no URI");
        let target = room.parse().map_err(invalid)?;
        let own = format!("sip:soak{number}@{local}").parse().map_err(invalid)?;
        let call = Outgoing {
            to: NameAddr::new(room.parse().map_err(invalid)?),
            target,
            from: NameAddr::new(own),
            contact: None,
            flow: Flow::udp(local, server),
            route: Vec::new(),
            headers: Headers::new(),
            body: Some(sdp(rtp.local_addr()?, 1, Direction::SendRecv)),
        };
        let session = endpoint
            .invite(call, Instant::now())
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self {
            endpoint,
            session,
            sip,
            rtp,
            local,
            server,
            media: None,
            news: VecDeque::new(),
            over: false,
            version: 1,
            direction: Direction::SendRecv,
            sequence: number as u16,
            frame: 0,
            ssrc: number,
        })
    }

    /// Where its RTP goes, once the call is answered.
    pub fn media(&self) -> Option<SocketAddr> {
        self.media
    }

    /// Its RTP socket, for who wants to send and listen itself.
    pub fn rtp(&self) -> std::io::Result<UdpSocket> {
        let socket = self.rtp.try_clone()?;
        socket.set_nonblocking(false)?;
        Ok(socket)
    }

    /// Whether nothing of the call is left.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// What it wants now.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The next piece of news.
    pub fn news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Hangs up, or cancels what is not answered yet.
    pub fn leave(&mut self) {
        let now = Instant::now();
        if self.endpoint.bye(self.session, None, now).is_err() {
            // Neither is possible once the peer ended it: then it is over anyway.
            let _ = self.endpoint.cancel(self.session, now);
        }
    }

    /// Holds or resumes by re-INVITE; false while another exchange is under way.
    pub fn hold(&mut self, direction: Direction) -> bool {
        let Ok(address) = self.rtp.local_addr() else {
            return false;
        };
        let body = sdp(address, self.version + 1, direction);
        let done = self.endpoint.reoffer(self.session, body, Instant::now()).is_ok();
        if done {
            self.version += 1;
            self.direction = direction;
        }
        done
    }

    /// Reads the SIP socket, does what is due, sends.
    pub fn turn(&mut self) {
        let mut buffer = [0; 65_536];
        let flow = Flow::udp(self.local, self.server);
        while let Ok((length, from)) = self.sip.recv_from(&mut buffer) {
            if from == self.server {
                let bytes = buffer.get(..length).unwrap_or_default();
                self.endpoint
                    .handle_input(Input::Datagram { flow, bytes }, Instant::now());
            }
        }
        self.endpoint.handle_timeout(Instant::now());
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => {
                    // Loopback loses nothing by itself; a server that is gone shows in the outcome.
                    let _ = self.sip.send_to(&bytes, flow.remote);
                }
                Output::Event(event) => self.on_event(event),
                _ => {}
            }
        }
    }

    /// Sends one frame, unless the network loses it, and takes what came; how many packets.
    pub fn media_turn(&mut self, frame: &[u8], lost: bool) -> u64 {
        if let Some(to) = self.media.filter(|_| self.direction != Direction::Inactive) {
            let mut packet = [0; 1500];
            let length = self.packet(&mut packet, frame);
            if !lost {
                let _ = self.rtp.send_to(packet.get(..length).unwrap_or_default(), to);
            }
            self.sequence = self.sequence.wrapping_add(1);
        }
        self.frame = self.frame.wrapping_add(1);
        let mut buffer = [0; 2048];
        let mut count = 0;
        while self.rtp.recv(&mut buffer).is_ok() {
            count += 1;
        }
        count
    }

    fn packet(&self, packet: &mut [u8], payload: &[u8]) -> usize {
        let mut header = [0; HEADER];
        let time = self.frame.wrapping_mul(crate::load::media::FRAME as u32);
        let fields = [0x80, crate::load::media::PAYLOAD_TYPE].into_iter();
        let all = fields
            .chain(self.sequence.to_be_bytes())
            .chain(time.to_be_bytes())
            .chain(self.ssrc.to_be_bytes());
        for (to, from) in header.iter_mut().zip(all) {
            *to = from;
        }
        for (to, from) in packet.iter_mut().zip(header.iter().chain(payload)) {
            *to = *from;
        }
        HEADER + payload.len()
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Session { event, .. } => self.on_session(event),
            Event::Request { tx, request, .. } => self.answer(tx, &request),
            _ => {}
        }
    }

    fn on_session(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Answered { response } => {
                self.media = address(&response);
                self.news.push_back(News::Answered);
            }
            SessionEvent::ReAnswered { .. } => self.news.push_back(News::Reanswered),
            SessionEvent::ReOffer { .. } => {
                let address = self.rtp.local_addr().unwrap_or(self.local);
                let body = sdp(address, self.version, self.direction);
                // Should the offer have been taken back, nobody waits for the answer.
                let _ = self.endpoint.answer(self.session, body, Instant::now());
            }
            SessionEvent::Request { tx, request } => self.answer(tx, &request),
            SessionEvent::Failed { .. } => {
                self.over = true;
                self.news.push_back(News::Failed);
            }
            SessionEvent::Terminated { .. } | SessionEvent::Cancelled => {
                self.over = true;
                self.news.push_back(News::Over);
            }
            _ => {}
        }
    }

    fn answer(&mut self, tx: sip_proto::endpoint::ServerTx, request: &Request) {
        let response = Response::to(request, StatusCode::OK);
        // Whoever asked may have given up.
        let _ = self.endpoint.respond(tx, response, Instant::now());
    }
}

fn sdp(address: SocketAddr, version: u32, direction: Direction) -> Body {
    let ip = match direction {
        Direction::NullAddress => "0.0.0.0".to_owned(),
        _ => address.ip().to_string(),
    };
    let way = match direction {
        Direction::SendRecv | Direction::NullAddress => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::Inactive => "inactive",
    };
    let payload = FORMAT.split(' ').next().unwrap_or_default();
    Body::sdp(format!(
        "v=0\r\no=- 1 {version} IN IP4 {own}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {payload}\r\n\
         a=rtpmap:{FORMAT}\r\na=ptime:20\r\na={way}\r\n",
        own = address.ip(),
        port = address.port(),
    ))
}

/// Where the answer wants RTP.
fn address(response: &Response) -> Option<SocketAddr> {
    let description = sip_proto::sdp::parse(&response.body).ok()?;
    let media = description.media.first()?;
    let ip = description.connection_of(media)?.ip()?;
    Some(SocketAddr::new(ip, media.port))
}
