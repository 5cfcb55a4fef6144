//! What the model foretells where people see little: which refusals are right, and what a restart leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::Meeting;
use crate::peer::CallState;
use crate::run::{Dial, Run};

/// What a name may stand for; several where something is under way.
pub(crate) const FREE: u8 = 0;
pub(crate) const LIVING: u8 = 1;
pub(crate) const ENDED: u8 = 2;

/// How long the server may keep a room for somebody who is not in it: the wait for an ACK, or for a sign of life, the
/// grace, and a little more.
const LINGERS: Duration = Duration::from_secs(110);

/// The end of a wait cannot be told better than this: round trips, and the ways inside the server.
const BLUR: Duration = Duration::from_secs(3);

/// Whether a refusal is what it had to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    /// The network or the server's mailboxes were allowed to do this.
    Excused,
    Wrong,
}

impl Run {
    /// A room may live longer than this person sees.
    pub(crate) fn lingers(&mut self, who: usize) {
        let until = self.world.now + LINGERS;
        let inside = self.model.people.get(who).and_then(|person| person.room.clone());
        let dialled = self
            .dials
            .get(who)
            .and_then(Option::as_ref)
            .map(|dial| dial.room.clone());
        for room in inside.into_iter().chain(dialled) {
            self.lingering.insert(room, until);
        }
    }

    /// A call was refused: whether it had to be.
    pub(crate) fn refused(&mut self, who: usize, status: Option<u16>) {
        let Some(dial) = self.dials.get(who).and_then(Clone::clone) else {
            self.leaving.remove(&who);
            return;
        };
        // The call may have made the room all the same, unless the focus said that there is no way in.
        if !matches!(status, Some(400..=486)) {
            self.lingers(who);
        }
        if let Some(place) = self.dials.get_mut(who) {
            *place = None;
        }
        self.leaving.remove(&who);
        let mut standings = self.standings(&dial.room);
        standings.extend(&dial.standings);
        self.judged.refusals += 1;
        match self.judge_refusal(who, &dial, status, &standings) {
            Verdict::Right => {}
            Verdict::Excused => self.judged.refusals_excused += 1,
            Verdict::Wrong => self.fault(format_args!(
                "p{who}: the call to {} failed with {status:?}, allowed were {standings:?}",
                dial.room
            )),
        }
        if matches!(status, Some(404 | 410)) {
            self.give_up_wish(who);
        }
    }

    fn judge_refusal(
        &self,
        who: usize,
        dial: &Dial,
        status: Option<u16>,
        standings: &BTreeSet<u8>,
    ) -> Verdict {
        let right = match status {
            Some(487) => dial.given_up,
            Some(410) => standings.contains(&ENDED),
            Some(486) => {
                (dial.factory && standings.contains(&LIVING)) || dial.full || self.may_be_full(&dial.room)
            }
            // Given up before the challenge came: it is not taken up.
            Some(401) => self.scenario.accounts && dial.given_up,
            Some(404) => self.scenario.accounts && !dial.factory && standings.contains(&FREE),
            _ => false,
        };
        let excused = match status {
            // Nobody answered.
            None => !self.scenario.strict || self.excused.contains(&who),
            // A mailbox was full, or the server went with the call.
            Some(500 | 503) => self.scenario.latency.full > 0.0 || self.excused.contains(&who),
            // What damage makes of a request. 401: of its answer to a challenge.
            Some(400..=499) => self.scenario.storm.damage > 0.0,
            Some(_) => self.scenario.storm.damage > 0.0,
        };
        match (right, excused) {
            (true, _) => Verdict::Right,
            (false, true) => Verdict::Excused,
            (false, false) => Verdict::Wrong,
        }
    }

    /// Whether the room has as many people as it may, or may still have them.
    pub(crate) fn may_be_full(&self, room: &str) -> bool {
        self.has_no_place(room, 0)
    }

    /// A call was made: with it the room may have become too full for any of those that are under way.
    pub(crate) fn crowd(&mut self, room: &str) {
        if !self.has_no_place(room, 1) {
            return;
        }
        for dial in self.dials.iter_mut().flatten().filter(|dial| dial.room == room) {
            dial.full = true;
        }
    }

    /// The same, the callers in question not counted.
    fn has_no_place(&self, room: &str, callers: usize) -> bool {
        let Some(most) = self.scenario.most_members else {
            return false;
        };
        let now = self.world.now;
        let lingers = self.lingering.get(room).is_some_and(|until| *until > now);
        let calls = self.dials.iter().flatten().filter(|other| other.room == room);
        let vacated = self
            .vacated
            .iter()
            .filter(|(left, until)| left == room && *until > now);
        let people = self.model.members(room).len() + calls.count() + self.leaving.len() + vacated.count();
        lingers || people >= most + callers
    }

    /// kill -9, and start.
    pub(crate) fn restart_server(&mut self) {
        self.say("the server is killed and started");
        let unsettled = self.unsettled();
        let now = self.world.now;
        self.world.house.restart(now);
        self.model.server_died(&unsettled, now);
        for who in 0..self.world.peers.len() {
            if self.state(who) != CallState::Idle {
                self.excused.insert(who);
            }
        }
        self.tokens.clear();
        // A call that was under way finds its way in, or not; a room of which nobody knows may be there or not.
        for room in unsettled {
            self.lingering.insert(room, now + LINGERS);
        }
    }

    /// The rooms of which nobody outside the server knows at this moment whether it has them.
    fn unsettled(&self) -> BTreeSet<String> {
        let now = self.world.now;
        let rooms = self.scenario.rooms.iter();
        let unknown = |room: &&String| {
            let lingers = self.lingering.get(*room).is_some_and(|until| *until > now);
            let dialled = self.dials.iter().flatten().any(|dial| dial.room == **room);
            let member = |who: &usize| {
                let person = self.model.people.get(*who);
                person.is_some_and(|person| person.room.as_ref() == Some(*room))
            };
            let leaving = self.leaving.iter().any(&member);
            let keys = self.keys.iter().enumerate();
            let ending = keys.filter(|(who, keys)| keys.is_some() && member(who)).count() > 0;
            lingers || dialled || leaving || ending || self.is_about_to_end(room)
        };
        rooms.filter(unknown).cloned().collect()
    }

    /// So close to its end that either may be true.
    pub(crate) fn is_about_to_end(&self, room: &str) -> bool {
        let now = self.world.now;
        match self.model.meetings.get(room) {
            Some(Meeting::Living {
                empty_until: Some(until),
                ..
            }) => *until + BLUR > now && now + BLUR > *until,
            _ => false,
        }
    }
}
