//! The program `meet` itself against a peer: events, sound, exit codes, signals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod peer;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use peer::{Manner, Meet, Peer, windows_with};

#[test]
fn both_sides_hear_each_other_over_every_codec() {
    for codec in ["opus", "g722", "pcmu", "pcma"] {
        let folder = tempfile::tempdir().unwrap();
        let mut peer = Peer::start(folder.path(), "peer", 500.0, Manner::Answer);
        let heard = folder.path().join("meet-heard.wav");
        let speaker = format!("file:{}", heard.display());
        let arguments = [
            "call",
            &peer.uri(),
            "--mic",
            "tone:700",
            "--speaker",
            &speaker,
            "--codec",
            codec,
            "--duration",
            "3",
        ];
        let mut meet = Meet::start(folder.path(), &arguments, &[]);
        let joined = meet.event("joined");
        assert!(
            joined["codec"].as_str().unwrap().eq_ignore_ascii_case(codec),
            "{joined}"
        );
        assert_eq!(joined["focus"], false);
        let stats = meet.event("stats");
        assert!(stats["sent"].as_u64().unwrap() > 30, "{stats}");
        assert!(meet.end().success());
        assert_eq!(meet.seen.last().unwrap()["event"], "left");
        peer.stop();
        assert!(
            windows_with(&heard, 500.0) >= 15,
            "{codec}: meet heard too little"
        );
        assert!(
            windows_with(&peer.heard, 700.0) >= 15,
            "{codec}: the peer heard too little"
        );
        assert_eq!(windows_with(&heard, 700.0), 0, "{codec}: meet heard itself");
    }
}

#[test]
fn digits_arrive_and_a_file_is_played() {
    let folder = tempfile::tempdir().unwrap();
    let mut peer = Peer::start(folder.path(), "peer", 500.0, Manner::Answer);
    let file = folder.path().join("voice.wav");
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&file, spec).unwrap();
    for n in 0..44_100 {
        let value = (n as f32 * std::f32::consts::TAU * 900.0 / 44_100.0).sin() * 12_000.0;
        writer.write_sample(value as i16).unwrap();
        writer.write_sample(value as i16).unwrap();
    }
    writer.finalize().unwrap();
    let mic = format!("file:{}:loop", file.display());
    let arguments = [
        "call",
        &peer.uri(),
        "--mic",
        &mic,
        "--speaker",
        "none",
        "--dtmf",
        "4711",
        "--duration",
        "5",
    ];
    let mut meet = Meet::start(folder.path(), &arguments, &[]);
    assert!(meet.end().success());
    assert_eq!(peer.digits.load(Ordering::Relaxed), 4_711);
    peer.stop();
    assert!(windows_with(&peer.heard, 900.0) >= 20);
}

#[test]
fn an_end_by_the_peer_carries_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(
        folder.path(),
        "peer",
        500.0,
        Manner::HangUp(Duration::from_millis(800)),
    );
    let mut meet = Meet::start(
        folder.path(),
        &["call", &peer.uri(), "--mic", "none", "--speaker", "none"],
        &[],
    );
    let ended = meet.event("ended");
    assert_eq!(
        (ended["reason"].as_str(), ended["cause"].as_u64()),
        (Some("Meeting ended"), Some(410))
    );
    assert_eq!(meet.end().code(), Some(0));
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let quiet = ["--mic", "none", "--speaker", "none"];
    let code = |arguments: &[&str]| Meet::start(folder.path(), arguments, &[]).end().code();
    let refusing = Peer::start(folder.path(), "refusing", 500.0, Manner::Refuse(404));
    assert_eq!(code(&[&["call", &refusing.uri()], &quiet[..]].concat()), Some(4));
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let uri = format!("sip:nobody@{nobody}");
    let started = Instant::now();
    assert_eq!(code(&[&["call", &uri], &quiet[..]].concat()), Some(3));
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "a closed port must be noticed at once"
    );
    assert_eq!(
        code(&["call", &uri, "--mic", "file:/nowhere.wav", "--speaker", "none"]),
        Some(5)
    );
    assert_eq!(code(&["call", "sips:a@b"]), Some(2));
    assert_eq!(code(&["call", &uri, "--mic", "tone:1"]), Some(2));
    assert_eq!(code(&["cancel", "unknown"]), Some(2));
    let server = nobody.to_string();
    assert_eq!(
        code(&["list", "--server", &server, "--transport", "tcp"]),
        Some(3)
    );
    assert_eq!(code(&["list", "--server", &server]), Some(3));
}

#[test]
fn signals_leave_in_time_in_a_call_and_while_it_rings() {
    for (manner, signal) in [(Manner::Answer, Signal::SIGINT), (Manner::Ring, Signal::SIGTERM)] {
        let folder = tempfile::tempdir().unwrap();
        let peer = Peer::start(folder.path(), "peer", 500.0, manner);
        let heard = folder.path().join("heard.wav");
        let speaker = format!("file:{}", heard.display());
        let mut meet = Meet::start(
            folder.path(),
            &["call", &peer.uri(), "--mic", "none", "--speaker", &speaker],
            &[],
        );
        meet.event(if manner == Manner::Ring {
            "ringing"
        } else {
            "joined"
        });
        let told = Instant::now();
        meet.signal(signal);
        assert_eq!(meet.end().code(), Some(0), "{:?}", meet.seen);
        assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
        assert!(
            meet.seen
                .iter()
                .any(|event| event["event"] == "left" && event["cause"] == "signal")
        );
        assert!(hound::WavReader::open(&heard).is_ok());
        if manner == Manner::Ring {
            let deadline = Instant::now() + peer::PATIENCE;
            while !peer.cancelled.load(Ordering::Relaxed) {
                assert!(Instant::now() < deadline, "the peer was not told");
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn a_killed_program_leaves_a_valid_recording() {
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(folder.path(), "peer", 500.0, Manner::Answer);
    let heard = folder.path().join("heard.wav");
    let record = heard.display().to_string();
    let arguments = [
        "call",
        &peer.uri(),
        "--mic",
        "none",
        "--speaker",
        "none",
        "--record",
        &record,
    ];
    let mut meet = Meet::start(folder.path(), &arguments, &[]);
    for _ in 0..3 {
        meet.event("stats");
    }
    meet.signal(Signal::SIGKILL);
    meet.end();
    assert!(windows_with(&heard, 500.0) >= 10);
}
