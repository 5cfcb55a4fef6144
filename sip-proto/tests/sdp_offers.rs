//! Offers as phones, browsers and trunks write them, made up anew each time; every answer is measured by RFC 3264 §6 with
//! a reading of its own, not with the machine's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sip_proto::sdp::offer_answer::{LocalMedia, OfferAnswer};
use sip_proto::sdp::{SessionDescription, parse};

/// A codec as an offer names it: number, rtpmap (static numbers may do without), fmtp.
type Codec = (u8, &'static str, Option<&'static str>);

const STATIC: &[Codec] = &[
    (0, "PCMU/8000", None),
    (8, "PCMA/8000", None),
    (9, "G722/8000", None),
    (18, "G729/8000", Some("annexb=no")),
    (3, "GSM/8000", None),
    (13, "CN/8000", None),
];

const DYNAMIC: &[(&str, Option<&str>)] = &[
    ("opus/48000/2", Some("useinbandfec=1;stereo=0")),
    ("telephone-event/8000", Some("0-15")),
    ("telephone-event/48000", Some("0-16")),
    ("SPEEX/16000", None),
    ("AMR/8000", Some("mode-set=0,2")),
    ("L16/44100/2", None),
];

/// A section in the making.
#[derive(Debug, Clone)]
struct Section {
    media: &'static str,
    protocol: &'static str,
    port: u16,
    numbers: Vec<u8>,
    text: String,
}

fn codecs() -> impl Strategy<Value = (Vec<u8>, String)> {
    (
        subsequence(STATIC.to_vec(), 0..=STATIC.len()).prop_shuffle(),
        subsequence(DYNAMIC.to_vec(), 0..=DYNAMIC.len()).prop_shuffle(),
        96_u8..120,
        any::<(bool, bool)>(),
    )
        .prop_map(|(fixed, dynamic, first, (with_maps, dynamic_first))| {
            let (mut numbers, mut text) = (Vec::new(), String::new());
            for (number, map, fmtp) in &fixed {
                numbers.push(*number);
                if with_maps {
                    writeln!(text, "a=rtpmap:{number} {map}").unwrap();
                }
                if let Some(fmtp) = fmtp {
                    writeln!(text, "a=fmtp:{number} {fmtp}").unwrap();
                }
            }
            let mut own = Vec::new();
            for (number, (map, fmtp)) in (first..).zip(&dynamic) {
                own.push(number);
                writeln!(text, "a=rtpmap:{number} {map}").unwrap();
                if let Some(fmtp) = fmtp {
                    writeln!(text, "a=fmtp:{number} {fmtp}").unwrap();
                }
            }
            if dynamic_first {
                own.extend(numbers);
                numbers = own;
            } else {
                numbers.extend(own);
            }
            if numbers.is_empty() {
                numbers.push(0);
            }
            (numbers, text)
        })
}

fn attributes() -> impl Strategy<Value = String> {
    let line = select(vec![
        "a=ptime:20",
        "a=ptime:30",
        "a=maxptime:60",
        "a=rtcp-mux",
        "a=rtcp:40009",
        "a=mid:m",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=ssrc:77 cname:somebody",
        "a=candidate:1 1 UDP 2130706431 192.0.2.30 40000 typ host",
        "a=rtcp-fb:* nack",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
        "a=x-unheard-of:yes",
        "b=AS:64",
    ]);
    let order = |mut lines: Vec<&str>| {
        // b= belongs before a=.
        lines.sort_by_key(|line| !line.starts_with("b="));
        lines.dedup();
        lines.concat_lines()
    };
    vec(line, 0..6).prop_map(order)
}

trait ConcatLines {
    fn concat_lines(&self) -> String;
}

impl ConcatLines for Vec<&str> {
    fn concat_lines(&self) -> String {
        self.iter().map(|line| format!("{line}\n")).collect()
    }
}

fn direction() -> impl Strategy<Value = Option<&'static str>> {
    option::of(select(vec!["sendrecv", "sendonly", "recvonly", "inactive"]))
}

