//! Writes the server's own SIP, RTP and RTCP into a pcapng file, on a thread of its own.
//!
//! Every source has a ring of fixed-size slots; a full ring drops and counts, so that a slow
//! disk never holds the tick. Packets are held back a moment and written in order of time.
//! Streams are shown as segments in sequence, without a handshake. Deliberately absent: capturing from the network
//! card (that needs privileges).

use super::limits::{CAPTURE_BYTES, CAPTURE_HOLD, CAPTURE_QUEUE};
use crate::telemetry::Metrics;
use rtp_media::pcap::{PcapError, PcapWriter};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
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

/// A tap for the tasks of the control side, which may allocate: SIP can be longer than a frame.
#[derive(Debug, Clone)]
pub struct SharedTap {
    queue: SyncSender<Whole>,
    metrics: Arc<Metrics>,
}

impl SharedTap {
    /// Copies a datagram; never waits.
    pub fn record(&self, at: SystemTime, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.put(at, from, to, bytes, false);
    }

    /// Copies what went over a stream; never waits.
    pub fn record_stream(&self, at: SystemTime, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.put(at, from, to, bytes, true);
    }

    fn put(&self, at: SystemTime, from: SocketAddr, to: SocketAddr, bytes: &[u8], stream: bool) {
        if self
            .queue
            .try_send(Whole {
                at,
                from,
                to,
                stream,
                bytes: bytes.to_vec(),
            })
            .is_err()
        {
            self.metrics.capture_dropped.inc();
        }
    }
}

/// A packet on its way to the file.
#[derive(Debug)]
struct Whole {
    at: SystemTime,
    from: SocketAddr,
    to: SocketAddr,
    /// A piece of a stream, not a datagram.
    stream: bool,
    bytes: Vec<u8>,
}

impl From<Captured> for Whole {
    fn from(slot: Captured) -> Self {
        let bytes = slot
            .bytes
            .get(..usize::from(slot.length))
            .unwrap_or_default()
            .to_vec();
        Self {
            at: slot.at,
            from: slot.from,
            to: slot.to,
            stream: false,
            bytes,
        }
    }
}

/// The running capture.
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Creates the file, `count` taps for media threads, and one for the control side.
    pub fn start(
        path: &Path,
        count: usize,
        metrics: &Arc<Metrics>,
    ) -> io::Result<(Self, Vec<Tap>, SharedTap)> {
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
        let (queue, whole) = sync_channel(CAPTURE_QUEUE);
        let shared = SharedTap {
            queue,
            metrics: Arc::clone(metrics),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let sources = Sources { rings, whole };
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || run(writer, &file, sources, &ended))?;
        Ok((
            Self {
                stop,
                thread: Some(thread),
            },
            taps,
            shared,
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

/// Where packets come from.
struct Sources {
    rings: Vec<rtrb::Consumer<Captured>>,
    whole: Receiver<Whole>,
}

impl Sources {
    fn take(&mut self, into: &mut Vec<Whole>) {
        for ring in &mut self.rings {
            while let Ok(packet) = ring.pop() {
                into.push(packet.into());
            }
        }
        into.extend(self.whole.try_iter());
    }
}

fn run(mut writer: PcapWriter<Flushable>, file: &Flushable, mut sources: Sources, stop: &AtomicBool) {
    let mut held: Vec<Whole> = Vec::new();
    loop {
        let last = stop.load(Ordering::Acquire);
        sources.take(&mut held);
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
                let at = p.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let written = if p.stream {
                    writer.tcp(at, p.from, p.to, &p.bytes)
                } else {
                    writer.udp(at, p.from, p.to, &p.bytes)
                };
                match written {
                    // One that is too long does not break the file.
                    Err(PcapError::TooLong(_)) => Ok(()),
                    other => other,
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_written_whole_and_in_order_of_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pcapng");
        let metrics = Arc::new(Metrics::new());
        let (capture, mut taps, shared) = Capture::start(&path, 1, &metrics).unwrap();
        let (a, b) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let now = SystemTime::now();
        taps[0].record(now, a, b, b"<second>");
        shared.record(now - Duration::from_millis(50), b, a, &[b'x'; 4000]);
        taps[0].record(now - Duration::from_millis(90), a, b, b"<first>");
        drop(capture);
        let bytes = std::fs::read(&path).unwrap();
        let find = |needle: &[u8]| bytes.windows(needle.len()).position(|w| w == needle).unwrap();
        assert!(find(b"<first>") < find(&[b'x'; 4000]) && find(&[b'x'; 4000]) < find(b"<second>"));
        assert_eq!(metrics.capture_dropped.get(), 0);
    }

    #[test]
    fn a_full_ring_counts_and_does_not_wait() {
        let metrics = Arc::new(Metrics::new());
        let (producer, _ring) = rtrb::RingBuffer::new(2);
        let mut tap = Tap {
            ring: producer,
            metrics: Arc::clone(&metrics),
        };
        let address = "127.0.0.1:1".parse().unwrap();
        for _ in 0..5 {
            tap.record(SystemTime::now(), address, address, b"x");
        }
        assert_eq!(metrics.capture_dropped.get(), 3);
    }
}
