//! sipp scenarios, put together from steps: the XML is written here once, the tests name the steps.
//!
//! Absent on purpose: variables and branches of sipp's; a scenario is one straight line.

/// What a scenario writes into its log where it waits for the test.
pub const STANDS: &str = "the scenario stands";
/// The request that lets it go on; no server sends it.
pub const GO_ON: &str = "GOON";

/// A scenario in the making.
pub struct Scenario {
    steps: Vec<String>,
    from: String,
    cseq: u32,
    /// CSeq of the last INVITE: its ACK and CANCEL have the same.
    invite: u32,
}

/// The SDP of a phone with PCMU and telephone-event, media on `address:port`, direction `direction`.
pub fn sdp(address: &str, port: u16, direction: &str, version: u32) -> String {
    format!(
        "v=0\no=sipp 53655765 {version} IN IP4 {address}\ns=-\nc=IN IP4 {address}\nt=0 0\n\
         m=audio {port} RTP/AVP 0 101\na=rtpmap:0 PCMU/8000\n\
         a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=ptime:20\na={direction}\n"
    )
}

impl Scenario {
    /// An empty scenario; `from` is the display name and user of the caller.
    pub fn new(from: &str) -> Self {
        Self {
            steps: Vec::new(),
            from: from.to_owned(),
            cseq: 0,
            invite: 0,
        }
    }

    /// Sends the first INVITE with this body (empty: no offer).
    pub fn invite(self, body: &str) -> Self {
        self.request(
            "INVITE",
            "sip:[service]@[remote_ip]:[remote_port]",
            "",
            Some(body),
        )
    }

    /// Sends a request inside the dialog to the remote target.
    pub fn in_dialog(self, method: &str, headers: &str, body: Option<&str>) -> Self {
        self.request(method, "[next_url]", headers, body)
    }

    fn request(mut self, method: &str, uri: &str, headers: &str, body: Option<&str>) -> Self {
        if method != "ACK" && method != "CANCEL" {
            self.cseq += 1;
        }
        if method == "INVITE" {
            self.invite = self.cseq;
        }
        let cseq = match method {
            "ACK" | "CANCEL" => self.invite,
            _ => self.cseq,
        };
        // RFC 3261 §9.1: a CANCEL has the Via of its INVITE, which the last answer repeats.
        let via = match method {
            "CANCEL" => "[last_Via:]".to_owned(),
            _ => format!(
                "Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=z9hG4bK[pid]-[call_number]-{method}{cseq}"
            ),
        };
        let to_tag = if uri == "[next_url]" {
            "[peer_tag_param]"
        } else {
            ""
        };
        let content = body.filter(|b| !b.is_empty());
        let content_type = match content {
            Some(text) if text.starts_with("v=0") => "Content-Type: application/sdp\n",
            _ => "",
        };
        let text = format!(
            "{method} {uri} SIP/2.0\n\
             {via}\n\
             From: \"{from}\" <sip:{from}@[local_ip]:[local_port]>;tag=[pid]T[call_number]\n\
             To: <sip:[service]@[remote_ip]:[remote_port]>{to_tag}\n\
             Call-ID: [call_id]\n\
             CSeq: {cseq} {method}\n\
             Contact: <sip:{from}@[local_ip]:[local_port];transport=[transport]>\n\
             Max-Forwards: 70\n{headers}{content_type}\
             Content-Length: [len]\n\n{body}",
            from = self.from,
            body = content.unwrap_or_default(),
        );
        let retransmit = if method == "ACK" { "" } else { " retrans=\"500\"" };
        self.steps
            .push(format!("<send{retransmit}><![CDATA[\n{text}\n]]></send>"));
        self
    }

    /// Registers with these header lines (each with its line end), with credentials where `password` is given.
    pub fn register(mut self, headers: &str, password: Option<&str>) -> Self {
        self.cseq += 1;
        let credentials = password.map_or_else(String::new, |password| {
            format!("[authentication username={} password={password}]\n", self.from)
        });
        let text = format!(
            "REGISTER sip:[remote_ip]:[remote_port] SIP/2.0\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=z9hG4bK[pid]-[call_number]-R{cseq}\n\
             From: <sip:{from}@[remote_ip]:[remote_port]>;tag=[pid]T[call_number]\nTo: <sip:{from}@[remote_ip]:[remote_port]>\n\
             Call-ID: [call_id]\nCSeq: {cseq} REGISTER\nMax-Forwards: 70\n{credentials}{headers}Content-Length: 0\n",
            from = self.from,
            cseq = self.cseq,
        );
        self.steps
            .push(format!("<send retrans=\"500\"><![CDATA[\n{text}\n]]></send>"));
        self
    }

    /// Expects 401 and keeps its challenge for the next credentials.
    pub fn challenged(mut self) -> Self {
        self.steps
            .push("<recv response=\"401\" auth=\"true\" timeout=\"20000\"/>".to_owned());
        self
    }

