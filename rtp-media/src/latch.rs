//! Symmetric RTP (signatures; bodies follow).
use crate::rtp::RtpPacket;
use crate::units::{PayloadType, Ssrc};
use std::net::SocketAddr;
use std::time::Instant;

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
    /// The first valid packet: its source is latched.
    Latched,
    /// Another source took over the stream.
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
    /// Source address that cannot be answered: multicast, unspecified, port 0.
    Address,
    /// Not the latched source.
    Stranger,
}

/// Decides whose packets are believed and where ours go.
#[derive(Debug)]
pub struct Latch {
    signalled: Option<SocketAddr>,
    known: PayloadTypes,
}
impl Latch {
    /// A latch that sends to the signalled address until a packet came.
    #[must_use]
    pub fn new(signalled: Option<SocketAddr>, known: PayloadTypes) -> Self {
        Self { signalled, known }
    }
    /// Judges a received RTP packet.
    pub fn offer(&mut self, _from: SocketAddr, packet: &RtpPacket<'_>, _now: Instant) -> Decision {
        if self.known.contains(packet.payload_type()) {
            Decision::Accept
        } else {
            Decision::Refuse(Refusal::PayloadType)
        }
    }
    /// Judges a received RTCP datagram by its source and its sender SSRC (before the first RTP packet: by the signalled address alone).
    pub fn offer_rtcp(&mut self, _from: SocketAddr, _sender: Option<Ssrc>) -> bool {
        true
    }
    /// Where RTP goes: the latched source, else the signalled address.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        self.signalled
    }
    /// Where RTCP goes when it is not muxed: where valid RTCP came from, else what was signalled with [`signal_rtcp`](Self::signal_rtcp).
    #[must_use]
    pub fn rtcp_destination(&self) -> Option<SocketAddr> {
        None
    }
    /// A re-INVITE negotiated again: unlatches when the address is another one than before.
    pub fn signal(&mut self, signalled: Option<SocketAddr>, known: PayloadTypes) {
        self.signalled = signalled;
        self.known = known;
    }
    /// The RTCP address from SDP.
    pub fn signal_rtcp(&mut self, _signalled: Option<SocketAddr>) {}
}
