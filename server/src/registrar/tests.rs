//! The registrar's matrix: RFC 3261 §10.3 step by step.

use super::*;

const CONTACT: &str = "<sip:ann@192.0.2.9:5070>";

struct Case {
    registrar: Registrar,
    now: Instant,
    cseq: u32,
}

impl Case {
    fn new() -> Self {
        Self {
            registrar: Registrar::new(RegistrarSettings::default()),
            now: Instant::now(),
            cseq: 0,
        }
    }

    /// Sends a REGISTER with these further header lines and the next CSeq.
    fn send(&mut self, call_id: &str, lines: &[&str]) -> Response {
        self.cseq += 1;
        self.send_as("sip:ann@example.org", call_id, self.cseq, lines).0
    }

    fn send_as(
        &mut self,
        aor: &str,
        call_id: &str,
        cseq: u32,
        lines: &[&str],
    ) -> (Response, Option<StoreRecord>) {
        let text = format!(
            "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKr{cseq}\r\n\
             From: <{aor}>;tag=1\r\nTo: <{aor}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n\
             Max-Forwards: 70\r\n{}Content-Length: 0\r\n\r\n",
            lines.iter().map(|line| format!("{line}\r\n")).collect::<String>()
        );
        let Ok(sip_proto::message::Message::Request(request)) = sip_proto::message::parse(text.as_bytes())
        else {
            panic!("{text}");
        };
        let fits = |uri: &Uri| uri.host.to_string() == "example.org";
        self.registrar.register(&request, fits, self.now)
    }

    fn contacts(response: &Response) -> Vec<String> {
        response
            .headers
            .get_all(&HeaderName::Contact)
            .map(str::to_owned)
            .collect()
    }
}

fn code(response: &Response) -> u16 {
    response.status.code()
}

#[test]
fn a_binding_is_added_refreshed_fetched_and_removed() {
    let mut case = Case::new();
    let added = case.send("a", &["Contact: <sip:ann@192.0.2.9:5070>;q=0.5", "Expires: 600"]);
    assert_eq!(code(&added), 200);
    assert_eq!(
        Case::contacts(&added),
        ["<sip:ann@192.0.2.9:5070>;q=0.5;expires=600"]
    );
    case.now += Duration::from_secs(100);
    let fetched = case.send("other", &[]);
    assert_eq!(
        Case::contacts(&fetched),
        ["<sip:ann@192.0.2.9:5070>;q=0.5;expires=500"]
    );
    let refreshed = case.send("a", &["Contact: <sip:ann@192.0.2.9:5070>;expires=900"]);
    assert_eq!(
        Case::contacts(&refreshed),
        ["<sip:ann@192.0.2.9:5070>;expires=900"]
    );
    let removed = case.send("a", &["Contact: <sip:ann@192.0.2.9:5070>;expires=0"]);
    assert_eq!(code(&removed), 200);
    assert_eq!(Case::contacts(&removed), Vec::<String>::new());
    assert_eq!(case.registrar.poll_timeout(), None);
}

#[test]
fn the_time_comes_from_contact_then_request_then_default_and_is_capped() {
    let mut case = Case::new();
    let expires = |response: &Response| response.headers.contacts().unwrap().list()[0].expires();
    let own = case.send("a", &["Contact: <sip:a@h>;expires=120", "Expires: 600"]);
    assert_eq!(expires(&own), Some(120));
    let default = Case::new().send("a", &["Contact: <sip:a@h>"]);
    assert_eq!(expires(&default), Some(3600));
    let malformed = Case::new().send("a", &["Contact: <sip:a@h>", "Expires: soon"]);
    assert_eq!(expires(&malformed), Some(3600));
    let capped = Case::new().send("a", &["Contact: <sip:a@h>;expires=99999999999"]);
    assert_eq!(expires(&capped), Some(7200));
}

#[test]
fn too_brief_is_423_with_the_minimum_and_changes_nothing() {
    let mut case = Case::new();
    let refused = case.send("a", &["Contact: <sip:a@h1>;expires=3000, <sip:a@h2>;expires=10"]);
    assert_eq!(code(&refused), 423);
    assert_eq!(refused.headers.min_expires().unwrap(), Some(60));
    assert_eq!(Case::contacts(&case.send("b", &[])), Vec::<String>::new());
}

