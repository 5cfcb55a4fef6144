//! Protected phones over real sockets: heard each by each, over a wrap of the sequence numbers and a hold; and what a
//! third person with the packets in hand can do, which is nothing.
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

use media::{Voice, from_mu_law, share, to_mu_law};
use rtp_media::srtp::{KeyChange, MasterKey, SrtpChange, Suite};
use sip_proto::sdp::{Crypto, CryptoSuite, KeyMaterial};
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use support::{Phone, Server, Sip, pcmu};

const HEARD: Duration = Duration::from_secs(15);

/// A phone in a meeting; protected if it has a suite.
struct Member {
    phone: Phone,
    voice: Voice,
    answer: Sip,
    offer: String,
}

fn suite_of(crypto: CryptoSuite) -> Suite {
    Suite::from_name(crypto.name()).unwrap()
}

/// A fixed key of one phone.
fn own_key(crypto: CryptoSuite, fill: u8) -> Vec<u8> {
    (0..crypto.material_len()).map(|n| n as u8 ^ fill).collect()
}

fn offer(port: u16, protocol: &str, crypto: Option<(CryptoSuite, u8)>) -> String {
    let clear = pcmu("127.0.0.1", port).replace("RTP/AVP", protocol);
    match crypto {
        None => clear,
        Some((suite, fill)) => {
            let key = KeyMaterial::new(own_key(suite, fill));
            format!("{clear}a=crypto:{}\r\n", Crypto { tag: 5, suite, key })
        }
    }
}

/// The keys that an answer to that offer means.
fn change(answer: &Sip, (suite, fill): (CryptoSuite, u8)) -> SrtpChange {
    let line = answer
        .body()
        .lines()
        .find_map(|line| line.strip_prefix("a=crypto:"))
        .unwrap_or_else(|| panic!("no key in {answer:?}"));
    let theirs = Crypto::parse(line.trim()).unwrap();
    assert_eq!((theirs.tag, theirs.suite), (5, suite));
    let key = |bytes: &[u8]| MasterKey::new(suite_of(suite), bytes);
    SrtpChange::build(&KeyChange::Keys {
        send: key(&own_key(suite, fill)),
        receive: key(theirs.key.as_bytes()),
    })
    .unwrap()
}

fn join_at(
    server: &Server,
    name: &str,
    (hertz, first): (f32, u16),
    protocol: &str,
    crypto: Option<(CryptoSuite, u8)>,
) -> Member {
    let voice = Voice::start_at(server.sip.ip(), hertz, first);
    let phone = Phone::new(server.sip, name);
    let offer = offer(voice.address.port(), protocol, crypto);
    let answer = phone.call(&format!("sip:blue@{}", server.sip), &offer);
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.body().contains(&format!(" {protocol} ")), "{answer:?}");
    if let Some(crypto) = crypto {
        voice.link().change(&mut change(&answer, crypto));
    }
    voice.send_to(answer.media_port());
    Member {
        phone,
        voice,
        answer,
        offer,
    }
}

fn join(server: &Server, name: &str, hertz: f32, protocol: &str, crypto: Option<CryptoSuite>) -> Member {
    let fill = name.as_bytes()[0];
    join_at(
        server,
        name,
        (hertz, 0),
        protocol,
        crypto.map(|suite| (suite, fill)),
    )
}

impl Member {
    /// A re-INVITE with the first offer changed.
    fn reinvite(&self, cseq: u32, change: impl Fn(&str) -> String) -> Sip {
        let (to, target) = (self.answer.header("To").unwrap(), self.answer.uri_of("Contact"));
        let body = change(&self.offer).replace("o=- 1 1", &format!("o=- 1 {cseq}"));
        let answer = self
            .phone
            .ask(&self.phone.request("INVITE", &target, to, cseq, "", &body));
        assert_eq!(answer.status(), 200, "{answer:?}");
        self.phone
            .send(&self.phone.request("ACK", &target, to, cseq, "", ""));
        answer
    }

    fn hears(&self, hertz: f32, there: bool) {
        let good = self.voice.wait_tone(hertz, there, HEARD);
        assert!(good, "{} and {hertz} Hz: expected {there}", self.phone.name);
    }
}

