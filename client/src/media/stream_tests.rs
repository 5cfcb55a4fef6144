//! Two streams with a loop between them instead of sockets: what one says the other hears.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp_media::codec::CodecKind;
use rtp_media::codec::opus::OpusConfig;
use rtp_media::srtp::{MasterKey, Suite};
use rtp_media::units::{NtpTime, PayloadType, SampleRate};

use super::plan::{StreamKeys, StreamPlan};
use super::sample::{Oscillator, level_db, tone_share};
use super::stream::{AudioStream, Outbox, Port, StreamEvent};

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:6000";

fn plan(codec: CodecKind, remote: &str) -> StreamPlan {
    let payload_type = codec
        .static_payload_type()
        .unwrap_or(PayloadType::from_low_bits(96));
    let events = (PayloadType::from_low_bits(101), codec.rtp_clock_rate());
    StreamPlan {
        codec,
        payload_type,
        ptime_ms: 20,
        opus: OpusConfig::default(),
        dtx: false,
        receive: vec![(payload_type, codec)],
        send_events: Some(events),
        receive_events: vec![events],
        comfort_noise: None,
        remote_rtp: Some(remote.parse().unwrap()),
        remote_rtcp: None,
        rtcp_mux: true,
        level: None,
        voip_metrics: false,
        sending: true,
        receiving: true,
        srtp: None,
    }
}

fn noisy() -> StreamPlan {
    StreamPlan {
        comfort_noise: Some(PayloadType::from_low_bits(13)),
        ..plan(CodecKind::Pcmu, A)
    }
}

/// Collects what is sent.
#[derive(Default)]
struct Wire(Vec<Vec<u8>>);

impl Outbox for Wire {
    fn send(&mut self, _port: Port, _to: SocketAddr, bytes: &[u8]) {
        self.0.push(bytes.to_vec());
    }
}

struct Pair {
    one: AudioStream,
    other: AudioStream,
    now: Instant,
    wire: Wire,
    tone: Oscillator,
    heard: Vec<f32>,
    sent: usize,
    /// What goes out as comfort noise with this payload in place of sound.
    described: Option<[u8; 1]>,
}

impl Pair {
    fn new(plan_one: StreamPlan, plan_other: StreamPlan) -> Self {
        let now = Instant::now();
        Self {
            one: AudioStream::new(plan_one, "one".into(), [1; 32], now).unwrap(),
            other: AudioStream::new(plan_other, "other".into(), [2; 32], now).unwrap(),
            now,
            wire: Wire::default(),
            tone: Oscillator::new(440.0, 0.3),
            heard: Vec::new(),
            sent: 0,
            described: None,
        }
    }

    fn of(codec: CodecKind) -> Self {
        Self::new(plan(codec, B), plan(codec, A))
    }

    /// G.711 with comfort noise, after a second of sound.
    fn noisy() -> Self {
        let mut pair = Self::new(plan(CodecKind::Pcmu, B), noisy());
        pair.run(50, |_| true);
        pair
    }

    /// One packet that says: our silence is noise at -40 dBov.
    fn describe(&mut self, arrives: bool) {
        self.described = Some([40]);
        self.run(1, |_| arrives);
        self.described = None;
    }

    /// One tick of what is said; `arrives` says which packet of the run gets through.
    fn carry(&mut self, arrives: &mut impl FnMut(usize) -> bool) {
        let wall = NtpTime::from_unix(Duration::from_secs(1_000_000));
        let mut frame = [0.0; 960];
        self.tone.fill(&mut frame);
        self.one.say(&frame, self.now, wall, &mut self.wire).unwrap();
        for mut packet in std::mem::take(&mut self.wire.0) {
            if let Some(noise) = self.described.filter(|_| packet[1] & 0x7f == 0) {
                packet[1] = 13;
                packet.truncate(12);
                packet.extend(noise);
            }
            if arrives(self.sent) {
                self.other
                    .receive(A.parse().unwrap(), &packet, self.now + Duration::from_millis(1));
            }
            self.sent += 1;
        }
    }

