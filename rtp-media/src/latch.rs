//! Symmetric RTP: whose packets are believed, and where ours go.
//!
//! Clear RTP proves nothing about its sender, and phones behind a NAT signal an address that is not theirs. So the
//! first valid packet latches its source, whatever was signalled, and from then on only that source is heard.
//! Another one takes over only when the latched one has been silent for 500 ms and five consecutive packets from the
//! new address continued the stream: same SSRC, next sequence numbers. Who cannot see the stream cannot guess those.
//!
//! | state | packet | then |
//! |---|---|---|
//! | waiting | valid | latched to its source |
//! | latched | from the source | accepted; competitors start anew |
//! | latched | from elsewhere, continuing the stream | a competitor; refused |
//! | latched | the fifth such in a row, source silent for 500 ms | latched to the new source |
//! | latched | from elsewhere otherwise | refused |
//! | any | new address signalled | waiting |
//!
//! Deliberately absent: SRTP, whose packets are opened before they come here ([`crate::srtp`]), so that only authentic
//! ones can latch; and ICE, which replaces all this.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use arrayvec::ArrayVec;

use crate::limits::{LATCH_CANDIDATES, MAX_DROPOUT, RELATCH_PACKETS, RELATCH_SILENCE};
use crate::rtp::RtpPacket;
use crate::units::{PayloadType, Ssrc};

/// A set of payload types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PayloadTypes(u128);

impl PayloadTypes {
    /// Adds one.
    pub const fn insert(&mut self, payload_type: PayloadType) {
        self.0 |= 1 << payload_type.get();
    }

    /// Whether it is in.
    #[must_use]
    pub const fn contains(self, payload_type: PayloadType) -> bool {
        self.0 & (1 << payload_type.get()) != 0
    }
}

impl FromIterator<PayloadType> for PayloadTypes {
    fn from_iter<I: IntoIterator<Item = PayloadType>>(iter: I) -> Self {
        let mut set = Self::default();
        for payload_type in iter {
            set.insert(payload_type);
        }
        set
    }
}

/// The latch's answer to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// From the latched source.
    Accept,
    /// The first valid packet: its source is latched. The packet counts.
    Latched,
    /// Another source took over the stream. The packet counts.
    Relatched {
        /// Where it came from before.
        old: SocketAddr,
    },
    /// Not to be believed: drop and count.
    Refuse(Refusal),
}

/// Why a packet is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Payload type was not negotiated.
    PayloadType,
    /// Source address that cannot be answered: multicast, broadcast, unspecified, port 0.
    Address,
    /// Not the latched source.
    Stranger,
}

#[derive(Debug, Clone, Copy)]
struct Latched {
    source: SocketAddr,
    ssrc: Ssrc,
    sequence: u16,
    heard: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    source: SocketAddr,
    sequence: u16,
    count: u8,
    heard: Instant,
}

/// Decides whose packets are believed and where ours go.
#[derive(Debug)]
pub struct Latch {
    signalled: Option<SocketAddr>,
    signalled_rtcp: Option<SocketAddr>,
    known: PayloadTypes,
    latched: Option<Latched>,
    rtcp: Option<SocketAddr>,
    candidates: ArrayVec<Candidate, LATCH_CANDIDATES>,
}

impl Latch {
    /// A latch that sends to the signalled address until a packet came; `known` are the payload types that may come.
    #[must_use]
    pub fn new(signalled: Option<SocketAddr>, known: PayloadTypes) -> Self {
        Self {
            signalled: signalled.filter(plausible),
            signalled_rtcp: None,
            known,
            latched: None,
            rtcp: None,
            candidates: ArrayVec::new(),
        }
    }

