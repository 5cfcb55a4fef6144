//! RTP packets: reading (RFC 3550 §5.1) and writing headers into a caller's buffer.
//!
//! Reading rests on `rtp-rs`, which checks every length before it hands out a slice. Writing is ours: its builder moves
//! itself for each CSRC, which costs ten times what the header does, and leaves bytes of the buffer's earlier content in
//! the padding; the tests hold the two writers equal. Header extensions are read by [`extension`].
//!
//! Deliberately absent: SRTP, payload formats, any state between packets.

pub mod extension;

use rtp_rs::{RtpReader, RtpReaderError};

use crate::error::Fault;
use crate::limits::MAX_CSRCS;
use crate::rtp::extension::{Elements, ONE_BYTE};
use crate::units::{PayloadType, RtpTimestamp, Ssrc};

/// Bytes of a header without CSRC entries.
pub const HEADER_LEN: usize = 12;

/// Why a datagram is not an RTP packet, or a header could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Fewer bytes than the header says it has.
    #[error("RTP packet truncated: {have} bytes where {need} are needed")]
    Truncated {
        /// Bytes that the header needs.
        need: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// Not version 2.
    #[error("RTP version {0}")]
    Version(u8),
    /// The padding count is zero or longer than the packet.
    #[error("RTP padding of {0} bytes does not fit")]
    Padding(u8),
    /// More than fifteen contributing sources.
    #[error("{0} CSRC entries, the header holds 15")]
    TooManyCsrcs(usize),
    /// The caller's buffer is too small.
    #[error("buffer of {have} bytes for {need}")]
    NoSpace {
        /// Bytes to write.
        need: usize,
        /// Bytes that fit.
        have: usize,
    },
}

impl RtpError {
    /// Who caused it.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Truncated { .. } | Self::Version(_) | Self::Padding(_) => Fault::Peer,
            Self::TooManyCsrcs(_) | Self::NoSpace { .. } => Fault::Misuse,
        }
    }
}

/// One received packet, borrowed from its datagram.
pub struct RtpPacket<'a> {
    reader: RtpReader<'a>,
}

impl<'a> RtpPacket<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`RtpError`] with [`Fault::Peer`] when it is not a whole RTP version 2 packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpError> {
        RtpReader::new(datagram)
            .map(|reader| Self { reader })
            .map_err(|error| match error {
                RtpReaderError::BufferTooShort(have) => RtpError::Truncated {
                    need: HEADER_LEN,
                    have,
                },
                RtpReaderError::UnsupportedVersion(version) => RtpError::Version(version),
                RtpReaderError::HeadersTruncated {
                    header_len,
                    buffer_len,
                } => RtpError::Truncated {
                    need: header_len,
                    have: buffer_len,
                },
                RtpReaderError::PaddingLengthInvalid(count) => RtpError::Padding(count),
            })
    }

    /// The marker bit; in audio the first packet of a talk spurt (RFC 3551 §4.1).
    #[must_use]
    pub fn marker(&self) -> bool {
        self.reader.mark()
    }

    /// Payload type.
    #[must_use]
    pub fn payload_type(&self) -> PayloadType {
        PayloadType::from_low_bits(self.reader.payload_type())
    }

    /// Sequence number.
    #[must_use]
    pub fn sequence(&self) -> u16 {
        self.reader.sequence_number().into()
    }

    /// Timestamp in the payload's clock.
    #[must_use]
    pub fn timestamp(&self) -> RtpTimestamp {
        RtpTimestamp(self.reader.timestamp())
    }

    /// Synchronisation source.
    #[must_use]
    pub fn ssrc(&self) -> Ssrc {
        Ssrc(self.reader.ssrc())
    }

    /// Contributing sources, at most fifteen.
    pub fn csrcs(&self) -> impl Iterator<Item = Ssrc> + '_ {
        self.reader.csrc().map(Ssrc)
    }

    /// Payload without padding.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.reader.payload()
    }

    /// Header extension: its profile-defined number and its bytes.
    #[must_use]
    pub fn extension(&self) -> Option<(u16, &'a [u8])> {
        self.reader.extension()
    }

    /// The elements of an RFC 8285 header extension; empty when there is none or it is of another kind.
    #[must_use]
    pub fn extension_elements(&self) -> Elements<'a> {
        self.extension()
            .map_or_else(Elements::none, |(profile, bytes)| Elements::new(profile, bytes))
    }
}

impl std::fmt::Debug for RtpPacket<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reader.fmt(f)
    }
}

/// What a header to be written says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader<'a> {
    /// Marker bit.
    pub marker: bool,
    /// Payload type.
    pub payload_type: PayloadType,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: RtpTimestamp,
    /// Our synchronisation source.
    pub ssrc: Ssrc,
    /// The sources that were mixed, at most fifteen.
    pub csrcs: &'a [Ssrc],
}

impl RtpHeader<'_> {
    /// Bytes that this header takes.
    #[must_use]
    pub const fn len(&self) -> usize {
        HEADER_LEN + 4 * self.csrcs.len()
    }

    /// Never: a header has at least twelve bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }
}