    /// One tick of what is heard.
    fn play(&mut self) {
        self.now += Duration::from_millis(20);
        let mut frame = [0.0; 960];
        self.other.play(self.now, &mut frame).unwrap();
        self.heard.extend(frame);
    }

    /// Runs ticks; see [`Self::carry`].
    fn run(&mut self, ticks: usize, mut arrives: impl FnMut(usize) -> bool) {
        for _ in 0..ticks {
            self.carry(&mut arrives);
            self.play();
        }
    }

    /// So many ticks in which nothing is sent.
    fn pause(&mut self, ticks: u32) {
        self.one.skip(ticks);
        for _ in 0..ticks {
            self.play();
        }
    }

    fn last_second(&self) -> &[f32] {
        &self.heard[self.heard.len() - 48_000..]
    }
}

#[test]
fn a_tone_is_heard_in_every_codec_and_packet_length() {
    for codec in CodecKind::ALL {
        for ptime_ms in [10, 20, 40, 60] {
            let mut from = plan(codec, B);
            from.ptime_ms = ptime_ms;
            let mut pair = Pair::new(from, plan(codec, A));
            pair.run(120, |_| true);
            let share = tone_share(pair.last_second(), 440.0, 48_000);
            assert!(share > 0.9, "{codec:?} at {ptime_ms} ms: {share}");
            let level = level_db(pair.last_second());
            assert!(
                (level + 13.5).abs() < 2.0,
                "{codec:?} at {ptime_ms} ms: {level} dBFS"
            );
        }
    }
}

#[test]
fn five_percent_loss_is_survived() {
    for codec in [CodecKind::Opus, CodecKind::Pcmu] {
        let mut pair = Pair::of(codec);
        pair.run(200, |packet| packet % 20 != 13);
        let share = tone_share(pair.last_second(), 440.0, 48_000);
        assert!(share > 0.85, "{codec:?}: {share}");
        let stats = pair.other.stats();
        assert!((5..=15).contains(&stats.lost), "{codec:?}: {} lost", stats.lost);
    }
}

#[test]
fn the_delay_comes_back_after_a_stall() {
    let mut pair = Pair::of(CodecKind::Opus);
    pair.run(100, |_| true);
    let before = pair.other.jitter().delay;
    // 200 ms arrive in one burst.
    let wall = NtpTime::from_unix(Duration::from_secs(1_000_000));
    let mut late = Vec::new();
    for _ in 0..10 {
        let mut frame = [0.0; 960];
        pair.tone.fill(&mut frame);
        pair.one.say(&frame, pair.now, wall, &mut pair.wire).unwrap();
        late.append(&mut pair.wire.0);
        pair.now += Duration::from_millis(20);
        pair.other.play(pair.now, &mut frame).unwrap();
    }
    for packet in late {
        pair.other.receive(A.parse().unwrap(), &packet, pair.now);
    }
    pair.run(50, |_| true);
    let after = pair.other.jitter().delay;
    assert!(
        after < before + Duration::from_millis(60),
        "{before:?} became {after:?}"
    );
    // Frames were blended away in that second; in the next one nothing is left of it.
    pair.run(50, |_| true);
    assert!(tone_share(pair.last_second(), 440.0, 48_000) > 0.95);
}

#[test]
fn digits_arrive_once_each() {
    for codec in [CodecKind::Opus, CodecKind::Pcma] {
        let mut pair = Pair::of(codec);
        pair.run(10, |_| true);
        for digit in "5*5#".chars() {
            assert!(pair.one.digit(digit));
        }
        pair.run(100, |packet| packet % 4 != 3);
        let mut digits = String::new();
        while let Some(event) = pair.other.poll_event() {
            if let StreamEvent::Digit { digit, duration } = event {
                assert!(duration >= Duration::from_millis(40), "{duration:?}");
                digits.push(digit);
            }
        }
        assert_eq!(digits, "5*5#", "{codec:?}");
        assert!(!pair.one.digit('x'));
    }
}

