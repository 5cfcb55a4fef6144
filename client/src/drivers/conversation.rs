//! The loop of a conversation: signalling, media thread, user and signals meet here.
//!
//! One task owns everything. A call begins with sound already open and ports already bound, so that nothing can
//! fail between the answer and the first packet. Deliberately absent: protocol.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sip_proto::uri::Uri;
use tokio::sync::mpsc;

use super::local_media::local_media;
use super::presence::Front;
use super::signalling::Signalling;
use super::signals::Signals;
use crate::call::{EndReason, PhoneEvent, Roster};
use crate::cli::args::SpeakerSpec;
use crate::cli::config::{AudioSettings, Settings};
use crate::cli::events::{Event, Person};
use crate::cli::state::Tokens;
use crate::error::{Exit, MeetError};
use crate::limits;
use crate::media::engine::{Engine, EngineCommand, EngineEvent, EngineParts, MediaSockets};
use crate::media::plan::StreamPlan;
use crate::media::{MediaError, OpenedSound, open};
use crate::ui::Action;

/// What a conversation is for.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// Call this address and stay until the end.
    Call {
        /// Whom.
        target: Uri,
        /// It is the conference factory: the token is printed and remembered.
        create: bool,
    },
    /// Stay registered and take calls.
    Register {
        /// Seconds to ask for.
        expires: u32,
        /// End after the first answer of the registrar.
        once: bool,
    },
}

/// One conversation, from the first packet to the last.
pub struct Conversation {
    settings: Settings,
    audio: AudioSettings,
    purpose: Purpose,
    signalling: Signalling,
    front: Front,
    sound: Option<OpenedSound>,
    sockets: Option<MediaSockets>,
    local_rtp: std::net::SocketAddr,
    engine: Option<Engine>,
    plan: Option<StreamPlan>,
    engine_events: (mpsc::Sender<EngineEvent>, mpsc::Receiver<EngineEvent>),
    people: Vec<Person>,
    speaker: Option<String>,
    muted: bool,
    /// This side holds the call.
    holding: bool,
    volume: f32,
    calls: u32,
    /// RTP packets at the last statistics, and the seconds since that grew.
    quiet: (u64, u32),
    joined: Option<Instant>,
    digits: Option<(Instant, String)>,
    registered: bool,
    leaving: Option<(Instant, &'static str)>,
    /// Until when the present way to the server may stay silent, where there is another.
    patience: Option<Instant>,
    /// The present way failed: the next is to be tried.
    next_way: bool,
    /// The call was sent on to another host, which is to be found.
    redirected: Option<Uri>,
    /// Until when the farewells of a conversation that failed are waited for.
    farewell: Option<Instant>,
    exit: Option<Exit>,
}

/// The pause before `--dtmf` is sent: the other side must have heard some packets first.
const DIGITS_AFTER: Duration = Duration::from_millis(1_000);

impl Conversation {
    /// Opens sound and ports; nothing is sent yet.
    pub fn new(
        settings: Settings,
        audio: AudioSettings,
        purpose: Purpose,
        signalling: Signalling,
        front: Front,
    ) -> Result<Self, MeetError> {
        let mut conversation = Self {
            muted: audio.muted,
            settings,
            audio,
            purpose,
            signalling,
            front,
            sound: None,
            sockets: None,
            local_rtp: std::net::SocketAddr::from(([0, 0, 0, 0], 0)),
            engine: None,
            plan: None,
            engine_events: mpsc::channel(limits::MEDIA_EVENTS),
            people: Vec::new(),
            speaker: None,
            holding: false,
            volume: 1.0,
            calls: 0,
            quiet: (0, 0),
            joined: None,
            digits: None,
            registered: false,
            leaving: None,
            patience: None,
            next_way: false,
            redirected: None,
            farewell: None,
            exit: None,
        };
        if !matches!(conversation.purpose, Purpose::Register { once: true, .. }) {
            conversation.open_sound()?;
            conversation.bind_ports()?;
        }
        Ok(conversation)
    }

