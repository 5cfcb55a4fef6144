//! SRTP keys through offer and answer (RFC 4568 §5, §7): who takes what, and what a re-INVITE leaves alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use sip_proto::sdp::offer_answer::{
    AnswerError, LocalMedia, Negotiated, NegotiatedSrtp, OfferAnswer, OfferError, Refusal, SrtpPolicy,
};
use sip_proto::sdp::{self, Crypto, CryptoSuite, SessionDescription};
use std::collections::HashSet;

const A: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw";
const B: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0";
const LONG: &str = "sMyuAW0v2sbD7QYsgZVq31Vaew7BOqWWP65rvp46DZl1WHZ2SzFIE5TbUJP54A==";

fn local(srtp: SrtpPolicy) -> LocalMedia {
    LocalMedia {
        srtp,
        ..LocalMedia::new("192.0.2.9".parse().unwrap(), 40_000)
    }
}

fn session(seed: u8) -> OfferAnswer {
    OfferAnswer::new(seed.into()).with_keys([seed; 32])
}

fn offer(protocol: &str, cryptos: &[&str]) -> SessionDescription {
    let mut text = format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 5000 {protocol} 0\r\n"
    );
    for crypto in cryptos {
        text.push_str(&format!("a=crypto:{crypto}\r\n"));
    }
    sdp::parse(text.as_bytes()).unwrap()
}

fn answered(
    machine: &mut OfferAnswer,
    policy: SrtpPolicy,
    offer: SessionDescription,
) -> Result<(SessionDescription, Negotiated), Refusal> {
    machine.receive_offer(offer)?;
    machine.create_answer(&local(policy))
}

fn srtp(negotiated: &Negotiated) -> &NegotiatedSrtp {
    negotiated.audio.srtp.as_ref().unwrap()
}

fn aes(tag: u32, key: &str) -> String {
    format!("{tag} AES_CM_128_HMAC_SHA1_80 inline:{key}")
}

#[test]
fn the_table_of_what_is_taken() {
    use SrtpPolicy::{Off, Optional, Required};
    let good = aes(1, A);
    let bad = "1 AES_CM_128_HMAC_SHA1_80 inline:short";
    type Row<'a> = (&'a str, Option<&'a str>, SrtpPolicy, Result<bool, Refusal>);
    let table: [Row<'_>; 18] = [
        ("RTP/AVP", None, Off, Ok(false)),
        ("RTP/AVP", None, Optional, Ok(false)),
        ("RTP/AVP", None, Required, Err(Refusal::Unprotected)),
        ("RTP/AVP", Some(&good), Off, Ok(false)),
        ("RTP/AVP", Some(&good), Optional, Ok(true)),
        ("RTP/AVP", Some(&good), Required, Ok(true)),
        ("RTP/AVPF", Some(&good), Optional, Ok(true)),
        ("RTP/AVP", Some(bad), Optional, Ok(false)),
        ("RTP/AVP", Some(bad), Required, Err(Refusal::Unprotected)),
        ("RTP/SAVP", Some(&good), Off, Err(Refusal::Protocol)),
        ("RTP/SAVP", Some(&good), Optional, Ok(true)),
        ("RTP/SAVPF", Some(&good), Required, Ok(true)),
        ("RTP/SAVP", None, Optional, Err(Refusal::Keys)),
        ("RTP/SAVP", Some(bad), Required, Err(Refusal::Keys)),
        ("UDP/TLS/RTP/SAVP", Some(&good), Optional, Err(Refusal::Protocol)),
        ("UDP/TLS/RTP/SAVPF", Some(&good), Required, Err(Refusal::Protocol)),
        ("TCP/RTP/SAVP", Some(&good), Required, Err(Refusal::Protocol)),
        ("RTP/SAVP", None, Off, Err(Refusal::Protocol)),
    ];
    for (protocol, crypto, policy, expected) in table {
        let offer = offer(protocol, crypto.as_slice());
        let outcome = answered(&mut session(1), policy, offer);
        let protected = outcome.as_ref().map(|(answer, negotiated)| {
            let line = &answer.media[0];
            assert_eq!(line.protocol, protocol, "the protocol is echoed");
            let protected = negotiated.audio.srtp.is_some();
            assert_eq!(line.cryptos().len(), usize::from(protected));
            protected
        });
        let protected = protected.map_err(|refusal| *refusal);
        assert_eq!(protected, expected, "{protocol} {crypto:?} {policy:?}");
        if let Err(refusal) = expected {
            assert_eq!(refusal.status(), 488);
            assert!(refusal.warning().is_some());
        }
    }
}

