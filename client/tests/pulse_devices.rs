//! Devices without hardware: PulseAudio with null sinks, reached through ALSA as on any desktop.
//!
//! A peer's tone goes through one `meet` to a loudspeaker, which is a null sink; another `meet` has that sink's
//! monitor as its microphone and sends what it hears to a second peer. Needs `pulseaudio` and the ALSA plugin
//! (`scripts/setup` installs both).
#![cfg(feature = "devices")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod peer;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use peer::{Manner, Meet, PATIENCE, Peer, windows_with};

/// A PulseAudio daemon of our own, killed when dropped.
struct Pulse {
    child: Child,
    server: String,
    config: String,
}

impl Pulse {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("pulse.sock");
        let config = folder.join("asound.conf");
        let pcm = |name: &str, device: &str| {
            format!(
                "pcm.{name} {{ type pulse device \"{device}\" hint {{ show on description \"{name}\" }} }}\n"
            )
        };
        let text = "</usr/share/alsa/alsa.conf>\n".to_owned()
            + &pcm("far_speaker", "far")
            + &pcm("far_monitor", "far.monitor")
            + "pcm.!default { type pulse device \"far\" }\nctl.!default { type pulse }\n";
        std::fs::write(&config, text).unwrap();
        let child = Command::new("pulseaudio")
            .args([
                "-n",
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
                "--system=false",
            ])
            .arg("-L")
            .arg(format!(
                "module-native-protocol-unix auth-anonymous=1 socket={}",
                socket.display()
            ))
            .args(["-L", "module-null-sink sink_name=far rate=48000 channels=2"])
            .env("HOME", folder)
            .env("XDG_RUNTIME_DIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pulseaudio is not installed: run scripts/setup");
        let pulse = Self {
            child,
            server: format!("unix:{}", socket.display()),
            config: config.display().to_string(),
        };
        let deadline = Instant::now() + PATIENCE;
        while !pulse.has_sink() {
            assert!(Instant::now() < deadline, "PulseAudio does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        pulse
    }

    fn has_sink(&self) -> bool {
        let listed = Command::new("pactl")
            .args(["--server", &self.server, "list", "short", "sinks"])
            .output();
        listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains("far"))
    }

    fn environment(&self) -> [(&str, &str); 2] {
        [("PULSE_SERVER", &self.server), ("ALSA_CONFIG_PATH", &self.config)]
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sound_goes_through_a_loudspeaker_and_a_microphone() {
    let folder = tempfile::tempdir().unwrap();
    let pulse = Pulse::start(folder.path());
    let speaking = Peer::start(folder.path(), "speaking", 500.0, Manner::Answer);
    let mut hearing = Peer::start(folder.path(), "hearing", 0.0, Manner::Answer);
    let loud = [
        "call",
        &speaking.uri(),
        "--mic",
        "none",
        "--speaker",
        "far_speaker",
    ];
    let mut loud = Meet::start(folder.path(), &loud, &pulse.environment());
    loud.event("stats");
    let quiet = [
        "call",
        &hearing.uri(),
        "--mic",
        "far_monitor",
        "--speaker",
        "none",
        "--duration",
        "6",
    ];
    let mut quiet = Meet::start(folder.path(), &quiet, &pulse.environment());
    assert!(quiet.end().success(), "{:?}", quiet.seen);
    hearing.stop();
    let heard = windows_with(&hearing.heard, 500.0);
    assert!(heard >= 30, "{heard} windows of 100 ms in six seconds");
}

#[test]
fn an_echo_in_the_room_is_taken_out() {
    let folder = tempfile::tempdir().unwrap();
    let pulse = Pulse::start(folder.path());
    let mut echoes = Vec::new();
    for extra in [Some("--no-aec"), None] {
        let name = if extra.is_some() { "without" } else { "with" };
        let mut peer = Peer::start(folder.path(), name, 500.0, Manner::Answer);
        let uri = peer.uri();
        let mut arguments = vec![
            "call",
            &uri,
            "--mic",
            "far_monitor",
            "--speaker",
            "far_speaker",
            "--duration",
            "7",
        ];
        arguments.extend(extra);
        let mut meet = Meet::start(folder.path(), &arguments, &pulse.environment());
        assert!(meet.end().success(), "{:?}", meet.seen);
        peer.stop();
        let mut reader = hound::WavReader::open(&peer.heard).unwrap();
        let heard: Vec<f32> = reader
            .samples::<i16>()
            .map(|s| f32::from(s.unwrap()) / 32_768.0)
            .collect();
        // The canceller has learnt the room after some seconds.
        let late = &heard[heard.len().saturating_sub(96_000)..];
        echoes.push(meet_client::media::sample::level_db(late));
    }
    let [without, with] = echoes[..] else {
        panic!("two calls")
    };
    assert!(
        without > -40.0,
        "without the canceller the peer must hear itself: {without} dBFS"
    );
    // A lasting tone is the hardest far end there is; how much of a voice goes is tested in `media::echo`.
    assert!(
        without - with >= 10.0,
        "{without} dBFS without, {with} dBFS with the canceller"
    );
}

#[test]
fn devices_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let pulse = Pulse::start(folder.path());
    let mut meet = Meet::start(folder.path(), &["devices"], &pulse.environment());
    assert!(meet.end().success());
    let has = |kind: &str, name: &str| {
        meet.seen
            .iter()
            .any(|event| event["kind"] == kind && event["name"] == name)
    };
    assert!(has("loudspeaker", "far_speaker"), "{:?}", meet.seen);
    assert!(has("microphone", "far_monitor"), "{:?}", meet.seen);
    let arguments = [
        "call",
        "sip:a@127.0.0.1:9",
        "--mic",
        "no such device",
        "--speaker",
        "none",
    ];
    assert_eq!(
        Meet::start(folder.path(), &arguments, &pulse.environment())
            .end()
            .code(),
        Some(5)
    );
}