    /// Takes another face, before the conversation begins.
    pub fn show(&mut self, mut front: Front) {
        if let Front::Screen(screen) = &mut front {
            screen.set_muted(self.muted);
        }
        self.front = front;
    }

    /// Runs to the end; the exit code says how it ended.
    pub async fn run(mut self) -> Result<Exit, MeetError> {
        let mut signals = Signals::new()?;
        self.begin()?;
        while !self.is_over() {
            for event in self.signalling.flush().await {
                self.on_phone(event);
            }
            if self.next_way {
                self.try_next_way().await?;
            }
            if let Some(target) = self.redirected.take() {
                self.follow(target).await;
            }
            self.front.refresh();
            if self.is_over() {
                break;
            }
            let due = self.due();
            tokio::select! {
                () = self.signalling.wait() => {}
                Some(event) = self.engine_events.1.recv() => self.on_engine(event),
                action = self.front.action() => self.on_action(action),
                () = signals.recv() => self.leave("signal"),
                () = tokio::time::sleep_until(due.into()) => self.on_time(),
            }
        }
        for event in self.signalling.flush().await {
            self.on_phone(event);
        }
        self.engine = None;
        if let Some((_, cause)) = self.leaving {
            self.front.tell(&Event::Left { cause });
        }
        self.front.close();
        Ok(self.exit.unwrap_or(Exit::Ok))
    }

    fn begin(&mut self) -> Result<(), MeetError> {
        let now = Instant::now();
        match self.purpose.clone() {
            Purpose::Call { target, .. } => self.signalling.phone.dial(&target, now)?,
            Purpose::Register { expires, .. } => self.signalling.phone.register(expires, now),
        }
        self.patience = self
            .signalling
            .has_next_target()
            .then(|| now + limits::TARGET_WAIT);
        Ok(())
    }

    /// The server has several addresses, and the present one does not serve (RFC 3263 §4.3).
    async fn try_next_way(&mut self) -> Result<(), MeetError> {
        self.next_way = false;
        self.forget_sound();
        if !self.signalling.next_target(&self.settings).await {
            let error = MeetError::NoAnswer {
                server: self.settings.server.to_string(),
                transport: self.signalling.transport().as_str(),
            };
            self.lost_for_now(error, self.registered);
            return Ok(());
        }
        // The RTP ports lie on the address by which the server is reached.
        if !matches!(self.purpose, Purpose::Register { once: true, .. }) {
            self.bind_ports().map_err(MeetError::Media)?;
        }
        let now = Instant::now();
        match self.purpose.clone() {
            Purpose::Call { target, .. } => self.signalling.phone.dial(&target, now)?,
            Purpose::Register { .. } => self.signalling.phone.register_now(now),
        }
        self.patience = self
            .signalling
            .has_next_target()
            .then(|| now + limits::TARGET_WAIT);
        Ok(())
    }

    /// The server sent the call on to another host (RFC 3261 §8.1.3.4).
    async fn follow(&mut self, target: Uri) {
        self.forget_sound();
        if let Err(error) = self.signalling.reach(&target, &self.settings).await {
            self.fail(error);
            return;
        }
        if let Purpose::Call { target: called, .. } = &mut self.purpose {
            *called = target;
        }
        if let Err(error) = self.bind_ports() {
            self.fail(MeetError::Media(error));
        } else if let Err(error) = self.signalling.phone.follow(Instant::now()) {
            tracing::debug!(%error, "the redirected call was not made");
        }
        self.patience = self
            .signalling
            .has_next_target()
            .then(|| Instant::now() + limits::TARGET_WAIT);
    }

    /// Sound from before the answer belongs to ports that the next attempt does not name.
    fn forget_sound(&mut self) {
        self.engine = None;
        self.plan = None;
    }

    /// No way to the server serves: for who `stays`, only for a while, and all are open again for the next attempt.
    fn lost_for_now(&mut self, error: MeetError, stays: bool) {
        if !stays {
            self.fail(error);
            return;
        }
        self.signalling.target_works();
        self.front.tell(&Event::Error {
            message: error.to_string(),
            exit: None,
        });
    }

