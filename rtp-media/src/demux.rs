//! Telling apart the protocols that share one UDP port (RFC 7983, and RFC 5761 for RTCP).
//!
//! Only the first two bytes are looked at. Deliberately absent: any validation of what follows; that is each
//! parser's own business.

/// What a datagram claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketClass {
    /// STUN, first byte 0–3.
    Stun,
    /// ZRTP, first byte 16–19.
    Zrtp,
    /// DTLS, first byte 20–63.
    Dtls,
    /// TURN channel data, first byte 64–79.
    TurnChannel,
    /// RTP, or SRTP.
    Rtp,
    /// RTCP, or SRTCP.
    Rtcp,
    /// Nothing we know, or empty.
    Other,
}

/// The class of a datagram by its first bytes.
#[must_use]
pub const fn classify(datagram: &[u8]) -> PacketClass {
    match datagram {
        [0..=3, ..] => PacketClass::Stun,
        [16..=19, ..] => PacketClass::Zrtp,
        [20..=63, ..] => PacketClass::Dtls,
        [64..=79, ..] => PacketClass::TurnChannel,
        // RFC 5761 §4: RTCP packet types 192–223 are RTP payload types 64–95 with the marker set, which an RTP
        // session that shares its port with RTCP does not use.
        [128..=191, 192..=223, ..] => PacketClass::Rtcp,
        [128..=191, ..] => PacketClass::Rtp,
        _ => PacketClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_byte_ranges_have_the_borders_of_rfc_7983() {
        let class = |first: u8| classify(&[first, 0]);
        for (range, expected) in [
            (0..=3_u8, PacketClass::Stun),
            (4..=15, PacketClass::Other),
            (16..=19, PacketClass::Zrtp),
            (20..=63, PacketClass::Dtls),
            (64..=79, PacketClass::TurnChannel),
            (80..=127, PacketClass::Other),
            (128..=191, PacketClass::Rtp),
            (192..=255, PacketClass::Other),
        ] {
            for first in range {
                assert_eq!(class(first), expected, "first byte {first}");
            }
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_the_second_byte() {
        assert_eq!(classify(&[0x80, 200]), PacketClass::Rtcp);
        assert_eq!(classify(&[0x81, 192]), PacketClass::Rtcp);
        assert_eq!(classify(&[0x80, 223]), PacketClass::Rtcp);
        assert_eq!(classify(&[0x80, 191]), PacketClass::Rtp);
        assert_eq!(classify(&[0x80, 224]), PacketClass::Rtp);
        assert_eq!(classify(&[0x80, 96]), PacketClass::Rtp);
    }

    #[test]
    fn short_datagrams_are_nothing_special() {
        assert_eq!(classify(&[]), PacketClass::Other);
        assert_eq!(classify(&[0x80]), PacketClass::Rtp);
    }
}
