//! Offers within an established session: re-INVITE and UPDATE both ways, glare (RFC 3261 §14, RFC 3311 §5).
//!
//! | exchange | event                              | next                                          |
//! |----------|------------------------------------|-----------------------------------------------|
//! | Idle     | `reoffer`, `update`                | Sent; queued while a 2xx or its ACK is open   |
//! | Idle     | re-INVITE, UPDATE with offer       | Received, `ReOffer`                           |
//! | Sent     | 2xx                                | Idle, ACK to a re-INVITE, `ReAnswered`        |
//! | Sent     | 491                                | Waiting, 2.1–4 s if the Call-ID is ours, else 0–2 s |
//! | Sent     | 481, 408, no answer                | the session ends                              |
//! | Sent     | other 300–699                      | Idle, `ReRejected`                            |
//! | Sent     | re-INVITE, UPDATE with offer       | Sent; the peer gets 491                       |
//! | Waiting  | time                               | Sent                                          |
//! | Waiting  | re-INVITE, UPDATE with offer       | Received; `ReRejected` (491), then `ReOffer`  |
//! | Received | `answer`, `refuse`                 | Idle                                          |
//! | Received | CANCEL of a re-INVITE              | Idle, 487, `ReOfferCancelled`                 |
//! | Received | re-INVITE, UPDATE with offer       | Received; the peer gets 500 with Retry-After  |
//!
//! An UPDATE without a body only refreshes the target and is answered here.

use std::time::{Duration, Instant};

use super::established::{Established, Unacked};
use super::{Phase, Session, busy, refuse_with};
use crate::endpoint::limits::{MAX_GLARE_RETRIES, MAX_UNACKED};
use crate::endpoint::stack::{Purpose, ServerUse, Stack, put_body};
use crate::endpoint::{Body, EndpointError, Flow, SessionEvent, TerminatedBy};
use crate::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use crate::transaction::layer::{ClientId, ServerId, reply_flow};

/// An offer of the application.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    method: Method,
    body: Body,
}

