//! URIs of SIP: `sip:`, `sips:`, `tel:` and any other scheme kept as it is.
//!
//! Parts are kept verbatim, with their escapes, so that what is forwarded is what came; escapes are
//! decoded where parts are compared (RFC 3261 §19.1.4, [`Uri::equivalent`]) or asked for
//! ([`Uri::user_decoded`]). Absent: resolution (RFC 3263) and the inner grammar of foreign schemes.

mod equivalence;
mod host;
mod scan;

pub use host::Host;

use crate::error::SyntaxError;
use crate::headers::Params;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

pub(crate) use host::{HostRef, scan_host_port};
pub(crate) use scan::{UriParts, escape_param, scan_uri};

/// Scheme of a URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel` (RFC 3966)
    Tel,
    /// Any other, in lower case.
    Other(String),
}

impl Scheme {
    /// The scheme as it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sip => "sip",
            Self::Sips => "sips",
            Self::Tel => "tel",
            Self::Other(name) => name,
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            _ if text.eq_ignore_ascii_case("sip") => Self::Sip,
            _ if text.eq_ignore_ascii_case("sips") => Self::Sips,
            _ if text.eq_ignore_ascii_case("tel") => Self::Tel,
            other => Self::Other(other.to_ascii_lowercase()),
        }
    }
}

/// A URI in its parts. `sip` and `sips` use all fields; `tel` has its number in `user` and an
/// empty host; any other scheme has everything after the colon in `user` and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    /// The scheme.
    pub scheme: Scheme,
    /// User part, escapes and all; the subscriber's number of `tel`; the opaque rest of others.
    pub user: Option<String>,
    /// Password after the user's colon; not to be used, but not to be lost (RFC 3261 §19.1.1).
    pub password: Option<String>,
    /// Host.
    pub host: Host,
    /// Port, if named.
    pub port: Option<u16>,
    /// URI parameters.
    pub params: Params,
    /// What follows the question mark, verbatim (see [`Uri::header_fields`]).
    pub headers: Option<String>,
}

impl Uri {
    /// `sip:host`, or `sip:user@host` where the user is not empty. Characters of the user that
    /// need an escape get one.
    pub fn sip(user: &str, host: Host, port: Option<u16>) -> Self {
        let user = (!user.is_empty()).then(|| scan::escape_user(user).into_owned());
        Self {
            scheme: Scheme::Sip,
            user,
            password: None,
            host,
            port,
            params: Params::new(),
            headers: None,
        }
    }

    /// Whether it is `sip` or `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The user part without escapes. Bytes that are not UTF-8 become replacement characters.
    pub fn user_decoded(&self) -> Option<Cow<'_, str>> {
        self.user.as_deref().map(scan::unescape_lossy)
    }

    /// Loose routing parameter of a route (RFC 3261 §16.12.1.1).
    pub fn is_loose_route(&self) -> bool {
        self.params.contains("lr")
    }

    /// `transport` parameter.
    pub fn transport(&self) -> Option<&str> {
        self.params.get("transport")
    }

    /// Header fields after the question mark, escapes decoded, in order.
    pub fn header_fields(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.headers
            .iter()
            .flat_map(|fields| fields.split('&'))
            .map(|field| {
                let (name, value) = field.split_once('=').unwrap_or((field, ""));
                (scan::unescape_lossy(name), scan::unescape_lossy(value))
            })
    }

    /// Whether both name the same resource by RFC 3261 §19.1.4.
    pub fn equivalent(&self, other: &Self) -> bool {
        equivalence::equivalent(self, other)
    }

    /// The same URI as an address of record: scheme, user, host and port, nothing else
    /// (RFC 3261 §10.3 step 5).
    pub fn address_of_record(&self) -> Self {
        Self {
            scheme: self.scheme.clone(),
            user: self.user.clone(),
            password: None,
            host: self.host.clone(),
            port: self.port,
            params: Params::new(),
            headers: None,
        }
    }

    /// The same URI with nothing that a Request-URI must not have (RFC 3261 §19.1.1: `method`
    /// and header fields).
    pub fn as_request_uri(&self) -> Self {
        let mut uri = self.clone();
        uri.headers = None;
        uri.params.remove("method");
        uri
    }
}

