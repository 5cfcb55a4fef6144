//! What new requests come to: the table in `focus::entrance`, and who is let in with `--lan`.

use meet_server::focus::io::FocusInput;
use meet_server::focus::settings::{Admittance, FocusSettings};
use meet_server::registrar::Account;
use sip_proto::endpoint::{Event, ServerTx};
use sip_proto::message::HeaderName;

use crate::house::{House, OFFER, flow, flow_from, lan, request};

const SERVER: &str = "sip:192.168.1.1:5060";

fn uri(user: &str) -> String {
    format!("sip:{user}@192.168.1.1:5060")
}

#[test]
fn options_say_what_we_can_do_and_where_the_api_is() {
    let mut house = House::lan();
    for target in [SERVER.to_owned(), uri("create")] {
        let response = house.ask("OPTIONS", &target);
        assert_eq!(response.status.code(), 200);
        let get = |name| response.headers.get(&name).unwrap_or_default().to_owned();
        assert_eq!(
            get(HeaderName::CallInfo),
            "<http://192.168.1.1:8080>;purpose=meet-api"
        );
        assert_eq!(get(HeaderName::Accept), "application/sdp");
        assert_eq!(get(HeaderName::AllowEvents), "conference");
        assert!(!get(HeaderName::Contact).contains("isfocus"));
    }
    house.join(&uri("blue"), "Ann");
    let response = house.ask("OPTIONS", &uri("blue"));
    let contact = response.headers.get(&HeaderName::Contact).unwrap();
    assert_eq!(contact, "<sip:blue@192.168.1.1:5060>;isfocus");
    assert_eq!(house.ask("OPTIONS", "sip:a%20b@192.168.1.1").status.code(), 404);
}

#[test]
fn lan_admits_local_sources_only() {
    for (source, admitted) in [
        ("127.0.0.1:9", true),
        ("10.1.2.3:9", true),
        ("[fe80::1]:9", true),
        ("[fd00::1]:9", true),
        ("8.8.8.8:9", false),
        ("[2001:db8::1]:9", false),
        ("172.32.0.1:9", false),
    ] {
        let mut house = House::lan();
        let sdp = ["Content-Type: application/sdp"];
        let invite = request("INVITE", &uri("blue"), "<sip:x@h>", &sdp, OFFER);
        let call = house.invite_as(invite, flow_from(source));
        let options = request("OPTIONS", SERVER, "<sip:x@h>", &[], "");
        let register = request("REGISTER", SERVER, "<sip:x@h>", &[], "");
        let asked = [options, register].map(|r| house.ask_as(r, flow_from(source)).status.code());
        if admitted {
            house.accepted(call);
            assert!(!asked.contains(&403), "{source}: {asked:?}");
        } else {
            assert_eq!(house.rejected(call).0, 403, "{source}");
            assert_eq!(asked, [403, 403], "{source}");
            assert!(house.rooms.is_empty());
        }
    }
}

#[test]
fn strangers_names_are_404() {
    let mut house = House::lan();
    assert_eq!(house.invite_refused(SERVER), 404);
    assert_eq!(house.invite_refused("sip:a%20b@192.168.1.1"), 404);
    let mut settings = lan();
    settings.domains = vec!["meet.example".into()];
    let mut house = House::new(settings);
    assert_eq!(house.invite_refused("sip:blue@elsewhere.example"), 404);
    house.join("sip:blue@MEET.example", "Ann");
    house.join(&uri("blue"), "Bob");
}

#[test]
fn a_registered_person_is_not_a_room() {
    let mut house = House::lan();
    let text_to = "sip:ann@192.168.1.1";
    let mut register = request("REGISTER", "sip:192.168.1.1", &format!("<{text_to}>"), &[], "");
    register.headers.set(HeaderName::To, format!("<{text_to}>"));
    let ok = house.ask_as(register, flow());
    assert_eq!(ok.status.code(), 200);
    assert!(
        ok.headers
            .get(&HeaderName::Contact)
            .unwrap()
            .starts_with("<sip:ann@192.168.1.9:5060>;expires=3600")
    );
    assert_eq!(house.invite_refused(text_to), 480);
    assert_eq!(house.records.len(), 1);
}

#[test]
fn other_methods_get_true_answers() {
    let mut house = House::lan();
    for (method, status) in [
        ("INFO", 481),
        ("NOTIFY", 481),
        ("BYE", 481),
        ("MESSAGE", 501),
        ("PUBLISH", 501),
    ] {
        assert_eq!(house.ask(method, &uri("blue")).status.code(), status, "{method}");
    }
}

#[test]
fn without_lan_unknown_rooms_are_404_and_the_api_makes_them() {
    let settings = FocusSettings {
        admittance: Admittance::Accounts,
        ..lan()
    };
    let mut house = House::new(settings);
    house.accounts.insert(
        "ann".into(),
        Account {
            user: "ann".into(),
            display: None,
            secrets: vec![],
        },
    );
    // Without credentials nobody learns whether a room is there.
    assert_eq!(house.invite_refused(&uri("blue")), 401);
    assert_eq!(house.ask("OPTIONS", &uri("blue")).status.code(), 401);
    assert_eq!(house.ask("OPTIONS", SERVER).status.code(), 200);
}

#[test]
fn an_unknown_response_or_timeout_is_no_harm() {
    let mut house = House::lan();
    house.give(FocusInput::Sip(Event::Timeout {
        tx: sip_proto::endpoint::ClientTx(77),
    }));
    let request = request("INFO", &uri("blue"), "<sip:a@h>", &[], "");
    let tx = ServerTx(5);
    house.session(
        sip_proto::endpoint::SessionId(99),
        sip_proto::endpoint::SessionEvent::Request { tx, request },
    );
    assert_eq!(house.response(tx).status.code(), 481);
}

#[test]
fn an_api_on_a_wildcard_is_named_by_the_address_that_was_reached() {
    let mut house = House::new(FocusSettings {
        api_port_beside_sip: Some(8080),
        ..lan()
    });
    let mut flow = flow();
    flow.local = "10.0.0.7:5060".parse().unwrap();
    let options = request("OPTIONS", "sip:10.0.0.7", "<sip:a@h>", &[], "");
    let response = house.ask_as(options, flow);
    let info = response.headers.get(&HeaderName::CallInfo);
    assert_eq!(info, Some("<http://10.0.0.7:8080>;purpose=meet-api"));
}
