//! Counters of the process in Prometheus' text format.
//!
//! Everything that drops says so here. The media shards' counters are read from their atomics
//! at the scrape (see `drivers::media_shard`); nothing is pushed.

use crate::focus::load::{self, LoadGate};
use crate::shield::Cause;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sip_proto::endpoint::Transport;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The metrics cannot be printed.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be written as text")]
pub struct MetricsError(#[from] std::fmt::Error);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransportLabel {
    transport: TransportName,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the variants' names are the label values")]
enum TransportName {
    udp,
    tcp,
    tls,
    ws,
    wss,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

/// All counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    received: Family<TransportLabel, Counter>,
    sent: Family<TransportLabel, Counter>,
    /// SIP input or output dropped: a full queue or a refused connection.
    pub sip_dropped: Counter,
    shielded: Family<CauseLabel, Counter>,
    overload_refused: Family<CauseLabel, Counter>,
    /// Whether new calls are refused because of measured load.
    pub overloaded: Gauge,
    /// Bans so far.
    pub bans: Counter,
    /// Addresses that are banned now.
    pub banned: Gauge,
    /// TCP connections closed to make room, or for an unfinished message.
    pub tcp_evicted: Counter,
    /// Open TCP connections.
    pub tcp_connections: Gauge,
    /// Living rooms.
    pub rooms: Gauge,
    /// People in all rooms.
    pub people: Gauge,
    /// SIP sessions the endpoint holds.
    pub sessions: Gauge,
    /// Transactions the endpoint holds.
    pub transactions: Gauge,
    /// Events written to the database.
    pub store_written: Counter,
    /// Facts that wait because the database cannot write.
    pub store_waiting: Gauge,
    /// Events lost: queue full, disk full, file locked.
    pub store_lost: Counter,
    /// Microseconds the database worked.
    pub store_busy_us: Counter,
    /// Packets that the capture could not take.
    pub capture_dropped: Counter,
    /// API requests answered.
    pub api_requests: Counter,
    /// API requests refused for their Host, Origin or source.
    pub api_refused: Counter,
}

impl Metrics {
    /// Registers everything under the prefix `meet_`.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("meet");
        let metrics = Self {
            registry: Mutex::new(Registry::default()),
            received: Family::default(),
            sent: Family::default(),
            sip_dropped: Counter::default(),
            shielded: Family::default(),
            overload_refused: Family::default(),
            overloaded: Gauge::default(),
            bans: Counter::default(),
            banned: Gauge::default(),
            tcp_evicted: Counter::default(),
            tcp_connections: Gauge::default(),
            rooms: Gauge::default(),
            people: Gauge::default(),
            sessions: Gauge::default(),
            transactions: Gauge::default(),
            store_written: Counter::default(),
            store_waiting: Gauge::default(),
            store_lost: Counter::default(),
            store_busy_us: Counter::default(),
            capture_dropped: Counter::default(),
            api_requests: Counter::default(),
            api_refused: Counter::default(),
        };
        let r = &mut registry;
        r.register(
            "sip_received",
            "SIP datagrams and stream reads",
            metrics.received.clone(),
        );
        r.register("sip_sent", "SIP messages sent", metrics.sent.clone());
        r.register(
            "sip_dropped",
            "SIP input or output dropped by a limit",
            metrics.sip_dropped.clone(),
        );
        r.register(
            "tcp_connections",
            "Open SIP connections",
            metrics.tcp_connections.clone(),
        );
        metrics.register_protection(r);
        r.register("rooms", "Living rooms", metrics.rooms.clone());
        r.register("people", "People in all rooms", metrics.people.clone());
        r.register("sip_sessions", "SIP sessions", metrics.sessions.clone());
        r.register(
            "sip_transactions",
            "SIP transactions",
            metrics.transactions.clone(),
        );
        metrics.register_house(r);
        metrics.begin_at_zero();
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }

    /// A scraper sees a rate only in a counter that was there before its first event.
    fn begin_at_zero(&self) {
        for transport in [Transport::Udp, Transport::Tcp] {
            let label = label(transport);
            drop(self.received.get_or_create(&label));
            drop(self.sent.get_or_create(&label));
        }
        for cause in Cause::ALL.map(Cause::as_str) {
            drop(self.shielded.get_or_create(&CauseLabel { cause }));
        }
        for cause in load::Cause::ALL.map(load::Cause::as_str) {
            drop(self.overload_refused.get_or_create(&CauseLabel { cause }));
        }
    }

    fn register_house(&self, r: &mut Registry) {
        r.register("store_written", "Events written", self.store_written.clone());
        r.register(
            "store_waiting",
            "Facts that wait because the database cannot write",
            self.store_waiting.clone(),
        );
        r.register(
            "store_lost",
            "Events lost by a full queue, disk or lock",
            self.store_lost.clone(),
        );
        r.register(
            "store_busy_microseconds",
            "Time the database worked",
            self.store_busy_us.clone(),
        );
        r.register(
            "capture_dropped",
            "Packets not captured",
            self.capture_dropped.clone(),
        );
        r.register("api_requests", "API requests", self.api_requests.clone());
        r.register(
            "api_refused",
            "API requests refused by the guard",
            self.api_refused.clone(),
        );
    }

    fn register_protection(&self, r: &mut Registry) {
        r.register(
            "sip_shielded",
            "Datagrams not looked at: keep-alives, garbage, too many from one address or from all strangers, banned",
            self.shielded.clone(),
        );
        r.register(
            "overload_refused",
            "New requests refused with 503 because of load: queue, shards, calls at a time, calls a second",
            self.overload_refused.clone(),
        );
        r.register(
            "overloaded",
            "1 while new calls are refused because of measured load",
            self.overloaded.clone(),
        );
        r.register("bans", "Bans so far", self.bans.clone());
        r.register("banned", "Addresses banned now", self.banned.clone());
        r.register(
            "tcp_evicted",
            "SIP connections closed to make room or for an unfinished message",
            self.tcp_evicted.clone(),
        );
    }

    /// Adds a source that is read at every scrape.
    pub fn register_collector(&self, collector: Box<dyn prometheus_client::collector::Collector>) {
        self.registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .register_collector(collector);
    }

    /// One SIP input came.
    pub fn sip_received(&self, transport: Transport) {
        self.received.get_or_create(&label(transport)).inc();
    }

    /// The shield dropped a datagram.
    pub fn shielded(&self, cause: Cause) {
        let cause = cause.as_str();
        self.shielded.get_or_create(&CauseLabel { cause }).inc();
    }

    /// What the focus refused because of load so far.
    pub fn overload(&self, load: &LoadGate, now: Instant) {
        for (cause, total) in load::Cause::ALL.iter().zip(load.refused()) {
            let cause = cause.as_str();
            let counter = self.overload_refused.get_or_create(&CauseLabel { cause });
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.overloaded.set(i64::from(load.is_overloaded(now)));
    }

    /// One SIP message went out.
    pub fn sip_sent(&self, transport: Transport) {
        self.sent.get_or_create(&label(transport)).inc();
    }

    /// The text that `/metrics` answers.
    pub fn text(&self) -> Result<String, MetricsError> {
        let mut text = String::new();
        encode(
            &mut text,
            &self.registry.lock().unwrap_or_else(PoisonError::into_inner),
        )?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn label(transport: Transport) -> TransportLabel {
    let transport = match transport {
        Transport::Udp => TransportName::udp,
        Transport::Tcp => TransportName::tcp,
        Transport::Tls => TransportName::tls,
        Transport::Ws => TransportName::ws,
        Transport::Wss => TransportName::wss,
    };
    TransportLabel { transport }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shows_what_was_counted() {
        let metrics = Metrics::new();
        metrics.sip_received(Transport::Tcp);
        metrics.store_lost.inc_by(3);
        let text = metrics.text().unwrap();
        assert!(
            text.contains("meet_sip_received_total{transport=\"tcp\"} 1"),
            "{text}"
        );
        assert!(text.contains("meet_store_lost_total 3"), "{text}");
    }

    #[test]
    fn what_has_not_happened_yet_is_shown_as_zero() {
        let text = Metrics::new().text().unwrap();
        for sample in [
            "meet_sip_received_total{transport=\"udp\"} 0",
            "meet_sip_sent_total{transport=\"tcp\"} 0",
            "meet_sip_shielded_total{cause=\"banned\"} 0",
            "meet_overload_refused_total{cause=\"calls\"} 0",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample} in {text}");
        }
    }
}