#[test]
fn hold_is_silence_and_resume_is_sound_with_the_same_stream() {
    let mut pair = Pair::of(CodecKind::Opus);
    pair.run(60, |_| true);
    let ssrc = pair.other.stats().remote_ssrc;
    let held = StreamPlan {
        sending: false,
        ..plan(CodecKind::Opus, B)
    };
    pair.one.update(held).unwrap();
    let sent = pair.one.stats().sent_packets;
    pair.run(60, |_| true);
    assert_eq!(pair.one.stats().sent_packets, sent, "nothing is sent on hold");
    assert!(
        level_db(pair.last_second()) < -60.0,
        "{}",
        level_db(pair.last_second())
    );
    pair.one.update(plan(CodecKind::Opus, B)).unwrap();
    pair.run(70, |_| true);
    assert!(tone_share(pair.last_second(), 440.0, 48_000) > 0.9);
    assert_eq!(pair.other.stats().remote_ssrc, ssrc, "never rebuilt");
    assert_eq!(pair.other.stats().lost, 0, "sequence numbers go on");
}

#[test]
fn a_stranger_is_not_heard() {
    let mut pair = Pair::of(CodecKind::Pcmu);
    pair.run(60, |_| true);
    let mut foreign = AudioStream::new(plan(CodecKind::Pcmu, B), "evil".into(), [3; 32], pair.now).unwrap();
    let wall = NtpTime::from_unix(Duration::from_secs(1_000_000));
    let mut noise = Oscillator::new(1_000.0, 0.9);
    for _ in 0..60 {
        let mut frame = [0.0; 960];
        noise.fill(&mut frame);
        let mut wire = Wire::default();
        foreign.say(&frame, pair.now, wall, &mut wire).unwrap();
        for packet in wire.0 {
            pair.other
                .receive("198.51.100.9:9".parse().unwrap(), &packet, pair.now);
        }
        pair.other
            .receive("198.51.100.9:9".parse().unwrap(), b"\x80", pair.now);
        pair.other
            .receive("198.51.100.9:9".parse().unwrap(), b"", pair.now);
        pair.run(1, |_| true);
    }
    assert!(tone_share(pair.last_second(), 1_000.0, 48_000) < 0.001);
    assert!(tone_share(pair.last_second(), 440.0, 48_000) > 0.95);
}

#[test]
fn with_dtx_silence_costs_few_packets() {
    let mut quiet = plan(CodecKind::Opus, B);
    quiet.dtx = true;
    quiet.opus.dtx = true;
    let mut pair = Pair::new(quiet, plan(CodecKind::Opus, A));
    pair.tone = Oscillator::new(440.0, 0.0);
    pair.run(100, |_| true);
    let before = pair.one.stats().sent_packets;
    pair.run(100, |_| true);
    let sent = pair.one.stats().sent_packets - before;
    assert!(
        (4..=20).contains(&sent),
        "{sent} packets in two seconds of silence"
    );
}

#[test]
fn events_of_another_clock_are_told() {
    let mut pair = Pair::of(CodecKind::Opus);
    let narrow = (PayloadType::from_low_bits(102), SampleRate::HZ_8000);
    let mut from = plan(CodecKind::Opus, B);
    from.send_events = Some(narrow);
    let mut to = plan(CodecKind::Opus, A);
    to.receive_events.push(narrow);
    pair.one.update(from).unwrap();
    pair.other.update(to).unwrap();
    pair.run(10, |_| true);
    assert!(pair.one.digit('7'));
    pair.run(30, |_| true);
    let mut digits = Vec::new();
    while let Some(event) = pair.other.poll_event() {
        if let StreamEvent::Digit { digit, duration } = event {
            digits.push((digit, duration.as_millis()));
        }
    }
    assert_eq!(digits.len(), 1);
    assert_eq!(digits[0].0, '7');
    assert!((80..=200).contains(&digits[0].1), "{digits:?}");
}

