//! Accounts: the matrix of challenges, right and wrong answers, late lookups.

use std::time::Duration;

use meet_server::focus::command::SipCommand;
use meet_server::focus::io::{Conduct, FocusInput, FocusOutput};
use meet_server::focus::settings::{Admittance, FocusSettings};
use meet_server::registrar::Account;
use sip_proto::digest::{Algorithm, Credentials, authorize, ha1, strongest};
use sip_proto::endpoint::{ServerTx, SessionEvent, SessionId};
use sip_proto::ids::IdSource;
use sip_proto::message::{HeaderName, Headers, Request};

use crate::house::{House, OFFER, flow, flow_from, lan, request};

const BLUE: &str = "sip:blue@192.168.1.1:5060";
const FACTORY: &str = "sip:create@192.168.1.1:5060";

fn accounts(allow_md5: bool) -> FocusSettings {
    FocusSettings {
        admittance: Admittance::Accounts,
        realm: "meet".into(),
        algorithms: if allow_md5 {
            vec![Algorithm::Sha256, Algorithm::Md5]
        } else {
            vec![Algorithm::Sha256]
        },
        ..lan()
    }
}

fn house(allow_md5: bool) -> House {
    with_ann(accounts(allow_md5))
}

fn with_ann(settings: FocusSettings) -> House {
    let mut house = House::new(settings);
    let secrets = [Algorithm::Sha256, Algorithm::Md5]
        .map(|algorithm| ha1(algorithm, "ann", "meet", "secret"))
        .to_vec();
    let account = Account {
        user: "ann".into(),
        display: Some("Ann Account".into()),
        secrets,
    };
    house.accounts.insert("ann".into(), account);
    house
}

fn call(method: &str, uri: &str, from: &str) -> Request {
    match method {
        "INVITE" => request(method, uri, from, &["Content-Type: application/sdp"], OFFER),
        "SUBSCRIBE" => request(method, uri, from, &["Event: conference"], ""),
        _ => request(method, uri, from, &[], ""),
    }
}

fn challenge_of(house: &mut House, request: &Request) -> Headers {
    let session = house.invite_as(request.clone(), flow());
    let (status, headers) = house.rejected(session);
    assert_eq!(status, 401);
    headers
}

fn with_answer(request: &Request, challenge: &Headers, user: &str, password: &str) -> Request {
    let chosen = strongest(challenge, &HeaderName::WwwAuthenticate).remove(0);
    let credentials = Credentials {
        realm: None,
        user: user.into(),
        password: password.into(),
    };
    let mut ids = IdSource::new([9; 32]);
    let auth = authorize(
        &chosen,
        &credentials,
        &request.method,
        &request.uri,
        &ids.cnonce(),
        1,
    );
    let mut request = request.clone();
    request.headers.set(HeaderName::Authorization, auth);
    request
}

#[test]
fn a_right_answer_comes_in_and_lends_its_name() {
    let mut house = house(false);
    let invite = call("INVITE", FACTORY, "<sip:ann@192.168.1.1>");
    let challenge = challenge_of(&mut house, &invite);
    assert_eq!(
        challenge.get_all(&HeaderName::WwwAuthenticate).count(),
        1,
        "SHA-256 only"
    );
    let session = house.invite_as(with_answer(&invite, &challenge, "ann", "secret"), flow());
    house.accepted(session);
    house.ack(session);
    let text = format!("{:?}", house.records);
    assert!(
        text.contains("Ann Account") && text.contains("account: Some(\"ann\")"),
        "{text}"
    );
}

/// RFC 3261 §19.1.4: user names differ by case. Otherwise one account could register under each way to write its name,
/// past the limit for one user, and under the name of another account.
#[test]
fn an_account_is_its_own_spelling_only() {
    for (name, status) in [("ann", 200), ("%61nn", 200), ("Ann", 403), ("ANN", 403)] {
        let mut house = house(false);
        let me = format!("<sip:{name}@192.168.1.1>");
        let lines = ["Contact: <sip:ann@192.168.1.9>"];
        let mut register = request("REGISTER", "sip:192.168.1.1", &me, &lines, "");
        register.headers.set(HeaderName::To, &me);
        let SipCommand::TurnAway { headers, .. } = house.arrival(register.clone(), flow()) else {
            panic!("let in without a password")
        };
        let answered = house.ask_as(with_answer(&register, &headers, "ann", "secret"), flow());
        assert_eq!(answered.status.code(), status, "{name}");
    }
}

