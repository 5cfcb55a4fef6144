//! How messages find their transaction: RFC 3261 §17.1.3 and §17.2.3, and what makes two requests one (§8.2.2.2).

use crate::error::HeaderError;
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
        ClientKey { branch: branch.to_ascii_lowercase(), method }
    }

    /// The key that a response carries.
    pub fn of(response: &Response) -> Result<Self, HeaderError> {
        let via = response.headers.top_via()?;
        let cseq = response.headers.cseq()?;
        Ok(ClientKey::new(via.branch().unwrap_or(""), cseq.method))
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
        from_tag: Option<String>,
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
        let method = if *method == Method::Ack { Method::Invite } else { method.clone() };
        let via = request.headers.top_via()?;
        match via.branch() {
            Some(branch) if is_rfc3261(branch) => Ok(ServerKey::Branch {
                branch: branch.to_ascii_lowercase(),
                sent_by: via.sent_by().to_ascii_lowercase(),
                method,
            }),
            _ => Ok(ServerKey::Rfc2543 {
                uri: request.uri.to_string(),
                from_tag: request.headers.from_tag(),
                call_id: call_id(request),
                cseq: request.headers.cseq()?.seq,
                via: format!("{} {}", via.sent_by(), via.branch().unwrap_or("")),
                method,
            }),
        }
    }
}

/// Two requests outside a dialog with the same of these, but different transactions, came by two ways (§8.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MergeKey {
    from_tag: Option<String>,
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

fn is_rfc3261(branch: &str) -> bool {
    crate::ids::Branch::new(branch).is_rfc3261()
}
