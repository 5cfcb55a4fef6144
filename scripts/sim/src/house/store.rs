//! What the server keeps over a restart.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use meet_server::focus::ids::RoomId;
use meet_server::focus::io::FocusInput;
use meet_server::focus::record::{BindingRecord, MeetingRecord, StoreRecord};
use meet_server::registrar::Account;
use sip_proto::digest::{Algorithm, ha1};

/// The disk.
#[derive(Debug, Default)]
pub struct Store {
    bindings: BTreeMap<String, (Instant, Vec<BindingRecord>)>,
    accounts: BTreeMap<String, Account>,
    /// Meetings that were made and have not ended, with the time at which they were made.
    meetings: BTreeMap<i64, (Instant, MeetingRecord)>,
    rooms: BTreeMap<RoomId, i64>,
    /// Names that were ended on purpose.
    ended: Vec<(Instant, String)>,
    next_meeting: i64,
    /// People written down as joined, less those written down as left.
    pub present: i64,
}

impl Store {
    /// Makes an account.
    pub fn add_account(&mut self, user: &str, password: &str) {
        let account = Account {
            user: user.to_owned(),
            display: None,
            secrets: vec![ha1(Algorithm::Sha256, user, "meet", password)],
        };
        self.accounts.insert(user.to_owned(), account);
    }

    /// Looks one up.
    pub fn account(&self, user: &str) -> Option<Account> {
        self.accounts.get(user).cloned()
    }

    /// Writes a record down.
    pub fn record(&mut self, record: StoreRecord, now: Instant) {
        match record {
            StoreRecord::Bindings { aor, bindings } if bindings.is_empty() => {
                self.bindings.remove(&aor);
            }
            StoreRecord::Bindings { aor, bindings } => {
                self.bindings.insert(aor, (now, bindings));
            }
            StoreRecord::PersonJoined { room, .. } => {
                self.present += 1;
                let number = self.rooms.get(&room);
                if let Some((_, meeting)) = number.and_then(|number| self.meetings.get_mut(number)) {
                    meeting.joined = true;
                }
            }
            StoreRecord::PersonLeft { .. } => self.present -= 1,
            StoreRecord::MeetingCreated {
                room,
                name,
                subject,
                creator,
                token_hash,
            } => {
                self.next_meeting += 1;
                let meeting = MeetingRecord {
                    meeting: self.next_meeting,
                    name,
                    subject,
                    creator,
                    token_hash,
                    age: Duration::ZERO,
                    joined: false,
                };
                self.rooms.insert(room, meeting.meeting);
                self.meetings.insert(meeting.meeting, (now, meeting));
            }
            StoreRecord::MeetingRestored { room, meeting, .. } => {
                self.rooms.insert(room, meeting);
            }
            StoreRecord::MeetingEnded { room, name, reason } => {
                if let Some(number) = self.rooms.remove(&room) {
                    self.meetings.remove(&number);
                }
                if reason.holds_name() {
                    self.ended.push((now, name));
                }
            }
        }
    }

    /// The bindings with the time that they have left.
    pub fn bindings(&self, now: Instant) -> Vec<(String, Vec<BindingRecord>)> {
        let left = |written: Instant, records: &[BindingRecord]| -> Vec<BindingRecord> {
            let age = now.saturating_duration_since(written);
            let fresh = |record: &BindingRecord| {
                let rest = Duration::from_secs(record.expires.into()).checked_sub(age)?;
                let expires = u32::try_from(rest.as_secs()).ok().filter(|left| *left > 0)?;
                Some(BindingRecord {
                    expires,
                    ..record.clone()
                })
            };
            records.iter().filter_map(fresh).collect()
        };
        self.bindings
            .iter()
            .map(|(aor, (written, records))| (aor.clone(), left(*written, records)))
            .collect()
    }

    /// Meetings written down as made and not as ended.
    pub fn open(&self) -> usize {
        self.meetings.len()
    }

    /// The server starts again after its power failed: who was in is in no more, whatever was written; what it is
    /// given of its earlier run, in the order of `meet_server::drivers::signalling`.
    pub fn restart(&mut self, now: Instant) -> Vec<FocusInput> {
        self.present = 0;
        self.rooms.clear();
        let bindings = self.bindings(now).into_iter();
        let bindings = bindings.map(|(aor, bindings)| FocusInput::Restore { aor, bindings });
        let ended = self.ended.iter().map(|(at, name)| FocusInput::RestoreEnded {
            name: name.clone(),
            ago: now.saturating_duration_since(*at),
        });
        let meetings = self.meetings.values().map(|(made, meeting)| {
            FocusInput::RestoreMeeting(MeetingRecord {
                age: now.saturating_duration_since(*made),
                ..meeting.clone()
            })
        });
        bindings.chain(ended).chain(meetings).collect()
    }
}
