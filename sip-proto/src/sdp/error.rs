//! Why a session description could not be read.

use crate::error::Fault;

/// A description that could not be read, and the line that was the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SDP line {line}: {kind}")]
pub struct SdpError {
    /// The line, counted from 1 (one past the last line where something is missing at the end).
    pub line: usize,
    /// What is wrong with it.
    pub kind: SdpErrorKind,
}

impl SdpError {
    /// Who is to blame: the peer's text, or a limit of ours.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self.kind {
            SdpErrorKind::TooLong
            | SdpErrorKind::TooManyLines
            | SdpErrorKind::TooManyMedia
            | SdpErrorKind::TooManyFormats => Fault::Limit,
            _ => Fault::Peer,
        }
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpErrorKind {
    /// More than [`super::limits::MAX_BYTES`].
    #[error("the description is larger than {} bytes", super::limits::MAX_BYTES)]
    TooLong,
    /// More than [`super::limits::MAX_LINES`].
    #[error("more than {} lines", super::limits::MAX_LINES)]
    TooManyLines,
    /// More than [`super::limits::MAX_MEDIA`].
    #[error("more than {} m= lines", super::limits::MAX_MEDIA)]
    TooManyMedia,
    /// More than [`super::limits::MAX_FORMATS`].
    #[error("more than {} formats in an m= line", super::limits::MAX_FORMATS)]
    TooManyFormats,
    /// Not of the form `<letter>=<value>`.
    #[error("not a line of the form letter=value")]
    NotALine,
    /// A NUL within the text.
    #[error("a NUL within the line")]
    Nul,
    /// The first line is not `v=0`.
    #[error("the description does not begin with v=0")]
    Version,
    /// A line that must be there is not.
    #[error("{0}= is missing")]
    Missing(char),
    /// A line that may be there once is there twice.
    #[error("{0}= is there twice")]
    Repeated(char),
    /// `o=` has not its six parts.
    #[error("o= is not of the form user id version IN IP4|IP6 address")]
    Origin,
    /// `c=` has not its three parts.
    #[error("c= is not of the form IN IP4|IP6 address")]
    Connection,
    /// `m=` lacks media, port, protocol or formats, or its port is no port.
    #[error("m= is not of the form media port protocol formats")]
    Media,
    /// `a=` without a name.
    #[error("a= without a name")]
    Attribute,
}
