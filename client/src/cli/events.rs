//! What `meet` tells scripts and people: one enum, printed as a JSON line or as a sentence.
//!
//! The names are a promise (see `client/README.md`). Deliberately absent: anything about how it is drawn in
//! the terminal interface, which reads the same events.

use std::io::Write;

use serde::Serialize;

/// An event, printed as `{"at": …, "event": NAME, …}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The registrar has this account's address.
    Registered {
        /// Address of record.
        aor: String,
        /// Where this program is reached directly.
        contact: String,
        /// Seconds that it holds.
        expires: u32,
    },
    /// The registration was given back.
    Unregistered {
        /// Address of record.
        aor: String,
    },
    /// An INVITE was sent.
    Calling {
        /// To whom.
        target: String,
    },
    /// The other side rings.
    Ringing {
        /// SIP status, 180 or 183 mostly.
        status: u16,
    },
    /// Somebody calls.
    Incoming {
        /// Who.
        from: String,
        /// Whether it is answered at once.
        answered: bool,
    },
    /// A meeting was made.
    Created {
        /// Its address.
        room: String,
        /// What ends it.
        token: Option<String>,
    },
    /// The call stands.
    Joined {
        /// The meeting's address, or the other party's.
        room: String,
        /// Whether the other end is a conference focus.
        focus: bool,
        /// Codec that is sent.
        codec: String,
        /// Suite by which the sound is protected.
        srtp: Option<String>,
        /// Our RTP address.
        local_rtp: String,
        /// Where the other side wants RTP.
        remote_rtp: Option<String>,
    },
    /// Who is in the meeting: from the conference roster alone.
    People {
        /// Version of the roster.
        version: u32,
        /// Everybody, this participant included.
        people: Vec<Person>,
    },
    /// The active speaker changed.
    Speaking {
        /// Display name; none when all are silent.
        name: Option<String>,
        /// The roster's address of that participant.
        uri: Option<String>,
    },
    /// The other side put the call on hold, or resumed it.
    Hold {
        /// Whether it is on hold.
        held: bool,
    },
    /// This side put the call on hold, or resumed it.
    Holding {
        /// Whether it holds.
        holding: bool,
    },
    /// Figures of the last second.
    Stats(StatsLine),
    /// The other side pressed a key.
    Digit {
        /// Which.
        digit: char,
        /// For how long.
        duration_ms: u32,
    },
    /// The file that others hear is over; silence follows.
    SourceEnded,
    /// This side left.
    Left {
        /// Why: `quit`, `duration` or `signal`.
        cause: &'static str,
    },
    /// The other side or the server ended the call.
    Ended {
        /// The Reason header's text, or what happened.
        reason: String,
        /// The Reason header's cause, where there was one.
        cause: Option<u16>,
    },
    /// A line of `meet list`.
    Meeting {
        /// What the API says about one meeting.
        #[serde(flatten)]
        meeting: serde_json::Map<String, serde_json::Value>,
    },
    /// `meet cancel` did it.
    Cancelled {
        /// The meeting.
        room: String,
    },
    /// A line of `meet devices`.
    Device {
        /// `microphone` or `loudspeaker`.
        kind: &'static str,
        /// What `--mic` or `--speaker` takes.
        name: String,
        /// What the system calls it.
        label: String,
        /// Whether it is the default.
        default: bool,
    },
    /// Something went wrong; the program ends with this exit code where `exit` is given.
    Error {
        /// What, and the way out.
        message: String,
        /// Exit code.
        exit: Option<u8>,
    },
}

/// A participant as the roster tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    /// Display name, made distinct by the server.
    pub name: String,
    /// Address in the roster.
    pub uri: String,
    /// RFC 4575 endpoint status, `connected` mostly.
    pub status: String,
    /// Whether the focus hears nothing from it.
    pub muted: bool,
    /// Whether it is the active speaker.
    pub speaking: bool,
    /// Whether it is this program.
    pub me: bool,
}

/// Media figures of one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StatsLine {
    /// Codec that is sent.
    pub codec: &'static str,
    /// RTP packets sent since the start.
    pub sent: u64,
    /// RTP packets received since the start.
    pub received: u64,
    /// Packets lost on the way here since the start.
    pub lost: i64,
    /// Loss on the way here in the last second, in percent.
    pub loss_percent: f32,
    /// Loss on the way there as the other side reports it, in percent.
    pub remote_loss_percent: Option<f32>,
    /// Jitter of arrival in milliseconds.
    pub jitter_ms: f32,
    /// Delay of the jitter buffer in milliseconds.
    pub delay_ms: f32,
    /// Round trip in milliseconds, once RTCP has told it.
    pub rtt_ms: Option<f32>,
    /// Level sent, in dBFS.
    pub level_out_db: f32,
    /// Level heard, in dBFS.
    pub level_in_db: f32,
    /// Ticks of the media clock that were missed.
    pub missed_ticks: u64,
}

/// Prints events to standard output.
#[derive(Debug)]
pub struct Printer {
    json: bool,
    color: bool,
}

