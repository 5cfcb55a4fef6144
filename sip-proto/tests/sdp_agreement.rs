//! Properties: reading and printing, damaged text, and two offer/answer machines that talk to each other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sip_proto::sdp::offer_answer::{AudioFormat, LocalMedia, Negotiated, OfferAnswer, Refusal};
use sip_proto::sdp::{
    Attribute, Bandwidth, Connection, Direction, Line, MediaDescription, Origin, SessionDescription, parse,
};

fn line() -> impl Strategy<Value = Line> {
    let address = select(vec![
        "192.0.2.1",
        "0.0.0.0",
        "233.252.0.1/127/3",
        "FF15::101/3",
        "host.example.org",
    ]);
    prop_oneof![
        address.prop_map(|address| Line::Connection(Connection {
            network: "IN".to_owned(),
            address_type: "IP4".to_owned(),
            address: address.to_owned(),
        })),
        ("[A-Z][A-Za-z-]{0,8}", any::<u64>())
            .prop_map(|(kind, value)| Line::Bandwidth(Bandwidth { kind, value })),
        ("[a-z][a-z-]{0,12}", option::of("\\PC{0,20}"))
            .prop_map(|(name, value)| Line::Attribute(Attribute { name, value })),
        Just(Line::Attribute(Attribute::new("rtpmap", "96 opus/48000/2"))),
        Just(Line::Attribute(Attribute::new(
            "rtpmap",
            "97 telephone-event/48000"
        ))),
        select(vec!["sendonly", "recvonly", "inactive", "rtcp-mux"])
            .prop_map(|name| Line::Attribute(Attribute::flag(name))),
        (select(vec!['i', 't', 'r', 'y', 'k']), "\\PC{0,20}")
            .prop_map(|(letter, text)| Line::Other(letter, text)),
    ]
}

fn media() -> impl Strategy<Value = MediaDescription> {
    (
        select(vec!["audio", "audio", "video", "application", "AUDIO", "x"]),
        prop_oneof![Just(0_u16), any::<u16>()],
        option::of(1_u16..5),
        select(vec![
            "RTP/AVP",
            "RTP/AVP",
            "RTP/AVPF",
            "RTP/SAVP",
            "UDP/TLS/RTP/SAVPF",
            "udp",
            "rtp/avp",
        ]),
        vec(
            select(vec!["0", "8", "9", "18", "96", "97", "101", "13", "999", "text"]),
            1..8,
        ),
        vec(line(), 0..8),
    )
        .prop_map(
            |(media, port, port_count, protocol, formats, lines)| MediaDescription {
                media: media.to_owned(),
                port,
                port_count,
                protocol: protocol.to_owned(),
                formats: formats.into_iter().map(str::to_owned).collect(),
                lines,
            },
        )
}

fn description() -> impl Strategy<Value = SessionDescription> {
    (
        "\\PC{0,20}",
        any::<u64>(),
        any::<u64>(),
        vec(line(), 0..8),
        vec(media(), 0..5),
    )
        .prop_map(|(name, id, version, lines, media)| SessionDescription {
            origin: Origin::new("-", id, version, "192.0.2.7".parse().unwrap()),
            name,
            lines,
            media,
        })
}

fn direction() -> impl Strategy<Value = Direction> {
    select(vec![
        Direction::SendRecv,
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ])
}

fn local(port: u16) -> impl Strategy<Value = LocalMedia> {
    let codecs = vec![
        AudioFormat::opus(96, Some("useinbandfec=1".to_owned())),
        AudioFormat::g722(),
        AudioFormat::pcmu(),
        AudioFormat::pcma(),
    ];
    (
        subsequence(codecs, 1..=4).prop_shuffle(),
        96_u8..128,
        direction(),
        any::<(bool, bool, bool)>(),
        option::of(select(vec![10_u8, 20, 40, 60])),
        option::of(select(vec![port + 1, port + 5])),
    )
        .prop_map(
            move |(mut formats, opus, direction, (mux, events, prefer_local), ptime, rtcp_port)| {
                for format in &mut formats {
                    if format.is_opus() {
                        format.payload_type = opus;
                    }
                }
                LocalMedia {
                    formats,
                    direction,
                    rtcp_mux: mux,
                    telephone_event: events,
                    prefer_local,
                    ptime,
                    rtcp_port,
                    ..LocalMedia::new("192.0.2.1".parse().unwrap(), port)
                }
            },
        )
}

