//! The tick: every 20 ms, from what came in to what goes out. Never allocates, frees, locks, logs or blocks.
//!
//! Order: drain and level all legs, choose who is mixed, sum, settle roles and classes, encode, send,
//! report. Its cost follows the talkers; a listener costs a header and a send.

use super::{Low, Outbox, Room, SharedMix};
use crate::limits::{MAX_TALKERS, TICK, TICK_SAMPLES};
use crate::mix;
use crate::send::{Role, factor};
use crate::stream::Batch;
use crate::{Leg, MediaEvent};
use arrayvec::ArrayVec;
use rtp_media::codec::CodecKind;
use rtp_media::rtp::extension::AudioLevel;
use rtp_media::units::{NtpTime, Ssrc};
use std::time::Instant;

impl Room {
    /// Runs one tick. Call it every 20 ms, right after the datagrams that have come were given to
    /// [`Room::receive`]. When it comes late by whole ticks, the clock advances over them.
    pub fn tick(&mut self, now: Instant, wall: NtpTime, out: &mut dyn Outbox) {
        self.advance(now);
        self.listen(now);
        self.choose();
        let tone = self.sum_up();
        let silent = self.talkers.is_empty() && !tone;
        self.settle_roles(silent);
        self.shape_shared(silent);
        self.encode_classes(silent);
        self.encode_talkers(tone);
        self.send(now, wall, out);
        self.rank();
    }

    fn advance(&mut self, now: Instant) {
        let due = self.due.unwrap_or(now);
        let late = now.saturating_duration_since(due);
        let missed = u64::try_from(late.as_nanos() / TICK.as_nanos()).unwrap_or(0);
        self.tick += 1 + missed;
        self.due = Some(due + TICK * u32::try_from(missed + 1).unwrap_or(u32::MAX));
        self.stats.ticks += 1;
        self.stats.missed_ticks += missed;
    }

    /// Levels all legs, and notes who is audible.
    fn listen(&mut self, now: Instant) {
        let (threshold, timeout) = (self.config.activity_dbfs, self.config.silence_timeout);
        self.talkers.clear();
        for (at, leg) in self.legs.iter_mut().enumerate() {
            if !std::mem::take(&mut leg.prepared) {
                leg.begin_tick(now, threshold, timeout, &mut self.events, &mut self.scratch);
            }
            leg.judge(threshold, &mut self.events);
            if leg.audible.mixed() {
                self.talkers.push(at);
            }
        }
    }

    /// Who is mixed: all who are audible, or the top of the ranking when they are too many.
    fn choose(&mut self) {
        if self.talkers.len() > self.config.max_talkers {
            let legs = &self.legs;
            let rank = |at: &usize| legs.get(*at).map_or(f32::MIN, |leg| leg.score.rank());
            self.talkers.sort_unstable_by(|a, b| rank(b).total_cmp(&rank(a)));
            self.talkers.truncate(self.config.max_talkers);
            self.talkers.sort_unstable();
        }
        self.stats.talkers = self.talkers.len();
    }

    /// Normalises and sums the talkers, and notes who they are; whether a tone is in it too.
    fn sum_up(&mut self) -> bool {
        self.csrcs.clear();
        self.levels.clear();
        self.sum.fill(0.0);
        for &at in &self.talkers {
            let Some(leg) = self.legs.get_mut(at) else {
                continue;
            };
            if self.config.normalise {
                leg.normaliser.process(leg.level_db, &mut leg.source.pcm[..]);
            }
            leg.audible.shape(&mut leg.source.pcm[..]);
            mix::add(&mut self.sum, &leg.source.pcm);
            if let Some(ssrc) = leg.remote_ssrc {
                let _ = self.csrcs.try_push(ssrc);
                // As it is in the mix: RFC 6465 §3 has no flag for voice.
                let level = leg.level_db + leg.normaliser.gain_db();
                let _ = self.levels.try_push(AudioLevel::byte(level, false));
            }
        }
        self.announcer.add_to(&mut self.sum)
    }

    /// Who listens to a class and who has a lane of its own; the hand-overs between them. First those who cease, so
    /// that their lanes are there for those who begin.
    fn settle_roles(&mut self, silent: bool) {
        for class in self.classes.iter_mut() {
            class.listeners = 0;
        }
        let at_once = silent || self.crowded();
        self.owners.clear();
        let mut next = self.talkers.iter().copied().peekable();
        for (at, leg) in self.legs.iter_mut().enumerate() {
            leg.mixed = next.next_if_eq(&at).is_some();
            leg.score.set_mixed(leg.mixed);
            let send = &mut leg.send;
            send.follow_loss(&mut self.classes);
            if send.role == Role::Listener {
                if !leg.mixed && leg.direction.sends() {
                    send.listen(&mut self.classes);
                }
                continue;
            }
            match send.role.next(leg.mixed, at_once) {
                Role::Listener => {
                    send.end_own(&mut self.classes);
                    if leg.direction.sends() {
                        send.listen(&mut self.classes);
                    }
                }
                role => {
                    send.role = role;
                    self.owners.push(at);
                }
            }
        }
        for &at in &self.talkers {
            let Some(leg) = self.legs.get_mut(at) else {
                continue;
            };
            let send = &mut leg.send;
            if send.role != Role::Listener {
                continue;
            }
            if send.begin_own(&mut self.classes) {
                let down = self.shared.down(send.settings.kind);
                send.shaper.follow(&self.shared.limiter, down);
                self.owners.push(at);
            } else if leg.direction.sends() {
                send.listen(&mut self.classes);
            }
        }
    }

