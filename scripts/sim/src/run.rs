//! One run of a seed: storms in which things happen, calms in which all is judged, and an empty house at the end.
//!
//! | phase | what happens | what is judged |
//! |---|---|---|
//! | storm | the scenario's actions in its weather | invariants; in strict seeds every wish |
//! | calm | the network heals, time passes | system = model (`judge`) |
//! | return | who lost a call dials again | every wish |
//! | hearing | 20 ms ticks, tones | who hears whom = model (`judge`) |
//! | end | everybody leaves or vanishes | nothing is left |

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use meet_server::config::{Config, SrtpMode};
use meet_server::focus::ids::LegId;

use crate::dice::Dice;
use crate::house::{Broken, House};
use crate::model::{Model, Registered, Standing};
use crate::network::Weather;
use crate::peer::{Brain, CallState, Habits, Line, MeetPhone, Peer, PlainPhone};
use crate::report::{Judged, Margins, Report};
use crate::scenario::{Action, Character, Scenario, Step};
use crate::trace::Trace;
use crate::world::{SERVER, World, address};

/// Every account's password.
const PASSWORD: &str = "open sesame";

/// After so long the server has forgotten every name and every registration: longer than any that is asked for.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// How the run is watched, and whether the simulator itself is on trial.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Print the trace.
    pub loud: bool,
    /// Keep the last lines of the trace.
    pub keep: bool,
    /// Break something on purpose: the simulator must notice.
    pub sabotage: Option<Sabotage>,
}

/// What can be broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The sound of the first person never reaches the mixer.
    DeafMixer,
    /// The model believes that the muted are heard.
    WrongModel,
    /// The mixer keeps the legs that are gone.
    LeakyMixer,
    /// The mixer keeps the first leg that is gone.
    LeakedLeg,
    /// The mixer is not told of mutes.
    IgnoredMute,
    /// The mixer is not told of holds.
    IgnoredHold,
    /// Somebody is sent what another room hears.
    CrossedRooms,
    /// The API refuses to mute anybody.
    RefusedMute,
    /// The API says that somebody was put out, and puts out nobody.
    IgnoredRemove,
    /// A phone never hangs up.
    ClingingPhone,
    /// BYEs to the server are lost on the way, all of them.
    SwallowedBye,
}

/// A call on its way in.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    pub(crate) room: String,
    pub(crate) factory: bool,
    /// What the name may have stood for meanwhile.
    pub(crate) standings: BTreeSet<u8>,
    pub(crate) given_up: bool,
    /// The room may have been full when the call was made.
    pub(crate) full: bool,
}

