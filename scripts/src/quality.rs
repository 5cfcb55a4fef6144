//! Speech through the real cores under loss: what the talker said against what the listener heard.
//!
//! Talker and listener are the client's own streams (`meet_client::media::stream`), between them is a real mixer room
//! whose legs are built by the server's own negotiation code; only time and network are ours: 20 ms ticks, packets lost
//! at random by a fixed seed, on both ways of both legs, RTCP included. So each figure can be had again. The scores
//! are PESQ (ITU-T P.862) and STOI, by Python programs in a virtual environment under `target/`. Absent on purpose: the
//! delay, which `meet-bench` measures on a real server, and jitter.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use meet_client::media::MediaError;
use meet_client::media::plan::StreamPlan;
use meet_client::media::resample::FixedResampler;
use meet_client::media::stream::{AudioStream, Outbox, Port};
use meet_server::focus::ids::LegId;
use meet_server::focus::mixing;
use meet_server::focus::settings::OpusSettings;
use mixer::{Leg, LegKey, Room, RoomConfig};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use rtp_media::codec::opus::OpusConfig;
use rtp_media::codec::{AudioDecoder, AudioEncoder, CodecKind, Decoder, Encoder};
use rtp_media::demux::{PacketClass, classify};
use rtp_media::units::NtpTime;
use sip_proto::sdp::offer_answer::{AudioFormat, LocalMedia, Negotiated, OfferAnswer};

use crate::speech::{SpeechError, speak};
use crate::tone::{WavError, write_wav};

/// The versions that the scores were taken with.
const SCORERS: [&str; 4] = ["numpy==2.4.6", "scipy==1.17.1", "pystoi==0.4.1", "pesq==0.0.4"];
const SCRIPT: &str = include_str!("score_speech.py");
const TICK: Duration = Duration::from_millis(20);
const TICK_SAMPLES: usize = 960;
/// Silence before the speech that is scored.
const LEAD: usize = 48_000;
/// What is said; the first round teaches both ends what is lost, the second is scored.
const SENTENCES: &str = "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. \
    It is easy to tell the depth of a well. These days a chicken leg is a rare dish. Rice is often served in round bowls.";

/// Why there is no score.
#[derive(Debug, thiserror::Error)]
pub enum QualityError {
    /// espeak-ng or sox is missing, or failed.
    #[error(transparent)]
    Speech(#[from] SpeechError),
    /// A recording could not be written or read.
    #[error(transparent)]
    Wav(#[from] WavError),
    /// Our own cores refused something: a fault of this tool.
    #[error("the scene does not stand: {0}")]
    Scene(String),
    /// Python or its packages.
    #[error("{program}: {message}")]
    Scorer {
        /// What was run.
        program: &'static str,
        /// What it said.
        message: String,
    },
}

/// How the audio travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Opus with in-band FEC where the receiver reports loss.
    OpusFec,
    /// Opus without.
    Opus,
    /// G.722.
    G722,
    /// G.711 µ-law.
    Pcmu,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Score {
    /// Intelligibility, 0 to 1.
    pub stoi: f64,
    /// PESQ over 50–7000 Hz as an opinion of 1 to 4.6.
    pub wide: f64,
    /// PESQ over the telephone band.
    pub narrow: f64,
    /// What our own E-model says of the talker's leg.
    pub estimated: f32,
}

impl Codec {
    /// All, in the order of the table.
    pub const ALL: [Self; 4] = [Self::OpusFec, Self::Opus, Self::G722, Self::Pcmu];

    /// As the table names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpusFec => "Opus, FEC",
            Self::Opus => "Opus",
            Self::G722 => "G.722",
            Self::Pcmu => "PCMU",
        }
    }

    const fn kind(self) -> CodecKind {
        match self {
            Self::OpusFec | Self::Opus => CodecKind::Opus,
            Self::G722 => CodecKind::G722,
            Self::Pcmu => CodecKind::Pcmu,
        }
    }

    fn format(self) -> AudioFormat {
        match self {
            Self::OpusFec => AudioFormat::opus(96, Some("useinbandfec=1".to_owned())),
            Self::Opus => AudioFormat::opus(96, None),
            Self::G722 => AudioFormat::g722(),
            Self::Pcmu => AudioFormat::pcmu(),
        }
    }
}

