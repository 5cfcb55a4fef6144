//! Offer and answer (RFC 3264) as a state machine for one session with one audio stream.
//!
//! [`OfferAnswer`] lives as long as the dialog. It keeps the `o=` identity and version, the order of `m=` lines,
//! and the payload types in use, so that callers only say what they want now ([`LocalMedia`]) and get what
//! holds now ([`Negotiated`]). An exchange that fails leaves the session as it was.
//!
//! | state | `create_offer` | `receive_answer` | `receive_offer` | `create_answer` | `rollback` |
//! |---|---|---|---|---|---|
//! | Stable | → LocalOffer | a further answer to the last offer of ours: Stable, else out of turn | → RemoteOffer | out of turn | Stable |
//! | LocalOffer | out of turn | → Stable | glare, stays | out of turn | → Stable |
//! | RemoteOffer | out of turn | out of turn | out of turn | → Stable | → Stable |
//!
//! Where a session is refreshed by re-INVITE with our last description, [`OfferAnswer::receive_refreshed`] takes the
//! answer in any state.
//!
//! Only audio in `RTP/AVP(F)`, and with keys (RFC 4568) in `RTP/SAVP(F)`, is taken, and only the first line of it that
//! fits (in a running session the line in use, while it fits). Every other line is answered with port 0. What
//! becomes of keys is in the table of `protection`; the protocol is echoed exactly.
//!
//! Deliberately absent: DTLS, ICE and BUNDLE (a `group` is never answered; `mid` is echoed), video and multicast.

mod compose;
mod extras;
mod local;
mod negotiated;
mod payload_types;
mod protection;
mod refusal;
mod select;

pub use extras::{LocalExtras, NegotiatedExtras};
pub use local::{AudioFormat, LocalMedia, SrtpPolicy};
pub use negotiated::{Negotiated, NegotiatedAudio, NegotiatedSrtp};
pub use refusal::{AnswerError, OfferError, Refusal};

use std::net::IpAddr;

use self::compose::AudioSection;
use self::payload_types::PayloadTypes;
use self::protection::Moved;
use self::select::Agreed;
use crate::sdp::attributes::Direction;
use crate::sdp::crypto::{Crypto, KeySource};
use crate::sdp::model::{Connection, MediaDescription, Origin, SessionDescription};

/// Offer/answer for one session.
#[derive(Debug, Clone)]
pub struct OfferAnswer {
    session_id: u64,
    version: u64,
    origin_address: Option<IpAddr>,
    last_sent: Option<SessionDescription>,
    payload_types: PayloadTypes,
    established: Option<Box<Negotiated>>,
    /// The offer of ours that was agreed to last; none where the peer offered last.
    offered: Option<Box<Offered>>,
    keys: Option<Box<KeySource>>,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Nothing is under way. Until the next exchange a further answer to our last offer may come.
    Stable {
        further: bool,
    },
    LocalOffer(Box<Offered>),
    RemoteOffer(Box<SessionDescription>),
}

/// What we offered, as far as the answer is read against it.
#[derive(Debug, Clone)]
struct Offered {
    description: SessionDescription,
    mline: usize,
    formats: Vec<AudioFormat>,
    events: Vec<(u8, u32)>,
    direction: Direction,
    ptime: Option<u8>,
    cryptos: Vec<Crypto>,
    /// Clear media would not do.
    protected_only: bool,
}

impl OfferAnswer {
    /// A session that has seen no description yet. `session_id` goes into `o=` (the upper two bits are left
    /// out) and must be random enough that sessions of this host differ (RFC 8866 §5.2).
    #[must_use]
    pub fn new(session_id: u64) -> Self {
        Self {
            session_id: session_id & (u64::MAX >> 2),
            version: 1,
            origin_address: None,
            last_sent: None,
            payload_types: PayloadTypes::default(),
            established: None,
            offered: None,
            keys: None,
            state: State::Stable { further: false },
        }
    }

    /// The same with keys for SRTP, made from `seed`, which must be random and of this session alone. Without it
    /// only [`SrtpPolicy::Off`] is possible.
    #[must_use]
    pub fn with_keys(mut self, seed: [u8; 32]) -> Self {
        self.keys = Some(Box::new(KeySource::new(seed)));
        self
    }

