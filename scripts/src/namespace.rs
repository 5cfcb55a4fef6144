//! Network namespaces joined by a veth pair: two machines on one, for what must cross a network.
//!
//! Needs the right to make namespaces (root, or CAP_NET_ADMIN and CAP_SYS_ADMIN). Absent on purpose: NAT, loss.

use std::net::Ipv4Addr;
use std::process::Command;

/// What goes wrong.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// `ip` could not be run.
    #[error("ip: {0}")]
    Io(#[from] std::io::Error),
    /// `ip` refused.
    #[error("ip {arguments}: {message} (making network namespaces needs root)")]
    Refused {
        /// Its arguments.
        arguments: String,
        /// What it said.
        message: String,
    },
}

/// Two namespaces that reach each other; removed with the guard.
pub struct Pair {
    /// Names of the namespaces.
    pub names: [String; 2],
    /// Their addresses.
    pub addresses: [Ipv4Addr; 2],
}

impl Pair {
    /// Makes the pair; names and addresses come from the process id and `number`, so that tests do not meet.
    pub fn new(number: u8) -> Result<Self, NamespaceError> {
        let pid = std::process::id();
        let third = u8::try_from(pid % 250).unwrap_or(0);
        let pair = Self {
            names: ["a", "b"].map(|side| format!("meet{pid}-{number}{side}")),
            addresses: [1, 2].map(|last| Ipv4Addr::new(10, 77_u8.wrapping_add(number), third, last)),
        };
        let [a, b] = &pair.names;
        let links = ["a", "b"].map(|side| format!("mv{}{number}{side}", pid % 100_000));
        let [link_a, link_b] = &links;
        for name in &pair.names {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        ip(&[
            "link", "add", link_a, "netns", a, "type", "veth", "peer", "name", link_b, "netns", b,
        ])?;
        for ((name, link), address) in pair.names.iter().zip(&links).zip(&pair.addresses) {
            ip(&[
                "-n",
                name,
                "address",
                "add",
                &format!("{address}/24"),
                "dev",
                link,
            ])?;
            ip(&["-n", name, "link", "set", link, "up"])?;
        }
        Ok(pair)
    }

    /// A command that runs `program` inside namespace 0 or 1.
    pub fn command(&self, side: usize, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", self.names.get(side).map_or("", String::as_str)])
            .arg(program);
        command
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in &self.names {
            // Deleting a namespace takes its end of the pair with it; one that was never made is no loss.
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), NamespaceError> {
    let output = Command::new("ip").args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(NamespaceError::Refused {
        arguments: arguments.join(" "),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Runs `act` on a thread of its own inside the network namespace `name`; sockets it makes stay there.
pub fn inside<T: Send>(name: &str, act: impl FnOnce() -> std::io::Result<T> + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let file = std::fs::File::open(format!("/var/run/netns/{name}"))?;
                nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)?;
                act()
            })
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the thread in the namespace panicked")))
    })
}
