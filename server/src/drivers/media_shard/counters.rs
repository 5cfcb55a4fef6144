//! What a shard counts, in atomics that the scrape reads.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rtp_media::srtp::SrtpError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one shard. Relaxed: each stands for itself.
#[derive(Debug, Default)]
pub struct ShardCounters {
    /// Ticks of rooms done.
    pub ticks: AtomicU64,
    /// Ticks skipped because the shard came too late.
    pub missed: AtomicU64,
    /// Longest tick in microseconds since the last scrape.
    pub max_tick_us: AtomicU64,
    /// Microseconds spent in ticks.
    pub busy_us: AtomicU64,
    /// Latest start after its deadline in microseconds since the last scrape.
    pub max_late_us: AtomicU64,
    /// Datagrams received.
    pub received: AtomicU64,
    /// Datagrams sent.
    pub sent: AtomicU64,
    /// Datagrams not sent (full socket buffer, no route).
    pub send_drops: AtomicU64,
    /// Datagrams not taken (too long, read error).
    pub receive_drops: AtomicU64,
    /// Datagrams on a protected leg that were not authentic: forged, tampered with, or clear.
    pub srtp_unauthentic: AtomicU64,
    /// Datagrams on a protected leg that had come before, or were too old to tell.
    pub srtp_replayed: AtomicU64,
    /// Datagrams on a protected leg refused or not sent for another reason (malformed, a limit of the key).
    pub srtp_refused: AtomicU64,
    /// Rooms closed by a panic.
    pub panics: AtomicU64,
    /// Rooms now.
    pub rooms: AtomicU64,
    /// Legs now.
    pub legs: AtomicU64,
}

impl ShardCounters {
    /// Adds one tick of `us` microseconds that began `late_us` after its deadline.
    pub fn tick(&self, us: u64, late_us: u64) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.busy_us.fetch_add(us, Ordering::Relaxed);
        self.max_tick_us.fetch_max(us, Ordering::Relaxed);
        self.max_late_us.fetch_max(late_us, Ordering::Relaxed);
    }

    /// Microseconds spent in ticks so far.
    pub fn busy_us(&self) -> u64 {
        self.busy_us.load(Ordering::Relaxed)
    }
}

/// Counts a datagram that protection refused.
pub(super) fn count_refused(counters: &ShardCounters, error: SrtpError) {
    let counter = match error {
        SrtpError::Unauthentic | SrtpError::Unencrypted => &counters.srtp_unauthentic,
        SrtpError::Replayed => &counters.srtp_replayed,
        _ => &counters.srtp_refused,
    };
    count(counter, 1);
}

/// Adds without reading.
pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// All shards at the scrape.
#[derive(Debug)]
pub(super) struct ShardCollector(pub(super) Vec<Arc<ShardCounters>>);

impl ShardCollector {
    fn each(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        counter: bool,
        read: impl Fn(&ShardCounters) -> u64,
    ) -> Result<(), std::fmt::Error> {
        let kind = if counter {
            MetricType::Counter
        } else {
            MetricType::Gauge
        };
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for (index, shard) in self.0.iter().enumerate() {
            let label = [("shard", index.to_string())];
            let metric = family.encode_family(&label)?;
            if counter {
                ConstCounter::new(read(shard)).encode(metric)?;
            } else {
                ConstGauge::new(i64::try_from(read(shard)).unwrap_or(i64::MAX)).encode(metric)?;
            }
        }
        Ok(())
    }
}

impl Collector for ShardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let e = &mut encoder;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        self.each(e, "shard_ticks", "Room ticks done", true, |s| get(&s.ticks))?;
        self.each(e, "shard_missed_ticks", "Room ticks skipped", true, |s| {
            get(&s.missed)
        })?;
        self.each(e, "shard_busy_microseconds", "Time in ticks", true, |s| {
            get(&s.busy_us)
        })?;
        self.each(
            e,
            "shard_max_tick_microseconds",
            "Longest tick since the last scrape",
            false,
            |s| take(&s.max_tick_us),
        )?;
        self.each(
            e,
            "shard_max_late_microseconds",
            "Latest tick since the last scrape",
            false,
            |s| take(&s.max_late_us),
        )?;
        self.each(e, "shard_received", "Media datagrams received", true, |s| {
            get(&s.received)
        })?;
        self.each(e, "shard_sent", "Media datagrams sent", true, |s| get(&s.sent))?;
        self.each(e, "shard_send_drops", "Media datagrams not sent", true, |s| {
            get(&s.send_drops)
        })?;
        self.each(e, "shard_receive_drops", "Media datagrams not taken", true, |s| {
            get(&s.receive_drops)
        })?;
        self.each(
            e,
            "shard_srtp_unauthentic",
            "Protected media: not authentic",
            true,
            |s| get(&s.srtp_unauthentic),
        )?;
        self.each(e, "shard_srtp_replayed", "Protected media: replayed", true, |s| {
            get(&s.srtp_replayed)
        })?;
        self.each(
            e,
            "shard_srtp_refused",
            "Protected media: refused otherwise",
            true,
            |s| get(&s.srtp_refused),
        )?;
        self.each(e, "shard_panics", "Rooms closed by a panic", true, |s| {
            get(&s.panics)
        })?;
        self.each(e, "shard_rooms", "Rooms", false, |s| get(&s.rooms))?;
        self.each(e, "shard_legs", "Legs", false, |s| get(&s.legs))
    }
}