/// Writes `header` at the start of `buffer` and returns its length; the payload goes behind it.
///
/// # Errors
/// [`RtpError::TooManyCsrcs`], [`RtpError::NoSpace`].
pub fn write_header(buffer: &mut [u8], header: &RtpHeader<'_>) -> Result<usize, RtpError> {
    if header.csrcs.len() > MAX_CSRCS {
        return Err(RtpError::TooManyCsrcs(header.csrcs.len()));
    }
    let (need, have) = (header.len(), buffer.len());
    let out = buffer.get_mut(..need).ok_or(RtpError::NoSpace { need, have })?;
    let Some((fixed, csrcs)) = out.split_first_chunk_mut::<HEADER_LEN>() else {
        return Err(RtpError::NoSpace { need, have });
    };
    let [s0, s1] = header.sequence.to_be_bytes();
    let [t0, t1, t2, t3] = header.timestamp.0.to_be_bytes();
    let [r0, r1, r2, r3] = header.ssrc.0.to_be_bytes();
    let first = 0x80 | header.csrcs.len() as u8;
    let second = u8::from(header.marker) << 7 | header.payload_type.get();
    *fixed = [first, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3];
    for (place, csrc) in csrcs.as_chunks_mut::<4>().0.iter_mut().zip(header.csrcs) {
        *place = csrc.0.to_be_bytes();
    }
    Ok(need)
}

/// As [`write_header`], with one element of the one-byte form behind it (RFC 8285 §4.2): `id` is 1 to 14, `data` 1 to
/// 16 bytes. Nothing is added for other ids and lengths.
///
/// # Errors
/// As for [`write_header`].
pub fn write_header_with(
    buffer: &mut [u8],
    header: &RtpHeader<'_>,
    id: u8,
    data: &[u8],
) -> Result<usize, RtpError> {
    let start = write_header(buffer, header)?;
    if !(1..=14).contains(&id) || !(1..=16).contains(&data.len()) {
        return Ok(start);
    }
    let words = (1 + data.len()).div_ceil(4);
    let need = start + 4 + 4 * words;
    let have = buffer.len();
    let out = buffer
        .get_mut(start..need)
        .ok_or(RtpError::NoSpace { need, have })?;
    out.fill(0);
    let [high, low] = ONE_BYTE.to_be_bytes();
    let heading = [high, low, 0, words as u8, id << 4 | (data.len() - 1) as u8];
    for (place, byte) in out.iter_mut().zip(heading.iter().chain(data)) {
        *place = *byte;
    }
    if let Some(first) = buffer.first_mut() {
        *first |= 0x10;
    }
    Ok(need)
}

