//! Incoming requests: parsed, checked in the order of RFC 3261 §8.2, matched, and handed to whom they concern.

use std::net::IpAddr;
use std::time::Instant;

use super::limits::{LAST_ANSWERS, LAST_ANSWERS_STEP, RESERVED_FOR_DIALOGS};
use super::stack::{ServerUse, Stack, Usage, WakeUsage};
use super::types::{ConnectionId, Flow, ServerTx, SessionId, SubscriptionId};
use super::{Endpoint, Event};
use crate::dialog::DialogId;
use crate::error::ParseError;
use crate::framing::Frame;
use crate::message::{HeaderName, Headers, Message, Method, Request, Response, StatusCode, parse};
use crate::transaction::layer::{Matched, reply_flow};
use crate::usage::session::{Session, timer};
use crate::usage::subscribe::Side;

/// Seconds after which a client may try again when we are full.
const RETRY_WHEN_FULL: u32 = 10;

impl Endpoint {
    /// One whole message, or what was meant to be one.
    pub(super) fn on_message(&mut self, flow: Flow, bytes: &[u8], now: Instant) {
        match parse(bytes) {
            Ok(Message::Request(request)) => self.on_request(request, flow, now),
            Ok(Message::Response(response)) => self.on_response(response, flow, now),
            Err(error) => self.on_garbage(error, flow),
        }
    }

    /// Bytes of a stream.
    pub(super) fn on_stream(&mut self, connection: ConnectionId, bytes: &[u8], now: Instant) {
        let Some(stream) = self.stack.wire.stream(connection) else {
            return;
        };
        stream.framer.push(bytes);
        loop {
            let Some(stream) = self.stack.wire.stream(connection) else {
                return;
            };
            let flow = stream.flow;
            match stream.framer.next() {
                None => return,
                Some(Ok(Frame::Message(message))) => {
                    stream.messages += 1;
                    self.on_message(flow, &message, now);
                }
                // RFC 5626 §4.4.1: a ping is answered by one line end.
                Some(Ok(Frame::KeepAlivePing)) => self.stack.wire.transmit(flow, b"\r\n".to_vec()),
                Some(Ok(Frame::KeepAlivePong)) => {}
                Some(Err(error)) => {
                    // Where the next message begins is anybody's guess (RFC 4475 §3.1.2.3).
                    stream.closing = Some(now + LAST_ANSWERS);
                    self.on_garbage(error, flow);
                    return self.close_when_answered(connection, now);
                }
            }
        }
    }

    /// Closes a stream that can be read no further, once what was read before has its answers; a peer that sent good
    /// requests before the nonsense is not left without them.
    pub(super) fn close_when_answered(&mut self, connection: ConnectionId, now: Instant) {
        let Some(until) = self
            .stack
            .wire
            .stream(connection)
            .and_then(|stream| stream.closing)
        else {
            return;
        };
        let waited_for = self.stack.layer.owes(connection) || self.stack.wire.holds_arrival(connection);
        if waited_for && now < until {
            let again = until.min(now + LAST_ANSWERS_STEP);
            let wake = WakeUsage::Stream(connection);
            self.stack
                .usages
                .set(wake, Some((again, "last answers of a stream")));
        } else if let Some(flow) = self.stack.wire.close(connection) {
            self.stack.transport_failed(&flow, now);
        }
    }

    /// What cannot be read is answered when enough of a request is left, and never when it is a response.
    fn on_garbage(&mut self, error: ParseError, flow: Flow) {
        let status = error.status();
        tracing::debug!(%error, remote = %flow.remote, "unreadable message");
        let Some(mut request) = error.salvage else { return };
        if !request.headers.contains(&HeaderName::Via) {
            return;
        }
        mark_source(&mut request, &flow);
        let response = self.stack.response(&request, status);
        self.stack.respond_stateless(&request, response, flow);
    }

    fn on_request(&mut self, mut request: Request, flow: Flow, now: Instant) {
        mark_source(&mut request, &flow);
        let matched = self
            .stack
            .layer
            .receive_request(&request, &mut self.stack.wire, now);
        match (matched, &request.method) {
            (Matched::Absorbed, _) => {}
            (_, Method::Ack) => self.on_ack(request, now),
            (_, Method::Cancel) => self.on_cancel(request, flow, now),
            (matched, _) => match refusal(&self.stack, &request, matched) {
                Some(status) => self.turn_away(&request, status, flow),
                None => self.on_good_request(request, flow, now),
            },
        }
    }

