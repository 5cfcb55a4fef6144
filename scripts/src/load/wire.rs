//! The little of SIP that a load generator must read: status, CSeq, Call-ID, tags.
//!
//! Written by hand and apart from `sip-proto`, so that the generator costs little and shares no fault with what
//! it measures. It reads what `meet-server` writes: whole header names, one header a line. Absent on purpose: the
//! rest of SIP.

/// A message of the server.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    text: &'a str,
    /// 100 to 699, or none for a request.
    pub status: Option<u16>,
}

impl<'a> Reply<'a> {
    /// Reads a datagram; `None` when it is no text.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let status = text
            .strip_prefix("SIP/2.0 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok());
        Some(Self { text, status })
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.text
            .split("\r\n")
            .skip(1)
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }

    /// The number that the generator put into the Call-ID: `PREFIXNUMBER-REST`.
    pub fn number(&self, prefix: &str) -> Option<usize> {
        let id = self.header("Call-ID")?.strip_prefix(prefix)?;
        id.split('-').next()?.parse().ok()
    }

    /// The method of its CSeq.
    pub fn method(&self) -> Option<&'a str> {
        self.header("CSeq")?.split(' ').nth(1)
    }

    /// The tag of its To.
    pub fn to_tag(&self) -> Option<&'a str> {
        let (_, tag) = self.header("To")?.split_once(";tag=")?;
        tag.split(';').next()
    }

    /// Our 200 to a request, its headers as they came; none to an ACK, and none to a response.
    pub fn accepted(&self) -> Option<String> {
        if self.status.is_some() || self.text.starts_with("ACK ") {
            return None;
        }
        let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            answer.push_str(&format!("{name}: {}\r\n", self.header(name)?));
        }
        answer.push_str("Content-Length: 0\r\n\r\n");
        Some(answer)
    }

    /// The URI of its Contact.
    pub fn contact(&self) -> Option<&'a str> {
        let (_, rest) = self.header("Contact")?.split_once('<')?;
        rest.split('>').next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_generator_needs_is_read() {
        let text = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKx\r\nTo: <sip:a@b>;tag=t1;x=y\r\n\
                    Call-ID: c17-5\r\nCSeq: 1 INVITE\r\nContact: <sip:a@127.0.0.1:5060>;isfocus\r\n\r\nCSeq: 9 BYE\r\n";
        let reply = Reply::read(text.as_bytes()).unwrap();
        assert_eq!(reply.status, Some(200));
        assert_eq!(reply.accepted(), None);
        assert_eq!(reply.number("c"), Some(17));
        assert_eq!(reply.method(), Some("INVITE"));
        assert_eq!(reply.to_tag(), Some("t1"));
        assert_eq!(reply.contact(), Some("sip:a@127.0.0.1:5060"));
        assert_eq!(reply.header("Retry-After"), None);
    }

    #[test]
    fn a_request_has_no_status() {
        assert_eq!(Reply::read(b"BYE sip:x SIP/2.0\r\n\r\n").unwrap().status, None);
        assert!(Reply::read(&[0xff]).is_none());
    }
}
