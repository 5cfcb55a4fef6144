//! Lexical rules of RFC 3261 §25.1 over `&str`: tokens, quoted strings, lists, parameters.
//!
//! Everything borrows from the value that it reads, so that a message can be checked without
//! copying; the owned types in [`crate::headers`] and [`crate::uri`] are built on top. Values come
//! here unfolded, so linear white space is spaces and tabs only.

use crate::error::SyntaxError;
use crate::limits::MAX_PARAMS;
use memchr::memchr;
use std::borrow::Cow;

/// One `;name=value` as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawParam<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Option<RawValue<'a>>,
}

/// A parameter value: a word, or the inside of a quoted string with its escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawValue<'a> {
    Plain(&'a str),
    Quoted(&'a str),
}

impl<'a> RawValue<'a> {
    pub(crate) fn decode(self) -> Cow<'a, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Quoted(raw) => unescape(raw),
        }
    }
}

/// Character classes of RFC 3261 §25.1 as bits of one table: the scan asks for every byte.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Class(u8);

impl Class {
    /// Token characters.
    pub(crate) const TOKEN: Self = Self(1);
    /// What an unquoted header parameter value may hold.
    pub(crate) const VALUE: Self = Self(2);
    /// What may stand in a URI at all. More than the grammar has (`#`, `^`, UTF-8 come from real
    /// phones), but nothing that could end it in a header or a start line.
    pub(crate) const URI: Self = Self(4);
    /// What a URI parameter's name or value may hold.
    pub(crate) const URI_PARAM: Self = Self(8);
    /// Host names, with the underscores of real networks.
    pub(crate) const HOST: Self = Self(16);

    pub(crate) fn has(self, byte: u8) -> bool {
        CLASSES
            .get(usize::from(byte))
            .is_some_and(|bits| bits & self.0 != 0)
    }

    pub(crate) fn has_all(self, text: &str) -> bool {
        text.bytes().all(|byte| self.has(byte))
    }
}

static CLASSES: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, over all bytes"
)]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        #[expect(clippy::cast_possible_truncation, reason = "the table has 256 places")]
        let byte = at as u8;
        let word = byte.is_ascii_alphanumeric();
        let visible = byte > b' ' && byte != 0x7f;
        let uri = visible && !matches!(byte, b'<' | b'>' | b'"');
        let token = word
            || matches!(
                byte,
                b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
            );
        if token {
            table[at] |= Class::TOKEN.0;
        }
        if uri && !matches!(byte, b';' | b',') {
            table[at] |= Class::VALUE.0;
        }
        if uri {
            table[at] |= Class::URI.0;
        }
        if uri && !matches!(byte, b',' | b';' | b'=' | b'?') {
            table[at] |= Class::URI_PARAM.0;
        }
        if word || matches!(byte, b'-' | b'.' | b'_') {
            table[at] |= Class::HOST.0;
        }
        at += 1;
    }
    table
}

/// Whether the text is a token: not empty, token characters only.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && Class::TOKEN.has_all(text)
}

/// Cuts linear white space off both ends.
pub(crate) fn trim(text: &str) -> &str {
    let space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(space) && !bytes.last().is_some_and(space) {
        return text;
    }
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// As `split_once`, for an ASCII character; values are short, and a plain walk over them beats the
/// general search.
pub(crate) fn split_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|b| b == byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Splits before the first occurrence of an ASCII character, or at the end.
pub(crate) fn split_before(text: &str, byte: u8) -> (&str, &str) {
    let at = text.bytes().position(|b| b == byte).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// Reads a quoted string at the start of `text`; gives its inside and what follows it.
pub(crate) fn quoted(text: &str) -> Result<(&str, &str), SyntaxError> {
    let inside = text.strip_prefix('"').ok_or(SyntaxError::UnbalancedQuote)?;
    let mut escaped = false;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                let (raw, rest) = inside.split_at_checked(at).ok_or(SyntaxError::UnbalancedQuote)?;
                return Ok((raw, rest.strip_prefix('"').unwrap_or(rest)));
            }
            _ => {}
        }
    }
    Err(SyntaxError::UnbalancedQuote)
}

