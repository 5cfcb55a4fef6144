use super::*;
use proptest::prelude::*;

fn tone(hz: f32, level: f32, from: usize, samples: usize) -> Vec<f32> {
    (from..from + samples)
        .map(|n| level * (std::f32::consts::TAU * hz * n as f32 / 48_000.0).sin())
        .collect()
}

/// Amplitude of one frequency (Goertzel).
fn amplitude(pcm: &[f32], hz: f32) -> f32 {
    let k = 2.0 * (std::f32::consts::TAU * hz / 48_000.0).cos();
    let (mut a, mut b) = (0.0f32, 0.0f32);
    for x in pcm {
        (a, b) = (x + k * a - b, a);
    }
    (a * a + b * b - k * a * b).max(0.0).sqrt() * 2.0 / pcm.len() as f32
}

/// Harmonics and a wandering pitch: something that linear prediction takes for a voice.
fn voice(frames: usize) -> Vec<f32> {
    let mut phase = 0.0f32;
    (0..frames * 960)
        .map(|n| {
            let pitch = 140.0 + 25.0 * (n as f32 / 9_000.0).sin();
            phase = (phase + pitch / 48_000.0).fract();
            let envelope = 0.6 + 0.4 * (n as f32 / 4_000.0).sin();
            let harmonics = (1..12)
                .map(|h| (std::f32::consts::TAU * phase * h as f32).sin() / h as f32)
                .sum::<f32>();
            0.15 * envelope * harmonics
        })
        .collect()
}

fn packets(encoder: &mut OpusEncoder, pcm: &[f32]) -> Vec<Vec<u8>> {
    pcm.chunks_exact(960)
        .map(|frame| {
            let mut out = [0; 1_275];
            let length = encoder.encode(frame, &mut out).unwrap();
            out[..length].to_vec()
        })
        .collect()
}

#[test]
fn the_bundled_libopus_is_the_current_one() {
    assert!(audiopus::version().contains("1.6.1"), "{}", audiopus::version());
}

#[test]
fn a_tone_survives_at_every_duration() {
    for samples in [120usize, 240, 480, 960, 1_920, 2_880] {
        let mut encoder = OpusEncoder::new(&OpusConfig::default()).unwrap();
        let mut decoder = OpusDecoder::new().unwrap();
        let mut heard = Vec::new();
        for start in (0..96_000).step_by(samples) {
            let mut payload = [0; 1_275];
            let mut out = [0.0; toc::MAX_PACKET_SAMPLES];
            let length = encoder
                .encode(&tone(1_000.0, 0.4, start, samples), &mut payload)
                .unwrap();
            assert_eq!(CodecKind::Opus.payload_samples(&payload[..length]), samples);
            let decoded = decoder.decode(&payload[..length], &mut out).unwrap();
            assert_eq!(decoded, samples);
            heard.extend_from_slice(&out[..decoded]);
        }
        let settled = &heard[heard.len() - 48_000..];
        let level = amplitude(settled, 1_000.0);
        assert!((0.3..0.5).contains(&level), "{samples} samples: {level}");
        assert!(amplitude(settled, 1_700.0) < 0.02);
    }
}

#[test]
fn in_band_fec_brings_a_lost_frame_back_better_than_concealment() {
    let pcm = voice(60);
    let config = OpusConfig {
        expected_loss: 15,
        signal: Signal::Voice,
        ..OpusConfig::default()
    };
    let mut encoder = OpusEncoder::new(&config).unwrap();
    let packets = packets(&mut encoder, &pcm);
    let (mut with_fec, mut with_plc) = (0.0, 0.0);
    for lost in [20usize, 33, 41, 50] {
        let mut reference = OpusDecoder::new().unwrap();
        let mut fec = OpusDecoder::new().unwrap();
        let mut plc = OpusDecoder::new().unwrap();
        let mut out = [0.0; 960];
        for payload in &packets[..lost] {
            for decoder in [&mut reference, &mut fec, &mut plc] {
                decoder.decode(payload, &mut out).unwrap();
            }
        }
        let (mut wanted, mut recovered, mut concealed) = ([0.0; 960], [0.0; 960], [0.0; 960]);
        reference.decode(&packets[lost], &mut wanted).unwrap();
        fec.decode_fec(&packets[lost + 1], &mut recovered).unwrap();
        plc.conceal(&mut concealed).unwrap();
        let error = |got: &[f32; 960]| {
            got.iter()
                .zip(&wanted)
                .map(|(a, b)| (a - b) * (a - b))
                .sum::<f32>()
        };
        with_fec += error(&recovered);
        with_plc += error(&concealed);
    }
    assert!(with_fec < with_plc * 0.7, "FEC {with_fec}, PLC {with_plc}");
}

