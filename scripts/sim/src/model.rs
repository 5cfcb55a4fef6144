//! The reference model: who is in which meeting, and therefore who must hear whom.
//!
//! It knows what people did and saw, and the few rules of `server/docs/focus.md`; nothing of protocols. It uses none
//! of the cores. Where a lossy network leaves a question open (did the `*6` arrive?), it says so by `None`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A room stays so long after the last one left.
pub const GRACE: Duration = Duration::from_secs(30);

/// An ended name answers 410 for so long.
pub const HOLD: Duration = Duration::from_secs(600);

/// A room made by the API waits so long for its first guest.
pub const UNJOINED: Duration = Duration::from_secs(12 * 3600);

/// A meeting of an earlier run of the server waits so long for somebody to come back.
pub const RESTORED: Duration = Duration::from_secs(600);

/// Whoever was in for so long is known to the server for certain: its wait for the ACK (RFC 3261 §13.3.1.4) is over.
pub const CERTAIN: Duration = Duration::from_secs(33);

/// A person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// In which meeting.
    pub room: Option<String>,
    /// Since when.
    pub since: Option<Instant>,
    /// Has the meeting on hold.
    pub held: bool,
    /// Is muted; `None`: nobody knows.
    pub muted: Option<bool>,
    /// Made the meeting.
    pub creator: bool,
    /// Whether the registrar has the phone's address.
    pub registered: Registered,
}

/// A registration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Registered {
    /// None.
    #[default]
    No,
    /// Until then.
    Until(Instant),
    /// A request is under way, or was lost.
    Unknown,
}

/// A meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meeting {
    /// It lives; when empty until then.
    Living {
        /// When it ends if nobody comes; none: somebody is there.
        empty_until: Option<Instant>,
        /// Whether it still waits for the first one.
        wait: Wait,
    },
    /// Its name answers 410 until then.
    Ended {
        /// Until when.
        until: Instant,
    },
}

/// How long a meeting waits for the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Somebody was there: when they go it ends after the grace.
    Over,
    /// It was restored after a restart, and nobody was there since.
    Restored(Instant),
    /// It was made by the API, and nobody was ever there.
    Reserved(Instant),
}

impl Wait {
    const fn until(self) -> Option<Instant> {
        match self {
            Self::Over => None,
            Self::Restored(until) | Self::Reserved(until) => Some(until),
        }
    }
}

/// The state of a name, as the model knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing has this name.
    Free,
    /// A meeting.
    Living,
    /// A meeting that was ended a short time ago.
    Ended,
}

/// Why somebody is not to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Nobody hears themselves.
    Oneself,
    /// Not in the same meeting.
    Elsewhere,
    /// Does not speak.
    Quiet,
    /// The one who listens has the meeting on hold.
    ListenerHolds,
    /// The one who speaks has the meeting on hold.
    SpeakerHolds,
    /// Is muted.
    Muted,
}

impl Silence {
    /// In a sentence about the one who speaks.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oneself => "who is the same person",
            Self::Elsewhere => "who is elsewhere",
            Self::Quiet => "who is silent",
            Self::ListenerHolds => "though it has the room on hold",
            Self::SpeakerHolds => "who has the room on hold",
            Self::Muted => "who is muted",
        }
    }
}

/// Who is where.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// The people.
    pub people: Vec<Person>,
    /// Meetings by name.
    pub meetings: BTreeMap<String, Meeting>,
    /// Meetings of which nobody outside the server can know whether they still wait for somebody.
    pub doubtful: BTreeSet<String>,
}

impl Model {
    /// Nobody is anywhere.
    pub fn new(people: usize) -> Self {
        Self {
            people: vec![Person::default(); people],
            meetings: BTreeMap::new(),
            doubtful: BTreeSet::new(),
        }
    }

    /// Somebody came in.
    pub fn joined(&mut self, who: usize, room: &str, creator: bool, now: Instant) {
        let wait = self.wait_of(room, now);
        self.insert(room, None, wait);
        if let Some(person) = self.people.get_mut(who) {
            person.room = Some(room.to_owned());
            person.since = Some(now);
            person.held = false;
            person.muted = Some(false);
            person.creator = creator;
        }
    }

    /// Somebody is out, by whatever way.
    pub fn left(&mut self, who: usize, now: Instant) {
        let Some(person) = self.people.get_mut(who) else {
            return;
        };
        let Some(room) = person.room.take() else { return };
        person.held = false;
        person.muted = None;
        person.creator = false;
        let certain = person.since.take().is_some_and(|since| since + CERTAIN <= now);
        let empty = self.members(&room).is_empty();
        let Some(Meeting::Living { empty_until, wait }) = self.meetings.get_mut(&room) else {
            return;
        };
        if certain {
            *wait = Wait::Over;
        } else if *wait != Wait::Over {
            // Whether the server ever saw the ACK.
            self.doubtful.insert(room);
        }
        if empty {
            let grace = now + GRACE;
            *empty_until = Some(wait.until().map_or(grace, |until| until.max(grace)));
        }
    }

