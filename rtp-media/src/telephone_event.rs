//! Telephone events: DTMF digits and hook flash as RTP payload (RFC 4733), both ways.
//!
//! One key press is many packets: all carry the timestamp of its start and a duration that grows, and the last one
//! comes three times. The receiver makes one event of them, by timestamp, even when the end was lost. The clock is that of the
//! payload type, 8000 or 48 000 Hz: a duration read with the wrong one is six times too long or too short.
//!
//! Deliberately absent: tones in the audio itself, events above 16 (modems and fax), and SIP INFO.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::limits::{EVENT_QUEUE, EVENT_TIMEOUT};
use crate::units::{RtpTimestamp, SampleRate};

/// Digits by event code (RFC 4733 §3.2); `!` stands for the flash, as in AT commands.
const DIGITS: &str = "0123456789*#ABCD!";
/// End packets are sent three times (RFC 4733 §2.5.1.4).
const END_PACKETS: u8 = 3;

/// A named event: 0–15 digits, 16 flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Event(u8);

impl Event {
    /// Hook flash.
    pub const FLASH: Self = Self(16);

    /// From the number on the wire; `None` above 16.
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        if code <= 16 { Some(Self(code)) } else { None }
    }

    /// From `0-9 * # A-D` and `!` for the flash.
    #[must_use]
    pub fn from_digit(digit: char) -> Option<Self> {
        let place = DIGITS
            .chars()
            .position(|known| known == digit.to_ascii_uppercase())?;
        u8::try_from(place).ok().map(Self)
    }

    /// The digit; `!` for the flash.
    #[must_use]
    pub fn digit(self) -> char {
        DIGITS.chars().nth(usize::from(self.0)).unwrap_or('?')
    }

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

/// A completed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigitEvent {
    /// Which.
    pub event: Event,
    /// How long it was held.
    pub duration: Duration,
    /// Power in −dBm0, 0 to 63.
    pub volume: u8,
}

/// An event's payload (RFC 4733 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Payload {
    event: Event,
    end: bool,
    volume: u8,
    duration: u16,
}

impl Payload {
    /// The first event of a payload; more of them, in the packed form, describe the past and are not sent by phones.
    fn parse(payload: &[u8]) -> Option<Self> {
        let (&[code, flags, high, low], _) = payload.split_first_chunk::<4>()?;
        Some(Self {
            event: Event::new(code)?,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    const fn to_bytes(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [
            self.event.0,
            (self.end as u8) << 7 | self.volume & 0x3f,
            high,
            low,
        ]
    }
}

#[derive(Debug, Clone, Copy)]
struct Open {
    event: Event,
    /// Timestamp of its first segment.
    start: RtpTimestamp,
    /// Ticks in segments that are complete.
    before: u64,
    /// Timestamp of the segment that grows.
    segment: RtpTimestamp,
    duration: u16,
    volume: u8,
    clock: SampleRate,
    heard: Instant,
}

impl Open {
    const fn finish(self) -> DigitEvent {
        let duration = self.clock.duration(self.before + self.duration as u64);
        DigitEvent {
            event: self.event,
            duration,
            volume: self.volume,
        }
    }
}

/// Receiving side: one completed event per key press.
#[derive(Debug, Default)]
pub struct Receiver {
    open: Option<Open>,
    /// Segment timestamp of the last completed event.
    last: Option<RtpTimestamp>,
    done: ArrayVec<DigitEvent, EVENT_QUEUE>,
}

impl Receiver {
    /// Nothing received.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet of the event payload type, whose negotiated clock is `clock`. Malformed ones and unknown events are
    /// ignored.
    pub fn on_packet(&mut self, payload: &[u8], timestamp: RtpTimestamp, clock: SampleRate, now: Instant) {
        let Some(payload) = Payload::parse(payload) else {
            return;
        };
        // RFC 4733 §2.5.2.2: what belongs to an event that is over, or comes from before it, is a repetition.
        if self.last.is_some_and(|last| timestamp.since(last) <= 0) {
            return;
        }
        if let Some(open) = &mut self.open {
            let behind = timestamp.since(open.segment);
            if behind < 0 {
                return;
            }
            let full = open.duration == u16::MAX && payload.event == open.event;
            if behind == 0 {
                open.duration = open.duration.max(payload.duration);
            } else if full && behind == i32::from(u16::MAX) {
                // RFC 4733 §2.5.1.3: an event longer than its field goes on in a segment of its own.
                open.before += u64::from(open.duration);
                open.segment = timestamp;
                open.duration = payload.duration;
            } else {
                self.complete();
            }
        }
        let open = self.open.get_or_insert(Open {
            event: payload.event,
            start: timestamp,
            before: 0,
            segment: timestamp,
            duration: payload.duration,
            volume: payload.volume,
            clock,
            heard: now,
        });
        open.heard = now;
        open.volume = payload.volume;
        if payload.end {
            self.complete();
        }
    }

    /// The event that is being held, and since which timestamp.
    #[must_use]
    pub fn held(&self) -> Option<(Event, RtpTimestamp)> {
        self.open.map(|open| (open.event, open.start))
    }

    /// Ends an event whose end was lost.
    pub fn on_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.complete();
        }
    }

    /// When `on_timeout` is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.open
            .map(|open| (open.heard + EVENT_TIMEOUT, "telephone event without end"))
    }

