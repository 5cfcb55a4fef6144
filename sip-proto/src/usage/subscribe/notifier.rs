//! The notifier's side (RFC 6665 §4.2).
//!
//! | state  | event                        | next                                                  |
//! |--------|------------------------------|-------------------------------------------------------|
//! | –      | SUBSCRIBE                    | Asked                                                 |
//! | Asked  | accepted                     | Active; a NOTIFY must follow, an empty one by itself  |
//! | Asked  | rejected, never answered     | Over                                                  |
//! | Active | SUBSCRIBE                    | Active, `Refreshed`, a NOTIFY must follow             |
//! | Active | SUBSCRIBE with Expires 0     | Ending, `Unsubscribed`, NOTIFY terminated             |
//! | Active | time                         | Ending, `Expired`, NOTIFY terminated                  |
//! | Active | `notify` terminated          | Ending, NOTIFY terminated                             |
//! | Active | NOTIFY refused or unanswered | Over, `NotifyFailed`                                  |
//! | Ending | answer to the last NOTIFY, or none | Over                                            |
//!
//! One NOTIFY is out at a time, so that they cannot overtake each other; of those that come meanwhile the newest
//! is kept. That suits packages whose NOTIFY carries the full state, the only kind that is offered here.

use std::time::{Duration, Instant};

use crate::dialog::Dialog;
use crate::endpoint::limits::{DEFAULT_SUBSCRIPTION, MAX_EXPIRES, NOTIFY_GRACE};
use crate::endpoint::stack::{Purpose, Stack, Usage, put_body, take_contact};
use crate::endpoint::{Body, EndpointError, Flow, NotifyState, SubscriptionEvent, SubscriptionId};
use crate::error::HeaderError;
use crate::headers::SubscriptionState;
use crate::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use crate::transaction::layer::ServerId;

/// A subscription of the peer's.
pub(crate) struct Notifier {
    pub(super) id: SubscriptionId,
    pub(crate) dialog: Dialog,
    event: String,
    state: State,
    /// The longest time that the application grants, seconds.
    granted: u32,
    /// A NOTIFY is unanswered.
    waiting: bool,
    queued: Option<(NotifyState, Option<Body>)>,
    /// The dialog is a session's, which has it in the dialog table.
    within: bool,
    /// When a NOTIFY that the application owes is sent empty.
    due: Option<Instant>,
}

enum State {
    Asked { tx: ServerId, requested: u32 },
    Active { until: Instant, pending: bool },
    Ending,
    Over,
}

