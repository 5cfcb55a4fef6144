//! The slots of the jitter buffer: fixed memory, indexed by sequence number.
//!
//! Deliberately absent: any notion of time; [`super::JitterBuffer`] decides when a frame leaves.

use std::time::Instant;

use crate::limits::{JITTER_SLOTS, MAX_PAYLOAD};
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
    count: usize,
    highest: SeqExt,
}

impl Ring {
    pub fn new() -> Self {
        Self {
            slots: vec![None; JITTER_SLOTS].into_boxed_slice(),
            bytes: vec![0; JITTER_SLOTS * MAX_PAYLOAD].into_boxed_slice(),
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

    /// Stores a frame; whoever had its place is gone. The caller keeps all frames within [`JITTER_SLOTS`] numbers
    /// and the payload within [`MAX_PAYLOAD`].
    pub fn put(&mut self, slot: Slot, payload: &[u8]) {
        let at = index(slot.seq);
        let start = at * MAX_PAYLOAD;
        let (Some(place), Some(room)) = (
            self.slots.get_mut(at),
            self.bytes.get_mut(start..start + payload.len()),
        ) else {
            return;
        };
        room.copy_from_slice(payload);
        self.highest = if self.count == 0 {
            slot.seq
        } else {
            self.highest.max(slot.seq)
        };
        self.count += usize::from(place.is_none());
        *place = Some(slot);
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
        let start = index(slot.seq) * MAX_PAYLOAD;
        self.bytes.get(start..start + slot.length).unwrap_or_default()
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
            None
        } else {
            self.get(self.highest)
        }
    }
}

const fn index(seq: SeqExt) -> usize {
    (seq.0 % JITTER_SLOTS as u64) as usize
}
