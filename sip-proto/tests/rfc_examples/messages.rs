//! SIP messages of the call flow RFCs: read, written, read again, every header's value kept.

use std::path::Path;

use sip_proto::error::ParseErrorKind;
use sip_proto::message::{HeaderName, Headers, Message, parse};

use crate::pages::{folder, indent, lines};

/// How the Content-Length in print stands to the body in print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// It is the body's, with CRLF line ends.
    Exact,
    /// Another number over a body in print.
    Other,
    /// A number without a body in print.
    NotShown,
    /// `...`.
    Dots,
    /// No Content-Length.
    Absent,
}

/// A message as printed.
struct Example {
    place: String,
    start: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// What an RFC holds: the numbers are facts about its text, so a worse extraction cannot go unseen.
struct Expected {
    rfc: u32,
    from: &'static str,
    messages: usize,
    exact: usize,
    dots: usize,
}

const EXPECTED: &[Expected] = &[
    Expected {
        rfc: 3261,
        from: "24 Examples",
        messages: 16,
        exact: 10,
        dots: 0,
    },
    Expected {
        rfc: 3665,
        from: "",
        messages: 178,
        exact: 177,
        dots: 0,
    },
    Expected {
        rfc: 5359,
        from: "",
        messages: 328,
        exact: 193,
        dots: 124,
    },
    Expected {
        rfc: 5407,
        from: "",
        messages: 18,
        exact: 6,
        dots: 0,
    },
];

fn is_start(line: &str) -> bool {
    let text = line.trim();
    let words: Vec<&str> = text.split(' ').collect();
    let request = words.len() == 3
        && words[2] == "SIP/2.0"
        && words[1].contains(':')
        && words[0].chars().all(|c| c.is_ascii_uppercase());
    let response =
        words.len() >= 2 && words[0] == "SIP/2.0" && words[1].len() == 3 && words[1].parse::<u16>().is_ok();
    request || response
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let token = !name.is_empty()
        && name
            .trim_end()
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-');
    token.then(|| (name.trim().to_owned(), value.trim().to_owned()))
}

/// All messages printed from the line that starts with `from` on.
fn examples(file: &Path, from: &str) -> Vec<Example> {
    let lines = lines(file);
    let first = lines
        .iter()
        .rposition(|line| !from.is_empty() && line.starts_with(from))
        .unwrap_or(0);
    let mut found = Vec::new();
    let mut at = first;
    while at < lines.len() {
        if is_start(&lines[at]) {
            let (example, next) = example(&lines, at);
            if example.headers.len() >= 3 {
                found.push(example);
            }
            at = next;
        } else {
            at += 1;
        }
    }
    found
}

fn example(lines: &[String], start: usize) -> (Example, usize) {
    let base = indent(&lines[start]);
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut at = start + 1;
    // Between these tags a line was broken for print only (RFC 4475 §2.1).
    let mut one_line = false;
    let mut first_of_one_line = false;
    while let Some(line) = lines.get(at) {
        let text = line.trim();
        match text {
            "<allOneLine>" => (one_line, first_of_one_line) = (true, true),
            "</allOneLine>" => one_line = false,
            // RFC 5407 has a blank line inside some heads.
            "" if is_complete(&headers) || lines.get(at + 1).and_then(|l| header(l.trim())).is_none() => {
                break;
            }
            "" => {}
            // RFC 3665 prints one continuation line without its indent.
            _ if text.starts_with('<') && headers.last().is_some_and(|(_, value)| value.ends_with(',')) => {
                let value = &mut headers.last_mut().unwrap().1;
                value.push(' ');
                value.push_str(text);
            }
            _ if one_line && !first_of_one_line => headers.last_mut().unwrap().1.push_str(text),
            _ if indent(line) > base && !one_line && !headers.is_empty() => {
                let value = &mut headers.last_mut().unwrap().1;
                value.push(' ');
                value.push_str(text);
            }
            _ => match header(text) {
                Some(header) => {
                    headers.push(header);
                    first_of_one_line = false;
                }
                None => break,
            },
        }
        at += 1;
    }
    let (body, next) = body(lines, at, &headers);
    let example = Example {
        place: format!("line about {}", start + 1),
        start: lines[start].trim().to_owned(),
        headers,
        body,
    };
    (example, next)
}

fn is_complete(headers: &[(String, String)]) -> bool {
    ["Via", "From", "To", "Call-ID", "CSeq"]
        .iter()
        .all(|wanted| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted)))
}