/// Pads the packet of `length` bytes at the start of `buffer` to a multiple of `multiple` bytes (1 to 255) and returns
/// its new length (RFC 3550 §5.1: the last byte counts the padding, itself included).
///
/// # Errors
/// [`RtpError::NoSpace`] when the buffer is too small, or `length` is no packet.
pub fn write_padding(buffer: &mut [u8], length: usize, multiple: u8) -> Result<usize, RtpError> {
    let unit = usize::from(multiple.max(1));
    let total = length.div_ceil(unit) * unit;
    let have = buffer.len();
    let count = total - length;
    if count == 0 {
        return Ok(length);
    }
    let error = RtpError::NoSpace { need: total, have };
    let padding = buffer.get_mut(length..total).ok_or(error)?;
    padding.fill(0);
    if let Some(last) = padding.last_mut() {
        *last = u8::try_from(count).map_err(|_| error)?;
    }
    if length < HEADER_LEN {
        return Err(error);
    }
    if let Some(first) = buffer.first_mut() {
        *first |= 0x20;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(csrcs: &[Ssrc]) -> RtpHeader<'_> {
        RtpHeader {
            marker: true,
            payload_type: PayloadType::from_low_bits(96),
            sequence: 65_535,
            timestamp: RtpTimestamp(0xdead_beef),
            ssrc: Ssrc(0x0102_0304),
            csrcs,
        }
    }

    #[test]
    fn header_bytes_stand_where_rfc_3550_puts_them() {
        let mut buffer = [0xaa; 32];
        let length = write_header(&mut buffer, &header(&[Ssrc(7)])).unwrap();
        assert_eq!(
            &buffer[..length],
            &[
                0x81, 0xe0, 0xff, 0xff, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 0, 0, 0, 7
            ]
        );
    }

    #[test]
    fn an_element_is_read_as_it_was_written() {
        for length in 1..=16_u8 {
            let data: Vec<u8> = (1..=length).collect();
            let mut buffer = [0xaa; 128];
            let at = write_header_with(&mut buffer, &header(&[Ssrc(7)]), 3, &data).unwrap();
            assert_eq!(at % 4, 0);
            let packet = RtpPacket::parse(&buffer[..at + 2]).unwrap();
            assert_eq!(packet.extension_elements().find(3), Some(&data[..]));
            assert_eq!(packet.extension_elements().count(), 1);
            assert_eq!((packet.payload(), packet.csrcs().count()), (&[0xaa, 0xaa][..], 1));
        }
        let plain = write_header(&mut [0; 64], &header(&[]));
        for (id, data) in [(0, &[1_u8][..]), (15, &[1]), (3, &[]), (3, &[0; 17])] {
            assert_eq!(write_header_with(&mut [0; 64], &header(&[]), id, data), plain);
        }
        assert!(write_header_with(&mut [0; 16], &header(&[]), 1, &[1]).is_err());
    }

    #[test]
    fn padding_is_zeroed_and_stripped_again() {
        let mut buffer = [0xaa; 32];
        let length = write_header(&mut buffer, &header(&[])).unwrap();
        let total = write_padding(&mut buffer, length + 1, 8).unwrap();
        assert_eq!(total, 16);
        assert_eq!(&buffer[13..16], &[0, 0, 3]);
        let packet = RtpPacket::parse(&buffer[..total]).unwrap();
        assert_eq!(packet.payload(), &[0xaa]);
        assert!(matches!(
            write_padding(&mut buffer[..13], 13, 4),
            Err(RtpError::NoSpace { need: 16, have: 13 })
        ));
    }

    #[test]
    fn bad_packets_are_refused_with_the_reason() {
        let mut good = [0_u8; 20];
        write_header(&mut good, &header(&[])).unwrap();
        let with = |index: usize, value: u8| {
            let mut bytes = good;
            bytes[index] = value;
            RtpPacket::parse(&bytes).err()
        };
        assert_eq!(
            RtpPacket::parse(&good[..11]).err(),
            Some(RtpError::Truncated { need: 12, have: 11 })
        );
        assert_eq!(with(0, 0x40), Some(RtpError::Version(1)));
        assert_eq!(with(0, 0x8f), Some(RtpError::Truncated { need: 72, have: 20 }));
        assert_eq!(with(0, 0xa0), Some(RtpError::Padding(0)));
        let mut padded = good;
        padded[0] |= 0x20;
        padded[19] = 9;
        assert_eq!(RtpPacket::parse(&padded).err(), Some(RtpError::Padding(9)));
        let mut extended = good;
        extended[0] |= 0x10;
        extended[14] = 0xff;
        assert!(matches!(
            RtpPacket::parse(&extended),
            Err(RtpError::Truncated { .. })
        ));
    }

    #[test]
    fn too_much_is_refused_on_write() {
        let csrcs = [Ssrc(1); 16];
        assert_eq!(
            write_header(&mut [0; 128], &header(&csrcs)),
            Err(RtpError::TooManyCsrcs(16))
        );
        assert_eq!(
            write_header(&mut [0; 11], &header(&[])),
            Err(RtpError::NoSpace { need: 12, have: 11 })
        );
    }

    proptest! {
        #[test]
        fn written_headers_read_back(
            marker: bool, pt in 0_u8..128, sequence: u16, timestamp: u32, ssrc: u32,
            csrcs in proptest::collection::vec(any::<u32>(), 0..=15),
            payload in proptest::collection::vec(any::<u8>(), 0..64),
            multiple in 1_u8..=16,
        ) {
            let csrcs: Vec<Ssrc> = csrcs.into_iter().map(Ssrc).collect();
            let header = RtpHeader {
                marker, payload_type: PayloadType::from_low_bits(pt), sequence,
                timestamp: RtpTimestamp(timestamp), ssrc: Ssrc(ssrc), csrcs: &csrcs,
            };
            let mut buffer = [0x55; 256];
            let start = write_header(&mut buffer, &header).unwrap();
            buffer[start..start + payload.len()].copy_from_slice(&payload);
            let total = write_padding(&mut buffer, start + payload.len(), multiple).unwrap();
            prop_assert_eq!(total % usize::from(multiple), 0);
            let mut oracle = rtp_rs::RtpPacketBuilder::new()
                .payload_type(pt)
                .marked(marker)
                .sequence(sequence.into())
                .timestamp(timestamp)
                .ssrc(ssrc);
            for csrc in &csrcs {
                oracle = oracle.add_csrc(csrc.0);
            }
            let oracle = oracle.build().unwrap();
            prop_assert_eq!(&buffer[1..start], &oracle[1..]);
            prop_assert_eq!(buffer[0] & 0xdf, oracle[0]);
            let packet = RtpPacket::parse(&buffer[..total]).unwrap();
            prop_assert_eq!(packet.marker(), marker);
            prop_assert_eq!(packet.payload_type().get(), pt);
            prop_assert_eq!(packet.sequence(), sequence);
            prop_assert_eq!(packet.timestamp().0, timestamp);
            prop_assert_eq!(packet.ssrc().0, ssrc);
            prop_assert_eq!(packet.csrcs().collect::<Vec<_>>(), csrcs);
            prop_assert_eq!(packet.payload(), payload.as_slice());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(packet) = RtpPacket::parse(&bytes) {
                let _ = (packet.payload().len(), packet.csrcs().count(), packet.extension_elements().count());
            }
        }
    }
}
