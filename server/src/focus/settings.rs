//! What the driver tells the focus at the start, already validated.
//!
//! Deliberately absent: reading files or environment; that is `crate::config`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sip_proto::digest::Algorithm;
use sip_proto::sdp::offer_answer::SrtpPolicy;

use super::limits;
use super::load::LoadSettings;
use crate::registrar::RegistrarSettings;
use crate::shield::Network;

/// Who may use the server at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admittance {
    /// `--lan`: no accounts; only sources in loopback, private, link-local and ULA ranges; any
    /// room named in a request URI is created by its first INVITE.
    Lan,
    /// Digest accounts are required; unknown rooms are 404.
    Accounts,
}

/// Settings of the focus.
#[derive(Debug, Clone)]
pub struct FocusSettings {
    /// Who may come in.
    pub admittance: Admittance,
    /// Digest realm.
    pub realm: String,
    /// Sources whose calls are not bounded before they are acknowledged: trunks, test machines.
    pub trusted: Vec<Network>,
    /// Host names that this server answers for. Empty: any. Addresses are always accepted.
    pub domains: Vec<String>,
    /// User part of the factory URI.
    pub factory_user: String,
    /// `HOST` or `HOST:PORT` for URIs that are made where no SIP flow says it (the API).
    pub authority: String,
    /// Base URL of the HTTP API as a client can reach it, without a trailing slash.
    pub api_url: Option<String>,
    /// The API listens on a wildcard with this port: in answers to SIP it is named by the address
    /// that the request came to, which the peer can reach, instead of `api_url`.
    pub api_port_beside_sip: Option<u16>,
    /// Digest algorithms offered, the preferred one first. MD5 also lets in answers without qop.
    pub algorithms: Vec<Algorithm>,
    /// How long an ended name is answered with 410.
    pub ended_hold: Duration,
    /// How long a room stays after the last one left.
    pub empty_grace: Duration,
    /// How long a room made by the API waits for its first participant.
    pub unjoined_hold: Duration,
    /// Rooms alive at once.
    pub max_rooms: usize,
    /// When new calls are refused because of load.
    pub load: LoadSettings,
    /// Settings of each room.
    pub room: RoomLimits,
    /// Settings of the registrar.
    pub registrar: RegistrarSettings,
}

/// Bounds and codec choices of one room.
#[derive(Debug, Clone)]
pub struct RoomLimits {
    /// Legs in one room.
    pub max_legs: usize,
    /// Roster subscriptions to one room.
    pub max_subscriptions: usize,
    /// How long a call rings (180) before it is answered; zero: answered at once.
    pub ring: Duration,
    /// What we send in Opus.
    pub opus: OpusSettings,
    /// Whether media is protected.
    pub srtp: SrtpPolicy,
}

/// How Opus is sent where the peer leaves us the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpusSettings {
    /// Bits a second.
    pub bitrate: u32,
    /// Encoder complexity, 0 to 10.
    pub complexity: u8,
}

impl FocusSettings {
    /// Base URL of the API for somebody who reached this server at `local`.
    pub fn api_url_for(&self, local: IpAddr) -> Option<String> {
        match self.api_port_beside_sip {
            Some(port) => Some(format!("http://{}", SocketAddr::new(local, port))),
            None => self.api_url.clone(),
        }
    }
}

impl Default for OpusSettings {
    fn default() -> Self {
        Self {
            bitrate: 32_000,
            complexity: 5,
        }
    }
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            max_legs: limits::MAX_LEGS_PER_ROOM,
            max_subscriptions: limits::MAX_SUBSCRIPTIONS_PER_ROOM,
            ring: Duration::ZERO,
            opus: OpusSettings::default(),
            srtp: SrtpPolicy::Optional,
        }
    }
}

impl Default for FocusSettings {
    fn default() -> Self {
        Self {
            admittance: Admittance::Accounts,
            realm: "meet".to_owned(),
            trusted: Vec::new(),
            domains: Vec::new(),
            factory_user: "create".to_owned(),
            authority: "localhost".to_owned(),
            api_url: None,
            api_port_beside_sip: None,
            algorithms: vec![Algorithm::Sha256],
            ended_hold: Duration::from_secs(600),
            empty_grace: Duration::from_secs(30),
            unjoined_hold: Duration::from_secs(12 * 3600),
            max_rooms: limits::MAX_ROOMS,
            load: LoadSettings::default(),
            room: RoomLimits::default(),
            registrar: RegistrarSettings::default(),
        }
    }
}
