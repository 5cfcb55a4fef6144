//! Making rooms, and what the API may do with them.

use std::time::{Duration, Instant};

use rand_core::Rng;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::api::{ApiRefusal, ApiReply, ApiRequest, Authority, MeetingView, RegistrationView, RoomApi};
use super::directory::{RoomEntry, Standing};
use super::focus::{Focus, Stage};
use super::ids::{ApiId, RoomId};
use super::io::FocusOutput;
use super::limits;
use super::names::{self, RoomName};
use super::record::{EndReason, MeetingRecord, StoreRecord};
use super::room::RoomSetup;
use super::room_io::RoomInput;
use super::settings::Admittance;

/// The creator of a meeting that was reserved by the API and not made by a call.
const API: &str = "api";

/// What a new room is opened with.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) name: RoomName,
    pub(super) subject: Option<String>,
    /// Its SIP URI, as its maker reaches it.
    pub(super) uri: String,
    /// Base URL of the API, as its maker reaches it.
    pub(super) api_url: Option<String>,
    pub(super) creator: String,
    /// How long it waits for the first person.
    pub(super) first_wait: Duration,
}

/// What tells the creator's token, without being it.
pub(super) fn token_hash(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Focus {
    /// A request of the API: answered here, or passed on to the room, which answers.
    pub(super) fn api(&mut self, id: ApiId, request: ApiRequest, now: Instant) {
        let reply = match request {
            ApiRequest::List => {
                let mut meetings: Vec<MeetingView> = self
                    .directory
                    .iter()
                    .map(|(_, entry)| self.view(entry, now))
                    .collect();
                meetings.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(Some(ApiReply::Meetings(meetings)))
            }
            ApiRequest::Show { name } => self.find(&name, now).and_then(|room| {
                let entry = self.directory.get(room).ok_or(ApiRefusal::NoSuchMeeting)?;
                Ok(Some(ApiReply::Meeting(self.view(entry, now))))
            }),
            ApiRequest::Create { name, subject } => {
                self.create(name.as_deref(), subject.as_deref(), now).map(Some)
            }
            ApiRequest::End { name, authority } => self.end_by_api(id, &name, &authority, now),
            ApiRequest::Participants { name } => self
                .find(&name, now)
                .map(|room| self.pass_on(id, room, RoomApi::Participants, now)),
            ApiRequest::Remove { name, leg, authority } => self
                .authorised(&name, &authority, now)
                .map(|room| self.pass_on(id, room, RoomApi::Remove(leg), now)),
            ApiRequest::Mute {
                name,
                leg,
                muted,
                authority,
            } => self
                .authorised(&name, &authority, now)
                .map(|room| self.pass_on(id, room, RoomApi::Mute(leg, muted), now)),
            ApiRequest::Registrations => Ok(Some(ApiReply::Registrations(self.registrations(now)))),
        };
        match reply {
            Ok(Some(reply)) => self.push(FocusOutput::ApiReply { id, reply }),
            Ok(None) => {}
            Err(refusal) => self.push(FocusOutput::ApiReply {
                id,
                reply: ApiReply::Refused(refusal),
            }),
        }
    }

    /// Opens a room and has its task started. `None` at the limit, or when the name is not free.
    pub(super) fn open_room(&mut self, opening: Opening, now: Instant) -> Option<(RoomId, String)> {
        let token = format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64());
        let hash = token_hash(&token);
        let (name, subject, creator) = (
            opening.name.to_string(),
            opening.subject.clone(),
            opening.creator.clone(),
        );
        let room = self.start_room(opening, hash.clone(), now)?;
        tracing::info!(room = %name, %creator, "meeting created");
        let record = StoreRecord::MeetingCreated {
            room,
            name,
            subject,
            creator,
            token_hash: hash,
        };
        self.push(FocusOutput::Record(record));
        Some((room, token))
    }

    /// Opens a meeting of an earlier run again. Nobody is in it; its token is the one that was given out.
    pub(super) fn restore_meeting(&mut self, meeting: MeetingRecord, now: Instant) {
        let Ok(name) = RoomName::parse(&meeting.name) else {
            return;
        };
        // Only a reservation waits for hours; the first call of any other meeting was under way when the server went.
        let first_wait = if meeting.joined || meeting.creator != API {
            limits::RESTORED_WAIT
        } else {
            self.settings.unjoined_hold.saturating_sub(meeting.age)
        };
        if first_wait.is_zero() {
            return;
        }
        let opening = Opening {
            uri: format!("sip:{name}@{}", self.settings.authority),
            name,
            subject: meeting.subject,
            api_url: self.settings.api_url.clone(),
            creator: meeting.creator,
            first_wait,
        };
        let Some(room) = self.start_room(opening, meeting.token_hash, now) else {
            tracing::warn!(room = %meeting.name, "a meeting of the last run finds no place");
            return;
        };
        if let Some(entry) = self.directory.get_mut(room) {
            entry.created = now.checked_sub(meeting.age).unwrap_or(now);
        }
        tracing::info!(room = %meeting.name, "meeting restored");
        self.push(FocusOutput::Record(StoreRecord::MeetingRestored {
            room,
            name: meeting.name,
            meeting: meeting.meeting,
        }));
    }

    fn start_room(&mut self, opening: Opening, token_hash: String, now: Instant) -> Option<RoomId> {
        let Opening {
            name,
            subject,
            uri,
            api_url,
            first_wait,
            ..
        } = opening;
        if self.directory.len() >= self.settings.max_rooms || self.stage != Stage::Open {
            return None;
        }
        let id = self
            .directory
            .open(name.clone(), subject.clone(), token_hash, now)?;
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let api_url = match api_url {
            Some(url) => format!("{url}/api/v1/meetings/{name}"),
            None => uri.clone(),
        };
        self.push(FocusOutput::SpawnRoom(Box::new(RoomSetup {
            id,
            name,
            subject,
            uri,
            api_url,
            first_wait,
            empty_grace: self.settings.empty_grace,
            limits: self.settings.room.clone(),
            seed,
        })));
        Some(id)
    }

    /// A free name: the stem, the stem with a number, or an invented one.
    pub(super) fn free_name(&mut self, stem: Option<RoomName>, now: Instant) -> RoomName {
        let fits = |focus: &Self, name: &RoomName| {
            focus.directory.standing(name, now) == Standing::Free && !focus.is_factory(name)
        };
        if let Some(stem) = stem {
            let numbered = (2..100).map(|number| stem.numbered(number));
            let candidates = std::iter::once(stem.clone()).chain(numbered);
            if let Some(name) = candidates.into_iter().find(|name| fits(self, name)) {
                return name;
            }
        }
        for _ in 0..50 {
            let name = RoomName::invent(&mut self.rng);
            if fits(self, &name) {
                return name;
            }
        }
        let name = RoomName::invent(&mut self.rng);
        name.numbered(self.rng.next_u32() % 10_000_000)
    }

    /// Whether the name would hide behind the factory's.
    pub(super) fn is_factory(&self, name: &RoomName) -> bool {
        name.as_str().eq_ignore_ascii_case(&self.settings.factory_user)
    }

    pub(super) fn random_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }

    pub(super) fn random_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    fn create(
        &mut self,
        name: Option<&str>,
        subject: Option<&str>,
        now: Instant,
    ) -> Result<ApiReply, ApiRefusal> {
        if self.stage != Stage::Open {
            return Err(ApiRefusal::ShuttingDown);
        }
        let subject = subject.and_then(|subject| names::clean_text(subject, limits::MAX_SUBJECT));
        let name = match name {
            Some(name) => {
                let name = RoomName::parse(name).map_err(|_| ApiRefusal::BadName)?;
                match self.directory.standing(&name, now) {
                    Standing::Living(_) => return Err(ApiRefusal::NameInUse),
                    Standing::Ended => return Err(ApiRefusal::Ended),
                    Standing::Free if self.is_factory(&name) => return Err(ApiRefusal::NameInUse),
                    Standing::Free => name,
                }
            }
            None => self.free_name(subject.as_deref().and_then(RoomName::from_subject), now),
        };
        let uri = format!("sip:{name}@{}", self.settings.authority);
        let first_wait = self.settings.unjoined_hold;
        let api_url = self.settings.api_url.clone();
        let creator = API.to_owned();
        let (room, token) = self
            .open_room(
                Opening {
                    name,
                    subject,
                    uri,
                    api_url,
                    creator,
                    first_wait,
                },
                now,
            )
            .ok_or(ApiRefusal::TooManyMeetings)?;
        let entry = self.directory.get(room).ok_or(ApiRefusal::TooManyMeetings)?;
        Ok(ApiReply::Created {
            meeting: self.view(entry, now),
            token,
        })
    }

    fn end_by_api(
        &mut self,
        id: ApiId,
        name: &str,
        authority: &Authority,
        now: Instant,
    ) -> Result<Option<ApiReply>, ApiRefusal> {
        let room = self.authorised(name, authority, now)?;
        let reason = match authority {
            Authority::Administrator => EndReason::Administrator,
            Authority::Token(_) | Authority::None => EndReason::Creator,
        };
        // From here on nobody else comes in, whenever the room gets to it.
        if let Some(entry) = self.directory.get_mut(room) {
            entry.ending = true;
        }
        // Not as an API request: a full mailbox must not lose it.
        self.tell_room(room, RoomInput::End(reason), now);
        self.push(FocusOutput::ApiReply {
            id,
            reply: ApiReply::Done,
        });
        Ok(None)
    }

    fn pass_on(&mut self, id: ApiId, room: RoomId, request: RoomApi, now: Instant) -> Option<ApiReply> {
        self.tell_room(room, RoomInput::Api { id, request }, now);
        None
    }

    fn find(&self, name: &str, now: Instant) -> Result<RoomId, ApiRefusal> {
        let name = RoomName::parse(name).map_err(|_| ApiRefusal::NoSuchMeeting)?;
        match self.directory.standing(&name, now) {
            Standing::Living(room) => Ok(room),
            Standing::Ended => Err(ApiRefusal::Ended),
            Standing::Free => Err(ApiRefusal::NoSuchMeeting),
        }
    }

    fn authorised(&self, name: &str, authority: &Authority, now: Instant) -> Result<RoomId, ApiRefusal> {
        let found = self.find(name, now);
        // With accounts a stranger must not learn which meetings there are: what it may not do is refused alike for
        // names that live, that ended and that never were. On a local network everybody may list them anyway.
        let hidden =
            self.settings.admittance == Admittance::Accounts && *authority != Authority::Administrator;
        let room = match found {
            Err(_) if hidden => return Err(ApiRefusal::NotAllowed),
            found => found?,
        };
        let entry = self.directory.get(room).ok_or(ApiRefusal::NoSuchMeeting)?;
        let allowed = match authority {
            Authority::Administrator => true,
            Authority::Token(token) => {
                bool::from(token_hash(token).as_bytes().ct_eq(entry.token_hash.as_bytes()))
            }
            Authority::None => false,
        };
        if allowed {
            Ok(room)
        } else {
            Err(ApiRefusal::NotAllowed)
        }
    }

    fn view(&self, entry: &RoomEntry, now: Instant) -> MeetingView {
        MeetingView {
            name: entry.name.to_string(),
            uri: format!("sip:{}@{}", entry.name, self.settings.authority),
            subject: entry.subject.clone(),
            participants: entry.people,
            age: now.saturating_duration_since(entry.created),
        }
    }

    fn registrations(&self, now: Instant) -> Vec<RegistrationView> {
        self.registrar
            .registrations(now)
            .into_iter()
            .map(|registration| RegistrationView {
                aor: registration.aor,
                contact: registration.contact.uri.to_string(),
                expires: registration.until.saturating_duration_since(now),
            })
            .collect()
    }
}
