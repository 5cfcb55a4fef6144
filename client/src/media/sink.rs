//! Where a meeting is heard.
//!
//! A sink takes one tick of 48 kHz mono at a time and never waits for a device. Loudspeakers are in
//! [`super::devices`]. Deliberately absent: volume, which the engine applies before the sink.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::MediaError;
use crate::limits::{PCM_RATE, WAV_FLUSH};

/// Takes sound from the media thread, one tick after the other.
pub trait Sink: Send {
    /// Takes one frame. Never waits for a device. After an error the sink is of no use any more.
    fn write(&mut self, frame: &[f32]) -> Result<(), MediaError>;

    /// What failed while the rest of the sink goes on; told once.
    fn complaint(&mut self) -> Option<MediaError> {
        None
    }

    /// Whether a microphone may hear it.
    fn is_loudspeaker(&self) -> bool {
        false
    }

    /// Called once at the end.
    fn finish(&mut self) -> Result<(), MediaError> {
        Ok(())
    }
}

/// Nowhere.
#[derive(Debug)]
pub struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, _frame: &[f32]) -> Result<(), MediaError> {
        Ok(())
    }
}

/// A WAV file, 48 kHz mono 16 bit, whose header is made true every second: a kill leaves a valid file.
pub struct WavSink {
    path: PathBuf,
    writer: Option<hound::WavWriter<BufWriter<File>>>,
    unflushed: usize,
}

impl std::fmt::Debug for WavSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WavSink({})", self.path.display())
    }
}

impl WavSink {
    /// Makes the file, replacing an old one.
    pub fn create(path: &Path) -> Result<Self, MediaError> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: PCM_RATE,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let writer = hound::WavWriter::create(path, spec).map_err(|source| MediaError::Wav {
            path: path.to_owned(),
            source,
        })?;
        let mut sink = Self {
            path: path.to_owned(),
            writer: Some(writer),
            unflushed: 0,
        };
        sink.flush()?;
        Ok(sink)
    }

    fn flush(&mut self) -> Result<(), MediaError> {
        self.unflushed = 0;
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        writer.flush().map_err(|source| MediaError::Wav {
            path: self.path.clone(),
            source,
        })
    }
}

impl Sink for WavSink {
    fn write(&mut self, frame: &[f32]) -> Result<(), MediaError> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        for sample in frame {
            let value = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
            writer.write_sample(value).map_err(|source| MediaError::Wav {
                path: self.path.clone(),
                source,
            })?;
        }
        self.unflushed += frame.len();
        if self.unflushed as u64 >= WAV_FLUSH.as_secs() * u64::from(PCM_RATE) {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        match self.writer.take() {
            Some(writer) => writer.finalize().map_err(|source| MediaError::Wav {
                path: self.path.clone(),
                source,
            }),
            None => Ok(()),
        }
    }
}

/// Two sinks at once: what is heard, and its recording. When one fails, the other goes on.
pub struct Both {
    heard: Option<Box<dyn Sink>>,
    recorded: Option<Box<dyn Sink>>,
    complaint: Option<MediaError>,
}

impl Both {
    /// The second one is a recording beside the first.
    pub fn new(heard: Box<dyn Sink>, recorded: Box<dyn Sink>) -> Self {
        Self {
            heard: Some(heard),
            recorded: Some(recorded),
            complaint: None,
        }
    }
}

impl Sink for Both {
    fn write(&mut self, frame: &[f32]) -> Result<(), MediaError> {
        for part in [&mut self.heard, &mut self.recorded] {
            if let Some(Err(error)) = part.as_mut().map(|sink| sink.write(frame)) {
                *part = None;
                self.complaint = Some(error);
            }
        }
        match (&self.heard, &self.recorded) {
            (None, None) => self.complaint.take().map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    fn complaint(&mut self) -> Option<MediaError> {
        self.complaint.take()
    }

    fn is_loudspeaker(&self) -> bool {
        self.heard.as_ref().is_some_and(|sink| sink.is_loudspeaker())
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        let [heard, recorded] = [&mut self.heard, &mut self.recorded]
            .map(|part| part.as_mut().map_or(Ok(()), |sink| sink.finish()));
        heard.and(recorded)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Oscillator, tone_share};
    use super::*;

    #[test]
    fn a_file_is_valid_although_the_program_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heard.wav");
        let mut sink = WavSink::create(&path).unwrap();
        assert_eq!(
            hound::WavReader::open(&path).unwrap().duration(),
            0,
            "valid from the start"
        );
        let mut tone = Oscillator::new(440.0, 0.5);
        let mut frame = [0.0; 960];
        for _ in 0..120 {
            tone.fill(&mut frame);
            sink.write(&frame).unwrap();
        }
        // A kill runs no destructor.
        std::mem::forget(sink);
        let mut reader = hound::WavReader::open(&path).unwrap();
        assert!(
            reader.duration() >= 96_000,
            "two whole seconds at least, got {}",
            reader.duration()
        );
        let heard: Vec<f32> = reader
            .samples::<i16>()
            .map(|s| f32::from(s.unwrap()) / 32_768.0)
            .collect();
        assert!(tone_share(&heard, 440.0, 48_000) > 0.98);
    }

    /// As on a full disk.
    struct Full;

    impl Sink for Full {
        fn write(&mut self, _frame: &[f32]) -> Result<(), MediaError> {
            Err(MediaError::Chunk)
        }
    }

    #[test]
    fn a_recording_that_fails_leaves_the_loudspeaker_alone_and_is_told_once() {
        for failing_record in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("heard.wav");
            let good: Box<dyn Sink> = Box::new(WavSink::create(&path).unwrap());
            let mut sink = match failing_record {
                true => Both::new(good, Box::new(Full)),
                false => Both::new(Box::new(Full), good),
            };
            for n in 0..5 {
                sink.write(&[0.25; 960]).unwrap();
                assert_eq!(sink.complaint().is_some(), n == 0, "frame {n}");
            }
            sink.finish().unwrap();
            assert_eq!(hound::WavReader::open(&path).unwrap().duration(), 5 * 960);
        }
        let mut sink = Both::new(Box::new(Full), Box::new(Full));
        assert!(sink.write(&[0.0; 960]).is_err(), "nothing is left");
    }

    #[test]
    fn an_orderly_end_keeps_every_sample() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heard.wav");
        let mut sink = Both::new(Box::new(Nowhere), Box::new(WavSink::create(&path).unwrap()));
        for _ in 0..7 {
            sink.write(&[2.0; 960]).unwrap();
        }
        sink.finish().unwrap();
        let mut reader = hound::WavReader::open(&path).unwrap();
        assert_eq!(reader.duration(), 7 * 960);
        assert!(
            reader.samples::<i16>().all(|s| s.unwrap() == i16::MAX),
            "too loud is limited, not wrapped"
        );
    }
}
