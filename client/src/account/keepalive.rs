//! Keeping the way to the server open (RFC 5626 §4.4) as a machine without clock or network.
//!
//! A NAT or firewall forgets a silent flow, and then no call reaches the phone, although it is registered. Over UDP a
//! STUN binding request is sent (§4.4.2), whose answer also tells when the NAT gave us another address; over TCP two
//! line ends, which are answered by one (§4.4.1). A server that never answered is taken to know neither: what is sent
//! still keeps the NAT's mapping, and silence means nothing. One that answered once and then stops is lost.
//!
//! Deliberately absent: the `outbound` option tag with several flows, and asking by the Via parameter `keep` (RFC
//! 6223). No STUN library either: the request has no attribute, and of the answer only the address is read.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use sip_proto::ids::IdSource;

use crate::limits;

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beat {
    /// Nothing.
    Wait,
    /// Send this on the flow.
    Ping(Vec<u8>),
    /// The flow is dead, or leads through another address now: register again.
    Lost,
}

/// Keeps one flow alive.
#[derive(Debug)]
pub struct KeepAlive {
    ids: IdSource,
    stream: bool,
    next: Option<Instant>,
    ping: Option<Ping>,
    /// The other side answers keep-alives.
    answers: bool,
    /// Our address as the server sees it.
    mapped: Option<SocketAddr>,
    lost: bool,
}

/// One that is not answered yet.
#[derive(Debug)]
struct Ping {
    transaction: [u8; 12],
    sent: u32,
    again: Instant,
}

/// Bytes 4 to 7 of every STUN message (RFC 5389 §6).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Type, length, cookie, transaction.
const HEADER: usize = 20;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

impl KeepAlive {
    /// For a stream, or for datagrams.
    pub fn new(stream: bool, seed: [u8; 32]) -> Self {
        Self {
            ids: IdSource::new(seed),
            stream,
            next: None,
            ping: None,
            answers: false,
            mapped: None,
            lost: false,
        }
    }

    /// Begins anew on another flow.
    pub fn restart(&mut self, stream: bool) {
        self.stream = stream;
        self.next = None;
        self.ping = None;
        self.answers = false;
        self.mapped = None;
        self.lost = false;
    }

    /// Time went by; `wanted` says whether somebody needs the flow.
    pub fn tick(&mut self, wanted: bool, now: Instant) -> Beat {
        if !wanted {
            self.next = None;
            self.ping = None;
            return Beat::Wait;
        }
        if std::mem::take(&mut self.lost) {
            return Beat::Lost;
        }
        if let Some(ping) = &mut self.ping {
            if ping.again > now {
                return Beat::Wait;
            }
            if !self.stream && ping.sent < limits::STUN_SENDS {
                ping.again = now + limits::STUN_RETRY * 2_u32.pow(ping.sent);
                ping.sent += 1;
                return Beat::Ping(binding_request(ping.transaction));
            }
            self.ping = None;
            self.next = Some(now + self.pause());
            if self.answers {
                self.mapped = None;
                return Beat::Lost;
            }
            return Beat::Wait;
        }
        match self.next {
            None => self.next = Some(now + self.pause()),
            Some(due) if due <= now => return self.begin(now),
            Some(_) => {}
        }
        Beat::Wait
    }

