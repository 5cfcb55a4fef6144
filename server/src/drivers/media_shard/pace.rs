//! How much of a socket is read at a tick: of a calm stream one datagram, with one system call.
//!
//! A phone sends one packet in the time of a tick, and to ask the socket whether there is another costs half as much as
//! to receive one. So when a socket has shown for a while that it brings one packet at a time, and the packet just
//! read is the next of its stream, the question is left out. What that leaves behind is there a tick later, older
//! than a tick by the kernel's arrival time, and then the socket is emptied; so it is now and then in any
//! case, whatever the clocks say. No packet is late for that: the jitter buffer gives out one frame a tick, and the
//! one read is the one that it needs. Anything else (other numbers, RTCP, two at a time) has the socket emptied.
//!
//! Deliberately absent: any trust. The number is read before authentication, and only decides how much is read.

use super::super::limits::TICK;
use rtp_media::demux::{PacketClass, classify};
use std::time::Duration;

/// Times in a row that a socket held no more than one datagram before it is believed to be calm.
const CALM_AFTER: u8 = 8;
/// A calm socket is emptied once in so many ticks.
const LOOK_EVERY: u8 = 8;

/// What is known of one socket.
#[derive(Debug, Default)]
pub struct Pace {
    calm: u8,
    turn: u8,
    /// Sequence number of the last RTP packet.
    last: Option<u16>,
}

impl Pace {
    /// Takes note of a datagram of this age; true when the socket may be left alone until the next tick, had it been
    /// the first of this one.
    pub fn seen(&mut self, datagram: &[u8], age: Duration) -> bool {
        let number = match (classify(datagram), datagram) {
            (PacketClass::Rtp, [_, _, high, low, ..]) => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        };
        let follows = number.is_some() && self.last.map(|last| last.wrapping_add(1)) == number;
        self.last = number.or(self.last);
        follows && age < TICK && self.calm >= CALM_AFTER && !self.turn.is_multiple_of(LOOK_EVERY)
    }

    /// A tick begins.
    pub const fn begin(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// The socket was emptied of so many datagrams.
    pub const fn emptied(&mut self, found: usize) {
        self.calm = match found {
            0 => self.calm,
            1 => self.calm.saturating_add(1),
            _ => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const YOUNG: Duration = Duration::from_millis(5);

    /// A socket, and how often it was asked.
    #[derive(Default)]
    struct Socket {
        pace: Pace,
        waiting: VecDeque<(Vec<u8>, Duration)>,
        asked: usize,
    }

    impl Socket {
        fn arrive(&mut self, number: u16) {
            let [high, low] = number.to_be_bytes();
            self.waiting.push_back((vec![0x80, 96, high, low], YOUNG));
        }

        /// As `Wire::read_all` does it; the numbers read.
        fn tick(&mut self) -> Vec<u16> {
            self.pace.begin();
            let mut read = Vec::new();
            loop {
                self.asked += 1;
                let Some((datagram, age)) = self.waiting.pop_front() else {
                    self.pace.emptied(read.len());
                    break;
                };
                read.push(u16::from_be_bytes([datagram[2], datagram[3]]));
                if self.pace.seen(&datagram, age) && read.len() == 1 {
                    break;
                }
            }
            for (_, age) in &mut self.waiting {
                *age += TICK;
            }
            read
        }

        fn calmed() -> (Self, u16) {
            let mut socket = Self::default();
            for number in 0..100 {
                socket.arrive(number);
                assert_eq!(socket.tick(), [number]);
            }
            (socket, 100)
        }
    }

    #[test]
    fn a_calm_stream_costs_little_more_than_one_question_a_tick() {
        let (mut socket, next) = Socket::calmed();
        socket.asked = 0;
        for number in next..next + 800 {
            socket.arrive(number);
            assert_eq!(socket.tick(), [number]);
        }
        assert_eq!(socket.asked, 900);
    }

    #[test]
    fn what_was_left_is_read_at_the_next_tick_and_nothing_stays_behind() {
        let (mut socket, next) = Socket::calmed();
        // Two at a time, at whatever turn, and one a tick from then on.
        for (round, number) in (0..200_u16).map(|round| (round, next + round * 11)) {
            socket.arrive(number);
            socket.arrive(number + 1);
            let mut read = socket.tick();
            for more in 2..11 {
                socket.arrive(number + more);
                read.extend(socket.tick());
                if more > 2 {
                    assert_eq!(read.len(), usize::from(more) + 1, "round {round}");
                }
            }
        }
    }

    #[test]
    fn other_numbers_and_reports_have_the_socket_emptied() {
        let (mut socket, next) = Socket::calmed();
        for round in 0..16 {
            let number = next + round * 2;
            socket.arrive(number + 1);
            socket.arrive(number);
            assert_eq!(socket.tick(), [number + 1, number]);
        }
        let (mut socket, next) = Socket::calmed();
        for number in next..next + 16 {
            socket.waiting.push_back((vec![0x80, 200, 0, 6], YOUNG));
            socket.arrive(number);
            assert_eq!(socket.tick().len(), 2);
        }
    }

    #[test]
    fn two_packets_a_tick_are_read_at_once() {
        let mut socket = Socket::default();
        for number in 0..400 {
            socket.arrive(number * 2);
            socket.arrive(number * 2 + 1);
            assert_eq!(socket.tick().len(), 2);
        }
    }
}
