//! A byte stream in pieces: where it is cut makes no difference, and what is buffered stays bounded.
//! The first byte says how long the pieces are.

use sip_proto::framing::{Frame, StreamFramer};
use sip_proto::limits::MAX_MESSAGE_BYTES;
use sip_proto::message::parse;

pub fn run(data: &[u8]) {
    let Some((&step, stream)) = data.split_first() else {
        return;
    };
    let whole = frames(stream, stream.len().max(1));
    let pieces = frames(stream, usize::from(step).max(1));
    assert_eq!(whole, pieces, "cut every {step} bytes");
}

/// What came out; the two halves of a ping that was cut count as one ping.
fn frames(stream: &[u8], step: usize) -> Vec<String> {
    let mut framer = StreamFramer::new();
    let mut out: Vec<String> = Vec::new();
    for piece in stream.chunks(step) {
        framer.push(piece);
        while let Some(frame) = framer.next() {
            match frame {
                Ok(Frame::Message(bytes)) => {
                    let verdict = parse(&bytes).map(|_| "good").unwrap_or("bad");
                    out.push(format!("{verdict} {}", bytes.escape_ascii()));
                }
                Ok(Frame::KeepAlivePing) => {
                    if step < stream.len() && out.last().is_some_and(|last| last == "pong") {
                        out.pop();
                    }
                    out.push("ping".to_owned());
                }
                Ok(Frame::KeepAlivePong) => out.push("pong".to_owned()),
                Err(error) => {
                    assert!(framer.is_broken());
                    out.push(format!("broken {}", error.status().code()));
                }
            }
        }
        assert!(framer.pending() <= MAX_MESSAGE_BYTES + step);
    }
    // A run of line ends may be told as pings and pongs in several ways; only that it was one matters.
    out.dedup_by(|later, earlier| is_keep_alive(later) && is_keep_alive(earlier));
    for line in &mut out {
        if is_keep_alive(line) {
            *line = "keep-alive".to_owned();
        }
    }
    out
}

fn is_keep_alive(line: &str) -> bool {
    line == "ping" || line == "pong"
}
