//! What outlives the process: accounts, registrations, meetings and the event log, in SQLite.
//!
//! One thread owns the connection (ADR 3) and takes jobs from a bounded queue. While the disk is full or another
//! process holds the file, facts wait in memory and are written later; accounts are still read. What is too much even
//! for that costs log entries, which are counted and reported; a call never waits. WAL mode keeps everything committed over a kill. Deliberately absent:
//! clear passwords (only HA1 hashes, RFC 7616 §3.4.2) and any decision about calls.

mod accounts;
mod backlog;
mod events;
mod restore;
mod schema;
mod worker;

pub use accounts::{AccountRow, add_account, list_accounts, remove_account};
pub use events::{EventQuery, EventRow};
pub use restore::LastRun;
pub use schema::open;

use crate::focus::record::StoreRecord;
use crate::telemetry::Metrics;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;
use tokio::sync::oneshot;
use worker::Job;

/// Jobs that wait for the database thread; at about 500 bytes each 4 MB.
pub const STORE_QUEUE: usize = 8192;
/// Events kept; the oldest are deleted. About 300 bytes each: 300 MB.
pub const MAX_EVENTS: i64 = 1_000_000;
/// Facts kept in memory while the database cannot write; at about 500 bytes each 8 MB.
pub const STORE_BACKLOG: usize = 16_384;
/// How long the server's own thread waits for a locked file before it does something else.
pub const LOCKED: std::time::Duration = std::time::Duration::from_millis(50);
/// How soon a failed write is tried again.
pub const RETRY: std::time::Duration = std::time::Duration::from_millis(250);
/// Another process (`meet-server user add`) may hold the file for so long.
pub const BUSY: std::time::Duration = std::time::Duration::from_secs(2);

/// Why the database refuses. Ours or the machine's fault, never a peer's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The file's structure cannot be brought up to date.
    #[error(transparent)]
    Migration(#[from] rusqlite_migration::Error),
    /// The database thread is gone or overloaded.
    #[error("the database is not answering")]
    Unavailable,
}

/// A handle to the database thread; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    queue: SyncSender<Job>,
    metrics: Arc<Metrics>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Store {
    /// The database file in a data folder.
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join("meet.sqlite3")
    }

    /// Opens the database and starts its thread.
    pub fn start(path: &Path, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        let connection = open(path)?;
        let run = restore::next_run(&connection)?;
        let (queue, jobs) = sync_channel(STORE_QUEUE);
        let counters = Arc::clone(&metrics);
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || worker::run(connection, run, &jobs, &counters))
            .map_err(|_| StoreError::Unavailable)?;
        Ok(Self {
            queue,
            metrics,
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Writes a fact down, with the time of now. Never waits.
    pub fn record(&self, record: StoreRecord) {
        self.offer(Job::Record {
            at: SystemTime::now(),
            record,
        });
    }

    /// The account of a user; `Ok(None)`: there is none.
    pub async fn account(&self, realm: String, user: String) -> Result<Option<AccountRow>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.offer(Job::Account { realm, user, reply });
        answer.await.map_err(|_| StoreError::Unavailable)?
    }

    /// How many accounts a realm has.
    pub async fn count_accounts(&self, realm: String) -> Result<usize, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.offer(Job::CountAccounts { realm, reply });
        answer.await.map_err(|_| StoreError::Unavailable)?
    }

    /// Events after `query.since`, oldest first.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<EventRow>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.offer(Job::Events { query, reply });
        answer.await.map_err(|_| StoreError::Unavailable)?
    }

    /// What the last run left: registrations, meetings, names that are held.
    pub async fn last_run(&self) -> Result<LastRun, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.offer(Job::LastRun {
            now: SystemTime::now(),
            reply,
        });
        answer.await.map_err(|_| StoreError::Unavailable)?
    }

    /// Meetings of earlier runs that were not restored by now are over.
    pub fn close_lost_meetings(&self) {
        self.offer(Job::CloseLost {
            now: SystemTime::now(),
        });
    }

    /// Whether the thread answers and can write.
    pub async fn healthy(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.offer(Job::Check { reply });
        matches!(answer.await, Ok(Ok(())))
    }

    /// Writes what is queued and ends the thread.
    pub fn stop(&self) {
        if self.queue.send(Job::Stop).is_ok()
            && let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            drop(thread.join());
        }
    }

    fn offer(&self, job: Job) {
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                // The worker says it in the log; here only the count grows.
                self.metrics.store_lost.inc();
            }
        }
    }
}

#[cfg(test)]
mod tests;
