//! Messages that break careless parsers: the kinds of RFC 4475 and RFC 5118 in messages of our own,
//! and the RFCs' own where `MEET_CORPORA` names the corpora.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use sip_proto::error::{HeaderFault, ParseError, ParseErrorKind, SyntaxError};
use sip_proto::message::{HeaderName, Message, Method, Request, parse};
use sip_proto::uri::{Host, Scheme};

/// A sound request whose lines the cases exchange.
const BASE: [&str; 9] = [
    "OPTIONS sip:bob@b.example SIP/2.0",
    "Via: SIP/2.0/UDP a.example;branch=z9hG4bK77",
    "Max-Forwards: 70",
    "From: <sip:ann@a.example>;tag=88",
    "To: <sip:bob@b.example>",
    "Call-ID: c1@a.example",
    "CSeq: 7 OPTIONS",
    "Contact: <sip:ann@192.0.2.7>",
    "Content-Length: 0",
];

/// The base with every line that begins as `from` does exchanged for `to` (left out when empty).
fn with(changes: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for line in BASE {
        let line = changes
            .iter()
            .find(|(from, _)| line.starts_with(from))
            .map_or(line, |(_, to)| to);
        if !line.is_empty() {
            text.push_str(line);
            text.push_str("\r\n");
        }
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn request(bytes: &[u8]) -> Request {
    match parse(bytes) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?} for\n{}", String::from_utf8_lossy(bytes)),
    }
}

fn refused(bytes: &[u8]) -> ParseError {
    match parse(bytes) {
        Err(error) => error,
        Ok(message) => panic!("accepted {message:?}"),
    }
}

#[test]
fn white_space_folds_and_compact_forms() {
    let text = concat!(
        "\r\n\r\nINVITE sip:bob@b.example;odd SIP/2.0\r\n",
        "t :\r\n sip:bob@b.example ;   tag    = 19x\r\n",
        "f   : \"A \\\\\\\" B\"       <sip:ann@a.example>\r\n  ;\r\n\ttag = 98y\r\n",
        "mAX-forwards: 0068\r\n",
        "I: ws@192.0.2.1\r\n",
        "L   : 4\r\n",
        "cseq: 0009\r\n  INVITE\r\n",
        "Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390s\r\n",
        "s :\r\n",
        "Odd-Header: ;;,,;;,;\r\n",
        "New:   folded value\r\n continued folded value\r\n",
        "v:  SIP  / 2.0  / TCP     s.example   ;\r\n  branch  =   z9hG4bK9i  ,\r\n",
        " SIP  /    2.0   / UDP  192.168.255.1   ; branch=\r\n z9hG4bK30\r\n",
        "m:\"Q \\\"\\\"\" <sip:ann@a.example> ; newparam =\r\n      newvalue ;\r\n  q = 0.33\r\n\r\n",
        "bodycut off here",
    );
    let request = request(text.as_bytes());
    assert_eq!(request.method, Method::Invite);
    assert_eq!(request.headers.to_tag().unwrap().as_str(), "19x");
    assert_eq!(request.headers.from_tag().unwrap().as_str(), "98y");
    assert_eq!(
        request.headers.from().unwrap().display.as_deref(),
        Some("A \\\" B")
    );
    assert_eq!(request.headers.max_forwards(), Ok(Some(68)));
    let vias = request.headers.vias().unwrap();
    let branches: Vec<_> = vias.iter().map(|via| via.branch().unwrap().to_string()).collect();
    assert_eq!(branches, ["390s", "z9hG4bK9i", "z9hG4bK30"]);
    assert_eq!(request.headers.get(&HeaderName::Subject), Some(""));
    assert_eq!(
        request.headers.get(&HeaderName::parse("new")),
        Some("folded value continued folded value")
    );
    assert_eq!(
        request.headers.get(&HeaderName::parse("odd-header")),
        Some(";;,,;;,;")
    );
    let contacts = request.headers.contacts().unwrap();
    assert_eq!(contacts.first().unwrap().params.get("newparam"), Some("newvalue"));
    assert_eq!(request.body, b"body");
}

