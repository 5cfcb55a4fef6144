//! What the server is like at a moment: its metrics, and what the system says of its process.

use std::time::{Duration, Instant};

use super::SoakError;
use crate::load::call::ProcessCost;
use crate::server::{Server, ServerError};

/// The server at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Since the start.
    pub at: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Open files and sockets.
    pub files: u64,
    /// Living rooms.
    pub rooms: u64,
    /// People in rooms.
    pub people: u64,
    /// SIP sessions.
    pub sessions: u64,
    /// SIP transactions.
    pub transactions: u64,
    /// Legs on the media shards.
    pub legs: u64,
    /// Ticks missed so far.
    pub missed: u64,
    /// Time for which the media threads were ready to run and the system ran others, nanoseconds so far.
    pub waited: u64,
    /// Time that the host took from the whole machine, in ticks of its clock (10 ms) so far.
    pub stolen: u64,
}

impl Sample {
    /// Reads it.
    ///
    /// # Errors
    /// When the API does not answer, or a value is missing.
    pub fn read(server: &Server, start: Instant) -> Result<Self, SoakError> {
        let metrics = server.metrics()?;
        let count = |name: &str| {
            metrics
                .value(name)
                .map(|value| value as u64)
                .map_err(ServerError::from)
        };
        let pid = server.process.pid();
        Ok(Self {
            at: start.elapsed(),
            resident: ProcessCost::read(pid).resident,
            files: std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64),
            rooms: count("meet_rooms")?,
            people: count("meet_people")?,
            sessions: count("meet_sip_sessions")?,
            transactions: count("meet_sip_transactions")?,
            legs: count("meet_shard_legs")?,
            missed: count("meet_shard_missed_ticks_total")?,
            waited: waited(pid),
            stolen: stolen(),
        })
    }

    /// What is there that was not there `before`, in words.
    pub fn left(&self, before: &Self) -> Vec<String> {
        let pairs = [
            ("rooms", self.rooms, before.rooms),
            ("people", self.people, before.people),
            ("SIP sessions", self.sessions, before.sessions),
            ("SIP transactions", self.transactions, before.transactions),
            ("legs", self.legs, before.legs),
            ("open files", self.files, before.files + SPARE_FILES),
        ];
        pairs
            .iter()
            .filter(|(_, now, then)| now > then)
            .map(|(name, now, then)| format!("{name}: {now}, at the start {then}"))
            .collect()
    }

    /// Whether the ticks missed since `earlier` are explained by the system running others: each is missed because the
    /// thread came a tick late, and most of that it was kept waiting. A room's ticks are counted each for itself, and one
    /// wait makes all rooms miss theirs.
    pub fn is_excused(&self, earlier: &Self) -> bool {
        let missed = self.missed.saturating_sub(earlier.missed);
        let waited = Duration::from_nanos(self.waited.saturating_sub(earlier.waited));
        let stolen = Duration::from_millis(10) * self.stolen.saturating_sub(earlier.stolen) as u32;
        // Rooms tick one after another within the 20 ms: a thread that comes 20 ms late misses one tick of each.
        let ticks_late = missed.div_ceil(self.rooms.max(earlier.rooms).max(1));
        waited + stolen >= Duration::from_millis(15) * u32::try_from(ticks_late).unwrap_or(u32::MAX)
    }
}

/// Who is still in which meeting, as the API tells it.
///
/// # Errors
/// When the API does not answer.
pub fn meetings(server: &Server) -> Result<Vec<String>, SoakError> {
    let all = server.get("/api/v1/meetings")?;
    let meetings = all
        .get("meetings")
        .and_then(|list| list.as_array())
        .cloned()
        .unwrap_or_default();
    let mut lines = Vec::new();
    for meeting in meetings {
        let name = meeting
            .get("name")
            .and_then(|name| name.as_str())
            .unwrap_or_default()
            .to_owned();
        let people = server.get(&format!("/api/v1/meetings/{name}/participants"))?;
        lines.push(format!("{name}: {people}"));
    }
    Ok(lines)
}

/// Connections of the API and of the soak's own look at it.
const SPARE_FILES: u64 = 4;

/// The second figure of a thread's schedstat: nanoseconds on the run queue. Threads named `media-…` only.
fn waited(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    threads
        .into_iter()
        .flatten()
        .flatten()
        .filter(|thread| read(thread.path().join("comm")).starts_with("media-"))
        .filter_map(|thread| {
            let text = read(thread.path().join("schedstat"));
            text.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum()
}

/// The eighth figure of the first line of /proc/stat.
fn stolen() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    line.split_whitespace()
        .nth(8)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_named_and_a_missed_tick_needs_an_excuse() {
        let before = Sample {
            files: 20,
            ..Sample::default()
        };
        let after = Sample {
            files: 20,
            sessions: 2,
            missed: 1,
            ..Sample::default()
        };
        assert_eq!(after.left(&before), ["SIP sessions: 2, at the start 0"]);
        assert!(!after.is_excused(&before));
        assert!(
            Sample {
                waited: 20_000_000,
                ..after
            }
            .is_excused(&before)
        );
        let many = Sample {
            missed: 10,
            rooms: 2,
            waited: 20_000_000,
            ..before
        };
        assert!(!many.is_excused(&before), "five ticks of two rooms are 100 ms");
        assert!(
            Sample { rooms: 10, ..many }.is_excused(&before),
            "one of ten rooms is one wait"
        );
    }
}