/// What a request without credentials, or with made-up ones, costs: one stateless answer.
#[test]
fn strangers_are_turned_away_before_anything_is_kept() {
    let mut house = house(false);
    house.answers_lookups = false;
    for method in ["INVITE", "SUBSCRIBE", "REGISTER", "OPTIONS"] {
        let request = call(method, BLUE, "<sip:ann@192.168.1.1>");
        let SipCommand::TurnAway { status, headers, .. } = house.arrival(request.clone(), flow()) else {
            panic!("{method} was let in")
        };
        assert_eq!(status.code(), 401);
        let genuine = with_answer(&request, &headers, "ann", "secret");
        let mut forged = with_answer(&request, &headers, "ann", "secret");
        let auth = forged.headers.get(&HeaderName::Authorization).unwrap();
        let auth = auth.replacen("nonce=\"0", "nonce=\"1", 1);
        forged.headers.set(HeaderName::Authorization, auth);
        let SipCommand::TurnAway { status, headers, .. } = house.arrival(forged.clone(), flow()) else {
            panic!("{method} with a forged nonce was let in")
        };
        assert_eq!(status.code(), 401);
        assert!(
            headers
                .get(&HeaderName::WwwAuthenticate)
                .unwrap()
                .contains("stale=true")
        );
        assert!(house.lookups.is_empty(), "{method}: the account was looked up");
        let back = house.arrival(genuine, flow());
        assert!(matches!(back, SipCommand::TakeIn { .. }), "{method}: {back:?}");
    }
    assert!(house.rooms.is_empty());
    let open = call("OPTIONS", "sip:192.168.1.1:5060", "<sip:ann@192.168.1.1>");
    let answer = house.arrival(open, flow());
    assert!(
        matches!(answer, SipCommand::AnswerArrival { ref response, .. } if response.status.code() == 200)
    );
}

/// A wrong password is blamed on a sender who received our challenge, and on nobody else.
#[test]
fn only_who_received_the_challenge_is_blamed() {
    let elsewhere = flow_from("192.168.1.77:5060");
    for (password, from, conduct) in [
        ("secret", flow(), vec![Conduct::Authenticated]),
        ("guess", flow(), vec![Conduct::WrongPassword]),
        ("guess", elsewhere, vec![]),
        ("secret", elsewhere, vec![]),
    ] {
        let mut house = house(false);
        let invite = call("INVITE", FACTORY, "<sip:ann@192.168.1.1>");
        let challenge = challenge_of(&mut house, &invite);
        house.invite_as(with_answer(&invite, &challenge, "ann", password), from);
        assert_eq!(house.conduct, conduct, "{password} from {}", from.remote);
    }
}

#[test]
fn md5_is_offered_only_when_allowed() {
    let mut house = house(true);
    let invite = call("INVITE", FACTORY, "<sip:ann@192.168.1.1>");
    let challenge = challenge_of(&mut house, &invite);
    let lines: Vec<&str> = challenge.get_all(&HeaderName::WwwAuthenticate).collect();
    assert!(
        lines[0].contains("SHA-256") && lines[1].contains("MD5"),
        "{lines:?}"
    );
}

#[test]
fn wrong_passwords_users_and_identities_are_403() {
    for (from, user, password) in [
        ("<sip:ann@192.168.1.1>", "ann", "wrong"),
        ("<sip:bob@192.168.1.1>", "bob", "secret"),
        ("<sip:bob@192.168.1.1>", "ann", "secret"),
    ] {
        let mut house = house(false);
        let invite = call("INVITE", FACTORY, from);
        let challenge = challenge_of(&mut house, &invite);
        let session = house.invite_as(with_answer(&invite, &challenge, user, password), flow());
        assert_eq!(house.rejected(session).0, 403, "{from} {user} {password}");
        assert!(house.rooms.is_empty());
    }
}

#[test]
fn an_old_nonce_is_stale_not_wrong() {
    let mut house = house(false);
    let invite = call("INVITE", FACTORY, "<sip:ann@192.168.1.1>");
    let challenge = challenge_of(&mut house, &invite);
    house.pass(Duration::from_secs(3600));
    let session = house.invite_as(with_answer(&invite, &challenge, "ann", "secret"), flow());
    let (status, headers) = house.rejected(session);
    assert_eq!(status, 401);
    assert!(
        headers
            .get(&HeaderName::WwwAuthenticate)
            .unwrap()
            .contains("stale=true")
    );
}

