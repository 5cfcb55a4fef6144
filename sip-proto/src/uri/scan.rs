//! The scanner of URIs: finds the parts and checks their characters without copying.

use super::host::HostRef;
use super::{Host, Scheme, Uri, scan_host_port};
use crate::error::SyntaxError;
use crate::grammar::{Class, split_before, split_byte};
use crate::headers::Params;
use crate::limits::MAX_PARAMS;
use memchr::memchr;
use std::borrow::Cow;
use std::fmt::Write;

/// A checked URI that borrows its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UriParts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: Option<HostRef<'a>>,
    port: Option<u16>,
    params: &'a str,
    pub(crate) headers: Option<&'a str>,
}

impl UriParts<'_> {
    pub(crate) fn to_uri(self) -> Result<Uri, SyntaxError> {
        Ok(Uri {
            scheme: Scheme::parse(self.scheme),
            user: self.user.map(str::to_owned),
            password: self.password.map(str::to_owned),
            host: self.host.map_or(Host::Name(String::new()), HostRef::to_host),
            port: self.port,
            params: Params::from_uri(self.params),
            headers: self.headers.map(str::to_owned),
        })
    }
}

/// Finds the parts of a URI.
pub(crate) fn scan_uri(text: &str) -> Result<UriParts<'_>, SyntaxError> {
    let (scheme, rest) = split_byte(text, b':').ok_or(SyntaxError::BadScheme)?;
    let scheme_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(scheme_byte) {
        return Err(SyntaxError::BadScheme);
    }
    if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
        return scan_sip(scheme, rest);
    }
    if rest.is_empty() || !Class::URI.has_all(rest) {
        return Err(SyntaxError::BadUser);
    }
    let parts = UriParts {
        scheme,
        user: None,
        password: None,
        host: None,
        port: None,
        params: "",
        headers: None,
    };
    if !scheme.eq_ignore_ascii_case("tel") {
        return Ok(UriParts {
            user: Some(rest),
            ..parts
        });
    }
    let (number, params) = split_before(rest, b';');
    if number.is_empty() {
        return Err(SyntaxError::BadUser);
    }
    check_params(params)?;
    Ok(UriParts {
        user: Some(number),
        params,
        ..parts
    })
}

fn scan_sip<'a>(scheme: &'a str, rest: &'a str) -> Result<UriParts<'a>, SyntaxError> {
    // A user part may hold `;` and `?`, but nothing before the host may hold `@` (RFC 3261 §25.1).
    let (user_info, rest) = match split_byte(rest, b'@') {
        Some((user_info, rest)) => (Some(user_info), rest),
        None => (None, rest),
    };
    let (user, password) = match user_info.map(|info| (info, split_byte(info, b':'))) {
        None => (None, None),
        Some((_, Some((user, password)))) => (Some(user), Some(password)),
        Some((user, None)) => (Some(user), None),
    };
    if let Some(user) = user {
        if user.is_empty() || !Class::URI.has_all(user) {
            return Err(SyntaxError::BadUser);
        }
        check_escapes(user)?;
    }
    if let Some(password) = password {
        if !Class::URI.has_all(password) {
            return Err(SyntaxError::BadUser);
        }
        check_escapes(password)?;
    }
    let (rest, headers) = match split_byte(rest, b'?') {
        Some((rest, headers)) => (rest, Some(headers)),
        None => (rest, None),
    };
    if let Some(headers) = headers {
        if headers.is_empty() || !Class::URI.has_all(headers) {
            return Err(SyntaxError::BadParameter);
        }
        check_escapes(headers)?;
    }
    let (host, params) = split_before(rest, b';');
    if !Class::URI.has_all(host) {
        return Err(SyntaxError::BadHost);
    }
    let (host, port) = scan_host_port(host)?;
    check_params(params)?;
    Ok(UriParts {
        scheme,
        user,
        password,
        host: Some(host),
        port,
        params,
        headers,
    })
}

/// Checks `;name[=value]…`. An empty value is tolerated: old elements write `;lr=`.
fn check_params(params: &str) -> Result<(), SyntaxError> {
    for (count, param) in params.split(';').skip(1).enumerate() {
        let (name, value) = split_byte(param, b'=').unwrap_or((param, ""));
        if count >= MAX_PARAMS {
            return Err(SyntaxError::TooMany);
        }
        if name.is_empty() || !Class::URI_PARAM.has_all(name) || !Class::URI_PARAM.has_all(value) {
            return Err(SyntaxError::BadParameter);
        }
        check_escapes(param)?;
    }
    Ok(())
}

/// Every `%` is followed by two hexadecimal digits.
fn check_escapes(text: &str) -> Result<(), SyntaxError> {
    if memchr(b'%', text.as_bytes()).is_none() {
        return Ok(());
    }
    for part in text.split('%').skip(1) {
        match part.as_bytes() {
            [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {}
            _ => return Err(SyntaxError::BadEscape),
        }
    }
    Ok(())
}

/// Escapes what a user part cannot hold (RFC 3261 §25.1: unreserved and user-unreserved pass).
pub(super) fn escape_user(user: &str) -> Cow<'_, str> {
    escape(user, |b| {
        b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&b)
    })
}

/// Escapes what would end a URI parameter, and `@`, which would make a user part of what stands
/// before it.
pub(crate) fn escape_param(text: &str) -> Cow<'_, str> {
    let percent_too = check_escapes(text).is_err();
    escape(text, |b| {
        Class::URI_PARAM.has(b) && b != b'@' && !(percent_too && b == b'%')
    })
}

fn escape(text: &str, passes: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if text.bytes().all(&passes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        // All bytes of a character beyond ASCII are escaped, or none.
        if byte.is_ascii() && passes(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Cow::Owned(out)
}

/// The bytes of a part with its escapes decoded; a `%` that begins no escape stays.
pub(super) fn unescape(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if let (b'%', [a, b, tail @ ..]) = (byte, after)
            && let (Some(a), Some(b)) = (char::from(*a).to_digit(16), char::from(*b).to_digit(16))
        {
            out.push(u8::try_from(a * 16 + b).unwrap_or(b'%'));
            rest = tail;
        } else {
            out.push(byte);
        }
    }
    Cow::Owned(out)
}

/// As [`unescape`], as text.
pub(super) fn unescape_lossy(text: &str) -> Cow<'_, str> {
    match unescape(text) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Cow::Owned(text),
            Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_decode_once() {
        // RFC 4475 §3.1.1.3: `%25%34%31` is the three characters `%41`.
        assert_eq!(&*unescape("v%61lue%25%34%31"), b"value%41");
        assert_eq!(&*unescape("%00"), b"\0");
        assert_eq!(&*unescape("100%"), b"100%");
        assert_eq!(unescape_lossy("%ff"), "\u{fffd}");
        assert_eq!(escape_param("a b;%20"), "a%20b%3B%20");
        assert_eq!(escape_param("100%"), "100%25");
        assert_eq!(escape_param("a@b"), "a%40b");
    }

    #[test]
    fn foreign_schemes_stay_opaque() {
        let parts = scan_uri("isbn:2983792873").unwrap();
        assert_eq!(parts.user, Some("2983792873"));
        assert!(parts.host.is_none());
    }
}
