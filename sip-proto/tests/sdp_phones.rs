//! Offers as real phones put them on the wire (rebuilt after captures; see the comments), read, printed and
//! answered. The corpora's own files run when `MEET_CORPORA` names the folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use sip_proto::sdp::offer_answer::{LocalMedia, Negotiated, OfferAnswer, Refusal};
use sip_proto::sdp::{Direction, SessionDescription, parse};

/// baresip 4.10 with audio and video: the payload type 96 means Opus in one line and H.264 in the other.
const BARESIP: &str = "v=0
o=- 3872341120 1 IN IP4 192.0.2.20
s=-
c=IN IP4 192.0.2.20
t=0 0
a=tool:baresip 4.10.0
m=audio 57454 RTP/AVP 96 0 8 9 101
a=rtpmap:96 opus/48000/2
a=fmtp:96 stereo=0;sprop-stereo=0;maxaveragebitrate=32000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:9 G722/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtcp:57455
a=sendrecv
a=rtcp-rsize
a=mid:0
a=minptime:20
a=ptime:20
m=video 55868 RTP/AVP 96 97 98 99
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=0;profile-level-id=42e01f
a=rtpmap:97 H264/90000
a=fmtp:97 packetization-mode=1;profile-level-id=42e01f
a=rtpmap:98 H265/90000
a=rtpmap:99 VP8/90000
a=rtcp:55869
a=sendrecv
a=mid:1
a=framerate:30.00
a=rtcp-fb:* nack
a=rtcp-fb:* nack pli
a=content:main
";

/// Debian's baresip 1.0.0.
const BARESIP_1_0: &str = "v=0
o=- 1620397110 2109287411 IN IP4 192.0.2.21
s=-
c=IN IP4 192.0.2.21
t=0 0
a=tool:baresip 1.0.0
m=audio 20008 RTP/AVP 0 8 96 9 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:96 opus/48000/2
a=fmtp:96 stereo=1;sprop-stereo=1
a=rtpmap:9 G722/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtcp:20009
a=sendrecv
a=label:1
a=rtcp-rsize
a=ptime:20
";

/// pjsua 2.17 with audio and video; Opus is not first, and fmtp has a space after the semicolon.
const PJSUA: &str = "v=0
o=- 3981234567 3981234567 IN IP4 192.0.2.30
s=pjmedia
b=AS:386
t=0 0
a=X-nat:0
m=audio 4000 RTP/AVP 98 97 99 104 3 0 8 9 96 120 121
c=IN IP4 192.0.2.30
b=TIAS:96000
a=rtcp:4001 IN IP4 192.0.2.30
a=sendrecv
a=rtpmap:98 speex/16000
a=rtpmap:97 speex/8000
a=rtpmap:99 speex/32000
a=rtpmap:104 iLBC/8000
a=fmtp:104 mode=30
a=rtpmap:3 GSM/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:9 G722/8000
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:120 telephone-event/16000
a=fmtp:120 0-16
a=rtpmap:121 telephone-event/8000
a=fmtp:121 0-16
m=video 4002 RTP/AVP 97
c=IN IP4 192.0.2.30
b=TIAS:256000
a=rtcp:4003 IN IP4 192.0.2.30
a=sendrecv
a=rtpmap:97 H264/90000
a=fmtp:97 profile-level-id=42e01e; packetization-mode=1
";

/// pjsua restricted to Opus: its only telephone-event runs at 48 kHz. ICE puts a link-local address into `c=`.
const PJSUA_OPUS_ICE: &str = "v=0
o=- 3981234570 3981234570 IN IP6 fe80::1
s=pjmedia
t=0 0
a=X-nat:0
m=audio 4000 RTP/AVP 96 97
c=IN IP6 fe80::42:acff:fe11:2
b=TIAS:64000
a=rtcp:4001 IN IP6 fe80::42:acff:fe11:2
a=sendrecv
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:97 telephone-event/48000
a=fmtp:97 0-16
a=ice-ufrag:5a3b1c22
a=ice-pwd:0f1e2d3c4b5a69788796a5b4
a=candidate:Hac110002 1 UDP 2130706431 192.0.2.30 4000 typ host
a=candidate:Hac110002 2 UDP 2130706430 192.0.2.30 4001 typ host
a=end-of-candidates
";

