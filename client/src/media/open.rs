//! From the words of the command line to an open source, an open sink and an echo canceller.
//!
//! The only place that knows whether this build has devices. Deliberately absent: the parsing of the words.

use std::path::Path;

#[cfg(feature = "devices")]
use super::devices::{Loudspeaker, Microphone};
use super::{Both, MediaError, Nowhere, Silence, Sink, Source, Tone, WavSink, WavSource};
use crate::cli::args::{MicSpec, SpeakerSpec};

#[cfg(feature = "devices")]
pub use super::echo::EchoCanceller as EchoPath;

/// Stands in for the echo canceller in a build without devices: there is nothing that could echo.
#[cfg(not(feature = "devices"))]
#[derive(Debug)]
pub enum EchoPath {}

#[cfg(not(feature = "devices"))]
impl EchoPath {
    /// Never called: there is no value of this type.
    pub fn played(&mut self, _sound: &[f32]) -> Result<(), MediaError> {
        Ok(())
    }

    /// Never called: there is no value of this type.
    pub fn clean(&mut self, _sound: &mut [f32]) -> Result<(), MediaError> {
        Ok(())
    }
}

/// What was opened.
pub struct OpenedSound {
    /// What others hear.
    pub source: Box<dyn Source>,
    /// Where they are heard.
    pub sink: Box<dyn Sink>,
    /// Set where both ends are devices and it was not switched off.
    pub echo: Option<EchoPath>,
}

/// Opens both ends before the call, so that a missing device or file is told before anybody is rung.
pub fn open(
    mic: &MicSpec,
    speaker: &SpeakerSpec,
    record: Option<&Path>,
    aec: bool,
) -> Result<OpenedSound, MediaError> {
    let source: Box<dyn Source> = match mic {
        MicSpec::None | MicSpec::Silence => Box::new(Silence),
        MicSpec::Tone(hertz) => Box::new(Tone::new(*hertz)),
        MicSpec::File { path, repeat } => Box::new(WavSource::open(path, *repeat)?),
        MicSpec::Default => microphone(None)?,
        MicSpec::Device(name) => microphone(Some(name))?,
    };
    let mut sink: Box<dyn Sink> = match speaker {
        SpeakerSpec::None => Box::new(Nowhere),
        SpeakerSpec::File(path) => Box::new(WavSink::create(path)?),
        SpeakerSpec::Default => loudspeaker(None)?,
        SpeakerSpec::Device(name) => loudspeaker(Some(name))?,
    };
    let echo = (aec && source.is_microphone() && sink.is_loudspeaker())
        .then(canceller)
        .flatten();
    if let Some(path) = record {
        sink = Box::new(Both::new(sink, Box::new(WavSink::create(path)?)));
    }
    Ok(OpenedSound { source, sink, echo })
}

#[cfg(feature = "devices")]
fn microphone(name: Option<&str>) -> Result<Box<dyn Source>, MediaError> {
    Ok(Box::new(Microphone::open(name)?))
}

#[cfg(feature = "devices")]
fn loudspeaker(name: Option<&str>) -> Result<Box<dyn Sink>, MediaError> {
    Ok(Box::new(Loudspeaker::open(name)?))
}

#[cfg(feature = "devices")]
fn canceller() -> Option<EchoPath> {
    Some(EchoPath::new())
}

#[cfg(not(feature = "devices"))]
fn microphone(_name: Option<&str>) -> Result<Box<dyn Source>, MediaError> {
    Err(MediaError::NoDevices)
}

#[cfg(not(feature = "devices"))]
fn loudspeaker(_name: Option<&str>) -> Result<Box<dyn Sink>, MediaError> {
    Err(MediaError::NoDevices)
}

#[cfg(not(feature = "devices"))]
fn canceller() -> Option<EchoPath> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_tones_need_no_device_and_no_echo_canceller() {
        let folder = tempfile::tempdir().unwrap();
        let (heard, record) = (folder.path().join("heard.wav"), folder.path().join("record.wav"));
        let mut sound = open(
            &MicSpec::Tone(440.0),
            &SpeakerSpec::File(heard.clone()),
            Some(&record),
            true,
        )
        .unwrap();
        assert!(sound.echo.is_none());
        sound.sink.write(&[0.5; 960]).unwrap();
        sound.sink.finish().unwrap();
        for path in [heard, record] {
            assert_eq!(hound::WavReader::open(path).unwrap().duration(), 960);
        }
    }

    #[test]
    fn a_missing_file_is_told_by_name() {
        let mic = MicSpec::File {
            path: "/nowhere/x.wav".into(),
            repeat: false,
        };
        let error = open(&mic, &SpeakerSpec::None, None, true).err().unwrap();
        assert!(error.to_string().contains("/nowhere/x.wav"));
    }
}
