//! Who may share an encoder: all who hear the same mix and agreed on the same settings.
//!
//! A class is everything that is given to an encoder. Sequence numbers, timestamps, SSRC and payload type
//! stay per leg. Every leg brings one class box of its codec, built off the tick; a room never needs more
//! classes than legs, so the pool can't run dry. Deliberately absent: any judgement by ear of whether two
//! settings sound alike.

use crate::command::CodecSettings;
use crate::lane::Lane;
use rtp_media::codec::opus::toc::Bandwidth;
use rtp_media::codec::{CodecError, CodecKind};

/// Everything that an encoder is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClassKey {
    kind: CodecKind,
    packet_ms: u8,
    bitrate: u32,
    complexity: u8,
    cbr: bool,
    dtx: bool,
    fec: bool,
    max_bandwidth: Bandwidth,
    comfort_noise: bool,
    expected_loss: u8,
}

impl ClassKey {
    pub(crate) fn new(settings: &CodecSettings, expected_loss: u8) -> Self {
        let opus = settings.kind == CodecKind::Opus;
        Self {
            kind: settings.kind,
            packet_ms: settings.packet_ms(),
            // What the codec doesn't know of must not keep legs apart.
            bitrate: if opus { settings.bitrate } else { 0 },
            complexity: if opus { settings.complexity } else { 0 },
            cbr: opus && settings.cbr,
            dtx: opus && settings.dtx,
            fec: opus && settings.fec,
            max_bandwidth: if opus {
                settings.max_bandwidth
            } else {
                Bandwidth::Fullband
            },
            comfort_noise: settings.sends_noise(),
            expected_loss: if opus && settings.fec { expected_loss } else { 0 },
        }
    }
}

/// A shared encoder.
pub(crate) struct Class {
    key: Option<ClassKey>,
    kind: CodecKind,
    /// Legs whose class this is.
    members: usize,
    /// Of them, who listens to the lane now.
    pub(crate) listeners: usize,
    pub(crate) lane: Lane,
}

impl Class {
    pub(crate) fn build(settings: &CodecSettings) -> Result<Box<Self>, CodecError> {
        let lane = Lane::build(settings)?;
        Ok(Box::new(Self {
            key: None,
            kind: settings.kind,
            members: 0,
            listeners: 0,
            lane,
        }))
    }

    pub(crate) fn kind(&self) -> CodecKind {
        self.kind
    }
}

/// A class of a room, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClassId(usize);

/// The classes of a room, and the boxes not in use.
pub(crate) struct Classes {
    used: Vec<Option<Box<Class>>>,
    // Boxed because legs bring and take them so: unboxing would copy 30 kB and free in the tick.
    #[expect(clippy::vec_box, reason = "boxes travel with the legs")]
    pool: Vec<Box<Class>>,
}

impl Classes {
    pub(crate) fn with_capacity(legs: usize) -> Self {
        Self {
            used: Vec::with_capacity(legs),
            pool: Vec::with_capacity(legs),
        }
    }

    /// A leg brings its box.
    pub(crate) fn deposit(&mut self, class: Box<Class>) {
        if self.pool.len() < self.pool.capacity() {
            self.pool.push(class);
        }
    }

    /// A leg that has left its class takes a box of its codec away.
    pub(crate) fn withdraw(&mut self, kind: CodecKind) -> Option<Box<Class>> {
        let at = self.pool.iter().position(|class| class.kind == kind)?;
        Some(self.pool.swap_remove(at))
    }

    /// Finds or opens the class for these settings.
    pub(crate) fn join(&mut self, settings: &CodecSettings, expected_loss: u8) -> Option<ClassId> {
        let key = ClassKey::new(settings, expected_loss);
        let same = |slot: &Option<Box<Class>>| slot.as_ref().is_some_and(|class| class.key == Some(key));
        if let Some(at) = self.used.iter().position(same) {
            let class = self.used.get_mut(at)?.as_mut()?;
            class.members += 1;
            return Some(ClassId(at));
        }
        let mut class = self.withdraw(settings.kind)?;
        class.key = Some(key);
        class.members = 1;
        class.listeners = 0;
        class.lane.prepare(settings, &settings.opus(expected_loss));
        match self.used.iter().position(Option::is_none) {
            Some(at) => {
                *self.used.get_mut(at)? = Some(class);
                Some(ClassId(at))
            }
            None if self.used.len() < self.used.capacity() => {
                self.used.push(Some(class));
                Some(ClassId(self.used.len() - 1))
            }
            None => {
                self.deposit(class);
                None
            }
        }
    }

