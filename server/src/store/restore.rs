//! What an earlier run left behind: read once, at the start.
//!
//! A meeting is there again when it was open at a kill, or when it ended only because the server was stopped. Names
//! that somebody ended on purpose are told with their time, so that they stay held. Deliberately absent: deciding
//! which of them to open; that is the focus's.

use super::StoreError;
use crate::focus::record::{BindingRecord, MeetingRecord};
use rusqlite::{Connection, params};
use std::time::Duration;

/// Addresses-of-record with their bindings.
pub type Bindings = Vec<(String, Vec<BindingRecord>)>;

/// Meetings that are read at most: more than can live.
const MEETINGS: i64 = 10_000;
/// Held names are looked for so far back; the longest useful hold.
const HELD: i64 = 24 * 3_600 * 1_000;

/// What the last run left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastRun {
    /// Registrations that have not expired.
    pub bindings: Bindings,
    /// Meetings that nobody ended.
    pub meetings: Vec<MeetingRecord>,
    /// Names that were ended on purpose, and how long ago.
    pub ended: Vec<(String, Duration)>,
}

pub(super) fn last_run(connection: &Connection, run: i64, now: i64) -> Result<LastRun, StoreError> {
    Ok(LastRun {
        bindings: bindings(connection, now)?,
        meetings: meetings(connection, run, now)?,
        ended: ended(connection, now)?,
    })
}

/// The number of a run that begins now. Counted, not timed: a clock may step back, and a number that was used
/// would mix up the rooms of two runs.
pub(super) fn next_run(connection: &Connection) -> Result<i64, StoreError> {
    let last: Option<i64> = connection.query_row("SELECT MAX(run) FROM meeting", [], |row| row.get(0))?;
    Ok(last.unwrap_or(0).saturating_add(1))
}

/// What is open and not of this run is over.
pub(super) fn close_lost(connection: &Connection, run: i64, now: i64) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO event (at_ms, kind, meeting, person, detail)
         SELECT ?1, 'meeting-ended', name, NULL, '{\"reason\":\"server-lost\"}' FROM meeting
         WHERE ended_ms IS NULL AND run <> ?2",
        params![now, run],
    )?;
    connection.execute("DELETE FROM binding WHERE expires_ms <= ?1", params![now])?;
    connection.execute(
        "UPDATE meeting SET ended_ms = ?1, reason = 'server-lost' WHERE ended_ms IS NULL AND run <> ?2",
        params![now, run],
    )?;
    Ok(())
}

fn meetings(connection: &Connection, run: i64, now: i64) -> Result<Vec<MeetingRecord>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT id, name, subject, creator, token_hash, created_ms, joined FROM meeting
         WHERE run <> ?1 AND token_hash IS NOT NULL
           AND (ended_ms IS NULL
             OR (reason = 'shutdown' AND run = (SELECT MAX(run) FROM meeting WHERE run <> ?1)))
         ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![run, MEETINGS], |row| {
        Ok(MeetingRecord {
            meeting: row.get(0)?,
            name: row.get(1)?,
            subject: row.get(2)?,
            creator: row.get(3)?,
            token_hash: row.get(4)?,
            age: since(now, row.get(5)?),
            joined: row.get::<_, i64>(6)? != 0,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn ended(connection: &Connection, now: i64) -> Result<Vec<(String, Duration)>, StoreError> {
    let mut statement = connection.prepare(
        // The newest of them, the oldest first.
        "SELECT name, at FROM (SELECT name, MAX(ended_ms) AS at FROM meeting
         WHERE reason IN ('creator', 'administrator') AND ended_ms > ?1 GROUP BY name ORDER BY 2 DESC LIMIT ?2)
         ORDER BY at",
    )?;
    let rows = statement.query_map(params![now.saturating_sub(HELD), MEETINGS], |row| {
        Ok((row.get(0)?, since(now, row.get(1)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn bindings(connection: &Connection, now: i64) -> Result<Bindings, StoreError> {
    let mut statement = connection.prepare(
        "SELECT aor, contact, expires_ms, call_id, cseq, path FROM binding WHERE expires_ms > ?1 ORDER BY aor",
    )?;
    let rows = statement.query_map([now], |row| {
        let left: i64 = row.get::<_, i64>(2)?.saturating_sub(now) / 1000;
        let binding = BindingRecord {
            contact: row.get(1)?,
            expires: u32::try_from(left).unwrap_or(0),
            call_id: row.get(3)?,
            cseq: row.get(4)?,
            path: row.get(5)?,
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

fn since(now: i64, then: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(then)).unwrap_or(0))
}
