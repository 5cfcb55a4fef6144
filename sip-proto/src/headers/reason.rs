//! Reason: why a request was sent (RFC 3326).

use super::Params;
use crate::error::SyntaxError;
use crate::grammar::{is_token, number, split_before, trim};
use std::fmt;
use std::str::FromStr;

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// `SIP`, `Q.850` or another protocol.
    pub protocol: String,
    /// `cause`, `text` and others.
    pub params: Params,
}

impl Reason {
    /// A reason in terms of a SIP status.
    pub fn sip(cause: u16, text: &str) -> Self {
        Self::new("SIP", u32::from(cause), text)
    }

    /// A reason of any protocol.
    pub fn new(protocol: &str, cause: u32, text: &str) -> Self {
        let mut params = Params::new();
        params.set("cause", cause.to_string());
        params.set_quoted("text", text);
        Self {
            protocol: protocol.to_owned(),
            params,
        }
    }

    /// The cause, whose meaning the protocol says.
    pub fn cause(&self) -> Option<u32> {
        number(self.params.get("cause")?, u32::MAX).ok()
    }

    /// Text for a person.
    pub fn text(&self) -> Option<&str> {
        self.params.get("text")
    }
}

impl FromStr for Reason {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let (protocol, params) = split_before(text, b';');
        let protocol = trim(protocol);
        if !is_token(protocol) {
            return Err(SyntaxError::BadToken);
        }
        Ok(Self {
            protocol: protocol.to_owned(),
            params: Params::parse(params)?,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.protocol, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_and_text() {
        let reason: Reason = "Q.850 ;cause=16 ;text=\"Call; \\\"over\\\"\"".parse().unwrap();
        assert_eq!(
            (reason.cause(), reason.text()),
            (Some(16), Some("Call; \"over\""))
        );
        assert_eq!(
            Reason::sip(600, "Over").to_string(),
            "SIP;cause=600;text=\"Over\""
        );
        assert_eq!(reason.to_string().parse(), Ok(reason));
        assert!("".parse::<Reason>().is_err() && ";cause=1".parse::<Reason>().is_err());
    }
}
