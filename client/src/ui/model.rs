//! What the interface knows: made of events and keys, drawn by [`super::draw`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::keys::{Action, Key};
use crate::cli::events::{Event, Person, StatsLine};
use crate::media::sample::FLOOR_DB;

/// Volume steps of 10 %, up to 200 %.
const VOLUME_STEP: u16 = 10;
const VOLUME_MOST: u16 = 200;
/// Notices kept; the newest are shown.
const NOTICES: usize = 50;
/// How fast a meter falls, in dB for each update (ten a second).
const METER_FALL: f32 = 3.0;

/// How far the call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting(String),
    Rings(String),
    InCall(String),
    Over(String),
}

/// Everything that is drawn.
#[derive(Debug)]
pub(super) struct Model {
    pub phase: Phase,
    pub people: Vec<Person>,
    pub speaker: Option<String>,
    pub heard_db: f32,
    pub sent_db: f32,
    pub muted: bool,
    pub held: bool,
    /// This side holds the call.
    pub holding: bool,
    pub volume: u16,
    pub stats: Option<StatsLine>,
    pub show_stats: bool,
    pub show_help: bool,
    pub notices: VecDeque<String>,
    pub digits: String,
    pub scroll: usize,
    pub codec: String,
    pub since: Option<Instant>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Waiting("starting".to_owned()),
            people: Vec::new(),
            speaker: None,
            heard_db: FLOOR_DB,
            sent_db: FLOOR_DB,
            muted: false,
            held: false,
            holding: false,
            volume: 100,
            stats: None,
            show_stats: false,
            show_help: false,
            notices: VecDeque::new(),
            digits: String::new(),
            scroll: 0,
            codec: String::new(),
            since: None,
        }
    }

    /// Takes an event.
    pub(super) fn take(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Registered { aor, .. } => {
                if !matches!(self.phase, Phase::InCall(_) | Phase::Rings(_)) {
                    self.phase = Phase::Waiting(format!("registered as {aor}, waiting for calls"));
                }
            }
            Event::Unregistered { aor } => self.notice(format!("unregistered {aor}")),
            Event::Calling { target } => self.phase = Phase::Waiting(format!("calling {target}")),
            Event::Ringing { status } => self.notice(format!("ringing ({status})")),
            Event::Incoming { from, answered } => {
                self.notice(format!("call from {from}"));
                if !answered {
                    self.phase = Phase::Rings(from.clone());
                }
            }
            Event::Created { room, token } => {
                self.notice(format!("meeting {room}"));
                if let Some(token) = token {
                    self.notice(format!("token {token}"));
                }
            }
            Event::Joined { room, codec, .. } => {
                self.phase = Phase::InCall(room.clone());
                self.codec = codec.clone();
                self.since = Some(now);
            }
            Event::People { people, .. } => self.people = people.clone(),
            Event::Speaking { name, uri } => {
                self.speaker = name.clone();
                for person in &mut self.people {
                    person.speaking = uri.as_deref() == Some(person.uri.as_str());
                }
            }
            Event::Hold { held } => {
                self.held = *held;
                self.notice(if *held { "on hold" } else { "resumed" }.to_owned());
            }
            Event::Holding { holding } => {
                self.holding = *holding;
                let text = if *holding {
                    "you hold the call"
                } else {
                    "you resumed the call"
                };
                self.notice(text.to_owned());
            }
            Event::Stats(line) => self.stats = Some(line.clone()),
            Event::Digit { digit, .. } => self.notice(format!("digit {digit}")),
            Event::SourceEnded => self.notice("the sound file is over".to_owned()),
            Event::Left { .. } => self.phase = Phase::Over("left".to_owned()),
            Event::Ended { reason, .. } => {
                self.notice(format!("ended: {reason}"));
                self.phase = Phase::Over(reason.clone());
                self.since = None;
                self.holding = false;
                self.people.clear();
                self.speaker = None;
            }
            Event::Error { message, .. } => self.notice(message.clone()),
            Event::Meeting { .. } | Event::Cancelled { .. } | Event::Device { .. } => {}
        }
    }

    /// Takes levels; meters rise at once and fall slowly.
    pub(super) fn levels(&mut self, heard_db: f32, sent_db: f32) {
        self.heard_db = heard_db.max(self.heard_db - METER_FALL).max(FLOOR_DB);
        self.sent_db = sent_db.max(self.sent_db - METER_FALL).max(FLOOR_DB);
    }

    /// Takes a key and says what the call has to do.
    pub(super) fn press(&mut self, key: Key) -> Action {
        match key {
            Key::Quit => return Action::Quit,
            Key::ToggleMute => {
                self.muted = !self.muted;
                return Action::Mute(self.muted);
            }
            Key::ToggleHold if matches!(self.phase, Phase::InCall(_)) => return Action::Hold(!self.holding),
            Key::ToggleHold => {}
            Key::Louder => self.volume = (self.volume + VOLUME_STEP).min(VOLUME_MOST),
            Key::Quieter => self.volume = self.volume.saturating_sub(VOLUME_STEP),
            Key::ToggleStats => self.show_stats = !self.show_stats,
            Key::ToggleHelp => self.show_help = !self.show_help,
            Key::Back => {
                self.show_help = false;
                self.show_stats = false;
            }
            Key::PickUp => {
                return if matches!(self.phase, Phase::Rings(_)) {
                    Action::PickUp
                } else {
                    Action::Redraw
                };
            }
            Key::Up => self.scroll = self.scroll.saturating_sub(1),
            Key::Down => self.scroll = (self.scroll + 1).min(self.people.len().saturating_sub(1)),
            Key::Digit(digit) => {
                self.digits.push(digit);
                if self.digits.len() > 16 {
                    self.digits.remove(0);
                }
                return Action::Digit(digit);
            }
        }
        match key {
            Key::Louder | Key::Quieter => Action::Volume(f32::from(self.volume) / 100.0),
            _ => Action::Redraw,
        }
    }

    /// Time in the call.
    pub(super) fn elapsed(&self, now: Instant) -> Option<Duration> {
        self.since.map(|since| now.saturating_duration_since(since))
    }

    /// Lines that are printed once the terminal is given back, so that they are not lost with the picture.
    pub(super) fn parting(&self) -> impl Iterator<Item = &str> {
        let worth = |line: &&String| {
            ["meeting ", "token ", "ended", "no ", "sip:"]
                .iter()
                .any(|start| line.starts_with(start))
                || line.contains("refused")
        };
        self.notices.iter().filter(worth).map(String::as_str)
    }

    fn notice(&mut self, text: String) {
        if self.notices.len() >= NOTICES {
            self.notices.pop_front();
        }
        let clean: String = text.chars().filter(|c| !c.is_control()).collect();
        self.notices.push_back(clean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_change_the_model_and_become_actions() {
        let mut model = Model::new();
        assert_eq!(model.press(Key::ToggleMute), Action::Mute(true));
        assert_eq!(model.press(Key::ToggleMute), Action::Mute(false));
        assert_eq!(model.press(Key::Louder), Action::Volume(1.1));
        for _ in 0..50 {
            model.press(Key::Quieter);
        }
        assert_eq!(model.press(Key::Quieter), Action::Volume(0.0));
        assert_eq!(model.press(Key::Digit('5')), Action::Digit('5'));
        assert_eq!(model.press(Key::PickUp), Action::Redraw, "nobody rings");
        model.take(
            &Event::Incoming {
                from: "sip:a@b".into(),
                answered: false,
            },
            Instant::now(),
        );
        assert_eq!(model.press(Key::PickUp), Action::PickUp);
        assert_eq!(model.press(Key::Quit), Action::Quit);
    }

    #[test]
    fn meters_fall_slowly() {
        let mut model = Model::new();
        model.levels(-10.0, -20.0);
        model.levels(-96.0, -96.0);
        assert_eq!((model.heard_db, model.sent_db), (-13.0, -23.0));
    }
}
