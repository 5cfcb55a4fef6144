//! Finding the session description in a request: its type, its disposition, its part of a
//! multipart body (RFC 5621, RFC 2046 §5.1).
//!
//! Deliberately absent: reading the description, and other parts of a multipart.

use sip_proto::message::{HeaderName, Headers, Request, StatusCode};

use super::answers::Rejection;

/// The type of session descriptions.
pub const SDP: &str = "application/sdp";

/// What a request that may carry an offer or an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionBody<'a> {
    /// No body, or one that may be ignored.
    None,
    /// A session description, unread.
    Sdp(&'a [u8]),
}

/// Finds the session description.
///
/// # Errors
/// 415 with Accept (or Accept-Encoding) when there is a body that is none and must not be
/// ignored (RFC 3261 §8.2.3).
pub fn session_body(request: &Request) -> Result<SessionBody<'_>, Rejection> {
    if request.body.is_empty() {
        return Ok(SessionBody::None);
    }
    let encoding = request.headers.get(&HeaderName::ContentEncoding);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(
            Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).with(HeaderName::AcceptEncoding, "identity")
        );
    }
    let content_type = request.headers.get(&HeaderName::ContentType).unwrap_or(SDP);
    match find_sdp(content_type, &request.body) {
        Some(sdp) => Ok(SessionBody::Sdp(sdp)),
        None if is_optional(&request.headers) => Ok(SessionBody::None),
        None => Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).with(HeaderName::Accept, SDP)),
    }
}

/// Whether the caller takes session descriptions (RFC 3261 §20.1): without Accept it does.
///
/// # Errors
/// 406 where Accept names nothing that our answer could be (RFC 4475 §3.3.15).
pub fn check_accept(headers: &Headers) -> Result<(), Rejection> {
    let mut ranges = headers.tokens(&HeaderName::Accept).into_iter();
    let is_there = headers.contains(&HeaderName::Accept);
    let fits = |range: String| {
        let range = bare_type(&range).to_ascii_lowercase();
        matches!(range.as_str(), SDP | "application/*" | "*/*")
    };
    if !is_there || ranges.any(fits) {
        return Ok(());
    }
    Err(Rejection::new(StatusCode::NOT_ACCEPTABLE).warn(399, "answers here are application/sdp"))
}

/// The session description in a body of this type, if there is one.
pub fn find_sdp<'a>(content_type: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    let media_type = bare_type(content_type);
    if media_type.eq_ignore_ascii_case(SDP) {
        return Some(body);
    }
    let is_multipart = media_type
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    if !is_multipart {
        return None;
    }
    let boundary = parameter(content_type, "boundary")?;
    parts(body, boundary).find_map(sdp_of_part)
}

/// The media type without parameters.
pub fn bare_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn is_optional(headers: &Headers) -> bool {
    headers
        .get(&HeaderName::ContentDisposition)
        .and_then(|disposition| parameter(disposition, "handling"))
        .is_some_and(|handling| handling.eq_ignore_ascii_case("optional"))
}

fn parameter<'a>(value: &'a str, wanted: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case(wanted)
            .then(|| value.trim().trim_matches('"'))
    })
}

/// The parts between boundaries, each with its headers. Bounded by the body's size.
fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = &'a [u8]> {
    let delimiter = format!("--{boundary}").into_bytes();
    let mut starts = Vec::new();
    if !boundary.is_empty() {
        let mut line_start = 0;
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(&delimiter) {
                starts.push((line_start, line_start + line.len()));
            }
            line_start += line.len();
        }
    }
    let ends: Vec<usize> = starts.iter().skip(1).map(|(start, _)| *start).collect();
    starts
        .into_iter()
        .zip(ends)
        .filter_map(move |((_, from), to)| body.get(from..to))
}

fn sdp_of_part(part: &[u8]) -> Option<&[u8]> {
    let (head_len, skip) = [(&b"\r\n\r\n"[..], 4), (&b"\n\n"[..], 2)]
        .iter()
        .filter_map(|(blank, len)| part.windows(*len).position(|w| w == *blank).map(|at| (at, *len)))
        .min()?;
    let head = std::str::from_utf8(part.get(..head_len)?).ok()?;
    let is_sdp = head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            let name = name.trim();
            (name.eq_ignore_ascii_case("content-type") || name.eq_ignore_ascii_case("c"))
                && bare_type(value).eq_ignore_ascii_case(SDP)
        })
    });
    if is_sdp { part.get(head_len + skip..) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_sdp_and_strangers() {
        assert_eq!(find_sdp("application/sdp", b"v=0"), Some(&b"v=0"[..]));
        assert_eq!(
            find_sdp("Application/SDP; charset=utf-8", b"v=0"),
            Some(&b"v=0"[..])
        );
        for stranger in [
            "text/plain",
            "",
            "multi",
            "multipart/mixed",
            "multipart/mixed;boundary=\"\"",
        ] {
            assert_eq!(find_sdp(stranger, b"v=0"), None, "{stranger}");
        }
    }

    #[test]
    fn the_sdp_part_of_a_multipart() {
        let body = b"preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\n\
            Content-Type: application/sdp\r\nContent-Disposition: session\r\n\r\nv=0\r\ns=-\r\n--b1--\r\n";
        assert_eq!(
            find_sdp("multipart/mixed; boundary=\"b1\"", body),
            Some(&b"v=0\r\ns=-\r\n"[..])
        );
        assert_eq!(find_sdp("multipart/mixed; boundary=b2", body), None);
        assert_eq!(
            find_sdp(
                "multipart/mixed; boundary=b1",
                b"--b1\r\nContent-Type: application/sdp"
            ),
            None
        );
    }

    #[test]
    fn accept_must_leave_room_for_a_description() {
        let status = |values: &[&str]| {
            let mut headers = Headers::new();
            for value in values {
                headers.push(HeaderName::Accept, value);
            }
            check_accept(&headers)
                .err()
                .map(|rejection| rejection.status.code())
        };
        for fits in [
            &[][..],
            &["application/sdp"],
            &["text/plain, Application/SDP;q=0.5"],
            &["text/plain", "application/*"],
            &["*/*"],
        ] {
            assert_eq!(status(fits), None, "{fits:?}");
        }
        for none in [&["text/x-nothing"][..], &[""], &["application/sdp2, text/*"]] {
            assert_eq!(status(none), Some(406), "{none:?}");
        }
    }
}
