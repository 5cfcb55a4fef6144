//! Inputs on which conferences have gone wrong, each by its name: what comes in, and what must not follow from it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod meeting;

use meeting::{Meeting, TICK, address, amplitude, leg_config, payload_type, update_config};
use mixer::{Direction, LegKey, MediaEvent, Outbox, Port, RoomConfig};
use rtp_media::codec::opus::OpusConfig;
use rtp_media::codec::{AudioEncoder, CodecKind, Encoder};
use rtp_media::rtp::write_header;
use rtp_media::session::RtpSession;
use rtp_media::units::{PayloadType, RtpTimestamp, Ssrc};
use std::net::SocketAddr;
use std::time::Duration;

fn events() -> PayloadType {
    PayloadType::new(101).unwrap()
}

fn pair() -> Meeting {
    let mut meeting = Meeting::new(RoomConfig::default());
    meeting.join_tone(1, CodecKind::Pcmu, 440.0);
    meeting.join(leg_config(2, CodecKind::Opus));
    meeting
}

/// Keeps which way reports left.
#[derive(Default)]
struct Ways {
    own_port: u32,
    muxed: u32,
}

impl Outbox for Ways {
    fn rtp(&mut self, _: LegKey, _: SocketAddr, _: &[u8]) {}

    fn rtcp(&mut self, _: LegKey, _: SocketAddr, _: &[u8]) {
        self.own_port += 1;
    }

    fn rtcp_muxed(&mut self, _: LegKey, _: SocketAddr, _: &[u8]) {
        self.muxed += 1;
    }
}

/// Ticks without input for 20 s, so that reports come.
fn reports(meeting: &mut Meeting) -> Ways {
    let mut ways = Ways::default();
    for _ in 0..1_000 {
        let wall = meeting.wall();
        meeting.room.tick(meeting.now, wall, &mut ways);
        meeting.now += TICK;
    }
    ways
}

#[test]
fn rtcp_mux_agreed_or_given_up_in_mid_call_moves_the_reports_to_the_right_port() {
    let mut meeting = Meeting::new(RoomConfig::default());
    let mut config = leg_config(1, CodecKind::Pcmu);
    config.rtcp_mux = false;
    meeting.join(config.clone()).say(440.0);
    let ways = reports(&mut meeting);
    assert!(ways.own_port > 0 && ways.muxed == 0);
    for mux in [true, false, true] {
        config.rtcp_mux = mux;
        meeting.update(update_config(&config, Direction::SendRecv), 1);
        let ways = reports(&mut meeting);
        assert_eq!((ways.own_port > 0, ways.muxed > 0), (!mux, mux));
    }
}

#[test]
fn rtcp_is_taken_on_the_next_port_and_on_rtps_muxed_or_not() {
    for mux in [false, true] {
        for port in [Port::Rtp, Port::Rtcp] {
            let mut meeting = pair();
            let mut config = leg_config(1, CodecKind::Pcmu);
            config.rtcp_mux = mux;
            meeting.update(update_config(&config, Direction::SendRecv), 1);
            meeting.run(50);
            let (wall, now) = (meeting.wall(), meeting.now);
            let mut report = [0; 600];
            let length = meeting.phone(1).session.bye(now, wall, &mut report).unwrap();
            let from = match port {
                Port::Rtp => address(1),
                Port::Rtcp => SocketAddr::from(([127, 0, 0, 1], address(1).port() + 1)),
            };
            meeting
                .room
                .receive(LegKey(1), port, from, &report[..length], now);
            let told = std::iter::from_fn(|| meeting.room.poll_event())
                .any(|event| event == MediaEvent::PeerBye { leg: LegKey(1) });
            assert!(told, "mux {mux}, {port:?}");
        }
    }
}

