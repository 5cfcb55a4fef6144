//! The demo: a server on loopback, two rooms, five `meet` and one baresip who speak, and the evidence.
//!
//! Absent on purpose: simulated participants. Every one is a program of its own with a real codec and socket.

pub mod cast;
pub mod evidence;

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};

use self::cast::{CAST, Participant, meet, round};
use self::evidence::Evidence;
use crate::process::{Process, wait_for};
use crate::server::{Server, program};

/// Marks a folder as the demo's own, which it may replace.
const MARK: &str = ".meet-demo";

/// What the demo was asked for.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Where everything that it records lies.
    pub folder: PathBuf,
    /// Leave it running until Enter, or a signal where there is no terminal.
    pub keep: bool,
}

/// Runs the demo; true when the evidence holds.
#[expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]
pub fn run(wishes: &Wishes) -> Result<bool, Box<dyn std::error::Error>> {
    if wishes.keep && !std::io::stdin().is_terminal() {
        // Before any thread is there: blocked, they wait for `keep` in place of ending the process.
        ending().thread_block()?;
    }
    let folder = &fresh(&wishes.folder)?;
    let capture = folder.join("meeting.pcapng");
    let server = start(folder, &capture)?;
    println!("meet-server serves sip:{} and http://{}", server.sip, server.http);
    println!("Join from another terminal:\n  {}\n", how_to_join(&server));

    let mut cast = Vec::new();
    for person in &CAST {
        let participant = Participant::join(folder, &server, person)?;
        let what = if person.foreign {
            "baresip, a foreign phone"
        } else {
            "meet"
        };
        println!("  {:<6} joined room {:<7} ({what})", person.name, person.room);
        cast.push(participant);
    }
    // Everybody joined at another moment of the round: two rounds hold each sentence whole.
    println!(
        "\nListening for {:.0} seconds. Who speaks, as the roster tells Ann and Eve:\n",
        round() * 2.0
    );
    watch(&cast, Duration::from_secs_f32(round() * 2.0));
    if wishes.keep {
        keep(&server)?;
    }

    let mut measured = Vec::new();
    for room in ["demo", "beside"] {
        let reply = server.get(&format!("/api/v1/meetings/{room}/participants"))?;
        measured.extend(
            reply
                .get("participants")
                .and_then(|p| p.as_array())
                .into_iter()
                .flatten()
                .cloned(),
        );
    }
    println!("\nAnn and Eve end their meetings; everybody gets a BYE.");
    for room in ["demo", "beside"] {
        let mut command = meet(folder, &server);
        command.args(["cancel", room]);
        let mut cancel = Process::start(command)?;
        let status = cancel.wait_exit(Duration::from_secs(20))?;
        if !status.success() {
            return Err(format!("meet cancel {room}: {status}\n{}", cancel.output()).into());
        }
    }
    for participant in &mut cast {
        participant.wait_end()?;
    }
    stop(server)?;

    let evidence = Evidence::gather(&cast, &measured, &capture)?;
    println!("\n{}", evidence.report());
    println!(
        "Recordings (said-by-*.wav, heard-by-*.wav) and meeting.pcapng: {}",
        folder.display()
    );
    println!(
        "{}",
        if evidence.holds() {
            "Everything is as it must be."
        } else {
            "NOT as it must be: see the marks."
        }
    );
    Ok(evidence.holds())
}

/// An empty folder; one that is there already must be an earlier demo's.
fn fresh(folder: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let mark = folder.join(MARK);
    if mark.exists() {
        std::fs::remove_dir_all(folder)?;
    } else if folder
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some())
    {
        let shown = folder.display();
        return Err(format!(
            "{shown} is not empty and not an earlier demo's: name another folder with --out"
        )
        .into());
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(mark, "")?;
    Ok(folder.canonicalize()?)
}

fn start(folder: &Path, capture: &Path) -> Result<Server, Box<dyn std::error::Error>> {
    let capture = capture.display().to_string();
    Ok(Server::start_lan(&folder.join("data"), &["--capture", &capture])?)
}

fn stop(mut server: Server) -> Result<(), Box<dyn std::error::Error>> {
    server.process.signal(Signal::SIGTERM);
    let status = server.process.wait_exit(Duration::from_secs(10))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("meet-server: {status}\n{}", server.process.output()).into())
}

fn how_to_join(server: &Server) -> String {
    format!("{} --server {} join demo", program("meet").display(), server.sip)
}

/// Shows the speaker changes of both rooms as they come.
#[expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]
fn watch(cast: &[Participant], length: Duration) {
    let start = Instant::now();
    let observers: Vec<&Participant> = cast
        .iter()
        .filter(|p| CAST.iter().find(|c| c.room == p.person.room).map(|c| c.name) == Some(p.person.name))
        .collect();
    let mut shown: Vec<usize> = observers.iter().map(|o| o.events("speaking").len()).collect();
    wait_for(length, || {
        for (observer, shown) in observers.iter().zip(&mut shown) {
            for event in observer.events("speaking").iter().skip(*shown) {
                *shown += 1;
                if let Some(name) = event.get("name").and_then(|n| n.as_str()) {
                    let at = start.elapsed().as_secs_f32();
                    println!("  {at:5.1} s  {:<7} {name} speaks", observer.person.room);
                }
            }
        }
        None::<()>
    });
}

/// The signals that end a kept demo.
fn ending() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals
}

/// Leaves everything running until a person presses Enter.
#[expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]
fn keep(server: &Server) -> std::io::Result<()> {
    println!("\nStill running. Join with:\n  {}", how_to_join(server));
    println!("Any SIP phone on this machine: sip:demo@{}", server.sip);
    if std::io::stdin().is_terminal() {
        println!("Press Enter to end it and see the evidence.");
        return std::io::stdin().lock().read_line(&mut String::new()).map(drop);
    }
    println!("End it with SIGTERM to this process ({}).", std::process::id());
    ending().wait().map(drop)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_the_demos_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "years").unwrap();
        assert!(fresh(folder.path()).is_err());
        assert!(folder.path().join("thesis.txt").exists());
        let own = folder.path().join("demo");
        let made = fresh(&own).unwrap();
        std::fs::write(made.join("old.wav"), "").unwrap();
        assert!(fresh(&own).is_ok() && !own.join("old.wav").exists());
    }

    #[test]
    fn sentences_of_the_cast_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let said: Vec<_> = CAST
            .iter()
            .map(|p| cast::sentence(folder.path(), p).unwrap())
            .collect();
        for (i, one) in said.iter().enumerate() {
            assert!(
                one.seconds() < cast::SLOT - 0.3,
                "{}: {} s",
                CAST[i].name,
                one.seconds()
            );
            for (k, other) in said.iter().enumerate() {
                let mut heard = other.clone();
                heard.samples.splice(0..0, vec![0.0; 48_000]);
                heard.samples.extend(vec![0.0; 96_000]);
                let score = crate::speech::best_match(one, &heard).0;
                println!("{i} {k} {score:.2}");
                assert_eq!(
                    score >= crate::speech::HEARD,
                    i == k,
                    "{} in {}: {score}",
                    CAST[i].name,
                    CAST[k].name
                );
            }
        }
    }
}
