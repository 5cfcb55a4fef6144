//! The shape of an Opus packet, from its first bytes (RFC 6716 §3): mode, bandwidth, duration, frames.
//!
//! A mixer reads this instead of decoding: how long a packet is, and whether it can hold any sound.
//! Deliberately absent: the sizes of the single frames; only libopus needs them.

use std::time::Duration;

/// The coding modes of RFC 6716 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Linear prediction only: speech at low rates.
    Silk,
    /// SILK below 8 kHz, CELT above.
    Hybrid,
    /// Transform only.
    Celt,
}

/// Audio bandwidth of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bandwidth {
    /// 4 kHz.
    Narrowband,
    /// 6 kHz.
    Mediumband,
    /// 8 kHz.
    Wideband,
    /// 12 kHz.
    SuperWideband,
    /// 20 kHz.
    Fullband,
}

/// What the table of contents says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketShape {
    /// Coding mode of all frames.
    pub mode: Mode,
    /// Audio bandwidth of all frames.
    pub bandwidth: Bandwidth,
    /// Two channels are coded.
    pub stereo: bool,
    /// Number of frames, 1 to 48.
    pub frames: u8,
    /// One frame's samples at 48 kHz: 120 (2.5 ms) to 2880 (60 ms).
    pub frame_samples: u16,
}

/// RFC 6716 §3.2.5: the frames of a packet together last 120 ms at most.
pub const MAX_PACKET_SAMPLES: usize = 5_760;

/// A frame of at most this many bytes can't hold speech: at 20 ms it is 2.4 kbit/s, and no Opus encoder
/// goes below 6. Encoders send such frames for digital silence.
const SILENT_FRAME_BYTES: usize = 6;

impl PacketShape {
    /// Reads the shape; `None` when the packet is malformed (RFC 6716 §3.4, as far as the first bytes tell).
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (&toc, rest) = payload.split_first()?;
        let config = toc >> 3;
        let (mode, bandwidth) = mode_and_bandwidth(config);
        let frame_samples: u16 = match (mode, config & 3) {
            (Mode::Silk, 0) => 480,
            (Mode::Silk, 1) => 960,
            (Mode::Silk, 2) => 1_920,
            (Mode::Silk, _) => 2_880,
            (Mode::Hybrid, low) => {
                if low & 1 == 0 {
                    480
                } else {
                    960
                }
            }
            (Mode::Celt, low) => 120 << low,
        };
        let frames = match toc & 3 {
            0 => 1,
            // RFC 6716 §3.2.3: two frames of equal size, so the rest is even.
            1 if rest.len().is_multiple_of(2) => 2,
            1 => return None,
            2 if rest.is_empty() => return None,
            2 => 2,
            _ => rest.first().map(|byte| byte & 0x3f).filter(|&count| count > 0)?,
        };
        let shape = Self {
            mode,
            bandwidth,
            stereo: toc & 4 != 0,
            frames,
            frame_samples,
        };
        (shape.samples() <= MAX_PACKET_SAMPLES).then_some(shape)
    }

    /// Samples at 48 kHz of the whole packet.
    pub fn samples(&self) -> usize {
        usize::from(self.frame_samples) * usize::from(self.frames)
    }

    /// Duration of the whole packet.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.samples()).unwrap_or(0) * 1_000_000_000 / 48_000)
    }
}

/// What the first bytes of a packet tell about the sound in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// No audio at all: one or two bytes stand for discontinued transmission (RFC 7587 §3.1.3).
    Dtx,
    /// Digital silence: the CELT silence flag is set, or the packet is too small to hold anything.
    Silence,
    /// The encoder's voice activity detector saw nothing (RFC 6716 §4.2.3). Steady tones and music look so
    /// too, hence never enough by itself: decode some and measure.
    Inactive,
    /// Something to hear, or nothing that can be told without decoding.
    Unknown,
}

impl Hint {
    /// Reads the hint.
    pub fn of(payload: &[u8]) -> Self {
        let Some(shape) = PacketShape::parse(payload) else {
            return Hint::Unknown;
        };
        if payload.len() <= 2 {
            return Hint::Dtx;
        }
        if (payload.len() - 1) * 2 <= SILENT_FRAME_BYTES * shape.samples().div_ceil(480) {
            return Hint::Silence;
        }
        // Only the plain packet of one frame has its coded bits right behind the first byte.
        let (&[toc, first, second], 1, false) = (
            payload.first_chunk::<3>().unwrap_or(&[0; 3]),
            shape.frames,
            shape.stereo,
        ) else {
            return Hint::Unknown;
        };
        if toc & 3 != 0 {
            return Hint::Unknown;
        }
        match shape.mode {
            // RFC 6716 §4.3: the first symbol says silence, with a probability of 2^-15: fifteen ones.
            Mode::Celt if first == 0xff && second >= 0xfe => Hint::Silence,
            Mode::Celt => Hint::Unknown,
            // RFC 6716 §4.2.3: first one even bit for each 20 ms, "voice active"; such bits stand in plain.
            Mode::Silk | Mode::Hybrid => {
                let flags = u32::from(shape.frame_samples).div_ceil(960);
                if u32::from(first) >> (8 - flags) == 0 {
                    Hint::Inactive
                } else {
                    Hint::Unknown
                }
            }
        }
    }
}

