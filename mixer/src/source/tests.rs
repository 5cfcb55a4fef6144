use super::*;
use rtp_media::codec::opus::{OpusConfig, OpusEncoder};
use rtp_media::codec::{AudioEncoder, Encoder};
use rtp_media::units::RtpTimestamp;
use std::time::Duration;

const THRESHOLD: f32 = -50.0;
const TICK: Duration = Duration::from_millis(20);

struct Feed {
    source: Source,
    encoder: AudioEncoder,
    seq: SeqExt,
    timestamp: RtpTimestamp,
    now: Instant,
    scratch: Box<Scratch>,
}

impl Feed {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn new(kind: CodecKind) -> Self {
        let payload_type = PayloadType::new(96).unwrap();
        Self {
            source: Source::new(DecoderSet::build(&[(payload_type, kind)]).unwrap()),
            encoder: AudioEncoder::new(kind, &OpusConfig::default()).unwrap(),
            seq: SeqExt::first(1),
            timestamp: RtpTimestamp(0),
            now: Instant::now(),
            scratch: Box::new([0.0; MAX_PACKET_SAMPLES]),
        }
    }

    /// A packet of some ticks of a tone, and then as many ticks.
    fn packet(&mut self, ticks: usize, amplitude: f32, level: Option<u8>) -> Vec<f32> {
        self.insert(ticks, amplitude, level);
        self.ticks(ticks)
    }

    fn insert(&mut self, ticks: usize, amplitude: f32, level: Option<u8>) {
        let kind = self.encoder.kind();
        let samples = kind.sample_rate().hertz() as usize / 50 * ticks;
        let hz = 0.02 * 48_000.0 / kind.sample_rate().hertz() as f32;
        let pcm: Vec<f32> = (0..samples).map(|n| amplitude * (n as f32 * hz).sin()).collect();
        let mut payload = [0; 1_300];
        let length = self.encoder.encode(&pcm, &mut payload).unwrap();
        let incoming = Incoming {
            kind,
            seq: self.seq,
            timestamp: self.timestamp,
            marker: false,
            level,
            payload: &payload[..length],
            arrival: self.now,
        };
        self.source.insert(&incoming, THRESHOLD);
        self.seq = self.seq.plus(1);
        self.timestamp = self
            .timestamp
            .plus(kind.rtp_clock_rate().hertz() / 50 * ticks as u32);
    }

    fn describe(&mut self, minus_dbov: u8) {
        self.source.comfort_noise(self.seq, &[minus_dbov], self.now);
        self.seq = self.seq.plus(1);
    }

    fn ticks(&mut self, ticks: usize) -> Vec<f32> {
        (0..ticks)
            .map(|_| {
                let level = self.source.pull(self.now, false, THRESHOLD, &mut self.scratch);
                self.now += TICK;
                level
            })
            .collect()
    }
}

#[test]
fn long_packets_fill_several_ticks() {
    let mut feed = Feed::new(CodecKind::Opus);
    for _ in 0..10 {
        feed.packet(3, 0.3, None);
    }
    let levels = feed.packet(3, 0.3, None);
    assert!(levels.iter().all(|level| *level > -20.0), "{levels:?}");
    assert_eq!(feed.source.played.decoded, 11);
}

#[test]
fn a_low_audio_level_spares_the_decoder() {
    let mut feed = Feed::new(CodecKind::Opus);
    for _ in 0..50 {
        feed.packet(1, 0.0005, Some(70));
    }
    assert_eq!((feed.source.played.decoded, feed.source.played.skipped), (0, 50));
    let level = feed.packet(1, 0.3, Some(13));
    assert!(level[0] > -30.0, "{level:?}");
}