impl Printer {
    /// JSON lines, or sentences (in colour only on a terminal and without `NO_COLOR`).
    pub fn new(json: bool) -> Self {
        use std::io::IsTerminal;
        let color = !json && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, color }
    }

    /// Whether it prints JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one event; a closed pipe is not an error of ours.
    pub fn print(&self, event: &Event) {
        let mut out = std::io::stdout().lock();
        let written = if self.json {
            writeln!(out, "{}", json_line(event, jiff::Timestamp::now()))
        } else {
            match (sentence(event), self.color) {
                (Some((mark, text)), true) => writeln!(out, "\x1b[{mark}m{text}\x1b[0m"),
                (Some((_, text)), false) => writeln!(out, "{text}"),
                (None, _) => Ok(()),
            }
        };
        let _ = written.and_then(|()| out.flush());
    }
}

/// The event as one JSON object without line breaks.
pub fn json_line(event: &Event, at: jiff::Timestamp) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        at: String,
        #[serde(flatten)]
        event: &'a Event,
    }
    let line = Line {
        at: format!("{at:.3}"),
        event,
    };
    serde_json::to_string(&line)
        .unwrap_or_else(|_| "{\"event\":\"error\",\"message\":\"unprintable\"}".to_owned())
}

/// The event for a person, with an ANSI colour; none for what only scripts want.
fn sentence(event: &Event) -> Option<(&'static str, String)> {
    let plain = "0";
    Some(match event {
        Event::Registered {
            aor,
            contact,
            expires,
        } => (
            "32",
            format!("registered {aor} for {expires} s, reached at {contact}"),
        ),
        Event::Unregistered { aor } => (plain, format!("unregistered {aor}")),
        Event::Calling { target } => (plain, format!("calling {target}")),
        Event::Ringing { status } => (plain, format!("ringing ({status})")),
        Event::Incoming { from, answered: true } => (plain, format!("call from {from}, answered")),
        Event::Incoming {
            from,
            answered: false,
        } => (plain, format!("call from {from}")),
        Event::Created { room, token } => match token {
            Some(token) => ("32", format!("meeting {room}\ntoken   {token}")),
            None => ("32", format!("meeting {room}")),
        },
        Event::Joined {
            room,
            codec,
            srtp: Some(_),
            ..
        } => ("32", format!("in {room} ({codec}, SRTP)")),
        Event::Joined { room, codec, .. } => ("32", format!("in {room} ({codec})")),
        Event::People { people, .. } => {
            let names: Vec<&str> = people.iter().map(|person| person.name.as_str()).collect();
            (plain, format!("people  {}", names.join(", ")))
        }
        Event::Speaking { name: Some(name), .. } => ("36", format!("speaking {name}")),
        Event::Speaking { name: None, .. } => (plain, "silence".to_owned()),
        Event::Hold { held: true } => ("33", "on hold".to_owned()),
        Event::Hold { held: false } => (plain, "resumed".to_owned()),
        Event::Holding { holding: true } => ("33", "you hold the call".to_owned()),
        Event::Holding { holding: false } => (plain, "you resumed the call".to_owned()),
        Event::Stats(_) => return None,
        Event::Digit { digit, duration_ms } => (plain, format!("digit {digit} ({duration_ms} ms)")),
        Event::SourceEnded => (plain, "the sound file is over".to_owned()),
        Event::Left { cause } => (plain, format!("left ({cause})")),
        Event::Ended { reason, .. } => ("33", format!("ended: {reason}")),
        Event::Meeting { meeting } => (plain, meeting_line(meeting)),
        Event::Cancelled { room } => (plain, format!("ended {room}")),
        Event::Device {
            kind,
            name,
            label,
            default,
        } => (
            plain,
            format!(
                "{kind:<12} {name:<32} {label}{}",
                if *default { "  (default)" } else { "" }
            ),
        ),
        Event::Error { message, .. } => ("31", format!("error: {message}")),
    })
}

fn meeting_line(meeting: &serde_json::Map<String, serde_json::Value>) -> String {
    let text = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| meeting.get(*key))
            .map_or(String::new(), |value| match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(list) => list.len().to_string(),
                other => other.to_string(),
            })
    };
    format!(
        "{:<24} {:>4} people  {}",
        text(&["name", "room", "id"]),
        text(&["participants", "people", "count"]),
        text(&["uri"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_carry_the_documented_names() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let line = json_line(
            &Event::Calling {
                target: "sip:a@b".into(),
            },
            at,
        );
        assert_eq!(
            line,
            r#"{"at":"1970-01-01T00:00:00.000Z","event":"calling","target":"sip:a@b"}"#
        );
        let line = json_line(
            &Event::Stats(StatsLine {
                codec: "opus",
                ..StatsLine::default()
            }),
            at,
        );
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], "stats");
        assert_eq!(value["codec"], "opus");
        assert_eq!(value["rtt_ms"], serde_json::Value::Null);
    }

    #[test]
    fn a_name_with_line_breaks_stays_one_line() {
        let event = Event::Speaking {
            name: Some("a\nb".into()),
            uri: None,
        };
        let line = json_line(&event, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(line.lines().count(), 1);
    }
}
