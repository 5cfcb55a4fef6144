//! Extended reports (RFC 3611): the VoIP metrics block, and a walk over whatever other blocks there are.
//!
//! Deliberately absent: the blocks of lists (loss and duplicate runs, receipt times), which describe single packets and
//! cost more than they tell, and receiver reference times: both sides of a call send SRs, whose LSR and DLSR give
//! the round trip already.

use super::Reader;
use crate::units::Ssrc;

/// Packet type of an XR (RFC 3611 §2).
pub(crate) const EXTENDED_REPORT: u8 = 207;
/// Block type of the VoIP metrics (RFC 3611 §4.7).
const VOIP_METRICS: u8 = 7;
/// Its length in words behind the block's header.
const VOIP_WORDS: usize = 8;
/// What stands where a value of one byte is not known.
const UNKNOWN: u8 = 127;

/// The blocks of one XR packet, in place.
#[derive(Debug, Clone)]
pub struct XrBlocks<'a> {
    pub(super) rest: &'a [u8],
}

/// One block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum XrBlock<'a> {
    /// VoIP metrics.
    VoipMetrics(VoipMetrics),
    /// Another type.
    Other {
        /// Its number.
        block_type: u8,
        /// Its content behind the header.
        body: &'a [u8],
    },
}

/// The VoIP metrics block (RFC 3611 §4.7). Shares are in 1/256, times in ms; `None` is "not known".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoipMetrics {
    /// The stream that it is about.
    pub ssrc: Ssrc,
    /// Share of packets lost by the network.
    pub loss_rate: u8,
    /// Share of packets that came, but too late or too early to be played.
    pub discard_rate: u8,
    /// Share of missing packets within bursts.
    pub burst_density: u8,
    /// Share of missing packets between bursts.
    pub gap_density: u8,
    /// Mean length of a burst.
    pub burst_duration: u16,
    /// Mean length of a gap.
    pub gap_duration: u16,
    /// Round trip between the RTP ends; 0 while it is not known.
    pub round_trip: u16,
    /// Delay of the end system: packetising, jitter buffer, decoding.
    pub end_system_delay: u16,
    /// Voice level in dBm0.
    pub signal_level: Option<i8>,
    /// Background noise in dBm0.
    pub noise_level: Option<i8>,
    /// Residual echo return loss in dB.
    pub residual_echo_return_loss: Option<u8>,
    /// Good packets that end a burst.
    pub gmin: u8,
    /// Rating of this call, 0 to 100.
    pub r_factor: Option<u8>,
    /// Rating of what lies beyond it, 0 to 100.
    pub external_r_factor: Option<u8>,
    /// Opinion of listening, times ten.
    pub mos_lq: Option<u8>,
    /// Opinion of conversing, times ten.
    pub mos_cq: Option<u8>,
    /// Concealment and kind of jitter buffer, as RFC 3611 §4.7.6 packs them.
    pub receiver_config: u8,
    /// Jitter buffer delay for packets that come in time.
    pub jitter_nominal: u16,
    /// Its delay for the latest that would be played now.
    pub jitter_maximum: u16,
    /// The most it can ever be.
    pub jitter_absolute: u16,
}

impl VoipMetrics {
    /// Bytes of the block with its header.
    pub const LEN: usize = 4 + 4 * VOIP_WORDS;
    /// Enhanced concealment, adaptive jitter buffer, rate not told.
    pub const ENHANCED_ADAPTIVE: u8 = 0b1011_0000;

    /// The block as it stands on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let word = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
        let signed = |level: Option<i8>| level.map_or(UNKNOWN, i8::cast_unsigned);
        let known = |value: Option<u8>| value.unwrap_or(UNKNOWN);
        let words = [
            u32::from(VOIP_METRICS) << 24 | VOIP_WORDS as u32,
            self.ssrc.0,
            u32::from_be_bytes([
                self.loss_rate,
                self.discard_rate,
                self.burst_density,
                self.gap_density,
            ]),
            word(self.burst_duration, self.gap_duration),
            word(self.round_trip, self.end_system_delay),
            u32::from_be_bytes([
                signed(self.signal_level),
                signed(self.noise_level),
                known(self.residual_echo_return_loss),
                self.gmin,
            ]),
            u32::from_be_bytes([
                known(self.r_factor),
                known(self.external_r_factor),
                known(self.mos_lq),
                known(self.mos_cq),
            ]),
            u32::from(self.receiver_config) << 24 | u32::from(self.jitter_nominal),
            word(self.jitter_maximum, self.jitter_absolute),
        ];
        for (place, value) in out.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *place = value.to_be_bytes();
        }
        out
    }

    /// Reads the content behind the block's header. RFC 3611 §4.7.5: ratings out of their range are as if not known.
    fn parse(body: &[u8]) -> Option<Self> {
        if body.len() != 4 * VOIP_WORDS {
            return None;
        }
        let mut reader = Reader(body);
        let ssrc = reader.ssrc()?;
        let mut bytes = || reader.word().map(u32::to_be_bytes);
        let [loss_rate, discard_rate, burst_density, gap_density] = bytes()?;
        let durations = bytes()?;
        let delays = bytes()?;
        let [signal, noise, echo, gmin] = bytes()?;
        let [r, external, lq, cq] = bytes()?;
        let [receiver_config, _, nominal_high, nominal_low] = bytes()?;
        let maxima = bytes()?;
        let pair = |[a, b, c, d]: [u8; 4]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let level = |byte: u8| (byte != UNKNOWN).then(|| byte.cast_signed());
        let rating = |byte: u8| (byte <= 100).then_some(byte);
        let opinion = |byte: u8| (10..=50).contains(&byte).then_some(byte);
        Some(Self {
            ssrc,
            loss_rate,
            discard_rate,
            burst_density,
            gap_density,
            burst_duration: pair(durations).0,
            gap_duration: pair(durations).1,
            round_trip: pair(delays).0,
            end_system_delay: pair(delays).1,
            signal_level: level(signal),
            noise_level: level(noise),
            residual_echo_return_loss: (echo != UNKNOWN).then_some(echo),
            gmin,
            r_factor: rating(r),
            external_r_factor: rating(external),
            mos_lq: opinion(lq),
            mos_cq: opinion(cq),
            receiver_config,
            jitter_nominal: u16::from_be_bytes([nominal_high, nominal_low]),
            jitter_maximum: pair(maxima).0,
            jitter_absolute: pair(maxima).1,
        })
    }
}

