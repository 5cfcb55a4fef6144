//! Subscription-State of a NOTIFY (RFC 6665 §8.2.3).

use super::Params;
use crate::error::SyntaxError;
use crate::grammar::{is_token, number, split_before, trim};
use std::fmt;
use std::str::FromStr;

/// State of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionStatus {
    /// Accepted and authorised.
    Active,
    /// Accepted, not yet authorised.
    Pending,
    /// Over.
    Terminated,
    /// Any other word.
    Other(String),
}

impl SubscriptionStatus {
    /// The word as it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Terminated => "terminated",
            Self::Other(word) => word,
        }
    }
}

/// State with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionState {
    /// The state.
    pub status: SubscriptionStatus,
    /// `expires`, `reason`, `retry-after` and others.
    pub params: Params,
}

impl SubscriptionState {
    /// `active;expires=…`
    pub fn active(expires: u32) -> Self {
        Self::with(SubscriptionStatus::Active, "expires", expires.to_string())
    }

    /// `pending;expires=…`
    pub fn pending(expires: u32) -> Self {
        Self::with(SubscriptionStatus::Pending, "expires", expires.to_string())
    }

    /// `terminated;reason=…`, the reason being a word of RFC 6665 §4.1.3.
    pub fn terminated(reason: &str) -> Self {
        Self::with(SubscriptionStatus::Terminated, "reason", reason.to_owned())
    }

    /// Seconds left.
    pub fn expires(&self) -> Option<u32> {
        number(self.params.get("expires")?, u32::MAX).ok()
    }

    /// Why it ended.
    pub fn reason(&self) -> Option<&str> {
        self.params.get("reason")
    }

    /// Seconds after which a new subscription may be tried.
    pub fn retry_after(&self) -> Option<u32> {
        number(self.params.get("retry-after")?, u32::MAX).ok()
    }

    fn with(status: SubscriptionStatus, name: &str, value: String) -> Self {
        let mut params = Params::new();
        params.set(name, value);
        Self { status, params }
    }
}

impl FromStr for SubscriptionState {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let (word, params) = split_before(text, b';');
        let word = trim(word);
        if !is_token(word) {
            return Err(SyntaxError::BadToken);
        }
        let known = [
            SubscriptionStatus::Active,
            SubscriptionStatus::Pending,
            SubscriptionStatus::Terminated,
        ];
        let status = known
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(word))
            .unwrap_or_else(|| SubscriptionStatus::Other(word.to_owned()));
        Ok(Self {
            status,
            params: Params::parse(params)?,
        })
    }
}

impl fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.status.as_str(), self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_read_and_write() {
        let state: SubscriptionState = "Active ; expires = 600".parse().unwrap();
        assert_eq!(state, SubscriptionState::active(600));
        assert_eq!(state.expires(), Some(600));
        let over: SubscriptionState = "terminated;reason=rejected;retry-after=5".parse().unwrap();
        assert_eq!((over.reason(), over.retry_after()), (Some("rejected"), Some(5)));
        assert_eq!(
            SubscriptionState::terminated("noresource").to_string(),
            "terminated;reason=noresource"
        );
        assert_eq!(
            "odd".parse::<SubscriptionState>().unwrap().status,
            SubscriptionStatus::Other("odd".into())
        );
        assert!(";expires=1".parse::<SubscriptionState>().is_err());
    }
}
