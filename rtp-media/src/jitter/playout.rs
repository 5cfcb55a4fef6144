//! Where playout stands, and what it does next: the table in [`super`] as code.
//!
//! Deliberately absent: storage ([`super::ring`]) and measurement ([`super::delay`]).

use std::time::Instant;

use super::ring::Slot;
use super::{Frame, JitterBuffer, Pull, signed_micros};
use crate::limits::MAX_CONCEALMENT;
use crate::units::{RtpTimestamp, SeqExt};

/// Between two shortenings after a stall: 200 ms are made good in 600.
const HASTE: i64 = 60_000;
/// How long every frame must have waited a tick too long before one is shortened.
const PATIENCE: i64 = 300_000;
/// The same at the most, after shortenings that were regretted.
const MAX_PATIENCE: i64 = 4_800_000;
/// An underrun so soon after a shortening means that it was a mistake.
const REGRET: i64 = 3_000_000;
/// No shortening brings the lag nearer to the edge than this.
const MARGIN: i64 = 2_000;
/// Smoothed share of lost frames, in 1/65536, from which one frame is kept back for FEC: one percent.
const FEC_LOSS: u32 = 655;

/// State of the playout.
#[derive(Debug)]
pub(super) struct Playout {
    next: Option<SeqExt>,
    /// Timestamp of the next sample to play.
    cursor: i64,
    /// Something was played on this timeline.
    playing: bool,
    /// Playout has moved on from where the stream began: nothing can be put in front any more.
    begun: bool,
    /// One bit for each number before `next`, the nearest lowest: it was played.
    played: u64,
    /// One bit for each number from `next` on, the nearest lowest: it carries no audio.
    skipped: u64,
    /// Ticks given out without moving on, since the last frame.
    credit: i64,
    /// Ticks concealed in a row.
    run: i64,
    /// They were concealed because nothing was here, and nothing says yet that it was lost.
    starved: bool,
    duration: u32,
    silent: bool,
    window: Window,
    patience: i64,
    shortened: Option<Instant>,
    underrun: Option<Instant>,
    /// Smoothed loss in 1/65536.
    loss: u32,
}

/// The least time that a frame waited, since when.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    since: Option<Instant>,
    least: i64,
}

/// What [`JitterBuffer::pull`] answers, before the payload is borrowed.
enum Step {
    Play {
        seq: SeqExt,
        shorten: u32,
    },
    Lost {
        duration: u32,
        successor: Option<SeqExt>,
    },
    Hold,
    Silence,
}

impl Playout {
    pub const fn new() -> Self {
        Self {
            next: None,
            cursor: 0,
            playing: false,
            begun: false,
            played: 0,
            skipped: 0,
            credit: 0,
            run: 0,
            starved: false,
            duration: 0,
            silent: true,
            window: Window {
                since: None,
                least: 0,
            },
            patience: PATIENCE,
            shortened: None,
            underrun: None,
            loss: 0,
        }
    }

    pub const fn next(&self) -> Option<SeqExt> {
        self.next
    }

    pub fn was_played(&self, seq: SeqExt) -> bool {
        let Some(back) = self.next.and_then(|next| next.0.checked_sub(seq.0 + 1)) else {
            return false;
        };
        back < 64 && self.played & (1 << back) != 0
    }

    /// Whether its time is over. At the very beginning an earlier one than the first may still come.
    pub fn is_past(&self, seq: SeqExt) -> bool {
        self.begun && self.next.is_some_and(|next| seq < next)
    }

    /// A frame was stored.
    pub fn expect(&mut self, slot: &Slot) {
        if !self.begun && self.next.is_none_or(|next| slot.seq < next) {
            let back = self.next.map_or(64, |next| next.0 - slot.seq.0);
            self.skipped = if back < 64 { self.skipped << back } else { 0 };
            self.next = Some(slot.seq);
            self.cursor = slot.ts;
        }
    }

    pub const fn start_timeline(&mut self) {
        self.playing = false;
        self.credit = 0;
        self.window = Window {
            since: None,
            least: 0,
        };
    }

