//! Dialogs: the peer-to-peer relation that a call or a subscription lives in, RFC 3261 §12.
//!
//! A [`Dialog`] is pure data with the rules for reading and writing it: identifiers, route set, targets, CSeq
//! order. It is *early* until a 2xx confirms it; who may send what in which state is the usage's matter.
//! Local and remote identities are kept as the header values that they came in, so that they go back verbatim.
//! Absent: dialogs without tags made by RFC 2543 peers are kept with an empty tag, no more is done for them.

mod next_hop;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::endpoint::Flow;
use crate::error::HeaderError;
use crate::headers::{Contacts, NameAddr};
use crate::ids::Tag;
use crate::message::{HeaderName, Headers, Method, Request, Response};
use crate::uri::Uri;

/// What identifies a dialog: Call-ID and both tags (§12).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag; empty for a peer of RFC 2543.
    pub remote_tag: String,
}

impl DialogId {
    /// The dialog that a request from the peer names: its To tag is ours.
    pub fn of_request(request: &Request) -> Option<Self> {
        Some(DialogId {
            call_id: request.headers.get(&HeaderName::CallId)?.to_owned(),
            local_tag: request.headers.to_tag()?.to_string(),
            remote_tag: tag(request.headers.from_tag()),
        })
    }

    /// The dialog that a request of ours names: its From tag is ours.
    pub fn of_own_request(request: &Request) -> Option<Self> {
        Some(DialogId {
            call_id: request.headers.get(&HeaderName::CallId)?.to_owned(),
            local_tag: request.headers.from_tag()?.to_string(),
            remote_tag: tag(request.headers.to_tag()),
        })
    }

    /// The dialog that a response from the peer names: its From tag is ours.
    pub fn of_response(response: &Response) -> Option<Self> {
        Some(DialogId {
            call_id: response.headers.get(&HeaderName::CallId)?.to_owned(),
            local_tag: response.headers.from_tag()?.to_string(),
            remote_tag: tag(response.headers.to_tag()),
        })
    }
}

/// One dialog.
#[derive(Debug, Clone)]
pub struct Dialog {
    id: DialogId,
    local: String,
    remote: String,
    remote_target: Uri,
    route_set: Vec<NameAddr>,
    numbers: Arc<Numbers>,
    contact: String,
    flow: Flow,
    translated: bool,
    peer_takes_update: bool,
}

/// The CSeq numbers of a dialog, one count for all its usages (RFC 5057 §3.1): copies of a dialog share them.
#[derive(Debug)]
struct Numbers {
    local: AtomicU32,
    /// [`NONE_YET`] before the peer's first request.
    remote: AtomicU32,
}

/// No CSeq can be as large (§8.1.1.5).
const NONE_YET: u32 = u32::MAX;

impl Numbers {
    fn new(local: u32, remote: Option<u32>) -> Arc<Self> {
        Arc::new(Numbers {
            local: AtomicU32::new(local),
            remote: AtomicU32::new(remote.unwrap_or(NONE_YET)),
        })
    }
}

impl Dialog {
    /// The dialog that a request makes at the called side (§12.1.1). `cseq` is where our own numbers begin.
    pub fn of_server(
        request: &Request,
        local_tag: &str,
        contact: String,
        flow: Flow,
        cseq: u32,
    ) -> Result<Self, HeaderError> {
        let headers = &request.headers;
        let to = headers
            .get(&HeaderName::To)
            .ok_or_else(|| HeaderError::missing(HeaderName::To))?;
        let from = headers
            .get(&HeaderName::From)
            .ok_or_else(|| HeaderError::missing(HeaderName::From))?;
        // A client of RFC 2543 may send no Contact (RFC 4475 §3.4.1): its From is the best that there is.
        let remote_target = match target(headers)? {
            Some(uri) => uri,
            None => headers.from()?.uri,
        };
        Ok(Dialog {
            id: DialogId {
                call_id: headers.call_id()?.as_str().to_owned(),
                local_tag: local_tag.to_owned(),
                remote_tag: tag(headers.from_tag()),
            },
            local: format!("{to};tag={local_tag}"),
            remote: from.to_owned(),
            translated: next_hop::is_translated(request, &remote_target, &flow),
            remote_target,
            // §12.1.1: in the order of the request.
            route_set: headers.record_routes()?,
            numbers: Numbers::new(cseq, Some(headers.cseq()?.seq)),
            contact,
            flow,
            peer_takes_update: takes_update(headers),
        })
    }

