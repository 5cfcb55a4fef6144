//! A child process that is ended with its guard, and lines of its output to wait for.
//!
//! Absent on purpose: killing by name. Only the process that the guard started is signalled.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Lines kept of a child's output; older ones are dropped.
const KEPT_LINES: usize = 20_000;
/// How often an exit is polled for.
const POLL: Duration = Duration::from_millis(10);

/// What went wrong with a child process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program's name.
        program: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The line did not come before the deadline.
    #[error("{program}: no line with {wanted:?} within {waited:?}; it said:\n{output}")]
    NoLine {
        /// The program's name.
        program: String,
        /// What was waited for.
        wanted: String,
        /// How long.
        waited: Duration,
        /// What it printed so far.
        output: String,
    },
    /// The program did not exit before the deadline.
    #[error("{program}: still running after {waited:?}; it said:\n{output}")]
    NoExit {
        /// The program's name.
        program: String,
        /// How long.
        waited: Duration,
        /// What it printed so far.
        output: String,
    },
    /// Writing to its standard input failed.
    #[error("{program}: standard input is closed")]
    Input {
        /// The program's name.
        program: String,
    },
}

#[derive(Default)]
struct Output {
    lines: VecDeque<String>,
    dropped: usize,
    open_readers: usize,
}

type Shared = Arc<(Mutex<Output>, Condvar)>;

/// A running child. Dropping it sends SIGTERM, then SIGKILL after two seconds.
pub struct Process {
    program: String,
    child: Child,
    output: Shared,
}

impl Process {
    /// Starts `command` with its output and errors captured line by line.
    pub fn start(mut command: Command) -> Result<Self, ProcessError> {
        let program = command.get_program().to_string_lossy().into_owned();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| ProcessError::Start {
            program: program.clone(),
            source,
        })?;
        let output: Shared = Arc::default();
        let readers: [Option<Box<dyn Read + Send>>; 2] = [
            child
                .stdout
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        for pipe in readers.into_iter().flatten() {
            lock(&output).open_readers += 1;
            let shared = Arc::clone(&output);
            std::thread::spawn(move || read_lines(pipe, &shared));
        }
        Ok(Self {
            program,
            child,
            output,
        })
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed so far.
    pub fn output(&self) -> String {
        let output = lock(&self.output);
        output.lines.iter().fold(String::new(), |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        })
    }

    /// A place in the output: pass it to [`Process::wait_line_after`] to look only at later lines.
    pub fn mark(&self) -> usize {
        let output = lock(&self.output);
        output.dropped + output.lines.len()
    }

    /// Waits for a line that contains `wanted`, looking at all of the output.
    pub fn wait_line(&self, wanted: &str, patience: Duration) -> Result<String, ProcessError> {
        self.wait_line_after(0, wanted, patience)
    }

    /// Waits for a line after `mark` that contains `wanted`.
    pub fn wait_line_after(
        &self,
        mark: usize,
        wanted: &str,
        patience: Duration,
    ) -> Result<String, ProcessError> {
        let deadline = Instant::now() + patience;
        let mut output = lock(&self.output);
        loop {
            let skip = mark.saturating_sub(output.dropped);
            if let Some(line) = output.lines.iter().skip(skip).find(|line| line.contains(wanted)) {
                return Ok(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || output.open_readers == 0 {
                break;
            }
            output = match self.output.1.wait_timeout(output, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        drop(output);
        Err(ProcessError::NoLine {
            program: self.program.clone(),
            wanted: wanted.to_owned(),
            waited: patience,
            output: self.output(),
        })
    }

    /// Writes a line to its standard input.
    pub fn write_line(&mut self, line: &str) -> Result<(), ProcessError> {
        let closed = || ProcessError::Input {
            program: self.program.clone(),
        };
        let pipe = self.child.stdin.as_mut().ok_or_else(closed)?;
        writeln!(pipe, "{line}")
            .and_then(|()| pipe.flush())
            .map_err(|_| closed())
    }

    /// Sends a signal to the child.
    pub fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // A child that is gone already needs no signal.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the exit and for the rest of the output.
    pub fn wait_exit(&mut self, patience: Duration) -> Result<ExitStatus, ProcessError> {
        let deadline = Instant::now() + patience;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.wait_readers(deadline);
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(ProcessError::NoExit {
                    program: self.program.clone(),
                    waited: patience,
                    output: self.output(),
                });
            }
            poll();
        }
    }

    fn wait_readers(&self, deadline: Instant) {
        let mut output = lock(&self.output);
        while output.open_readers > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            output = match self.output.1.wait_timeout(output, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.signal(Signal::SIGTERM);
        if self.wait_exit(Duration::from_secs(2)).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Polls `condition` until it gives a value or `patience` is over.
pub fn wait_for<T>(patience: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        poll();
    }
}

fn poll() {
    std::thread::sleep(POLL);
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Output> {
    shared.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn read_lines(pipe: impl Read, shared: &Shared) {
    let mut reader = BufReader::new(pipe);
    let mut raw = Vec::new();
    loop {
        raw.clear();
        match reader.read_until(b'\n', &mut raw) {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                let line = String::from_utf8_lossy(&raw).trim_end().to_owned();
                let mut output = lock(shared);
                if output.lines.len() == KEPT_LINES {
                    output.lines.pop_front();
                    output.dropped += 1;
                }
                output.lines.push_back(line);
                shared.1.notify_all();
            }
        }
    }
    lock(shared).open_readers -= 1;
    shared.1.notify_all();
}
