//! A phone's sound: it sends a tone of its own and tells by Goertzel's algorithm which tones it hears.
//!
//! Deliberately absent: a jitter buffer (hearing is judged in calm weather) and quality; tones only prove who hears
//! whom. RTP headers and codecs are those of `rtp-media`: a fault that writing and reading share does not show here, but
//! does with foreign phones (`scripts/tests`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rtp_media::codec::opus::OpusConfig;
use rtp_media::codec::{AudioDecoder, AudioEncoder, CodecKind, Decoder, Encoder};
use rtp_media::rtp::{RtpHeader, RtpPacket, write_header};
use rtp_media::srtp::{KeyChange, MasterKey, SrtpChange, SrtpLink, Suite};
use rtp_media::units::{PayloadType, RtpTimestamp, Ssrc};
use sip_proto::sdp::offer_answer::NegotiatedSrtp;

/// The longest packet that is taken: 120 ms of Opus.
const MOST_SAMPLES: usize = 5_760;

/// How loud a phone speaks, 0 to 1.
const LOUDNESS: f32 = 0.25;

/// What offer and answer agreed on, as far as sound needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundPlan {
    /// Where to send.
    pub to: Option<SocketAddr>,
    /// What to send.
    pub kind: CodecKind,
    /// Under which payload type.
    pub send_type: u8,
    /// Under which payload type it comes.
    pub receive_type: u8,
    /// Whether this side may send.
    pub sends: bool,
    /// Whether this side listens.
    pub receives: bool,
    /// Under which keys; none: clear.
    pub srtp: Option<NegotiatedSrtp>,
}

/// One stream that came, by its SSRC.
#[derive(Debug, Clone, Copy)]
struct Stream {
    sequence: u16,
    timestamp: u32,
}

/// A phone's sound.
pub struct Ear {
    hertz: f32,
    plan: Option<SoundPlan>,
    link: SrtpLink,
    encoder: Option<AudioEncoder>,
    decoder: Option<AudioDecoder>,
    ssrc: Ssrc,
    sequence: u16,
    timestamp: u32,
    /// How wrong its clock is, in parts per million.
    ppm: i32,
    /// The next packet is the first one after a pause.
    resumes: bool,
    phase: u64,
    /// Speaks its tone, otherwise silence.
    pub speaking: bool,
    /// Sends at all.
    pub sending: bool,
    recording: bool,
    heard: Vec<f32>,
    streams: BTreeMap<u32, Stream>,
    /// A broken invariant of a stream, the first one.
    pub complaint: Option<String>,
}

impl std::fmt::Debug for Ear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ear({} Hz, {:?})", self.hertz, self.plan)
    }
}

/// The tone of a person.
pub fn tone(person: usize) -> f32 {
    // 58 Hz apart, and below the edge of telephone speech for 50 people.
    400.0 + 58.0 * person as f32
}

impl Ear {
    /// The ear of a person whose clock is so wrong, in parts per million.
    pub fn new(person: usize, ppm: i32, seed: u64) -> Self {
        Self {
            hertz: tone(person),
            plan: None,
            link: SrtpLink::default(),
            encoder: None,
            decoder: None,
            ssrc: Ssrc(seed as u32),
            sequence: (seed >> 32) as u16,
            timestamp: (seed >> 16) as u32,
            ppm,
            resumes: true,
            phase: 0,
            speaking: false,
            sending: true,
            recording: false,
            heard: Vec::new(),
            streams: BTreeMap::new(),
            complaint: None,
        }
    }

    /// Takes what was agreed on; `None`: the call is over.
    pub fn set_plan(&mut self, plan: Option<SoundPlan>) {
        let kind = |plan: &Option<SoundPlan>| plan.as_ref().map(|plan| plan.kind);
        self.rekey(plan.as_ref().and_then(|plan| plan.srtp.as_ref()));
        if kind(&plan) != kind(&self.plan) {
            let kind = kind(&plan);
            self.encoder = kind.and_then(|kind| AudioEncoder::new(kind, &OpusConfig::default()).ok());
            self.decoder = kind.and_then(|kind| AudioDecoder::new(kind).ok());
        }
        if plan.is_none() {
            self.streams.clear();
        }
        self.plan = plan;
    }

