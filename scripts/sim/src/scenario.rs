//! What a seed means: who takes part, in which weather, and what they do when.
//!
//! All is drawn before the run, so that an action can be left out without changing the others.

use std::time::Duration;

use rtp_media::codec::CodecKind;

use crate::dice::Dice;
use crate::house::Latency;
use crate::network::Weather;
use crate::peer::HoldKind;

/// The most people of a run.
pub const MOST_PEOPLE: usize = 50;

/// The most people of a long talk: it costs 50 ticks a second for each.
const MOST_TALKERS: usize = 6;

/// The worst clock, in parts per million.
const WORST_PPM: i32 = 500;

/// What somebody does. What makes no sense at that moment (a hold without a call) is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Calls a room by its name.
    Join(usize),
    /// Calls the factory for a room of this name.
    Create(usize),
    /// Calls a room and gives up so soon.
    JoinAndCancel(usize, Duration),
    /// Hangs up.
    Leave,
    /// Puts the room on hold.
    Hold(HoldKind),
    /// Resumes, or refreshes.
    Resume {
        /// By UPDATE.
        update: bool,
    },
    /// Holds, and hangs up so soon that both cross.
    HoldAndLeave(Duration),
    /// Presses `*6`.
    Mute,
    /// Presses `*0#`.
    End,
    /// The phone loses power.
    Vanish,
    /// The phone is started again so long after it lost power.
    Restart(Duration),
    /// The cable is cut for so long.
    Cut(Duration),
    /// The address translator gives new ports.
    Rebind,
    /// Registers.
    Register(u32),
    /// Gives the registration back.
    Unregister,
    /// The API makes a room.
    ApiCreate(usize),
    /// The API ends a room.
    ApiEnd(usize),
    /// The API mutes somebody, or ends that.
    ApiMute(bool),
    /// The API puts somebody out.
    ApiRemove,
    /// kill -9 of the server, and start.
    ServerRestart,
}

/// One action at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Since the beginning of its round.
    pub at: Duration,
    /// By or to whom.
    pub who: usize,
    /// What.
    pub action: Action,
}

/// A person as drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Character {
    /// Uses `meet`; otherwise a desk phone.
    pub meet: bool,
    /// Calls without an offer (desk phones).
    pub offerless: bool,
    /// Behind an address translator.
    pub translated: bool,
    /// Insists on SRTP.
    pub secure: bool,
    /// How wrong the clock of the sound card is, in parts per million.
    pub ppm: i32,
}

/// A seed's whole story.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// Who takes part.
    pub people: Vec<Character>,
    /// Names of rooms.
    pub rooms: Vec<String>,
    /// Digest accounts instead of an open local network.
    pub accounts: bool,
    /// A room takes no more people than this; none: as many as the server's default.
    pub most_members: Option<usize>,
    /// Whether offers and answers may have keys (SDES); who has some is in [`Character`].
    pub srtp: bool,
    /// Translators give sound new ports in the middle of a talk.
    pub sound_rebinds: bool,
    /// In the last round everybody talks for so long before the ears are asked.
    pub talk: Option<Duration>,
    /// What everybody speaks.
    pub codec: CodecKind,
    /// Inside the server.
    pub latency: Latency,
    /// The weather while things happen.
    pub storm: Weather,
    /// Nothing in this seed excuses a wish that does not come true.
    pub strict: bool,
    /// Rounds of things that happen, each followed by a calm in which all is judged.
    pub rounds: Vec<Vec<Step>>,
}

impl Scenario {
    /// Draws the story of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "scenario");
        let mut people = draw_people(&mut dice);
        let rooms = draw_rooms(&mut dice, people.len());
        let accounts = dice.chance(0.3);
        let codec = if dice.chance(0.02) {
            CodecKind::Opus
        } else if dice.chance(0.1) {
            CodecKind::Pcma
        } else {
            CodecKind::Pcmu
        };
        let strict = dice.chance(0.6);
        let latency = draw_latency(&mut dice, strict);
        let storm = draw_weather(&mut dice, strict);
        // A stream of its own: what came later leaves the older parts of a seed as they were.
        let mut limits = Dice::new(seed, "limits");
        let most_members = limits.chance(0.12).then(|| 2 + limits.index(4));
        let srtp = limits.chance(0.3);
        let sound_rebinds = limits.chance(0.5);
        let talk = (people.len() <= MOST_TALKERS && limits.chance(0.06))
            .then(|| limits.between(Duration::from_secs(30), Duration::from_secs(120)));
        for person in &mut people {
            person.secure = srtp && limits.chance(0.6);
            person.ppm = draw_ppm(&mut limits);
        }
        let rounds = (0..2 + dice.below(2))
            .map(|_| draw_round(&mut dice, people.len(), rooms.len(), strict))
            .collect();
        Self {
            seed,
            people,
            rooms,
            accounts,
            most_members,
            srtp,
            sound_rebinds,
            talk,
            codec,
            latency,
            storm,
            strict,
            rounds,
        }
    }
}

/// Sizes skew small: half of the seeds have five people or fewer, one in fifty up to fifty.
fn draw_people(dice: &mut Dice) -> Vec<Character> {
    let count = match dice.below(100) {
        0..55 => 2 + dice.index(4),
        55..85 => 5 + dice.index(6),
        85..98 => 8 + dice.index(13),
        _ => 20 + dice.index(MOST_PEOPLE - 19),
    };
    let one = |_| Character {
        meet: dice.chance(0.4),
        offerless: dice.chance(0.15),
        translated: dice.chance(0.2),
        secure: false,
        ppm: 0,
    };
    (0..count).map(one).collect()
}

