//! Protected phones of other makers: Debian's baresip with optional and with mandatory SDES-SRTP, and our own, in one
//! room with a clear phone; and what a capture of their packets gives away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod hearing;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use hearing::{PATIENCE, opus, wait_hears};
use nix::sys::signal::Signal;

use workshop::baresip::{Baresip, Options};
use workshop::process::Process;
use workshop::server::{Server, program};
use workshop::tone::{Recording, goertzel};
use workshop::tshark::{count, tshark};

/// RTP is looked for on every port that the system may choose.
const PORTS: (u16, u16) = (10_000, 65_000);

fn protected(folder: &Path, user: &str, tone: u32, codec: &str, encryption: &str) -> Baresip {
    let options = Options {
        encryption: Some(encryption.to_owned()),
        ..Options::new(user, codec, tone)
    };
    Baresip::start(folder, &options).unwrap()
}

#[test]
fn baresip_with_srtp_and_a_clear_phone_hear_each_other_over_a_hold() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let tones = [500, 700, 1000];
    let mut ann = protected(folder.path(), "ann", 500, "opus/48000/2", "srtp-mand");
    let mut ben = protected(folder.path(), "ben", 700, "PCMU/8000/1", "srtp");
    let mut cat = opus(folder.path(), "cat", 1000);
    for phone in [&mut ann, &mut ben, &mut cat] {
        phone.call(&server.room("vault")).unwrap();
    }
    wait_hears("ann", &tones, &[700, 1000], || ann.heard().unwrap());
    wait_hears("ben", &tones, &[500, 1000], || ben.heard().unwrap());
    wait_hears("cat", &tones, &[500, 700], || cat.heard().unwrap());
    for who in [&mut ann, &mut ben] {
        who.command("hold", "").unwrap();
    }
    wait_hears("cat during", &tones, &[], || cat.heard().unwrap());
    for who in [&mut ann, &mut ben] {
        who.command("resume", "").unwrap();
    }
    wait_hears("cat after", &tones, &[500, 700], || cat.heard().unwrap());
    wait_hears("ann after", &tones, &[700, 1000], || ann.heard().unwrap());
    wait_hears("ben after", &tones, &[500, 1000], || ben.heard().unwrap());
    assert!(
        server.metric("meet_shard_srtp_unauthentic_total").unwrap() < 50.0,
        "only packets that crossed one of the four re-INVITEs"
    );
}

#[test]
fn who_requires_srtp_refuses_a_clear_phone_and_takes_a_protected_one() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("MEET_MEDIA_SRTP", "required")];
    let server = Server::start_lan_at("127.0.0.1:0", folder.path(), &[], &settings).unwrap();
    let mut clear = opus(folder.path(), "cat", 1000);
    clear.command("dial", &server.room("vault")).unwrap();
    let closed = clear.wait_event("CALL_CLOSED").unwrap();
    assert!(closed.to_string().contains("488"), "{closed}");
    let tones = [500, 700];
    let mut ann = protected(folder.path(), "ann", 500, "opus/48000/2", "srtp");
    let mut ben = protected(folder.path(), "ben", 700, "PCMU/8000/1", "srtp-mand");
    ann.call(&server.room("vault")).unwrap();
    ben.call(&server.room("vault")).unwrap();
    wait_hears("ann", &tones, &[700], || ann.heard().unwrap());
    wait_hears("ben", &tones, &[500], || ben.heard().unwrap());
}

/// `meet` in a meeting, headless, with this tone.
fn meet(folder: &Path, server: &Server, name: &str, tone: &str, more: &[&str]) -> Process {
    let heard = format!("file:{}", folder.join(name).with_extension("wav").display());
    let mut command = Command::new(program("meet"));
    command
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .args(["--json", "--server", &server.sip.to_string(), "join", "vault"])
        .args(["--name", name, "--headless", "--mic", tone, "--speaker", &heard])
        .args(more);
    Process::start(command).unwrap()
}

