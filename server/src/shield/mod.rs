//! The shield before the signalling: what of the wire is worth a look, by whom, how often. Sans-IO.
//!
//! It sees every datagram before it is queued, so that a flood costs a glance each and neither memory nor the place
//! of others in the queue. What it lets through is one of two classes:
//!
//! - messages **of a call** that was admitted, known by its Call-ID, which only its two ends know: never banned,
//!   limited for each call by itself, and queued apart, before everything else. A false source address changes nothing
//!   there. What turns out to be a new request all the same is judged as one when it has been parsed.
//! - **new** requests: limited for each address (IPv6: /64), and for all strangers together. Who gave a right password
//!   or acknowledged a call is no stranger for two hours, and has a limit of its own address and port.
//!
//! Addresses are banned for wrong passwords only, because these prove who did it: a challenge reached the address. Over
//! UDP anybody can write any address into a packet, so nothing else that comes in one brings a ban on anybody. A ban
//! stops new requests and new connections; calls that are up go on. Deliberately absent: the load of the server (`focus`), and in-dialog authentication.

mod bucket;
pub mod limits;
mod network;
pub mod peek;
mod proven;
mod sources;

pub use network::{Network, NetworkError, Source};

use bucket::Bucket;
use peek::Look;
use proven::Proven;
use sources::Sources;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// What the operator decides.
#[derive(Debug, Clone, PartialEq)]
pub struct ShieldSettings {
    /// New requests from one address, a second.
    pub requests_per_second: u32,
    /// New requests from one address at once.
    pub requests_at_once: u32,
    /// New requests from all strangers together, a second.
    pub strangers_per_second: u32,
    /// Wrong passwords from one address within [`limits::FAULT_WINDOW`] that bring a ban.
    pub wrong_passwords: u32,
    /// How long a ban lasts; zero: nobody is banned.
    pub ban: Duration,
    /// Never limited, never banned.
    pub trusted: Vec<Network>,
}

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to a call: before everything else.
    OfCall,
    /// It may be something new.
    New,
    /// It is not worth a look.
    Drop(Cause),
}

/// Why something is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A keep-alive: done with.
    KeepAlive,
    /// No SIP.
    Garbage,
    /// Too much from one address, or in one call.
    Rate,
    /// Too much from all strangers together.
    Flood,
    /// From a banned address.
    Banned,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::KeepAlive,
        Self::Garbage,
        Self::Rate,
        Self::Flood,
        Self::Banned,
    ];

    /// Its name in the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeepAlive => "keepalive",
            Self::Garbage => "garbage",
            Self::Rate => "rate",
            Self::Flood => "flood",
            Self::Banned => "banned",
        }
    }
}

/// An allowance with an end.
#[derive(Debug, Clone, Copy)]
struct Pass {
    bucket: Bucket,
    until: Instant,
}

/// See the module's description.
#[derive(Debug)]
pub struct Shield {
    settings: ShieldSettings,
    /// By a keyed hash of the Call-ID: nobody can aim at another's place.
    calls: HashMap<u64, Pass>,
    proven: Proven,
    sources: Sources,
    strangers: Bucket,
    hasher: RandomState,
    swept: Instant,
    bans: u64,
    banned: usize,
}

impl Shield {
    /// A shield that knows nobody.
    pub fn new(settings: ShieldSettings, now: Instant) -> Self {
        let strangers = Bucket::full(strangers_rate(&settings).1, now);
        Self {
            sources: Sources::new(&settings),
            settings,
            calls: HashMap::new(),
            proven: Proven::default(),
            strangers,
            hasher: RandomState::new(),
            swept: now,
            bans: 0,
            banned: 0,
        }
    }

