//! Captures for Wireshark: UDP datagrams and pieces of TCP streams with synthesised headers as pcapng, to any writer.
//!
//! What the program sent and received is written as raw IP packets (no link layer) with right lengths and checksums
//! and nanosecond times. Format: draft-ietf-opsawg-pcapng, blocks SHB, IDB and EPB.
//!
//! Deliberately absent: TCP's handshake and end (who reads a stream from a program sees neither), fragmentation, secrets blocks, reading, and flushing, which is the writer's.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::error::Fault;
use crate::limits::MAX_CAPTURED;

/// Link type of packets that begin with their IPv4 or IPv6 header.
const LINKTYPE_RAW: u16 = 101;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const TCP: u8 = 6;
const TCP_HEADER: usize = 20;
/// Payload of one synthesised segment: what fits an IPv4 packet.
const SEGMENT: usize = 65_000;
/// TCP directions whose place is remembered; 60 bytes each. More begin anew, which Wireshark shows as such.
const STREAMS: usize = 8_192;
const TTL: u8 = 64;

/// Why a datagram is not in the capture.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The writer failed: disk full, pipe closed.
    #[error("capture cannot be written")]
    Write(#[from] io::Error),
    /// More than a UDP datagram holds.
    #[error("datagram of {0} bytes is too long for a capture")]
    TooLong(usize),
}

impl PcapError {
    /// Who caused it.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Write(_) => Fault::System,
            Self::TooLong(_) => Fault::Limit,
        }
    }
}

/// Writes a capture.
#[derive(Debug)]
pub struct PcapWriter<W: Write> {
    writer: W,
    /// One block, reused.
    block: Vec<u8>,
    /// The next sequence number of each direction of the streams.
    streams: HashMap<(SocketAddr, SocketAddr), u32>,
}

