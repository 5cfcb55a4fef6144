//! From a byte stream to messages (RFC 3261 §18.3): Content-Length says where one ends.
//!
//! Between messages a peer may send keep-alives (RFC 5626 §4.4.1). A message with a fault that
//! leaves its length known is cut out and handed on, so that the parser answers it and the stream
//! stays in step; where the length is missing or doubtful the stream is broken for good, and the
//! error carries what is needed for a 400 before the connection is closed. Absent: WebSocket, where
//! a frame is a message (RFC 7118 §5).

use crate::error::{HeaderError, ParseError, ParseErrorKind};
use crate::limits::{MAX_HEAD_BYTES, MAX_MESSAGE_BYTES, MAX_START_LINE_BYTES};
use crate::message::{HeaderName, scan_head};

/// What a stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The bytes of one message, for [`crate::message::parse`].
    Message(Vec<u8>),
    /// A double line end: to be answered with a single one.
    KeepAlivePing,
    /// A single line end: the answer to a ping of ours. The first half of a ping that arrives in
    /// two pieces is reported so as well; nobody answers a pong.
    KeepAlivePong,
}

/// Collects bytes and yields frames; as an iterator it ends when more bytes are needed.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buffer: Vec<u8>,
    /// Bytes in front of the buffer that are done with.
    consumed: usize,
    /// Bytes behind `consumed` in which no end of a head was found.
    searched: usize,
    /// Length of the message in front, once its head was read.
    expected: Option<usize>,
    /// A single line end was just reported as pong; another one makes it a ping.
    half_ping: bool,
    broken: bool,
}

impl StreamFramer {
    /// A framer at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds received bytes. Frames are to be taken out after every push: what is buffered then is
    /// less than one message.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether the stream cannot be understood any more and is to be closed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Bytes of an unfinished message: says whether a closing peer cut one off.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.consumed
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.consumed..).unwrap_or(&[])
    }

    fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
        self.searched = 0;
        self.expected = None;
    }

    fn keep_alive(&mut self) -> Option<Frame> {
        let half_ping = self.half_ping;
        let rest = self.rest();
        let one = line_end(rest)?;
        let two = rest.get(one..).and_then(line_end);
        if half_ping {
            self.half_ping = false;
            self.consume(one);
            return Some(Frame::KeepAlivePing);
        }
        match two {
            Some(two) => {
                self.consume(one + two);
                Some(Frame::KeepAlivePing)
            }
            // A lone CR behind it is the start of the second line end.
            None => {
                let may_go_on = matches!(rest.get(one..), Some([] | [b'\r']));
                self.half_ping = may_go_on;
                self.consume(one);
                Some(Frame::KeepAlivePong)
            }
        }
    }

    /// Finds the length of the message in front: `None` while its head is not complete.
    fn measure(&mut self) -> Result<Option<usize>, ParseError> {
        if let Some(expected) = self.expected {
            return Ok(Some(expected));
        }
        let from = self.searched.saturating_sub(2);
        let rest = self.rest();
        let Some(head_len) = head_end(rest, from) else {
            let line_too_long = rest.len() > MAX_START_LINE_BYTES && !rest.contains(&b'\n');
            if line_too_long || rest.len() > MAX_HEAD_BYTES {
                return Err(match scan_head(rest) {
                    Ok(head) => head.refuse(ParseErrorKind::HeaderTooLong),
                    Err(error) => error,
                });
            }
            self.searched = rest.len();
            return Ok(None);
        };
        let head = scan_head(rest.get(..head_len).unwrap_or(rest))?;
        // A head that the scan gave up on has no end that can be trusted.
        if head.body_start != head_len {
            let kind = head.fault().cloned().unwrap_or(ParseErrorKind::NotSip);
            return Err(head.refuse(kind));
        }
        let length = match head.content_length() {
            Ok(Some(length)) => length,
            Ok(None) => {
                let missing = HeaderError::missing(HeaderName::ContentLength);
                return Err(head.refuse(ParseErrorKind::Header(missing)));
            }
            Err(kind) => return Err(head.refuse(kind)),
        };
        if head_len + length > MAX_MESSAGE_BYTES {
            return Err(head.refuse(ParseErrorKind::TooLarge));
        }
        self.expected = Some(head_len + length);
        Ok(self.expected)
    }
}

impl Iterator for StreamFramer {
    type Item = Result<Frame, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        if self.expected.is_none()
            && let Some(frame) = self.keep_alive()
        {
            return Some(Ok(frame));
        }
        if matches!(self.rest(), [] | [b'\r']) {
            return None;
        }
        self.half_ping = false;
        match self.measure() {
            Ok(Some(length)) => {
                let message = self.rest().get(..length)?.to_vec();
                self.consume(length);
                Some(Ok(Frame::Message(message)))
            }
            Ok(None) => None,
            Err(error) => {
                self.broken = true;
                self.buffer = Vec::new();
                self.consumed = 0;
                Some(Err(error))
            }
        }
    }
}

