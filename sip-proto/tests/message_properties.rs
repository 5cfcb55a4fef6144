//! Properties of the wire layer: printing and parsing are inverse, and no input panics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use proptest::prelude::*;
use sip_proto::headers::{
    Authorization, CSeq, CallInfo, Challenge, Contacts, ContentType, Event, NameAddr, Params, Reason,
    RetryAfter, SubscriptionState, Via, ViaTransport, Warning,
};
use sip_proto::ids::Branch;
use sip_proto::message::{HeaderName, Message, Method, Request, Response, StatusCode, parse};
use sip_proto::uri::{Host, Uri};
use std::fmt::Debug;
use std::str::FromStr;

const INVITE: &[u8] = b"INVITE sip:room@meet.example;transport=tcp SIP/2.0\r\n\
Via: SIP/2.0/TCP [2001:db8::1]:5060;branch=z9hG4bK1;rport, SIP/2.0/UDP b.example;branch=z9hG4bK2\r\n\
v: SIP/2.0/WS c.invalid\r\n ;branch=z9hG4bK3\r\n\
Max-Forwards: 70\r\nRoute: <sip:p.example;lr>\r\n\
From: \"A \\\"x\\\" \xc3\xa9\" <sip:ann:pw@a.example;x=%41?Subject=a%20b>;tag=1\r\n\
t: sip:room@meet.example\r\ni: c@a\r\nCSeq: 1 INVITE\r\nm: <sip:ann@192.0.2.1>;q=0.5;expires=60, *\r\n\
Subject: caf\xe9\r\n\
Authorization: Digest username=\"a\", realm=\"r\", nonce=\"n\", uri=\"sip:h\", response=\"0\", algorithm=MD5\r\n\
c: application/sdp\r\nl: 5\r\n\r\nv=0\r\n";

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,8}(\\.[a-z]{1,5}){0,2}".prop_map(Host::Name),
        any::<[u8; 4]>().prop_map(|octets| Host::V4(octets.into())),
        any::<[u8; 16]>().prop_map(|octets| Host::V6(octets.into())),
    ]
}

fn uri() -> impl Strategy<Value = Uri> {
    let params = prop::collection::vec(("[a-z]{1,6}", prop::option::of(".{1,8}")), 0..4);
    (".{0,12}", host(), prop::option::of(any::<u16>()), params).prop_map(|(user, host, port, params)| {
        let mut uri = Uri::sip(&user, host, port);
        for (name, value) in params {
            match value {
                Some(value) => uri.params.set(&name, value),
                None => uri.params.set_flag(&name),
            }
        }
        uri
    })
}

fn params() -> impl Strategy<Value = Params> {
    prop::collection::vec((token(), prop::option::of("[^\r\n]{0,10}")), 0..4).prop_map(|all| {
        let mut params = Params::new();
        for (name, value) in all {
            match value {
                Some(value) => params.set(&name, value),
                None => params.set_flag(&name),
            }
        }
        params
    })
}

fn name_addr() -> impl Strategy<Value = NameAddr> {
    (prop::option::of("[^\r\n]{0,15}"), uri(), params()).prop_map(|(display, uri, params)| NameAddr {
        display,
        uri,
        params,
    })
}

fn via() -> impl Strategy<Value = Via> {
    (token(), host(), prop::option::of(any::<u16>()), params()).prop_map(|(transport, host, port, params)| {
        let mut via = Via::new(
            ViaTransport::parse(&transport),
            host,
            port,
            &Branch::new("z9hG4bKx"),
        );
        for (name, value) in params.iter() {
            via.params.set(name, value.unwrap_or("flag"));
        }
        via
    })
}

