//! The server without I/O: the real endpoint, focus, rooms and mixers behind a virtual driver.
//!
//! It does what `meet_server::drivers` do with tasks and rings: signalling and rooms talk by queues in order, a
//! command of a room reaches the mixer at a tick, the store answers later. The latency of these ways is drawn from
//! the seed, so that what crosses in a busy server crosses here too. Deliberately absent: HTTP (the API is asked in
//! the focus's own words) and capture.

mod shard;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use meet_server::config::Config;
use meet_server::focus::Focus;
use meet_server::focus::api::{ApiReply, ApiRequest};
use meet_server::focus::ids::{ApiId, LegId, LookupId, RoomId};
use meet_server::focus::io::{FocusInput, FocusOutput};
use meet_server::focus::room::{Room, RoomSetup};
use meet_server::focus::room_io::{MediaCommand, RoomInput, RoomOutput};
use meet_server::settings;
use mixer::{Leg, LegConfig, LegKey, LegUpdate, Port};
use rtp_media::srtp::SrtpChange;
use rtp_media::units::NtpTime;
use sip_proto::endpoint::{Counts, Endpoint, Flow, Input, Output, Transport};

pub use shard::TICK;
use shard::{Ports, RoomCommand, Slot};
pub use store::Store;

use crate::dice::Dice;
use crate::network::Packet;

/// The first media port.
const FIRST_PORT: u16 = 20_000;

/// How fast the ways inside the house are.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Between signalling and a room, and to the store: at most this long.
    pub most: Duration,
    /// Share of mailboxes that are found full.
    pub full: f64,
}

/// Something on its way inside the house.
enum Internal {
    ToRoom(RoomId, Box<RoomInput>),
    FromRoom(RoomId, Box<RoomOutput>),
    Account(LookupId, String),
}

/// By which way something goes; each keeps its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    To(RoomId),
    From(RoomId),
    Store(LookupId),
}

struct RoomHouse {
    core: Room,
    slot: Slot,
    /// The focus has let go of it.
    closing: bool,
}

/// A running server.
pub struct House {
    sip: SocketAddr,
    config: Config,
    start: Instant,
    endpoint: Endpoint,
    focus: Focus,
    rooms: BTreeMap<RoomId, RoomHouse>,
    stirred: BTreeSet<RoomId>,
    /// The disk.
    pub store: Store,
    internal: BTreeMap<(Instant, u64), Internal>,
    last: BTreeMap<Way, Instant>,
    number: u64,
    latency: Latency,
    dice: Dice,
    ports: BTreeMap<u16, (RoomId, LegId, Port)>,
    next_port: u16,
    replies: BTreeMap<ApiId, ApiReply>,
    next_api: u64,
    /// Media runs every 20 ms.
    awake: bool,
    /// For the simulator's own test.
    pub broken: Option<Broken>,
    /// With [`Broken::Crossed`]: a leg of a room whose media goes astray.
    stray: Option<(RoomId, SocketAddr)>,
    out: Vec<Packet>,
    /// Broken invariants.
    pub complaints: Vec<String>,
}

/// A fault that is put into the server on purpose: the judges must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// What comes from this address never reaches the mixer.
    DeafTo(IpAddr),
    /// No leg is ever closed.
    Leaky,
    /// The first leg that is to be closed is not.
    LeaksOne,
    /// The mixer is not told of mutes.
    IgnoresMute,
    /// The mixer is not told of offers within calls.
    IgnoresHold,
    /// One leg is sent what a leg of another room is sent, besides its own.
    Crossed,
}

/// What is left in a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leftovers {
    /// In the endpoint.
    pub endpoint: Counts,
    /// Rooms.
    pub rooms: usize,
    /// Media ports.
    pub ports: usize,
    /// Messages inside the house.
    pub internal: usize,
}

impl House {
    /// A server with an empty disk. Port 5060 of `address` is its SIP port.
    pub fn new(address: IpAddr, config: Config, latency: Latency, mut dice: Dice, now: Instant) -> Self {
        let sip = SocketAddr::new(address, 5060);
        let (endpoint, focus) = cores(&config, sip, &mut dice, now);
        Self {
            sip,
            config,
            start: now,
            endpoint,
            focus,
            rooms: BTreeMap::new(),
            stirred: BTreeSet::new(),
            store: Store::default(),
            internal: BTreeMap::new(),
            last: BTreeMap::new(),
            number: 0,
            latency,
            dice,
            ports: BTreeMap::new(),
            next_port: FIRST_PORT,
            replies: BTreeMap::new(),
            next_api: 0,
            awake: false,
            broken: None,
            stray: None,
            out: Vec::new(),
            complaints: Vec::new(),
        }
    }

