//! What people see, told to the model; and in strict seeds, whether it is what they wished for.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::forecast::{ENDED, FREE, LIVING};
use crate::model::{Meeting, Registered, Standing};
use crate::peer::{CallState, End, Notice};
use crate::run::{Dial, Run};

/// So long may a seat be kept for somebody whose BYE was lost: until silence and an OPTIONS without answer tell.
const SEAT_KEPT: Duration = Duration::from_secs(100);
/// Keys are one code only while they come in such a time (`server/src/focus/limits.rs`, with a second to spare).
const ONE_CODE: Duration = Duration::from_secs(3);

impl Run {
    /// Looks at everything that people saw.
    pub(crate) fn look(&mut self) {
        for complaint in std::mem::take(&mut self.world.complaints) {
            self.fault(complaint);
        }
        for (who, notice) in std::mem::take(&mut self.world.notices) {
            self.note(who, &notice);
        }
    }

    fn note(&mut self, who: usize, notice: &Notice) {
        let now = self.world.now;
        match notice {
            Notice::Joined { room, creator } => self.joined(who, room, *creator),
            Notice::Refused { status } => self.refused(who, *status),
            Notice::Ended { by, cause } => self.ended(who, *by, *cause),
            Notice::Held(held) => {
                if let Some(person) = self.model.people.get_mut(who) {
                    person.held = *held;
                }
            }
            Notice::OfferRefused(status) => {
                // RFC 3261 §12.2.2: 500 where another request overtook it.
                if self.scenario.strict && *status != 500 && !self.is_excused(who) {
                    self.fault(format_args!("p{who}: an offer was refused with {status}"));
                }
                // A damaged copy of an offer that was taken already: the two sides do not mean the same any more.
                if *status == 400 && self.scenario.storm.damage > 0.0 {
                    self.leave(who);
                }
            }
            Notice::KeysTaken => self.keys(who, true),
            Notice::KeysUnknown => self.keys(who, false),
            Notice::Registered(seconds) => {
                let until = now + Duration::from_secs(u64::from(*seconds));
                self.registered(who, Registered::Until(until));
            }
            Notice::Unregistered => self.registered(who, Registered::No),
            Notice::RegistrationFailed(status) => {
                self.registered(who, Registered::Unknown);
                let brief = *status == Some(423);
                if self.scenario.strict && !brief && !self.is_excused(who) {
                    self.fault(format_args!("p{who}: REGISTER failed with {status:?}"));
                }
            }
        }
    }

    fn registered(&mut self, who: usize, state: Registered) {
        // Damage may have made another binding of the request than the one that was asked for.
        let damaged = self.world.network.weather.damage > 0.0;
        let state = if damaged { Registered::Unknown } else { state };
        if let Some(person) = self.model.people.get_mut(who) {
            person.registered = state;
        }
    }

    fn is_excused(&self, who: usize) -> bool {
        self.excused.contains(&who)
    }

    /// What the name may stand for at this moment.
    pub(crate) fn standings(&self, room: &str) -> BTreeSet<u8> {
        let now = self.world.now;
        let mut all = BTreeSet::new();
        all.insert(match self.model.standing(room, now) {
            Standing::Free => FREE,
            Standing::Living => LIVING,
            Standing::Ended => ENDED,
        });
        if self.ending.contains(room) {
            all.extend([LIVING, ENDED]);
        }
        // The last one's BYE, or the end of the grace, may be noticed sooner or later.
        let emptying = match self.model.meetings.get(room) {
            Some(Meeting::Living { empty_until, .. }) => empty_until.is_some(),
            Some(Meeting::Ended { .. }) => false,
            None => false,
        };
        let others = |(at, dial): (usize, &Option<Dial>)| {
            dial.as_ref().is_some_and(|dial| dial.room == room) || self.leaving.contains(&at)
        };
        let lingers = self.lingering.get(room).is_some_and(|until| *until > now);
        let doubtful = self.model.doubtful.contains(room);
        if lingers
            || doubtful
            || emptying
            || self.dials.iter().enumerate().any(others)
            || !self.scenario.strict
        {
            all.extend([FREE, LIVING]);
        }
        all
    }

