//! The forms that messages take on the wire: our Via, ACK and CANCEL made from an INVITE, the way back.

use std::net::SocketAddr;

use crate::endpoint::Flow;
use crate::headers::{Via, ViaTransport};
use crate::ids::Branch;
use crate::message::{HeaderName, Method, Request};

/// Where an answer to `request` goes that came by `flow` (§18.2.2, RFC 3581 §4): with `rport`, or where the
/// sender's address was rewritten on the way, to its source; else to the port that its Via names. `maddr` is not
/// followed: it would let a stranger aim our answers.
pub(crate) fn reply_flow(request: &Request, flow: Flow) -> Flow {
    if flow.transport.is_reliable() {
        return flow;
    }
    let Ok(via) = request.headers.top_via() else {
        return flow;
    };
    let translated = via
        .host
        .ip()
        .is_none_or(|ip| ip.to_canonical() != flow.remote.ip().to_canonical());
    if via.params.contains("rport") || translated {
        return flow;
    }
    let port = via.port.unwrap_or(flow.transport.default_port());
    Flow {
        remote: SocketAddr::new(flow.remote.ip(), port),
        ..flow
    }
}

/// ACK to a non-2xx (§17.1.1.3) or CANCEL (§9.1) of an INVITE: the same in all that identifies it.
pub(super) fn derived(invite: &Request, method: Method, to: Option<&str>) -> Request {
    let mut request = Request::new(method.clone(), invite.uri.clone());
    request.headers.push(HeaderName::MaxForwards, 70);
    for name in [
        HeaderName::Route,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
    ] {
        request.headers.copy_from(&invite.headers, &name);
    }
    if let Some(to) = to {
        request.headers.set(HeaderName::To, to);
    }
    let seq = invite.headers.cseq().map_or(1, |cseq| cseq.seq);
    request
        .headers
        .push(HeaderName::CSeq, format_args!("{seq} {method}"));
    request
}

/// The bytes of a request with our Via on top. `rport` is always asked for (RFC 3581 §3).
pub(crate) fn on_the_wire(request: &Request, flow: &Flow, branch: &Branch) -> Vec<u8> {
    let mut request = request.clone();
    let transport = ViaTransport::parse(flow.transport.via_token());
    let via = Via::new(transport, flow.local.ip().into(), Some(flow.local.port()), branch);
    request.headers.push_front(HeaderName::Via, via);
    request.to_bytes()
}
