//! Races and losses against the real server: after each of them the audio is heard, and once the phones are gone
//! nothing is left of them (RFC 5407 §3 names most of these).
//!
//! The phones are sipp with a PCMU probe, and baresip. Each test has a server of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod hearing;

use std::time::Duration;

use hearing::{PATIENCE, assert_unbroken, opus, probe, wait_hears};
use workshop::baresip::Baresip;
use workshop::caller::Caller;
use workshop::probe::Probe;
use workshop::process::wait_for;
use workshop::scenario::{Scenario, sdp};
use workshop::server::Server;
use workshop::sipp::Sipp;
use workshop::tone::Recording;

const TONES: [u32; 2] = [500, 1000];

/// A server, and ann in the room: a baresip that sends 500 Hz.
struct House {
    folder: tempfile::TempDir,
    server: Server,
    ann: Baresip,
}

impl House {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start_lan_at("127.0.0.1:0", folder.path(), &[], settings).unwrap();
        let mut ann = opus(folder.path(), "ann", 500);
        ann.call(&server.room("race")).unwrap();
        Self { folder, server, ann }
    }

    fn call(&self, name: &str, scenario: &Scenario) -> Sipp {
        Sipp::start(
            self.folder.path(),
            name,
            &scenario.xml(),
            self.server.sip,
            "race",
            &[],
        )
        .unwrap()
    }

    /// A phone worked by hand.
    fn phone(&self) -> Caller {
        Caller::new("cat", self.server.sip, &self.server.room("race")).unwrap()
    }

    fn ann_hears(&self, when: &str, present: &[u32]) {
        let heard = || -> Recording { self.ann.heard().unwrap() };
        wait_hears(&format!("ann {when}"), &TONES, present, heard);
    }

    /// Both hear each other, and only they are in the room.
    fn both_hear(&self, when: &str, cat: &Probe) {
        cat.forget();
        wait_hears(&format!("cat {when}"), &TONES, &[500], || cat.heard());
        self.ann_hears(when, &[1000]);
        assert_eq!(self.people(), 2, "{when}");
    }

    fn people(&self) -> usize {
        let list = self.server.get("/api/v1/meetings/race/participants").unwrap();
        let people = list.as_array().or_else(|| list["participants"].as_array());
        people.unwrap_or_else(|| panic!("{list}")).len()
    }

    fn wait_metric(&self, name: &str, value: f64) {
        let now = || self.server.metric(name).unwrap();
        let there = wait_for(PATIENCE, || (now() == value).then_some(()));
        assert!(there.is_some(), "{name} is {}, not {value}", now());
    }

    /// Ann leaves too: no person, leg or session stays.
    fn empty(mut self) {
        self.ann_hears("at the end", &[]);
        self.wait_metric("meet_people", 1.0);
        self.ann.hang_up().unwrap();
        for name in ["meet_people", "meet_shard_legs", "meet_sip_sessions"] {
            self.wait_metric(name, 0.0);
        }
        assert_eq!(self.server.metric("meet_shard_panics_total").unwrap(), 0.0);
    }
}

/// Cat's description, 1000 Hz on its probe's port.
fn cat_sdp(cat: &Probe, direction: &str, version: u32) -> String {
    sdp("127.0.0.1", cat.address.port(), direction, version)
}

/// Cat's call, up to its ACK.
fn cat_joins(cat: &Probe) -> Scenario {
    Scenario::new("cat")
        .invite(&cat_sdp(cat, "sendrecv", 1))
        .expect(200, &["a=sendrecv"])
        .ack(None)
}

