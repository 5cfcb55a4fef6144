//! INVITE server transaction: RFC 3261 §17.2.1 with the Accepted state of RFC 6026 §7.1.
//!
//! | state      | event              | action             | next       |
//! |------------|--------------------|--------------------|------------|
//! | Proceeding | INVITE again       | resend last 1xx    | Proceeding |
//! | Proceeding | user: 1xx          | send               | Proceeding |
//! | Proceeding | user: 2xx          | send               | Accepted   |
//! | Proceeding | user: 3xx–6xx      | send               | Completed  |
//! | Accepted   | INVITE again       |                    | Accepted   |
//! | Accepted   | user: 2xx          | send               | Accepted   |
//! | Accepted   | ACK                | deliver            | Accepted   |
//! | Accepted   | timer L            |                    | Terminated |
//! | Completed  | INVITE again       | resend response    | Completed  |
//! | Completed  | timer G            | resend, G doubles to T2 | Completed |
//! | Completed  | ACK                |                    | Confirmed  |
//! | Completed  | timer H            | tell: no ACK       | Terminated |
//! | Confirmed  | INVITE, ACK again  |                    | Confirmed  |
//! | Confirmed  | timer I            |                    | Terminated |
//!
//! The 100 is not sent from here after 200 ms: the endpoint answers every INVITE with it at once.
//! Repeating the 2xx until the ACK is the session's work (§13.3.1.4).

use std::time::{Duration, Instant};

use super::timer::{Timer, TimerSet, TimerValues};

/// State of an INVITE server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No final response yet.
    Proceeding,
    /// A 2xx was sent.
    Accepted,
    /// A non-2xx final was sent; `interval` is what timer G was armed with.
    Completed {
        /// The present retransmission interval.
        interval: Duration,
    },
    /// The ACK to the non-2xx came.
    Confirmed,
    /// Over.
    Terminated,
}

/// What the layer has to do after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send this response, or the last one again.
    Transmit,
    /// Give the ACK to the user.
    Deliver,
    /// The peer never acknowledged the non-2xx.
    NoAck,
    /// The user may not send that now.
    Refused,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct InviteServer {
    state: State,
    reliable: bool,
    values: TimerValues,
    /// Armed timers.
    pub timers: TimerSet,
}

impl InviteServer {
    /// Starts in Proceeding.
    pub fn new(reliable: bool, values: TimerValues) -> Self {
        InviteServer {
            state: State::Proceeding,
            reliable,
            values,
            timers: TimerSet::default(),
        }
    }

    /// The present state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The INVITE came again.
    pub fn on_request(&mut self) -> Action {
        match self.state {
            State::Proceeding | State::Completed { .. } => Action::Transmit,
            // RFC 6026 §7.1: absorbed; the session repeats its 2xx by its own clock.
            State::Accepted | State::Confirmed | State::Terminated => Action::None,
        }
    }

    /// An ACK with this transaction's branch came.
    pub fn on_ack(&mut self, now: Instant) -> Action {
        match self.state {
            State::Completed { .. } => {
                self.timers.clear();
                if self.reliable {
                    self.state = State::Terminated;
                } else {
                    self.state = State::Confirmed;
                    self.timers.arm(Timer::I, now + self.values.linger(self.reliable));
                }
                Action::None
            }
            State::Accepted => Action::Deliver,
            _ => Action::None,
        }
    }

    /// The user answers with status `code`.
    pub fn on_respond(&mut self, code: u16, now: Instant) -> Action {
        match (self.state, code) {
            (State::Proceeding, 100..=199) => Action::Transmit,
            (State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                self.timers.arm(Timer::L, now + self.values.transaction());
                Action::Transmit
            }
            (State::Proceeding, 300..=699) => {
                self.state = State::Completed {
                    interval: self.values.t1,
                };
                if !self.reliable {
                    self.timers.arm(Timer::G, now + self.values.t1);
                }
                self.timers.arm(Timer::H, now + self.values.transaction());
                Action::Transmit
            }
            (State::Accepted, 200..=299) => Action::Transmit,
            _ => Action::Refused,
        }
    }

    /// Handles one due timer; call until nothing is due.
    pub fn on_timer(&mut self, timer: Timer, now: Instant) -> Action {
        match (self.state, timer) {
            (State::Completed { interval }, Timer::G) => {
                let interval = interval.saturating_mul(2).min(self.values.t2);
                self.state = State::Completed { interval };
                self.timers.arm(Timer::G, now + interval);
                Action::Transmit
            }
            (State::Completed { .. }, Timer::H) => self.end(Action::NoAck),
            (State::Accepted, Timer::L) | (State::Confirmed, Timer::I) => self.end(Action::None),
            _ => Action::None,
        }
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

    #[test]
    fn non_2xx_is_resent_up_to_t2_until_timer_h() {
        let now = test_clock();
        let mut m = InviteServer::new(false, TimerValues::default());
        assert_eq!(m.on_respond(486, now), Action::Transmit);
        let mut times = Vec::new();
        while let Some((at, _)) = m.timers.next() {
            if let Some(timer) = m.timers.take_due(at) {
                match m.on_timer(timer, at) {
                    Action::Transmit => times.push((at - now).as_millis()),
                    action => assert_eq!(action, Action::NoAck),
                }
            }
        }
        assert_eq!(
            times,
            [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]
        );
        assert_eq!(m.state(), State::Terminated);
    }

    #[test]
    fn walk_of_the_table() {
        let now = test_clock();
        let mut m = InviteServer::new(false, TimerValues::default());
        assert_eq!(m.on_request(), Action::Transmit);
        assert_eq!(m.on_respond(180, now), Action::Transmit);
        assert_eq!(m.on_ack(now), Action::None);
        assert_eq!(m.on_respond(404, now), Action::Transmit);
        assert_eq!(m.on_respond(200, now), Action::Refused);
        assert_eq!(m.on_request(), Action::Transmit);
        assert_eq!(m.on_ack(now), Action::None);
        assert_eq!(m.state(), State::Confirmed);
        assert_eq!(m.on_ack(now), Action::None);
        assert_eq!(m.on_request(), Action::None);
        assert_eq!(m.timers.next(), Some((now + Duration::from_secs(5), Timer::I)));
        assert_eq!(m.on_timer(Timer::I, now), Action::None);
        assert_eq!(m.state(), State::Terminated);

        let mut m = InviteServer::new(false, TimerValues::default());
        assert_eq!(m.on_respond(200, now), Action::Transmit);
        assert_eq!(m.state(), State::Accepted);
        assert_eq!(m.on_request(), Action::None);
        assert_eq!(m.on_respond(200, now), Action::Transmit);
        assert_eq!(m.on_respond(486, now), Action::Refused);
        assert_eq!(m.on_ack(now), Action::Deliver);
        assert_eq!(m.timers.next(), Some((now + Duration::from_secs(32), Timer::L)));
        assert_eq!(m.on_timer(Timer::L, now), Action::None);
        assert_eq!(m.state(), State::Terminated);

        let mut m = InviteServer::new(true, TimerValues::default());
        assert_eq!(m.on_respond(404, now), Action::Transmit);
        assert!(m.timers.deadline(Timer::G).is_none());
        assert_eq!(m.on_ack(now), Action::None);
        assert_eq!(m.state(), State::Terminated);
    }
}
