//! Sends one message to a running server and tells what came back. Reads answers by its own few lines,
//! so that a fault of `sip-proto`'s parser is not on both sides.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::case::Stream;

/// How long an answer that is due may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back for one message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Final statuses, repetitions left out.
    pub finals: Vec<u16>,
    /// The server closed the connection.
    pub closed: bool,
}

impl Seen {
    /// For the table.
    pub fn cell(&self) -> String {
        let statuses: Vec<String> = self.finals.iter().map(u16::to_string).collect();
        match (statuses.is_empty(), self.closed) {
            (true, false) => "silence".to_owned(),
            (true, true) => "closes".to_owned(),
            (false, false) => statuses.join(", "),
            (false, true) => format!("{}, closes", statuses.join(", ")),
        }
    }
}

/// Status, Call-ID and CSeq of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub call_id: String,
    pub cseq: String,
}

/// Reads one answer's head; `None` for anything else.
pub fn read_answer(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let status = lines.next()?.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()?;
    let value = |names: [&str; 2]| {
        let of = |line: &str| {
            let (name, value) = line.split_once(':')?;
            names
                .iter()
                .any(|n| name.trim().eq_ignore_ascii_case(n))
                .then(|| value.trim().to_owned())
        };
        text.lines().take_while(|l| !l.is_empty()).find_map(of)
    };
    Some(Answer {
        status,
        call_id: value(["Call-ID", "i"]).unwrap_or_default(),
        cseq: value(["CSeq", "CSeq"]).unwrap_or_default(),
    })
}

/// An OPTIONS that any server answers 200.
fn ping(number: u64) -> (String, String) {
    let call_id = format!("ping{number}@meet.example");
    let text = format!(
        "OPTIONS sip:meet.example SIP/2.0\r\nVia: SIP/2.0/UDP ping.example;rport;branch=z9hG4bKping{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:ping@meet.example>;tag=ping{number}\r\nTo: <sip:meet.example>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    (text, call_id)
}

/// A place to send from.
pub struct Desk {
    server: SocketAddr,
    pings: u64,
}

/// Final answers so far.
#[derive(Default)]
struct Tally {
    answers: Vec<Answer>,
    pinged: bool,
}

impl Tally {
    fn take(&mut self, bytes: &[u8], ping: &str) {
        let Some(answer) = read_answer(bytes) else {
            return;
        };
        if !ping.is_empty() && answer.call_id == ping {
            assert_eq!(answer.status, 200, "OPTIONS afterwards");
            self.pinged = true;
        } else if answer.status >= 200 && !self.answers.contains(&answer) {
            self.answers.push(answer);
        }
    }

    fn seen(&self, closed: bool) -> Seen {
        Seen {
            finals: self.answers.iter().map(|a| a.status).collect(),
            closed,
        }
    }
}

impl Desk {
    pub fn new(server: SocketAddr) -> Self {
        Self { server, pings: 0 }
    }

    fn next_ping(&mut self) -> (String, String) {
        self.pings += 1;
        ping(self.pings)
    }

    /// One datagram. Where an answer is due it is waited for; then an OPTIONS from the same socket shows that the
    /// server lives, and everything that came before its 200 counts.
    pub fn datagram(&mut self, bytes: &[u8], answer_due: bool) -> Seen {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(self.server).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        socket.send(bytes).unwrap();
        let mut tally = Tally::default();
        let deadline = Instant::now() + PATIENCE;
        while answer_due && tally.answers.is_empty() && Instant::now() < deadline {
            receive(&socket, &mut tally, "");
        }
        let (text, id) = self.next_ping();
        let deadline = Instant::now() + PATIENCE;
        let mut next = Instant::now();
        while !tally.pinged {
            assert!(
                Instant::now() < deadline,
                "no answer to OPTIONS over UDP afterwards"
            );
            if Instant::now() >= next {
                socket.send(text.as_bytes()).unwrap();
                next += Duration::from_secs(1);
            }
            receive(&socket, &mut tally, &id);
        }
        tally.seen(false)
    }

    /// The same bytes over a connection of their own. An OPTIONS behind them on the same connection shows
    /// whether it is still in step; one over another connection, that the server lives.
    pub fn stream(&mut self, bytes: &[u8], due: usize, course: Stream) -> Seen {
        let mut connection = TcpStream::connect(self.server).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        connection.write_all(bytes).unwrap();
        let mut reader = Reader::default();
        let mut tally = Tally::default();
        let deadline = Instant::now() + PATIENCE;
        while tally.answers.len() < due && !reader.closed && Instant::now() < deadline {
            reader.read(&mut connection, &mut tally, "");
        }
        let (text, id) = self.next_ping();
        if course == Stream::Waits {
            // The rest never comes: what the server says, if anything, it says before it closes its end.
            connection.shutdown(std::net::Shutdown::Write).unwrap();
            let deadline = Instant::now() + PATIENCE;
            while !reader.closed {
                assert!(Instant::now() < deadline, "a half-closed connection stays open");
                reader.read(&mut connection, &mut tally, "");
            }
            reader.closed = false;
        } else {
            // The server may have closed its end already: then the write or the read says so.
            let _ = connection.write_all(text.as_bytes());
            let deadline = Instant::now() + PATIENCE;
            while !tally.pinged && !reader.closed {
                assert!(Instant::now() < deadline, "no answer and no close over TCP");
                reader.read(&mut connection, &mut tally, &id);
            }
        }
        let seen = tally.seen(reader.closed);
        self.fresh_connection_works();
        seen
    }

    fn fresh_connection_works(&mut self) {
        let (text, id) = self.next_ping();
        let mut connection = TcpStream::connect(self.server).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        connection.write_all(text.as_bytes()).unwrap();
        let (mut reader, mut tally) = (Reader::default(), Tally::default());
        let deadline = Instant::now() + PATIENCE;
        while !tally.pinged {
            assert!(
                Instant::now() < deadline && !reader.closed,
                "no answer to OPTIONS over TCP afterwards"
            );
            reader.read(&mut connection, &mut tally, &id);
        }
    }
}

fn receive(socket: &UdpSocket, tally: &mut Tally, ping: &str) {
    let mut packet = [0_u8; 65_536];
    if let Ok(length) = socket.recv(&mut packet) {
        tally.take(&packet[..length], ping);
    }
}

/// Cuts a stream of answers.
#[derive(Default)]
struct Reader {
    buffer: Vec<u8>,
    closed: bool,
}

impl Reader {
    fn read(&mut self, connection: &mut TcpStream, tally: &mut Tally, ping: &str) {
        let mut chunk = [0_u8; 4096];
        match connection.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
            Err(error) => {
                use std::io::ErrorKind::{TimedOut, WouldBlock};
                self.closed = !matches!(error.kind(), WouldBlock | TimedOut);
            }
        }
        while let Some(head) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
            let length: usize = text
                .lines()
                .find_map(|l| l.strip_prefix("content-length:"))
                .and_then(|v| v.trim().parse().ok())
                .unwrap_or(0);
            let end = head + 4 + length;
            if self.buffer.len() < end {
                return;
            }
            let message: Vec<u8> = self.buffer.drain(..end).collect();
            tally.take(&message, ping);
        }
    }
}
