//! One participant's leg: who it is, where its call stands, what it agreed on.
//!
//! The call's states and their changes:
//!
//! | from | event | to |
//! |---|---|---|
//! | Ringing | it has rung for as long as the settings say | Opening |
//! | Opening | the shard opened the sockets; our 200 goes out | Answered |
//! | Answered | ACK | Confirmed |
//! | any | CANCEL, BYE, failure, removal | (the leg is gone) |
//!
//! Deliberately absent: the SIP dialog (the endpoint has it) and the media (the shard has it).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mixer::LegStats;
use sip_proto::endpoint::{Flow, SessionId};
use sip_proto::sdp::offer_answer::NegotiatedSrtp;
use tracing::Span;

use super::api::ParticipantStatus;
use super::digits::DigitBuffer;
use super::ids::LegId;
use super::limits;
use super::negotiate::Negotiation;
use super::room_io::{Join, Person};

/// Where a leg's call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegState {
    /// Our 180 is out; the sockets are opened when it has rung long enough.
    Ringing {
        /// When it has.
        until: Instant,
    },
    /// The sockets are being opened; given up at the deadline.
    Opening {
        /// When to give up.
        deadline: Instant,
    },
    /// Our 200 is out, the ACK has not come.
    Answered {
        /// When the 200 went out.
        since: Instant,
    },
    /// In the meeting.
    Confirmed {
        /// When the 200 went out.
        since: Instant,
    },
}

/// What moves a leg's call on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegEvent {
    /// It has rung for long enough.
    RungOut(Instant),
    /// The shard opened the sockets.
    Opened(Instant),
    /// The ACK came.
    Acked,
}

/// Whether a leg without media is being asked if it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Media comes, or the leg has none yet.
    Quiet,
    /// No media; an OPTIONS is due at this time.
    Due(Instant),
    /// No media; an OPTIONS is under way. Without an answer by then the peer is gone.
    Asked(Instant),
}

/// The local end of a leg's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegPorts {
    /// The address that the peer can reach.
    pub address: IpAddr,
    /// RTP port.
    pub rtp: u16,
    /// RTCP port, if it has its own.
    pub rtcp: Option<u16>,
}

/// One participant's leg.
#[derive(Debug)]
pub struct Leg {
    /// Its identity in the room.
    pub id: LegId,
    /// Its call.
    pub session: SessionId,
    /// How its signalling travels.
    pub flow: Flow,
    /// Who it is.
    pub person: Person,
    /// The display name, made distinct in the room.
    pub display: String,
    /// `Some` if this leg's INVITE made the room: the token that goes into the 200.
    pub creator_token: Option<String>,
    /// Where the call stands.
    pub state: LegState,
    /// Offer and answer.
    pub negotiation: Negotiation,
    /// The local end of the media, once open.
    pub ports: Option<LegPorts>,
    /// The shard has the leg.
    pub in_mix: bool,
    /// The keys that its media has.
    pub srtp: Option<NegotiatedSrtp>,
    /// Sound is due from the peer: the mixer tells when none comes (as `mixer::Direction` has it, a
    /// leg that becomes receive-only has us on hold, one that was built so is a source).
    pub sound_due: bool,
    /// Built as a source.
    pub source: bool,
    /// Muted by the focus.
    pub muted: bool,
    /// Whether it is asked if it lives.
    pub probe: Probe,
    /// Its latest digits.
    pub digits: DigitBuffer,
    /// The latest statistics.
    pub stats: Option<LegStats>,
    /// `call{id}:leg{id}`, for whatever is logged about it.
    pub span: Span,
}

impl LegState {
    /// The sockets are asked for at `now`.
    fn opening(now: Instant) -> Self {
        Self::Opening {
            deadline: now + limits::LEG_OPEN_TIMEOUT,
        }
    }

    /// The next state, or `None` where the event does not belong.
    #[must_use]
    pub fn after(self, event: LegEvent) -> Option<Self> {
        match (self, event) {
            (Self::Ringing { .. }, LegEvent::RungOut(now)) => Some(Self::opening(now)),
            (Self::Opening { .. }, LegEvent::Opened(since)) => Some(Self::Answered { since }),
            (Self::Answered { since }, LegEvent::Acked) => Some(Self::Confirmed { since }),
            _ => None,
        }
    }
}

impl Leg {
    /// A leg that rings for `ring` before its sockets are opened.
    pub fn new(id: LegId, join: Join, display: String, ring: Duration, now: Instant) -> Self {
        let call = tracing::info_span!("call", id = join.person.call_id);
        Self {
            span: tracing::info_span!(parent: &call, "leg", %id),
            id,
            session: join.session,
            flow: join.flow,
            person: join.person,
            display,
            creator_token: join.creator_token,
            state: if ring.is_zero() {
                LegState::opening(now)
            } else {
                LegState::Ringing { until: now + ring }
            },
            negotiation: join.negotiation,
            ports: None,
            in_mix: false,
            srtp: None,
            sound_due: true,
            source: false,
            muted: false,
            probe: Probe::Quiet,
            digits: DigitBuffer::default(),
            stats: None,
        }
    }

    /// Whether the person made the room.
    pub const fn is_creator(&self) -> bool {
        self.creator_token.is_some()
    }

    /// Whether the 200 is out: the person counts as present.
    pub const fn is_answered(&self) -> bool {
        !matches!(self.state, LegState::Ringing { .. } | LegState::Opening { .. })
    }

    /// Whether the ACK has come.
    pub const fn is_confirmed(&self) -> bool {
        matches!(self.state, LegState::Confirmed { .. })
    }

    /// When the 200 went out.
    pub const fn since(&self) -> Option<Instant> {
        match self.state {
            LegState::Ringing { .. } | LegState::Opening { .. } => None,
            LegState::Answered { since } | LegState::Confirmed { since } => Some(since),
        }
    }

    /// Whether the peer put us on hold.
    pub fn is_on_hold(&self) -> bool {
        self.negotiation
            .agreed()
            .is_some_and(|audio| audio.disabled || !audio.direction.sends())
    }

    /// What the API shows.
    pub fn status(&self) -> ParticipantStatus {
        if !self.is_confirmed() {
            ParticipantStatus::Joining
        } else if self.is_on_hold() {
            ParticipantStatus::OnHold
        } else {
            ParticipantStatus::Connected
        }
    }

    /// When this leg wants attention, and why.
    pub const fn deadline(&self) -> Option<(Instant, &'static str)> {
        match (self.state, self.probe) {
            (LegState::Ringing { until }, _) => Some((until, "ringing")),
            (LegState::Opening { deadline }, _) => Some((deadline, "leg opening")),
            (_, Probe::Due(at)) => Some((at, "probe")),
            (_, Probe::Asked(until)) => Some((until, "probe unanswered")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_legs_call() {
        let now = Instant::now();
        let ringing = LegState::Ringing { until: now };
        let opening = LegState::opening(now);
        let answered = LegState::Answered { since: now };
        let confirmed = LegState::Confirmed { since: now };
        let opened = LegEvent::Opened(now);
        let table = [
            (ringing, LegEvent::RungOut(now), Some(opening)),
            (ringing, opened, None),
            (ringing, LegEvent::Acked, None),
            (opening, LegEvent::RungOut(now), None),
            (opening, opened, Some(answered)),
            (opening, LegEvent::Acked, None),
            (answered, opened, None),
            (answered, LegEvent::Acked, Some(confirmed)),
            (confirmed, opened, None),
            (confirmed, LegEvent::Acked, None),
        ];
        for (from, event, to) in table {
            assert_eq!(from.after(event), to, "{from:?} on {event:?}");
        }
    }
}