    /// Forgets which timestamps are over: another source, with timestamps of its own.
    pub fn reset(&mut self) {
        self.complete();
        self.last = None;
    }

    /// The next completed event.
    pub fn poll(&mut self) -> Option<DigitEvent> {
        self.done.pop_at(0)
    }

    fn complete(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.last = Some(open.segment);
        // Nobody fetches: the eldest are the ones that still matter to who typed a number.
        let _ = self.done.try_push(open.finish());
    }
}

/// One packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPacket {
    /// Payload.
    pub payload: [u8; 4],
    /// Marker bit, on the first.
    pub marker: bool,
    /// Timestamp: the event's start, in all of its packets.
    pub timestamp: RtpTimestamp,
}

/// Sending side of one event.
#[derive(Debug, Clone)]
pub struct Sender {
    event: Event,
    volume: u8,
    start: RtpTimestamp,
    /// Ticks from packet to packet, and in all.
    step: u16,
    total: u16,
    duration: u16,
    ends: u8,
}

impl Sender {
    /// An event that starts at `start` and lasts `duration`, cut to what fits its field (1.3 s at 48 kHz, 8 s at
    /// 8 kHz); `interval` is the time between packets. `volume` is in −dBm0, 0 to 63; 10 is usual.
    #[must_use]
    pub fn new(
        event: Event,
        volume: u8,
        duration: Duration,
        clock: SampleRate,
        start: RtpTimestamp,
        interval: Duration,
    ) -> Self {
        let ticks = |time| u16::try_from(clock.ticks(time)).unwrap_or(u16::MAX).max(1);
        let (step, total) = (ticks(interval), ticks(duration));
        Self {
            event,
            volume: volume.min(63),
            start,
            step,
            total,
            duration: 0,
            ends: 0,
        }
    }

