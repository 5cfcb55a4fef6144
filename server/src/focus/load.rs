//! Overload: when a new call is refused with 503 and Retry-After, so that those that are up go on.
//!
//! What is measured: how long requests waited before anybody looked at them (the driver knows when the kernel took
//! them in), and what share of their time the media shards use. What is configured besides: calls at a time and new
//! calls a second. Requests within a call never come here: a BYE relieves. New calls are refused first;
//! registrations and the rest only when the queue is five times as long.
//!
//! | measure | refusing begins | refusing ends |
//! |---|---|---|
//! | queue | 64 requests in a row, over 100 ms at least, waited longer than the limit; again within 2 s: 8 | one waited less than a quarter of it; for 2 s calls come in at a rate that is found by trying (`throttle`) |
//! | shards | all of them, twice in a row, over the limit | one of them 20 points below it |
//!
//! A single stall of the host is no overload: what has piled up then is worked off within 100 ms. The short memory of
//! 2 s is for a load that stays: without it the queue would grow for 100 ms again and again.
//!
//! Deliberately absent: who sends too much (`crate::shield`), and the room's own limits.

use std::time::{Duration, Instant};

use rand_core::Rng;
use sip_proto::message::{HeaderName, Method, StatusCode};

use super::answers::Rejection;
use super::throttle::{Admitted, Throttle};

/// Slow requests in a row that mean overload, when nothing was wrong before.
const SLOW_IN_A_ROW: u32 = 64;
/// The same when there was an overload a moment ago.
const SLOW_AGAIN: u32 = 8;
/// Time that the slow ones must span: the backlog of one stall of 200 ms is worked off faster.
const SLOW_SPAN: Duration = Duration::from_millis(100);
/// How long an overload is remembered.
const MEMORY: Duration = Duration::from_secs(2);
/// Refusing ends when the wait falls to this part of the limit.
const EASED: u32 = 4;
/// Requests that make no call are refused when the wait is so many times the limit.
const PATIENCE_WITH_OTHERS: u32 = 5;
/// Measurements of the shards in a row over the limit.
const BUSY_IN_A_ROW: u32 = 2;
/// Percent points below the limit at which a shard counts as relieved.
const RELIEF: u32 = 20;

/// Limits of the load; zero switches one off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadSettings {
    /// Longest wait of a request before it is looked at.
    pub queue: Duration,
    /// Share of its time that a media shard may use, in percent.
    pub shard_percent: u32,
    /// Calls at a time; each costs up to 200 KiB with its media.
    pub max_calls: usize,
    /// New calls a second.
    pub calls_per_second: u32,
    /// Shortest Retry-After in seconds; up to twice that is said, so that not all come back at once.
    pub retry_after: u32,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self {
            queue: Duration::from_millis(20),
            shard_percent: 85,
            max_calls: 5_000,
            calls_per_second: 0,
            retry_after: 5,
        }
    }
}

/// Why a new request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Requests wait too long.
    Queue,
    /// The media shards have no time left.
    Shards,
    /// As many calls as there may be.
    Calls,
    /// More new calls a second than there may be.
    Rate,
}

impl Cause {
    /// All of them, in the order of [`LoadGate::refused`].
    pub const ALL: [Self; 4] = [Self::Queue, Self::Shards, Self::Calls, Self::Rate];

    /// Its name in the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Shards => "shards",
            Self::Calls => "calls",
            Self::Rate => "rate",
        }
    }
}

/// Judges new requests by the load.
#[derive(Debug)]
pub struct LoadGate {
    settings: LoadSettings,
    waited: Duration,
    slow: u32,
    slow_since: Option<Instant>,
    looked_at: Option<Instant>,
    queue_full: bool,
    remembered: Option<Instant>,
    admitted: Admitted,
    /// While overload is remembered.
    throttle: Option<Throttle>,
    busy: u32,
    shards_full: bool,
    tokens: f64,
    filled_at: Instant,
    refused: [u64; Cause::ALL.len()],
}