/// A run under way.
pub struct Run {
    pub(crate) world: World,
    pub(crate) model: Model,
    pub(crate) scenario: Scenario,
    pub(crate) faults: Vec<String>,
    pub(crate) dials: Vec<Option<Dial>>,
    /// Keys pressed and when.
    pub(crate) keys: Vec<Option<(&'static str, Instant)>>,
    /// Who hung up.
    pub(crate) leaving: BTreeSet<usize>,
    /// Rooms that somebody left, and until when the server may not know it: BYEs are lost.
    pub(crate) vacated: Vec<(String, Instant)>,
    /// Who may lose a call without a fault of the system.
    pub(crate) excused: BTreeSet<usize>,
    /// Rooms that somebody is ending.
    pub(crate) ending: BTreeSet<String>,
    /// Rooms that may live longer than anybody can see, and until when: a call that never came about made them, or the
    /// server has not yet noticed that somebody is gone.
    pub(crate) lingering: BTreeMap<String, Instant>,
    /// Whoever the API is putting out, by the leg.
    pub(crate) removed: BTreeMap<usize, LegId>,
    /// Where everybody wants to be.
    pub(crate) wishes: Vec<Option<String>>,
    pub(crate) tokens: BTreeMap<String, String>,
    pub(crate) heard_pairs: usize,
    pub(crate) judged: Judged,
    pub(crate) margins: Margins,
    pub(crate) options: Options,
    dice: Dice,
    later: BTreeMap<(Instant, u64), Later>,
    number: u64,
}

/// Something that was put off.
enum Later {
    HangUp(usize),
    Start(usize),
    Mend(usize),
}

/// Runs a seed.
pub fn run(seed: u64, options: Options) -> Report {
    let start = Instant::now();
    let mut run = Run::new(Scenario::draw(seed), options, start);
    run.play();
    let trace = if run.faults.is_empty() {
        Vec::new()
    } else {
        run.world.trace.last_lines().map(str::to_owned).collect()
    };
    Report {
        seed,
        people: run.scenario.people.len(),
        fingerprint: run.world.trace.fingerprint(),
        virtual_seconds: run.world.elapsed().as_secs_f64(),
        datagrams: run.world.network.traffic.sent,
        heard_pairs: run.heard_pairs,
        judged: run.judged,
        margins: run.margins,
        faults: run.faults,
        trace,
    }
}

fn config(scenario: &Scenario) -> Config {
    let mut config = Config {
        lan: !scenario.accounts,
        ..Config::default()
    };
    if let Some(most) = scenario.most_members {
        config.meetings.max_members = most;
    }
    // For who insists on it, whatever the house asks of others.
    config.media.srtp = if scenario.srtp {
        SrtpMode::Optional
    } else {
        SrtpMode::Off
    };
    config
}

impl Run {
    /// Sets the scene; nobody has a phone on yet.
    pub fn new(scenario: Scenario, options: Options, start: Instant) -> Self {
        let seed = scenario.seed;
        let mut dice = Dice::new(seed, "run");
        let house_dice = Dice::new(seed, "house");
        let mut house = House::new(SERVER, config(&scenario), scenario.latency, house_dice, start);
        let count = scenario.people.len();
        let one = |(who, character): (usize, &Character)| {
            let addr = SocketAddr::new(address(who, false), 5060);
            Peer::new(who, addr, character.ppm, dice.below(u64::MAX))
        };
        let peers: Vec<Peer> = scenario.people.iter().enumerate().map(one).collect();
        if scenario.accounts {
            peers
                .iter()
                .for_each(|peer| house.store.add_account(&peer.name, PASSWORD));
        }
        let trace = Trace::new(start, options.loud, options.keep);
        let mut world = World::new(seed, house, peers, trace, start);
        for (who, character) in scenario.people.iter().enumerate() {
            if character.translated {
                world.network.translate(address(who, false), address(who, true));
            }
        }
        world.house.broken = match options.sabotage {
            Some(Sabotage::DeafMixer) => {
                let outside = scenario.people.first().is_some_and(|first| first.translated);
                Some(Broken::DeafTo(address(0, outside)))
            }
            Some(Sabotage::LeakyMixer) => Some(Broken::Leaky),
            Some(Sabotage::LeakedLeg) => Some(Broken::LeaksOne),
            Some(Sabotage::IgnoredMute) => Some(Broken::IgnoresMute),
            Some(Sabotage::IgnoredHold) => Some(Broken::IgnoresHold),
            Some(Sabotage::CrossedRooms) => Some(Broken::Crossed),
            Some(
                Sabotage::WrongModel
                | Sabotage::RefusedMute
                | Sabotage::IgnoredRemove
                | Sabotage::SwallowedBye
                | Sabotage::ClingingPhone,
            )
            | None => None,
        };
        world.swallow_bye = options.sabotage == Some(Sabotage::SwallowedBye);
        let mut run = Self {
            world,
            model: Model::new(count),
            faults: Vec::new(),
            dials: vec![None; count],
            keys: vec![None; count],
            leaving: BTreeSet::new(),
            vacated: Vec::new(),
            excused: BTreeSet::new(),
            ending: BTreeSet::new(),
            lingering: BTreeMap::new(),
            removed: BTreeMap::new(),
            wishes: vec![None; count],
            tokens: BTreeMap::new(),
            heard_pairs: 0,
            judged: Judged::NOTHING,
            margins: Margins::NONE,
            options,
            dice,
            later: BTreeMap::new(),
            number: 0,
            scenario,
        };
        (0..count).for_each(|who| run.switch_on(who));
        run
    }