/// Takes the backslashes of quoted pairs out. A line end can only be a fold (RFC 3261 §7.3.1) and reads as a space, as
/// [`push_quoted`] writes it.
pub(crate) fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains(['\\', '\r', '\n']) {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' { chars.next() } else { Some(c) };
        text.extend(c.map(|c| if matches!(c, '\r' | '\n') { ' ' } else { c }));
    }
    Cow::Owned(text)
}

/// Appends the text as a quoted string. Line ends cannot be quoted (RFC 3261 §25.1) and become
/// spaces.
pub(crate) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '\r' | '\n' => out.push(' '),
            '"' | '\\' => out.extend(['\\', c]),
            c if c != '\t' && (c.is_ascii_control()) => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Elements of a comma-separated list, trimmed; commas inside quotes and angle brackets do not
/// count. Empty elements are left out (RFC 3261 §7.3.1 allows none, everybody tolerates them);
/// an unclosed quote or bracket makes the rest one element, for its own parser to refuse.
pub(crate) fn elements(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let text = rest?;
        let (element, after) = cut_at(text, b',');
        rest = after;
        Some(trim(element))
    })
    .filter(|element| !element.is_empty())
}

/// Cuts at the first `separator` outside quotes and angle brackets; `None` when there is none.
pub(crate) fn cut_at(text: &str, separator: u8) -> (&str, Option<&str>) {
    if memchr(separator, text.as_bytes()).is_none() {
        return (text, None);
    }
    let (mut in_quotes, mut in_brackets, mut escaped) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' if !in_brackets => in_quotes = !in_quotes,
            b'<' if !in_quotes => in_brackets = true,
            b'>' if !in_quotes => in_brackets = false,
            b if b == separator && !in_quotes && !in_brackets => {
                return (text.get(..at).unwrap_or(text), text.get(at + 1..));
            }
            _ => {}
        }
    }
    (text, None)
}

/// Parameters of a header value: `text` is empty or begins with a semicolon.
pub(crate) fn params(text: &str) -> impl Iterator<Item = Result<RawParam<'_>, SyntaxError>> {
    let mut rest = trim(text);
    let mut count = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        count += 1;
        let result = match rest.strip_prefix(';') {
            _ if count > MAX_PARAMS => Err(SyntaxError::TooMany),
            Some(after) => param(after),
            None => Err(SyntaxError::TrailingText),
        };
        match result {
            Ok((param, after)) => {
                rest = after;
                Some(Ok(param))
            }
            Err(error) => {
                rest = "";
                Some(Err(error))
            }
        }
    })
}

/// One `name [= value]` at the start of `text` and the trimmed rest. Values are liberal: hosts with
/// bare IPv6 addresses (RFC 5118 §4.5) and what else has no delimiter in it.
pub(crate) fn param(text: &str) -> Result<(RawParam<'_>, &str), SyntaxError> {
    let text = trim(text);
    let end = text
        .bytes()
        .position(|b| !Class::TOKEN.has(b))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end).ok_or(SyntaxError::BadParameter)?;
    if name.is_empty() {
        return Err(SyntaxError::BadParameter);
    }
    let rest = trim(rest);
    let Some(value) = rest.strip_prefix('=').map(trim) else {
        return Ok((RawParam { name, value: None }, rest));
    };
    if value.starts_with('"') {
        let (raw, rest) = quoted(value)?;
        return Ok((
            RawParam {
                name,
                value: Some(RawValue::Quoted(raw)),
            },
            trim(rest),
        ));
    }
    let end = value
        .bytes()
        .position(|b| !Class::VALUE.has(b))
        .unwrap_or(value.len());
    let (word, rest) = value.split_at_checked(end).ok_or(SyntaxError::BadParameter)?;
    if word.is_empty() {
        return Err(SyntaxError::BadParameter);
    }
    Ok((
        RawParam {
            name,
            value: Some(RawValue::Plain(word)),
        },
        trim(rest),
    ))
}

