//! A desk phone on a bare endpoint, with the habits that phones have and the client has not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rtp_media::codec::CodecKind;
use sip_proto::conference_info::{Document, State};
use sip_proto::digest::Credentials;
use sip_proto::endpoint::{
    Body, ClientTx, Counts, Endpoint, EndpointConfig, Event, Flow, Input, Outgoing, Output, SessionEvent,
    SessionId, SubscriptionEvent, SubscriptionId, TerminatedBy, Transport,
};
use sip_proto::headers::{Event as EventHeader, NameAddr, Reason};
use sip_proto::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use sip_proto::sdp::offer_answer::{LocalMedia, Negotiated, OfferAnswer};
use sip_proto::sdp::{self, Direction};
use sip_proto::uri::Uri;

use super::{CallState, End, HoldKind, Notice, Outbox, local_media, sound_plan};
use crate::ear::SoundPlan;

/// What a desk phone is used to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habits {
    /// Calls without an offer; the answer is in the ACK.
    pub offerless: bool,
    /// Watches the roster.
    pub watches: bool,
    /// What it speaks.
    pub kind: CodecKind,
    /// Insists on SRTP.
    pub secure: bool,
}

/// The address of a phone's account.
#[derive(Debug, Clone)]
pub struct Line {
    /// User part.
    pub name: String,
    /// Its password; empty: none.
    pub password: String,
    /// The phone itself.
    pub addr: SocketAddr,
    /// The server.
    pub server: SocketAddr,
    /// How often the phone was started: each start is a registration of its own.
    pub start: u32,
}

/// A desk phone.
pub struct PlainPhone {
    endpoint: Endpoint,
    /// What its keys are made from.
    seed: [u8; 32],
    calls: u64,
    line: Line,
    habits: Habits,
    local: LocalMedia,
    offers: OfferAnswer,
    session: Option<SessionId>,
    state: CallState,
    dialled: String,
    /// What the offer under way would make of our hold.
    offering: Option<bool>,
    held: bool,
    digits: Option<(ClientTx, Vec<char>)>,
    subscription: Option<SubscriptionId>,
    roster: Option<Vec<String>>,
    registration: Registration,
    sound: Option<Option<SoundPlan>>,
    notices: Vec<Notice>,
    complaints: Vec<String>,
}

#[derive(Debug, Default)]
struct Registration {
    call_id: Option<String>,
    cseq: u32,
    wanted: u32,
    asked: Option<ClientTx>,
    /// To ask when the answer has come: RFC 3261 §10.2 forbids two requests at a time.
    next: Option<u32>,
    again: Option<Instant>,
}

impl PlainPhone {
    /// A phone that does nothing yet.
    pub fn new(line: Line, habits: Habits, seed: [u8; 32]) -> Self {
        let credentials = (!line.password.is_empty()).then(|| Credentials {
            realm: None,
            user: line.name.clone(),
            password: line.password.clone(),
        });
        let config = EndpointConfig {
            contact_user: line.name.clone(),
            credentials: credentials.into_iter().collect(),
            ..EndpointConfig::default()
        };
        Self {
            endpoint: Endpoint::new(config, seed),
            seed,
            calls: 0,
            local: local_media(line.addr, habits.kind, habits.secure),
            line,
            habits,
            offers: OfferAnswer::new(0),
            session: None,
            state: CallState::Idle,
            dialled: String::new(),
            offering: None,
            held: false,
            digits: None,
            subscription: None,
            roster: None,
            registration: Registration::default(),
            sound: None,
            notices: Vec::new(),
            complaints: Vec::new(),
        }
    }

    /// Puts the room on hold.
    pub fn hold(&mut self, kind: HoldKind, now: Instant) -> bool {
        let mut local = local_media(self.line.addr, self.habits.kind, self.habits.secure);
        let mut by_update = false;
        match kind {
            HoldKind::SendOnly => local.direction = Direction::SendOnly,
            HoldKind::Inactive => local.direction = Direction::Inactive,
            HoldKind::Zero => local.address = IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            HoldKind::Update => {
                local.direction = Direction::SendOnly;
                by_update = true;
            }
        }
        self.offer(local, by_update, true, now)
    }

