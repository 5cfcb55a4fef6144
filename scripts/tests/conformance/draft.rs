//! Writes a message line by line, so that a case can bend exactly one of them.

/// A message in the making: a sound head, whose lines are exchanged, taken out and added.
pub struct Draft {
    start: String,
    lines: Vec<(String, String)>,
    body: Vec<u8>,
    /// What stands behind the message.
    trailer: Vec<u8>,
}

/// The description that our own calls offer.
pub const OFFER: &str = "v=0\r\no=- 711 1 IN IP4 127.0.0.1\r\ns=torture\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                         m=audio 49170 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

impl Draft {
    /// A request named `name` (which goes into its identifiers) to `uri`.
    pub fn request(name: &str, method: &str, uri: &str) -> Self {
        let mut draft = Self::bare(format!("{method} {uri} SIP/2.0"));
        draft = draft
            .line(
                "Via",
                &format!("SIP/2.0/UDP {name}.meet.example;branch=z9hG4bK{name}"),
            )
            .line("Max-Forwards", "70")
            .line("From", &format!("<sip:caller@meet.example>;tag=f{name}"))
            .line("To", "<sip:called@meet.example>")
            .line("Call-ID", &format!("{name}@meet.example"))
            .line("CSeq", &format!("11 {method}"));
        if method == "INVITE" {
            draft = draft
                .line("Contact", "<sip:caller@127.0.0.1>")
                .line("Content-Type", "application/sdp")
                .body(OFFER.as_bytes());
        }
        draft
    }

    /// A response to a request that we never sent.
    pub fn response(name: &str, status: &str) -> Self {
        Self::bare(format!("SIP/2.0 {status}"))
            .line("Via", &format!("SIP/2.0/UDP 127.0.0.1:5999;branch=z9hG4bK{name}"))
            .line("From", &format!("<sip:caller@meet.example>;tag=f{name}"))
            .line("To", &format!("<sip:called@meet.example>;tag=t{name}"))
            .line("Call-ID", &format!("{name}@meet.example"))
            .line("CSeq", "11 OPTIONS")
    }

    /// Only a start line.
    pub fn bare(start: String) -> Self {
        Self {
            start,
            lines: vec![("Content-Length".to_owned(), String::new())],
            body: Vec::new(),
            trailer: Vec::new(),
        }
    }

    /// Another start line.
    pub fn start(mut self, line: &str) -> Self {
        self.start = line.to_owned();
        self
    }

    /// One more header, in front of Content-Length.
    pub fn line(mut self, name: &str, value: &str) -> Self {
        let at = self.lines.len().saturating_sub(1);
        self.lines.insert(at, (name.to_owned(), value.to_owned()));
        self
    }

    /// Another value for the first header of this name. An empty Content-Length is filled in.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        let found = self.lines.iter_mut().find(|(n, _)| n == name);
        value.clone_into(&mut found.unwrap_or_else(|| panic!("no {name}")).1);
        self
    }

    /// Another name for a header: a compact or folded form.
    pub fn rename(mut self, name: &str, other: &str) -> Self {
        let found = self.lines.iter_mut().find(|(n, _)| n == name);
        other.clone_into(&mut found.unwrap_or_else(|| panic!("no {name}")).0);
        self
    }

    /// Without the header.
    pub fn without(mut self, name: &str) -> Self {
        self.lines.retain(|(n, _)| n != name);
        self
    }

    /// With this body.
    pub fn body(mut self, bytes: &[u8]) -> Self {
        self.body = bytes.to_vec();
        self
    }

    /// With this behind it, beyond its Content-Length.
    pub fn trailer(mut self, bytes: &[u8]) -> Self {
        self.trailer = bytes.to_vec();
        self
    }

    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.lines {
            let is_length = name == "Content-Length" || name.starts_with('l');
            if is_length && value.is_empty() {
                text.push_str(&format!("{name}: {}\r\n", self.body.len()));
            } else {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes.extend_from_slice(&self.trailer);
        bytes
    }
}
