//! A stream of RTP packets over a bad network, as a receiver sees it: demultiplexed, parsed, latched, validated,
//! put in order and played out, with the statistics and the RTCP report that come of it.
//!
//! `cargo run --example rtp_packets` prints them, and fails when they are not what the network's doings make them.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rtp_media::demux::{PacketClass, classify};
use rtp_media::jitter::{Arrival, JitterBuffer, JitterConfig, JitterStats, Pull};
use rtp_media::latch::{Decision, Latch};
use rtp_media::rtcp::{RtcpPacket, parse_compound};
use rtp_media::rtp::{RtpPacket, write_header};
use rtp_media::session::{RtpSession, SessionConfig, StreamStats, Verdict};
use rtp_media::units::{NtpTime, PayloadType, SampleRate};

const CLOCK: SampleRate = SampleRate::HZ_8000;
/// 20 ms at 8 kHz.
const FRAME: u32 = 160;
const PACKETS: u32 = 500;

/// A datagram on its way.
struct Datagram {
    arrives: Duration,
    bytes: Vec<u8>,
}

/// What playing the stream came to.
#[derive(Default)]
struct Played {
    frames: u32,
    concealed: u32,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rtp_packets: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let start = Instant::now();
    let datagrams = send(start)?;
    let mut session = RtpSession::new(
        SessionConfig::new("receiver@example".into(), CLOCK),
        [2; 32],
        start,
    );
    let mut jitter = JitterBuffer::new(JitterConfig::new(CLOCK));
    let played = receive(start, datagrams, &mut session, &mut jitter)?;
    let (stats, buffer) = (session.stats(), jitter.stats());
    print(&stats, &buffer, &played);
    let reported = report(start, &mut session)?;
    Ok(check(&stats, &buffer, &played, reported))
}

/// Ten seconds of PCMU. The network takes 10 ms, loses every 25th packet, doubles every 40th and delays every 60th by
/// 30 ms, behind its successor.
fn send(start: Instant) -> Result<Vec<Datagram>, Box<dyn Error>> {
    let mut sender = RtpSession::new(SessionConfig::new("sender@example".into(), CLOCK), [1; 32], start);
    let mut datagrams = Vec::new();
    for number in 0..PACKETS {
        let left = Duration::from_millis(20) * number;
        let timestamp = sender.initial_timestamp().plus(number * FRAME);
        let mut bytes = vec![0xff; 12 + FRAME as usize];
        let header = sender.next_header(number == 0, PayloadType::PCMU, timestamp, &[]);
        write_header(&mut bytes, &header)?;
        sender.sent(FRAME as usize, timestamp, start + left);
        let late = if number % 60 == 59 { 30 } else { 0 };
        let arrives = left + Duration::from_millis(10 + late);
        if number % 25 == 24 {
            continue;
        }
        if number % 40 == 39 {
            datagrams.push(Datagram {
                arrives,
                bytes: bytes.clone(),
            });
        }
        datagrams.push(Datagram { arrives, bytes });
    }
    datagrams.sort_by_key(|datagram| datagram.arrives);
    Ok(datagrams)
}

/// What a media thread does: everything that came, then one tick, every 20 ms.
fn receive(
    start: Instant,
    datagrams: Vec<Datagram>,
    session: &mut RtpSession,
    jitter: &mut JitterBuffer,
) -> Result<Played, Box<dyn Error>> {
    let source: SocketAddr = "192.0.2.1:4000".parse()?;
    let mut latch = Latch::new(None, [PayloadType::PCMU].into_iter().collect());
    let mut waiting = datagrams.into_iter().peekable();
    let mut played = Played::default();
    for tick in 1..=PACKETS + 2 {
        let now = Duration::from_millis(20) * tick;
        while let Some(datagram) = waiting.next_if(|datagram| datagram.arrives <= now) {
            if classify(&datagram.bytes) == PacketClass::Rtp {
                let packet = RtpPacket::parse(&datagram.bytes)?;
                let arrival = start + datagram.arrives;
                if !matches!(latch.offer(source, &packet, arrival), Decision::Refuse(_)) {
                    insert(&packet, arrival, session, jitter);
                }
            }
        }
        let mut need = FRAME;
        while need > 0 {
            match jitter.pull(start + now, need) {
                Pull::Frame(frame) => {
                    played.frames += 1;
                    need = need.saturating_sub(frame.duration - frame.shorten);
                }
                Pull::Lost { duration, .. } => {
                    played.concealed += 1;
                    need = need.saturating_sub(duration);
                }
                Pull::Hold => {
                    played.concealed += 1;
                    need = 0;
                }
                Pull::Silence => need = 0,
            }
        }
    }
    Ok(played)
}