/// pjsua with optional SRTP: clear RTP/AVP and four suites; and its mandatory one.
const PJSUA_CRYPTO: &str = "v=0
o=- 3981234580 3981234580 IN IP4 192.0.2.30
s=pjmedia
b=AS:84
t=0 0
m=audio 4000 RTP/AVP 0 121
c=IN IP4 192.0.2.30
a=rtcp:4001 IN IP4 192.0.2.30
a=sendrecv
a=rtpmap:0 PCMU/8000
a=rtpmap:121 telephone-event/8000
a=fmtp:121 0-16
a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:sMyuAW0v2sbD7QYsgZVq31Vaew7BOqWWP65rvp46DZl1WHZ2SzFIE5TbUJP54A==
a=crypto:2 AES_256_CM_HMAC_SHA1_32 inline:DVPxDFtHMyXQbkqmkZ2cAFgsoUaVDI1ZB0cCvxGIPMOcBpVpYcZlKOsBBTxtrw==
a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:hPVFkWsGaOVAWDYpAvnz+cUDZE5ysEUVPZq1xo0S
a=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:1CBhkmHJUBuxGjiW3MtROZEEmXQt0bCoNo2LQxjq
";

/// linphone 5.1: an IPv6 address in `c=`, 18 with fmtp but no rtpmap, three clocks of telephone-event without
/// fmtp, H.264 without packetization-mode.
const LINPHONE: &str = "v=0
o=alice 1234 4321 IN IP6 2001:db8::51
s=Talk
c=IN IP6 2001:db8::51
t=0 0
a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics
a=record:off
m=audio 7078 RTP/AVP 96 97 98 0 8 18 101 99 100
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:97 speex/16000
a=fmtp:97 vbr=on
a=rtpmap:98 speex/8000
a=fmtp:98 vbr=on
a=fmtp:18 annexb=yes
a=rtpmap:101 telephone-event/48000
a=rtpmap:99 telephone-event/16000
a=rtpmap:100 telephone-event/8000
a=rtcp-fb:* trr-int 5000
a=rtcp-fb:* ccm tmmbr
m=video 9078 RTP/AVP 96 97
a=rtpmap:96 VP8/90000
a=rtpmap:97 H264/90000
a=fmtp:97 profile-level-id=42801F
a=rtcp-fb:* trr-int 5000
a=rtcp-fb:* ccm tmmbr
";

/// linphone with DTLS: the protocol is UDP/TLS/RTP/SAVP, and there is no rtcp-mux.
const LINPHONE_DTLS: &str = "v=0
o=alice 1235 4322 IN IP4 192.0.2.51
s=Talk
c=IN IP4 192.0.2.51
t=0 0
m=audio 7078 UDP/TLS/RTP/SAVP 96 0 101
a=rtpmap:96 opus/48000/2
a=rtpmap:101 telephone-event/48000
a=setup:actpass
a=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF
";

/// Twinkle 1.10's style: no Opus.
const TWINKLE: &str = "v=0
o=twinkle 1711 1711 IN IP4 192.0.2.60
s=-
c=IN IP4 192.0.2.60
t=0 0
m=audio 8000 RTP/AVP 98 97 8 0 3 101
a=rtpmap:98 speex/16000
a=rtpmap:97 speex/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:3 GSM/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
";

const ALL: [(&str, &str); 8] = [
    ("baresip", BARESIP),
    ("baresip 1.0", BARESIP_1_0),
    ("pjsua", PJSUA),
    ("pjsua opus", PJSUA_OPUS_ICE),
    ("pjsua crypto", PJSUA_CRYPTO),
    ("linphone", LINPHONE),
    ("linphone dtls", LINPHONE_DTLS),
    ("twinkle", TWINKLE),
];

fn local() -> LocalMedia {
    LocalMedia::new("192.0.2.1".parse().unwrap(), 40_000)
}

fn answer_with(offer: &str, local: &LocalMedia) -> Result<(SessionDescription, Negotiated), Refusal> {
    let offer = parse(offer.as_bytes()).unwrap();
    let mut machine = OfferAnswer::new(4_000);
    machine.receive_offer(offer.clone()).unwrap();
    let result = machine.create_answer(local);
    if let Ok((answer, _)) = &result {
        check_shape(&offer, answer);
    }
    result
}

