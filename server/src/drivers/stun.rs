//! STUN on the SIP port: the keep-alive of RFC 5626 §4.4.2 and §8.
//!
//! A phone behind a NAT sends binding requests from its SIP socket to hold its mapping open and to notice when that
//! changes. Datagrams are told apart by their first byte: a SIP message begins with a letter or a line end, a STUN
//! message with two zero bits and the magic cookie. The answer goes from the reading task straight back, so that
//! signalling never sees it; it is at most 24 bytes longer than the request.
//!
//! Deliberately absent: authentication (RFC 5626 §8 has none), every other method, STUN for media (the shard's ports),
//! and `stun-rs`, whose forty crates come in with ICE and are not worth it for one fixed answer.

use std::net::{IpAddr, SocketAddr};

/// Bytes 4 to 7 of every STUN message (RFC 5389 §6).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Type, length, cookie, transaction.
const HEADER: usize = 20;
/// Type of a binding request, of its answer, and of an error.
const BINDING_REQUEST: [u8; 2] = [0, 1];
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
/// Attributes of ours (RFC 5389 §18.2).
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// USERNAME, MESSAGE-INTEGRITY, REALM and NONCE mean nothing here, but a client may send them.
const PASSED_OVER: [u16; 4] = [0x0006, 0x0008, 0x0014, 0x0015];
/// A binding request on the SIP port has next to no attributes; whatever is longer is not answered.
const MAX_REQUEST: usize = 256;
/// Unknown attributes that an error names.
const MAX_NAMED: usize = 8;

/// Whether a datagram is STUN and not SIP.
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xc0 == 0)
        && datagram.get(4..8) == Some(MAGIC_COOKIE.as_slice())
        && datagram.len() >= HEADER
}

/// The answer to a binding request that came from `source`; none to anything else.
pub fn answer(datagram: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    if !is_stun(datagram) || datagram.len() > MAX_REQUEST || !datagram.starts_with(&BINDING_REQUEST) {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([*datagram.get(2)?, *datagram.get(3)?]));
    let attributes = datagram.get(HEADER..)?;
    if length != attributes.len() || !length.is_multiple_of(4) {
        return None;
    }
    // Cookie and transaction together mask an IPv6 address (RFC 5389 §15.2).
    let mask = datagram.get(4..HEADER)?;
    let unknown = unknown(attributes)?;
    if unknown.is_empty() {
        return message(
            BINDING_SUCCESS,
            mask,
            &[(XOR_MAPPED_ADDRESS, masked(source, mask))],
        );
    }
    // RFC 5389 §7.3.1: an attribute that must be understood and is not.
    let error = [&[0, 0, 4, 20], b"Unknown Attribute".as_slice()].concat();
    let list: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    message(
        BINDING_ERROR,
        mask,
        &[(ERROR_CODE, error), (UNKNOWN_ATTRIBUTES, list)],
    )
}

/// Attributes below 0x8000 that we do not know; `None` when the list is cut short.
fn unknown(mut attributes: &[u8]) -> Option<Vec<u16>> {
    let mut found = Vec::new();
    while let [kind @ .., _, _] = attributes.get(..4).unwrap_or_default() {
        let kind = u16::from_be_bytes(kind.try_into().ok()?);
        let length = usize::from(u16::from_be_bytes(attributes.get(2..4)?.try_into().ok()?));
        if kind < 0x8000 && !PASSED_OVER.contains(&kind) && found.len() < MAX_NAMED {
            found.push(kind);
        }
        attributes = attributes.get(4 + length.next_multiple_of(4)..)?;
    }
    attributes.is_empty().then_some(found)
}

/// Family, port and address, the latter two combined with the mask bit by bit.
fn masked(source: SocketAddr, mask: &[u8]) -> Vec<u8> {
    // An IPv4 source on a socket for both families is told as IPv4.
    let (family, address) = match source.ip().to_canonical() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let combine = |bytes: &[u8]| -> Vec<u8> { bytes.iter().zip(mask).map(|(a, b)| a ^ b).collect() };
    [
        vec![0, family],
        combine(&source.port().to_be_bytes()),
        combine(&address),
    ]
    .concat()
}

fn message(kind: u16, cookie_and_transaction: &[u8], attributes: &[(u16, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend(u16::try_from(value.len()).ok()?.to_be_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = u16::try_from(body.len()).ok()?;
    Some(
        [
            &kind.to_be_bytes(),
            &length.to_be_bytes(),
            cookie_and_transaction,
            &body,
        ]
        .concat(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A binding request with these attributes.
    fn request(attributes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, attributes.len() as u8];
        bytes.extend(MAGIC_COOKIE);
        bytes.extend(b"transaction!");
        bytes.extend(attributes);
        bytes
    }

    #[test]
    fn the_source_comes_back_masked() {
        let bytes = answer(&request(&[]), "192.0.2.33:5070".parse().unwrap()).unwrap();
        assert_eq!(bytes[..4], [1, 1, 0, 12]);
        assert_eq!(bytes[4..20], request(&[])[4..20]);
        // RFC 5389 §15.2: port and address are combined with the cookie bit by bit.
        assert_eq!(bytes[20..26], [0, 0x20, 0, 8, 0, 1]);
        let port = u16::from_be_bytes([bytes[26], bytes[27]]) ^ 0x2112;
        assert_eq!(port, 5070);
        let ip: Vec<u8> = bytes[28..].iter().zip(MAGIC_COOKIE).map(|(a, b)| a ^ b).collect();
        assert_eq!(ip, [192, 0, 2, 33]);
        let six = answer(&request(&[]), "[2001:db8::7]:5060".parse().unwrap()).unwrap();
        assert_eq!((six.len(), six[25]), (44, 2));
        let mapped = answer(&request(&[]), "[::ffff:192.0.2.33]:5070".parse().unwrap()).unwrap();
        assert_eq!(mapped, bytes);
    }

    #[test]
    fn an_unknown_attribute_that_must_be_understood_is_named() {
        let source = "192.0.2.33:5070".parse().unwrap();
        let bytes = answer(&request(&[0x7f, 0x01, 0, 0]), source).unwrap();
        assert_eq!(bytes[..2], [1, 0x11]);
        assert_eq!(bytes[20..28], [0, 9, 0, 21, 0, 0, 4, 20]);
        assert!(bytes.windows(6).any(|six| six == [0, 0x0a, 0, 2, 0x7f, 0x01]));
        // One that need not be is passed over.
        assert_eq!(
            answer(&request(&[0xff, 0x01, 0, 0]), source).unwrap()[..2],
            [1, 1]
        );
    }

    #[test]
    fn everything_else_is_left_alone() {
        let source = "192.0.2.33:5070".parse().unwrap();
        assert!(!is_stun(b"OPTIONS sip:a SIP/2.0\r\n"));
        assert!(!is_stun(b"\r\n\r\n") && !is_stun(b""));
        let good = request(&[]);
        for at in [0, 1, 3, 4, 7] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(answer(&bad, source), None, "byte {at}");
        }
        // Indications and responses are not answered, nor what is cut short or padded out.
        for class in [[0, 0x11], [1, 1], [1, 0x11]] {
            let mut other = good.clone();
            other[..2].copy_from_slice(&class);
            assert_eq!(answer(&other, source), None);
        }
        assert_eq!(answer(&good[..19], source), None);
        assert_eq!(answer(&request(&[0; 4])[..22], source), None);
        assert_eq!(answer(&[good, vec![0; 300]].concat(), source), None);
    }
}
