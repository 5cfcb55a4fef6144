//! Session timers (RFC 4028): a session that nobody refreshes ends by itself, and a refresh keeps proxies' state.
//!
//! | role       | event                                  | what happens                                      |
//! |------------|----------------------------------------|---------------------------------------------------|
//! | refresher  | half the interval is over              | UPDATE without a body; to a peer that does not take it a re-INVITE with the description that holds |
//! | refresher  | 2xx                                    | the interval begins anew, in the roles that the 2xx names |
//! | refresher  | 422                                    | again, with the peer's Min-SE                     |
//! | refresher  | 481, 408, no answer                    | the session ends                                  |
//! | refresher  | another failure                        | again in a few seconds, until the interval is over |
//! | the other  | interval − min(32 s, a third) is over  | BYE, `Terminated` by `Timeout`                    |
//!
//! Every re-INVITE and UPDATE is a refresh, whoever sends it, and settles interval and roles anew (§7.4, §9).

use std::time::{Duration, Instant};

use super::offer::{Exchange, Offer};
use super::{Phase, Session};
use crate::endpoint::limits::{MAX_INTERVAL_RETRIES, MIN_SESSION_EXPIRES, REFRESH_RETRY};
use crate::endpoint::stack::{Purpose, Stack};
use crate::endpoint::{EndpointConfig, SessionEvent, TerminatedBy};
use crate::headers::{Reason, Refresher, SessionExpires};
use crate::message::{HeaderName, Headers, Method, Request, Response};

/// The option tag of RFC 4028.
const TIMER: &str = "timer";

/// The interval that runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionTimer {
    seconds: u32,
    /// We refresh.
    ours: bool,
    refresh_at: Option<Instant>,
    expire_at: Instant,
    retries: u8,
}

impl SessionTimer {
    fn new(seconds: u32, ours: bool, now: Instant) -> Self {
        let interval = Duration::from_secs(u64::from(seconds));
        // §10: the one that waits gives up a little earlier, so that its BYE still finds the dialog.
        let margin = if ours {
            Duration::ZERO
        } else {
            (interval / 3).min(Duration::from_secs(32))
        };
        SessionTimer {
            seconds,
            ours,
            refresh_at: ours.then(|| now + interval / 2),
            expire_at: now + interval - margin,
            retries: 0,
        }
    }

    pub(super) fn deadline(&self) -> (Instant, &'static str) {
        match self.refresh_at {
            Some(at) if at < self.expire_at => (at, "refresh the session"),
            _ => (self.expire_at, "session not refreshed"),
        }
    }
}

/// The shortest interval that we grant.
pub(crate) fn shortest(config: &EndpointConfig) -> u32 {
    config.min_session_expires.max(MIN_SESSION_EXPIRES)
}

/// Whether a request asks for a shorter session than we grant and its sender can understand a 422 (§9).
pub(crate) fn is_too_short(stack: &Stack, request: &Request) -> bool {
    matches!(request.method, Method::Invite | Method::Update)
        && stack.supports(TIMER)
        && request.headers.has_token(&HeaderName::Supported, TIMER)
        && matches!(request.headers.session_expires(), Ok(Some(asked)) if asked.seconds < shortest(&stack.config))
}

/// What a first INVITE of ours asks for (§7.1).
pub(super) fn ask_first(headers: &mut Headers, stack: &Stack) {
    if let (Some(seconds), true) = (stack.config.session_expires, stack.supports(TIMER)) {
        let floor = shortest(&stack.config);
        headers.set(
            HeaderName::SessionExpires,
            SessionExpires::new(seconds.max(floor), None),
        );
        if floor > MIN_SESSION_EXPIRES {
            headers.set(HeaderName::MinSe, floor);
        }
    }
}

