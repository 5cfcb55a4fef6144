//! Overload over real sockets, by a limit so small that two calls reach it: nothing here depends on time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use std::path::Path;
use std::time::Instant;
use support::{PATIENCE, Phone, Server, Sip};

fn server(data: &Path, overload: &str) -> Server {
    let config = data.join("overload.toml");
    std::fs::write(&config, format!("[overload]\n{overload}\n")).unwrap();
    Server::with(data, &["--config", config.to_str().unwrap()])
}

fn call(server: &Server, name: &str, room: &str) -> (Phone, Sip) {
    let phone = Phone::new(server.sip, name);
    let answer = phone.call(&format!("sip:{room}@{}", server.sip), &phone.offer());
    (phone, answer)
}

fn within(phone: &Phone, answer: &Sip, method: &str, cseq: u32, body: &str) -> Sip {
    let to = answer.header("To").unwrap();
    phone.ask(&phone.request(method, &answer.uri_of("Contact"), to, cseq, "", body))
}

fn refused(answer: &Sip) {
    assert_eq!(answer.status(), 503, "{answer:?}");
    let seconds: u32 = answer.header("Retry-After").unwrap().parse().unwrap();
    assert!((5..=10).contains(&seconds), "{seconds}");
}

#[test]
fn a_full_house_refuses_new_calls_and_serves_those_that_are_up() {
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path(), "max_calls = 2");
    let (ann, up) = call(&server, "ann", "blue");
    let (bob, second) = call(&server, "bob", "green");
    assert_eq!((up.status(), second.status()), (200, 200));
    refused(&call(&server, "eve", "blue").1);
    server.wait_metric("meet_overload_refused_total{cause=\"calls\"}", |refused| {
        refused >= 1.0
    });
    // Within the calls everything goes on: a question, a new offer, the end.
    assert_eq!(within(&ann, &up, "OPTIONS", 2, "").status(), 200);
    assert_eq!(within(&ann, &up, "UPDATE", 3, &bob.offer()).status(), 200);
    let uri = format!("sip:{}", server.sip);
    let fay = Phone::new(server.sip, "fay");
    assert_eq!(
        fay.ask(&fay.request("OPTIONS", &uri, &format!("<{uri}>"), 1, "", ""))
            .status(),
        200
    );
    assert_eq!(bob.bye(&second, 2).status(), 200);
    // The 200 to the BYE comes before the room has let go, so the place may be free a moment later.
    let deadline = Instant::now() + PATIENCE;
    while call(&server, "gil", "blue").1.status() != 200 {
        assert!(Instant::now() < deadline, "no place after a BYE");
    }
    assert_eq!(ann.bye(&up, 4).status(), 200);
}

#[test]
fn a_burst_gets_what_a_second_allows() {
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path(), "calls_per_second = 1");
    let (ann, up) = call(&server, "ann", "blue");
    assert_eq!(up.status(), 200);
    let deadline = Instant::now() + PATIENCE;
    // Two calls in one second: one of them comes too early, however slow this machine is.
    let mut number = 0;
    loop {
        let phones: Vec<(Phone, String)> = (0..4)
            .map(|_| {
                number += 1;
                let phone = Phone::new(server.sip, &format!("p{number}"));
                let uri = format!("sip:blue@{}", server.sip);
                let invite = phone.request("INVITE", &uri, &format!("<{uri}>"), 1, "", &phone.offer());
                phone.send(&invite);
                (phone, invite)
            })
            .collect();
        let answers: Vec<Sip> = phones.iter().map(|(phone, invite)| phone.ask(invite)).collect();
        if let Some(no) = answers.iter().find(|answer| answer.status() != 200) {
            refused(no);
            break;
        }
        assert!(Instant::now() < deadline, "nobody is refused");
    }
    assert_eq!(ann.bye(&up, 2).status(), 200);
}
