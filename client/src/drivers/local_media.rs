//! What the program brings to an offer: the user's choice of codecs and protection, where it listens, what else it can do.
//!
//! Deliberately absent: what becomes of it, which is `sip_proto::sdp::offer_answer`'s.

use std::net::SocketAddr;

use sip_proto::sdp::offer_answer::{AudioFormat, LocalExtras, LocalMedia, SrtpPolicy};

use crate::cli::args::{CodecChoice, SrtpChoice};
use crate::cli::config::AudioSettings;

/// The audio of a call that listens at `address`.
pub(super) fn local_media(address: SocketAddr, audio: &AudioSettings) -> LocalMedia {
    let narrow = |codec: &CodecChoice| matches!(codec, CodecChoice::Pcmu | CodecChoice::Pcma);
    let mut media = LocalMedia::new(address.ip(), address.port());
    media.extras = LocalExtras {
        send_level: true,
        voip_metrics: true,
        // RFC 3389 §4: it goes with codecs that have no way of their own to describe silence.
        comfort_noise: audio.codecs.iter().any(narrow),
        ..LocalExtras::default()
    };
    media.formats = audio.codecs.iter().map(|codec| format_of(*codec)).collect();
    media.srtp = policy_of(audio.srtp);
    media
}

fn policy_of(choice: SrtpChoice) -> SrtpPolicy {
    match choice {
        SrtpChoice::Off => SrtpPolicy::Off,
        SrtpChoice::Optional => SrtpPolicy::Optional,
        SrtpChoice::Required => SrtpPolicy::Required,
    }
}

fn format_of(codec: CodecChoice) -> AudioFormat {
    match codec {
        CodecChoice::Opus => AudioFormat::opus(96, Some("useinbandfec=1".to_owned())),
        CodecChoice::G722 => AudioFormat::g722(),
        CodecChoice::Pcmu => AudioFormat::pcmu(),
        CodecChoice::Pcma => AudioFormat::pcma(),
    }
}

#[cfg(test)]
mod tests {
    use sip_proto::sdp::offer_answer::OfferAnswer;

    use super::*;
    use crate::cli::args::{MicSpec, SpeakerSpec};

    #[test]
    fn comfort_noise_is_offered_with_g711_only() {
        for (codecs, expected) in [
            (vec![CodecChoice::Opus, CodecChoice::Pcma], true),
            (vec![CodecChoice::Opus, CodecChoice::G722], false),
        ] {
            let audio = AudioSettings {
                mic: MicSpec::Silence,
                speaker: SpeakerSpec::None,
                record: None,
                codecs,
                srtp: SrtpChoice::Off,
                muted: false,
                aec: false,
                duration: None,
                headless: true,
                dtmf: None,
            };
            let media = local_media("192.0.2.1:4000".parse().unwrap(), &audio);
            let offer = OfferAnswer::new(1).create_offer(&media).unwrap().to_string();
            assert_eq!(offer.contains("a=rtpmap:13 CN/8000"), expected, "{offer}");
        }
    }
}
