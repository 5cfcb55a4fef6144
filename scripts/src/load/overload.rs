//! The server beyond what it can carry: how much it carries, three times that, and back.
//!
//! While strangers call three times as often as can be answered, a hundred calls stay up and each asks by OPTIONS
//! in its dialog every second: a server that fails under load loses these first. Absent on purpose: an attack
//! (garbage, floods from one source); that is another part of the bench.

use std::time::{Duration, Instant};

use super::LoadError;
use super::calls::Exchange;
use super::dialer::Tally;
use crate::server::Server;

/// Calls that stay up through it all.
const KEPT: usize = 100;
/// Rooms over which calls are spread.
const ROOMS: usize = 100;
/// How long a call stays up.
const HOLD: Duration = Duration::from_millis(200);
/// The server is to be as before after so long.
const RECOVERY: Duration = Duration::from_secs(5);
/// The step at which looking for the capacity gives up.
const MOST: f64 = 32_000.0;

/// What was seen.
#[derive(Debug, Clone)]
pub struct OverloadOutcome {
    /// Calls answered each second at the highest rate that was tried.
    pub carried: f64,
    /// Calls begun each second in the overload.
    pub offered: f64,
    /// What became of them.
    pub overload: Tally,
    /// How long it lasted.
    pub lasted: Duration,
    /// The calls that stayed up, over all phases.
    pub kept: Tally,
    /// Calls at a usual rate in the five seconds after the overload.
    pub after: Tally,
    /// The same in the five seconds after these.
    pub settled: Tally,
    /// Their rate.
    pub usual: f64,
    /// From the end of the overload to the last refusal.
    pub recovery: Duration,
}

/// Finds the capacity, drives the server at three times that for `length`, and watches it recover.
pub fn run(server: &Server, length: Duration) -> Result<OverloadOutcome, LoadError> {
    let mut exchange = Exchange::open(server)?;
    let mut kept = exchange.dialer(server, ROOMS, false, None)?;
    exchange.run(
        &mut [&mut kept],
        200.0,
        Duration::from_secs_f64(KEPT as f64 / 200.0),
        Duration::ZERO,
    );
    let carried = {
        let mut best = 0.0_f64;
        let mut rate = 1000.0;
        while rate <= MOST {
            let mut dialer = exchange.dialer(server, ROOMS, false, Some(HOLD))?;
            let lasted = exchange.run(&mut [&mut dialer, &mut kept], rate, Duration::from_secs(3), HOLD);
            let answered = dialer.tally.answered as f64 / lasted.as_secs_f64();
            best = best.max(answered);
            if answered < rate * 0.8 {
                break;
            }
            rate *= 2.0;
        }
        best
    };
    let offered = carried * 3.0;
    let mut dialer = exchange.dialer(server, ROOMS, false, Some(HOLD))?;
    let lasted = exchange.run(&mut [&mut dialer, &mut kept], offered, length, Duration::ZERO);
    let end = Instant::now();
    let usual = (carried / 2.0).min(1000.0);
    // The overloaded calls stay in the run: those that are up end, those that are refused are not tried again.
    let mut part = |exchange: &mut Exchange| -> Result<Tally, LoadError> {
        let mut calls = exchange.dialer(server, ROOMS, false, Some(HOLD))?;
        let all = &mut [&mut calls, &mut dialer, &mut kept];
        exchange.run(all, usual, RECOVERY, HOLD);
        calls.close_books();
        Ok(calls.tally)
    };
    let after = part(&mut exchange)?;
    let settled = part(&mut exchange)?;
    dialer.close_books();
    let recovery = [&after, &settled]
        .into_iter()
        .filter_map(|tally| tally.last_refusal)
        .max()
        .map_or(Duration::ZERO, |at| at.saturating_duration_since(end));
    exchange.hang_up(&mut kept);
    kept.close_books();
    Ok(OverloadOutcome {
        carried,
        offered,
        overload: dialer.tally,
        lasted,
        kept: kept.tally,
        after,
        settled,
        usual,
        recovery,
    })
}
