//! Telephone events (signatures; bodies follow).
use crate::units::{RtpTimestamp, SampleRate};
use std::time::{Duration, Instant};

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
    /// From `0-9 * # A-D` and `!` for flash.
    #[must_use]
    pub fn from_digit(digit: char) -> Option<Self> {
        "0123456789*#ABCD!"
            .chars()
            .position(|c| c == digit.to_ascii_uppercase())
            .and_then(|i| u8::try_from(i).ok())
            .map(Self)
    }
    /// The digit; `!` for flash.
    #[must_use]
    pub fn digit(self) -> char {
        "0123456789*#ABCD!"
            .chars()
            .nth(usize::from(self.0))
            .unwrap_or('?')
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

/// Receiving side: one completed event per key press.
#[derive(Debug, Default)]
pub struct Receiver {}
impl Receiver {
    /// Nothing received.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// A packet of the event payload type, whose negotiated clock is `clock`.
    pub fn on_packet(
        &mut self,
        _payload: &[u8],
        _timestamp: RtpTimestamp,
        _clock: SampleRate,
        _now: Instant,
    ) {
    }
    /// Ends an event whose end was lost.
    pub fn on_timeout(&mut self, _now: Instant) {}
    /// When `on_timeout` is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
    /// The next completed event.
    pub fn poll(&mut self) -> Option<DigitEvent> {
        None
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
pub struct Sender {}
impl Sender {
    /// An event that starts at `start` and lasts `duration`; `interval` is the time between packets.
    #[must_use]
    pub fn new(
        _event: Event,
        _volume: u8,
        _duration: Duration,
        _clock: SampleRate,
        _start: RtpTimestamp,
        _interval: Duration,
    ) -> Self {
        Self {}
    }
    /// The packet for the next interval; `None` after the third end packet.
    pub fn next_packet(&mut self) -> Option<EventPacket> {
        None
    }
}
