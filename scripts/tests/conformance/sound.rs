//! Unusual messages that must be understood: RFC 4475 §3.1.1 and RFC 5118.

use crate::case::{Case, Stream};
use crate::draft::{Draft, OFFER};

/// Any answer to a call that was understood: taken, no such room, no such media address.
const CALL: &[u16] = &[200, 404, 488];

/// RFC 4475 §3.1.1.
pub const VALID: &[Case] = &[
    Case::sound(
        "4475 3.1.1.1",
        "rfc4475/wsinv.dat",
        "folding, compact names and white space wherever the grammar has room for it",
        &[481],
        folded,
    ),
    Case::sound(
        "4475 3.1.1.2",
        "rfc4475/intmeth.dat",
        "every character that a token, a user part and a display name may hold",
        &[501, 405],
        || {
            Draft::request(
                "chars",
                "x-Z.9!%*_+`'~",
                "sip:%61b:&$,;x=1/?@h-1.meet.example;p-1=%20;lr",
            )
            .set(
                "From",
                "\"tab\t \\\" \\\\ ü\" <sip:c*(1)!~@meet.example>;tag=!%*_+`'~.-",
            )
            .bytes()
        },
    ),
    Case::sound(
        "4475 3.1.1.3",
        "rfc4475/esc01.dat",
        "a user part that is a whole URI, escaped",
        CALL,
        || Draft::request("escape", "INVITE", "sip:sip%3Aa%40b.example@meet.example").bytes(),
    ),
    Case::sound(
        "4475 3.1.1.4",
        "rfc4475/escnull.dat",
        "an escaped NUL in an address of record",
        &[200],
        || {
            Draft::request("nul", "REGISTER", "sip:meet.example")
                .set("To", "<sip:a%00b@meet.example>")
                .set("From", "<sip:a%00b@meet.example>;tag=fnul")
                .line("Contact", "<sip:%00@127.0.0.1:5999>")
                .bytes()
        },
    ),
    Case::sound(
        "4475 3.1.1.5",
        "rfc4475/esc02.dat",
        "a percent sign in a method is no escape",
        &[501],
        || Draft::request("percent", "%4FPTIONS", "sip:meet.example").bytes(),
    ),
    Case::sound(
        "4475 3.1.1.6",
        "rfc4475/lwsdisp.dat",
        "no white space between display name and <",
        &[200],
        || {
            Draft::request("tight", "OPTIONS", "sip:meet.example")
                .set("From", "Caller<sip:caller@meet.example>;tag=ftight")
                .bytes()
        },
    ),
    Case::sound(
        "4475 3.1.1.7",
        "rfc4475/longreq.dat",
        "very long values and many Via",
        CALL,
        long_values,
    ),
    Case::sound(
        "4475 3.1.1.8",
        "rfc4475/dblreq.dat",
        "a second request behind the first in one datagram",
        &[200],
        || {
            let second = Draft::request("behind", "OPTIONS", "sip:meet.example").bytes();
            Draft::request("before", "OPTIONS", "sip:meet.example")
                .trailer(&[b"\r\n", second.as_slice()].concat())
                .bytes()
        },
    )
    .on_streams(Stream::Two),
    Case::sound(
        "4475 3.1.1.9",
        "rfc4475/semiuri.dat",
        "a semicolon in the user part",
        &[200, 404],
        || Draft::request("semi", "OPTIONS", "sip:a;b=c%3Dd@meet.example").bytes(),
    ),
    Case::sound(
        "4475 3.1.1.10",
        "rfc4475/transports.dat",
        "Via with transports of every kind, unknown ones too",
        &[200],
        || {
            Draft::request("kinds", "OPTIONS", "sip:meet.example")
                .line("Via", "SIP/2.0/SCTP a.example;branch=z9hG4bK1")
                .line(
                    "Via",
                    "SIP/2.0/TLS b.example;branch=z9hG4bK2, SIP/2.0/X-NEW c.example;branch=z9hG4bK3",
                )
                .bytes()
        },
    ),
    Case::sound(
        "4475 3.1.1.11",
        "rfc4475/mpart01.dat",
        "a multipart body with binary parts",
        &[405],
        || {
            Draft::request("parts", "MESSAGE", "sip:called@meet.example")
                .line("Content-Type", "multipart/mixed; boundary=\"=cut=\"")
                .body(b"--=cut=\r\nContent-Type: text/plain\r\n\r\nhello\r\n--=cut=\r\nContent-Type: application/x\r\n\r\n\0\x01\xff\r\n\r\n--=cut\r\n--=cut=--\r\n")
                .bytes()
        },
    ),
    Case::sound(
        "4475 3.1.1.12",
        "rfc4475/unreason.dat",
        "a response whose reason phrase is UTF-8 outside ASCII",
        &[],
        || Draft::response("phrase", "200 こんにちは: ÄÖ").bytes(),
    ),
    Case::sound(
        "4475 3.1.1.13",
        "rfc4475/noreason.dat",
        "a response with an empty reason phrase",
        &[],
        || Draft::response("mute", "200 ").bytes(),
    ),
];