impl<W: Write> PcapWriter<W> {
    /// Begins a capture; `application` stands in its header.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn new(writer: W, application: &str) -> Result<Self, PcapError> {
        let mut pcap = Self {
            writer,
            block: Vec::with_capacity(2048),
            streams: HashMap::new(),
        };
        pcap.section_header(application)?;
        pcap.interface()?;
        Ok(pcap)
    }

    /// Adds a UDP datagram at a time since the Unix epoch.
    ///
    /// # Errors
    /// When the writer fails (the capture is broken then; do not go on), or the datagram is too long.
    pub fn udp(
        &mut self,
        at: Duration,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> Result<(), PcapError> {
        if payload.len() > MAX_CAPTURED {
            return Err(PcapError::TooLong(payload.len()));
        }
        let (source, destination) = same_family(from.ip(), to.ip());
        let udp_length = (UDP_HEADER + payload.len()) as u16;
        self.packet(at, source, destination, UDP, udp_length);
        let mut header = [0; UDP_HEADER];
        let [p0, p1] = from.port().to_be_bytes();
        let [p2, p3] = to.port().to_be_bytes();
        let [l0, l1] = udp_length.to_be_bytes();
        let mut sum = Checksum::default();
        sum.address(source);
        sum.address(destination);
        sum.word(u16::from(UDP));
        sum.word(udp_length);
        sum.bytes(&[p0, p1, p2, p3, l0, l1, 0, 0]);
        sum.bytes(payload);
        // RFC 768: a sum of zero is sent as all ones, because zero means none.
        let [c0, c1] = match sum.finish() {
            0 => [0xff, 0xff],
            sum => sum.to_be_bytes(),
        };
        header.copy_from_slice(&[p0, p1, p2, p3, l0, l1, c0, c1]);
        self.block.extend_from_slice(&header);
        self.block.extend_from_slice(payload);
        self.end()
    }

    /// Adds bytes that went over a TCP connection from one end to the other, as segments in sequence.
    ///
    /// # Errors
    /// When the writer fails (the capture is broken then; do not go on).
    pub fn tcp(
        &mut self,
        at: Duration,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), PcapError> {
        for segment in bytes.chunks(SEGMENT) {
            self.segment(at, from, to, segment)?;
        }
        Ok(())
    }

    fn segment(
        &mut self,
        at: Duration,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> Result<(), PcapError> {
        if self.streams.len() >= STREAMS {
            self.streams.clear();
        }
        // Any numbers will do that go on where the last segment ended (RFC 9293 §3.4).
        let sequence = self.streams.get(&(from, to)).copied().unwrap_or(1);
        let acknowledged = self.streams.get(&(to, from)).copied().unwrap_or(1);
        self.streams
            .insert((from, to), sequence.wrapping_add(payload.len() as u32));
        let (source, destination) = same_family(from.ip(), to.ip());
        let length = (TCP_HEADER + payload.len()) as u16;
        self.packet(at, source, destination, TCP, length);
        let mut header = Vec::with_capacity(TCP_HEADER);
        header.extend_from_slice(&from.port().to_be_bytes());
        header.extend_from_slice(&to.port().to_be_bytes());
        header.extend_from_slice(&sequence.to_be_bytes());
        header.extend_from_slice(&acknowledged.to_be_bytes());
        // Five words of header, PSH and ACK, a full window.
        header.extend_from_slice(&[0x50, 0x18, 0xff, 0xff]);
        let mut sum = Checksum::default();
        sum.address(source);
        sum.address(destination);
        sum.word(u16::from(TCP));
        sum.word(length);
        sum.bytes(&header);
        sum.bytes(payload);
        header.extend_from_slice(&sum.finish().to_be_bytes());
        header.extend_from_slice(&[0, 0]);
        self.block.extend_from_slice(&header);
        self.block.extend_from_slice(payload);
        self.end()
    }

    /// Begins a packet's block: time, lengths, IP header.
    fn packet(&mut self, at: Duration, source: IpAddr, destination: IpAddr, protocol: u8, body: u16) {
        let ip_header = if source.is_ipv4() { 20 } else { 40 };
        let length = ip_header + u32::from(body);
        let nanos = at.as_nanos() as u64;
        self.begin(6);
        self.u32(0);
        self.u32((nanos >> 32) as u32);
        self.u32(nanos as u32);
        self.u32(length);
        self.u32(length);
        self.ip_header(source, destination, protocol, body);
    }

    /// The writer, to flush or close it.
    pub fn into_inner(self) -> W {
        self.writer
    }

    fn ip_header(&mut self, source: IpAddr, destination: IpAddr, protocol: u8, body: u16) {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let [l0, l1] = (20 + body).to_be_bytes();
                // Not to be fragmented, no identification needed (RFC 6864 §4.1).
                let fixed = [0x45, 0, l0, l1, 0, 0, 0x40, 0, TTL, protocol];
                let mut sum = Checksum::default();
                sum.bytes(&fixed);
                sum.bytes(&source.octets());
                sum.bytes(&destination.octets());
                self.block.extend_from_slice(&fixed);
                self.block.extend_from_slice(&sum.finish().to_be_bytes());
                self.block.extend_from_slice(&source.octets());
                self.block.extend_from_slice(&destination.octets());
            }
            (source, destination) => {
                let [l0, l1] = body.to_be_bytes();
                self.block
                    .extend_from_slice(&[0x60, 0, 0, 0, l0, l1, protocol, TTL]);
                self.block.extend_from_slice(&v6(source).octets());
                self.block.extend_from_slice(&v6(destination).octets());
            }
        }
    }

    fn section_header(&mut self, application: &str) -> Result<(), PcapError> {
        self.begin(0x0a0d_0d0a);
        self.u32(0x1a2b_3c4d);
        self.u16(1);
        self.u16(0);
        // Section length: not known.
        self.u32(u32::MAX);
        self.u32(u32::MAX);
        // shb_userappl, an option's length is a short one.
        let name = application
            .get(..application.floor_char_boundary(255))
            .unwrap_or_default();
        self.option(4, name.as_bytes());
        self.option(0, &[]);
        self.end()
    }

    fn interface(&mut self) -> Result<(), PcapError> {
        self.begin(1);
        self.u16(LINKTYPE_RAW);
        self.u16(0);
        // No limit to the length captured.
        self.u32(0);
        // if_tsresol: nanoseconds.
        self.option(9, &[9]);
        self.option(0, &[]);
        self.end()
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.u16(code);
        self.u16(value.len() as u16);
        self.block.extend_from_slice(value);
        self.align();
    }

    /// A block's type and a place for its length.
    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.u32(kind);
        self.u32(0);
    }

    /// Fills up, enters the length at both ends, and writes the block in one piece.
    fn end(&mut self) -> Result<(), PcapError> {
        self.align();
        let length = (self.block.len() + 4) as u32;
        self.u32(length);
        if let Some(field) = self.block.get_mut(4..8) {
            field.copy_from_slice(&length.to_le_bytes());
        }
        self.writer.write_all(&self.block)?;
        Ok(())
    }

    fn align(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn u32(&mut self, value: u32) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    fn u16(&mut self, value: u16) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }
}