    /// Takes it off hold; without a hold a mere refresh.
    pub fn resume(&mut self, by_update: bool, now: Instant) -> bool {
        let local = local_media(self.line.addr, self.habits.kind, self.habits.secure);
        self.offer(local, by_update, false, now)
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str, now: Instant) -> bool {
        if !matches!(self.state, CallState::In(_)) || self.digits.is_some() {
            return false;
        }
        self.next_digit(keys.chars().rev().collect(), now);
        true
    }

    pub(super) fn counts(&self) -> Counts {
        self.endpoint.counts()
    }

    pub(super) fn state(&self) -> CallState {
        self.state.clone()
    }

    pub(super) fn roster(&self) -> Option<Vec<String>> {
        self.roster.clone()
    }

    pub(super) fn receive(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        let flow = Flow::udp(self.line.addr, from);
        self.endpoint.handle_input(Input::Datagram { flow, bytes }, now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        if self.registration.again.is_some_and(|at| at <= now) {
            self.registration.again = None;
            self.send_register(self.registration.wanted, now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let again = self.registration.again.map(|at| (at, "registration"));
        self.endpoint
            .poll_timeout()
            .into_iter()
            .chain(again)
            .min_by_key(|(at, _)| *at)
    }

    pub(super) fn ask(&mut self, now: Instant) {
        if let Some(session) = self.session {
            // Refused when the endpoint has too much to do; then the next one asks.
            drop(
                self.endpoint
                    .request_in_dialog(session, Method::Options, Headers::new(), None, now),
            );
        }
    }

    pub(super) fn dial(&mut self, room: &str, factory: bool, now: Instant) -> bool {
        if self.state != CallState::Idle || self.session.is_some() {
            return false;
        }
        let server = self.line.server;
        let target = if factory {
            format!("sip:create@{};room={room}", server.ip())
        } else {
            format!("sip:{room}@{}", server.ip())
        };
        let Ok(target) = target.parse::<Uri>() else {
            return false;
        };
        let mut outgoing = self.outgoing(target);
        self.local = local_media(self.line.addr, self.habits.kind, self.habits.secure);
        self.calls += 1;
        let mut keys = self.seed;
        // Keys of this call alone.
        if let Some(first) = keys.first_chunk_mut() {
            *first = self.calls.to_be_bytes();
        }
        self.offers = OfferAnswer::new(u64::from(self.registration.cseq) << 20 | 1).with_keys(keys);
        self.held = false;
        self.offering = None;
        if !self.habits.offerless {
            let Ok(offer) = self.offers.create_offer(&self.local) else {
                return false;
            };
            outgoing.body = Some(Body::sdp(offer.to_string()));
        }
        match self.endpoint.invite(outgoing, now) {
            Ok(session) => {
                self.session = Some(session);
                self.dialled = room.to_owned();
                self.state = CallState::Calling;
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn hang_up(&mut self, now: Instant) {
        let Some(session) = self.session else { return };
        let calling = self.state == CallState::Calling;
        self.state = CallState::Leaving;
        self.unwatch(now);
        // A refusal means that it is over already; the event says so.
        drop(if calling {
            self.endpoint.cancel(session, now)
        } else {
            self.endpoint.bye(session, None, now)
        });
    }

    pub(super) fn register(&mut self, expires: u32, now: Instant) {
        self.send_register(expires, now);
    }

    pub(super) fn unregister(&mut self, now: Instant) {
        if self.registration.call_id.is_some() {
            self.registration.again = None;
            self.send_register(0, now);
        }
    }

    pub(super) fn drain(&mut self, now: Instant) -> Outbox {
        let mut out = Outbox::default();
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, .. } if flow.transport != Transport::Udp => {
                    self.endpoint.handle_input(Input::TransportFailed { flow }, now);
                }
                Output::Transmit { flow, bytes } => out.packets.push((flow.remote, bytes)),
                Output::Close { .. } => {}
                Output::Event(event) => self.event(event, now),
            }
        }
        out.notices = std::mem::take(&mut self.notices);
        out.sound = self.sound.take();
        out.complaints = std::mem::take(&mut self.complaints);
        out
    }

    fn outgoing(&self, target: Uri) -> Outgoing {
        let own = Uri::sip(&self.line.name, self.line.server.ip().into(), None);
        Outgoing {
            target: target.clone(),
            from: NameAddr::new(own).with_display(self.line.name.clone()),
            to: NameAddr::new(target),
            contact: None,
            flow: Flow::udp(self.line.addr, self.line.server),
            route: Vec::new(),
            headers: Headers::new(),
            body: None,
        }
    }

    fn offer(&mut self, local: LocalMedia, by_update: bool, hold: bool, now: Instant) -> bool {
        let (CallState::In(_), Some(session), None) = (&self.state, self.session, self.offering) else {
            return false;
        };
        let Ok(offer) = self.offers.create_offer(&local) else {
            return false;
        };
        let body = Body::sdp(offer.to_string());
        let sent = if by_update {
            self.endpoint.update(session, body, now)
        } else {
            self.endpoint.reoffer(session, body, now)
        };
        if sent.is_err() {
            self.offers.rollback();
            return false;
        }
        self.local = local;
        self.offering = Some(hold);
        true
    }

    fn next_digit(&mut self, mut rest: Vec<char>, now: Instant) {
        let (Some(session), Some(digit)) = (self.session, rest.pop()) else {
            return;
        };
        let body = Body::new(
            "application/dtmf-relay",
            format!("Signal={digit}\r\nDuration=100\r\n"),
        );
        let sent = self
            .endpoint
            .request_in_dialog(session, Method::Info, Headers::new(), Some(body), now);
        self.digits = sent.ok().map(|tx| (tx, rest));
    }

    fn send_register(&mut self, expires: u32, now: Instant) {
        if self.registration.asked.is_some() {
            self.registration.next = Some(expires);
            return;
        }
        self.registration.wanted = expires;
        let Ok(target) = format!("sip:{}", self.line.server.ip()).parse::<Uri>() else {
            return;
        };
        let mut outgoing = self.outgoing(target);
        outgoing.to = NameAddr::new(outgoing.from.uri.clone());
        let call_id = self
            .registration
            .call_id
            .get_or_insert_with(|| format!("r{}-{}", self.line.start, self.line.name));
        self.registration.cseq += 8;
        let contact = format!("<sip:{}@{}>", self.line.name, self.line.addr);
        outgoing.headers.push(HeaderName::CallId, &*call_id);
        outgoing
            .headers
            .push(HeaderName::CSeq, format!("{} REGISTER", self.registration.cseq));
        outgoing.headers.push(HeaderName::Contact, contact);
        outgoing.headers.push(HeaderName::Expires, expires);
        self.registration.asked = self.endpoint.request(Method::Register, outgoing, now).ok();
    }

    fn event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Session { session, event } if self.session == Some(session) => {
                self.session_event(session, event, now);
            }
            Event::Session {
                event: SessionEvent::Request { tx, request },
                ..
            }
            | Event::Request { tx, request, .. } => self.answer(tx, &request, now),
            Event::Session { .. } => {}
            Event::Invite { session, .. } => {
                drop(
                    self.endpoint
                        .reject(session, StatusCode::BUSY_HERE, Headers::new(), now),
                );
            }
            Event::Subscribe { subscription, .. } => {
                let status = StatusCode::BAD_EVENT;
                drop(
                    self.endpoint
                        .reject_subscription(subscription, status, Headers::new(), now),
                );
            }
            Event::Subscription { subscription, event } if self.subscription == Some(subscription) => {
                self.subscription_event(event);
            }
            Event::Subscription { .. } => {}
            Event::Response { tx, response } if response.status.is_final() => {
                self.response(tx, Some(&response), now);
            }
            Event::Response { .. } => {}
            Event::Timeout { tx } => self.response(tx, None, now),
            // Only where the endpoint screens what arrives.
            Event::Arrival { .. } => {}
        }
    }

    fn answer(&mut self, tx: sip_proto::endpoint::ServerTx, request: &Request, now: Instant) {
        let status = match request.method {
            Method::Options | Method::Info => StatusCode::OK,
            _ => StatusCode::NOT_IMPLEMENTED,
        };
        drop(self.endpoint.respond(tx, Response::to(request, status), now));
    }

    fn session_event(&mut self, session: SessionId, event: SessionEvent, now: Instant) {
        match event {
            SessionEvent::Answered { response } => self.answered(session, &response, now),
            SessionEvent::ReOffer { request } => self.reoffered(session, &request, now),
            SessionEvent::ReOfferCancelled => self.offers.rollback(),
            SessionEvent::ReAnswered { response } => self.reanswered(&response),
            SessionEvent::ReRejected { response } => self.offer_refused(response.status),
            SessionEvent::ReUnanswered => self.offer_refused(StatusCode::REQUEST_TIMEOUT),
            SessionEvent::Request { tx, request } => self.answer(tx, &request, now),
            SessionEvent::Failed { response } => {
                let status = response.map(|response| response.status.code());
                self.over(Notice::Refused { status }, now);
            }
            SessionEvent::Terminated { by, reason } => {
                let by = match by {
                    TerminatedBy::Local => End::Local,
                    TerminatedBy::Peer => End::Focus,
                    TerminatedBy::Timeout | TerminatedBy::TransportLost | TerminatedBy::AckTimeout => {
                        End::Lost
                    }
                };
                let cause = reason.as_ref().and_then(Reason::cause);
                let cause = cause.and_then(|cause| u16::try_from(cause).ok());
                self.over(Notice::Ended { by, cause }, now);
            }
            // A desk phone has no use for progress; its session timers are the endpoint's.
            SessionEvent::Progress { .. } | SessionEvent::Refreshed { .. } => {}
            // Of a call that somebody else made: a desk phone here takes none.
            other @ (SessionEvent::Confirmed { .. }
            | SessionEvent::ProvisionalAcked { .. }
            | SessionEvent::Cancelled) => self.complaints.push(format!("nobody called, and yet {other:?}")),
            // The answer to an offer of ours in the 200 to an offerless re-INVITE, which the focus never sends.
            SessionEvent::ReOfferAcked { .. } => {
                self.complaints
                    .push("an offer by the focus without one".to_owned());
            }
        }
    }

    /// Everything is as it was before the offer.
    fn offer_refused(&mut self, status: StatusCode) {
        self.offers.rollback();
        self.offering = None;
        self.notices.push(Notice::OfferRefused(status.code()));
    }

    fn answered(&mut self, session: SessionId, response: &Response, now: Instant) {
        let agreed = if self.habits.offerless {
            self.answer_in_ack(session, response, now)
        } else {
            sdp::parse(&response.body)
                .ok()
                .and_then(|answer| self.offers.receive_answer(answer).ok())
        };
        let Some(agreed) = agreed else {
            drop(
                self.endpoint
                    .bye(session, Some(Reason::sip(488, "No media")), now),
            );
            return;
        };
        self.sound = Some(sound_plan(&agreed.audio));
        let contact = response
            .headers
            .contacts()
            .ok()
            .and_then(|contacts| contacts.first().cloned());
        // A Contact that was damaged on the way: the name that was dialled then.
        let room = contact.map_or_else(
            || self.dialled.clone(),
            |contact| room_of(&contact.uri.to_string()),
        );
        let creator = response
            .headers
            .call_infos()
            .iter()
            .any(|info| info.params.contains("token"));
        if self.state != CallState::Leaving {
            self.state = CallState::In(room.clone());
            self.watch(&room, now);
        }
        self.notices.push(Notice::Joined { room, creator });
    }

    fn answer_in_ack(&mut self, session: SessionId, response: &Response, now: Instant) -> Option<Negotiated> {
        let offer = sdp::parse(&response.body).ok()?;
        self.offers.receive_offer(offer).ok()?;
        let (answer, agreed) = self.offers.create_answer(&self.local).ok()?;
        let body = Body::sdp(answer.to_string());
        self.endpoint.ack_with_answer(session, body, now).ok()?;
        Some(agreed)
    }

    fn reanswered(&mut self, response: &Response) {
        let answer = sdp::parse(&response.body).ok();
        let agreed = answer.and_then(|answer| self.offers.receive_answer(answer).ok());
        let hold = self.offering.take();
        let Some(agreed) = agreed else {
            self.offers.rollback();
            return;
        };
        self.sound = Some(sound_plan(&agreed.audio));
        if let Some(hold) = hold
            && hold != self.held
        {
            self.held = hold;
            self.notices.push(Notice::Held(hold));
        }
    }

    fn reoffered(&mut self, session: SessionId, request: &Request, now: Instant) {
        let body = if request.body.is_empty() {
            self.offers
                .create_offer(&self.local)
                .ok()
                .map(|offer| offer.to_string())
        } else {
            let offer = sdp::parse(&request.body).ok();
            let taken = offer.and_then(|offer| self.offers.receive_offer(offer).ok());
            let answered = taken.and_then(|()| self.offers.create_answer(&self.local).ok());
            answered.map(|(answer, agreed)| {
                self.sound = Some(sound_plan(&agreed.audio));
                answer.to_string()
            })
        };
        drop(match body {
            Some(body) => self.endpoint.answer(session, Body::sdp(body), now),
            None => self
                .endpoint
                .refuse(session, StatusCode::NOT_ACCEPTABLE_HERE, Headers::new(), now),
        });
    }

    fn over(&mut self, notice: Notice, now: Instant) {
        self.unwatch(now);
        self.session = None;
        self.state = CallState::Idle;
        self.offering = None;
        self.held = false;
        self.digits = None;
        self.sound = Some(None);
        self.notices.push(notice);
    }

    fn watch(&mut self, room: &str, now: Instant) {
        let target = format!("sip:{room}@{}", self.line.server.ip());
        if let (true, Ok(target)) = (self.habits.watches, target.parse::<Uri>()) {
            let outgoing = self.outgoing(target);
            let event = EventHeader::new("conference");
            self.subscription = self.endpoint.subscribe(outgoing, event, 3_600, now).ok();
        }
    }

    fn unwatch(&mut self, now: Instant) {
        self.roster = None;
        if let Some(subscription) = self.subscription.take() {
            // Fails when the notifier ended it before.
            drop(self.endpoint.unsubscribe(subscription, now));
        }
    }

    fn subscription_event(&mut self, event: SubscriptionEvent) {
        match event {
            SubscriptionEvent::Notify { request, .. } if !request.body.is_empty() => {
                // A damaged document is shown as none.
                self.roster = Document::parse(&request.body)
                    .ok()
                    .filter(|document| document.state == State::Full)
                    .and_then(|document| document.users)
                    .map(|users| users.into_iter().filter_map(|user| user.entity).collect());
            }
            SubscriptionEvent::Rejected { .. } | SubscriptionEvent::Terminated { .. } => {
                self.subscription = None;
                self.roster = None;
            }
            SubscriptionEvent::Notify { .. } | SubscriptionEvent::Accepted { .. } => {}
            // A notifier's.
            other @ (SubscriptionEvent::Refreshed { .. }
            | SubscriptionEvent::Unsubscribed
            | SubscriptionEvent::Expired
            | SubscriptionEvent::NotifyFailed) => {
                self.complaints
                    .push(format!("nobody watches a phone, and yet {other:?}"));
            }
        }
    }

    fn response(&mut self, tx: ClientTx, response: Option<&Response>, now: Instant) {
        if self.registration.asked == Some(tx) {
            self.registration.asked = None;
            return self.registered(response, now);
        }
        let Some((_, rest)) = self.digits.take_if(|(asked, _)| *asked == tx) else {
            return;
        };
        match response {
            Some(response) if response.status.is_success() && rest.is_empty() => {
                self.notices.push(Notice::KeysTaken);
            }
            Some(response) if response.status.is_success() => self.next_digit(rest, now),
            _ => self.notices.push(Notice::KeysUnknown),
        }
    }

    fn registered(&mut self, response: Option<&Response>, now: Instant) {
        let status = response.map(|response| response.status.code());
        let notice = match response {
            Some(response) if response.status.is_success() && self.registration.wanted == 0 => {
                Notice::Unregistered
            }
            Some(response) if response.status.is_success() => {
                let own = response.headers.contacts().ok().and_then(|contacts| {
                    let mine = |contact: &&NameAddr| contact.uri.user.as_deref() == Some(&self.line.name);
                    contacts.list().iter().find(mine).and_then(NameAddr::expires)
                });
                let expires = own.unwrap_or(self.registration.wanted);
                self.registration.again = Some(now + Duration::from_secs(u64::from(expires) / 2));
                Notice::Registered(expires)
            }
            _ => {
                if self.registration.wanted > 0 {
                    self.registration.again = Some(now + Duration::from_secs(30));
                }
                Notice::RegistrationFailed(status)
            }
        };
        self.notices.push(notice);
        if let Some(expires) = self.registration.next.take() {
            self.registration.again = None;
            self.send_register(expires, now);
        }
    }
}

/// The room's name in its URI.
pub(super) fn room_of(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split(['@', ';', '>']).next().unwrap_or_default().to_owned()
}
