//! What every usage works with: configuration, identifiers, transactions, the dialog table, output.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::config::EndpointConfig;
use super::event::{Event, SessionEvent, SubscriptionEvent};
use super::schedule::Schedule;
use super::types::{Body, ClientTx, ConnectionId, Flow, Output, SessionId, SubscriptionId};
use super::wallet::Wallet;
use super::wire::Wire;
use crate::dialog::DialogId;
use crate::headers::NameAddr;
use crate::ids::IdSource;
use crate::message::{HeaderName, Headers, Request, Response, StatusCode};
use crate::transaction::layer::{ClientId, Layer, ServerId};
use crate::uri::{Host, Uri};

/// Whose request a client transaction carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A session's first INVITE.
    Invite(SessionId),
    /// A session's re-INVITE or UPDATE.
    Offer(SessionId),
    /// A session's PRACK without an offer.
    Prack(SessionId),
    /// An UPDATE that only refreshes a session (RFC 4028).
    Refresh(SessionId),
    /// A session's BYE.
    Bye(SessionId),
    /// The application's own request, in a session's dialog or outside.
    Application(ClientTx, Option<SessionId>),
    /// A SUBSCRIBE of ours.
    Subscribe(SubscriptionId),
    /// A NOTIFY of ours.
    Notify(SubscriptionId),
    /// CANCEL, or the BYE to a branch of a fork that is not wanted: nobody waits for the answer.
    Nobody,
}

/// The owner of a client transaction, and how often its challenge was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientUse {
    pub(crate) purpose: Purpose,
    pub(crate) attempts: u8,
}

/// The owner of a server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerUse {
    /// A session's first INVITE.
    Invite(SessionId),
    /// A re-INVITE, UPDATE or PRACK of the peer with an offer.
    Offer(SessionId),
    /// Waits for the application's `respond`.
    Application(Option<SessionId>),
    /// A first SUBSCRIBE of the peer.
    Subscribe(SubscriptionId),
    /// Answered by the endpoint at once.
    Answered,
}

/// Whom a dialog belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    Session(SessionId),
    Subscription(SubscriptionId),
}

/// Everything but the usages themselves.
pub(crate) struct Stack {
    pub(crate) config: EndpointConfig,
    pub(crate) ids: IdSource,
    pub(crate) wire: Wire,
    pub(crate) layer: Layer<ClientUse, ServerUse>,
    pub(crate) dialogs: HashMap<DialogId, Usage>,
    /// Subscriptions of the peer in the dialogs of sessions, which they may outlive.
    pub(crate) within: HashMap<DialogId, Vec<SubscriptionId>>,
    /// SUBSCRIBEs whose dialog a NOTIFY may make, by Call-ID and our tag.
    pub(crate) half_dialogs: HashMap<(String, String), SubscriptionId>,
    pub(crate) usages: Schedule<WakeUsage>,
    pub(super) wallet: Wallet,
    per_peer: HashMap<IpAddr, usize>,
    tag_secret: u64,
    next: u64,
}

/// A usage that has a deadline, or a stream that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum WakeUsage {
    Session(SessionId),
    Subscription(SubscriptionId),
    /// A stream that is to be closed.
    Stream(ConnectionId),
}

