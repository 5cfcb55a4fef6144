//! INVITE client transaction: RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2.
//!
//! | state      | event                | action            | next       |
//! |------------|----------------------|-------------------|------------|
//! | Calling    | timer A              | send INVITE, A×2  | Calling    |
//! | Calling    | timer B              | tell: timed out   | Terminated |
//! | Calling    | transport error      | tell: unreachable | Terminated |
//! | Calling, Proceeding | 1xx         | deliver           | Proceeding |
//! | Proceeding | timer C              | tell: overdue     | Proceeding |
//! | Calling, Proceeding | 2xx         | deliver           | Accepted   |
//! | Calling, Proceeding | 3xx–6xx     | ACK, deliver      | Completed  |
//! | Accepted   | 2xx                  | deliver           | Accepted   |
//! | Accepted   | timer M              |                   | Terminated |
//! | Completed  | 3xx–6xx              | ACK               | Completed  |
//! | Completed  | transport error      | tell: unreachable | Terminated |
//! | Completed  | timer D              |                   | Terminated |
//!
//! Anything else changes nothing. The ACK to a 2xx is not this machine's: it belongs to the session.

use std::time::{Duration, Instant};

use super::timer::{Timer, TimerSet, TimerValues};

/// State of an INVITE client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing heard yet; `interval` is what timer A was armed with.
    Calling {
        /// The present retransmission interval.
        interval: Duration,
    },
    /// A provisional response came.
    Proceeding,
    /// A 2xx came; more may come from other branches of a fork (RFC 6026).
    Accepted,
    /// A non-2xx final response came and was acknowledged.
    Completed,
    /// Over.
    Terminated,
}

/// What the layer has to do after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send the INVITE (again).
    Transmit,
    /// Give the response to the user.
    Deliver,
    /// Send an ACK for this response, and give it to the user.
    AckAndDeliver,
    /// Send the ACK again.
    Ack,
    /// Tell the user that nobody answered.
    TimedOut,
    /// Tell the user that the INVITE has been provisional for too long.
    Overdue,
    /// Tell the user that the transport failed.
    Unreachable,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct InviteClient {
    state: State,
    reliable: bool,
    values: TimerValues,
    /// Armed timers.
    pub timers: TimerSet,
}

impl InviteClient {
    /// Starts in Calling; the caller transmits the INVITE.
    pub fn new(reliable: bool, values: TimerValues, now: Instant) -> Self {
        let mut timers = TimerSet::default();
        if !reliable {
            timers.arm(Timer::A, now + values.t1);
        }
        timers.arm(Timer::B, now + values.transaction());
        InviteClient {
            state: State::Calling { interval: values.t1 },
            reliable,
            values,
            timers,
        }
    }

    /// The present state.
    pub fn state(&self) -> State {
        self.state
    }

    /// A response with status `code` arrived.
    pub fn on_response(&mut self, code: u16, now: Instant) -> Action {
        match (self.state, code) {
            (State::Calling { .. } | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                self.timers.disarm(Timer::A);
                self.timers.disarm(Timer::B);
                // §16.7 step 2: a 100 arms timer C, only later provisionals put it off.
                if code > 100 || self.timers.deadline(Timer::C).is_none() {
                    self.timers.arm(Timer::C, now + self.values.c);
                }
                Action::Deliver
            }
            (State::Calling { .. } | State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                self.timers.clear();
                self.timers.arm(Timer::M, now + self.values.transaction());
                Action::Deliver
            }
            (State::Calling { .. } | State::Proceeding, 300..=699) => {
                self.timers.clear();
                if self.reliable {
                    self.state = State::Terminated;
                } else {
                    self.state = State::Completed;
                    self.timers.arm(Timer::D, now + self.values.d(self.reliable));
                }
                Action::AckAndDeliver
            }
            // RFC 6026 §7.2: a later 2xx still reaches the user, who acknowledges it.
            (State::Accepted, 200..=299) => Action::Deliver,
            (State::Completed, 300..=699) => Action::Ack,
            _ => Action::None,
        }
    }

    /// Handles one due timer; call until nothing is due.
    pub fn on_timer(&mut self, timer: Timer, now: Instant) -> Action {
        match (self.state, timer) {
            (State::Calling { interval }, Timer::A) => {
                let interval = interval.saturating_mul(2);
                self.state = State::Calling { interval };
                self.timers.arm(Timer::A, now + interval);
                Action::Transmit
            }
            (State::Calling { .. }, Timer::B) => self.end(Action::TimedOut),
            (State::Proceeding, Timer::C) => Action::Overdue,
            (State::Accepted, Timer::M) | (State::Completed, Timer::D) => self.end(Action::None),
            _ => Action::None,
        }
    }

