//! tshark over a capture file: what is malformed, and the RTP streams with their losses.

use std::path::Path;
use std::process::Command;

/// What goes wrong with tshark.
#[derive(Debug, thiserror::Error)]
pub enum TsharkError {
    /// It could not be run.
    #[error("tshark: {0}")]
    Io(#[from] std::io::Error),
    /// It failed.
    #[error("tshark failed: {0}")]
    Failed(String),
}

/// One RTP stream as tshark counts it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Source and destination, `ADDR:PORT`.
    pub from: String,
    /// Destination.
    pub to: String,
    /// The synchronisation source, as printed (`0x…`).
    pub ssrc: String,
    /// The payload's name.
    pub payload: String,
    /// Packets seen.
    pub packets: u64,
    /// Packets lost.
    pub lost: i64,
    /// Greatest and mean jitter in milliseconds.
    pub max_jitter: f64,
    /// Mean jitter.
    pub mean_jitter: f64,
}

/// Runs tshark on `capture`, RTP found by the SDP in it and on the port range `low-high` besides.
pub fn tshark(capture: &Path, ports: (u16, u16), arguments: &[&str]) -> Result<String, TsharkError> {
    let output = Command::new("tshark")
        .args(["-r"])
        .arg(capture)
        .args(["-o", "rtp.heuristic_rtp:TRUE", "-d"])
        .arg(format!("udp.port=={}-{},rtp", ports.0, ports.1))
        .args(arguments)
        .output()?;
    if !output.status.success() {
        return Err(TsharkError::Failed(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How many packets `filter` selects.
pub fn count(capture: &Path, ports: (u16, u16), filter: &str) -> Result<usize, TsharkError> {
    Ok(tshark(capture, ports, &["-Y", filter])?.lines().count())
}

/// The RTP streams of the capture (`-z rtp,streams`).
pub fn streams(capture: &Path, ports: (u16, u16)) -> Result<Vec<Stream>, TsharkError> {
    let table = tshark(capture, ports, &["-q", "-z", "rtp,streams"])?;
    Ok(table.lines().filter_map(stream).collect())
}

/// Start, end, source, port, destination, port, SSRC, payload, packets, lost, (percent), deltas, jitters.
fn stream(line: &str) -> Option<Stream> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| word.starts_with("0x"))?;
    let word = |index: usize| words.get(index).copied();
    let before = |back: usize| at.checked_sub(back).and_then(word);
    // The payload's name may hold blanks: the loss with its percent sign is the fixed point behind it.
    let percent = words.iter().position(|word| word.ends_with("%)"))?;
    let behind = |forward: usize| word(percent + forward).and_then(|w| w.parse::<f64>().ok());
    Some(Stream {
        from: format!("{}:{}", before(4)?, before(3)?),
        to: format!("{}:{}", before(2)?, before(1)?),
        ssrc: word(at)?.to_owned(),
        payload: words.get(at + 1..percent.checked_sub(2)?)?.join(" "),
        packets: word(percent.checked_sub(2)?)?.parse().ok()?,
        lost: word(percent.checked_sub(1)?)?.parse().ok()?,
        max_jitter: behind(6).or_else(|| behind(5))?,
        mean_jitter: behind(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_stream_table_is_read() {
        let line = "   0.100000   5.100000  127.0.0.1 40000  127.0.0.1 40002 0x1A2B3C4D opus   250   2 (0.8%)  19.1  20.0  24.2  0.10  0.20  0.90  ";
        let read = stream(line).unwrap();
        assert_eq!(read.from, "127.0.0.1:40000");
        assert_eq!(read.to, "127.0.0.1:40002");
        assert_eq!((read.packets, read.lost), (250, 2));
        assert_eq!(read.payload, "opus");
        assert_eq!(stream("====== RTP Streams ======"), None);
    }
}