    /// Whether those who begin to talk need the lanes of those who only linger.
    fn crowded(&self) -> bool {
        CodecKind::ALL.into_iter().any(|kind| {
            let begin = |at: &&usize| {
                self.legs
                    .get(**at)
                    .is_some_and(|leg| leg.send.role == Role::Listener && leg.send.settings.kind == kind)
            };
            !self
                .classes
                .can_lend(kind, self.talkers.iter().filter(begin).count())
        })
    }

    /// Limits the sum once, and brings it to the rates that are listened to.
    fn shape_shared(&mut self, silent: bool) {
        let (mut wide, mut narrow) = (false, false);
        for class in self.classes.iter_mut().filter(|class| class.listeners > 0) {
            match factor(class.kind()) {
                3 => wide = true,
                6 => narrow = true,
                _ => {}
            }
        }
        if !silent {
            *self.shared.full = *self.sum;
            self.shared.limiter.process(&mut self.shared.full);
        }
        let full = (!silent).then_some(&*self.shared.full);
        self.shared.wide.process(wide, full);
        self.shared.narrow.process(narrow, full);
    }

    fn encode_classes(&mut self, silent: bool) {
        for class in self.classes.iter_mut() {
            if class.listeners == 0 {
                class.lane.stop();
                continue;
            }
            let pcm = (!silent).then(|| self.shared.pcm(class.kind()));
            self.stats.encodes += u64::from(class.lane.feed(self.tick, pcm));
        }
    }

    /// Each talker hears the sum without itself; nothing when it talks alone.
    fn encode_talkers(&mut self, tone: bool) {
        let mixed = self.talkers.len();
        for &at in &self.owners {
            let Some(leg) = self.legs.get_mut(at) else {
                continue;
            };
            let send = &mut leg.send;
            let Some(own) = &mut send.own else { continue };
            if !leg.direction.sends() {
                own.stop();
                continue;
            }
            let others = mixed - usize::from(leg.mixed);
            let encodes = if others == 0 && !tone {
                own.feed(self.tick, None)
            } else {
                if leg.mixed {
                    mix::minus(&self.sum, &leg.source.pcm, &mut self.work);
                } else {
                    *self.work = *self.sum;
                }
                own.feed(self.tick, Some(send.shaper.process(&mut self.work)))
            };
            self.stats.encodes += u64::from(encodes);
        }
    }

    fn send(&mut self, now: Instant, wall: NtpTime, out: &mut dyn Outbox) {
        let mut without: ArrayVec<Ssrc, MAX_TALKERS> = ArrayVec::new();
        let mut levels_without: ArrayVec<u8, MAX_TALKERS> = ArrayVec::new();
        for leg in &mut self.legs {
            let Leg {
                stream,
                send,
                direction,
                mixed,
                remote_ssrc,
                extras,
                ..
            } = &mut **leg;
            if direction.sends() {
                let lane = match send.role {
                    Role::Talker { .. } => send.own.as_deref(),
                    Role::Listener => send
                        .class
                        .and_then(|id| self.classes.get(id))
                        .map(|class| &*class.lane),
                };
                let (csrcs, levels) = if *mixed {
                    without.clear();
                    levels_without.clear();
                    let others = self.csrcs.iter().zip(&self.levels);
                    for (ssrc, level) in others.filter(|(ssrc, _)| Some(**ssrc) != *remote_ssrc) {
                        without.push(*ssrc);
                        levels_without.push(*level);
                    }
                    (&without, &levels_without)
                } else {
                    (&self.csrcs, &self.levels)
                };
                if let Some(lane) = lane {
                    let batch = Batch {
                        packets: lane.packets(),
                        tick: self.tick,
                        span: lane.ticks_per_packet(),
                        payload_type: send.settings.payload_type,
                        tick_clock: send.settings.kind.rtp_clock_rate().hertz() / 50,
                        csrcs,
                        comfort_noise: send.settings.comfort_noise,
                        levels: extras.mixer_levels.map(|id| (id, &levels[..])),
                    };
                    stream.send_packets(&batch, now, &mut self.buffer, out);
                }
            }
            if leg.extras.voip_metrics && leg.stream.session.report_due(now) {
                leg.prepare_metrics();
            }
            leg.stream.report(now, wall, &mut self.buffer[..], out);
        }
    }

    fn rank(&mut self) {
        let talkers = self.talkers.iter().filter_map(|&at| self.legs.get(at));
        let levels = talkers.map(|leg| (leg.key, leg.score.level_db()));
        if let Some(leg) = self.speaker.judge(levels) {
            self.events.push(MediaEvent::ActiveSpeaker { leg });
        }
    }
}

impl SharedMix {
    fn pcm(&self, kind: CodecKind) -> &[f32] {
        match factor(kind) {
            1 => &self.full[..],
            3 => &self.wide.pcm,
            _ => &self.narrow.pcm,
        }
    }

    fn down(&self, kind: CodecKind) -> Option<&crate::resample::Downsampler> {
        match factor(kind) {
            1 => None,
            3 => Some(&self.wide.down),
            _ => Some(&self.narrow.down),
        }
    }
}

impl Low {
    fn process(&mut self, needed: bool, full: Option<&[f32; TICK_SAMPLES]>) {
        if !needed {
            self.fresh = true;
            return;
        }
        if self.fresh {
            self.down.reset();
            self.fresh = false;
        }
        self.down.process(full, &mut self.pcm);
    }
}