    /// What was agreed on last.
    #[must_use]
    pub fn established(&self) -> Option<&Negotiated> {
        self.established.as_deref()
    }

    /// Whether neither side has an offer under way.
    #[must_use]
    pub fn is_stable(&self) -> bool {
        matches!(self.state, State::Stable { .. })
    }

    /// Makes an offer: the first, or a new one in the session. In a running session the stream in use keeps its
    /// line and payload types and its codec comes first, so that a hold does not switch codecs; lines that are
    /// not ours stay refused.
    ///
    /// # Errors
    /// Another offer is under way; no codec; port 0 in a first offer.
    pub fn create_offer(&mut self, local: &LocalMedia) -> Result<SessionDescription, OfferError> {
        if !self.is_stable() {
            return Err(OfferError::OutOfTurn);
        }
        if !self.is_able(local) || (local.rtp_port == 0 && self.established.is_none()) {
            return Err(OfferError::LocalMedia);
        }
        let formats = self
            .payload_types
            .assign(&self.formats_by_use(local))
            .ok_or(OfferError::LocalMedia)?;
        let events = if local.telephone_event {
            self.payload_types
                .assign_events(&formats)
                .ok_or(OfferError::LocalMedia)?
        } else {
            Vec::new()
        };
        let template = self
            .established
            .as_deref()
            .map(|before| (before.audio.mline, &before.local.media));
        let (mline, mut media) = match template {
            Some((mline, media)) => (mline, media.iter().map(compose::refused).collect()),
            None => (0, Vec::new()),
        };
        let before = template.and_then(|(mline, media)| media.get(mline));
        let srtp = self
            .established
            .as_deref()
            .map(|before| before.audio.srtp.as_ref());
        let moved = self.listens_elsewhere(local);
        let cryptos = protection::to_offer(local.srtp, srtp, moved, self.keys.as_deref_mut());
        let audio = compose::audio(&AudioSection {
            local,
            protocol: before.map_or(protection::offered_protocol(local.srtp), |line| {
                line.protocol.as_str()
            }),
            mid: before.and_then(MediaDescription::mid),
            formats: &formats,
            events: &events
                .iter()
                .map(|(pt, clock)| (*pt, *clock, "0-16"))
                .collect::<Vec<_>>(),
            ptime: local.ptime,
            direction: local.direction,
            rtcp_mux: local.rtcp_mux,
            cryptos: &cryptos,
            extras: extras::offered(
                local,
                self.established.as_deref().map(|before| &before.audio.extras),
            ),
        });
        match media.get_mut(mline) {
            Some(line) => *line = audio,
            None => media.push(audio),
        }
        let description = self.stamp(compose::description(local.address, media), local.address);
        self.payload_types.remember(&formats, &events);
        let offered = Offered {
            description: description.clone(),
            mline,
            formats,
            events,
            direction: local.direction,
            ptime: local.ptime,
            cryptos,
            protected_only: local.srtp == SrtpPolicy::Required,
        };
        self.state = State::LocalOffer(Box::new(offered));
        Ok(description)
    }

    /// Takes the answer to our offer. A further answer to the same offer (a final one after a provisional one,
    /// or one of another fork) is taken as long as no new exchange has begun.
    ///
    /// # Errors
    /// The answer does not fit the offer; then the session is as before the offer.
    pub fn receive_answer(&mut self, answer: SessionDescription) -> Result<Negotiated, AnswerError> {
        let offered = match (&self.state, &self.offered) {
            (State::LocalOffer(offered), _) | (State::Stable { further: true }, Some(offered)) => {
                offered.clone()
            }
            _ => return Err(AnswerError::OutOfTurn),
        };
        self.state = State::Stable { further: false };
        let audio = select::from_answer(&offered, &answer, self.established().map(|before| &before.audio))?;
        let local = offered.description.clone();
        self.state = State::Stable { further: true };
        self.offered = Some(offered);
        Ok(self.establish(audio, local, answer))
    }

    /// Takes the answer to an offer that only repeated our last description (a session is refreshed so, RFC 4028 §7.4).
    /// It may differ from what was said before, as any answer may: then that holds, and the result is `changed`. An
    /// exchange under way is not touched.
    ///
    /// # Errors
    /// The answer does not fit, or nothing was agreed on yet; what held before holds on.
    pub fn receive_refreshed(&mut self, answer: SessionDescription) -> Result<Negotiated, AnswerError> {
        let standing = self.standing().ok_or(AnswerError::OutOfTurn)?;
        let before = self.established().map(|before| &before.audio);
        let audio = select::from_answer(&standing, &answer, before)?;
        Ok(self.establish(audio, standing.description, answer))
    }

