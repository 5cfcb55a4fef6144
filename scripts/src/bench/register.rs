//! `meet-bench register`: a hundred thousand phones that register with digest, then refresh.
//!
//! The load is `crate::load::register`. Absent on purpose: a verdict.

use super::Failure;
use crate::load::signalling;

/// Phones that register with digest, then refresh
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Phones
    #[arg(long, default_value_t = 100_000)]
    phones: usize,
    /// Registrations each second
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// Refreshes after all are registered
    #[arg(long, default_value_t = 20_000)]
    refreshes: usize,
}

/// Runs it and prints the table.
#[expect(clippy::print_stdout, reason = "the table is what this part is for")]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    for line in signalling::register_table(arguments.phones, arguments.rate, arguments.refreshes)? {
        println!("{line}");
    }
    Ok(())
}
