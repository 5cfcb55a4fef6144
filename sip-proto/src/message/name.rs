//! Header names: compared without case, read in compact form, written in long form.
//!
//! The table holds the names that the crate gives types to or that real phones send; any other
//! name is kept as it came ([`HeaderName::Other`]). The order is by how often a name is met,
//! because reading a name walks the table.

use crate::error::SyntaxError;
use crate::grammar::is_token;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

macro_rules! header_names {
    ($($variant:ident = $long:literal, $compact:expr;)*) => {
        /// Name of a header field (RFC 3261 §20 and its extensions).
        #[derive(Clone, Eq)]
        pub enum HeaderName {
            $(
                #[doc = concat!("`", $long, "`")]
                $variant,
            )*
            /// Any other name, in the peer's spelling; compared without case all the same.
            Other(String),
        }

        /// Long name, compact letter, name.
        const TABLE: &[(&str, Option<u8>, HeaderName)] = &[$(($long, $compact, HeaderName::$variant)),*];

        impl HeaderName {
            /// The long form, as it is written.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $long,)*
                    Self::Other(name) => name,
                }
            }
        }
    };
}

header_names! {
    Via = "Via", Some(b'v');
    From = "From", Some(b'f');
    To = "To", Some(b't');
    CallId = "Call-ID", Some(b'i');
    CSeq = "CSeq", None;
    MaxForwards = "Max-Forwards", None;
    Contact = "Contact", Some(b'm');
    ContentLength = "Content-Length", Some(b'l');
    ContentType = "Content-Type", Some(b'c');
    Route = "Route", None;
    RecordRoute = "Record-Route", None;
    UserAgent = "User-Agent", None;
    Allow = "Allow", None;
    Supported = "Supported", Some(b'k');
    Expires = "Expires", None;
    Authorization = "Authorization", None;
    Require = "Require", None;
    Event = "Event", Some(b'o');
    SubscriptionState = "Subscription-State", None;
    Accept = "Accept", None;
    Server = "Server", None;
    WwwAuthenticate = "WWW-Authenticate", None;
    ProxyAuthorization = "Proxy-Authorization", None;
    ProxyAuthenticate = "Proxy-Authenticate", None;
    Unsupported = "Unsupported", None;
    Reason = "Reason", None;
    Warning = "Warning", None;
    RetryAfter = "Retry-After", None;
    CallInfo = "Call-Info", None;
    AllowEvents = "Allow-Events", Some(b'u');
    SessionExpires = "Session-Expires", Some(b'x');
    MinSe = "Min-SE", None;
    MinExpires = "Min-Expires", None;
    ReferTo = "Refer-To", Some(b'r');
    ReferredBy = "Referred-By", Some(b'b');
    ReferSub = "Refer-Sub", None;
    Replaces = "Replaces", None;
    Join = "Join", None;
    RSeq = "RSeq", None;
    RAck = "RAck", None;
    SipEtag = "SIP-ETag", None;
    SipIfMatch = "SIP-If-Match", None;
    Date = "Date", None;
    Subject = "Subject", Some(b's');
    Organization = "Organization", None;
    Priority = "Priority", None;
    InReplyTo = "In-Reply-To", None;
    ReplyTo = "Reply-To", None;
    ErrorInfo = "Error-Info", None;
    AlertInfo = "Alert-Info", None;
    AcceptEncoding = "Accept-Encoding", None;
    AcceptLanguage = "Accept-Language", None;
    AcceptContact = "Accept-Contact", Some(b'a');
    RejectContact = "Reject-Contact", Some(b'j');
    RequestDisposition = "Request-Disposition", Some(b'd');
    ContentDisposition = "Content-Disposition", None;
    ContentEncoding = "Content-Encoding", Some(b'e');
    ContentLanguage = "Content-Language", None;
    MimeVersion = "MIME-Version", None;
    Timestamp = "Timestamp", None;
    ProxyRequire = "Proxy-Require", None;
    AuthenticationInfo = "Authentication-Info", None;
    HistoryInfo = "History-Info", None;
    Identity = "Identity", Some(b'y');
    Privacy = "Privacy", None;
    PAssertedIdentity = "P-Asserted-Identity", None;
    PPreferredIdentity = "P-Preferred-Identity", None;
    Path = "Path", None;
    ServiceRoute = "Service-Route", None;
    InfoPackage = "Info-Package", None;
    RecvInfo = "Recv-Info", None;
}

impl HeaderName {
    /// Reads a name in long or compact form, whatever its case. The text must be a token to be
    /// written again; [`FromStr`] checks that, this does not.
    pub fn parse(name: &str) -> Self {
        if let [letter] = name.as_bytes() {
            let letter = letter.to_ascii_lowercase();
            if let Some((_, _, known)) = TABLE.iter().find(|(_, compact, _)| *compact == Some(letter)) {
                return known.clone();
            }
        }
        match TABLE.iter().find(|(long, _, _)| long.eq_ignore_ascii_case(name)) {
            Some((_, _, known)) => known.clone(),
            None => Self::Other(name.to_owned()),
        }
    }

    /// Whether the value is a comma-separated list, so that several lines mean the same as one
    /// (RFC 3261 §7.3.1). The digest headers use commas inside one value and are not lists.
    pub fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Via
                | Self::Contact
                | Self::Route
                | Self::RecordRoute
                | Self::Allow
                | Self::Supported
                | Self::Require
                | Self::Unsupported
                | Self::ProxyRequire
                | Self::Accept
                | Self::AcceptEncoding
                | Self::AcceptLanguage
                | Self::AllowEvents
                | Self::Warning
                | Self::Reason
                | Self::CallInfo
                | Self::ErrorInfo
                | Self::AlertInfo
                | Self::InReplyTo
                | Self::ContentEncoding
                | Self::ContentLanguage
                | Self::Path
                | Self::ServiceRoute
                | Self::HistoryInfo
                | Self::PAssertedIdentity
                | Self::RecvInfo
        )
    }
}

impl FromStr for HeaderName {
    type Err = SyntaxError;

    fn from_str(name: &str) -> Result<Self, SyntaxError> {
        if is_token(name) {
            Ok(Self::parse(name))
        } else {
            Err(SyntaxError::BadToken)
        }
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Other(a), Self::Other(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

impl Hash for HeaderName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        if let Self::Other(name) = self {
            name.bytes().for_each(|b| b.to_ascii_lowercase().hash(state));
        }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_letter_reads_back() {
        let mut letters = std::collections::HashSet::new();
        for (long, compact, name) in TABLE {
            assert_eq!(&HeaderName::parse(&long.to_uppercase()), name);
            assert_eq!(name.as_str(), *long);
            if let Some(letter) = compact {
                assert!(letters.insert(letter), "{long}");
                assert_eq!(&HeaderName::parse(&char::from(*letter).to_string()), name);
                assert_eq!(
                    &HeaderName::parse(&char::from(letter.to_ascii_uppercase()).to_string()),
                    name
                );
            }
        }
    }

    #[test]
    fn unknown_names_keep_their_spelling_and_compare_without_case() {
        let a = HeaderName::parse("X-Thing");
        assert_eq!(a, HeaderName::parse("x-THING"));
        assert_eq!(a.as_str(), "X-Thing");
        assert_ne!(a, HeaderName::parse("X-Thin"));
        assert!("X Thing".parse::<HeaderName>().is_err());
        assert_eq!("z".parse(), Ok(HeaderName::Other("Z".into())));
    }
}
