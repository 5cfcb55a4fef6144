//! Incoming SUBSCRIBEs: outside a dialog, and in the dialog of a session (RFC 6665 §4.2.1, RFC 5057).

use std::time::Instant;

use super::stack::{ServerUse, Usage};
use super::types::{Flow, SubscriptionId};
use super::{Endpoint, Event};
use crate::dialog::DialogId;
use crate::message::{HeaderName, Request, StatusCode};
use crate::transaction::layer::reply_flow;
use crate::usage::subscribe::{Notifier, Side, Subscription, requested};

impl Endpoint {
    /// Whether the dialog is, or was, a session's.
    pub(super) fn is_of_session(&self, id: &DialogId) -> bool {
        matches!(self.stack.dialogs.get(id), Some(Usage::Session(_))) || self.stack.within.contains_key(id)
    }

    /// A SUBSCRIBE in the dialog of a session: a refresh of a subscription that lives there, or a new one.
    pub(super) fn on_subscribe_within(&mut self, id: DialogId, request: Request, flow: Flow, now: Instant) {
        let event = request.headers.get(&HeaderName::Event).unwrap_or("").to_owned();
        let others = self.stack.within.get(&id).cloned().unwrap_or_default();
        let known = others.iter().copied().find(|other| {
            matches!(self.subscriptions.get(other), Some(Subscription { side: Side::Notifier(notifier), .. })
                if notifier.is_for(&event))
        });
        if let Some(known) = known {
            return self.subscription_request(known, request, flow, now);
        }
        let Some(Usage::Session(session)) = self.stack.dialogs.get(&id).copied() else {
            return self.turn_away(&request, StatusCode::CALL_DOES_NOT_EXIST, flow);
        };
        if let Some(status) = self.subscribe_fault(&request) {
            return self.turn_away(&request, status, flow);
        }
        let dialog = self.with_session(session, |session, _| session.share_dialog(&id, &request, flow));
        let Some(dialog) = dialog.flatten() else {
            return self.turn_away(&request, StatusCode::SERVER_INTERNAL_ERROR, flow);
        };
        let Some(peer) = self.admit(&request, flow) else {
            return;
        };
        let subscription = SubscriptionId(self.stack.number());
        let reply = reply_flow(&request, flow);
        let owner = ServerUse::Subscribe(subscription);
        let Some(tx) = self.stack.layer.accept(request.clone(), reply, owner, now) else {
            return self.stack.release_peer(peer);
        };
        let side = Side::Notifier(Box::new(Notifier::within(subscription, tx, &request, dialog)));
        let peer = Some(peer);
        self.subscriptions
            .insert(subscription, Subscription { peer, side });
        self.stack.within.entry(id).or_default().push(subscription);
        self.stack.emit(Event::Subscribe {
            subscription,
            request,
            flow,
        });
    }

    pub(super) fn on_subscribe(&mut self, request: Request, flow: Flow, now: Instant) {
        if let Some(status) = self.subscribe_fault(&request) {
            return self.turn_away(&request, status, flow);
        }
        let Some(peer) = self.admit(&request, flow) else {
            return;
        };
        let id = SubscriptionId(self.stack.number());
        let reply = reply_flow(&request, flow);
        let Some(tx) = self
            .stack
            .layer
            .accept(request.clone(), reply, ServerUse::Subscribe(id), now)
        else {
            return self.stack.release_peer(peer);
        };
        match Notifier::asked(id, tx, &request, flow, &mut self.stack, now) {
            Ok(notifier) => {
                let side = Side::Notifier(Box::new(notifier));
                self.subscriptions.insert(
                    id,
                    Subscription {
                        peer: Some(peer),
                        side,
                    },
                );
                self.stack.emit(Event::Subscribe {
                    subscription: id,
                    request,
                    flow,
                });
            }
            Err(error) => {
                tracing::debug!(%error, "SUBSCRIBE makes no dialog");
                let mut response = self.stack.response(&request, StatusCode::BAD_REQUEST);
                response.tag_to(&self.stack.ids.tag());
                self.stack.respond(tx, &response, now);
                self.stack.release_peer(peer);
            }
        }
    }

    fn subscribe_fault(&self, request: &Request) -> Option<StatusCode> {
        if !matches!(request.headers.event(), Ok(Some(_))) {
            return Some(StatusCode::BAD_EVENT);
        }
        let asked = requested(request);
        let brief = asked > 0 && asked < self.stack.config.min_subscription;
        brief.then_some(StatusCode::INTERVAL_TOO_BRIEF)
    }
}
