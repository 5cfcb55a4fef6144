//! Datagrams as RTCP into one session that also sends: read or refused; every packet's parts lie inside the datagram;
//! what the session writes in answer reads. The input is a list of pieces, each a time, a length and as many bytes.

use super::clock::starting_instant;
use super::script::Script;
use rtp_media::rtcp::{RtcpPacket, parse_compound};
use rtp_media::session::{RtpSession, SessionConfig};
use rtp_media::units::{NtpTime, SampleRate};
use std::time::Duration;

pub fn run(data: &[u8]) {
    read(data);
    let mut script = Script::new(data);
    let mut now = starting_instant();
    let config = SessionConfig::new("fuzz@example".to_owned(), SampleRate::HZ_48000);
    let mut session = RtpSession::new(config, [3; 32], now);
    let mut wall = 0xe000_0000_0000_0000_u64;
    while !script.is_over() {
        let step = u64::from(script.byte()) * 50;
        now += Duration::from_millis(step);
        wall += (step << 32) / 1000;
        let datagram = script.bytes();
        read(datagram);
        let _ = session.on_rtcp(datagram, now);
        let mut buffer = [0; 1500];
        if let Some(length) = session.poll_rtcp(now, NtpTime(wall), &mut buffer) {
            let report = parse_compound(&buffer[..length]).expect("our own report");
            assert!(report.into_iter().all(|packet| packet.is_ok()));
        }
        let stats = session.stats();
        assert!(
            stats
                .remote_fraction_lost
                .is_none_or(|share| (0.0..=1.0).contains(&share))
        );
        assert!(stats.rtt.is_none_or(|rtt| rtt < Duration::from_secs(1 << 17)));
    }
}

fn read(datagram: &[u8]) {
    let Ok(compound) = parse_compound(datagram) else {
        return;
    };
    let mut packets = 0;
    for packet in compound {
        packets += 1;
        match packet {
            Ok(RtcpPacket::SenderReport { blocks, .. } | RtcpPacket::ReceiverReport { blocks, .. }) => {
                assert!(blocks.count() <= 31);
            }
            Ok(RtcpPacket::SourceDescription(chunks)) => {
                for chunk in chunks {
                    let _ = (chunk.cname(), chunk.items().count());
                }
            }
            Ok(RtcpPacket::Bye(bye)) => assert!(bye.sources().count() <= 31),
            _ => {}
        }
    }
    assert!(packets * 4 <= datagram.len());
}
