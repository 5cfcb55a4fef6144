//! What people do through the API, and what the judges ask it.

use meet_server::focus::api::{
    ApiRefusal, ApiReply, ApiRequest, Authority, MeetingView, ParticipantStatus, RegistrationView,
};
use meet_server::focus::ids::LegId;

use crate::model::Standing;
use crate::run::{Run, Sabotage};
use crate::scenario::Action;

/// A participant as the judges want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) who: usize,
    pub(crate) leg: LegId,
    pub(crate) held: bool,
    pub(crate) muted: bool,
    pub(crate) creator: bool,
    pub(crate) confirmed: bool,
}

impl Run {
    /// Asks, and waits for the answer; asks again where the room is too busy.
    pub(crate) fn ask(&mut self, request: ApiRequest) -> Option<ApiReply> {
        for _ in 0..10 {
            match self.ask_once(request.clone())? {
                ApiReply::Refused(ApiRefusal::Busy) => {}
                reply => return Some(reply),
            }
        }
        None
    }

    fn ask_once(&mut self, request: ApiRequest) -> Option<ApiReply> {
        let now = self.world.now;
        let id = self.world.house.ask(request, now);
        // Longer than any latency inside the house, both ways.
        for _ in 0..20 {
            self.pass(std::time::Duration::from_millis(10));
            if let Some(reply) = self.world.house.reply(id) {
                return Some(reply);
            }
        }
        None
    }

    pub(crate) fn meetings(&mut self) -> Vec<MeetingView> {
        match self.ask(ApiRequest::List) {
            Some(ApiReply::Meetings(meetings)) => meetings,
            other => {
                self.fault(format_args!("the API does not list: {other:?}"));
                Vec::new()
            }
        }
    }

    pub(crate) fn registrations(&mut self) -> Vec<RegistrationView> {
        match self.ask(ApiRequest::Registrations) {
            Some(ApiReply::Registrations(all)) => all,
            _ => Vec::new(),
        }
    }

    /// Who is in a room, by the API.
    pub(crate) fn participants(&mut self, room: &str) -> Option<Vec<Seen>> {
        let name = room.to_owned();
        let reply = self.ask(ApiRequest::Participants { name })?;
        let ApiReply::Participants(views) = reply else {
            return None;
        };
        let seen = views.iter().map(|view| Seen {
            who: person_of(&view.uri).unwrap_or(usize::MAX),
            leg: view.leg,
            held: view.status == ParticipantStatus::OnHold,
            muted: view.muted,
            creator: view.creator,
            confirmed: view.status != ParticipantStatus::Joining,
        });
        Some(seen.collect())
    }

    pub(crate) fn api_action(&mut self, who: usize, action: Action) {
        match action {
            Action::ApiCreate(room) => {
                if let Some(room) = self.scenario.rooms.get(room).cloned() {
                    self.api_create(&room);
                }
            }
            Action::ApiEnd(room) => {
                if let Some(room) = self.scenario.rooms.get(room).cloned() {
                    self.api_end(&room);
                }
            }
            Action::ApiMute(muted) => self.api_mute(who, muted),
            Action::ApiRemove => self.api_remove(who),
            _ => {}
        }
    }

    fn api_create(&mut self, room: &str) {
        self.say(format_args!("the API makes {room}"));
        let before = self.standings(room);
        let name = Some(room.to_owned());
        let reply = self.ask(ApiRequest::Create { name, subject: None });
        let fits = match &reply {
            Some(ApiReply::Created { token, .. }) => {
                self.tokens.insert(room.to_owned(), token.clone());
                if self.model.members(room).is_empty() {
                    let now = self.world.now;
                    self.model.made(room, now);
                }
                before.contains(&0)
            }
            Some(ApiReply::Refused(ApiRefusal::NameInUse)) => before.contains(&1),
            Some(ApiReply::Refused(ApiRefusal::Ended)) => before.contains(&2),
            _ => false,
        };
        if !fits && self.scenario.strict {
            self.fault(format_args!(
                "the API made {room}: {reply:?}, the name stood for {before:?}"
            ));
        }
    }

