//! What the transaction layer reports unasked: time-outs, transport failures, requests that nobody answered.

use std::time::Instant;

use super::event::TerminatedBy;
use super::stack::{ClientUse, Purpose, ServerUse};
use super::{Endpoint, Event};
use crate::transaction::layer::{ClientId, Notice};
use crate::usage::subscribe::Side;

impl Endpoint {
    pub(super) fn handle_notices(&mut self, now: Instant) {
        while let Some(notice) = self.stack.layer.next_notice() {
            match notice {
                Notice::TimedOut(tx, owner) => self.on_failed(tx, owner, TerminatedBy::Timeout, now),
                Notice::Unreachable(tx, owner) => self.on_failed(tx, owner, TerminatedBy::TransportLost, now),
                Notice::Overdue(tx, owner) => self.on_overdue(tx, owner, now),
                Notice::Abandoned(_, owner) => self.on_abandoned(owner, now),
            }
        }
    }

    /// An INVITE stays provisional. A call is cancelled; a re-INVITE, and what a session left behind, is given up:
    /// nobody may ever answer it, and its transaction would stay for good.
    fn on_overdue(&mut self, tx: ClientId, owner: ClientUse, now: Instant) {
        if let Purpose::Invite(id) = owner.purpose
            && self
                .with_session(id, |session, stack| session.cancel(stack, now))
                .is_some()
        {
            return;
        }
        self.stack.layer.abandon(tx);
        self.on_failed(tx, owner, TerminatedBy::Timeout, now);
    }

    /// A request of ours got no answer; the same as 408 to its user (§8.1.3.1).
    fn on_failed(&mut self, id: ClientId, owner: ClientUse, by: TerminatedBy, now: Instant) {
        match owner.purpose {
            Purpose::Invite(id) => {
                self.with_session(id, |session, stack| session.on_invite_failed(stack, now));
            }
            Purpose::Offer(session) => {
                self.with_session(session, |session, stack| {
                    // One that was left behind with its branch of a fork says nothing about the call.
                    if session.offer_is(id) {
                        session.on_dialog_failed(by, false, stack, now);
                        session.offer_lost(stack, now);
                    }
                });
            }
            Purpose::Refresh(id) => {
                self.with_session(id, |session, stack| {
                    session.on_dialog_failed(by, false, stack, now);
                });
            }
            Purpose::Bye(id) => {
                self.with_session(id, |session, stack| session.on_bye_done(stack));
            }
            Purpose::Application(tx, session) => {
                self.stack.emit(Event::Timeout { tx });
                if let Some(id) = session {
                    self.with_session(id, |session, stack| {
                        session.on_dialog_failed(by, false, stack, now)
                    });
                }
            }
            Purpose::Subscribe(id) => {
                self.with_subscription(id, |subscription, stack| {
                    if let Side::Subscriber(subscriber) = &mut subscription.side {
                        subscriber.on_no_response(stack);
                    }
                });
            }
            Purpose::Notify(id) => {
                self.with_subscription(id, |subscription, stack| {
                    if let Side::Notifier(notifier) = &mut subscription.side {
                        notifier.on_response(None, stack, now);
                    }
                });
            }
            // The called side gives up by itself when its response stays without PRACK.
            Purpose::Prack(_) | Purpose::Nobody => {}
        }
    }

    fn on_abandoned(&mut self, owner: ServerUse, now: Instant) {
        match owner {
            ServerUse::Application(Some(id)) => {
                self.with_session(id, |session, _| session.request_done());
            }
            ServerUse::Offer(id) => {
                self.with_session(id, |session, stack| session.offer_abandoned(stack, now));
            }
            ServerUse::Subscribe(id) => {
                self.with_subscription(id, |subscription, _| {
                    if let Side::Notifier(notifier) = &mut subscription.side {
                        notifier.abandoned();
                    }
                });
            }
            ServerUse::Application(None) | ServerUse::Invite(_) | ServerUse::Answered => {}
        }
    }
}
