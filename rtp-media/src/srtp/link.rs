//! The protection of one peer's media, both ways: clear, or a context for each direction.
//!
//! | state | change | then |
//! |---|---|---|
//! | clear | both keys | secure, counters at zero |
//! | clear | one key | secure; the direction without a key passes nothing |
//! | secure | one key, or both | that direction starts anew, the other one goes on |
//! | secure | nothing | secure; rollover counters and replay windows go on |
//! | any | clear | clear |
//!
//! Deliberately absent: deciding about keys; that is the negotiation's.

use super::{MasterKey, Protect, SrtpError, Unprotect};
use crate::demux::{PacketClass, classify};

/// What a new agreement makes of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// No protection.
    Clear,
    /// New keys for the directions that have one; `None` keeps the context that there is. A key that is in use must
    /// not be given again: its context would start anew and use key streams twice.
    Keys {
        /// For what we send.
        send: Option<MasterKey>,
        /// For what we receive.
        receive: Option<MasterKey>,
    },
}

/// A change built where memory may be had; after [`SrtpLink::change`] it holds what is to be freed.
#[derive(Debug)]
pub struct SrtpChange {
    clear: bool,
    protect: Option<Box<Protect>>,
    unprotect: Option<Box<Unprotect>>,
}

impl SrtpChange {
    /// Derives the session keys.
    ///
    /// # Errors
    /// As [`Protect::new`].
    pub fn build(change: &KeyChange) -> Result<Self, SrtpError> {
        let (clear, send, receive) = match change {
            KeyChange::Clear => (true, None, None),
            KeyChange::Keys { send, receive } => (false, send.as_ref(), receive.as_ref()),
        };
        Ok(Self {
            clear,
            protect: send.map(Protect::new).transpose()?.map(Box::new),
            unprotect: receive.map(Unprotect::new).transpose()?.map(Box::new),
        })
    }
}

/// The protection of one peer's media.
#[derive(Debug, Default)]
pub struct SrtpLink {
    secure: bool,
    protect: Option<Box<Protect>>,
    unprotect: Option<Box<Unprotect>>,
}

impl SrtpLink {
    /// Whether only protected media is sent and taken.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// How often the sequence numbers of a source of ours have wrapped under the key in use.
    #[must_use]
    pub fn rollover_sent(&self, ssrc: u32) -> Option<u32> {
        self.protect.as_ref()?.rollover(ssrc)
    }

    /// Applies a change, without allocating or freeing: what went out of use is left in `change`.
    pub fn change(&mut self, change: &mut SrtpChange) {
        self.secure = !change.clear;
        if change.clear {
            change.protect = self.protect.take();
            change.unprotect = self.unprotect.take();
            return;
        }
        if change.protect.is_some() {
            std::mem::swap(&mut self.protect, &mut change.protect);
        }
        if let Some(mut next) = change.unprotect.take() {
            change.unprotect = self.unprotect.take().and_then(|before| next.follow(before));
            self.unprotect = Some(next);
        }
    }

