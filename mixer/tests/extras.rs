//! What goes with the audio beside codecs: levels, comfort noise, metrics, drift.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod meeting;

use meeting::{Collected, Meeting, TICK, address, leg_config};
use mixer::{LegExtras, LegKey, Port, RoomConfig};
use rtp_media::codec::CodecKind;
use rtp_media::comfort_noise;
use rtp_media::rtcp::{RtcpPacket, parse_compound, xr::XrBlock};
use rtp_media::rtp::{RtpPacket, write_header_with};
use rtp_media::units::PayloadType;
use std::time::Duration;

const NOISE: PayloadType = PayloadType::from_low_bits(13);

/// One tick of the room, without phones.
fn tick(meeting: &mut Meeting) -> Collected {
    let mut out = Collected::default();
    let wall = meeting.wall();
    meeting.room.tick(meeting.now, wall, &mut out);
    meeting.tick += 1;
    meeting.now += TICK;
    out
}

#[test]
fn mixer_levels_name_each_contributor_in_the_order_of_the_csrcs() {
    let mut meeting = Meeting::new(RoomConfig::default());
    meeting.join_tone(1, CodecKind::Pcmu, 440.0);
    meeting.join_tone(2, CodecKind::Opus, 700.0);
    for (key, levels) in [(3, Some(5)), (4, None)] {
        let mut config = leg_config(key, CodecKind::Opus);
        config.extras.mixer_levels = levels;
        meeting.join(config);
    }
    meeting.run(100);
    for (leg, _, bytes) in said_and_sent(&mut meeting).rtp {
        let packet = RtpPacket::parse(&bytes).unwrap();
        let element = packet.extension_elements().find(5).map(<[u8]>::to_vec);
        match leg {
            LegKey(3) => {
                let levels = element.expect("the levels were agreed on");
                assert_eq!(levels.len(), packet.csrcs().count());
                assert_eq!(levels.len(), 2);
                // Tones of −17 dB, brought to one loudness.
                assert!(levels.iter().all(|level| (5..35).contains(level)), "{levels:?}");
            }
            _ => assert!(packet.extension().is_none()),
        }
    }
}

/// All phones speak one tick, and the room's packets come back whole.
fn said_and_sent(meeting: &mut Meeting) -> Collected {
    let now = meeting.now;
    let spoken: Vec<_> = meeting
        .phones
        .iter_mut()
        .map(|phone| (phone.key(), phone.from, phone.speak(now)))
        .collect();
    for (leg, from, packet) in spoken {
        meeting
            .room
            .receive(leg, Port::Rtp, from, &packet, now - TICK / 4);
    }
    tick(meeting)
}

#[test]
fn packets_whose_level_says_silence_are_not_decoded() {
    let mut meeting = Meeting::new(RoomConfig::default());
    let mut config = leg_config(1, CodecKind::Opus);
    config.extras.audio_level = Some(1);
    meeting.join(config).voice = Some(Box::new(|n, _| if n % 7 < 3 { 0.0004 } else { -0.0004 }));
    meeting.join(leg_config(2, CodecKind::Opus));
    for _ in 0..200 {
        let now = meeting.now;
        let phone = meeting.phone(1);
        let plain = phone.speak(now);
        let packet = RtpPacket::parse(&plain).unwrap();
        let header = rtp_media::rtp::RtpHeader {
            marker: false,
            payload_type: packet.payload_type(),
            sequence: packet.sequence(),
            timestamp: packet.timestamp(),
            ssrc: packet.ssrc(),
            csrcs: &[],
        };
        let mut bytes = [0; 1_500];
        // −78 dBov, no voice.
        let at = write_header_with(&mut bytes, &header, 1, &[78]).unwrap();
        let length = at + packet.payload().len();
        bytes[at..length].copy_from_slice(packet.payload());
        meeting
            .room
            .receive(LegKey(1), Port::Rtp, address(1), &bytes[..length], now - TICK / 4);
        tick(&mut meeting);
    }
    let stats = meeting.room.stats(LegKey(1)).unwrap();
    assert!(
        stats.skipped > 180 && stats.decoded < 20,
        "{} skipped, {} decoded",
        stats.skipped,
        stats.decoded
    );
}

