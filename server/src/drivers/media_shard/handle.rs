//! The control side: choosing a shard for a room, talking to it, freeing what it gives back.

use super::super::capture::Tap;
use super::super::limits::{
    COMMAND_RETRIES, COMMAND_RETRY, MEDIA_DATAGRAM, ROOMS_PER_SHARD, SHARD_COMMANDS, SHARD_EVENTS,
    SHARD_STATS,
};
use super::counters::{ShardCollector, ShardCounters};
use super::shard::Shard;
use super::slot::Slot;
use super::{Discarded, RoomCommand, ShardEvent};
use crate::drivers::priority;
use crate::telemetry::Metrics;
use mixer::{LegKey, LegStats, MediaEvent};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::io::unix::AsyncFd;

/// Why a shard does not take something. Ours: a limit, or a lost thread.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// All shards have as many rooms as they take.
    #[error("the media shards have no place for another room")]
    Full,
    /// The room is gone from its shard.
    #[error("the room's media is gone")]
    Closed,
    /// No descriptor for the wake-up.
    #[error("no descriptor: {0}")]
    System(#[from] std::io::Error),
}

/// What both sides of a room share.
#[derive(Debug)]
pub(super) struct RoomShared {
    wake: EventFd,
    /// 0 alive, 1 closed, 2 lost by a panic.
    pub(super) closed: AtomicU8,
    /// Media only from and to local addresses.
    pub(super) private_only: bool,
}

impl RoomShared {
    pub(super) fn notify(&self) {
        // Only fails when the counter is full, and then the task is woken already.
        let _ = self.wake.write(1);
    }

    pub(super) fn close(&self, failed: bool) {
        self.closed.store(if failed { 2 } else { 1 }, Ordering::Release);
        self.notify();
    }
}

#[derive(Debug)]
struct Wake(Arc<RoomShared>);

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.wake.as_raw_fd()
    }
}

/// A room on its shard, held by the room's task. Dropping it closes the room.
pub struct RoomMedia {
    commands: rtrb::Producer<RoomCommand>,
    trash: rtrb::Consumer<Discarded>,
    events: rtrb::Consumer<MediaEvent>,
    stats: rtrb::Consumer<(LegKey, LegStats)>,
    wake: AsyncFd<Wake>,
    told: bool,
}

impl RoomMedia {
    /// Hands a command over; waits while the ring is full (it is emptied at each tick).
    pub async fn command(&mut self, command: RoomCommand) -> Result<(), MediaError> {
        let mut command = command;
        for _ in 0..COMMAND_RETRIES {
            self.free_trash();
            if self.state() != 0 || self.commands.is_abandoned() {
                return Err(MediaError::Closed);
            }
            match self.commands.push(command) {
                Ok(()) => return Ok(()),
                Err(rtrb::PushError::Full(back)) => command = back,
            }
            tokio::time::sleep(COMMAND_RETRY).await;
        }
        Err(MediaError::Closed)
    }

    /// Waits until the shard has something to tell.
    pub async fn ready(&mut self) {
        match self.wake.readable().await {
            Ok(mut guard) => {
                let _ = guard.get_inner().0.wake.read();
                guard.clear_ready();
            }
            // Only when the runtime ends.
            Err(_) => std::future::pending().await,
        }
    }

    /// The next thing that the shard told.
    pub fn next_event(&mut self) -> Option<ShardEvent> {
        self.free_trash();
        if let Ok(event) = self.events.pop() {
            return Some(ShardEvent::Media(event));
        }
        if let Ok((leg, stats)) = self.stats.pop() {
            return Some(ShardEvent::Stats(leg, stats));
        }
        let state = self.state();
        (state != 0 && !std::mem::replace(&mut self.told, true))
            .then_some(ShardEvent::Closed { failed: state == 2 })
    }

    fn state(&self) -> u8 {
        self.wake.get_ref().0.closed.load(Ordering::Acquire)
    }

    fn free_trash(&mut self) {
        while let Ok(thing) = self.trash.pop() {
            drop(thing);
        }
    }
}

