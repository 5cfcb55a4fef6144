//! Stands in for the mixer's types until that crate has them; goes away then.

/// A leg of the mixer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegKey(pub u32);

/// Stand-in.
#[derive(Debug, Clone)]
pub struct LegConfig {
    /// Key.
    pub key: LegKey,
}

/// Stand-in.
#[derive(Debug, Clone)]
pub struct LegUpdate {}

/// Stand-in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LegStats {}

/// Stand-in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MediaEvent {
    /// Speaker.
    ActiveSpeaker {
        /// Who.
        leg: Option<LegKey>,
    },
    /// Digit.
    Digit {
        /// Who.
        leg: LegKey,
        /// Which.
        digit: char,
    },
    /// No RTP.
    Silent {
        /// Who.
        leg: LegKey,
    },
    /// RTP again.
    Resumed {
        /// Who.
        leg: LegKey,
    },
    /// RTCP BYE.
    PeerBye {
        /// Who.
        leg: LegKey,
    },
    /// Anything else.
    Other,
}
