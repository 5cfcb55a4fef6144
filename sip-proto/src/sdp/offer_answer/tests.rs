//! The machine walked: states, hold and resume, lines that come and go, versions, refusals.

use super::*;
use crate::sdp::parse;

fn address() -> IpAddr {
    "192.0.2.10".parse().unwrap()
}

fn local() -> LocalMedia {
    LocalMedia::new(address(), 40_000)
}

fn wanting(direction: Direction) -> LocalMedia {
    LocalMedia { direction, ..local() }
}

fn sdp(lines: &str) -> SessionDescription {
    let head = "v=0\no=peer 77 1 IN IP4 198.51.100.7\ns=-\nt=0 0\n";
    parse(format!("{head}{}", lines.trim_start()).as_bytes()).unwrap()
}

fn pcmu(direction: &str) -> SessionDescription {
    sdp(&format!(
        "c=IN IP4 198.51.100.7\nm=audio 5000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\na={direction}\n"
    ))
}

fn answered(machine: &mut OfferAnswer, offer: SessionDescription) -> (SessionDescription, Negotiated) {
    machine.receive_offer(offer).unwrap();
    assert_eq!(machine.check_offer(&local()), Ok(()));
    machine.create_answer(&local()).unwrap()
}

fn refused(offer: &str) -> Refusal {
    let mut machine = OfferAnswer::new(1 << 20);
    machine.receive_offer(sdp(offer)).unwrap();
    let checked = machine.check_offer(&local()).unwrap_err();
    let refusal = machine.create_answer(&local()).unwrap_err();
    assert_eq!(checked, refusal);
    assert!(machine.is_stable());
    refusal
}

fn version(description: &SessionDescription) -> u64 {
    description.origin.session_version.parse().unwrap()
}

/// Machines in each state, after one completed exchange.
fn states() -> [OfferAnswer; 3] {
    let mut stable = OfferAnswer::new(9);
    answered(&mut stable, pcmu("sendrecv"));
    let mut local_offer = stable.clone();
    local_offer.create_offer(&local()).unwrap();
    let mut remote_offer = stable.clone();
    remote_offer.receive_offer(pcmu("sendrecv")).unwrap();
    [stable, local_offer, remote_offer]
}

fn state_of(machine: &OfferAnswer) -> &'static str {
    match machine.state {
        State::Stable { .. } => "Stable",
        State::LocalOffer(_) => "LocalOffer",
        State::RemoteOffer(_) => "RemoteOffer",
    }
}

#[test]
fn transition_table() {
    let table = [
        ["ok LocalOffer", "OutOfTurn LocalOffer", "OutOfTurn RemoteOffer"],
        ["OutOfTurn Stable", "ok Stable", "OutOfTurn RemoteOffer"],
        ["ok RemoteOffer", "Glare LocalOffer", "OutOfTurn RemoteOffer"],
        ["OutOfTurn Stable", "OutOfTurn LocalOffer", "ok Stable"],
        ["ok Stable", "ok Stable", "ok Stable"],
    ];
    for (call, row) in table.iter().enumerate() {
        for (mut machine, expected) in states().into_iter().zip(row) {
            let before = machine.established().cloned();
            let outcome = match call {
                0 => machine
                    .create_offer(&local())
                    .map(drop)
                    .map_err(|error| format!("{error:?}")),
                1 => machine
                    .receive_answer(pcmu("sendrecv"))
                    .map(drop)
                    .map_err(|error| format!("{error:?}")),
                2 => machine
                    .receive_offer(pcmu("sendrecv"))
                    .map_err(|error| format!("{error:?}")),
                3 => machine
                    .create_answer(&local())
                    .map(drop)
                    .map_err(|error| format!("{error:?}")),
                _ => {
                    machine.rollback();
                    Ok(())
                }
            };
            let outcome = outcome.map_or_else(|error| error, |()| "ok".to_owned());
            assert_eq!(
                &format!("{outcome} {}", state_of(&machine)),
                expected,
                "call {call}"
            );
            assert_eq!(
                machine.established().map(|now| &now.audio),
                before.as_ref().map(|then| &then.audio)
            );
        }
    }
}

