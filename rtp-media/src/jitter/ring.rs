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
    /// Where the next payload goes.
    next: usize,
    count: usize,
    highest: SeqExt,
}

impl Ring {
    pub fn new() -> Self {
        Self {
            slots: vec![None; JITTER_SLOTS].into_boxed_slice(),
            bytes: vec![0; JITTER_BYTES].into_boxed_slice(),
            next: 0,
            count: 0,
            highest: SeqExt(0),
        }
    }

    pub const fn count(&self) -> usize {
        self.count
    }

    pub fn clear(&mut self) {
        self.slots.fill(None);
        self.count = 0;
    }

    pub fn get(&self, seq: SeqExt) -> Option<&Slot> {
        self.slots
            .get(index(seq))?
            .as_ref()
            .filter(|slot| slot.seq == seq)
    }

    /// Stores a frame; whoever had its place, or its bytes, is gone. The caller keeps all frames within
    /// [`JITTER_SLOTS`] numbers and the payload within [`MAX_PAYLOAD`](crate::limits::MAX_PAYLOAD).
    pub fn put(&mut self, mut slot: Slot, payload: &[u8]) {
        if self.count == 0 || self.next + payload.len() > self.bytes.len() {
            self.next = 0;
        }
        slot.start = self.next;
        let end = slot.start + payload.len();
        if self.count > 0 {
            self.clear_bytes(slot.start, end);
        }
        let (Some(place), Some(room)) = (
            self.slots.get_mut(index(slot.seq)),
            self.bytes.get_mut(slot.start..end),
        ) else {
            return;
        };
        room.copy_from_slice(payload);
        self.next = end;
        self.highest = if self.count == 0 {
            slot.seq
        } else {
            self.highest.max(slot.seq)
        };
        self.count += usize::from(place.is_none());
        *place = Some(slot);
    }

    /// Drops the frames whose bytes lie between `start` and `end`: only a stream far above any audio codec's rate
    /// fills the store within the time that a frame may wait.
    fn clear_bytes(&mut self, start: usize, end: usize) {
        for place in &mut self.slots {
            if place
                .as_ref()
                .is_some_and(|slot| slot.start < end && start < slot.start + slot.length)
            {
                *place = None;
                self.count -= 1;
            }
        }
    }

    /// Frees a slot. Its bytes stay readable by [`payload`](Self::payload) until the next `put`.
    pub fn take(&mut self, seq: SeqExt) -> Option<Slot> {
        let place = self.slots.get_mut(index(seq))?;
        if place.as_ref()?.seq != seq {
            return None;
        }
        self.count -= 1;
        place.take()
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
}