#[test]
fn the_wildcard_removes_all_and_wants_expires_0() {
    // `*` beside an address does not parse: the endpoint answers 400 before it comes here.
    let mut case = Case::new();
    case.send("a", &["Contact: <sip:a@h1>", "Contact: <sip:a@h2>;q=0.1"]);
    assert_eq!(code(&case.send("a", &["Contact: *"])), 400);
    assert_eq!(code(&case.send("a", &["Contact: *", "Expires: 60"])), 400);
    assert_eq!(Case::contacts(&case.send("a", &[])).len(), 2);
    // Same Call-ID with an old CSeq: the update is aborted.
    let (stale, record) = case.send_as("sip:ann@example.org", "a", 1, &["Contact: *", "Expires: 0"]);
    assert_eq!((code(&stale), record), (500, None));
    // Another Call-ID has no order with ours.
    let (other, record) = case.send_as("sip:ann@example.org", "z", 1, &["Contact: *", "Expires: 0"]);
    assert_eq!((code(&other), Case::contacts(&other).len()), (200, 0));
    let aor = "sip:ann@example.org".to_owned();
    assert_eq!(
        record,
        Some(StoreRecord::Bindings {
            aor,
            bindings: vec![]
        })
    );
}

#[test]
fn requests_out_of_order_fail_as_a_whole() {
    let mut case = Case::new();
    let line = format!("Contact: {CONTACT}");
    assert_eq!(
        code(&case.send_as("sip:ann@example.org", "a", 5, &[&line]).0),
        200
    );
    for cseq in [4, 5] {
        let (late, record) = case.send_as("sip:ann@example.org", "a", cseq, &["Contact: <sip:new@h>", &line]);
        assert_eq!((code(&late), record), (500, None), "CSeq {cseq}");
    }
    assert_eq!(
        Case::contacts(&case.send("f", &[])).len(),
        1,
        "nothing of it was kept"
    );
    assert_eq!(
        code(&case.send_as("sip:ann@example.org", "b", 1, &[&line]).0),
        200
    );
}

#[test]
fn contacts_are_compared_as_uris_and_ordered_by_q() {
    let mut case = Case::new();
    case.send(
        "a",
        &["Contact: <sip:ann@HOST.example;transport=tcp>;q=0.2, <sip:ann@h2>;q=0.9"],
    );
    let again = case.send("a", &["Contact: <sip:%61nn@host.example;transport=TCP>;q=0.3"]);
    let contacts = Case::contacts(&again);
    assert_eq!(contacts.len(), 2, "{contacts:?}");
    assert!(contacts[0].starts_with("<sip:ann@h2>"), "{contacts:?}");
}

#[test]
fn the_address_of_record_is_canonical_and_of_this_domain() {
    let mut case = Case::new();
    let line = format!("Contact: {CONTACT}");
    case.send_as("sip:ann@example.org", "a", 1, &[&line]);
    let (same, _) = case.send_as("sip:%61nn@EXAMPLE.org;user=phone", "b", 1, &[]);
    // The closure compares the host as it came; only the canonical form is the point here.
    assert!(code(&same) == 404 || Case::contacts(&same).len() == 1);
    assert_eq!(
        canonical(&"sip:%61nn@EXAMPLE.org:5060;user=phone".parse().unwrap()),
        "sip:ann@example.org"
    );
    assert_eq!(
        code(&case.send_as("sip:ann@elsewhere.org", "c", 1, &[&line]).0),
        404
    );
    assert_eq!(code(&case.send_as("sip:example.org", "d", 1, &[&line]).0), 404);
}

#[test]
fn limits_hold() {
    let mut case = Case::new();
    case.registrar.settings.max_contacts = 2;
    case.registrar.settings.max_records = 1;
    let many = case.send("a", &["Contact: <sip:a@h1>, <sip:a@h2>, <sip:a@h3>"]);
    assert_eq!(code(&many), 403);
    assert_eq!(Case::contacts(&case.send("a", &[])).len(), 0);
    assert_eq!(code(&case.send("a", &["Contact: <sip:a@h1>, <sip:a@h2>"])), 200);
    let (full, _) = case.send_as("sip:bob@example.org", "b", 1, &["Contact: <sip:b@h>"]);
    assert_eq!(code(&full), 503);
    assert!(full.headers.contains(&HeaderName::RetryAfter));
}

#[test]
fn bindings_end_and_survive_a_restart() {
    let mut case = Case::new();
    let (_, record) = case.send_as(
        "sip:ann@example.org",
        "a",
        7,
        &["Contact: <sip:a@h1>;expires=100, <sip:a@h2>;expires=200"],
    );
    let Some(StoreRecord::Bindings { aor, bindings }) = record else {
        panic!("no record")
    };
    assert_eq!(
        case.registrar.poll_timeout(),
        Some(case.now + Duration::from_secs(100))
    );
    let uri: Uri = "sip:ann@example.org".parse().unwrap();
    assert!(case.registrar.is_registered(&uri, case.now));

    let mut restored = Registrar::new(RegistrarSettings::default());
    restored.restore(&aor, &bindings, case.now);
    let later = case.now + Duration::from_secs(100);
    assert_eq!(restored.handle_timeout(later).len(), 1);
    assert_eq!(restored.registrations(later).len(), 1);
    assert_eq!(restored.handle_timeout(later), []);
    let end = case.now + Duration::from_secs(200);
    let gone = restored.handle_timeout(end);
    assert_eq!(
        gone,
        [StoreRecord::Bindings {
            aor,
            bindings: vec![]
        }]
    );
    assert!(!restored.is_registered(&uri, end));
}

