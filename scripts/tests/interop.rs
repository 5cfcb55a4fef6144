//! Foreign phones in rooms of a real server: Debian's baresip (Opus, PCMU) and sipp with a PCMU probe.
//!
//! Every phone sends a tone of its own; Goertzel on what each one received says whom it heard.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod hearing;

use std::path::Path;

use hearing::{PATIENCE, assert_unbroken, opus, probe, wait_hears};

use workshop::baresip::{Baresip, Options};
use workshop::probe::Probe;
use workshop::scenario::{Scenario, sdp};
use workshop::server::Server;
use workshop::sipp::Sipp;

fn pcmu(folder: &Path, user: &str, tone: u32) -> Baresip {
    Baresip::start(folder, &Options::new(user, "PCMU/8000/1", tone)).unwrap()
}

#[test]
fn phones_hear_all_others_of_their_room_not_themselves_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let tones = [500, 700, 1000, 1300, 1700, 2100];
    // Red: baresip in Opus and in PCMU, sipp. Blue: baresip in Opus, sipp, sipp.
    let mut ann = opus(folder.path(), "ann", 500);
    let mut ben = pcmu(folder.path(), "ben", 700);
    let mut eve = opus(folder.path(), "eve", 1300);
    let (cat, fay, gus) = (probe(1000), probe(1700), probe(2100));
    ann.call(&server.room("red")).unwrap();
    ben.call(&server.room("red")).unwrap();
    eve.call(&server.room("blue")).unwrap();
    let sipp = |name: &str, room: &str, probe: &Probe| {
        let scenario = Scenario::new(name)
            .invite(&sdp("127.0.0.1", probe.address.port(), "sendrecv", 1))
            .expect(200, &["isfocus", "m=audio [1-9]"])
            .ack(None)
            .talk_until_told()
            .bye();
        Sipp::start(folder.path(), name, &scenario.xml(), server.sip, room, &[]).unwrap()
    };
    let calls = [
        sipp("cat", "red", &cat),
        sipp("fay", "blue", &fay),
        sipp("gus", "blue", &gus),
    ];
    wait_hears("ann", &tones, &[700, 1000], || ann.heard().unwrap());
    wait_hears("ben", &tones, &[500, 1000], || ben.heard().unwrap());
    wait_hears("cat", &tones, &[500, 700], || cat.heard());
    wait_hears("eve", &tones, &[1700, 2100], || eve.heard().unwrap());
    wait_hears("fay", &tones, &[1300, 2100], || fay.heard());
    wait_hears("gus", &tones, &[1300, 1700], || gus.heard());
    for mut call in calls {
        call.go_on(PATIENCE).unwrap();
        call.finish(PATIENCE).unwrap();
    }
    // sipp hung up: those who stay still hear each other, and no longer those who left.
    wait_hears("ann", &tones, &[700], || ann.heard().unwrap());
    wait_hears("ben", &tones, &[500], || ben.heard().unwrap());
    assert_unbroken(&cat, "the RTP stream to sipp has no gap");
    ann.hang_up().unwrap();
    ben.hang_up().unwrap();
    eve.hang_up().unwrap();
}

#[test]
fn hold_and_resume_by_re_invite_keep_the_audio() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let tones = [500, 1000];
    let mut ann = opus(folder.path(), "ann", 500);
    ann.call(&server.room("hold")).unwrap();
    let cat = probe(1000);
    let port = cat.address.port();
    let scenario = Scenario::new("cat")
        .invite(&sdp("127.0.0.1", port, "sendrecv", 1))
        .expect(200, &["a=sendrecv"])
        .ack(None)
        .talk_until_told()
        .in_dialog("INVITE", "", Some(&sdp("127.0.0.1", port, "sendonly", 2)))
        .expect(200, &["a=recvonly"])
        .ack(None)
        .talk(1_000)
        .in_dialog("INVITE", "", Some(&sdp("127.0.0.1", port, "inactive", 3)))
        .expect(200, &["a=inactive"])
        .ack(None)
        .talk_until_told()
        .in_dialog("INVITE", "", Some(&sdp("127.0.0.1", port, "sendrecv", 4)))
        .expect(200, &["a=sendrecv"])
        .ack(None)
        .talk_until_told()
        .bye();
    let mut call = Sipp::start(folder.path(), "cat", &scenario.xml(), server.sip, "hold", &[]).unwrap();
    wait_hears("ann before", &tones, &[1000], || ann.heard().unwrap());
    wait_hears("cat before", &tones, &[500], || cat.heard());
    call.go_on(PATIENCE).unwrap();
    call.stands(PATIENCE).unwrap();
    // inactive: cat still sends, nobody hears it, and nothing is sent to it.
    wait_hears("ann during", &tones, &[], || ann.heard().unwrap());
    let before = cat.received();
    let silence = ann.heard().unwrap().seconds() + 0.5;
    ann.wait_heard(silence).unwrap();
    assert_eq!(cat.received(), before, "a phone on hold gets no RTP");
    cat.forget();
    call.go_on(PATIENCE).unwrap();
    wait_hears("ann after", &tones, &[1000], || ann.heard().unwrap());
    wait_hears("cat after", &tones, &[500], || cat.heard());
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
}

