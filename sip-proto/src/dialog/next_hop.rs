//! Where a request within a dialog goes: the first route or the remote target, unless the peer sits behind an
//! address translator and is reached only where it was last heard.

use std::net::{IpAddr, SocketAddr};

use super::Dialog;
use crate::endpoint::{Flow, Transport};
use crate::message::Request;
use crate::uri::Uri;

impl Dialog {
    /// Whether the peer sits behind an address translator and is reached only where it was heard.
    pub fn is_translated(&self) -> bool {
        self.translated
    }

    /// The flow of the next request. `is_open` says whether the dialog's present flow still stands. No names are
    /// resolved: a URI that names its host leaves the flow as it is.
    pub fn next_hop(&self, is_open: bool) -> Flow {
        let stream = self.flow.transport != Transport::Udp;
        if (stream && is_open) || (!stream && self.translated) {
            return self.flow;
        }
        let uri = self
            .route_set
            .first()
            .map_or(&self.remote_target, |route| &route.uri);
        let remote = reachable(uri, &self.flow).unwrap_or(self.flow.remote);
        Flow {
            remote,
            connection: None,
            ..self.flow
        }
    }
}

/// Whether the sender's address was rewritten on the way: its Via names another address than the packet's source,
/// or names none and its Contact does not match either.
pub(super) fn is_translated(request: &Request, contact: &Uri, flow: &Flow) -> bool {
    let source = flow.remote.ip().to_canonical();
    let Ok(via) = request.headers.top_via() else {
        return true;
    };
    match via.host.ip() {
        Some(ip) => ip.to_canonical() != source,
        None => contact.host.ip().is_none_or(|ip| ip.to_canonical() != source),
    }
}

/// The address that a URI spells out, if it is one that can be reached from where the peer was heard.
fn reachable(uri: &Uri, flow: &Flow) -> Option<SocketAddr> {
    let ip = uri.host.ip()?;
    let heard = flow.remote.ip();
    let foreign = is_local(ip) && !is_local(heard) && ip.to_canonical() != heard.to_canonical();
    if ip.is_unspecified() || ip.is_ipv4() != heard.is_ipv4() || foreign {
        return None;
    }
    Some(SocketAddr::new(
        ip,
        uri.port.unwrap_or(flow.transport.default_port()),
    ))
}

/// Loopback, private, link-local or unique-local: means nothing outside its own network.
fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}
