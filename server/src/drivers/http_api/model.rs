//! The API's JSON, apart from the focus's own types so that neither binds the other.

use crate::focus::api::{MeetingView, ParticipantStatus, ParticipantView, RegistrationView};
use crate::store::EventRow;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A meeting.
#[derive(Debug, Serialize, ToSchema)]
pub struct Meeting {
    /// Its name, the user part of its SIP URI.
    pub name: String,
    /// The SIP URI to call.
    pub uri: String,
    /// What it is about.
    pub subject: Option<String>,
    /// People in it now.
    pub participants: u32,
    /// Seconds since it was made.
    pub age_seconds: u64,
}

/// All meetings.
#[derive(Debug, Serialize, ToSchema)]
pub struct Meetings {
    /// Sorted by name.
    pub meetings: Vec<Meeting>,
}

/// Wishes for a new meeting; an empty object is enough.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewMeeting {
    /// The name; without one the server makes a readable one.
    pub name: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
}

/// A meeting just made.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedMeeting {
    /// The meeting.
    #[serde(flatten)]
    pub meeting: Meeting,
    /// The creator's token: ends the meeting. It is shown only here.
    pub token: String,
}

/// Live figures of a participant, at most about a second old.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Statistics {
    /// RTP packets that came from the participant.
    pub received_packets: u64,
    /// RTP packets sent to it.
    pub sent_packets: u64,
    /// Packets of the participant that were lost on the way to us.
    pub lost_packets: u64,
    /// The same in percent of the expected ones.
    pub loss_percent: f64,
    /// Frames that came after their time, and were not heard.
    pub late_frames: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// Delay that our jitter buffer adds now, in milliseconds.
    pub delay_ms: f64,
    /// Round-trip time in milliseconds, once RTCP has told it.
    pub rtt_ms: Option<f64>,
    /// Share of our packets that the participant lost in its last report, in percent.
    pub remote_loss_percent: Option<f64>,
    /// Rating of what comes from the participant by the E-model, 0 to 93.2 (ITU-T G.107).
    pub r_factor: f64,
    /// The same as the opinion that people would have of the conversation, 1 to 4.5.
    pub mos: f64,
    /// Share of missing packets while they go missing in bursts, in percent (RFC 3611 §4.7.2).
    pub burst_loss_percent: f64,
    /// How many such bursts there were.
    pub bursts: u64,
    /// The participant's own opinion of what it hears, where it reports one (RFC 3611 §4.7.5).
    pub remote_mos: Option<f64>,
    /// Level of the voice in dBov: 0 is the loudest, −127 silence.
    pub level_dbov: f64,
    /// Codec that last came from the participant.
    pub receive_codec: Option<&'static str>,
}

/// A participant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Participant {
    /// Names the participant in other requests.
    pub id: u32,
    /// Display name, distinct within the meeting.
    pub name: String,
    /// SIP URI.
    pub uri: String,
    /// Account, where one was proved.
    pub account: Option<String>,
    /// The phone.
    pub user_agent: Option<String>,
    /// `joining`, `connected`, `on-hold`.
    pub status: &'static str,
    /// Muted by the server.
    pub muted: bool,
    /// Is the active speaker.
    pub active_speaker: bool,
    /// Is talking now.
    pub talking: bool,
    /// Made the meeting.
    pub creator: bool,
    /// Seconds since the answer.
    pub age_seconds: u64,
    /// Codec that we send.
    pub codec: Option<String>,
    /// SRTP suite by which its sound is protected; absent where it is in clear.
    pub srtp: Option<String>,
    /// Live figures; absent before the first second.
    pub statistics: Option<Statistics>,
}

/// All participants of a meeting.
#[derive(Debug, Serialize, ToSchema)]
pub struct Participants {
    /// In the order of joining.
    pub participants: Vec<Participant>,
}

/// Whether to mute.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mute {
    /// `true` mutes.
    pub muted: bool,
}

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct EventParameters {
    /// Only events with a higher id.
    pub since: Option<i64>,
    /// At most so many, 1000 at the most; 100 without it.
    pub limit: Option<u32>,
    /// Only this meeting.
    pub meeting: Option<String>,
}

/// An event of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// Grows by time.
    pub id: i64,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// `meeting-created`, `meeting-ended`, `person-joined`, `person-left`.
    pub kind: String,
    /// The meeting's name.
    pub meeting: String,
    /// The person's display name.
    pub person: Option<String>,
    /// Further facts.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    /// Oldest first.
    pub events: Vec<Event>,
    /// Give this as `since` to go on.
    pub next: i64,
}

