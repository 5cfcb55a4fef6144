//! From the counters of a received stream to its estimate and to the VoIP metrics block.
//!
//! Deliberately absent: when it is sent; the session does that with its other reports.

use std::time::Duration;

use super::{CodecImpairment, Conditions, Estimate, estimate};
use crate::codec::CodecKind;
use crate::jitter::JitterStats;
use crate::limits::{GMIN, MAX_DELAY};
use crate::rtcp::xr::VoipMetrics;
use crate::session::StreamStats;

/// What is known of a received stream at some moment.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// Counters of the network.
    pub stream: StreamStats,
    /// Counters and delay of the jitter buffer.
    pub jitter: JitterStats,
    /// The codec that arrives.
    pub codec: CodecKind,
    /// Delay on our side beside the jitter buffer: what is decoded and waits, mixing, the codec's look-ahead.
    pub processing: Duration,
    /// Level of the voice in dB of full scale, while there was one.
    pub level_dbov: Option<f32>,
}

impl Observation {
    /// How good the stream is. The way here is taken as half the round trip; where no report told that, delay counts
    /// as what we add alone.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        let bursts = self.jitter.bursts.stats();
        let loss = if bursts.expected == 0 {
            0.0
        } else {
            bursts.missing as f32 / bursts.expected as f32
        };
        estimate(&Conditions {
            codec: CodecImpairment::of(self.codec),
            loss,
            burst_ratio: bursts.burst_ratio,
            delay: self.stream.rtt.unwrap_or_default() / 2 + self.system_delay(),
        })
    }

    /// The block to report it with; `None` before anything came.
    #[must_use]
    pub fn voip_metrics(&self) -> Option<VoipMetrics> {
        let ssrc = self.stream.remote_ssrc?;
        let bursts = self.jitter.bursts.stats();
        let estimate = self.estimate();
        let part = |count: u64| share(count as f32 / bursts.expected.max(1) as f32);
        let packet_ms = self.jitter.packet.as_secs_f32() * 1000.0;
        // What came after its time was missing when it was wanted, and was not lost.
        let late = self.jitter.late.min(bursts.missing);
        let maximum = self.jitter.target + self.jitter.packet;
        Some(VoipMetrics {
            ssrc,
            loss_rate: part(bursts.missing - late),
            discard_rate: part(late),
            burst_density: share(bursts.burst_density),
            gap_density: share(bursts.gap_density),
            burst_duration: (bursts.burst_packets * packet_ms) as u16,
            gap_duration: (bursts.gap_packets * packet_ms) as u16,
            round_trip: millis(self.stream.rtt.unwrap_or_default()),
            end_system_delay: millis(self.system_delay()),
            // 0 dBm0 is 6.15 dB under the overload of the µ-law (ITU-T G.711), 3.14 over it for a sine.
            signal_level: self.level_dbov.map(|level| (level + 6.15).round() as i8),
            noise_level: None,
            residual_echo_return_loss: None,
            gmin: GMIN as u8,
            r_factor: Some(estimate.r_factor.round() as u8),
            external_r_factor: None,
            mos_lq: Some((estimate.mos_lq * 10.0).round() as u8),
            mos_cq: Some((estimate.mos_cq * 10.0).round() as u8),
            receiver_config: VoipMetrics::ENHANCED_ADAPTIVE,
            jitter_nominal: millis(self.jitter.target),
            jitter_maximum: millis(maximum.min(MAX_DELAY)),
            jitter_absolute: millis(MAX_DELAY),
        })
    }

    fn system_delay(&self) -> Duration {
        self.jitter.packet + self.jitter.delay + self.processing
    }
}

/// In 1/256, saturating (RFC 3611 §4.7.1).
fn share(value: f32) -> u8 {
    // A float-to-integer `as` saturates.
    (value * 256.0) as u8
}

fn millis(time: Duration) -> u16 {
    u16::try_from(time.as_millis()).unwrap_or(u16::MAX)
}
