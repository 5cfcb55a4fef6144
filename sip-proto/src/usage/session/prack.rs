//! Reliable provisional responses at the calling side (RFC 3262 §4, §5), one early dialog per branch of a fork.
//!
//! A reliable response gets its PRACK at once and is shown once; one out of order is passed over, for its sender
//! repeats it. The first description in such a response is the answer to our INVITE, or the offer when that made
//! none: then the PRACK waits for the application's answer. An offer of ours that waits goes out in a PRACK where
//! one is due, else by UPDATE (RFC 3311).

use std::time::Instant;

use super::calling::Calling;
use super::offer::Exchange;
use super::offered::Turn;
use super::reliable::RELIABLE;
use super::{Phase, Session};
use crate::dialog::{Dialog, DialogId};
use crate::endpoint::stack::{Purpose, Stack, put_body};
use crate::endpoint::{Body, EndpointError, SessionEvent};
use crate::headers::RAck;
use crate::message::{HeaderName, Method, Request, Response};
use crate::transaction::layer::ClientId;

/// An early dialog of our INVITE.
pub(super) struct Early {
    pub(super) dialog: Dialog,
    /// RSeq of the last reliable response.
    rseq: Option<u32>,
    /// Offer and answer are exchanged.
    pub(super) agreed: bool,
    /// What the PRACK with the application's answer will acknowledge.
    due: Option<RAck>,
}

impl Early {
    pub(super) fn new(dialog: Dialog) -> Self {
        Early {
            dialog,
            rseq: None,
            agreed: false,
            due: None,
        }
    }

    fn leave(self, invite: ClientId, stack: &mut Stack) {
        let id = self.dialog.id();
        stack.dialogs.remove(id);
        stack
            .layer
            .leave_branch(invite, id.remote_tag.clone(), self.dialog.last_cseq());
    }
}

impl Calling {
    /// Leaves all early dialogs. The INVITE remembers their numbers while a 2xx may come from one of them.
    pub(super) fn leave(mut self, stack: &mut Stack) {
        for early in self.early.drain(..) {
            early.leave(self.tx, stack);
        }
    }

    /// Leaves the early dialog that the peer ended.
    pub(super) fn leave_one(&mut self, id: &DialogId, stack: &mut Stack) {
        if let Some(index) = self.early.iter().position(|early| early.dialog.id() == id) {
            self.early.remove(index).leave(self.tx, stack);
        }
    }

    /// The INVITE goes out again as a new request: what was learnt of the first one's branches is of no use.
    pub(super) fn start_again(&mut self, tx: ClientId, stack: &mut Stack) {
        for early in self.early.drain(..) {
            stack.dialogs.remove(early.dialog.id());
        }
        self.tx = tx;
    }

    pub(super) fn dialog_mut(&mut self, id: &DialogId) -> Option<&mut Dialog> {
        self.early
            .iter_mut()
            .map(|early| &mut early.dialog)
            .find(|dialog| dialog.id() == id)
    }

    pub(super) fn last_dialog_mut(&mut self) -> Option<&mut Dialog> {
        self.early.last_mut().map(|early| &mut early.dialog)
    }

    /// The early dialog in which an offer of ours may be sent now.
    pub(super) fn free_dialog(&mut self) -> Option<&mut Dialog> {
        if self.is_cancelled() {
            return None;
        }
        let early = self.early.last_mut()?;
        let free = early.agreed && early.due.is_none() && early.dialog.peer_takes_update();
        free.then_some(&mut early.dialog)
    }

    /// Whether the peer may send an offer in the early dialog of this request.
    pub(super) fn turn(&self, request: &Request) -> Turn {
        let id = DialogId::of_request(request);
        let early = self
            .early
            .iter()
            .find(|early| Some(early.dialog.id()) == id.as_ref());
        match early {
            Some(early) if early.agreed => Turn::Free,
            Some(early) if early.due.is_some() => Turn::Theirs,
            // RFC 3311 §5.2: the offer of our INVITE is open.
            _ if self.offered => Turn::Ours,
            _ => Turn::Theirs,
        }
    }
}

