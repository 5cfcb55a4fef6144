//! Event: the package of a subscription (RFC 6665 §8.2.1).

use super::Params;
use crate::error::SyntaxError;
use crate::grammar::{is_token, split_before, trim};
use std::fmt;
use std::str::FromStr;

/// Event package with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Package with its templates (`presence.winfo`); compared with case (RFC 6665 §8.2.1).
    pub package: String,
    /// `id` and others.
    pub params: Params,
}

impl Event {
    /// A package without parameters.
    pub fn new(package: impl Into<String>) -> Self {
        Self {
            package: package.into(),
            params: Params::new(),
        }
    }

    /// `id` parameter, part of what identifies a subscription.
    pub fn id(&self) -> Option<&str> {
        self.params.get("id")
    }
}

impl FromStr for Event {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let (package, params) = split_before(text, b';');
        let package = trim(package);
        if !is_token(package) {
            return Err(SyntaxError::BadToken);
        }
        Ok(Self {
            package: package.to_owned(),
            params: Params::parse(params)?,
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.package, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_and_id() {
        let event: Event = "presence.winfo ; id=7".parse().unwrap();
        assert_eq!(
            (event.package.as_str(), event.id()),
            ("presence.winfo", Some("7"))
        );
        assert_eq!(event.to_string(), "presence.winfo;id=7");
        assert_eq!(Event::new("conference").id(), None);
        assert!("".parse::<Event>().is_err() && "a b".parse::<Event>().is_err());
    }
}
