//! The roster as a document (RFC 4575), full state every time.
//!
//! Each leg is a `<user>` of its own, because without accounts nobody proves that two calls are
//! the same person: its `entity` is the From URI, with the parameter `leg` where several share one.
//! Deliberately absent: partial state, and the XML itself (`sip_proto::conference_info`).

use std::collections::HashMap;

use sip_proto::conference_info::{
    CONTENT_TYPE, ConferenceState, Description, Document, Endpoint, EndpointStatus, JoiningMethod, Media,
    MediaStatus, State, UriEntry, User,
};
use sip_proto::endpoint::Body;
use sip_proto::sdp::Direction;

use super::ids::LegId;
use super::leg::Leg;
use super::limits;
use super::names::RoomName;

/// What goes into a document.
#[derive(Debug)]
pub struct RosterView<'a> {
    /// The room.
    pub name: &'a RoomName,
    /// The room's SIP URI: the document's entity.
    pub entity: &'a str,
    /// What it is about.
    pub subject: Option<&'a str>,
    /// The people, in the order of their coming.
    pub legs: Vec<&'a Leg>,
    /// Who speaks.
    pub speaker: Option<LegId>,
}

/// A document written once, for any number of subscriptions.
#[derive(Debug)]
pub struct Written {
    before_version: String,
    after_version: String,
}

impl Written {
    /// Writes the state. What would be too long for a datagram lists fewer people, the speaker
    /// among them, beside the true number (RFC 4575 §5.5.1 allows that).
    pub fn of(view: &RosterView<'_>) -> Self {
        let mut document = document(view);
        let mut xml = document.to_xml();
        while xml.len() > limits::MAX_DOCUMENT {
            let Some(users) = &mut document.users else { break };
            let keep = (users.len() * limits::MAX_DOCUMENT / xml.len()).min(users.len().saturating_sub(1));
            let speaker = users
                .iter()
                .skip(keep)
                .find(|user| user.entity == document.active_speaker)
                .cloned();
            users.truncate(keep);
            if let (Some(speaker), Some(last)) = (speaker, users.last_mut()) {
                *last = speaker;
            }
            xml = document.to_xml();
        }
        let mark = format!("version=\"{VERSION_MARK}\"");
        match xml.split_once(&mark) {
            Some((before, after)) => Self {
                before_version: before.to_owned(),
                after_version: after.to_owned(),
            },
            None => Self {
                before_version: xml,
                after_version: String::new(),
            },
        }
    }

    /// The body of one NOTIFY.
    pub fn body(&self, version: u32) -> Body {
        let Self {
            before_version,
            after_version,
        } = self;
        Body::new(
            CONTENT_TYPE,
            format!("{before_version}version=\"{version}\"{after_version}"),
        )
    }
}

/// Stands where each subscription's own version goes; no version gets so high.
const VERSION_MARK: u32 = u32::MAX;

fn document(view: &RosterView<'_>) -> Document {
    let mut shared: HashMap<&str, usize> = HashMap::new();
    for leg in &view.legs {
        *shared.entry(leg.person.uri.as_str()).or_default() += 1;
    }
    let entity = |leg: &Leg| {
        let uri = &leg.person.uri;
        if shared.get(uri.as_str()).is_some_and(|count| *count > 1) {
            format!("{uri};leg={}", leg.id)
        } else {
            uri.clone()
        }
    };
    let speaker = view.legs.iter().find(|leg| Some(leg.id) == view.speaker);
    Document {
        entity: view.entity.to_owned(),
        state: State::Full,
        version: Some(VERSION_MARK),
        description: Some(Description {
            display_text: Some(view.name.to_string()),
            subject: view.subject.map(str::to_owned),
            conf_uris: vec![UriEntry {
                uri: view.entity.to_owned(),
                purpose: Some("participation".to_owned()),
                ..UriEntry::default()
            }],
            ..Description::default()
        }),
        conference_state: Some(ConferenceState {
            user_count: u32::try_from(view.legs.len()).ok(),
            active: Some(!view.legs.is_empty()),
            locked: Some(false),
        }),
        users: Some(view.legs.iter().map(|leg| user(leg, entity(leg))).collect()),
        active_speaker: speaker.map(|leg| entity(leg)),
        ..Document::default()
    }
}

fn user(leg: &Leg, entity: String) -> User {
    let status = if !leg.is_confirmed() {
        EndpointStatus::DialingIn
    } else if leg.is_on_hold() {
        EndpointStatus::OnHold
    } else {
        EndpointStatus::Connected
    };
    let role = if leg.is_creator() {
        "moderator"
    } else {
        "participant"
    };
    let endpoint = Endpoint {
        entity: Some(entity.clone()),
        state: State::Full,
        status: Some(status),
        joining_method: Some(JoiningMethod::DialedIn),
        media: vec![Media {
            id: "1".to_owned(),
            media_type: Some("audio".to_owned()),
            status: Some(media_status(leg)),
            muted: Some(leg.muted),
            ..Media::default()
        }],
        ..Endpoint::default()
    };
    User {
        entity: Some(entity),
        state: State::Full,
        display_text: Some(leg.display.clone()),
        roles: vec![role.to_owned()],
        endpoints: vec![endpoint],
    }
}

/// As the participant sees it (RFC 4575 §5.8.5): what we receive it sends.
fn media_status(leg: &Leg) -> MediaStatus {
    match leg.negotiation.agreed().map(|audio| audio.direction) {
        Some(Direction::SendRecv) => MediaStatus::SendRecv,
        Some(Direction::SendOnly) => MediaStatus::RecvOnly,
        Some(Direction::RecvOnly) => MediaStatus::SendOnly,
        Some(Direction::Inactive) | None => MediaStatus::Inactive,
    }
}