impl Notifier {
    /// A new SUBSCRIBE, whose transaction `tx` is started.
    pub(crate) fn asked(
        id: SubscriptionId,
        tx: ServerId,
        request: &Request,
        flow: Flow,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<Notifier, HeaderError> {
        let tag = stack.ids.tag();
        let cseq = stack.ids.first_cseq();
        let dialog = Dialog::of_server(request, tag.as_str(), stack.contact(&flow), flow, cseq)?;
        if dialog.is_translated() {
            stack.layer.avoid_streams(flow.remote, now);
        }
        Ok(Notifier::in_dialog(id, tx, request, dialog, false))
    }

    /// A new SUBSCRIBE in the dialog of a session, whose numbers it shares (RFC 5057).
    pub(crate) fn within(id: SubscriptionId, tx: ServerId, request: &Request, dialog: Dialog) -> Notifier {
        Notifier::in_dialog(id, tx, request, dialog, true)
    }

    fn in_dialog(
        id: SubscriptionId,
        tx: ServerId,
        request: &Request,
        dialog: Dialog,
        within: bool,
    ) -> Notifier {
        Notifier {
            id,
            dialog,
            event: request.headers.get(&HeaderName::Event).unwrap_or("").to_owned(),
            state: State::Asked {
                tx,
                requested: requested(request),
            },
            granted: 0,
            waiting: false,
            queued: None,
            within,
            due: None,
        }
    }

    /// Whether the dialog is a session's.
    pub(crate) fn is_within(&self) -> bool {
        self.within
    }

    /// The Call-ID of its dialog.
    pub(crate) fn call_id(&self) -> &str {
        &self.dialog.id().call_id
    }

    /// Whether a SUBSCRIBE in the dialog means this subscription: its whole Event, id included (RFC 6665 §8.2.1).
    pub(crate) fn is_for(&self, event: &str) -> bool {
        self.event == event
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, &'static str)> {
        match (self.due, &self.state) {
            // What is owed is sent first, then comes the end.
            (Some(due), _) => Some((due, "NOTIFY is due")),
            (None, State::Active { until, .. }) => Some((*until, "subscription expires")),
            _ => None,
        }
    }

    /// Grants it: 200 with the time that it lasts.
    pub(crate) fn accept(
        &mut self,
        expires: u32,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        let wrong = EndpointError::WrongState {
            command: "accept_subscription",
        };
        let State::Asked { tx, requested } = self.state else {
            return Err(wrong);
        };
        let request = stack.layer.request(tx).ok_or(wrong)?.clone();
        self.granted = expires.max(stack.config.min_subscription);
        let lasts = requested.min(self.granted);
        let mut response = stack.response(&request, StatusCode::OK);
        response.tag_to(&crate::ids::Tag::new(self.dialog.id().local_tag.clone()));
        response
            .headers
            .copy_from(&request.headers, &HeaderName::RecordRoute);
        response.headers.push(HeaderName::Contact, self.dialog.contact());
        response.headers.push(HeaderName::Expires, lasts);
        stack.respond(tx, &response, now);
        if !self.within {
            stack
                .dialogs
                .insert(self.dialog.id().clone(), Usage::Subscription(self.id));
        }
        self.state = State::Active {
            until: now + seconds(lasts),
            pending: false,
        };
        self.due = Some(now + NOTIFY_GRACE);
        Ok(())
    }

    /// Refuses it.
    pub(crate) fn reject(
        &mut self,
        status: StatusCode,
        mut headers: Headers,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        if status.code() < 300 {
            return Err(EndpointError::WrongStatus {
                command: "reject_subscription",
                status: status.code(),
            });
        }
        let wrong = EndpointError::WrongState {
            command: "reject_subscription",
        };
        let State::Asked { tx, .. } = self.state else {
            return Err(wrong);
        };
        let request = stack.layer.request(tx).ok_or(wrong)?;
        let mut response = stack.response(request, status);
        response.tag_to(&crate::ids::Tag::new(self.dialog.id().local_tag.clone()));
        if !status.is_redirection() {
            take_contact(&mut headers);
        }
        response.headers.extend(&headers);
        if status.code() == 489 && !stack.config.allow_events.is_empty() {
            response
                .headers
                .push(HeaderName::AllowEvents, stack.config.allow_events.join(", "));
        }
        stack.respond(tx, &response, now);
        self.state = State::Over;
        Ok(())
    }

    /// The application never answered the SUBSCRIBE.
    pub(crate) fn abandoned(&mut self) {
        self.state = State::Over;
    }

    /// Sends a NOTIFY, or keeps it until the one before is answered.
    pub(crate) fn notify(
        &mut self,
        state: NotifyState,
        body: Option<Body>,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        let State::Active { until, pending } = &mut self.state else {
            return Err(EndpointError::WrongState { command: "notify" });
        };
        *pending = state == NotifyState::Pending;
        // §4.4.3: a subscription of no duration is a fetch, its first NOTIFY is its last.
        let state = if *until <= now {
            NotifyState::Terminated {
                reason: "timeout".to_owned(),
            }
        } else {
            state
        };
        self.queued = Some((state, body));
        self.due = None;
        self.flush(stack, now);
        Ok(())
    }

    /// A request of the peer in the subscription's dialog.
    pub(crate) fn on_request(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        let status = if request.method != Method::Subscribe {
            StatusCode::METHOD_NOT_ALLOWED
        } else if !matches!(self.state, State::Active { .. }) {
            StatusCode::CALL_DOES_NOT_EXIST
        } else if !self.dialog.admit(&request, flow) {
            StatusCode::SERVER_INTERNAL_ERROR
        } else if request.headers.get(&HeaderName::Event).map(package) != Some(package(&self.event)) {
            StatusCode::BAD_EVENT
        } else {
            return self.refresh(request, flow, stack, now);
        };
        let response = stack.response(&request, status);
        stack.answer_now(request, response, flow, now);
    }

    /// The answer to a NOTIFY (none: nobody answered).
    pub(crate) fn on_response(&mut self, response: Option<&Response>, stack: &mut Stack, now: Instant) {
        if response.is_some_and(|response| response.status.is_provisional()) {
            return;
        }
        self.waiting = false;
        // §4.2.2: a refusal that names a time to retry keeps the subscription, any other ends it.
        let survives = response.is_some_and(|response| {
            response.status.is_success() || response.headers.contains(&HeaderName::RetryAfter)
        });
        match (&self.state, survives) {
            (State::Ending, _) if self.queued.is_none() || !survives => self.state = State::Over,
            (_, true) => self.flush(stack, now),
            (_, false) => {
                self.state = State::Over;
                stack.emit_subscription(self.id, SubscriptionEvent::NotifyFailed);
            }
        }
    }

    pub(crate) fn on_timeout(&mut self, stack: &mut Stack, now: Instant) {
        if let State::Active { until, .. } = self.state
            && until <= now
            && self.due.is_none()
        {
            stack.emit_subscription(self.id, SubscriptionEvent::Expired);
            return self.end(stack, now);
        }
        if self.due.is_some_and(|due| due <= now) {
            let state = match self.state {
                State::Active { pending: true, .. } => NotifyState::Pending,
                _ => NotifyState::Active,
            };
            let _ = self.notify(state, None, stack, now);
        }
    }

    fn refresh(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        let requested = requested(&request);
        let minimum = stack.config.min_subscription;
        if requested > 0 && requested < minimum {
            let mut response = stack.response(&request, StatusCode::INTERVAL_TOO_BRIEF);
            response.headers.push(HeaderName::MinExpires, minimum);
            return stack.answer_now(request, response, flow, now);
        }
        self.dialog.refresh_target(&request.headers);
        let lasts = requested.min(self.granted);
        let mut response = stack.response(&request, StatusCode::OK);
        response.headers.push(HeaderName::Contact, self.dialog.contact());
        response.headers.push(HeaderName::Expires, lasts);
        stack.answer_now(request, response, flow, now);
        if lasts == 0 {
            stack.emit_subscription(self.id, SubscriptionEvent::Unsubscribed);
            return self.end(stack, now);
        }
        if let State::Active { until, .. } = &mut self.state {
            *until = now + seconds(lasts);
        }
        self.due = Some(now + NOTIFY_GRACE);
        stack.emit_subscription(self.id, SubscriptionEvent::Refreshed { expires: lasts });
    }

    /// The last NOTIFY.
    fn end(&mut self, stack: &mut Stack, now: Instant) {
        self.queued = Some((
            NotifyState::Terminated {
                reason: "timeout".to_owned(),
            },
            None,
        ));
        self.due = None;
        self.flush(stack, now);
    }

    fn flush(&mut self, stack: &mut Stack, now: Instant) {
        if let Some((NotifyState::Terminated { .. }, _)) = &self.queued {
            // Nothing may follow it; a NOTIFY that is out may still be answered.
            let State::Active { until, .. } = self.state else {
                return self.send_queued(now, stack, now);
            };
            self.state = State::Ending;
            return self.send_queued(until, stack, now);
        }
        let State::Active { until, .. } = self.state else {
            return;
        };
        self.send_queued(until, stack, now);
    }

    fn send_queued(&mut self, until: Instant, stack: &mut Stack, now: Instant) {
        if self.waiting {
            return;
        }
        let Some((state, body)) = self.queued.take() else {
            return;
        };
        let left = u32::try_from(until.saturating_duration_since(now).as_secs()).unwrap_or(u32::MAX);
        let state = match &state {
            NotifyState::Active => SubscriptionState::active(left),
            NotifyState::Pending => SubscriptionState::pending(left),
            NotifyState::Terminated { reason } => SubscriptionState::terminated(reason),
        };
        let flow = self.dialog.next_hop(stack.wire.is_open(&self.dialog.flow()));
        let mut request = self.dialog.request(Method::Notify);
        request.headers.push(HeaderName::Event, &self.event);
        request.headers.push(HeaderName::SubscriptionState, state);
        put_body(&mut request.headers, &mut request.body, body);
        stack.send(request, flow, Purpose::Notify(self.id), now);
        self.waiting = true;
    }
}

/// Seconds that a SUBSCRIBE asks for.
pub(crate) fn requested(request: &Request) -> u32 {
    let asked = request.headers.expires().ok().flatten();
    asked.unwrap_or(DEFAULT_SUBSCRIPTION).min(MAX_EXPIRES)
}

fn package(event: &str) -> &str {
    event.split(';').next().unwrap_or("").trim()
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}
