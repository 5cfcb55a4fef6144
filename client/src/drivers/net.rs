//! The local address that a peer can answer to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::error::MeetError;

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
