//! `meet-soak`: `scripts/soak`. Churn for a while against a real server; exit code 1 when anything was left, grew,
//! crept or was missed.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use workshop::soak::{self, Deeds, Outcome, Plan, Sample};

/// Rooms that come and go for a long time, loss, holds, clients that die: what is left, what grows, what creeps?
#[derive(Parser)]
#[command(after_help = "Example: ./scripts/soak --minutes 20")]
struct Arguments {
    /// How long rooms come and go
    #[arg(long, default_value_t = 20)]
    minutes: u64,
    /// Rooms at once
    #[arg(long, default_value_t = 8)]
    rooms: usize,
    /// Seed of all that happens
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Growth of memory from the second quarter to the last that counts as flat: the allocator's own noise.
const FLAT: f64 = 0.04;
/// Creep of the median delay that counts as none.
const DRIFT_MS: f64 = 20.0;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("meet-soak: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let data = tempfile::tempdir()?;
    let server = soak::server(data.path())?;
    let deeds = Arc::new(Deeds::default());
    let plan = Plan {
        length: Duration::from_secs(arguments.minutes * 60),
        rooms: arguments.rooms,
        seed: arguments.seed,
    };
    let outcome = soak::run(&server, plan, &deeds, |line| println!("{line}"))?;
    println!("{deeds:?}");
    let verdicts = [
        happened(&deeds),
        memory(&outcome),
        missed(&outcome),
        drift(&outcome, plan.length),
        left(&outcome),
    ];
    for (good, line) in &verdicts {
        println!("{} {line}", if *good { "ok    " } else { "FAILED" });
    }
    Ok(verdicts.iter().all(|(good, _)| *good))
}

/// A soak in which little happened proves little.
fn happened(deeds: &Deeds) -> (bool, String) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let all = [
        &deeds.calls,
        &deeds.rooms,
        &deeds.holds,
        &deeds.vanished,
        &deeds.killed,
        &deeds.received,
    ];
    let (calls, failed) = (count(&deeds.calls), count(&deeds.failed));
    // The server may refuse while a burst of others keeps the processor: 503 is an answer.
    let good = all.into_iter().all(|counter| count(counter) > 0) && failed * 50 <= calls;
    (good, format!("calls: {calls} answered, {failed} failed"))
}

fn memory(outcome: &Outcome) -> (bool, String) {
    let samples = &outcome.samples;
    let quarter = |number: usize| {
        let part = samples.len() / 4;
        let values = samples
            .iter()
            .skip(number * part)
            .take(part)
            .map(|sample| sample.resident as f64 / 1_048_576.0);
        median(values.collect())
    };
    let (second, last) = (quarter(1), quarter(3));
    let growth = last / second.max(0.1) - 1.0;
    let line = format!(
        "memory: {second:.1} MiB in the second quarter, {last:.1} MiB in the last: {:+.1} %",
        growth * 100.0
    );
    (growth <= FLAT, line)
}

fn missed(outcome: &Outcome) -> (bool, String) {
    let mut own = 0;
    let mut all = 0;
    for pair in outcome.samples.windows(3) {
        let [before, earlier, later] = pair else { continue };
        let count = later.missed.saturating_sub(earlier.missed);
        all += count;
        // The system's figures are of a moment next to the metrics': one look back belongs to it.
        if count > 0 && !Sample::is_excused(later, before) {
            own += count;
        }
    }
    let line =
        format!("ticks: {all} missed in all, {own} of them while the system did not keep the thread waiting");
    (own == 0, line)
}

fn drift(outcome: &Outcome, length: Duration) -> (bool, String) {
    let end = outcome.delays.iter().map(|(at, _)| *at).max().unwrap_or_default();
    // A burst goes out each 0.6 s: a probe that went deaf on the way tells nothing about the end.
    let heard =
        end + Duration::from_secs(10) >= length && outcome.delays.len() as f64 >= length.as_secs_f64();
    let minute = Duration::from_secs(60).min(end / 3);
    let within = |from: Duration, to: Duration| {
        let values = outcome
            .delays
            .iter()
            .filter(|(at, _)| (from..to).contains(at))
            .map(|(_, delay)| *delay);
        median(values.collect())
    };
    let (first, last) = (
        within(Duration::ZERO, minute),
        within(end.saturating_sub(minute), end),
    );
    let line = format!(
        "delay: median {first:.1} ms in the first minute, {last:.1} ms in the last, of {} bursts",
        outcome.delays.len()
    );
    ((last - first).abs() < DRIFT_MS && heard, line)
}

fn left(outcome: &Outcome) -> (bool, String) {
    let nothing = outcome.left.is_empty();
    let line = if nothing {
        "left at the end: nothing (rooms, people, sessions, transactions, legs, files)".to_owned()
    } else {
        format!("left at the end: {}", outcome.left.join("; "))
    };
    (nothing, line)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
