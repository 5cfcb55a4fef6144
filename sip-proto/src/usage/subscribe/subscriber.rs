//! The subscriber's side (RFC 6665 §4.1).
//!
//! | state    | event                         | next                                              |
//! |----------|-------------------------------|---------------------------------------------------|
//! | Starting | 2xx                           | Active, `Accepted`                                |
//! | Starting | NOTIFY (it may come first)    | Starting, with a dialog                           |
//! | Starting | 423                           | Starting, once more for as long as is asked for   |
//! | Starting | other refusal, no answer      | Over, `Rejected`                                  |
//! | Active   | time                          | Active, SUBSCRIBE again                           |
//! | Active   | NOTIFY terminated             | Over, `Terminated`                                |
//! | Active   | refresh refused for good, expiry, no NOTIFY in timer N | Over, `Terminated`       |
//! | any      | `unsubscribe`                 | Ending, SUBSCRIBE with Expires 0                  |
//! | Ending   | NOTIFY terminated, refusal, timer N | Over, `Terminated`                          |
//!
//! A forked SUBSCRIBE makes one subscription: the first dialog is kept, NOTIFYs of others get 481.

use std::time::{Duration, Instant};

use crate::dialog::Dialog;
use crate::endpoint::limits::MAX_EXPIRES;
use crate::endpoint::stack::{Purpose, Stack, Usage};
use crate::endpoint::{Flow, PeerState, SubscriptionEvent, SubscriptionId};
use crate::headers::SubscriptionStatus;
use crate::message::{HeaderName, Method, Request, Response, StatusCode};

/// A subscription of ours.
pub(crate) struct Subscriber {
    id: SubscriptionId,
    /// The first SUBSCRIBE, to build others from while there is no dialog.
    first: Request,
    flow: Flow,
    pub(crate) dialog: Option<Dialog>,
    expires: u32,
    state: State,
    /// Timer N: a NOTIFY must have come until then (§4.1.2.4).
    silence: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Starting {
        leaving: bool,
    },
    Active {
        refresh: Option<Instant>,
        until: Instant,
    },
    Ending,
    Over,
}