/// A registered phone.
#[derive(Debug, Serialize, ToSchema)]
pub struct Registration {
    /// Address-of-record.
    pub aor: String,
    /// Contact URI.
    pub contact: String,
    /// Seconds left.
    pub expires_seconds: u64,
}

/// All registrations.
#[derive(Debug, Serialize, ToSchema)]
pub struct Registrations {
    /// Sorted by address.
    pub registrations: Vec<Registration>,
}

/// What runs here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    /// `meet-server`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Version of this API.
    pub api: &'static str,
}

/// How it goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok` or `degraded`.
    pub status: &'static str,
    /// The signalling task answers.
    pub signalling: bool,
    /// The database answers and can write.
    pub store: bool,
}

impl From<MeetingView> for Meeting {
    fn from(view: MeetingView) -> Self {
        Self {
            name: view.name,
            uri: view.uri,
            subject: view.subject,
            participants: view.participants,
            age_seconds: view.age.as_secs(),
        }
    }
}

impl From<RegistrationView> for Registration {
    fn from(view: RegistrationView) -> Self {
        Self {
            aor: view.aor,
            contact: view.contact,
            expires_seconds: view.expires.as_secs(),
        }
    }
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        let at = jiff::Timestamp::from_millisecond(row.at_ms)
            .map(|t| t.to_string())
            .unwrap_or_default();
        Self {
            id: row.id,
            at,
            kind: row.kind,
            meeting: row.meeting,
            person: row.person,
            detail: row.detail,
        }
    }
}

impl From<ParticipantView> for Participant {
    fn from(view: ParticipantView) -> Self {
        let status = match view.status {
            ParticipantStatus::Joining => "joining",
            ParticipantStatus::Connected => "connected",
            ParticipantStatus::OnHold => "on-hold",
        };
        Self {
            id: view.leg.0,
            name: view.display,
            uri: view.uri,
            account: view.account,
            user_agent: view.user_agent,
            status,
            muted: view.muted,
            active_speaker: view.speaking,
            talking: view.stats.as_ref().is_some_and(|stats| stats.talking),
            creator: view.creator,
            age_seconds: view.age.as_secs(),
            codec: view.codec.map(str::to_owned),
            srtp: view.srtp.map(str::to_owned),
            statistics: view.stats.as_ref().map(Statistics::from),
        }
    }
}

impl From<&mixer::LegStats> for Statistics {
    fn from(stats: &mixer::LegStats) -> Self {
        let milliseconds = |time: std::time::Duration| rounded(time.as_secs_f64() * 1000.0);
        let stream = &stats.stream;
        let lost = u64::try_from(stream.lost).unwrap_or(0);
        let bursts = stats.jitter_buffer.bursts.stats();
        let percent = if stream.expected == 0 {
            0.0
        } else {
            lost as f64 * 100.0 / stream.expected as f64
        };
        Self {
            received_packets: stream.received_packets,
            sent_packets: stream.sent_packets,
            lost_packets: lost,
            loss_percent: rounded(percent),
            late_frames: stats.jitter_buffer.late,
            jitter_ms: milliseconds(stream.jitter),
            delay_ms: milliseconds(stats.delay()),
            rtt_ms: stream.rtt.map(milliseconds),
            remote_loss_percent: stream
                .remote_fraction_lost
                .map(|share| rounded(f64::from(share) * 100.0)),
            r_factor: rounded(f64::from(stats.quality.r_factor)),
            mos: rounded(f64::from(stats.quality.mos_cq)),
            burst_loss_percent: rounded(f64::from(bursts.burst_density) * 100.0),
            bursts: bursts.bursts,
            remote_mos: stream
                .remote_quality
                .and_then(|quality| quality.mos_cq.or(quality.mos_lq))
                .map(|tenths| f64::from(tenths) / 10.0),
            level_dbov: rounded(f64::from(stats.level_dbov)),
            receive_codec: stats.receive_codec.map(codec_name),
        }
    }
}

/// The encoding name of RFC 3551 and RFC 7587.
fn codec_name(kind: rtp_media::codec::CodecKind) -> &'static str {
    use rtp_media::codec::CodecKind as K;
    match kind {
        K::Opus => "opus",
        K::Pcmu => "PCMU",
        K::Pcma => "PCMA",
        K::G722 => "G722",
    }
}

/// Two decimals are enough for people.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