/// The lines of a description behind the head, where there is one.
fn body(lines: &[String], mut at: usize, headers: &[(String, String)]) -> (String, usize) {
    let has_type = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let mut body = String::new();
    if !has_type {
        return (body, at);
    }
    let behind = at;
    while lines.get(at).is_some_and(|line| line.is_empty()) {
        at += 1;
    }
    let is_field = |line: &str| {
        let bytes = line.trim().as_bytes();
        bytes.len() > 1 && bytes[0].is_ascii_lowercase() && bytes[1] == b'='
    };
    if !lines.get(at).is_some_and(|line| is_field(line)) {
        return (body, behind);
    }
    while let Some(line) = lines.get(at).filter(|line| is_field(line)) {
        body.push_str(line.trim());
        body.push_str("\r\n");
        at += 1;
    }
    (body, at)
}

impl Example {
    fn length(&self) -> Length {
        let value = self
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        match value.map(|(_, value)| value.as_str()) {
            None => Length::Absent,
            Some("...") => Length::Dots,
            Some(number) => match number.parse::<usize>() {
                Ok(number) if number == self.body.len() => Length::Exact,
                Ok(_) if self.body.is_empty() => Length::NotShown,
                Ok(_) => Length::Other,
                Err(_) => panic!("{}: Content-Length {number}", self.place),
            },
        }
    }

    /// The message with the length of the body in print, or as it stands.
    fn bytes(&self, corrected: bool) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            if corrected && name.eq_ignore_ascii_case("content-length") {
                text.push_str(&format!("{name}: {}\r\n", self.body.len()));
            } else {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text.into_bytes()
    }
}

fn headers_of(message: &Message) -> &Headers {
    match message {
        Message::Request(request) => &request.headers,
        Message::Response(response) => &response.headers,
    }
}

/// What is wrong with an example, if anything is.
fn check(example: &Example) -> Result<(), String> {
    let message = parse(&example.bytes(true)).map_err(|e| e.to_string())?;
    let written = message.to_bytes();
    let again = parse(&written).map_err(|e| format!("what was written: {e}"))?;
    // A message without Content-Length gets one when it is written.
    if again.to_bytes() != written || (example.length() != Length::Absent && again != message) {
        return Err("what was written is another message".to_owned());
    }
    let kept: Vec<(HeaderName, &str)> = headers_of(&again).iter().map(|(n, v)| (n.clone(), v)).collect();
    let printed: Vec<(HeaderName, String)> = example
        .headers
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
        .map(|(name, value)| (HeaderName::parse(name), value.clone()))
        .collect();
    let kept: Vec<(HeaderName, String)> = kept
        .into_iter()
        .filter(|(name, _)| *name != HeaderName::ContentLength)
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    if kept != printed {
        return Err(format!("headers {kept:?}, in print {printed:?}"));
    }
    match example.length() {
        Length::Dots => match parse(&example.bytes(false)) {
            Err(error) if matches!(error.kind, ParseErrorKind::Header(_)) => Ok(()),
            other => Err(format!("a Content-Length of dots is {other:?}")),
        },
        Length::NotShown => match parse(&example.bytes(false)) {
            Err(error) if error.kind == ParseErrorKind::BodyTooShort => Ok(()),
            other => Err(format!("without its body it is {other:?}")),
        },
        Length::Exact => match parse(&example.bytes(false)) {
            Ok(as_printed) if as_printed == message => Ok(()),
            other => Err(format!("as printed it is {other:?}")),
        },
        Length::Other | Length::Absent => Ok(()),
    }
}

#[test]
fn messages_are_read_and_written_with_every_value_kept() {
    let Some(folder) = folder() else { return };
    let mut wrong = Vec::new();
    for expected in EXPECTED {
        let examples = examples(&folder.join(format!("rfc{}.txt", expected.rfc)), expected.from);
        let count = |length: Length| examples.iter().filter(|e| e.length() == length).count();
        println!(
            "RFC {}: {} messages; Content-Length exact in {}, another number over the body in print in {}, body not \
             shown in {}, `...` in {}, absent in {}",
            expected.rfc,
            examples.len(),
            count(Length::Exact),
            count(Length::Other),
            count(Length::NotShown),
            count(Length::Dots),
            count(Length::Absent),
        );
        for example in &examples {
            if let Err(fault) = check(example) {
                wrong.push(format!(
                    "RFC {}, {}, {}: {fault}",
                    expected.rfc, example.place, example.start
                ));
            }
        }
        let seen = (examples.len(), count(Length::Exact), count(Length::Dots));
        let due = (expected.messages, expected.exact, expected.dots);
        if seen != due {
            wrong.push(format!(
                "RFC {}: {seen:?} messages, exact, dots; not {due:?}",
                expected.rfc
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