#[test]
fn comfort_noise_is_heard_at_its_level_and_is_no_loss() {
    let mut meeting = Meeting::new(RoomConfig::default());
    let mut config = leg_config(1, CodecKind::Pcmu);
    config.send.comfort_noise = Some(NOISE);
    meeting.join(config).say(440.0);
    meeting.join(leg_config(2, CodecKind::Opus));
    meeting.run(50);
    let undescribed = meeting.room.stats(LegKey(1)).unwrap().refused;
    meeting.phone(1).sending = false;
    // The phone falls silent: a description each 200 ms, with a spectrum, of noise louder than the threshold.
    let mut level = 0.0_f32;
    for round in 0..100u32 {
        if round % 10 == 0 {
            let now = meeting.now;
            let packet = meeting.phone(1).packet(NOISE, &[40, 100, 140], now);
            meeting
                .room
                .receive(LegKey(1), Port::Rtp, address(1), &packet, now - TICK / 4);
            // `packet` moved the timestamp by 20 ms; the pause is ten times that.
            meeting.phone(1).pause(9);
        }
        meeting.step();
        level = meeting.room.stats(LegKey(1)).unwrap().level_dbov;
    }
    assert!((level + 40.0).abs() < 3.0, "{level} dB");
    let heard = &meeting.phone(2).heard;
    let last = &heard[heard.len() - 24_000..];
    let rms = (last.iter().map(|x| x * x).sum::<f32>() / 24_000.0).sqrt();
    assert!(rms > 0.004, "the noise is in the mix: {rms}");
    meeting.phone(1).sending = true;
    meeting.run(50);
    let stats = meeting.room.stats(LegKey(1)).unwrap();
    assert_eq!((stats.jitter_buffer.lost, stats.jitter_buffer.concealed), (0, 0));
    assert_eq!(stats.refused, undescribed);
    assert!(meeting.phone(2).hears(440.0, 0.5) > 0.05);
}

#[test]
fn comfort_noise_goes_out_only_when_it_was_agreed_on() {
    let mut meeting = Meeting::new(RoomConfig::default());
    for (key, noise) in [(1, Some(NOISE)), (2, None)] {
        let mut config = leg_config(key, CodecKind::Pcma);
        config.send.comfort_noise = noise;
        meeting.join(config);
    }
    meeting.join(leg_config(3, CodecKind::Opus)).say(440.0);
    let sent = |meeting: &mut Meeting, ticks: u32| -> [Vec<(u8, bool, usize)>; 2] {
        let mut all = [Vec::new(), Vec::new()];
        for _ in 0..ticks {
            for (leg, _, bytes) in said_and_sent(meeting).rtp {
                let packet = RtpPacket::parse(&bytes).unwrap();
                if let Some(list) = all.get_mut(leg.0 as usize - 1) {
                    list.push((
                        packet.payload_type().get(),
                        packet.marker(),
                        packet.payload().len(),
                    ));
                }
            }
        }
        all
    };
    sent(&mut meeting, 50);
    meeting.phone(3).voice = None;
    sent(&mut meeting, 50);
    let [agreed, plain] = sent(&mut meeting, 100);
    // Two seconds of silence: a description each 400 ms, or every packet.
    assert!((5..=6).contains(&agreed.len()), "{agreed:?}");
    assert!(agreed.iter().all(|one| *one == (13, false, 1)), "{agreed:?}");
    assert!(plain.len() == 100 && plain.iter().all(|one| one.0 == 8 && one.2 == 160));
    meeting.phone(3).say(440.0);
    let [agreed, _] = sent(&mut meeting, 50);
    let first = agreed.iter().find(|one| one.0 == 8).unwrap();
    assert!(first.1, "speech begins with the marker");
    assert_eq!(comfort_noise::payload(comfort_noise::SILENT), [127]);
}

