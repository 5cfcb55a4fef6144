//! Scripts and properties of the jitter buffer.
//!
//! A script is a list of lines `MS in FRAME…` and `MS tick = ANSWER…`. A frame is `SEQ` with optional `@POS` (its
//! timestamp in frames, otherwise its number) and `s` (silent). An answer is a frame number (`-` behind it: shortened), `lost`, `fecN`
//! (lost, to be rebuilt from packet N), `hold` or `silence`. A tick asks until it has its 20 ms.

use super::*;
use proptest::prelude::*;

const CLOCK: SampleRate = SampleRate::HZ_48000;

struct Bench {
    buffer: JitterBuffer,
    start: Instant,
    frame_ms: u32,
    /// Ticks of samples left over from the last pull.
    left: u32,
}

impl Bench {
    fn new(frame_ms: u32) -> Self {
        Self::with(JitterConfig::new(CLOCK), frame_ms)
    }

    fn with(config: JitterConfig, frame_ms: u32) -> Self {
        // Timestamps and sequence numbers start just before their wraps.
        Self {
            buffer: JitterBuffer::new(config),
            start: crate::units::any_instant(),
            frame_ms,
            left: 0,
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(1000 + ms)
    }

    fn insert(&mut self, seq: u64, position: u64, silent: bool, ms: u64) -> Inserted {
        let payload = seq.to_be_bytes();
        let timestamp = 0xffff_f000_u32.wrapping_add((position as u32).wrapping_mul(self.frame_ms * 48));
        self.buffer.insert(&Arrival {
            seq: SeqExt(0x1_fffe + seq),
            timestamp: RtpTimestamp(timestamp),
            duration: self.frame_ms * 48,
            marker: false,
            silent,
            at: self.at(ms),
            payload: &payload,
        })
    }

    fn tick(&mut self, ms: u64) -> Vec<String> {
        let now = self.at(ms);
        let mut answers = Vec::new();
        while self.left < 960 {
            let number =
                |payload: &[u8]| u64::from_be_bytes(payload.try_into().expect("the payload we inserted"));
            match self.buffer.pull(now, 960 - self.left) {
                Pull::Frame(frame) => {
                    assert_eq!(frame.seq.0 - 0x1_fffe, number(frame.payload));
                    let mark = if frame.shorten > 0 { "-" } else { "" };
                    answers.push(format!("{}{mark}", number(frame.payload)));
                    self.left += frame.duration - frame.shorten;
                }
                Pull::Lost { duration, fec } => {
                    answers.push(fec.map_or("lost".to_owned(), |next| format!("fec{}", number(next))));
                    self.left += duration;
                }
                Pull::Hold => {
                    answers.push("hold".to_owned());
                    self.left = 960;
                }
                Pull::Silence => {
                    answers.push("silence".to_owned());
                    self.left = 960;
                }
            }
            assert!(answers.len() < 50, "endless tick: {answers:?}");
        }
        self.left -= 960;
        answers
    }

    fn run(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let ms: u64 = words.next().unwrap().parse().unwrap();
            match words.next().unwrap() {
                // Packets without audio: telephone events, comfort noise.
                "event" => {
                    for word in words {
                        self.buffer.skip(SeqExt(0x1_fffe + word.parse::<u64>().unwrap()));
                    }
                }
                "in" => {
                    for word in words {
                        let (word, silent) =
                            word.strip_suffix('s').map_or((word, false), |word| (word, true));
                        let (seq, position) = word.split_once('@').unwrap_or((word, word));
                        self.insert(seq.parse().unwrap(), position.parse().unwrap(), silent, ms);
                    }
                }
                "tick" => {
                    assert_eq!(words.next(), Some("="));
                    let expected: Vec<_> = words.collect();
                    assert_eq!(self.tick(ms), expected, "{line}");
                }
                other => panic!("unknown word {other}"),
            }
        }
    }

    /// Frames `first..=last` arrive 5 ms before their tick and are played; `last`'s tick is at `20 * last`.
    fn play_cleanly(&mut self, first: u64, last: u64) {
        for seq in first..=last {
            self.insert(seq, seq, false, 20 * seq - 5);
            assert_eq!(self.tick(20 * seq), [seq.to_string()]);
        }
    }
}

#[test]
fn a_frame_that_has_arrived_is_used_at_the_next_tick() {
    Bench::new(20).run(
        "   0 tick = silence
            5 in 1
           20 tick = 1
           25 in 2
           40 tick = 2
           45 in 3
           60 tick = 3",
    );
}

