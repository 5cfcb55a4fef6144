//! Non-INVITE server transaction: RFC 3261 §17.2.2 with the corrections of RFC 4320.
//!
//! | state      | event           | action           | next       |
//! |------------|-----------------|------------------|------------|
//! | Trying     | request again   |                  | Trying     |
//! | Trying     | Trying timer    | send a 100       | Proceeding |
//! | Proceeding | request again   | resend the 100   | Proceeding |
//! | Trying, Proceeding | user: final | send         | Completed  |
//! | Trying, Proceeding | user: 1xx, 408 | refused   | unchanged  |
//! | Trying, Proceeding | Abandoned timer |          | Terminated |
//! | Completed  | request again   | resend the final | Completed  |
//! | Completed  | timer J         |                  | Terminated |
//!
//! RFC 4320 §4: no provisional but 100, and that only once a client's timer E has reached T2; never a 408,
//! which could only arrive late: a request that the application leaves unanswered ends in silence.

use std::time::Instant;

use super::timer::{Timer, TimerSet, TimerValues};

/// State of a non-INVITE server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing sent yet.
    Trying,
    /// A 100 was sent.
    Proceeding,
    /// A final response was sent.
    Completed,
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
    /// Make a 100 and send it.
    SendTrying,
    /// The application never answered; the transaction is over.
    Abandoned,
    /// The user may not send that.
    Refused,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Server {
    state: State,
    reliable: bool,
    values: TimerValues,
    /// Armed timers.
    pub timers: TimerSet,
}

impl Server {
    /// Starts in Trying.
    pub fn new(reliable: bool, values: TimerValues, now: Instant) -> Self {
        let mut timers = TimerSet::default();
        timers.arm(Timer::Trying, now + values.trying());
        timers.arm(Timer::Abandoned, now + values.transaction());
        Server {
            state: State::Trying,
            reliable,
            values,
            timers,
        }
    }

    /// The present state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The request came again.
    pub fn on_request(&mut self) -> Action {
        match self.state {
            State::Proceeding | State::Completed => Action::Transmit,
            State::Trying | State::Terminated => Action::None,
        }
    }

    /// The user answers with status `code`.
    pub fn on_respond(&mut self, code: u16, now: Instant) -> Action {
        match (self.state, code) {
            // RFC 4320 §4.2: a 408 to a non-INVITE helps nobody.
            (_, 408) => Action::Refused,
            (State::Trying | State::Proceeding, 200..=699) => {
                self.timers.clear();
                if self.reliable {
                    self.state = State::Terminated;
                } else {
                    self.state = State::Completed;
                    self.timers.arm(Timer::J, now + self.values.j(self.reliable));
                }
                Action::Transmit
            }
            _ => Action::Refused,
        }
    }

    /// Handles one due timer; call until nothing is due.
    pub fn on_timer(&mut self, timer: Timer) -> Action {
        match (self.state, timer) {
            (State::Trying, Timer::Trying) => {
                self.state = State::Proceeding;
                Action::SendTrying
            }
            (State::Trying | State::Proceeding, Timer::Abandoned) => self.end(Action::Abandoned),
            (State::Completed, Timer::J) => self.end(Action::None),
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
    use std::time::Duration;

    #[test]
    fn walk_of_the_table() {
        let now = test_clock();
        let mut m = Server::new(false, TimerValues::default(), now);
        assert_eq!(m.on_request(), Action::None);
        assert_eq!(m.on_respond(180, now), Action::Refused);
        assert_eq!(m.on_respond(408, now), Action::Refused);
        assert_eq!(
            m.timers.next(),
            Some((now + Duration::from_millis(3500), Timer::Trying))
        );
        assert_eq!(m.on_timer(Timer::Trying), Action::SendTrying);
        assert_eq!(m.on_request(), Action::Transmit);
        assert_eq!(m.on_respond(200, now), Action::Transmit);
        assert_eq!(m.state(), State::Completed);
        assert_eq!(m.on_request(), Action::Transmit);
        assert_eq!(m.on_respond(200, now), Action::Refused);
        assert_eq!(m.timers.next(), Some((now + Duration::from_secs(32), Timer::J)));
        assert_eq!(m.on_timer(Timer::J), Action::None);
        assert_eq!(m.state(), State::Terminated);

        let mut m = Server::new(true, TimerValues::default(), now);
        assert_eq!(m.on_respond(404, now), Action::Transmit);
        assert_eq!(m.state(), State::Terminated);
    }

    #[test]
    fn an_unanswered_request_ends_in_silence() {
        let now = test_clock();
        let mut m = Server::new(false, TimerValues::default(), now);
        let mut seen = Vec::new();
        while let Some((at, _)) = m.timers.next() {
            if let Some(timer) = m.timers.take_due(at) {
                seen.push(((at - now).as_millis(), m.on_timer(timer)));
            }
        }
        assert_eq!(seen, [(3500, Action::SendTrying), (32000, Action::Abandoned)]);
    }
}
