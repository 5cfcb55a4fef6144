//! The E-model: from delay and loss to a transmission rating and an opinion score (ITU-T G.107).
//!
//! With all of G.107's default values the rating is R = 93.2 − Id − Ie,eff. Id is the impairment of a long delay
//! (Idd of G.107 §7.4 without echo: phones and browsers cancel it), Ie,eff that of the codec under loss (G.107 §7.5).
//! The codec's own values are those of ITU-T G.113 Appendix I where it has them. Opus is not in it: it is taken as
//! having no impairment without loss, and, by the loss at which listening tests and PESQ see it fall, as a little less
//! robust than G.711 with concealment; with in-band FEC the loss that remains is what counts.
//! G.722 and Opus are rated on the scale of narrow-band telephony (0–100), not on G.107.1's wide one: figures of one
//! meeting stay comparable, and 93 is the best that any leg shows.
//!
//! Deliberately absent: the terms for loudness, room noise and side tone, which nobody measures here.

use std::time::Duration;

use crate::codec::CodecKind;

/// R with every value at its default (G.107 §7.7, 2014 edition and later: 93.2).
const BASE: f32 = 93.2;

/// How a codec answers to loss (ITU-T G.113 Appendix I).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodecImpairment {
    /// Equipment impairment without loss.
    pub ie: f32,
    /// Robustness against loss in percent.
    pub bpl: f32,
}

impl CodecImpairment {
    /// The values of a codec as it is decoded here, with concealment.
    #[must_use]
    pub const fn of(kind: CodecKind) -> Self {
        match kind {
            // G.113 table I.4: G.711 with packet loss concealment.
            CodecKind::Pcmu | CodecKind::Pcma => Self { ie: 0.0, bpl: 25.1 },
            // G.722 has no narrow-band value; its concealment here repeats pitch as G.711's does, over adaptive
            // prediction, which takes longer to recover.
            CodecKind::G722 => Self { ie: 0.0, bpl: 15.0 },
            CodecKind::Opus => Self { ie: 0.0, bpl: 20.0 },
        }
    }
}

/// What a direction of a call is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// The codec.
    pub codec: CodecImpairment,
    /// Share of packets that could not be played, 0 to 1.
    pub loss: f32,
    /// How much burstier than random it is, at least 1 (G.107 BurstR).
    pub burst_ratio: f32,
    /// One way, mouth to ear.
    pub delay: Duration,
}

/// What people would say of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// Transmission rating, 0 to 93.2.
    pub r_factor: f32,
    /// Opinion of listening alone, without the delay: 1 to 4.5.
    pub mos_lq: f32,
    /// Opinion of conversing, with the delay: 1 to 4.5.
    pub mos_cq: f32,
}

/// Rates a direction of a call.
#[must_use]
pub fn estimate(conditions: &Conditions) -> Estimate {
    let CodecImpairment { ie, bpl } = conditions.codec;
    let percent = conditions.loss.clamp(0.0, 1.0) * 100.0;
    let ratio = conditions.burst_ratio.max(1.0);
    let equipment = ie + (95.0 - ie) * percent / (percent / ratio + bpl);
    let listening = (BASE - equipment).max(0.0);
    let r_factor = (listening - delay_impairment(conditions.delay)).max(0.0);
    Estimate {
        r_factor,
        mos_lq: opinion(listening),
        mos_cq: opinion(r_factor),
    }
}

/// Idd (G.107 §7.4): nothing up to 100 ms.
fn delay_impairment(delay: Duration) -> f32 {
    let ms = delay.as_secs_f32() * 1000.0;
    if ms <= 100.0 {
        return 0.0;
    }
    let x = (ms / 100.0).log2();
    let root = |value: f32| (1.0 + value.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// The mean opinion score that goes with a rating (G.107 Annex B).
fn opinion(r: f32) -> f32 {
    match r {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        // The polynomial dips below 1 for very small R.
        r => (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(kind: CodecKind, loss: f32, ratio: f32, ms: u64) -> Estimate {
        estimate(&Conditions {
            codec: CodecImpairment::of(kind),
            loss,
            burst_ratio: ratio,
            delay: Duration::from_millis(ms),
        })
    }

    #[test]
    fn a_perfect_call_has_the_default_rating() {
        let best = of(CodecKind::Pcmu, 0.0, 1.0, 20);
        assert!((best.r_factor - 93.2).abs() < 0.01);
        // G.107 Annex B: R = 93.2 goes with 4.41.
        assert!((best.mos_cq - 4.41).abs() < 0.01, "{}", best.mos_cq);
    }

    #[test]
    fn known_points_of_the_model() {
        // G.711 with concealment at 5 % random loss: 95 · 5 / 30.1 = 15.8 less.
        let lossy = of(CodecKind::Pcma, 0.05, 1.0, 0);
        assert!(
            (lossy.r_factor - (93.2 - 15.78)).abs() < 0.05,
            "{}",
            lossy.r_factor
        );
        // Idd at 400 ms: X = 2, 25 · (65^(1/6) − 3 · (1 + (2/3)^6)^(1/6) + 2) = 24.1 or so.
        let slow = of(CodecKind::Pcmu, 0.0, 1.0, 400);
        assert!(
            (23.0..26.0).contains(&(93.2 - slow.r_factor)),
            "{}",
            slow.r_factor
        );
        assert!(
            slow.mos_lq > slow.mos_cq,
            "delay spoils conversing, not listening"
        );
    }

    proptest! {
        #[test]
        fn worse_conditions_never_rate_better(
            loss in 0.0_f32..1.0, more in 0.0_f32..0.5, ratio in 1.0_f32..10.0, ms in 0_u64..2_000, later in 0_u64..1_000
        ) {
            for kind in CodecKind::ALL {
                let now = of(kind, loss, ratio, ms);
                prop_assert!((0.0..=100.0).contains(&now.r_factor));
                prop_assert!((1.0..=4.5).contains(&now.mos_lq) && (1.0..=4.5).contains(&now.mos_cq));
                prop_assert!(of(kind, loss + more, ratio, ms).r_factor <= now.r_factor + 1e-3);
                prop_assert!(of(kind, loss, ratio, ms + later).r_factor <= now.r_factor + 1e-3);
                prop_assert!(of(kind, loss, ratio + more, ms).r_factor <= now.r_factor + 1e-3);
            }
        }
    }
}
