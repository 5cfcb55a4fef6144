//! One call: INVITE either way, offer and answer, holds, the end.
//!
//! | state | what happens | next |
//! |---|---|---|
//! | Calling | 101–199 | Calling; sound before the answer where it carries SDP |
//! | Calling | 2xx | Up; the roster is watched where the Contact has `isfocus` |
//! | Calling | 3xx | Calling, to the Contact, five times at most |
//! | Calling | 3xx to another host | over, until `follow` |
//! | Calling | other, none | over |
//! | Incoming | `pick_up` | Answering |
//! | Answering | ACK | Up |
//! | Up | re-INVITE, UPDATE | Up, changed in place |
//! | any | BYE, CANCEL, time-out, `hang_up` | over |
//!
//! Deliberately absent: forking (the endpoint ends surplus dialogs). Holds of our own are in [`super::hold`].

use std::time::Instant;

use sip_proto::endpoint::{Body, ServerTx, SessionEvent, SessionId, TerminatedBy};
use sip_proto::headers::{NameAddr, Reason};
use sip_proto::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use sip_proto::sdp::offer_answer::{AnswerError, LocalMedia, Negotiated, OfferAnswer, Refusal, SrtpPolicy};
use sip_proto::sdp::{self, Direction};
use sip_proto::uri::Uri;

use super::event::{CallError, EndReason, PhoneEvent};
use super::hold::OwnHold;
use super::phone::{Phone, log_misuse};
use crate::limits;

/// The one call.
pub(super) struct Call {
    pub(super) session: SessionId,
    target: String,
    state: State,
    pub(super) media: LocalMedia,
    pub(super) negotiation: OfferAnswer,
    held: bool,
    pub(super) own: OwnHold,
    /// Our offer went out in a reliable 180, because the INVITE had none (RFC 3262 §5).
    offered_early: bool,
    /// What came of that before the call was taken: until then no microphone is open.
    agreed: Option<Negotiated>,
    redirections: u8,
    /// Hung up before the answer: nothing is tried any more.
    cancelled: bool,
}

/// A call that was sent on to another host, which the driver has to find.
pub(super) struct Redirect {
    target: Uri,
    srtp: SrtpPolicy,
    redirections: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Calling,
    Incoming,
    Answering,
    Up,
}

impl Call {
    /// Whether the call stands, with nothing left to answer for.
    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }
}

impl Phone {
    /// Calls; [`PhoneEvent::Calling`] and the rest follow.
    pub fn dial(&mut self, target: &Uri, now: Instant) -> Result<(), CallError> {
        if self.call.is_some() {
            return Err(CallError::Busy);
        }
        let media = self.media.clone().ok_or(CallError::NoMedia)?;
        self.invite(target, media, 0, now)?;
        self.drain(now);
        Ok(())
    }

    /// Takes the call that rings.
    pub fn pick_up(&mut self, now: Instant) -> Result<(), CallError> {
        let Some(call) = self.call.as_mut().filter(|call| call.state == State::Incoming) else {
            return Err(CallError::NoCall);
        };
        let session = call.session;
        if call.offered_early {
            call.state = State::Answering;
            let agreed = call.agreed.take();
            self.endpoint.accept(session, None, Headers::new(), now)?;
            if let Some(agreed) = agreed {
                self.media(agreed);
            }
            self.drain(now);
            return Ok(());
        }
        let offered = call.negotiation.is_stable();
        let body = if offered {
            call.negotiation.create_offer(&call.media)?.to_string()
        } else {
            String::new()
        };
        if offered {
            // RFC 3261 §13.3.1.4: no offer in the INVITE, so ours is in the 200 and the answer in the ACK.
            call.state = State::Answering;
            self.endpoint
                .accept(session, Some(Body::sdp(body)), Headers::new(), now)?;
        } else {
            match call.negotiation.create_answer(&call.media) {
                Ok((answer, negotiated)) => {
                    call.state = State::Answering;
                    let body = Body::sdp(answer.to_string());
                    self.endpoint.accept(session, Some(body), Headers::new(), now)?;
                    self.media(negotiated);
                }
                Err(refusal) => {
                    let (status, headers) = refused(&refusal);
                    log_misuse("reject", self.endpoint.reject(session, status, headers, now));
                    self.end(
                        EndReason::NoMedia {
                            why: refusal.to_string(),
                        },
                        now,
                    );
                }
            }
        }
        self.drain(now);
        Ok(())
    }

