//! Torture by wire: every message of RFC 4475 and RFC 5118, and one of our own for each of their fault classes,
//! goes to a running `meet-server` over UDP and over TCP. The answer must be the due one, and OPTIONS must be
//! answered afterwards. The outcome is the table in `server/docs/conformance.md`: the test renders it and holds the
//! file to it; `MEET_REWRITE=1` writes the file in place of comparing.
//!
//! Without `MEET_CORPORA` the columns of the RFCs' own messages are taken from the file and not run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod broken;
mod case;
mod document;
mod draft;
mod references;
mod registrar;
mod sound;
mod wire;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use case::{Case, Stream};
use document::Outcome;
use sip_proto::message::parse;
use wire::Desk;
use workshop::server::Server;

fn cases() -> impl Iterator<Item = &'static Case> {
    [sound::VALID, broken::INVALID, broken::UNSERVED, sound::IPV6]
        .into_iter()
        .flatten()
}

/// The folder of the RFCs' own messages.
fn corpora() -> Option<PathBuf> {
    let Some(root) = std::env::var_os("MEET_CORPORA") else {
        println!("MEET_CORPORA is not set: the RFCs' own messages are not sent");
        return None;
    };
    let folder = Path::new(&root).join("sip-torture");
    assert!(folder.is_dir(), "{} is missing", folder.display());
    Some(folder)
}

/// One message to be tried.
struct Trial {
    case: &'static Case,
    name: String,
    bytes: Vec<u8>,
}

/// Messages of one batch must not look like repetitions of each other: some of the RFC's share branch and sender.
fn batches(trials: Vec<Trial>) -> Vec<Vec<Trial>> {
    let mut batches: Vec<(HashSet<String>, Vec<Trial>)> = Vec::new();
    for trial in trials {
        let key = via_line(&trial.bytes);
        let at = batches.iter().position(|(keys, _)| !keys.contains(&key));
        let at = at.unwrap_or_else(|| {
            batches.push((HashSet::new(), Vec::new()));
            batches.len() - 1
        });
        batches[at].0.insert(key);
        batches[at].1.push(trial);
    }
    batches.into_iter().map(|(_, trials)| trials).collect()
}

fn via_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_via = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("via") || name.eq_ignore_ascii_case("v")
    };
    text.lines().find(is_via).unwrap_or_default().to_owned()
}

/// Sends everything both ways; what came back, in the order of the trials' names.
fn run(trials: Vec<Trial>) -> Vec<(String, Outcome)> {
    let mut outcomes = Vec::new();
    for batch in batches(trials) {
        let folder = tempfile::tempdir().unwrap();
        let by_udp = Server::start_lan(&folder.path().join("udp"), &[]).unwrap();
        let by_tcp = Server::start_lan(&folder.path().join("tcp"), &[]).unwrap();
        let (mut udp, mut tcp) = (Desk::new(by_udp.sip), Desk::new(by_tcp.sip));
        for Trial { case, name, bytes } in batch {
            let due = !case.answers.is_empty() && !may_be_dropped(&bytes);
            let course = course(case, &bytes);
            let over_tcp = match course {
                Stream::Waits => 0,
                Stream::Two => 2,
                Stream::Same | Stream::Closes => usize::from(due),
            };
            let outcome = Outcome {
                may_be_dropped: may_be_dropped(&bytes),
                parser: match parse(&bytes) {
                    Ok(_) => "reads".to_owned(),
                    Err(error) if error.salvage.is_some() => error.status().code().to_string(),
                    Err(_) => "drops".to_owned(),
                },
                udp: udp.datagram(&bytes, due),
                tcp: tcp.stream(&bytes, over_tcp, course),
                course,
            };
            outcomes.push((name, outcome));
        }
    }
    outcomes
}

/// What does not say that it is SIP, or to whom an answer would go, may be dropped.
fn may_be_dropped(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let is_sip = text
        .trim_start()
        .lines()
        .next()
        .is_some_and(|line| line.contains("SIP/"));
    !is_sip || via_line(bytes).is_empty()
}

/// How a stream takes these bytes: some of the RFC's datagrams end without an empty line, or have no length.
fn course(case: &Case, bytes: &[u8]) -> Stream {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return Stream::Waits;
    };
    let has_length = head.lines().any(|line| {
        let name = line.split(':').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("l")
    });
    if has_length { case.stream } else { Stream::Closes }
}

/// Where the outcome is not what the case asks for.
fn faults(case: &Case, name: &str, outcome: &Outcome) -> Vec<String> {
    let mut faults = Vec::new();
    let reads = outcome.parser == "reads";
    if case.parses.is_some_and(|due| due != reads) {
        faults.push(format!("parser: {}", outcome.parser));
    }
    let right = |finals: &[u16], count: usize| {
        finals.len() == count && finals.iter().all(|status| case.answers.contains(status))
    };
    let due = usize::from(!case.answers.is_empty());
    let dropped = |finals: &[u16]| outcome.may_be_dropped && finals.is_empty();
    if !right(&outcome.udp.finals, due) && !dropped(&outcome.udp.finals) {
        faults.push(format!("UDP: {}", outcome.udp.cell()));
    }
    let tcp = &outcome.tcp;
    let sound = match outcome.course {
        Stream::Same => (right(&tcp.finals, due) || dropped(&tcp.finals)) && !tcp.closed,
        Stream::Waits => tcp.finals.is_empty() || right(&tcp.finals, 1),
        Stream::Closes => tcp.finals == [400] && tcp.closed,
        // RFC 4475's second message is longer than its Content-Length says: what is left over is no SIP.
        Stream::Two if tcp.closed => case.name() == name,
        Stream::Two => tcp.finals.len() == 2 && right(&tcp.finals[..1], 1),
    };
    if !sound {
        faults.push(format!("TCP: {}", tcp.cell()));
    }
    faults
}

