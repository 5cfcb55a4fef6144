//! The scanner: a datagram, or a framed stretch of a stream, into a message.
//!
//! One pass over the bytes of the head finds the lines, unfolds and trims the values; the checks of
//! `validate.rs` follow on the borrowed values. Line ends may be bare LF, which real elements send;
//! a bare CR is refused, since it would leave with the next message we write. A body longer than
//! Content-Length is cut off, a shorter one is an error (RFC 3261 §18.3); without Content-Length
//! the rest of the datagram is the body.

use super::{HeaderName, Headers, Message, Method, Request, Response, StatusCode, validate};
use crate::error::{ParseError, ParseErrorKind, SyntaxError};
use crate::grammar::{is_token, trim};
use crate::limits::{
    MAX_HEAD_BYTES, MAX_HEADER_BYTES, MAX_HEADERS, MAX_LEADING_LINE_ENDS, MAX_MESSAGE_BYTES,
    MAX_START_LINE_BYTES,
};
use crate::uri::{Host, Uri};
use memchr::{memchr, memchr2};

/// Reads one message from a datagram.
pub fn parse(datagram: &[u8]) -> Result<Message, ParseError> {
    let head = scan_head(datagram)?;
    if datagram.len() > MAX_MESSAGE_BYTES {
        return Err(head.refuse(ParseErrorKind::TooLarge));
    }
    head.finish(datagram)
}

/// A scanned head: what it begins with, its headers, where the body starts, the first fault.
pub(crate) struct Head {
    start: StartLine,
    headers: Headers,
    /// Offset of the first body byte in what was scanned.
    pub(crate) body_start: usize,
    fault: Option<ParseErrorKind>,
}

enum StartLine {
    Request {
        method: Method,
        uri: Option<Uri>,
    },
    Response {
        status: StatusCode,
        reason: String,
    },
    /// A status line that is no good: never answered.
    BadResponse,
}

/// Scans start line and headers. Fails only where nothing can be salvaged; other faults wait in
/// the head, so that the headers behind them are there for the answer.
pub(crate) fn scan_head(bytes: &[u8]) -> Result<Head, ParseError> {
    let mut lines = Lines { rest: bytes };
    let first = lines.start_line()?;
    if first.len() > MAX_START_LINE_BYTES {
        return Err(ParseError::new(ParseErrorKind::StartLineTooLong));
    }
    let (start, mut fault) = start_line(first)?;
    // Head values are most of a head; eight bytes of name and line end per line or more.
    let mut headers = Headers::with_capacity(bytes.len().min(2048), 20);
    let ended = loop {
        let Some(line) = lines.next_header_line() else {
            break false;
        };
        if line.is_empty() {
            break true;
        }
        if headers.len() >= MAX_HEADERS {
            fault.get_or_insert(ParseErrorKind::TooManyHeaders);
            break false;
        }
        if let Err(kind) = header_line(line, &mut headers) {
            fault.get_or_insert(kind);
        }
        if bytes.len() - lines.rest.len() > MAX_HEAD_BYTES {
            fault.get_or_insert(ParseErrorKind::HeaderTooLong);
            break false;
        }
    };
    if !ended {
        fault.get_or_insert(ParseErrorKind::Truncated);
    }
    Ok(Head {
        start,
        headers,
        body_start: bytes.len() - lines.rest.len(),
        fault,
    })
}

