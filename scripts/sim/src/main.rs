//! `sim --seeds N | --seed S`: runs seeds in parallel, or one with its trace.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sim::batch;

/// The simulator: real cores, virtual time, a seeded network.
#[derive(Parser)]
#[command(name = "cargo xtask sim")]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this one, with its trace; twice, to see that both are the same
    #[arg(long)]
    seed: Option<u64>,
    /// One line of JSON for each seed
    #[arg(long)]
    json: bool,
    /// Seeds at a time
    #[arg(long)]
    jobs: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let begin = Instant::now();
    let well = match arguments.seed {
        Some(seed) => batch::replay(seed, arguments.json),
        None => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let jobs = arguments.jobs.unwrap_or(cores);
            batch::run_all(
                arguments.from..arguments.from + arguments.seeds,
                jobs,
                arguments.json,
            )
        }
    };
    eprintln!("sim: {:.1} s", begin.elapsed().as_secs_f64());
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
