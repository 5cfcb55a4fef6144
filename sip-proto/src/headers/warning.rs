//! Warning: more about a status (RFC 3261 §20.43).

use crate::error::SyntaxError;
use crate::grammar::{number, push_quoted, quoted, trim, unescape};
use std::fmt;
use std::str::FromStr;

/// One warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Three digits; 3xx in SIP.
    pub code: u16,
    /// Host or pseudonym of who warns.
    pub agent: String,
    /// Text for a person, decoded.
    pub text: String,
}

impl FromStr for Warning {
    type Err = SyntaxError;

    fn from_str(value: &str) -> Result<Self, SyntaxError> {
        let (code, rest) = trim(value).split_once(' ').ok_or(SyntaxError::Empty)?;
        let (agent, text) = trim(rest).split_once(' ').ok_or(SyntaxError::Empty)?;
        let (raw, rest) = quoted(trim(text))?;
        if !trim(rest).is_empty() {
            return Err(SyntaxError::TrailingText);
        }
        if code.len() != 3 {
            return Err(SyntaxError::OutOfRange);
        }
        let code = u16::try_from(number(code, 999)?).map_err(|_| SyntaxError::OutOfRange)?;
        Ok(Self {
            code,
            agent: agent.to_owned(),
            text: unescape(raw).into_owned(),
        })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(self.text.len() + 2);
        push_quoted(&mut text, &self.text);
        write!(f, "{:03} {} {text}", self.code, self.agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_parts() {
        let warning: Warning = "305  meet.example \"no \\\"codec\\\"\"".parse().unwrap();
        assert_eq!((warning.code, warning.text.as_str()), (305, "no \"codec\""));
        assert_eq!(warning.to_string().parse(), Ok(warning));
        for bad in [
            "",
            "305",
            "305 a",
            "305 a b",
            "1812 overture \"x\"",
            "305 a \"x\" y",
            "a b \"c\"",
            "305 a \"x",
        ] {
            assert!(bad.parse::<Warning>().is_err(), "{bad}");
        }
    }
}
