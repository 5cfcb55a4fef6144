//! SIP over UDP, TCP and IPv6 with bare sockets: answers, rubbish, the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use support::{PATIENCE, Phone, Server, Sip};

/// RFC 3261 §17.1.2.2: so long a BYE without an answer is repeated. An end that waits for that is over after it.
const TIMER_F: Duration = Duration::from_secs(32);

fn options(phone: &Phone, cseq: u32) -> Sip {
    let uri = format!("sip:{}", phone.server);
    phone.ask(&phone.request("OPTIONS", &uri, &format!("<{uri}>"), cseq, "", ""))
}

#[test]
fn options_over_udp_names_the_api() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let answer = options(&Phone::new(server.sip, "ann"), 1);
    assert_eq!(answer.status(), 200, "{answer:?}");
    let info = answer.header("Call-Info").unwrap();
    assert!(
        info.contains(&format!("http://{}", server.http)) && info.contains("purpose=meet-api"),
        "{info}"
    );
    assert!(answer.header("Allow").unwrap().contains("INVITE"));
    assert!(answer.header("Via").unwrap().contains("rport="));
}

#[test]
fn options_over_ipv6() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let server = Server::start(&[
        "--lan",
        "--listen",
        "[::1]:0",
        "--http",
        "[::1]:0",
        "--data-dir",
        dir,
    ]);
    assert_eq!(options(&Phone::new(server.sip, "ann"), 1).status(), 200);
}

#[test]
fn several_addresses_and_the_wildcard() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let args = [
        "--lan",
        "--listen",
        "0.0.0.0:0",
        "--listen",
        "[::1]:0",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        dir,
    ];
    let server = Server::start(&args);
    let there = format!("127.0.0.1:{}", server.sip.port()).parse().unwrap();
    let phone = Phone::new(there, "ann");
    assert_eq!(options(&phone, 1).status(), 200);
    // Behind the wildcard the SDP names what this caller can reach.
    let answer = phone.call(&format!("sip:w@{there}"), &phone.offer());
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.body().contains("c=IN IP4 127.0.0.1"), "{}", answer.body());
    assert!(answer.uri_of("Contact").contains("127.0.0.1"), "{answer:?}");
}

fn over_tcp(stream: &mut TcpStream, cseq: u32) -> Sip {
    let (me, to) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let text = format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/TCP {me};branch=z9hG4bKt{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:t@{me}>;tag=1\r\nTo: <sip:{to}>\r\nCall-ID: tcp-{me}\r\nCSeq: {cseq} OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    // In two pieces: a stream has no message borders.
    let (first, second) = text.as_bytes().split_at(40);
    stream.write_all(first).unwrap();
    stream.flush().unwrap();
    stream.write_all(second).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&got).contains("\r\n\r\n") {
        let length = stream.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "closed after {:?}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&buffer[..length]);
    }
    Sip(String::from_utf8(got).unwrap())
}

#[test]
fn options_over_tcp_twice_on_one_connection() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let mut stream = TcpStream::connect(server.sip).unwrap();
    assert_eq!(over_tcp(&mut stream, 1).status(), 200);
    assert_eq!(over_tcp(&mut stream, 2).status(), 200);
}

#[test]
fn rubbish_kills_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut seed = 1_u32;
    for size in [0_usize, 1, 2, 3, 4, 20, 100, 1000, 9000, 60_000] {
        let bytes: Vec<u8> = (0..size)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .collect();
        socket.send_to(&bytes, server.sip).unwrap();
        let mut stream = TcpStream::connect(server.sip).unwrap();
        drop(stream.write_all(&bytes));
    }
    for text in [
        "INVITE\r\n\r\n",
        "INVITE sip:x SIP/2.0\r\nVia: \r\n\r\n",
        "SIP/2.0 999 x\r\n\r\n",
        "\r\n\r\n\0\0",
    ] {
        socket.send_to(text.as_bytes(), server.sip).unwrap();
        TcpStream::connect(server.sip)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }
    let endless = "INVITE sip:x SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n";
    TcpStream::connect(server.sip)
        .unwrap()
        .write_all(endless.as_bytes())
        .unwrap();
    assert_eq!(options(&Phone::new(server.sip, "ann"), 1).status(), 200);
    assert_eq!(
        over_tcp(&mut TcpStream::connect(server.sip).unwrap(), 1).status(),
        200
    );
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn the_end_says_goodbye_and_keeps_its_time() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::lan(data.path());
    let phone = Phone::new(server.sip, "ann");
    let answer = phone.call(&format!("sip:room@{}", server.sip), &phone.offer());
    assert_eq!(answer.status(), 200, "{answer:?}");
    server.until("/api/v1/meetings", |list| {
        list["meetings"][0]["participants"] == 1
    });
    let asked = Instant::now();
    server.signal(Signal::SIGTERM);
    let bye = phone.expect("BYE", None, |m| m.method() == "BYE");
    assert!(bye.header("Reason").is_some(), "{bye:?}");
    phone.ok(&bye);
    let status = server.wait(PATIENCE).expect("still running");
    assert!(asked.elapsed() < TIMER_F, "took {:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_end_does_not_wait_for_the_deaf_and_a_second_signal_is_at_once() {
    let data = tempfile::tempdir().unwrap();
    for second in [false, true] {
        let mut server = Server::lan(data.path());
        let phone = Phone::new(server.sip, "deaf");
        assert_eq!(
            phone
                .call(&format!("sip:room@{}", server.sip), &phone.offer())
                .status(),
            200
        );
        let asked = Instant::now();
        server.signal(Signal::SIGTERM);
        if second {
            phone.expect("BYE", None, |m| m.method() == "BYE");
            server.signal(Signal::SIGTERM);
        }
        let status = server.wait(PATIENCE).expect("still running");
        assert!(asked.elapsed() < TIMER_F, "took {:?}", asked.elapsed());
        assert_eq!(status.code(), Some(i32::from(second)));
    }
}
