//! A person with a phone: the phone's signalling, its sound, and what the person knows.
//!
//! Two kinds of phone answer to the same words: [`meet::MeetPhone`] is the client's own call core, [`plain::PlainPhone`]
//! stands on a bare endpoint and has the habits of desk phones (hold by three means, offers in the ACK, digits by
//! INFO). What a person sees on the display comes out as [`Notice`]s; the model is told nothing else.

mod meet;
mod plain;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp_media::codec::CodecKind;
use sip_proto::endpoint::Counts;
use sip_proto::sdp::offer_answer::{AudioFormat, LocalMedia, NegotiatedAudio, SrtpPolicy};

pub use meet::MeetPhone;
pub use plain::{Habits, Line, PlainPhone};

use crate::ear::{Ear, SoundPlan};
use crate::network::Packet;

/// RTP of every phone.
pub const RTP_PORT: u16 = 40_000;

/// How a phone puts the other side on hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldKind {
    /// `a=sendonly` by re-INVITE.
    SendOnly,
    /// `a=inactive` by re-INVITE.
    Inactive,
    /// The address 0.0.0.0, as RFC 2543 had it.
    Zero,
    /// `a=sendonly` by UPDATE.
    Update,
}

/// What a person sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The call stands.
    Joined {
        /// In which room.
        room: String,
        /// This call made the room.
        creator: bool,
    },
    /// The call never came about.
    Refused {
        /// With which status; none: nobody answered.
        status: Option<u16>,
    },
    /// The call is over.
    Ended {
        /// By whom.
        by: End,
        /// Cause in the Reason header.
        cause: Option<u16>,
    },
    /// Our own hold is in force, or is over.
    Held(bool),
    /// An offer of ours was refused: everything is as it was.
    OfferRefused(u16),
    /// All keys that were pressed were taken.
    KeysTaken,
    /// Nobody knows which of them were.
    KeysUnknown,
    /// The registrar has our address for so many seconds.
    Registered(u32),
    /// It has not.
    RegistrationFailed(Option<u16>),
    /// It has it no more.
    Unregistered,
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The person.
    Local,
    /// The focus, by BYE.
    Focus,
    /// Nobody answers any more, or the focus does not know the call.
    Lost,
}

/// Where a person's call stands, as the phone shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallState {
    /// No call.
    Idle,
    /// On the way in.
    Calling,
    /// In a room.
    In(String),
    /// On the way out.
    Leaving,
}

/// What a phone has for the world.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To send.
    pub packets: Vec<(SocketAddr, Vec<u8>)>,
    /// To see.
    pub notices: Vec<Notice>,
    /// Sound is to run like this; the inner `None`: no more.
    pub sound: Option<Option<SoundPlan>>,
    /// What should never happen on a phone.
    pub complaints: Vec<String>,
}

/// What is left in a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PhoneLeftovers {
    /// In its endpoint.
    pub endpoint: Counts,
    /// What it still waits for.
    pub timer: Option<&'static str>,
    /// It says itself that it has something to do.
    pub busy: bool,
}

/// The phone's signalling.
#[expect(clippy::large_enum_variant, reason = "fifty of them at most, never moved")]
pub enum Brain {
    /// The client's own.
    Meet(MeetPhone),
    /// A desk phone's.
    Plain(PlainPhone),
}

macro_rules! both {
    ($brain:expr, $phone:ident => $work:expr) => {
        match $brain {
            Brain::Meet($phone) => $work,
            Brain::Plain($phone) => $work,
        }
    };
}

/// A person.
pub struct Peer {
    /// Name and user part.
    pub name: String,
    /// Signalling address, as the host itself sees it.
    pub addr: SocketAddr,
    /// The phone; none while it is switched off.
    pub brain: Option<Brain>,
    /// Its sound.
    pub ear: Ear,
    /// How often it was started.
    pub starts: u32,
    /// What should never have happened on it.
    pub complaints: Vec<String>,
    /// When it last asked whether the other side is still there.
    asked: Option<Instant>,
}

/// A phone hears nothing while no media runs, so it asks as if it were in silence; less often than a real one, which
/// asks every five seconds.
const ASK: Duration = Duration::from_secs(25);

impl Peer {
    /// A person without a phone.
    pub fn new(index: usize, addr: SocketAddr, ppm: i32, seed: u64) -> Self {
        Self {
            name: format!("p{index}"),
            addr,
            brain: None,
            ear: Ear::new(index, ppm, seed),
            starts: 0,
            complaints: Vec::new(),
            asked: None,
        }
    }

    /// Switches the phone off without a word.
    pub fn die(&mut self) {
        self.brain = None;
        self.ear.set_plan(None);
        self.asked = None;
    }

    /// Where the call stands; a phone that is off has none.
    pub fn state(&self) -> CallState {
        self.brain
            .as_ref()
            .map_or(CallState::Idle, |brain| both!(brain, phone => phone.state()))
    }

