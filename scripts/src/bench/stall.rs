//! A host that stalls: the server is stopped and continued while a meeting goes on, and its delay is watched.
//!
//! What came during the stall waits in the sockets; a server that played all of it would be late for good.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Failure, Host};
use crate::load::delay::{self, Delays};
use crate::load::media::Idle;
use crate::load::{Party, Plan};

/// Frames between two bursts: 260 ms.
const EVERY: u32 = 13;
/// Delay counts as back where it has to be on a clean network (DESIGN §4: p95 at most 35 ms).
const NORMAL_MS: f64 = 35.0;

/// Delay before, and after the server was stopped for a moment, several times
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How often the server is stopped
    #[arg(long, default_value_t = 8)]
    stalls: u32,
    /// For how long, in milliseconds
    #[arg(long, default_value_t = 200)]
    milliseconds: u64,
    /// Seconds between two stalls
    #[arg(long, default_value_t = 4)]
    pause: u64,
}

/// Prints the table.
#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let host = Host::start(&[])?;
    let pause = Duration::from_secs(arguments.pause.max(2));
    let stall = Duration::from_millis(arguments.milliseconds);
    let length = pause + (pause + stall) * arguments.stalls;
    let plan = Plan {
        rooms: 1,
        members: 10,
        talkers: 2,
        idle: Idle::Silence,
        length,
    };
    let mut party = Party::start(&host.server, &plan)?;
    let pair = party.pair()?;
    // Warming up, as everywhere.
    std::thread::sleep(Duration::from_secs(1));
    let measuring = std::thread::spawn(move || delay::measure(pair, length, EVERY));
    let process = Pid::from_raw(i32::try_from(host.server.process.pid())?);
    let mut ends = Vec::new();
    for _ in 0..arguments.stalls {
        std::thread::sleep(pause);
        kill(process, Signal::SIGSTOP)?;
        std::thread::sleep(stall);
        kill(process, Signal::SIGCONT)?;
        ends.push(Instant::now());
    }
    let delays = measuring.join().map_err(|_| "the measuring thread panicked")??;
    let back = returns(&delays.bursts, &ends, pause);
    let (before, after) = around(&delays.bursts, &ends, stall);
    let line = |name: &str, values: &[f64]| {
        println!(
            "{name:<34} {:>5} bursts  p50 {:>5.1}  p95 {:>5.1}  worst {:>5.1} ms",
            values.len(),
            Delays::quantile(values, 0.5),
            Delays::quantile(values, 0.95),
            Delays::quantile(values, 1.0),
        );
    };
    println!("{} stalls of {} ms", arguments.stalls, arguments.milliseconds);
    line("delay added before the first", &before);
    line("delay added from 1 s after each", &after);
    println!(
        "last burst over {NORMAL_MS} ms said        {:>5.0} ms after the stall, at the worst",
        back.iter().map(Duration::as_secs_f64).fold(0.0, f64::max) * 1e3
    );
    println!(
        "ticks missed                       {:>5.0} (each stall costs every room some)",
        host.server.metric("meet_shard_missed_ticks_total")?
    );
    Ok(())
}

/// For each stall, how long after its end the last burst was said that came too late.
fn returns(bursts: &[(Instant, f64)], ends: &[Instant], pause: Duration) -> Vec<Duration> {
    let late = |end: &Instant| {
        bursts
            .iter()
            .filter(|(at, added)| {
                *at >= *end && *at < *end + pause - Duration::from_millis(500) && *added > NORMAL_MS
            })
            .map(|(at, _)| at.duration_since(*end))
            .max()
            .unwrap_or_default()
    };
    ends.iter().map(late).collect()
}

/// Delays of the bursts before the first stall, and of those a second or more after any; sorted.
fn around(bursts: &[(Instant, f64)], ends: &[Instant], stall: Duration) -> (Vec<f64>, Vec<f64>) {
    let first = ends.first().map(|end| *end - stall);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (at, added) in bursts {
        // A burst said shortly before a stall is held up by it.
        let soon = |end: &&Instant| {
            *at + Duration::from_millis(100) + stall >= **end && *at < **end + Duration::from_secs(1)
        };
        if ends.iter().find(soon).is_some() {
            continue;
        }
        if first.is_some_and(|first| *at < first) {
            before.push(*added);
        } else {
            after.push(*added);
        }
    }
    before.sort_by(f64::total_cmp);
    after.sort_by(f64::total_cmp);
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_sorted_by_the_stall_they_follow() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let bursts = [
            (at(0), 10.0),
            (at(2_100), 90.0),
            (at(2_700), 50.0),
            (at(3_500), 12.0),
        ];
        let ends = [at(2_000)];
        let (before, after) = around(&bursts, &ends, Duration::from_millis(200));
        assert_eq!((before, after), (vec![10.0], vec![12.0]));
        let back = returns(&bursts, &ends, Duration::from_secs(4));
        assert_eq!(back, [Duration::from_millis(700)]);
    }
}
