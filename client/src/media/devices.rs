//! Microphones and loudspeakers, over cpal (ALSA on Linux, which reaches PulseAudio and PipeWire).
//!
//! A device has a clock and a callback thread of its own; between it and the media thread stands a ring
//! without locks, and an elastic resampler holds the ring at its target, so that the delay neither creeps nor
//! the sound breaks. Deliberately absent: hot-plug (a lost device is told once, then there is silence).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, FromSample, Sample, SampleFormat, SizedSample, StreamConfig, SupportedBufferSize};
use rtrb::{Consumer, Producer, RingBuffer};

use super::MediaError;
use super::resample::ElasticResampler;
use super::sink::Sink;
use super::source::{Source, SourceState};
use crate::limits::{DEVICE_RING_SAMPLES, DEVICE_TARGET, TICK_SAMPLES};

/// A device as `meet devices` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceName {
    /// What `--mic` or `--speaker` takes.
    pub id: String,
    /// What it is called.
    pub label: String,
    /// Whether it is the default.
    pub default: bool,
}

/// Which way a device works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A microphone.
    In,
    /// A loudspeaker.
    Out,
}

impl Direction {
    /// The word that people use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "microphone",
            Self::Out => "loudspeaker",
        }
    }
}

/// Lists the devices of one direction.
pub fn list(direction: Direction) -> Result<Vec<DeviceName>, MediaError> {
    let host = cpal::default_host();
    let default = match direction {
        Direction::In => host.default_input_device(),
        Direction::Out => host.default_output_device(),
    };
    let default = default.and_then(|device| device.id().ok());
    Ok(all(&host, direction)?
        .into_iter()
        .filter_map(|device| {
            let id = device.id().ok()?;
            Some(DeviceName {
                label: device.to_string(),
                default: default.as_ref() == Some(&id),
                id: id.id().to_owned(),
            })
        })
        .collect())
}

fn all(host: &cpal::Host, direction: Direction) -> Result<Vec<cpal::Device>, MediaError> {
    let failed = |source| MediaError::Devices {
        kind: direction.as_str(),
        source,
    };
    Ok(match direction {
        Direction::In => host.input_devices().map_err(failed)?.collect(),
        Direction::Out => host.output_devices().map_err(failed)?.collect(),
    })
}

/// Finds a device: the default, or the first whose id is the name, or whose label contains it.
fn find(direction: Direction, name: Option<&str>) -> Result<cpal::Device, MediaError> {
    let host = cpal::default_host();
    let missing = || MediaError::NoDevice {
        kind: direction.as_str(),
        name: name.unwrap_or("default").to_owned(),
    };
    let Some(name) = name else {
        return match direction {
            Direction::In => host.default_input_device(),
            Direction::Out => host.default_output_device(),
        }
        .ok_or_else(missing);
    };
    // An exact id is opened without probing every device, which on ALSA is slow and noisy.
    let exact = cpal::DeviceId::new(host.id(), name);
    if let Some(device) = host.device_by_id(&exact) {
        return Ok(device);
    }
    let wanted = name.to_lowercase();
    all(&host, direction)?
        .into_iter()
        .find(|device| device.to_string().to_lowercase().contains(&wanted))
        .ok_or_else(missing)
}

/// What the callback thread tells the media thread.
#[derive(Debug, Default)]
struct Health {
    lost: AtomicBool,
    /// Errors since the last sound.
    errors: AtomicU32,
}

impl Health {
    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn works(&self) {
        self.errors.store(0, Ordering::Relaxed);
    }

    fn failed(&self, error: &cpal::Error) {
        use cpal::ErrorKind::{DeviceChanged, DeviceNotAvailable, HostUnavailable, RealtimeDenied, Xrun};
        let fatal = match error.kind() {
            Xrun | DeviceChanged | RealtimeDenied => return tracing::debug!(%error, "sound device"),
            DeviceNotAvailable | HostUnavailable => true,
            // ALSA's PulseAudio plugin answers "I/O error" over and over while its stream starts, and recovers.
            _ => self.errors.fetch_add(1, Ordering::Relaxed) > ERRORS_BORNE,
        };
        if fatal && !self.lost.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the sound device is given up");
        }
        // cpal asks again at once: without a pause this thread would take a whole core.
        std::thread::sleep(ERROR_PAUSE);
    }
}

type Lost = Arc<Health>;