/// A third of the clocks are as wrong as a sound card's may be.
fn draw_ppm(dice: &mut Dice) -> i32 {
    match dice.below(6) {
        0 => WORST_PPM,
        1 => -WORST_PPM,
        _ => i32::try_from(dice.below(1_001)).unwrap_or(0) - WORST_PPM,
    }
}

fn draw_rooms(dice: &mut Dice, people: usize) -> Vec<String> {
    let most = (people / 3).clamp(1, 8);
    (0..=dice.index(most))
        .take(8)
        .map(|n| format!("room{n}"))
        .collect()
}

fn draw_latency(dice: &mut Dice, strict: bool) -> Latency {
    let millis = [0, 0, 1, 5, 25];
    let most = Duration::from_millis(dice.pick(&millis).copied().unwrap_or(0));
    let full = if !strict && dice.chance(0.2) { 0.02 } else { 0.0 };
    Latency { most, full }
}

fn draw_weather(dice: &mut Dice, strict: bool) -> Weather {
    let millis =
        |dice: &mut Dice, choices: &[u64]| Duration::from_millis(dice.pick(choices).copied().unwrap_or(10));
    let share = |dice: &mut Dice, choices: &[f64]| dice.pick(choices).copied().unwrap_or(0.0);
    let loss: &[f64] = if strict {
        &[0.0, 0.0, 0.01, 0.05]
    } else {
        &[0.05, 0.1, 0.2, 0.3]
    };
    Weather {
        delay: millis(dice, &[1, 8, 20, 80, 150]),
        jitter: millis(dice, &[0, 2, 20, 60]),
        loss: share(dice, loss),
        duplicate: share(dice, &[0.0, 0.0, 0.02, 0.2]),
        late: share(dice, &[0.0, 0.0, 0.02, 0.1]),
        damage: if strict {
            0.0
        } else {
            share(dice, &[0.0, 0.01, 0.05])
        },
        no_fragments: !strict && dice.chance(0.1),
    }
}

fn draw_round(dice: &mut Dice, people: usize, rooms: usize, strict: bool) -> Vec<Step> {
    let length = dice.between(Duration::from_secs(5), Duration::from_secs(120));
    let mut steps: Vec<Step> = (0..people)
        .map(|who| Step {
            at: dice.between(Duration::ZERO, length / 2),
            who,
            action: draw_entry(dice, rooms),
        })
        .collect();
    let more = people + dice.index(people * 3 + 1);
    for _ in 0..more {
        let step = Step {
            at: dice.between(Duration::ZERO, length),
            who: dice.index(people),
            action: draw_action(dice, rooms, strict),
        };
        steps.push(step);
    }
    steps.sort_by_key(|step| step.at);
    steps
}

fn draw_entry(dice: &mut Dice, rooms: usize) -> Action {
    let room = dice.index(rooms);
    match dice.below(10) {
        0..2 => Action::Create(room),
        2 => Action::Register(60 + u32::try_from(dice.below(600)).unwrap_or(0)),
        _ => Action::Join(room),
    }
}

/// Kinds of actions with their weights: in any seed, and in those that may excuse a failure.
const COMMON: &[(u32, u8)] = &[
    (14, 0),
    (4, 1),
    (5, 2),
    (10, 3),
    (9, 4),
    (9, 5),
    (3, 6),
    (9, 7),
    (2, 8),
    (6, 13),
    (2, 14),
    (2, 15),
    (1, 16),
    (3, 17),
    (1, 18),
];
const ROUGH: &[(u32, u8)] = &[(5, 9), (5, 10), (6, 11), (4, 12), (1, 19)];

fn draw_action(dice: &mut Dice, rooms: usize, strict: bool) -> Action {
    let kinds: Vec<(u32, u8)> = if strict {
        COMMON.to_vec()
    } else {
        COMMON.iter().chain(ROUGH).copied().collect()
    };
    let room = dice.index(rooms);
    let soon = dice.between(Duration::ZERO, Duration::from_millis(400));
    let while_ = dice.between(Duration::from_secs(1), Duration::from_secs(60));
    let holds = [
        HoldKind::SendOnly,
        HoldKind::Inactive,
        HoldKind::Zero,
        HoldKind::Update,
    ];
    let hold = dice.pick(&holds).copied().unwrap_or(HoldKind::SendOnly);
    let flag = dice.chance(0.5);
    let seconds = 30 + u32::try_from(dice.below(600)).unwrap_or(0);
    match dice.weighted(&kinds).copied().unwrap_or(0) {
        1 => Action::Create(room),
        2 => Action::JoinAndCancel(room, soon),
        3 => Action::Leave,
        4 => Action::Hold(hold),
        5 => Action::Resume { update: flag },
        6 => Action::HoldAndLeave(soon),
        7 => Action::Mute,
        8 => Action::End,
        9 => Action::Vanish,
        10 => Action::Restart(while_),
        11 => Action::Cut(while_),
        12 => Action::Rebind,
        13 => Action::Register(seconds),
        14 => Action::Unregister,
        15 => Action::ApiCreate(room),
        16 => Action::ApiEnd(room),
        17 => Action::ApiMute(flag),
        18 => Action::ApiRemove,
        19 => Action::ServerRestart,
        _ => Action::Join(room),
    }
}
