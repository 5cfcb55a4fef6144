//! A meeting's life over real sockets: create, list, join, leave, cancel, end when empty, several at once, vanish.
//!
//! The people are `meet --headless --json` and sipp; what they were told is read from their own events.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use workshop::probe::Probe;
use workshop::process::{Process, wait_for};
use workshop::scenario::{Scenario, sdp};
use workshop::server::{Server, program};
use workshop::sipp::Sipp;

const PATIENCE: Duration = Duration::from_secs(30);

fn start(folder: &Path, settings: &[(&str, &str)]) -> Server {
    Server::start_lan_at("127.0.0.1:0", &folder.join("data"), &[], settings).unwrap()
}

fn meet(folder: &Path, server: &Server, arguments: &[&str]) -> Process {
    let mut command = Command::new(program("meet"));
    command
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .args(["--json", "--server", &server.sip.to_string()])
        .args(arguments);
    Process::start(command).unwrap()
}

/// A person in a meeting, headless, sending a tone.
fn person(folder: &Path, server: &Server, verb: &str, room: &str, name: &str) -> Process {
    let person = meet(
        folder,
        server,
        &[
            verb,
            room,
            "--name",
            name,
            "--headless",
            "--mic",
            "tone:600",
            "--speaker",
            "none",
        ],
    );
    person.wait_line("\"event\":\"joined\"", PATIENCE).unwrap();
    person
}

fn events(process: &Process, kind: &str) -> Vec<Value> {
    let lines = process.output();
    let parsed = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(|event| event["event"] == kind).collect()
}

/// Waits until the roster that this person was last told holds exactly these names.
fn wait_people(process: &Process, names: &[&str]) {
    let latest = || -> Vec<String> {
        let people = events(process, "people").pop().unwrap_or_default();
        let mut names: Vec<String> = people["people"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|p| p["name"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        names
    };
    let there = wait_for(PATIENCE, || (latest() == names).then_some(()));
    assert!(
        there.is_some(),
        "roster {:?}, not {names:?}\n{}",
        latest(),
        process.output()
    );
}

fn meetings(server: &Server) -> String {
    server.get("/api/v1/meetings").unwrap().to_string()
}

fn wait_meeting(server: &Server, name: &str, present: bool) {
    let wanted = format!("\"name\":\"{name}\"");
    let ok = wait_for(PATIENCE, || {
        (meetings(server).contains(&wanted) == present).then_some(())
    });
    assert!(ok.is_some(), "{name} present: {present}? {}", meetings(server));
}

/// Calls `room` once by sipp and expects this final answer (a refusal).
fn refused(folder: &Path, server: &Server, room: &str, status: u16) -> Result<(), String> {
    let probe = Probe::start(Ipv4Addr::LOCALHOST.into(), 500.0).unwrap();
    let scenario = Scenario::new("late")
        .invite(&sdp("127.0.0.1", probe.address.port(), "sendrecv", 1))
        .expect(status, &[])
        .ack_failure();
    Sipp::start(folder, "refused", &scenario.xml(), server.sip, room, &[])
        .unwrap()
        .finish(PATIENCE)
        .map_err(|e| e.to_string())
}

#[test]
fn create_by_the_factory_uri_and_list() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    assert!(!meetings(&server).contains("\"name\""), "{}", meetings(&server));
    let probe = Probe::start(Ipv4Addr::LOCALHOST.into(), 500.0).unwrap();
    let scenario = Scenario::new("ann")
        .invite(&sdp("127.0.0.1", probe.address.port(), "sendrecv", 1))
        .expect(
            200,
            &[
                "Contact:.*isfocus",
                "Call-Info:.*purpose=meet-api.*token=[0-9a-f]{32}",
            ],
        )
        .ack(None)
        .talk_until_told()
        .bye();
    let mut call = Sipp::start(folder.path(), "ann", &scenario.xml(), server.sip, "create", &[]).unwrap();
    let listed = wait_for(PATIENCE, || {
        Some(meetings(&server)).filter(|m| m.contains("\"participants\":1"))
    });
    assert!(listed.is_some(), "{}", meetings(&server));
    let mut list = meet(folder.path(), &server, &["list"]);
    assert!(list.wait_exit(PATIENCE).unwrap().success());
    assert_eq!(events(&list, "meeting").len(), 1, "{}", list.output());
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
}

#[test]
fn create_join_leave_and_cancel_with_meet() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[("MEET_MEETINGS_ENDED_HOLD_SECONDS", "4")]);
    let mut ann = person(folder.path(), &server, "create", "plan", "Ann");
    let created = events(&ann, "created").pop().unwrap();
    assert!(
        created["token"].as_str().is_some_and(|t| t.len() == 32),
        "{created}"
    );
    wait_meeting(&server, "plan", true);
    let mut ben = person(folder.path(), &server, "join", "plan", "Ben");
    let mut twin = person(folder.path(), &server, "join", "plan", "Ben");
    wait_people(&ann, &["Ann", "Ben", "Ben (2)"]);

    // Leaving disturbs nobody.
    twin.signal(Signal::SIGTERM);
    assert!(twin.wait_exit(PATIENCE).unwrap().success(), "{}", twin.output());
    wait_people(&ann, &["Ann", "Ben"]);
    assert!(ben.is_running() && events(&ben, "ended").is_empty());

    // A stranger cannot end it, the creator can.
    let mut stranger = meet(
        folder.path(),
        &server,
        &["cancel", "plan", "--token", "00112233445566778899aabbccddeeff"],
    );
    assert!(
        !stranger.wait_exit(PATIENCE).unwrap().success(),
        "{}",
        stranger.output()
    );
    wait_meeting(&server, "plan", true);
    let mut cancel = meet(folder.path(), &server, &["cancel", "plan"]);
    assert!(
        cancel.wait_exit(PATIENCE).unwrap().success(),
        "{}",
        cancel.output()
    );
    for person in [&mut ann, &mut ben] {
        person.wait_exit(PATIENCE).unwrap();
        let ended = events(person, "ended").pop().unwrap_or_default();
        assert_eq!(ended["cause"], 410, "{}", person.output());
    }
    wait_meeting(&server, "plan", false);
    refused(folder.path(), &server, "plan", 410).unwrap();
    // After the hold the name is free; with --lan the next INVITE makes it anew.
    let free = wait_for(PATIENCE, || {
        refused(folder.path(), &server, "plan", 410)
            .is_err()
            .then_some(())
    });
    assert!(free.is_some(), "still 410 after the hold");
    person(folder.path(), &server, "join", "plan", "Ann");
}