#[test]
fn unusual_but_legal_requests() {
    let odd = request(&with(&[
        (
            "OPTIONS",
            "!odd-Method0_*+`.%indeed'~ sip:1_u.URI~(x)&a+it$/c?,/;;*:&p=1,w!*pas$wo~d.(x)@b.example SIP/2.0",
        ),
        ("CSeq", "CSeq: 139122385 !odd-Method0_*+`.%indeed'~"),
        ("Max", "Max-Forwards: 255"),
        ("Call-ID", "Call-ID: w%ZK-!.*_+'@w`~)(><:\\/\"][?}{"),
        (
            "To",
            "To: \"B:\\\u{7} N:\\\u{0} D:\\\u{7f}\" <sip:1_u;;*@b.example>",
        ),
    ]));
    assert_eq!(odd.method, Method::Other("!odd-Method0_*+`.%indeed'~".into()));
    assert_eq!(
        odd.headers.to().unwrap().display.as_deref(),
        Some("B:\u{7} N:\u{0} D:\u{7f}")
    );
    assert_eq!(parse(&odd.to_bytes()), Ok(Message::Request(odd)));

    let escaped = request(&with(&[(
        "OPTIONS",
        "OPTIONS sip:sips%3Auser%40a.example@b.example SIP/2.0",
    )]));
    assert_eq!(escaped.uri.user_decoded().as_deref(), Some("sips:user@a.example"));
    let null = request(&with(&[("To", "To: sip:null-%00-null@b.example")]));
    assert_eq!(
        null.headers.to().unwrap().uri.user_decoded().as_deref(),
        Some("null-\0-null")
    );
    let not_register = request(&with(&[
        ("OPTIONS", "RE%47ISTER sip:b SIP/2.0"),
        ("CSeq", "CSeq: 1 RE%47ISTER"),
    ]));
    assert_eq!(not_register.method, Method::Other("RE%47ISTER".into()));
    let semi = request(&with(&[(
        "OPTIONS",
        "OPTIONS sip:user;par=u%40c.example@b.example SIP/2.0",
    )]));
    assert_eq!(semi.uri.user.as_deref(), Some("user;par=u%40c.example"));
    assert_eq!(semi.uri.host, Host::Name("b.example".into()));
    let tight = request(&with(&[("From", "From: caller<sip:caller@a.example>;tag=323")]));
    assert_eq!(tight.headers.from().unwrap().display.as_deref(), Some("caller"));

    for (scheme, uri) in [
        ("nobody", "nobody:opaque"),
        ("soap.beep", "soap.beep://192.0.2.103:3002"),
        ("tel", "tel:+1-2"),
    ] {
        let foreign = request(&with(&[("OPTIONS", &format!("OPTIONS {uri} SIP/2.0"))]));
        assert_eq!(foreign.uri.scheme.as_str(), scheme);
        assert_ne!(foreign.uri.scheme, Scheme::Sip);
    }
}

#[test]
fn long_values_and_many_vias() {
    let long = "x".repeat(2000);
    let vias: Vec<_> = (0..60)
        .map(|n| format!("v: SIP/2.0/TCP s{n}.example;branch=z9hG4bK{n}"))
        .collect();
    let request = request(&with(&[
        ("Via", &vias.join("\r\n")),
        ("To", &format!("To: \"{long}\" <sip:{long}@b.example;p={long}>")),
    ]));
    assert_eq!(request.headers.vias().unwrap().len(), 60);
    assert_eq!(
        request.headers.to().unwrap().uri.params.get("p").unwrap().len(),
        2000
    );
}

#[test]
fn bodies_are_cut_by_content_length() {
    let mut two = with(&[]);
    two.extend_from_slice(b"\r\nINVITE sip:joe@b.example SIP/2.0\r\n\r\n");
    assert!(request(&two).body.is_empty());
    let mut rest = with(&[("Content-Length", "")]);
    rest.extend_from_slice(b"\0\xff\r\n\r\nrest");
    assert_eq!(request(&rest).body, b"\0\xff\r\n\r\nrest");
    for (length, kind) in [
        ("5", ParseErrorKind::BodyTooShort),
        ("99999", ParseErrorKind::TooLarge),
        ("99999999999999999999999", ParseErrorKind::TooLarge),
    ] {
        let error = refused(&with(&[("Content-Length", &format!("l: {length}"))]));
        assert_eq!(error.kind, kind);
        assert!(error.salvage.is_some());
    }
}

