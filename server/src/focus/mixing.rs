//! From what was agreed on (SDP's words) to what the mixer is told (its own words).
//!
//! Deliberately absent: choosing; the negotiation has chosen.

use mixer::{CodecSettings, Direction, LegConfig, LegExtras, LegKey, LegUpdateConfig};
use rand_chacha::ChaCha12Rng;
use rand_core::Rng;
use rtp_media::codec::CodecKind;
use rtp_media::codec::opus::toc::Bandwidth;
use rtp_media::session::SessionConfig;
use rtp_media::srtp::{KeyChange, MasterKey, Suite};
use rtp_media::units::{PayloadType, SampleRate};
use sip_proto::sdp::offer_answer::{AudioFormat, NegotiatedAudio, NegotiatedSrtp};
use sip_proto::sdp::{self, CryptoSuite, KeyMaterial};

use super::ids::LegId;
use super::settings::OpusSettings;

/// The lowest rate at which Opus speech stays pleasant; a peer that wishes less gets this.
const MIN_OPUS_BITRATE: u32 = 12_000;

/// What a new leg is built from. SSRC, CNAME and the rest of its randomness come from `rng`.
pub fn leg_config(
    id: LegId,
    audio: &NegotiatedAudio,
    opus: OpusSettings,
    rng: &mut ChaCha12Rng,
) -> LegConfig {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    // RFC 7022 §4.2: a short-term persistent CNAME tells nothing about the host.
    let cname = format!("{:016x}", rng.next_u64());
    let clock = SampleRate::new(audio.send.clock_rate).unwrap_or(SampleRate::HZ_8000);
    let LegUpdateConfig {
        send,
        receive,
        telephone_events,
        direction,
        remote_rtp,
        remote_rtcp,
        rtcp_mux,
        extras,
    } = leg_update(audio, opus);
    LegConfig {
        key: LegKey(id.0),
        session: SessionConfig::new(cname, clock),
        send,
        receive,
        telephone_events,
        direction,
        remote_rtp,
        remote_rtcp,
        rtcp_mux,
        extras,
        seed,
    }
}

/// What changes a leg in place.
pub fn leg_update(audio: &NegotiatedAudio, opus: OpusSettings) -> LegUpdateConfig {
    LegUpdateConfig {
        send: codec_settings(audio, opus),
        receive: audio
            .receive
            .iter()
            .filter_map(|format| Some((PayloadType::new(format.payload_type)?, kind(format)?)))
            .collect(),
        telephone_events: audio
            .receive_events
            .iter()
            .filter_map(|(payload_type, clock)| {
                Some((PayloadType::new(*payload_type)?, SampleRate::new(*clock)?))
            })
            .collect(),
        direction: direction(audio),
        remote_rtp: audio.remote_rtp,
        remote_rtcp: audio.remote_rtcp,
        rtcp_mux: audio.rtcp_mux,
        extras: LegExtras {
            audio_level: audio.extras.receive_level,
            mixer_levels: audio.extras.send_mixer_levels,
            voip_metrics: audio.extras.voip_metrics,
        },
    }
}

/// What an exchange makes of the keys. A direction whose key is the same keeps its context, and with it the rollover
/// counter and the replay window (RFC 4568 §7.1.4).
pub fn key_change(before: Option<&NegotiatedSrtp>, now: Option<&NegotiatedSrtp>) -> Option<KeyChange> {
    let Some(now) = now else {
        return before.map(|_| KeyChange::Clear);
    };
    let before = before.filter(|before| before.suite == now.suite);
    let key = |key: &KeyMaterial| MasterKey::new(suite(now.suite), key.as_bytes());
    let changed =
        |old: Option<&KeyMaterial>, new: &KeyMaterial| (old != Some(new)).then(|| key(new)).flatten();
    let send = changed(before.map(|before| &before.local), &now.local);
    let receive = changed(before.map(|before| &before.remote), &now.remote);
    (send.is_some() || receive.is_some()).then_some(KeyChange::Keys { send, receive })
}

fn suite(suite: CryptoSuite) -> Suite {
    match suite {
        CryptoSuite::AesCm128Sha1_80 => Suite::AesCm128Sha1_80,
        CryptoSuite::AesCm128Sha1_32 => Suite::AesCm128Sha1_32,
        CryptoSuite::AesCm256Sha1_80 => Suite::AesCm256Sha1_80,
        CryptoSuite::AesCm256Sha1_32 => Suite::AesCm256Sha1_32,
        CryptoSuite::AeadAes128Gcm => Suite::AeadAes128Gcm,
        CryptoSuite::AeadAes256Gcm => Suite::AeadAes256Gcm,
    }
}

