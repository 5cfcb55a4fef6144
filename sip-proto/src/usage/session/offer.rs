//! Offers of ours within a session: re-INVITE and UPDATE, glare and its retry (RFC 3261 §14.1, RFC 3311 §5.1).
//!
//! | exchange | event                              | next                                          |
//! |----------|------------------------------------|-----------------------------------------------|
//! | Idle     | `reoffer`, `update`                | Sent; queued while a 2xx or its ACK is open   |
//! | Idle     | re-INVITE, UPDATE, PRACK with offer | Received, `ReOffer`                          |
//! | Sent     | 2xx                                | Idle, ACK to a re-INVITE, `ReAnswered`        |
//! | Sent     | 491                                | Waiting, 2.1–4 s if the Call-ID is ours, else 0–2 s |
//! | Sent     | 500 with Retry-After of 10 s at most | Waiting for as long                         |
//! | Sent     | 422                                | Sent again with the longer session interval   |
//! | Sent     | 481, 408, no answer                | the session ends; before it is confirmed: Idle, `ReRejected` or `ReUnanswered` |
//! | Sent     | other 300–699                      | Idle, `ReRejected`                            |
//! | Sent     | re-INVITE, UPDATE with offer       | Sent; the peer gets 491                       |
//! | Waiting  | time                               | Sent                                          |
//! | Waiting  | re-INVITE, UPDATE with offer       | Received; `ReRejected` (491), then `ReOffer`  |
//! | Received | `answer`, `refuse`                 | Idle                                          |
//! | Received | CANCEL of a re-INVITE              | Idle, 487, `ReOfferCancelled`                 |
//! | Received | re-INVITE, UPDATE with offer       | Received; the peer gets 500 with Retry-After  |
//!
//! Before the 2xx only UPDATE and PRACK carry offers, and only once the first exchange is done by a reliable
//! provisional response; an offer of ours waits for that, or for the 2xx. The peer's side is in `offered.rs`.

use std::time::{Duration, Instant};

use super::{Phase, Session};
use crate::dialog::{Dialog, DialogId};
use crate::endpoint::limits::{MAX_GLARE_RETRIES, MAX_OFFER_DELAY};
use crate::endpoint::stack::{Purpose, Stack, put_body};
use crate::endpoint::{Body, EndpointError, SessionEvent, TerminatedBy};
use crate::message::{Method, Response};
use crate::transaction::layer::{ClientId, ServerId};

/// An offer of the application, or a repetition of the last description to refresh the session.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) method: Method,
    pub(super) body: Body,
    pub(super) refresh: bool,
}

/// Who has an offer open.
pub(super) enum Exchange {
    /// Nobody.
    Idle,
    /// We have.
    Sent { tx: ClientId, offer: Offer, tries: u8 },
    /// We had one, it came at a bad time (491, 500), and we try again.
    Waiting {
        offer: Offer,
        at: Instant,
        tries: u8,
        response: Response,
    },
    /// The peer has, and the application is asked.
    Received { tx: ServerId, offerless: bool },
}

impl Exchange {
    /// Whether the application may hand in an offer: nothing is open but perhaps a refresh.
    fn takes_offer(&self) -> bool {
        match self {
            Exchange::Idle => true,
            Exchange::Sent { offer, .. } | Exchange::Waiting { offer, .. } => offer.refresh,
            Exchange::Received { .. } => false,
        }
    }

    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        match self {
            Exchange::Waiting { at, .. } => Some((*at, "offer again after 491")),
            _ => None,
        }
    }
}

impl Session {
    /// Makes an offer by re-INVITE or UPDATE.
    pub(crate) fn reoffer(
        &mut self,
        command: &'static str,
        method: Method,
        body: Body,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        let lives = matches!(
            self.phase,
            Phase::Established(_) | Phase::Incoming(_) | Phase::Calling(_)
        );
        if !lives || !self.exchange.takes_offer() {
            return Err(EndpointError::WrongState { command });
        }
        self.queued = Some(Offer {
            method,
            body,
            refresh: false,
        });
        self.flush_queue(stack, now);
        Ok(())
    }

