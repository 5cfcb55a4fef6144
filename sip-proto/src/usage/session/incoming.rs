//! The called side until the final response: ringing, acceptance, refusal, the peer's CANCEL and BYE.

use std::time::{Duration, Instant};

use super::established::{Established, Unacked};
use super::offer::Exchange;
use super::reliable::Provisionals;
use super::{Phase, Session, reason_of, timer};
use crate::dialog::Dialog;
use crate::endpoint::limits::{MAX_RINGING, RING_INTERVAL};
use crate::endpoint::stack::{Stack, put_body, take_contact};
use crate::endpoint::{Body, EndpointError, Flow, SessionEvent, SessionId, TerminatedBy};
use crate::error::HeaderError;
use crate::message::{HeaderName, Headers, Request, Response, StatusCode};
use crate::transaction::layer::ServerId;

/// An INVITE of the peer that has no final response yet.
pub(super) struct Incoming {
    pub(super) tx: ServerId,
    pub(super) dialog: Dialog,
    pub(super) offered: bool,
    pub(super) ringing: Option<(Response, Instant)>,
    pub(super) reliable: Provisionals,
    until: Instant,
    /// It ends by the caller's Expires, not by our own limit.
    expires: bool,
}

impl Incoming {
    pub(super) fn deadline(&self) -> (Instant, &'static str) {
        let own = match &self.ringing {
            Some((_, again)) if *again < self.until => (*again, "repeat the provisional response"),
            _ => (self.until, "call never answered by the application"),
        };
        self.reliable
            .deadline()
            .filter(|(at, _)| *at < own.0)
            .unwrap_or(own)
    }
}

impl Session {
    /// A new INVITE, whose transaction `tx` is started.
    pub(crate) fn incoming(
        id: SessionId,
        tx: ServerId,
        request: &Request,
        flow: Flow,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<Session, HeaderError> {
        let tag = stack.ids.tag();
        let cseq = stack.ids.first_cseq();
        let dialog = Dialog::of_server(request, tag.as_str(), stack.contact(&flow), flow, cseq)?;
        if dialog.is_translated() {
            stack.layer.avoid_streams(flow.remote, now);
        }
        // §13.3.1: the caller may limit its invitation.
        let expires = request
            .headers
            .expires()
            .ok()
            .flatten()
            .filter(|seconds| *seconds > 0);
        let expires = expires.map(|seconds| Duration::from_secs(u64::from(seconds)));
        let incoming = Incoming {
            tx,
            dialog,
            offered: !request.body.is_empty(),
            ringing: None,
            reliable: Provisionals::new(request, stack),
            until: now + expires.map_or(MAX_RINGING, |limit| limit.min(MAX_RINGING)),
            expires: expires.is_some_and(|limit| limit <= MAX_RINGING),
        };
        Ok(Session {
            id,
            caller: false,
            peer: None,
            invited_from: Some(flow.remote),
            waiting: 0,
            exchange: Exchange::Idle,
            queued: None,
            described: None,
            phase: Phase::Incoming(Box::new(incoming)),
        })
    }

    /// Sends a 101–199, reliably where the caller requires it or supports it and `headers` ask for it.
    pub(crate) fn ring(
        &mut self,
        status: StatusCode,
        body: Option<Body>,
        mut headers: Headers,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        if !(101..=199).contains(&status.code()) {
            return Err(EndpointError::WrongStatus {
                command: "ring",
                status: status.code(),
            });
        }
        match &self.phase {
            Phase::Incoming(incoming) if incoming.reliable.is_accepted() => {
                return Err(EndpointError::WrongState { command: "ring" });
            }
            Phase::Incoming(incoming) if incoming.reliable.wanted(&mut headers) => {
                return self.ring_reliably(status, body, headers, stack, now);
            }
            _ => {}
        }
        let response = self.first_response("ring", status, body, headers, stack)?;
        let Phase::Incoming(incoming) = &mut self.phase else {
            return Err(EndpointError::WrongState { command: "ring" });
        };
        stack.respond(incoming.tx, &response, now);
        incoming.ringing = Some((response, now + RING_INTERVAL));
        let dialog = incoming.dialog.clone();
        self.register(&dialog, stack);
        Ok(())
    }

    /// Sends the 200 and repeats it until its ACK (§13.3.1.4); after reliable provisional responses it may have to
    /// wait, and has no body when offer and answer are exchanged already.
    pub(crate) fn accept(
        &mut self,
        mut body: Option<Body>,
        headers: Headers,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        if self.keep_acceptance(&body, &headers) {
            return Ok(());
        }
        if let Phase::Incoming(incoming) = &self.phase
            && incoming.reliable.is_agreed()
        {
            body = None;
        }
        let mut response = self.first_response("accept", StatusCode::OK, body.clone(), headers, stack)?;
        stack.put_abilities(&mut response.headers);
        let timer = match &self.phase {
            Phase::Incoming(incoming) => stack
                .layer
                .request(incoming.tx)
                .and_then(|request| timer::grant(request, &mut response, stack, now)),
            _ => None,
        };
        if body.is_some() {
            self.described = body;
        }
        let Phase::Incoming(incoming) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return Err(EndpointError::WrongState { command: "accept" });
        };
        stack.respond(incoming.tx, &response, now);
        self.register(&incoming.dialog, stack);
        let late_prack = incoming.reliable.unacknowledged();
        let agreed = incoming.reliable.is_agreed();
        let mut established = Established::new(incoming.dialog);
        established.timer = timer;
        established.late_prack = late_prack;
        let mut unacked = Unacked::new(incoming.tx, &response, stack, now);
        unacked.initial = true;
        unacked.offer_is_ours = !incoming.offered && !agreed;
        established.unacked.push(unacked);
        self.phase = Phase::Established(Box::new(established));
        Ok(())
    }