#[test]
fn metrics_of_a_lossy_leg_are_told_to_who_asked_and_to_nobody_else() {
    let mut meeting = Meeting::new(RoomConfig::default());
    for (key, extras) in [
        (
            1,
            LegExtras {
                voip_metrics: true,
                ..LegExtras::default()
            },
        ),
        (2, LegExtras::default()),
    ] {
        let mut config = leg_config(key, CodecKind::Pcmu);
        config.extras = extras;
        meeting.join(config).say(440.0);
    }
    let mut told = Vec::new();
    for round in 0..1_500u32 {
        let now = meeting.now;
        let spoken: Vec<_> = meeting
            .phones
            .iter_mut()
            .map(|phone| (phone.key(), phone.from, phone.speak(now)))
            .collect();
        for (leg, from, packet) in spoken {
            // Bursts of five each 100 packets: 5 % lost, never at random.
            if round % 100 < 95 {
                meeting
                    .room
                    .receive(leg, Port::Rtp, from, &packet, now - TICK / 4);
            }
        }
        for (leg, _, bytes) in tick(&mut meeting).rtcp {
            for packet in parse_compound(&bytes).unwrap().flatten() {
                if let RtcpPacket::ExtendedReport { blocks, .. } = packet {
                    assert_eq!(leg, LegKey(1));
                    told.extend(blocks.filter_map(|block| match block {
                        XrBlock::VoipMetrics(metrics) => Some(metrics),
                        XrBlock::Other { .. } => None,
                    }));
                }
            }
        }
    }
    let last = told.last().expect("metrics each five seconds or so");
    let ssrc = meeting.phone(1).session.ssrc();
    assert_eq!((last.ssrc, last.gmin), (ssrc, 16));
    assert!((9..=15).contains(&last.loss_rate), "5 % of 256: {last:?}");
    assert_eq!(last.discard_rate, 0);
    assert!(last.burst_density > 200 && last.gap_density < 5, "{last:?}");
    assert!((80..=120).contains(&last.burst_duration), "{last:?}");
    let stats = meeting.room.stats(LegKey(2)).unwrap();
    // No RTCP came, yet there is an opinion: bursts of 5 % loss are heard.
    assert!(
        (50.0..85.0).contains(&stats.quality.r_factor),
        "{:?}",
        stats.quality
    );
    assert!(stats.quality.mos_cq < 4.2);
}

#[test]
fn drift_and_stalls_do_not_stay_as_delay() {
    // Phone 1's clock is 500 ppm fast, phone 2's as slow, phone 3 stalls for 200 ms and sends in bursts.
    let mut meeting = Meeting::new(RoomConfig::default());
    for key in 1..=3 {
        meeting.join_tone(key, CodecKind::Pcmu, 300.0 + 150.0 * key as f32);
    }
    let start = meeting.now;
    let mut sent = [0u32; 3];
    let minutes = 10;
    let mut worst = [Duration::ZERO; 3];
    for number in 0..minutes * 3_000u64 {
        let now = meeting.now;
        let elapsed = (now - start).as_secs_f64();
        let stall = number % 1_500 < 10 && number > 1_500;
        for (index, pace) in [1.0005, 0.9995, 1.0].into_iter().enumerate() {
            let due = (elapsed * 50.0 * pace) as u32;
            // Phone 3 holds its packets back for 200 ms twice a minute, and otherwise sends two at a time.
            let held = index == 2 && (stall || number % 2 == 0);
            while !held && sent[index] < due {
                sent[index] += 1;
                let packet = meeting.phones[index].speak(now);
                let (key, from) = (meeting.phones[index].key(), meeting.phones[index].from);
                meeting
                    .room
                    .receive(key, Port::Rtp, from, &packet, now - TICK / 4);
            }
        }
        tick(&mut meeting);
        // The first second behind a stall belongs to it.
        if number > 100 && number % 1_500 >= 60 {
            for (index, worst) in worst.iter_mut().enumerate() {
                let delay = meeting.room.stats(LegKey(index as u32 + 1)).unwrap().delay();
                *worst = delay.max(*worst);
            }
        }
    }
    assert!(worst[0] < Duration::from_millis(60), "fast: {worst:?}");
    assert!(worst[1] < Duration::from_millis(60), "slow: {worst:?}");
    assert!(
        worst[2] < Duration::from_millis(100),
        "bursts and stalls: {worst:?}"
    );
}
