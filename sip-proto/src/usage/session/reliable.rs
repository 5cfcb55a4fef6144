//! Reliable provisional responses of the called side (RFC 3262 §3, §5).
//!
//! | event                      | what happens                                                             |
//! |----------------------------|--------------------------------------------------------------------------|
//! | `ring`, reliably           | sent with RSeq, repeated from T1 doubling until its PRACK; a further one waits |
//! | PRACK that fits            | 200, `ProvisionalAcked`; with an offer `ReOffer`, and the 200 is the answer |
//! | PRACK that does not        | 481                                                                      |
//! | no PRACK for 64·T1         | 504 to the INVITE, `Terminated` by `Timeout`                             |
//! | `accept`                   | waits while a response with a description has no PRACK or an offer is open |
//! | `accept`, nothing to wait for | 200; a PRACK that is late is answered all the same, an offer in it too   |
//!
//! A provisional response is reliable when the caller requires it, or when it supports it and the application puts
//! `Require: 100rel` among the headers of `ring`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::incoming::Incoming;
use super::offer::Exchange;
use super::offered::Turn;
use super::{Phase, Session, busy, refuse_with};
use crate::endpoint::limits::{MAX_WAITING_PROVISIONALS, RING_INTERVAL};
use crate::endpoint::stack::Stack;
use crate::endpoint::{Body, EndpointError, Flow, SessionEvent, TerminatedBy};
use crate::headers::RAck;
use crate::message::{HeaderName, Headers, Method, Request, StatusCode};

/// The option tag of RFC 3262.
pub(super) const RELIABLE: &str = "100rel";

/// What the caller said about reliability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Nothing: it must not be used.
    No,
    /// Supported.
    Possible,
    /// Required.
    Required,
}

/// How far the first description of ours got by provisional responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Description {
    /// None was sent reliably.
    None,
    /// Sent; its PRACK is missing.
    Sent,
    /// The first exchange of offer and answer is done.
    Agreed,
}

/// A reliable response without its PRACK.
struct SentProvisional {
    rseq: u32,
    bytes: Vec<u8>,
    interval: Duration,
    next: Instant,
    until: Instant,
}

struct Waiting {
    status: StatusCode,
    body: Option<Body>,
    headers: Headers,
}

/// The reliable side of an unanswered incoming call.
pub(super) struct Provisionals {
    demand: Demand,
    cseq: u32,
    /// The last RSeq used; 0 before the first.
    rseq: u32,
    sent: Option<SentProvisional>,
    waiting: VecDeque<Waiting>,
    accept: Option<(Option<Body>, Headers)>,
    description: Description,
}

impl Provisionals {
    pub(super) fn new(invite: &Request, stack: &Stack) -> Self {
        let says = |name| stack.supports(RELIABLE) && invite.headers.has_token(&name, RELIABLE);
        let demand = if says(HeaderName::Require) {
            Demand::Required
        } else if says(HeaderName::Supported) {
            Demand::Possible
        } else {
            Demand::No
        };
        Provisionals {
            demand,
            cseq: invite.headers.cseq().map_or(0, |cseq| cseq.seq),
            rseq: 0,
            sent: None,
            waiting: VecDeque::new(),
            accept: None,
            description: Description::None,
        }
    }

    /// Whether offer and answer were exchanged before the 2xx.
    pub(super) fn is_agreed(&self) -> bool {
        self.description == Description::Agreed
    }

    /// Whether the application has accepted and the 2xx only waits.
    pub(super) fn is_accepted(&self) -> bool {
        self.accept.is_some()
    }

    /// The RSeq and CSeq that a late PRACK will name.
    pub(super) fn unacknowledged(&self) -> Option<(u32, u32)> {
        self.sent.as_ref().map(|sent| (sent.rseq, self.cseq))
    }

