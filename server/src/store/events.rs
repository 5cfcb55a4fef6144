//! The event log: what happened to meetings and people, as rows.

use super::StoreError;
use crate::focus::record::{BindingRecord, StoreRecord};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Only events with a higher id.
    pub since: i64,
    /// At most so many.
    pub limit: u32,
    /// Only this meeting.
    pub meeting: Option<String>,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// Grows by time; ask for more with `since`.
    pub id: i64,
    /// Milliseconds since 1970, UTC.
    pub at_ms: i64,
    /// `meeting-created`, `meeting-restored`, `meeting-ended`, `person-joined`, `person-left`.
    pub kind: String,
    /// The meeting's name.
    pub meeting: String,
    /// The person's display name.
    pub person: Option<String>,
    /// Further facts.
    pub detail: Value,
}

pub(super) fn query(connection: &Connection, query: &EventQuery) -> Result<Vec<EventRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, at_ms, kind, meeting, person, detail FROM event
         WHERE id > ?1 AND (?2 IS NULL OR meeting = ?2) ORDER BY id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![query.since, query.meeting, query.limit], |row| {
        let detail: String = row.get(5)?;
        Ok(EventRow {
            id: row.get(0)?,
            at_ms: row.get(1)?,
            kind: row.get(2)?,
            meeting: row.get(3)?,
            person: row.get(4)?,
            detail: serde_json::from_str(&detail).unwrap_or(Value::Null),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes one fact; `run` tells this run's rooms from those of earlier runs.
pub(super) fn write(
    connection: &Connection,
    run: i64,
    at: i64,
    record: &StoreRecord,
) -> Result<(), StoreError> {
    match record {
        StoreRecord::MeetingCreated { .. } => created(connection, run, at, record),
        StoreRecord::MeetingRestored { room, name, meeting } => {
            connection
                .prepare_cached(
                    "UPDATE meeting SET run = ?1, room = ?2, ended_ms = NULL, reason = NULL WHERE id = ?3",
                )?
                .execute(params![run, as_i64(room.0), meeting])?;
            insert(connection, at, "meeting-restored", name, None, &json!({}))
        }
        StoreRecord::MeetingEnded { room, name, reason } => {
            connection
                .prepare_cached("UPDATE meeting SET ended_ms = ?3, reason = ?4 WHERE run = ?1 AND room = ?2")?
                .execute(params![run, as_i64(room.0), at, reason.as_str()])?;
            insert(
                connection,
                at,
                "meeting-ended",
                name,
                None,
                &json!({"reason": reason.as_str()}),
            )
        }
        StoreRecord::PersonJoined { .. } => joined(connection, run, at, record),
        StoreRecord::PersonLeft {
            name,
            leg,
            display,
            reason,
            ..
        } => {
            let detail = json!({"leg": leg.0, "reason": reason.as_str()});
            insert(connection, at, "person-left", name, Some(display), &detail)
        }
        StoreRecord::Bindings { aor, bindings } => replace_bindings(connection, at, aor, bindings),
    }
}

fn created(connection: &Connection, run: i64, at: i64, record: &StoreRecord) -> Result<(), StoreError> {
    let StoreRecord::MeetingCreated {
        room,
        name,
        subject,
        creator,
        token_hash,
    } = record
    else {
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT INTO meeting (run, room, name, subject, creator, created_ms, token_hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            run,
            as_i64(room.0),
            name,
            subject,
            creator,
            at,
            token_hash
        ])?;
    let detail = json!({"subject": subject, "creator": creator});
    insert(connection, at, "meeting-created", name, None, &detail)
}

fn joined(connection: &Connection, run: i64, at: i64, record: &StoreRecord) -> Result<(), StoreError> {
    let StoreRecord::PersonJoined {
        room,
        name,
        leg,
        display,
        uri,
        account,
        user_agent,
        call_id,
        first,
    } = record
    else {
        return Ok(());
    };
    if *first {
        connection
            .prepare_cached("UPDATE meeting SET joined = 1 WHERE run = ?1 AND room = ?2")?
            .execute(params![run, as_i64(room.0)])?;
    }
    let detail = json!({
        "leg": leg.0, "uri": uri, "account": account, "user_agent": user_agent, "call_id": call_id,
    });
    insert(connection, at, "person-joined", name, Some(display), &detail)
}

fn replace_bindings(
    connection: &Connection,
    at: i64,
    aor: &str,
    bindings: &[BindingRecord],
) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM binding WHERE aor = ?1")?
        .execute([aor])?;
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO binding (aor, contact, expires_ms, call_id, cseq, path) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for binding in bindings {
        let expires = at.saturating_add(i64::from(binding.expires).saturating_mul(1000));
        statement.execute(params![
            aor,
            binding.contact,
            expires,
            binding.call_id,
            binding.cseq,
            binding.path
        ])?;
    }
    Ok(())
}

fn insert(
    connection: &Connection,
    at: i64,
    kind: &str,
    meeting: &str,
    person: Option<&String>,
    detail: &Value,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO event (at_ms, kind, meeting, person, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![at, kind, meeting, person, detail.to_string()])?;
    Ok(())
}

fn as_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