/// The tool: what is said, and where the scorers are.
pub struct Judge {
    folder: PathBuf,
    python: PathBuf,
    reference: PathBuf,
    said: Vec<f32>,
}

impl Judge {
    /// Has the sentences spoken into `folder` and makes the scorers ready under `target`.
    ///
    /// # Errors
    /// A program is missing; the message says which.
    pub fn new(folder: &Path, target: &Path) -> Result<Self, QualityError> {
        let spoken = speak(&folder.join("spoken.wav"), "en-gb", SENTENCES)?;
        let reference = folder.join("reference.wav");
        write_wav(&reference, 48_000, spoken.samples.iter().copied())?;
        Ok(Self {
            folder: folder.to_owned(),
            python: scorers(target)?,
            reference,
            said: spoken.samples,
        })
    }

    /// Sends the sentences over a path that loses `percent` of all packets and scores what is heard.
    ///
    /// # Errors
    /// The scorers failed.
    pub fn score(&self, codec: Codec, percent: u32) -> Result<Score, QualityError> {
        let (heard, estimated) = converse(&self.said, codec, percent)?;
        self.compare(codec, percent, &heard, estimated)
    }

    /// The same sentences through the codec alone, twice as a room codes them: what no mixer can better.
    ///
    /// # Errors
    /// The scorers failed.
    pub fn ceiling(&self, codec: Codec) -> Result<Score, QualityError> {
        let once = recoded(&self.said, codec)?;
        self.compare(codec, 100, &recoded(&once, codec)?, 0.0)
    }

    fn compare(
        &self,
        codec: Codec,
        percent: u32,
        heard: &[f32],
        estimated: f32,
    ) -> Result<Score, QualityError> {
        let file = self
            .folder
            .join(format!("{}-{percent}.wav", codec.name().replace([',', ' '], "")));
        write_wav(&file, 48_000, heard.iter().copied())?;
        let output = run(
            "python3",
            Command::new(&self.python)
                .args(["-c", SCRIPT])
                .arg(&self.reference)
                .arg(&file),
        )?;
        let scores: serde_json::Value =
            serde_json::from_str(output.trim()).map_err(|error| QualityError::Scorer {
                program: "score_speech.py",
                message: error.to_string(),
            })?;
        let number = |name: &str| {
            scores
                .get(name)
                .and_then(serde_json::Value::as_f64)
                .unwrap_or(f64::NAN)
        };
        Ok(Score {
            stoi: number("stoi"),
            wide: number("wide"),
            narrow: number("narrow"),
            estimated,
        })
    }
}

/// Speech coded and decoded, tick by tick, with the settings that a leg has.
fn recoded(said: &[f32], codec: Codec) -> Result<Vec<f32>, QualityError> {
    let failed = |error: &dyn std::fmt::Display| QualityError::Scene(error.to_string());
    let kind = codec.kind();
    let rate = kind.sample_rate().hertz();
    let mut encoder = AudioEncoder::new(kind, &OpusConfig::default()).map_err(|error| failed(&error))?;
    let mut decoder = AudioDecoder::new(kind).map_err(|error| failed(&error))?;
    let mut down = FixedResampler::new(48_000, rate).map_err(scene_error)?;
    let mut up = FixedResampler::new(rate, 48_000).map_err(scene_error)?;
    let samples = rate as usize / 50;
    let mut heard = Vec::new();
    for frame in said.chunks_exact(TICK_SAMPLES) {
        let (mut low, mut payload) = (vec![0.0; samples], [0; 1_500]);
        down.process(frame, &mut low).map_err(scene_error)?;
        let length = encoder
            .encode(&low, &mut payload)
            .map_err(|error| failed(&error))?;
        let coded = payload.get(..length).unwrap_or_default();
        decoder.decode(coded, &mut low).map_err(|error| failed(&error))?;
        let mut out = [0.0; TICK_SAMPLES];
        up.process(&low, &mut out).map_err(scene_error)?;
        heard.extend_from_slice(&out);
    }
    Ok(heard)
}

