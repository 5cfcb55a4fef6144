//! The network: seeded weather between hosts, address translators, cut cables.
//!
//! Every datagram sent is lost, doubled, damaged, delayed or delivered by the dice of the seed and the weather of the
//! hour. A datagram above the path's MTU travels in fragments and is lost with any of them. Deliberately absent:
//! queues that fill (loss and jitter stand for them) and streams.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::dice::Dice;

/// What one UDP datagram holds of a packet on an Ethernet path.
const FRAGMENT: usize = 1_472;

/// A datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Source.
    pub from: SocketAddr,
    /// Destination.
    pub to: SocketAddr,
    /// Content.
    pub bytes: Vec<u8>,
}

/// How the network behaves now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// One way, at least.
    pub delay: Duration,
    /// Added evenly: packets overtake each other when it is longer than their distance.
    pub jitter: Duration,
    /// Share lost.
    pub loss: f64,
    /// Share that arrives twice.
    pub duplicate: f64,
    /// Share that is held back by up to a second.
    pub late: f64,
    /// Share that arrives damaged.
    pub damage: f64,
    /// Fragments never arrive.
    pub no_fragments: bool,
}

impl Weather {
    /// Nothing goes wrong.
    pub const FINE: Self = Self {
        delay: Duration::from_millis(8),
        jitter: Duration::ZERO,
        loss: 0.0,
        duplicate: 0.0,
        late: 0.0,
        damage: 0.0,
        no_fragments: false,
    };
}

/// An address translator in front of one host.
#[derive(Debug)]
struct Nat {
    outside: IpAddr,
    next_port: u16,
    /// Inside port to outside port.
    ports: BTreeMap<u16, u16>,
}

/// How many datagrams met which fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// Given to the network.
    pub sent: u64,
    /// Lost by weather, cut cables and missing mappings.
    pub lost: u64,
}

/// All paths between all hosts.
#[derive(Debug)]
pub struct Network {
    /// Applies to everything that is sent from now on.
    pub weather: Weather,
    /// Counts.
    pub traffic: Traffic,
    dice: Dice,
    flying: BTreeMap<(Instant, u64), Packet>,
    number: u64,
    cut: BTreeSet<IpAddr>,
    nats: BTreeMap<IpAddr, Nat>,
}

impl Network {
    /// A network without hosts in fine weather.
    pub fn new(dice: Dice) -> Self {
        Self {
            weather: Weather::FINE,
            traffic: Traffic::default(),
            dice,
            flying: BTreeMap::new(),
            number: 0,
            cut: BTreeSet::new(),
            nats: BTreeMap::new(),
        }
    }

    /// Puts a host behind a translator of its own.
    pub fn translate(&mut self, inside: IpAddr, outside: IpAddr) {
        self.nats.insert(
            inside,
            Nat {
                outside,
                next_port: 1_024,
                ports: BTreeMap::new(),
            },
        );
    }

    /// The translator forgets its mappings: everything leaves from new ports from now on.
    pub fn rebind(&mut self, inside: IpAddr) {
        if let Some(nat) = self.nats.get_mut(&inside) {
            nat.ports.clear();
        }
    }

    /// The same for one port of the host.
    pub fn rebind_port(&mut self, inside: IpAddr, port: u16) -> bool {
        let nat = self.nats.get_mut(&inside);
        nat.is_some_and(|nat| nat.ports.remove(&port).is_some())
    }

    /// Cuts a host's cable, or mends it.
    pub fn set_cut(&mut self, host: IpAddr, cut: bool) {
        if cut {
            self.cut.insert(host);
        } else {
            self.cut.remove(&host);
        }
    }

    /// Mends everything.
    pub fn mend(&mut self) {
        self.cut.clear();
    }

    /// Takes a datagram on its way.
    pub fn send(&mut self, mut packet: Packet, now: Instant) {
        self.traffic.sent += 1;
        if self.cut.contains(&packet.from.ip()) {
            self.traffic.lost += 1;
            return;
        }
        if let Some(nat) = self.nats.get_mut(&packet.from.ip()) {
            packet.from = nat.outward(packet.from.port());
        }
        let weather = self.weather;
        let copies = if self.dice.chance(weather.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            if self.is_lost(packet.bytes.len()) {
                self.traffic.lost += 1;
                continue;
            }
            let mut copy = packet.clone();
            if self.dice.chance(weather.damage) {
                self.damage(&mut copy.bytes);
            }
            let mut delay = weather.delay + self.dice.between(Duration::ZERO, weather.jitter);
            if self.dice.chance(weather.late) {
                delay += self
                    .dice
                    .between(Duration::from_millis(20), Duration::from_secs(1));
            }
            self.number += 1;
            self.flying.insert((now + delay, self.number), copy);
        }
    }

    /// When the next datagram arrives.
    pub fn next(&self) -> Option<Instant> {
        self.flying.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next datagram that has arrived by now, addressed to the host itself.
    pub fn arrive(&mut self, now: Instant) -> Option<Packet> {
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= now
        {
            let mut packet = entry.remove();
            match self.inward(packet.to) {
                Some(to) if !self.cut.contains(&to.ip()) => {
                    packet.to = to;
                    return Some(packet);
                }
                _ => self.traffic.lost += 1,
            }
        }
        None
    }

    fn inward(&self, to: SocketAddr) -> Option<SocketAddr> {
        let Some((inside, nat)) = self.nats.iter().find(|(_, nat)| nat.outside == to.ip()) else {
            // Nobody outside can call an inside address.
            return (!self.nats.contains_key(&to.ip())).then_some(to);
        };
        let port = nat.ports.iter().find(|(_, outside)| **outside == to.port())?;
        Some(SocketAddr::new(*inside, *port.0))
    }

    fn is_lost(&mut self, length: usize) -> bool {
        let fragments = length.div_ceil(FRAGMENT).max(1);
        if fragments > 1 && self.weather.no_fragments {
            return true;
        }
        (0..fragments).any(|_| self.dice.chance(self.weather.loss))
    }

    /// Cuts the datagram off, or writes a run of bytes over it that no text has. What damage leaves readable must not
    /// make sense as something else: the model knows nothing of wishes that the network invented.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.dice.index(bytes.len());
        // In a body even unreadable bytes make sense: an unknown attribute instead of a hold.
        let body = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let in_body = body.is_some_and(|body| at + 16 > body);
        if in_body || self.dice.chance(0.5) {
            bytes.truncate(at);
            return;
        }
        let mut noise = [0; 16];
        self.dice.fill(&mut noise);
        for (byte, noise) in bytes.iter_mut().skip(at).zip(noise) {
            *byte = noise | 0x80;
        }
    }
}

impl Nat {
    fn outward(&mut self, inside: u16) -> SocketAddr {
        let port = *self.ports.entry(inside).or_insert_with(|| {
            self.next_port = self.next_port.checked_add(1).unwrap_or(1_025);
            self.next_port
        });
        SocketAddr::new(self.outside, port)
    }
}
