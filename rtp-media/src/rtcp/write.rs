//! Writing compound RTCP packets into a caller's buffer, without allocation (RFC 3550 §6.1: a report first, then the
//! CNAME, then BYE if any).
//!
//! Deliberately absent: padding and encryption prefixes, which only SRTCP or the receiver's block ciphers would need.

use super::xr::{EXTENDED_REPORT, VoipMetrics};
use super::{BYE, CNAME, RECEIVER_REPORT, ReportBlock, RtcpError, SDES, SENDER_REPORT, SenderInfo};
use crate::limits::{MAX_REPORT_BLOCKS, MAX_SDES_TEXT};
use crate::units::Ssrc;

/// Appends packets to a buffer.
#[derive(Debug)]
pub struct RtcpWriter<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl<'b> RtcpWriter<'b> {
    /// Writes from the start of `buffer`.
    #[must_use]
    pub const fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Bytes written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends an SR.
    ///
    /// # Errors
    /// [`RtcpError::NoSpace`]; nothing is appended then.
    pub fn sender_report(
        &mut self,
        ssrc: Ssrc,
        info: &SenderInfo,
        blocks: &[ReportBlock],
    ) -> Result<(), RtcpError> {
        self.packet(SENDER_REPORT, blocks.len(), |writer| {
            writer.word(ssrc.0)?;
            writer.bytes(&info.ntp.0.to_be_bytes())?;
            writer.word(info.rtp.0)?;
            writer.word(info.packets)?;
            writer.word(info.bytes)?;
            writer.blocks(blocks)
        })
    }

    /// Appends an RR.
    ///
    /// # Errors
    /// [`RtcpError::NoSpace`]; nothing is appended then.
    pub fn receiver_report(&mut self, ssrc: Ssrc, blocks: &[ReportBlock]) -> Result<(), RtcpError> {
        self.packet(RECEIVER_REPORT, blocks.len(), |writer| {
            writer.word(ssrc.0)?;
            writer.blocks(blocks)
        })
    }

    /// Appends an SDES with a CNAME of at most 255 bytes.
    ///
    /// # Errors
    /// [`RtcpError::NoSpace`]; nothing is appended then.
    pub fn cname(&mut self, ssrc: Ssrc, cname: &str) -> Result<(), RtcpError> {
        self.packet(SDES, 1, |writer| {
            writer.word(ssrc.0)?;
            writer.bytes(&[CNAME])?;
            writer.text(cname)?;
            // The zero byte that ends the items; filling up adds the rest.
            writer.bytes(&[0])
        })
    }

    /// Appends an XR with VoIP metrics (RFC 3611 §4.7).
    ///
    /// # Errors
    /// [`RtcpError::NoSpace`]; nothing is appended then.
    pub fn voip_metrics(&mut self, ssrc: Ssrc, metrics: &VoipMetrics) -> Result<(), RtcpError> {
        self.packet(EXTENDED_REPORT, 0, |writer| {
            writer.word(ssrc.0)?;
            writer.bytes(&metrics.to_bytes())
        })
    }

    /// Appends a BYE.
    ///
    /// # Errors
    /// [`RtcpError::NoSpace`]; nothing is appended then.
    pub fn bye(&mut self, sources: &[Ssrc], reason: Option<&str>) -> Result<(), RtcpError> {
        self.packet(BYE, sources.len(), |writer| {
            for source in sources {
                writer.word(source.0)?;
            }
            reason.map_or(Ok(()), |reason| writer.text(reason))
        })
    }

    fn packet(
        &mut self,
        packet_type: u8,
        count: usize,
        body: impl FnOnce(&mut Self) -> Result<(), RtcpError>,
    ) -> Result<(), RtcpError> {
        if count > MAX_REPORT_BLOCKS {
            return Err(RtcpError::NoSpace);
        }
        let start = self.length;
        let written = self
            .bytes(&[0x80 | count as u8, packet_type, 0, 0])
            .and_then(|()| body(self))
            .and_then(|()| self.fill(start));
        if written.is_err() {
            self.length = start;
        }
        written
    }

    /// Fills up to a multiple of four and enters the length.
    fn fill(&mut self, start: usize) -> Result<(), RtcpError> {
        let excess = (self.length - start) % 4;
        if excess != 0 {
            self.bytes([0; 4].get(excess..).unwrap_or_default())?;
        }
        let words = u16::try_from((self.length - start) / 4 - 1).map_err(|_| RtcpError::NoSpace)?;
        let field = self
            .buffer
            .get_mut(start + 2..start + 4)
            .ok_or(RtcpError::NoSpace)?;
        field.copy_from_slice(&words.to_be_bytes());
        Ok(())
    }

    fn blocks(&mut self, blocks: &[ReportBlock]) -> Result<(), RtcpError> {
        for block in blocks {
            self.word(block.ssrc.0)?;
            // RFC 3550 A.3: the count saturates at the ends of its 24 bits.
            let lost = block.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0x00ff_ffff;
            self.word(u32::from(block.fraction_lost) << 24 | lost)?;
            self.word(block.highest_seq)?;
            self.word(block.jitter)?;
            self.word(block.last_sr)?;
            self.word(block.delay_since_last_sr)?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), RtcpError> {
        if text.len() > MAX_SDES_TEXT {
            return Err(RtcpError::NoSpace);
        }
        self.bytes(&[text.len() as u8])?;
        self.bytes(text.as_bytes())
    }

    fn word(&mut self, word: u32) -> Result<(), RtcpError> {
        self.bytes(&word.to_be_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), RtcpError> {
        let end = self.length + bytes.len();
        self.buffer
            .get_mut(self.length..end)
            .ok_or(RtcpError::NoSpace)?
            .copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }
}