#[test]
fn hold_and_resume_by_the_peer() {
    let mut machine = OfferAnswer::new(9);
    let (first, before) = answered(&mut machine, pcmu("sendrecv"));
    let cases = [
        ("sendonly", "recvonly", Direction::RecvOnly),
        ("inactive", "inactive", Direction::Inactive),
        ("recvonly", "sendonly", Direction::SendOnly),
        ("sendrecv", "sendrecv", Direction::SendRecv),
    ];
    for (offered, written, direction) in cases {
        let (answer, now) = answered(&mut machine, pcmu(offered));
        assert_eq!(answer.media[0].direction().unwrap().as_str(), written);
        assert_eq!(now.audio.direction, direction);
        assert!(now.changed);
        // Nothing but the direction moves: the media path changes in place.
        assert_eq!(
            NegotiatedAudio {
                direction: before.audio.direction,
                ..now.audio
            },
            before.audio
        );
        assert_eq!(answer.media[0].port, first.media[0].port);
    }
}

#[test]
fn hold_by_the_unspecified_address() {
    for old_hold in ["IN IP4 0.0.0.0", "IN IP6 ::"] {
        let mut machine = OfferAnswer::new(9);
        answered(&mut machine, pcmu("sendrecv"));
        let hold = sdp(&format!("c={old_hold}\nm=audio 5000 RTP/AVP 0\n"));
        let (answer, held) = answered(&mut machine, hold);
        assert_eq!(answer.media[0].direction(), Some(Direction::RecvOnly));
        assert_eq!((held.audio.remote_rtp, held.audio.remote_rtcp), (None, None));
        let (_, resumed) = answered(&mut machine, pcmu("sendrecv"));
        assert_eq!(resumed.audio.direction, Direction::SendRecv);
        assert_eq!(resumed.audio.remote_rtp, "198.51.100.7:5000".parse().ok());
        let hold = sdp(&format!("c={old_hold}\nm=audio 5000 RTP/AVP 0\na=inactive\n"));
        assert_eq!(
            answered(&mut machine, hold).1.audio.direction,
            Direction::Inactive
        );
    }
}

#[test]
fn hold_and_resume_by_us() {
    let mut machine = OfferAnswer::new(9);
    answered(&mut machine, pcmu("sendrecv"));
    for (ours, theirs, result) in [
        (Direction::SendOnly, "recvonly", Direction::SendOnly),
        (Direction::Inactive, "inactive", Direction::Inactive),
        // A peer that answers more than was offered does not get more.
        (Direction::SendOnly, "sendrecv", Direction::SendOnly),
        (Direction::SendRecv, "sendrecv", Direction::SendRecv),
        // And one that holds us back while we resume is held to that.
        (Direction::SendRecv, "sendonly", Direction::RecvOnly),
    ] {
        let offer = machine.create_offer(&wanting(ours)).unwrap();
        assert_eq!(offer.media[0].direction(), Some(ours));
        assert_eq!(
            machine.receive_answer(pcmu(theirs)).unwrap().audio.direction,
            result
        );
    }
    // While we hold, the peer's session refresh must not take us off hold.
    machine.receive_offer(pcmu("sendrecv")).unwrap();
    let (answer, now) = machine.create_answer(&wanting(Direction::SendOnly)).unwrap();
    assert_eq!(
        (answer.media[0].direction(), now.audio.direction),
        (Some(Direction::SendOnly), Direction::SendOnly)
    );
}

#[test]
fn session_level_direction_and_connection_hold_for_media_without() {
    let mut machine = OfferAnswer::new(9);
    let offer = sdp("c=IN IP4 203.0.113.1\na=sendonly\nm=audio 5000 RTP/AVP 0\nc=IN IP6 2001:db8::5\n");
    let (_, now) = answered(&mut machine, offer);
    assert_eq!(now.audio.direction, Direction::RecvOnly);
    assert_eq!(now.audio.remote_rtp, "[2001:db8::5]:5000".parse().ok());
    assert_eq!(now.audio.remote_rtcp, "[2001:db8::5]:5001".parse().ok());
    let offer = sdp("c=IN IP4 203.0.113.1\na=sendonly\nm=audio 5000 RTP/AVP 0\na=sendrecv\n");
    assert_eq!(
        answered(&mut machine, offer).1.audio.direction,
        Direction::SendRecv
    );
}

