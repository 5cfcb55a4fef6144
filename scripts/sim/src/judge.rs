//! The judges: system against model in the calm, ears against model, and an empty house at the end.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::person_of;
use crate::house::Leftovers;
use crate::model::{Registered, Silence, Standing};
use crate::peer::{PhoneLeftovers, RTP_PORT};
use crate::run::{Run, Sabotage};
use crate::world::address;

/// People of one room who speak at a time: below what a room mixes, so that nobody is rightly left out.
const MOST_SPEAKERS: usize = 10;

/// Until everybody has their place in the mix: jitter buffers, loudness, latching.
const WARM_UP: Duration = Duration::from_millis(1_200);

/// What is judged.
const RECORDING: Duration = Duration::from_millis(400);

/// From this amplitude on a tone is heard.
const HEARD: f32 = 0.06;

/// Below this it is not heard. Between the two nothing should be.
const UNHEARD: f32 = 0.03;

/// The longest delay of a jitter buffer on a quiet network.
const MOST_DELAY: Duration = Duration::from_millis(80);

impl Run {
    /// In the calm the server, the phones and the model are of one mind. `settled`: nobody came or went for long.
    pub(crate) fn agree(&mut self, settled: bool) {
        self.say("== judged");
        self.look();
        self.phones_agree();
        let meetings = self.meetings();
        for meeting in &meetings {
            if !self.scenario.rooms.contains(&meeting.name) {
                self.fault(format_args!("a room that nobody wanted: {}", meeting.name));
            }
        }
        for room in self.scenario.rooms.clone() {
            let living = meetings.iter().any(|meeting| meeting.name == room);
            self.judged.rooms += 1;
            let now = self.world.now;
            let empty = self.model.members(&room).is_empty();
            if empty && (self.model.doubtful.remove(&room) || self.is_about_to_end(&room)) {
                self.judged.rooms_asked += 1;
                self.model.settle(&room, living, now);
            }
            if !empty && settled {
                self.model.confirm(&room);
            }
            let expected = self.model.standing(&room, self.world.now);
            if living != (expected == Standing::Living) {
                self.fault(format_args!(
                    "{room} lives: {living}, in the model it is {expected:?}"
                ));
            }
            self.people_agree(&room, living);
            let members = self.model.members(&room).len();
            if self.scenario.most_members.is_some_and(|most| members > most) {
                self.fault(format_args!("{room} is overfull: {members}"));
            }
        }
        self.legs_agree();
        self.rosters_agree();
        self.registrations_agree();
    }

    /// What a phone shows is what its person believes.
    fn phones_agree(&mut self) {
        for who in 0..self.world.peers.len() {
            let believed = self.model.people.get(who).and_then(|person| person.room.clone());
            let shown = match self.state(who) {
                crate::peer::CallState::In(room) => Some(room),
                crate::peer::CallState::Idle => None,
                other => {
                    self.fault(format_args!("p{who} is still {other:?}"));
                    continue;
                }
            };
            if shown != believed {
                self.fault(format_args!(
                    "p{who} shows {shown:?}, the model says {believed:?}"
                ));
            }
        }
    }

    fn people_agree(&mut self, room: &str, living: bool) {
        let seen = if living {
            self.participants(room).unwrap_or_default()
        } else {
            Vec::new()
        };
        let there: BTreeSet<usize> = seen.iter().map(|seen| seen.who).collect();
        let members = self.model.members(room);
        if there != members || there.len() != seen.len() {
            let list: Vec<usize> = seen.iter().map(|seen| seen.who).collect();
            self.fault(format_args!("in {room} are {list:?}, in the model {members:?}"));
        }
        for seen in seen {
            let Some(person) = self.model.people.get_mut(seen.who) else {
                continue;
            };
            // What nobody could know is settled now.
            self.judged.mutes += 1;
            self.judged.mutes_asked += usize::from(person.muted.is_none());
            let muted = *person.muted.get_or_insert(seen.muted);
            let (held, creator) = (person.held, person.creator);
            let who = seen.who;
            if !seen.confirmed {
                self.fault(format_args!("p{who} in {room} never got confirmed"));
            }
            if (held, muted, creator) != (seen.held, seen.muted, seen.creator) {
                self.fault(format_args!(
                    "p{who} in {room}: held {}, muted {}, creator {}; in the model {held}, {muted}, {creator}",
                    seen.held, seen.muted, seen.creator
                ));
            }
        }
    }

