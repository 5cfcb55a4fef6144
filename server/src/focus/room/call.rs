//! Calls of a room: join, answer, offers in the dialog, leave.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use sip_proto::endpoint::{ServerTx, SessionEvent, SessionId, TerminatedBy};
use sip_proto::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use sip_proto::sdp::Direction;
use sip_proto::sdp::offer_answer::Negotiated;

use super::Room;
use crate::focus::answers::{self, Rejection};
use crate::focus::body;
use crate::focus::command::SipCommand;
use crate::focus::digits;
use crate::focus::ids::LegId;
use crate::focus::leg::{Leg, LegEvent, LegPorts, LegState, Probe};
use crate::focus::limits;
use crate::focus::mixing;
use crate::focus::names;
use crate::focus::negotiate::Reoffered;
use crate::focus::record::{LeaveReason, StoreRecord};
use crate::focus::room_io::{Join, MediaCommand, RoomOutput};

impl Room {
    /// A person comes: the sockets first, then the answer.
    pub(super) fn join(&mut self, join: Join, now: Instant) {
        if self.legs.len() >= self.setup.limits.max_legs {
            let full = Rejection::new(StatusCode::BUSY_HERE).warn(399, "the meeting is full");
            return self.reject(join.session, full);
        }
        self.next_leg += 1;
        let id = LegId(self.next_leg);
        let taken: HashSet<&str> = self.legs.values().map(|leg| leg.display.as_str()).collect();
        let display = names::distinct(&join.person.display, &taken);
        let ring = if join.negotiation.may_ring() {
            self.setup.limits.ring
        } else {
            Duration::ZERO
        };
        let leg = Leg::new(id, join, display, ring, now);
        let session = leg.session;
        self.sessions.insert(session, id);
        let rings = matches!(leg.state, LegState::Ringing { .. });
        let contact = answers::focus_contact(&self.setup.name, &leg.flow);
        self.legs.insert(id, leg);
        if rings {
            let mut headers = Headers::new();
            headers.set(HeaderName::Contact, contact);
            self.sip(SipCommand::Ring { session, headers });
        } else {
            self.open_leg(id);
        }
        self.occupancy_changed(now);
    }

    /// Asks the shard for the leg's sockets.
    fn open_leg(&mut self, id: LegId) {
        let Some(leg) = self.legs.get(&id) else { return };
        let address = leg.flow.local.ip();
        self.push(RoomOutput::Media(MediaCommand::OpenLeg {
            leg: id,
            address,
            rtcp_port: true,
        }));
    }

    /// The sockets are open: the media leg starts and the 200 goes out.
    pub(super) fn leg_opened(&mut self, id: LegId, rtp: u16, rtcp: Option<u16>, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else {
            // CANCEL was faster than the shard.
            return self.push(RoomOutput::Media(MediaCommand::CloseLeg { leg: id }));
        };
        let Some(state) = leg.state.after(LegEvent::Opened(now)) else {
            return;
        };
        let ports = LegPorts {
            address: leg.flow.local.ip(),
            rtp,
            rtcp,
        };
        leg.ports = Some(ports);
        let session = leg.session;
        let answer = if leg.negotiation.has_offer() {
            leg.negotiation
                .answer(ports)
                .map(|(body, negotiated)| (body, Some(negotiated)))
        } else {
            leg.negotiation.offer(ports).map(|body| (body, None))
        };
        match answer {
            Ok((body, negotiated)) => {
                leg.state = state;
                let headers = self.accept_headers(id);
                if let Some(negotiated) = negotiated {
                    self.apply(id, &negotiated, now);
                }
                self.sip(SipCommand::Accept {
                    session,
                    body,
                    headers,
                });
                self.occupancy_changed(now);
            }
            Err(rejection) => {
                self.forget_leg(id);
                self.reject(session, rejection);
                self.occupancy_changed(now);
            }
        }
    }

    /// The shard could not open or build the leg.
    pub(super) fn leg_failed(&mut self, id: LegId, now: Instant) {
        self.remove_leg(id, LeaveReason::Failed, true, now);
    }