/// One exchange: who offers, both sides' media, and whether the offerer gives up before the answer.
#[derive(Debug, Clone)]
struct Exchange {
    a_offers: bool,
    a: LocalMedia,
    b: LocalMedia,
    gives_up: bool,
    takes_out: bool,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    (
        any::<bool>(),
        local(40_000),
        local(50_000),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(a_offers, a, b, gives_up, takes_out)| Exchange {
            a_offers,
            a,
            b,
            gives_up,
            takes_out,
        })
}

/// The wire between them: text, so that only what is written counts.
fn over_the_wire(description: &SessionDescription) -> SessionDescription {
    let back = parse(&description.to_bytes()).unwrap();
    assert_eq!(&back, description);
    back
}

fn run(
    offerer: &mut OfferAnswer,
    answerer: &mut OfferAnswer,
    exchange: &Exchange,
) -> Option<(Negotiated, Negotiated)> {
    let (mut ours, theirs) = if exchange.a_offers {
        (exchange.a.clone(), &exchange.b)
    } else {
        (exchange.b.clone(), &exchange.a)
    };
    if exchange.takes_out && offerer.established().is_some() {
        ours.rtp_port = 0;
    }
    let offer = offerer.create_offer(&ours).unwrap();
    if exchange.gives_up {
        offerer.rollback();
        return None;
    }
    answerer.receive_offer(over_the_wire(&offer)).unwrap();
    match answerer.create_answer(theirs) {
        Ok((answer, answerer_sees)) => {
            let offerer_sees = offerer.receive_answer(over_the_wire(&answer)).unwrap();
            assert!(
                answer
                    .media
                    .iter()
                    .zip(&offer.media)
                    .all(|(a, o)| a.media == o.media && a.protocol == o.protocol)
            );
            Some((offerer_sees, answerer_sees))
        }
        Err(refusal) => {
            assert_eq!(refusal, Refusal::NoCommonFormat);
            offerer.rollback();
            None
        }
    }
}

fn assert_agreement(one: &Negotiated, other: &Negotiated) {
    assert_eq!((&one.local, &one.remote), (&other.remote, &other.local));
    let (one, other) = (&one.audio, &other.audio);
    assert_eq!((one.mline, one.disabled), (other.mline, other.disabled));
    assert_eq!(one.direction, other.direction.reversed());
    if one.disabled {
        assert_eq!(
            (one.direction, one.remote_rtp, other.remote_rtp),
            (Direction::Inactive, None, None)
        );
        return;
    }
    assert_eq!((one.rtcp_mux, one.ptime), (other.rtcp_mux, other.ptime));
    for (from, to) in [(one, other), (other, one)] {
        assert!(from.send.same_codec(&to.send));
        let hears = to
            .receive
            .iter()
            .find(|format| format.payload_type == from.send.payload_type);
        assert!(
            hears.is_some_and(|format| format.same_codec(&from.send)),
            "{from:?} {to:?}"
        );
        assert_eq!(from.telephone_events, to.receive_events);
    }
}

fn assert_addresses(negotiated: &Negotiated, peer: &LocalMedia) {
    if negotiated.audio.disabled {
        return;
    }
    let rtcp = match (negotiated.audio.rtcp_mux, peer.rtcp_port) {
        (true, _) => peer.rtp_port,
        (false, Some(port)) => port,
        (false, None) => peer.rtp_port + 1,
    };
    assert_eq!(
        negotiated.audio.remote_rtp,
        Some(SocketAddr::new(peer.address, peer.rtp_port))
    );
    assert_eq!(
        negotiated.audio.remote_rtcp,
        Some(SocketAddr::new(peer.address, rtcp))
    );
}

