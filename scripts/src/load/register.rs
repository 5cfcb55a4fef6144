//! What registrations cost: a hundred thousand of them, so many a second, with digest.
//!
//! The accounts are put into a database of the bench's own before the server starts. Absent on purpose: phones
//! that come over TCP.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sip_proto::digest::{Algorithm, ha1};

use super::LoadError;
use super::call::ProcessCost;
use super::ports::Ports;
use super::registering::{Phones, RegisterTally};
use crate::server::{Server, program};

/// Addresses from which phones register.
const PEERS: u8 = 64;
/// The realm of a server that is told nothing else.
const REALM: &str = "meet";

/// One phase: filling the table, or refreshing what is in it.
#[derive(Debug, Clone)]
pub struct RegisterOutcome {
    /// The books.
    pub tally: RegisterTally,
    /// Server CPU.
    pub cpu: Duration,
    /// How long it lasted.
    pub lasted: Duration,
    /// Resident memory of the server at its end, in bytes.
    pub resident: u64,
    /// Resident memory before it.
    pub resident_before: u64,
}

impl RegisterOutcome {
    /// Server CPU of one finished registration in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.tally.done.max(1) as f64
    }
}

/// A server with accounts, and its phones.
pub struct Registrations {
    server: Server,
    ports: Ports,
    phones: Phones,
    count: usize,
    next: usize,
}

impl Registrations {
    /// Makes `count` accounts in `data` and starts a server on them.
    pub fn open(data: &Path, count: usize, settings: &[(&str, &str)]) -> Result<Self, LoadError> {
        accounts(data, count)?;
        let mut command = Command::new(program("meet-server"));
        command.args(["--listen", "127.0.0.1:0", "--http", "off", "--data-dir"]);
        command.arg(data).envs(settings.iter().copied());
        let process = crate::process::Process::start(command).map_err(LoadError::Process)?;
        let line = process
            .wait_line("ready sip=", Duration::from_secs(60))
            .map_err(LoadError::Process)?;
        let sip = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("sip=")?.parse().ok())
            .ok_or_else(|| LoadError::Setup(format!("the server said {line:?}")))?;
        let server = Server {
            process,
            sip,
            http: sip,
        };
        let ports = Ports::open(sip, PEERS)?;
        let phones = Phones::new(sip, REALM, ports.locals(), count);
        Ok(Self {
            server,
            ports,
            phones,
            count,
            next: 0,
        })
    }

    /// Begins `total` registrations at `rate` a second, the phones in turn.
    pub fn run(&mut self, rate: f64, total: usize) -> RegisterOutcome {
        self.phones.tally = RegisterTally::default();
        let pid = self.server.process.pid();
        let before = ProcessCost::read(pid);
        let begin = Instant::now();
        let mut begun = 0_usize;
        let end = Duration::from_secs_f64(total as f64 / rate);
        loop {
            let now = Instant::now();
            let elapsed = now.saturating_duration_since(begin);
            let due = ((elapsed.as_secs_f64() * rate) as usize).min(total);
            let ports = &self.ports;
            self.phones
                .timers(now, &mut |from, bytes| ports.send(from, bytes));
            for _ in 0..due.saturating_sub(begun).min(16) {
                let ports = &self.ports;
                self.phones.start(self.next, Instant::now(), &mut |from, bytes| {
                    ports.send(from, bytes)
                });
                self.next = (self.next + 1) % self.count.max(1);
                begun += 1;
            }
            let phones = &mut self.phones;
            let read = self.ports.drain(|ports, bytes| {
                phones.receive(bytes, Instant::now(), &mut |from, bytes| ports.send(from, bytes));
            });
            if begun >= total && (elapsed >= end + Duration::from_secs(5) || self.phones.open() == 0) {
                break;
            }
            if read == 0 && begun >= due {
                let next = begin + Duration::from_secs_f64((begun + 1) as f64 / rate);
                self.ports.wait(next.min(now + Duration::from_millis(5)));
            }
        }
        let after = ProcessCost::read(pid);
        RegisterOutcome {
            tally: std::mem::take(&mut self.phones.tally),
            cpu: after.cpu.saturating_sub(before.cpu),
            lasted: begin.elapsed(),
            resident: after.resident,
            resident_before: before.resident,
        }
    }
}

fn accounts(data: &Path, count: usize) -> Result<(), LoadError> {
    let refused = |error: meet_server::store::StoreError| LoadError::Setup(error.to_string());
    let mut database = meet_server::store::open(&meet_server::store::Store::file(data)).map_err(refused)?;
    // A file of the bench's own: what a crash would lose is of no interest.
    database
        .pragma_update(None, "synchronous", "OFF")
        .map_err(|error| LoadError::Setup(error.to_string()))?;
    for number in 0..count {
        let (user, password) = Phones::account(number);
        let secret = ha1(Algorithm::Sha256, &user, REALM, &password);
        let account = meet_server::store::AccountRow {
            realm: REALM.to_owned(),
            user,
            ha1: vec![(Algorithm::Sha256.as_str().to_owned(), secret.as_hex().to_owned())],
        };
        meet_server::store::add_account(&mut database, &account, 0).map_err(refused)?;
    }
    Ok(())
}
