//! The floor: what the encodes, decodes and system calls of a scenario cost alone, timed in the same run.
//!
//! No server could be cheaper without another codec or another kernel, so the ratio to it says how much of the
//! server's time is its own. Everything is CPU time of this thread, which other work on the machine does not
//! lengthen. Absent on purpose: RTP parsing, jitter buffers, mixing, RTCP and signalling; those are the server's.

use std::net::UdpSocket;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt::ReceiveTimestampns};
use nix::time::{ClockId, clock_gettime};
use rtp_media::codec::opus::{OpusConfig, OpusDecoder, OpusEncoder};
use rtp_media::codec::{CodecError, Decoder, Encoder};
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;

use super::media::{FRAME, MediaError, PERIOD, talker};
use super::{LoadError, Plan, socket};

/// CPU time each codec is timed for.
const CODEC: Duration = Duration::from_millis(700);
/// Rounds over all sockets for the system calls.
const ROUNDS: u32 = 60;
/// Sockets that stand for the legs; more would not fit into the descriptor limit of a bare shell.
const MOST_SOCKETS: usize = 400;
/// Bytes of a packet: header and a frame of 32 kbit/s.
const PACKET: usize = 12 + 80;

/// Costs of the parts in microseconds of CPU time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts {
    /// An encode of 20 ms of speech at the server's complexity.
    pub encode: f64,
    /// A decode of 20 ms of speech.
    pub decode: f64,
    /// Sending a datagram over loopback, with what the kernel does to deliver it.
    pub send: f64,
    /// Receiving a datagram with its time stamp.
    pub receive: f64,
}

impl Parts {
    /// Times them; `legs` says over how many sockets.
    pub fn measure(complexity: u8, legs: usize) -> Result<Self, LoadError> {
        let (encode, decode) = codecs(complexity)?;
        let (send, receive) = calls(legs.clamp(1, MOST_SOCKETS))?;
        Ok(Self {
            encode,
            decode,
            send,
            receive,
        })
    }

    /// CPU milliseconds for each participant-second of `plan`: one shared encode, and one encode and one decode
    /// for each talker; everyone is received from and sent to.
    pub fn floor(&self, plan: &Plan) -> f64 {
        let members = plan.members as f64;
        let talkers = plan.talkers as f64;
        let packets = members * (self.send + self.receive);
        let room = (talkers + 1.0) * self.encode + talkers * self.decode + packets;
        room * 50.0 / members / 1e3
    }
}

/// Milliseconds of CPU for one participant-second at FreeSWITCH's way of working: fifty encodes at complexity 10
/// and fifty decodes of the bundled libopus. The unit U of DESIGN §4.
pub fn unit() -> Result<f64, LoadError> {
    let (encode, decode) = codecs(10)?;
    Ok((encode + decode) * 50.0 / 1e3)
}

/// CPU time that this thread has used.
pub fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Microseconds of an encode and a decode.
fn codecs(complexity: u8) -> Result<(f64, f64), LoadError> {
    let codec = |e: CodecError| MediaError::Codec(e.to_string());
    let config = OpusConfig {
        complexity,
        ..OpusConfig::default()
    };
    let mut encoder = OpusEncoder::new(&config).map_err(codec)?;
    let mut decoder = OpusDecoder::new().map_err(codec)?;
    let speech = talker(0)?;
    let mut pcm = [0.0_f32; FRAME * 6];
    let mut out = [0_u8; 1500];
    let (mut encoding, mut decoding, mut rounds) = (Duration::ZERO, Duration::ZERO, 0_u32);
    while encoding + decoding < CODEC {
        for packet in speech.iter() {
            let start = thread_time();
            let length = decoder.decode(packet, &mut pcm).map_err(codec)?;
            let middle = thread_time();
            encoder
                .encode(pcm.get(..length).unwrap_or_default(), &mut out)
                .map_err(codec)?;
            decoding += middle.saturating_sub(start);
            encoding += thread_time().saturating_sub(middle);
            rounds += 1;
        }
    }
    let each = |all: Duration| all.as_secs_f64() * 1e6 / f64::from(rounds.max(1));
    Ok((each(encoding), each(decoding)))
}

/// Microseconds of a send and a receive, over as many sockets as there are legs, each touched once a round.
fn calls(legs: usize) -> Result<(f64, f64), LoadError> {
    let mut pairs: Vec<(UdpSocket, UdpSocket)> = Vec::with_capacity(legs);
    for _ in 0..legs {
        let (here, there) = (socket()?, socket()?);
        setsockopt(&there, ReceiveTimestampns, &true).map_err(std::io::Error::from)?;
        there.set_nonblocking(true)?;
        pairs.push((here, there));
    }
    let addresses = pairs
        .iter()
        .map(|(_, there)| there.local_addr())
        .collect::<Result<Vec<_>, _>>()?;
    let packet = [0x55_u8; PACKET];
    let mut buffer = [0_u8; 1600];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let (mut sending, mut receiving) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let start = thread_time();
        for ((here, _), to) in pairs.iter().zip(&addresses) {
            here.send_to(&packet, to)?;
        }
        let middle = thread_time();
        for (_, there) in &pairs {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            control.resize(control.capacity(), 0);
            recvmsg::<SockaddrStorage>(
                there.as_raw_fd(),
                &mut slices,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            )
            .map_err(std::io::Error::from)?;
        }
        receiving += thread_time().saturating_sub(middle);
        sending += middle.saturating_sub(start);
        // The server sleeps between its ticks too.
        std::thread::sleep(PERIOD / 4);
    }
    let count = f64::from(ROUNDS) * legs as f64;
    let each = |all: Duration| all.as_secs_f64() * 1e6 / count;
    Ok((each(sending), each(receiving)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::media::Idle;

    #[test]
    fn the_floor_follows_the_talkers_and_the_packets() {
        let parts = Parts {
            encode: 100.0,
            decode: 20.0,
            send: 1.5,
            receive: 0.5,
        };
        let plan = Plan {
            rooms: 1,
            members: 100,
            talkers: 3,
            idle: Idle::Silence,
            length: Duration::from_secs(1),
        };
        // (4 × 100 + 3 × 20 + 100 × 2) µs, fifty times a second, shared by a hundred.
        assert!((parts.floor(&plan) - 0.33).abs() < 1e-9);
        let rooms = Plan { rooms: 10, ..plan };
        assert!((parts.floor(&rooms) - 0.33).abs() < 1e-9, "per participant");
    }

    #[test]
    fn system_calls_cost_something() {
        let (send, receive) = calls(4).unwrap();
        assert!(send > 0.0 && receive > 0.0, "{send} {receive}");
    }
}
