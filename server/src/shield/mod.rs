//! The shield before the signalling: what of the wire is worth a look, by whom, how often. Sans-IO.
//!
//! It sees every datagram before it is queued, so that a flood costs a glance each and neither memory nor the place
//! of others in the queue. What it lets through is one of two classes:
//!
//! - messages **of a call** that is up, known by its Call-ID, which only its two ends know: never banned, limited for
//!   each call by itself, and queued apart, before everything else. A false source address changes nothing there.
//! - **new** requests: limited for each address (IPv6: /64), and for all strangers together. Who gave a right password
//!   or holds a confirmed call is no stranger for an hour, and has a limit of its own address and port.
//!
//! Addresses are banned for wrong passwords only, because these prove who did it: a challenge reached the address. Over
//! UDP anybody can write any address into a packet, so nothing else that comes in one brings a ban on anybody. A ban stops new requests and new connections; calls that
//! are up go on. Deliberately absent: the load of the server (`focus`), and in-dialog authentication.

mod bucket;
pub mod limits;
mod network;
pub mod peek;

pub use network::{Network, NetworkError, Source};

use bucket::Bucket;
use peek::Look;
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

/// What an address is remembered for.
#[derive(Debug, Clone, Copy)]
struct Watched {
    requests: Bucket,
    connections: Bucket,
    faults: Bucket,
    banned_until: Option<Instant>,
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
    proven: HashMap<SocketAddr, Pass>,
    sources: HashMap<Source, Watched>,
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
            settings,
            calls: HashMap::new(),
            proven: HashMap::new(),
            sources: HashMap::new(),
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
        self.newcomer(from, now)
    }

    /// Judges a new request that came on a stream; what a stream carries is not seen before it is parsed.
    pub fn stream_request(&mut self, from: SocketAddr, now: Instant) -> Verdict {
        self.newcomer(from, now)
    }

    /// Judges a connection that an address opens.
    pub fn connection(&mut self, from: IpAddr, now: Instant) -> Result<(), Cause> {
        if self.is_trusted(from) {
            return Ok(());
        }
        let Some(watched) = self.watch(Source::of(from), now) else {
            return Ok(());
        };
        if watched.is_banned(now) {
            Err(Cause::Banned)
        } else if watched.connections.take(limits::CONNECTION_RATE, now) {
            Ok(())
        } else {
            Err(Cause::Rate)
        }
    }

    /// A call is being set up or is up: its messages go first from now on. `true`: it was not known.
    pub fn keep_call(&mut self, call_id: &str, now: Instant) -> bool {
        let until = now + limits::CALL_LINGER;
        let key = self.hasher.hash_one(call_id.as_bytes());
        if let Some(call) = self.calls.get_mut(&key) {
            call.until = until;
            return false;
        }
        if self.calls.len() < limits::MAX_CALLS {
            let bucket = Bucket::full(limits::CALL_RATE.1, now);
            self.calls.insert(key, Pass { bucket, until });
        }
        true
    }

    /// Whether a message with this Call-ID belongs to a call that is known.
    pub fn knows_call(&self, call_id: &[u8], now: Instant) -> bool {
        self.calls
            .get(&self.hasher.hash_one(call_id))
            .is_some_and(|call| call.until > now)
    }

    /// This address and port received something that was sent there: it gave a right password for our nonce, or
    /// acknowledged our answer.
    pub fn prove(&mut self, address: SocketAddr, now: Instant) {
        let until = now + limits::PROOF;
        if let Some(pass) = self.proven.get_mut(&address) {
            pass.until = until;
        } else if self.proven.len() < limits::MAX_PROVEN {
            let bucket = Bucket::full(limits::PROVEN_RATE.1, now);
            self.proven.insert(address, Pass { bucket, until });
        }
    }

    /// A wrong password, from an address that is proved to be the sender's.
    pub fn blame(&mut self, address: SocketAddr, now: Instant) {
        self.proven.remove(&address);
        if self.settings.ban.is_zero() || self.is_trusted(address.ip()) {
            return;
        }
        let (rates, ban) = (self.rates(), self.settings.ban);
        let source = Source::of(address.ip());
        let Some(watched) = self.watch(source, now) else {
            return;
        };
        if watched.faults.take(rates.faults, now) || watched.is_banned(now) {
            return;
        }
        watched.banned_until = Some(now + ban);
        watched.faults = Bucket::full(rates.faults.1, now);
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
        self.proven.retain(|_, pass| pass.until > now);
        let rates = self.rates();
        self.sources.retain(|_, watched| !watched.is_idle(&rates, now));
        self.banned = self
            .sources
            .values()
            .filter(|watched| watched.is_banned(now))
            .count();
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

    fn newcomer(&mut self, from: SocketAddr, now: Instant) -> Verdict {
        if self.is_trusted(from.ip()) {
            return Verdict::New;
        }
        let source = Source::of(from.ip());
        if let Some(pass) = self.proven.get_mut(&from).filter(|pass| pass.until > now) {
            return if pass.bucket.take(limits::PROVEN_RATE, now) {
                Verdict::New
            } else {
                Verdict::Drop(Cause::Rate)
            };
        }
        let rates = self.rates();
        if let Some(watched) = self.watch(source, now) {
            if watched.is_banned(now) {
                return Verdict::Drop(Cause::Banned);
            }
            if !watched.requests.take(rates.requests, now) {
                return Verdict::Drop(Cause::Rate);
            }
        }
        if self.strangers.take(strangers_rate(&self.settings), now) {
            Verdict::New
        } else {
            Verdict::Drop(Cause::Flood)
        }
    }

    /// The entry of a source; `None` while the table is full of busy ones.
    fn watch(&mut self, source: Source, now: Instant) -> Option<&mut Watched> {
        if self.sources.len() >= limits::MAX_SOURCES && !self.sources.contains_key(&source) {
            return None;
        }
        let rates = self.rates();
        Some(self.sources.entry(source).or_insert_with(|| Watched {
            requests: Bucket::full(rates.requests.1, now),
            connections: Bucket::full(limits::CONNECTION_RATE.1, now),
            faults: Bucket::full(rates.faults.1, now),
            banned_until: None,
        }))
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.settings
            .trusted
            .iter()
            .any(|network| network.contains(address))
    }

    fn rates(&self) -> Rates {
        let faults = f64::from(self.settings.wrong_passwords);
        Rates {
            requests: (
                f64::from(self.settings.requests_per_second),
                f64::from(self.settings.requests_at_once),
            ),
            faults: (faults / limits::FAULT_WINDOW.as_secs_f64(), faults),
        }
    }
}

/// Rate and burst of what is counted for an address.
struct Rates {
    requests: (f64, f64),
    faults: (f64, f64),
}

impl Watched {
    fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| until > now)
    }

    fn is_idle(&mut self, rates: &Rates, now: Instant) -> bool {
        !self.is_banned(now)
            && self.requests.is_full(rates.requests, now)
            && self.connections.is_full(limits::CONNECTION_RATE, now)
            && self.faults.is_full(rates.faults, now)
    }
}

fn strangers_rate(settings: &ShieldSettings) -> (f64, f64) {
    let rate = f64::from(settings.strangers_per_second);
    (rate, rate * limits::STRANGERS_AT_ONCE)
}

#[cfg(test)]
mod tests;
