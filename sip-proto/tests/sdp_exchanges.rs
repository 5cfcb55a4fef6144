//! Whole exchanges in the manner of RFC 3264 §10 and RFC 4317, with descriptions of our own making: the peer's
//! side is written out, ours is the machine's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use sip_proto::sdp::offer_answer::{AnswerError, AudioFormat, LocalMedia, OfferAnswer};
use sip_proto::sdp::{Direction, SessionDescription, parse};

fn local() -> LocalMedia {
    LocalMedia::new("192.0.2.1".parse().unwrap(), 40_000)
}

fn g711() -> LocalMedia {
    LocalMedia {
        formats: vec![AudioFormat::pcmu(), AudioFormat::pcma()],
        prefer_local: false,
        ..local()
    }
}

fn from_peer(version: u32, body: &str) -> SessionDescription {
    parse(
        format!("v=0\r\no=bob 2808844564 {version} IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\n{body}")
            .as_bytes(),
    )
    .unwrap()
}

/// Everything from the first `m=` line on.
fn media(description: &SessionDescription) -> String {
    description
        .media
        .iter()
        .map(ToString::to_string)
        .collect::<String>()
        .replace("\r\n", "\n")
}

/// RFC 4317 §2.1's case: several codecs offered, the answer keeps those in common so that both may switch.
#[test]
fn several_codecs_two_kept() {
    let mut machine = OfferAnswer::new(1);
    let offer = "m=audio 49170 RTP/AVP 97 8 0\na=rtpmap:97 iLBC/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\n\
        m=video 51372 RTP/AVP 31 32\na=rtpmap:31 H261/90000\na=rtpmap:32 MPV/90000\n";
    machine.receive_offer(from_peer(1, offer)).unwrap();
    let (answer, now) = machine.create_answer(&g711()).unwrap();
    assert_eq!(
        media(&answer),
        "m=audio 40000 RTP/AVP 8 0\na=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\na=ptime:20\na=sendrecv\n\
         m=video 0 RTP/AVP 31 32\n"
    );
    assert_eq!(now.audio.send.encoding, "PCMA");
    assert_eq!(now.audio.receive.len(), 2);

    // The offerer then settles on one codec (RFC 4317 §2.2's second round) and says so with a new version.
    machine
        .receive_offer(from_peer(2, "m=audio 49170 RTP/AVP 0\nm=video 0 RTP/AVP 31\n"))
        .unwrap();
    let (answer, now) = machine.create_answer(&g711()).unwrap();
    assert_eq!(answer.media[0].formats, ["0"]);
    assert_eq!(answer.origin.session_version, "2");
    assert!(now.changed && now.audio.send.encoding == "PCMU");
}

/// RFC 3264 §10.1's shape: of two audio lines and one video line the first audio is taken; then the offerer adds
/// a line of telephone events of its own, which is refused in place.
#[test]
fn two_audio_lines_then_one_more() {
    let mut machine = OfferAnswer::new(1);
    let offer = "m=audio 62986 RTP/AVP 0 4 18\na=rtpmap:0 PCMU/8000\nm=audio 62990 RTP/AVP 8\n\
        m=video 62988 RTP/AVP 31\n";
    machine.receive_offer(from_peer(1, offer)).unwrap();
    let (answer, _) = machine.create_answer(&g711()).unwrap();
    assert_eq!(
        answer.media.iter().map(|line| line.port).collect::<Vec<_>>(),
        [40_000, 0, 0]
    );

    let more = format!("{offer}m=audio 64000 RTP/AVP 110\na=rtpmap:110 telephone-event/8000\na=sendonly\n");
    machine.receive_offer(from_peer(2, &more)).unwrap();
    let (answer, now) = machine.create_answer(&g711()).unwrap();
    assert_eq!(
        answer.media.iter().map(|line| line.port).collect::<Vec<_>>(),
        [40_000, 0, 0, 0]
    );
    assert!(!now.changed);
}

