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
    /// Of this subscription.
    pub version: u32,
    /// The people, in the order of their coming.
    pub legs: Vec<&'a Leg>,
    /// Who speaks.
    pub speaker: Option<LegId>,
}

/// The document as the body of a NOTIFY.
pub fn body(view: &RosterView<'_>) -> Body {
    Body::new(CONTENT_TYPE, document(view).to_xml())
}

/// The document.
pub fn document(view: &RosterView<'_>) -> Document {
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
        version: Some(view.version),
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
