//! The façade: inputs and commands in, outputs out; registration, OPTIONS and everything outside a call.
//!
//! The call itself is in [`super::session`]. All state lives in [`Phone`]; nothing here waits.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use sip_proto::conference_info;
use sip_proto::endpoint::{
    self, ClientTx, Endpoint, EndpointConfig, Event, Flow, Input, Outgoing, ServerTx, SubscriptionEvent,
    SubscriptionId,
};
use sip_proto::headers::{Event as EventPackage, NameAddr};
use sip_proto::ids::IdSource;
use sip_proto::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use sip_proto::sdp::offer_answer::LocalMedia;
use sip_proto::uri::{Host, Uri};

use super::event::{CallError, Output, PhoneEvent};
use super::roster::Roster;
use super::session::{Call, Redirect};
use crate::account::{Account, Registration, RegistrationOutcome, Step};
use crate::limits;

/// What a phone is built from.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// Who it is.
    pub account: Account,
    /// Everything is sent on this flow: the server's address is the driver's to find.
    pub flow: Flow,
    /// Answer incoming calls at once.
    pub answer: bool,
    /// Randomness.
    pub seed: [u8; 32],
}

/// A softphone's signalling.
pub struct Phone {
    pub(super) endpoint: Endpoint,
    pub(super) account: Account,
    pub(super) flow: Flow,
    pub(super) answer: bool,
    pub(super) ids: IdSource,
    pub(super) media: Option<LocalMedia>,
    pub(super) call: Option<Call>,
    pub(super) redirect: Option<Redirect>,
    /// The flow leads to a host to which a call was sent on, and no more to the account's server.
    pub(super) away: bool,
    pub(super) out: VecDeque<Output>,
    registration: Option<Registering>,
    query: Option<ClientTx>,
    pub(super) watch: Option<Watch>,
}

/// A registration and its request under way.
struct Registering {
    machine: Registration,
    call_id: String,
    cseq: u32,
    tx: Option<ClientTx>,
}

/// A roster and its subscription.
pub(super) struct Watch {
    target: Uri,
    subscription: Option<SubscriptionId>,
    roster: Roster,
    fresh: bool,
    again: Option<Instant>,
}

/// Pause before a lost roster is asked for again.
const WATCH_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

impl std::fmt::Debug for Phone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Phone({})", self.account.aor())
    }
}

impl Phone {
    /// A phone that does nothing yet.
    pub fn new(config: PhoneConfig) -> Self {
        let mut ids = IdSource::new(config.seed);
        let settings = EndpointConfig {
            user_agent: concat!("meet/", env!("CARGO_PKG_VERSION")).to_owned(),
            contact_user: config.account.user.clone(),
            allow: vec![
                Method::Invite,
                Method::Ack,
                Method::Bye,
                Method::Cancel,
                Method::Options,
                Method::Info,
                Method::Update,
                Method::Prack,
                Method::Notify,
            ],
            accept: vec!["application/sdp".to_owned(), "application/dtmf-relay".to_owned()],
            session_expires: Some(limits::SESSION_EXPIRES),
            credentials: config.account.credentials.iter().cloned().collect(),
            ..EndpointConfig::default()
        };
        Self {
            endpoint: Endpoint::new(settings, ids.seed()),
            account: config.account,
            flow: config.flow,
            answer: config.answer,
            ids,
            media: None,
            call: None,
            redirect: None,
            away: false,
            out: VecDeque::new(),
            registration: None,
            query: None,
            watch: None,
        }
    }

    /// Where this side's sound is; needed before a call is made or taken.
    pub fn set_media(&mut self, media: LocalMedia) {
        self.media = Some(media);
    }

    /// From now on the server is reached this way (RFC 3263 §4.3); what is under way stays where it is.
    pub fn go_by(&mut self, flow: Flow, now: Instant) {
        self.flow = flow;
        self.account.transport = flow.transport.uri_param();
        if flow.connection.is_some() {
            self.handle_input(Input::Opened { flow }, now);
        }
    }

    /// Registers again at once after a failure, where a registration is wanted.
    pub fn register_now(&mut self, now: Instant) {
        if let Some(step) = self
            .registration
            .as_mut()
            .map(|registering| registering.machine.start())
        {
            self.register_step(step, now);
        }
        self.drain(now);
    }

    /// Whether the way to the server is to be kept open: a call or a registration needs it.
    pub fn needs_flow(&self) -> bool {
        let registered = self
            .registration
            .as_ref()
            .is_some_and(|registering| registering.machine.is_busy());
        self.call.is_some() || registered
    }

