//! What a participant costs: CPU, delay and memory of a meeting with many listeners and of many small ones.

use std::time::Duration;

use super::{Failure, Host};
use crate::load::delay::Delays;
use crate::load::floor::{self, Parts};
use crate::load::media::Idle;
use crate::load::{self, Outcome, Plan};

/// What a participant costs in a room of 100 and in ten rooms of ten, with the floor beside it
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Seconds to measure for each workload
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Opus complexities of the server to run, the default one first
    #[arg(long, value_delimiter = ',', default_value = "5,10")]
    complexity: Vec<u8>,
    /// Only this shape, such as 1x100x3 (rooms x members x talkers)
    #[arg(long)]
    shape: Option<String>,
    /// Only this workload
    #[arg(long, value_parser = ["silence", "noise"])]
    idle: Option<String>,
}

/// Prints the table.
#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let shapes = match &arguments.shape {
        Some(shape) => vec![parse(shape)?],
        None => vec![(1, 100, 3), (10, 10, 2)],
    };
    println!(
        "shape      complexity idle     CPU-ms/p-s    U    U-share  x floor  delay p50    p95    p99 ms  gap p99  lost %  KiB/p"
    );
    let mut costs = Vec::new();
    for complexity in &arguments.complexity {
        for (rooms, members, talkers) in &shapes {
            for (idle, name) in [(Idle::Silence, "silence"), (Idle::Noise, "noise")] {
                if arguments.idle.as_deref().is_some_and(|only| only != name) {
                    continue;
                }
                let plan = Plan {
                    rooms: *rooms,
                    members: *members,
                    talkers: *talkers,
                    idle,
                    length: Duration::from_secs(arguments.seconds),
                };
                let unit = floor::unit()?;
                let parts = Parts::measure(*complexity, rooms * members)?;
                let text = complexity.to_string();
                let host = Host::start(&[("MEET_MEDIA_OPUS_COMPLEXITY", &text)])?;
                let outcome = load::run(&host.server, plan)?;
                println!(
                    "{} {}",
                    name_of(&plan, *complexity, name),
                    figures(unit, parts.floor(&plan), &outcome)
                );
                costs.push((*complexity, parts));
            }
        }
    }
    println!(
        "U = 50 x (encode at complexity 10 + decode), timed just before each line. delay: added by the server."
    );
    println!(
        "floor: the encodes, decodes and system calls alone, timed just before each line; their cost in µs:"
    );
    for (complexity, parts) in costs {
        println!(
            "  complexity {complexity:<2}  encode {:.1}  decode {:.1}  send {:.2}  receive {:.2}",
            parts.encode, parts.decode, parts.send, parts.receive
        );
    }
    Ok(())
}

fn parse(shape: &str) -> Result<(usize, usize, usize), Failure> {
    let parts: Result<Vec<usize>, _> = shape.split('x').map(str::parse).collect();
    match parts?.as_slice() {
        [rooms, members, talkers] => Ok((*rooms, *members, *talkers)),
        _ => Err("a shape is ROOMSxMEMBERSxTALKERS, such as 1x100x3".into()),
    }
}

fn name_of(plan: &Plan, complexity: u8, idle: &str) -> String {
    let shape = format!("{}x{}x{}", plan.rooms, plan.members, plan.talkers);
    format!("{shape:<10} {complexity:<10} {idle:<8}")
}

fn figures(unit: f64, floor: f64, outcome: &Outcome) -> String {
    let delay = |share| Delays::quantile(&outcome.delays.added, share);
    let lost = 100.0 * (1.0 - outcome.received as f64 / outcome.expected.max(1) as f64);
    format!(
        "{:>8.3} {:>8.2} {:>8.3} {:>8.2} {:>9.1} {:>6.1} {:>9.1} {:>8.1} {:>7.2} {:>6.0}",
        outcome.cpu_ms,
        unit,
        outcome.cpu_ms / unit,
        outcome.cpu_ms / floor,
        delay(0.5),
        delay(0.95),
        delay(0.99),
        Delays::quantile(&outcome.delays.gaps, 0.99),
        lost.max(0.0),
        outcome.resident / 1024.0,
    )
}
