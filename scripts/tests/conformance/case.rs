//! What a case is, and what may come of it.

/// How a stream takes a message that a datagram may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// As UDP.
    Same,
    /// The end of the message has not come: the server waits for it.
    Waits,
    /// Its end cannot be known (RFC 3261 §18.3): 400, and the connection is closed.
    Closes,
    /// What lies behind the message is a message of its own.
    Two,
}

/// A fault class of RFC 4475 or 5118.
pub struct Case {
    /// RFC and section: `4475 3.1.1.1`.
    pub section: &'static str,
    /// What is unusual or wrong.
    pub fault: &'static str,
    /// The RFC's own message in the corpora.
    pub file: &'static str,
    /// Whether the parser must take it (`None`: either).
    pub parses: Option<bool>,
    /// Final statuses that are right; none: silence.
    pub answers: &'static [u16],
    /// Over TCP.
    pub stream: Stream,
    /// Our own message of this class.
    pub message: fn() -> Vec<u8>,
}

impl Case {
    /// A message that must be read.
    pub const fn sound(
        section: &'static str,
        file: &'static str,
        fault: &'static str,
        answers: &'static [u16],
        message: fn() -> Vec<u8>,
    ) -> Self {
        Self {
            section,
            fault,
            file,
            parses: Some(true),
            answers,
            stream: Stream::Same,
            message,
        }
    }

    /// A message that must be refused.
    pub const fn broken(
        section: &'static str,
        file: &'static str,
        fault: &'static str,
        answers: &'static [u16],
        message: fn() -> Vec<u8>,
    ) -> Self {
        Self {
            parses: Some(false),
            ..Self::sound(section, file, fault, answers, message)
        }
    }

    /// A message that may be read or refused.
    pub const fn either(
        section: &'static str,
        file: &'static str,
        fault: &'static str,
        answers: &'static [u16],
        message: fn() -> Vec<u8>,
    ) -> Self {
        Self {
            parses: None,
            ..Self::sound(section, file, fault, answers, message)
        }
    }

    /// The same with another course on a stream.
    pub const fn on_streams(mut self, stream: Stream) -> Self {
        self.stream = stream;
        self
    }

    /// A short name for messages about it.
    pub fn name(&self) -> String {
        format!("{} {}", self.section, self.file)
    }
}
