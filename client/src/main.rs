//! The program `meet`. Everything is in the library, so that tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    meet_client::cli::commands::main().into()
}