    /// Sends a 300–699. The session is over.
    pub(crate) fn reject(
        &mut self,
        status: StatusCode,
        headers: Headers,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        if status.code() < 300 {
            return Err(EndpointError::WrongStatus {
                command: "reject",
                status: status.code(),
            });
        }
        let mut response = self.first_response("reject", status, None, headers, stack)?;
        // §12.1.1: no dialog, no route set; a Contact would mean a redirection.
        response.headers.remove(&HeaderName::RecordRoute);
        if !status.is_redirection() {
            response.headers.remove(&HeaderName::Contact);
        }
        if let Phase::Incoming(incoming) = &self.phase {
            stack.respond(incoming.tx, &response, now);
        }
        self.drop_pending_offer(stack, now);
        self.finish(stack);
        Ok(())
    }

    /// The peer's CANCEL; its 200 is sent. Too late when a final response is out (§9.2).
    pub(crate) fn on_cancel(&mut self, reason_headers: &Headers, stack: &mut Stack, now: Instant) {
        if !matches!(self.phase, Phase::Incoming(_)) {
            return;
        }
        tracing::debug!(session = self.id.0, reason = ?reason_of(reason_headers), "cancelled by the peer");
        let _ = self.reject(StatusCode::REQUEST_TERMINATED, Headers::new(), stack, now);
        stack.emit_session(self.id, SessionEvent::Cancelled);
    }

    /// The tag that our responses to the INVITE carry.
    pub(crate) fn local_tag(&self) -> Option<&str> {
        match &self.phase {
            Phase::Incoming(incoming) => Some(&incoming.dialog.id().local_tag),
            Phase::Established(established) | Phase::Ending(established, _) => {
                Some(&established.dialog.id().local_tag)
            }
            _ => None,
        }
    }

    /// The caller ends an early dialog by BYE (§15): the INVITE gets its 487.
    pub(super) fn incoming_bye(&mut self, request: &Request, stack: &mut Stack, now: Instant) {
        let reason = reason_of(&request.headers);
        let _ = self.reject(StatusCode::REQUEST_TERMINATED, Headers::new(), stack, now);
        stack.emit_session(
            self.id,
            SessionEvent::Terminated {
                by: TerminatedBy::Peer,
                reason,
            },
        );
    }

    pub(super) fn incoming_timeout(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Incoming(incoming) = &mut self.phase else {
            return;
        };
        if incoming.until <= now {
            let status = if incoming.expires {
                StatusCode::REQUEST_TERMINATED
            } else {
                StatusCode::TEMPORARILY_UNAVAILABLE
            };
            let _ = self.reject(status, Headers::new(), stack, now);
            let event = SessionEvent::Terminated {
                by: TerminatedBy::Timeout,
                reason: None,
            };
            return stack.emit_session(self.id, event);
        }
        if self.provisional_timeout(stack, now) {
            return;
        }
        // §13.3.1.1: proxies give up after three minutes without a sign.
        self.ring_again(stack, now);
    }

    /// A response to the first INVITE with what every one of them carries.
    pub(super) fn first_response(
        &mut self,
        command: &'static str,
        status: StatusCode,
        body: Option<Body>,
        mut headers: Headers,
        stack: &Stack,
    ) -> Result<Response, EndpointError> {
        let wrong = EndpointError::WrongState { command };
        let Phase::Incoming(incoming) = &mut self.phase else {
            return Err(wrong);
        };
        let request = stack.layer.request(incoming.tx).ok_or(wrong)?;
        let mut response = stack.response(request, status);
        let local_tag = incoming.dialog.id().local_tag.clone();
        response.tag_to(&crate::ids::Tag::new(local_tag));
        // §12.1.1: the route set goes back as it came.
        response
            .headers
            .copy_from(&request.headers, &HeaderName::RecordRoute);
        let redirects = status.is_redirection();
        if let Some(contact) = take_contact(&mut headers) {
            if redirects {
                response.headers.push(HeaderName::Contact, contact);
            } else {
                incoming.dialog.set_contact(contact);
            }
        }
        if !redirects {
            response
                .headers
                .push(HeaderName::Contact, incoming.dialog.contact());
        }
        response.headers.extend(&headers);
        put_body(&mut response.headers, &mut response.body, body);
        Ok(response)
    }
}