    /// The way to the server broke or changed its address: a registration is made again.
    pub fn flow_lost(&mut self, now: Instant) {
        if let Some(registering) = &mut self.registration {
            registering.machine.hurry(now);
        }
    }

    /// Takes what the driver reports.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if let Input::Opened { flow } = input {
            self.flow = flow;
        }
        self.endpoint.handle_input(input, now);
        self.drain(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        if let Some(step) = self
            .registration
            .as_mut()
            .map(|registering| registering.machine.tick(now))
        {
            self.register_step(step, now);
        }
        if self
            .watch
            .as_ref()
            .and_then(|watch| watch.again)
            .is_some_and(|again| again <= now)
        {
            self.subscribe(now);
        }
        self.drain(now);
    }

    /// When [`Self::handle_timeout`] is wanted, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let registration = self
            .registration
            .as_ref()
            .and_then(|registering| registering.machine.poll_timeout());
        let again = self.watch.as_ref().and_then(|watch| watch.again);
        [
            self.endpoint.poll_timeout(),
            registration.map(|at| (at, "registration")),
            again.map(|at| (at, "roster")),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Whether there is a call, at whatever stage.
    pub fn has_call(&self) -> bool {
        self.call.is_some()
    }

    /// Whether nothing is left to wait for on the way out: no call, no farewell unanswered or still to be sent. The
    /// endpoint keeps a session that ends until its BYE is answered or given up, and that BYE may have to wait for the
    /// ACK of our 200 (RFC 3261 §15).
    pub fn is_quiet(&self) -> bool {
        let registered = self
            .registration
            .as_ref()
            .is_some_and(|registering| registering.machine.is_busy());
        self.call.is_none() && self.endpoint.counts().sessions == 0 && !registered
    }

    /// What the endpoint holds; all zero when nothing is going on and nothing is left over.
    pub fn counts(&self) -> endpoint::Counts {
        self.endpoint.counts()
    }

    /// Asks the server what it is (OPTIONS): [`PhoneEvent::Server`] or `NoServer` follows.
    pub fn query(&mut self, now: Instant) -> Result<(), CallError> {
        let server = self.account.server();
        let request = self.outgoing(server.clone(), NameAddr::new(server), Headers::new());
        self.query = Some(self.endpoint.request(Method::Options, request, now)?);
        self.drain(now);
        Ok(())
    }

    /// Registers, and stays registered.
    pub fn register(&mut self, expires: u32, now: Instant) {
        let registering = Registering {
            machine: Registration::new(expires),
            call_id: self.ids.call_id().to_string(),
            cseq: self.ids.first_cseq(),
            tx: None,
        };
        let step = self.registration.insert(registering).machine.start();
        self.register_step(step, now);
        self.drain(now);
    }

    /// Gives the registration back.
    pub fn unregister(&mut self, now: Instant) {
        if let Some(step) = self
            .registration
            .as_mut()
            .map(|registering| registering.machine.stop())
        {
            self.register_step(step, now);
        }
        self.drain(now);
    }

    /// The address at which this phone is reached without a server.
    fn contact(&self) -> Uri {
        let local = self.flow.local;
        let host = match local.ip() {
            IpAddr::V4(address) => Host::V4(address),
            IpAddr::V6(address) => Host::V6(address),
        };
        let mut uri = Uri::sip(&self.account.user, host, Some(local.port()));
        if let Some(transport) = self.flow.transport.uri_param() {
            uri.params.set("transport", transport);
        }
        uri
    }

    pub(super) fn tell(&mut self, event: PhoneEvent) {
        self.out.push_back(Output::Event(event));
    }

    pub(super) fn outgoing(&self, target: Uri, to: NameAddr, headers: Headers) -> Outgoing {
        Outgoing {
            target: target.as_request_uri(),
            from: self.account.from(),
            to,
            contact: None,
            flow: self.flow,
            route: Vec::new(),
            headers,
            body: None,
        }
    }

    /// Takes everything out of the endpoint.
    pub(super) fn drain(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                endpoint::Output::Transmit { flow, bytes } => {
                    self.out.push_back(Output::Transmit { flow, bytes });
                }
                endpoint::Output::Close { connection } => self.out.push_back(Output::Close { connection }),
                endpoint::Output::Event(event) => self.on_event(event, now),
            }
        }
        self.settle_hold();
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Request { tx, request, .. } => self.on_request(tx, &request, now),
            Event::Invite { session, request, .. } => self.on_invite(session, &request, now),
            Event::Session { session, event } => self.on_session(session, event, now),
            Event::Subscribe { subscription, .. } => {
                let status = StatusCode::BAD_EVENT;
                let refused = self
                    .endpoint
                    .reject_subscription(subscription, status, Headers::new(), now);
                log_misuse("reject_subscription", refused);
            }
            Event::Subscription { subscription, event } => self.on_subscription(subscription, event, now),
            Event::Response { tx, response } => self.on_response(tx, Some(response), now),
            Event::Timeout { tx } => self.on_response(tx, None, now),
            // Only an endpoint that screens reports it.
            Event::Arrival { .. } => {}
        }
    }

    /// Requests outside a call: OPTIONS is answered truthfully, the rest is not for a phone.
    pub(super) fn on_request(&mut self, tx: ServerTx, request: &Request, now: Instant) {
        let mut response = match request.method {
            Method::Options => Response::to(request, StatusCode::OK),
            Method::Notify => Response::to(request, StatusCode::CALL_DOES_NOT_EXIST),
            _ => Response::to(request, StatusCode::METHOD_NOT_ALLOWED),
        };
        let allow: Vec<&str> = self.endpoint.config().allow.iter().map(Method::as_str).collect();
        response.headers.set(HeaderName::Allow, allow.join(", "));
        response.headers.set(HeaderName::Accept, "application/sdp");
        let answered = self.endpoint.respond(tx, response, now);
        log_misuse("respond", answered);
    }

    fn on_response(&mut self, tx: ClientTx, response: Option<Response>, now: Instant) {
        if response
            .as_ref()
            .is_some_and(|response| response.status.is_provisional())
        {
            return;
        }
        if self.query == Some(tx) {
            self.query = None;
            self.on_server(response);
        } else if self
            .registration
            .as_ref()
            .is_some_and(|registering| registering.tx == Some(tx))
        {
            self.on_registrar(response, now);
        }
    }

    fn on_server(&mut self, response: Option<Response>) {
        let event = match response {
            Some(response) if response.status.is_success() => {
                let infos = response.headers.call_infos();
                let api = infos.into_iter().find(|info| info.purpose() == Some("meet-api"));
                PhoneEvent::Server {
                    api: api.map(|info| info.uri.to_string()),
                }
            }
            other => PhoneEvent::NoServer {
                status: other.map(|response| response.status.code()),
            },
        };
        self.tell(event);
    }

    fn on_registrar(&mut self, response: Option<Response>, now: Instant) {
        let aor = self.account.aor().to_string();
        let contact = self.contact().to_string();
        let Some(registering) = &mut self.registration else {
            return;
        };
        registering.tx = None;
        let leaving = registering.machine.is_leaving();
        let (outcome, event) = match response {
            Some(response) if response.status.is_success() && leaving => (
                RegistrationOutcome::Granted { expires: 0 },
                Some(PhoneEvent::Unregistered { aor }),
            ),
            Some(response) if response.status.is_success() => {
                let expires = granted(&response, &self.account.user);
                let event = PhoneEvent::Registered {
                    aor,
                    contact,
                    expires,
                };
                (RegistrationOutcome::Granted { expires }, Some(event))
            }
            Some(response) if response.status == StatusCode::INTERVAL_TOO_BRIEF => {
                let least = response.headers.min_expires().ok().flatten().unwrap_or(0);
                (RegistrationOutcome::TooBrief { least }, None)
            }
            Some(response) => {
                let retry_after = response.headers.retry_after();
                let event = PhoneEvent::RegistrationFailed {
                    status: Some(response.status.code()),
                    retry_after,
                    reason: response.reason,
                };
                let outcome = retry_after.map_or(RegistrationOutcome::Refused, |after| {
                    RegistrationOutcome::Later { after }
                });
                (outcome, Some(event))
            }
            None => {
                let event = PhoneEvent::RegistrationFailed {
                    status: None,
                    retry_after: None,
                    reason: "no answer".to_owned(),
                };
                (RegistrationOutcome::NoAnswer, Some(event))
            }
        };
        let step = registering.machine.answered(outcome, now);
        if let Some(event) = event {
            self.tell(event);
        }
        self.register_step(step, now);
    }

    fn register_step(&mut self, step: Step, now: Instant) {
        let Step::Send { expires } = step else { return };
        let aor = self.account.aor();
        let server = self.account.server();
        let contact = NameAddr::new(self.contact());
        let Some(registering) = &mut self.registration else {
            return;
        };
        // RFC 3261 §10.2.4: all registrations of one boot share a Call-ID, and CSeq grows. The endpoint counts on
        // from it when it answers a challenge, so there is room left between two.
        registering.cseq = registering.cseq.wrapping_add(8) & 0x7fff_ffff;
        let mut headers = Headers::new();
        headers.push(HeaderName::CallId, &registering.call_id);
        headers.push(HeaderName::CSeq, format!("{} REGISTER", registering.cseq));
        headers.push(HeaderName::Expires, expires);
        // Without a Contact a REGISTER only asks what is registered (RFC 3261 §10.2.3).
        headers.push(HeaderName::Contact, &contact);
        let request = self.outgoing(server, NameAddr::new(aor), headers);
        match self.endpoint.request(Method::Register, request, now) {
            Ok(tx) => {
                if let Some(registering) = &mut self.registration {
                    registering.tx = Some(tx);
                }
            }
            Err(error) => tracing::error!(%error, "REGISTER was not sent"),
        }
    }

    /// Watches the roster of a conference (RFC 4575 §3).
    pub(super) fn watch(&mut self, target: Uri, now: Instant) {
        self.watch = Some(Watch {
            target,
            subscription: None,
            roster: Roster::default(),
            fresh: true,
            again: None,
        });
        self.subscribe(now);
    }

    fn subscribe(&mut self, now: Instant) {
        let Some(target) = self.watch.as_ref().map(|watch| watch.target.clone()) else {
            return;
        };
        let mut headers = Headers::new();
        headers.push(HeaderName::Accept, conference_info::CONTENT_TYPE);
        let request = self.outgoing(target.clone(), NameAddr::new(target), headers);
        let package = EventPackage::new("conference");
        let made = self
            .endpoint
            .subscribe(request, package, limits::ROSTER_EXPIRES, now);
        if let Some(watch) = &mut self.watch {
            watch.again = None;
            watch.fresh = true;
            watch.subscription = made.as_ref().ok().copied();
        }
        log_misuse("subscribe", made.map(drop));
    }

    /// Ends the subscription of a call that is over or about to be.
    pub(super) fn unwatch(&mut self, now: Instant) {
        if let Some(subscription) = self.watch.take().and_then(|watch| watch.subscription)
            && let Err(error) = self.endpoint.unsubscribe(subscription, now)
        {
            tracing::debug!(%error, "unsubscribe");
        }
    }

    fn on_subscription(&mut self, subscription: SubscriptionId, event: SubscriptionEvent, now: Instant) {
        let own = self.account.aor().to_string();
        let Some(watch) = self
            .watch
            .as_mut()
            .filter(|watch| watch.subscription == Some(subscription))
        else {
            return;
        };
        match event {
            SubscriptionEvent::Notify { request, .. } if !request.body.is_empty() => {
                match conference_info::Document::parse(&request.body) {
                    Ok(document) => {
                        if watch
                            .roster
                            .take(document, &own, std::mem::take(&mut watch.fresh))
                        {
                            let roster = watch.roster.clone();
                            self.tell(PhoneEvent::People(roster));
                        }
                    }
                    Err(error) => tracing::warn!(%error, "the roster cannot be read"),
                }
            }
            SubscriptionEvent::Rejected { response } => {
                watch.subscription = None;
                let status = response.map(|response| response.status.code());
                self.tell(PhoneEvent::NoRoster { status });
            }
            SubscriptionEvent::Terminated { retry_after, .. } => {
                // A focus ends the subscription with the conference; then the BYE is on its way, too.
                watch.subscription = None;
                let pause = retry_after.map_or(WATCH_AGAIN, |s| std::time::Duration::from_secs(s.into()));
                watch.again = Some(now + pause);
            }
            _ => {}
        }
    }
}

/// The seconds that a registrar granted to our contact (RFC 3261 §10.2.4).
fn granted(response: &Response, user: &str) -> u32 {
    let contacts = response.headers.contacts().ok();
    let own = contacts.as_ref().and_then(|contacts| {
        contacts
            .list()
            .iter()
            .find(|contact| contact.uri.user_decoded().as_deref() == Some(user))
    });
    let general = response.headers.expires().ok().flatten();
    own.and_then(NameAddr::expires).or(general).unwrap_or(3_600)
}

/// Commands that the endpoint refuses are faults of this program: logged, never fatal to a call.
pub(super) fn log_misuse(command: &'static str, done: Result<(), endpoint::EndpointError>) {
    if let Err(error) = done {
        tracing::error!(command, %error, "the endpoint refused");
    }
}
