//! The client's own call core as a person's phone.

use std::net::SocketAddr;
use std::time::Instant;

use meet_client::account::Account;
use meet_client::call::{EndReason, Output, Phone, PhoneConfig, PhoneEvent};
use sip_proto::endpoint::{Counts, Flow, Input, Transport};
use sip_proto::uri::Uri;

use super::{CallState, End, Habits, Notice, Outbox, local_media, sound_plan};

/// `meet` without its sockets.
pub struct MeetPhone {
    phone: Phone,
    flow: Flow,
    account: Account,
    state: CallState,
    roster: Option<Vec<String>>,
    registers: bool,
    sound: Option<Option<crate::ear::SoundPlan>>,
    notices: Vec<Notice>,
    complaints: Vec<String>,
}

impl MeetPhone {
    /// A phone that does nothing yet.
    pub fn new(
        name: &str,
        password: &str,
        addr: SocketAddr,
        server: SocketAddr,
        habits: Habits,
        seed: [u8; 32],
    ) -> Self {
        let flow = Flow::udp(addr, server);
        let host = server.ip().into();
        let account = Account::with_login(name, name, password, host, None);
        let mut phone = Phone::new(PhoneConfig {
            account: account.clone(),
            flow,
            answer: false,
            seed,
        });
        phone.set_media(local_media(addr, habits.kind, habits.secure));
        Self {
            phone,
            flow,
            account,
            state: CallState::Idle,
            roster: None,
            registers: false,
            sound: None,
            notices: Vec::new(),
            complaints: Vec::new(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.phone.counts()
    }

    /// Whether the core itself says that it has nothing to do.
    pub(super) fn is_quiet(&self) -> bool {
        self.phone.is_quiet() && !self.phone.has_call()
    }

    pub(super) fn state(&self) -> CallState {
        self.state.clone()
    }

    pub(super) fn receive(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        let flow = Flow {
            remote: from,
            ..self.flow
        };
        self.phone.handle_input(Input::Datagram { flow, bytes }, now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.phone.handle_timeout(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.phone.poll_timeout()
    }

    pub(super) fn ask(&mut self, now: Instant) {
        self.phone.probe(now);
    }

    pub(super) fn dial(&mut self, room: &str, factory: bool, now: Instant) -> bool {
        let target: Uri = if factory {
            self.account.factory(Some(room))
        } else {
            self.account.room(room)
        };
        let dialled = self.phone.dial(&target, now).is_ok();
        if dialled {
            self.state = CallState::Calling;
        }
        dialled
    }

    pub(super) fn hang_up(&mut self, now: Instant) {
        if self.state != CallState::Idle {
            self.state = CallState::Leaving;
            self.phone.hang_up(now);
        }
    }

    pub(super) fn register(&mut self, expires: u32, now: Instant) {
        // The program registers once; refreshing is the core's.
        if !std::mem::replace(&mut self.registers, true) {
            self.phone.register(expires, now);
        }
    }

    pub(super) fn unregister(&mut self, now: Instant) {
        self.phone.unregister(now);
    }

    pub(super) fn roster(&self) -> Option<Vec<String>> {
        self.roster.clone()
    }

    pub(super) fn drain(&mut self, now: Instant) -> Outbox {
        let mut out = Outbox::default();
        while let Some(output) = self.phone.poll_output() {
            match output {
                Output::Transmit { flow, .. } if flow.transport != Transport::Udp => {
                    self.phone.handle_input(Input::TransportFailed { flow }, now);
                }
                Output::Transmit { flow, bytes } => out.packets.push((flow.remote, bytes)),
                Output::Close { .. } => {}
                Output::Event(event) => self.event(event),
            }
        }
        out.notices = std::mem::take(&mut self.notices);
        out.sound = self.sound.take();
        out.complaints = std::mem::take(&mut self.complaints);
        out
    }

    fn event(&mut self, event: PhoneEvent) {
        match event {
            PhoneEvent::Joined { room, token, .. } => {
                let room = super::plain::room_of(&room);
                // A 200 that crossed our CANCEL: the BYE is on its way.
                if self.state != CallState::Leaving {
                    self.state = CallState::In(room.clone());
                }
                let creator = token.is_some();
                self.notices.push(Notice::Joined { room, creator });
            }
            PhoneEvent::Media(audio) => self.sound = Some(sound_plan(&audio)),
            PhoneEvent::People(roster) => {
                let people = roster.people.into_iter().map(|person| person.entity);
                self.roster = Some(people.collect());
            }
            PhoneEvent::NoRoster { .. } => self.roster = None,
            PhoneEvent::Registered { expires, .. } => self.notices.push(Notice::Registered(expires)),
            PhoneEvent::Unregistered { .. } => {
                self.registers = false;
                self.notices.push(Notice::Unregistered);
            }
            PhoneEvent::RegistrationFailed { status, .. } => {
                self.notices.push(Notice::RegistrationFailed(status));
            }
            PhoneEvent::Ended(reason) => self.ended(reason),
            // Progress, and what only a program with a person in front of it uses.
            PhoneEvent::Calling { .. }
            | PhoneEvent::Ringing { .. }
            | PhoneEvent::Hold { .. }
            | PhoneEvent::Holding { .. }
            | PhoneEvent::Digit { .. } => {}
            other @ (PhoneEvent::Server { .. }
            | PhoneEvent::NoServer { .. }
            | PhoneEvent::Redirected { .. }
            | PhoneEvent::Incoming { .. }) => self.complaints.push(format!("nobody asked for {other:?}")),
        }
    }

    fn ended(&mut self, reason: EndReason) {
        let was_in = matches!(self.state, CallState::In(_));
        self.state = CallState::Idle;
        self.roster = None;
        self.sound = Some(None);
        let ended = |by, cause| Notice::Ended { by, cause };
        self.notices.push(match reason {
            EndReason::Local => ended(End::Local, None),
            EndReason::Peer { cause, .. } => ended(End::Focus, cause),
            EndReason::Refused { status, .. } => Notice::Refused { status: Some(status) },
            EndReason::NoAnswer => Notice::Refused { status: None },
            EndReason::Vanished => ended(End::Lost, None),
            EndReason::NoMedia { .. } if was_in => ended(End::Lost, None),
            EndReason::NoMedia { .. } => Notice::Refused { status: Some(488) },
        });
    }
}
