//! One encoder and what surrounds it: packets cut from ticks, silence without encoding, clean starts.
//!
//! A lane is fed every tick with what its listeners shall hear, or with "nothing". It starts from a reset
//! encoder; when its listeners come from another lane, the encoder first encodes the last 40 ms that they
//! heard (and throws the result away), so that its overlap, filters and predictors stand where the
//! listeners' decoders do. Out of silence it starts without prediction. No encoder state is ever copied.
//! Deliberately absent: who listens (`share`, `send`), RTP headers (`stream`).

use crate::command::CodecSettings;
use crate::limits::{DTX_INTERVAL_TICKS, MAX_SENT_PAYLOAD};
use rtp_media::codec::opus::{OpusConfig, toc};
use rtp_media::codec::{AudioEncoder, CodecError, CodecKind, Encoder};
use rtp_media::comfort_noise;

/// Most ticks in a packet (60 ms).
const MAX_TICKS: usize = 3;
/// Ticks that are still encoded when silence begins: the encoder holds back 6.5 ms, and its noise shall end softly.
const FLUSH_TICKS: u32 = 2;
/// Packets without prediction when an encoder starts out of silence. After a hand-over there are none: measured with
/// steady notes (tests/handover.rs), such a packet is 12 dB noisier above 4 kHz than its neighbours, while an encoder
/// that was led up to the hand-over stays within 5 dB.
const FRESH_PACKETS: u8 = 1;
/// Ticks of what was heard that are kept for a hand-over.
const RECENT_TICKS: usize = 2;

/// One packet's payload.
pub(crate) struct Packet {
    bytes: [u8; MAX_SENT_PAYLOAD],
    length: usize,
    /// It is comfort noise, and goes under that payload type.
    pub(crate) noise: bool,
}

impl Packet {
    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

/// An encoder with its packet assembly.
pub(crate) struct Lane {
    encoder: AudioEncoder,
    packet_ms: u8,
    /// Silence is sent without encoding it.
    caches_silence: bool,
    /// Silence may stay unsent.
    dtx: bool,
    /// What is sent of it is comfort noise.
    noise: bool,
    /// Samples of a tick at the codec's rate.
    tick_samples: usize,
    /// A packet's worth; the memory of the longest one is reserved.
    pcm: Vec<f32>,
    /// Which ticks of the packet in the making have been written.
    written: u8,
    recent: Box<[f32]>,
    running: bool,
    prediction_off: bool,
    fresh: u8,
    quiet: u32,
    unsent: u32,
    packets: [Packet; 2],
    count: usize,
}

impl Lane {
    pub(crate) fn build(settings: &CodecSettings) -> Result<Self, CodecError> {
        let encoder = AudioEncoder::new(settings.kind, &settings.opus(0))?;
        let tick_samples = settings.kind.sample_rate().hertz() as usize / 50;
        let empty = || Packet {
            bytes: [0; MAX_SENT_PAYLOAD],
            length: 0,
            noise: false,
        };
        let mut lane = Self {
            encoder,
            packet_ms: 20,
            caches_silence: false,
            dtx: false,
            noise: false,
            tick_samples,
            pcm: Vec::with_capacity(tick_samples * MAX_TICKS),
            written: 0,
            recent: vec![0.0; tick_samples * RECENT_TICKS].into(),
            running: false,
            prediction_off: false,
            fresh: 0,
            quiet: u32::MAX / 2,
            unsent: 0,
            packets: [empty(), empty()],
            count: 0,
        };
        lane.take_settings(settings);
        Ok(lane)
    }

    /// The codec, which stays.
    pub(crate) fn kind(&self) -> CodecKind {
        self.encoder.kind()
    }

    /// Makes a pooled lane serve other settings of the same codec; it starts anew, and nothing is left of what others
    /// heard of it.
    pub(crate) fn prepare(&mut self, settings: &CodecSettings, opus: &OpusConfig) {
        self.take_settings(settings);
        self.set_opus(opus);
        self.stop();
        self.written = 0;
        self.unsent = 0;
        self.recent.fill(0.0);
    }

    /// Other Opus settings in place.
    pub(crate) fn set_opus(&mut self, opus: &OpusConfig) {
        // The settings were accepted when the lane was built; only their order differs here.
        let _ = self.encoder.configure(opus);
    }

