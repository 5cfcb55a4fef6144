//! What happened, line by line, and its fingerprint.
//!
//! The fingerprint covers every datagram and every word of the judges, so that two runs of a seed can be compared
//! without keeping their traces. Lines are written only when somebody reads them.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

/// The last lines that are kept when nobody reads along: what a failure shows.
const KEPT_LINES: usize = 400;

/// The record of one run.
#[derive(Debug)]
pub struct Trace {
    start: Instant,
    hasher: DefaultHasher,
    lines: std::collections::VecDeque<String>,
    /// Print each line as it comes.
    loud: bool,
    /// Keep the last lines.
    keep: bool,
}

impl Trace {
    /// An empty record.
    pub fn new(start: Instant, loud: bool, keep: bool) -> Self {
        Self {
            start,
            hasher: DefaultHasher::new(),
            lines: std::collections::VecDeque::new(),
            loud,
            keep,
        }
    }

    /// Whether lines are of use to anybody.
    pub const fn wants_lines(&self) -> bool {
        self.loud || self.keep
    }

    /// Counts something for the fingerprint alone.
    pub fn mark(&mut self, now: Instant, bytes: &[u8]) {
        let at = now.saturating_duration_since(self.start);
        self.hasher.write_u128(at.as_micros());
        self.hasher.write(bytes);
    }

    /// A line; `mark` it as well where it is not derived from something that was.
    #[expect(clippy::print_stdout, reason = "the replay's trace is read on the terminal")]
    pub fn line(&mut self, now: Instant, text: impl Display) {
        if !self.wants_lines() {
            return;
        }
        let line = format!("{} {text}", stamp(now.saturating_duration_since(self.start)));
        if self.loud {
            println!("{line}");
        } else {
            if self.lines.len() >= KEPT_LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }

    /// A line that is part of the fingerprint.
    pub fn say(&mut self, now: Instant, text: impl Display) {
        let text = text.to_string();
        self.mark(now, text.as_bytes());
        self.line(now, text);
    }

    /// The fingerprint so far.
    pub fn fingerprint(&self) -> u64 {
        self.hasher.finish()
    }

    /// The last lines.
    pub fn last_lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

fn stamp(at: Duration) -> String {
    format!("{:>9.3}", at.as_secs_f64())
}
