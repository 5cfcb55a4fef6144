//! Time to read, print and answer session descriptions: a phone's and a browser-sized one.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sip_proto::sdp::offer_answer::{LocalMedia, OfferAnswer};
use sip_proto::sdp::parse;

const PHONE: &str = "v=0\r\no=- 3872341120 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
    m=audio 57454 RTP/AVP 96 0 8 9 101\r\na=rtpmap:96 opus/48000/2\r\n\
    a=fmtp:96 stereo=0;sprop-stereo=0;maxaveragebitrate=32000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
    a=rtcp-rsize\r\na=mid:0\r\na=minptime:20\r\na=ptime:20\r\n";

/// The phone's offer with a video line of twenty formats and their feedback messages, as browsers write it.
fn browser() -> String {
    let mut text = String::from(PHONE);
    let formats: String = (100..120).map(|number| format!(" {number}")).collect();
    write!(
        text,
        "m=video 9 UDP/TLS/RTP/SAVPF{formats}\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n"
    )
    .unwrap();
    for number in 100..120 {
        write!(text, "a=rtpmap:{number} H264/90000\r\n").unwrap();
        for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
            write!(text, "a=rtcp-fb:{number} {feedback}\r\n").unwrap();
        }
        write!(
            text,
            "a=fmtp:{number} packetization-mode=1;profile-level-id=42e01f\r\n"
        )
        .unwrap();
    }
    text
}

fn sdp(criterion: &mut Criterion) {
    let browser = browser();
    for (name, text) in [("phone", PHONE), ("browser", browser.as_str())] {
        let mut group = criterion.benchmark_group(format!("sdp/{name}"));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("parse", |bencher| {
            bencher.iter(|| parse(black_box(text.as_bytes())))
        });
        let description = parse(text.as_bytes()).unwrap();
        group.bench_function("print", |bencher| {
            bencher.iter(|| black_box(&description).to_bytes())
        });
        let local = LocalMedia::new("192.0.2.1".parse().unwrap(), 40_000);
        group.bench_function("answer", |bencher| {
            bencher.iter(|| {
                let mut machine = OfferAnswer::new(1);
                machine.receive_offer(description.clone()).unwrap();
                machine.create_answer(black_box(&local)).unwrap()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, sdp);
criterion_main!(benches);