    fn joined(&mut self, who: usize, room: &str, creator: bool) {
        let dial = self.dials.get_mut(who).and_then(Option::take);
        if let Some(dial) = &dial {
            if dial.room != room {
                self.fault(format_args!("p{who} called {} and came to {room}", dial.room));
            }
            let mut standings = self.standings(room);
            standings.extend(&dial.standings);
            let from = if creator { FREE } else { LIVING };
            if !standings.contains(&from) && self.scenario.strict {
                self.fault(format_args!(
                    "p{who} came to {room} as {}, which cannot be",
                    if creator { "its maker" } else { "a guest" }
                ));
            }
            if dial.factory && !creator {
                self.fault(format_args!("p{who}: the factory let it in as a guest"));
            }
        }
        let now = self.world.now;
        self.model.joined(who, room, creator, now);
    }

    pub(crate) fn give_up_wish(&mut self, who: usize) {
        if let Some(wish) = self.wishes.get_mut(who) {
            *wish = None;
        }
    }

    fn ended(&mut self, who: usize, by: End, cause: Option<u16>) {
        let now = self.world.now;
        let room = self.model.people.get(who).and_then(|person| person.room.clone());
        let crossed = self
            .dials
            .get(who)
            .and_then(Option::as_ref)
            .map(|dial| dial.room.clone());
        if let Some(room) = &crossed {
            self.model.brushed(room);
        }
        // Its 200 crossed our CANCEL; or the server may notice later than we that the call is gone.
        if crossed.is_some() || by == End::Lost {
            self.lingers(who);
        }
        self.forget_call(who);
        self.model.left(who, now);
        let Some(room) = room else { return };
        self.vacated.push((room.clone(), now + SEAT_KEPT));
        if by == End::Focus && cause == Some(410) {
            if !self.ending.contains(&room) {
                self.fault(format_args!("p{who}: {room} was ended, and nobody ended it"));
            }
            self.model.ended(&room, now);
            self.give_up_wish(who);
            return;
        }
        // A request of the phone may find the call gone before the BYE has come.
        if by != End::Local && self.removed.remove(&who).is_some() {
            self.give_up_wish(who);
            return;
        }
        if by == End::Lost && self.ending.contains(&room) {
            return;
        }
        if by != End::Local && self.scenario.strict && !self.is_excused(who) {
            self.fault(format_args!(
                "p{who} lost its call in {room}: {by:?}, cause {cause:?}"
            ));
        }
    }

    fn forget_call(&mut self, who: usize) {
        if let Some(dial) = self.dials.get_mut(who) {
            *dial = None;
        }
        if let Some(keys) = self.keys.get_mut(who) {
            *keys = None;
        }
        self.leaving.remove(&who);
    }

    fn keys(&mut self, who: usize, taken: bool) {
        let now = self.world.now;
        let pressed = self.keys.get_mut(who).and_then(Option::take);
        let Some((keys, at)) = pressed else { return };
        let certain = taken && now.saturating_duration_since(at) < ONE_CODE;
        let Some(person) = self.model.people.get_mut(who) else {
            return;
        };
        match keys {
            "*6" if certain => person.muted = person.muted.map(|muted| !muted),
            "*6" => person.muted = None,
            _ => {
                let room = person.room.clone().filter(|_| person.creator && certain);
                if let Some(room) = room {
                    self.model.ended(&room, now);
                    for wish in self
                        .wishes
                        .iter_mut()
                        .filter(|wish| wish.as_deref() == Some(&*room))
                    {
                        *wish = None;
                    }
                }
            }
        }
    }

    /// Whether the phone shows a call in this room.
    pub(crate) fn shows(&self, who: usize, room: &str) -> bool {
        self.state(who) == CallState::In(room.to_owned())
    }
}