    /// kill -9 and start again: only the disk is left.
    pub fn restart(&mut self, now: Instant) {
        let (endpoint, focus) = cores(&self.config, self.sip, &mut self.dice, now);
        self.endpoint = endpoint;
        self.focus = focus;
        self.rooms.clear();
        self.stirred.clear();
        self.internal.clear();
        self.last.clear();
        self.ports.clear();
        self.out.clear();
        for input in self.store.restart(now) {
            self.focus.handle_input(input, now);
        }
    }

    /// Where SIP goes.
    pub const fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// Media runs every 20 ms, or naps.
    pub fn set_awake(&mut self, awake: bool, now: Instant) {
        self.awake = awake;
        if awake {
            self.rooms.values_mut().for_each(|room| room.slot.wake(now));
        }
    }

    /// The share of mailboxes that are found full from now on.
    pub const fn set_full(&mut self, share: f64) {
        self.latency.full = share;
    }

    /// A datagram came.
    pub fn receive(&mut self, packet: &Packet, now: Instant) {
        if packet.to == self.sip {
            let flow = Flow::udp(self.sip, packet.from);
            let bytes = packet.bytes.as_slice();
            self.endpoint.handle_input(Input::Datagram { flow, bytes }, now);
            // The focus decides on an arrival before the next input.
            self.settle(now);
        } else if let Some((room, leg, port)) = self.ports.get(&packet.to.port()).copied()
            && self.broken != Some(Broken::DeafTo(packet.from.ip()))
            && let Some(room) = self.rooms.get_mut(&room)
        {
            let key = LegKey(leg.0);
            room.slot.receive(key, port, packet.from, &packet.bytes, now);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.focus.handle_timeout(now);
        let due: Vec<RoomId> = self.rooms.keys().copied().collect();
        for id in due {
            self.room_timeout(id, now);
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let rooms = self.rooms.values().flat_map(|room| {
            let tick = room.slot.due().map(|at| (at, "tick"));
            room.core.poll_timeout().into_iter().chain(tick)
        });
        let internal = self
            .internal
            .first_key_value()
            .map(|((at, _), _)| (*at, "inside"));
        self.endpoint
            .poll_timeout()
            .into_iter()
            .chain(self.focus.poll_timeout())
            .chain(internal)
            .chain(rooms)
            .min_by_key(|(at, _)| *at)
    }

    /// Asks the focus as the HTTP API does; the reply comes by [`Self::reply`].
    pub fn ask(&mut self, request: ApiRequest, now: Instant) -> ApiId {
        self.next_api += 1;
        let id = ApiId(self.next_api);
        self.focus.handle_input(FocusInput::Api { id, request }, now);
        id
    }

    /// The reply to a question, once.
    pub fn reply(&mut self, id: ApiId) -> Option<ApiReply> {
        self.replies.remove(&id)
    }

    /// What is left.
    pub fn leftovers(&self) -> Leftovers {
        let held: usize = self.rooms.values().map(|room| room.slot.holds().1).sum();
        Leftovers {
            endpoint: self.endpoint.counts(),
            rooms: self.rooms.len(),
            ports: self.ports.len().max(held),
            internal: self.internal.len(),
        }
    }

    /// Legs in all mixers.
    pub fn mixed(&self) -> usize {
        self.rooms.values().map(|room| room.slot.holds().0).sum()
    }

    /// The longest delay that a jitter buffer adds now.
    pub fn longest_delay(&self) -> Duration {
        let stats = self.rooms.values().flat_map(|room| room.slot.stats());
        stats.map(|(_, stats)| stats.delay()).max().unwrap_or_default()
    }

    /// As `settle` of the signalling task.
    fn settle(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.endpoint.poll_output() {
                self.endpoint_output(output, now);
            } else if let Some(output) = self.focus.poll_output() {
                self.focus_output(output, now);
            } else {
                return;
            }
        }
    }

    /// Carries everything until nothing moves, and gives out what is to be sent.
    pub fn drain(&mut self, now: Instant) -> Vec<Packet> {
        loop {
            self.settle(now);
            if let Some(entry) = self.internal.first_entry()
                && entry.key().0 <= now
            {
                let internal = entry.remove();
                self.arrive(internal, now);
            } else if let Some(id) = self.stirred.pop_first() {
                self.stir(id, now);
            } else {
                return std::mem::take(&mut self.out);
            }
        }
    }

    fn endpoint_output(&mut self, output: Output, now: Instant) {
        match output {
            // Nobody listens on streams here: the endpoint falls back.
            Output::Transmit { flow, .. } if flow.transport != Transport::Udp => {
                self.endpoint.handle_input(Input::TransportFailed { flow }, now);
            }
            Output::Transmit { flow, bytes } => {
                if flow.remote.ip().is_unspecified() || flow.remote.port() == 0 {
                    self.complaints.push(format!("a message to nobody: {flow:?}"));
                }
                if bytes.len() > 65_507 {
                    self.complaints
                        .push(format!("a datagram of {} bytes", bytes.len()));
                }
                self.out.push(Packet {
                    from: self.sip,
                    to: flow.remote,
                    bytes,
                });
            }
            Output::Close { .. } => {}
            Output::Event(event) => self.focus.handle_input(FocusInput::Sip(event), now),
        }
    }

    fn focus_output(&mut self, output: FocusOutput, now: Instant) {
        match output {
            FocusOutput::Sip(command) => {
                if let Some(back) = command.execute(&mut self.endpoint, now) {
                    self.focus.handle_input(back, now);
                }
            }
            FocusOutput::SpawnRoom(setup) => self.spawn(*setup, now),
            FocusOutput::ToRoom { room, input } => self.hand_to_room(room, input, now),
            FocusOutput::CloseRoom { room } => {
                if let Some(house) = self.rooms.get_mut(&room) {
                    house.closing = true;
                }
                self.stirred.insert(room);
            }
            FocusOutput::LookUp { id, user, .. } => {
                self.post(Way::Store(id), Internal::Account(id, user), now);
            }
            FocusOutput::Record(record) => self.store.record(record, now),
            FocusOutput::ApiReply { id, reply } => {
                self.replies.insert(id, reply);
            }
            // For the shield, which stands before the endpoint in the drivers.
            FocusOutput::Conduct { .. } => {}
            FocusOutput::ShutDown => self.complaints.push("the focus shut down unasked".to_owned()),
        }
    }

    fn spawn(&mut self, setup: RoomSetup, now: Instant) {
        let id = setup.id;
        let mut slot = Slot::new(self.sip.ip(), now);
        if self.awake {
            slot.wake(now);
        }
        let house = RoomHouse {
            core: Room::new(setup, now),
            slot,
            closing: false,
        };
        self.rooms.insert(id, house);
    }

    /// As the signalling task's: never waits, what a room cannot take comes back.
    fn hand_to_room(&mut self, room: RoomId, input: Box<RoomInput>, now: Instant) {
        let open = self.rooms.get(&room).is_some_and(|house| !house.closing);
        if !open || self.dice.chance(self.latency.full) {
            self.focus.handle_input(FocusInput::RoomBusy { room, input }, now);
            return;
        }
        self.post(Way::To(room), Internal::ToRoom(room, input), now);
    }

    /// Puts something on its way, behind what went the same way before.
    fn post(&mut self, way: Way, internal: Internal, now: Instant) {
        let delay = self.dice.between(Duration::ZERO, self.latency.most);
        let at = self
            .last
            .get(&way)
            .map_or(now + delay, |last| (now + delay).max(*last));
        self.last.insert(way, at);
        self.number += 1;
        self.internal.insert((at, self.number), internal);
    }

    fn arrive(&mut self, internal: Internal, now: Instant) {
        match internal {
            Internal::ToRoom(room, input) => {
                if let Some(house) = self.rooms.get_mut(&room) {
                    house.core.handle_input(*input, now);
                    self.stirred.insert(room);
                }
            }
            Internal::FromRoom(room, output) => match *output {
                RoomOutput::Sip(command) => {
                    if let Some(back) = command.execute(&mut self.endpoint, now) {
                        self.focus.handle_input(back, now);
                    }
                }
                RoomOutput::Report(report) => self.focus.handle_input(FocusInput::Room { room, report }, now),
                RoomOutput::ApiReply { id, reply } => {
                    self.replies.insert(id, reply);
                }
                other @ (RoomOutput::Record(_) | RoomOutput::Media(_)) => {
                    self.complaints
                        .push(format!("{room}: took the wrong way: {other:?}"));
                }
            },
            Internal::Account(id, user) => {
                self.last.remove(&Way::Store(id));
                let account = self.store.account(&user);
                self.focus.handle_input(FocusInput::Account { id, account }, now);
            }
        }
    }

    fn room_timeout(&mut self, id: RoomId, now: Instant) {
        let wall = self.wall(now);
        let awake = self.awake;
        let Some(house) = self.rooms.get_mut(&id) else {
            return;
        };
        house.core.handle_timeout(now);
        if house.slot.due().is_some_and(|at| at <= now) {
            for event in house.slot.tick(now, wall, awake) {
                house.core.handle_input(RoomInput::Media(event), now);
            }
            if !awake {
                house.core.handle_input(RoomInput::Stats(house.slot.stats()), now);
            }
        }
        self.stirred.insert(id);
    }

    /// Executes a room's outputs in their order.
    fn stir(&mut self, id: RoomId, now: Instant) {
        let pending = self
            .internal
            .values()
            .any(|internal| matches!(internal, Internal::ToRoom(room, _) if *room == id));
        while let Some(output) = self.rooms.get_mut(&id).and_then(|house| house.core.poll_output()) {
            match output {
                RoomOutput::Record(record) => self.store.record(record, now),
                RoomOutput::Media(command) => self.media(id, command, now),
                other => self.post(Way::From(id), Internal::FromRoom(id, Box::new(other)), now),
            }
        }
        let Some(house) = self.rooms.get_mut(&id) else {
            return;
        };
        if self.broken == Some(Broken::Crossed) {
            self.stray = cross(self.stray, id, &mut house.slot.out);
        }
        self.out.append(&mut house.slot.out);
        for ports in std::mem::take(&mut house.slot.freed) {
            self.ports.remove(&ports.rtp);
            ports.rtcp.map(|port| self.ports.remove(&port));
        }
        if house.closing && !pending && !house.slot.closed && self.broken != Some(Broken::Leaky) {
            house.slot.command(RoomCommand::Close, now);
        }
        if house.closing && !pending && house.slot.closed {
            self.rooms.remove(&id);
            self.last.remove(&Way::To(id));
            self.last.remove(&Way::From(id));
        }
    }

    /// As `media_command` of the room's task.
    fn media(&mut self, room: RoomId, command: MediaCommand, now: Instant) {
        if self.forgets(&command) {
            return;
        }
        match command {
            MediaCommand::OpenLeg { leg, rtcp_port, .. } => self.open_leg(room, leg, rtcp_port, now),
            MediaCommand::Add { leg, config } => self.add_leg(room, leg, *config, now),
            MediaCommand::Update { leg, update } => match LegUpdate::build(&update) {
                Ok(update) => {
                    let command = mixer::Command::Update(LegKey(leg.0), update);
                    self.shard(room, RoomCommand::Mixer(command), now);
                }
                Err(error) => self.complaints.push(format!("{room}: leg {leg}: {error}")),
            },
            MediaCommand::Mute { leg, muted } => {
                let command = mixer::Command::Mute(LegKey(leg.0), muted);
                self.shard(room, RoomCommand::Mixer(command), now);
            }
            MediaCommand::CloseLeg { leg } => {
                let Some(house) = self.rooms.get_mut(&room) else {
                    return;
                };
                match house.slot.waiting.remove(&leg) {
                    Some(ports) => self.free(ports),
                    None => self.shard(room, RoomCommand::CloseLeg(LegKey(leg.0)), now),
                }
            }
            MediaCommand::CloseRoom => {
                if let Some(house) = self.rooms.get_mut(&room) {
                    let waiting = std::mem::take(&mut house.slot.waiting);
                    waiting.into_values().for_each(|ports| self.free(ports));
                }
                self.shard(room, RoomCommand::Close, now);
            }
            MediaCommand::Keys { leg, change } => match SrtpChange::build(&change) {
                Ok(change) => self.shard(room, RoomCommand::Rekey(LegKey(leg.0), change), now),
                Err(error) => self.complaints.push(format!("{room}: leg {leg}: {error}")),
            },
        }
    }

    /// Whether this command is lost by the fault that was put in.
    fn forgets(&mut self, command: &MediaCommand) -> bool {
        match (self.broken, command) {
            (Some(Broken::Leaky), MediaCommand::CloseLeg { .. } | MediaCommand::CloseRoom)
            | (Some(Broken::IgnoresMute), MediaCommand::Mute { .. })
            | (Some(Broken::IgnoresHold), MediaCommand::Update { .. }) => true,
            (Some(Broken::LeaksOne), MediaCommand::CloseLeg { .. }) => {
                self.broken = None;
                true
            }
            _ => false,
        }
    }

    fn open_leg(&mut self, room: RoomId, leg: LegId, with_rtcp: bool, now: Instant) {
        while self.ports.contains_key(&self.next_port) || self.ports.contains_key(&(self.next_port + 1)) {
            self.advance_port();
        }
        let rtp = self.next_port;
        self.advance_port();
        let rtcp = with_rtcp.then_some(rtp + 1);
        self.ports.insert(rtp, (room, leg, Port::Rtp));
        rtcp.map(|port| self.ports.insert(port, (room, leg, Port::Rtcp)));
        if let Some(house) = self.rooms.get_mut(&room) {
            house.slot.waiting.insert(leg, Ports { rtp, rtcp });
            let opened = RoomInput::LegOpened {
                leg,
                rtp_port: rtp,
                rtcp_port: rtcp,
            };
            house.core.handle_input(opened, now);
        }
    }

    fn advance_port(&mut self) {
        self.next_port = if self.next_port > 60_000 {
            FIRST_PORT
        } else {
            self.next_port + 2
        };
    }

    fn add_leg(&mut self, room: RoomId, leg: LegId, config: LegConfig, now: Instant) {
        let house = self.rooms.get_mut(&room);
        let Some(mut ports) = house.and_then(|house| house.slot.waiting.remove(&leg)) else {
            return self.complaints.push(format!("{room}: leg {leg} has no ports"));
        };
        if config.rtcp_mux
            && let Some(port) = ports.rtcp.take()
        {
            self.ports.remove(&port);
        }
        match Leg::build(config, now) {
            Ok(built) => {
                self.shard(room, RoomCommand::Attach(LegKey(leg.0), ports), now);
                self.shard(room, RoomCommand::Mixer(mixer::Command::Add(built)), now);
            }
            Err(error) => self.complaints.push(format!("{room}: leg {leg}: {error}")),
        }
    }

    fn shard(&mut self, room: RoomId, command: RoomCommand, now: Instant) {
        if let Some(house) = self.rooms.get_mut(&room)
            && !house.slot.closed
        {
            house.slot.command(command, now);
        }
    }

    fn free(&mut self, ports: Ports) {
        self.ports.remove(&ports.rtp);
        ports.rtcp.map(|port| self.ports.remove(&port));
    }

    fn wall(&self, now: Instant) -> NtpTime {
        let since = now.saturating_duration_since(self.start);
        NtpTime::from_unix(Duration::from_secs(1_760_000_000) + since)
    }
}

/// Sends a copy of a room's first packet to a leg of another room; that leg is the first one that sends.
fn cross(
    stray: Option<(RoomId, SocketAddr)>,
    room: RoomId,
    out: &mut Vec<Packet>,
) -> Option<(RoomId, SocketAddr)> {
    // RFC 5761 §4: payload types 64 to 95 are RTCP's.
    let is_sound = |packet: &&Packet| {
        packet
            .bytes
            .get(1)
            .is_some_and(|kind| !(64..96).contains(&(kind & 0x7f)))
    };
    let Some(mut copy) = out.iter().find(is_sound).cloned() else {
        return stray;
    };
    match stray {
        Some((other, to)) if other != room => {
            copy.to = to;
            out.push(copy);
            stray
        }
        _ => Some((room, copy.to)),
    }
}

/// The cores as `meet_server::run` makes them.
fn cores(config: &Config, sip: SocketAddr, dice: &mut Dice, now: Instant) -> (Endpoint, Focus) {
    let endpoint = Endpoint::new(settings::endpoint(config), dice.seed());
    let focus = settings::focus(config, Some(sip), None);
    (endpoint, Focus::new(focus, dice.seed(), now))
}
