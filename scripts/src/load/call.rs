//! Calls of the load generator: the shortest SIP that a conforming server must accept, over one UDP socket.
//!
//! Written by hand and apart from `sip-proto`, so that the generator costs little and shares no fault with
//! what it measures. Absent on purpose: authentication, TCP, re-INVITE.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long the server may take for one call.
const PATIENCE: Duration = Duration::from_secs(10);
/// RFC 3261's T1: the first retransmission of an INVITE.
const T1: Duration = Duration::from_millis(500);

/// What goes wrong with a call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The socket failed.
    #[error("SIP socket: {0}")]
    Io(#[from] std::io::Error),
    /// No final answer came.
    #[error("no answer to INVITE {0} within 10 s")]
    NoAnswer(String),
    /// The server refused.
    #[error("INVITE {call}: {status}")]
    Refused {
        /// The room.
        call: String,
        /// Status line.
        status: String,
    },
    /// The answer has no usable media line.
    #[error("INVITE {0}: no m=audio in the answer")]
    NoMedia(String),
}

/// An established call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where its RTP goes.
    pub media: SocketAddr,
    id: String,
    from: String,
    to: String,
    target: String,
}

/// The SIP side of the generator.
pub struct Caller {
    socket: UdpSocket,
    server: SocketAddr,
    local: SocketAddr,
    count: u32,
}

impl Caller {
    /// A caller towards `server`.
    pub fn new(server: SocketAddr) -> Result<Self, CallError> {
        let socket = UdpSocket::bind((IpAddr::from([127, 0, 0, 1]), 0))?;
        socket.connect(server)?;
        let local = socket.local_addr()?;
        Ok(Self {
            socket,
            server,
            local,
            count: 0,
        })
    }

    /// Calls `room`; `media` is where we want RTP, `rtpmap` the codec line (`96 opus/48000/2`).
    pub fn join(&mut self, room: &str, media: SocketAddr, rtpmap: &str) -> Result<Call, CallError> {
        self.count += 1;
        let n = self.count;
        let id = format!("load-{n}-{}", self.local.port());
        let from = format!("\"load {n}\" <sip:load{n}@{}>;tag=l{n}", self.local);
        let payload = rtpmap.split(' ').next().unwrap_or("96");
        let sdp = format!(
            "v=0\r\no=- {n} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {payload}\r\na=rtpmap:{rtpmap}\r\na=ptime:20\r\na=sendrecv\r\n",
            ip = media.ip(),
            port = media.port(),
        );
        let target = format!("sip:{room}@{}", self.server);
        let to = format!("<{target}>");
        let branch = format!("z9hG4bK-i{n}-{}", self.local.port());
        let head = self.head("INVITE", &target, &branch, &from, &to, &id, 1);
        let invite = format!(
            "{head}Contact: <sip:load{n}@{local}>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {length}\r\n\r\n{sdp}",
            local = self.local,
            length = sdp.len(),
        );
        let answer = self.exchange(&invite, &id, room)?;
        let line = |name: &str| {
            answer
                .lines()
                .find_map(|l| {
                    l.split_once(':')
                        .filter(|(n, _)| n.trim().eq_ignore_ascii_case(name))
                })
                .map(|(_, value)| value.trim().to_owned())
        };
        let to = line("To").unwrap_or(to);
        let target = line("Contact")
            .and_then(|c| {
                c.split_once('<')
                    .and_then(|(_, r)| r.split_once('>'))
                    .map(|(uri, _)| uri.to_owned())
            })
            .unwrap_or(target);
        let port = answer
            .lines()
            .find_map(|l| l.strip_prefix("m=audio ")?.split(' ').next()?.parse::<u16>().ok())
            .filter(|port| *port != 0)
            .ok_or_else(|| CallError::NoMedia(room.to_owned()))?;
        let ip = answer
            .lines()
            .find_map(|l| l.strip_prefix("c=IN IP4 ")?.trim().parse::<IpAddr>().ok())
            .unwrap_or(self.server.ip());
        let call = Call {
            media: SocketAddr::new(ip, port),
            id,
            from,
            to,
            target,
        };
        self.in_dialog("ACK", &call, 1)?;
        Ok(call)
    }

