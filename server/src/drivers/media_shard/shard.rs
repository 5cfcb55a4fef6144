//! The shard's thread: sleeps to the next room's deadline, ticks it, keeps the books.

use super::super::capture::Tap;
use super::super::limits::{MEDIA_DATAGRAM, PHASES, ROOMS_PER_SHARD, TICK};
use super::counters::{ShardCounters, count};
use super::slot::{Bench, Slot};
use super::sockets::{Clocks, Receiver};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Nice value asked for; without the privilege the default stays.
const NICE: i32 = -10;
/// An idle shard looks around so often even if nobody wakes it.
const IDLE: Duration = Duration::from_millis(500);

/// State of one shard, moved into its thread.
pub(super) struct Shard {
    pub(super) inbox: rtrb::Consumer<Box<Slot>>,
    pub(super) graveyard: rtrb::Producer<Box<Slot>>,
    pub(super) counters: Arc<ShardCounters>,
    pub(super) tap: Option<Tap>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) space: Box<[u8; MEDIA_DATAGRAM]>,
}

impl Shard {
    /// The thread's body.
    pub(super) fn run(mut self) {
        // Both only help: without the privilege (or the call) the shard works as well.
        let _ = rustix::process::setpriority_process(None, NICE);
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut slots: Vec<Box<Slot>> = Vec::with_capacity(ROOMS_PER_SHARD);
        let mut dead: Vec<Box<Slot>> = Vec::with_capacity(ROOMS_PER_SHARD);
        let mut phases = [0_u32; PHASES];
        let mut receiver = Receiver::default();
        let start = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            self.admit(&mut slots, &mut phases, start);
            self.bury(&mut dead);
            let Some(index) = next_due(&slots) else {
                std::thread::park_timeout(IDLE);
                continue;
            };
            let Some(slot) = slots.get_mut(index) else {
                continue;
            };
            let wait = slot.due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            if !self.tick(slot, &mut receiver) {
                let slot = slots.swap_remove(index);
                if let Some(users) = phases.get_mut(slot.phase) {
                    *users = users.saturating_sub(1);
                }
                count(&self.counters.rooms, 0_u64.wrapping_sub(1));
                dead.push(slot);
            }
        }
    }

    /// One tick of one room, with its deadline kept; `false`: the room is over.
    fn tick(&mut self, slot: &mut Slot, receiver: &mut Receiver) -> bool {
        let clocks = Clocks::read();
        let late = clocks.now.saturating_duration_since(slot.due);
        let missed = u32::try_from(late.as_nanos() / TICK.as_nanos()).unwrap_or(u32::MAX);
        if missed > 0 {
            // Skipped, not made up for: a burst would become delay at the listeners.
            slot.due += TICK.saturating_mul(missed);
            count(&self.counters.missed, u64::from(missed));
        }
        slot.due += TICK;
        let counters = Arc::clone(&self.counters);
        let mut bench = Bench {
            receiver,
            counters: &counters,
            tap: self.tap.as_mut(),
            space: &mut self.space,
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| slot.tick(&clocks, &mut bench)));
        counters.tick(micros(clocks.now.elapsed()), micros(late));
        match outcome {
            Ok(true) => true,
            Ok(false) => {
                slot.shared.close(false);
                false
            }
            Err(_) => {
                count(&counters.panics, 1);
                count(&counters.legs, 0_u64.wrapping_sub(slot.legs()));
                slot.shared.close(true);
                false
            }
        }
    }

    /// Gives new rooms the emptiest moment of the 20 ms.
    #[expect(
        clippy::vec_box,
        reason = "rooms travel in their boxes, which must not be freed here"
    )]
    fn admit(&mut self, slots: &mut Vec<Box<Slot>>, phases: &mut [u32; PHASES], start: Instant) {
        while slots.len() < ROOMS_PER_SHARD {
            let Ok(mut slot) = self.inbox.pop() else { return };
            let phase = phases
                .iter()
                .enumerate()
                .min_by_key(|(_, users)| **users)
                .map_or(0, |(i, _)| i);
            if let Some(users) = phases.get_mut(phase) {
                *users += 1;
            }
            slot.phase = phase;
            slot.due = next_moment(start, phase, Instant::now());
            count(&self.counters.rooms, 1);
            slots.push(slot);
        }
    }

    /// Hands closed rooms to the control side, which frees them.
    #[expect(
        clippy::vec_box,
        reason = "rooms travel in their boxes, which must not be freed here"
    )]
    fn bury(&mut self, dead: &mut Vec<Box<Slot>>) {
        while let Some(slot) = dead.pop() {
            if let Err(rtrb::PushError::Full(slot)) = self.graveyard.push(slot) {
                dead.push(slot);
                return;
            }
        }
    }
}

fn next_due(slots: &[Box<Slot>]) -> Option<usize> {
    slots
        .iter()
        .enumerate()
        .min_by_key(|(_, slot)| slot.due)
        .map(|(index, _)| index)
}

fn next_moment(start: Instant, phase: usize, now: Instant) -> Instant {
    let step = TICK / u32::try_from(PHASES).unwrap_or(1);
    let first = start + step.saturating_mul(u32::try_from(phase).unwrap_or(0));
    let past = now.saturating_duration_since(first);
    let ticks = u32::try_from(past.as_nanos() / TICK.as_nanos()).unwrap_or(u32::MAX);
    first + TICK.saturating_mul(ticks.saturating_add(1))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_on_the_grid_and_ahead() {
        let start = Instant::now();
        for phase in 0..PHASES {
            for ms in [0_u64, 1, 19, 20, 21, 12_345] {
                let now = start + Duration::from_millis(ms);
                let moment = next_moment(start, phase, now);
                assert!(moment > now && moment <= now + TICK * 2, "phase {phase} at {ms}");
                let offset = (moment - start).as_nanos() % TICK.as_nanos();
                assert_eq!(offset, (TICK / PHASES as u32 * phase as u32).as_nanos());
            }
        }
    }
}
