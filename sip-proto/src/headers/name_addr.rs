//! Addresses of From, To, Contact, Route, Refer-To and their kin: `"display" <uri>;params`.
//!
//! Without angle brackets parameters belong to the header, not to the URI, and a URI with a comma
//! or question mark is refused (RFC 3261 §20). White space inside the brackets is tolerated
//! (RFC 4475 §3.1.2.14). Written always with brackets.

use super::Params;
use crate::error::SyntaxError;
use crate::grammar::{self, cut_at, quoted, split_before, split_byte, trim, unescape};
use crate::ids::Tag;
use crate::uri::{Uri, UriParts, scan_uri};
use std::fmt;
use std::str::FromStr;

/// An address with display name and header parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr {
    /// Display name, decoded.
    pub display: Option<String>,
    /// The URI.
    pub uri: Uri,
    /// Parameters of the header (`tag`, `expires`, `q`…), not of the URI.
    pub params: Params,
}

impl NameAddr {
    /// An address without display name and parameters.
    pub fn new(uri: Uri) -> Self {
        Self {
            display: None,
            uri,
            params: Params::new(),
        }
    }

    /// The same with a display name.
    pub fn with_display(mut self, display: impl Into<String>) -> Self {
        self.display = Some(display.into());
        self
    }

    /// The same with a tag.
    pub fn with_tag(mut self, tag: &Tag) -> Self {
        self.params.set("tag", tag.as_str());
        self
    }

    /// The tag parameter.
    pub fn tag(&self) -> Option<Tag> {
        self.params.get("tag").map(Tag::new)
    }

    /// `expires` of a Contact. RFC 3261 §10.2.1.1: a malformed value is read as 3600; one that
    /// does not fit is as long as can be.
    pub fn expires(&self) -> Option<u32> {
        let text = self.params.get("expires")?;
        Some(match grammar::number(text, u32::MAX) {
            Ok(seconds) => seconds,
            Err(SyntaxError::OutOfRange) => u32::MAX,
            Err(_) => 3600,
        })
    }

    /// `q` of a Contact in thousandths, 0 to 1000; malformed or absent counts as 1000.
    pub fn q(&self) -> u16 {
        let weight = self.params.get("q").and_then(|text| text.parse::<f32>().ok());
        match weight {
            Some(q) if (0.0..=1.0).contains(&q) => (0..=1000)
                .rfind(|n| f32::from(*n) <= q * 1000.0 + 0.01)
                .unwrap_or(1000),
            _ => 1000,
        }
    }
}

/// A checked address that borrows its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameAddrParts<'a> {
    display: Option<&'a str>,
    uri: UriParts<'a>,
    pub(crate) params: &'a str,
}

/// Finds the parts of an address and checks them.
pub(crate) fn scan_name_addr(text: &str) -> Result<NameAddrParts<'_>, SyntaxError> {
    let text = trim(text);
    let parts = match bracketed(text)? {
        Some((display, uri, params)) => NameAddrParts {
            display,
            uri: scan_uri(trim(uri))?,
            params,
        },
        None => {
            let (uri, params) = split_before(text, b';');
            let uri = trim(uri);
            if uri.is_empty() {
                return Err(SyntaxError::Empty);
            }
            if uri.contains([',', '?']) {
                return Err(SyntaxError::NeedsBrackets);
            }
            NameAddrParts {
                display: None,
                uri: scan_uri(uri)?,
                params,
            }
        }
    };
    grammar::params(parts.params).try_for_each(|param| param.map(drop))?;
    Ok(parts)
}

type Bracketed<'a> = (Option<&'a str>, &'a str, &'a str);

/// Splits `display <uri> params`; `None` when there are no brackets.
fn bracketed(text: &str) -> Result<Option<Bracketed<'_>>, SyntaxError> {
    let (display, rest) = if text.starts_with('"') {
        let (_, rest) = quoted(text)?;
        let display_len = text.len() - rest.len();
        (text.get(..display_len).unwrap_or(text), trim(rest))
    } else {
        let Some(open) = text.find('<') else {
            return Ok(None);
        };
        // A bracket behind a semicolon belongs to a parameter, if to anything.
        if cut_at(text, b';').0.len() < open {
            return Ok(None);
        }
        let (display, rest) = text
            .split_at_checked(open)
            .ok_or(SyntaxError::UnbalancedBracket)?;
        let display = trim(display);
        // The grammar wants tokens; dots, parentheses and other scripts come from real phones.
        if display.contains(['"', ',', ';', ':', '>', '=', '@']) {
            return Err(SyntaxError::BadToken);
        }
        (display, rest)
    };
    let inside = rest.strip_prefix('<').ok_or(SyntaxError::UnbalancedBracket)?;
    let (uri, params) = split_byte(inside, b'>').ok_or(SyntaxError::UnbalancedBracket)?;
    let display = (!display.is_empty()).then_some(display);
    Ok(Some((display, uri, params)))
}