#[test]
fn reordered_and_doubled_frames_come_out_once_and_in_order() {
    let mut bench = Bench::new(20);
    bench.run(
        "   5 in 2 1 1
           20 tick = 1
           30 in 2
           40 tick = 2
           45 in 2 3
           60 tick = 3",
    );
    assert_eq!(bench.buffer.stats().duplicates, 3);
}

#[test]
fn loss_on_a_clean_path_adds_no_delay() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 10);
    bench.run(
        "220 tick = hold
         235 in 12
         240 tick = 12
         255 in 13
         260 tick = 13
         270 in 11
         275 in 14
         280 tick = 14",
    );
    let stats = bench.buffer.stats();
    assert_eq!((stats.lost, stats.late, stats.concealed), (1, 1, 960));
}

#[test]
fn several_lost_in_a_row_are_concealed_and_then_passed_over() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 10);
    bench.run(
        "220 tick = hold
         240 tick = hold
         260 tick = hold
         275 in 14
         280 tick = 14",
    );
    assert_eq!(bench.buffer.stats().lost, 3);
}

#[test]
fn fec_is_offered_when_the_successor_is_here() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 10);
    // The consumer was away for one tick, so that there is lag to see the successor in.
    bench.run(
        "215 in 11
         235 in 12
         240 tick = 11
         255 in 13
         260 tick = 12
         275 in 14
         280 tick = 13
         295 in 15
         300 tick = 14
         335 in 17
         320 tick = 15
         340 tick = fec17
         355 in 18
         360 tick = 17",
    );
    assert_eq!(bench.buffer.stats().lost, 1);
}

#[test]
fn with_loss_and_fec_one_frame_is_kept_back() {
    let config = JitterConfig {
        fec: true,
        ..JitterConfig::new(CLOCK)
    };
    let mut bench = Bench::with(config, 20);
    let mut rebuilt = 0;
    for seq in 1..500_u64 {
        if seq % 10 != 0 {
            bench.insert(seq, seq, false, 20 * seq - 5);
        }
        rebuilt += bench
            .tick(20 * seq)
            .iter()
            .filter(|answer| answer.starts_with("fec"))
            .count();
    }
    assert!(
        rebuilt >= 45,
        "nearly all of 49 lost frames are rebuilt, not {rebuilt}"
    );
    assert!(bench.buffer.stats().delay < Duration::from_millis(30));
    // The loss ends: so does the extra delay.
    for seq in 500..1000_u64 {
        bench.insert(seq, seq, false, 20 * seq - 5);
        bench.tick(20 * seq);
    }
    assert!(
        bench.buffer.stats().delay < Duration::from_millis(10),
        "{:?}",
        bench.buffer.stats()
    );
}

#[test]
fn dtx_gaps_are_silence_and_not_loss() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 5);
    bench.run(
        "115 in 6s
         120 tick = 6
         140 tick = silence
         160 tick = silence
         515 in 7@26s
         520 tick = 7
         540 tick = silence
         695 in 8@35
         700 tick = 8
         715 in 9@36
         720 tick = 9",
    );
    let stats = bench.buffer.stats();
    assert_eq!((stats.lost, stats.concealed, stats.late), (0, 0, 0));
}

#[test]
fn packets_without_audio_are_neither_lost_nor_concealed() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 3);
    bench.run(
        "  75 event 4
           80 tick = silence
           85 event 6
          100 tick = silence
          105 event 5
          120 tick = silence
          125 in 7@7
          140 tick = 7
          145 in 8@8
          160 tick = 8",
    );
    let stats = bench.buffer.stats();
    assert_eq!((stats.lost, stats.concealed, stats.late), (0, 0, 0));
}

#[test]
fn a_lost_frame_before_a_packet_without_audio_is_still_lost() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 10);
    // 11 is lost, 12 and 13 are events, then sound again.
    bench.run(
        " 235 event 12
          255 event 13",
    );
    let mut answers = Vec::new();
    for seq in 14..20 {
        bench.insert(seq, seq, false, 20 * seq - 5);
        answers.extend(bench.tick(20 * seq));
    }
    // The packet behind an event holds no copy of what was before the event.
    assert!(
        answers.iter().all(|answer| !answer.starts_with("fec")),
        "{answers:?}"
    );
    let played: Vec<u64> = answers.iter().filter_map(|answer| answer.parse().ok()).collect();
    assert!(
        played.len() >= 3 && played.iter().copied().eq((14..).take(played.len())),
        "{answers:?}"
    );
    assert_eq!(bench.buffer.stats().lost, 1);
}

