//! Who may share an encoder: all who hear the same mix and agreed on the same settings; and whose encoders they are.
//!
//! A class is everything that is given to an encoder. Sequence numbers, timestamps, SSRC and payload type
//! stay per leg. Every leg brings two lanes of its codec, built off the tick: one for a class, one for itself while
//! it talks. A room keeps as many as its legs can need at once and hands the rest back, for a hundred listeners of
//! one class need three lanes for classes (one for each step of the expected loss), and no more talk at once
//! than are mixed. What a leg takes away when it goes is what the room can spare then, so that the supply
//! can't run dry. Deliberately absent: any judgement by ear of whether two settings sound alike.

use crate::command::CodecSettings;
use crate::lane::Lane;
use crate::send::FecStep;
use arrayvec::ArrayVec;
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
    key: ClassKey,
    /// Legs whose class this is.
    members: usize,
    /// Of them, who listens to the lane now.
    pub(crate) listeners: usize,
    pub(crate) lane: Box<Lane>,
}

impl Class {
    pub(crate) fn kind(&self) -> CodecKind {
        self.key.kind
    }
}

/// A class of a room, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClassId(usize);

/// Encoders on their way: what a leg brings into a room, or what the room hands back.
#[derive(Default)]
pub struct Encoders(ArrayVec<Box<Lane>, 4>);

impl Encoders {
    pub(crate) fn build(settings: &CodecSettings) -> Result<Self, CodecError> {
        let mut lanes = ArrayVec::new();
        for _ in 0..LANES_PER_LEG {
            lanes.push(Box::new(Lane::build(settings)?));
        }
        Ok(Self(lanes))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Lanes that a leg brings: its class may be new, and it may talk.
const LANES_PER_LEG: usize = 2;

/// Legs of equal settings, whatever loss they expect.
struct Family {
    key: ClassKey,
    members: usize,
}

impl Family {
    /// Classes that its members may be spread over at the most.
    fn classes(&self) -> usize {
        let steps = if self.key.fec { FecStep::STEPS } else { 1 };
        self.members.min(steps)
    }
}

/// What is known of the lanes of one codec.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    legs: usize,
    /// Classes that the legs can be spread over.
    classes: usize,
    /// Lanes in the room, in use or not.
    lanes: usize,
    /// Of them, with talkers.
    lent: usize,
}

#[derive(Default)]
struct Accounts {
    opus: Account,
    g722: Account,
    pcmu: Account,
    pcma: Account,
}

impl Accounts {
    fn of(&self, kind: CodecKind) -> &Account {
        match kind {
            CodecKind::Opus => &self.opus,
            CodecKind::G722 => &self.g722,
            CodecKind::Pcmu => &self.pcmu,
            CodecKind::Pcma => &self.pcma,
        }
    }

    fn of_mut(&mut self, kind: CodecKind) -> &mut Account {
        match kind {
            CodecKind::Opus => &mut self.opus,
            CodecKind::G722 => &mut self.g722,
            CodecKind::Pcmu => &mut self.pcmu,
            CodecKind::Pcma => &mut self.pcma,
        }
    }
}

/// The classes of a room, and the lanes not in use.
pub(crate) struct Classes {
    used: Vec<Option<Class>>,
    // Boxed because legs bring and take them so: unboxing would copy and free in the tick.
    #[expect(clippy::vec_box, reason = "boxes travel with the legs")]
    pool: Vec<Box<Lane>>,
    families: Vec<Family>,
    accounts: Accounts,
    /// Lanes lent at the same time, for each codec.
    most_lent: usize,
}

impl Classes {
    /// For so many legs, of which so many are mixed at a time.
    pub(crate) fn new(legs: usize, talkers: usize) -> Self {
        Self {
            used: Vec::with_capacity(legs),
            pool: Vec::with_capacity(legs * LANES_PER_LEG),
            families: Vec::with_capacity(legs),
            accounts: Accounts::default(),
            // As many again keep theirs for a moment after they talked.
            most_lent: talkers * 2,
        }
    }

    /// A leg comes: its lanes become the room's, and what the room has no need for is left in `brought`.
    pub(crate) fn enter(
        &mut self,
        settings: &CodecSettings,
        expected_loss: u8,
        brought: &mut Encoders,
    ) -> Option<ClassId> {
        let kind = settings.kind;
        let account = self.accounts.of_mut(kind);
        account.legs += 1;
        account.lanes += brought.count();
        while let Some(lane) = brought.0.pop() {
            self.pool.push(lane);
        }
        self.change_family(settings, true);
        let class = self.join(settings, expected_loss);
        self.spare(kind, brought);
        class
    }