    /// Whether an end or refusal is a reason to try the server's next address: nobody was reached yet.
    fn may_go_on(&self, status: Option<u16>) -> bool {
        let ending = self.leaving.is_some() || self.exit.is_some();
        // A call that is up lives on the present socket.
        let free = !ending && !self.signalling.phone.has_call();
        matches!(status, None | Some(503)) && free && self.signalling.has_next_target()
    }

    fn is_over(&self) -> bool {
        match self.leaving {
            Some((until, _)) => self.signalling.phone.is_quiet() || Instant::now() >= until,
            None => match self.farewell {
                Some(until) => self.signalling.phone.is_quiet() || Instant::now() >= until,
                None => self.exit.is_some(),
            },
        }
    }

    /// The next time at which something is to be done here.
    fn due(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3_600);
        let duration = self
            .joined
            .zip(self.audio.duration)
            .map(|(joined, duration)| joined + duration);
        let digits = self.digits.as_ref().map(|(at, _)| *at);
        let leaving = self.leaving.map(|(until, _)| until);
        [
            duration.filter(|_| self.leaving.is_none()),
            digits,
            leaving,
            self.farewell,
            self.patience,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(far)
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if self.patience.take_if(|until| *until <= now).is_some() {
            self.signalling.give_up();
        }
        if self.digits.as_ref().is_some_and(|(at, _)| *at <= now)
            && let Some((_, digits)) = self.digits.take()
        {
            digits
                .chars()
                .for_each(|digit| self.to_engine(EngineCommand::Digit(digit)));
        }
        if let (Some(joined), Some(duration)) = (self.joined, self.audio.duration)
            && joined + duration <= now
        {
            self.leave("duration");
        }
    }

    fn on_action(&mut self, action: Action) {
        match action {
            Action::Quit => self.leave("quit"),
            Action::Mute(muted) => {
                self.muted = muted;
                self.to_engine(EngineCommand::Mute(muted || self.holding));
            }
            Action::Hold(on) => {
                if let Err(error) = self.signalling.phone.hold(on, Instant::now()) {
                    tracing::debug!(%error, "hold");
                }
            }
            Action::Volume(factor) => {
                self.volume = factor;
                self.to_engine(EngineCommand::Volume(factor));
            }
            Action::Digit(digit) => self.to_engine(EngineCommand::Digit(digit)),
            Action::PickUp => {
                if let Err(error) = self.signalling.phone.pick_up(Instant::now()) {
                    tracing::debug!(%error, "pick up");
                }
            }
            Action::Redraw => {}
        }
    }

    /// Begins to leave; the second time it does not wait any longer.
    fn leave(&mut self, cause: &'static str) {
        let now = Instant::now();
        if self.leaving.is_some() {
            self.leaving = Some((now, cause));
            return;
        }
        if self.farewell.is_some() {
            // It ends already, for a reason that was told.
            self.farewell = Some(now);
            return;
        }
        self.leaving = Some((now + limits::FAREWELL_WAIT, cause));
        self.signalling.phone.hang_up(now);
        self.signalling.phone.unregister(now);
    }