impl Session {
    /// A provisional response whose early dialog is known. False: it came before, or out of order, and is not shown.
    pub(super) fn take_provisional(&mut self, response: &Response, stack: &mut Stack, now: Instant) -> bool {
        let headers = &response.headers;
        let Some(rseq) = headers
            .rseq()
            .ok()
            .flatten()
            .filter(|_| headers.has_token(&HeaderName::Require, RELIABLE) && stack.supports(RELIABLE))
        else {
            return true;
        };
        let (Phase::Calling(calling), Some(id), Ok(cseq)) =
            (&mut self.phase, DialogId::of_response(response), headers.cseq())
        else {
            return true;
        };
        let offered = calling.offered;
        let Some(early) = calling.early.iter_mut().find(|early| *early.dialog.id() == id) else {
            return true;
        };
        // §4: each next one is greater by exactly one.
        if early.rseq.is_some_and(|last| last.checked_add(1) != Some(rseq)) {
            return false;
        }
        early.rseq = Some(rseq);
        let rack = RAck::new(rseq, cseq);
        if !response.body.is_empty() && !early.agreed {
            if !offered {
                early.due = Some(rack);
                return true;
            }
            early.agreed = true;
        }
        if early.due.is_none() {
            self.send_prack(&id, &rack, None, stack, now);
        }
        true
    }

    /// Sends the PRACK with the application's answer.
    pub(super) fn prack_with_answer(
        &mut self,
        body: Body,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        let wrong = EndpointError::WrongState {
            command: "ack_with_answer",
        };
        let Phase::Calling(calling) = &mut self.phase else {
            return Err(wrong);
        };
        let waiting = calling
            .early
            .iter_mut()
            .find_map(|early| early.due.take().map(|rack| (early, rack)));
        let (early, rack) = waiting.ok_or(wrong)?;
        early.agreed = true;
        let id = early.dialog.id().clone();
        self.send_prack(&id, &rack, Some(body), stack, now);
        Ok(())
    }

    /// An exchange of offers in one early dialog means nothing to the branch that answered: ours is made anew there,
    /// the peer's is refused.
    pub(super) fn settle_branch(&mut self, chosen: &str, stack: &mut Stack, now: Instant) {
        let offering = match &mut self.phase {
            Phase::Calling(calling) => calling.offering.take(),
            _ => None,
        };
        if offering.is_none_or(|tag| tag == chosen) {
            return;
        }
        let queued = self.queued.take();
        match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::Sent { offer, .. } | Exchange::Waiting { offer, .. } => {
                self.queued = queued.or(Some(offer));
            }
            received => {
                let asked = matches!(received, Exchange::Received { .. });
                self.exchange = received;
                self.drop_pending_offer(stack, now);
                self.queued = queued;
                if asked {
                    stack.emit_session(self.id, SessionEvent::ReOfferCancelled);
                }
            }
        }
    }

    fn send_prack(
        &mut self,
        id: &DialogId,
        rack: &RAck,
        answer: Option<Body>,
        stack: &mut Stack,
        now: Instant,
    ) {
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        let cancelled = calling.is_cancelled();
        let Some(early) = calling.early.iter_mut().find(|early| early.dialog.id() == id) else {
            return;
        };
        let flow = early.dialog.next_hop(stack.wire.is_open(&early.dialog.flow()));
        let mut request = early.dialog.request(Method::Prack);
        request.headers.push(HeaderName::RAck, rack);
        let free = answer.is_none() && early.agreed && !cancelled && matches!(self.exchange, Exchange::Idle);
        let offer = if free { self.queued.take() } else { None };
        let Some(offer) = offer else {
            put_body(&mut request.headers, &mut request.body, answer);
            stack.send(request, flow, Purpose::Prack(self.id), now);
            return;
        };
        calling.offering = Some(id.remote_tag.clone());
        put_body(&mut request.headers, &mut request.body, Some(offer.body.clone()));
        let tx = stack.send(request, flow, Purpose::Offer(self.id), now);
        self.exchange = Exchange::Sent { tx, offer, tries: 0 };
    }
}
