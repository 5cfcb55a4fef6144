//! What a room tells: events and statistics, all `Copy`, so that they can leave the media thread without freeing.

use crate::LegKey;
use crate::limits::{EVENT_QUEUE, EVENTS_FOR_LEVELS};
use rtp_media::codec::CodecKind;
use rtp_media::jitter::JitterStats;
use rtp_media::quality::Estimate;
use rtp_media::session::StreamStats;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Something that happened to a room's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaEvent {
    /// The leg's first valid packet came from here, or its stream moved here.
    Latched {
        /// The leg.
        leg: LegKey,
        /// Source of its RTP.
        from: SocketAddr,
    },
    /// Who speaks, by a ranking with hysteresis; `None` after a while of silence.
    ActiveSpeaker {
        /// The leg.
        leg: Option<LegKey>,
    },
    /// A leg began or stopped to be audible.
    Talking {
        /// The leg.
        leg: LegKey,
        /// Began.
        talking: bool,
    },
    /// A key was pressed (RFC 4733); once for each press.
    Digit {
        /// The leg.
        leg: LegKey,
        /// `0`–`9`, `*`, `#`, `A`–`D`, `!` for flash.
        digit: char,
        /// How long it was held.
        duration_ms: u32,
    },
    /// No RTP for the configured time although some was due.
    Silent {
        /// The leg.
        leg: LegKey,
    },
    /// RTP again after [`MediaEvent::Silent`].
    Resumed {
        /// The leg.
        leg: LegKey,
    },
    /// The peer's RTCP said goodbye.
    PeerBye {
        /// The leg.
        leg: LegKey,
    },
}

impl MediaEvent {
    /// May be dropped when the queue is nearly full: the next one of its kind replaces it.
    const fn is_level(&self) -> bool {
        matches!(
            self,
            MediaEvent::Talking { .. } | MediaEvent::ActiveSpeaker { .. } | MediaEvent::Latched { .. }
        )
    }
}

/// One leg's state, for people and for metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LegStats {
    /// Codec that the leg last sent us.
    pub receive_codec: Option<CodecKind>,
    /// Codec that we send.
    pub send_codec: CodecKind,
    /// RTP counters, loss, jitter and round trip.
    pub stream: StreamStats,
    /// Jitter buffer: delay, late and concealed frames.
    pub jitter_buffer: JitterStats,
    /// How good what the leg sends is, by the E-model (ITU-T G.107); no RTCP is needed for it.
    pub quality: Estimate,
    /// Loudness of what the leg sends now, in dB of full scale; −127 is silence.
    pub level_dbov: f32,
    /// Gain that the loudness normalisation applies, in dB.
    pub gain_db: f32,
    /// Audible now.
    pub talking: bool,
    /// Muted by us.
    pub muted: bool,
    /// Has an encoder of its own now.
    pub own_encoder: bool,
    /// Expected loss that our encoder for it plans for, in percent.
    pub fec_percent: u8,
    /// Where we send RTP.
    pub remote: Option<SocketAddr>,
    /// Datagrams dropped: no RTP or RTCP.
    pub malformed: u64,
    /// Datagrams dropped: source or payload type not to be believed, or too many.
    pub refused: u64,
    /// Frames decoded.
    pub decoded: u64,
    /// Frames known to be silent and not decoded.
    pub skipped: u64,
}

impl LegStats {
    /// Delay that the jitter buffer adds now.
    pub fn delay(&self) -> Duration {
        self.jitter_buffer.delay
    }
}

/// A room's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoomStats {
    /// Legs in the room.
    pub legs: usize,
    /// Ticks run.
    pub ticks: u64,
    /// Ticks that were due and never run; the clock advanced over them.
    pub missed_ticks: u64,
    /// Talkers mixed in the last tick.
    pub talkers: usize,
    /// Encoders shared by listeners now.
    pub classes: usize,
    /// Packets encoded since the beginning, shared or not.
    pub encodes: u64,
    /// Events lost because nobody fetched them.
    pub events_dropped: u64,
}

/// Bounded queue of events; allocates only when built.
pub(crate) struct EventQueue {
    waiting: VecDeque<MediaEvent>,
    dropped: u64,
}

impl EventQueue {
    pub(crate) fn new() -> Self {
        Self {
            waiting: VecDeque::with_capacity(EVENT_QUEUE),
            dropped: 0,
        }
    }

    pub(crate) fn push(&mut self, event: MediaEvent) {
        let room = if event.is_level() {
            EVENTS_FOR_LEVELS
        } else {
            EVENT_QUEUE
        };
        if self.waiting.len() < room {
            self.waiting.push_back(event);
        } else {
            self.dropped += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<MediaEvent> {
        self.waiting.pop_front()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_deaths_still_fit_when_levels_do_not() {
        let mut queue = EventQueue::new();
        for _ in 0..2 * EVENT_QUEUE {
            queue.push(MediaEvent::Talking {
                leg: LegKey(1),
                talking: true,
            });
        }
        queue.push(MediaEvent::Digit {
            leg: LegKey(1),
            digit: '5',
            duration_ms: 100,
        });
        queue.push(MediaEvent::PeerBye { leg: LegKey(2) });
        let all: Vec<MediaEvent> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(all.len(), EVENTS_FOR_LEVELS + 2);
        assert_eq!(all.last(), Some(&MediaEvent::PeerBye { leg: LegKey(2) }));
        assert_eq!(queue.dropped(), (2 * EVENT_QUEUE - EVENTS_FOR_LEVELS) as u64);
    }
}