    /// The dialog that a response makes at the calling side (§12.1.2).
    pub fn of_client(
        request: &Request,
        response: &Response,
        contact: String,
        flow: Flow,
    ) -> Result<Self, HeaderError> {
        let headers = &response.headers;
        let from = request.headers.get(&HeaderName::From);
        let from = from.ok_or_else(|| HeaderError::missing(HeaderName::From))?;
        let to = headers
            .get(&HeaderName::To)
            .ok_or_else(|| HeaderError::missing(HeaderName::To))?;
        // A provisional response may come without Contact; the Request-URI stands in until one comes.
        let remote_target = target(headers)
            .ok()
            .flatten()
            .unwrap_or_else(|| request.uri.clone());
        Ok(Dialog {
            id: DialogId {
                call_id: request.headers.call_id()?.as_str().to_owned(),
                local_tag: tag(request.headers.from_tag()),
                remote_tag: tag(headers.to_tag()),
            },
            local: from.to_owned(),
            remote: to.to_owned(),
            remote_target,
            // The 2xx needs its ACK even when this cannot be read.
            route_set: reversed_routes(headers).unwrap_or_default(),
            numbers: Numbers::new(request.headers.cseq()?.seq, None),
            contact,
            flow,
            translated: false,
            peer_takes_update: takes_update(headers),
        })
    }

    /// The dialog that a NOTIFY makes at the subscriber's side when it comes first (RFC 6665 §4.4.1).
    pub fn of_notify(
        subscribe: &Request,
        notify: &Request,
        contact: String,
        flow: Flow,
    ) -> Result<Self, HeaderError> {
        let headers = &notify.headers;
        let from = headers
            .get(&HeaderName::From)
            .ok_or_else(|| HeaderError::missing(HeaderName::From))?;
        let local = subscribe.headers.get(&HeaderName::From);
        let local = local.ok_or_else(|| HeaderError::missing(HeaderName::From))?;
        Ok(Dialog {
            id: DialogId {
                call_id: headers.call_id()?.as_str().to_owned(),
                local_tag: tag(subscribe.headers.from_tag()),
                remote_tag: tag(headers.from_tag()),
            },
            local: local.to_owned(),
            remote: from.to_owned(),
            remote_target: target(headers)?.unwrap_or_else(|| subscribe.uri.clone()),
            route_set: headers.record_routes()?,
            numbers: Numbers::new(subscribe.headers.cseq()?.seq, Some(headers.cseq()?.seq)),
            contact,
            flow,
            translated: false,
            peer_takes_update: takes_update(headers),
        })
    }

    /// Its identifier.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// Our Contact value.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// Our Contact changes: the application gave another one.
    pub fn set_contact(&mut self, contact: String) {
        self.contact = contact;
    }

    /// Where requests of the peer last came from.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// The URI of the peer's Contact.
    pub fn remote_target(&self) -> &Uri {
        &self.remote_target
    }

    /// The 2xx confirms an early dialog: the route set is taken from it again (§13.2.2.4).
    pub fn confirm(&mut self, response: &Response, flow: Flow) {
        if let Ok(routes) = reversed_routes(&response.headers) {
            self.route_set = routes;
        }
        if let Some(to) = response.headers.get(&HeaderName::To) {
            self.remote = to.to_owned();
        }
        self.refresh_target(&response.headers);
        self.flow = flow;
    }

    /// Takes note of a request of the peer: false when its CSeq is lower than one seen before (§12.2.2).
    pub fn admit(&mut self, request: &Request, flow: Flow) -> bool {
        let Ok(cseq) = request.headers.cseq() else {
            return false;
        };
        let last = self.numbers.remote.load(Ordering::Relaxed);
        if last != NONE_YET && cseq.seq < last {
            return false;
        }
        self.numbers.remote.store(cseq.seq, Ordering::Relaxed);
        self.flow = flow;
        true
    }

