//! The jitter buffer as a sequence of operations: frames with any sequence number, timestamp, length and arrival, and
//! ticks at any time. A frame comes out at most once and in order, a tick ends, and what waits stays under the cap.

use super::clock::starting_instant;
use super::script::Script;
use rtp_media::jitter::{Arrival, Inserted, JitterBuffer, JitterConfig, Pull};
use rtp_media::units::{RtpTimestamp, SampleRate, SeqExt};
use std::time::Duration;

const FRAME: u32 = 160;
/// The longest frame: what waits may exceed the cap by one.
const LONGEST: Duration = Duration::from_millis(720);
const DURATIONS: [u32; 8] = [FRAME, FRAME, FRAME, 80, 480, 0, 5760, 7];

pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let config = JitterConfig {
        fec: script.byte() & 1 == 1,
        ..JitterConfig::new(SampleRate::HZ_8000)
    };
    let mut buffer = JitterBuffer::new(config);
    let mut now = starting_instant() + Duration::from_secs(1);
    let (mut seq, mut timestamp) = (0x1_0000_u64, 0xffff_0000_u32);
    let mut last: Option<u64> = None;
    let (mut inserted, mut played) = (0_u64, 0_u64);
    while !script.is_over() {
        match script.byte() % 8 {
            // The ordinary case: the next frame.
            0..=2 => {
                seq += 1;
                timestamp = timestamp.wrapping_add(FRAME);
            }
            // Loss, reordering, repetition.
            3 => {
                let jump = script.byte() as i8;
                seq = seq.saturating_add_signed(i64::from(jump));
                timestamp = timestamp.wrapping_add_signed(i32::from(jump) * FRAME.cast_signed());
            }
            // The timestamp alone leaps: DTX, or nonsense.
            4 => timestamp = timestamp.wrapping_add(u32::from(script.byte()) << (script.byte() % 24)),
            5 => now += Duration::from_millis(u64::from(script.byte())),
            6 => {
                buffer.reset();
                last = None;
            }
            _ => {}
        }
        let choice = script.byte();
        if choice & 1 == 0 {
            let payload = [choice; 200];
            let arrival = Arrival {
                seq: SeqExt(seq),
                timestamp: RtpTimestamp(timestamp),
                duration: DURATIONS[usize::from(script.byte() & 7)],
                marker: choice & 2 != 0,
                silent: choice & 4 != 0,
                at: now - Duration::from_millis(u64::from(choice >> 3)),
                payload: &payload[..usize::from(choice >> 1)],
            };
            if buffer.insert(&arrival) == Inserted::Queued {
                inserted += 1;
            }
        } else {
            now += Duration::from_millis(20);
            played += tick(&mut buffer, now, &mut last);
            let stats = buffer.stats();
            assert!(stats.queued <= config.max_delay + LONGEST, "{stats:?}");
        }
        assert!(played <= inserted, "more came out than went in");
    }
}

/// Pulls one tick's samples; how many frames came out.
fn tick(buffer: &mut JitterBuffer, now: std::time::Instant, last: &mut Option<u64>) -> u64 {
    let (mut have, mut frames, mut turns) = (0, 0, 0);
    while have < FRAME {
        turns += 1;
        assert!(turns < 2000, "a tick without end");
        match buffer.pull(now, FRAME - have) {
            Pull::Frame(frame) => {
                assert!(last.is_none_or(|last| frame.seq.0 > last), "out of order");
                assert!(frame.shorten <= frame.duration);
                *last = Some(frame.seq.0);
                have += frame.duration - frame.shorten;
                frames += 1;
            }
            Pull::Lost { duration, .. } => have += duration.max(1),
            Pull::Hold | Pull::Silence => have = FRAME,
        }
    }
    frames
}
