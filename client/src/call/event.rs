//! What the phone tells its driver, and why it refuses a command.

use sip_proto::endpoint::{ConnectionId, EndpointError, Flow};
use sip_proto::sdp::offer_answer::{NegotiatedAudio, OfferError};
use sip_proto::uri::Uri;

use super::roster::Roster;

/// What the driver has to do.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes; see `sip_proto::endpoint::Output::Transmit`.
    Transmit {
        /// Where to.
        flow: Flow,
        /// One message.
        bytes: Vec<u8>,
    },
    /// Close a stream.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Tell the user or the media thread.
    Event(PhoneEvent),
}

/// What happened.
#[derive(Debug)]
pub enum PhoneEvent {
    /// The server answered OPTIONS.
    Server {
        /// Its API, if it names one (`Call-Info` with `purpose=meet-api`).
        api: Option<String>,
    },
    /// The server did not answer OPTIONS, or refused it.
    NoServer {
        /// The status, where there was an answer.
        status: Option<u16>,
    },
    /// The registrar has our address.
    Registered {
        /// Address of record.
        aor: String,
        /// Where this phone is reached.
        contact: String,
        /// Seconds.
        expires: u32,
    },
    /// The registration was given back.
    Unregistered {
        /// Address of record.
        aor: String,
    },
    /// The registrar refused, or did not answer (no status); it is tried again by itself.
    RegistrationFailed {
        /// SIP status.
        status: Option<u16>,
        /// When the registrar wants to be asked again, where it says so.
        retry_after: Option<std::time::Duration>,
        /// Reason phrase.
        reason: String,
    },
    /// The call was sent on (3xx) to a host that is not our server: [`super::Phone::go_by`] and
    /// [`super::Phone::follow`] are expected, or [`super::Phone::hang_up`].
    Redirected {
        /// Where to.
        target: Uri,
    },
    /// An INVITE is on its way.
    Calling {
        /// To whom.
        target: String,
    },
    /// 180 or another provisional answer.
    Ringing {
        /// SIP status.
        status: u16,
    },
    /// Somebody calls; unless `answered`, `pick_up` or `hang_up` decides.
    Incoming {
        /// Who.
        from: String,
        /// Answered by itself.
        answered: bool,
    },
    /// The call stands.
    Joined {
        /// The conference's address where the other end is a focus, else the other party's.
        room: String,
        /// Whether it is a focus (`isfocus`, RFC 4579 §5.1).
        focus: bool,
        /// The creator's token, when this INVITE made the room.
        token: Option<String>,
    },
    /// Sound is to run like this from now on.
    Media(Box<NegotiatedAudio>),
    /// The other side holds the call, or resumed it.
    Hold {
        /// Whether it is on hold.
        held: bool,
    },
    /// This side holds the call, or took it back; or that was refused.
    Holding {
        /// Whether it holds now.
        holding: bool,
        /// The status of the refusal: then it stayed as it was.
        refused: Option<u16>,
    },
    /// The conference roster.
    People(Roster),
    /// There is no roster to be had.
    NoRoster {
        /// The status of the refusal, where there was one.
        status: Option<u16>,
    },
    /// A digit came by INFO.
    Digit {
        /// Which.
        digit: char,
        /// For how long, in milliseconds.
        duration_ms: u32,
    },
    /// The call is over, or never came about.
    Ended(EndReason),
}

/// Why a call is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// This side hung up or gave up.
    Local,
    /// The other side hung up.
    Peer {
        /// The text of its Reason header (RFC 3326).
        text: Option<String>,
        /// Its cause.
        cause: Option<u16>,
    },
    /// The call was refused.
    Refused {
        /// Whom we called.
        target: String,
        /// SIP status.
        status: u16,
        /// Reason phrase.
        reason: String,
    },
    /// Nobody answered the INVITE.
    NoAnswer,
    /// The other side vanished in the call.
    Vanished,
    /// No common ground for sound.
    NoMedia {
        /// Why.
        why: String,
    },
}

/// Why a command was refused.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is a call already.
    #[error("there is a call already")]
    Busy,
    /// There is no call.
    #[error("there is no call")]
    NoCall,
    /// No sound was set up before the call.
    #[error("no sound was set up before the call")]
    NoMedia,
    /// The offer cannot be made.
    #[error("no offer can be made: {0}")]
    Offer(#[from] OfferError),
    /// The endpoint refused.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}
