use super::write::RtcpWriter;
use super::*;
use proptest::prelude::*;

fn block() -> ReportBlock {
    ReportBlock {
        ssrc: Ssrc(0xaabb_ccdd),
        fraction_lost: 64,
        lost: -3,
        highest_seq: 0x0001_0005,
        jitter: 12,
        last_sr: 0x1234_5678,
        delay_since_last_sr: 0x8000,
    }
}

fn info() -> SenderInfo {
    SenderInfo {
        ntp: NtpTime(0x0102_0304_0506_0708),
        rtp: RtpTimestamp(9),
        packets: 10,
        bytes: 11,
    }
}

fn compound() -> Vec<u8> {
    let mut buffer = [0xee; 256];
    let mut writer = RtcpWriter::new(&mut buffer);
    writer.sender_report(Ssrc(1), &info(), &[block()]).unwrap();
    writer.cname(Ssrc(1), "room@host").unwrap();
    writer.bye(&[Ssrc(1), Ssrc(2)], Some("done")).unwrap();
    let length = writer.len();
    buffer[..length].to_vec()
}

#[test]
fn a_written_compound_reads_back() {
    let bytes = compound();
    let parsed = parse_compound(&bytes).unwrap();
    assert!(!parsed.is_reduced_size());
    let packets: Vec<_> = parsed.map(Result::unwrap).collect();
    let [
        RtcpPacket::SenderReport {
            ssrc,
            info: got,
            blocks,
        },
        RtcpPacket::SourceDescription(chunks),
        RtcpPacket::Bye(bye),
    ] = &packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!((*ssrc, *got), (Ssrc(1), info()));
    assert_eq!(blocks.clone().collect::<Vec<_>>(), [block()]);
    let chunks: Vec<_> = chunks.clone().collect();
    assert_eq!(chunks.len(), 1);
    assert_eq!(
        (chunks[0].ssrc, chunks[0].cname()),
        (Ssrc(1), Some(&b"room@host"[..]))
    );
    assert_eq!(bye.sources().collect::<Vec<_>>(), [Ssrc(1), Ssrc(2)]);
    assert_eq!(bye.reason, Some(&b"done"[..]));
}

#[test]
fn sender_report_bytes_stand_where_rfc_3550_puts_them() {
    let bytes = compound();
    assert_eq!(&bytes[..8], &[0x81, 200, 0, 12, 0, 0, 0, 1]);
    assert_eq!(
        &bytes[8..28],
        &[1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0, 11]
    );
    assert_eq!(&bytes[28..36], &[0xaa, 0xbb, 0xcc, 0xdd, 64, 0xff, 0xff, 0xfd]);
    // SDES: 4 header, 4 SSRC, 2 + 9 item, then at least one zero up to a multiple of four.
    assert_eq!(&bytes[52..56], &[0x81, 202, 0, 4]);
    assert_eq!(&bytes[60..72], b"\x01\x09room@host\x00");
}

#[test]
fn sdes_chunks_are_filled_with_at_least_one_zero() {
    for length in 0..8 {
        let mut buffer = [0xff; 64];
        let mut writer = RtcpWriter::new(&mut buffer);
        writer.cname(Ssrc(5), &"x".repeat(length)).unwrap();
        let end = writer.len();
        assert_eq!(end % 4, 0);
        assert_eq!(buffer[end - 1], 0);
        let Some(Ok(RtcpPacket::SourceDescription(mut chunks))) =
            parse_compound(&buffer[..end]).unwrap().next()
        else {
            panic!("no SDES")
        };
        assert_eq!(
            chunks.next().and_then(|chunk| chunk.cname()).map(<[u8]>::len),
            Some(length)
        );
    }
}

#[test]
fn reduced_size_feedback_is_read() {
    let bytes = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    let parsed = parse_compound(&bytes).unwrap();
    assert!(parsed.is_reduced_size());
    let packets: Vec<_> = parsed.collect();
    assert!(matches!(
        packets[..],
        [Ok(RtcpPacket::Feedback {
            payload_specific: true,
            format: 1,
            sender: Ssrc(1),
            media: Ssrc(2),
            ..
        })]
    ));
}