    /// A call to this meeting stood for a moment; whether the server counts that as a visit nobody knows.
    pub fn brushed(&mut self, room: &str) {
        let waits =
            |meeting: &Meeting| matches!(meeting, Meeting::Living { wait, .. } if *wait != Wait::Over);
        if self.meetings.get(room).is_some_and(waits) {
            self.doubtful.insert(room.to_owned());
        }
    }

    /// Everybody who is in a meeting has been there for a while.
    pub fn confirm(&mut self, room: &str) {
        self.doubtful.remove(room);
        if let Some(Meeting::Living { wait, .. }) = self.meetings.get_mut(room) {
            *wait = Wait::Over;
        }
    }

    /// A meeting was ended for everybody.
    pub fn ended(&mut self, room: &str, now: Instant) {
        for who in self.members(room) {
            self.left(who, now);
        }
        self.doubtful.remove(room);
        self.meetings
            .insert(room.to_owned(), Meeting::Ended { until: now + HOLD });
    }

    /// Nobody is in this meeting, and whether it still waits for somebody could not be known: now it is.
    pub fn settle(&mut self, room: &str, living: bool, now: Instant) {
        if living {
            // For how long is as unknown as before.
            self.made(room, now);
            self.doubtful.insert(room.to_owned());
        } else {
            self.meetings.remove(room);
        }
    }

    /// The server died and was started again: it knows the meetings that it had, and nobody is in them, whatever the
    /// phones show for a while. Of those that were `unsettled` at that moment nobody knows.
    pub fn server_died(&mut self, unsettled: &BTreeSet<String>, now: Instant) {
        for room in unsettled {
            self.doubt(room, now);
        }
        for (room, meeting) in &mut self.meetings {
            let Meeting::Living { empty_until, wait } = meeting else {
                continue;
            };
            if empty_until.is_some_and(|until| until <= now) {
                continue;
            }
            let is_in = |person: &Person| person.room.as_deref() == Some(room);
            let young = |person: &&Person| person.since.is_none_or(|since| since + CERTAIN > now);
            let inside = self.people.iter().filter(|person| is_in(person));
            if let Wait::Reserved(until) = *wait
                && inside.clone().count() == inside.clone().filter(young).count()
            {
                if inside.count() > 0 {
                    self.doubtful.insert(room.clone());
                }
                *empty_until = Some(until);
            } else {
                let until = now + RESTORED;
                (*empty_until, *wait) = (Some(until), Wait::Restored(until));
            }
        }
        for person in &mut self.people {
            person.room = None;
            person.since = None;
        }
    }

    /// Nobody knows whether this meeting waits for somebody; an ended one does not.
    pub fn doubt(&mut self, room: &str, now: Instant) {
        if self.standing(room, now) != Standing::Ended {
            self.doubtful.insert(room.to_owned());
        }
    }

    /// A meeting was made by the API and nobody is in it yet.
    pub fn made(&mut self, room: &str, now: Instant) {
        let until = now + UNJOINED;
        self.insert(room, Some(until), Wait::Reserved(until));
    }

    /// A living meeting's wait for the first one; that of a meeting which a call makes is its grace.
    fn wait_of(&self, room: &str, now: Instant) -> Wait {
        match self.meetings.get(room) {
            Some(Meeting::Living { wait, .. }) if self.standing(room, now) == Standing::Living => *wait,
            _ => Wait::Over,
        }
    }

    fn insert(&mut self, room: &str, empty_until: Option<Instant>, wait: Wait) {
        self.meetings
            .insert(room.to_owned(), Meeting::Living { empty_until, wait });
    }

    /// What a name stands for.
    pub fn standing(&self, room: &str, now: Instant) -> Standing {
        match self.meetings.get(room) {
            Some(Meeting::Living { empty_until, .. }) if empty_until.is_none_or(|until| until > now) => {
                Standing::Living
            }
            Some(Meeting::Ended { until }) if *until > now => Standing::Ended,
            _ => Standing::Free,
        }
    }

    /// Who is in a meeting.
    pub fn members(&self, room: &str) -> BTreeSet<usize> {
        let is_in = |person: &Person| person.room.as_deref() == Some(room);
        let all = self.people.iter().enumerate();
        all.filter(|(_, person)| is_in(person))
            .map(|(who, _)| who)
            .collect()
    }

