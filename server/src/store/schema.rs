//! The tables, as numbered migrations: a migration once released is never edited.

use super::{BUSY, StoreError};
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};
use std::path::Path;

const V1: &str = "
CREATE TABLE account (
    realm      TEXT NOT NULL,
    user       TEXT NOT NULL,
    algorithm  TEXT NOT NULL,
    ha1        TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (realm, user, algorithm)
) STRICT, WITHOUT ROWID;

CREATE TABLE binding (
    aor        TEXT NOT NULL,
    contact    TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    call_id    TEXT NOT NULL,
    cseq       INTEGER NOT NULL,
    PRIMARY KEY (aor, contact)
) STRICT, WITHOUT ROWID;

CREATE TABLE meeting (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    run        INTEGER NOT NULL,
    room       INTEGER NOT NULL,
    name       TEXT NOT NULL,
    subject    TEXT,
    creator    TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    ended_ms   INTEGER,
    reason     TEXT,
    UNIQUE (run, room)
) STRICT;
CREATE INDEX meeting_name ON meeting (name);

CREATE TABLE event (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms      INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    meeting    TEXT NOT NULL,
    person     TEXT,
    detail     TEXT NOT NULL
) STRICT;
CREATE INDEX event_meeting ON event (meeting, id);
";

/// What a meeting needs to be there again after a restart.
const V2: &str = "
ALTER TABLE meeting ADD COLUMN token_hash TEXT;
ALTER TABLE meeting ADD COLUMN joined INTEGER NOT NULL DEFAULT 0;
";

/// The way to a contact (RFC 3327).
const V3: &str = "ALTER TABLE binding ADD COLUMN path TEXT NOT NULL DEFAULT '';";

/// Opens (or creates) the database and brings its tables up to date.
pub fn open(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Migrations::new(vec![M::up(V1), M::up(V2), M::up(V3)]).to_latest(&mut connection)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the first release is brought up to date with what it holds.
    #[test]
    fn an_old_file_is_migrated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sqlite3");
        let mut old = Connection::open(&path).unwrap();
        Migrations::new(vec![M::up(V1)]).to_latest(&mut old).unwrap();
        old.execute_batch(
            "INSERT INTO meeting (run, room, name, creator, created_ms) VALUES (1, 1, 'blue', 'api', 5)",
        )
        .unwrap();
        drop(old);
        let row: (String, Option<String>, i64) = open(&path)
            .unwrap()
            .query_row("SELECT name, token_hash, joined FROM meeting", [], |r| {
                Ok((r.get(0)?, r.get(1)?, r.get(2)?))
            })
            .unwrap();
        assert_eq!(row, ("blue".to_owned(), None, 0));
    }

    #[test]
    fn migrations_are_valid_and_idempotent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sqlite3");
        drop(open(&path).unwrap());
        let connection = open(&path).unwrap();
        let mode: String = connection
            .pragma_query_value(None, "journal_mode", |r| r.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
    }
}
