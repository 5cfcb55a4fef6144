//! Whole calls over real sockets: who hears whom, hold, digits, vanishing.
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
use std::time::{Duration, Instant};
use support::{PATIENCE, Phone, Server, Sip, pcmu};

const HEARD: Duration = Duration::from_secs(8);

struct Member {
    phone: Phone,
    voice: Voice,
    answer: Sip,
}

fn join(server: &Server, name: &str, room: &str, hertz: f32) -> Member {
    let voice = Voice::start(server.sip.ip(), hertz);
    let phone = Phone::new(server.sip, name);
    let answer = phone.call(
        &format!("sip:{room}@{}", server.sip),
        &pcmu("127.0.0.1", voice.address.port()),
    );
    assert_eq!(answer.status(), 200, "{answer:?}");
    voice.send_to(answer.media_port());
    Member { phone, voice, answer }
}

fn people(server: &Server, room: &str, count: usize) -> serde_json::Value {
    let path = format!("/api/v1/meetings/{room}/participants");
    server.until(&path, |v| v["participants"].as_array().unwrap().len() == count)
}

#[test]
fn everybody_hears_the_others_of_the_room_and_nobody_else() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let ann = join(&server, "ann", "blue", 500.0);
    let bob = join(&server, "bob", "blue", 1000.0);
    let eve = join(&server, "eve", "red", 2000.0);
    assert!(ann.voice.wait_tone(1000.0, true, HEARD), "ann hears bob");
    assert!(bob.voice.wait_tone(500.0, true, HEARD), "bob hears ann");
    for (who, own, foreign) in [(&ann, 500.0, 2000.0), (&bob, 1000.0, 2000.0)] {
        let recent = who.voice.recent();
        assert!(share(&recent, own) < 0.02, "{} hears itself", who.phone.name);
        assert!(
            share(&recent, foreign) < 0.02,
            "{} hears another room",
            who.phone.name
        );
    }
    let alone = eve.voice.recent();
    assert!(
        [500.0, 1000.0].iter().all(|f| share(&alone, *f) < 0.02),
        "eve hears another room"
    );
    // The statistics arrive, with the codec and the packets.
    let seen = server.until("/api/v1/meetings/blue/participants", |v| {
        let list = v["participants"].as_array().unwrap();
        list.len() == 2
            && list
                .iter()
                .all(|p| p["statistics"]["received_packets"].as_u64().unwrap_or(0) > 20)
    });
    assert_eq!(seen["participants"][0]["codec"], "PCMU");
    assert_eq!(seen["participants"][0]["name"], "ann");
    // A BYE disturbs nobody.
    assert_eq!(bob.phone.bye(&bob.answer, 2).status(), 200);
    people(&server, "blue", 1);
    assert!(ann.voice.wait_tone(1000.0, false, HEARD), "bob is gone");
    assert_eq!(ann.phone.bye(&ann.answer, 2).status(), 200);
    assert_eq!(eve.phone.bye(&eve.answer, 2).status(), 200);
    let log = server.get("/api/v1/events").json();
    let kinds: Vec<&str> = log["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds.iter().filter(|k| **k == "person-left").count(),
        3,
        "{kinds:?}"
    );
}

#[test]
fn rtp_goes_to_where_it_comes_from() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let ann = join(&server, "ann", "nat", 500.0);
    // Bob's SDP names another port than the one he sends from, as behind a NAT.
    let voice = Voice::start(server.sip.ip(), 0.0);
    let phone = Phone::new(server.sip, "bob");
    let answer = phone.call(&format!("sip:nat@{}", server.sip), &phone.offer());
    assert_eq!(answer.status(), 200);
    voice.send_to(answer.media_port());
    assert!(voice.wait_tone(500.0, true, HEARD), "latched");
    drop(ann);
}

#[test]
fn who_speaks_is_named_in_every_packet() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let ann = join(&server, "ann", "csrc", 500.0);
    let bob = join(&server, "bob", "csrc", 0.0);
    assert!(bob.voice.wait_tone(500.0, true, HEARD));
    // RFC 3550 §5.1: a mixer lists the sources of its mix.
    let last = bob
        .voice
        .packets()
        .into_iter()
        .rfind(|p| p[1] & 0x7f == 0)
        .unwrap();
    assert_eq!(last[0] & 15, 1, "one talker");
    let named = u32::from_be_bytes([last[12], last[13], last[14], last[15]]);
    assert_eq!(named, u32::from(ann.voice.address.port()), "ann's SSRC");
    // Silence goes out at the same pace when nobody speaks.
    ann.voice.talk(false);
    assert!(bob.voice.wait_tone(500.0, false, HEARD));
    let before = bob.voice.packets().len();
    let deadline = Instant::now() + Duration::from_secs(20);
    while bob.voice.packets().len() < before + 25 {
        assert!(Instant::now() < deadline, "silence is not sent");
        std::thread::yield_now();
    }
    let packets = bob.voice.packets();
    let timestamp = |p: &Vec<u8>| u32::from_be_bytes([p[4], p[5], p[6], p[7]]);
    let sequence = |p: &Vec<u8>| u16::from_be_bytes([p[2], p[3]]);
    let mut skipped = 0;
    for pair in packets[before..].windows(2) {
        assert_eq!(sequence(&pair[1]).wrapping_sub(sequence(&pair[0])), 1);
        let step = timestamp(&pair[1]).wrapping_sub(timestamp(&pair[0]));
        assert!(step > 0 && step.is_multiple_of(160), "{step}");
        skipped += step / 160 - 1;
    }
    // A packet every 20 ms; a tick that a busy machine missed moves the clock and sends nothing.
    let missed = server.metric("meet_shard_missed_ticks_total");
    assert!(
        f64::from(skipped) <= missed,
        "{skipped} skipped, {missed} ticks missed"
    );
}

