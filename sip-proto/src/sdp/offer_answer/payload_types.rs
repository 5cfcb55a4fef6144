//! The payload types of the audio line over the life of a session.
//!
//! RFC 3264 §8.3.2: within a session a number that was bound to a codec is never bound to another one. So the
//! numbers of our descriptions and of the peer's offers are remembered, also of codecs that were not agreed on; a
//! later offer of ours reuses them.

use super::local::AudioFormat;
use crate::sdp::model::MediaDescription;

/// Codec and number of everything bound so far, the latest last.
#[derive(Debug, Clone, Default)]
pub(super) struct PayloadTypes {
    used: Vec<AudioFormat>,
}

impl PayloadTypes {
    /// The formats with the numbers to offer them under; `None` when there is no number left.
    pub(super) fn assign(&self, formats: &[AudioFormat]) -> Option<Vec<AudioFormat>> {
        let mut assigned: Vec<AudioFormat> = Vec::with_capacity(formats.len());
        for format in formats {
            if assigned.iter().any(|earlier| earlier.same_codec(format)) {
                continue;
            }
            let payload_type = self.number(format, &assigned)?;
            assigned.push(AudioFormat {
                payload_type,
                ..format.clone()
            });
        }
        Some(assigned)
    }

    /// telephone-event for the clocks of `formats` and always 8000 Hz, as payload type and clock.
    pub(super) fn assign_events(&self, formats: &[AudioFormat]) -> Option<Vec<(u8, u32)>> {
        let mut taken = formats.to_vec();
        let mut events = Vec::new();
        let wide = formats.iter().any(|format| format.clock_rate == 48_000);
        for (clock, wish) in [(48_000, 102), (8_000, 101)] {
            if clock == 8_000 || wide {
                let event = event(wish, clock);
                let payload_type = self.number(&event, &taken)?;
                taken.push(AudioFormat {
                    payload_type,
                    ..event
                });
                events.push((payload_type, clock));
            }
        }
        Some(events)
    }

    /// Notes what the peer's offer binds.
    pub(super) fn remember_offer(&mut self, line: &MediaDescription) {
        let maps = line
            .payload_types()
            .into_iter()
            .filter_map(|number| line.rtpmap(number));
        let formats = maps.map(|map| AudioFormat {
            encoding: map.encoding,
            clock_rate: map.clock_rate,
            channels: map.channels,
            payload_type: map.payload_type,
            fmtp: None,
        });
        self.remember(&formats.collect::<Vec<_>>(), &[]);
    }

    /// Notes what a description of ours binds. The list is bounded: a number has one codec, and only a peer
    /// that breaks RFC 3264 §8.3.2 gives it another.
    pub(super) fn remember(&mut self, formats: &[AudioFormat], events: &[(u8, u32)]) {
        let events: Vec<AudioFormat> = events.iter().map(|(pt, clock)| event(*pt, *clock)).collect();
        for format in formats.iter().chain(&events) {
            self.used
                .retain(|known| known.payload_type != format.payload_type);
            self.used.push(format.clone());
        }
    }

    fn number(&self, format: &AudioFormat, taken: &[AudioFormat]) -> Option<u8> {
        if let Some(known) = self.used.iter().rev().find(|known| known.same_codec(format)) {
            return Some(known.payload_type);
        }
        let free = |number: &u8| {
            let clashes = |other: &AudioFormat| other.payload_type == *number;
            !self.used.iter().any(clashes) && !taken.iter().any(clashes)
        };
        // RFC 3551 §3: 96 to 127 are dynamic; where they are used up, the unassigned 35 to 63 follow.
        std::iter::once(format.payload_type)
            .chain(96..=127)
            .chain(35..=63)
            .find(free)
    }
}

fn event(payload_type: u8, clock_rate: u32) -> AudioFormat {
    AudioFormat {
        encoding: "telephone-event".to_owned(),
        clock_rate,
        channels: 1,
        payload_type,
        fmtp: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_bound() {
        let mut types = PayloadTypes::default();
        // The peer's offer had Opus as 111 and telephone-event as 96; we answered with those.
        types.remember(&[AudioFormat::opus(111, None)], &[(96, 8_000)]);
        let formats = types
            .assign(&[AudioFormat::opus(96, None), AudioFormat::pcmu()])
            .unwrap();
        assert_eq!(
            formats.iter().map(|one| one.payload_type).collect::<Vec<_>>(),
            [111, 0]
        );
        assert_eq!(
            types.assign_events(&formats).unwrap(),
            [(102, 48_000), (96, 8_000)]
        );
    }

    #[test]
    fn clashes_and_repeats_are_resolved() {
        let types = PayloadTypes::default();
        let speex = AudioFormat {
            encoding: "speex".to_owned(),
            ..AudioFormat::opus(96, None)
        };
        let formats = types
            .assign(&[
                AudioFormat::opus(96, None),
                speex,
                AudioFormat::pcmu(),
                AudioFormat::pcmu(),
            ])
            .unwrap();
        assert_eq!(
            formats.iter().map(|one| one.payload_type).collect::<Vec<_>>(),
            [96, 97, 0]
        );
        assert_eq!(
            types.assign_events(&[AudioFormat::pcmu()]).unwrap(),
            [(101, 8_000)]
        );
    }

    #[test]
    fn running_out_of_numbers_is_an_error() {
        let mut types = PayloadTypes::default();
        for number in (96..=127).chain(35..=63) {
            let codec = AudioFormat {
                encoding: format!("x{number}"),
                ..AudioFormat::opus(number, None)
            };
            types.remember(&[codec], &[]);
        }
        assert_eq!(types.assign(&[AudioFormat::opus(96, None)]), None);
    }
}