fn answer(offer: &str) -> (SessionDescription, Negotiated) {
    answer_with(offer, &local()).unwrap()
}

/// RFC 3264 §6: as many lines, in the order, with the media type and the protocol of the offer; at most one in
/// use; formats of the offer only.
fn check_shape(offer: &SessionDescription, answer: &SessionDescription) {
    assert_eq!(parse(answer.to_string().as_bytes()).as_ref(), Ok(answer));
    assert_eq!(offer.media.len(), answer.media.len());
    for (offered, answered) in offer.media.iter().zip(&answer.media) {
        assert_eq!(
            (&offered.media, &offered.protocol),
            (&answered.media, &answered.protocol)
        );
        assert!(
            answered
                .formats
                .iter()
                .all(|format| offered.formats.contains(format))
        );
        assert!(!answered.formats.is_empty());
        assert_eq!(offered.mid(), answered.mid());
        assert!(!answered.has("crypto") && !answered.has("ice-ufrag") && !answered.has("fingerprint"));
        assert!(offered.rtcp_mux() || !answered.rtcp_mux());
    }
    assert!(answer.media.iter().filter(|line| line.port != 0).count() <= 1);
    assert_eq!(answer.groups().count(), 0);
}

fn formats(answer: &SessionDescription) -> &[String] {
    &answer.media[0].formats
}

#[test]
fn printing_loses_nothing() {
    for (name, offer) in ALL {
        let description = parse(offer.as_bytes()).unwrap();
        assert_eq!(description.to_string(), offer.replace('\n', "\r\n"), "{name}");
        assert_eq!(parse(&description.to_bytes()), Ok(description));
    }
}

#[test]
fn baresip_audio_taken_video_refused() {
    let (answer, now) = answer(BARESIP);
    assert_eq!(formats(&answer), ["96", "9", "0", "8", "101"]);
    assert_eq!(
        answer.media[1].to_string(),
        "m=video 0 RTP/AVP 96 97 98 99\r\na=mid:1\r\n"
    );
    let audio = now.audio;
    assert!(audio.send.is_opus() && audio.send.payload_type == 96);
    assert_eq!(audio.opus.maxaveragebitrate, Some(32_000));
    assert_eq!(
        (audio.mid.as_deref(), audio.ptime, audio.rtcp_mux),
        (Some("0"), 20, false)
    );
    assert_eq!(audio.remote_rtp, "192.0.2.20:57454".parse().ok());
    assert_eq!(audio.remote_rtcp, "192.0.2.20:57455".parse().ok());
    assert_eq!(audio.telephone_events, [(101, 8_000)]);
    assert_eq!(audio.direction, Direction::SendRecv);
    // In its own order baresip's first is Opus too; Debian's would rather have PCMU.
    let theirs = LocalMedia {
        prefer_local: false,
        ..local()
    };
    assert_eq!(
        answer_with(BARESIP_1_0, &theirs).unwrap().1.audio.send.encoding,
        "PCMU"
    );
    let (_, ours) = answer_with(BARESIP_1_0, &local()).unwrap();
    assert!(ours.audio.send.is_opus() && ours.audio.opus.stereo);
}

#[test]
fn pjsua_number_97_is_two_things() {
    let (answer, now) = answer(PJSUA);
    assert_eq!(formats(&answer), ["96", "9", "0", "8", "121"]);
    assert_eq!(now.audio.remote_bandwidth, Some(96_000));
    assert!(now.audio.opus.useinbandfec);
    assert_eq!(answer.media[0].fmtp_text(121), Some("0-16"));
    let video = &now.remote.media[1];
    assert_eq!(video.rtpmap(97).unwrap().encoding, "H264");
    assert_eq!(video.fmtp(97).unwrap().get("packetization-mode"), Some("1"));
}

#[test]
fn pjsua_opus_only_has_events_at_48_khz() {
    let (answer, now) = answer(PJSUA_OPUS_ICE);
    assert_eq!(formats(&answer), ["96", "97"]);
    assert_eq!(now.audio.telephone_event(), Some((97, 48_000)));
    assert_eq!(now.audio.remote_rtp, "[fe80::42:acff:fe11:2]:4000".parse().ok());
}