    /// In strict seeds no subscription may have been lost.
    fn rosters_agree(&mut self) {
        if !self.scenario.strict || !self.excused.is_empty() {
            return;
        }
        for who in 0..self.world.peers.len() {
            let Some(room) = self.model.people.get(who).and_then(|person| person.room.clone()) else {
                continue;
            };
            let roster = self.world.peers.get(who).and_then(|peer| peer.roster());
            let shown: Option<BTreeSet<usize>> =
                roster.map(|uris| uris.iter().filter_map(|uri| person_of(uri)).collect());
            let members = self.model.members(&room);
            if shown.as_ref() != Some(&members) {
                self.fault(format_args!(
                    "p{who}'s roster of {room} shows {shown:?}, there are {members:?}"
                ));
            }
        }
    }

    fn registrations_agree(&mut self) {
        let now = self.world.now;
        let slack = Duration::from_secs(5);
        let bound: BTreeSet<usize> = self
            .registrations()
            .iter()
            .filter_map(|registration| person_of(&registration.aor))
            .collect();
        for who in 0..self.world.peers.len() {
            let Some(state) = self.model.people.get(who).map(|person| person.registered) else {
                continue;
            };
            self.judged.registrations += 1;
            let wrong = match state {
                Registered::Unknown => {
                    self.judged.registrations_unknown += 1;
                    false
                }
                Registered::No => bound.contains(&who),
                Registered::Until(until) if until > now + slack => !bound.contains(&who),
                Registered::Until(until) if until + slack < now => bound.contains(&who),
                Registered::Until(_) => false,
            };
            if wrong {
                self.fault(format_args!(
                    "p{who}: registered is {}, in the model {state:?}",
                    bound.contains(&who)
                ));
            }
        }
    }

    /// Everybody speaks, some at a time; everybody hears whom the model says.
    pub(crate) fn hearing(&mut self, talk: Option<Duration>) {
        self.say("== hearing");
        self.world.set_media(true);
        let mut turns = self.turns();
        let mut rebinds = self.scenario.sound_rebinds;
        while let Some(speakers) = turns.pop() {
            for (who, peer) in self.world.peers.iter_mut().enumerate() {
                peer.ear.speaking = speakers.contains(&who);
            }
            if let Some(talk) = talk.filter(|_| turns.is_empty()) {
                self.say(format_args!("everybody talks for {talk:?}"));
                self.pass(talk);
            }
            self.listen(&speakers);
            if std::mem::take(&mut rebinds) && self.rebind_sound() {
                self.listen(&speakers);
            }
        }
        self.protection_agrees();
        let delay = self.world.house.longest_delay();
        if delay > MOST_DELAY {
            self.fault(format_args!("a jitter buffer adds {delay:?} on a quiet network"));
        }
        for peer in &mut self.world.peers {
            peer.ear.speaking = false;
        }
        self.world.set_media(false);
    }

    fn listen(&mut self, speakers: &BTreeSet<usize>) {
        self.pass(WARM_UP);
        self.world.peers.iter_mut().for_each(|peer| peer.ear.record());
        self.pass(RECORDING);
        self.judge_ears(speakers);
    }

    /// The translators give all sound new ports in the middle of a talk; nobody but they know. Whether any did.
    fn rebind_sound(&mut self) -> bool {
        let mut any = false;
        for who in 0..self.world.peers.len() {
            if self.world.network.rebind_port(address(who, false), RTP_PORT) {
                self.say(format_args!("p{who}'s sound gets a new port"));
                any = true;
            }
        }
        any
    }

    /// Who insists on SRTP has it, nobody else has.
    fn protection_agrees(&mut self) {
        for (who, character) in self.scenario.people.clone().iter().enumerate() {
            let in_room = self
                .model
                .people
                .get(who)
                .is_some_and(|person| person.room.is_some());
            let secure = self.world.peers.get(who).is_some_and(|peer| peer.ear.is_secure());
            if in_room && secure != character.secure {
                self.fault(format_args!(
                    "p{who}'s sound is protected: {secure}, and not as agreed on"
                ));
            }
        }
    }

