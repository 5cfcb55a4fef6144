//! What outlives a kill, a full disk and a locked database: over real sockets, with a real process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "support/media.rs"]
mod media;
mod support;

use media::Voice;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use support::{Phone, Server, Sip, pcmu};

const HEARD: Duration = Duration::from_secs(8);

fn at(address: SocketAddr, data: &Path) -> Server {
    let address = address.to_string();
    let data = data.to_str().unwrap();
    Server::start(&[
        "--lan",
        "--listen",
        &address,
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        data,
    ])
}

fn join(server: &Server, name: &str, room: &str, hertz: f32) -> (Phone, Voice, Sip) {
    let voice = Voice::start(server.sip.ip(), hertz);
    let phone = Phone::new(server.sip, name);
    let sdp = pcmu("127.0.0.1", voice.address.port());
    let answer = phone.call(&format!("sip:{room}@{}", server.sip), &sdp);
    assert_eq!(answer.status(), 200, "{answer:?}");
    voice.send_to(answer.media_port());
    (phone, voice, answer)
}

fn health(server: &Server) -> String {
    server.get("/health").json()["status"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// `kill -9` in the middle of a meeting: at the next start registrations, meetings, their tokens and held names are
/// there, an old dialog is told that it is gone, and who calls again is in the same meeting.
#[test]
fn a_killed_server_knows_its_meetings_and_phones_again() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::lan(data.path());
    let address = server.sip;
    let made = server.request(
        "POST",
        "/api/v1/meetings",
        &[],
        r#"{"name":"blue","subject":"Plans"}"#,
    );
    assert_eq!(made.status, 201);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let over = server
        .request("POST", "/api/v1/meetings", &[], r#"{"name":"over"}"#)
        .json();
    let bearer = format!("Bearer {}", over["token"].as_str().unwrap());
    let ended = server.request(
        "DELETE",
        "/api/v1/meetings/over",
        &[("Authorization", &bearer)],
        "",
    );
    assert!(ended.status < 300, "{}", ended.body);
    let desk = Phone::new(address, "desk");
    let registrar = format!("sip:{address}");
    let own = format!("<sip:desk@{address}>");
    let register = desk.request("REGISTER", &registrar, &own, 1, "Expires: 600\r\n", "");
    assert_eq!(desk.ask(&register).status(), 200);
    let (ann, ann_voice, answer) = join(&server, "ann", "blue", 500.0);
    let (_bob, bob_voice, _) = join(&server, "bob", "blue", 1000.0);
    assert!(ann_voice.wait_tone(1000.0, true, HEARD), "ann hears bob");
    server.until("/api/v1/events", |log| {
        let events = log["events"].as_array().unwrap();
        events
            .iter()
            .filter(|event| event["kind"] == "person-joined")
            .count()
            == 2
    });
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    drop(bob_voice);

    let server = at(address, data.path());
    what_was_known_is_known(&server, &desk);
    who_calls_again_is_in_the_same_meeting(&server, &ann, &ann_voice, &answer, &token);
}

fn what_was_known_is_known(server: &Server, desk: &Phone) {
    let address = server.sip;
    let meetings = server.get("/api/v1/meetings").json();
    let names: Vec<&str> = meetings["meetings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["blue"]);
    assert_eq!(meetings["meetings"][0]["subject"], "Plans");
    let registered = server.get("/api/v1/registrations").body;
    assert!(
        registered.contains(&format!("sip:desk@{}", desk.me)),
        "{registered}"
    );
    let eve = Phone::new(address, "eve");
    let gone = eve.call(&format!("sip:over@{address}"), &eve.offer());
    assert_eq!(gone.status(), 410, "an ended name stays held");
}

fn who_calls_again_is_in_the_same_meeting(
    server: &Server,
    ann: &Phone,
    ann_voice: &Voice,
    answer: &Sip,
    token: &str,
) {
    let address = server.sip;
    // Ann's phone refreshes its session, learns that the dialog is gone, and calls again.
    let sdp = pcmu("127.0.0.1", ann_voice.address.port());
    let target = answer.uri_of("Contact");
    let refresh = ann.request("INVITE", &target, answer.header("To").unwrap(), 2, "", &sdp);
    assert_eq!(ann.ask(&refresh).status(), 481);
    let ann = Phone::new(address, "ann");
    let answer = ann.call(&format!("sip:blue@{address}"), &sdp);
    assert_eq!(answer.status(), 200);
    ann_voice.send_to(answer.media_port());
    let (_carl, carl_voice, _) = join(server, "carl", "blue", 2000.0);
    assert!(
        carl_voice.wait_tone(500.0, true, HEARD),
        "carl hears ann in the old meeting"
    );
    let bearer = format!("Bearer {token}");
    let ended = server.request(
        "DELETE",
        "/api/v1/meetings/blue",
        &[("Authorization", &bearer)],
        "",
    );
    assert!(ended.status < 300, "the old token counts: {}", ended.body);
    let bye = ann.expect("BYE", None, |m| m.method() == "BYE");
    ann.ok(&bye);
}

/// Another process holds the database: calls are set up, heard and ended, the trouble is told, nothing is lost.
#[test]
fn a_locked_database_stops_no_call() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    assert_eq!(health(&server), "ok");
    let other = rusqlite::Connection::open(data.path().join("meet.sqlite3")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (ann, _ann_voice, answer) = join(&server, "ann", "blue", 500.0);
    let (_bob, bob_voice, _) = join(&server, "bob", "blue", 1000.0);
    assert!(bob_voice.wait_tone(500.0, true, HEARD), "bob hears ann");
    assert_eq!(ann.bye(&answer, 2).status(), 200);
    server.wait_metric("meet_store_waiting", |waiting| waiting >= 3.0);
    assert_eq!(health(&server), "degraded");
    other.execute_batch("COMMIT").unwrap();
    server.wait_metric("meet_store_waiting", |waiting| waiting == 0.0);
    assert_eq!(server.metric("meet_store_lost_total"), 0.0);
    assert_eq!(health(&server), "ok");
    let log = server.get("/api/v1/events").body;
    assert!(
        log.contains("person-joined") && log.contains("person-left"),
        "{log}"
    );
}

/// The disk takes no more: the system refuses writes beyond a file size. Calls go on; with room again all is written.
#[test]
fn a_full_disk_stops_no_call() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let pid = Pid::from_raw(i32::try_from(server.child.id()).unwrap());
    let limit = |bytes| Rlimit {
        current: bytes,
        maximum: None,
    };
    // What is written already counts: nothing may grow.
    prlimit(pid, Resource::Fsize, limit(Some(4096))).unwrap();
    let (ann, _ann_voice, answer) = join(&server, "ann", "blue", 500.0);
    let (_bob, bob_voice, _) = join(&server, "bob", "blue", 1000.0);
    assert!(bob_voice.wait_tone(500.0, true, HEARD), "bob hears ann");
    assert_eq!(ann.bye(&answer, 2).status(), 200);
    server.wait_metric("meet_store_waiting", |waiting| waiting >= 3.0);
    assert_eq!(health(&server), "degraded");
    prlimit(pid, Resource::Fsize, limit(None)).unwrap();
    server.wait_metric("meet_store_waiting", |waiting| waiting == 0.0);
    assert_eq!(server.metric("meet_store_lost_total"), 0.0);
    let log = server.get("/api/v1/events").body;
    assert!(
        log.contains("person-joined") && log.contains("person-left"),
        "{log}"
    );
}
