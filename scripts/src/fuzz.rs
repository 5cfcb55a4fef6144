//! `cargo xtask fuzz`: the libFuzzer targets of `*/fuzz`, run for a while, their corpora merged and put back.
//!
//! A corpus is one text file per target, one input a line, escaped as in Rust: it can be read, compared and merged.
//! Inputs that once broke something stand in `found/`, which is never thinned out: a finding goes there when its target
//! is run again, hopefully mended.
//! Ordinary tests replay them on stable (`sip-proto/tests/fuzz_corpus.rs`, `rtp-media/tests/fuzz_corpus.rs`). The
//! fuzzer itself wants `cargo install cargo-fuzz --locked`; `RUSTC_BOOTSTRAP` gives it the sanitizer without nightly.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::call::ProcessCost;

/// The packages with targets.
const PACKAGES: [&str; 2] = ["sip-proto", "rtp-media"];
/// How often the fuzzer's processor time is looked at.
const GLANCE: Duration = Duration::from_millis(200);
/// On a busy machine processor time takes longer on the clock: at most this many times as long.
const MAX_STRETCH: u64 = 30;
/// Longer inputs are slower and find nothing more.
const MAX_INPUT: usize = 4096;

/// Why the fuzzer could not be run.
#[derive(Debug, thiserror::Error)]
pub enum FuzzError {
    /// A file could not be read or written, or a program not started.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The targets do not build.
    #[error("cargo fuzz build failed in {0} (is it there? cargo install cargo-fuzz --locked)")]
    Build(PathBuf),
    /// No target of that name.
    #[error("no fuzz target {0:?}; there are: {1}")]
    Unknown(String, String),
    /// The fuzzer ended without having tried anything.
    #[error("{0}: the fuzzer did not run; see {1}")]
    NotRun(String, PathBuf),
    /// The merge of found inputs failed.
    #[error("{0}: the fuzzer failed to merge its corpus")]
    Merge(String),
}

/// One target: where it lives and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    package: &'static str,
    name: String,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Inputs tried.
    pub executions: u64,
    /// Edges of the program reached.
    pub edges: u64,
    /// Processor time spent on trying, which is what counts on a shared machine.
    pub cpu: Duration,
    /// Inputs in the corpus afterwards.
    pub corpus: usize,
    /// Inputs that broke it, as files.
    pub findings: Vec<PathBuf>,
}

/// The named targets, or all when none is named.
///
/// # Errors
/// An unknown name, or unreadable folders.
pub fn targets(root: &Path, names: &[String]) -> Result<Vec<Target>, FuzzError> {
    let mut all = Vec::new();
    for package in PACKAGES {
        let folder = root.join(package).join("fuzz/corpus");
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            if let Some(name) = path.file_stem() {
                let name = name.to_string_lossy().into_owned();
                all.push(Target { package, name });
            }
        }
    }
    all.sort();
    if let Some(unknown) = names
        .iter()
        .find(|name| all.iter().all(|target| target.name != **name))
    {
        let known: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
        return Err(FuzzError::Unknown(unknown.clone(), known.join(", ")));
    }
    all.retain(|target| names.is_empty() || names.contains(&target.name));
    Ok(all)
}

/// Builds all targets.
///
/// # Errors
/// When cargo-fuzz is missing or something does not compile.
pub fn build(root: &Path) -> Result<(), FuzzError> {
    for package in PACKAGES {
        let folder = root.join(package).join("fuzz");
        let status = Command::new("cargo")
            .args(["fuzz", "build"])
            .current_dir(&folder)
            .env("RUSTC_BOOTSTRAP", "1")
            .status()
            .map_err(at(&folder))?;
        if !status.success() {
            return Err(FuzzError::Build(folder));
        }
    }
    Ok(())
}