    /// Whom somebody must hear when these speak: everybody else in the meeting who is not muted and has it not on
    /// hold. Who has it on hold hears nobody.
    pub fn must_hear(&self, who: usize, speakers: &BTreeSet<usize>) -> BTreeSet<usize> {
        let audible = |other: &usize| self.silence(who, *other, speakers).is_none();
        (0..self.people.len()).filter(audible).collect()
    }

    /// Why somebody must not hear somebody else when these speak; none: must.
    pub fn silence(&self, who: usize, other: usize, speakers: &BTreeSet<usize>) -> Option<Silence> {
        let (Some(listener), Some(speaker)) = (self.people.get(who), self.people.get(other)) else {
            return Some(Silence::Elsewhere);
        };
        if who == other {
            Some(Silence::Oneself)
        } else if listener.room.is_none() || listener.room != speaker.room {
            Some(Silence::Elsewhere)
        } else if !speakers.contains(&other) {
            Some(Silence::Quiet)
        } else if listener.held {
            Some(Silence::ListenerHolds)
        } else if speaker.held {
            Some(Silence::SpeakerHolds)
        } else if speaker.muted != Some(false) {
            Some(Silence::Muted)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hears_whom() {
        let now = Instant::now();
        let mut model = Model::new(4);
        (0..3).for_each(|who| model.joined(who, "blue", who == 0, now));
        model.joined(3, "red", true, now);
        let all: BTreeSet<usize> = (0..4).collect();
        assert_eq!(model.must_hear(0, &all), BTreeSet::from([1, 2]));
        assert_eq!(model.must_hear(3, &all), BTreeSet::new());
        model.people[1].muted = Some(true);
        assert_eq!(model.must_hear(0, &all), BTreeSet::from([2]));
        assert_eq!(model.must_hear(1, &all), BTreeSet::from([0, 2]));
        model.people[2].held = true;
        assert_eq!(model.must_hear(2, &all), BTreeSet::new());
        assert_eq!(model.must_hear(0, &all), BTreeSet::new());
        let why = |who, other| model.silence(who, other, &all);
        assert_eq!(why(0, 0), Some(Silence::Oneself));
        assert_eq!(why(0, 1), Some(Silence::Muted));
        assert_eq!(why(0, 2), Some(Silence::SpeakerHolds));
        assert_eq!(why(2, 0), Some(Silence::ListenerHolds));
        assert_eq!(why(0, 3), Some(Silence::Elsewhere));
        assert_eq!(why(1, 0), None);
        assert_eq!(model.silence(1, 0, &BTreeSet::new()), Some(Silence::Quiet));
        model.left(3, now);
        assert_eq!(model.standing("red", now), Standing::Living);
        assert_eq!(model.standing("red", now + GRACE), Standing::Free);
        model.ended("blue", now);
        assert_eq!(model.members("blue"), BTreeSet::new());
        assert_eq!(model.standing("blue", now), Standing::Ended);
        assert_eq!(model.standing("blue", now + HOLD), Standing::Free);
    }

    #[test]
    fn how_long_an_empty_meeting_waits() {
        let now = Instant::now();
        let mut model = Model::new(2);
        let later = now + CERTAIN;
        model.made("plan", now);
        model.joined(0, "plan", false, now);
        model.left(0, now);
        assert!(model.doubtful.contains("plan"), "the ACK may be lost");
        assert_eq!(model.standing("plan", now + GRACE), Standing::Living);
        model.joined(0, "plan", false, now);
        model.left(0, later);
        assert_eq!(model.standing("plan", later + GRACE), Standing::Free);

        let mut model = Model::new(2);
        model.made("plan", now);
        model.joined(0, "blue", true, now);
        model.ended("red", now);
        model.server_died(&BTreeSet::from(["green".to_owned()]), later);
        assert_eq!(model.members("blue"), BTreeSet::new());
        assert_eq!(model.standing("blue", later + RESTORED - GRACE), Standing::Living);
        assert_eq!(model.standing("blue", later + RESTORED), Standing::Free);
        assert_eq!(model.standing("plan", later + RESTORED), Standing::Living);
        assert_eq!(model.standing("plan", now + UNJOINED), Standing::Free);
        assert_eq!(model.standing("red", later), Standing::Ended);
        assert_eq!(model.doubtful, BTreeSet::from(["green".to_owned()]));
        // Somebody who comes and goes at once leaves it as it was.
        model.joined(1, "blue", false, later);
        model.left(1, later);
        assert_eq!(model.standing("blue", later + GRACE), Standing::Living);
        model.server_died(&BTreeSet::new(), later + CERTAIN);
        assert_eq!(model.standing("plan", later + RESTORED), Standing::Living);
    }
}
