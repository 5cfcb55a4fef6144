//! How late packets come: the base delay of the path, and how much more a buffer must allow for.
//!
//! A packet's transit is its arrival less its timestamp, both in microseconds; only differences of transits mean
//! something. The *base* is the least transit of the last four seconds, so that a clock drift of 500 ppm moves it by
//! 2 ms at the most. The *target* is what the latest of the last 64 arrivals needed over the base, the two worst left
//! out; packets that drain out of a stall right behind one another count as one event, so that a single stall does
//! not raise the delay, while jitter that goes on does so within a few packets. It falls slowly. A pause in which the
//! base was forgotten keeps what is known of the jitter, whatever the clocks drifted meanwhile.
//!
//! Deliberately absent: RFC 3550's jitter, which is a mean and says nothing about the tail.

/// Arrivals that the target is judged by.
const EVENTS: usize = 64;
/// The worst ones, of which the last counts.
const TOP: usize = 3;
/// Buckets of [`BUCKET`] whose least transit is the base.
const BUCKETS: usize = 4;
/// Microseconds of one bucket.
const BUCKET: i64 = 1_000_000;
/// The target falls by a third a second, and by at least this many microseconds.
const SHRINK: i64 = 10_000;
/// Events before the target has a memory; until then one early packet decides too much.
const SETTLED: usize = 8;

#[derive(Debug)]
pub(super) struct Delay {
    events: [i64; EVENTS],
    /// The largest of them, falling.
    top: [i64; TOP],
    count: usize,
    oldest: usize,
    buckets: [i64; BUCKETS],
    bucket: i64,
    base: i64,
    target: i64,
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    arrival: i64,
    transit: i64,
}

impl Delay {
    pub const fn new() -> Self {
        Self {
            events: [0; EVENTS],
            top: [i64::MIN; TOP],
            count: 0,
            oldest: 0,
            buckets: [i64::MAX; BUCKETS],
            bucket: 0,
            base: 0,
            target: 0,
            last: None,
        }
    }

    /// Whether this transit cannot belong to the timeline known so far.
    pub fn breaks(&self, transit: i64, limit: i64) -> bool {
        self.last
            .is_some_and(|last| (transit - last.transit).abs() > limit)
    }

    /// Takes account of a packet of `duration`; all in microseconds.
    pub fn observe(&mut self, arrival: i64, transit: i64, duration: i64) {
        let previous = self.last.replace(Last { arrival, transit });
        // After so long a pause nothing of the base is left, and drift may have moved the whole timeline.
        let paused = previous.is_some_and(|previous| arrival - previous.arrival >= BUCKETS as i64 * BUCKET);
        let before = self.base;
        self.observe_base(arrival, transit, paused || previous.is_none());
        if paused {
            self.shift(self.base - before);
        }
        // A packet hard on the heels of a later one than itself came out of the same stall.
        let drains = previous.is_some_and(|previous| {
            arrival - previous.arrival < duration / 2 && transit <= previous.transit - duration / 4
        });
        if !drains {
            self.remember(transit);
        }
        let needed = (self.worst() - self.base).max(0);
        let passed = previous.map_or(0, |previous| (arrival - previous.arrival).clamp(0, BUCKET));
        let shrink = SHRINK.max(self.target / 3) * passed / 1_000_000;
        self.target = if self.count < SETTLED {
            needed
        } else {
            needed.max(self.target - shrink)
        };
    }

    /// The least transit lately.
    pub const fn base(&self) -> i64 {
        self.base
    }

    /// Delay to allow for over the base.
    pub const fn target(&self) -> i64 {
        self.target
    }

    /// What is known of the jitter, told against another base.
    fn shift(&mut self, by: i64) {
        for event in &mut self.events {
            *event = event.saturating_add(by);
        }
        for event in self.top.iter_mut().filter(|event| **event != i64::MIN) {
            *event = event.saturating_add(by);
        }
    }

    /// `anew`: the base is found for the first time, or again after a pause.
    fn observe_base(&mut self, arrival: i64, transit: i64, anew: bool) {
        let bucket = arrival / BUCKET;
        let steps = bucket.saturating_sub(self.bucket).clamp(0, BUCKETS as i64) as usize;
        if steps > 0 {
            self.buckets.rotate_right(steps.min(BUCKETS - 1));
            for place in self.buckets.iter_mut().take(steps) {
                *place = i64::MAX;
            }
            self.bucket = bucket;
        }
        if let Some(newest) = self.buckets.first_mut() {
            *newest = transit.min(*newest);
        }
        let base = self.buckets.iter().copied().min().unwrap_or(transit);
        // When the path has become longer for good, what was allowed for before is part of the base now.
        if !anew && base > self.base {
            self.target = (self.target - (base - self.base)).max(0);
        }
        self.base = base;
    }