#[test]
fn meet_protects_by_itself_and_only_in_clear_when_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("MEET_MEDIA_SRTP", "required")];
    let server = Server::start_lan_at("127.0.0.1:0", folder.path(), &[], &settings).unwrap();
    let mut ann = meet(folder.path(), &server, "ann", "tone:500", &[]);
    let mut ben = meet(folder.path(), &server, "ben", "tone:700", &["--srtp"]);
    for person in [&ann, &ben] {
        let joined = person.wait_line("\"event\":\"joined\"", PATIENCE).unwrap();
        assert!(joined.contains("\"srtp\":\"AEAD_AES_128_GCM\""), "{joined}");
    }
    let mut clear = meet(folder.path(), &server, "cat", "none", &["--srtp=off"]);
    let status = clear.wait_exit(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(4), "refused: {}", clear.output());
    let heard = |name: &str| Recording::read(&folder.path().join(name).with_extension("wav"));
    let nothing = || Recording {
        rate: 48_000,
        samples: Vec::new(),
    };
    wait_hears("ann", &[500, 700], &[700], || {
        heard("ann").unwrap_or_else(|_| nothing())
    });
    wait_hears("ben", &[500, 700], &[500], || {
        heard("ben").unwrap_or_else(|_| nothing())
    });
    for person in [&mut ann, &mut ben] {
        person.signal(Signal::SIGTERM);
        assert!(person.wait_exit(PATIENCE).unwrap().success());
    }
}

/// The payloads of the PCMU packets of a capture as if they were in clear, a second and a half of each stream.
fn decoded(capture: &Path) -> Vec<Vec<f32>> {
    let fields = ["-e", "rtp.ssrc", "-e", "udp.payload"];
    let filter = ["-Y", "rtp.p_type == 0", "-T", "fields"];
    let text = tshark(capture, PORTS, &[filter, fields].concat()).unwrap();
    let mut streams: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    for (ssrc, hex) in text.lines().filter_map(|line| line.split_once('\t')) {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        let samples = streams.entry(ssrc).or_default();
        samples.extend(bytes.skip(12).take(160).map(mu_law));
    }
    let long = streams.into_values().filter(|samples| samples.len() > 12_000);
    long.map(|samples| samples[samples.len() - 12_000..].to_vec())
        .collect()
}

/// The sample of a mu-law code (ITU-T G.711).
fn mu_law(code: u8) -> f32 {
    let code = !code;
    let magnitude = ((u32::from(code & 0x0F) << 3) + 132) << ((code >> 4) & 7);
    let value = (magnitude - 132) as f32 / 32_768.0;
    if code & 0x80 == 0 { value } else { -value }
}

/// A talker and a listener in PCMU; gives the capture of the server's own traffic.
fn captured(folder: &Path, encryption: Option<&str>) -> std::path::PathBuf {
    let file = folder.join("traffic.pcapng");
    let more = ["--capture", file.to_str().unwrap()];
    let mut server = Server::start_lan(folder, &more).unwrap();
    let mut phones: Vec<Baresip> = [("ann", 500), ("ben", 700)]
        .into_iter()
        .map(|(user, tone)| {
            let options = Options {
                encryption: encryption.map(str::to_owned),
                ..Options::new(user, "PCMU/8000/1", tone)
            };
            Baresip::start(folder, &options).unwrap()
        })
        .collect();
    for phone in &mut phones {
        phone.call(&server.room("vault")).unwrap();
    }
    wait_hears("ben", &[500, 700], &[500], || phones[1].heard().unwrap());
    for phone in &mut phones {
        phone.hang_up().unwrap();
    }
    server.process.signal(Signal::SIGTERM);
    assert!(server.process.wait_exit(PATIENCE).unwrap().success());
    file
}

#[test]
fn a_capture_of_protected_calls_holds_no_tone_and_one_of_clear_calls_does() {
    for (encryption, readable) in [(Some("srtp-mand"), false), (None, true)] {
        let folder = tempfile::tempdir().unwrap();
        let capture = captured(folder.path(), encryption);
        let packets = count(&capture, PORTS, "rtp.p_type == 0").unwrap();
        assert!(packets > 100, "{packets} packets: SRTP keeps RTP's header");
        let streams = decoded(&capture);
        assert!(!streams.is_empty(), "no stream is long enough to judge");
        for samples in streams {
            let tone = goertzel(&samples, 8_000, 500.0).max(goertzel(&samples, 8_000, 700.0));
            // In clear each stream is one tone; as noise it has its share at every frequency.
            assert_eq!(tone > 0.05, readable, "{encryption:?}: {tone}");
            if !readable {
                let level = Recording { rate: 8_000, samples }.level_db();
                assert!(level > -12.0, "as loud as noise is: {level}");
            }
        }
    }
}
