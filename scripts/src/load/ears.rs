//! Ears: what each member of a meeting hears, by the kernel's arrival times, so that a busy generator is not taken for
//! a silent server.
//!
//! Absent on purpose: decoding; a packet that arrives in time with the next sequence number is sound.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;

use super::LoadError;
use super::media::{Loop, PERIOD, header};

/// What one member heard.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heard {
    /// Packets.
    pub packets: u64,
    /// Sequence numbers that were left out.
    pub lost: u64,
    /// The longest time between two packets, in milliseconds.
    pub longest: f64,
    last: Option<(Duration, u16)>,
}

/// A member that talks and listens.
pub struct Talker {
    /// Its socket.
    pub socket: UdpSocket,
    /// Where its RTP goes.
    pub to: SocketAddr,
    /// What it says.
    pub says: Loop,
}

/// Members that talk and listen on two threads until they are stopped.
pub struct Ears {
    stop: Arc<AtomicBool>,
    mouth: JoinHandle<()>,
    ears: JoinHandle<Vec<Heard>>,
}

impl Ears {
    /// Starts talking and listening.
    pub fn start(members: Vec<Talker>) -> Result<Self, LoadError> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut mouths = Vec::with_capacity(members.len());
        for member in &members {
            setsockopt(&member.socket, sockopt::ReceiveTimestampns, &true).map_err(std::io::Error::from)?;
            mouths.push((member.socket.try_clone()?, member.to, Arc::clone(&member.says)));
        }
        let (talking, listening) = (Arc::clone(&stop), Arc::clone(&stop));
        Ok(Self {
            stop,
            mouth: std::thread::spawn(move || talk(&mouths, &talking)),
            ears: std::thread::spawn(move || listen(&members, &listening)),
        })
    }

    /// Goes on for so long, then ends.
    pub fn run_for(self, length: Duration) -> Vec<Heard> {
        std::thread::sleep(length);
        self.stop()
    }

    /// Ends, and tells what each heard, in the order in which they were given.
    pub fn stop(self) -> Vec<Heard> {
        self.stop.store(true, Ordering::Relaxed);
        // A panic has shown itself on standard error.
        let _ = self.mouth.join();
        self.ears.join().unwrap_or_default()
    }
}

fn talk(members: &[(UdpSocket, SocketAddr, Loop)], stop: &AtomicBool) {
    let start = Instant::now();
    let mut packet = vec![0_u8; 1500];
    for round in 0_u32.. {
        std::thread::sleep((start + PERIOD * round).saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            return;
        }
        for (index, (socket, to, says)) in members.iter().enumerate() {
            let frame = says.get(round as usize % says.len().max(1));
            let length = header(&mut packet, round, index, frame.map_or(&[][..], Vec::as_slice));
            // A full buffer is a lost packet, as on any network.
            let _ = socket.send_to(packet.get(..length).unwrap_or_default(), to);
        }
    }
}

fn listen(members: &[Talker], stop: &AtomicBool) -> Vec<Heard> {
    let mut heard = vec![Heard::default(); members.len()];
    let mut buffer = [0_u8; 1500];
    while !stop.load(Ordering::Relaxed) {
        let mut waiting: Vec<PollFd<'_>> = members
            .iter()
            .map(|member| PollFd::new(member.socket.as_fd(), PollFlags::POLLIN))
            .collect();
        if poll(&mut waiting, PollTimeout::from(50_u8)).is_err() {
            continue;
        }
        for (member, heard) in members.iter().zip(&mut heard) {
            while let Some((stamp, sequence)) = read(&member.socket, &mut buffer) {
                heard.take(stamp, sequence);
            }
        }
    }
    heard
}

/// One packet with the kernel's arrival time and its sequence number.
fn read(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(Duration, u16)> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )
    .ok()?;
    let stamp = message.cmsgs().ok()?.find_map(|entry| match entry {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
        _ => None,
    })?;
    match *buffer {
        [_, _, high, low, ..] => Some((stamp, u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

impl Heard {
    fn take(&mut self, stamp: Duration, sequence: u16) {
        self.packets += 1;
        if let Some((last, before)) = self.last {
            let gap = stamp.saturating_sub(last).as_secs_f64() * 1e3;
            self.longest = self.longest.max(gap);
            let ahead = sequence.wrapping_sub(before);
            if (2..1000).contains(&ahead) {
                self.lost += u64::from(ahead) - 1;
            }
        }
        self.last = Some((stamp, sequence));
    }
}