    /// A received datagram as it is to be read. On a secure link RTP and RTCP are opened in place; STUN and the like
    /// pass as they are.
    ///
    /// # Errors
    /// Why it must be dropped.
    pub fn incoming<'a>(&mut self, datagram: &'a mut [u8]) -> Result<&'a [u8], SrtpError> {
        if !self.secure {
            return Ok(datagram);
        }
        let class = classify(datagram);
        let (Some(context), true) = (
            self.unprotect.as_mut(),
            matches!(class, PacketClass::Rtp | PacketClass::Rtcp),
        ) else {
            return match class {
                PacketClass::Rtp | PacketClass::Rtcp => Err(SrtpError::Unauthentic),
                _ => Ok(datagram),
            };
        };
        if class == PacketClass::Rtcp {
            context.rtcp(datagram)
        } else {
            context.rtp(datagram)
        }
    }

    /// An RTP or RTCP packet as it is to be sent; `space` is where a protected one is written.
    ///
    /// # Errors
    /// Why it must not be sent.
    pub fn outgoing<'a>(&mut self, packet: &'a [u8], space: &'a mut [u8]) -> Result<&'a [u8], SrtpError> {
        if !self.secure {
            return Ok(packet);
        }
        match self.protect.as_mut() {
            Some(context) if classify(packet) == PacketClass::Rtcp => context.rtcp(packet, space),
            Some(context) => context.rtp(packet, space),
            None => Err(SrtpError::NoRoom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Suite;
    use super::*;

    fn key(fill: u8) -> MasterKey {
        MasterKey::new(Suite::AesCm128Sha1_80, &[fill; 30]).unwrap()
    }

    fn keys(send: Option<u8>, receive: Option<u8>) -> SrtpChange {
        SrtpChange::build(&KeyChange::Keys {
            send: send.map(key),
            receive: receive.map(key),
        })
        .unwrap()
    }

    fn link(send: u8, receive: u8) -> SrtpLink {
        let mut link = SrtpLink::default();
        link.change(&mut keys(Some(send), Some(receive)));
        link
    }

    fn rtp(sequence: u16) -> [u8; 40] {
        let mut packet = [7; 40];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet
    }

    fn sent(link: &mut SrtpLink, sequence: u16) -> Vec<u8> {
        let mut space = [0; 100];
        link.outgoing(&rtp(sequence), &mut space).unwrap().to_vec()
    }

    #[test]
    fn a_clear_link_passes_everything() {
        let mut link = SrtpLink::default();
        assert_eq!(sent(&mut link, 1), rtp(1));
        assert_eq!(link.incoming(&mut rtp(1)).unwrap(), rtp(1));
    }

    #[test]
    fn a_secure_link_takes_no_clear_media() {
        let mut link = link(1, 2);
        assert_eq!(link.incoming(&mut rtp(1)), Err(SrtpError::Unauthentic));
        let mut stun = [0, 1, 0, 0];
        assert!(link.incoming(&mut stun).is_ok());
        let mut half = SrtpLink::default();
        half.change(&mut keys(Some(1), None));
        assert_eq!(half.incoming(&mut rtp(1)), Err(SrtpError::Unauthentic));
    }

    #[test]
    fn one_new_key_leaves_the_other_direction_alone() {
        let (mut one, mut other) = (link(1, 2), link(2, 1));
        let old = sent(&mut one, 10);
        let late = sent(&mut one, 11);
        one.change(&mut keys(Some(3), None));
        other.change(&mut keys(None, Some(3)));
        // Still on its way under the old key: taken until the new one is seen, but never twice.
        assert!(other.incoming(&mut old.clone()).is_ok());
        assert_eq!(other.incoming(&mut old.clone()), Err(SrtpError::Unauthentic));
        let new = sent(&mut one, 12);
        assert_eq!(other.incoming(&mut new.clone()).unwrap(), rtp(12));
        assert_eq!(other.incoming(&mut late.clone()), Err(SrtpError::Unauthentic));
        // The way back was never touched: its counters went on.
        let back = sent(&mut other, 7);
        assert_eq!(one.incoming(&mut back.clone()).unwrap(), rtp(7));
        assert_eq!(one.incoming(&mut back.clone()), Err(SrtpError::Replayed));
        // Two changes on, the first key is gone.
        other.change(&mut keys(None, Some(4)));
        other.change(&mut keys(None, Some(5)));
        assert!(other.incoming(&mut sent(&mut one, 13)).is_err());
    }

    #[test]
    fn back_to_clear() {
        let mut link = link(1, 2);
        let mut change = SrtpChange::build(&KeyChange::Clear).unwrap();
        link.change(&mut change);
        assert!(
            change.protect.is_some() && change.unprotect.is_some(),
            "to be freed"
        );
        assert!(!link.is_secure());
        assert_eq!(sent(&mut link, 1), rtp(1));
    }
}
