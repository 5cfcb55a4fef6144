//! A leg's sockets: RTP on an even port, RTCP on the next odd one (RFC 3550 §11), and how the
//! shard reads them with the kernel's arrival time and no allocation.

use super::super::limits::{MEDIA_DATAGRAM, PORT_ATTEMPTS, STAMP_AGE};
use super::pace::Pace;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrLike, SockaddrStorage, recvmsg, setsockopt,
    sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;
use rtp_media::srtp::SrtpLink;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

/// The sockets of a leg, and how its media is protected.
#[derive(Debug)]
pub struct LegSockets {
    /// RTP, and RTCP where it is muxed (RFC 5761).
    pub rtp: UdpSocket,
    /// Bound address of `rtp`.
    pub rtp_address: SocketAddr,
    /// RTCP and its bound address, where it is not muxed.
    pub rtcp: Option<(UdpSocket, SocketAddr)>,
    /// SRTP: what comes is opened before the mixer sees it, what goes is protected after it.
    pub srtp: SrtpLink,
    /// How much of `rtp` is read at a tick.
    pub(super) pace: Pace,
}

impl LegSockets {
    /// Binds at an address; off the shard.
    pub fn bind(ip: IpAddr, with_rtcp: bool) -> std::io::Result<Self> {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        for _ in 0..PORT_ATTEMPTS {
            let first = UdpSocket::bind((ip, 0))?;
            let port = first.local_addr()?.port();
            let even = port % 2 == 0;
            if even && !with_rtcp {
                return Self::new(first, None);
            }
            // The system's choice is even half the time; its neighbour serves otherwise.
            let other = if even {
                port.checked_add(1)
            } else {
                port.checked_sub(1)
            };
            let Some(other) = other else { continue };
            match UdpSocket::bind((ip, other)) {
                Ok(second) if even => return Self::new(first, Some(second)),
                Ok(second) => return Self::new(second, with_rtcp.then_some(first)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn new(rtp: UdpSocket, rtcp: Option<UdpSocket>) -> std::io::Result<Self> {
        for socket in std::iter::once(&rtp).chain(&rtcp) {
            socket.set_nonblocking(true)?;
            setsockopt(socket, ReceiveTimestampns, &true)?;
        }
        let rtp_address = rtp.local_addr()?;
        let rtcp = match rtcp {
            Some(socket) => {
                let address = socket.local_addr()?;
                Some((socket, address))
            }
            None => None,
        };
        Ok(Self {
            rtp,
            rtp_address,
            rtcp,
            srtp: SrtpLink::default(),
            pace: Pace::default(),
        })
    }
}

/// Now on both clocks, to turn the kernel's wall-clock stamps into instants.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// Monotonic.
    pub now: Instant,
    /// Since 1970.
    pub wall: Duration,
}

impl Clocks {
    /// Reads both.
    pub fn read() -> Self {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            now: Instant::now(),
            wall,
        }
    }

    fn arrival(&self, stamp: Option<Duration>) -> Instant {
        let age = stamp.map_or(Duration::ZERO, |stamp| self.wall.saturating_sub(stamp));
        if age > STAMP_AGE {
            return self.now;
        }
        self.now.checked_sub(age).unwrap_or(self.now)
    }
}

/// One received datagram.
pub struct Datagram<'a> {
    /// Its content, which protection opens in place.
    pub bytes: &'a mut [u8],
    /// Its sender.
    pub from: SocketAddr,
    /// When the kernel took it in.
    pub arrival: Instant,
}

/// What one read gave.
pub enum Read<'a> {
    /// A datagram.
    Some(Datagram<'a>),
    /// Nothing more waits.
    Empty,
    /// Something that cannot be used: too long, or a socket error; read on.
    Bad,
}

/// A reading buffer, one for each shard.
pub struct Receiver {
    buffer: Box<[u8; MEDIA_DATAGRAM]>,
    control: Vec<u8>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            buffer: Box::new([0; MEDIA_DATAGRAM]),
            control: nix::cmsg_space!(TimeSpec),
        }
    }
}