    /// Takes an offer of the peer; [`Self::create_answer`] comes next.
    ///
    /// # Errors
    /// Glare with our own offer; a second offer before the first is answered; fewer `m=` lines than before.
    pub fn receive_offer(&mut self, offer: SessionDescription) -> Result<(), Refusal> {
        match &self.state {
            State::Stable { .. } => {}
            State::LocalOffer(_) => return Err(Refusal::Glare),
            State::RemoteOffer(_) => return Err(Refusal::OutOfTurn),
        }
        if let Some(before) = self.established() {
            let (before, now) = (before.local.media.len(), offer.media.len());
            if now < before {
                return Err(Refusal::FewerMediaLines { before, now });
            }
        }
        self.state = State::RemoteOffer(Box::new(offer));
        Ok(())
    }

    /// Answers the offer taken by [`Self::receive_offer`].
    ///
    /// An offer that disables the audio of a running session (port 0) is agreed to: the result is `disabled`.
    ///
    /// # Errors
    /// Why no answer is possible. The offer is gone then and the session as before it.
    pub fn create_answer(&mut self, local: &LocalMedia) -> Result<(SessionDescription, Negotiated), Refusal> {
        let State::RemoteOffer(offer) = &self.state else {
            return Err(Refusal::OutOfTurn);
        };
        let offer = (**offer).clone();
        self.state = State::Stable { further: false };
        if !self.is_able(local) || local.rtp_port == 0 {
            return Err(Refusal::LocalMedia);
        }
        let before = self.established.as_deref().map(|before| &before.audio);
        let mut media: Vec<MediaDescription> = offer.media.iter().map(compose::refused).collect();
        let ours = self.listens_elsewhere(local);
        let audio = match (select::from_offer(&offer, local, before), before) {
            (Ok(mut agreed), _) => {
                let srtp = before.and_then(|audio| audio.srtp.as_ref());
                let was = before.and_then(|audio| audio.remote_rtp);
                let theirs = agreed
                    .audio
                    .remote_rtp
                    .is_some_and(|now| was.is_some_and(|was| was != now));
                let (moved, keys) = (Moved { ours, theirs }, self.keys.as_deref_mut());
                let crypto = agreed.crypto.take();
                agreed.audio.srtp = crypto.and_then(|theirs| protection::agree(theirs, srtp, moved, keys));
                let line = answer_line(&offer, local, &agreed);
                if let Some(place) = media.get_mut(agreed.audio.mline) {
                    *place = line;
                }
                self.payload_types
                    .remember(&agreed.audio.receive, &agreed.audio.receive_events);
                agreed.audio
            }
            (Err(Refusal::NoAudio), Some(before)) => select::disabled(before),
            (Err(refusal), _) => return Err(refusal),
        };
        // All that was offered is bound now, ours last.
        if let Some(offered) = offer.media.get(audio.mline) {
            self.payload_types.remember_offer(offered);
        }
        self.payload_types.remember(&audio.receive, &audio.receive_events);
        let answer = self.stamp(compose::description(local.address, media), local.address);
        let negotiated = self.establish(audio, answer.clone(), offer);
        self.offered = None;
        Ok((answer, negotiated))
    }