    /// An administrator ends a room.
    pub(crate) fn api_end(&mut self, room: &str) {
        self.say(format_args!("the API ends {room}"));
        self.ending.insert(room.to_owned());
        let authority = Authority::Administrator;
        let name = room.to_owned();
        let reply = self.ask(ApiRequest::End { name, authority });
        if reply == Some(ApiReply::Done) {
            let now = self.world.now;
            self.model.ended(room, now);
            for wish in self
                .wishes
                .iter_mut()
                .filter(|wish| wish.as_deref() == Some(room))
            {
                *wish = None;
            }
        } else if self.model.standing(room, self.world.now) == Standing::Living
            && !self.model.members(room).is_empty()
            && self.scenario.strict
            && self.excused.is_empty()
        {
            self.fault(format_args!("the API cannot end {room}: {reply:?}"));
        }
    }

    fn api_mute(&mut self, who: usize, muted: bool) {
        let Some((room, seen)) = self.find(who) else {
            return;
        };
        self.say(format_args!("the API mutes p{who}: {muted}"));
        let request = ApiRequest::Mute {
            name: room,
            leg: seen.leg,
            muted,
            authority: Authority::Administrator,
        };
        let reply = if self.options.sabotage == Some(Sabotage::RefusedMute) {
            Some(ApiReply::Refused(ApiRefusal::NoSuchParticipant))
        } else {
            self.ask(request)
        };
        self.must_be_done(who, seen.leg, reply.as_ref());
        let pressing = self.keys.get(who).is_some_and(Option::is_some);
        if let Some(person) = self
            .model
            .people
            .get_mut(who)
            .filter(|person| person.room.is_some())
        {
            match reply {
                Some(ApiReply::Done) if !pressing => person.muted = Some(muted),
                Some(ApiReply::Refused(_)) if !pressing => {}
                _ => person.muted = None,
            }
        }
        if pressing && let Some(keys) = self.keys.get_mut(who) {
            *keys = None;
        }
    }

    fn api_remove(&mut self, who: usize) {
        let Some((room, seen)) = self.find(who) else {
            return;
        };
        self.say(format_args!("the API puts p{who} out"));
        let request = ApiRequest::Remove {
            name: room,
            leg: seen.leg,
            authority: Authority::Administrator,
        };
        self.removed.insert(who, seen.leg);
        let reply = if self.options.sabotage == Some(Sabotage::IgnoredRemove) {
            Some(ApiReply::Done)
        } else {
            self.ask(request)
        };
        self.must_be_done(who, seen.leg, reply.as_ref());
    }

    /// What an administrator asks for somebody who is there is not refused.
    fn must_be_done(&mut self, who: usize, leg: LegId, reply: Option<&ApiReply>) {
        let may_be_refused = !self.scenario.strict || !self.excused.is_empty();
        if reply == Some(&ApiReply::Done) || may_be_refused {
            return;
        }
        // Whoever left meanwhile is not found, rightly.
        if self.find(who).is_some_and(|(_, seen)| seen.leg == leg) {
            self.fault(format_args!(
                "the API does nothing to p{who}, who is there: {reply:?}"
            ));
        }
    }

    /// Whoever was put out is gone by the calm.
    pub(crate) fn judge_removals(&mut self) {
        for (who, leg) in std::mem::take(&mut self.removed) {
            if self.scenario.strict && self.find(who).is_some_and(|(_, seen)| seen.leg == leg) {
                self.fault(format_args!("p{who} was put out and is still there"));
            }
        }
    }

    /// The room of a person who is in one and is not about to leave, and the leg there.
    fn find(&mut self, who: usize) -> Option<(String, Seen)> {
        let room = self.model.people.get(who)?.room.clone()?;
        if !self.shows(who, &room) {
            return None;
        }
        let seen = self.participants(&room)?;
        let seen = seen.into_iter().find(|seen| seen.who == who)?;
        Some((room, seen))
    }
}

/// The person that a URI names.
pub(crate) fn person_of(uri: &str) -> Option<usize> {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split('@').next()?.strip_prefix('p')?.parse().ok()
}