impl LoadGate {
    /// A gate that stands open.
    pub fn new(settings: LoadSettings, now: Instant) -> Self {
        Self {
            waited: Duration::ZERO,
            slow: 0,
            slow_since: None,
            looked_at: None,
            queue_full: false,
            remembered: None,
            admitted: Admitted::new(now),
            throttle: None,
            busy: 0,
            shards_full: false,
            tokens: f64::from(settings.calls_per_second),
            filled_at: now,
            refused: [0; Cause::ALL.len()],
            settings,
        }
    }

    /// A request was taken out of the queue after this wait. To be told before the request itself.
    pub fn waited(&mut self, waited: Duration, now: Instant) {
        self.waited = waited;
        self.forget(now);
        if self.settings.queue.is_zero() {
            return;
        }
        if waited < self.settings.queue {
            self.slow = 0;
            self.slow_since = None;
            if waited < self.settings.queue / EASED {
                self.queue_full = false;
            }
            return;
        }
        // Where nothing was looked at for a while there is no queue: the thread itself came late.
        let pause = self
            .looked_at
            .replace(now)
            .map(|at| now.saturating_duration_since(at));
        if pause.is_some_and(|pause| pause > SLOW_SPAN) {
            self.slow = 0;
            self.slow_since = None;
        }
        self.slow = self.slow.saturating_add(1);
        let since = *self.slow_since.get_or_insert(now);
        let lasting = self.slow >= SLOW_IN_A_ROW && now.saturating_duration_since(since) >= SLOW_SPAN;
        let again = self.slow >= SLOW_AGAIN && self.remembers(now);
        if lasting && !self.remembers(now) {
            tracing::warn!(
                waited_ms = waited.as_millis(),
                "overload: new calls are refused until the queue is short"
            );
        }
        if lasting || again || self.queue_full {
            self.close(now);
        }
    }

    /// The queue is too long.
    fn close(&mut self, now: Instant) {
        if !self.queue_full {
            match &mut self.throttle {
                Some(throttle) => throttle.fall(now),
                None => self.throttle = Some(Throttle::new(self.admitted.rate(now), now)),
            }
        }
        self.queue_full = true;
        self.remembered = Some(now + MEMORY);
    }

    /// What share of their time the shards used since the last measurement, in percent each.
    pub fn shards(&mut self, percent: &[u32]) {
        let limit = self.settings.shard_percent;
        if limit == 0 || percent.is_empty() {
            return;
        }
        if percent.iter().any(|share| *share < limit.saturating_sub(RELIEF)) {
            self.busy = 0;
            self.shards_full = false;
        } else if percent.iter().all(|share| *share >= limit) {
            self.busy = self.busy.saturating_add(1);
            if self.busy >= BUSY_IN_A_ROW && !self.shards_full {
                tracing::warn!(
                    ?percent,
                    "overload: new calls are refused until the media shards have time"
                );
                self.shards_full = true;
            }
        } else {
            self.busy = 0;
        }
    }