impl Head {
    /// Checks the head and takes the body out of what was scanned.
    fn finish(mut self, bytes: &[u8]) -> Result<Message, ParseError> {
        if let Some(fault) = self.fault.take() {
            return Err(self.refuse(fault));
        }
        let method = match &self.start {
            StartLine::Request { method, .. } => Some(method),
            _ => None,
        };
        let length = match validate::check(&self.headers, method) {
            Ok(length) => length,
            Err(kind) => return Err(self.refuse(kind)),
        };
        let body = bytes.get(self.body_start..).unwrap_or(&[]);
        let body = match length {
            Some(length) => match body.get(..length) {
                Some(body) => body,
                None => return Err(self.refuse(ParseErrorKind::BodyTooShort)),
            },
            None => body,
        };
        let (headers, body) = (self.headers, body.to_vec());
        match self.start {
            StartLine::Request {
                method,
                uri: Some(uri),
            } => Ok(Message::Request(Request {
                method,
                uri,
                headers,
                body,
            })),
            StartLine::Response { status, reason } => Ok(Message::Response(Response {
                status,
                reason,
                headers,
                body,
            })),
            // Both come with a fault, which has been returned above.
            StartLine::Request { .. } | StartLine::BadResponse => {
                Err(ParseError::new(ParseErrorKind::StartLine))
            }
        }
    }

    /// What Content-Length says: `None` without one, an error where it is no number. The framer
    /// asks before the body is there.
    pub(crate) fn content_length(&self) -> Result<Option<usize>, ParseErrorKind> {
        validate::content_length(&self.headers)
    }

    /// The fault that the scan met, if any.
    pub(crate) fn fault(&self) -> Option<&ParseErrorKind> {
        self.fault.as_ref()
    }

    /// The error for a fault, with the request salvaged where it may be answered.
    pub(crate) fn refuse(self, kind: ParseErrorKind) -> ParseError {
        let error = ParseError::new(kind);
        match self.start {
            // RFC 3261 §17.1.1.3: an ACK is never answered. Without Via there is no way back.
            StartLine::Request { method, uri }
                if method != Method::Ack && self.headers.contains(&HeaderName::Via) =>
            {
                let uri = uri.unwrap_or_else(|| Uri::sip("", Host::Name("invalid".into()), None));
                error.with_salvage(Request {
                    method,
                    uri,
                    headers: self.headers,
                    body: Vec::new(),
                })
            }
            _ => error,
        }
    }
}

/// Reads the start line. A fault that leaves the method readable is returned beside it.
fn start_line(line: &[u8]) -> Result<(StartLine, Option<ParseErrorKind>), ParseError> {
    let bad = || ParseError::new(ParseErrorKind::StartLine);
    let decoded = String::from_utf8_lossy(line);
    if let Some((version, rest)) = split_version(&decoded) {
        return Ok(status_line(version, rest));
    }
    let (method, rest) = decoded.split_once(' ').ok_or_else(bad)?;
    if !is_token(method) {
        return Err(bad());
    }
    let method = Method::parse(method);
    let without_uri = |kind| {
        Ok((
            StartLine::Request {
                method: method.clone(),
                uri: None,
            },
            Some(kind),
        ))
    };
    let Some((uri, version)) = rest.rsplit_once(' ') else {
        return without_uri(ParseErrorKind::StartLine);
    };
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        let is_sip = version
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("SIP/"));
        return without_uri(if is_sip {
            ParseErrorKind::Version
        } else {
            ParseErrorKind::StartLine
        });
    }
    if matches!(decoded, std::borrow::Cow::Owned(_)) {
        return without_uri(ParseErrorKind::RequestUri(SyntaxError::BadUser));
    }
    match uri.parse::<Uri>() {
        // RFC 3261 §19.1.1: a Request-URI has no header fields; honouring them would let a link
        // route requests (RFC 4475 §3.1.2.11).
        Ok(uri) if uri.headers.is_some() => {
            without_uri(ParseErrorKind::RequestUri(SyntaxError::TrailingText))
        }
        Ok(uri) => Ok((
            StartLine::Request {
                method,
                uri: Some(uri),
            },
            None,
        )),
        Err(error) => without_uri(ParseErrorKind::RequestUri(error)),
    }
}

/// Splits `SIP/x.y` off a status line.
fn split_version(line: &str) -> Option<(&str, &str)> {
    let (version, rest) = line.split_once(' ')?;
    version
        .get(..4)?
        .eq_ignore_ascii_case("SIP/")
        .then_some((version, rest))
}