    /// Moves a member to the class of another expected loss; `None` only when it had no class.
    pub(crate) fn change(
        &mut self,
        id: ClassId,
        settings: &CodecSettings,
        expected_loss: u8,
    ) -> Option<ClassId> {
        let key = ClassKey::new(settings, expected_loss);
        let alone = self.get(id).is_none_or(|class| class.members <= 1);
        let there = self
            .used
            .iter()
            .position(|slot| slot.as_ref().is_some_and(|class| class.key == Some(key)));
        if there == Some(id.0) {
            return Some(id);
        }
        if alone && there.is_none() {
            // Nobody else is affected: the same encoder goes on with other settings.
            let class = self.get_mut(id)?;
            class.key = Some(key);
            class.lane.set_opus(&settings.opus(expected_loss));
            return Some(id);
        }
        // Not alone, so there are fewer classes than legs, and the pool has a box.
        let new = self.join(settings, expected_loss)?;
        if let Ok([Some(old), Some(new)]) = self.used.get_disjoint_mut([id.0, new.0]) {
            new.lane.take_over(&old.lane);
        }
        self.leave(id);
        Some(new)
    }

    /// A member goes; the last one closes the class.
    pub(crate) fn leave(&mut self, id: ClassId) {
        let Some(slot) = self.used.get_mut(id.0) else {
            return;
        };
        let Some(class) = slot.as_mut() else { return };
        class.members = class.members.saturating_sub(1);
        if class.members == 0
            && let Some(class) = slot.take()
        {
            self.deposit(class);
        }
    }

    pub(crate) fn get(&self, id: ClassId) -> Option<&Class> {
        self.used.get(id.0)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: ClassId) -> Option<&mut Class> {
        self.used.get_mut(id.0)?.as_deref_mut()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Class> {
        self.used.iter_mut().filter_map(|slot| slot.as_deref_mut())
    }

    /// Classes that somebody listens to.
    pub(crate) fn listened(&self) -> usize {
        self.used
            .iter()
            .flatten()
            .filter(|class| class.listeners > 0)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtp_media::units::PayloadType;

    fn opus(payload_type: u8) -> CodecSettings {
        CodecSettings::new(CodecKind::Opus, PayloadType::new(payload_type).unwrap())
    }

    #[test]
    fn the_payload_type_does_not_separate_but_the_settings_do() {
        let mut classes = Classes::with_capacity(8);
        for _ in 0..4 {
            classes.deposit(Class::build(&opus(96)).unwrap());
        }
        let first = classes.join(&opus(96), 0).unwrap();
        assert_eq!(classes.join(&opus(111), 0), Some(first));
        assert_ne!(classes.join(&opus(96), 5), Some(first));
        assert_ne!(
            classes.join(
                &CodecSettings {
                    ptime_ms: 40,
                    ..opus(96)
                },
                0
            ),
            Some(first)
        );
        assert_eq!(classes.pool.len(), 1);
    }

    #[test]
    fn boxes_come_and_go_with_legs() {
        let mut classes = Classes::with_capacity(8);
        classes.deposit(Class::build(&opus(96)).unwrap());
        classes.deposit(Class::build(&opus(96)).unwrap());
        let a = classes.join(&opus(96), 0).unwrap();
        let b = classes.join(&opus(96), 0).unwrap();
        // The one that opened the class leaves first: the other box goes with it.
        classes.leave(a);
        assert!(classes.withdraw(CodecKind::Opus).is_some());
        assert!(classes.get(b).is_some());
        classes.leave(b);
        assert!(classes.withdraw(CodecKind::Opus).is_some());
        assert!(classes.withdraw(CodecKind::Opus).is_none());
        assert!(classes.join(&opus(96), 0).is_none());
    }
}
