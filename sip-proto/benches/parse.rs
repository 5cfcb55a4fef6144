//! Criterion bench of the message scan and the writer.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use criterion::{Criterion, criterion_group, criterion_main};
use sip_proto::message::{HeaderName, Message, Response, StatusCode, parse};
use std::hint::black_box;

const INVITE: &[u8] = b"INVITE sip:standup@meet.example.com SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK3f1c9a77e2d45b10;rport\r\n\
Max-Forwards: 70\r\n\
From: \"Ann Example\" <sip:ann@example.com>;tag=8f2b61c0a5d3\r\n\
To: <sip:standup@meet.example.com>\r\n\
Call-ID: 5b1f0c6e9a7d4e33b8c2\r\n\
CSeq: 20 INVITE\r\n\
Contact: <sip:ann@192.0.2.17:5060>\r\n\
Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO, REFER, NOTIFY\r\n\
Supported: timer, replaces\r\n\
User-Agent: bench/1.0\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 257\r\n\
\r\n\
v=0\r\no=ann 3902140 1 IN IP4 192.0.2.17\r\ns=-\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\n\
m=audio 40000 RTP/AVP 96 0 8 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n";

fn bench(c: &mut Criterion) {
    let Ok(Message::Request(invite)) = parse(INVITE) else {
        panic!("the INVITE must parse")
    };
    c.bench_function("sip/parse INVITE with SDP", |b| {
        b.iter(|| parse(black_box(INVITE)).unwrap())
    });
    c.bench_function("sip/typed From, To, Via, CSeq, Contact", |b| {
        b.iter(|| {
            let headers = black_box(&invite.headers);
            (
                headers.from(),
                headers.to(),
                headers.top_via(),
                headers.cseq(),
                headers.contacts(),
            )
        });
    });
    c.bench_function("sip/make 200 from the INVITE", |b| {
        b.iter(|| Response::to(black_box(&invite), StatusCode::OK));
    });
    let mut ok = Response::to(&invite, StatusCode::OK);
    ok.headers
        .push(HeaderName::Contact, "<sip:standup@192.0.2.1:5060>;isfocus");
    ok.headers.push(HeaderName::ContentType, "application/sdp");
    ok.body = invite.body.clone();
    c.bench_function("sip/write 200 with SDP", |b| b.iter(|| black_box(&ok).to_bytes()));
}

criterion_group!(benches, bench);
criterion_main!(benches);
