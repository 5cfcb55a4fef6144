//! Many seeds at once, or one again; a panic in a core is a fault of its seed.

use std::io::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::report::{Judged, Margins, Report};
use crate::run::{Options, run};

/// Runs a seed; a panic becomes a fault.
pub fn run_caught(seed: u64, options: Options) -> Report {
    match catch_unwind(AssertUnwindSafe(|| run(seed, options))) {
        Ok(report) => report,
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no words");
            Report {
                faults: vec![format!("panic: {text}")],
                ..Report::empty(seed)
            }
        }
    }
}

/// What came of many seeds.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Reports of those in which something is wrong, by seed.
    pub failed: Vec<Report>,
    /// Seeds that were run.
    pub seeds: u64,
    /// Virtual seconds.
    pub virtual_seconds: f64,
    /// Datagrams.
    pub datagrams: u64,
    /// Pairs judged by ear.
    pub heard_pairs: usize,
    /// What else was judged.
    pub judged: Judged,
    /// How clearly.
    pub margins: Margins,
    /// People.
    pub people: usize,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            failed: Vec::new(),
            seeds: 0,
            virtual_seconds: 0.0,
            datagrams: 0,
            heard_pairs: 0,
            judged: Judged::NOTHING,
            margins: Margins::NONE,
            people: 0,
        }
    }
}

/// Runs seeds on so many threads; `each` sees every report as it comes.
pub fn run_many(seeds: Range<u64>, jobs: usize, each: impl Fn(&Report) + Sync) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = run_caught(seed, Options::default());
                    each(&report);
                    let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    summary.add(report);
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.failed.sort_by_key(|report| report.seed);
    summary
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.virtual_seconds += report.virtual_seconds;
        self.datagrams += report.datagrams;
        self.heard_pairs += report.heard_pairs;
        self.people += report.people;
        self.judged = self.judged.and(report.judged);
        self.margins = self.margins.and(report.margins);
        if !report.faults.is_empty() {
            self.failed.push(report);
        }
    }
}

/// Runs seeds and prints how it goes; whether all is well.
#[expect(clippy::print_stdout, reason = "the program's output")]
pub fn run_all(seeds: Range<u64>, jobs: usize, json: bool) -> bool {
    let total = seeds.end.saturating_sub(seeds.start);
    let done = AtomicU64::new(0);
    let summary = run_many(seeds, jobs, |report| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if json {
            println!("{}", serde_json::to_string(report).unwrap_or_default());
        } else if let Some(first) = report.faults.first() {
            println!("seed {}: {first}", report.seed);
        }
        if done.is_multiple_of(100) || done == total {
            eprint!("\rsim: {done} of {total} seeds");
            // A progress line that does not come is no loss.
            drop(std::io::stderr().flush());
        }
    });
    eprintln!();
    eprintln!(
        "sim: {} seeds, {} people, {:.0} virtual hours, {} datagrams, {} pairs judged by ear (quietest {:.3}, \
         others below {:.3}): {} failed",
        summary.seeds,
        summary.people,
        summary.virtual_seconds / 3_600.0,
        summary.datagrams,
        summary.heard_pairs,
        summary.margins.quietest_heard,
        summary.margins.loudest_unheard,
        summary.failed.len()
    );
    eprintln!("sim: {}", summary.judged);
    for report in summary.failed.iter().take(10) {
        eprintln!("sim: replay with: cargo xtask sim --seed {}", report.seed);
    }
    summary.failed.is_empty()
}

/// Runs one seed with its trace, and once more in silence to compare; whether all is well.
#[expect(clippy::print_stdout, reason = "the program's output")]
pub fn replay(seed: u64, json: bool) -> bool {
    let first = run_caught(
        seed,
        Options {
            loud: !json,
            ..Options::default()
        },
    );
    let second = run_caught(seed, Options::default());
    if json {
        println!("{}", serde_json::to_string(&first).unwrap_or_default());
    } else {
        for fault in &first.faults {
            println!("seed {seed}: {fault}");
        }
    }
    let same = first.fingerprint == second.fingerprint;
    eprintln!(
        "sim: seed {seed}: {} people, {:.0} virtual seconds, {} datagrams, {} pairs judged by ear, {} fault(s), \
         fingerprint {:016x}{}",
        first.people,
        first.virtual_seconds,
        first.datagrams,
        first.heard_pairs,
        first.faults.len(),
        first.fingerprint,
        if same {
            ""
        } else {
            ", and ANOTHER one when run again"
        }
    );
    same && first.faults.is_empty()
}
