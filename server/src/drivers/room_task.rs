//! One task for each room: owns the room's state machine and its end of the shard's rings.
//!
//! Inputs are its mailbox (from the signalling task), the shard's events, and its timer; its
//! outputs are executed in their order. It may wait for the signalling task, never the other
//! way round. Sockets of legs are bound here, off the shard, and so are codecs built. A panic
//! ends this room only. Deliberately absent: any rule of a meeting.

use super::limits::TICK;
use super::media_shard::{LegSockets, RoomCommand, RoomMedia, ShardEvent};
use super::signalling::{Internal, sleep_until};
use crate::focus::api::ApiReply;
use crate::focus::command::SipCommand;
use crate::focus::ids::{ApiId, LegId, RoomId};
use crate::focus::room::Room;
use crate::focus::room_io::{MediaCommand, RoomInput, RoomOutput, RoomReport};
use crate::store::Store;
use mixer::{Leg, LegConfig, LegKey, LegUpdate, LegUpdateConfig};
use rtp_media::srtp::{KeyChange, SrtpChange};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;
use tokio::sync::mpsc;
use tracing::{Instrument, Span};

/// What a room has for the signalling task.
#[derive(Debug)]
pub enum FromRoom {
    /// Execute on the endpoint.
    Sip(SipCommand),
    /// For the focus.
    Report(RoomReport),
    /// For the API's asker.
    ApiReply {
        /// Which question.
        id: ApiId,
        /// The answer.
        reply: ApiReply,
    },
}

/// A room with its connections to the house.
pub struct RoomTask {
    id: RoomId,
    room: Room,
    media: RoomMedia,
    mailbox: mpsc::Receiver<RoomInput>,
    out: mpsc::Sender<Internal>,
    store: Store,
    /// Opened for a leg whose answer is not agreed on yet.
    waiting: HashMap<LegId, LegSockets>,
    media_closed: bool,
}

impl RoomTask {
    /// Puts the parts together.
    pub fn new(
        id: RoomId,
        room: Room,
        media: RoomMedia,
        mailbox: mpsc::Receiver<RoomInput>,
        out: mpsc::Sender<Internal>,
        store: Store,
    ) -> Self {
        Self {
            id,
            room,
            media,
            mailbox,
            out,
            store,
            waiting: HashMap::new(),
            media_closed: false,
        }
    }

    /// Starts the task, and a watcher that reports its panic.
    pub fn spawn(self, name: &str) {
        let (id, out) = (self.id, self.out.clone());
        let span = tracing::info_span!("room", %id, name);
        let task = tokio::spawn(Box::pin(self.run()).instrument(span));
        tokio::spawn(async move {
            if task.await.is_err() {
                tracing::error!(room = %id, "a room's task panicked; its people are told");
                drop(out.send(Internal::RoomLost { room: id }).await);
            }
        });
    }

    async fn run(mut self) {
        tracing::debug!("room opened");
        loop {
            self.execute().await;
            let due = self.room.poll_timeout().map(|(at, _)| at);
            tokio::select! {
                input = self.mailbox.recv() => match input {
                    Some(input) => self.room.handle_input(input, Instant::now()),
                    None => break,
                },
                () = self.media.ready() => self.media_events(),
                () = sleep_until(due) => {}
            }
            self.room.handle_timeout(Instant::now());
        }
        self.execute().await;
        if !self.media_closed {
            // The focus let go of the room without an end: the shard's part must go too.
            drop(self.media.command(RoomCommand::Close).await);
        }
        tracing::debug!("room closed");
    }

    fn media_events(&mut self) {
        let now = Instant::now();
        let mut stats = Vec::new();
        while let Some(event) = self.media.next_event() {
            match event {
                ShardEvent::Media(event) => self.room.handle_input(RoomInput::Media(event), now),
                ShardEvent::Stats(key, figures) => stats.push((LegId(key.0), figures)),
                ShardEvent::Closed { failed } => {
                    self.media_closed = true;
                    if failed {
                        tracing::error!("the mixer of this room panicked; the room is closed");
                        self.room.handle_input(RoomInput::MediaFailed, now);
                    }
                }
            }
        }
        if !stats.is_empty() {
            self.room.handle_input(RoomInput::Stats(stats), now);
        }
    }

    async fn execute(&mut self) {
        while let Some(output) = self.room.poll_output() {
            match output {
                RoomOutput::Sip(command) => self.tell(FromRoom::Sip(command)).await,
                RoomOutput::Report(report) => self.tell(FromRoom::Report(report)).await,
                RoomOutput::ApiReply { id, reply } => self.tell(FromRoom::ApiReply { id, reply }).await,
                RoomOutput::Record(record) => self.store.record(record),
                RoomOutput::Media(command) => self.media_command(command).await,
            }
        }
    }