    /// Ends a call, not waiting for the answer.
    pub fn leave(&self, call: &Call) -> Result<(), CallError> {
        self.in_dialog("BYE", call, 2)
    }

    /// OPTIONS in a call: the time to its answer, if that comes within a second.
    pub fn ask(&self, call: &Call, cseq: u32) -> Result<Option<Duration>, CallError> {
        let branch = format!("z9hG4bK-o{cseq}-{}", call.id);
        let head = self.head(
            "OPTIONS",
            &call.target,
            &branch,
            &call.from,
            &call.to,
            &call.id,
            cseq,
        );
        let asked = Instant::now();
        self.socket
            .send(format!("{head}Content-Length: 0\r\n\r\n").as_bytes())?;
        self.socket.set_read_timeout(Some(T1))?;
        let mut buffer = [0_u8; 65_536];
        while asked.elapsed() < T1 * 2 {
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let answer = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
            if answer.starts_with("SIP/2.0 200") && answer.contains(&branch) {
                return Ok(Some(asked.elapsed()));
            }
        }
        Ok(None)
    }

    fn in_dialog(&self, method: &str, call: &Call, cseq: u32) -> Result<(), CallError> {
        let branch = format!("z9hG4bK-{method}-{}", call.id);
        let head = self.head(
            method,
            &call.target,
            &branch,
            &call.from,
            &call.to,
            &call.id,
            cseq,
        );
        self.socket
            .send(format!("{head}Content-Length: 0\r\n\r\n").as_bytes())?;
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the seven values of a request's head, named by the RFC"
    )]
    fn head(
        &self,
        method: &str,
        uri: &str,
        branch: &str,
        from: &str,
        to: &str,
        id: &str,
        cseq: u32,
    ) -> String {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch={branch}\r\nFrom: {from}\r\n\
             To: {to}\r\nCall-ID: {id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n",
            local = self.local,
        )
    }

    /// Sends until a final answer to this Call-ID's INVITE is there.
    fn exchange(&self, invite: &str, id: &str, room: &str) -> Result<String, CallError> {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0_u8; 65_536];
        self.socket.send(invite.as_bytes())?;
        self.socket.set_read_timeout(Some(T1))?;
        let mut provisional = false;
        while Instant::now() < deadline {
            let text = match self.socket.recv(&mut buffer) {
                Ok(length) => String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned(),
                Err(e)
                    if matches!(
                        e.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    if !provisional {
                        self.socket.send(invite.as_bytes())?;
                    }
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            if !text.contains(id) || !text.contains("INVITE") {
                continue;
            }
            match text.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()) {
                Some(100..=199) => provisional = true,
                Some(200..=299) => return Ok(text),
                Some(_) => {
                    let status = text.lines().next().unwrap_or_default().to_owned();
                    return Err(CallError::Refused {
                        call: room.to_owned(),
                        status,
                    });
                }
                None => {}
            }
        }
        Err(CallError::NoAnswer(room.to_owned()))
    }
}

/// CPU time and memory of a process, from /proc.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessCost {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
}

impl ProcessCost {
    /// Reads it; zero where the process is gone.
    pub fn read(pid: u32) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let nanoseconds: u64 = threads
            .filter_map(|t| std::fs::read_to_string(t.path().join("schedstat")).ok())
            .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
            .sum();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let fields: HashMap<&str, &str> = status.lines().filter_map(|l| l.split_once(':')).collect();
        let resident = fields
            .get("VmRSS")
            .and_then(|v| v.trim().split(' ').next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024);
        Self {
            cpu: Duration::from_nanos(nanoseconds),
            resident,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_this_process_grows_with_work() {
        let before = ProcessCost::read(std::process::id());
        let mut x = 1_u64;
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(60) {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(std::hint::black_box(1));
        }
        std::hint::black_box(x);
        let after = ProcessCost::read(std::process::id());
        assert!(
            after.cpu > before.cpu && before.resident > 0,
            "{before:?} {after:?}"
        );
    }
}