fn request() -> impl Strategy<Value = Request> {
    let other = prop::collection::vec((token(), "[^\r\n]{0,30}"), 0..6);
    let method = prop_oneof![
        Just(Method::Invite),
        Just(Method::Bye),
        token().prop_map(|t| Method::parse(&t))
    ];
    (
        method,
        uri(),
        prop::collection::vec(via(), 1..4),
        name_addr(),
        name_addr(),
        other,
        any::<Vec<u8>>(),
    )
        .prop_map(|(method, uri, vias, from, to, other, body)| {
            let cseq = CSeq::new(7, method.clone());
            let mut request = Request::new(method, uri);
            vias.iter()
                .for_each(|via| request.headers.push(HeaderName::Via, via));
            request.headers.push(HeaderName::From, from);
            request.headers.push(HeaderName::To, to);
            request.headers.push(HeaderName::CallId, "c1");
            request.headers.push(HeaderName::CSeq, cseq);
            for (name, value) in other {
                // Prefixed: a random name must not hit one whose grammar is checked.
                request
                    .headers
                    .push(HeaderName::parse(&format!("X-{name}")), value);
            }
            request.body = body;
            request
        })
}

/// Through text and back: the text must read, and print as the same text again. The value itself
/// may differ in what printing normalises (escapes of a URI).
fn stable<T: FromStr<Err: Debug> + ToString>(value: &T) {
    let text = value.to_string();
    let again: T = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
    assert_eq!(again.to_string(), text);
}

fn never_panics(text: &str) {
    let _ = text.parse::<Uri>().map(|uri| {
        let _ = (
            uri.to_string(),
            uri.user_decoded().is_some(),
            uri.header_fields().count(),
        );
        assert!(uri.equivalent(&uri.clone()));
        stable(&uri);
    });
    let _ = text.parse::<NameAddr>().map(|value| {
        let _ = (value.q(), value.expires(), value.tag());
        stable(&value);
    });
    let _ = text.parse::<Via>().map(|value| {
        let _ = (value.received(), value.rport(), value.branch());
        stable(&value);
    });
    let _ = text.parse::<CSeq>().map(|value| stable(&value));
    let _ = text.parse::<Contacts>().map(|value| stable(&value));
    let _ = text.parse::<ContentType>().map(|value| stable(&value));
    let _ = text.parse::<Event>().map(|value| stable(&value));
    let _ = text.parse::<SubscriptionState>().map(|value| stable(&value));
    let _ = text.parse::<Reason>().map(|value| stable(&value));
    let _ = text.parse::<Warning>().map(|value| stable(&value));
    let _ = text.parse::<CallInfo>().map(|value| stable(&value));
    let _ = text.parse::<RetryAfter>().map(|value| stable(&value));
    let _ = text.parse::<Challenge>().map(|value| stable(&value));
    let _ = text.parse::<Authorization>().map(|value| stable(&value));
}