/// RFC 3261 §13.3.1.4: the 2xx is repeated until its ACK comes; the audio does not wait for it.
#[test]
fn a_lost_ack_costs_nothing() {
    let (house, cat) = (House::new(), probe(1000));
    let mut phone = house.phone();
    for version in 1..=2 {
        phone
            .request("INVITE", "", &cat_sdp(&cat, "sendrecv", version))
            .unwrap();
        // The 200 comes three times before an ACK gets through, for the INVITE and for a re-INVITE.
        for _ in 0..3 {
            phone
                .wait(PATIENCE, |m| m.answers(200, "INVITE"))
                .expect("200, repeated");
        }
        house.both_hear("while the ACK is lost", &cat);
        phone.request("ACK", "", "").unwrap();
        // Once the server has answered what came behind the ACK it does not repeat its 200 any more.
        phone.request("OPTIONS", "", "").unwrap();
        phone
            .wait(PATIENCE, |m| m.answers(200, "OPTIONS"))
            .expect("200 to OPTIONS");
        assert_eq!(
            phone.count(Duration::from_millis(4_500), |m| m.answers(200, "INVITE")),
            0
        );
    }
    house.both_hear("afterwards", &cat);
    assert_unbroken(&cat, "the stream to the phone");
    phone.request("BYE", "", "").unwrap();
    phone.wait(PATIENCE, |m| m.answers(200, "BYE")).expect("200");
    house.empty();
}

/// §13.3.1.4: when no ACK comes at all the server ends the call with a BYE.
#[test]
fn an_ack_that_never_comes_ends_in_a_bye() {
    let (house, cat) = (House::new(), probe(1000));
    let mut phone = house.phone();
    phone
        .request("INVITE", "", &cat_sdp(&cat, "sendrecv", 1))
        .unwrap();
    let bye = phone
        .wait(PATIENCE, |m| m.asks("BYE"))
        .expect("a BYE after 64 T1");
    phone.answer(&bye, "200 OK", "", "").unwrap();
    house.empty();
}

/// RFC 3261 §17.2.1, RFC 6026 §7.1: a repeated INVITE is the same call, before, while and after it is answered.
#[test]
fn a_lost_200_is_one_call() {
    let ring = [("MEET_MEETINGS_RING_MILLISECONDS", "700")];
    let (house, cat) = (House::with(&ring), probe(1000));
    let mut phone = house.phone();
    let invite = phone
        .request("INVITE", "", &cat_sdp(&cat, "sendrecv", 1))
        .unwrap();
    phone.send(&invite).unwrap();
    phone.wait(PATIENCE, |m| m.answers(180, "INVITE")).expect("180");
    phone.send(&invite).unwrap();
    let first = phone.wait(PATIENCE, |m| m.answers(200, "INVITE")).expect("200");
    // That one is lost: the phone asks again.
    phone.send(&invite).unwrap();
    let second = phone
        .wait(PATIENCE, |m| m.answers(200, "INVITE"))
        .expect("200, repeated");
    assert_eq!(
        (first.header("To"), &first.body),
        (second.header("To"), &second.body)
    );
    phone.request("ACK", "", "").unwrap();
    house.both_hear("after the lost 200", &cat);
    let bye = phone.request("BYE", "", "").unwrap();
    phone.wait(PATIENCE, |m| m.answers(200, "BYE")).expect("200");
    // Lost as well.
    phone.send(&bye).unwrap();
    phone
        .wait(PATIENCE, |m| m.answers(200, "BYE"))
        .expect("200, repeated");
    house.empty();
}

/// RFC 3261 §9.2, RFC 5407 §3.1.2: it is too late for the CANCEL; the call stands until its BYE.
#[test]
fn a_cancel_that_crosses_the_200_changes_nothing() {
    let (house, cat) = (House::new(), probe(1000));
    let scenario = Scenario::new("cat")
        .invite(&cat_sdp(&cat, "sendrecv", 1))
        .expect(200, &[])
        .cancel()
        .expect_only(200)
        .ack(None)
        .talk_until_told()
        .bye();
    let mut call = house.call("cat", &scenario);
    house.both_hear("after the CANCEL", &cat);
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
    house.empty();
}

