//! The numbers of RTP as types: identifiers, sequence numbers, timestamps, rates and wall-clock time.
//!
//! Wrap-around lives here and nowhere else: [`SeqExt::extend`] and [`RtpTimestamp::since`]. Deliberately absent:
//! arithmetic operators on wrapping values (a plain `<` on a sequence number is a bug that waits 22 minutes).

use std::fmt;
use std::time::Duration;

/// Synchronisation source (RFC 3550 §3): who sends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// RTP payload type, 0 to 127 (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadType(u8);

impl PayloadType {
    /// PCMU, 8000 Hz (RFC 3551 §6).
    pub const PCMU: Self = Self(0);
    /// PCMA, 8000 Hz (RFC 3551 §6).
    pub const PCMA: Self = Self(8);
    /// G.722; its RTP clock is 8000 Hz although it samples at 16000 (RFC 3551 §4.5.2).
    pub const G722: Self = Self(9);

    /// A payload type, or `None` above 127.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value < 128 { Some(Self(value)) } else { None }
    }

    /// A payload type from the low seven bits of a header byte.
    #[must_use]
    pub const fn from_low_bits(byte: u8) -> Self {
        Self(byte & 0x7f)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A sequence number extended over its wrap-arounds. It starts one cycle up, so that packets reordered before the
/// first one still have a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqExt(pub u64);

impl SeqExt {
    /// The extended number of the first packet of a stream.
    #[must_use]
    pub const fn first(seq: u16) -> Self {
        Self(0x1_0000 + seq as u64)
    }

    /// The extended number nearest to `self` whose low sixteen bits are `seq`.
    #[must_use]
    pub const fn extend(self, seq: u16) -> Self {
        let ahead = seq.wrapping_sub(self.low()) as i16;
        Self(self.0.saturating_add_signed(ahead as i64))
    }

    /// The number on the wire.
    #[must_use]
    pub const fn low(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// Extended highest sequence number as a report block carries it (RFC 3550 §6.4.1): cycles counted from zero.
    #[must_use]
    pub const fn as_report(self) -> u32 {
        (self.0.wrapping_sub(0x1_0000) & 0xffff_ffff) as u32
    }

    /// The number `count` packets on.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

/// RTP timestamp on the wire, in ticks of the payload's clock; wraps at 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RtpTimestamp(pub u32);

impl RtpTimestamp {
    /// `ticks` later, over the wrap.
    #[must_use]
    pub const fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// Ticks from `earlier` to `self`, negative when `self` is the earlier one; right up to half the range.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

/// Ticks per second of an RTP clock or of a sampling clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleRate(u32);

impl SampleRate {
    /// 8 kHz: G.711, and the RTP clock of G.722.
    pub const HZ_8000: Self = Self(8000);
    /// 16 kHz: G.722's samples.
    pub const HZ_16000: Self = Self(16_000);
    /// 48 kHz: Opus and the mixer.
    pub const HZ_48000: Self = Self(48_000);

    /// A rate, or `None` for zero and for more than a megahertz.
    #[must_use]
    pub const fn new(hertz: u32) -> Option<Self> {
        if hertz == 0 || hertz > 1_000_000 {
            None
        } else {
            Some(Self(hertz))
        }
    }

    /// Hertz.
    #[must_use]
    pub const fn hertz(self) -> u32 {
        self.0
    }

    /// Whole ticks in `duration`.
    #[must_use]
    pub const fn ticks(self, duration: Duration) -> u64 {
        let hertz = self.0 as u64;
        duration.as_secs().saturating_mul(hertz) + duration.subsec_nanos() as u64 * hertz / 1_000_000_000
    }

    /// The time that `ticks` take.
    #[must_use]
    pub const fn duration(self, ticks: u64) -> Duration {
        let hertz = self.0 as u64;
        Duration::new(ticks / hertz, ((ticks % hertz) * 1_000_000_000 / hertz) as u32)
    }

    /// Microseconds that `ticks` take; negative ticks allowed.
    #[must_use]
    pub const fn micros(self, ticks: i64) -> i64 {
        ticks * 1_000_000 / self.0 as i64
    }
}

/// Wall-clock time as RTCP carries it (RFC 3550 §4): seconds since 1900 and a 32-bit fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Seconds between 1900 and 1970.
    const UNIX_OFFSET: u64 = 2_208_988_800;

    /// From the time since the Unix epoch.
    #[must_use]
    pub const fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs().wrapping_add(Self::UNIX_OFFSET) & 0xffff_ffff;
        let fraction = ((since_epoch.subsec_nanos() as u64) << 32) / 1_000_000_000;
        Self(seconds << 32 | fraction)
    }

    /// The middle 32 bits, as LSR carries them: 16 bits of seconds, 16 of fraction.
    #[must_use]
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// `self` moved by a signed number of microseconds.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        let fraction = ((micros as i128) << 32) / 1_000_000;
        Self(self.0.wrapping_add(fraction as i64 as u64))
    }

    /// Time from `earlier` to `self`, or zero when it is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        let difference = self.0.wrapping_sub(earlier.0);
        if difference > i64::MAX as u64 {
            return Duration::ZERO;
        }
        Duration::new(
            difference >> 32,
            (((difference & 0xffff_ffff) * 1_000_000_000) >> 32) as u32,
        )
    }
}