    /// Whether [`Self::create_answer`] would find an answer to the offer that waits; nothing changes.
    ///
    /// # Errors
    /// Why no answer is possible.
    pub fn check_offer(&self, local: &LocalMedia) -> Result<(), Refusal> {
        let State::RemoteOffer(offer) = &self.state else {
            return Err(Refusal::OutOfTurn);
        };
        if !self.is_able(local) || local.rtp_port == 0 {
            return Err(Refusal::LocalMedia);
        }
        let before = self.established.as_deref().map(|before| &before.audio);
        match select::from_offer(offer, local, before) {
            Ok(_) => Ok(()),
            Err(Refusal::NoAudio) if before.is_some() => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Gives up the exchange under way, after 488 or 491 for our offer or a refusal of the peer's: what was
    /// agreed on before holds on.
    pub fn rollback(&mut self) {
        if !self.is_stable() {
            self.state = State::Stable { further: false };
        }
    }

    /// Our last description as if it were an offer: what it was, or what our answer said.
    fn standing(&self) -> Option<Offered> {
        if let Some(offered) = &self.offered {
            return Some((**offered).clone());
        }
        let Negotiated { audio, local, .. } = self.established()?;
        let key = audio.srtp.as_ref().map(|srtp| Crypto {
            tag: srtp.tag,
            suite: srtp.suite,
            key: srtp.local.clone(),
        });
        Some(Offered {
            description: local.clone(),
            mline: audio.mline,
            formats: audio.receive.clone(),
            events: audio.receive_events.clone(),
            direction: audio.direction,
            ptime: Some(audio.ptime),
            protected_only: key.is_some(),
            cryptos: key.into_iter().collect(),
        })
    }

    /// Whether our end of the stream has another address or port than we said before.
    fn listens_elsewhere(&self, local: &LocalMedia) -> bool {
        let Some(before) = self.established() else {
            return false;
        };
        let line = before.local.media.get(before.audio.mline);
        line.filter(|line| line.port != 0 && local.rtp_port != 0)
            .is_some_and(|line| {
                let address = before.local.connection_of(line).and_then(Connection::ip);
                line.port != local.rtp_port || address.is_some_and(|address| address != local.address)
            })
    }

    fn establish(
        &mut self,
        audio: NegotiatedAudio,
        local: SessionDescription,
        remote: SessionDescription,
    ) -> Negotiated {
        let changed = self.established().is_none_or(|before| before.audio != audio);
        let negotiated = Negotiated {
            audio,
            changed,
            local,
            remote,
        };
        self.established = Some(Box::new(negotiated.clone()));
        negotiated
    }

    /// Whether this side can do what `local` says: a codec, and keys where they are wanted.
    fn is_able(&self, local: &LocalMedia) -> bool {
        !local.formats.is_empty() && (local.srtp == SrtpPolicy::Off || self.keys.is_some())
    }

    /// The codecs of `local`, the one in use first.
    fn formats_by_use(&self, local: &LocalMedia) -> Vec<AudioFormat> {
        let mut formats = local.formats.clone();
        if let Some(before) = self.established() {
            formats.sort_by_key(|format| !format.same_codec(&before.audio.send));
        }
        formats
    }

    /// Gives the description its `o=`. RFC 3264 §8: the same identity for the whole session, and a version that
    /// grows by one when, and only when, the description differs from the one sent before.
    fn stamp(&mut self, mut description: SessionDescription, address: IpAddr) -> SessionDescription {
        let address = *self.origin_address.get_or_insert(address);
        description.origin = Origin::new("-", self.session_id, self.version, address);
        if self.last_sent.as_ref().is_some_and(|last| *last != description) {
            self.version += 1;
            description.origin = Origin::new("-", self.session_id, self.version, address);
        }
        self.last_sent = Some(description.clone());
        description
    }
}

fn answer_line(offer: &SessionDescription, local: &LocalMedia, agreed: &Agreed) -> MediaDescription {
    let offered = offer.media.get(agreed.audio.mline);
    let events: Vec<(u8, u32, &str)> = agreed
        .audio
        .receive_events
        .iter()
        .map(|(pt, clock)| {
            (
                *pt,
                *clock,
                select::answered_events(offered.and_then(|line| line.fmtp_text(*pt))),
            )
        })
        .collect();
    let ours = agreed.audio.srtp.as_ref().map(|srtp| Crypto {
        tag: srtp.tag,
        suite: srtp.suite,
        key: srtp.local.clone(),
    });
    compose::audio(&AudioSection {
        local,
        protocol: offered.map_or("RTP/AVP", |line| line.protocol.as_str()),
        mid: agreed.audio.mid.as_deref(),
        formats: &agreed.audio.receive,
        events: &events,
        // Phones that can do one packet length only expect it both ways: answer with what we send.
        ptime: Some(agreed.audio.ptime),
        direction: agreed.audio.direction,
        rtcp_mux: agreed.audio.rtcp_mux,
        cryptos: ours.as_slice(),
        extras: offered
            .map(|line| extras::answered(offer, line, local, &agreed.audio.extras))
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
