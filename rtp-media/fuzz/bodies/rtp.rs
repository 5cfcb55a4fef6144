//! Datagrams as RTP into one session: read or refused; what is read has all its parts inside the datagram; the
//! session's counters stay possible whatever sequence of sources, sequence numbers and times comes. The input is a
//! list of pieces, each a length and as many bytes.

use super::clock::starting_instant;
use super::script::Script;
use rtp_media::demux::classify;
use rtp_media::rtp::RtpPacket;
use rtp_media::rtp::extension::AudioLevel;
use rtp_media::session::{RtpSession, SessionConfig};
use rtp_media::telephone_event::Receiver;
use rtp_media::units::SampleRate;
use std::time::Duration;

pub fn run(data: &[u8]) {
    // As a whole first: the way a packet stands on the wire.
    read(data);
    let mut script = Script::new(data);
    let mut now = starting_instant();
    let config = SessionConfig::new("fuzz@example".to_owned(), SampleRate::HZ_8000);
    let mut session = RtpSession::new(config, [3; 32], now);
    let mut events = Receiver::new();
    let mut accepted = 0_u64;
    while !script.is_over() {
        now += Duration::from_millis(u64::from(script.byte()));
        let packet = script.bytes();
        let _ = classify(packet);
        let Some(packet) = read(packet) else {
            continue;
        };
        let _ = session.on_rtp(&packet, now);
        accepted += 1;
        events.on_packet(packet.payload(), packet.timestamp(), SampleRate::HZ_8000, now);
        events.on_timeout(now);
        while let Some(event) = events.poll() {
            let _ = event;
        }
        let stats = session.stats();
        assert!(stats.received_packets <= accepted);
        assert!((0.0..=1.0).contains(&stats.fraction_lost));
    }
}

fn read(datagram: &[u8]) -> Option<RtpPacket<'_>> {
    let packet = RtpPacket::parse(datagram).ok()?;
    assert!(packet.payload().len() + 12 <= datagram.len());
    assert!(packet.csrcs().count() <= 15);
    let elements = packet.extension_elements();
    assert!(elements.clone().count() <= datagram.len());
    if let Some(level) = elements.find(1) {
        let _ = AudioLevel::parse(level);
    }
    Some(packet)
}
