//! The confirmed dialog: ACKs both ways, the repeated 2xx, BYE.

use std::time::{Duration, Instant};

use super::timer::SessionTimer;
use super::{Phase, Session, reason_of, refuse_with};
use crate::dialog::Dialog;
use crate::endpoint::stack::{Purpose, Stack, put_body};
use crate::endpoint::{Body, EndpointError, Flow, SessionEvent, TerminatedBy};
use crate::headers::Reason;
use crate::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use crate::transaction::layer::ServerId;

/// A confirmed dialog.
pub(super) struct Established {
    pub(super) dialog: Dialog,
    /// Our 2xx that wait for their ACK.
    pub(super) unacked: Vec<Unacked>,
    /// The last ACK that we sent: it goes out again when the 2xx comes again (§13.2.2.4).
    ack: Option<SentAck>,
    /// The CSeq of a 2xx with an offer, whose ACK waits for the application's answer.
    pub(super) ack_due: Option<u32>,
    /// The session's interval (RFC 4028), when one is settled.
    pub(super) timer: Option<SessionTimer>,
    /// The longest Min-SE that a 422 told us, seconds.
    pub(super) min_se: u32,
    /// RSeq and CSeq of a reliable provisional response whose PRACK the 2xx did not wait for.
    pub(super) late_prack: Option<(u32, u32)>,
    /// The credentials of the INVITE, which its ACK repeats (RFC 3261 §22.1).
    pub(super) credentials: Headers,
}

/// How a session ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// §15: the called side waits for the ACK before it sends BYE.
    Due(Option<Reason>),
    /// The BYE is out.
    Sent,
}

struct SentAck {
    cseq: u32,
    bytes: Vec<u8>,
    flow: Flow,
}

/// A 2xx of ours without its ACK (§13.3.1.4): repeated at T1 doubling to T2, over any transport, for 64·T1.
pub(super) struct Unacked {
    cseq: u32,
    tx: ServerId,
    flow: Flow,
    bytes: Vec<u8>,
    interval: Duration,
    next: Instant,
    until: Instant,
    /// It answers the first INVITE.
    pub(super) initial: bool,
    /// It carries our offer, so that the ACK brings the answer.
    pub(super) offer_is_ours: bool,
    /// That offer, in a 2xx to a re-INVITE: our description from the answer on.
    pub(super) offer: Option<Body>,
}

impl Unacked {
    pub(super) fn new(tx: ServerId, response: &Response, stack: &Stack, now: Instant) -> Self {
        let timers = &stack.config.timers;
        let no_flow = Flow::udp(([0, 0, 0, 0], 0).into(), ([0, 0, 0, 0], 0).into());
        Unacked {
            cseq: response.headers.cseq().map_or(0, |cseq| cseq.seq),
            tx,
            flow: stack.layer.reply_flow(tx, &stack.wire).unwrap_or(no_flow),
            bytes: response.to_bytes(),
            interval: timers.t1,
            next: now + timers.t1,
            until: now + timers.transaction(),
            initial: false,
            offer_is_ours: false,
            offer: None,
        }
    }
}

impl Established {
    pub(super) fn new(dialog: Dialog) -> Self {
        Established {
            dialog,
            unacked: Vec::new(),
            ack: None,
            ack_due: None,
            timer: None,
            min_se: 0,
            late_prack: None,
            credentials: Headers::new(),
        }
    }

    pub(super) fn next_hop(&self, stack: &Stack) -> Flow {
        self.dialog.next_hop(stack.wire.is_open(&self.dialog.flow()))
    }

    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let unacked = self
            .unacked
            .iter()
            .map(|u| (u.next.min(u.until), "2xx without ACK"));
        let timer = self.timer.as_ref().map(SessionTimer::deadline);
        unacked.chain(timer).min_by_key(|(at, _)| *at)
    }

    /// Sends the ACK to a 2xx and keeps it.
    pub(super) fn acknowledge(&mut self, cseq: u32, answer: Option<Body>, stack: &mut Stack) {
        let mut ack = self.dialog.ack(cseq);
        ack.headers.extend(&self.credentials);
        put_body(&mut ack.headers, &mut ack.body, answer);
        let flow = self.next_hop(stack);
        let bytes = stack.send_ack(&ack, flow);
        self.ack = Some(SentAck { cseq, bytes, flow });
        self.ack_due = None;
    }
}

impl Session {
    /// An ACK for a 2xx came.
    pub(crate) fn on_ack(&mut self, ack: Request, stack: &mut Stack, now: Instant) {
        let Ok(cseq) = ack.headers.cseq() else { return };
        let (Phase::Established(established) | Phase::Ending(established, _)) = &mut self.phase else {
            return;
        };
        let Some(index) = established
            .unacked
            .iter()
            .position(|unacked| unacked.cseq == cseq.seq)
        else {
            return;
        };
        let unacked = established.unacked.remove(index);
        if matches!(self.phase, Phase::Ending(..)) {
            return self.send_bye(stack, now);
        }
        if let (Some(offer), false) = (unacked.offer, ack.body.is_empty()) {
            self.described = Some(offer);
        }
        let content_type = ack.headers.get(&HeaderName::ContentType).map(str::to_owned);
        if unacked.initial {
            stack.emit_session(
                self.id,
                SessionEvent::Confirmed {
                    body: ack.body,
                    content_type,
                },
            );
        } else if unacked.offer_is_ours {
            stack.emit_session(
                self.id,
                SessionEvent::ReOfferAcked {
                    body: ack.body,
                    content_type,
                },
            );
        }
        self.flush_queue(stack, now);
    }