fn status_line(version: &str, rest: &str) -> (StartLine, Option<ParseErrorKind>) {
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return (StartLine::BadResponse, Some(ParseErrorKind::Version));
    }
    // The space before an empty phrase is required and often forgotten.
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let digits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    let status = code.parse().ok().filter(|_| digits).and_then(StatusCode::new);
    match status {
        Some(status) => (
            StartLine::Response {
                status,
                reason: trim(reason).to_owned(),
            },
            None,
        ),
        None => (StartLine::BadResponse, Some(ParseErrorKind::StatusCode)),
    }
}

/// Adds one header line, its folds still in it.
fn header_line(line: &[u8], headers: &mut Headers) -> Result<(), ParseErrorKind> {
    if line.len() > MAX_HEADER_BYTES {
        return Err(ParseErrorKind::HeaderTooLong);
    }
    let colon = memchr(b':', line).ok_or(ParseErrorKind::HeaderLine)?;
    let (name, value) = line.split_at_checked(colon).ok_or(ParseErrorKind::HeaderLine)?;
    let name = std::str::from_utf8(name).map_err(|_| ParseErrorKind::HeaderLine)?;
    let name = name.trim_end_matches([' ', '\t']);
    if !is_token(name) {
        return Err(ParseErrorKind::HeaderLine);
    }
    let name = HeaderName::parse(name);
    let value = value.get(1..).unwrap_or(&[]);
    match memchr2(b'\r', b'\n', value) {
        None => {
            headers.push_wire(name, trim_bytes(value));
            return Ok(());
        }
        Some(_) if memchr(b'\n', value).is_none() => return Err(ParseErrorKind::HeaderLine),
        Some(_) => {}
    }
    // RFC 3261 §7.3.1: a line end with the white space around it means one space.
    let mut unfolded = Vec::with_capacity(value.len());
    for part in value.split(|b| *b == b'\n') {
        let part = trim_bytes(part.strip_suffix(b"\r").unwrap_or(part));
        if part.contains(&b'\r') {
            return Err(ParseErrorKind::HeaderLine);
        }
        if !part.is_empty() {
            if !unfolded.is_empty() {
                unfolded.push(b' ');
            }
            unfolded.extend_from_slice(part);
        }
    }
    headers.push_wire(name, &unfolded);
    Ok(())
}

/// Cuts spaces and tabs off both ends, and nothing else that may count as white space elsewhere.
fn trim_bytes(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Cuts lines off a buffer.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    /// The first line that is not empty (RFC 3261 §7.5: line ends before a message are skipped).
    fn start_line(&mut self) -> Result<&'a [u8], ParseError> {
        for _ in 0..=MAX_LEADING_LINE_ENDS {
            match self.line() {
                Some(b"") => {}
                Some(line) => return Ok(line),
                None if self.rest.is_empty() => return Err(ParseError::new(ParseErrorKind::Empty)),
                None => return Err(ParseError::new(ParseErrorKind::StartLine)),
            }
        }
        Err(ParseError::new(ParseErrorKind::NotSip))
    }

    /// The next line without its end; `None` when no line end is left.
    fn line(&mut self) -> Option<&'a [u8]> {
        let end = memchr(b'\n', self.rest)?;
        let (line, after) = self.rest.split_at_checked(end)?;
        self.rest = after.get(1..)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The next header with its continuation lines and the line ends between them.
    fn next_header_line(&mut self) -> Option<&'a [u8]> {
        let all = self.rest;
        let first = self.line()?;
        if first.is_empty() || !matches!(self.rest.first(), Some(b' ' | b'\t')) {
            return Some(first);
        }
        let mut last = first;
        while matches!(self.rest.first(), Some(b' ' | b'\t')) {
            last = self.line()?;
        }
        let consumed = all.len() - self.rest.len();
        let whole = all.get(..consumed)?;
        let end = whole
            .strip_suffix(b"\r\n")
            .or_else(|| whole.strip_suffix(b"\n"))
            .unwrap_or(whole);
        debug_assert!(end.ends_with(last));
        Some(end)
    }
}
