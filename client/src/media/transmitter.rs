//! The speaking half of a stream: from 48 kHz sound, one tick at a time, to RTP payloads and digits.
//!
//! Timestamps follow the ticks, whether or not a packet is sent, so that a pause, a hold or a missed tick
//! never becomes delay at the other end. Deliberately absent: sequence numbers and addresses, which are
//! [`super::stream`]'s.

use std::collections::VecDeque;
use std::time::Duration;

use rtp_media::codec::{AudioEncoder, CodecKind, Encoder};
use rtp_media::telephone_event::{Event, Sender};
use rtp_media::units::{PayloadType, RtpTimestamp};

use super::MediaError;
use super::plan::StreamPlan;
use super::resample::FixedResampler;
use crate::limits::{DATAGRAM_BYTES, DIGITS_QUEUED, PCM_RATE, TICK};

/// How long a digit is held; phones take 40 ms and more, 100 ms is what people press.
const DIGIT_HELD: Duration = Duration::from_millis(120);
/// Ticks of quiet between two digits.
const DIGIT_GAP: u8 = 4;
/// Power of a digit, in −dBm0 (RFC 4733 §2.5.2.3).
const DIGIT_POWER: u8 = 10;
/// Longest silence without a packet where DTX was agreed: NAT bindings and phones want a sign of life.
const DTX_PAUSE: Duration = Duration::from_millis(400);

/// One packet to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Marker bit.
    pub marker: bool,
    /// Payload type.
    pub payload_type: PayloadType,
    /// Timestamp.
    pub timestamp: RtpTimestamp,
    /// Payload.
    pub payload: &'a [u8],
}

/// Encodes what is said.
pub struct Transmitter {
    kind: CodecKind,
    payload_type: PayloadType,
    ptime_ms: u8,
    dtx: bool,
    sending: bool,
    encoder: AudioEncoder,
    down: FixedResampler,
    narrow: Vec<f32>,
    waiting: Vec<f32>,
    timestamp: RtpTimestamp,
    marker: bool,
    quiet: Duration,
    payload: [u8; DATAGRAM_BYTES],
    events: Option<(PayloadType, rtp_media::units::SampleRate)>,
    digits: VecDeque<Event>,
    digit: Option<Sender>,
    gap: u8,
}

impl std::fmt::Debug for Transmitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transmitter({:?}, {} ms)", self.kind, self.ptime_ms)
    }
}

impl Transmitter {
    /// A transmitter that begins at this timestamp.
    pub fn new(plan: &StreamPlan, timestamp: RtpTimestamp) -> Result<Self, MediaError> {
        let down = FixedResampler::new(PCM_RATE, plan.codec.sample_rate().hertz())?;
        Ok(Self {
            kind: plan.codec,
            payload_type: plan.payload_type,
            ptime_ms: plan.ptime_ms,
            dtx: plan.dtx,
            sending: plan.sending,
            encoder: AudioEncoder::new(plan.codec, &plan.opus)?,
            narrow: vec![0.0; down.chunk_out()],
            down,
            waiting: Vec::with_capacity(5_760),
            timestamp,
            marker: true,
            quiet: Duration::ZERO,
            payload: [0; DATAGRAM_BYTES],
            events: plan.send_events,
            digits: VecDeque::new(),
            digit: None,
            gap: 0,
        })
    }

    /// A new agreement: in place where the codec stays, so that the listener hears no break.
    pub fn update(&mut self, plan: &StreamPlan) -> Result<(), MediaError> {
        if plan.codec != self.kind {
            self.encoder = AudioEncoder::new(plan.codec, &plan.opus)?;
            self.down = FixedResampler::new(PCM_RATE, plan.codec.sample_rate().hertz())?;
            self.narrow = vec![0.0; self.down.chunk_out()];
            self.waiting.clear();
            self.kind = plan.codec;
            self.marker = true;
        } else {
            self.encoder.configure(&plan.opus)?;
        }
        self.marker |= plan.sending && !self.sending;
        self.payload_type = plan.payload_type;
        self.ptime_ms = plan.ptime_ms;
        self.dtx = plan.dtx;
        self.sending = plan.sending;
        self.events = plan.send_events;
        Ok(())
    }