    /// `next` becomes at least `seq`.
    pub fn skip_to(&mut self, seq: SeqExt) {
        if let Some(next) = self.next.filter(|next| *next < seq) {
            let by = seq.0 - next.0;
            self.played = if by < 64 { self.played << by } else { 0 };
            self.skipped = if by < 64 { self.skipped >> by } else { 0 };
            self.next = Some(seq);
            self.begun = true;
        }
    }

    pub const fn duration(&self) -> u32 {
        self.duration
    }

    /// The packet of this number carries no audio. What lies before the first frame, or further ahead than the ring
    /// holds, is nothing to remember.
    pub fn skip(&mut self, seq: SeqExt) {
        let ahead = self.next.and_then(|next| seq.0.checked_sub(next.0));
        if let Some(ahead) = ahead.filter(|ahead| *ahead < 64) {
            self.skipped |= 1 << ahead;
        }
    }

    /// How many of the numbers from `next` to before `seq` carry no audio.
    pub fn skipped_before(&self, seq: SeqExt) -> u64 {
        let span = self.next.map_or(0, |next| seq.0.saturating_sub(next.0));
        let within = if span < 64 { (1 << span) - 1 } else { u64::MAX };
        u64::from((self.skipped & within).count_ones())
    }

    /// Moves over the numbers at hand that carry no audio; the sender was silent meanwhile.
    fn pass_skipped(&mut self) {
        let count = u64::from(self.skipped.trailing_ones());
        if let Some(next) = self.next.filter(|_| count > 0) {
            self.skip_to(next.plus(count));
            self.silent = true;
            self.starved = false;
        }
    }

    /// Playout now stands behind this frame without having played it.
    pub fn pass(&mut self, slot: &Slot) {
        self.skip_to(slot.seq.plus(1));
        self.cursor = slot.end();
    }

    fn lose(&mut self, count: u64) {
        for _ in 0..count.min(64) {
            self.loss += (65_536 - self.loss) / 64;
        }
    }

    fn forget_window(&mut self) {
        self.window = Window::default();
    }
}