    /// Goes on with a call that was sent to another host ([`PhoneEvent::Redirected`]); the flow leads there now.
    pub fn follow(&mut self, now: Instant) -> Result<(), CallError> {
        let redirect = self.redirect.take().ok_or(CallError::NoCall)?;
        let mut media = self.media.clone().ok_or(CallError::NoMedia)?;
        media.srtp = redirect.srtp;
        self.away = true;
        self.invite(&redirect.target, media, redirect.redirections, now)?;
        self.drain(now);
        Ok(())
    }

    /// Ends the call in whatever way its state wants.
    pub fn hang_up(&mut self, now: Instant) {
        if self.redirect.take().is_some() {
            self.tell(PhoneEvent::Ended(EndReason::Local));
        }
        let Some(call) = &mut self.call else { return };
        call.cancelled = true;
        let (session, state) = (call.session, call.state);
        self.unwatch(now);
        match state {
            State::Calling => {
                // `Failed` follows the CANCEL, or `Terminated` where an answer crossed it.
                log_misuse("cancel", self.endpoint.cancel(session, now));
            }
            State::Incoming => {
                let status = StatusCode::BUSY_HERE;
                log_misuse(
                    "reject",
                    self.endpoint.reject(session, status, Headers::new(), now),
                );
                self.end(EndReason::Local, now);
            }
            State::Answering | State::Up => {
                log_misuse("bye", self.endpoint.bye(session, None, now));
            }
        }
        self.drain(now);
    }

    /// Asks whether the other side is still there (OPTIONS in the dialog). If it is not, the call ends.
    pub fn probe(&mut self, now: Instant) {
        let Some(session) = self
            .call
            .as_ref()
            .filter(|call| call.state == State::Up)
            .map(|call| call.session)
        else {
            return;
        };
        let sent = self
            .endpoint
            .request_in_dialog(session, Method::Options, Headers::new(), None, now);
        log_misuse("request_in_dialog", sent.map(drop));
        self.drain(now);
    }

    fn invite(
        &mut self,
        target: &Uri,
        media: LocalMedia,
        redirections: u8,
        now: Instant,
    ) -> Result<(), CallError> {
        let mut negotiation = OfferAnswer::new(self.ids.below(u64::MAX)).with_keys(self.ids.seed());
        let offer = negotiation.create_offer(&media)?;
        let mut request = self.outgoing(target.clone(), NameAddr::new(target.clone()), Headers::new());
        request.body = Some(Body::sdp(offer.to_string()));
        let session = self.endpoint.invite(request, now)?;
        self.call = Some(Call {
            session,
            target: target.to_string(),
            state: State::Calling,
            media,
            negotiation,
            held: false,
            own: OwnHold::default(),
            offered_early: false,
            agreed: None,
            redirections,
            cancelled: false,
        });
        self.tell(PhoneEvent::Calling {
            target: target.to_string(),
        });
        Ok(())
    }