/// The control side of one shard.
struct Remote {
    inbox: Mutex<rtrb::Producer<Box<Slot>>>,
    graveyard: Mutex<rtrb::Consumer<Box<Slot>>>,
    counters: Arc<ShardCounters>,
    thread: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<AtomicBool>,
}

/// All shards.
pub struct ShardPool {
    shards: Vec<Remote>,
    private_only: bool,
}

impl ShardPool {
    /// Starts one thread for each tap entry (`None`: no capture). With `private_only` (`--lan`) media is
    /// taken from and sent to local addresses alone, whatever an SDP says.
    pub fn start(taps: Vec<Option<Tap>>, metrics: &Metrics, private_only: bool) -> std::io::Result<Self> {
        let mut shards = Vec::with_capacity(taps.len());
        for (index, tap) in taps.into_iter().enumerate() {
            let (inbox, incoming) = rtrb::RingBuffer::new(ROOMS_PER_SHARD);
            let (graveyard, buried) = rtrb::RingBuffer::new(ROOMS_PER_SHARD);
            let counters = Arc::new(ShardCounters::default());
            let stop = Arc::new(AtomicBool::new(false));
            let shard = Shard {
                inbox: incoming,
                graveyard,
                counters: Arc::clone(&counters),
                tap,
                stop: Arc::clone(&stop),
                space: Box::new([0; MEDIA_DATAGRAM]),
            };
            let thread = std::thread::Builder::new()
                .name(format!("media-{index}"))
                .spawn(move || {
                    priority::set(priority::MEDIA);
                    shard.run();
                })?;
            shards.push(Remote {
                inbox: Mutex::new(inbox),
                graveyard: Mutex::new(buried),
                counters,
                thread: Mutex::new(Some(thread)),
                stop,
            });
        }
        let counters = shards.iter().map(|s| Arc::clone(&s.counters)).collect();
        metrics.register_collector(Box::new(ShardCollector(counters)));
        Ok(Self { shards, private_only })
    }

