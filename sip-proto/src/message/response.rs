//! Responses and how they are written.

use super::headers::push_decimal;
use super::{HeaderName, Headers, Request, StatusCode};
use crate::ids::Tag;

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: StatusCode,
    /// Reason phrase; may be empty.
    pub reason: String,
    /// Headers in order.
    pub headers: Headers,
    /// Body as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// A response without headers and body.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            reason: status.default_reason().into_owned(),
            headers: Headers::new(),
            body: Vec::new(),
        }
    }

    /// The answer to a request: Via, From, To, Call-ID and CSeq are the request's own
    /// (RFC 3261 §8.2.6.2). A To tag is the caller's to add: see [`Response::tag_to`].
    pub fn to(request: &Request, status: StatusCode) -> Self {
        let mut response = Self::new(status);
        for name in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            response.headers.copy_from(&request.headers, &name);
        }
        response
    }

    /// Adds a tag to To if it has none (RFC 3261 §8.2.6.2: every response but 100 has one). A To
    /// that cannot be read is left alone.
    pub fn tag_to(&mut self, tag: &Tag) {
        if let Ok(to) = self.headers.to()
            && to.tag().is_none()
        {
            self.headers.set(HeaderName::To, to.with_tag(tag));
        }
    }

    /// Its bytes. Content-Length is written from the body, whatever the headers say.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.headers.wire_len() + self.body.len() + 64);
        out.extend_from_slice(b"SIP/2.0 ");
        push_decimal(&mut out, usize::from(self.status.code()));
        out.push(b' ');
        // A line end in the phrase would start a header.
        out.extend(
            self.reason
                .bytes()
                .map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }),
        );
        out.extend_from_slice(b"\r\n");
        self.headers.write(&mut out, self.body.len());
        out.extend_from_slice(&self.body);
        out
    }
}