#[test]
fn an_unmarked_silence_is_concealed_briefly_and_is_no_loss() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 5);
    bench.run(
        "120 tick = hold
         140 tick = hold
         160 tick = hold
         180 tick = hold
         200 tick = hold
         220 tick = silence
         395 in 6@20
         400 tick = 6
         415 in 7@21
         420 tick = 7",
    );
    assert_eq!(bench.buffer.stats().lost, 0);
}

#[test]
fn ten_ms_frames_are_served_two_a_tick() {
    let mut bench = Bench::new(10);
    bench.run(
        "  5 in 1
          15 in 2
          20 tick = 1 2
          25 in 3
          35 in 4
          40 tick = 3 4
          45 in 5
          60 tick = 5 hold
          61 in 6
          65 in 7
          75 in 8
          80 tick = 6 7",
    );
}

#[test]
fn ten_ms_frames_wait_for_a_whole_tick_at_the_start() {
    Bench::new(10).run(
        " 15 in 1
          20 tick = silence
          25 in 2
          35 in 3
          40 tick = 1 2",
    );
}

#[test]
fn sixty_ms_frames_last_three_ticks() {
    let mut bench = Bench::new(60);
    for seq in 1..20_u64 {
        bench.insert(seq, seq, false, 60 * seq - 5);
        assert_eq!(bench.tick(60 * seq), [seq.to_string()]);
        assert!(bench.tick(60 * seq + 20).is_empty());
        assert!(bench.tick(60 * seq + 40).is_empty());
    }
    // One of them lost: three ticks are held, and its successor plays at once.
    for ms in [1200, 1220, 1240] {
        assert_eq!(bench.tick(ms), ["hold"]);
    }
    bench.insert(21, 21, false, 1255);
    assert_eq!(bench.tick(1260), ["21"]);
}

#[test]
fn forty_ms_frames_after_twenty() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 10);
    assert_eq!(
        bench.tick(220),
        ["hold"],
        "the longer frame is complete one tick later"
    );
    for (seq, position) in (11..20_u64).map(|seq| (seq, 2 * seq - 11)) {
        let arrival = Arrival {
            seq: SeqExt(0x1_fffe + seq),
            timestamp: RtpTimestamp(0xffff_f000_u32.wrapping_add(position as u32 * 960)),
            duration: 1920,
            marker: false,
            silent: false,
            at: bench.at(20 * position + 15),
            payload: &seq.to_be_bytes(),
        };
        bench.buffer.insert(&arrival);
        assert_eq!(bench.tick(20 * position + 20), [seq.to_string()]);
        assert!(bench.tick(20 * position + 40).is_empty());
    }
}

#[test]
fn a_consumer_stall_is_made_good_within_a_second() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 50);
    for seq in 51..=60 {
        bench.insert(seq, seq, false, 20 * seq - 5);
    }
    for seq in 61..=110_u64 {
        bench.insert(seq, seq, false, 20 * seq - 5);
        bench.tick(20 * seq);
    }
    let mut last = 110;
    for seq in 111..=120_u64 {
        bench.insert(seq, seq, false, 20 * seq - 5);
        assert_eq!(
            bench.tick(20 * seq),
            [seq.to_string()],
            "played at the tick after its arrival"
        );
        last = seq;
    }
    assert_eq!(last, 120);
    assert!(bench.buffer.stats().shortened >= 9, "{:?}", bench.buffer.stats());
}

#[test]
fn silent_frames_go_first() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 50);
    for seq in 51..=60 {
        bench.insert(seq, seq, seq < 59, 20 * seq - 5);
    }
    assert_eq!(bench.tick(1200), ["59"], "8 silent frames are dropped");
    assert_eq!(bench.buffer.stats().dropped, 8);
}

#[test]
fn never_more_than_the_cap_waits() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 50);
    for seq in 51..=75 {
        bench.insert(seq, seq, false, 20 * seq - 5);
    }
    let answers = bench.tick(1500);
    assert_eq!(answers[0], "66-", "200 ms are left of 500: {answers:?}");
    assert_eq!(bench.buffer.stats().dropped, 15);
}

#[test]
fn a_frozen_sender_clock_starts_a_new_timeline() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 10);
    // Held for five seconds; number and timestamp go on as if nothing had been.
    for ms in (220..5200).step_by(20) {
        bench.tick(ms);
    }
    bench.run(
        "5205 in 11
         5220 tick = 11
         5225 in 12
         5240 tick = 12",
    );
}