#[test]
fn port_zero_disables_and_brings_back() {
    let mut machine = OfferAnswer::new(9);
    let (_, before) = answered(&mut machine, pcmu("sendrecv"));
    let off = sdp("c=IN IP4 198.51.100.7\nm=audio 0 RTP/AVP 0\n");
    let (answer, now) = answered(&mut machine, off.clone());
    assert_eq!((answer.media.len(), answer.media[0].port), (1, 0));
    assert!(now.audio.disabled && now.changed);
    assert_eq!(
        (now.audio.direction, now.audio.remote_rtp),
        (Direction::Inactive, None)
    );
    let (answer, now) = answered(&mut machine, pcmu("sendrecv"));
    assert_eq!(answer.media[0].port, 40_000);
    assert_eq!(now.audio, before.audio);

    // By us, and back.
    let offer = machine
        .create_offer(&LocalMedia {
            rtp_port: 0,
            ..local()
        })
        .unwrap();
    assert_eq!(offer.media[0].port, 0);
    assert!(machine.receive_answer(off.clone()).unwrap().audio.disabled);
    assert_eq!(machine.create_offer(&local()).unwrap().media[0].port, 40_000);
    assert_eq!(
        machine.receive_answer(pcmu("sendrecv")).unwrap().audio,
        before.audio
    );

    // The peer may also refuse the audio in the answer to a new offer of ours.
    machine.create_offer(&local()).unwrap();
    assert!(machine.receive_answer(off).unwrap().audio.disabled);
}

#[test]
fn lines_are_added_and_removed_in_place() {
    let mut machine = OfferAnswer::new(9);
    let c = "c=IN IP4 198.51.100.7\n";
    answered(&mut machine, pcmu("sendrecv"));
    let (answer, added) = answered(
        &mut machine,
        sdp(&format!(
            "{c}m=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 96\na=rtpmap:96 H264/90000\na=mid:v\n"
        )),
    );
    assert_eq!(answer.media[1].to_string(), "m=video 0 RTP/AVP 96\r\na=mid:v\r\n");
    assert_eq!(added.audio.mline, 0);

    // The first audio goes, another comes at the end; its old place is never given to somebody else by us.
    let moved = format!("{c}m=audio 0 RTP/AVP 0\nm=video 0 RTP/AVP 96\nm=audio 6000 RTP/AVP 8\n");
    let (answer, now) = answered(&mut machine, sdp(&moved));
    assert_eq!(
        answer.media.iter().map(|line| line.port).collect::<Vec<_>>(),
        [0, 0, 40_000]
    );
    assert_eq!((now.audio.mline, now.audio.send.encoding.as_str()), (2, "PCMA"));

    // A second audio line that could be used does not draw the call away from the one in use.
    let both = format!("{c}m=audio 7000 RTP/AVP 0\nm=video 0 RTP/AVP 96\nm=audio 6000 RTP/AVP 8\n");
    assert_eq!(answered(&mut machine, sdp(&both)).1.audio.mline, 2);

    // Our own new offer keeps all lines in their places.
    let offer = machine.create_offer(&local()).unwrap();
    let lines: Vec<_> = offer
        .media
        .iter()
        .map(|line| (line.media.as_str(), line.port))
        .collect();
    assert_eq!(lines, [("audio", 0), ("video", 0), ("audio", 40_000)]);
    machine.rollback();

    // RFC 3264 §8: lines may be disabled but never dropped. The session stays.
    let refusal = machine.receive_offer(pcmu("sendrecv")).unwrap_err();
    assert_eq!(refusal, Refusal::FewerMediaLines { before: 3, now: 1 });
    assert_eq!(refusal.status(), 488);
    assert!(machine.is_stable());
    assert_eq!(machine.established().unwrap().audio.mline, 2);
}

