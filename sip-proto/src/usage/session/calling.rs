//! The calling side until the final response: early dialogs, CANCEL, the answer.

use std::time::Instant;

use super::established::{Ending, Established};
use super::offer::Exchange;
use super::prack::Early;
use super::{Phase, Session, timer};
use crate::dialog::{Dialog, DialogId};
use crate::endpoint::limits::{MAX_EARLY_DIALOGS, MAX_INTERVAL_RETRIES};
use crate::endpoint::stack::{ClientUse, Purpose, Stack, put_body};
use crate::endpoint::{EndpointError, Flow, Outgoing, SessionEvent, SessionId, TerminatedBy};
use crate::message::{HeaderName, Method, Request, Response};
use crate::transaction::layer::{ClientId, Delivered};

/// An INVITE of ours that has no final response yet.
pub(super) struct Calling {
    pub(super) tx: ClientId,
    pub(super) offered: bool,
    contact: String,
    pub(super) early: Vec<Early>,
    /// The remote tag of the early dialog in which an offer is open.
    pub(super) offering: Option<String>,
    /// How often the session interval was lengthened after 422.
    lengthened: u8,
    cancel: Cancel,
}

/// How far a CANCEL got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancel {
    No,
    /// §9.1: held back until a provisional response shows that the INVITE arrived.
    Wanted,
    /// Sent; if nothing comes until then, the INVITE is given up.
    Sent {
        until: Instant,
    },
}

impl Calling {
    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        match self.cancel {
            Cancel::Sent { until } => Some((until, "cancelled INVITE unanswered")),
            _ => None,
        }
    }

    /// The dialog that a response makes. One of the same branch may have been before and ended by the peer's BYE: its
    /// numbers go on (§12.2.1.1).
    fn branch(
        &self,
        delivered: &Delivered<ClientUse>,
        response: &Response,
        flow: Flow,
        stack: &Stack,
    ) -> Option<Dialog> {
        let mut dialog = Dialog::of_client(&delivered.request, response, self.contact.clone(), flow).ok()?;
        if let Some(last) = stack.layer.branch_cseq(delivered.id, &dialog.id().remote_tag) {
            dialog.go_on_after(last);
        }
        Some(dialog)
    }

    /// Whether the caller wants no more of it.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel != Cancel::No
    }
}

impl Session {
    /// Sends the INVITE.
    pub(crate) fn call(id: SessionId, call: Outgoing, stack: &mut Stack, now: Instant) -> Session {
        let offered = call.body.is_some();
        let flow = call.flow;
        let described = call.body.clone();
        let mut request = outgoing(Method::Invite, call, stack);
        stack.put_abilities(&mut request.headers);
        if !request.headers.contains(&HeaderName::SessionExpires) {
            timer::ask_first(&mut request.headers, stack);
        }
        let contact = request.headers.get(&HeaderName::Contact).unwrap_or("").to_owned();
        let tx = stack.send(request, flow, Purpose::Invite(id), now);
        let calling = Calling {
            tx,
            offered,
            contact,
            early: Vec::new(),
            offering: None,
            lengthened: 0,
            cancel: Cancel::No,
        };
        Session {
            id,
            caller: true,
            peer: None,
            invited_from: None,
            waiting: 0,
            exchange: Exchange::Idle,
            queued: None,
            described,
            phase: Phase::Calling(calling),
        }
    }

    /// The INVITE went out again with credentials.
    pub(crate) fn invite_resent(&mut self, tx: ClientId, stack: &mut Stack) {
        if let Phase::Calling(calling) = &mut self.phase {
            calling.start_again(tx, stack);
        }
    }

    /// Whether a challenge to the INVITE is still worth an answer.
    pub(crate) fn wants_retry(&self) -> bool {
        matches!(
            &self.phase,
            Phase::Calling(Calling {
                cancel: Cancel::No,
                ..
            })
        )
    }

    /// Asks for the end of an unanswered call (§9.1).
    pub(crate) fn cancel(&mut self, stack: &mut Stack, now: Instant) -> Result<(), EndpointError> {
        let Phase::Calling(calling) = &mut self.phase else {
            return Err(EndpointError::WrongState { command: "cancel" });
        };
        if calling.cancel == Cancel::No {
            calling.cancel = Cancel::Wanted;
            if stack.layer.is_proceeding(calling.tx) {
                self.send_cancel(stack, now);
            }
        }
        Ok(())
    }

