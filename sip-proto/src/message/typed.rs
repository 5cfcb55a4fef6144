//! Typed views of the header map, parsed when asked for.
//!
//! A message that came through [`super::parse`] has passed the checks on Via, From, To, Call-ID,
//! CSeq, Max-Forwards and (in requests) Contact already, so for those an error here means a message
//! of our own making.

use super::{HeaderName, Headers, Method};
use crate::error::{HeaderError, SyntaxError};
use crate::grammar::{self, trim};
use crate::headers::{
    CSeq, CallInfo, Contacts, ContentType, Event, NameAddr, RAck, Reason, RetryAfter, SessionExpires,
    SubscriptionState, Via, Warning, scan_name_addr,
};
use crate::ids::{CallId, Tag};
use crate::limits::MAX_LIST_ELEMENTS;
use std::str::FromStr;
use std::time::Duration;

impl Headers {
    /// The first Via element: the hop that the message came over last.
    pub fn top_via(&self) -> Result<Via, HeaderError> {
        let first = self.list(&HeaderName::Via).next();
        let text = first.ok_or_else(|| HeaderError::missing(HeaderName::Via))?;
        parse(&HeaderName::Via, text)
    }

    /// All Via elements, the latest hop first.
    pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
        self.parse_list(&HeaderName::Via)
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr, HeaderError> {
        self.parse_one(&HeaderName::From)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr, HeaderError> {
        self.parse_one(&HeaderName::To)
    }

    /// Tag of From.
    pub fn from_tag(&self) -> Option<Tag> {
        self.tag_of(&HeaderName::From)
    }

    /// Tag of To.
    pub fn to_tag(&self) -> Option<Tag> {
        self.tag_of(&HeaderName::To)
    }

    /// Call-ID.
    pub fn call_id(&self) -> Result<CallId, HeaderError> {
        match self.get(&HeaderName::CallId) {
            Some("") => Err(HeaderError::syntax(HeaderName::CallId, SyntaxError::Empty)),
            Some(text) => Ok(CallId::new(text)),
            None => Err(HeaderError::missing(HeaderName::CallId)),
        }
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        self.parse_one(&HeaderName::CSeq)
    }

    /// Method in CSeq: what a response answers.
    pub fn cseq_method(&self) -> Result<Method, HeaderError> {
        self.cseq().map(|cseq| cseq.method)
    }

    /// All Contact headers together.
    pub fn contacts(&self) -> Result<Contacts, HeaderError> {
        Contacts::from_lines(self.get_all(&HeaderName::Contact))
            .map_err(|error| HeaderError::syntax(HeaderName::Contact, error))
    }

    /// Route set of a request on its way.
    pub fn routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.parse_list(&HeaderName::Route)
    }

