//! What the application can tell the endpoint to do.

use std::time::Instant;

use super::stack::{Purpose, ServerUse, Stack, put_body};
use super::{
    Body, ClientTx, Endpoint, EndpointError, NotifyState, Outgoing, ServerTx, SessionId, SubscriptionId,
};
use crate::headers::{Event, Reason};
use crate::message::{HeaderName, Headers, Method, Response, StatusCode};
use crate::transaction::layer::ServerId;
use crate::usage::session::{Session, outgoing};
use crate::usage::subscribe::{Side, Subscriber, Subscription};

type Done = Result<(), EndpointError>;

impl Endpoint {
    /// Calls: sends an INVITE. Without a body it makes no offer; the 2xx then brings one.
    pub fn invite(&mut self, call: Outgoing, now: Instant) -> Result<SessionId, EndpointError> {
        self.check_room()?;
        let id = SessionId(self.stack.number());
        let session = Session::call(id, call, &mut self.stack, now);
        self.sessions.insert(id, session);
        self.with_session(id, |_, _| ());
        Ok(id)
    }

    /// Answers a new call with a 101–199. `headers` may hold a Contact, and `Require: 100rel` when the response is to be
    /// reliable (RFC 3262) if the caller supports that; it always is when the caller requires it. The body of a
    /// reliable one is the answer, or the offer when the INVITE made none: `ProvisionalAcked` follows.
    pub fn ring(
        &mut self,
        session: SessionId,
        status: StatusCode,
        body: Option<Body>,
        headers: Headers,
        now: Instant,
    ) -> Done {
        self.on_session(session, |session, stack| {
            session.ring(status, body, headers, stack, now)
        })
    }

    /// Answers a new call with 200. The body is the answer, or the offer when the INVITE made none; it is left out
    /// when a reliable provisional response carried it.
    pub fn accept(&mut self, session: SessionId, body: Option<Body>, headers: Headers, now: Instant) -> Done {
        self.on_session(session, |session, stack| {
            session.accept(body, headers, stack, now)
        })
    }

    /// Refuses a new call with a 300–699. The session is over; no event follows.
    pub fn reject(&mut self, session: SessionId, status: StatusCode, headers: Headers, now: Instant) -> Done {
        self.on_session(session, |session, stack| {
            session.reject(status, headers, stack, now)
        })
    }

    /// Gives up an unanswered call of ours. `Failed` follows, or `Terminated` when an answer crossed the CANCEL.
    pub fn cancel(&mut self, session: SessionId, now: Instant) -> Done {
        self.on_session(session, |session, stack| session.cancel(stack, now))
    }

    /// Ends a session in whatever way its state wants: BYE, CANCEL, or 480. `Terminated` by `Local` follows at
    /// once, but for a CANCEL.
    pub fn bye(&mut self, session: SessionId, reason: Option<Reason>, now: Instant) -> Done {
        self.on_session(session, |session, stack| session.bye(reason, stack, now))
    }

    /// Makes a new offer by re-INVITE (before the 2xx by UPDATE or PRACK, or right after it); it waits inside until the dialog is free to send one.
    pub fn reoffer(&mut self, session: SessionId, body: Body, now: Instant) -> Done {
        self.on_session(session, |session, stack| {
            session.reoffer("reoffer", Method::Invite, body, stack, now)
        })
    }

    /// Makes a new offer by UPDATE (RFC 3311), which the peer must answer without asking anybody;
    /// by re-INVITE when the peer's Allow does not name UPDATE.
    pub fn update(&mut self, session: SessionId, body: Body, now: Instant) -> Done {
        self.on_session(session, |session, stack| {
            session.reoffer("update", Method::Update, body, stack, now)
        })
    }

    /// Accepts a `ReOffer`. The body is the answer, or the offer to a re-INVITE without one.
    pub fn answer(&mut self, session: SessionId, body: Body, now: Instant) -> Done {
        self.on_session(session, |session, stack| session.answer(body, stack, now))
    }

    /// Refuses a `ReOffer` with a 300–699.
    pub fn refuse(&mut self, session: SessionId, status: StatusCode, headers: Headers, now: Instant) -> Done {
        self.on_session(session, |session, stack| {
            session.refuse(status, &headers, stack, now)
        })
    }

    /// Sends the ACK with our answer, after an `Answered` whose INVITE made no offer; or the PRACK, after a `Progress`
    /// that brought the offer reliably.
    pub fn ack_with_answer(&mut self, session: SessionId, body: Body, now: Instant) -> Done {
        self.on_session(session, |session, stack| {
            session.ack_with_answer(body, stack, now)
        })
    }

    /// Answers a request: `Event::Request` or `SessionEvent::Request`. Build it by `Response::to`; To tag and Server
    /// are added when missing.
    pub fn respond(&mut self, tx: ServerTx, mut response: Response, now: Instant) -> Done {
        let id = ServerId(tx.0);
        let Some(ServerUse::Application(session)) = self.stack.layer.server_owner(id) else {
            return Err(EndpointError::UnknownTransaction(tx));
        };
        let status = response.status;
        // RFC 4320 §4: to a non-INVITE only the endpoint sends a 100, and nobody a 408.
        if status.is_provisional() || status == StatusCode::REQUEST_TIMEOUT {
            return Err(EndpointError::WrongStatus {
                command: "respond",
                status: status.code(),
            });
        }
        response.tag_to(&self.stack.ids.tag());
        self.stack.sign(&mut response);
        if !self.stack.respond(id, &response, now) {
            return Err(EndpointError::UnknownTransaction(tx));
        }
        if let Some(session) = session {
            self.with_session(session, |session, _| session.request_done());
        }
        Ok(())
    }

