//! The call flows of RFC 3665 and RFC 5359 that concern a user agent, a registrar or a focus, against the real server:
//! our own scripts of them, with sipp and with a phone worked by hand. Others of these flows are in `interop.rs` and
//! `races.rs`; `server/docs/conformance.md` lists all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod hearing;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use hearing::{PATIENCE, opus, probe, wait_hears};
use workshop::caller::{Caller, Incoming};
use workshop::probe::Probe;
use workshop::scenario::{Scenario, sdp};
use workshop::server::{Server, program};
use workshop::sipp::Sipp;

const PASSWORD: &str = "open-sesame";
const TOKEN: &str = "0123456789abcdef";

/// A server with accounts, and bob among them. sipp knows MD5 only.
fn server_with_bob(folder: &Path) -> Server {
    let mut add = Command::new(program("meet-server"))
        .arg("--data-dir")
        .arg(folder)
        .args(["user", "add", "bob", "--password-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(add.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    assert!(add.wait().unwrap().success());
    let config = folder.join("server.toml");
    std::fs::write(
        &config,
        format!("[api]\ntokens = [\"{TOKEN}\"]\n[sip]\nalgorithms = [\"MD5\"]\n"),
    )
    .unwrap();
    let mut command = Command::new(program("meet-server"));
    command.arg("--config").arg(config).arg("--data-dir").arg(folder);
    command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    Server::start(command).unwrap()
}

fn run(folder: &Path, server: &Server, name: &str, scenario: &Scenario) {
    Sipp::start(folder, name, &scenario.xml(), server.sip, "bob", &[])
        .unwrap()
        .finish(PATIENCE)
        .unwrap();
}

fn registered(server: &Server) -> String {
    let url = format!("http://{}/api/v1/registrations", server.http);
    let mut answer = ureq::get(&url)
        .header("Authorization", &format!("Bearer {TOKEN}"))
        .call()
        .unwrap();
    answer.body_mut().read_to_string().unwrap()
}

/// RFC 3665 §2.1 to §2.4.
#[test]
fn a_registration_is_made_extended_queried_and_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let server = server_with_bob(folder.path());
    let first = "Contact: <sip:bob@[local_ip]:[local_port]>\nExpires: 600\n";
    let second = "Contact: <sip:bob@127.0.0.1:5998>;expires=300\n";
    let scenario = Scenario::new("bob")
        // §2.1
        .register(first, None)
        .challenged()
        .register(first, Some(PASSWORD))
        .expect(
            200,
            &["Contact: <sip:bob@127.0.0.1:[0-9]*>;expires=[56][0-9][0-9]"],
        )
        // §2.2
        .register(second, Some(PASSWORD))
        .expect(
            200,
            &[
                "Contact: <sip:bob@127.0.0.1:5998>;expires=(300|29[0-9])",
                "expires=[56][0-9][0-9]",
            ],
        )
        // §2.3: no Contact, so only asked.
        .register("", Some(PASSWORD))
        .expect(200, &["sip:bob@127.0.0.1:5998", "expires=[56][0-9][0-9]"]);
    run(folder.path(), &server, "register", &scenario);
    assert_eq!(
        registered(&server).matches("\"contact\":\"sip:bob@").count(),
        2,
        "{}",
        registered(&server)
    );
    // §2.4
    let all = "Contact: *\nExpires: 0\n";
    let cancel = Scenario::new("bob")
        .register(all, None)
        .challenged()
        .register(all, Some(PASSWORD))
        .expect(200, &[]);
    run(folder.path(), &server, "cancel", &cancel);
    assert!(
        !registered(&server).contains("sip:bob@127.0.0.1:"),
        "{}",
        registered(&server)
    );
}

/// RFC 3665 §2.5: a wrong password; the RFC challenges again, we say 403, so that a phone does not try for ever.
#[test]
fn a_registration_with_a_wrong_password_fails() {
    let folder = tempfile::tempdir().unwrap();
    let server = server_with_bob(folder.path());
    let contact = "Contact: <sip:bob@[local_ip]:[local_port]>\n";
    let scenario = Scenario::new("bob")
        .register(contact, None)
        .challenged()
        .register(contact, Some("guessed"))
        .expect(403, &[]);
    run(folder.path(), &server, "wrong", &scenario);
    assert!(
        !registered(&server).contains("sip:bob@"),
        "{}",
        registered(&server)
    );
}

/// RFC 3665 §3.11: bob's phone is registered, but calls between people are not offered yet.
#[test]
fn a_registered_person_is_temporarily_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let contact = "Contact: <sip:bob@[local_ip]:[local_port]>\n";
    let register = Scenario::new("bob").register(contact, None).expect(200, &[]);
    run(folder.path(), &server, "register", &register);
    let cat = probe(1000);
    let call = Scenario::new("cat")
        .invite(&cat_sdp(&cat, 1))
        .expect(480, &["Warning: 399"])
        .ack_failure();
    run(folder.path(), &server, "call", &call);
    assert_eq!(server.metric("meet_people").unwrap(), 0.0);
}

