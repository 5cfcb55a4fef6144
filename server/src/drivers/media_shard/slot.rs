//! One room on its shard: rings to its task, sockets of its legs, the mixer.

use super::super::capture::Tap;
use super::super::limits::{
    COMMANDS_PER_TICK, LEGS_PER_ROOM, MEDIA_DATAGRAM, PACKETS_PER_TICK, RTCP_TICKS, STATS_TICKS,
};
use super::counters::{ShardCounters, count, count_refused};
use super::handle::RoomShared;
use super::pace::Pace;
use super::sockets::{Clocks, Datagram, LegSockets, Read, Receiver};
use super::{Discarded, RoomCommand};
use crate::focus::policy::is_local_source;
use mixer::{LegKey, LegStats, MediaEvent, Outbox, Port};
use rtp_media::srtp::{SrtpChange, SrtpLink};
use rtp_media::units::NtpTime;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

/// A room with all that its tick needs.
pub(super) struct Slot {
    pub(super) due: Instant,
    pub(super) phase: usize,
    pub(super) shared: Arc<RoomShared>,
    pub(super) room: mixer::Room,
    pub(super) commands: rtrb::Consumer<RoomCommand>,
    pub(super) trash: rtrb::Producer<Discarded>,
    pub(super) events: rtrb::Producer<MediaEvent>,
    pub(super) stats: rtrb::Producer<(LegKey, LegStats)>,
    ports: Vec<(LegKey, Box<LegSockets>)>,
    number: usize,
    wake: bool,
}

/// What the shard lends to each tick.
pub(super) struct Bench<'a> {
    pub(super) receiver: &'a mut Receiver,
    pub(super) counters: &'a ShardCounters,
    pub(super) tap: Option<&'a mut Tap>,
    /// Where a packet is protected.
    pub(super) space: &'a mut [u8; MEDIA_DATAGRAM],
}

impl Slot {
    pub(super) fn new(
        room: mixer::Room,
        shared: Arc<RoomShared>,
        commands: rtrb::Consumer<RoomCommand>,
        trash: rtrb::Producer<Discarded>,
        events: rtrb::Producer<MediaEvent>,
        stats: rtrb::Producer<(LegKey, LegStats)>,
    ) -> Self {
        Self {
            due: Instant::now(),
            phase: 0,
            shared,
            room,
            commands,
            trash,
            events,
            stats,
            ports: Vec::with_capacity(LEGS_PER_ROOM),
            number: 0,
            wake: false,
        }
    }

    /// One tick; `false`: the room is closed.
    pub(super) fn tick(&mut self, clocks: &Clocks, bench: &mut Bench<'_>) -> bool {
        let wall = NtpTime::from_unix(clocks.wall);
        self.drain(clocks, bench);
        let alive = self.take_commands(clocks, wall, bench);
        let mut out = Sockets {
            ports: &mut self.ports,
            counters: bench.counters,
            tap: bench.tap.as_deref_mut(),
            space: bench.space,
            private_only: self.shared.private_only,
            next: 0,
        };
        if !alive {
            let mut legs = 0;
            while let Some(key) = out.ports.get(legs).map(|(key, _)| *key) {
                self.room.leave(key, clocks.now, wall, &mut out);
                legs += 1;
            }
            count(&bench.counters.legs, 0_u64.wrapping_sub(legs as u64));
            return false;
        }
        self.room.tick(clocks.now, wall, &mut out);
        self.publish();
        self.number = self.number.wrapping_add(1);
        if std::mem::take(&mut self.wake) {
            self.shared.notify();
        }
        true
    }

    /// Legs, for the shard's account when the room is lost.
    pub(super) fn legs(&self) -> u64 {
        self.ports.len() as u64
    }

    fn take_commands(&mut self, clocks: &Clocks, wall: NtpTime, bench: &mut Bench<'_>) -> bool {
        if self.commands.is_abandoned() && self.commands.is_empty() {
            return false;
        }
        for _ in 0..COMMANDS_PER_TICK {
            // A command may give two things back; without space for them it waits.
            if self.trash.slots() < 2 {
                break;
            }
            let Ok(command) = self.commands.pop() else { break };
            match command {
                RoomCommand::Attach(key, sockets) => self.attach(key, sockets, bench.counters),
                RoomCommand::CloseLeg(key) => self.close_leg(key, clocks, wall, bench),
                RoomCommand::Rekey(key, change) => self.rekey(key, change),
                RoomCommand::Mixer(command) => {
                    if let Some(trash) = self.room.command(command, clocks.now) {
                        self.discard(Discarded::Mixer(trash));
                    }
                }
                RoomCommand::Close => return false,
                #[cfg(test)]
                RoomCommand::Fault => panic!("a fault in the tick, wanted by a test"),
            }
        }
        true
    }

