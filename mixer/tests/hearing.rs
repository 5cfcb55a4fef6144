//! Who hears whom, by tone: everybody exactly the others of its room, whatever the codec, over lossy links.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod meeting;

use meeting::{Meeting, leg_config, update_config};
use mixer::{Announcement, CodecSettings, Command, Direction, LegKey, MediaEvent, RoomConfig};
use rtp_media::codec::CodecKind;

const TONES: [f32; 8] = [440.0, 570.0, 730.0, 910.0, 1_150.0, 1_430.0, 1_790.0, 2_210.0];
/// What a mixed tone has at least, and what a tone that isn't there has at most.
const HEARD: f32 = 0.05;
const UNHEARD: f32 = 0.015;

fn kinds() -> impl Iterator<Item = CodecKind> {
    [
        CodecKind::Opus,
        CodecKind::Pcmu,
        CodecKind::G722,
        CodecKind::Pcma,
        CodecKind::Opus,
    ]
    .into_iter()
}

fn assert_matrix(meeting: &mut Meeting, tones: &[(u32, f32)], absent: &[f32]) {
    for (key, own) in tones {
        for (other, hz) in tones {
            let level = meeting.phone(*key).hears(*hz, 1.0);
            if key == other {
                assert!(level < UNHEARD, "{key} hears itself ({own} Hz): {level}");
            } else {
                assert!(level > HEARD, "{key} does not hear {other} ({hz} Hz): {level}");
            }
        }
        for hz in absent {
            let level = meeting.phone(*key).hears(*hz, 1.0);
            assert!(level < UNHEARD, "{key} hears a stranger ({hz} Hz): {level}");
        }
    }
}

#[test]
fn everybody_hears_exactly_the_others_over_lossy_links() {
    for (loss, late) in [(0.0, 0.0), (0.03, 0.1)] {
        let mut meeting = Meeting::new(RoomConfig::default());
        (meeting.loss, meeting.late) = (loss, late);
        let mut tones = Vec::new();
        for (index, kind) in kinds().enumerate() {
            meeting.join_tone(index as u32 + 1, kind, TONES[index]);
            tones.push((index as u32 + 1, TONES[index]));
        }
        meeting.run(250);
        assert_matrix(&mut meeting, &tones, &TONES[5..]);
    }
}

#[test]
fn two_rooms_are_isolated_and_listeners_hear_all() {
    let mut rooms = [
        Meeting::new(RoomConfig::default()),
        Meeting::new(RoomConfig::default()),
    ];
    for (number, room) in rooms.iter_mut().enumerate() {
        for index in 0..3 {
            let kind = kinds().nth(index).unwrap();
            room.join_tone(index as u32 + 1, kind, TONES[number * 3 + index]);
        }
        room.join(leg_config(9, CodecKind::Opus));
        room.join(leg_config(10, CodecKind::Pcmu));
        room.run(200);
    }
    for number in 0..2 {
        let own = &TONES[number * 3..number * 3 + 3];
        let strange = &TONES[(1 - number) * 3..(1 - number) * 3 + 3];
        let tones: Vec<(u32, f32)> = own
            .iter()
            .enumerate()
            .map(|(i, hz)| (i as u32 + 1, *hz))
            .collect();
        assert_matrix(&mut rooms[number], &tones, strange);
        for listener in [9, 10] {
            for hz in own {
                assert!(rooms[number].phone(listener).hears(*hz, 1.0) > HEARD);
            }
            for hz in strange {
                assert!(rooms[number].phone(listener).hears(*hz, 1.0) < UNHEARD);
            }
        }
    }
}

#[test]
fn every_packet_time_is_served() {
    let mut meeting = Meeting::new(RoomConfig::default());
    meeting.join_tone(1, CodecKind::Opus, TONES[0]);
    for (key, kind, ptime_ms) in [
        (2, CodecKind::Opus, 10),
        (3, CodecKind::Opus, 40),
        (4, CodecKind::Opus, 60),
        (5, CodecKind::Pcmu, 10),
        (6, CodecKind::Pcmu, 60),
        (7, CodecKind::G722, 40),
    ] {
        let mut config = leg_config(key, kind);
        config.send.ptime_ms = ptime_ms;
        meeting.join(config);
    }
    meeting.run(180);
    for key in 2..=7 {
        let phone = meeting.phone(key);
        assert!(phone.hears(TONES[0], 1.0) > HEARD, "leg {key}");
        let step = u32::from(phone.config.send.ptime_ms) * phone.kind.rtp_clock_rate().hertz() / 1_000;
        for pair in phone.got.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "leg {key}");
            assert_eq!(
                pair[1].timestamp.wrapping_sub(pair[0].timestamp),
                step,
                "leg {key}"
            );
        }
    }
}

#[test]
fn hold_stops_both_ways_and_resume_continues_the_stream() {
    let mut meeting = Meeting::new(RoomConfig::default());
    for (index, kind) in [CodecKind::Opus, CodecKind::Opus, CodecKind::Pcmu]
        .into_iter()
        .enumerate()
    {
        meeting.join_tone(index as u32 + 1, kind, TONES[index]);
    }
    meeting.run(100);
    for hold in [Direction::RecvOnly, Direction::Inactive] {
        let update = update_config(&meeting.phone(1).config.clone(), hold);
        meeting.update(update, 1);
        let before = meeting.phone(1).got.len();
        meeting.run(100);
        assert_eq!(meeting.phone(1).got.len(), before, "no RTP on hold");
        assert!(
            meeting.phone(2).hears(TONES[0], 1.0) < UNHEARD,
            "who holds isn't heard"
        );
        assert!(meeting.phone(2).hears(TONES[2], 1.0) > HEARD);
        let update = update_config(&meeting.phone(1).config.clone(), Direction::SendRecv);
        meeting.update(update, 1);
        meeting.run(100);
        let got = &meeting.phone(1).got;
        let (last, next) = (&got[before - 1], &got[before]);
        assert_eq!(next.sequence, last.sequence.wrapping_add(1));
        assert_eq!(next.ssrc, last.ssrc);
        assert_eq!(
            next.timestamp.wrapping_sub(last.timestamp),
            101 * 960,
            "the clock went on"
        );
        assert!(next.marker);
        assert_matrix(&mut meeting, &[(1, TONES[0]), (2, TONES[1]), (3, TONES[2])], &[]);
    }
}