#[test]
fn silence_is_recognised_and_speech_is_not() {
    // libopus 1.6 codes digital silence in hybrid mode, some 35 bytes a frame: only the voice activity flag
    // tells.
    let mut encoder = OpusEncoder::new(&OpusConfig::default()).unwrap();
    let silent = packets(&mut encoder, &vec![0.0; 960 * 50]);
    // Its detector starts out "active".
    assert!(
        silent[30..]
            .iter()
            .all(|p| toc::Hint::of(p) != toc::Hint::Unknown)
    );
    let mut encoder = OpusEncoder::new(&OpusConfig {
        bitrate: 6_000,
        ..OpusConfig::default()
    })
    .unwrap();
    let spoken = packets(&mut encoder, &voice(50));
    assert!(
        spoken
            .iter()
            .all(|p| !matches!(toc::Hint::of(p), toc::Hint::Silence | toc::Hint::Dtx))
    );
    let active = spoken
        .iter()
        .filter(|p| toc::Hint::of(p) == toc::Hint::Unknown)
        .count();
    // Not all: the detector takes a steady voice for noise now and then. Hence "hint".
    assert!(active > 20, "{active}");
}

#[test]
fn written_silence_decodes_to_silence_after_speech() {
    let mut encoder = OpusEncoder::new(&OpusConfig::default()).unwrap();
    let mut decoder = OpusDecoder::new().unwrap();
    let mut out = [0.0; toc::MAX_PACKET_SAMPLES];
    for payload in packets(&mut encoder, &voice(10)) {
        decoder.decode(&payload, &mut out).unwrap();
    }
    let mut silence = [0; 16];
    for samples in [480, 960, 1_920, 2_880] {
        let length = toc::write_silence(samples, &mut silence).unwrap();
        decoder.decode(&silence[..length], &mut out).unwrap();
        let decoded = decoder.decode(&silence[..length], &mut out).unwrap();
        assert_eq!(decoded, samples);
        assert!(out[..decoded].iter().all(|sample| sample.abs() < 1e-3));
    }
}

#[test]
fn libopus_dtx_falls_to_packets_known_as_such() {
    let mut encoder = OpusEncoder::new(&OpusConfig {
        dtx: true,
        ..OpusConfig::default()
    })
    .unwrap();
    let mut pcm = voice(10);
    pcm.resize(pcm.len() + 960 * 60, 0.0);
    let packets = packets(&mut encoder, &pcm);
    assert!(
        packets
            .iter()
            .filter(|p| toc::Hint::of(p) == toc::Hint::Dtx)
            .count()
            > 20
    );
    assert!(toc::Hint::of(&packets[5]) != toc::Hint::Dtx);
}

#[test]
fn a_reset_encoder_writes_what_a_new_one_writes() {
    let mut used = OpusEncoder::new(&OpusConfig::default()).unwrap();
    packets(&mut used, &voice(20));
    used.reset();
    let mut new = OpusEncoder::new(&OpusConfig::default()).unwrap();
    assert_eq!(packets(&mut used, &voice(10)), packets(&mut new, &voice(10)));
}

#[test]
fn constant_bit_rate_is_constant_and_settings_change_in_place() {
    let mut encoder = OpusEncoder::new(&OpusConfig {
        cbr: true,
        ..OpusConfig::default()
    })
    .unwrap();
    let sizes: Vec<usize> = packets(&mut encoder, &voice(20)).iter().map(Vec::len).collect();
    assert!(sizes.windows(2).all(|pair| pair[0] == pair[1]), "{sizes:?}");
    assert_eq!(sizes[0], 80);
    encoder
        .configure(&OpusConfig {
            cbr: true,
            bitrate: 16_000,
            ..OpusConfig::default()
        })
        .unwrap();
    assert_eq!(packets(&mut encoder, &voice(5)).last().unwrap().len(), 40);
    assert!(encoder.lookahead() < 480);
}