    pub(super) fn on_invite(&mut self, session: SessionId, request: &Request, now: Instant) {
        let refuse = |phone: &mut Self, status: StatusCode, headers: Headers| {
            log_misuse("reject", phone.endpoint.reject(session, status, headers, now));
        };
        let Some(media) = self.media.clone() else {
            return refuse(self, StatusCode::TEMPORARILY_UNAVAILABLE, Headers::new());
        };
        if self.call.is_some() {
            return refuse(self, StatusCode::BUSY_HERE, Headers::new());
        }
        let mut negotiation = OfferAnswer::new(self.ids.below(u64::MAX)).with_keys(self.ids.seed());
        if !request.body.is_empty() {
            let is_sdp = request
                .headers
                .content_type()
                .is_some_and(|kind| kind.is(sdp::CONTENT_TYPE));
            if !is_sdp {
                let mut headers = Headers::new();
                headers.push(HeaderName::Accept, sdp::CONTENT_TYPE);
                return refuse(self, StatusCode::UNSUPPORTED_MEDIA_TYPE, headers);
            }
            let offer = sdp::parse(&request.body).map_err(Refusal::from);
            if let Err(refusal) = offer.and_then(|offer| negotiation.receive_offer(offer)) {
                let (status, headers) = refused(&refusal);
                return refuse(self, status, headers);
            }
        }
        let from = request
            .headers
            .from()
            .map_or_else(|_| "unknown".to_owned(), |from| caller(&from));
        self.call = Some(Call {
            session,
            target: from.clone(),
            state: State::Incoming,
            media,
            negotiation,
            held: false,
            own: OwnHold::default(),
            offered_early: false,
            agreed: None,
            redirections: 0,
            cancelled: false,
        });
        self.tell(PhoneEvent::Incoming {
            from,
            answered: self.answer,
        });
        if self.answer {
            if let Err(error) = self.pick_up(now) {
                tracing::error!(%error, "the call was not taken");
                self.hang_up(now);
            }
        } else {
            let required = request.headers.tokens(&HeaderName::Require);
            let reliable = required.iter().any(|tag| tag.eq_ignore_ascii_case("100rel"));
            let body = (reliable && request.body.is_empty())
                .then(|| self.early_offer())
                .flatten();
            let rung = self
                .endpoint
                .ring(session, StatusCode::RINGING, body, Headers::new(), now);
            log_misuse("ring", rung);
        }
    }

    /// RFC 3262 §5: the first reliable answer to an INVITE without an offer makes one; its answer is in the PRACK.
    fn early_offer(&mut self) -> Option<Body> {
        let call = self.call.as_mut()?;
        let offer = call.negotiation.create_offer(&call.media).ok()?;
        call.offered_early = true;
        Some(Body::sdp(offer.to_string()))
    }

    /// The PRACK of our 180 came.
    fn on_prack(&mut self, body: &[u8], now: Instant) {
        let Some(call) = self.call.as_mut().filter(|call| call.offered_early) else {
            return;
        };
        if call.negotiation.is_stable() {
            return;
        }
        if call.state == State::Answering {
            if !self.take_answer(body, now) {
                self.no_media("the answer in the PRACK does not fit our offer", now);
            }
            return;
        }
        let agreed = sdp::parse(body)
            .ok()
            .and_then(|answer| call.negotiation.receive_answer(answer).ok());
        if agreed.is_some() {
            call.agreed = agreed;
            return;
        }
        let session = call.session;
        let status = StatusCode::NOT_ACCEPTABLE_HERE;
        log_misuse(
            "reject",
            self.endpoint.reject(session, status, Headers::new(), now),
        );
        let why = "the answer in the PRACK does not fit our offer".to_owned();
        self.end(EndReason::NoMedia { why }, now);
    }

