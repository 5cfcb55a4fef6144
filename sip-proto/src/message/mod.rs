//! Messages: parsing, the header map with its typed views, writing.
//!
//! The parser is our own scanner: rsip 0.4 refuses folding, compact forms, IPv6 and much else that
//! RFC 4475 asks for, and serves here for reason phrases and, in tests, as a second opinion on what
//! the writer emits. What is accepted is RFC 3261 §25 with the liberties that RFC 4475 and 5118
//! recommend; what is refused says why and keeps enough of the request to be answered. Absent:
//! multipart bodies and content codings, which belong to whoever reads a body.

mod headers;
mod method;
mod name;
mod parse;
mod request;
mod response;
mod status;
mod typed;
mod validate;

pub use headers::Headers;
pub use method::Method;
pub use name::HeaderName;
pub use parse::parse;
pub use request::Request;
pub use response::Response;
pub use status::StatusCode;

pub(crate) use parse::scan_head;

/// A request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// Its headers.
    pub fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        match self {
            Self::Request(request) => &request.body,
            Self::Response(response) => &response.body,
        }
    }

    /// Its bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }
}
