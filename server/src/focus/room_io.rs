//! What goes into a room and what comes out.
//!
//! The room's task feeds its mailbox, the shard's events and its timer, and executes the
//! outputs in their order: `Sip` and `Report` go to the signalling task, `Media` to the shard,
//! `Record` to the store, `ApiReply` to the HTTP handler that waits.

use std::net::IpAddr;

use mixer::{LegConfig, LegStats, LegUpdateConfig, MediaEvent};
use rtp_media::srtp::KeyChange;
use sip_proto::endpoint::{Flow, SessionEvent, SessionId, SubscriptionId};
use sip_proto::message::StatusCode;

use super::api::{ApiReply, RoomApi};
use super::command::SipCommand;
use super::ids::{ApiId, LegId};
use super::names::RoomName;
use super::negotiate::Negotiation;
use super::record::{EndReason, StoreRecord};

/// Into a room.
#[derive(Debug)]
pub enum RoomInput {
    /// A person who passed admission and whose offer (if any) can be answered.
    Join(Box<Join>),
    /// Something happened in a session of this room.
    Session {
        /// The session.
        session: SessionId,
        /// What.
        event: SessionEvent,
    },
    /// The endpoint no longer knows the session.
    SessionLost {
        /// The session.
        session: SessionId,
    },
    /// A probe (OPTIONS in the dialog) was answered; `None`: it was not.
    Probed {
        /// The session.
        session: SessionId,
        /// The final answer's status.
        status: Option<StatusCode>,
    },
    /// Somebody wants the roster.
    Subscribe {
        /// The subscription.
        subscription: SubscriptionId,
        /// Granted time in seconds; 0 asks for one document.
        expires: u32,
        /// Where the SUBSCRIBE came from.
        flow: Flow,
    },
    /// Refreshed in the dialog: a full document is due.
    Refreshed {
        /// The subscription.
        subscription: SubscriptionId,
    },
    /// The subscription is over: no NOTIFY may follow.
    SubscriptionOver {
        /// The subscription.
        subscription: SubscriptionId,
    },
    /// From the shard.
    Media(MediaEvent),
    /// The shard has opened the leg's sockets.
    LegOpened {
        /// The leg.
        leg: LegId,
        /// Local RTP port.
        rtp_port: u16,
        /// Local RTCP port.
        rtcp_port: Option<u16>,
    },
    /// The shard could not open or build the leg.
    LegFailed {
        /// The leg.
        leg: LegId,
    },
    /// The whole mixer room is gone (a panic on the shard was caught).
    MediaFailed,
    /// Statistics of legs, about once a second.
    Stats(Vec<(LegId, LegStats)>),
    /// The API asks.
    Api {
        /// Returned in the reply.
        id: ApiId,
        /// What it asks.
        request: RoomApi,
    },
    /// End the room now.
    End(EndReason),
}

/// A person on the way in.
#[derive(Debug)]
pub struct Join {
    /// The call.
    pub session: SessionId,
    /// How its signalling travels; `flow.local` is what the person can reach.
    pub flow: Flow,
    /// Who it is.
    pub person: Person,
    /// Present when this INVITE made the room: goes into its 200.
    pub creator_token: Option<String>,
    /// The offer as it was received and found answerable, or none yet.
    pub negotiation: Negotiation,
}

/// Who a person is, sanitised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Display name, not yet made distinct.
    pub display: String,
    /// The SIP URI of the From header.
    pub uri: String,
    /// The account, where one was proved.
    pub account: Option<String>,
    /// What the phone calls itself.
    pub user_agent: Option<String>,
    /// Call-ID of the dialog.
    pub call_id: String,
}

/// Out of a room.
#[derive(Debug)]
pub enum RoomOutput {
    /// Execute on the endpoint: [`SipCommand::execute`].
    Sip(SipCommand),
    /// For the focus: `FocusInput::Room`.
    Report(RoomReport),
    /// For the shard.
    Media(MediaCommand),
    /// Write to the event log.
    Record(StoreRecord),
    /// Answer an API request.
    ApiReply {
        /// The request.
        id: ApiId,
        /// The answer.
        reply: ApiReply,
    },
}

/// What a room wants of its shard.
#[derive(Debug)]
pub enum MediaCommand {
    /// Open the sockets of a leg; answer with `LegOpened` or `LegFailed`.
    OpenLeg {
        /// The leg.
        leg: LegId,
        /// The local address that the peer can reach.
        address: IpAddr,
        /// A second port for RTCP is needed.
        rtcp_port: bool,
    },
    /// Build the leg (`mixer::Leg::build`) and add it; its sockets are open.
    Add {
        /// The leg.
        leg: LegId,
        /// Codecs, addresses, payload types.
        config: Box<LegConfig>,
    },
    /// Other keys for a leg's media; comes before the `Add` or `Update` that they belong to.
    Keys {
        /// The leg.
        leg: LegId,
        /// For which directions.
        change: KeyChange,
    },
    /// Change a leg in place (`mixer::LegUpdate::build`); SSRC and RTP state are kept.
    Update {
        /// The leg.
        leg: LegId,
        /// What changed.
        update: Box<LegUpdateConfig>,
    },
    /// Mute or unmute a leg.
    Mute {
        /// The leg.
        leg: LegId,
        /// Muted or not.
        muted: bool,
    },
    /// RTCP BYE, remove the leg, close its sockets. May come for a leg that was never added.
    CloseLeg {
        /// The leg.
        leg: LegId,
    },
    /// Close the mixer room with all legs that are left.
    CloseRoom,
}

impl MediaCommand {
    /// Whose media it is about.
    pub const fn leg(&self) -> Option<LegId> {
        match self {
            Self::OpenLeg { leg, .. }
            | Self::Add { leg, .. }
            | Self::Keys { leg, .. }
            | Self::Update { leg, .. }
            | Self::Mute { leg, .. }
            | Self::CloseLeg { leg } => Some(*leg),
            Self::CloseRoom => None,
        }
    }
}

/// What a room tells the focus.
#[derive(Debug)]
pub enum RoomReport {
    /// People in the room now (answered and not gone).
    People(u32),
    /// The room is over. What still comes for it is returned as `Unclaimed`.
    Ended(EndReason),
    /// Came after the end; the focus decides anew.
    Unclaimed {
        /// The name that the ended room had.
        name: RoomName,
        /// What came.
        input: Box<RoomInput>,
    },
}
