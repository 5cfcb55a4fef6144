//! How many listeners one room takes before anything is lost: steps up to the first one that is not clean.
//!
//! The server has one processor for its media, the generator another. A step is clean when no packet is missing at
//! any member and no tick was skipped; the generator's own lateness is printed, for on a small machine it may be
//! the generator that gives up first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Failure, Host};
use crate::load::call::ProcessCost;
use crate::load::media::Idle;
use crate::load::{Party, Plan};

/// Listeners of one room, in steps until packets are lost or ticks missed
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Members at each step, three of them talking
    #[arg(long, value_delimiter = ',', default_value = "100,250,500,750,1000,1500,2000")]
    members: Vec<usize>,
    /// Seconds to measure at each step
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Prints the table.
#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    println!(
        "members  CPU-ms/p-s  media thread %  server %  longest tick ms  missed ticks  lost packets  gaps  generator late ms  KiB/p"
    );
    for members in &arguments.members {
        let (line, clean) = step(*members, Duration::from_secs(arguments.seconds))?;
        println!("{line}");
        if !clean {
            println!("not clean: the search ends here");
            break;
        }
    }
    Ok(())
}

fn step(members: usize, length: Duration) -> Result<(String, bool), Failure> {
    let limit = (members + 8).to_string();
    let host = Host::start(&[("MEET_MEETINGS_MAX_MEMBERS", &limit)])?;
    let pid = host.server.process.pid();
    let before = ProcessCost::read(pid);
    let plan = Plan {
        rooms: 1,
        members,
        talkers: 3,
        idle: Idle::Noise,
        length,
    };
    let party = Party::start(&host.server, &plan)?;
    std::thread::sleep(Duration::from_secs(2));
    let counters = &party.crowd.counters;
    let counted = |c: &AtomicU64| c.load(Ordering::Relaxed);
    // The scrape takes the longest tick since the last one: the beginning does not count.
    let first = host.server.metrics()?;
    let cost = ProcessCost::read(pid);
    counters.late_us.store(0, Ordering::Relaxed);
    let (clock, received, gaps) = (
        Instant::now(),
        counted(&counters.received),
        counted(&counters.gaps),
    );
    std::thread::sleep(length);
    let (received, gaps) = (
        counted(&counters.received) - received,
        counted(&counters.gaps) - gaps,
    );
    let seconds = clock.elapsed().as_secs_f64();
    let late = counted(&counters.late_us);
    let after = ProcessCost::read(pid);
    let last = host.server.metrics()?;
    let since = |name: &str| -> Result<f64, Failure> { Ok(last.value(name)? - first.value(name)?) };
    let missed = since("meet_shard_missed_ticks_total")?;
    let cpu = after.cpu.saturating_sub(cost.cpu).as_secs_f64();
    // One tick's packets may be on their way at either end.
    let lost = (seconds * 50.0).floor() * members as f64 - received as f64 - members as f64;
    let line = format!(
        "{members:>7} {:>11.3} {:>15.1} {:>9.1} {:>16.2} {:>13.0} {:>13.0} {gaps:>5} {:>18.2} {:>6.0}",
        cpu * 1e3 / seconds / members as f64,
        since("meet_shard_busy_microseconds_total")? / seconds / 1e4,
        cpu / seconds * 100.0,
        last.value("meet_shard_max_tick_microseconds")? / 1e3,
        missed,
        lost.max(0.0),
        late as f64 / 1e3,
        after.resident.saturating_sub(before.resident) as f64 / members as f64 / 1024.0,
    );
    Ok((line, missed == 0.0 && gaps == 0 && lost <= 0.0))
}
