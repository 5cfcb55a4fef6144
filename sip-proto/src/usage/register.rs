//! A client's registration: REGISTER, its refresh, its retries (RFC 3261 §10.2).
//!
//! | state      | event                    | next                                            |
//! |------------|--------------------------|-------------------------------------------------|
//! | Idle       | `start`                  | Trying                                          |
//! | Trying     | 2xx                      | Registered, refreshed well before it expires    |
//! | Trying     | 423                      | Trying, for as long as is asked for             |
//! | Trying     | other refusal, no answer | Waiting, 30 s doubling to 30 min, or Retry-After |
//! | Registered, Waiting | time            | Trying                                          |
//! | any        | `stop`                   | Leaving                                         |
//! | Leaving    | any answer, none         | Idle                                            |
//!
//! It stands beside the endpoint and uses it: the owner hands it the events of its transaction. Credentials are
//! the endpoint's matter. Absent: several contacts for one registration, outbound flows (RFC 5626).

use std::time::{Duration, Instant};

use crate::endpoint::{ClientTx, Endpoint, EndpointError, Flow, Outgoing};
use crate::headers::{Contacts, NameAddr};
use crate::ids::{CallId, IdSource, Tag};
use crate::message::{HeaderName, Headers, Method, Response, StatusCode};
use crate::uri::Uri;

/// The first wait after a failure.
const RETRY_BASE: Duration = Duration::from_secs(30);
/// The longest wait after failures (RFC 5626 §4.5 has the same bounds).
const RETRY_MAX: Duration = Duration::from_secs(1_800);
/// The longest registration that is asked for on a 423, seconds.
const EXPIRES_MAX: u32 = 86_400;

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationEvent {
    /// Registered for so many seconds.
    Registered {
        /// Seconds granted.
        expires: u32,
    },
    /// Refused (none: not answered); tried again by itself at `retry`.
    Failed {
        /// The final status.
        status: Option<StatusCode>,
        /// When the next attempt is made.
        retry: Instant,
    },
    /// No longer registered, after `stop`.
    Unregistered,
}

/// One address of record that one contact is registered for.
#[derive(Debug)]
pub struct Registration {
    registrar: Uri,
    aor: NameAddr,
    contact: Uri,
    flow: Flow,
    expires: u32,
    call_id: CallId,
    tag: Tag,
    cseq: u32,
    failures: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Trying { tx: ClientTx },
    Registered { refresh: Instant, until: Instant },
    Waiting { retry: Instant },
    Leaving { tx: ClientTx },
}

impl Registration {
    /// A registration of `contact` for `aor` at `registrar` (a URI without user part), reached by `flow`.
    pub fn new(
        registrar: Uri,
        aor: NameAddr,
        contact: Uri,
        flow: Flow,
        expires: u32,
        seed: [u8; 32],
    ) -> Self {
        let mut ids = IdSource::new(seed);
        Registration {
            registrar,
            aor,
            contact,
            flow,
            expires,
            call_id: ids.call_id(),
            tag: ids.tag(),
            cseq: ids.first_cseq(),
            failures: 0,
            state: State::Idle,
        }
    }

    /// Sends a REGISTER now, whatever the state.
    pub fn start(&mut self, endpoint: &mut Endpoint, now: Instant) -> Result<(), EndpointError> {
        let tx = self.send(endpoint, self.expires, now)?;
        self.state = State::Trying { tx };
        Ok(())
    }

    /// Removes the binding. Nothing is sent when there can be none.
    pub fn stop(&mut self, endpoint: &mut Endpoint, now: Instant) -> Result<(), EndpointError> {
        if matches!(self.state, State::Idle | State::Leaving { .. }) {
            return Ok(());
        }
        let tx = self.send(endpoint, 0, now)?;
        self.state = State::Leaving { tx };
        Ok(())
    }

    /// The local address or connection changed.
    pub fn set_flow(&mut self, flow: Flow, contact: Uri) {
        self.flow = flow;
        self.contact = contact;
    }

    /// Whether a binding stands at `now`.
    pub fn is_registered(&self, now: Instant) -> bool {
        matches!(self.state, State::Registered { until, .. } if now < until)
    }

