//! The slots of the jitter buffer: fixed memory, indexed by sequence number.
//!
//! Payloads lie one behind the other in one small store that begins anew whenever nothing waits: on a clean network
//! a leg touches a few hundred bytes of it, which stay in the processor's cache, and no more of it becomes resident.
//!
//! Deliberately absent: any notion of time; [`super::JitterBuffer`] decides when a frame leaves.

use std::time::Instant;

use crate::limits::{JITTER_BYTES, JITTER_SLOTS};
use crate::units::SeqExt;

/// What is known of a waiting frame beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub seq: SeqExt,
    /// Timestamp, extended over its wraps.
    pub ts: i64,
    pub duration: u32,
    pub marker: bool,
    pub silent: bool,
    pub at: Instant,
    /// Where its bytes begin; set when it is put.
    start: usize,
    length: usize,
}

impl Slot {
    pub const fn new(
        seq: SeqExt,
        ts: i64,
        duration: u32,
        marker: bool,
        silent: bool,
        at: Instant,
        length: usize,
    ) -> Self {
        Self {
            seq,
            ts,
            duration,
            marker,
            silent,
            at,
            start: 0,
            length,
        }
    }

    /// The timestamp behind its last sample.
    pub fn end(&self) -> i64 {
        self.ts + i64::from(self.duration)
    }
}

#[derive(Debug)]
pub(super) struct Ring {
    slots: Box<[Option<Slot>]>,
    bytes: Box<[u8]>,
    /// Where the next payload goes. What was stored since the store began anew lies before it.
    next: usize,
    count: usize,
    /// Of them, those from before the store began anew while something waited: only they can be overwritten.
    older: usize,
    highest: SeqExt,
}

impl Ring {
    pub fn new() -> Self {
        Self {
            slots: vec![None; JITTER_SLOTS].into_boxed_slice(),
            bytes: vec![0; JITTER_BYTES].into_boxed_slice(),
            next: 0,
            count: 0,
            older: 0,
            highest: SeqExt(0),
        }
    }

    pub const fn count(&self) -> usize {
        self.count
    }

    pub fn clear(&mut self) {
        self.slots.fill(None);
        self.count = 0;
        self.older = 0;
    }

    pub fn get(&self, seq: SeqExt) -> Option<&Slot> {
        if self.count == 0 {
            // As a rule on a clean network, where the slot is not in the processor's cache.
            return None;
        }
        self.slots
            .get(index(seq))?
            .as_ref()
            .filter(|slot| slot.seq == seq)
    }

    /// Stores a frame; whoever had its place, or its bytes, is gone. The caller keeps all frames within
    /// [`JITTER_SLOTS`] numbers and the payload within [`MAX_PAYLOAD`](crate::limits::MAX_PAYLOAD).
    pub fn put(&mut self, mut slot: Slot, payload: &[u8]) {
        if self.count == 0 {
            self.next = 0;
            self.older = 0;
        } else if self.next + payload.len() > self.bytes.len() {
            self.next = 0;
            self.older = self.count;
        }
        slot.start = self.next;
        let end = slot.start + payload.len();
        if self.older > 0 {
            self.clear_bytes(slot.start, end);
        }
        let Some(room) = self.bytes.get_mut(slot.start..end) else {
            return;
        };
        room.copy_from_slice(payload);
        if self.count > 0
            && let Some(replaced) = self.slots.get_mut(index(slot.seq)).and_then(Option::take)
        {
            self.gone(&replaced);
        }
        self.next = end;
        self.highest = if self.count == 0 {
            slot.seq
        } else {
            self.highest.max(slot.seq)
        };
        self.count += 1;
        if let Some(place) = self.slots.get_mut(index(slot.seq)) {
            *place = Some(slot);
        }
    }

    /// A frame waits no longer.
    fn gone(&mut self, slot: &Slot) {
        self.count -= 1;
        self.older -= usize::from(self.older > 0 && slot.start >= self.next);
    }

    /// Drops the frames whose bytes lie between `start` and `end`: only a stream far above any audio codec's rate
    /// fills the store within the time that a frame may wait.
    fn clear_bytes(&mut self, start: usize, end: usize) {
        for at in 0..JITTER_SLOTS {
            let place = self.slots.get_mut(at);
            let hit = |slot: &mut Slot| slot.start < end && start < slot.start + slot.length;
            if let Some(dropped) = place.and_then(|place| place.take_if(hit)) {
                self.gone(&dropped);
            }
        }
    }

    /// Frees a slot. Its bytes stay readable by [`payload`](Self::payload) until the next `put`.
    pub fn take(&mut self, seq: SeqExt) -> Option<Slot> {
        let place = self.slots.get_mut(index(seq))?;
        if place.as_ref()?.seq != seq {
            return None;
        }
        let slot = place.take()?;
        self.gone(&slot);
        Some(slot)
    }