#[test]
fn version_grows_only_with_change() {
    let mut machine = OfferAnswer::new(u64::MAX);
    let first = machine.create_offer(&local()).unwrap();
    machine.receive_answer(pcmu("sendrecv")).unwrap();
    let (second, _) = answered(&mut machine, pcmu("sendrecv"));
    let (third, refresh) = answered(&mut machine, pcmu("sendrecv"));
    assert!(!refresh.changed);
    let held = machine.create_offer(&wanting(Direction::SendOnly)).unwrap();
    machine.rollback();
    let (after, _) = answered(&mut machine, pcmu("sendrecv"));
    let start = version(&first);
    assert_eq!(
        [&second, &third, &held, &after].map(|one| version(one) - start),
        [1, 1, 2, 3]
    );
    assert_eq!(second, third);
    assert!(
        [&second, &held, &after]
            .iter()
            .all(|one| one.origin.same_session(&first.origin))
    );
    assert!(first.origin.session_id.parse::<u64>().unwrap() < 1 << 62);
    // The identity stays when the media move to another address.
    let elsewhere = LocalMedia::new("192.0.2.99".parse().unwrap(), 40_002);
    let moved = machine.create_offer(&elsewhere).unwrap();
    assert!(moved.origin.same_session(&first.origin));
    assert_eq!(moved.connection().unwrap().address, "192.0.2.99");
}

#[test]
fn rollback_restores_what_held() {
    let mut machine = OfferAnswer::new(9);
    let (_, before) = answered(&mut machine, pcmu("sendrecv"));
    machine.create_offer(&wanting(Direction::Inactive)).unwrap();
    assert_eq!(machine.receive_offer(pcmu("inactive")), Err(Refusal::Glare));
    machine.rollback();
    assert_eq!(machine.established(), Some(&before));
    machine
        .receive_offer(sdp("c=IN IP4 198.51.100.7\nm=audio 5000 RTP/AVP 18\n"))
        .unwrap();
    assert_eq!(
        machine.create_answer(&local()).unwrap_err(),
        Refusal::NoCommonFormat
    );
    assert_eq!(machine.established(), Some(&before));
    machine.receive_offer(pcmu("inactive")).unwrap();
    machine.rollback();
    assert_eq!(machine.established(), Some(&before));
    assert_eq!(answered(&mut machine, pcmu("sendrecv")).1.audio, before.audio);
}

#[test]
fn refusals_say_why() {
    let c = "c=IN IP4 198.51.100.7\n";
    let cases = [
        (String::new(), Refusal::NoAudio, 304),
        (
            format!("{c}m=video 5000 RTP/AVP 96\na=rtpmap:96 VP8/90000\n"),
            Refusal::NoAudio,
            304,
        ),
        (format!("{c}m=audio 0 RTP/AVP 0\n"), Refusal::NoAudio, 304),
        (
            format!("{c}m=audio 5000 RTP/AVP 18 97\n"),
            Refusal::NoCommonFormat,
            305,
        ),
        (
            format!("{c}m=audio 5000 RTP/AVP 101\na=rtpmap:101 telephone-event/8000\n"),
            Refusal::NoCommonFormat,
            305,
        ),
        (format!("{c}m=audio 5000 RTP/SAVP 0\n"), Refusal::Protocol, 302),
        (
            format!("{c}m=audio 5000 UDP/TLS/RTP/SAVPF 0\nm=audio 0 RTP/AVP 0\n"),
            Refusal::Protocol,
            302,
        ),
        ("m=audio 5000 RTP/AVP 0\n".to_owned(), Refusal::Address, 301),
        (
            "c=IN IP4 233.252.0.1/127\nm=audio 5000 RTP/AVP 0\n".to_owned(),
            Refusal::Multicast,
            330,
        ),
        (
            "c=ATM NSAP 47.0091\nm=audio 5000 RTP/AVP 0\n".to_owned(),
            Refusal::Network,
            300,
        ),
    ];
    for (offer, expected, code) in cases {
        let refusal = refused(&offer);
        assert_eq!(refusal, expected, "{offer}");
        assert_eq!(refusal.status(), 488);
        assert_eq!(refusal.warning().map(|(code, _)| code), Some(code));
    }
    let unreadable = Refusal::from(parse(b"v=0\r\nx\r\n").unwrap_err());
    assert_eq!((unreadable.status(), unreadable.warning().unwrap().0), (400, 399));
    assert!(unreadable.to_string().contains("line 2"));
    assert_eq!((Refusal::Glare.status(), Refusal::Glare.warning()), (491, None));
    assert_eq!(Refusal::OutOfTurn.status(), 500);
}

