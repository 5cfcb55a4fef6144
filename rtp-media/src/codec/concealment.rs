//! Packet loss concealment for the codecs that bring none: repeats the last pitch period and fades.
//!
//! The idea is that of ITU-T G.711 Appendix I, reduced: one pitch search at the first lost frame, the
//! period repeated with an overlap-add seam, full level for 10 ms, silent after 60 ms, and a cross-fade
//! into the first good frame. Deliberately absent: growing the period with the length of the loss.

use crate::units::SampleRate;

/// Longest history at 16 kHz: 20 ms window + 15 ms period, rounded up.
const HISTORY: usize = 640;

/// Remembers what was heard, and invents what was not.
pub(super) struct Concealment {
    rate: usize,
    history: [f32; HISTORY],
    /// Length of the repeated period; 0 while nothing is being concealed.
    period: usize,
    /// Samples concealed since the last good one.
    concealed: usize,
}

impl Concealment {
    pub(super) fn new(rate: SampleRate) -> Self {
        Self {
            rate: rate.hertz() as usize,
            history: [0.0; HISTORY],
            period: 0,
            concealed: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.history = [0.0; HISTORY];
        self.period = 0;
        self.concealed = 0;
    }

    /// Takes note of a good frame; after a loss, smooths its beginning.
    pub(super) fn heard(&mut self, frame: &mut [f32]) {
        if self.period > 0 {
            let seam = (self.rate / 250).min(frame.len());
            for (index, sample) in frame.iter_mut().take(seam).enumerate() {
                let weight = (index as f32 + 0.5) / seam as f32;
                let invented = self.next_invented();
                *sample = *sample * weight + invented * (1.0 - weight);
            }
            self.period = 0;
            self.concealed = 0;
        }
        self.remember(frame);
    }

    /// Fills a lost frame.
    pub(super) fn fill(&mut self, out: &mut [f32]) {
        if self.period == 0 {
            self.period = self.find_period();
        }
        for sample in out.iter_mut() {
            *sample = self.next_invented();
        }
    }

    fn next_invented(&mut self) -> f32 {
        let tail = HISTORY - self.period;
        let offset = self.concealed % self.period.max(1);
        let mut sample = self.history.get(tail + offset).copied().unwrap_or(0.0);
        // The last quarter of each period blends into what came before its beginning, so that the seam
        // is continuous.
        let quarter = self.period / 4;
        let from_end = self.period - offset;
        if from_end <= quarter && tail + offset >= self.period {
            let before = self
                .history
                .get(tail + offset - self.period)
                .copied()
                .unwrap_or(0.0);
            let weight = from_end as f32 / (quarter + 1) as f32;
            sample = sample * weight + before * (1.0 - weight);
        }
        let hold = self.rate / 100;
        let fade = self.rate / 20;
        let past = self.concealed.saturating_sub(hold);
        self.concealed += 1;
        sample * (1.0 - past as f32 / fade as f32).max(0.0)
    }

    /// Lag of the best match of the last 20 ms with what came up to 15 ms before (66 to 200 Hz).
    fn find_period(&self) -> usize {
        let (shortest, longest) = (self.rate / 200, self.rate * 15 / 1000);
        let window = (self.rate / 50).min(HISTORY - longest);
        let Some(recent) = self.history.get(HISTORY - window..) else {
            return shortest;
        };
        let mut best = (shortest, f32::MIN);
        for lag in shortest..=longest {
            let Some(earlier) = self.history.get(HISTORY - window - lag..HISTORY - lag) else {
                continue;
            };
            let (mut product, mut energy) = (0.0f32, 1e-9f32);
            for (now, then) in recent.iter().zip(earlier) {
                product += now * then;
                energy += then * then;
            }
            let score = product / energy.sqrt();
            if score > best.1 {
                best = (lag, score);
            }
        }
        best.0
    }

    fn remember(&mut self, frame: &[f32]) {
        let keep = frame.len().min(HISTORY);
        self.history.copy_within(keep.., 0);
        if let (Some(to), Some(from)) = (
            self.history.get_mut(HISTORY - keep..),
            frame.get(frame.len() - keep..),
        ) {
            to.copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(start: usize, samples: usize) -> Vec<f32> {
        (start..start + samples)
            .map(|n| 0.5 * (n as f32 * 0.2 * std::f32::consts::PI).sin())
            .collect()
    }

    #[test]
    fn a_lost_frame_of_a_periodic_signal_is_replaced_closely() {
        let mut plc = Concealment::new(SampleRate::HZ_8000);
        for frame in 0..5 {
            plc.heard(&mut tone(frame * 160, 160));
        }
        let mut out = [0.0; 160];
        plc.fill(&mut out);
        let wanted = tone(800, 160);
        let error: f32 = out
            .iter()
            .zip(&wanted)
            .take(80)
            .map(|(a, b)| (a - b) * (a - b))
            .sum();
        let power: f32 = wanted.iter().take(80).map(|b| b * b).sum();
        assert!(error < power / 100.0, "error {error} of {power}");
    }

    #[test]
    fn a_long_loss_fades_to_silence_and_reset_forgets() {
        let mut plc = Concealment::new(SampleRate::HZ_16000);
        plc.heard(&mut [0.5; 640]);
        let mut out = [0.0; 1600];
        plc.fill(&mut out);
        assert!(out[0].abs() > 0.1);
        assert!(out[1000..].iter().all(|s| *s == 0.0));
        plc.reset();
        plc.fill(&mut out);
        assert!(out.iter().all(|s| *s == 0.0));
    }
}
