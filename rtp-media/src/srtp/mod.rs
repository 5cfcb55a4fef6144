//! SRTP and SRTCP (RFC 3711) with AES counter mode and HMAC-SHA1, AES-256 (RFC 6188) and AES-GCM (RFC 7714).
//!
//! A [`MasterKey`] comes from the signalling (SDES, later DTLS) and serves one direction: [`Protect`] for what is
//! sent, [`Unprotect`] for what is received. Both keep a rollover counter for each SSRC, and live as long as their
//! key does: a re-INVITE that brings the same key must keep the context, one that brings another key starts a new
//! one with its counters at zero. Nothing in here allocates after construction.
//!
//! A received packet changes no state before it has proved to be authentic; therefore its source may be latched at
//! once. Who receives must drop what is refused, clear packets included.
//!
//! | packet | outcome |
//! |---|---|
//! | too short, no RTP or RTCP | [`SrtpError::Malformed`] |
//! | seen before, or older than the window | [`SrtpError::Replayed`] |
//! | tag wrong: tampered, forged, clear, other key | [`SrtpError::Unauthentic`] |
//! | SRTCP with the E bit clear | [`SrtpError::Unencrypted`] |
//! | a 65th source, the last index of a key | [`SrtpError::TooManySources`], [`SrtpError::Exhausted`] |
//!
//! Deliberately absent: master key identifiers, key derivation rates, unencrypted or unauthenticated variants (none
//! of them is ever agreed to), and the primitives themselves: `ring` has AES-GCM, the RustCrypto crates the rest (see
//! server/docs/adr/0010-srtp.md).

mod cipher;
mod link;
mod protect;
mod suite;
#[cfg(test)]
mod tests;
mod unprotect;
mod window;

pub use link::{KeyChange, SrtpChange, SrtpLink};
pub use protect::Protect;
pub use suite::{MasterKey, Suite};
pub use unprotect::Unprotect;

use crate::error::Fault;

/// Why a packet was not protected or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Not RTP or RTCP, or too short to hold header and tag.
    #[error("not an RTP or RTCP packet, or too short for one that is protected")]
    Malformed,
    /// The tag does not fit.
    #[error("the packet is not authentic")]
    Unauthentic,
    /// Seen before, or too old to tell.
    #[error("the packet was seen before, or is too old to tell")]
    Replayed,
    /// SRTCP without encryption, which is never agreed to.
    #[error("the SRTCP packet is not encrypted")]
    Unencrypted,
    /// More sources under one key than are kept.
    #[error("more than {} sources under one key", crate::limits::SRTP_SOURCES)]
    TooManySources,
    /// The key has protected as much as it may (RFC 3711 §9.2).
    #[error("the master key is used up")]
    Exhausted,
    /// A sequence number was to be sent twice, which would use a key stream twice.
    #[error("the sequence number was sent before")]
    SentBefore,
    /// The buffer has no room for the tag, or the primitive refused its length.
    #[error("no room for the protected packet")]
    NoRoom,
}

impl SrtpError {
    /// Who is at fault.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::Malformed | Self::Unauthentic | Self::Replayed | Self::Unencrypted => Fault::Peer,
            Self::TooManySources | Self::Exhausted => Fault::Limit,
            Self::SentBefore | Self::NoRoom => Fault::Misuse,
        }
    }
}

/// What the contexts read of an RTP packet; the payload is unreadable and not looked at.
#[derive(Debug, Clone, Copy)]
struct RtpFields {
    /// Fixed header, CSRCs and extension: authenticated, not encrypted.
    header: usize,
    sequence: u16,
    ssrc: u32,
}

impl RtpFields {
    fn read(packet: &[u8]) -> Result<Self, SrtpError> {
        let [first, _, s1, s0, _, _, _, _, a, b, c, d, ..] = *packet else {
            return Err(SrtpError::Malformed);
        };
        if first >> 6 != 2 {
            return Err(SrtpError::Malformed);
        }
        let mut header = 12 + 4 * usize::from(first & 0x0f);
        if first & 0x10 != 0 {
            let Some([_, _, l1, l0]) = packet.get(header..header + 4) else {
                return Err(SrtpError::Malformed);
            };
            header += 4 + 4 * usize::from(u16::from_be_bytes([*l1, *l0]));
        }
        if header > packet.len() {
            return Err(SrtpError::Malformed);
        }
        Ok(Self {
            header,
            sequence: u16::from_be_bytes([s1, s0]),
            ssrc: u32::from_be_bytes([a, b, c, d]),
        })
    }
}

/// Bytes of an SRTCP packet that stay readable: the first header and the sender's SSRC.
const RTCP_CLEAR: usize = 8;

/// The E bit in the word after an SRTCP packet.
const ENCRYPTED: u32 = 1 << 31;

/// The sender's SSRC of a compound RTCP packet.
fn rtcp_sender(packet: &[u8]) -> Result<u32, SrtpError> {
    let [first, _, _, _, a, b, c, d, ..] = *packet else {
        return Err(SrtpError::Malformed);
    };
    if first >> 6 != 2 {
        return Err(SrtpError::Malformed);
    }
    Ok(u32::from_be_bytes([a, b, c, d]))
}
