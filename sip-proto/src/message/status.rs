//! Status codes with their classes and default reason phrases.
//!
//! The phrases come from rsip's table (its names are the RFC's phrases without spaces), except
//! where that table is wrong or silent.

use std::borrow::Cow;
use std::fmt;

/// Status code of a response, 100 to 699.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusCode(u16);

macro_rules! statuses {
    ($($name:ident = $code:literal;)*) => {
        #[expect(missing_docs, reason = "the names are the phrases of RFC 3261 §21 and its extensions")]
        impl StatusCode {
            $(pub const $name: Self = Self($code);)*
        }
    };
}

statuses! {
    TRYING = 100;
    RINGING = 180;
    CALL_IS_BEING_FORWARDED = 181;
    QUEUED = 182;
    SESSION_PROGRESS = 183;
    OK = 200;
    ACCEPTED = 202;
    NO_NOTIFICATION = 204;
    MULTIPLE_CHOICES = 300;
    MOVED_PERMANENTLY = 301;
    MOVED_TEMPORARILY = 302;
    BAD_REQUEST = 400;
    UNAUTHORIZED = 401;
    FORBIDDEN = 403;
    NOT_FOUND = 404;
    METHOD_NOT_ALLOWED = 405;
    NOT_ACCEPTABLE = 406;
    PROXY_AUTHENTICATION_REQUIRED = 407;
    REQUEST_TIMEOUT = 408;
    GONE = 410;
    CONDITIONAL_REQUEST_FAILED = 412;
    REQUEST_ENTITY_TOO_LARGE = 413;
    REQUEST_URI_TOO_LONG = 414;
    UNSUPPORTED_MEDIA_TYPE = 415;
    UNSUPPORTED_URI_SCHEME = 416;
    BAD_EXTENSION = 420;
    EXTENSION_REQUIRED = 421;
    SESSION_INTERVAL_TOO_SMALL = 422;
    INTERVAL_TOO_BRIEF = 423;
    BAD_INFO_PACKAGE = 469;
    TEMPORARILY_UNAVAILABLE = 480;
    CALL_DOES_NOT_EXIST = 481;
    LOOP_DETECTED = 482;
    TOO_MANY_HOPS = 483;
    ADDRESS_INCOMPLETE = 484;
    AMBIGUOUS = 485;
    BUSY_HERE = 486;
    REQUEST_TERMINATED = 487;
    NOT_ACCEPTABLE_HERE = 488;
    BAD_EVENT = 489;
    REQUEST_PENDING = 491;
    UNDECIPHERABLE = 493;
    SERVER_INTERNAL_ERROR = 500;
    NOT_IMPLEMENTED = 501;
    BAD_GATEWAY = 502;
    SERVICE_UNAVAILABLE = 503;
    SERVER_TIMEOUT = 504;
    VERSION_NOT_SUPPORTED = 505;
    MESSAGE_TOO_LARGE = 513;
    BUSY_EVERYWHERE = 600;
    DECLINE = 603;
    DOES_NOT_EXIST_ANYWHERE = 604;
    NOT_ACCEPTABLE_ANYWHERE = 606;
}

impl StatusCode {
    /// The code, if it is within 100 to 699.
    pub fn new(code: u16) -> Option<Self> {
        (100..=699).contains(&code).then_some(Self(code))
    }

    /// The number.
    pub fn code(self) -> u16 {
        self.0
    }

    /// 1xx.
    pub fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// 2xx.
    pub fn is_success(self) -> bool {
        (200..300).contains(&self.0)
    }

    /// 3xx.
    pub fn is_redirection(self) -> bool {
        (300..400).contains(&self.0)
    }

    /// 4xx, 5xx or 6xx.
    pub fn is_failure(self) -> bool {
        self.0 >= 400
    }

    /// Anything but 1xx.
    pub fn is_final(self) -> bool {
        self.0 >= 200
    }

    /// The phrase that goes with the code when the application names none.
    pub fn default_reason(self) -> Cow<'static, str> {
        let own = match self.0 {
            202 => "Accepted",
            413 => "Request Entity Too Large",
            414 => "Request-URI Too Long",
            416 => "Unsupported URI Scheme",
            481 => "Call/Transaction Does Not Exist",
            504 => "Server Time-out",
            606 => "Not Acceptable",
            _ => return spaced(&rsip::StatusCode::from(self.0)).into(),
        };
        own.into()
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// rsip's name of a status (`SessionProgress`) as a phrase; unknown codes get the phrase of their
/// class.
fn spaced(status: &rsip::StatusCode) -> String {
    if let rsip::StatusCode::Other(code, _) = status {
        let class = match code / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        };
        return class.to_owned();
    }
    let text = status.to_string();
    let name = text.split_once(' ').map_or("", |(_, name)| name);
    if name == "OK" {
        return name.to_owned();
    }
    let mut phrase = String::with_capacity(name.len() + 8);
    for (at, c) in name.char_indices() {
        if at > 0 && c.is_ascii_uppercase() {
            phrase.push(' ');
        }
        phrase.push(c);
    }
    phrase
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_and_classes() {
        assert_eq!(StatusCode::new(99), None);
        assert_eq!(StatusCode::new(700), None);
        assert!(StatusCode::TRYING.is_provisional() && !StatusCode::TRYING.is_final());
        assert!(StatusCode::OK.is_success() && StatusCode::OK.is_final());
        assert!(StatusCode::DECLINE.is_failure());
        assert!(StatusCode::MOVED_TEMPORARILY.is_redirection());
    }

    #[test]
    fn phrases_are_those_of_the_rfc() {
        for (code, phrase) in [
            (100, "Trying"),
            (183, "Session Progress"),
            (200, "OK"),
            (401, "Unauthorized"),
            (481, "Call/Transaction Does Not Exist"),
            (488, "Not Acceptable Here"),
            (500, "Server Internal Error"),
            (505, "Version Not Supported"),
            (513, "Message Too Large"),
            (606, "Not Acceptable"),
            (299, "OK"),
            (699, "Global Failure"),
        ] {
            assert_eq!(StatusCode::new(code).unwrap().default_reason(), phrase, "{code}");
        }
    }
}
