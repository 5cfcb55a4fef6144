//! `cargo xtask check | deps | examples | fuzz`: the house's own checks.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Parser, Subcommand};
use workshop::{checks, fuzz};

/// The workshop's small tools.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Module arrows, sans-IO folders, file sizes, top-level folders
    Check,
    /// Only the module arrows
    Deps,
    /// Builds and runs every file of examples/examples
    Examples,
    /// The simulator, optimised: `--seeds N [--from S]`, or `--seed S` with its trace; `--json`
    Sim {
        /// Handed to the simulator
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs the fuzz targets one after another and puts what they learnt into the committed corpora
    #[command(
        after_help = "Examples:\n  cargo xtask fuzz --seconds 300\n  cargo xtask fuzz sip_message rtcp"
    )]
    Fuzz {
        /// Processor time for each target
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Targets; all when none is named
        targets: Vec<String>,
    },
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let faults = match Arguments::parse().task {
        Task::Check => checks::all(root).map_err(|e| e.to_string()),
        Task::Deps => checks::arrows(root).map_err(|e| e.to_string()),
        Task::Examples => run_examples(root),
        Task::Sim { arguments } => run_simulator(root, &arguments),
        Task::Fuzz { seconds, targets } => run_fuzz(root, Duration::from_secs(seconds), &targets),
    };
    match faults {
        Ok(faults) if faults.is_empty() => {
            eprintln!("xtask: all in order");
            ExitCode::SUCCESS
        }
        Ok(faults) => {
            for fault in &faults {
                eprintln!("xtask: {fault}");
            }
            eprintln!("xtask: {} fault(s)", faults.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The simulator says itself what is wrong with which seed.
fn run_simulator(root: &Path, arguments: &[String]) -> Result<Vec<String>, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--package", "sim", "--"])
        .args(arguments)
        .current_dir(root)
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    let fault = (!status.success()).then(|| "the simulator found a fault: see above".to_owned());
    Ok(fault.into_iter().collect())
}

fn run_examples(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("examples/examples");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .map_err(|e| format!("{}: {e}", folder.display()))?
        .filter_map(|entry| {
            entry
                .ok()?
                .path()
                .file_stem()
                .map(|s| s.to_string_lossy().into_owned())
        })
        .collect();
    names.sort();
    let mut faults = Vec::new();
    for name in names {
        eprintln!("xtask: example {name}");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let status = Command::new(cargo)
            .args(["run", "--quiet", "--package", "examples", "--example", &name])
            .current_dir(root)
            .status()
            .map_err(|e| format!("cargo: {e}"))?;
        if !status.success() {
            faults.push(format!("example {name} failed: {status}"));
        }
    }
    Ok(faults)
}

fn run_fuzz(root: &Path, time: Duration, names: &[String]) -> Result<Vec<String>, String> {
    let targets = fuzz::targets(root, names).map_err(|e| e.to_string())?;
    fuzz::build(root).map_err(|e| e.to_string())?;
    let mut faults = Vec::new();
    eprintln!(
        "{:14} {:>11} {:>13} {:>7} {:>7}  findings",
        "target", "CPU seconds", "executions", "edges", "corpus"
    );
    for target in targets {
        let outcome = fuzz::run(root, &target, time).map_err(|e| e.to_string())?;
        eprintln!(
            "{:14} {:>11} {:>13} {:>7} {:>7}  {}",
            target.name(),
            outcome.cpu.as_secs(),
            outcome.executions,
            outcome.edges,
            outcome.corpus,
            outcome.findings.len()
        );
        let told = outcome
            .findings
            .iter()
            .map(|path| format!("{}: {}", target.name(), path.display()));
        faults.extend(told);
    }
    Ok(faults)
}
