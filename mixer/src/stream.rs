//! The wire side of a leg: session, latch and clock, and the packets written with them.
//!
//! All of it outlives re-negotiations. Deliberately absent: SRTP, which the [`Outbox`]'s other side adds.

use crate::command::{EventMap, LegKey};
use crate::lane::Packet;
use crate::limits::{MAX_DIGIT, MAX_HEADER, MAX_SENT_PAYLOAD, TICK};
use crate::room::Outbox;
use crate::send::MediaClock;
use rtp_media::latch::Latch;
use rtp_media::rtp::{write_header, write_header_with};
use rtp_media::session::RtpSession;
use rtp_media::telephone_event::{Event, Sender};
use rtp_media::units::{NtpTime, PayloadType, SampleRate, Ssrc};
use std::time::{Duration, Instant};

/// Bytes of a whole packet to send.
pub(crate) const PACKET_BUFFER: usize = MAX_HEADER + MAX_SENT_PAYLOAD;

/// What packets are written from.
pub(crate) struct Stream {
    pub(crate) key: LegKey,
    pub(crate) session: RtpSession,
    pub(crate) latch: Latch,
    pub(crate) clock: MediaClock,
    pub(crate) rtcp_mux: bool,
    /// The tick up to which something was sent without a gap.
    pub(crate) sent_until: Option<u64>,
    pub(crate) event_sender: Option<(PayloadType, Sender)>,
}

/// A tick's worth of packets for one leg.
pub(crate) struct Batch<'a> {
    pub(crate) packets: &'a [Packet],
    /// The tick in which they are sent, and how many they span.
    pub(crate) tick: u64,
    pub(crate) span: u64,
    pub(crate) payload_type: PayloadType,
    pub(crate) comfort_noise: Option<PayloadType>,
    /// RTP clock ticks in a tick.
    pub(crate) tick_clock: u32,
    pub(crate) csrcs: &'a [Ssrc],
    /// Levels of the CSRCs in their order, and the identifier to tell them under (RFC 6465).
    pub(crate) levels: Option<(u8, &'a [u8])>,
}

impl Stream {
    /// Sends this tick's packets of the lane that serves the leg.
    pub(crate) fn send_packets(
        &mut self,
        batch: &Batch<'_>,
        now: Instant,
        buffer: &mut [u8; PACKET_BUFFER],
        out: &mut dyn Outbox,
    ) {
        let Some(to) = self.latch.destination() else {
            return;
        };
        if self.send_digit(batch.tick, now, to, buffer, out) {
            return;
        }
        let first = (batch.tick + 1).saturating_sub(batch.span);
        if self.sent_until.is_some_and(|until| first < until) {
            // A change to longer packets: this one begins in time that was sent already.
            return;
        }
        let step = batch.tick_clock / u32::try_from(batch.packets.len().max(1)).unwrap_or(1);
        for (index, packet) in batch.packets.iter().enumerate() {
            let payload_type = match batch.comfort_noise {
                Some(noise) if packet.noise => noise,
                _ => batch.payload_type,
            };
            // RFC 3551 §4.1: the marker says that a talk spurt begins, here after anything unsent; never on comfort
            // noise (RFC 3389 §4).
            let marker = index == 0 && self.sent_until != Some(first) && !packet.noise;
            let offset = step * u32::try_from(index).unwrap_or(0);
            let timestamp = self.clock.at(first).plus(offset);
            let header = self
                .session
                .next_header(marker, payload_type, timestamp, batch.csrcs);
            let written = match batch.levels {
                Some((id, levels)) => write_header_with(buffer, &header, id, levels),
                None => write_header(buffer, &header),
            };
            let Ok(length) = written else {
                return;
            };
            let payload = packet.payload();
            let Some(body) = buffer.get_mut(length..length + payload.len()) else {
                return;
            };
            body.copy_from_slice(payload);
            if let Some(datagram) = buffer.get(..length + payload.len()) {
                out.rtp(self.key, to, datagram);
                self.session.sent(payload.len(), timestamp, now);
            }
            self.sent_until = Some(batch.tick + 1);
        }
    }

    /// While a digit is being sent it takes the place of audio; true when it did.
    fn send_digit(
        &mut self,
        tick: u64,
        now: Instant,
        to: std::net::SocketAddr,
        buffer: &mut [u8; PACKET_BUFFER],
        out: &mut dyn Outbox,
    ) -> bool {
        let Some((payload_type, sender)) = self.event_sender.as_mut() else {
            return false;
        };
        let Some(event) = sender.next_packet() else {
            self.event_sender = None;
            return false;
        };
        let header = self
            .session
            .next_header(event.marker, *payload_type, event.timestamp, &[]);
        if let Ok(length) = write_header(buffer, &header)
            && let Some(body) = buffer.get_mut(length..length + event.payload.len())
        {
            body.copy_from_slice(&event.payload);
            if let Some(datagram) = buffer.get(..length + event.payload.len()) {
                out.rtp(self.key, to, datagram);
                self.session.sent(event.payload.len(), event.timestamp, now);
            }
        }
        self.sent_until = Some(tick + 1);
        true
    }

    /// Begins to send a digit, when an event payload type of our clock was negotiated.
    pub(crate) fn start_digit(
        &mut self,
        (digit, duration): (char, Duration),
        clock: SampleRate,
        events: &EventMap,
        tick: u64,
    ) {
        let of_clock = |(_, other): &&(PayloadType, SampleRate)| *other == clock;
        let Some(&(payload_type, _)) = events.iter().find(of_clock) else {
            return;
        };
        let Some(event) = Event::from_digit(digit) else {
            return;
        };
        let start = self.clock.at(tick);
        let sender = Sender::new(event, 10, duration.min(MAX_DIGIT), clock, start, TICK);
        self.event_sender = Some((payload_type, sender));
    }

    /// Writes and sends the RTCP report that is due.
    pub(crate) fn report(&mut self, now: Instant, wall: NtpTime, buffer: &mut [u8], out: &mut dyn Outbox) {
        if self.session.poll_timeout().is_none_or(|(due, _)| due > now) {
            return;
        }
        if let Some(length) = self.session.poll_rtcp(now, wall, buffer) {
            self.send_rtcp(buffer.get(..length).unwrap_or(&[]), out);
        }
    }

    /// Says goodbye.
    pub(crate) fn bye(&mut self, now: Instant, wall: NtpTime, buffer: &mut [u8], out: &mut dyn Outbox) {
        if let Some(length) = self.session.bye(now, wall, buffer) {
            self.send_rtcp(buffer.get(..length).unwrap_or(&[]), out);
        }
    }

    fn send_rtcp(&self, datagram: &[u8], out: &mut dyn Outbox) {
        if self.rtcp_mux {
            if let Some(to) = self.latch.destination() {
                out.rtcp_muxed(self.key, to, datagram);
            }
        } else if let Some(to) = self.latch.rtcp_destination() {
            out.rtcp(self.key, to, datagram);
        }
    }
}
