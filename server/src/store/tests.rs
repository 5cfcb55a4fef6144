use super::*;
use crate::focus::ids::{LegId, RoomId};
use crate::focus::record::{BindingRecord, EndReason};

fn start(dir: &Path) -> Store {
    Store::start(&Store::file(dir), Arc::new(Metrics::new())).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn created(room: u64, name: &str) -> StoreRecord {
    StoreRecord::MeetingCreated {
        room: RoomId(room),
        name: name.into(),
        subject: None,
        creator: "api".into(),
        token_hash: "cafe".into(),
    }
}

fn all(store: &Store) -> Vec<EventRow> {
    runtime()
        .block_on(store.events(EventQuery {
            since: 0,
            limit: 100,
            meeting: None,
        }))
        .unwrap()
}

#[test]
fn facts_are_there_after_a_restart_and_lost_meetings_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(dir.path());
    store.record(created(1, "blue"));
    store.record(StoreRecord::PersonJoined {
        room: RoomId(1),
        name: "blue".into(),
        leg: LegId(3),
        display: "Ann".into(),
        uri: "sip:ann@127.0.0.1".into(),
        account: None,
        user_agent: None,
        call_id: "c1".into(),
        first: true,
    });
    store.record(created(2, "red"));
    store.record(StoreRecord::MeetingEnded {
        room: RoomId(2),
        name: "red".into(),
        reason: EndReason::Empty,
    });
    assert_eq!(all(&store).len(), 4);
    // A second run over the same file without a stop in between is what a kill leaves.
    let second = start(dir.path());
    second.close_lost_meetings();
    let rows = all(&second);
    assert_eq!(rows.len(), 5, "{rows:?}");
    assert_eq!(rows[1].person.as_deref(), Some("Ann"));
    assert_eq!(
        (rows[4].meeting.as_str(), &rows[4].detail["reason"]),
        ("blue", &serde_json::json!("server-lost"))
    );
    second.stop();
    store.stop();
}

#[test]
fn since_limit_and_meeting_select() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(dir.path());
    for i in 0..10 {
        store.record(created(i, if i % 2 == 0 { "even" } else { "odd" }));
    }
    let run = runtime();
    let query = |since, limit, meeting: Option<&str>| {
        let query = EventQuery {
            since,
            limit,
            meeting: meeting.map(str::to_owned),
        };
        run.block_on(store.events(query)).unwrap()
    };
    assert_eq!(query(0, 3, None).len(), 3);
    assert_eq!(query(8, 100, None).len(), 2);
    assert_eq!(query(0, 100, Some("odd")).len(), 5);
    store.stop();
}

#[test]
fn bindings_are_replaced_and_expire() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(dir.path());
    let binding = |contact: &str, expires| BindingRecord {
        contact: contact.into(),
        expires,
        call_id: "x".into(),
        cseq: 1,
        path: "<sip:edge;lr>".into(),
    };
    let aor = "sip:ann@meet".to_owned();
    store.record(StoreRecord::Bindings {
        aor: aor.clone(),
        bindings: vec![binding("<sip:a@h1>", 600)],
    });
    store.record(StoreRecord::Bindings {
        aor: aor.clone(),
        bindings: vec![binding("<sip:a@h2>", 600), binding("<sip:a@h3>", 0)],
    });
    let kept = runtime().block_on(store.last_run()).unwrap().bindings;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].1.len(), 1);
    assert_eq!(kept[0].1[0].contact, "<sip:a@h2>");
    assert_eq!(kept[0].1[0].path, "<sip:edge;lr>");
    store.stop();
}

#[test]
fn accounts_are_replaced_listed_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = open(&Store::file(dir.path())).unwrap();
    let row = |ha1: &str| AccountRow {
        realm: "meet".into(),
        user: "ann".into(),
        ha1: vec![("SHA-256".into(), ha1.into())],
    };
    add_account(&mut connection, &row("aa"), 1).unwrap();
    add_account(&mut connection, &row("bb"), 2).unwrap();
    assert_eq!(list_accounts(&connection, "meet").unwrap(), ["ann"]);
    let store = start(dir.path());
    let found = runtime()
        .block_on(store.account("meet".into(), "ann".into()))
        .unwrap()
        .unwrap();
    assert_eq!(found, row("bb"));
    assert!(!format!("{found:?}").contains("bb"));
    assert!(remove_account(&mut connection, "meet", "ann").unwrap());
    assert!(!remove_account(&mut connection, "meet", "ann").unwrap());
    assert_eq!(
        runtime()
            .block_on(store.account("meet".into(), "ann".into()))
            .unwrap(),
        None
    );
    store.stop();
}

#[test]
fn a_disk_full_to_the_end_loses_and_counts_records() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new());
    let path = Store::file(dir.path());
    drop(open(&path).unwrap());
    let connection = open(&path).unwrap();
    // SQLite's own page limit behaves as a full disk (SQLITE_FULL).
    let pages: i64 = connection
        .pragma_query_value(None, "page_count", |r| r.get(0))
        .unwrap();
    connection.pragma_update(None, "max_page_count", pages).unwrap();
    let (queue, jobs) = sync_channel(STORE_QUEUE);
    for room in 0..2000 {
        queue
            .send(Job::Record {
                at: SystemTime::now(),
                record: created(room, &"x".repeat(60)),
            })
            .unwrap();
    }
    queue.send(Job::Stop).unwrap();
    worker::run(connection, 1, &jobs, &metrics);
    assert!(metrics.store_lost.get() > 0);
    assert_eq!(metrics.store_lost.get() + metrics.store_written.get(), 2000);
}

