//! Datagrams with the time at which the kernel took them in (SO_TIMESTAMPNS).
//!
//! The wait in the socket's buffer is where a server that has too much to do first shows it: the reader itself comes
//! late then. Deliberately absent: RTP, which the shards read by their own means.

use super::limits::{DATAGRAM, STAMP_AGE};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrLike, SockaddrStorage, recvmsg, setsockopt,
    sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant, SystemTime};

/// What was received: length in the buffer, sender, arrival.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// Bytes of [`StampedReader::bytes`].
    pub length: usize,
    /// Who sent it.
    pub remote: SocketAddr,
    /// When the kernel took it in.
    pub arrival: Instant,
}

/// Reads one socket.
pub struct StampedReader {
    buffer: Vec<u8>,
    control: Vec<u8>,
}

impl StampedReader {
    /// Asks the kernel for stamps; where it gives none the time of reading stands for the arrival.
    pub fn new(socket: &UdpSocket) -> Self {
        if let Err(error) = setsockopt(socket, ReceiveTimestampns, &true) {
            tracing::warn!(%error, "the kernel does not stamp datagrams: overload is noticed late");
        }
        Self {
            buffer: vec![0; DATAGRAM],
            control: nix::cmsg_space!(TimeSpec),
        }
    }

    /// The next datagram; `None` when there is none within `patience`. The socket does not block.
    pub fn receive(&mut self, socket: &UdpSocket, patience: Duration) -> io::Result<Option<Received>> {
        let (length, remote, stamp) = match self.read(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
                let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                match poll(&mut waiting, timeout) {
                    Ok(0) | Err(Errno::EINTR) => return Ok(None),
                    Ok(_) => self.read(socket)?,
                    Err(error) => return Err(error.into()),
                }
            }
            other => other?,
        };
        let now = Instant::now();
        let age = stamp
            .and_then(|stamp| {
                let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
                wall.checked_sub(stamp)
            })
            // The wall clock may have been set in between.
            .filter(|age| *age <= STAMP_AGE);
        Ok(Some(Received {
            length,
            remote,
            arrival: age.and_then(|age| now.checked_sub(age)).unwrap_or(now),
        }))
    }

    /// The first bytes of the last datagram.
    pub fn bytes(&self, length: usize) -> &[u8] {
        self.buffer.get(..length).unwrap_or_default()
    }

    fn read(&mut self, socket: &UdpSocket) -> io::Result<(usize, SocketAddr, Option<Duration>)> {
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        // `Vec` as cmsg space: its capacity counts, its length does not change.
        self.control.resize(self.control.capacity(), 0);
        let message = recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut self.control),
            MsgFlags::MSG_DONTWAIT,
        )
        .map_err(|error| match error {
            Errno::EAGAIN => io::Error::from(io::ErrorKind::WouldBlock),
            other => io::Error::from(other),
        })?;
        let stamp = message.cmsgs().ok().and_then(|mut list| {
            list.find_map(|entry| match entry {
                ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
                _ => None,
            })
        });
        let remote = message
            .address
            .as_ref()
            .and_then(address)
            .ok_or_else(|| io::Error::other("a datagram without a sender"))?;
        Ok((message.bytes, remote, stamp))
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match storage.family()? {
        nix::sys::socket::AddressFamily::Inet => storage
            .as_sockaddr_in()
            .map(|a| SocketAddr::V4(SocketAddrV4::new(a.ip(), a.port()))),
        nix::sys::socket::AddressFamily::Inet6 => storage
            .as_sockaddr_in6()
            .map(|a| SocketAddr::V6(SocketAddrV6::new(a.ip(), a.port(), a.flowinfo(), a.scope_id()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel begins to stamp a moment after the first socket asked for it: one of several must be true.
    #[test]
    fn arrival_is_the_kernels_not_the_readers() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let socket = UdpSocket::bind(ip).unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut reader = StampedReader::new(&socket);
            let sender = UdpSocket::bind(ip).unwrap();
            let mut early = false;
            for _ in 0..50 {
                sender.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
                let sent = Instant::now();
                std::thread::sleep(Duration::from_millis(20));
                let received = reader.receive(&socket, Duration::from_secs(10)).unwrap().unwrap();
                assert_eq!(reader.bytes(received.length), b"hello");
                assert_eq!(received.remote, sender.local_addr().unwrap());
                early |= received.arrival < sent + Duration::from_millis(10);
            }
            assert!(early, "{ip}: arrival is the time of reading");
        }
    }
}