    /// Who speaks together: all of a small room at once, of a large one a part after the other, two parts at most.
    fn turns(&self) -> Vec<BTreeSet<usize>> {
        let mut turns = vec![BTreeSet::new()];
        for room in &self.scenario.rooms {
            let members: Vec<usize> = self.model.members(room).into_iter().collect();
            for (turn, part) in members.chunks(MOST_SPEAKERS).take(2).enumerate() {
                if turns.len() <= turn {
                    turns.push(BTreeSet::new());
                }
                if let Some(set) = turns.get_mut(turn) {
                    set.extend(part);
                }
            }
        }
        turns
    }

    fn judge_ears(&mut self, speakers: &BTreeSet<usize>) {
        let people = self.world.peers.len();
        for who in 0..people {
            let Some(peer) = self.world.peers.get_mut(who) else {
                continue;
            };
            let levels = peer.ear.stop(people);
            let mut expected = self.model.must_hear(who, speakers);
            if self.options.sabotage == Some(Sabotage::WrongModel) {
                expected.extend(
                    self.model
                        .people
                        .iter()
                        .enumerate()
                        .filter_map(|(other, person)| {
                            (person.muted == Some(true) && other != who).then_some(other)
                        }),
                );
            }
            self.heard_pairs += expected.len();
            if self.world.trace.wants_lines() {
                let list: Vec<String> = levels.iter().map(|level| format!("{level:.3}")).collect();
                self.say_line(format_args!("p{who} hears {}", list.join(" ")));
            }
            for (other, level) in levels.iter().enumerate() {
                let must = expected.contains(&other);
                self.margins.add(must, *level);
                if must && *level < HEARD {
                    self.fault(format_args!("p{who} does not hear p{other}: {level:.4}"));
                }
                if !must && *level > UNHEARD {
                    let why = self
                        .model
                        .silence(who, other, speakers)
                        .map_or("who is to be heard", Silence::as_str);
                    self.fault(format_args!("p{who} hears p{other}, {why}: {level:.4}"));
                }
            }
        }
    }

    /// Nobody is left: neither is anything of them.
    pub(crate) fn empty(&mut self) {
        let left = self.world.house.leftovers();
        if left != Leftovers::default() {
            self.fault(format_args!("the server keeps {left:?}"));
        }
        if self.world.house.mixed() > 0 {
            self.fault("legs are left in a mixer");
        }
        let (present, open) = (self.world.house.store.present, self.world.house.store.open());
        if (present, open) != (0, 0) {
            self.fault(format_args!(
                "the log has {present} people and {open} meetings that never went"
            ));
        }
        for who in 0..self.world.peers.len() {
            let left = self.world.peers.get(who).and_then(|peer| peer.leftovers());
            if let Some(left) = left.filter(|left| *left != PhoneLeftovers::default()) {
                self.fault(format_args!("p{who}'s phone keeps {left:?}"));
            }
        }
    }

    /// Long after the last one went, when every name is free again and every registration over, nothing is waited for.
    pub(crate) fn asleep(&mut self) {
        if let Some((_, why)) = self.world.house.poll_timeout() {
            self.fault(format_args!("the server still waits for something: {why}"));
        }
        let bound = self.registrations();
        if !bound.is_empty() {
            self.fault(format_args!("registrations outlive their time: {bound:?}"));
        }
    }

    /// The mixers have a leg for each person in a room, and the endpoint a session; nobody else has either.
    fn legs_agree(&mut self) {
        let people = self
            .model
            .people
            .iter()
            .filter(|person| person.room.is_some())
            .count();
        let (legs, left) = (self.world.house.mixed(), self.world.house.leftovers());
        let sessions = left.endpoint.sessions;
        if (legs, sessions) != (people, people) {
            self.fault(format_args!(
                "{people} people are in rooms; there are {legs} legs in the mixers and {sessions} sessions"
            ));
        }
    }
}