#[test]
fn local_media_that_cannot_be_offered() {
    let mut machine = OfferAnswer::new(9);
    let silent = LocalMedia {
        formats: Vec::new(),
        ..local()
    };
    assert_eq!(machine.create_offer(&silent), Err(OfferError::LocalMedia));
    assert_eq!(
        machine.create_offer(&LocalMedia {
            rtp_port: 0,
            ..local()
        }),
        Err(OfferError::LocalMedia)
    );
    machine.receive_offer(pcmu("sendrecv")).unwrap();
    assert_eq!(machine.create_answer(&silent).unwrap_err(), Refusal::LocalMedia);
    assert!(machine.is_stable());
}

#[test]
fn answers_that_do_not_fit() {
    let c = "c=IN IP4 198.51.100.7\n";
    let cases = [
        (
            String::new(),
            AnswerError::MediaLines {
                offered: 1,
                answered: 0,
            },
        ),
        (
            format!("{c}m=audio 5000 RTP/AVP 0\nm=audio 5002 RTP/AVP 0\n"),
            AnswerError::MediaLines {
                offered: 1,
                answered: 2,
            },
        ),
        (format!("{c}m=video 5000 RTP/AVP 0\n"), AnswerError::MediaType(0)),
        (format!("{c}m=audio 5000 RTP/SAVP 0\n"), AnswerError::Protocol(0)),
        (format!("{c}m=audio 0 RTP/AVP 0\n"), AnswerError::AudioRefused),
        (
            format!("{c}m=audio 5000 RTP/AVP 18 99\n"),
            AnswerError::NoCommonFormat,
        ),
        ("m=audio 5000 RTP/AVP 0\n".to_owned(), AnswerError::Address),
    ];
    for (answer, expected) in cases {
        let mut machine = OfferAnswer::new(9);
        machine.create_offer(&local()).unwrap();
        assert_eq!(machine.receive_answer(sdp(&answer)), Err(expected), "{answer}");
        assert!(machine.is_stable());
        assert_eq!(machine.established(), None);
        // The machine is not spoilt: the next exchange works.
        answered(&mut machine, pcmu("sendrecv"));
    }
}

#[test]
fn a_final_answer_replaces_a_provisional_one() {
    let mut machine = OfferAnswer::new(9);
    machine.create_offer(&local()).unwrap();
    let early = machine.receive_answer(pcmu("sendonly")).unwrap();
    assert_eq!(early.audio.direction, Direction::RecvOnly);
    let repeated = machine.receive_answer(pcmu("sendonly")).unwrap();
    assert!(!repeated.changed);
    let last = machine.receive_answer(pcmu("sendrecv")).unwrap();
    assert_eq!((last.audio.direction, last.changed), (Direction::SendRecv, true));
    answered(&mut machine, pcmu("sendrecv"));
    assert_eq!(
        machine.receive_answer(pcmu("sendrecv")),
        Err(AnswerError::OutOfTurn)
    );
}

/// RFC 4028 §7.4: the answer to a repeated description may be a new one, whoever offered before.
#[test]
fn a_refresh_may_bring_another_answer() {
    let moved = || sdp("c=IN IP4 198.51.100.8\nm=audio 6000 RTP/AVP 0\na=sendrecv\n");
    let mut nothing = OfferAnswer::new(9);
    assert_eq!(nothing.receive_refreshed(moved()), Err(AnswerError::OutOfTurn));
    let mut offered = OfferAnswer::new(9);
    offered.create_offer(&local()).unwrap();
    offered.receive_answer(pcmu("sendrecv")).unwrap();
    let mut answering = OfferAnswer::new(9);
    answered(&mut answering, pcmu("sendrecv"));
    for mut machine in [offered, answering] {
        let before = machine.established().unwrap().clone();
        assert!(!machine.receive_refreshed(pcmu("sendrecv")).unwrap().changed);
        // What does not fit changes nothing, nor does an exchange that came to nothing in between.
        assert!(
            machine
                .receive_refreshed(sdp("c=IN IP4 198.51.100.8\nm=audio 6000 RTP/AVP 18\n"))
                .is_err()
        );
        machine.create_offer(&wanting(Direction::SendOnly)).unwrap();
        machine.rollback();
        assert_eq!(machine.established().unwrap().audio, before.audio);
        let now = machine.receive_refreshed(moved()).unwrap();
        assert!(now.changed);
        assert_eq!(now.audio.remote_rtp, Some("198.51.100.8:6000".parse().unwrap()));
        assert_eq!(now.local, before.local);
        assert_eq!(machine.established(), Some(&now));
        // An exchange under way is not touched.
        machine.create_offer(&wanting(Direction::SendOnly)).unwrap();
        assert!(machine.receive_refreshed(pcmu("sendrecv")).unwrap().changed);
        assert_eq!(state_of(&machine), "LocalOffer");
        let held = machine.receive_answer(pcmu("recvonly")).unwrap();
        assert_eq!(held.audio.direction, Direction::SendOnly);
        assert!(
            machine
                .receive_refreshed(pcmu("recvonly"))
                .is_ok_and(|now| !now.changed)
        );
    }
}