impl FromStr for Uri {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        scan_uri(text)?.to_uri()
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme.as_str())?;
        if let Some(user) = &self.user {
            f.write_str(user)?;
            if self.is_sip() {
                if let Some(password) = &self.password {
                    write!(f, ":{password}")?;
                }
                f.write_str("@")?;
            }
        }
        self.host.fmt(f)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.write_in_uri(f)?;
        if let Some(headers) = &self.headers {
            write!(f, "?{headers}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn parts_are_found_and_written_back() {
        for text in [
            "sip:alice@example.com",
            "sip:alice:secret@example.com:5061;transport=tcp;lr?Subject=a%20b&Priority=x",
            "sips:1212@gateway.com",
            "sip:a.b-c_d@[2001:db8::1]:5070;maddr=[::1]",
            "sip:192.0.2.4",
            "sip:user;par=u%40example.net@example.com",
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
            "sip:null-%00-null@example.com",
            "tel:+1-201-555-0123;phone-context=example.com",
            "soap.beep://192.0.2.103:3002",
            "nobodyknowsthisscheme:totallyopaquecontent",
            "urn:service:sos",
            "http://www.example.com/?a=b;c",
        ] {
            assert_eq!(uri(text).to_string(), text);
        }
        let full = uri("SIP:alice:secret@Example.com:5061;transport=tcp;lr?Subject=a%20b");
        assert_eq!(full.scheme, Scheme::Sip);
        assert_eq!(full.user.as_deref(), Some("alice"));
        assert_eq!(full.password.as_deref(), Some("secret"));
        assert_eq!(full.port, Some(5061));
        assert!(full.is_loose_route());
        assert_eq!(full.transport(), Some("tcp"));
        assert_eq!(
            full.header_fields().collect::<Vec<_>>(),
            [("Subject".into(), "a b".into())]
        );
        assert_eq!(
            full.as_request_uri().to_string(),
            "sip:alice:secret@Example.com:5061;transport=tcp;lr"
        );
    }

    #[test]
    fn ipv6_references_need_brackets_and_take_the_port_outside() {
        // RFC 5118 §4.2, §4.3, §4.4.
        assert_eq!("sip:2001:db8::10".parse::<Uri>(), Err(SyntaxError::BadPort));
        let ambiguous = uri("sip:[2001:db8::10:5070]");
        assert_eq!(ambiguous.port, None);
        assert_eq!(ambiguous.host, Host::V6("2001:db8::10:5070".parse().unwrap()));
        assert_eq!(uri("sip:[2001:db8::10]:5070").port, Some(5070));
        // RFC 5118 §4.10: the third colon came from a fault in the old grammar.
        let v6: Ipv6Addr = "2001:db8::192.0.2.1".parse().unwrap();
        assert_eq!(uri("sip:user@[2001:db8:::192.0.2.1]").host, Host::V6(v6));
        assert_eq!(
            uri("sip:user@[::ffff:192.0.2.2]").to_string(),
            "sip:user@[::ffff:192.0.2.2]"
        );
    }

    #[test]
    fn malformed_uris_are_refused() {
        for bad in [
            "",
            "sip",
            "sip:",
            ":x",
            "sip:@host",
            "sip:a@",
            "sip:a b@h",
            "sip:a@h:",
            "sip:a@h:99999",
            "sip:a@h:12x",
            "<sip:a@h>",
            "sip:a@h; lr",
            "sip:a%4@h",
            "sip:a%zz@h",
            "sip:a@[::1",
            "sip:a@[x]",
            "sip:a@h o",
            "sip:a@h;;x",
            "sip:a@h?",
            "1sip:a@h",
            "sip:a@\"h\"",
            "tel:",
            "http:",
            "x:a b",
            "sip:a@h;x=%2",
            "sip:h?a=%q",
            "sip:a\r\nb@h",
            "sip:a@h/x",
            "sip::5060",
            "sip:a@ü.de:x",
        ] {
            assert!(bad.parse::<Uri>().is_err(), "{bad}");
        }
    }

    #[test]
    fn users_get_their_escapes() {
        let made = Uri::sip("sips:user@example.com", Host::from("example.net"), None);
        assert_eq!(made.to_string(), "sip:sips%3Auser%40example.com@example.net");
        assert_eq!(made.user_decoded().as_deref(), Some("sips:user@example.com"));
        assert_eq!(uri(&made.to_string()), made);
        assert_eq!(
            Uri::sip("", Host::from("h"), Some(5060)).to_string(),
            "sip:h:5060"
        );
        assert_eq!(
            Uri::sip("Zoë", Host::from("h"), None).to_string(),
            "sip:Zo%C3%AB@h"
        );
    }

    #[test]
    fn address_of_record_has_no_parameters() {
        let aor = uri("sip:a:p@h:5070;transport=tcp?x=y").address_of_record();
        assert_eq!(aor.to_string(), "sip:a@h:5070");
    }
}
