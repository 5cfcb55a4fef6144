//! `meet-bench calls`: what a call costs to set up and to tear down, at a steady rate.
//!
//! The load is `crate::load::calls`. Absent on purpose: media, and a verdict.

use std::time::Duration;

use super::Failure;
use crate::load::signalling;

/// Calls into living rooms at a steady rate: INVITE, 200, ACK, BYE
#[derive(Debug, clap::Args)]
pub struct Arguments {
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
}

/// Runs it and prints the table.
#[expect(clippy::print_stdout, reason = "the table is what this part is for")]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let length = Duration::from_secs(arguments.seconds);
    let hold = Duration::from_millis(arguments.hold);
    for line in signalling::calls_table(&arguments.rate, length, hold, arguments.rooms)? {
        println!("{line}");
    }
    Ok(())
}
