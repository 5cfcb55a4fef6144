//! What the application can tell the endpoint to do.

use std::time::Instant;

use super::{
    Body, ClientTx, Endpoint, EndpointError, NotifyState, Outgoing, ServerTx, SessionId, SubscriptionId,
};
use crate::headers::{Event, Reason};
use crate::message::{Headers, Method, Response, StatusCode};

type Done = Result<(), EndpointError>;

impl Endpoint {
    /// Calls: sends an INVITE. Without a body it makes no offer; the 2xx then brings one.
    pub fn invite(&mut self, call: Outgoing, now: Instant) -> Result<SessionId, EndpointError> {
        let _ = (call, now);
        Err(EndpointError::WrongState { command: "invite" })
    }

    /// Answers a new call with a 101–199. `headers` may hold a Contact.
    pub fn ring(&mut self, session: SessionId, status: StatusCode, body: Option<Body>, headers: Headers, now: Instant) -> Done {
        let _ = (session, status, body, headers, now);
        Err(EndpointError::WrongState { command: "ring" })
    }

    /// Answers a new call with 200. The body is the answer, or the offer when the INVITE made none.
    pub fn accept(&mut self, session: SessionId, body: Option<Body>, headers: Headers, now: Instant) -> Done {
        let _ = (session, body, headers, now);
        Err(EndpointError::WrongState { command: "accept" })
    }

    /// Refuses a new call with a 300–699. The session is over; no event follows.
    pub fn reject(&mut self, session: SessionId, status: StatusCode, headers: Headers, now: Instant) -> Done {
        let _ = (session, status, headers, now);
        Err(EndpointError::WrongState { command: "reject" })
    }

    /// Gives up an unanswered call of ours. `Failed` follows, or `Terminated` when an answer crossed the CANCEL.
    pub fn cancel(&mut self, session: SessionId, now: Instant) -> Done {
        let _ = (session, now);
        Err(EndpointError::WrongState { command: "cancel" })
    }

    /// Ends a session in whatever way its state wants: BYE, CANCEL, or 480. `Terminated` by `Local` follows at
    /// once, but for a CANCEL.
    pub fn bye(&mut self, session: SessionId, reason: Option<Reason>, now: Instant) -> Done {
        let _ = (session, reason, now);
        Err(EndpointError::WrongState { command: "bye" })
    }

    /// Makes a new offer by re-INVITE; it waits inside until the dialog is free to send one.
    pub fn reoffer(&mut self, session: SessionId, body: Body, now: Instant) -> Done {
        let _ = (session, body, now);
        Err(EndpointError::WrongState { command: "reoffer" })
    }

    /// Makes a new offer by UPDATE (RFC 3311), which the peer must answer without asking anybody.
    pub fn update(&mut self, session: SessionId, body: Body, now: Instant) -> Done {
        let _ = (session, body, now);
        Err(EndpointError::WrongState { command: "update" })
    }

    /// Accepts a `ReOffer`. The body is the answer, or the offer to a re-INVITE without one.
    pub fn answer(&mut self, session: SessionId, body: Body, now: Instant) -> Done {
        let _ = (session, body, now);
        Err(EndpointError::WrongState { command: "answer" })
    }

    /// Refuses a `ReOffer` with a 300–699.
    pub fn refuse(&mut self, session: SessionId, status: StatusCode, headers: Headers, now: Instant) -> Done {
        let _ = (session, status, headers, now);
        Err(EndpointError::WrongState { command: "refuse" })
    }

    /// Sends the ACK with our answer, after an `Answered` whose INVITE made no offer.
    pub fn ack_with_answer(&mut self, session: SessionId, body: Body, now: Instant) -> Done {
        let _ = (session, body, now);
        Err(EndpointError::WrongState { command: "ack_with_answer" })
    }

    /// Answers a request: `Event::Request` or `SessionEvent::Request`. Build it by `Response::to`; To tag and Server
    /// are added when missing.
    pub fn respond(&mut self, tx: ServerTx, response: Response, now: Instant) -> Done {
        let _ = (response, now);
        Err(EndpointError::UnknownTransaction(tx))
    }

    /// Sends a request outside a dialog: REGISTER, OPTIONS, MESSAGE, ….
    pub fn request(&mut self, method: Method, request: Outgoing, now: Instant) -> Result<ClientTx, EndpointError> {
        let _ = (request, now);
        Err(EndpointError::WrongMethod(method))
    }

    /// Sends a request in a session's dialog: INFO, MESSAGE, OPTIONS, REFER, NOTIFY.
    pub fn request_in_dialog(
        &mut self,
        session: SessionId,
        method: Method,
        headers: Headers,
        body: Option<Body>,
        now: Instant,
    ) -> Result<ClientTx, EndpointError> {
        let _ = (session, headers, body, now);
        Err(EndpointError::WrongMethod(method))
    }

    /// Subscribes to an event package, for `expires` seconds; refreshed by itself until `unsubscribe`.
    pub fn subscribe(&mut self, request: Outgoing, event: Event, expires: u32, now: Instant) -> Result<SubscriptionId, EndpointError> {
        let _ = (request, event, expires, now);
        Err(EndpointError::WrongState { command: "subscribe" })
    }

    /// Ends a subscription of ours. `Terminated` follows with the last NOTIFY, or without one.
    pub fn unsubscribe(&mut self, subscription: SubscriptionId, now: Instant) -> Done {
        let _ = now;
        Err(EndpointError::UnknownSubscription(subscription))
    }

    /// Grants a subscription of the peer's for at most `expires` seconds. `notify` the present state right after.
    pub fn accept_subscription(&mut self, subscription: SubscriptionId, expires: u32, now: Instant) -> Done {
        let _ = (expires, now);
        Err(EndpointError::UnknownSubscription(subscription))
    }

    /// Refuses a subscription of the peer's: 403, 404, 489, ….
    pub fn reject_subscription(&mut self, subscription: SubscriptionId, status: StatusCode, headers: Headers, now: Instant) -> Done {
        let _ = (status, headers, now);
        Err(EndpointError::UnknownSubscription(subscription))
    }

    /// Sends a NOTIFY. While one is unanswered only the newest further one is kept.
    pub fn notify(&mut self, subscription: SubscriptionId, state: NotifyState, body: Option<Body>, now: Instant) -> Done {
        let _ = (state, body, now);
        Err(EndpointError::UnknownSubscription(subscription))
    }
}