/// RFC 4317 §3.1's case: hold with sendonly, then both sides hold, then each takes its hold back.
#[test]
fn hold_from_both_sides() {
    let mut machine = OfferAnswer::new(1);
    let audio = |direction: &str| format!("m=audio 49170 RTP/AVP 0\na={direction}\n");
    let mut steps = Vec::new();
    machine.receive_offer(from_peer(1, &audio("sendrecv"))).unwrap();
    steps.push(machine.create_answer(&g711()).unwrap().1.audio.direction);
    machine.receive_offer(from_peer(2, &audio("sendonly"))).unwrap();
    steps.push(machine.create_answer(&g711()).unwrap().1.audio.direction);
    // We hold too: a peer on hold answers what is left.
    let held = LocalMedia {
        direction: Direction::SendOnly,
        ..g711()
    };
    machine.create_offer(&held).unwrap();
    steps.push(
        machine
            .receive_answer(from_peer(3, &audio("inactive")))
            .unwrap()
            .audio
            .direction,
    );
    // The peer resumes, we still hold.
    machine.receive_offer(from_peer(4, &audio("sendrecv"))).unwrap();
    steps.push(machine.create_answer(&held).unwrap().1.audio.direction);
    machine.create_offer(&g711()).unwrap();
    steps.push(
        machine
            .receive_answer(from_peer(5, &audio("sendrecv")))
            .unwrap()
            .audio
            .direction,
    );
    let written: Vec<_> = steps.into_iter().map(Direction::as_str).collect();
    assert_eq!(
        written,
        ["sendrecv", "recvonly", "inactive", "sendonly", "sendrecv"]
    );
}

/// RFC 3261 §13.2.1, RFC 3725: an INVITE without body; we offer in the 2xx, the answer comes in the ACK.
#[test]
fn offerless_invite_and_offerless_reinvite() {
    let mut machine = OfferAnswer::new(1);
    let first = machine.create_offer(&local()).unwrap();
    let answer = "m=audio 49170 RTP/AVP 96 102\na=rtpmap:96 opus/48000/2\na=fmtp:96 maxplaybackrate=16000\n\
        a=rtpmap:102 telephone-event/48000\na=fmtp:102 0-15\na=ptime:40\nb=AS:40\n";
    let now = machine.receive_answer(from_peer(1, answer)).unwrap();
    assert_eq!(
        (now.audio.opus.maxplaybackrate, now.audio.ptime),
        (Some(16_000), 40)
    );
    assert_eq!(now.audio.remote_bandwidth, Some(40_000));
    // The same again in the session: the same offer, the same version, nothing changed.
    let again = machine.create_offer(&local()).unwrap();
    assert_eq!(again, first);
    assert!(!machine.receive_answer(from_peer(1, answer)).unwrap().changed);
    // A controller that leaves the answer out of the ACK: the offer is given up.
    machine.create_offer(&local()).unwrap();
    machine.rollback();
    assert_eq!(machine.established().unwrap().audio, now.audio);
}

/// A server that answers DTLS with SDES, and one that answers clear media with protected (FACTS: FreeSWITCH).
#[test]
fn answers_in_another_protocol_are_refused() {
    for protocol in ["RTP/SAVP", "UDP/TLS/RTP/SAVPF"] {
        let mut machine = OfferAnswer::new(1);
        machine.create_offer(&local()).unwrap();
        let answer = from_peer(1, &format!("m=audio 49170 {protocol} 0\n"));
        assert_eq!(machine.receive_answer(answer), Err(AnswerError::Protocol(0)));
    }
    // AVPF for AVP differs in feedback timing only.
    let mut machine = OfferAnswer::new(1);
    machine.create_offer(&local()).unwrap();
    assert!(
        machine
            .receive_answer(from_peer(1, "m=audio 49170 RTP/AVPF 0\n"))
            .is_ok()
    );
}