    fn on_good_request(&mut self, request: Request, flow: Flow, now: Instant) {
        let in_dialog = request.headers.to_tag().is_some() && request.method != Method::Register;
        match request.method {
            _ if in_dialog => self.on_dialog_request(request, flow, now),
            Method::Bye | Method::Update | Method::Info | Method::Prack | Method::Notify => {
                self.turn_away(&request, StatusCode::CALL_DOES_NOT_EXIST, flow);
            }
            _ if self.stack.config.screened => self.stack.emit(Event::Arrival { request, flow }),
            _ => self.take_in(request, flow, now),
        }
    }

    /// Goes on with the request of an [`Event::Arrival`]: from now on there is a transaction for it.
    pub fn take_in(&mut self, request: Request, flow: Flow, now: Instant) {
        match request.method {
            Method::Invite => self.on_invite(request, flow, now),
            Method::Subscribe => self.on_subscribe(request, flow, now),
            _ => {
                let reply = reply_flow(&request, flow);
                let owner = ServerUse::Application(None);
                if let Some(tx) = self.stack.layer.accept(request.clone(), reply, owner, now) {
                    self.stack.emit(Event::Request {
                        tx: ServerTx(tx.0),
                        request,
                        flow,
                    });
                }
            }
        }
    }

    fn on_dialog_request(&mut self, request: Request, flow: Flow, now: Instant) {
        let Some(id) = DialogId::of_request(&request) else {
            return;
        };
        match self.stack.dialogs.get(&id).copied() {
            _ if request.method == Method::Subscribe && self.is_of_session(&id) => {
                self.on_subscribe_within(id, request, flow, now);
            }
            Some(Usage::Session(session)) => {
                self.with_session(session, |session, stack| {
                    session.on_request(request, flow, stack, now)
                });
            }
            Some(Usage::Subscription(subscription)) => {
                self.subscription_request(subscription, request, flow, now);
            }
            None => {
                let half = self.stack.half_dialogs.get(&(id.call_id, id.local_tag)).copied();
                match half {
                    // RFC 6665 §4.1.2.4: the NOTIFY may come before the 2xx.
                    Some(subscription) if request.method == Method::Notify => {
                        self.subscription_request(subscription, request, flow, now);
                    }
                    _ => self.turn_away(&request, StatusCode::CALL_DOES_NOT_EXIST, flow),
                }
            }
        }
    }

    pub(super) fn subscription_request(
        &mut self,
        id: SubscriptionId,
        request: Request,
        flow: Flow,
        now: Instant,
    ) {
        self.with_subscription(id, |subscription, stack| match &mut subscription.side {
            Side::Notifier(notifier) => notifier.on_request(request, flow, stack, now),
            Side::Subscriber(subscriber) => subscriber.on_request(request, flow, stack, now),
        });
    }

    fn on_ack(&mut self, request: Request, now: Instant) {
        let usage = DialogId::of_request(&request).and_then(|id| self.stack.dialogs.get(&id).copied());
        if let Some(Usage::Session(session)) = usage {
            self.with_session(session, |session, stack| session.on_ack(request, stack, now));
        }
    }

    /// §9.2: the CANCEL has its 200 whatever becomes of the INVITE.
    fn on_cancel(&mut self, request: Request, flow: Flow, now: Instant) {
        let Some((_, owner)) = self.stack.layer.cancelled(&request) else {
            return self.turn_away(&request, StatusCode::CALL_DOES_NOT_EXIST, flow);
        };
        let mut response = self.stack.response(&request, StatusCode::OK);
        let headers = request.headers.clone();
        match owner {
            ServerUse::Invite(id) => {
                let tag = self
                    .sessions
                    .get(&id)
                    .and_then(Session::local_tag)
                    .map(crate::ids::Tag::new);
                response.tag_to(&tag.unwrap_or_else(|| self.stack.ids.tag()));
                self.stack.answer_now(request, response, flow, now);
                self.with_session(id, |session, stack| session.on_cancel(&headers, stack, now));
            }
            ServerUse::Offer(id) => {
                self.stack.answer_now(request, response, flow, now);
                self.with_session(id, |session, stack| session.on_offer_cancel(stack, now));
            }
            _ => self.stack.answer_now(request, response, flow, now),
        }
    }