    /// Puts a digit in the queue; false when the peer takes none, or the queue is full, or it is no digit.
    pub fn digit(&mut self, digit: char) -> bool {
        let Some(event) = Event::from_digit(digit) else {
            return false;
        };
        if self.events.is_none() || self.digits.len() >= DIGITS_QUEUED {
            return false;
        }
        self.digits.push_back(event);
        true
    }

    /// Tells the encoder what the peer loses, in percent.
    pub fn expect_loss(&mut self, percent: u8) {
        self.encoder.set_expected_loss(percent);
    }

    /// Ticks that were missed: time went on without sound.
    pub fn skip(&mut self, ticks: u32) {
        let clock = self.kind.rtp_clock_rate().ticks(TICK) as u32;
        self.timestamp = self.timestamp.plus(clock.wrapping_mul(ticks));
        self.marker = true;
    }

    /// One tick of sound; every packet that is complete goes to `send`.
    pub fn say(&mut self, frame: &[f32], send: &mut dyn FnMut(&Outgoing<'_>)) -> Result<(), MediaError> {
        self.down.process(frame, &mut self.narrow)?;
        self.waiting.extend_from_slice(&self.narrow);
        let digit = self.say_digit(send);
        let rate = self.kind.sample_rate();
        let samples = rate.ticks(Duration::from_millis(u64::from(self.ptime_ms))) as usize;
        while self.waiting.len() >= samples && samples > 0 {
            let span = rate.duration(samples as u64);
            let clock = self.kind.rtp_clock_rate().ticks(span) as u32;
            if self.sending && !digit {
                self.encode(samples, span, send)?;
            } else {
                self.marker = true;
            }
            self.waiting.drain(..samples);
            self.timestamp = self.timestamp.plus(clock);
        }
        Ok(())
    }

    fn encode(
        &mut self,
        samples: usize,
        span: Duration,
        send: &mut dyn FnMut(&Outgoing<'_>),
    ) -> Result<(), MediaError> {
        let Some(pcm) = self.waiting.get(..samples) else {
            return Ok(());
        };
        let length = self.encoder.encode(pcm, &mut self.payload)?;
        // RFC 7587 §3.1.3: where DTX was agreed, packets of up to two bytes need not be sent.
        if self.dtx && length <= 2 && self.quiet + span < DTX_PAUSE {
            self.quiet += span;
            return Ok(());
        }
        let resumed = self.quiet > Duration::ZERO && length > 2;
        self.quiet = if length <= 2 { span } else { Duration::ZERO };
        let Some(payload) = self.payload.get(..length) else {
            return Ok(());
        };
        send(&Outgoing {
            marker: std::mem::take(&mut self.marker) || resumed,
            payload_type: self.payload_type,
            timestamp: self.timestamp,
            payload,
        });
        Ok(())
    }

    /// Sends the packet of a digit that is due; true while a digit takes the place of sound.
    fn say_digit(&mut self, send: &mut dyn FnMut(&Outgoing<'_>)) -> bool {
        let Some((payload_type, clock)) = self.events else {
            self.digits.clear();
            self.digit = None;
            return false;
        };
        if self.digit.is_none() {
            self.gap = self.gap.saturating_sub(1);
            if self.gap == 0
                && self.sending
                && let Some(event) = self.digits.pop_front()
            {
                self.digit = Some(Sender::new(
                    event,
                    DIGIT_POWER,
                    DIGIT_HELD,
                    clock,
                    self.timestamp,
                    TICK,
                ));
            }
        }
        let Some(sender) = &mut self.digit else {
            return false;
        };
        match sender.next_packet() {
            Some(packet) => {
                send(&Outgoing {
                    marker: packet.marker,
                    payload_type,
                    timestamp: packet.timestamp,
                    payload: &packet.payload,
                });
                true
            }
            None => {
                self.digit = None;
                self.gap = DIGIT_GAP;
                false
            }
        }
    }
}