/// While another process holds the file nothing is lost and questions are answered; then everything is written.
#[test]
fn a_locked_database_delays_facts_and_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = open(&Store::file(dir.path())).unwrap();
    let row = AccountRow {
        realm: "meet".into(),
        user: "ann".into(),
        ha1: vec![("SHA-256".into(), "aa".into())],
    };
    add_account(&mut other, &row, 1).unwrap();
    let metrics = Arc::new(Metrics::new());
    let store = Store::start(&Store::file(dir.path()), Arc::clone(&metrics)).unwrap();
    assert!(runtime().block_on(store.healthy()));
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for room in 0..300 {
        store.record(created(room, "blue"));
    }
    let found = runtime()
        .block_on(store.account("meet".into(), "ann".into()))
        .unwrap();
    assert_eq!(found, Some(row), "lookups go on");
    assert!(!runtime().block_on(store.healthy()));
    assert_eq!((metrics.store_written.get(), metrics.store_lost.get()), (0, 0));
    assert_eq!(metrics.store_waiting.get(), 300);
    other.execute_batch("COMMIT").unwrap();
    store.stop();
    assert_eq!((metrics.store_written.get(), metrics.store_lost.get()), (300, 0));
    let count: i64 = other
        .query_row("SELECT COUNT(*) FROM event", [], |r| r.get(0))
        .unwrap();
    assert_eq!(count, 300);
}

/// What a restart finds: open meetings, those that only a stop ended, and names that are held.
#[test]
fn meetings_of_the_last_run_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(dir.path());
    let ended = |room, name: &str, reason| StoreRecord::MeetingEnded {
        room: RoomId(room),
        name: name.into(),
        reason,
    };
    for (room, name) in [(1, "open"), (2, "stopped"), (3, "cancelled"), (4, "empty")] {
        first.record(created(room, name));
    }
    first.record(ended(2, "stopped", EndReason::Shutdown));
    first.record(ended(3, "cancelled", EndReason::Creator));
    first.record(ended(4, "empty", EndReason::Empty));
    assert_eq!(all(&first).len(), 7);
    let names = |last: &LastRun| {
        let mut names: Vec<String> = last.meetings.iter().map(|m| m.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(
        names(&runtime().block_on(first.last_run()).unwrap()),
        [""; 0],
        "its own are not"
    );
    let second = start(dir.path());
    let last = runtime().block_on(second.last_run()).unwrap();
    assert_eq!(names(&last), ["open", "stopped"]);
    assert_eq!(last.ended.len(), 1);
    assert_eq!(last.ended[0].0, "cancelled");
    let meeting = last.meetings[0].clone();
    assert_eq!((meeting.token_hash.as_str(), meeting.joined), ("cafe", false));
    second.record(StoreRecord::MeetingRestored {
        room: RoomId(1),
        name: meeting.name.clone(),
        meeting: meeting.meeting,
    });
    second.close_lost_meetings();
    all(&second);
    let third = start(dir.path());
    let last = runtime().block_on(third.last_run()).unwrap();
    assert_eq!(names(&last), [meeting.name], "what was not restored is over");
    for store in [first, second, third] {
        store.stop();
    }
}

/// A clock that was wrong in an earlier run, or steps back, mixes up no runs: they are numbered.
#[test]
fn runs_are_numbered_whatever_the_clock_says() {
    let dir = tempfile::tempdir().unwrap();
    open(&Store::file(dir.path()))
        .unwrap()
        .execute(
            "INSERT INTO meeting (run, room, name, creator, created_ms, token_hash, ended_ms, reason)
             VALUES (?1, 1, 'ahead', 'api', 5, 'cafe', 6, 'shutdown')",
            [i64::MAX / 2],
        )
        .unwrap();
    let second = start(dir.path());
    second.record(created(1, "blue"));
    second.record(StoreRecord::MeetingEnded {
        room: RoomId(1),
        name: "blue".into(),
        reason: EndReason::Shutdown,
    });
    assert_eq!(all(&second).len(), 2);
    let third = start(dir.path());
    let last = runtime().block_on(third.last_run()).unwrap();
    let names: Vec<&str> = last.meetings.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(
        names,
        ["blue"],
        "that of the last run, not of the one with the largest clock"
    );
    for store in [second, third] {
        store.stop();
    }
}

#[test]
fn a_full_queue_counts() {
    let metrics = Arc::new(Metrics::new());
    let (queue, _jobs) = sync_channel(1);
    let store = Store {
        queue,
        metrics: Arc::clone(&metrics),
        thread: Arc::default(),
    };
    store.record(created(1, "a"));
    store.record(created(2, "b"));
    assert_eq!(metrics.store_lost.get(), 1);
}
