//! Before and beside the call: reliable ringing (RFC 3262), session timers (RFC 4028), Path (RFC 3327), STUN
//! keep-alives on the SIP port (RFC 5626), a roster too large for a datagram.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use support::{PATIENCE, Phone, Server, Sip};

/// A server in LAN mode with these lines in its configuration.
fn configured(data: &std::path::Path, lines: &str) -> Server {
    let file = data.join("meet.toml");
    std::fs::write(&file, lines).unwrap();
    Server::with(data, &["--config", file.to_str().unwrap()])
}

#[test]
fn whoever_requires_100rel_is_rung_reliably() {
    let data = tempfile::tempdir().unwrap();
    let server = configured(data.path(), "[meetings]\nring_milliseconds = 1500\n");
    let phone = Phone::new(server.sip, "ann");
    let uri = format!("sip:room@{}", server.sip);
    let more = "Require: 100rel\r\nSupported: 100rel\r\n";
    let invite = phone.request("INVITE", &uri, &format!("<{uri}>"), 1, more, &phone.offer());
    phone.send(&invite);
    let ringing = phone.expect("180", None, |m| m.status() == 180);
    assert_eq!(ringing.header("Require"), Some("100rel"), "{ringing:?}");
    let rseq: u32 = ringing.header("RSeq").unwrap().parse().unwrap();
    // Unacknowledged it comes again, the same one.
    let again = phone.expect("180 again", None, |m| m.status() == 180);
    assert_eq!(again.header("RSeq").unwrap().parse::<u32>().unwrap(), rseq);
    let (target, to) = (ringing.uri_of("Contact"), ringing.header("To").unwrap());
    let wrong = phone.request(
        "PRACK",
        &target,
        to,
        2,
        &format!("RAck: {} 1 INVITE\r\n", rseq + 1),
        "",
    );
    assert_eq!(phone.ask(&wrong).status(), 481);
    let right = phone.request("PRACK", &target, to, 3, &format!("RAck: {rseq} 1 INVITE\r\n"), "");
    assert_eq!(phone.ask(&right).status(), 200);
    let answer = phone.expect("200", None, |m| {
        m.status() == 200 && m.header("CSeq") == Some("1 INVITE")
    });
    phone.send(&phone.request("ACK", &target, to, 1, "", ""));
    assert_eq!(phone.bye(&answer, 4).status(), 200);
}

#[test]
fn session_timers_are_settled_and_too_short_ones_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = configured(
        data.path(),
        "[meetings]\nsession_expires_seconds = 600\nmin_session_expires_seconds = 120\n",
    );
    let uri = format!("sip:room@{}", server.sip);
    let call = |name: &str, more: &str| -> (Phone, Sip) {
        let phone = Phone::new(server.sip, name);
        let invite = phone.request("INVITE", &uri, &format!("<{uri}>"), 1, more, &phone.offer());
        let answer = phone.ask(&invite);
        let to = answer.header("To").unwrap().to_owned();
        phone.send(&phone.request("ACK", &uri, &to, 1, "", ""));
        (phone, answer)
    };
    let timer = "Supported: timer\r\n";
    let (_, short) = call("short", &format!("{timer}Session-Expires: 90\r\n"));
    assert_eq!((short.status(), short.header("Min-SE")), (422, Some("120")));
    let (_, plain) = call("plain", "");
    assert_eq!((plain.status(), plain.header("Session-Expires")), (200, None));
    let (phone, settled) = call("settled", &format!("{timer}Session-Expires: 1800\r\n"));
    assert_eq!(settled.header("Session-Expires"), Some("600;refresher=uac"));
    assert_eq!(settled.header("Require"), Some("timer"));
    // A refresh: the same interval, and no word about media.
    let target = settled.uri_of("Contact");
    let more = format!("{timer}Session-Expires: 600;refresher=uac\r\n");
    let update = phone.request("UPDATE", &target, settled.header("To").unwrap(), 2, &more, "");
    let refreshed = phone.ask(&update);
    assert_eq!((refreshed.status(), refreshed.body()), (200, ""));
    assert_eq!(refreshed.header("Session-Expires"), Some("600;refresher=uac"));
    assert_eq!(phone.bye(&settled, 3).status(), 200);
}

#[test]
fn a_register_through_a_proxy_gets_its_path_back() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let phone = Phone::new(server.sip, "ann");
    let uri = format!("sip:{}", server.sip);
    let aor = format!("<sip:ann@{}>", server.sip);
    let path = "<sip:edge.example.org;lr>";
    let more = format!("Supported: path\r\nPath: {path}\r\nExpires: 60\r\n");
    let answer = phone.ask(&phone.request("REGISTER", &uri, &aor, 1, &more, ""));
    assert_eq!(
        (answer.status(), answer.header("Path")),
        (200, Some(path)),
        "{answer:?}"
    );
    let broken = more.replace(path, "sip:[");
    let answer = phone.ask(&phone.request("REGISTER", &uri, &aor, 2, &broken, ""));
    assert_eq!(answer.status(), 400);
}

#[test]
fn stun_on_the_sip_port_tells_the_source() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend(b"transaction!");
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 200];
    let length = loop {
        assert!(Instant::now() < deadline, "no answer to STUN");
        socket.send_to(&request, server.sip).unwrap();
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            assert_eq!(from, server.sip);
            break length;
        }
    };
    assert_eq!(
        (length, &buffer[..4], &buffer[4..20]),
        (32, &[1, 1, 0, 12][..], &request[4..])
    );
    let port = u16::from_be_bytes([buffer[26], buffer[27]]) ^ 0x2112;
    assert_eq!(port, socket.local_addr().unwrap().port());
}

#[test]
fn a_roster_too_large_for_a_datagram_comes_by_tcp() {
    let data = tempfile::tempdir().unwrap();
    let server = configured(data.path(), "[sip]\nstream_above_bytes = 600\n");
    let room = format!("sip:room@{}", server.sip);
    // The watcher's phone takes TCP on the port of its Contact, which another program may have.
    let (watcher, listener) = (0..100)
        .find_map(|_| {
            let phone = Phone::new(server.sip, "watcher");
            TcpListener::bind(phone.me).ok().map(|listener| (phone, listener))
        })
        .unwrap();
    let answer = watcher.call(&room, &watcher.offer());
    assert_eq!(answer.status(), 200);
    let more = "Event: conference\r\nExpires: 600\r\n";
    let watching = Phone {
        call_id: format!("{}-watch", watcher.call_id),
        ..watcher
    };
    let subscribe = watching.request("SUBSCRIBE", &room, &format!("<{room}>"), 1, more, "");
    assert_eq!(watching.ask(&subscribe).status(), 200);
    let mut stream = accept(&listener);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&got).contains("</conference-info>") {
        let length = stream.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "closed after {:?}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&buffer[..length]);
    }
    let notify = String::from_utf8(got).unwrap();
    assert!(
        notify.starts_with("NOTIFY ") && notify.contains("Via: SIP/2.0/TCP "),
        "{notify}"
    );
}

/// The next connection.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(error) => assert!(Instant::now() < deadline, "nobody connects: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