    /// Sends a request outside a dialog: REGISTER, OPTIONS, MESSAGE, ….
    pub fn request(
        &mut self,
        method: Method,
        request: Outgoing,
        now: Instant,
    ) -> Result<ClientTx, EndpointError> {
        if matches!(
            method,
            Method::Invite | Method::Ack | Method::Cancel | Method::Bye | Method::Subscribe
        ) {
            return Err(EndpointError::WrongMethod(method));
        }
        self.check_room()?;
        let tx = ClientTx(self.stack.number());
        let flow = request.flow;
        let request = outgoing(method, request, &mut self.stack);
        self.stack
            .send(request, flow, Purpose::Application(tx, None), now);
        Ok(tx)
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
        use Method::{Ack, Bye, Cancel, Invite, Prack, Subscribe, Update};
        if matches!(method, Invite | Ack | Cancel | Bye | Update | Prack | Subscribe) {
            return Err(EndpointError::WrongMethod(method));
        }
        self.check_room()?;
        let (mut request, flow) =
            self.on_session(session, |session, stack| session.request_in_dialog(method, stack))?;
        request.headers.extend(&headers);
        put_body(&mut request.headers, &mut request.body, body);
        let tx = ClientTx(self.stack.number());
        self.stack
            .send(request, flow, Purpose::Application(tx, Some(session)), now);
        Ok(tx)
    }

    /// Subscribes to an event package, for `expires` seconds; refreshed by itself until `unsubscribe`.
    pub fn subscribe(
        &mut self,
        request: Outgoing,
        event: Event,
        expires: u32,
        now: Instant,
    ) -> Result<SubscriptionId, EndpointError> {
        self.check_room()?;
        let id = SubscriptionId(self.stack.number());
        let flow = request.flow;
        let mut request = outgoing(Method::Subscribe, request, &mut self.stack);
        request.headers.set(HeaderName::Event, event);
        let subscriber = Subscriber::start(id, request, flow, expires, &mut self.stack, now);
        let side = Side::Subscriber(Box::new(subscriber));
        self.subscriptions.insert(id, Subscription { peer: None, side });
        self.with_subscription(id, |_, _| ());
        Ok(id)
    }

    /// Ends a subscription of ours. `Terminated` follows with the last NOTIFY, or without one.
    pub fn unsubscribe(&mut self, subscription: SubscriptionId, now: Instant) -> Done {
        self.on_subscription(subscription, |side, stack| match side {
            Side::Subscriber(subscriber) => {
                subscriber.leave(stack, now);
                Ok(())
            }
            Side::Notifier(_) => Err(EndpointError::WrongState {
                command: "unsubscribe",
            }),
        })
    }

    /// Grants a subscription of the peer's for at most `expires` seconds. `notify` the present state right after.
    pub fn accept_subscription(&mut self, subscription: SubscriptionId, expires: u32, now: Instant) -> Done {
        self.on_subscription(subscription, |side, stack| match side {
            Side::Notifier(notifier) => notifier.accept(expires, stack, now),
            Side::Subscriber(_) => Err(EndpointError::WrongState {
                command: "accept_subscription",
            }),
        })
    }

    /// Refuses a subscription of the peer's: 403, 404, 489, ….
    pub fn reject_subscription(
        &mut self,
        subscription: SubscriptionId,
        status: StatusCode,
        headers: Headers,
        now: Instant,
    ) -> Done {
        self.on_subscription(subscription, |side, stack| match side {
            Side::Notifier(notifier) => notifier.reject(status, headers, stack, now),
            Side::Subscriber(_) => Err(EndpointError::WrongState {
                command: "reject_subscription",
            }),
        })
    }

    /// Sends a NOTIFY. While one is unanswered only the newest further one is kept.
    pub fn notify(
        &mut self,
        subscription: SubscriptionId,
        state: NotifyState,
        body: Option<Body>,
        now: Instant,
    ) -> Done {
        self.on_subscription(subscription, |side, stack| match side {
            Side::Notifier(notifier) => notifier.notify(state, body, stack, now),
            Side::Subscriber(_) => Err(EndpointError::WrongState { command: "notify" }),
        })
    }

    fn on_session<R>(
        &mut self,
        id: SessionId,
        work: impl FnOnce(&mut Session, &mut Stack) -> Result<R, EndpointError>,
    ) -> Result<R, EndpointError> {
        self.with_session(id, work)
            .unwrap_or(Err(EndpointError::UnknownSession(id)))
    }

    fn on_subscription(
        &mut self,
        id: SubscriptionId,
        work: impl FnOnce(&mut Side, &mut Stack) -> Result<(), EndpointError>,
    ) -> Result<(), EndpointError> {
        self.with_subscription(id, |subscription, stack| work(&mut subscription.side, stack))
            .unwrap_or(Err(EndpointError::UnknownSubscription(id)))
    }

    fn check_room(&self) -> Result<(), EndpointError> {
        if self.stack.layer.client_count() >= self.stack.config.max_transactions {
            return Err(EndpointError::Limit("client transactions"));
        }
        Ok(())
    }
}