    pub(super) fn on_session(&mut self, session: SessionId, event: SessionEvent, now: Instant) {
        if self.call.as_ref().is_none_or(|call| call.session != session) {
            return;
        }
        match event {
            SessionEvent::Progress { response } => {
                self.tell(PhoneEvent::Ringing {
                    status: response.status.code(),
                });
                if !response.body.is_empty() {
                    self.take_answer(&response.body, now);
                }
            }
            SessionEvent::Answered { response } => self.on_answered(&response, now),
            SessionEvent::Confirmed { body, .. } => {
                if !body.is_empty() && !self.take_answer(&body, now) {
                    return self.no_media("the answer in the ACK does not fit our offer", now);
                }
                let Some(call) = &mut self.call else { return };
                call.state = State::Up;
                let room = call.target.clone();
                self.tell(PhoneEvent::Joined {
                    room,
                    focus: false,
                    token: None,
                });
            }
            SessionEvent::ReOffer { request } => self.on_reoffer(&request, now),
            SessionEvent::ReOfferAcked { body, .. } => {
                if body.is_empty() || !self.take_answer(&body, now) {
                    tracing::warn!("the peer's answer does not fit; the call stays as it was");
                    // Or every later offer would be a glare.
                    if let Some(call) = &mut self.call {
                        call.negotiation.rollback();
                    }
                }
                self.after_peers_exchange(now);
            }
            SessionEvent::ReAnswered { response } => self.on_reanswered(&response, now),
            SessionEvent::ReRejected { response } => self.on_rerejected(response.status),
            SessionEvent::ReUnanswered => self.on_rerejected(StatusCode::REQUEST_TIMEOUT),
            SessionEvent::Request { tx, request } => self.on_request_in_call(tx, &request, now),
            SessionEvent::ReOfferCancelled => {
                if let Some(call) = &mut self.call {
                    call.negotiation.rollback();
                }
                self.after_peers_exchange(now);
            }
            SessionEvent::ProvisionalAcked { body, .. } => self.on_prack(&body, now),
            SessionEvent::Refreshed { response } => self.on_refreshed(&response.body),
            SessionEvent::Cancelled => self.end(
                EndReason::Peer {
                    text: None,
                    cause: None,
                },
                now,
            ),
            SessionEvent::Failed { response } => self.on_failed(response, now),
            SessionEvent::Terminated { by, reason } => {
                let reason = match by {
                    TerminatedBy::Local => EndReason::Local,
                    TerminatedBy::Peer => peer_reason(reason.as_ref()),
                    TerminatedBy::Timeout | TerminatedBy::TransportLost | TerminatedBy::AckTimeout => {
                        EndReason::Vanished
                    }
                };
                self.end(reason, now);
            }
        }
    }

    fn on_answered(&mut self, response: &Response, now: Instant) {
        if !self.take_answer(&response.body, now) {
            return self.no_media("the answer does not fit our offer", now);
        }
        let contact = response
            .headers
            .contacts()
            .ok()
            .and_then(|contacts| contacts.first().cloned());
        // RFC 4579 §5.1: isfocus is a parameter of the Contact header; some put it into the URI.
        let focus = contact
            .as_ref()
            .filter(|contact| contact.params.contains("isfocus") || contact.uri.params.contains("isfocus"))
            .map(|contact| contact.uri.clone());
        let infos = response.headers.call_infos();
        let token = infos.iter().find(|info| info.purpose() == Some("meet-api"));
        let token = token.and_then(|info| info.params.get("token")).map(str::to_owned);
        let Some(call) = &mut self.call else { return };
        call.state = State::Up;
        let room = focus.as_ref().map_or_else(|| call.target.clone(), Uri::to_string);
        self.tell(PhoneEvent::Joined {
            room,
            focus: focus.is_some(),
            token,
        });
        if let Some(focus) = focus {
            self.watch(focus, now);
        }
    }

