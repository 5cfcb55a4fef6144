//! What calls cost: so many a second into rooms, each with INVITE, 200, ACK, some talk and BYE.
//!
//! Prints server CPU per call, the times of set-up and tear-down, and what was refused. `overload` drives the
//! server beyond what it can carry. Absent on purpose: media and authentication; other parts have these.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::LoadError;
use super::call::ProcessCost;
use super::dialer::{Dialer, Script, Tally};
use super::ports::Ports;
use crate::server::Server;

/// Addresses from which calls are made.
const PEERS: u8 = 32;
/// How long the last answers are waited for.
const TAIL: Duration = Duration::from_secs(3);

/// One run of calls.
#[derive(Debug, Clone, Copy)]
pub struct Calls {
    /// New calls each second.
    pub rate: f64,
    /// For how long they begin.
    pub length: Duration,
    /// How long each stays up.
    pub hold: Duration,
    /// Rooms over which they are spread.
    pub rooms: usize,
    /// Offer Opus in place of PCMU.
    pub opus: bool,
}

/// What a run gave.
#[derive(Debug, Clone)]
pub struct CallsOutcome {
    /// The books of the generator.
    pub tally: Tally,
    /// Server CPU from the first INVITE to the last answer.
    pub cpu: Duration,
    /// How long that was.
    pub lasted: Duration,
    /// Resident memory of the server at the end, in bytes.
    pub resident: u64,
}

impl CallsOutcome {
    /// Server CPU of one call in milliseconds.
    pub fn cpu_ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / (self.tally.answered.max(1) as f64)
    }
}

/// A generator with its sockets; several runs may follow each other.
pub struct Exchange {
    ports: Ports,
    sink: UdpSocket,
    runs: u32,
}

impl Exchange {
    /// Sockets towards `server`.
    pub fn open(server: &Server) -> Result<Self, LoadError> {
        Ok(Self {
            ports: Ports::open(server.sip, PEERS)?,
            sink: UdpSocket::bind("127.0.0.1:0")?,
            runs: 0,
        })
    }

    /// Calls of a script, none begun yet.
    pub fn dialer(
        &mut self,
        server: &Server,
        rooms: usize,
        opus: bool,
        hold: Option<Duration>,
    ) -> Result<Dialer, LoadError> {
        self.runs += 1;
        let script = Script {
            server: server.sip,
            sink: self.sink.local_addr()?,
            rooms,
            rtpmap: if opus { "96 opus/48000/2" } else { "0 PCMU/8000" }.to_owned(),
            hold,
            run: self.runs,
        };
        Ok(Dialer::new(script, self.ports.locals()))
    }

    /// Runs `dialers` together: the first one begins `rate` calls a second for `length`, all of them go on until
    /// `tail` later or, for the first, until no call of it is open.
    pub fn run(
        &mut self,
        dialers: &mut [&mut Dialer],
        rate: f64,
        length: Duration,
        tail: Duration,
    ) -> Duration {
        let begin = Instant::now();
        let mut begun = 0_u64;
        loop {
            let now = Instant::now();
            let elapsed = now.saturating_duration_since(begin);
            let due = (elapsed.min(length).as_secs_f64() * rate) as u64;
            for dialer in dialers.iter_mut() {
                dialer.timers(now, &mut |from, bytes| self.ports.send(from, bytes));
            }
            if let Some(first) = dialers.first_mut() {
                // At most so many at once, so that answers are read in between.
                for _ in 0..due.saturating_sub(begun).min(16) {
                    first.start(Instant::now(), &mut |from, bytes| self.ports.send(from, bytes));
                    begun += 1;
                }
            }
            let read = self.ports.drain(|ports, bytes| {
                let now = Instant::now();
                for dialer in dialers.iter_mut() {
                    dialer.receive(bytes, now, &mut |from, bytes| ports.send(from, bytes));
                }
            });
            let over = elapsed >= length + tail
                || (elapsed >= length && dialers.first().is_none_or(|d| d.open() == 0));
            if over && begun >= due {
                return begin.elapsed();
            }
            if read == 0 && begun >= due {
                let next = begin + Duration::from_secs_f64((begun + 1) as f64 / rate.max(1.0));
                self.ports.wait(next.min(now + Duration::from_millis(5)));
            }
        }
    }

    /// Ends what the dialer has up, and waits for the answers.
    pub fn hang_up(&mut self, dialer: &mut Dialer) {
        dialer.hang_up(Instant::now(), &mut |from, bytes| self.ports.send(from, bytes));
        self.run(&mut [dialer], 0.0, Duration::ZERO, TAIL);
    }
}

/// One run against `server`.
pub fn run(server: &Server, plan: Calls) -> Result<CallsOutcome, LoadError> {
    let mut exchange = Exchange::open(server)?;
    // The rooms are there before: what is measured is a call into a room. One person keeps each.
    let mut keepers = exchange.dialer(server, plan.rooms, plan.opus, None)?;
    exchange.run(
        &mut [&mut keepers],
        200.0,
        Duration::from_secs_f64(plan.rooms as f64 / 200.0),
        Duration::ZERO,
    );
    let mut dialer = exchange.dialer(server, plan.rooms, plan.opus, Some(plan.hold))?;
    let pid = server.process.pid();
    let before = ProcessCost::read(pid);
    let lasted = exchange.run(
        &mut [&mut dialer, &mut keepers],
        plan.rate,
        plan.length,
        plan.hold + TAIL,
    );
    let after = ProcessCost::read(pid);
    dialer.close_books();
    exchange.hang_up(&mut keepers);
    Ok(CallsOutcome {
        tally: dialer.tally,
        cpu: after.cpu.saturating_sub(before.cpu),
        lasted,
        resident: after.resident,
    })
}
