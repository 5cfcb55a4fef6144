//! The messages of RFC 4475 and RFC 5118 against a whole endpoint: what is answered, and what must not be.
//!
//! Runs over the corpora when `MEET_CORPORA` names their folder.

use std::path::{Path, PathBuf};

use sip_proto::endpoint::{EndpointConfig, Event};
use sip_proto::message::{Headers, Message, Method, Response, StatusCode};

use crate::solo::Solo;

/// File, and the final statuses that are right for an endpoint whose application accepts everything; none: silence.
const EXPECTED: &[(&str, &[u16])] = &[
    ("rfc4475/wsinv.dat", &[481]),
    ("rfc4475/intmeth.dat", &[501, 405]),
    ("rfc4475/esc01.dat", &[200]),
    ("rfc4475/escnull.dat", &[200]),
    ("rfc4475/esc02.dat", &[501]),
    ("rfc4475/lwsdisp.dat", &[200]),
    ("rfc4475/longreq.dat", &[200]),
    ("rfc4475/dblreq.dat", &[200]),
    ("rfc4475/semiuri.dat", &[200]),
    ("rfc4475/transports.dat", &[200]),
    ("rfc4475/mpart01.dat", &[200]),
    ("rfc4475/unreason.dat", &[]),
    ("rfc4475/noreason.dat", &[]),
    ("rfc4475/badinv01.dat", &[400]),
    ("rfc4475/clerr.dat", &[400]),
    ("rfc4475/ncl.dat", &[400]),
    ("rfc4475/scalar02.dat", &[400]),
    ("rfc4475/scalarlg.dat", &[]),
    ("rfc4475/quotbal.dat", &[400, 200]),
    ("rfc4475/ltgtruri.dat", &[400, 200]),
    ("rfc4475/lwsruri.dat", &[400, 200]),
    ("rfc4475/lwsstart.dat", &[400, 200]),
    ("rfc4475/trws.dat", &[400, 200]),
    ("rfc4475/escruri.dat", &[400, 200]),
    ("rfc4475/baddate.dat", &[400, 200]),
    ("rfc4475/regbadct.dat", &[400]),
    ("rfc4475/badaspec.dat", &[400, 200]),
    ("rfc4475/baddn.dat", &[400]),
    ("rfc4475/badvers.dat", &[505]),
    ("rfc4475/mismatch01.dat", &[400]),
    ("rfc4475/mismatch02.dat", &[501, 400]),
    ("rfc4475/bigcode.dat", &[]),
    ("rfc4475/badbranch.dat", &[400, 200]),
    ("rfc4475/insuf.dat", &[400]),
    ("rfc4475/unkscm.dat", &[416]),
    ("rfc4475/novelsc.dat", &[416]),
    ("rfc4475/unksm2.dat", &[200]),
    ("rfc4475/bext01.dat", &[420]),
    ("rfc4475/invut.dat", &[200]),
    ("rfc4475/regaut01.dat", &[200]),
    ("rfc4475/multi01.dat", &[400]),
    ("rfc4475/mcl01.dat", &[400]),
    ("rfc4475/bcast.dat", &[]),
    ("rfc4475/zeromf.dat", &[200]),
    ("rfc4475/inv2543.dat", &[200]),
    ("rfc4475/sdp01.dat", &[200]),
    ("rfc4475/cparam01.dat", &[200]),
    ("rfc4475/cparam02.dat", &[200]),
    ("rfc4475/regescrt.dat", &[200]),
    ("rfc4475/test.dat", &[]),
    ("rfc5118-wire/ipv6-good.dat", &[200]),
    ("rfc5118-wire/ipv6-bad.dat", &[400]),
    ("rfc5118-wire/port-ambiguous.dat", &[200]),
    ("rfc5118-wire/port-unambiguous.dat", &[200]),
    ("rfc5118-wire/via-received-param-with-delim.dat", &[481]),
    ("rfc5118-wire/via-received-param-no-delim.dat", &[200]),
    ("rfc5118-wire/ipv6-in-sdp.dat", &[200]),
    ("rfc5118-wire/mult-ip-in-header.dat", &[481]),
    ("rfc5118-wire/mult-ip-in-sdp.dat", &[200]),
    ("rfc5118-wire/ipv4-mapped-ipv6.dat", &[200]),
    ("rfc5118-wire/ipv6-bug-abnf-3-colons.dat", &[200, 400]),
    ("rfc5118-wire/ipv6-correct-abnf-2-colons.dat", &[200]),
];

fn corpora() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("MEET_CORPORA") else {
        println!("MEET_CORPORA is not set: the RFC 4475 and 5118 messages are not tried");
        return None;
    };
    let folder = Path::new(&folder).join("sip-torture");
    assert!(folder.is_dir(), "{} is missing", folder.display());
    Some(folder)
}

/// The final statuses that one datagram gets.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let mut config = EndpointConfig::default();
    config.allow.push(Method::Register);
    let mut solo = Solo::with(config);
    solo.tolerant = true;
    let flow = solo.flow;
    solo.receive_bytes(flow, bytes);
    while !solo.events.is_empty() {
        let now = solo.now;
        match solo.event() {
            Event::Invite { session, .. } => {
                solo.endpoint.accept(session, None, Headers::new(), now).unwrap()
            }
            Event::Request { tx, request, .. } => {
                solo.endpoint
                    .respond(tx, Response::to(&request, StatusCode::OK), now)
                    .unwrap();
            }
            _ => {}
        }
        solo.drain();
    }
    let codes = solo.raw_statuses.clone();
    assert!(
        !solo
            .sent
            .iter()
            .any(|(_, message)| matches!(message, Message::Request(_)))
    );
    solo.finish();
    codes.into_iter().filter(|code| *code >= 200).collect()
}

#[test]
fn every_message_gets_the_answer_that_is_due() {
    let Some(folder) = corpora() else { return };
    let mut wrong = Vec::new();
    for (file, expected) in EXPECTED {
        let bytes = std::fs::read(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let seen = statuses(&bytes);
        let right = match expected {
            [] => seen.is_empty(),
            _ => seen.len() == 1 && expected.contains(&seen[0]),
        };
        if !right {
            wrong.push(format!("{file}: {seen:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