    /// Takes 100 and 180 when they come, then expects `status`, whose text must match `patterns`.
    pub fn expect(mut self, status: u16, patterns: &[&str]) -> Self {
        for provisional in [100, 180, 183] {
            self.steps
                .push(format!("<recv response=\"{provisional}\" optional=\"true\"/>"));
        }
        // Only a 2xx says where the dialog's requests go.
        let route = if (200..300).contains(&status) {
            " rrs=\"true\""
        } else {
            ""
        };
        self.steps.push(format!(
            "<recv response=\"{status}\"{route} timeout=\"20000\">{}</recv>",
            checks(patterns)
        ));
        self
    }

    /// Takes a 100 when it comes, and waits for the 180.
    pub fn ring(mut self) -> Self {
        self.steps
            .push("<recv response=\"100\" optional=\"true\"/>".to_owned());
        self.expect_only(180)
    }

    /// Expects exactly this response.
    pub fn expect_only(mut self, status: u16) -> Self {
        self.steps
            .push(format!("<recv response=\"{status}\" timeout=\"20000\"/>"));
        self
    }

    /// Acknowledges: inside the dialog after a 2xx, with `body` when the offer came in the 200.
    pub fn ack(self, body: Option<&str>) -> Self {
        self.in_dialog("ACK", "", body)
    }

    /// Acknowledges a final answer that is not 2xx: in the transaction of the INVITE (RFC 3261 §17.1.1.3).
    pub fn ack_failure(mut self) -> Self {
        self.steps.push(format!(
            "<send><![CDATA[\nACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n\
             [last_Via:]\nFrom: \"{from}\" <sip:{from}@[local_ip]:[local_port]>;tag=[pid]T[call_number]\n\
             [last_To:]\nCall-ID: [call_id]\nCSeq: {invite} ACK\nMax-Forwards: 70\nContent-Length: 0\n\n]]></send>",
            from = self.from,
            invite = self.invite,
        ));
        self
    }

    /// Cancels the first INVITE.
    pub fn cancel(self) -> Self {
        self.request("CANCEL", "sip:[service]@[remote_ip]:[remote_port]", "", None)
    }

    /// Talks for so many milliseconds.
    pub fn talk(mut self, milliseconds: u32) -> Self {
        self.steps
            .push(format!("<pause milliseconds=\"{milliseconds}\"/>"));
        self
    }

    /// Talks until the test lets it go on (`Sipp::go_on`).
    pub fn talk_until_told(mut self) -> Self {
        self.steps.push(format!(
            "<nop><action><log message=\"{STANDS}\"/></action></nop>\n<recv request=\"{GO_ON}\" timeout=\"100000\"/>"
        ));
        self
    }

    /// Hangs up.
    pub fn bye(self) -> Self {
        self.in_dialog("BYE", "", None).expect_only(200)
    }

    /// Waits for the other side's request and leaves it unanswered.
    pub fn hear(mut self, method: &str) -> Self {
        self.steps
            .push(format!("<recv request=\"{method}\" timeout=\"40000\"/>"));
        self
    }

    /// Waits for the other side's request, whose text must match `patterns`, and answers 200.
    pub fn await_request(mut self, method: &str, patterns: &[&str]) -> Self {
        self.steps.push(format!(
            "<recv request=\"{method}\" timeout=\"40000\">{}</recv>\
             <send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n\
             [last_CSeq:]\nContent-Length: 0\n\n]]></send>",
            checks(patterns)
        ));
        self
    }

    /// The XML.
    pub fn xml(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<!DOCTYPE scenario SYSTEM \"sipp.dtd\">\n\
             <scenario name=\"meet\">\n{}\n{}</scenario>\n",
            self.steps.join("\n"),
            if self.xml_uses_variables() {
                "<Reference variables=\"match\"/>\n"
            } else {
                ""
            },
        )
    }

    fn xml_uses_variables(&self) -> bool {
        self.steps.iter().any(|step| step.contains("assign_to"))
    }
}

fn checks(patterns: &[&str]) -> String {
    if patterns.is_empty() {
        return String::new();
    }
    let each = patterns
        .iter()
        .map(|pattern| {
            let pattern = pattern
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('"', "&quot;");
            format!("<ereg regexp=\"{pattern}\" search_in=\"msg\" check_it=\"true\" assign_to=\"match\"/>")
        })
        .collect::<String>();
    format!("<action>{each}</action>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_counts_its_requests() {
        let xml = Scenario::new("ann")
            .invite(&sdp("127.0.0.1", 4000, "sendrecv", 1))
            .expect(200, &["isfocus"])
            .ack(None)
            .bye()
            .xml();
        assert!(xml.contains("CSeq: 1 INVITE") && xml.contains("CSeq: 1 ACK") && xml.contains("CSeq: 2 BYE"));
        assert!(xml.contains("m=audio 4000"));
        assert!(xml.contains("Reference variables"));
    }
}