#[test]
fn a_digit_in_place_of_audio_is_not_lost_audio() {
    for kind in [CodecKind::Pcmu, CodecKind::Opus] {
        let mut meeting = Meeting::new(RoomConfig::default());
        meeting.join_tone(1, kind, 440.0);
        meeting.run(50);
        meeting.phone(1).sending = false;
        for round in 0..3u8 {
            for number in 0..8u8 {
                let end = if number >= 5 { 0x80 } else { 0 };
                let payload = [round, end | 10, 0, 160 * (number.min(5) / 5)];
                let now = meeting.now;
                let mut packet = meeting.phone(1).packet(events(), &payload, now);
                packet[4..8].copy_from_slice(&(77_000 + u32::from(round) * 10_000).to_be_bytes());
                meeting
                    .room
                    .receive(LegKey(1), Port::Rtp, address(1), &packet, now - TICK / 4);
                meeting.step();
            }
        }
        meeting.phone(1).sending = true;
        meeting.run(50);
        let stats = meeting.room.stats(LegKey(1)).unwrap();
        assert_eq!(stats.jitter_buffer.lost, 0, "{kind:?}");
        assert_eq!(stats.jitter_buffer.concealed, 0, "{kind:?}");
        assert_eq!(stats.stream.lost, 0, "{kind:?}");
        let digits = meeting
            .events
            .iter()
            .filter(|(_, event)| matches!(event, MediaEvent::Digit { .. }));
        assert_eq!(digits.count(), 3, "{kind:?}");
    }
}

#[test]
fn a_digit_of_another_source_with_elder_timestamps_is_heard() {
    let mut meeting = pair();
    meeting.run(20);
    let press = |meeting: &mut Meeting, session: &mut RtpSession, code: u8, timestamp: u32| {
        for number in 0..6u8 {
            let end = if number >= 3 { 0x80 } else { 0 };
            let header = session.next_header(number == 0, events(), RtpTimestamp(timestamp), &[]);
            let mut packet = [0; 16];
            let at = write_header(&mut packet, &header).unwrap();
            packet[at..].copy_from_slice(&[code, end | 10, 2, 0]);
            session.sent(4, RtpTimestamp(timestamp), meeting.now);
            meeting
                .room
                .receive(LegKey(1), Port::Rtp, address(1), &packet, meeting.now);
            meeting.phone(1).sending = false;
            meeting.step();
        }
    };
    let session = |name: &str, seed: u8, meeting: &Meeting| {
        RtpSession::new(
            meeting::session_config(CodecKind::Pcmu, name),
            [seed; 32],
            meeting.now,
        )
    };
    let mut first = session("first", 90, &meeting);
    press(&mut meeting, &mut first, 1, 900_000);
    // The phone was transferred: another SSRC whose timestamps lie before the first one's.
    let mut second = session("second", 91, &meeting);
    press(&mut meeting, &mut second, 2, 100);
    let digits: Vec<char> = meeting
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            MediaEvent::Digit { digit, .. } => Some(*digit),
            _ => None,
        })
        .collect();
    assert_eq!(digits, ['1', '2']);
}

#[test]
fn a_payload_type_of_another_clock_in_mid_call_is_no_jitter() {
    let mut meeting = Meeting::new(RoomConfig::default());
    let mut config = leg_config(1, CodecKind::Opus);
    config.receive.push((PayloadType::PCMU, CodecKind::Pcmu));
    meeting.join(config).say(440.0);
    meeting.run(50);
    meeting.phone(1).sending = false;
    for round in 0..6 {
        // From Opus' clock of 48 kHz to 8 kHz and back.
        let kind = if round % 2 == 0 {
            CodecKind::Pcmu
        } else {
            CodecKind::Opus
        };
        meeting.phone(1).kind = kind;
        for _ in 0..10 {
            let now = meeting.now;
            let payload: &[u8] = if kind == CodecKind::Pcmu {
                &[0xff; 160]
            } else {
                &[0xf8, 0xff, 0xfe]
            };
            let packet = meeting.phone(1).packet(payload_type(kind), payload, now);
            meeting
                .room
                .receive(LegKey(1), Port::Rtp, address(1), &packet, now - TICK / 4);
            meeting.step();
        }
        let stats = meeting.room.stats(LegKey(1)).unwrap();
        assert_eq!(stats.receive_codec, Some(kind));
        assert!(
            stats.stream.jitter < Duration::from_millis(2),
            "{:?}",
            stats.stream.jitter
        );
        assert_eq!(stats.jitter_buffer.lost, 0);
    }
}

