//! Two real `meet` clients in one meeting, killed in turn without warning and started again.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Deeds;
use crate::process::Process;
use crate::server::program;

/// How long a client lives before it is killed.
const LIFE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);

/// Runs until told to stop; then both leave as they should.
pub fn run(sip: SocketAddr, stop: &AtomicBool, deeds: &Deeds) -> Result<(), super::SoakError> {
    let home = tempfile::tempdir()?;
    let start = |name: &str| -> Result<Process, super::SoakError> {
        let mut command = Command::new(program("meet"));
        command
            .env("HOME", home.path())
            .env("XDG_CONFIG_HOME", home.path().join("config"))
            .env("XDG_STATE_HOME", home.path().join("state"))
            .env("XDG_DATA_HOME", home.path().join("data"))
            .args([
                "--server",
                &sip.to_string(),
                "join",
                "soak-clients",
                "--name",
                name,
            ])
            .args(["--headless", "--json", "--mic", "tone:440", "--speaker", "none"]);
        Ok(Process::start(command)?)
    };
    let names = ["Ann", "Ben"];
    let mut pair = [start(names[0])?, start(names[1])?];
    let mut since = Instant::now();
    let mut turn = 0_usize;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(POLL);
        if since.elapsed() < LIFE {
            continue;
        }
        since = Instant::now();
        turn += 1;
        if let (Some(client), Some(name)) = (pair.get_mut(turn % 2), names.get(turn % 2)) {
            client.signal(Signal::SIGKILL);
            client.wait_exit(Duration::from_secs(10))?;
            deeds.killed.fetch_add(1, Ordering::Relaxed);
            *client = start(name)?;
        }
    }
    for client in &mut pair {
        client.signal(Signal::SIGINT);
        client.wait_exit(Duration::from_secs(20))?;
    }
    Ok(())
}