    /// The packet for the next interval; `None` after the third end packet. The first is due one interval after the
    /// event's start, because it already reports that much of it.
    pub fn next_packet(&mut self) -> Option<EventPacket> {
        if self.ends == END_PACKETS {
            return None;
        }
        let marker = self.duration == 0;
        self.duration = self.duration.saturating_add(self.step).min(self.total);
        let end = self.duration == self.total;
        self.ends += u8::from(end);
        let payload = Payload {
            event: self.event,
            end,
            volume: self.volume,
            duration: self.duration,
        };
        Some(EventPacket {
            payload: payload.to_bytes(),
            marker,
            timestamp: self.start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLOCK: SampleRate = SampleRate::HZ_8000;
    const INTERVAL: Duration = Duration::from_millis(20);

    fn packets(digit: char, ms: u64, clock: SampleRate, start: u32) -> Vec<EventPacket> {
        let event = Event::from_digit(digit).unwrap();
        let mut sender = Sender::new(
            event,
            10,
            Duration::from_millis(ms),
            clock,
            RtpTimestamp(start),
            INTERVAL,
        );
        std::iter::from_fn(|| sender.next_packet()).collect()
    }

    fn hear(receiver: &mut Receiver, packets: &[EventPacket], clock: SampleRate, now: Instant) {
        for packet in packets {
            receiver.on_packet(&packet.payload, packet.timestamp, clock, now);
        }
    }

    fn all(receiver: &mut Receiver) -> Vec<(char, u128)> {
        std::iter::from_fn(|| receiver.poll())
            .map(|event| (event.event.digit(), event.duration.as_millis()))
            .collect()
    }

    #[test]
    fn digits_have_their_codes() {
        for (code, digit) in DIGITS.chars().enumerate() {
            let event = Event::from_digit(digit).unwrap();
            assert_eq!((usize::from(event.code()), event.digit()), (code, digit));
        }
        assert_eq!(Event::from_digit('a'), Event::from_digit('A'));
        assert_eq!(
            (Event::from_digit('x'), Event::new(17), Event::FLASH.digit()),
            (None, None, '!')
        );
    }

    #[test]
    fn a_sent_event_has_marker_growth_and_three_ends() {
        let sent = packets('5', 100, CLOCK, 7000);
        assert_eq!(sent.len(), 4 + 3);
        assert_eq!(
            sent.iter()
                .map(|packet| packet.marker)
                .filter(|marker| *marker)
                .count(),
            1
        );
        assert!(sent[0].marker && sent.iter().all(|packet| packet.timestamp == RtpTimestamp(7000)));
        assert_eq!(sent[0].payload, [5, 10, 0, 160]);
        assert_eq!(sent[3].payload, [5, 10, 2, 128]);
        assert!(
            sent[4..]
                .iter()
                .all(|packet| packet.payload == [5, 0x80 | 10, 3, 32])
        );
    }

    #[test]
    fn a_received_event_is_one_at_either_clock() {
        for clock in [CLOCK, SampleRate::HZ_48000] {
            let mut receiver = Receiver::new();
            let now = crate::units::any_instant();
            hear(&mut receiver, &packets('#', 160, clock, 0xffff_ff00), clock, now);
            assert_eq!(all(&mut receiver), [('#', 160)], "{clock:?}");
            hear(&mut receiver, &packets('#', 80, clock, 0x100), clock, now);
            assert_eq!(
                all(&mut receiver),
                [('#', 80)],
                "the same key again is another event"
            );
        }
    }

    #[test]
    fn a_lost_end_is_ended_by_time() {
        let mut receiver = Receiver::new();
        let now = crate::units::any_instant();
        hear(&mut receiver, &packets('1', 100, CLOCK, 0)[..3], CLOCK, now);
        assert_eq!(receiver.held().map(|(event, _)| event.digit()), Some('1'));
        let (due, _) = receiver.poll_timeout().unwrap();
        receiver.on_timeout(due - Duration::from_millis(1));
        assert_eq!(all(&mut receiver), []);
        receiver.on_timeout(due);
        assert_eq!(all(&mut receiver), [('1', 60)]);
        // An end that comes after all is a repetition.
        hear(&mut receiver, &packets('1', 100, CLOCK, 0)[4..], CLOCK, due);
        assert_eq!(all(&mut receiver), []);
        assert!(receiver.poll_timeout().is_none());
    }

    #[test]
    fn a_lost_end_is_ended_by_the_next_event() {
        let mut receiver = Receiver::new();
        let now = crate::units::any_instant();
        hear(&mut receiver, &packets('1', 100, CLOCK, 0)[..4], CLOCK, now);
        hear(&mut receiver, &packets('2', 100, CLOCK, 2000)[6..], CLOCK, now);
        assert_eq!(all(&mut receiver), [('1', 80), ('2', 100)]);
    }

    #[test]
    fn only_one_end_packet_is_enough_and_reordering_is_harmless() {
        let mut receiver = Receiver::new();
        let now = crate::units::any_instant();
        let sent = packets('9', 100, CLOCK, 0);
        hear(
            &mut receiver,
            &[sent[4], sent[0], sent[3], sent[5], sent[6]],
            CLOCK,
            now,
        );
        assert_eq!(all(&mut receiver), [('9', 100)]);
        let mut swapped = packets('8', 100, CLOCK, 5000);
        swapped.swap(0, 3);
        hear(&mut receiver, &swapped, CLOCK, now);
        assert_eq!(all(&mut receiver), [('8', 100)]);
    }

    #[test]
    fn a_long_event_goes_on_in_segments() {
        let mut receiver = Receiver::new();
        let now = crate::units::any_instant();
        receiver.on_packet(&[3, 10, 0xff, 0xff], RtpTimestamp(0), SampleRate::HZ_48000, now);
        receiver.on_packet(
            &[3, 10, 0x10, 0x00],
            RtpTimestamp(0xffff),
            SampleRate::HZ_48000,
            now,
        );
        receiver.on_packet(
            &[3, 0x8a, 0xbb, 0x81],
            RtpTimestamp(0xffff),
            SampleRate::HZ_48000,
            now,
        );
        assert_eq!(all(&mut receiver), [('3', 2365)]);
    }

    #[test]
    fn another_source_starts_anew() {
        let mut receiver = Receiver::new();
        let now = crate::units::any_instant();
        hear(&mut receiver, &packets('1', 100, CLOCK, 9000), CLOCK, now);
        receiver.reset();
        hear(&mut receiver, &packets('2', 100, CLOCK, 100), CLOCK, now);
        assert_eq!(all(&mut receiver), [('1', 100), ('2', 100)]);
    }

    #[test]
    fn bad_payloads_and_a_full_queue_are_harmless() {
        let mut receiver = Receiver::new();
        let now = crate::units::any_instant();
        for payload in [&[][..], &[1, 2, 3], &[17, 0x80, 0, 1], &[255, 0, 0, 0]] {
            receiver.on_packet(payload, RtpTimestamp(5), CLOCK, now);
        }
        assert!(receiver.held().is_none());
        for number in 0..10 {
            receiver.on_packet(&[1, 0x8a, 1, 0], RtpTimestamp(100 + number * 1000), CLOCK, now);
        }
        assert_eq!(all(&mut receiver).len(), EVENT_QUEUE);
    }

    proptest! {
        #[test]
        fn any_packets_never_panic_and_leave_few_events(
            packets in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..8), any::<u32>(), any::<bool>()), 0..60)
        ) {
            let mut receiver = Receiver::new();
            let mut now = crate::units::any_instant();
            for (payload, timestamp, wide) in &packets {
                let clock = if *wide { SampleRate::HZ_48000 } else { CLOCK };
                now += INTERVAL;
                receiver.on_packet(payload, RtpTimestamp(*timestamp), clock, now);
                receiver.on_timeout(now);
            }
            prop_assert!(all(&mut receiver).len() <= EVENT_QUEUE);
        }

        #[test]
        fn every_press_is_heard_once(
            presses in proptest::collection::vec((0_u8..=16, 40_u64..500), 1..20),
            losses in proptest::collection::vec(any::<bool>(), 1..100),
            wide: bool,
        ) {
            let clock = if wide { SampleRate::HZ_48000 } else { CLOCK };
            let mut receiver = Receiver::new();
            let now = crate::units::any_instant();
            let mut fate = losses.iter().cycle();
            let mut heard = Vec::new();
            let mut expected = Vec::new();
            for (number, (code, ms)) in presses.iter().enumerate() {
                let digit = Event::new(*code).unwrap().digit();
                let mut sent = packets(digit, *ms, clock, number as u32 * 48_000);
                // At least one end packet arrives.
                let last = sent.pop().unwrap();
                sent.retain(|_| !fate.next().unwrap());
                sent.push(last);
                hear(&mut receiver, &sent, clock, now);
                heard.extend(all(&mut receiver));
                expected.push((digit, u128::from(*ms)));
            }
            prop_assert_eq!(heard, expected);
        }
    }
}