proptest! {
    #[test]
    fn parse_after_print_is_identity(description in description()) {
        let text = description.to_string();
        prop_assert_eq!(parse(text.as_bytes()), Ok(description.clone()));
        prop_assert_eq!(parse(text.replace("\r\n", "\n").as_bytes()), Ok(description));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(description) = parse(&bytes) {
            prop_assert_eq!(parse(&description.to_bytes()), Ok(description));
        }
    }

    /// Damage to a description that can be answered: what is still read prints and answers without panic.
    #[test]
    fn damaged_text_never_panics(
        description in description(),
        edits in vec((any::<prop::sample::Index>(), 0_usize..6, vec(any::<u8>(), 0..4)), 1..6),
        local in local(40_000),
    ) {
        let mut bytes = description.to_bytes();
        for (at, removed, with) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, with);
        }
        if let Ok(damaged) = parse(&bytes) {
            prop_assert_eq!(parse(&damaged.to_bytes()), Ok(damaged.clone()));
            let mut machine = OfferAnswer::new(1);
            machine.receive_offer(damaged.clone()).unwrap();
            let _ = machine.create_answer(&local);
            let mut machine = OfferAnswer::new(1);
            machine.create_offer(&local).unwrap();
            let _ = machine.receive_answer(damaged);
        }
    }

    /// RFC 3264 §6, for whatever is offered.
    #[test]
    fn answers_have_the_shape_of_the_offer(offer in description(), local in local(40_000)) {
        let mut machine = OfferAnswer::new(1);
        machine.receive_offer(offer.clone()).unwrap();
        match machine.create_answer(&local) {
            Ok((answer, negotiated)) => {
                prop_assert_eq!(offer.media.len(), answer.media.len());
                for (offered, answered) in offer.media.iter().zip(&answer.media) {
                    let same = offered.protocol == answered.protocol && offered.media.eq_ignore_ascii_case(&answered.media);
                    prop_assert!(same);
                    prop_assert!(offered.port != 0 || answered.port == 0);
                }
                let live: Vec<usize> = (0..answer.media.len()).filter(|index| answer.media[*index].port != 0).collect();
                prop_assert_eq!(live, [negotiated.audio.mline]);
                prop_assert!(machine.is_stable());
            }
            Err(refusal) => prop_assert_eq!(refusal.status(), 488),
        }
    }

    /// Whatever the two sides want, in whatever order they ask: they end with the same view, mirrored.
    #[test]
    fn two_machines_agree(exchanges in vec(exchange(), 1..12)) {
        let (mut a, mut b) = (OfferAnswer::new(1 << 30), OfferAnswer::new(2 << 30));
        let mut versions = [None::<(u64, String)>, None];
        for exchange in &exchanges {
            let result = if exchange.a_offers { run(&mut a, &mut b, exchange) } else { run(&mut b, &mut a, exchange) };
            prop_assert!(a.is_stable() && b.is_stable());
            let (Some(at_a), Some(at_b)) = (a.established(), b.established()) else {
                prop_assert!(a.established().is_none() && b.established().is_none());
                continue;
            };
            assert_agreement(at_a, at_b);
            if result.is_some() {
                assert_addresses(at_a, &exchange.b);
                assert_addresses(at_b, &exchange.a);
                let wanted = exchange.a.direction.and(exchange.b.direction.reversed());
                prop_assert!(at_a.audio.disabled || at_a.audio.direction == wanted);
            }
            for (side, seen) in versions.iter_mut().zip([at_a, at_b]) {
                let version: u64 = seen.local.origin.session_version.parse().unwrap();
                let text = seen.local.to_string();
                if let Some((before, old)) = side {
                    prop_assert!(version >= *before);
                    prop_assert_eq!(version == *before, *old == text);
                }
                *side = Some((version, text));
            }
        }
    }

    /// RFC 3264 §8.3.2: over the whole session a number means one codec.
    #[test]
    fn numbers_are_never_bound_again(exchanges in vec(exchange(), 1..10)) {
        let (mut a, mut b) = (OfferAnswer::new(1 << 30), OfferAnswer::new(2 << 30));
        let mut bound = std::collections::HashMap::new();
        for exchange in &exchanges {
            let _ = if exchange.a_offers { run(&mut a, &mut b, exchange) } else { run(&mut b, &mut a, exchange) };
            for description in a.established().into_iter().flat_map(|seen| [&seen.local, &seen.remote]) {
                let line = &description.media[0];
                for map in line.payload_types().into_iter().filter_map(|number| line.rtpmap(number)) {
                    let codec = (map.encoding.clone(), map.clock_rate);
                    let earlier = bound.entry(map.payload_type).or_insert_with(|| codec.clone());
                    prop_assert_eq!(&*earlier, &codec);
                }
            }
        }
    }
}