/// RFC 4475 §3.3.4.
#[test]
fn an_address_of_record_of_another_scheme_is_refused() {
    let mut case = Case::new();
    for (aor, status) in [
        ("tel:+49301", 400),
        ("isbn:2983792873", 400),
        ("sips:ann@example.org", 200),
    ] {
        let (response, record) = case.send_as(aor, aor, 1, &[&format!("Contact: {CONTACT}")]);
        assert_eq!(code(&response), status, "{aor}");
        assert_eq!(record.is_some(), status == 200, "{aor}");
    }
}

/// Where any host is ours, one user cannot fill the table with made-up ones; the others are not touched.
#[test]
fn one_user_has_a_bounded_number_of_addresses() {
    let mut case = Case::new();
    case.registrar = Registrar::new(RegistrarSettings {
        max_records_per_user: 2,
        ..RegistrarSettings::default()
    });
    let send = |case: &mut Case, user: &str, host: &str, expires: u32| {
        case.cseq += 1;
        let text = format!(
            "REGISTER sip:{host} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKr{0}\r\nFrom: <sip:{user}@{host}>;tag=1\r\n\
             To: <sip:{user}@{host}>\r\nCall-ID: c{0}\r\nCSeq: {0} REGISTER\r\nMax-Forwards: 70\r\n\
             Contact: {CONTACT};expires={expires}\r\nContent-Length: 0\r\n\r\n",
            case.cseq
        );
        let Ok(sip_proto::message::Message::Request(request)) = sip_proto::message::parse(text.as_bytes())
        else {
            panic!("{text}");
        };
        code(&case.registrar.register(&request, |_| true, case.now).0)
    };
    assert_eq!(send(&mut case, "ann", "a.example", 600), 200);
    assert_eq!(send(&mut case, "ann", "b.example", 600), 200);
    assert_eq!(send(&mut case, "ann", "c.example", 600), 503);
    assert_eq!(send(&mut case, "bob", "c.example", 600), 200);
    assert_eq!(send(&mut case, "ann", "a.example", 900), 200, "a refresh");
    assert_eq!(send(&mut case, "ann", "b.example", 0), 200, "one given up");
    assert_eq!(send(&mut case, "ann", "c.example", 600), 200, "so another fits");
    case.now += Duration::from_secs(1000);
    case.registrar.handle_timeout(case.now);
    assert!(case.registrar.users.is_empty());
}

#[test]
fn the_path_to_a_contact_is_kept_told_and_replaced() {
    let mut case = Case::new();
    let path = "Path: <sip:edge.example.org;lr>, <sip:10.0.0.1;lr>";
    let contact = format!("Contact: {CONTACT}");
    let response = case.send("one", &["Supported: path", path, &contact]);
    assert_eq!(code(&response), 200);
    assert_eq!(
        response.headers.list(&HeaderName::Path).collect::<Vec<_>>(),
        ["<sip:edge.example.org;lr>", "<sip:10.0.0.1;lr>"]
    );
    let route = |case: &Case| -> Vec<String> {
        let all = case.registrar.registrations(case.now);
        all[0].route.iter().map(ToString::to_string).collect()
    };
    assert_eq!(route(&case), ["<sip:edge.example.org;lr>", "<sip:10.0.0.1;lr>"]);
    // It is the store's too, and comes back from there.
    let (_, record) = case.send_as("sip:ann@example.org", "one", 9, &[path, &contact]);
    let Some(StoreRecord::Bindings { aor, bindings }) = record else {
        panic!()
    };
    let mut restored = Case::new();
    restored.registrar.restore(&aor, &bindings, restored.now);
    assert_eq!(route(&restored), route(&case));
    // A refresh by another way replaces it, an unreadable one fails and changes nothing.
    case.cseq = 9;
    assert_eq!(code(&case.send("one", &["Path: sip:[", &contact])), 400);
    assert_eq!(route(&case).len(), 2);
    assert_eq!(code(&case.send("one", &[&contact])), 200);
    assert!(route(&case).is_empty());
}
