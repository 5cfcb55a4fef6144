//! Offer/answer as a sequence of operations: two machines exchange offers, answers, refusals and nonsense in any
//! order. A refused operation changes nothing; whenever an exchange ends, both see the same session, mirrored.

use super::script::Script;
use sip_proto::sdp::offer_answer::{AudioFormat, LocalMedia, OfferAnswer};
use sip_proto::sdp::{Direction, SessionDescription, parse};

pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut sides = [OfferAnswer::new(1 << 30), OfferAnswer::new(2 << 30)];
    let mut wire: Option<(usize, SessionDescription)> = None;
    for _ in 0..64 {
        if script.is_over() {
            break;
        }
        let side = usize::from(script.byte() & 1);
        match script.byte() % 8 {
            // One whole exchange.
            0..=2 => {
                let (mine, theirs) = (media(&mut script, 40_000), media(&mut script, 50_000));
                sides.iter_mut().for_each(OfferAnswer::rollback);
                wire = None;
                exchange(&mut sides, side, &mine, &theirs);
            }
            3 => {
                let media = media(&mut script, 42_000);
                if let Ok(offer) = sides[side].create_offer(&media) {
                    wire = Some((side, over_the_wire(&offer)));
                }
            }
            4 => {
                if let Some((from, description)) = wire.take() {
                    let _ = sides[1 - from].receive_offer(description);
                }
            }
            5 => {
                let media = media(&mut script, 44_000);
                if let Ok((answer, _)) = sides[side].create_answer(&media) {
                    wire = Some((side, over_the_wire(&answer)));
                }
            }
            6 => {
                if let Some((from, description)) = wire.take() {
                    let _ = sides[1 - from].receive_answer(description);
                }
            }
            _ => {
                let text = script.bytes();
                if let Ok(description) = parse(text) {
                    let _ = sides[side].receive_offer(description.clone());
                    let _ = sides[side].receive_refreshed(description.clone());
                    let _ = sides[side].receive_answer(description);
                }
                sides[side].rollback();
            }
        }
    }
}

fn exchange(sides: &mut [OfferAnswer; 2], offerer: usize, ours: &LocalMedia, theirs: &LocalMedia) {
    let before = sides.each_ref().map(|side| side.established().cloned());
    let Ok(offer) = sides[offerer].create_offer(ours) else {
        return;
    };
    let answerer = 1 - offerer;
    if sides[answerer].receive_offer(over_the_wire(&offer)).is_err() {
        sides.iter_mut().for_each(OfferAnswer::rollback);
        return;
    }
    let Ok((answer, at_answerer)) = sides[answerer].create_answer(theirs) else {
        sides.iter_mut().for_each(OfferAnswer::rollback);
        assert_eq!(sides.each_ref().map(|side| side.established().cloned()), before);
        return;
    };
    let Ok(at_offerer) = sides[offerer].receive_answer(over_the_wire(&answer)) else {
        // Only where the script let the two drift apart before.
        sides.iter_mut().for_each(OfferAnswer::rollback);
        return;
    };
    assert_eq!(at_offerer.audio.disabled, at_answerer.audio.disabled);
    assert_eq!(at_offerer.audio.direction, at_answerer.audio.direction.reversed());
    if !at_offerer.audio.disabled {
        assert!(at_offerer.audio.send.same_codec(&at_answerer.audio.send));
    }
    assert!(sides.iter().all(OfferAnswer::is_stable));
    // A refresh that gets the same answer changes nothing.
    let refreshed = sides[offerer].receive_refreshed(over_the_wire(&answer));
    assert!(refreshed.is_ok_and(|refreshed| !refreshed.changed));
}

fn over_the_wire(description: &SessionDescription) -> SessionDescription {
    parse(&description.to_bytes()).expect("our own print reads")
}

fn media(script: &mut Script<'_>, port: u16) -> LocalMedia {
    let bits = script.byte();
    let dynamic = 96 + (script.byte() & 31);
    let all = [
        AudioFormat::opus(dynamic, Some("useinbandfec=1".to_owned())),
        AudioFormat::g722(),
        AudioFormat::pcmu(),
        AudioFormat::pcma(),
    ];
    let mut formats: Vec<AudioFormat> = all
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, format)| format)
        .collect();
    if formats.is_empty() {
        formats.push(AudioFormat::pcma());
    }
    let directions = [
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ];
    LocalMedia {
        formats,
        direction: script.pick(&directions),
        rtcp_mux: bits & 16 != 0,
        telephone_event: bits & 32 != 0,
        prefer_local: bits & 64 != 0,
        ptime: script.pick(&[None, Some(10), Some(20), Some(40), Some(60)]),
        rtp_port: if bits & 128 != 0 && script.byte() < 32 {
            0
        } else {
            port
        },
        ..LocalMedia::new(std::net::Ipv4Addr::LOCALHOST.into(), port)
    }
}
