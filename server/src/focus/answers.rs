//! Pieces of answers: refusals with their headers, Contact and Call-Info, reasons for BYE.
//!
//! Deliberately absent: deciding. Whoever decides takes the words from here.

use std::net::IpAddr;

use sip_proto::endpoint::Flow;
use sip_proto::headers::Reason;
use sip_proto::message::{HeaderName, Headers, Method, StatusCode};
use sip_proto::uri::{Host, Uri};

use super::body;
use super::limits;
use super::names::RoomName;
use super::policy;
use super::record::LeaveReason;

/// The event package of RFC 4575.
pub const CONFERENCE_EVENT: &str = "conference";

/// The `purpose` of our Call-Info.
pub const API_PURPOSE: &str = "meet-api";

/// A refusal, ready for whichever command carries it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// 300 to 699.
    pub status: StatusCode,
    /// What goes with it.
    pub headers: Headers,
}

impl Rejection {
    /// A bare status.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: Headers::new(),
        }
    }

    /// 503 with Retry-After.
    pub fn unavailable() -> Self {
        let mut rejection = Self::new(StatusCode::SERVICE_UNAVAILABLE);
        rejection.headers.set(HeaderName::RetryAfter, limits::RETRY_AFTER);
        rejection
    }

    /// With a Warning (RFC 3261 §20.43): code, who warns, text.
    #[must_use]
    pub fn warn(mut self, code: u16, text: &str) -> Self {
        let text = text.replace(['"', '\\'], "'");
        self.headers
            .push(HeaderName::Warning, format_args!("{code} meet \"{text}\""));
        self
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.set(name, value);
        self
    }
}

/// The room's URI as the peer of this flow can reach it.
pub fn room_uri(name: &RoomName, flow: &Flow) -> Uri {
    let text = match flow.transport.uri_param() {
        Some(transport) => format!("sip:{name}@{};transport={transport}", flow.local),
        None => format!("sip:{name}@{}", flow.local),
    };
    text.parse()
        .unwrap_or_else(|_| Uri::sip(name.as_str(), host(flow.local.ip()), Some(flow.local.port())))
}

/// The Contact of every answer in a room's dialogs: RFC 4579 §3.1's `isfocus` is a parameter
/// of the header, not of the URI (RFC 3840 §9).
pub fn focus_contact(name: &RoomName, flow: &Flow) -> String {
    format!("<{}>;isfocus", room_uri(name, flow))
}

/// The Contact of answers that belong to no room.
pub fn server_contact(flow: &Flow) -> String {
    match flow.transport.uri_param() {
        Some(transport) => format!("<sip:{};transport={transport}>", flow.local),
        None => format!("<sip:{}>", flow.local),
    }
}

/// Call-Info that names the API, with the creator's token where there is one to give.
pub fn call_info(url: &str, token: Option<&str>) -> String {
    match token {
        Some(token) => format!("<{url}>;purpose={API_PURPOSE};token={token}"),
        None => format!("<{url}>;purpose={API_PURPOSE}"),
    }
}

/// What an answer to OPTIONS says about us (RFC 3261 §11.2).
pub fn add_capabilities(headers: &mut Headers) {
    let methods: Vec<&str> = policy::ALLOWED_METHODS.iter().map(Method::as_str).collect();
    headers.set(HeaderName::Allow, methods.join(", "));
    headers.set(HeaderName::Accept, body::SDP);
    headers.set(HeaderName::AcceptEncoding, "identity");
    headers.set(HeaderName::AcceptLanguage, "en");
    headers.set(HeaderName::AllowEvents, CONFERENCE_EVENT);
}

/// RFC 3326 Reason of a BYE, or none where the BYE explains itself.
pub fn bye_reason(reason: LeaveReason) -> Option<Reason> {
    let text = match reason {
        LeaveReason::Left => return None,
        LeaveReason::Vanished => "SIP;cause=408;text=\"No media and no answer\"",
        LeaveReason::Removed => "SIP;cause=403;text=\"Removed from the meeting\"",
        LeaveReason::ConnectionLost => "SIP;cause=503;text=\"Connection lost\"",
        LeaveReason::MeetingEnded => "SIP;cause=410;text=\"Meeting ended\"",
        LeaveReason::Shutdown => "SIP;cause=503;text=\"Server shutting down\"",
        LeaveReason::BadAnswer => "SIP;cause=488;text=\"Answer does not fit the offer\"",
        LeaveReason::Failed => "SIP;cause=500;text=\"Media failed\"",
    };
    text.parse().ok()
}

fn host(address: IpAddr) -> Host {
    match address {
        IpAddr::V4(v4) => Host::V4(v4),
        IpAddr::V6(v6) => Host::V6(v6),
    }
}

#[cfg(test)]
mod tests {
    use sip_proto::endpoint::Transport;

    use super::*;

    #[test]
    fn contacts_name_the_address_that_the_peer_reaches() {
        let name = RoomName::parse("blue").unwrap();
        let mut flow = Flow::udp(
            "192.0.2.1:5060".parse().unwrap(),
            "192.0.2.9:5070".parse().unwrap(),
        );
        assert_eq!(focus_contact(&name, &flow), "<sip:blue@192.0.2.1:5060>;isfocus");
        flow.transport = Transport::Tcp;
        flow.local = "[2001:db8::1]:5061".parse().unwrap();
        assert_eq!(
            focus_contact(&name, &flow),
            "<sip:blue@[2001:db8::1]:5061;transport=tcp>;isfocus"
        );
        assert_eq!(server_contact(&flow), "<sip:[2001:db8::1]:5061;transport=tcp>");
    }

    #[test]
    fn every_bye_but_the_plain_one_has_a_reason() {
        for reason in LeaveReason::ALL {
            assert_eq!(
                bye_reason(reason).is_some(),
                reason != LeaveReason::Left,
                "{reason:?}"
            );
        }
    }
}
