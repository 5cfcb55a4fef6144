//! WWW-Authenticate and Proxy-Authenticate with the Digest scheme (RFC 7616 §3.3, RFC 8760).
//!
//! Other schemes and algorithms that we do not know fail to parse, so that a client passes over
//! them to the next challenge.

use crate::digest::Algorithm;
use crate::error::SyntaxError;
use crate::grammar::{param, push_quoted, trim};
use crate::limits::MAX_PARAMS;
use std::fmt;
use std::str::FromStr;

/// A digest challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Realm that the password belongs to.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// To be sent back as it is.
    pub opaque: Option<String>,
    /// The credentials may be right, only the nonce is too old.
    pub stale: bool,
    /// Hash algorithm; MD5 where none is named.
    pub algorithm: Algorithm,
    /// Qualities of protection offered; empty for the old form without any.
    pub qop: Vec<String>,
}

impl Challenge {
    /// Whether `auth` is offered.
    pub fn offers_auth(&self) -> bool {
        self.qop.iter().any(|qop| qop.eq_ignore_ascii_case("auth"))
    }
}

/// Reads `Digest name=value, …` into the given sink, values decoded.
pub(super) fn digest_params(text: &str, mut sink: impl FnMut(&str, &str)) -> Result<(), SyntaxError> {
    let (scheme, mut rest) = trim(text).split_once([' ', '\t']).ok_or(SyntaxError::BadScheme)?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return Err(SyntaxError::BadScheme);
    }
    for _ in 0..MAX_PARAMS {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(());
        }
        let (raw, after) = param(rest)?;
        if let Some(value) = raw.value {
            sink(raw.name, &value.decode());
        }
        if !after.is_empty() && !after.starts_with(',') {
            return Err(SyntaxError::TrailingText);
        }
        rest = after;
    }
    Err(SyntaxError::TooMany)
}

/// `name="value"` with a comma before all but the first.
pub(super) fn write_quoted(f: &mut fmt::Formatter<'_>, lead: &str, name: &str, value: &str) -> fmt::Result {
    let mut quoted = String::with_capacity(value.len() + 2);
    push_quoted(&mut quoted, value);
    write!(f, "{lead}{name}={quoted}")
}

impl FromStr for Challenge {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let (mut realm, mut nonce, mut opaque) = (None, None, None);
        let (mut stale, mut algorithm, mut qop) = (false, Ok(Algorithm::Md5), Vec::new());
        digest_params(text, |name, value| match name.to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "nonce" => nonce = Some(value.to_owned()),
            "opaque" => opaque = Some(value.to_owned()),
            "stale" => stale = value.eq_ignore_ascii_case("true"),
            "algorithm" => algorithm = value.parse(),
            "qop" => qop = value.split(',').map(|word| trim(word).to_owned()).collect(),
            _ => {}
        })?;
        Ok(Self {
            realm: realm.ok_or(SyntaxError::BadParameter)?,
            nonce: nonce.ok_or(SyntaxError::BadParameter)?,
            opaque,
            stale,
            algorithm: algorithm?,
            qop,
        })
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, "Digest ", "realm", &self.realm)?;
        write_quoted(f, ", ", "nonce", &self.nonce)?;
        if let Some(opaque) = &self.opaque {
            write_quoted(f, ", ", "opaque", opaque)?;
        }
        if self.stale {
            f.write_str(", stale=true")?;
        }
        write!(f, ", algorithm={}", self.algorithm)?;
        if !self.qop.is_empty() {
            write_quoted(f, ", ", "qop", &self.qop.join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_read_and_write() {
        let text = r#"Digest realm="a, \"b\"", nonce="x=", opaque="", stale=true, algorithm=SHA-256, qop="auth,auth-int""#;
        let challenge: Challenge = text.parse().unwrap();
        assert_eq!(challenge.realm, "a, \"b\"");
        assert!(challenge.stale && challenge.offers_auth());
        assert_eq!(challenge.to_string(), text);
        let old: Challenge = "digest  nonce = \"n\",realm=\"r\" , unknown=1".parse().unwrap();
        assert_eq!(
            (old.algorithm, old.qop.len(), old.stale),
            (Algorithm::Md5, 0, false)
        );
    }

    #[test]
    fn what_we_cannot_answer_is_refused() {
        for bad in [
            "",
            "Digest",
            "Basic realm=\"x\"",
            "Digest realm=\"r\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=AKAv1-MD5",
            "Digest realm=\"r nonce=\"n\"",
            "Digest realm=\"r\" nonce=\"n\"",
            "NoOneKnowsThisScheme opaque-data=here",
        ] {
            assert!(bad.parse::<Challenge>().is_err(), "{bad}");
        }
    }
}
