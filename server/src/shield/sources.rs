//! What each address did: how much it asked and connected, how often it was wrong, whether it is banned.
//!
//! Over UDP anybody can write any address into a packet, so a new address gets a place here only after all strangers'
//! common limit let it through, and never the place of another. Who is *proved* to have given a wrong password gets
//! one in any case: when all are taken, of the addresses that are not banned the one with the fewest faults goes.
//! Deliberately absent: judging (`Shield`).

use super::bucket::Bucket;
use super::limits::{CONNECTION_RATE, FAULT_WINDOW, MAX_SOURCES};
use super::network::Source;
use super::{Cause, ShieldSettings};
use std::collections::HashMap;
use std::time::Instant;

/// Rate and burst of what is counted for an address.
#[derive(Debug, Clone, Copy)]
struct Rates {
    requests: (f64, f64),
    faults: (f64, f64),
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Sources {
    rates: Rates,
    table: HashMap<Source, Watched>,
}

/// What an address is remembered for.
#[derive(Debug, Clone, Copy)]
struct Watched {
    requests: Bucket,
    connections: Bucket,
    faults: Bucket,
    banned_until: Option<Instant>,
}

impl Sources {
    pub(super) fn new(settings: &ShieldSettings) -> Self {
        let faults = f64::from(settings.wrong_passwords);
        let rates = Rates {
            requests: (
                f64::from(settings.requests_per_second),
                f64::from(settings.requests_at_once),
            ),
            faults: (faults / FAULT_WINDOW.as_secs_f64(), faults),
        };
        Self {
            rates,
            table: HashMap::new(),
        }
    }

    /// Judges a new request of an address that is known; `None`: it is not.
    pub(super) fn request(&mut self, source: Source, now: Instant) -> Option<Result<(), Cause>> {
        let rate = self.rates.requests;
        let watched = self.table.get_mut(&source)?;
        Some(watched.judge(now, |watched| watched.requests.take(rate, now)))
    }

    /// Begins to watch an address that sent a request, if there is a place.
    pub(super) fn begin(&mut self, source: Source, now: Instant) {
        let rate = self.rates.requests;
        if let Some(watched) = self.place(source, now) {
            watched.requests.take(rate, now);
        }
    }

    /// Judges a connection that an address opens.
    pub(super) fn connection(&mut self, source: Source, now: Instant) -> Result<(), Cause> {
        self.place(source, now).map_or(Ok(()), |watched| {
            watched.judge(now, |watched| watched.connections.take(CONNECTION_RATE, now))
        })
    }

    /// Counts a wrong password; `true`: it was one too many, and `until` then the address is banned.
    pub(super) fn fault(&mut self, source: Source, until: Instant, now: Instant) -> bool {
        let rate = self.rates.faults;
        if self.table.len() >= MAX_SOURCES && !self.table.contains_key(&source) {
            self.evict(now);
        }
        let Some(watched) = self.place(source, now) else {
            return false;
        };
        if watched.faults.take(rate, now) || watched.is_banned(now) {
            return false;
        }
        watched.banned_until = Some(until);
        watched.faults = Bucket::full(rate.1, now);
        true
    }

    /// Forgets who did nothing for a while.
    pub(super) fn expire(&mut self, now: Instant) {
        let rates = self.rates;
        self.table.retain(|_, watched| !watched.is_idle(&rates, now));
    }

    pub(super) fn is_banned(&self, source: Source, now: Instant) -> bool {
        self.table
            .get(&source)
            .is_some_and(|watched| watched.is_banned(now))
    }

    pub(super) fn banned(&self, now: Instant) -> usize {
        self.table
            .values()
            .filter(|watched| watched.is_banned(now))
            .count()
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The entry of a source, a new one if there is room.
    fn place(&mut self, source: Source, now: Instant) -> Option<&mut Watched> {
        if self.table.len() >= MAX_SOURCES && !self.table.contains_key(&source) {
            return None;
        }
        let rates = self.rates;
        Some(self.table.entry(source).or_insert_with(|| Watched {
            requests: Bucket::full(rates.requests.1, now),
            connections: Bucket::full(CONNECTION_RATE.1, now),
            faults: Bucket::full(rates.faults.1, now),
            banned_until: None,
        }))
    }

    /// A walk over the table, but only while it is full, and once for each wrong password at most.
    fn evict(&mut self, now: Instant) {
        let rate = self.rates.faults;
        let least = self
            .table
            .iter()
            .filter(|(_, watched)| !watched.is_banned(now))
            .max_by(|(_, a), (_, b)| {
                let left = |watched: &Watched| watched.faults.left(rate, now);
                left(a).total_cmp(&left(b))
            })
            .map(|(source, _)| *source);
        if let Some(source) = least {
            self.table.remove(&source);
        }
    }
}

impl Watched {
    fn judge(&mut self, now: Instant, take: impl FnOnce(&mut Self) -> bool) -> Result<(), Cause> {
        if self.is_banned(now) {
            Err(Cause::Banned)
        } else if take(self) {
            Ok(())
        } else {
            Err(Cause::Rate)
        }
    }

    fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| until > now)
    }

    fn is_idle(&mut self, rates: &Rates, now: Instant) -> bool {
        !self.is_banned(now)
            && self.requests.is_full(rates.requests, now)
            && self.connections.is_full(CONNECTION_RATE, now)
            && self.faults.is_full(rates.faults, now)
    }
}
