//! Two media threads over real sockets on loopback.

use std::path::Path;
use std::time::{Duration, Instant};

use rtp_media::codec::CodecKind;
use rtp_media::codec::opus::OpusConfig;
use rtp_media::units::PayloadType;
use tokio::sync::mpsc;

use super::engine::{Engine, EngineCommand, EngineEvent, EngineParts, MediaSockets};
use super::plan::StreamPlan;
use super::sample::tone_share;
use super::{Nowhere, Silence, Sink, Source, Tone, WavSink};

fn sockets() -> MediaSockets {
    MediaSockets::bind("127.0.0.1".parse().unwrap()).unwrap()
}

fn parts(
    sockets: MediaSockets,
    remote: std::net::SocketAddr,
    source: Box<dyn Source>,
    sink: Box<dyn Sink>,
) -> EngineParts {
    let opus = PayloadType::from_low_bits(96);
    let events = (PayloadType::from_low_bits(101), CodecKind::Opus.rtp_clock_rate());
    let mut rtcp = remote;
    rtcp.set_port(remote.port() + 1);
    let plan = StreamPlan {
        codec: CodecKind::Opus,
        payload_type: opus,
        ptime_ms: 20,
        opus: OpusConfig::default(),
        dtx: false,
        receive: vec![(opus, CodecKind::Opus)],
        send_events: Some(events),
        receive_events: vec![events],
        comfort_noise: None,
        remote_rtp: Some(remote),
        remote_rtcp: Some(rtcp),
        rtcp_mux: false,
        level: None,
        voip_metrics: false,
        sending: true,
        receiving: true,
        srtp: None,
    };
    let seed = [remote.port() as u8; 32];
    EngineParts {
        plan,
        sockets,
        source,
        sink,
        echo: None,
        muted: false,
        cname: "test".into(),
        seed,
    }
}

/// Waits for an event, with a deadline.
fn wait_for(events: &mut mpsc::Receiver<EngineEvent>, mut wanted: impl FnMut(&EngineEvent) -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    runtime.block_on(async {
        loop {
            let event = tokio::time::timeout_at(deadline.into(), events.recv()).await;
            let event = event.expect("the event came in time").expect("the thread lives");
            if wanted(&event) {
                return;
            }
        }
    });
}

fn read(path: &Path) -> Vec<f32> {
    let mut reader = hound::WavReader::open(path).unwrap();
    reader
        .samples::<i16>()
        .map(|sample| f32::from(sample.unwrap()) / 32_768.0)
        .collect()
}

#[test]
fn ports_are_an_even_and_the_next() {
    for _ in 0..20 {
        let pair = sockets();
        assert_eq!(pair.address().port() % 2, 0);
        assert!(
            std::net::UdpSocket::bind(("127.0.0.1", pair.address().port() + 1)).is_err(),
            "the RTCP port must be taken"
        );
    }
}

#[test]
fn one_thread_hears_the_other_and_digits_and_statistics_come() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("heard.wav");
    let (one, other) = (sockets(), sockets());
    let (to_one, to_other) = (one.address(), other.address());
    let (sender, _kept) = mpsc::channel(256);
    let (listener, mut events) = mpsc::channel(256);
    let speaking = Engine::start(
        parts(one, to_other, Box::new(Tone::new(620.0)), Box::new(Nowhere)),
        sender,
    )
    .unwrap();
    let sink = Box::new(WavSink::create(&path).unwrap());
    let hearing = Engine::start(parts(other, to_one, Box::new(Silence), sink), listener).unwrap();

    wait_for(
        &mut events,
        |event| matches!(event, EngineEvent::Levels { heard_db, .. } if *heard_db > -30.0),
    );
    let mut full_seconds = 0;
    wait_for(&mut events, |event| {
        if let EngineEvent::Stats(line) = event
            && line.received > 40
        {
            full_seconds += 1;
        }
        full_seconds == 2
    });
    speaking.tell(EngineCommand::Digit('9'));
    wait_for(&mut events, |event| {
        matches!(event, EngineEvent::Digit { digit: '9', .. })
    });
    speaking.tell(EngineCommand::Mute(true));
    wait_for(
        &mut events,
        |event| matches!(event, EngineEvent::Levels { heard_db, .. } if *heard_db < -50.0),
    );
    drop(hearing);
    drop(speaking);
    let heard = read(&path);
    // Windows of 100 ms: on a busy machine a late tick shifts the phase between two of them, and no more.
    let clean = heard
        .chunks_exact(4_800)
        .filter(|window| tone_share(window, 620.0, 48_000) > 0.9)
        .count();
    assert!(clean >= 10, "{clean} of {} windows", heard.len() / 4_800);
}

#[test]
fn a_stopped_thread_leaves_its_ports_and_a_valid_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("heard.wav");
    let pair = sockets();
    let address = pair.address();
    let (sender, mut events) = mpsc::channel(256);
    let sink = Box::new(WavSink::create(&path).unwrap());
    let engine = Engine::start(
        parts(pair, "127.0.0.1:9".parse().unwrap(), Box::new(Silence), sink),
        sender,
    )
    .unwrap();
    wait_for(&mut events, |event| matches!(event, EngineEvent::Stats(_)));
    let stopping = Instant::now();
    drop(engine);
    assert!(
        stopping.elapsed() < Duration::from_millis(500),
        "{:?}",
        stopping.elapsed()
    );
    assert!(
        std::net::UdpSocket::bind(address).is_ok(),
        "the port is free again"
    );
    assert!(read(&path).len() >= 40_000);
}
