//! RTCP packets: reading compounds, writing reports, and when to send them.
//!
//! [`Compound`] checks the framing of a whole datagram first (RFC 3550 A.2) and then hands out its packets one by
//! one, borrowed; a packet that contradicts itself is an error of its own and does not hide its neighbours. A
//! datagram that does not begin with a report is accepted (reduced-size RTCP, RFC 5506): baresip and browsers send
//! them. Writing is in [`write`], the timing rules in [`schedule`].
//!
//! Deliberately absent: the meaning of feedback packets (RFC 4585), which belong to video, and SRTCP.

pub mod schedule;
pub mod write;
pub mod xr;

use crate::error::Fault;
use crate::units::{NtpTime, RtpTimestamp, Ssrc};

/// Packet type numbers.
pub(crate) const SENDER_REPORT: u8 = 200;
pub(crate) const RECEIVER_REPORT: u8 = 201;
pub(crate) const SDES: u8 = 202;
pub(crate) const BYE: u8 = 203;
const APP: u8 = 204;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
/// SDES item: canonical name.
pub(crate) const CNAME: u8 = 1;

/// Why RTCP is not understood or not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// The lengths of the packets do not add up to the datagram's.
    #[error("RTCP lengths do not fit the datagram of {0} bytes")]
    Framing(usize),
    /// Not version 2.
    #[error("RTCP version {0}")]
    Version(u8),
    /// Padding elsewhere than on the last packet, or of a wrong size.
    #[error("RTCP padding is wrong")]
    Padding,
    /// Packet type outside 192–223.
    #[error("{0} is no RTCP packet type")]
    PacketType(u8),
    /// A packet's count or items do not fit its length.
    #[error("RTCP packet type {0} contradicts its own length")]
    Content(u8),
    /// The caller's buffer is too small, or a text or list longer than its field.
    #[error("no room for the RTCP packet")]
    NoSpace,
}

impl RtcpError {
    /// Who caused it.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoSpace => Fault::Misuse,
            _ => Fault::Peer,
        }
    }
}

/// A framed compound; iterates over its packets.
#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: &'a [u8],
    reduced: bool,
}

impl<'a> Compound<'a> {
    /// Whether it does not begin with SR or RR (RFC 5506).
    #[must_use]
    pub const fn is_reduced_size(&self) -> bool {
        self.reduced
    }
}

/// Checks a datagram's framing and returns its packets.
///
/// # Errors
/// [`RtcpError`] when the datagram as a whole is not RTCP.
pub fn parse_compound(datagram: &[u8]) -> Result<Compound<'_>, RtcpError> {
    let mut rest = datagram;
    let mut reduced = None;
    while !rest.is_empty() {
        let (first, packet_type, packet, tail) = split(rest).ok_or(RtcpError::Framing(datagram.len()))?;
        if first >> 6 != 2 {
            return Err(RtcpError::Version(first >> 6));
        }
        if !(192..=223).contains(&packet_type) {
            return Err(RtcpError::PacketType(packet_type));
        }
        reduced.get_or_insert(packet_type != SENDER_REPORT && packet_type != RECEIVER_REPORT);
        // RFC 3550 §6.4.1: only the last packet of a compound may be padded, by a multiple of four.
        if first & 0x20 != 0 {
            let count = packet.last().copied().map_or(0, usize::from);
            if !tail.is_empty() || count == 0 || count % 4 != 0 || count > packet.len() {
                return Err(RtcpError::Padding);
            }
        }
        rest = tail;
    }
    reduced.map_or(Err(RtcpError::Framing(0)), |reduced| {
        Ok(Compound {
            rest: datagram,
            reduced,
        })
    })
}