impl NameAddrParts<'_> {
    pub(crate) fn to_name_addr(self) -> Result<NameAddr, SyntaxError> {
        let display = match self.display {
            Some(text) if text.starts_with('"') => Some(unescape(quoted(text)?.0).into_owned()),
            other => other.map(str::to_owned),
        };
        Ok(NameAddr {
            display,
            uri: self.uri.to_uri()?,
            params: Params::parse(self.params)?,
        })
    }
}

impl FromStr for NameAddr {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        scan_name_addr(text)?.to_name_addr()
    }
}

impl From<Uri> for NameAddr {
    fn from(uri: Uri) -> Self {
        Self::new(uri)
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            let mut quoted = String::with_capacity(display.len() + 2);
            grammar::push_quoted(&mut quoted, display);
            write!(f, "{quoted} ")?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> NameAddr {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_shapes_of_an_address() {
        let full = addr(r#""J \"R\" \\" <sip:j@example.com;lr>  ;  tag = 98asjd8"#);
        assert_eq!(full.display.as_deref(), Some("J \"R\" \\"));
        assert!(full.uri.is_loose_route());
        assert_eq!(full.tag(), Some(Tag::new("98asjd8")));
        assert_eq!(
            full.to_string(),
            r#""J \"R\" \\" <sip:j@example.com;lr>;tag=98asjd8"#
        );
        assert_eq!(addr(&full.to_string()), full);

        let bare = addr("sip:vivekg@chair.example.com ;   tag    = 1918181833n");
        assert!(bare.uri.params.is_empty());
        assert_eq!(bare.params.get("tag"), Some("1918181833n"));
        assert_eq!(
            addr("caller<sip:caller@example.com>;tag=323").display.as_deref(),
            Some("caller")
        );
        assert_eq!(addr("a b~ c <sip:x@h>").display.as_deref(), Some("a b~ c"));
        assert_eq!(
            addr("\"W, T\" < sip:t@example.org >").uri.to_string(),
            "sip:t@example.org"
        );
        assert_eq!(
            addr("<sip:a@h?Route=%3Csip:b%3E>").uri.headers.as_deref(),
            Some("Route=%3Csip:b%3E")
        );
        assert_eq!(addr("<http://www.example.com>;tag=1").uri.scheme.as_str(), "http");
        assert_eq!(addr("sip:a@h;x=\"<y>\"").params.get("x"), Some("<y>"));
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for bad in [
            "",
            ";tag=1",
            "\"Mr. J. <sip:j@example.com>",
            "Bell, A <sip:a@h>",
            "<sip:a@h",
            "sip:a@h>",
            "<>",
            "\"x\" sip:a@h",
            "sip:a@h?Route=%3Csip:b%3E",
            "sip:a,b@h",
            "<sip:a@h>;;;",
            "<sip:a@h> x",
            "<sip:a@h>,",
            "a@h",
            "<a@h>",
            "<<sip:a@h>>",
        ] {
            assert!(bad.parse::<NameAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn contact_parameters() {
        assert_eq!(addr("<sip:a@h>;expires=60;q=0.33").expires(), Some(60));
        assert_eq!(addr("<sip:a@h>;expires=60;q=0.33").q(), 330);
        assert_eq!(
            addr("<sip:a@h>;expires=280297596632815").expires(),
            Some(u32::MAX)
        );
        assert_eq!(addr("<sip:a@h>;expires=x;q=7").expires(), Some(3600));
        assert_eq!(addr("<sip:a@h>;q=7").q(), 1000);
        assert_eq!(addr("<sip:a@h>;q=0").q(), 0);
        assert_eq!(addr("<sip:a@h>").expires(), None);
    }
}