/// Errors in a row, without any sound, before a device is given up: three seconds of [`ERROR_PAUSE`].
const ERRORS_BORNE: u32 = 1_500;
const ERROR_PAUSE: std::time::Duration = std::time::Duration::from_millis(2);

/// A microphone.
pub struct Microphone {
    ring: Consumer<f32>,
    elastic: ElasticResampler,
    target: usize,
    rate: u32,
    input: Vec<f32>,
    running: bool,
    lost: Lost,
    stream: Option<cpal::Stream>,
}

impl std::fmt::Debug for Microphone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Microphone({} Hz)", self.rate)
    }
}

impl Microphone {
    /// Opens the default microphone, or one by its name.
    pub fn open(name: Option<&str>) -> Result<Self, MediaError> {
        let device = find(Direction::In, name)?;
        let failed = |source| MediaError::Open {
            kind: "microphone",
            name: device.to_string(),
            source,
        };
        let supported = device.default_input_config().map_err(failed)?;
        let (producer, ring) = RingBuffer::new(DEVICE_RING_SAMPLES);
        let lost = Lost::default();
        let config = config_of(&supported);
        let format = supported.sample_format();
        // A producer can be given away once, so a fixed buffer size is tried only where it is promised.
        let stream = match format {
            SampleFormat::F32 => capture::<f32>(&device, config, producer, &lost),
            SampleFormat::I16 => capture::<i16>(&device, config, producer, &lost),
            SampleFormat::U16 => capture::<u16>(&device, config, producer, &lost),
            SampleFormat::I32 => capture::<i32>(&device, config, producer, &lost),
            SampleFormat::U8 => capture::<u8>(&device, config, producer, &lost),
            _ => {
                return Err(MediaError::Format {
                    name: device.to_string(),
                    format: format.to_string(),
                });
            }
        }
        .map_err(failed)?;
        stream.play().map_err(failed)?;
        let rate = config.sample_rate;
        Ok(Self {
            ring,
            elastic: ElasticResampler::from_device(rate, TICK_SAMPLES)?,
            target: target_of(rate),
            rate,
            input: vec![0.0; DEVICE_RING_SAMPLES],
            running: false,
            lost,
            stream: Some(stream),
        })
    }
}

impl Source for Microphone {
    fn read(&mut self, frame: &mut [f32]) -> SourceState {
        frame.fill(0.0);
        let need = self.elastic.needs();
        let mut filled = self.ring.slots();
        if filled > 5 * self.target + need {
            // After a stall the delay goes back at once instead of being stretched away.
            let surplus = filled - self.target - need;
            if let Ok(chunk) = self.ring.read_chunk(surplus) {
                chunk.commit_all();
            }
            filled -= surplus;
        }
        self.running = if self.running {
            filled >= need
        } else {
            filled >= need + self.target
        };
        if self.running {
            self.elastic
                .steer((filled as f64 - (need + self.target) as f64) / f64::from(self.rate));
            // Steering changes how much one frame takes.
            let need = self.elastic.needs();
            if filled < need {
                self.running = false;
            } else if let Some(input) = self.input.get_mut(..need) {
                for sample in input.iter_mut() {
                    *sample = self.ring.pop().unwrap_or(0.0);
                }
                if self.elastic.process(input, frame).is_err() {
                    frame.fill(0.0);
                }
            }
        }
        if !self.lost.is_lost() {
            return SourceState::Live;
        }
        // A lost device may call back in a tight loop; closing the stream ends its thread.
        self.stream = None;
        SourceState::Ended
    }

    fn is_microphone(&self) -> bool {
        true
    }
}

/// A loudspeaker.
pub struct Loudspeaker {
    ring: Producer<f32>,
    elastic: ElasticResampler,
    target: usize,
    rate: u32,
    output: Vec<f32>,
    lost: Lost,
    told: bool,
    stream: Option<cpal::Stream>,
}

impl std::fmt::Debug for Loudspeaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loudspeaker({} Hz)", self.rate)
    }
}

