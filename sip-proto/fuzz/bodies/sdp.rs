//! A session description: read or refused; what is read prints, reads again as the same, and can be answered.

use sip_proto::sdp::offer_answer::{LocalMedia, OfferAnswer};
use sip_proto::sdp::parse;

pub fn run(data: &[u8]) {
    let Ok(description) = parse(data) else {
        return;
    };
    assert_eq!(parse(&description.to_bytes()).as_ref(), Ok(&description));
    for media in &description.media {
        for number in media.payload_types() {
            let _ = (media.rtpmap(number), media.fmtp(number));
        }
        let _ = (
            media.ptime(),
            media.maxptime(),
            media.minptime(),
            media.rtcp(),
            media.mid(),
        );
        let _ = (
            description.connection_of(media),
            description.direction_of(media),
            description.bandwidth_of(media),
        );
    }
    let _ = (description.direction(), description.groups().count());
    let local = LocalMedia::new(std::net::Ipv4Addr::LOCALHOST.into(), 40_000);
    let lines = description.media.len();
    let mut answerer = OfferAnswer::new(1);
    if answerer.receive_offer(description.clone()).is_ok()
        && let Ok((answer, _)) = answerer.create_answer(&local)
    {
        // RFC 3264 §6: as many media lines as the offer, in its order.
        assert_eq!(answer.media.len(), lines);
        assert_eq!(parse(&answer.to_bytes()).as_ref(), Ok(&answer));
    }
    let mut offerer = OfferAnswer::new(2);
    if offerer.create_offer(&local).is_ok() {
        let _ = offerer.receive_answer(description);
    }
}
