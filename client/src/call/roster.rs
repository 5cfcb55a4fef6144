//! The people of a conference as its roster tells them (RFC 4575).
//!
//! Every document of our focus is whole; a partial one of another focus is merged by entity. Versions only grow:
//! an older document that was overtaken on the way is dropped. Deliberately absent: people known by other means.

use sip_proto::conference_info::{Document, EndpointStatus, State, User};

use crate::limits;

/// A conference's people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    /// Version of the newest document.
    pub version: u32,
    /// Everybody, in the roster's order.
    pub people: Vec<Participant>,
    /// Entity of the active speaker.
    pub speaker: Option<String>,
}

/// One participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Key in the roster.
    pub entity: String,
    /// Name to show.
    pub name: String,
    /// Status as RFC 4575 words it.
    pub status: &'static str,
    /// Whether the conference hears nothing from it.
    pub muted: bool,
    /// Whether it is this program.
    pub me: bool,
}

impl Roster {
    /// Takes a document; false when it changes nothing because it is old.
    pub fn take(&mut self, document: Document, own: &str, first: bool) -> bool {
        let version = document.version.unwrap_or(0);
        if !first && document.version.is_some() && version <= self.version {
            return false;
        }
        self.version = version;
        let whole = document.state == State::Full;
        if let Some(users) = document.users {
            if whole {
                self.people.clear();
            }
            for user in users {
                self.merge(user, own);
            }
        }
        if whole || document.active_speaker.is_some() {
            self.speaker = document.active_speaker;
        }
        true
    }

    /// The active speaker's name.
    pub fn speaker_name(&self) -> Option<&str> {
        let speaker = self.speaker.as_deref()?;
        self.people
            .iter()
            .find(|person| person.entity == speaker)
            .map(|person| person.name.as_str())
    }

    fn merge(&mut self, user: User, own: &str) {
        let entity = user.entity.clone().unwrap_or_default();
        let known = self.people.iter().position(|person| person.entity == entity);
        if user.state == State::Deleted {
            if let Some(place) = known {
                self.people.remove(place);
            }
            return;
        }
        let person = participant(user, entity, own);
        let full = self.people.len() >= limits::PEOPLE;
        match known.and_then(|place| self.people.get_mut(place)) {
            Some(place) => *place = person,
            None if full => {}
            None => self.people.push(person),
        }
    }
}

fn participant(user: User, entity: String, own: &str) -> Participant {
    let endpoint = user.endpoints.first();
    let status = endpoint
        .and_then(|endpoint| endpoint.status)
        .unwrap_or(EndpointStatus::Connected);
    let muted = status == EndpointStatus::MutedViaFocus
        || endpoint.is_some_and(|endpoint| endpoint.media.iter().any(|media| media.muted == Some(true)));
    let bare = entity.split(";leg=").next().unwrap_or_default();
    let name = user.display_text.filter(|name| !name.trim().is_empty());
    Participant {
        name: printable(&name.unwrap_or_else(|| bare.trim_start_matches("sip:").to_owned())),
        status: status.as_str(),
        muted,
        me: bare == own,
        entity,
    }
}

/// A name without control characters (they would move a terminal's cursor) and of bearable length.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_proto::conference_info::{Endpoint, Media};

    fn user(entity: &str, name: &str) -> User {
        User {
            entity: Some(entity.into()),
            display_text: Some(name.into()),
            ..User::default()
        }
    }

    fn document(version: u32, state: State, users: Vec<User>) -> Document {
        Document {
            version: Some(version),
            state,
            users: Some(users),
            ..Document::default()
        }
    }

    #[test]
    fn whole_documents_replace_and_old_ones_are_dropped() {
        let mut roster = Roster::default();
        let mut first = document(1, State::Full, vec![user("sip:a@h", "A"), user("sip:b@h", "B")]);
        first.active_speaker = Some("sip:b@h".into());
        assert!(roster.take(first, "sip:a@h", true));
        assert_eq!(roster.speaker_name(), Some("B"));
        assert!(roster.people[0].me && !roster.people[1].me);
        assert!(roster.take(
            document(3, State::Full, vec![user("sip:a@h", "A")]),
            "sip:a@h",
            false
        ));
        assert_eq!((roster.people.len(), roster.speaker_name()), (1, None));
        assert!(
            !roster.take(document(2, State::Full, vec![]), "sip:a@h", false),
            "overtaken"
        );
        assert_eq!(roster.people.len(), 1);
    }

    #[test]
    fn partial_documents_merge() {
        let mut roster = Roster::default();
        roster.take(
            document(1, State::Full, vec![user("a", "A"), user("b", "B")]),
            "a",
            true,
        );
        let mut muted = user("b", "B2");
        muted.endpoints = vec![Endpoint {
            media: vec![Media {
                muted: Some(true),
                ..Media::default()
            }],
            ..Endpoint::default()
        }];
        let gone = User {
            state: State::Deleted,
            ..user("a", "")
        };
        roster.take(
            document(2, State::Partial, vec![muted, gone, user("c", "")]),
            "a",
            false,
        );
        let names: Vec<_> = roster.people.iter().map(|p| (p.name.as_str(), p.muted)).collect();
        assert_eq!(names, [("B2", true), ("c", false)]);
    }

    #[test]
    fn several_legs_of_one_address_are_told_apart_and_names_are_tamed() {
        let mut roster = Roster::default();
        let evil = user("sip:x@h", "\x1b[2Jboo\r\n");
        roster.take(
            document(1, State::Full, vec![user("sip:a@h;leg=2", "A"), evil]),
            "sip:a@h",
            true,
        );
        assert!(roster.people[0].me);
        assert_eq!(roster.people[1].name, "[2Jboo");
    }
}