/// RFC 5407 §3.2.1: the server's BYE and the phone's re-INVITE cross.
#[test]
fn a_re_invite_that_crosses_the_bye_is_refused_and_the_call_is_over() {
    let (house, cat) = (House::new(), probe(1000));
    let token = created(&house.server, "crossing");
    let scenario = cat_joins(&cat)
        .hear("BYE")
        .in_dialog("INVITE", "", Some(&cat_sdp(&cat, "sendrecv", 2)))
        .expect(481, &[])
        .ack_failure()
        // The server repeats its BYE until it is answered.
        .await_request("BYE", &["Reason:"]);
    let (folder, sip) = (house.folder.path(), house.server.sip);
    let call = Sipp::start(folder, "cat", &scenario.xml(), sip, "crossing", &[]).unwrap();
    house.wait_metric("meet_people", 2.0);
    end(&house.server, "crossing", &token);
    call.finish(PATIENCE).unwrap();
    house.empty();
}

/// The phone's own re-INVITE comes behind its BYE.
#[test]
fn a_re_invite_behind_the_own_bye_is_refused() {
    let (house, cat) = (House::new(), probe(1000));
    let scenario = cat_joins(&cat)
        .talk_until_told()
        .bye()
        .in_dialog("INVITE", "", Some(&cat_sdp(&cat, "sendrecv", 2)))
        .expect(481, &[])
        .ack_failure();
    let mut call = house.call("cat", &scenario);
    house.both_hear("before the BYE", &cat);
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
    house.empty();
}

/// Glare (RFC 3261 §14.2, RFC 6337 §2.3): while our offer of a 200 waits for its answer the phone offers by UPDATE.
#[test]
fn glare_is_491_and_the_phone_s_second_try_succeeds() {
    let (house, cat) = (House::new(), probe(1000));
    let scenario = cat_joins(&cat)
        .talk(1_000)
        .in_dialog("INVITE", "", None)
        .expect(200, &["m=audio [1-9]"])
        .in_dialog("UPDATE", "", Some(&cat_sdp(&cat, "sendrecv", 2)))
        .expect(491, &[])
        .ack(Some(&cat_sdp(&cat, "sendrecv", 2)))
        .talk(500)
        .in_dialog("UPDATE", "", Some(&cat_sdp(&cat, "sendrecv", 3)))
        .expect(200, &["a=sendrecv"])
        .talk_until_told()
        .bye();
    let mut call = house.call("cat", &scenario);
    call.stands(PATIENCE).unwrap();
    house.both_hear("after the glare", &cat);
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
    house.empty();
}

/// RFC 3264 §8.4 and RFC 2543 §B.5: the old way of holding.
#[test]
fn a_hold_with_0_0_0_0_stops_our_audio_and_resumes() {
    let (house, cat) = (House::new(), probe(1000));
    let held = sdp("0.0.0.0", cat.address.port(), "sendrecv", 2);
    let scenario = cat_joins(&cat)
        .talk_until_told()
        .in_dialog("INVITE", "", Some(&held))
        .expect(200, &["m=audio [1-9]"])
        .ack(None)
        .talk_until_told()
        .in_dialog("INVITE", "", Some(&cat_sdp(&cat, "sendrecv", 3)))
        .expect(200, &["a=sendrecv"])
        .ack(None)
        .talk_until_told()
        .bye();
    let mut call = house.call("cat", &scenario);
    house.both_hear("before the hold", &cat);
    call.go_on(PATIENCE).unwrap();
    call.stands(PATIENCE).unwrap();
    // Held: nothing more is sent to cat for a second by ann's clock.
    let still = wait_for(PATIENCE, || {
        let before = cat.received();
        house
            .ann
            .wait_heard(house.ann.heard().unwrap().seconds() + 1.0)
            .unwrap();
        (cat.received() == before).then_some(())
    });
    assert!(still.is_some(), "RTP still goes to a phone on hold");
    call.go_on(PATIENCE).unwrap();
    call.stands(PATIENCE).unwrap();
    house.both_hear("after the hold", &cat);
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
    house.empty();
}

