//! Facts for the event log: what the store writes down about meetings and people.
//!
//! A record carries no time; the store stamps it with the wall clock when it arrives.

use super::ids::{LegId, RoomId};
use std::time::Duration;

/// Why a meeting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The creator ended it (API token or digits). The name answers 410 for a while.
    Creator,
    /// An administrator ended it through the API. The name answers 410 for a while.
    Administrator,
    /// The last one left and the grace time passed. The name is free at once.
    Empty,
    /// The server shuts down.
    Shutdown,
    /// The media shard gave the room up.
    MediaFailed,
}

/// Why a person is no longer in the meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaveReason {
    /// BYE from the person.
    Left,
    /// No media, and no answer to OPTIONS or ACK.
    Vanished,
    /// Removed through the API.
    Removed,
    /// The connection that carried the signalling was lost.
    ConnectionLost,
    /// The meeting ended.
    MeetingEnded,
    /// The server shuts down.
    Shutdown,
    /// The answer to our offer did not fit.
    BadAnswer,
    /// Our side failed (sockets, codec).
    Failed,
}

/// One fact for the event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreRecord {
    /// A room was made.
    MeetingCreated {
        /// The room.
        room: RoomId,
        /// Its name.
        name: String,
        /// Its subject.
        subject: Option<String>,
        /// Who made it: a SIP URI, or `api`.
        creator: String,
        /// SHA-256 of the creator's token, in hexadecimal.
        token_hash: String,
    },
    /// A room of an earlier run is there again.
    MeetingRestored {
        /// The room, as it is numbered now.
        room: RoomId,
        /// Its name.
        name: String,
        /// The store's number of the meeting.
        meeting: i64,
    },
    /// A room ended.
    MeetingEnded {
        /// The room.
        room: RoomId,
        /// Its name.
        name: String,
        /// Why.
        reason: EndReason,
    },
    /// A person is in: the ACK came.
    PersonJoined {
        /// The room.
        room: RoomId,
        /// Its name.
        name: String,
        /// The person's leg.
        leg: LegId,
        /// Distinct display name.
        display: String,
        /// The SIP URI of the person.
        uri: String,
        /// The account, where one was proved.
        account: Option<String>,
        /// What the phone calls itself.
        user_agent: Option<String>,
        /// Call-ID of the dialog.
        call_id: String,
        /// The first one of the meeting in this run: a reservation that was used waits no longer after a restart.
        first: bool,
    },
    /// A person who had joined is gone.
    PersonLeft {
        /// The room.
        room: RoomId,
        /// Its name.
        name: String,
        /// The person's leg.
        leg: LegId,
        /// Distinct display name.
        display: String,
        /// Why.
        reason: LeaveReason,
    },
    /// The bindings of an address-of-record as they are now; an empty list deletes it.
    Bindings {
        /// Canonical address-of-record, `sip:user@host`.
        aor: String,
        /// All current bindings.
        bindings: Vec<BindingRecord>,
    },
}

/// A meeting as it is kept over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeetingRecord {
    /// The store's number of it.
    pub meeting: i64,
    /// Its name.
    pub name: String,
    /// Its subject.
    pub subject: Option<String>,
    /// Who made it.
    pub creator: String,
    /// SHA-256 of the creator's token, in hexadecimal.
    pub token_hash: String,
    /// Time since it was made.
    pub age: Duration,
    /// Whether anybody was ever in it.
    pub joined: bool,
}

/// A binding as it is kept over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingRecord {
    /// The contact as it was registered, with its parameters.
    pub contact: String,
    /// Seconds left.
    pub expires: u32,
    /// Call-ID of the REGISTER.
    pub call_id: String,
    /// CSeq of the REGISTER.
    pub cseq: u32,
    /// Path that leads to it (RFC 3327), as it was registered; empty: none.
    pub path: String,
}

impl EndReason {
    /// The word in the log and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creator => "creator",
            Self::Administrator => "administrator",
            Self::Empty => "empty",
            Self::Shutdown => "shutdown",
            Self::MediaFailed => "media-failed",
        }
    }

    /// Whether the name answers 410 for `ended_hold`.
    pub const fn holds_name(self) -> bool {
        matches!(self, Self::Creator | Self::Administrator)
    }
}

impl LeaveReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Left,
        Self::Vanished,
        Self::Removed,
        Self::ConnectionLost,
        Self::MeetingEnded,
        Self::Shutdown,
        Self::BadAnswer,
        Self::Failed,
    ];

    /// The word in the log and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Vanished => "vanished",
            Self::Removed => "removed",
            Self::ConnectionLost => "connection-lost",
            Self::MeetingEnded => "meeting-ended",
            Self::Shutdown => "shutdown",
            Self::BadAnswer => "bad-answer",
            Self::Failed => "failed",
        }
    }
}
