//! One registration (RFC 3261 §10.2) as a machine without clock or network.
//!
//! | state | start | answer 2xx | answer refused | no answer | refresh due | stop |
//! |---|---|---|---|---|---|---|
//! | Idle | → Asking | – | – | – | – | – |
//! | Asking | – | → Registered | → Pausing | → Pausing | – | → Withdrawing |
//! | Withdrawing | – | → Leaving | → Idle | → Leaving | – | – |
//! | Registered | – | – | – | – | → Asking | → Leaving |
//! | Pausing | – | – | – | – | → Asking | → Idle |
//! | Leaving | – | → Idle | → Idle | → Idle | – | – |
//!
//! It says when to send a REGISTER and with how many seconds; the call core builds and sends it and tells what
//! came back. 401 and 407 never come here: the endpoint answers them. Deliberately absent: several contacts.

use std::time::{Duration, Instant};

use crate::limits;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Send a REGISTER that asks for this many seconds; 0 gives the registration back.
    Send {
        /// Seconds.
        expires: u32,
    },
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationOutcome {
    /// 2xx, with the seconds that the registrar granted.
    Granted {
        /// Seconds.
        expires: u32,
    },
    /// 423: the registrar wants at least this many seconds (RFC 3261 §10.2.8).
    TooBrief {
        /// Seconds.
        least: u32,
    },
    /// A refusal that says when to come again (Retry-After, RFC 3261 §20.33).
    Later {
        /// After this time.
        after: Duration,
    },
    /// Any other final answer.
    Refused,
    /// None.
    NoAnswer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Asking,
    Withdrawing,
    Registered { since: Instant, refresh: Instant },
    Pausing { again: Instant },
    Leaving,
}

/// One registration.
#[derive(Debug)]
pub struct Registration {
    state: State,
    wanted: u32,
}

impl Registration {
    /// A registration that was not asked for yet; `wanted` is what to ask for, in seconds.
    pub fn new(wanted: u32) -> Self {
        Self {
            state: State::Idle,
            wanted: wanted.max(1),
        }
    }

    /// Begins.
    pub fn start(&mut self) -> Step {
        match self.state {
            State::Idle | State::Pausing { .. } => self.ask(),
            _ => Step::Wait,
        }
    }

    /// Gives the registration back; nothing is sent where there is none. While an answer is awaited it waits too:
    /// RFC 3261 §10.2 forbids two requests at a time, because the registrar may get them in the other order.
    pub fn stop(&mut self) -> Step {
        match self.state {
            State::Registered { .. } => self.leave(),
            State::Asking => {
                self.state = State::Withdrawing;
                Step::Wait
            }
            State::Withdrawing | State::Leaving => Step::Wait,
            State::Idle | State::Pausing { .. } => {
                self.state = State::Idle;
                Step::Wait
            }
        }
    }

    /// What the registrar said.
    pub fn answered(&mut self, outcome: RegistrationOutcome, now: Instant) -> Step {
        if self.state == State::Leaving {
            self.state = State::Idle;
            return Step::Wait;
        }
        if self.state == State::Withdrawing {
            // Without an answer nobody knows whether the registrar has it.
            return match outcome {
                RegistrationOutcome::Granted { .. } | RegistrationOutcome::NoAnswer => self.leave(),
                RegistrationOutcome::TooBrief { .. }
                | RegistrationOutcome::Later { .. }
                | RegistrationOutcome::Refused => {
                    self.state = State::Idle;
                    Step::Wait
                }
            };
        }
        match outcome {
            RegistrationOutcome::Granted { expires } => {
                self.state = State::Registered {
                    since: now,
                    refresh: now + refresh_after(expires),
                };
                Step::Wait
            }
            RegistrationOutcome::TooBrief { least } if least > self.wanted => {
                self.wanted = least;
                self.ask()
            }
            RegistrationOutcome::Later { after } => {
                let again = now + after.clamp(limits::REGISTER_RETRY_LEAST, limits::REGISTER_RETRY_MOST);
                self.state = State::Pausing { again };
                Step::Wait
            }
            RegistrationOutcome::TooBrief { .. }
            | RegistrationOutcome::Refused
            | RegistrationOutcome::NoAnswer => {
                self.state = State::Pausing {
                    again: now + limits::REGISTER_RETRY,
                };
                Step::Wait
            }
        }
    }

    /// The way to the registrar broke: the binding may lead nowhere, so it is refreshed soon (RFC 5626 §4.5). One
    /// that was made just now gets its time, so that a way that breaks each time makes no storm.
    pub fn hurry(&mut self, now: Instant) {
        if let State::Registered { since, refresh } = &mut self.state {
            *refresh = (*refresh).min(now.max(*since + limits::MIN_REGISTRATION));
        }
    }

    /// Time went by.
    pub fn tick(&mut self, now: Instant) -> Step {
        match self.poll_timeout() {
            Some(due) if due <= now => self.ask(),
            _ => Step::Wait,
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Registered { refresh, .. } => Some(refresh),
            State::Pausing { again } => Some(again),
            State::Idle | State::Asking | State::Withdrawing | State::Leaving => None,
        }
    }

    /// Whether a registration is there or is being made or given back.
    pub fn is_busy(&self) -> bool {
        self.state != State::Idle
    }

