//! Logs and metrics of the process.
//!
//! Logs go to standard error through `tracing`, with the spans `call{id}`, `room{id}` and
//! `leg{id}`; metrics are counters that `/metrics` prints. Deliberately absent: log lines from
//! the media threads (they only count), and secrets (types that hold them print none).

mod metrics;

pub use metrics::{Metrics, MetricsError};

use crate::config::{LogConfig, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging. A second call in one process (tests) changes nothing.
pub fn init(config: &LogConfig) {
    let filter = EnvFilter::try_new(&config.level).unwrap_or_else(|error| {
        eprintln!(
            "meet-server: log level `{}` is not understood ({error}); using info",
            config.level
        );
        EnvFilter::new("info")
    });
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let outcome = match config.format {
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
        LogFormat::Human => builder.with_ansi(false).try_init(),
        LogFormat::Auto => builder.with_ansi(terminal).try_init(),
    };
    drop(outcome);
}