/// RFC 3261 §14.1: a re-INVITE without offer asks for ours.
#[test]
fn an_offerless_re_invite_goes_on_with_the_same_streams() {
    let (house, cat) = (House::new(), probe(1000));
    let scenario = cat_joins(&cat)
        .talk_until_told()
        .in_dialog("INVITE", "", None)
        .expect(200, &["m=audio [1-9]", "PCMU/8000", "a=sendrecv"])
        .ack(Some(&cat_sdp(&cat, "sendrecv", 2)))
        .talk_until_told()
        .bye();
    let mut call = house.call("cat", &scenario);
    house.both_hear("before the offerless re-INVITE", &cat);
    call.go_on(PATIENCE).unwrap();
    call.stands(PATIENCE).unwrap();
    house.both_hear("after the offerless re-INVITE", &cat);
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
    assert_unbroken(&cat, "the stream to the phone has no break");
    house.empty();
}

/// RFC 3550 §8.2: a phone that changes its SSRC goes on being heard.
#[test]
fn a_change_of_ssrc_is_heard() {
    let (house, cat) = (House::new(), probe(1000));
    let mut call = house.call("cat", &cat_joins(&cat).talk_until_told().bye());
    house.both_hear("before", &cat);
    for _ in 0..3 {
        cat.change_ssrc();
        let length = house.ann.heard().unwrap().seconds();
        // Judged only by what was recorded after the change.
        house.ann.wait_heard(length + 1.7).unwrap();
        house.ann_hears("after the change", &[1000]);
    }
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
    house.empty();
}

/// A NAT that forgets its mapping: the old port is silent from then on, and after 500 ms the new one is believed.
#[test]
fn a_nat_rebind_is_followed() {
    let (house, cat) = (House::new(), probe(1000));
    let mut call = house.call("cat", &cat_joins(&cat).talk_until_told().bye());
    house.both_hear("before", &cat);
    for _ in 0..2 {
        cat.rebind().unwrap();
        let length = house.ann.heard().unwrap().seconds();
        house.ann.wait_heard(length + 2.5).unwrap();
        house.both_hear("after the rebind", &cat);
    }
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
    house.empty();
}

/// Another address that breaks in with a stream of its own is neither heard nor sent to.
#[test]
fn a_stranger_is_not_followed() {
    let (house, cat) = (House::new(), probe(1000));
    let mut call = house.call("cat", &cat_joins(&cat).talk_until_told().bye());
    house.both_hear("before", &cat);
    let server_port = cat.sources()[0];
    let stranger = probe(1700);
    stranger.send_to(server_port);
    cat.forget();
    wait_hears("ann", &[500, 1000, 1700], &[1000], || house.ann.heard().unwrap());
    wait_hears("cat", &[500, 1000, 1700], &[500], || cat.heard());
    assert_eq!(stranger.received(), 0);
    drop(stranger);
    call.go_on(PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
    house.empty();
}

/// After all that not even a transaction is left (timers J and I of RFC 3261 run for 32 s).
#[test]
fn transactions_end() {
    let (house, cat) = (House::new(), probe(1000));
    let call = house.call("cat", &cat_joins(&cat).talk(200).bye());
    call.finish(PATIENCE).unwrap();
    let House {
        server,
        mut ann,
        folder: _folder,
    } = house;
    ann.hang_up().unwrap();
    drop(ann);
    let now = || server.metric("meet_sip_transactions").unwrap();
    let there = wait_for(PATIENCE + Duration::from_secs(20), || {
        (now() == 0.0).then_some(())
    });
    assert!(there.is_some(), "{} transactions", now());
}

/// Makes a meeting by the API and gives its creator's token.
fn created(server: &Server, name: &str) -> String {
    let url = format!("http://{}/api/v1/meetings", server.http);
    let made: serde_json::Value = ureq::post(&url)
        .send_json(serde_json::json!({"name": name}))
        .unwrap()
        .body_mut()
        .read_json()
        .unwrap();
    made["token"].as_str().unwrap().to_owned()
}

/// Ends a meeting as its creator.
fn end(server: &Server, name: &str, token: &str) {
    let url = format!("http://{}/api/v1/meetings/{name}", server.http);
    ureq::delete(&url)
        .header("Authorization", &format!("Bearer {token}"))
        .call()
        .unwrap();
}