    fn play(&mut self) {
        let rounds = self.scenario.rounds.clone();
        let last = rounds.len().saturating_sub(1);
        for (number, round) in rounds.into_iter().enumerate() {
            let storm = self.scenario.storm;
            self.world.network.weather = storm;
            self.world.house.set_full(self.scenario.latency.full);
            self.say(format_args!("== storm {storm:?}"));
            self.storm(&round);
            self.calm();
            self.agree(true);
            self.return_all();
            self.agree(false);
            let talk = self.scenario.talk.filter(|_| number == last);
            self.hearing(talk);
            if !self.faults.is_empty() {
                return;
            }
        }
        self.end();
    }

    /// A fault; the run goes on to the end of its phase.
    pub(crate) fn fault(&mut self, what: impl std::fmt::Display) {
        self.say(format_args!("!! {what}"));
        if self.faults.len() < 20 {
            self.faults.push(what.to_string());
        }
    }

    /// A line for the reader alone.
    pub(crate) fn say_line(&mut self, text: impl std::fmt::Display) {
        let now = self.world.now;
        self.world.trace.line(now, text);
    }

    pub(crate) fn say(&mut self, text: impl std::fmt::Display) {
        let now = self.world.now;
        self.world.trace.say(now, text);
    }

    fn switch_on(&mut self, who: usize) {
        let Some(character) = self.scenario.people.get(who).copied() else {
            return;
        };
        let (kind, seed) = (self.scenario.codec, self.dice.seed());
        let password = if self.scenario.accounts { PASSWORD } else { "" };
        let server = self.world.house.sip();
        let Some(peer) = self.world.peers.get_mut(who) else {
            return;
        };
        peer.starts += 1;
        let habits = Habits {
            offerless: character.offerless,
            watches: true,
            kind,
            secure: character.secure,
        };
        peer.brain = Some(if character.meet {
            Brain::Meet(MeetPhone::new(
                &peer.name, password, peer.addr, server, habits, seed,
            ))
        } else {
            let line = Line {
                name: peer.name.clone(),
                password: password.to_owned(),
                addr: peer.addr,
                server,
                start: peer.starts,
            };
            Brain::Plain(PlainPhone::new(line, habits, seed))
        });
    }