#[test]
fn app_and_unknown_types_are_kept() {
    let bytes = [
        0x83, 204, 0, 3, 0, 0, 0, 1, b't', b'e', b's', b't', 1, 2, 3, 4, 0x80, 211, 0, 0,
    ];
    let packets: Vec<_> = parse_compound(&bytes).unwrap().map(Result::unwrap).collect();
    assert!(matches!(
        packets[0],
        RtcpPacket::App {
            subtype: 3,
            name: [b't', b'e', b's', b't'],
            data: [1, 2, 3, 4],
            ..
        }
    ));
    assert!(matches!(
        packets[1],
        RtcpPacket::Unknown {
            packet_type: 211,
            body: []
        }
    ));
}

#[test]
fn broken_framing_is_refused() {
    let good = compound();
    let changed = |index: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[index] = value;
        parse_compound(&bytes).err()
    };
    assert_eq!(parse_compound(&[]).err(), Some(RtcpError::Framing(0)));
    assert_eq!(
        parse_compound(&good[..good.len() - 1]).err(),
        Some(RtcpError::Framing(good.len() - 1))
    );
    assert_eq!(changed(3, 200), Some(RtcpError::Framing(good.len())));
    assert_eq!(changed(0, 0x41), Some(RtcpError::Version(1)));
    assert_eq!(changed(1, 80), Some(RtcpError::PacketType(80)));
    assert_eq!(
        changed(0, 0xa1),
        Some(RtcpError::Padding),
        "padding before the last packet"
    );
}

#[test]
fn padding_of_the_last_packet_is_stripped() {
    let bytes = [0xa0, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4];
    let packets: Vec<_> = parse_compound(&bytes).unwrap().collect();
    assert!(matches!(
        &packets[..],
        [Ok(RtcpPacket::ReceiverReport { ssrc: Ssrc(7), .. })]
    ));
    let wrong = [0xa0, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 3];
    assert_eq!(parse_compound(&wrong).err(), Some(RtcpError::Padding));
}

#[test]
fn a_packet_that_contradicts_itself_does_not_hide_its_neighbour() {
    // An RR that claims two blocks but holds none, then a BYE.
    let bytes = [0x82, 201, 0, 1, 0, 0, 0, 7, 0x81, 203, 0, 1, 0, 0, 0, 7];
    let packets: Vec<_> = parse_compound(&bytes).unwrap().collect();
    assert!(matches!(packets[0], Err(RtcpError::Content(201))));
    assert!(matches!(packets[1], Ok(RtcpPacket::Bye(_))));
}

#[test]
fn a_full_buffer_leaves_what_was_there() {
    let mut buffer = [0; 40];
    let mut writer = RtcpWriter::new(&mut buffer);
    writer.sender_report(Ssrc(1), &info(), &[]).unwrap();
    assert_eq!(
        writer.cname(Ssrc(1), "too long for the rest"),
        Err(RtcpError::NoSpace)
    );
    assert_eq!(writer.len(), 28);
    writer.bye(&[Ssrc(1)], None).unwrap();
    assert_eq!(writer.len(), 36);
}

#[test]
fn lost_counts_saturate_at_24_bits() {
    for (lost, read) in [(i32::MAX, 0x7f_ffff), (i32::MIN, -0x80_0000), (-1, -1)] {
        let mut buffer = [0; 64];
        let mut writer = RtcpWriter::new(&mut buffer);
        writer
            .receiver_report(Ssrc(1), &[ReportBlock { lost, ..block() }])
            .unwrap();
        let end = writer.len();
        let Some(Ok(RtcpPacket::ReceiverReport { mut blocks, .. })) =
            parse_compound(&buffer[..end]).unwrap().next()
        else {
            panic!("no RR")
        };
        assert_eq!(blocks.next().unwrap().lost, read);
    }
}

/// Walks everything that a compound offers, as a consumer would.
fn walk(bytes: &[u8]) {
    let Ok(compound) = parse_compound(bytes) else {
        return;
    };
    for packet in compound.flatten() {
        match packet {
            RtcpPacket::SenderReport { blocks, .. } | RtcpPacket::ReceiverReport { blocks, .. } => {
                assert!(blocks.count() <= 31);
            }
            RtcpPacket::SourceDescription(chunks) => {
                assert!(chunks.map(|chunk| chunk.items().count()).sum::<usize>() <= bytes.len());
            }
            RtcpPacket::Bye(bye) => assert!(bye.sources().count() <= 31),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        walk(&bytes);
    }

    #[test]
    fn damaged_compounds_never_panic(damage in proptest::collection::vec((0_usize..100, any::<u8>()), 1..6)) {
        let mut bytes = compound();
        for (index, value) in damage {
            let index = index % bytes.len();
            bytes[index] = value;
        }
        walk(&bytes);
    }
}
