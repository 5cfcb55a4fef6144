//! `meet-bench overload`: three times as many calls as can be carried, and the time after.
//!
//! The load is `crate::load::overload`. Absent on purpose: an attack, and a verdict.

use std::time::Duration;

use super::Failure;
use crate::load::signalling;

/// Three times as many calls as can be carried, and the time after
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Seconds of overload
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Runs it and prints what was seen.
#[expect(clippy::print_stdout, reason = "the lines are what this part is for")]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    for line in signalling::overload_lines(Duration::from_secs(arguments.seconds))? {
        println!("{line}");
    }
    Ok(())
}