/// Writes the packet for `samples` (at 48 kHz) of digital silence: CELT frames with the silence flag, which
/// a decoder understands in whatever state it is. Returns its length; `None` for durations other than 2.5,
/// 5, 10, 20, 40 and 60 ms, or no room.
pub fn write_silence(samples: usize, out: &mut [u8]) -> Option<usize> {
    const FRAME: [u8; 2] = [0xff, 0xfe];
    let (config, frames): (u8, usize) = match samples {
        120 => (28, 1),
        240 => (29, 1),
        480 => (30, 1),
        960 => (31, 1),
        1_920 => (31, 2),
        2_880 => (31, 3),
        _ => return None,
    };
    // RFC 6716 §3.2: one frame, two of equal size, or a counted number of equal size.
    let header: &[u8] = match frames {
        1 => &[config << 3],
        2 => &[config << 3 | 1],
        _ => &[config << 3 | 3, 3],
    };
    let length = header.len() + frames * FRAME.len();
    let (front, rest) = out.get_mut(..length)?.split_at_mut_checked(header.len())?;
    front.copy_from_slice(header);
    for frame in rest.chunks_exact_mut(FRAME.len()) {
        frame.copy_from_slice(&FRAME);
    }
    Some(length)
}

/// RFC 6716 §3.1, table 2: thirty-two configurations in groups by mode and bandwidth.
fn mode_and_bandwidth(config: u8) -> (Mode, Bandwidth) {
    match config {
        0..=3 => (Mode::Silk, Bandwidth::Narrowband),
        4..=7 => (Mode::Silk, Bandwidth::Mediumband),
        8..=11 => (Mode::Silk, Bandwidth::Wideband),
        12..=13 => (Mode::Hybrid, Bandwidth::SuperWideband),
        14..=15 => (Mode::Hybrid, Bandwidth::Fullband),
        16..=19 => (Mode::Celt, Bandwidth::Narrowband),
        20..=23 => (Mode::Celt, Bandwidth::Wideband),
        24..=27 => (Mode::Celt, Bandwidth::SuperWideband),
        _ => (Mode::Celt, Bandwidth::Fullband),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_configurations_have_the_durations_of_the_table() {
        let expected: [&[u16]; 8] = [
            &[480, 960, 1920, 2880],
            &[480, 960, 1920, 2880],
            &[480, 960, 1920, 2880],
            &[480, 960, 480, 960],
            &[120, 240, 480, 960],
            &[120, 240, 480, 960],
            &[120, 240, 480, 960],
            &[120, 240, 480, 960],
        ];
        for config in 0..32u8 {
            let shape = PacketShape::parse(&[config << 3, 0]).unwrap();
            assert_eq!(
                shape.frame_samples,
                expected[usize::from(config) / 4][usize::from(config) % 4],
                "{config}"
            );
        }
    }

    #[test]
    fn several_frames_in_a_packet() {
        // Configuration 1 (SILK NB 20 ms): code 1 and 2 are two frames, code 3 counts them itself.
        assert_eq!(PacketShape::parse(&[0b0000_1001, 0, 0]).unwrap().samples(), 1920);
        assert_eq!(
            PacketShape::parse(&[0b0000_1010, 1, 0]).unwrap().duration(),
            Duration::from_millis(40)
        );
        assert_eq!(
            PacketShape::parse(&[0b0000_1011, 6]).unwrap().duration(),
            Duration::from_millis(120)
        );
        assert_eq!(
            PacketShape::parse(&[0b1000_0011, 48]).unwrap().samples(),
            MAX_PACKET_SAMPLES
        );
        assert!(PacketShape::parse(&[0b0000_0100]).unwrap().stereo);
    }

    #[test]
    fn malformed_shapes_are_refused() {
        assert_eq!(PacketShape::parse(&[]), None);
        assert_eq!(
            PacketShape::parse(&[0b0000_1001, 0]),
            None,
            "two equal frames in an odd number of bytes"
        );
        assert_eq!(
            PacketShape::parse(&[0b0000_1010]),
            None,
            "no length of the first frame"
        );
        assert_eq!(PacketShape::parse(&[0b0000_1011]), None, "no frame count");
        assert_eq!(PacketShape::parse(&[0b0000_1011, 0]), None, "no frames");
        assert_eq!(PacketShape::parse(&[0b0000_1011, 7]), None, "140 ms");
    }

    #[test]
    fn hints_of_small_and_flagged_packets() {
        assert_eq!(Hint::of(&[0xf8]), Hint::Dtx);
        assert_eq!(Hint::of(&[0xf8, 0xff]), Hint::Dtx);
        assert_eq!(Hint::of(&[0xf8, 0xff, 0xfe]), Hint::Silence);
        let mut padded = [0u8; 80];
        padded[..3].copy_from_slice(&[0xf8, 0xff, 0xfe]);
        assert_eq!(
            Hint::of(&padded),
            Hint::Silence,
            "constant bit rate fills up behind the flag"
        );
        assert_eq!(Hint::of(&[0xf8; 16]), Hint::Unknown);
        assert_eq!(Hint::of(&[]), Hint::Unknown);
        let mut hybrid = [0u8; 35];
        hybrid[0] = 13 << 3;
        assert_eq!(Hint::of(&hybrid), Hint::Inactive);
        hybrid[1] = 0x80;
        assert_eq!(Hint::of(&hybrid), Hint::Unknown);
        let mut sixty = [0u8; 60];
        sixty[0] = 11 << 3;
        assert_eq!(Hint::of(&sixty), Hint::Inactive);
        sixty[1] = 0x20;
        assert_eq!(
            Hint::of(&sixty),
            Hint::Unknown,
            "third frame of the three is active"
        );
    }

    #[test]
    fn silence_is_written_for_the_usual_durations() {
        let mut out = [0; 16];
        for samples in [120, 240, 480, 960, 1_920, 2_880] {
            let length = write_silence(samples, &mut out).unwrap();
            assert_eq!(PacketShape::parse(&out[..length]).unwrap().samples(), samples);
        }
        assert_eq!(write_silence(961, &mut out), None);
        assert_eq!(write_silence(960, &mut out[..2]), None);
    }
}