    /// A response to the INVITE that no other session state has claimed. True: it was ours.
    pub(crate) fn on_invite_response(
        &mut self,
        delivered: &Delivered<ClientUse>,
        response: Response,
        flow: Flow,
        stack: &mut Stack,
        now: Instant,
    ) -> bool {
        if !matches!(self.phase, Phase::Calling(_)) {
            return response.status.is_success() && self.repeat_ack(&response, stack);
        }
        match response.status.code() {
            100 => self.on_progress(stack, now),
            101..=199 => {
                self.learn_early(delivered, &response, flow, stack);
                let new = self.take_provisional(&response, stack, now);
                self.on_progress(stack, now);
                if new && self.wants_retry() {
                    stack.emit_session(self.id, SessionEvent::Progress { response });
                }
                self.flush_queue(stack, now);
            }
            200..=299 => self.on_answer(delivered, response, flow, stack, now),
            422 if self.invite_longer(delivered, &response, stack, now) => {}
            _ => {
                self.drop_pending_offer(stack, now);
                self.finish(stack);
                stack.emit_session(
                    self.id,
                    SessionEvent::Failed {
                        response: Some(response),
                    },
                );
            }
        }
        true
    }

    /// RFC 4028 §7.3: the INVITE goes out again with the interval that the 422 asks for. False: it does not.
    fn invite_longer(
        &mut self,
        delivered: &Delivered<ClientUse>,
        response: &Response,
        stack: &mut Stack,
        now: Instant,
    ) -> bool {
        let id = self.id;
        let Phase::Calling(calling) = &mut self.phase else {
            return false;
        };
        if calling.is_cancelled() || calling.lengthened >= MAX_INTERVAL_RETRIES {
            return false;
        }
        let Some(request) = timer::longer(&delivered.request, response) else {
            return false;
        };
        calling.lengthened += 1;
        let tx = stack.send(request, delivered.flow, Purpose::Invite(id), now);
        calling.start_again(tx, stack);
        true
    }

    /// Nobody answered the INVITE.
    pub(crate) fn on_invite_failed(&mut self, stack: &mut Stack, now: Instant) {
        if matches!(self.phase, Phase::Calling(_)) {
            self.drop_pending_offer(stack, now);
            self.finish(stack);
            stack.emit_session(self.id, SessionEvent::Failed { response: None });
        }
    }

    pub(super) fn calling_timeout(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Calling(Calling {
            tx,
            cancel: Cancel::Sent { until },
            ..
        }) = &self.phase
        else {
            return;
        };
        if *until <= now {
            stack.layer.abandon(*tx);
            self.on_invite_failed(stack, now);
        }
    }

    /// The caller hung up on an early dialog by BYE, which only callers may; be kind, but end the call.
    pub(super) fn early_bye(&mut self, request: &Request, stack: &mut Stack, now: Instant) {
        if let (Phase::Calling(calling), Some(id)) = (&mut self.phase, DialogId::of_request(request)) {
            calling.leave_one(&id, stack);
            if calling.offering.as_ref() == Some(&id.remote_tag) {
                self.settle_branch("", stack, now);
            }
        }
        // The INVITE is still open and must get its final response.
        let _ = self.cancel(stack, now);
    }

    fn on_progress(&mut self, stack: &mut Stack, now: Instant) {
        if let Phase::Calling(Calling {
            cancel: Cancel::Wanted,
            ..
        }) = &self.phase
        {
            self.send_cancel(stack, now);
        }
    }

    fn send_cancel(&mut self, stack: &mut Stack, now: Instant) {
        let until = now + stack.config.timers.transaction();
        if let Phase::Calling(calling) = &mut self.phase {
            calling.cancel = Cancel::Sent { until };
            let owner = ClientUse {
                purpose: Purpose::Nobody,
                attempts: 0,
            };
            stack.layer.send_cancel(calling.tx, owner, &mut stack.wire, now);
        }
    }

    /// §12.1.2: a provisional response with a To tag makes an early dialog, one per branch of a fork.
    fn learn_early(
        &mut self,
        delivered: &Delivered<ClientUse>,
        response: &Response,
        flow: Flow,
        stack: &mut Stack,
    ) {
        let id = self.id;
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        let Some(dialog_id) = DialogId::of_response(response) else {
            return;
        };
        if dialog_id.remote_tag.is_empty() {
            return;
        }
        if let Some(known) = calling.dialog_mut(&dialog_id) {
            known.refresh_target(&response.headers);
            return;
        }
        let room = calling.early.len() < MAX_EARLY_DIALOGS;
        let dialog = calling.branch(delivered, response, flow, stack);
        if let (true, Some(dialog)) = (room, dialog) {
            stack
                .dialogs
                .insert(dialog_id, crate::endpoint::stack::Usage::Session(id));
            calling.early.push(Early::new(dialog));
        }
    }