    /// A target refresh (re-INVITE, UPDATE, SUBSCRIBE and their 2xx) moves the peer's Contact (§12.2).
    pub fn refresh_target(&mut self, headers: &Headers) {
        if headers.contains(&HeaderName::Allow) {
            self.peer_takes_update = takes_update(headers);
        }
        if let Ok(Some(uri)) = target(headers) {
            self.remote_target = uri;
        }
    }

    /// Whether the peer's last Allow named UPDATE (RFC 3311 §4: else it must not be sent).
    pub fn peer_takes_update(&self) -> bool {
        self.peer_takes_update
    }

    /// The next own CSeq number.
    pub fn next_cseq(&mut self) -> u32 {
        let next = self.numbers.local.load(Ordering::Relaxed).saturating_add(1);
        self.numbers.local.store(next, Ordering::Relaxed);
        next
    }

    /// The last own CSeq number.
    pub(crate) fn last_cseq(&self) -> u32 {
        self.numbers.local.load(Ordering::Relaxed)
    }

    /// Our requests so far came to this CSeq number: the next one is greater (§12.2.1.1).
    pub(crate) fn go_on_after(&mut self, cseq: u32) {
        self.numbers.local.fetch_max(cseq, Ordering::Relaxed);
    }

    /// A request within the dialog with the next CSeq number (§12.2.1.1).
    pub fn request(&mut self, method: Method) -> Request {
        let cseq = self.next_cseq();
        self.build(method, cseq)
    }

    /// The ACK to a 2xx: the CSeq number is that of the INVITE (§13.2.2.4).
    pub fn ack(&self, cseq: u32) -> Request {
        self.build(Method::Ack, cseq)
    }

    fn build(&self, method: Method, cseq: u32) -> Request {
        let mut routes: Vec<String> = self.route_set.iter().map(ToString::to_string).collect();
        let uri = match self.route_set.first() {
            // A strict router wants its own URI as Request-URI and the target at the end of the Route.
            Some(first) if !first.uri.is_loose_route() => {
                routes.remove(0);
                routes.push(format!("<{}>", self.remote_target));
                first.uri.as_request_uri()
            }
            _ => self.remote_target.as_request_uri(),
        };
        let mut request = Request::new(method.clone(), uri);
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, 70);
        for route in routes {
            headers.push(HeaderName::Route, route);
        }
        headers.push(HeaderName::From, &self.local);
        headers.push(HeaderName::To, &self.remote);
        headers.push(HeaderName::CallId, &self.id.call_id);
        headers.push(HeaderName::CSeq, format_args!("{cseq} {method}"));
        if is_target_refresh(&method) {
            headers.push(HeaderName::Contact, &self.contact);
        }
        request
    }
}

fn tag(tag: Option<Tag>) -> String {
    tag.map(|tag| tag.as_str().to_owned()).unwrap_or_default()
}

fn is_target_refresh(method: &Method) -> bool {
    matches!(
        method,
        Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer
    )
}

fn takes_update(headers: &Headers) -> bool {
    headers.has_token(&HeaderName::Allow, "UPDATE")
}

/// The first Contact, when there is one that SIP can reach.
fn target(headers: &Headers) -> Result<Option<Uri>, HeaderError> {
    if !headers.contains(&HeaderName::Contact) {
        return Ok(None);
    }
    let uri = match headers.contacts()? {
        Contacts::List(list) => list.into_iter().next().map(|contact| contact.uri),
        Contacts::Star => None,
    };
    Ok(uri.filter(Uri::is_sip))
}

/// §12.1.2: the calling side takes Record-Route in reverse order.
fn reversed_routes(headers: &Headers) -> Result<Vec<NameAddr>, HeaderError> {
    let mut routes = headers.record_routes()?;
    routes.reverse();
    Ok(routes)
}
