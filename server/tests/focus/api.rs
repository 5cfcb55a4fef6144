//! What the API sees and may do.

use std::time::Duration;

use meet_server::focus::api::{ApiRefusal, ApiReply, ApiRequest, Authority, ParticipantStatus};
use meet_server::focus::ids::LegId;
use meet_server::focus::settings::{Admittance, FocusSettings};
use sip_proto::message::HeaderName;

use crate::house::{House, OFFER, flow, lan, request};

const BLUE: &str = "sip:blue@192.168.1.1:5060";

fn name() -> String {
    "blue".into()
}

#[test]
fn meetings_and_people_are_listed() {
    let mut house = House::lan();
    house.join(BLUE, "Ann");
    let lines = ["Content-Type: application/sdp", "User-Agent: Desk\u{7f}Phone"];
    let call = house.invite_as(request("INVITE", BLUE, "<sip:bob@h>", &lines, OFFER), flow());
    house.accepted(call);
    house.pass(Duration::from_secs(5));
    let ApiReply::Meetings(meetings) = house.api(ApiRequest::List) else {
        panic!()
    };
    assert_eq!(meetings.len(), 1);
    assert_eq!(
        (meetings[0].participants, meetings[0].age),
        (2, Duration::from_secs(5))
    );
    assert_eq!(meetings[0].uri, BLUE);
    assert_eq!(
        house.api(ApiRequest::Show { name: name() }),
        ApiReply::Meeting(meetings[0].clone())
    );
    let ApiReply::Participants(people) = house.api(ApiRequest::Participants { name: name() }) else {
        panic!()
    };
    let seen: Vec<_> = people
        .iter()
        .map(|p| (p.display.as_str(), p.status, p.creator))
        .collect();
    assert_eq!(
        seen,
        [
            ("Ann", ParticipantStatus::Connected, true),
            ("bob", ParticipantStatus::Joining, false)
        ]
    );
    assert_eq!(people[0].codec, Some("opus"));
    assert_eq!(people[0].age, Duration::from_secs(5));
}

#[test]
fn what_is_not_there_is_refused() {
    let mut house = House::lan();
    let missing = ApiReply::Refused(ApiRefusal::NoSuchMeeting);
    assert_eq!(house.api(ApiRequest::Show { name: name() }), missing);
    assert_eq!(
        house.api(ApiRequest::Participants { name: "a b".into() }),
        missing
    );
    let end = ApiRequest::End {
        name: name(),
        authority: Authority::Administrator,
    };
    assert_eq!(house.api(end), missing);
    house.join(BLUE, "Ann");
    let remove = ApiRequest::Remove {
        name: name(),
        leg: LegId(9),
        authority: Authority::Administrator,
    };
    assert_eq!(
        house.api(remove),
        ApiReply::Refused(ApiRefusal::NoSuchParticipant)
    );
}

/// With accounts, what a stranger may not do is refused alike for every name, so that names cannot be tried out.
#[test]
fn a_stranger_learns_no_names() {
    let mut house = House::new(FocusSettings {
        admittance: Admittance::Accounts,
        ..lan()
    });
    let create = ApiRequest::Create {
        name: Some("blue".into()),
        subject: None,
    };
    let ApiReply::Created { token, .. } = house.api(create) else {
        panic!()
    };
    let refused = ApiReply::Refused(ApiRefusal::NotAllowed);
    for name in ["blue", "green", "no name"] {
        for authority in [Authority::None, Authority::Token("guess".into())] {
            let name = name.to_owned();
            let mute = ApiRequest::Mute {
                name: name.clone(),
                leg: LegId(1),
                muted: true,
                authority: authority.clone(),
            };
            assert_eq!(house.api(mute), refused, "{name}");
            assert_eq!(house.api(ApiRequest::End { name, authority }), refused);
        }
    }
    let end = |authority| ApiRequest::End {
        name: "blue".into(),
        authority,
    };
    assert_eq!(house.api(end(Authority::Token(token))), ApiReply::Done);
}

#[test]
fn people_are_removed_and_muted_with_the_token_only() {
    let mut house = House::lan();
    let call = house.invite(BLUE, "Ann");
    let (headers, _) = house.accepted(call);
    house.ack(call);
    let bob = house.join(BLUE, "Bob");
    let token = headers
        .get(&HeaderName::CallInfo)
        .unwrap()
        .rsplit('=')
        .next()
        .unwrap()
        .to_owned();
    let mute = |authority| ApiRequest::Mute {
        name: name(),
        leg: LegId(2),
        muted: true,
        authority,
    };
    assert_eq!(
        house.api(mute(Authority::None)),
        ApiReply::Refused(ApiRefusal::NotAllowed)
    );
    assert_eq!(house.api(mute(Authority::Token(token.clone()))), ApiReply::Done);
    let ApiReply::Participants(people) = house.api(ApiRequest::Participants { name: name() }) else {
        panic!()
    };
    assert!(people[1].muted && !people[0].muted);
    let remove = ApiRequest::Remove {
        name: name(),
        leg: LegId(2),
        authority: Authority::Token(token),
    };
    assert_eq!(house.api(remove), ApiReply::Done);
    assert_eq!(
        house.bye(bob).as_deref(),
        Some("SIP;cause=403;text=\"Removed from the meeting\"")
    );
    assert!(house.bye(call).is_none());
}
