//! Every session description printed in any of the RFCs, and those of real phones in the corpora.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sip_proto::sdp::offer_answer::{LocalMedia, OfferAnswer};
use sip_proto::sdp::{SessionDescription, parse};

use crate::pages::{folder, indent, lines};

/// A description as printed, with the place where it stands.
struct Example {
    place: String,
    text: String,
}

fn is_field(line: &str) -> bool {
    let bytes = line.trim().as_bytes();
    bytes.len() > 1 && bytes[0].is_ascii_lowercase() && bytes[1] == b'='
}

/// Those that no parser can read, with the reason. By RFC and a line of theirs.
const NOT_SDP: &[(&str, &str, &str)] = &[
    ("rfc8839", "m=audio $", "a variable in place of the port"),
    ("rfc8859", "m=video 96 97", "port and protocol are left out of m="),
    (
        "rfc8859",
        "m=audio\r\n",
        "port, protocol and formats are left out of m=",
    ),
    ("rfc8859", "m=video 560024", "a port above 65535"),
    (
        "rfc8866",
        "v=0\r\n",
        "the line v=0 alone, printed as the grammar of one field",
    ),
];

/// The description that begins at line `start`, and the line behind it.
fn example(lines: &[String], start: usize) -> (String, usize) {
    let base = indent(&lines[start]);
    let mut text: Vec<String> = Vec::new();
    let mut at = start;
    while let Some(line) = lines.get(at) {
        if line.trim() == "v=0" && at > start {
            break;
        }
        if is_field(line) && indent(line) == base {
            text.push(line.trim().to_owned());
        } else if line.is_empty() {
            // A blank line for the eye: the description goes on if another media section or attribute follows.
            let goes_on = lines.get(at + 1).is_some_and(|next| {
                indent(next) == base
                    && is_field(next)
                    && matches!(next.trim().as_bytes()[0], b'm' | b'a' | b'c')
            });
            if !goes_on {
                break;
            }
        } else if indent(line) > base && !text.is_empty() {
            // A line broken for print.
            let last = text.last_mut().unwrap();
            last.push(' ');
            last.push_str(line.trim());
        } else {
            break;
        }
        at += 1;
    }
    (text.join("\r\n") + "\r\n", at)
}

fn printed() -> Option<Vec<Example>> {
    let folder = folder()?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let lines = lines(&file);
        let mut at = 0;
        while at < lines.len() {
            if lines[at].trim() == "v=0" {
                let (text, next) = example(&lines, at);
                found.push(Example {
                    place: format!("{name}, about line {}", at + 1),
                    text,
                });
                at = next.max(at + 1);
            } else {
                at += 1;
            }
        }
    }
    Some(found)
}

/// Reads, writes, reads again; then tries an answer, which must come or be refused, never fail.
fn check(text: &str) -> Result<SessionDescription, String> {
    let description = parse(text.as_bytes()).map_err(|e| e.to_string())?;
    let written = description.to_string();
    let again = parse(written.as_bytes()).map_err(|e| format!("what was written: {e}"))?;
    if again != description {
        return Err("what was written is another description".to_owned());
    }
    let lines = |text: &str| -> Vec<String> { text.lines().map(|l| l.trim_end().to_owned()).collect() };
    // Some leave the mandatory s= out; it is written.
    let mut out = lines(&written);
    if !text.contains("\r\ns=") {
        out.retain(|line| line != "s=-");
    }
    let mut printed = lines(text);
    // RFC 6465 has i= before o=: it is written where it belongs.
    if text.starts_with("v=0\r\ni=") {
        out.sort();
        printed.sort();
    }
    if out != printed {
        return Err(format!("written as\n{written}"));
    }
    let mut machine = OfferAnswer::new(1);
    let local = LocalMedia::new("192.0.2.1".parse().unwrap(), 40_000);
    machine
        .receive_offer(description.clone())
        .map_err(|e| format!("as an offer: {e:?}"))?;
    if let Ok((answer, _)) = machine.create_answer(&local)
        && answer.media.len() != description.media.len()
    {
        return Err("the answer has another number of media lines".to_owned());
    }
    Ok(description)
}

#[test]
fn descriptions_in_rfcs_are_read_or_refused_for_a_reason_given_here() {
    let Some(examples) = printed() else { return };
    let (mut read, mut wrong) = (0, Vec::new());
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for Example { place, text } in &examples {
        match check(text) {
            Ok(_) => read += 1,
            Err(fault) => match reason(place, text) {
                Some(reason) => *refused.entry(reason).or_default() += 1,
                None => wrong.push(format!("{place}: {fault}\n{text}")),
            },
        }
    }
    println!(
        "{} descriptions in print, {read} read; refused: {refused:?}",
        examples.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((examples.len(), read), (328, 322));
    assert_eq!(
        refused.len(),
        NOT_SDP.len(),
        "a reason that nothing needs: {refused:?}"
    );
}

fn reason(place: &str, text: &str) -> Option<&'static str> {
    let whole = text == "v=0\r\n";
    let of = |(rfc, line, _): &&(&str, &str, &str)| {
        place.starts_with(rfc) && text.contains(line) && (*rfc != "rfc8866" || whole)
    };
    NOT_SDP.iter().find(of).map(|(_, _, reason)| *reason)
}