    pub(super) fn session_event(&mut self, session: SessionId, event: SessionEvent, now: Instant) {
        let Some(&id) = self.sessions.get(&session) else {
            if let SessionEvent::Request { tx, request } = event {
                self.respond(tx, &request, StatusCode::CALL_DOES_NOT_EXIST);
            }
            return;
        };
        match event {
            SessionEvent::Confirmed { body, content_type } => {
                self.confirmed(id, &body, content_type.as_deref(), now);
            }
            SessionEvent::ReOffer { request } => self.reoffer(id, &request, now),
            SessionEvent::ReOfferAcked { body, content_type } => {
                self.answer_in_ack(id, &body, content_type.as_deref(), now);
            }
            SessionEvent::ReOfferCancelled => {
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.negotiation.rollback();
                }
            }
            SessionEvent::Request { tx, request } => self.in_dialog_request(id, tx, &request, now),
            SessionEvent::Cancelled => self.remove_leg(id, LeaveReason::Left, false, now),
            SessionEvent::Failed { .. } => self.remove_leg(id, LeaveReason::Failed, false, now),
            SessionEvent::Terminated { by, .. } => {
                let reason = match by {
                    TerminatedBy::Peer => LeaveReason::Left,
                    TerminatedBy::Timeout | TerminatedBy::AckTimeout => LeaveReason::Vanished,
                    TerminatedBy::TransportLost => LeaveReason::ConnectionLost,
                    TerminatedBy::Local => LeaveReason::Failed,
                };
                self.remove_leg(id, reason, false, now);
            }
            SessionEvent::Refreshed { response } => self.refreshed(id, &response, now),
            // A focus rings without a description.
            SessionEvent::ProvisionalAcked { .. } => {}
            // Outcomes of requests that a focus does not send in this dialog.
            SessionEvent::Progress { .. }
            | SessionEvent::Answered { .. }
            | SessionEvent::ReAnswered { .. }
            | SessionEvent::ReRejected { .. }
            | SessionEvent::ReUnanswered => {}
        }
    }

    /// Takes a leg out and tells everybody else; with `tell` it gets a BYE (or a refusal).
    pub(super) fn remove_leg(&mut self, id: LegId, reason: LeaveReason, tell: bool, now: Instant) {
        if self.legs.contains_key(&id) {
            self.dismiss(id, reason, tell);
            self.occupancy_changed(now);
        }
    }

    /// Takes a leg out without a word to the others.
    pub(super) fn dismiss(&mut self, id: LegId, reason: LeaveReason, tell: bool) {
        let Some(leg) = self.forget_leg(id) else { return };
        if tell {
            if leg.is_answered() {
                self.sip(SipCommand::Bye {
                    session: leg.session,
                    reason: answers::bye_reason(reason),
                });
            } else {
                self.reject(leg.session, refusal_of(reason));
            }
        }
        if leg.is_confirmed() {
            // A room that ends lets go of all its legs while it handles one of them.
            leg.span
                .in_scope(|| tracing::info!(person = %leg.display, reason = reason.as_str(), "left"));
            self.push(RoomOutput::Record(StoreRecord::PersonLeft {
                room: self.setup.id,
                name: self.setup.name.to_string(),
                leg: id,
                display: leg.display,
                reason,
            }));
        }
    }

    pub(super) fn leg_timeout(&mut self, id: LegId, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        match leg.state {
            LegState::Ringing { .. } => {
                if let Some(state) = leg.state.after(LegEvent::RungOut(now)) {
                    leg.state = state;
                    self.open_leg(id);
                }
            }
            LegState::Opening { .. } => {
                tracing::warn!("the shard did not open the leg in time");
                self.remove_leg(id, LeaveReason::Failed, true, now);
            }
            LegState::Answered { .. } | LegState::Confirmed { .. } => match leg.probe {
                Probe::Asked(_) => self.remove_leg(id, LeaveReason::Vanished, true, now),
                Probe::Due(_) | Probe::Quiet => self.probe(id, now),
            },
        }
    }

    pub(super) fn respond(&mut self, tx: ServerTx, request: &Request, status: StatusCode) {
        let response = Response::to(request, status);
        self.sip(SipCommand::Respond { tx, response });
    }

    fn confirmed(&mut self, id: LegId, body: &[u8], content_type: Option<&str>, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.negotiation.awaits_answer() {
            match leg.negotiation.take_answer(content_type, body) {
                Ok(negotiated) => self.apply(id, &negotiated, now),
                Err(error) => {
                    tracing::info!(%error, "the ACK's answer does not fit");
                    return self.remove_leg(id, LeaveReason::BadAnswer, true, now);
                }
            }
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(state) = leg.state.after(LegEvent::Acked) else {
            return;
        };
        leg.state = state;
        let first = self.first_until.take().is_some();
        let record = StoreRecord::PersonJoined {
            room: self.setup.id,
            name: self.setup.name.to_string(),
            leg: id,
            display: leg.display.clone(),
            uri: leg.person.uri.clone(),
            account: leg.person.account.clone(),
            user_agent: leg.person.user_agent.clone(),
            call_id: leg.person.call_id.clone(),
            first,
        };
        tracing::info!(person = %leg.display, "joined");
        self.push(RoomOutput::Record(record));
        self.occupancy_changed(now);
    }

    fn reoffer(&mut self, id: LegId, request: &Request, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let session = leg.session;
        let Some(ports) = leg.ports else {
            let rejection = Rejection::new(StatusCode::REQUEST_PENDING);
            return self.refuse(session, rejection);
        };
        match leg.negotiation.reoffer(request, ports) {
            Ok(Reoffered::Answered(body, negotiated)) => {
                self.apply(id, &negotiated, now);
                self.sip(SipCommand::Answer { session, body });
                self.roster.mark();
            }
            Ok(Reoffered::Offered(body)) => self.sip(SipCommand::Answer { session, body }),
            Err(rejection) => self.refuse(session, rejection),
        }
    }

    fn answer_in_ack(&mut self, id: LegId, body: &[u8], content_type: Option<&str>, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !leg.negotiation.awaits_answer() {
            return;
        }
        match leg.negotiation.take_answer(content_type, body) {
            Ok(negotiated) => {
                self.apply(id, &negotiated, now);
                self.roster.mark();
            }
            Err(error) => {
                // RFC 3261 §14.1: what was agreed on before holds on.
                tracing::info!(%error, "the ACK's answer does not fit");
            }
        }
    }

    /// The answer to our refresh: a phone may have moved, or changed its key.
    fn refreshed(&mut self, id: LegId, response: &Response, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.in_mix) else {
            return;
        };
        let content_type = response.headers.get(&HeaderName::ContentType);
        match leg.negotiation.refreshed(content_type, &response.body) {
            Ok(negotiated) if negotiated.changed => {
                self.apply(id, &negotiated, now);
                self.roster.mark();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::info!(room = %self.setup.name, leg = %id, %error, "the refresh's answer does not fit");
            }
        }
    }

    fn in_dialog_request(&mut self, id: LegId, tx: ServerTx, request: &Request, now: Instant) {
        match request.method {
            Method::Options => {
                let mut response = Response::to(request, StatusCode::OK);
                answers::add_capabilities(&mut response.headers);
                if let Some(leg) = self.legs.get(&id) {
                    let contact = answers::focus_contact(&self.setup.name, &leg.flow);
                    response.headers.set(HeaderName::Contact, contact);
                }
                self.sip(SipCommand::Respond { tx, response });
            }
            Method::Info => {
                let content_type = request.headers.get(&HeaderName::ContentType).unwrap_or_default();
                let digit = digits::digit_of_info(body::bare_type(content_type), &request.body);
                match digit {
                    Some(digit) => {
                        self.respond(tx, request, StatusCode::OK);
                        self.digit(id, digit, now);
                    }
                    // RFC 2976 §2.2: without a body it keeps the dialog alive.
                    None if request.body.is_empty() => self.respond(tx, request, StatusCode::OK),
                    None => {
                        let mut response = Response::to(request, StatusCode::UNSUPPORTED_MEDIA_TYPE);
                        response
                            .headers
                            .set(HeaderName::Accept, "application/dtmf-relay, application/dtmf");
                        self.sip(SipCommand::Respond { tx, response });
                    }
                }
            }
            _ => self.respond(tx, request, StatusCode::NOT_IMPLEMENTED),
        }
    }

    /// Tells the mixer what holds now: a new leg is added, a known one changed in place.
    fn apply(&mut self, id: LegId, negotiated: &Negotiated, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let audio = &negotiated.audio;
        let keys = mixing::key_change(leg.srtp.as_ref(), audio.srtp.as_ref());
        leg.srtp.clone_from(&audio.srtp);
        let command = if leg.in_mix {
            if !negotiated.changed {
                return;
            }
            let update = Box::new(mixing::leg_update(audio, self.setup.limits.opus));
            MediaCommand::Update { leg: id, update }
        } else {
            leg.in_mix = true;
            if let Some(ports) = leg.ports.as_mut().filter(|_| audio.rtcp_mux) {
                // The leg is built without its RTCP port; a later agreement without rtcp-mux names the RTP port.
                ports.rtcp = None;
            }
            leg.source = audio.direction == Direction::RecvOnly;
            let config = mixing::leg_config(id, audio, self.setup.limits.opus, &mut self.rng);
            MediaCommand::Add {
                leg: id,
                config: Box::new(config),
            }
        };
        // A peer on hold may be silent, or play music: neither tells whether it lives, so it is asked
        // from time to time. When it is to be heard again the mixer begins to count anew.
        let heard =
            audio.direction == Direction::SendRecv || (leg.source && audio.direction == Direction::RecvOnly);
        let sound_due = heard && !audio.disabled;
        match (leg.sound_due, sound_due) {
            (true, false) if leg.probe == Probe::Quiet => {
                leg.probe = Probe::Due(now + limits::PROBE_INTERVAL);
            }
            (false, true) => leg.probe = Probe::Quiet,
            _ => {}
        }
        leg.sound_due = sound_due;
        if let Some(change) = keys {
            self.push(RoomOutput::Media(MediaCommand::Keys { leg: id, change }));
        }
        self.push(RoomOutput::Media(command));
    }

    fn accept_headers(&self, id: LegId) -> Headers {
        let mut headers = Headers::new();
        if let Some(leg) = self.legs.get(&id) {
            headers.set(
                HeaderName::Contact,
                answers::focus_contact(&self.setup.name, &leg.flow),
            );
            headers.set(HeaderName::AllowEvents, answers::CONFERENCE_EVENT);
            if let Some(token) = &leg.creator_token {
                headers.set(
                    HeaderName::CallInfo,
                    answers::call_info(&self.setup.api_url, Some(token)),
                );
            }
        }
        headers
    }

    fn refuse(&mut self, session: SessionId, rejection: Rejection) {
        self.sip(SipCommand::Refuse {
            session,
            status: rejection.status,
            headers: rejection.headers,
        });
    }

    /// Takes the leg out of every table and closes its media.
    fn forget_leg(&mut self, id: LegId) -> Option<Leg> {
        let leg = self.legs.remove(&id)?;
        self.sessions.remove(&leg.session);
        if self.speaker == Some(id) {
            self.speaker = None;
        }
        self.push(RoomOutput::Media(MediaCommand::CloseLeg { leg: id }));
        Some(leg)
    }
}

/// What a caller hears whose call is given up before it was answered.
fn refusal_of(reason: LeaveReason) -> Rejection {
    match reason {
        LeaveReason::MeetingEnded => Rejection::new(StatusCode::GONE),
        LeaveReason::Removed => Rejection::new(StatusCode::FORBIDDEN),
        _ => Rejection::unavailable(),
    }
}