/// First byte, packet type, body behind the 4-byte header, and what follows the packet.
fn split(bytes: &[u8]) -> Option<(u8, u8, &[u8], &[u8])> {
    let (&[first, packet_type, high, low], body) = bytes.split_first_chunk::<4>()?;
    let length = 4 * usize::from(u16::from_be_bytes([high, low]));
    let (packet, tail) = body.split_at_checked(length)?;
    Some((first, packet_type, packet, tail))
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<RtcpPacket<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (first, packet_type, mut body, tail) = split(self.rest)?;
        self.rest = tail;
        if first & 0x20 != 0 {
            let count = body.last().copied().map_or(0, usize::from);
            body = body.get(..body.len().saturating_sub(count)).unwrap_or_default();
        }
        Some(RtcpPacket::parse(packet_type, first & 0x1f, body).ok_or(RtcpError::Content(packet_type)))
    }
}

/// One packet of a compound.
#[derive(Debug, Clone)]
pub enum RtcpPacket<'a> {
    /// SR.
    SenderReport {
        /// Who sends.
        ssrc: Ssrc,
        /// What was sent.
        info: SenderInfo,
        /// What was received.
        blocks: ReportBlocks<'a>,
    },
    /// RR.
    ReceiverReport {
        /// Who reports.
        ssrc: Ssrc,
        /// What was received.
        blocks: ReportBlocks<'a>,
    },
    /// SDES.
    SourceDescription(Chunks<'a>),
    /// BYE.
    Bye(Bye<'a>),
    /// APP.
    App {
        /// Subtype.
        subtype: u8,
        /// Who sends.
        ssrc: Ssrc,
        /// Name.
        name: [u8; 4],
        /// Data.
        data: &'a [u8],
    },
    /// RTPFB (205) or PSFB (206), RFC 4585 §6.1, uninterpreted.
    Feedback {
        /// Payload-specific (206) rather than of the transport (205).
        payload_specific: bool,
        /// Feedback message type.
        format: u8,
        /// Who sends.
        sender: Ssrc,
        /// The stream that it is about.
        media: Ssrc,
        /// Feedback control information.
        data: &'a [u8],
    },
    /// XR (RFC 3611).
    ExtendedReport {
        /// Who reports.
        ssrc: Ssrc,
        /// Its blocks.
        blocks: xr::XrBlocks<'a>,
    },
    /// Another type.
    Unknown {
        /// Its number.
        packet_type: u8,
        /// Its body.
        body: &'a [u8],
    },
}

impl<'a> RtcpPacket<'a> {
    fn parse(packet_type: u8, count: u8, body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        Some(match packet_type {
            SENDER_REPORT => Self::SenderReport {
                ssrc: reader.ssrc()?,
                info: SenderInfo {
                    ntp: NtpTime(u64::from(reader.word()?) << 32 | u64::from(reader.word()?)),
                    rtp: RtpTimestamp(reader.word()?),
                    packets: reader.word()?,
                    bytes: reader.word()?,
                },
                blocks: reader.blocks(count)?,
            },
            RECEIVER_REPORT => Self::ReceiverReport {
                ssrc: reader.ssrc()?,
                blocks: reader.blocks(count)?,
            },
            SDES => Self::SourceDescription(Chunks {
                rest: body,
                left: count,
            }),
            BYE => {
                let sources = reader.take(4 * usize::from(count))?;
                Self::Bye(Bye {
                    sources,
                    reason: reader.text(),
                })
            }
            APP => Self::App {
                subtype: count,
                ssrc: reader.ssrc()?,
                name: reader.word()?.to_be_bytes(),
                data: reader.0,
            },
            TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK => Self::Feedback {
                payload_specific: packet_type == PAYLOAD_FEEDBACK,
                format: count,
                sender: reader.ssrc()?,
                media: reader.ssrc()?,
                data: reader.0,
            },
            xr::EXTENDED_REPORT => Self::ExtendedReport {
                ssrc: reader.ssrc()?,
                blocks: xr::XrBlocks { rest: reader.0 },
            },
            _ => Self::Unknown { packet_type, body },
        })
    }

    /// Who sent it, where the packet says so.
    #[must_use]
    pub const fn sender(&self) -> Option<Ssrc> {
        match self {
            Self::SenderReport { ssrc, .. }
            | Self::ReceiverReport { ssrc, .. }
            | Self::App { ssrc, .. }
            | Self::ExtendedReport { ssrc, .. } => Some(*ssrc),
            Self::Feedback { sender, .. } => Some(*sender),
            Self::SourceDescription(_) | Self::Bye(_) | Self::Unknown { .. } => None,
        }
    }
}

/// The sender's part of an SR (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock of the sender.
    pub ntp: NtpTime,
    /// The same moment in its RTP clock.
    pub rtp: RtpTimestamp,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub bytes: u32,
}

