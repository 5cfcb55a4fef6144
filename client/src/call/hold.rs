//! This side's own hold: a new offer that asks the other side to be silent (RFC 3264 §8.4), and one that takes it back.
//!
//! The offer says `sendonly`: packets go on, so that no NAT forgets the stream, and the driver makes them silent. A
//! glare is repeated by the endpoint. What the user wants comes onto the wire, or is told as failed:
//!
//! | wish | event | next |
//! |---|---|---|
//! | None | `hold` | Offered |
//! | Offered | answer that fits | None, `Holding` |
//! | Offered | 491 or 500, and the peer's offer with it | Due |
//! | Offered | any other refusal, no answer, one that does not fit | None, `Holding` with `refused` |
//! | Due | the peer's exchange ended and said it for us | None, `Holding` |
//! | Due | the peer's exchange ended without | Offered |
//!
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
    wish: Wish,
}

/// How far a change has come that the user asked for. See the table in the module's description.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Wish {
    /// There is none.
    #[default]
    None,
    /// Our offer is under way.
    Offered,
    /// Our offer was refused with this status as if the peer's turn came first: the next event tells whether it did.
    Overtaken(u16),
    /// The peer's exchange is under way.
    Due,
}

impl OwnHold {
    /// The peer begins an exchange.
    pub(super) fn peer_offers(&mut self) {
        if matches!(self.wish, Wish::Overtaken(_)) {
            self.wish = Wish::Due;
        }
    }
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
        if call.own.wish != Wish::None || !call.negotiation.is_stable() {
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
            call.own.wish = Wish::Offered;
        }
        Ok(())
    }

    /// The peer answered our offer.
    pub(super) fn on_reanswered(&mut self, response: &Response, now: Instant) {
        if !response.body.is_empty() && self.take_answer(&response.body, now) {
            self.held_now();
        } else {
            tracing::warn!("the answer to our new offer does not fit; the call stays as it was");
            self.stay_as_it_was(None);
        }
    }

    /// The peer refused our offer, or never answered it: the call stays as it was, unless it is only its turn first.
    pub(super) fn on_rerejected(&mut self, status: StatusCode) {
        let turn = matches!(
            status,
            StatusCode::REQUEST_PENDING | StatusCode::SERVER_INTERNAL_ERROR
        );
        match self
            .call
            .as_mut()
            .filter(|call| turn && call.own.wish == Wish::Offered)
        {
            Some(call) => {
                call.negotiation.rollback();
                call.own.wish = Wish::Overtaken(status.code());
            }
            None => self.stay_as_it_was(Some(status.code())),
        }
    }

    /// All events are taken: where the peer's offer did not come with the refusal of ours, that was the last word.
    pub(super) fn settle_hold(&mut self) {
        if let Some(Wish::Overtaken(status)) = self.call.as_ref().map(|call| call.own.wish) {
            self.stay_as_it_was(Some(status));
        }
    }

    /// An exchange that the peer began is over. What we said in it may be what the user wants, else we offer.
    pub(super) fn after_peers_exchange(&mut self, now: Instant) {
        let Some(call) = self.call.as_mut().filter(|call| call.own.wish == Wish::Due) else {
            return;
        };
        let hold = call.media.direction == Direction::SendOnly;
        let agreed = call
            .negotiation
            .established()
            .map(|agreed| agreed.audio.direction);
        if agreed.is_some_and(|agreed| agreed.receives() != hold) {
            return self.held_now();
        }
        if let Err(error) = self.offer(now) {
            tracing::warn!(%error, "our offer was not made again");
            self.stay_as_it_was(None);
        }
    }

    fn held_now(&mut self) {
        let Some(call) = &mut self.call else { return };
        call.own.wish = Wish::None;
        let holding = call.media.direction == Direction::SendOnly;
        if std::mem::replace(&mut call.own.holding, holding) != holding {
            let refused = None;
            self.tell(PhoneEvent::Holding { holding, refused });
        }
    }

    fn stay_as_it_was(&mut self, refused: Option<u16>) {
        let Some(call) = &mut self.call else { return };
        call.negotiation.rollback();
        let wished = std::mem::take(&mut call.own.wish) != Wish::None;
        let holding = call.own.holding;
        call.media.direction = direction(holding);
        if wished {
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
