//! Content-Type (RFC 3261 §20.15), and what Accept lists.

use super::Params;
use crate::error::SyntaxError;
use crate::grammar::{is_token, split_before, trim};
use std::fmt;
use std::str::FromStr;

/// A media type with parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// `application`, in lower case.
    pub media_type: String,
    /// `sdp`, in lower case.
    pub subtype: String,
    /// `charset`, `boundary` and others.
    pub params: Params,
}

impl ContentType {
    /// Whether it is the given `type/subtype`, whatever the parameters.
    pub fn is(&self, essence: &str) -> bool {
        essence.split_once('/').is_some_and(|(media_type, subtype)| {
            self.media_type.eq_ignore_ascii_case(media_type) && self.subtype.eq_ignore_ascii_case(subtype)
        })
    }
}

impl FromStr for ContentType {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let (essence, params) = split_before(text, b';');
        let (media_type, subtype) = essence.split_once('/').ok_or(SyntaxError::BadToken)?;
        let (media_type, subtype) = (trim(media_type), trim(subtype));
        if !is_token(media_type) || !is_token(subtype) {
            return Err(SyntaxError::BadToken);
        }
        Ok(Self {
            media_type: media_type.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            params: Params::parse(params)?,
        })
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.media_type, self.subtype, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_compare_without_case() {
        let kind: ContentType = "Multipart / Mixed ; boundary=\"a;b\"".parse().unwrap();
        assert!(kind.is("multipart/mixed") && !kind.is("multipart/alternative") && !kind.is("multipart"));
        assert_eq!(kind.params.get("boundary"), Some("a;b"));
        assert_eq!(kind.to_string(), "multipart/mixed;boundary=\"a;b\"");
        for bad in ["", "a", "a/", "/b", "a/b c", "a/b;", "a/b/c"] {
            assert!(bad.parse::<ContentType>().is_err(), "{bad}");
        }
    }
}