/// After a 422 to our INVITE: the same with the interval that is wanted (§7.3). `None`: nothing to be gained.
pub(super) fn longer(request: &Request, response: &Response) -> Option<Request> {
    let wanted = response.headers.min_se().ok().flatten()?;
    let asked = request.headers.session_expires().ok().flatten()?;
    let known = request.headers.min_se().ok().flatten().unwrap_or(0);
    if wanted <= asked.seconds && wanted <= known {
        return None;
    }
    let cseq = request.headers.cseq().ok()?.seq.saturating_add(1);
    let mut request = request.clone();
    let interval = SessionExpires::new(asked.seconds.max(wanted), asked.refresher);
    request.headers.set(HeaderName::SessionExpires, interval);
    request.headers.set(HeaderName::MinSe, wanted.max(known));
    request
        .headers
        .set(HeaderName::CSeq, format_args!("{cseq} {}", request.method));
    Some(request)
}

/// Settles the interval for a request of the peer and writes it into our 2xx (§9).
pub(super) fn grant(
    request: &Request,
    response: &mut Response,
    stack: &Stack,
    now: Instant,
) -> Option<SessionTimer> {
    if !stack.supports(TIMER) {
        return None;
    }
    let headers = &request.headers;
    let knows =
        headers.has_token(&HeaderName::Supported, TIMER) || headers.has_token(&HeaderName::Require, TIMER);
    let asked = headers.session_expires().ok().flatten();
    let lowest = headers.min_se().ok().flatten().unwrap_or(0);
    let floor = lowest.max(shortest(&stack.config));
    let own = stack.config.session_expires;
    let (seconds, refresher) = match (asked, own) {
        // A proxy may ask for a caller that knows nothing of it: then only we can refresh.
        (Some(asked), own) => {
            let seconds = own.map_or(asked.seconds, |own| own.min(asked.seconds)).max(floor);
            let default = if knows { Refresher::Uac } else { Refresher::Uas };
            (
                seconds,
                if knows {
                    asked.refresher.unwrap_or(default)
                } else {
                    default
                },
            )
        }
        (None, Some(own)) if knows => (own.max(floor), Refresher::Uac),
        // Its peer is asked by other means whether it lives.
        (None, _) => return None,
    };
    let interval = SessionExpires::new(seconds, Some(refresher));
    response.headers.set(HeaderName::SessionExpires, interval);
    if refresher == Refresher::Uac {
        response.headers.push(HeaderName::Require, TIMER);
    }
    Some(SessionTimer::new(seconds, refresher == Refresher::Uas, now))
}

/// What the 2xx to a request of ours settles (§7.2).
pub(super) fn settled(response: &Response, stack: &Stack, now: Instant) -> Option<SessionTimer> {
    if !stack.supports(TIMER) {
        return None;
    }
    match response.headers.session_expires() {
        Ok(Some(interval)) => {
            let ours = interval.refresher != Some(Refresher::Uas);
            // A peer that breaks the lower bound of §5 does not make us send a storm of refreshes.
            Some(SessionTimer::new(
                interval.seconds.max(MIN_SESSION_EXPIRES),
                ours,
                now,
            ))
        }
        // The peer knows nothing of timers; ours to refresh, if we care.
        _ => stack
            .config
            .session_expires
            .map(|seconds| SessionTimer::new(seconds.max(shortest(&stack.config)), true, now)),
    }
}

impl Session {
    /// Our re-INVITE or UPDATE goes on with the present interval and roles (§7.4).
    pub(super) fn ask_interval(&self, headers: &mut Headers, stack: &Stack) {
        let Phase::Established(established) = &self.phase else {
            return;
        };
        match &established.timer {
            Some(timer) => {
                let refresher = if timer.ours {
                    Refresher::Uac
                } else {
                    Refresher::Uas
                };
                let interval = SessionExpires::new(timer.seconds, Some(refresher));
                headers.set(HeaderName::SessionExpires, interval);
                if established.min_se > MIN_SESSION_EXPIRES {
                    headers.set(HeaderName::MinSe, established.min_se);
                }
            }
            None => ask_first(headers, stack),
        }
    }

