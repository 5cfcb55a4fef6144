//! The generator's UDP sockets: read without waiting, slept on together.
//!
//! Addresses are 127.1.0.1 and following (all of 127/8 is this machine), so that the server sees many peers.
//! Absent on purpose: threads. The generator has one, and leaves the other core to the server.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What the kernel is asked to keep for a socket while the generator is busy.
const BUFFER: usize = 4 * 1024 * 1024;

/// Sockets towards one server.
pub struct Ports {
    sockets: Vec<UdpSocket>,
    locals: Vec<SocketAddr>,
    buffer: Vec<u8>,
}

impl Ports {
    /// Binds `count` addresses and connects them.
    pub fn open(server: SocketAddr, count: u8) -> std::io::Result<Self> {
        let mut sockets = Vec::new();
        let mut locals = Vec::new();
        for n in 1..=count {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
            // Only a wish.
            drop(socket.set_recv_buffer_size(BUFFER));
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 1, 0, n), 0)).into())?;
            let socket: UdpSocket = socket.into();
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            locals.push(socket.local_addr()?);
            sockets.push(socket);
        }
        Ok(Self {
            sockets,
            locals,
            buffer: vec![0; 65_536],
        })
    }

    /// The bound addresses.
    pub fn locals(&self) -> Vec<SocketAddr> {
        self.locals.clone()
    }

    /// Sends by one of them. A full buffer drops, as a network does.
    pub fn send(&self, index: usize, bytes: &[u8]) {
        if let Some(socket) = self.sockets.get(index) {
            drop(socket.send(bytes));
        }
    }

    /// Gives everything that waits to `take`, at most 64 datagrams of each socket; tells how many.
    pub fn drain(&mut self, mut take: impl FnMut(&Self, &[u8])) -> usize {
        let mut count = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        for index in 0..self.sockets.len() {
            for _ in 0..64 {
                let Some(Ok(length)) = self.sockets.get(index).map(|s| s.recv(buffer.as_mut_slice())) else {
                    break;
                };
                count += 1;
                take(self, buffer.get(..length).unwrap_or_default());
            }
        }
        self.buffer = buffer;
        count
    }

    /// Sleeps until a datagram comes or the moment is there, in steps of a millisecond.
    pub fn wait(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let wait = if left < Duration::from_millis(1) {
            0
        } else {
            left.as_millis().min(20) as u8
        };
        let mut all: Vec<PollFd<'_>> = self
            .sockets
            .iter()
            .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        // An interrupted sleep is only a short one.
        let _ = poll(&mut all, PollTimeout::from(wait));
    }
}