/// RFC 5118.
pub const IPV6: &[Case] = &[
    Case::sound(
        "5118 4.1",
        "rfc5118-wire/ipv6-good.dat",
        "an IPv6 reference in the request URI",
        &[200],
        || six("six", "sip:[2001:db8::77]").bytes(),
    ),
    Case::broken(
        "5118 4.2",
        "rfc5118-wire/ipv6-bad.dat",
        "an IPv6 address without brackets",
        &[400],
        || six("bare", "sip:2001:db8::77").bytes(),
    ),
    Case::sound(
        "5118 4.3",
        "rfc5118-wire/port-ambiguous.dat",
        "what looks like a port is the end of the address",
        &[200],
        || six("inside", "sip:[2001:db8::77:5072]").bytes(),
    ),
    Case::sound(
        "5118 4.4",
        "rfc5118-wire/port-unambiguous.dat",
        "a port behind the bracket",
        &[200],
        || six("outside", "sip:[2001:db8::77]:5072").bytes(),
    ),
    Case::sound(
        "5118 4.5",
        "rfc5118-wire/via-received-param-with-delim.dat",
        "received with brackets",
        &[481],
        || {
            Draft::request("delim", "BYE", "sip:[2001:db8::78]")
                .set(
                    "Via",
                    "SIP/2.0/UDP [2001:db8::78];received=[2001:db8::79];branch=z9hG4bKdelim",
                )
                .set("To", "<sip:called@meet.example>;tag=other")
                .bytes()
        },
    ),
    Case::sound(
        "5118 4.5",
        "rfc5118-wire/via-received-param-no-delim.dat",
        "received without brackets",
        &[200],
        || {
            Draft::request("nodelim", "OPTIONS", "sip:[2001:db8::78]")
                .set(
                    "Via",
                    "SIP/2.0/UDP [2001:db8::78];received=2001:db8::79;branch=z9hG4bKnodelim",
                )
                .bytes()
        },
    ),
    Case::sound(
        "5118 4.6",
        "rfc5118-wire/ipv6-in-sdp.dat",
        "IPv6 in the description",
        CALL,
        || {
            Draft::request("sdp6", "INVITE", "sip:sixes@meet.example")
                .body(OFFER.replace("IP4 127.0.0.1", "IP6 2001:db8::78").as_bytes())
                .bytes()
        },
    ),
    Case::sound(
        "5118 4.7",
        "rfc5118-wire/mult-ip-in-header.dat",
        "IPv4 and IPv6 side by side in headers",
        &[481],
        || {
            Draft::request("both", "BYE", "sip:called@meet.example")
                .set("Via", "SIP/2.0/UDP [2001:db8::78]:6050;branch=z9hG4bKboth")
                .line(
                    "Via",
                    "SIP/2.0/UDP 192.0.2.4:5062;branch=z9hG4bKfour;received=192.0.2.5",
                )
                .set("To", "<sip:called@meet.example>;tag=other")
                .bytes()
        },
    ),
    Case::sound(
        "5118 4.8",
        "rfc5118-wire/mult-ip-in-sdp.dat",
        "IPv4 and IPv6 side by side in the description",
        CALL,
        || {
            let more = "m=video 6022 RTP/AVP 31\r\nc=IN IP6 2001:db8::78\r\n";
            Draft::request("bothsdp", "INVITE", "sip:pairs@meet.example")
                .body(format!("{OFFER}{more}").as_bytes())
                .bytes()
        },
    ),
    Case::sound(
        "5118 4.9",
        "rfc5118-wire/ipv4-mapped-ipv6.dat",
        "IPv4-mapped IPv6 addresses",
        CALL,
        || {
            Draft::request("mapped", "INVITE", "sip:maps@meet.example")
                .set("Via", "SIP/2.0/UDP [::ffff:192.0.2.9]:19822;branch=z9hG4bKmapped")
                .set("Contact", "<sip:caller@[::ffff:192.0.2.9]:19822>")
                .body(OFFER.replace("IP4 127.0.0.1", "IP6 ::ffff:192.0.2.9").as_bytes())
                .bytes()
        },
    ),
    Case::sound(
        "5118 4.10",
        "rfc5118-wire/ipv6-bug-abnf-3-colons.dat",
        "three colons, which the old grammar allowed",
        &[200, 400],
        || Draft::request("three", "OPTIONS", "sip:called@[2001:db8:::192.0.2.9]").bytes(),
    ),
    Case::sound(
        "5118 4.10",
        "rfc5118-wire/ipv6-correct-abnf-2-colons.dat",
        "an embedded IPv4 address behind two colons",
        &[200],
        || Draft::request("two", "OPTIONS", "sip:called@[2001:db8::192.0.2.9]").bytes(),
    ),
];

