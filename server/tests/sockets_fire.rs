//! Attacks on a server with a call up: floods, forged messages, forged media, held connections. The call goes on.
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

use media::{Voice, share};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::{PATIENCE, Phone, Server, Sip, pcmu};

const HEARD: Duration = Duration::from_secs(8);
/// With less than this between its packets a source has surely not fallen silent (the server waits for 500 ms).
const STEADY: Duration = Duration::from_millis(400);
/// RFC 3261 §17.1.2.2: so long a client waits for the answer to a request.
const TIMER_F: Duration = Duration::from_secs(32);

struct Member {
    phone: Phone,
    voice: Voice,
    answer: Sip,
}

fn join(server: &Server, name: &str, hertz: f32) -> Member {
    let voice = Voice::start(server.sip.ip(), hertz);
    let phone = Phone::new(server.sip, name);
    let sdp = pcmu("127.0.0.1", voice.address.port());
    let answer = phone.call(&format!("sip:blue@{}", server.sip), &sdp);
    assert_eq!(answer.status(), 200, "{answer:?}");
    voice.send_to(answer.media_port());
    Member { phone, voice, answer }
}

/// Ann and Bob, who hear each other.
fn call(server: &Server) -> (Member, Member) {
    let (ann, bob) = (join(server, "ann", 500.0), join(server, "bob", 1000.0));
    assert!(ann.voice.wait_tone(1000.0, true, HEARD), "ann hears bob");
    assert!(bob.voice.wait_tone(500.0, true, HEARD), "bob hears ann");
    (ann, bob)
}

fn with_config(data: &Path, text: &str) -> Server {
    let file = data.join("server.toml");
    std::fs::write(&file, text).unwrap();
    let (file, folder) = (file.to_str().unwrap(), data.to_str().unwrap());
    Server::start(&[
        "--config",
        file,
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        folder,
    ])
}

fn people(server: &Server) -> usize {
    let answer = server.get("/api/v1/meetings/blue/participants").json();
    answer["participants"].as_array().unwrap().len()
}

fn stranger(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket
}

fn answers(socket: &UdpSocket) -> Vec<Sip> {
    let mut buffer = [0; 65_536];
    let mut all = Vec::new();
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        all.push(Sip(String::from_utf8_lossy(&buffer[..length]).into_owned()));
    }
    all
}

/// A BYE needs Call-ID and both tags of the dialog, which only its ends know.
#[test]
fn a_forged_bye_ends_no_call() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let (ann, bob) = call(&server);
    let mallory = stranger("127.0.0.7");
    let target = ann.answer.uri_of("Contact");
    let good = ann
        .phone
        .request("BYE", &target, ann.answer.header("To").unwrap(), 9, "", "");
    let (to, from) = (
        ann.answer.header("To").unwrap(),
        ann.answer.header("From").unwrap(),
    );
    let tag = |header: &str| header.split_once(";tag=").unwrap().1.to_owned();
    for forged in [
        good.replace(&tag(to), "guess"),
        good.replace(&format!(";tag={}", tag(to)), ""),
        good.replace(&tag(from), "guess"),
        good.replace(&ann.phone.call_id, "guess"),
        good.replace("BYE", "CANCEL"),
    ] {
        mallory.send_to(forged.as_bytes(), server.sip).unwrap();
        let answered = answers(&mallory);
        assert!(
            answered.iter().all(|a| a.status() == 481),
            "{forged}\n{answered:?}"
        );
    }
    assert_eq!(people(&server), 2);
    assert!(bob.voice.wait_tone(500.0, true, HEARD), "bob still hears ann");
    assert_eq!(
        ann.phone.bye(&ann.answer, 9).status(),
        200,
        "the true one ends it"
    );
}

/// Media from elsewhere is not heard and takes nothing away while the true source sends, whatever its SSRC, sequence
/// number and timestamp say.
#[test]
fn forged_media_is_not_heard() {
    // A machine that keeps Ann's phone from sending lets the server believe that she has moved: such a try says nothing.
    let judged = (0..10).any(|_| forge_media());
    assert!(judged, "ann's phone could never send steadily");
}

