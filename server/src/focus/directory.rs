//! Which rooms live, and which names ended a short time ago.
//!
//! A name is in one of three states: free, a living room's, or held (410) until a time. The
//! states and their changes:
//!
//! | from | event | to |
//! |---|---|---|
//! | free | `open` | living |
//! | living | `close` by the creator or an administrator | held until now + hold |
//! | living | `close` for another reason | free |
//! | held | the time is over, or 10,000 younger names | free |

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::ids::RoomId;
use super::limits;
use super::names::RoomName;

/// A living room as the focus knows it.
#[derive(Debug, Clone)]
pub struct RoomEntry {
    /// Its name.
    pub name: RoomName,
    /// What it is about.
    pub subject: Option<String>,
    /// SHA-256 of the creator's token, in hexadecimal: the token itself is kept nowhere.
    pub token_hash: String,
    /// People in it, as the room last reported.
    pub people: u32,
    /// When it was made.
    pub created: Instant,
    /// An end was ordered and the room has not yet reported it: nobody else comes in.
    pub ending: bool,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Free,
    /// A living room.
    Living(RoomId),
    /// A room that was ended a short time ago.
    Ended,
}

/// All rooms by identity and by name.
#[derive(Debug, Default)]
pub struct Directory {
    rooms: HashMap<RoomId, RoomEntry>,
    names: HashMap<RoomName, RoomId>,
    /// Oldest first: every name is held equally long.
    held: VecDeque<(Instant, RoomName)>,
    held_until: HashMap<RoomName, Instant>,
    next: u64,
}

impl Directory {
    /// What the name stands for at this time.
    pub fn standing(&self, name: &RoomName, now: Instant) -> Standing {
        if let Some(&room) = self.names.get(name) {
            let ending = self.rooms.get(&room).is_some_and(|entry| entry.ending);
            return if ending {
                Standing::Ended
            } else {
                Standing::Living(room)
            };
        }
        match self.held_until.get(name) {
            Some(&until) if until > now => Standing::Ended,
            _ => Standing::Free,
        }
    }

    /// Opens a room under a free name. `None` if the name is not free.
    pub fn open(
        &mut self,
        name: RoomName,
        subject: Option<String>,
        token_hash: String,
        now: Instant,
    ) -> Option<RoomId> {
        if self.standing(&name, now) != Standing::Free {
            return None;
        }
        self.next += 1;
        let id = RoomId(self.next);
        self.names.insert(name.clone(), id);
        let entry = RoomEntry {
            name,
            subject,
            token_hash,
            people: 0,
            created: now,
            ending: false,
        };
        self.rooms.insert(id, entry);
        Some(id)
    }

    /// Closes a room; with `hold` its name is held so long.
    pub fn close(&mut self, room: RoomId, hold: Option<Duration>, now: Instant) -> Option<RoomEntry> {
        let entry = self.rooms.remove(&room)?;
        self.names.remove(&entry.name);
        if let Some(hold) = hold {
            self.hold(entry.name.clone(), hold, now);
        }
        Some(entry)
    }

    /// Holds a name for so long.
    pub fn hold(&mut self, name: RoomName, hold: Duration, now: Instant) {
        if !hold.is_zero() {
            if self.held.len() >= limits::MAX_ENDED_NAMES
                && let Some((until, oldest)) = self.held.pop_front()
            {
                self.forget(&oldest, until);
            }
            self.held.push_back((now + hold, name.clone()));
            self.held_until.insert(name, now + hold);
        }
    }

    /// Frees the names whose time is over.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, _)) = self.held.front()
            && *until <= now
            && let Some((until, name)) = self.held.pop_front()
        {
            self.forget(&name, until);
        }
    }

    /// When the next name becomes free.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.held.front().map(|(until, _)| *until)
    }

    /// A room.
    pub fn get(&self, room: RoomId) -> Option<&RoomEntry> {
        self.rooms.get(&room)
    }

    /// A room, to change it.
    pub fn get_mut(&mut self, room: RoomId) -> Option<&mut RoomEntry> {
        self.rooms.get_mut(&room)
    }

    /// All living rooms, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (RoomId, &RoomEntry)> {
        self.rooms.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many rooms live.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether no room lives.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    fn forget(&mut self, name: &RoomName, until: Instant) {
        if self.held_until.get(name) == Some(&until) {
            self.held_until.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(600);

    fn name(text: &str) -> RoomName {
        RoomName::parse(text).unwrap()
    }

    #[test]
    fn the_table_of_a_name() {
        let now = Instant::now();
        let mut directory = Directory::default();
        let blue = name("blue");
        assert_eq!(directory.standing(&blue, now), Standing::Free);
        let room = directory.open(blue.clone(), None, String::new(), now).unwrap();
        assert_eq!(directory.standing(&blue, now), Standing::Living(room));
        assert_eq!(directory.open(blue.clone(), None, String::new(), now), None);
        directory.close(room, Some(HOLD), now).unwrap();
        assert_eq!(directory.standing(&blue, now), Standing::Ended);
        assert_eq!(directory.next_expiry(), Some(now + HOLD));
        directory.expire(now + HOLD);
        assert_eq!(directory.standing(&blue, now + HOLD), Standing::Free);
        assert_eq!(directory.next_expiry(), None);
        let again = directory
            .open(blue.clone(), None, String::new(), now + HOLD)
            .unwrap();
        assert_ne!(again, room);
        directory.close(again, None, now + HOLD).unwrap();
        assert_eq!(directory.standing(&blue, now + HOLD), Standing::Free);
    }

    #[test]
    fn an_ordered_end_closes_the_door_at_once() {
        let now = Instant::now();
        let mut directory = Directory::default();
        let room = directory.open(name("blue"), None, String::new(), now).unwrap();
        directory.get_mut(room).unwrap().ending = true;
        assert_eq!(directory.standing(&name("blue"), now), Standing::Ended);
    }

    #[test]
    fn held_names_are_bounded() {
        let now = Instant::now();
        let mut directory = Directory::default();
        for i in 0..limits::MAX_ENDED_NAMES + 5 {
            let room = directory
                .open(name(&format!("n{i}")), None, String::new(), now)
                .unwrap();
            directory.close(room, Some(HOLD), now);
        }
        assert_eq!(directory.held.len(), limits::MAX_ENDED_NAMES);
        assert_eq!(directory.held_until.len(), limits::MAX_ENDED_NAMES);
        assert_eq!(directory.standing(&name("n0"), now), Standing::Free);
        assert_eq!(directory.standing(&name("n5"), now), Standing::Ended);
    }
}