/// A Python with the scorers in it.
fn scorers(target: &Path) -> Result<PathBuf, QualityError> {
    let folder = target.join("speech-quality");
    let python = folder.join("bin/python3");
    if !python.exists() {
        run(
            "python3 -m venv",
            Command::new("python3").args(["-m", "venv"]).arg(&folder),
        )?;
    }
    if run(
        "score",
        Command::new(&python).args(["-c", "import pesq, pystoi, scipy"]),
    )
    .is_err()
    {
        run(
            "pip",
            Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet"])
                .args(SCORERS),
        )?;
    }
    Ok(python)
}

fn run(program: &'static str, command: &mut Command) -> Result<String, QualityError> {
    let failed = |message: String| QualityError::Scorer { program, message };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Collects datagrams for one tick.
#[derive(Default)]
struct Wire(Vec<(LegKey, Vec<u8>)>);

impl mixer::Outbox for Wire {
    fn rtp(&mut self, leg: LegKey, _: SocketAddr, packet: &[u8]) {
        self.0.push((leg, packet.to_vec()));
    }

    fn rtcp(&mut self, leg: LegKey, _: SocketAddr, packet: &[u8]) {
        self.0.push((leg, packet.to_vec()));
    }
}

struct Sent(Vec<Vec<u8>>);

impl Outbox for Sent {
    fn send(&mut self, _: Port, _: SocketAddr, bytes: &[u8]) {
        self.0.push(bytes.to_vec());
    }
}

/// One phone: its stream and where its packets come from.
struct Phone {
    key: LegKey,
    address: SocketAddr,
    stream: AudioStream,
}

/// The scene: a room with a talker and a listener.
struct Scene {
    room: Room,
    phones: Vec<Phone>,
    dice: ChaCha12Rng,
    percent: u32,
    now: Instant,
    wall: Duration,
}

fn converse(said: &[f32], codec: Codec, percent: u32) -> Result<(Vec<f32>, f32), QualityError> {
    let mut scene = Scene::new(codec, percent)?;
    let mut heard = Vec::new();
    let pause = vec![0.0; LEAD];
    // Once to learn what is lost, a pause of fifteen seconds for the reports, once for the score.
    for part in [said, &vec![0.0; 15 * 48_000][..]] {
        scene.speak(part, &mut Vec::new())?;
    }
    scene.speak(said, &mut heard)?;
    scene.speak(&pause, &mut heard)?;
    let estimate = scene
        .room
        .stats(LegKey(1))
        .map_or(0.0, |stats| stats.quality.mos_lq);
    Ok((heard, estimate))
}

impl Scene {
    fn new(codec: Codec, percent: u32) -> Result<Self, QualityError> {
        let now = Instant::now();
        let mut scene = Self {
            room: Room::new(RoomConfig::default()),
            phones: Vec::new(),
            dice: ChaCha12Rng::from_seed([42; 32]),
            percent,
            now,
            wall: Duration::from_secs(1_700_000_000),
        };
        for key in [1, 2] {
            let address = SocketAddr::from(([192, 0, 2, key], 4_000));
            let (ours, theirs) = agree(codec, address)?;
            let opus = OpusSettings {
                bitrate: 32_000,
                complexity: 5,
            };
            let config = mixing::leg_config(LegId(u32::from(key)), &ours.audio, opus, &mut scene.dice);
            let leg = Leg::build(config, now).map_err(|error| QualityError::Scene(error.to_string()))?;
            scene.room.command(mixer::Command::Add(leg), now);
            let stream = StreamPlan::from_negotiated(&theirs.audio)
                .and_then(|plan| AudioStream::new(plan, format!("phone{key}"), [key; 32], now))
                .map_err(scene_error)?;
            scene.phones.push(Phone {
                key: LegKey(u32::from(key)),
                address,
                stream,
            });
        }
        Ok(scene)
    }

    /// The first phone says `pcm`, the second one's ear is appended to `heard`.
    fn speak(&mut self, pcm: &[f32], heard: &mut Vec<f32>) -> Result<(), QualityError> {
        for frame in pcm.chunks(TICK_SAMPLES) {
            let mut said = [0.0; TICK_SAMPLES];
            said.iter_mut()
                .zip(frame)
                .for_each(|(place, sample)| *place = *sample);
            self.tick(&said, heard)?;
        }
        Ok(())
    }

    fn tick(&mut self, said: &[f32], heard: &mut Vec<f32>) -> Result<(), QualityError> {
        let (now, wall) = (self.now, NtpTime::from_unix(self.wall));
        for index in 0..self.phones.len() {
            let mut sent = Sent(Vec::new());
            let Some(phone) = self.phones.get_mut(index) else {
                continue;
            };
            let frame = if index == 0 { said } else { &[0.0; TICK_SAMPLES] };
            phone
                .stream
                .say(frame, now, wall, &mut sent)
                .map_err(scene_error)?;
            let (key, from) = (phone.key, phone.address);
            for bytes in sent.0 {
                if !self.lost() {
                    let port = match classify(&bytes) {
                        PacketClass::Rtcp => mixer::Port::Rtcp,
                        _ => mixer::Port::Rtp,
                    };
                    self.room.receive(key, port, from, &bytes, now);
                }
            }
        }
        let mut out = Wire::default();
        self.room.tick(now + TICK / 4, wall, &mut out);
        let server = SocketAddr::from(([192, 0, 2, 9], 6_000));
        for (key, bytes) in out.0 {
            if self.lost() {
                continue;
            }
            if let Some(phone) = self.phones.iter_mut().find(|phone| phone.key == key) {
                phone.stream.receive(server, &bytes, now + TICK / 2);
            }
        }
        for (index, phone) in self.phones.iter_mut().enumerate() {
            let mut ear = [0.0; TICK_SAMPLES];
            phone.stream.play(now + TICK / 2, &mut ear).map_err(scene_error)?;
            if index == 1 {
                heard.extend_from_slice(&ear);
            }
        }
        self.now += TICK;
        self.wall += TICK;
        Ok(())
    }

    fn lost(&mut self) -> bool {
        self.dice.next_u32() % 100 < self.percent
    }
}

/// Offer of the phone, answer of the server: what each side makes of it.
fn agree(codec: Codec, phone: SocketAddr) -> Result<(Negotiated, Negotiated), QualityError> {
    let failed = |error: &dyn std::fmt::Display| QualityError::Scene(error.to_string());
    let media = |address: SocketAddr| LocalMedia {
        formats: vec![codec.format()],
        ..LocalMedia::new(address.ip(), address.port())
    };
    let server = SocketAddr::from(([192, 0, 2, 9], 6_000));
    let (mut ours, mut theirs) = (OfferAnswer::new(1), OfferAnswer::new(2));
    let offer = theirs
        .create_offer(&media(phone))
        .map_err(|error| failed(&error))?;
    ours.receive_offer(offer).map_err(|error| failed(&error))?;
    let (answer, at_server) = ours
        .create_answer(&media(server))
        .map_err(|error| failed(&error))?;
    let at_phone = theirs.receive_answer(answer).map_err(|error| failed(&error))?;
    Ok((at_server, at_phone))
}

fn scene_error(error: MediaError) -> QualityError {
    QualityError::Scene(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_comes_through_clean_and_the_estimate_falls_with_loss() {
        // A buzz with syllables stands for speech: the programs that speak and score are not needed.
        let said: Vec<f32> = (0..48_000 * 4)
            .map(|n| {
                let (t, syllable) = (n as f32 / 48_000.0, (n / 9_600) % 3 != 2);
                if syllable {
                    0.2 * (t * 150.0 * std::f32::consts::TAU).sin()
                } else {
                    0.0
                }
            })
            .collect();
        let (heard, clean) = converse(&said, Codec::Pcmu, 0).unwrap();
        assert_eq!(heard.len(), said.len() + LEAD);
        assert!(crate::tone::goertzel(&heard, 48_000, 150.0) > 0.05);
        let (_, lossy) = converse(&said, Codec::Pcmu, 10).unwrap();
        assert!(clean > 4.3 && lossy < clean - 0.3, "{clean} {lossy}");
    }
}
