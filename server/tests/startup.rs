//! Starting, refusing to start, and the small commands, as a user meets them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use std::io::Write;
use std::process::Stdio;
use support::{Server, command, run, stderr};

#[test]
fn the_ready_line_names_both_addresses() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    assert_eq!(
        server.ready,
        format!("ready sip={} http={}", server.sip, server.http)
    );
    assert_ne!(server.sip.port(), 0);
    assert_ne!(server.http.port(), 0);
}

#[test]
fn http_can_be_off_and_follows_listen() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let server = Server::start(&["--lan", "--listen", "[::1]:0", "--data-dir", dir]);
    assert!(server.http.is_ipv6() && server.sip.is_ipv6(), "{}", server.ready);
}

#[test]
fn a_wrong_key_names_file_and_line() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("server.toml");
    std::fs::write(&file, "lan = true\n[media]\nshards = 1\nspeed = 9\n").unwrap();
    let output = run(&["--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.contains("server.toml:4:1") && text.contains("speed"),
        "{text}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn a_missing_file_and_a_wrong_flag_are_told() {
    let output = run(&["--config", "/nowhere/x.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nowhere/x.toml"));
    assert_eq!(run(&["--listen", "nowhere"]).status.code(), Some(2));
}

#[test]
fn a_port_in_use_is_told_with_the_way_out() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let other = tempfile::tempdir().unwrap();
    let (sip, http, dir) = (
        server.sip.to_string(),
        server.http.to_string(),
        other.path().to_str().unwrap(),
    );
    let output = run(&[
        "--lan",
        "--listen",
        &sip,
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        dir,
    ]);
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    assert!(
        text.contains(&sip) && text.contains("choose another port"),
        "{text}"
    );
    let output = run(&[
        "--lan",
        "--listen",
        "127.0.0.1:0",
        "--http",
        &http,
        "--data-dir",
        dir,
    ]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("HTTP"));
}

#[test]
fn a_data_folder_that_cannot_be_used_is_told() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let output = run(&[
        "--lan",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        file.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("--data-dir"));
    let server = Server::lan(data.path());
    let dir = data.path().to_str().unwrap();
    let output = run(&["--lan", "--listen", "127.0.0.1:0", "--data-dir", dir]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("another meet-server"),
        "{}",
        stderr(&output)
    );
    drop(server);
}

#[test]
fn config_prints_what_is_in_force_and_hides_tokens() {
    let mut asked = command(&["--listen", "127.0.0.1:5070", "config"]);
    asked
        .env("MEET_MEETINGS_MAX_ROOMS", "7")
        .env("MEET_API_TOKENS", "0123456789abcdef");
    let output = asked.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("listen = [\"127.0.0.1:5070\"]"), "{text}");
    assert!(text.contains("max_rooms = 7"), "{text}");
    assert!(!text.contains("0123456789abcdef"), "{text}");
    let back: meet_server::config::Config = toml::from_str(&text).unwrap();
    assert_eq!(back.meetings.max_rooms, 7);
}

#[test]
fn users_are_added_listed_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let add = |name: &str, password: &str| {
        let args = ["--data-dir", dir, "user", "add", name, "--password-stdin"];
        let mut child = command(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        match stdin.write_all(format!("{password}\n").as_bytes()) {
            // A name that cannot be is refused before the password is read.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written.unwrap(),
        }
        drop(stdin);
        child.wait_with_output().unwrap()
    };
    assert!(add("bob", "secret").status.success());
    assert!(add("alice", "secret").status.success());
    let empty = add("carol", "");
    assert_eq!(empty.status.code(), Some(2));
    assert_eq!(add("a b", "x").status.code(), Some(2));
    let list = run(&["--data-dir", dir, "user", "list"]);
    assert_eq!(String::from_utf8(list.stdout).unwrap(), "alice\nbob\n");
    assert!(
        run(&["--data-dir", dir, "user", "remove", "bob"])
            .status
            .success()
    );
    let gone = run(&["--data-dir", dir, "user", "remove", "bob"]);
    assert_eq!(gone.status.code(), Some(2));
    assert!(stderr(&gone).contains("no account `bob`"));
    // Only hashes are kept.
    for entry in std::fs::read_dir(data.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"secret"));
    }
}

#[test]
fn version_and_help_answer() {
    let output = run(&["--version"]);
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("meet-server 0.")
    );
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(
        help.contains("Examples:") && help.contains("Exit codes:"),
        "{help}"
    );
}
