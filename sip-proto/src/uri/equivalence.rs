//! When two URIs are the same (RFC 3261 §19.1.4).
//!
//! In short: the user part is compared with case, everything else without; escapes of characters
//! that need none make no difference; an absent port is not the default port; `user`, `ttl`,
//! `method`, `maddr` (and `transport`) must stand in both or in none, other parameters must agree
//! only where both have them; header fields must all be in both.

use super::{Scheme, Uri, scan};

/// Parameters that count even when only one side has them.
const ALWAYS_COMPARED: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

pub(super) fn equivalent(a: &Uri, b: &Uri) -> bool {
    if a.scheme != b.scheme {
        return false;
    }
    match a.scheme {
        Scheme::Sip | Scheme::Sips => {
            same_bytes(a.user.as_deref(), b.user.as_deref())
                && same_bytes(a.password.as_deref(), b.password.as_deref())
                && a.host == b.host
                && a.port == b.port
                && same_params(a, b)
                && same_headers(a, b)
        }
        Scheme::Tel => number(a) == number(b) && same_params(a, b),
        Scheme::Other(_) => a.user == b.user,
    }
}

fn same_bytes(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => normal(a, b"") == normal(b, b""),
        (None, None) => true,
        _ => false,
    }
}

/// Decodes the escapes of characters that need none, of those beyond ASCII and of `also`, and gives the others'
/// digits one case: an escaped reserved character is not the character itself.
fn normal(text: &str, also: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.extend_from_slice(before.as_bytes());
        let (digits, tail) = after.split_at_checked(2).unwrap_or((after, ""));
        let escape = format!("%{}", digits.to_ascii_uppercase());
        match scan::unescape(&escape).as_ref() {
            [byte]
                if byte.is_ascii_alphanumeric()
                    || !byte.is_ascii()
                    || b"-_.!~*'()".contains(byte)
                    || also.contains(byte) =>
            {
                out.push(*byte);
            }
            _ => out.extend_from_slice(escape.as_bytes()),
        }
        rest = tail;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// A part of a parameter. The grammar knows no bare `@` there (§25.1), so escaped and bare it is the same.
fn lower(text: &str) -> Vec<u8> {
    normal(text, b"@").to_ascii_lowercase()
}

fn same_params(a: &Uri, b: &Uri) -> bool {
    let value = |uri: &Uri, name: &str| {
        let wanted = lower(name);
        uri.params
            .iter()
            .find(|(n, _)| lower(n) == wanted)
            .map(|(_, v)| v.map(lower))
    };
    let shared_agree = a.params.iter().all(|(name, _)| {
        let theirs = value(b, name);
        theirs.is_none() || theirs == value(a, name)
    });
    shared_agree
        && ALWAYS_COMPARED
            .iter()
            .all(|name| value(a, name) == value(b, name))
}

fn same_headers(a: &Uri, b: &Uri) -> bool {
    let fields = |uri: &Uri| {
        let mut all: Vec<(String, String)> = uri
            .header_fields()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()))
            .collect();
        all.sort();
        all
    };
    fields(a) == fields(b)
}

/// RFC 3966 §4: visual separators do not count.
fn number(uri: &Uri) -> String {
    let digits = uri.user.iter().flat_map(|user| user.chars());
    digits
        .filter(|c| !"-.()".contains(*c))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::uri::Uri;

    #[test]
    fn what_printing_escapes_stays_the_same() {
        // Found by the fuzzer: a bare `@` in a parameter is printed as an escape.
        assert!(same("tel:+3;x=ip:c@d", "tel:+3;x=ip:c%40d"));
        assert!(same("sip:Zoë@h;x=ë", "sip:Zo%C3%AB@h;x=%C3%AB"));
        assert!(!same("tel:+3;x=a:b", "tel:+3;x=a%3Ab"));
    }

    fn same(a: &str, b: &str) -> bool {
        let (a, b): (Uri, Uri) = (a.parse().unwrap(), b.parse().unwrap());
        assert_eq!(a.equivalent(&b), b.equivalent(&a), "not symmetric: {a} {b}");
        a.equivalent(&b)
    }

    /// The cases of RFC 3261 §19.1.4, with addresses of our own.
    #[test]
    fn equivalent_pairs() {
        for (a, b) in [
            (
                "sip:%61nna@example.org;transport=TCP",
                "sip:anna@Example.ORG;Transport=tcp",
            ),
            ("sip:dave@example.org", "sip:dave@example.org;newparam=5"),
            (
                "sip:dave@example.org;security=on",
                "sip:dave@example.org;newparam=5",
            ),
            (
                "sip:shop.example;transport=tcp;method=REGISTER?to=sip:b%40city.example",
                "sip:shop.example;method=REGISTER;transport=tcp?to=sip:b%40city.example",
            ),
            (
                "sip:a@b.example?subject=x&priority=urgent",
                "sip:a@b.example?priority=urgent&subject=x",
            ),
            ("sip:A%2f@[2001:DB8::1]", "sip:A%2F@[2001:db8:0::1]"),
            ("tel:+1-201-555-0123", "tel:+1(201)5550123"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn different_pairs() {
        for (a, b) in [
            (
                "SIP:ANNA@example.org;Transport=udp",
                "sip:anna@example.org;Transport=UDP",
            ),
            ("sip:bert@example.org", "sip:bert@example.org:5060"),
            ("sip:bert@example.org", "sip:bert@example.org;transport=udp"),
            ("sip:bert@example.org", "sip:bert@example.org:6000;transport=tcp"),
            ("sip:dave@example.org", "sip:dave@example.org?Subject=next"),
            ("sip:bert@phone.example", "sip:bert@192.0.2.4"),
            (
                "sip:dave@example.org;security=on",
                "sip:dave@example.org;security=off",
            ),
            ("sip:a@h;maddr=1.2.3.4", "sip:a@h"),
            ("sip:a%2Fb@h", "sip:a/b@h"),
            ("sip:a@h", "sips:a@h"),
            ("sip:a:p@h", "sip:a@h"),
            ("tel:+1201", "tel:+1202"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
