//! Against floods and guessing: what the shield lets through.

use super::ConfigError;
use crate::shield::{Network, ShieldSettings};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits of what strangers may ask. Messages of calls that are up are not meant: those always come through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProtectionConfig {
    /// New requests from one address (IPv6: one /64 network), a second on average. More are dropped.
    pub requests_per_second: u32,
    /// The same at once: a whole class behind one router joins at the full hour.
    pub requests_at_once: u32,
    /// New requests a second from all addresses together that proved nothing yet.
    pub strangers_per_second: u32,
    /// So many wrong passwords from one address in ten minutes ban it.
    pub wrong_passwords: u32,
    /// How long a ban lasts; 0: nobody is banned.
    pub ban_seconds: u64,
    /// Addresses and networks that are neither limited nor banned.
    pub trusted: Vec<String>,
}

impl Default for ProtectionConfig {
    fn default() -> Self {
        Self {
            requests_per_second: 200,
            requests_at_once: 2_000,
            strangers_per_second: 500,
            wrong_passwords: 20,
            ban_seconds: 600,
            trusted: Vec::new(),
        }
    }
}

impl ProtectionConfig {
    /// The settings of the shield; networks that are none were refused by [`Self::validate`].
    pub fn settings(&self) -> ShieldSettings {
        ShieldSettings {
            requests_per_second: self.requests_per_second,
            requests_at_once: self.requests_at_once,
            strangers_per_second: self.strangers_per_second,
            wrong_passwords: self.wrong_passwords,
            ban: Duration::from_secs(self.ban_seconds),
            trusted: self.trusted.iter().filter_map(|text| text.parse().ok()).collect(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |message: String| Err(ConfigError::Invalid { message });
        for text in &self.trusted {
            if let Err(error) = text.parse::<Network>() {
                return invalid(format!("protection.trusted: {error}"));
            }
        }
        if self.requests_per_second == 0 || self.requests_at_once == 0 || self.strangers_per_second == 0 {
            return invalid("the limits of [protection] must be at least 1".into());
        }
        if self.wrong_passwords == 0 {
            return invalid(
                "protection.wrong_passwords must be at least 1; ban_seconds = 0 bans nobody".into(),
            );
        }
        Ok(())
    }
}