#[test]
fn old_clients_may_leave_out_what_rfc_2543_did() {
    let old = request(&with(&[
        ("Via", "Via: SIP/2.0/UDP a.example"),
        ("Max", ""),
        ("Content-Length", ""),
    ]));
    assert_eq!(old.headers.top_via().unwrap().branch(), None);
    assert_eq!(old.headers.max_forwards(), Ok(None));
    let bare = request(&with(&[("Via", "Via: SIP/2.0/UDP a.example;branch=z9hG4bK")]));
    assert!(!bare.headers.top_via().unwrap().branch().unwrap().is_rfc3261());
}

#[test]
fn broken_requests_are_refused_and_can_be_answered() {
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("Via", "Via: SIP/2.0/UDP 192.0.2.15;;,;,,")], 400),
        (&[("Via", "Via:")], 400),
        (&[("Via", "Via: ,")], 400),
        (&[("Contact", "Contact: \"Joe\" <sip:joe@a.example>;;;;")], 400),
        (
            &[("Contact", "Contact: sip:a@a.example?Route=%3Csip:b.example%3E")],
            400,
        ),
        (&[("Content-Length", "Content-Length: -999")], 400),
        (
            &[("Content-Length", "Content-Length: 13\r\nContent-Length: 5")],
            400,
        ),
        (&[("CSeq", "CSeq: 36893488147419103232 OPTIONS")], 400),
        (&[("CSeq", "CSeq: 2147483648 OPTIONS")], 400),
        (&[("CSeq", "CSeq: 7 INVITE")], 400),
        (&[("CSeq", "CSeq: 7 options")], 400),
        (&[("CSeq", "CSeq: 7 OPTIONS\r\nCSeq: 8 OPTIONS")], 400),
        (&[("CSeq", "")], 400),
        (&[("Max", "Max-Forwards: 300")], 400),
        (&[("Max", "Max-Forwards: x")], 400),
        (&[("Max", "Max-Forwards: 70\r\nMax-Forwards: 5")], 400),
        (&[("To", "To: \"Mr. J. User <sip:j.user@b.example>")], 400),
        (&[("To", "To: <sip:a@b.example>\r\nt: <sip:b@b.example>")], 400),
        (&[("To", "")], 400),
        (&[("From", "From: Bell, Alexander <sip:a@a.example>;tag=43")], 400),
        (
            &[(
                "From",
                "From: <sip:a@a.example>;tag=1\r\nFrom: <sip:b@a.example>;tag=2",
            )],
            400,
        ),
        (&[("From", ""), ("To", ""), ("Call-ID", "")], 400),
        (&[("Call-ID", "Call-ID:")], 400),
        (&[("Call-ID", "Call-ID: a b")], 400),
        (&[("Call-ID", "Call-ID: a\r\ni: b")], 400),
        (&[("OPTIONS", "OPTIONS <sip:user@b.example> SIP/2.0")], 400),
        (&[("OPTIONS", "OPTIONS sip:user@b.example; lr SIP/2.0")], 400),
        (&[("OPTIONS", "OPTIONS  sip:user@b.example  SIP/2.0")], 400),
        (&[("OPTIONS", "OPTIONS sip:user@b.example SIP/2.0  ")], 400),
        (
            &[(
                "OPTIONS",
                "OPTIONS sip:b.example?Route=%3Csip:c.example%3E SIP/2.0",
            )],
            400,
        ),
        (&[("OPTIONS", "OPTIONS sip:2001:db8::10 SIP/2.0")], 400),
        (&[("OPTIONS", "OPTIONS sip:user@b.example")], 400),
        (&[("OPTIONS", "OPTIONS sip:user@b.example SIP/7.0")], 505),
        (&[("OPTIONS", "NEWMETHOD sip:user@b.example SIP/2.0")], 501),
        (&[("Max", "No colon here")], 400),
        (&[("Max", "B@d name: x")], 400),
        (&[("Max", ": nameless")], 400),
        (&[("Max", "X: bare\rreturn")], 400),
    ];
    for (changes, status) in cases {
        let error = refused(&with(changes));
        assert_eq!(error.status().code(), *status, "{changes:?}: {error}");
        let salvage = error
            .salvage
            .unwrap_or_else(|| panic!("{changes:?}: nothing salvaged"));
        assert!(salvage.headers.contains(&HeaderName::Via), "{changes:?}");
    }
}