    /// A 2xx came again, because our ACK was lost: the ACK goes out again. False: it is not of this dialog.
    pub(crate) fn repeat_ack(&mut self, response: &Response, stack: &mut Stack) -> bool {
        let (Phase::Established(established) | Phase::Ending(established, _)) = &self.phase else {
            return false;
        };
        if crate::dialog::DialogId::of_response(response).as_ref() != Some(established.dialog.id()) {
            return false;
        }
        if let (Some(ack), Ok(cseq)) = (&established.ack, response.headers.cseq())
            && ack.cseq == cseq.seq
        {
            stack.wire.transmit(ack.flow, ack.bytes.clone());
        }
        true
    }

    /// Sends the ACK, or before the 2xx the PRACK, with the application's answer.
    pub(crate) fn ack_with_answer(
        &mut self,
        body: Body,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        let wrong = EndpointError::WrongState {
            command: "ack_with_answer",
        };
        self.described = Some(body.clone());
        match &mut self.phase {
            Phase::Established(established) => {
                let cseq = established.ack_due.ok_or(wrong)?;
                established.acknowledge(cseq, Some(body), stack);
            }
            Phase::Calling(_) => self.prack_with_answer(body, stack, now)?,
            _ => return Err(wrong),
        }
        self.flush_queue(stack, now);
        Ok(())
    }

    /// Ends the session in the way that its phase wants.
    pub(crate) fn bye(
        &mut self,
        reason: Option<Reason>,
        stack: &mut Stack,
        now: Instant,
    ) -> Result<(), EndpointError> {
        let terminated = SessionEvent::Terminated {
            by: TerminatedBy::Local,
            reason: None,
        };
        match &self.phase {
            Phase::Calling(_) => self.cancel(stack, now)?,
            // §15: the called side must not send BYE on an early dialog.
            Phase::Incoming(_) => {
                self.reject(StatusCode::TEMPORARILY_UNAVAILABLE, Headers::new(), stack, now)?;
                stack.emit_session(self.id, terminated);
            }
            Phase::Established(_) => {
                stack.emit_session(self.id, terminated);
                self.hang_up(reason, true, stack, now);
            }
            Phase::Ending(..) | Phase::Over => {}
        }
        Ok(())
    }

    /// From Established to Ending. Without `send` the peer no longer knows the dialog.
    pub(super) fn hang_up(&mut self, reason: Option<Reason>, send: bool, stack: &mut Stack, now: Instant) {
        self.drop_pending_offer(stack, now);
        if !send {
            return self.finish(stack);
        }
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Established(mut established) => {
                if let Some(cseq) = established.ack_due {
                    // The 2xx must have its ACK all the same (§13.2.2.4).
                    established.acknowledge(cseq, None, stack);
                }
                let waits = established.unacked.iter().any(|unacked| unacked.initial);
                established.timer = None;
                self.phase = Phase::Ending(established, Ending::Due(reason));
                if !waits {
                    self.send_bye(stack, now);
                }
            }
            other => self.phase = other,
        }
    }

    /// Sends the BYE that is due.
    pub(super) fn send_bye(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Ending(established, ending) = &mut self.phase else {
            return;
        };
        let Ending::Due(reason) = std::mem::replace(ending, Ending::Sent) else {
            return;
        };
        established.unacked.clear();
        let flow = established.next_hop(stack);
        let mut bye = established.dialog.request(Method::Bye);
        if let Some(reason) = reason {
            bye.headers.push(HeaderName::Reason, reason);
        }
        stack.send(bye, flow, Purpose::Bye(self.id), now);
    }

    /// The BYE has its final response, or never will: the dialog is gone either way (§15.1.1).
    pub(crate) fn on_bye_done(&mut self, stack: &mut Stack) {
        self.finish(stack);
    }

    /// The peer's BYE.
    pub(super) fn on_bye(&mut self, request: Request, flow: Flow, stack: &mut Stack, now: Instant) {
        let reason = reason_of(&request.headers);
        match &self.phase {
            Phase::Calling(_) => self.early_bye(&request, stack, now),
            Phase::Incoming(_) => self.incoming_bye(&request, stack, now),
            Phase::Established(_) => {
                self.drop_pending_offer(stack, now);
                self.finish(stack);
                stack.emit_session(
                    self.id,
                    SessionEvent::Terminated {
                        by: TerminatedBy::Peer,
                        reason,
                    },
                );
            }
            // Both hung up at once: our own BYE has its own answer to wait for, unless it is not sent yet.
            Phase::Ending(_, Ending::Due(_)) => self.finish(stack),
            Phase::Ending(..) | Phase::Over => {}
        }
        refuse_with(stack, request, StatusCode::OK, flow, now);
    }

    pub(super) fn established_timeout(&mut self, stack: &mut Stack, now: Instant) {
        let (Phase::Established(established) | Phase::Ending(established, _)) = &mut self.phase else {
            return;
        };
        let t2 = stack.config.timers.t2;
        let mut given_up = false;
        for unacked in &mut established.unacked {
            if unacked.until <= now {
                given_up = true;
            } else if unacked.next <= now {
                unacked.interval = unacked.interval.saturating_mul(2).min(t2);
                unacked.next = now + unacked.interval;
                let flow = stack
                    .layer
                    .reply_flow(unacked.tx, &stack.wire)
                    .unwrap_or(unacked.flow);
                stack.wire.transmit(flow, unacked.bytes.clone());
            }
        }
        if given_up {
            established.unacked.clear();
            established.timer = None;
            if matches!(self.phase, Phase::Ending(..)) {
                return self.send_bye(stack, now);
            }
            let event = SessionEvent::Terminated {
                by: TerminatedBy::AckTimeout,
                reason: None,
            };
            stack.emit_session(self.id, event);
            return self.hang_up(None, true, stack, now);
        }
        self.interval_timeout(stack, now);
    }
}