    /// Lets time pass to `end` and looks at all that happens on the way.
    pub(crate) fn pass_until(&mut self, end: Instant) {
        loop {
            let next = self.later.first_key_value().map(|((at, _), _)| *at);
            let stop = next.map_or(end, |at| at.min(end));
            self.world.run_until_notice(stop);
            self.look();
            if self.world.now >= stop {
                if let Some(entry) = self.later.first_entry()
                    && entry.key().0 <= self.world.now
                {
                    let later = entry.remove();
                    self.do_later(&later);
                } else if self.world.now >= end {
                    return;
                }
            }
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.pass_until(self.world.now + time);
    }

    fn put_off(&mut self, time: Duration, later: Later) {
        self.number += 1;
        self.later.insert((self.world.now + time, self.number), later);
    }

    fn do_later(&mut self, later: &Later) {
        match *later {
            Later::HangUp(who) => self.leave(who),
            Later::Start(who) => {
                if self.world.peers.get(who).is_some_and(|peer| peer.brain.is_none()) {
                    self.say(format_args!("p{who} is switched on"));
                    self.switch_on(who);
                }
            }
            Later::Mend(who) => self.world.network.set_cut(address(who, false), false),
        }
    }

    fn storm(&mut self, steps: &[Step]) {
        let begin = self.world.now;
        for step in steps {
            self.pass_until(begin + step.at);
            self.act(step.who, step.action);
        }
        self.pass(Duration::from_secs(2));
    }

    /// The network heals; long enough for everybody to notice everything.
    fn calm(&mut self) {
        self.say("== calm");
        self.world.network.weather = Weather::FINE;
        self.world.network.mend();
        self.world.house.set_full(0.0);
        self.pass(Duration::from_secs(70));
        // Nobody waits for ever for a phone that rings nowhere.
        for who in 0..self.world.peers.len() {
            if self.state(who) == CallState::Calling {
                self.leave(who);
            }
        }
        self.pass(Duration::from_secs(230));
        self.excused.clear();
        self.ending.clear();
        self.lingering.clear();
        self.judge_removals();
        for who in 0..self.world.peers.len() {
            if self.world.peers.get(who).is_some_and(|peer| peer.brain.is_none()) {
                self.switch_on(who);
            }
        }
    }

    /// Whoever lost the room that they wanted to be in goes back, on a network without faults.
    fn return_all(&mut self) {
        self.say("== return");
        let was_strict = std::mem::replace(&mut self.scenario.strict, true);
        for who in 0..self.world.peers.len() {
            let Some(room) = self.wishes.get(who).cloned().flatten() else {
                continue;
            };
            if self.state(who) == CallState::Idle {
                let now = self.world.now;
                let free = self.model.standing(&room, now) == Standing::Free;
                self.dial(who, &room, self.scenario.accounts && free);
                self.pass(Duration::from_millis(300));
            }
        }
        self.pass(Duration::from_secs(5));
        self.scenario.strict = was_strict;
    }

    /// Everybody goes, some without a word; nothing may be left.
    fn end(&mut self) {
        self.say("== end");
        let clinging = (self.options.sabotage == Some(Sabotage::ClingingPhone))
            .then(|| (0..self.world.peers.len()).find(|who| matches!(self.state(*who), CallState::In(_))));
        for who in 0..self.world.peers.len() {
            if clinging.flatten() == Some(who) {
                continue;
            }
            if self.dice.chance(0.25) {
                self.vanish(who);
            } else {
                self.leave(who);
                let now = self.world.now;
                if let Some(peer) = self.world.peers.get_mut(who) {
                    peer.unregister(now);
                }
            }
        }
        for room in self.scenario.rooms.clone() {
            let members = self.model.members(&room);
            let waiting = self.model.standing(&room, self.world.now) == Standing::Living;
            if members.is_empty() && waiting {
                self.api_end(&room);
            }
        }
        self.pass(Duration::from_secs(300));
        self.empty();
        self.pass(FORGOTTEN);
        self.asleep();
    }

    pub(crate) fn state(&self, who: usize) -> CallState {
        self.world.peers.get(who).map_or(CallState::Idle, Peer::state)
    }

    pub(crate) fn dial(&mut self, who: usize, room: &str, factory: bool) -> bool {
        let now = self.world.now;
        let standings = self.standings(room);
        let dialled = self
            .world
            .peers
            .get_mut(who)
            .is_some_and(|peer| peer.dial(room, factory, now));
        if dialled {
            self.say(format_args!(
                "p{who} calls {room}{}",
                if factory { " by the factory" } else { "" }
            ));
            let dial = Dial {
                room: room.to_owned(),
                factory,
                standings,
                given_up: false,
                full: self.may_be_full(room),
            };
            if let Some(place) = self.dials.get_mut(who) {
                *place = Some(dial);
            }
            self.crowd(room);
            if let Some(wish) = self.wishes.get_mut(who) {
                *wish = Some(room.to_owned());
            }
        }
        dialled
    }

    pub(crate) fn leave(&mut self, who: usize) {
        let now = self.world.now;
        if let Some(wish) = self.wishes.get_mut(who) {
            *wish = None;
        }
        match self.state(who) {
            CallState::Idle | CallState::Leaving => return,
            CallState::Calling => {
                if let Some(Some(dial)) = self.dials.get_mut(who) {
                    dial.given_up = true;
                }
            }
            CallState::In(_) => {}
        }
        self.say(format_args!("p{who} hangs up"));
        self.leaving.insert(who);
        if let Some(peer) = self.world.peers.get_mut(who) {
            peer.hang_up(now);
        }
    }

    fn vanish(&mut self, who: usize) {
        let now = self.world.now;
        let on = self.world.peers.get(who).is_some_and(|peer| peer.brain.is_some());
        if !on {
            return;
        }
        self.say(format_args!("p{who} loses power"));
        let peer = self.world.peers.get(who);
        let asking = peer
            .and_then(Peer::leftovers)
            .is_some_and(|left| left.endpoint.client_transactions > 0);
        if let Some(peer) = self.world.peers.get_mut(who) {
            peer.die();
        }
        self.lingers(who);
        self.forget(who);
        self.model.left(who, now);
        if let Some(person) = self.model.people.get_mut(who).filter(|_| asking) {
            // A refresh may have been under way.
            person.registered = Registered::Unknown;
        }
    }

    /// The phone knows nothing any more of what it did.
    pub(crate) fn forget(&mut self, who: usize) {
        if let Some(dial) = self.dials.get_mut(who) {
            *dial = None;
        }
        if let Some(keys) = self.keys.get_mut(who) {
            *keys = None;
        }
        self.leaving.remove(&who);
    }

    fn act(&mut self, who: usize, action: Action) {
        let now = self.world.now;
        match action {
            Action::Join(room) => self.join(who, room, false),
            Action::Create(room) => self.join(who, room, true),
            Action::JoinAndCancel(room, soon) => {
                if self.state(who) == CallState::Idle {
                    self.join(who, room, false);
                    self.put_off(soon, Later::HangUp(who));
                }
            }
            Action::Leave => self.leave(who),
            Action::HoldAndLeave(soon) => {
                self.desk(who, |phone| phone.hold(crate::peer::HoldKind::SendOnly, now));
                self.put_off(soon, Later::HangUp(who));
            }
            Action::Hold(kind) => {
                self.desk(who, |phone| phone.hold(kind, now));
            }
            Action::Resume { update } => {
                self.desk(who, |phone| phone.resume(update, now));
            }
            Action::Mute => self.press(who, "*6"),
            Action::End => self.press(who, "*0#"),
            Action::Vanish => self.vanish(who),
            Action::Restart(pause) => {
                self.vanish(who);
                self.put_off(pause, Later::Start(who));
            }
            Action::Cut(time) => {
                self.say(format_args!("p{who} is cut off for {time:?}"));
                self.world.network.set_cut(address(who, false), true);
                self.excused.insert(who);
                self.put_off(time, Later::Mend(who));
            }
            Action::Rebind => {
                self.say(format_args!("p{who} gets new ports"));
                self.world.network.rebind(address(who, false));
                self.excused.insert(who);
            }
            Action::Register(seconds) => {
                self.doubt_registration(who);
                if let Some(peer) = self.world.peers.get_mut(who) {
                    peer.register(seconds, now);
                }
            }
            Action::Unregister => {
                self.doubt_registration(who);
                if let Some(peer) = self.world.peers.get_mut(who) {
                    peer.unregister(now);
                }
            }
            Action::ServerRestart => self.restart_server(),
            other => self.api_action(who, other),
        }
    }

    fn doubt_registration(&mut self, who: usize) {
        let on = self.world.peers.get(who).is_some_and(|peer| peer.brain.is_some());
        if let Some(person) = self.model.people.get_mut(who).filter(|_| on) {
            person.registered = Registered::Unknown;
        }
    }

    fn join(&mut self, who: usize, room: usize, factory: bool) {
        if let Some(room) = self.scenario.rooms.get(room).cloned()
            && self.state(who) == CallState::Idle
        {
            self.dial(who, &room, factory);
        }
    }

    fn desk(&mut self, who: usize, work: impl FnOnce(&mut PlainPhone) -> bool) -> bool {
        let phone = self.world.peers.get_mut(who).and_then(Peer::plain);
        let done = phone.is_some_and(work);
        if done {
            self.say(format_args!("p{who} makes an offer"));
        }
        done
    }

    fn press(&mut self, who: usize, keys: &'static str) {
        let now = self.world.now;
        let pressed = self
            .world
            .peers
            .get_mut(who)
            .and_then(Peer::plain)
            .is_some_and(|phone| phone.press(keys, now));
        if !pressed {
            return;
        }
        self.say(format_args!("p{who} presses {keys}"));
        if let Some(place) = self.keys.get_mut(who) {
            *place = Some((keys, now));
        }
        let person = self.model.people.get(who);
        if let Some(room) = person
            .filter(|p| p.creator && keys == "*0#")
            .and_then(|p| p.room.clone())
        {
            self.ending.insert(room);
        }
    }
}
