//! What goes into the focus and what comes out.
//!
//! The signalling task feeds every endpoint event, room report, account and API request, then
//! drains [`Focus::poll_output`](super::Focus::poll_output) to `None` and executes each output.

use std::time::Duration;

use sip_proto::endpoint::{ClientTx, Event, Flow, SessionId, SubscriptionId};

use super::api::{ApiReply, ApiRequest};
use super::command::SipCommand;
use super::ids::{ApiId, LookupId, RoomId};
use super::record::{BindingRecord, MeetingRecord, StoreRecord};
use super::room::RoomSetup;
use super::room_io::{RoomInput, RoomReport};
use crate::registrar::Account;

/// Into the focus.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an input is taken at once, never queued"
)]
pub enum FocusInput {
    /// Anything that the endpoint reports.
    Sip(Event),
    /// Anything that a room reports (`RoomOutput::Report`).
    Room {
        /// The room.
        room: RoomId,
        /// What it reports.
        report: RoomReport,
    },
    /// The room's mailbox was full: the input comes back and the focus answers for it.
    RoomBusy {
        /// The room.
        room: RoomId,
        /// What it could not take.
        input: Box<RoomInput>,
    },
    /// The room's task is gone without having reported its end (a panic was caught).
    RoomLost {
        /// The room.
        room: RoomId,
    },
    /// An account lookup is done; `None`: no such user.
    Account {
        /// The lookup.
        id: LookupId,
        /// The account.
        account: Option<Account>,
    },
    /// The API asks.
    Api {
        /// Returned in the reply.
        id: ApiId,
        /// What it asks.
        request: ApiRequest,
    },
    /// [`SipCommand::execute`] made a client transaction (a probe).
    Issued {
        /// In this session.
        session: SessionId,
        /// The transaction.
        tx: ClientTx,
    },
    /// [`SipCommand::execute`] could not send a probe now: it is tried again later.
    NotAsked {
        /// In this session.
        session: SessionId,
    },
    /// [`SipCommand::execute`] failed for a session that is no more.
    SessionLost {
        /// The session.
        session: SessionId,
    },
    /// [`SipCommand::execute`] failed for a subscription that is no more.
    SubscriptionLost {
        /// The subscription.
        subscription: SubscriptionId,
    },
    /// A request outside of calls waited so long before it was looked at. Given before the request itself.
    Waited {
        /// From the kernel to here.
        wait: Duration,
    },
    /// What share of their time the media shards used since the last such input.
    ShardLoad {
        /// Percent of each.
        percent: Vec<u32>,
    },
    /// Bindings kept from an earlier run; given before the first event.
    Restore {
        /// Address-of-record.
        aor: String,
        /// Its bindings with the time left.
        bindings: Vec<BindingRecord>,
    },
    /// A meeting kept from an earlier run; given before the first event.
    RestoreMeeting(MeetingRecord),
    /// A name that was ended on purpose so long ago, in an earlier run.
    RestoreEnded {
        /// The name.
        name: String,
        /// Time since its end.
        ago: Duration,
    },
    /// Refuse new calls, send BYE to all, then say `ShutDown`.
    Shutdown,
}

/// What the focus saw somebody do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Gave a right password.
    Authenticated,
    /// Gave a wrong one.
    WrongPassword,
    /// Was registered; with accounts that is after a right password.
    Registered,
}

/// Out of the focus.
#[derive(Debug)]
pub enum FocusOutput {
    /// Execute on the endpoint: [`SipCommand::execute`].
    Sip(SipCommand),
    /// Start a room task with `Room::new(setup, now)` and a mixer room on a shard.
    SpawnRoom(Box<RoomSetup>),
    /// Put into the room's mailbox; when that is full give it back as `FocusInput::RoomBusy`.
    ToRoom {
        /// The room.
        room: RoomId,
        /// For it.
        input: Box<RoomInput>,
    },
    /// The focus will send nothing more to this room: drop the mailbox; the task ends when the
    /// mailbox is drained and the room's outputs are executed.
    CloseRoom {
        /// The room.
        room: RoomId,
    },
    /// Look the account up and answer with `FocusInput::Account`.
    LookUp {
        /// Returned in the answer.
        id: LookupId,
        /// Digest realm.
        realm: String,
        /// User name as the digest gave it.
        user: String,
    },
    /// Write to the event log.
    Record(StoreRecord),
    /// How somebody behaved: for the protection against floods and guessing.
    Conduct {
        /// Who: proved to receive what is sent there.
        flow: Flow,
        /// What was seen.
        conduct: Conduct,
        /// Whose password was right.
        account: Option<String>,
    },
    /// Answer an API request.
    ApiReply {
        /// The request.
        id: ApiId,
        /// The answer.
        reply: ApiReply,
    },
    /// After `Shutdown`: no room is left. The BYEs are with the endpoint.
    ShutDown,
}
