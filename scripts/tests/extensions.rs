//! Extensions of SIP against the real server, with a phone worked by hand: reliable provisional responses (RFC 3262),
//! session timers (RFC 4028), and the glare that a refresh of the server's makes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod hearing;

use std::time::Duration;

use hearing::{PATIENCE, assert_unbroken, opus, probe, wait_hears};
use workshop::caller::{Caller, Incoming};
use workshop::probe::Probe;
use workshop::scenario::sdp;
use workshop::server::Server;

fn cat_sdp(cat: &Probe, version: u32) -> String {
    sdp("127.0.0.1", cat.address.port(), "sendrecv", version)
}

fn is(status: u16, method: &str) -> impl Fn(&Incoming) -> bool {
    move |message| message.answers(status, method)
}

fn start(folder: &tempfile::TempDir, settings: &[(&str, &str)]) -> Server {
    Server::start_lan_at("127.0.0.1:0", folder.path(), &[], settings).unwrap()
}

fn caller(server: &Server, name: &str) -> Caller {
    Caller::new(name, server.sip, &server.room("more")).unwrap()
}

fn hang_up(mut phone: Caller, server: &Server) {
    phone.request("BYE", "", "").unwrap();
    phone.wait(PATIENCE, is(200, "BYE")).expect("200");
    assert_eq!(server.metric("meet_shard_panics_total").unwrap(), 0.0);
}

/// RFC 3262 §3, §4: a phone that requires it gets its 180 reliably, again and again until the PRACK.
#[test]
fn a_required_reliable_180_is_repeated_until_its_prack() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder, &[("MEET_MEETINGS_RING_MILLISECONDS", "2500")]);
    let cat = probe(1000);
    let mut phone = caller(&server, "cat");
    let required = "Require: 100rel\r\nSupported: 100rel\r\n";
    phone.request("INVITE", required, &cat_sdp(&cat, 1)).unwrap();
    let first = phone.wait(PATIENCE, is(180, "INVITE")).expect("180");
    assert!(first.header("Require").contains("100rel"), "{first:?}");
    let again = phone.wait(PATIENCE, is(180, "INVITE")).expect("180, repeated");
    assert_eq!(first.header("RSeq"), again.header("RSeq"));
    phone.enter_dialog(&first);
    let rseq: u32 = first.header("RSeq").parse().unwrap();
    // §3: a PRACK that matches nothing is refused and settles nothing.
    let stray = format!("RAck: {} 1 INVITE\r\n", rseq + 7);
    phone.request("PRACK", &stray, "").unwrap();
    phone.wait(PATIENCE, is(481, "PRACK")).expect("481");
    phone
        .request("PRACK", &format!("RAck: {rseq} 1 INVITE\r\n"), "")
        .unwrap();
    phone.wait(PATIENCE, is(200, "PRACK")).expect("200");
    let answer = phone.wait(PATIENCE, |m| m.answers(180, "INVITE") || m.answers(200, "INVITE"));
    assert_eq!(
        answer.and_then(|m| m.status()),
        Some(200),
        "the 180 is not repeated any more"
    );
    let ack = phone.compose("ACK", 1, "", "");
    phone.send(&ack).unwrap();
    wait_until_one(&server);
    hang_up(phone, &server);
}

fn wait_until_one(server: &Server) {
    let there = workshop::process::wait_for(PATIENCE, || {
        (server.metric("meet_people").unwrap() == 1.0).then_some(())
    });
    assert!(there.is_some());
}

