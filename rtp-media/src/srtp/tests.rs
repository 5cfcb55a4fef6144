//! The published vectors (RFC 3711 B.2 and B.3, RFC 6188 §7, RFC 7714 §16 and §17: numbers, which are facts), and what
//! every suite must do.

use super::cipher::{self, derived, key_stream};
use super::protect::{seal_rtcp, seal_rtp};
use super::unprotect::{open_rtcp, open_rtp};
use super::*;
use crate::limits::SRTP_SOURCES;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn counter(text: &str) -> [u8; 16] {
    hex(text).try_into().unwrap()
}

fn master(suite: Suite) -> MasterKey {
    let material: Vec<u8> = (0..suite.material_len()).map(|n| n as u8 ^ 0x5a).collect();
    MasterKey::new(suite, &material).unwrap()
}

fn pair(suite: Suite) -> (Protect, Unprotect) {
    let key = master(suite);
    (Protect::new(&key).unwrap(), Unprotect::new(&key).unwrap())
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 1, 2]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn protected(protect: &mut Protect, packet: &[u8]) -> Vec<u8> {
    let mut space = [0; 2000];
    protect.rtp(packet, &mut space).unwrap().to_vec()
}

#[test]
fn key_streams_of_rfc_3711_and_6188() {
    let short = hex("2b7e151628aed2a6abf7158809cf4f3c");
    let long = hex("57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98");
    let first = counter("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000");
    let late = counter("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    let table = [
        (
            &short,
            first,
            "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0",
        ),
        (
            &short,
            late,
            "ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae6a2cc3787889374fbeb4c81b17ba6c44",
        ),
        (
            &long,
            first,
            "92bdd28a93c3f52511c677d08b5515a49da71b2378a854f67050756ded165bac63c4868b7096d88421b563b8c94c9a31",
        ),
        (
            &long,
            late,
            "cea518c90fd91ced9cbb18c078a547113dbc4814f4da5f00a08772b63c6a046d6eb246913062a16891433e97dd01a57f",
        ),
    ];
    for (key, counter, expected) in table {
        assert_eq!(key_stream(key, counter, 48), hex(expected));
    }
}

#[test]
fn session_keys_of_rfc_3711_and_6188() {
    let short = MasterKey::new(
        Suite::AesCm128Sha1_80,
        &hex("e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6"),
    )
    .unwrap();
    assert_eq!(derived(&short, 0, 16), hex("c61e7a93744f39ee10734afe3ff7a087"));
    assert_eq!(derived(&short, 2, 14), hex("30cbbc08863d8c85d49db34a9ae1"));
    assert_eq!(
        derived(&short, 1, 20),
        hex("cebe321f6ff7716b6fd4ab49af256a156d38baa4")
    );
    let long = MasterKey::new(
        Suite::AesCm256Sha1_80,
        &hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2"),
    )
    .unwrap();
    let cipher_key = "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4";
    assert_eq!(derived(&long, 0, 32), hex(cipher_key));
    assert_eq!(derived(&long, 2, 14), hex("fa31791685ca444a9e07c6c64e93"));
    assert_eq!(
        derived(&long, 1, 20),
        hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
    );
}

