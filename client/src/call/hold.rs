//! This side's own hold: a new offer that asks the other side to be silent (RFC 3264 §8.4), and one that takes it back.
//!
//! The offer says `sendonly`: packets go on, so that no NAT forgets the stream, and the driver makes them silent. A
//! glare is repeated by the endpoint; where the peer's offer came in between, ours is made anew after our answer.
//! Deliberately absent: music.

use std::time::Instant;

use sip_proto::endpoint::Body;
use sip_proto::message::{Response, StatusCode};
use sip_proto::sdp::Direction;

use super::event::{CallError, PhoneEvent};
use super::phone::Phone;

/// What this side wants and what stands.
#[derive(Debug, Default)]
pub(super) struct OwnHold {
    /// Whether the peer was put on hold and agreed.
    holding: bool,
    /// An offer of ours is under way.
    asked: bool,
    /// The peer's offer was faster: ours is due after our answer.
    again: bool,
}

impl Phone {
    /// Puts the other side on hold, or takes it back; [`PhoneEvent::Holding`] says when it is so, or stayed as it was.
    ///
    /// # Errors
    /// When there is no call that stands, or an offer is under way.
    pub fn hold(&mut self, on: bool, now: Instant) -> Result<(), CallError> {
        let Some(call) = self.call.as_mut().filter(|call| call.is_up()) else {
            return Err(CallError::NoCall);
        };
        if call.own.asked || !call.negotiation.is_stable() {
            return Err(CallError::Busy);
        }
        if call.own.holding == on {
            return Ok(());
        }
        call.media.direction = direction(on);
        let done = self.offer(now);
        if let (Err(_), Some(call)) = (&done, &mut self.call) {
            call.media.direction = direction(!on);
            call.negotiation.rollback();
        }
        self.drain(now);
        done
    }

    fn offer(&mut self, now: Instant) -> Result<(), CallError> {
        let call = self.call.as_mut().ok_or(CallError::NoCall)?;
        let offer = call.negotiation.create_offer(&call.media)?;
        let session = call.session;
        self.endpoint
            .reoffer(session, Body::sdp(offer.to_string()), now)?;
        if let Some(call) = &mut self.call {
            call.own.asked = true;
        }
        Ok(())
    }

    /// The peer answered our offer.
    pub(super) fn on_reanswered(&mut self, response: &Response, now: Instant) {
        if self.take_answer(&response.body, now) {
            self.held_now();
        } else {
            tracing::warn!("the answer to our new offer does not fit; the call stays as it was");
            self.stay_as_it_was(None);
        }
    }

    /// The peer refused our offer: the call stays as it was, unless it is only its turn first.
    pub(super) fn on_rerejected(&mut self, response: &Response) {
        if response.status == StatusCode::REQUEST_PENDING
            && let Some(call) = self.call.as_mut().filter(|call| call.own.asked)
        {
            call.negotiation.rollback();
            call.own.again = true;
            return;
        }
        self.stay_as_it_was(Some(response.status.code()));
    }

    /// Makes the offer that the peer's own overtook.
    pub(super) fn offer_again(&mut self, now: Instant) {
        let Some(call) = self.call.as_mut() else { return };
        if !std::mem::take(&mut call.own.again) {
            return;
        }
        if let Err(error) = self.offer(now) {
            tracing::warn!(%error, "our offer was not made again");
            self.stay_as_it_was(None);
        }
    }

    fn held_now(&mut self) {
        let Some(call) = &mut self.call else { return };
        call.own.asked = false;
        let holding = call.media.direction == Direction::SendOnly;
        if std::mem::replace(&mut call.own.holding, holding) != holding {
            let refused = None;
            self.tell(PhoneEvent::Holding { holding, refused });
        }
    }

    fn stay_as_it_was(&mut self, refused: Option<u16>) {
        let Some(call) = &mut self.call else { return };
        call.negotiation.rollback();
        let asked = std::mem::take(&mut call.own.asked);
        let holding = call.own.holding;
        call.media.direction = direction(holding);
        if asked {
            let refused = refused.or(Some(StatusCode::NOT_ACCEPTABLE_HERE.code()));
            self.tell(PhoneEvent::Holding { holding, refused });
        }
    }
}

fn direction(holding: bool) -> Direction {
    if holding {
        Direction::SendOnly
    } else {
        Direction::SendRecv
    }
}
