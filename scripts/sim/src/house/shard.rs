//! A room's media without sockets: ports by number, the real mixer, ticks on the virtual clock.
//!
//! Ticks run every 20 ms only while hearing is judged. Otherwise the room sleeps for seconds and the mixer's own
//! handling of missed ticks bridges the gap, so that it still notices who has fallen silent.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use meet_server::focus::ids::LegId;
use mixer::{Command, LegKey, LegStats, MediaEvent, Outbox, Port};
use rtp_media::srtp::{SrtpChange, SrtpLink};
use rtp_media::units::NtpTime;

use crate::network::Packet;

/// A tick.
pub const TICK: Duration = Duration::from_millis(20);

/// Between two ticks while nobody listens.
const NAP: Duration = Duration::from_secs(5);

/// The ports of a leg.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// RTP.
    pub rtp: u16,
    /// RTCP, unless muxed.
    pub rtcp: Option<u16>,
}

/// What the room's task has for its shard.
pub enum RoomCommand {
    /// The ports of a leg that is added next.
    Attach(LegKey, Ports),
    /// BYE, remove, close.
    CloseLeg(LegKey),
    /// Other keys for a leg.
    Rekey(LegKey, SrtpChange),
    /// For the mixer.
    Mixer(Command),
    /// Close the room.
    Close,
}

/// A room on the virtual shard.
pub struct Slot {
    address: IpAddr,
    room: mixer::Room,
    commands: VecDeque<RoomCommand>,
    ports: BTreeMap<LegKey, Ports>,
    /// The protection of each leg that has keys.
    links: BTreeMap<LegKey, SrtpLink>,
    /// Opened for a leg whose answer is not agreed on yet.
    pub waiting: BTreeMap<LegId, Ports>,
    next_tick: Instant,
    /// Ports that are closed now.
    pub freed: Vec<Ports>,
    /// The mixer's room is closed.
    pub closed: bool,
    /// Packets to send.
    pub out: Vec<Packet>,
}

struct Out<'a> {
    address: IpAddr,
    ports: &'a BTreeMap<LegKey, Ports>,
    links: &'a mut BTreeMap<LegKey, SrtpLink>,
    packets: &'a mut Vec<Packet>,
}

impl Out<'_> {
    fn send(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8], rtcp: bool) {
        let Some(ports) = self.ports.get(&leg) else { return };
        let port = match ports.rtcp {
            Some(port) if rtcp => port,
            _ => ports.rtp,
        };
        let mut space = [0; 1_600];
        let packet = match self.links.get_mut(&leg) {
            // As the shard: what cannot be protected is not sent.
            Some(link) => link.outgoing(packet, &mut space).unwrap_or_default(),
            None => packet,
        };
        if packet.is_empty() {
            return;
        }
        self.packets.push(Packet {
            from: SocketAddr::new(self.address, port),
            to,
            bytes: packet.to_vec(),
        });
    }
}

impl Outbox for Out<'_> {
    fn rtp(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8]) {
        self.send(leg, to, packet, false);
    }

    fn rtcp(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8]) {
        self.send(leg, to, packet, true);
    }
}

impl Slot {
    /// An empty room.
    pub fn new(address: IpAddr, now: Instant) -> Self {
        let config = mixer::RoomConfig {
            max_legs: 128,
            ..mixer::RoomConfig::default()
        };
        Self {
            address,
            room: mixer::Room::new(config),
            commands: VecDeque::new(),
            ports: BTreeMap::new(),
            links: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_tick: now,
            freed: Vec::new(),
            closed: false,
            out: Vec::new(),
        }
    }

    /// Hands a command over; it is done at the next tick.
    pub fn command(&mut self, command: RoomCommand, now: Instant) {
        self.commands.push_back(command);
        self.next_tick = self.next_tick.min(now + TICK);
    }

    /// When the next tick is due.
    pub fn due(&self) -> Option<Instant> {
        (!self.closed).then_some(self.next_tick)
    }

    /// From now on every 20 ms.
    pub fn wake(&mut self, now: Instant) {
        self.next_tick = self.next_tick.min(now + TICK);
    }

    /// A datagram came to a port.
    pub fn receive(&mut self, leg: LegKey, port: Port, from: SocketAddr, bytes: &[u8], now: Instant) {
        let mut copy = bytes.to_vec();
        let clear = match self.links.get_mut(&leg) {
            Some(link) => link.incoming(&mut copy),
            None => Ok(copy.as_slice()),
        };
        // What is not authentic never reaches the latch.
        if let Ok(clear) = clear {
            self.room.receive(leg, port, from, clear, now);
        }
    }

    /// One tick; the events of the room.
    pub fn tick(&mut self, now: Instant, wall: NtpTime, awake: bool) -> Vec<MediaEvent> {
        while let Some(command) = self.commands.pop_front() {
            if !self.execute(command, now, wall) {
                break;
            }
        }
        if self.closed {
            return Vec::new();
        }
        let mut out = Out {
            address: self.address,
            ports: &self.ports,
            links: &mut self.links,
            packets: &mut self.out,
        };
        self.room.tick(now, wall, &mut out);
        self.next_tick = now + if awake { TICK } else { NAP };
        std::iter::from_fn(|| self.room.poll_event()).collect()
    }

    /// Figures of all legs.
    pub fn stats(&self) -> Vec<(LegId, LegStats)> {
        let one = |key: LegKey| Some((LegId(key.0), self.room.stats(key)?));
        self.ports.keys().filter_map(|key| one(*key)).collect()
    }

    /// Legs in the mixer and ports that are held: both zero when nobody is here.
    pub fn holds(&self) -> (usize, usize) {
        (self.room.legs().count(), self.ports.len() + self.waiting.len())
    }

    fn execute(&mut self, command: RoomCommand, now: Instant, wall: NtpTime) -> bool {
        match command {
            RoomCommand::Attach(key, ports) => {
                self.ports.insert(key, ports);
            }
            RoomCommand::Rekey(key, mut change) => self.links.entry(key).or_default().change(&mut change),
            RoomCommand::Mixer(command) => drop(self.room.command(command, now)),
            RoomCommand::CloseLeg(key) => self.close_leg(key, now, wall),
            RoomCommand::Close => {
                let keys: Vec<LegKey> = self.ports.keys().copied().collect();
                for key in keys {
                    self.close_leg(key, now, wall);
                }
                self.closed = true;
                return false;
            }
        }
        true
    }

    fn close_leg(&mut self, key: LegKey, now: Instant, wall: NtpTime) {
        let mut out = Out {
            address: self.address,
            ports: &self.ports,
            links: &mut self.links,
            packets: &mut self.out,
        };
        self.room.leave(key, now, wall, &mut out);
        drop(self.room.command(Command::Remove(key), now));
        self.links.remove(&key);
        if let Some(ports) = self.ports.remove(&key) {
            self.freed.push(ports);
        }
    }
}
