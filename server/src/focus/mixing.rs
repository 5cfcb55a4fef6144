//! From what was agreed on to what the mixer is told.

use rand_chacha::ChaCha12Rng;
use sip_proto::sdp::offer_answer::NegotiatedAudio;

use super::ids::LegId;
use super::mixer_standin::{LegConfig, LegKey, LegUpdate};
use super::settings::OpusSettings;

/// A new leg.
pub fn leg_config(
    id: LegId,
    _audio: &NegotiatedAudio,
    _opus: OpusSettings,
    _rng: &mut ChaCha12Rng,
) -> LegConfig {
    LegConfig { key: LegKey(id.0) }
}

/// A changed leg.
pub fn leg_update(_audio: &NegotiatedAudio, _opus: OpusSettings) -> LegUpdate {
    LegUpdate {}
}

/// The name of the codec that we send.
pub fn codec_name(audio: &NegotiatedAudio) -> Option<&'static str> {
    match audio.send.encoding.to_ascii_uppercase().as_str() {
        "OPUS" => Some("opus"),
        "G722" => Some("G722"),
        "PCMU" => Some("PCMU"),
        "PCMA" => Some("PCMA"),
        _ => None,
    }
}