/// One report block (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream that it is about.
    pub ssrc: Ssrc,
    /// Share lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost in all; 24 bits, signed.
    pub lost: i32,
    /// Extended highest sequence number.
    pub highest_seq: u32,
    /// Jitter in ticks of the stream's clock.
    pub jitter: u32,
    /// Middle bits of the last SR's NTP time; 0 when none came.
    pub last_sr: u32,
    /// Delay since that SR in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// Report blocks, in place.
#[derive(Debug, Clone)]
pub struct ReportBlocks<'a> {
    rest: &'a [u8],
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let mut reader = Reader(self.rest);
        let ssrc = reader.ssrc()?;
        let loss = reader.word()?;
        let block = ReportBlock {
            ssrc,
            fraction_lost: (loss >> 24) as u8,
            // Sign extension of 24 bits.
            lost: ((loss << 8) as i32) >> 8,
            highest_seq: reader.word()?,
            jitter: reader.word()?,
            last_sr: reader.word()?,
            delay_since_last_sr: reader.word()?,
        };
        self.rest = reader.0;
        Some(block)
    }
}

/// Chunks of an SDES packet (RFC 3550 §6.5); ends early when one does not fit.
#[derive(Debug, Clone)]
pub struct Chunks<'a> {
    rest: &'a [u8],
    left: u8,
}

/// What one source says about itself.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The source.
    pub ssrc: Ssrc,
    items: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Item types with their text; not necessarily UTF-8.
    pub fn items(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut reader = Reader(self.items);
        std::iter::from_fn(move || {
            let kind = reader.byte().filter(|&kind| kind != 0)?;
            reader.text().map(|text| (kind, text))
        })
    }

    /// The canonical name.
    #[must_use]
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.items()
            .find_map(|(kind, text)| (kind == CNAME).then_some(text))
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = Reader(self.rest);
        let ssrc = reader.ssrc()?;
        let start = reader.0;
        // Items end with a zero byte and are filled up to the next multiple of four.
        while reader.byte()? != 0 {
            reader.text()?;
        }
        let used = start.len() - reader.0.len();
        let (items, rest) = start.split_at_checked(used.next_multiple_of(4))?;
        self.rest = rest;
        Some(Chunk { ssrc, items })
    }
}

/// A BYE: who leaves and why.
#[derive(Debug, Clone, Copy)]
pub struct Bye<'a> {
    sources: &'a [u8],
    /// Reason in the sender's words.
    pub reason: Option<&'a [u8]>,
}

impl Bye<'_> {
    /// The sources that leave.
    pub fn sources(&self) -> impl Iterator<Item = Ssrc> + '_ {
        let mut reader = Reader(self.sources);
        std::iter::from_fn(move || reader.ssrc())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn word(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    fn ssrc(&mut self) -> Option<Ssrc> {
        self.word().map(Ssrc)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A length byte and as many bytes.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(usize::from(length))
    }

    fn blocks(&mut self, count: u8) -> Option<ReportBlocks<'a>> {
        // Behind the blocks may stand a profile's own extension: ignored (RFC 3550 §6.4.3).
        self.take(24 * usize::from(count))
            .map(|rest| ReportBlocks { rest })
    }
}

#[cfg(test)]
mod tests;