#[test]
fn optional_crypto_is_accepted_as_clear() {
    let (answer, now) = answer(PJSUA_CRYPTO);
    assert_eq!(answer.media[0].protocol, "RTP/AVP");
    assert_eq!(now.audio.send.encoding, "PCMU");
    assert_eq!(
        now.remote.media[0]
            .attributes()
            .filter(|attribute| attribute.is("crypto"))
            .count(),
        4
    );
}

#[test]
fn mandatory_protection_is_never_answered_clear() {
    for protocol in [
        "RTP/SAVP",
        "RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "UDP/TLS/RTP/SAVPF",
        "TCP/RTP/AVP",
    ] {
        let offer = PJSUA_CRYPTO.replace("RTP/AVP", protocol);
        let refusal = answer_with(&offer, &local()).unwrap_err();
        assert_eq!(
            (refusal.status(), refusal.warning().unwrap().0),
            (488, 302),
            "{protocol}"
        );
        // Beside a clear line it is refused by itself, with its protocol as offered.
        let both = format!("{offer}{}", &TWINKLE[TWINKLE.find("m=").unwrap()..])
            .replace("s=-", "c=IN IP4 192.0.2.3");
        let both = both.replace("t=0 0\n", "c=IN IP4 192.0.2.60\nt=0 0\n");
        let (answer, now) = answer_with(&both, &local()).unwrap();
        assert_eq!(
            (answer.media[0].port, answer.media[0].protocol.as_str()),
            (0, protocol)
        );
        assert_eq!(now.audio.mline, 1);
    }
    assert_eq!(
        answer_with(LINPHONE_DTLS, &local()).unwrap_err(),
        Refusal::Protocol
    );
}

#[test]
fn avpf_is_echoed() {
    let (answer, _) = answer(&BARESIP.replace("RTP/AVP", "RTP/AVPF"));
    assert!(answer.media.iter().all(|line| line.protocol == "RTP/AVPF"));
}

#[test]
fn linphone_ipv6_and_events_without_fmtp() {
    let (answer, now) = answer(LINPHONE);
    assert_eq!(formats(&answer), ["96", "0", "8", "101", "100"]);
    assert_eq!(now.audio.telephone_events, [(101, 48_000), (100, 8_000)]);
    assert_eq!(now.audio.remote_rtp, "[2001:db8::51]:7078".parse().ok());
    assert_eq!(answer.connection().unwrap().address_type, "IP4");
    let audio = &now.remote.media[0];
    assert_eq!(audio.rtpmap(18).unwrap().encoding, "G729");
    assert_eq!(audio.fmtp(18).unwrap().get("annexb"), Some("yes"));
}

#[test]
fn twinkle_gets_g711_and_hold_keeps_it() {
    let (answer, now) = answer(TWINKLE);
    assert_eq!(formats(&answer), ["0", "8", "101"]);
    assert_eq!(now.audio.send.encoding, "PCMU");
    let held = TWINKLE.replace("a=ptime", "a=sendonly\na=ptime");
    let (answer, held) = self::answer(&held);
    assert_eq!(answer.media[0].direction(), Some(Direction::RecvOnly));
    assert_eq!(held.audio.send, now.audio.send);
}

#[test]
fn corpora() {
    let Ok(folder) = std::env::var("MEET_CORPORA") else {
        println!("MEET_CORPORA is not set: the collected SDP files are not read");
        return;
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(format!("{folder}/sdp")).expect("MEET_CORPORA names a folder with sdp/") {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let description = parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(description.to_bytes(), bytes, "{}", path.display());
        let outcome = answer_with(&description.to_string(), &local());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("chromium") {
            assert_eq!(outcome.unwrap_err(), Refusal::Protocol, "{name}");
        } else {
            let (_, now) = outcome.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
            let expected = if name.starts_with("zoiper") {
                (101, true)
            } else {
                (101, false)
            };
            assert_eq!(
                (now.audio.telephone_events[0].0, now.audio.rtcp_mux),
                expected,
                "{name}"
            );
            assert_eq!(now.audio.send.encoding, "PCMU", "{name}");
        }
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} files in {folder}/sdp");
}
