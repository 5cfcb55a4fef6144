//! SRTP keys from offer and answer to the shard: given on once, kept over a hold, replaced where they changed.

use meet_server::focus::command::SipCommand;
use meet_server::focus::room_io::MediaCommand;
use meet_server::focus::settings::FocusSettings;
use rtp_media::srtp::KeyChange;
use sip_proto::endpoint::{SessionEvent, SessionId};
use sip_proto::message::HeaderName;
use sip_proto::sdp::offer_answer::SrtpPolicy;

use crate::house::{self, House, flow, request};

const BLUE: &str = "sip:blue@192.168.1.1:5060";
const A: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw";
const B: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0";

fn offer(protocol: &str, key: Option<&str>, more: &str) -> String {
    let crypto = key.map_or(String::new(), |key| {
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n")
    });
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.168.1.9\r\ns=-\r\nc=IN IP4 192.168.1.9\r\nt=0 0\r\n\
         m=audio 40000 {protocol} 0\r\n{crypto}{more}"
    )
}

fn house(srtp: SrtpPolicy) -> House {
    let mut settings: FocusSettings = house::lan();
    settings.room.srtp = srtp;
    House::new(settings)
}

fn invite(house: &mut House, body: &str) -> SessionId {
    let lines = ["Content-Type: application/sdp"];
    house.invite_as(request("INVITE", BLUE, "<sip:ann@h>", &lines, body), flow())
}

/// The line of our key in the answer to a re-INVITE.
fn reoffered(house: &mut House, call: SessionId, body: &str) -> Option<String> {
    let lines = ["Content-Type: application/sdp"];
    let request = request("INVITE", BLUE, "<sip:ann@h>", &lines, body);
    house.session(call, SessionEvent::ReOffer { request });
    match house.take(|c| matches!(c, SipCommand::Answer { session, .. } if *session == call)) {
        Some(SipCommand::Answer { body, .. }) => crypto(&String::from_utf8(body.bytes).unwrap()),
        _ => panic!("not answered: {:?}", house.sip),
    }
}

fn crypto(answer: &str) -> Option<String> {
    answer
        .lines()
        .find(|line| line.starts_with("a=crypto:"))
        .map(str::to_owned)
}

/// What the shard was told since the last time: `k` with the directions, `a`dd, `u`pdate.
fn told(house: &mut House) -> Vec<String> {
    let drained = house.media.drain(..);
    drained
        .filter_map(|(_, command)| match command {
            MediaCommand::Keys { change, .. } => Some(match change {
                KeyChange::Clear => "clear".to_owned(),
                KeyChange::Keys { send, receive } => {
                    format!("keys {} {}", send.is_some(), receive.is_some())
                }
            }),
            MediaCommand::Add { .. } => Some("add".to_owned()),
            MediaCommand::Update { .. } => Some("update".to_owned()),
            _ => None,
        })
        .collect()
}

#[test]
fn keys_come_before_the_leg_and_only_when_they_change() {
    let mut house = house(SrtpPolicy::Optional);
    let call = invite(&mut house, &offer("RTP/SAVP", Some(A), ""));
    let (_, answer) = house.accepted(call);
    assert!(answer.contains(" RTP/SAVP "), "{answer}");
    let ours = crypto(&answer).unwrap();
    assert!(!ours.contains(A), "our key is our own");
    assert_eq!(told(&mut house), ["keys true true", "add"]);
    // A refresh changes nothing; hold and resume leave the keys alone.
    assert_eq!(
        reoffered(&mut house, call, &offer("RTP/SAVP", Some(A), "")),
        Some(ours.clone())
    );
    assert!(told(&mut house).is_empty());
    for more in ["a=sendonly\r\n", ""] {
        let again = reoffered(&mut house, call, &offer("RTP/SAVP", Some(A), more));
        assert_eq!(again, Some(ours.clone()));
        assert_eq!(told(&mut house), ["update"]);
    }
    // A new key of the peer's: ours goes on.
    let again = reoffered(&mut house, call, &offer("RTP/SAVP", Some(B), ""));
    assert_eq!(again, Some(ours));
    assert_eq!(told(&mut house), ["keys false true", "update"]);
    let clear = reoffered(&mut house, call, &offer("RTP/AVP", None, ""));
    assert_eq!(clear, None);
    assert_eq!(told(&mut house), ["clear", "update"]);
}

#[test]
fn who_may_be_clear_is_the_policys() {
    let table = [
        (SrtpPolicy::Off, "RTP/AVP", Some(A), Some(false)),
        (SrtpPolicy::Off, "RTP/SAVP", Some(A), None),
        (SrtpPolicy::Optional, "RTP/AVP", None, Some(false)),
        (SrtpPolicy::Optional, "RTP/AVP", Some(A), Some(true)),
        (SrtpPolicy::Required, "RTP/AVP", None, None),
        (SrtpPolicy::Required, "RTP/AVP", Some(A), Some(true)),
        (SrtpPolicy::Required, "RTP/SAVPF", Some(A), Some(true)),
        (SrtpPolicy::Required, "UDP/TLS/RTP/SAVP", Some(A), None),
    ];
    for (policy, protocol, key, expected) in table {
        let mut house = house(policy);
        let call = invite(&mut house, &offer(protocol, key, ""));
        if let Some(protected) = expected {
            let (_, answer) = house.accepted(call);
            assert_eq!(crypto(&answer).is_some(), protected, "{policy:?} {protocol}");
            assert_eq!(told(&mut house).len(), 1 + usize::from(protected));
        } else {
            match house.take(|c| matches!(c, SipCommand::Reject { session, .. } if *session == call)) {
                Some(SipCommand::Reject { status, headers, .. }) => {
                    assert_eq!(status.code(), 488, "{policy:?} {protocol}");
                    assert!(headers.get(&HeaderName::Warning).is_some());
                }
                _ => panic!("{policy:?} {protocol}: {:?}", house.sip),
            }
            assert!(told(&mut house).is_empty());
        }
    }
}

#[test]
fn our_offer_has_keys_as_the_policy_says() {
    for (policy, protocol, lines) in [
        (SrtpPolicy::Off, " RTP/AVP ", 0),
        (SrtpPolicy::Optional, " RTP/AVP ", 2),
        (SrtpPolicy::Required, " RTP/SAVP ", 2),
    ] {
        let mut house = house(policy);
        let call = house.invite_as(request("INVITE", BLUE, "<sip:ann@h>", &[], ""), flow());
        let (_, offer) = house.accepted(call);
        assert!(offer.contains(protocol), "{offer}");
        assert_eq!(offer.matches("a=crypto:").count(), lines, "{offer}");
        let tag = if lines == 0 {
            ""
        } else {
            "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:"
        };
        let key = if lines == 0 {
            String::new()
        } else {
            format!("{tag}{A}\r\n")
        };
        let answer = format!(
            "v=0\r\no=- 2 2 IN IP4 192.168.1.9\r\ns=-\r\nc=IN IP4 192.168.1.9\r\nt=0 0\r\n\
             m=audio 40000{protocol}0\r\n{key}"
        );
        house.session(
            call,
            SessionEvent::Confirmed {
                body: answer.into_bytes(),
                content_type: Some("application/sdp".into()),
            },
        );
        let expected: &[&str] = if lines == 0 {
            &["add"]
        } else {
            &["keys true true", "add"]
        };
        assert_eq!(told(&mut house), expected, "{policy:?}");
    }
}
