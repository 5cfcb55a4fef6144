//! Who takes part in the demo, what they say, and the programs that they run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::baresip::{Baresip, BaresipError, Options};
use crate::process::{Process, ProcessError};
use crate::server::{Server, program};
use crate::speech;
use crate::tone::{Recording, WavError, write_wav};

/// Everybody has this many seconds to speak in, one after the other.
pub const SLOT: f32 = 4.5;
/// The rate of all files.
const RATE: u32 = 48_000;
/// A meet may take so long to join.
const PATIENCE: Duration = Duration::from_secs(20);

/// What goes wrong with the cast.
#[derive(Debug, thiserror::Error)]
pub enum CastError {
    /// A program did not do what it should.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// baresip did not.
    #[error(transparent)]
    Baresip(#[from] BaresipError),
    /// A file could not be written or read.
    #[error(transparent)]
    Wav(#[from] WavError),
    /// Nobody could speak.
    #[error(transparent)]
    Speech(#[from] speech::SpeechError),
}

/// A person of the demo.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    /// Display name.
    pub name: &'static str,
    /// The room that they are in.
    pub room: &'static str,
    /// espeak-ng's voice.
    voice: &'static str,
    /// What they say.
    sentence: &'static str,
    /// Whether they use baresip in place of `meet`.
    pub foreign: bool,
}

/// Everybody, in the order in which they speak within their room.
pub const CAST: [Person; 6] = [
    Person {
        name: "Ann",
        room: "demo",
        voice: "en",
        sentence: "Good morning, this is Ann. Can everybody hear me well?",
        foreign: false,
    },
    Person {
        name: "Ben",
        room: "demo",
        voice: "en+f3",
        sentence: "Yes! Ben here, loud and clear, from the other end of the house.",
        foreign: false,
    },
    Person {
        name: "Carol",
        room: "demo",
        voice: "en+m3",
        sentence: "Carol speaking. Shall we begin with numbers, or with plans?",
        foreign: false,
    },
    Person {
        name: "Dave",
        room: "demo",
        voice: "en+f2",
        sentence: "I am Dave, and I dialled in with an ordinary software telephone.",
        foreign: true,
    },
    Person {
        name: "Eve",
        room: "beside",
        voice: "en+m5",
        sentence: "Nobody outside this second room should ever notice Eve talking.",
        foreign: false,
    },
    Person {
        name: "Frank",
        room: "beside",
        voice: "en+f4",
        sentence: "Agreed, says Frank. Whatever happens in here stays in here.",
        foreign: false,
    },
];

/// Length of one round in which all of the larger room speak once.
pub fn round() -> f32 {
    let largest = CAST.iter().filter(|p| p.room == "demo").count();
    SLOT * largest as f32
}

/// The sentence of `person`, spoken by espeak-ng.
pub fn sentence(folder: &Path, person: &Person) -> Result<Recording, CastError> {
    Ok(speech::speak(
        &said(folder, person),
        person.voice,
        person.sentence,
    )?)
}

/// The file with what `person` says.
fn said(folder: &Path, person: &Person) -> PathBuf {
    folder.join(format!("said-by-{}.wav", person.name))
}

/// Writes the microphone file of `person`: `rounds` rounds with the sentence in the own slot.
fn microphone(
    folder: &Path,
    person: &Person,
    sentence: &Recording,
    rounds: usize,
) -> Result<PathBuf, CastError> {
    let slot = CAST
        .iter()
        .filter(|p| p.room == person.room)
        .position(|p| p.name == person.name)
        .unwrap_or(0);
    let start = (slot as f32 * SLOT * RATE as f32) as usize;
    let length = (round() * RATE as f32) as usize;
    let one: Vec<f32> = (0..length)
        .map(|n| {
            n.checked_sub(start)
                .and_then(|at| sentence.samples.get(at))
                .copied()
                .unwrap_or(0.0)
        })
        .collect();
    let path = folder.join(format!("microphone-{}.wav", person.name));
    write_wav(&path, RATE, one.iter().copied().cycle().take(length * rounds))?;
    Ok(path)
}

/// A participant's program.
pub enum Seat {
    /// Our own client.
    Meet(Process),
    /// The foreign phone.
    Phone(Box<Baresip>),
}

/// A person in a meeting.
pub struct Participant {
    /// Who.
    pub person: Person,
    /// What they say.
    pub sentence: Recording,
    /// Their program.
    pub seat: Seat,
    folder: PathBuf,
}

impl Participant {
    /// Starts the program and waits until it is in the meeting.
    pub fn join(folder: &Path, server: &Server, person: &Person) -> Result<Self, CastError> {
        let sentence = sentence(folder, person)?;
        let folder = folder.to_owned();
        if person.foreign {
            let mut options = Options::new(person.name, "opus/48000/2", 0);
            options.file = Some(microphone(&folder, person, &sentence, 12)?);
            let mut phone = Baresip::start(&folder, &options)?;
            phone.call(&server.room(person.room))?;
            return Ok(Self {
                person: *person,
                sentence,
                seat: Seat::Phone(Box::new(phone)),
                folder,
            });
        }
        let file = microphone(&folder, person, &sentence, 1)?;
        let creates = CAST
            .iter()
            .find(|p| p.room == person.room)
            .is_some_and(|p| p.name == person.name);
        let mut command = meet(&folder, server);
        command
            .arg(if creates { "create" } else { "join" })
            .arg(person.room)
            .args(["--name", person.name, "--headless", "--json", "--mic"])
            .arg(format!("file:{}:loop", file.display()))
            .arg("--speaker")
            .arg(format!("file:{}", heard(&folder, person).display()));
        let process = Process::start(command)?;
        process.wait_line("\"event\":\"joined\"", PATIENCE)?;
        Ok(Self {
            person: *person,
            sentence,
            seat: Seat::Meet(process),
            folder,
        })
    }

    /// The events of this participant's `meet` of one kind; none for the foreign phone.
    pub fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let Seat::Meet(process) = &self.seat else {
            return Vec::new();
        };
        process
            .output()
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|event| event.get("event").and_then(|e| e.as_str()) == Some(kind))
            .collect()
    }

    /// What this participant heard so far.
    pub fn heard(&self) -> Result<Recording, CastError> {
        match &self.seat {
            Seat::Meet(_) => Ok(Recording::read(&heard(&self.folder, &self.person))?),
            Seat::Phone(phone) => Ok(phone.heard()?),
        }
    }

    /// Waits until the call is over on this participant's side.
    pub fn wait_end(&mut self) -> Result<(), CastError> {
        match &mut self.seat {
            Seat::Meet(process) => process.wait_exit(PATIENCE).map(drop).map_err(Into::into),
            Seat::Phone(phone) => phone.wait_event("CALL_CLOSED").map(drop).map_err(Into::into),
        }
    }
}

/// `meet` with the demo's own state folder and server.
pub fn meet(folder: &Path, server: &Server) -> Command {
    let mut command = Command::new(program("meet"));
    command
        // The demo's capture is there to be read: tshark has no keys of SDES.
        .env("MEET_SRTP", "off")
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .args(["--server", &server.sip.to_string()]);
    command
}

fn heard(folder: &Path, person: &Person) -> PathBuf {
    folder.join(format!("heard-by-{}.wav", person.name))
}
