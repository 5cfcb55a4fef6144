//! The document: round trip, schema order, tolerance, refusals.

use proptest::prelude::*;

use super::*;

fn roster() -> Document {
    let media = Media {
        id: "1".to_owned(),
        media_type: Some("audio".to_owned()),
        label: Some("a".to_owned()),
        src_id: Some("3735928559".to_owned()),
        status: Some(MediaStatus::SendRecv),
        muted: Some(true),
        display_text: Some("main".to_owned()),
    };
    let endpoint = Endpoint {
        entity: Some("sip:alice@192.0.2.1:5060".to_owned()),
        display_text: Some("phone".to_owned()),
        status: Some(EndpointStatus::Connected),
        joining_method: Some(JoiningMethod::DialedIn),
        joined_at: Some("2026-11-21T10:00:00Z".to_owned()),
        disconnection_method: Some(DisconnectionMethod::Departed),
        media: vec![media],
        ..Endpoint::default()
    };
    let page = UriEntry {
        uri: "http://192.0.2.9:8080/?a=1&b=2".to_owned(),
        display_text: Some("page".to_owned()),
        purpose: Some("web-page".to_owned()),
    };
    Document {
        entity: "sip:standup@192.0.2.9".to_owned(),
        state: State::Full,
        version: Some(7),
        description: Some(Description {
            display_text: Some("Stand-up".to_owned()),
            subject: Some("What's <new> & \"old\"".to_owned()),
            free_text: Some("two\nlines\ttab\rreturn".to_owned()),
            conf_uris: vec![UriEntry {
                uri: "sip:standup@192.0.2.9".to_owned(),
                ..UriEntry::default()
            }],
            service_uris: vec![page.clone()],
            maximum_user_count: Some(100),
        }),
        host_info: Some(HostInfo {
            display_text: Some("Meet".to_owned()),
            web_page: Some("http://example.org/".to_owned()),
            uris: vec![page],
        }),
        conference_state: Some(ConferenceState {
            user_count: Some(2),
            active: Some(true),
            locked: Some(false),
        }),
        users: Some(vec![
            User {
                entity: Some("sip:alice@example.org".to_owned()),
                display_text: Some("Ålice 🎧 </user>".to_owned()),
                roles: vec!["moderator".to_owned(), "participant".to_owned()],
                endpoints: vec![endpoint],
                ..User::default()
            },
            User {
                entity: Some("sip:bob@example.org".to_owned()),
                state: State::Deleted,
                ..User::default()
            },
        ]),
        active_speaker: Some("sip:alice@example.org".to_owned()),
    }
}

#[test]
fn round_trip() {
    let document = roster();
    assert_eq!(Document::parse(document.to_xml().as_bytes()), Ok(document));
    let bare = Document {
        entity: "sip:x@y".to_owned(),
        ..Document::default()
    };
    assert_eq!(Document::parse(bare.to_xml().as_bytes()), Ok(bare));
}

/// RFC 4575 §6: every complex type is a sequence, so a validating reader wants exactly this order.
#[test]
fn elements_stand_in_the_order_of_the_schema() {
    let orders: [(&str, &[&str]); 9] = [
        (
            "conference-info",
            &[
                "conference-description",
                "host-info",
                "conference-state",
                "users",
                "meet:active-speaker",
            ],
        ),
        (
            "conference-description",
            &[
                "display-text",
                "subject",
                "free-text",
                "conf-uris",
                "service-uris",
                "maximum-user-count",
            ],
        ),
        ("host-info", &["display-text", "web-page", "uris"]),
        ("conference-state", &["user-count", "active", "locked"]),
        ("users", &["user"]),
        ("user", &["display-text", "roles", "endpoint"]),
        (
            "endpoint",
            &[
                "display-text",
                "status",
                "joining-method",
                "joining-info",
                "disconnection-method",
                "media",
            ],
        ),
        (
            "media",
            &["display-text", "type", "label", "src-id", "status", "meet:muted"],
        ),
        ("uris", &["entry"]),
    ];
    let xml = roster().to_xml();
    let mut reader = quick_xml::Reader::from_str(&xml);
    let mut path: Vec<(String, usize)> = Vec::new();
    let mut checked = 0;
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Start(start) => {
                let name = start.name().as_ref().to_owned();
                if let Some((parent, reached)) = path.last_mut()
                    && let Some((_, order)) = orders.iter().find(|(known, _)| known == parent)
                {
                    let place = order.iter().position(|known| *known == name);
                    let place = place.unwrap_or_else(|| panic!("{name} in {parent}"));
                    assert!(place >= *reached, "{name} out of order in {parent}");
                    *reached = place;
                    checked += 1;
                }
                path.push((name, 0));
            }
            quick_xml::events::Event::End(_) => drop(path.pop()),
            quick_xml::events::Event::Eof => break,
            _ => {}
        }
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn other_writers_are_understood() {
    let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
        <!-- another focus -->
        <c:conference-info xmlns:c="urn:ietf:params:xml:ns:conference-info" xmlns:m="urn:meet:conference"
            xmlns:x="urn:other" entity='sips:c@example.org' state="partial" version=" 12 ">
          <x:users><x:user/></x:users>
          <c:users state="partial">
            <c:user entity="sip:bob@example.org" state="partial" x:flag="1">
              <c:display-text><![CDATA[Bob & <Co>]]> &#x26; Söhne &amp;c.</c:display-text>
              <c:languages>en</c:languages>
              <c:endpoint entity="sip:bob@pc">
                <c:media id="1"><x:muted>true</x:muted><c:status> sendonly </c:status><m:muted>0</m:muted></c:media>
                <c:status>resting</c:status>
                <c:call-info><c:sip><c:call-id>1</c:call-id></c:sip></c:call-info>
              </c:endpoint>
            </c:user>
          </c:users>
          <c:conference-state><c:user-count>many</c:user-count><c:active>1</c:active></c:conference-state>
          <c:sidebars-by-ref/>
        </c:conference-info>"#;
    let document = Document::parse(xml.as_bytes()).unwrap();
    assert_eq!((document.state, document.version), (State::Partial, Some(12)));
    let state = document.conference_state.unwrap();
    assert_eq!((state.user_count, state.active), (None, Some(true)));
    let user = &document.users.unwrap()[0];
    assert_eq!(user.display_text.as_deref(), Some("Bob & <Co> & Söhne &c."));
    let endpoint = &user.endpoints[0];
    assert_eq!(endpoint.status, None);
    assert_eq!(
        (endpoint.media[0].status, endpoint.media[0].muted),
        (Some(MediaStatus::SendOnly), Some(false))
    );
    assert_eq!(document.active_speaker, None);
}

