//! `call-bench`: the signalling half of `scripts/bench`. What calls and registrations cost a real server on loopback,
//! and what becomes of it when there are too many.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use workshop::load::{LoadError, signalling};

/// Loads a real meet-server with calls or registrations and prints what they cost.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Calls into living rooms at a steady rate: INVITE, 200, ACK, BYE
    Calls {
        /// New calls each second, one run for each
        #[arg(long, value_delimiter = ',', default_value = "300,1000")]
        rate: Vec<f64>,
        /// Seconds of each run
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// How long a call stays up, in milliseconds
        #[arg(long, default_value_t = 200)]
        hold: u64,
        /// Rooms over which calls are spread
        #[arg(long, default_value_t = 50)]
        rooms: usize,
    },
    /// Three times as many calls as can be carried, and the time after
    Overload {
        /// Seconds of overload
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Phones that register with digest, then refresh
    Register {
        /// Phones
        #[arg(long, default_value_t = 100_000)]
        phones: usize,
        /// Registrations each second
        #[arg(long, default_value_t = 2000.0)]
        rate: f64,
        /// Refreshes after all are registered
        #[arg(long, default_value_t = 20_000)]
        refreshes: usize,
    },
}

#[expect(clippy::print_stdout, reason = "the tables are what this program is for")]
fn main() -> ExitCode {
    match run(Arguments::parse().what) {
        Ok(lines) => {
            for line in lines {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("call-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<Vec<String>, LoadError> {
    match what {
        What::Calls {
            rate,
            seconds,
            hold,
            rooms,
        } => signalling::calls_table(
            &rate,
            Duration::from_secs(seconds),
            Duration::from_millis(hold),
            rooms,
        ),
        What::Overload { seconds } => signalling::overload_lines(Duration::from_secs(seconds)),
        What::Register {
            phones,
            rate,
            refreshes,
        } => signalling::register_table(phones, rate, refreshes),
    }
}
