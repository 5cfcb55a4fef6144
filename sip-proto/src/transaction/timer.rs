//! The transaction timers: names by the RFC's letters, their values, and the array they are armed in.

use std::time::{Duration, Instant};

/// A transaction timer, named as in RFC 3261 table 4 and RFC 6026 §8. It indexes the array of a [`TimerSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// INVITE request retransmission, unreliable transports only.
    A,
    /// INVITE transaction time-out.
    B,
    /// An INVITE that stays provisional for too long (§16.6 step 11; here it bounds a user agent's own call).
    C,
    /// Wait for retransmitted non-2xx final responses to an INVITE.
    D,
    /// Non-INVITE request retransmission, unreliable transports only.
    E,
    /// Non-INVITE transaction time-out.
    F,
    /// INVITE non-2xx response retransmission.
    G,
    /// Wait for the ACK to a non-2xx.
    H,
    /// Wait for retransmitted ACKs.
    I,
    /// Wait for retransmitted non-INVITE requests.
    J,
    /// Wait for retransmitted responses to a non-INVITE.
    K,
    /// Wait for retransmitted INVITEs after a 2xx (RFC 6026 §7.1).
    L,
    /// Wait for further 2xx after the first (RFC 6026 §7.2).
    M,
    /// Not lettered: the 100 to a slow non-INVITE (RFC 4320 §4.1).
    Trying,
    /// Not lettered: a server transaction that nobody answered.
    Abandoned,
}

impl Timer {
    /// How many timers there are: the size of a [`TimerSet`].
    pub const COUNT: usize = 15;

    /// All of them, in the order of their index.
    pub const ALL: [Timer; Timer::COUNT] = [
        Timer::A,
        Timer::B,
        Timer::C,
        Timer::D,
        Timer::E,
        Timer::F,
        Timer::G,
        Timer::H,
        Timer::I,
        Timer::J,
        Timer::K,
        Timer::L,
        Timer::M,
        Timer::Trying,
        Timer::Abandoned,
    ];

    /// What is waited for, for `poll_timeout` and logs.
    pub const fn reason(self) -> &'static str {
        match self {
            Timer::A => "timer A: resend INVITE",
            Timer::B => "timer B: INVITE unanswered",
            Timer::C => "timer C: INVITE provisional too long",
            Timer::D => "timer D: absorb final responses to INVITE",
            Timer::E => "timer E: resend request",
            Timer::F => "timer F: request unanswered",
            Timer::G => "timer G: resend final response to INVITE",
            Timer::H => "timer H: final response without ACK",
            Timer::I => "timer I: absorb ACK",
            Timer::J => "timer J: absorb requests",
            Timer::K => "timer K: absorb responses",
            Timer::L => "timer L: absorb INVITE after 2xx",
            Timer::M => "timer M: wait for further 2xx",
            Timer::Trying => "100 to a slow request",
            Timer::Abandoned => "request never answered by the application",
        }
    }
}

/// The three base values of RFC 3261 §17 and what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerValues {
    /// Round-trip estimate, 500 ms.
    pub t1: Duration,
    /// Largest retransmission interval, 4 s.
    pub t2: Duration,
    /// Longest life of a message in the network, 5 s.
    pub t4: Duration,
    /// Timer C: how long an own INVITE may stay provisional, 3 min and more.
    pub c: Duration,
}

impl Default for TimerValues {
    fn default() -> Self {
        TimerValues {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            c: Duration::from_secs(181),
        }
    }
}

impl TimerValues {
    /// 64·T1: timers B, F, H, J, L, M and N.
    pub fn transaction(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// Timer D: at least 32 s over an unreliable transport, none over a reliable one.
    pub fn d(&self, reliable: bool) -> Duration {
        if reliable {
            Duration::ZERO
        } else {
            self.transaction().max(Duration::from_secs(32))
        }
    }

    /// Timers I and K: T4, or none over a reliable transport.
    pub fn linger(&self, reliable: bool) -> Duration {
        if reliable { Duration::ZERO } else { self.t4 }
    }

    /// Timer J: 64·T1, or none over a reliable transport.
    pub fn j(&self, reliable: bool) -> Duration {
        if reliable {
            Duration::ZERO
        } else {
            self.transaction()
        }
    }

    /// When a slow non-INVITE gets its 100: as long as a client's timer E takes to reach T2 (RFC 4320 §4.1).
    pub fn trying(&self) -> Duration {
        let (mut interval, mut total) = (self.t1.max(Duration::from_millis(1)), Duration::ZERO);
        while interval < self.t2 {
            total += interval;
            interval = interval.saturating_mul(2);
        }
        total
    }
}

/// Armed timers of one transaction.
#[derive(Debug, Clone, Default)]
pub struct TimerSet {
    deadlines: [Option<Instant>; Timer::COUNT],
}

impl TimerSet {
    /// Arms `timer`, replacing what it was armed for.
    pub fn arm(&mut self, timer: Timer, at: Instant) {
        if let Some(slot) = self.deadlines.get_mut(timer as usize) {
            *slot = Some(at);
        }
    }

    /// Disarms `timer`.
    pub fn disarm(&mut self, timer: Timer) {
        if let Some(slot) = self.deadlines.get_mut(timer as usize) {
            *slot = None;
        }
    }

    /// Disarms all.
    pub fn clear(&mut self) {
        self.deadlines = Default::default();
    }

    /// Whether `timer` is armed, and for when.
    pub fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.deadlines.get(timer as usize).copied().flatten()
    }

    /// The earliest armed timer.
    pub fn next(&self) -> Option<(Instant, Timer)> {
        Timer::ALL
            .iter()
            .filter_map(|timer| Some((self.deadline(*timer)?, *timer)))
            .min_by_key(|(at, _)| *at)
    }

    /// Takes the earliest timer that is due at `now`.
    pub fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = self.next()?;
        if at > now {
            return None;
        }
        self.disarm(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_index_order() {
        for (index, timer) in Timer::ALL.iter().enumerate() {
            assert_eq!(*timer as usize, index);
        }
    }

    #[test]
    fn values_of_table_4() {
        let values = TimerValues::default();
        assert_eq!(values.transaction(), Duration::from_secs(32));
        assert_eq!(values.d(false), Duration::from_secs(32));
        assert_eq!(values.d(true), Duration::ZERO);
        assert_eq!(values.linger(false), Duration::from_secs(5));
        assert_eq!(values.j(true), Duration::ZERO);
        // E fires after 0.5, 1 and 2 s more, and is then set to T2.
        assert_eq!(values.trying(), Duration::from_millis(3500));
    }
}
