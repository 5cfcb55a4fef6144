//! Non-INVITE client transaction: RFC 3261 §17.1.2.
//!
//! | state               | event           | action               | next       |
//! |---------------------|-----------------|----------------------|------------|
//! | Trying              | timer E         | send, E doubles to T2 | Trying    |
//! | Proceeding          | timer E         | send, E = T2         | Proceeding |
//! | Trying, Proceeding  | timer F         | tell: timed out      | Terminated |
//! | Trying, Proceeding  | transport error | tell: unreachable    | Terminated |
//! | Trying, Proceeding  | 1xx             | deliver              | Proceeding |
//! | Trying, Proceeding  | final           | deliver              | Completed  |
//! | Completed           | any response    |                      | Completed  |
//! | Completed           | timer K         |                      | Terminated |
//!
//! Over a reliable transport E is never armed and K is zero: a final response ends the transaction.

use std::time::{Duration, Instant};

use super::timer::{Timer, TimerSet, TimerValues};

/// State of a non-INVITE client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing heard yet; `interval` is what timer E was armed with.
    Trying {
        /// The present retransmission interval.
        interval: Duration,
    },
    /// A provisional response came.
    Proceeding,
    /// A final response came.
    Completed,
    /// Over.
    Terminated,
}

/// What the layer has to do after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send the request again.
    Transmit,
    /// Give the response to the user.
    Deliver,
    /// Tell the user that nobody answered.
    TimedOut,
    /// Tell the user that the transport failed.
    Unreachable,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Client {
    state: State,
    reliable: bool,
    values: TimerValues,
    /// Armed timers.
    pub timers: TimerSet,
}

impl Client {
    /// Starts in Trying; the caller transmits the request.
    pub fn new(reliable: bool, values: TimerValues, now: Instant) -> Self {
        let mut timers = TimerSet::default();
        if !reliable {
            timers.arm(Timer::E, now + values.t1);
        }
        timers.arm(Timer::F, now + values.transaction());
        Client {
            state: State::Trying { interval: values.t1 },
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
            (State::Trying { .. } | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                if !self.reliable {
                    self.timers.arm(Timer::E, now + self.values.t2);
                }
                Action::Deliver
            }
            (State::Trying { .. } | State::Proceeding, 200..=699) => {
                self.timers.clear();
                if self.reliable {
                    self.state = State::Terminated;
                } else {
                    self.state = State::Completed;
                    self.timers.arm(Timer::K, now + self.values.linger(self.reliable));
                }
                Action::Deliver
            }
            _ => Action::None,
        }
    }

    /// Handles one due timer; call until nothing is due.
    pub fn on_timer(&mut self, timer: Timer, now: Instant) -> Action {
        match (self.state, timer) {
            (State::Trying { interval }, Timer::E) => {
                let interval = interval.saturating_mul(2).min(self.values.t2);
                self.state = State::Trying { interval };
                self.timers.arm(Timer::E, now + interval);
                Action::Transmit
            }
            (State::Proceeding, Timer::E) => {
                self.timers.arm(Timer::E, now + self.values.t2);
                Action::Transmit
            }
            (State::Trying { .. } | State::Proceeding, Timer::F) => self.end(Action::TimedOut),
            (State::Completed, Timer::K) => self.end(Action::None),
            _ => Action::None,
        }
    }

    /// The transport could not deliver the request.
    pub fn on_transport_error(&mut self) -> Action {
        match self.state {
            State::Trying { .. } | State::Proceeding => self.end(Action::Unreachable),
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
    fn resends_up_to_t2_and_times_out() {
        let now = test_clock();
        let mut m = Client::new(false, TimerValues::default(), now);
        let mut times = Vec::new();
        while let Some((at, _)) = m.timers.next() {
            if let Some(timer) = m.timers.take_due(at) {
                match m.on_timer(timer, at) {
                    Action::Transmit => times.push((at - now).as_millis()),
                    action => assert_eq!(action, Action::TimedOut),
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
        let mut m = Client::new(false, TimerValues::default(), now);
        assert_eq!(m.on_response(100, now), Action::Deliver);
        assert_eq!(m.state(), State::Proceeding);
        assert_eq!(m.timers.deadline(Timer::E), Some(now + Duration::from_secs(4)));
        assert_eq!(m.on_timer(Timer::E, now), Action::Transmit);
        assert_eq!(m.on_response(200, now), Action::Deliver);
        assert_eq!(m.state(), State::Completed);
        assert_eq!(m.on_response(200, now), Action::None);
        assert_eq!(m.on_transport_error(), Action::None);
        assert_eq!(m.timers.next(), Some((now + Duration::from_secs(5), Timer::K)));
        assert_eq!(m.on_timer(Timer::K, now), Action::None);
        assert_eq!(m.state(), State::Terminated);

        let mut m = Client::new(true, TimerValues::default(), now);
        assert!(m.timers.deadline(Timer::E).is_none());
        assert_eq!(m.on_response(100, now), Action::Deliver);
        assert!(m.timers.deadline(Timer::E).is_none());
        assert_eq!(m.on_response(404, now), Action::Deliver);
        assert_eq!(m.state(), State::Terminated);

        let mut m = Client::new(false, TimerValues::default(), now);
        assert_eq!(m.on_transport_error(), Action::Unreachable);
        assert_eq!(m.state(), State::Terminated);
    }
}