fn section() -> impl Strategy<Value = Section> {
    (
        select(vec!["audio", "audio", "audio", "video", "application"]),
        select(vec![
            "RTP/AVP",
            "RTP/AVP",
            "RTP/AVPF",
            "RTP/SAVP",
            "UDP/TLS/RTP/SAVPF",
        ]),
        prop_oneof![4 => 1024_u16..65_000, 1 => Just(0_u16)],
        codecs(),
        option::of(select(vec![
            "c=IN IP4 192.0.2.31\n",
            "c=IN IP6 2001:db8::31\n",
            "c=IN IP4 0.0.0.0\n",
        ])),
        attributes(),
        direction(),
    )
        .prop_map(
            |(media, protocol, port, (numbers, maps), connection, attributes, direction)| {
                // b= of the attributes stands before all a=.
                let (bandwidth, rest) = match attributes.strip_prefix("b=AS:64\n") {
                    Some(rest) => ("b=AS:64\n", rest.to_owned()),
                    None => ("", attributes),
                };
                let direction = direction.map_or_else(String::new, |d| format!("a={d}\n"));
                let connection = connection.unwrap_or_default();
                Section {
                    media,
                    protocol,
                    port,
                    numbers,
                    text: format!("{connection}{bandwidth}{maps}{rest}{direction}"),
                }
            },
        )
}

fn offer() -> impl Strategy<Value = String> {
    (vec(section(), 1..5), direction(), any::<u32>(), any::<bool>()).prop_map(
        |(sections, direction, version, bundle)| {
            let mut text =
                format!("v=0\no=- 42 {version} IN IP4 192.0.2.30\ns=-\nc=IN IP4 192.0.2.30\nt=0 0\n");
            if bundle {
                text.push_str("a=group:BUNDLE m\n");
            }
            if let Some(direction) = direction {
                writeln!(text, "a={direction}").unwrap();
            }
            for section in sections {
                let numbers: Vec<String> = section.numbers.iter().map(u8::to_string).collect();
                let (media, port, protocol) = (section.media, section.port, section.protocol);
                writeln!(text, "m={media} {port} {protocol} {}", numbers.join(" ")).unwrap();
                text.push_str(&section.text);
            }
            text.replace('\n', "\r\n")
        },
    )
}

/// One media section, read here and not by the library: the m= words, the attributes, and the session's direction.
#[derive(Debug)]
struct Read {
    words: Vec<String>,
    lines: Vec<String>,
}

impl Read {
    fn port(&self) -> u16 {
        self.words[1].parse().unwrap()
    }

    fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|l| l == line)
    }

    fn direction<'a>(&'a self, session: &'a [String]) -> &'a str {
        let of = |lines: &'a [String]| {
            let names = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
            lines
                .iter()
                .find(|l| names.contains(&l.as_str()))
                .map(|l| &l[2..])
        };
        of(&self.lines).or_else(|| of(session)).unwrap_or("sendrecv")
    }

    /// What a payload number means here, in lower case.
    fn codec(&self, number: &str) -> String {
        let prefix = format!("a=rtpmap:{number} ");
        let mapped = self.lines.iter().find_map(|l| l.strip_prefix(&prefix));
        let fixed = || {
            STATIC
                .iter()
                .find(|(n, _, _)| n.to_string() == number)
                .map(|(_, map, _)| *map)
        };
        let codec = mapped.or_else(fixed).unwrap_or("unknown").to_ascii_lowercase();
        codec.trim_end_matches("/1").to_owned()
    }
}

fn read(text: &str) -> (Vec<String>, Vec<Read>) {
    let (mut session, mut sections) = (Vec::new(), Vec::<Read>::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("m=") {
            let words = rest.split(' ').map(str::to_owned).collect();
            sections.push(Read {
                words,
                lines: Vec::new(),
            });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line.to_owned());
        } else {
            session.push(line.to_owned());
        }
    }
    (session, sections)
}

