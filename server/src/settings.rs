//! From the configuration to the settings of the cores.

use crate::config::Config;
use crate::drivers::route::Routes;
use crate::focus::policy::ALLOWED_METHODS;
use crate::focus::settings::{Admittance, FocusSettings, OpusSettings, RoomLimits};
use crate::registrar::RegistrarSettings;
use sip_proto::endpoint::EndpointConfig;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// A thousand calls a second leave 64,000 transactions behind (RFC 3261: 32 s for each INVITE and BYE), two thousand
/// registrations as many: the tables need not grow for these.
const EXPECTED_TRANSACTIONS: usize = 65_536;

/// A fresh seed from the system.
pub fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

/// For the focus.
pub fn focus(config: &Config, sip: Option<SocketAddr>, http: Option<SocketAddr>) -> FocusSettings {
    FocusSettings {
        admittance: if config.lan {
            Admittance::Lan
        } else {
            Admittance::Accounts
        },
        realm: config.sip.realm.clone(),
        trusted: config.protection.settings().trusted,
        domains: config.sip.domains.clone(),
        authority: sip.map_or_else(
            || "localhost".to_owned(),
            |address| reachable(address).to_string(),
        ),
        api_url: http.map(|address| format!("http://{}", reachable(address))),
        // On a wildcard the API answers at whatever address the SIP request came to.
        api_port_beside_sip: http
            .filter(|address| address.ip().is_unspecified())
            .map(|address| address.port()),
        algorithms: config.digest_algorithms(),
        ended_hold: Duration::from_secs(config.meetings.ended_hold_seconds),
        empty_grace: Duration::from_secs(config.meetings.empty_grace_seconds),
        unjoined_hold: Duration::from_secs(config.meetings.unused_grace_seconds),
        max_rooms: config.meetings.max_rooms,
        load: config.overload.settings(),
        room: RoomLimits {
            max_legs: config.meetings.max_members,
            ring: Duration::from_millis(config.meetings.ring_milliseconds),
            opus: OpusSettings {
                bitrate: config.media.opus_bitrate,
                complexity: config.media.opus_complexity,
            },
            srtp: config.srtp_policy(),
            ..RoomLimits::default()
        },
        registrar: RegistrarSettings {
            max_expires: Duration::from_secs(config.sip.max_expires_seconds.into()),
            default_expires: Duration::from_secs(config.sip.max_expires_seconds.into()),
            min_expires: Duration::from_secs(config.sip.min_expires_seconds.into()),
            ..RegistrarSettings::default()
        },
        ..FocusSettings::default()
    }
}

/// For the endpoint.
pub fn endpoint(config: &Config) -> EndpointConfig {
    EndpointConfig {
        user_agent: concat!("Meet/", env!("CARGO_PKG_VERSION")).to_owned(),
        allow: ALLOWED_METHODS.to_vec(),
        allow_events: vec!["conference".to_owned()],
        supported: ["100rel", "timer", "path"].map(str::to_owned).to_vec(),
        session_expires: Some(config.meetings.session_expires_seconds).filter(|seconds| *seconds > 0),
        min_session_expires: config.meetings.min_session_expires_seconds,
        stream_above: Some(config.sip.stream_above_bytes),
        max_dialogs_per_peer: config
            .meetings
            .max_members
            .saturating_mul(config.meetings.max_rooms),
        screened: true,
        expected_transactions: EXPECTED_TRANSACTIONS,
        ..EndpointConfig::default()
    }
}

/// For every mixer room.
pub fn mixing(config: &Config) -> mixer::RoomConfig {
    mixer::RoomConfig {
        max_legs: config.meetings.max_members,
        max_talkers: config.media.talkers,
        normalise: config.media.normalise,
        silence_timeout: Duration::from_secs(config.meetings.vanish_seconds),
        ..mixer::RoomConfig::default()
    }
}

/// An address to write into URIs: a wildcard becomes the address of the default route.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    // RFC 5737 and RFC 3849 addresses: nothing is sent, only the route is looked up.
    let far = if address.is_ipv4() {
        "192.0.2.1:9"
    } else {
        "[2001:db8::1]:9"
    };
    let local = far
        .parse()
        .map(|far| Routes::default().local(address, far, Instant::now()));
    match local {
        Ok(local) if !local.ip().is_unspecified() => local,
        _ if address.is_ipv4() => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        _ => SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), address.port()),
    }
}