    fn attach(&mut self, key: LegKey, sockets: Box<LegSockets>, counters: &ShardCounters) {
        match self.ports.binary_search_by_key(&key, |(k, _)| *k) {
            Err(at) if self.ports.len() < LEGS_PER_ROOM => {
                self.ports.insert(at, (key, sockets));
                count(&counters.legs, 1);
            }
            _ => self.discard(Discarded::Sockets(sockets)),
        }
    }

    fn rekey(&mut self, key: LegKey, mut change: Box<SrtpChange>) {
        let found = self.ports.binary_search_by_key(&key, |(k, _)| *k).ok();
        if let Some((_, sockets)) = found.and_then(|at| self.ports.get_mut(at)) {
            sockets.srtp.change(&mut change);
        }
        self.discard(Discarded::Keys(change));
    }

    fn close_leg(&mut self, key: LegKey, clocks: &Clocks, wall: NtpTime, bench: &mut Bench<'_>) {
        let mut out = Sockets {
            ports: &mut self.ports,
            counters: bench.counters,
            tap: bench.tap.as_deref_mut(),
            space: bench.space,
            private_only: self.shared.private_only,
            next: 0,
        };
        self.room.leave(key, clocks.now, wall, &mut out);
        if let Some(trash) = self.room.command(mixer::Command::Remove(key), clocks.now) {
            self.discard(Discarded::Mixer(trash));
        }
        if let Ok(at) = self.ports.binary_search_by_key(&key, |(k, _)| *k) {
            let (_, sockets) = self.ports.remove(at);
            count(&bench.counters.legs, 0_u64.wrapping_sub(1));
            self.discard(Discarded::Sockets(sockets));
        }
    }

    fn discard(&mut self, thing: Discarded) {
        self.wake = true;
        if let Err(rtrb::PushError::Full(thing)) = self.trash.push(thing) {
            // Unreachable by the check in `take_commands`; freeing here is better than a leak.
            drop(thing);
        }
    }

    fn drain(&mut self, clocks: &Clocks, bench: &mut Bench<'_>) {
        let private_only = self.shared.private_only;
        for (index, (key, sockets)) in self.ports.iter_mut().enumerate() {
            let LegSockets {
                rtp,
                rtp_address,
                rtcp,
                srtp,
                pace,
            } = &mut **sockets;
            let mut wire = Wire {
                key: *key,
                port: Port::Rtp,
                socket: rtp,
                address: *rtp_address,
                srtp,
                private_only,
            };
            pace.begin();
            wire.read(pace, &mut self.room, clocks, bench);
            if let Some((socket, address)) = rtcp
                && index.wrapping_add(self.number).is_multiple_of(RTCP_TICKS)
            {
                let mut wire = Wire {
                    port: Port::Rtcp,
                    socket,
                    address: *address,
                    ..wire
                };
                // Read so rarely, it is emptied each time.
                wire.read(&mut Pace::default(), &mut self.room, clocks, bench);
            }
            self.room.prepare(*key, clocks.now);
        }
    }

    fn publish(&mut self) {
        // A full ring leaves the events in the mixer, which drops levels first.
        while !self.events.is_full() {
            let Some(event) = self.room.poll_event() else {
                break;
            };
            let _ = self.events.push(event);
            self.wake = true;
        }
        for (index, (key, _)) in self.ports.iter().enumerate() {
            if index.wrapping_add(self.number).is_multiple_of(STATS_TICKS)
                && let Some(stats) = self.room.stats(*key)
            {
                let _ = self.stats.push((*key, stats));
            }
        }
        // Statistics are fetched ten times a second at most: few wake-ups in large rooms.
        if self.number.is_multiple_of(5) && !self.ports.is_empty() && self.stats_waiting() {
            self.wake = true;
        }
    }

    fn stats_waiting(&self) -> bool {
        self.stats.slots() < self.stats.buffer().capacity()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Dropped only on the control side, after `closed` was set.
        self.shared.closed.fetch_max(1, Ordering::AcqRel);
    }
}

/// One socket of a leg, for reading.
struct Wire<'a> {
    key: LegKey,
    port: Port,
    socket: &'a UdpSocket,
    address: SocketAddr,
    srtp: &'a mut SrtpLink,
    private_only: bool,
}

