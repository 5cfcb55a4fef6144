//! What a datagram is, seen without parsing it: SIP with its Call-ID, a keep-alive, STUN, or garbage.
//!
//! It must be cheap, for it is done for every datagram of a flood, and it must not refuse what the parser would
//! answer: a request with a fault has a start line too. Deliberately absent: any judgement of the message.

use super::limits::PEEK;

/// What a datagram looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look<'a> {
    /// A SIP message, or what means to be one.
    Sip {
        /// Its first Call-ID, if one stands where it can be expected.
        call_id: Option<&'a [u8]>,
    },
    /// Line ends or zeros, which keep a NAT's binding open (RFC 5626 §3.5 and older habits).
    KeepAlive,
    /// STUN by its first bits and its cookie (RFC 7983 §7, RFC 8489 §5).
    Stun,
    /// Nothing of ours.
    Garbage,
}

/// Looks at a datagram.
pub fn look(bytes: &[u8]) -> Look<'_> {
    let empty = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
    if bytes.len() <= 8 && bytes.iter().all(empty) {
        return Look::KeepAlive;
    }
    if let [0 | 1, _, _, _, 0x21, 0x12, 0xa4, 0x42, ..] = bytes {
        return Look::Stun;
    }
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let text = bytes.get(start.unwrap_or(bytes.len())..).unwrap_or_default();
    let text = text.get(..PEEK).unwrap_or(text);
    let mut lines = text.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let is_word = first
        .first()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte));
    if !is_word || !first.windows(4).any(|four| four.eq_ignore_ascii_case(b"SIP/")) {
        return Look::Garbage;
    }
    Look::Sip {
        call_id: call_id(lines),
    }
}

fn call_id<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    while let Some(line) = lines.next() {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let colon = line.iter().take(16).position(|byte| *byte == b':');
        let Some((name, value)) = colon.and_then(|colon| line.split_at_checked(colon)) else {
            continue;
        };
        let name = name.trim_ascii_end();
        if name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i") {
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            if !value.is_empty() {
                return Some(value);
            }
            // Folded onto the next line (RFC 3261 §7.3.1).
            let next = lines
                .next()
                .filter(|line| line.starts_with(b" ") || line.starts_with(b"\t"))?;
            return Some(next.trim_ascii()).filter(|value| !value.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sip(call_id: &[u8]) -> Look<'_> {
        Look::Sip {
            call_id: Some(call_id),
        }
    }

    #[test]
    fn messages_and_their_call_ids() {
        let long = format!(
            "BYE sip:a@b SIP/2.0\r\nX: {}\r\nCall-ID: x\r\n\r\n",
            "y".repeat(PEEK)
        );
        for (text, look_like) in [
            (
                "BYE sip:a@b SIP/2.0\r\nVia: x\r\nCall-ID: 1@h\r\n\r\n",
                sip(b"1@h"),
            ),
            (
                "\r\n\r\nBYE sip:a@b SIP/2.0\r\ncall-id \t:  2 \r\n\r\n",
                sip(b"2"),
            ),
            ("SIP/2.0 200 OK\r\ni:3\r\n\r\n", sip(b"3")),
            ("SIP/2.0 200 OK\nCALL-ID: 4\nI: 5\n\n", sip(b"4")),
            ("OPTIONS sip:a SIP/7.0\r\nCall-ID:\r\n  6\r\n\r\n", sip(b"6")),
            (
                "BYE sip:a@b SIP/2.0\r\n\r\nCall-ID: body\r\n",
                Look::Sip { call_id: None },
            ),
            ("BYE sip:a@b SIP/2.0", Look::Sip { call_id: None }),
            (&long, Look::Sip { call_id: None }),
        ] {
            assert_eq!(look(text.as_bytes()), look_like, "{text}");
        }
    }

    #[test]
    fn everything_else() {
        for alive in ["", "\r\n", "\r\n\r\n", "\0\0\0\0", "\0"] {
            assert_eq!(look(alive.as_bytes()), Look::KeepAlive, "{alive:?}");
        }
        let stun = [
            0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
        ];
        assert_eq!(look(&stun), Look::Stun);
        for garbage in [
            "\r\n\r\n\r\n\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "\u{1}\u{2}SIP/2.0",
            "hello",
        ] {
            assert_eq!(look(garbage.as_bytes()), Look::Garbage, "{garbage:?}");
        }
        assert_eq!(
            look(&[0x80, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            Look::Garbage,
            "RTP"
        );
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut state = 7_u64;
        for length in 0..2_000 {
            let bytes: Vec<u8> = (0..length % 97)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) as u8
                })
                .collect();
            look(&bytes);
            look(&[b"BYE sip:a SIP/2.0\r\n".as_slice(), &bytes].concat());
        }
    }
}