impl JitterBuffer {
    /// What to play next. The consumer calls it until it has one tick of samples; `need` is what this tick still
    /// lacks, in ticks of the RTP clock.
    pub fn pull(&mut self, now: Instant, need: u32) -> Pull<'_> {
        match self.step(now, need) {
            Step::Play { seq, shorten } => self.play(seq, shorten, now),
            Step::Lost { duration, successor } => {
                let slot = successor.and_then(|seq| self.ring.get(seq));
                Pull::Lost {
                    duration,
                    fec: slot.map(|slot| self.ring.payload(slot)),
                }
            }
            Step::Hold => Pull::Hold,
            Step::Silence => Pull::Silence,
        }
    }

    /// Delay to allow for over the path's base, in microseconds.
    pub(super) fn target(&self) -> i64 {
        let floor = if self.config.fec && self.play.loss > FEC_LOSS {
            self.config.clock.micros(i64::from(self.play.duration))
        } else {
            0
        };
        let most = (self.config.max_delay.saturating_sub(self.config.tick)).as_micros() as i64;
        self.delay.target().max(floor).min(most)
    }

    fn tick(&self) -> i64 {
        self.config.tick.as_micros() as i64
    }

    fn max_delay(&self) -> i64 {
        self.config.max_delay.as_micros() as i64
    }

    /// How long ago the sample at `ts` could have been here.
    fn lag(&self, ts: i64, now: Instant) -> i64 {
        let now = self.epoch.map_or(0, |epoch| signed_micros(epoch, now));
        now - self.config.clock.micros(ts) - self.delay.base()
    }

    fn step(&mut self, now: Instant, need: u32) -> Step {
        self.enforce_cap(now);
        loop {
            self.play.pass_skipped();
            let front = self
                .play
                .next
                .and_then(|next| self.ring.first_from(next).map(|slot| (next, *slot)));
            let Some((next, front)) = front else {
                return self.starve(need);
            };
            let waited = signed_micros(front.at, now);
            let lag = self.lag(front.ts, now);
            // Nothing waits for the sake of more delay once it waited that long.
            let patient = waited < self.max_delay() - self.tick();
            let missing = front.seq.0 - next.0 - self.play.skipped_before(front.seq);
            let gap = front.ts - self.play.cursor;
            if !self.play.playing || (missing == 0 && gap > 0) {
                // A beginning, or the end of a silence: the moment to set the delay right.
                let frame = self.config.clock.micros(i64::from(front.duration));
                let whole_tick = (self.tick() - frame).max(0);
                if patient && lag < self.target() + whole_tick {
                    self.hold(need);
                    return Step::Silence;
                }
            } else if missing > 0 && gap > 0 {
                if let Some(step) = self.bridge(&front, missing, patient, now, need) {
                    return step;
                }
                continue;
            }
            if self.play.starved && missing == 0 && gap <= 0 {
                self.late_arrival(now);
            }
            if front.silent && self.play.playing {
                if patient && lag + self.tick() <= self.target() {
                    self.hold(need);
                    return Step::Silence;
                }
                if lag >= self.target() + self.tick() + MARGIN && self.ring.get(front.seq.plus(1)).is_some() {
                    self.drop_front(&front);
                    continue;
                }
            }
            let shorten = self.shorten(&front, lag, waited, now);
            return Step::Play {
                seq: front.seq,
                shorten,
            };
        }
    }

    /// Never more than `max_delay` waits, and nothing longer than that while there is something newer.
    fn enforce_cap(&mut self, now: Instant) {
        while self.ring.count() > 1 {
            let Some(front) = self
                .play
                .next
                .and_then(|next| self.ring.first_from(next))
                .copied()
            else {
                return;
            };
            let span = self.config.clock.micros(self.span());
            if span <= self.max_delay() && signed_micros(front.at, now) <= self.max_delay() {
                return;
            }
            self.drop_front(&front);
        }
    }

    fn drop_front(&mut self, front: &Slot) {
        self.ring.take(front.seq);
        self.stats.dropped += 1;
        if front.silent {
            self.stats.bursts.good();
        } else {
            self.stats.bursts.missing(1);
        }
        self.play.pass(front);
    }

    /// Something is given out that the stream does not move on by.
    fn hold(&mut self, need: u32) {
        self.play.credit = self.play.credit.saturating_add(i64::from(need));
    }

    /// Nothing waits.
    fn starve(&mut self, need: u32) -> Step {
        if !self.play.playing {
            return Step::Silence;
        }
        self.hold(need);
        let conceal = self.config.clock.ticks(MAX_CONCEALMENT) as i64;
        if self.play.silent || self.play.run >= conceal {
            return Step::Silence;
        }
        self.play.starved = true;
        self.conceal(need);
        Step::Hold
    }

    /// What was concealed was not lost: it comes now. If that is so soon after a shortening, the delay had been right
    /// before, and the next shortening waits longer for its proof.
    fn late_arrival(&mut self, now: Instant) {
        let play = &mut self.play;
        let regretted = play.shortened.is_some_and(|at| signed_micros(at, now) < REGRET);
        let quiet = play.underrun.is_none_or(|at| signed_micros(at, now) > 3 * REGRET);
        if regretted {
            play.patience = (play.patience * 2).min(MAX_PATIENCE);
        } else if quiet {
            play.patience = PATIENCE;
        }
        play.underrun = Some(now);
    }

    fn conceal(&mut self, ticks: u32) {
        self.play.run += i64::from(ticks);
        self.stats.concealed += u64::from(ticks);
    }

    /// Frames are missing in front of `front`. `None`: looked into, playout now stands at `front`.
    fn bridge(&mut self, front: &Slot, missing: u64, patient: bool, now: Instant, need: u32) -> Option<Step> {
        let clock = self.config.clock;
        let target = self.target();
        self.play.starved = false;
        // What was already concealed while waiting for these frames is not concealed again, unless the target asks
        // for more lag than would remain (half a tick of that is left to chance).
        let covered = self.play.credit.min(front.ts - self.play.cursor);
        if self.lag(self.play.cursor + covered, now) + self.tick() / 2 >= target {
            self.play.cursor += covered;
            self.play.credit -= covered;
        }
        let gap = front.ts - self.play.cursor;
        let too_long = self.play.run >= clock.ticks(MAX_CONCEALMENT) as i64;
        // A remainder of a few samples is rounding, nothing to conceal.
        if too_long || gap < i64::from(self.play.duration / 16).max(1) {
            self.stats.lost += missing;
            self.stats.bursts.missing(missing);
            self.play.lose(missing);
            self.play.skip_to(front.seq);
            self.play.cursor = front.ts;
            return None;
        }
        if patient && self.lag(self.play.cursor, now) + self.tick() <= target {
            self.hold(need);
            self.conceal(need);
            return Some(Step::Hold);
        }
        let frame = self.play.duration.max(1);
        let duration = u32::try_from(gap).unwrap_or(u32::MAX).min(frame);
        // RFC 6716 §2.1.7: a packet carries the FEC of the frame right before it, of its own length.
        let follows = self.play.next.is_some_and(|next| next.plus(1) == front.seq);
        let adjacent = follows && i64::from(duration) == gap && duration == frame;
        if let Some(next) = self.play.next {
            self.play.skip_to(next.plus(1));
        }
        self.play.cursor += i64::from(duration);
        self.stats.lost += 1;
        self.stats.bursts.missing(1);
        self.play.lose(1);
        self.conceal(duration);
        Some(Step::Lost {
            duration,
            successor: adjacent.then_some(front.seq),
        })
    }

    /// By how many ticks of the clock this frame should be shortened.
    fn shorten(&mut self, front: &Slot, lag: i64, waited: i64, now: Instant) -> u32 {
        let window = &mut self.play.window;
        let since = *window.since.get_or_insert(now);
        window.least = if since == now {
            waited
        } else {
            window.least.min(waited)
        };
        let least = window.least;
        let watched = signed_micros(since, now);
        let step = front
            .duration
            .min(self.config.clock.ticks(self.config.tick) as u32);
        let step_micros = self.config.clock.micros(i64::from(step));
        let (target, jitter) = (self.target(), self.delay.target());
        // Judged by the jitter as it is, even where the target is capped: a path that is late itself cannot be
        // hastened.
        let excess = lag - target.max(jitter);
        let stalled = excess >= 2 * self.tick()
            && self
                .play
                .shortened
                .is_none_or(|at| signed_micros(at, now) >= HASTE)
            && self.ring.count() > 1;
        let slack = watched >= self.play.patience
            && least >= step_micros + MARGIN + (target - jitter).max(0)
            && excess >= step_micros + MARGIN;
        if watched >= self.play.patience {
            self.play.forget_window();
        }
        let possible = step < front.duration || self.ring.get(front.seq.plus(1)).is_some();
        if !(possible && self.play.playing && (stalled || slack)) {
            return 0;
        }
        self.play.forget_window();
        self.play.shortened = Some(now);
        self.stats.shortened += 1;
        step
    }

    fn play(&mut self, seq: SeqExt, shorten: u32, now: Instant) -> Pull<'_> {
        let Some(slot) = self.ring.take(seq) else {
            return Pull::Silence;
        };
        let waited = signed_micros(slot.at, now).max(0);
        self.smoothed = if self.stats.played == 0 {
            waited
        } else {
            self.smoothed + (waited - self.smoothed) / 16
        };
        let play = &mut self.play;
        play.pass(&slot);
        play.played |= 1;
        play.playing = true;
        play.credit = 0;
        play.run = 0;
        play.starved = false;
        play.duration = slot.duration;
        play.silent = slot.silent;
        play.loss -= play.loss / 64;
        self.stats.played += 1;
        self.stats.bursts.good();
        Pull::Frame(Frame {
            seq,
            timestamp: RtpTimestamp(slot.ts as u32),
            duration: slot.duration,
            marker: slot.marker,
            silent: slot.silent,
            shorten,
            payload: self.ring.payload(&slot),
        })
    }
}
