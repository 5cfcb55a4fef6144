//! Sound: sources, sinks, devices, and the media thread that carries it over RTP.
//!
//! Inside the program all sound is 48 kHz mono f32 in ticks of 20 ms. Everything above this module speaks of
//! [`Source`] and [`Sink`] alone, so that a call runs the same with a file as with a microphone. Deliberately
//! absent: signalling, and video.

#[cfg(feature = "devices")]
pub mod devices;
#[cfg(feature = "devices")]
pub mod echo;
pub mod engine;
#[cfg(test)]
mod engine_tests;
mod open;
pub mod plan;
mod receiver;
pub mod resample;
pub mod sample;
mod sink;
mod source;
pub mod stream;
#[cfg(test)]
mod stream_tests;
mod transmitter;

use std::net::IpAddr;
use std::path::PathBuf;

pub use open::{EchoPath, OpenedSound, open};
pub use sink::{Both, Nowhere, Sink, WavSink};
pub use source::{Silence, Source, SourceState, Tone, WavSource};

/// What can go wrong with sound.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// A WAV file cannot be read or written.
    #[error("{path}: {source}")]
    Wav {
        /// The file.
        path: PathBuf,
        /// Why.
        source: hound::Error,
    },
    /// A WAV file is too long to be held in memory.
    #[error("{path} is longer than {seconds} s; cut it (for example with sox) or use a device")]
    WavTooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        seconds: u64,
    },
    /// A codec refused.
    #[error("codec: {0}")]
    Coding(#[from] rtp_media::codec::CodecError),
    /// A codec was agreed that this program does not have: a fault of this program.
    #[error("the codec {name} was agreed, but meet has none of that name")]
    Codec {
        /// Its name.
        name: String,
    },
    /// The keys that were agreed on cannot be used: a fault of this program.
    #[error("SRTP: {0}")]
    Protection(#[from] rtp_media::srtp::SrtpError),
    /// A digit cannot be sent.
    #[error("the digit {digit} cannot be sent: the other side takes no telephone-events, or too many wait")]
    Digit {
        /// Which.
        digit: char,
    },
    /// No pair of ports.
    #[error("no pair of UDP ports for sound can be had on {ip}: {source}")]
    Bind {
        /// The address.
        ip: IpAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No thread.
    #[error("no thread for sound: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// A change of rate that cannot be made.
    #[error("sound cannot be brought from {from} Hz to {to} Hz")]
    Rate {
        /// From.
        from: u32,
        /// To.
        to: u32,
    },
    /// A frame of the wrong length: a fault of this program.
    #[error("a sound frame has the wrong length")]
    Chunk,
    /// The echo canceller refused a frame: a fault of this program.
    #[error("the echo canceller refused a frame")]
    Echo,
    /// A device was asked for and this build has none.
    #[error(
        "this build has no sound devices (feature `devices`): use --mic none|tone|file:… and --speaker none|file:…"
    )]
    NoDevices,
    /// No such device.
    #[error("there is no {kind} {name:?}: see `meet devices`, or use --mic none / --speaker none")]
    NoDevice {
        /// Microphone or loudspeaker.
        kind: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The devices cannot be listed.
    #[cfg(feature = "devices")]
    #[error("the {kind}s cannot be listed: {source}")]
    Devices {
        /// Microphone or loudspeaker.
        kind: &'static str,
        /// Why.
        source: cpal::Error,
    },
    /// A device cannot be opened.
    #[cfg(feature = "devices")]
    #[error(
        "the {kind} {name:?} cannot be opened: {source}; another program may hold it, see `meet devices`"
    )]
    Open {
        /// Microphone or loudspeaker.
        kind: &'static str,
        /// Which.
        name: String,
        /// Why.
        source: cpal::Error,
    },
    /// A device has a sample format that is not supported.
    #[error("the device {name:?} works in {format}, which meet does not know")]
    Format {
        /// Which.
        name: String,
        /// Its format.
        format: String,
    },
    /// A device went away.
    #[error("the {kind} went away")]
    Lost {
        /// Microphone or loudspeaker.
        kind: &'static str,
    },
}