    /// When [`Self::tick`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ping.as_ref().map(|ping| ping.again).or(self.next)
    }

    /// A datagram from the server; true when it was STUN and no business of SIP.
    pub fn datagram(&mut self, bytes: &[u8], now: Instant) -> bool {
        let stun = bytes.first().is_some_and(|first| first & 0xc0 == 0)
            && bytes.get(4..8) == Some(MAGIC_COOKIE.as_slice());
        let ours = self
            .ping
            .as_ref()
            .is_some_and(|ping| bytes.get(8..HEADER) == Some(ping.transaction.as_slice()));
        // A success or an error answers; an indication or a request with our own transaction does not.
        let answer = bytes.first() == Some(&1) && matches!(bytes.get(1), Some(0x01 | 0x11));
        if stun && ours && answer {
            self.alive(now);
            let mapped = mapped_address(bytes);
            self.lost = self.mapped.is_some() && mapped.is_some() && mapped != self.mapped;
            self.mapped = mapped.or(self.mapped);
        }
        stun
    }

    /// Bytes came on the stream.
    pub fn bytes(&mut self, bytes: &[u8], now: Instant) {
        let pong = self.ping.is_some() && bytes.starts_with(b"\r\n");
        // Whatever comes shows that the connection lives, but only a pong that pongs can be waited for.
        let knows = self.answers || pong;
        if self.ping.is_some() {
            self.alive(now);
        }
        self.answers = knows;
    }

    fn alive(&mut self, now: Instant) {
        self.ping = None;
        self.answers = true;
        self.next = Some(now + self.pause());
    }

    fn begin(&mut self, now: Instant) -> Beat {
        let mut transaction = [0; 12];
        for byte in &mut transaction {
            *byte = u8::try_from(self.ids.below(256)).unwrap_or(0);
        }
        let wait = if self.stream {
            limits::PONG_WAIT
        } else {
            limits::STUN_RETRY
        };
        self.ping = Some(Ping {
            transaction,
            sent: 1,
            again: now + wait,
        });
        Beat::Ping(if self.stream {
            b"\r\n\r\n".to_vec()
        } else {
            binding_request(transaction)
        })
    }

    /// RFC 5626 §4.4.2: another one each time, so that phones do not beat in step.
    fn pause(&mut self) -> Duration {
        let spread = limits::KEEP_ALIVE_MOST.saturating_sub(limits::KEEP_ALIVE_LEAST);
        let spread = u64::try_from(spread.as_millis()).unwrap_or(0);
        limits::KEEP_ALIVE_LEAST + Duration::from_millis(self.ids.below(spread.max(1)))
    }
}

fn binding_request(transaction: [u8; 12]) -> Vec<u8> {
    [&[0, 1, 0, 0], MAGIC_COOKIE.as_slice(), &transaction].concat()
}

