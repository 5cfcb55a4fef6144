//! `demo`: called by `scripts/demo` once everything is built.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use workshop::demo::{Wishes, run};

/// A server on loopback, two rooms, six participants who speak, and the evidence of who heard whom.
#[derive(Parser)]
#[command(
    name = "scripts/demo",
    after_help = "Exit code 0: the evidence holds; 1: it does not, or something failed."
)]
struct Arguments {
    /// Leave it running until Enter is pressed, so that you can join
    #[arg(long)]
    keep: bool,
    /// Where recordings and the capture go; replaced each time
    #[arg(long, default_value = "target/demo", value_name = "DIR")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&Wishes {
        folder: arguments.out,
        keep: arguments.keep,
    }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}