    fn on_phone(&mut self, event: PhoneEvent) {
        match event {
            PhoneEvent::Server { .. } | PhoneEvent::NoServer { .. } => {}
            PhoneEvent::Registered {
                aor,
                contact,
                expires,
            } => {
                self.registered = true;
                self.reached();
                self.front.tell(&Event::Registered {
                    aor,
                    contact,
                    expires,
                });
                if matches!(self.purpose, Purpose::Register { once: true, .. }) {
                    self.exit = Some(Exit::Ok);
                }
            }
            PhoneEvent::Unregistered { aor } => self.front.tell(&Event::Unregistered { aor }),
            PhoneEvent::RegistrationFailed {
                status,
                retry_after,
                reason,
            } => self.on_registration_failed(status, retry_after, reason),
            PhoneEvent::Redirected { target } => self.redirected = Some(target),
            PhoneEvent::Calling { target } => self.front.tell(&Event::Calling { target }),
            PhoneEvent::Ringing { status } => {
                self.reached();
                self.front.tell(&Event::Ringing { status });
            }
            PhoneEvent::Incoming { from, answered } => self.front.tell(&Event::Incoming { from, answered }),
            PhoneEvent::Media(audio) => match StreamPlan::from_negotiated(&audio) {
                Ok(plan) => self.on_media(plan),
                Err(error) => self.fail(MeetError::Media(error)),
            },
            PhoneEvent::Joined { room, focus, token } => self.on_joined(room, focus, token),
            PhoneEvent::Hold { held } => self.front.tell(&Event::Hold { held }),
            PhoneEvent::Holding { holding, refused } => self.on_holding(holding, refused),
            PhoneEvent::People(roster) => self.on_roster(&roster),
            PhoneEvent::NoRoster { status } => {
                let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
                let message = format!("the conference gives no roster ({status}): people cannot be shown");
                self.front.tell(&Event::Error { message, exit: None });
            }
            PhoneEvent::Digit { digit, duration_ms } => {
                self.front.tell(&Event::Digit { digit, duration_ms });
            }
            PhoneEvent::Ended(reason) => self.on_ended(reason),
        }
    }

    /// Nothing of this room is said to somebody who is on hold.
    fn on_holding(&mut self, holding: bool, refused: Option<u16>) {
        self.holding = holding;
        self.to_engine(EngineCommand::Mute(self.muted || holding));
        match refused {
            None => self.front.tell(&Event::Holding { holding }),
            Some(status) => {
                let message = format!("the other side refused to change the hold ({status})");
                self.front.tell(&Event::Error { message, exit: None });
            }
        }
    }

    /// The server answered.
    fn reached(&mut self) {
        self.patience = None;
        self.signalling.target_works();
    }

    fn on_registration_failed(&mut self, status: Option<u16>, retry_after: Option<Duration>, reason: String) {
        if self.may_go_on(status) {
            self.next_way = true;
            return;
        }
        let server = self.settings.server.to_string();
        let error = match status {
            Some(status) => MeetError::RegistrationRefused {
                server,
                status,
                reason,
            },
            None => MeetError::NoAnswer {
                server,
                transport: self.signalling.transport().as_str(),
            },
        };
        let waits = matches!(self.purpose, Purpose::Register { once: false, .. });
        // It worked before, or the server says when to come again: it is only away for a while.
        self.lost_for_now(error, self.registered || (waits && retry_after.is_some()));
    }

    fn on_joined(&mut self, room: String, focus: bool, token: Option<String>) {
        self.reached();
        self.joined = Some(Instant::now());
        self.digits = self
            .audio
            .dtmf
            .clone()
            .map(|digits| (Instant::now() + DIGITS_AFTER, digits));
        if matches!(self.purpose, Purpose::Call { create: true, .. }) {
            if let (Some(token), Ok(uri)) = (&token, room.parse::<Uri>())
                && let Some(name) = uri.user_decoded()
                && let Some(mut tokens) = Tokens::load()
                && let Err(error) = tokens.remember(&self.settings.server.to_string(), &name, token)
            {
                tracing::warn!(%error, "the token is not remembered");
            }
            self.front.tell(&Event::Created {
                room: room.clone(),
                token,
            });
        }
        let Some(plan) = &self.plan else { return };
        self.front.tell(&Event::Joined {
            room,
            focus,
            codec: plan.codec.encoding_name().to_owned(),
            srtp: plan.srtp.as_ref().map(|keys| keys.send.suite().name().to_owned()),
            local_rtp: self.local_rtp.to_string(),
            remote_rtp: plan.remote_rtp.map(|address| address.to_string()),
        });
    }

