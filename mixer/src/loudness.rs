//! Levels in dB, who is audible, and the slow gain that makes talkers equally loud.
//!
//! Activity is judged by level alone, never by tonality: music and test tones are heard. The gain follows
//! only what is clearly speech level, slowly, within bounds, so that it lifts a quiet talker and never
//! pumps. Deliberately absent: equalising, noise suppression (the sender's business).

/// Silence in dB of full scale.
pub(crate) const SILENCE_DB: f32 = -127.0;

/// Where talkers are brought to, RMS of speech in dB of full scale.
const TARGET_DB: f32 = -22.0;
/// Within this of the target nothing is done.
const DEAD_ZONE_DB: f32 = 2.0;
/// Most gain, either way.
const MAX_GAIN_DB: f32 = 9.0;
/// Fastest change in a tick: 3 dB a second.
const SLEW_DB: f32 = 0.06;
/// Share of a new tick in the loudness estimate: about a second.
const LEARN: f32 = 0.02;
/// Ticks this far under the estimate are pauses, and teach nothing.
const PAUSE_DB: f32 = 12.0;

/// Level of the loudest quarter of a frame in dB of full scale (a sine of full scale is −3), so that an onset at the
/// frame's end counts in full.
pub(crate) fn level_db(frame: &[f32]) -> f32 {
    let quarter = frame.len().div_ceil(4).max(1);
    let loudest = frame
        .chunks(quarter)
        .map(|part| part.iter().map(|sample| sample * sample).sum::<f32>() / part.len() as f32)
        .fold(0.0f32, f32::max);
    if loudest < 1e-12 {
        SILENCE_DB
    } else {
        10.0 * loudest.log10()
    }
}

/// The gain of one talker.
#[derive(Clone, Copy)]
pub(crate) struct Normaliser {
    loudness_db: Option<f32>,
    gain_db: f32,
    gain: f32,
}

impl Normaliser {
    pub(crate) const fn new() -> Self {
        Self {
            loudness_db: None,
            gain_db: 0.0,
            gain: 1.0,
        }
    }

    pub(crate) fn gain_db(&self) -> f32 {
        self.gain_db
    }

    /// Learns from a tick of this level, and applies the gain to it, ramped over the tick.
    pub(crate) fn process(&mut self, level_db: f32, frame: &mut [f32]) {
        let loudness = self.loudness_db.unwrap_or(level_db);
        if level_db > loudness - PAUSE_DB {
            let loudness = loudness + (level_db - loudness) * LEARN;
            self.loudness_db = Some(loudness);
            let excess = TARGET_DB - loudness;
            let wanted = if excess.abs() <= DEAD_ZONE_DB {
                0.0
            } else {
                (excess - DEAD_ZONE_DB.copysign(excess)).clamp(-MAX_GAIN_DB, MAX_GAIN_DB)
            };
            self.gain_db += (wanted - self.gain_db).clamp(-SLEW_DB, SLEW_DB);
        }
        let target = 10.0f32.powf(self.gain_db / 20.0);
        if self.gain == 1.0 && target == 1.0 {
            return;
        }
        let step = (target - self.gain) / frame.len().max(1) as f32;
        for sample in frame {
            self.gain += step;
            *sample *= self.gain;
        }
        self.gain = target;
    }
}

/// Whether a leg is audible: at once when its level passes the threshold, and for a hang-over after.
#[derive(Clone, Copy)]
pub(crate) struct Activity {
    left: u32,
}

/// What a tick of a leg is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audible {
    /// Not mixed.
    No,
    /// First tick of a spurt: fade in at its very beginning.
    Begins,
    /// In the middle of one.
    Yes,
    /// Last tick of the hang-over: fade out.
    Ends,
}

impl Audible {
    pub(crate) const fn mixed(self) -> bool {
        !matches!(self, Audible::No)
    }

    /// Takes the edges off: 1 ms in, the whole tick out.
    pub(crate) fn shape(self, frame: &mut [f32]) {
        let length = frame.len().max(1) as f32;
        match self {
            Audible::No | Audible::Yes => {}
            Audible::Begins => {
                for (index, sample) in frame.iter_mut().take(48).enumerate() {
                    *sample *= index as f32 / 48.0;
                }
            }
            Audible::Ends => {
                for (index, sample) in frame.iter_mut().enumerate() {
                    *sample *= 1.0 - index as f32 / length;
                }
            }
        }
    }
}

impl Activity {
    /// Ticks that a leg stays audible after it fell under the threshold: 500 ms, over the gaps in speech.
    pub(crate) const HANG_OVER: u32 = 25;

    pub(crate) const fn new() -> Self {
        Self { left: 0 }
    }

    pub(crate) fn judge(&mut self, level_db: f32, threshold_db: f32) -> Audible {
        let before = self.left;
        if level_db >= threshold_db {
            self.left = Self::HANG_OVER;
            return if before == 0 {
                Audible::Begins
            } else {
                Audible::Yes
            };
        }
        self.left = before.saturating_sub(1);
        match before {
            0 => Audible::No,
            1 => Audible::Ends,
            _ => Audible::Yes,
        }
    }

    pub(crate) const fn active(self) -> bool {
        self.left > 0
    }

    pub(crate) fn stop(&mut self) {
        self.left = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(amplitude: f32) -> [f32; 960] {
        std::array::from_fn(|n| amplitude * (n as f32 * 0.1).sin())
    }

    #[test]
    fn levels_are_decibels_of_the_loudest_part() {
        assert_eq!(level_db(&[0.0; 960]), SILENCE_DB);
        assert!((level_db(&tone(1.0)) + 3.0).abs() < 0.3);
        let mut onset = [0.0; 960];
        onset[800..].copy_from_slice(&tone(0.1)[800..]);
        assert!(level_db(&onset) > -26.0);
    }

    #[test]
    fn quiet_and_loud_talkers_meet_in_the_middle_slowly() {
        for (amplitude, first, last) in [(0.03f32, -33.5, -26.0), (0.9, -4.0, -13.0)] {
            let mut normaliser = Normaliser::new();
            let mut levels = Vec::new();
            for _ in 0..1_000 {
                let mut frame = tone(amplitude);
                normaliser.process(level_db(&frame), &mut frame);
                levels.push(level_db(&frame));
            }
            assert!((levels[0] - first).abs() < 1.0, "{}", levels[0]);
            assert!((levels[999] - last).abs() < 2.0, "{}", levels[999]);
            assert!(levels.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.1));
        }
    }

    #[test]
    fn a_spurt_begins_at_once_hangs_over_and_ends_once() {
        let mut activity = Activity::new();
        assert_eq!(activity.judge(-60.0, -50.0), Audible::No);
        assert_eq!(activity.judge(-40.0, -50.0), Audible::Begins);
        assert_eq!(activity.judge(-40.0, -50.0), Audible::Yes);
        let tail: Vec<Audible> = (0..27).map(|_| activity.judge(-60.0, -50.0)).collect();
        assert_eq!(tail[24], Audible::Ends);
        assert!(
            tail[..24].iter().all(|a| *a == Audible::Yes) && tail[25..].iter().all(|a| *a == Audible::No)
        );
    }
}