/// Runs one target for so much processor time from its corpus, and writes what it learnt back.
///
/// # Errors
/// Only when the fuzzer cannot be run: findings are in the [`Outcome`].
pub fn run(root: &Path, target: &Target, time: Duration) -> Result<Outcome, FuzzError> {
    let fuzz = root.join(target.package).join("fuzz");
    let work = root.join("target/fuzz").join(&target.name);
    let (inputs, merged, artifacts) = (work.join("inputs"), work.join("merged"), work.join("findings"));
    for folder in [&inputs, &merged] {
        let _ = fs::remove_dir_all(folder);
    }
    for folder in [&inputs, &merged, &artifacts] {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let corpus = fuzz.join("corpus").join(format!("{}.txt", target.name));
    let found = fuzz.join("found").join(format!("{}.txt", target.name));
    keep_findings(&artifacts, &found)?;
    unpack(&corpus, &inputs, "c")?;
    if found.exists() {
        unpack(&found, &inputs, "f")?;
    }

    let program = fuzz
        .join("target/x86_64-unknown-linux-gnu/release")
        .join(&target.name);
    let dictionary = fuzz.join("dictionaries").join(format!("{}.dict", target.name));
    let mut command = Command::new(&program);
    command
        .arg(format!(
            "-max_total_time={}",
            time.as_secs().saturating_mul(MAX_STRETCH)
        ))
        .arg(format!("-max_len={MAX_INPUT}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-timeout=20", "-rss_limit_mb=4096"]);
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let log = work.join("log.txt");
    let file = fs::File::create(&log).map_err(at(&log))?;
    command.arg(&inputs).stdout(Stdio::null()).stderr(file);
    let (status, cpu) = spend(&mut command, time).map_err(at(&program))?;
    let text = fs::read(&log).map_err(at(&log))?;
    let mut outcome = read_log(&String::from_utf8_lossy(&text));
    outcome.cpu = cpu;
    outcome.findings = fs::read_dir(&artifacts)
        .map_err(at(&artifacts))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    // It ends with an error after a finding; without one it did not run at all.
    if outcome.findings.is_empty() && (!status.success() || outcome.executions == 0) {
        return Err(FuzzError::NotRun(target.name.clone(), log));
    }

    let merge = Command::new(&program)
        .args(["-merge=1", &format!("-max_len={MAX_INPUT}")])
        .arg(&merged)
        .arg(&inputs)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(at(&program))?;
    if !merge.success() {
        return Err(FuzzError::Merge(target.name.clone()));
    }
    outcome.corpus = pack(&merged, &corpus)?;
    Ok(outcome)
}

impl Target {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Runs a fuzzer until it has used so much processor time; libFuzzer ends in good order on SIGUSR1.
fn spend(command: &mut Command, time: Duration) -> io::Result<(ExitStatus, Duration)> {
    let mut child = command.spawn()?;
    let mut used = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, used));
        }
        used = used.max(ProcessCost::read(child.id()).cpu);
        if used >= time {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGUSR1)?;
            return Ok((child.wait()?, used));
        }
        thread::sleep(GLANCE);
    }
}

/// The figures in what libFuzzer prints.
fn read_log(text: &str) -> Outcome {
    let number_behind = |line: &str, key: &str| -> Option<u64> {
        line.split_once(key)?.1.split_whitespace().next()?.parse().ok()
    };
    let mut outcome = Outcome::default();
    for line in text.lines() {
        if let Some(executions) = number_behind(line, "stat::number_of_executed_units:") {
            outcome.executions = executions;
        }
        if let Some(edges) = number_behind(line, " cov: ") {
            outcome.edges = edges;
        }
    }
    outcome
}

/// Moves what broke the target last time to the inputs that are kept for good.
fn keep_findings(artifacts: &Path, found: &Path) -> Result<(), FuzzError> {
    let mut lines: BTreeSet<String> = match fs::read_to_string(found) {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(_) => BTreeSet::new(),
    };
    let known = lines.len();
    for entry in fs::read_dir(artifacts).map_err(at(artifacts))? {
        let path = entry.map_err(at(artifacts))?.path();
        let bytes = fs::read(&path).map_err(at(&path))?;
        lines.insert(bytes.escape_ascii().to_string());
        fs::remove_file(&path).map_err(at(&path))?;
    }
    if lines.len() > known {
        let folder = found.parent().unwrap_or(found);
        fs::create_dir_all(folder).map_err(at(folder))?;
        write_lines(found, &lines)?;
    }
    Ok(())
}

fn unpack(corpus: &Path, folder: &Path, prefix: &str) -> Result<(), FuzzError> {
    let text = fs::read_to_string(corpus).map_err(at(corpus))?;
    for (number, line) in text.lines().enumerate() {
        let path = folder.join(format!("{prefix}{number:05}"));
        fs::write(&path, unescape(line)).map_err(at(&path))?;
    }
    Ok(())
}

fn pack(folder: &Path, corpus: &Path) -> Result<usize, FuzzError> {
    let mut lines = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let bytes = fs::read(&path).map_err(at(&path))?;
        lines.insert(bytes.escape_ascii().to_string());
    }
    write_lines(corpus, &lines)?;
    Ok(lines.len())
}

fn write_lines(path: &Path, lines: &BTreeSet<String>) -> Result<(), FuzzError> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(path, text).map_err(at(path))
}

/// The inverse of `escape_ascii`.
fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = line.bytes();
    let mut out = Vec::with_capacity(line.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'x') => {
                let mut digit = || {
                    bytes
                        .next()
                        .and_then(|digit| char::from(digit).to_digit(16))
                        .unwrap_or(0) as u8
                };
                let high = digit();
                out.push(high << 4 | digit());
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

fn at(path: &Path) -> impl Fn(io::Error) -> FuzzError + '_ {
    |error| FuzzError::Io(path.to_owned(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_escape() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&all.escape_ascii().to_string()), all);
    }

    #[test]
    fn the_fuzzers_figures_are_read() {
        let log = "#12 NEW    cov: 310 ft: 400 corp: 9/1Kb\n#99 DONE   cov: 321 ft: 500 corp: 20/2Kb lim: 4 exec/s: 3\n\
                   stat::number_of_executed_units: 12345\nstat::peak_rss_mb: 77\n";
        let expected = Outcome {
            executions: 12345,
            edges: 321,
            ..Outcome::default()
        };
        assert_eq!(read_log(log), expected);
    }

    #[test]
    fn an_unknown_target_is_told_with_those_that_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let error = targets(&root, &["nonsense".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("sip_message"), "{error}");
        assert_eq!(targets(&root, &["rtcp".to_owned()]).unwrap().len(), 1);
    }
}
