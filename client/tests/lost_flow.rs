//! A registration whose TCP connection breaks is made again on a new one (RFC 5626 §4.5).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod peer;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use peer::{Meet, PATIENCE};

/// Reads one request and gives its lines.
fn request(stream: &TcpStream) -> Vec<String> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.take_while(|line| !line.is_empty()).collect()
}

/// Grants a registration with what its request says.
fn grant(mut stream: &TcpStream, request: &[String]) {
    let kept = ["via:", "from:", "to:", "call-id:", "cseq:", "contact:"];
    let mut answer = String::from("SIP/2.0 200 OK\r\nExpires: 600\r\nContent-Length: 0\r\n");
    for line in request {
        if kept.iter().any(|name| line.to_lowercase().starts_with(name)) {
            answer += &format!("{line}\r\n");
        }
    }
    stream.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
}

#[test]
fn a_broken_connection_is_registered_again() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let (sender, connections) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if sender.send(stream).is_err() {
                return;
            }
        }
    });
    let arguments = [
        "--server",
        &server,
        "--transport",
        "tcp",
        "register",
        "--mic",
        "none",
        "--speaker",
        "none",
    ];
    let mut meet = Meet::start(
        folder.path(),
        &arguments,
        &[("MEET_USER", "ann"), ("MEET_PASSWORD", "x")],
    );
    let first = connections.recv_timeout(PATIENCE).expect("a connection");
    let asked = request(&first);
    assert!(asked[0].starts_with("REGISTER "), "{asked:?}");
    grant(&first, &asked);
    meet.event("registered");
    drop(first);
    let second = connections.recv_timeout(PATIENCE).expect("another connection");
    let again = request(&second);
    assert!(again[0].starts_with("REGISTER "), "{again:?}");
    grant(&second, &again);
    meet.event("registered");
}