#[test]
fn first_offer_in_full() {
    let mut machine = OfferAnswer::new(400);
    let local = LocalMedia {
        rtcp_port: Some(40_007),
        maxptime: Some(60),
        ..local()
    };
    let expected = "v=0\r\no=- 400 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 96 9 0 8 102 101\r\n\
        a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n\
        a=rtpmap:8 PCMA/8000\r\na=rtpmap:102 telephone-event/48000\r\na=fmtp:102 0-16\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n\
        a=rtcp:40007\r\na=rtcp-mux\r\n";
    assert_eq!(machine.create_offer(&local).unwrap().to_string(), expected);
}

#[test]
fn answerer_may_use_other_payload_types() {
    let mut machine = OfferAnswer::new(9);
    machine.create_offer(&local()).unwrap();
    let answer = sdp(
        "c=IN IP4 198.51.100.7\nm=audio 5000 RTP/AVP 111 110 0\na=rtpmap:111 OPUS/48000/2\na=fmtp:111 usedtx=1\n\
         a=rtpmap:110 telephone-event/48000\n",
    );
    let audio = machine.receive_answer(answer).unwrap().audio;
    assert_eq!(
        (audio.send.payload_type, audio.send.fmtp.as_deref()),
        (111, Some("usedtx=1"))
    );
    assert!(audio.opus.usedtx);
    assert_eq!(
        audio
            .receive
            .iter()
            .map(|one| one.payload_type)
            .collect::<Vec<_>>(),
        [96, 0]
    );
    assert_eq!(
        (audio.telephone_events.as_slice(), audio.receive_events.as_slice()),
        (&[(110, 48_000)][..], &[(102, 48_000)][..])
    );
    assert_eq!(audio.telephone_event(), Some((110, 48_000)));
    // Later offers of ours keep the numbers that we receive under, and the codec in use comes first.
    let pcmu_first = LocalMedia {
        formats: vec![AudioFormat::pcmu(), AudioFormat::opus(120, None)],
        ..local()
    };
    let offer = machine.create_offer(&pcmu_first).unwrap();
    assert_eq!(offer.media[0].formats, ["96", "0", "102", "101"]);
}

#[test]
fn answers_without_rtpmap_mean_what_was_offered() {
    let mut machine = OfferAnswer::new(9);
    machine.create_offer(&local()).unwrap();
    let audio = machine
        .receive_answer(sdp("c=IN IP4 198.51.100.7\nm=audio 5000 RTP/AVP 96 101\n"))
        .unwrap()
        .audio;
    assert!(audio.send.is_opus());
    assert_eq!(audio.telephone_events, [(101, 8_000)]);
}

#[test]
fn packet_lengths() {
    for (lines, expected) in [
        ("", 20),
        ("a=ptime:10\n", 20),
        ("a=ptime:10\na=maxptime:10\n", 10),
        ("a=ptime:20.0\n", 20),
        ("a=ptime:30\n", 20),
        ("a=ptime:60\n", 60),
        ("a=ptime:240\n", 60),
        ("a=ptime:5\n", 20),
        ("a=ptime:0\n", 20),
        ("a=ptime:soon\n", 20),
        ("a=ptime:40\na=maxptime:20\n", 20),
        ("a=ptime:10\na=minptime:20\n", 20),
        ("a=ptime:20\na=minptime:200\n", 60),
        ("a=maxptime:3\n", 10),
    ] {
        let mut machine = OfferAnswer::new(9);
        let (answer, now) = answered(
            &mut machine,
            sdp(&format!("c=IN IP4 198.51.100.7\nm=audio 5000 RTP/AVP 0\n{lines}")),
        );
        assert_eq!(now.audio.ptime, expected, "{lines}");
        assert_eq!(answer.media[0].ptime(), Some(expected));
    }
}

