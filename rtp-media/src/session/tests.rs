use super::*;
use crate::rtcp::Chunk;
use crate::rtp::write_header;

const WALL: NtpTime = NtpTime(0x1111_2222_3333_4444);
const CLOCK: SampleRate = SampleRate::HZ_8000;

fn config(ssrc: u32) -> SessionConfig {
    SessionConfig {
        ssrc: Some(Ssrc(ssrc)),
        ..SessionConfig::new("leg@host".to_owned(), CLOCK)
    }
}

/// A peer's packet of 160 bytes.
fn packet(ssrc: u32, sequence: u16, timestamp: u32) -> Vec<u8> {
    let mut bytes = vec![0; 172];
    let header = RtpHeader {
        marker: false,
        payload_type: PayloadType::PCMU,
        sequence,
        timestamp: RtpTimestamp(timestamp),
        ssrc: Ssrc(ssrc),
        csrcs: &[],
    };
    write_header(&mut bytes, &header).unwrap();
    bytes
}

struct Leg {
    session: RtpSession,
    start: Instant,
}

impl Leg {
    fn new() -> Self {
        let start = crate::units::any_instant();
        Self {
            session: RtpSession::new(config(1), [7; 32], start),
            start,
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn hear(&mut self, ssrc: u32, sequence: u16, ms: u64) -> Verdict {
        let bytes = packet(ssrc, sequence, u32::from(sequence) * 160);
        self.session
            .on_rtp(&RtpPacket::parse(&bytes).unwrap(), self.at(ms))
    }

    fn send(&mut self, ms: u64) -> u16 {
        let timestamp = RtpTimestamp(ms as u32 * 8);
        let sequence = self
            .session
            .next_header(false, PayloadType::PCMU, timestamp, &[])
            .sequence;
        let at = self.at(ms);
        self.session.sent(160, timestamp, at);
        sequence
    }

    /// The first report that comes, and when.
    fn report(&mut self) -> (Vec<u8>, Instant) {
        let mut buffer = [0; 576];
        loop {
            let (now, _) = self.session.poll_timeout().unwrap();
            if let Some(length) = self.session.poll_rtcp(now, WALL, &mut buffer) {
                return (buffer[..length].to_vec(), now);
            }
        }
    }
}

fn packets(bytes: &[u8]) -> Vec<RtcpPacket<'_>> {
    parse_compound(bytes).unwrap().map(Result::unwrap).collect()
}

#[test]
fn first_source_is_believed_after_two() {
    let mut leg = Leg::new();
    assert_eq!(leg.hear(9, 100, 0), Verdict::Probation);
    assert_eq!(
        leg.hear(9, 101, 20),
        Verdict::NewSource {
            seq: SeqExt::first(101)
        }
    );
    assert_eq!(
        leg.hear(9, 103, 60),
        Verdict::Valid {
            seq: SeqExt::first(103)
        }
    );
    let stats = leg.session.stats();
    assert_eq!((stats.received_packets, stats.expected, stats.lost), (2, 3, 1));
    assert_eq!((stats.received_bytes, stats.remote_ssrc), (320, Some(Ssrc(9))));
    assert_eq!(stats.jitter, Duration::ZERO);
}

#[test]
fn another_source_takes_over_and_sending_goes_on() {
    let mut leg = Leg::new();
    leg.hear(9, 100, 0);
    leg.hear(9, 101, 20);
    let before = leg.send(20);
    assert_eq!(leg.hear(10, 5000, 40), Verdict::Probation);
    assert_eq!(
        leg.hear(10, 5001, 60),
        Verdict::NewSource {
            seq: SeqExt::first(5001)
        }
    );
    assert_eq!(leg.session.stats().received_packets, 1);
    assert_eq!(leg.send(60), before.wrapping_add(1));
    assert_eq!(leg.session.ssrc(), Ssrc(1));
}

#[test]
fn interleaved_sources_do_not_flap() {
    let mut leg = Leg::new();
    leg.hear(9, 100, 0);
    leg.hear(9, 101, 20);
    for step in 0..50_u16 {
        assert_eq!(leg.hear(10, 5000 + step, 0), Verdict::Probation);
        assert!(matches!(leg.hear(9, 102 + step, 0), Verdict::Valid { .. }));
    }
}

#[test]
fn restart_of_the_sequence_is_told() {
    let mut leg = Leg::new();
    leg.hear(9, 100, 0);
    leg.hear(9, 101, 20);
    assert_eq!(leg.hear(9, 40_000, 40), Verdict::Jumped);
    assert_eq!(
        leg.hear(9, 40_001, 60),
        Verdict::Restarted {
            seq: SeqExt::first(40_001)
        }
    );
    assert!(matches!(leg.hear(9, 40_002, 80), Verdict::Valid { .. }));
}

#[test]
fn collision_changes_our_ssrc_and_says_bye_for_the_old() {
    let mut leg = Leg::new();
    leg.hear(9, 100, 0);
    leg.hear(9, 101, 20);
    leg.send(20);
    assert_eq!(leg.hear(1, 7, 40), Verdict::Collision);
    let fresh = leg.session.ssrc();
    assert!(fresh != Ssrc(1) && fresh != Ssrc(9));
    assert!(
        matches!(leg.hear(9, 102, 45), Verdict::Valid { .. }),
        "receiving goes on"
    );
    let (bytes, at) = leg.report();
    assert_eq!(at, leg.at(40), "at once");
    let RtcpPacket::Bye(bye) = &packets(&bytes)[2] else {
        panic!("no BYE")
    };
    assert_eq!(bye.sources().collect::<Vec<_>>(), [Ssrc(1)]);
    // Our own stream looped back carries the new SSRC: it must not make us change for ever.
    assert_eq!(leg.hear(fresh.0, 8, 60), Verdict::Looped);
    for ms in (60..60_000).step_by(5000) {
        assert_eq!(
            leg.hear(fresh.0, 8, ms),
            Verdict::Looped,
            "an echo that lasts changes nothing"
        );
    }
    assert_eq!(leg.session.ssrc(), fresh);
    let (bytes, _) = leg.report();
    assert_eq!(packets(&bytes)[0].sender(), Some(fresh));
}

#[test]
fn who_sends_writes_sr_and_who_only_hears_writes_rr() {
    let mut leg = Leg::new();
    leg.hear(9, 100, 0);
    leg.hear(9, 101, 20);
    leg.hear(9, 104, 80);
    let (bytes, _) = leg.report();
    let [
        RtcpPacket::ReceiverReport { ssrc, blocks },
        RtcpPacket::SourceDescription(chunks),
    ] = &packets(&bytes)[..]
    else {
        panic!("no RR")
    };
    assert_eq!(*ssrc, Ssrc(1));
    let block = blocks.clone().next().unwrap();
    assert_eq!((block.ssrc, block.lost, block.highest_seq), (Ssrc(9), 2, 104));
    assert_eq!((block.fraction_lost, block.last_sr), (128, 0));
    let chunk: Chunk<'_> = chunks.clone().next().unwrap();
    assert_eq!(chunk.cname(), Some(&b"leg@host"[..]));

    leg.send(5000);
    let (bytes, at) = leg.report();
    let RtcpPacket::SenderReport { info, .. } = &packets(&bytes)[0] else {
        panic!("no SR")
    };
    assert_eq!((info.packets, info.bytes, info.ntp), (1, 160, WALL));
    let passed = CLOCK.ticks(at - leg.at(5000)) as u32;
    assert_eq!(
        info.rtp,
        RtpTimestamp(5000 * 8 + passed),
        "the timestamp of the report's own moment"
    );
    // Silent from here on: one more SR, then RR.
    leg.report();
    let (bytes, _) = leg.report();
    assert!(matches!(packets(&bytes)[0], RtcpPacket::ReceiverReport { .. }));
}

#[test]
fn round_trip_by_lsr_and_dlsr() {
    let mut leg = Leg::new();
    leg.send(0);
    let (bytes, sent) = leg.report();
    let RtcpPacket::SenderReport { info, .. } = &packets(&bytes)[0] else {
        panic!("no SR")
    };
    let answer = |last_sr| {
        let mut buffer = [0; 64];
        let mut writer = RtcpWriter::new(&mut buffer);
        let block = ReportBlock {
            ssrc: Ssrc(1),
            fraction_lost: 26,
            lost: 4,
            highest_seq: 1,
            jitter: 80,
            last_sr,
            delay_since_last_sr: to_short_ntp(Duration::from_millis(500)),
        };
        writer.receiver_report(Ssrc(9), &[block]).unwrap();
        let length = writer.len();
        buffer[..length].to_vec()
    };
    let forged = leg
        .session
        .on_rtcp(&answer(0x77), sent + Duration::from_secs(1))
        .unwrap();
    assert!(forged.report_on_us);
    assert_eq!(leg.session.stats().rtt, None, "an SR that we never sent");
    leg.session
        .on_rtcp(&answer(info.ntp.middle()), sent + Duration::from_millis(580))
        .unwrap();
    let stats = leg.session.stats();
    let rtt = stats.rtt.unwrap();
    assert!(
        rtt.abs_diff(Duration::from_millis(80)) < Duration::from_micros(50),
        "{rtt:?}"
    );
    assert_eq!(
        (stats.remote_lost, stats.remote_jitter),
        (Some(4), Some(Duration::from_millis(10)))
    );
    assert!((stats.remote_fraction_lost.unwrap() - 0.1).abs() < 0.01);
}

#[test]
fn peer_sr_gives_lsr_dlsr_and_its_wall_clock() {
    let mut leg = Leg::new();
    leg.hear(9, 100, 0);
    leg.hear(9, 101, 20);
    let mut buffer = [0; 64];
    let mut writer = RtcpWriter::new(&mut buffer);
    let info = SenderInfo {
        ntp: WALL,
        rtp: RtpTimestamp(1000),
        packets: 1,
        bytes: 1,
    };
    writer.sender_report(Ssrc(9), &info, &[]).unwrap();
    let length = writer.len();
    let at = leg.at(100);
    leg.session.on_rtcp(&buffer[..length], at).unwrap();
    assert_eq!(leg.session.peer_wall(RtpTimestamp(1000)), Some(WALL));
    let later = leg.session.peer_wall(RtpTimestamp(1000 + 8000)).unwrap();
    assert_eq!(later.since(WALL), Duration::from_secs(1));
    let (bytes, now) = leg.report();
    let RtcpPacket::ReceiverReport { blocks, .. } = &packets(&bytes)[0] else {
        panic!("no RR")
    };
    let block = blocks.clone().next().unwrap();
    assert_eq!(block.last_sr, WALL.middle());
    assert_eq!(block.delay_since_last_sr, to_short_ntp(now - at));
}

#[test]
fn bye_of_the_peer_and_ours() {
    let mut leg = Leg::new();
    let start = leg.start;
    let mut buffer = [0; 128];
    assert_eq!(
        leg.session.bye(start, WALL, &mut buffer),
        None,
        "nobody knows us yet"
    );
    leg.hear(9, 100, 0);
    leg.hear(9, 101, 20);
    let mut other = RtcpWriter::new(&mut buffer);
    other.receiver_report(Ssrc(10), &[]).unwrap();
    other.bye(&[Ssrc(10)], None).unwrap();
    let length = other.len();
    assert!(
        !leg.session.on_rtcp(&buffer[..length], start).unwrap().bye,
        "a stranger's BYE"
    );
    let mut own = RtcpWriter::new(&mut buffer);
    own.bye(&[Ssrc(9)], None).unwrap();
    let length = own.len();
    assert!(
        leg.session.on_rtcp(&buffer[..length], start).unwrap().bye,
        "also in reduced size"
    );
    leg.send(30);
    let length = leg.session.bye(start, WALL, &mut buffer).unwrap();
    let all = packets(&buffer[..length]);
    assert!(matches!(
        all[..],
        [
            RtcpPacket::SenderReport { .. },
            RtcpPacket::SourceDescription(_),
            RtcpPacket::Bye(_)
        ]
    ));
}

#[test]
fn events_do_not_disturb_the_jitter() {
    let mut leg = Leg::new();
    for sequence in 0..20 {
        leg.hear(9, sequence, u64::from(sequence) * 20);
    }
    // Six packets of one event carry the same timestamp.
    for sequence in 20..26_u16 {
        let bytes = packet(9, sequence, 20 * 160);
        let at = leg.at(u64::from(sequence) * 20);
        leg.session.on_event_rtp(&RtpPacket::parse(&bytes).unwrap(), at);
    }
    leg.hear(9, 26, 26 * 20);
    let stats = leg.session.stats();
    assert_eq!((stats.jitter, stats.lost), (Duration::ZERO, 0));
}

#[test]
fn garbage_is_an_error_and_changes_nothing() {
    let mut leg = Leg::new();
    let start = leg.start;
    assert_eq!(
        leg.session.on_rtcp(b"nonsense", start),
        Err(RtcpError::Framing(8))
    );
    assert_eq!(leg.session.on_rtcp(&[], start), Err(RtcpError::Framing(0)));
    assert_eq!(leg.session.stats(), StreamStats::default());
}

#[test]
fn a_buffer_too_small_gives_nothing_and_the_timer_goes_on() {
    let mut leg = Leg::new();
    leg.send(0);
    for _ in 0..3 {
        let (now, _) = leg.session.poll_timeout().unwrap();
        assert_eq!(leg.session.poll_rtcp(now, WALL, &mut [0; 10]), None);
        assert!(leg.session.poll_timeout().unwrap().0 > now);
    }
}

#[test]
fn long_cnames_are_cut_at_a_character() {
    let start = crate::units::any_instant();
    let long = SessionConfig {
        cname: "é".repeat(200),
        ..config(1)
    };
    let session = RtpSession::new(long, [1; 32], start);
    assert_eq!(session.config.cname.len(), 254);
}