fn insert(packet: &RtpPacket<'_>, arrival: Instant, session: &mut RtpSession, jitter: &mut JitterBuffer) {
    let seq = match session.on_rtp(packet, arrival) {
        Verdict::Valid { seq } => seq,
        Verdict::NewSource { seq } | Verdict::Restarted { seq } => {
            jitter.reset();
            seq
        }
        Verdict::Probation | Verdict::Jumped | Verdict::Collision | Verdict::Looped => return,
    };
    jitter.insert(&Arrival {
        seq,
        timestamp: packet.timestamp(),
        duration: packet.payload().len() as u32,
        marker: packet.marker(),
        silent: false,
        at: arrival,
        payload: packet.payload(),
    });
}

/// The receiver report that would go to the sender: its cumulative loss.
fn report(start: Instant, session: &mut RtpSession) -> Result<i32, Box<dyn Error>> {
    let mut buffer = [0; 576];
    let wall = NtpTime::from_unix(Duration::from_secs(1_800_000_000));
    let mut now = start + Duration::from_millis(20) * PACKETS;
    let length = loop {
        if let Some(length) = session.poll_rtcp(now, wall, &mut buffer) {
            break length;
        }
        now = session.poll_timeout().ok_or("no report planned")?.0;
    };
    let written = buffer.get(..length).unwrap_or_default();
    for packet in parse_compound(written)?.flatten() {
        if let RtcpPacket::ReceiverReport { ssrc, mut blocks } = packet
            && let Some(block) = blocks.next()
        {
            println!(
                "report   RR of {ssrc} about {}: {} lost, {length} bytes",
                block.ssrc, block.lost
            );
            return Ok(block.lost);
        }
    }
    Err("the report has no block about the sender".into())
}

fn print(stats: &StreamStats, buffer: &JitterStats, played: &Played) {
    println!(
        "received {} of {} packets, {} lost",
        stats.received_packets, stats.expected, stats.lost
    );
    println!("jitter   {:?} (RFC 3550)", stats.jitter);
    println!(
        "buffer   {} late, {} doubled, {} missing",
        buffer.late, buffer.duplicates, buffer.lost
    );
    println!("delay    {:?} now, target {:?}", buffer.delay, buffer.target);
    println!(
        "played   {} frames, {} concealed",
        played.frames, played.concealed
    );
}

/// Whether it all adds up.
fn check(stats: &StreamStats, buffer: &JitterStats, played: &Played, reported: i32) -> bool {
    // The first packet proves the source and is not counted (RFC 3550 A.1); packet 499 is lost behind the last one
    // received, so that nobody misses it. Of 500, 20 are lost and 12 doubled, of which packets 199 and 399 are lost.
    let checks = [
        ("expected", stats.expected == 498),
        ("received", stats.received_packets == 480 - 1 + 10),
        ("loss, to which duplicates are credited", stats.lost == 498 - 489),
        ("loss in the report", i64::from(reported) == stats.lost),
        ("duplicates", buffer.duplicates == 10),
        (
            "missing when their time came",
            (19..=19 + 8).contains(&buffer.lost),
        ),
        (
            "frames played or late",
            u64::from(played.frames) + buffer.late == 479,
        ),
        (
            "delay on a path that is nearly clean",
            buffer.delay < Duration::from_millis(45),
        ),
    ];
    for (name, right) in checks {
        if !right {
            println!("WRONG    {name}");
        }
    }
    checks.iter().all(|(_, right)| *right)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_adds_up() {
        assert!(super::run().is_ok_and(|right| right));
    }
}
