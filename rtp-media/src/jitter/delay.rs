//! How late packets come: the base delay of the path, and how much more a buffer must allow for.
//!
//! A packet's transit is its arrival less its timestamp, both in microseconds; only differences of transits mean
//! something. The *base* is the least transit of the last four seconds, so that a clock drift of 500 ppm moves it by
//! 2 ms at the most. The *target* is what the latest of the last 64 arrivals needed over the base, the two worst left
//! out; packets that drain out of a stall right behind one another count as one event, so that a single stall does
//! not raise the delay, while jitter that goes on does so within a few packets. It falls slowly.
//!
//! Deliberately absent: RFC 3550's jitter, which is a mean and says nothing about the tail.

/// Arrivals that the target is judged by.
const EVENTS: usize = 64;
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
    sorted: [i64; EVENTS],
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
            sorted: [0; EVENTS],
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
        self.observe_base(arrival, transit, previous.is_none());
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

    fn observe_base(&mut self, arrival: i64, transit: i64, first: bool) {
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
        if !first && base > self.base {
            self.target = (self.target - (base - self.base)).max(0);
        }
        self.base = base;
    }

    fn remember(&mut self, transit: i64) {
        if self.count == EVENTS {
            let old = self.events.get(self.oldest).copied().unwrap_or_default();
            let place = self.sorted.partition_point(|&value| value < old).min(EVENTS - 1);
            self.sorted.copy_within(place + 1.., place);
        } else {
            self.count += 1;
        }
        if let Some(event) = self.events.get_mut(self.oldest) {
            *event = transit;
        }
        self.oldest = (self.oldest + 1) % EVENTS;
        let used = self.count - 1;
        let place = self
            .sorted
            .get(..used)
            .map_or(0, |sorted| sorted.partition_point(|&value| value < transit));
        self.sorted.copy_within(place..used, place + 1);
        if let Some(free) = self.sorted.get_mut(place) {
            *free = transit;
        }
    }

    /// The worst transit among the events, leaving out the one or two extremes that every network has.
    fn worst(&self) -> i64 {
        let left_out = match self.count {
            0..=2 => 0,
            3..=47 => 1,
            _ => 2,
        };
        let rank = self.count.saturating_sub(1 + left_out);
        self.sorted.get(rank).copied().unwrap_or(self.base)
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
    fn the_sorted_events_stay_the_events_sorted() {
        let mut delay = Delay::new();
        let mut value = 12_345_i64;
        for _ in 0..1000 {
            value = (value * 1_103_515_245 + 12_345) % 2_147_483_648;
            delay.remember(value % 50);
            let mut expected = delay.events[..delay.count].to_vec();
            expected.sort_unstable();
            assert_eq!(expected, &delay.sorted[..delay.count]);
        }
    }
}