    /// A leg goes, and takes along what the room can spare without it. Its own lane was given back before.
    pub(crate) fn exit(&mut self, settings: &CodecSettings, id: ClassId, taken: &mut Encoders) {
        self.leave(id);
        self.change_family(settings, false);
        let account = self.accounts.of_mut(settings.kind);
        account.legs = account.legs.saturating_sub(1);
        self.spare(settings.kind, taken);
    }

    fn change_family(&mut self, settings: &CodecSettings, comes: bool) {
        let key = ClassKey::new(settings, 0);
        let found = self.families.iter().position(|family| family.key == key);
        let at = found.unwrap_or_else(|| {
            self.families.push(Family { key, members: 0 });
            self.families.len() - 1
        });
        let Some(family) = self.families.get_mut(at) else {
            return;
        };
        let before = family.classes();
        family.members = if comes {
            family.members + 1
        } else {
            family.members.saturating_sub(1)
        };
        let after = family.classes();
        if family.members == 0 {
            self.families.swap_remove(at);
        }
        let account = self.accounts.of_mut(key.kind);
        account.classes = (account.classes + after).saturating_sub(before);
    }

    fn most_lent(&self, kind: CodecKind) -> usize {
        self.accounts.of(kind).legs.min(self.most_lent)
    }

    /// Moves the lanes that no course of things can need to `taken`.
    fn spare(&mut self, kind: CodecKind, taken: &mut Encoders) {
        let need = self.accounts.of(kind).classes + self.most_lent(kind);
        while self.accounts.of(kind).lanes > need && !taken.0.is_full() {
            let Some(lane) = self.take(kind) else { return };
            self.accounts.of_mut(kind).lanes -= 1;
            taken.0.push(lane);
        }
    }

    fn take(&mut self, kind: CodecKind) -> Option<Box<Lane>> {
        let at = self.pool.iter().position(|lane| lane.kind() == kind)?;
        Some(self.pool.swap_remove(at))
    }

    /// Whether so many talkers more can have a lane of their own.
    pub(crate) fn can_lend(&self, kind: CodecKind, more: usize) -> bool {
        self.accounts.of(kind).lent + more <= self.most_lent(kind)
    }

    /// A lane for a talker; it begins with a reset encoder.
    pub(crate) fn lend(&mut self, settings: &CodecSettings, expected_loss: u8) -> Option<Box<Lane>> {
        if !self.can_lend(settings.kind, 1) {
            return None;
        }
        let mut lane = self.take(settings.kind)?;
        self.accounts.of_mut(settings.kind).lent += 1;
        lane.prepare(settings, &settings.opus(expected_loss));
        Some(lane)
    }

    /// A talker's lane comes back.
    pub(crate) fn give_back(&mut self, lane: Box<Lane>) {
        let account = self.accounts.of_mut(lane.kind());
        account.lent = account.lent.saturating_sub(1);
        self.pool.push(lane);
    }

    /// Finds or opens the class for these settings.
    fn join(&mut self, settings: &CodecSettings, expected_loss: u8) -> Option<ClassId> {
        let key = ClassKey::new(settings, expected_loss);
        if let Some(at) = self.place(key) {
            let class = self.used.get_mut(at)?.as_mut()?;
            class.members += 1;
            return Some(ClassId(at));
        }
        let mut lane = self.take(settings.kind)?;
        lane.prepare(settings, &settings.opus(expected_loss));
        let class = Class {
            key,
            members: 1,
            listeners: 0,
            lane,
        };
        match self.used.iter().position(Option::is_none) {
            Some(at) => {
                *self.used.get_mut(at)? = Some(class);
                Some(ClassId(at))
            }
            // There are never more classes than legs, for which the table was made.
            None => {
                self.used.push(Some(class));
                Some(ClassId(self.used.len() - 1))
            }
        }
    }