#[test]
fn bad_documents_are_refused() {
    let wrap = |inner: &str| {
        format!("<conference-info xmlns=\"{NAMESPACE}\" entity=\"sip:x@y\">{inner}</conference-info>")
    };
    let bomb = "<!DOCTYPE b [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>";
    let cases = [
        (String::new(), "NotWellFormed"),
        ("hello".to_owned(), "NotWellFormed"),
        ("<conference-info".to_owned(), "NotWellFormed"),
        ("<a><b></a></b>".to_owned(), "NotWellFormed"),
        ("<a/><b/>".to_owned(), "NotWellFormed"),
        ("<a/>text".to_owned(), "NotWellFormed"),
        ("<a></a></a>".to_owned(), "NotWellFormed"),
        (wrap("<users>"), "NotWellFormed"),
        (wrap("<users x=1/>"), "NotWellFormed"),
        (wrap("&#0;"), "NotWellFormed"),
        (format!("{bomb}{}", wrap("&b;")), "DocumentType"),
        (wrap("&b;"), "Entity"),
        (
            "<conference-info entity=\"sip:x@y\"/>".to_owned(),
            "NotConferenceInfo",
        ),
        (
            format!("<conference-info xmlns=\"{NAMESPACE}\"/>"),
            "NotConferenceInfo",
        ),
        (
            format!("<users xmlns=\"{NAMESPACE}\" entity=\"x\"/>"),
            "NotConferenceInfo",
        ),
        (wrap(&"<x>".repeat(1_000)), "TooDeep"),
        (
            wrap(&format!(
                "<x{}/>",
                (0..65).map(|n| format!(" a{n}=''")).collect::<String>()
            )),
            "TooManyAttributes",
        ),
        (wrap("<x a='1' a='2'/>"), "NotWellFormed"),
        (wrap(&"x".repeat(MAX_BYTES)), "TooLong"),
    ];
    for (xml, expected) in cases {
        let error = Document::parse(xml.as_bytes()).unwrap_err();
        assert!(
            format!("{error:?}").starts_with(expected),
            "{error:?} for {xml:.80}"
        );
    }
    assert_eq!(Document::parse(b"<a>\xff</a>"), Err(ParseError::Encoding));
    assert_eq!(
        Document::parse(&vec![b' '; MAX_BYTES + 1]).unwrap_err().fault(),
        crate::error::Fault::Limit
    );
}

#[test]
fn forbidden_characters_are_replaced() {
    let mut document = roster();
    document.entity = "sip:\u{0}x\u{ffff}@y".to_owned();
    let back = Document::parse(document.to_xml().as_bytes()).unwrap();
    assert_eq!(back.entity, "sip:\u{fffd}x\u{fffd}@y");
}

proptest! {
    #[test]
    fn any_name_survives(name in "\\PC*", subject in "[\\PC\\n\\t\\r<&>'\"\\]]*") {
        let mut document = roster();
        document.entity.clone_from(&name);
        document.active_speaker = Some(subject.clone());
        if let Some(users) = &mut document.users {
            users[0].display_text = Some(name);
            users[0].roles = vec![subject];
        }
        prop_assume!(!document.to_xml().contains('\u{fffd}'));
        prop_assert_eq!(Document::parse(document.to_xml().as_bytes()), Ok(document));
    }

    #[test]
    fn damaged_documents_never_panic(at in 0_usize..3_000, with in proptest::collection::vec(any::<u8>(), 0..8)) {
        let mut xml = roster().to_xml().into_bytes();
        let at = at.min(xml.len());
        let end = (at + with.len()).min(xml.len());
        xml.splice(at..end, with);
        let _ = Document::parse(&xml);
        let _ = Document::parse(&xml[..at]);
    }
}