    /// A direction whose key stays goes on with its counters, one whose key differs starts anew (RFC 4568 §7.1.4).
    fn rekey(&mut self, now: Option<&NegotiatedSrtp>) {
        let before = self.plan.as_ref().and_then(|plan| plan.srtp.as_ref());
        let change = match (before, now) {
            (None, None) => return,
            (_, None) => Some(KeyChange::Clear),
            (before, Some(now)) => Suite::from_name(now.suite.name()).map(|suite| {
                let (send, receive) = (now.local.as_bytes(), now.remote.as_bytes());
                let new_send = before.is_none_or(|before| before.local.as_bytes() != send);
                let new_receive = before.is_none_or(|before| before.remote.as_bytes() != receive);
                KeyChange::Keys {
                    send: new_send.then(|| MasterKey::new(suite, send)).flatten(),
                    receive: new_receive.then(|| MasterKey::new(suite, receive)).flatten(),
                }
            }),
        };
        match change.map(|change| SrtpChange::build(&change)) {
            Some(Ok(mut change)) => self.link.change(&mut change),
            _ => self.complaint = Some("keys that cannot be used".to_owned()),
        }
    }

    /// What was agreed on.
    pub const fn plan(&self) -> Option<&SoundPlan> {
        self.plan.as_ref()
    }

    /// Whether it speaks and listens under keys.
    pub const fn is_secure(&self) -> bool {
        self.link.is_secure()
    }

    /// The time from one packet to the next by a true clock.
    pub const fn frame(&self) -> Duration {
        // 20 ms are 20 ns longer for each part per million that the clock is slow.
        Duration::from_nanos((20_000_000 - 20 * self.ppm as i64) as u64)
    }

    /// Nothing was sent for so long, as in silence; the clock went on all the same (RFC 3550 §5.1), as fast as it is.
    pub fn pause(&mut self, time: Duration) {
        self.pass(time.as_secs_f64() * (1.0 + f64::from(self.ppm) / 1e6));
    }

    /// So many seconds of its own clock pass without sound.
    fn pass(&mut self, seconds: f64) {
        let Some(plan) = &self.plan else { return };
        let ticks = seconds * f64::from(plan.kind.rtp_clock_rate().hertz());
        self.timestamp = self.timestamp.wrapping_add(ticks as u64 as u32);
        self.resumes = true;
    }

    /// The next 20 ms, if they are to be sent.
    pub fn speak(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let plan = self.plan.as_ref()?;
        let Some(to) = plan.to.filter(|_| plan.sends && self.sending) else {
            // On hold the clock goes on.
            self.pass(0.02);
            return None;
        };
        let encoder = self.encoder.as_mut()?;
        let rate = plan.kind.sample_rate().hertz();
        let samples = rate / 50;
        let mut pcm = [0.0_f32; MOST_SAMPLES];
        let frame = pcm.get_mut(..samples as usize)?;
        if self.speaking {
            for (n, sample) in frame.iter_mut().enumerate() {
                let at = (self.phase + n as u64) as f32 / rate as f32;
                *sample = LOUDNESS * (std::f32::consts::TAU * self.hertz * at).sin();
            }
            // Whole seconds are whole periods of every tone here.
            self.phase = (self.phase + u64::from(samples)) % u64::from(rate);
        }
        let mut packet = [0; 1_500];
        let header = RtpHeader {
            // RFC 3551 §4.1.
            marker: self.resumes,
            payload_type: PayloadType::new(plan.send_type)?,
            sequence: self.sequence,
            timestamp: RtpTimestamp(self.timestamp),
            ssrc: self.ssrc,
            csrcs: &[],
        };
        let at = write_header(&mut packet, &header).ok()?;
        let length = encoder.encode(frame, packet.get_mut(at..)?).ok()?;
        self.sequence = self.sequence.wrapping_add(1);
        let clock = plan.kind.rtp_clock_rate().hertz() / 50;
        self.timestamp = self.timestamp.wrapping_add(clock);
        self.resumes = false;
        let clear = packet.get(..at + length)?;
        let mut space = [0; 1_600];
        Some((to, self.link.outgoing(clear, &mut space).ok()?.to_vec()))
    }

    /// A datagram at the RTP port. RTCP is counted, not read.
    pub fn hear(&mut self, bytes: &[u8], fair: bool) {
        let mut copy = bytes.to_vec();
        match self.link.incoming(&mut copy).map(<[u8]>::to_vec) {
            Ok(clear) => self.hear_clear(&clear, fair),
            Err(error) if self.recording => {
                self.complaint = Some(format!("SRTP that cannot be opened: {error}"));
            }
            // In a storm keys and packets cross.
            Err(_) => {}
        }
    }