    /// Puts a room onto the shard with the fewest legs.
    pub fn open(&self, room: mixer::Room) -> Result<RoomMedia, MediaError> {
        self.reap();
        let load = |s: &&Remote| {
            (
                s.counters.legs.load(Ordering::Relaxed),
                s.counters.rooms.load(Ordering::Relaxed),
            )
        };
        // A shard runs so many rooms; one more would be taken and never tick.
        let has_room = |s: &&Remote| (s.counters.rooms.load(Ordering::Relaxed) as usize) < ROOMS_PER_SHARD;
        let remote = self
            .shards
            .iter()
            .filter(has_room)
            .min_by_key(load)
            .ok_or(MediaError::Full)?;
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let wake = EventFd::from_flags(flags).map_err(std::io::Error::from)?;
        let shared = Arc::new(RoomShared {
            wake,
            closed: AtomicU8::new(0),
            private_only: self.private_only,
        });
        let (commands, taken) = rtrb::RingBuffer::new(SHARD_COMMANDS);
        let (discarded, trash) = rtrb::RingBuffer::new(SHARD_COMMANDS * 2);
        let (told, events) = rtrb::RingBuffer::new(SHARD_EVENTS);
        let (counted, stats) = rtrb::RingBuffer::new(SHARD_STATS);
        let slot = Box::new(Slot::new(
            room,
            Arc::clone(&shared),
            taken,
            discarded,
            told,
            counted,
        ));
        #[expect(
            deprecated,
            reason = "`Wake` keeps its descriptor open and unchanged while registered; the new constructor is unsafe"
        )]
        let wake = AsyncFd::new(Wake(shared))?;
        remote
            .inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(slot)
            .map_err(|_| MediaError::Full)?;
        if let Some(thread) = remote
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            thread.thread().unpark();
        }
        Ok(RoomMedia {
            commands,
            trash,
            events,
            stats,
            wake,
            told: false,
        })
    }

    /// Frees closed rooms; called now and then.
    pub fn reap(&self) {
        for remote in &self.shards {
            let mut graveyard = remote.graveyard.lock().unwrap_or_else(PoisonError::into_inner);
            while let Ok(slot) = graveyard.pop() {
                // A room that panicked may do so again when it is taken down.
                drop(catch_unwind(AssertUnwindSafe(move || drop(slot))));
            }
        }
    }

    /// Each shard's counters.
    pub fn counters(&self) -> impl Iterator<Item = &ShardCounters> {
        self.shards.iter().map(|s| s.counters.as_ref())
    }

    /// Ends the threads; rooms that are left are dropped with them.
    pub fn stop(&self) {
        for remote in &self.shards {
            remote.stop.store(true, Ordering::Release);
        }
        for remote in &self.shards {
            if let Some(thread) = remote
                .thread
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
            {
                thread.thread().unpark();
                drop(thread.join());
            }
        }
        self.reap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn pool() -> ShardPool {
        ShardPool::start(vec![None], &Metrics::new(), true).unwrap()
    }

    fn room() -> mixer::Room {
        mixer::Room::new(mixer::RoomConfig::default())
    }

    async fn closed(room: &mut RoomMedia) -> bool {
        loop {
            if let Some(ShardEvent::Closed { failed }) = room.next_event() {
                return failed;
            }
            tokio::time::timeout(PATIENCE, room.ready()).await.unwrap();
        }
    }

    fn wait(what: &str, good: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !good() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[tokio::test]
    async fn a_fault_closes_its_room_and_no_other() {
        let pool = pool();
        let counters = Arc::clone(&pool.shards[0].counters);
        let (mut bad, mut good) = (pool.open(room()).unwrap(), pool.open(room()).unwrap());
        wait("two rooms", || counters.rooms.load(Ordering::Relaxed) == 2);
        bad.command(RoomCommand::Fault).await.unwrap();
        assert!(closed(&mut bad).await, "told as failed");
        assert!(matches!(
            bad.command(RoomCommand::Close).await,
            Err(MediaError::Closed)
        ));
        assert_eq!(counters.panics.load(Ordering::Relaxed), 1);
        wait("one room", || counters.rooms.load(Ordering::Relaxed) == 1);
        let before = counters.ticks.load(Ordering::Relaxed);
        wait("ticks go on", || {
            counters.ticks.load(Ordering::Relaxed) > before + 5
        });
        good.command(RoomCommand::Close).await.unwrap();
        assert!(!closed(&mut good).await, "closed as asked");
        pool.stop();
    }

    #[tokio::test]
    async fn a_dropped_handle_closes_the_room() {
        let pool = pool();
        let counters = Arc::clone(&pool.shards[0].counters);
        let left = pool.open(room()).unwrap();
        wait("the room", || counters.rooms.load(Ordering::Relaxed) == 1);
        drop(left);
        wait("no room", || counters.rooms.load(Ordering::Relaxed) == 0);
        pool.reap();
        pool.stop();
    }

    #[tokio::test]
    async fn ticks_keep_their_pace() {
        let pool = pool();
        let counters = Arc::clone(&pool.shards[0].counters);
        let rooms: Vec<RoomMedia> = (0..5).map(|_| pool.open(room()).unwrap()).collect();
        wait("five rooms", || counters.rooms.load(Ordering::Relaxed) == 5);
        let done = || counters.ticks.load(Ordering::Relaxed) + counters.missed.load(Ordering::Relaxed);
        let (start, before) = (Instant::now(), done());
        wait("a second of ticks", || start.elapsed() >= Duration::from_secs(1));
        let (elapsed, ticks) = (start.elapsed().as_secs_f64(), (done() - before) as f64);
        // Every deadline is either kept or counted as missed. The edges of the second may cut one of each
        // room, and a busy machine a few more.
        let expected = elapsed * 50.0 * 5.0;
        assert!((ticks - expected).abs() <= 25.0, "{ticks} ticks, not {expected}");
        drop(rooms);
        pool.stop();
    }
}