#[test]
fn wrong_sizes_are_the_callers_fault() {
    let mut encoder = OpusEncoder::new(&OpusConfig::default()).unwrap();
    let mut decoder = OpusDecoder::new().unwrap();
    let (mut payload, mut pcm) = ([0; 1_275], [0.0; 100]);
    assert!(matches!(
        encoder.encode(&[0.0; 961], &mut payload),
        Err(CodecError::FrameSize { .. })
    ));
    assert!(matches!(
        decoder.conceal(&mut pcm),
        Err(CodecError::FrameSize { .. })
    ));
    assert_eq!(
        decoder.decode(&[0xf8, 0xff, 0xfe], &mut pcm),
        Err(CodecError::BufferTooSmall)
    );
    assert!(matches!(
        decoder.decode(&[], &mut pcm),
        Err(CodecError::MalformedPayload(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn malformed_payloads_never_panic_and_the_decoder_stays_usable(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..6)
    ) {
        let mut decoder = OpusDecoder::new().unwrap();
        let mut out = [0.0; toc::MAX_PACKET_SAMPLES];
        for payload in &payloads {
            if let Ok(samples) = decoder.decode(payload, &mut out) {
                prop_assert_eq!(samples, CodecKind::Opus.payload_samples(payload));
            }
            let _ = decoder.decode_fec(payload, &mut out[..960]);
        }
        prop_assert_eq!(decoder.conceal(&mut out[..960]), Ok(960));
        prop_assert!(out[..960].iter().all(|sample| sample.is_finite()));
    }
}

#[test]
fn a_stereo_sender_is_folded_to_mono() {
    let raw = RawEncoder::new(RawRate::Hz48000, Channels::Stereo, Application::Audio).unwrap();
    let mut decoder = OpusDecoder::new().unwrap();
    let mut heard = Vec::new();
    for frame in 0..100 {
        // 500 Hz on the left, 900 Hz on the right.
        let (left, right) = (
            tone(500.0, 0.3, frame * 960, 960),
            tone(900.0, 0.3, frame * 960, 960),
        );
        let both: Vec<f32> = left.iter().zip(&right).flat_map(|(l, r)| [*l, *r]).collect();
        let mut payload = [0; 1_275];
        let length = raw.encode_float(&both, &mut payload[..]).unwrap();
        let mut out = [0.0; toc::MAX_PACKET_SAMPLES];
        let samples = decoder.decode(&payload[..length], &mut out).unwrap();
        assert_eq!(samples, 960);
        heard.extend_from_slice(&out[..samples]);
    }
    let last = &heard[48_000..];
    for hz in [500.0, 900.0] {
        let level = amplitude(last, hz);
        assert!((0.1..0.35).contains(&level), "{hz} Hz: {level}");
    }
}

#[test]
fn the_widest_band_follows_what_the_peer_can_play() {
    for (widest, above) in [
        (Bandwidth::Narrowband, 4_000.0f32),
        (Bandwidth::Mediumband, 6_000.0),
        (Bandwidth::Wideband, 8_000.0),
        (Bandwidth::SuperWideband, 12_000.0),
    ] {
        let config = OpusConfig {
            max_bandwidth: widest,
            bitrate: 64_000,
            ..OpusConfig::default()
        };
        let mut encoder = OpusEncoder::new(&config).unwrap();
        let mut decoder = OpusDecoder::new().unwrap();
        let hz = above * 1.25;
        let pcm = tone(hz, 0.3, 0, 96_000);
        let mut heard = Vec::new();
        for payload in packets(&mut encoder, &pcm) {
            let mut out = [0.0; 960];
            decoder.decode(&payload, &mut out).unwrap();
            heard.extend_from_slice(&out);
        }
        assert!(
            amplitude(&heard[48_000..], hz) < 0.02,
            "{widest:?} carries {hz} Hz"
        );
    }
}