    /// Whether it is being given back.
    pub fn is_leaving(&self) -> bool {
        self.state == State::Leaving
    }

    fn leave(&mut self) -> Step {
        self.state = State::Leaving;
        Step::Send { expires: 0 }
    }

    fn ask(&mut self) -> Step {
        self.state = State::Asking;
        Step::Send { expires: self.wanted }
    }
}

/// When to refresh: well before the end, with time for one retransmitted failure.
fn refresh_after(expires: u32) -> Duration {
    let granted = Duration::from_secs(u64::from(expires));
    let early = if expires > 120 {
        granted - Duration::from_secs(60)
    } else {
        granted / 2
    };
    early.max(limits::MIN_REGISTRATION.min(granted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_refreshes_before_the_end_and_gives_itself_back() {
        let now = Instant::now();
        let mut registration = Registration::new(600);
        assert_eq!(registration.start(), Step::Send { expires: 600 });
        assert_eq!(registration.start(), Step::Wait, "one at a time");
        registration.answered(RegistrationOutcome::Granted { expires: 300 }, now);
        let due = registration.poll_timeout().unwrap();
        assert_eq!(due - now, Duration::from_secs(240));
        assert_eq!(registration.tick(now), Step::Wait);
        assert_eq!(registration.tick(due), Step::Send { expires: 600 });
        registration.answered(RegistrationOutcome::Granted { expires: 300 }, due);
        assert_eq!(registration.stop(), Step::Send { expires: 0 });
        assert!(registration.is_leaving());
        registration.answered(RegistrationOutcome::Granted { expires: 0 }, due);
        assert!(!registration.is_busy());
    }

    #[test]
    fn a_registrar_may_want_longer_and_may_fail() {
        let now = Instant::now();
        let mut registration = Registration::new(30);
        registration.start();
        let step = registration.answered(RegistrationOutcome::TooBrief { least: 60 }, now);
        assert_eq!(step, Step::Send { expires: 60 });
        // A registrar that refuses its own minimum must not be asked in a loop.
        assert_eq!(
            registration.answered(RegistrationOutcome::TooBrief { least: 60 }, now),
            Step::Wait
        );
        assert_eq!(registration.poll_timeout(), Some(now + limits::REGISTER_RETRY));
        assert_eq!(registration.stop(), Step::Wait, "there is nothing to give back");
        registration.start();
        registration.answered(RegistrationOutcome::NoAnswer, now);
        assert!(registration.is_busy());
    }

    #[test]
    fn a_lost_flow_registers_again_but_not_in_a_storm() {
        let now = Instant::now();
        let mut registration = Registration::new(600);
        registration.hurry(now);
        assert_eq!(registration.poll_timeout(), None, "nothing to refresh");
        registration.start();
        registration.answered(RegistrationOutcome::Granted { expires: 600 }, now);
        registration.hurry(now);
        assert_eq!(registration.poll_timeout(), Some(now + limits::MIN_REGISTRATION));
        let later = now + Duration::from_secs(100);
        registration.answered(RegistrationOutcome::Granted { expires: 600 }, now);
        registration.hurry(later);
        assert_eq!(registration.tick(later), Step::Send { expires: 600 });
    }

    #[test]
    fn a_busy_registrar_says_when_to_come_again() {
        let now = Instant::now();
        for (asked, waited) in [(0, 1), (5, 5), (120, 120), (1_000_000, 3_600)] {
            let mut registration = Registration::new(60);
            registration.start();
            let after = Duration::from_secs(asked);
            assert_eq!(
                registration.answered(RegistrationOutcome::Later { after }, now),
                Step::Wait
            );
            let due = now + Duration::from_secs(waited);
            assert_eq!(registration.poll_timeout(), Some(due), "Retry-After: {asked}");
            assert_eq!(registration.tick(due), Step::Send { expires: 60 });
        }
    }

    /// Found by the simulator: a REGISTER that was overtaken by its own withdrawal brought the binding back.
    #[test]
    fn a_registration_under_way_is_waited_for_before_it_is_given_back() {
        let now = Instant::now();
        for (outcome, step) in [
            (
                RegistrationOutcome::Granted { expires: 60 },
                Step::Send { expires: 0 },
            ),
            (RegistrationOutcome::NoAnswer, Step::Send { expires: 0 }),
            (RegistrationOutcome::Refused, Step::Wait),
        ] {
            let mut registration = Registration::new(60);
            registration.start();
            assert_eq!(registration.stop(), Step::Wait);
            assert_eq!(registration.stop(), Step::Wait);
            assert!(registration.is_busy() && !registration.is_leaving());
            assert_eq!(registration.poll_timeout(), None);
            assert_eq!(registration.answered(outcome, now), step);
            assert_eq!(registration.is_leaving(), step != Step::Wait);
            if registration.is_leaving() {
                registration.answered(RegistrationOutcome::Granted { expires: 0 }, now);
            }
            assert!(!registration.is_busy());
        }
    }

    #[test]
    fn short_grants_are_refreshed_in_time() {
        for expires in 1..=3_600 {
            let after = refresh_after(expires);
            assert!(after <= Duration::from_secs(u64::from(expires)), "{expires}");
            assert!(after > Duration::ZERO, "{expires}");
        }
    }
}
