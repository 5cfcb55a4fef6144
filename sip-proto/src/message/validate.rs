//! Checks on a scanned head: mandatory headers, single ones, and the values everything rests on.
//!
//! Everything here borrows; the typed values are built later, where they are wanted.

use super::{HeaderName, Headers, Method};
use crate::error::{HeaderError, ParseErrorKind, SyntaxError};
use crate::grammar::{elements, number};
use crate::headers::{check_contacts, scan_cseq, scan_name_addr, scan_via};
use crate::limits::MAX_MESSAGE_BYTES;

/// Headers that may stand once only. Expires, Content-Type and the like are read from their first
/// line where they stand twice; for these a second one makes the message ambiguous.
const SINGLE: [HeaderName; 6] = [
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::MaxForwards,
    HeaderName::ContentLength,
];

/// Checks the headers of a request (with its method) or a response; gives the body's length where
/// Content-Length names it.
pub(super) fn check(headers: &Headers, method: Option<&Method>) -> Result<Option<usize>, ParseErrorKind> {
    let mut seen = [false; SINGLE.len()];
    let mut has_via = false;
    for (name, value) in headers.iter() {
        if let Some(seen) = SINGLE
            .iter()
            .zip(&mut seen)
            .find(|(single, _)| *single == name)
            .map(|(_, seen)| seen)
            && std::mem::replace(seen, true)
        {
            return Err(ParseErrorKind::Header(HeaderError::repeated(name.clone())));
        }
        has_via |= *name == HeaderName::Via;
        check_value(name, value, method)?;
    }
    let mandatory = [
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
    ];
    for (name, seen) in mandatory.iter().zip(seen) {
        if !seen {
            return Err(ParseErrorKind::Header(HeaderError::missing(name.clone())));
        }
    }
    if !has_via {
        return Err(ParseErrorKind::Header(HeaderError::missing(HeaderName::Via)));
    }
    content_length(headers)
}

/// What Content-Length says, if it is there.
pub(super) fn content_length(headers: &Headers) -> Result<Option<usize>, ParseErrorKind> {
    let mut values = headers.get_all(&HeaderName::ContentLength);
    let Some(text) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ParseErrorKind::Header(HeaderError::repeated(
            HeaderName::ContentLength,
        )));
    }
    match number(text, u32::MAX) {
        Ok(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > MAX_MESSAGE_BYTES {
                Err(ParseErrorKind::TooLarge)
            } else {
                Ok(Some(length))
            }
        }
        Err(SyntaxError::OutOfRange) => Err(ParseErrorKind::TooLarge),
        Err(error) => Err(syntax(&HeaderName::ContentLength, error)),
    }
}

fn check_value(name: &HeaderName, value: &str, method: Option<&Method>) -> Result<(), ParseErrorKind> {
    let checked = match name {
        HeaderName::From | HeaderName::To => scan_name_addr(value).map(drop),
        HeaderName::Via => check_vias(value),
        HeaderName::CallId if value.is_empty() => Err(SyntaxError::Empty),
        HeaderName::CallId if value.contains([' ', '\t']) => Err(SyntaxError::TrailingText),
        HeaderName::CSeq => match scan_cseq(value) {
            Ok((_, named)) if method.is_some_and(|method| method.as_str() != named) => {
                return Err(ParseErrorKind::MethodMismatch);
            }
            other => other.map(drop),
        },
        HeaderName::MaxForwards => number(value, u32::from(u8::MAX)).map(drop),
        // A response with a broken Contact still ends a transaction.
        HeaderName::Contact if method.is_some() => check_contacts(value),
        _ => Ok(()),
    };
    checked.map_err(|error| syntax(name, error))
}

/// Every element, and at least one: an empty Via line has none to go back by.
fn check_vias(line: &str) -> Result<(), SyntaxError> {
    let mut any = false;
    for element in elements(line) {
        scan_via(element)?;
        any = true;
    }
    if any { Ok(()) } else { Err(SyntaxError::Empty) }
}

fn syntax(name: &HeaderName, error: SyntaxError) -> ParseErrorKind {
    ParseErrorKind::Header(HeaderError::syntax(name.clone(), error))
}