    /// Whether the last provisional response went out reliably.
    pub(super) fn in_use(&self) -> bool {
        self.rseq > 0
    }

    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let sent = self.sent.as_ref()?;
        Some((sent.next.min(sent.until), "provisional response without PRACK"))
    }

    /// Takes `Require: 100rel` out of the application's headers: whether the response is to be reliable.
    pub(super) fn wanted(&self, headers: &mut Headers) -> bool {
        let mut required = headers.tokens(&HeaderName::Require);
        let asked = required.iter().any(|tag| tag.eq_ignore_ascii_case(RELIABLE));
        if asked {
            required.retain(|tag| !tag.eq_ignore_ascii_case(RELIABLE));
            headers.remove(&HeaderName::Require);
            if !required.is_empty() {
                headers.push(HeaderName::Require, required.join(", "));
            }
        }
        match self.demand {
            Demand::No => false,
            Demand::Possible => asked,
            Demand::Required => true,
        }
    }
}

impl Incoming {
    /// Whether the peer may send an offer before the 2xx.
    pub(super) fn turn(&self) -> Turn {
        match (self.reliable.description, self.offered) {
            (Description::None, _) => Turn::Theirs,
            // Our answer has arrived, or there would be no further offer; only its PRACK is late.
            (Description::Sent, true) | (Description::Agreed, _) => Turn::Free,
            (Description::Sent, false) => Turn::Ours,
        }
    }

    fn fits(&self, rack: &RAck) -> bool {
        let reliable = &self.reliable;
        rack.cseq.method == Method::Invite && reliable.unacknowledged() == Some((rack.rseq, rack.cseq.seq))
    }
}

impl Session {
    /// Sends a provisional response reliably, or keeps it until the one before has its PRACK.
    pub(super) fn ring_reliably(
        &mut self,
        status: StatusCode,
        body: Option<Body>,
        headers: Headers,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        let Phase::Incoming(incoming) = &mut self.phase else {
            return Err(EndpointError::WrongState { command: "ring" });
        };
        let reliable = &mut incoming.reliable;
        if reliable.sent.is_some() {
            if reliable.waiting.len() >= MAX_WAITING_PROVISIONALS {
                reliable.waiting.pop_back();
            }
            reliable.waiting.push_back(Waiting {
                status,
                body,
                headers,
            });
            return Ok(());
        }
        self.send_reliably(status, body, headers, stack, now)
    }

    fn send_reliably(
        &mut self,
        status: StatusCode,
        body: Option<Body>,
        headers: Headers,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        let mut response = self.first_response("ring", status, body.clone(), headers, stack)?;
        let Phase::Incoming(incoming) = &mut self.phase else {
            return Err(EndpointError::WrongState { command: "ring" });
        };
        let reliable = &mut incoming.reliable;
        // §3: the first number is chosen below 2^31, each next one is greater by one.
        reliable.rseq = match reliable.rseq {
            0 => stack.ids.first_cseq(),
            last => last.saturating_add(1),
        };
        response.headers.push(HeaderName::Require, RELIABLE);
        response.headers.push(HeaderName::RSeq, reliable.rseq);
        stack.put_allow(&mut response.headers);
        let timers = &stack.config.timers;
        reliable.sent = Some(SentProvisional {
            rseq: reliable.rseq,
            bytes: response.to_bytes(),
            interval: timers.t1,
            next: now + timers.t1,
            until: now + timers.transaction(),
        });
        if body.is_some() && reliable.description == Description::None {
            reliable.description = Description::Sent;
        }
        stack.respond(incoming.tx, &response, now);
        incoming.ringing = Some((response, now + RING_INTERVAL));
        let dialog = incoming.dialog.clone();
        self.register(&dialog, stack);
        if body.is_some() {
            self.described = body;
        }
        Ok(())
    }

    /// The minute is over: proxies want a sign. A reliable response needs a number of its own.
    pub(super) fn ring_again(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Incoming(incoming) = &mut self.phase else {
            return;
        };
        let Some((response, again)) = &mut incoming.ringing else {
            return;
        };
        if *again > now {
            return;
        }
        *again = now + RING_INTERVAL.max(Duration::from_secs(1));
        if !incoming.reliable.in_use() {
            stack.respond(incoming.tx, response, now);
        } else if incoming.reliable.sent.is_none() {
            let status = response.status;
            let _ = self.send_reliably(status, None, Headers::new(), stack, now);
        }
    }