#[test]
fn everybody_gets_a_bye_with_a_reason_when_the_creator_dials_the_end_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let sipp_leg = |name: &str| {
        Probe::start(Ipv4Addr::LOCALHOST.into(), 1000.0)
            .map(|p| (name.to_owned(), p))
            .unwrap()
    };
    let (dan, cat) = (sipp_leg("dan"), sipp_leg("cat"));
    let info = "Content-Type: application/dtmf-relay\n";
    let digit = |d: char| format!("Signal={d}\nDuration=160\n");
    let invite = |(name, probe): &(String, Probe)| {
        Scenario::new(name)
            .invite(&sdp("127.0.0.1", probe.address.port(), "sendrecv", 1))
            .expect(200, &[])
            .ack(None)
    };
    let reason = ["Reason: SIP.*cause=410"];
    let guest = invite(&cat)
        .in_dialog("INFO", info, Some(&digit('*')))
        .expect_only(200)
        .await_request("BYE", &reason);
    let creator = invite(&dan)
        .talk_until_told()
        .in_dialog("INFO", info, Some(&digit('*')))
        .expect_only(200)
        .in_dialog("INFO", info, Some(&digit('0')))
        .expect_only(200)
        .in_dialog("INFO", info, Some(&digit('#')))
        .expect_only(200)
        .await_request("BYE", &reason);
    let mut first = Sipp::start(folder.path(), "dan", &creator.xml(), server.sip, "code", &[]).unwrap();
    wait_meeting(&server, "code", true);
    let second = Sipp::start(folder.path(), "cat", &guest.xml(), server.sip, "code", &[]).unwrap();
    let both = || meetings(&server).contains("\"participants\":2").then_some(());
    assert!(wait_for(PATIENCE, both).is_some(), "{}", meetings(&server));
    first.go_on(PATIENCE).unwrap();
    first.finish(PATIENCE).unwrap();
    second.finish(PATIENCE).unwrap();
    wait_meeting(&server, "code", false);
}

#[test]
fn a_meeting_ends_by_itself_and_its_name_is_free_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[("MEET_MEETINGS_EMPTY_GRACE_SECONDS", "1")]);
    let mut ann = person(folder.path(), &server, "join", "short", "Ann");
    wait_meeting(&server, "short", true);
    ann.signal(Signal::SIGTERM);
    assert!(ann.wait_exit(PATIENCE).unwrap().success());
    wait_meeting(&server, "short", false);
    let ben = person(folder.path(), &server, "join", "short", "Ben");
    wait_people(&ben, &["Ben"]);
}

#[test]
fn several_meetings_at_once_know_nothing_of_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let rooms = ["one", "two", "three"];
    let people: Vec<[Process; 2]> = rooms
        .iter()
        .map(|room| {
            ["Ann", "Ben"]
                .map(|name| person(folder.path(), &server, "join", room, &format!("{name} of {room}")))
        })
        .collect();
    for (room, pair) in rooms.iter().zip(&people) {
        for process in pair {
            wait_people(process, &[&format!("Ann of {room}"), &format!("Ben of {room}")]);
        }
        wait_meeting(&server, room, true);
    }
}

#[test]
fn a_peer_that_vanishes_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[("MEET_MEETINGS_VANISH_SECONDS", "2")]);
    let ann = person(folder.path(), &server, "join", "gone", "Ann");
    let ben = person(folder.path(), &server, "join", "gone", "Ben");
    wait_people(&ann, &["Ann", "Ben"]);
    ben.signal(Signal::SIGKILL);
    wait_people(&ann, &["Ann"]);
}

#[test]
fn a_call_is_cancelled_before_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(
        folder.path(),
        &[
            ("MEET_MEETINGS_RING_MILLISECONDS", "3000"),
            ("MEET_MEETINGS_EMPTY_GRACE_SECONDS", "1"),
        ],
    );
    let cat = Probe::start(Ipv4Addr::LOCALHOST.into(), 1000.0).unwrap();
    let scenario = Scenario::new("cat")
        .invite(&sdp("127.0.0.1", cat.address.port(), "sendrecv", 1))
        .ring()
        .cancel()
        .expect_only(200)
        .expect_only(487)
        .ack_failure();
    let call = Sipp::start(folder.path(), "cat", &scenario.xml(), server.sip, "never", &[]).unwrap();
    call.finish(PATIENCE).unwrap();
    wait_meeting(&server, "never", false);
    assert_eq!(cat.received(), 0, "no media before an answer");
}
