//! A server that is found by DNS (RFC 3263) and has several addresses, of which some are dead: the next is tried. Bad
//! peers here: a closed port, one that never answers, one that refuses with 503.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod peer;

use std::net::{SocketAddr, UdpSocket};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use peer::{Manner, Meet, Peer, windows_with};

/// A name server for `meet.example`: one NAPTR for UDP, an SRV record for each port in this order, all on loopback.
/// NXDOMAIN for everything else. It ends with the test's process.
fn name_server(ports: Vec<u16>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            socket.send_to(&answer(&question, &ports), from).unwrap();
        }
    });
    address
}

fn answer(question: &Message, ports: &[u16]) -> Vec<u8> {
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    let query = question.queries[0].clone();
    let at = |text: &str| Name::from_ascii(text).unwrap();
    let data: Vec<RData> = match (query.name().to_ascii().as_str(), query.query_type()) {
        ("meet.example.", RecordType::NAPTR) => {
            let text = |text: &str| text.as_bytes().into();
            let next = at("_sip._udp.meet.example.");
            vec![RData::NAPTR(NAPTR::new(
                1,
                1,
                text("s"),
                text("SIP+D2U"),
                text(""),
                next,
            ))]
        }
        ("_sip._udp.meet.example.", RecordType::SRV) => ports
            .iter()
            .zip(1..)
            .map(|(port, priority)| RData::SRV(SRV::new(priority, 0, *port, at("host.meet.example."))))
            .collect(),
        ("host.meet.example.", RecordType::A) => vec![RData::A(A::new(127, 0, 0, 1))],
        _ => Vec::new(),
    };
    if data.is_empty() {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    for data in data {
        answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
    }
    answer.add_query(query);
    answer.to_vec().unwrap()
}

/// A port at which nobody listens.
fn closed_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn a_call_goes_on_to_the_address_that_serves() {
    let folder = tempfile::tempdir().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let busy = Peer::start(folder.path(), "busy", 500.0, Manner::Refuse(503));
    let mut good = Peer::start(folder.path(), "good", 500.0, Manner::Answer);
    let ports = vec![
        closed_port(),
        silent.local_addr().unwrap().port(),
        busy.address.port(),
        good.address.port(),
    ];
    let dns = name_server(ports).to_string();
    let heard = folder.path().join("meet-heard.wav");
    let speaker = format!("file:{}", heard.display());
    let arguments = [
        "--dns",
        &dns,
        "call",
        "sip:ann@meet.example",
        "--mic",
        "tone:700",
        "--speaker",
        &speaker,
        "--duration",
        "2",
    ];
    let mut meet = Meet::start(folder.path(), &arguments, &[]);
    meet.event("joined");
    assert!(meet.end().success());
    good.stop();
    assert!(windows_with(&heard, 500.0) >= 10);
    assert!(windows_with(&good.heard, 700.0) >= 10);
}

#[test]
fn a_call_that_is_sent_on_is_made_where_the_new_address_leads() {
    let folder = tempfile::tempdir().unwrap();
    let mut good = Peer::start(folder.path(), "good", 500.0, Manner::Answer);
    let first = Peer::start(folder.path(), "first", 500.0, Manner::SendOn(good.address.port()));
    let arguments = [
        "call",
        &first.uri(),
        "--mic",
        "tone:700",
        "--speaker",
        "none",
        "--duration",
        "2",
    ];
    let mut meet = Meet::start(folder.path(), &arguments, &[]);
    meet.event("joined");
    assert!(meet.end().success());
    good.stop();
    assert!(windows_with(&good.heard, 700.0) >= 10);
}

#[test]
fn when_no_address_serves_the_user_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let dns = name_server(vec![closed_port(), closed_port()]).to_string();
    let arguments = [
        "--dns",
        &dns,
        "call",
        "sip:ann@meet.example",
        "--mic",
        "none",
        "--speaker",
        "none",
    ];
    let mut meet = Meet::start(folder.path(), &arguments, &[]);
    let error = meet.event("error");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("no answer from meet.example"),
        "{error}"
    );
    assert!(!meet.end().success());
}

#[test]
fn a_name_that_nobody_knows_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let dns = name_server(Vec::new()).to_string();
    let arguments = [
        "--dns",
        &dns,
        "call",
        "sip:ann@unknown.example",
        "--mic",
        "none",
        "--speaker",
        "none",
    ];
    let mut meet = Meet::start(folder.path(), &arguments, &[]);
    let error = meet.event("error");
    assert!(
        error["message"].as_str().unwrap().contains("unknown.example"),
        "{error}"
    );
    assert!(!meet.end().success());
}