    /// The request with our offer went out again with credentials.
    pub(crate) fn offer_resent(&mut self, old: ClientId, new: ClientId) {
        if let Exchange::Sent { tx, .. } = &mut self.exchange
            && *tx == old
        {
            *tx = new;
        }
    }

    /// Whether this transaction carries the offer that is under way.
    pub(crate) fn offer_is(&self, id: ClientId) -> bool {
        matches!(&self.exchange, Exchange::Sent { tx, .. } if *tx == id)
    }

    /// A response to our re-INVITE or UPDATE.
    pub(crate) fn on_offer_response(
        &mut self,
        id: ClientId,
        response: Response,
        stack: &mut Stack,
        now: Instant,
    ) {
        if response.status.is_provisional() {
            return;
        }
        if !self.offer_is(id) {
            return self.late_offer_success(&response, stack);
        }
        match (response.status.code(), self.is_established()) {
            (200..=299, _) => self.offer_answered(response, stack, now),
            (422, true) if self.lengthen(&response) => self.offer_again(stack, now),
            (491 | 500, _) => self.offer_met(response, stack, now),
            (481, true) => self.on_dialog_failed(TerminatedBy::Timeout, true, stack, now),
            (408, true) => self.on_dialog_failed(TerminatedBy::Timeout, false, stack, now),
            _ => self.offer_rejected(response, stack, now),
        }
    }

    /// Our offer before the 2xx got no answer: the session goes on without it.
    pub(crate) fn offer_lost(&mut self, stack: &mut Stack, now: Instant) {
        if let Exchange::Sent { .. } = self.exchange {
            self.exchange = Exchange::Idle;
            stack.emit_session(self.id, SessionEvent::ReUnanswered);
            self.proceed(stack, now);
        }
    }

    /// Sends a queued offer when nothing stands in its way (§14.1: no INVITE of either side in progress).
    pub(super) fn flush_queue(&mut self, stack: &mut Stack, now: Instant) {
        if !matches!(self.exchange, Exchange::Idle) || self.free_dialog().is_none() {
            return;
        }
        if let Some(offer) = self.queued.take() {
            self.send_offer(offer, 0, stack, now);
        }
    }

    pub(super) fn offer_timeout(&mut self, stack: &mut Stack, now: Instant) {
        let Exchange::Waiting { at, offer, tries, .. } = &self.exchange else {
            return;
        };
        if *at > now {
            return;
        }
        let (offer, tries) = (offer.clone(), *tries);
        self.exchange = Exchange::Idle;
        if self.free_dialog().is_some() {
            self.send_offer(offer, tries, stack, now);
        } else {
            self.queued.get_or_insert(offer);
        }
    }

    /// The dialog in which an offer of ours may be sent now.
    fn free_dialog(&mut self) -> Option<&mut Dialog> {
        match &mut self.phase {
            Phase::Established(established) => {
                let free = established.unacked.is_empty() && established.ack_due.is_none();
                free.then_some(&mut established.dialog)
            }
            Phase::Calling(calling) => calling.free_dialog(),
            Phase::Incoming(incoming) => {
                let agreed = incoming.reliable.is_agreed() && !incoming.reliable.is_accepted();
                let dialog = &mut incoming.dialog;
                (agreed && dialog.peer_takes_update()).then_some(dialog)
            }
            Phase::Ending(..) | Phase::Over => None,
        }
    }