    /// Judges a received RTP packet (version 2, or it would not have been parsed).
    pub fn offer(&mut self, from: SocketAddr, packet: &RtpPacket<'_>, now: Instant) -> Decision {
        if !self.known.contains(packet.payload_type()) {
            return Decision::Refuse(Refusal::PayloadType);
        }
        if !plausible(&from) {
            return Decision::Refuse(Refusal::Address);
        }
        let from = canonical(from);
        let (ssrc, sequence) = (packet.ssrc(), packet.sequence());
        let Some(latched) = &mut self.latched else {
            self.latched = Some(Latched {
                source: from,
                ssrc,
                sequence,
                heard: now,
            });
            return Decision::Latched;
        };
        if latched.source == from {
            // A reordered packet must not turn the expected sequence back.
            if latched.ssrc != ssrc || sequence.wrapping_sub(latched.sequence) < 0x8000 {
                latched.sequence = sequence;
            }
            latched.ssrc = ssrc;
            latched.heard = latched.heard.max(now);
            self.candidates.clear();
            return Decision::Accept;
        }
        let ahead = sequence.wrapping_sub(latched.sequence);
        if latched.ssrc != ssrc || ahead == 0 || ahead >= MAX_DROPOUT {
            return Decision::Refuse(Refusal::Stranger);
        }
        let (old, silent_since) = (latched.source, latched.heard);
        let proved = self.compete(from, sequence, now) >= RELATCH_PACKETS;
        if !proved || now.saturating_duration_since(silent_since) < RELATCH_SILENCE {
            return Decision::Refuse(Refusal::Stranger);
        }
        self.latched = Some(Latched {
            source: from,
            ssrc,
            sequence,
            heard: now,
        });
        self.rtcp = None;
        self.candidates.clear();
        Decision::Relatched { old }
    }

    /// Judges a received RTCP datagram by its source and its sender SSRC. Before any RTP came, the signalled host
    /// alone is believed; afterwards the latched host, and from it only the latched stream's SSRC moves where our
    /// RTCP goes.
    pub fn offer_rtcp(&mut self, from: SocketAddr, sender: Option<Ssrc>) -> bool {
        if !plausible(&from) {
            return false;
        }
        let from = canonical(from);
        let Some(latched) = &self.latched else {
            return [self.signalled, self.signalled_rtcp]
                .iter()
                .flatten()
                .any(|signalled| canonical(*signalled).ip() == from.ip());
        };
        let believed = latched.source.ip() == from.ip();
        if believed && sender == Some(latched.ssrc) {
            self.rtcp = Some(from);
        }
        believed
    }

    /// Where RTP goes: the latched source, else the signalled address.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        self.latched.map(|latched| latched.source).or(self.signalled)
    }

    /// Whether a source is latched.
    #[must_use]
    pub const fn is_latched(&self) -> bool {
        self.latched.is_some()
    }

    /// Where RTCP goes when it is not muxed: where the peer's own RTCP comes from, else the signalled address (on the
    /// latched host), else the port above RTP's (RFC 3550 §11).
    #[must_use]
    pub fn rtcp_destination(&self) -> Option<SocketAddr> {
        if self.rtcp.is_some() {
            return self.rtcp;
        }
        let Some(latched) = self.latched else {
            return self.signalled_rtcp.or_else(|| above(self.signalled?));
        };
        let same_as_signalled = self
            .signalled
            .is_none_or(|signalled| canonical(signalled) == latched.source);
        match self.signalled_rtcp {
            Some(rtcp) if same_as_signalled => Some(rtcp),
            _ => above(latched.source),
        }
    }

    /// The result of another negotiation. A new address waits for its first packet; the same one changes nothing but
    /// the payload types.
    pub fn signal(&mut self, signalled: Option<SocketAddr>, known: PayloadTypes) {
        let signalled = signalled.filter(plausible);
        self.known = known;
        if signalled != self.signalled {
            self.signalled = signalled;
            self.latched = None;
            self.rtcp = None;
            self.candidates.clear();
        }
    }

    /// The RTCP address from SDP.
    pub fn signal_rtcp(&mut self, signalled: Option<SocketAddr>) {
        self.signalled_rtcp = signalled.filter(plausible);
    }

    /// Counts a packet that continues the stream; returns how many came in a row from there.
    fn compete(&mut self, from: SocketAddr, sequence: u16, now: Instant) -> u8 {
        if let Some(candidate) = self
            .candidates
            .iter_mut()
            .find(|candidate| candidate.source == from)
        {
            match sequence.wrapping_sub(candidate.sequence) {
                0 => {}
                1 => candidate.count = candidate.count.saturating_add(1),
                _ => candidate.count = 1,
            }
            candidate.sequence = sequence;
            candidate.heard = now;
            return candidate.count;
        }
        if self.candidates.is_full() {
            // A flood from many addresses only ever replaces its own kind: who has come furthest stays.
            let weakest = self
                .candidates
                .iter()
                .enumerate()
                .min_by_key(|(_, candidate)| (candidate.count, candidate.heard))
                .map(|(index, _)| index);
            if let Some(index) = weakest {
                self.candidates.swap_remove(index);
            }
        }
        self.candidates.push(Candidate {
            source: from,
            sequence,
            count: 1,
            heard: now,
        });
        1
    }
}

