//! Offer and answer of one leg: from the bodies of its messages to what both sides agreed on.
//!
//! [`Negotiation`] wraps the RFC 3264 state machine of `sip_proto` with what a focus brings to
//! it (codecs, ports, direction) and turns every failure into the answer that goes on the wire.
//! Deliberately absent: the SIP transactions around it, and the mixer's view (`mixing`).

use std::net::{IpAddr, Ipv4Addr};

use sip_proto::endpoint::Body;
use sip_proto::message::{HeaderName, Request, StatusCode};
use sip_proto::sdp;
use sip_proto::sdp::offer_answer::{
    AnswerError, AudioFormat, LocalExtras, LocalMedia, Negotiated, NegotiatedAudio, OfferAnswer, OfferError,
    Refusal, SrtpPolicy,
};

use super::answers::Rejection;
use super::body::{self, SessionBody};
use super::leg::LegPorts;
use super::settings::{OpusSettings, RoomLimits};

/// Offer and answer of one leg over its whole life.
#[derive(Debug)]
pub struct Negotiation {
    machine: OfferAnswer,
    opus: OpusSettings,
    srtp: SrtpPolicy,
    offer_waits: bool,
    answer_awaited: bool,
    may_ring: bool,
}

/// What a re-INVITE or UPDATE comes to.
#[derive(Debug)]
pub enum Reoffered {
    /// Our answer, and what holds now.
    Answered(Body, Box<Negotiated>),
    /// It had no offer: ours, whose answer comes in the ACK.
    Offered(Body),
}

impl Negotiation {
    /// Reads an INVITE. `session_id` goes into `o=`, `seed` makes our keys. An offer is tried against our codecs, so that
    /// nothing is set up for a call that cannot be.
    ///
    /// # Errors
    /// 415, 400, 488 with Warning.
    pub fn of_invite(
        request: &Request,
        session_id: u64,
        seed: [u8; 32],
        settings: &RoomLimits,
    ) -> Result<Self, Rejection> {
        let mut negotiation = Self {
            machine: OfferAnswer::new(session_id).with_keys(seed),
            opus: settings.opus,
            srtp: settings.srtp,
            offer_waits: false,
            answer_awaited: false,
            may_ring: !request.body.is_empty() || !request.headers.has_token(&HeaderName::Require, "100rel"),
        };
        body::check_accept(&request.headers)?;
        if let SessionBody::Sdp(offer) = body::session_body(request)? {
            negotiation.take_offer(offer)?;
            let trial = LegPorts {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                rtp: 9,
                rtcp: None,
            };
            let local = negotiation.local(trial);
            negotiation.machine.check_offer(&local).map_err(refused)?;
        }
        Ok(negotiation)
    }

    /// What was agreed on last.
    pub fn agreed(&self) -> Option<&NegotiatedAudio> {
        self.machine.established().map(|negotiated| &negotiated.audio)
    }

    /// Whether the peer's offer waits for [`Self::answer`]; otherwise we must [`Self::offer`].
    pub const fn has_offer(&self) -> bool {
        self.offer_waits
    }

    /// Whether a 180 without a description may go out. RFC 3262 §5: a caller that makes no offer and requires
    /// reliable responses is to find ours in the first of them; it is answered at once instead, for our offer needs the
    /// sockets, and rings only for show.
    pub const fn may_ring(&self) -> bool {
        self.may_ring
    }

    /// Whether the ACK must bring the answer to our offer.
    pub const fn awaits_answer(&self) -> bool {
        self.answer_awaited
    }

    /// Answers the peer's offer.
    ///
    /// # Errors
    /// 488 with Warning, and what [`Refusal`] says.
    pub fn answer(&mut self, ports: LegPorts) -> Result<(Body, Box<Negotiated>), Rejection> {
        self.offer_waits = false;
        let (answer, negotiated) = self.machine.create_answer(&self.local(ports)).map_err(refused)?;
        Ok((Body::sdp(answer.to_string()), Box::new(negotiated)))
    }