    /// Whether a new request may be looked at; `calls` are up now. It costs nothing of what calls are let in by: most
    /// first INVITEs only fetch their challenge.
    ///
    /// # Errors
    /// 503 with Retry-After.
    pub fn glance(
        &mut self,
        method: &Method,
        calls: usize,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Result<(), Rejection> {
        self.forget(now);
        let patience = self.settings.queue * PATIENCE_WITH_OTHERS;
        let cause = match method {
            Method::Invite | Method::Subscribe if self.queue_full => Some(Cause::Queue),
            // A subscription has no media and no rate of its own.
            Method::Invite if self.shards_full => Some(Cause::Shards),
            Method::Invite if self.settings.max_calls > 0 && calls >= self.settings.max_calls => {
                Some(Cause::Calls)
            }
            Method::Invite | Method::Subscribe => None,
            _ => (self.queue_full && self.waited >= patience).then_some(Cause::Queue),
        };
        cause.map_or(Ok(()), |cause| Err(self.refuse(cause, rng)))
    }

    /// Whether what the gate will take in comes in now: calls at no higher rate than can be carried, and each is
    /// counted once.
    ///
    /// # Errors
    /// 503 with Retry-After.
    pub fn admit(&mut self, method: &Method, now: Instant, rng: &mut impl Rng) -> Result<(), Rejection> {
        if !matches!(method, Method::Invite | Method::Subscribe) {
            return Ok(());
        }
        if let Some(throttle) = &mut self.throttle
            && !throttle.take(now)
        {
            self.remembered = Some(now + MEMORY);
            return Err(self.refuse(Cause::Queue, rng));
        }
        if *method == Method::Invite {
            if !self.take_token(now) {
                return Err(self.refuse(Cause::Rate, rng));
            }
            self.admitted.one(now);
        }
        Ok(())
    }

    fn refuse(&mut self, cause: Cause, rng: &mut impl Rng) -> Rejection {
        if let Some(count) = self.refused.get_mut(cause as usize) {
            *count = count.saturating_add(1);
        }
        let base = self.settings.retry_after.max(1);
        let seconds = base + rng.next_u32() % (base + 1);
        let mut rejection = Rejection::new(StatusCode::SERVICE_UNAVAILABLE);
        rejection.headers.set(HeaderName::RetryAfter, seconds);
        rejection
    }

    /// Requests refused so far, by [`Cause::ALL`].
    pub const fn refused(&self) -> [u64; Cause::ALL.len()] {
        self.refused
    }

    /// Whether new calls are being refused because of measured load.
    pub fn is_overloaded(&self, now: Instant) -> bool {
        self.remembers(now) && (self.queue_full || self.throttle.is_some()) || self.shards_full
    }

    /// A flood that stopped at once leaves nobody behind to tell of a short queue: when its memory is over, so is it,
    /// and the next slow request begins a new count.
    fn forget(&mut self, now: Instant) {
        if !self.remembers(now) {
            self.queue_full = false;
            self.throttle = None;
        }
    }

    fn remembers(&self, now: Instant) -> bool {
        self.remembered.is_some_and(|until| until > now)
    }

    fn take_token(&mut self, now: Instant) -> bool {
        let rate = f64::from(self.settings.calls_per_second);
        if rate == 0.0 {
            return true;
        }
        let gained = now.saturating_duration_since(self.filled_at).as_secs_f64() * rate;
        self.filled_at = now;
        self.tokens = (self.tokens + gained).min(rate);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha12Rng;
    use rand_core::SeedableRng;

    const MS: Duration = Duration::from_millis(1);

    struct Scene {
        gate: LoadGate,
        now: Instant,
        rng: ChaCha12Rng,
    }

    impl Scene {
        fn new(settings: LoadSettings) -> Self {
            let now = Instant::now();
            Self {
                gate: LoadGate::new(settings, now),
                now,
                rng: ChaCha12Rng::from_seed([7; 32]),
            }
        }

        fn admits(&mut self, method: Method) -> bool {
            self.comes_in(method, 0, Duration::ZERO).is_ok()
        }

        fn comes_in(&mut self, method: Method, calls: usize, later: Duration) -> Result<(), Rejection> {
            let now = self.now + later;
            self.gate.glance(&method, calls, now, &mut self.rng)?;
            self.gate.admit(&method, now, &mut self.rng)
        }

        /// `count` requests, `apart` from each other, that all waited so long.
        fn requests(&mut self, count: u32, apart: Duration, waited: Duration) {
            for _ in 0..count {
                self.now += apart;
                self.gate.waited(waited, self.now);
            }
        }
    }

    /// Found in review: callers over TCP are not measured, so nobody reopened the gate after a flood of datagrams.
    #[test]
    fn a_flood_that_stops_at_once_does_not_leave_the_gate_shut() {
        let mut scene = Scene::new(LoadSettings::default());
        scene.requests(400, 5 * MS, 80 * MS);
        assert!(!scene.admits(Method::Invite));
        scene.now += MEMORY + MS;
        assert!(scene.admits(Method::Invite));
        assert!(!scene.gate.is_overloaded(scene.now));
    }

    #[test]
    fn a_queue_that_stays_long_closes_the_gate_for_calls_and_then_for_all() {
        let mut scene = Scene::new(LoadSettings::default());
        scene.requests(200, MS, 30 * MS);
        assert!(!scene.admits(Method::Invite) && !scene.admits(Method::Subscribe));
        assert!(scene.admits(Method::Register) && scene.admits(Method::Options));
        scene.requests(1, MS, 100 * MS);
        assert!(!scene.admits(Method::Register));
        assert!(scene.gate.is_overloaded(scene.now));
        assert_eq!(scene.gate.refused(), [3, 0, 0, 0]);
    }

    #[test]
    fn the_refusal_names_a_time_that_differs() {
        let mut scene = Scene::new(LoadSettings::default());
        scene.requests(200, MS, 30 * MS);
        let mut said = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let refusal = scene.comes_in(Method::Invite, 0, Duration::ZERO).unwrap_err();
            assert_eq!(refusal.status, StatusCode::SERVICE_UNAVAILABLE);
            let seconds: u32 = refusal
                .headers
                .get(&HeaderName::RetryAfter)
                .unwrap()
                .parse()
                .unwrap();
            said.insert(seconds);
        }
        assert_eq!(said.into_iter().collect::<Vec<_>>(), [5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_stall_of_the_host_is_no_overload() {
        let mut scene = Scene::new(LoadSettings::default());
        // 800 requests of 200 ms, worked off at 10 a millisecond.
        for n in (0..80).rev() {
            scene.requests(10, MS / 10, Duration::from_millis(20 + 2 * n));
            assert!(scene.admits(Method::Invite), "at {n}");
        }
        // A few slow ones on a machine that has other things to do, neither.
        scene.requests(200, 150 * MS, 400 * MS);
        assert!(scene.admits(Method::Invite));
    }

    #[test]
    fn it_opens_when_the_queue_is_short_and_remembers_for_a_while() {
        let mut scene = Scene::new(LoadSettings::default());
        scene.requests(200, MS, 30 * MS);
        scene.requests(1, MS, 10 * MS);
        assert!(
            !scene.admits(Method::Invite),
            "between the limits nothing changes"
        );
        scene.requests(1, MS, 4 * MS);
        assert!(scene.admits(Method::Invite));
        let more = (0..20).filter(|_| scene.admits(Method::Invite)).count();
        assert_eq!(more, 0, "not all at once");
        scene.requests(8, MS, 21 * MS);
        assert!(!scene.admits(Method::Invite), "the load has stayed");
        // Nobody tells of a short queue in between.
        scene.now += Duration::from_secs(3);
        scene.requests(50, MS, 21 * MS);
        assert!(scene.admits(Method::Invite), "it is a new day");
    }

    #[test]
    fn shards_without_time_refuse_calls_only() {
        let mut scene = Scene::new(LoadSettings::default());
        scene.gate.shards(&[90, 95]);
        assert!(scene.admits(Method::Invite), "once is nothing");
        scene.gate.shards(&[90, 95]);
        assert!(!scene.admits(Method::Invite) && scene.admits(Method::Subscribe));
        scene.gate.shards(&[70, 80]);
        assert!(!scene.admits(Method::Invite));
        scene.gate.shards(&[64, 99]);
        assert!(scene.admits(Method::Invite));
        scene.gate.shards(&[60, 99]);
        scene.gate.shards(&[60, 99]);
        assert!(scene.admits(Method::Invite), "one shard has time");
    }

    #[test]
    fn configured_limits() {
        let settings = LoadSettings {
            max_calls: 2,
            calls_per_second: 3,
            ..LoadSettings::default()
        };
        let mut scene = Scene::new(settings);
        let now = Duration::ZERO;
        assert!(scene.comes_in(Method::Invite, 2, now).is_err());
        for n in 0..5 {
            let comes = scene.comes_in(Method::Invite, 1, now).is_ok();
            assert_eq!(comes, n < 3, "call {n}");
        }
        assert!(scene.comes_in(Method::Register, 9, now).is_ok());
        assert!(scene.comes_in(Method::Invite, 1, 334 * MS).is_ok());
        assert_eq!(scene.gate.refused(), [0, 0, 1, 2]);
        assert!(!scene.gate.is_overloaded(scene.now));
    }

    #[test]
    fn zero_switches_off() {
        let mut scene = Scene::new(LoadSettings {
            queue: Duration::ZERO,
            shard_percent: 0,
            max_calls: 0,
            calls_per_second: 0,
            retry_after: 0,
        });
        scene.requests(500, MS, Duration::from_secs(9));
        scene.gate.shards(&[100]);
        scene.gate.shards(&[100]);
        assert!(scene.comes_in(Method::Invite, 1_000_000, Duration::ZERO).is_ok());
    }
}
