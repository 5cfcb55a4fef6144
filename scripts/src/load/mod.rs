//! The load generator: rooms full of members against a real `meet-server` over real sockets on loopback.
//!
//! Prints CPU time of the server per participant-second in units U (DESIGN §4), so that figures of different
//! hours on a shared machine can be compared. Absent on purpose: pass or fail by time; `scripts/bench` prints,
//! people judge.

pub mod attack;
pub mod call;
pub mod calls;
pub mod delay;
pub mod dialer;
pub mod ears;
pub mod flood;
pub mod media;
pub mod overload;
pub mod ports;
pub mod quantile;
pub mod register;
pub mod registering;
pub mod signalling;
pub mod wire;

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rtp_media::codec::opus::{OpusConfig, OpusDecoder, OpusEncoder};
use rtp_media::codec::{Decoder, Encoder};

use self::call::{Call, CallError, Caller, ProcessCost};
use self::delay::Delays;
use self::media::{Crowd, FRAME, Idle, MediaError, Member};
use crate::server::Server;

/// What goes wrong with a run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Signalling.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Media.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A socket.
    #[error("socket: {0}")]
    Io(#[from] std::io::Error),
    /// The server does not run.
    #[error(transparent)]
    Process(#[from] crate::process::ProcessError),
    /// The bench cannot prepare its data.
    #[error("{0}")]
    Setup(String),
}

/// One workload.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Rooms at once.
    pub rooms: usize,
    /// Members of each.
    pub members: usize,
    /// How many of them talk.
    pub talkers: usize,
    /// What the others send.
    pub idle: Idle,
    /// How long is measured, after a second of warming up.
    pub length: Duration,
}

/// What a run gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Server CPU in milliseconds for each participant and second.
    pub cpu_ms: f64,
    /// Resident memory per participant in bytes.
    pub resident: f64,
    /// RTP packets the server should have sent, and those that arrived.
    pub expected: u64,
    /// Arrived.
    pub received: u64,
    /// Gaps in sequence numbers.
    pub gaps: u64,
    /// Mouth to ear, measured in a room of two beside the load.
    pub delays: Delays,
}

/// Milliseconds of CPU for one participant-second at FreeSWITCH's way of working: fifty encodes at
/// complexity 10 and fifty decodes of the bundled libopus. The unit U of DESIGN §4.
pub fn unit() -> Result<f64, LoadError> {
    let codec = |e: rtp_media::codec::CodecError| MediaError::Codec(e.to_string());
    let config = OpusConfig {
        complexity: 10,
        ..OpusConfig::default()
    };
    let mut encoder = OpusEncoder::new(&config).map_err(codec)?;
    let mut decoder = OpusDecoder::new().map_err(codec)?;
    let speech = media::talker(0)?;
    let mut pcm = [0.0_f32; FRAME * 6];
    let mut out = [0_u8; 1500];
    let mut spent = Duration::ZERO;
    let mut rounds = 0_u32;
    while spent < Duration::from_millis(1500) {
        for packet in speech.iter() {
            let start = Instant::now();
            let length = decoder.decode(packet, &mut pcm).map_err(codec)?;
            encoder
                .encode(pcm.get(..length).unwrap_or_default(), &mut out)
                .map_err(codec)?;
            spent += start.elapsed();
            rounds += 1;
        }
    }
    Ok(spent.as_secs_f64() * 1e3 / f64::from(rounds) * 50.0)
}

/// Runs one workload against `server`.
pub fn run(server: &Server, plan: Plan) -> Result<Outcome, LoadError> {
    let pid = server.process.pid();
    let before = ProcessCost::read(pid);
    let mut caller = Caller::new(server.sip)?;
    let talking = [media::talker(0)?, media::talker(1)?, media::talker(2)?];
    let silent = media::idle(plan.idle)?;
    let (mut calls, mut members) = (Vec::new(), Vec::new());
    for room in 0..plan.rooms {
        for n in 0..plan.members {
            let socket = socket()?;
            let call = caller.join(&format!("load{room}"), socket.local_addr()?, "96 opus/48000/2")?;
            let says = match talking.get(n % talking.len()).filter(|_| n < plan.talkers) {
                Some(talk) => talk.clone(),
                None => silent.clone(),
            };
            members.push((Member { socket, says }, call.media));
            calls.push(call);
        }
    }
    let (mouth, ear) = (socket()?, socket()?);
    let mouth_call = caller.join("delay", mouth.local_addr()?, "96 opus/48000/2")?;
    let ear_call = caller.join("delay", ear.local_addr()?, "96 opus/48000/2")?;
    let total = (plan.rooms * plan.members) as f64;
    let crowd = Crowd::start(members)?;
    // Warming up: the first second belongs to latching and to the jitter buffers.
    std::thread::sleep(Duration::from_secs(1));
    let (cost, clock) = (ProcessCost::read(pid), Instant::now());
    let counted = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
    let (received, gaps) = (counted(&crowd.counters.received), counted(&crowd.counters.gaps));
    let delays = delay::measure(mouth, mouth_call.media, ear, ear_call.media, plan.length)?;
    let after = ProcessCost::read(pid);
    let seconds = clock.elapsed().as_secs_f64();
    let outcome = Outcome {
        // The two of the delay room are participants like the others.
        cpu_ms: (after.cpu.saturating_sub(cost.cpu)).as_secs_f64() * 1e3 / seconds / (total + 2.0),
        resident: after.resident.saturating_sub(before.resident) as f64 / (total + 2.0),
        expected: (seconds * 50.0 * total) as u64,
        received: counted(&crowd.counters.received) - received,
        gaps: counted(&crowd.counters.gaps) - gaps,
        delays,
    };
    drop(crowd);
    leave(&caller, calls.iter().chain([&mouth_call, &ear_call]))?;
    Ok(outcome)
}

fn leave<'a>(caller: &Caller, calls: impl Iterator<Item = &'a Call>) -> Result<(), LoadError> {
    for call in calls {
        caller.leave(call)?;
    }
    Ok(())
}

fn socket() -> std::io::Result<UdpSocket> {
    UdpSocket::bind((IpAddr::from([127, 0, 0, 1]), 0))
}
