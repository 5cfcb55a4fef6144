//! Session-Expires: how long a session lasts without a refresh, and who refreshes it (RFC 4028 §4).

use super::Params;
use crate::error::SyntaxError;
use crate::grammar::{number, split_before, trim};
use std::fmt;
use std::str::FromStr;

/// Who refreshes: the sender of the request that the header belongs to, or the one who answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refresher {
    /// Whoever sent the request.
    Uac,
    /// Whoever answered it.
    Uas,
}

impl Refresher {
    /// The word of the `refresher` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uac => "uac",
            Self::Uas => "uas",
        }
    }
}

/// Interval and refresher; other parameters are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionExpires {
    /// Seconds; a number that does not fit is as long as can be.
    pub seconds: u32,
    /// Who refreshes, when it is said.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// An interval, and its refresher if that is settled.
    pub fn new(seconds: u32, refresher: Option<Refresher>) -> Self {
        Self { seconds, refresher }
    }
}

impl FromStr for SessionExpires {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let (digits, params) = split_before(text, b';');
        let seconds = match number(trim(digits), u32::MAX) {
            Err(SyntaxError::OutOfRange) => u32::MAX,
            other => other?,
        };
        let params = Params::parse(params)?;
        let refresher = match params.get("refresher") {
            Some(word) if word.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(word) if word.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        };
        Ok(Self { seconds, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seconds)?;
        match self.refresher {
            Some(refresher) => write!(f, ";refresher={}", refresher.as_str()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let read: SessionExpires = "1800 ;x=y; Refresher = UAS".parse().unwrap();
        assert_eq!(read, SessionExpires::new(1800, Some(Refresher::Uas)));
        assert_eq!(read.to_string(), "1800;refresher=uas");
        assert_eq!("90".parse(), Ok(SessionExpires::new(90, None)));
        assert_eq!("99999999999".parse(), Ok(SessionExpires::new(u32::MAX, None)));
        assert_eq!(
            "90;refresher=me".parse::<SessionExpires>().unwrap().to_string(),
            "90"
        );
        assert!("".parse::<SessionExpires>().is_err() && "soon".parse::<SessionExpires>().is_err());
    }
}