    fn on_failed(&mut self, response: Option<Response>, now: Instant) {
        let Some(call) = &self.call else { return };
        let Some(response) = response else {
            return self.end(EndReason::NoAnswer, now);
        };
        let (target, redirections) = (call.target.clone(), call.redirections);
        let status = response.status.code();
        let again = without_keys(call, status);
        if call.cancelled {
            // The refusal or redirection crossed our CANCEL.
            return self.end(EndReason::Local, now);
        }
        if response.status.is_redirection() && redirections < limits::REDIRECTIONS {
            // RFC 3261 §8.1.3.4: the first contact is tried. Another host is the driver's to find (RFC 3263).
            let contact = response
                .headers
                .contacts()
                .ok()
                .and_then(|contacts| contacts.first().cloned());
            if let Some(contact) = contact.filter(|contact| contact.uri.is_sip()) {
                let media = call.media.clone();
                self.call = None;
                if !self.leads_to(&contact.uri) {
                    let target = contact.uri;
                    self.redirect = Some(Redirect {
                        target: target.clone(),
                        srtp: media.srtp,
                        redirections: redirections + 1,
                    });
                    return self.tell(PhoneEvent::Redirected { target });
                }
                match self.invite(&contact.uri, media, redirections + 1, now) {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "the redirected call was not made"),
                }
            }
        }
        if let Some((target, media)) = again {
            self.call = None;
            match self.invite(&target, media, redirections, now) {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "the call was not made again"),
            }
        }
        let reason = if status == StatusCode::REQUEST_TERMINATED.code() {
            EndReason::Local
        } else {
            EndReason::Refused {
                target,
                status,
                reason: response.reason,
            }
        };
        self.end(reason, now);
    }

    fn on_reoffer(&mut self, request: &Request, now: Instant) {
        let Some(call) = &mut self.call else { return };
        let session = call.session;
        call.own.peer_offers();
        if request.body.is_empty() {
            // RFC 3264 §8, RFC 6337 §3.2: an offer that lists everything, as if it were the first.
            match call.negotiation.create_offer(&call.media) {
                Ok(offer) => {
                    let body = Body::sdp(offer.to_string());
                    log_misuse("answer", self.endpoint.answer(session, body, now));
                }
                Err(_) => {
                    let status = StatusCode::REQUEST_PENDING;
                    log_misuse(
                        "refuse",
                        self.endpoint.refuse(session, status, Headers::new(), now),
                    );
                    self.after_peers_exchange(now);
                }
            }
            return;
        }
        let ringing = call.state == State::Incoming;
        let media = call.media.clone();
        let negotiation = &mut call.negotiation;
        let answered = sdp::parse(&request.body)
            .map_err(Refusal::from)
            .and_then(|offer| negotiation.receive_offer(offer))
            .and_then(|()| negotiation.create_answer(&media));
        match answered {
            Ok((answer, negotiated)) => {
                let body = Body::sdp(answer.to_string());
                log_misuse("answer", self.endpoint.answer(session, body, now));
                match &mut self.call {
                    // Agreed before the call is picked up: until then no microphone is open.
                    Some(call) if ringing => call.agreed = Some(negotiated),
                    _ => self.media(negotiated),
                }
            }
            Err(refusal) => {
                let (status, headers) = refused(&refusal);
                log_misuse("refuse", self.endpoint.refuse(session, status, headers, now));
            }
        }
        self.after_peers_exchange(now);
    }

    /// The session was refreshed with the description that holds; the answer may be another than before.
    fn on_refreshed(&mut self, body: &[u8]) {
        let Some(call) = &mut self.call else { return };
        let answer = sdp::parse(body).map_err(AnswerError::Unreadable);
        match answer.and_then(|answer| call.negotiation.receive_refreshed(answer)) {
            Ok(negotiated) if negotiated.changed => self.media(negotiated),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the answer to a refresh; the call stays as it was"),
        }
    }

    /// INFO with a digit is understood (FACTS: some phones know nothing else), OPTIONS answered.
    fn on_request_in_call(&mut self, tx: ServerTx, request: &Request, now: Instant) {
        if request.method != Method::Info {
            return self.on_request(tx, request, now);
        }
        let text = String::from_utf8_lossy(&request.body);
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines
                .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
        };
        let relay = request
            .headers
            .content_type()
            .is_some_and(|kind| kind.is("application/dtmf-relay"));
        if relay && let Some(digit) = field("Signal").and_then(|signal| signal.chars().next()) {
            let duration_ms = field("Duration").and_then(|text| text.parse().ok()).unwrap_or(0);
            self.tell(PhoneEvent::Digit { digit, duration_ms });
        }
        let response = Response::to(request, StatusCode::OK);
        log_misuse("respond", self.endpoint.respond(tx, response, now));
    }

    /// Takes an answer to our offer; false when it does not fit.
    pub(super) fn take_answer(&mut self, body: &[u8], _now: Instant) -> bool {
        let Some(call) = &mut self.call else { return false };
        let Ok(answer) = sdp::parse(body) else {
            // An answer in a 183 is repeated, or left out, in the 200 (RFC 3261 §13.2.1).
            return body.is_empty() && call.negotiation.established().is_some();
        };
        match call.negotiation.receive_answer(answer) {
            Ok(negotiated) => {
                self.media(negotiated);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "answer");
                false
            }
        }
    }

    fn media(&mut self, negotiated: Negotiated) {
        let direction = negotiated.audio.direction;
        let mut held =
            matches!(direction, Direction::RecvOnly | Direction::Inactive) || negotiated.audio.disabled;
        let mut changed = false;
        if let Some(call) = &mut self.call {
            // Under a hold of ours an inactive stream does not tell whether it is the peer's, too.
            if call.media.direction == Direction::SendOnly && direction == Direction::Inactive {
                held = call.held;
            }
            changed = std::mem::replace(&mut call.held, held) != held;
        }
        self.tell(PhoneEvent::Media(Box::new(negotiated.audio)));
        if changed {
            self.tell(PhoneEvent::Hold { held });
        }
    }

    /// Whether our flow is the way to this address: the server by its name or by where it is.
    fn leads_to(&self, target: &Uri) -> bool {
        let remote = self.flow.remote;
        let server = self.account.server();
        let port = |uri: &Uri| uri.port.unwrap_or(5060);
        let there = target.host.ip() == Some(remote.ip()) && port(target) == remote.port();
        there || (!self.away && target.host == server.host && port(target) == port(&server))
    }

    fn no_media(&mut self, why: &'static str, now: Instant) {
        let Some(session) = self.call.as_ref().map(|call| call.session) else {
            return;
        };
        self.end(EndReason::NoMedia { why: why.to_owned() }, now);
        log_misuse(
            "bye",
            self.endpoint
                .bye(session, Some(Reason::sip(488, "No common media")), now),
        );
    }

    fn end(&mut self, reason: EndReason, now: Instant) {
        self.call = None;
        self.unwatch(now);
        self.tell(PhoneEvent::Ended(reason));
    }
}

