//! `meet-bench`: the end-to-end half of `scripts/bench`. Prints one table; every figure of the README is a line of it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use workshop::load::delay::Delays;
use workshop::load::media::Idle;
use workshop::load::{self, Outcome, Plan};
use workshop::server::Server;

/// Loads a real meet-server on loopback and prints what a participant costs.
#[derive(Parser)]
struct Arguments {
    /// Seconds to measure for each workload
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Opus complexities of the server to run, the default one first
    #[arg(long, value_delimiter = ',', default_value = "5,10")]
    complexity: Vec<u8>,
    /// Only this shape, such as 1x100x3 (rooms x members x talkers)
    #[arg(long)]
    shape: Option<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meet-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let shapes = match &arguments.shape {
        Some(shape) => vec![parse(shape)?],
        None => vec![(1, 100, 3), (10, 10, 2)],
    };
    println!(
        "shape      complexity idle     CPU-ms/p-s    U    U-share  delay p50  p95   p99 ms  gap p99  lost %  KiB/p"
    );
    for complexity in &arguments.complexity {
        for (rooms, members, talkers) in &shapes {
            for idle in [Idle::Silence, Idle::Noise] {
                let unit = load::unit()?;
                let length = Duration::from_secs(arguments.seconds);
                let plan = Plan {
                    rooms: *rooms,
                    members: *members,
                    talkers: *talkers,
                    idle,
                    length,
                };
                let outcome = one(plan, *complexity)?;
                println!("{}", line(&plan, *complexity, unit, &outcome));
            }
        }
    }
    println!(
        "U = 50 x (encode at complexity 10 + decode), timed just before each line. delay: added by the server."
    );
    Ok(())
}

fn parse(shape: &str) -> Result<(usize, usize, usize), Box<dyn std::error::Error>> {
    let parts: Result<Vec<usize>, _> = shape.split('x').map(str::parse).collect();
    match parts?.as_slice() {
        [rooms, members, talkers] => Ok((*rooms, *members, *talkers)),
        _ => Err("a shape is ROOMSxMEMBERSxTALKERS, such as 1x100x3".into()),
    }
}

fn one(plan: Plan, complexity: u8) -> Result<Outcome, Box<dyn std::error::Error>> {
    let data = tempfile::tempdir()?;
    let complexity = complexity.to_string();
    let settings = [("MEET_MEDIA_OPUS_COMPLEXITY", complexity.as_str())];
    let server = Server::start_lan_at("127.0.0.1:0", data.path(), &[], &settings)?;
    Ok(load::run(&server, plan)?)
}

fn line(plan: &Plan, complexity: u8, unit: f64, outcome: &Outcome) -> String {
    let delay = |share| Delays::quantile(&outcome.delays.added, share);
    let lost = 100.0 * (1.0 - outcome.received as f64 / outcome.expected.max(1) as f64);
    format!(
        "{:<10} {complexity:<10} {:<8} {:>8.3} {:>8.2} {:>8.3} {:>9.1} {:>6.1} {:>6.1} {:>9.1} {:>8.2} {:>7.0}",
        format!("{}x{}x{}", plan.rooms, plan.members, plan.talkers),
        if plan.idle == Idle::Silence {
            "silence"
        } else {
            "noise"
        },
        outcome.cpu_ms,
        unit,
        outcome.cpu_ms / unit,
        delay(0.5),
        delay(0.95),
        delay(0.99),
        Delays::quantile(&outcome.delays.gaps, 0.99),
        lost.max(0.0),
        outcome.resident / 1024.0,
    )
}