    /// A PRACK of the caller.
    pub(super) fn on_prack(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        let Ok(rack) = request.headers.rack() else {
            return refuse_with(stack, request, StatusCode::BAD_REQUEST, flow, now);
        };
        match &mut self.phase {
            Phase::Incoming(incoming) if incoming.fits(&rack) => {
                self.take_prack(request, flow, stack, now);
            }
            // §3: the final response did not wait for it.
            Phase::Established(established)
                if rack.cseq.method == Method::Invite
                    && established.late_prack == Some((rack.rseq, rack.cseq.seq)) =>
            {
                established.late_prack = None;
                if request.body.is_empty() {
                    refuse_with(stack, request, StatusCode::OK, flow, now);
                } else {
                    self.offer_in_prack(request, flow, stack, now);
                }
            }
            _ => refuse_with(stack, request, StatusCode::CALL_DOES_NOT_EXIST, flow, now),
        }
    }

    fn take_prack(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        let Phase::Incoming(incoming) = &mut self.phase else {
            return;
        };
        let reliable = &mut incoming.reliable;
        reliable.sent = None;
        let brings_answer = reliable.description == Description::Sent && !incoming.offered;
        if reliable.description == Description::Sent {
            reliable.description = Description::Agreed;
        }
        let has_offer = !request.body.is_empty() && !brings_answer;
        if has_offer {
            return self.offer_in_prack(request, flow, stack, now);
        }
        let event = SessionEvent::ProvisionalAcked {
            content_type: request.headers.get(&HeaderName::ContentType).map(str::to_owned),
            body: request.body.clone(),
        };
        refuse_with(stack, request, StatusCode::OK, flow, now);
        stack.emit_session(self.id, event);
        self.proceed(stack, now);
    }

    /// §5: an offer, legal once the first exchange is done; the 2xx to the PRACK brings the answer.
    fn offer_in_prack(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        match self.turn(&request) {
            Turn::Free => return self.ask_application(request, flow, stack, now),
            Turn::Ours => refuse_with(stack, request, StatusCode::REQUEST_PENDING, flow, now),
            Turn::Theirs => busy(stack, request, flow, now),
        }
        self.proceed(stack, now);
    }

    /// Whether the 2xx has to wait (§3, §5); then it is kept.
    pub(super) fn keep_acceptance(&mut self, body: &Option<Body>, headers: &Headers) -> bool {
        let offer_is_open = matches!(self.exchange, Exchange::Received { .. } | Exchange::Sent { .. });
        let Phase::Incoming(incoming) = &mut self.phase else {
            return false;
        };
        let reliable = &mut incoming.reliable;
        reliable.waiting.clear();
        let waits = reliable.description == Description::Sent || offer_is_open;
        if waits {
            reliable.accept = Some((body.clone(), headers.clone()));
        }
        waits
    }

    /// Something was settled: what waited for it goes on.
    pub(super) fn proceed(&mut self, stack: &mut Stack, now: Instant) {
        if let Phase::Incoming(incoming) = &mut self.phase {
            let reliable = &mut incoming.reliable;
            if let Some((body, headers)) = reliable.accept.take() {
                let _ = self.accept(body, headers, stack, now);
                return;
            }
            if reliable.sent.is_none()
                && let Some(Waiting {
                    status,
                    body,
                    headers,
                }) = reliable.waiting.pop_front()
            {
                let _ = self.send_reliably(status, body, headers, stack, now);
            }
        }
        self.flush_queue(stack, now);
    }

    /// Repeats the reliable response that has no PRACK, or gives the call up. True: it is given up.
    pub(super) fn provisional_timeout(&mut self, stack: &mut Stack, now: Instant) -> bool {
        let Phase::Incoming(incoming) = &mut self.phase else {
            return false;
        };
        let Some(sent) = &mut incoming.reliable.sent else {
            return false;
        };
        if sent.until <= now {
            let _ = self.reject(StatusCode::SERVER_TIMEOUT, Headers::new(), stack, now);
            let event = SessionEvent::Terminated {
                by: TerminatedBy::Timeout,
                reason: None,
            };
            stack.emit_session(self.id, event);
            return true;
        }
        if sent.next <= now {
            sent.interval = sent.interval.saturating_mul(2);
            sent.next = now + sent.interval;
            if let Some(flow) = stack.layer.reply_flow(incoming.tx, &stack.wire) {
                stack.wire.transmit(flow, sent.bytes.clone());
            }
        }
        false
    }
}