#[test]
fn what_must_not_be_answered_is_not_salvaged() {
    let ack = refused(&with(&[
        ("OPTIONS", "ACK sip:b SIP/2.0"),
        ("CSeq", "CSeq: x ACK"),
    ]));
    assert_eq!(ack.salvage, None);
    assert_eq!(refused(&with(&[("Via", "")])).salvage, None);
    for status in [
        "SIP/2.0 4294967301 better not",
        "SIP/2.0 99 x",
        "SIP/2.0 2000 x",
        "SIP/7.0 200 OK",
        "SIP/2.0 +20 x",
        "SIP/2.0 ",
    ] {
        let error = refused(&with(&[("OPTIONS", status)]));
        assert_eq!(error.salvage, None, "{status}");
    }
    assert_eq!(
        refused(&with(&[
            ("OPTIONS", "SIP/2.0 200 OK"),
            ("CSeq", "CSeq: 9292394834772304023312 OPTIONS")
        ]))
        .salvage,
        None
    );
    for noise in [
        &b""[..],
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"\xff\xfe\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"INVITE",
        b"  \r\n\r\n",
    ] {
        assert_eq!(refused(noise).salvage, None);
    }
    assert_eq!(refused(b"\r\n\r\n").kind, ParseErrorKind::Empty);
}

#[test]
fn limits_are_the_limit_s_fault() {
    use sip_proto::error::Fault;
    use sip_proto::limits::{MAX_HEADER_BYTES, MAX_HEADERS, MAX_MESSAGE_BYTES, MAX_START_LINE_BYTES};
    let many = "X: y\r\n".repeat(MAX_HEADERS + 1);
    let long = format!("X: {}", "y".repeat(MAX_HEADER_BYTES));
    let uri = format!("OPTIONS sip:{}@b SIP/2.0", "u".repeat(MAX_START_LINE_BYTES));
    let mut huge = with(&[("Content-Length", "")]);
    huge.resize(MAX_MESSAGE_BYTES + 1, b'x');
    for (bytes, status, answerable) in [
        (with(&[("Contact", many.trim_end())]), 513, true),
        (with(&[("Contact", &long)]), 513, true),
        (with(&[("OPTIONS", &uri)]), 414, false),
        (huge, 513, true),
    ] {
        let error = refused(&bytes);
        assert_eq!(
            (error.fault, error.status().code()),
            (Fault::Limit, status),
            "{error}"
        );
        assert_eq!(error.salvage.is_some(), answerable, "{error}");
    }
}

#[test]
fn responses_with_odd_phrases() {
    for (line, code, reason) in [
        ("SIP/2.0 100 ", 100, ""),
        ("SIP/2.0 100", 100, ""),
        (
            "SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять",
            200,
            "= 2**3 * 5**2 но сто девяносто девять",
        ),
        ("sip/2.0 699 x", 699, "x"),
    ] {
        let Ok(Message::Response(response)) = parse(&with(&[("OPTIONS", line)])) else {
            panic!("{line}")
        };
        assert_eq!((response.status.code(), response.reason.as_str()), (code, reason));
    }
    // A broken Contact does not keep a response from ending its transaction.
    assert!(
        parse(&with(&[
            ("OPTIONS", "SIP/2.0 486 Busy"),
            ("Contact", "Contact: <")
        ]))
        .is_ok()
    );
}

