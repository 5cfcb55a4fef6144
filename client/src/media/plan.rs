//! What the media thread is told to do: codecs, payload types, addresses, directions.
//!
//! It is made from what offer and answer agreed on. Deliberately absent: SDP text, which ends here.

use std::net::SocketAddr;

use rtp_media::codec::CodecKind;
use rtp_media::codec::opus::OpusConfig;
use rtp_media::codec::opus::toc::Bandwidth;
use rtp_media::latch::PayloadTypes;
use rtp_media::srtp::{KeyChange, MasterKey, Suite};
use rtp_media::units::{PayloadType, SampleRate};
use sip_proto::sdp::Direction;
use sip_proto::sdp::offer_answer::{AudioFormat, NegotiatedAudio, NegotiatedSrtp};

use super::MediaError;

/// One stream pair as it is to run from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamPlan {
    /// Codec that is sent.
    pub codec: CodecKind,
    /// Its payload type at the peer.
    pub payload_type: PayloadType,
    /// Milliseconds of sound in a packet that is sent.
    pub ptime_ms: u8,
    /// Settings of the encoder, where it is Opus.
    pub opus: OpusConfig,
    /// Whether the peer agreed to discontinuous transmission.
    pub dtx: bool,
    /// What may arrive.
    pub receive: Vec<(PayloadType, CodecKind)>,
    /// How digits are sent.
    pub send_events: Option<(PayloadType, SampleRate)>,
    /// How digits may arrive.
    pub receive_events: Vec<(PayloadType, SampleRate)>,
    /// How the peer describes its silence (RFC 3389), where that was agreed on.
    pub comfort_noise: Option<PayloadType>,
    /// Where RTP goes until a packet came.
    pub remote_rtp: Option<SocketAddr>,
    /// Where RTCP goes until a packet came.
    pub remote_rtcp: Option<SocketAddr>,
    /// RTCP on the RTP port.
    pub rtcp_mux: bool,
    /// Identifier of the element that tells the level of what is sent (RFC 6464).
    pub level: Option<u8>,
    /// The peer wants VoIP metrics (RFC 3611).
    pub voip_metrics: bool,
    /// Whether sound is sent.
    pub sending: bool,
    /// Whether sound is expected.
    pub receiving: bool,
    /// SRTP, where it was agreed on.
    pub srtp: Option<StreamKeys>,
}

/// Keys of a protected stream pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamKeys {
    /// For what is sent.
    pub send: MasterKey,
    /// For what is received.
    pub receive: MasterKey,
}

impl StreamKeys {
    fn from_negotiated(srtp: &NegotiatedSrtp) -> Option<Self> {
        let suite = Suite::from_name(srtp.suite.name())?;
        Some(Self {
            send: MasterKey::new(suite, srtp.local.as_bytes())?,
            receive: MasterKey::new(suite, srtp.remote.as_bytes())?,
        })
    }

    /// What going from `before` to `now` makes of the contexts: one whose key stays goes on, with its counters
    /// (RFC 4568 §7.1.4).
    pub fn change(before: Option<&Self>, now: Option<&Self>) -> Option<KeyChange> {
        let Some(now) = now else {
            return before.map(|_| KeyChange::Clear);
        };
        let new = |old: Option<&MasterKey>, key: &MasterKey| (old != Some(key)).then(|| key.clone());
        let send = new(before.map(|before| &before.send), &now.send);
        let receive = new(before.map(|before| &before.receive), &now.receive);
        (send.is_some() || receive.is_some()).then_some(KeyChange::Keys { send, receive })
    }
}

impl StreamPlan {
    /// The plan that an exchange of offer and answer means.
    pub fn from_negotiated(audio: &NegotiatedAudio) -> Result<Self, MediaError> {
        let unknown = || MediaError::Codec {
            name: audio.send.encoding.clone(),
        };
        let codec = kind_of(&audio.send).ok_or_else(unknown)?;
        let payload_type = PayloadType::new(audio.send.payload_type).ok_or_else(unknown)?;
        let receive: Vec<_> = audio
            .receive
            .iter()
            .filter_map(|format| Some((PayloadType::new(format.payload_type)?, kind_of(format)?)))
            .collect();
        let event =
            |(number, clock): &(u8, u32)| Some((PayloadType::new(*number)?, SampleRate::new(*clock)?));
        let clock = codec.rtp_clock_rate().hertz();
        // One clock for sound and digits, else the timestamps of one SSRC would disagree.
        let send_events = audio
            .telephone_events
            .iter()
            .find(|(_, rate)| *rate == clock)
            .or_else(|| audio.telephone_events.first());
        let srtp = match &audio.srtp {
            None => None,
            // A suite of ours that the media does not know would be a fault; clear media must not come of it.
            Some(srtp) => Some(
                StreamKeys::from_negotiated(srtp).ok_or_else(|| MediaError::Codec {
                    name: srtp.suite.name().to_owned(),
                })?,
            ),
        };
        let enabled = !audio.disabled;
        let mut opus = OpusConfig {
            dtx: audio.opus.usedtx,
            cbr: audio.opus.cbr,
            ..OpusConfig::default()
        };
        opus.fec = audio.opus.useinbandfec;
        opus.max_bandwidth = match audio.opus.maxplaybackrate.unwrap_or(48_000) {
            0..=8_000 => Bandwidth::Narrowband,
            8_001..=12_000 => Bandwidth::Mediumband,
            12_001..=16_000 => Bandwidth::Wideband,
            16_001..=24_000 => Bandwidth::SuperWideband,
            _ => Bandwidth::Fullband,
        };
        if let Some(most) = audio.opus.maxaveragebitrate {
            opus.bitrate = opus.bitrate.min(most.max(6_000));
        }
        Ok(Self {
            codec,
            payload_type,
            ptime_ms: usable_ptime(audio.ptime),
            dtx: audio.opus.usedtx && codec == CodecKind::Opus,
            opus,
            receive,
            send_events: send_events.and_then(event),
            receive_events: audio.receive_events.iter().filter_map(event).collect(),
            comfort_noise: audio.extras.comfort_noise.and_then(PayloadType::new),
            remote_rtp: audio.remote_rtp,
            remote_rtcp: audio.remote_rtcp,
            rtcp_mux: audio.rtcp_mux,
            level: audio.extras.send_level,
            voip_metrics: audio.extras.voip_metrics,
            sending: enabled && matches!(audio.direction, Direction::SendRecv | Direction::SendOnly),
            receiving: enabled && matches!(audio.direction, Direction::SendRecv | Direction::RecvOnly),
            srtp,
        })
    }

    /// Every payload type that may arrive.
    pub fn payload_types(&self) -> PayloadTypes {
        let sound = self.receive.iter().map(|(payload_type, _)| *payload_type);
        sound
            .chain(self.receive_events.iter().map(|(payload_type, _)| *payload_type))
            .chain(self.comfort_noise)
            .collect()
    }
}

/// The packet lengths that every codec here can do.
fn usable_ptime(wanted: u8) -> u8 {
    match wanted {
        0..=14 => 10,
        15..=29 => 20,
        30..=49 => 40,
        _ => 60,
    }
}

fn kind_of(format: &AudioFormat) -> Option<CodecKind> {
    CodecKind::from_rtpmap(&format.encoding, format.clock_rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_lengths_are_those_that_opus_knows() {
        for wanted in 0..=255 {
            assert!([10, 20, 40, 60].contains(&usable_ptime(wanted)));
        }
        assert_eq!(usable_ptime(20), 20);
        assert_eq!(usable_ptime(30), 40);
    }
}