fn cat_sdp(cat: &Probe, version: u32) -> String {
    sdp("127.0.0.1", cat.address.port(), "sendrecv", version)
}

fn ok(method: &str) -> impl Fn(&Incoming) -> bool {
    move |message| message.answers(200, method)
}

/// RFC 3665 §3.1 with ringing, and RFC 3665 §3.8: the caller gives up while it rings.
#[test]
fn a_call_rings_and_is_answered_or_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let ring = [("MEET_MEETINGS_RING_MILLISECONDS", "1000")];
    let server = Server::start_lan_at("127.0.0.1:0", folder.path(), &[], &ring).unwrap();
    let (cat, dan) = (probe(1000), probe(700));
    let mut phone = Caller::new("cat", server.sip, &server.room("ring")).unwrap();
    phone.request("INVITE", "", &cat_sdp(&cat, 1)).unwrap();
    let ringing = phone.wait(PATIENCE, |m| m.answers(180, "INVITE")).expect("180");
    assert!(ringing.header("To").contains(";tag="), "a dialog while it rings");
    let answered = phone.wait(PATIENCE, ok("INVITE")).expect("200");
    assert_eq!(answered.header("To"), ringing.header("To"), "the same dialog");
    phone.request("ACK", "", "").unwrap();
    // Dan gives up.
    let mut other = Caller::new("dan", server.sip, &server.room("ring")).unwrap();
    let invite = other.request("INVITE", "", &cat_sdp(&dan, 1)).unwrap();
    other.wait(PATIENCE, |m| m.answers(180, "INVITE")).expect("180");
    other.send(&same_transaction(&invite, "CANCEL")).unwrap();
    let mut codes = Vec::new();
    while codes.len() < 2 {
        let answer = other
            .wait(PATIENCE, |m| m.status().is_some_and(|s| s >= 200))
            .expect("an answer");
        codes.push((answer.status().unwrap(), answer.header("CSeq").to_owned()));
    }
    codes.sort();
    assert_eq!(
        codes,
        [(200, "1 CANCEL".to_owned()), (487, "1 INVITE".to_owned())]
    );
    other.send(&same_transaction(&invite, "ACK")).unwrap();
    assert_eq!(server.metric("meet_people").unwrap(), 1.0);
    phone.request("BYE", "", "").unwrap();
    phone.wait(PATIENCE, ok("BYE")).expect("200");
}

/// CANCEL, or the ACK of a refusal: of the INVITE's own transaction, without its body.
fn same_transaction(invite: &str, method: &str) -> String {
    let head = invite.split("\r\n\r\n").next().unwrap();
    let kept = head.lines().skip(1).filter(|line| {
        let name = line.split(':').next().unwrap();
        !["Content-Type", "Content-Length", "Contact", "CSeq"].contains(&name)
    });
    let uri = head.split(' ').nth(1).unwrap();
    let lines: Vec<&str> = kept.collect();
    format!(
        "{method} {uri} SIP/2.0\r\n{}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
        lines.join("\r\n")
    )
}

/// RFC 3665 §3.9: what is wanted is taken.
#[test]
fn a_name_that_is_taken_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let uri = format!("sip:create@{};room=taken", server.sip);
    let cat = probe(1000);
    let mut first = Caller::new("cat", server.sip, &uri).unwrap();
    first.request("INVITE", "", &cat_sdp(&cat, 1)).unwrap();
    first.wait(PATIENCE, ok("INVITE")).expect("200");
    first.request("ACK", "", "").unwrap();
    let mut second = Caller::new("dan", server.sip, &uri).unwrap();
    let invite = second.request("INVITE", "", &cat_sdp(&cat, 1)).unwrap();
    let busy = second.wait(PATIENCE, |m| m.answers(486, "INVITE")).expect("486");
    assert!(busy.header("Warning").starts_with("399 "), "{busy:?}");
    second.send(&same_transaction(&invite, "ACK")).unwrap();
    first.request("BYE", "", "").unwrap();
    first.wait(PATIENCE, ok("BYE")).expect("200");
}

/// RFC 3665 §3.7: the phone moves its media to another address by a re-INVITE.
#[test]
fn media_follows_a_re_invite_to_another_address() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let mut ann = opus(folder.path(), "ann", 500);
    ann.call(&server.room("move")).unwrap();
    let (old, new) = (probe(1000), probe(1300));
    let mut phone = Caller::new("cat", server.sip, &server.room("move")).unwrap();
    phone.request("INVITE", "", &cat_sdp(&old, 1)).unwrap();
    phone.wait(PATIENCE, ok("INVITE")).expect("200");
    phone.request("ACK", "", "").unwrap();
    let tones = [500, 1000, 1300];
    wait_hears("the old address", &tones, &[500], || old.heard());
    wait_hears("ann before", &tones, &[1000], || ann.heard().unwrap());
    old.mute(true);
    phone.request("INVITE", "", &cat_sdp(&new, 2)).unwrap();
    let answer = phone.wait(PATIENCE, ok("INVITE")).expect("200");
    phone.request("ACK", "", "").unwrap();
    let port = answer
        .body
        .split("m=audio ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap();
    new.send_to(format!("127.0.0.1:{port}").parse().unwrap());
    wait_hears("the new address", &tones, &[500], || new.heard());
    wait_hears("ann after", &tones, &[1300], || ann.heard().unwrap());
    phone.request("BYE", "", "").unwrap();
    phone.wait(PATIENCE, ok("BYE")).expect("200");
}