/// The name of the codec that we send.
pub fn codec_name(audio: &NegotiatedAudio) -> Option<&'static str> {
    kind(&audio.send).map(CodecKind::encoding_name)
}

fn codec_settings(audio: &NegotiatedAudio, opus: OpusSettings) -> CodecSettings {
    let kind = kind(&audio.send).unwrap_or(CodecKind::Pcmu);
    let wishes = &audio.opus;
    let bound = wishes
        .maxaveragebitrate
        .into_iter()
        .chain(audio.remote_bandwidth.and_then(|bits| u32::try_from(bits).ok()))
        .min()
        .unwrap_or(u32::MAX);
    CodecSettings {
        ptime_ms: audio.ptime,
        bitrate: opus.bitrate.min(bound).max(MIN_OPUS_BITRATE),
        complexity: opus.complexity,
        cbr: wishes.cbr,
        dtx: wishes.usedtx,
        fec: wishes.useinbandfec,
        max_bandwidth: bandwidth(wishes.maxplaybackrate),
        comfort_noise: audio.extras.comfort_noise.and_then(PayloadType::new),
        ..CodecSettings::new(kind, PayloadType::from_low_bits(audio.send.payload_type))
    }
}

fn kind(format: &AudioFormat) -> Option<CodecKind> {
    CodecKind::from_rtpmap(&format.encoding, format.clock_rate)
}

/// RFC 7587 §6.1: the sampling rates of `maxplaybackrate` are those of Opus' bandwidths.
fn bandwidth(maxplaybackrate: Option<u32>) -> Bandwidth {
    match maxplaybackrate.unwrap_or(48_000) {
        0..=8_000 => Bandwidth::Narrowband,
        8_001..=12_000 => Bandwidth::Mediumband,
        12_001..=16_000 => Bandwidth::Wideband,
        16_001..=24_000 => Bandwidth::SuperWideband,
        _ => Bandwidth::Fullband,
    }
}

fn direction(audio: &NegotiatedAudio) -> Direction {
    if audio.disabled {
        return Direction::Inactive;
    }
    match audio.direction {
        sdp::Direction::SendRecv => Direction::SendRecv,
        sdp::Direction::SendOnly => Direction::SendOnly,
        sdp::Direction::RecvOnly => Direction::RecvOnly,
        sdp::Direction::Inactive => Direction::Inactive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(suite: CryptoSuite, local: u8, remote: u8) -> NegotiatedSrtp {
        let key = |fill| KeyMaterial::new(vec![fill; suite.material_len()]);
        NegotiatedSrtp {
            tag: 1,
            suite,
            local: key(local),
            remote: key(remote),
        }
    }

    #[test]
    fn every_suite_of_sdp_is_one_of_the_media() {
        for (of_sdp, of_media) in CryptoSuite::ALL.into_iter().zip(Suite::ALL) {
            assert_eq!(suite(of_sdp), of_media);
            assert_eq!(of_sdp.name(), of_media.name());
            assert_eq!(of_sdp.material_len(), of_media.material_len());
        }
    }

    #[test]
    fn only_keys_that_changed_are_given_on() {
        let (short, long) = (CryptoSuite::AesCm128Sha1_80, CryptoSuite::AeadAes256Gcm);
        let now = keys(short, 1, 2);
        let given = |before: &NegotiatedSrtp, now: &NegotiatedSrtp| match key_change(Some(before), Some(now))
        {
            Some(KeyChange::Keys { send, receive }) => (send.is_some(), receive.is_some()),
            None => (false, false),
            Some(KeyChange::Clear) => panic!("not clear"),
        };
        assert_eq!(given(&now, &now), (false, false));
        assert_eq!(given(&now, &keys(short, 1, 3)), (false, true));
        assert_eq!(given(&now, &keys(short, 3, 2)), (true, false));
        assert_eq!(given(&now, &keys(long, 1, 2)), (true, true));
        assert_eq!(key_change(Some(&now), None), Some(KeyChange::Clear));
        assert_eq!(key_change(None, None), None);
        assert!(matches!(
            key_change(None, Some(&now)),
            Some(KeyChange::Keys {
                send: Some(_),
                receive: Some(_)
            })
        ));
    }

    #[test]
    fn bandwidths_follow_the_playback_rate() {
        let table = [
            (None, Bandwidth::Fullband),
            (Some(48_000), Bandwidth::Fullband),
            (Some(24_000), Bandwidth::SuperWideband),
            (Some(16_000), Bandwidth::Wideband),
            (Some(12_000), Bandwidth::Mediumband),
            (Some(8_000), Bandwidth::Narrowband),
        ];
        for (rate, expected) in table {
            assert_eq!(bandwidth(rate), expected, "{rate:?}");
        }
    }
}
