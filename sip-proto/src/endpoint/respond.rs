//! Incoming responses: matched to their transaction and handed to whom they concern; branches of a fork that
//! answer too are acknowledged and released (RFC 3261 §13.2.2.4).

use std::time::Instant;

use super::event::TerminatedBy;
use super::stack::{ClientUse, Purpose, Usage};
use super::types::Flow;
use super::{Endpoint, Event};
use crate::dialog::{Dialog, DialogId};
use crate::message::{HeaderName, Method, Response};
use crate::transaction::layer::Delivered;
use crate::usage::subscribe::Side;

impl Endpoint {
    pub(super) fn on_response(&mut self, response: Response, flow: Flow, now: Instant) {
        // §8.1.3.3: a second Via means that it was not meant for us.
        if response.headers.list(&HeaderName::Via).nth(1).is_some() {
            return;
        }
        match self
            .stack
            .layer
            .receive_response(&response, &mut self.stack.wire, now)
        {
            Some(delivered) => self.on_delivered(delivered, response, flow, now),
            None => self.on_stray(&response),
        }
    }

    fn on_delivered(
        &mut self,
        delivered: Delivered<ClientUse>,
        response: Response,
        flow: Flow,
        now: Instant,
    ) {
        if self.answer_challenge(&delivered, &response, now) {
            return;
        }
        let code = response.status.code();
        let is_final = response.status.is_final();
        match delivered.owner.purpose {
            Purpose::Invite(id) => {
                let claimed = self.with_session(id, |session, stack| {
                    session.on_invite_response(&delivered, response.clone(), flow, stack, now)
                });
                if !claimed.unwrap_or(false) {
                    self.release_fork(&delivered, &response, flow, now);
                }
            }
            Purpose::Offer(id) => {
                let known = self.with_session(id, |session, stack| {
                    session.on_offer_response(delivered.id, response.clone(), stack, now);
                });
                if known.is_none() {
                    self.release_fork(&delivered, &response, flow, now);
                }
            }
            Purpose::Bye(id) if is_final => {
                self.with_session(id, |session, stack| session.on_bye_done(stack));
            }
            // RFC 4320 §4.1: a 100 to a non-INVITE only quiets the retransmissions.
            Purpose::Application(..) if code == 100 => {}
            Purpose::Application(tx, session) => {
                self.stack.emit(Event::Response { tx, response });
                // §12.2.1.2: the peer no longer knows the dialog.
                if let (481 | 408, Some(id)) = (code, session) {
                    self.with_session(id, |session, stack| {
                        session.on_dialog_failed(TerminatedBy::Timeout, code == 481, stack, now);
                    });
                }
            }
            Purpose::Subscribe(id) => {
                self.with_subscription(id, |subscription, stack| {
                    if let Side::Subscriber(subscriber) = &mut subscription.side {
                        subscriber.on_response(&delivered.request, response, flow, stack, now);
                    }
                });
            }
            Purpose::Notify(id) => {
                self.with_subscription(id, |subscription, stack| {
                    if let Side::Notifier(notifier) = &mut subscription.side {
                        notifier.on_response(Some(&response), stack, now);
                    }
                });
            }
            Purpose::Refresh(id) if is_final => {
                self.with_session(id, |session, stack| {
                    session.on_refresh_response(&response, stack, now);
                });
            }
            Purpose::Bye(_) | Purpose::Refresh(_) | Purpose::Prack(_) | Purpose::Nobody => {}
        }
    }

    /// A response without a transaction: a 2xx to an INVITE may outlive it, its ACK was lost.
    fn on_stray(&mut self, response: &Response) {
        let is_invite = response
            .headers
            .cseq()
            .is_ok_and(|cseq| cseq.method == Method::Invite);
        if !is_invite || !response.status.is_success() {
            return;
        }
        let usage = DialogId::of_response(response).and_then(|id| self.stack.dialogs.get(&id).copied());
        if let Some(Usage::Session(id)) = usage {
            self.with_session(id, |session, stack| session.repeat_ack(response, stack));
        }
    }

    /// A 2xx to an INVITE that no session claims: it gets its ACK, each time it comes, and one BYE.
    fn release_fork(
        &mut self,
        delivered: &Delivered<ClientUse>,
        response: &Response,
        flow: Flow,
        now: Instant,
    ) {
        if !response.status.is_success() || delivered.request.method != Method::Invite {
            return;
        }
        let tag = response
            .headers
            .to_tag()
            .map(|tag| tag.to_string())
            .unwrap_or_default();
        if let Some((ack, flow)) = self.stack.layer.fork_ack(delivered.id, &tag) {
            return self.stack.wire.transmit(flow, ack);
        }
        let Ok(mut dialog) = Dialog::of_client(&delivered.request, response, String::new(), flow) else {
            return;
        };
        if let Some(last) = self.stack.layer.branch_cseq(delivered.id, &tag) {
            dialog.go_on_after(last);
        }
        let hop = dialog.next_hop(self.stack.wire.is_open(&flow));
        let cseq = delivered.request.headers.cseq().map_or(1, |cseq| cseq.seq);
        let mut ack = dialog.ack(cseq);
        for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
            // §22.1: as in the INVITE that is acknowledged.
            ack.headers.copy_from(&delivered.request.headers, &name);
        }
        let ack = self.stack.send_ack(&ack, hop);
        if self.stack.layer.keep_fork_ack(delivered.id, tag, ack, hop) {
            self.stack
                .send(dialog.request(Method::Bye), hop, Purpose::Nobody, now);
        }
    }
}
