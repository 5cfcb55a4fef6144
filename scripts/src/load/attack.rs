//! A meeting under attack: what its members hear, what it costs, and what is left afterwards.
//!
//! The same meeting is measured twice, in peace and under the flood, in one run: on a shared machine the first is what
//! the second is to be compared with. While the flood goes on, one member's own requests (OPTIONS in the dialog) and
//! new calls of the same phone are timed. A meeting that lost a member, or a server that no longer answers, is an error; the
//! gaps are printed beside those in peace, for people to judge. Memory is watched until all has timed out and through
//! a second flood (`aftermath`); memory that is not bounded is an error.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::aftermath::{self, Aftermath};
use super::call::{Call, Caller, ProcessCost};
use super::ears::{Ears, Heard, Talker};
use super::flood::Flood;
use super::media::{self, Idle};
use super::{LoadError, socket};
use crate::server::Server;

/// What is done.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Members of the meeting; two of them talk.
    pub members: usize,
    /// Datagrams a second.
    pub rate: u32,
    /// How long the flood lasts.
    pub length: Duration,
}

/// A meeting goes on while garbage arrives at the SIP port.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Members of the meeting; two of them talk
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Datagrams a second
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
    /// Seconds that the flood lasts
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

/// Runs the attack against a server of its own, `--lan`, with the limits that an operator gets, and gives the lines
/// to print.
pub fn lines(arguments: &Arguments) -> Result<Vec<String>, LoadError> {
    let data = tempfile::tempdir()?;
    let server = Server::start_lan(data.path(), &[]).map_err(|error| LoadError::Setup(error.to_string()))?;
    let plan = Plan {
        members: arguments.members,
        rate: arguments.rate,
        length: Duration::from_secs(arguments.seconds),
    };
    let outcome = run(&server, plan)?;
    let lines = report(&plan, &outcome);
    let faults = outcome.aftermath.faults();
    if outcome.members < plan.members || !outcome.answered || !faults.is_empty() {
        return Err(LoadError::Setup(format!(
            "the attack was not survived:\n{}",
            lines.join("\n")
        )));
    }
    Ok(lines)
}

/// One of the two measurements.
#[derive(Debug, Clone, Default)]
pub struct Phase {
    /// Each member.
    pub heard: Vec<Heard>,
    /// CPU of the server, in milliseconds a second.
    pub cpu: f64,
    /// Times of requests in the dialog, in milliseconds, sorted; those without an answer in a second count 1000.
    pub in_call: Vec<f64>,
    /// Times to set up a further call, the same way.
    pub set_up: Vec<f64>,
    /// Why the last further call that was refused was.
    pub refusal: Option<String>,
    /// The most memory seen, in bytes.
    pub resident: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Before the flood.
    pub peace: Phase,
    /// Under it.
    pub attack: Phase,
    /// Datagrams sent, and those that came back.
    pub sent: (u64, u64),
    /// TCP connections that the flood opened.
    pub connections: u64,
    /// Memory of the server before the first call.
    pub empty: u64,
    /// Memory from before the flood until after a second one.
    pub aftermath: Aftermath,
    /// Members in the meeting afterwards, as the server says.
    pub members: usize,
    /// OPTIONS to the server afterwards.
    pub answered: bool,
    /// Counters of the server that tell what happened.
    pub counters: Vec<String>,
}

/// Runs it against a server of its own.
pub fn run(server: &Server, plan: Plan) -> Result<Outcome, LoadError> {
    let pid = server.process.pid();
    let empty = ProcessCost::read(pid).resident;
    let mut caller = Caller::new(server.sip)?;
    let sockets = meeting(&mut caller, plan.members)?;
    let first = sockets.first().map(|(_, call, _)| call.clone());
    let first = first.ok_or_else(|| LoadError::Setup("a meeting needs members".into()))?;
    // The first seconds belong to latching and to the jitter buffers.
    drop(Ears::start(talkers(&sockets)?)?.run_for(Duration::from_secs(2)));
    let quiet = plan.length / 3;
    let peace = phase(&mut caller, &first, talkers(&sockets)?, pid, quiet)?;
    let before = ProcessCost::read(pid).resident;
    let flood = Flood::start(server.sip, plan.rate)?;
    let attack = phase(&mut caller, &first, talkers(&sockets)?, pid, plan.length)?;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (sent, connections) = (
        (count(&flood.sent), count(&flood.answers)),
        count(&flood.connections),
    );
    flood.stop();
    let there = server.get("/api/v1/meetings/attacked/participants");
    let people = there.map_err(|error| LoadError::Setup(error.to_string()))?;
    let answered = caller.ask(&first, 9_000)?.is_some();
    let (mut settled, mut again) = (None, Vec::new());
    for _ in 0..aftermath::WAVES {
        // The members talk on: a leg that falls silent would be asked whether it lives.
        let ears = Ears::start(talkers(&sockets)?)?;
        let (left, took) = aftermath::wait_until_settled(server, plan.members)?;
        ears.stop();
        settled.get_or_insert((ProcessCost::read(pid).resident, left, took));
        let flood = Flood::start(server.sip, plan.rate)?;
        let wave = phase(&mut caller, &first, talkers(&sockets)?, pid, quiet)?;
        again.push(wave.resident);
        flood.stop();
    }
    let (settled, left, took) = settled.unwrap_or_default();
    let counters = counters(server)?;
    for (_, call, _) in &sockets {
        caller.leave(call)?;
    }
    let aftermath = Aftermath {
        before,
        peak: attack.resident,
        settled,
        took,
        again,
        left,
    };
    Ok(Outcome {
        peace,
        attack,
        sent,
        connections,
        empty,
        aftermath,
        members: people
            .get("participants")
            .and_then(|list| list.as_array())
            .map_or(0, Vec::len),
        answered,
        counters,
    })
}