    fn on_answer(
        &mut self,
        delivered: &Delivered<ClientUse>,
        response: Response,
        flow: Flow,
        stack: &mut Stack,
        now: Instant,
    ) {
        let chosen = DialogId::of_response(&response);
        let tag = chosen.as_ref().map_or("", |id| id.remote_tag.as_str());
        self.settle_branch(tag, stack, now);
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        let (offered, cancelled) = (calling.offered, calling.is_cancelled());
        let early = chosen
            .and_then(|id| calling.early.iter().position(|early| *early.dialog.id() == id))
            .map(|index| calling.early.swap_remove(index));
        let agreed = early.as_ref().is_some_and(|early| early.agreed);
        let dialog = match early {
            Some(mut early) => {
                early.dialog.confirm(&response, flow);
                Some(early.dialog)
            }
            None => calling.branch(delivered, &response, flow, stack),
        };
        // The other early dialogs end here; a second 2xx is a fork's (§13.2.2.4).
        self.finish(stack);
        let Some(dialog) = dialog else {
            return stack.emit_session(
                self.id,
                SessionEvent::Failed {
                    response: Some(response),
                },
            );
        };
        self.register(&dialog, stack);
        let cseq = delivered.request.headers.cseq().map_or(1, |cseq| cseq.seq);
        let mut established = Box::new(Established::new(dialog));
        for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
            established
                .credentials
                .copy_from(&delivered.request.headers, &name);
        }
        if cancelled {
            self.drop_pending_offer(stack, now);
            // §9.1, §15: the 200 crossed the CANCEL.
            established.acknowledge(cseq, None, stack);
            self.phase = Phase::Ending(established, Ending::Due(None));
            self.send_bye(stack, now);
            let event = SessionEvent::Terminated {
                by: TerminatedBy::Local,
                reason: None,
            };
            return stack.emit_session(self.id, event);
        }
        if offered || agreed {
            established.acknowledge(cseq, None, stack);
        } else {
            established.ack_due = Some(cseq);
        }
        established.timer = timer::settled(&response, stack, now);
        self.phase = Phase::Established(established);
        stack.emit_session(self.id, SessionEvent::Answered { response });
        self.flush_queue(stack, now);
    }
}

/// The request that an [`Outgoing`] describes.
pub(crate) fn outgoing(method: Method, call: Outgoing, stack: &mut Stack) -> Request {
    let mut given = call.headers;
    let mut request = Request::new(method.clone(), call.target.as_request_uri());
    let headers = &mut request.headers;
    headers.push(HeaderName::MaxForwards, 70);
    for route in &call.route {
        headers.push(HeaderName::Route, format_args!("<{route}>"));
    }
    let from = if call.from.tag().is_some() {
        call.from
    } else {
        call.from.with_tag(&stack.ids.tag())
    };
    headers.push(HeaderName::From, from);
    headers.push(HeaderName::To, call.to);
    match given.get(&HeaderName::CallId) {
        Some(own) => headers.push(HeaderName::CallId, own),
        None => headers.push(HeaderName::CallId, stack.ids.call_id()),
    }
    let cseq = given
        .cseq()
        .map_or_else(|_| stack.ids.first_cseq(), |cseq| cseq.seq);
    headers.push(HeaderName::CSeq, format_args!("{cseq} {method}"));
    for name in [
        HeaderName::CallId,
        HeaderName::CSeq,
        HeaderName::From,
        HeaderName::To,
        HeaderName::Via,
    ] {
        given.remove(&name);
    }
    let makes_dialog = matches!(method, Method::Invite | Method::Subscribe | Method::Refer);
    if !given.contains(&HeaderName::Contact) && (makes_dialog || call.contact.is_some()) {
        match call.contact {
            Some(uri) => headers.push(HeaderName::Contact, format_args!("<{uri}>")),
            None => headers.push(HeaderName::Contact, stack.contact(&call.flow)),
        }
    }
    headers.extend(&given);
    put_body(headers, &mut request.body, call.body);
    request
}