/// One try; false where the true source was not steady.
fn forge_media() -> bool {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let (ann, bob) = call(&server);
    let port = ann.answer.media_port();
    let mallory = Voice::start("127.0.0.1".parse().unwrap(), 2000.0);
    mallory.send_to(port);
    // A second one knows Ann's SSRC, and tries all sequence numbers around hers.
    let ssrc = u32::from(ann.voice.address.port()).to_be_bytes();
    let guesser = stranger("127.0.0.1");
    let (mut rounds, mut sequence) = (0, 0_u16);
    let deadline = Instant::now() + PATIENCE;
    // Three seconds of it at least, and on until Bob has half a second of nothing but Ann.
    while rounds < 600 || share(&bob.voice.recent(), 500.0) <= 0.8 {
        if Instant::now() > deadline {
            break;
        }
        rounds += 1;
        for _ in 0..20 {
            sequence = sequence.wrapping_add(37);
            let mut packet = vec![0x80, 0];
            packet.extend_from_slice(&sequence.to_be_bytes());
            packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
            packet.extend_from_slice(&ssrc);
            packet.extend((0..160).map(|i| if i % 8 < 4 { 0x10 } else { 0x90 }));
            guesser.send_to(&packet, ("127.0.0.1", port)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let (heard, taken) = (bob.voice.recent(), mallory.packets().len());
    // A pause that still goes on counts too.
    ann.voice.wait_sent(1);
    if ann.voice.longest_pause() > STEADY {
        return false;
    }
    assert_eq!(taken, 0, "media goes to the forger");
    assert!(
        share(&heard, 500.0) > 0.8,
        "bob hears ann, and her alone: {}",
        share(&heard, 500.0)
    );
    assert!(share(&heard, 2000.0) < 0.02, "bob hears mallory");
    assert!(ann.voice.wait_tone(1000.0, true, HEARD), "ann still hears bob");
    true
}

/// Strangers from many addresses who send SIP and garbage until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(server: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&stop);
        let mallory = Phone::new(server, "mallory");
        let sockets: Vec<UdpSocket> = (2..40).map(|n| stranger(&format!("127.0.0.{n}"))).collect();
        let flood = move || {
            let mut sent = 0_u32;
            while !over.load(Ordering::Relaxed) {
                for socket in &sockets {
                    let method = ["OPTIONS", "REGISTER", "INVITE", "BYE"][sent as usize % 4];
                    let text =
                        mallory.request(method, "sip:none.such@127.0.0.1", "<sip:x@h>", sent + 1, "", "");
                    let text = text.replace(&mallory.call_id, &format!("c{sent}"));
                    drop(socket.send_to(text.as_bytes(), server));
                    drop(socket.send_to(&[0x81; 200], server));
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        Self {
            stop,
            thread: Some(std::thread::spawn(flood)),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// While a flood from many hosts goes on a call's own requests are answered, and nobody is banned for what may be forged.
#[test]
fn a_flood_of_strangers_stops_no_call() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let (ann, bob) = call(&server);
    let flood = Flood::start(server.sip);
    server.wait_metric("meet_sip_shielded_total{cause=\"garbage\"}", |count| {
        count > 1000.0
    });
    let asked = Instant::now();
    assert_eq!(ann.phone.bye(&ann.answer, 2).status(), 200);
    assert!(asked.elapsed() < TIMER_F, "{:?}", asked.elapsed());
    assert_eq!(people(&server), 1);
    drop(flood);
    assert_eq!(bob.phone.bye(&bob.answer, 2).status(), 200);
    assert_eq!(server.metric("meet_bans_total"), 0.0, "it may all be forged");
}

/// With accounts: what comes back to an address that has proved nothing is one packet, not much longer than what
/// came, and garbage gets nothing at all.
#[test]
fn nothing_is_amplified() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        data,
    ];
    let server = Server::start(&args);
    let victim = Phone::new(server.sip, "victim");
    for (method, uri) in [
        ("INVITE", "sip:create"),
        ("INVITE", "sip:blue"),
        ("SUBSCRIBE", "sip:blue"),
        ("REGISTER", "sip:x"),
        ("OPTIONS", "sip:blue"),
        ("OPTIONS", "sip:create"),
        ("BYE", "sip:blue"),
        ("MESSAGE", "sip:blue"),
        ("FROB", "sip:blue"),
    ] {
        let socket = stranger("127.0.0.1");
        let uri = format!("{uri}@{}", server.sip);
        let sdp = if method == "INVITE" {
            victim.offer()
        } else {
            String::new()
        };
        let text = victim.request(
            method,
            &uri,
            &format!("<{uri}>"),
            1,
            "Event: conference\r\n",
            &sdp,
        );
        socket.send_to(text.as_bytes(), server.sip).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(1500)))
            .unwrap();
        let back = answers(&socket);
        assert_eq!(back.len(), 1, "{method} {uri}: {back:?}");
        let length = back[0].0.len();
        assert!(
            length * 2 < text.len() * 3 || length < 700,
            "{method}: {} in, {length} out",
            text.len()
        );
    }
    let socket = stranger("127.0.0.1");
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\r\n\r\n",
        b"\0\0\0\0",
        &[0xff; 900],
        b"SIP/2.0 200 OK\r\n\r\n",
    ] {
        socket.send_to(garbage, server.sip).unwrap();
    }
    assert!(answers(&socket).is_empty());
}

/// An ACK proves the address that invited, and no other: else any call of theirs would let somebody send as many
/// requests as they like under another's address.
#[test]
fn an_ack_from_elsewhere_proves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = with_config(
        data.path(),
        "lan = true\n[protection]\nstrangers_per_second = 2\n",
    );
    let uri = format!("sip:blue@{}", server.sip);
    let mut served = Vec::new();
    let callers = [
        ("ann", "127.0.0.1"),
        ("mallory", "127.0.0.9"),
        ("zoe", "127.0.0.1"),
    ];
    for (name, ip) in callers {
        let phone = Phone::new(server.sip, name);
        let invite = phone.request("INVITE", &uri, &format!("<{uri}>"), 1, "", &pcmu("127.0.0.1", 9));
        let answer = phone.ask(&invite);
        assert_eq!(answer.status(), 200, "{answer:?}");
        let (to, room) = (answer.header("To").unwrap(), answer.uri_of("Contact"));
        let elsewhere = stranger(ip);
        let acknowledger = if name == "ann" { &phone.socket } else { &elsewhere };
        let ack = phone.request("ACK", &room, to, 1, "", "");
        acknowledger.send_to(ack.as_bytes(), server.sip).unwrap();
        assert_eq!(
            phone.bye(&answer, 2).status(),
            200,
            "after which the ACK is there too"
        );
        // More than all strangers together may send now, or within the time that this takes.
        for cseq in 10..60 {
            let text = phone.request("OPTIONS", &uri, &format!("<{uri}>"), cseq, "", "");
            let text = text.replace(&phone.call_id, "another");
            acknowledger.send_to(text.as_bytes(), server.sip).unwrap();
        }
        served.push(
            answers(acknowledger)
                .iter()
                .filter(|a| a.header("CSeq").unwrap().contains("OPTIONS"))
                .count(),
        );
    }
    assert_eq!(served[0], 50, "she proved her address");
    assert!(
        served[1] < 25 && served[2] < 25,
        "{served:?}: he sent as if he had proved it"
    );
}