    /// Makes our offer.
    ///
    /// # Errors
    /// 491 or 500: another exchange is under way.
    pub fn offer(&mut self, ports: LegPorts) -> Result<Body, Rejection> {
        let offer = self
            .machine
            .create_offer(&self.local(ports))
            .map_err(|error| match error {
                OfferError::OutOfTurn => Rejection::new(StatusCode::REQUEST_PENDING),
                OfferError::LocalMedia => Rejection::new(StatusCode::SERVER_INTERNAL_ERROR),
            })?;
        self.answer_awaited = true;
        Ok(Body::sdp(offer.to_string()))
    }

    /// Takes the answer that came with an ACK.
    ///
    /// # Errors
    /// It does not fit; what held before holds on.
    pub fn take_answer(
        &mut self,
        content_type: Option<&str>,
        bytes: &[u8],
    ) -> Result<Box<Negotiated>, AnswerError> {
        self.answer_awaited = false;
        let answer = body::find_sdp(content_type.unwrap_or(body::SDP), bytes).unwrap_or_default();
        match sdp::parse(answer) {
            Ok(answer) => self.machine.receive_answer(answer).map(Box::new),
            Err(error) => {
                self.machine.rollback();
                Err(AnswerError::Unreadable(error))
            }
        }
    }

    /// Takes the answer to a refresh of the session, which repeated our last description.
    ///
    /// # Errors
    /// It does not fit; what held before holds on.
    pub fn refreshed(
        &mut self,
        content_type: Option<&str>,
        bytes: &[u8],
    ) -> Result<Box<Negotiated>, AnswerError> {
        let answer = body::find_sdp(content_type.unwrap_or(body::SDP), bytes).unwrap_or_default();
        let answer = sdp::parse(answer).map_err(AnswerError::Unreadable)?;
        self.machine.receive_refreshed(answer).map(Box::new)
    }

    /// Answers a re-INVITE or UPDATE in place.
    ///
    /// # Errors
    /// 415, 400, 488, 491; what held before holds on (RFC 3261 §14.2).
    pub fn reoffer(&mut self, request: &Request, ports: LegPorts) -> Result<Reoffered, Rejection> {
        match body::session_body(request)? {
            SessionBody::Sdp(offer) => {
                self.take_offer(offer)?;
                let (body, negotiated) = self.answer(ports)?;
                Ok(Reoffered::Answered(body, negotiated))
            }
            SessionBody::None => self.offer(ports).map(Reoffered::Offered),
        }
    }

    /// Gives up an exchange under way.
    pub fn rollback(&mut self) {
        self.offer_waits = false;
        self.answer_awaited = false;
        self.machine.rollback();
    }

    fn take_offer(&mut self, offer: &[u8]) -> Result<(), Rejection> {
        let offer = sdp::parse(offer).map_err(|error| refused(Refusal::Unreadable(error)))?;
        self.machine.receive_offer(offer).map_err(refused)?;
        self.offer_waits = true;
        Ok(())
    }

    /// What the focus offers and answers with. The peer's order of codecs is followed in
    /// answers (RFC 3264 §6.1): whoever sets up a phone decides what it uses.
    fn local(&self, ports: LegPorts) -> LocalMedia {
        let mut local = LocalMedia::new(ports.address, ports.rtp);
        let opus_fmtp = format!(
            "useinbandfec=1;maxaveragebitrate={}",
            self.opus.bitrate.max(32_000)
        );
        local.formats = vec![
            AudioFormat::opus(96, Some(opus_fmtp)),
            AudioFormat::g722(),
            AudioFormat::pcmu(),
            AudioFormat::pcma(),
        ];
        // A leg whose RTCP port was given up takes RTCP at its RTP port, muxed or not (RFC 3605 §2.1).
        local.rtcp_port = ports.rtcp.or(Some(ports.rtp));
        local.prefer_local = false;
        local.extras = LocalExtras {
            receive_level: true,
            send_mixer_levels: true,
            comfort_noise: true,
            voip_metrics: true,
            ..LocalExtras::default()
        };
        local.srtp = self.srtp;
        local
    }
}

/// The answer on the wire to an offer that cannot be agreed to.
fn refused(refusal: Refusal) -> Rejection {
    let status = StatusCode::new(refusal.status()).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE);
    let rejection = Rejection::new(status);
    match refusal.warning() {
        Some((code, text)) => rejection.warn(code, &text),
        None => rejection,
    }
}