fn until(what: &str, good: impl Fn() -> bool) {
    let deadline = Instant::now() + HEARD;
    while !good() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn every_suite_and_a_clear_phone_meet_in_one_room() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let clear = join(&server, "ann", 400.0, "RTP/AVP", None);
    let members: Vec<Member> = CryptoSuite::ALL
        .into_iter()
        .enumerate()
        .map(|(index, suite)| {
            let protocol = ["RTP/SAVP", "RTP/AVP", "RTP/SAVPF"][index % 3];
            let name = ["bob", "cat", "dan", "eve", "fay", "gus"][index];
            join(&server, name, 700.0 + 250.0 * index as f32, protocol, Some(suite))
        })
        .collect();
    // One talks at a time, so that each tone stands for its suite.
    for talker in &members {
        talker.voice.talk(false);
    }
    for member in &members {
        member.hears(400.0, true);
    }
    clear.voice.talk(false);
    for (index, talker) in members.iter().enumerate() {
        talker.voice.talk(true);
        let hertz = 700.0 + 250.0 * index as f32;
        clear.hears(hertz, true);
        members[(index + 1) % members.len()].hears(hertz, true);
        talker.voice.talk(false);
    }
    assert_eq!(server.metric("meet_shard_srtp_unauthentic_total"), 0.0);
    assert_eq!(server.metric("meet_shard_srtp_replayed_total"), 0.0);
    let seen = server.get("/api/v1/meetings/blue/participants").json();
    let list = seen["participants"].as_array().unwrap();
    let shown = |name: &str| &list.iter().find(|p| p["name"] == name).unwrap()["srtp"];
    assert_eq!(shown("bob"), "AES_CM_128_HMAC_SHA1_80");
    assert!(shown("ann").is_null(), "in clear");
}

#[test]
fn the_rollover_counter_lives_over_a_wrap_and_a_hold() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let crypto = (CryptoSuite::AesCm128Sha1_80, 7);
    // 60 packets before the wrap: a second and a bit.
    let ann = join_at(&server, "ann", (500.0, 65_476), "RTP/SAVP", Some(crypto));
    let bob = join(
        &server,
        "bob",
        1000.0,
        "RTP/SAVP",
        Some(CryptoSuite::AeadAes128Gcm),
    );
    let ssrc = u32::from(ann.voice.address.port());
    bob.hears(500.0, true);
    until("the wrap", || ann.voice.link().rollover_sent(ssrc) == Some(1));
    bob.hears(500.0, true);
    // Hold and resume under the same key: nothing starts anew, and no packet is refused.
    ann.reinvite(2, |offer| offer.replace("sendrecv", "inactive"));
    bob.hears(500.0, false);
    let resumed = ann.reinvite(3, str::to_owned);
    let line = |sip: &Sip| {
        sip.body()
            .lines()
            .find(|line| line.starts_with("a=crypto"))
            .map(str::to_owned)
    };
    assert_eq!(line(&resumed), line(&ann.answer), "the server's key stays");
    bob.hears(500.0, true);
    ann.hears(1000.0, true);
    assert_eq!(ann.voice.link().rollover_sent(ssrc), Some(1));
    assert_eq!(server.metric("meet_shard_srtp_unauthentic_total"), 0.0);
    // A new key of ann's: its counters start anew, the server's way goes on. She is silent meanwhile, and once bob hears
    // nothing any more no packet under the old key is on its way.
    ann.voice.talk(false);
    bob.hears(500.0, false);
    let other = (CryptoSuite::AesCm128Sha1_80, 99);
    let port = ann.voice.address.port();
    let answer = ann.reinvite(4, |_| offer(port, "RTP/SAVP", Some(other)));
    assert_eq!(line(&answer), line(&ann.answer));
    let key = MasterKey::new(Suite::AesCm128Sha1_80, &own_key(other.0, other.1));
    let mut send_only = SrtpChange::build(&KeyChange::Keys {
        send: key,
        receive: None,
    })
    .unwrap();
    ann.voice.link().change(&mut send_only);
    // The shard takes the key at its next tick, up to 20 ms behind the 200.
    let ticks = server.metric("meet_shard_ticks_total");
    server.wait_metric("meet_shard_ticks_total", |now| now >= ticks + 3.0);
    ann.voice.talk(true);
    ann.voice.wait_sent(75);
    bob.hears(500.0, true);
    assert_eq!(
        ann.voice.link().rollover_sent(ssrc),
        Some(0),
        "a new key begins at zero"
    );
    assert_eq!(
        server.metric("meet_shard_srtp_unauthentic_total"),
        0.0,
        "once the shard has the new key it knows nothing but that"
    );
}

