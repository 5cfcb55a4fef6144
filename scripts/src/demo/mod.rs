//! The demo: a server on loopback, two rooms, five `meet` and one baresip who speak, and the evidence.
//!
//! Absent on purpose: simulated participants. Every one is a program of its own with a real codec and socket.

pub mod cast;
pub mod evidence;

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::cast::{CAST, Participant, meet, round};
use self::evidence::Evidence;
use crate::process::{Process, wait_for};
use crate::server::{Server, program};

/// What the demo was asked for.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Where everything that it records lies.
    pub folder: PathBuf,
    /// Leave it running until Enter or a signal.
    pub keep: bool,
}

/// Runs the demo; true when the evidence holds.
#[expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]
pub fn run(wishes: &Wishes) -> Result<bool, Box<dyn std::error::Error>> {
    let folder = &wishes.folder;
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let folder = &folder.canonicalize()?;
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

    let evidence = Evidence::gather(&cast, &capture)?;
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

fn start(folder: &Path, capture: &Path) -> Result<Server, Box<dyn std::error::Error>> {
    let capture = capture.display().to_string();
    Ok(Server::start_lan(&folder.join("data"), &["--capture", &capture])?)
}

fn stop(mut server: Server) -> Result<(), Box<dyn std::error::Error>> {
    server.process.signal(nix::sys::signal::Signal::SIGTERM);
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

/// Leaves everything running until a person presses Enter.
#[expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]
fn keep(server: &Server) -> std::io::Result<()> {
    println!("\nStill running. Join with:\n  {}", how_to_join(server));
    println!("Any SIP phone on this machine: sip:demo@{}", server.sip);
    if std::io::stdin().is_terminal() {
        println!("Press Enter to end it and see the evidence.");
    }
    std::io::stdin().lock().read_line(&mut String::new()).map(drop)
}