#[test]
fn ipv6_in_every_place() {
    let v6 = request(&with(&[
        ("OPTIONS", "OPTIONS sip:bob@[2001:db8::10]:5070 SIP/2.0"),
        (
            "Via",
            "Via: SIP/2.0/UDP [2001:db8::9:1]:6050;received=2001:db8::9:255;branch=z9hG4bK1",
        ),
        ("Contact", "Contact: \"C\" <sip:c@[::ffff:192.0.2.2]>"),
    ]));
    assert_eq!(v6.uri.port, Some(5070));
    let via = v6.headers.top_via().unwrap();
    assert_eq!(via.received(), Some("2001:db8::9:255".parse().unwrap()));
    assert_eq!(via.port, Some(6050));
    let three = request(&with(&[(
        "OPTIONS",
        "OPTIONS sip:u@[2001:db8:::192.0.2.1] SIP/2.0",
    )]));
    assert_eq!(three.uri.host, Host::V6("2001:db8::192.0.2.1".parse().unwrap()));
    let error = refused(&with(&[("Via", "Via: SIP/2.0/UDP 2001:db8::1;branch=z")]));
    let ParseErrorKind::Header(header) = error.kind else {
        panic!("{error}")
    };
    assert_eq!(header.fault, HeaderFault::Syntax(SyntaxError::BadPort));
}

#[test]
fn latin1_bytes_come_back_as_they_were() {
    let mut bytes = with(&[
        ("Contact", "Subject: caf@"),
        ("From", "From: \"Zo@\" <sip:z@a.example>;tag=1"),
    ]);
    for mark in [&b"caf@"[..], b"Zo@"] {
        let at = bytes.windows(mark.len()).position(|w| w == mark).unwrap() + mark.len() - 1;
        bytes[at] = 0xe9;
    }
    let latin = request(&bytes);
    assert_eq!(latin.headers.get(&HeaderName::Subject), Some("café"));
    assert_eq!(latin.headers.from().unwrap().display.as_deref(), Some("Zoé"));
    assert_eq!(latin.to_bytes(), bytes);
    let answer = sip_proto::message::Response::to(&latin, sip_proto::message::StatusCode::OK);
    assert!(answer.to_bytes().windows(4).any(|w| w == b"Zo\xe9\""));
}

/// The verdicts of the corpora: what the parser column says, and for refusals the status.
#[test]
fn corpora_verdicts() {
    let Ok(root) = std::env::var("MEET_CORPORA") else {
        println!("MEET_CORPORA is not set: the RFC 4475 and RFC 5118 messages are not checked");
        return;
    };
    let root = std::path::Path::new(&root).join("sip-torture");
    let mut checked = 0;
    for (table, folder) in [
        ("VERDICTS-rfc4475.tsv", "rfc4475"),
        ("VERDICTS-rfc5118.tsv", "rfc5118-wire"),
    ] {
        let text = std::fs::read_to_string(root.join(table)).unwrap();
        for row in text.lines().skip(1) {
            let columns: Vec<_> = row.split('\t').collect();
            let (file, verdict, expected) = (columns[0], columns[2], columns[3]);
            let bytes = std::fs::read(root.join(folder).join(file)).unwrap();
            let result = parse(&bytes);
            check_verdict(file, verdict, expected, &result);
            if let Ok(message) = result {
                assert_eq!(
                    parse(&message.to_bytes()).map(|m| m.to_bytes()),
                    Ok(message.to_bytes()),
                    "{file}"
                );
            }
            checked += 1;
        }
    }
    assert!(checked >= 60, "only {checked} messages");
}

fn check_verdict(file: &str, verdict: &str, expected: &str, result: &Result<Message, ParseError>) {
    match (verdict, result) {
        ("accept" | "accept (robustness)", Ok(Message::Request(_))) => {}
        ("accept (response)", Ok(Message::Response(_))) => {}
        ("discard (response)", Ok(Message::Response(_))) => {}
        ("discard (response)", Err(error)) => assert_eq!(error.salvage, None, "{file}"),
        ("reject", Err(error)) => {
            assert!(
                expected.contains(&error.status().to_string()),
                "{file}: {} not in {expected}",
                error.status()
            );
            assert!(
                error.salvage.is_some() || expected.contains("drop"),
                "{file}: cannot be answered"
            );
        }
        ("either", Ok(Message::Request(_))) => {}
        ("either", Err(error)) => assert_eq!(error.status().code(), 400, "{file}"),
        other => panic!("{file}: {other:?}"),
    }
}