/// The value of one parameter in a header value's parameter part.
pub(crate) fn find_param<'a>(text: &'a str, name: &str) -> Option<RawParam<'a>> {
    params(text)
        .filter_map(Result::ok)
        .find(|p| p.name.eq_ignore_ascii_case(name))
}

/// A decimal number within `0..=max`. Digits beyond what fits are out of range, not malformed.
pub(crate) fn number(text: &str, max: u32) -> Result<u32, SyntaxError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SyntaxError::BadNumber);
    }
    let value = text.parse::<u32>().map_err(|_| SyntaxError::OutOfRange)?;
    if value > max {
        Err(SyntaxError::OutOfRange)
    } else {
        Ok(value)
    }
}

/// Whether a parameter value can be written without quotes.
pub(crate) fn is_plain_value(text: &str) -> bool {
    !text.is_empty() && Class::VALUE.has_all(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_outside_quotes_and_brackets_only() {
        let all: Vec<_> = elements(r#""a, \" b" <sip:x,y@h>;q=1 , , <sip:b@h>"#).collect();
        assert_eq!(all, [r#""a, \" b" <sip:x,y@h>;q=1"#, "<sip:b@h>"]);
        assert_eq!(
            elements(r#"a, "open, b"#).collect::<Vec<_>>(),
            ["a", r#""open, b"#]
        );
        assert_eq!(elements("").count(), 0);
        assert_eq!(elements(",,").count(), 0);
    }

    #[test]
    fn quoted_pairs_are_decoded_and_written() {
        let (raw, rest) = quoted(r#""say \"hi\" \\" tail"#).unwrap();
        assert_eq!(unescape(raw), r#"say "hi" \"#);
        assert_eq!(rest, " tail");
        let mut out = String::new();
        push_quoted(&mut out, "say \"hi\" \\\r\n\u{7}");
        assert_eq!(out, "\"say \\\"hi\\\" \\\\  \\\u{7}\"");
        assert_eq!(unescape("two\r\n lines \\\n"), "two   lines  ");
        assert_eq!(quoted("\"open"), Err(SyntaxError::UnbalancedQuote));
        assert_eq!(quoted("\"open\\\""), Err(SyntaxError::UnbalancedQuote));
    }

    #[test]
    fn params_take_white_space_quotes_and_bare_ipv6() {
        let all: Result<Vec<_>, _> = params(r#" ; a = 1;lr ;s="x;\"y" ; received=2001:db8::1"#).collect();
        let all = all.unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!(
            all[0],
            RawParam {
                name: "a",
                value: Some(RawValue::Plain("1"))
            }
        );
        assert_eq!(
            all[1],
            RawParam {
                name: "lr",
                value: None
            }
        );
        assert_eq!(all[2].value.unwrap().decode(), "x;\"y");
        assert_eq!(all[3].value, Some(RawValue::Plain("2001:db8::1")));
    }

    #[test]
    fn broken_params_are_refused() {
        for bad in [
            ";;",
            ";",
            "; =1",
            ";a=",
            ";a=1 b",
            ";a=1,b",
            "x",
            ";a=\"x",
            ";a=\"x\"y",
        ] {
            assert!(params(bad).any(|p| p.is_err()), "{bad}");
        }
        let many = ";a".repeat(MAX_PARAMS + 1);
        assert!(params(&many).any(|p| p == Err(SyntaxError::TooMany)));
    }

    #[test]
    fn numbers_say_out_of_range() {
        assert_eq!(number("0068", 255), Ok(68));
        assert_eq!(number("256", 255), Err(SyntaxError::OutOfRange));
        assert_eq!(
            number("36893488147419103232", u32::MAX),
            Err(SyntaxError::OutOfRange)
        );
        assert_eq!(number("-1", 9), Err(SyntaxError::BadNumber));
        assert_eq!(number("+1", 9), Err(SyntaxError::BadNumber));
    }
}