    /// Whether this transaction is ours; if so hand its events to `on_response`.
    pub fn owns(&self, tx: ClientTx) -> bool {
        matches!(self.state, State::Trying { tx: own } | State::Leaving { tx: own } if own == tx)
    }

    /// A response came to our transaction, or none (time-out).
    pub fn on_response(
        &mut self,
        response: Option<&Response>,
        endpoint: &mut Endpoint,
        now: Instant,
    ) -> Option<RegistrationEvent> {
        if response.is_some_and(|response| response.status.is_provisional()) {
            return None;
        }
        if let Some(cseq) = response.and_then(|response| response.headers.cseq().ok()) {
            // The endpoint raised it to answer a challenge.
            self.cseq = self.cseq.max(cseq.seq);
        }
        match self.state {
            State::Leaving { .. } => {
                self.state = State::Idle;
                Some(RegistrationEvent::Unregistered)
            }
            State::Trying { .. } => self.tried(response, endpoint, now),
            _ => None,
        }
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Registered { refresh, .. } => Some((refresh, "refresh registration")),
            State::Waiting { retry } => Some((retry, "register again")),
            _ => None,
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, endpoint: &mut Endpoint, now: Instant) {
        if self.poll_timeout().is_some_and(|(at, _)| at <= now) && self.start(endpoint, now).is_err() {
            self.state = State::Waiting {
                retry: now + RETRY_BASE,
            };
        }
    }

    fn tried(
        &mut self,
        response: Option<&Response>,
        endpoint: &mut Endpoint,
        now: Instant,
    ) -> Option<RegistrationEvent> {
        if let Some(response) = response {
            if response.status.is_success() {
                let expires = self.granted(response);
                let margin = (expires / 10).max(32).min(expires / 2);
                let at = |seconds: u32| now + Duration::from_secs(u64::from(seconds));
                self.failures = 0;
                self.state = State::Registered {
                    refresh: at((expires - margin).max(1)),
                    until: at(expires),
                };
                return Some(RegistrationEvent::Registered { expires });
            }
            let wanted = response.headers.min_expires().ok().flatten();
            if let (StatusCode::INTERVAL_TOO_BRIEF, Some(wanted)) = (response.status, wanted)
                && wanted > self.expires
                && wanted <= EXPIRES_MAX
            {
                self.expires = wanted;
                if self.start(endpoint, now).is_ok() {
                    return None;
                }
            }
        }
        let backoff = RETRY_BASE
            .saturating_mul(1 << self.failures.min(6))
            .min(RETRY_MAX);
        self.failures += 1;
        let wait = response
            .and_then(|response| response.headers.retry_after())
            .unwrap_or(backoff);
        let retry = now + wait.min(Duration::from_secs(u64::from(EXPIRES_MAX)));
        self.state = State::Waiting { retry };
        Some(RegistrationEvent::Failed {
            status: response.map(|response| response.status),
            retry,
        })
    }

    /// What our own contact was granted: its `expires`, else the Expires header, else what we asked for.
    fn granted(&self, response: &Response) -> u32 {
        let own = match response.headers.contacts() {
            Ok(Contacts::List(list)) => list.into_iter().find(|c| c.uri.equivalent(&self.contact)),
            _ => None,
        };
        let granted = own.and_then(|contact| contact.expires());
        granted
            .or_else(|| response.headers.expires().ok().flatten())
            .unwrap_or(self.expires)
            .max(1)
    }

    fn send(
        &mut self,
        endpoint: &mut Endpoint,
        expires: u32,
        now: Instant,
    ) -> Result<ClientTx, EndpointError> {
        self.cseq += 1;
        let mut headers = Headers::new();
        headers.push(HeaderName::CallId, &self.call_id);
        headers.push(HeaderName::CSeq, format_args!("{} REGISTER", self.cseq));
        headers.push(HeaderName::Expires, expires);
        let request = Outgoing {
            target: self.registrar.clone(),
            from: self.aor.clone().with_tag(&self.tag),
            to: NameAddr::new(self.aor.uri.clone()),
            contact: Some(self.contact.clone()),
            flow: self.flow,
            route: Vec::new(),
            headers,
            body: None,
        };
        endpoint.request(Method::Register, request, now)
    }
}