impl<'a> Iterator for XrBlocks<'a> {
    type Item = XrBlock<'a>;

    fn next(&mut self) -> Option<XrBlock<'a>> {
        let (&[block_type, _, high, low], rest) = self.rest.split_first_chunk::<4>()?;
        let length = 4 * usize::from(u16::from_be_bytes([high, low]));
        let Some((body, rest)) = rest.split_at_checked(length) else {
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        let other = XrBlock::Other { block_type, body };
        Some(match block_type {
            VOIP_METRICS => VoipMetrics::parse(body).map_or(other, XrBlock::VoipMetrics),
            _ => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::write::RtcpWriter;
    use crate::rtcp::{RtcpPacket, parse_compound};
    use proptest::prelude::*;

    fn metrics() -> VoipMetrics {
        VoipMetrics {
            ssrc: Ssrc(0x0102_0304),
            loss_rate: 12,
            discard_rate: 11,
            burst_density: 84,
            gap_density: 10,
            burst_duration: 120,
            gap_duration: 520,
            round_trip: 1,
            end_system_delay: 2,
            signal_level: Some(-18),
            noise_level: None,
            residual_echo_return_loss: None,
            gmin: 16,
            r_factor: Some(93),
            external_r_factor: None,
            mos_lq: Some(44),
            mos_cq: Some(43),
            receiver_config: VoipMetrics::ENHANCED_ADAPTIVE,
            jitter_nominal: 20,
            jitter_maximum: 40,
            jitter_absolute: 200,
        }
    }

    fn blocks(datagram: &[u8]) -> Vec<XrBlock<'_>> {
        parse_compound(datagram)
            .unwrap()
            .flatten()
            .flat_map(|packet| match packet {
                RtcpPacket::ExtendedReport { blocks, .. } => blocks.collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect()
    }

    #[test]
    fn bytes_stand_where_rfc_3611_puts_them() {
        let bytes = metrics().to_bytes();
        assert_eq!(&bytes[..8], &[7, 0, 0, 8, 1, 2, 3, 4]);
        assert_eq!(&bytes[8..16], &[12, 11, 84, 10, 0, 120, 2, 8]);
        assert_eq!(&bytes[16..24], &[0, 1, 0, 2, 0xee, 127, 127, 16]);
        assert_eq!(&bytes[24..], &[93, 127, 44, 43, 0xb0, 0, 0, 20, 0, 40, 0, 200]);
    }

    #[test]
    fn written_in_a_compound_and_read_again() {
        let mut buffer = [0; 256];
        let mut writer = RtcpWriter::new(&mut buffer);
        writer.receiver_report(Ssrc(9), &[]).unwrap();
        writer.cname(Ssrc(9), "x").unwrap();
        writer.voip_metrics(Ssrc(9), &metrics()).unwrap();
        let length = writer.len();
        assert_eq!(blocks(&buffer[..length]), [XrBlock::VoipMetrics(metrics())]);
    }

    #[test]
    fn a_block_of_a_wrong_length_hides_nothing_behind_it() {
        let mut packet = vec![0x80, 207, 0, 0, 0, 0, 0, 9];
        packet.extend_from_slice(&[7, 0, 0, 1, 1, 2, 3, 4]);
        packet.extend_from_slice(&[99, 0, 0, 0]);
        packet.extend_from_slice(&metrics().to_bytes());
        // The last one claims more than there is.
        packet.extend_from_slice(&[7, 0, 0, 8]);
        packet[3] = (packet.len() / 4 - 1) as u8;
        let found = blocks(&packet);
        assert_eq!(found.len(), 3);
        assert_eq!(found[2], XrBlock::VoipMetrics(metrics()));
    }

    #[test]
    fn ratings_out_of_range_are_not_known() {
        let mut bytes = metrics().to_bytes();
        bytes[24..28].copy_from_slice(&[101, 200, 9, 51]);
        let read = VoipMetrics::parse(&bytes[4..]).unwrap();
        assert_eq!(
            (read.r_factor, read.external_r_factor, read.mos_lq, read.mos_cq),
            (None, None, None, None)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let count = XrBlocks { rest: &bytes }.count();
            prop_assert!(count <= bytes.len() / 4);
        }
    }
}