#[test]
fn a_leap_of_the_timestamps_starts_a_new_timeline() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(1, 10);
    bench.run(
        "215 in 11@90000
         220 tick = 11
         235 in 12@90001
         240 tick = 12
         255 in 13@5
         260 tick = 13",
    );
}

#[test]
fn reset_forgets_the_stream() {
    let mut bench = Bench::new(20);
    bench.play_cleanly(100, 110);
    bench.buffer.reset();
    bench.run(
        "2220 tick = silence
         2225 in 3@7000
         2240 tick = 3",
    );
    assert_eq!(bench.buffer.stats().played, 12);
}

#[test]
fn what_cannot_be_used_is_refused() {
    let start = crate::units::any_instant();
    let mut buffer = JitterBuffer::new(JitterConfig::new(CLOCK));
    let arrival = Arrival {
        seq: SeqExt::first(1),
        timestamp: RtpTimestamp(0),
        duration: 960,
        marker: false,
        silent: false,
        at: start,
        payload: &[0; 1501],
    };
    assert_eq!(buffer.insert(&arrival), Inserted::Unusable);
    assert_eq!(
        buffer.insert(&Arrival {
            payload: &[],
            ..arrival
        }),
        Inserted::Unusable
    );
    assert_eq!(
        buffer.insert(&Arrival {
            payload: &[1],
            duration: 0,
            ..arrival
        }),
        Inserted::Unusable
    );
    assert_eq!(
        buffer.insert(&Arrival {
            payload: &[0; 1500],
            ..arrival
        }),
        Inserted::Queued
    );
}

#[test]
fn a_far_early_frame_at_the_start_does_not_spoil_the_ring() {
    let mut bench = Bench::new(20);
    assert_eq!(bench.insert(100, 100, false, 5), Inserted::Queued);
    assert_eq!(bench.insert(68, 68, false, 6), Inserted::Late);
    assert_eq!(bench.insert(69, 69, false, 6), Inserted::Queued);
}

/// What a network does to a packet: delay in ms, and how often it arrives.
#[derive(Debug, Clone)]
struct Fate {
    delay: u64,
    copies: u8,
    silent: bool,
    skip: u8,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (0_u64..400, 0_u8..3, any::<bool>(), 0_u8..60, 0_u8..4).prop_map(
        |(delay, copies, silent, skip, rough)| Fate {
            delay: if rough == 0 { delay } else { delay % 15 },
            copies: if rough == 0 { copies } else { 1 },
            silent,
            skip: if rough == 0 && silent && skip < 20 {
                skip
            } else {
                0
            },
        },
    );
    proptest::collection::vec(fate, 1..200)
}

proptest! {
    #[test]
    fn frames_come_out_in_order_once_and_in_time(
        fates in fates(), frame_ms in prop::sample::select(vec![10_u32, 20, 40, 60]),
        stall in proptest::option::of((0_u64..100, 1_u64..30)),
    ) {
        let mut bench = Bench::new(frame_ms);
        let mut arrivals = Vec::new();
        let mut position = 0_u64;
        for (seq, fate) in fates.iter().enumerate() {
            position += 1 + u64::from(fate.skip);
            for copy in 0..u64::from(fate.copies) {
                let ms = position * u64::from(frame_ms) + fate.delay + copy * 7;
                arrivals.push((ms, seq as u64, position, fate.silent));
            }
        }
        arrivals.sort_unstable();
        let arrived: std::collections::HashMap<u64, u64> =
            arrivals.iter().rev().map(|(ms, seq, ..)| (*seq, *ms)).collect();
        let end = position * u64::from(frame_ms) + 1200;
        let mut waiting = arrivals.iter().peekable();
        let mut last = None;
        for number in 0..end / 20 {
            let ms = number * 20;
            while let Some((at, seq, position, silent)) = waiting.next_if(|arrival| arrival.0 <= ms) {
                bench.insert(*seq, *position, *silent, *at);
            }
            if stall.is_some_and(|(from, length)| (from..from + length).contains(&number)) {
                continue;
            }
            for answer in bench.tick(ms) {
                let Ok(seq) = answer.trim_end_matches('-').parse::<u64>() else { continue };
                prop_assert!(last.is_none_or(|last| seq > last), "{seq} after {last:?}");
                last = Some(seq);
                let waited = ms - arrived[&seq];
                // The only frame that waits longer than the cap is one that a stalled consumer came late for.
                prop_assert!(waited <= 200 + 20 || stall.is_some(), "{seq} waited {waited} ms");
            }
        }
        let stats = bench.buffer.stats();
        prop_assert_eq!(stats.queued, Duration::ZERO, "everything was played or given up: {:?}", stats);
    }
}
