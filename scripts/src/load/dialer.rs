//! Many calls at once, sans-IO: INVITE, 200, ACK, a time of talk, BYE, with RFC 3261's retransmissions.
//!
//! Open loop: calls start at the moments that the plan names, however slowly the server answers, as callers do.
//! Absent on purpose: media. The calls name a socket that nobody reads; what media costs another part measures.

use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::quantile::Times;
use super::wire::Reply;

/// RFC 3261's T1: the first retransmission.
const T1: Duration = Duration::from_millis(500);
/// Timers B and F: nobody answers any more.
const GIVE_UP: Duration = Duration::from_secs(32);

/// What became of all calls.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// INVITEs begun.
    pub started: u64,
    /// 200 to INVITE.
    pub answered: u64,
    /// 200 to BYE.
    pub ended: u64,
    /// 503 with Retry-After.
    pub refused: u64,
    /// Any other refusal of an INVITE, and of a request within a call.
    pub failed: u64,
    /// The status line of the last one.
    pub failure: Option<String>,
    /// Nobody answered within 32 s, or the call was still open at the end.
    pub unanswered: u64,
    /// Requests sent again.
    pub repeated: u64,
    /// Questions within held calls (OPTIONS), and those answered 200.
    pub asked: u64,
    /// Answered.
    pub confirmed: u64,
    /// From the first INVITE to its 200.
    pub set_up: Times,
    /// From the BYE to its 200.
    pub tear_down: Times,
    /// From an OPTIONS within a call to its 200.
    pub in_call: Times,
    /// Calls up at the same time, the most.
    pub most: u64,
    /// The last refusal by 503.
    pub last_refusal: Option<Instant>,
}

/// How the calls are made.
#[derive(Debug, Clone)]
pub struct Script {
    /// Where SIP goes to.
    pub server: SocketAddr,
    /// Where media would go to.
    pub sink: SocketAddr,
    /// Rooms over which calls are spread.
    pub rooms: usize,
    /// Codec line, such as `0 PCMU/8000`.
    pub rtpmap: String,
    /// How long a call stays up; `None`: until [`Dialer::hang_up`], asking by OPTIONS every second.
    pub hold: Option<Duration>,
    /// Tells the Call-IDs of this run from others.
    pub run: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Inviting,
    Up,
    Asking,
    Leaving,
    Over,
}

struct One {
    stage: Stage,
    since: Instant,
    attempts: u32,
    provisional: bool,
    cseq: u32,
    tag: String,
    target: String,
}

/// The sooner one is the greater one, as the heap wants it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due(std::cmp::Reverse<Instant>, usize, u32);

/// All calls of a run.
pub struct Dialer {
    script: Script,
    locals: Vec<SocketAddr>,
    calls: Vec<One>,
    due: BinaryHeap<Due>,
    sdp: String,
    text: String,
    up: u64,
    /// The books.
    pub tally: Tally,
}

