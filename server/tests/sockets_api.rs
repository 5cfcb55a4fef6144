//! The HTTP API over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use support::{Server, raw};

#[test]
fn create_list_show_end() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    assert_eq!(
        server.get("/api/v1/meetings").json()["meetings"],
        serde_json::json!([])
    );
    let created = server.request(
        "POST",
        "/api/v1/meetings",
        &[],
        r#"{"name":"blue","subject":"Plans"}"#,
    );
    assert_eq!(created.status, 201, "{}", created.body);
    let made = created.json();
    assert_eq!(
        (made["name"].as_str(), made["subject"].as_str()),
        (Some("blue"), Some("Plans"))
    );
    assert!(made["uri"].as_str().unwrap().starts_with("sip:blue@"), "{made}");
    let token = made["token"].as_str().unwrap().to_owned();
    assert_eq!(
        server.get("/api/v1/meetings").json()["meetings"][0]["name"],
        "blue"
    );
    assert_eq!(server.get("/api/v1/meetings/blue").status, 200);
    assert_eq!(
        server.get("/api/v1/meetings/blue/participants").json()["participants"],
        serde_json::json!([])
    );
    let again = server.request("POST", "/api/v1/meetings", &[], r#"{"name":"blue"}"#);
    assert_eq!(
        (again.status, again.json()["code"].as_str()),
        (409, Some("name-in-use"))
    );
    let nameless = server.request("POST", "/api/v1/meetings", &[], "");
    assert_eq!(nameless.status, 201, "{}", nameless.body);
    // Ending needs the creator's token.
    assert_eq!(
        server.request("DELETE", "/api/v1/meetings/blue", &[], "").status,
        401
    );
    let wrong = server.request(
        "DELETE",
        "/api/v1/meetings/blue",
        &[("Authorization", "Bearer nonsense")],
        "",
    );
    assert_eq!(
        (wrong.status, wrong.json()["code"].as_str()),
        (403, Some("wrong-token"))
    );
    let right = format!("Bearer {token}");
    let ended = server.request(
        "DELETE",
        "/api/v1/meetings/blue",
        &[("Authorization", &right)],
        "",
    );
    assert_eq!(ended.status, 204, "{}", ended.body);
    server.until("/api/v1/meetings", |list| {
        list["meetings"].as_array().unwrap().len() == 1
    });
    let late = server.get("/api/v1/meetings/blue");
    assert!([404, 410].contains(&late.status), "{} {}", late.status, late.body);
}

#[test]
fn events_are_logged_and_survive_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::lan(data.path());
    assert_eq!(
        server
            .request("POST", "/api/v1/meetings", &[], r#"{"name":"kept"}"#)
            .status,
        201
    );
    let log = server.until("/api/v1/events", |log| {
        !log["events"].as_array().unwrap().is_empty()
    });
    assert_eq!(log["events"][0]["kind"], "meeting-created");
    let next = log["next"].as_i64().unwrap();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    drop(server);
    let server = Server::lan(data.path());
    let log = server.get("/api/v1/events").json();
    assert_eq!(log["events"][0]["meeting"], "kept");
    let later = server
        .get(&format!("/api/v1/events?since={next}&meeting=kept"))
        .json();
    assert_eq!(later["events"][0]["kind"], "meeting-restored");
    assert_eq!(server.get("/api/v1/events?limit=0").status, 400);
    assert_eq!(server.get("/api/v1/events?colour=red").status, 400);
}

#[test]
fn foreign_host_and_origin_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let host = server.http.to_string();
    let get = |headers: &[(&str, &str)]| raw(server.http, "GET", "/api/v1/meetings", headers, "");
    assert_eq!(get(&[("Host", &host)]).status, 200);
    let evil = get(&[("Host", "evil.example")]);
    assert_eq!(
        (evil.status, evil.json()["code"].as_str()),
        (403, Some("foreign-host"))
    );
    assert!(evil.json()["way_out"].as_str().unwrap().contains("api.hosts"));
    let page = get(&[("Host", &host), ("Origin", "http://evil.example")]);
    assert_eq!(
        (page.status, page.json()["code"].as_str()),
        (403, Some("foreign-origin"))
    );
    let own = format!("http://{host}");
    assert_eq!(get(&[("Host", &host), ("Origin", &own)]).status, 200);
    let post = [("Host", host.as_str()), ("Origin", "null")];
    assert_eq!(
        raw(server.http, "POST", "/api/v1/meetings", &post, "{}").status,
        403
    );
    assert_eq!(
        server.get("/api/v1/meetings").json()["meetings"],
        serde_json::json!([])
    );
}

#[test]
fn without_lan_a_bearer_token_is_needed() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("server.toml");
    std::fs::write(&file, "[api]\ntokens = [\"0123456789abcdef\"]\n").unwrap();
    let args = [
        "--config",
        file.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
    ];
    let server = Server::start(&[&args[..], &[data.path().to_str().unwrap()]].concat());
    assert!(server.http.ip().is_loopback());
    assert_eq!(server.get("/api/v1/version").status, 200);
    assert_eq!(server.get("/health").status, 200);
    for path in [
        "/api/v1/meetings",
        "/api/v1/events",
        "/metrics",
        "/api/v1/registrations",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(
            answer.head.to_lowercase().contains("www-authenticate: bearer"),
            "{}",
            answer.head
        );
        let good = [("Authorization", "Bearer 0123456789abcdef")];
        assert_eq!(server.request("GET", path, &good, "").status, 200, "{path}");
    }
    assert_eq!(server.request("POST", "/api/v1/meetings", &[], "{}").status, 401);
}

#[test]
fn the_description_names_every_path_and_errors_are_json() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::lan(data.path());
    let paths = server.get("/openapi.json").json()["paths"].clone();
    for path in [
        "/api/v1/meetings",
        "/api/v1/meetings/{name}/participants",
        "/api/v1/events",
        "/health",
        "/metrics",
    ] {
        assert!(paths[path].is_object(), "{path} in {paths}");
    }
    assert_eq!(server.get("/nowhere").json()["code"], "no-such-path");
    assert_eq!(
        server.request("PUT", "/api/v1/meetings", &[], "").json()["code"],
        "no-such-method"
    );
    assert_eq!(
        server.request("POST", "/api/v1/meetings", &[], "{").json()["code"],
        "bad-request"
    );
    let long = format!(r#"{{"subject":"{}"}}"#, "x".repeat(100_000));
    assert_eq!(
        server.request("POST", "/api/v1/meetings", &[], &long).json()["code"],
        "too-large"
    );
    let bad = server.request("POST", "/api/v1/meetings", &[], r#"{"name":"no room/for this"}"#);
    assert_eq!((bad.status, bad.json()["code"].as_str()), (422, Some("bad-name")));
    assert_eq!(server.metric("meet_shard_ticks_total"), 0.0);
    assert_eq!(server.metric("meet_store_lost_total"), 0.0);
    assert_eq!(server.metric("meet_rooms"), 0.0);
    assert!(server.metric("meet_api_requests_total") >= 1.0);
}
