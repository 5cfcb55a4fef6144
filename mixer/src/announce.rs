//! Join and leave tones: two short notes, made in the tick, heard by all.
//!
//! Deliberately absent: spoken prompts and files, which will need a source of PCM of their own.

use crate::command::Announcement;
use crate::limits::TICK_SAMPLES;
use crate::mix::Frame;

/// Samples of one note: 100 ms.
const NOTE: usize = 4_800;
/// −26 dBFS: noticed, not startling.
const AMPLITUDE: f32 = 0.07;

/// Plays one announcement at a time; a new one replaces it.
pub(crate) struct Announcer {
    playing: Option<(Announcement, usize)>,
}

impl Announcer {
    pub(crate) const fn new() -> Self {
        Self { playing: None }
    }

    pub(crate) fn start(&mut self, announcement: Announcement) {
        self.playing = Some((announcement, 0));
    }

    /// Adds this tick's part to the sum; whether there was one.
    pub(crate) fn add_to(&mut self, sum: &mut Frame) -> bool {
        let Some((announcement, start)) = self.playing else {
            return false;
        };
        let notes = match announcement {
            Announcement::Joined => [440.0f32, 587.33],
            Announcement::Left => [587.33, 440.0],
        };
        for (index, sample) in sum.iter_mut().enumerate() {
            let at = start + index;
            let hz = notes.get(at / NOTE).copied().unwrap_or(0.0);
            let within = (at % NOTE) as f32;
            // 5 ms in and out of each note.
            let edge = (within / 240.0).min((NOTE as f32 - within) / 240.0).min(1.0);
            *sample += AMPLITUDE * edge * (std::f32::consts::TAU * hz * within / 48_000.0).sin();
        }
        let next = start + TICK_SAMPLES;
        self.playing = (next < 2 * NOTE).then_some((announcement, next));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_lasts_200_ms_without_jumps() {
        let mut announcer = Announcer::new();
        announcer.start(Announcement::Joined);
        let mut all = Vec::new();
        loop {
            let mut frame = [0.0; TICK_SAMPLES];
            if !announcer.add_to(&mut frame) {
                break;
            }
            all.extend(frame);
        }
        assert_eq!(all.len(), 2 * NOTE);
        assert!(all.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.01));
        assert!(all.iter().any(|sample| *sample > 0.06));
    }
}