/// Who has an offer open.
pub(super) enum Exchange {
    /// Nobody.
    Idle,
    /// We have.
    Sent { tx: ClientId, offer: Offer, tries: u8 },
    /// We had one, it met the peer's (491), and we try again.
    Waiting {
        offer: Offer,
        at: Instant,
        tries: u8,
        response: Response,
    },
    /// The peer has, and the application is asked.
    Received { tx: ServerId, offerless: bool },
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
        let wrong = EndpointError::WrongState { command };
        let Phase::Established(established) = &mut self.phase else {
            return Err(wrong);
        };
        if !matches!(established.exchange, Exchange::Idle) {
            return Err(wrong);
        }
        let takes_update = established.dialog.peer_takes_update();
        let method = if takes_update { method } else { Method::Invite };
        established.queued = Some(Offer { method, body });
        self.flush_queue(stack, now);
        Ok(())
    }

    /// The re-INVITE or UPDATE went out again with credentials.
    pub(crate) fn offer_resent(&mut self, new: ClientId) {
        if let Phase::Established(established) = &mut self.phase
            && let Exchange::Sent { tx, .. } = &mut established.exchange
        {
            *tx = new;
        }
    }

    /// Accepts the peer's offer.
    pub(crate) fn answer(
        &mut self,
        body: Body,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        let wrong = EndpointError::WrongState { command: "answer" };
        let Phase::Established(established) = &mut self.phase else {
            return Err(wrong);
        };
        let Exchange::Received { tx, offerless } = established.exchange else {
            return Err(wrong);
        };
        let request = stack.layer.request(tx).ok_or(wrong)?;
        established.dialog.refresh_target(&request.headers);
        let is_invite = request.method == Method::Invite;
        let mut response = stack.response(request, StatusCode::OK);
        response
            .headers
            .push(HeaderName::Contact, established.dialog.contact());
        stack.put_abilities(&mut response.headers);
        put_body(&mut response.headers, &mut response.body, Some(body));
        stack.respond(tx, &response, now);
        established.exchange = Exchange::Idle;
        if is_invite {
            let mut unacked = Unacked::new(tx, &response, stack, now);
            unacked.offer_is_ours = offerless;
            established.unacked.push(unacked);
        }
        self.flush_queue(stack, now);
        Ok(())
    }

    /// Refuses the peer's offer: the session stays as it was (§14.2).
    pub(crate) fn refuse(
        &mut self,
        status: StatusCode,
        headers: &Headers,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        if status.code() < 300 {
            return Err(EndpointError::WrongStatus {
                command: "refuse",
                status: status.code(),
            });
        }
        let wrong = EndpointError::WrongState { command: "refuse" };
        let Phase::Established(established) = &mut self.phase else {
            return Err(wrong);
        };
        let Exchange::Received { tx, .. } = established.exchange else {
            return Err(wrong);
        };
        let request = stack.layer.request(tx).ok_or(wrong)?;
        let mut response = stack.response(request, status);
        response.headers.extend(headers);
        stack.respond(tx, &response, now);
        established.exchange = Exchange::Idle;
        self.flush_queue(stack, now);
        Ok(())
    }

    /// The peer cancelled its re-INVITE.
    pub(crate) fn on_offer_cancel(&mut self, stack: &mut Stack, now: Instant) {
        if self
            .refuse(StatusCode::REQUEST_TERMINATED, &Headers::new(), stack, now)
            .is_ok()
        {
            stack.emit_session(self.id, SessionEvent::ReOfferCancelled);
        }
    }

    /// The application never answered the peer's UPDATE; its transaction is gone.
    pub(crate) fn offer_abandoned(&mut self, stack: &mut Stack, now: Instant) {
        if let Phase::Established(established) = &mut self.phase
            && let Exchange::Received { .. } = established.exchange
        {
            established.exchange = Exchange::Idle;
            self.flush_queue(stack, now);
        }
    }

    /// A response to our re-INVITE or UPDATE.
    pub(crate) fn on_offer_response(
        &mut self,
        id: ClientId,
        response: Response,
        stack: &mut Stack,
        now: Instant,
    ) {
        let ours = match &self.phase {
            Phase::Established(established) => {
                matches!(&established.exchange, Exchange::Sent { tx, .. } if *tx == id)
            }
            _ => false,
        };
        if response.status.is_provisional() {
            return;
        }
        if !ours {
            self.late_offer_success(&response, stack);
            return;
        }
        match response.status.code() {
            200..=299 => self.offer_answered(response, stack, now),
            491 => self.offer_met(response, stack, now),
            481 => self.on_dialog_failed(TerminatedBy::Timeout, true, stack, now),
            408 => self.on_dialog_failed(TerminatedBy::Timeout, false, stack, now),
            _ => self.offer_rejected(response, stack, now),
        }
    }

    /// A re-INVITE or UPDATE of the peer.
    pub(super) fn on_offer_request(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        let has_offer = !request.body.is_empty();
        if request.method == Method::Update && !has_offer {
            return self.target_update(request, flow, stack, now);
        }
        let Phase::Established(established) = &mut self.phase else {
            return match &self.phase {
                // RFC 3311 §5.2: our own offer is open, respectively the peer's.
                Phase::Calling(_) => refuse_with(stack, request, StatusCode::REQUEST_PENDING, flow, now),
                _ => busy(stack, request, flow, now),
            };
        };
        let our_offer_is_open = established.unacked.iter().any(|unacked| unacked.offer_is_ours)
            || matches!(established.exchange, Exchange::Sent { .. });
        if our_offer_is_open {
            return refuse_with(stack, request, StatusCode::REQUEST_PENDING, flow, now);
        }
        let peer_must_wait = matches!(established.exchange, Exchange::Received { .. })
            || established.ack_due.is_some()
            || established.unacked.len() >= MAX_UNACKED;
        if peer_must_wait {
            return busy(stack, request, flow, now);
        }
        if let Exchange::Waiting { response, .. } =
            std::mem::replace(&mut established.exchange, Exchange::Idle)
        {
            // The peer was first; our offer was made for a state that is passing.
            stack.emit_session(self.id, SessionEvent::ReRejected { response });
        }
        let reply = reply_flow(&request, flow);
        let Some(tx) = stack
            .layer
            .accept(request.clone(), reply, ServerUse::Offer(self.id), now)
        else {
            return;
        };
        if request.method == Method::Invite {
            let trying = Response::to(&request, StatusCode::TRYING);
            stack.respond(tx, &trying, now);
        }
        if let Phase::Established(established) = &mut self.phase {
            established.exchange = Exchange::Received {
                tx,
                offerless: !has_offer,
            };
        }
        stack.emit_session(self.id, SessionEvent::ReOffer { request });
    }

    /// Sends a queued offer when nothing stands in its way (§14.1: no INVITE of either side in progress).
    pub(super) fn flush_queue(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Established(established) = &mut self.phase else {
            return;
        };
        let free = matches!(established.exchange, Exchange::Idle)
            && established.unacked.is_empty()
            && established.ack_due.is_none();
        if !free {
            return;
        }
        if let Some(offer) = established.queued.take() {
            send_offer(established, offer, 0, Purpose::Offer(self.id), stack, now);
        }
    }

    pub(super) fn offer_timeout(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Established(established) = &mut self.phase else {
            return;
        };
        let Exchange::Waiting { at, offer, tries, .. } = &established.exchange else {
            return;
        };
        if *at <= now {
            let (offer, tries) = (offer.clone(), *tries);
            send_offer(established, offer, tries, Purpose::Offer(self.id), stack, now);
        }
    }

    /// The session ends with the peer's offer unanswered: the request gets its 487 (§15.1.2).
    pub(super) fn drop_pending_offer(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Established(established) = &mut self.phase else {
            return;
        };
        if let Exchange::Received { tx, .. } = std::mem::replace(&mut established.exchange, Exchange::Idle)
            && let Some(request) = stack.layer.request(tx)
        {
            let response = stack.response(request, StatusCode::REQUEST_TERMINATED);
            stack.respond(tx, &response, now);
        }
        established.queued = None;
    }

    fn target_update(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        let mut response = stack.response(&request, StatusCode::OK);
        let id = crate::dialog::DialogId::of_request(&request);
        if let Some(dialog) = self.dialog_mut(id.as_ref()) {
            dialog.refresh_target(&request.headers);
            response.headers.push(HeaderName::Contact, dialog.contact());
        }
        stack.put_abilities(&mut response.headers);
        stack.answer_now(request, response, flow, now);
    }

    fn offer_answered(&mut self, response: Response, stack: &mut Stack, now: Instant) {
        let Phase::Established(established) = &mut self.phase else {
            return;
        };
        established.dialog.refresh_target(&response.headers);
        established.exchange = Exchange::Idle;
        if let Ok(cseq) = response.headers.cseq()
            && cseq.method == Method::Invite
        {
            established.acknowledge(cseq.seq, None, stack);
        }
        stack.emit_session(self.id, SessionEvent::ReAnswered { response });
        self.flush_queue(stack, now);
    }

    /// §14.1: both offered at once; the owner of the Call-ID waits longer, so that the next attempts do not meet.
    fn offer_met(&mut self, response: Response, stack: &mut Stack, now: Instant) {
        let caller = self.caller;
        let Phase::Established(established) = &mut self.phase else {
            return;
        };
        match std::mem::replace(&mut established.exchange, Exchange::Idle) {
            Exchange::Sent { offer, tries, .. } if tries < MAX_GLARE_RETRIES => {
                let units = if caller {
                    210 + stack.ids.below(191)
                } else {
                    stack.ids.below(201)
                };
                let at = now + Duration::from_millis(10 * units);
                established.exchange = Exchange::Waiting {
                    offer,
                    at,
                    tries: tries + 1,
                    response,
                };
            }
            _ => self.offer_rejected(response, stack, now),
        }
    }

    fn offer_rejected(&mut self, response: Response, stack: &mut Stack, now: Instant) {
        if let Phase::Established(established) = &mut self.phase {
            established.exchange = Exchange::Idle;
        }
        stack.emit_session(self.id, SessionEvent::ReRejected { response });
        self.flush_queue(stack, now);
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

fn send_offer(
    established: &mut Established,
    offer: Offer,
    tries: u8,
    purpose: Purpose,
    stack: &mut Stack,
    now: Instant,
) {
    let flow = established.next_hop(stack);
    let mut request = established.dialog.request(offer.method.clone());
    stack.put_abilities(&mut request.headers);
    put_body(&mut request.headers, &mut request.body, Some(offer.body.clone()));
    let tx = stack.send(request, flow, purpose, now);
    established.exchange = Exchange::Sent { tx, offer, tries };
}