/// Whether packets can be sent back there.
fn plausible(address: &SocketAddr) -> bool {
    let ip = canonical(*address).ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// An IPv4 address as such, also when a dual-stack socket reports it mapped into IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

fn above(mut rtp: SocketAddr) -> Option<SocketAddr> {
    rtp.set_port(rtp.port().checked_add(1)?);
    Some(rtp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{RtpHeader, write_header};
    use crate::units::RtpTimestamp;
    use std::time::Duration;

    struct Wire {
        latch: Latch,
        start: Instant,
    }

    impl Wire {
        fn new(signalled: Option<&str>) -> Self {
            let known = [PayloadType::PCMU, PayloadType::from_low_bits(101)]
                .into_iter()
                .collect();
            Self {
                latch: Latch::new(signalled.map(at), known),
                start: crate::units::any_instant(),
            }
        }

        fn offer(&mut self, from: &str, ssrc: u32, sequence: u16, ms: u64) -> Decision {
            self.offer_as(PayloadType::PCMU, from, ssrc, sequence, ms)
        }

        fn offer_as(&mut self, pt: PayloadType, from: &str, ssrc: u32, sequence: u16, ms: u64) -> Decision {
            let mut bytes = [0; 20];
            let header = RtpHeader {
                marker: false,
                payload_type: pt,
                sequence,
                timestamp: RtpTimestamp(0),
                ssrc: Ssrc(ssrc),
                csrcs: &[],
            };
            write_header(&mut bytes, &header).unwrap();
            let packet = RtpPacket::parse(&bytes).unwrap();
            self.latch
                .offer(at(from), &packet, self.start + Duration::from_millis(ms))
        }

        fn goes_to(&self, expected: &str) {
            assert_eq!(self.latch.destination(), Some(at(expected)));
        }
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    const PHONE: &str = "10.0.0.5:4000";
    const NAT: &str = "198.51.100.7:31000";
    const REBOUND: &str = "198.51.100.7:31999";
    const STRANGER: Decision = Decision::Refuse(Refusal::Stranger);

    #[test]
    fn the_first_valid_packet_latches_its_source() {
        let mut wire = Wire::new(Some(PHONE));
        wire.goes_to(PHONE);
        let unknown = wire.offer_as(PayloadType::PCMA, NAT, 1, 1, 0);
        assert_eq!(unknown, Decision::Refuse(Refusal::PayloadType));
        for address in [
            "0.0.0.0:4000",
            "224.0.0.1:4000",
            "255.255.255.255:4000",
            "10.0.0.5:0",
            "[ff02::1]:4000",
        ] {
            assert_eq!(
                wire.offer(address, 1, 1, 0),
                Decision::Refuse(Refusal::Address),
                "{address}"
            );
        }
        wire.goes_to(PHONE);
        assert_eq!(wire.offer(NAT, 1, 1, 0), Decision::Latched);
        wire.goes_to(NAT);
        assert_eq!(wire.offer(NAT, 1, 2, 20), Decision::Accept);
    }

    #[test]
    fn a_spoofer_is_refused_while_the_source_lives() {
        let mut wire = Wire::new(None);
        for sequence in 0..100 {
            let ms = u64::from(sequence) * 20;
            assert!(!matches!(wire.offer(NAT, 1, sequence, ms), Decision::Refuse(_)));
            // It even knows SSRC and sequence.
            assert_eq!(wire.offer("203.0.113.9:5000", 1, sequence + 1, ms + 1), STRANGER);
        }
        wire.goes_to(NAT);
    }

    #[test]
    fn a_spoofer_without_the_stream_never_takes_over() {
        let mut wire = Wire::new(None);
        wire.offer(NAT, 1, 1000, 0);
        for sequence in 0..500_u16 {
            let ms = 600 + u64::from(sequence) * 20;
            assert_eq!(
                wire.offer("203.0.113.9:5000", 2, 1000 + sequence, ms),
                STRANGER,
                "other SSRC"
            );
            assert_eq!(
                wire.offer("203.0.113.9:5000", 1, 30_000 + sequence, ms),
                STRANGER,
                "other sequence"
            );
        }
        wire.goes_to(NAT);
        assert_eq!(wire.offer(NAT, 1, 1001, 20_000), Decision::Accept);
    }

    #[test]
    fn a_rebound_nat_takes_over_after_silence_and_five_packets() {
        let mut wire = Wire::new(None);
        wire.offer(NAT, 1, 65_530, 0);
        // From 20 ms on everything comes from the new port; 500 ms after the last old packet it is believed.
        for step in 1..25_u16 {
            assert_eq!(
                wire.offer(REBOUND, 1, 65_530_u16.wrapping_add(step), u64::from(step) * 20),
                STRANGER
            );
        }
        let relatched = wire.offer(REBOUND, 1, 65_530_u16.wrapping_add(25), 500);
        assert_eq!(relatched, Decision::Relatched { old: at(NAT) });
        wire.goes_to(REBOUND);
        assert_eq!(wire.offer(NAT, 1, 65_530_u16.wrapping_add(26), 520), STRANGER);
    }

    #[test]
    fn after_a_long_silence_it_takes_five_consecutive_packets() {
        let mut wire = Wire::new(None);
        wire.offer(NAT, 1, 100, 0);
        for sequence in [101, 102, 103, 104, 106, 107, 108, 109] {
            assert_eq!(wire.offer(REBOUND, 1, sequence, 5000), STRANGER, "{sequence}");
        }
        assert_eq!(
            wire.offer(REBOUND, 1, 109, 5000),
            STRANGER,
            "a duplicate is no progress"
        );
        assert_eq!(
            wire.offer(REBOUND, 1, 110, 5000),
            Decision::Relatched { old: at(NAT) }
        );
    }

    #[test]
    fn a_sign_of_life_sends_competitors_back() {
        let mut wire = Wire::new(None);
        wire.offer(NAT, 1, 100, 0);
        for sequence in 101..105 {
            wire.offer(REBOUND, 1, sequence, 600);
        }
        assert_eq!(wire.offer(NAT, 1, 101, 610), Decision::Accept);
        assert_eq!(wire.offer(REBOUND, 1, 105, 1200), STRANGER);
        wire.goes_to(NAT);
    }

    #[test]
    fn a_flood_of_spoofers_does_not_lock_out_the_rebound_phone() {
        let mut wire = Wire::new(None);
        wire.offer(NAT, 1, 100, 0);
        let mut taken = None;
        for step in 1..100_u16 {
            let ms = u64::from(step) * 20;
            // Many addresses that guess, and a few that have seen an old packet, between two of the phone's.
            for spoofer in 0..200_u32 {
                let (ssrc, sequence) = if spoofer % 50 == 0 {
                    (1, 101)
                } else {
                    (2 + spoofer, 100 + step)
                };
                assert_eq!(
                    wire.offer(&format!("203.0.113.{spoofer}:5000"), ssrc, sequence, ms),
                    STRANGER
                );
            }
            if wire.offer(REBOUND, 1, 100 + step, ms) != STRANGER {
                taken = Some(step);
                break;
            }
        }
        assert_eq!(taken, Some(25), "500 ms after the last old packet");
        wire.goes_to(REBOUND);
    }

    #[test]
    fn competitors_are_bounded_even_when_all_of_them_see_the_stream() {
        let mut wire = Wire::new(None);
        wire.offer(NAT, 1, 100, 0);
        for spoofer in 0..10_000_u32 {
            let address = format!("203.0.{}.{}:5000", spoofer / 256, spoofer % 256);
            assert_eq!(wire.offer(&address, 1, 101, 600), STRANGER);
        }
        assert_eq!(wire.latch.candidates.len(), LATCH_CANDIDATES);
        for sequence in 101..105 {
            assert_eq!(wire.offer(REBOUND, 1, sequence, 620), STRANGER);
        }
        assert_eq!(
            wire.offer(REBOUND, 1, 105, 620),
            Decision::Relatched { old: at(NAT) }
        );
    }

    #[test]
    fn ipv6_and_mapped_ipv4() {
        let mut wire = Wire::new(Some("[2001:db8::1]:4000"));
        assert_eq!(
            wire.offer("192.0.2.9:6000", 1, 1, 0),
            Decision::Latched,
            "the other family than signalled"
        );
        assert_eq!(wire.offer("[::ffff:192.0.2.9]:6000", 1, 2, 20), Decision::Accept);
        wire.goes_to("192.0.2.9:6000");
        let mut wire = Wire::new(None);
        assert_eq!(wire.offer("[2001:db8::1]:4000", 1, 1, 0), Decision::Latched);
        assert_eq!(wire.offer("[2001:db8::2]:4000", 1, 2, 20), STRANGER);
        wire.goes_to("[2001:db8::1]:4000");
    }

    #[test]
    fn signalling_again_unlatches_only_for_another_address() {
        let mut wire = Wire::new(Some(PHONE));
        wire.offer(NAT, 1, 1, 0);
        let known = wire.latch.known;
        wire.latch.signal(Some(at(PHONE)), known);
        wire.goes_to(NAT);
        wire.latch.signal(Some(at("10.0.0.5:5000")), known);
        wire.goes_to("10.0.0.5:5000");
        assert_eq!(wire.offer(REBOUND, 7, 900, 100), Decision::Latched);
    }

    #[test]
    fn a_new_ssrc_from_the_latched_source_is_its_own_business() {
        let mut wire = Wire::new(None);
        wire.offer(NAT, 1, 100, 0);
        assert_eq!(wire.offer(NAT, 2, 40_000, 20), Decision::Accept);
        for sequence in 40_001..40_005 {
            wire.offer(REBOUND, 2, sequence, 600);
        }
        assert_eq!(
            wire.offer(REBOUND, 2, 40_005, 600),
            Decision::Relatched { old: at(NAT) }
        );
    }

    #[test]
    fn rtcp_follows_the_latched_host() {
        let mut wire = Wire::new(Some(PHONE));
        assert_eq!(wire.latch.rtcp_destination(), Some(at("10.0.0.5:4001")));
        wire.latch.signal_rtcp(Some(at("10.0.0.5:4009")));
        assert_eq!(wire.latch.rtcp_destination(), Some(at("10.0.0.5:4009")));
        assert!(wire.latch.offer_rtcp(at("10.0.0.5:4009"), Some(Ssrc(1))));
        assert!(!wire.latch.offer_rtcp(at("203.0.113.9:4009"), Some(Ssrc(1))));
        wire.offer(NAT, 1, 1, 0);
        assert_eq!(wire.latch.rtcp_destination(), Some(at("198.51.100.7:31001")));
        assert!(wire.latch.offer_rtcp(at("198.51.100.7:31005"), Some(Ssrc(2))));
        assert_eq!(
            wire.latch.rtcp_destination(),
            Some(at("198.51.100.7:31001")),
            "not the stream's SSRC"
        );
        assert!(wire.latch.offer_rtcp(at("198.51.100.7:31005"), Some(Ssrc(1))));
        assert_eq!(wire.latch.rtcp_destination(), Some(at("198.51.100.7:31005")));
        assert!(!wire.latch.offer_rtcp(at("203.0.113.9:31005"), Some(Ssrc(1))));
    }
}
