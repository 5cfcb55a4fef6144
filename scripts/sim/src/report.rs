//! What came of a run: faults, how clearly the ears decided, and how much was judged at all.

/// What came of a run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What is wrong; empty: all is well.
    pub faults: Vec<String>,
    /// Two runs of a seed must have the same.
    pub fingerprint: u64,
    /// People.
    pub people: usize,
    /// Virtual time that passed, in seconds.
    pub virtual_seconds: f64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Pairs of listener and speaker that were judged by ear.
    pub heard_pairs: usize,
    /// What else was judged, and how much of it was not.
    pub judged: Judged,
    /// How clearly.
    pub margins: Margins,
    /// The end of the trace, when it was kept and something is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
}

impl Report {
    /// Of a seed that never ran.
    pub const fn empty(seed: u64) -> Self {
        Self {
            seed,
            faults: Vec::new(),
            fingerprint: 0,
            people: 0,
            virtual_seconds: 0.0,
            datagrams: 0,
            heard_pairs: 0,
            judged: Judged::NOTHING,
            margins: Margins::NONE,
            trace: Vec::new(),
        }
    }
}

/// How clearly the ears decided.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Margins {
    /// The quietest tone that had to be heard.
    pub quietest_heard: f32,
    /// The loudest that had not to be.
    pub loudest_unheard: f32,
}

impl Margins {
    /// Nothing was judged yet.
    pub const NONE: Self = Self {
        quietest_heard: 1.0,
        loudest_unheard: 0.0,
    };

    pub(crate) const fn add(&mut self, must: bool, level: f32) {
        if must {
            self.quietest_heard = self.quietest_heard.min(level);
        } else {
            self.loudest_unheard = self.loudest_unheard.max(level);
        }
    }

    /// The worse of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            quietest_heard: self.quietest_heard.min(other.quietest_heard),
            loudest_unheard: self.loudest_unheard.max(other.loudest_unheard),
        }
    }
}

/// How much the model foretold, and where it had to ask the system: what is asked is not judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Judged {
    /// Rooms in a calm: whether they live.
    pub rooms: usize,
    /// Of those, told by the system.
    pub rooms_asked: usize,
    /// People in rooms: whether they are muted.
    pub mutes: usize,
    /// Of those, told by the system.
    pub mutes_asked: usize,
    /// Registrations.
    pub registrations: usize,
    /// Of those, unknown.
    pub registrations_unknown: usize,
    /// Calls that were refused: whether they had to be.
    pub refusals: usize,
    /// Of those, put down to a network that loses what it likes.
    pub refusals_excused: usize,
}

impl Judged {
    /// Nothing yet.
    pub const NOTHING: Self = Self {
        rooms: 0,
        rooms_asked: 0,
        mutes: 0,
        mutes_asked: 0,
        registrations: 0,
        registrations_unknown: 0,
        refusals: 0,
        refusals_excused: 0,
    };

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            rooms: self.rooms + other.rooms,
            rooms_asked: self.rooms_asked + other.rooms_asked,
            mutes: self.mutes + other.mutes,
            mutes_asked: self.mutes_asked + other.mutes_asked,
            registrations: self.registrations + other.registrations,
            registrations_unknown: self.registrations_unknown + other.registrations_unknown,
            refusals: self.refusals + other.refusals,
            refusals_excused: self.refusals_excused + other.refusals_excused,
        }
    }
}

impl std::fmt::Display for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = |part: usize, all: usize| 100.0 * part as f64 / all.max(1) as f64;
        write!(
            f,
            "{} rooms ({:.1} % asked), {} mutes ({:.1} % asked), {} registrations ({:.1} % unknown), {} refusals \
             ({:.1} % excused)",
            self.rooms,
            share(self.rooms_asked, self.rooms),
            self.mutes,
            share(self.mutes_asked, self.mutes),
            self.registrations,
            share(self.registrations_unknown, self.registrations),
            self.refusals,
            share(self.refusals_excused, self.refusals),
        )
    }
}