    fn take_settings(&mut self, settings: &CodecSettings) {
        self.packet_ms = settings.packet_ms();
        self.noise = settings.sends_noise();
        self.caches_silence = self.noise || (settings.kind == CodecKind::Opus && !settings.cbr);
        self.dtx = self.noise || (self.caches_silence && settings.dtx);
        let samples = self.ticks_per_packet() as usize * self.tick_samples;
        self.pcm.resize(samples, 0.0);
    }

    /// Nobody listens: the next feed starts from a reset encoder.
    pub(crate) fn stop(&mut self) {
        self.running = false;
        self.quiet = u32::MAX / 2;
        self.count = 0;
    }

    /// Listeners of `from` will be served by this lane from now on.
    pub(crate) fn take_over(&mut self, from: &Lane) {
        if self.tick_samples != from.tick_samples || self.pcm.len() != from.pcm.len() {
            return;
        }
        if !self.running && from.running {
            self.encoder.reset();
            self.prediction_off = false;
            self.encoder.set_prediction_disabled(false);
            self.recent.copy_from_slice(&from.recent);
            let frame = self.tick_samples;
            if let Some(scratch) = self.packets.first_mut() {
                for part in self.recent.chunks_exact(frame) {
                    let _ = self.encoder.encode(part, &mut scratch.bytes);
                }
            }
            self.pcm.copy_from_slice(&from.pcm);
            self.written = from.written;
            self.quiet = from.quiet;
            self.running = true;
            self.fresh = 0;
        } else if !self.running {
            self.pcm.copy_from_slice(&from.pcm);
            self.written = from.written;
        }
    }

    /// Ticks that a packet spans.
    pub(crate) fn ticks_per_packet(&self) -> u64 {
        u64::from(self.packet_ms / 20).max(1)
    }

    /// A tick, as PCM at the codec's rate; `None` is silence. Returns how often it encoded.
    pub(crate) fn feed(&mut self, tick: u64, pcm: Option<&[f32]>) -> u32 {
        self.count = 0;
        self.quiet = if pcm.is_some() {
            0
        } else {
            self.quiet.saturating_add(1)
        };
        let span = self.ticks_per_packet();
        let position = (tick % span) as usize;
        if position == 0 {
            self.written = 0;
        }
        let start = position * self.tick_samples;
        if let Some(part) = self.pcm.get_mut(start..start + self.tick_samples) {
            write_or_silence(part, pcm);
        }
        self.written |= 1 << position;
        let keep = self.recent.len() - self.tick_samples;
        self.recent.copy_within(self.tick_samples.., 0);
        if let Some(part) = self.recent.get_mut(keep..) {
            write_or_silence(part, pcm);
        }
        if position + 1 < span as usize {
            return 0;
        }
        // A missed tick left a part unwritten.
        for missing in (0..span as usize).filter(|bit| self.written & (1 << bit) == 0) {
            if let Some(part) = self
                .pcm
                .get_mut(missing * self.tick_samples..(missing + 1) * self.tick_samples)
            {
                part.fill(0.0);
            }
        }
        // The next packet begins empty, even when the tick that would begin it is missed.
        self.written = 0;
        let flushed = !self.running || u64::from(self.quiet) >= u64::from(FLUSH_TICKS) + span;
        if self.caches_silence && flushed && u64::from(self.quiet) >= span {
            self.emit_silence(span);
            return 0;
        }
        self.unsent = 0;
        self.emit(span as usize)
    }

    /// The packets of the tick just fed.
    pub(crate) fn packets(&self) -> &[Packet] {
        self.packets.get(..self.count).unwrap_or(&[])
    }

    fn emit(&mut self, span: usize) -> u32 {
        if !self.running {
            self.encoder.reset();
            self.prediction_off = false;
            self.encoder.set_prediction_disabled(false);
            self.running = true;
            self.fresh = FRESH_PACKETS;
        }
        let samples = span * self.tick_samples;
        let packet = if self.packet_ms == 10 {
            samples / 2
        } else {
            samples
        };
        for index in 0..samples / packet {
            self.set_prediction(self.fresh == 0);
            self.fresh = self.fresh.saturating_sub(1);
            let Some(pcm) = self.pcm.get(index * packet..(index + 1) * packet) else {
                break;
            };
            let Some(slot) = self.packets.get_mut(index) else {
                break;
            };
            match self.encoder.encode(pcm, &mut slot.bytes) {
                Ok(length) => (slot.length, slot.noise) = (length, false),
                // Can't happen with frame sizes of our own making; a listener then misses one packet.
                Err(_) => break,
            }
            self.count = index + 1;
        }
        self.count as u32
    }

