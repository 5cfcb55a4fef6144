//! Who speaks: a ranking of legs by smoothed level, with hysteresis, so that a cough changes nothing.
//!
//! Two questions are answered: which legs are mixed when more talk than fit, and who is *the* active
//! speaker. Deliberately absent: video switching, which will ask the second question.

use crate::LegKey;
use crate::loudness::SILENCE_DB;

/// How much a mixed leg or the active speaker must be exceeded.
const MARGIN_DB: f32 = 6.0;
/// Ticks for which a challenger must lead: 300 ms.
const LEAD_TICKS: u32 = 15;
/// Ticks of nobody talking after which nobody is the active speaker: 3 s.
const FORGET_TICKS: u32 = 150;

/// One leg's place in the ranking.
#[derive(Clone, Copy)]
pub(crate) struct Score {
    smoothed_db: f32,
    mixed: bool,
}

impl Score {
    pub(crate) const fn new() -> Self {
        Self {
            smoothed_db: SILENCE_DB,
            mixed: false,
        }
    }

    /// Takes in a tick's level: up within 100 ms, down within half a second.
    pub(crate) fn update(&mut self, level_db: f32) {
        let share = if level_db > self.smoothed_db { 0.2 } else { 0.04 };
        self.smoothed_db += (level_db - self.smoothed_db) * share;
    }

    /// For choosing whom to mix: those who already are have a bonus.
    pub(crate) fn rank(&self) -> f32 {
        self.smoothed_db + if self.mixed { MARGIN_DB } else { 0.0 }
    }

    pub(crate) fn set_mixed(&mut self, mixed: bool) {
        self.mixed = mixed;
    }

    pub(crate) const fn level_db(&self) -> f32 {
        self.smoothed_db
    }
}

/// The active speaker of a room.
pub(crate) struct ActiveSpeaker {
    current: Option<LegKey>,
    challenger: Option<LegKey>,
    leading: u32,
    quiet: u32,
}

impl ActiveSpeaker {
    pub(crate) const fn new() -> Self {
        Self {
            current: None,
            challenger: None,
            leading: 0,
            quiet: 0,
        }
    }

    /// Judges a tick by who talks in it; returns the new active speaker when it changed.
    pub(crate) fn judge(&mut self, talkers: impl Iterator<Item = (LegKey, f32)>) -> Option<Option<LegKey>> {
        let (mut best, mut own): (Option<(LegKey, f32)>, Option<f32>) = (None, None);
        for (leg, level) in talkers {
            if Some(leg) == self.current {
                own = Some(level);
            }
            if best.is_none_or(|(_, most)| level > most) {
                best = Some((leg, level));
            }
        }
        let Some((leg, level)) = best else {
            self.quiet = self.quiet.saturating_add(1);
            (self.challenger, self.leading) = (None, 0);
            let forget = self.quiet >= FORGET_TICKS && self.current.is_some();
            return forget.then(|| self.change(None));
        };
        self.quiet = 0;
        let clearly = own.is_none_or(|own| level > own + MARGIN_DB);
        if Some(leg) == self.current || !clearly {
            (self.challenger, self.leading) = (None, 0);
            return None;
        }
        if self.challenger != Some(leg) {
            (self.challenger, self.leading) = (Some(leg), 0);
        }
        self.leading += 1;
        (self.current.is_none() || self.leading >= LEAD_TICKS).then(|| self.change(Some(leg)))
    }

    /// A leg has gone.
    pub(crate) fn forget(&mut self, leg: LegKey) -> bool {
        if self.current == Some(leg) {
            self.change(None);
            return true;
        }
        false
    }

    fn change(&mut self, leg: Option<LegKey>) -> Option<LegKey> {
        self.current = leg;
        (self.challenger, self.leading) = (None, 0);
        leg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LegKey = LegKey(1);
    const B: LegKey = LegKey(2);

    #[test]
    fn a_cough_does_not_take_the_floor_but_a_speech_does() {
        let mut speaker = ActiveSpeaker::new();
        assert_eq!(speaker.judge([(A, -20.0)].into_iter()), Some(Some(A)));
        for _ in 0..10 {
            assert_eq!(speaker.judge([(A, -20.0), (B, -10.0)].into_iter()), None);
        }
        assert_eq!(speaker.judge([(A, -20.0)].into_iter()), None);
        let changes = (0..20).filter_map(|_| speaker.judge([(A, -20.0), (B, -10.0)].into_iter()));
        assert_eq!(changes.collect::<Vec<_>>(), [Some(B)]);
        assert_eq!(speaker.judge([(A, -12.0), (B, -10.0)].into_iter()), None);
    }

    #[test]
    fn when_the_speaker_is_silent_another_follows_and_silence_forgets() {
        let mut speaker = ActiveSpeaker::new();
        speaker.judge([(A, -20.0)].into_iter());
        let changes = (0..20).filter_map(|_| speaker.judge([(B, -40.0)].into_iter()));
        assert_eq!(changes.collect::<Vec<_>>(), [Some(B)]);
        let changes = (0..400).filter_map(|_| speaker.judge(std::iter::empty()));
        assert_eq!(changes.collect::<Vec<_>>(), [None]);
        assert!(!speaker.forget(B));
    }

    #[test]
    fn scores_favour_who_is_already_mixed() {
        let (mut old, mut new) = (Score::new(), Score::new());
        for _ in 0..100 {
            old.update(-30.0);
            new.update(-27.0);
        }
        old.set_mixed(true);
        assert!(old.rank() > new.rank());
    }
}
