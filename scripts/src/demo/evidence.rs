//! The demo's evidence: who was heard by whom, the figures of each leg, what tshark says of the capture.

use std::fmt::Write;
use std::path::Path;

use super::cast::Participant;
use crate::speech::{self, HEARD};
use crate::tshark::{self, Stream, TsharkError};

/// RTP ports that tshark is told to look at: all that the system hands out.
const PORTS: (u16, u16) = (10_000, 65_535);

/// One cell of the table of who heard whom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Correlation of what was heard with the sentence.
    pub score: f32,
    /// Whether it should have been heard.
    pub expected: bool,
}

impl Cell {
    /// Heard and expected, or neither.
    pub fn right(self) -> bool {
        (self.score >= HEARD) == self.expected
    }
}

/// What the capture holds.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    /// SIP messages.
    pub sip: usize,
    /// RTP packets.
    pub rtp: usize,
    /// Malformed packets.
    pub malformed: usize,
    /// RTP streams.
    pub streams: Vec<Stream>,
}

impl Capture {
    /// Lets tshark read `file`.
    pub fn read(file: &Path) -> Result<Self, TsharkError> {
        Ok(Self {
            sip: tshark::count(file, PORTS, "sip")?,
            rtp: tshark::count(file, PORTS, "rtp")?,
            malformed: tshark::count(file, PORTS, "_ws.malformed")?,
            streams: tshark::streams(file, PORTS)?,
        })
    }

    /// Packets that tshark misses in all streams together.
    pub fn lost(&self) -> i64 {
        self.streams.iter().map(|s| s.lost.max(0)).sum()
    }

    /// Whether it shows a sound meeting of `legs` legs: all decoded, nothing lost.
    pub fn sound(&self, legs: usize) -> bool {
        self.sip > 0 && self.malformed == 0 && self.lost() == 0 && self.streams.len() >= 2 * legs
    }
}

/// All of it.
pub struct Evidence {
    names: Vec<&'static str>,
    /// A row a listener, a column a speaker.
    pub table: Vec<Vec<Cell>>,
    figures: Vec<String>,
    /// The capture.
    pub capture: Capture,
}

impl Evidence {
    /// Compares what everybody heard with what everybody said.
    pub fn gather(
        cast: &[Participant],
        server: &[serde_json::Value],
        capture: &Path,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut table = Vec::new();
        for listener in cast {
            let heard = listener.heard()?;
            let row = cast.iter().map(|speaker| Cell {
                score: speech::best_match(&speaker.sentence, &heard).0,
                expected: speaker.person.room == listener.person.room
                    && speaker.person.name != listener.person.name,
            });
            table.push(row.collect());
        }
        Ok(Self {
            names: cast.iter().map(|p| p.person.name).collect(),
            table,
            figures: cast.iter().map(|p| figures(p, server)).collect(),
            capture: Capture::read(capture)?,
        })
    }

    /// Whether everything is as it must be.
    pub fn holds(&self) -> bool {
        self.table.iter().flatten().all(|cell| cell.right()) && self.capture.sound(self.names.len())
    }

    /// The report, for a person.
    pub fn report(&self) -> String {
        let mut text =
            String::from("Who heard whom (correlation with the sentence; * heard, ! not as it must be)\n\n");
        let _ = write!(text, "  {:<10}", "listener");
        for name in &self.names {
            let _ = write!(text, "{name:>9}");
        }
        text.push_str("   loss / jitter / delay / round trip\n");
        for ((name, row), figures) in self.names.iter().zip(&self.table).zip(&self.figures) {
            let _ = write!(text, "  {name:<10}");
            for cell in row {
                let mark = if !cell.right() {
                    '!'
                } else if cell.expected {
                    '*'
                } else {
                    ' '
                };
                let _ = write!(text, "{:>8.2}{mark}", cell.score);
            }
            let _ = writeln!(text, "   {figures}");
        }
        let jitter = self
            .capture
            .streams
            .iter()
            .map(|s| s.mean_jitter)
            .fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "\nThe capture, read by tshark: {} SIP messages, {} RTP packets in {} streams, {} lost, \
             {} malformed; mean jitter at most {jitter:.2} ms",
            self.capture.sip,
            self.capture.rtp,
            self.capture.streams.len(),
            self.capture.lost(),
            self.capture.malformed,
        );
        text
    }
}

/// The last figures that the participant's own `meet` printed.
/// For a foreign phone, what the server measured of it.
fn figures(participant: &Participant, server: &[serde_json::Value]) -> String {
    let own = participant.events("stats").pop();
    let foreign = own.is_none();
    let of_server = || {
        let entry = server
            .iter()
            .find(|p| p.get("name").and_then(|n| n.as_str()) == Some(participant.person.name))?;
        let stats = entry.get("statistics")?;
        Some(serde_json::json!({
            "lost": stats.get("lost_packets"),
            "received": stats.get("received_packets"),
            "jitter_ms": stats.get("jitter_ms"),
            "delay_ms": stats.get("delay_ms"),
            "rtt_ms": stats.get("rtt_ms"),
        }))
    };
    let Some(stats) = own.or_else(of_server) else {
        return "no figures".to_owned();
    };
    let number = |key: &str| stats.get(key).and_then(serde_json::Value::as_f64);
    let shown =
        |key: &str, unit: &str| number(key).map_or_else(|| "-".to_owned(), |v| format!("{v:.1} {unit}"));
    format!(
        "{} of {} / {} / {} / {}{}",
        number("lost").unwrap_or(0.0),
        number("received").unwrap_or(0.0),
        shown("jitter_ms", "ms"),
        shown("delay_ms", "ms"),
        shown("rtt_ms", "ms"),
        if foreign {
            " (as the server received it)"
        } else {
            ""
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_right_when_what_must_be_heard_is() {
        assert!(
            Cell {
                score: 0.9,
                expected: true
            }
            .right()
        );
        assert!(
            !Cell {
                score: 0.9,
                expected: false
            }
            .right()
        );
        assert!(
            !Cell {
                score: 0.2,
                expected: true
            }
            .right()
        );
        assert!(
            Cell {
                score: 0.2,
                expected: false
            }
            .right()
        );
    }

    #[test]
    fn a_capture_with_a_loss_is_not_sound() {
        let stream = Stream {
            from: String::new(),
            to: String::new(),
            ssrc: String::new(),
            payload: String::new(),
            packets: 10,
            lost: 0,
            max_jitter: 0.0,
            mean_jitter: 0.0,
        };
        let mut capture = Capture {
            sip: 4,
            rtp: 20,
            malformed: 0,
            streams: vec![stream.clone(), stream],
        };
        assert!(capture.sound(1) && !capture.sound(2));
        capture.streams[0].lost = 1;
        assert!(!capture.sound(1));
    }
}