    fn emit_silence(&mut self, span: u64) {
        self.running = false;
        let wait = if self.unsent == 0 { 0 } else { DTX_INTERVAL_TICKS };
        let due = !self.dtx || self.unsent == 0 || self.unsent + span as u32 > wait;
        if !due {
            self.unsent += span as u32;
            return;
        }
        self.unsent = span as u32;
        if self.noise {
            self.emit_noise();
            return;
        }
        let samples = usize::from(self.packet_ms) * 48;
        let packets = if self.packet_ms == 10 { 2 } else { 1 };
        for slot in self.packets.iter_mut().take(packets) {
            slot.length = toc::write_silence(samples, &mut slot.bytes).unwrap_or(0);
            slot.noise = false;
        }
        self.count = packets;
    }

    /// The room's silence has no background: its noise is as soft as can be told (RFC 3389 §3.1).
    fn emit_noise(&mut self) {
        let payload = comfort_noise::payload(comfort_noise::SILENT);
        if let Some(slot) = self.packets.first_mut()
            && let Some(place) = slot.bytes.first_chunk_mut()
        {
            *place = payload;
            (slot.length, slot.noise) = (payload.len(), true);
            self.count = 1;
        }
    }

    fn set_prediction(&mut self, on: bool) {
        if self.prediction_off == on {
            self.encoder.set_prediction_disabled(!on);
            self.prediction_off = !on;
        }
    }
}

fn write_or_silence(to: &mut [f32], pcm: Option<&[f32]>) {
    match pcm {
        Some(pcm) if pcm.len() == to.len() => to.copy_from_slice(pcm),
        _ => to.fill(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtp_media::units::PayloadType;

    fn settings(ptime_ms: u8, dtx: bool) -> CodecSettings {
        let payload_type = PayloadType::new(96).unwrap();
        CodecSettings {
            ptime_ms,
            dtx,
            ..CodecSettings::new(CodecKind::Opus, payload_type)
        }
    }

    fn tone(tick: u64) -> Vec<f32> {
        (0..960)
            .map(|n| 0.3 * ((tick * 960 + n) as f32 * 0.06).sin())
            .collect()
    }

    #[test]
    fn packets_come_at_their_time_in_speech_and_in_silence() {
        for (ptime, packets, samples) in [(10, 2, 480), (20, 1, 960), (40, 1, 1_920), (60, 1, 2_880)] {
            let mut lane = Lane::build(&settings(ptime, false)).unwrap();
            for tick in 0..60u64 {
                let pcm = tone(tick);
                lane.feed(tick, (tick < 30).then_some(&pcm[..]));
                let due = (tick + 1) % lane.ticks_per_packet() == 0;
                assert_eq!(
                    lane.packets().len(),
                    if due { packets } else { 0 },
                    "{ptime} ms, tick {tick}"
                );
                for packet in lane.packets() {
                    assert_eq!(CodecKind::Opus.payload_samples(packet.payload()), samples);
                }
            }
        }
    }

    #[test]
    fn silence_is_not_encoded_and_unsent_at_most_400_ms_with_dtx() {
        let mut lane = Lane::build(&settings(20, true)).unwrap();
        let mut sent = Vec::new();
        let mut encodes = 0;
        for tick in 0..200u64 {
            let pcm = tone(tick);
            encodes += lane.feed(tick, (tick < 10).then_some(&pcm[..]));
            sent.extend(lane.packets().iter().map(|_| tick));
        }
        assert!(encodes <= 10 + FLUSH_TICKS + 1, "{encodes}");
        let gaps: Vec<u64> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps.iter().max(), Some(&20));
        assert!(sent.len() < 30, "{}", sent.len());
    }

    #[test]
    fn a_missed_tick_becomes_silence_in_its_packet() {
        let mut lane = Lane::build(&settings(60, false)).unwrap();
        for tick in [0u64, 1, 2, 3, 5] {
            lane.feed(tick, Some(&tone(tick)));
        }
        assert_eq!(lane.packets().len(), 1);
        assert!(lane.pcm[960..1_920].iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn a_missed_first_tick_does_not_bring_back_old_sound() {
        let mut lane = Lane::build(&settings(60, false)).unwrap();
        for tick in [0u64, 1, 2, 4, 5] {
            lane.feed(tick, Some(&tone(tick)));
        }
        assert_eq!(lane.packets().len(), 1);
        assert!(lane.pcm[..960].iter().all(|sample| *sample == 0.0));
        assert!(lane.pcm[960..].iter().any(|sample| *sample != 0.0));
    }
}