#[test]
fn who_vanishes_is_removed() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("server.toml");
    std::fs::write(&file, "[meetings]\nvanish_seconds = 1\n").unwrap();
    let server = Server::with(data.path(), &["--config", file.to_str().unwrap()]);
    let ann = join(&server, "ann", "gone", 500.0);
    let bob = join(&server, "bob", "gone", 1000.0);
    assert!(ann.voice.wait_tone(1000.0, true, HEARD));
    people(&server, "gone", 2);
    // Ann neither speaks nor answers any more; bob goes on.
    ann.voice.talk(false);
    let left = server.until("/api/v1/meetings/gone/participants", |v| {
        v["participants"].as_array().unwrap().len() == 1
    });
    assert_eq!(left["participants"][0]["name"], "bob");
    let log = server.get("/api/v1/events?meeting=gone").json();
    let gone = log["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["kind"] == "person-left")
        .unwrap()
        .clone();
    assert_eq!(
        (gone["person"].as_str(), gone["detail"]["reason"].as_str()),
        (Some("ann"), Some("vanished"))
    );
    drop(bob);
}

#[test]
fn the_answers_to_strangers_and_wrong_media() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let uri = format!("sip:blue@{}", server.sip);
    let phone = Phone::new(server.sip, "safe");
    let sdp = phone.offer().replace("RTP/AVP", "RTP/SAVP");
    assert_eq!(phone.call(&uri, &sdp).status(), 488);
    let phone = Phone::new(server.sip, "g729");
    let none = phone
        .offer()
        .replace("AVP 0 101", "AVP 18")
        .replace("rtpmap:0 PCMU", "rtpmap:18 G729");
    assert_eq!(phone.call(&uri, &none).status(), 488);
}

#[test]
fn the_server_captures_its_own_traffic() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("own.pcapng");
    let mut server = Server::with(data.path(), &["--capture", file.to_str().unwrap()]);
    let ann = join(&server, "ann", "tape", 500.0);
    let bob = join(&server, "bob", "tape", 1000.0);
    assert!(ann.voice.wait_tone(1000.0, true, HEARD));
    drop(bob);
    let mut stream = std::net::TcpStream::connect(server.sip).unwrap();
    let uri = format!("sip:{}", server.sip);
    let options = ann
        .phone
        .request("OPTIONS", &uri, &format!("<{uri}>"), 7, "X-Over: stream\r\n", "");
    std::io::Write::write_all(&mut stream, options.replace("/UDP ", "/TCP ").as_bytes()).unwrap();
    assert!(std::io::Read::read(&mut stream, &mut [0; 2000]).unwrap() > 100);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait(PATIENCE).expect("still running");
    let bytes = std::fs::read(&file).unwrap();
    let count = |needle: &[u8]| bytes.windows(needle.len()).filter(|w| *w == needle).count();
    assert!(count(b"INVITE sip:tape@") >= 2, "INVITEs in the capture");
    assert_eq!(count(b"X-Over: stream"), 1, "SIP over TCP");
    assert!(bytes.len() > 20_000, "{} bytes", bytes.len());
}

/// Each line says what it is about: the room, in it the call, and of the call the leg.
#[test]
fn the_log_tells_room_call_and_leg() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::with(data.path(), &["--log-level", "debug"]);
    let ann = join(&server, "ann", "blue", 500.0);
    let call = format!("call{{id=\"{}\"}}", ann.phone.call_id);
    let created = server.wait_log(|line| line.contains("meeting created"));
    assert!(created.contains(&call), "{created}");
    let about = format!("room{{id=r1 name=\"blue\"}}:{call}:leg{{id=1}}: ");
    let joined = server.wait_log(|line| line.contains("joined person="));
    assert!(joined.contains(&about), "{joined}");
    assert_eq!(ann.phone.bye(&ann.answer, 2).status(), 200);
    let left = server.wait_log(|line| line.contains("left person="));
    assert!(left.contains(&about), "{left}");
    let eve = Phone::new(server.sip, "eve");
    let sealed = eve.offer().replace("RTP/AVP", "RTP/SAVP");
    assert_eq!(
        eve.call(&format!("sip:blue@{}", server.sip), &sealed).status(),
        488
    );
    let refused = server.wait_log(|line| line.contains("refused") && line.contains("INVITE"));
    assert!(
        refused.contains(&format!("call{{id=\"{}\"}}", eve.call_id)),
        "{refused}"
    );
}