    fn on_invite(&mut self, request: Request, flow: Flow, now: Instant) {
        let Some(peer) = self.admit(&request, flow) else {
            return;
        };
        let id = SessionId(self.stack.number());
        let reply = reply_flow(&request, flow);
        let Some(tx) = self
            .stack
            .layer
            .accept(request.clone(), reply, ServerUse::Invite(id), now)
        else {
            return self.stack.release_peer(peer);
        };
        match Session::incoming(id, tx, &request, flow, &mut self.stack, now) {
            Ok(mut session) => {
                session.peer = Some(peer);
                self.stack
                    .respond(tx, &Response::to(&request, StatusCode::TRYING), now);
                self.sessions.insert(id, session);
                self.with_session(id, |_, _| ());
                self.stack.emit(Event::Invite {
                    session: id,
                    request,
                    flow,
                });
            }
            Err(error) => {
                tracing::debug!(%error, "INVITE makes no dialog");
                let mut response = self.stack.response(&request, StatusCode::BAD_REQUEST);
                response.tag_to(&self.stack.ids.tag());
                self.stack.respond(tx, &response, now);
                self.stack.release_peer(peer);
            }
        }
    }

    /// Counts one more usage of a peer, or tells it that it has too many.
    pub(super) fn admit(&mut self, request: &Request, flow: Flow) -> Option<IpAddr> {
        let peer = flow.remote.ip();
        if self.stack.admit_peer(peer) {
            return Some(peer);
        }
        self.turn_away(request, StatusCode::SERVICE_UNAVAILABLE, flow);
        None
    }

    /// Answers the request of an [`Event::Arrival`] without keeping anything (RFC 3261 §8.2.7): no 100, no
    /// retransmission; the sender's own retransmission is answered alike.
    pub fn refuse_arrival(&mut self, request: &Request, status: StatusCode, headers: &Headers, flow: Flow) {
        let mut response = self.stack.response(request, status);
        response.headers.extend(headers);
        self.answer_arrival(request, response, flow);
    }

    /// The same with an answer that the application made.
    pub fn answer_arrival(&mut self, request: &Request, mut response: Response, flow: Flow) {
        self.stack.sign(&mut response);
        self.stack.respond_stateless(request, response, flow);
    }

    pub(super) fn turn_away(&mut self, request: &Request, status: StatusCode, flow: Flow) {
        let mut response = self.stack.response(request, status);
        match status {
            StatusCode::SERVICE_UNAVAILABLE => response.headers.push(HeaderName::RetryAfter, RETRY_WHEN_FULL),
            StatusCode::SESSION_INTERVAL_TOO_SMALL => {
                let shortest = timer::shortest(&self.stack.config);
                response.headers.push(HeaderName::MinSe, shortest);
            }
            StatusCode::INTERVAL_TOO_BRIEF => {
                response
                    .headers
                    .push(HeaderName::MinExpires, self.stack.config.min_subscription);
            }
            StatusCode::BAD_EVENT if !self.stack.config.allow_events.is_empty() => {
                response
                    .headers
                    .push(HeaderName::AllowEvents, self.stack.config.allow_events.join(", "));
            }
            _ => {}
        }
        self.stack.respond_stateless(request, response, flow);
    }
}

/// What is wrong with a new request, in the order of §8.2.
fn refusal(stack: &Stack, request: &Request, matched: Matched) -> Option<StatusCode> {
    if !stack.config.allow.contains(&request.method) {
        let unknown = matches!(request.method, Method::Other(_));
        return Some(if unknown {
            StatusCode::NOT_IMPLEMENTED
        } else {
            StatusCode::METHOD_NOT_ALLOWED
        });
    }
    if !request.uri.is_sip() {
        return Some(StatusCode::UNSUPPORTED_URI_SCHEME);
    }
    if matched == Matched::Merged {
        return Some(StatusCode::LOOP_DETECTED);
    }
    if !stack.unsupported(request).is_empty() {
        return Some(StatusCode::BAD_EXTENSION);
    }
    if timer::is_too_short(stack, request) {
        return Some(StatusCode::SESSION_INTERVAL_TOO_SMALL);
    }
    let most = stack.config.max_transactions;
    let within_dialog = request.headers.to_tag().is_some();
    let free_for_all = most - most / RESERVED_FOR_DIALOGS;
    let full = stack.layer.server_count() >= if within_dialog { most } else { free_for_all };
    full.then_some(StatusCode::SERVICE_UNAVAILABLE)
}

/// Writes into the top Via where the request really came from (§18.2.1, RFC 3581 §4).
fn mark_source(request: &mut Request, flow: &Flow) {
    let Ok(mut via) = request.headers.top_via() else {
        return;
    };
    let wants_port = via.params.contains("rport");
    let differs = via
        .host
        .ip()
        .is_none_or(|ip| ip.to_canonical() != flow.remote.ip().to_canonical());
    if !wants_port && !differs {
        return;
    }
    via.set_received(flow.remote.ip());
    if wants_port {
        via.set_rport(flow.remote.port());
    }
    request.headers.remove_first(&HeaderName::Via);
    request.headers.push_front(HeaderName::Via, via);
}