#[test]
fn a_codec_change_keeps_ssrc_and_sequence() {
    let mut meeting = Meeting::new(RoomConfig::default());
    meeting.join_tone(1, CodecKind::Opus, TONES[0]);
    meeting.join_tone(2, CodecKind::Opus, TONES[1]);
    meeting.run(50);
    let pcmu = meeting::payload_type(CodecKind::Pcmu);
    let mut update = update_config(&meeting.phone(1).config.clone(), Direction::SendRecv);
    update.send = CodecSettings::new(CodecKind::Pcmu, pcmu);
    update.receive.push((pcmu, CodecKind::Pcmu));
    meeting.update(update, 1);
    meeting.run(50);
    let got = &meeting.phone(1).got;
    let change = got.iter().position(|got| got.payload_type == 0).unwrap();
    assert_eq!(got[change].sequence, got[change - 1].sequence.wrapping_add(1));
    assert_eq!(got[change].ssrc, got[0].ssrc);
    assert!(
        got[change..]
            .iter()
            .all(|got| got.payload_type == 0 && got.payload.len() == 160)
    );
    let stats = meeting.room.stats(LegKey(1)).unwrap();
    assert_eq!(
        (stats.send_codec, stats.receive_codec),
        (CodecKind::Pcmu, Some(CodecKind::Opus))
    );
}

#[test]
fn mute_removal_and_announcements() {
    let mut meeting = Meeting::new(RoomConfig::default());
    for key in 1..=3u32 {
        meeting.join_tone(key, CodecKind::Opus, TONES[key as usize]);
    }
    meeting.room.command(Command::Mute(LegKey(1), true), meeting.now);
    meeting.run(120);
    assert!(meeting.phone(2).hears(TONES[1], 1.0) < UNHEARD);
    meeting.room.command(Command::Mute(LegKey(1), false), meeting.now);
    meeting.leave(3);
    meeting.run(120);
    assert!(meeting.phone(2).hears(TONES[1], 1.0) > HEARD);
    assert!(meeting.phone(2).hears(TONES[3], 1.0) < UNHEARD);
    for phone in &mut meeting.phones {
        phone.voice = None;
    }
    meeting.run(60);
    let (before, rate) = (meeting.phone(2).heard.len(), meeting.phone(2).rate());
    meeting
        .room
        .command(Command::Announce(Announcement::Joined), meeting.now);
    meeting.run(10);
    let tone = meeting.phone(2).heard[before..].to_vec();
    assert!(
        meeting::amplitude(&tone, 440.0, rate) > 0.01,
        "the first note is audible"
    );
}

#[test]
fn csrcs_name_the_mixed_talkers_and_not_oneself() {
    let mut meeting = Meeting::new(RoomConfig::default());
    meeting.join_tone(1, CodecKind::Opus, TONES[0]);
    meeting.join_tone(2, CodecKind::Pcmu, TONES[1]);
    meeting.join(leg_config(3, CodecKind::Opus));
    meeting.run(50);
    let (one, two) = (
        meeting.phone(1).session.ssrc().0,
        meeting.phone(2).session.ssrc().0,
    );
    assert_eq!(meeting.phone(1).got.last().unwrap().csrcs, [two]);
    assert_eq!(meeting.phone(2).got.last().unwrap().csrcs, [one]);
    assert_eq!(meeting.phone(3).got.last().unwrap().csrcs, [one, two]);
    let starts: Vec<LegKey> = meeting
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            MediaEvent::Talking { leg, talking: true } => Some(*leg),
            _ => None,
        })
        .collect();
    assert_eq!(starts, [LegKey(1), LegKey(2)]);
    assert!(
        meeting
            .events
            .iter()
            .any(|(_, e)| matches!(e, MediaEvent::ActiveSpeaker { leg: Some(_) }))
    );
}

#[test]
fn more_talkers_than_fit_are_chosen_by_level() {
    let mut meeting = Meeting::new(RoomConfig {
        max_talkers: 2,
        normalise: false,
        ..RoomConfig::default()
    });
    for (key, level) in [(1u32, 0.05f32), (2, 0.3), (3, 0.25)] {
        let hz = TONES[key as usize];
        meeting.join(leg_config(key, CodecKind::Opus)).voice = Some(Box::new(move |n, rate| {
            level * (std::f32::consts::TAU * hz * n as f32 / rate).sin()
        }));
    }
    meeting.join(leg_config(9, CodecKind::Opus));
    meeting.run(150);
    assert_eq!(meeting.room.room_stats().talkers, 2);
    assert!(meeting.phone(9).hears(TONES[1], 1.0) < UNHEARD);
    assert!(meeting.phone(9).hears(TONES[2], 1.0) > HEARD && meeting.phone(9).hears(TONES[3], 1.0) > HEARD);
}