    fn on_media(&mut self, plan: StreamPlan) {
        self.plan = Some(plan.clone());
        if self.engine.is_some() {
            self.to_engine(EngineCommand::Update(Box::new(plan)));
            return;
        }
        match self.start_engine(plan) {
            Ok(engine) => {
                self.engine = Some(engine);
                self.to_engine(EngineCommand::Volume(self.volume));
            }
            Err(error) => self.fail(MeetError::Media(error)),
        }
    }

    fn start_engine(&mut self, plan: StreamPlan) -> Result<Engine, MediaError> {
        if self.sound.is_none() {
            self.open_sound()?;
        }
        let (Some(sound), Some(sockets)) = (self.sound.take(), self.sockets.take()) else {
            return Err(MediaError::Chunk);
        };
        let mut seed = [0; 32];
        if getrandom::fill(&mut seed).is_err() {
            tracing::warn!("no randomness for RTP");
        }
        let name =
            u64::from_le_bytes(<[u8; 8]>::try_from(seed.get(..8).unwrap_or_default()).unwrap_or_default());
        let parts = EngineParts {
            plan,
            sockets,
            source: sound.source,
            sink: sound.sink,
            echo: sound.echo,
            muted: self.muted,
            // RFC 7022 §4.2: a name for this session only, without the host's.
            cname: format!("{name:016x}"),
            seed,
        };
        Engine::start(parts, self.engine_events.0.clone())
    }

    fn on_engine(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Levels { heard_db, sent_db } => self.front.levels(heard_db, sent_db),
            EngineEvent::Stats(line) => {
                self.watch_silence(line.received);
                self.front.tell(&Event::Stats(*line));
            }
            EngineEvent::Digit { digit, duration } => {
                let duration_ms = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
                self.front.tell(&Event::Digit { digit, duration_ms });
            }
            EngineEvent::Heard { from } => tracing::debug!(%from, "sound arrives"),
            EngineEvent::SourceEnded => self.front.tell(&Event::SourceEnded),
            EngineEvent::Failed(error) => {
                self.front.tell(&Event::Error {
                    message: error.to_string(),
                    exit: None,
                });
            }
        }
    }

    /// A server that died says no BYE: when no sound comes any more, SIP is asked.
    fn watch_silence(&mut self, received: u64) {
        let expected = self.plan.as_ref().is_some_and(|plan| plan.receiving);
        if received != self.quiet.0 || !expected {
            self.quiet = (received, 0);
            return;
        }
        self.quiet.1 += 1;
        if self.quiet.1.is_multiple_of(limits::QUIET_SECONDS) {
            self.signalling.phone.probe(Instant::now());
        }
    }

    fn on_roster(&mut self, roster: &Roster) {
        let people: Vec<Person> = roster
            .people
            .iter()
            .map(|person| Person {
                name: person.name.clone(),
                uri: person.entity.clone(),
                status: person.status.to_owned(),
                muted: person.muted,
                speaking: roster.speaker.as_deref() == Some(person.entity.as_str()),
                me: person.me,
            })
            .collect();
        let quiet = |people: &[Person]| -> Vec<Person> {
            people
                .iter()
                .map(|person| Person {
                    speaking: false,
                    ..person.clone()
                })
                .collect()
        };
        if quiet(&people) != quiet(&self.people) {
            self.front.tell(&Event::People {
                version: roster.version,
                people: people.clone(),
            });
        }
        self.people = people;
        if roster.speaker != self.speaker {
            self.speaker = roster.speaker.clone();
            let name = roster.speaker_name().map(str::to_owned);
            self.front.tell(&Event::Speaking {
                name,
                uri: roster.speaker.clone(),
            });
        }
    }