    async fn tell(&mut self, output: FromRoom) {
        // Fails only when the signalling task is gone, and then the process is ending.
        drop(
            self.out
                .send(Internal::Room {
                    room: self.id,
                    output: Box::new(output),
                })
                .await,
        );
    }

    async fn media_command(&mut self, command: MediaCommand) {
        let span = command
            .leg()
            .map_or_else(Span::none, |leg| self.room.leg_span(leg));
        self.carry_out(command).instrument(span).await;
    }

    async fn carry_out(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::OpenLeg {
                leg,
                address,
                rtcp_port,
            } => self.open_leg(leg, address, rtcp_port),
            MediaCommand::Add { leg, config } => self.add_leg(leg, *config).await,
            MediaCommand::Keys { leg, change } => self.rekey_leg(leg, &change).await,
            MediaCommand::Update { leg, update } => {
                self.update_leg(leg, &update).await;
            }
            MediaCommand::Mute { leg, muted } => {
                self.shard(RoomCommand::Mixer(mixer::Command::Mute(LegKey(leg.0), muted)))
                    .await;
            }
            MediaCommand::CloseLeg { leg } => {
                if self.waiting.remove(&leg).is_none() {
                    self.shard(RoomCommand::CloseLeg(LegKey(leg.0))).await;
                }
            }
            MediaCommand::CloseRoom => {
                self.waiting.clear();
                self.media_closed = true;
                self.shard(RoomCommand::Close).await;
                // One tick, so that RTCP BYE is on its way before the sockets close.
                tokio::time::sleep(TICK).await;
            }
        }
    }

    fn open_leg(&mut self, leg: LegId, address: IpAddr, rtcp_port: bool) {
        let input = match LegSockets::bind(address, rtcp_port) {
            Ok(sockets) => {
                let rtp_port = sockets.rtp_address.port();
                let rtcp_port = sockets.rtcp.as_ref().map(|(_, address)| address.port());
                self.waiting.insert(leg, sockets);
                RoomInput::LegOpened {
                    leg,
                    rtp_port,
                    rtcp_port,
                }
            }
            Err(error) => {
                tracing::error!(%address, %error, "no sockets for a leg; look at `ulimit -n`");
                RoomInput::LegFailed { leg }
            }
        };
        self.room.handle_input(input, Instant::now());
    }

    async fn add_leg(&mut self, leg: LegId, config: LegConfig) {
        let Some(mut sockets) = self.waiting.remove(&leg) else {
            self.room
                .handle_input(RoomInput::LegFailed { leg }, Instant::now());
            return;
        };
        if config.rtcp_mux {
            // RFC 5761 §3: both kinds share the RTP port, in both directions.
            sockets.rtcp = None;
        }
        let built = Leg::build(config, Instant::now());
        let added = match built {
            Ok(built) => {
                self.shard(RoomCommand::Attach(LegKey(leg.0), Box::new(sockets)))
                    .await
                    && self.shard(RoomCommand::Mixer(mixer::Command::Add(built))).await
            }
            Err(error) => {
                tracing::error!(%error, "a leg cannot be built");
                false
            }
        };
        if !added {
            self.room
                .handle_input(RoomInput::LegFailed { leg }, Instant::now());
        }
    }

    /// Session keys are derived here, off the shard.
    async fn rekey_leg(&mut self, leg: LegId, change: &KeyChange) {
        match SrtpChange::build(change) {
            Ok(mut change) => match self.waiting.get_mut(&leg) {
                Some(sockets) => sockets.srtp.change(&mut change),
                None => {
                    self.shard(RoomCommand::Rekey(LegKey(leg.0), Box::new(change)))
                        .await;
                }
            },
            Err(error) => {
                tracing::error!(%error, "the keys of a leg cannot be used");
                self.room
                    .handle_input(RoomInput::LegFailed { leg }, Instant::now());
            }
        }
    }

    async fn update_leg(&mut self, leg: LegId, config: &LegUpdateConfig) {
        match LegUpdate::build(config) {
            Ok(update) => {
                self.shard(RoomCommand::Mixer(mixer::Command::Update(LegKey(leg.0), update)))
                    .await;
            }
            Err(error) => {
                tracing::error!(%error, "a change of a leg cannot be built");
                self.room
                    .handle_input(RoomInput::LegFailed { leg }, Instant::now());
            }
        }
    }

    async fn shard(&mut self, command: RoomCommand) -> bool {
        match self.media.command(command).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "the shard took no command");
                false
            }
        }
    }
}
