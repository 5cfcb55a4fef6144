//! Who sits on which stream connection: bounds in all and for each source, and who must get up for another.
//!
//! A connection that carries a call, or whose owner proved who it is, keeps its seat. Of the others, when all are
//! taken, the one that has been silent for longest makes room: thousands of idle connections lock nobody out.
//! Deliberately absent: reading and writing.

use super::limits::{STREAM_AT_ONCE, STREAM_KEPT_RATE, STREAM_RATE};
use crate::shield::Source;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// All seats; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    table: Arc<Mutex<Table>>,
    all: usize,
    per_source: usize,
}

#[derive(Debug, Default)]
struct Table {
    seats: HashMap<u64, Taken>,
    by_source: HashMap<Source, usize>,
}

#[derive(Debug)]
struct Taken {
    source: Source,
    /// When something was last read.
    heard: Instant,
    kept_until: Option<Instant>,
    get_up: Arc<Notify>,
}

/// One seat; given up when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    get_up: Arc<Notify>,
    seats: Seats,
}

impl Seats {
    pub(super) fn new(all: usize, per_source: usize) -> Self {
        Self {
            table: Arc::new(Mutex::new(Table::default())),
            all,
            per_source,
        }
    }

    /// A seat for a connection, and whether another one had to get up; `None` when no seat can be had.
    pub(super) fn take(&self, id: u64, from: IpAddr, now: Instant) -> Option<(Seat, bool)> {
        let source = Source::of(from);
        let mut table = self.lock();
        let here = table.by_source.get(&source).copied().unwrap_or(0);
        let mut evicted = false;
        if here >= self.per_source {
            table.evict(Some(source), now)?;
            evicted = true;
        } else if table.seats.len() >= self.all {
            table.evict(None, now)?;
            evicted = true;
        }
        let get_up = Arc::new(Notify::new());
        *table.by_source.entry(source).or_insert(0) += 1;
        let taken = Taken {
            source,
            heard: now,
            kept_until: None,
            get_up: Arc::clone(&get_up),
        };
        table.seats.insert(id, taken);
        let seats = self.clone();
        Some((Seat { id, get_up, seats }, evicted))
    }

    /// This connection is of use: it keeps its seat for so long.
    pub(super) fn keep(&self, id: u64, until: Instant) {
        if let Some(taken) = self.lock().seats.get_mut(&id) {
            taken.kept_until = taken.kept_until.max(Some(until));
        }
    }

    /// Sends a connection away.
    pub(super) fn send_away(&self, id: u64) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Of those without a right to stay, the one that was silent for longest.
    fn evict(&mut self, of: Option<Source>, now: Instant) -> Option<()> {
        let idle = self
            .seats
            .iter()
            .filter(|(_, taken)| of.is_none_or(|source| source == taken.source) && !taken.is_kept(now))
            .min_by_key(|(_, taken)| taken.heard);
        let id = idle.map(|(id, _)| *id)?;
        self.remove(id);
        Some(())
    }

    fn remove(&mut self, id: u64) {
        let Some(taken) = self.seats.remove(&id) else {
            return;
        };
        taken.get_up.notify_one();
        if let Some(count) = self.by_source.get_mut(&taken.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_source.remove(&taken.source);
            }
        }
    }
}

impl Taken {
    fn is_kept(&self, now: Instant) -> bool {
        self.kept_until.is_some_and(|until| until > now)
    }
}

impl Seat {
    /// Something was read; tells whether the connection is of use.
    pub(super) fn heard(&self, now: Instant) -> bool {
        let mut table = self.seats.lock();
        table.seats.get_mut(&self.id).is_some_and(|taken| {
            taken.heard = now;
            taken.is_kept(now)
        })
    }

    /// Whether the connection is of use.
    pub(super) fn is_kept(&self, now: Instant) -> bool {
        let table = self.seats.lock();
        table.seats.get(&self.id).is_some_and(|taken| taken.is_kept(now))
    }

    /// Returns when the seat is wanted for another.
    pub(super) async fn wanted(&self) {
        self.get_up.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().remove(self.id);
    }
}

/// How fast one connection is read: TCP itself slows down who sends more.
#[derive(Debug)]
pub(super) struct Pace {
    paid_until: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { paid_until: now }
    }

    /// So many bytes were read; the next ones are to be read at this moment at the earliest.
    pub(super) fn read(&mut self, bytes: usize, kept: bool, now: Instant) -> Instant {
        let rate = if kept { STREAM_KEPT_RATE } else { STREAM_RATE };
        let micros = (bytes as u64).saturating_mul(1_000_000) / rate;
        let credit = Duration::from_micros((STREAM_AT_ONCE as u64).saturating_mul(1_000_000) / rate);
        let start = now.checked_sub(credit).unwrap_or(now).max(self.paid_until);
        self.paid_until = start + Duration::from_micros(micros);
        self.paid_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "192.0.2.1";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_silent_gets_up_and_the_useful_stay() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let seats = Seats::new(10, 3);
        let (useful, _) = seats.take(1, ip(ANN), at(0)).unwrap();
        let (talker, _) = seats.take(2, ip(ANN), at(1)).unwrap();
        let (silent, _) = seats.take(3, ip(ANN), at(2)).unwrap();
        seats.keep(1, at(1000));
        assert!(!talker.heard(at(3)));
        assert!(useful.heard(at(3)));
        let (fourth, evicted) = seats.take(4, ip(ANN), at(4)).unwrap();
        assert!(evicted);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(silent.wanted());
        drop(silent);
        assert!(
            seats
                .take(5, ip("192.0.2.2"), at(4))
                .is_some_and(|(_, evicted)| !evicted)
        );
        seats.keep(2, at(1000));
        seats.keep(4, at(1000));
        assert!(seats.take(6, ip(ANN), at(5)).is_none(), "all three are of use");
        drop(fourth);
        assert!(seats.take(7, ip(ANN), at(5)).is_some_and(|(_, evicted)| !evicted));
        assert!(talker.is_kept(at(999)) && !talker.is_kept(at(1000)));
    }

    #[test]
    fn a_full_house_takes_from_anybody() {
        let now = Instant::now();
        let seats = Seats::new(2, 2);
        let (_a, _) = seats.take(1, ip(ANN), now).unwrap();
        let (_b, _) = seats
            .take(2, ip("192.0.2.2"), now + Duration::from_secs(1))
            .unwrap();
        let (_c, evicted) = seats
            .take(3, ip("192.0.2.3"), now + Duration::from_secs(2))
            .unwrap();
        assert!(evicted);
        assert_eq!(seats.lock().seats.len(), 2);
        assert!(!seats.lock().by_source.contains_key(&Source::of(ip(ANN))));
    }

    #[test]
    fn pace_has_credit_and_a_rate() {
        let now = Instant::now();
        let mut pace = Pace::new(now - Duration::from_secs(3600));
        assert!(pace.read(STREAM_AT_ONCE, false, now) <= now);
        let next = pace.read(usize::try_from(STREAM_RATE).unwrap(), false, now);
        assert!(next > now + Duration::from_millis(990) && next < now + Duration::from_millis(1010));
        assert!(Pace::new(now).read(1000, true, now) < now + Duration::from_millis(10));
    }
}
