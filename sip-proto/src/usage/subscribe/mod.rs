//! Subscriptions: both sides of SUBSCRIBE and NOTIFY (RFC 6665), one subscription a dialog, or the peer's in the dialog
//! of a session, which neither ends the other (RFC 5057).
//!
//! The notifier's side is in `notifier.rs`, the subscriber's in `subscriber.rs`, each with its table. Absent:
//! our own subscriptions in a dialog that is there already, REFER's implicit one (its NOTIFYs are plain requests of a session),
//! suppression by ETag (RFC 5839).

mod notifier;
mod subscriber;

use std::net::IpAddr;
use std::time::Instant;

pub(crate) use notifier::{Notifier, requested};
pub(crate) use subscriber::Subscriber;

use crate::dialog::Dialog;
use crate::endpoint::stack::Stack;

/// Either side of a subscription.
pub(crate) struct Subscription {
    /// The peer that was counted for it.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) side: Side,
}

/// Which side we are.
pub(crate) enum Side {
    Notifier(Box<Notifier>),
    Subscriber(Box<Subscriber>),
}

impl Subscription {
    pub(crate) fn is_over(&self) -> bool {
        match &self.side {
            Side::Notifier(notifier) => notifier.is_over(),
            Side::Subscriber(subscriber) => subscriber.is_over(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, &'static str)> {
        match &self.side {
            Side::Notifier(notifier) => notifier.deadline(),
            Side::Subscriber(subscriber) => subscriber.deadline(),
        }
    }

    pub(crate) fn on_timeout(&mut self, stack: &mut Stack, now: Instant) {
        match &mut self.side {
            Side::Notifier(notifier) => notifier.on_timeout(stack, now),
            Side::Subscriber(subscriber) => subscriber.on_timeout(stack, now),
        }
    }

    /// The next CSeq number for a request that goes out again with credentials.
    pub(crate) fn next_cseq(&mut self) -> Option<u32> {
        match &mut self.side {
            Side::Notifier(notifier) => Some(notifier.dialog.next_cseq()),
            Side::Subscriber(subscriber) => subscriber.dialog.as_mut().map(Dialog::next_cseq),
        }
    }

    /// Takes it out of the dialog table.
    pub(crate) fn leave(&self, stack: &mut Stack) {
        match &self.side {
            Side::Notifier(notifier) if notifier.is_within() => {
                if let Some(others) = stack.within.get_mut(notifier.dialog.id()) {
                    others.retain(|other| *other != notifier.id);
                    if others.is_empty() {
                        stack.within.remove(notifier.dialog.id());
                    }
                }
            }
            Side::Notifier(notifier) => {
                stack.dialogs.remove(notifier.dialog.id());
            }
            Side::Subscriber(subscriber) => {
                stack.half_dialogs.remove(&subscriber.half());
                if let Some(dialog) = &subscriber.dialog {
                    stack.dialogs.remove(dialog.id());
                }
            }
        }
    }
}
