//! What the HTTP API asks of the focus, and what it gets.
//!
//! The driver maps HTTP to these and back; bearer tokens of administrators, Host and Origin are
//! its affair. The creator's token is checked here.

use std::time::Duration;

use mixer::LegStats;

use super::ids::LegId;

/// A request to the focus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiRequest {
    /// All living meetings.
    List,
    /// One meeting.
    Show {
        /// Room name.
        name: String,
    },
    /// Make a meeting that waits for its first participant.
    Create {
        /// The wanted name, or none for a readable one.
        name: Option<String>,
        /// What it is about.
        subject: Option<String>,
    },
    /// End a meeting for everybody.
    End {
        /// Room name.
        name: String,
        /// By what right.
        authority: Authority,
    },
    /// The people of a meeting with live statistics.
    Participants {
        /// Room name.
        name: String,
    },
    /// Remove one person.
    Remove {
        /// Room name.
        name: String,
        /// The person's leg.
        leg: LegId,
        /// By what right.
        authority: Authority,
    },
    /// Mute or unmute one person.
    Mute {
        /// Room name.
        name: String,
        /// The person's leg.
        leg: LegId,
        /// Muted or not.
        muted: bool,
        /// By what right.
        authority: Authority,
    },
    /// All registered contacts.
    Registrations,
}

/// By what right something is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// The creator's token of the room, as presented.
    Token(String),
    /// The driver has proved an administrator.
    Administrator,
    /// Nothing was presented: refused.
    None,
}

/// The reply.
#[derive(Debug, Clone, PartialEq)]
pub enum ApiReply {
    /// To `List`.
    Meetings(Vec<MeetingView>),
    /// To `Show`.
    Meeting(MeetingView),
    /// To `Create`.
    Created {
        /// The meeting.
        meeting: MeetingView,
        /// The creator's token.
        token: String,
    },
    /// To `Participants`.
    Participants(Vec<ParticipantView>),
    /// To `Registrations`.
    Registrations(Vec<RegistrationView>),
    /// Done, nothing to show (`End`, `Remove`, `Mute`).
    Done,
    /// Refused.
    Refused(ApiRefusal),
}

/// Why an API request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiRefusal {
    /// HTTP 404.
    #[error("there is no such meeting")]
    NoSuchMeeting,
    /// HTTP 404.
    #[error("there is no such participant")]
    NoSuchParticipant,
    /// HTTP 410.
    #[error("the meeting has ended")]
    Ended,
    /// HTTP 409.
    #[error("a meeting of this name exists")]
    NameInUse,
    /// HTTP 422.
    #[error("the name must be 1 to 64 of a-z 0-9 - _ . and begin with a letter or a digit")]
    BadName,
    /// HTTP 403 (401 when nothing was presented).
    #[error("the creator's token is required")]
    NotAllowed,
    /// HTTP 503.
    #[error("the server is at its limit of meetings")]
    TooManyMeetings,
    /// HTTP 503.
    #[error("the meeting is too busy to answer now")]
    Busy,
    /// HTTP 503.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// A meeting as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeetingView {
    /// Room name.
    pub name: String,
    /// SIP URI to call.
    pub uri: String,
    /// What it is about.
    pub subject: Option<String>,
    /// People in it now.
    pub participants: u32,
    /// Time since it was made.
    pub age: Duration,
}

/// What a participant's leg is doing, as the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParticipantStatus {
    /// The answer is out, the ACK has not come.
    Joining,
    /// In the meeting.
    Connected,
    /// The person put us on hold.
    OnHold,
}

/// A participant as the API shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParticipantView {
    /// The leg: names the person in other requests.
    pub leg: LegId,
    /// Distinct display name.
    pub display: String,
    /// The person's SIP URI.
    pub uri: String,
    /// The account, where one was proved.
    pub account: Option<String>,
    /// What the phone calls itself.
    pub user_agent: Option<String>,
    /// What the leg is doing.
    pub status: ParticipantStatus,
    /// Muted by the focus.
    pub muted: bool,
    /// Is the active speaker.
    pub speaking: bool,
    /// Made the room.
    pub creator: bool,
    /// Time since the answer.
    pub age: Duration,
    /// Name of the codec that we send.
    pub codec: Option<&'static str>,
    /// Name of the suite by which its media is protected.
    pub srtp: Option<&'static str>,
    /// The latest statistics, at most about a second old.
    pub stats: Option<LegStats>,
}

/// One registered contact as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationView {
    /// Address-of-record.
    pub aor: String,
    /// Contact URI.
    pub contact: String,
    /// Time left.
    pub expires: Duration,
}

/// A request that the focus passes on to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomApi {
    /// The people with statistics.
    Participants,
    /// Remove one.
    Remove(LegId),
    /// Mute or unmute one.
    Mute(LegId, bool),
}
