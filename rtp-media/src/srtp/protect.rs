//! The sending side: packets in, protected packets out.

use std::fmt;

use arrayvec::ArrayVec;

use super::cipher::{Cipher, Purpose, add_key_stream, authenticate, nonce, seal};
use super::suite::{MasterKey, Suite};
use super::window::nearest;
use super::{ENCRYPTED, RTCP_CLEAR, RtpFields, SrtpError, rtcp_sender};
use crate::limits::{SRTCP_LAST_INDEX, SRTP_LAST_INDEX, SRTP_SOURCES};

/// Protects what is sent under one master key.
pub struct Protect {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    /// SSRC and the last index sent.
    sources: ArrayVec<(u32, u64), SRTP_SOURCES>,
    /// SSRC and the next SRTCP index.
    reporters: ArrayVec<(u32, u32), SRTP_SOURCES>,
}

impl Protect {
    /// A context in which nothing was sent yet.
    ///
    /// # Errors
    /// [`SrtpError::NoRoom`] if a primitive refuses the key, which the lengths that [`MasterKey`] checks rule out.
    pub fn new(master: &MasterKey) -> Result<Self, SrtpError> {
        let derive = |purpose| Cipher::derive(master, purpose).ok_or(SrtpError::NoRoom);
        Ok(Self {
            suite: master.suite(),
            rtp: derive(Purpose::Rtp)?,
            rtcp: derive(Purpose::Rtcp)?,
            sources: ArrayVec::new(),
            reporters: ArrayVec::new(),
        })
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// How often the sequence numbers of a source have wrapped.
    #[must_use]
    pub fn rollover(&self, ssrc: u32) -> Option<u32> {
        let (_, last) = self.sources.iter().find(|(known, _)| *known == ssrc)?;
        Some((last >> 16) as u32)
    }

    /// Protects an RTP packet into `out`, which needs [`Suite::rtp_overhead`] bytes more than the packet has.
    ///
    /// # Errors
    /// No RTP, no room, a sequence number that was sent before (nothing is ever encrypted twice under one index), or
    /// a limit of the key.
    pub fn rtp<'a>(&mut self, packet: &[u8], out: &'a mut [u8]) -> Result<&'a [u8], SrtpError> {
        let fields = RtpFields::read(packet)?;
        let place = self.sources.iter().position(|(ssrc, _)| *ssrc == fields.ssrc);
        let index = match place.and_then(|at| self.sources.get(at)) {
            Some((_, last)) => nearest(*last, fields.sequence)
                .filter(|index| index > last)
                .ok_or(SrtpError::SentBefore)?,
            None if self.sources.is_full() => return Err(SrtpError::TooManySources),
            None => u64::from(fields.sequence),
        };
        if index > SRTP_LAST_INDEX {
            return Err(SrtpError::Exhausted);
        }
        let sealed = seal_rtp(&self.rtp, fields, index, packet, out)?;
        match place.and_then(|at| self.sources.get_mut(at)) {
            Some((_, last)) => *last = index,
            None => self.sources.push((fields.ssrc, index)),
        }
        Ok(sealed)
    }

    /// Protects an RTCP packet into `out`, which needs [`Suite::rtcp_overhead`] bytes more than the packet has.
    ///
    /// # Errors
    /// No RTCP, no room, or a limit of the key.
    pub fn rtcp<'a>(&mut self, packet: &[u8], out: &'a mut [u8]) -> Result<&'a [u8], SrtpError> {
        let ssrc = rtcp_sender(packet)?;
        let place = self.reporters.iter().position(|(known, _)| *known == ssrc);
        let index = match place.and_then(|at| self.reporters.get(at)) {
            Some((_, next)) => *next,
            None if self.reporters.is_full() => return Err(SrtpError::TooManySources),
            // RFC 3711 §3.4: the index is zero before the first packet and counted up before each.
            None => 1,
        };
        if index > SRTCP_LAST_INDEX {
            return Err(SrtpError::Exhausted);
        }
        let sealed = seal_rtcp(&self.rtcp, ssrc, index, packet, out)?;
        match place.and_then(|at| self.reporters.get_mut(at)) {
            Some((_, next)) => *next = index + 1,
            None => self.reporters.push((ssrc, index + 1)),
        }
        Ok(sealed)
    }
}

