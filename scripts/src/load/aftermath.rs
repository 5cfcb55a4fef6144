//! What an attack leaves behind, watched to its end: nothing that is held, and no memory that a second attack would
//! add to.
//!
//! Resident memory alone proves little: an allocator keeps what it got, and finds its order only after a while. So the
//! flood comes again and again, each time after everything of the one before has timed out (RFC 3261: 32 s); a server
//! that loses memory needs more for the last one than for the one before.
//! Absent on purpose: memory per call, which the other parts measure.

use std::time::{Duration, Instant};

use super::LoadError;
use crate::server::Server;

/// Growth under a flood that is called bounded, in bytes: the tables of the shield (9 MB), the queues (20 MB), the
/// transactions of what is answered, and the API's and logs' share.
const BOUND: u64 = 64 * 1024 * 1024;
/// Floods after the first.
pub const WAVES: usize = 3;
/// What the last flood may need beyond the one before, in bytes: holes between what lives.
const AGAIN: u64 = 8 * 1024 * 1024;
/// Transactions end 32 s after the last message, sessions that nobody acknowledged as well, and the rooms that these
/// made 30 s later; what is held after so long is a leak.
const PATIENCE: Duration = Duration::from_secs(110);

/// What a server holds beyond its meeting.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Left {
    /// Transactions.
    pub transactions: f64,
    /// Sessions.
    pub sessions: f64,
    /// Rooms.
    pub rooms: f64,
}

impl Left {
    fn is_nothing(&self) -> bool {
        self.transactions <= 0.0 && self.sessions <= 0.0 && self.rooms <= 0.0
    }
}

/// Memory over the whole story, in bytes, and what was held at its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Aftermath {
    /// Before the first flood, the meeting being up.
    pub before: u64,
    /// The most under the first flood.
    pub peak: u64,
    /// When everything had timed out.
    pub settled: u64,
    /// How long that took after the flood.
    pub took: Duration,
    /// The most under each flood after it.
    pub again: Vec<u64>,
    /// What was still held then.
    pub left: Left,
}

impl Aftermath {
    /// What is wrong; nothing when memory is bounded and all is let go.
    pub fn faults(&self) -> Vec<String> {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        let mut faults = Vec::new();
        if self.peak > self.before + BOUND {
            let grown = mib(self.peak - self.before);
            faults.push(format!("memory grew by {grown:.1} MiB under attack"));
        }
        if !self.left.is_nothing() {
            faults.push(format!(
                "{} transactions, {} sessions and {} rooms are still held after {:.0} s",
                self.left.transactions,
                self.left.sessions,
                self.left.rooms,
                self.took.as_secs_f64()
            ));
        }
        let mut last = self.again.iter().rev();
        if let (Some(last), Some(before)) = (last.next(), last.next())
            && *last > before.saturating_add(AGAIN)
        {
            let more = mib(last - before);
            faults.push(format!(
                "the last attack took {more:.1} MiB more than the one before: memory is lost"
            ));
        }
        faults
    }

    /// The lines to print.
    pub fn lines(&self) -> Vec<String> {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        let again: Vec<String> = self
            .again
            .iter()
            .map(|peak| format!("{:.1}", mib(*peak)))
            .collect();
        let faults = self.faults();
        vec![
            format!(
                "memory MiB: {:.1} before, {:.1} at most under attack, {:.1} when all had timed out ({:.0} s later), {} at most \
                 under the same attack again",
                mib(self.before),
                mib(self.peak),
                mib(self.settled),
                self.took.as_secs_f64(),
                again.join(", "),
            ),
            if faults.is_empty() {
                "memory is bounded, and nothing is held".to_owned()
            } else {
                faults.join("; ")
            },
        ]
    }
}

/// Waits until no transaction is left, no session but `sessions` and no room but theirs; gives what is left at the end,
/// and how long it took.
pub fn wait_until_settled(server: &Server, sessions: usize) -> Result<(Left, Duration), LoadError> {
    let start = Instant::now();
    loop {
        let value = |name| {
            let value = server.metric(name);
            value.map_err(|error| LoadError::Setup(error.to_string()))
        };
        let left = Left {
            transactions: value("meet_sip_transactions")?,
            sessions: value("meet_sip_sessions")? - sessions as f64,
            rooms: value("meet_rooms")? - 1.0,
        };
        if left.is_nothing() || start.elapsed() > PATIENCE {
            return Ok((left, start.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn good() -> Aftermath {
        Aftermath {
            before: 30 * MIB,
            peak: 60 * MIB,
            settled: 58 * MIB,
            took: Duration::from_secs(33),
            again: vec![72 * MIB, 74 * MIB],
            left: Left::default(),
        }
    }

    #[test]
    fn bounded_memory_passes() {
        assert_eq!(good().faults(), Vec::<String>::new());
        assert!(good().lines()[1].contains("bounded"));
    }

    #[test]
    fn each_fault_is_told() {
        let faults = [
            Aftermath {
                peak: 95 * MIB,

                ..good()
            },
            Aftermath {
                again: vec![62 * MIB, 71 * MIB],
                ..good()
            },
            Aftermath {
                left: Left {
                    transactions: 1.0,
                    ..Left::default()
                },
                ..good()
            },
            Aftermath {
                left: Left {
                    rooms: 2.0,
                    ..Left::default()
                },
                ..good()
            },
        ];
        for fault in faults {
            assert_eq!(fault.faults().len(), 1, "{fault:?}");
        }
    }
}