    /// Record-Route, in the order of the message.
    pub fn record_routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.parse_list(&HeaderName::RecordRoute)
    }

    /// Max-Forwards; RFC 3261 §20.22 has it within 0 and 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        let number = self.number(&HeaderName::MaxForwards, u32::from(u8::MAX))?;
        Ok(number.map(|hops| u8::try_from(hops).unwrap_or(u8::MAX)))
    }

    /// Expires in seconds; a number that does not fit is as long as can be.
    pub fn expires(&self) -> Result<Option<u32>, HeaderError> {
        self.seconds(&HeaderName::Expires)
    }

    /// Min-Expires in seconds (RFC 3261 §20.23).
    pub fn min_expires(&self) -> Result<Option<u32>, HeaderError> {
        self.seconds(&HeaderName::MinExpires)
    }

    /// Session-Expires (RFC 4028 §4); `None` when it is absent.
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, HeaderError> {
        self.optional(&HeaderName::SessionExpires)
    }

    /// Min-SE in seconds (RFC 4028 §5), its parameters skipped; `None` when it is absent.
    pub fn min_se(&self) -> Result<Option<u32>, HeaderError> {
        let parsed: Option<SessionExpires> = self.optional(&HeaderName::MinSe)?;
        Ok(parsed.map(|value| value.seconds))
    }

    /// RSeq of a provisional response that is sent reliably (RFC 3262 §7.1).
    pub fn rseq(&self) -> Result<Option<u32>, HeaderError> {
        self.number(&HeaderName::RSeq, u32::MAX)
    }

    /// RAck of a PRACK.
    pub fn rack(&self) -> Result<RAck, HeaderError> {
        self.parse_one(&HeaderName::RAck)
    }

    /// Words of a comma-separated header over all its lines: Allow, Supported, Require and the
    /// like. Nothing when the header is not there.
    pub fn tokens(&self, name: &HeaderName) -> Vec<String> {
        self.list(name).map(str::to_owned).collect()
    }

    /// Whether a comma-separated header has the word, whatever its case.
    pub fn has_token(&self, name: &HeaderName, token: &str) -> bool {
        self.list(name).any(|word| word.eq_ignore_ascii_case(token))
    }

    /// Content-Type; `None` when it is absent or malformed.
    pub fn content_type(&self) -> Option<ContentType> {
        self.get(&HeaderName::ContentType)?.parse().ok()
    }

    /// Event; `None` when it is absent.
    pub fn event(&self) -> Result<Option<Event>, HeaderError> {
        self.optional(&HeaderName::Event)
    }

    /// Subscription-State; `None` when it is absent.
    pub fn subscription_state(&self) -> Result<Option<SubscriptionState>, HeaderError> {
        self.optional(&HeaderName::SubscriptionState)
    }

    /// Retry-After; `None` when it is absent or malformed.
    pub fn retry_after(&self) -> Option<Duration> {
        self.get(&HeaderName::RetryAfter)?
            .parse::<RetryAfter>()
            .ok()
            .map(|after| after.0)
    }

    /// The reasons that can be read.
    pub fn reasons(&self) -> Vec<Reason> {
        self.readable(&HeaderName::Reason)
    }

    /// The warnings that can be read.
    pub fn warnings(&self) -> Vec<Warning> {
        self.readable(&HeaderName::Warning)
    }

    /// The Call-Info elements that can be read.
    pub fn call_infos(&self) -> Vec<CallInfo> {
        self.readable(&HeaderName::CallInfo)
    }

    /// The elements of a header that can be read as `T`; the others are passed over.
    pub fn readable<T: FromStr>(&self, name: &HeaderName) -> Vec<T> {
        let parsed = |text: &str| text.parse().ok();
        if name.is_list() {
            self.list(name)
                .take(MAX_LIST_ELEMENTS)
                .filter_map(parsed)
                .collect()
        } else {
            self.get_all(name)
                .take(MAX_LIST_ELEMENTS)
                .filter_map(parsed)
                .collect()
        }
    }

    fn parse_one<T: FromStr<Err = SyntaxError>>(&self, name: &HeaderName) -> Result<T, HeaderError> {
        let text = self.get(name).ok_or_else(|| HeaderError::missing(name.clone()))?;
        parse(name, text)
    }

    fn optional<T: FromStr<Err = SyntaxError>>(&self, name: &HeaderName) -> Result<Option<T>, HeaderError> {
        self.get(name).map(|text| parse(name, text)).transpose()
    }

    fn parse_list<T: FromStr<Err = SyntaxError>>(&self, name: &HeaderName) -> Result<Vec<T>, HeaderError> {
        if self.list(name).nth(MAX_LIST_ELEMENTS).is_some() {
            return Err(HeaderError::syntax(name.clone(), SyntaxError::TooMany));
        }
        self.list(name).map(|text| parse(name, text)).collect()
    }

    fn tag_of(&self, name: &HeaderName) -> Option<Tag> {
        let params = scan_name_addr(self.get(name)?).ok()?.params;
        let tag = grammar::find_param(params, "tag")?.value?;
        Some(Tag::new(tag.decode()))
    }

    fn number(&self, name: &HeaderName, max: u32) -> Result<Option<u32>, HeaderError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        grammar::number(trim(text), max)
            .map(Some)
            .map_err(|error| HeaderError::syntax(name.clone(), error))
    }

    fn seconds(&self, name: &HeaderName) -> Result<Option<u32>, HeaderError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        match grammar::number(trim(text), u32::MAX) {
            Ok(seconds) => Ok(Some(seconds)),
            Err(SyntaxError::OutOfRange) => Ok(Some(u32::MAX)),
            Err(error) => Err(HeaderError::syntax(name.clone(), error)),
        }
    }
}

fn parse<T: FromStr<Err = SyntaxError>>(name: &HeaderName, text: &str) -> Result<T, HeaderError> {
    text.parse()
        .map_err(|error| HeaderError::syntax(name.clone(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_headers_are_missing_or_none() {
        let headers = Headers::new();
        assert_eq!(headers.top_via(), Err(HeaderError::missing(HeaderName::Via)));
        assert_eq!(headers.max_forwards(), Ok(None));
        assert_eq!(headers.contacts(), Ok(Contacts::List(vec![])));
        assert_eq!(headers.event(), Ok(None));
        assert!(headers.routes().unwrap().is_empty() && headers.tokens(&HeaderName::Allow).is_empty());
    }

    #[test]
    fn numbers_lists_and_tags() {
        let mut headers = Headers::new();
        headers.push(HeaderName::MaxForwards, "0068");
        headers.push(HeaderName::Expires, "1".repeat(80));
        headers.push(HeaderName::Supported, "100rel , timer");
        headers.push(HeaderName::Supported, "gruu");
        headers.push(HeaderName::From, "\"a;tag=no\" <sip:a@h;tag=no> ;tag=yes");
        headers.push(HeaderName::Reason, "SIP;cause=200, x y, Q.850;cause=16");
        assert_eq!(headers.max_forwards(), Ok(Some(68)));
        assert_eq!(headers.expires(), Ok(Some(u32::MAX)));
        assert_eq!(
            headers.tokens(&HeaderName::Supported),
            ["100rel", "timer", "gruu"]
        );
        assert!(headers.has_token(&HeaderName::Supported, "GRUU"));
        assert_eq!(headers.from_tag(), Some(Tag::new("yes")));
        assert_eq!(headers.to_tag(), None);
        assert_eq!(headers.reasons().len(), 2);
        headers.set(HeaderName::MaxForwards, 256);
        assert!(headers.max_forwards().is_err());
    }
}