impl Loudspeaker {
    /// Opens the default loudspeaker, or one by its name.
    pub fn open(name: Option<&str>) -> Result<Self, MediaError> {
        let device = find(Direction::Out, name)?;
        let failed = |source| MediaError::Open {
            kind: "loudspeaker",
            name: device.to_string(),
            source,
        };
        let supported = device.default_output_config().map_err(failed)?;
        let (ring, consumer) = RingBuffer::new(DEVICE_RING_SAMPLES);
        let lost = Lost::default();
        let config = config_of(&supported);
        let format = supported.sample_format();
        let target = target_of(config.sample_rate);
        let stream = match format {
            SampleFormat::F32 => playback::<f32>(&device, config, consumer, target, &lost),
            SampleFormat::I16 => playback::<i16>(&device, config, consumer, target, &lost),
            SampleFormat::U16 => playback::<u16>(&device, config, consumer, target, &lost),
            SampleFormat::I32 => playback::<i32>(&device, config, consumer, target, &lost),
            SampleFormat::U8 => playback::<u8>(&device, config, consumer, target, &lost),
            _ => {
                return Err(MediaError::Format {
                    name: device.to_string(),
                    format: format.to_string(),
                });
            }
        }
        .map_err(failed)?;
        stream.play().map_err(failed)?;
        let rate = config.sample_rate;
        let elastic = ElasticResampler::to_device(rate, TICK_SAMPLES)?;
        let output = vec![0.0; elastic.gives_at_most()];
        Ok(Self {
            ring,
            elastic,
            target,
            rate,
            output,
            lost,
            told: false,
            stream: Some(stream),
        })
    }
}

impl Sink for Loudspeaker {
    fn write(&mut self, frame: &[f32]) -> Result<(), MediaError> {
        if self.lost.is_lost() && !self.told {
            self.told = true;
            self.stream = None;
            return Err(MediaError::Lost { kind: "loudspeaker" });
        }
        let filled = DEVICE_RING_SAMPLES - self.ring.slots();
        if filled > 6 * self.target {
            // The device stands still or is far behind: what is waiting is already too late.
            return Ok(());
        }
        self.elastic
            .steer((filled as f64 - self.target as f64) / f64::from(self.rate));
        let written = self.elastic.process(frame, &mut self.output)?;
        for sample in self.output.iter().take(written) {
            if self.ring.push(*sample).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn is_loudspeaker(&self) -> bool {
        true
    }
}

/// The device's own rate and channels, with a callback each 10 ms where the device promises it.
fn config_of(supported: &cpal::SupportedStreamConfig) -> StreamConfig {
    let mut config = supported.config();
    let wanted = config.sample_rate / 100;
    if let SupportedBufferSize::Range { min, max } = supported.buffer_size()
        && (*min..=*max).contains(&wanted)
    {
        config.buffer_size = BufferSize::Fixed(wanted);
    }
    config
}

fn target_of(rate: u32) -> usize {
    (DEVICE_TARGET.as_millis() as usize * rate as usize) / 1_000
}

fn capture<T>(
    device: &cpal::Device,
    config: StreamConfig,
    mut ring: Producer<f32>,
    lost: &Lost,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + Send + 'static,
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels.max(1));
    let health = Arc::clone(lost);
    let on_data = move |data: &[T], _: &cpal::InputCallbackInfo| {
        health.works();
        for frame in data.chunks_exact(channels) {
            let sum: f32 = frame.iter().map(|sample| f32::from_sample(*sample)).sum();
            if ring.push(sum / channels as f32).is_err() {
                return;
            }
        }
    };
    device.build_input_stream(config, on_data, on_error(lost), None)
}

fn playback<T>(
    device: &cpal::Device,
    config: StreamConfig,
    mut ring: Consumer<f32>,
    target: usize,
    lost: &Lost,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + FromSample<f32> + Send + 'static,
{
    let channels = usize::from(config.channels.max(1));
    let mut running = false;
    let health = Arc::clone(lost);
    let on_data = move |data: &mut [T], _: &cpal::OutputCallbackInfo| {
        health.works();
        // After it ran dry the ring fills up to its target again, else every callback would crackle.
        running = if running {
            ring.slots() > 0
        } else {
            ring.slots() >= target
        };
        for frame in data.chunks_mut(channels) {
            let sample = if running { ring.pop().unwrap_or(0.0) } else { 0.0 };
            frame.fill(T::from_sample(sample));
        }
    };
    device.build_output_stream(config, on_data, on_error(lost), None)
}

fn on_error(lost: &Lost) -> impl FnMut(cpal::Error) + Send + 'static {
    let lost = Arc::clone(lost);
    move |error| lost.failed(&error)
}