    /// A datagram came.
    pub fn receive(&mut self, packet: &Packet, fair: bool, now: Instant) {
        let Some(brain) = &mut self.brain else { return };
        if packet.to.port() == self.addr.port() {
            both!(brain, phone => phone.receive(packet.from, &packet.bytes, now));
        } else if packet.to.port() == RTP_PORT {
            self.ear.hear(&packet.bytes, fair);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let ask = matches!(self.state(), CallState::In(_)) && self.asked.is_none_or(|at| at + ASK <= now);
        let Some(brain) = &mut self.brain else { return };
        if ask {
            if self.asked.is_some() {
                both!(brain, phone => phone.ask(now));
            }
            self.asked = Some(now);
        }
        both!(brain, phone => phone.handle_timeout(now));
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let brain = self.brain.as_ref()?;
        let ask = self
            .asked
            .filter(|_| matches!(self.state(), CallState::In(_)))
            .map(|at| (at + ASK, "silence"));
        both!(brain, phone => phone.poll_timeout())
            .into_iter()
            .chain(ask)
            .min_by_key(|(at, _)| *at)
    }

    /// What the phone has to send and to show.
    pub fn drain(&mut self, now: Instant) -> (Vec<Packet>, Vec<Notice>) {
        let Some(brain) = &mut self.brain else {
            return (Vec::new(), Vec::new());
        };
        let out = both!(brain, phone => phone.drain(now));
        self.complaints.extend(out.complaints);
        if let Some(plan) = out.sound {
            self.ear.set_plan(plan);
        }
        if !matches!(self.state(), CallState::In(_)) {
            self.asked = None;
        } else if self.asked.is_none() {
            self.asked = Some(now);
        }
        let from = self.addr;
        let packets = out
            .packets
            .into_iter()
            .map(|(to, bytes)| Packet { from, to, bytes })
            .collect();
        (packets, out.notices)
    }

    /// The next 20 ms of sound.
    pub fn speak(&mut self) -> Option<Packet> {
        self.brain.as_ref()?;
        let (to, bytes) = self.ear.speak()?;
        let from = SocketAddr::new(self.addr.ip(), RTP_PORT);
        Some(Packet { from, to, bytes })
    }

    /// Calls a room, or the factory for one of this name; whether the phone did.
    pub fn dial(&mut self, room: &str, factory: bool, now: Instant) -> bool {
        self.brain
            .as_mut()
            .is_some_and(|brain| both!(brain, phone => phone.dial(room, factory, now)))
    }

    /// Ends the call, or gives it up.
    pub fn hang_up(&mut self, now: Instant) {
        if let Some(brain) = &mut self.brain {
            both!(brain, phone => phone.hang_up(now));
        }
    }

    /// Registers.
    pub fn register(&mut self, expires: u32, now: Instant) {
        if let Some(brain) = &mut self.brain {
            both!(brain, phone => phone.register(expires, now));
        }
    }

    /// Gives the registration back.
    pub fn unregister(&mut self, now: Instant) {
        if let Some(brain) = &mut self.brain {
            both!(brain, phone => phone.unregister(now));
        }
    }

    /// The desk phone, for what only it can do.
    pub fn plain(&mut self) -> Option<&mut PlainPhone> {
        match &mut self.brain {
            Some(Brain::Plain(phone)) => Some(phone),
            _ => None,
        }
    }

    /// URIs of the people in the roster, if the phone shows one.
    pub fn roster(&self) -> Option<Vec<String>> {
        both!(self.brain.as_ref()?, phone => phone.roster())
    }

    /// What is left in a phone that is on: all zero and nothing to wait for when its person does nothing.
    pub fn leftovers(&self) -> Option<PhoneLeftovers> {
        let brain = self.brain.as_ref()?;
        Some(PhoneLeftovers {
            endpoint: both!(brain, phone => phone.counts()),
            timer: self.poll_timeout().map(|(_, why)| why),
            busy: match brain {
                Brain::Meet(phone) => !phone.is_quiet(),
                Brain::Plain(_) => self.state() != CallState::Idle,
            },
        })
    }
}

/// What a phone offers.
fn local_media(addr: SocketAddr, kind: CodecKind, secure: bool) -> LocalMedia {
    let mut local = LocalMedia::new(addr.ip(), RTP_PORT);
    local.formats = match kind {
        CodecKind::Opus => vec![AudioFormat::opus(96, Some("useinbandfec=1".to_owned()))],
        CodecKind::Pcma => vec![AudioFormat::pcma()],
        _ => vec![AudioFormat::pcmu()],
    };
    if secure {
        local.srtp = SrtpPolicy::Required;
    }
    local
}

/// What an exchange of offer and answer means for the ear.
fn sound_plan(audio: &NegotiatedAudio) -> Option<SoundPlan> {
    let kind = CodecKind::from_rtpmap(&audio.send.encoding, audio.send.clock_rate)?;
    let receive_type = audio
        .receive
        .iter()
        .find(|format| format.same_codec(&audio.send))
        .map(|format| format.payload_type)?;
    Some(SoundPlan {
        to: audio.remote_rtp,
        kind,
        send_type: audio.send.payload_type,
        receive_type,
        sends: audio.direction.sends() && !audio.disabled,
        receives: audio.direction.receives() && !audio.disabled,
        srtp: audio.srtp.clone(),
    })
}