    pub fn payload(&self, slot: &Slot) -> &[u8] {
        self.bytes
            .get(slot.start..slot.start + slot.length)
            .unwrap_or_default()
    }

    /// The first waiting frame at or behind `from`.
    pub fn first_from(&self, from: SeqExt) -> Option<&Slot> {
        if self.count == 0 {
            return None;
        }
        (0..JITTER_SLOTS as u64).find_map(|offset| self.get(from.plus(offset)))
    }

    /// The waiting frame with the highest number.
    pub fn last(&self) -> Option<&Slot> {
        if self.count == 0 {
            return None;
        }
        // The highest may have lost its bytes to others that came later.
        self.get(self.highest)
            .or_else(|| self.slots.iter().flatten().max_by_key(|slot| slot.seq))
    }

    /// Ticks of the RTP clock between the earliest and the end of the latest frame that waits at or behind `from`:
    /// a peer may number its frames in another order than it times them.
    pub fn span_from(&self, from: SeqExt) -> i64 {
        let waiting = (0..JITTER_SLOTS as u64)
            .filter_map(|offset| self.get(from.plus(offset)))
            .take(self.count)
            .map(|slot| (slot.ts, slot.end()));
        waiting
            .reduce(|(first, end), (ts, until)| (first.min(ts), end.max(until)))
            .map_or(0, |(first, end)| end - first)
    }
}

const fn index(seq: SeqExt) -> usize {
    (seq.0 % JITTER_SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_PAYLOAD;

    fn put(ring: &mut Ring, seq: u64, length: usize) {
        let payload = vec![seq as u8; length];
        let at = crate::units::any_instant();
        ring.put(
            Slot::new(SeqExt(seq), seq as i64 * 960, 960, false, false, at, length),
            &payload,
        );
    }

    fn intact(ring: &Ring, seq: u64, length: usize) -> bool {
        ring.get(SeqExt(seq))
            .is_some_and(|slot| ring.payload(slot) == vec![seq as u8; length])
    }

    #[test]
    fn an_empty_ring_begins_anew_and_touches_little() {
        let mut ring = Ring::new();
        for seq in 0..1000 {
            put(&mut ring, seq, 100);
            assert!(intact(&ring, seq, 100));
            ring.take(SeqExt(seq)).unwrap();
        }
        assert!(ring.bytes[100..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_waits_is_never_spoiled_and_what_is_overwritten_is_gone() {
        let mut ring = Ring::new();
        // Ten of the longest payloads wait: 200 ms at 600 kbit/s.
        for seq in 0..500_u64 {
            put(&mut ring, seq, MAX_PAYLOAD);
            for waiting in seq.saturating_sub(8)..=seq {
                assert!(intact(&ring, waiting, MAX_PAYLOAD), "{waiting} at {seq}");
            }
            if seq >= 8 {
                assert!(ring.take(SeqExt(seq - 8)).is_some());
            }
        }
        // Far too much: the oldest are gone, the count is right, and the newest is whole.
        let mut ring = Ring::new();
        for seq in 0..JITTER_SLOTS as u64 {
            put(&mut ring, seq, MAX_PAYLOAD);
        }
        let there: Vec<u64> = (0..JITTER_SLOTS as u64)
            .filter(|seq| intact(&ring, *seq, MAX_PAYLOAD))
            .collect();
        assert_eq!(ring.count(), there.len());
        assert_eq!(there.last(), Some(&(JITTER_SLOTS as u64 - 1)));
        assert!(there.len() >= 9, "{there:?}");
    }

    #[test]
    fn the_last_is_found_when_the_highest_was_overwritten() {
        let mut ring = Ring::new();
        put(&mut ring, 40, MAX_PAYLOAD);
        for seq in 0..20 {
            put(&mut ring, seq, MAX_PAYLOAD);
        }
        assert!(ring.get(SeqExt(40)).is_none());
        assert_eq!(ring.last().map(|slot| slot.seq), Some(SeqExt(19)));
    }

    #[test]
    fn only_what_is_left_of_an_earlier_lap_is_looked_for() {
        let mut ring = Ring::new();
        // Something always waits, so that the store never begins anew by itself: many laps.
        for seq in 0..5_000_u64 {
            put(&mut ring, seq, 700);
            assert!(intact(&ring, seq, 700));
            if seq >= 3 {
                assert!(intact(&ring, seq - 3, 700), "{seq}");
                assert!(ring.take(SeqExt(seq - 3)).is_some());
            }
            let earlier = ring.slots.iter().flatten();
            let earlier = earlier.filter(|slot| slot.start >= ring.next).count();
            assert_eq!(ring.older, earlier, "{seq}");
            assert_eq!(ring.count(), ring.slots.iter().flatten().count());
        }
        // A place that another number takes is counted once.
        let mut ring = Ring::new();
        for seq in [1, 2, 1 + JITTER_SLOTS as u64] {
            put(&mut ring, seq, 100);
        }
        assert_eq!(ring.count(), 2);
    }
}
