//! Who speaks, who is muted, who pressed what, and who is no longer there.

use std::time::Instant;

use mixer::MediaEvent;
use sip_proto::endpoint::SessionId;
use sip_proto::message::StatusCode;

use super::Room;
use crate::focus::command::SipCommand;
use crate::focus::ids::LegId;
use crate::focus::leg::Probe;
use crate::focus::limits;
use crate::focus::policy::DigitAction;
use crate::focus::record::{EndReason, LeaveReason};
use crate::focus::room_io::{MediaCommand, RoomOutput};

impl Room {
    /// Something that the shard noticed.
    pub(super) fn media_event(&mut self, event: MediaEvent, now: Instant) {
        match event {
            MediaEvent::ActiveSpeaker { leg } => {
                let speaker = leg
                    .map(|key| LegId(key.0))
                    .filter(|id| self.legs.contains_key(id));
                if self.speaker != speaker {
                    self.speaker = speaker;
                    self.roster.mark();
                }
            }
            MediaEvent::Digit { leg, digit, .. } => self.digit(LegId(leg.0), digit, now),
            MediaEvent::Silent { leg } | MediaEvent::PeerBye { leg } => self.suspect(LegId(leg.0), now),
            MediaEvent::Resumed { leg } => {
                // The music of a peer on hold may end at any time without a word of the mixer's.
                if let Some(leg) = self.legs.get_mut(&LegId(leg.0))
                    && leg.sound_due
                {
                    leg.probe = Probe::Quiet;
                }
            }
            _ => {}
        }
    }

    /// A digit, whichever way it came.
    pub(super) fn digit(&mut self, id: LegId, digit: char, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        match leg.digits.press(digit, now) {
            Some(DigitAction::ToggleMute) => {
                let muted = !leg.muted;
                self.set_muted(id, muted);
            }
            Some(DigitAction::EndMeeting) if leg.is_creator() => self.end(EndReason::Creator),
            Some(DigitAction::EndMeeting) | None => {}
        }
    }

    pub(super) fn set_muted(&mut self, id: LegId, muted: bool) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.muted != muted {
            leg.muted = muted;
            self.push(RoomOutput::Media(MediaCommand::Mute { leg: id, muted }));
            self.roster.mark();
        }
    }

    /// Asks the peer whether it lives: an OPTIONS in the dialog.
    pub(super) fn probe(&mut self, id: LegId, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.probe = Probe::Asked(now + limits::PROBE_PATIENCE);
        let session = leg.session;
        self.sip(SipCommand::Probe { session });
    }

    /// The answer, or that none came. RFC 5057 §5.1: 481 and 408 say that the dialog is gone; any
    /// other answer says that somebody is there.
    pub(super) fn probed(&mut self, session: SessionId, status: Option<StatusCode>, now: Instant) {
        let Some(&id) = self.sessions.get(&session) else {
            return;
        };
        let gone = status.is_none_or(|status| {
            status == StatusCode::CALL_DOES_NOT_EXIST || status == StatusCode::REQUEST_TIMEOUT
        });
        if gone {
            self.remove_leg(id, LeaveReason::Vanished, true, now);
        } else if let Some(leg) = self.legs.get_mut(&id)
            && matches!(leg.probe, Probe::Asked(_))
        {
            leg.probe = Probe::Due(now + limits::PROBE_INTERVAL);
        }
    }

    /// No media comes from the leg, or it said goodbye to its media.
    fn suspect(&mut self, id: LegId, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.probe != Probe::Quiet {
            return;
        }
        if leg.is_confirmed() {
            self.probe(id, now);
        } else {
            leg.probe = Probe::Due(now + limits::PROBE_INTERVAL);
        }
    }
}