impl Stack {
    pub(crate) fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let mut ids = IdSource::new(seed);
        let tag_secret = ids.below(u64::MAX);
        Stack {
            layer: Layer::new(
                config.timers,
                config.stream_above,
                config.expected_transactions.min(config.max_transactions),
            ),
            config,
            ids,
            wire: Wire::new(),
            dialogs: HashMap::new(),
            within: HashMap::new(),
            half_dialogs: HashMap::new(),
            usages: Schedule::new(),
            wallet: Wallet::default(),
            per_peer: HashMap::new(),
            tag_secret,
            next: 0,
        }
    }

    /// A fresh number for an identifier.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Dialogs, those included that only a subscription is left of.
    pub(crate) fn dialog_count(&self) -> usize {
        let left = self
            .within
            .keys()
            .filter(|id| !self.dialogs.contains_key(id))
            .count();
        self.dialogs.len() + left
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.wire.out.push_back(Output::Event(event));
    }

    pub(crate) fn emit_session(&mut self, session: SessionId, event: SessionEvent) {
        self.emit(Event::Session { session, event });
    }

    pub(crate) fn emit_subscription(&mut self, subscription: SubscriptionId, event: SubscriptionEvent) {
        self.emit(Event::Subscription { subscription, event });
    }

    /// Counts a peer's usage; false when it has too many.
    pub(crate) fn admit_peer(&mut self, peer: IpAddr) -> bool {
        let count = self.per_peer.entry(peer).or_insert(0);
        if *count >= self.config.max_dialogs_per_peer {
            return false;
        }
        *count += 1;
        true
    }

    pub(crate) fn release_peer(&mut self, peer: IpAddr) {
        if let Some(count) = self.per_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&peer);
            }
        }
    }

    /// Sends a request in a new client transaction.
    pub(crate) fn send(
        &mut self,
        mut request: Request,
        flow: Flow,
        purpose: Purpose,
        now: Instant,
    ) -> ClientId {
        if !self.config.user_agent.is_empty() && !request.headers.contains(&HeaderName::UserAgent) {
            request
                .headers
                .push(HeaderName::UserAgent, &self.config.user_agent);
        }
        self.wallet
            .authorise(&mut request, &self.config.credentials, &mut self.ids);
        let owner = ClientUse { purpose, attempts: 0 };
        self.layer
            .send(request, flow, owner, &mut self.ids, &mut self.wire, now)
    }

    /// A destination cannot be reached, or a connection is gone.
    pub(crate) fn transport_failed(&mut self, flow: &Flow, now: Instant) {
        self.layer.transport_failed(flow, &mut self.wire, now);
    }

    /// Sends an ACK to a 2xx: no transaction, its own branch. The bytes are kept to send again.
    pub(crate) fn send_ack(&mut self, ack: &Request, flow: Flow) -> Vec<u8> {
        let branch = self.ids.branch();
        let bytes = crate::transaction::layer::on_the_wire(ack, &flow, &branch);
        self.wire.transmit(flow, bytes.clone());
        bytes
    }

    /// The answer to a request, with Server and what a status of this kind calls for.
    pub(crate) fn response(&self, request: &Request, status: StatusCode) -> Response {
        let mut response = Response::to(request, status);
        self.sign(&mut response);
        match status.code() {
            405 | 501 => self.put_allow(&mut response.headers),
            420 => {
                for tag in self.unsupported(request) {
                    response.headers.push(HeaderName::Unsupported, tag);
                }
            }
            _ => {}
        }
        response
    }

    pub(crate) fn sign(&self, response: &mut Response) {
        if !self.config.user_agent.is_empty() && !response.headers.contains(&HeaderName::Server) {
            response.headers.push(HeaderName::Server, &self.config.user_agent);
        }
    }

    pub(crate) fn put_allow(&self, headers: &mut Headers) {
        if !headers.contains(&HeaderName::Allow) {
            let methods: Vec<&str> = self.config.allow.iter().map(|method| method.as_str()).collect();
            headers.push(HeaderName::Allow, methods.join(", "));
        }
    }

    /// Allow, Supported and Allow-Events, as an INVITE and its 2xx tell them.
    pub(crate) fn put_abilities(&self, headers: &mut Headers) {
        self.put_allow(headers);
        for (name, list) in [
            (HeaderName::Supported, &self.config.supported),
            (HeaderName::AllowEvents, &self.config.allow_events),
        ] {
            if !list.is_empty() && !headers.contains(&name) {
                headers.push(name, list.join(", "));
            }
        }
    }

    /// Whether we understand an extension.
    pub(crate) fn supports(&self, tag: &str) -> bool {
        self.config
            .supported
            .iter()
            .any(|own| own.eq_ignore_ascii_case(tag))
    }

    /// Option tags of Require that are not understood (§8.2.2.3).
    pub(crate) fn unsupported(&self, request: &Request) -> Vec<String> {
        let mut tags = request.headers.tokens(&HeaderName::Require);
        tags.retain(|tag| !self.supports(tag));
        tags
    }

    /// Answers a request without keeping a transaction. The tag is a hash, so that each answer to a
    /// retransmission carries the same one (§8.2.7).
    pub(crate) fn respond_stateless(&mut self, request: &Request, mut response: Response, flow: Flow) {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.tag_secret.hash(&mut hasher);
        for name in [HeaderName::CallId, HeaderName::From, HeaderName::Via] {
            request.headers.get(&name).hash(&mut hasher);
        }
        response.tag_to(&crate::ids::Tag::new(format!("{:016x}", hasher.finish())));
        let to = crate::transaction::layer::reply_flow(request, flow);
        self.wire.transmit(to, response.to_bytes());
    }

    /// Answers a request within a dialog at once, by a transaction that repeats the answer.
    pub(crate) fn answer_now(&mut self, request: Request, response: Response, flow: Flow, now: Instant) {
        let reply = crate::transaction::layer::reply_flow(&request, flow);
        if let Some(tx) = self.layer.accept(request, reply, ServerUse::Answered, now) {
            self.respond(tx, &response, now);
        }
    }

    pub(crate) fn respond(&mut self, tx: ServerId, response: &Response, now: Instant) -> bool {
        self.layer.respond(tx, response, &mut self.wire, now)
    }

    /// Our Contact on this flow, in brackets.
    pub(crate) fn contact(&self, flow: &Flow) -> String {
        let mut uri = Uri::sip(
            &self.config.contact_user,
            Host::from(flow.local.ip()),
            Some(flow.local.port()),
        );
        if let Some(transport) = flow.transport.uri_param() {
            uri.params.set("transport", transport);
        }
        NameAddr::new(uri).to_string()
    }
}

/// The Contact that the application put into its headers, taken out of them.
pub(crate) fn take_contact(headers: &mut Headers) -> Option<String> {
    let contact = headers.get(&HeaderName::Contact).map(str::to_owned);
    headers.remove(&HeaderName::Contact);
    contact
}

/// Puts a body and its type into a message's parts.
pub(crate) fn put_body(headers: &mut Headers, into: &mut Vec<u8>, body: Option<Body>) {
    if let Some(body) = body {
        headers.set(HeaderName::ContentType, &body.content_type);
        *into = body.bytes;
    }
}