/// Status and headers for an offer that cannot be answered.
fn refused(refusal: &Refusal) -> (StatusCode, Headers) {
    let mut headers = Headers::new();
    if let Some((code, text)) = refusal.warning() {
        headers.push(HeaderName::Warning, format!("{code} meet \"{text}\""));
    }
    (
        StatusCode::new(refusal.status()).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE),
        headers,
    )
}

fn peer_reason(reason: Option<&Reason>) -> EndReason {
    EndReason::Peer {
        text: reason.and_then(Reason::text).map(str::to_owned),
        cause: reason
            .and_then(Reason::cause)
            .and_then(|cause| u16::try_from(cause).ok()),
    }
}

fn caller(from: &NameAddr) -> String {
    match &from.display {
        Some(name) if !name.trim().is_empty() => format!("{name} <{}>", from.uri),
        _ => from.uri.to_string(),
    }
}

/// Whom to call once more, and with what: some (FreeSWITCH) answer 488 to keys under RTP/AVP, which a peer without SRTP
/// is to pass over.
fn without_keys(call: &Call, status: u16) -> Option<(Uri, LocalMedia)> {
    let refused = status == StatusCode::NOT_ACCEPTABLE_HERE.code();
    if !refused || call.media.srtp != SrtpPolicy::Optional {
        return None;
    }
    let mut media = call.media.clone();
    media.srtp = SrtpPolicy::Off;
    Some((call.target.parse().ok()?, media))
}
