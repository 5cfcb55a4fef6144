//! The thread that owns the database: one transaction for all that waits.

use super::accounts::AccountRow;
use super::events::{EventQuery, EventRow};
use super::{MAX_EVENTS, StoreError, accounts, events};
use crate::focus::record::{BindingRecord, StoreRecord};
use crate::telemetry::Metrics;
use rusqlite::{Connection, params};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// Facts in one transaction: a bound on what one failure loses.
const BATCH: usize = 256;
/// The same trouble is logged at most so often.
const REPORT: Duration = Duration::from_secs(10);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;
/// Addresses-of-record with their bindings.
pub(super) type Bindings = Vec<(String, Vec<BindingRecord>)>;

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
    Bindings {
        now: SystemTime,
        reply: Reply<Bindings>,
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

/// Meetings that an earlier run left open (it was killed) are closed in the books.
pub(super) fn close_lost_meetings(connection: &Connection, now: i64) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO event (at_ms, kind, meeting, person, detail)
         SELECT ?1, 'meeting-ended', name, NULL, '{\"reason\":\"server-lost\"}' FROM meeting WHERE ended_ms IS NULL",
        params![now],
    )?;
    connection.execute(
        "UPDATE meeting SET ended_ms = ?1, reason = 'server-lost' WHERE ended_ms IS NULL",
        params![now],
    )?;
    Ok(())
}

pub(super) fn run(mut connection: Connection, jobs: &Receiver<Job>, metrics: &Metrics) {
    let run = unix_ms(SystemTime::now());
    let mut reporter = Reporter { last: None };
    let mut batch: Vec<(i64, StoreRecord)> = Vec::with_capacity(BATCH);
    while let Ok(first) = jobs.recv() {
        let mut next = Some(first);
        let mut stop = false;
        while let Some(job) = next.take() {
            if let Job::Record { at, record } = job {
                batch.push((unix_ms(at), record));
                if batch.len() < BATCH {
                    next = jobs.try_recv().ok();
                }
            } else {
                // An answer must see everything recorded before the question.
                flush(&mut connection, run, &mut batch, metrics, &mut reporter);
                stop |= answer(&connection, job);
                if !stop {
                    next = jobs.try_recv().ok();
                }
            }
        }
        flush(&mut connection, run, &mut batch, metrics, &mut reporter);
        if stop {
            return;
        }
    }
}

/// Answers a question; `true`: the thread shall end.
fn answer(connection: &Connection, job: Job) -> bool {
    match job {
        Job::Account { realm, user, reply } => drop(reply.send(accounts::find(connection, &realm, &user))),
        Job::CountAccounts { realm, reply } => {
            drop(reply.send(accounts::list_accounts(connection, &realm).map(|all| all.len())));
        }
        Job::Events { query, reply } => drop(reply.send(events::query(connection, &query))),
        Job::Bindings { now, reply } => drop(reply.send(bindings(connection, unix_ms(now)))),
        Job::Check { reply } => drop(reply.send(check(connection))),
        Job::Stop => return true,
        Job::Record { .. } => {}
    }
    false
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

fn bindings(connection: &Connection, now: i64) -> Result<Bindings, StoreError> {
    connection.execute("DELETE FROM binding WHERE expires_ms <= ?1", [now])?;
    let mut statement =
        connection.prepare("SELECT aor, contact, expires_ms, call_id, cseq FROM binding ORDER BY aor")?;
    let rows = statement.query_map([], |row| {
        let left: i64 = row.get::<_, i64>(2)?.saturating_sub(now) / 1000;
        let expires = u32::try_from(left).unwrap_or(0);
        let binding = BindingRecord {
            contact: row.get(1)?,
            expires,
            call_id: row.get(3)?,
            cseq: row.get(4)?,
        };
        Ok((row.get::<_, String>(0)?, binding))
    })?;
    let mut all: Bindings = Vec::new();
    for row in rows {
        let (aor, binding) = row?;
        match all.last_mut() {
            Some((last, list)) if *last == aor => list.push(binding),
            _ => all.push((aor, vec![binding])),
        }
    }
    Ok(all)
}

fn flush(
    connection: &mut Connection,
    run: i64,
    batch: &mut Vec<(i64, StoreRecord)>,
    metrics: &Metrics,
    reporter: &mut Reporter,
) {
    if batch.is_empty() {
        return;
    }
    let count = batch.len() as u64;
    let started = Instant::now();
    match write_all(connection, run, batch) {
        Ok(()) => {
            metrics.store_written.inc_by(count);
        }
        Err(error) => {
            metrics.store_lost.inc_by(count);
            reporter.report(&error, count);
        }
    }
    metrics
        .store_busy_us
        .inc_by(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
    batch.clear();
}

fn write_all(connection: &mut Connection, run: i64, batch: &[(i64, StoreRecord)]) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    for (at, record) in batch {
        events::write(&transaction, run, *at, record)?;
    }
    transaction.execute(
        "DELETE FROM event WHERE id <= (SELECT COALESCE(MAX(id), 0) FROM event) - ?1",
        params![MAX_EVENTS],
    )?;
    transaction.commit()?;
    Ok(())
}

struct Reporter {
    last: Option<Instant>,
}

impl Reporter {
    fn report(&mut self, error: &StoreError, lost: u64) {
        if self.last.is_none_or(|at| at.elapsed() >= REPORT) {
            self.last = Some(Instant::now());
            tracing::error!(%error, lost, "the database refuses; events are lost, calls go on");
        }
    }
}