    fn hear_clear(&mut self, bytes: &[u8], fair: bool) {
        // RFC 5761 §4: payload types 64 to 95 are RTCP's.
        let kind = bytes.get(1).copied().unwrap_or(0) & 0x7f;
        if (64..96).contains(&kind) {
            return;
        }
        let Ok(packet) = RtpPacket::parse(bytes) else {
            return;
        };
        if fair {
            self.check_order(&packet);
        }
        let Some(plan) = &self.plan else { return };
        if !self.recording || packet.payload_type().get() != plan.receive_type {
            return;
        }
        let Some(decoder) = self.decoder.as_mut() else {
            return;
        };
        let mut pcm = [0.0; MOST_SAMPLES];
        if let Ok(samples) = decoder.decode(packet.payload(), &mut pcm) {
            self.heard.extend(pcm.iter().take(samples));
        }
    }

    /// In order of sending, sequence numbers and timestamps of one SSRC only grow.
    fn check_order(&mut self, packet: &RtpPacket<'_>) {
        let now = Stream {
            sequence: packet.sequence(),
            timestamp: packet.timestamp().0,
        };
        if let Some(before) = self.streams.insert(packet.ssrc().0, now) {
            let steps = now.sequence.wrapping_sub(before.sequence) as i16;
            let ticks = now.timestamp.wrapping_sub(before.timestamp) as i32;
            if (steps < 0 || ticks < 0 || (steps > 0 && ticks == 0)) && self.complaint.is_none() {
                self.complaint = Some(format!(
                    "RTP went back: sequence {} to {}, timestamp {} to {}",
                    before.sequence, now.sequence, before.timestamp, now.timestamp
                ));
            }
        }
    }

    /// Forgets the streams: what comes next may have been re-ordered on the way.
    pub fn lose_track(&mut self) {
        self.streams.clear();
    }

    /// Begins to record.
    pub fn record(&mut self) {
        self.heard.clear();
        self.recording = true;
    }

    /// Ends the recording; the amplitude of each of these people's tones in it.
    pub fn stop(&mut self, people: usize) -> Vec<f32> {
        self.recording = false;
        let heard = std::mem::take(&mut self.heard);
        let Some(plan) = &self.plan else {
            return vec![0.0; people];
        };
        let rate = plan.kind.sample_rate().hertz();
        (0..people)
            .map(|person| amplitude(&heard, rate, tone(person)))
            .collect()
    }
}

/// Amplitude of the sine at `hertz`, by Goertzel's recurrence under a Blackman window: a neighbour 58 Hz away must
/// not be taken for it, however loud it is.
pub fn amplitude(samples: &[f32], rate: u32, hertz: f32) -> f32 {
    let length = samples.len() as f32;
    if samples.len() < rate as usize / 10 {
        return 0.0;
    }
    let turn = std::f32::consts::TAU;
    let coefficient = 2.0 * (turn * hertz / rate as f32).cos();
    let (mut before, mut last) = (0.0_f32, 0.0_f32);
    for (n, sample) in samples.iter().enumerate() {
        let x = turn * n as f32 / length;
        let window = 0.42 - 0.5 * x.cos() + 0.08 * (2.0 * x).cos();
        let now = coefficient * last + sample * window - before;
        before = last;
        last = now;
    }
    let power = last * last + before * before - coefficient * last * before;
    power.max(0.0).sqrt() * 2.0 / (0.42 * length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_does_not_stop_the_clock() {
        let plan = |sends| SoundPlan {
            to: Some("10.0.0.1:4000".parse().unwrap()),
            kind: CodecKind::Pcmu,
            send_type: 0,
            receive_type: 0,
            sends,
            receives: true,
            srtp: None,
        };
        let mut ear = Ear::new(0, 0, 7);
        ear.set_plan(Some(plan(true)));
        let (_, bytes) = ear.speak().unwrap();
        let packet = RtpPacket::parse(&bytes).unwrap();
        let (first, begin) = (packet.sequence(), packet.timestamp().0);
        ear.set_plan(Some(plan(false)));
        assert_eq!(ear.speak(), None);
        ear.set_plan(Some(plan(true)));
        let (_, bytes) = ear.speak().unwrap();
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(packet.sequence().wrapping_sub(first), 1);
        assert_eq!(packet.timestamp().0.wrapping_sub(begin), 2 * 160);
    }

    #[test]
    fn neighbours_are_told_apart() {
        let rate = 8_000;
        let samples: Vec<f32> = (0..3_200)
            .map(|n| 0.25 * (std::f32::consts::TAU * tone(7) * n as f32 / rate as f32).sin())
            .collect();
        assert!((amplitude(&samples, rate, tone(7)) - 0.25).abs() < 0.02);
        for other in (0..50).filter(|n| *n != 7) {
            assert!(amplitude(&samples, rate, tone(other)) < 0.002, "{other}");
        }
    }
}
