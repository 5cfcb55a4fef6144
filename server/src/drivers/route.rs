//! Which of our addresses a peer can reach: needed where a socket is bound to the wildcard.
//!
//! The system is asked by connecting a throw-away UDP socket (which sends nothing) and reading
//! its own address; the answer is kept for a short time. Deliberately absent: NAT (a later
//! issue), and per-packet destination addresses: what we send leaves by the route anyway.

use super::limits::{ROUTE_AGE, ROUTE_CACHE};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

/// Remembers the local address towards each remote one.
#[derive(Debug, Default)]
pub struct Routes {
    known: HashMap<IpAddr, (IpAddr, Instant)>,
}

impl Routes {
    /// The address at which `remote` reaches the socket bound to `bound`.
    pub fn local(&mut self, bound: SocketAddr, remote: SocketAddr, now: Instant) -> SocketAddr {
        if !bound.ip().is_unspecified() {
            return bound;
        }
        if let Some((ip, since)) = self.known.get(&remote.ip())
            && now.saturating_duration_since(*since) < ROUTE_AGE
        {
            return SocketAddr::new(*ip, bound.port());
        }
        let Ok(ip) = ask(remote) else { return bound };
        if self.known.len() >= ROUTE_CACHE {
            self.known
                .retain(|_, (_, since)| now.saturating_duration_since(*since) < ROUTE_AGE);
        }
        if self.known.len() < ROUTE_CACHE {
            self.known.insert(remote.ip(), (ip, now));
        }
        SocketAddr::new(ip, bound.port())
    }
}

fn ask(remote: SocketAddr) -> std::io::Result<IpAddr> {
    let any = match remote {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Any port will do, but 0 is refused.
    socket.connect(SocketAddr::new(remote.ip(), remote.port().max(1)))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_is_resolved_per_peer_and_remembered() {
        let now = Instant::now();
        let mut routes = Routes::default();
        let remote = "127.0.0.1:9".parse().unwrap();
        let local = routes.local("0.0.0.0:5060".parse().unwrap(), remote, now);
        assert_eq!(local, "127.0.0.1:5060".parse().unwrap());
        assert_eq!(routes.known.len(), 1);
        assert_eq!(
            routes.local("0.0.0.0:5070".parse().unwrap(), remote, now).port(),
            5070
        );
    }

    #[test]
    fn a_bound_address_is_kept() {
        let bound = "192.0.2.7:5060".parse().unwrap();
        let mut routes = Routes::default();
        assert_eq!(
            routes.local(bound, "127.0.0.1:9".parse().unwrap(), Instant::now()),
            bound
        );
    }
}
