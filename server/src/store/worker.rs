//! The thread that owns the database: one transaction for all that waits.
//!
//! A write that cannot be done now (file locked, disk full) is tried again until it can; questions are answered in
//! the meantime.

use super::accounts::AccountRow;
use super::backlog::Backlog;
use super::events::{EventQuery, EventRow};
use super::restore::{self, LastRun};
use super::{BUSY, LOCKED, MAX_EVENTS, RETRY, STORE_BACKLOG, StoreError, accounts, events};
use crate::focus::record::StoreRecord;
use crate::telemetry::Metrics;
use rusqlite::{Connection, ErrorCode, params};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// Facts in one transaction: a bound on what one failure loses.
const BATCH: usize = 256;
/// How long a fact waits for others that must be known after a crash (registrations, meetings), so that a thousand of
/// them a second are two hundred transactions. Questions and the end of the process do not wait.
const GATHER: Duration = Duration::from_millis(5);
/// How long history waits: who came and went. A transaction rewrites whole pages, so that ten times as many facts in
/// each cost a third of the time.
const GATHER_HISTORY: Duration = Duration::from_millis(50);
/// The same trouble is logged at most so often.
const REPORT: Duration = Duration::from_secs(10);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Job {
    Record {
        at: SystemTime,
        record: StoreRecord,
    },
    Account {
        realm: String,
        user: String,
        reply: Reply<Option<AccountRow>>,
    },
    CountAccounts {
        realm: String,
        reply: Reply<usize>,
    },
    Events {
        query: EventQuery,
        reply: Reply<Vec<EventRow>>,
    },
    LastRun {
        now: SystemTime,
        reply: Reply<LastRun>,
    },
    CloseLost {
        now: SystemTime,
    },
    Check {
        reply: Reply<()>,
    },
    Stop,
}

/// Milliseconds since 1970.
pub(super) fn unix_ms(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Works until it is told to stop; `run` is the number of this run (`restore::next_run`).
pub(super) fn run(connection: Connection, run: i64, jobs: &Receiver<Job>, metrics: &Metrics) {
    let mut worker = Worker {
        connection,
        run,
        backlog: Backlog::new(STORE_BACKLOG),
        retry_at: None,
        metrics,
        reporter: Reporter { last: None },
    };
    worker.patience(LOCKED);
    worker.work(jobs);
    // Once more, with more patience: what is lost now is lost.
    worker.patience(BUSY);
    worker.retry_at = None;
    worker.flush();
    metrics.store_lost.inc_by(worker.backlog.len() as u64);
    metrics.store_waiting.set(0);
}

struct Worker<'a> {
    connection: Connection,
    /// Tells this run's rooms from those of earlier runs.
    run: i64,
    backlog: Backlog,
    /// Nothing could be written: the next try is then.
    retry_at: Option<Instant>,
    metrics: &'a Metrics,
    reporter: Reporter,
}

