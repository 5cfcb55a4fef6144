//! Accounts over real sockets: digest, registrations, the factory, and what a stranger gets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use sip_proto::digest::{Credentials, authorize};
use sip_proto::headers::Challenge;
use sip_proto::message::Method;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Phone, Server, Sip, command, value_of};

const TOKEN: &str = "0123456789abcdef";

fn add_user(data: &Path, name: &str, password: &str) {
    let args = [
        "--data-dir",
        data.to_str().unwrap(),
        "user",
        "add",
        name,
        "--password-stdin",
    ];
    let mut child = command(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(format!("{password}\n").as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

fn start(data: &Path) -> Server {
    start_with(data, "")
}

fn start_with(data: &Path, more: &str) -> Server {
    let file = data.join("server.toml");
    let text = format!("[api]\ntokens = [\"{TOKEN}\"]\n[sip]\nalgorithms = [\"SHA-256\", \"MD5\"]\n{more}");
    std::fs::write(&file, text).unwrap();
    let args = [
        "--config",
        file.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ];
    Server::start(&[&args[..], &["--data-dir", data.to_str().unwrap()]].concat())
}

/// Asks without, then with credentials for the challenge of that algorithm.
fn ask(
    phone: &Phone,
    method: &str,
    uri: &str,
    to: &str,
    cseq: u32,
    who: (&str, &str, &str),
    body: &str,
) -> Sip {
    let (user, password, algorithm) = who;
    let first = phone.ask(&phone.request(method, uri, to, cseq, "", body));
    assert_eq!(first.status(), 401, "{first:?}");
    if method == "INVITE" {
        phone.send(&phone.request("ACK", uri, first.header("To").unwrap(), cseq, "", ""));
    }
    let challenge: Challenge = first
        .0
        .lines()
        .filter_map(|line| line.strip_prefix("WWW-Authenticate: "))
        .find(|value| value.contains(&format!("algorithm={algorithm},")))
        .unwrap()
        .parse()
        .unwrap();
    let credentials = Credentials {
        realm: None,
        user: user.into(),
        password: password.into(),
    };
    let asked = Method::parse(method);
    let answer = authorize(
        &challenge,
        &credentials,
        &asked,
        &uri.parse().unwrap(),
        "c0ffee",
        1,
    );
    let more = format!("Authorization: {answer}\r\n");
    phone.ask(&phone.request(method, uri, to, cseq + 1, &more, body))
}

#[test]
fn a_call_needs_an_account_and_the_factory_makes_a_room() {
    let data = tempfile::tempdir().unwrap();
    add_user(data.path(), "ann", "secret");
    let server = start(data.path());
    let uri = format!("sip:create@{}", server.sip);
    // With accounts media is protected unless the configuration says otherwise.
    let phone = Phone::new(server.sip, "ann");
    let (to, clear) = (format!("<{uri}>"), phone.offer());
    let who = ("ann", "secret", "SHA-256");
    let answer = ask(&phone, "INVITE", &uri, &to, 1, who, &clear);
    assert_eq!(answer.status(), 488, "{answer:?}");
    assert!(answer.header("Warning").unwrap().contains("SRTP"), "{answer:?}");
    let key = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw";
    let offer = format!("{clear}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n");
    for algorithm in ["SHA-256", "MD5"] {
        let phone = Phone::new(server.sip, "ann");
        let answer = ask(
            &phone,
            "INVITE",
            &uri,
            &to,
            1,
            ("ann", "secret", algorithm),
            &offer,
        );
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(answer.0.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"));
        assert!(
            answer.header("Contact").unwrap().contains(";isfocus"),
            "{answer:?}"
        );
        phone.send(&phone.request(
            "ACK",
            &answer.uri_of("Contact"),
            answer.header("To").unwrap(),
            2,
            "",
            "",
        ));
        assert_eq!(phone.bye(&answer, 3).status(), 200);
    }
    for (user, password) in [("ann", "wrong"), ("nobody", "secret")] {
        let phone = Phone::new(server.sip, "ann");
        let answer = ask(
            &phone,
            "INVITE",
            &uri,
            &to,
            1,
            (user, password, "SHA-256"),
            &offer,
        );
        assert!([401, 403].contains(&answer.status()), "{user}: {answer:?}");
    }
    // An account added while the server runs is good at once.
    add_user(data.path(), "bob", "other");
    let phone = Phone::new(server.sip, "bob");
    let answer = ask(
        &phone,
        "INVITE",
        &uri,
        &to,
        1,
        ("bob", "other", "SHA-256"),
        &offer,
    );
    assert_eq!(answer.status(), 200, "{answer:?}");
}

#[test]
fn registrations_are_listed_and_survive_a_kill() {
    let data = tempfile::tempdir().unwrap();
    add_user(data.path(), "ann", "secret");
    let mut server = start(data.path());
    let phone = Phone::new(server.sip, "ann");
    let (uri, to) = (format!("sip:{}", server.sip), format!("<sip:ann@{}>", server.sip));
    let answer = ask(&phone, "REGISTER", &uri, &to, 1, ("ann", "secret", "SHA-256"), "");
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(
        answer.header("Contact").unwrap().contains("expires="),
        "{answer:?}"
    );
    let bearer = format!("Bearer {TOKEN}");
    let listed = |server: &Server| {
        server
            .request("GET", "/api/v1/registrations", &[("Authorization", &bearer)], "")
            .json()["registrations"]
            .clone()
    };
    let before = listed(&server);
    assert!(
        before[0]["contact"]
            .as_str()
            .unwrap()
            .contains(&phone.me.to_string()),
        "{before}"
    );
    // The store is asked for something behind the write, so the write is done.
    assert_eq!(
        server
            .request("GET", "/api/v1/events", &[("Authorization", &bearer)], "")
            .status,
        200
    );
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    drop(server);
    let server = start(data.path());
    let after = listed(&server);
    assert_eq!(after[0]["contact"], before[0]["contact"]);
    assert!(after[0]["expires_seconds"].as_u64().unwrap() > 3000, "{after}");
}

fn protected(clear: &str) -> String {
    let key = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw";
    format!("{clear}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n")
}

fn dropped_for_a_ban(server: &Server) -> f64 {
    let bearer = format!("Bearer {TOKEN}");
    let text = server
        .request("GET", "/metrics", &[("Authorization", &bearer)], "")
        .body;
    value_of(&text, "meet_sip_shielded_total{cause=\"banned\"}")
}

/// Sends until the server counts it as dropped for a ban; what comes back must not be an answer to it.
fn must_be_dropped(server: &Server, phone: &Phone, text: &str) {
    let before = dropped_for_a_ban(server);
    let cseq = Sip(text.to_owned()).header("CSeq").unwrap().to_owned();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut buffer = [0; 65_536];
    while dropped_for_a_ban(server) == before {
        assert!(Instant::now() < deadline, "still answered: {text}");
        phone.send(text);
        if let Ok((length, _)) = phone.socket.recv_from(&mut buffer) {
            let answer = Sip(String::from_utf8_lossy(&buffer[..length]).into_owned());
            assert_ne!(answer.header("CSeq"), Some(cseq.as_str()), "{answer:?}");
        }
    }
}

/// A Call-ID is worth nothing before the password is right: who guesses under one is banned like anybody. It is not
/// worth more when it is a call's: a new request under it is a new request. The call itself goes on from anywhere.
#[test]
fn no_call_id_hides_a_guesser() {
    let data = tempfile::tempdir().unwrap();
    add_user(data.path(), "ann", "secret");
    let server = start_with(data.path(), "[protection]\nwrong_passwords = 3\n");
    let uri = format!("sip:create@{}", server.sip);
    let to = format!("<{uri}>");
    let mut ann = Phone::new(server.sip, "ann");
    let who = ("ann", "secret", "SHA-256");
    let answer = ask(&ann, "INVITE", &uri, &to, 1, who, &protected(&ann.offer()));
    assert_eq!(answer.status(), 200, "{answer:?}");
    let room = answer.uri_of("Contact");
    ann.send(&ann.request("ACK", &room, answer.header("To").unwrap(), 2, "", ""));

    let mut mallory = Phone::new(server.sip, "mallory");
    for guess in 0..4 {
        let who = ("ann", "guess", "SHA-256");
        let answer = ask(&mallory, "INVITE", &uri, &to, 1 + 2 * guess, who, "");
        assert_eq!(answer.status(), 403, "{answer:?}");
    }
    must_be_dropped(
        &server,
        &mallory,
        &mallory.request("INVITE", &uri, &to, 11, "", ""),
    );
    mallory.call_id.clone_from(&ann.call_id);
    must_be_dropped(
        &server,
        &mallory,
        &mallory.request("INVITE", &uri, &to, 13, "", ""),
    );

    // The ban is on her address too, and this port proved nothing: the call has moved there.
    ann.socket = Phone::new(server.sip, "ann").socket;
    assert_eq!(ann.bye(&answer, 3).status(), 200);
}