impl Wire<'_> {
    /// Takes what waits, or as much of it as the socket's pace says.
    fn read(&mut self, pace: &mut Pace, room: &mut mixer::Room, clocks: &Clocks, bench: &mut Bench<'_>) {
        for found in 0..PACKETS_PER_TICK {
            match bench.receiver.receive(self.socket, clocks) {
                Read::Some(datagram) => {
                    let age = clocks.now.saturating_duration_since(datagram.arrival);
                    let enough = pace.seen(datagram.bytes, age) && found == 0;
                    self.take(datagram, room, clocks, bench.counters, bench.tap.as_deref_mut());
                    if enough {
                        return;
                    }
                }
                Read::Empty => return pace.emptied(found),
                Read::Bad => count(&bench.counters.receive_drops, 1),
            }
        }
    }

    fn take(
        &mut self,
        datagram: Datagram<'_>,
        room: &mut mixer::Room,
        clocks: &Clocks,
        counters: &ShardCounters,
        tap: Option<&mut Tap>,
    ) {
        // --lan: the network outside has no voice here, whatever port it finds.
        if self.private_only && !is_local_source(datagram.from.ip()) {
            return count(&counters.receive_drops, 1);
        }
        count(&counters.received, 1);
        if let Some(tap) = tap {
            let age = clocks.now.saturating_duration_since(datagram.arrival);
            let at = SystemTime::UNIX_EPOCH + clocks.wall.saturating_sub(age);
            tap.record(at, datagram.from, self.address, datagram.bytes);
        }
        // What is not authentic never reaches the latch.
        match self.srtp.incoming(datagram.bytes) {
            Ok(clear) => room.receive(self.key, self.port, datagram.from, clear, datagram.arrival),
            Err(error) => count_refused(counters, error),
        }
    }
}

/// The way out of the mixer: straight to the legs' sockets.
struct Sockets<'a> {
    ports: &'a mut [(LegKey, Box<LegSockets>)],
    counters: &'a ShardCounters,
    tap: Option<&'a mut Tap>,
    space: &'a mut [u8; MEDIA_DATAGRAM],
    private_only: bool,
    /// Where the leg behind the one last served lies: the mixer goes through them in their order.
    next: usize,
}

impl Sockets<'_> {
    fn place(&mut self, leg: LegKey) -> Option<usize> {
        let is = |at: &usize| self.ports.get(*at).is_some_and(|(key, _)| *key == leg);
        let near = [self.next, self.next.wrapping_sub(1)].into_iter().find(is);
        let at = near.or_else(|| self.ports.binary_search_by_key(&leg, |(key, _)| *key).ok())?;
        self.next = at + 1;
        Some(at)
    }

    fn send(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8], rtcp: bool) {
        let found = self.place(leg).and_then(|at| self.ports.get_mut(at));
        let reachable = !self.private_only || is_local_source(to.ip());
        let Some((_, sockets)) = found.filter(|_| reachable) else {
            count(&self.counters.send_drops, 1);
            return;
        };
        // Without a port of its own, RTCP was signalled for the RTP port (`a=rtcp`).
        let (socket, local) = match &sockets.rtcp {
            Some((socket, address)) if rtcp => (socket, *address),
            _ => (&sockets.rtp, sockets.rtp_address),
        };
        let packet = match sockets.srtp.outgoing(packet, self.space) {
            Ok(packet) => packet,
            Err(error) => return count_refused(self.counters, error),
        };
        match socket.send_to(packet, to) {
            Ok(_) => {
                count(&self.counters.sent, 1);
                if let Some(tap) = self.tap.as_deref_mut() {
                    tap.record(SystemTime::now(), local, to, packet);
                }
            }
            Err(_) => count(&self.counters.send_drops, 1),
        }
    }
}

impl Outbox for Sockets<'_> {
    fn rtp(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8]) {
        self.send(leg, to, packet, false);
    }

    fn rtcp(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8]) {
        self.send(leg, to, packet, true);
    }

    fn rtcp_muxed(&mut self, leg: LegKey, to: SocketAddr, packet: &[u8]) {
        self.send(leg, to, packet, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The port that a report came from.
    fn source(send: impl FnOnce(&mut Sockets<'_>, SocketAddr), with_rtcp: bool) -> (u16, u16) {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let leg = LegSockets::bind("127.0.0.1".parse().unwrap(), with_rtcp).unwrap();
        let rtp = leg.rtp_address.port();
        let mut ports = [(LegKey(1), Box::new(leg))];
        let mut out = Sockets {
            ports: &mut ports,
            space: &mut [0; MEDIA_DATAGRAM],
            counters: &ShardCounters::default(),
            tap: None,
            private_only: true,
            next: 0,
        };
        send(&mut out, peer.local_addr().unwrap());
        (peer.recv_from(&mut [0; 16]).unwrap().1.port(), rtp)
    }

    #[test]
    fn muxed_reports_leave_from_the_rtp_port_also_when_the_leg_still_has_another() {
        let (from, rtp) = source(|out, to| out.rtcp_muxed(LegKey(1), to, b"report"), true);
        assert_eq!(from, rtp);
        let (from, rtp) = source(|out, to| out.rtcp(LegKey(1), to, b"report"), true);
        assert_eq!(from, rtp + 1);
        let (from, rtp) = source(|out, to| out.rtcp(LegKey(1), to, b"report"), false);
        assert_eq!(from, rtp);
    }
}
