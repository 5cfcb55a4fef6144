//! `meet-bench`: the end-to-end half of `scripts/bench`. Prints tables; every figure of the README is a line of one.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use workshop::bench::{Failure, attack, calls, large, media, overload, register, stall};

/// Loads a real meet-server on loopback and prints what it does. Without a part: all of them.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
}

/// A part of the bench; each has a server of its own.
#[derive(Subcommand)]
enum Part {
    Calls(calls::Arguments),
    Overload(overload::Arguments),
    Register(register::Arguments),
    Media(media::Arguments),
    Stall(stall::Arguments),
    Large(large::Arguments),
    Attack(attack::Arguments),
}

/// The parts in the order in which they run.
const ALL: [(&str, &str); 7] = [
    ("calls", "what a call costs"),
    ("overload", "more calls than can be carried"),
    ("register", "a hundred thousand phones"),
    ("media", "what a participant costs"),
    ("stall", "delay after the host stalled"),
    ("large", "one large room"),
    ("attack", "a meeting under attack"),
];

fn main() -> ExitCode {
    let outcome = match Arguments::parse().part {
        Some(part) => run(&part),
        None => all(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meet-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Every part with its defaults; one that fails does not keep the others from running.
#[expect(clippy::print_stdout, reason = "the tables are what this program is for")]
fn all() -> Result<(), Failure> {
    let mut failed = Vec::new();
    for (name, title) in ALL {
        println!("\n-- {title} (meet-bench {name})");
        let part = Arguments::try_parse_from(["meet-bench", name])?.part;
        if let Some(Err(error)) = part.as_ref().map(run) {
            eprintln!("meet-bench {name}: {error}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("failed: {}", failed.join(", ")).into())
}

fn run(part: &Part) -> Result<(), Failure> {
    match part {
        Part::Calls(arguments) => calls::run(arguments),
        Part::Overload(arguments) => overload::run(arguments),
        Part::Register(arguments) => register::run(arguments),
        Part::Media(arguments) => media::run(arguments),
        Part::Stall(arguments) => stall::run(arguments),
        Part::Large(arguments) => large::run(arguments),
        Part::Attack(arguments) => attack::run(arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_run_without_a_part_leaves_none_out() {
        let command = Arguments::command();
        let parts: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(parts, ALL.map(|(name, _)| name));
    }
}
