//! Sessions: the INVITE usage of a dialog, from the first INVITE to the BYE (RFC 3261 §13–15, RFC 3311, RFC 6026).
//!
//! | phase       | event                          | next                                              |
//! |-------------|--------------------------------|---------------------------------------------------|
//! | –           | `invite`                       | Calling                                           |
//! | –           | INVITE                         | Incoming                                          |
//! | Calling     | 101–199                        | Calling, one early dialog more per branch         |
//! | Calling     | `cancel`, timer C              | Calling; CANCEL goes out after the first 1xx      |
//! | Calling     | 2xx                            | Established, ACK sent (or due, without offer)     |
//! | Calling     | 2xx after `cancel`             | Ending: ACK, BYE                                  |
//! | Calling     | 300–699, no answer             | Over                                              |
//! | Incoming    | `ring`                         | Incoming, repeated every minute                   |
//! | Incoming    | `accept`                       | Established, 2xx repeated until its ACK           |
//! | Incoming    | `reject`, CANCEL, BYE, too long | Over                                             |
//! | Established | `bye`                          | Ending: BYE, once the first 2xx has its ACK       |
//! | Established | BYE                            | Over                                              |
//! | Established | no ACK in 64·T1                | Ending: BYE                                       |
//! | Established | 481, 408, no answer to a request | Ending: BYE (after 481: Over)                   |
//! | Ending      | final response to BYE, or none | Over                                              |
//!
//! Offers inside a session are a machine of their own: `offer.rs`, `offered.rs`; reliable provisional responses
//! (RFC 3262) are in `reliable.rs` (called side) and `prack.rs` (calling side), session timers (RFC 4028) in
//! `timer.rs`. Another branch of a fork that answers too is acknowledged and released by the endpoint
//! (`endpoint/respond.rs`).

mod calling;
mod established;
mod incoming;
mod offer;
mod offered;
mod prack;
mod reliable;
pub(crate) mod timer;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::dialog::{Dialog, DialogId};
use crate::endpoint::stack::{Stack, Usage};
use crate::endpoint::{Body, EndpointError, Flow, SessionEvent, SessionId, TerminatedBy};
use crate::headers::Reason;
use crate::message::{HeaderName, Headers, Method, Request, StatusCode};
use calling::Calling;
pub(crate) use calling::outgoing;
use established::{Ending, Established};
use incoming::Incoming;
use offer::{Exchange, Offer};

/// One call.
pub(crate) struct Session {
    id: SessionId,
    /// We sent the first INVITE, so the Call-ID is ours (it decides the delay after a 491).
    caller: bool,
    /// The peer that was counted for this session.
    pub(crate) peer: Option<IpAddr>,
    /// Where the INVITE of the peer came from.
    pub(crate) invited_from: Option<SocketAddr>,
    /// Requests of the peer that wait for the application.
    waiting: usize,
    exchange: Exchange,
    /// An offer of ours that waits for the dialog to be free.
    queued: Option<Offer>,
    /// Our last description of a finished exchange, for a refresh of the session by re-INVITE: an offer that the peer
    /// refused, or left without an answer, is none (RFC 3261 §14.2).
    described: Option<Body>,
    phase: Phase,
}

/// Where a session stands. See the table in the module's description.
enum Phase {
    Calling(Calling),
    Incoming(Box<Incoming>),
    Established(Box<Established>),
    Ending(Box<Established>, Ending),
    Over,
}

