//! When the rooms have their turn, which live on the signalling task's thread.
//!
//! A room takes nothing out of its mailbox while the signalling task works. So it stops not only after so many turns of
//! its loop, of which each may take a whole row of messages, but before what it took in could fill a mailbox.
//! Deliberately absent: which input comes first.

use super::limits::{ROOMS_INPUTS, ROOMS_TURN};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct RoomsTurn {
    loops: usize,
    inputs: usize,
}

impl RoomsTurn {
    /// An input is worked on.
    pub(super) fn taken(&mut self) {
        self.inputs = self.inputs.saturating_add(1);
    }

    /// Whether nothing more may be taken in before the rooms have their turn.
    pub(super) const fn is_full(&self) -> bool {
        self.inputs >= ROOMS_INPUTS
    }

    /// At the end of each loop: whether it is the rooms' turn, with which the count begins anew.
    pub(super) fn is_over(&mut self) -> bool {
        self.loops = self.loops.saturating_add(1);
        let over = self.is_full() || self.loops >= ROOMS_TURN;
        if over {
            *self = Self::default();
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::{CALLS_IN_A_ROW, HOUSE_IN_A_ROW, ROOM_QUEUE};
    use super::*;

    /// What the loop takes in between two turns of the rooms, when every queue is always full.
    fn between_two_turns(rows: &[usize]) -> usize {
        let (mut turn, mut all) = (RoomsTurn::default(), 0);
        loop {
            turn.taken();
            all += 1;
            for row in rows {
                for _ in 0..*row {
                    if turn.is_full() {
                        break;
                    }
                    turn.taken();
                    all += 1;
                }
            }
            if turn.is_over() {
                return all;
            }
        }
    }

    /// Found in review: loops were counted, and more than a thousand messages came to a mailbox of 256.
    #[test]
    fn what_is_taken_in_never_fills_a_mailbox() {
        assert_eq!(between_two_turns(&[CALLS_IN_A_ROW, HOUSE_IN_A_ROW]), ROOMS_INPUTS);
        assert!(between_two_turns(&[CALLS_IN_A_ROW]) <= ROOM_QUEUE / 2);
        assert_eq!(between_two_turns(&[]), ROOMS_TURN);
    }

    #[test]
    fn the_count_begins_anew_after_a_turn() {
        let mut turn = RoomsTurn::default();
        for _ in 0..ROOMS_INPUTS {
            assert!(!turn.is_full());
            turn.taken();
        }
        assert!(turn.is_full() && turn.is_over());
        assert!(!turn.is_full() && !turn.is_over());
    }
}