/// The address in a binding answer (RFC 5389 §15.2).
fn mapped_address(message: &[u8]) -> Option<SocketAddr> {
    let mask = message.get(4..HEADER)?;
    let mut rest = message.get(HEADER..)?;
    loop {
        let word = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
        let (kind, length) = (word(0)?, usize::from(word(2)?));
        let value = rest.get(4..4 + length)?;
        if kind == XOR_MAPPED_ADDRESS {
            let port = u16::from_be_bytes([*value.get(2)? ^ *mask.first()?, *value.get(3)? ^ *mask.get(1)?]);
            let clear: Vec<u8> = value
                .get(4..)?
                .iter()
                .zip(mask)
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            return match *value.get(1)? {
                1 => Some((Ipv4Addr::from(<[u8; 4]>::try_from(clear).ok()?), port).into()),
                2 => Some((Ipv6Addr::from(<[u8; 16]>::try_from(clear).ok()?), port).into()),
                _ => None,
            };
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the time go to the next beat.
    fn next(keep: &mut KeepAlive, now: &mut Instant) -> Beat {
        if keep.poll_timeout().is_none() {
            assert_eq!(keep.tick(true, *now), Beat::Wait);
        }
        *now = (*now).max(keep.poll_timeout().unwrap());
        keep.tick(true, *now)
    }

    fn answer(request: &[u8], port: u16) -> Vec<u8> {
        let mut answer = vec![1, 1, 0, 12];
        answer.extend(&request[4..20]);
        answer.extend([0, 0x20, 0, 8, 0, 1]);
        let clear = [port.to_be_bytes().as_slice(), &[192, 0, 2, 1]].concat();
        let port_mask = [0x21, 0x12];
        answer.extend(
            clear
                .iter()
                .zip(port_mask.iter().chain(&MAGIC_COOKIE))
                .map(|(a, b)| a ^ b),
        );
        answer
    }

    #[test]
    fn a_server_that_answers_is_asked_every_half_minute_and_missed_when_it_stops() {
        let (mut keep, start) = (KeepAlive::new(false, [1; 32]), Instant::now());
        let mut now = start;
        for _ in 0..5 {
            let before = now;
            let Beat::Ping(request) = next(&mut keep, &mut now) else {
                panic!("a ping is due");
            };
            let pause = (now - before).as_secs_f32();
            assert!((24.0..=29.0).contains(&pause), "{pause}");
            assert_eq!((request.len(), &request[..4]), (20, [0, 1, 0, 0].as_slice()));
            assert!(keep.datagram(&answer(&request, 5_060), now));
            assert_eq!(keep.tick(true, now), Beat::Wait);
        }
        let mut sent = Vec::new();
        let silent = loop {
            match next(&mut keep, &mut now) {
                Beat::Ping(request) => sent.push((request, now)),
                Beat::Lost => break now,
                Beat::Wait => {}
            }
        };
        assert_eq!(sent.len(), limits::STUN_SENDS as usize);
        assert!(
            sent.iter().all(|(request, _)| *request == sent[0].0),
            "one transaction"
        );
        assert!(silent - sent[0].1 < Duration::from_secs(20));
    }

    #[test]
    fn a_server_that_never_answers_is_not_lost() {
        for stream in [false, true] {
            let (mut keep, mut now) = (KeepAlive::new(stream, [2; 32]), Instant::now());
            let end = now + Duration::from_secs(600);
            let mut pings = 0;
            while now < end {
                match next(&mut keep, &mut now) {
                    Beat::Ping(_) => pings += 1,
                    Beat::Lost => panic!("lost although it never knew keep-alives"),
                    Beat::Wait => {}
                }
            }
            assert!(pings >= 12, "the mapping is kept all the same: {pings}");
        }
    }

    #[test]
    fn another_address_of_ours_is_a_lost_flow() {
        let (mut keep, mut now) = (KeepAlive::new(false, [3; 32]), Instant::now());
        for (port, told) in [
            (5_060, Beat::Wait),
            (5_060, Beat::Wait),
            (6_000, Beat::Lost),
            (6_000, Beat::Wait),
        ] {
            let Beat::Ping(request) = next(&mut keep, &mut now) else {
                panic!("a ping is due");
            };
            keep.datagram(&answer(&request, port), now);
            assert_eq!(keep.tick(true, now), told);
        }
    }

    #[test]
    fn forged_and_broken_answers_mean_nothing() {
        let (mut keep, mut now) = (KeepAlive::new(false, [4; 32]), Instant::now());
        let Beat::Ping(request) = next(&mut keep, &mut now) else {
            panic!("a ping is due");
        };
        let mut forged = answer(&request, 5_060);
        forged[10] ^= 1;
        assert!(keep.datagram(&forged, now), "it is STUN");
        assert!(keep.datagram(&request, now), "an echo is no answer");
        assert!(keep.ping.is_some() && !keep.answers);
        assert!(!keep.datagram(b"SIP/2.0 200 OK\r\n", now) && !keep.datagram(b"", now));
        let whole = answer(&request, 5_060);
        for cut in HEADER..whole.len() {
            assert_eq!(mapped_address(&whole[..cut]), None);
        }
        assert_eq!(mapped_address(&whole), Some("192.0.2.1:5060".parse().unwrap()));
    }

    #[test]
    fn a_stream_that_ponged_once_must_pong_again() {
        let (mut keep, mut now) = (KeepAlive::new(true, [5; 32]), Instant::now());
        assert_eq!(next(&mut keep, &mut now), Beat::Ping(b"\r\n\r\n".to_vec()));
        keep.bytes(b"\r\n", now);
        assert!(matches!(next(&mut keep, &mut now), Beat::Ping(_)));
        // A request that comes instead shows as well that the connection lives.
        keep.bytes(b"NOTIFY sip:a SIP/2.0\r\n", now);
        assert!(matches!(next(&mut keep, &mut now), Beat::Ping(_)));
        let sent = now;
        assert_eq!(next(&mut keep, &mut now), Beat::Lost);
        assert_eq!(now - sent, limits::PONG_WAIT);
        assert_eq!(keep.tick(false, now), Beat::Wait);
        assert_eq!(keep.poll_timeout(), None, "nobody needs it");
    }
}