/// Length of a line end at the start of the bytes.
fn line_end(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

/// Length of the head with its empty line, looking for the line end before it from `from` on.
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let found = memchr::memchr(b'\n', bytes.get(at..)?)?;
        at += found + 1;
        if let Some(length) = line_end(bytes.get(at..)?) {
            return Some(at + length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::parse;
    use proptest::prelude::*;

    const OPTIONS: &[u8] =
        b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
        To: <sip:h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 4\r\n\r\nbody";

    fn frames(framer: &mut StreamFramer, bytes: &[u8]) -> Vec<Result<Frame, ParseError>> {
        framer.push(bytes);
        framer.by_ref().collect()
    }

    fn message() -> Result<Frame, ParseError> {
        Ok(Frame::Message(OPTIONS.to_vec()))
    }

    #[test]
    fn messages_and_keep_alives_in_one_push() {
        let bytes = [OPTIONS, b"\r\n\r\n", OPTIONS, b"\r\n", OPTIONS, b"\n\n"].concat();
        let expected = vec![
            message(),
            Ok(Frame::KeepAlivePing),
            message(),
            Ok(Frame::KeepAlivePong),
            message(),
            Ok(Frame::KeepAlivePing),
        ];
        assert_eq!(frames(&mut StreamFramer::new(), &bytes), expected);
    }

    #[test]
    fn a_ping_in_two_pieces_is_still_a_ping() {
        let mut framer = StreamFramer::new();
        assert_eq!(frames(&mut framer, b"\r\n"), [Ok(Frame::KeepAlivePong)]);
        assert_eq!(frames(&mut framer, b"\r"), []);
        assert_eq!(frames(&mut framer, b"\n"), [Ok(Frame::KeepAlivePing)]);
        assert_eq!(frames(&mut framer, OPTIONS), [message()]);
    }

    #[test]
    fn a_fault_with_known_length_keeps_the_stream_in_step() {
        let broken = String::from_utf8(OPTIONS.to_vec())
            .unwrap()
            .replace("CSeq: 1 OPTIONS", "Foobar roobar");
        let mut framer = StreamFramer::new();
        let all = frames(&mut framer, &[broken.as_bytes(), OPTIONS].concat());
        assert_eq!(all, [Ok(Frame::Message(broken.clone().into_bytes())), message()]);
        let error = parse(broken.as_bytes()).unwrap_err();
        assert!(error.salvage.is_some());
    }

    #[test]
    fn doubtful_lengths_break_the_stream_and_can_be_answered() {
        let text = String::from_utf8(OPTIONS.to_vec()).unwrap();
        for length in [
            "Content-Length: -999",
            "Content-Length: 4\r\nl: 5",
            "X: y",
            "l: 99999999999999999999",
            "l: 65536",
        ] {
            let mut framer = StreamFramer::new();
            let all = frames(&mut framer, text.replace("Content-Length: 4", length).as_bytes());
            assert_eq!(all.len(), 1, "{length}");
            let error = all[0].as_ref().unwrap_err();
            assert!(error.salvage.is_some(), "{length}");
            assert!([400, 513].contains(&error.status().code()));
            assert!(framer.is_broken() && frames(&mut framer, OPTIONS).is_empty());
        }
    }

    #[test]
    fn what_is_not_sip_is_given_up_on() {
        let mut framer = StreamFramer::new();
        assert!(frames(&mut framer, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[0].is_err());
        let mut framer = StreamFramer::new();
        assert!(frames(&mut framer, &[b'x'; MAX_START_LINE_BYTES + 1])[0].is_err());
        let mut framer = StreamFramer::new();
        let endless = [
            &OPTIONS[..OPTIONS.len() - 6],
            &b"X: y\r\n".repeat(MAX_HEAD_BYTES / 6),
        ]
        .concat();
        let all = frames(&mut framer, &endless);
        assert!(all[0].as_ref().unwrap_err().salvage.is_some());
        assert!(framer.is_broken());
    }

    proptest! {
        /// However the stream is cut, the messages are the same (keep-alives may be reported
        /// in halves).
        #[test]
        fn cuts_do_not_matter(cuts in prop::collection::vec(1usize..40, 1..80)) {
            let bytes = [OPTIONS, b"\r\n\r\n", OPTIONS, OPTIONS].concat();
            let mut framer = StreamFramer::new();
            let (mut at, mut found) = (0, 0);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(bytes.len());
                for frame in frames(&mut framer, &bytes[at..end]) {
                    match frame.unwrap() {
                        Frame::Message(message) => {
                            prop_assert_eq!(&message, OPTIONS);
                            found += 1;
                        }
                        Frame::KeepAlivePing | Frame::KeepAlivePong => {}
                    }
                }
                at = end;
                if at == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!((found, framer.pending()), (3, 0));
        }

        #[test]
        fn random_bytes_never_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
            let mut framer = StreamFramer::new();
            for chunk in chunks {
                framer.push(&chunk);
                prop_assert!(framer.by_ref().count() <= framer.pending() + chunk.len() + 1);
            }
        }
    }
}
