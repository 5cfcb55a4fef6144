//! Everything together: hosts, network and clock. It moves from event to event; nothing waits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::house::House;
use crate::network::{Network, Packet, Weather};
use crate::peer::{Notice, Peer};
use crate::trace::Trace;

/// Steps at one and the same instant before the simulation is said to spin: far more than a storm needs.
const MOST_STEPS: u32 = 50_000;

/// The server's address.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// A person's address; behind a translator also the one outside.
pub fn address(person: usize, outside: bool) -> IpAddr {
    let number = u8::try_from(person % 250).unwrap_or(0) + 2;
    IpAddr::V4(Ipv4Addr::new(10, if outside { 99 } else { 1 }, 0, number))
}

/// Everything.
pub struct World {
    /// Now, on the virtual clock.
    pub now: Instant,
    /// When it began.
    pub start: Instant,
    /// All paths.
    pub network: Network,
    /// The server.
    pub house: House,
    /// The people.
    pub peers: Vec<Peer>,
    /// What happened.
    pub trace: Trace,
    /// What people saw and nobody has looked at yet.
    pub notices: Vec<(usize, Notice)>,
    /// Broken invariants.
    pub complaints: Vec<String>,
    /// A hook for the simulator's own test: no BYE reaches the server.
    pub swallow_bye: bool,
    /// When each person sends the next 20 ms of sound, while media runs: by their own clock.
    frames: Vec<Instant>,
    /// Since when no media runs.
    quiet_since: Instant,
    steps: (Instant, u32),
}

impl World {
    /// Puts it together.
    pub fn new(seed: u64, house: House, peers: Vec<Peer>, trace: Trace, start: Instant) -> Self {
        Self {
            now: start,
            start,
            network: Network::new(Dice::new(seed, "network")),
            house,
            peers,
            trace,
            notices: Vec::new(),
            complaints: Vec::new(),
            swallow_bye: false,
            frames: Vec::new(),
            quiet_since: start,
            steps: (start, 0),
        }
    }

    /// Lets time pass; stops early when somebody saw something.
    pub fn run_until_notice(&mut self, end: Instant) {
        while self.notices.is_empty() && self.step(end) {}
    }

    /// Whether packets keep their order now.
    fn is_fair(&self) -> bool {
        let Weather {
            jitter,
            late,
            duplicate,
            damage,
            ..
        } = self.network.weather;
        jitter.is_zero() && late == 0.0 && duplicate == 0.0 && damage == 0.0
    }

    /// Media runs every 20 ms from now on, or no more.
    pub fn set_media(&mut self, runs: bool) {
        self.house.set_awake(runs, self.now);
        let pause = self.now.saturating_duration_since(self.quiet_since);
        for peer in &mut self.peers {
            peer.ear.lose_track();
            if runs {
                peer.ear.pause(pause);
            }
        }
        // Nobody's packets begin when somebody else's do.
        let phase = |who: usize| Duration::from_millis(who as u64 * 7 % 20);
        let people = if runs { self.peers.len() } else { 0 };
        self.frames = (0..people).map(|who| self.now + phase(who)).collect();
        self.quiet_since = self.now;
    }

    /// One event; false: nothing is due before `end`, which is now.
    fn step(&mut self, end: Instant) -> bool {
        self.drain();
        let due = self.due();
        let Some((at, why)) = due.filter(|(at, _)| *at <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.now = self.now.max(at);
        if self.is_spinning(why) {
            self.now = end;
            return false;
        }
        while let Some(packet) = self.network.arrive(self.now) {
            self.deliver(&packet);
        }
        self.speak();
        let now = self.now;
        if self.house.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.house.handle_timeout(now);
        }
        for peer in &mut self.peers {
            if peer.poll_timeout().is_some_and(|(at, _)| at <= now) {
                peer.handle_timeout(now);
            }
        }
        true
    }

    fn due(&self) -> Option<(Instant, &'static str)> {
        let network = self.network.next().map(|at| (at, "network"));
        let sound = self.frames.iter().min().map(|at| (self.whole(*at), "sound"));
        let peers = self.peers.iter().filter_map(Peer::poll_timeout);
        peers
            .chain(network)
            .chain(sound)
            .chain(self.house.poll_timeout())
            .min_by_key(|(at, _)| *at)
    }

    fn is_spinning(&mut self, why: &'static str) -> bool {
        if self.steps.0 == self.now {
            self.steps.1 += 1;
        } else {
            self.steps = (self.now, 0);
        }
        if self.steps.1 == MOST_STEPS {
            self.complaints
                .push(format!("time stands still: {why} is due again and again"));
        }
        self.steps.1 >= MOST_STEPS
    }

    /// Carries what the hosts have to the network, until they have no more.
    fn drain(&mut self) {
        let now = self.now;
        for packet in self.house.drain(now) {
            self.send(packet);
        }
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers.get_mut(index) else {
                continue;
            };
            let (packets, notices) = peer.drain(now);
            for complaint in peer.complaints.drain(..) {
                self.complaints.push(format!("{}: {complaint}", peer.name));
            }
            for notice in notices {
                self.trace.say(now, format_args!("p{index} {notice:?}"));
                self.notices.push((index, notice));
            }
            for packet in packets {
                self.send(packet);
            }
        }
        self.complaints.append(&mut self.house.complaints);
    }

    fn send(&mut self, packet: Packet) {
        self.trace.mark(self.now, &packet.bytes);
        if is_sip(&packet) && self.trace.wants_lines() {
            let (from, to) = (name(packet.from), name(packet.to));
            self.trace.line(
                self.now,
                format_args!("{from} → {to}  {}", headline(&packet.bytes)),
            );
        }
        self.network.send(packet, self.now);
    }

    fn deliver(&mut self, packet: &Packet) {
        let now = self.now;
        if packet.to.ip() == SERVER {
            if self.swallow_bye && packet.bytes.starts_with(b"BYE ") {
                return;
            }
            self.house.receive(packet, now);
            return;
        }
        let fair = self.is_fair();
        let to = packet.to.ip();
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.addr.ip() == to) {
            peer.receive(packet, fair, now);
            if let Some(complaint) = peer.ear.complaint.take() {
                self.complaints.push(format!("{}: {complaint}", peer.name));
            }
        }
    }

    fn speak(&mut self) {
        let mut packets = Vec::new();
        for (at, peer) in self.frames.iter_mut().zip(&mut self.peers) {
            if *at <= self.now {
                *at += peer.ear.frame();
                packets.extend(peer.speak());
            }
        }
        for packet in packets {
            self.send(packet);
        }
    }

    /// The next whole millisecond: what is due in it is done at once, for speed.
    fn whole(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.start).as_nanos();
        self.start + Duration::from_millis(u64::try_from(since.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.start)
    }
}

fn is_sip(packet: &Packet) -> bool {
    packet.from.port() == 5060 || packet.to.port() == 5060
}

/// The first line of a message, with its CSeq.
fn headline(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().next().unwrap_or_default();
    let cseq = text
        .lines()
        .find_map(|line| line.strip_prefix("CSeq: "))
        .unwrap_or_default();
    format!("{first}  [{cseq}, {} B]", bytes.len())
}

fn name(addr: SocketAddr) -> String {
    match addr.ip() {
        ip if ip == SERVER => "server".to_owned(),
        IpAddr::V4(ip) => match ip.octets() {
            [10, 1 | 99, 0, last] => format!("p{}", last.saturating_sub(2)),
            _ => addr.to_string(),
        },
        IpAddr::V6(_) => addr.to_string(),
    }
}
