//! A SIP phone worked by hand, over UDP: it sends exactly what the test says and swallows what the test says, which
//! sipp cannot (it repeats and absorbs by itself). The signalling half of a [`crate::probe::Probe`].
//!
//! Written apart from `sip-proto`, so that both cannot share a fault. Absent on purpose: timers, retransmissions,
//! authentication; the test is the phone's mind.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// A message that came.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The start line.
    pub start: String,
    lines: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Incoming {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let start = lines.next().unwrap_or_default().to_owned();
        let lines = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Self {
            start,
            lines,
            body: body.to_owned(),
        }
    }

    /// The first value of a header; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.lines.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The status of an answer.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// Whether it is an answer with this status to a request of this method.
    pub fn answers(&self, status: u16, method: &str) -> bool {
        self.status() == Some(status) && self.header("CSeq").ends_with(method)
    }

    /// Whether it is a request of this method.
    pub fn asks(&self, method: &str) -> bool {
        self.start.split(' ').next() == Some(method)
    }
}

/// One call of one phone.
pub struct Caller {
    socket: UdpSocket,
    server: SocketAddr,
    name: String,
    own: SocketAddr,
    to: String,
    target: String,
    cseq: u32,
    /// Branches differ though CSeq does not: an ACK to a 2xx is a transaction of its own.
    branch: u32,
}

impl Caller {
    /// A phone called `name` that will call `uri` at `server`.
    pub fn new(name: &str, server: SocketAddr, uri: &str) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let own = socket.local_addr()?;
        Ok(Self {
            socket,
            server,
            name: name.to_owned(),
            own,
            to: format!("<{uri}>"),
            target: uri.to_owned(),
            cseq: 0,
            branch: 0,
        })
    }

    /// Sends a new request and returns it, to be sent again. `headers` are whole lines with CRLF. An ACK has the
    /// number of the request before it.
    pub fn request(&mut self, method: &str, headers: &str, body: &str) -> std::io::Result<String> {
        if method != "ACK" {
            self.cseq += 1;
        }
        let text = self.compose(method, self.cseq, headers, body);
        self.send(&text)?;
        Ok(text)
    }

    /// A request with a number of the caller's choice, not sent.
    pub fn compose(&mut self, method: &str, cseq: u32, headers: &str, body: &str) -> String {
        self.branch += 1;
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bK{name}{branch}\r\n\
             Max-Forwards: 70\r\nFrom: \"{name}\" <sip:{name}@{own}>;tag=f{port}\r\nTo: {to}\r\n\
             Call-ID: {name}{port}@meet.example\r\nCSeq: {cseq} {method}\r\nContact: <sip:{name}@{own}>\r\n\
             {headers}{content}Content-Length: {length}\r\n\r\n{body}",
            target = self.target,
            own = self.own,
            name = self.name,
            branch = self.branch,
            port = self.own.port(),
            to = self.to,
            length = body.len(),
        )
    }

    /// Sends a message as it is.
    pub fn send(&self, text: &str) -> std::io::Result<()> {
        self.socket.send_to(text.as_bytes(), self.server).map(drop)
    }

    /// Answers a request of the server's.
    pub fn answer(&self, request: &Incoming, status: &str, headers: &str, body: &str) -> std::io::Result<()> {
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:{}@{}>\r\n{headers}{content}Content-Length: {}\r\n\r\n{body}",
            request.header("Via"),
            request.header("From"),
            request.header("To"),
            request.header("Call-ID"),
            request.header("CSeq"),
            self.name,
            self.own,
            body.len(),
        );
        self.send(&text)
    }

    /// Takes tag and target of a dialog from an answer.
    pub fn enter_dialog(&mut self, answer: &Incoming) {
        answer.header("To").clone_into(&mut self.to);
        if let Some((_, rest)) = answer.header("Contact").split_once('<') {
            rest.split('>')
                .next()
                .unwrap_or_default()
                .clone_into(&mut self.target);
        }
    }

    /// The next message for which `wanted` holds; all others that come meanwhile are lost. A 2xx to an INVITE
    /// makes the dialog.
    pub fn wait(&mut self, patience: Duration, wanted: impl Fn(&Incoming) -> bool) -> Option<Incoming> {
        let deadline = Instant::now() + patience;
        let mut packet = [0_u8; 65_536];
        while Instant::now() < deadline {
            let Ok((length, _)) = self.socket.recv_from(&mut packet) else {
                continue;
            };
            let message = Incoming::read(packet.get(..length).unwrap_or_default());
            if message.answers(200, "INVITE") {
                self.enter_dialog(&message);
            }
            if wanted(&message) {
                return Some(message);
            }
        }
        None
    }

    /// Messages that come before `patience` is over and for which `wanted` holds.
    pub fn count(&mut self, patience: Duration, wanted: impl Fn(&Incoming) -> bool) -> usize {
        let deadline = Instant::now() + patience;
        let mut count = 0;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            count += usize::from(self.wait(left, &wanted).is_some());
        }
        count
    }
}
