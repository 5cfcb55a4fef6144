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
use support::{PATIENCE, Phone, Server, Sip};

/// RFC 3261 §17.1.2.1: a BYE goes out at 0, 0.5, 1.5, 3.5 and 7.5 s; the server promises to be gone after 5.
const BYES_BEFORE_THE_END: usize = 4;

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

/// Copies of a BYE that came and were not looked at. To be asked when the server is gone.
fn byes_since(phone: &Phone) -> usize {
    phone.socket.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; 65536];
    let mut byes = 0;
    while let Ok((length, _)) = phone.socket.recv_from(&mut buffer) {
        byes += usize::from(buffer[..length].starts_with(b"BYE "));
    }
    byes
}

#[test]
fn the_end_says_goodbye_and_waits_for_no_more_than_the_answer() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::lan(data.path());
    let phone = Phone::new(server.sip, "ann");
    let answer = phone.call(&format!("sip:room@{}", server.sip), &phone.offer());
    assert_eq!(answer.status(), 200, "{answer:?}");
    server.until("/api/v1/meetings", |list| {
        list["meetings"][0]["participants"] == 1
    });
    server.signal(Signal::SIGTERM);
    let bye = phone.expect("BYE", None, |m| m.method() == "BYE");
    assert!(bye.header("Reason").is_some(), "{bye:?}");
    phone.ok(&bye);
    let status = server.wait(PATIENCE).expect("still running");
    assert_eq!(status.code(), Some(0));
    // Its other end is that its time is up.
    server.wait_log(|line| line.contains("all said goodbye") && !line.contains("not all"));
}

/// RFC 3261 §15: before the ACK of its 200 the server may not send a BYE, and its end does not forget that.
#[test]
fn the_end_waits_for_the_ack_of_a_call_that_was_just_taken() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::lan(data.path());
    let phone = Phone::new(server.sip, "ann");
    let uri = format!("sip:room@{}", server.sip);
    let answer = phone.ask(&phone.request("INVITE", &uri, &format!("<{uri}>"), 1, "", &phone.offer()));
    assert_eq!(answer.status(), 200, "{answer:?}");
    server.signal(Signal::SIGTERM);
    server.wait_log(|line| line.contains("no new calls"));
    let to = answer.header("To").unwrap();
    phone.send(&phone.request("ACK", &answer.uri_of("Contact"), to, 1, "", ""));
    let bye = phone.expect("BYE", None, |m| m.method() == "BYE");
    phone.ok(&bye);
    let status = server.wait(PATIENCE).expect("still running");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_end_does_not_wait_for_the_deaf_and_a_second_signal_is_at_once() {
    let data = tempfile::tempdir().unwrap();
    for second in [false, true] {
        let mut server = Server::lan(data.path());
        let phone = Phone::new(server.sip, "deaf");
        let answer = phone.call(&format!("sip:room@{}", server.sip), &phone.offer());
        assert_eq!(answer.status(), 200);
        server.signal(Signal::SIGTERM);
        phone.expect("BYE", None, |m| m.method() == "BYE");
        if second {
            server.signal(Signal::SIGTERM);
        }
        let status = server.wait(PATIENCE).expect("still running");
        assert_eq!(status.code(), Some(i32::from(second)));
        let more = byes_since(&phone);
        if second {
            // One may have been under way.
            assert!(more <= 1, "{more} BYEs more: it was not at once");
            server.wait_log(|line| line.contains("ended at once"));
        } else {
            assert!(more < BYES_BEFORE_THE_END, "{more} BYEs more: nobody answered");
            server.wait_log(|line| line.contains("not all said goodbye") || line.contains("in time"));
        }
    }
}
