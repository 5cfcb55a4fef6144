//! `meet-bench attack`: a meeting goes on while 20,000 datagrams a second of garbage arrive at the SIP port.

use super::Failure;
use crate::load::attack;

pub use crate::load::attack::Arguments;

/// Runs it and prints what came of it.
#[expect(clippy::print_stdout, reason = "the table is what this part is for")]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    for line in attack::lines(arguments)? {
        println!("{line}");
    }
    Ok(())
}
