//! The parameters of Opus in `a=fmtp` (RFC 7587 §6.1, §7).
//!
//! They say what the side that writes them likes to receive, save `sprop-…`, which say what it will probably
//! send. They are not negotiated: each side declares its own.

use std::fmt::{self, Display, Formatter};

use super::attributes::Fmtp;

/// Opus parameters, with the defaults of RFC 7587 where nothing is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpusParams {
    /// Highest sampling rate in Hz that the receiver can make use of; 8000 to 48000.
    pub maxplaybackrate: Option<u32>,
    /// Highest sampling rate in Hz that the sender has.
    pub sprop_maxcapturerate: Option<u32>,
    /// Highest average bitrate in bit/s that the receiver wants; 6000 to 510000.
    pub maxaveragebitrate: Option<u32>,
    /// The receiver prefers stereo.
    pub stereo: bool,
    /// The sender probably sends stereo.
    pub sprop_stereo: bool,
    /// The receiver prefers constant bitrate.
    pub cbr: bool,
    /// The receiver can use in-band forward error correction.
    pub useinbandfec: bool,
    /// The receiver prefers discontinuous transmission.
    pub usedtx: bool,
    /// Shortest packet in ms that the receiver wants (a parameter of RFC 7587's drafts that browsers write).
    pub minptime: Option<u8>,
}

impl OpusParams {
    /// Reads the parameters. Numbers out of range are brought into range; what cannot be read is as if absent.
    #[must_use]
    pub fn from_fmtp(fmtp: &Fmtp) -> Self {
        let number = |name: &str| fmtp.get(name).and_then(|text| text.parse::<u32>().ok());
        let flag = |name: &str| fmtp.get(name) == Some("1");
        Self {
            maxplaybackrate: number("maxplaybackrate").map(|rate| rate.clamp(8_000, 48_000)),
            sprop_maxcapturerate: number("sprop-maxcapturerate").map(|rate| rate.clamp(8_000, 48_000)),
            maxaveragebitrate: number("maxaveragebitrate").map(|rate| rate.clamp(6_000, 510_000)),
            stereo: flag("stereo"),
            sprop_stereo: flag("sprop-stereo"),
            cbr: flag("cbr"),
            useinbandfec: flag("useinbandfec"),
            usedtx: flag("usedtx"),
            minptime: number("minptime").and_then(|ms| u8::try_from(ms).ok()),
        }
    }
}

/// The text after the payload type in `a=fmtp`: only what differs from the default.
impl Display for OpusParams {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let numbers = [
            ("maxplaybackrate", self.maxplaybackrate),
            ("sprop-maxcapturerate", self.sprop_maxcapturerate),
            ("maxaveragebitrate", self.maxaveragebitrate),
            ("minptime", self.minptime.map(u32::from)),
        ];
        let flags = [
            ("stereo", self.stereo),
            ("sprop-stereo", self.sprop_stereo),
            ("cbr", self.cbr),
            ("useinbandfec", self.useinbandfec),
            ("usedtx", self.usedtx),
        ];
        let numbers = numbers
            .iter()
            .filter_map(|(name, value)| value.map(|value| (*name, value)));
        let flags = flags.iter().filter(|(_, set)| *set).map(|(name, _)| (*name, 1));
        for (index, (name, value)) in numbers.chain(flags).enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_baresip_writes() {
        let params = OpusParams::from_fmtp(&Fmtp::from_parameters(
            "stereo=0;sprop-stereo=0;maxaveragebitrate=32000",
        ));
        assert_eq!(
            params,
            OpusParams {
                maxaveragebitrate: Some(32_000),
                ..OpusParams::default()
            }
        );
    }

    #[test]
    fn reads_odd_spacing_case_and_range() {
        let params = OpusParams::from_fmtp(&Fmtp::from_parameters(
            " MaxPlaybackRate = 96000 ;useinbandfec=1; usedtx=1 ;cbr=yes;;maxaveragebitrate=1;minptime=10",
        ));
        assert_eq!(
            params,
            OpusParams {
                maxplaybackrate: Some(48_000),
                maxaveragebitrate: Some(6_000),
                useinbandfec: true,
                usedtx: true,
                minptime: Some(10),
                ..OpusParams::default()
            }
        );
    }

    #[test]
    fn print_then_read_is_identity() {
        let params = OpusParams {
            maxplaybackrate: Some(16_000),
            sprop_maxcapturerate: Some(24_000),
            maxaveragebitrate: Some(20_000),
            stereo: true,
            sprop_stereo: true,
            cbr: true,
            useinbandfec: true,
            usedtx: true,
            minptime: Some(20),
        };
        assert_eq!(
            OpusParams::from_fmtp(&Fmtp::from_parameters(&params.to_string())),
            params
        );
        assert_eq!(OpusParams::default().to_string(), "");
    }
}
