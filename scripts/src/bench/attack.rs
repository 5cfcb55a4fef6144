//! `meet-bench attack`: a meeting under a flood of garbage (see `load::attack`).

use super::Failure;
use crate::load::attack::{self, Arguments as Options};

/// A meeting goes on while 20,000 datagrams a second of garbage arrive at the SIP port.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
}

/// Runs it and prints what came of it.
#[expect(clippy::print_stdout, reason = "the table is what this part is for")]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    for line in attack::lines(&arguments.options)? {
        println!("{line}");
    }
    Ok(())
}