impl Subscriber {
    /// Sends the first SUBSCRIBE.
    pub(crate) fn start(
        id: SubscriptionId,
        request: Request,
        flow: Flow,
        expires: u32,
        stack: &mut Stack,
        now: Instant,
    ) -> Subscriber {
        let mut subscriber = Subscriber {
            id,
            first: request,
            flow,
            dialog: None,
            expires: expires.min(MAX_EXPIRES),
            state: State::Starting { leaving: false },
            silence: None,
        };
        stack.half_dialogs.insert(subscriber.half(), id);
        subscriber.send_first(stack, now);
        subscriber
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Call-ID and own tag: by these a NOTIFY that comes before the 2xx is found.
    pub(crate) fn half(&self) -> (String, String) {
        let call_id = self
            .first
            .headers
            .get(&HeaderName::CallId)
            .unwrap_or("")
            .to_owned();
        (
            call_id,
            self.first
                .headers
                .from_tag()
                .map(|tag| tag.to_string())
                .unwrap_or_default(),
        )
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let refresh = match self.state {
            State::Active {
                refresh: Some(at), ..
            } => Some((at, "refresh subscription")),
            State::Active { refresh: None, until } => Some((until, "subscription expires")),
            _ => None,
        };
        let silence = self.silence.map(|at| (at, "timer N: no NOTIFY"));
        refresh.into_iter().chain(silence).min_by_key(|(at, _)| *at)
    }

    /// Ends it.
    pub(crate) fn leave(&mut self, stack: &mut Stack, now: Instant) {
        match &mut self.state {
            State::Starting { leaving } => *leaving = true,
            State::Active { .. } => {
                self.expires = 0;
                self.state = State::Ending;
                self.send_again(stack, now);
            }
            State::Ending | State::Over => {}
        }
    }

    /// The first SUBSCRIBE went out again with credentials and this number.
    pub(crate) fn resent(&mut self, cseq: u32) {
        if self.dialog.is_none() {
            self.first
                .headers
                .set(HeaderName::CSeq, format_args!("{cseq} SUBSCRIBE"));
        }
    }

    /// Nobody answered a SUBSCRIBE.
    pub(crate) fn on_no_response(&mut self, stack: &mut Stack) {
        match self.state {
            State::Starting { .. } => self.rejected(None, stack),
            State::Ending => self.terminated(None, None, stack),
            // §4.1.2.2: it stands until it expires, or timer N ends it.
            State::Active { .. } | State::Over => {}
        }
    }

    /// The answer to a SUBSCRIBE.
    pub(crate) fn on_response(
        &mut self,
        sent: &Request,
        response: Response,
        flow: Flow,
        stack: &mut Stack,
        now: Instant,
    ) {
        match response.status.code() {
            100..=199 => {}
            200..=299 => self.on_success(sent, &response, flow, stack, now),
            423 => self.too_brief(response, stack, now),
            _ => self.on_refusal(response, stack),
        }
    }

    /// A NOTIFY that belongs here.
    pub(crate) fn on_request(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        let told = request.headers.subscription_state().ok().flatten();
        let known = self.learn_dialog(&request, flow, stack);
        let admitted = self
            .dialog
            .as_mut()
            .is_some_and(|dialog| dialog.admit(&request, flow));
        let status = match (&request.method, &told) {
            (_, _) if self.state == State::Over || !known => StatusCode::CALL_DOES_NOT_EXIST,
            (Method::Notify, Some(_)) if !admitted => StatusCode::SERVER_INTERNAL_ERROR,
            (Method::Notify, None) => StatusCode::BAD_REQUEST,
            (Method::Notify, Some(_)) if !self.same_event(&request) => StatusCode::BAD_EVENT,
            (Method::Notify, Some(_)) => StatusCode::OK,
            _ => StatusCode::METHOD_NOT_ALLOWED,
        };
        let response = stack.response(&request, status);
        stack.answer_now(request.clone(), response, flow, now);
        let (StatusCode::OK, Some(told)) = (status, told) else {
            return;
        };
        if let Some(dialog) = &mut self.dialog {
            dialog.refresh_target(&request.headers);
        }
        if self.state != State::Ending || told.status == SubscriptionStatus::Terminated {
            self.silence = None;
        }
        let state = match told.status {
            SubscriptionStatus::Terminated => PeerState::Terminated,
            SubscriptionStatus::Pending => PeerState::Pending,
            SubscriptionStatus::Active | SubscriptionStatus::Other(_) => PeerState::Active,
        };
        stack.emit_subscription(self.id, SubscriptionEvent::Notify { request, state });
        if state == PeerState::Terminated {
            self.terminated(told.reason().map(str::to_owned), told.retry_after(), stack);
        } else if let (State::Active { .. }, Some(left)) = (self.state, told.expires()) {
            self.lasts(left, now);
        }
    }

    pub(crate) fn on_timeout(&mut self, stack: &mut Stack, now: Instant) {
        if self.silence.is_some_and(|at| at <= now) {
            self.silence = None;
            return match self.state {
                State::Starting { .. } => self.rejected(None, stack),
                _ => self.terminated(None, None, stack),
            };
        }
        match self.state {
            State::Active {
                refresh: Some(at),
                until,
            } if at <= now => {
                self.state = State::Active { refresh: None, until };
                self.send_again(stack, now);
            }
            State::Active { until, .. } if until <= now => {
                self.terminated(Some("timeout".to_owned()), None, stack);
            }
            _ => {}
        }
    }

    fn on_success(
        &mut self,
        sent: &Request,
        response: &Response,
        flow: Flow,
        stack: &mut Stack,
        now: Instant,
    ) {
        match &mut self.dialog {
            Some(dialog) => dialog.refresh_target(&response.headers),
            None => {
                let contact = sent.headers.get(&HeaderName::Contact).unwrap_or("").to_owned();
                let Ok(dialog) = Dialog::of_client(sent, response, contact, flow) else {
                    return self.rejected(Some(response.clone()), stack);
                };
                self.keep(dialog, stack);
            }
        }
        let expires = response
            .headers
            .expires()
            .ok()
            .flatten()
            .unwrap_or(self.expires)
            .min(self.expires);
        match self.state {
            State::Starting { leaving } => {
                stack.emit_subscription(self.id, SubscriptionEvent::Accepted { expires });
                self.state = State::Active {
                    refresh: None,
                    until: now,
                };
                self.lasts(expires, now);
                if leaving {
                    self.leave(stack, now);
                }
            }
            State::Active { .. } => self.lasts(expires, now),
            State::Ending | State::Over => {}
        }
    }

    fn on_refusal(&mut self, response: Response, stack: &mut Stack) {
        let passing = response.status.code() >= 500 && response.status.code() < 600
            || response.status.code() == 408
            || response.headers.contains(&HeaderName::RetryAfter);
        match self.state {
            State::Starting { .. } => self.rejected(Some(response), stack),
            State::Active { .. } if passing => self.silence = None,
            State::Active { .. } | State::Ending => self.terminated(None, None, stack),
            State::Over => {}
        }
    }

    /// 423: once more with what the notifier wants at least.
    fn too_brief(&mut self, response: Response, stack: &mut Stack, now: Instant) {
        let wanted = response
            .headers
            .min_expires()
            .ok()
            .flatten()
            .filter(|wanted| *wanted <= MAX_EXPIRES);
        match (self.state, wanted) {
            (State::Starting { leaving: false }, Some(wanted)) if wanted > self.expires => {
                self.expires = wanted;
                let next = self.first.headers.cseq().map_or(1, |cseq| cseq.seq) + 1;
                self.first
                    .headers
                    .set(HeaderName::CSeq, format_args!("{next} SUBSCRIBE"));
                self.send_first(stack, now);
            }
            (State::Active { .. }, Some(wanted)) if wanted > self.expires => {
                self.expires = wanted;
                self.send_again(stack, now);
            }
            _ => self.on_refusal(response, stack),
        }
    }

    fn send_first(&mut self, stack: &mut Stack, now: Instant) {
        let mut request = self.first.clone();
        request.headers.set(HeaderName::Expires, self.expires);
        stack.send(request, self.flow, Purpose::Subscribe(self.id), now);
        self.silence = Some(now + stack.config.timers.transaction());
    }

    fn send_again(&mut self, stack: &mut Stack, now: Instant) {
        let Some(dialog) = &mut self.dialog else { return };
        let flow = dialog.next_hop(stack.wire.is_open(&dialog.flow()));
        let mut request = dialog.request(Method::Subscribe);
        for name in [HeaderName::Event, HeaderName::Accept] {
            request.headers.copy_from(&self.first.headers, &name);
        }
        request.headers.set(HeaderName::Expires, self.expires);
        stack.send(request, flow, Purpose::Subscribe(self.id), now);
        self.silence = Some(now + stack.config.timers.transaction());
    }

    /// The NOTIFY's dialog is ours, or becomes ours.
    fn learn_dialog(&mut self, notify: &Request, flow: Flow, stack: &mut Stack) -> bool {
        let Some(id) = crate::dialog::DialogId::of_request(notify) else {
            return false;
        };
        if let Some(dialog) = &self.dialog {
            return *dialog.id() == id;
        }
        let contact = self
            .first
            .headers
            .get(&HeaderName::Contact)
            .unwrap_or("")
            .to_owned();
        let Ok(dialog) = Dialog::of_notify(&self.first, notify, contact, flow) else {
            return false;
        };
        self.keep(dialog, stack);
        true
    }

    fn keep(&mut self, dialog: Dialog, stack: &mut Stack) {
        stack.half_dialogs.remove(&self.half());
        stack
            .dialogs
            .insert(dialog.id().clone(), Usage::Subscription(self.id));
        self.dialog = Some(dialog);
    }

    /// The event package and id must be those that we asked for (§4.1.3).
    fn same_event(&self, notify: &Request) -> bool {
        let (Ok(Some(ours)), Ok(Some(told))) = (self.first.headers.event(), notify.headers.event()) else {
            return false;
        };
        ours.package == told.package && ours.id() == told.id()
    }

    /// It lasts so many seconds from now; the refresh goes out early enough to be repeated.
    fn lasts(&mut self, expires: u32, now: Instant) {
        let margin = (expires / 10).max(32).min(expires / 2);
        let at = |seconds: u32| now + Duration::from_secs(u64::from(seconds));
        let refresh = (expires > 0).then(|| at(expires - margin));
        self.state = State::Active {
            refresh,
            until: at(expires.max(32)),
        };
    }

    fn rejected(&mut self, response: Option<Response>, stack: &mut Stack) {
        self.state = State::Over;
        stack.emit_subscription(self.id, SubscriptionEvent::Rejected { response });
    }

    fn terminated(&mut self, reason: Option<String>, retry_after: Option<u32>, stack: &mut Stack) {
        self.state = State::Over;
        stack.emit_subscription(self.id, SubscriptionEvent::Terminated { reason, retry_after });
    }
}
