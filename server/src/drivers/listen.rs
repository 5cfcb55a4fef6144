//! Binding: UDP and TCP on the same port, IPv6 apart from IPv4.

use super::limits::PORT_ATTEMPTS;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Waiting connections; the kernel's own bound is lower on most systems.
const BACKLOG: i32 = 1024;
/// Asked of the kernel for bursts of SIP; it gives what `net.core.rmem_max` allows.
const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Both sockets of one SIP address.
#[derive(Debug)]
pub struct SipListener {
    /// As bound, with the true port.
    pub address: SocketAddr,
    /// Datagrams.
    pub udp: UdpSocket,
    /// Streams.
    pub tcp: TcpListener,
}

impl SipListener {
    /// Binds both; with port 0 the system chooses one that is free for both.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..PORT_ATTEMPTS {
            let tcp = tcp(address)?;
            let bound = tcp.local_addr()?;
            match udp(bound) {
                Ok(udp) => {
                    return Ok(Self {
                        address: bound,
                        udp,
                        tcp,
                    });
                }
                Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

/// A listening TCP socket that does not block.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    // A restart must not wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    // Only wishes; the second one is beyond `net.core.rmem_max`, and granted to root.
    drop(socket.set_recv_buffer_size(UDP_BUFFER));
    if let Err(error) = setsockopt(&socket, sockopt::RcvBufForce, &UDP_BUFFER) {
        tracing::debug!(%error, "the receive buffer of SIP keeps the size that the system allows");
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can be given side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_for_both_and_no_second_server() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let first = SipListener::bind(ip.parse().unwrap()).unwrap();
            assert_eq!(
                first.udp.local_addr().unwrap().port(),
                first.tcp.local_addr().unwrap().port()
            );
            let error = SipListener::bind(first.address).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn wildcards_of_both_families_stand_side_by_side() {
        let four = SipListener::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let six = format!("[::]:{}", four.address.port()).parse().unwrap();
        assert!(SipListener::bind(six).is_ok());
    }
}