/// RFC 4028 §6, §9: an interval below ours is refused with 422, one that is long enough is taken; the phone refreshes.
#[test]
fn too_short_an_interval_is_422_and_a_refresh_leaves_the_audio_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder, &[]);
    let mut ann = opus(folder.path(), "ann", 500);
    ann.call(&server.room("more")).unwrap();
    let cat = probe(1000);
    let mut phone = caller(&server, "cat");
    let timer = |seconds: u32| format!("Supported: timer\r\nSession-Expires: {seconds};refresher=uac\r\n");
    let invite = phone.request("INVITE", &timer(60), &cat_sdp(&cat, 1)).unwrap();
    let brief = phone.wait(PATIENCE, is(422, "INVITE")).expect("422");
    assert_eq!(brief.header("Min-SE"), "90");
    phone.send(&same_transaction(&invite)).unwrap();
    phone
        .request("INVITE", &(timer(90) + "Min-SE: 90\r\n"), &cat_sdp(&cat, 1))
        .unwrap();
    let taken = phone.wait(PATIENCE, is(200, "INVITE")).expect("200");
    assert!(taken.header("Session-Expires").starts_with("90"), "{taken:?}");
    assert!(
        taken.header("Session-Expires").contains("refresher=uac"),
        "{taken:?}"
    );
    assert!(taken.header("Require").contains("timer"), "{taken:?}");
    phone.request("ACK", "", "").unwrap();
    wait_hears("cat", &[500, 1000], &[500], || cat.heard());
    // By UPDATE, and by a re-INVITE that changes nothing.
    phone.request("UPDATE", &timer(90), "").unwrap();
    let refreshed = phone.wait(PATIENCE, is(200, "UPDATE")).expect("200");
    assert!(
        refreshed.header("Session-Expires").starts_with("90"),
        "{refreshed:?}"
    );
    phone.request("INVITE", &timer(90), &cat_sdp(&cat, 1)).unwrap();
    let refreshed = phone.wait(PATIENCE, is(200, "INVITE")).expect("200");
    assert!(
        refreshed.header("Session-Expires").starts_with("90"),
        "{refreshed:?}"
    );
    phone.request("ACK", "", "").unwrap();
    cat.forget();
    wait_hears("cat after", &[500, 1000], &[500], || cat.heard());
    wait_hears("ann after", &[500, 1000], &[1000], || ann.heard().unwrap());
    assert_unbroken(&cat, "the refresh has left the stream alone");
    hang_up(phone, &server);
}

/// RFC 4028 §10 and RFC 3261 §14.1: the server's refresh and the phone's re-INVITE cross. Both say 491, and the
/// server comes again by itself.
#[test]
fn a_refresh_that_meets_a_re_invite_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder, &[]);
    let mut ann = opus(folder.path(), "ann", 500);
    ann.call(&server.room("more")).unwrap();
    let cat = probe(1000);
    let mut phone = caller(&server, "cat");
    // Without UPDATE in Allow the refresh is a re-INVITE, after half of the 90 s.
    let timer = "Supported: timer\r\nSession-Expires: 90;refresher=uas\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n";
    phone.request("INVITE", timer, &cat_sdp(&cat, 1)).unwrap();
    let taken = phone.wait(PATIENCE, is(200, "INVITE")).expect("200");
    assert_eq!(taken.header("Session-Expires"), "90;refresher=uas");
    phone.request("ACK", "", "").unwrap();
    let refresh = phone
        .wait(Duration::from_secs(60), |m| m.asks("INVITE"))
        .expect("a refresh at half time");
    let own = phone.request("INVITE", timer, &cat_sdp(&cat, 1)).unwrap();
    phone.wait(PATIENCE, is(491, "INVITE")).expect("491 to the phone");
    phone.send(&same_transaction(&own)).unwrap();
    phone.answer(&refresh, "491 Request Pending", "", "").unwrap();
    phone.wait(PATIENCE, |m| m.asks("ACK")).expect("an ACK");
    // §14.1: who did not make the Call-ID comes again within two seconds (sip-proto's own tests hold it to that); the
    // next refresh would come after 45 s.
    let number = refresh.header("CSeq").to_owned();
    let second = phone
        .wait(Duration::from_secs(20), |m| {
            m.asks("INVITE") && m.header("CSeq") != number
        })
        .expect("the second try");
    assert_eq!(second.body, refresh.body, "a refresh changes nothing");
    let expires = format!(
        "Require: timer\r\nSession-Expires: {}\r\n",
        second.header("Session-Expires")
    );
    phone
        .answer(&second, "200 OK", &expires, &cat_sdp(&cat, 1))
        .unwrap();
    phone.wait(PATIENCE, |m| m.asks("ACK")).expect("an ACK");
    cat.forget();
    wait_hears("cat", &[500, 1000], &[500], || cat.heard());
    wait_hears("ann", &[500, 1000], &[1000], || ann.heard().unwrap());
    assert_unbroken(&cat, "the stream to the phone");
    hang_up(phone, &server);
}

/// The ACK of a refusal: of the INVITE's own transaction.
fn same_transaction(invite: &str) -> String {
    let head = invite.split("\r\n\r\n").next().unwrap();
    let lines = head.lines().skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        match name {
            "Via" | "From" | "To" | "Call-ID" | "Max-Forwards" => Some(line.to_owned()),
            "CSeq" => Some(format!("CSeq:{}", value.replace("INVITE", "ACK"))),
            _ => None,
        }
    });
    let lines: Vec<String> = lines.collect();
    let uri = head.split(' ').nth(1).unwrap();
    format!(
        "ACK {uri} SIP/2.0\r\n{}\r\nContent-Length: 0\r\n\r\n",
        lines.join("\r\n")
    )
}
