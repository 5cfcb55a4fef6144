//! Two phones agree on audio: an offer, its answer, a hold, a resume, and an offer that cannot be answered.
//! Everything goes over as text, as it would in SIP bodies. Exits with an error if the two sides disagree.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use sip_proto::sdp::offer_answer::{AudioFormat, LocalMedia, Negotiated, OfferAnswer, Refusal};
use sip_proto::sdp::{Direction, parse};

fn main() -> Result<(), Box<dyn Error>> {
    let mut alice = OfferAnswer::new(0x5eed_0000_0001);
    let mut bob = OfferAnswer::new(0x5eed_0000_0002);
    let at_alice = LocalMedia::new("192.0.2.1".parse()?, 40_000);
    let at_bob = LocalMedia {
        formats: vec![
            AudioFormat::pcmu(),
            AudioFormat::opus(107, Some("usedtx=1".to_owned())),
        ],
        prefer_local: false,
        ..LocalMedia::new("2001:db8::b".parse()?, 50_000)
    };

    exchange("Alice calls Bob", &mut alice, &at_alice, &mut bob, &at_bob)?;
    let hold = LocalMedia {
        direction: Direction::SendOnly,
        ..at_bob.clone()
    };
    exchange("Bob holds Alice", &mut bob, &hold, &mut alice, &at_alice)?;
    exchange("Bob resumes", &mut bob, &at_bob, &mut alice, &at_alice)?;

    println!("== An offer of protected media only");
    let mut carol = OfferAnswer::new(0x5eed_0000_0003);
    let offer = carol
        .create_offer(&at_alice)?
        .to_string()
        .replace("RTP/AVP", "RTP/SAVP");
    let mut dave = OfferAnswer::new(0x5eed_0000_0004);
    dave.receive_offer(parse(offer.as_bytes())?)?;
    match dave.create_answer(&at_bob) {
        Err(refusal @ Refusal::Protocol) => {
            println!("{} {:?}", refusal.status(), refusal.warning());
            Ok(())
        }
        other => Err(format!("expected a refusal, got {other:?}").into()),
    }
}

fn exchange(
    title: &str,
    offerer: &mut OfferAnswer,
    offers: &LocalMedia,
    answerer: &mut OfferAnswer,
    answers: &LocalMedia,
) -> Result<(), Box<dyn Error>> {
    println!("== {title}");
    let offer = offerer.create_offer(offers)?.to_bytes();
    println!("{}", String::from_utf8_lossy(&offer));
    answerer.receive_offer(parse(&offer)?)?;
    let (answer, answerer_sees) = answerer.create_answer(answers)?;
    println!("-- answer\n{answer}");
    let offerer_sees = offerer.receive_answer(parse(&answer.to_bytes())?)?;
    show("offerer", &offerer_sees);
    show("answerer", &answerer_sees);
    let (one, other) = (&offerer_sees.audio, &answerer_sees.audio);
    let agreed = one.direction == other.direction.reversed()
        && one.send.same_codec(&other.send)
        && one.ptime == other.ptime
        && one.rtcp_mux == other.rtcp_mux;
    if agreed {
        Ok(())
    } else {
        Err(format!("{title}: the two sides disagree").into())
    }
}

fn show(who: &str, negotiated: &Negotiated) {
    let audio = &negotiated.audio;
    let to = audio
        .remote_rtp
        .map_or_else(|| "nowhere yet".to_owned(), |address| address.to_string());
    println!(
        "{who}: {} {} as {} in {} ms packets to {to}",
        audio.direction, audio.send.encoding, audio.send.payload_type, audio.ptime
    );
}