/// A duration in units of 1/65536 s, as DLSR carries it (RFC 3550 §6.4.1); saturates.
#[must_use]
pub fn to_short_ntp(duration: Duration) -> u32 {
    let value = (duration.as_nanos() << 16) / 1_000_000_000;
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The duration that a 1/65536 s value means.
#[must_use]
pub const fn from_short_ntp(value: u32) -> Duration {
    Duration::from_nanos(((value as u64) * 1_000_000_000) >> 16)
}

/// Some moment for tests to count from.
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can be had in no other way; tests add to it"
)]
pub(crate) fn any_instant() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_extends_over_the_wrap_both_ways() {
        let first = SeqExt::first(65_534);
        let after = first.extend(1);
        assert_eq!(after.0 - first.0, 3);
        assert_eq!(after.extend(65_535).0, first.0 + 1);
        assert_eq!(SeqExt::first(0).extend(65_535), SeqExt(0xffff));
        assert_eq!(after.as_report(), 0x1_0001);
    }

    #[test]
    fn timestamps_compare_over_the_wrap() {
        let start = RtpTimestamp(0xffff_ff00);
        assert_eq!(start.plus(0x200), RtpTimestamp(0x100));
        assert_eq!(RtpTimestamp(0x100).since(start), 0x200);
        assert_eq!(start.since(RtpTimestamp(0x100)), -0x200);
    }

    #[test]
    fn ticks_and_durations_agree() {
        assert_eq!(SampleRate::HZ_48000.ticks(Duration::from_millis(20)), 960);
        assert_eq!(SampleRate::HZ_8000.duration(160), Duration::from_millis(20));
        assert_eq!(SampleRate::HZ_8000.micros(-160), -20_000);
        assert!(SampleRate::new(0).is_none());
    }

    #[test]
    fn ntp_matches_a_known_instant() {
        // 1970-01-01 00:00:00.5
        let half = NtpTime::from_unix(Duration::from_millis(500));
        assert_eq!(half.0, 2_208_988_800 << 32 | 1 << 31);
        assert_eq!(
            half.middle(),
            ((2_208_988_800_u64 & 0xffff) as u32) << 16 | 0x8000
        );
        assert_eq!(half.plus_micros(250_000).since(half), Duration::from_millis(250));
        assert_eq!(half.since(half.plus_micros(1)), Duration::ZERO);
        assert_eq!(half.plus_micros(-500_000).0, 2_208_988_800 << 32);
    }

    #[test]
    fn short_ntp_round_trips() {
        assert_eq!(to_short_ntp(Duration::from_millis(1500)), 0x1_8000);
        assert_eq!(from_short_ntp(0x1_8000), Duration::from_millis(1500));
        assert_eq!(to_short_ntp(Duration::from_secs(1 << 20)), u32::MAX);
    }
}
