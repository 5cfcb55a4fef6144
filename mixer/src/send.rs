//! The sending side of a leg: its role, its own encoder, its FEC step, its RTP clock.
//!
//! A listener is served by its class; a talker by a lane of its own, without its own voice. A talker keeps
//! that lane for a moment after its voice has faded, so that both lanes carry the same signal when it
//! goes back, and goes back at once when nobody talks. Deliberately absent: the encoders' inside (`lane`).

use crate::MixerError;
use crate::command::CodecSettings;
use crate::lane::Lane;
use crate::mix::{Frame, Limiter};
use crate::resample::Downsampler;
use crate::share::{ClassId, Classes, Encoders};
use rtp_media::codec::CodecKind;
use rtp_media::units::RtpTimestamp;
use std::time::{Duration, Instant};

/// Ticks that a former talker keeps its own lane.
const TAIL_TICKS: u32 = 4;

/// What a leg hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The sum, by the class' encoder.
    Listener,
    /// The sum without itself, by its own encoder; so many ticks after its voice faded.
    Talker {
        /// Ticks since it was mixed.
        since: u32,
    },
}

impl Role {
    /// The role in a tick in which the leg is mixed or not; `at_once`: nobody keeps a lane that it does not need.
    pub(crate) fn next(self, mixed: bool, at_once: bool) -> Self {
        match (self, mixed) {
            (_, true) => Role::Talker { since: 0 },
            (Role::Listener, false) => Role::Listener,
            (Role::Talker { since }, false) if since >= TAIL_TICKS || at_once => Role::Listener,
            (Role::Talker { since }, false) => Role::Talker { since: since + 1 },
        }
    }
}

/// A mix at the rate of a codec: limiter and filter of one distinct mix.
pub(crate) struct Shaper {
    limiter: Limiter,
    down: Option<Downsampler>,
    low: Box<[f32]>,
}

impl Shaper {
    pub(crate) fn new(kind: CodecKind) -> Self {
        let factor = factor(kind);
        Self {
            limiter: Limiter::new(),
            down: (factor > 1).then(|| Downsampler::new(factor)),
            low: match factor {
                1 => Box::default(),
                _ => vec![0.0; crate::limits::TICK_SAMPLES / factor].into(),
            },
        }
    }

    /// Goes on where a shared mix is.
    pub(crate) fn follow(&mut self, limiter: &Limiter, down: Option<&Downsampler>) {
        self.limiter = *limiter;
        if let (Some(own), Some(other)) = (self.down.as_mut(), down) {
            own.follow(other);
        }
    }

    /// Limits and resamples; `mix` is at 48 kHz and stays limited.
    pub(crate) fn process<'a>(&'a mut self, mix: &'a mut Frame) -> &'a [f32] {
        self.limiter.process(mix);
        match self.down.as_mut() {
            Some(down) => {
                down.process(Some(mix), &mut self.low);
                &self.low
            }
            None => mix,
        }
    }
}

/// How many times slower than 48 kHz a codec samples.
pub(crate) const fn factor(kind: CodecKind) -> usize {
    match kind {
        CodecKind::Opus => 1,
        CodecKind::G722 => 3,
        CodecKind::Pcmu | CodecKind::Pcma => 6,
    }
}

/// Codec, role and encoder of a leg; exchanged as a whole when the codec changes.
pub(crate) struct SendSide {
    pub(crate) settings: CodecSettings,
    pub(crate) role: Role,
    pub(crate) class: Option<ClassId>,
    /// Lent by the room to a talker.
    pub(crate) own: Option<Box<Lane>>,
    pub(crate) shaper: Shaper,
    /// What the leg brings along, or takes away; empty while it is in the room.
    pub(crate) spare: Encoders,
    pub(crate) fec: FecStep,
    /// The step that lane and class have been set to.
    pub(crate) fec_applied: u8,
}

impl SendSide {
    pub(crate) fn build(settings: CodecSettings) -> Result<Self, MixerError> {
        Ok(Self {
            settings,
            role: Role::Listener,
            class: None,
            own: None,
            shaper: Shaper::new(settings.kind),
            spare: Encoders::build(&settings)?,
            fec: FecStep::new(),
            fec_applied: 0,
        })
    }

    /// Becomes one of the room's; what it brought and the room does not need is left in `spare`.
    pub(crate) fn enter(&mut self, classes: &mut Classes) {
        self.fec_applied = self.fec.percent();
        self.class = classes.enter(&self.settings, self.fec_applied, &mut self.spare);
    }

    /// Leaves class and lane behind, and takes along what the room can spare.
    pub(crate) fn exit(&mut self, classes: &mut Classes) {
        if let Some(lane) = self.own.take() {
            classes.give_back(lane);
        }
        if let Some(id) = self.class.take() {
            classes.exit(&self.settings, id, &mut self.spare);
        }
        self.role = Role::Listener;
    }

    /// The peer's reports ask for other protection against loss.
    pub(crate) fn follow_loss(&mut self, classes: &mut Classes) {
        let percent = self.fec.percent();
        if percent == self.fec_applied {
            return;
        }
        self.fec_applied = percent;
        if let Some(own) = &mut self.own {
            own.set_opus(&self.settings.opus(percent));
        }
        self.class = self
            .class
            .and_then(|id| classes.change(id, &self.settings, percent));
    }

