//! The peer's offers within a session: what may come when, the application's answer or refusal (RFC 3261 §14.2,
//! RFC 3311 §5.2, RFC 3262 §5). The table of states is in `offer.rs`.
//!
//! An UPDATE without a body only refreshes the target and the session timer and is answered here.

use std::time::Instant;

use super::established::Unacked;
use super::offer::Exchange;
use super::{Phase, Session, busy, refuse_with};
use crate::dialog::DialogId;
use crate::endpoint::limits::MAX_UNACKED;
use crate::endpoint::stack::{ServerUse, Stack, put_body};
use crate::endpoint::{Body, EndpointError, Flow, SessionEvent};
use crate::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use crate::transaction::layer::reply_flow;

/// Whether the peer may offer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Yes.
    Free,
    /// An offer of ours is open: 491.
    Ours,
    /// An earlier request or offer of the peer is: 500 with Retry-After.
    Theirs,
}

impl Session {
    /// Accepts the peer's offer.
    pub(crate) fn answer(
        &mut self,
        body: Body,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        let wrong = EndpointError::WrongState { command: "answer" };
        let Exchange::Received { tx, offerless } = self.exchange else {
            return Err(wrong);
        };
        let request = stack.layer.request(tx).ok_or(wrong)?.clone();
        let mut response = stack.response(&request, StatusCode::OK);
        let is_prack = request.method == Method::Prack;
        if let Some(dialog) = self.dialog_mut(DialogId::of_request(&request).as_ref())
            && !is_prack
        {
            dialog.refresh_target(&request.headers);
            response.headers.push(HeaderName::Contact, dialog.contact());
        }
        if !is_prack {
            stack.put_abilities(&mut response.headers);
            self.grant_interval(&request, &mut response, stack, now);
        }
        put_body(&mut response.headers, &mut response.body, Some(body.clone()));
        stack.respond(tx, &response, now);
        self.exchange = Exchange::Idle;
        // An offer of ours holds only once the ACK answers it.
        let unanswered = if offerless {
            Some(body)
        } else {
            self.described = Some(body);
            None
        };
        if let (Phase::Established(established), Method::Invite) = (&mut self.phase, &request.method) {
            let mut unacked = Unacked::new(tx, &response, stack, now);
            unacked.offer_is_ours = offerless;
            unacked.offer = unanswered;
            established.unacked.push(unacked);
        }
        self.proceed(stack, now);
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
        let Exchange::Received { tx, .. } = self.exchange else {
            return Err(wrong);
        };
        let request = stack.layer.request(tx).ok_or(wrong)?;
        let mut response = stack.response(request, status);
        response.headers.extend(headers);
        stack.respond(tx, &response, now);
        self.exchange = Exchange::Idle;
        self.proceed(stack, now);
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

    /// The application never answered the peer's UPDATE or PRACK; its transaction is gone.
    pub(crate) fn offer_abandoned(&mut self, stack: &mut Stack, now: Instant) {
        if let Exchange::Received { .. } = self.exchange {
            self.exchange = Exchange::Idle;
            self.proceed(stack, now);
        }
    }

    /// A re-INVITE or UPDATE of the peer.
    pub(super) fn on_offer_request(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        if request.method == Method::Update && request.body.is_empty() {
            return self.target_update(request, flow, stack, now);
        }
        let turn = match (&self.phase, &request.method) {
            (Phase::Established(_), _) | (_, Method::Update) => self.turn(&request),
            (Phase::Calling(_), _) => Turn::Ours,
            _ => Turn::Theirs,
        };
        match turn {
            Turn::Free => self.ask_application(request, flow, stack, now),
            Turn::Ours => refuse_with(stack, request, StatusCode::REQUEST_PENDING, flow, now),
            Turn::Theirs => busy(stack, request, flow, now),
        }
    }

    /// Whether the peer may offer by this request.
    pub(super) fn turn(&self, request: &Request) -> Turn {
        let by_phase = match &self.phase {
            Phase::Established(established) => {
                if established.unacked.iter().any(|unacked| unacked.offer_is_ours) {
                    Turn::Ours
                } else if established.ack_due.is_some() || established.unacked.len() >= MAX_UNACKED {
                    Turn::Theirs
                } else {
                    Turn::Free
                }
            }
            Phase::Calling(calling) => calling.turn(request),
            Phase::Incoming(incoming) => incoming.turn(),
            Phase::Ending(..) | Phase::Over => Turn::Theirs,
        };
        match (by_phase, &self.exchange) {
            (Turn::Ours, _) | (_, Exchange::Sent { .. }) => Turn::Ours,
            (Turn::Theirs, _) | (_, Exchange::Received { .. }) => Turn::Theirs,
            (Turn::Free, Exchange::Idle | Exchange::Waiting { .. }) => Turn::Free,
        }
    }

    /// The peer's offer becomes the application's.
    pub(super) fn ask_application(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        if let Exchange::Waiting { response, offer, .. } =
            std::mem::replace(&mut self.exchange, Exchange::Idle)
        {
            // The peer was first; our offer was made for a state that is passing.
            if offer.refresh {
                self.refresh_later(None, now);
            } else {
                stack.emit_session(self.id, SessionEvent::ReRejected { response });
            }
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
        self.exchange = Exchange::Received {
            tx,
            offerless: request.body.is_empty(),
        };
        if let Phase::Calling(calling) = &mut self.phase {
            calling.offering = request.headers.from_tag().map(|tag| tag.to_string());
        }
        stack.emit_session(self.id, SessionEvent::ReOffer { request });
    }

    /// The session ends, or turns to another branch, with the peer's offer unanswered: the request gets its 487
    /// (§15.1.2).
    pub(super) fn drop_pending_offer(&mut self, stack: &mut Stack, now: Instant) {
        if let Exchange::Received { tx, .. } = std::mem::replace(&mut self.exchange, Exchange::Idle)
            && let Some(request) = stack.layer.request(tx)
        {
            let response = stack.response(request, StatusCode::REQUEST_TERMINATED);
            stack.respond(tx, &response, now);
        }
        self.queued = None;
    }

    fn target_update(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        let mut response = stack.response(&request, StatusCode::OK);
        let id = DialogId::of_request(&request);
        if let Some(dialog) = self.dialog_mut(id.as_ref()) {
            dialog.refresh_target(&request.headers);
            response.headers.push(HeaderName::Contact, dialog.contact());
        }
        stack.put_abilities(&mut response.headers);
        self.grant_interval(&request, &mut response, stack, now);
        stack.answer_now(request, response, flow, now);
    }
}