fn exercise(bytes: &[u8]) {
    match parse(bytes) {
        Ok(message) => {
            let headers = message.headers();
            assert!(headers.top_via().is_ok() && headers.from().is_ok() && headers.to().is_ok());
            assert!(headers.call_id().is_ok() && headers.cseq().is_ok() && headers.max_forwards().is_ok());
            let printed = message.to_bytes();
            let again = parse(&printed).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(again.to_bytes(), printed);
        }
        Err(error) => {
            if let Some(request) = &error.salvage {
                let mut answer = Response::to(request, error.status());
                answer.tag_to(&sip_proto::ids::Tag::new("t"));
                assert!(answer.to_bytes().starts_with(b"SIP/2.0 "));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_survive_print_and_parse(request in request()) {
        let bytes = request.to_bytes();
        let Ok(Message::Request(mut parsed)) = parse(&bytes) else {
            panic!("{:?}\n{}", parse(&bytes), String::from_utf8_lossy(&bytes));
        };
        prop_assert_eq!(parsed.headers.remove(&HeaderName::ContentLength), 1);
        prop_assert_eq!(&parsed.method, &request.method);
        prop_assert_eq!(parsed.uri.to_string(), request.uri.to_string());
        prop_assert_eq!(&parsed.headers, &request.headers);
        prop_assert_eq!(&parsed.body, &request.body);
        let mut response = Response::to(&parsed, StatusCode::RINGING);
        response.body = request.body;
        let Ok(Message::Response(mut back)) = parse(&response.to_bytes()) else { panic!("{response:?}") };
        back.headers.remove(&HeaderName::ContentLength);
        prop_assert_eq!(back, response);
    }

    #[test]
    fn values_survive_print_and_parse(address in name_addr(), via in via(), params in params()) {
        stable(&address);
        prop_assert_eq!(address.to_string().parse::<NameAddr>().unwrap().display, address.display);
        prop_assert_eq!(via.to_string().parse::<Via>(), Ok(via));
        prop_assert_eq!(Params::parse(&params.to_string()), Ok(params));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,60}", sip in "[sip:tel@\\[\\]<>\";,=?%&/ a0:.*é\\\\]{0,40}") {
        never_panics(&text);
        never_panics(&sip);
        never_panics(&format!("sip:{sip}"));
        never_panics(&format!("SIP/2.0/UDP {sip}"));
        never_panics(&format!("Digest {sip}"));
    }

    #[test]
    fn damaged_messages_never_panic(
        changes in prop::collection::vec((0..INVITE.len(), any::<u8>()), 1..6),
        cut in 0..INVITE.len(),
    ) {
        let mut bytes = INVITE.to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        exercise(&bytes);
        bytes.remove(cut);
        exercise(&bytes);
    }
}

#[test]
fn every_prefix_is_read_or_refused() {
    for end in 0..=INVITE.len() {
        exercise(&INVITE[..end]);
    }
    let sound = String::from_utf8_lossy(INVITE).replace(", *", "").into_bytes();
    assert!(parse(&sound).is_ok());
    for end in 0..sound.len() {
        exercise(&sound[..end]);
        assert!(
            parse(&sound[..end]).is_err(),
            "a prefix of {end} bytes was taken for whole"
        );
    }
}

/// A second opinion: what our writer emits, an independent parser reads as the same.
#[test]
fn rsip_reads_what_we_write() {
    let uri: Uri = "sip:room@meet.example:5070;transport=tcp".parse().unwrap();
    let mut request = Request::new(Method::Invite, uri.clone());
    let via = Via::new(
        ViaTransport::Tcp,
        Host::Name("a.example".into()),
        Some(5061),
        &Branch::new("z9hG4bKq"),
    );
    request.headers.push(HeaderName::Via, via);
    request.headers.push(HeaderName::MaxForwards, 70);
    let from = NameAddr::new(uri)
        .with_display("Ann")
        .with_tag(&sip_proto::ids::Tag::new("t1"));
    request.headers.push(HeaderName::From, &from);
    request
        .headers
        .push(HeaderName::To, NameAddr::new(from.uri.clone()));
    request.headers.push(HeaderName::CallId, "c1");
    request
        .headers
        .push(HeaderName::CSeq, CSeq::new(3, Method::Invite));
    request.body = b"v=0\r\n".to_vec();

    use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
    let theirs = rsip::Request::try_from(request.to_bytes()).unwrap();
    assert_eq!(theirs.method, rsip::Method::Invite);
    // It writes transports in capitals.
    assert_eq!(theirs.uri.to_string().to_lowercase(), request.uri.to_string());
    assert_eq!(theirs.call_id_header().unwrap().value(), "c1");
    let via = theirs.via_header().unwrap().typed().unwrap();
    assert_eq!(via.transport, rsip::Transport::Tcp);
    let from = theirs.from_header().unwrap().typed().unwrap();
    assert_eq!(
        from.tag().map(|tag| tag.value().to_owned()).as_deref(),
        Some("t1")
    );

    let response = Response::to(&request, StatusCode::CALL_DOES_NOT_EXIST);
    let theirs = rsip::Response::try_from(response.to_bytes()).unwrap();
    assert_eq!(u16::from(theirs.status_code), 481);
}