#[test]
fn baresip_holds_and_resumes_and_is_heard_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let tones = [500, 700];
    let (mut ann, mut ben) = (opus(folder.path(), "ann", 500), pcmu(folder.path(), "ben", 700));
    ann.call(&server.room("pause")).unwrap();
    ben.call(&server.room("pause")).unwrap();
    wait_hears("ben before", &tones, &[500], || ben.heard().unwrap());
    ann.command("hold", "").unwrap();
    wait_hears("ben during", &tones, &[], || ben.heard().unwrap());
    ann.command("resume", "").unwrap();
    wait_hears("ben after", &tones, &[500], || ben.heard().unwrap());
    wait_hears("ann after", &tones, &[700], || ann.heard().unwrap());
}

#[test]
fn the_mute_code_works_as_telephone_event_and_as_info() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let tones = [500, 1000];
    let mut ann = opus(folder.path(), "ann", 500);
    ann.call(&server.room("keys")).unwrap();
    let cat = probe(1000);
    let relay = |digit: char| format!("Signal={digit}\nDuration=160\n");
    let info = "Content-Type: application/dtmf-relay\n";
    let scenario = Scenario::new("cat")
        .invite(&sdp("127.0.0.1", cat.address.port(), "sendrecv", 1))
        .expect(200, &["telephone-event/8000"])
        .ack(None)
        .talk_until_told()
        .in_dialog("INFO", info, Some(&relay('*')))
        .expect_only(200)
        .in_dialog("INFO", info, Some(&relay('6')))
        .expect_only(200)
        .talk_until_told()
        .bye();
    let mut call = Sipp::start(folder.path(), "cat", &scenario.xml(), server.sip, "keys", &[]).unwrap();
    wait_hears("ann before", &tones, &[1000], || ann.heard().unwrap());
    for digit in ['*', '6'] {
        cat.press(digit);
    }
    wait_hears("ann, cat muted", &tones, &[], || ann.heard().unwrap());
    // The INFOs of the scenario unmute.
    call.go_on(PATIENCE).unwrap();
    wait_hears("ann, cat unmuted", &tones, &[1000], || ann.heard().unwrap());
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
}

#[test]
fn an_offerless_invite_gets_an_offer_and_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let tones = [500, 1000];
    let mut ann = opus(folder.path(), "ann", 500);
    ann.call(&server.room("late")).unwrap();
    let cat = probe(1000);
    let answer = sdp("127.0.0.1", cat.address.port(), "sendrecv", 1);
    let scenario = Scenario::new("cat")
        .invite("")
        .expect(200, &["m=audio [1-9]", "opus/48000/2", "PCMU/8000", "a=sendrecv"])
        .ack(Some(&answer))
        .talk_until_told()
        .bye();
    let mut call = Sipp::start(folder.path(), "cat", &scenario.xml(), server.sip, "late", &[]).unwrap();
    wait_hears("ann", &tones, &[1000], || ann.heard().unwrap());
    wait_hears("cat", &tones, &[500], || cat.heard());
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
}

#[test]
fn sipp_joins_over_tcp_and_is_told_of_the_end_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    let meetings = format!("http://{}/api/v1/meetings", server.http);
    let made: serde_json::Value = ureq::post(&meetings)
        .send_json(serde_json::json!({"name": "stream"}))
        .unwrap()
        .body_mut()
        .read_json()
        .unwrap();
    let mut ann = opus(folder.path(), "ann", 500);
    ann.call(&server.room("stream")).unwrap();
    let cat = probe(1000);
    let scenario = Scenario::new("cat")
        .invite(&sdp("127.0.0.1", cat.address.port(), "sendrecv", 1))
        .expect(200, &["transport=tcp"])
        .ack(None)
        .await_request("BYE", &["SIP/2.0/TCP", "Reason:"]);
    let tcp = ["-t", "t1"];
    let call = Sipp::start(folder.path(), "cat", &scenario.xml(), server.sip, "stream", &tcp).unwrap();
    wait_hears("cat", &[500, 1000], &[500], || cat.heard());
    wait_hears("ann", &[500, 1000], &[1000], || ann.heard().unwrap());
    ureq::delete(&format!("{meetings}/stream"))
        .header(
            "Authorization",
            &format!("Bearer {}", made["token"].as_str().unwrap()),
        )
        .call()
        .unwrap();
    call.finish(PATIENCE).unwrap();
}