/// Both addresses in one family: IPv4 where both are (also mapped into IPv6), else IPv6.
fn same_family(from: IpAddr, to: IpAddr) -> (IpAddr, IpAddr) {
    let (from, to) = (from.to_canonical(), to.to_canonical());
    if from.is_ipv4() == to.is_ipv4() {
        (from, to)
    } else {
        (v6(from).into(), v6(to).into())
    }
}

const fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// The Internet checksum (RFC 1071).
#[derive(Debug, Default)]
struct Checksum(u64);

impl Checksum {
    const fn word(&mut self, word: u16) {
        self.0 += word as u64;
    }

    /// Bytes from an even place on; an odd last one is filled up with zero.
    fn bytes(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.as_chunks::<2>();
        for pair in pairs {
            self.word(u16::from_be_bytes(*pair));
        }
        if let [last] = rest {
            self.word(u16::from_be_bytes([*last, 0]));
        }
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&address.octets()),
        }
    }

    const fn finish(&self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    /// Types and bodies of the blocks, which must fit together.
    fn blocks(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut found = Vec::new();
        let mut place = 0;
        while place < bytes.len() {
            let length = word(place + 4) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(
                word(place + length - 4) as usize,
                length,
                "the length stands at both ends"
            );
            found.push((word(place), bytes[place + 8..place + length - 4].to_vec()));
            place += length;
        }
        found
    }

    fn capture(from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
        let mut pcap = PcapWriter::new(Vec::new(), "meet").unwrap();
        pcap.udp(
            Duration::new(1_800_000_000, 123_456_789),
            at(from),
            at(to),
            payload,
        )
        .unwrap();
        let blocks = blocks(&pcap.into_inner());
        assert_eq!(
            blocks.iter().map(|block| block.0).collect::<Vec<_>>(),
            [0x0a0d_0d0a, 1, 6]
        );
        assert_eq!(blocks[1].1[..2], [101, 0]);
        let body = &blocks[2].1;
        let word = |at: usize| u32::from_le_bytes(body[at..at + 4].try_into().unwrap());
        let nanos = u64::from(word(4)) << 32 | u64::from(word(8));
        assert_eq!(nanos, 1_800_000_000_123_456_789);
        body[20..20 + word(12) as usize].to_vec()
    }

    fn sums_to_zero(parts: &[&[u8]]) {
        let mut sum = Checksum::default();
        for part in parts {
            sum.bytes(part);
        }
        assert_eq!(sum.finish(), 0);
    }

    #[test]
    fn ipv4_packets_have_right_lengths_and_checksums() {
        for payload in [&b"odd"[..], b"even", b""] {
            let packet = capture("192.0.2.1:4000", "[::ffff:198.51.100.2]:5004", payload);
            assert_eq!(packet.len(), 28 + payload.len());
            assert_eq!(packet[2..4], ((28 + payload.len()) as u16).to_be_bytes());
            assert_eq!(packet[12..20], [192, 0, 2, 1, 198, 51, 100, 2]);
            assert_eq!(packet[20..24], [0x0f, 0xa0, 0x13, 0x8c]);
            sums_to_zero(&[&packet[..20]]);
            let length = ((8 + payload.len()) as u16).to_be_bytes();
            sums_to_zero(&[&packet[12..20], &[0, 17], &length, &packet[20..]]);
            assert_eq!(&packet[28..], payload);
        }
    }

    #[test]
    fn ipv6_packets_have_right_lengths_and_checksums() {
        let packet = capture("[2001:db8::1]:4000", "[2001:db8::2]:5004", b"odd");
        assert_eq!((packet[0], packet[6], packet.len()), (0x60, 17, 51));
        assert_eq!(packet[4..6], [0, 11]);
        sums_to_zero(&[&packet[8..40], &[0, 17, 0, 11], &packet[40..]]);
    }

    #[test]
    fn a_stream_is_segments_in_sequence() {
        let (ours, theirs) = (at("192.0.2.1:5060"), at("198.51.100.2:40000"));
        let mut pcap = PcapWriter::new(Vec::new(), "meet").unwrap();
        pcap.tcp(Duration::ZERO, theirs, ours, b"INVITE").unwrap();
        pcap.tcp(Duration::ZERO, ours, theirs, &vec![b'x'; SEGMENT + 3])
            .unwrap();
        pcap.tcp(Duration::ZERO, theirs, ours, b"ACK").unwrap();
        let blocks = blocks(&pcap.into_inner());
        let packets: Vec<&[u8]> = blocks.iter().skip(2).map(|(_, body)| &body[20..]).collect();
        let numbers: Vec<(u32, u32)> = packets
            .iter()
            .map(|packet| {
                let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
                let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
                assert_eq!((packet[9], packet[33]), (6, 0x18));
                let tcp = ((length - 20) as u16).to_be_bytes();
                sums_to_zero(&[&packet[12..20], &[0, 6], &tcp, &packet[20..length]]);
                (word(24), word(28))
            })
            .collect();
        let end = 1 + SEGMENT as u32;
        assert_eq!(numbers, [(1, 1), (1, 7), (end, 7), (7, end + 3)]);
        assert_eq!(&packets[0][40..46], b"INVITE");
    }

    #[test]
    fn mixed_families_are_mapped() {
        let packet = capture("192.0.2.1:4000", "[2001:db8::2]:5004", b"x");
        assert_eq!(packet[8..24], at("[::ffff:192.0.2.1]:1").ip().to_ipv6());
    }

    trait Octets {
        fn to_ipv6(&self) -> [u8; 16];
    }

    impl Octets for IpAddr {
        fn to_ipv6(&self) -> [u8; 16] {
            v6(*self).octets()
        }
    }

    #[test]
    fn a_full_disk_is_an_error() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self
                    .0
                    .checked_sub(bytes.len())
                    .ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(PcapWriter::new(Full(10), "meet").is_err());
        let mut pcap = PcapWriter::new(Full(200), "meet").unwrap();
        let (from, to) = (at("192.0.2.1:1"), at("192.0.2.2:2"));
        let error = (0..10)
            .find_map(|_| pcap.udp(Duration::ZERO, from, to, b"x").err())
            .unwrap();
        assert_eq!(error.fault(), Fault::System);
        let long = vec![0; MAX_CAPTURED + 1];
        assert!(matches!(
            pcap.udp(Duration::ZERO, from, to, &long),
            Err(PcapError::TooLong(_))
        ));
    }
}