#[test]
fn galois_packets_of_rfc_7714() {
    let salt: [u8; 12] = hex("517569642070726f2071756f").try_into().unwrap();
    let short = hex("000102030405060708090a0b0c0d0e0f");
    let long = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let clear = hex("8040f17b8041f8d35501a0b2\
        47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573");
    let table = [
        (
            Suite::AeadAes128Gcm,
            &short,
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
             899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            Suite::AeadAes256Gcm,
            &long,
            "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ];
    for (suite, key, expected) in table {
        let cipher = cipher::galois(suite, key, salt);
        let fields = RtpFields::read(&clear).unwrap();
        let mut space = [0; 200];
        let sealed = seal_rtp(&cipher, fields, u64::from(fields.sequence), &clear, &mut space).unwrap();
        assert_eq!(sealed, hex(expected), "{suite:?}");
        let mut sealed = sealed.to_vec();
        let length = open_rtp(&cipher, fields, u64::from(fields.sequence), &mut sealed).unwrap();
        assert_eq!(sealed[..length], clear);
    }
    let report = hex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
        deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
    let cipher = cipher::galois(Suite::AeadAes128Gcm, &short, salt);
    let mut space = [0; 200];
    let sealed = seal_rtcp(&cipher, 0x4d61_7273, 0x5d4, &report, &mut space).unwrap();
    assert_eq!(
        sealed,
        hex(
            "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded\
             0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4"
        )
    );
    let mut sealed = sealed.to_vec();
    let length = open_rtcp(&cipher, 0x4d61_7273, 0x8000_05d4, &mut sealed).unwrap();
    assert_eq!(sealed[..length], report);
}

#[test]
fn every_suite_round_trips_and_adds_what_it_says() {
    for suite in Suite::ALL {
        let (mut protect, mut unprotect) = pair(suite);
        assert_eq!(Suite::from_name(suite.name()), Some(suite));
        for payload in [&b""[..], b"x", &[7; 160], &[9; 1200]] {
            let sequence = 100 + payload.len() as u16;
            let packet = rtp(1, sequence, payload);
            let mut sealed = protected(&mut protect, &packet);
            assert_eq!(sealed.len(), packet.len() + suite.rtp_overhead(), "{suite:?}");
            assert_eq!(sealed[..12], packet[..12], "the header stays readable");
            if payload.len() > 8 {
                assert!(!sealed.windows(8).any(|part| part == &payload[..8]), "{suite:?}");
            }
            assert_eq!(unprotect.rtp(&mut sealed).unwrap(), packet, "{suite:?}");
        }
        let report = [0x80, 201, 0, 1, 0, 0, 0, 5, 0x81, 202, 0, 1, 0, 0, 0, 5];
        for _ in 0..3 {
            let mut space = [0; 100];
            let sealed = protect.rtcp(&report, &mut space).unwrap();
            assert_eq!(sealed.len(), report.len() + suite.rtcp_overhead());
            let mut sealed = sealed.to_vec();
            let again = sealed.clone();
            assert_eq!(unprotect.rtcp(&mut sealed).unwrap(), report, "{suite:?}");
            assert_eq!(unprotect.rtcp(&mut again.clone()), Err(SrtpError::Replayed));
        }
    }
}

#[test]
fn header_parts_are_authenticated_but_readable() {
    // Two CSRCs and an extension of one word.
    let mut packet = rtp(3, 1, &[]);
    packet[0] |= 0x12;
    packet.extend([0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 0x85, 0, 0]);
    packet.extend([0x55; 40]);
    for suite in Suite::ALL {
        let (mut protect, mut unprotect) = pair(suite);
        let sealed = protected(&mut protect, &packet);
        assert_eq!(sealed[..28], packet[..28]);
        assert_ne!(sealed[28..68], packet[28..]);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x01;
            assert!(unprotect.rtp(&mut changed).is_err(), "{suite:?}, byte {at}");
        }
        assert_eq!(unprotect.rtp(&mut sealed.clone()).unwrap(), packet);
        assert_eq!(unprotect.rtp(&mut sealed.clone()), Err(SrtpError::Replayed));
    }
}

#[test]
fn the_rollover_counter_goes_on_over_wraps_loss_and_disorder() {
    for suite in [Suite::AesCm128Sha1_80, Suite::AeadAes128Gcm] {
        let (mut protect, mut unprotect) = pair(suite);
        let mut late = None;
        let mut taken = 0;
        // Three wraps; of each hundred packets one is lost, one comes fifty later.
        for step in 0..200_000_u32 {
            let packet = rtp(7, (step as u16).wrapping_add(60_000), &step.to_be_bytes());
            let mut sealed = protected(&mut protect, &packet);
            match step % 100 {
                10 => {}
                20 => late = Some((packet, sealed)),
                _ => {
                    assert_eq!(unprotect.rtp(&mut sealed).unwrap(), packet, "step {step}");
                    taken += 1;
                }
            }
            if step % 100 == 70
                && let Some((packet, mut sealed)) = late.take()
            {
                assert_eq!(unprotect.rtp(&mut sealed).unwrap(), packet, "late at {step}");
            }
        }
        assert_eq!(taken, 200_000 / 100 * 98);
        assert_eq!((protect.rollover(7), unprotect.rollover(7)), (Some(3), Some(3)));
    }
}

#[test]
fn the_rollover_counter_is_part_of_what_is_authentic() {
    // The same packet one wrap later is another one: what was captured in round 0 does not pass in round 1.
    let (mut protect, mut unprotect) = pair(Suite::AesCm128Sha1_80);
    let captured = protected(&mut protect, &rtp(7, 500, b"old words"));
    for step in 0..70_000_u32 {
        let mut sealed = protected(&mut protect, &rtp(7, (step as u16).wrapping_add(501), b"new"));
        if step != 65_535 {
            unprotect.rtp(&mut sealed).unwrap();
        }
    }
    assert!(unprotect.rtp(&mut captured.clone()).is_err());
}

#[test]
fn nothing_is_sent_under_one_index_twice() {
    let (mut protect, _) = pair(Suite::AeadAes128Gcm);
    let mut space = [0; 100];
    for (sequence, good) in [
        (10, true),
        (10, false),
        (9, false),
        (11, true),
        (60, true),
        (59, false),
    ] {
        let sent = protect.rtp(&rtp(1, sequence, b"x"), &mut space);
        let expected = if good { None } else { Some(SrtpError::SentBefore) };
        assert_eq!(sent.err(), expected, "{sequence}");
    }
}

#[test]
fn what_is_not_authentic_leaves_no_trace() {
    let (mut protect, mut unprotect) = pair(Suite::AesCm128Sha1_80);
    // A flood of forged sources fills no table, and forged sequence numbers move no window.
    for ssrc in 0..10_000 {
        let mut forged = rtp(ssrc, 40_000, &[0; 30]);
        assert_eq!(unprotect.rtp(&mut forged), Err(SrtpError::Unauthentic));
        let mut clear = rtp(ssrc, 1, b"");
        assert_eq!(unprotect.rtp(&mut clear), Err(SrtpError::Malformed));
    }
    let mut sealed = protected(&mut protect, &rtp(9, 100, b"true"));
    unprotect.rtp(&mut sealed).unwrap();
    assert_eq!(
        unprotect.rtp(&mut rtp(9, 30_000, &[0; 30])),
        Err(SrtpError::Unauthentic)
    );
    let mut sealed = protected(&mut protect, &rtp(9, 101, b"true"));
    unprotect.rtp(&mut sealed).unwrap();
    assert_eq!(unprotect.rollover(9), Some(0));
}

#[test]
fn the_keys_of_another_and_clear_rtcp_are_refused() {
    let (_, mut unprotect) = pair(Suite::AesCm128Sha1_80);
    let other = MasterKey::new(Suite::AesCm128Sha1_80, &[1; 30]).unwrap();
    let mut sealed = protected(&mut Protect::new(&other).unwrap(), &rtp(1, 1, b"hello"));
    assert_eq!(unprotect.rtp(&mut sealed), Err(SrtpError::Unauthentic));
    let mut report = [0; 30];
    report[0] = 0x80;
    report[1] = 201;
    assert_eq!(unprotect.rtcp(&mut report), Err(SrtpError::Unencrypted));
    report[16] = 0x80;
    assert_eq!(unprotect.rtcp(&mut report), Err(SrtpError::Unauthentic));
    assert_eq!(unprotect.rtcp(&mut [0x80; 21]), Err(SrtpError::Malformed));
}

#[test]
fn limits_refuse() {
    let (mut protect, mut unprotect) = pair(Suite::AesCm128Sha1_80);
    let mut space = [0; 100];
    let mut packets: Vec<Vec<u8>> = (0..SRTP_SOURCES as u32)
        .map(|ssrc| protected(&mut protect, &rtp(ssrc, 1, b"x")))
        .collect();
    for packet in &mut packets {
        unprotect.rtp(packet).unwrap();
    }
    assert_eq!(
        protect.rtp(&rtp(1_000, 1, b"x"), &mut space),
        Err(SrtpError::TooManySources)
    );
    let (mut fresh, _) = pair(Suite::AesCm128Sha1_80);
    let mut one_more = protected(&mut fresh, &rtp(1_000, 1, b"x"));
    assert_eq!(unprotect.rtp(&mut one_more), Err(SrtpError::TooManySources));
    let mut small = [0; 20];
    assert_eq!(
        fresh.rtp(&rtp(1_000, 2, b"x"), &mut small),
        Err(SrtpError::NoRoom)
    );
}

#[test]
fn keys_have_the_length_of_their_suite_and_never_show() {
    assert!(MasterKey::new(Suite::AesCm128Sha1_80, &[0; 29]).is_none());
    assert!(MasterKey::new(Suite::AeadAes256Gcm, &[0; 46]).is_none());
    let key = MasterKey::new(Suite::AesCm128Sha1_80, &[0xab; 30]).unwrap();
    let context = format!("{key:?} {:?}", Protect::new(&key).unwrap());
    assert!(
        !context.contains("171") && !context.contains("ab, ab"),
        "{context}"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..6_usize) {
        let (mut protect, mut unprotect) = pair(Suite::ALL[at]);
        let mut space = [0; 300];
        let _ = protect.rtp(&bytes, &mut space);
        let _ = protect.rtcp(&bytes, &mut space);
        prop_assert!(unprotect.rtp(&mut bytes.clone()).is_err());
        prop_assert!(unprotect.rtcp(&mut bytes).is_err());
    }
}