impl fmt::Debug for Protect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Protect({}, {} sources)",
            self.suite.name(),
            self.sources.len()
        )
    }
}

/// Layout: header, encrypted payload, tag.
pub(super) fn seal_rtp<'a>(
    cipher: &Cipher,
    fields: RtpFields,
    index: u64,
    packet: &[u8],
    out: &'a mut [u8],
) -> Result<&'a [u8], SrtpError> {
    let length = packet.len();
    let out = out
        .get_mut(..length + cipher.tag_len())
        .ok_or(SrtpError::NoRoom)?;
    let (copy, tag_place) = out.split_at_mut(length);
    copy.copy_from_slice(packet);
    match cipher {
        Cipher::Counter { aes, salt, mac, .. } => {
            let body = copy.get_mut(fields.header..).ok_or(SrtpError::Malformed)?;
            add_key_stream(aes, salt, fields.ssrc, index, body);
            // RFC 3711 §4.2: the rollover counter is authenticated with the packet but not sent.
            let rollover = ((index >> 16) as u32).to_be_bytes();
            put(tag_place, &authenticate(mac, copy, &rollover));
        }
        Cipher::Galois { key, salt } => {
            let (header, body) = copy
                .split_at_mut_checked(fields.header)
                .ok_or(SrtpError::Malformed)?;
            put(
                tag_place,
                &seal(key, nonce(salt, fields.ssrc, index), header, body)?,
            );
        }
    }
    Ok(out)
}

/// Layout in counter mode: clear part, encrypted rest, E and index, tag. In GCM the tag comes before E and index.
pub(super) fn seal_rtcp<'a>(
    cipher: &Cipher,
    ssrc: u32,
    index: u32,
    packet: &[u8],
    out: &'a mut [u8],
) -> Result<&'a [u8], SrtpError> {
    let length = packet.len();
    let word = (ENCRYPTED | index).to_be_bytes();
    let out = out
        .get_mut(..length + cipher.tag_len() + word.len())
        .ok_or(SrtpError::NoRoom)?;
    let (copy, tail) = out.split_at_mut(length);
    copy.copy_from_slice(packet);
    let (clear, body) = copy
        .split_at_mut_checked(RTCP_CLEAR)
        .ok_or(SrtpError::Malformed)?;
    match cipher {
        Cipher::Counter { aes, salt, mac, .. } => {
            add_key_stream(aes, salt, ssrc, u64::from(index), body);
            let (word_place, tag_place) = tail.split_at_mut_checked(4).ok_or(SrtpError::NoRoom)?;
            word_place.copy_from_slice(&word);
            put(tag_place, &authenticate(mac, copy, &word));
        }
        Cipher::Galois { key, salt } => {
            let tag = seal(
                key,
                nonce(salt, ssrc, u64::from(index)),
                &associated(clear, word),
                body,
            )?;
            put(tail, &tag);
            put(tail.get_mut(tag.len()..).ok_or(SrtpError::NoRoom)?, &word);
        }
    }
    Ok(out)
}

/// RFC 7714 §9.2: what is authenticated of an encrypted RTCP packet, its first eight bytes and the word with E.
pub(super) fn associated(clear: &[u8], word: [u8; 4]) -> [u8; RTCP_CLEAR + 4] {
    let mut associated = [0; RTCP_CLEAR + 4];
    for (to, from) in associated.iter_mut().zip(clear.iter().chain(&word)) {
        *to = *from;
    }
    associated
}

/// As much of `from` as `place` holds.
fn put(place: &mut [u8], from: &[u8]) {
    for (to, from) in place.iter_mut().zip(from) {
        *to = *from;
    }
}