/// A packet that claims to be one of a stream.
fn forged(of: &[u8], hertz: f32, step: u16) -> Vec<u8> {
    let mut packet = of[..12].to_vec();
    let sequence = u16::from_be_bytes([of[2], of[3]]).wrapping_add(step);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend((0..160).map(|i| {
        let t = f32::from(step) * 0.02 + i as f32 / 8000.0;
        to_mu_law((t * hertz * std::f32::consts::TAU).sin() * 0.5)
    }));
    packet
}

#[test]
fn who_has_the_packets_hears_nothing_and_says_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    attacker.set_nonblocking(true).unwrap();
    let ann = join(
        &server,
        "ann",
        500.0,
        "RTP/SAVP",
        Some(CryptoSuite::AesCm128Sha1_32),
    );
    let bob = join(&server, "bob", 1000.0, "RTP/AVP", None);
    ann.hears(1000.0, true);
    bob.hears(500.0, true);
    // The same words as mu-law, which is what they are under the protection: no tone in them.
    for (what, packets) in [("sent", ann.voice.sent()), ("received", ann.voice.packets())] {
        let payload: Vec<f32> = packets
            .iter()
            .filter(|packet| packet[1] & 0x7f == 0 && packet.len() > 100)
            .flat_map(|packet| packet[packet.len() - 160..].iter().map(|byte| from_mu_law(*byte)))
            .collect();
        assert!(payload.len() >= 3_200, "{what}: {}", payload.len());
        for hertz in [500.0, 1000.0] {
            assert!(share(&payload, hertz) < 0.02, "{what} holds {hertz} Hz");
        }
    }
    // Old ones again, changed ones, forged ones in clear: three times what ann sends, for two seconds.
    let target = ("127.0.0.1", ann.answer.media_port());
    for step in 0..100_u16 {
        let sent = ann.voice.sent();
        let latest = sent.last().unwrap();
        let mut tampered = latest.clone();
        *tampered.last_mut().unwrap() ^= 1;
        let again = &sent[usize::from(step) % sent.len()];
        let ahead = forged(latest, 2000.0, 1 + step % 5);
        for packet in [again, &tampered, &ahead] {
            attacker.send_to(packet, target).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bob.hears(500.0, true);
    bob.hears(2000.0, false);
    // Forged ones and changed ones.
    server.wait_metric("meet_shard_srtp_unauthentic_total", |count| count >= 80.0);
    server.wait_metric("meet_shard_srtp_replayed_total", |count| count >= 90.0);
    assert!(
        attacker.recv_from(&mut [0; 2000]).is_err(),
        "nothing ever went to the attacker"
    );
    ann.hears(1000.0, true);
}

#[test]
fn a_forged_packet_before_the_first_true_one_latches_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    attacker.set_nonblocking(true).unwrap();
    let ann = join(
        &server,
        "ann",
        500.0,
        "RTP/SAVP",
        Some(CryptoSuite::AeadAes256Gcm),
    );
    ann.voice.talk(false);
    let bob = join(&server, "bob", 1000.0, "RTP/AVP", None);
    let target = ("127.0.0.1", ann.answer.media_port());
    let header = [0x80, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
    for step in 0..50 {
        attacker.send_to(&forged(&header, 2000.0, step), target).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    ann.hears(1000.0, true);
    assert!(attacker.recv_from(&mut [0; 2000]).is_err());
    bob.hears(2000.0, false);
    ann.voice.talk(true);
    bob.hears(500.0, true);
}