#[test]
fn rtcp_ports_and_mux() {
    let c = "c=IN IP4 198.51.100.7\nm=audio 5000 RTP/AVP 0\n";
    for (lines, rtcp, muxed) in [
        ("", "198.51.100.7:5001", false),
        ("a=rtcp:5009\n", "198.51.100.7:5009", false),
        ("a=rtcp:5009 IN IP4 203.0.113.9\n", "203.0.113.9:5009", false),
        ("a=rtcp:5009 IN IP4 0.0.0.0\n", "198.51.100.7:5009", false),
        ("a=rtcp:0\n", "198.51.100.7:5001", false),
        ("a=rtcp:5009\na=rtcp-mux\n", "198.51.100.7:5000", true),
    ] {
        let mut machine = OfferAnswer::new(9);
        let (answer, now) = answered(&mut machine, sdp(&format!("{c}{lines}")));
        assert_eq!(
            (now.audio.remote_rtcp, now.audio.rtcp_mux),
            (rtcp.parse().ok(), muxed),
            "{lines}"
        );
        assert_eq!(answer.media[0].rtcp_mux(), muxed);
    }
    // We do not want it: offered or not, it does not come about.
    let apart = LocalMedia {
        rtcp_mux: false,
        rtcp_port: Some(40_005),
        ..local()
    };
    let mut machine = OfferAnswer::new(9);
    machine.receive_offer(sdp(&format!("{c}a=rtcp-mux\n"))).unwrap();
    let (answer, now) = machine.create_answer(&apart).unwrap();
    assert!(!now.audio.rtcp_mux && !answer.media[0].rtcp_mux());
    assert_eq!(answer.media[0].rtcp().unwrap().port, 40_005);
    let offer = machine.create_offer(&apart).unwrap();
    assert!(!offer.media[0].rtcp_mux());
    assert!(
        !machine
            .receive_answer(sdp(&format!("{c}a=rtcp-mux\n")))
            .unwrap()
            .audio
            .rtcp_mux
    );
}

#[test]
fn codec_order() {
    let offer = sdp("c=IN IP4 198.51.100.7\nm=audio 5000 RTP/AVP 8 0 18 111\na=rtpmap:111 opus/48000/2\n");
    for (prefer_local, order) in [(true, ["111", "0", "8"]), (false, ["8", "0", "111"])] {
        let mut machine = OfferAnswer::new(9);
        machine.receive_offer(offer.clone()).unwrap();
        let (answer, now) = machine
            .create_answer(&LocalMedia {
                prefer_local,
                ..local()
            })
            .unwrap();
        assert_eq!(answer.media[0].formats, order);
        assert_eq!(now.audio.send.payload_type.to_string(), order[0]);
    }
}

#[test]
fn telephone_events_as_offered() {
    let head = "c=IN IP4 198.51.100.7\nm=audio 5000 RTP/AVP 0 96 97 98\na=rtpmap:96 telephone-event/48000\n\
        a=rtpmap:97 telephone-event/16000\na=rtpmap:98 telephone-event/8000\n";
    for (fmtp, expected) in [
        ("", "0-15"),
        ("a=fmtp:98 0-15\n", "0-15"),
        ("a=fmtp:98 0-16\n", "0-16"),
        ("a=fmtp:98 0-11,16,66\n", "0-16"),
        ("a=fmtp:98 0-15,66-70\n", "0-15"),
    ] {
        let mut machine = OfferAnswer::new(9);
        let (answer, now) = answered(&mut machine, sdp(&format!("{head}{fmtp}")));
        assert_eq!(now.audio.telephone_events, [(96, 48_000), (98, 8_000)]);
        assert_eq!(now.audio.telephone_event(), Some((98, 8_000)));
        assert_eq!(answer.media[0].formats, ["0", "96", "98"]);
        assert_eq!(answer.media[0].fmtp_text(98), Some(expected));
    }
    let mut machine = OfferAnswer::new(9);
    machine.receive_offer(sdp(head)).unwrap();
    let (answer, now) = machine
        .create_answer(&LocalMedia {
            telephone_event: false,
            ..local()
        })
        .unwrap();
    assert_eq!(
        (answer.media[0].formats.as_slice(), now.audio.telephone_event()),
        (&["0".to_owned()][..], None)
    );
}