/// The column `never` of the verdicts.
fn forbidden(never: &str, outcome: &Outcome) -> bool {
    let finals = || outcome.udp.finals.iter().chain(&outcome.tcp.finals);
    never.split(',').map(str::trim).any(|word| match word {
        "2xx" | "2xx with SDP" => finals().any(|s| (200..300).contains(s)),
        "5xx" => finals().any(|s| (500..600).contains(s)),
        "any reply" | "any packet" => finals().count() > 0,
        "second response" => outcome.udp.finals.len() > 1,
        // RFC 4475 wrote its datagrams for UDP: without a length a stream must end with 400 (RFC 3261 §18.3).
        "400" => {
            outcome.udp.finals.contains(&400) || (outcome.tcp.finals.contains(&400) && !outcome.tcp.closed)
        }
        status => status.parse().is_ok_and(|s: u16| finals().any(|f| *f == s)),
    })
}

#[test]
fn every_fault_class_gets_its_answer_and_the_document_says_so() {
    let own: Vec<Trial> = cases()
        .map(|case| Trial {
            case,
            name: format!("own {}", case.name()),
            bytes: (case.message)(),
        })
        .collect();
    let corpora = corpora();
    let theirs = corpora.iter().flat_map(|folder| {
        cases().map(|case| Trial {
            case,
            name: case.name(),
            bytes: std::fs::read(folder.join(case.file)).unwrap_or_else(|e| panic!("{}: {e}", case.file)),
        })
    });
    let outcomes = run(own.into_iter().chain(theirs).collect());
    let find = |name: &str| {
        outcomes
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, outcome)| outcome)
    };
    let never = corpora.as_deref().map(verdicts).unwrap_or_default();
    let mut wrong = Vec::new();
    for case in cases() {
        for name in [format!("own {}", case.name()), case.name()] {
            let Some(outcome) = find(&name) else { continue };
            let forbidden = never
                .iter()
                .any(|(file, never)| case.file.ends_with(file) && forbidden(never, outcome));
            let mut faults = faults(case, &name, outcome);
            if forbidden {
                faults.push(format!("an answer that must never come: {outcome:?}"));
            }
            if !faults.is_empty() {
                wrong.push(format!("{name} ({}): {}", case.fault, faults.join("; ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    document::check(cases(), &find);
}

/// File and column `never`.
fn verdicts(folder: &Path) -> Vec<(String, String)> {
    let tables = ["VERDICTS-rfc4475.tsv", "VERDICTS-rfc5118.tsv"];
    let mut verdicts = Vec::new();
    for table in tables {
        let text = std::fs::read_to_string(folder.join(table)).unwrap();
        for row in text.lines().skip(1) {
            let columns: Vec<&str> = row.split('\t').collect();
            let file = columns[0].to_owned();
            assert!(
                cases().any(|case| case.file.ends_with(&format!("/{file}"))),
                "no case for {file}"
            );
            verdicts.push((format!("/{file}"), (*columns.get(4).unwrap_or(&"")).to_owned()));
        }
    }
    assert!(verdicts.len() >= 62, "only {} verdicts", verdicts.len());
    verdicts
}

#[test]
fn the_cases_are_one_for_each_message_and_their_names_differ() {
    let all: Vec<&Case> = cases().collect();
    let files: HashSet<&str> = all.iter().map(|case| case.file).collect();
    assert_eq!(files.len(), all.len());
    let messages: HashSet<Vec<u8>> = all.iter().map(|case| (case.message)()).collect();
    assert_eq!(messages.len(), all.len());
    for (rfc, count) in [
        ("4475 3.1.1.", 13),
        ("4475 3.1.2.", 19),
        ("4475 3.3.", 15),
        ("5118 4.", 12),
    ] {
        let found = all.iter().filter(|case| case.section.starts_with(rfc)).count();
        assert_eq!(found, count, "{rfc}");
    }
}

/// With accounts a malformed message is no way in: nothing but OPTIONS is served without credentials.
#[test]
fn with_accounts_no_fault_gets_anybody_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(workshop::server::program("meet-server"));
    command.arg("--data-dir").arg(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let server = Server::start(command).unwrap();
    let mut desk = Desk::new(server.sip);
    let mut challenged = 0;
    for case in cases() {
        let bytes = (case.message)();
        let due = !case.answers.is_empty() && !may_be_dropped(&bytes);
        let seen = desk.datagram(&bytes, due);
        let asks = bytes.windows(8).any(|w| w == b" OPTIONS");
        let served = seen.finals.iter().any(|status| *status < 300);
        assert!(asks || !served, "{}: {seen:?}", case.name());
        challenged += usize::from(seen.finals == [401]);
    }
    assert!(challenged >= 10, "only {challenged} were asked for credentials");
}
