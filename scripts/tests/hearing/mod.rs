//! Who hears whom: shared by the tests with foreign phones.

use std::path::Path;
use std::time::Duration;

use workshop::baresip::{Baresip, Options};
use workshop::probe::Probe;
use workshop::process::wait_for;
use workshop::tone::Recording;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// A tone that is there has at least this amplitude (loudness normalisation and several talkers considered) …
const HEARD: f32 = 0.02;
/// … and one that is not there at most this.
const NOT_HEARD: f32 = 0.004;

/// A baresip that speaks Opus and sends `tone` hertz.
pub fn opus(folder: &Path, user: &str, tone: u32) -> Baresip {
    Baresip::start(folder, &Options::new(user, "opus/48000/2", tone)).unwrap()
}

/// The media half of a phone in PCMU.
#[allow(dead_code, reason = "not every test with foreign phones has one")]
pub fn probe(tone: u32) -> Probe {
    Probe::start(std::net::Ipv4Addr::LOCALHOST.into(), tone as f32).unwrap()
}

/// Asserts that `recording` holds exactly the tones `present` of all `tones`.
fn assert_hears(who: &str, recording: &Recording, tones: &[u32], present: &[u32]) {
    let amplitudes: Vec<(u32, f32)> = tones
        .iter()
        .map(|t| (*t, recording.amplitude(*t as f32)))
        .collect();
    for (tone, amplitude) in &amplitudes {
        if present.contains(tone) {
            assert!(*amplitude > HEARD, "{who} should hear {tone} Hz: {amplitudes:?}");
        } else {
            assert!(
                *amplitude < NOT_HEARD,
                "{who} should not hear {tone} Hz: {amplitudes:?}"
            );
        }
    }
}

/// Waits until the last 1.5 s of a growing recording hold exactly the tones `present`; fails with what there is.
pub fn wait_hears(who: &str, tones: &[u32], present: &[u32], heard: impl Fn() -> Recording) {
    let right = |recording: &Recording| {
        recording.seconds() >= 1.5
            && tones.iter().all(|t| {
                let amplitude = recording.amplitude(*t as f32);
                if present.contains(t) {
                    amplitude > HEARD
                } else {
                    amplitude < NOT_HEARD
                }
            })
    };
    if wait_for(PATIENCE, || Some(heard().last(1.5)).filter(right)).is_none() {
        assert_hears(who, &heard().last(1.5), tones, present);
        panic!("{who}: only {} s were recorded", heard().seconds());
    }
}

/// Asserts that the stream to the phone had no gap but where the system threw datagrams away on their way.
#[allow(dead_code, reason = "not every test with foreign phones has a probe")]
pub fn assert_unbroken(phone: &Probe, what: &str) {
    let (gaps, dropped) = (phone.sequence_gaps(), phone.dropped_by_system());
    assert!(
        gaps <= dropped,
        "{what}: {gaps} gaps, {dropped} datagrams dropped"
    );
}