    /// A 2xx to a re-INVITE or UPDATE of ours came.
    pub(super) fn take_interval(&mut self, response: &Response, stack: &Stack, now: Instant) {
        if let Phase::Established(established) = &mut self.phase {
            established.timer = settled(response, stack, now);
        }
    }

    /// A re-INVITE or UPDATE of the peer is accepted.
    pub(super) fn grant_interval(
        &mut self,
        request: &Request,
        response: &mut Response,
        stack: &Stack,
        now: Instant,
    ) {
        if let Phase::Established(established) = &mut self.phase {
            established.timer = grant(request, response, stack, now);
        }
    }

    /// A 422 to a refresh: the interval becomes what the peer wants. False: that is no reason to try again.
    pub(super) fn lengthen(&mut self, response: &Response) -> bool {
        let wanted = response.headers.min_se().ok().flatten();
        let (Phase::Established(established), Some(wanted)) = (&mut self.phase, wanted) else {
            return false;
        };
        established.min_se = established.min_se.max(wanted);
        match &mut established.timer {
            Some(timer) if timer.retries < MAX_INTERVAL_RETRIES => {
                timer.retries += 1;
                timer.seconds = timer.seconds.max(wanted);
                true
            }
            _ => false,
        }
    }

    /// A refresh came to nothing this time.
    pub(super) fn refresh_later(&mut self, wait: Option<Duration>, now: Instant) {
        if let Phase::Established(established) = &mut self.phase
            && let Some(timer) = &mut established.timer
            && timer.ours
        {
            timer.refresh_at = Some(now + wait.unwrap_or_default().max(REFRESH_RETRY));
        }
    }

    /// A final response to our UPDATE that only refreshes.
    pub(crate) fn on_refresh_response(&mut self, response: &Response, stack: &mut Stack, now: Instant) {
        match response.status.code() {
            200..=299 => {
                if let Some(dialog) = self.dialog_mut(None) {
                    dialog.refresh_target(&response.headers);
                }
                self.take_interval(response, stack, now);
            }
            422 if self.lengthen(response) => self.refresh(stack, now),
            481 => self.on_dialog_failed(TerminatedBy::Timeout, true, stack, now),
            408 => self.on_dialog_failed(TerminatedBy::Timeout, false, stack, now),
            _ => self.refresh_later(response.headers.retry_after(), now),
        }
    }

    pub(super) fn interval_timeout(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Established(established) = &self.phase else {
            return;
        };
        let Some(timer) = established.timer else { return };
        if timer.expire_at <= now {
            tracing::debug!(session = self.id.0, "session not refreshed");
            let event = SessionEvent::Terminated {
                by: TerminatedBy::Timeout,
                reason: None,
            };
            stack.emit_session(self.id, event);
            return self.hang_up(Some(Reason::sip(408, "Session expired")), true, stack, now);
        }
        if timer.refresh_at.is_some_and(|at| at <= now) {
            self.refresh(stack, now);
        }
    }

    /// §7.4: by UPDATE where the peer takes it, which touches nobody's media.
    fn refresh(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Established(established) = &mut self.phase else {
            return;
        };
        if let Some(timer) = &mut established.timer {
            timer.refresh_at = None;
        }
        if established.dialog.peer_takes_update() {
            let flow = established.next_hop(stack);
            let mut request = established.dialog.request(Method::Update);
            stack.put_abilities(&mut request.headers);
            self.ask_interval(&mut request.headers, stack);
            stack.send(request, flow, Purpose::Refresh(self.id), now);
            return;
        }
        match (&self.exchange, &self.queued, &self.described) {
            (Exchange::Idle, None, Some(body)) => {
                self.queued = Some(Offer {
                    method: Method::Invite,
                    body: body.clone(),
                    refresh: true,
                });
                self.flush_queue(stack, now);
            }
            // An offer under way is a refresh itself.
            _ => self.refresh_later(None, now),
        }
    }
}