/// RFC 5359 §2.2: a phone holds one call, asks something in another, and comes back.
#[test]
fn consultation_hold_comes_back_to_the_first_room() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let (mut ann, mut ben) = (opus(folder.path(), "ann", 500), opus(folder.path(), "ben", 700));
    ann.call(&server.room("first")).unwrap();
    ben.call(&server.room("second")).unwrap();
    let tones = [500, 700, 1000, 1300];
    let (cat, asks) = (probe(1000), probe(1300));
    let mut first = Caller::new("cat", server.sip, &server.room("first")).unwrap();
    first.request("INVITE", "", &cat_sdp(&cat, 1)).unwrap();
    first.wait(PATIENCE, ok("INVITE")).expect("200");
    first.request("ACK", "", "").unwrap();
    wait_hears("ann before", &tones, &[1000], || ann.heard().unwrap());
    let held = sdp("127.0.0.1", cat.address.port(), "inactive", 2);
    first.request("INVITE", "", &held).unwrap();
    let answer = first.wait(PATIENCE, ok("INVITE")).expect("200");
    assert!(answer.body.contains("a=inactive"), "{}", answer.body);
    first.request("ACK", "", "").unwrap();
    // No music: who stays hears silence.
    wait_hears("ann during", &tones, &[], || ann.heard().unwrap());
    let mut second = Caller::new("kit", server.sip, &server.room("second")).unwrap();
    second.request("INVITE", "", &cat_sdp(&asks, 1)).unwrap();
    second.wait(PATIENCE, ok("INVITE")).expect("200");
    second.request("ACK", "", "").unwrap();
    wait_hears("ben", &tones, &[1300], || ben.heard().unwrap());
    wait_hears("the second call", &tones, &[700], || asks.heard());
    second.request("BYE", "", "").unwrap();
    second.wait(PATIENCE, ok("BYE")).expect("200");
    cat.forget();
    first.request("INVITE", "", &cat_sdp(&cat, 3)).unwrap();
    first.wait(PATIENCE, ok("INVITE")).expect("200");
    first.request("ACK", "", "").unwrap();
    wait_hears("ann after", &tones, &[1000], || ann.heard().unwrap());
    wait_hears("cat after", &tones, &[500], || cat.heard());
    first.request("BYE", "", "").unwrap();
    first.wait(PATIENCE, ok("BYE")).expect("200");
}

/// RFC 5359 §2.4, §2.5, §2.11: what is not offered yet is refused cleanly, and the call goes on.
#[test]
fn transfer_and_join_are_refused_and_the_call_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let mut ann = opus(folder.path(), "ann", 500);
    ann.call(&server.room("stay")).unwrap();
    let cat = probe(1000);
    let mut phone = Caller::new("cat", server.sip, &server.room("stay")).unwrap();
    phone.request("INVITE", "", &cat_sdp(&cat, 1)).unwrap();
    phone.wait(PATIENCE, ok("INVITE")).expect("200");
    phone.request("ACK", "", "").unwrap();
    let refer = format!("Refer-To: <{}>\r\n", server.room("elsewhere"));
    phone.request("REFER", &refer, "").unwrap();
    let refused = phone
        .wait(PATIENCE, |m| m.header("CSeq").ends_with("REFER"))
        .expect("an answer");
    assert_eq!(refused.status(), Some(405), "{refused:?}");
    let allow = refused.header("Allow");
    assert!(allow.contains("INVITE") && !allow.contains("REFER"), "{allow}");
    // An INVITE that wants to take a place in a dialog, and says that it must be understood.
    for extension in ["replaces", "join"] {
        let mut other = Caller::new(extension, server.sip, &server.room("stay")).unwrap();
        let required = format!("Require: {extension}\r\n");
        let invite = other.request("INVITE", &required, &cat_sdp(&cat, 1)).unwrap();
        let refused = other.wait(PATIENCE, |m| m.answers(420, "INVITE")).expect("420");
        assert_eq!(refused.header("Unsupported"), extension);
        other.send(&same_transaction(&invite, "ACK")).unwrap();
    }
    wait_hears("ann", &[500, 1000], &[1000], || ann.heard().unwrap());
    wait_hears("cat", &[500, 1000], &[500], || cat.heard());
    phone.request("BYE", "", "").unwrap();
    phone.wait(PATIENCE, ok("BYE")).expect("200");
}
