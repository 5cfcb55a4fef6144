//! Requests and how they are written.

use super::{Headers, Method};
use crate::uri::Uri;
use std::io::Write;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Request-URI.
    pub uri: Uri,
    /// Headers in order.
    pub headers: Headers,
    /// Body as it came.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, uri: Uri) -> Self {
        Self {
            method,
            uri,
            headers: Headers::new(),
            body: Vec::new(),
        }
    }

    /// Its bytes. Content-Length is written from the body, whatever the headers say.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.headers.wire_len() + self.body.len() + 128);
        out.extend_from_slice(self.method.as_str().as_bytes());
        // Writing to a Vec cannot fail.
        let _ = write!(out, " {} SIP/2.0\r\n", self.uri);
        self.headers.write(&mut out, self.body.len());
        out.extend_from_slice(&self.body);
        out
    }
}