    /// Judges a datagram.
    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) -> Verdict {
        let call_id = match peek::look(bytes) {
            Look::Sip { call_id } => call_id,
            Look::Stun => None,
            Look::KeepAlive => return Verdict::Drop(Cause::KeepAlive),
            Look::Garbage => return Verdict::Drop(Cause::Garbage),
        };
        if let Some(call_id) = call_id {
            let key = self.hasher.hash_one(call_id);
            if let Some(call) = self.calls.get_mut(&key).filter(|call| call.until > now) {
                return if call.bucket.take(limits::CALL_RATE, now) {
                    Verdict::OfCall
                } else {
                    Verdict::Drop(Cause::Rate)
                };
            }
        }
        self.new_request(from, now)
    }

    /// Judges a new request that was not judged as one before it was parsed: what a stream carries is not seen there,
    /// and what came under the Call-ID of a call may yet be something new.
    pub fn new_request(&mut self, from: SocketAddr, now: Instant) -> Verdict {
        if self.is_trusted(from.ip()) {
            return Verdict::New;
        }
        if let Some(pass) = self.proven.get_mut(&from, now) {
            return if pass.bucket.take(limits::PROVEN_RATE, now) {
                Verdict::New
            } else {
                Verdict::Drop(Cause::Rate)
            };
        }
        let source = Source::of(from.ip());
        let known = self.sources.request(source, now);
        if let Some(Err(cause)) = known {
            return Verdict::Drop(cause);
        }
        // Before anything is kept of an address that may be false: a flood with made-up ones fills no table.
        if !self.strangers.take(strangers_rate(&self.settings), now) {
            return Verdict::Drop(Cause::Flood);
        }
        if known.is_none() {
            self.sources.begin(source, now);
        }
        Verdict::New
    }

    /// Judges a connection that an address opens.
    pub fn connection(&mut self, from: IpAddr, now: Instant) -> Result<(), Cause> {
        if self.is_trusted(from) {
            return Ok(());
        }
        self.sources.connection(Source::of(from), now)
    }

    /// A call that was admitted rings or is up: its messages go first from now on.
    pub fn keep_call(&mut self, call_id: &str, now: Instant) {
        let until = now + limits::CALL_LINGER;
        let key = self.hasher.hash_one(call_id.as_bytes());
        if let Some(call) = self.calls.get_mut(&key) {
            call.until = until;
        } else if self.calls.len() < limits::MAX_CALLS {
            let bucket = Bucket::full(limits::CALL_RATE.1, now);
            self.calls.insert(key, Pass { bucket, until });
        }
    }

    /// Whether a message with this Call-ID belongs to a call that is known.
    pub fn knows_call(&self, call_id: &[u8], now: Instant) -> bool {
        self.calls
            .get(&self.hasher.hash_one(call_id))
            .is_some_and(|call| call.until > now)
    }

    /// This address and port received something that was sent there: it gave a right password for our nonce, or
    /// acknowledged our answer; `account`: whose password. While its source is banned that only keeps a proof which it
    /// has: else who guesses from one port would prove it again from another.
    pub fn prove(&mut self, address: SocketAddr, account: Option<&str>, now: Instant) {
        let banned = self.sources.is_banned(Source::of(address.ip()), now);
        if !banned || self.is_trusted(address.ip()) || self.proven.get_mut(&address, now).is_some() {
            let account = account.map(|account| self.hasher.hash_one(account));
            self.proven.add(address, account, now);
        }
    }

    /// A wrong password, from an address that is proved to be the sender's.
    pub fn blame(&mut self, address: SocketAddr, now: Instant) {
        self.proven.forget(address);
        if self.settings.ban.is_zero() || self.is_trusted(address.ip()) {
            return;
        }
        let (source, ban) = (Source::of(address.ip()), self.settings.ban);
        if !self.sources.fault(source, now + ban, now) {
            return;
        }
        self.bans += 1;
        self.banned += 1;
        tracing::warn!(%source, seconds = ban.as_secs(), "banned: too many wrong passwords; calls go on");
    }

    /// Forgets what is over. Cheap when called often.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < limits::SWEEP {
            return;
        }
        self.swept = now;
        self.calls.retain(|_, call| call.until > now);
        self.proven.expire(now);
        self.sources.expire(now);
        self.banned = self.sources.banned(now);
    }

    /// Bans so far.
    pub const fn bans(&self) -> u64 {
        self.bans
    }

    /// Addresses that are banned now, as of the last sweep.
    pub const fn banned(&self) -> usize {
        self.banned
    }

    /// Entries of all tables: for tests of their bounds.
    pub fn entries(&self) -> (usize, usize, usize) {
        (self.calls.len(), self.proven.len(), self.sources.len())
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.settings
            .trusted
            .iter()
            .any(|network| network.contains(address))
    }
}

fn strangers_rate(settings: &ShieldSettings) -> (f64, f64) {
    let rate = f64::from(settings.strangers_per_second);
    (rate, rate * limits::STRANGERS_AT_ONCE)
}

#[cfg(test)]
mod tests;