#[test]
fn rooms_are_made_by_the_factory_only_and_404_otherwise() {
    let mut house = house(false);
    let invite = call("INVITE", BLUE, "<sip:ann@192.168.1.1>");
    let challenge = challenge_of(&mut house, &invite);
    let session = house.invite_as(with_answer(&invite, &challenge, "ann", "secret"), flow());
    assert_eq!(house.rejected(session).0, 404);
}

#[test]
fn registering_is_for_oneself() {
    for (aor, expected) in [("sip:ann@192.168.1.1", 200), ("sip:bob@192.168.1.1", 403)] {
        let mut house = house(false);
        let mut register = call("REGISTER", "sip:192.168.1.1", &format!("<{aor}>"));
        register.headers.set(HeaderName::To, format!("<{aor}>"));
        let challenge = house.ask_as(register.clone(), flow());
        assert_eq!(challenge.status.code(), 401);
        let answer = with_answer(&register, &challenge.headers, "ann", "secret");
        assert_eq!(house.ask_as(answer, flow()).status.code(), expected, "{aor}");
    }
}

#[test]
fn subscribing_needs_the_account_too() {
    let mut house = house(false);
    let subscription = house.subscribe_as(call("SUBSCRIBE", BLUE, "<sip:ann@192.168.1.1>"));
    let refused = house.take(|c| {
        matches!(c, SipCommand::RejectSubscription { subscription: s, status, .. }
            if *s == subscription && status.code() == 401)
    });
    assert!(refused.is_some(), "{:?}", house.sip);
}

#[test]
fn a_lookup_that_takes_too_long_is_503_and_its_late_answer_nothing() {
    let mut house = house(false);
    house.answers_lookups = false;
    let invite = call("INVITE", FACTORY, "<sip:ann@192.168.1.1>");
    let challenge = challenge_of(&mut house, &invite);
    let answer = with_answer(&invite, &challenge, "ann", "secret");
    let session = house.invite_as(answer.clone(), flow());
    house.pass(Duration::from_secs(5));
    assert_eq!(house.rejected(session).0, 503);
    let Some(FocusOutput::LookUp { id, user, .. }) = house.lookups.pop() else {
        panic!()
    };
    assert_eq!(user, "ann");
    let account = house.accounts.get("ann").cloned();
    house.give(FocusInput::Account { id, account });
    assert!(house.sip.is_empty() && house.rooms.is_empty());

    // A caller who gives up while waiting is forgotten.
    let session = house.invite_as(answer, flow());
    house.session(session, SessionEvent::Cancelled);
    house.pass(Duration::from_secs(5));
    assert!(house.sip.is_empty(), "{:?}", house.sip);
}

#[test]
fn waiting_lookups_are_bounded() {
    let mut house = house(false);
    house.answers_lookups = false;
    let invite = call("INVITE", FACTORY, "<sip:ann@192.168.1.1>");
    let challenge = challenge_of(&mut house, &invite);
    let answer = with_answer(&invite, &challenge, "ann", "secret");
    let sessions: Vec<SessionId> = (0..1_001)
        .map(|_| house.invite_as(answer.clone(), flow()))
        .collect();
    assert_eq!(house.lookups.len(), 1_000);
    assert_eq!(house.rejected(sessions[1_000]).0, 503);
    let _ = ServerTx(0);
}

/// Found in review: the INVITE that only fetches its challenge took as much of the rate of new calls as the call.
#[test]
fn only_the_invite_with_credentials_counts_as_a_new_call() {
    let mut settings = accounts(false);
    settings.load.calls_per_second = 2;
    let mut house = with_ann(settings);
    let invite = call("INVITE", FACTORY, "<sip:ann@192.168.1.1>");
    let challenge = challenge_of(&mut house, &invite);
    let status = |command: SipCommand| match command {
        SipCommand::TurnAway { status, .. } => status.code(),
        SipCommand::TakeIn { .. } => 100,
        other => panic!("{other:?}"),
    };
    for _ in 0..10 {
        assert_eq!(status(house.arrival(invite.clone(), flow())), 401);
    }
    let answered = with_answer(&invite, &challenge, "ann", "secret");
    let come = [(); 4].map(|()| status(house.arrival(answered.clone(), flow())));
    assert_eq!(come, [100, 100, 503, 503]);
    assert_eq!(
        status(house.arrival(invite, flow())),
        401,
        "it may ask all the same"
    );
}
