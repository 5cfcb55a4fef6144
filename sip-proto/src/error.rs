//! Errors of the wire layer: what is wrong, whose fault it is, and what can still be answered.
//!
//! [`SyntaxError`] is one value that does not follow the grammar; [`HeaderError`] names the header
//! it stands in; [`ParseError`] is a whole message refused, with as much of the request as is
//! needed to answer it. No variant holds prose: the texts come from `Display`.

use crate::message::{HeaderName, Method, Request, StatusCode};
use std::fmt;
use thiserror::Error;

/// Who is to blame; it decides what goes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer broke the protocol.
    Peer,
    /// A limit of ours was reached.
    Limit,
    /// The caller used the API wrongly.
    Misuse,
}

/// A value that does not follow its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum SyntaxError {
    /// Nothing where a value is required.
    #[error("value is empty")]
    Empty,
    /// A quoted string without its closing quote.
    #[error("quote is not closed")]
    UnbalancedQuote,
    /// `<` without `>` or a bracket out of place.
    #[error("angle bracket is not closed")]
    UnbalancedBracket,
    /// A character that a token cannot hold, or an empty token.
    #[error("not a token")]
    BadToken,
    /// A URI scheme that is missing or malformed.
    #[error("bad URI scheme")]
    BadScheme,
    /// A user part with characters that need an escape, or an empty one.
    #[error("bad user part")]
    BadUser,
    /// Neither host name nor IPv4 address nor IPv6 reference.
    #[error("bad host")]
    BadHost,
    /// Not a port number.
    #[error("bad port")]
    BadPort,
    /// `%` without two hexadecimal digits.
    #[error("bad escape")]
    BadEscape,
    /// A parameter without name, with a broken value, or twice where that is not allowed.
    #[error("bad parameter")]
    BadParameter,
    /// Not a decimal number.
    #[error("not a number")]
    BadNumber,
    /// A number beyond what the header allows.
    #[error("number out of range")]
    OutOfRange,
    /// An address whose URI needs angle brackets (RFC 3261 §20: comma, semicolon, question mark).
    #[error("URI needs angle brackets")]
    NeedsBrackets,
    /// A protocol other than SIP/2.0.
    #[error("protocol is not SIP/2.0")]
    BadProtocol,
    /// Something follows where the value should have ended.
    #[error("text after the end of the value")]
    TrailingText,
    /// More elements or parameters than [`crate::limits`] allows.
    #[error("too many elements")]
    TooMany,
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum HeaderFault {
    /// A mandatory header is not there.
    #[error("is missing")]
    Missing,
    /// A header that may stand only once stands twice.
    #[error("stands more than once")]
    Repeated,
    /// Its value is malformed.
    #[error("is malformed: {0}")]
    Syntax(#[from] SyntaxError),
}

/// A header that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{header} {fault}")]
pub struct HeaderError {
    /// Which header.
    pub header: HeaderName,
    /// What about it.
    pub fault: HeaderFault,
}

impl HeaderError {
    /// A header that is not there.
    pub fn missing(header: HeaderName) -> Self {
        Self {
            header,
            fault: HeaderFault::Missing,
        }
    }

    /// A header that stands more than once.
    pub fn repeated(header: HeaderName) -> Self {
        Self {
            header,
            fault: HeaderFault::Repeated,
        }
    }

    /// A header with a malformed value.
    pub fn syntax(header: HeaderName, error: SyntaxError) -> Self {
        Self {
            header,
            fault: HeaderFault::Syntax(error),
        }
    }
}

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseErrorKind {
    /// Nothing but line ends: a keep-alive, not a message.
    #[error("no message, only line ends")]
    Empty,
    /// The start line is neither a request line nor a status line.
    #[error("malformed start line")]
    StartLine,
    /// The Request-URI is malformed.
    #[error("malformed Request-URI: {0}")]
    RequestUri(SyntaxError),
    /// A SIP version other than 2.0.
    #[error("SIP version is not 2.0")]
    Version,
    /// A status code outside 100 to 699.
    #[error("status code out of range")]
    StatusCode,
    /// A header line without colon or with a broken name.
    #[error("malformed header line")]
    HeaderLine,
    /// The head has no end.
    #[error("headers end without an empty line")]
    Truncated,
    /// A header is missing, repeated or malformed.
    #[error("{0}")]
    Header(HeaderError),
    /// CSeq names another method than the request line.
    #[error("CSeq method differs from the request's")]
    MethodMismatch,
    /// The body is shorter than Content-Length says.
    #[error("body shorter than Content-Length")]
    BodyTooShort,
    /// The message passes [`crate::limits::MAX_MESSAGE_BYTES`].
    #[error("message too large")]
    TooLarge,
    /// The start line passes [`crate::limits::MAX_START_LINE_BYTES`].
    #[error("start line too long")]
    StartLineTooLong,
    /// A header passes [`crate::limits::MAX_HEADER_BYTES`], or the head its own limit.
    #[error("header too long")]
    HeaderTooLong,
    /// More headers than [`crate::limits::MAX_HEADERS`].
    #[error("too many headers")]
    TooManyHeaders,
    /// A stream that sends something else than SIP between messages.
    #[error("stream is not SIP")]
    NotSip,
}

/// A message refused as a whole.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Whose fault it is.
    pub fault: Fault,
    /// What could be read of a request, so that it can be answered (Via, From, To, Call-ID and
    /// CSeq verbatim, where they were there). `None` for responses, for ACK (RFC 3261 §17.1.1.3:
    /// never answered) and for what is no request at all. The URI may be a stand-in.
    pub salvage: Option<Box<Request>>,
}

impl ParseError {
    /// An error with nothing salvaged.
    pub fn new(kind: ParseErrorKind) -> Self {
        let fault = match kind {
            ParseErrorKind::TooLarge
            | ParseErrorKind::StartLineTooLong
            | ParseErrorKind::HeaderTooLong
            | ParseErrorKind::TooManyHeaders => Fault::Limit,
            _ => Fault::Peer,
        };
        Self {
            kind,
            fault,
            salvage: None,
        }
    }

    /// The same error with what was readable of the request.
    pub fn with_salvage(mut self, request: Request) -> Self {
        self.salvage = Some(Box::new(request));
        self
    }

    /// The status that answers it, if it is answered at all (see [`ParseError::salvage`]).
    pub fn status(&self) -> StatusCode {
        match &self.kind {
            ParseErrorKind::Version => StatusCode::VERSION_NOT_SUPPORTED,
            ParseErrorKind::TooLarge | ParseErrorKind::HeaderTooLong | ParseErrorKind::TooManyHeaders => {
                StatusCode::MESSAGE_TOO_LARGE
            }
            ParseErrorKind::StartLineTooLong => StatusCode::REQUEST_URI_TOO_LONG,
            // RFC 4475 §3.1.2.18: a method nobody knows is the better reason.
            ParseErrorKind::MethodMismatch
                if matches!(
                    self.salvage.as_deref(),
                    Some(Request {
                        method: Method::Other(_),
                        ..
                    })
                ) =>
            {
                StatusCode::NOT_IMPLEMENTED
            }
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Debug for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParseError")
            .field("kind", &self.kind)
            .field("fault", &self.fault)
            .field("salvaged", &self.salvage.is_some())
            .finish()
    }
}
