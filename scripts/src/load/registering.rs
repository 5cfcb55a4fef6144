//! Phones that register, sans-IO: REGISTER, 401, REGISTER with digest, 200, and refreshes with the known nonce.
//!
//! Absent on purpose: bindings by several phones, removal, outbound; the bench counts, tests judge.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_proto::digest::{Credentials, authorize};
use sip_proto::headers::Challenge;
use sip_proto::message::Method;
use sip_proto::uri::Uri;

use super::quantile::Times;
use super::wire::Reply;

/// RFC 3261's T1.
const T1: Duration = Duration::from_millis(500);
/// Copies of one request before the phone gives up.
const ATTEMPTS: u32 = 7;

/// What became of all registrations.
#[derive(Debug, Clone, Default)]
pub struct RegisterTally {
    /// Begun.
    pub started: u64,
    /// 200 with the binding.
    pub done: u64,
    /// Challenges by 401.
    pub challenged: u64,
    /// 503.
    pub refused: u64,
    /// Anything else.
    pub failed: u64,
    /// The status line of the last one.
    pub failure: Option<String>,
    /// Given up.
    pub unanswered: u64,
    /// Requests sent again.
    pub repeated: u64,
    /// From the REGISTER with digest to its 200.
    pub took: Times,
}

struct Phone {
    challenge: Option<Challenge>,
    nc: u32,
    cseq: u32,
    /// When the present request was first sent; none between registrations.
    since: Option<Instant>,
    copies: u32,
    challenges: u32,
}

/// All phones of a run; account `n` is user `uN` with password `pN`.
pub struct Phones {
    server: SocketAddr,
    realm: String,
    locals: Vec<SocketAddr>,
    phones: Vec<Phone>,
    due: VecDeque<(Instant, usize, u32)>,
    text: String,
    /// The books.
    pub tally: RegisterTally,
}

impl Phones {
    /// So many phones, none registered.
    pub fn new(server: SocketAddr, realm: &str, locals: Vec<SocketAddr>, count: usize) -> Self {
        let phone = |_| Phone {
            challenge: None,
            nc: 0,
            cseq: 0,
            since: None,
            copies: 0,
            challenges: 0,
        };
        Self {
            server,
            realm: realm.to_owned(),
            locals,
            phones: (0..count).map(phone).collect(),
            due: VecDeque::new(),
            text: String::new(),
            tally: RegisterTally::default(),
        }
    }

    /// The user's name and password.
    pub fn account(number: usize) -> (String, String) {
        (format!("u{number}"), format!("p{number}"))
    }

    /// Registers or refreshes a phone; one that still waits is left alone.
    pub fn start(&mut self, number: usize, now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        let number = number % self.phones.len().max(1);
        let Some(phone) = self.phones.get_mut(number).filter(|phone| phone.since.is_none()) else {
            return;
        };
        phone.challenges = 0;
        self.tally.started += 1;
        self.begin(number, now, send);
    }

    /// Takes what the server sent.
    pub fn receive(&mut self, bytes: &[u8], now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        let Some(reply) = Reply::read(bytes) else { return };
        let (Some(status), Some(number)) = (reply.status, reply.number("reg")) else {
            return;
        };
        let cseq = reply
            .header("CSeq")
            .and_then(|c| c.split(' ').next()?.parse::<u32>().ok());
        let Some(phone) = self.phones.get_mut(number) else {
            return;
        };
        let (Some(since), true) = (phone.since, cseq == Some(phone.cseq) && status >= 200) else {
            return;
        };
        match status {
            200 => {
                phone.since = None;
                self.tally.done += 1;
                self.tally.took.push(now.saturating_duration_since(since));
            }
            401 if phone.challenges < 3 => {
                phone.challenges += 1;
                phone.challenge = reply
                    .header("WWW-Authenticate")
                    .and_then(|value| value.parse().ok());
                phone.nc = 0;
                self.tally.challenged += 1;
                self.begin(number, now, send);
            }
            503 => {
                phone.since = None;
                self.tally.refused += 1;
            }
            _ => {
                phone.since = None;
                self.tally.failed += 1;
                self.tally.failure = Some(format!("{status} to REGISTER"));
            }
        }
    }