    fn on_ended(&mut self, reason: EndReason) {
        let status = match &reason {
            EndReason::NoAnswer => Some(None),
            EndReason::Refused { status, .. } => Some(Some(*status)),
            _ => None,
        };
        if matches!(self.purpose, Purpose::Call { .. }) && status.is_some_and(|status| self.may_go_on(status))
        {
            self.next_way = true;
            return;
        }
        self.engine = None;
        self.plan = None;
        self.joined = None;
        self.holding = false;
        self.people.clear();
        self.speaker = None;
        let (told, exit) = self.ending(reason);
        if let Some(event) = told {
            self.front.tell(&event);
        }
        if self.leaving.is_some() {
            return;
        }
        match self.purpose {
            Purpose::Call { .. } => self.finish(exit),
            // A registered phone waits for the next call, with sound and ports of its own.
            Purpose::Register { .. } => {
                if let Err(error) = self.bind_ports() {
                    self.fail(MeetError::Media(error));
                }
            }
        }
    }

    /// What the user is told about an end, and the exit code that it means.
    fn ending(&self, reason: EndReason) -> (Option<Event>, Exit) {
        match reason {
            EndReason::Local => (None, Exit::Ok),
            EndReason::Peer { text, cause } => {
                let reason = text.unwrap_or_else(|| "the other side hung up".to_owned());
                (Some(Event::Ended { reason, cause }), Exit::Ok)
            }
            EndReason::Refused {
                target,
                status,
                reason,
            } => {
                let error = MeetError::Refused {
                    target,
                    status,
                    reason,
                };
                (Some(error_event(&error)), error.exit())
            }
            EndReason::NoAnswer => {
                let server = self.settings.server.to_string();
                let error = MeetError::NoAnswer {
                    server,
                    transport: self.signalling.transport().as_str(),
                };
                (Some(error_event(&error)), error.exit())
            }
            EndReason::Vanished => {
                let reason = "the other side does not answer any more".to_owned();
                (
                    Some(Event::Ended {
                        reason,
                        cause: Some(408),
                    }),
                    Exit::Network,
                )
            }
            EndReason::NoMedia { why } => {
                let message = format!("no common ground for sound: {why}; try --codec opus,pcmu,pcma,g722");
                (
                    Some(Event::Error {
                        message,
                        exit: Some(Exit::Media as u8),
                    }),
                    Exit::Media,
                )
            }
        }
    }

    /// Opens both ends of the sound; the files of a further call get a number, so that none is lost.
    fn open_sound(&mut self) -> Result<(), MediaError> {
        self.calls += 1;
        let number = self.calls;
        let speaker = match &self.audio.speaker {
            SpeakerSpec::File(path) => SpeakerSpec::File(numbered(path, number)),
            other => other.clone(),
        };
        let record = self.audio.record.as_deref().map(|path| numbered(path, number));
        self.sound = Some(open(
            &self.audio.mic,
            &speaker,
            record.as_deref(),
            self.audio.aec,
        )?);
        Ok(())
    }

    /// Binds ports for RTP and tells the phone about them.
    fn bind_ports(&mut self) -> Result<(), MediaError> {
        let sockets = MediaSockets::bind(self.signalling.local().ip())?;
        let media = local_media(sockets.address(), &self.audio);
        self.local_rtp = sockets.address();
        self.sockets = Some(sockets);
        self.signalling.phone.set_media(media);
        Ok(())
    }

    fn to_engine(&self, command: EngineCommand) {
        if let Some(engine) = &self.engine {
            engine.tell(command);
        }
    }

    fn fail(&mut self, error: MeetError) {
        self.front.tell(&error_event(&error));
        self.finish(error.exit());
    }

    /// Ends with this code, after the farewells that are due; a lost BYE is repeated meanwhile.
    fn finish(&mut self, exit: Exit) {
        let now = Instant::now();
        self.exit.get_or_insert(exit);
        self.farewell.get_or_insert(now + limits::FAREWELL_WAIT);
        self.signalling.phone.hang_up(now);
        self.signalling.phone.unregister(now);
    }
}

/// `heard.wav`, then `heard-2.wav`, and so on.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number <= 1 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path
        .extension()
        .map_or_else(String::new, |text| format!(".{}", text.to_string_lossy()));
    path.with_file_name(format!("{stem}-{number}{extension}"))
}

fn error_event(error: &MeetError) -> Event {
    Event::Error {
        message: error.to_string(),
        exit: Some(error.exit() as u8),
    }
}