/// Idle connections and half messages hold no seat that a phone wants.
#[test]
fn held_connections_lock_nobody_out() {
    let data = tempfile::tempdir().unwrap();
    let text = "lan = true\n[sip]\ntcp_connections = 20\ntcp_connections_per_address = 20\n";
    let server = with_config(data.path(), text);
    let mut held: Vec<TcpStream> = Vec::new();
    let phone = Phone::new(server.sip, "ann");
    for round in 0..60 {
        let mut idle = TcpStream::connect(server.sip).unwrap();
        if round % 2 == 0 {
            idle.write_all(b"INVITE sip:blue@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP h")
                .unwrap();
        }
        held.push(idle);
        if round % 10 == 9 {
            assert_eq!(
                options(server.sip, &phone, round),
                200,
                "after {round} connections"
            );
        }
    }
    assert!(server.metric("meet_tcp_evicted_total") >= 30.0);
}

fn options(server: SocketAddr, phone: &Phone, cseq: u32) -> u16 {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let text = phone.request(
        "OPTIONS",
        &format!("sip:{server}"),
        &format!("<sip:{server}>"),
        cseq + 1,
        "",
        "",
    );
    stream
        .write_all(text.replace("/UDP ", "/TCP ").as_bytes())
        .unwrap();
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).unwrap();
    Sip(String::from_utf8_lossy(&buffer[..length]).into_owned()).status()
}

/// Many connections to the API that send a byte now and then: others are served.
#[test]
fn slow_api_senders_lock_nobody_out() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let mut slow: Vec<TcpStream> = (0..300)
        .filter_map(|_| TcpStream::connect(server.http).ok())
        .collect();
    for stream in &mut slow {
        drop(stream.write_all(b"GET /health HTTP/1.1\r\nHo"));
    }
    // This address has used up its share; another one is served.
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    other
        .bind(&"127.0.0.99:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    other.connect(&server.http.into()).unwrap();
    let mut other = TcpStream::from(other);
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.http
    );
    other.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