    fn remember(&mut self, transit: i64) {
        let full = self.count == EVENTS;
        self.count += usize::from(!full);
        let Some(place) = self.events.get_mut(self.oldest) else {
            return;
        };
        let old = std::mem::replace(place, transit);
        self.oldest = (self.oldest + 1) % EVENTS;
        if full && old == transit {
            return;
        }
        // Only when one of the worst leaves, which is rare, are all of them looked at.
        if full && self.top.last().is_some_and(|least| old >= *least) {
            self.top = [i64::MIN; TOP];
            for index in 0..EVENTS {
                let event = self.events.get(index).copied().unwrap_or(i64::MIN);
                rank(&mut self.top, event);
            }
        } else {
            rank(&mut self.top, transit);
        }
    }

    /// The worst transit among the events, leaving out the one or two extremes that every network has.
    fn worst(&self) -> i64 {
        let left_out = match self.count {
            0..=2 => 0,
            3..=47 => 1,
            _ => 2,
        };
        self.top
            .get(left_out)
            .copied()
            .filter(|worst| *worst != i64::MIN)
            .unwrap_or(self.base)
    }
}

/// Puts a value among the largest if it is one of them.
fn rank(top: &mut [i64; TOP], mut value: i64) {
    for place in top {
        if value > *place {
            std::mem::swap(place, &mut value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets every 20 ms with these delays in ms.
    fn run(delay: &mut Delay, start: i64, delays: impl IntoIterator<Item = i64>) -> i64 {
        let mut index = start;
        for late in delays {
            let arrival = index * 20_000 + late * 1000 + 50_000;
            delay.observe(arrival, arrival - index * 20_000, 20_000);
            index += 1;
        }
        index
    }

    #[test]
    fn a_clean_path_needs_nothing() {
        let mut delay = Delay::new();
        run(&mut delay, 0, [0; 500]);
        assert_eq!((delay.base(), delay.target()), (50_000, 0));
    }

    #[test]
    fn drift_in_a_pause_is_no_jitter_and_jitter_outlives_a_pause() {
        for drift in [-150_000, 150_000] {
            for jitter in [0, 30] {
                let mut delay = Delay::new();
                let jittery = |index: i64| if index % 4 == 0 { jitter } else { 0 };
                let next = run(&mut delay, 0, (0..200).map(jittery));
                assert_eq!(delay.target(), jitter * 1000);
                // Five minutes of silence, at the end of which the sender's clock says so much more or less.
                for index in next..next + 100 {
                    let sent = index * 20_000;
                    let arrival = sent + 300_000_000 + 50_000 + jittery(index + 1) * 1000;
                    delay.observe(arrival, arrival - sent - 300_000_000 - drift, 20_000);
                    assert!(
                        (delay.target() - jitter * 1000).abs() <= 1000,
                        "{drift} {jitter}: {}",
                        delay.target()
                    );
                }
                assert_eq!(delay.base(), 50_000 - drift);
            }
        }
    }

    #[test]
    fn one_stall_is_one_event() {
        let mut delay = Delay::new();
        let next = run(&mut delay, 0, [0; 100]);
        let next = run(&mut delay, next, (0..=10).map(|step| 200 - step * 20));
        run(&mut delay, next, [0; 10]);
        assert_eq!(delay.target(), 0);
    }

    #[test]
    fn lasting_jitter_raises_the_target_fast_and_it_falls_slowly() {
        let mut delay = Delay::new();
        let next = run(&mut delay, 0, [0; 100]);
        let next = run(&mut delay, next, [0, 30, 0, 30, 0, 30, 0, 30]);
        assert_eq!(delay.target(), 30_000);
        let next = run(&mut delay, next, [0; 100]);
        assert!((5_000..30_000).contains(&delay.target()), "{}", delay.target());
        run(&mut delay, next, [0; 300]);
        assert_eq!(delay.target(), 0);
    }

    #[test]
    fn a_longer_path_becomes_the_base() {
        let mut delay = Delay::new();
        let next = run(&mut delay, 0, [0; 300]);
        run(&mut delay, next, [100; 300]);
        assert_eq!((delay.base(), delay.target()), (150_000, 0));
    }

    #[test]
    fn the_worst_events_are_known() {
        let mut delay = Delay::new();
        let mut value = 12_345_i64;
        for step in 0..5000 {
            value = (value * 1_103_515_245 + 12_345) % 2_147_483_648;
            delay.remember((value >> 8) % if step < 2000 { 10 } else { 1000 });
            let mut expected = delay.events[..delay.count].to_vec();
            expected.sort_unstable_by(|a, b| b.cmp(a));
            expected.resize(expected.len().max(TOP), i64::MIN);
            assert_eq!(expected[..TOP], delay.top);
        }
    }
}