impl Worker<'_> {
    fn work(&mut self, jobs: &Receiver<Job>) {
        loop {
            let job = match self.retry_at {
                Some(at) => match jobs.recv_timeout(at.saturating_duration_since(Instant::now())) {
                    Err(RecvTimeoutError::Timeout) => {
                        self.flush();
                        continue;
                    }
                    other => other.ok(),
                },
                None => jobs.recv().ok(),
            };
            let mut next = job;
            if next.is_none() {
                return;
            }
            let mut until = Instant::now() + GATHER_HISTORY;
            while let Some(job) = next.take() {
                if let Job::Record { at, record } = job {
                    if !is_history(&record) {
                        until = until.min(Instant::now() + GATHER);
                    }
                    let lost = self.backlog.push((unix_ms(at), record));
                    self.metrics.store_lost.inc_by(lost);
                    if !self.backlog.len().is_multiple_of(BATCH) {
                        next = jobs
                            .recv_timeout(until.saturating_duration_since(Instant::now()))
                            .ok();
                    }
                    continue;
                }
                // An answer must see everything recorded before the question, if that can be written.
                self.flush();
                if self.answer(job) {
                    return;
                }
                next = jobs.try_recv().ok();
            }
            self.flush();
        }
    }

    /// Answers a question; `true`: the thread shall end.
    fn answer(&mut self, job: Job) -> bool {
        let connection = &self.connection;
        match job {
            Job::Account { realm, user, reply } => {
                drop(reply.send(accounts::find(connection, &realm, &user)));
            }
            Job::CountAccounts { realm, reply } => {
                drop(reply.send(accounts::list_accounts(connection, &realm).map(|all| all.len())));
            }
            Job::Events { query, reply } => drop(reply.send(events::query(connection, &query))),
            Job::LastRun { now, reply } => {
                drop(reply.send(restore::last_run(connection, self.run, unix_ms(now))));
            }
            Job::CloseLost { now } => {
                if let Err(error) = restore::close_lost(connection, self.run, unix_ms(now)) {
                    tracing::warn!(%error, "meetings of the last run stay open in the log");
                }
            }
            // A full disk refuses pages, not locks: what waits tells more than a try.
            Job::Check { reply } if self.retry_at.is_some() => drop(reply.send(Err(StoreError::Unavailable))),
            Job::Check { reply } => drop(reply.send(check(connection))),
            Job::Stop => return true,
            Job::Record { .. } => {}
        }
        false
    }

    /// Writes what waits, unless that was tried a moment ago.
    fn flush(&mut self) {
        if self.retry_at.is_none_or(|at| at <= Instant::now()) {
            self.retry_at = None;
            self.write();
        }
        let waiting = i64::try_from(self.backlog.len()).unwrap_or(i64::MAX);
        self.metrics.store_waiting.set(waiting);
    }

    fn write(&mut self) {
        let started = Instant::now();
        while !self.backlog.is_empty() {
            let count = self.backlog.len().min(BATCH);
            match write_all(&mut self.connection, self.run, &self.backlog, count) {
                Ok(()) => {
                    self.backlog.remove(count);
                    self.metrics.store_written.inc_by(count as u64);
                }
                Err(error) if is_passing(&error) => {
                    self.retry_at = Some(Instant::now() + RETRY);
                    self.reporter.report(&error, self.backlog.len());
                    break;
                }
                Err(error) => {
                    self.backlog.remove(count);
                    self.metrics.store_lost.inc_by(count as u64);
                    tracing::error!(%error, lost = count, "the database refuses for good");
                }
            }
        }
        self.metrics
            .store_busy_us
            .inc_by(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
    }

    fn patience(&self, patience: Duration) {
        if let Err(error) = self.connection.busy_timeout(patience) {
            tracing::warn!(%error, "no patience with a locked database");
        }
    }
}

/// Whether a later try may succeed: somebody else holds the file, or the disk is full.
fn is_passing(error: &StoreError) -> bool {
    let StoreError::Sqlite(error) = error else {
        return false;
    };
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
        )
    )
}

fn check(connection: &Connection) -> Result<(), StoreError> {
    // Takes the write lock and touches the log file: fails on a full or read-only disk.
    connection
        .execute_batch("BEGIN IMMEDIATE; UPDATE meeting SET reason = reason WHERE 0; COMMIT;")
        .inspect_err(|_| {
            drop(connection.execute_batch("ROLLBACK"));
        })?;
    Ok(())
}

fn write_all(
    connection: &mut Connection,
    run: i64,
    backlog: &Backlog,
    count: usize,
) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    for (at, record) in backlog.first(count) {
        events::write(&transaction, run, *at, record)?;
    }
    transaction
        .prepare_cached("DELETE FROM event WHERE id <= (SELECT COALESCE(MAX(id), 0) FROM event) - ?1")?
        .execute(params![MAX_EVENTS])?;
    transaction.commit()?;
    Ok(())
}

/// Whether the fact is only told, and nothing after a restart depends on it. That somebody was in a meeting at all
/// decides how long its name is held then.
pub(super) const fn is_history(record: &StoreRecord) -> bool {
    matches!(
        record,
        StoreRecord::PersonJoined { first: false, .. } | StoreRecord::PersonLeft { .. }
    )
}

struct Reporter {
    last: Option<Instant>,
}

impl Reporter {
    fn report(&mut self, error: &StoreError, waiting: usize) {
        if self.last.is_none_or(|at| at.elapsed() >= REPORT) {
            self.last = Some(Instant::now());
            tracing::error!(%error, waiting, "the database cannot write; facts wait in memory, calls go on");
        }
    }
}