#[test]
fn packets_of_10_20_40_and_60_ms_mixed_in_one_stream_are_heard_whole() {
    for kind in [CodecKind::Pcmu, CodecKind::G722, CodecKind::Opus] {
        let mut meeting = Meeting::new(RoomConfig::default());
        meeting.join(leg_config(1, kind)).sending = false;
        meeting.join(leg_config(2, CodecKind::Opus));
        let mut encoder = AudioEncoder::new(kind, &OpusConfig::default()).unwrap();
        let mut session = RtpSession::new(meeting::session_config(kind, "mixed"), [7; 32], meeting.now);
        let (rate, clock) = (kind.sample_rate().hertz(), kind.rtp_clock_rate().hertz());
        let (mut samples, mut timestamp, mut sent_ms) = (0u64, RtpTimestamp(5), 0u64);
        let mut lengths = [20u64, 10, 10, 60, 40, 20, 10, 60, 10, 40].into_iter().cycle();
        for tick in 0..300u64 {
            // A packet leaves when its last sample was spoken.
            while sent_ms < tick * 20 {
                let ms = lengths.next().unwrap();
                let count = u64::from(rate) * ms / 1_000;
                let pcm: Vec<f32> = (samples..samples + count)
                    .map(|n| 0.2 * (std::f32::consts::TAU * 440.0 * n as f32 / rate as f32).sin())
                    .collect();
                let mut packet = [0; 1_500];
                let header = session.next_header(false, payload_type(kind), timestamp, &[]);
                let at = write_header(&mut packet, &header).unwrap();
                let length = encoder.encode(&pcm, &mut packet[at..]).unwrap();
                session.sent(length, timestamp, meeting.now);
                meeting.room.receive(
                    LegKey(1),
                    Port::Rtp,
                    address(1),
                    &packet[..at + length],
                    meeting.now,
                );
                samples += count;
                sent_ms += ms;
                timestamp = timestamp.plus(clock * ms as u32 / 1_000);
            }
            meeting.step();
        }
        let stats = meeting.room.stats(LegKey(1)).unwrap();
        assert_eq!(
            (stats.jitter_buffer.lost, stats.jitter_buffer.late),
            (0, 0),
            "{kind:?}"
        );
        let heard = &meeting.phone(2).heard;
        let last = &heard[heard.len() - 48_000 * 2..];
        let quietest = last
            .chunks_exact(4_800)
            .map(|part| amplitude(part, 440.0, 48_000))
            .fold(f32::MAX, f32::min);
        assert!(quietest > 0.05, "{kind:?}: a hole in the tone ({quietest})");
    }
}

#[test]
fn our_own_ssrc_in_a_strangers_packets_changes_ours_once_and_says_goodbye_for_the_old() {
    let mut meeting = pair();
    meeting.run(60);
    let ours = Ssrc(meeting.phone(1).got.last().unwrap().ssrc);
    // The peer itself begins to use our SSRC (RFC 3550 §8.2); again and again, as a loop would.
    let mut header = [0; 172];
    for number in 0..20u16 {
        let now = meeting.now;
        let packet = meeting.phone(1).packet(PayloadType::PCMU, &[0xff; 160], now);
        header.copy_from_slice(&packet);
        header[2..4].copy_from_slice(&number.to_be_bytes());
        header[8..12].copy_from_slice(&ours.0.to_be_bytes());
        meeting
            .room
            .receive(LegKey(1), Port::Rtp, address(1), &header, now);
        meeting.step();
    }
    let ssrcs: Vec<u32> = meeting.phone(1).got.iter().map(|got| got.ssrc).collect();
    let mut distinct = ssrcs.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 2, "changed once: {distinct:?}");
    assert_eq!(distinct[0], ours.0);
    // The stream goes on without a gap in its numbers, and the phone is still heard.
    for two in meeting.phone(1).got.windows(2) {
        assert_eq!(two[1].sequence, two[0].sequence.wrapping_add(1));
    }
    meeting.run(60);
    assert!(meeting.phone(2).hears(440.0, 0.5) > 0.05);
}

#[test]
fn a_packet_that_names_us_as_contributor_is_our_own_mix_coming_back() {
    let mut meeting = pair();
    meeting.run(60);
    let ours = Ssrc(meeting.phone(1).got.last().unwrap().ssrc);
    let csrcs = [ours];
    meeting.phone(1).sending = false;
    let before = meeting.room.stats(LegKey(1)).unwrap().refused;
    for _ in 0..10 {
        let now = meeting.now;
        let phone = meeting.phone(1);
        let header = phone
            .session
            .next_header(false, PayloadType::PCMU, RtpTimestamp(1), &csrcs);
        let mut packet = [0xff; 176];
        let at = write_header(&mut packet, &header).unwrap();
        phone.session.sent(160, RtpTimestamp(1), now);
        meeting
            .room
            .receive(LegKey(1), Port::Rtp, address(1), &packet[..at + 160], now);
        meeting.step();
    }
    assert_eq!(meeting.room.stats(LegKey(1)).unwrap().refused, before + 10);
}
