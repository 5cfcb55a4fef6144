//! The soak: rooms that come and go for a long time against a real `meet-server`, with loss, holds, clients that
//! vanish and come back, meetings made and cancelled over the API, and two real `meet` clients that are killed again
//! and again. What must stay: memory, delay, and nothing left at the end.
//!
//! Phones here are `sip_proto` endpoints on sockets of their own, so that one can die without its server hearing of it.
//! Absent on purpose: judging the sound (the interop tests do), and figures of speed (the bench does).

mod clients;
mod crowd;
mod member;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::load::delay::{Delays, EVERY, Pair};
use crate::load::media;
use crate::process::wait_for;
use crate::server::{Server, ServerError};

use member::Member;
pub use watch::Sample;

/// After the last leave the server may probe who vanished before it lets go: 8 s of probes, a grace of 5 s for rooms,
/// 64 T1 for the last transactions.
const CALM: Duration = Duration::from_secs(120);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a phone looks at its sockets.
const TURN: Duration = Duration::from_millis(10);
/// How often the server's state is read.
const LOOK: Duration = Duration::from_millis(250);

/// What goes wrong with the soak itself.
#[derive(Debug, thiserror::Error)]
pub enum SoakError {
    /// The server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Sound for the phones.
    #[error(transparent)]
    Media(#[from] media::MediaError),
    /// A socket or file.
    #[error("soak: {0}")]
    Io(#[from] std::io::Error),
    /// A client process.
    #[error(transparent)]
    Process(#[from] crate::process::ProcessError),
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How long rooms come and go.
    pub length: Duration,
    /// Rooms at once.
    pub rooms: usize,
    /// Seed of all that happens.
    pub seed: u64,
}

/// What the phones did.
#[derive(Debug, Default)]
pub struct Deeds {
    /// Calls that were answered.
    pub calls: AtomicU64,
    /// Calls that failed.
    pub failed: AtomicU64,
    /// Meetings that came and went.
    pub rooms: AtomicU64,
    /// Re-INVITEs answered: holds and resumptions.
    pub holds: AtomicU64,
    /// Phones that vanished without a word.
    pub vanished: AtomicU64,
    /// Real `meet` processes killed.
    pub killed: AtomicU64,
    /// RTP packets received.
    pub received: AtomicU64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The server's state over time.
    pub samples: Vec<Sample>,
    /// Mouth to ear over time: when, and milliseconds added.
    pub delays: Vec<(Duration, f64)>,
    /// What was left at the end; empty is right.
    pub left: Vec<String>,
}

/// Runs the soak against `server`; `say` gets a line of progress now and then.
///
/// # Errors
/// Only when the soak itself cannot go on; what the server does wrong is in the outcome.
pub fn run(
    server: &Server,
    plan: Plan,
    deeds: &Arc<Deeds>,
    mut say: impl FnMut(String),
) -> Result<Outcome, SoakError> {
    let start = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let sound = media::talker(0)?;
    let before = Sample::read(server, start)?;
    let rooms: Vec<_> = (0..plan.rooms)
        .map(|index| {
            let room = crowd::Crowd::new(index, plan.seed, server, Arc::clone(deeds), Arc::clone(&sound));
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || room.run(&stop))
        })
        .collect();
    let clients = {
        let (stop, deeds) = (Arc::clone(&stop), Arc::clone(deeds));
        let sip = server.sip;
        std::thread::spawn(move || clients::run(sip, &stop, &deeds))
    };
    let delay = delays(server, plan.length)?;

    let mut samples = Vec::new();
    let mut told = 0;
    while start.elapsed() < plan.length {
        std::thread::sleep(LOOK);
        let sample = Sample::read(server, start)?;
        let minute = start.elapsed().as_secs() / 60;
        if minute > told {
            told = minute;
            say(line(&sample, deeds));
        }
        samples.push(sample);
    }
    stop.store(true, Ordering::Relaxed);
    let mut left: Vec<String> = Vec::new();
    for room in rooms {
        match room.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => left.push(format!("a room of the soak failed: {error}")),
            Err(_) => left.push("a room of the soak panicked".to_owned()),
        }
    }
    match clients.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => left.push(format!("a client could not be run: {error}")),
        Err(_) => left.push("the clients' thread panicked".to_owned()),
    }
    let delays = delay
        .join()
        .map_err(|_| std::io::Error::other("the delay probe panicked"))??;
    let calm = wait_for(CALM, || {
        let sample = Sample::read(server, start).ok()?;
        sample.left(&before).is_empty().then_some(())
    });
    if calm.is_none() {
        left.extend(Sample::read(server, start)?.left(&before));
        left.extend(watch::meetings(server)?);
    }
    samples.push(Sample::read(server, start)?);
    Ok(Outcome {
        samples,
        delays: delays.series,
        left,
    })
}

type Probe = std::thread::JoinHandle<Result<Delays, media::MediaError>>;

/// One call of two that lasts all the time: delay must not creep in it.
fn delays(server: &Server, length: Duration) -> Result<Probe, SoakError> {
    let room = server.room("soak-delay");
    let mut pair = [
        Member::call(server.sip, &room, 9_001)?,
        Member::call(server.sip, &room, 9_002)?,
    ];
    let answered = wait_for(PATIENCE, || {
        pair.iter_mut().for_each(Member::turn);
        pair.iter().all(|member| member.media().is_some()).then_some(())
    });
    let [mouth, ear] = &pair;
    let (Some(()), Some(speaks), Some(hears)) = (answered, mouth.media(), ear.media()) else {
        return Err(std::io::Error::other("the delay probe's calls were not answered").into());
    };
    let sockets = Pair {
        mouth: mouth.rtp()?,
        mouth_to: speaks,
        ear: ear.rtp()?,
        ear_to: hears,
    };
    Ok(std::thread::spawn(move || {
        let measuring = std::thread::spawn(move || crate::load::delay::measure(sockets, length, EVERY));
        while !measuring.is_finished() {
            pair.iter_mut().for_each(Member::turn);
            std::thread::sleep(TURN);
        }
        pair.iter_mut().for_each(Member::leave);
        let _ = wait_for(PATIENCE, || {
            pair.iter_mut().for_each(Member::turn);
            pair.iter().all(Member::is_over).then_some(())
        });
        measuring.join().unwrap_or_else(|_| Ok(Delays::default()))
    }))
}

fn line(sample: &Sample, deeds: &Deeds) -> String {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    format!(
        "{:>4.0} s: {} calls ({} failed), {} rooms gone, {} holds, {} vanished, {} clients killed | {:.1} MiB, {} people, {} \
         sessions, {} transactions, {} files, {} ticks missed",
        sample.at.as_secs_f64(),
        count(&deeds.calls),
        count(&deeds.failed),
        count(&deeds.rooms),
        count(&deeds.holds),
        count(&deeds.vanished),
        count(&deeds.killed),
        sample.resident as f64 / 1_048_576.0,
        sample.people,
        sample.sessions,
        sample.transactions,
        sample.files,
        sample.missed,
    )
}

/// A server for a soak, with its data in `data` and waits that suit accelerated churn.
///
/// # Errors
/// When it does not start.
pub fn server(data: &Path) -> Result<Server, SoakError> {
    let settings = [
        ("MEET_MEETINGS_EMPTY_GRACE_SECONDS", "5"),
        ("MEET_MEETINGS_VANISH_SECONDS", "5"),
        ("MEET_MEETINGS_ENDED_HOLD_SECONDS", "5"),
    ];
    Ok(Server::start_lan_at("127.0.0.1:0", data, &[], &settings)?)
}
