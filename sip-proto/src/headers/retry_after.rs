//! Retry-After (RFC 3261 §20.33): seconds, with a comment and parameters that we skip.

use crate::error::SyntaxError;
use crate::grammar::{number, trim};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl FromStr for RetryAfter {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let end = text.find(['(', ';']).unwrap_or(text.len());
        let seconds = match number(trim(text.get(..end).unwrap_or(text)), u32::MAX) {
            // RFC 4475 §3.1.2.5 sends one of 26 digits: as long as can be.
            Err(SyntaxError::OutOfRange) => u32::MAX,
            other => other?,
        };
        Ok(Self(Duration::from_secs(u64::from(seconds))))
    }
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_skipped() {
        let seconds = |text: &str| text.parse::<RetryAfter>().map(|after| after.0.as_secs());
        assert_eq!(seconds("120 (in a meeting);duration=60"), Ok(120));
        assert_eq!(seconds("949302838503028349304023988"), Ok(u64::from(u32::MAX)));
        assert!(seconds("soon").is_err() && seconds("").is_err());
        assert_eq!(RetryAfter(Duration::from_secs(5)).to_string(), "5");
    }
}