    /// From the class to a lane of its own; false when there is none.
    pub(crate) fn begin_own(&mut self, classes: &mut Classes) -> bool {
        let Some(mut own) = classes.lend(&self.settings, self.fec_applied) else {
            return false;
        };
        if let Some(class) = self.class.and_then(|id| classes.get(id)) {
            own.take_over(&class.lane);
        }
        self.own = Some(own);
        self.role = Role::Talker { since: 0 };
        true
    }

    /// Back to the class.
    pub(crate) fn end_own(&mut self, classes: &mut Classes) {
        self.role = Role::Listener;
        let Some(own) = self.own.take() else { return };
        if let Some(class) = self.class.and_then(|id| classes.get_mut(id)) {
            class.lane.take_over(&own);
        }
        classes.give_back(own);
    }

    /// Is served by its class in this tick.
    pub(crate) fn listen(&self, classes: &mut Classes) {
        if let Some(class) = self.class.and_then(|id| classes.get_mut(id)) {
            class.listeners += 1;
        }
    }

    /// RTP clock ticks in 20 ms.
    pub(crate) fn tick_clock(&self) -> u32 {
        self.settings.kind.rtp_clock_rate().hertz() / 50
    }
}

/// RTP timestamps from the tick number: a missed tick advances them, nothing else can move them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MediaClock {
    anchor: RtpTimestamp,
    anchor_tick: u64,
    per_tick: u32,
}

impl MediaClock {
    pub(crate) fn new(start: RtpTimestamp, per_tick: u32) -> Self {
        Self {
            anchor: start,
            anchor_tick: 0,
            per_tick,
        }
    }

    pub(crate) fn at(&self, tick: u64) -> RtpTimestamp {
        let ticks = tick.wrapping_sub(self.anchor_tick) as u32;
        self.anchor.plus(ticks.wrapping_mul(self.per_tick))
    }

    /// Goes on from `tick` at another rate (RFC 7160 §4.1 asks for no jump in real time).
    pub(crate) fn change(&mut self, tick: u64, per_tick: u32) {
        self.anchor = self.at(tick);
        self.anchor_tick = tick;
        self.per_tick = per_tick;
    }
}

/// Expected loss that the encoder plans for, in steps of 0, 5 and 15 percent: up at the first report that
/// asks for it, down after five seconds without one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FecStep {
    percent: u8,
    needed: Option<Instant>,
}

impl FecStep {
    const HOLD: Duration = Duration::from_secs(5);
    /// How many steps there are.
    pub(crate) const STEPS: usize = 3;

    pub(crate) const fn new() -> Self {
        Self {
            percent: 0,
            needed: None,
        }
    }

    pub(crate) const fn percent(self) -> u8 {
        self.percent
    }

    /// Takes in what share of our packets the peer reports lost; true when the step changed.
    pub(crate) fn report(&mut self, fraction_lost: f32, now: Instant) -> bool {
        let asked = match fraction_lost {
            f if f < 0.01 => 0,
            f if f < 0.08 => 5,
            _ => 15,
        };
        let before = self.percent;
        let held = self
            .needed
            .is_some_and(|since| now.saturating_duration_since(since) < Self::HOLD);
        if asked >= before || !held {
            self.percent = asked;
            self.needed = Some(now);
        }
        self.percent != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_talker_lingers_and_returns_at_once_in_a_pause() {
        let mut role = Role::Listener.next(true, false);
        assert_eq!(role, Role::Talker { since: 0 });
        let mut ticks = 0;
        while role != Role::Listener {
            role = role.next(false, false);
            ticks += 1;
        }
        assert_eq!(ticks, TAIL_TICKS + 1);
        assert_eq!(Role::Talker { since: 0 }.next(false, true), Role::Listener);
        assert_eq!(Role::Listener.next(false, false), Role::Listener);
    }

    #[test]
    fn fec_goes_up_at_once_and_down_after_five_seconds() {
        let start = rtp_media_instant();
        let mut step = FecStep::new();
        assert!(step.report(0.03, start));
        assert_eq!(step.percent(), 5);
        assert!(step.report(0.2, start + Duration::from_secs(1)));
        assert_eq!(step.percent(), 15);
        assert!(!step.report(0.0, start + Duration::from_secs(4)));
        assert!(step.report(0.0, start + Duration::from_secs(7)));
        assert_eq!(step.percent(), 0);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn rtp_media_instant() -> Instant {
        Instant::now()
    }

    #[test]
    fn timestamps_follow_the_tick_over_gaps_wraps_and_codec_changes() {
        let mut clock = MediaClock::new(RtpTimestamp(u32::MAX - 100), 960);
        assert_eq!(clock.at(1), RtpTimestamp(859));
        assert_eq!(clock.at(10).since(clock.at(7)), 3 * 960);
        let before = clock.at(10);
        clock.change(10, 160);
        assert_eq!(clock.at(10), before);
        assert_eq!(clock.at(11).since(before), 160);
    }
}
