//! The receiving side: protected packets in, clear ones out, everything else refused.

use std::fmt;

use arrayvec::ArrayVec;

use super::cipher::{Cipher, GCM_TAG, Purpose, add_key_stream, authenticate, nonce, open, same_tag};
use super::protect::associated;
use super::suite::{MasterKey, Suite};
use super::window::Window;
use super::{ENCRYPTED, RTCP_CLEAR, RtpFields, SrtpError, rtcp_sender};
use crate::limits::{SRTCP_LAST_INDEX, SRTP_DATAGRAM, SRTP_LAST_INDEX, SRTP_SOURCES};

/// Opens what is received under one master key, and for a while what still comes under the one before.
///
/// RFC 4568 §7.1.4: when a re-INVITE changes the key, packets under the old one are on their way. They are taken
/// until the first one under the new key has come.
pub struct Unprotect {
    current: Keys,
    /// The key before.
    before: Option<Box<Self>>,
    /// A packet under the current key has come.
    taken: bool,
    /// Where a packet is kept while the current key is tried: a failed try spoils it.
    scratch: Box<[u8; SRTP_DATAGRAM]>,
}

struct Keys {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    sources: ArrayVec<(u32, Window), SRTP_SOURCES>,
    reporters: ArrayVec<(u32, Window), SRTP_SOURCES>,
}

/// Which of the two protocols.
#[derive(Clone, Copy)]
enum Kind {
    Rtp,
    Rtcp,
}

impl Unprotect {
    /// A context in which nothing was received yet.
    ///
    /// # Errors
    /// [`SrtpError::NoRoom`] if a primitive refuses the key, which the lengths that [`MasterKey`] checks rule out.
    pub fn new(master: &MasterKey) -> Result<Self, SrtpError> {
        let derive = |purpose| Cipher::derive(master, purpose).ok_or(SrtpError::NoRoom);
        Ok(Self {
            current: Keys {
                suite: master.suite(),
                rtp: derive(Purpose::Rtp)?,
                rtcp: derive(Purpose::Rtcp)?,
                sources: ArrayVec::new(),
                reporters: ArrayVec::new(),
            },
            before: None,
            taken: false,
            scratch: Box::new([0; SRTP_DATAGRAM]),
        })
    }

    /// Takes the place of `before`. Gives back the one before that, which nobody needs any more: dropping it frees
    /// memory.
    pub fn follow(&mut self, mut before: Box<Self>) -> Option<Box<Self>> {
        let older = before.before.take();
        self.before = Some(before);
        self.taken = false;
        older
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.current.suite
    }

    /// How often the sequence numbers of a source have wrapped.
    #[must_use]
    pub fn rollover(&self, ssrc: u32) -> Option<u32> {
        self.current.rollover(ssrc)
    }

    /// Opens an RTP packet in place. After a failure the bytes are worthless.
    ///
    /// # Errors
    /// The table of [`super`].
    pub fn rtp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], SrtpError> {
        let length = self.open(Kind::Rtp, packet)?;
        packet.get(..length).ok_or(SrtpError::Malformed)
    }

    /// Opens an RTCP packet in place. After a failure the bytes are worthless.
    ///
    /// # Errors
    /// The table of [`super`].
    pub fn rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], SrtpError> {
        let length = self.open(Kind::Rtcp, packet)?;
        packet.get(..length).ok_or(SrtpError::Malformed)
    }

    fn open(&mut self, kind: Kind, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let Some(before) = self.before.as_mut().filter(|_| !self.taken) else {
            return self.current.open(kind, packet);
        };
        let Some(copy) = self.scratch.get_mut(..packet.len()) else {
            return Err(SrtpError::Malformed);
        };
        copy.copy_from_slice(packet);
        match self.current.open(kind, packet) {
            Ok(opened) => {
                self.taken = true;
                Ok(opened)
            }
            Err(error) => {
                packet.copy_from_slice(copy);
                before.current.open(kind, packet).map_err(|_| error)
            }
        }
    }
}

impl fmt::Debug for Unprotect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keys { suite, sources, .. } = &self.current;
        write!(f, "Unprotect({}, {} sources)", suite.name(), sources.len())
    }
}

impl Keys {
    fn rollover(&self, ssrc: u32) -> Option<u32> {
        let (_, window) = self.sources.iter().find(|(known, _)| *known == ssrc)?;
        Some((window.highest() >> 16) as u32)
    }

    fn open(&mut self, kind: Kind, packet: &mut [u8]) -> Result<usize, SrtpError> {
        match kind {
            Kind::Rtp => self.open_rtp(packet),
            Kind::Rtcp => self.open_rtcp(packet),
        }
    }

    fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let fields = RtpFields::read(packet)?;
        let place = self.sources.iter().position(|(ssrc, _)| *ssrc == fields.ssrc);
        let index = match place.and_then(|at| self.sources.get(at)) {
            Some((_, window)) => window
                .index_of(fields.sequence)
                .filter(|index| !window.refuses(*index))
                .ok_or(SrtpError::Replayed)?,
            None => u64::from(fields.sequence),
        };
        if index > SRTP_LAST_INDEX {
            return Err(SrtpError::Exhausted);
        }
        let length = open_rtp(&self.rtp, fields, index, packet)?;
        note(&mut self.sources, place, fields.ssrc, index)?;
        Ok(length)
    }

    fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_sender(packet)?;
        let word = self.rtcp_word(packet)?;
        if word & ENCRYPTED == 0 {
            return Err(SrtpError::Unencrypted);
        }
        let index = word & SRTCP_LAST_INDEX;
        let place = self.reporters.iter().position(|(known, _)| *known == ssrc);
        let window = place.and_then(|at| self.reporters.get(at));
        if window.is_some_and(|(_, window)| window.refuses(u64::from(index))) {
            return Err(SrtpError::Replayed);
        }
        let length = open_rtcp(&self.rtcp, ssrc, word, packet)?;
        note(&mut self.reporters, place, ssrc, u64::from(index))?;
        Ok(length)
    }

    /// The word with E and index: last in GCM, before the tag in counter mode.
    fn rtcp_word(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        let after = match &self.rtcp {
            Cipher::Counter { tag, .. } => *tag,
            Cipher::Galois { .. } => 0,
        };
        if packet.len() < RTCP_CLEAR + 4 + self.rtcp.tag_len() {
            return Err(SrtpError::Malformed);
        }
        let word = packet
            .len()
            .checked_sub(after + 4)
            .and_then(|at| packet.get(at..)?.first_chunk::<4>());
        word.map(|bytes| u32::from_be_bytes(*bytes))
            .ok_or(SrtpError::Malformed)
    }
}

/// Notes an authentic packet. A new source beyond the limit is refused although it is authentic.
fn note(
    table: &mut ArrayVec<(u32, Window), SRTP_SOURCES>,
    place: Option<usize>,
    ssrc: u32,
    index: u64,
) -> Result<(), SrtpError> {
    match place.and_then(|at| table.get_mut(at)) {
        Some((_, window)) => {
            window.note(index);
            Ok(())
        }
        None => table
            .try_push((ssrc, Window::first(index)))
            .map_err(|_| SrtpError::TooManySources),
    }
}

pub(super) fn open_rtp(
    cipher: &Cipher,
    fields: RtpFields,
    index: u64,
    packet: &mut [u8],
) -> Result<usize, SrtpError> {
    let length = packet
        .len()
        .checked_sub(cipher.tag_len())
        .filter(|length| *length >= fields.header)
        .ok_or(SrtpError::Malformed)?;
    match cipher {
        Cipher::Counter { aes, salt, mac, .. } => {
            let (copy, tag) = packet.split_at_mut(length);
            let rollover = ((index >> 16) as u32).to_be_bytes();
            if !same_tag(&authenticate(mac, copy, &rollover), tag) {
                return Err(SrtpError::Unauthentic);
            }
            let body = copy.get_mut(fields.header..).ok_or(SrtpError::Malformed)?;
            add_key_stream(aes, salt, fields.ssrc, index, body);
        }
        Cipher::Galois { key, salt } => {
            let (header, body) = packet
                .split_at_mut_checked(fields.header)
                .ok_or(SrtpError::Malformed)?;
            open(key, nonce(salt, fields.ssrc, index), header, body)?;
        }
    }
    Ok(length)
}

pub(super) fn open_rtcp(
    cipher: &Cipher,
    ssrc: u32,
    word: u32,
    packet: &mut [u8],
) -> Result<usize, SrtpError> {
    let (tag, index) = (cipher.tag_len(), u64::from(word & SRTCP_LAST_INDEX));
    let length = packet
        .len()
        .checked_sub(tag + 4)
        .filter(|length| *length >= RTCP_CLEAR)
        .ok_or(SrtpError::Malformed)?;
    match cipher {
        Cipher::Counter { aes, salt, mac, .. } => {
            let (copy, tag) = packet.split_at_mut(length + 4);
            if !same_tag(&authenticate(mac, copy, &[]), tag) {
                return Err(SrtpError::Unauthentic);
            }
            let body = copy.get_mut(RTCP_CLEAR..length).ok_or(SrtpError::Malformed)?;
            add_key_stream(aes, salt, ssrc, index, body);
        }
        Cipher::Galois { key, salt } => {
            let (clear, rest) = packet
                .split_at_mut_checked(RTCP_CLEAR)
                .ok_or(SrtpError::Malformed)?;
            let body = rest
                .get_mut(..length - RTCP_CLEAR + GCM_TAG)
                .ok_or(SrtpError::Malformed)?;
            let associated = associated(clear, word.to_be_bytes());
            open(key, nonce(salt, ssrc, index), &associated, body)?;
        }
    }
    Ok(length)
}
