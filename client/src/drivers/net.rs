//! Addresses: names to addresses, and the local address that a peer can answer to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::cli::config::ServerAddress;
use crate::error::MeetError;

/// The server's address. IPv4 is preferred where a name has both, as most phones on a network have it.
pub(super) async fn resolve(server: &ServerAddress) -> Result<SocketAddr, MeetError> {
    if let Ok(ip) = server.host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, server.port));
    }
    let failed = |source| MeetError::Resolve {
        host: server.host.clone(),
        source,
    };
    let found: Vec<SocketAddr> = tokio::net::lookup_host((server.host.as_str(), server.port))
        .await
        .map_err(failed)?
        .collect();
    let best = found
        .iter()
        .find(|address| address.is_ipv4())
        .or_else(|| found.first());
    best.copied()
        .ok_or_else(|| failed(std::io::Error::from(std::io::ErrorKind::NotFound)))
}

/// The address of ours that the peer sees, by the routing table: nothing is sent.
pub(super) fn local_towards(remote: SocketAddr) -> Result<IpAddr, MeetError> {
    let failed = |source| MeetError::Socket {
        what: "no route to",
        address: remote.to_string(),
        source,
    };
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind((any, 0)).map_err(failed)?;
    probe.connect(remote).map_err(failed)?;
    Ok(probe.local_addr().map_err(failed)?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_answered_from_loopback() {
        assert_eq!(
            local_towards("127.0.0.1:5060".parse().unwrap()).unwrap(),
            Ipv4Addr::LOCALHOST
        );
    }
}
