//! Writes the server's own SIP, RTP and RTCP into a pcapng file, on a thread of its own.
//!
//! Every source has a ring of fixed-size slots; a full ring drops and counts, so that a slow
//! disk never holds the tick. Packets are held back a moment and written in order of time.
//! Deliberately absent: capturing from the network card (that needs privileges), and SIP over
//! streams, which has no datagrams to show.

use super::limits::{CAPTURE_BYTES, CAPTURE_HOLD, CAPTURE_QUEUE};
use crate::telemetry::Metrics;
use rtp_media::pcap::{PcapError, PcapWriter};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// How often the thread looks into the rings.
const POLL: Duration = Duration::from_millis(10);

/// One packet in the ring.
struct Captured {
    at: SystemTime,
    from: SocketAddr,
    to: SocketAddr,
    length: u16,
    bytes: [u8; CAPTURE_BYTES],
}

/// One source's way into the capture.
pub struct Tap {
    ring: rtrb::Producer<Captured>,
    metrics: Arc<Metrics>,
}

impl Tap {
    /// Copies a datagram into the ring; never waits.
    pub fn record(&mut self, at: SystemTime, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let length = bytes.len().min(CAPTURE_BYTES);
        let mut slot = Captured {
            at,
            from,
            to,
            length: 0,
            bytes: [0; CAPTURE_BYTES],
        };
        if let (Some(into), Some(kept), Ok(short)) = (
            slot.bytes.get_mut(..length),
            bytes.get(..length),
            u16::try_from(length),
        ) {
            into.copy_from_slice(kept);
            slot.length = short;
        }
        if self.ring.push(slot).is_err() {
            self.metrics.capture_dropped.inc();
        }
    }
}

/// A tap for several tasks of the control side.
#[derive(Clone)]
pub struct SharedTap(Arc<Mutex<Tap>>);

impl std::fmt::Debug for SharedTap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedTap")
    }
}

impl SharedTap {
    /// Shares a tap.
    pub fn new(tap: Tap) -> Self {
        Self(Arc::new(Mutex::new(tap)))
    }

    /// As [`Tap::record`].
    pub fn record(&self, at: SystemTime, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .record(at, from, to, bytes);
    }
}

/// The running capture.
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Creates the file and `count` taps.
    pub fn start(path: &Path, count: usize, metrics: &Arc<Metrics>) -> io::Result<(Self, Vec<Tap>)> {
        let file = Flushable(Arc::new(Mutex::new(BufWriter::new(File::create(path)?))));
        let writer = PcapWriter::new(file.clone(), "meet-server").map_err(io::Error::other)?;
        let (mut taps, mut rings) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            let (producer, consumer) = rtrb::RingBuffer::new(CAPTURE_QUEUE);
            taps.push(Tap {
                ring: producer,
                metrics: Arc::clone(metrics),
            });
            rings.push(consumer);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || run(writer, &file, rings, &ended))?;
        Ok((
            Self {
                stop,
                thread: Some(thread),
            },
            taps,
        ))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}

/// A writer that can be flushed while the pcapng writer owns it; both are in one thread.
#[derive(Clone)]
struct Flushable(Arc<Mutex<BufWriter<File>>>);

impl Write for Flushable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

fn run(
    mut writer: PcapWriter<Flushable>,
    file: &Flushable,
    mut rings: Vec<rtrb::Consumer<Captured>>,
    stop: &AtomicBool,
) {
    let mut held: Vec<Captured> = Vec::new();
    loop {
        let last = stop.load(Ordering::Acquire);
        for ring in &mut rings {
            while let Ok(packet) = ring.pop() {
                held.push(packet);
            }
        }
        held.sort_by_key(|packet| packet.at);
        let until = if last {
            None
        } else {
            SystemTime::now().checked_sub(CAPTURE_HOLD)
        };
        let ripe = until.map_or(held.len(), |until| {
            held.partition_point(|packet| packet.at <= until)
        });
        let outcome = held
            .drain(..ripe)
            .try_for_each(|p| {
                let bytes = p.bytes.get(..usize::from(p.length)).unwrap_or_default();
                let at = p.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                writer.udp(at, p.from, p.to, bytes)
            })
            .and_then(|()| {
                if ripe > 0 {
                    file.clone().flush().map_err(PcapError::from)
                } else {
                    Ok(())
                }
            });
        if let Err(error) = outcome {
            tracing::error!(%error, "the capture cannot be written; it ends here, calls go on");
            return;
        }
        if last {
            return;
        }
        std::thread::park_timeout(POLL);
    }
}
