//! How messages find their transaction: RFC 3261 §17.1.3 and §17.2.3, and what makes two requests one (§8.2.2.2).

use crate::error::HeaderError;
use crate::headers::Via;
use crate::ids::Tag;
use crate::message::{HeaderName, Method, Request, Response};

/// Finds a client transaction: our branch and the CSeq method (ACK never has one).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientKey {
    branch: String,
    method: Method,
}

impl ClientKey {
    /// The key of a request with this branch.
    pub fn new(branch: &str, method: Method) -> Self {
        ClientKey {
            branch: branch.to_ascii_lowercase(),
            method,
        }
    }

    /// The key that a response carries.
    pub fn of(response: &Response) -> Result<Self, HeaderError> {
        let branch = response.headers.top_via()?.branch();
        let method = response.headers.cseq()?.method;
        Ok(ClientKey::new(
            branch.as_ref().map_or("", |branch| branch.as_str()),
            method,
        ))
    }
}

/// Finds a server transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerKey {
    /// A branch with the magic cookie identifies, together with who sent it and the method.
    Branch {
        /// The branch, in lower case (§7.3.1: tokens compare without case).
        branch: String,
        /// Host and port of the top Via.
        sent_by: String,
        /// The method, INVITE for its ACK.
        method: Method,
    },
    /// A client of RFC 2543: the request's identity is spread over its headers. The To tag is left out, so that
    /// the ACK, which carries ours, finds the INVITE.
    Rfc2543 {
        /// Request-URI.
        uri: String,
        /// From tag.
        from_tag: Option<Tag>,
        /// Call-ID.
        call_id: String,
        /// CSeq number.
        cseq: u32,
        /// The whole top Via.
        via: String,
        /// The method, INVITE for its ACK.
        method: Method,
    },
}

impl ServerKey {
    /// The key of `request` as if its method were `method` (a CANCEL looks for its INVITE).
    pub fn of(request: &Request, method: &Method) -> Result<Self, HeaderError> {
        let method = if *method == Method::Ack {
            Method::Invite
        } else {
            method.clone()
        };
        let via = request.headers.top_via()?;
        match via.branch() {
            Some(branch) if branch.is_rfc3261() => Ok(ServerKey::Branch {
                branch: branch.as_str().to_ascii_lowercase(),
                sent_by: sent_by(&via),
                method,
            }),
            branch => Ok(ServerKey::Rfc2543 {
                uri: request.uri.to_string(),
                from_tag: request.headers.from_tag(),
                call_id: call_id(request),
                cseq: request.headers.cseq()?.seq,
                via: format!(
                    "{} {}",
                    sent_by(&via),
                    branch.as_ref().map_or("", |branch| branch.as_str())
                ),
                method,
            }),
        }
    }
}

/// Two requests outside a dialog with the same of these, but different transactions, came by two ways (§8.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MergeKey {
    from_tag: Option<Tag>,
    call_id: String,
    cseq: u32,
    method: Method,
}

impl MergeKey {
    /// The key of a request without To tag; none for one within a dialog.
    pub fn of(request: &Request) -> Option<Self> {
        if request.headers.to_tag().is_some() {
            return None;
        }
        Some(MergeKey {
            from_tag: request.headers.from_tag(),
            call_id: call_id(request),
            cseq: request.headers.cseq().ok()?.seq,
            method: request.method.clone(),
        })
    }
}

fn call_id(request: &Request) -> String {
    request.headers.get(&HeaderName::CallId).unwrap_or("").to_owned()
}

fn sent_by(via: &Via) -> String {
    let (host, port) = via.sent_by();
    // No port and 5060 are different spellings on purpose: a client repeats its own Via verbatim.
    format!("{host}:{}", port.unwrap_or(0)).to_ascii_lowercase()
}
