//! What of an index space was received already: the replay window of RFC 3711 §3.3.2.

use crate::limits::SRTP_REPLAY_WINDOW;

/// The highest index received, and which of those before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: the index n before the highest one.
    seen: u128,
}

impl Window {
    /// A window in which only this index was received.
    pub(super) const fn first(index: u64) -> Self {
        Self {
            highest: index,
            seen: 1,
        }
    }

    /// The highest index received.
    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether an index was received, or is too old to tell.
    pub(super) const fn refuses(&self, index: u64) -> bool {
        if index > self.highest {
            return false;
        }
        let back = self.highest - index;
        back >= SRTP_REPLAY_WINDOW || self.seen >> back & 1 == 1
    }

    /// Notes an index as received; call it only with what [`Self::refuses`] let pass and what was authentic.
    pub(super) fn note(&mut self, index: u64) {
        if index > self.highest {
            let by = index - self.highest;
            self.seen = if by < SRTP_REPLAY_WINDOW {
                self.seen << by
            } else {
                0
            };
            self.highest = index;
        }
        let back = self.highest - index;
        if back < SRTP_REPLAY_WINDOW {
            self.seen |= 1 << back;
        }
    }

    /// The 48-bit index that a sequence number stands for (RFC 3711 §3.3.1 and appendix A): the one nearest to the
    /// highest index. `None`: it would lie before the first packet.
    pub(super) const fn index_of(&self, sequence: u16) -> Option<u64> {
        nearest(self.highest, sequence)
    }
}

/// The index nearest to `known` whose low sixteen bits are `sequence`.
pub(super) const fn nearest(known: u64, sequence: u16) -> Option<u64> {
    let ahead = sequence.wrapping_sub((known & 0xffff) as u16) as i16;
    known.checked_add_signed(ahead as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_once_and_none_too_old() {
        let mut window = Window::first(1000);
        assert!(window.refuses(1000));
        for index in [1001, 999, 1127, 1000 - 1] {
            let known = index == 999 && window.highest == 1127;
            assert_eq!(window.refuses(index), known, "{index}");
            window.note(index);
            assert!(window.refuses(index), "{index}");
        }
        assert!(window.refuses(999), "128 back: too old");
        assert!(window.refuses(1000), "127 back, seen");
        assert!(!window.refuses(1002), "in the window, not seen");
        window.note(5000);
        assert!(window.refuses(1002) && window.refuses(4872) && !window.refuses(4873));
    }

    #[test]
    fn every_index_of_a_shuffled_stream_is_taken_once() {
        let mut window = Window::first(0);
        let mut taken = 0;
        for base in (0..6400_u64).step_by(64) {
            // Each block of 64 backwards, and all of it twice.
            for index in (base..base + 64).rev().chain(base..base + 64) {
                if !window.refuses(index) {
                    window.note(index);
                    taken += 1;
                }
            }
        }
        assert_eq!(taken, 6399, "all but the first, which was there");
    }

    #[test]
    fn indices_go_on_over_the_wrap_both_ways() {
        let window = Window::first(65_534);
        assert_eq!(window.index_of(3), Some(65_539));
        assert_eq!(window.index_of(65_000), Some(65_000));
        let wrapped = Window::first(0x3_0001);
        assert_eq!(wrapped.index_of(0xfffe), Some(0x2_fffe));
        assert_eq!(Window::first(5).index_of(65_530), None);
    }
}