/// The lines to print.
pub fn report(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let (sent, answers) = outcome.sent;
    let mut lines = vec![format!(
        "{} members, {:.0} datagrams/s for {:.0} s from 256 addresses ({answers} came back), {} TCP connections",
        plan.members,
        sent as f64 / plan.length.as_secs_f64(),
        plan.length.as_secs_f64(),
        outcome.connections,
    )];
    lines.push(
        "          longest gap ms of each member                              lost  CPU-ms/s  in-call p50  p99  max ms  \
         set-up p50  max ms"
            .to_owned(),
    );
    for (name, phase) in [("peace", &outcome.peace), ("attack", &outcome.attack)] {
        let gaps: Vec<String> = phase
            .heard
            .iter()
            .map(|heard| format!("{:.1}", heard.longest))
            .collect();
        let lost: u64 = phase.heard.iter().map(|heard| heard.lost).sum();
        let at = |values: &[f64], share| super::delay::Delays::quantile(values, share);
        lines.push(format!(
            "{name:<9} {:<58} {lost:>4} {:>9.1} {:>11.1} {:>6.1} {:>6.1} {:>11.1} {:>7.1}",
            gaps.join(" "),
            phase.cpu,
            at(&phase.in_call, 0.5),
            at(&phase.in_call, 0.99),
            at(&phase.in_call, 1.0),
            at(&phase.set_up, 0.5),
            at(&phase.set_up, 1.0),
        ));
    }
    if let Some(refusal) = &outcome.attack.refusal {
        lines.push(format!("a further call under attack failed: {refusal}"));
    }
    lines.push(format!("memory MiB: {:.1} empty", mib(outcome.empty)));
    lines.extend(outcome.aftermath.lines());
    lines.push(format!(
        "afterwards: {} of {} members in the meeting, OPTIONS {}",
        outcome.members,
        plan.members,
        if outcome.answered {
            "answered"
        } else {
            "NOT ANSWERED"
        },
    ));
    lines.extend(outcome.counters.iter().map(|line| format!("  {line}")));
    lines
}

/// A member: its socket, its call, what it says.
type Member = (std::net::UdpSocket, Call, media::Loop);

fn meeting(caller: &mut Caller, members: usize) -> Result<Vec<Member>, LoadError> {
    let mut joined = Vec::new();
    for n in 0..members {
        let socket = socket()?;
        let call = caller.join("attacked", socket.local_addr()?, "96 opus/48000/2")?;
        let says = if n < 2 {
            media::talker(n)?
        } else {
            media::idle(Idle::Noise)?
        };
        joined.push((socket, call, says));
    }
    Ok(joined)
}

fn talkers(members: &[Member]) -> Result<Vec<Talker>, LoadError> {
    let talker = |(socket, call, says): &Member| {
        Ok(Talker {
            socket: socket.try_clone()?,
            to: call.media,
            says: says.clone(),
        })
    };
    members.iter().map(talker).collect()
}

fn phase(
    caller: &mut Caller,
    first: &Call,
    members: Vec<Talker>,
    pid: u32,
    length: Duration,
) -> Result<Phase, LoadError> {
    let (start, cost) = (Instant::now(), ProcessCost::read(pid));
    let ears = Ears::start(members)?;
    let mut phase = Phase::default();
    let late = |took: Option<Duration>| took.map_or(1000.0, |took| took.as_secs_f64() * 1e3);
    let mut number = 100;
    while start.elapsed() < length {
        std::thread::sleep(Duration::from_millis(100));
        number += 1;
        phase.in_call.push(late(caller.ask(first, number)?));
        if number % 5 == 0 {
            let asked = Instant::now();
            let call = caller.join("another", socket()?.local_addr()?, "96 opus/48000/2");
            phase
                .set_up
                .push(late(call.as_ref().ok().map(|_| asked.elapsed())));
            match call {
                Ok(call) => caller.leave(&call)?,
                Err(error) => phase.refusal = Some(error.to_string()),
            }
        }
        phase.resident = phase.resident.max(ProcessCost::read(pid).resident);
    }
    phase.heard = ears.stop();
    let spent = ProcessCost::read(pid).cpu.saturating_sub(cost.cpu);
    phase.cpu = spent.as_secs_f64() * 1e3 / start.elapsed().as_secs_f64();
    phase.in_call.sort_by(f64::total_cmp);
    phase.set_up.sort_by(f64::total_cmp);
    Ok(phase)
}

fn counters(server: &Server) -> Result<Vec<String>, LoadError> {
    let names = [
        "meet_sip_shielded_total",
        "meet_sip_dropped_total",
        "meet_sip_sessions",
        "meet_sip_transactions",
        "meet_rooms",
        "meet_tcp_evicted_total",
        "meet_shard_missed_ticks_total",
        "meet_store_lost_total",
    ];
    let lines = server.metrics().and_then(|metrics| Ok(metrics.lines(&names)?));
    lines.map_err(|error| LoadError::Setup(error.to_string()))
}
