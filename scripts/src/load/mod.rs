//! The load generator: rooms full of members against a real `meet-server` over real sockets on loopback.
//!
//! Prints CPU time of the server per participant-second in units U (DESIGN §4), so that figures of different
//! hours on a shared machine can be compared. Absent on purpose: pass or fail by time; `scripts/bench` prints,
//! people judge.

pub mod aftermath;
pub mod attack;
pub mod call;
pub mod calls;
pub mod delay;
pub mod dialer;
pub mod ears;
pub mod flood;
pub mod floor;
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

use self::call::{Call, CallError, Caller, ProcessCost};
use self::delay::{Delays, Pair};
use self::media::{Crowd, Idle, MediaError, Member};
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

/// The codec line that the generator offers.
const RTPMAP: &str = "96 opus/48000/2";

/// Rooms full of members that talk, or don't, until it is dropped.
pub struct Party {
    /// What the members counted so far.
    pub crowd: Crowd,
    caller: Caller,
    calls: Vec<Call>,
}

impl Party {
    /// Calls everybody of `plan` into rooms `load0`, `load1`, … and starts their media.
    pub fn start(server: &Server, plan: &Plan) -> Result<Self, LoadError> {
        let mut caller = Caller::new(server.sip)?;
        let talking = [media::talker(0)?, media::talker(1)?, media::talker(2)?];
        let silent = media::idle(plan.idle)?;
        let (mut calls, mut members) = (Vec::new(), Vec::new());
        for room in 0..plan.rooms {
            for n in 0..plan.members {
                let socket = socket()?;
                let call = caller.join(&format!("load{room}"), socket.local_addr()?, RTPMAP)?;
                let says = match talking.get(n % talking.len()).filter(|_| n < plan.talkers) {
                    Some(talk) => talk.clone(),
                    None => silent.clone(),
                };
                members.push((Member { socket, says }, call.media));
                calls.push(call);
            }
        }
        let crowd = Crowd::start(members)?;
        Ok(Self { crowd, caller, calls })
    }

    /// A room of two beside the others: from the first one's mouth to the second one's ear.
    pub fn pair(&mut self) -> Result<Pair, LoadError> {
        let (mouth, ear) = (socket()?, socket()?);
        let mouth_call = self.caller.join("delay", mouth.local_addr()?, RTPMAP)?;
        let ear_call = self.caller.join("delay", ear.local_addr()?, RTPMAP)?;
        let pair = Pair {
            mouth,
            mouth_to: mouth_call.media,
            ear,
            ear_to: ear_call.media,
        };
        self.calls.extend([mouth_call, ear_call]);
        Ok(pair)
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        for call in &self.calls {
            // The server of a run ends with it: who can't say goodbye need not.
            let _ = self.caller.leave(call);
        }
    }
}

/// Runs one workload against `server`.
pub fn run(server: &Server, plan: Plan) -> Result<Outcome, LoadError> {
    let pid = server.process.pid();
    let before = ProcessCost::read(pid);
    let mut party = Party::start(server, &plan)?;
    let pair = party.pair()?;
    let total = (plan.rooms * plan.members) as f64;
    // Warming up: the first second belongs to latching and to the jitter buffers.
    std::thread::sleep(Duration::from_secs(1));
    let (cost, clock) = (ProcessCost::read(pid), Instant::now());
    let counted = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
    let counters = std::sync::Arc::clone(&party.crowd.counters);
    let (received, gaps) = (counted(&counters.received), counted(&counters.gaps));
    let delays = delay::measure(pair, plan.length, delay::EVERY)?;
    let after = ProcessCost::read(pid);
    let seconds = clock.elapsed().as_secs_f64();
    Ok(Outcome {
        // The two of the delay room are participants like the others.
        cpu_ms: (after.cpu.saturating_sub(cost.cpu)).as_secs_f64() * 1e3 / seconds / (total + 2.0),
        resident: after.resident.saturating_sub(before.resident) as f64 / (total + 2.0),
        expected: (seconds * 50.0 * total) as u64,
        received: counted(&counters.received) - received,
        gaps: counted(&counters.gaps) - gaps,
        delays,
    })
}

fn socket() -> std::io::Result<UdpSocket> {
    UdpSocket::bind((IpAddr::from([127, 0, 0, 1]), 0))
}