fn protected(codec: CodecKind, send: u8, receive: u8, remote: &str) -> StreamPlan {
    let key = |fill| MasterKey::new(Suite::AeadAes128Gcm, &[fill; 28]).unwrap();
    StreamPlan {
        srtp: Some(StreamKeys {
            send: key(send),
            receive: key(receive),
        }),
        ..plan(codec, remote)
    }
}

#[test]
fn a_protected_stream_is_heard_and_what_is_not_authentic_is_not() {
    let codec = CodecKind::Pcmu;
    let mut pair = Pair::new(protected(codec, 1, 2, B), protected(codec, 2, 1, A));
    pair.run(100, |_| true);
    assert!(tone_share(pair.last_second(), 440.0, 48_000) > 0.9);
    assert_eq!(pair.other.refused(), 0);
    // A hold and its end with the same keys: the contexts go on, and so does the sound.
    for receiving in [false, true] {
        let mut same = protected(codec, 2, 1, A);
        same.receiving = receiving;
        pair.other.update(same).unwrap();
        pair.run(60, |_| true);
    }
    assert!(tone_share(pair.last_second(), 440.0, 48_000) > 0.9);
    // A new key for one direction.
    pair.one.update(protected(codec, 3, 2, B)).unwrap();
    pair.other.update(protected(codec, 2, 3, A)).unwrap();
    pair.run(100, |_| true);
    assert!(tone_share(pair.last_second(), 440.0, 48_000) > 0.9);
    assert_eq!(pair.other.refused(), 0);
    // Clear media on a protected stream, and media under another key.
    for plan in [plan(codec, B), protected(codec, 9, 2, B)] {
        pair.one.update(plan).unwrap();
        let before = pair.other.refused();
        pair.run(100, |_| true);
        assert!(level_db(pair.last_second()) < -80.0, "nothing is heard");
        assert!(pair.other.refused() >= before + 100);
    }
}

/// RFC 3389: a peer that stops sending says how its silence sounds.
#[test]
fn comfort_noise_is_heard_at_its_level_until_sound_comes_back() {
    let mut pair = Pair::noisy();
    assert!(tone_share(pair.last_second(), 440.0, 48_000) > 0.5);
    // It says once a second that its silence is noise at -40 dBov.
    pair.described = Some([40]);
    for _ in 0..3 {
        pair.run(1, |_| true);
        pair.pause(49);
    }
    let level = level_db(pair.last_second());
    assert!((level + 40.0).abs() < 3.0, "{level} dB");
    assert!(tone_share(pair.last_second(), 440.0, 48_000) < 0.1);
    // The last description does not hold for ever.
    pair.pause(35 * 50);
    assert!(level_db(pair.last_second()) < -90.0);
    pair.described = None;
    pair.run(100, |_| true);
    assert!(tone_share(pair.last_second(), 440.0, 48_000) > 0.5);
    assert_eq!(pair.other.jitter().concealed, 0, "no sound was missing");
}

/// What the peer says in one packet must hold, although sound from before it still waits in the buffer.
#[test]
fn one_description_of_silence_outlives_the_sound_before_it() {
    let mut pair = Pair::noisy();
    // The last of the sound and the description come in one tick.
    pair.carry(&mut |_| true);
    pair.describe(true);
    pair.pause(60);
    let level = level_db(pair.last_second());
    assert!((level + 40.0).abs() < 3.0, "{level} dB");
}

#[test]
fn what_described_silence_ends_with_a_hold_or_with_its_agreement() {
    let agreed = noisy();
    let held = StreamPlan {
        receiving: false,
        ..noisy()
    };
    let dropped = plan(CodecKind::Pcmu, A);
    for (changed, during) in [(&held, false), (&held, true), (&dropped, false)] {
        let mut pair = Pair::noisy();
        pair.describe(!during);
        pair.pause(30);
        pair.other.update(changed.clone()).unwrap();
        if during {
            // A description that comes in a hold is none of what comes after it.
            pair.describe(true);
        }
        pair.other.update(agreed.clone()).unwrap();
        pair.pause(60);
        let level = level_db(pair.last_second());
        assert!(level < -90.0, "receiving: {}, {level} dB", changed.receiving);
    }
}
