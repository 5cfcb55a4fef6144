//! The part `[overload]` of the configuration.
//!
//! Deliberately absent: limits for single sources (`[protection]`).

use crate::focus::load::LoadSettings;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When new calls are refused with 503 and Retry-After.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverloadConfig {
    /// Requests that waited longer than this, in a row, mean overload; 0: never.
    pub queue_milliseconds: u64,
    /// Share of its time that every media thread may use; 0: any.
    pub shard_percent: u32,
    /// Calls at a time; 0: any number. A call costs up to 200 KiB.
    pub max_calls: usize,
    /// New calls a second; 0: any number.
    pub calls_per_second: u32,
    /// Shortest Retry-After; up to twice that is said.
    pub retry_after_seconds: u32,
}

impl Default for OverloadConfig {
    fn default() -> Self {
        let LoadSettings {
            queue,
            shard_percent,
            max_calls,
            calls_per_second,
            retry_after,
        } = LoadSettings::default();
        Self {
            queue_milliseconds: u64::try_from(queue.as_millis()).unwrap_or(u64::MAX),
            shard_percent,
            max_calls,
            calls_per_second,
            retry_after_seconds: retry_after,
        }
    }
}

impl OverloadConfig {
    /// For the focus.
    pub fn settings(&self) -> LoadSettings {
        LoadSettings {
            queue: Duration::from_millis(self.queue_milliseconds),
            shard_percent: self.shard_percent,
            max_calls: self.max_calls,
            calls_per_second: self.calls_per_second,
            retry_after: self.retry_after_seconds,
        }
    }
}