#[test]
fn written_silence_is_not_decoded_and_loud_small_packets_are() {
    let mut feed = Feed::new(CodecKind::Opus);
    for _ in 0..20 {
        feed.packet(1, 0.3, None);
    }
    let decoded = feed.source.played.decoded;
    let mut silence = [0; 8];
    let length = rtp_media::codec::opus::toc::write_silence(960, &mut silence).unwrap();
    for _ in 0..30 {
        let incoming = Incoming {
            kind: CodecKind::Opus,
            seq: feed.seq,
            timestamp: feed.timestamp,
            marker: false,
            level: None,
            payload: &silence[..length],
            arrival: feed.now,
        };
        feed.source.insert(&incoming, THRESHOLD);
        feed.seq = feed.seq.plus(1);
        feed.timestamp = feed.timestamp.plus(960);
        feed.source.pull(feed.now, false, THRESHOLD, &mut feed.scratch);
        feed.now += TICK;
    }
    assert!(
        feed.source.played.decoded - decoded <= u64::from(SETTLE) + 1,
        "{}",
        feed.source.played.decoded - decoded
    );
}

#[test]
fn a_steady_tone_in_inactive_looking_packets_is_heard_all_along() {
    let mut feed = Feed::new(CodecKind::Opus);
    let levels: Vec<f32> = (0..300).flat_map(|_| feed.packet(1, 0.05, None)).collect();
    assert!(
        levels[5..].iter().all(|level| *level > THRESHOLD),
        "{:?}",
        levels.iter().position(|l| *l < THRESHOLD)
    );
    assert_eq!(feed.source.played.skipped, 0);
}

#[test]
fn phones_rates_come_out_at_48_khz() {
    for kind in [CodecKind::Pcmu, CodecKind::G722] {
        let mut feed = Feed::new(kind);
        for _ in 0..10 {
            feed.packet(1, 0.3, None);
        }
        let peak = feed
            .source
            .pcm
            .iter()
            .fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        assert!((0.25..0.35).contains(&peak), "{kind:?} {peak}");
    }
}

#[test]
fn decoders_missing_here_come_from_the_update() {
    let (opus, pcmu) = (PayloadType::new(96).unwrap(), PayloadType::PCMU);
    let mut set = DecoderSet::build(&[(opus, CodecKind::Opus)]).unwrap();
    let mut other = DecoderSet::build(&[(opus, CodecKind::Opus), (pcmu, CodecKind::Pcmu)]).unwrap();
    set.complete_from(&mut other);
    assert!(set.get(CodecKind::Pcmu).is_some());
    assert_eq!(other.decoders.len(), 1);
}

#[test]
fn a_shortened_frame_loses_its_cut_smoothly() {
    let mut pcm: Vec<f32> = (0..960).map(|n| (n as f32 * 0.01).sin()).collect();
    let (first, last) = (pcm[0], pcm[959]);
    let short = shortened(&mut pcm, 240);
    assert_eq!(short.len(), 720);
    assert!((short[0] - first).abs() < 0.01 && (short[719] - last).abs() < 0.02);
}

#[test]
fn an_encoder_with_its_own_dtx_is_followed() {
    let mut feed = Feed::new(CodecKind::Opus);
    let config = OpusConfig {
        dtx: true,
        ..OpusConfig::default()
    };
    feed.encoder = AudioEncoder::Opus(OpusEncoder::new(&config).unwrap());
    for _ in 0..20 {
        feed.packet(1, 0.3, None);
    }
    for _ in 0..60 {
        feed.packet(1, 0.0, None);
    }
    assert!(feed.source.played.skipped > 30, "{}", feed.source.played.skipped);
    let levels: Vec<f32> = (0..3).flat_map(|_| feed.packet(1, 0.3, None)).collect();
    assert!(levels.iter().any(|level| *level > -20.0));
}

/// RFC 3389: the sound from before a description may wait in the buffer when the description comes.
#[test]
fn one_description_of_noise_outlives_the_frames_before_it() {
    let mut feed = Feed::new(CodecKind::Pcmu);
    for _ in 0..50 {
        feed.packet(1, 0.3, None);
    }
    feed.insert(1, 0.3, None);
    feed.describe(40);
    let levels = feed.ticks(50);
    let last = &levels[30..];
    assert!(
        last.iter().all(|level| (level + 40.0).abs() < 4.0),
        "noise: {levels:?}"
    );
    // Sound that comes later is the end of it.
    feed.insert(1, 0.3, None);
    let levels = feed.ticks(50);
    assert!(levels.iter().any(|level| *level > -20.0), "sound: {levels:?}");
    assert!(
        levels[30..].iter().all(|level| *level < -80.0),
        "silence: {levels:?}"
    );
}