/// RFC 3264 §6 for one answer.
fn assert_answers(offer: &str, answer: &str) {
    let ((offered_session, offered), (answered_session, answered)) = (read(offer), read(answer));
    assert_eq!(
        offered.len(),
        answered.len(),
        "as many m= lines\n{offer}\n{answer}"
    );
    let time = |lines: &[String]| lines.iter().find(|l| l.starts_with("t=")).cloned();
    assert_eq!(
        time(&offered_session),
        time(&answered_session),
        "§6: t= is the offer's"
    );
    for (theirs, ours) in offered.iter().zip(&answered) {
        assert_eq!(
            (&theirs.words[0], &theirs.words[2]),
            (&ours.words[0], &ours.words[2]),
            "{answer}"
        );
        assert!(ours.words.len() > 3, "at least one format\n{answer}");
        if theirs.port() == 0 {
            assert_eq!(ours.port(), 0, "a refused line stays refused\n{answer}");
        }
        if ours.port() == 0 {
            continue;
        }
        for number in &ours.words[3..] {
            let same = theirs.words[3..]
                .iter()
                .any(|n| n == number && theirs.codec(n) == ours.codec(number));
            assert!(same, "{number} is not of the offer\n{offer}\n{answer}");
        }
        let (asked, given) = (
            theirs.direction(&offered_session),
            ours.direction(&answered_session),
        );
        let fits = match asked {
            "sendonly" => ["recvonly", "inactive"].contains(&given),
            "recvonly" => ["sendonly", "inactive"].contains(&given),
            "inactive" => given == "inactive",
            _ => true,
        };
        assert!(fits, "{asked} answered {given}\n{offer}\n{answer}");
        assert!(
            !ours.has("a=rtcp-mux") || theirs.has("a=rtcp-mux"),
            "mux was not offered\n{answer}"
        );
        let has_key = |lines: &[String]| lines.iter().any(|l| l.starts_with("a=crypto:"));
        assert!(
            !has_key(&ours.lines) || has_key(&theirs.lines),
            "no key was offered\n{answer}"
        );
        assert!(ours.words[0] == "audio", "only audio is taken\n{answer}");
    }
}

fn audio(port: u16) -> LocalMedia {
    LocalMedia::new("192.0.2.1".parse().unwrap(), port)
}

fn described(text: &str) -> SessionDescription {
    parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

proptest! {
    #[test]
    fn a_made_up_offer_is_sound_and_comes_back_as_written(offer in offer()) {
        prop_assert_eq!(described(&offer).to_string(), offer);
    }

    /// Every offer is answered by the rules or refused with 488; a refusal leaves the session as it was.
    #[test]
    fn an_answer_keeps_to_the_rules(offer in offer(), later in offer()) {
        let mut machine = OfferAnswer::new(9);
        for text in [&offer, &later] {
            let before = machine.established().map(|e| e.local.to_string());
            let lines = |text: &str| read(text).1.len();
            let received = machine.receive_offer(described(text));
            // §8: m= lines are never taken out of a session.
            let fewer = before.as_deref().is_some_and(|before| lines(before) > lines(text));
            prop_assert_eq!(received.is_err(), fewer, "{:?}", received);
            if fewer {
                continue;
            }
            match machine.create_answer(&audio(40_000)) {
                Ok((answer, negotiated)) => {
                    let written = answer.to_string();
                    assert_answers(text, &written);
                    prop_assert_eq!(described(&written), answer);
                    // What we will send is something that the offer lists and the answer confirms.
                    let section = &read(&written).1[negotiated.audio.mline];
                    let number = negotiated.audio.send.payload_type.to_string();
                    prop_assert!(negotiated.audio.disabled || section.words[3..].contains(&number));
                }
                Err(refusal) => {
                    prop_assert_eq!(refusal.status(), 488);
                    prop_assert_eq!(machine.established().map(|e| e.local.to_string()), before);
                }
            }
            prop_assert!(machine.is_stable());
        }
    }

    /// The same audio under any other lines: what the offer can give is not lost by its company.
    #[test]
    fn a_plain_telephone_among_anything_is_answered(others in vec(section(), 0..4), at in any::<prop::sample::Index>()) {
        let mut sections: Vec<String> = others
            .iter()
            .filter(|section| section.media != "audio")
            .map(|section| {
                let numbers: Vec<String> = section.numbers.iter().map(u8::to_string).collect();
                format!("m={} {} {} {}\n{}", section.media, section.port, section.protocol, numbers.join(" "), section.text)
            })
            .collect();
        let at = at.index(sections.len() + 1);
        sections.insert(at, "m=audio 49170 RTP/AVP 8 0\n".to_owned());
        let text = format!("v=0\no=- 1 1 IN IP4 192.0.2.30\ns=-\nc=IN IP4 192.0.2.30\nt=0 0\n{}", sections.concat());
        let text = text.replace('\n', "\r\n");
        let mut machine = OfferAnswer::new(9);
        machine.receive_offer(described(&text)).unwrap();
        let (answer, negotiated) = machine.create_answer(&audio(40_000)).unwrap();
        assert_answers(&text, &answer.to_string());
        prop_assert_eq!(negotiated.audio.mline, at);
    }
}