impl Dialer {
    /// Calls will be made from these addresses in turn.
    pub fn new(script: Script, locals: Vec<SocketAddr>) -> Self {
        let payload = script.rtpmap.split(' ').next().unwrap_or("0").to_owned();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {payload}\r\n\
             a=rtpmap:{map}\r\na=ptime:20\r\na=sendrecv\r\n",
            ip = script.sink.ip(),
            port = script.sink.port(),
            map = script.rtpmap,
        );
        Self {
            script,
            locals,
            calls: Vec::new(),
            due: BinaryHeap::new(),
            sdp,
            text: String::new(),
            up: 0,
            tally: Tally::default(),
        }
    }

    /// Begins a call: `send` takes the index of the address and the message.
    pub fn start(&mut self, now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        let number = self.calls.len();
        self.calls.push(One {
            stage: Stage::Inviting,
            since: now,
            attempts: 0,
            provisional: false,
            cseq: 1,
            tag: String::new(),
            target: String::new(),
        });
        self.tally.started += 1;
        self.transmit(number, "INVITE", send);
        self.wake(number, now + T1);
    }

    /// Takes what the server sent.
    pub fn receive(&mut self, bytes: &[u8], now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        let Some(reply) = Reply::read(bytes) else { return };
        let prefix = self.prefix();
        // Without media a call is asked by OPTIONS whether it lives, and ended when nobody answers.
        if let (Some(number), Some(answer)) = (reply.number(&prefix), reply.accepted()) {
            return send(number % self.locals.len().max(1), answer.as_bytes());
        }
        let (Some(status), Some(number)) = (reply.status, reply.number(&prefix)) else {
            return;
        };
        match reply.method() {
            Some("INVITE") => self.invited(number, status, &reply, now, send),
            Some("OPTIONS") => self.confirmed(number, status, &reply, now),
            Some("BYE") => self.left(number, status, &reply, now),
            _ => {}
        }
    }

    /// Does what is due.
    pub fn timers(&mut self, now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        while let Some(Due(at, _, _)) = self.due.peek()
            && at.0 <= now
        {
            let Some(Due(_, number, attempts)) = self.due.pop() else {
                return;
            };
            let Some(call) = self.calls.get(number) else {
                continue;
            };
            if call.attempts != attempts {
                continue;
            }
            match call.stage {
                Stage::Up if self.script.hold.is_some() => self.leave(number, now, send),
                Stage::Up => self.ask(number, now, send),
                Stage::Inviting if call.provisional => self.wake(number, now + Duration::from_secs(1)),
                Stage::Inviting | Stage::Leaving | Stage::Asking => self.repeat(number, now, send),
                Stage::Over => {}
            }
        }
    }

    /// When [`Self::timers`] has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|due| due.0.0)
    }

    /// Ends every call that is up.
    pub fn hang_up(&mut self, now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        for number in 0..self.calls.len() {
            if matches!(
                self.calls.get(number).map(|call| call.stage),
                Some(Stage::Up | Stage::Asking)
            ) {
                self.leave(number, now, send);
            }
        }
    }

    /// Calls on the way in or up.
    pub fn open(&self) -> usize {
        self.calls.iter().filter(|call| call.stage != Stage::Over).count()
    }

    /// Writes down who never got an answer.
    pub fn close_books(&mut self) {
        self.tally.unanswered += self.open() as u64;
    }

    fn prefix(&self) -> String {
        format!("c{}n", self.script.run)
    }

    fn invited(
        &mut self,
        number: usize,
        status: u16,
        reply: &Reply<'_>,
        now: Instant,
        send: &mut impl FnMut(usize, &[u8]),
    ) {
        let Some(call) = self.calls.get_mut(number) else {
            return;
        };
        if status < 200 {
            call.provisional = true;
            return;
        }
        let first = call.stage == Stage::Inviting;
        if first {
            call.tag = reply.to_tag().unwrap_or_default().to_owned();
            call.target = reply.contact().unwrap_or_default().to_owned();
        }
        // Each copy of a final answer gets its ACK.
        self.transmit(number, if status < 300 { "ACK" } else { "NACK" }, send);
        if !first {
            return;
        }
        let Some(call) = self.calls.get_mut(number) else {
            return;
        };
        if status < 300 {
            self.tally.answered += 1;
            self.tally.set_up.push(now.saturating_duration_since(call.since));
            call.stage = Stage::Up;
            call.attempts += 1;
            self.up += 1;
            self.tally.most = self.tally.most.max(self.up);
            self.wake(number, now + self.script.hold.unwrap_or(Duration::from_secs(1)));
            return;
        }
        call.stage = Stage::Over;
        if status == 503 && reply.header("Retry-After").is_some() {
            self.tally.refused += 1;
            self.tally.last_refusal = Some(now);
        } else {
            self.failure(status, "INVITE");
        }
    }

    fn confirmed(&mut self, number: usize, status: u16, _reply: &Reply<'_>, now: Instant) {
        let Some(call) = self.calls.get_mut(number) else {
            return;
        };
        if call.stage != Stage::Asking || status < 200 {
            return;
        }
        call.stage = Stage::Up;
        call.attempts += 1;
        let took = now.saturating_duration_since(call.since);
        let next = call.since + Duration::from_secs(1);
        if status < 300 {
            self.tally.confirmed += 1;
            self.tally.in_call.push(took);
        } else {
            self.failure(status, "OPTIONS");
        }
        self.wake(number, next.max(now));
    }

    fn left(&mut self, number: usize, status: u16, _reply: &Reply<'_>, now: Instant) {
        let Some(call) = self.calls.get_mut(number) else {
            return;
        };
        if call.stage != Stage::Leaving || status < 200 {
            return;
        }
        call.stage = Stage::Over;
        self.up = self.up.saturating_sub(1);
        if status < 300 {
            self.tally.ended += 1;
            self.tally
                .tear_down
                .push(now.saturating_duration_since(call.since));
        } else {
            self.failure(status, "BYE");
        }
    }

    fn failure(&mut self, status: u16, method: &str) {
        self.tally.failed += 1;
        self.tally.failure = Some(format!("{status} to {method}"));
    }

    fn ask(&mut self, number: usize, now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        self.tally.asked += 1;
        self.begin(number, Stage::Asking, "OPTIONS", now, send);
    }

    fn leave(&mut self, number: usize, now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        self.begin(number, Stage::Leaving, "BYE", now, send);
    }

    fn begin(
        &mut self,
        number: usize,
        stage: Stage,
        method: &str,
        now: Instant,
        send: &mut impl FnMut(usize, &[u8]),
    ) {
        let Some(call) = self.calls.get_mut(number) else {
            return;
        };
        call.stage = stage;
        call.since = now;
        call.cseq += 1;
        call.attempts += 1;
        self.transmit(number, method, send);
        self.wake(number, now + T1);
    }

    fn repeat(&mut self, number: usize, now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        let Some(call) = self.calls.get_mut(number) else {
            return;
        };
        let waited = now.saturating_duration_since(call.since);
        if waited >= GIVE_UP {
            if call.stage == Stage::Leaving {
                self.up = self.up.saturating_sub(1);
            }
            call.stage = Stage::Over;
            self.tally.unanswered += 1;
            return;
        }
        let method = match call.stage {
            Stage::Inviting => "INVITE",
            Stage::Asking => "OPTIONS",
            _ => "BYE",
        };
        self.tally.repeated += 1;
        self.transmit(number, method, send);
        // §17.1.1.2: the pause doubles each time; waiting so far plus T1 is just that.
        self.wake(number, now + waited + T1);
    }

    fn wake(&mut self, number: usize, at: Instant) {
        if let Some(call) = self.calls.get(number) {
            self.due.push(Due(std::cmp::Reverse(at), number, call.attempts));
        }
    }

    /// Writes one request of a call; `NACK` is the ACK to a refusal, within the INVITE's transaction (§17.1.1.3).
    fn transmit(&mut self, number: usize, method: &str, send: &mut impl FnMut(usize, &[u8])) {
        let Some(call) = self.calls.get(number) else {
            return;
        };
        let from = number % self.locals.len().max(1);
        let Some(local) = self.locals.get(from) else {
            return;
        };
        let (server, run) = (self.script.server, self.script.run);
        let room = format!("sip:calls{}@{server}", number % self.script.rooms.max(1));
        let in_call = !matches!(method, "INVITE" | "NACK");
        let target = if in_call {
            call.target.as_str()
        } else {
            room.as_str()
        };
        let (name, branch, cseq) = match method {
            "INVITE" => ("INVITE", "i", 1),
            "NACK" => ("ACK", "i", 1),
            "ACK" => ("ACK", "a", 1),
            other => (other, "r", call.cseq),
        };
        self.text.clear();
        let text = &mut self.text;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{name} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{branch}{cseq}-{run}-{number}\r\n\
             Max-Forwards: 70\r\nFrom: \"caller {number}\" <sip:caller{number}@{local}>;tag=f{number}\r\nTo: <{room}>"
        );
        if method != "INVITE" && !call.tag.is_empty() {
            let _ = write!(text, ";tag={}", call.tag);
        }
        let _ = write!(
            text,
            "\r\nCall-ID: c{run}n{number}-load\r\nCSeq: {cseq} {name}\r\n"
        );
        if method == "INVITE" {
            let _ = write!(
                text,
                "Contact: <sip:caller{number}@{local}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{}",
                self.sdp.len(),
                self.sdp
            );
        } else {
            text.push_str("Content-Length: 0\r\n\r\n");
        }
        send(from, self.text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(hold: Option<Duration>) -> Dialer {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let script = Script {
            server: address(5060),
            sink: address(9),
            rooms: 2,
            rtpmap: "0 PCMU/8000".to_owned(),
            hold,
            run: 3,
        };
        Dialer::new(script, vec![address(7000), address(7001)])
    }

    fn answer(to: &str, status: &str, more: &str) -> String {
        let reply = Reply::read(to.as_bytes()).unwrap();
        format!(
            "SIP/2.0 {status}\r\nTo: <sip:x>;tag=srv\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}\r\n",
            reply.header("Call-ID").unwrap(),
            reply.header("CSeq").unwrap()
        )
    }

    fn first_line(sent: &[(usize, String)], at: usize) -> &str {
        sent[at].1.lines().next().unwrap()
    }

    #[test]
    fn a_call_goes_its_way() {
        let mut core = core(Some(Duration::from_millis(200)));
        let now = Instant::now();
        let mut sent: Vec<(usize, String)> = Vec::new();
        let mut out =
            |from: usize, bytes: &[u8]| sent.push((from, String::from_utf8_lossy(bytes).into_owned()));
        core.start(now, &mut out);
        let invite = answer(
            "INVITE x SIP/2.0\r\nCall-ID: c3n0-load\r\nCSeq: 1 INVITE\r\n",
            "200 OK",
            "Contact: <sip:f@1>\r\n",
        );
        core.receive(invite.as_bytes(), now + Duration::from_millis(3), &mut out);
        // Again: only the ACK is repeated.
        core.receive(invite.as_bytes(), now + Duration::from_millis(4), &mut out);
        core.timers(now + Duration::from_millis(210), &mut out);
        let bye = answer(
            "BYE x SIP/2.0\r\nCall-ID: c3n0-load\r\nCSeq: 2 BYE\r\n",
            "200 OK",
            "",
        );
        core.receive(bye.as_bytes(), now + Duration::from_millis(215), &mut out);
        let lines: Vec<&str> = (0..sent.len()).map(|n| first_line(&sent, n)).collect();
        assert_eq!(
            lines,
            [
                "INVITE sip:calls0@127.0.0.1:5060 SIP/2.0",
                "ACK sip:f@1 SIP/2.0",
                "ACK sip:f@1 SIP/2.0",
                "BYE sip:f@1 SIP/2.0"
            ]
        );
        assert!(
            sent[1].1.contains("To: <sip:calls0@127.0.0.1:5060>;tag=srv\r\n"),
            "{}",
            sent[1].1
        );
        assert_eq!(
            (core.tally.answered, core.tally.ended, core.tally.most),
            (1, 1, 1)
        );
        assert_eq!(core.tally.set_up.quantile_ms(1.0), 3.0);
        assert_eq!(core.open(), 0);
    }

    #[test]
    fn the_servers_question_is_answered() {
        let mut core = core(None);
        let now = Instant::now();
        let mut sent: Vec<(usize, String)> = Vec::new();
        let mut out =
            |from: usize, bytes: &[u8]| sent.push((from, String::from_utf8_lossy(bytes).into_owned()));
        let question = "OPTIONS sip:caller1@h SIP/2.0\r\nVia: SIP/2.0/UDP s;branch=z9hG4bKq\r\nFrom: <sip:f>;tag=s\r\n\
                        To: <sip:c>;tag=c\r\nCall-ID: c3n1-load\r\nCSeq: 7 OPTIONS\r\n\r\n";
        core.receive(question.as_bytes(), now, &mut out);
        core.receive(question.replace("OPTIONS", "ACK").as_bytes(), now, &mut out);
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].0, first_line(&sent, 0)), (1, "SIP/2.0 200 OK"));
        assert!(sent[0].1.contains("CSeq: 7 OPTIONS\r\n"), "{}", sent[0].1);
    }

    #[test]
    fn silence_is_met_by_retransmission_and_counted_in_the_end() {
        let mut core = core(None);
        let now = Instant::now();
        let mut sent = 0;
        let mut out = |_: usize, _: &[u8]| sent += 1;
        core.start(now, &mut out);
        let mut moments = Vec::new();
        while let Some(at) = core.next_due() {
            core.timers(at, &mut out);
            moments.push((at - now).as_millis());
        }
        // §17.1.1.2: 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s, then the end.
        assert_eq!(moments, [500, 1500, 3500, 7500, 15500, 31500, 63500]);
        assert_eq!((sent, core.tally.unanswered, core.tally.repeated), (7, 1, 6));
    }

    #[test]
    fn a_refusal_is_acknowledged_within_its_transaction() {
        let mut core = core(None);
        let now = Instant::now();
        let mut sent: Vec<String> = Vec::new();
        let mut out = |_: usize, bytes: &[u8]| sent.push(String::from_utf8_lossy(bytes).into_owned());
        core.start(now, &mut out);
        let no = answer(
            "INVITE x SIP/2.0\r\nCall-ID: c3n0-load\r\nCSeq: 1 INVITE\r\n",
            "503 No",
            "Retry-After: 2\r\n",
        );
        core.receive(no.as_bytes(), now, &mut out);
        assert_eq!((core.tally.refused, core.tally.failed, core.open()), (1, 0, 0));
        let branch = |text: &str| {
            text.split("branch=")
                .nth(1)
                .unwrap()
                .split('\r')
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(branch(&sent[0]), branch(&sent[1]));
        assert!(sent[1].starts_with("ACK sip:calls0@"));
    }
}