    /// Does what is due.
    pub fn timers(&mut self, now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        while let Some((at, number, cseq)) = self.due.front().copied()
            && at <= now
        {
            self.due.pop_front();
            let Some(phone) = self.phones.get_mut(number) else {
                continue;
            };
            if phone.cseq != cseq || phone.since.is_none() {
                continue;
            }
            if phone.copies >= ATTEMPTS {
                phone.since = None;
                self.tally.unanswered += 1;
                continue;
            }
            self.tally.repeated += 1;
            self.transmit(number, send);
            self.due.push_back((now + T1, number, cseq));
        }
    }

    /// Phones that wait for an answer.
    pub fn open(&self) -> usize {
        self.phones.iter().filter(|phone| phone.since.is_some()).count()
    }

    fn begin(&mut self, number: usize, now: Instant, send: &mut impl FnMut(usize, &[u8])) {
        let Some(phone) = self.phones.get_mut(number) else {
            return;
        };
        phone.cseq += 1;
        phone.nc += 1;
        phone.copies = 0;
        phone.since = Some(now);
        self.due.push_back((now + T1, number, phone.cseq));
        self.transmit(number, send);
    }

    fn transmit(&mut self, number: usize, send: &mut impl FnMut(usize, &[u8])) {
        let from = number % self.locals.len().max(1);
        let Some(local) = self.locals.get(from) else {
            return;
        };
        let Some(phone) = self.phones.get_mut(number) else {
            return;
        };
        phone.copies += 1;
        let server = self.server;
        let (user, password) = Self::account(number);
        self.text.clear();
        // Writing to a string cannot fail.
        let _ = write!(
            self.text,
            "REGISTER sip:{server} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKr{number}-{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{server}>;tag=r{number}\r\nTo: <sip:{user}@{server}>\r\n\
             Call-ID: reg{number}-load\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{user}@{local}>\r\nExpires: 3600\r\n",
            cseq = phone.cseq,
        );
        if let Some(challenge) = &phone.challenge {
            let credentials = Credentials {
                realm: Some(self.realm.clone()),
                user,
                password,
            };
            if let Ok(uri) = format!("sip:{server}").parse::<Uri>() {
                let answer = authorize(
                    challenge,
                    &credentials,
                    &Method::Register,
                    &uri,
                    "c0ffee",
                    phone.nc,
                );
                let _ = write!(self.text, "Authorization: {answer}\r\n");
            }
        }
        self.text.push_str("Content-Length: 0\r\n\r\n");
        send(from, self.text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_and_its_nonce_used_again() {
        let address = SocketAddr::from(([127, 0, 0, 1], 5060));
        let mut phones = Phones::new(address, "meet", vec![address], 1);
        let now = Instant::now();
        let mut sent: Vec<String> = Vec::new();
        let mut out = |_: usize, bytes: &[u8]| sent.push(String::from_utf8_lossy(bytes).into_owned());
        phones.start(0, now, &mut out);
        let reply = |cseq, status: &str, more: &str| {
            format!("SIP/2.0 {status}\r\nCall-ID: reg0-load\r\nCSeq: {cseq} REGISTER\r\n{more}\r\n")
        };
        let challenge =
            "WWW-Authenticate: Digest realm=\"meet\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"\r\n";
        phones.receive(reply(1, "401 Unauthorized", challenge).as_bytes(), now, &mut out);
        phones.receive(reply(2, "200 OK", "").as_bytes(), now, &mut out);
        phones.start(0, now, &mut out);
        phones.receive(reply(3, "200 OK", "").as_bytes(), now, &mut out);
        assert_eq!(
            (phones.tally.done, phones.tally.challenged, phones.open()),
            (2, 1, 0)
        );
        assert!(!sent[0].contains("Authorization:"));
        assert!(sent[1].contains("nc=00000001"), "{}", sent[1]);
        assert!(sent[2].contains("nc=00000002"), "{}", sent[2]);
    }

    #[test]
    fn silence_is_counted() {
        let address = SocketAddr::from(([127, 0, 0, 1], 5060));
        let mut phones = Phones::new(address, "meet", vec![address], 2);
        let now = Instant::now();
        let mut count = 0;
        let mut out = |_: usize, _: &[u8]| count += 1;
        phones.start(1, now, &mut out);
        for n in 1..=8 {
            phones.timers(now + T1 * n, &mut out);
        }
        assert_eq!((count, phones.tally.unanswered, phones.open()), (7, 1, 0));
    }
}
