//! Which room hears what: events of the endpoint go to whoever owns the session, the
//! subscription or the probe.
//!
//! Deliberately absent: new requests (`entrance`) and what a room makes of an event.

use std::time::Instant;

use sip_proto::endpoint::{
    ClientTx, Event, ServerTx, SessionEvent, SessionId, SubscriptionEvent, SubscriptionId,
};
use sip_proto::message::{Request, Response, StatusCode};

use super::answers::Rejection;
use super::command::SipCommand;
use super::entrance::Door;
use super::focus::Focus;
use super::room_io::RoomInput;

impl Focus {
    pub(super) fn sip_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Arrival { request, flow } => self.at_the_porch(request, flow, now),
            Event::Request { tx, request, flow } => self.arrive(Door::Other(tx), request, flow, now),
            Event::Invite {
                session,
                request,
                flow,
            } => self.arrive(Door::Call(session), request, flow, now),
            Event::Subscribe {
                subscription,
                request,
                flow,
            } => {
                self.arrive(Door::Watch(subscription), request, flow, now);
            }
            Event::Session { session, event } => self.session_event(session, event, now),
            Event::Subscription { subscription, event } => match event {
                SubscriptionEvent::Refreshed { .. } => {
                    if let Some(&room) = self.subscriptions.get(&subscription) {
                        self.tell_room(room, RoomInput::Refreshed { subscription }, now);
                    }
                }
                SubscriptionEvent::Unsubscribed
                | SubscriptionEvent::Expired
                | SubscriptionEvent::NotifyFailed => self.subscription_over(subscription, now),
                // The subscriber's side: a focus subscribes to nothing.
                SubscriptionEvent::Accepted { .. }
                | SubscriptionEvent::Rejected { .. }
                | SubscriptionEvent::Notify { .. }
                | SubscriptionEvent::Terminated { .. } => {}
            },
            Event::Response { tx, response } if response.status.is_final() => {
                self.probed(tx, Some(response.status), now);
            }
            Event::Response { .. } => {}
            Event::Timeout { tx } => self.probed(tx, None, now),
        }
    }

    fn session_event(&mut self, session: SessionId, event: SessionEvent, now: Instant) {
        let over = matches!(
            event,
            SessionEvent::Cancelled | SessionEvent::Failed { .. } | SessionEvent::Terminated { .. }
        );
        if over {
            self.half_open.settled(session);
        } else if matches!(event, SessionEvent::Confirmed { .. }) {
            self.half_open.acknowledged(session);
        }
        match self.sessions.get(&session).copied() {
            Some(room) => {
                if over {
                    self.sessions.remove(&session);
                    self.probes.retain(|_, of| *of != session);
                }
                self.tell_room(room, RoomInput::Session { session, event }, now);
            }
            None if over => self
                .waiting
                .retain(|_, waiting| waiting.door != Door::Call(session)),
            None => self.stray(session, event),
        }
    }

    /// For a call whose room is over: the BYE is on its way.
    fn stray(&mut self, session: SessionId, event: SessionEvent) {
        match event {
            SessionEvent::Request { tx, request } => {
                self.respond(tx, &request, StatusCode::CALL_DOES_NOT_EXIST)
            }
            SessionEvent::ReOffer { .. } => {
                let Rejection { status, headers } = Rejection::new(StatusCode::CALL_DOES_NOT_EXIST);
                self.sip(SipCommand::Refuse {
                    session,
                    status,
                    headers,
                });
            }
            _ => {}
        }
    }

    fn respond(&mut self, tx: ServerTx, request: &Request, status: StatusCode) {
        let response = Response::to(request, status);
        self.sip(SipCommand::Respond { tx, response });
    }

    pub(super) fn subscription_over(&mut self, subscription: SubscriptionId, now: Instant) {
        if let Some(room) = self.subscriptions.remove(&subscription) {
            self.tell_room(room, RoomInput::SubscriptionOver { subscription }, now);
        } else {
            self.waiting
                .retain(|_, waiting| waiting.door != Door::Watch(subscription));
        }
    }

    fn probed(&mut self, tx: ClientTx, status: Option<StatusCode>, now: Instant) {
        let Some(session) = self.probes.remove(&tx) else {
            return;
        };
        if let Some(&room) = self.sessions.get(&session) {
            self.tell_room(room, RoomInput::Probed { session, status }, now);
        }
    }
}