#[test]
fn an_offer_of_srtp_only_is_refused_and_never_answered_with_clear_media() {
    let folder = tempfile::tempdir().unwrap();
    let off = [("MEET_MEDIA_SRTP", "off")];
    let server = Server::start_lan_at("127.0.0.1:0", folder.path(), &[], &off).unwrap();
    let cat = probe(1000);
    let clear = sdp("127.0.0.1", cat.address.port(), "sendrecv", 1);
    let crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\n";
    let sealed = clear.replace("RTP/AVP", "RTP/SAVP") + crypto;
    let refused = Scenario::new("cat")
        .invite(&sealed)
        .expect(488, &["Warning:"])
        .ack_failure();
    Sipp::start(folder.path(), "sealed", &refused.xml(), server.sip, "sealed", &[])
        .unwrap()
        .finish(PATIENCE)
        .unwrap();
    // The same crypto line as an option in RTP/AVP is taken as clear.
    let optional = Scenario::new("cat")
        .invite(&(clear + crypto))
        .expect(200, &["m=audio [1-9][0-9]* RTP/AVP "])
        .ack(None)
        .talk(200)
        .bye();
    Sipp::start(
        folder.path(),
        "optional",
        &optional.xml(),
        server.sip,
        "sealed",
        &[],
    )
    .unwrap()
    .finish(PATIENCE)
    .unwrap();
}

#[test]
fn a_call_cancelled_before_the_answer_leaves_the_audio_of_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ring = [("MEET_MEETINGS_RING_MILLISECONDS", "1500")];
    let server = Server::start_lan_at("127.0.0.1:0", folder.path(), &[], &ring).unwrap();
    let tones = [500, 700, 1000];
    let (mut ann, mut ben) = (opus(folder.path(), "ann", 500), pcmu(folder.path(), "ben", 700));
    ann.call(&server.room("cancel")).unwrap();
    ben.call(&server.room("cancel")).unwrap();
    let cat = probe(1000);
    let scenario = Scenario::new("cat")
        .invite(&sdp("127.0.0.1", cat.address.port(), "sendrecv", 1))
        .ring()
        .cancel()
        .expect_only(200)
        .expect_only(487)
        .ack_failure();
    Sipp::start(folder.path(), "cat", &scenario.xml(), server.sip, "cancel", &[])
        .unwrap()
        .finish(PATIENCE)
        .unwrap();
    wait_hears("ann", &tones, &[700], || ann.heard().unwrap());
    wait_hears("ben", &tones, &[500], || ben.heard().unwrap());
    assert_eq!(cat.received(), 0, "no media before an answer");
}

#[test]
fn phones_meet_over_ipv6() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan_at("[::1]:0", folder.path(), &[], &[]).unwrap();
    let probes =
        [500, 1000].map(|tone| Probe::start(std::net::Ipv6Addr::LOCALHOST.into(), tone as f32).unwrap());
    let calls = [("ann", &probes[0]), ("cat", &probes[1])].map(|(name, probe)| {
        let offer = sdp("::1", probe.address.port(), "sendrecv", 1).replace("IN IP4", "IN IP6");
        let scenario = Scenario::new(name)
            .invite(&offer)
            .expect(200, &["c=IN IP6 ::1", "Contact:.*@\\[::1\\]:"])
            .ack(None)
            .talk_until_told()
            .bye();
        let mut sipp = std::process::Command::new("sipp");
        sipp.args(["-i", "::1"]);
        Sipp::start_as(sipp, folder.path(), name, &scenario.xml(), server.sip, "six", &[]).unwrap()
    });
    wait_hears("ann", &[500, 1000], &[1000], || probes[0].heard());
    wait_hears("cat", &[500, 1000], &[500], || probes[1].heard());
    for mut call in calls {
        call.go_on(PATIENCE).unwrap();
        call.finish(PATIENCE).unwrap();
    }
}