    fn send_offer(&mut self, offer: Offer, tries: u8, stack: &mut Stack, now: Instant) {
        let early = !self.is_established();
        let Some(dialog) = self.free_dialog() else {
            self.queued = Some(offer);
            return;
        };
        let by_update = early || (offer.method == Method::Update && dialog.peer_takes_update());
        let method = if by_update { Method::Update } else { Method::Invite };
        let flow = dialog.next_hop(stack.wire.is_open(&dialog.flow()));
        let mut request = dialog.request(method);
        let tag = dialog.id().remote_tag.clone();
        stack.put_abilities(&mut request.headers);
        self.ask_interval(&mut request.headers, stack);
        put_body(&mut request.headers, &mut request.body, Some(offer.body.clone()));
        let tx = stack.send(request, flow, Purpose::Offer(self.id), now);
        self.exchange = Exchange::Sent { tx, offer, tries };
        if let Phase::Calling(calling) = &mut self.phase {
            calling.offering = Some(tag);
        }
    }

    fn offer_answered(&mut self, response: Response, stack: &mut Stack, now: Instant) {
        if let Some(dialog) = self.dialog_mut(DialogId::of_response(&response).as_ref()) {
            dialog.refresh_target(&response.headers);
        }
        let Exchange::Sent { offer, .. } = std::mem::replace(&mut self.exchange, Exchange::Idle) else {
            return;
        };
        if !response.body.is_empty() {
            self.described = Some(offer.body);
        }
        let method = response.headers.cseq_method().ok();
        if let Phase::Established(established) = &mut self.phase
            && method == Some(Method::Invite)
        {
            let cseq = response.headers.cseq().map_or(1, |cseq| cseq.seq);
            established.acknowledge(cseq, None, stack);
        }
        if method != Some(Method::Prack) {
            self.take_interval(&response, stack, now);
        }
        let event = if offer.refresh {
            SessionEvent::Refreshed { response }
        } else {
            SessionEvent::ReAnswered { response }
        };
        stack.emit_session(self.id, event);
        self.proceed(stack, now);
    }

    /// The same offer once more, at once.
    fn offer_again(&mut self, stack: &mut Stack, now: Instant) {
        if let Exchange::Sent { offer, tries, .. } = std::mem::replace(&mut self.exchange, Exchange::Idle) {
            self.send_offer(offer, tries, stack, now);
        }
    }

    /// §14.1: both offered at once; the owner of the Call-ID waits longer, so that the next attempts do not meet.
    /// §14.2: the peer was busy with an earlier request and said for how long.
    fn offer_met(&mut self, response: Response, stack: &mut Stack, now: Instant) {
        let delay = if response.status.code() == 491 {
            let units = if self.caller {
                210 + stack.ids.below(191)
            } else {
                stack.ids.below(201)
            };
            Some(Duration::from_millis(10 * units))
        } else {
            response
                .headers
                .retry_after()
                .filter(|wait| *wait <= MAX_OFFER_DELAY)
        };
        match (std::mem::replace(&mut self.exchange, Exchange::Idle), delay) {
            (Exchange::Sent { offer, tries, .. }, Some(delay)) if tries < MAX_GLARE_RETRIES => {
                self.exchange = Exchange::Waiting {
                    offer,
                    at: now + delay,
                    tries: tries + 1,
                    response,
                };
                self.proceed(stack, now);
            }
            (other, _) => {
                self.exchange = other;
                self.offer_rejected(response, stack, now);
            }
        }
    }

    fn offer_rejected(&mut self, response: Response, stack: &mut Stack, now: Instant) {
        let refused = std::mem::replace(&mut self.exchange, Exchange::Idle);
        if matches!(&refused, Exchange::Sent { offer, .. } if offer.refresh) {
            self.refresh_later(response.headers.retry_after(), now);
        } else {
            stack.emit_session(self.id, SessionEvent::ReRejected { response });
        }
        self.proceed(stack, now);
    }

    /// A 2xx to a re-INVITE came again, or after we hung up: it needs its ACK either way.
    fn late_offer_success(&mut self, response: &Response, stack: &mut Stack) {
        let Ok(cseq) = response.headers.cseq() else { return };
        if !response.status.is_success() || cseq.method != Method::Invite {
            return;
        }
        match &mut self.phase {
            Phase::Ending(established, _) => established.acknowledge(cseq.seq, None, stack),
            _ => {
                self.repeat_ack(response, stack);
            }
        }
    }
}