fn six(name: &str, uri: &str) -> Draft {
    Draft::request(name, "REGISTER", uri)
        .line("Contact", "\"six\" <sip:called@[2001:db8::78]>")
        .line("Expires", "60")
}

fn folded() -> Vec<u8> {
    Draft::request("fold", "INVITE", "sip:called@meet.example;x")
        .rename("Via", "v  ")
        .set("v  ", " SIP /\r\n 2.0/ UDP\r\n\tfold.meet.example ; branch\r\n = z9hG4bKfold ,\r\n SIP / 2.0/TCP b.example;branch=z9hG4bKfold2")
        .rename("To", "T")
        .set("T", "\r\n  \"c \\\" d\"\r\n\t<sip:called@meet.example>\r\n ; tag = other")
        .rename("From", "fRoM  ")
        .rename("Max-Forwards", "MAX-FORWARDS\t")
        .set("MAX-FORWARDS\t", "\r\n 0042")
        .rename("Call-ID", "i")
        .set("CSeq", "00011\r\n\tINVITE")
        .rename("Content-Length", "l ")
        .line("Subject", "")
        .line("X-Odd", ",,; ;=\r\n ;")
        .bytes()
}

fn long_values() -> Vec<u8> {
    let long = |n: usize| "long".repeat(n);
    let mut draft = Draft::request("long", "INVITE", &format!("sip:called@{}.meet.example", long(12)))
        .set(
            "From",
            &format!("{} <sip:{}@meet.example>;tag={}", long(60), long(60), long(40)),
        )
        .set(
            "To",
            &format!(
                "\"{}\" <sip:called@meet.example;{}={}>",
                long(60),
                long(20),
                long(60)
            ),
        )
        .set("Call-ID", &format!("{}@meet.example", long(60)))
        .line(&format!("X-{}", long(30)), &long(300));
    for n in 0..40 {
        draft = draft.line(
            "Via",
            &format!("SIP/2.0/UDP {}{n}.example;branch=z9hG4bK{n}", long(8)),
        );
    }
    draft.bytes()
}