    /// The transport could not deliver the INVITE or the ACK, or the connection that brought a provisional response
    /// is gone: its final one may come by a new connection (§18.2.2), but is not waited for as long as timer C.
    pub fn on_transport_error(&mut self, now: Instant) -> Action {
        match self.state {
            State::Proceeding if self.reliable => {
                let soon = now + self.values.transaction();
                let until = self.timers.deadline(Timer::C).map_or(soon, |at| at.min(soon));
                self.timers.arm(Timer::C, until);
                Action::None
            }
            State::Calling { .. } | State::Completed => self.end(Action::Unreachable),
            _ => Action::None,
        }
    }

    /// Gives up: nothing more is delivered (RFC 3261 §9.1, a cancelled INVITE that stays unanswered).
    pub fn abandon(&mut self) {
        self.end(Action::None);
    }

    fn end(&mut self, action: Action) -> Action {
        self.state = State::Terminated;
        self.timers.clear();
        action
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock;

    fn machine(reliable: bool) -> (InviteClient, Instant) {
        let now = test_clock();
        (InviteClient::new(reliable, TimerValues::default(), now), now)
    }

    /// Runs the machine to `end` and lists what it did and when (ms after the start).
    fn run(machine: &mut InviteClient, start: Instant, end: Duration) -> Vec<(u128, Action)> {
        let mut seen = Vec::new();
        while let Some((at, _)) = machine.timers.next() {
            if at > start + end {
                break;
            }
            if let Some(timer) = machine.timers.take_due(at) {
                seen.push(((at - start).as_millis(), machine.on_timer(timer, at)));
            }
        }
        seen
    }

    #[test]
    fn calling_resends_with_doubling_interval_and_times_out() {
        let (mut m, now) = machine(false);
        let seen = run(&mut m, now, Duration::from_secs(60));
        let times: Vec<u128> = seen
            .iter()
            .filter(|s| s.1 == Action::Transmit)
            .map(|s| s.0)
            .collect();
        assert_eq!(times, [500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!(seen.last(), Some(&(32000, Action::TimedOut)));
        assert_eq!(m.state(), State::Terminated);
        assert!(m.timers.next().is_none());
    }

    #[test]
    fn reliable_transport_never_resends() {
        let (mut m, now) = machine(true);
        assert_eq!(
            run(&mut m, now, Duration::from_secs(60)),
            [(32000, Action::TimedOut)]
        );
    }

    #[test]
    fn walk_of_the_table() {
        let (mut m, now) = machine(false);
        assert_eq!(m.on_response(100, now), Action::Deliver);
        assert_eq!(m.state(), State::Proceeding);
        assert_eq!(m.on_response(180, now), Action::Deliver);
        assert!(m.timers.deadline(Timer::B).is_none());
        assert_eq!(m.on_timer(Timer::C, now), Action::Overdue);
        assert_eq!(m.on_response(486, now), Action::AckAndDeliver);
        assert_eq!(m.state(), State::Completed);
        assert_eq!(m.on_response(486, now), Action::Ack);
        assert_eq!(m.on_response(180, now), Action::None);
        assert_eq!(m.on_response(200, now), Action::None);
        assert_eq!(run(&mut m, now, Duration::from_secs(60)), [(32000, Action::None)]);
        assert_eq!(m.state(), State::Terminated);

        let (mut m, now) = machine(false);
        assert_eq!(m.on_response(200, now), Action::Deliver);
        assert_eq!(m.state(), State::Accepted);
        assert_eq!(m.on_response(200, now), Action::Deliver);
        assert_eq!(m.on_response(486, now), Action::None);
        assert_eq!(m.on_transport_error(now), Action::None);
        assert_eq!(run(&mut m, now, Duration::from_secs(60)), [(32000, Action::None)]);
        assert_eq!(m.state(), State::Terminated);
        assert_eq!(m.on_response(200, now), Action::None);

        let (mut m, now) = machine(true);
        assert_eq!(m.on_response(404, now), Action::AckAndDeliver);
        assert_eq!(m.state(), State::Terminated);

        let (mut m, _) = machine(false);
        assert_eq!(m.on_transport_error(now), Action::Unreachable);
        assert_eq!(m.state(), State::Terminated);
    }
}