impl Session {
    /// Whether nothing is left to do: the endpoint drops it.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether it stands: confirmed, and not ending.
    pub(crate) fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established(_))
    }

    /// The Call-ID, once there is one dialog only.
    pub(crate) fn call_id(&self) -> Option<&str> {
        let dialog = match &self.phase {
            Phase::Incoming(incoming) => &incoming.dialog,
            Phase::Established(established) | Phase::Ending(established, _) => &established.dialog,
            Phase::Calling(_) | Phase::Over => return None,
        };
        Some(&dialog.id().call_id)
    }

    /// Whether offers of ours still mean something.
    pub(crate) fn takes_offers(&self) -> bool {
        !matches!(self.phase, Phase::Ending(..) | Phase::Over)
    }

    /// When the session wants to be woken, and why.
    pub(crate) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let phase = match &self.phase {
            Phase::Calling(calling) => calling.deadline(),
            Phase::Incoming(incoming) => Some(incoming.deadline()),
            Phase::Established(established) | Phase::Ending(established, _) => established.deadline(),
            Phase::Over => None,
        };
        phase
            .into_iter()
            .chain(self.exchange.deadline())
            .min_by_key(|(at, _)| *at)
    }

    /// Does what is due.
    pub(crate) fn on_timeout(&mut self, stack: &mut Stack, now: Instant) {
        match &self.phase {
            Phase::Calling(_) => self.calling_timeout(stack, now),
            Phase::Incoming(_) => self.incoming_timeout(stack, now),
            Phase::Established(_) | Phase::Ending(..) => self.established_timeout(stack, now),
            Phase::Over => {}
        }
        self.offer_timeout(stack, now);
    }

    /// A request of the peer within one of the session's dialogs (not ACK, not CANCEL).
    pub(crate) fn on_request(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        let id = DialogId::of_request(&request);
        let admitted = self
            .dialog_mut(id.as_ref())
            .is_none_or(|dialog| dialog.admit(&request, flow));
        if !admitted {
            // §12.2.2: out of order.
            return refuse_with(stack, request, StatusCode::SERVER_INTERNAL_ERROR, flow, now);
        }
        match (&self.phase, &request.method) {
            (Phase::Over, _) => refuse_with(stack, request, StatusCode::CALL_DOES_NOT_EXIST, flow, now),
            (Phase::Ending(..), method) if *method != Method::Bye => {
                refuse_with(stack, request, StatusCode::CALL_DOES_NOT_EXIST, flow, now);
            }
            (_, Method::Bye) => self.on_bye(request, flow, stack, now),
            (_, Method::Prack) => self.on_prack(request, flow, stack, now),
            (_, Method::Invite | Method::Update) => self.on_offer_request(request, flow, stack, now),
            _ => self.on_plain_request(request, flow, stack, now),
        }
    }

    /// The dialog for a subscription of the peer that lives in it; none when the request is out of order, or the session
    /// is ending.
    pub(crate) fn share_dialog(&mut self, id: &DialogId, request: &Request, flow: Flow) -> Option<Dialog> {
        if !self.takes_offers() {
            return None;
        }
        let dialog = self.dialog_mut(Some(id))?;
        dialog.admit(request, flow).then(|| dialog.clone())
    }

    /// The application answered one of the peer's requests, or never did.
    pub(crate) fn request_done(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// The next CSeq number for a request that goes out again with credentials.
    pub(crate) fn next_cseq(&mut self, request: &Request) -> Option<u32> {
        let id = DialogId::of_own_request(request);
        self.dialog_mut(id.as_ref()).map(Dialog::next_cseq)
    }

    /// A request that the application sends within the dialog.
    pub(crate) fn request_in_dialog(
        &mut self,
        method: Method,
        stack: &Stack,
    ) -> Result<(Request, Flow), EndpointError> {
        let wrong = EndpointError::WrongState {
            command: "request_in_dialog",
        };
        if matches!(self.phase, Phase::Ending(..) | Phase::Over) {
            return Err(wrong);
        }
        let dialog = self.dialog_mut(None).ok_or(wrong)?;
        let flow = dialog.next_hop(stack.wire.is_open(&dialog.flow()));
        Ok((dialog.request(method), flow))
    }

    /// A request in the dialog failed in a way that ends the dialog (§12.2.1.2).
    pub(crate) fn on_dialog_failed(&mut self, by: TerminatedBy, gone: bool, stack: &mut Stack, now: Instant) {
        match &self.phase {
            Phase::Established(_) => {
                stack.emit_session(self.id, SessionEvent::Terminated { by, reason: None });
                self.hang_up(None, !gone, stack, now);
            }
            Phase::Ending(..) => self.finish(stack),
            _ => {}
        }
    }

    /// The dialog with this identifier, or the one that a request of ours would go through.
    fn dialog_mut(&mut self, id: Option<&DialogId>) -> Option<&mut Dialog> {
        match &mut self.phase {
            Phase::Calling(calling) => match id {
                Some(id) => calling.dialog_mut(id),
                None => calling.last_dialog_mut(),
            },
            Phase::Incoming(incoming) => Some(&mut incoming.dialog),
            Phase::Established(established) | Phase::Ending(established, _) => Some(&mut established.dialog),
            Phase::Over => None,
        }
    }

    /// INFO, MESSAGE, OPTIONS …: the application's.
    fn on_plain_request(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        use crate::endpoint::stack::ServerUse;
        if self.waiting >= crate::endpoint::limits::MAX_REQUESTS_IN_DIALOG {
            return busy(stack, request, flow, now);
        }
        let reply = crate::transaction::layer::reply_flow(&request, flow);
        let owner = ServerUse::Application(Some(self.id));
        if let Some(tx) = stack.layer.accept(request.clone(), reply, owner, now) {
            self.waiting += 1;
            let event = SessionEvent::Request {
                tx: crate::endpoint::ServerTx(tx.0),
                request,
            };
            stack.emit_session(self.id, event);
        }
    }

    /// Leaves every dialog; the session is over.
    fn finish(&mut self, stack: &mut Stack) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Calling(calling) => calling.leave(stack),
            Phase::Incoming(incoming) => {
                stack.dialogs.remove(incoming.dialog.id());
            }
            Phase::Established(established) | Phase::Ending(established, _) => {
                stack.dialogs.remove(established.dialog.id());
            }
            Phase::Over => {}
        }
    }

    fn register(&self, dialog: &Dialog, stack: &mut Stack) {
        stack.dialogs.insert(dialog.id().clone(), Usage::Session(self.id));
    }
}

/// The peer's Reason, when it gave one.
fn reason_of(headers: &Headers) -> Option<Reason> {
    headers.reasons().into_iter().next()
}

/// Answers a request within a dialog by a status of the endpoint's own.
fn refuse_with(stack: &mut Stack, request: Request, status: StatusCode, flow: Flow, now: Instant) {
    let mut response = stack.response(&request, status);
    if status == StatusCode::SERVER_INTERNAL_ERROR {
        response.headers.set(HeaderName::RetryAfter, stack.ids.below(11));
    }
    stack.answer_now(request, response, flow, now);
}

/// 500 with Retry-After of 0–10 s: an earlier request is still unanswered (§14.2, RFC 3311 §5.2).
fn busy(stack: &mut Stack, request: Request, flow: Flow, now: Instant) {
    refuse_with(stack, request, StatusCode::SERVER_INTERNAL_ERROR, flow, now);
}
