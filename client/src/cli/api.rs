//! The server's HTTP API, as far as `meet` uses it: list, create, end.
//!
//! Deliberately absent: everything about a running call; that is SIP's.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::MeetError;
use crate::limits;

/// One API, by its base address.
#[derive(Debug)]
pub struct Api {
    base: String,
    agent: ureq::Agent,
    bearer: Option<String>,
}

/// A meeting that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMeeting {
    /// Its name.
    pub name: String,
    /// Its SIP address.
    pub uri: String,
    /// What ends it.
    pub token: Option<String>,
}

impl Api {
    /// An API at this address, such as `http://127.0.0.1:8080`; `bearer` is an account's API token.
    pub fn new(base: &str, bearer: Option<String>) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(limits::ANSWER_WAIT))
            .timeout_connect(Some(Duration::from_secs(3)))
            .http_status_as_error(false)
            .user_agent(concat!("meet/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self {
            base: base.trim_end_matches('/').to_owned(),
            agent,
            bearer,
        }
    }

    /// The meetings that run.
    pub fn list(&self) -> Result<Vec<Map<String, Value>>, MeetError> {
        let url = format!("{}/api/v1/meetings", self.base);
        let mut request = self.agent.get(&url);
        if let Some(token) = &self.bearer {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let value = read(&url, request.call())?;
        let list = match value {
            Value::Array(list) => list,
            Value::Object(mut object) => match object.remove("meetings") {
                Some(Value::Array(list)) => list,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        Ok(list
            .into_iter()
            .filter_map(|item| {
                if let Value::Object(item) = item {
                    Some(item)
                } else {
                    None
                }
            })
            .collect())
    }

    /// Makes a meeting.
    pub fn create(&self, name: Option<&str>) -> Result<NewMeeting, MeetError> {
        let url = format!("{}/api/v1/meetings", self.base);
        let mut request = self.agent.post(&url);
        if let Some(token) = &self.bearer {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let body = name.map_or_else(
            || serde_json::json!({}),
            |name| serde_json::json!({ "name": name }),
        );
        let value = read(&url, request.send_json(body))?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(NewMeeting {
            name: text("name")
                .or_else(|| name.map(str::to_owned))
                .unwrap_or_default(),
            uri: text("uri").unwrap_or_default(),
            token: text("token"),
        })
    }

    /// Ends a meeting by its creator's token.
    pub fn end(&self, room: &str, token: &str) -> Result<(), MeetError> {
        let url = format!("{}/api/v1/meetings/{}", self.base, escape(room));
        let request = self
            .agent
            .delete(&url)
            .header("Authorization", format!("Bearer {token}"));
        read(&url, request.call()).map(drop)
    }
}

/// Escapes a path segment (RFC 3986 §3.3).
fn escape(segment: &str) -> String {
    segment.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

fn read(
    url: &str,
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Value, MeetError> {
    let unreachable = |source| MeetError::ApiUnreachable {
        url: url.to_owned(),
        source: Box::new(source),
    };
    let mut answer = answer.map_err(unreachable)?;
    let status = answer.status();
    let bytes = answer
        .body_mut()
        .with_config()
        .limit(limits::API_BODY_BYTES)
        .read_to_vec()
        .map_err(unreachable)?;
    if !status.is_success() {
        return Err(MeetError::ApiRefused {
            url: url.to_owned(),
            status: status.as_u16(),
            detail: detail(&bytes),
        });
    }
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|source| MeetError::ApiAnswer {
        url: url.to_owned(),
        source,
    })
}

/// The text of a refusal: a problem document's detail (RFC 9457), an `error` member, or a short plain text.
fn detail(bytes: &[u8]) -> Option<String> {
    if let Ok(Value::Object(object)) = serde_json::from_slice(bytes) {
        return ["detail", "error", "message", "title"]
            .iter()
            .find_map(|key| object.get(*key).and_then(Value::as_str))
            .map(str::to_owned);
    }
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().next().unwrap_or("").trim();
    (!line.is_empty()).then(|| line.chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};

    /// Serves one request and gives back its head and body.
    fn serve_once(status: &'static str, body: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&line);
            }
            let mut sent = vec![0; length];
            reader.read_exact(&mut sent).unwrap();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            head + &String::from_utf8_lossy(&sent)
        });
        (format!("http://{address}"), thread)
    }

    #[test]
    fn create_sends_the_name_and_reads_the_token() {
        let (url, thread) = serve_once(
            "201 Created",
            r#"{"name":"standup","uri":"sip:standup@h","token":"t1"}"#,
        );
        let made = Api::new(&url, None).create(Some("standup")).unwrap();
        assert_eq!(made.token.as_deref(), Some("t1"));
        assert_eq!(made.uri, "sip:standup@h");
        let request = thread.join().unwrap();
        assert!(request.starts_with("POST /api/v1/meetings HTTP/1.1"), "{request}");
        let body = request
            .split_once('{')
            .map(|(_, rest)| format!("{{{rest}"))
            .unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, serde_json::json!({ "name": "standup" }));
    }

    #[test]
    fn end_carries_the_token_and_escapes_the_name() {
        let (url, thread) = serve_once("204 No Content", "");
        Api::new(&url, None).end("a b", "t1").unwrap();
        let request = thread.join().unwrap();
        assert!(request.starts_with("DELETE /api/v1/meetings/a%20b "), "{request}");
        assert!(
            request.to_lowercase().contains("authorization: bearer t1"),
            "{request}"
        );
    }

    #[test]
    fn refusals_and_nonsense_are_told() {
        let (url, thread) = serve_once("403 Forbidden", r#"{"detail":"wrong token"}"#);
        let error = Api::new(&url, None).end("a", "t").unwrap_err();
        assert!(error.to_string().contains("403: wrong token"), "{error}");
        thread.join().unwrap();
        let (url, thread) = serve_once("200 OK", "<html>");
        assert!(matches!(
            Api::new(&url, None).list(),
            Err(MeetError::ApiAnswer { .. })
        ));
        thread.join().unwrap();
    }

    #[test]
    fn a_list_may_be_wrapped() {
        let (url, thread) = serve_once("200 OK", r#"{"meetings":[{"name":"a"},7]}"#);
        let list = Api::new(&url, None).list().unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0]["name"], "a");
        thread.join().unwrap();
    }
}
