//! `cargo xtask check | deps | examples`: the house's own checks.

use std::path::Path;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};
use workshop::checks;

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
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let faults = match Arguments::parse().task {
        Task::Check => checks::all(root).map_err(|e| e.to_string()),
        Task::Deps => checks::arrows(root).map_err(|e| e.to_string()),
        Task::Examples => run_examples(root),
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