impl Receiver {
    /// Reads one datagram without waiting.
    pub fn receive(&mut self, socket: &UdpSocket, clocks: &Clocks) -> Read<'_> {
        let (length, from, stamp) = {
            let mut slices = [IoSliceMut::new(self.buffer.as_mut_slice())];
            // `Vec` as cmsg space: its capacity counts, its length does not change.
            self.control.resize(self.control.capacity(), 0);
            let read = recvmsg::<SockaddrStorage>(
                socket.as_raw_fd(),
                &mut slices,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            );
            let message = match read {
                Ok(message) => message,
                Err(nix::errno::Errno::EAGAIN) => return Read::Empty,
                Err(_) => return Read::Bad,
            };
            if message.flags.contains(MsgFlags::MSG_TRUNC) {
                return Read::Bad;
            }
            let stamp = message.cmsgs().ok().and_then(|mut list| {
                list.find_map(|entry| match entry {
                    ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
                    _ => None,
                })
            });
            let Some(from) = message.address.as_ref().and_then(address) else {
                return Read::Bad;
            };
            (message.bytes, from, stamp)
        };
        let Some(bytes) = self.buffer.get_mut(..length) else {
            return Read::Bad;
        };
        Read::Some(Datagram {
            bytes,
            from,
            arrival: clocks.arrival(stamp),
        })
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match storage.family()? {
        nix::sys::socket::AddressFamily::Inet => storage
            .as_sockaddr_in()
            .map(|a| SocketAddr::V4(SocketAddrV4::new(a.ip(), a.port()))),
        nix::sys::socket::AddressFamily::Inet6 => storage
            .as_sockaddr_in6()
            .map(|a| SocketAddr::V6(SocketAddrV6::new(a.ip(), a.port(), 0, a.scope_id()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ip: &str) -> LegSockets {
        LegSockets::bind(ip.parse().unwrap(), true).unwrap()
    }

    #[test]
    fn rtp_is_even_and_rtcp_the_next() {
        for _ in 0..20 {
            let sockets = pair("127.0.0.1");
            assert_eq!(sockets.rtp_address.port() % 2, 0);
            let (_, rtcp) = sockets.rtcp.unwrap();
            assert_eq!(rtcp.port(), sockets.rtp_address.port() + 1);
        }
    }

    /// Whether the arrival lies near the sending, though the reading is 30 ms later.
    fn read_one(ip: &str) -> bool {
        let sockets = pair(ip);
        let sender = UdpSocket::bind((ip.parse::<IpAddr>().unwrap(), 0)).unwrap();
        sender.send_to(b"hello", sockets.rtp_address).unwrap();
        let sent = Instant::now();
        let mut receiver = Receiver::default();
        // Loopback delivers within the send; the pause shows that arrival is not the read.
        std::thread::sleep(Duration::from_millis(30));
        let clocks = Clocks::read();
        let Read::Some(datagram) = receiver.receive(&sockets.rtp, &clocks) else {
            panic!("nothing")
        };
        assert_eq!(datagram.bytes, b"hello");
        assert_eq!(datagram.from, sender.local_addr().unwrap());
        let near = datagram.arrival <= sent + Duration::from_millis(10);
        assert!(matches!(receiver.receive(&sockets.rtp, &clocks), Read::Empty));
        near
    }

    /// The kernel begins to stamp a moment after the first socket asked for it.
    fn soon(ip: &str) {
        assert!((0..50).any(|_| read_one(ip)), "arrival is the time of the read");
    }

    #[test]
    fn arrival_is_the_kernels_v4() {
        soon("127.0.0.1");
    }

    #[test]
    fn arrival_is_the_kernels_v6() {
        soon("::1");
    }

    #[test]
    fn too_long_is_bad_and_skipped() {
        let sockets = pair("127.0.0.1");
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender
            .send_to(&[0; MEDIA_DATAGRAM + 1], sockets.rtp_address)
            .unwrap();
        sender.send_to(b"ok", sockets.rtp_address).unwrap();
        let mut receiver = Receiver::default();
        let clocks = Clocks::read();
        assert!(matches!(receiver.receive(&sockets.rtp, &clocks), Read::Bad));
        assert!(matches!(receiver.receive(&sockets.rtp, &clocks), Read::Some(d) if d.bytes == b"ok"));
    }
}