    fn place(&self, key: ClassKey) -> Option<usize> {
        let same = |slot: &Option<Class>| slot.as_ref().is_some_and(|class| class.key == key);
        self.used.iter().position(same)
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
        let there = self.place(key);
        if there == Some(id.0) {
            return Some(id);
        }
        if alone && there.is_none() {
            // Nobody else is affected: the same encoder goes on with other settings.
            let class = self.get_mut(id)?;
            class.key = key;
            class.lane.set_opus(&settings.opus(expected_loss));
            return Some(id);
        }
        // Not alone, so there are fewer classes than legs, and the pool has a lane.
        let new = self.join(settings, expected_loss)?;
        if let Ok([Some(old), Some(new)]) = self.used.get_disjoint_mut([id.0, new.0]) {
            new.lane.take_over(&old.lane);
        }
        self.leave(id);
        Some(new)
    }

    /// A member goes; the last one closes the class.
    fn leave(&mut self, id: ClassId) {
        let Some(slot) = self.used.get_mut(id.0) else {
            return;
        };
        let Some(class) = slot.as_mut() else { return };
        class.members = class.members.saturating_sub(1);
        if class.members == 0
            && let Some(class) = slot.take()
        {
            self.pool.push(class.lane);
        }
    }

    pub(crate) fn get(&self, id: ClassId) -> Option<&Class> {
        self.used.get(id.0)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: ClassId) -> Option<&mut Class> {
        self.used.get_mut(id.0)?.as_mut()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Class> {
        self.used.iter_mut().filter_map(|slot| slot.as_mut())
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

    /// Legs of one codec come; what is left of the lanes that they brought.
    fn enter(classes: &mut Classes, settings: &CodecSettings) -> (ClassId, usize) {
        let mut brought = Encoders::build(settings).unwrap();
        let id = classes.enter(settings, 0, &mut brought).unwrap();
        (id, brought.count())
    }

    fn exit(classes: &mut Classes, settings: &CodecSettings, id: ClassId) -> usize {
        let mut taken = Encoders::default();
        classes.exit(settings, id, &mut taken);
        taken.count()
    }

    #[test]
    fn the_payload_type_does_not_separate_but_the_settings_do() {
        let mut classes = Classes::new(8, 15);
        let (first, _) = enter(&mut classes, &opus(96));
        assert_eq!(enter(&mut classes, &opus(111)).0, first);
        let (other, _) = enter(&mut classes, &opus(96));
        assert_ne!(classes.change(other, &opus(96), 5), Some(first));
        let long = CodecSettings {
            ptime_ms: 40,
            ..opus(96)
        };
        assert_ne!(enter(&mut classes, &long).0, first);
    }

    #[test]
    fn a_room_keeps_what_its_legs_can_need_and_hands_the_rest_back() {
        let mut classes = Classes::new(200, 15);
        let legs: Vec<(ClassId, usize)> = (0..200).map(|_| enter(&mut classes, &opus(96))).collect();
        let back: usize = legs.iter().map(|(_, back)| back).sum();
        // Three steps of expected loss; fifteen talkers, and as many who have just ceased.
        assert_eq!(LANES_PER_LEG * 200 - back, 3 + 30);
        let mut lent: Vec<Box<Lane>> = (0..30).map(|_| classes.lend(&opus(96), 0).unwrap()).collect();
        assert!(classes.lend(&opus(96), 0).is_none());
        // Spread over all three classes while all lanes are lent.
        for (index, (id, _)) in legs.iter().enumerate().take(3) {
            assert!(classes.change(*id, &opus(96), [0, 5, 15][index % 3]).is_some());
        }
        assert!(classes.pool.is_empty());
        while let Some(lane) = lent.pop() {
            classes.give_back(lane);
        }
        assert_eq!(classes.pool.len(), 30);
    }

    #[test]
    fn every_lane_that_came_goes_again() {
        let mut classes = Classes::new(64, 2);
        let settings = |n: u8| match n % 3 {
            0 => opus(96),
            1 => CodecSettings {
                ptime_ms: 40,
                ..opus(96)
            },
            _ => CodecSettings::new(CodecKind::Pcmu, PayloadType::new(0).unwrap()),
        };
        for _ in 0..3 {
            let mut inside = 0;
            let mut legs = Vec::new();
            for n in 0..40 {
                let (id, back) = enter(&mut classes, &settings(n));
                inside += LANES_PER_LEG - back;
                legs.push((n, id));
            }
            for (n, id) in legs.drain(..) {
                let loss = [0, 5, 15][usize::from(n / 3 % 3)];
                let id = classes.change(id, &settings(n), loss).unwrap();
                inside -= exit(&mut classes, &settings(n), id);
            }
            assert_eq!(inside, 0);
            assert!(classes.pool.is_empty() && classes.families.is_empty());
        }
    }
}