#[test]
fn the_first_usable_line_is_agreed_to_with_a_key_of_our_own() {
    let offer = offer(
        "RTP/SAVP",
        &[
            "1 F8_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw",
            &format!("2 AES_CM_128_HMAC_SHA1_80 inline:{A}|2^31|1:4"),
            &format!("7 AES_256_CM_HMAC_SHA1_80 inline:{LONG}"),
            &aes(8, A),
        ],
    );
    let (answer, negotiated) = answered(&mut session(1), SrtpPolicy::Optional, offer).unwrap();
    let ours = answer.media[0].cryptos();
    assert_eq!(ours.len(), 1, "RFC 4568 §5.1.2: exactly one");
    assert_eq!((ours[0].tag, ours[0].suite), (7, CryptoSuite::AesCm256Sha1_80));
    let srtp = srtp(&negotiated);
    assert_eq!(srtp.local, ours[0].key);
    assert_eq!(
        srtp.remote,
        Crypto::parse(&format!("7 AES_256_CM_HMAC_SHA1_80 inline:{LONG}"))
            .unwrap()
            .key
    );
    assert_ne!(srtp.local, srtp.remote);
}

#[test]
fn a_refresh_changes_nothing_and_a_hold_keeps_the_keys() {
    let mut machine = session(3);
    let first = offer("RTP/SAVP", &[&aes(1, A)]);
    let (answer, before) = answered(&mut machine, SrtpPolicy::Required, first.clone()).unwrap();
    let (again, refreshed) = answered(&mut machine, SrtpPolicy::Required, first.clone()).unwrap();
    assert_eq!(again, answer, "the same description, version and key");
    assert!(!refreshed.changed);
    let mut held = first;
    held.media[0].lines.push(
        sdp::parse(b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\na=sendonly\r\nt=0 0\r\n")
            .unwrap()
            .lines[0]
            .clone(),
    );
    let (_, held) = answered(&mut machine, SrtpPolicy::Required, held).unwrap();
    assert!(held.changed);
    assert_eq!(srtp(&held), srtp(&before), "the rollover counters go on");
}

#[test]
fn a_new_key_of_the_peer_leaves_ours_and_a_new_suite_does_not() {
    let mut machine = session(4);
    let policy = SrtpPolicy::Optional;
    let (_, first) = answered(&mut machine, policy, offer("RTP/SAVP", &[&aes(1, A)])).unwrap();
    let (_, second) = answered(&mut machine, policy, offer("RTP/SAVP", &[&aes(1, B)])).unwrap();
    assert!(second.changed);
    assert_eq!(srtp(&first).local, srtp(&second).local);
    assert_ne!(srtp(&first).remote, srtp(&second).remote);
    let long = format!("2 AES_256_CM_HMAC_SHA1_80 inline:{LONG}");
    // What is in use stays in use, though another line comes first now.
    let both = offer("RTP/SAVP", &[&long, &aes(3, B)]);
    let (_, third) = answered(&mut machine, policy, both).unwrap();
    assert_eq!(
        (srtp(&third).tag, srtp(&third).suite),
        (3, CryptoSuite::AesCm128Sha1_80)
    );
    assert_eq!(srtp(&third).local, srtp(&first).local);
    let (_, fourth) = answered(&mut machine, policy, offer("RTP/SAVP", &[&long])).unwrap();
    assert_eq!(srtp(&fourth).suite, CryptoSuite::AesCm256Sha1_80);
    // Clear in between: never back to a key that was used before.
    let (_, clear) = answered(&mut machine, policy, offer("RTP/AVP", &[])).unwrap();
    assert_eq!(clear.audio.srtp, None);
    let (_, back) = answered(&mut machine, policy, offer("RTP/AVP", &[&aes(1, A)])).unwrap();
    assert_ne!(srtp(&back).local, srtp(&first).local);
}

/// RFC 4568 §7.1.4: whoever is at the other end of a stream that moved may not know our rollover counter.
#[test]
fn a_stream_that_moved_begins_with_a_new_key() {
    let policy = SrtpPolicy::Required;
    let moved = |key: &str| {
        let text = offer("RTP/SAVP", &[&aes(1, key)]).to_string();
        sdp::parse(text.replace("m=audio 5000", "m=audio 5002").as_bytes()).unwrap()
    };
    let mut machine = session(4);
    let (_, first) = answered(&mut machine, policy, offer("RTP/SAVP", &[&aes(1, A)])).unwrap();
    let (_, same) = answered(&mut machine, policy, moved(A)).unwrap();
    assert_eq!(
        srtp(&same),
        srtp(&first),
        "the old key elsewhere: the same end, another way to it"
    );
    let (answer, new) = answered(&mut machine, policy, offer("RTP/SAVP", &[&aes(1, B)])).unwrap();
    assert_ne!(srtp(&new).local, srtp(&first).local, "another end");
    assert_eq!(answer.media[0].cryptos()[0].key, srtp(&new).local);

    // When it is our end that moves, ours is new in an answer and in an offer.
    let elsewhere = LocalMedia {
        rtp_port: 40_002,
        ..local(policy)
    };
    machine.receive_offer(offer("RTP/SAVP", &[&aes(1, B)])).unwrap();
    let (_, third) = machine.create_answer(&elsewhere).unwrap();
    assert_ne!(srtp(&third).local, srtp(&new).local);
    let stays = machine.create_offer(&elsewhere).unwrap();
    assert_eq!(stays.media[0].cryptos()[0].key, srtp(&third).local);
    machine.rollback();
    let goes = machine.create_offer(&local(policy)).unwrap();
    let line = goes.media[0].cryptos()[0].clone();
    assert_ne!(line.key, srtp(&third).local);
    let fourth = machine
        .receive_answer(offer("RTP/SAVP", &[&aes(line.tag, B)]))
        .unwrap();
    assert_eq!(srtp(&fourth).local, line.key, "what was offered is what is used");
}

#[test]
fn our_own_key_sent_back_is_refused() {
    let mut machine = session(5);
    let first = offer("RTP/SAVP", &[&aes(1, A)]);
    let (answer, _) = answered(&mut machine, SrtpPolicy::Required, first).unwrap();
    let mirrored = answer.media[0].cryptos()[0].to_string();
    let again = offer("RTP/SAVP", &[&mirrored]);
    assert_eq!(
        answered(&mut machine, SrtpPolicy::Required, again).err(),
        Some(Refusal::Keys)
    );
    assert!(machine.established().is_some(), "what held holds on");
}

#[test]
fn our_offers_have_a_key_for_each_suite_and_never_the_same() {
    let mut seen = HashSet::new();
    for seed in 1..20 {
        for (policy, protocol) in [
            (SrtpPolicy::Optional, "RTP/AVP"),
            (SrtpPolicy::Required, "RTP/SAVP"),
        ] {
            let mut machine =
                session(seed).with_keys([seed ^ if protocol == "RTP/AVP" { 0 } else { 0x80 }; 32]);
            let offer = machine.create_offer(&local(policy)).unwrap();
            let line = &offer.media[0];
            assert_eq!(line.protocol, protocol);
            let cryptos = line.cryptos();
            let suites: Vec<_> = cryptos.iter().map(|crypto| crypto.suite).collect();
            assert_eq!(suites, CryptoSuite::OFFERED);
            for crypto in cryptos {
                assert!(seen.insert(crypto.to_string()), "a key twice");
            }
        }
    }
    let mut clear = session(1);
    let offer = clear.create_offer(&local(SrtpPolicy::Off)).unwrap();
    assert!(!offer.media[0].has("crypto") && offer.media[0].protocol == "RTP/AVP");
}

#[test]
fn answers_to_our_offers() {
    assert_eq!(CryptoSuite::OFFERED[1], CryptoSuite::AesCm128Sha1_80);
    let own = |offer: &SessionDescription| offer.media[0].cryptos()[1].clone();
    let fits = |_: &SessionDescription| Some(aes(2, A));
    type Line = fn(&SessionDescription) -> Option<String>;
    let table: [(SrtpPolicy, Line, Result<bool, AnswerError>); 8] = [
        (SrtpPolicy::Required, fits, Ok(true)),
        (SrtpPolicy::Optional, fits, Ok(true)),
        (SrtpPolicy::Optional, |_| None, Ok(false)),
        (SrtpPolicy::Required, |_| None, Err(AnswerError::Keys)),
        // Another suite than that tag has, a tag that was not offered, our own key.
        (SrtpPolicy::Optional, |_| Some(aes(1, A)), Err(AnswerError::Keys)),
        (SrtpPolicy::Optional, |_| Some(aes(9, A)), Err(AnswerError::Keys)),
        (
            SrtpPolicy::Required,
            |offer| Some(offer.media[0].cryptos()[1].to_string()),
            Err(AnswerError::Keys),
        ),
        (
            SrtpPolicy::Optional,
            |_| Some("2 nonsense".to_owned()),
            Err(AnswerError::Keys),
        ),
    ];
    for (policy, line, expected) in table {
        let mut machine = session(6);
        let ours = machine.create_offer(&local(policy)).unwrap();
        let line = line(&ours);
        let answer = offer(&ours.media[0].protocol, line.as_deref().as_slice());
        let outcome = machine.receive_answer(answer);
        let protected = outcome.as_ref().map(|negotiated| negotiated.audio.srtp.is_some());
        assert_eq!(protected.map_err(|error| *error), expected, "{policy:?} {line:?}");
        if let Some(srtp) = outcome.ok().and_then(|negotiated| negotiated.audio.srtp) {
            assert_eq!(srtp.local, own(&ours).key);
        }
    }
}

#[test]
fn a_clear_answer_to_a_protected_offer_is_no_answer() {
    let mut machine = session(7);
    machine.create_offer(&local(SrtpPolicy::Required)).unwrap();
    let clear = offer("RTP/AVP", &[&aes(1, A)]);
    assert_eq!(machine.receive_answer(clear), Err(AnswerError::Protocol(0)));
}

#[test]
fn two_of_us_agree_and_offer_the_same_key_again() {
    for policy in [SrtpPolicy::Optional, SrtpPolicy::Required] {
        let (mut one, mut other) = (session(8), session(9));
        let mut agreed: Vec<NegotiatedSrtp> = Vec::new();
        for round in 0..4 {
            // In turn: who offers in a running session keeps tag, suite and key.
            let (offering, answering) = if round % 2 == 0 {
                (&mut one, &mut other)
            } else {
                (&mut other, &mut one)
            };
            let offer = offering.create_offer(&local(policy)).unwrap();
            let (answer, theirs) = answered(answering, policy, offer).unwrap();
            let ours = offering.receive_answer(answer).unwrap();
            let (ours, theirs) = (srtp(&ours), srtp(&theirs));
            assert_eq!((&ours.local, &ours.remote), (&theirs.remote, &theirs.local));
            assert_eq!(ours.suite, theirs.suite);
            let of_one = if round % 2 == 0 { ours } else { theirs };
            agreed.push(of_one.clone());
        }
        assert!(agreed.windows(2).all(|pair| pair[0] == pair[1]), "{policy:?}");
    }
}

#[test]
fn without_a_source_of_keys_protection_is_a_misuse() {
    let mut machine = OfferAnswer::new(1);
    for policy in [SrtpPolicy::Optional, SrtpPolicy::Required] {
        assert_eq!(machine.create_offer(&local(policy)), Err(OfferError::LocalMedia));
        let offer = offer("RTP/SAVP", &[&aes(1, A)]);
        assert_eq!(
            answered(&mut machine, policy, offer).err(),
            Some(Refusal::LocalMedia)
        );
    }
}

#[test]
fn keys_do_not_show_in_debug() {
    let mut machine = session(2);
    let first = offer("RTP/SAVP", &[&aes(1, A)]);
    let (answer, negotiated) = answered(&mut machine, SrtpPolicy::Required, first).unwrap();
    let key = answer.media[0].cryptos()[0].to_string();
    let key = key.split("inline:").nth(1).unwrap().to_owned();
    let shown = format!("{machine:?} {negotiated:?} {answer:?}");
    assert!(!shown.contains(A) && !shown.contains(&key));
}
