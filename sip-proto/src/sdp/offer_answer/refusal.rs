//! Why an exchange came to nothing, and what goes on the wire for it.

use crate::error::Fault;
use crate::sdp::error::SdpError;

/// An offer that cannot be answered. The status and the Warning (RFC 3261 §20.43) say why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The description could not be read.
    #[error("unreadable offer: {0}")]
    Unreadable(#[from] SdpError),
    /// No `m=` line for audio that is in use.
    #[error("no audio is offered")]
    NoAudio,
    /// No codec in common.
    #[error("no common codec")]
    NoCommonFormat,
    /// Only protocols that this side does not take: `UDP/TLS/…`, or `RTP/SAVP` where SRTP is off.
    #[error("no supported transport protocol")]
    Protocol,
    /// A protected line without an `a=crypto` that could be agreed to.
    #[error("no usable a=crypto line")]
    Keys,
    /// Clear media where this side wants SRTP.
    #[error("SRTP is required here")]
    Unprotected,
    /// A network other than the Internet.
    #[error("network type not supported")]
    Network,
    /// An audio line to which no `c=` applies, or none that can be used.
    #[error("no connection address")]
    Address,
    /// Media to a multicast group.
    #[error("multicast is not supported")]
    Multicast,
    /// The new offer has fewer `m=` lines than the session has (RFC 3264 §8).
    #[error("the new offer drops m= lines: {before} before, {now} now")]
    FewerMediaLines {
        /// Lines in the session.
        before: usize,
        /// Lines in the offer.
        now: usize,
    },
    /// Our own offer is under way (RFC 3261 §14.2).
    #[error("an offer of our own is under way")]
    Glare,
    /// Called out of turn: there is no offer to answer, or one is already waiting.
    #[error("no offer to answer, or a second one before the first was answered")]
    OutOfTurn,
    /// Our own media names no codec or no port, or wants SRTP in a session without keys.
    #[error("local media without codec, port or keys")]
    LocalMedia,
}

impl Refusal {
    /// The SIP status to answer with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Unreadable(_) => 400,
            Self::Glare => 491,
            Self::OutOfTurn | Self::LocalMedia => 500,
            _ => 488,
        }
    }

    /// Code and text for a Warning header, where one helps the peer.
    #[must_use]
    pub fn warning(&self) -> Option<(u16, String)> {
        let code = match self {
            Self::Network => 300,
            Self::Address => 301,
            Self::Protocol | Self::Unprotected => 302,
            Self::NoAudio => 304,
            Self::NoCommonFormat => 305,
            Self::Keys => 306,
            Self::Multicast => 330,
            Self::Unreadable(_) | Self::FewerMediaLines { .. } => 399,
            Self::Glare | Self::OutOfTurn | Self::LocalMedia => return None,
        };
        Some((code, self.to_string()))
    }

    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unreadable(error) => error.fault(),
            Self::OutOfTurn | Self::LocalMedia => Fault::Misuse,
            _ => Fault::Peer,
        }
    }
}

/// An answer that does not fit our offer, or a call out of turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The description could not be read.
    #[error("unreadable answer: {0}")]
    Unreadable(#[from] SdpError),
    /// RFC 3264 §6: an answer has as many `m=` lines as the offer.
    #[error("the offer has {offered} m= lines, the answer {answered}")]
    MediaLines {
        /// Lines in our offer.
        offered: usize,
        /// Lines in the answer.
        answered: usize,
    },
    /// A line changed its media type.
    #[error("m= line {0} changed its media type")]
    MediaType(usize),
    /// A line changed its protocol.
    #[error("m= line {0} changed its protocol")]
    Protocol(usize),
    /// The keys are missing, or not those of a line that we offered.
    #[error("the answer's a=crypto does not fit the offer")]
    Keys,
    /// The peer refused the audio of a new session.
    #[error("the audio was refused")]
    AudioRefused,
    /// Nothing that we offered is in the answer.
    #[error("no codec of the offer is in the answer")]
    NoCommonFormat,
    /// The answer's audio line has no usable `c=`.
    #[error("no connection address in the answer")]
    Address,
    /// There is no offer of ours to be answered.
    #[error("no offer is waiting for an answer")]
    OutOfTurn,
}

impl AnswerError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unreadable(error) => error.fault(),
            Self::OutOfTurn => Fault::Misuse,
            _ => Fault::Peer,
        }
    }
}

/// An offer of our own that could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Another offer is under way, ours or the peer's.
    #[error("another offer is under way")]
    OutOfTurn,
    /// No codec, port 0 in a first offer, or SRTP wanted in a session without keys.
    #[error("local media without codec, port or keys")]
    LocalMedia,
}

impl OfferError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        Fault::Misuse
    }
}
